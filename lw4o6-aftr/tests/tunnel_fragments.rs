//! Fragments of tunnel packets, in and out, through the whole engine.

mod common;

use common::fragments::{books, dropped, held, permutations};
use common::{AFTR, B4, B4_NEXT, B4_RANGE, Bench, Outcome};
use lw4o6_aftr::config::{DfPolicy, FlowLabel};
use lw4o6_aftr::{Cause, Counter, Destination, DropReason, Output, Side, Verdict};
use lw4o6_wire::icmpv6;
use testkit::packet::{V4, V6, tunnel};

const MINUTE: u64 = 60_000;

/// A UDP packet of `len` bytes from the B4.
fn inner(len: usize) -> V4 {
    let payload: Vec<u8> = (28..len).map(|i| (i * 7).to_le_bytes()[0]).collect();
    V4::udp("192.0.2.18:1232", "198.51.100.1:53").payload(&payload)
}

/// The same after the AFTR.
fn forwarded(packet: &V4) -> Vec<u8> {
    packet.clone().ttl(63).build()
}

fn outer(packet: &V4) -> V6 {
    tunnel(B4, AFTR, &packet.build())
}

/// The frame was kept or merged, and `packet` came out of it.
fn gives(out: &Outcome, packet: &[u8]) {
    assert_eq!(out.verdict, Verdict::Consumed);
    let output = Output {
        to: Destination::Side(Side::Internet),
        after: 0,
    };
    assert_eq!(out.outputs, [(output, packet.to_vec())]);
}

/// The frame was answered with this Parameter Problem about itself.
#[expect(clippy::indexing_slicing, reason = "a panic is a failed test")]
fn problem(out: &Outcome, reason: DropReason, code: u8, pointer: u32, about: &[u8]) {
    let verdict = Verdict::Reply(Side::Softwire, Cause::Dropped(reason));
    assert_eq!(out.verdict, verdict);
    let (header, message) = out.packet.split_at(40);
    assert_eq!(header[6], 58);
    assert_eq!(
        header[8..24],
        about[24..40],
        "from the address it was sent to"
    );
    assert_eq!(header[24..40], about[8..24]);
    assert_eq!(message[..2], [4, code]);
    assert_eq!(message[4..8], pointer.to_be_bytes());
    assert_eq!(message[8..], about[..about.len().min(1232)]);
    let valid = lw4o6_wire::Ipv6Header::split(&out.packet)
        .is_ok_and(|(view, message)| icmpv6::verify(view.src(), view.dst(), message));
    assert!(valid, "checksum");
}

#[test]
fn vpp_6b_a_packet_without_df_leaves_as_1448_and_52() {
    // R-118 R-119 R-122 R-123 R-124
    for (mtu, lengths) in [
        (1500, [1448, 52]),
        (1492, [1440, 60]),
        (1480, [1432, 68]),
        (1280, [1232, 268]),
    ] {
        let mut bench = Bench::with(|config| {
            config.ipv6_mtu = mtu;
            config.flow_label = FlowLabel::Constant(5);
        });
        let packet = V4::udp("198.51.100.1:53", "192.0.2.18:1232").payload(&[7; 1472]);
        let out = bench.internet(&packet.build());
        assert_eq!(out.verdict, Verdict::Forward(Side::Softwire));
        let pieces = out.packets();
        assert_eq!(pieces.len(), 2);
        let ident = pieces[0][44..48].to_vec();
        let mut data = Vec::new();
        for (piece, len) in pieces.iter().zip(lengths) {
            assert_eq!(piece.len(), 48 + len);
            assert_eq!((piece[6], piece[40]), (44, 4));
            assert_eq!(piece[44..48], ident);
            data.extend_from_slice(&piece[48..]);
        }
        assert_eq!(data, packet.ttl(63).build());
        assert_eq!(pieces[0][..4], pieces[1][..4], "one flow label");
        assert_eq!(bench.counter(Counter::TunnelPacketsFragmented), 1);
    }
}

#[test]
fn a_packet_that_fits_exactly_is_not_cut_and_df_is_kept_when_one_is() {
    // R-120 R-125 R-180
    let mut bench = Bench::with(|config| config.ipv6_mtu = 1500);
    let fits = V4::udp("198.51.100.1:53", "192.0.2.18:1232").payload(&[7; 1432]);
    let out = bench.internet(&fits.clone().df().build());
    assert_eq!((out.packet.len(), out.outputs.len()), (1500, 0));
    let larger = fits.payload(&[1]).df();
    let out = bench.internet(&larger.build());
    let too_big = Cause::Dropped(DropReason::TooBig);
    assert_eq!(out.verdict, Verdict::Reply(Side::Internet, too_big));
    assert_eq!(out.packet[20..28][6..], 1460u16.to_be_bytes());
    bench.turn(|config| config.df_policy = DfPolicy::OuterFragment);
    let out = bench.internet(&larger.build());
    assert_eq!(out.packets().len(), 2);
    let data: Vec<u8> = out
        .packets()
        .iter()
        .flat_map(|p| p[48..].to_vec())
        .collect();
    assert_eq!(data, larger.ttl(63).build());
}

#[test]
fn what_one_engine_cuts_another_puts_together() {
    // R-126, over a path that swaps the pieces.
    let mut entry = Bench::with(|config| config.ipv6_mtu = 1280);
    let packet = V4::udp("198.51.100.1:53", "192.0.2.18:1232").payload(&[9; 1472]);
    let out = entry.internet(&packet.build());
    let mut exit = Bench::over(
        &[(AFTR, "198.51.100.1", 0, 0, 0, B4)], // the way back: this AFTR is the B4
        &[],
        |_| {},
    );
    let pieces = out.packets();
    held(&exit.softwire(pieces[1]));
    gives(&exit.softwire(pieces[0]), &packet.ttl(62).build());
}

#[test]
fn fragment_ids_of_one_b4_do_not_repeat_and_two_engines_differ() {
    // R-159 R-160
    let packet = V4::udp("198.51.100.1:53", "192.0.2.18:1232").payload(&[7; 1472]);
    let mut ids = std::collections::BTreeSet::new();
    for seed in [[1; 32], [2; 32]] {
        let (_writer, shared) = common::table(common::BINDINGS, &[]);
        let mut config = common::config();
        config.ipv6_mtu = 1500;
        let aftr = lw4o6_aftr::Aftr::new(config, shared, seed).unwrap();
        for _ in 0..2 {
            // Two workers of one instance count together.
            let mut bench = Bench {
                worker: aftr.worker().unwrap(),
                ..Bench::new()
            };
            for _ in 0..100 {
                let out = bench.internet(&packet.build());
                let ident: [u8; 4] = out.packet[44..48].try_into().unwrap();
                assert!(ids.insert(u32::from_be_bytes(ident)), "repeated");
            }
        }
    }
    assert_eq!(ids.len(), 400);
}

#[test]
fn t2_a_tunnel_encapsulation_limit_is_no_obstacle() {
    // R-069 R-070 R-136: what Linux sends by default, whole and in fragments.
    let packet = inner(1500);
    let mut bench = Bench::new();
    let out = bench.softwire(&outer(&packet).limit(4).build());
    assert_eq!(out.verdict, Verdict::Forward(Side::Internet));
    assert_eq!(out.packet, forwarded(&packet));
    // The option behind the Fragment header, as Linux places it.
    let pieces = outer(&packet).limit(4).fragments(1432, 7);
    held(&bench.softwire(&pieces[1]));
    gives(&bench.softwire(&pieces[0]), &forwarded(&packet));
    // And in front of it.
    let pieces = outer(&packet).fragments(1432, 8);
    let with_limit = |piece: &[u8]| V6::raw(44, B4, AFTR, &piece[40..]).limit(4).build();
    held(&bench.softwire(&with_limit(&pieces[0])));
    gives(
        &bench.softwire(&with_limit(&pieces[1])),
        &forwarded(&packet),
    );
}

#[test]
fn vpp_18_four_outer_fragments_are_reassembled_in_every_order() {
    // R-126 R-136
    let packet = inner(1500);
    let pieces = outer(&packet).fragments(400, 7);
    assert_eq!(pieces.len(), 4);
    let mut bench = Bench::new();
    for order in permutations(4) {
        let (last, before) = order.split_last().unwrap();
        for &at in before {
            held(&bench.softwire(&pieces[at]));
        }
        gives(&bench.softwire(&pieces[*last]), &forwarded(&packet));
    }
    assert_eq!(bench.counter(Counter::Reassembled), 24);
    assert_eq!(bench.counter(Counter::Merged), 96);
    books(&bench, 0);
    assert_eq!(bench.worker.poll_timeout(), None);
}

#[test]
fn fragments_of_two_b4s_and_two_aftr_addresses_do_not_mix() {
    //
    let packet = inner(800);
    let pieces = outer(&packet).fragments(400, 7);
    let next = V4::udp("192.0.2.18:1236", "198.51.100.1:53").payload(&[3; 700]);
    let others = tunnel(B4_NEXT, AFTR, &next.build()).fragments(400, 7);
    let mut bench = Bench::new();
    held(&bench.softwire(&pieces[0]));
    held(&bench.softwire(&others[1]));
    gives(&bench.softwire(&pieces[1]), &forwarded(&packet));
    gives(&bench.softwire(&others[0]), &forwarded(&next));
}

#[test]
fn a_reassembled_packet_is_checked_like_any_other() {
    // 1/5 quotes the reassembled packet, since that is what offends.
    let packet = V4::udp("192.0.2.18:4000", "198.51.100.1:53").payload(&[1; 600]);
    let pieces = outer(&packet).fragments(400, 7);
    let mut bench = Bench::new();
    held(&bench.softwire(&pieces[0]));
    let out = bench.softwire(&pieces[1]);
    assert_eq!(out.verdict, Verdict::Consumed);
    let [(output, answer)] = &out.outputs[..] else {
        panic!("{out:?}");
    };
    assert_eq!(output.to, Destination::Side(Side::Softwire));
    assert_eq!(answer[40..42], [1, 5]);
    assert_eq!(bench.drops(DropReason::PortOutOfSet), 1);
    assert_eq!(bench.counter(Counter::LateReplied), 1);
    books(&bench, 0);
}

#[test]
fn snabb_13_atomic_fragment_is_processed_at_once() {
    //
    let packet = inner(600);
    let pieces = outer(&packet).fragments(400, 7);
    let alone = inner(300);
    let atomic = outer(&alone).behind(44, &[0, 0, 0, 0, 0, 0, 7]).build();
    let mut bench = Bench::new();
    held(&bench.softwire(&pieces[0]));
    let out = bench.softwire(&atomic);
    assert_eq!(out.verdict, Verdict::Forward(Side::Internet));
    assert_eq!(out.packet, forwarded(&alone));
    // Those with the same identification are not touched.
    gives(&bench.softwire(&pieces[1]), &forwarded(&packet));
}

#[test]
fn a_length_that_leaves_a_gap_is_answered_with_pointer_4() {
    //
    let mut bench = Bench::new();
    let mut piece = V6::raw(44, B4, AFTR, &outer(&inner(600)).fragments(400, 7)[0][40..]);
    piece.payload.truncate(8 + 396);
    let piece = piece.build();
    let out = bench.softwire(&piece);
    problem(&out, DropReason::Ipv6FragmentLength, 0, 4, &piece);
    assert_eq!(
        bench.worker.poll_timeout(),
        None,
        "nothing was opened for it"
    );
}

#[test]
fn a_fragment_beyond_65535_is_answered_with_a_pointer_to_its_offset() {
    //
    let mut bench = Bench::new();
    let far = [&[4, 0, 0xff, 0xf8, 0, 0, 0, 7][..], &[0; 8]].concat();
    let piece = V6::raw(44, B4, AFTR, &far).build();
    let out = bench.softwire(&piece);
    problem(&out, DropReason::Ipv6FragmentTooLong, 0, 42, &piece);
    let behind_limit = V6::raw(44, B4, AFTR, &far).limit(4).build();
    let out = bench.softwire(&behind_limit);
    problem(&out, DropReason::Ipv6FragmentTooLong, 0, 50, &behind_limit);
}

#[test]
fn a_first_fragment_without_the_inner_header_is_answered() {
    //
    let mut bench = Bench::new();
    let piece = &outer(&inner(600)).fragments(16, 7)[0];
    let out = bench.softwire(piece);
    problem(&out, DropReason::Ipv6FragmentFirstShort, 3, 0, piece);
}

#[test]
fn an_overlap_ends_the_datagram_in_silence_for_a_minute() {
    //
    let mut bench = Bench::new();
    let packet = inner(1000);
    let pieces = outer(&packet).fragments(400, 7);
    held(&bench.softwire(&pieces[0]));
    held(&bench.softwire(&pieces[2]));
    let mut overlap = V6::raw(44, B4, AFTR, &pieces[1][40..]);
    overlap.payload[3] -= 8;
    dropped(
        &bench.softwire(&overlap.build()),
        DropReason::Ipv6FragmentOverlap,
    );
    assert_eq!(bench.drops(DropReason::Ipv6FragmentOverlap), 3);
    books(&bench, 0);
    bench.pass(MINUTE - 1);
    for piece in &pieces {
        dropped(&bench.softwire(piece), DropReason::Ipv6FragmentOverlap);
    }
    assert!(bench.pass(1).is_empty(), "no ICMPv6 about it");
    held(&bench.softwire(&pieces[0]));
    held(&bench.softwire(&pieces[1]));
    gives(&bench.softwire(&pieces[2]), &forwarded(&packet));
}

#[test]
fn an_exact_duplicate_changes_nothing() {
    //
    let mut bench = Bench::new();
    let packet = inner(1000);
    let pieces = outer(&packet).fragments(400, 7);
    for at in [2, 0] {
        held(&bench.softwire(&pieces[at]));
        let again = bench.softwire(&pieces[at]);
        dropped(&again, DropReason::Ipv6FragmentDuplicate);
    }
    gives(&bench.softwire(&pieces[1]), &forwarded(&packet));
    books(&bench, 0);
}

#[test]
fn too_many_fragments_end_a_datagram() {
    //
    let mut bench = Bench::with(|config| config.reassembly.fragments = 4);
    let pieces = outer(&inner(1500)).fragments(200, 7);
    for piece in &pieces[..4] {
        held(&bench.softwire(piece));
    }
    for piece in &pieces[4..] {
        dropped(&bench.softwire(piece), DropReason::Ipv6FragmentCount);
    }
    assert_eq!(bench.drops(DropReason::Ipv6FragmentCount), 8);
    books(&bench, 0);
}

#[test]
fn without_a_free_context_the_newcomer_is_refused() {
    // in silence
    let mut bench = Bench::with(|config| config.reassembly.contexts = 1);
    let packet = inner(600);
    let pieces = outer(&packet).fragments(400, 7);
    held(&bench.softwire(&pieces[0]));
    let other = V4::udp("192.0.2.21:5120", "198.51.100.1:53").payload(&[1; 600]);
    let other = tunnel(B4_RANGE, AFTR, &other.build()).fragments(400, 7);
    dropped(&bench.softwire(&other[0]), DropReason::Ipv6ReassemblyFull);
    gives(&bench.softwire(&pieces[1]), &forwarded(&packet));
    assert!(bench.counter(Counter::ReassemblyWarnings) > 0, "R-139");
}

#[test]
fn one_b4_cannot_hold_more_than_its_share() {
    //
    let mut bench = Bench::with(|config| config.reassembly.bytes_per_b4 = 1024);
    let pieces = |ident| outer(&inner(1500)).fragments(400, ident);
    held(&bench.softwire(&pieces(1)[0]));
    held(&bench.softwire(&pieces(2)[0]));
    let over = bench.softwire(&pieces(3)[0]);
    dropped(&over, DropReason::Ipv6ReassemblyQuota);
    let other = V4::udp("192.0.2.21:5120", "198.51.100.1:53").payload(&[1; 600]);
    let other_pieces = tunnel(B4_RANGE, AFTR, &other.build()).fragments(400, 7);
    held(&bench.softwire(&other_pieces[0]));
    gives(&bench.softwire(&other_pieces[1]), &forwarded(&other));
}

#[test]
fn a_flood_of_fragments_leaves_everything_else_alone() {
    // R-138 R-140
    let mut bench = Bench::new();
    let piece = outer(&inner(1500)).fragments(1400, 0)[0].clone();
    let whole = inner(100);
    for ident in 0..3_000u32 {
        let mut flood = piece.clone();
        flood[44..48].copy_from_slice(&ident.to_be_bytes());
        bench.softwire(&flood);
        if ident % 100 == 0 {
            let out = bench.softwire(&outer(&whole).build());
            assert_eq!(out.packet, forwarded(&whole));
            let other = V4::udp("192.0.2.21:5120", "198.51.100.1:53").payload(&[1; 600]);
            let pieces = tunnel(B4_RANGE, AFTR, &other.build()).fragments(400, ident);
            held(&bench.softwire(&pieces[0]));
            gives(&bench.softwire(&pieces[1]), &forwarded(&other));
        }
    }
    assert!(bench.drops(DropReason::Ipv6ReassemblyQuota) > 2_000);
    assert_eq!(bench.drops(DropReason::OutputFull), 0);
}

#[test]
fn invented_addresses_take_half_of_the_memory_at_most() {
    // a subscriber has a whole prefix of addresses that hold no binding.
    let mut bench = Bench::new();
    let piece = outer(&inner(1500)).fragments(1400, 0)[0].clone();
    for n in 0..3_000u16 {
        let mut flood = piece.clone();
        flood[14..16].copy_from_slice(&n.to_be_bytes());
        bench.softwire(&flood);
    }
    let refused = bench.drops(DropReason::Ipv6ReassemblyFull);
    assert!((2_400..2_600).contains(&refused), "{refused}");
    let packet = inner(1500);
    for ident in 1..40 {
        let pieces = outer(&packet).fragments(1400, ident);
        held(&bench.softwire(&pieces[1]));
        gives(&bench.softwire(&pieces[0]), &forwarded(&packet));
    }
}

#[test]
fn a_datagram_is_given_up_after_a_minute_and_its_sender_told() {
    // R-128 R-129
    let mut bench = Bench::new();
    let pieces = outer(&inner(1500)).fragments(1400, 7);
    held(&bench.softwire(&pieces[0]));
    assert!(bench.pass(MINUTE - 1).is_empty());
    let out = bench.pass(1);
    let [(output, answer)] = &out[..] else {
        panic!("{out:?}");
    };
    assert_eq!(output.to, Destination::Side(Side::Softwire));
    assert_eq!(answer.len(), 1280);
    assert_eq!(answer[40..42], [3, 1]);
    assert_eq!(answer[48..], pieces[0][..1232]);
    assert_eq!(bench.drops(DropReason::Ipv6ReassemblyTimeout), 1);
    // Without the fragment at offset 0 nobody is told.
    held(&bench.softwire(&pieces[1]));
    assert!(bench.pass(MINUTE).is_empty());
    assert_eq!(bench.drops(DropReason::Ipv6ReassemblyTimeout), 2);
    books(&bench, 0);
    assert_eq!(bench.worker.poll_timeout(), None);
}

#[test]
fn a_fragment_that_comes_after_the_time_starts_anew_even_if_no_timer_ran() {
    //
    let mut bench = Bench::new();
    let pieces = outer(&inner(1500)).fragments(1400, 7);
    held(&bench.softwire(&pieces[1]));
    bench.now += core::time::Duration::from_secs(60);
    held(&bench.softwire(&pieces[0]));
    assert_eq!(bench.drops(DropReason::Ipv6ReassemblyTimeout), 1);
    books(&bench, 1);
}

#[test]
fn congestion_marks_of_fragments_are_merged() {
    //
    let packet = inner(600).tos(2);
    let pieces = |marks: [u8; 2], ident| {
        let pieces = outer(&packet).fragments(400, ident);
        let marked = |at: usize| {
            V6::raw(44, B4, AFTR, &pieces[at][40..])
                .traffic_class(marks[at])
                .build()
        };
        [marked(0), marked(1)]
    };
    let mut bench = Bench::new();
    let [first, second] = pieces([2, 3], 1);
    held(&bench.softwire(&first));
    gives(
        &bench.softwire(&second),
        &packet.clone().tos(3).ttl(63).build(),
    );
    let [first, second] = pieces([0, 3], 2);
    held(&bench.softwire(&first));
    let out = bench.softwire(&second);
    dropped(&out, DropReason::Ipv6ReassemblyEcn);
    assert_eq!(bench.drops(DropReason::Ipv6ReassemblyEcn), 2);
    books(&bench, 0);
}

#[test]
fn packets_up_to_the_path_mru_are_accepted_and_no_larger_ones() {
    //
    let mut bench = Bench::new();
    let packet = inner(1501);
    let pieces = outer(&packet).fragments(800, 7);
    held(&bench.softwire(&pieces[0]));
    let out = bench.softwire(&pieces[1]);
    dropped(&out, DropReason::Ipv6ReassembledTooBig);
    books(&bench, 0);
    bench.turn(|config| {
        config.path_mru = 9_000;
        config.ipv4_mtu = 9_000;
    });
    let packet = inner(8_960);
    let pieces = outer(&packet).fragments(1400, 8);
    for piece in &pieces[1..] {
        held(&bench.softwire(piece));
    }
    gives(&bench.softwire(&pieces[0]), &forwarded(&packet));
}

#[test]
fn t16_nothing_is_lost_when_pieces_are_missing() {
    // T-16: far more fragments than fit the memory at once, a minute apart.
    let mut bench = Bench::new();
    let packet = inner(1500);
    for round in 0..60 {
        for ident in 0..80 {
            let pieces = outer(&packet).fragments(400, round * 100 + ident);
            let missing = ident as usize % 4;
            for (at, piece) in pieces.iter().enumerate() {
                if at != missing {
                    bench.softwire(piece);
                }
            }
        }
        bench.pass(MINUTE);
        assert_eq!(bench.worker.poll_timeout(), None);
        books(&bench, 0);
        let pieces = outer(&packet).fragments(1400, 99);
        held(&bench.softwire(&pieces[1]));
        gives(&bench.softwire(&pieces[0]), &forwarded(&packet));
    }
    assert_eq!(bench.drops(DropReason::OutputFull), 0);
    assert_eq!(bench.drops(DropReason::Internal), 0);
}

#[test]
fn a_fragment_inside_a_fragment_is_not_unpacked_twice() {
    let mut bench = Bench::new();
    let nested = outer(&inner(1000)).fragments(904, 1)[0].clone();
    let nested = V6::raw(44, B4, AFTR, &nested[40..]).fragments(400, 2);
    assert_eq!(nested.len(), 3);
    held(&bench.softwire(&nested[0]));
    held(&bench.softwire(&nested[1]));
    let out = bench.softwire(&nested[2]);
    assert!(out.outputs.is_empty(), "{out:?}");
    books(&bench, 0);
}

#[test]
fn fragments_of_the_remote_address_are_none_of_ours() {
    // A fragment to another IPv6 address is the owner's.
    let mut bench = Bench::new();
    let pieces = tunnel(B4, "2001:db8:77::1", &inner(600).build()).fragments(400, 7);
    for piece in &pieces {
        let out = bench.softwire(piece);
        let foreign = Verdict::Local(lw4o6_aftr::Kind::Foreign);
        assert_eq!((out.verdict, &out.packet), (foreign, piece));
    }
    assert_eq!(bench.worker.poll_timeout(), None);
}
