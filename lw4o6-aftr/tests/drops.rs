//! Every reason for which a packet is refused: the reason, its counter, the totals, the answer.
//!
//! ICMP has a file of its own, fragments and Ethernet stand with their tests.

mod common;
mod named;

use std::sync::atomic::{AtomicBool, Ordering};

use common::{AFTR, AFTR_V4, AFTR2, B4, B4_FULL, B4_NEXT, B4_RANGE, Bench, OTHER_AFTR_B4};
use lw4o6_aftr::config::{
    Hairpin, PoolSource, PrivateDestination, TunnelService, UnboundDestination, UnboundSource,
};
use lw4o6_aftr::{DropReason, Kind, Side, Verdict};
use lw4o6_wire::{FrameBuf, HEADROOM};
use named::*;
use testkit::packet::{V4, V6, tunnel};

const IN: Side = Side::Internet;
const UP: Side = Side::Softwire;
const REMOTE: &str = "198.51.100.1:53";
const REMOTE_IP: &str = "198.51.100.1";

/// A datagram that passes.
fn good() -> V4 {
    V4::udp("192.0.2.18:1232", REMOTE).payload(b"data")
}

fn outer() -> V6 {
    tunnel(B4, AFTR, &good().build())
}

#[test]
fn ipv6_malformed() {
    let mut bench = Bench::new();
    let packet = outer().build();
    for len in [0, 1, 39, 40, packet.len() - 1] {
        silent(&mut bench, UP, &packet[..len], DropReason::Ipv6Malformed);
    }
    let mut version = packet;
    version[0] = 0x50;
    silent(&mut bench, UP, &version, DropReason::Ipv6Malformed);
}

#[test]
fn ipv6_source_invalid() {
    let mut bench = Bench::new();
    for src in ["::", "::1", "ff02::1", "ff0e::1", "fe80::1", AFTR] {
        let packet = tunnel(src, AFTR, &good().build()).build();
        silent(&mut bench, UP, &packet, DropReason::Ipv6SourceInvalid);
    }
}

#[test]
fn ipv6_source_not_allowed() {
    //
    let mut bench = Bench::with(|config| {
        config
            .subscriber_prefixes
            .push("2001:db8:21::/48".parse().unwrap());
    });
    silent(
        &mut bench,
        UP,
        &outer().build(),
        DropReason::Ipv6SourceNotAllowed,
    );
    let inner = V4::udp("192.0.2.21:5200", REMOTE).build();
    to_internet(&bench.softwire(&tunnel(B4_RANGE, AFTR, &inner).build()));
}

#[test]
fn ext_header_malformed() {
    let mut bench = Bench::new();
    // Its length says 16 bytes, then an option that runs over its end.
    let cut = V6::raw(60, B4, AFTR, &[4, 1, 0, 0, 0, 0, 0, 0]).build();
    silent(&mut bench, UP, &cut, DropReason::ExtHeaderMalformed);
}

#[test]
fn ext_header_limit() {
    //
    let pad = [0, 1, 4, 0, 0, 0, 0];
    let mut bench = Bench::new();
    let mut packet = outer();
    for _ in 0..8 {
        packet = packet.behind(60, &pad);
    }
    to_internet(&bench.softwire(&packet.build()));
    let packet = packet.behind(60, &pad).build();
    silent(&mut bench, UP, &packet, DropReason::ExtHeaderLimit);
}

#[test]
fn ext_header_option() {
    //
    let with_option = |kind: u8| outer().behind(60, &[0, kind, 4, 0, 0, 0, 0]).build();
    let mut bench = Bench::new();
    to_internet(&bench.softwire(&with_option(0x1e))); // 00: skipped
    silent(
        &mut bench,
        UP,
        &with_option(0x5e),
        DropReason::ExtHeaderOption,
    );
    for kind in [0x9e, 0xde] {
        let packet = with_option(kind);
        let out = refused(&mut bench, UP, &packet, DropReason::ExtHeaderOption);
        let told = told_v6(&out.packet);
        assert_eq!((told.kind, told.word), ((4, 2), 42));
        assert_eq!((told.src, told.dst), (addr6(AFTR), addr6(B4)));
        assert_eq!(told.quote, packet);
    }
}

#[test]
fn routing_header() {
    // RFC 8200 §4.4, RFC 5095 §3
    let mut bench = Bench::new();
    for kind in [0, 99] {
        let none_left = outer().behind(43, &[0, kind, 0, 0, 0, 0, 0]).build();
        to_internet(&bench.softwire(&none_left));
        let packet = outer().behind(43, &[0, kind, 1, 0, 0, 0, 0]).build();
        let out = refused(&mut bench, UP, &packet, DropReason::RoutingHeader);
        let told = told_v6(&out.packet);
        assert_eq!((told.kind, told.word), ((4, 0), 42));
        assert_eq!(told.quote, packet);
    }
}

#[test]
fn next_header_unknown() {
    //
    let own = "2001:db8:1::1";
    let mut bench = Bench::with(|config| config.own_ipv6.push(addr6(own)));
    let packet = V6::raw(99, B4, AFTR, &[0; 16]).build();
    let out = refused(&mut bench, UP, &packet, DropReason::NextHeaderUnknown);
    let told = told_v6(&out.packet);
    assert_eq!(
        (told.kind, told.word, told.quote),
        ((4, 1), 6, packet.clone())
    );
    // Behind an extension header the pointer moves; hop-by-hop options come first or not at all.
    let second = outer().behind(0, &[0, 1, 4, 0, 0, 0, 0]);
    let packet = second.behind(60, &[0, 1, 4, 0, 0, 0, 0]).build();
    let out = refused(&mut bench, UP, &packet, DropReason::NextHeaderUnknown);
    assert_eq!(told_v6(&out.packet).word, 40);
    // No tunnel ends at an address that is only the box's.
    let packet = tunnel(B4, own, &good().build()).build();
    let out = refused(&mut bench, UP, &packet, DropReason::NextHeaderUnknown);
    let told = told_v6(&out.packet);
    assert_eq!((told.kind, told.word, told.src), ((4, 1), 6, addr6(own)));
}

#[test]
fn no_next_header() {
    let mut bench = Bench::new();
    let packet = V6::raw(59, B4, AFTR, &[0; 16]).build();
    silent(&mut bench, UP, &packet, DropReason::NoNextHeader);
}

#[test]
fn ipv4_malformed() {
    //
    let mut bench = Bench::new();
    let good = good().build();
    let with = |at: usize, value: u8| {
        let mut packet = good.clone();
        packet[at] = value;
        packet
    };
    let bad = [
        good[..19].to_vec(),
        good[..good.len() - 1].to_vec(),
        with(0, 0x65), // version 6
        with(0, 0x44), // header of 16 bytes
        with(3, 19),   // shorter than its header
        with(3, 0xff), // longer than the packet
        with(0, 0x4f), // header of 60 bytes
    ];
    for packet in bad {
        silent(&mut bench, IN, &packet, DropReason::Ipv4Malformed);
        let packet = tunnel(B4, AFTR, &packet).build();
        silent(&mut bench, UP, &packet, DropReason::Ipv4Malformed);
    }
}

#[test]
fn ipv4_checksum() {
    //
    let mut bench = Bench::new();
    let mut up = good().build();
    up[10] ^= 1;
    let mut down = V4::udp(REMOTE, "192.0.2.18:1232").build();
    down[11] ^= 0x80;
    silent(&mut bench, IN, &down, DropReason::Ipv4Checksum);
    let packet = tunnel(B4, AFTR, &up).build();
    silent(&mut bench, UP, &packet, DropReason::Ipv4Checksum);
}

const MARTIANS: [&str; 7] = [
    "0.1.2.3",
    "127.0.0.1",
    "169.254.1.1",
    "224.0.0.5",
    "239.1.1.1",
    "240.0.0.1",
    "255.255.255.255",
];

#[test]
fn ipv4_source_martian() {
    //
    let mut bench = Bench::new();
    for src in MARTIANS {
        let down = V4::udp(&format!("{src}:53"), "192.0.2.18:1232").build();
        silent(&mut bench, IN, &down, DropReason::Ipv4SourceMartian);
        let up = V4::udp(&format!("{src}:1232"), REMOTE).build();
        let up = tunnel(B4, AFTR, &up).build();
        silent(&mut bench, UP, &up, DropReason::Ipv4SourceMartian);
    }
}

#[test]
fn ipv4_destination_martian() {
    //
    let mut bench = Bench::new();
    let up = |dst: &str| {
        let inner = V4::udp("192.0.2.18:1232", &format!("{dst}:53")).build();
        tunnel(B4, AFTR, &inner).build()
    };
    for dst in MARTIANS {
        silent(&mut bench, UP, &up(dst), DropReason::Ipv4DestinationMartian);
    }
    for dst in ["10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1"] {
        silent(&mut bench, UP, &up(dst), DropReason::Ipv4DestinationMartian);
        bench.turn(|config| config.private_destination = PrivateDestination::Forward);
        to_internet(&bench.softwire(&up(dst)));
        bench.turn(|config| config.private_destination = PrivateDestination::Drop);
    }
}

#[test]
fn l4_malformed() {
    //
    let mut bench = Bench::new();
    let ports = [0, 53, 0x04, 0xd0];
    let short = [
        (17, vec![0; 3]),
        (6, [0; 15].to_vec()),
        (136, [0, 7, 0, 0].to_vec()), // UDP-Lite that covers 7 bytes
        (132, vec![]),
    ];
    for (protocol, rest) in short {
        let l4 = [&ports[..], &rest].concat();
        let packet = V4::raw(protocol, REMOTE_IP, "192.0.2.18", &l4).build();
        silent(&mut bench, IN, &packet, DropReason::L4Malformed);
    }
    let packet = V4::raw(17, REMOTE_IP, "192.0.2.18", &ports[..3]).build();
    silent(&mut bench, IN, &packet, DropReason::L4Malformed);
}

#[test]
fn no_l4_port() {
    //
    let mut bench = Bench::new();
    let packet = V4::raw(47, REMOTE_IP, "192.0.2.18", &[0; 8]).build();
    silent(&mut bench, IN, &packet, DropReason::NoL4Port);
    let inner = V4::raw(47, "192.0.2.18", REMOTE_IP, &[0; 8]).build();
    let packet = tunnel(B4, AFTR, &inner).build();
    silent(&mut bench, UP, &packet, DropReason::NoL4Port);
}

#[test]
fn ttl_expired() {
    // R-084 R-085 R-094 R-177
    let mut bench = Bench::new();
    let down = V4::udp(REMOTE, "192.0.2.18:1232").ttl(1).build();
    let out = refused(&mut bench, IN, &down, DropReason::TtlExpired);
    let told = answer_v4(&out, IN, DropReason::TtlExpired);
    assert_eq!((told.kind, told.src), ((11, 0), addr(AFTR_V4)));
    let up = tunnel(B4, AFTR, &good().ttl(1).build()).build();
    let out = refused(&mut bench, UP, &up, DropReason::TtlExpired);
    let told = answer_v4(&out, UP, DropReason::TtlExpired);
    assert_eq!((told.kind, told.src), ((11, 0), addr("192.0.0.1")));
}

#[test]
fn too_big() {
    //
    let mut bench = Bench::with(|config| config.ipv6_mtu = 1280);
    let down = V4::udp(REMOTE, "192.0.2.18:1232").payload(&[0; 1300]).df();
    let out = refused(&mut bench, IN, &down.build(), DropReason::TooBig);
    assert_eq!(answer_v4(&out, IN, DropReason::TooBig).word, 1240);
}

#[test]
fn pool_source_spoofed() {
    //
    let mut bench = Bench::new();
    let packet = V4::udp("192.0.2.20:53", "192.0.2.18:1232").build();
    silent(&mut bench, IN, &packet, DropReason::PoolSourceSpoofed);
    bench.turn(|config| config.pool_source = PoolSource::Forward);
    to_b4(&bench.internet(&packet), AFTR, B4);
}

/// Told 1/5 by default, in silence by knob. R-077 R-078 R-079
fn unbound(b4: &str, aftr: &str, src: &str, reason: DropReason) {
    let mut bench = Bench::new();
    let packet = tunnel(b4, aftr, &V4::udp(src, REMOTE).build()).build();
    let out = refused(&mut bench, UP, &packet, reason);
    let told = answer_v6(&out, reason);
    assert_eq!((told.kind, told.src), ((1, 5), addr6(aftr)));
    bench.turn(|config| config.unbound_source = UnboundSource::Discard);
    silent(&mut bench, UP, &packet, reason);
}

#[test]
fn no_b4() {
    unbound("2001:db8:99::1", AFTR, "192.0.2.18:1232", DropReason::NoB4);
    unbound("2001:db8:99::1", AFTR, "8.8.8.8:1232", DropReason::NoB4);
}

#[test]
fn wrong_ipv4() {
    unbound(B4, AFTR, "192.0.2.21:5200", DropReason::WrongIpv4);
    unbound(B4, AFTR, "203.0.113.9:1232", DropReason::WrongIpv4);
}

#[test]
fn port_out_of_set() {
    for port in [1231, 1236, 1023, 0, 65_535] {
        let src = format!("192.0.2.18:{port}");
        unbound(B4, AFTR, &src, DropReason::PortOutOfSet);
    }
    unbound(B4_NEXT, AFTR, "192.0.2.18:1232", DropReason::PortOutOfSet);
}

#[test]
fn wrong_aftr() {
    unbound(B4, AFTR2, "192.0.2.18:1232", DropReason::WrongAftr);
    unbound(
        OTHER_AFTR_B4,
        AFTR,
        "192.0.2.22:16384",
        DropReason::WrongAftr,
    );
}

#[test]
fn service_address() {
    // R-086 R-087
    let mut bench = Bench::new();
    let service = |src: &str, dst: &str| {
        let inner = V4::udp(&format!("{src}:5351"), &format!("{dst}:5351")).build();
        tunnel(B4, AFTR, &inner).build()
    };
    let pcp = service("192.0.0.2", "192.0.0.1");
    for packet in [
        pcp.clone(),
        service("192.0.0.3", REMOTE_IP),
        service("192.0.2.18", "192.0.0.1"),
    ] {
        silent(&mut bench, UP, &packet, DropReason::ServiceAddress);
    }
    let packet = V4::udp("192.0.0.1:53", "192.0.2.18:1232").build();
    silent(&mut bench, IN, &packet, DropReason::ServiceAddress);
    bench.turn(|config| config.tunnel_service = TunnelService::On);
    let out = bench.softwire(&pcp);
    let (b4, aftr) = (addr6(B4), addr6(AFTR));
    assert_eq!(out.verdict, Verdict::Local(Kind::Tunnelled { b4, aftr }));
    assert_eq!(out.packet, pcp);
    let packet = service("192.0.0.2", REMOTE_IP);
    silent(&mut bench, UP, &packet, DropReason::ServiceAddress);
}

#[test]
fn ecn_congestion() {
    // R-170 R-195
    let mut bench = Bench::new();
    let packet = outer().traffic_class(3).build();
    silent(&mut bench, UP, &packet, DropReason::EcnCongestion);
}

#[test]
fn tunnel_loop() {
    //
    let mut bench = Bench::new();
    for (src, dst) in [(B4_FULL, AFTR), (AFTR, B4_FULL)] {
        let nested = tunnel(src, dst, &good().build()).build();
        let up = V4::raw(41, "192.0.2.20", REMOTE_IP, &nested).build();
        let up = tunnel(B4_FULL, AFTR, &up).build();
        silent(&mut bench, UP, &up, DropReason::TunnelLoop);
        let down = V4::raw(41, REMOTE_IP, "192.0.2.20", &nested).build();
        silent(&mut bench, IN, &down, DropReason::TunnelLoop);
    }
    let nested = tunnel(B4_FULL, "2001:db8:77::1", &good().build()).build();
    let other = V4::raw(41, REMOTE_IP, "192.0.2.20", &nested).build();
    to_b4(&bench.internet(&other), AFTR, B4_FULL);
}

#[test]
fn hairpin_off() {
    //
    let mut bench = Bench::with(|config| config.hairpin = Hairpin::Drop);
    let inner = V4::udp("192.0.2.18:1232", "192.0.2.20:80").build();
    let packet = tunnel(B4, AFTR, &inner).build();
    silent(&mut bench, UP, &packet, DropReason::HairpinOff);
    bench.turn(|config| config.hairpin = Hairpin::ToIpv4Side);
    assert_eq!(to_internet(&bench.softwire(&packet)), one_hop_on(&inner));
    bench.turn(|config| config.hairpin = Hairpin::Local);
    to_b4(&bench.softwire(&packet), AFTR, B4_FULL);
}

#[test]
fn no_binding() {
    // R-091 R-092 R-177
    let mut bench = Bench::new();
    let packet = V4::udp(REMOTE, "192.0.2.21:7000").build();
    let out = refused(&mut bench, IN, &packet, DropReason::NoBinding);
    let told = answer_v4(&out, IN, DropReason::NoBinding);
    assert_eq!((told.kind, told.src), ((3, 1), addr(AFTR_V4)));
    bench.turn(|config| config.unbound_destination = UnboundDestination::Discard);
    silent(&mut bench, IN, &packet, DropReason::NoBinding);
}

#[test]
fn table_busy_does_not_happen_with_one_writer() {
    let mut bench = Bench::new();
    let down = V4::udp(REMOTE, "192.0.2.18:1232").build();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let Bench { writer, worker, .. } = &mut bench;
        let now = lw4o6_wire::Instant::from_secs(1);
        scope.spawn(|| {
            // The neighbor of the line that is read comes and goes.
            let neighbor = (B4_NEXT, "192.0.2.18", 6, 8, 0x35, AFTR);
            for _ in 0..20_000 {
                let _ = writer.remove(addr("192.0.2.18").to_bits(), 0x35);
                common::insert(writer, &neighbor);
                writer.collect();
            }
            done.store(true, Ordering::Relaxed);
        });
        while !done.load(Ordering::Relaxed) {
            let mut storage = [0; HEADROOM + 256];
            let mut frame = FrameBuf::with_headroom(&mut storage, HEADROOM, &down).unwrap();
            let verdict = worker.process(now, IN, &mut frame);
            assert_eq!(verdict, Verdict::Forward(UP));
        }
    });
    assert_eq!(bench.drops(DropReason::TableBusy), 0);
}

#[test]
fn table_busy_where_a_line_stays_under_change() {
    // as if the writer had stopped for good between two stores.
    let mut bench = Bench::new();
    let down = V4::udp(REMOTE, "192.0.2.18:1232").build();
    let first = bench.first_word("192.0.2.18", 0x34, 6, 8);
    first.fetch_xor(1 << 32, Ordering::Relaxed);
    silent(&mut bench, IN, &down, DropReason::TableBusy);
    silent(&mut bench, UP, &outer().build(), DropReason::TableBusy);
    first.fetch_xor(1 << 32, Ordering::Relaxed);
    assert_eq!(bench.internet(&down).verdict, Verdict::Forward(UP));
}

#[test]
fn internal_where_a_line_names_no_aftr_address() {
    // no writer does this; the memory of the table is the caller's, who may.
    let mut bench = Bench::new();
    let down = V4::udp(REMOTE, "192.0.2.18:1232").build();
    let first = bench.first_word("192.0.2.18", 0x34, 6, 8);
    first.fetch_or(0xffff << 16, Ordering::Relaxed);
    silent(&mut bench, IN, &down, DropReason::Internal);
}

#[test]
fn no_headroom() {
    let mut bench = Bench::new();
    let packet = V4::udp(REMOTE, "192.0.2.18:1232").build();
    let mut storage = vec![0; 8 + packet.len()];
    let mut frame = FrameBuf::with_headroom(&mut storage, 8, &packet).unwrap();
    let verdict = bench.worker.process(bench.now, IN, &mut frame);
    assert_eq!(verdict, Verdict::Drop(DropReason::NoHeadroom));
    assert_eq!(frame.packet(), packet);
    assert_eq!(bench.drops(DropReason::NoHeadroom), 1);
    assert_eq!(bench.worker.counters().dropped(), 1);
    books_close(&bench);
}

#[test]
fn output_full() {
    let mut bench = Bench::with(|config| config.ipv6_mtu = 1280);
    let packet = V4::udp(REMOTE, "192.0.2.18:1232")
        .payload(&[0; 1400])
        .build();
    let mut forwarded = 0;
    loop {
        let mut storage = vec![0; HEADROOM + 1600];
        let mut frame = FrameBuf::with_headroom(&mut storage, HEADROOM, &packet).unwrap();
        let verdict = bench.worker.process(bench.now, IN, &mut frame);
        if verdict != Verdict::Forward(UP) {
            assert_eq!(verdict, Verdict::Drop(DropReason::OutputFull));
            assert_eq!(frame.packet(), packet);
            break;
        }
        forwarded += 1;
        assert!(forwarded < 100_000, "memory is bounded");
    }
    assert_eq!(bench.drops(DropReason::OutputFull), 1);
    assert_eq!(bench.worker.counters().dropped(), 1);
    books_close(&bench);
    assert_eq!(bench.drain().len(), forwarded);
    assert_eq!(bench.internet(&packet).verdict, Verdict::Forward(UP));
}
