//! What a trace says of a packet. That it names the right check for each drop reason is asserted
//! wherever a test feeds a packet (`common::traced`); here is what those do not see.
#![expect(clippy::unwrap_used, reason = "a panic is a failed test")]

mod common;
mod wired;

use common::traffic::{scale, traffic};
use common::{AFTR, B4, B4_FULL, Bench, REMOTE, traced};
use lw4o6_aftr::port::{EthernetPort, PortVerdict};
use lw4o6_aftr::trace::{Check, Only, Trace, TraceFilter, Way};
use lw4o6_aftr::{DropReason, Side, Verdict};
use lw4o6_wire::ethernet::MacAddr;
use lw4o6_wire::{EtherType, FrameBuf, HEADROOM, LinkCast};
use testkit::packet::{V4, tunnel};
use wired::*;

fn up(src: &str) -> Vec<u8> {
    tunnel(B4, AFTR, &V4::udp(src, "198.51.100.1:53").build()).build()
}

fn down(dst: &str) -> Vec<u8> {
    V4::udp("198.51.100.1:53", dst).build()
}

/// Feeds a packet and leaves the records where they are.
fn process(bench: &mut Bench, side: Side, packet: &[u8]) -> Verdict {
    let mut storage = vec![0; HEADROOM + packet.len() + 64];
    let mut frame = FrameBuf::with_headroom(&mut storage, HEADROOM, packet).unwrap();
    bench.worker.process(bench.now, side, &mut frame)
}

/// The record of a packet.
fn record(bench: &mut Bench, side: Side, packet: &[u8]) -> Trace {
    bench.worker.set_trace(Some(TraceFilter::default()));
    let _ = process(bench, side, packet);
    let mut records = bench.traces();
    assert_eq!(records.len(), 1);
    records.remove(0)
}

#[test]
fn every_drop_reason_is_given_by_a_check_with_a_name_and_a_reference() {
    for reason in DropReason::ALL {
        assert!(traced::gives(Check::of(*reason), *reason), "{reason}");
    }
    let mut names: Vec<&str> = Check::ALL.iter().map(|check| check.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), Check::ALL.len());
    for check in Check::ALL {
        assert!(!check.reference().is_empty());
        let kebab = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        assert!(check.as_str().chars().all(kebab), "{check}");
    }
}

#[test]
fn a_record_tells_a_person_everything_in_one_line() {
    let mut bench = Bench::new();
    let text = record(&mut bench, Side::Softwire, &up("192.0.2.18:1232")).to_string();
    assert_eq!(
        text,
        "1000.000000 softwire in 68 bytes 2001:db8:12:3400:0:c000:212:34 > 2001:db8:ffff::1 \
         192.0.2.18:1232 > 198.51.100.1:53 UDP ttl 64; \
         binding 2001:db8:12:3400:0:c000:212:34 192.0.2.18 a=6 k=8 psid=52 at 2001:db8:ffff::1; \
         passed ipv6-header ipv6-source extension-headers next-header subscriber-prefix \
         ipv4-header ipv4-checksum ipv4-source ipv4-destination service-address port-key binding \
         tunnel-loop ecn ttl size headroom; to the Internet"
    );
    let text = record(&mut bench, Side::Softwire, &up("192.0.2.18:9")).to_string();
    let end =
        "service-address port-key; failed binding (R-076): port-out-of-set; answered ICMPv6 1/5";
    assert!(text.ends_with(end), "{text}");
    let text = record(&mut bench, Side::Internet, &down("192.0.2.18:9")).to_string();
    let end = "pool-source port-key; failed binding (R-076): no-binding; answered ICMPv4 3/1";
    assert!(text.ends_with(end), "{text}");
    let echo = V4::echo(8, REMOTE, "192.0.2.18", 1232).build();
    let text = record(&mut bench, Side::Internet, &echo).to_string();
    assert!(text.contains("ICMP 8/0 id 1232 ttl 64; binding"), "{text}");
    assert!(text.ends_with("; to the softwire side"), "{text}");
    let other = tunnel(B4, "2001:db8:77::1", &[]).build();
    let text = record(&mut bench, Side::Softwire, &other).to_string();
    assert!(text.ends_with("; passed ipv6-header; not ours"), "{text}");
}

fn filter(ipv4: Option<&str>, port: Option<u16>, b4: Option<&str>) -> TraceFilter {
    TraceFilter {
        ipv4: ipv4.map(|text| text.parse().unwrap()),
        port,
        b4: b4.map(|text| text.parse().unwrap()),
        only: Only::Everything,
    }
}

const DROPS: TraceFilter = TraceFilter {
    ipv4: None,
    port: None,
    b4: None,
    only: Only::Drops,
};

#[test]
fn a_filter_lets_only_what_it_names_through() {
    let mut bench = Bench::new();
    let packets = [
        (Side::Softwire, up("192.0.2.18:1232")),
        (Side::Softwire, up("192.0.2.18:9")), // dropped
        (Side::Internet, down("192.0.2.18:1232")),
        (Side::Internet, down("192.0.2.20:1232")),
        (
            Side::Internet,
            V4::echo(0, REMOTE, "192.0.2.20", 77).build(),
        ),
        (Side::Softwire, up("192.0.2.18:1232")[..30].to_vec()), // cut off
    ];
    let cases: [(TraceFilter, &[usize]); 9] = [
        (filter(None, None, None), &[0, 1, 2, 3, 4, 5]),
        (filter(Some("192.0.2.18"), None, None), &[0, 1, 2]),
        (filter(Some(REMOTE), None, None), &[0, 1, 2, 3, 4]),
        (filter(None, Some(1232), None), &[0, 2, 3]),
        (filter(None, Some(77), None), &[4]),
        (filter(None, None, Some(B4)), &[0, 1, 2]),
        (filter(None, None, Some(B4_FULL)), &[3, 4]),
        (filter(Some("192.0.2.18"), Some(9), Some(B4)), &[1]),
        (DROPS, &[1, 5]),
    ];
    for (filter, expect) in cases {
        bench.worker.set_trace(Some(filter));
        let seen: Vec<usize> = (0..packets.len())
            .filter(|&at| {
                let _ = process(&mut bench, packets[at].0, &packets[at].1);
                bench.worker.poll_trace().is_some()
            })
            .collect();
        assert_eq!(seen, expect, "{filter:?}");
    }
    bench.worker.set_trace(None);
    for (side, packet) in &packets {
        let _ = process(&mut bench, *side, packet);
    }
    assert!(bench.traces().is_empty());
}

#[test]
fn records_that_nobody_takes_are_counted_and_not_kept() {
    let mut bench = Bench::new();
    bench.worker.set_trace(Some(TraceFilter::default()));
    for _ in 0..1100 {
        let _ = process(&mut bench, Side::Internet, &down("192.0.2.18:1232"));
    }
    assert_eq!(bench.worker.traces_lost(), 76);
    assert_eq!(bench.traces().len(), 1024);
    let _ = process(&mut bench, Side::Internet, &down("192.0.2.18:1232"));
    assert_eq!((bench.traces().len(), bench.worker.traces_lost()), (1, 76));
}

#[test]
fn a_frame_stands_before_the_packet_that_it_completes() {
    let mut bench = Bench::new();
    let inner = V4::udp("192.0.2.18:1232", "198.51.100.1:53").payload(&[0; 1400]);
    let pieces = tunnel(B4, AFTR, &inner.build()).fragments(1280, 7);
    bench.worker.set_trace(Some(TraceFilter::default()));
    for piece in &pieces {
        assert_eq!(
            process(&mut bench, Side::Softwire, piece),
            Verdict::Consumed
        );
    }
    let records = bench.traces();
    let ways: Vec<Way> = records.iter().map(|record| record.way).collect();
    assert_eq!(ways, [Way::In, Way::In, Way::Late]);
    assert_eq!(records[2].verdict, Verdict::Forward(Side::Internet));
    assert_eq!(records[2].inner.unwrap().ports.unwrap().src, 1232);
    // Of the first piece the inner header can be read; it is kept all the same.
    assert_eq!(
        records[0].inner.unwrap().src,
        "192.0.2.18".parse::<std::net::Ipv4Addr>().unwrap()
    );
    assert_eq!(records[1].inner, None);
    assert_eq!(records[1].passed.last(), Some(&Check::TunnelReassembly));
    // Later fragments go by what their first one said, and the binding is known from that.
    let packet = V4::udp("198.51.100.1:53", "192.0.2.18:1232").payload(&[0; 1000]);
    let pieces = packet.ident(5).fragments(600);
    let _ = process(&mut bench, Side::Internet, &pieces[1]);
    let _ = process(&mut bench, Side::Internet, &pieces[0]);
    let records = bench.traces();
    assert_eq!(records[0].verdict, Verdict::Consumed);
    assert_eq!(records[0].passed.last(), Some(&Check::Fragments));
    assert_eq!((records[1].way, records[2].way), (Way::In, Way::Late));
    for record in &records[1..] {
        assert_eq!(
            record.binding.unwrap().b4,
            B4.parse::<std::net::Ipv6Addr>().unwrap()
        );
        assert!(record.passed.contains(&Check::Binding));
    }
}

#[test]
fn datagrams_that_stay_incomplete_are_traced_when_they_are_given_up() {
    let mut bench = Bench::new();
    let inner = V4::udp("192.0.2.18:1232", "198.51.100.1:53").payload(&[0; 1400]);
    let whole = inner.build();
    let _ = bench.softwire(&tunnel(B4, AFTR, &whole).fragments(1280, 7)[0]);
    let _ = bench.softwire(&tunnel(B4, AFTR, &inner.ident(9).fragments(800)[1]).build());
    bench.worker.set_trace(Some(TraceFilter {
        b4: Some(B4.parse().unwrap()),
        ..TraceFilter::default()
    }));
    bench.now += core::time::Duration::from_secs(100);
    bench.worker.handle_timeout(bench.now);
    let records = bench.traces();
    let seen: Vec<_> = records
        .iter()
        .map(|r| (r.way, r.verdict, r.failed))
        .collect();
    let held = |reason, check| (Way::Held, Verdict::Drop(reason), Some(check));
    assert_eq!(
        seen,
        [
            held(DropReason::FragmentNoFirst, Check::Fragments),
            held(DropReason::Ipv6ReassemblyTimeout, Check::TunnelReassembly),
        ]
    );
    records.iter().for_each(traced::consistent);
}

#[test]
fn what_the_tests_of_drops_feed_by_hand_is_traced_too() {
    let mut bench = Bench::with(|config| config.ipv6_mtu = 1280);
    bench.worker.set_trace(Some(TraceFilter::default()));
    let packet = down("192.0.2.18:1232");
    // No headroom.
    let mut storage = vec![0; 8 + packet.len()];
    let mut frame = FrameBuf::with_headroom(&mut storage, 8, &packet).unwrap();
    let _ = bench.worker.process(bench.now, Side::Internet, &mut frame);
    // To everybody on the link.
    let mut storage = vec![0; HEADROOM + packet.len()];
    let mut frame = FrameBuf::with_headroom(&mut storage, HEADROOM, &packet).unwrap();
    frame.set_link_cast(LinkCast::Group);
    let _ = bench.worker.process(bench.now, Side::Internet, &mut frame);
    let records = bench.traces();
    records.iter().for_each(traced::consistent);
    let failed: Vec<_> = records.iter().map(|r| r.failed).collect();
    assert_eq!(failed, [Some(Check::Headroom), Some(Check::LinkGroup)]);
    // No memory left for output.
    let big = V4::udp("198.51.100.1:53", "192.0.2.18:1232")
        .payload(&[0; 1400])
        .build();
    while process(&mut bench, Side::Internet, &big) != Verdict::Drop(DropReason::OutputFull) {
        let _ = bench.traces();
    }
    let records = bench.traces();
    assert_eq!(records[0].failed, Some(Check::OutputMemory));
    traced::consistent(&records[0]);
}

#[test]
fn tracing_changes_nothing_and_is_consistent_whatever_comes() {
    for seed in 1..=3 * scale() {
        let mut traced = Bench::new();
        let mut plain = Bench::new();
        for (side, packets) in traffic(seed, 300, 5) {
            for packet in packets {
                let out = traced.feed(side, &packet);
                let mut storage = vec![0; HEADROOM + packet.len() + 64];
                let mut frame = FrameBuf::with_headroom(&mut storage, HEADROOM, &packet).unwrap();
                let verdict = plain.worker.process(plain.now, side, &mut frame);
                assert_eq!(
                    (out.verdict, out.packet.as_slice()),
                    (verdict, frame.packet())
                );
                assert_eq!(out.outputs, plain.drain());
            }
            let made = traced.pass(400);
            plain.now = traced.now;
            plain.worker.handle_timeout(plain.now);
            assert_eq!(made, plain.drain());
        }
        assert_eq!(traced.worker.counters(), plain.worker.counters());
    }
}

/// The records of a port.
fn traces(port: &mut EthernetPort) -> Vec<Trace> {
    let records: Vec<Trace> = std::iter::from_fn(|| port.poll_trace()).collect();
    records.iter().for_each(traced::consistent);
    records
}

const LINK: [Check; 4] = [
    Check::EthernetHeader,
    Check::Vlan,
    Check::EtherType,
    Check::Station,
];

#[test]
fn a_port_traces_what_it_drops_itself() {
    let mut wired = Wired::new(resolved());
    wired.port.set_trace(Some(TraceFilter::default()));
    let packet = down("192.0.2.18:1232");
    let not_ours = frame(OTHER, HOP4, EtherType::IPV4, &packet);
    let lldp = frame(OWN4, HOP4, EtherType(0x88cc), &[0; 46]);
    // From a hop limit that a router has touched.
    let mut forged = solicitation("fe80::99", IP6, IP6, Some(OTHER));
    forged[7] = 64;
    let forged = frame(OWN6, OTHER, EtherType::IPV6, &forged);
    let cases = [
        (NIC4, vec![1, 2, 3], DropReason::L2Malformed, 0),
        (NIC4, tagged(9, &in4(&packet)), DropReason::L2Vlan, 1),
        (NIC4, lldp, DropReason::L2WrongFamily, 2),
        (NIC4, not_ours, DropReason::L2NotForUs, 3),
        (NIC6, forged, DropReason::NdpInvalid, 4),
    ];
    for (nic, frame, reason, passed) in cases {
        wired.refused(nic, &frame, reason);
        let records = traces(&mut wired.port);
        assert_eq!(records.len(), 1);
        assert_eq!(records[0].verdict, Verdict::Drop(reason));
        assert_eq!(records[0].passed, LINK[..passed]);
    }
    let seen = wired.feed(NIC4, &in4(&packet));
    assert_eq!(seen.verdict, PortVerdict::Transmit(NIC6));
    let records = traces(&mut wired.port);
    assert_eq!(records[0].passed[..4], LINK);
    assert_eq!(records[0].passed[4], Check::Ipv4Header);
}

#[test]
fn a_port_traces_neighbors_and_those_that_wait_for_one_in_vain() {
    let mut config = ports();
    config.waiting = 1;
    let mut wired = Wired::new(config.clone());
    let ipv4 = Some(v4("203.0.113.77"));
    wired.port.set_trace(Some(TraceFilter {
        ipv4,
        ..TraceFilter::default()
    }));
    let request = lw4o6_wire::arp::ArpFields::request(OTHER, v4("203.0.113.77"), IP4);
    let _ = wired.feed(NIC4, &arp(MacAddr::BROADCAST, request));
    let records = traces(&mut wired.port);
    assert_eq!((records.len(), records[0].verdict), (1, Verdict::Consumed));
    // The line is full: the oldest gives way; with no line at all, the packet itself.
    let reason = DropReason::NeighborUnresolved;
    wired.port.set_trace(Some(DROPS));
    let _ = wired.feed(NIC4, &in4(&down("192.0.2.18:1232")));
    assert!(traces(&mut wired.port).is_empty());
    let _ = wired.feed(NIC4, &in4(&down("192.0.2.18:1233")));
    let records = traces(&mut wired.port);
    assert_eq!(records.len(), 1);
    let Trace {
        way,
        side,
        verdict,
        failed,
        inner,
        ..
    } = &records[0];
    assert_eq!((*way, *side), (Way::Out, Side::Softwire));
    assert_eq!(
        (*verdict, *failed),
        (Verdict::Drop(reason), Some(Check::NextHop))
    );
    assert_eq!(inner.unwrap().ports.unwrap().dst, 1232);
    config.waiting = 0;
    let mut wired = Wired::new(config);
    wired.port.set_trace(Some(DROPS));
    let seen = wired.feed(NIC4, &in4(&down("192.0.2.18:1232")));
    assert_eq!(seen.verdict, PortVerdict::Drop(reason));
    assert_eq!(traces(&mut wired.port).len(), 1);
}

#[test]
fn a_port_without_memory_or_headroom_says_so() {
    let mut wired = Wired::with(resolved(), |config| config.ipv6_mtu = 1280);
    wired.port.set_trace(Some(DROPS));
    // Enough for the tunnel, not for the Ethernet header in front of it.
    let frame = in4(&down("192.0.2.18:1232"));
    let mut storage = vec![0; 36 + frame.len()];
    let mut buf = FrameBuf::with_headroom(&mut storage, 36, &frame).unwrap();
    let verdict = wired.port.process(wired.now, NIC4, &mut buf);
    assert_eq!(verdict, PortVerdict::Drop(DropReason::NoHeadroom));
    let records = traces(&mut wired.port);
    assert_eq!(records.len(), 1);
    assert_eq!(
        (records[0].failed, records[0].way),
        (Some(Check::Headroom), Way::Out)
    );
    let big = V4::udp("198.51.100.1:53", "192.0.2.18:1232")
        .payload(&[0; 1400])
        .build();
    let big = in4(&big);
    loop {
        let mut storage = vec![0; HEADROOM + 1600];
        let mut frame = FrameBuf::with_headroom(&mut storage, HEADROOM, &big).unwrap();
        if let PortVerdict::Drop(reason) = wired.port.process(wired.now, NIC4, &mut frame) {
            assert_eq!(reason, DropReason::OutputFull);
            break;
        }
    }
    let records = traces(&mut wired.port);
    assert_eq!(records.len(), 1);
    assert_eq!(
        (records[0].failed, records[0].way),
        (Some(Check::OutputMemory), Way::In)
    );
}
