//! IPv4 addresses of the box, as seen from subscribers.

mod common;
mod named;

use common::{AFTR, AFTR_V4, B4, B4_FULL, Bench};
use lw4o6_aftr::config::{DscpDecap, Pmtud, PoolSource, PrivateDestination};
use lw4o6_aftr::{Cause, DropReason, Kind, Side, Verdict};
use named::*;
use testkit::packet::{V4, tunnel};

const IN: Side = Side::Internet;
const UP: Side = Side::Softwire;
const ECHO: Verdict = Verdict::Reply(UP, Cause::EchoV4);

fn ping() -> V4 {
    V4::echo(8, "192.0.2.18", AFTR_V4, 1232).tos(0x20)
}

fn long_ping(len: usize) -> V4 {
    V4::icmp(
        "192.0.2.18",
        AFTR_V4,
        8,
        0,
        [0x04, 0xd0, 0, 1],
        &vec![7; len],
    )
}

fn pong() -> V4 {
    V4::echo(0, AFTR_V4, "192.0.2.18", 1232)
        .tos(0x20)
        .ident(0)
        .df()
}

#[test]
fn a_ping_out_of_a_tunnel_is_answered_into_it() {
    //
    let mut bench = Bench::with(|config| config.dscp_decap = DscpDecap::Pipe);
    // The box is no hop further, so a TTL of 1 will do.
    for request in [ping(), ping().ttl(1), ping().options(&[1, 1, 1, 0])] {
        let out = bench.softwire(&tunnel(B4, AFTR, &request.build()).build());
        assert_eq!(out.verdict, ECHO);
        let (src, dst, answer) = open(&out.packet);
        assert_eq!((src, dst), (addr6(AFTR), addr6(B4)));
        assert_eq!(answer, pong().build());
    }
    books_close(&bench);
}

#[test]
fn only_the_owner_of_the_address_is_answered() {
    let mut bench = Bench::new();
    let packet = tunnel(B4_FULL, AFTR, &ping().build()).build();
    answer_v6(&bench.softwire(&packet), DropReason::WrongIpv4);
    let mut sum = ping();
    sum.l4[9] ^= 1;
    let packet = tunnel(B4, AFTR, &sum.build()).build();
    silent(&mut bench, UP, &packet, DropReason::Icmpv4Checksum);
    let mut bench = Bench::with(|config| config.icmp.echo_rate = 0);
    let packet = tunnel(B4, AFTR, &ping().build()).build();
    silent(&mut bench, UP, &packet, DropReason::EchoRate);
}

#[test]
fn everything_else_out_of_a_tunnel_is_the_owners_and_untouched() {
    let mut bench = Bench::new();
    let (b4, aftr) = (addr6(B4), addr6(AFTR));
    let first_fragment = long_ping(1400).fragments(800).swap_remove(0);
    for inner in [
        V4::udp("192.0.2.18:1232", "203.0.113.1:53").build(),
        V4::echo(0, "192.0.2.18", AFTR_V4, 1232).build(),
        first_fragment,
    ] {
        let packet = tunnel(B4, AFTR, &inner).build();
        let out = bench.softwire(&packet);
        assert_eq!(out.verdict, Verdict::Local(Kind::Tunnelled { b4, aftr }));
        assert_eq!(out.packet, packet);
    }
}

#[test]
fn a_long_answer_is_cut_outside() {
    //
    let mut bench = Bench::with(|config| {
        config.ipv6_mtu = 1280;
        config.pmtud = Pmtud::Static;
    });
    let request = long_ping(1400);
    let out = bench.softwire(&tunnel(B4, AFTR, &request.build()).build());
    assert_eq!(out.verdict, ECHO);
    assert_eq!(out.packets().len(), 2);
    assert!(out.packets().iter().all(|packet| packet.len() <= 1280));
}

#[test]
fn an_own_address_in_private_space_is_no_private_destination() {
    let mut bench = Bench::with(|config| {
        config.private_destination = PrivateDestination::Drop;
        config.own_ipv4 = vec![addr("10.0.0.1")];
    });
    let request = V4::echo(8, "192.0.2.18", "10.0.0.1", 1232).build();
    let out = bench.softwire(&tunnel(B4, AFTR, &request).build());
    assert_eq!(out.verdict, ECHO);
    let other = V4::echo(8, "192.0.2.18", "10.0.0.2", 1232).build();
    let other = tunnel(B4, AFTR, &other).build();
    silent(&mut bench, UP, &other, DropReason::Ipv4DestinationMartian);
}

#[test]
fn a_ping_from_a_pool_address_on_the_internet_side_is_spoofed() {
    //
    let mut bench = Bench::new();
    silent(
        &mut bench,
        IN,
        &ping().build(),
        DropReason::PoolSourceSpoofed,
    );
    let service = V4::echo(8, "192.0.0.2", AFTR_V4, 7).build();
    silent(&mut bench, IN, &service, DropReason::ServiceAddress);
}

#[test]
fn where_pool_sources_are_forwarded_the_answer_goes_into_the_tunnel() {
    //
    let mut bench = Bench::with(|config| config.pool_source = PoolSource::Forward);
    let out = bench.internet(&ping().build());
    assert_eq!(out.verdict, ECHO);
    let (src, dst, answer) = open(&out.packet);
    assert_eq!((src, dst), (addr6(AFTR), addr6(B4)));
    assert_eq!(answer, pong().build());
    let nobody = V4::echo(8, "192.0.2.18", AFTR_V4, 9).build();
    silent(&mut bench, IN, &nobody, DropReason::Icmpv4NoBinding);
}

#[test]
fn the_box_does_not_answer_itself() {
    let mut bench = Bench::new();
    let request = V4::echo(8, AFTR_V4, AFTR_V4, 7).build();
    let out = bench.internet(&request);
    assert_eq!(out.verdict, Verdict::Local(Kind::Own));
}
