//! The Internet checksum (RFC 1071) and its incremental update (RFC 1624).
//!
//! The sum runs over 16-bit words, an odd last byte is the upper half of a word (padded with a
//! zero on its right). All values are the ones that stand in the packet read as big-endian
//! numbers.

use core::net::{Ipv4Addr, Ipv6Addr};

use crate::IpProtocol;

/// The value to store for `data`, whose checksum field holds zero.
///
/// It is the complement of the one's complement sum (R-003).
#[must_use]
pub fn checksum(data: &[u8]) -> u16 {
    Sum::new().add(data).finish()
}

/// Whether `data`, checksum field included, verifies (R-003).
#[must_use]
pub fn verify(data: &[u8]) -> bool {
    checksum(data) == 0
}

/// What to store in a UDP or UDP-Lite header where `checksum` was computed: zero means "none"
/// there and is sent as `0xffff` (RFC 768, RFC 3828 §3.1; R-007).
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

/// Folds the carries until none is left (R-003).
const fn fold(sum: u64) -> u16 {
    let sum = (sum & 0xffff_ffff) + (sum >> 32); // <= 0x1_ffff_fffe
    let sum = (sum & 0xffff) + ((sum >> 16) & 0xffff) + (sum >> 32); // <= 0x1_fffe
    let sum = (sum & 0xffff) + (sum >> 16); // <= 0xffff
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
/// its message in bytes, `next` its own number (58 for ICMPv6; R-006).
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
/// all zero (`0` here, `0xffff` there), which no IP header or pseudo-header can (R-004, R-005).
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

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    /// RFC 1071 §3: the sum of this data is ddf2.
    const EXAMPLE: [u8; 8] = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];

    /// Word by word with a carry loop, as RFC 1071 §4.1 says it.
    fn slowly(data: &[u8]) -> u16 {
        let mut sum = 0_u32;
        for word in data.chunks(2) {
            sum += u32::from(word[0]) << 8 | u32::from(*word.get(1).unwrap_or(&0));
        }
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        !u16::try_from(sum).unwrap()
    }

    /// R-003
    #[test]
    fn the_example_of_rfc_1071() {
        assert_eq!(checksum(&EXAMPLE), !0xddf2);
        assert!(!verify(&EXAMPLE));
    }

    /// R-003
    #[test]
    fn every_length_agrees_with_the_slow_form() {
        let data: Vec<u8> = (0..=255_u8)
            .cycle()
            .map(|n| n.wrapping_mul(151) | 0x81)
            .take(600)
            .collect();
        for len in 0..data.len() {
            for start in 0..4.min(len) {
                assert_eq!(checksum(&data[start..len]), slowly(&data[start..len]));
            }
        }
    }

    /// R-003: the carries of the worst case, over more than one block.
    #[test]
    fn carries_are_folded_until_none_is_left() {
        for len in [1, 2, 3, 4, 65_536, BLOCK + 6] {
            let ones = std::vec![0xff; len];
            let expected = if len % 2 == 0 { 0 } else { 0x00ff };
            assert_eq!(checksum(&ones), expected, "{len}");
        }
        assert_eq!(checksum(&[]), 0xffff);
        // One's complement arithmetic is arithmetic modulo ffff with two zeros.
        assert_eq!(fold(0), 0);
        for shift in 0..64 {
            for less in 0..64 {
                for sum in [
                    u64::MAX >> shift,
                    1 << shift,
                    0xffff_fffe_ffff_ffff >> shift,
                ] {
                    let sum = sum.saturating_sub(less).max(1);
                    let folded = u64::from(fold(sum));
                    assert!(folded != 0 && (sum - folded) % 0xffff == 0, "{sum:#x}");
                }
            }
        }
    }

    #[test]
    fn pieces_sum_up_like_the_whole() {
        let mut sum = Sum::new();
        sum.add(&EXAMPLE[..2]).add(&EXAMPLE[2..8]);
        assert_eq!(sum.finish(), checksum(&EXAMPLE));
        let mut sum = Sum::new();
        sum.add_u32(0x0001_f203).add_u16(0xf4f5).add_u16(0xf6f7);
        assert_eq!(sum.finish(), checksum(&EXAMPLE));
        let header = *EXAMPLE.repeat(3).first_chunk().unwrap();
        assert_eq!(Sum::new().add_header(&header).finish(), checksum(&header));
    }

    /// V-12, R-004: the example of RFC 1624 §4, where the older equation gives ffff.
    #[test]
    fn v12_incremental_update() {
        assert_eq!(Update::new(0xdd2f).u16(0x5555, 0x3285).finish(), 0x0000);
    }

    /// R-004: RFC 1624 errata 4782 and 5864.
    #[test]
    fn a_word_that_stays_changes_nothing() {
        for word in 0..=u16::MAX {
            assert_eq!(Update::new(0x0000).u16(word, word).finish(), 0x0000);
            assert_eq!(Update::new(0xdd2f).u16(word, word).finish(), 0xdd2f);
        }
    }

    #[test]
    fn removed_and_added_words_count() {
        let (short, long) = ([0x12, 0x34], [0x12, 0x34, 0x56, 0x78, 0x9a, 0xbc]);
        let update = Update::new(checksum(&short)).bytes(&short, &long);
        assert_eq!(update.finish(), checksum(&long));
        let update = Update::new(checksum(&long)).bytes(&long[2..], &[]);
        assert_eq!(update.finish(), checksum(&short));
    }

    /// R-006: the ICMPv6 message of the specification's vector V-2.
    #[test]
    fn an_icmpv6_checksum_covers_the_pseudo_header() {
        let aftr: Ipv6Addr = "2001:db8:ffff::1".parse().unwrap();
        let b4: Ipv6Addr = "2001:db8:12:3400:0:c000:212:34".parse().unwrap();
        let mut message = Vec::from([0x01, 0x05, 0x09, 0x8e, 0, 0, 0, 0]);
        message.extend([0x60, 0, 0, 0, 0, 0x20, 0x04, 0x40]); // the quoted V-1
        message.extend(b4.octets());
        message.extend(aftr.octets());
        message.extend([
            0x45, 0, 0, 0x20, 0x12, 0x34, 0x40, 0, 0x3f, 0x11, 0x3d, 0x52,
        ]);
        message.extend([0xc0, 0, 2, 0x12, 0xc6, 0x33, 0x64, 1]);
        message.extend([0x04, 0xcf, 0, 0x35, 0, 0x0c, 0, 0, 0x74, 0x65, 0x73, 0x74]);
        assert_eq!(message.len(), 80);
        let mut sum = pseudo_v6(aftr, b4, IpProtocol::ICMPV6, 80);
        assert_eq!(sum.add(&message).finish(), 0);
        let mut other = pseudo_v6(aftr, b4, IpProtocol::UDP, 80);
        assert_ne!(other.add(&message).finish(), 0);
    }

    #[test]
    fn a_udp_checksum_covers_the_ipv4_pseudo_header() {
        let (src, dst) = (Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(198, 51, 100, 2));
        let datagram = [0, 1, 0, 2, 0, 10, 0, 0, b'h', b'i'];
        let whole = [
            &[192, 0, 2, 1, 198, 51, 100, 2, 0, 17, 0, 10][..],
            &datagram,
        ]
        .concat();
        let mut sum = pseudo_v4(src, dst, IpProtocol::UDP, 10);
        assert_eq!(sum.add(&datagram).finish(), slowly(&whole));
    }

    /// R-007
    #[test]
    fn a_computed_zero_is_sent_as_ones() {
        assert_eq!(udp_wire(0), 0xffff);
        assert_eq!((udp_wire(1), udp_wire(0xffff)), (1, 0xffff));
    }
}
