//! The caller's memory, seen as groups of eight words.
//!
//! ```text
//! group 0            word 0: directory (generation << 32 | group), word 1: epoch
//! group 1            the in-flight slot, see `line`
//! groups 2..2+r      one group for each reader, word 0: the epoch it announced
//! groups 2+r..       blocks of the sub-allocator
//! ```
//! A group is 64 bytes: one bucket of an index or two lines. Blocks are whole groups, so with
//! page-aligned memory no line and no bucket crosses a cache line.

use super::sync::{AtomicU64, Ordering};

/// Words in a group.
pub(super) const GROUP: usize = 8;
/// Words in a line.
pub(super) const LINE: usize = 4;
/// Groups before the readers' own.
pub(super) const FIXED_GROUPS: usize = 2;

pub(super) type Group = [AtomicU64; GROUP];
pub(super) type Line = [AtomicU64; LINE];

/// A run of groups handed out by the sub-allocator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Block {
    /// First group.
    pub(super) first: u32,
    /// Number of groups.
    pub(super) groups: u32,
}

/// The whole memory of a table.
#[derive(Clone, Copy)]
pub(super) struct Arena {
    words: &'static [AtomicU64],
    groups: &'static [Group],
    lines: &'static [Line],
}

impl Arena {
    pub(super) fn new(words: &'static [AtomicU64]) -> Self {
        Self {
            words,
            groups: words.as_chunks().0,
            lines: words.as_chunks().0,
        }
    }

    /// Number of whole groups.
    pub(super) fn groups(self) -> usize {
        self.groups.len()
    }

    pub(super) fn group(self, group: u32) -> Option<&'static Group> {
        self.groups.get(group as usize)
    }

    pub(super) fn line(self, line: u32) -> Option<&'static Line> {
        self.lines.get(line as usize)
    }

    /// Word `index` of the block that starts at `group`.
    pub(super) fn word(self, group: u32, index: usize) -> Option<&'static AtomicU64> {
        self.words.get(group as usize * GROUP + index)
    }

    /// Value of a word; a word outside the arena reads as zero, which means "nothing" everywhere.
    pub(super) fn load(self, group: u32, index: usize, order: Ordering) -> u64 {
        self.word(group, index).map_or(0, |word| word.load(order))
    }

    /// Stores a word of a block that the writer owns.
    pub(super) fn store(self, group: u32, index: usize, value: u64, order: Ordering) {
        let word = self.word(group, index);
        debug_assert!(
            word.is_some(),
            "word {index} of group {group} is outside the arena"
        );
        if let Some(word) = word {
            word.store(value, order);
        }
    }

    /// Clears a block. No reader may hold it.
    pub(super) fn clear(self, block: Block) {
        let first = block.first as usize;
        let groups = self
            .groups
            .get(first..first + block.groups as usize)
            .unwrap_or_default();
        for word in groups.as_flattened() {
            word.store(0, Ordering::Relaxed);
        }
    }
}

impl core::fmt::Debug for Arena {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Arena")
            .field("words", &self.words.len())
            .finish()
    }
}
