//! The counters of RFC 8676.

mod common;
mod named;

use common::{AFTR, AFTR_V4, B4, Bench};
use lw4o6_aftr::Counter::{self, *};
use lw4o6_aftr::config::FragmentHandling;
use named::*;
use testkit::packet::{V4, tunnel};

const OWN: &str = "192.0.2.18:1232";
const PEER: &str = "198.51.100.1:53";

/// Every leaf of `traffic-stat`, and the two of the whole binding instance.
const TRAFFIC_STAT: &[Counter] = &[
    SentIpv4Packets,
    SentIpv4Bytes,
    SentIpv6Packets,
    SentIpv6Bytes,
    RcvdIpv4Packets,
    RcvdIpv4Bytes,
    RcvdIpv6Packets,
    RcvdIpv6Bytes,
    DroppedIpv4Packets,
    DroppedIpv4Bytes,
    DroppedIpv6Packets,
    DroppedIpv6Bytes,
    DroppedIpv4Fragments,
    DroppedIpv4FragmentBytes,
    Ipv6FragmentsReassembled,
    Ipv6FragmentsBytesReassembled,
    OutIcmpv4ErrorPackets,
    OutIcmpv4ErrorBytes,
    OutIcmpv6ErrorPackets,
    OutIcmpv6ErrorBytes,
    DroppedIcmpv4Packets,
    DroppedIcmpv4Bytes,
    HairpinIpv4Packets,
    HairpinIpv4Bytes,
];

/// Runs `step` and asserts that these counters move by that much, and no other.
fn moves(bench: &mut Bench, expect: &[(Counter, usize)], step: impl FnOnce(&mut Bench)) {
    let before = bench.aftr.counters();
    step(bench);
    let after = bench.aftr.counters();
    for counter in TRAFFIC_STAT {
        let moved = after.get(*counter) - before.get(*counter);
        let found = expect.iter().find(|(c, _)| c == counter);
        let expected = found.map_or(0, |(_, amount)| *amount as u64);
        assert_eq!(moved, expected, "{}", counter.as_str());
    }
}

#[test]
fn packets_that_pass_count_once_on_each_side() {
    //
    let mut bench = Bench::new();
    for counter in TRAFFIC_STAT {
        assert_eq!(bench.counter(*counter), 0, "a new instance starts at zero");
    }
    let inner = V4::udp(OWN, PEER).payload(b"up").build();
    let len = inner.len();
    let up = [
        (RcvdIpv6Packets, 1),
        (RcvdIpv6Bytes, 40 + len),
        (SentIpv4Packets, 1),
        (SentIpv4Bytes, len),
    ];
    moves(&mut bench, &up, |bench| {
        to_internet(&bench.softwire(&tunnel(B4, AFTR, &inner).build()));
    });
    let packet = V4::udp(PEER, OWN).payload(b"down").build();
    let len = packet.len();
    let down = [
        (RcvdIpv4Packets, 1),
        (RcvdIpv4Bytes, len),
        (SentIpv6Packets, 1),
        (SentIpv6Bytes, 40 + len),
    ];
    moves(&mut bench, &down, |bench| {
        to_b4(&bench.internet(&packet), AFTR, B4);
    });
}

#[test]
fn packets_that_turn_round_or_were_put_together_count_as_such() {
    // R-117 R-263: a hairpinned packet was never on the IPv4 side.
    let mut bench = Bench::new();
    let inner = V4::udp(OWN, "192.0.2.18:1236").build();
    let len = inner.len();
    let hairpin = [
        (RcvdIpv6Packets, 1),
        (RcvdIpv6Bytes, 40 + len),
        (HairpinIpv4Packets, 1),
        (HairpinIpv4Bytes, len),
    ];
    moves(&mut bench, &hairpin, |bench| {
        to_b4(
            &bench.softwire(&tunnel(B4, AFTR, &inner).build()),
            AFTR,
            common::B4_NEXT,
        );
    });
    let whole = tunnel(B4, AFTR, &V4::udp(OWN, PEER).payload(&[1; 100]).build());
    let len = whole.build().len();
    let reassembled = [
        (Ipv6FragmentsReassembled, 2),
        (Ipv6FragmentsBytesReassembled, len),
        (RcvdIpv6Packets, 1),
        (RcvdIpv6Bytes, len),
        (SentIpv4Packets, 1),
        (SentIpv4Bytes, len - 40),
    ];
    moves(&mut bench, &reassembled, |bench| {
        for fragment in whole.fragments(64, 7) {
            let _ = bench.softwire(&fragment);
        }
    });
    // What is the box's own business is in none of them.
    let own = V4::echo(8, "198.51.100.1", AFTR_V4, 7).build();
    let foreign = V4::udp(PEER, "203.0.113.200:9").build();
    moves(&mut bench, &[], |bench| {
        let _ = bench.internet(&own);
        let _ = bench.internet(&foreign);
    });
}

#[test]
fn packets_that_are_dropped_count_where_they_came_from() {
    // R-263 R-265
    let mut bench = Bench::new();
    let packet = V4::udp(PEER, "192.0.2.21:7000").build();
    let len = packet.len();
    let unbound = [
        (RcvdIpv4Packets, 1),
        (RcvdIpv4Bytes, len),
        (DroppedIpv4Packets, 1),
        (DroppedIpv4Bytes, len),
        (OutIcmpv4ErrorPackets, 1),
        (OutIcmpv4ErrorBytes, 28 + len),
    ];
    moves(&mut bench, &unbound, |bench| {
        let _ = bench.internet(&packet);
    });
    let packet = tunnel("2001:db8:99::1", AFTR, &V4::udp(OWN, PEER).build()).build();
    let len = packet.len();
    let stranger = [
        (RcvdIpv6Packets, 1),
        (RcvdIpv6Bytes, len),
        (DroppedIpv6Packets, 1),
        (DroppedIpv6Bytes, len),
        (OutIcmpv6ErrorPackets, 1),
        (OutIcmpv6ErrorBytes, 48 + len),
    ];
    moves(&mut bench, &stranger, |bench| {
        let _ = bench.softwire(&packet);
    });
    let packet = V4::echo(0, "198.51.100.1", "192.0.2.18", 9).build();
    let len = packet.len();
    let icmp = [
        (RcvdIpv4Packets, 1),
        (RcvdIpv4Bytes, len),
        (DroppedIpv4Packets, 1),
        (DroppedIpv4Bytes, len),
        (DroppedIcmpv4Packets, 1),
        (DroppedIcmpv4Bytes, len),
    ];
    moves(&mut bench, &icmp, |bench| {
        let _ = bench.internet(&packet);
    });
    bench.turn(|config| config.fragments.handling = FragmentHandling::Off);
    let packet = V4::udp(PEER, OWN).payload(&[0; 64]).fragments(32).remove(1);
    let len = packet.len();
    let fragment = [
        (RcvdIpv4Packets, 1),
        (RcvdIpv4Bytes, len),
        (DroppedIpv4Packets, 1),
        (DroppedIpv4Bytes, len),
        (DroppedIpv4Fragments, 1),
        (DroppedIpv4FragmentBytes, len),
    ];
    moves(&mut bench, &fragment, |bench| {
        let _ = bench.internet(&packet);
    });
}

#[test]
fn a_held_fragment_is_received_once() {
    //
    let mut bench = Bench::new();
    let datagram = V4::udp(PEER, OWN).payload(&[7; 1000]);
    let pieces = datagram.fragments(600);
    let bytes = pieces.iter().map(Vec::len).sum::<usize>();
    let tunnelled = bytes + 40 * pieces.len();
    let count = pieces.len();
    moves(
        &mut bench,
        &[
            (RcvdIpv4Packets, count),
            (RcvdIpv4Bytes, bytes),
            (SentIpv6Packets, count),
            (SentIpv6Bytes, tunnelled),
        ],
        |bench| {
            for piece in pieces.iter().rev() {
                bench.internet(piece);
            }
        },
    );
    let datagram = V4::udp(OWN, PEER).payload(&[7; 1000]);
    let pieces: Vec<_> = datagram
        .fragments(600)
        .iter()
        .map(|piece| tunnel(B4, AFTR, piece).build())
        .collect();
    let bytes = pieces.iter().map(Vec::len).sum::<usize>();
    moves(
        &mut bench,
        &[
            (RcvdIpv6Packets, count),
            (RcvdIpv6Bytes, bytes),
            (SentIpv4Packets, count),
            (SentIpv4Bytes, bytes - 40 * count),
        ],
        |bench| {
            for piece in pieces.iter().rev() {
                bench.softwire(piece);
            }
        },
    );
}
