//! Every reason for which an ICMP message is refused: the reason, its counter, the totals, silence.

mod common;
mod named;

use common::{AFTR, AFTR_V4, AFTR2, B4, B4_FULL, B4_RANGE, Bench};
use lw4o6_aftr::config::{DfPolicy, InboundEcho, Pmtud, Switch};
use lw4o6_aftr::{AftrConfig, Counter, DropReason, Kind, Side, Verdict};
use named::*;
use testkit::packet::{V4, V6, tunnel};

const IN: Side = Side::Internet;
const UP: Side = Side::Softwire;
const OWN: &str = "192.0.2.18:1232";
const OWN_IP: &str = "192.0.2.18";
const REMOTE: &str = "198.51.100.1:53";
const REMOTE_IP: &str = "198.51.100.1";
const ROUTER: &str = "203.0.113.9";
const ROUTER6: &str = "2001:db8:aaaa::1";

/// The same message from the Internet, and from the B4 with the roles of the ends swapped.
fn both_ways(bench: &mut Bench, down: &V4, up: &V4, reason: DropReason) {
    silent(bench, IN, &down.build(), reason);
    let up = tunnel(B4, AFTR, &up.build()).build();
    silent(bench, UP, &up, reason);
}

#[test]
fn icmpv4_malformed() {
    let mut bench = Bench::new();
    for len in [0, 4, 7] {
        let down = V4::raw(1, REMOTE_IP, OWN_IP, &vec![0; len]);
        let up = V4::raw(1, OWN_IP, REMOTE_IP, &vec![0; len]);
        both_ways(&mut bench, &down, &up, DropReason::Icmpv4Malformed);
    }
    // A quote of another version.
    let mut quoted = V4::udp(OWN, REMOTE).build();
    quoted[0] = 0x65;
    let error = V4::icmp_error(ROUTER, OWN_IP, 3, 1, &quoted).build();
    silent(&mut bench, IN, &error, DropReason::Icmpv4Malformed);
}

#[test]
fn icmpv4_checksum() {
    //
    let mut bench = Bench::new();
    let mut down = V4::echo(0, REMOTE_IP, OWN_IP, 1232);
    let mut up = V4::echo(8, OWN_IP, REMOTE_IP, 1232);
    down.l4[9] ^= 1;
    up.l4[2] ^= 1;
    both_ways(&mut bench, &down, &up, DropReason::Icmpv4Checksum);
}

#[test]
fn icmpv4_no_binding() {
    // silence, where a datagram would be answered
    let mut bench = Bench::new();
    for kind in [0, 8] {
        let echo = V4::echo(kind, REMOTE_IP, OWN_IP, 9).build();
        silent(&mut bench, IN, &echo, DropReason::Icmpv4NoBinding);
    }
    let quoted = V4::udp("192.0.2.18:9", REMOTE).build();
    let error = V4::icmp_error(ROUTER, OWN_IP, 3, 1, &quoted).build();
    silent(&mut bench, IN, &error, DropReason::Icmpv4NoBinding);
}

#[test]
fn icmpv4_policy() {
    //
    let mut bench = Bench::new();
    bench.turn(|config| config.inbound_echo_request = InboundEcho::Drop);
    let request = V4::echo(8, REMOTE_IP, OWN_IP, 1232).build();
    silent(&mut bench, IN, &request, DropReason::Icmpv4Policy);
    let down = V4::echo(0, REMOTE_IP, OWN_IP, 1232);
    to_b4(&bench.internet(&down.build()), AFTR, B4);
    bench.turn(|config| config.icmp.incoming_v4 = Switch::Off);
    silent(&mut bench, IN, &down.build(), DropReason::Icmpv4Policy);
    // What comes from a neighbor comes in as well.
    let quoted = V4::udp("192.0.2.21:5121", "192.0.2.18:1232").build();
    let across = V4::icmp_error("192.0.2.18", "192.0.2.21", 3, 3, &quoted).build();
    let across = tunnel(B4, AFTR, &across).build();
    silent(&mut bench, UP, &across, DropReason::Icmpv4Policy);
}

#[test]
fn what_a_b4_sends_out_is_no_incoming_icmp() {
    // a subscriber's pings, and its complaints about what reached it
    let quoted = V4::udp(REMOTE, OWN).build();
    for knobs in [
        |config: &mut AftrConfig| config.icmp.incoming_v4 = Switch::Off,
        |config: &mut AftrConfig| config.icmp.incoming_v4_rate = Some(1),
    ] {
        let mut bench = Bench::with(knobs);
        for _ in 0..3 {
            let ping = V4::echo(8, OWN_IP, REMOTE_IP, 1232).build();
            to_internet(&bench.softwire(&tunnel(B4, AFTR, &ping).build()));
            let error = V4::icmp_error(OWN_IP, REMOTE_IP, 3, 3, &quoted).build();
            to_internet(&bench.softwire(&tunnel(B4, AFTR, &error).build()));
        }
    }
}

#[test]
fn icmpv4_rate() {
    //
    let mut bench = Bench::with(|config| config.icmp.incoming_v4_rate = Some(2));
    let echo = V4::echo(0, REMOTE_IP, OWN_IP, 1232).build();
    to_b4(&bench.internet(&echo), AFTR, B4);
    to_b4(&bench.internet(&echo), AFTR, B4);
    silent(&mut bench, IN, &echo, DropReason::Icmpv4Rate);
    to_b4(&bench.internet(&V4::udp(REMOTE, OWN).build()), AFTR, B4);
    bench.pass(500);
    to_b4(&bench.internet(&echo), AFTR, B4);
}

#[test]
fn icmpv4_type() {
    //
    let mut bench = Bench::new();
    let quoted = V4::udp(OWN, REMOTE).build();
    for kind in [4, 5, 9, 10, 15, 16, 17, 18, 40, 253] {
        let down = V4::icmp(REMOTE_IP, OWN_IP, kind, 0, [0x04, 0xd0, 0, 0], &quoted);
        let up = V4::icmp(OWN_IP, REMOTE_IP, kind, 0, [0x04, 0xd0, 0, 0], &quoted);
        both_ways(&mut bench, &down, &up, DropReason::Icmpv4Type);
    }
}

#[test]
fn icmpv4_quote_checksum() {
    //
    let mut bench = Bench::new();
    let mut quoted = V4::udp(OWN, REMOTE).build();
    quoted[11] ^= 1;
    let down = V4::icmp_error(ROUTER, OWN_IP, 3, 1, &quoted);
    let mut quoted = V4::udp(REMOTE, OWN).build();
    quoted[11] ^= 1;
    let up = V4::icmp_error(OWN_IP, REMOTE_IP, 3, 3, &quoted);
    both_ways(&mut bench, &down, &up, DropReason::Icmpv4QuoteChecksum);
}

#[test]
fn icmpv4_quote_mismatch() {
    // R-082 R-106
    let mut bench = Bench::new();
    let down = V4::udp("192.0.2.21:5200", REMOTE).build();
    let down = V4::icmp_error(ROUTER, OWN_IP, 3, 1, &down);
    let up = V4::udp(REMOTE, "192.0.2.21:5200").build();
    let up = V4::icmp_error(OWN_IP, REMOTE_IP, 3, 3, &up);
    both_ways(&mut bench, &down, &up, DropReason::Icmpv4QuoteMismatch);
}

#[test]
fn icmpv4_quote_error() {
    //
    let mut bench = Bench::new();
    let inner = V4::udp(REMOTE, OWN).build();
    let quoted = V4::icmp_error(OWN_IP, REMOTE_IP, 3, 3, &inner).build();
    let down = V4::icmp_error(ROUTER, OWN_IP, 3, 1, &quoted);
    let quoted = V4::icmp_error(REMOTE_IP, OWN_IP, 3, 3, &inner).build();
    let up = V4::icmp_error(OWN_IP, REMOTE_IP, 3, 1, &quoted);
    both_ways(&mut bench, &down, &up, DropReason::Icmpv4QuoteError);
}

#[test]
fn icmpv4_quote_fragment() {
    //
    let mut bench = Bench::new();
    let later = |packet: V4| packet.payload(&[0; 64]).fragments(32).remove(1);
    let down = later(V4::udp(OWN, REMOTE));
    let down = V4::icmp_error(ROUTER, OWN_IP, 11, 0, &down);
    let up = later(V4::udp(REMOTE, OWN));
    let up = V4::icmp_error(OWN_IP, REMOTE_IP, 11, 1, &up);
    both_ways(&mut bench, &down, &up, DropReason::Icmpv4QuoteFragment);
    // A full address needs no port.
    let whole = later(V4::udp("192.0.2.20:9", REMOTE));
    let whole = V4::icmp_error(ROUTER, "192.0.2.20", 11, 0, &whole).build();
    to_b4(&bench.internet(&whole), AFTR, B4_FULL);
}

#[test]
fn icmpv4_quote_no_port() {
    let mut bench = Bench::new();
    let down = V4::raw(47, OWN_IP, REMOTE_IP, &[0; 8]).build();
    let down = V4::icmp_error(ROUTER, OWN_IP, 3, 1, &down);
    let up = V4::raw(47, REMOTE_IP, OWN_IP, &[0; 8]).build();
    let up = V4::icmp_error(OWN_IP, REMOTE_IP, 3, 2, &up);
    both_ways(&mut bench, &down, &up, DropReason::Icmpv4QuoteNoPort);
}

#[test]
fn icmpv6_malformed() {
    let mut bench = Bench::new();
    for len in [0, 4, 7] {
        let packet = V6::raw(58, ROUTER6, AFTR, &vec![1; len]).build();
        silent(&mut bench, UP, &packet, DropReason::Icmpv6Malformed);
    }
}

#[test]
fn icmpv6_checksum() {
    let mut bench = Bench::new();
    let mut packet = V6::icmp(ROUTER6, AFTR, 128, 0, 1, b"ping").build();
    packet[50] ^= 1;
    silent(&mut bench, UP, &packet, DropReason::Icmpv6Checksum);
}

#[test]
fn icmpv6_type() {
    //
    let mut bench = Bench::new();
    for kind in [130, 138, 200, 255] {
        let packet = V6::icmp(ROUTER6, AFTR, kind, 0, 0, &[0; 16]).build();
        silent(&mut bench, UP, &packet, DropReason::Icmpv6Type);
    }
    // An error nobody knows is for the owner (RFC 4443 §2.4(a)).
    let packet = V6::icmp(ROUTER6, AFTR, 100, 0, 0, &[0; 16]).build();
    let out = bench.softwire(&packet);
    assert_eq!(out.verdict, Verdict::Local(Kind::Own));
}

/// What we sent to [`B4`].
fn sent() -> V6 {
    tunnel(AFTR, B4, &V4::udp(REMOTE, OWN).df().build())
}

fn about(kind: u8, code: u8, word: u32, sent: &V6) -> Vec<u8> {
    V6::icmp(ROUTER6, AFTR, kind, code, word, &sent.build()).build()
}

#[test]
fn icmpv6_policy() {
    //
    let mut bench = Bench::with(|config| config.icmp.tunnel_errors = Switch::Off);
    let error = about(1, 0, 0, &sent());
    silent(&mut bench, UP, &error, DropReason::Icmpv6Policy);
    bench.turn(|config| config.icmp.tunnel_errors = Switch::On);
    to_internet(&bench.softwire(&error));
}

#[test]
fn icmpv6_not_relayed() {
    //
    let mut bench = Bench::new();
    for (kind, code, word) in [(3, 1, 0), (4, 0, 6), (4, 1, 6), (4, 2, 42), (4, 0, 0)] {
        let error = about(kind, code, word, &sent());
        silent(&mut bench, UP, &error, DropReason::Icmpv6NotRelayed);
    }
    // An encapsulation limit that ran out is told (D-11).
    let limited = |limit| about(4, 0, 44, &sent().limit(limit));
    let told = told_v4(&to_internet(&bench.softwire(&limited(0))));
    assert_eq!(told.kind, (3, 1));
    silent(&mut bench, UP, &limited(1), DropReason::Icmpv6NotRelayed);
    bench.turn(|config| config.icmp.generate_v4 = Switch::Off);
    let error = about(1, 0, 0, &sent());
    silent(&mut bench, UP, &error, DropReason::Icmpv6NotRelayed);
}

#[test]
fn icmpv6_quote_foreign() {
    // R-152 R-186
    let mut bench = Bench::with(|config| config.pmtud = Pmtud::Dynamic);
    let inner = V4::udp(REMOTE, OWN).df().build();
    let quotes = [
        tunnel(AFTR2, B4, &inner),              // not from the address that was hit
        tunnel(AFTR, "2001:db8:99::1", &inner), // to no B4 of ours
        tunnel(AFTR, B4_RANGE, &inner),         // to the wrong one
        V6::raw(17, AFTR, B4, &[0; 32]),        // no tunnel packet
    ];
    for quote in &quotes {
        for (kind, word) in [(1, 0), (2, 1300)] {
            let error = about(kind, 0, word, quote);
            silent(&mut bench, UP, &error, DropReason::Icmpv6QuoteForeign);
        }
    }
    assert_eq!(bench.counter(Counter::PathMtuLowered), 0);
}

#[test]
fn icmpv6_quote_short() {
    let mut bench = Bench::new();
    let whole = sent().build();
    for len in [0, 39, 40, 59, 60, 67] {
        let error = V6::icmp(ROUTER6, AFTR, 1, 0, 0, &whole[..len]).build();
        silent(&mut bench, UP, &error, DropReason::Icmpv6QuoteShort);
    }
    let error = V6::icmp(ROUTER6, AFTR, 1, 0, 0, &whole[..68]).build();
    to_internet(&bench.softwire(&error));
}

#[test]
fn icmpv6_quote_unanswerable() {
    //
    let mut bench = Bench::new();
    let quoted = V4::udp(OWN, REMOTE).build();
    let error = V4::icmp_error(ROUTER, OWN_IP, 3, 1, &quoted).build();
    let fragment = V4::udp(REMOTE, OWN)
        .payload(&[0; 64])
        .fragments(32)
        .remove(1);
    for inner in [error, fragment] {
        let error = about(1, 0, 0, &tunnel(AFTR, B4, &inner));
        silent(&mut bench, UP, &error, DropReason::Icmpv6QuoteUnanswerable);
    }
    let later = tunnel(AFTR, B4, &V4::udp(REMOTE, OWN).payload(&[0; 64]).build());
    let later = later.fragments(48, 7).remove(1);
    let error = V6::icmp(ROUTER6, AFTR, 1, 0, 0, &later).build();
    silent(&mut bench, UP, &error, DropReason::Icmpv6QuoteUnanswerable);
}

#[test]
fn icmpv6_too_big_df_clear() {
    //
    let mut bench = Bench::new();
    let no_df = tunnel(AFTR, B4, &V4::udp(REMOTE, OWN).build());
    let error = about(2, 0, 1400, &no_df);
    silent(&mut bench, UP, &error, DropReason::Icmpv6TooBigDfClear);
    bench.turn(|config| config.df_policy = DfPolicy::OuterFragment);
    let error = about(2, 0, 1400, &sent());
    silent(&mut bench, UP, &error, DropReason::Icmpv6TooBigDfClear);
}

#[test]
fn icmpv6_too_big_invalid() {
    //
    let mut bench = Bench::new();
    let error = about(2, 0, 1279, &sent());
    silent(&mut bench, UP, &error, DropReason::Icmpv6TooBigInvalid);
}

#[test]
fn icmpv6_relay_rate() {
    //
    let mut bench = Bench::new();
    let error = about(1, 0, 0, &sent());
    for _ in 0..10 {
        to_internet(&bench.softwire(&error));
    }
    silent(&mut bench, UP, &error, DropReason::Icmpv6RelayRate);
    bench.pass(100);
    to_internet(&bench.softwire(&error));
}

#[test]
fn echo_rate() {
    let mut bench = Bench::with(|config| config.icmp.echo_rate = 2);
    let v4 = V4::echo(8, REMOTE_IP, AFTR_V4, 7).build();
    let v6 = V6::icmp(ROUTER6, AFTR, 128, 0, 7, b"ping").build();
    assert!(matches!(bench.internet(&v4).verdict, Verdict::Reply(..)));
    assert!(matches!(bench.softwire(&v6).verdict, Verdict::Reply(..)));
    silent(&mut bench, IN, &v4, DropReason::EchoRate);
    silent(&mut bench, UP, &v6, DropReason::EchoRate);
    // Errors have budgets of their own. T-24
    let unbound = V4::udp(REMOTE, "192.0.2.21:7000").build();
    let out = bench.internet(&unbound);
    answer_v4(&out, IN, DropReason::NoBinding);
}

#[test]
fn path_mtus_are_believed_by_knob_only() {
    // R-151 R-153
    let error = about(2, 0, 1400, &sent());
    let big = V4::udp(REMOTE, OWN).payload(&[0; 1400]).df().build();
    let mut bench = Bench::new();
    to_internet(&bench.softwire(&error));
    to_b4(&bench.internet(&big), AFTR, B4);
    let mut bench = Bench::with(|config| config.pmtud = Pmtud::Dynamic);
    to_internet(&bench.softwire(&error));
    let told = answer_v4(&bench.internet(&big), IN, DropReason::TooBig);
    assert_eq!(told.word, 1360);
    assert_eq!(bench.counter(Counter::PathMtuLowered), 1);
    bench.pass(600_000);
    to_b4(&bench.internet(&big), AFTR, B4);
}
