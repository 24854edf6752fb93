//! From a B4 to the Internet: what passes, what is refused, what is answered.

mod common;

use common::{AFTR, AFTR2, B4, B4_FULL, B4_NEXT, Bench, OTHER_AFTR_B4, Outcome};
use lw4o6_aftr::config::{DscpDecap, MssClamp, TunnelService, UnboundSource};
use lw4o6_aftr::{Cause, Counter, DropReason, Kind, Side, Verdict};
use lw4o6_wire::checksum;
use testkit::packet::{V4, V6, tunnel, v6};

const DST: &str = "198.51.100.1:53";

fn packet() -> V4 {
    V4::udp("192.0.2.18:1232", DST).payload(b"hello")
}

fn refused(out: &Outcome) -> Option<DropReason> {
    match out.verdict {
        Verdict::Drop(reason) | Verdict::Reply(_, Cause::Dropped(reason)) => Some(reason),
        Verdict::Forward(_) | Verdict::Reply(..) | Verdict::Local(_) | Verdict::Consumed => None,
    }
}

#[test]
fn a_bound_packet_leaves_the_tunnel_one_hop_older() {
    // R-076 R-084
    let mut bench = Bench::new();
    let inner = packet().build();
    let out = bench.softwire(&tunnel(B4, AFTR, &inner).build());
    assert_eq!(out.verdict, Verdict::Forward(Side::Internet));
    assert_eq!(out.packet, packet().ttl(63).build());
    assert_eq!(bench.counter(Counter::SentIpv4Packets), 1);
    assert_eq!(
        bench.counter(Counter::RcvdIpv6Bytes),
        40 + inner.len() as u64
    );
}

#[test]
fn padding_behind_the_packet_is_cut_off() {
    let mut bench = Bench::new();
    let mut padded = tunnel(B4, AFTR, &packet().build()).build();
    padded.extend([0; 6]);
    let out = bench.softwire(&padded);
    assert_eq!(out.packet, packet().ttl(63).build());
}

#[test]
fn every_part_of_the_binding_is_checked() {
    // R-076 R-077 R-079 R-081 R-088
    let stranger = "2001:db8:dead::1";
    for (b4, aftr, src, reason) in [
        (stranger, AFTR, "192.0.2.18:1232", DropReason::NoB4),
        (B4_NEXT, AFTR, "192.0.2.18:1232", DropReason::PortOutOfSet),
        (B4, AFTR, "192.0.2.18:1236", DropReason::PortOutOfSet),
        (B4, AFTR, "192.0.2.20:1232", DropReason::WrongIpv4),
        (B4, AFTR, "203.0.113.77:1232", DropReason::WrongIpv4),
        (stranger, AFTR, "192.0.2.20:1232", DropReason::NoB4),
        (B4, AFTR2, "192.0.2.18:1232", DropReason::WrongAftr),
        (
            OTHER_AFTR_B4,
            AFTR,
            "192.0.2.22:20000",
            DropReason::WrongAftr,
        ),
    ] {
        let mut bench = Bench::new();
        let inner = V4::udp(src, DST).build();
        let sent = tunnel(b4, aftr, &inner).build();
        let out = bench.softwire(&sent);
        let cause = Cause::Dropped(reason);
        assert_eq!(
            out.verdict,
            Verdict::Reply(Side::Softwire, cause),
            "{b4} {src}"
        );
        // R-161 R-167: from the address that was hit, with the whole packet.
        assert_eq!(out.packet[8..24], v6(aftr).octets());
        assert_eq!(out.packet[24..40], v6(b4).octets());
        assert_eq!((out.packet[40], out.packet[41]), (1, 5));
        assert_eq!(out.packet[48..], sent);
        assert_eq!(bench.drops(reason), 1);
        //
        bench.turn(|config| config.unbound_source = UnboundSource::Discard);
        assert_eq!(bench.softwire(&sent).verdict, Verdict::Drop(reason));
    }
}

#[test]
fn an_inner_error_never_draws_source_policy() {
    // T-1
    let mut bench = Bench::new();
    let about = V4::udp(DST, "192.0.2.18:9").build();
    let error = V4::icmp_error("192.0.2.18", "198.51.100.1", 3, 13, &about).build();
    let out = bench.softwire(&tunnel(B4, AFTR, &error).build());
    assert_eq!(out.verdict, Verdict::Drop(DropReason::PortOutOfSet));
}

#[test]
fn an_error_of_a_subscriber_is_checked_by_the_quoted_destination() {
    // T-7
    let mut bench = Bench::new();
    let about = V4::udp("198.51.100.1:50000", "192.0.2.18:1232").build();
    let error = V4::icmp_error("192.0.2.18", "198.51.100.1", 3, 3, &about).build();
    let out = bench.softwire(&tunnel(B4, AFTR, &error).build());
    assert_eq!(out.verdict, Verdict::Forward(Side::Internet));
    let about = V4::udp("198.51.100.1:1232", "192.0.2.19:1232").build();
    let error = V4::icmp_error("192.0.2.18", "198.51.100.1", 3, 3, &about).build();
    let out = bench.softwire(&tunnel(B4, AFTR, &error).build());
    assert_eq!(refused(&out), Some(DropReason::Icmpv4QuoteMismatch));
}

#[test]
fn pings_are_checked_by_their_identifier() {
    //
    let mut bench = Bench::new();
    for kind in [0, 8, 13] {
        for (ident, verdict) in [(1232, None), (1236, Some(DropReason::PortOutOfSet))] {
            let ping = V4::echo(kind, "192.0.2.18", "198.51.100.1", ident).build();
            let out = bench.softwire(&tunnel(B4, AFTR, &ping).build());
            assert_eq!(refused(&out), verdict, "{kind} {ident}");
        }
    }
}

#[test]
fn extension_headers_are_walked() {
    // R-069 R-070 R-071 R-135 R-187
    let mut bench = Bench::new();
    let plain = tunnel(B4, AFTR, &packet().build());
    let atomic = [0, 0, 0, 1, 2, 3, 4];
    for packet in [
        plain.clone().limit(4),
        plain.clone().limit(4).behind(44, &atomic),
        plain.clone().behind(44, &atomic).limit(4),
        plain.clone().behind(43, &[0, 0, 0, 0, 0, 0, 0]),
        plain.behind(0, &[0, 1, 4, 0, 0, 0, 0]),
    ] {
        let out = bench.softwire(&packet.build());
        assert_eq!(out.verdict, Verdict::Forward(Side::Internet), "{packet:?}");
        assert_eq!(out.packet, self::packet().ttl(63).build());
    }
}

#[test]
fn what_an_aftr_cannot_read_draws_a_parameter_problem() {
    // R-072 R-073
    let mut bench = Bench::new();
    let reply = |reason| Verdict::Reply(Side::Softwire, Cause::Dropped(reason));
    let out = bench.softwire(&V6::raw(47, B4, AFTR, &[0; 8]).build());
    assert_eq!(out.verdict, reply(DropReason::NextHeaderUnknown));
    assert_eq!(
        out.packet[40..48],
        [4, 1, out.packet[42], out.packet[43], 0, 0, 0, 6]
    );
    let hidden = V6::raw(47, B4, AFTR, &[0; 8]).limit(4).build();
    assert_eq!(bench.softwire(&hidden).packet[44..48], [0, 0, 0, 40]);
    let option = tunnel(B4, AFTR, &packet().build()).behind(60, &[0, 0x80, 4, 0, 0, 0, 0]);
    let out = bench.softwire(&option.build());
    assert_eq!(out.verdict, reply(DropReason::ExtHeaderOption));
    assert_eq!((out.packet[40], out.packet[41], out.packet[47]), (4, 2, 42));
    let routed = tunnel(B4, AFTR, &packet().build()).behind(43, &[0, 0, 1, 0, 0, 0, 0]);
    let out = bench.softwire(&routed.build());
    assert_eq!(out.verdict, reply(DropReason::RoutingHeader));
    let mut long = tunnel(B4, AFTR, &packet().build());
    for _ in 0..9 {
        long = long.limit(4);
    }
    let out = bench.softwire(&long.build());
    assert_eq!(out.verdict, Verdict::Drop(DropReason::ExtHeaderLimit));
    let nothing = V6::raw(59, B4, AFTR, &[]);
    let out = bench.softwire(&nothing.build());
    assert_eq!(out.verdict, Verdict::Drop(DropReason::NoNextHeader));
}

#[test]
fn outer_sources_are_routable_and_allowed() {
    //
    let mut bench = Bench::new();
    for src in ["::", "::1", "fe80::1", "ff02::1"] {
        let out = bench.softwire(&tunnel(src, AFTR, &packet().build()).build());
        assert_eq!(
            out.verdict,
            Verdict::Drop(DropReason::Ipv6SourceInvalid),
            "{src}"
        );
    }
    bench.turn(|config| {
        config
            .subscriber_prefixes
            .push("2001:db8:20::/48".parse().unwrap());
    });
    let out = bench.softwire(&tunnel(B4, AFTR, &packet().build()).build());
    assert_eq!(out.verdict, Verdict::Drop(DropReason::Ipv6SourceNotAllowed));
    let full = V4::udp("192.0.2.20:1", DST).build();
    let out = bench.softwire(&tunnel(B4_FULL, AFTR, &full).build());
    assert_eq!(out.verdict, Verdict::Forward(Side::Internet));
}

#[test]
fn what_is_not_ours_stays_untouched() {
    let mut bench = Bench::new();
    let inner = packet().build();
    for (packet, kind) in [
        (tunnel(B4, "2001:db8:77::1", &inner), Kind::Foreign),
        (V6::raw(17, B4, "2001:db8:77::1", &[0; 8]), Kind::Foreign),
        (V6::raw(17, B4, AFTR, &[0; 8]), Kind::Own),
        (V6::raw(6, B4, AFTR, &[0; 20]), Kind::Own),
        (
            V6::icmp("fe80::1", "ff02::1:ff00:1", 135, 0, 0, &[0; 16]),
            Kind::Own,
        ),
        (V6::icmp("fe80::1", AFTR, 135, 0, 0, &[0; 16]), Kind::Own),
        (V6::raw(17, B4, "ff02::fb", &[0; 8]), Kind::Foreign),
    ] {
        let mut bytes = packet.build();
        bytes.extend([9; 3]);
        let out = bench.softwire(&bytes);
        assert_eq!((out.verdict, out.packet), (Verdict::Local(kind), bytes));
    }
}

#[test]
fn broken_inner_headers_are_dropped_in_silence() {
    // R-074 R-175
    let good = packet().build();
    for (at, value, reason) in [
        (0, 0x65, DropReason::Ipv4Malformed),
        (0, 0x44, DropReason::Ipv4Malformed),
        (0, 0x4f, DropReason::Ipv4Malformed),
        (3, 200, DropReason::Ipv4Malformed),
        (3, 10, DropReason::Ipv4Malformed),
        (8, 63, DropReason::Ipv4Checksum),
    ] {
        let mut bench = Bench::new();
        let mut inner = good.clone();
        inner[at] = value;
        let out = bench.softwire(&tunnel(B4, AFTR, &inner).build());
        assert_eq!(out.verdict, Verdict::Drop(reason), "{at} {value}");
    }
    let mut bench = Bench::new();
    let out = bench.softwire(&tunnel(B4, AFTR, &good[..19]).build());
    assert_eq!(out.verdict, Verdict::Drop(DropReason::Ipv4Malformed));
    let mut cut = tunnel(B4, AFTR, &good).build();
    cut.pop();
    let out = bench.softwire(&cut);
    assert_eq!(out.verdict, Verdict::Drop(DropReason::Ipv6Malformed));
}

#[test]
fn martians_are_dropped() {
    //
    let mut bench = Bench::new();
    for (src, dst, reason) in [
        ("127.0.0.1:1", DST, DropReason::Ipv4SourceMartian),
        ("224.0.0.1:1", DST, DropReason::Ipv4SourceMartian),
        (
            "192.0.2.18:1232",
            "255.255.255.255:1",
            DropReason::Ipv4DestinationMartian,
        ),
        (
            "192.0.2.18:1232",
            "239.1.1.1:1",
            DropReason::Ipv4DestinationMartian,
        ),
        (
            "192.0.2.18:1232",
            "10.0.0.1:1",
            DropReason::Ipv4DestinationMartian,
        ),
    ] {
        let out = bench.softwire(&tunnel(B4, AFTR, &V4::udp(src, dst).build()).build());
        assert_eq!(out.verdict, Verdict::Drop(reason), "{src} {dst}");
    }
    bench.turn(|c| c.private_destination = lw4o6_aftr::config::PrivateDestination::Forward);
    let inner = V4::udp("192.0.2.18:1232", "10.0.0.1:1").build();
    let out = bench.softwire(&tunnel(B4, AFTR, &inner).build());
    assert_eq!(out.verdict, Verdict::Forward(Side::Internet));
}

#[test]
fn service_addresses_never_leave_the_tunnel() {
    // R-086 R-087
    let mut bench = Bench::new();
    let stranger = "2001:db8:dead::1";
    let pcp = tunnel(
        stranger,
        AFTR,
        &V4::udp("192.0.0.2:5351", "192.0.0.1:5351").build(),
    )
    .build();
    let dropped = Verdict::Drop(DropReason::ServiceAddress);
    assert_eq!(bench.softwire(&pcp).verdict, dropped);
    bench.turn(|config| config.tunnel_service = TunnelService::On);
    let out = bench.softwire(&pcp);
    let (b4, aftr) = (v6(stranger), v6(AFTR));
    assert_eq!(out.verdict, Verdict::Local(Kind::Tunnelled { b4, aftr }));
    assert_eq!(out.packet, pcp);
    for (src, dst) in [
        ("192.0.0.2:1", DST),
        ("192.0.0.3:1", "192.0.0.1:1"),
        ("192.0.2.18:1232", "192.0.0.1:1"),
    ] {
        let out = bench.softwire(&tunnel(B4, AFTR, &V4::udp(src, dst).build()).build());
        assert_eq!(out.verdict, dropped, "{src} {dst}");
    }
}

#[test]
fn a_ttl_that_runs_out_is_told_through_the_tunnel() {
    // R-084 R-085 R-175 R-176 R-178
    let mut bench = Bench::new();
    for ttl in [0, 1] {
        let inner = packet().ttl(ttl).build();
        let out = bench.softwire(&tunnel(B4, AFTR, &inner).build());
        let cause = Cause::Dropped(DropReason::TtlExpired);
        assert_eq!(out.verdict, Verdict::Reply(Side::Softwire, cause));
        assert_eq!(out.packet[8..24], v6(AFTR).octets());
        assert_eq!(out.packet[24..40], v6(B4).octets());
        let error = &out.packet[40..];
        assert_eq!((error[1], error[8]), (0xc0, 64));
        assert_eq!(error[12..20], [192, 0, 0, 1, 192, 0, 2, 18]);
        assert_eq!((error[20], error[21]), (11, 0));
        assert_eq!(error[28..], inner);
        assert!(checksum::verify(&error[..20]) && checksum::verify(&error[20..]));
    }
    bench.turn(|c| c.icmp.b4_source = lw4o6_aftr::config::B4IcmpSource::Public);
    let out = bench.softwire(&tunnel(B4, AFTR, &packet().ttl(1).build()).build());
    assert_eq!(out.packet[52..56], [203, 0, 113, 1]);
}

#[test]
fn an_answer_to_a_forged_packet_is_not_sent() {
    // TTL expiry is told to B4s with a binding only.
    let mut bench = Bench::new();
    let inner = V4::udp("192.0.2.18:9", DST).ttl(1).build();
    let out = bench.softwire(&tunnel(B4, AFTR, &inner).build());
    assert_eq!(refused(&out), Some(DropReason::PortOutOfSet));
}

#[test]
fn too_big_for_the_ipv4_side() {
    // R-125 R-149
    let mut bench = Bench::with(|config| config.ipv4_mtu = 1400);
    let big = packet().payload(&[4; 2000]);
    let out = bench.softwire(&tunnel(B4, AFTR, &big.build()).build());
    assert_eq!(out.verdict, Verdict::Forward(Side::Internet));
    let packets = out.packets();
    assert_eq!(packets.len(), 2);
    assert!(
        packets
            .iter()
            .all(|p| p.len() <= 1400 && checksum::verify(&p[..20]))
    );
    let l4: Vec<u8> = packets.iter().flat_map(|p| p[20..].to_vec()).collect();
    assert_eq!(l4, big.l4);
    assert_eq!(packets[1][6..8], (1376_u16 / 8).to_be_bytes());
    let out = bench.softwire(&tunnel(B4, AFTR, &big.df().build()).build());
    let cause = Cause::Dropped(DropReason::TooBig);
    assert_eq!(out.verdict, Verdict::Reply(Side::Softwire, cause));
    assert_eq!(out.packet[60..68][6..8], 1400_u16.to_be_bytes());
    assert_eq!((out.packet[60], out.packet[61]), (3, 4));
}

#[test]
fn dscp_comes_back_unless_piped() {
    //
    let mut bench = Bench::new();
    let sent = tunnel(B4, AFTR, &packet().tos(0x28).build()).traffic_class(0xb8);
    assert_eq!(bench.softwire(&sent.build()).packet[1], 0xb8);
    bench.turn(|config| config.dscp_decap = DscpDecap::Pipe);
    let out = bench.softwire(&sent.build());
    assert_eq!(out.packet[1], 0x28);
    assert!(checksum::verify(&out.packet[..20]));
}

#[test]
fn ports_are_all_a_shared_address_lets_out() {
    //
    let mut bench = Bench::new();
    for protocol in [4, 41, 47, 50, 51] {
        let inner = V4::raw(
            protocol,
            "192.0.2.18",
            "198.51.100.1",
            &[0x04, 0xd0, 4, 0xd0],
        )
        .build();
        let out = bench.softwire(&tunnel(B4, AFTR, &inner).build());
        assert_eq!(
            out.verdict,
            Verdict::Drop(DropReason::NoL4Port),
            "{protocol}"
        );
        let inner = V4::raw(protocol, "192.0.2.20", "198.51.100.1", &[0; 48]).build();
        let out = bench.softwire(&tunnel(B4_FULL, AFTR, &inner).build());
        assert_eq!(out.verdict, Verdict::Forward(Side::Internet), "{protocol}");
    }
    for (protocol, len) in [(6, 20), (17, 8), (33, 12), (132, 12), (136, 8)] {
        let mut l4 = vec![0; len];
        l4[..2].copy_from_slice(&1232_u16.to_be_bytes());
        if protocol == 6 {
            l4[12] = 0x50;
        }
        let inner = V4::raw(protocol, "192.0.2.18", "198.51.100.1", &l4).build();
        let out = bench.softwire(&tunnel(B4, AFTR, &inner).build());
        assert_eq!(out.verdict, Verdict::Forward(Side::Internet), "{protocol}");
        let inner = V4::raw(protocol, "192.0.2.18", "198.51.100.1", &l4[..len - 1]).build();
        let out = bench.softwire(&tunnel(B4, AFTR, &inner).build());
        assert_eq!(
            out.verdict,
            Verdict::Drop(DropReason::L4Malformed),
            "{protocol}"
        );
    }
}

#[test]
fn a_tunnel_inside_itself_is_refused() {
    //
    let mut bench = Bench::new();
    for (src, dst) in [(B4_FULL, AFTR), (AFTR, B4_FULL)] {
        let nested = V6::raw(59, src, dst, &[]).build();
        let inner = V4::raw(41, "192.0.2.20", "198.51.100.1", &nested).build();
        let out = bench.softwire(&tunnel(B4_FULL, AFTR, &inner).build());
        assert_eq!(out.verdict, Verdict::Drop(DropReason::TunnelLoop));
    }
    let nested = V6::raw(59, B4_FULL, "2001:db8::9", &[]).build();
    let inner = V4::raw(41, "192.0.2.20", "198.51.100.1", &nested).build();
    let out = bench.softwire(&tunnel(B4_FULL, AFTR, &inner).build());
    assert_eq!(out.verdict, Verdict::Forward(Side::Internet));
}

#[test]
fn the_segment_size_is_clamped_both_ways() {
    //
    let mut bench = Bench::with(|config| {
        config.ipv6_mtu = 1500;
        config.mss_clamp = MssClamp::ToTunnel;
    });
    for pad in 0..4 {
        let syn = V4::syn("192.0.2.18:1232", DST, 1460, pad);
        let out = bench.softwire(&tunnel(B4, AFTR, &syn.build()).build());
        let want = V4::syn("192.0.2.18:1232", DST, 1420, pad).ttl(63).build();
        assert_eq!(out.packet, want, "{pad}");
        let syn = V4::syn(DST, "192.0.2.18:1232", 1460, pad);
        let out = bench.internet(&syn.build());
        let want = V4::syn(DST, "192.0.2.18:1232", 1420, pad).ttl(63).build();
        assert_eq!(out.packet[40..], want, "{pad}");
    }
    let low = V4::syn("192.0.2.18:1232", DST, 1000, 1);
    let out = bench.softwire(&tunnel(B4, AFTR, &low.build()).build());
    assert_eq!(out.packet, low.ttl(63).build());
    assert_eq!(bench.counter(Counter::MssClamped), 8);
}
