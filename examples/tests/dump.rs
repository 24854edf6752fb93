//! `lw4o6-dump` on a capture made here, as text and as JSON.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a panic is a failed test"
)]

mod common;

use common::{
    AFTR, B4, REMOTE, Temporary, USER, from_access, from_internet, tagged, temporary, who_has,
};
use serde_json::{Value, json};
use testkit::packet::{V4, V6, tunnel};

const DUMP: &str = env!("CARGO_BIN_EXE_lw4o6-dump");

/// A frame and the line that stands for it, without its time.
type Case = (Vec<u8>, &'static str);

fn user() -> V4 {
    V4::udp(USER, REMOTE).payload(&[0x55; 100])
}

fn neighbor(kind: u8, src: &str, dst: &str, flags: u32, option: u8) -> Vec<u8> {
    let target = testkit::packet::v6("2001:db8:fffe::2").octets();
    let body = [&target[..], &[option, 1, 2, 0, 0, 0, 1, 6]].concat();
    let mut message = V6::icmp(src, dst, kind, 0, flags, &body);
    message.hop_limit = 255;
    from_access(&message.build())
}

/// Neighbors, packets and fragments.
fn packets() -> Vec<Case> {
    let inner = user().build();
    let outer = tunnel(B4, AFTR, &inner);
    let pieces = outer.fragments(64, 0x1234_5678);
    let v4_pieces = user().fragments(64);
    vec![
        (
            who_has([203, 0, 113, 1]),
            "02:00:00:00:01:04 > ff:ff:ff:ff:ff:ff arp request 203.0.113.254 > 203.0.113.1",
        ),
        (
            neighbor(135, "2001:db8:fffe::1", "ff02::1:ff00:2", 0, 1),
            "02:00:00:00:01:06 > 02:00:00:00:00:06 | 2001:db8:fffe::1 > ff02::1:ff00:2 hops 255 who has 2001:db8:fffe::2",
        ),
        (
            neighbor(136, "2001:db8:fffe::2", "2001:db8:fffe::1", 0xe000_0000, 2),
            "02:00:00:00:01:06 > 02:00:00:00:00:06 | 2001:db8:fffe::2 > 2001:db8:fffe::1 hops 255 2001:db8:fffe::2 is at 02:00:00:00:01:06",
        ),
        (
            from_access(&outer.build()),
            "02:00:00:00:01:06 > 02:00:00:00:00:06 | 2001:db8:1::1 > 2001:db8:ffff::1 hops 64 | 192.0.2.1 > 198.51.100.9 ttl 64 len 128 UDP 1232 > 443 len 108",
        ),
        (
            from_access(&tunnel(B4, AFTR, &inner).limit(4).build()),
            "02:00:00:00:01:06 > 02:00:00:00:00:06 | 2001:db8:1::1 > 2001:db8:ffff::1 hops 64 encapsulation limit 4 | 192.0.2.1 > 198.51.100.9 ttl 64 len 128 UDP 1232 > 443 len 108",
        ),
        (
            from_access(&pieces[0]),
            "02:00:00:00:01:06 > 02:00:00:00:00:06 | 2001:db8:1::1 > 2001:db8:ffff::1 hops 64 fragment 0x12345678 at 0+ | 192.0.2.1 > 198.51.100.9 ttl 64 len 128 UDP 1232 > 443 len 44",
        ),
        (
            from_access(&pieces[1]),
            "02:00:00:00:01:06 > 02:00:00:00:00:06 | 2001:db8:1::1 > 2001:db8:ffff::1 hops 64 fragment 0x12345678 at 64 IPv4 64 bytes",
        ),
        (
            tagged(7, &from_internet(&v4_pieces[0])),
            "02:00:00:00:01:04 > 02:00:00:00:00:04 vlan 7 | 192.0.2.1 > 198.51.100.9 ttl 64 len 84 fragment at 0+ UDP 1232 > 443 len 64",
        ),
        (
            from_internet(&v4_pieces[1]),
            "02:00:00:00:01:04 > 02:00:00:00:00:04 | 192.0.2.1 > 198.51.100.9 ttl 64 len 64 fragment at 64 UDP 44 bytes",
        ),
    ]
}

/// ICMP messages and, last, a malformed frame.
fn messages_of_icmp() -> Vec<Case> {
    let inner = user().build();
    let outer = tunnel(B4, AFTR, &inner);
    let mut quoted = tunnel(AFTR, B4, &V4::udp(REMOTE, USER).payload(&[0; 60]).build()).build();
    quoted.truncate(40 + 20 + 8);
    let denied = V6::icmp("2001:db8:9::9", AFTR, 1, 5, 0, &quoted);
    let mut too_big = V4::icmp(
        "198.51.100.1",
        "192.0.2.1",
        3,
        4,
        [0, 0, 5, 0],
        &inner[..28],
    );
    too_big.ttl = 60;
    let mut cut = outer.build();
    cut.truncate(45);
    vec![
        (
            from_access(&denied.build()),
            "02:00:00:00:01:06 > 02:00:00:00:00:06 | 2001:db8:9::9 > 2001:db8:ffff::1 hops 64 icmp6 1/5 source address failed policy: no binding about | 2001:db8:ffff::1 > 2001:db8:1::1 hops 64 | 198.51.100.9 > 192.0.2.1 ttl 64 len 88 UDP 443 > 1232 len 8",
        ),
        (
            from_internet(&too_big.build()),
            "02:00:00:00:01:04 > 02:00:00:00:00:04 | 198.51.100.1 > 192.0.2.1 ttl 60 len 56 icmp 3/4 fragmentation needed mtu 1280 about | 192.0.2.1 > 198.51.100.9 ttl 64 len 128 UDP 1232 > 443 len 8",
        ),
        (
            from_internet(&V4::echo(8, "198.51.100.9", "192.0.2.1", 0x1234).build()),
            "02:00:00:00:01:04 > 02:00:00:00:00:04 | 198.51.100.9 > 192.0.2.1 ttl 64 len 36 icmp query 8 id 4660 seq 1",
        ),
        (
            from_access(&cut),
            "02:00:00:00:01:06 > 02:00:00:00:00:06 MALFORMED: ",
        ),
    ]
}

fn cases() -> Vec<Case> {
    [packets(), messages_of_icmp()].concat()
}

/// The cases in a capture, a second and a half apart.
fn captured() -> Temporary {
    let folder = temporary("dump");
    let times = (0..).map(|n| 1_000_000 + n * 1_500_000);
    let frames: Vec<_> = times.zip(cases().into_iter().map(|case| case.0)).collect();
    folder.capture("a.pcap", &frames);
    folder
}

#[test]
fn every_message_is_a_line() {
    let folder = captured();
    let out = folder.run(DUMP, &["a.pcap"]).fine();
    let lines: Vec<_> = out.lines().collect();
    let cases = cases();
    assert_eq!(lines.len(), cases.len());
    for (number, (line, (_, expected))) in lines.iter().zip(&cases).enumerate() {
        let micros = 1_000_000 + number * 1_500_000;
        let time = format!("{}.{:06} ", micros / 1_000_000, micros % 1_000_000);
        let rest = line.strip_prefix(&time).unwrap();
        if expected.ends_with("MALFORMED: ") {
            assert!(rest.starts_with(expected), "{line}");
        } else {
            assert_eq!(rest, *expected);
        }
    }
}

/// The messages as JSON.
fn messages() -> Vec<Value> {
    let out = captured().run(DUMP, &["--json", "a.pcap"]).fine();
    let messages = out.lines().map(|line| serde_json::from_str(line).unwrap());
    messages.collect()
}

#[test]
fn every_message_is_an_object_with_time_and_layers() {
    let messages = messages();
    assert_eq!(messages.len(), cases().len());
    for (number, message) in messages.iter().enumerate() {
        let fields = message.as_object().unwrap();
        assert!(message["time"].is_f64());
        assert_eq!(message["layers"][0]["layer"], "ethernet");
        let malformed = number + 1 == messages.len();
        assert_eq!(fields.contains_key("error"), malformed, "{message}");
        assert_eq!(fields.len(), 2 + usize::from(malformed), "{message}");
    }
    assert!(messages.last().unwrap()["error"].is_string());
    assert_eq!(messages[1]["time"], 2.5);
}

/// The names of a message's layers.
fn names(message: &Value) -> Vec<&str> {
    let layers = message["layers"].as_array().unwrap();
    layers
        .iter()
        .map(|layer| layer["layer"].as_str().unwrap())
        .collect()
}

#[test]
fn layers_are_in_order_outermost_first() {
    let messages = messages();
    let ports = ["ethernet", "ipv6", "ipv4", "ports"];
    assert_eq!(names(&messages[0]), ["ethernet", "arp"]);
    assert_eq!(
        names(&messages[1]),
        ["ethernet", "ipv6", "neighbor-solicit"]
    );
    assert_eq!(names(&messages[2]), ["ethernet", "ipv6", "neighbor-advert"]);
    assert_eq!(names(&messages[3]), ports);
    assert_eq!(names(&messages[4])[2], "encap-limit");
    assert_eq!(
        names(&messages[5]),
        ["ethernet", "ipv6", "fragment", "ipv4", "ports"]
    );
    assert_eq!(
        names(&messages[6]),
        ["ethernet", "ipv6", "fragment", "data"]
    );
    assert_eq!(names(&messages[7]), ["ethernet", "vlan", "ipv4", "ports"]);
    let quoting = [
        "ethernet", "ipv6", "icmpv6", "quoted", "ipv6", "ipv4", "ports",
    ];
    assert_eq!(names(&messages[9]), quoting);
    let quoting = ["ethernet", "ipv4", "icmpv4", "quoted", "ipv4", "ports"];
    assert_eq!(names(&messages[10]), quoting);
    assert_eq!(names(&messages[11]), ["ethernet", "ipv4", "icmpv4-query"]);
}

#[test]
fn layers_hold_the_fields_of_their_headers() {
    let messages = messages();
    assert_eq!(
        messages[2]["layers"][2],
        json!({
            "layer": "neighbor-advert",
            "target": "2001:db8:fffe::2",
            "target_mac": "02:00:00:00:01:06",
            "router": true,
            "solicited": true,
            "overrides": true,
        })
    );
    assert_eq!(
        messages[3]["layers"],
        json!([
            {"layer": "ethernet", "src": "02:00:00:00:01:06", "dst": "02:00:00:00:00:06", "ethertype": 0x86dd},
            {
                "layer": "ipv6", "src": B4, "dst": AFTR, "traffic_class": 0, "flow_label": 0,
                "hop_limit": 64, "payload_len": 128, "next_header": 4,
            },
            {
                "layer": "ipv4", "src": "192.0.2.1", "dst": "198.51.100.9", "tos": 0, "ttl": 64,
                "total_len": 128, "ident": 0x4242, "dont_fragment": false, "more_fragments": false,
                "fragment_offset": 0, "protocol": 17,
            },
            {"layer": "ports", "protocol": "UDP", "src": 1232, "dst": 443, "len": 108},
        ])
    );
    assert_eq!(
        messages[9]["layers"][2],
        json!({
            "layer": "icmpv6", "type": 1, "code": 5,
            "meaning": "source address failed policy: no binding",
        })
    );
    assert_eq!(
        messages[10]["layers"][2],
        json!({"layer": "icmpv4", "type": 3, "code": 4, "meaning": "fragmentation needed", "mtu": 1280})
    );
}

#[test]
fn a_wrong_checksum_is_malformed_and_the_layers_stand() {
    let folder = temporary("dump-sum");

    let mut header = user().build();
    header[10] ^= 1;
    folder.capture(
        "a.pcap",
        &[
            (0, from_internet(&header)),
            (
                1,
                from_internet(&V4::echo(8, "198.51.100.9", "192.0.2.1", 1).build()),
            ),
        ],
    );
    let out = folder.run(DUMP, &["--json", "a.pcap"]).fine();
    let first: Value = serde_json::from_str(out.lines().next().unwrap()).unwrap();
    assert_eq!(first["error"], "Ipv4: header checksum is wrong");
    assert_eq!(names(&first), ["ethernet", "ipv4"]);
}

#[test]
fn a_frame_cut_by_the_capture_says_how_much_is_there() {
    let folder = temporary("dump-cut");
    let frame = from_internet(&user().build());
    folder.capture("a.pcap", &[(0, frame.clone())]);
    // Same file, with 40 bytes of the frame: captured length, original length.
    let mut bytes = folder.read("a.pcap");
    bytes.truncate(24 + 16 + 40);
    let captured = if bytes.starts_with(&[0xa1]) {
        40u32.to_be_bytes()
    } else {
        40u32.to_le_bytes()
    };
    bytes.splice(32..36, captured);
    folder.write("a.pcap", bytes);
    let out = folder.run(DUMP, &["a.pcap"]).fine();
    let said = format!("(the capture holds 40 of {} bytes)\n", frame.len());
    assert!(out.contains("MALFORMED: ") && out.ends_with(&said), "{out}");
}
