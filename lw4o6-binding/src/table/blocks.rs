//! Taking blocks, publishing what was built in them, and giving the old ones back.

use super::TableError;
use super::arena::Block;
use super::bits::join;
use super::directory::DIRECTORY_GROUPS;
use super::epoch::DIRECTORY_WORD;
use super::plan;
use super::sync::Ordering;
use super::writer::TableWriter;

impl TableWriter {
    /// Takes a cleared block.
    pub(super) fn take(&mut self, groups: u32) -> Result<Block, TableError> {
        let block = match self.free.take(groups) {
            Some(block) => block,
            None => {
                self.collect();
                let blocks = self.retired.len();
                self.free
                    .take(groups)
                    .ok_or(TableError::Memory { blocks })?
            }
        };
        self.arena.clear(block);
        Ok(block)
    }

    /// Room for the next directory; nothing while the generation is not published.
    pub(super) fn directory_block(&mut self) -> Result<Block, TableError> {
        if self.building {
            Ok(Block::default())
        } else {
            self.take(DIRECTORY_GROUPS)
        }
    }

    /// Gives `block` back if `result` is an error.
    pub(super) fn or_give_back<T>(
        &mut self,
        block: Block,
        result: Result<T, TableError>,
    ) -> Result<T, TableError> {
        if result.is_err() {
            self.free.give(block);
        }
        result
    }

    /// Makes the current generation the one that readers pick up.
    pub(super) fn publish(&mut self, block: Block) {
        if self.building {
            return;
        }
        self.generation.directory.write(self.arena, block.first);
        let old = core::mem::replace(&mut self.generation.directory_block, block);
        self.version = self.version.wrapping_add(1);
        let word = join(self.version, block.first);
        self.arena.store(0, DIRECTORY_WORD, word, Ordering::Release);
        self.mark();
        self.retire(old);
        self.collect();
    }

    /// Gives back a block that the directory published last does not name.
    pub(super) fn retire(&mut self, block: Block) {
        if self.building {
            self.free.give(block);
        } else if block.groups != 0 {
            self.retired.push((self.epoch, block));
        }
    }

    /// A root for a new list of ranges, if it pays and there is room.
    pub(super) fn root_block(&mut self, runs: usize) -> Block {
        let groups = plan::root_groups(runs, self.config.softwires);
        self.take(groups).unwrap_or_default()
    }

    /// Writes the ranges anew; the caller publishes a directory next. `root` is a new root, or
    /// nothing if every range has kept its addresses and the old root still holds.
    pub(super) fn set_ranges(&mut self, ranges: Block, root: Option<Block>) {
        let old = self.generation.directory.range_block();
        self.generation
            .write_ranges(self.arena, ranges, root.unwrap_or_default());
        self.generation.directory.ranges_first = ranges.first;
        self.generation.directory.ranges_count =
            u32::try_from(self.generation.runs.len()).unwrap_or(0);
        self.defer(old);
        if let Some(root) = root {
            let old = self.generation.directory.root_block();
            self.generation.directory.root = root.first;
            self.defer(old);
        }
    }

    /// Retires a block that stays in use until the next directory is published.
    pub(super) fn defer(&mut self, block: Block) {
        if self.building {
            self.free.give(block);
        } else if block.groups != 0 {
            self.retired.push((self.epoch + 1, block));
        }
    }
}
