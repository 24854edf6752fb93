//! Which datagram a fragment belongs to, and which part of it it is.

use lw4o6_wire::{IpProtocol, Ipv4Packet};

use crate::{DropReason, Side};

/// Fewest bytes of a TCP segment that a first fragment has to hold: up to and with the flags
/// (RFC 1858 §4.2). // R-146
const MIN_TCP_FIRST: usize = 16;

/// What the fragments of one datagram have in common (RFC 791 §3.2). // R-143
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct FragmentKey {
    /// The B4 it came from; `None`: the Internet.
    pub(crate) b4: Option<[u8; 16]>,
    /// IPv4 source.
    pub(crate) src: [u8; 4],
    /// IPv4 destination.
    pub(crate) dst: [u8; 4],
    /// IPv4 protocol.
    pub(crate) protocol: u8,
    /// IPv4 identification.
    pub(crate) ident: u16,
}

impl FragmentKey {
    /// The key of a fragment that came from `b4`, or from the Internet.
    pub(crate) fn of(b4: Option<[u8; 16]>, packet: &Ipv4Packet<'_>) -> Self {
        Self {
            b4,
            src: packet.header.src().octets(),
            dst: packet.header.dst().octets(),
            protocol: packet.header.protocol().0,
            ident: packet.header.ident(),
        }
    }

    pub(super) const fn side(&self) -> Side {
        match self.b4 {
            Some(_) => Side::Softwire,
            None => Side::Internet,
        }
    }

    /// Whose share of the memory it counts against. // R-140
    pub(super) fn source(&self) -> [u8; 16] {
        let mapped = || {
            core::net::Ipv4Addr::from(self.src)
                .to_ipv6_mapped()
                .octets()
        };
        self.b4.unwrap_or_else(mapped)
    }
}

/// Which part of its datagram a fragment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Where it starts, in bytes.
    pub(crate) offset: u16,
    /// Its bytes, at least one.
    pub(crate) len: u16,
    /// Whether others follow.
    pub(crate) more: bool,
    /// In the first fragment, what tells flows apart: both ports; of ICMP, type, code and
    /// identifier.
    pub(crate) ports: Option<u32>,
}

impl Piece {
    /// Checks a fragment for what can be seen on it alone.
    ///
    /// # Errors
    ///
    /// `Ipv4FragmentMalformed` where it is empty, where its length is no multiple of 8 though
    /// others follow, or where it would end beyond the longest packet; `Ipv4FragmentTiny` where it
    /// hides TCP ports or flags from filters.
    pub(crate) fn of(packet: &Ipv4Packet<'_>) -> Result<Self, DropReason> {
        let header = &packet.header;
        let (offset, more) = (header.fragment_offset(), header.more_fragments());
        let len = packet.payload.len();
        let longest = usize::from(u16::MAX) - packet.header_len();
        if len == 0 || more && !len.is_multiple_of(8) || usize::from(offset) + len > longest {
            return Err(DropReason::Ipv4FragmentMalformed);
        }
        //
        let tcp = header.protocol() == IpProtocol::TCP;
        if tcp && (offset == 8 || offset == 0 && len < MIN_TCP_FIRST) {
            return Err(DropReason::Ipv4FragmentTiny);
        }
        Ok(Self {
            offset,
            len: u16::try_from(len).map_err(|_| DropReason::Ipv4FragmentMalformed)?,
            more,
            ports: flow(header.protocol(), packet.payload).filter(|_| offset == 0),
        })
    }

    pub(super) const fn end(&self) -> u16 {
        self.offset.saturating_add(self.len)
    }
}

/// What tells the flows of a protocol apart.
const fn flow(protocol: IpProtocol, l4: &[u8]) -> Option<u32> {
    match *l4 {
        [a, b, c, d, ..] if protocol.has_ports() => Some(u32::from_be_bytes([a, b, c, d])),
        [kind, code, _, _, a, b, ..] if protocol.0 == IpProtocol::ICMP.0 => {
            Some(u32::from_be_bytes([kind, code, a, b]))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use lw4o6_wire::Ipv4Fields;

    use super::*;

    fn packet(protocol: IpProtocol, offset: u16, more: bool, payload: &[u8]) -> Vec<u8> {
        let fields = Ipv4Fields {
            tos: 0,
            total_len: (20 + payload.len()).try_into().unwrap(),
            ident: 9,
            dont_fragment: false,
            more_fragments: more,
            fragment_offset: offset,
            ttl: 9,
            protocol,
            src: [192, 0, 2, 1].into(),
            dst: [198, 51, 100, 1].into(),
        };
        [&fields.to_bytes()[..], payload].concat()
    }

    fn read(
        protocol: IpProtocol,
        offset: u16,
        more: bool,
        payload: &[u8],
    ) -> Result<Piece, DropReason> {
        let packet = packet(protocol, offset, more, payload);
        Piece::of(&Ipv4Packet::split(&packet).unwrap())
    }

    #[test]
    fn fragments_that_slip_past_filters_are_tiny() {
        //
        let tiny = Err(DropReason::Ipv4FragmentTiny);
        assert_eq!(read(IpProtocol::TCP, 8, true, &[0; 64]), tiny);
        assert_eq!(read(IpProtocol::TCP, 8, false, &[0; 3]), tiny);
        assert_eq!(read(IpProtocol::TCP, 0, true, &[0; 8]), tiny);
        assert!(read(IpProtocol::TCP, 0, true, &[0; 16]).is_ok());
        assert!(read(IpProtocol::TCP, 16, true, &[0; 8]).is_ok());
        assert!(read(IpProtocol::UDP, 8, true, &[0; 8]).is_ok());
        assert!(read(IpProtocol::UDP, 0, true, &[0; 8]).is_ok());
    }

    #[test]
    fn impossible_fragments_are_malformed() {
        let malformed = Err(DropReason::Ipv4FragmentMalformed);
        assert_eq!(read(IpProtocol::UDP, 0, true, &[0; 12]), malformed);
        assert_eq!(read(IpProtocol::UDP, 80, true, &[]), malformed);
        assert_eq!(read(IpProtocol::UDP, 80, false, &[]), malformed);
        assert_eq!(read(IpProtocol::UDP, 65_512, false, &[0; 4]), malformed);
        assert!(read(IpProtocol::UDP, 65_512, false, &[0; 3]).is_ok());
    }

    #[test]
    fn only_a_first_fragment_has_ports() {
        // T-15: payload bytes are never read as ports
        let udp = [4, 0, 0, 53, 0, 16, 0, 0];
        let first = read(IpProtocol::UDP, 0, true, &udp).unwrap();
        assert_eq!(first.ports, Some(0x0400_0035));
        assert_eq!(read(IpProtocol::UDP, 8, true, &udp).unwrap().ports, None);
        let echo = [8, 0, 1, 2, 0x12, 0x34, 0, 1];
        let first = read(IpProtocol::ICMP, 0, true, &echo).unwrap();
        assert_eq!(first.ports, Some(0x0800_1234));
        assert_eq!(read(IpProtocol::GRE, 0, true, &udp).unwrap().ports, None);
    }

    #[test]
    fn a_key_has_the_protocol_and_the_b4() {
        let packet = packet(IpProtocol::TCP, 0, true, &[0; 16]);
        let packet = Ipv4Packet::split(&packet).unwrap();
        let of_internet = FragmentKey::of(None, &packet);
        let expected = FragmentKey {
            b4: None,
            src: [192, 0, 2, 1],
            dst: [198, 51, 100, 1],
            protocol: 6,
            ident: 9,
        };
        assert_eq!(of_internet, expected);
        assert_ne!(FragmentKey::of(Some([1; 16]), &packet), of_internet);
    }
}
