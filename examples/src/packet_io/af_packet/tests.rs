//! On pairs of virtual interfaces, in a network namespace of the test's own.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};

use lw4o6_wire::checksum::pseudo_v4;
use lw4o6_wire::{EtherType, IpProtocol, Ipv4Packet, ethernet};
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::UdpGsoSegment;

use super::super::InterfaceName;
use super::super::testing::{MACS, arrive_in_order, frame, on_a_wire, queue, receive};
use super::*;
use crate::config::Io;

#[test]
fn frames_arrive_in_order_and_our_own_do_not_come_back() {
    on_a_wire("frames in order", true, |_| {
        let mut a = AfPacket::open("a", &[]).unwrap();
        let mut b = AfPacket::open("b", &[]).unwrap();
        arrive_in_order(&mut a, &mut b);
    });
}

#[test]
fn a_frame_that_the_interface_refuses_is_counted_and_the_others_are_sent() {
    on_a_wire("refused frame", true, |_| {
        let mut a = AfPacket::open("a", &[]).unwrap();
        let mut b = AfPacket::open("b", &[]).unwrap();
        let frames = [frame(1, 60), frame(2, 1519), frame(3, 60)];
        assert_eq!(a.transmit(&queue(&frames)).unwrap(), 2);
        assert_eq!(a.counters().not_sent, 1);
        assert_eq!(receive(&mut b, 2), [frame(1, 60), frame(3, 60)]);
    });
}

const FORMS: [Io; 2] = [Io::Rings, Io::LowLatency];

fn open_as(io: Io, name: &str) -> Box<dyn PacketIo + Send> {
    let options = OpenOptions {
        io,
        ..OpenOptions::default()
    };
    open(&InterfaceName::Kernel(name.to_owned()), &options).unwrap()
}

#[test]
fn a_tag_that_the_kernel_took_off_is_put_back() {
    for io in FORMS {
        on_a_wire("VLAN tag", true, move |_| {
            let (mut a, mut b) = (open_as(io, "a"), open_as(io, "b"));
            let mut tagged = frame(7, 100);
            tagged.splice(12..12, [0x81, 0, 0x60, 0x2a]);
            a.transmit(&queue(&[frame(6, 100), tagged.clone(), frame(8, 100)]))
                .unwrap();
            assert_eq!(receive(&mut b, 3), [frame(6, 100), tagged, frame(8, 100)]);
            assert_eq!(b.counters().tags_restored, 1);
        });
    }
}

#[test]
fn a_checksum_that_a_local_sender_left_open_is_completed() {
    for io in FORMS {
        on_a_wire("partial checksum", true, move |netlink| {
            let mut b = open_as(io, "b");
            let index = netlink.link("a").unwrap().index;
            let (own, peer) = (Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 2));
            netlink.add_address(index, IpAddr::V4(own), 24).unwrap();
            netlink
                .add_neighbor(index, IpAddr::V4(peer), MACS[1])
                .unwrap();
            let socket = UdpSocket::bind((own, 0)).unwrap();
            socket
                .send_to(b"an odd number of bytes!", (peer, 9))
                .unwrap();
            let frames = receive(&mut b, 1);
            let frame = ethernet::split(&frames[0]).unwrap();
            assert_eq!(frame.ethertype, EtherType::IPV4);
            let packet = Ipv4Packet::split(frame.payload).unwrap();
            let len = packet.payload.len().try_into().unwrap();
            let mut sum = pseudo_v4(own, peer, IpProtocol::UDP, len);
            sum.add(packet.payload);
            assert_eq!(sum.finish(), 0);
            assert_eq!(b.counters().checksums_completed, 1);
        });
    }
}

#[test]
fn segments_that_the_sender_did_not_cut_are_cut_here() {
    for io in FORMS {
        on_a_wire("joined segments", false, move |netlink| {
            let links = ["a", "b"].map(|name| netlink.link(name).unwrap().index);
            // As an administrator would: offloads stay on.
            links
                .iter()
                .for_each(|&index| netlink.set_flag_up(index).unwrap());
            let (own, peer) = (Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 2));
            netlink.add_address(links[0], IpAddr::V4(own), 24).unwrap();
            netlink
                .add_neighbor(links[0], IpAddr::V4(peer), MACS[1])
                .unwrap();
            let mut b = open_as(io, "b");
            let socket = UdpSocket::bind((own, 0)).unwrap();
            setsockopt(&socket, UdpGsoSegment, &500).unwrap();
            let content: Vec<u8> = (0..20_200u32).map(|i| i.to_le_bytes()[0]).collect();
            let from_us = |frame: &Vec<u8>| frame[12..14] == [8, 0];
            let mut frames: Vec<Vec<u8>> = Vec::new();
            // Until the link is up the kernel drops what is sent, and its own messages may arrive.
            for _ in 0..20 {
                socket.send_to(&content, (peer, 9)).unwrap();
                frames = receive(&mut b, 41).into_iter().filter(from_us).collect();
                if !frames.is_empty() {
                    break;
                }
            }
            assert_eq!((frames.len(), b.counters().cut), (41, 1));
            let mut got: Vec<u8> = Vec::new();
            for frame in &frames {
                let packet = Ipv4Packet::split(&frame[14..]).unwrap();
                let len = packet.payload.len().try_into().unwrap();
                let mut sum = pseudo_v4(own, peer, IpProtocol::UDP, len);
                assert_eq!(sum.add(packet.payload).finish(), 0);
                got.extend(&packet.payload[8..]);
            }
            assert!(got == content);
        });
    }
}

#[test]
fn an_interface_that_cannot_be_used_is_refused_with_the_reason() {
    on_a_wire("unusable interfaces", false, |_| {
        let error = |name| AfPacket::open(name, &[]).unwrap_err().to_string();
        assert_eq!(
            error("c"),
            "there is no interface `c` in this network namespace"
        );
        assert_eq!(error("lo"), "interface `lo` is not an Ethernet interface");
        assert_eq!(
            error("a"),
            "interface `a` is down; take it up first: ip link set a up"
        );
        let long = "a-name-of-sixteen";
        assert_eq!(
            error(long),
            format!("there is no interface `{long}` in this network namespace")
        );
    });
}
