//! AFTR addresses: a list that only grows within a generation, with an index beside it.
//!
//! ```text
//! group 0          word 0: number of addresses, word 1: 1 if the index ran over
//! groups 1..1+b    index: fingerprint (32) | number + 1 (32)
//! then             the addresses, two words each
//! ```
//! An address is written before the count that covers it, so a reader takes the count with
//! `Acquire` and finds everything below it. Up to [`SHORT`] addresses are compared one by one.

use super::arena::{Arena, Block, GROUP};
use super::bits::{join, low16, low32};
use super::buckets::Buckets;
use super::hash::Secrets;
use super::sync::Ordering;

/// Lists up to this length are searched without the index.
const SHORT: u64 = 8;

/// Where the list stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct AftrList {
    pub(super) first: u32,
    /// Addresses it has room for.
    pub(super) capacity: u32,
}

impl AftrList {
    /// Groups that a list of this capacity needs.
    pub(super) fn groups(capacity: u32) -> u32 {
        1 + Self::index_groups(capacity) + capacity.div_ceil(4)
    }

    /// A quarter full at most, so that it practically never runs over.
    fn index_groups(capacity: u32) -> u32 {
        if u64::from(capacity) <= SHORT {
            0
        } else {
            (capacity / 2).max(2)
        }
    }

    pub(super) fn block(self) -> Block {
        Block {
            first: self.first,
            groups: Self::groups(self.capacity),
        }
    }

    fn index(self) -> Buckets {
        Buckets {
            first: self.first + 1,
            count: Self::index_groups(self.capacity),
        }
    }

    /// Group of the first address.
    fn base(self) -> u32 {
        self.first + 1 + Self::index_groups(self.capacity)
    }

    pub(super) fn len(self, arena: Arena) -> u64 {
        if self.capacity == 0 {
            0
        } else {
            arena.load(self.first, 0, Ordering::Acquire)
        }
    }

    /// The address with this number.
    pub(super) fn get(self, arena: Arena, number: u16) -> Option<[u64; 2]> {
        (u64::from(number) < self.len(arena)).then(|| self.at(arena, u64::from(number)))
    }

    fn at(self, arena: Arena, number: u64) -> [u64; 2] {
        let word = low32(number) as usize * 2;
        let load = |index| arena.load(self.base(), index, Ordering::Relaxed);
        [load(word), load(word + 1)]
    }

    /// The number of an address.
    pub(super) fn find(self, arena: Arena, secrets: &Secrets, address: [u64; 2]) -> Option<u16> {
        let len = self.len(arena);
        if len <= SHORT || arena.load(self.first, 1, Ordering::Acquire) != 0 {
            return (0..len).find(|&n| self.at(arena, n) == address).map(low16);
        }
        let (hash, print) = secrets.address(address);
        let number = |word| u64::from(low32(word)).wrapping_sub(1);
        self.index()
            .find(arena, hash, |word| {
                word >> 32 == print >> 32
                    && number(word) < len
                    && self.at(arena, number(word)) == address
            })
            .map(|(_, word)| low16(number(word)))
    }

    /// Appends an address that is not yet in the list. For the writer. `None`: the list is full.
    pub(super) fn push(self, arena: Arena, secrets: &Secrets, address: [u64; 2]) -> Option<u16> {
        let len = self.len(arena);
        if len >= u64::from(self.capacity) {
            return None;
        }
        let number = low16(len);
        let word = usize::from(number) * 2;
        arena.store(self.base(), word, address[0], Ordering::Relaxed);
        arena.store(self.base(), word + 1, address[1], Ordering::Relaxed);
        let (hash, print) = secrets.address(address);
        match self.index().vacancy(arena, hash) {
            Some(free) => {
                free.store(
                    join(low32(print >> 32), u32::from(number) + 1),
                    Ordering::Release,
                );
            }
            None => arena.store(self.first, 1, 1, Ordering::Release),
        }
        arena.store(self.first, 0, len + 1, Ordering::Release);
        Some(number)
    }
}

const _: () = assert!(GROUP == 8, "four addresses a group");
