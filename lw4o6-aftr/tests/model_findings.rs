//! What the comparison with the model (`testkit/tests/model_vs_engine.rs`) found, one test each.

mod common;
mod named;

use common::{AFTR, AFTR_V4, B4_FULL, B4_RANGE, Bench};
use lw4o6_aftr::config::InboundEcho;
use lw4o6_aftr::{DropReason, Side, Verdict};
use named::*;
use testkit::packet::{V4, V6, tunnel};

const OWN_IP: &str = "192.0.2.21";
const REMOTE_IP: &str = "198.51.100.1";
const ROUTER: &str = "2001:db8:77::1";

#[test]
fn an_icmpv6_error_behind_a_refused_header_is_not_answered() {
    // what comes after the option or segment at fault can still be seen.
    let quote = tunnel(
        AFTR,
        B4_RANGE,
        &V4::udp("198.51.100.1:53", "192.0.2.21:5200").build(),
    );
    let unknown_option = [0, 0, 0x9e, 2, 0, 0, 1, 0];
    let segments_left = [0, 0, 3, 1, 0, 0, 0, 0];
    let wrong_length = [0, 0, 1, 9, 0, 0, 0, 0];
    for (kind, header, reason) in [
        (60, unknown_option, DropReason::ExtHeaderOption),
        (43, segments_left, DropReason::RoutingHeader),
        (60, wrong_length, DropReason::ExtHeaderMalformed),
    ] {
        let error = V6::icmp(ROUTER, AFTR, 1, 0, 0, &quote.build());
        let mut bench = Bench::new();
        dropped(
            &bench.softwire(&error.behind(kind, &header[1..]).build()),
            reason,
        );
        // The same in front of something else is answered.
        let echo = V6::icmp(ROUTER, AFTR, 128, 0, 0, &[]);
        answer_v6(
            &bench.softwire(&echo.behind(kind, &header[1..]).build()),
            reason,
        );
    }
}

#[test]
fn a_neighbor_is_told_about_a_packet_that_the_box_cannot_read() {
    // R-164 names the sources that are told nothing; link-local ones are none of them.
    let own = "2001:db8:ffff::10";
    let mut bench = Bench::with(|config| config.own_ipv6.push(addr6(own)));
    let inner = V4::udp("192.0.2.21:5200", "198.51.100.1:53").build();
    let out = bench.softwire(&tunnel("fe80::1", own, &inner).build());
    let told = answer_v6(&out, DropReason::NextHeaderUnknown);
    assert_eq!((told.kind, told.word), ((4, 1), 6));
}

#[test]
fn the_extension_structure_of_a_tunnel_error_is_not_read_as_its_quote() {
    // the quote ends with the fixed header, so what is missing is the rest of it.
    let cut = |next| {
        let mut quote = tunnel(AFTR, B4_RANGE, &[]).build();
        quote[6] = next;
        let structure = [0x20, 0, 0xdf, 0xf7, 0, 8, 1, 1, 0, 1, 0x21, 0x01];
        V6::icmp(
            ROUTER,
            AFTR,
            3,
            0,
            5 << 24,
            &[&quote[..], &structure].concat(),
        )
        .build()
    };
    let mut bench = Bench::new();
    for next in [0, 44, 60] {
        dropped(&bench.softwire(&cut(next)), DropReason::Icmpv6QuoteShort);
    }
}

#[test]
fn port_0_stands_for_echo_requests_only() {
    // D-3 is no word about timestamps: theirs go by identifier under every setting.
    let mut bench = Bench::with(|config| config.inbound_echo_request = InboundEcho::Port0);
    let timestamp = V4::icmp(REMOTE_IP, OWN_IP, 13, 0, [0x14, 0x50, 0, 1], &[0; 12]).build();
    let sent = to_b4(&bench.internet(&timestamp), AFTR, B4_RANGE);
    // So a router may say that it was lost.
    let quote = tunnel(AFTR, B4_RANGE, &sent).build();
    let out = bench.softwire(&V6::icmp(ROUTER, AFTR, 1, 0, 0, &quote).build());
    assert_eq!(out.verdict, Verdict::Forward(Side::Internet));
    let told = told_v4(&out.packet);
    assert_eq!((told.src, told.dst), (addr(AFTR_V4), addr(REMOTE_IP)));
}

#[test]
fn a_fragment_beyond_the_longest_datagram_is_not_cut() {
    // Its pieces would have offsets that no header can hold. R-149
    let mut bench = Bench::with(|config| config.ipv4_mtu = 576);
    let mut inner = V4::udp("192.0.2.20:5200", "198.51.100.1:53")
        .payload(&[7; 1000])
        .build();
    inner[6..8].copy_from_slice(&[0x1f, 0xff]);
    inner[10..12].fill(0);
    let sum = lw4o6_wire::checksum::checksum(&inner[..20]);
    inner[10..12].copy_from_slice(&sum.to_be_bytes());
    let out = bench.softwire(&tunnel(B4_FULL, AFTR, &inner).build());
    dropped(&out, DropReason::Ipv4FragmentMalformed);
    // Where it fits it goes on: a whole address has nothing to be kept out of. R-145
    let mut bench = Bench::new();
    let out = bench.softwire(&tunnel(B4_FULL, AFTR, &inner).build());
    assert_eq!(to_internet(&out), one_hop_on(&inner));
}

#[test]
fn padding_behind_a_packet_makes_no_tunnel_loop_of_it() {
    // R-202 is about a tunnel packet inside, of which this one has no whole header.
    let nested = tunnel(B4_FULL, AFTR, &[0; 8]).build();
    let packet = V4::raw(41, REMOTE_IP, "192.0.2.20", &nested[..32]).build();
    let padded = [&packet[..], &nested[32..]].concat();
    let out = Bench::new().internet(&padded);
    assert_eq!(to_b4(&out, AFTR, B4_FULL), one_hop_on(&packet));
    let whole = V4::raw(41, REMOTE_IP, "192.0.2.20", &nested).build();
    dropped(&Bench::new().internet(&whole), DropReason::TunnelLoop);
}
