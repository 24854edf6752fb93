//! What an ICMP error quotes of the packet that caused it (RFC 792, 4443, 4884).
//!
//! ```text
//! ICMPv4   | header 8 | IPv4 header | options | payload, cut anywhere | pad | extension objects |
//!                      `---------------- length, byte 5, 32-bit words ------'
//! ICMPv6   | header 8 | IPv6 header | extension headers | IPv4 ... | pad | extension objects |
//!                      `---------------- length, byte 4, 64-bit words --'
//! ```
//!
//! Reading is lax about what routers do in the field: the quote may end anywhere behind its IP
//! header, and an extended message may quote fewer than the 128 bytes of RFC 4884 §3. It is strict
//! about what decides where a message goes: a length of zero means "not extended", any other
//! bounds the quote, and what lies behind is never read as part of the quoted packet.

use crate::checksum::Sum;
use crate::icmpv4::{Icmpv4Class, Icmpv4Header, Icmpv4Type};
use crate::icmpv6::{Icmpv6Header, Icmpv6Type};
use crate::ipv4::Ipv4Packet;
use crate::ipv6::{IPV6_HEADER_LEN, Ipv6Header};
use crate::ipv6_ext::walk;
use crate::l4::{Ports, ports};
use crate::{IpProtocol, Layer, ParseError, ParseErrorKind};

pub use crate::ipv4::QuotedIpv4;

/// What the quoted packet has in place of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum QuotedKey {
    /// TCP, UDP, UDP-Lite, SCTP or DCCP.
    Ports(Ports),
    /// An ICMP echo or timestamp message.
    Ident {
        /// Its identifier.
        ident: u16,
        /// Whether it is a request.
        request: bool,
    },
    /// An ICMP error, about which no error may be sent.
    Error,
    /// A protocol without ports, or an ICMP message without an identifier.
    NoPort,
    /// A fragment other than the first.
    Fragment,
    /// The quote ends before the port.
    Truncated,
}

impl QuotedIpv4<'_> {
    /// What the quoted packet has in place of a port.
    ///
    /// In an error from the Internet the subscriber's port is the source port, in one from the
    /// subscriber it is the destination port.
    #[must_use]
    pub fn key(&self) -> QuotedKey {
        // R-108: payload bytes of a later fragment are no ports.
        if self.header.fragment_offset() != 0 {
            return QuotedKey::Fragment;
        }
        match self.header.protocol() {
            IpProtocol::ICMP => icmp_key(self.payload),
            proto if proto.has_ports() => {
                // R-099 R-100: the payload begins behind the options.
                ports(proto, self.payload).map_or(QuotedKey::Truncated, QuotedKey::Ports)
            }
            _ => QuotedKey::NoPort,
        }
    }

    /// Whether the checksum of the quoted header is right.
    #[must_use]
    pub fn header_checksum_ok(&self) -> bool {
        // R-102; R-103: the transport checksum is left alone.
        let header = self.header.as_bytes();
        Sum::new().add(header).add(self.options).finish() == 0
    }

    /// Bytes in header and options, 20 to 60.
    #[must_use]
    pub fn header_len(&self) -> usize {
        self.header.as_bytes().len() + self.options.len()
    }
}

/// Type and code of a quoted ICMP message may be there when its identifier is not.
fn icmp_key(payload: &[u8]) -> QuotedKey {
    let Some(&type_) = payload.first() else {
        return QuotedKey::Truncated;
    };
    let type_ = Icmpv4Type(type_);
    if type_.is_error() {
        return QuotedKey::Error; // R-107
    }
    let Some(query) = type_.query() else {
        return QuotedKey::NoPort;
    };
    // R-105
    match payload.first_chunk() {
        Some(&[_, _, _, _, hi, lo]) => QuotedKey::Ident {
            ident: u16::from_be_bytes([hi, lo]),
            request: query.is_request(),
        },
        None => QuotedKey::Truncated,
    }
}

/// The packet that an ICMPv4 error of type 3, 11 or 12 quotes.
///
/// `icmp_message` is the whole message; its checksum is not looked at.
///
/// # Errors
///
/// Where the message is shorter than its header or has another type, its RFC 4884 length is
/// greater than what follows the header, or the quote does not hold a whole IPv4 header.
pub fn ipv4_quote(icmp_message: &[u8]) -> Result<QuotedIpv4<'_>, ParseError> {
    let (header, body) = Icmpv4Header::split(icmp_message)?;
    if header.class() != Icmpv4Class::Error {
        let kind = ParseErrorKind::Value(header.type_().0.into());
        return Err(ParseError::new(Layer::Quote, 0, kind));
    }
    let len = usize::from(header.quote_words()) * 4;
    Ipv4Packet::split_quoted(original(body, len, 5)?)
}

/// What an ICMPv6 error from inside the tunnel quotes of a tunnel packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuotedTunnel<'a> {
    /// Fixed header of the tunnel packet.
    pub outer: Ipv6Header<&'a [u8; IPV6_HEADER_LEN]>,
    /// Bytes in front of the inner packet: the fixed header and the extension headers, a Fragment
    /// header among them. This is what tunnelling takes off the path MTU. 40 without `inner`.
    pub headers_len: usize,
    /// The inner packet, as far as it is there. `None` where the quote ends before the end of its
    /// header, the tunnel packet was a fragment other than the first, carried something else, or
    /// had an extension header chain that [`walk`] refuses.
    pub inner: Option<QuotedIpv4<'a>>,
    /// The bytes of `inner`, for the ICMPv4 error that tells its source; empty without `inner`.
    pub inner_bytes: &'a [u8],
}

/// The tunnel packet that an ICMPv6 error of type 1 to 4 quotes (RFC 2473 §8).
///
/// `icmpv6_message` is the whole message; its checksum is not looked at.
///
/// # Errors
///
/// Where the message is shorter than its header or has another type, its RFC 4884 length (types 1
/// and 3) is greater than what follows the header, or the quote does not begin with a whole IPv6
/// header.
pub fn tunnel_quote(icmpv6_message: &[u8]) -> Result<QuotedTunnel<'_>, ParseError> {
    let (header, body) = Icmpv6Header::split(icmpv6_message)?;
    let quote = match header.type_() {
        Icmpv6Type::UNREACHABLE | Icmpv6Type::TIME_EXCEEDED => {
            original(body, usize::from(header.quote_words()) * 8, 4)?
        }
        // Bytes 4..8 hold the MTU or the pointer, which leaves no room for a length.
        Icmpv6Type::PACKET_TOO_BIG | Icmpv6Type::PARAMETER_PROBLEM => body,
        Icmpv6Type(other) => {
            let kind = ParseErrorKind::Value(other.into());
            return Err(ParseError::new(Layer::Quote, 0, kind));
        }
    };
    let (outer, payload) = Ipv6Header::split_quoted(quote)?;
    let tunnel = QuotedTunnel {
        outer,
        headers_len: IPV6_HEADER_LEN,
        inner: None,
        inner_bytes: &[],
    };
    Ok(with_inner(tunnel, payload).unwrap_or(tunnel))
}

/// `tunnel` with what `payload`, the bytes behind its fixed header, shows of an inner packet.
fn with_inner<'a>(tunnel: QuotedTunnel<'a>, payload: &'a [u8]) -> Option<QuotedTunnel<'a>> {
    // R-187: the limit option and the first fragment are in the way of the inner header only.
    let walk = walk(tunnel.outer.next_header(), payload).ok()?;
    let walk = walk.past_fragment().ok()?;
    if walk.next != IpProtocol::IPV4 {
        return None;
    }
    let inner = Ipv4Packet::split_quoted(walk.payload).ok()?;
    Some(QuotedTunnel {
        headers_len: IPV6_HEADER_LEN + walk.offset,
        inner_bytes: walk
            .payload
            .get(..inner.header_len() + inner.payload.len())
            .unwrap_or(walk.payload),
        inner: Some(inner),
        ..tunnel
    })
}

/// The part of `body` that is the quoted packet, `len` bytes long or, for zero, all of it.
/// `length_at` is the offset of the length field in the message.
fn original(body: &[u8], len: usize, length_at: usize) -> Result<&[u8], ParseError> {
    // R-104: fewer than 128 bytes are tolerated.
    if len == 0 {
        return Ok(body);
    }
    body.get(..len).ok_or_else(|| {
        let len = u16::try_from(len).unwrap_or(u16::MAX);
        ParseError::new(Layer::Rfc4884, length_at, ParseErrorKind::Length(len))
    })
}

#[cfg(test)]
mod tests;
