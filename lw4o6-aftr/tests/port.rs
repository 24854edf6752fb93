//! Frames through the Ethernet port: headers, tags, filters, order.

mod common;
mod named;
mod wired;

use std::net::Ipv4Addr;

use common::{AFTR, B4, REMOTE};
use lw4o6_aftr::port::{Accept, Nic, PortConfig, PortVerdict};
use lw4o6_aftr::{Counter, DropReason, Kind, Side};
use lw4o6_wire::arp::ArpFields;
use lw4o6_wire::ethernet::MacAddr;
use lw4o6_wire::{EtherType, FrameBuf, HEADROOM};
use named::{one_hop_on, open, told_v4, told_v6};
use testkit::packet::{V4, V6, tunnel};
use wired::*;

const OWN: &str = "192.0.2.18:1232";
const PEER: &str = "198.51.100.1:53";

fn datagram() -> Vec<u8> {
    V4::udp(PEER, OWN).payload(b"down").build()
}

fn from_b4() -> (Vec<u8>, Vec<u8>) {
    let inner = V4::udp(OWN, PEER).payload(b"up").build();
    let packet = tunnel(B4, AFTR, &inner).build();
    (packet, inner)
}

/// A datagram each way, over links as configured; `tags` of what comes in and goes out.
fn both_ways(config: PortConfig, nic4: Nic, nic6: Nic, vlan4: Option<u16>, vlan6: Option<u16>) {
    let mut wired = Wired::new(config);
    let tag = |vlan: Option<u16>, frame: Vec<u8>| match vlan {
        Some(vid) => tagged(vid | 0x6000, &frame), // a priority does not matter
        None => frame,
    };
    let down = datagram();
    let seen = wired.feed(nic4, &tag(vlan4, in4(&down)));
    assert_eq!(seen.verdict, PortVerdict::Transmit(nic6));
    let packet = payload(&seen.frame, HOP6, OWN6, EtherType::IPV6, vlan6);
    let (src, dst, inner) = open(&packet);
    assert_eq!((src, dst), (v6(AFTR), v6(B4)));
    assert_eq!(inner, one_hop_on(&down));
    let (up, inner) = from_b4();
    let seen = wired.feed(nic6, &tag(vlan6, in6(&up)));
    assert_eq!(seen.verdict, PortVerdict::Transmit(nic4));
    let packet = payload(&seen.frame, HOP4, OWN4, EtherType::IPV4, vlan4);
    assert_eq!(packet, one_hop_on(&inner));
    let counters = wired.port.counters();
    assert_eq!((counters.rx_frames, counters.tx_frames), ([1, 1], [1, 1]));
}

#[test]
fn two_interfaces_forward_both_ways() {
    both_ways(resolved(), NIC4, NIC6, None, None);
}

#[test]
fn tags_are_taken_off_and_put_on_each_side() {
    let mut config = resolved();
    config.internet.link.vlan = Some(164);
    config.softwire.link.vlan = Some(125);
    both_ways(config, NIC4, NIC6, Some(164), Some(125));
    let mut config = resolved();
    config.softwire.link.vlan = Some(4094);
    both_ways(config, NIC4, NIC6, None, Some(4094));
}

#[test]
fn one_interface_on_a_stick_is_told_apart_by_tags() {
    let mut config = resolved();
    config.softwire.link.nic = NIC4;
    config.internet.link.vlan = Some(164);
    config.softwire.link.vlan = Some(125);
    both_ways(config.clone(), NIC4, NIC4, Some(164), Some(125));
    config.internet.link.vlan = None;
    both_ways(config, NIC4, NIC4, None, Some(125));
}

#[test]
fn one_interface_on_a_stick_without_tags_is_told_apart_by_type() {
    let mut config = resolved();
    config.softwire.link.nic = NIC4;
    both_ways(config, NIC4, NIC4, None, None);
}

#[test]
fn l2_vlan() {
    let mut config = resolved();
    config.internet.link.vlan = Some(164);
    let mut wired = Wired::new(config);
    let plain = in4(&datagram());
    wired.refused(NIC4, &plain, DropReason::L2Vlan);
    wired.refused(NIC4, &tagged(125, &plain), DropReason::L2Vlan);
    wired.refused(NIC6, &tagged(1, &in6(&from_b4().0)), DropReason::L2Vlan);
    // No side is on this interface at all.
    wired.refused(Nic(9), &plain, DropReason::L2Vlan);
    // A priority tag is no VLAN.
    let seen = wired.feed(NIC6, &tagged(0xe000, &in6(&from_b4().0)));
    assert_eq!(seen.verdict, PortVerdict::Transmit(NIC4));
}

#[test]
fn l2_wrong_family() {
    let mut wired = Wired::new(resolved());
    let v6_on_v4 = frame(OWN4, HOP4, EtherType::IPV6, &from_b4().0);
    wired.refused(NIC4, &v6_on_v4, DropReason::L2WrongFamily);
    let v4_on_v6 = frame(OWN6, HOP6, EtherType::IPV4, &datagram());
    wired.refused(NIC6, &v4_on_v6, DropReason::L2WrongFamily);
    let arp_on_v6 = arp(OWN6, ArpFields::request(OTHER, HOP4_IP, IP4));
    wired.refused(NIC6, &arp_on_v6, DropReason::L2WrongFamily);
    let lldp = frame(OWN4, HOP4, EtherType(0x88cc), &[0; 46]);
    wired.refused(NIC4, &lldp, DropReason::L2WrongFamily);
}

#[test]
fn l2_malformed() {
    let mut wired = Wired::new(resolved());
    let good = in4(&datagram());
    for len in [0, 1, 13] {
        wired.refused(NIC4, &good[..len], DropReason::L2Malformed);
    }
    wired.refused(NIC4, &tagged(0, &good)[..17], DropReason::L2Malformed);
    let request = arp(MacAddr::BROADCAST, ArpFields::request(OTHER, HOP4_IP, IP4));
    wired.refused(NIC4, &request[..14 + 27], DropReason::L2Malformed);
    assert_eq!(wired.port.counters().in_arp_request, 0);
}

#[test]
fn l2_not_for_us() {
    let mut config = resolved();
    let mut wired = Wired::new(config.clone());
    let other = frame(OTHER, HOP4, EtherType::IPV4, &datagram());
    wired.refused(NIC4, &other, DropReason::L2NotForUs);
    let request = arp(OTHER, ArpFields::request(OTHER, HOP4_IP, IP4));
    wired.refused(NIC4, &request, DropReason::L2NotForUs);
    let other6 = frame(OWN4, HOP6, EtherType::IPV6, &from_b4().0);
    wired.refused(NIC6, &other6, DropReason::L2NotForUs);
    config.internet.link.accept = Accept::Any;
    let mut wired = Wired::new(config);
    let seen = wired.feed(NIC4, &other);
    assert_eq!(seen.verdict, PortVerdict::Transmit(NIC6));
}

#[test]
fn local_frames_are_untouched_header_and_all() {
    let mut config = resolved();
    config.softwire.link.vlan = Some(125);
    let mut wired = Wired::new(config);
    let native = V6::raw(6, "2001:db8:1::2", "2001:db8:77::1", &[0; 20]).build();
    let pcp = V6::raw(17, B4, AFTR, &[0; 24]).build();
    for (packet, kind) in [(native, Kind::Foreign), (pcp, Kind::Own)] {
        let mut frame = tagged(125 | 0xa000, &in6(&packet));
        frame.extend([0xee; 4]); // padding, and whatever else came with it
        let seen = wired.feed(NIC6, &frame);
        assert_eq!(seen.verdict, PortVerdict::Local(Side::Softwire, kind));
        assert_eq!(seen.frame, frame);
    }
    let foreign = in4(&V4::udp(PEER, "203.0.113.200:9").build());
    let own = in4(&V4::udp(PEER, "203.0.113.1:9").build());
    for (frame, kind) in [(foreign, Kind::Foreign), (own, Kind::Own)] {
        let seen = wired.feed(NIC4, &frame);
        assert_eq!(seen.verdict, PortVerdict::Local(Side::Internet, kind));
        assert_eq!(seen.frame, frame);
    }
}

#[test]
fn vpp_11_neighbor_messages_for_others_reach_the_stack_in_their_frames() {
    let mut wired = Wired::new(resolved());
    let packet = solicitation("fe80::99", "2001:db8:ffff::99", "2001:db8:ffff::99", None);
    let frame = frame(OWN6, OTHER, EtherType::IPV6, &packet);
    let seen = wired.feed(NIC6, &frame);
    let local = PortVerdict::Local(Side::Softwire, Kind::Foreign);
    assert_eq!((seen.verdict, seen.frame), (local, frame));
}

#[test]
fn a_reassembled_local_packet_comes_as_a_frame() {
    let mut config = resolved();
    config.softwire.link.vlan = Some(125);
    let mut wired = Wired::new(config);
    let packet = V6::raw(17, B4, AFTR, &[9; 100]);
    let mut outputs = Vec::new();
    for fragment in packet.fragments(48, 7) {
        let seen = wired.feed(NIC6, &tagged(125, &in6(&fragment)));
        assert_eq!(seen.verdict, PortVerdict::Consumed);
        outputs.extend(seen.outputs);
    }
    let [(verdict, bytes)] = outputs.as_slice() else {
        panic!("{outputs:?}")
    };
    assert_eq!(*verdict, PortVerdict::Local(Side::Softwire, Kind::Own));
    let whole = payload(bytes, OWN6, HOP6, EtherType::IPV6, Some(125));
    assert_eq!(whole, packet.build());
}

#[test]
fn group_addressed_frames_are_not_forwarded_and_draw_no_error() {
    // R-163 R-175
    let mut wired = Wired::new(resolved());
    let unbound = V4::udp(PEER, "192.0.2.21:7000").build();
    let stranger = tunnel("2001:db8:99::1", AFTR, &V4::udp(OWN, PEER).build()).build();
    let groups = [MacAddr::BROADCAST, MacAddr([0x33, 0x33, 0, 0, 0, 1])];
    for group in groups {
        for packet in [&unbound, &datagram()] {
            let seen = wired.feed(NIC4, &frame(group, HOP4, EtherType::IPV4, packet));
            assert_eq!(seen.verdict, PortVerdict::Drop(DropReason::LinkGroup));
        }
        let seen = wired.feed(NIC6, &frame(group, HOP6, EtherType::IPV6, &stranger));
        assert_eq!(seen.verdict, PortVerdict::Drop(DropReason::NoB4));
    }
    let counters = wired.port.worker().counters();
    assert_eq!(counters.get(Counter::OutIcmpv4ErrorPackets), 0);
    assert_eq!(counters.get(Counter::Icmpv6SuppressedPolicy), 2);
    // The same in frames to us alone is answered, to the next hop.
    let bytes = frame(OWN4, OTHER, EtherType::IPV4, &unbound);
    let seen = wired.feed(NIC4, &bytes);
    let told = payload(&seen.frame, HOP4, OWN4, EtherType::IPV4, None);
    assert_eq!(told_v4(&told).kind, (3, 1));
    let bytes = frame(OWN6, OTHER, EtherType::IPV6, &stranger);
    let seen = wired.feed(NIC6, &bytes);
    let told = payload(&seen.frame, HOP6, OWN6, EtherType::IPV6, None);
    assert_eq!(told_v6(&told).kind, (1, 5));
}

#[test]
fn an_echo_reply_goes_to_the_station_that_asked() {
    // R-111 R-171
    let mut wired = Wired::new(ports());
    let echo = V4::echo(8, "203.0.113.77", "203.0.113.1", 7).build();
    let seen = wired.feed(NIC4, &frame(OWN4, OTHER, EtherType::IPV4, &echo));
    assert_eq!(seen.verdict, PortVerdict::Transmit(NIC4));
    let reply = payload(&seen.frame, OTHER, OWN4, EtherType::IPV4, None);
    assert_eq!(told_v4(&reply).dst, Ipv4Addr::new(203, 0, 113, 77));
    let echo = V6::icmp("2001:db8:ffff::77", AFTR, 128, 0, 7, b"ping").build();
    let seen = wired.feed(NIC6, &frame(OWN6, OTHER, EtherType::IPV6, &echo));
    assert_eq!(seen.verdict, PortVerdict::Transmit(NIC6));
    let reply = payload(&seen.frame, OTHER, OWN6, EtherType::IPV6, None);
    assert_eq!(told_v6(&reply).kind, (129, 0));
}

#[test]
fn t14_ethernet_padding_and_tags_are_no_payload_and_no_part_of_the_mtu() {
    //
    let mut config = resolved();
    config.internet.link.vlan = Some(7);
    let mut wired = Wired::new(config);
    let down = datagram();
    let mut padded = tagged(7, &in4(&down));
    padded.resize(64, 0xee);
    let seen = wired.feed(NIC4, &padded);
    let packet = payload(&seen.frame, HOP6, OWN6, EtherType::IPV6, None);
    assert_eq!(open(&packet).2, one_hop_on(&down));
    // 1500 bytes of packet behind 18 of header fit.
    let full = V4::udp(PEER, OWN).payload(&[0; 1472]).df().build();
    let seen = wired.feed(NIC4, &tagged(7, &in4(&full)));
    assert_eq!(seen.verdict, PortVerdict::Transmit(NIC6));
    assert_eq!(seen.frame.len(), 14 + 1540);
    let counters = wired.port.counters();
    assert_eq!(counters.rx_bytes, [0, 64 + 1518]);
}

#[test]
fn tunnel_fragments_leave_as_frames_in_order() {
    let mut wired = Wired::with(resolved(), |config| config.ipv6_mtu = 1280);
    let big = V4::udp(PEER, OWN).payload(&[3; 1472]).build();
    let seen = wired.feed(NIC4, &in4(&big));
    assert_eq!(seen.verdict, PortVerdict::Transmit(NIC6));
    assert_eq!(seen.frame.len(), 14 + 1280);
    let [(PortVerdict::Transmit(NIC6), second)] = seen.outputs.as_slice() else {
        panic!("{:?}", seen.outputs)
    };
    payload(second, HOP6, OWN6, EtherType::IPV6, None);
    assert_eq!(second.len(), 14 + 316);
}

/// Frames of every kind in one line.
fn mixed(on_a_stick: bool) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    let big = V4::udp(PEER, OWN).payload(&[3; 1472]).build();
    for n in 0..24u8 {
        let down = V4::udp(PEER, OWN).payload(&[n]).build();
        frames.push(in4(&down));
        if n % 3 == 0 {
            let request = ArpFields::request(OTHER, Ipv4Addr::new(203, 0, 113, n), IP4);
            frames.push(arp(MacAddr::BROADCAST, request));
        }
        if n % 4 == 1 {
            frames.push(in4(&big));
            frames.push(in4(&V4::udp(PEER, "192.0.2.21:7000").build()));
        }
        if n == 9 {
            frames.push(hop4_is(HOP4));
        }
        if n % 5 == 2 {
            frames.push(frame(OTHER, HOP4, EtherType::IPV4, &down));
            frames.push(vec![n; 5]);
            frames.push(in4(&V4::echo(8, REMOTE, "203.0.113.1", n.into()).build()));
        }
        let parts = V4::udp(PEER, OWN)
            .ident(n.into())
            .payload(&[n; 64])
            .fragments(24);
        frames.extend(parts.iter().rev().map(|part| in4(part)));
        if on_a_stick {
            let (up, _) = from_b4();
            frames.push(in6(&up));
            if n == 12 {
                frames.push(hop6_is(HOP6, true, true));
            }
            let outer = tunnel(B4, AFTR, &V4::udp(OWN, PEER).payload(&[n; 64]).build());
            for part in outer.fragments(48, n.into()) {
                frames.push(in6(&part));
            }
        }
    }
    frames
}

#[test]
fn a_batch_of_mixed_frames_gives_what_they_give_one_by_one() {
    for on_a_stick in [false, true] {
        let mut config = ports();
        if on_a_stick {
            config.softwire.link.nic = NIC4;
        }
        let frames = mixed(on_a_stick);
        let run = |size: usize| {
            let mut wired = Wired::with(config.clone(), |config| config.ipv6_mtu = 1280);
            wired.now = lw4o6_wire::Instant::from_secs(1);
            if !on_a_stick {
                let _ = wired.feed(NIC6, &hop6_is(HOP6, true, true));
            }
            let seen = wired.feed_all(NIC4, &frames, size);
            let worker: Vec<_> = wired.port.worker().counters().iter().collect();
            (seen, worker, wired.port.counters())
        };
        let one_by_one = run(1);
        for size in [3, 4, 8, 32, 256, 1000] {
            let batch = run(size);
            for (n, (batch, one)) in batch.0.iter().zip(&one_by_one.0).enumerate() {
                assert_eq!(batch, one, "frame {n} in batches of {size}");
            }
            assert_eq!(
                (batch.1, batch.2),
                (one_by_one.1.clone(), one_by_one.2.clone())
            );
        }
    }
}

#[test]
fn frames_that_a_full_worker_does_not_take_are_untouched() {
    let knobs = |config: &mut lw4o6_aftr::AftrConfig| config.ipv6_mtu = 1280;
    let mut wired = Wired::with(resolved(), knobs);
    let big = in4(&V4::udp(PEER, OWN).payload(&[3; 1472]).build());
    let mut storage: Vec<Vec<u8>> = vec![vec![0; HEADROOM + 1700]; 64];
    let mut sent = 0;
    loop {
        let mut frames: Vec<FrameBuf<'_>> = storage
            .iter_mut()
            .map(|storage| FrameBuf::with_headroom(storage, HEADROOM, &big).unwrap())
            .collect();
        let mut verdicts = vec![PortVerdict::Consumed; 64];
        let taken = wired
            .port
            .process_batch(wired.now, NIC4, &mut frames, &mut verdicts);
        sent += taken;
        assert_eq!(wired.port.counters().rx_frames[1], sent as u64);
        if taken < 64 {
            for frame in &frames[taken..] {
                assert_eq!(frame.packet(), big);
            }
            let verdict = wired.port.process(wired.now, NIC4, &mut frames[taken]);
            assert_eq!(verdict, PortVerdict::Drop(DropReason::OutputFull));
            assert_eq!(frames[taken].packet(), big);
            break;
        }
        assert!(sent < 100_000);
    }
    assert_eq!(wired.port.counters().drops(DropReason::OutputFull), 1);
    assert_eq!(wired.drain().len(), sent);
    let seen = wired.feed(NIC4, &big);
    assert_eq!(seen.verdict, PortVerdict::Transmit(NIC6));
}
