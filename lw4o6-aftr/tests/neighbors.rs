//! ARP and neighbor discovery of the Ethernet port: what is answered, what is asked, what is learned.

mod common;
mod wired;

use std::net::Ipv4Addr;

use common::{AFTR, AFTR2, B4};
use lw4o6_aftr::port::{NextHop, PortOutput, PortVerdict, ProxyArp};
use lw4o6_aftr::{DropReason, Kind, Side};
use lw4o6_wire::EtherType;
use lw4o6_wire::arp::{ArpFields, ArpOp};
use lw4o6_wire::ethernet::MacAddr;
use lw4o6_wire::ndp::{NeighborAdvert, multicast_mac, solicited_node};
use testkit::packet::{V4, tunnel};
use wired::*;

const ASKER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 77);

fn who_has(target: &str) -> Vec<u8> {
    let request = ArpFields::request(OTHER, ASKER, v4(target));
    arp(MacAddr::BROADCAST, request)
}

/// The answer says that `target` is at our address.
fn answered(wired: &mut Wired, target: &str) {
    let request = who_has(target);
    let seen = wired.feed(NIC4, &request);
    assert_eq!(seen.verdict, PortVerdict::Consumed, "{target}");
    let (nic, bytes) = seen.sent();
    assert_eq!(nic, NIC4);
    let reply = payload(bytes, OTHER, OWN4, EtherType::ARP, None);
    let expect = ArpFields {
        op: ArpOp::REPLY,
        sender_mac: OWN4,
        sender_ip: v4(target),
        target_mac: OTHER,
        target_ip: ASKER,
    };
    assert_eq!(read_arp(&reply), expect);
}

fn left_to_the_owner(wired: &mut Wired, frame: &[u8]) {
    let nic = if read(frame).ethertype == EtherType::ARP {
        NIC4
    } else {
        NIC6
    };
    let side = if nic == NIC4 {
        Side::Internet
    } else {
        Side::Softwire
    };
    let seen = wired.feed(nic, frame);
    assert_eq!(seen.verdict, PortVerdict::Local(side, Kind::Foreign));
    assert_eq!(seen.frame, frame);
    assert!(seen.outputs.is_empty());
}

#[test]
fn t18_arp_for_the_own_address_is_answered() {
    let mut wired = Wired::new(resolved());
    answered(&mut wired, "203.0.113.1");
    assert_eq!(wired.port.counters().in_arp_request, 1);
    assert_eq!(wired.port.counters().out_arp_reply, 1);
    left_to_the_owner(&mut wired, &who_has("203.0.113.2"));
    left_to_the_owner(&mut wired, &who_has("203.0.113.254"));
}

#[test]
fn a_probe_for_the_own_address_is_answered_and_an_announcement_is_not() {
    // RFC 5227 §2.1.1, §2.4
    let mut wired = Wired::new(resolved());
    let probe = ArpFields::request(OTHER, Ipv4Addr::UNSPECIFIED, IP4);
    let seen = wired.feed(NIC4, &arp(MacAddr::BROADCAST, probe));
    let reply = payload(seen.sent().1, OTHER, OWN4, EtherType::ARP, None);
    assert_eq!(read_arp(&reply).sender_ip, IP4);
    assert_eq!(read_arp(&reply).target_ip, Ipv4Addr::UNSPECIFIED);
    let announcement = arp(MacAddr::BROADCAST, ArpFields::announcement(OTHER, IP4));
    left_to_the_owner(&mut wired, &announcement);
}

#[test]
fn a_request_from_a_group_address_is_not_answered() {
    // RFC 1812 §3.3.2
    let mut wired = Wired::new(resolved());
    for mac in [MacAddr::BROADCAST, MacAddr([1, 0, 0x5e, 0, 0, 1])] {
        let request = ArpFields::request(mac, ASKER, IP4);
        let bytes = frame(
            MacAddr::BROADCAST,
            OTHER,
            EtherType::ARP,
            &request.to_bytes(),
        );
        wired.refused(NIC4, &bytes, DropReason::L2Malformed);
    }
}

#[test]
fn t18_arp_for_pool_addresses_is_answered_by_knob_only() {
    //
    let mut wired = Wired::new(resolved());
    left_to_the_owner(&mut wired, &who_has("192.0.2.18"));
    let mut config = resolved();
    config.internet.proxy_arp = ProxyArp::Pools;
    let mut wired = Wired::new(config);
    // With a binding, and in a pool without one.
    for target in ["192.0.2.18", "192.0.2.20", "198.18.0.7", "203.0.113.1"] {
        answered(&mut wired, target);
    }
    for target in ["192.0.2.99", "198.18.1.0", "203.0.113.254"] {
        left_to_the_owner(&mut wired, &who_has(target));
    }
    // As soon as it is there.
    let new = ("2001:db8:99::1", "192.0.2.99", 0, 0, 0, AFTR);
    common::insert(&mut wired.writer, &new);
    answered(&mut wired, "192.0.2.99");
}

/// Asks for `target` as a neighbor would, by multicast.
fn asked(target: &str) -> Vec<u8> {
    let group = solicited_node(v6(target));
    let packet = solicitation("fe80::99", &group.to_string(), target, Some(OTHER));
    frame(multicast_mac(group), OTHER, EtherType::IPV6, &packet)
}

fn advertised(wired: &mut Wired, target: &str) {
    let seen = wired.feed(NIC6, &asked(target));
    assert_eq!(seen.verdict, PortVerdict::Consumed, "{target}");
    let (nic, bytes) = seen.sent();
    assert_eq!(nic, NIC6);
    let packet = payload(bytes, OTHER, OWN6, EtherType::IPV6, None);
    let (src, dst, advert) = read_advertisement(&packet);
    assert_eq!((src, dst), (v6(target), v6("fe80::99")));
    let expect = NeighborAdvert {
        router: true,
        solicited: true,
        override_: true,
        target: v6(target),
        target_mac: Some(OWN6),
    };
    assert_eq!(advert, expect);
}

#[test]
fn t18_solicitations_are_answered_for_the_interface_and_on_link_aftr_addresses() {
    //
    let mut wired = Wired::new(resolved());
    for target in [IP6, AFTR, AFTR2] {
        advertised(&mut wired, target);
    }
    // Never for a B4, not even for one on this link, nor for anybody else.
    let on_link = ("2001:db8:ffff::b4", "192.0.2.99", 0, 0, 0, AFTR);
    common::insert(&mut wired.writer, &on_link);
    for target in ["2001:db8:ffff::b4", B4, "2001:db8:ffff::99", HOP6_IP] {
        left_to_the_owner(&mut wired, &asked(target));
    }
    assert_eq!(wired.port.counters().in_ndp_ns, 7);
    assert_eq!(wired.port.counters().out_ndp_na, 3);
    // AFTR addresses that are routed to us are not asked for on the link.
    let mut config = resolved();
    config.softwire.prefix_len = 128;
    let mut wired = Wired::new(config);
    advertised(&mut wired, IP6);
    left_to_the_owner(&mut wired, &asked(AFTR));
    let mut wired = Wired::with(resolved(), |config| {
        config.aftr_addresses.push(v6("2001:db8:fffe::1"));
        config.aftr_addresses.push(v6("2001:db8:ffff::3"));
    });
    left_to_the_owner(&mut wired, &asked("2001:db8:fffe::1"));
    advertised(&mut wired, "2001:db8:ffff::3");
}

#[test]
fn duplicate_address_detection_is_answered_to_all_nodes() {
    // RFC 4861 §7.2.4
    let mut wired = Wired::new(resolved());
    let group = solicited_node(v6(AFTR));
    let packet = solicitation("::", &group.to_string(), AFTR, None);
    let probe = frame(multicast_mac(group), OTHER, EtherType::IPV6, &packet);
    let seen = wired.feed(NIC6, &probe);
    let all = MacAddr([0x33, 0x33, 0, 0, 0, 1]);
    let packet = payload(seen.sent().1, all, OWN6, EtherType::IPV6, None);
    let (src, dst, advert) = read_advertisement(&packet);
    assert_eq!((src, dst), (v6(AFTR), v6("ff02::1")));
    assert!(!advert.solicited && advert.override_);
}

#[test]
fn a_unicast_probe_without_address_is_answered_to_its_sender() {
    let mut wired = Wired::new(resolved());
    let packet = solicitation("2001:db8:ffff::77", IP6, IP6, None);
    let seen = wired.feed(NIC6, &frame(OWN6, OTHER, EtherType::IPV6, &packet));
    let packet = payload(seen.sent().1, OTHER, OWN6, EtherType::IPV6, None);
    assert_eq!(read_advertisement(&packet).1, v6("2001:db8:ffff::77"));
}

#[test]
fn invalid_neighbor_messages_are_dropped_and_counted() {
    //
    let mut wired = Wired::new(ports());
    let good = asked(IP6);
    let change = |at: usize, value: u8| {
        let mut frame = good.clone();
        frame[14 + at] = value;
        frame
    };
    let bad = [
        change(7, 254),     // hop limit
        change(41, 1),      // code
        change(43, 0),      // checksum
        change(40 + 25, 0), // option of length 0
        change(5, 31),      // cut off
        hop6_is(OTHER, true, true)[..14 + 40 + 20].to_vec(),
    ];
    for frame in &bad {
        wired.refused(NIC6, frame, DropReason::NdpInvalid);
    }
    let packet = solicitation("fe80::99", "ff02::1:ff00:1", "ff02::1", Some(OTHER));
    let group = frame(OWN6, OTHER, EtherType::IPV6, &packet);
    wired.refused(NIC6, &group, DropReason::NdpInvalid);
    let advert = hop6_is(MacAddr([0x33, 0x33, 0, 0, 0, 1]), true, true);
    wired.refused(NIC6, &advert, DropReason::NdpInvalid);
    assert_eq!(wired.port.next_hop(Side::Softwire), None);
    assert_eq!(wired.port.counters().in_ndp_ns, 0);
    assert_eq!(wired.port.counters().in_ndp_na, 0);
}

/// The two questions for the next hops, each to everybody on its link.
fn both_questions([six, four]: &[(PortOutput, Vec<u8>); 2]) {
    let ((output6, bytes6), (output4, bytes4)) = (six, four);
    assert_eq!(output6.verdict, PortVerdict::Transmit(NIC6));
    let group = solicited_node(v6(HOP6_IP));
    let packet = payload(bytes6, multicast_mac(group), OWN6, EtherType::IPV6, None);
    let (src, dst, solicit) = read_solicitation(&packet);
    assert_eq!((src, dst), (v6(IP6), group));
    assert_eq!(solicit.target, v6(HOP6_IP));
    assert_eq!(solicit.source_mac, Some(OWN6));
    assert_eq!(output4.verdict, PortVerdict::Transmit(NIC4));
    let request = payload(bytes4, MacAddr::BROADCAST, OWN4, EtherType::ARP, None);
    assert_eq!(read_arp(&request), ArpFields::request(OWN4, IP4, HOP4_IP));
}

#[test]
fn t18_next_hops_are_asked_for_from_the_start_every_second_for_ever() {
    let mut wired = Wired::new(ports());
    for second in 0..2000 {
        let sent = wired.pass(if second == 0 { 0 } else { 1000 });
        both_questions(&sent.try_into().unwrap());
        for side in Side::ALL {
            assert_eq!(wired.port.next_hop_alarm(side), second >= 3, "{second}");
        }
        assert!(wired.pass(0).is_empty(), "once a second");
        let due = wired.port.poll_timeout().unwrap();
        assert_eq!(due, wired.now + core::time::Duration::from_secs(1));
    }
}

#[test]
fn next_hops_that_answer_are_not_asked_again_and_end_the_alarm() {
    let mut wired = Wired::new(ports());
    for _ in 0..10 {
        both_questions(&wired.pass(1000).try_into().unwrap());
    }
    let _ = wired.feed(NIC4, &hop4_is(HOP4));
    let _ = wired.feed(NIC6, &hop6_is(HOP6, true, true));
    for (side, mac) in [(Side::Internet, HOP4), (Side::Softwire, HOP6)] {
        assert_eq!(wired.port.next_hop(side), Some(mac));
        assert!(!wired.port.next_hop_alarm(side));
    }
    assert!(wired.pass(1000).is_empty());
}

#[test]
fn configured_next_hops_are_never_asked_for() {
    let mut wired = Wired::new(resolved());
    assert!(wired.pass(0).is_empty());
    assert_eq!(wired.port.poll_timeout(), None);
    let _ = wired.feed(NIC4, &hop4_is(OTHER));
    let _ = wired.feed(NIC6, &hop6_is(OTHER, true, true));
    assert_eq!(wired.port.next_hop(Side::Internet), Some(HOP4));
    assert_eq!(wired.port.next_hop(Side::Softwire), Some(HOP6));
}

#[test]
fn advertisements_are_believed_as_their_flags_say() {
    // RFC 4861 §7.2.5
    let hop = |wired: &Wired| wired.port.next_hop(Side::Softwire);
    let mut wired = Wired::new(ports());
    // The first one counts, whatever it says.
    assert_eq!(
        wired.feed(NIC6, &hop6_is(HOP6, false, false)).verdict,
        PortVerdict::Consumed
    );
    assert_eq!(hop(&wired), Some(HOP6));
    let _ = wired.feed(NIC6, &hop6_is(OTHER, false, false));
    let _ = wired.feed(NIC6, &hop6_is(OTHER, true, false));
    assert_eq!(hop(&wired), Some(HOP6), "no override");
    let _ = wired.feed(NIC6, &hop6_is(OTHER, false, true));
    assert_eq!(hop(&wired), Some(OTHER), "override");
    let _ = wired.feed(NIC6, &hop6_is(HOP6, true, true));
    assert_eq!(hop(&wired), Some(HOP6));
    // About somebody else: for the owner.
    let advert = NeighborAdvert::unsolicited(v6("fe80::77"), OTHER);
    let packet = advertisement("fe80::77", "ff02::1", &advert);
    let all = MacAddr([0x33, 0x33, 0, 0, 0, 1]);
    let frame = frame(all, OTHER, EtherType::IPV6, &packet);
    left_to_the_owner(&mut wired, &frame);
    assert_eq!(hop(&wired), Some(HOP6));
    assert_eq!(wired.port.counters().in_ndp_na, 6);
}

#[test]
fn a_next_hop_that_asks_is_known_from_its_question() {
    let mut wired = Wired::new(ports());
    let packet = solicitation(HOP6_IP, IP6, IP6, Some(HOP6));
    let _ = wired.feed(NIC6, &frame(OWN6, HOP6, EtherType::IPV6, &packet));
    assert_eq!(wired.port.next_hop(Side::Softwire), Some(HOP6));
    let request = ArpFields::request(HOP4, HOP4_IP, IP4);
    let _ = wired.feed(NIC4, &arp(MacAddr::BROADCAST, request));
    assert_eq!(wired.port.next_hop(Side::Internet), Some(HOP4));
    // It moves, and says so.
    let announcement = ArpFields::announcement(OTHER, HOP4_IP);
    let _ = wired.feed(NIC4, &arp(MacAddr::BROADCAST, announcement));
    assert_eq!(wired.port.next_hop(Side::Internet), Some(OTHER));
}

#[test]
fn a_group_address_is_not_believed_of_a_next_hop() {
    // RFC 1812 §3.3.2
    let mut wired = Wired::new(ports());
    let reply = ArpFields::request(OWN4, IP4, HOP4_IP).reply_from(MacAddr::BROADCAST);
    let _ = wired.feed(NIC4, &frame(OWN4, HOP4, EtherType::ARP, &reply.to_bytes()));
    assert_eq!(wired.port.next_hop(Side::Internet), None);
}

/// A datagram to [`B4`], numbered.
fn down(n: u8) -> Vec<u8> {
    in4(&V4::udp("198.51.100.1:53", "192.0.2.18:1232")
        .payload(&[n])
        .build())
}

#[test]
fn frames_wait_for_the_next_hop_in_order_and_the_oldest_gives_way() {
    let mut wired = Wired::new(ports());
    for n in 0..20 {
        assert_eq!(wired.feed(NIC4, &down(n)).verdict, PortVerdict::Consumed);
    }
    let lost = |wired: &Wired| wired.port.counters().drops(DropReason::NeighborUnresolved);
    assert_eq!(lost(&wired), 4);
    let seen = wired.feed(NIC6, &hop6_is(HOP6, true, true));
    assert_eq!(seen.verdict, PortVerdict::Consumed);
    assert_eq!(seen.outputs.len(), 16);
    for (n, (verdict, bytes)) in (4..).zip(&seen.outputs) {
        assert_eq!(*verdict, PortVerdict::Transmit(NIC6));
        let packet = payload(bytes, HOP6, OWN6, EtherType::IPV6, None);
        assert_eq!(packet.last(), Some(&n));
    }
    assert_eq!(wired.port.counters().tx_frames[0], 16);
    assert_eq!(wired.feed(NIC4, &down(20)).sent().0, NIC6);
    assert_eq!(lost(&wired), 4);
    // The other side has a line of its own.
    let inner = V4::udp("192.0.2.18:1232", "198.51.100.1:53").build();
    let up = in6(&tunnel(B4, AFTR, &inner).build());
    assert_eq!(wired.feed(NIC6, &up).verdict, PortVerdict::Consumed);
    let seen = wired.feed(NIC4, &hop4_is(HOP4));
    payload(
        seen.outputs[0].1.as_slice(),
        HOP4,
        OWN4,
        EtherType::IPV4,
        None,
    );
}

#[test]
fn without_a_waiting_line_frames_are_dropped_until_the_next_hop_is_known() {
    let mut config = ports();
    config.waiting = 0;
    let mut wired = Wired::new(config);
    let reason = DropReason::NeighborUnresolved;
    assert_eq!(
        wired.feed(NIC4, &down(0)).verdict,
        PortVerdict::Drop(reason)
    );
    assert_eq!(wired.port.counters().drops(reason), 1);
    let _ = wired.feed(NIC6, &hop6_is(HOP6, true, true));
    assert_eq!(wired.feed(NIC4, &down(1)).sent().0, NIC6);
}

#[test]
fn a_next_hop_that_falls_silent_is_probed_given_up_and_asked_for_again() {
    let mut wired = Wired::new(ports());
    let _ = wired.feed(NIC6, &hop6_is(HOP6, true, true));
    let _ = wired.feed(NIC4, &hop4_is(HOP4));
    let mut asked_by = [Vec::new(), Vec::new()];
    for second in 1..60 {
        let _ = wired.feed(NIC4, &down(0));
        for (_, bytes) in wired.pass(1000) {
            let frame = read(&bytes);
            if frame.ethertype == EtherType::IPV6 {
                asked_by[usize::from(frame.dst == HOP6)].push(second);
            }
        }
    }
    let [multicast, unicast] = asked_by;
    // Reachable for 30 s, in doubt for 5, probed three times.
    assert_eq!(unicast.len(), 3, "{unicast:?}");
    assert_eq!(unicast[0], 35);
    assert_eq!(multicast, (38..60).collect::<Vec<_>>());
    assert!(matches!(ports().softwire.next_hop, NextHop::Address(_)));
    assert_eq!(wired.port.next_hop(Side::Softwire), None);
    assert!(wired.port.next_hop_alarm(Side::Softwire));
}
