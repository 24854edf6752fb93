//! Packets made by hand: what a kernel would never send.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4};

use lw4o6_wire::ethernet::{EthernetFields, MacAddr};
use lw4o6_wire::icmpv4::{self, Icmpv4ErrorKind};
use lw4o6_wire::icmpv6::{self, Icmpv6ErrorKind};
use lw4o6_wire::ipv6_ext::FragmentHeader;
use lw4o6_wire::{EtherType, IpProtocol, Ipv4Fields, Ipv4Packet, Ipv6Fields, Ipv6Header, checksum};

/// Where a datagram comes from and goes to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ends {
    /// Its source.
    pub(super) from: SocketAddrV4,
    /// Its destination.
    pub(super) to: SocketAddrV4,
    /// IPv4 identification.
    pub(super) ident: u16,
}

/// A whole UDP packet, of any length that IPv4 allows; Don't Fragment is clear.
pub(super) fn udp(ends: Ends, payload: &[u8]) -> Vec<u8> {
    let len = u16::try_from(payload.len() + 8).unwrap_or(u16::MAX);
    let (from, to) = (*ends.from.ip(), *ends.to.ip());
    let fields = [ends.from.port(), ends.to.port(), len, 0];
    let mut datagram: Vec<u8> = fields.into_iter().flat_map(u16::to_be_bytes).collect();
    datagram.extend_from_slice(payload);
    let mut sum = checksum::pseudo_v4(from, to, IpProtocol::UDP, len);
    let sum = checksum::udp_wire(sum.add(&datagram).finish());
    for (to, from) in datagram.iter_mut().skip(6).zip(sum.to_be_bytes()) {
        *to = from;
    }
    ipv4((from, to), ends.ident, IpProtocol::UDP, &datagram)
}

/// An IPv4 packet that may be fragmented.
pub(super) fn ipv4(
    (src, dst): (Ipv4Addr, Ipv4Addr),
    ident: u16,
    protocol: IpProtocol,
    payload: &[u8],
) -> Vec<u8> {
    let header = Ipv4Fields {
        tos: 0,
        total_len: u16::try_from(payload.len() + 20).unwrap_or(u16::MAX),
        ident,
        dont_fragment: false,
        more_fragments: false,
        fragment_offset: 0,
        ttl: 64,
        protocol,
        src,
        dst,
    };
    [&header.to_bytes()[..], payload].concat()
}

/// The IPv4 fragments of `packet`, in order; `piece` bytes of payload each, a multiple of 8.
pub(super) fn fragments(packet: &[u8], piece: usize) -> Vec<Vec<u8>> {
    let Ok(whole) = Ipv4Packet::split(packet) else {
        return Vec::new();
    };
    let chunks = whole.payload.chunks(piece).enumerate();
    let fragments = chunks.map(|(index, chunk)| {
        let offset = index * piece;
        let mut fields = whole.header.fields();
        fields.total_len = u16::try_from(20 + chunk.len()).unwrap_or(u16::MAX);
        fields.fragment_offset = u16::try_from(offset).unwrap_or(u16::MAX);
        fields.more_fragments = offset + chunk.len() < whole.payload.len();
        [&fields.to_bytes()[..], chunk].concat()
    });
    fragments.collect()
}

/// `inner` in a tunnel packet.
pub(super) fn tunnel(src: Ipv6Addr, dst: Ipv6Addr, inner: &[u8]) -> Vec<u8> {
    ipv6((src, dst), IpProtocol::IPV4, inner)
}

/// The IPv6 fragments of the packet, in order; `piece` bytes of payload each, a multiple of 8.
pub(super) fn ipv6_fragments(packet: &[u8], piece: usize, ident: u32) -> Vec<Vec<u8>> {
    let Ok((header, payload)) = Ipv6Header::split(packet) else {
        return Vec::new();
    };
    let chunks = payload.chunks(piece).enumerate();
    let fragments = chunks.map(|(index, chunk)| {
        let offset = index * piece;
        let fragment = FragmentHeader {
            next: header.next_header(),
            offset: u16::try_from(offset).unwrap_or(u16::MAX),
            more: offset + chunk.len() < payload.len(),
            ident,
        };
        let payload = [&fragment.to_bytes()[..], chunk].concat();
        ipv6((header.src(), header.dst()), IpProtocol::FRAGMENT, &payload)
    });
    fragments.collect()
}

/// An ICMPv4 error about `packet`.
pub(super) fn icmpv4_error(
    ends: (Ipv4Addr, Ipv4Addr),
    kind: Icmpv4ErrorKind,
    packet: &[u8],
) -> Vec<u8> {
    let quote = icmpv4::quote_of(packet);
    let message = [&icmpv4::error_header(kind, quote)[..], quote].concat();
    ipv4(ends, 1, IpProtocol::ICMP, &message)
}

/// An ICMPv6 error about `packet`.
pub(super) fn icmpv6_error(
    (src, dst): (Ipv6Addr, Ipv6Addr),
    kind: Icmpv6ErrorKind,
    packet: &[u8],
) -> Vec<u8> {
    let quote = icmpv6::quote_of(packet);
    let message = [&icmpv6::error_header(kind, src, dst, quote)[..], quote].concat();
    ipv6((src, dst), IpProtocol::ICMPV6, &message)
}

/// The packet as the Ethernet frame that carries it.
pub(super) fn frame(dst: MacAddr, src: MacAddr, packet: &[u8]) -> Vec<u8> {
    let ethertype = match packet.first().map(|byte| byte >> 4) {
        Some(6) => EtherType::IPV6,
        _ => EtherType::IPV4,
    };
    let ethernet = EthernetFields {
        dst,
        src,
        ethertype,
    };
    [&ethernet.to_bytes()[..], packet].concat()
}

fn ipv6((src, dst): (Ipv6Addr, Ipv6Addr), next_header: IpProtocol, payload: &[u8]) -> Vec<u8> {
    let header = Ipv6Fields {
        traffic_class: 0,
        flow_label: 0,
        payload_len: u16::try_from(payload.len()).unwrap_or(u16::MAX),
        next_header,
        hop_limit: 64,
        src,
        dst,
    };
    [&header.to_bytes()[..], payload].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(len: usize) -> Vec<u8> {
        let ends = Ends {
            from: "192.0.2.1:5000".parse().unwrap(),
            to: "198.51.100.2:7000".parse().unwrap(),
            ident: 7,
        };
        udp(ends, &vec![0xa5; len])
    }

    #[test]
    fn ipv4_fragments_cover_the_payload_once() {
        let packet = packet(8192);
        let fragments = fragments(&packet, 1480);
        let mut payload = Vec::new();
        for fragment in &fragments {
            let piece = Ipv4Packet::split(fragment).unwrap();
            assert_eq!(usize::from(piece.header.fragment_offset()), payload.len());
            assert!(piece.header_checksum_ok());
            payload.extend_from_slice(piece.payload);
            assert_eq!(piece.header.more_fragments(), payload.len() < 8200);
        }
        assert_eq!(payload, &packet[20..]);
        assert_eq!(fragments.len(), 6);
    }

    #[test]
    fn ipv6_fragments_cover_the_payload_once() {
        let [a, b] = [Ipv6Addr::LOCALHOST, Ipv6Addr::UNSPECIFIED];
        let whole = tunnel(a, b, &packet(2000));
        let mut payload = Vec::new();
        for fragment in ipv6_fragments(&whole, 600, 9) {
            let (_, rest) = Ipv6Header::split(&fragment).unwrap();
            let (header, piece) = FragmentHeader::split(rest).unwrap();
            assert_eq!(usize::from(header.offset), payload.len());
            payload.extend_from_slice(piece);
            assert_eq!(header.more, payload.len() < 2028);
        }
        assert_eq!(payload, &whole[40..]);
    }

    #[test]
    fn errors_carry_right_checksums() {
        let quoted = packet(600);
        let [a, b] = [Ipv4Addr::LOCALHOST, Ipv4Addr::BROADCAST];
        let error = icmpv4_error((a, b), Icmpv4ErrorKind::HostUnreachable, &quoted);
        assert!(icmpv4::verify(Ipv4Packet::split(&error).unwrap().payload));
        let [a, b] = [Ipv6Addr::LOCALHOST, Ipv6Addr::UNSPECIFIED];
        let kind = Icmpv6ErrorKind::PacketTooBig { mtu: 1400 };
        let error = icmpv6_error((a, b), kind, &tunnel(b, a, &quoted));
        assert!(icmpv6::verify(a, b, &error[40..]));
    }
}
