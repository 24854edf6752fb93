//! From the Internet to a B4.

mod common;

use common::{AFTR, AFTR_V4, AFTR2, B4, B4_FULL, B4_RANGE, Bench, OTHER_AFTR_B4, REMOTE};
use lw4o6_aftr::config::{
    DscpEncap, FlowLabel, ForeignIpv4, InboundEcho, InnerFragmentation, PoolSource, QuotedChecksum,
    Switch, UnboundDestination, UnknownProtocol,
};
use lw4o6_aftr::{Cause, Counter, DropReason, Kind, Side, Verdict};
use lw4o6_wire::{EcnMode, checksum};
use testkit::packet::{V4, tunnel, v6};

const SRC: &str = "198.51.100.1:53";

fn dropped(reason: DropReason) -> Verdict {
    Verdict::Drop(reason)
}

fn told(reason: DropReason) -> Verdict {
    Verdict::Reply(Side::Internet, Cause::Dropped(reason))
}

#[test]
fn the_port_chooses_the_b4_and_the_binding_its_aftr() {
    //
    let mut bench = Bench::new();
    for (dst, b4, aftr) in [
        ("192.0.2.18:1232", B4, AFTR),
        ("192.0.2.18:64723", B4, AFTR),
        ("192.0.2.20:1", B4_FULL, AFTR),
        ("192.0.2.21:5120", B4_RANGE, AFTR),
        ("192.0.2.22:16384", OTHER_AFTR_B4, AFTR2),
    ] {
        let packet = V4::udp(SRC, dst).payload(b"data");
        let out = bench.internet(&packet.build());
        assert_eq!(out.verdict, Verdict::Forward(Side::Softwire), "{dst}");
        assert_eq!(out.packet[4..8], [0, 32, 4, 64]);
        assert_eq!(out.packet[8..24], v6(aftr).octets());
        assert_eq!(out.packet[24..40], v6(b4).octets());
        assert_eq!(out.packet[40..], packet.ttl(63).build());
    }
}

#[test]
fn nobody_behind_a_port_is_told_within_limits() {
    // R-091 R-092 R-166 R-176 R-177 R-179 R-181
    let mut bench = Bench::new();
    let packet = V4::udp(SRC, "192.0.2.18:9").payload(&[1; 600]).build();
    for _ in 0..10 {
        let out = bench.internet(&packet);
        assert_eq!(out.verdict, told(DropReason::NoBinding));
        let error = &out.packet;
        assert_eq!(error[12..20], [203, 0, 113, 1, 198, 51, 100, 1]);
        assert_eq!(error[20..22], [3, 1]);
        assert_eq!(error[24..28], [0; 4]);
        assert_eq!((error.len(), &error[28..]), (576, &packet[..548]));
        assert!(checksum::verify(&error[..20]) && checksum::verify(&error[20..]));
    }
    assert_eq!(
        bench.internet(&packet).verdict,
        dropped(DropReason::NoBinding)
    );
    assert_eq!(bench.counter(Counter::Icmpv4SuppressedRate), 1);
    // Others are told still, and one more after a tenth of a second.
    let other = V4::udp("198.51.100.2:53", "192.0.2.18:9").build();
    assert_eq!(bench.internet(&other).verdict, told(DropReason::NoBinding));
    bench.pass(99);
    assert_eq!(
        bench.internet(&packet).verdict,
        dropped(DropReason::NoBinding)
    );
    bench.pass(1);
    assert_eq!(bench.internet(&packet).verdict, told(DropReason::NoBinding));
    bench.turn(|config| config.unbound_destination = UnboundDestination::Discard);
    assert_eq!(
        bench.internet(&other).verdict,
        dropped(DropReason::NoBinding)
    );
    assert_eq!(bench.drops(DropReason::NoBinding), 15);
}

#[test]
fn the_instance_budget_bounds_all_sources_together() {
    // R-166 R-179
    let mut bench = Bench::with(|config| {
        config.icmp.instance_rate_v4 = 2;
        config.icmp.instance_burst = 3;
    });
    let mut sent = 0;
    for host in 1..=20 {
        let packet = V4::udp(&format!("198.51.100.{host}:1"), "192.0.2.18:9").build();
        sent += usize::from(bench.internet(&packet).verdict == told(DropReason::NoBinding));
    }
    assert_eq!(sent, 3);
    bench.pass(500);
    let packet = V4::udp("198.51.100.50:1", "192.0.2.18:9").build();
    assert_eq!(bench.internet(&packet).verdict, told(DropReason::NoBinding));
    assert_eq!(
        bench.internet(&packet).verdict,
        dropped(DropReason::NoBinding)
    );
}

#[test]
fn the_instance_rate_of_one_family_does_not_limit_the_other() {
    // R-166 R-179
    for (v4, v6) in [(1, 2_000), (2_000, 1)] {
        let mut bench = Bench::with(|config| {
            config.icmp.instance_rate_v4 = v4;
            config.icmp.instance_rate_v6 = v6;
            config.icmp.instance_burst = 1;
        });
        let (mut to_internet, mut to_b4s) = (0, 0);
        for host in 1..=8 {
            bench.pass(10); // tokens of 2,000 per second, none of 1 per second
            let packet = V4::udp(&format!("198.51.100.{host}:1"), "192.0.2.18:9").build();
            to_internet +=
                usize::from(bench.internet(&packet).verdict == told(DropReason::NoBinding));
            let inner = V4::udp("192.0.2.18:9", "198.51.100.7:53").build();
            let stranger = tunnel(&format!("2001:db8:99::{host}"), AFTR, &inner).build();
            to_b4s += usize::from(matches!(
                bench.softwire(&stranger).verdict,
                Verdict::Reply(Side::Softwire, _)
            ));
        }
        let expected = if v4 == 1 { (1, 8) } else { (8, 1) };
        assert_eq!((to_internet, to_b4s), expected);
    }
}

#[test]
fn nothing_is_said_where_nothing_may_be_said() {
    // R-093 R-175
    let mut bench = Bench::new();
    for (packet, reason) in [
        (
            V4::echo(8, REMOTE, "192.0.2.18", 9),
            DropReason::Icmpv4NoBinding,
        ),
        (
            V4::udp("224.0.0.5:1", "192.0.2.18:9"),
            DropReason::Ipv4SourceMartian,
        ),
        (
            V4::udp("255.255.255.255:1", "192.0.2.18:9"),
            DropReason::Ipv4SourceMartian,
        ),
        (
            V4::udp("0.0.0.0:1", "192.0.2.18:9"),
            DropReason::Ipv4SourceMartian,
        ),
        (
            V4::udp("192.0.0.1:1", "192.0.2.18:1232"),
            DropReason::ServiceAddress,
        ),
    ] {
        assert_eq!(
            bench.internet(&packet.build()).verdict,
            dropped(reason),
            "{packet:?}"
        );
    }
    // A full address, so that the later fragment comes to the TTL check alone.
    let mut later = V4::udp(SRC, "192.0.2.20:9").payload(&[0; 64]).ttl(1);
    later.flags = 3;
    assert_eq!(
        bench.internet(&later.build()).verdict,
        dropped(DropReason::TtlExpired)
    );
    let about = V4::udp("192.0.2.20:7", SRC).build();
    let error = V4::icmp_error(REMOTE, "192.0.2.20", 3, 3, &about)
        .ttl(1)
        .build();
    assert_eq!(
        bench.internet(&error).verdict,
        dropped(DropReason::TtlExpired)
    );
    assert_eq!(bench.counter(Counter::Icmpv4SuppressedPolicy), 2);
    let mut bench = Bench::with(|config| config.icmp.generate_v4 = Switch::Off);
    let packet = V4::udp(SRC, "192.0.2.18:9").build();
    assert_eq!(
        bench.internet(&packet).verdict,
        dropped(DropReason::NoBinding)
    );
}

#[test]
fn the_ttl_goes_down_by_one() {
    //
    let mut bench = Bench::new();
    let out = bench.internet(&V4::udp(SRC, "192.0.2.18:1232").ttl(2).build());
    assert_eq!((out.packet[40 + 8], out.packet[7]), (1, 64));
    let out = bench.internet(&V4::udp(SRC, "192.0.2.18:1232").ttl(1).build());
    assert_eq!(out.verdict, told(DropReason::TtlExpired));
    assert_eq!(out.packet[20..22], [11, 0]);
}

#[test]
fn options_do_not_hide_the_ports() {
    // T-11
    let mut bench = Bench::new();
    let options = [7, 7, 4, 0, 0, 0, 0, 1];
    let packet = V4::udp(SRC, "192.0.2.18:1232").options(&options);
    let out = bench.internet(&packet.build());
    assert_eq!(out.verdict, Verdict::Forward(Side::Softwire));
    assert_eq!(out.packet[40..], packet.ttl(63).build());
}

#[test]
fn protocols_without_ports_are_for_full_addresses() {
    //
    let mut bench = Bench::new();
    let gre = V4::raw(47, REMOTE, "192.0.2.18", &[0, 0, 4, 0xd0, 0, 0]).build();
    assert_eq!(bench.internet(&gre).verdict, dropped(DropReason::NoL4Port));
    bench.turn(|config| config.unknown_protocol = UnknownProtocol::ProtocolUnreachable);
    let out = bench.internet(&gre);
    assert_eq!(out.verdict, told(DropReason::NoL4Port));
    assert_eq!(out.packet[20..22], [3, 2]);
    let gre = V4::raw(47, REMOTE, "192.0.2.20", &[0, 0, 4, 0xd0]).build();
    assert_eq!(
        bench.internet(&gre).verdict,
        Verdict::Forward(Side::Softwire)
    );
}

#[test]
fn our_own_addresses_do_not_come_from_outside() {
    //
    let mut bench = Bench::new();
    let packet = V4::udp("192.0.2.21:9", "192.0.2.18:1232").build();
    let spoofed = dropped(DropReason::PoolSourceSpoofed);
    assert_eq!(bench.internet(&packet).verdict, spoofed);
    bench.turn(|config| config.pool_source = PoolSource::Forward);
    assert_eq!(
        bench.internet(&packet).verdict,
        Verdict::Forward(Side::Softwire)
    );
}

#[test]
fn an_error_to_a_subscriber_goes_into_its_tunnel() {
    // T-6
    let mut bench = Bench::with(|config| config.pool_source = PoolSource::Forward);
    let packet = V4::udp("192.0.2.21:5121", "192.0.2.18:9").build();
    let out = bench.internet(&packet);
    let cause = Cause::Dropped(DropReason::NoBinding);
    assert_eq!(out.verdict, Verdict::Reply(Side::Softwire, cause));
    assert_eq!(out.packet[24..40], v6(B4_RANGE).octets());
    assert_eq!(out.packet[40 + 12..40 + 20], [192, 0, 0, 1, 192, 0, 2, 21]);
    // Nobody has that port, so nobody is told.
    let packet = V4::udp("192.0.2.21:9", "192.0.2.18:9").build();
    assert_eq!(
        bench.internet(&packet).verdict,
        dropped(DropReason::NoBinding)
    );
}

#[test]
fn pings_follow_the_knob() {
    // R-098 R-266: D-3
    let mut bench = Bench::new();
    let ping = V4::echo(8, REMOTE, "192.0.2.21", 5121).build();
    let forward = Verdict::Forward(Side::Softwire);
    assert_eq!(bench.internet(&ping).verdict, forward);
    bench.turn(|config| config.inbound_echo_request = InboundEcho::Port0);
    let none = dropped(DropReason::Icmpv4NoBinding);
    assert_eq!(bench.internet(&ping).verdict, none);
    bench.turn(|config| config.inbound_echo_request = InboundEcho::Drop);
    let policy = dropped(DropReason::Icmpv4Policy);
    assert_eq!(bench.internet(&ping).verdict, policy);
    let reply = V4::echo(0, REMOTE, "192.0.2.21", 5121).build();
    assert_eq!(bench.internet(&reply).verdict, forward);
}

#[test]
fn errors_from_the_internet_are_looked_up_by_what_they_quote() {
    // R-099 R-100 R-103 R-105
    let mut bench = Bench::new();
    let forward = Verdict::Forward(Side::Softwire);
    for about in [
        V4::udp("192.0.2.18:1232", SRC),
        V4::udp("192.0.2.18:1232", SRC).options(&[7, 4, 4, 0]),
        V4::echo(8, "192.0.2.18", REMOTE, 1232),
        V4::tcp("192.0.2.18:1232", SRC, 2),
    ] {
        for (kind, code) in [(3, 3), (3, 4), (11, 0), (12, 0)] {
            let error = V4::icmp_error("198.51.100.9", "192.0.2.18", kind, code, &about.build());
            let out = bench.internet(&error.build());
            assert_eq!(out.verdict, forward, "{about:?} {kind}");
            assert_eq!(out.packet[24..40], v6(B4).octets());
        }
    }
}

#[test]
fn errors_that_quote_nonsense_are_dropped() {
    // R-101 R-102 R-106 R-107 R-108 R-109
    let mut bench = Bench::new();
    let udp = V4::udp("192.0.2.18:1232", SRC);
    let error = |about: &[u8]| V4::icmp_error("198.51.100.9", "192.0.2.18", 3, 3, about);
    let mut wrong_sum = error(&udp.build());
    wrong_sum.l4[2] ^= 1;
    let mut quoted_sum = udp.build();
    quoted_sum[8] ^= 1;
    let mut later = udp.clone();
    later.flags = 5;
    let nested = error(&udp.build()).build();
    let mut from_us = V4::raw(1, "192.0.2.18", REMOTE, &[]).build();
    from_us.extend(&nested[20..]);
    let nested = V4::raw(1, "192.0.2.18", REMOTE, &nested[20..]).build();
    for (packet, reason) in [
        (wrong_sum, DropReason::Icmpv4Checksum),
        (error(&quoted_sum), DropReason::Icmpv4QuoteChecksum),
        (
            error(&V4::udp("192.0.2.19:1232", SRC).build()),
            DropReason::Icmpv4QuoteMismatch,
        ),
        (error(&nested), DropReason::Icmpv4QuoteError),
        (error(&later.build()), DropReason::Icmpv4QuoteFragment),
        (error(&udp.build()[..22]), DropReason::Icmpv4QuoteNoPort),
        (error(&[]), DropReason::Icmpv4QuoteNoPort),
        (
            error(&V4::raw(47, "192.0.2.18", REMOTE, &[0; 8]).build()),
            DropReason::Icmpv4QuoteNoPort,
        ),
        (
            V4::icmp(REMOTE, "192.0.2.18", 4, 0, [0; 4], &udp.build()),
            DropReason::Icmpv4Type,
        ),
        (
            V4::icmp(REMOTE, "192.0.2.18", 5, 0, [0; 4], &udp.build()),
            DropReason::Icmpv4Type,
        ),
        (
            V4::icmp(REMOTE, "192.0.2.18", 17, 0, [0; 4], &[0; 4]),
            DropReason::Icmpv4Type,
        ),
        (
            V4::raw(1, REMOTE, "192.0.2.18", &[3, 0, 0, 0]),
            DropReason::Icmpv4Malformed,
        ),
    ] {
        assert_eq!(
            bench.internet(&packet.build()).verdict,
            dropped(reason),
            "{packet:?}"
        );
    }
    assert!(from_us.len() > 20);
    bench.turn(|config| config.icmp.quoted_checksum = QuotedChecksum::Ignore);
    let out = bench.internet(&error(&quoted_sum).build());
    assert_eq!(out.verdict, Verdict::Forward(Side::Softwire));
}

#[test]
fn an_extended_error_with_a_short_quote_is_accepted() {
    // T-19
    let mut bench = Bench::new();
    let mut quote = V4::udp("192.0.2.18:1232", SRC).payload(&[0; 4]).build();
    assert_eq!(quote.len(), 32);
    quote.extend([0x20, 0, 0, 0, 0, 8, 1, 1, 0, 0, 0, 1]);
    let error = V4::icmp("198.51.100.9", "192.0.2.18", 11, 0, [0, 8, 0, 0], &quote).build();
    assert_eq!(
        bench.internet(&error).verdict,
        Verdict::Forward(Side::Softwire)
    );
}

#[test]
fn incoming_icmp_can_be_switched_off_and_limited() {
    //
    let mut bench = Bench::with(|config| config.icmp.incoming_v4 = Switch::Off);
    let ping = V4::echo(0, REMOTE, "192.0.2.18", 1232).build();
    assert_eq!(
        bench.internet(&ping).verdict,
        dropped(DropReason::Icmpv4Policy)
    );
    assert_eq!(bench.counter(Counter::DroppedIcmpv4Packets), 1);
    assert_eq!(
        bench.counter(Counter::DroppedIcmpv4Bytes),
        ping.len() as u64
    );
    bench.turn(|config| {
        config.icmp.incoming_v4 = Switch::On;
        config.icmp.incoming_v4_rate = Some(2);
    });
    let forward = Verdict::Forward(Side::Softwire);
    let verdicts: Vec<Verdict> = (0..3).map(|_| bench.internet(&ping).verdict).collect();
    assert_eq!(
        verdicts,
        [forward, forward, dropped(DropReason::Icmpv4Rate)]
    );
    bench.pass(500);
    assert_eq!(bench.internet(&ping).verdict, forward);
}

#[test]
fn addresses_outside_every_pool_are_foreign() {
    let mut bench = Bench::new();
    let mut packet = V4::udp("127.0.0.1:1", "203.0.113.200:9").ttl(0).build();
    packet[10] ^= 1;
    packet.extend([0; 5]);
    let out = bench.internet(&packet);
    assert_eq!(
        (out.verdict, &out.packet),
        (Verdict::Local(Kind::Foreign), &packet)
    );
    bench.turn(|config| config.foreign_ipv4 = ForeignIpv4::Unbound);
    assert_eq!(
        bench.internet(&packet).verdict,
        dropped(DropReason::Ipv4Checksum)
    );
    let packet = V4::udp(SRC, "203.0.113.200:9").build();
    assert_eq!(bench.internet(&packet).verdict, told(DropReason::NoBinding));
}

#[test]
fn a_pool_is_ours_before_it_has_bindings() {
    let pools = [("203.0.113.128", "203.0.113.255", 0, 6)];
    let mut bench = Bench::over(common::BINDINGS, &pools, |_| {});
    let packet = V4::udp(SRC, "203.0.113.200:9").build();
    assert_eq!(bench.internet(&packet).verdict, told(DropReason::NoBinding));
}

#[test]
fn the_box_answers_pings_and_passes_on_the_rest() {
    //
    let mut bench = Bench::with(|config| config.icmp.echo_rate = 2);
    let ping = V4::echo(8, REMOTE, AFTR_V4, 99)
        .tos(0x20)
        .options(&[1, 1, 1, 0]);
    let out = bench.internet(&ping.build());
    assert_eq!(out.verdict, Verdict::Reply(Side::Internet, Cause::EchoV4));
    let pong = V4::echo(0, AFTR_V4, REMOTE, 99).tos(0x20).ident(0).df();
    assert_eq!(out.packet, pong.build());
    let local = Verdict::Local(Kind::Own);
    let udp = V4::udp(SRC, "203.0.113.1:53").build();
    assert_eq!(bench.internet(&udp).verdict, local);
    let reply = V4::echo(0, REMOTE, AFTR_V4, 99).ttl(1).build();
    assert_eq!(bench.internet(&reply).verdict, local);
    let mut sum = ping.build();
    sum[30] ^= 1;
    assert_eq!(bench.internet(&sum).verdict, local);
    assert_eq!(bench.internet(&ping.build()).packet, out.packet);
    let rate = dropped(DropReason::EchoRate);
    assert_eq!(bench.internet(&ping.build()).verdict, rate);
}

#[test]
fn the_outer_header_follows_the_knobs() {
    // R-190 R-192 R-193 R-198 R-200 R-201
    let mut bench = Bench::new();
    let packet = V4::udp(SRC, "192.0.2.18:1232").tos(0xba).build();
    let class = |packet: &[u8]| packet[0] << 4 | packet[1] >> 4;
    let out = bench.internet(&packet);
    assert_eq!(class(&out.packet), 0xba);
    let label = |packet: &[u8]| [packet[1] & 15, packet[2], packet[3]];
    assert_eq!(label(&bench.internet(&packet).packet), label(&out.packet));
    let other = V4::udp(SRC, "192.0.2.18:1233").build();
    assert_ne!(label(&bench.internet(&other).packet), label(&out.packet));
    bench.turn(|config| {
        config.dscp_encap = DscpEncap::Fixed(1);
        config.ecn_encap = EcnMode::Compatibility;
        config.hop_limit = 255;
        config.flow_label = FlowLabel::Constant(0xabcde);
        config.encap_limit = Some(4);
    });
    let out = bench.internet(&packet);
    assert_eq!((class(&out.packet), out.packet[7]), (4, 255));
    assert_eq!(label(&out.packet), [0xa, 0xbc, 0xde]);
    assert_eq!((out.packet[6], out.packet[44]), (60, 4));
}

#[test]
fn the_limit_option_counts_in_the_tunnel_mtu() {
    // R-120 R-154
    let mut bench = Bench::with(|config| {
        config.ipv6_mtu = 1500;
        config.encap_limit = Some(4);
    });
    let packet = V4::udp(SRC, "192.0.2.18:1232").df();
    let fits = packet.clone().payload(&[0; 1452 - 28]).build();
    assert_eq!(bench.internet(&fits).packet.len(), 1500);
    let out = bench.internet(&packet.payload(&[0; 1453 - 28]).build());
    assert_eq!(out.verdict, told(DropReason::TooBig));
    assert_eq!(out.packet[24..28], [0, 0, 5, 0xac]);
}

#[test]
fn the_inner_packet_is_cut_where_the_knob_says_so() {
    //
    let mut bench = Bench::with(|config| {
        config.ipv6_mtu = 1280;
        config.inner_fragmentation = InnerFragmentation::On;
        config.encap_limit = Some(1);
    });
    let packet = V4::udp(SRC, "192.0.2.18:1232").payload(&[6; 3000]);
    let out = bench.internet(&packet.build());
    let packets = out.packets();
    assert_eq!(packets.len(), 3);
    let mut l4: Vec<u8> = Vec::new();
    for (index, piece) in packets.iter().enumerate() {
        assert!(piece.len() <= 1280);
        assert_eq!(
            usize::from(piece[4]) * 256 + usize::from(piece[5]) + 40,
            piece.len()
        );
        assert_eq!(piece[..4], packets[0][..4]);
        assert!(checksum::verify(&piece[48..68]));
        assert_eq!(piece[54] & 0x20 != 0, index < 2);
        l4.extend(&piece[68..]);
    }
    assert_eq!(l4, packet.l4);
    let out = bench.internet(&packet.df().build());
    assert_eq!(out.verdict, told(DropReason::TooBig));
}

#[test]
fn a_frame_without_headroom_is_counted() {
    let mut bench = Bench::new();
    let packet = V4::udp(SRC, "192.0.2.18:1232").build();
    let mut storage = vec![0; 40 + packet.len()];
    let mut frame = lw4o6_wire::FrameBuf::with_headroom(&mut storage, 40, &packet).unwrap();
    let verdict = bench.worker.process(bench.now, Side::Internet, &mut frame);
    assert_eq!(verdict, dropped(DropReason::NoHeadroom));
    assert_eq!(frame.packet(), packet);
}
