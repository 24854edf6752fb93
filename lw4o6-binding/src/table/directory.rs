//! The directory: which block does what. Swapped as a whole, picked up once per batch.
//!
//! ```text
//! word 0   ranges: first group (32) | number (32)
//! word 1   root of the ranges: group, 0 = none
//! word 2   index of hashed bindings: first group (32) | buckets (32)
//! word 3   index of addresses: the same
//! word 4   index of B4 addresses: the same
//! word 5   AFTR list: first group (32) | capacity (32)
//! ```
//! A *range* is a run of IPv4 addresses with one (a, k), two words:
//!
//! ```text
//! word 0   first address (32) | last address (32)
//! word 1   first line, 0 = hashed (32) | PSID offset (8) | PSID length (8) | flags (16)
//! ```
//! Ranges are ordered and do not overlap. Up to [`NEAR`] of them are copied into the reader and
//! compared one after the other; with more, a binary search without branches finds the one, and
//! above [`ROOTLESS`] the root names the few that touch the /16 of an address first.

use super::aftr::AftrList;
use super::arena::{Arena, Block};
use super::bits::{high32, join, low8, low16, low32};
use super::buckets::Buckets;
use super::sync::Ordering;

/// Groups of a directory block.
pub(super) const DIRECTORY_GROUPS: u32 = 1;
/// Ranges that a reader keeps itself.
pub(super) const NEAR: usize = 8;
/// Ranges that are searched without a root.
pub(super) const ROOTLESS: usize = 64;
/// Groups of a root: one word for every /16.
pub(super) const ROOT_GROUPS: u32 = 0x1_0000 / 8;
/// Groups that hold `ranges` ranges.
pub(super) const fn range_groups(ranges: u32) -> u32 {
    ranges.div_ceil(4)
}

/// Range flag: some addresses have other parameters; ask the address index first.
pub(super) const EXCEPTIONS: u16 = 1;
/// Range flag: no pool; an address is managed only while the address index lists it.
pub(super) const LISTED: u16 = 2;

/// A run of addresses with one (a, k).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) first: u32,
    pub(super) last: u32,
    /// First line of the dense block, 0 = bindings are hashed.
    pub(super) base: u32,
    pub(super) offset: u8,
    pub(super) len: u8,
    pub(super) flags: u16,
}

impl Range {
    /// A range that contains no address.
    pub(super) const NONE: Self = Self {
        first: 1,
        last: 0,
        base: 0,
        offset: 0,
        len: 0,
        flags: 0,
    };

    pub(super) const fn contains(&self, ipv4: u32) -> bool {
        self.first <= ipv4 && ipv4 <= self.last
    }

    pub(super) const fn has(&self, offset: u8, len: u8) -> bool {
        self.offset == offset && self.len == len
    }

    /// Line of a binding in the dense block.
    pub(super) const fn line(&self, ipv4: u32, psid: u16) -> u32 {
        self.base
            .wrapping_add(ipv4.wrapping_sub(self.first) << (self.len & 31))
            .wrapping_add(psid as u32)
    }

    /// Bindings that fit.
    pub(super) const fn lines(&self) -> u64 {
        (self.last as u64 + 1).wrapping_sub(self.first as u64) << (self.len & 31)
    }

    pub(super) const fn pack(&self) -> [u64; 2] {
        let tail = (self.offset as u32) << 24 | (self.len as u32) << 16 | self.flags as u32;
        [join(self.first, self.last), join(self.base, tail)]
    }

    pub(super) const fn unpack(words: [u64; 2]) -> Self {
        let [span, rest] = words;
        Self {
            first: high32(span),
            last: low32(span),
            base: high32(rest),
            offset: low8(rest >> 24),
            len: low8(rest >> 16),
            flags: low16(rest),
        }
    }
}

/// Where the blocks of one generation stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Directory {
    pub(super) ranges_first: u32,
    pub(super) ranges_count: u32,
    pub(super) root: u32,
    pub(super) hashed: Buckets,
    pub(super) addresses: Buckets,
    pub(super) b4s: Buckets,
    pub(super) aftrs: AftrList,
}

impl Directory {
    /// Writes a directory block that no reader knows yet.
    pub(super) fn write(&self, arena: Arena, group: u32) {
        let words = [
            join(self.ranges_first, self.ranges_count),
            u64::from(self.root),
            join(self.hashed.first, self.hashed.count),
            join(self.addresses.first, self.addresses.count),
            join(self.b4s.first, self.b4s.count),
            join(self.aftrs.first, self.aftrs.capacity),
        ];
        for (index, word) in words.into_iter().enumerate() {
            arena.store(group, index, word, Ordering::Relaxed);
        }
    }

    pub(super) fn read(arena: Arena, group: u32) -> Self {
        let load = |index| arena.load(group, index, Ordering::Relaxed);
        let buckets = |index| {
            let word = load(index);
            Buckets {
                first: high32(word),
                count: low32(word),
            }
        };
        let (ranges, aftrs) = (load(0), load(5));
        Self {
            ranges_first: high32(ranges),
            ranges_count: low32(ranges),
            root: low32(load(1)),
            hashed: buckets(2),
            addresses: buckets(3),
            b4s: buckets(4),
            aftrs: AftrList {
                first: high32(aftrs),
                capacity: low32(aftrs),
            },
        }
    }

    pub(super) fn range_block(&self) -> Block {
        Block {
            first: self.ranges_first,
            groups: range_groups(self.ranges_count),
        }
    }

    pub(super) fn root_block(&self) -> Block {
        Block {
            first: self.root,
            groups: if self.root == 0 { 0 } else { ROOT_GROUPS },
        }
    }

    /// Range number `index`.
    pub(super) fn range_at(&self, arena: Arena, index: u32) -> Range {
        let word = index as usize * 2;
        let load = |index| arena.load(self.ranges_first, index, Ordering::Relaxed);
        Range::unpack([load(word), load(word + 1)])
    }

    /// The range an address lies in, by root and binary search.
    pub(super) fn range_of(&self, arena: Arena, ipv4: u32) -> Option<Range> {
        let entry = match self.root {
            0 => u64::from(self.ranges_count),
            root => arena.load(root, ipv4 as usize >> 16, Ordering::Relaxed),
        };
        let (mut at, mut size) = (high32(entry), low32(entry));
        while size > 1 {
            let half = size / 2;
            let first = arena.load(
                self.ranges_first,
                (at + half) as usize * 2,
                Ordering::Relaxed,
            ) >> 32;
            at += if first <= u64::from(ipv4) { half } else { 0 };
            size -= half;
        }
        let range = self.range_at(arena, at);
        (size != 0 && range.contains(ipv4)).then_some(range)
    }
}
