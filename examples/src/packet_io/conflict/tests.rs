//! On pairs of virtual interfaces, in a network namespace of the test's own.

use super::super::testing::{MACS, on_a_wire, queue, receive};
use super::super::{OpenOptions, PacketIo, Rings};
use super::*;
use crate::netlink::Route;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn claim(text: &str, whose: Whose) -> Claim {
    Claim::one(ip(text), whose)
}

const STICK: Taken<'_> = Taken {
    name: "b",
    shares_mac: true,
    ipv4: true,
    ipv6: true,
};

#[test]
fn a_kernel_without_our_addresses_is_no_conflict() {
    on_a_wire("no conflict", true, |netlink| {
        let index = netlink.link("b").unwrap().index;
        netlink.add_address(index, ip("192.0.2.1"), 24).unwrap();
        netlink.add_address(index, ip("2001:db8::1"), 64).unwrap();
        let pool = Claim {
            address: ip("198.51.100.0"),
            len: 24,
            whose: Whose::Pool,
        };
        let claims = [
            claim("192.0.2.2", Whose::Own),
            claim("2001:db8::2", Whose::Aftr),
            claim("192.0.2.3", Whose::NextHop),
            pool,
        ];
        assert_eq!(conflicts(&[STICK], &claims).unwrap(), []);
    });
}

#[test]
fn a_kernel_that_has_one_of_our_addresses_is_reported_with_what_to_do() {
    on_a_wire("owned", true, |netlink| {
        let index = netlink.link("b").unwrap().index;
        let addresses = ["192.0.2.1", "198.51.100.77", "2001:db8::1", "2001:db8:a::1"];
        for address in addresses.map(ip) {
            let len = if address.is_ipv6() { 64 } else { 24 };
            netlink.add_address(index, address, len).unwrap();
        }
        let pool = Claim {
            address: ip("198.51.100.0"),
            len: 24,
            whose: Whose::Pool,
        };
        let claims = [
            claim("192.0.2.1", Whose::Own),
            claim("2001:db8:a::1", Whose::Aftr),
            claim("2001:db8::1", Whose::NextHop),
            pool,
            claim("192.0.2.9", Whose::Own),
        ];
        let found = conflicts(&[], &claims).unwrap();
        let texts: Vec<_> = found.iter().map(Conflict::to_string).collect();
        let expected = [
            "our address 192.0.2.1 is also the kernel's, on `b`: it would answer ARP, neighbor discovery and ICMP in our place; remove it there: ip address del 192.0.2.1 dev b",
            "the AFTR address 2001:db8:a::1 is also the kernel's, on `b`: it would answer each softwire packet with ICMPv6 \"unrecognized next header\" (type 4 code 1); remove it there: ip address del 2001:db8:a::1 dev b",
            "the next hop 2001:db8::1 is also the kernel's, on `b`: what we send there would never arrive; remove it there: ip address del 2001:db8::1 dev b",
            "the subscribers' prefix 198.51.100.0/24 is also the kernel's, on `b`: it would take packets of subscribers for its own; remove it there: ip address del 198.51.100.77 dev b",
        ];
        assert_eq!(texts, expected);
    });
}

#[test]
fn a_kernel_that_has_the_aftr_address_does_answer_softwire_packets() {
    on_a_wire("kernel answers", true, |netlink| {
        let index = netlink.link("b").unwrap().index;
        netlink.add_address(index, ip("2001:db8:a::1"), 64).unwrap();
        netlink.add_address(index, ip("2001:db8:b::1"), 64).unwrap();
        netlink
            .add_neighbor(index, ip("2001:db8:b::4"), MACS[0])
            .unwrap();
        let mut a = Rings::open("a", &OpenOptions::default()).unwrap();
        let mut frame = [MACS[1].0, MACS[0].0].concat();
        frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 20, 4, 64]);
        frame.extend([0x20, 1, 0xd, 0xb8, 0, 0xb, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4]);
        frame.extend([0x20, 1, 0xd, 0xb8, 0, 0xa, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        frame.extend([
            0x45, 0, 0, 20, 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2,
        ]);
        let is_answer = |frame: &Vec<u8>| frame[20] == 58 && frame[54..56] == [4, 1];
        let mut answered = false;
        for _ in 0..20 {
            a.transmit(&queue(&[frame.clone()])).unwrap();
            answered |= receive(&mut a, 1).iter().any(is_answer);
            if answered {
                break;
            }
        }
        assert!(answered);
        let found = conflicts(&[], &[claim("2001:db8:a::1", Whose::Aftr)]).unwrap();
        assert_eq!(found.len(), 1);
    });
}

#[test]
fn a_whole_prefix_that_the_kernel_takes_for_its_own_is_reported() {
    on_a_wire("local prefix", true, |netlink| {
        let index = netlink.link("lo").unwrap().index;
        netlink.set_flag_up(index).unwrap();
        netlink
            .add_local_route(ip("2001:db8:a::"), 48, index)
            .unwrap();
        let found = conflicts(&[], &[claim("2001:db8:a:1::1", Whose::Aftr)]).unwrap();
        let text = found[0].to_string();
        assert!(
            text.ends_with("ip route del local 2001:db8:a::/48 dev lo"),
            "{text}"
        );
    });
}

#[test]
fn a_kernel_that_forwards_to_our_addresses_is_reported_where_it_takes_our_frames() {
    on_a_wire("forwarding", true, |netlink| {
        let index = netlink.link("b").unwrap().index;
        netlink.add_address(index, ip("192.0.2.1"), 24).unwrap();
        let pool = Claim {
            address: ip("198.51.100.0"),
            len: 24,
            whose: Whose::Pool,
        };
        let aftr = claim("2001:db8:a::1", Whose::Aftr);
        for family in ["ipv4", "ipv6"] {
            let path = format!("/proc/sys/net/{family}/conf/b/forwarding");
            std::fs::write(path, "1").unwrap();
        }
        // No route: it can neither forward nor tell anybody.
        assert_eq!(conflicts(&[STICK], &[pool, aftr]).unwrap(), []);
        for (to, via) in [("0.0.0.0", "192.0.2.9"), ("::", "fe80::9")] {
            let route = Route {
                to: ip(to),
                len: 0,
                via: Some(ip(via)),
                index,
                mtu: None,
            };
            netlink.add_route(&route).unwrap();
        }
        let found = conflicts(&[STICK], &[pool, aftr]).unwrap();
        let texts: Vec<_> = found.iter().map(Conflict::to_string).collect();
        assert_eq!(texts.len(), 2);
        assert!(texts[0].contains("sysctl -w net.ipv4.conf.b.forwarding=0"));
        assert!(texts[1].contains("sysctl -w net.ipv6.conf.b.forwarding=0"));
        let apart = Taken {
            shares_mac: false,
            ..STICK
        };
        assert_eq!(conflicts(&[apart], &[pool, aftr]).unwrap(), []);
        let only_v4 = Taken {
            ipv6: false,
            ..STICK
        };
        assert_eq!(conflicts(&[only_v4], &[pool, aftr]).unwrap().len(), 1);
    });
}
