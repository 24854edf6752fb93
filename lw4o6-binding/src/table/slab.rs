//! Lines of hashed bindings: taken one at a time, given back one at a time.
//!
//! Free lines are chained through their first data word, so the writer needs no memory of its
//! own for them. A reader that still holds the number of a freed line finds it absent, or taken
//! by a binding with another key, and in both cases the binding it asked for had been removed.

use alloc::vec::Vec;

use super::arena::{Arena, Block};
use super::bits::low32;
use super::line::{self, Image};

/// Lines in a group.
pub(super) const LINES_PER_GROUP: u32 = 2;

#[derive(Debug, Default)]
pub(super) struct Slab {
    /// Blocks of lines.
    pub(super) chunks: Vec<Block>,
    /// First free line, 0 = none.
    free: u32,
    /// Lines of the newest chunk that were never used.
    fresh: core::ops::Range<u32>,
}

impl Slab {
    pub(super) fn is_empty(&self) -> bool {
        self.free == 0 && self.fresh.is_empty()
    }

    /// Adds a cleared block of lines. Only when nothing is left.
    pub(super) fn extend(&mut self, block: Block) {
        self.fresh = block.first * LINES_PER_GROUP..(block.first + block.groups) * LINES_PER_GROUP;
        self.chunks.push(block);
    }

    /// Takes a line.
    pub(super) fn take(&mut self, arena: Arena) -> Option<u32> {
        if self.free == 0 {
            return self.fresh.next();
        }
        let number = self.free;
        self.free = arena
            .line(number)
            .map_or(0, |line| low32(line::peek(line).b4[0]));
        Some(number)
    }

    /// The content a line must be given when it becomes free.
    pub(super) fn give(&mut self, number: u32) -> Image {
        let image = Image {
            b4: [u64::from(self.free), 0],
            ..Image::default()
        };
        self.free = number;
        image
    }

    pub(super) fn groups(&self) -> u32 {
        self.chunks.iter().map(|chunk| chunk.groups).sum()
    }
}
