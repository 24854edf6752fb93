use std::env;
use std::eprintln;
use std::format;
use std::fs;
use std::path::PathBuf;
use std::string::{String, ToString};
use std::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::formats::strategies::{bindings, cases};
use crate::formats::{ImportErrorKind, Place};

const SMALL: &str = r#"
// Two softwires and one device, with everything that can be said.
softwire-config {
  name lab1;
  instance {
    device "0000:05:00.0";
    external-device 0000:05:00.1;
    queue {
      id 1;
      external-interface {
        ip 192.0.2.1; mac 02:00:00:00:00:0a; vlan-tag 1092;
        next-hop { ip 192.0.2.2; }
      }
      internal-interface {
        ip 2001:db8::1; mac 02:00:00:00:00:0B;
        next-hop { mac 02:00:00:00:00:01; }
      }
    }
  }
  external-interface {
    mtu 1400; mru 1401; allow-incoming-icmp false; generate-icmp-errors false;
    ingress-filter "len < " + '0';
    error-rate-limiting { packets 600; period 3; }
    reassembly { max-fragments-per-packet 40; max-packets 10; }
  }
  internal-interface {
    egress-filter "ip6 \"x\\\n"; flow-label 0xfffff; vlan-tag 7; hairpinning false;
  }
  binding-table {
    version { number 18446744073709551615; date 2026-11-20T10:00:00Z; }
    softwire {
      ipv4 198.51.100.1; psid 3; /* the rest
      follows */ padding 0;
      b4-ipv6 127:10:20:30:40:50:60:128; br-address 8:9:a:b:c:d:e:f;
      port-set { psid-length 6; reserved-ports-bit-count 4; }
    }
    softwire {
      ipv4 198.51.100.2; psid 1; b4-ipv6 2001:db8::b4; br-address 2001:db8::af;
      port-set { psid-length 0; }
    }
  }
}
"#;

fn leaf<T>(value: T, line: u32) -> Leaf<T> {
    Leaf {
        value,
        line: Some(line),
    }
}

fn refusal(text: &str) -> String {
    SnabbConfig::parse(text.as_bytes()).unwrap_err().to_string()
}

/// A binding table with one softwire whose members are `members`, from line 3 on.
fn softwire(members: &str) -> String {
    format!("softwire-config {{ binding-table {{\nsoftwire {{\n{members}\n}} }} }}")
}

#[test]
fn every_leaf_comes_with_its_line() {
    // R-267
    let config = SnabbConfig::parse(SMALL.as_bytes()).unwrap();
    assert_eq!(config.name, Some(leaf("lab1".to_string(), 4)));
    assert_eq!(config.flow_label, leaf(0xf_ffff, 27));
    assert_eq!(config.internal_vlan_tag, Some(leaf(7, 27)));
    assert_eq!(config.hairpinning, leaf(false, 27));
    assert_eq!(config.version, Some(leaf(u64::MAX, 30)));
    let date = leaf("2026-11-20T10:00:00Z".to_string(), 30);
    assert_eq!(config.date, Some(date));
}

#[test]
fn a_queue_has_the_addresses_of_both_sides() {
    let config = SnabbConfig::parse(SMALL.as_bytes()).unwrap();
    let instance = &config.instances[0];
    assert_eq!(instance.line, 5);
    assert_eq!(instance.device, leaf("0000:05:00.0".to_string(), 6));
    assert_eq!(
        instance.external_device,
        Some(leaf("0000:05:00.1".to_string(), 7))
    );
    let queue = &instance.queues[0];
    assert_eq!((queue.line, queue.id), (8, leaf(1, 9)));
    assert_eq!(queue.external.ip, leaf("192.0.2.1".parse().unwrap(), 11));
    assert_eq!(queue.external.vlan_tag, Some(leaf(1092, 11)));
    assert_eq!(
        queue.external.next_hop,
        SnabbNextHop::Ip(leaf("192.0.2.2".parse().unwrap(), 12))
    );
    assert_eq!(queue.internal.mac, leaf(MacAddr([2, 0, 0, 0, 0, 11]), 15));
    assert_eq!(
        queue.internal.next_hop,
        SnabbNextHop::Mac(leaf(MacAddr([2, 0, 0, 0, 0, 1]), 16))
    );
}

#[test]
fn both_sides_keep_limits_and_filters() {
    let config = SnabbConfig::parse(SMALL.as_bytes()).unwrap();
    let external = SnabbSide {
        mtu: leaf(1400, 21),
        mru: leaf(1401, 21),
        ingress_filter: Some(leaf("len < 0".to_string(), 22)),
        egress_filter: None,
        allow_incoming_icmp: leaf(false, 21),
        generate_icmp_errors: leaf(false, 21),
        error_packets: leaf(600, 23),
        error_period: leaf(3, 23),
        max_fragments_per_packet: leaf(40, 24),
        max_packets: leaf(10, 24),
    };
    assert_eq!(config.external, external);
    let internal = SnabbSide {
        egress_filter: Some(leaf("ip6 \"x\\\n".to_string(), 27)),
        ..SnabbSide::with_mtu(1500)
    };
    assert_eq!(config.internal, internal);
}

#[test]
fn softwires_keep_their_line_and_what_is_odd_about_them() {
    // R-267
    let config = SnabbConfig::parse(SMALL.as_bytes()).unwrap();
    assert_eq!(config.softwires.len(), 2);
    let first = SnabbSoftwire {
        line: 31,
        ipv4: "198.51.100.1".parse().unwrap(),
        psid: 3,
        b4: "127:10:20:30:40:50:60:128".parse().unwrap(),
        aftr: "8:9:a:b:c:d:e:f".parse().unwrap(),
        psid_length: 6,
        reserved_bits: 4,
    };
    assert_eq!(config.softwires[0], first);
    let warnings: Vec<_> = config.warnings().collect();
    assert_eq!(
        warnings,
        [
            SnabbWarning::ReservedBits { line: 31, bits: 4 },
            SnabbWarning::PsidTooLarge {
                line: 37,
                psid: 1,
                psid_length: 0
            }
        ]
    );
}

#[test]
fn what_is_not_said_has_the_default_of_the_schema() {
    let config = SnabbConfig::parse(b"softwire-config { }").unwrap();
    assert_eq!(config, SnabbConfig::empty());
    assert_eq!(config.external.mtu.value, 1460);
    assert_eq!(config.internal.mtu.value, 1500);
    assert_eq!(config.internal.error_packets.value, 200);
    assert_eq!(config.internal.error_period.value, 2);
    assert_eq!(config.external.max_packets.value, 20_000);
    assert!(config.hairpinning.value);
}

#[test]
fn the_external_device_of_v2_is_read() {
    let text = SMALL
        .replace("external-device 0000:05:00.1;", "")
        .replace("vlan-tag 1092;", "vlan-tag 1092; device 0000:05:00.1;");
    let config = SnabbConfig::parse(text.as_bytes()).unwrap();
    assert_eq!(
        config.instances[0].queues[0].external_device,
        Some(leaf("0000:05:00.1".to_string(), 11))
    );
    let wrong = text.replace("02:00:00:00:00:0B;", "02:00:00:00:00:0B; device x;");
    assert_eq!(
        refusal(&wrong),
        "line 15: unknown key device in the interface of a queue"
    );
}

/// Members of a softwire, and the refusal.
const SOFTWIRES: &[(&str, &str)] = &[
    (
        "psid 65536;",
        "line 3: psid \"65536\" is not a number from 0 to 65535",
    ),
    (
        "psid -1;",
        "line 3: psid \"-1\" is not a number from 0 to 65535",
    ),
    (
        "psid +1;",
        "line 3: psid \"+1\" is not a number from 0 to 65535",
    ),
    (
        "psid 010;",
        "line 3: psid \"010\" is not a number from 0 to 65535",
    ),
    (
        "psid 0x;",
        "line 3: psid \"0x\" is not a number from 0 to 65535",
    ),
    (
        "ipv4 1.2.3;",
        "line 3: ipv4 \"1.2.3\" is not an IPv4 address",
    ),
    (
        "b4-ipv6 1:2;",
        "line 3: b4-ipv6 \"1:2\" is not an IPv6 address",
    ),
    ("psid 1;\npsid 1;", "line 4: psid is given twice"),
    ("colour red;", "line 3: unknown key colour in softwire"),
    ("colour { }", "line 3: unknown key colour in softwire"),
    (
        "port-set { psid-length 17; }",
        "line 3: psid-length \"17\" is not a number from 0 to 16",
    ),
    ("port-set { }", "line 3: psid-length is missing in port-set"),
    (
        "port-set { psid-length 9;\nreserved-ports-bit-count 8; }",
        "line 4: psid-length 9 and reserved-ports-bit-count 8 make 17 bits, a port has 16",
    ),
    ("psid 1;", "line 2: port-set is missing in softwire"),
    ("psid 1", "line 4: expected ';', found '}'"),
    ("psid;", "line 3: expected a value or '{', found ';'"),
    ("{ }", "line 3: expected a name or '}', found '{'"),
    ("psid 1 2;", "line 3: expected ';', found \"2\""),
    (
        "psid \"1\n",
        "line 3: expected a closing quote, found \"\"1\"",
    ),
    (
        "psid \"1\" + 1;",
        "line 3: expected a word or a quoted string, found \"1;\"",
    ),
    (
        "/* x",
        "line 3: expected the end \"*/\" of this comment, found \"/* x\"",
    ),
];

/// Whole texts, and the refusal.
const TEXTS: &[(&str, &str)] = &[
    (
        "",
        "line 1: expected softwire-config {, found the end of the text",
    ),
    ("x { }", "line 1: expected softwire-config {, found \"x {\""),
    (
        "softwire-config {\n",
        "line 2: expected a name or '}', found the end of the text",
    ),
    (
        "softwire-config { } }",
        "line 1: expected the end of the text, found '}'",
    ),
];

/// What to replace in [`SMALL`], by what, and the refusal.
const EDITS: &[(&str, &str, &str)] = &[
    (
        "mac 02:00:00:00:00:0a",
        "mac 2:0:0:0:0:a",
        "line 11: mac \"2:0:0:0:0:a\" is not an Ethernet address, six pairs of hexadecimal digits with colons between",
    ),
    (
        "vlan-tag 1092",
        "vlan-tag 4096",
        "line 11: vlan-tag \"4096\" is not a VLAN tag from 0 to 4095",
    ),
    (
        "hairpinning false",
        "hairpinning no",
        "line 27: hairpinning \"no\" is not true or false",
    ),
    (
        "period 3",
        "period 0",
        "line 23: period \"0\" is not a number from 1 to 4294967295",
    ),
    (
        "{ ip 192.0.2.2; }",
        "{ ip 192.0.2.2; mac 02:00:00:00:00:01; }",
        "line 12: the address of next-hop is given twice",
    ),
    (
        "{ ip 192.0.2.2; }",
        "{ }",
        "line 12: ip or mac is missing in next-hop",
    ),
    (
        "name lab1;",
        "name lab1; binding-table { }",
        "line 29: binding-table is given twice",
    ),
];

#[test]
fn refusals_name_line_value_and_rule() {
    for (members, said) in SOFTWIRES {
        assert_eq!(refusal(&softwire(members)), *said);
    }
    for (text, said) in TEXTS {
        assert_eq!(refusal(text), *said);
    }
    for (right, wrong, said) in EDITS {
        assert_eq!(refusal(&SMALL.replace(right, wrong)), *said);
    }
}

#[test]
fn bytes_that_are_not_utf8_are_refused_with_their_line() {
    let error = SnabbConfig::parse(b"softwire-config {\n name \xff;").unwrap_err();
    assert_eq!(error.place, Place::Line(2));
    assert_eq!(
        error.to_string(),
        "line 2: expected UTF-8 text, found byte 0xff"
    );
}

#[test]
fn a_value_in_an_error_message_is_escaped_and_cut() {
    let error =
        SnabbConfig::parse(softwire(&format!("psid '\u{1b}[2J{}';", "9".repeat(99))).as_bytes());
    let ImportErrorKind::Value { value, .. } = error.unwrap_err().kind else {
        panic!("not a value");
    };
    assert_eq!(value, format!("\"\\u{{1b}}[2J{}…\"", "9".repeat(56)));
}

#[test]
fn no_prefix_is_accepted_and_none_panics() {
    let whole = SMALL.trim_end();
    for len in 0..whole.len() {
        assert!(
            SnabbConfig::parse(&whole.as_bytes()[..len]).is_err(),
            "{len}"
        );
    }
    SnabbConfig::parse(whole.as_bytes()).unwrap();
}

/// The configurations of Snabb's own end-to-end tests, which are not part of this repository.
fn snabb_configurations() -> Option<Vec<PathBuf>> {
    let shared = env::var_os("LW4O6_SHARED").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared"),
        PathBuf::from,
    );
    let Ok(dir) = fs::read_dir(shared.join("vectors/snabb")) else {
        assert!(
            env::var_os("CI").is_none(),
            "{} is missing",
            shared.display()
        );
        eprintln!("skipped: no Snabb vectors under {}", shared.display());
        return None;
    };
    let mut paths: Vec<_> = dir.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|e| e == "conf"));
    paths.sort();
    Some(paths)
}

#[test]
fn snabbs_own_configurations_are_read() {
    // R-267
    let Some(paths) = snabb_configurations() else {
        return;
    };
    assert!(paths.len() >= 15);
    for path in paths {
        let config = SnabbConfig::parse(&fs::read(&path).unwrap()).unwrap();
        let name = path.file_name().unwrap().to_str().unwrap().to_string();
        let softwires = if name == "icmp_endaddr.conf" { 4 } else { 12 };
        assert_eq!(config.softwires.len(), softwires, "{name}");
        assert_eq!(config.warnings().count(), 0, "{name}");
        assert_eq!(config.instances.len(), 1, "{name}");
        assert_eq!(config.external.error_packets.value, 600_000, "{name}");
        let filtered = config.external.ingress_filter.is_some();
        assert_eq!(filtered, name.contains("filters"), "{name}");
        assert_eq!(
            !config.hairpinning.value,
            name == "no_hairpin.conf",
            "{name}"
        );
        let tagged = config.instances[0].queues[0].internal.vlan_tag;
        assert_eq!(
            tagged.map(|t| t.value),
            (name == "vlan.conf").then_some(1638)
        );
    }
}

#[test]
fn a_table_that_is_written_is_read_again() {
    // R-267
    let text = b"softwire-config {\n  binding-table {\n    softwire {\n      ipv4 192.0.2.1;\n      \
        psid 3;\n      b4-ipv6 2001:db8::1;\n      br-address 2001:db8::af;\n      port-set {\n        \
        psid-length 6;\n        reserved-ports-bit-count 4;\n      }\n    }\n  }\n}\n";
    let config = SnabbConfig::parse(text).unwrap();
    let binding = config.softwires[0].binding().unwrap();
    assert_eq!(binding.source, Source::Line(3));
    let mut out = Vec::new();
    let reserved = export(&mut out, [&binding.binding]).unwrap();
    assert_eq!(out, text);
    assert_eq!(reserved, [binding.binding.key()]);
}

/// A softwire with the port parameters given.
fn with_ports(reserved_bits: u8, psid_length: u8, psid: u16) -> SnabbSoftwire {
    SnabbSoftwire {
        line: 1,
        ipv4: Ipv4Addr::new(192, 0, 2, 1),
        psid,
        b4: Ipv6Addr::LOCALHOST,
        aftr: Ipv6Addr::LOCALHOST,
        psid_length,
        reserved_bits,
    }
}

#[test]
fn reserved_bits_are_an_offset_only_at_zero_and_eight() {
    // R-267
    for bits in 0..=16_u8 {
        let (mut only_snabb, mut only_rfc) = (0, 0);
        for psid in 0..4 {
            let length = 2.min(16 - bits);
            let softwire = with_ports(bits, length, psid % (1 << length));
            let ports = softwire.ports().unwrap();
            for port in 0..=u16::MAX {
                let (snabb, rfc) = (softwire.serves(port), ports.contains(port));
                only_snabb += u32::from(snabb && !rfc);
                only_rfc += u32::from(rfc && !snabb);
            }
        }
        assert_eq!(only_snabb > 0, (1..8).contains(&bits), "{bits}");
        assert_eq!(only_rfc > 0, bits > 8, "{bits}");
    }
}

#[test]
fn four_reserved_bits_leave_snabb_the_ports_from_16_on() {
    // R-267: peers/snabb.md 7.1 row 19.
    let softwire = with_ports(4, 6, 0);
    let ports = softwire.ports().unwrap();
    assert!(!softwire.serves(15) && softwire.serves(16) && !ports.contains(16));
    assert!(softwire.serves(4096) && ports.contains(4096));
}

#[test]
fn a_psid_that_is_too_large_serves_no_port_that_is_not_reserved() {
    let softwire = with_ports(0, 6, 64);
    assert!((0..=u16::MAX).all(|port| !softwire.serves(port)));
    assert!(softwire.ports().is_err() && softwire.binding().is_err());
    let softwire = with_ports(10, 6, 64);
    assert!((0..=u16::MAX).all(|port| softwire.serves(port) == (port < 1024)));
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn reading_gives_back_what_was_written(written in bindings()) {
        let mut out = Vec::new();
        let reserved = export(&mut out, &written).unwrap();
        let config = SnabbConfig::parse(&out).unwrap();
        let read: Vec<_> = config.softwires.iter().map(|s| s.binding().unwrap().binding).collect();
        let static_ones = written.iter().map(|b| Binding::new(b.b4, b.ipv4, b.ports, b.aftr));
        prop_assert_eq!(read, static_ones.collect::<Vec<_>>());
        prop_assert_eq!(reserved.len(), config.warnings().count());
    }

    #[test]
    fn one_changed_byte_never_panics(at in 0..SMALL.len(), byte: u8) {
        let mut text = SMALL.as_bytes().to_vec();
        text[at] = byte;
        let _ = SnabbConfig::parse(&text);
    }

    #[test]
    fn no_text_panics(text in "softwire-config \\{[a-z {};\"'+/*\\\\\n]{0,60}") {
        let _ = SnabbConfig::parse(text.as_bytes());
    }
}
