//! Mistakes that implementations and readers of the RFCs made, one test each.
//!
//! Numbers not here: T-2, T-3, T-15 and T-16 stand with the fragment tests, T-14 and T-18 also with
//! the Ethernet port, T-17 and T-23 are a B4's and a VRRP speaker's.

mod common;
mod named;

use std::collections::HashSet;

use common::{AFTR, AFTR_V4, AFTR2, B4, B4_FULL, B4_NEXT, B4_RANGE, Bench, Entry, OTHER_AFTR_B4};
use lw4o6_aftr::config::{FlowLabel, Hairpin, PoolSource, Switch, TunnelService};
use lw4o6_aftr::{Cause, Counter, DropReason, Kind, Side, Verdict};
use named::*;
use testkit::packet::{V4, V6, tunnel};

const IN: Side = Side::Internet;
const UP: Side = Side::Softwire;
const OWN: &str = "192.0.2.18:1232";
const OWN_IP: &str = "192.0.2.18";
const REMOTE: &str = "198.51.100.1:53";
const REMOTE_IP: &str = "198.51.100.1";
const ROUTER6: &str = "2001:db8:aaaa::1";

fn up(inner: &[u8]) -> Vec<u8> {
    tunnel(B4, AFTR, inner).build()
}

#[test]
fn t1_an_error_outside_the_set_draws_no_icmpv6_source_policy() {
    // R-080 D-9: a B4 that answers a stray packet would be told to provision itself anew.
    let mut bench = Bench::new();
    let stray = V4::udp(REMOTE, "192.0.2.18:9").build();
    let error = V4::icmp_error(OWN_IP, REMOTE_IP, 3, 13, &stray).build();
    dropped(&bench.softwire(&up(&error)), DropReason::PortOutOfSet);
    let datagram = V4::udp("192.0.2.18:9", REMOTE).build();
    let out = bench.softwire(&up(&datagram));
    assert_eq!(answer_v6(&out, DropReason::PortOutOfSet).kind, (1, 5));
}

#[test]
fn t4_fragmentation_needed_tells_the_mtu_less_40() {
    // R-120 R-180
    for (mtu, limit, told) in [
        (1500, None, 1460),
        (1280, None, 1240),
        (1500, Some(4), 1452),
    ] {
        let mut bench = Bench::with(|config| {
            config.ipv6_mtu = mtu;
            config.encap_limit = limit;
        });
        let big = V4::udp(REMOTE, OWN).payload(&[0; 1472]).df();
        let out = answer_v4(&bench.internet(&big.build()), IN, DropReason::TooBig);
        assert_eq!((out.kind, out.word), ((3, 4), told));
        // What is told fits.
        let fits = V4::udp(REMOTE, OWN)
            .payload(&vec![0; told as usize - 28])
            .df();
        let out = bench.internet(&fits.build());
        assert_eq!(out.verdict, Verdict::Forward(UP));
        assert_eq!(out.packet.len(), usize::from(mtu));
        let over = V4::udp(REMOTE, OWN)
            .payload(&vec![0; told as usize - 27])
            .df();
        answer_v4(&bench.internet(&over.build()), IN, DropReason::TooBig);
    }
}

#[test]
fn t4_a_relayed_mtu_is_less_the_headers_of_the_quoted_packet() {
    //
    let mut bench = Bench::new();
    let inner = V4::udp(REMOTE, OWN).df().build();
    for (sent, told) in [
        (tunnel(AFTR, B4, &inner), 1360),
        (tunnel(AFTR, B4, &inner).limit(4), 1352),
    ] {
        let error = V6::icmp(ROUTER6, AFTR, 2, 0, 1400, &sent.build()).build();
        let out = told_v4(&to_internet(&bench.softwire(&error)));
        assert_eq!((out.kind, out.word), ((3, 4), told));
        assert_eq!(out.quote, inner);
    }
}

#[test]
fn t5_errors_come_from_the_aftr_address_that_was_hit() {
    // R-167 D-2
    let mut bench = Bench::with(|config| {
        config.aftr_addresses.push(addr6("2001:db8:ffff::3"));
        config.own_ipv6.push(addr6("2001:db8:1::1"));
    });
    for aftr in [AFTR, AFTR2, "2001:db8:ffff::3"] {
        let packet = tunnel("2001:db8:99::1", aftr, &V4::udp(OWN, REMOTE).build()).build();
        let told = answer_v6(&bench.softwire(&packet), DropReason::NoB4);
        assert_eq!((told.kind, told.src), ((1, 5), addr6(aftr)));
        let packet = V6::raw(99, B4, aftr, &[0; 8]).build();
        let told = answer_v6(&bench.softwire(&packet), DropReason::NextHeaderUnknown);
        assert_eq!(told.src, addr6(aftr));
    }
}

#[test]
fn t6_icmp_to_a_pool_address_goes_into_its_tunnel() {
    // in every case with hairpinning off, too
    for hairpin in [Hairpin::Local, Hairpin::Drop, Hairpin::ToIpv4Side] {
        let mut bench = Bench::with(|config| {
            config.hairpin = hairpin;
            config.ipv6_mtu = 1500;
            config.pool_source = PoolSource::Forward;
        });
        let aftr_b4 = (addr6(AFTR), addr6(B4));
        let check = |out: &Verdict, packet: &[u8], kind: (u8, u8)| {
            assert!(
                matches!(out, Verdict::Reply(UP, _) | Verdict::Forward(UP)),
                "{out:?}"
            );
            let (src, dst, inner) = open(packet);
            assert_eq!((src, dst), aftr_b4);
            let told = told_v4(&inner);
            assert_eq!((told.kind, told.dst), (kind, addr(OWN_IP)));
        };
        // 11/0 about a packet from the B4.
        let out = bench.softwire(&up(&V4::udp(OWN, REMOTE).ttl(1).build()));
        check(&out.verdict, &out.packet, (11, 0));
        // 3/1 and 3/4 about a packet of the B4 that came back from the IPv4 side.
        let out = bench.internet(&V4::udp(OWN, "192.0.2.21:7000").build());
        check(&out.verdict, &out.packet, (3, 1));
        let big = V4::udp(OWN, "192.0.2.21:5200").payload(&[0; 1472]).df();
        let out = bench.internet(&big.build());
        check(&out.verdict, &out.packet, (3, 4));
        // A tunnel error about a packet that the B4 sent to another one.
        let inner = V4::udp(OWN, "192.0.2.21:5200").build();
        let sent = tunnel(AFTR, B4_RANGE, &inner).build();
        let out = bench.softwire(&V6::icmp(ROUTER6, AFTR, 1, 0, 0, &sent).build());
        check(&out.verdict, &out.packet, (3, 1));
    }
    // 3/1 about a packet to a B4 that does not exist.
    let mut bench = Bench::new();
    let out = bench.softwire(&up(&V4::udp(OWN, "192.0.2.21:7000").build()));
    let told = answer_v4(&out, UP, DropReason::NoBinding);
    assert_eq!(told.kind, (3, 1));
}

#[test]
fn t7_the_quoted_port_is_taken_from_the_right_end() {
    // R-082 R-099 R-105
    let mut bench = Bench::new();
    let down = V4::udp(OWN, "198.51.100.1:9300").build();
    let down = V4::icmp_error("203.0.113.9", OWN_IP, 3, 1, &down).build();
    assert_eq!(to_b4(&bench.internet(&down), AFTR, B4), one_hop_on(&down));
    let sent = V4::udp("198.51.100.1:9300", OWN).build();
    let error = V4::icmp_error(OWN_IP, REMOTE_IP, 3, 3, &sent).build();
    assert_eq!(
        to_internet(&bench.softwire(&up(&error))),
        one_hop_on(&error)
    );
    // traceroute -I: type 8 and code 0 are no port.
    let echo = V4::echo(8, OWN_IP, REMOTE_IP, 1232).build();
    let exceeded = V4::icmp_error("203.0.113.9", OWN_IP, 11, 0, &echo).build();
    to_b4(&bench.internet(&exceeded), AFTR, B4);
    let echo = V4::echo(8, REMOTE_IP, OWN_IP, 1232).build();
    let exceeded = V4::icmp_error(OWN_IP, REMOTE_IP, 11, 0, &echo).build();
    to_internet(&bench.softwire(&up(&exceeded)));
}

#[test]
fn t8_icmp_without_binding_is_dropped_in_silence() {
    //
    let mut bench = Bench::new();
    let echo = V4::echo(8, REMOTE_IP, OWN_IP, 9).build();
    silent(&mut bench, IN, &echo, DropReason::Icmpv4NoBinding);
    let quoted = V4::udp("192.0.2.18:9", REMOTE).build();
    let error = V4::icmp_error("203.0.113.9", OWN_IP, 3, 1, &quoted).build();
    silent(&mut bench, IN, &error, DropReason::Icmpv4NoBinding);
}

#[test]
fn t9_every_port_belongs_to_the_set_that_the_offset_says() {
    // R-015 R-016: a = 6 is 63 ranges, not 2^6 reserved ports; PSID 0 is a set like any other.
    let b4 = |psid: u16| format!("2001:db8:9::{psid:x}");
    let names: Vec<String> = (0..4).map(b4).collect();
    let bindings: Vec<Entry<'_>> = (0..4)
        .map(|psid| {
            (
                names[usize::from(psid)].as_str(),
                "192.0.2.9",
                6,
                2,
                psid,
                AFTR,
            )
        })
        .collect();
    let mut bench = Bench::over(&bindings, &[], |config| {
        config.icmp.generate_v4 = Switch::Off;
    });
    for port in (0..=u16::MAX)
        .step_by(37)
        .chain([1023, 1024, 1279, 1280, 65_535])
    {
        let out = bench.internet(&V4::udp(REMOTE, &format!("192.0.2.9:{port}")).build());
        if port < 1024 {
            dropped(&out, DropReason::NoBinding);
        } else {
            to_b4(&out, AFTR, &b4(port >> 8 & 3));
        }
    }
}

#[test]
fn t10_the_ipv6_source_of_a_full_address_is_checked_fragments_too() {
    // R-081 R-088
    let mut bench = Bench::new();
    let inner = V4::udp("192.0.2.20:9", REMOTE).payload(&[0; 64]);
    let mut packets = inner.fragments(32);
    packets.push(inner.build());
    packets.push(V4::raw(47, "192.0.2.20", REMOTE_IP, &[0; 8]).build());
    for packet in packets {
        let owner = tunnel(B4_FULL, AFTR, &packet).build();
        assert_eq!(to_internet(&bench.softwire(&owner)), one_hop_on(&packet));
        let out = bench.softwire(&tunnel(B4, AFTR, &packet).build());
        answer_v6(&out, DropReason::WrongIpv4);
        let stranger = tunnel("2001:db8:99::1", AFTR, &packet).build();
        answer_v6(&bench.softwire(&stranger), DropReason::NoB4);
        let other_aftr = tunnel(B4_FULL, AFTR2, &packet).build();
        answer_v6(&bench.softwire(&other_aftr), DropReason::WrongAftr);
    }
}

#[test]
fn t11_ports_are_found_behind_ipv4_options() {
    // R-095 R-100
    let mut bench = Bench::new();
    for words in 1..=10 {
        let options = vec![1; 4 * words];
        let down = V4::udp(REMOTE, OWN).options(&options).build();
        assert_eq!(to_b4(&bench.internet(&down), AFTR, B4), one_hop_on(&down));
        let inner = V4::udp(OWN, REMOTE).options(&options).build();
        assert_eq!(
            to_internet(&bench.softwire(&up(&inner))),
            one_hop_on(&inner)
        );
        let quoted = V4::udp(OWN, REMOTE).options(&options).build();
        let error = V4::icmp("203.0.113.9", OWN_IP, 3, 1, [0; 4], &quoted).build();
        to_b4(&bench.internet(&error), AFTR, B4);
    }
}

#[test]
fn t12_every_refusal_that_has_an_answer_draws_it() {
    // R-077 R-078 R-084 R-091 R-092 R-094
    let mut bench = Bench::new();
    let down = V4::udp(REMOTE, OWN).ttl(1).build();
    let told = answer_v4(&bench.internet(&down), IN, DropReason::TtlExpired);
    assert_eq!(told.kind, (11, 0));
    let down = V4::udp(REMOTE, "192.0.2.21:7000").build();
    let told = answer_v4(&bench.internet(&down), IN, DropReason::NoBinding);
    assert_eq!(told.kind, (3, 1));
    let stranger = tunnel("2001:db8:99::1", AFTR, &V4::udp(OWN, REMOTE).build()).build();
    for size in [1, 4, 7] {
        let packets = vec![stranger.clone(); size];
        for out in in_batches(&mut bench, UP, &packets, size) {
            assert_eq!(answer_v6(&out, DropReason::NoB4).kind, (1, 5), "{size}");
        }
        bench.pass(2000);
    }
}

#[test]
fn t13_the_ttl_goes_down_once_on_every_way_and_is_not_copied_into_answers() {
    // R-084 R-094 R-114
    let mut bench = Bench::new();
    let inner = V4::udp(OWN, "192.0.2.21:5200").ttl(9).build();
    assert_eq!(to_b4(&bench.softwire(&up(&inner)), AFTR, B4_RANGE)[8], 8);
    let inner = V4::udp(OWN, REMOTE).ttl(9).build();
    assert_eq!(to_internet(&bench.softwire(&up(&inner)))[8], 8);
    let down = V4::udp(REMOTE, OWN).ttl(9).build();
    assert_eq!(to_b4(&bench.internet(&down), AFTR, B4)[8], 8);
    let echo = V4::echo(8, REMOTE_IP, AFTR_V4, 1).ttl(9).build();
    assert_eq!(bench.internet(&echo).packet[8], 64);
    let mut echo = V6::icmp(ROUTER6, AFTR, 128, 0, 1, b"ping");
    echo.hop_limit = 9;
    assert_eq!(bench.softwire(&echo.build()).packet[7], 64);
    let ect = V4::udp(OWN, REMOTE).tos(2).build();
    let marked = tunnel(B4, AFTR, &ect).traffic_class(3).build();
    assert_eq!(to_internet(&bench.softwire(&marked))[1], 3);
}

#[test]
fn t14_bytes_behind_the_packet_are_no_payload_and_no_part_of_the_mtu() {
    //
    let mut bench = Bench::new();
    let down = V4::udp(REMOTE, OWN).build();
    let padded = [down.clone(), vec![0xee; 18]].concat();
    assert_eq!(to_b4(&bench.internet(&padded), AFTR, B4), one_hop_on(&down));
    let inner = V4::udp(OWN, REMOTE).build();
    let outer = up(&inner);
    let padded = [outer, vec![0xee; 6]].concat();
    assert_eq!(to_internet(&bench.softwire(&padded)), one_hop_on(&inner));
    // Inside the tunnel packet, too (RFC 4213 §3.6).
    let padded = up(&[inner.clone(), vec![0xee; 6]].concat());
    assert_eq!(to_internet(&bench.softwire(&padded)), one_hop_on(&inner));
    // 1500 bytes and padding fit 1540.
    let full = V4::udp(REMOTE, OWN).payload(&[0; 1472]).df().build();
    let padded = [full.clone(), vec![0xee; 4]].concat();
    assert_eq!(to_b4(&bench.internet(&padded), AFTR, B4), one_hop_on(&full));
}

#[test]
fn t19_errors_with_short_extensions_pass_and_their_checksums_stay_right() {
    //
    let mut bench = Bench::new();
    let quoted = V4::udp(OWN, REMOTE).payload(&[0; 36]).build();
    assert_eq!(quoted.len(), 64);
    // A padded original datagram of 64 bytes, where RFC 4884 asks for 128; then an extension.
    let extension = [0x20, 0, 0, 0, 0, 8, 1, 1, 0, 0, 0x10, 0x01];
    let body = [quoted, extension.to_vec()].concat();
    let error = V4::icmp("203.0.113.9", OWN_IP, 11, 0, [0, 16, 0, 0], &body).build();
    let inner = to_b4(&bench.internet(&error), AFTR, B4);
    assert_eq!(inner, one_hop_on(&error));
    assert_eq!(told_v4(&inner).quote, body);
}

#[test]
fn t20_bindings_come_and_go_by_the_thousand_under_traffic() {
    let mut bench = Bench::new();
    let hairpin = up(&V4::udp(OWN, "192.0.2.18:1236").build());
    let neighbor: Entry<'_> = (B4_NEXT, OWN_IP, 6, 8, 0x35, AFTR);
    for round in 0..5_000 {
        to_b4(&bench.softwire(&hairpin), AFTR, B4_NEXT);
        assert!(bench.writer.remove(addr(OWN_IP).to_bits(), 0x35));
        let out = bench.softwire(&hairpin);
        if round < 10 {
            answer_v4(&out, UP, DropReason::NoBinding);
        } else {
            assert!(matches!(
                out.verdict,
                Verdict::Reply(UP, Cause::Dropped(DropReason::NoBinding))
                    | Verdict::Drop(DropReason::NoBinding)
            ));
        }
        common::insert(&mut bench.writer, &neighbor);
        bench.writer.collect();
    }
    assert_eq!(bench.drops(DropReason::NoBinding), 5_000);
    assert_eq!(bench.drops(DropReason::TableBusy), 0);
    books_close(&bench);
}

#[test]
fn t21_no_error_about_an_error_a_group_or_a_later_fragment() {
    //
    let mut bench = Bench::with(|config| config.ipv6_mtu = 1280);
    // An ICMPv4 error whose TTL runs out, both ways.
    let quoted = V4::udp(OWN, REMOTE).build();
    let error = V4::icmp_error("203.0.113.9", OWN_IP, 3, 1, &quoted).ttl(1);
    dropped(&bench.internet(&error.build()), DropReason::TtlExpired);
    let quoted = V4::udp(REMOTE, OWN).build();
    let error = V4::icmp_error(OWN_IP, REMOTE_IP, 3, 3, &quoted).ttl(1);
    dropped(&bench.softwire(&up(&error.build())), DropReason::TtlExpired);
    assert_eq!(bench.counter(Counter::Icmpv4SuppressedPolicy), 2);
    // A later fragment: TTL, then size.
    let fragments = V4::udp(REMOTE, OWN)
        .payload(&[0; 2992])
        .ttl(1)
        .fragments(1496);
    answer_v4(&bench.internet(&fragments[0]), IN, DropReason::TtlExpired);
    dropped(&bench.internet(&fragments[1]), DropReason::TtlExpired);
    let fragments = V4::udp(REMOTE, OWN)
        .ident(7)
        .payload(&[0; 2992])
        .df()
        .fragments(1480);
    answer_v4(&bench.internet(&fragments[0]), IN, DropReason::TooBig);
    dropped(&bench.internet(&fragments[1]), DropReason::TooBig);
    // Sources that are not one node.
    for src in ["224.0.0.1:9", "255.255.255.255:9", "0.0.0.0:9"] {
        let packet = V4::udp(src, "192.0.2.21:7000").build();
        dropped(&bench.internet(&packet), DropReason::Ipv4SourceMartian);
    }
}

#[test]
fn t21_a_packet_in_a_broadcast_frame_is_not_forwarded_and_draws_no_error_but_about_an_option() {
    // R-163 R-175
    let mut bench = Bench::new();
    let unbound = V4::udp(REMOTE, "192.0.2.21:7000").build();
    let bound = V4::udp(REMOTE, OWN).build();
    for packet in [&unbound, &bound] {
        assert_eq!(
            in_group_frame(&mut bench, IN, packet),
            Verdict::Drop(DropReason::LinkGroup)
        );
    }
    assert_eq!(bench.drops(DropReason::LinkGroup), 2);
    let expired = up(&V4::udp(OWN, REMOTE).ttl(1).build());
    assert_eq!(
        in_group_frame(&mut bench, UP, &expired),
        Verdict::Drop(DropReason::TtlExpired)
    );
    assert_eq!(bench.counter(Counter::Icmpv4SuppressedPolicy), 1);
    // Not ours to judge.
    let foreign = V4::udp(REMOTE, "203.0.113.200:9").build();
    assert_eq!(
        in_group_frame(&mut bench, IN, &foreign),
        Verdict::Local(Kind::Foreign)
    );
    let stranger = tunnel("2001:db8:99::1", AFTR, &V4::udp(OWN, REMOTE).build());
    assert_eq!(
        in_group_frame(&mut bench, UP, &stranger.build()),
        Verdict::Drop(DropReason::NoB4)
    );
    let option = stranger.behind(60, &[0, 0x9e, 4, 0, 0, 0, 0]).build();
    let cause = Cause::Dropped(DropReason::ExtHeaderOption);
    assert_eq!(
        in_group_frame(&mut bench, UP, &option),
        Verdict::Reply(UP, cause)
    );
    assert_eq!(bench.counter(Counter::OutIcmpv4ErrorPackets), 0);
    assert_eq!(bench.counter(Counter::Icmpv6SuppressedPolicy), 1);
}

#[test]
fn t22_the_flow_label_is_one_for_a_flow_and_can_be_one_for_a_subscriber() {
    //
    let mut bench = Bench::new();
    let labels = |bench: &mut Bench, remotes: u8| -> HashSet<u32> {
        (0..remotes)
            .map(|n| {
                let down = V4::udp(&format!("198.51.100.1:{n}"), OWN);
                let first = label(&bench.internet(&down.build()).packet);
                let again = down.ident(u16::from(n) + 1).payload(b"more").build();
                assert_eq!(label(&bench.internet(&again).packet), first);
                first
            })
            .collect()
    };
    assert!(labels(&mut bench, 100).len() > 90);
    bench.turn(|config| config.flow_label = FlowLabel::HashAddresses);
    assert_eq!(labels(&mut bench, 100).len(), 1);
    bench.turn(|config| config.flow_label = FlowLabel::Constant(0x12345));
    assert_eq!(labels(&mut bench, 3), HashSet::from([0x12345]));
    // All fragments of a datagram have one label.
    bench.turn(|config| config.flow_label = FlowLabel::Hash);
    let fragments = V4::udp(REMOTE, OWN).payload(&[0; 64]).fragments(24);
    let labels: HashSet<u32> = fragments
        .iter()
        .map(|fragment| label(&bench.internet(fragment).packet))
        .collect();
    assert_eq!(labels.len(), 1);
}

#[test]
fn t24_limits_hold_for_any_number_of_sources_and_echo_starves_no_error() {
    // R-165 R-166 R-173
    let mut bench = Bench::with(|config| {
        config.icmp.echo_rate = 5;
        config.icmp.instance_rate_v6 = 500;
        config.icmp.instance_burst = 500;
    });
    let inner = V4::udp(OWN, REMOTE).build();
    // 20,000 strangers, more than are remembered: what is sent stays within the instance's budget.
    for n in 0..20_000u32 {
        let b4 = format!("2001:db8:99::{:x}:{:x}", n >> 16, n & 0xffff);
        let _ = bench.softwire(&tunnel(&b4, AFTR, &inner).build());
    }
    assert_eq!(bench.counter(Counter::Icmpv6SourcePolicy), 500);
    assert_eq!(bench.counter(Counter::Icmpv6SuppressedRate), 19_500);
    assert_eq!(bench.drops(DropReason::NoB4), 20_000);
    bench.pass(1000);
    let echo = V6::icmp(ROUTER6, AFTR, 128, 0, 1, b"ping").build();
    let echoes = (0..50)
        .filter(|_| matches!(bench.softwire(&echo).verdict, Verdict::Reply(..)))
        .count();
    assert_eq!(echoes, 5);
    let out = bench.softwire(&tunnel("2001:db8:98::1", AFTR, &inner).build());
    answer_v6(&out, DropReason::NoB4);
}

#[test]
fn transport_bytes_are_never_changed() {
    // nothing is verified and nothing is touched, wrong checksums travel on.
    let mut bench = Bench::with(|config| config.tunnel_service = TunnelService::On);
    for protocol in [6, 17, 33, 132, 136] {
        for fill in [0x00, 0x5a, 0xff] {
            let mut rest = [fill | 0x50; 60];
            rest[..2].copy_from_slice(&[0, 9]); // what UDP-Lite covers
            let l4 = [&[0x04, 0xd0, 0x00, 0x35][..], &rest].concat();
            let inner = V4::raw(protocol, OWN_IP, REMOTE_IP, &l4).build();
            let out = to_internet(&bench.softwire(&up(&inner)));
            assert_eq!(out, one_hop_on(&inner), "{protocol}");
            let l4 = [&[0x00, 0x35, 0x04, 0xd0][..], &rest].concat();
            let down = V4::raw(protocol, REMOTE_IP, OWN_IP, &l4).build();
            let out = to_b4(&bench.internet(&down), AFTR, B4);
            assert_eq!(out, one_hop_on(&down), "{protocol}");
        }
    }
}

#[test]
fn another_aftr_address_serves_its_own_bindings_only() {
    // R-061 R-079
    let mut bench = Bench::new();
    let inner = V4::udp("192.0.2.22:20000", REMOTE).build();
    let packet = tunnel(OTHER_AFTR_B4, AFTR2, &inner).build();
    to_internet(&bench.softwire(&packet));
    let down = V4::udp(REMOTE, "192.0.2.22:20000").build();
    to_b4(&bench.internet(&down), AFTR2, OTHER_AFTR_B4);
    let wrong = tunnel(OTHER_AFTR_B4, AFTR, &inner).build();
    answer_v6(&bench.softwire(&wrong), DropReason::WrongAftr);
}
