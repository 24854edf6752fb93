//! Ethernet frames with at most one VLAN tag (IEEE 802.3, 802.1Q).
//!
//! ```text
//! byte  0             6             12       14
//!       | destination | source      | type   |            14 bytes
//!       | destination | source      | 0x8100 | PCP3 DEI1 VID12 | type |   18 bytes
//! ```
//!
//! Frames are at least 60 bytes long, so a short packet is followed by padding. It belongs to the
//! payload here; the lengths of the IP header cut it off.

use core::borrow::{Borrow, BorrowMut};
use core::fmt;
use core::str::FromStr;

use crate::{EtherType, Layer, ParseError};

/// Length of an untagged header in bytes.
pub const ETHERNET_HEADER_LEN: usize = 14;

/// Length of a header with one VLAN tag in bytes.
pub const TAGGED_HEADER_LEN: usize = 18;

type Bytes = [u8; ETHERNET_HEADER_LEN];

/// A 48-bit link-layer address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MacAddr(pub [u8; 6]);

impl MacAddr {
    /// All stations.
    pub const BROADCAST: Self = Self([0xff; 6]);

    /// No address; the target of an ARP request.
    pub const ZERO: Self = Self([0; 6]);

    /// Whether this is a group address; the broadcast address is one.
    #[must_use]
    pub fn is_multicast(self) -> bool {
        let [first, ..] = self.0;
        first & 1 != 0
    }

    /// Whether this is the broadcast address.
    #[must_use]
    pub fn is_broadcast(self) -> bool {
        self == Self::BROADCAST
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// Text that is no link-layer address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not six pairs of hexadecimal digits with colons between them")]
pub struct MacAddrError;

impl FromStr for MacAddr {
    type Err = MacAddrError;

    /// Reads six pairs of hexadecimal digits, lower or upper case, with `:` or `-` between them.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let separator = if text.contains('-') { '-' } else { ':' };
        let mut pairs = text.split(separator);
        let mut octets = [0; 6];
        for octet in &mut octets {
            let pair = pairs.next().filter(|pair| pair.len() == 2);
            let pair = pair.filter(|pair| pair.bytes().all(|digit| digit.is_ascii_hexdigit()));
            *octet = pair
                .and_then(|pair| u8::from_str_radix(pair, 16).ok())
                .ok_or(MacAddrError)?;
        }
        match pairs.next() {
            None => Ok(Self(octets)),
            Some(_) => Err(MacAddrError),
        }
    }
}

/// The tag control information of a VLAN tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct VlanTag(pub u16);

impl VlanTag {
    /// VLAN identifier, 12 bits; 0 stands for no VLAN, only a priority.
    #[must_use]
    pub fn vid(self) -> u16 {
        self.0 & 0x0fff
    }

    /// Priority code point, 3 bits.
    #[must_use]
    pub fn pcp(self) -> u8 {
        let [hi, _] = self.0.to_be_bytes();
        hi >> 5
    }

    /// Drop eligible indicator.
    #[must_use]
    pub fn dei(self) -> bool {
        self.0 & 0x1000 != 0
    }
}

/// A view of an untagged Ethernet header, or of the first 14 bytes of a tagged one.
///
/// `B` is `&[u8; 14]` to read, `&mut [u8; 14]` to change in place, or `[u8; 14]` to own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EthernetHeader<B>(B);

impl<'a> EthernetHeader<&'a Bytes> {
    /// Splits `frame` into these 14 bytes and the rest; a VLAN tag begins the rest.
    ///
    /// # Errors
    ///
    /// Where there are fewer than 14 bytes.
    pub fn split(frame: &'a [u8]) -> Result<(Self, &'a [u8]), ParseError> {
        // R-001
        let (bytes, rest) = frame.split_first_chunk().ok_or_else(|| {
            ParseError::truncated(Layer::Ethernet, ETHERNET_HEADER_LEN, frame.len())
        })?;
        Ok((Self(bytes), rest))
    }
}

impl<'a> EthernetHeader<&'a mut Bytes> {
    /// The header of `frame`, to be changed in place; `None` under 14 bytes.
    pub fn from_mut(frame: &'a mut [u8]) -> Option<Self> {
        frame.first_chunk_mut().map(Self)
    }
}

impl<B: Borrow<Bytes>> EthernetHeader<B> {
    /// Destination.
    pub fn dst(&self) -> MacAddr {
        let [a, b, c, d, e, f, ..] = *self.bytes();
        MacAddr([a, b, c, d, e, f])
    }

    /// Source.
    pub fn src(&self) -> MacAddr {
        let [_, _, _, _, _, _, a, b, c, d, e, f, ..] = *self.bytes();
        MacAddr([a, b, c, d, e, f])
    }

    /// What follows, [`EtherType::VLAN`] in a tagged frame; below 0x0600 an IEEE 802.3 length.
    pub fn ethertype(&self) -> EtherType {
        let [.., hi, lo] = *self.bytes();
        EtherType(u16::from_be_bytes([hi, lo]))
    }

    fn bytes(&self) -> &Bytes {
        self.0.borrow()
    }
}

impl<B: BorrowMut<Bytes>> EthernetHeader<B> {
    /// Sets the destination.
    pub fn set_dst(&mut self, dst: MacAddr) {
        let [a, b, c, d, e, f, ..] = self.0.borrow_mut();
        [*a, *b, *c, *d, *e, *f] = dst.0;
    }

    /// Sets the source.
    pub fn set_src(&mut self, src: MacAddr) {
        let [_, _, _, _, _, _, a, b, c, d, e, f, ..] = self.0.borrow_mut();
        [*a, *b, *c, *d, *e, *f] = src.0;
    }
}

/// A frame, its tag taken into account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EthernetFrame<'a> {
    /// Destination.
    pub dst: MacAddr,
    /// Source.
    pub src: MacAddr,
    /// The tag, if the frame has one.
    pub vlan: Option<VlanTag>,
    /// What the payload is; [`EtherType::VLAN`] where a second tag follows the first.
    pub ethertype: EtherType,
    /// Everything after the header, padding included.
    pub payload: &'a [u8],
    /// Bytes before the payload: 14 or 18.
    pub header_len: usize,
}

/// Splits `frame` into its header, at most one tag, and the payload with any padding.
///
/// # Errors
///
/// Where the header, or the tag that it announces, is cut off.
pub fn split(frame: &[u8]) -> Result<EthernetFrame<'_>, ParseError> {
    let (header, rest) = EthernetHeader::split(frame)?;
    let untagged = EthernetFrame {
        dst: header.dst(),
        src: header.src(),
        vlan: None,
        ethertype: header.ethertype(),
        payload: rest,
        header_len: ETHERNET_HEADER_LEN,
    };
    if untagged.ethertype != EtherType::VLAN {
        return Ok(untagged);
    }
    let (&[a, b, c, d], payload) = rest
        .split_first_chunk()
        .ok_or_else(|| ParseError::truncated(Layer::Vlan, TAGGED_HEADER_LEN, frame.len()))?;
    Ok(EthernetFrame {
        vlan: Some(VlanTag(u16::from_be_bytes([a, b]))),
        ethertype: EtherType(u16::from_be_bytes([c, d])),
        payload,
        header_len: TAGGED_HEADER_LEN,
        ..untagged
    })
}

/// The fields of a header that is about to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EthernetFields {
    /// Destination.
    pub dst: MacAddr,
    /// Source.
    pub src: MacAddr,
    /// What the payload is.
    pub ethertype: EtherType,
}

impl EthernetFields {
    /// The 14 bytes of a header without a tag.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; ETHERNET_HEADER_LEN] {
        let [a, b, c, d, e, f] = self.dst.0;
        let [g, h, i, j, k, l] = self.src.0;
        let [hi, lo] = self.ethertype.0.to_be_bytes();
        [a, b, c, d, e, f, g, h, i, j, k, l, hi, lo]
    }

    /// The 18 bytes of a header with `tag`.
    #[must_use]
    pub fn to_tagged_bytes(&self, tag: VlanTag) -> [u8; TAGGED_HEADER_LEN] {
        let [a, b, c, d, e, f] = self.dst.0;
        let [g, h, i, j, k, l] = self.src.0;
        let [tpid_hi, tpid_lo] = EtherType::VLAN.0.to_be_bytes();
        let [tci_hi, tci_lo] = tag.0.to_be_bytes();
        let [hi, lo] = self.ethertype.0.to_be_bytes();
        [
            a, b, c, d, e, f, g, h, i, j, k, l, tpid_hi, tpid_lo, tci_hi, tci_lo, hi, lo,
        ]
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    const FIELDS: EthernetFields = EthernetFields {
        dst: MacAddr([0x33, 0x33, 0, 0, 0, 1]),
        src: MacAddr([0, 0, 0x5e, 0, 2, 1]),
        ethertype: EtherType::IPV6,
    };

    #[test]
    fn an_untagged_frame_is_read() {
        let bytes = [&FIELDS.to_bytes()[..], b"abc"].concat();
        let frame = split(&bytes).unwrap();
        assert_eq!((frame.dst, frame.src), (FIELDS.dst, FIELDS.src));
        assert_eq!((frame.vlan, frame.header_len), (None, 14));
        assert_eq!(frame.ethertype, EtherType::IPV6);
        assert_eq!(frame.payload, b"abc");
    }

    // T-14: the tag is no payload.
    #[test]
    fn t14_a_tag_is_not_payload() {
        let tag = VlanTag(0xb00a);
        let bytes = [&FIELDS.to_tagged_bytes(tag)[..], b"abc"].concat();
        let frame = split(&bytes).unwrap();
        assert_eq!(frame.vlan, Some(tag));
        assert_eq!((tag.vid(), tag.pcp(), tag.dei()), (10, 5, true));
        assert_eq!(frame.ethertype, EtherType::IPV6);
        assert_eq!((frame.payload, frame.header_len), (&b"abc"[..], 18));
    }

    #[test]
    fn a_second_tag_stays_payload() {
        let fields = EthernetFields {
            ethertype: EtherType::VLAN,
            ..FIELDS
        };
        let bytes = [&fields.to_tagged_bytes(VlanTag(1))[..], &[0, 2, 8, 0]].concat();
        let frame = split(&bytes).unwrap();
        assert_eq!(frame.ethertype, EtherType::VLAN);
        assert_eq!(frame.payload, [0, 2, 8, 0]);
    }

    // R-001
    #[test]
    fn every_prefix_is_refused() {
        let untagged = FIELDS.to_bytes();
        let tagged = FIELDS.to_tagged_bytes(VlanTag(7));
        for len in 0..untagged.len() {
            assert_eq!(split(&untagged[..len]).unwrap_err().layer, Layer::Ethernet);
        }
        for len in 14..tagged.len() {
            assert_eq!(split(&tagged[..len]).unwrap_err().layer, Layer::Vlan);
        }
    }

    #[test]
    fn setters_change_their_field_only() {
        let mut bytes = [0x55; 20];
        let mut header = EthernetHeader::from_mut(&mut bytes).unwrap();
        header.set_dst(FIELDS.dst);
        header.set_src(FIELDS.src);
        assert_eq!((header.dst(), header.src()), (FIELDS.dst, FIELDS.src));
        assert_eq!(bytes[12..], [0x55; 8]);
        assert!(EthernetHeader::from_mut(&mut bytes[..13]).is_none());
    }

    #[test]
    fn addresses_are_read_and_shown() {
        let mac: MacAddr = "00:00:5E:00:02:01".parse().unwrap();
        assert_eq!(mac, FIELDS.src);
        assert_eq!(mac.to_string(), "00:00:5e:00:02:01");
        assert_eq!("00-00-5e-00-02-01".parse(), Ok(mac));
    }

    #[test]
    fn text_that_is_no_address_is_refused() {
        for text in [
            "",
            "00:00:5e:00:02",
            "00:00:5e:00:02:01:00",
            "0:00:5e:00:02:01",
            "00:00:5e:00:02:0g",
            "+0:00:5e:00:02:01",
            "00:00-5e:00:02:01",
            "00:00:5e:00:02:01:",
        ] {
            assert_eq!(text.parse::<MacAddr>(), Err(MacAddrError), "{text}");
        }
    }

    #[test]
    fn group_addresses_have_the_lowest_bit_of_the_first_byte() {
        assert!(MacAddr::BROADCAST.is_multicast() && MacAddr::BROADCAST.is_broadcast());
        assert!(FIELDS.dst.is_multicast() && !FIELDS.dst.is_broadcast());
        assert!(!FIELDS.src.is_multicast());
    }
}
