//! The Internet checksum (RFC 1071) and its incremental update (RFC 1624).
//!
//! The sum runs over 16-bit words, an odd last byte is the upper half of a word (padded with a
//! zero on its right). All values are the ones that stand in the packet read as big-endian
//! numbers.

use core::net::{Ipv4Addr, Ipv6Addr};

use crate::IpProtocol;

/// The value to store for `data`, whose checksum field holds zero.
///
/// It is the complement of the one's complement sum. // R-003
#[must_use]
pub fn checksum(data: &[u8]) -> u16 {
    Sum::new().add(data).finish()
}

/// Whether `data`, checksum field included, verifies. // R-003
#[must_use]
pub fn verify(data: &[u8]) -> bool {
    checksum(data) == 0
}

/// What to store in a UDP or UDP-Lite header where `checksum` was computed: zero means "none"
/// there and is sent as `0xffff` (RFC 768, RFC 3828 §3.1). // R-007
#[must_use]
pub const fn udp_wire(checksum: u16) -> u16 {
    if checksum == 0 { 0xffff } else { checksum }
}

/// A one's complement sum under way.
///
/// The words are added as they lie in memory; the sum commutes with a byte swap (RFC 1071 §2(B)),
/// so only the end result is brought into network order.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum(u64); // below 2^33 between calls

/// Bytes added before the carries are folded: far less than makes 64 bits overflow.
const BLOCK: usize = 1 << 20;

impl Sum {
    /// An empty sum.
    #[must_use]
    pub const fn new() -> Self {
        Self(0)
    }

    /// Adds bytes. Every piece but the last must have an even length, as an odd last byte is
    /// padded with zero on its right.
    pub fn add(&mut self, data: &[u8]) -> &mut Self {
        for block in data.chunks(BLOCK) {
            self.put(words(block));
        }
        self
    }

    /// Adds the 20 bytes of an IPv4 header without options.
    pub fn add_header(&mut self, header: &[u8; 20]) -> &mut Self {
        // A fixed length unrolls into five loads; this runs twice per forwarded packet.
        let (words, _) = header.as_chunks::<4>();
        for word in words {
            self.0 += u64::from(u32::from_ne_bytes(*word));
        }
        self.put(0)
    }

    /// Adds one 16-bit word.
    pub fn add_u16(&mut self, word: u16) -> &mut Self {
        self.put(u64::from(word.to_be()))
    }

    /// Adds two 16-bit words.
    pub fn add_u32(&mut self, words: u32) -> &mut Self {
        self.put(u64::from(words.to_be()))
    }

    /// The value to store: the complement of the sum.
    #[must_use]
    pub const fn finish(&self) -> u16 {
        !u16::from_be(fold(self.0))
    }

    const fn put(&mut self, more: u64) -> &mut Self {
        let sum = self.0 + more;
        self.0 = (sum & 0xffff_ffff) + (sum >> 32);
        self
    }
}

/// The sum of at most [`BLOCK`] bytes, in memory order.
fn words(block: &[u8]) -> u64 {
    let (quads, rest) = block.as_chunks::<4>();
    let (pairs, last) = rest.as_chunks::<2>();
    let quads: u64 = quads
        .iter()
        .map(|q| u64::from(u32::from_ne_bytes(*q)))
        .sum();
    let pairs: u64 = pairs
        .iter()
        .map(|p| u64::from(u16::from_ne_bytes(*p)))
        .sum();
    let last: u64 = last
        .iter()
        .map(|b| u64::from(u16::from_ne_bytes([*b, 0])))
        .sum();
    quads + pairs + last
}

/// Folds the carries until none is left. // R-003
const fn fold(sum: u64) -> u16 {
    let sum = (sum & 0xffff_ffff) + (sum >> 32); // < 2^33
    let sum = (sum & 0xffff) + ((sum >> 16) & 0xffff) + (sum >> 32); // < 2^17 + 1
    let sum = (sum & 0xffff) + (sum >> 16); // <= 0xffff + 1
    let sum = (sum & 0xffff) + (sum >> 16);
    let [.., high, low] = sum.to_be_bytes();
    u16::from_be_bytes([high, low])
}

/// The pseudo-header of a transport protocol over IPv4; `len` is the length of its message in
/// bytes.
#[must_use]
pub fn pseudo_v4(src: Ipv4Addr, dst: Ipv4Addr, proto: IpProtocol, len: u16) -> Sum {
    let mut sum = Sum::new();
    sum.add_u32(src.to_bits())
        .add_u32(dst.to_bits())
        .add_u16(proto.0.into())
        .add_u16(len);
    sum
}

/// The pseudo-header of an upper-layer protocol over IPv6 (RFC 8200 §8.1); `len` is the length of
/// its message in bytes, `next` its own number (58 for ICMPv6). // R-006
#[must_use]
pub fn pseudo_v6(src: Ipv6Addr, dst: Ipv6Addr, next: IpProtocol, len: u32) -> Sum {
    let mut sum = Sum::new();
    for address in [src.octets(), dst.octets()] {
        for word in address.as_chunks::<4>().0 {
            sum.put(u64::from(u32::from_ne_bytes(*word)));
        }
    }
    sum.add_u32(len).add_u16(next.0.into());
    sum
}

/// An incremental change of a checksum, `HC' = ~(~HC + ~m + m')` (RFC 1624 §3 equation 3).
///
/// Each changed piece is given as it was and as it is, as 16-bit words at even offsets of what the
/// checksum covers. The result equals a full recomputation except where the covered data becomes
/// all zero (`0` here, `0xffff` there), which no IP header or pseudo-header can. // R-004
///
/// ```
/// use lw4o6_wire::checksum::Update;
///
/// assert_eq!(Update::new(0xdd2f).u16(0x5555, 0x3285).finish(), 0x0000);
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use = "the new checksum comes from `finish`"]
pub struct Update(u64); // below 2^33 between calls

impl Update {
    /// Starts from the checksum that stands in the packet.
    pub const fn new(old_checksum: u16) -> Self {
        Self(!old_checksum as u64)
    }

    /// One word changed from `old` to `new`.
    pub const fn u16(self, old: u16, new: u16) -> Self {
        self.put(!old as u64 + new as u64)
    }

    /// Two words changed from `old` to `new`.
    pub const fn u32(self, old: u32, new: u32) -> Self {
        self.put(!old as u64 + new as u64)
    }

    /// The bytes `old` became `new`. An odd last byte counts as the upper half of a word. Where
    /// the lengths differ, the words that only one of them has were removed or added.
    pub fn bytes(self, old: &[u8], new: &[u8]) -> Self {
        let removed = Sum::new().add(old).finish();
        let added = !Sum::new().add(new).finish();
        self.put(u64::from(removed) + u64::from(added))
    }

    /// The checksum to store.
    #[must_use]
    pub const fn finish(self) -> u16 {
        !fold(self.0)
    }

    const fn put(self, more: u64) -> Self {
        let sum = self.0 + more;
        Self((sum & 0xffff_ffff) + (sum >> 32))
    }
}
