//! Moving bindings between hashed and dense as pools fill up and empty.
//!
//! A range becomes dense from half occupancy, but only when the index of hashed bindings has to
//! grow anyway: then every hashed binding is visited once, and growth by doubling has paid for
//! it. It becomes hashed again below 3/8, which takes so many removals that they have paid for
//! the move. In both directions the bindings stand in both places until the readers have taken
//! up the new directory; nobody changes the place that readers are about to leave.

use alloc::vec::Vec;

use super::TableError;
use super::arena::Block;
use super::bits::join;
use super::buckets::Buckets;
use super::directory::{LISTED, Range};
use super::generation::{Generation, Run};
use super::line::{Image, Key};
use super::plan::{self, buckets_for};
use super::slab::{LINES_PER_GROUP, Slab};
use super::sync::Ordering;
use super::writer::TableWriter;

/// Ranges below this many lines stay what they are: too little to win.
const LEAST_LINES: u64 = 64;

/// What a promotion builds before anything points to it.
struct Promotion {
    /// Blocks to give back if it fails.
    blocks: Vec<Block>,
    directory: Block,
    ranges: Block,
    /// The runs with their dense blocks in place.
    runs: Vec<Run>,
    index: Buckets,
    slab: Slab,
    /// Bindings that stay hashed.
    remaining: usize,
}

impl TableWriter {
    /// Gives dense blocks to the ranges that are worth one. `false`: there are none, or there is
    /// no room.
    pub(super) fn promote(&mut self) -> bool {
        let worth = |run: &Run| {
            run.range.base == 0 && run.range.lines() >= LEAST_LINES && plan::is_dense(run)
        };
        if self.moving || !self.generation.runs.iter().any(worth) {
            return false;
        }
        let mut blocks = Vec::new();
        let Ok(mut next) = self.plan_promotion(&mut blocks, worth) else {
            blocks.into_iter().for_each(|block| self.free.give(block));
            return false;
        };
        if !self.fill_promotion(&mut next) {
            next.blocks
                .into_iter()
                .for_each(|block| self.free.give(block));
            return false;
        }
        let Promotion {
            directory,
            ranges,
            runs,
            index,
            slab,
            remaining,
            ..
        } = next;
        let old_index = self.generation.directory.hashed;
        let old_slab = core::mem::replace(&mut self.generation.slab, slab);
        self.generation.runs = runs;
        self.generation.directory.hashed = index;
        self.generation.used.hashed = remaining;
        self.set_ranges(ranges, None);
        self.defer(old_index.block());
        old_slab
            .chunks
            .into_iter()
            .for_each(|chunk| self.defer(chunk));
        self.publish(directory);
        true
    }

    fn plan_promotion(
        &mut self,
        blocks: &mut Vec<Block>,
        worth: impl Fn(&Run) -> bool,
    ) -> Result<Promotion, TableError> {
        let mut take = |writer: &mut Self, groups| {
            let block = writer.take(groups)?;
            blocks.push(block);
            Ok(block)
        };
        let mut runs = self.generation.runs.clone();
        let mut moved = 0;
        for run in runs.iter_mut().filter(|run| worth(run)) {
            run.range.base = take(self, run.block().groups)?.first * LINES_PER_GROUP;
            moved += usize::try_from(run.count).unwrap_or(0);
        }
        let remaining = self.generation.used.hashed.saturating_sub(moved);
        let directory = if self.building {
            Block::default()
        } else {
            take(self, 1)?
        };
        let ranges = take(self, plan::list_groups(runs.len()))?;
        let index = take(self, buckets_for(remaining * 2))?;
        let index = Buckets {
            first: index.first,
            count: index.groups,
        };
        let mut slab = Slab::default();
        let lines = u32::try_from(remaining).unwrap_or(u32::MAX);
        if lines > 0 {
            slab.extend(take(self, lines.div_ceil(LINES_PER_GROUP))?);
        }
        let blocks = core::mem::take(blocks);
        Ok(Promotion {
            blocks,
            directory,
            ranges,
            runs,
            index,
            slab,
            remaining,
        })
    }

    /// Copies every hashed binding to its new place. `false`: a bucket ran over.
    fn fill_promotion(&self, next: &mut Promotion) -> bool {
        let mut fits = true;
        let Promotion {
            runs, index, slab, ..
        } = next;
        self.generation.each_hashed(self.arena, |_, image| {
            let key = Key::unpack(image.key);
            let range = Generation::run_in(runs, key.ipv4).map(|run| run.range);
            let dense = range.filter(|range| range.base != 0 && range.has(key.offset, key.len));
            if let Some(range) = dense {
                self.write(range.line(key.ipv4, key.psid), image);
                return;
            }
            let (hash, print) = self.secrets.key(key.ipv4, key.psid);
            match (index.vacancy(self.arena, hash), slab.take(self.arena)) {
                (Some(word), Some(number)) => {
                    self.write(number, image);
                    word.store(join(print, number), Ordering::Relaxed);
                }
                _ => fits = false,
            }
        });
        fits
    }

    /// Hashes the bindings of a dense range that has become too empty.
    pub(super) fn demote_if_sparse(&mut self, at: Option<usize>) {
        let Some((at, run)) = at.and_then(|at| Some((at, *self.generation.runs.get(at)?))) else {
            return;
        };
        let lines = run.range.lines();
        let sparse = run.count.saturating_mul(8) < lines.saturating_mul(3);
        if run.range.base == 0 || lines < LEAST_LINES || !sparse {
            return;
        }
        let mut images = Vec::new();
        self.generation
            .each_dense(self.arena, &run, |_, image| images.push(*image));
        self.moving = true;
        let added = images
            .iter()
            .take_while(|image| self.hash_too(image).is_ok())
            .count();
        self.moving = false;
        if added < images.len() || self.drop_dense(at, run.range).is_err() {
            // No room: stay dense, and try again at a later removal.
            for image in images.iter().take(added) {
                self.unhash(image);
            }
        }
    }

    /// Adds a binding of a dense block to the hashed ones. No reader looks there for it yet.
    fn hash_too(&mut self, image: &Image) -> Result<(), TableError> {
        let key = Key::unpack(image.key);
        self.reserve_hashed(key)?;
        self.add_hashed(key, image);
        Ok(())
    }

    /// Takes back [`hash_too`](Self::hash_too).
    fn unhash(&mut self, image: &Image) {
        let key = Key::unpack(image.key);
        if let Some((word, number)) = self.generation.hashed(self.arena, &self.secrets, key) {
            word.store(0, Ordering::Release);
            self.generation.used.hashed -= 1;
            let empty = self.generation.slab.give(number);
            self.write(number, &empty);
        }
    }

    /// Publishes a range without its dense block. A range that is no pool goes altogether.
    fn drop_dense(&mut self, at: usize, range: Range) -> Result<(), TableError> {
        let goes = range.flags & LISTED != 0;
        let directory = self.directory_block()?;
        let left = self.generation.runs.len() - usize::from(goes);
        let ranges = self.take(plan::list_groups(left));
        let ranges = self.or_give_back(directory, ranges)?;
        let root = goes.then(|| self.root_block(left));
        let old = self
            .generation
            .runs
            .get(at)
            .map(Run::block)
            .unwrap_or_default();
        if goes {
            self.generation.runs.remove(at);
        } else if let Some(run) = self.generation.runs.get_mut(at) {
            run.range.base = 0;
        }
        self.set_ranges(ranges, root);
        self.defer(old);
        self.publish(directory);
        Ok(())
    }
}
