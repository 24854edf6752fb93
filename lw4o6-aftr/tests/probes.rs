//! Packets that another address-sharing router got wrong, one test a probe.
//!
//! The set-up is that of the probes: a shared address with three of 64 port sets given out, a whole
//! address, and an MTU of 1500 bytes on both sides.

mod common;
mod named;

use common::{AFTR_V4, Bench, Entry};
use lw4o6_aftr::config::{InnerFragmentation, MssClamp, UnboundSource, UnknownProtocol};
use lw4o6_aftr::{Counter, DropReason, Kind, Side, Verdict};
use lw4o6_wire::checksum::verify;
use named::*;
use testkit::packet::{V4, V6, tunnel};

const BR: &str = "2001:db8:ffff::a";
const B4_0: &str = "2001:db8:b4::100";
const B4_5: &str = "2001:db8:b4::105";
const B4_9: &str = "2001:db8:b4::109";
const B4_WHOLE: &str = "2001:db8:b4::f";

const DOMAINS: &[Entry<'static>] = &[
    (B4_0, "192.0.2.1", 0, 6, 0, BR),
    (B4_5, "192.0.2.1", 0, 6, 5, BR),
    (B4_9, "192.0.2.1", 0, 6, 9, BR),
    (B4_WHOLE, "192.0.2.2", 0, 0, 0, BR),
];

const REMOTE: &str = "198.51.100.1:4000";

fn bench() -> Bench {
    Bench::over(DOMAINS, &[], |config| config.ipv6_mtu = 1500)
}

/// A datagram from the subscriber with PSID 5, in its tunnel.
fn from_b4_5(src: &str, b4: &str) -> Vec<u8> {
    tunnel(b4, BR, &V4::udp(src, REMOTE).payload(b"probe").build()).build()
}

#[test]
fn vpp_1_a_datagram_reaches_the_owner_of_its_port() {
    let mut bench = bench();
    let packet = V4::udp(REMOTE, "192.0.2.1:5121").tos(0xb8 | 1).build();
    let out = bench.internet(&packet);
    assert_eq!(to_b4(&out, BR, B4_5), one_hop_on(&packet));
    assert_eq!(out.packet[0] & 0xf, 0xb, "traffic class copied"); // R-190 R-192
    assert_eq!(out.packet[1] >> 4, 0x9);
    assert_eq!(out.packet[7], 64);
    let label = u32::from_be_bytes([0, out.packet[1] & 15, out.packet[2], out.packet[3]]);
    assert_ne!(label, 0, "a flow label is set");
}

#[test]
fn vpp_2_an_echo_and_an_error_reach_the_owner_of_their_identifier_and_quoted_port() {
    // R-098 R-099
    let mut bench = bench();
    let echo = V4::echo(0, "198.51.100.1", "192.0.2.1", 5121).build();
    assert_eq!(to_b4(&bench.internet(&echo), BR, B4_5), one_hop_on(&echo));
    let request = V4::echo(8, "198.51.100.1", "192.0.2.1", 5121).build();
    assert_eq!(
        to_b4(&bench.internet(&request), BR, B4_5),
        one_hop_on(&request)
    );
    let sent = V4::udp("192.0.2.1:5121", "198.51.100.1:53").build();
    let error = V4::icmp_error("203.0.113.9", "192.0.2.1", 3, 3, &sent).build();
    assert_eq!(to_b4(&bench.internet(&error), BR, B4_5), one_hop_on(&error));
}

fn portless(protocol: u8) {
    //
    let mut bench = bench();
    let packet = V4::raw(protocol, "198.51.100.1", "192.0.2.1", &[0x14; 24]).build();
    dropped(&bench.internet(&packet), DropReason::NoL4Port);
    assert_eq!(bench.drops(DropReason::NoL4Port), 1);
    bench.turn(|config| config.unknown_protocol = UnknownProtocol::ProtocolUnreachable);
    let told = answer_v4(
        &bench.internet(&packet),
        Side::Internet,
        DropReason::NoL4Port,
    );
    assert_eq!(told.kind, (3, 2));
    assert_eq!(told.quote, packet);
    // A whole address takes every protocol.
    let packet = V4::raw(protocol, "198.51.100.1", "192.0.2.2", &[0x14; 24]).build();
    to_b4(&bench.internet(&packet), BR, B4_WHOLE);
}

#[test]
fn vpp_3b_gre_to_a_shared_address_is_dropped_and_counted() {
    portless(47);
}

#[test]
fn vpp_3c_esp_to_a_shared_address_is_dropped_and_counted() {
    portless(50);
}

#[test]
fn vpp_20_a_datagram_without_a_udp_header_is_malformed() {
    let mut bench = bench();
    let packet = V4::raw(17, "198.51.100.1", "192.0.2.1", &[]).build();
    assert_eq!(packet.len(), 20);
    dropped(&bench.internet(&packet), DropReason::L4Malformed);
    let padded = [packet, vec![0x14; 26]].concat(); // Ethernet padding is no header
    dropped(&bench.internet(&padded), DropReason::L4Malformed);
    let inner = V4::raw(17, "192.0.2.1", "198.51.100.1", &[]).build();
    let packet = tunnel(B4_5, BR, &inner).build();
    dropped(&bench.softwire(&packet), DropReason::L4Malformed);
}

#[test]
fn vpp_4_ttl_1_draws_time_exceeded() {
    //
    for ttl in [1, 0] {
        let mut bench = bench();
        let packet = V4::udp(REMOTE, "192.0.2.1:5121").ttl(ttl).build();
        let told = answer_v4(
            &bench.internet(&packet),
            Side::Internet,
            DropReason::TtlExpired,
        );
        assert_eq!((told.kind, told.word), ((11, 0), 0));
        assert_eq!((told.src, told.dst), (addr(AFTR_V4), addr("198.51.100.1")));
        assert_eq!(told.quote, packet);
    }
}

#[test]
fn vpp_5_a_port_without_a_rule_draws_host_unreachable_within_the_rate() {
    // R-091 R-092 R-179
    let mut bench = bench();
    let packet = V4::udp(REMOTE, "192.0.2.1:7000").build();
    for _ in 0..10 {
        let out = bench.internet(&packet);
        let told = answer_v4(&out, Side::Internet, DropReason::NoBinding);
        assert_eq!((told.kind, told.quote), ((3, 1), packet.clone()));
    }
    dropped(&bench.internet(&packet), DropReason::NoBinding);
    assert_eq!(bench.counter(Counter::Icmpv4SuppressedRate), 1);
    assert_eq!(bench.drops(DropReason::NoBinding), 11);
}

#[test]
fn vpp_6_a_1500_byte_packet_with_df_is_told_1460() {
    // R-120 R-180
    let mut bench = bench();
    let packet = V4::udp(REMOTE, "192.0.2.1:5121")
        .payload(&[0; 1472])
        .df()
        .build();
    assert_eq!(packet.len(), 1500);
    let told = answer_v4(&bench.internet(&packet), Side::Internet, DropReason::TooBig);
    assert_eq!((told.kind, told.word), ((3, 4), 1460));
    let packet = V4::udp(REMOTE, "192.0.2.1:5121")
        .payload(&[0; 1432])
        .df()
        .build();
    to_b4(&bench.internet(&packet), BR, B4_5);
}

#[test]
fn vpp_6d_with_inner_fragmentation_df_is_still_answered() {
    // R-120 R-125
    let mut bench = bench();
    bench.turn(|config| config.inner_fragmentation = InnerFragmentation::On);
    let packet = V4::udp(REMOTE, "192.0.2.1:5121").payload(&[0; 1472]);
    let told = answer_v4(
        &bench.internet(&packet.clone().df().build()),
        Side::Internet,
        DropReason::TooBig,
    );
    assert_eq!((told.kind, told.word), ((3, 4), 1460));
    let out = bench.internet(&packet.build());
    assert_eq!(out.verdict, Verdict::Forward(Side::Softwire));
    for packet in out.packets() {
        let (_, _, inner) = open(packet);
        assert!(packet.len() <= 1500 && inner[6] & 0x40 == 0);
    }
}

#[test]
fn vpp_8_a_datagram_from_its_owner_passes() {
    //
    let mut bench = bench();
    let packet = from_b4_5("192.0.2.1:5121", B4_5);
    let out = bench.softwire(&packet);
    assert_eq!(to_internet(&out), one_hop_on(&packet[40..]));
}

/// A spoofed packet is dropped, and told or not as the knob says.
fn spoofed(packet: &[u8], b4: &str, reason: DropReason) {
    let mut bench = bench();
    let told = answer_v6(&bench.softwire(packet), reason);
    assert_eq!((told.kind, told.word), ((1, 5), 0));
    assert_eq!((told.src, told.dst), (addr6(BR), addr6(b4)));
    assert_eq!(told.quote, packet);
    bench.turn(|config| config.unbound_source = UnboundSource::Discard);
    dropped(&bench.softwire(packet), reason);
    assert_eq!(bench.drops(reason), 2);
}

#[test]
fn vpp_8b_another_subscribers_port_is_spoofed() {
    let packet = from_b4_5("192.0.2.1:9300", B4_5);
    spoofed(&packet, B4_5, DropReason::PortOutOfSet);
}

#[test]
fn vpp_8c_another_ipv4_address_is_spoofed() {
    let packet = from_b4_5("192.0.2.2:5121", B4_5);
    spoofed(&packet, B4_5, DropReason::WrongIpv4);
    let packet = from_b4_5("192.0.2.77:5121", B4_5);
    spoofed(&packet, B4_5, DropReason::WrongIpv4);
}

#[test]
fn vpp_8d_an_unknown_b4_is_told_so() {
    let stranger = "2001:db8:b5::105";
    let packet = from_b4_5("192.0.2.1:5121", stranger);
    spoofed(&packet, stranger, DropReason::NoB4);
}

#[test]
fn vpp_8e_a_burst_without_binding_draws_what_the_bucket_holds_in_every_batch_size() {
    // R-165 R-166
    let stranger = "2001:db8:b5::105";
    let packets = vec![from_b4_5("192.0.2.1:5121", stranger); 256];
    for size in [1, 3, 4, 8, 256] {
        let mut bench = bench();
        let outcomes = in_batches(&mut bench, Side::Softwire, &packets, size);
        for (index, out) in outcomes.iter().enumerate() {
            if index < 10 {
                assert_eq!(answer_v6(out, DropReason::NoB4).kind, (1, 5), "{size}");
            } else {
                dropped(out, DropReason::NoB4);
            }
        }
        assert_eq!(bench.counter(Counter::Icmpv6SuppressedRate), 246);
        // One comes back every 100 ms.
        bench.pass(100);
        answer_v6(&bench.softwire(&packets[0]), DropReason::NoB4);
        dropped(&bench.softwire(&packets[0]), DropReason::NoB4);
        books_close(&bench);
    }
}

#[test]
fn vpp_9_a_tunnel_to_somebody_else_is_left_alone() {
    let mut bench = bench();
    let inner = V4::udp("192.0.2.1:5121", REMOTE).build();
    let packet = tunnel(B4_5, "2001:db8:77::1", &inner).build();
    let out = bench.softwire(&packet);
    assert_eq!(out.verdict, Verdict::Local(Kind::Foreign));
    assert_eq!(out.packet, packet);
    assert_eq!(bench.worker.counters().dropped(), 0);
}

fn native(n: u8) -> Vec<u8> {
    let tcp = [0x1f, 0x90, 0x1f, n, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0, 0];
    V6::raw(6, "2001:db8:1::2", "2001:db8:77::1", &tcp).build()
}

#[test]
fn vpp_10_native_ipv6_passes() {
    let mut bench = bench();
    let out = bench.softwire(&native(0));
    assert_eq!(out.verdict, Verdict::Local(Kind::Foreign));
    assert_eq!(out.packet, native(0));
}

#[test]
fn vpp_10b_native_ipv6_passes_in_every_batch_size() {
    let packets: Vec<Vec<u8>> = (0..=255).map(native).collect();
    for size in [1, 3, 4, 8, 256] {
        let mut bench = bench();
        let outcomes = in_batches(&mut bench, Side::Softwire, &packets, size);
        for (out, packet) in outcomes.iter().zip(&packets) {
            assert_eq!(out.verdict, Verdict::Local(Kind::Foreign), "{size}");
            assert_eq!(&out.packet, packet);
        }
        assert_eq!(outcomes.len(), 256);
        assert_eq!(bench.counter(Counter::Local), 256);
        assert_eq!(bench.worker.counters().dropped(), 0);
    }
}

#[test]
fn vpp_11_neighbor_messages_reach_the_stack() {
    let mut bench = bench();
    bench.turn(|config| config.own_ipv6.push(addr6("2001:db8:1::1")));
    let target = "2001:db8:1::1"
        .parse::<std::net::Ipv6Addr>()
        .unwrap()
        .octets();
    for (kind, dst) in [
        (135, "2001:db8:1::1"),
        (136, "2001:db8:1::1"),
        (135, "ff02::1:ff00:1"),
        (135, BR),
    ] {
        let packet = V6::icmp("fe80::2", dst, kind, 0, 0, &target).build();
        let out = bench.softwire(&packet);
        assert_eq!(out.verdict, Verdict::Local(Kind::Own), "{kind} {dst}");
        assert_eq!(out.packet, packet);
    }
}

#[test]
fn vpp_12_b4_to_b4_traffic_turns_round_into_the_other_tunnel() {
    // R-112 R-114 R-117
    let mut bench = bench();
    let inner = V4::udp("192.0.2.1:5121", "192.0.2.1:9300").build();
    let out = bench.softwire(&tunnel(B4_5, BR, &inner).build());
    assert_eq!(to_b4(&out, BR, B4_9), one_hop_on(&inner));
    assert_eq!(bench.counter(Counter::HairpinIpv4Packets), 1);
    assert_eq!(bench.counter(Counter::SentIpv4Packets), 0);
}

#[test]
fn vpp_13_the_source_of_a_whole_address_is_checked() {
    // R-076 R-081
    let mut bench = bench();
    let inner = V4::udp("192.0.2.2:1", REMOTE).build();
    to_internet(&bench.softwire(&tunnel(B4_WHOLE, BR, &inner).build()));
    let told = answer_v6(
        &bench.softwire(&tunnel(B4_5, BR, &inner).build()),
        DropReason::WrongIpv4,
    );
    assert_eq!(told.kind, (1, 5));
    let gre = V4::raw(47, "192.0.2.2", "198.51.100.1", &[0; 8]).build();
    answer_v6(
        &bench.softwire(&tunnel(B4_5, BR, &gre).build()),
        DropReason::WrongIpv4,
    );
}

/// What BR sends to the subscriber with PSID 5, with Don't Fragment.
fn sent_to_b4_5() -> (Vec<u8>, Vec<u8>) {
    let inner = V4::udp(REMOTE, "192.0.2.1:5121")
        .payload(&[3; 64])
        .df()
        .build();
    let packet = tunnel(BR, B4_5, &inner).build();
    (inner, packet)
}

/// A router's `ICMPv6` error about it becomes this `ICMPv4` error.
fn relayed(kind: u8, code: u8, word: u32, expect: (u8, u8), rest: u32) {
    let mut bench = bench();
    let (inner, sent) = sent_to_b4_5();
    let error = V6::icmp("2001:db8:aaaa::1", BR, kind, code, word, &sent).build();
    let out = bench.softwire(&error);
    let told = told_v4(&to_internet(&out));
    assert_eq!((told.kind, told.word), (expect, rest));
    assert_eq!((told.src, told.dst), (addr(AFTR_V4), addr("198.51.100.1")));
    assert_eq!(told.quote, inner);
    assert_eq!(bench.counter(Counter::TunnelErrorsRelayed), 1);
}

#[test]
fn vpp_14a_packet_too_big_1400_is_relayed_as_1360() {
    // R-150 R-184
    relayed(2, 0, 1400, (3, 4), 1360);
}

#[test]
fn vpp_14b_a_forged_packet_too_big_is_dropped() {
    // R-152 R-186
    let mut bench = bench();
    let (_, sent) = sent_to_b4_5();
    let too_big = |sent: &[u8]| V6::icmp("2001:db8:aaaa::1", BR, 2, 0, 1400, sent).build();
    // Not the B4 of that port; not from us; nobody's port; not a tunnel packet.
    let inner = V4::udp(REMOTE, "192.0.2.1:5121").df();
    let forged = [
        tunnel(BR, B4_9, &inner.build()),
        tunnel("2001:db8:ffff::b", B4_5, &inner.build()),
        tunnel(BR, B4_5, &V4::udp(REMOTE, "192.0.2.1:7000").df().build()),
        tunnel(BR, B4_5, &V4::udp(REMOTE, "203.0.113.77:5121").df().build()),
        V6::raw(17, BR, B4_5, &[0; 64]),
    ];
    for (n, packet) in forged.iter().enumerate() {
        dropped(
            &bench.softwire(&too_big(&packet.build())),
            DropReason::Icmpv6QuoteForeign,
        );
        assert_eq!(bench.drops(DropReason::Icmpv6QuoteForeign), n as u64 + 1);
    }
    let mut error = too_big(&sent);
    error[42] ^= 1;
    dropped(&bench.softwire(&error), DropReason::Icmpv6Checksum);
}

#[test]
fn vpp_14c_address_unreachable_is_relayed_as_host_unreachable() {
    // R-181 R-183: the second word is zero, whatever came
    relayed(1, 3, 0x00ad_beef, (3, 1), 0); // its first byte would be a length (RFC 4884)
}

#[test]
fn vpp_14d_hop_limit_exceeded_is_relayed_as_host_unreachable() {
    relayed(3, 0, 0, (3, 1), 0);
}

#[test]
fn vpp_15_a_destination_options_header_is_no_obstacle() {
    //
    let mut bench = bench();
    let inner = V4::udp("192.0.2.1:5121", REMOTE).build();
    let packet = tunnel(B4_5, BR, &inner).limit(4).build();
    assert_eq!(packet.len(), 48 + inner.len());
    assert_eq!(to_internet(&bench.softwire(&packet)), one_hop_on(&inner));
}

#[test]
fn vpp_16_congestion_marked_outside_is_marked_inside() {
    //
    let mut bench = bench();
    let inner = V4::udp("192.0.2.1:5121", REMOTE).tos(2).build();
    let packet = tunnel(B4_5, BR, &inner).traffic_class(3).build();
    let out = to_internet(&bench.softwire(&packet));
    assert_eq!(out[1], 3);
    assert!(verify(&out[..20]));
}

#[test]
fn vpp_17_the_mss_is_clamped_in_both_directions() {
    //
    let mut bench = bench();
    bench.turn(|config| config.mss_clamp = MssClamp::To(1420));
    for pad in 0..4 {
        let up = V4::syn("192.0.2.1:5121", "198.51.100.1:80", 1460, pad).build();
        let expect = V4::syn("192.0.2.1:5121", "198.51.100.1:80", 1420, pad).build();
        let out = to_internet(&bench.softwire(&tunnel(B4_5, BR, &up).build()));
        assert_eq!(out, one_hop_on(&expect), "{pad}");
        let down = V4::syn("198.51.100.1:80", "192.0.2.1:5121", 1460, pad).build();
        let expect = V4::syn("198.51.100.1:80", "192.0.2.1:5121", 1420, pad).build();
        let out = to_b4(&bench.internet(&down), BR, B4_5);
        assert_eq!(out, one_hop_on(&expect), "{pad}");
    }
    assert_eq!(bench.counter(Counter::MssClamped), 8);
    let low = V4::syn("192.0.2.1:5121", "198.51.100.1:80", 1300, 0).build();
    let out = to_internet(&bench.softwire(&tunnel(B4_5, BR, &low).build()));
    assert_eq!(out, one_hop_on(&low), "never raised");
}
