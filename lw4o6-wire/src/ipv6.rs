//! IPv6 fixed header (RFC 8200 §3).
//!
//! ```text
//! byte  0        1        2        3
//!  0   |ver| traffic class |  flow label        |  4b 8b 20b
//!  4   |  payload length   |next hdr|hop limit  |  16b 8b 8b, length in bytes after this header
//!  8   |  source address (16 bytes)             |
//! 24   |  destination address (16 bytes)        |
//! 40
//! ```
//!
//! The traffic class is DSCP (6b) and ECN (2b).

use core::borrow::{Borrow, BorrowMut};
use core::net::Ipv6Addr;

use crate::ecn::Ecn;
use crate::{IpProtocol, Layer, ParseError, ParseErrorKind};

/// Length of the fixed header in bytes.
pub const IPV6_HEADER_LEN: usize = 40;

type Bytes = [u8; IPV6_HEADER_LEN];

/// A view of an IPv6 fixed header.
///
/// `B` is `&[u8; 40]` to read, `&mut [u8; 40]` to change in place, or `[u8; 40]` to own. The
/// array type is the proof that the bytes are there, so no accessor checks a length or panics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv6Header<B>(B);

impl<'a> Ipv6Header<&'a Bytes> {
    /// Splits `packet` into its header and exactly the payload its length field claims.
    ///
    /// Bytes after that payload (link-layer padding) are left out (R-014). Jumbograms (RFC 2675)
    /// are not read: their payload length of 0 means no payload here.
    ///
    /// # Errors
    ///
    /// Where the packet is not IPv6 or is shorter than its header or its length field claims
    /// (R-001).
    pub fn split(packet: &'a [u8]) -> Result<(Self, &'a [u8]), ParseError> {
        let (header, rest) = Self::split_header(packet)?;
        let len = usize::from(header.payload_len());
        let payload = rest.get(..len).ok_or_else(|| {
            ParseError::truncated(Layer::Ipv6, IPV6_HEADER_LEN + len, packet.len())
        })?;
        Ok((header, payload))
    }

    /// Splits a packet that was cut off, as inside an ICMPv6 error: the payload may be shorter
    /// than the length field claims. Bytes behind that length are left out.
    ///
    /// # Errors
    ///
    /// Where the packet is not IPv6 or shorter than its header.
    pub fn split_quoted(packet: &'a [u8]) -> Result<(Self, &'a [u8]), ParseError> {
        let (header, rest) = Self::split_header(packet)?;
        let payload = rest.get(..header.payload_len().into()).unwrap_or(rest);
        Ok((header, payload))
    }

    fn split_header(packet: &'a [u8]) -> Result<(Self, &'a [u8]), ParseError> {
        let (bytes, rest) = packet
            .split_first_chunk()
            .ok_or_else(|| ParseError::truncated(Layer::Ipv6, IPV6_HEADER_LEN, packet.len()))?;
        let header = Self(bytes);
        if header.version() != 6 {
            let kind = ParseErrorKind::Version(header.version());
            return Err(ParseError::new(Layer::Ipv6, 0, kind));
        }
        Ok((header, rest))
    }
}

impl<B> Ipv6Header<B> {
    /// A view of these bytes, which nobody has checked.
    pub const fn new(bytes: B) -> Self {
        Self(bytes)
    }
}

impl<B: Borrow<Bytes>> Ipv6Header<B> {
    /// The 40 bytes of the header.
    pub fn as_bytes(&self) -> &Bytes {
        self.0.borrow()
    }

    /// Version field, 6 in every header that [`split`](Ipv6Header::split) returned.
    pub fn version(&self) -> u8 {
        self.as_bytes()[0] >> 4
    }

    /// Traffic class: DSCP in the upper six bits, ECN in the lower two.
    pub fn traffic_class(&self) -> u8 {
        let [a, b, ..] = *self.as_bytes();
        a << 4 | b >> 4
    }

    /// Differentiated services code point, 0 to 63 (RFC 2474).
    pub fn dscp(&self) -> u8 {
        self.traffic_class() >> 2
    }

    /// Congestion mark (RFC 3168).
    pub fn ecn(&self) -> Ecn {
        Ecn::from_bits(self.traffic_class())
    }

    /// Flow label, 20 bits (RFC 6437).
    pub fn flow_label(&self) -> u32 {
        let [_, a, b, c, ..] = *self.as_bytes();
        u32::from_be_bytes([0, a & 0x0f, b, c])
    }

    /// Bytes after this header.
    pub fn payload_len(&self) -> u16 {
        let [_, _, _, _, high, low, ..] = *self.as_bytes();
        u16::from_be_bytes([high, low])
    }

    /// What follows this header.
    pub fn next_header(&self) -> IpProtocol {
        IpProtocol(self.as_bytes()[6])
    }

    /// Hop limit.
    pub fn hop_limit(&self) -> u8 {
        self.as_bytes()[7]
    }

    /// Source address.
    pub fn src(&self) -> Ipv6Addr {
        let mut octets = [0; 16];
        octets.copy_from_slice(&self.as_bytes()[8..24]);
        octets.into()
    }

    /// Destination address.
    pub fn dst(&self) -> Ipv6Addr {
        let mut octets = [0; 16];
        octets.copy_from_slice(&self.as_bytes()[24..]);
        octets.into()
    }

    /// The fields, which [`to_bytes`](Ipv6Fields::to_bytes) turns into the same header (R-002).
    /// What they do not hold is the version.
    pub fn fields(&self) -> Ipv6Fields {
        Ipv6Fields {
            traffic_class: self.traffic_class(),
            flow_label: self.flow_label(),
            payload_len: self.payload_len(),
            next_header: self.next_header(),
            hop_limit: self.hop_limit(),
            src: self.src(),
            dst: self.dst(),
        }
    }
}

impl<B: BorrowMut<Bytes>> Ipv6Header<B> {
    /// Sets DSCP and ECN.
    pub fn set_traffic_class(&mut self, traffic_class: u8) {
        let [a, b, ..] = self.bytes_mut();
        *a = *a & 0xf0 | traffic_class >> 4;
        *b = traffic_class << 4 | *b & 0x0f;
    }

    /// Sets the flow label to the lower 20 bits of `label`.
    pub fn set_flow_label(&mut self, label: u32) {
        let [_, high, middle, low] = label.to_be_bytes();
        let [_, a, b, c, ..] = self.bytes_mut();
        *a = *a & 0xf0 | high & 0x0f;
        (*b, *c) = (middle, low);
    }

    /// Sets the bytes after this header.
    pub fn set_payload_len(&mut self, len: u16) {
        let [_, _, _, _, high, low, ..] = self.bytes_mut();
        [*high, *low] = len.to_be_bytes();
    }

    /// Sets what follows this header.
    pub fn set_next_header(&mut self, next: IpProtocol) {
        self.bytes_mut()[6] = next.0;
    }

    /// Sets the hop limit.
    pub fn set_hop_limit(&mut self, hop_limit: u8) {
        self.bytes_mut()[7] = hop_limit;
    }

    /// Sets the source address.
    pub fn set_src(&mut self, src: Ipv6Addr) {
        self.bytes_mut()[8..24].copy_from_slice(&src.octets());
    }

    /// Sets the destination address.
    pub fn set_dst(&mut self, dst: Ipv6Addr) {
        self.bytes_mut()[24..].copy_from_slice(&dst.octets());
    }

    fn bytes_mut(&mut self) -> &mut Bytes {
        self.0.borrow_mut()
    }
}

/// The fields of a header that is about to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv6Fields {
    /// DSCP in the upper six bits, ECN in the lower two.
    pub traffic_class: u8,
    /// Flow label; the lower 20 bits are used.
    pub flow_label: u32,
    /// Bytes after the header.
    pub payload_len: u16,
    /// What follows the header.
    pub next_header: IpProtocol,
    /// Hop limit.
    pub hop_limit: u8,
    /// Source address.
    pub src: Ipv6Addr,
    /// Destination address.
    pub dst: Ipv6Addr,
}

impl Ipv6Fields {
    /// The 40 bytes of the header. Cannot fail, because no field can hold a value that does not
    /// fit.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        let mut out = [0; IPV6_HEADER_LEN];
        let first = 6 << 28 | u32::from(self.traffic_class) << 20 | self.flow_label & 0x000f_ffff;
        out[..4].copy_from_slice(&first.to_be_bytes());
        out[4..6].copy_from_slice(&self.payload_len.to_be_bytes());
        out[6] = self.next_header.0;
        out[7] = self.hop_limit;
        out[8..24].copy_from_slice(&self.src.octets());
        out[24..].copy_from_slice(&self.dst.octets());
        out
    }
}

/// The first 40 bytes of `packet`, to be changed in place.
pub fn header_mut(packet: &mut [u8]) -> Option<&mut [u8; 40]> {
    packet.first_chunk_mut()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Outer header of the specification's vector V-3, with ECT(0) and a flow label, 4 bytes
    /// inside.
    const SOFTWIRE: [u8; 44] = [
        0x60, 0x2a, 0xbc, 0xde, // version 6, traffic class 2, flow label 0xabcde
        0x00, 0x04, 0x04, 0x40, // 4 bytes, IPv4, hop limit 64
        0x20, 0x01, 0x0d, 0xb8, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, // AFTR
        0x20, 0x01, 0x0d, 0xb8, 0, 0x12, 0x34, 0, 0, 0, 0xc0, 0, 2, 0x12, 0, 0x34, // B4
        1, 2, 3, 4,
    ];

    #[test]
    fn reads_every_field() {
        let (header, payload) = Ipv6Header::split(&SOFTWIRE).unwrap();
        assert_eq!((header.version(), header.traffic_class()), (6, 2));
        assert_eq!((header.dscp(), header.ecn()), (0, Ecn::Ect0));
        assert_eq!((header.flow_label(), header.payload_len()), (0xabcde, 4));
        assert_eq!(
            (header.next_header(), header.hop_limit()),
            (IpProtocol::IPV4, 64)
        );
        assert_eq!(
            header.src(),
            "2001:db8:ffff::1".parse::<Ipv6Addr>().unwrap()
        );
        let b4: Ipv6Addr = "2001:db8:12:3400:0:c000:212:34".parse().unwrap();
        assert_eq!((header.dst(), payload), (b4, &[1, 2, 3, 4][..]));
        assert_eq!(header.fields().to_bytes(), *header.as_bytes());
    }

    /// R-001
    #[test]
    fn every_prefix_is_refused() {
        for len in 0..SOFTWIRE.len() {
            let need = if len < 40 { 40 } else { 44 };
            assert_eq!(
                Ipv6Header::split(&SOFTWIRE[..len]).unwrap_err(),
                ParseError::truncated(Layer::Ipv6, need, len)
            );
            let quoted = Ipv6Header::split_quoted(&SOFTWIRE[..len]);
            assert_eq!(quoted.ok().map(|q| q.1), SOFTWIRE.get(40..len));
        }
    }

    /// R-014
    #[test]
    fn padding_is_not_payload() {
        let mut padded = [0xee; 64];
        padded[..44].copy_from_slice(&SOFTWIRE);
        assert_eq!(Ipv6Header::split(&padded), Ipv6Header::split(&SOFTWIRE));
        assert_eq!(
            Ipv6Header::split_quoted(&padded),
            Ipv6Header::split(&SOFTWIRE)
        );
    }

    #[test]
    fn another_version_is_refused() {
        for version in (0..16).filter(|v| *v != 6) {
            let mut packet = SOFTWIRE;
            packet[0] = version << 4;
            let error = ParseError::new(Layer::Ipv6, 0, ParseErrorKind::Version(version));
            assert_eq!(Ipv6Header::split(&packet), Err(error));
            assert_eq!(Ipv6Header::split_quoted(&packet), Err(error));
        }
    }

    #[test]
    fn a_flow_label_of_more_than_20_bits_is_cut() {
        let mut fields = Ipv6Header::split(&SOFTWIRE).unwrap().0.fields();
        let expected = fields.to_bytes();
        fields.flow_label |= 0xfff0_0000;
        assert_eq!(fields.to_bytes(), expected);
    }

    #[test]
    fn a_result_stays_small() {
        assert!(size_of::<Result<(Ipv6Header<&Bytes>, &[u8]), ParseError>>() <= 32);
    }

    #[test]
    fn too_short_for_a_header() {
        assert!(header_mut(&mut [0; 39]).is_none());
        assert!(header_mut(&mut [0; 40]).is_some());
    }
}
