//! Why bytes were refused.

/// A packet or option that could not be read.
///
/// At most 16 bytes and `Copy`, so it costs nothing on the path that does not fail and can be
/// counted, compared in tests and logged without allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("{layer:?} at byte {offset}: {kind}")]
pub struct ParseError {
    /// Header or option that was being read.
    pub layer: Layer,
    /// Offset in bytes of the offending byte, from the start of the slice handed to the parser.
    pub offset: u16,
    /// What was wrong.
    pub kind: ParseErrorKind,
}

/// What was wrong with the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ParseErrorKind {
    /// Fewer bytes than the layer needs.
    #[error("needs {need} bytes, has {have}")]
    Truncated {
        /// Bytes the layer needs from its own start.
        need: u16,
        /// Bytes that were there.
        have: u16,
    },
    /// A version field with a value this layer does not have.
    #[error("version {0}")]
    Version(u8),
    /// A length field that contradicts the bytes around it.
    #[error("length field says {0}")]
    Length(u16),
    /// A value the RFC forbids.
    #[error("forbidden value {0:#06x}")]
    Value(u16),
    /// A checksum that does not verify.
    #[error("wrong checksum")]
    Checksum,
}

/// Header or option named in a [`ParseError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Layer {
    /// Ethernet II header.
    Ethernet,
    /// 802.1Q tag.
    Vlan,
    /// ARP packet for Ethernet and IPv4.
    Arp,
    /// IPv4 header with its options.
    Ipv4,
    /// IPv6 fixed header.
    Ipv6,
    /// IPv6 extension header other than the Fragment header.
    Ipv6Ext,
    /// IPv6 Fragment header.
    Fragment,
    /// Tunnel Encapsulation Limit option.
    EncapLimit,
    /// ICMPv4 message.
    Icmpv4,
    /// ICMPv6 message.
    Icmpv6,
    /// Neighbor Discovery message.
    Ndp,
    /// TCP segment.
    Tcp,
    /// UDP datagram.
    Udp,
    /// UDP-Lite datagram.
    UdpLite,
    /// SCTP packet.
    Sctp,
    /// DCCP packet.
    Dccp,
    /// Packet quoted by an ICMP error.
    Quote,
    /// Length field of an extended ICMP error (RFC 4884).
    Rfc4884,
    /// Port set parameters.
    PortParams,
}

impl ParseError {
    /// An error at `offset` bytes from the start of the slice; offsets saturate at 65535.
    #[must_use]
    pub fn new(layer: Layer, offset: usize, kind: ParseErrorKind) -> Self {
        Self {
            layer,
            offset: saturate(offset),
            kind,
        }
    }

    /// A [`ParseErrorKind::Truncated`] error at the end of what is there; lengths in bytes,
    /// saturating at 65535.
    #[must_use]
    pub fn truncated(layer: Layer, need: usize, have: usize) -> Self {
        let kind = ParseErrorKind::Truncated {
            need: saturate(need),
            have: saturate(have),
        };
        Self::new(layer, have, kind)
    }
}

fn saturate(n: usize) -> u16 {
    u16::try_from(n).unwrap_or(u16::MAX)
}

/// A buffer of the caller that cannot hold what is to be written; nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("needs a buffer of {need} bytes")]
pub struct BufferTooSmall {
    /// Bytes the whole buffer must have, headroom included.
    pub need: usize,
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    #[test]
    fn an_error_stays_small() {
        assert!(size_of::<ParseError>() <= 16);
        assert!(size_of::<Result<(), ParseError>>() <= 16);
    }

    #[test]
    fn a_message_names_layer_place_and_value() {
        assert_eq!(
            ParseError::truncated(Layer::Ipv6, 40, 12).to_string(),
            "Ipv6 at byte 12: needs 40 bytes, has 12"
        );
        let value = ParseError::new(Layer::Arp, 6, ParseErrorKind::Value(3));
        assert_eq!(value.to_string(), "Arp at byte 6: forbidden value 0x0003");
    }

    #[test]
    fn lengths_saturate() {
        let error = ParseError::truncated(Layer::Ipv4, 70_000, 65_536);
        let kind = ParseErrorKind::Truncated {
            need: u16::MAX,
            have: u16::MAX,
        };
        assert_eq!((error.offset, error.kind), (u16::MAX, kind));
    }
}
