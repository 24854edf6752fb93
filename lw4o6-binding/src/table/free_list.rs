//! The sub-allocator: which groups of the arena are free. Used by the writer only.

use alloc::vec::Vec;

use super::arena::Block;

/// Free runs, ordered by position, never touching each other.
#[derive(Debug, Default)]
pub(super) struct FreeList {
    runs: Vec<Block>,
}

impl FreeList {
    /// Everything in `block` is free.
    pub(super) fn new(block: Block) -> Self {
        let mut list = Self::default();
        list.give(block);
        list
    }

    /// Takes the first run that is long enough.
    pub(super) fn take(&mut self, groups: u32) -> Option<Block> {
        if groups == 0 {
            return Some(Block::default());
        }
        let at = self.runs.iter().position(|run| run.groups >= groups)?;
        let run = self.runs.get_mut(at)?;
        let block = Block {
            first: run.first,
            groups,
        };
        run.first += groups;
        run.groups -= groups;
        if run.groups == 0 {
            self.runs.remove(at);
        }
        Some(block)
    }

    /// Gives a block back and joins it with its neighbors.
    pub(super) fn give(&mut self, block: Block) {
        if block.groups == 0 {
            return;
        }
        let mut at = self.runs.partition_point(|run| run.first < block.first);
        self.runs.insert(at, block);
        for _ in 0..2 {
            let (Some(left), Some(right)) = (at.checked_sub(1), self.runs.get(at).copied()) else {
                at += 1;
                continue;
            };
            if let Some(run) = self.runs.get_mut(left)
                && run.first + run.groups == right.first
            {
                run.groups += right.groups;
                self.runs.remove(at);
            } else {
                at += 1;
            }
        }
    }

    /// Free groups.
    pub(super) fn groups(&self) -> usize {
        self.runs.iter().map(|run| run.groups as usize).sum()
    }
}
