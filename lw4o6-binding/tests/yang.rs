//! What the JSON writer makes is valid instance data in the eyes of an independent implementation
//! of YANG, and the module we publish says what the reader does.
#![cfg(feature = "formats")]
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "helpers of tests: a panic is a failed test, a skipped one says so"
)]

use std::net::{Ipv4Addr, Ipv6Addr};

use lw4o6_binding::formats::ImportedBinding;
use lw4o6_binding::formats::json::{
    DeclaredPool, HairpinMode, Instance, Layout, Part, TableVersion, TrafficStat, export,
    export_part, import,
};
use lw4o6_binding::{Binding, Clock, Expiry, Origin, Utc};
use lw4o6_wire::{Instant, PortParams};
use testkit::yang::{Validation, validate};

const CLOCK: Clock = Clock {
    instant: Instant::from_secs(1000),
    utc: Utc::from_micros(1_795_201_532_000_000),
};

fn json(instances: &[Instance]) -> Vec<u8> {
    let mut out = Vec::new();
    export(&mut out, instances, CLOCK, Layout::Pretty).unwrap();
    out
}

/// The verdict of yanglint, which must be the same as that of our reader.
fn accepted(text: &[u8]) -> Option<bool> {
    let ours = import(text, CLOCK);
    match validate(text) {
        Ok(Validation::Skipped) => {
            eprintln!("skipped: no yanglint (libyang2-tools)");
            None
        }
        Ok(Validation::Valid) => {
            assert!(ours.is_ok(), "only yanglint accepts: {ours:?}");
            Some(true)
        }
        Err(said) => {
            // With CI set, a missing yanglint is an error as well.
            assert!(!said.contains("libyang2-tools"), "{said}");
            assert!(ours.is_err(), "only yanglint refuses: {said}");
            Some(false)
        }
    }
}

fn softwire(b4: u16, ipv4: u32, ports: (u8, u8, u16)) -> Binding {
    let (offset, len, psid) = ports;
    Binding::new(
        Ipv6Addr::new(0x2001, 0xdb8, b4, 0, 0, 0, 0, 1),
        Ipv4Addr::from_bits(0xc000_0200 + ipv4),
        PortParams::new(offset, len, psid).unwrap(),
        Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 2),
    )
}

/// An instance that uses every member.
fn everything() -> Instance {
    let mut instance = Instance::new(String::from("a \"name\"\n"), 1024, 1500, 1540);
    instance.version = Some(TableVersion {
        version: u64::MAX,
        date: Some(String::from("2026-11-20T10:00:00+01:00")),
    });
    instance.hairpin = HairpinMode::ToIpv4Side;
    instance.default_aftr = "2001:db8::af".parse().ok();
    instance.icmp_policy.icmpv4_rate = Some(0);
    instance.icmp_policy.icmpv6_rate = Some(u32::MAX);
    instance.icmp_policy.generate_icmpv6_errors = false;
    instance.pools = vec![DeclaredPool {
        first: Ipv4Addr::new(192, 0, 2, 0),
        last: Ipv4Addr::new(192, 0, 2, 127),
        offset: 6,
        len: 8,
    }];
    let expiry = Expiry::At(Instant::from_micros(1_500_250_000));
    let mut bindings = vec![
        softwire(1, 1, (6, 8, 52)),
        softwire(1, 1, (6, 8, 53)).with_expiry(expiry),
        softwire(1, 200, (0, 0, 0)),
        softwire(2, 201, (0, 16, 65535)).with_expiry(expiry),
        softwire(3, 202, (16, 0, 0)),
        softwire(1, 1, (6, 8, 54)),
    ];
    for (n, origin) in Origin::ALL.into_iter().enumerate() {
        bindings[n].origin = origin;
    }
    let prefix = "2001:db8:12:3400::/56".parse().unwrap();
    let ports = PortParams::new(0, 8, 7).unwrap();
    let of_prefix =
        |ipv4: Ipv4Addr| Binding::from_prefix(prefix, ipv4, ports, "2001:db8::af".parse().unwrap());
    bindings.push(of_prefix(Ipv4Addr::new(198, 51, 100, 1)));
    bindings.push(of_prefix(Ipv4Addr::new(198, 51, 100, 2)));
    instance.bindings = bindings.into_iter().map(ImportedBinding::from).collect();
    instance
}

#[test]
fn what_is_written_is_valid_instance_data() {
    // R-062, R-262
    let bare = Instance::new(String::from("b"), 1, 0, 65535);
    let mut dropping = bare.clone();
    dropping.hairpin = HairpinMode::Drop;
    for instances in [
        vec![],
        vec![bare.clone()],
        vec![dropping],
        vec![everything(), bare],
    ] {
        let text = json(&instances);
        assert_ne!(
            accepted(&text),
            Some(false),
            "{}",
            String::from_utf8_lossy(&text)
        );
    }
}

#[test]
fn a_psid_of_16_bits_needs_and_has_the_deviation() {
    let text = String::from_utf8(json(&[everything()])).unwrap();
    assert!(text.contains(r#""psid-len": 16"#));
    assert_ne!(accepted(text.as_bytes()), Some(false));
}

#[test]
fn reader_and_module_refuse_the_same() {
    // R-262
    let text = String::from_utf8(json(&[everything()])).unwrap();
    let changes = [
        ("\"psid-len\": 16", "\"psid-len\": 17"),
        (
            "\"psid-offset\": 0,\n                  \"psid-len\": 16",
            "\"psid-offset\": 1,\n                  \"psid-len\": 16",
        ),
        ("\"psid-len\": 16", "\"psid-len\": \"16\""),
        ("\"psid-offset\": 6", "\"psid-offset\": 17"),
        ("\"psid\": 52", "\"psid\": 65536"),
        ("\"psid\": 52", "\"psid\": -1"),
        ("\"18446744073709551615\"", "18446744073709551615"),
        ("\"18446744073709551615\"", "\"18446744073709551616\""),
        ("10:00:00+01:00", "10:00:00"),
        ("to-ipv4-side", "off"),
        ("to-ipv4-side", "local"),
        (
            "\"enable-hairpinning\": false",
            "\"enable-hairpinning\": true",
        ),
        ("\"softwire-num-max\": 1024", "\"softwire-num-max\": 0"),
        ("\"softwire-num-max\": 1024,", ""),
        (
            "\"softwire-payload-mtu\": 1500",
            "\"softwire-payload-mtu\": 65536",
        ),
        ("\"icmpv6-rate\": 4294967295", "\"icmpv6-rate\": 4294967296"),
        ("lw4o6-softwire-br:origin", "origin"),
        ("\"origin\": \"operator\"", "\"origin\": \"nobody\""),
        ("lw4o6-softwire-br:expires", "lw4o6-softwire-br:ends"),
        (".25Z", ".25+00:00"),
        ("\"2001:db8:2::1\"", "\"2001:db8:1::1\""),
        ("2001:db8:12:3400::/56", "2001:db8:12:3400::/129"),
        ("\"192.0.2.201\"", "\"192.0.2.256\""),
        ("\"psid\": 54", "\"psid\": 53"),
        ("ietf-softwire-br:br-instances", "br-instances"),
        ("\"name\": \"a", "\"name\": \"\\u0001"),
    ];
    for (right, wrong) in changes {
        let changed = text.replacen(right, wrong, 1);
        assert_ne!(changed, text, "{right} is not in the text");
        assert_ne!(accepted(changed.as_bytes()), Some(true), "{wrong}");
    }
}

fn part(part: Part) -> serde_json::Value {
    let traffic = TrafficStat {
        discontinuity: CLOCK.utc,
        active_softwires: 8,
        counters: vec![
            ("sent-ipv4-packets", u64::MAX),
            ("no-leaf", 1),
            ("hairpin-ipv4-bytes", 3),
        ],
    };
    let mut out = Vec::new();
    export_part(
        &mut out,
        part,
        &everything(),
        &traffic,
        CLOCK,
        Layout::Compact,
    )
    .unwrap();
    serde_json::from_slice(&out).unwrap()
}

#[test]
fn a_running_instance_is_valid_with_its_counters_and_so_are_its_parts() {
    // R-262, R-263
    let whole = part(Part::Instances);
    assert_ne!(accepted(whole.to_string().as_bytes()), Some(false));
    let instance = &whole["ietf-softwire-br:br-instances"]["binding"]["bind-instance"][0];
    let traffic = &instance["traffic-stat"];
    assert_eq!(traffic["sent-ipv4-packets"], u64::MAX.to_string());
    assert_eq!(traffic["hairpin-ipv4-bytes"], "3");
    assert_eq!(traffic["active-softwire-num"], 8);
    assert_eq!(traffic.as_object().unwrap().len(), 4);
    let named = |name: &str, of: Part| part(of)[format!("ietf-softwire-br:{name}")].take();
    assert_eq!(named("bind-instance", Part::Instance)[0], *instance);
    assert_eq!(
        named("binding-table", Part::Table),
        instance["binding-table"]
    );
    assert_eq!(
        named("binding-entry", Part::Entries),
        instance["binding-table"]["binding-entry"]
    );
    assert_eq!(named("traffic-stat", Part::TrafficStat), *traffic);
}
