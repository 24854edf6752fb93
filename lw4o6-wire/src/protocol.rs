//! Numbers from the IANA registries.

use core::fmt;

/// Protocol number of an IPv4 packet, next header of an IPv6 packet.
///
/// A newtype with constants rather than an enum with an `Unknown` arm: every byte has exactly one
/// representation, so `IpProtocol(41) == IpProtocol::IPV6` always holds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IpProtocol(pub u8);

impl IpProtocol {
    /// IPv6 Hop-by-Hop Options (RFC 8200 §4.3).
    pub const HOPOPTS: Self = Self(0);
    /// ICMP for IPv4 (RFC 792).
    pub const ICMP: Self = Self(1);
    /// IGMP (RFC 9776).
    pub const IGMP: Self = Self(2);
    /// IPv4 in IP, the softwire payload (RFC 2473 §3).
    pub const IPV4: Self = Self(4);
    /// TCP (RFC 9293).
    pub const TCP: Self = Self(6);
    /// UDP (RFC 768).
    pub const UDP: Self = Self(17);
    /// DCCP (RFC 4340).
    pub const DCCP: Self = Self(33);
    /// IPv6 in IP (RFC 4213).
    pub const IPV6: Self = Self(41);
    /// IPv6 Routing header (RFC 8200 §4.4).
    pub const ROUTING: Self = Self(43);
    /// IPv6 Fragment header (RFC 8200 §4.5).
    pub const FRAGMENT: Self = Self(44);
    /// RSVP (RFC 2205).
    pub const RSVP: Self = Self(46);
    /// GRE (RFC 2784).
    pub const GRE: Self = Self(47);
    /// Encapsulating Security Payload (RFC 4303).
    pub const ESP: Self = Self(50);
    /// Authentication Header (RFC 4302).
    pub const AH: Self = Self(51);
    /// ICMP for IPv6 (RFC 4443).
    pub const ICMPV6: Self = Self(58);
    /// Nothing follows (RFC 8200 §4.7).
    pub const NO_NEXT_HEADER: Self = Self(59);
    /// IPv6 Destination Options (RFC 8200 §4.6).
    pub const DST_OPTS: Self = Self(60);
    /// OSPF (RFC 2328).
    pub const OSPF: Self = Self(89);
    /// PIM (RFC 7761).
    pub const PIM: Self = Self(103);
    /// VRRP (RFC 9568).
    pub const VRRP: Self = Self(112);
    /// SCTP (RFC 9260).
    pub const SCTP: Self = Self(132);
    /// UDP-Lite (RFC 3828).
    pub const UDP_LITE: Self = Self(136);

    /// Whether the first four bytes after the IP header are source and destination port.
    #[must_use]
    pub const fn has_ports(self) -> bool {
        matches!(
            self,
            Self::TCP | Self::UDP | Self::DCCP | Self::SCTP | Self::UDP_LITE
        )
    }

    /// Bytes that the smallest unfragmented message of this protocol has, 0 where any length is
    /// fine.
    #[must_use]
    pub const fn min_l4_len(self) -> usize {
        match self {
            Self::TCP => 20,
            // A DCCP header with 16-bit sequence numbers (RFC 4340 §5.1).
            Self::SCTP | Self::DCCP => 12,
            Self::UDP | Self::UDP_LITE | Self::ICMP | Self::ICMPV6 => 8,
            _ => 0,
        }
    }

    const fn name(self) -> Option<&'static str> {
        Some(match self {
            Self::HOPOPTS => "HopOpts",
            Self::ICMP => "ICMP",
            Self::IGMP => "IGMP",
            Self::IPV4 => "IPv4",
            Self::TCP => "TCP",
            Self::UDP => "UDP",
            Self::DCCP => "DCCP",
            Self::IPV6 => "IPv6",
            Self::ROUTING => "Routing",
            Self::FRAGMENT => "Fragment",
            Self::RSVP => "RSVP",
            Self::GRE => "GRE",
            Self::ESP => "ESP",
            Self::AH => "AH",
            Self::ICMPV6 => "ICMPv6",
            Self::NO_NEXT_HEADER => "NoNextHeader",
            Self::DST_OPTS => "DstOpts",
            Self::OSPF => "OSPF",
            Self::PIM => "PIM",
            Self::VRRP => "VRRP",
            Self::SCTP => "SCTP",
            Self::UDP_LITE => "UDP-Lite",
            _ => return None,
        })
    }
}

impl From<u8> for IpProtocol {
    fn from(number: u8) -> Self {
        Self(number)
    }
}

impl fmt::Debug for IpProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "IpProtocol({})", self.0),
        }
    }
}

/// Type field of an Ethernet II frame or of an 802.1Q tag.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EtherType(pub u16);

impl EtherType {
    /// IPv4.
    pub const IPV4: Self = Self(0x0800);
    /// ARP (RFC 826).
    pub const ARP: Self = Self(0x0806);
    /// 802.1Q tag.
    pub const VLAN: Self = Self(0x8100);
    /// IPv6.
    pub const IPV6: Self = Self(0x86dd);
}

impl From<u16> for EtherType {
    fn from(number: u16) -> Self {
        Self(number)
    }
}

impl fmt::Debug for EtherType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::IPV4 => f.write_str("IPv4"),
            Self::ARP => f.write_str("ARP"),
            Self::VLAN => f.write_str("VLAN"),
            Self::IPV6 => f.write_str("IPv6"),
            Self(other) => write!(f, "EtherType({other:#06x})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::format;

    use super::*;

    #[test]
    fn known_numbers_print_their_names() {
        assert_eq!(format!("{:?}", IpProtocol(136)), "UDP-Lite");
        assert_eq!(format!("{:?}", IpProtocol(253)), "IpProtocol(253)");
        assert_eq!(format!("{:?}", EtherType(0x86dd)), "IPv6");
        assert_eq!(format!("{:?}", EtherType(0x88a8)), "EtherType(0x88a8)");
    }

    #[test]
    fn five_protocols_have_ports() {
        let with_ports: std::vec::Vec<u8> =
            (0..=255).filter(|n| IpProtocol(*n).has_ports()).collect();
        assert_eq!(with_ports, [6, 17, 33, 132, 136]);
    }

    #[test]
    fn a_protocol_with_ports_has_a_least_length() {
        for number in 0..=255 {
            let protocol = IpProtocol::from(number);
            assert!(!protocol.has_ports() || protocol.min_l4_len() >= 8);
        }
    }
}
