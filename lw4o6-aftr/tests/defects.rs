//! Defects of another lwAFTR, found by sending it crafted packets; one test each.
//!
//! Those about fragments stand with the fragment tests, those about the table with the bindings.

mod common;
mod named;

use common::{AFTR, AFTR_V4, AFTR2, B4, B4_RANGE, Bench};
use lw4o6_aftr::config::QuotedChecksum;
use lw4o6_aftr::{Cause, Counter, DropReason, Side, Verdict};
use lw4o6_wire::checksum::verify;
use named::*;
use testkit::packet::{V4, V6, tunnel};

/// A port of [`B4_RANGE`].
const OWN: &str = "192.0.2.21:5200";
const OWN_IP: &str = "192.0.2.21";
const REMOTE: &str = "198.51.100.1:50000";
const REMOTE_IP: &str = "198.51.100.1";

fn up(inner: &[u8]) -> Vec<u8> {
    tunnel(B4_RANGE, AFTR, inner).build()
}

#[test]
fn snabb_1_an_error_from_a_b4_is_checked_by_the_quoted_destination_port() {
    // R-080 R-082
    let mut bench = Bench::new();
    let quoted = V4::udp(REMOTE, OWN).build();
    let error = V4::icmp_error(OWN_IP, REMOTE_IP, 3, 3, &quoted).build();
    assert_eq!(
        to_internet(&bench.softwire(&up(&error))),
        one_hop_on(&error)
    );
    // The quoted source port alone being ours proves nothing.
    let quoted = V4::udp("198.51.100.1:5200", "192.0.2.21:7000").build();
    let error = V4::icmp_error(OWN_IP, REMOTE_IP, 3, 3, &quoted).build();
    // D-9: and no 1/5 about an error, or the B4 provisions itself anew for it.
    dropped(&bench.softwire(&up(&error)), DropReason::PortOutOfSet);
}

#[test]
fn snabb_2_an_error_about_an_echo_request_is_looked_up_by_its_identifier() {
    //
    let mut bench = Bench::new();
    let request = V4::echo(8, OWN_IP, REMOTE_IP, 5200).build();
    let error = V4::icmp_error("203.0.113.9", OWN_IP, 11, 0, &request).build();
    assert_eq!(
        to_b4(&bench.internet(&error), AFTR, B4_RANGE),
        one_hop_on(&error)
    );
    // 2048 is type 8, code 0, read as a port.
    let request = V4::echo(8, OWN_IP, REMOTE_IP, 2048).build();
    let error = V4::icmp_error("203.0.113.9", OWN_IP, 11, 0, &request).build();
    dropped(&bench.internet(&error), DropReason::Icmpv4NoBinding);
}

#[test]
fn snabb_3_an_encapsulation_limit_is_accepted() {
    //
    let mut bench = Bench::new();
    let inner = V4::udp(OWN, REMOTE).build();
    let packet = tunnel(B4_RANGE, AFTR, &inner).limit(4).build();
    assert_eq!(to_internet(&bench.softwire(&packet)), one_hop_on(&inner));
}

#[test]
fn snabb_5_protocols_without_ports_reach_whole_addresses_only() {
    //
    let mut bench = Bench::new();
    // Bytes 2 and 3 of this GRE header would be port 5200.
    let gre = [0, 0, 0x14, 0x50, 0, 0, 0, 0];
    for protocol in [47, 50, 51, 4, 41, 2, 255] {
        let shared = V4::raw(protocol, REMOTE_IP, OWN_IP, &gre).build();
        dropped(&bench.internet(&shared), DropReason::NoL4Port);
        let whole = V4::raw(protocol, REMOTE_IP, "192.0.2.20", &gre).build();
        to_b4(&bench.internet(&whole), AFTR, common::B4_FULL);
        let inner = V4::raw(protocol, OWN_IP, REMOTE_IP, &gre).build();
        dropped(&bench.softwire(&up(&inner)), DropReason::NoL4Port);
    }
    // SCTP, DCCP and UDP-Lite have ports.
    let ports = [0xc3, 0x50, 0x14, 0x50];
    for (protocol, rest) in [(132, vec![0; 8]), (33, vec![0; 8]), (136, vec![0, 8, 1, 1])] {
        let l4 = [&ports[..], &rest].concat();
        let packet = V4::raw(protocol, REMOTE_IP, OWN_IP, &l4).build();
        assert_eq!(
            to_b4(&bench.internet(&packet), AFTR, B4_RANGE),
            one_hop_on(&packet),
            "{protocol}"
        );
    }
}

#[test]
fn snabb_6_an_error_that_quotes_nothing_is_dropped() {
    let mut bench = Bench::new();
    let whole = V4::udp(OWN, REMOTE).build();
    for len in 0..24 {
        let error = V4::icmp(REMOTE_IP, OWN_IP, 3, 1, [0; 4], &whole[..len]).build();
        // What lies behind the packet in the frame is not read.
        let frame = [error.clone(), whole.clone()].concat();
        for packet in [error, frame] {
            let out = bench.internet(&packet);
            dropped(&out, DropReason::Icmpv4QuoteNoPort);
        }
    }
    let error = V4::icmp(REMOTE_IP, OWN_IP, 3, 1, [0; 4], &whole[..24]).build();
    to_b4(&bench.internet(&error), AFTR, B4_RANGE);
}

#[test]
fn snabb_7_a_forged_tunnel_error_is_not_reflected() {
    //
    let mut bench = Bench::new();
    let victim = V4::udp("203.0.113.66:53", OWN).build();
    let router = "2001:db8:bad::1";
    let unreachable = |sent: &V6| V6::icmp(router, AFTR, 1, 0, 0, &sent.build()).build();
    let mut no_checksum = unreachable(&tunnel(AFTR, B4_RANGE, &victim));
    no_checksum[42..44].fill(0);
    dropped(&bench.softwire(&no_checksum), DropReason::Icmpv6Checksum);
    for sent in [
        tunnel(AFTR, "2001:db8:99::99", &victim), // no B4 of ours
        tunnel("2001:db8:98::98", B4_RANGE, &victim), // not from us
        tunnel(AFTR2, B4_RANGE, &victim),         // from another address than the one it came to
        tunnel(AFTR, B4, &victim),                // not that B4's port
        tunnel(
            AFTR,
            B4_RANGE,
            &V4::udp("203.0.113.66:53", "192.0.2.21:7000").build(),
        ), // nobody's port
    ] {
        let out = bench.softwire(&unreachable(&sent));
        dropped(&out, DropReason::Icmpv6QuoteForeign);
    }
    assert_eq!(bench.counter(Counter::OutIcmpv4ErrorPackets), 0);
    let genuine = unreachable(&tunnel(AFTR, B4_RANGE, &victim));
    let told = told_v4(&to_internet(&bench.softwire(&genuine)));
    assert_eq!((told.kind, told.dst), ((3, 1), addr("203.0.113.66")));
}

#[test]
fn snabb_8_packet_too_big_below_1280_is_dropped() {
    //
    let mut bench = Bench::new();
    let sent = tunnel(AFTR, B4_RANGE, &V4::udp(REMOTE, OWN).df().build()).build();
    for mtu in [0, 39, 40, 68, 1279] {
        let error = V6::icmp("2001:db8:aaaa::1", AFTR, 2, 0, mtu, &sent).build();
        dropped(&bench.softwire(&error), DropReason::Icmpv6TooBigInvalid);
    }
    // 32 bits are read, and what is told fits in 16.
    for (mtu, told) in [
        (1280, 1240),
        (1500, 1460),
        (65_576, 65_535),
        (u32::MAX, 65_535),
    ] {
        let error = V6::icmp("2001:db8:aaaa::1", AFTR, 2, 0, mtu, &sent).build();
        let out = told_v4(&to_internet(&bench.softwire(&error)));
        assert_eq!((out.kind, out.word), ((3, 4), told), "{mtu}");
    }
}

#[test]
fn snabb_9_an_outer_congestion_mark_is_kept() {
    // R-194 R-195
    let mut bench = Bench::new();
    let ect = V4::udp(OWN, REMOTE).tos(2).build();
    let marked = tunnel(B4_RANGE, AFTR, &ect).traffic_class(3).build();
    let out = to_internet(&bench.softwire(&marked));
    assert_eq!(out[1], 3);
    assert!(verify(&out[..20]));
    let not_ect = V4::udp(OWN, REMOTE).build();
    let marked = tunnel(B4_RANGE, AFTR, &not_ect).traffic_class(3).build();
    dropped(&bench.softwire(&marked), DropReason::EcnCongestion);
}

#[test]
fn snabb_10_the_ttl_of_a_decapsulated_packet_goes_down() {
    //
    let mut bench = Bench::new();
    for ttl in [0, 1] {
        let inner = V4::udp(OWN, REMOTE).ttl(ttl).build();
        let out = bench.softwire(&up(&inner));
        let told = answer_v4(&out, Side::Softwire, DropReason::TtlExpired);
        assert_eq!((told.kind, told.src), ((11, 0), addr("192.0.0.1")));
        assert_eq!(told.dst, addr(OWN_IP));
        assert_eq!(told.quote, inner);
    }
    for ttl in [2, 255] {
        let inner = V4::udp(OWN, REMOTE).ttl(ttl).build();
        let out = to_internet(&bench.softwire(&up(&inner)));
        assert_eq!(out, one_hop_on(&inner));
        assert_eq!(out[8], ttl - 1);
    }
}

#[test]
fn snabb_11_an_inner_length_beyond_the_packet_is_malformed() {
    //
    let mut bench = Bench::new();
    let mut inner = V4::udp(OWN, REMOTE).payload(&[1; 20]).build();
    inner.pop();
    dropped(&bench.softwire(&up(&inner)), DropReason::Ipv4Malformed);
    assert_eq!(bench.drops(DropReason::Ipv4Malformed), 1);
    assert_eq!(bench.counter(Counter::SentIpv4Packets), 0);
    assert_eq!(bench.counter(Counter::DroppedIpv6Packets), 1);
}

#[test]
fn snabb_12_a_b4_whose_packet_is_too_big_for_the_internet_is_told() {
    //
    let mut bench = Bench::with(|config| config.ipv4_mtu = 1400);
    let inner = V4::udp(OWN, REMOTE).payload(&[5; 1400]);
    let out = bench.softwire(&up(&inner.clone().df().build()));
    let told = answer_v4(&out, Side::Softwire, DropReason::TooBig);
    assert_eq!((told.kind, told.word), ((3, 4), 1400));
    assert_eq!(told.dst, addr(OWN_IP));
    let (aftr, b4, _) = open(&out.packet);
    assert_eq!(
        (aftr, b4),
        (AFTR.parse().unwrap(), B4_RANGE.parse().unwrap())
    );
    assert_eq!(bench.counter(Counter::SentIpv4Packets), 0);
    let out = bench.softwire(&up(&inner.build()));
    assert_eq!(out.verdict, Verdict::Forward(Side::Internet));
    assert_eq!(out.packets().len(), 2);
    assert!(out.packets().iter().all(|packet| packet.len() <= 1400));
}

#[test]
fn snabb_16_a_wrong_ipv4_header_checksum_is_found() {
    //
    let mut bench = Bench::new();
    let mut packet = V4::udp(REMOTE, OWN).build();
    packet[10] ^= 0x40;
    dropped(&bench.internet(&packet), DropReason::Ipv4Checksum);
    let mut inner = V4::udp(OWN, REMOTE).build();
    inner[11] ^= 1;
    dropped(&bench.softwire(&up(&inner)), DropReason::Ipv4Checksum);
}

#[test]
fn snabb_17_no_error_goes_to_a_group_or_to_broadcast() {
    // R-075 R-175
    let mut bench = Bench::new();
    for src in [
        "224.0.0.5:9",
        "255.255.255.255:9",
        "0.0.0.0:9",
        "127.0.0.1:9",
    ] {
        let packet = V4::udp(src, "192.0.2.21:7000").build();
        dropped(&bench.internet(&packet), DropReason::Ipv4SourceMartian);
    }
    for src in ["224.0.0.5", "255.255.255.255"] {
        let packet = V4::echo(8, src, AFTR_V4, 1).build();
        let out = bench.internet(&packet);
        assert!(!matches!(out.verdict, Verdict::Reply(..)), "{src}");
    }
    assert_eq!(bench.counter(Counter::OutIcmpv4ErrorPackets), 0);
}

#[test]
fn snabb_20_every_address_of_the_aftr_answers_echo() {
    // R-111 R-171
    let mut bench = Bench::with(|config| {
        config
            .aftr_addresses
            .push("2001:db8:ffff::3".parse().unwrap());
        config.own_ipv6.push("2001:db8:1::1".parse().unwrap());
        config.own_ipv4.push(addr("203.0.113.2"));
    });
    for own in [AFTR, AFTR2, "2001:db8:ffff::3", "2001:db8:1::1"] {
        let request = V6::icmp("2001:db8:abc::1", own, 128, 0, 0x0007_0001, b"ping").build();
        let out = bench.softwire(&request);
        let echo = Verdict::Reply(Side::Softwire, Cause::EchoV6);
        assert_eq!(out.verdict, echo, "{own}");
        let told = told_v6(&out.packet);
        assert_eq!(told.src.to_string(), own);
        assert_eq!((told.kind, told.word), ((129, 0), 0x0007_0001));
        assert_eq!(told.quote, b"ping");
    }
    for own in [AFTR_V4, "203.0.113.2"] {
        let request = V4::echo(8, REMOTE_IP, own, 7).ttl(3).build();
        let out = bench.internet(&request);
        let echo = Verdict::Reply(Side::Internet, Cause::EchoV4);
        assert_eq!(out.verdict, echo, "{own}");
        let told = told_v4(&out.packet);
        assert_eq!((told.src, told.kind), (addr(own), (0, 0)));
        assert_eq!(told.quote, b"abcdefgh");
        assert_eq!(out.packet[8], 64, "a TTL of its own"); // T-13
    }
}

#[test]
fn snabb_21_errors_beyond_the_rate_are_counted_and_limited_for_each_source() {
    // R-166 R-179
    let mut bench = Bench::new();
    let refused = |host: u8| V4::udp(&format!("198.51.100.{host}:9"), "192.0.2.21:7000").build();
    for _ in 0..15 {
        let _ = bench.internet(&refused(1));
    }
    assert_eq!(bench.counter(Counter::OutIcmpv4ErrorPackets), 10);
    assert_eq!(bench.counter(Counter::Icmpv4SuppressedRate), 5);
    assert_eq!(bench.drops(DropReason::NoBinding), 15);
    // Somebody else has a bucket of their own.
    answer_v4(
        &bench.internet(&refused(2)),
        Side::Internet,
        DropReason::NoBinding,
    );
    // The instance has one, too.
    let mut bench = Bench::with(|config| {
        config.icmp.instance_rate_v4 = 20;
        config.icmp.instance_burst = 20;
    });
    for host in 1..=30 {
        let _ = bench.internet(&refused(host));
    }
    assert_eq!(bench.counter(Counter::OutIcmpv4ErrorPackets), 20);
    assert_eq!(bench.counter(Counter::Icmpv4SuppressedRate), 10);
}

#[test]
fn the_quoted_header_checksum_is_verified_or_ignored_by_knob() {
    //
    let mut bench = Bench::new();
    let mut quoted = V4::udp(OWN, REMOTE).build();
    quoted[8] -= 1; // the TTL went down, the checksum was not touched
    let error = V4::icmp_error("203.0.113.9", OWN_IP, 11, 0, &quoted).build();
    dropped(&bench.internet(&error), DropReason::Icmpv4QuoteChecksum);
    bench.turn(|config| config.icmp.quoted_checksum = QuotedChecksum::Ignore);
    to_b4(&bench.internet(&error), AFTR, B4_RANGE);
}
