//! Defects of Snabb's table handling, one test each; those of its packet path stand with the engine.
#![cfg(feature = "formats")]
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests: a panic is a failed test"
)]

use lw4o6_binding::formats::snabb::{SnabbConfig, SnabbWarning};
use lw4o6_binding::{Binding, Bindings, BindingsConfig, LoadError, LoadReport};
use lw4o6_wire::Instant;

/// A table with one softwire for each (B4, PSID, PSID length, reserved bits) on 192.0.2.1.
fn table(softwires: &[(&str, u16, u8, u8)]) -> SnabbConfig {
    let mut text = String::from("softwire-config {\n  binding-table {\n");
    for (b4, psid, length, reserved) in softwires {
        text += &format!(
            "    softwire {{ ipv4 192.0.2.1; psid {psid}; b4-ipv6 {b4}; br-address 2001:db8::af;\n\
             port-set {{ psid-length {length}; reserved-ports-bit-count {reserved}; }} }}\n"
        );
    }
    SnabbConfig::parse((text + "  }\n}\n").as_bytes()).unwrap()
}

fn load(config: &SnabbConfig) -> Result<LoadReport, LoadError> {
    let bindings: Vec<Binding> = config
        .softwires
        .iter()
        .map(|softwire| softwire.binding().unwrap().binding)
        .collect();
    let mut store = Bindings::without_table(BindingsConfig::default());
    store.load(Instant::ZERO, bindings)
}

#[test]
fn snabb_18_two_psid_lengths_on_one_address_are_refused_at_load_time() {
    //
    let mixed = table(&[("2001:db8::1", 1, 4, 0), ("2001:db8::2", 9, 6, 0)]);
    let error = load(&mixed).unwrap_err();
    assert_eq!(
        error.to_string(),
        "entry 1: 192.0.2.1 (a=0 k=6 psid=9) has another port layout than the bindings on that \
         address (a=0 k=4)"
    );
    let offsets = table(&[("2001:db8::1", 1, 6, 0), ("2001:db8::2", 2, 6, 4)]);
    assert!(load(&offsets).is_err());
    let same = table(&[("2001:db8::1", 1, 6, 0), ("2001:db8::2", 2, 6, 0)]);
    assert!(load(&same).is_ok());
}

#[test]
fn snabb_19_reserved_bits_are_an_rfc_7597_offset_and_the_difference_is_said() {
    //
    let config = table(&[("2001:db8::1", 0, 6, 4)]);
    let warnings: Vec<SnabbWarning> = config.warnings().collect();
    assert_eq!(warnings, [SnabbWarning::ReservedBits { line: 3, bits: 4 }]);
    let softwire = config.softwires.first().unwrap();
    let ports = softwire.ports().unwrap();
    for port in 0..=u16::MAX {
        let excluded = port < 4096;
        assert!(!(excluded && ports.contains(port)), "{port}");
        // Snabb forwards 16 to 4095 as well; beyond, the two agree.
        if port < 16 || !excluded {
            assert_eq!(softwire.serves(port), ports.contains(port), "{port}");
        }
    }
    assert!((16..4096).any(|port| softwire.serves(port)));
    assert!(load(&config).is_ok());
}
