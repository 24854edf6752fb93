//! Ports of several workers on the same interfaces: one resolves next hops, the others are told.

mod common;
mod wired;

use core::time::Duration;

use lw4o6_aftr::Side;
use lw4o6_aftr::port::{NextHop, PortConfig, PortVerdict, ProxyArp};
use lw4o6_wire::EtherType;
use lw4o6_wire::arp::ArpFields;
use lw4o6_wire::ethernet::MacAddr;
use testkit::packet::{V4, tunnel};
use wired::*;

fn follower() -> PortConfig {
    let mut config = ports();
    config.internet.next_hop = NextHop::Shared;
    config.softwire.next_hop = NextHop::Shared;
    config
}

/// A datagram to a B4, numbered.
fn down(n: u8) -> Vec<u8> {
    let packet = V4::udp("198.51.100.1:53", "192.0.2.18:1232");
    in4(&packet.payload(&[n]).build())
}

/// A datagram from the same B4.
fn up(n: u8) -> Vec<u8> {
    let packet = V4::udp("192.0.2.18:1232", "198.51.100.1:53");
    in6(&tunnel(common::B4, common::AFTR, &packet.payload(&[n]).build()).build())
}

/// Last byte of a frame that leaves towards `side` by the address it is told.
fn number(side: Side, mac: MacAddr, frame: &[u8]) -> Option<u8> {
    let (own, ethertype) = match side {
        Side::Softwire => (OWN6, EtherType::IPV6),
        Side::Internet => (OWN4, EtherType::IPV4),
    };
    let packet = payload(frame, mac, own, ethertype, None);
    packet.last().copied()
}

#[test]
fn a_follower_asks_for_nothing_and_raises_no_alarm() {
    let mut wired = Wired::new(follower());
    for _ in 0..100 {
        assert!(wired.pass(1000).is_empty());
        let _ = wired.feed(NIC4, &down(1));
        let _ = wired.feed(NIC6, &up(1));
        assert_eq!(wired.port.poll_timeout(), None);
    }
    for side in Side::ALL {
        assert_eq!(wired.port.next_hop(side), None);
        assert!(!wired.port.next_hop_alarm(side));
    }
}

#[test]
fn what_waited_leaves_in_order_when_a_follower_is_told() {
    let mut wired = Wired::new(follower());
    for n in 0..20 {
        assert_eq!(wired.feed(NIC4, &down(n)).verdict, PortVerdict::Consumed);
        assert_eq!(wired.feed(NIC6, &up(n)).verdict, PortVerdict::Consumed);
    }
    for (side, nic, mac) in [(Side::Softwire, NIC6, HOP6), (Side::Internet, NIC4, HOP4)] {
        wired.port.set_next_hop(side, Some(mac));
        assert_eq!(wired.port.next_hop(side), Some(mac));
        let sent = wired.drain();
        assert_eq!(sent.len(), 16, "the oldest four gave way");
        for ((output, frame), n) in sent.iter().zip(4..) {
            assert_eq!(output.verdict, PortVerdict::Transmit(nic));
            assert_eq!(number(side, mac, frame), Some(n));
        }
    }
    let seen = wired.feed(NIC4, &down(9));
    assert_eq!(number(Side::Softwire, HOP6, seen.sent().1), Some(9));
    let seen = wired.feed(NIC6, &up(8));
    assert_eq!(number(Side::Internet, HOP4, seen.sent().1), Some(8));
}

#[test]
fn a_follower_waits_again_when_the_next_hop_is_lost_or_moves() {
    let mut wired = Wired::new(follower());
    wired.port.set_next_hop(Side::Softwire, Some(HOP6));
    let seen = wired.feed(NIC4, &down(1));
    assert_eq!(number(Side::Softwire, HOP6, seen.sent().1), Some(1));
    wired.port.set_next_hop(Side::Softwire, None);
    assert_eq!(wired.feed(NIC4, &down(2)).verdict, PortVerdict::Consumed);
    assert!(wired.drain().is_empty());
    wired.port.set_next_hop(Side::Softwire, Some(OTHER));
    let sent = wired.drain();
    assert_eq!(sent.len(), 1);
    assert_eq!(number(Side::Softwire, OTHER, &sent[0].1), Some(2));
}

#[test]
fn a_follower_answers_what_reaches_it_and_learns_nothing_from_it() {
    let mut config = follower();
    config.internet.proxy_arp = ProxyArp::Pools;
    let mut wired = Wired::new(config);
    let request = ArpFields::request(HOP4, HOP4_IP, v4("192.0.2.18"));
    let seen = wired.feed(NIC4, &arp(MacAddr::BROADCAST, request));
    assert_eq!(seen.verdict, PortVerdict::Consumed);
    let reply = payload(seen.sent().1, HOP4, OWN4, EtherType::ARP, None);
    assert_eq!(read_arp(&reply).sender_ip, v4("192.0.2.18"));
    let packet = solicitation(HOP6_IP, IP6, IP6, Some(HOP6));
    let seen = wired.feed(NIC6, &frame(OWN6, HOP6, EtherType::IPV6, &packet));
    assert_eq!(seen.verdict, PortVerdict::Consumed);
    for side in Side::ALL {
        assert_eq!(wired.port.next_hop(side), None);
    }
}

#[test]
fn only_a_shared_next_hop_can_be_set() {
    for config in [ports(), resolved()] {
        let mut wired = Wired::new(config);
        let before = Side::ALL.map(|side| wired.port.next_hop(side));
        for side in Side::ALL {
            wired.port.set_next_hop(side, Some(OTHER));
        }
        assert_eq!(Side::ALL.map(|side| wired.port.next_hop(side)), before);
    }
}

#[test]
fn a_leader_that_sends_nothing_probes_for_followers_that_do() {
    // RFC 4861 §7.3.3: stale, five seconds of delay, then a unicast probe each second.
    let mut wired = Wired::new(ports());
    let reply = ArpFields::request(OWN4, IP4, HOP4_IP).reply_from(HOP4);
    let _ = wired.feed(NIC4, &frame(OWN4, HOP4, EtherType::ARP, &reply.to_bytes()));
    let _ = wired.pass(0); // asks for the other one
    let known = |wired: &Wired| wired.port.next_hop(Side::Internet) == Some(HOP4);
    let asked = |sent: Vec<(_, Vec<u8>)>| {
        let arp = |(_, frame): &&(_, Vec<u8>)| read(frame).ethertype == EtherType::ARP;
        sent.iter().filter(arp).count()
    };
    assert!(known(&wired));
    assert_eq!(asked(wired.pass(120_000)), 0, "stale, and nobody sends");
    for _ in 0..50 {
        assert_eq!(asked(wired.pass(1000)), 0);
    }
    wired.port.keep_next_hops(wired.now);
    let sent: usize = (0..5).map(|_| asked(wired.pass(1000))).sum();
    assert_eq!(sent, 1, "the first probe");
    wired
        .port
        .keep_next_hops(wired.now + Duration::from_millis(1));
    let sent: usize = (0..3).map(|_| asked(wired.pass(1000))).sum();
    assert_eq!(sent, 3);
    assert!(!known(&wired), "three probes in vain");
}
