//! TCP header and its maximum segment size option (RFC 9293 §3.1, §3.2).
//!
//! ```text
//! byte  0        2        4
//!       | source | destin.|
//!  4    | sequence number |
//!  8    | acknowledgment  |
//! 12    |len4 0|flags8| window |   length in 32-bit words, options included
//! 16    | cksum  | urgent |
//! 20    | options, up to 40 bytes: 0 = end, 1 = no operation, else kind, length, data
//! ```

use core::borrow::{Borrow, BorrowMut};

use crate::checksum::Update;
use crate::{Layer, ParseError, ParseErrorKind};

/// Length of the fixed part of the header in bytes.
pub const TCP_HEADER_LEN: usize = 20;

type Bytes = [u8; TCP_HEADER_LEN];

/// The eight flag bits of byte 13.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TcpFlags(pub u8);

impl TcpFlags {
    /// The sender has no more data.
    pub const FIN: Self = Self(0x01);
    /// Opens a connection; the only segments that carry a maximum segment size.
    pub const SYN: Self = Self(0x02);
    /// Resets the connection.
    pub const RST: Self = Self(0x04);
    /// Push.
    pub const PSH: Self = Self(0x08);
    /// The acknowledgment number counts.
    pub const ACK: Self = Self(0x10);
    /// The urgent pointer counts.
    pub const URG: Self = Self(0x20);

    /// Whether every bit of `other` is set.
    #[must_use]
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// A view of the fixed part of a TCP header.
///
/// `B` is `&[u8; 20]` to read, `&mut [u8; 20]` to change in place, or `[u8; 20]` to own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpHeader<B>(B);

impl<'a> TcpHeader<&'a Bytes> {
    /// Splits `segment` into its fixed header and its options; the payload follows both.
    ///
    /// # Errors
    ///
    /// Where the segment is shorter than 20 bytes, or the data offset is below five words or
    /// beyond the segment.
    pub fn split(segment: &'a [u8]) -> Result<(Self, &'a [u8]), ParseError> {
        // R-001
        let (bytes, rest) = segment
            .split_first_chunk()
            .ok_or_else(|| ParseError::truncated(Layer::Tcp, TCP_HEADER_LEN, segment.len()))?;
        let header = Self(bytes);
        let len = header.header_len();
        let options = len
            .checked_sub(TCP_HEADER_LEN)
            .and_then(|options_len| rest.get(..options_len))
            .ok_or(ParseError {
                layer: Layer::Tcp,
                offset: 12,
                kind: ParseErrorKind::Length(u16::from(bytes[12] >> 4) * 4),
            })?;
        Ok((header, options))
    }
}

impl<B: Borrow<Bytes>> TcpHeader<B> {
    /// Source port.
    pub fn src_port(&self) -> u16 {
        let [hi, lo, ..] = *self.bytes();
        u16::from_be_bytes([hi, lo])
    }

    /// Destination port.
    pub fn dst_port(&self) -> u16 {
        let [_, _, hi, lo, ..] = *self.bytes();
        u16::from_be_bytes([hi, lo])
    }

    /// Header length in bytes, options included; 20 to 60 in every header that
    /// [`split`](TcpHeader::split) returned.
    pub fn header_len(&self) -> usize {
        usize::from(self.bytes()[12] >> 4) * 4
    }

    /// Flags.
    pub fn flags(&self) -> TcpFlags {
        TcpFlags(self.bytes()[13])
    }

    /// Checksum.
    pub fn checksum(&self) -> u16 {
        let bytes = self.bytes();
        u16::from_be_bytes([bytes[16], bytes[17]])
    }

    fn bytes(&self) -> &Bytes {
        self.0.borrow()
    }
}

impl<B: BorrowMut<Bytes>> TcpHeader<B> {
    /// Sets the checksum.
    pub fn set_checksum(&mut self, checksum: u16) {
        let bytes: &mut Bytes = self.0.borrow_mut();
        [bytes[16], bytes[17]] = checksum.to_be_bytes();
    }
}

/// Lowers the maximum segment size of a SYN or SYN/ACK to `max` bytes and says whether it did.
///
/// Every such option of the segment is lowered, because receivers differ in which of several
/// they take; none is ever raised, and none is added. The checksum follows by RFC 1624, also for
/// an option at an odd offset. A segment that is no SYN, is shorter than its data offset says, or
/// whose option list is malformed anywhere stays as it is. `segment` starts at the TCP header and
/// may be a first fragment.
pub fn clamp_mss(segment: &mut [u8], max: u16) -> bool {
    // R-155
    let Ok((header, options)) = TcpHeader::split(segment) else {
        return false;
    };
    if !header.flags().contains(TcpFlags::SYN) {
        return false;
    }
    let options_end = TCP_HEADER_LEN + options.len();
    // One pass to judge the list, one to change it: a list that is refused halfway stays whole.
    let mut at = TCP_HEADER_LEN;
    while at < options_end {
        match next_option(segment, at, options_end) {
            Step::Mss { next, .. } | Step::Other { next } => at = next,
            Step::End => break,
            Step::Malformed => return false,
        }
    }
    let mut changed = false;
    at = TCP_HEADER_LEN;
    while at < options_end {
        match next_option(segment, at, options_end) {
            Step::Mss { value_at, next } => {
                changed |= lower(segment, value_at, max);
                at = next;
            }
            Step::Other { next } => at = next,
            Step::End | Step::Malformed => break,
        }
    }
    changed
}

/// What stands at one place of the option list; offsets count from the start of the segment.
enum Step {
    Mss { value_at: usize, next: usize },
    Other { next: usize },
    End,
    Malformed,
}

fn next_option(segment: &[u8], at: usize, end: usize) -> Step {
    let byte = |at: usize| segment.get(at).copied().filter(|_| at < end);
    match (byte(at), byte(at + 1)) {
        (None | Some(0), _) => Step::End,
        (Some(1), _) => Step::Other { next: at + 1 },
        (Some(kind), Some(len)) if len >= 2 && at + usize::from(len) <= end => {
            let next = at + usize::from(len);
            match (kind, len) {
                (2, 4) => Step::Mss {
                    value_at: at + 2,
                    next,
                },
                (2, _) => Step::Malformed,
                _ => Step::Other { next },
            }
        }
        _ => Step::Malformed,
    }
}

/// Lowers the value of an option, and patches the checksum.
///
/// A value at an odd offset lies across two checksum words: its high byte is the low byte of one
/// and its low byte the high byte of the next, so it enters the sum with its bytes swapped.
fn lower(segment: &mut [u8], at: usize, max: u16) -> bool {
    let Some(place) = segment
        .get_mut(at..)
        .and_then(|rest| rest.first_chunk_mut::<2>())
    else {
        return false;
    };
    let old = u16::from_be_bytes(*place);
    if old <= max {
        return false;
    }
    *place = max.to_be_bytes();
    let (old, new) = if at.is_multiple_of(2) {
        (old, max)
    } else {
        (old.swap_bytes(), max.swap_bytes())
    };
    if let Some(bytes) = segment.first_chunk_mut::<TCP_HEADER_LEN>() {
        let mut header = TcpHeader(bytes);
        let checksum = Update::new(header.checksum()).u16(old, new).finish();
        header.set_checksum(checksum);
    }
    true
}

#[cfg(test)]
mod tests {
    use std::vec;
    use std::vec::Vec;

    use super::*;
    use crate::checksum::{checksum, verify};

    /// A SYN with the given options (padded with end-of-list) and payload, checksum filled in.
    ///
    /// The pseudo-header is left out of the sum: it is a constant that no change here touches.
    fn segment(flags: u8, options: &[u8], payload: &[u8]) -> Vec<u8> {
        let header_len = 20 + options.len().next_multiple_of(4);
        let mut bytes = vec![0; header_len];
        bytes[..4].copy_from_slice(&[0x01, 0xbb, 0x04, 0xd0]);
        bytes[12] = u8::try_from(header_len / 4).unwrap() << 4;
        bytes[13] = flags;
        bytes[20..20 + options.len()].copy_from_slice(options);
        bytes.extend_from_slice(payload);
        let sum = checksum(&bytes);
        bytes[16..18].copy_from_slice(&sum.to_be_bytes());
        bytes
    }

    fn clamped(flags: u8, options: &[u8], max: u16) -> Option<Vec<u8>> {
        let mut bytes = segment(flags, options, b"xyz");
        let before = bytes.clone();
        let changed = clamp_mss(&mut bytes, max);
        assert_eq!(changed, bytes != before);
        assert!(verify(&bytes));
        changed.then(|| bytes[20..].to_vec())
    }

    const MSS_1460: [u8; 4] = [2, 4, 0x05, 0xb4];

    // R-155
    #[test]
    fn a_syn_and_a_syn_ack_are_lowered() {
        for flags in [0x02, 0x12] {
            let out = clamped(flags, &MSS_1460, 1420).unwrap();
            assert_eq!(out[..4], [2, 4, 0x05, 0x8c], "{flags:#x}");
        }
    }

    // R-155
    #[test]
    fn nothing_is_raised() {
        assert_eq!(clamped(0x02, &MSS_1460, 1460), None);
        assert_eq!(clamped(0x02, &MSS_1460, 1461), None);
    }

    #[test]
    fn only_a_syn_is_touched() {
        for flags in [0x00, 0x10, 0x11, 0x18] {
            assert_eq!(clamped(flags, &MSS_1460, 536), None, "{flags:#x}");
        }
    }

    // R-155
    #[test]
    fn an_option_at_an_odd_offset_keeps_the_checksum_valid() {
        let out = clamped(0x02, &[1, 2, 4, 0x05, 0xb4, 1, 1, 1], 1300).unwrap();
        assert_eq!(out[..8], [1, 2, 4, 0x05, 0x14, 1, 1, 1]);
    }

    #[test]
    fn an_option_in_the_last_bytes_of_a_segment_without_payload() {
        let mut bytes = segment(0x02, &[1, 1, 1, 1, 2, 4, 0x05, 0xb4], &[]);
        assert!(clamp_mss(&mut bytes, 1200));
        assert_eq!(bytes[26..], 1200u16.to_be_bytes());
        assert!(verify(&bytes));
    }

    #[test]
    fn every_mss_option_is_lowered() {
        let out = clamped(0x02, &[2, 4, 0x05, 0xb4, 2, 4, 0x23, 0x00], 1000).unwrap();
        assert_eq!(out[..8], [2, 4, 0x03, 0xe8, 2, 4, 0x03, 0xe8]);
    }

    #[test]
    fn what_follows_the_end_of_the_list_is_padding() {
        assert_eq!(clamped(0x02, &[0, 0, 0, 0, 2, 4, 0x05, 0xb4], 536), None);
        let out = clamped(0x02, &[2, 4, 0x05, 0xb4, 0, 99, 0, 2], 536).unwrap();
        assert_eq!(out[..8], [2, 4, 0x02, 0x18, 0, 99, 0, 2]);
    }

    #[test]
    fn malformed_options_leave_the_segment_unchanged() {
        let lists: [&[u8]; 6] = [
            &[3, 0, 1, 1],             // length below two
            &[3, 1, 1, 1],             // length below two
            &[3, 9, 1, 1, 1, 1, 1, 1], // runs past the header
            &[2, 3, 5, 1],             // MSS of three bytes
            &[2, 5, 5, 1, 1, 1, 1, 1], // MSS of five bytes
            &[1, 1, 1, 3],             // no room for a length
        ];
        for options in lists {
            let behind_a_good_one = [&MSS_1460, options].concat();
            assert_eq!(clamped(0x02, &behind_a_good_one, 536), None, "{options:?}");
            assert_eq!(clamped(0x02, options, 1), None, "{options:?}");
        }
    }

    // R-001
    #[test]
    fn every_prefix_is_refused() {
        let bytes = segment(0x02, &MSS_1460, &[]);
        for len in 0..bytes.len() {
            assert!(TcpHeader::split(&bytes[..len]).is_err(), "{len}");
            assert!(!clamp_mss(&mut bytes[..len].to_vec(), 536));
        }
        let (header, options) = TcpHeader::split(&bytes).unwrap();
        assert_eq!((header.src_port(), header.dst_port()), (443, 1232));
        assert_eq!(options, MSS_1460);
    }

    #[test]
    fn a_short_data_offset_is_refused() {
        let mut bytes = segment(0x02, &MSS_1460, &[]);
        bytes[12] = 0x40;
        let error = TcpHeader::split(&bytes).unwrap_err();
        assert_eq!(error.kind, ParseErrorKind::Length(16));
    }
}
