//! Replacing everything at once.

use super::aftr::AftrList;
use super::buckets::Buckets;
use super::generation::{Index, Run};
use super::hash;
use super::plan::{self, Survey, buckets_for};
use super::slab::LINES_PER_GROUP;
use super::writer::TableWriter;
use super::{Pool, Slot, TableError};

impl TableWriter {
    /// Replaces all bindings and pools at once; readers see the old table or the new one. The
    /// AFTR addresses stay.
    ///
    /// The list is walked twice. Of several bindings with one key the last one holds.
    ///
    /// # Errors
    /// As [`insert`](Self::insert); the old table then stays as it was.
    pub fn replace_all(
        &mut self,
        slots: impl Iterator<Item = Slot> + Clone,
        pools: &[Pool],
    ) -> Result<(), TableError> {
        self.replace_generation(slots, pools, None)
    }

    /// [`replace_all`](Self::replace_all) with a new list of AFTR addresses, which the `aftr`
    /// numbers of `slots` are positions in.
    ///
    /// # Errors
    /// As [`replace_all`](Self::replace_all).
    pub fn replace_all_with_aftrs(
        &mut self,
        slots: impl Iterator<Item = Slot> + Clone,
        pools: &[Pool],
        aftrs: &[[u8; 16]],
    ) -> Result<(), TableError> {
        self.replace_generation(slots, pools, Some(aftrs))
    }

    fn replace_generation(
        &mut self,
        slots: impl Iterator<Item = Slot> + Clone,
        pools: &[Pool],
        aftrs: Option<&[[u8; 16]]>,
    ) -> Result<(), TableError> {
        self.collect();
        let directory = self.directory_block()?;
        let old = core::mem::take(&mut self.generation);
        let list = old.directory.aftrs;
        if aftrs.is_none() {
            self.generation.directory.aftrs = list;
        }
        self.building = true;
        let mut built = self.start(slots.clone(), pools, aftrs);
        if built.is_ok() {
            built = slots.into_iter().try_for_each(|slot| self.insert(&slot));
        }
        self.building = false;
        if let Err(error) = built {
            let failed = core::mem::replace(&mut self.generation, old);
            failed.blocks().for_each(|block| self.free.give(block));
            if failed.directory.aftrs != list && failed.directory.aftrs.capacity != 0 {
                self.free.give(failed.directory.aftrs.block());
            }
            self.free.give(directory);
            return Err(error);
        }
        self.publish(directory);
        old.blocks().for_each(|block| self.retire(block));
        if aftrs.is_some() {
            self.retire(list.block());
        }
        Ok(())
    }

    /// The blocks of a new generation, sized for `slots`, without bindings.
    pub(super) fn start(
        &mut self,
        slots: impl Iterator<Item = Slot>,
        pools: &[Pool],
        aftrs: Option<&[[u8; 16]]>,
    ) -> Result<(), TableError> {
        if self.generation.directory.aftrs.capacity == 0 {
            let capacity = u32::try_from(self.config.aftrs).unwrap_or(0).max(1);
            let block = self.take(AftrList::groups(capacity))?;
            self.generation.directory.aftrs = AftrList {
                first: block.first,
                capacity,
            };
        }
        for address in aftrs.unwrap_or_default() {
            let list = self.generation.directory.aftrs;
            list.push(self.arena, &self.secrets, hash::halves(address))
                .ok_or(TableError::Aftrs {
                    max: self.config.aftrs,
                })?;
        }
        let Survey {
            runs,
            total,
            hashed,
        } = Survey::new(slots, pools)?;
        if total > self.config.softwires {
            return Err(TableError::Softwires {
                max: self.config.softwires,
            });
        }
        for Run { mut range, count } in runs {
            if plan::is_dense(&Run { range, count }) {
                let block = Run { range, count }.block();
                range.base = self.take(block.groups)?.first * LINES_PER_GROUP;
            }
            self.generation.runs.push(Run { range, count: 0 });
        }
        let count = self.generation.runs.len();
        let ranges = self.take(plan::list_groups(count))?;
        let root = self.root_block(count);
        self.set_ranges(ranges, Some(root));
        for (index, words) in [
            (Index::Hashed, hashed),
            (Index::Addresses, 0),
            (Index::B4s, total),
        ] {
            let count = buckets_for(words);
            let first = self.take(count)?.first;
            self.generation.set_buckets(index, Buckets { first, count });
        }
        if hashed > 0 {
            let groups = u32::try_from(hashed)
                .unwrap_or(u32::MAX)
                .div_ceil(LINES_PER_GROUP);
            let block = self.take(groups)?;
            self.generation.slab.extend(block);
        }
        Ok(())
    }
}
