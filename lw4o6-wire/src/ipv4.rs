//! IPv4 header (RFC 791 §3.1).
//!
//! ```text
//! byte  0        1        2        3
//!  0   |ver| IHL| DSCP |ECN|   total length    |  4b 4b 6b 2b 16b; IHL in units of 4 bytes,
//!  4   |  identification   |res DF MF| offset  |  16b 1b 1b 1b 13b, offset in units of 8 bytes
//!  8   |  TTL   | protocol | header checksum   |  8b 8b 16b over the header with its options
//! 12   |  source address                       |
//! 16   |  destination address                  |
//! 20   |  options, up to IHL * 4               |  total length counts header, options, payload
//! ```

use core::borrow::{Borrow, BorrowMut};
use core::net::Ipv4Addr;

use crate::checksum::{Sum, Update};
use crate::ecn::Ecn;
use crate::{IpProtocol, Layer, ParseError, ParseErrorKind};

#[cfg(test)]
mod tests;

/// Length in bytes of the header without options.
pub const IPV4_HEADER_LEN: usize = 20;

type Bytes = [u8; IPV4_HEADER_LEN];

const DONT_FRAGMENT: u16 = 0x4000;
const MORE_FRAGMENTS: u16 = 0x2000;
const OFFSET: u16 = 0x1fff;

/// A view of the first 20 bytes of an IPv4 header.
///
/// `B` is `&[u8; 20]` to read, `&mut [u8; 20]` to change in place, or `[u8; 20]` to own. The
/// array type is the proof that the bytes are there, so no accessor checks a length or panics.
/// The setters leave the checksum as it is; [`set_tos`] and [`decrement_ttl`] keep it right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv4Header<B>(B);

impl<B> Ipv4Header<B> {
    /// A view of these bytes, which nobody has checked.
    pub const fn new(bytes: B) -> Self {
        Self(bytes)
    }
}

impl<B: Borrow<Bytes>> Ipv4Header<B> {
    /// The bytes of the header without options.
    pub fn as_bytes(&self) -> &Bytes {
        self.0.borrow()
    }

    /// Version field, 4 in every header that [`Ipv4Packet::split`] returned.
    pub fn version(&self) -> u8 {
        self.as_bytes()[0] >> 4
    }

    /// Length of header and options in bytes, 0 to 60.
    pub fn ihl_bytes(&self) -> usize {
        usize::from(self.as_bytes()[0] & 0x0f) * 4
    }

    /// Type of service byte: DSCP in the upper six bits, ECN in the lower two.
    pub fn tos(&self) -> u8 {
        self.as_bytes()[1]
    }

    /// Differentiated services code point, 0 to 63 (RFC 2474).
    pub fn dscp(&self) -> u8 {
        self.tos() >> 2
    }

    /// Congestion mark (RFC 3168).
    pub fn ecn(&self) -> Ecn {
        Ecn::from_bits(self.tos())
    }

    /// Bytes in header, options and payload.
    pub fn total_len(&self) -> u16 {
        let [_, _, high, low, ..] = *self.as_bytes();
        u16::from_be_bytes([high, low])
    }

    /// Identification of the datagram its fragments belong to.
    pub fn ident(&self) -> u16 {
        let [_, _, _, _, high, low, ..] = *self.as_bytes();
        u16::from_be_bytes([high, low])
    }

    /// Whether routers must not fragment the packet.
    pub fn dont_fragment(&self) -> bool {
        self.flags_offset() & DONT_FRAGMENT != 0
    }

    /// Whether this is a fragment other than the last.
    pub fn more_fragments(&self) -> bool {
        self.flags_offset() & MORE_FRAGMENTS != 0
    }

    /// Place of the payload in the datagram in bytes, a multiple of 8.
    pub fn fragment_offset(&self) -> u16 {
        (self.flags_offset() & OFFSET) << 3
    }

    /// Whether the packet is a fragment, the first one included.
    pub fn is_fragment(&self) -> bool {
        self.flags_offset() & (MORE_FRAGMENTS | OFFSET) != 0
    }

    /// Whether the payload starts with the transport header: an unfragmented packet or the first
    /// fragment.
    pub fn is_first(&self) -> bool {
        self.flags_offset() & OFFSET == 0
    }

    /// Time to live.
    pub fn ttl(&self) -> u8 {
        self.as_bytes()[8]
    }

    /// Protocol of the payload.
    pub fn protocol(&self) -> IpProtocol {
        IpProtocol(self.as_bytes()[9])
    }

    /// Header checksum as it stands in the packet.
    pub fn checksum(&self) -> u16 {
        let [.., high, low, _, _, _, _, _, _, _, _] = *self.as_bytes();
        u16::from_be_bytes([high, low])
    }

    /// Source address.
    pub fn src(&self) -> Ipv4Addr {
        let [.., a, b, c, d, _, _, _, _] = *self.as_bytes();
        Ipv4Addr::new(a, b, c, d)
    }

    /// Destination address.
    pub fn dst(&self) -> Ipv4Addr {
        let [.., a, b, c, d] = *self.as_bytes();
        Ipv4Addr::new(a, b, c, d)
    }

    /// The fields, which [`to_bytes`](Ipv4Fields::to_bytes) turns into the same header (R-002).
    /// What they do not hold is version, IHL, reserved flag and checksum.
    pub fn fields(&self) -> Ipv4Fields {
        Ipv4Fields {
            tos: self.tos(),
            total_len: self.total_len(),
            ident: self.ident(),
            dont_fragment: self.dont_fragment(),
            more_fragments: self.more_fragments(),
            fragment_offset: self.fragment_offset(),
            ttl: self.ttl(),
            protocol: self.protocol(),
            src: self.src(),
            dst: self.dst(),
        }
    }

    fn flags_offset(&self) -> u16 {
        let [_, _, _, _, _, _, high, low, ..] = *self.as_bytes();
        u16::from_be_bytes([high, low])
    }
}

impl<B: BorrowMut<Bytes>> Ipv4Header<B> {
    /// Sets DSCP and ECN.
    pub fn set_tos(&mut self, tos: u8) {
        self.bytes_mut()[1] = tos;
    }

    /// Sets the bytes in header, options and payload.
    pub fn set_total_len(&mut self, len: u16) {
        let [_, _, high, low, ..] = self.bytes_mut();
        [*high, *low] = len.to_be_bytes();
    }

    /// Sets the identification.
    pub fn set_ident(&mut self, ident: u16) {
        let [_, _, _, _, high, low, ..] = self.bytes_mut();
        [*high, *low] = ident.to_be_bytes();
    }

    /// Sets both flags and the fragment offset; `offset` is in bytes, its lower three bits are
    /// dropped. The reserved flag stays.
    pub fn set_flags_offset(&mut self, dont_fragment: bool, more_fragments: bool, offset: u16) {
        let reserved = self.flags_offset() & 0x8000;
        let word = reserved | flags_offset(dont_fragment, more_fragments, offset);
        let [_, _, _, _, _, _, high, low, ..] = self.bytes_mut();
        [*high, *low] = word.to_be_bytes();
    }

    /// Sets the time to live.
    pub fn set_ttl(&mut self, ttl: u8) {
        self.bytes_mut()[8] = ttl;
    }

    /// Sets the protocol of the payload.
    pub fn set_protocol(&mut self, protocol: IpProtocol) {
        self.bytes_mut()[9] = protocol.0;
    }

    /// Sets the header checksum.
    pub fn set_checksum(&mut self, checksum: u16) {
        let [.., high, low, _, _, _, _, _, _, _, _] = self.bytes_mut();
        [*high, *low] = checksum.to_be_bytes();
    }

    /// Sets the source address.
    pub fn set_src(&mut self, src: Ipv4Addr) {
        let [.., a, b, c, d, _, _, _, _] = self.bytes_mut();
        [*a, *b, *c, *d] = src.octets();
    }

    /// Sets the destination address.
    pub fn set_dst(&mut self, dst: Ipv4Addr) {
        let [.., a, b, c, d] = self.bytes_mut();
        [*a, *b, *c, *d] = dst.octets();
    }

    fn bytes_mut(&mut self) -> &mut Bytes {
        self.0.borrow_mut()
    }
}

const fn flags_offset(dont_fragment: bool, more_fragments: bool, offset: u16) -> u16 {
    let dont_fragment = if dont_fragment { DONT_FRAGMENT } else { 0 };
    let more_fragments = if more_fragments { MORE_FRAGMENTS } else { 0 };
    dont_fragment | more_fragments | offset >> 3
}

/// An IPv4 packet whose lengths agree with its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv4Packet<'a> {
    /// The first 20 bytes.
    pub header: Ipv4Header<&'a Bytes>,
    /// Options, 0 to 40 bytes, padding included.
    pub options: &'a [u8],
    /// Exactly the payload that the header claims.
    pub payload: &'a [u8],
}

impl<'a> Ipv4Packet<'a> {
    /// Splits `packet` into header, options and payload.
    ///
    /// Bytes behind the total length (link-layer padding) are left out (R-014). The header
    /// checksum is not looked at, see [`header_checksum_ok`](Self::header_checksum_ok).
    ///
    /// # Errors
    ///
    /// Where the packet is not IPv4, its IHL is below 5, its total length is below the header
    /// length, or it is shorter than one of these lengths says (R-001).
    pub fn split(packet: &'a [u8]) -> Result<Self, ParseError> {
        let (header, options, rest) = split_header(packet)?;
        let len = payload_len(header)?;
        let payload = rest.get(..len).ok_or_else(|| {
            ParseError::truncated(Layer::Ipv4, header.total_len().into(), packet.len())
        })?;
        Ok(Self {
            header,
            options,
            payload,
        })
    }

    /// Splits a packet that was cut off, as inside an ICMP error: the payload may be shorter than
    /// the header claims. Bytes behind the total length are left out.
    ///
    /// # Errors
    ///
    /// As [`split`](Self::split), but for a payload that is not all there.
    pub fn split_quoted(packet: &'a [u8]) -> Result<QuotedIpv4<'a>, ParseError> {
        let (header, options, rest) = split_header(packet)?;
        let payload = rest.get(..payload_len(header)?).unwrap_or(rest);
        Ok(QuotedIpv4 {
            header,
            options,
            payload,
        })
    }

    /// Bytes in header and options, 20 to 60.
    #[must_use]
    pub const fn header_len(&self) -> usize {
        IPV4_HEADER_LEN + self.options.len()
    }

    /// Bytes in header, options and payload.
    #[must_use]
    pub const fn total_len(&self) -> usize {
        self.header_len() + self.payload.len()
    }

    /// Whether the header checksum is right.
    #[must_use]
    pub fn header_checksum_ok(&self) -> bool {
        header_checksum(self.header.as_bytes(), self.options) == 0
    }
}

/// What an ICMP error quotes of an IPv4 packet: all of its header, some of its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuotedIpv4<'a> {
    /// The first 20 bytes.
    pub header: Ipv4Header<&'a Bytes>,
    /// Options, 0 to 40 bytes, padding included.
    pub options: &'a [u8],
    /// What is there of the payload, never more than the header claims.
    pub payload: &'a [u8],
}

type SplitHeader<'a> = (Ipv4Header<&'a Bytes>, &'a [u8], &'a [u8]);

fn split_header(packet: &[u8]) -> Result<SplitHeader<'_>, ParseError> {
    let truncated = |need| ParseError::truncated(Layer::Ipv4, need, packet.len());
    let (bytes, rest) = packet
        .split_first_chunk()
        .ok_or_else(|| truncated(IPV4_HEADER_LEN))?;
    let header = Ipv4Header(bytes);
    if header.version() != 4 {
        let kind = ParseErrorKind::Version(header.version());
        return Err(ParseError::new(Layer::Ipv4, 0, kind));
    }
    let header_len = header.ihl_bytes();
    let Some(options_len) = header_len.checked_sub(IPV4_HEADER_LEN) else {
        let kind = ParseErrorKind::Value(u16::from(bytes[0] & 0x0f));
        return Err(ParseError::new(Layer::Ipv4, 0, kind));
    };
    let (options, rest) = rest
        .split_at_checked(options_len)
        .ok_or_else(|| truncated(header_len))?;
    Ok((header, options, rest))
}

fn payload_len(header: Ipv4Header<&Bytes>) -> Result<usize, ParseError> {
    let kind = ParseErrorKind::Length(header.total_len());
    usize::from(header.total_len())
        .checked_sub(header.ihl_bytes())
        .ok_or(ParseError::new(Layer::Ipv4, 2, kind))
}

fn header_checksum(header: &Bytes, options: &[u8]) -> u16 {
    Sum::new().add_header(header).add(options).finish()
}

/// The fields of a header without options that is about to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv4Fields {
    /// DSCP in the upper six bits, ECN in the lower two.
    pub tos: u8,
    /// Bytes in header and payload.
    pub total_len: u16,
    /// Identification.
    pub ident: u16,
    /// Whether routers must not fragment the packet.
    pub dont_fragment: bool,
    /// Whether this is a fragment other than the last.
    pub more_fragments: bool,
    /// Place of the payload in the datagram in bytes; the lower three bits are not used.
    pub fragment_offset: u16,
    /// Time to live.
    pub ttl: u8,
    /// Protocol of the payload.
    pub protocol: IpProtocol,
    /// Source address.
    pub src: Ipv4Addr,
    /// Destination address.
    pub dst: Ipv4Addr,
}

impl Ipv4Fields {
    /// The 20 bytes of the header, checksum included. Cannot fail, because no field can hold a
    /// value that does not fit.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        let mut header = Ipv4Header([0; IPV4_HEADER_LEN]);
        header.0[0] = 0x45;
        header.set_tos(self.tos);
        header.set_total_len(self.total_len);
        header.set_ident(self.ident);
        header.set_flags_offset(
            self.dont_fragment,
            self.more_fragments,
            self.fragment_offset,
        );
        header.set_ttl(self.ttl);
        header.set_protocol(self.protocol);
        header.set_src(self.src);
        header.set_dst(self.dst);
        header.set_checksum(header_checksum(&header.0, &[]));
        header.0
    }
}

/// Decrements the time to live and updates the checksum. A time to live of 0 stays.
pub fn decrement_ttl(header: &mut [u8; 20]) {
    let mut view = Ipv4Header(header);
    let (ttl, protocol) = (view.ttl(), view.protocol().0);
    let lower = ttl.saturating_sub(1);
    let update = Update::new(view.checksum()).u16(
        u16::from_be_bytes([ttl, protocol]),
        u16::from_be_bytes([lower, protocol]),
    );
    view.set_ttl(lower);
    view.set_checksum(update.finish());
}

/// Sets DSCP and ECN and updates the checksum (RFC 6040 §4.2; R-197).
pub fn set_tos(header: &mut [u8; 20], tos: u8) {
    let mut view = Ipv4Header(header);
    let [first, old, ..] = *view.as_bytes();
    let update = Update::new(view.checksum()).u16(
        u16::from_be_bytes([first, old]),
        u16::from_be_bytes([first, tos]),
    );
    view.set_tos(tos);
    view.set_checksum(update.finish());
}

/// The first 20 bytes of `packet`, to be changed in place.
pub fn header_mut(packet: &mut [u8]) -> Option<&mut [u8; 20]> {
    packet.first_chunk_mut()
}
