//! The computed vectors, byte by byte.

mod common;

use common::{AFTR, B4, Bench};
use lw4o6_aftr::config::{DfPolicy, FlowLabel};
use lw4o6_aftr::{Cause, Counter, DropReason, Side, Verdict};
use lw4o6_wire::{FrameBuf, HEADROOM, Instant};
use testkit::packet::{V4, hex, tunnel};

const V1: &str = "600000000020044020010db8001234000000c0000212003420010db8ffff00000000000000000001
    45000020123440003f113d52c0000212c6336401 04cf0035000c000074657374";

const V3_IN: &str = "4500001e424200003c115046c6336401c0000212003504d0000a00006869";

const V3_OUT: &str =
    "60000000001e044020010db8ffff0000000000000000000120010db8001234000000c00002120034
    4500001e424200003b115146c6336401c0000212003504d0000a00006869";

/// Flow label 0, and the MTU of the vectors.
fn bench() -> Bench {
    Bench::with(|config| {
        config.flow_label = FlowLabel::Constant(0);
        config.ipv6_mtu = 1500;
    })
}

#[test]
fn v1_v2_a_port_outside_the_set_draws_icmpv6_source_policy() {
    // R-078 R-079 R-161 R-167
    let mut bench = bench();
    let out = bench.softwire(&hex(V1));
    let cause = Cause::Dropped(DropReason::PortOutOfSet);
    assert_eq!(out.verdict, Verdict::Reply(Side::Softwire, cause));
    let v2 = "6000000000503a4020010db8ffff0000000000000000000120010db8001234000000c00002120034
        0105098e00000000";
    assert_eq!(out.packet, [hex(v2), hex(V1)].concat());
    assert_eq!(out.packet.len(), 120);
    assert_eq!(bench.counter(Counter::OutIcmpv6ErrorBytes), 120);
}

#[test]
fn v3_a_datagram_from_the_internet_is_encapsulated() {
    // R-090 R-094 R-200
    let mut bench = bench();
    let out = bench.internet(&hex(V3_IN));
    assert_eq!(out.verdict, Verdict::Forward(Side::Softwire));
    assert_eq!(out.packet, hex(V3_OUT));
    assert!(out.outputs.is_empty());
    assert_eq!(bench.counter(Counter::SentIpv6Bytes), 70);
    assert_eq!(bench.counter(Counter::RcvdIpv4Bytes), 30);
}

#[test]
fn v4_a_big_packet_with_df_draws_fragmentation_needed() {
    // R-120 R-174 R-176 R-178 R-180
    let mut bench = bench();
    let mut packet = hex("450005dc000040003c064cd5c6336401c0000212
        01bb04d00000000100000000501003e800000000");
    packet.resize(1500, 0);
    let out = bench.internet(&packet);
    let cause = Cause::Dropped(DropReason::TooBig);
    assert_eq!(out.verdict, Verdict::Reply(Side::Internet, cause));
    let head = hex("45c00240000040004001d1c6cb007101c633640103049cc3000005b4");
    assert_eq!(out.packet, [head, packet[..548].to_vec()].concat());
}

#[test]
fn v5_a_big_packet_without_df_leaves_in_two_tunnel_fragments() {
    // R-118 R-122 R-123 R-124
    let mut bench = bench();
    let packet = V4::udp("198.51.100.1:53", "192.0.2.18:1232")
        .payload(&[7; 1472])
        .build();
    let out = bench.internet(&packet);
    assert_eq!(out.verdict, Verdict::Forward(Side::Softwire));
    let packets = out.packets();
    assert_eq!(
        packets.iter().map(|p| p.len()).collect::<Vec<_>>(),
        [1496, 100]
    );
    let ident = &packets[0][44..48];
    assert_eq!(packets[0][40..48], [&[4, 0, 0, 1][..], ident].concat());
    assert_eq!(
        packets[1][40..48],
        [&[4, 0, 0x05, 0xa8][..], ident].concat()
    );
    let mut whole = [&packets[0][48..], &packets[1][48..]].concat();
    assert_eq!(whole[8], 63);
    whole[8] = 64;
    whole[10..12].copy_from_slice(&packet[10..12]);
    assert_eq!(whole, packet);
}

#[test]
fn v4_with_the_other_df_policy_the_outer_packet_is_fragmented() {
    // D-1
    let mut bench = bench();
    bench.turn(|config| config.df_policy = DfPolicy::OuterFragment);
    let packet = V4::udp("198.51.100.1:53", "192.0.2.18:1232")
        .payload(&[7; 1472])
        .df();
    let out = bench.internet(&packet.build());
    assert_eq!(out.verdict, Verdict::Forward(Side::Softwire));
    assert_eq!(out.packets().len(), 2);
    assert_eq!(out.packet[48 + 6] & 0x40, 0x40);
}

#[test]
fn v9_the_limit_option_is_sent_as_linux_sends_it() {
    //
    let mut bench = bench();
    bench.turn(|config| config.encap_limit = Some(4));
    let out = bench.internet(&hex(V3_IN));
    assert_eq!(out.packet[6], 60);
    assert_eq!(out.packet[4..6], [0, 38]);
    assert_eq!(out.packet[40..48], hex("0400040104010100"));
    assert_eq!(out.packet[48..], hex(V3_OUT)[40..]);
}

#[test]
fn v10_ecn_survives_the_tunnel_by_the_table() {
    // R-191 R-192 R-194 R-195 R-196 R-197
    const DROP: u8 = 9;
    // Rows: inner Not-ECT, ECT(1), ECT(0), CE; columns: the same, outer.
    let table = [[0, 0, 0, DROP], [1, 1, 1, 3], [2, 1, 2, 3], [3, 3, 3, 3]];
    for (inner, row) in (0..).zip(table) {
        for (outer, result) in (0..).zip(row) {
            let mut bench = Bench::new();
            let packet = V4::udp("192.0.2.18:1232", "198.51.100.1:53").tos(inner | 0x28);
            let packet = tunnel(B4, AFTR, &packet.build()).traffic_class(outer | 0xb8);
            let out = bench.softwire(&packet.build());
            let unused = match (inner, outer) {
                (0, 1..) | (3, 1) => (1, 0),
                (1, 2) => (0, 1),
                _ => (0, 0),
            };
            let major = bench.counter(Counter::EcnUnusedMajor);
            let minor = bench.counter(Counter::EcnUnusedMinor);
            assert_eq!((major, minor), unused, "{inner} {outer}");
            if result == DROP {
                assert_eq!(out.verdict, Verdict::Drop(DropReason::EcnCongestion));
                continue;
            }
            assert_eq!(
                out.verdict,
                Verdict::Forward(Side::Internet),
                "{inner} {outer}"
            );
            assert_eq!(out.packet[1], 0xb8 | result, "{inner} {outer}");
            assert!(lw4o6_wire::checksum::verify(&out.packet[..20]));
        }
    }
}

#[test]
fn nodes_with_different_seeds_use_different_identifications() {
    // R-159 R-160
    let packet = V4::udp("198.51.100.1:53", "192.0.2.18:1232")
        .payload(&[7; 1600])
        .build();
    let idents = |seed: u8| {
        let (_writer, shared) = common::table(common::BINDINGS, &[]);
        let aftr = lw4o6_aftr::Aftr::new(common::config(), shared, [seed; 32]).unwrap();
        let mut worker = aftr.worker().unwrap();
        let mut idents = Vec::new();
        for _ in 0..4 {
            let mut storage = [0; 2048];
            let mut frame = FrameBuf::with_headroom(&mut storage, HEADROOM, &packet).unwrap();
            let verdict = worker.process(Instant::ZERO, Side::Internet, &mut frame);
            assert_eq!(verdict, Verdict::Forward(Side::Softwire));
            idents.push(frame.packet()[44..48].to_vec());
            while worker.poll_frame(&mut frame).unwrap().is_some() {}
        }
        idents
    };
    let (one, two) = (idents(1), idents(2));
    assert_eq!(one, idents(1));
    assert!(one.iter().all(|ident| !two.contains(ident)));
    assert!((1..4).all(|at| !one[..at].contains(&one[at])));
}
