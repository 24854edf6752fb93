//! IPv4 fragments from the Internet that are put together, through the whole engine.

mod common;

use common::fragments::{books, dropped, held, permutations};
use common::{AFTR, B4, B4_FULL, Bench, Outcome};
use lw4o6_aftr::config::{FragmentHandling, Switch};
use lw4o6_aftr::{AftrConfig, Counter, Destination, DropReason, Side, Verdict};
use lw4o6_wire::{FrameBuf, HEADROOM, LinkCast};
use testkit::packet::{V4, tunnel, v6};

const WAIT: u64 = 15_000;

fn bench_with(knobs: impl FnOnce(&mut AftrConfig)) -> Bench {
    Bench::with(|config| {
        config.fragments.handling = FragmentHandling::Reassemble;
        knobs(config);
    })
}

fn bench() -> Bench {
    bench_with(|_| {})
}

/// A packet from the Internet to the B4.
fn down(len: usize) -> V4 {
    let payload: Vec<u8> = (0..=250).cycle().take(len).collect();
    V4::udp("198.51.100.1:53", "192.0.2.18:1232").payload(&payload)
}

/// Everything that an input sent on, in order.
fn sent(out: &Outcome, side: Side) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    if out.verdict == Verdict::Forward(side) {
        all.push(out.packet.clone());
    } else {
        assert_eq!(out.verdict, Verdict::Consumed, "{out:?}");
    }
    for (output, packet) in &out.outputs {
        assert_eq!(output.to, Destination::Side(side));
        all.push(packet.clone());
    }
    all
}

/// Checks that the pieces give what the whole packet gives, in every order of arrival.
#[expect(clippy::indexing_slicing, reason = "a panic is a failed test")]
fn as_if_whole(packet: &V4, pieces: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let whole = sent(&bench().internet(&packet.build()), Side::Softwire);
    assert!(!whole.is_empty());
    for order in permutations(pieces.len()) {
        let mut bench = bench();
        for (at, &piece) in order.iter().enumerate() {
            let out = bench.internet(&pieces[piece]);
            if at + 1 < pieces.len() {
                held(&out);
            } else {
                assert_eq!(out.verdict, Verdict::Consumed);
                assert_eq!(sent(&out, Side::Softwire), whole, "{order:?}");
            }
        }
        books(&bench, 0);
        assert_eq!(bench.worker.poll_timeout(), None);
        assert_eq!(bench.counter(Counter::Merged), pieces.len() as u64);
        assert_eq!(bench.counter(Counter::Reassembled), 1);
        assert_eq!(bench.counter(Counter::RcvdIpv4Packets), 1);
        assert_eq!(bench.counter(Counter::Ipv6FragmentsReassembled), 0);
    }
    whole
}

#[test]
fn in_every_order_the_same_tunnel_packet_comes_out() {
    // identification, DSCP and the options of the first fragment stay.
    let packet = down(1200).tos(0xb8).ident(0x9876);
    let whole = as_if_whole(&packet, &packet.fragments(400));
    assert_eq!(whole.len(), 1);
    assert_eq!(whole[0][24..40], v6(B4).octets());
    assert_eq!(whole[0][40..], packet.clone().ttl(63).build());

    let options = packet.clone().options(&[1, 1, 1, 0]);
    let mut pieces = packet.fragments(400);
    pieces[0] = options.fragments(400)[0].clone();
    as_if_whole(&options, &pieces);
}

#[test]
fn what_is_too_big_for_the_tunnel_is_cut_again_outside() {
    // R-118 R-141
    let packet = down(3000);
    let whole = as_if_whole(&packet, &packet.fragments(1200));
    assert_eq!(whole.len(), 3);
}

#[test]
fn dont_fragment_is_that_of_the_first_fragment() {
    let packet = down(3000);
    let marked = packet.clone().df();
    let mut bench = bench();
    held(&bench.internet(&packet.fragments(1600)[1]));
    let out = bench.internet(&marked.fragments(1600)[0]);
    assert_eq!(sent(&out, Side::Internet).len(), 1, "ICMPv4 3/4");
    assert_eq!(bench.counter(Counter::LateReplied), 1);
    held(&bench.internet(&marked.fragments(1600)[1]));
    let out = bench.internet(&packet.fragments(1600)[0]);
    assert_eq!(sent(&out, Side::Softwire).len(), 3);
    books(&bench, 0);
}

#[test]
fn padding_is_no_part_of_the_packet() {
    let packet = down(100);
    let mut pieces = packet.fragments(64);
    for piece in &mut pieces {
        piece.extend([0xee; 9]);
    }
    as_if_whole(&packet, &pieces);
}

#[test]
fn a_fragmented_icmp_error_is_read_when_it_is_whole() {
    //
    let quoted = V4::udp("192.0.2.18:1232", "198.51.100.1:53").payload(&[1; 400]);
    let error = V4::icmp_error("203.0.113.9", "192.0.2.18", 11, 0, &quoted.build());
    as_if_whole(&error, &error.fragments(16));
}

#[test]
fn fragments_from_b4s_and_to_full_addresses_go_on_as_they_are() {
    // R-142 R-145
    let mut bench = bench();
    let packet = V4::udp("192.0.2.18:1232", "198.51.100.1:53").payload(&[7; 1000]);
    let expected = packet.clone().ttl(63).fragments(400);
    let pieces = packet.fragments(400);
    held(&bench.softwire(&tunnel(B4, AFTR, &pieces[1]).build()));
    let out = bench.softwire(&tunnel(B4, AFTR, &pieces[0]).build());
    assert_eq!(sent(&out, Side::Internet), expected[..2]);
    let out = bench.softwire(&tunnel(B4, AFTR, &pieces[2]).build());
    assert_eq!(sent(&out, Side::Internet), expected[2..]);

    let packet = V4::udp("198.51.100.1:53", "192.0.2.20:7").payload(&[7; 1000]);
    let out = bench.internet(&packet.fragments(400)[1]);
    let gone = sent(&out, Side::Softwire);
    assert_eq!(gone[0][24..40], v6(B4_FULL).octets());
    assert_eq!(gone[0][40..], packet.ttl(63).fragments(400)[1]);
    books(&bench, 0);
}

#[test]
fn datagrams_are_told_apart_by_addresses_protocol_and_identification() {
    //
    let mut bench = bench();
    let packets = [
        down(600),
        down(600).ident(1),
        V4::udp("198.51.100.2:53", "192.0.2.18:1232").payload(&[1; 600]),
        V4::udp("198.51.100.1:53", "192.0.2.21:5120").payload(&[2; 600]),
        V4::tcp("198.51.100.1:53", "192.0.2.18:1232", 0x10).payload(&[3; 600]),
    ];
    for packet in &packets {
        held(&bench.internet(&packet.fragments(400)[1]));
    }
    for packet in &packets {
        let gone = sent(&bench.internet(&packet.fragments(400)[0]), Side::Softwire);
        assert_eq!(gone.len(), 1);
        assert_eq!(gone[0][40..], packet.clone().ttl(63).build());
    }
    books(&bench, 0);
}

#[test]
fn impossible_and_tiny_fragments_are_dropped_alone() {
    //
    let mut bench = bench();
    let malformed = DropReason::Ipv4FragmentMalformed;
    let mut odd = down(100);
    odd.flags = 0x2000;
    odd.l4.truncate(100);
    dropped(&bench.internet(&odd.build()), malformed);
    let mut far = down(100);
    far.flags = 8190;
    dropped(&bench.internet(&far.build()), malformed);
    let mut empty = down(0);
    empty.flags = 0x2000 | 50;
    empty.l4.clear();
    dropped(&bench.internet(&empty.build()), malformed);
    let tcp = V4::tcp("198.51.100.1:80", "192.0.2.18:1232", 0x02).payload(&[1; 100]);
    for piece in &tcp.fragments(8)[..2] {
        dropped(&bench.internet(piece), DropReason::Ipv4FragmentTiny);
    }
    assert_eq!(bench.worker.poll_timeout(), None);
}

#[test]
fn with_the_longer_header_of_the_first_one_a_datagram_can_be_too_long() {
    let packet = down(65_535 - 28);
    as_if_whole(&packet, &packet.fragments(32_000));
    let mut bench = bench();
    let pieces = packet.fragments(32_000);
    held(&bench.internet(&pieces[1]));
    held(&bench.internet(&pieces[2]));
    let first = packet.options(&[1, 1, 1, 0]).fragments(32_000).remove(0);
    let out = bench.internet(&first);
    dropped(&out, DropReason::Ipv4FragmentMalformed);
    assert_eq!(bench.drops(DropReason::Ipv4FragmentMalformed), 3);
    books(&bench, 0);
}

#[test]
fn what_cannot_be_delivered_is_not_held() {
    //
    let mut bench = bench_with(|config| config.icmp.incoming_v4 = Switch::Off);
    let gre = V4::raw(47, "198.51.100.1", "192.0.2.18", &[0; 100]);
    let ping = V4::echo(8, "198.51.100.1", "192.0.2.18", 1232).payload(&[0; 100]);
    let mut broken = down(100).fragments(64);
    broken[1][10] ^= 1;
    let spoofed = V4::udp("192.0.2.21:5120", "192.0.2.18:1232").payload(&[0; 100]);
    for at in [0, 1] {
        let out = bench.internet(&gre.fragments(64)[at]);
        dropped(&out, DropReason::NoL4Port);
        let out = bench.internet(&ping.fragments(64)[at]);
        dropped(&out, DropReason::Icmpv4Policy);
        let out = bench.internet(&spoofed.fragments(64)[at]);
        dropped(&out, DropReason::PoolSourceSpoofed);
    }
    dropped(&bench.internet(&broken[1]), DropReason::Ipv4Checksum);
    assert_eq!(bench.worker.poll_timeout(), None);
}

#[test]
fn a_duplicate_is_dropped_alone() {
    let mut bench = bench();
    let pieces = down(1000).fragments(400);
    for at in [2, 0] {
        held(&bench.internet(&pieces[at]));
        let out = bench.internet(&pieces[at]);
        dropped(&out, DropReason::Ipv4FragmentDuplicate);
    }
    assert_eq!(sent(&bench.internet(&pieces[1]), Side::Softwire).len(), 1);
    books(&bench, 0);
}

#[test]
fn an_overlap_ends_a_datagram_and_what_still_arrives_of_it() {
    let mut bench = bench();
    let (pieces, others) = (down(1000).fragments(400), down(1000).fragments(384));
    held(&bench.internet(&pieces[0]));
    let overlap = DropReason::Ipv4FragmentOverlap;
    dropped(&bench.internet(&others[1]), overlap);
    for piece in &pieces {
        dropped(&bench.internet(piece), overlap);
    }
    books(&bench, 0);
    // the tombstone goes in silence, and the identification is free again.
    assert!(bench.pass(WAIT).is_empty());
    assert_eq!(bench.worker.poll_timeout(), None);
    assert_eq!(bench.drops(DropReason::Ipv4ReassemblyTimeout), 0);
    for at in [0, 1] {
        held(&bench.internet(&pieces[at]));
    }
    assert_eq!(sent(&bench.internet(&pieces[2]), Side::Softwire).len(), 1);
}

#[test]
fn a_second_first_fragment_with_other_ports_ends_the_datagram() {
    //
    let mut bench = bench();
    let pieces = down(1000).fragments(400);
    let other = V4::udp("198.51.100.1:53", "192.0.2.18:1236").payload(&[9; 1000]);
    held(&bench.internet(&pieces[0]));
    let conflict = DropReason::Ipv4FragmentConflict;
    dropped(&bench.internet(&other.fragments(400)[0]), conflict);
    for at in [1, 2, 0] {
        dropped(&bench.internet(&pieces[at]), conflict);
    }
    books(&bench, 0);
}

#[test]
fn too_many_fragments_end_a_datagram() {
    //
    let mut bench = bench_with(|config| config.fragments.fragments = 2);
    let pieces = down(1000).fragments(200);
    for at in [1, 0] {
        held(&bench.internet(&pieces[at]));
    }
    for at in [2, 3] {
        let out = bench.internet(&pieces[at]);
        dropped(&out, DropReason::Ipv4FragmentCount);
    }
    assert_eq!(bench.drops(DropReason::Ipv4FragmentCount), 4);
    books(&bench, 0);
}

#[test]
fn congestion_survives_and_ends_a_datagram_that_knows_none() {
    let pieces = |marks: [u8; 2]| {
        let cut = |at: usize| down(600).tos(marks[at]).fragments(400)[at].clone();
        [cut(0), cut(1)]
    };
    for order in [[0, 1], [1, 0]] {
        for (marks, result) in [([2, 3], 3), ([3, 2], 3), ([2, 1], 2), ([0, 2], 0)] {
            let mut bench = bench();
            held(&bench.internet(&pieces(marks)[order[0]]));
            let gone = sent(&bench.internet(&pieces(marks)[order[1]]), Side::Softwire);
            assert_eq!(gone[0][40..], down(600).tos(result).ttl(63).build());
        }
        for marks in [[0, 3], [3, 0]] {
            let mut bench = bench();
            held(&bench.internet(&pieces(marks)[order[0]]));
            let out = bench.internet(&pieces(marks)[order[1]]);
            dropped(&out, DropReason::Ipv4ReassemblyEcn);
            assert_eq!(bench.drops(DropReason::Ipv4ReassemblyEcn), 2);
            books(&bench, 0);
        }
    }
}

#[test]
fn a_source_has_its_share_and_all_have_theirs() {
    // R-138 R-140
    let pieces = down(600).fragments(200);
    for (total, source, reason) in [
        (1 << 20, 256, DropReason::Ipv4FragmentQuota),
        (512, 1 << 20, DropReason::Ipv4FragmentFull),
    ] {
        let mut bench = bench_with(|config| {
            config.fragments.bytes = total;
            config.fragments.bytes_per_source = source;
        });
        held(&bench.internet(&pieces[0]));
        dropped(&bench.internet(&pieces[1]), reason);
        dropped(&bench.internet(&pieces[2]), reason);
        books(&bench, 0);
    }
}

#[test]
fn the_oldest_datagram_makes_room() {
    // sources can be forged, so a flood must not keep out what comes after it.
    let mut bench = bench_with(|config| config.fragments.contexts = 4);
    for host in 1..=50 {
        let flood = V4::udp(&format!("198.51.100.{host}:9"), "192.0.2.18:1232");
        held(&bench.internet(&flood.payload(&[0; 600]).fragments(400)[1]));
    }
    let packet = down(600).ident(7);
    held(&bench.internet(&packet.fragments(400)[0]));
    let gone = sent(&bench.internet(&packet.fragments(400)[1]), Side::Softwire);
    assert_eq!(gone.len(), 1);
    assert_eq!(bench.drops(DropReason::Ipv4FragmentFull), 47);
    assert_eq!(bench.counter(Counter::FragmentEvictions), 47);
    books(&bench, 3);
}

#[test]
fn what_stays_incomplete_is_given_up_in_silence() {
    //
    let mut bench = bench();
    let pieces = down(1000).fragments(400);
    held(&bench.internet(&pieces[0]));
    bench.pass(1000);
    held(&bench.internet(&pieces[2]));
    assert!(bench.pass(WAIT - 1001).is_empty());
    books(&bench, 2);
    assert!(bench.pass(1).is_empty(), "no ICMP about it");
    books(&bench, 0);
    assert_eq!(bench.drops(DropReason::Ipv4ReassemblyTimeout), 2);
    assert_eq!(bench.worker.poll_timeout(), None);
    held(&bench.internet(&pieces[1]));
}

#[test]
fn the_knob_can_be_turned_while_fragments_are_held() {
    //
    let mut bench = Bench::new();
    let (pieces, other) = (down(1000).fragments(400), down(1000).ident(1));
    held(&bench.internet(&pieces[1]));
    bench.turn(|config| config.fragments.handling = FragmentHandling::Reassemble);
    held(&bench.internet(&pieces[0]));
    held(&bench.internet(&pieces[2]));
    assert_eq!(sent(&bench.internet(&pieces[1]), Side::Softwire).len(), 1);
    held(&bench.internet(&other.fragments(400)[0]));
    bench.turn(|config| config.fragments.handling = FragmentHandling::Off);
    let out = bench.internet(&other.fragments(400)[1]);
    dropped(&out, DropReason::FragmentsOff);
    bench.turn(|config| config.fragments.handling = FragmentHandling::Follow);
    assert_eq!(
        sent(&bench.internet(&other.fragments(400)[0]), Side::Softwire).len(),
        1
    );
    bench.pass(WAIT);
    assert_eq!(bench.drops(DropReason::Ipv4ReassemblyTimeout), 1);
    assert_eq!(bench.drops(DropReason::FragmentNoFirst), 1);
    books(&bench, 0);
    assert_eq!(bench.worker.poll_timeout(), None);
}

#[test]
fn fragments_in_a_broadcast_frame_are_not_put_together() {
    // RFC 1812 §5.3.4, R-141: the whole packet has no frame that would tell.
    let mut bench = bench();
    for piece in down(100).fragments(64) {
        let mut storage = vec![0; 512];
        let mut frame = FrameBuf::with_headroom(&mut storage, HEADROOM, &piece).unwrap();
        frame.set_link_cast(LinkCast::Group);
        let verdict = bench.worker.process(bench.now, Side::Internet, &mut frame);
        assert_eq!(verdict, Verdict::Drop(DropReason::LinkGroup));
    }
    assert!(bench.drain().is_empty());
}
