//! Index of words: two-choice buckets of eight.
//!
//! A hash names two buckets of 64 bytes; the word of a key stands in one of them, put where more
//! room was. A lookup reads both and nothing else. Compared with a probe sequence: a removal
//! clears its word and leaves no tombstone, nothing ever moves, a miss costs exactly two cache
//! lines for whatever an attacker sends, and no rebuild is needed under churn. At half load a
//! bucket runs over about never (the fullest of a million holds seven); when both are full, the
//! owner builds a larger index.
//!
//! Zero is the empty word. Words are published with `Release` and read with `Acquire`, so what
//! a word points to is there. A word changes in place by one store.

use super::arena::{Arena, Block, GROUP};
use super::bits::{high32, low32, scale};
use super::sync::{AtomicU64, Ordering};

/// Where an index stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Buckets {
    /// First group.
    pub(super) first: u32,
    /// Number of buckets, one group each.
    pub(super) count: u32,
}

impl Buckets {
    pub(super) const fn block(self) -> Block {
        Block {
            first: self.first,
            groups: self.count,
        }
    }

    /// Words it has room for.
    pub(super) const fn words(self) -> usize {
        self.count as usize * GROUP
    }

    /// The two groups that may hold a word with this hash.
    pub(super) const fn pair(self, hash: u64) -> [u32; 2] {
        [
            self.first + scale(high32(hash), self.count),
            self.first + scale(low32(hash), self.count),
        ]
    }

    /// The first word of the two buckets that `wanted` accepts.
    pub(super) fn find(
        self,
        arena: Arena,
        hash: u64,
        mut wanted: impl FnMut(u64) -> bool,
    ) -> Option<(&'static AtomicU64, u64)> {
        if self.count == 0 {
            return None;
        }
        for group in self.pair(hash) {
            for word in arena.group(group)? {
                let value = word.load(Ordering::Acquire);
                if value != 0 && wanted(value) {
                    return Some((word, value));
                }
            }
        }
        None
    }

    /// Any word of the two buckets that `wanted` accepts, 0 if none does. Looks at all sixteen
    /// without a branch, so that the misses of many keys overlap.
    pub(super) fn select(self, arena: Arena, hash: u64, wanted: impl Fn(u64) -> bool) -> u64 {
        let mut found = 0;
        if self.count != 0 {
            for group in self.pair(hash) {
                for word in arena.group(group).into_iter().flatten() {
                    let value = word.load(Ordering::Acquire);
                    found = if wanted(value) { value } else { found };
                }
            }
        }
        found
    }

    /// A free word for this hash, in the emptier bucket. For the writer.
    pub(super) fn vacancy(self, arena: Arena, hash: u64) -> Option<&'static AtomicU64> {
        if self.count == 0 {
            return None;
        }
        let free = |group| {
            let words = arena.group(group).map_or(&[][..], |group| &group[..]);
            let empty = |word: &&AtomicU64| word.load(Ordering::Relaxed) == 0;
            (words.iter().filter(empty).count(), words.iter().find(empty))
        };
        let [one, two] = self.pair(hash);
        let (one, two) = (free(one), free(two));
        if two.0 > one.0 { two.1 } else { one.1 }
    }
}
