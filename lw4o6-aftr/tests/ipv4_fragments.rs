//! IPv4 fragments on shared and on full addresses, from both sides, through the whole engine.

mod common;

use common::fragments::{books, dropped, held, permutations};
use common::{AFTR, B4, B4_FULL, B4_NEXT, B4_RANGE, Bench, Outcome};
use lw4o6_aftr::config::FragmentHandling;
use lw4o6_aftr::{Cause, Counter, Destination, DropReason, Side, Verdict};
use testkit::packet::{V4, tunnel, v6};

const WAIT: u64 = 15_000;

/// A packet from the B4 to the Internet.
fn up(len: usize) -> V4 {
    V4::udp("192.0.2.18:1232", "198.51.100.1:53").payload(&vec![7; len])
}

/// A packet from the Internet to the B4.
fn down(len: usize) -> V4 {
    V4::udp("198.51.100.1:53", "192.0.2.18:1232").payload(&vec![9; len])
}

fn from(b4: &str, packet: &[u8]) -> Vec<u8> {
    tunnel(b4, AFTR, packet).build()
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
        assert_eq!(output.after, 0);
        all.push(packet.clone());
    }
    all
}

/// IPv4 packets that went to a B4, which has to be this one.
#[expect(clippy::indexing_slicing, reason = "a panic is a failed test")]
fn inside(b4: &str, packets: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let strip = |packet: Vec<u8>| {
        assert_eq!(packet[24..40], v6(b4).octets(), "the wrong tunnel");
        packet[40..].to_vec()
    };
    packets.into_iter().map(strip).collect()
}

/// Checks that all pieces leave unchanged but for the TTL, the first one first, in every order of
/// arrival.
#[expect(clippy::indexing_slicing, reason = "a panic is a failed test")]
fn follow_in_every_order(
    pieces: &[Vec<u8>],
    expected: &[Vec<u8>],
    mut feed: impl FnMut(&mut Bench, &[u8]) -> Vec<Vec<u8>>,
) {
    for order in permutations(pieces.len()) {
        let mut bench = Bench::new();
        let mut gone = Vec::new();
        for &at in &order {
            gone.extend(feed(&mut bench, &pieces[at]));
        }
        assert_eq!(gone[0], expected[0], "the first one goes first");
        let mut sorted = gone;
        sorted.sort();
        let mut wanted = expected.to_vec();
        wanted.sort();
        assert_eq!(sorted, wanted, "{order:?}");
        books(&bench, 0);
        assert_eq!(bench.worker.poll_timeout(), None);
    }
}

#[test]
fn t3_inner_fragments_follow_their_first() {
    //
    let packet = up(1400);
    let pieces: Vec<_> = packet.fragments(400);
    let pieces: Vec<_> = pieces.iter().map(|piece| from(B4, piece)).collect();
    let expected = packet.ttl(63).fragments(400);
    follow_in_every_order(&pieces, &expected, |bench, piece| {
        sent(&bench.softwire(piece), Side::Internet)
    });
}

#[test]
fn t3_inner_fragments_follow_their_first_to_another_b4() {
    // R-114 R-142: hairpinned
    let packet = V4::udp("192.0.2.18:1232", "192.0.2.18:1236").payload(&[5; 1000]);
    let pieces: Vec<_> = packet.fragments(400);
    let pieces: Vec<_> = pieces.iter().map(|piece| from(B4, piece)).collect();
    let expected = packet.ttl(63).fragments(400);
    follow_in_every_order(&pieces, &expected, |bench, piece| {
        inside(B4_NEXT, sent(&bench.softwire(piece), Side::Softwire))
    });
}

#[test]
fn t3_inner_fragments_of_a_full_address_follow_their_first_to_a_shared_one() {
    // R-114 R-142 R-145: the sender needs no ports, the receiver does.
    let packet = V4::udp("192.0.2.20:7", "192.0.2.18:1236").payload(&[5; 1000]);
    let pieces: Vec<_> = packet.fragments(400);
    let pieces: Vec<_> = pieces.iter().map(|piece| from(B4_FULL, piece)).collect();
    let expected = packet.ttl(63).fragments(400);
    follow_in_every_order(&pieces, &expected, |bench, piece| {
        inside(B4_NEXT, sent(&bench.softwire(piece), Side::Softwire))
    });
    // And back: the ports of the sender are checked, the receiver needs none.
    let packet = V4::udp("192.0.2.18:1236", "192.0.2.20:7").payload(&[5; 1000]);
    let pieces: Vec<_> = packet.fragments(400);
    let pieces: Vec<_> = pieces.iter().map(|piece| from(B4_NEXT, piece)).collect();
    let expected = packet.ttl(63).fragments(400);
    follow_in_every_order(&pieces, &expected, |bench, piece| {
        inside(B4_FULL, sent(&bench.softwire(piece), Side::Softwire))
    });
}

#[test]
fn t3_inner_fragments_inside_tunnel_fragments_follow_their_first() {
    // R-126 R-142
    let packet = up(3000);
    let inner = packet.fragments(1200);
    let cut = |at: usize| tunnel(B4, AFTR, &inner[at]).fragments(400, u32::try_from(at).unwrap());
    let expected = packet.ttl(63).fragments(1200);
    let mut bench = Bench::new();
    let mut gone = Vec::new();
    for piece in [cut(2), cut(1), cut(0)].concat() {
        gone.extend(sent(&bench.softwire(&piece), Side::Internet));
    }
    let [first, second, third] = &expected[..] else {
        panic!("{expected:?}");
    };
    assert_eq!(gone, [first.clone(), third.clone(), second.clone()]);
    assert_eq!(bench.counter(Counter::LateConsumed), 2);
    books(&bench, 0);
}

#[test]
fn vpp_7_five_fragments_in_order_arrive() {
    //
    let packet = down(1900);
    let expected = packet.clone().ttl(63).fragments(400);
    assert_eq!(expected.len(), 5);
    let mut bench = Bench::new();
    for (piece, expected) in packet.fragments(400).iter().zip(expected) {
        let out = bench.internet(piece);
        assert_eq!(inside(B4, sent(&out, Side::Softwire)), [expected]);
    }
    assert_eq!(bench.worker.poll_timeout(), None);
}

#[test]
fn vpp_7b_five_fragments_reversed_arrive() {
    //
    let packet = down(1900);
    let mut pieces = packet.fragments(400);
    pieces.reverse();
    let mut bench = Bench::new();
    for piece in &pieces[..4] {
        held(&bench.internet(piece));
    }
    let out = bench.internet(&pieces[4]);
    let mut expected = packet.ttl(63).fragments(400);
    expected[1..].reverse();
    assert_eq!(inside(B4, sent(&out, Side::Softwire)), expected);
    assert_eq!(bench.counter(Counter::Released), 4);
    books(&bench, 0);
}

#[test]
fn four_fragments_from_the_internet_arrive_in_every_order() {
    //
    let packet = down(1400);
    let pieces = packet.fragments(400);
    let expected = packet.ttl(63).fragments(400);
    follow_in_every_order(&pieces, &expected, |bench, piece| {
        inside(B4, sent(&bench.internet(piece), Side::Softwire))
    });
}

#[test]
fn released_fragments_that_are_too_big_for_the_tunnel_are_cut() {
    // R-118 R-141
    let mut bench = Bench::with(|config| config.ipv6_mtu = 1280);
    let packet = down(2800);
    let pieces = packet.fragments(1480);
    held(&bench.internet(&pieces[1]));
    let out = bench.internet(&pieces[0]);
    assert_eq!(out.verdict, Verdict::Forward(Side::Softwire));
    let all = out.packets();
    assert_eq!(all.len(), 4, "two tunnel fragments for each");
    let data = |pair: &[&[u8]]| [&pair[0][48..], &pair[1][48..]].concat();
    let expected = packet.ttl(63).fragments(1480);
    assert_eq!(data(&all[..2]), expected[0]);
    assert_eq!(data(&all[2..]), expected[1]);
}

#[test]
fn vpp_19b_inner_fragments_from_the_wrong_b4_are_dropped() {
    // R-142 R-143
    let pieces: Vec<_> = up(1400).fragments(400);
    let pieces: Vec<_> = pieces.iter().map(|piece| from(B4_NEXT, piece)).collect();
    let mut bench = Bench::new();
    held(&bench.softwire(&pieces[2]));
    let out = bench.softwire(&pieces[0]);
    let cause = Cause::Dropped(DropReason::PortOutOfSet);
    assert_eq!(out.verdict, Verdict::Reply(Side::Softwire, cause));
    assert!(out.outputs.is_empty());
    dropped(&bench.softwire(&pieces[1]), DropReason::FragmentRefused);
    dropped(&bench.softwire(&pieces[3]), DropReason::FragmentRefused);
    assert_eq!(bench.drops(DropReason::FragmentRefused), 3);
    assert_eq!(bench.counter(Counter::SentIpv4Packets), 0);
    books(&bench, 0);
}

#[test]
fn fragments_from_an_unknown_b4_are_dropped() {
    let pieces = up(1000).fragments(400);
    let stranger = |at: usize| from("2001:db8:bad::1", &pieces[at]);
    let mut bench = Bench::new();
    let out = bench.softwire(&stranger(0));
    let cause = Cause::Dropped(DropReason::NoB4);
    assert_eq!(out.verdict, Verdict::Reply(Side::Softwire, cause));
    dropped(&bench.softwire(&stranger(1)), DropReason::FragmentRefused);
    // The same datagram from the right B4 is another one.
    for piece in &pieces {
        let out = bench.softwire(&from(B4, piece));
        assert_eq!(out.verdict, Verdict::Forward(Side::Internet));
    }
}

#[test]
fn two_b4s_with_one_identification_do_not_mix() {
    //
    let one = up(1000).fragments(400);
    let two = V4::udp("192.0.2.18:1236", "198.51.100.1:53").payload(&[3; 1000]);
    let expected = two.clone().ttl(63).fragments(400);
    let two = two.fragments(400);
    let mut bench = Bench::new();
    // The first fragment of B4 says nothing about those of its neighbor.
    sent(&bench.softwire(&from(B4, &one[0])), Side::Internet);
    held(&bench.softwire(&from(B4_NEXT, &two[1])));
    sent(&bench.softwire(&from(B4, &one[1])), Side::Internet);
    let out = bench.softwire(&from(B4_NEXT, &two[0]));
    assert_eq!(sent(&out, Side::Internet), expected[..2]);
    let out = bench.softwire(&from(B4_NEXT, &two[2]));
    assert_eq!(sent(&out, Side::Internet), expected[2..]);
    sent(&bench.softwire(&from(B4, &one[2])), Side::Internet);
    assert_eq!(bench.worker.poll_timeout(), None);
}

#[test]
fn snabb_4_payload_of_a_later_fragment_is_not_read_as_ports() {
    // T-15: bytes that would be a neighbor's port, or nobody's.
    for bytes in [1236u16, 4000] {
        let payload = bytes.to_be_bytes().repeat(700);
        let packet = V4::udp("192.0.2.18:1232", "198.51.100.1:53").payload(&payload);
        let expected = packet.clone().ttl(63).fragments(800);
        let mut bench = Bench::new();
        for (piece, expected) in packet.fragments(800).iter().zip(expected) {
            let out = bench.softwire(&from(B4, piece));
            assert_eq!(sent(&out, Side::Internet), [expected]);
        }
        let packet = V4::udp("198.51.100.1:53", "192.0.2.18:1232").payload(&payload);
        for piece in packet.fragments(800) {
            let out = bench.internet(&piece);
            assert_eq!(inside(B4, sent(&out, Side::Softwire)).len(), 1);
        }
    }
}

#[test]
fn snabb_14_overlapping_fragments_are_dropped_counted_and_forgotten() {
    let mut bench = Bench::new();
    let packet = down(100);
    let pieces = packet.fragments(24);
    let mut overlap = packet;
    overlap.flags = 2; // 16 of 24 bytes
    overlap.l4.truncate(24);
    held(&bench.internet(&pieces[2]));
    let out = bench.internet(&pieces[0]);
    assert_eq!(sent(&out, Side::Softwire).len(), 2);
    let out = bench.internet(&overlap.build());
    dropped(&out, DropReason::Ipv4FragmentOverlap);
    dropped(&bench.internet(&pieces[1]), DropReason::Ipv4FragmentOverlap);
    assert_eq!(bench.drops(DropReason::Ipv4FragmentOverlap), 2);
    bench.pass(WAIT);
    assert_eq!(bench.worker.poll_timeout(), None);
    assert_eq!(sent(&bench.internet(&pieces[0]), Side::Softwire).len(), 1);
}

#[test]
fn an_overlap_discards_what_is_held() {
    let mut bench = Bench::new();
    let pieces = up(1000).fragments(400);
    held(&bench.softwire(&from(B4, &pieces[1])));
    let mut overlap = up(1000);
    overlap.flags = 0x2000 | 90;
    overlap.l4.truncate(80);
    let out = bench.softwire(&from(B4, &overlap.build()));
    dropped(&out, DropReason::Ipv4FragmentOverlap);
    let out = bench.softwire(&from(B4, &pieces[0]));
    dropped(&out, DropReason::Ipv4FragmentOverlap);
    assert_eq!(bench.drops(DropReason::Ipv4FragmentOverlap), 3);
    books(&bench, 0);
}

#[test]
fn snabb_15_one_identification_in_two_protocols_is_two_datagrams() {
    //
    let udp = down(1000);
    let tcp = V4::tcp("198.51.100.1:80", "192.0.2.18:1236", 0x10).payload(&[2; 1000]);
    let expected_udp = udp.clone().ttl(63).fragments(400);
    let expected_tcp = tcp.clone().ttl(63).fragments(400);
    let (udp, tcp) = (udp.fragments(400), tcp.fragments(400));
    let mut bench = Bench::new();
    held(&bench.internet(&udp[1]));
    held(&bench.internet(&tcp[2]));
    let out = bench.internet(&tcp[0]);
    let first = [expected_tcp[0].clone(), expected_tcp[2].clone()];
    assert_eq!(inside(B4_NEXT, sent(&out, Side::Softwire)), first);
    let out = bench.internet(&udp[0]);
    assert_eq!(inside(B4, sent(&out, Side::Softwire)), expected_udp[..2]);
    let out = bench.internet(&tcp[1]);
    assert_eq!(
        inside(B4_NEXT, sent(&out, Side::Softwire)),
        expected_tcp[1..2]
    );
    let out = bench.internet(&udp[2]);
    assert_eq!(inside(B4, sent(&out, Side::Softwire)), expected_udp[2..]);
}

#[test]
fn t15_with_handling_off_fragments_are_dropped_not_misrouted() {
    //
    let mut bench = Bench::with(|config| config.fragments.handling = FragmentHandling::Off);
    let (up, down) = (up(1000).fragments(400), down(1000).fragments(400));
    for at in [0, 1, 2] {
        dropped(&bench.internet(&down[at]), DropReason::FragmentsOff);
        let out = bench.softwire(&from(B4, &up[at]));
        dropped(&out, DropReason::FragmentsOff);
    }
    assert_eq!(bench.drops(DropReason::FragmentsOff), 6);
    // full addresses need no context.
    let full = V4::udp("198.51.100.1:53", "192.0.2.20:7").payload(&[1; 1000]);
    let out = bench.internet(&full.fragments(400)[2]);
    assert_eq!(inside(B4_FULL, sent(&out, Side::Softwire)).len(), 1);
    bench.turn(|config| config.fragments.handling = FragmentHandling::Follow);
    assert_eq!(sent(&bench.internet(&down[0]), Side::Softwire).len(), 1);
}

#[test]
fn fragments_of_a_full_address_are_forwarded_as_they_come() {
    // R-145, of any protocol
    let mut bench = Bench::new();
    for protocol in [17, 47, 50] {
        let packet = V4::raw(protocol, "198.51.100.1", "192.0.2.20", &[0; 1000]);
        let expected = packet.clone().ttl(63).fragments(400);
        for at in [2, 0, 1, 1] {
            let out = bench.internet(&packet.fragments(400)[at]);
            let gone = inside(B4_FULL, sent(&out, Side::Softwire));
            assert_eq!(gone, expected[at..=at]);
        }
        let packet = V4::raw(protocol, "192.0.2.20", "198.51.100.1", &[0; 1000]);
        let expected = packet.clone().ttl(63).fragments(400);
        for at in [2, 0, 1] {
            let out = bench.softwire(&from(B4_FULL, &packet.fragments(400)[at]));
            assert_eq!(sent(&out, Side::Internet), expected[at..=at]);
        }
        // But only from its own B4.
        let out = bench.softwire(&from(B4, &packet.fragments(400)[1]));
        let cause = Cause::Dropped(DropReason::WrongIpv4);
        assert_eq!(out.verdict, Verdict::Reply(Side::Softwire, cause));
    }
    assert_eq!(bench.worker.poll_timeout(), None);
}

#[test]
fn impossible_fragments_are_dropped() {
    let mut bench = Bench::new();
    let mut odd = down(1000);
    odd.flags = 0x2000 | 50;
    odd.l4.truncate(100);
    dropped(
        &bench.internet(&odd.build()),
        DropReason::Ipv4FragmentMalformed,
    );
    let mut far = down(1000);
    far.flags = 0x1fff;
    far.l4.truncate(8);
    dropped(
        &bench.internet(&far.build()),
        DropReason::Ipv4FragmentMalformed,
    );
    let mut empty = up(0);
    empty.flags = 0x2000 | 50;
    empty.l4.clear();
    let out = bench.softwire(&from(B4, &empty.build()));
    dropped(&out, DropReason::Ipv4FragmentMalformed);
    assert_eq!(bench.worker.poll_timeout(), None);
}

#[test]
fn fragments_that_slip_past_filters_are_dropped() {
    //
    let mut bench = Bench::new();
    let tcp = V4::tcp("198.51.100.1:80", "192.0.2.18:1232", 0x02).payload(&[1; 100]);
    for piece in &tcp.fragments(8)[..2] {
        dropped(&bench.internet(piece), DropReason::Ipv4FragmentTiny);
    }
    let out = bench.internet(&tcp.fragments(16)[0]);
    assert_eq!(sent(&out, Side::Softwire).len(), 1);
    let tcp = V4::tcp("192.0.2.18:1232", "198.51.100.1:80", 0x02).payload(&[1; 100]);
    let out = bench.softwire(&from(B4, &tcp.fragments(8)[0]));
    dropped(&out, DropReason::Ipv4FragmentTiny);
}

#[test]
fn a_duplicate_is_dropped_alone() {
    let mut bench = Bench::new();
    let pieces = down(1000).fragments(400);
    held(&bench.internet(&pieces[1]));
    dropped(
        &bench.internet(&pieces[1]),
        DropReason::Ipv4FragmentDuplicate,
    );
    assert_eq!(sent(&bench.internet(&pieces[0]), Side::Softwire).len(), 2);
    for at in [0, 1] {
        dropped(
            &bench.internet(&pieces[at]),
            DropReason::Ipv4FragmentDuplicate,
        );
    }
    assert_eq!(sent(&bench.internet(&pieces[2]), Side::Softwire).len(), 1);
    books(&bench, 0);
}

#[test]
fn a_second_first_fragment_with_other_ports_kills_the_datagram() {
    //
    let mut bench = Bench::new();
    let pieces = down(1000).fragments(400);
    let other = V4::udp("198.51.100.1:53", "192.0.2.18:1236").payload(&[9; 1000]);
    assert_eq!(sent(&bench.internet(&pieces[0]), Side::Softwire).len(), 1);
    dropped(
        &bench.internet(&other.fragments(400)[0]),
        DropReason::Ipv4FragmentConflict,
    );
    for at in [1, 2] {
        dropped(
            &bench.internet(&pieces[at]),
            DropReason::Ipv4FragmentConflict,
        );
    }
}

#[test]
fn too_many_fragments_end_a_datagram() {
    //
    let mut bench = Bench::with(|config| config.fragments.fragments = 3);
    let pieces = down(1000).fragments(200);
    for at in [1, 2, 3] {
        held(&bench.internet(&pieces[at]));
    }
    dropped(&bench.internet(&pieces[4]), DropReason::Ipv4FragmentCount);
    dropped(&bench.internet(&pieces[0]), DropReason::Ipv4FragmentCount);
    assert_eq!(bench.drops(DropReason::Ipv4FragmentCount), 5);
    books(&bench, 0);
}

#[test]
fn without_a_free_context_the_newcomer_is_refused() {
    //
    let mut bench = Bench::with(|config| config.fragments.contexts = 1);
    let pieces = up(1000).fragments(400);
    held(&bench.softwire(&from(B4, &pieces[1])));
    let other = V4::udp("192.0.2.21:5120", "198.51.100.1:53").payload(&[1; 1000]);
    let other = other.fragments(400);
    for at in [1, 0] {
        let out = bench.softwire(&from(B4_RANGE, &other[at]));
        dropped(&out, DropReason::Ipv4FragmentFull);
    }
    let out = bench.softwire(&from(B4, &pieces[0]));
    assert_eq!(sent(&out, Side::Internet).len(), 2);
}

#[test]
fn one_source_cannot_hold_more_than_its_share() {
    //
    let mut bench = Bench::with(|config| config.fragments.bytes_per_source = 1024);
    let piece = |ident| up(1000).ident(ident).fragments(400)[1].clone();
    held(&bench.softwire(&from(B4, &piece(1))));
    held(&bench.softwire(&from(B4, &piece(2))));
    let out = bench.softwire(&from(B4, &piece(3)));
    dropped(&out, DropReason::Ipv4FragmentQuota);
    let other = V4::udp("192.0.2.21:5120", "198.51.100.1:53").payload(&[1; 1000]);
    held(&bench.softwire(&from(B4_RANGE, &other.fragments(400)[1])));
}

#[test]
fn in_order_fragments_pass_through_a_flood_of_forged_sources() {
    //
    let mut bench = Bench::with(|config| config.fragments.contexts = 256);
    let expected = down(1000).ttl(63).fragments(400);
    for n in 0..4_000u32 {
        let [_, _, a, b] = n.to_be_bytes();
        let mut forged = down(1000);
        forged.src = [11, 1, a, b].into();
        bench.internet(&forged.fragments(400)[usize::from(n % 3 != 0)]);
        if n % 50 == 0 {
            let ident = u16::try_from(n).unwrap();
            let pieces = down(1000).ident(ident).fragments(400);
            for (piece, expected) in pieces.iter().zip(&expected) {
                let out = bench.internet(piece);
                let gone = inside(B4, sent(&out, Side::Softwire));
                assert_eq!(gone[0][20..], expected[20..]);
            }
            // Those of B4s have their own part of the memory.
            let pieces = up(1000).ident(ident).fragments(400);
            held(&bench.softwire(&from(B4, &pieces[1])));
            sent(&bench.softwire(&from(B4, &pieces[0])), Side::Internet);
            sent(&bench.softwire(&from(B4, &pieces[2])), Side::Internet);
        }
    }
    bench.pass(WAIT);
    books(&bench, 0);
    assert_eq!(bench.worker.poll_timeout(), None);
}

#[test]
fn t16_what_waits_in_vain_is_given_up_and_its_memory_used_again() {
    // R-148 T-16
    let mut bench = Bench::new();
    let piece = |ident| up(1400).ident(ident).fragments(1200)[1].clone();
    for round in 0..40u16 {
        for ident in 0..100 {
            held(&bench.softwire(&from(B4, &piece(round * 100 + ident))));
        }
        assert!(bench.pass(WAIT - 1).is_empty());
        books(&bench, 100);
        assert!(bench.pass(1).is_empty(), "no ICMP about it");
        books(&bench, 0);
        assert_eq!(bench.worker.poll_timeout(), None);
    }
    assert_eq!(bench.drops(DropReason::FragmentNoFirst), 4_000);
}

#[test]
fn a_fragment_that_comes_after_the_wait_finds_no_context() {
    //
    let mut bench = Bench::new();
    let pieces = down(1000).fragments(400);
    assert_eq!(sent(&bench.internet(&pieces[0]), Side::Softwire).len(), 1);
    bench.pass(WAIT - 1);
    assert_eq!(sent(&bench.internet(&pieces[1]), Side::Softwire).len(), 1);
    bench.pass(1);
    held(&bench.internet(&pieces[2]));
}

#[test]
fn a_datagram_without_binding_is_answered_once_and_its_rest_dropped() {
    // only the first fragment is answered
    let mut bench = Bench::new();
    let packet = V4::udp("198.51.100.1:53", "192.0.2.18:4000").payload(&[1; 1000]);
    let pieces = packet.fragments(400);
    held(&bench.internet(&pieces[1]));
    let out = bench.internet(&pieces[0]);
    let cause = Cause::Dropped(DropReason::NoBinding);
    assert_eq!(out.verdict, Verdict::Reply(Side::Internet, cause));
    assert!(out.outputs.is_empty());
    dropped(&bench.internet(&pieces[2]), DropReason::FragmentRefused);
    assert_eq!(bench.counter(Counter::OutIcmpv4ErrorPackets), 1);
    books(&bench, 0);
}

#[test]
fn a_later_fragment_that_is_too_big_draws_no_answer() {
    // R-120 R-175
    let mut bench = Bench::with(|config| config.ipv6_mtu = 1280);
    let packet = down(2800).df();
    let pieces = packet.fragments(1400);
    let out = bench.internet(&pieces[0]);
    let cause = Cause::Dropped(DropReason::TooBig);
    assert_eq!(out.verdict, Verdict::Reply(Side::Internet, cause));
    let out = bench.internet(&pieces[1]);
    dropped(&out, DropReason::TooBig);
}

#[test]
fn icmp_errors_in_fragments_are_dropped_and_echoes_followed() {
    let mut bench = Bench::new();
    let about = up(1000).build();
    let error = V4::icmp("198.51.100.1", "192.0.2.18", 3, 1, [0; 4], &about[..500]);
    let pieces = error.fragments(400);
    let out = bench.internet(&pieces[0]);
    dropped(&out, DropReason::Icmpv4Fragmented);
    dropped(&bench.internet(&pieces[1]), DropReason::FragmentRefused);
    let echo = V4::icmp(
        "198.51.100.1",
        "192.0.2.18",
        0,
        0,
        [0x04, 0xd0, 0, 1],
        &[1; 1000],
    );
    let expected = echo.clone().ident(9).ttl(63).fragments(400);
    let pieces = echo.ident(9).fragments(400);
    held(&bench.internet(&pieces[2]));
    let out = bench.internet(&pieces[0]);
    let gone = inside(B4, sent(&out, Side::Softwire));
    assert_eq!(gone, [expected[0].clone(), expected[2].clone()]);
}

#[test]
fn packets_too_big_for_the_ipv4_side_are_cut_in_order() {
    // R-149 R-125
    let mut bench = Bench::with(|config| config.ipv4_mtu = 1280);
    let packet = up(1472);
    let out = bench.softwire(&from(B4, &packet.build()));
    let expected = packet.clone().ttl(63).fragments(1256);
    assert_eq!(sent(&out, Side::Internet), expected);
    assert_eq!(bench.counter(Counter::Ipv4PacketsFragmented), 1);
    // A fragment is cut further.
    let pieces = packet.fragments(1400);
    let mut gone = sent(&bench.softwire(&from(B4, &pieces[0])), Side::Internet);
    gone.extend(sent(&bench.softwire(&from(B4, &pieces[1])), Side::Internet));
    let places: Vec<_> = gone.iter().map(|p| (p.len(), [p[6], p[7]])).collect();
    let more = |units: u16| (0x2000 | units).to_be_bytes();
    let all = [
        (1276, more(0)),
        (164, more(157)),
        (100, 175u16.to_be_bytes()),
    ];
    assert_eq!(places, all);
    // With Don't Fragment the B4 is told.
    let out = bench.softwire(&from(B4, &packet.ident(9).df().build()));
    let cause = Cause::Dropped(DropReason::TooBig);
    assert_eq!(out.verdict, Verdict::Reply(Side::Softwire, cause));
}

#[test]
fn a_nearly_full_slab_loses_no_released_fragment() {
    // The smallest slab there is, held fragments up to their limit, and output that waits.
    let mut bench = Bench::with(|config| {
        config.ipv6_mtu = 1280;
        config.slab_bytes = 512 << 10;
        config.reassembly.bytes = 128 << 10;
        config.fragments.bytes = 128 << 10;
        config.fragments.bytes_per_source = 128 << 10;
    });
    for ident in 0..40 {
        let packet = down(12_000).ident(ident);
        let pieces = packet.fragments(1480);
        for piece in pieces.iter().skip(1).rev() {
            bench.internet(piece);
        }
        let before = bench.counter(Counter::Released);
        let out = bench.internet(&pieces[0]);
        let released = bench.counter(Counter::Released) - before;
        assert_eq!(out.verdict, Verdict::Forward(Side::Softwire));
        assert!(out.outputs.len() as u64 > released);
        // Another datagram that waits for its first fragment for ever.
        let packet = up(12_000).ident(ident);
        for piece in packet.fragments(1480).iter().skip(1) {
            bench.softwire(&from(B4, piece));
        }
    }
    assert_eq!(bench.drops(DropReason::Internal), 0);
    assert_eq!(bench.drops(DropReason::OutputFull), 0);
    bench.pass(WAIT);
    books(&bench, 0);
}
