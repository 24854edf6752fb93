//! Port sets: offset, length and PSID (RFC 7597 §5.1 and appendix B).
//!
//! ```text
//! bit   0          a             a+k                 16
//!       |  A (a)   |  PSID (k)   |  j (m = 16-a-k)   |
//! ```
//!
//! A port belongs to a set where its middle `k` bits are the PSID and, for `a > 0`, its upper `a`
//! bits are not all zero: the ports below `2^(16-a)` belong to nobody.

use core::fmt;
use core::iter::FusedIterator;
use core::ops::RangeInclusive;

#[cfg(test)]
mod tests;

/// A port set: PSID offset `a`, PSID length `k` and PSID, always valid.
///
/// The set without a PSID (`k` = 0) and the set with PSID 0 (`k` > 0) are different values
/// (R-025).
///
/// ```
/// use lw4o6_wire::PortParams;
///
/// let ports = PortParams::new(0, 6, 1)?;
/// assert!(ports.contains(1024) && !ports.contains(2048));
/// assert_eq!(ports.ranges().next(), Some(1024..=2047));
/// # Ok::<(), lw4o6_wire::PortParamsError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortParams {
    offset: u8, // a; a + k <= 16
    len: u8,    // k
    psid: u16,  // < 2^k
}

/// Why three numbers are no port set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum PortParamsError {
    /// Offset and length leave no place in a 16-bit port (R-021).
    #[error("offset {offset} and length {len} take more than 16 bits")]
    TooLong {
        /// PSID offset in bits.
        offset: u8,
        /// PSID length in bits.
        len: u8,
    },
    /// The PSID does not fit its length (R-021).
    #[error("PSID {psid} does not fit in {len} bits")]
    PsidTooLarge {
        /// The PSID.
        psid: u16,
        /// PSID length in bits.
        len: u8,
    },
    /// A left-aligned PSID with bits set right of its length, as a sender makes that aligns to
    /// the right.
    #[error("left-aligned PSID {value:#06x} has more than {len} bits")]
    NotLeftAligned {
        /// The 16 bits of the option.
        value: u16,
        /// PSID length in bits.
        len: u8,
    },
}

/// The ports that RFC 7596 §5.1 wants kept from subscribers of shared addresses, 0 to 1023.
const SYSTEM_PORTS: PortParams = PortParams {
    offset: 0,
    len: 6,
    psid: 0,
};

impl PortParams {
    /// All 65536 ports: the address belongs to one subscriber.
    pub const FULL: Self = Self {
        offset: 0,
        len: 0,
        psid: 0,
    };

    /// A set with PSID offset `offset`, PSID length `len` and the right-aligned `psid`.
    ///
    /// # Errors
    ///
    /// Where `offset + len > 16` or `psid >= 2^len` (R-021).
    pub const fn new(offset: u8, len: u8, psid: u16) -> Result<Self, PortParamsError> {
        if offset > 16 || len > 16 || offset + len > 16 {
            return Err(PortParamsError::TooLong { offset, len });
        }
        if (psid as u32) >> len != 0 {
            return Err(PortParamsError::PsidTooLarge { psid, len });
        }
        Ok(Self { offset, len, psid })
    }

    /// A set whose PSID stands in the upper bits of 16, as in the DHCP options
    /// (RFC 7598 §4.5, RFC 7618 §9). With `len` 0 the value is not looked at.
    ///
    /// # Errors
    ///
    /// Where `offset + len > 16`, or bits below the upper `len` are set.
    pub const fn from_left_aligned(
        offset: u8,
        len: u8,
        value: u16,
    ) -> Result<Self, PortParamsError> {
        if offset > 16 || len > 16 || offset + len > 16 {
            return Err(PortParamsError::TooLong { offset, len });
        }
        if len == 0 {
            return Self::new(offset, len, 0);
        }
        // R-024
        let psid = value >> (16 - len);
        if psid << (16 - len) != value {
            return Err(PortParamsError::NotLeftAligned { value, len });
        }
        Ok(Self { offset, len, psid })
    }

    /// PSID offset `a` in bits, 0 to 16.
    #[must_use]
    pub const fn offset(self) -> u8 {
        self.offset
    }

    /// PSID length `k` in bits, 0 to 16.
    #[must_use]
    #[expect(
        clippy::len_without_is_empty,
        reason = "the length of the PSID, not of a list"
    )]
    pub const fn len(self) -> u8 {
        self.len
    }

    /// The PSID as a number below `2^k`, as in interface identifiers and in YANG (R-024).
    #[must_use]
    pub const fn psid(self) -> u16 {
        self.psid
    }

    /// The PSID, or `None` where there is none because `k` is 0 (R-025).
    #[must_use]
    pub const fn some_psid(self) -> Option<u16> {
        if self.len == 0 { None } else { Some(self.psid) }
    }

    /// The PSID in the upper bits of 16, as in the DHCP options.
    #[must_use]
    pub const fn left_aligned(self) -> u16 {
        // R-024. For k = 0 the PSID is 0 and the shift by 16 is not made.
        if self.len == 0 {
            0
        } else {
            self.psid << (16 - self.len)
        }
    }

    /// Whether the set is every port of its address.
    #[must_use]
    pub const fn is_full_address(self) -> bool {
        self.len == 0 && self.offset == 0
    }

    /// Whether the address has ports outside the set, so that a packet needs a port to be told.
    #[must_use]
    pub const fn is_shared(self) -> bool {
        !self.is_full_address()
    }

    /// Whether `port` belongs to the set (R-015, R-016).
    #[must_use]
    pub const fn contains(self, port: u16) -> bool {
        let psid = ((port as u32) >> self.free_bits()) & ones(self.len);
        psid == self.psid as u32 && !excluded(self.offset, port)
    }

    /// Number of ports in the set, 1 to 65536 (R-017).
    #[must_use]
    pub const fn port_count(self) -> u32 {
        self.range_count() << self.free_bits()
    }

    /// The ports in ascending order as contiguous ranges: one for `a` = 0, else `2^a - 1`
    /// (R-018).
    #[must_use]
    pub const fn ranges(self) -> PortRanges {
        let blocks = 1 << self.offset;
        PortRanges {
            ports: self,
            next: blocks - self.range_count(),
        }
    }

    /// Whether some port is in both sets (R-023).
    #[must_use]
    pub const fn overlaps(&self, other: &Self) -> bool {
        let (fixed, other_fixed) = (self.psid_mask(), other.psid_mask());
        let (value, other_value) = (self.psid_bits(), other.psid_bits());
        if (value ^ other_value) & fixed & other_fixed != 0 {
            return false;
        }
        // Left are the ports with the bits of both PSIDs. With two offsets, neither PSID reaches
        // the first bit of a port, and the ports that have it set are excluded by nobody.
        let (reaching, upper) = match (self.offset, other.offset) {
            (0, a) if a > 0 => (self, a),
            (a, 0) if a > 0 => (other, a),
            _ => return true,
        };
        // One PSID reaches into the upper bits that the other set wants to be not all zero: they
        // are, unless the PSID sets one or leaves one free.
        let upper = ones(16) & !(ones(16) >> upper);
        reaching.psid_bits() & upper != 0 || !reaching.psid_mask() & upper != 0
    }

    /// The PSID that `port` has under offset `offset` and length `len`, or `None` where the port
    /// is excluded or `offset + len > 16`. With `len` 0 it is 0.
    #[must_use]
    pub const fn psid_of(offset: u8, len: u8, port: u16) -> Option<u16> {
        if offset > 16 || len > 16 || offset + len > 16 || excluded(offset, port) {
            return None;
        }
        let psid = ((port as u32) >> (16 - offset - len)) & ones(len);
        Some(lower_half(psid))
    }

    /// Whether the set contains a port below 1024, which is better not given to subscribers of a
    /// shared address (RFC 7596 §5.1; R-022).
    #[must_use]
    pub const fn contains_system_ports(self) -> bool {
        self.overlaps(&SYSTEM_PORTS)
    }

    /// `m`, the bits of a port right of the PSID.
    const fn free_bits(self) -> u8 {
        16 - self.offset - self.len
    }

    const fn range_count(self) -> u32 {
        // Excluded for a > 0 is the block A = 0.
        (1 << self.offset) - (self.offset != 0) as u32
    }

    const fn psid_mask(self) -> u32 {
        ones(self.len) << self.free_bits()
    }

    const fn psid_bits(self) -> u32 {
        (self.psid as u32) << self.free_bits()
    }
}

/// The lowest `n` bits, `n` up to 16.
const fn ones(n: u8) -> u32 {
    (1 << n) - 1
}

const fn excluded(offset: u8, port: u16) -> bool {
    offset != 0 && (port as u32) >> (16 - offset) == 0
}

const fn lower_half(n: u32) -> u16 {
    let [_, _, high, low] = n.to_be_bytes();
    u16::from_be_bytes([high, low])
}

impl fmt::Display for PortParams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { offset, len, psid } = self;
        write!(f, "offset {offset} length {len} PSID {psid}")
    }
}

/// The contiguous ranges of a port set, see [`PortParams::ranges`].
#[derive(Clone, Debug)]
pub struct PortRanges {
    ports: PortParams,
    next: u32, // the upper `a` bits of the next range, 2^a at the end
}

impl Iterator for PortRanges {
    type Item = RangeInclusive<u16>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next >> self.ports.offset != 0 {
            return None;
        }
        let first = self.next << (16 - self.ports.offset) | self.ports.psid_bits();
        let last = first | ones(self.ports.free_bits());
        self.next += 1;
        Some(lower_half(first)..=lower_half(last))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = (1_usize << self.ports.offset).saturating_sub(self.next as usize);
        (left, Some(left))
    }
}

impl ExactSizeIterator for PortRanges {}
impl FusedIterator for PortRanges {}
