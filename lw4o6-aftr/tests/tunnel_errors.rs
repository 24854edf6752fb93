//! ICMPv6 to an AFTR address: tunnel errors passed on to the IPv4 source, and echo.

mod common;

use common::{AFTR, AFTR2, B4, B4_FULL, B4_RANGE, Bench, OTHER_AFTR_B4};
use lw4o6_aftr::config::{DfPolicy, Pmtud, PoolSource, Switch};
use lw4o6_aftr::{Cause, Counter, DropReason, Kind, Side, Verdict};
use lw4o6_wire::checksum;
use testkit::packet::{V4, V6, tunnel, v6};

/// A router between us and the B4.
const ROUTER: &str = "2001:db8:99::1";

fn inner() -> V4 {
    V4::udp("198.51.100.1:53", "192.0.2.18:1232")
        .df()
        .payload(&[3; 1400])
}

/// The error that a router sends about what we sent.
fn error(kind: u8, code: u8, rest: u32, quoted: &V6) -> Vec<u8> {
    let quoted = quoted.build();
    let quote = quoted.get(..1232).unwrap_or(&quoted);
    V6::icmp(ROUTER, AFTR, kind, code, rest, quote).build()
}

fn sent() -> V6 {
    tunnel(AFTR, B4, &inner().build())
}

#[test]
fn unreachable_becomes_host_unreachable() {
    // R-182 R-183 R-186: VPP probe 14
    for (kind, code) in [(1, 0), (1, 3), (1, 5), (3, 0)] {
        let mut bench = Bench::new();
        let out = bench.softwire(&error(kind, code, 0, &sent()));
        assert_eq!(
            out.verdict,
            Verdict::Forward(Side::Internet),
            "{kind}/{code}"
        );
        let packet = &out.packet;
        assert_eq!(packet.len(), 576);
        assert_eq!(packet[12..20], [203, 0, 113, 1, 198, 51, 100, 1]);
        assert_eq!(packet[20..22], [3, 1]);
        assert_eq!(packet[24..28], [0; 4]);
        assert_eq!(packet[28..], inner().build()[..548]);
        assert!(checksum::verify(&packet[..20]) && checksum::verify(&packet[20..]));
        assert_eq!(bench.counter(Counter::TunnelErrorsRelayed), 1);
    }
}

#[test]
fn too_big_becomes_fragmentation_needed_less_the_headers() {
    // R-150 R-154 R-180 R-184 R-187
    let mut bench = Bench::new();
    for (quoted, mtu, told) in [
        (sent(), 1400, 1360_u16),
        (sent().limit(4), 1400, 1352),
        (
            sent().limit(4).behind(44, &[0, 0, 1, 0, 0, 0, 9]),
            1400,
            1344,
        ),
        (sent(), 1280, 1240),
        (sent(), 0x0001_0000, 65_496),
        (sent(), 0xffff_ffff, 65_535),
    ] {
        let out = bench.softwire(&error(2, 0, mtu, &quoted));
        assert_eq!(out.verdict, Verdict::Forward(Side::Internet), "{mtu}");
        assert_eq!(out.packet[20..22], [3, 4]);
        assert_eq!(out.packet[24..28], [[0, 0], told.to_be_bytes()].concat());
        assert_eq!(out.packet[28..], inner().build()[..548]);
    }
    for mtu in [0, 40, 1279] {
        let out = bench.softwire(&error(2, 0, mtu, &sent()));
        assert_eq!(out.verdict, Verdict::Drop(DropReason::Icmpv6TooBigInvalid));
    }
    let mut plain = inner();
    plain.flags = 0;
    let clear = tunnel(AFTR, B4, &plain.build());
    let out = bench.softwire(&error(2, 0, 1400, &clear));
    assert_eq!(out.verdict, Verdict::Drop(DropReason::Icmpv6TooBigDfClear));
    bench.turn(|config| config.df_policy = DfPolicy::OuterFragment);
    let out = bench.softwire(&error(2, 0, 1400, &sent()));
    assert_eq!(out.verdict, Verdict::Drop(DropReason::Icmpv6TooBigDfClear));
}

#[test]
fn what_nobody_can_act_on_is_not_relayed() {
    //
    let mut bench = Bench::new();
    let not_relayed = Verdict::Drop(DropReason::Icmpv6NotRelayed);
    for (kind, code, pointer) in [(3, 1, 0), (4, 0, 6), (4, 1, 6), (4, 2, 42), (4, 0, 44)] {
        let out = bench.softwire(&error(kind, code, pointer, &sent().limit(4)));
        assert_eq!(out.verdict, not_relayed, "{kind}/{code} {pointer}");
    }
    // D-11: a limit of zero is what the next tunnel complains about.
    let out = bench.softwire(&error(4, 0, 44, &sent().limit(0)));
    assert_eq!(out.verdict, Verdict::Forward(Side::Internet));
    assert_eq!(out.packet[20..22], [3, 1]);
}

#[test]
fn a_forged_error_goes_nowhere() {
    // R-152 R-186: the reflector of other implementations
    let mut bench = Bench::new();
    let foreign = DropReason::Icmpv6QuoteForeign;
    let short = DropReason::Icmpv6QuoteShort;
    let unanswerable = DropReason::Icmpv6QuoteUnanswerable;
    let udp = |src: &str, dst: &str| V4::udp(src, dst).payload(&[0; 8]).build();
    let about = udp("192.0.2.18:1232", "198.51.100.1:53");
    let nested = V4::icmp_error("198.51.100.1", "192.0.2.18", 3, 3, &about).build();
    let mut later = inner();
    later.flags = 2;
    for (quoted, reason) in [
        (tunnel(ROUTER, B4, &inner().build()), foreign),
        (tunnel(AFTR2, B4, &inner().build()), foreign),
        (tunnel(AFTR, "2001:db8:dead::1", &inner().build()), foreign),
        (tunnel(AFTR, B4_RANGE, &inner().build()), foreign),
        (
            tunnel(AFTR, B4, &udp("198.51.100.1:53", "192.0.2.18:1236")),
            foreign,
        ),
        (
            tunnel(AFTR, B4, &udp("198.51.100.1:53", "198.51.100.2:1236")),
            foreign,
        ),
        (
            tunnel(
                AFTR,
                B4,
                &V4::raw(47, "198.51.100.1", "192.0.2.18", &[0; 8]).build(),
            ),
            foreign,
        ),
        (V6::raw(17, AFTR, B4, &[0; 40]), foreign),
        (tunnel(AFTR, B4, &inner().build()[..19]), short),
        (tunnel(AFTR, B4, &inner().build()[..27]), short),
        (tunnel(AFTR, B4, &nested), unanswerable),
        (tunnel(AFTR, B4, &later.build()), unanswerable),
        (sent().behind(44, &[0, 0, 8, 0, 0, 0, 9]), unanswerable),
        (
            tunnel(AFTR, B4, &udp("224.0.0.5:53", "192.0.2.18:1232")),
            unanswerable,
        ),
    ] {
        let out = bench.softwire(&error(1, 0, 0, &quoted));
        assert_eq!(out.verdict, Verdict::Drop(reason), "{quoted:?}");
    }
    let mut wrong_sum = error(1, 0, 0, &sent());
    wrong_sum[42] ^= 1;
    let out = bench.softwire(&wrong_sum);
    assert_eq!(out.verdict, Verdict::Drop(DropReason::Icmpv6Checksum));
    let out = bench.softwire(&V6::icmp(ROUTER, AFTR, 1, 0, 0, &[0x60; 30]).build());
    assert_eq!(out.verdict, Verdict::Drop(short));
    let out = bench.softwire(&V6::raw(58, ROUTER, AFTR, &[1, 0, 0, 0]).build());
    assert_eq!(out.verdict, Verdict::Drop(DropReason::Icmpv6Malformed));
}

#[test]
fn a_full_address_relays_any_protocol_and_another_aftr_its_own() {
    let mut bench = Bench::new();
    let gre = V4::raw(47, "198.51.100.1", "192.0.2.20", &[0; 8]).build();
    let out = bench.softwire(&error(1, 0, 0, &tunnel(AFTR, B4_FULL, &gre)));
    assert_eq!(out.verdict, Verdict::Forward(Side::Internet));
    let ping = V4::echo(8, "198.51.100.1", "192.0.2.22", 20_000).build();
    let quoted = tunnel(AFTR2, OTHER_AFTR_B4, &ping).build();
    let packet = V6::icmp(ROUTER, AFTR2, 1, 0, 0, &quoted).build();
    let out = bench.softwire(&packet);
    assert_eq!(out.verdict, Verdict::Forward(Side::Internet));
    assert_eq!(out.packet[28..], ping);
}

#[test]
fn a_source_of_ours_is_told_through_its_tunnel() {
    //
    let mut bench = Bench::with(|config| config.pool_source = PoolSource::Forward);
    let hairpin = V4::udp("192.0.2.21:5121", "192.0.2.18:1232")
        .payload(&[0; 8])
        .build();
    let out = bench.softwire(&error(1, 0, 0, &tunnel(AFTR, B4, &hairpin)));
    assert_eq!(out.verdict, Verdict::Forward(Side::Softwire));
    assert_eq!(out.packet[24..40], v6(B4_RANGE).octets());
    assert_eq!(out.packet[52..60], [192, 0, 0, 1, 192, 0, 2, 21]);
}

#[test]
fn relaying_has_limits_and_a_switch() {
    //
    let mut bench = Bench::new();
    let packet = error(1, 0, 0, &sent());
    for _ in 0..10 {
        assert_eq!(
            bench.softwire(&packet).verdict,
            Verdict::Forward(Side::Internet)
        );
    }
    let out = bench.softwire(&packet);
    assert_eq!(out.verdict, Verdict::Drop(DropReason::Icmpv6RelayRate));
    bench.turn(|config| config.icmp.tunnel_errors = Switch::Off);
    let out = bench.softwire(&packet);
    assert_eq!(out.verdict, Verdict::Drop(DropReason::Icmpv6Policy));
}

#[test]
fn a_path_mtu_is_learned_where_the_knob_says_so() {
    // R-151 R-152 R-153
    for pmtud in [Pmtud::Static, Pmtud::Dynamic] {
        let mut bench = Bench::with(|config| {
            config.ipv6_mtu = 1500;
            config.pmtud = pmtud;
        });
        let packet = inner().build();
        assert_eq!(
            bench.internet(&packet).verdict,
            Verdict::Forward(Side::Softwire)
        );
        bench.softwire(&error(2, 0, 1400, &sent()));
        bench.softwire(&error(2, 0, 1480, &sent())); // never raises
        let out = bench.internet(&packet);
        if pmtud == Pmtud::Static {
            assert_eq!(out.verdict, Verdict::Forward(Side::Softwire));
            continue;
        }
        let cause = Cause::Dropped(DropReason::TooBig);
        assert_eq!(out.verdict, Verdict::Reply(Side::Internet, cause));
        assert_eq!(out.packet[26..28], 1360_u16.to_be_bytes());
        bench.pass(600_000);
        assert_eq!(
            bench.internet(&packet).verdict,
            Verdict::Forward(Side::Softwire)
        );
        assert_eq!(bench.counter(Counter::PathMtuLowered), 1);
    }
}

#[test]
fn every_address_of_ours_answers_pings() {
    // R-111 R-171
    let own = "2001:db8:1::1";
    let mut bench = Bench::with(|config| config.own_ipv6.push(own.parse().unwrap()));
    for dst in [AFTR, AFTR2, own] {
        let ping = V6::icmp(ROUTER, dst, 128, 0, 0x0102_0003, b"some data").traffic_class(0x28);
        let out = bench.softwire(&ping.clone().limit(3).build());
        assert_eq!(out.verdict, Verdict::Reply(Side::Softwire, Cause::EchoV6));
        let pong = V6::icmp(dst, ROUTER, 129, 0, 0x0102_0003, b"some data").traffic_class(0x28);
        assert_eq!(out.packet, pong.build());
    }
    let ping = |kind| V6::icmp(ROUTER, own, kind, 0, 0, &[]).build();
    for kind in [1, 100, 129, 136] {
        let out = bench.softwire(&ping(kind));
        assert_eq!(out.verdict, Verdict::Local(Kind::Own), "{kind}");
    }
    //
    let out = bench.softwire(&ping(200));
    assert_eq!(out.verdict, Verdict::Drop(DropReason::Icmpv6Type));
    // A tunnel packet to an address that is no end of tunnels.
    let out = bench.softwire(&tunnel(B4, own, &inner().build()).build());
    let cause = Cause::Dropped(DropReason::NextHeaderUnknown);
    assert_eq!(out.verdict, Verdict::Reply(Side::Softwire, cause));
}

#[test]
fn errors_of_our_own_have_limits_and_switches() {
    // R-162 R-163 R-164 R-165 R-166 R-169 R-170 R-173
    let stray = tunnel("2001:db8:dead::1", AFTR, &inner().build()).build();
    let told = Verdict::Reply(Side::Softwire, Cause::Dropped(DropReason::NoB4));
    let silent = Verdict::Drop(DropReason::NoB4);
    let mut bench = Bench::new();
    for _ in 0..10 {
        assert_eq!(bench.softwire(&stray).verdict, told);
    }
    assert_eq!(bench.softwire(&stray).verdict, silent);
    assert_eq!(bench.counter(Counter::Icmpv6SuppressedRate), 1);
    assert_eq!(bench.counter(Counter::Icmpv6SourcePolicy), 10);
    let other = tunnel("2001:db8:beef::1", AFTR, &inner().build()).build();
    assert_eq!(bench.softwire(&other).verdict, told);
    let mut bench = Bench::with(|config| config.icmp.generate_v6 = Switch::Off);
    assert_eq!(bench.softwire(&stray).verdict, silent);
    assert_eq!(bench.counter(Counter::Icmpv6SuppressedPolicy), 1);
    // An ICMPv6 error behind a broken header draws none.
    let mut bench = Bench::new();
    let message = V6::icmp(B4, AFTR, 1, 0, 0, &[0; 8]).behind(60, &[0, 0x80, 4, 0, 0, 0, 0]);
    let out = bench.softwire(&message.build());
    assert_eq!(out.verdict, Verdict::Drop(DropReason::ExtHeaderOption));
    //
    let mut bench = Bench::with(|c| c.boot_grace = core::time::Duration::from_secs(30));
    assert_eq!(bench.softwire(&stray).verdict, silent);
    bench.pass(29_999);
    assert_eq!(bench.softwire(&stray).verdict, silent);
    bench.pass(1);
    assert_eq!(bench.softwire(&stray).verdict, told);
}

#[test]
fn a_frame_from_a_link_layer_group_is_never_answered() {
    // R-163 R-175
    let mut bench = Bench::new();
    let mut silent = |side, packet: &[u8]| {
        let mut storage = vec![0; 2200];
        let mut frame = lw4o6_wire::FrameBuf::with_headroom(&mut storage, 128, packet).unwrap();
        frame.set_link_cast(lw4o6_wire::frame::LinkCast::Group);
        bench.worker.process(bench.now, side, &mut frame)
    };
    let stray = tunnel("2001:db8:dead::1", AFTR, &inner().build()).build();
    assert_eq!(
        silent(Side::Softwire, &stray),
        Verdict::Drop(DropReason::NoB4)
    );
    let unbound = V4::udp("198.51.100.1:53", "192.0.2.18:9").build();
    assert_eq!(
        silent(Side::Internet, &unbound),
        Verdict::Drop(DropReason::LinkGroup)
    );
}
