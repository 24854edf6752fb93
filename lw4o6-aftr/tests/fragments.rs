//! Fragments of tunnel packets and of IPv4 packets, through the whole engine.

mod common;

use common::{AFTR, B4, B4_FULL, B4_NEXT, Bench, Outcome, REMOTE};
use lw4o6_aftr::config::FragmentHandling;
use lw4o6_aftr::{Cause, Counter, Destination, DropReason, Kind, Side, Verdict};
use testkit::packet::{V4, V6, tunnel, v6};

const DST: &str = "198.51.100.1:53";

fn big() -> V4 {
    V4::udp("192.0.2.18:1232", DST).payload(&[5; 1400])
}

/// What came out of all the frames, in order.
fn all(outcomes: &[Outcome]) -> Vec<Vec<u8>> {
    let mut packets = Vec::new();
    for out in outcomes {
        if matches!(out.verdict, Verdict::Forward(_)) {
            packets.push(out.packet.clone());
        }
        packets.extend(out.outputs.iter().map(|(_, packet)| packet.clone()));
    }
    packets
}

#[test]
fn tunnel_fragments_are_put_together_in_every_order() {
    // R-069 R-126 R-127 R-136
    let pieces = tunnel(B4, AFTR, &big().build()).limit(4).fragments(512, 77);
    for order in [
        [0, 1, 2],
        [0, 2, 1],
        [1, 0, 2],
        [1, 2, 0],
        [2, 0, 1],
        [2, 1, 0],
    ] {
        let mut bench = Bench::new();
        for at in &order[..2] {
            let out = bench.softwire(&pieces[*at]);
            assert_eq!((out.verdict, out.outputs.len()), (Verdict::Consumed, 0));
        }
        let out = bench.softwire(&pieces[order[2]]);
        assert_eq!(out.verdict, Verdict::Consumed);
        let [(output, packet)] = &out.outputs[..] else {
            panic!("one packet")
        };
        assert_eq!(output.to, Destination::Side(Side::Internet));
        assert_eq!(packet, &big().ttl(63).build());
        assert_eq!(bench.counter(Counter::Ipv6FragmentsReassembled), 3);
        assert_eq!(bench.counter(Counter::Merged), 3);
        assert_eq!(bench.counter(Counter::LateForwarded), 1);
    }
}

#[test]
fn a_reassembled_packet_takes_every_way_a_whole_one_takes() {
    let mut bench = Bench::with(|config| config.path_mru = 3000);
    let mut finish = |packet: V6| {
        let pieces = packet.fragments(512, 78);
        let mut last = None;
        for piece in &pieces {
            last = Some(bench.softwire(piece));
        }
        last.unwrap().outputs
    };
    // Answered: R-079
    let outputs = finish(tunnel(B4_NEXT, AFTR, &big().build()));
    assert_eq!((outputs[0].1[40], outputs[0].1[41]), (1, 5));
    assert_eq!(outputs[0].1.len(), 1280);
    // The owner's.
    let outputs = finish(V6::raw(17, B4, AFTR, &[7; 900]));
    assert_eq!(outputs[0].0.to, Destination::Local(Kind::Own));
    assert_eq!(outputs[0].1, V6::raw(17, B4, AFTR, &[7; 900]).build());
    // An echo whose answer is cut again.
    let ping = V6::icmp(REMOTE6, AFTR, 128, 0, 1, &[3; 1600]);
    let outputs = finish(ping);
    assert_eq!(outputs.len(), 2);
    assert!(outputs.iter().all(|(_, p)| p.len() <= 1540 && p[6] == 44));
    assert_eq!(outputs[0].1[42..44], [0, 1]);
}

const REMOTE6: &str = "2001:db8:99::1";

#[test]
fn a_packet_that_stays_incomplete_is_told_after_a_minute() {
    // R-128 R-129
    let mut bench = Bench::new();
    let pieces = tunnel(B4, AFTR, &big().build()).fragments(512, 79);
    bench.softwire(&pieces[0]);
    bench.softwire(&pieces[1]);
    assert!(bench.pass(59_999).is_empty());
    let outputs = bench.pass(1);
    assert_eq!(outputs.len(), 1);
    assert_eq!((outputs[0].1[40], outputs[0].1[41]), (3, 1));
    assert_eq!(outputs[0].1[48..], pieces[0]);
    assert_eq!(bench.drops(DropReason::Ipv6ReassemblyTimeout), 2);
    assert_eq!(bench.counter(Counter::Discarded), 2);
    // Without the first fragment nothing can be told; a late call changes nothing.
    bench.softwire(&pieces[1]);
    bench.now += core::time::Duration::from_secs(61);
    let out = bench.softwire(&pieces[0]);
    assert_eq!((out.verdict, out.outputs.len()), (Verdict::Consumed, 0));
    assert_eq!(bench.drops(DropReason::Ipv6ReassemblyTimeout), 3);
}

#[test]
fn a_wrong_fragment_draws_a_parameter_problem() {
    // R-130 R-131 R-132 R-133 R-134
    let mut bench = Bench::new();
    let told = |reason| Verdict::Reply(Side::Softwire, Cause::Dropped(reason));
    let fragment =
        |head: [u8; 7], len: usize| V6::raw(4, B4, AFTR, &vec![0x45; len]).behind(44, &head);
    let out = bench.softwire(&fragment([0, 0, 1, 0, 0, 0, 1], 60).build());
    assert_eq!(out.verdict, told(DropReason::Ipv6FragmentLength));
    assert_eq!((out.packet[40], out.packet[41], out.packet[47]), (4, 0, 4));
    let out = bench.softwire(&fragment([0, 0xff, 0xf8, 0, 0, 0, 2], 16).build());
    assert_eq!(out.verdict, told(DropReason::Ipv6FragmentTooLong));
    assert_eq!((out.packet[40], out.packet[41], out.packet[47]), (4, 0, 42));
    let out = bench.softwire(&fragment([0, 0, 1, 0, 0, 0, 3], 8).build());
    assert_eq!(out.verdict, told(DropReason::Ipv6FragmentFirstShort));
    assert_eq!((out.packet[40], out.packet[41]), (4, 3));
    let first = fragment([0, 0, 1, 0, 0, 0, 4], 64).build();
    assert_eq!(bench.softwire(&first).verdict, Verdict::Consumed);
    let again = bench.softwire(&first).verdict;
    assert_eq!(again, Verdict::Drop(DropReason::Ipv6FragmentDuplicate));
    let out = bench.softwire(&fragment([0, 0, 8 * 4, 0, 0, 0, 4], 64).build());
    assert_eq!(out.verdict, Verdict::Drop(DropReason::Ipv6FragmentOverlap));
    let out = bench.softwire(&fragment([0, 0, 8 * 8, 0, 0, 0, 4], 64).build());
    assert_eq!(out.verdict, Verdict::Drop(DropReason::Ipv6FragmentOverlap));
    assert_eq!(bench.drops(DropReason::Ipv6FragmentOverlap), 3);
}

#[test]
fn ipv4_fragments_reach_the_b4_in_every_order() {
    // R-141 R-145: VPP probe 7
    let packet = V4::udp(DST, "192.0.2.18:1232").payload(&[6; 4000]);
    let pieces = packet.fragments(1000);
    for reversed in [false, true] {
        let mut bench = Bench::new();
        let mut order: Vec<&Vec<u8>> = pieces.iter().collect();
        if reversed {
            order.reverse();
        }
        let outcomes: Vec<Outcome> = order.iter().map(|p| bench.internet(p)).collect();
        let got = all(&outcomes);
        assert_eq!(got.len(), 5);
        assert!(got.iter().all(|p| p[24..40] == v6(B4).octets()));
        // one label for all.
        assert!(got.iter().all(|p| p[..4] == got[0][..4]));
        let held = outcomes.iter().filter(|o| o.verdict == Verdict::Consumed);
        assert_eq!(held.count(), if reversed { 4 } else { 0 });
        assert_eq!(
            bench.counter(Counter::Released),
            if reversed { 4 } else { 0 }
        );
        if reversed {
            // They follow the frame that let them go, in the order they came in.
            let last = outcomes.last().unwrap();
            assert!(last.outputs.iter().all(|(output, _)| output.after == 0));
            let offsets: Vec<u8> = last.outputs.iter().map(|(_, p)| p[47]).collect();
            assert_eq!(
                offsets,
                [4000 / 8, 3000 / 8, 2000 / 8, 1000 / 8].map(|o: u16| o.to_be_bytes()[1])
            );
        }
    }
}

#[test]
fn fragments_of_a_b4_follow_the_verdict_on_their_first() {
    // T-3, VPP probe 19
    let good = big().fragments(512);
    let bad = V4::udp("192.0.2.18:1236", DST)
        .payload(&[5; 1400])
        .fragments(512);
    for (pieces, passes) in [(good, true), (bad, false)] {
        for first_last in [false, true] {
            let mut bench = Bench::new();
            let mut order: Vec<&Vec<u8>> = pieces.iter().collect();
            if first_last {
                order.rotate_left(1);
            }
            let send =
                |bench: &mut Bench, piece: &[u8]| bench.softwire(&tunnel(B4, AFTR, piece).build());
            let outcomes: Vec<Outcome> = order.iter().map(|p| send(&mut bench, p)).collect();
            let got = all(&outcomes);
            assert_eq!(got.len(), if passes { 3 } else { 0 });
            if !passes {
                assert_eq!(bench.drops(DropReason::PortOutOfSet), 1);
                assert_eq!(bench.drops(DropReason::FragmentRefused), 2);
                let again = send(&mut bench, order[1]);
                assert!(matches!(again.verdict, Verdict::Drop(_)));
            }
        }
    }
}

#[test]
fn two_b4s_with_the_same_identification_do_not_mix() {
    //
    let mut bench = Bench::new();
    let one = big().fragments(704);
    let two = V4::udp("192.0.2.18:1236", DST)
        .payload(&[9; 1400])
        .fragments(704);
    let from = |b4: &str, piece: &[u8]| tunnel(b4, AFTR, piece).build();
    assert_eq!(
        bench.softwire(&from(B4, &one[1])).verdict,
        Verdict::Consumed
    );
    assert_eq!(
        bench.softwire(&from(B4_NEXT, &two[1])).verdict,
        Verdict::Consumed
    );
    let out = bench.softwire(&from(B4, &one[0]));
    assert_eq!(all(&[out])[1][20..], one[1][20..]);
    let out = bench.softwire(&from(B4_NEXT, &two[0]));
    assert_eq!(all(&[out])[1][20..], two[1][20..]);
}

#[test]
fn a_binding_that_goes_takes_the_rest_of_a_datagram_with_it() {
    let mut bench = Bench::new();
    let pieces = V4::udp(DST, "192.0.2.18:1232")
        .payload(&[6; 2000])
        .fragments(1000);
    assert_eq!(
        bench.internet(&pieces[0]).verdict,
        Verdict::Forward(Side::Softwire)
    );
    assert!(bench.writer.remove(0xc000_0212, 0x34));
    let out = bench.internet(&pieces[1]);
    assert_eq!(out.verdict, Verdict::Drop(DropReason::NoBinding));
}

#[test]
fn fragments_that_cannot_be_right_are_dropped() {
    // R-146 R-147 R-148
    let mut bench = Bench::new();
    let tcp = V4::tcp(DST, "192.0.2.18:1232", 2).payload(&[1; 200]);
    let tiny = Verdict::Drop(DropReason::Ipv4FragmentTiny);
    for piece in tcp.fragments(8).iter().take(2) {
        assert_eq!(bench.internet(piece).verdict, tiny);
    }
    let udp = V4::udp(DST, "192.0.2.18:1232").payload(&[1; 2000]);
    let pieces = udp.fragments(1000);
    assert_eq!(
        bench.internet(&pieces[0]).verdict,
        Verdict::Forward(Side::Softwire)
    );
    let other = V4::udp("198.51.100.1:54", "192.0.2.18:1232").payload(&[1; 2000]);
    let conflict = bench.internet(&other.fragments(1000)[0]).verdict;
    assert_eq!(conflict, Verdict::Drop(DropReason::Ipv4FragmentConflict));
    let rest = bench.internet(&pieces[1]).verdict;
    assert_eq!(rest, Verdict::Drop(DropReason::Ipv4FragmentConflict));
    // Waits in vain.
    let lost = udp.ident(7).fragments(1000);
    assert_eq!(bench.internet(&lost[1]).verdict, Verdict::Consumed);
    bench.pass(14_999);
    assert_eq!(bench.drops(DropReason::FragmentNoFirst), 0);
    bench.pass(1);
    assert_eq!(bench.drops(DropReason::FragmentNoFirst), 1);
}

#[test]
fn with_the_handling_off_nothing_is_read_as_ports() {
    // R-144 R-145: T-15
    let mut bench = Bench::with(|config| config.fragments.handling = FragmentHandling::Off);
    let off = Verdict::Drop(DropReason::FragmentsOff);
    for piece in V4::udp(DST, "192.0.2.18:1232")
        .payload(&[0; 2000])
        .fragments(1000)
    {
        assert_eq!(bench.internet(&piece).verdict, off);
    }
    for piece in big().fragments(512) {
        assert_eq!(
            bench.softwire(&tunnel(B4, AFTR, &piece).build()).verdict,
            off
        );
    }
    for piece in V4::udp(DST, "192.0.2.20:1")
        .payload(&[0; 2000])
        .fragments(1000)
    {
        assert_eq!(
            bench.internet(&piece).verdict,
            Verdict::Forward(Side::Softwire)
        );
    }
    let full = V4::udp("192.0.2.20:1", DST).payload(&[0; 2000]);
    for piece in full.fragments(1000).iter().rev() {
        let out = bench.softwire(&tunnel(B4_FULL, AFTR, piece).build());
        assert_eq!(out.verdict, Verdict::Forward(Side::Internet));
    }
}

#[test]
fn a_fragmented_ping_follows_its_identifier_and_a_fragmented_error_nobody() {
    let mut bench = Bench::new();
    let ping = V4::echo(8, REMOTE, "192.0.2.18", 1232).payload(&[0; 2000]);
    for piece in ping.fragments(1000).iter().rev() {
        bench.internet(piece);
    }
    assert_eq!(bench.counter(Counter::SentIpv6Packets), 3);
    let about = V4::udp("192.0.2.18:1232", DST).payload(&[0; 1000]).build();
    let error = V4::icmp(REMOTE, "192.0.2.18", 3, 3, [0; 4], &about).ident(9);
    let first = bench.internet(&error.fragments(512)[0]);
    assert_eq!(first.verdict, Verdict::Drop(DropReason::Icmpv4Fragmented));
    let rest = bench.internet(&error.fragments(512)[1]);
    assert_eq!(rest.verdict, Verdict::Drop(DropReason::FragmentRefused));
}
