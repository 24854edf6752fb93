//! Reading what a trace says of a packet, however broken it is.

use core::net::{Ipv4Addr, Ipv6Addr};

use lw4o6_wire::arp::ArpPacket;
use lw4o6_wire::icmpv4::{Icmpv4Class, Icmpv4Header};
use lw4o6_wire::{EtherType, IpProtocol, Ipv4Packet, Ipv6Header, ethernet, ipv6_ext, l4};

use super::{Answer, Icmp, Inner, Outer};
use crate::Side;

/// What can be read of a packet.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    pub(super) outer: Option<Outer>,
    pub(super) inner: Option<Inner>,
    /// Type of an `ICMPv6` message.
    pub(super) icmpv6: Option<u8>,
}

/// Reads a packet of one side.
pub(super) fn read(side: Side, packet: &[u8]) -> Seen {
    match side {
        Side::Softwire => read_ipv6(packet),
        Side::Internet => Seen {
            inner: read_ipv4(packet),
            ..Seen::default()
        },
    }
}

/// Reads an Ethernet frame, ARP included.
pub(super) fn read_frame(frame: &[u8]) -> Seen {
    let Ok(frame) = ethernet::split(frame) else {
        return Seen::default();
    };
    match frame.ethertype {
        EtherType::IPV6 => read_ipv6(frame.payload),
        EtherType::ARP => Seen {
            inner: ArpPacket::split(frame.payload).ok().map(|(arp, _)| {
                let fields = arp.fields();
                addresses(fields.sender_ip, fields.target_ip)
            }),
            ..Seen::default()
        },
        _ => Seen {
            inner: read_ipv4(frame.payload),
            ..Seen::default()
        },
    }
}

/// Nothing but two IPv4 addresses.
const fn addresses(src: Ipv4Addr, dst: Ipv4Addr) -> Inner {
    Inner {
        src,
        dst,
        protocol: IpProtocol(0),
        ports: None,
        icmp: None,
        fragment: None,
        ttl: 0,
    }
}

/// The two ends of a datagram whose fragments were held.
pub(super) fn read_ends(side: Side, src: [u8; 16], dst: [u8; 16]) -> Seen {
    let (src, dst) = (Ipv6Addr::from(src), Ipv6Addr::from(dst));
    let next = IpProtocol::FRAGMENT;
    let mapped = src.to_ipv4_mapped().zip(dst.to_ipv4_mapped());
    match side {
        Side::Softwire => Seen {
            outer: Some(Outer { src, dst, next }),
            ..Seen::default()
        },
        Side::Internet => Seen {
            inner: mapped.map(|(src, dst)| addresses(src, dst)),
            ..Seen::default()
        },
    }
}

/// The key of a datagram whose fragments waited for their first one.
pub(super) fn read_key(b4: Option<[u8; 16]>, src: [u8; 4], dst: [u8; 4], protocol: u8) -> Seen {
    let outer = |b4| Outer {
        src: Ipv6Addr::from(b4),
        dst: Ipv6Addr::UNSPECIFIED,
        next: IpProtocol::IPV4,
    };
    let inner = Inner {
        protocol: IpProtocol(protocol),
        ..addresses(src.into(), dst.into())
    };
    Seen {
        outer: b4.map(outer),
        inner: Some(inner),
        icmpv6: None,
    }
}

fn read_ipv6(packet: &[u8]) -> Seen {
    let Ok((header, payload)) = Ipv6Header::split_quoted(packet) else {
        return Seen::default();
    };
    let outer = Outer {
        src: header.src(),
        dst: header.dst(),
        next: header.next_header(),
    };
    let seen = Seen {
        outer: Some(outer),
        ..Seen::default()
    };
    let walk = ipv6_ext::walk(header.next_header(), payload);
    let Ok(walk) = walk.and_then(|walk| walk.past_fragment()) else {
        return seen;
    };
    match walk.next {
        IpProtocol::IPV4 => Seen {
            inner: read_ipv4(walk.payload),
            ..seen
        },
        IpProtocol::ICMPV6 => Seen {
            icmpv6: walk.payload.first().copied(),
            ..seen
        },
        _ => seen,
    }
}

fn read_ipv4(packet: &[u8]) -> Option<Inner> {
    let split = Ipv4Packet::split_quoted(packet).ok()?;
    let header = &split.header;
    let (offset, more) = (header.fragment_offset(), header.more_fragments());
    let protocol = header.protocol();
    let first = offset == 0;
    Some(Inner {
        src: header.src(),
        dst: header.dst(),
        protocol,
        ports: l4::ports(protocol, split.payload).filter(|_| first),
        icmp: read_icmpv4(protocol, split.payload).filter(|_| first),
        fragment: (more || !first).then_some((offset, more)),
        ttl: header.ttl(),
    })
}

fn read_icmpv4(protocol: IpProtocol, message: &[u8]) -> Option<Icmp> {
    let (header, _) = Icmpv4Header::split(message)
        .ok()
        .filter(|_| protocol == IpProtocol::ICMP)?;
    let ident = match header.class() {
        Icmpv4Class::Query { ident, .. } => Some(ident),
        Icmpv4Class::Error | Icmpv4Class::Deprecated | Icmpv4Class::Unknown => None,
    };
    let [kind, code, ..] = *message else {
        return None;
    };
    Some(Icmp { kind, code, ident })
}

/// The ICMP message in a packet that leaves on this side.
pub(super) fn read_answer(to: Side, packet: &[u8]) -> Option<Answer> {
    let (version, message) = match to {
        Side::Internet => (4, icmpv4_of(packet)?),
        Side::Softwire => {
            let (header, payload) = Ipv6Header::split_quoted(packet).ok()?;
            let walk = ipv6_ext::walk(header.next_header(), payload).ok()?;
            let walk = walk.past_fragment().ok()?;
            match walk.next {
                IpProtocol::ICMPV6 => (6, walk.payload),
                _ => (4, icmpv4_of(walk.payload)?),
            }
        }
    };
    let [kind, code, ..] = *message else {
        return None;
    };
    Some(Answer {
        to,
        version,
        kind,
        code,
    })
}

fn icmpv4_of(packet: &[u8]) -> Option<&[u8]> {
    let packet = Ipv4Packet::split_quoted(packet).ok()?;
    (packet.header.protocol() == IpProtocol::ICMP).then_some(packet.payload)
}
