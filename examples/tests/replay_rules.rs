//! The fixed rules of `lwaftr replay`: clock, order, timers, seed, counters.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a panic is a failed test"
)]

mod common;

use std::time::Duration;

use common::{
    AFTR, B4, OTHER_B4, OTHER_USER, REMOTE, SOFTWIRES, TOML, Temporary, USER, configured,
    from_access, from_internet, tagged, who_has,
};
use pcap_file::DataLink;
use pcap_file::pcapng::PcapNgWriter;
use pcap_file::pcapng::blocks::enhanced_packet::EnhancedPacketBlock;
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use testkit::packet::{V4, tunnel};

const SECOND: u64 = 1_000_000;

/// Bytes of Ethernet and IPv6 headers in front of an encapsulated packet.
const ENCAPSULATED: usize = 14 + 40;

/// A frame from the Internet to the B4, told from others by its identification.
fn inbound(ident: u16) -> Vec<u8> {
    let packet = V4::udp(REMOTE, USER).payload(b"inbound").ident(ident);
    from_internet(&packet.build())
}

/// A frame from the B4 to `to`.
fn outbound(to: &str, ident: u16) -> Vec<u8> {
    let packet = V4::udp(USER, to).payload(b"outbound").ident(ident);
    from_access(&tunnel(B4, AFTR, &packet.build()).build())
}

/// Identification of the IPv4 packet that stands at `at` in a frame.
fn ident(frame: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([frame[at + 4], frame[at + 5]])
}

/// Times and identifications of what left towards the B4s.
fn encapsulated(folder: &Temporary) -> Vec<(u64, u16)> {
    let frames = folder.frames("o6.pcap").into_iter();
    frames
        .map(|(time, frame)| (time, ident(&frame, ENCAPSULATED)))
        .collect()
}

fn times(folder: &Temporary, name: &str) -> Vec<u64> {
    let frames = folder.frames(name).into_iter();
    frames.map(|(time, _)| time).collect()
}

/// The common configuration with next hops that have to be resolved.
fn unresolved() -> Temporary {
    let toml = TOML.replace("02:00:00:00:01:04", "203.0.113.254");
    let toml = toml.replace("02:00:00:00:01:06", "2001:db8:fffe::fe");
    configured(&toml, SOFTWIRES)
}

#[test]
fn without_input_each_next_hop_is_asked_for_once_at_0() {
    let folder = unresolved();
    let out = folder.replay(&[]).fine();
    assert!(
        out.contains("the next hop of the Internet side did not answer"),
        "{out}"
    );
    assert!(
        out.contains("the next hop of the softwire side did not answer"),
        "{out}"
    );
    let (v4, v6) = (folder.frames("o4.pcap"), folder.frames("o6.pcap"));
    assert_eq!((v4.len(), v6.len()), (1, 1));
    assert_eq!((v4[0].0, v6[0].0), (0, 0));
    // An ARP request for the router, by broadcast.
    let arp = &v4[0].1;
    assert_eq!(&arp[..6], [0xff; 6]);
    assert_eq!(&arp[12..22], [8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
    assert_eq!(&arp[28..32], [203, 0, 113, 1]);
    assert_eq!(&arp[38..42], [203, 0, 113, 254]);
    // A neighbor solicitation for the router, to its solicited-node group.
    let solicit = &v6[0].1;
    assert_eq!(&solicit[..6], [0x33, 0x33, 0xff, 0, 0, 0xfe]);
    assert_eq!(solicit[54], 135);
    let target = testkit::packet::v6("2001:db8:fffe::fe").octets();
    assert_eq!(&solicit[62..78], target);
}

#[test]
fn without_input_and_with_ethernet_next_hops_nothing_leaves() {
    let folder = configured(TOML, SOFTWIRES);
    let out = folder.replay(&["--drain", "100"]).fine();
    assert!(out.contains("nothing dropped"), "{out}");
    assert_eq!(folder.frames("o4.pcap"), []);
    assert_eq!(folder.frames("o6.pcap"), []);
}

#[test]
fn drain_runs_timers_on() {
    let folder = unresolved();
    folder.replay(&["--drain", "5"]).fine();
    let every_second: Vec<_> = (0..=5).map(|second| second * SECOND).collect();
    assert_eq!(times(&folder, "o4.pcap"), every_second);
    assert_eq!(times(&folder, "o6.pcap"), every_second);
}

#[test]
fn the_clock_starts_at_the_first_time_stamp() {
    let folder = unresolved();
    // The frame itself waits for a next hop that never answers.
    folder.capture("i4.pcap", &[(7 * SECOND + 5, inbound(1))]);
    folder.replay(&["--v4-in", "i4.pcap"]).fine();
    assert_eq!(times(&folder, "o4.pcap"), [7 * SECOND + 5]);
    assert_eq!(times(&folder, "o6.pcap"), [7 * SECOND + 5]);
}

#[test]
fn the_clock_starts_at_the_earlier_of_two_captures() {
    let folder = unresolved();
    folder.capture("i4.pcap", &[(9 * SECOND, inbound(1))]);
    folder.capture("i6.pcap", &[(7 * SECOND, outbound(REMOTE, 2))]);
    let arguments = [
        "--v4-in",
        "i4.pcap",
        "--v6-in",
        "i6.pcap",
        "--drain",
        "0.5",
        "--counters",
        "n.json",
    ];
    folder.replay(&arguments).fine();
    // Asked for at 7, 8 and 9.
    assert_eq!(
        times(&folder, "o4.pcap"),
        [7 * SECOND, 8 * SECOND, 9 * SECOND]
    );
    assert_eq!(folder.json("n.json")["clock-micros"], 9_500_000);
    assert_eq!(
        folder.json("n.json")["unresolved"],
        serde_json::json!(["softwire", "internet"])
    );
}

#[test]
fn a_datagram_that_stays_incomplete_is_reported_after_60_seconds() {
    let folder = configured(TOML, SOFTWIRES);
    let inner = V4::udp(USER, REMOTE).payload(&[0x55; 1400]).build();
    let pieces = tunnel(B4, AFTR, &inner).fragments(1232, 0x4242);
    folder.capture("i6.pcap", &[(SECOND, from_access(&pieces[0]))]);
    let input = ["--v6-in", "i6.pcap"];
    folder.replay(&input).fine();
    assert_eq!(folder.frames("o6.pcap"), []);
    folder
        .replay(&[&input[..], &["--drain", "59"]].concat())
        .fine();
    assert_eq!(folder.frames("o6.pcap"), []);
    folder
        .replay(&[&input[..], &["--drain", "61"]].concat())
        .fine();
    let frames = folder.frames("o6.pcap");
    assert_eq!(frames.len(), 1);
    let (time, frame) = &frames[0];
    assert_eq!(*time, 61 * SECOND);
    // From the AFTR to the B4: ICMPv6 3/1.
    let addresses = [
        testkit::packet::v6(AFTR).octets(),
        testkit::packet::v6(B4).octets(),
    ];
    assert_eq!(frame[22..54], addresses.concat());
    assert_eq!(frame[54..56], [3, 1]);
}

#[test]
fn of_equal_times_the_ipv4_side_comes_first_then_the_order_of_the_file() {
    let folder = configured(TOML, SOFTWIRES);
    let both = |a, b| [(SECOND, a), (SECOND, b)];
    folder.capture("i4.pcap", &both(inbound(1), inbound(2)));
    // From B4 to B4, so that they leave on the same side.
    folder.capture(
        "i6.pcap",
        &both(outbound(OTHER_USER, 3), outbound(OTHER_USER, 4)),
    );
    folder
        .replay(&["--v6-in", "i6.pcap", "--v4-in", "i4.pcap"])
        .fine();
    let expected = [1, 2, 3, 4].map(|ident| (SECOND, ident));
    assert_eq!(encapsulated(&folder), expected);
    let frames = folder.frames("o6.pcap");
    assert_eq!(frames[2].1[38..54], testkit::packet::v6(OTHER_B4).octets());
}

#[test]
fn two_captures_are_merged_by_time() {
    let folder = configured(TOML, SOFTWIRES);
    let at = |second, frame| (second * SECOND, frame);
    folder.capture("i4.pcap", &[at(1, inbound(1)), at(4, inbound(4))]);
    folder.capture(
        "i6.pcap",
        &[
            at(2, outbound(OTHER_USER, 2)),
            at(3, outbound(OTHER_USER, 3)),
        ],
    );
    folder
        .replay(&["--v4-in", "i4.pcap", "--v6-in", "i6.pcap"])
        .fine();
    let expected = [1, 2, 3, 4].map(|n| (u64::from(n) * SECOND, n));
    assert_eq!(encapsulated(&folder), expected);
}

#[test]
fn time_that_goes_backwards_counts_as_the_newest_seen() {
    let folder = configured(TOML, SOFTWIRES);
    let at = |second, n| (second * SECOND, inbound(n));
    folder.capture("i4.pcap", &[at(10, 1), at(5, 2), at(12, 3), at(11, 4)]);
    let hairpin = |second, n| (second * SECOND, outbound(OTHER_USER, n));
    folder.capture("i6.pcap", &[hairpin(11, 5), hairpin(3, 6)]);
    folder
        .replay(&["--v4-in", "i4.pcap", "--v6-in", "i6.pcap"])
        .fine();
    let expected = [(10, 1), (10, 2), (11, 5), (11, 6), (12, 3), (12, 4)];
    assert_eq!(
        encapsulated(&folder),
        expected.map(|(second, n)| (second * SECOND, n))
    );
}

/// Frames towards the B4 that are too long for the tunnel without Don't Fragment.
fn too_long(folder: &Temporary) {
    let packet = V4::udp(REMOTE, USER).payload(&[0x55; 1472]).build();
    let frames: Vec<_> = (0..8)
        .map(|n| (n * SECOND, from_internet(&packet)))
        .collect();
    folder.capture("i4.pcap", &frames);
}

/// Identifications of the IPv6 Fragment headers that left.
fn fragment_idents(folder: &Temporary) -> Vec<[u8; 4]> {
    let frames = folder.frames("o6.pcap");
    assert_eq!(frames.len(), 16);
    assert!(frames.iter().all(|(_, frame)| frame[20] == 44));
    let ident = |frame: &[u8]| frame[58..62].try_into().unwrap();
    frames.iter().map(|(_, frame)| ident(frame)).collect()
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_seed_other_identifications() {
    let folder = configured(TOML, SOFTWIRES);
    too_long(&folder);
    let replayed = |seed: &[&str]| {
        let arguments = [&["--v4-in", "i4.pcap", "--counters", "n.json"], seed].concat();
        folder.replay(&arguments).fine();
        (folder.read("o6.pcap"), folder.read("n.json"))
    };
    let first = replayed(&["--seed", "7"]);
    let idents = fragment_idents(&folder);
    assert_eq!(replayed(&["--seed", "7"]), first);
    replayed(&["--seed", "8"]);
    let others = fragment_idents(&folder);
    assert!(idents.iter().zip(&others).any(|(a, b)| a != b));
    // 0 is the default.
    assert_eq!(replayed(&[]), replayed(&["--seed", "0"]));
}

/// Writes a pcapng capture; one tick of its clock is 10 to the power of -`resolution` seconds.
fn capture_ng(folder: &Temporary, name: &str, resolution: Option<u8>, frames: &[(u64, Vec<u8>)]) {
    let file = std::fs::File::create(folder.path().join(name)).unwrap();
    let mut writer = PcapNgWriter::new(file).unwrap();
    let mut interface = InterfaceDescriptionBlock::new(DataLink::ETHERNET, 0);
    let option = resolution.map(InterfaceDescriptionOption::IfTsResol);
    interface.options.extend(option);
    writer.write_pcapng_block(interface).unwrap();
    let ticks_of_a_micro = 10u64.pow(u32::from(resolution.unwrap_or(6)) - 6);
    for (micros, frame) in frames {
        let packet = EnhancedPacketBlock {
            interface_id: 0,
            // The writer takes nanoseconds for ticks.
            timestamp: Duration::from_nanos(micros * ticks_of_a_micro),
            original_len: u32::try_from(frame.len()).unwrap(),
            data: frame.into(),
            options: Vec::new(),
        };
        writer.write_pcapng_block(packet).unwrap();
    }
}

#[test]
fn pcapng_input_comes_out_as_pcap_input() {
    let folder = configured(TOML, SOFTWIRES);
    let frames = [
        (1_700_000_000 * SECOND + 1, inbound(1)),
        (1_700_000_000 * SECOND + 999_999, inbound(2)),
    ];
    folder.capture("i.pcap", &frames);
    folder.replay(&["--v4-in", "i.pcap"]).fine();
    let expected = folder.read("o6.pcap");
    for resolution in [None, Some(6), Some(9)] {
        capture_ng(&folder, "i.pcapng", resolution, &frames);
        folder.replay(&["--v4-in", "i.pcapng"]).fine();
        assert_eq!(folder.read("o6.pcap"), expected, "{resolution:?}");
    }
}

fn number(value: &serde_json::Value) -> u64 {
    value.as_u64().unwrap()
}

/// Six frames from the Internet, five from the B4: some of each fate.
fn mixture() -> Temporary {
    let folder = configured(TOML, SOFTWIRES);
    let nobody = V4::udp(REMOTE, "192.0.2.1:5000").build();
    let mut wrong_sum = inbound(4);
    wrong_sum[24] ^= 1;
    let echo = V4::echo(8, "198.51.100.9", "203.0.113.1", 9).build();
    let mut other_mac = inbound(5);
    other_mac[5] = 0x77;
    let frames = [
        inbound(1),
        from_internet(&nobody),
        wrong_sum,
        other_mac,
        from_internet(&echo),
        who_has([203, 0, 113, 1]),
    ];
    let frames: Vec<_> = (0..).zip(frames).collect();
    folder.capture("i4.pcap", &frames);
    let spoofed = V4::udp("192.0.2.1:5000", REMOTE).build();
    let spoofed = from_access(&tunnel(B4, AFTR, &spoofed).build());
    let inner = V4::udp(USER, REMOTE).payload(&[0; 1400]).build();
    let mut frames = vec![outbound(REMOTE, 1), outbound(OTHER_USER, 2), spoofed];
    let pieces = tunnel(B4, AFTR, &inner).fragments(1232, 1);
    frames.extend(pieces.iter().map(|piece| from_access(piece)));
    let frames: Vec<_> = (0..).zip(frames).collect();
    folder.capture("i6.pcap", &frames);
    folder
}

#[test]
fn the_counters_close() {
    let folder = mixture();
    let printed = folder.replay(&[
        "--v4-in",
        "i4.pcap",
        "--v6-in",
        "i6.pcap",
        "--counters",
        "n.json",
        "--json",
    ]);
    let report = folder.json("n.json");
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&printed.fine()).unwrap(),
        report
    );
    let counter = |name: &str| number(&report["counters"][name]);
    // What the engine took in became something.
    let became = [
        "forwarded",
        "replied",
        "echoed",
        "local",
        "consumed",
        "dropped",
    ];
    assert_eq!(
        counter("received-softwire") + counter("received-internet"),
        became.map(counter).iter().sum::<u64>()
    );
    assert_eq!(counter("received-softwire"), 5);
    assert_eq!(counter("received-internet"), 4);
    assert_eq!(counter("forwarded"), 3);
    assert_eq!((counter("merged"), counter("late-forwarded")), (2, 1));
    // What came in is the engine's, the port's, or was not for us.
    let sides = [&report["internet"], &report["softwire"]];
    assert_eq!(sides.map(|side| number(&side["received"])), [6, 5]);
    assert_eq!(report["neighbors"]["in-arp-request-packets"], 1);
    assert_eq!(report["neighbors"]["out-arp-reply-packets"], 1);
    // Every frame that is in an output was counted, and no other.
    let transmitted = sides.map(|side| number(&side["transmitted"]));
    let written = ["o4.pcap", "o6.pcap"].map(|name| folder.frames(name).len() as u64);
    assert_eq!(transmitted, written);
    // What was dropped or answered has a reason; the interface drops what is not for us by itself.
    assert_eq!(
        report["drops"],
        serde_json::json!({
            "ipv4-checksum": 1,
            "l2-not-for-us": 1,
            "no-binding": 1,
            "port-out-of-set": 1,
        })
    );
    assert_eq!(counter("dropped") + counter("replied") + 1, 4);
}

#[test]
fn captures_are_written_in_the_byte_order_that_everybody_reads() {
    let folder = configured(TOML, SOFTWIRES);
    folder.capture("i4.pcap", &[(5_000_001, inbound(1))]);
    folder.replay(&["--v4-in", "i4.pcap"]).fine();
    let written = folder.read("o6.pcap");
    assert_eq!(written[..8], [0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0]);
    assert_eq!(written[24..32], [5, 0, 0, 0, 1, 0, 0, 0]);
}

#[test]
fn vlan_tags_are_required_and_put_on() {
    let toml = TOML.replacen("\n\n[softwire]", "\nvlan = 100\n\n[softwire]", 1);
    let folder = configured(&format!("{toml}vlan = 200\n"), SOFTWIRES);
    folder.capture(
        "i4.pcap",
        &[
            (1, inbound(1)),
            (2, tagged(100, &inbound(2))),
            (3, tagged(200, &inbound(3))),
        ],
    );
    folder.capture(
        "i6.pcap",
        &[
            (1, outbound(REMOTE, 4)),
            (2, tagged(200, &outbound(REMOTE, 5))),
        ],
    );
    folder
        .replay(&["--v4-in", "i4.pcap", "--v6-in", "i6.pcap"])
        .fine();
    let (v4, v6) = (folder.frames("o4.pcap"), folder.frames("o6.pcap"));
    assert_eq!((v4.len(), v6.len()), (1, 1));
    assert_eq!(v4[0].1[12..18], [0x81, 0, 0, 100, 0x08, 0x00]);
    assert_eq!(ident(&v4[0].1, 18), 5);
    assert_eq!(v6[0].1[12..18], [0x81, 0, 0, 200, 0x86, 0xdd]);
    assert_eq!(ident(&v6[0].1, ENCAPSULATED + 4), 2);
}

#[test]
fn a_pool_makes_addresses_ours_without_a_binding() {
    let pool = r#""lw4o6-softwire-br:pool": [{"first-address": "192.0.2.64", "last-address": "192.0.2.127", "psid-len": 8, "psid-offset": 6}],
          "binding-table""#;
    let stray = V4::udp(REMOTE, "192.0.2.70:5000").payload(b"stray").build();
    for (softwires, local, answers) in [
        (SOFTWIRES.to_owned(), 1, 0),
        (SOFTWIRES.replacen("\"binding-table\"", pool, 1), 0, 1),
    ] {
        let folder = configured(TOML, &softwires);
        folder.capture("i4.pcap", &[(1, from_internet(&stray))]);
        let input = ["--v4-in", "i4.pcap", "--counters", "n.json"];
        folder.replay(&input).fine();
        let report = folder.json("n.json");
        assert_eq!(report["local"], local);
        let frames = folder.frames("o4.pcap");
        assert_eq!(frames.len(), answers);
        // ICMPv4 3/1 (R-088).
        for (_, frame) in frames {
            assert_eq!(frame[34..36], [3, 1]);
        }
    }
}
