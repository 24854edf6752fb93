//! How much memory a table needs, and which addresses get dense blocks.

use alloc::vec::Vec;

use super::aftr::AftrList;
use super::arena::FIXED_GROUPS;
use super::directory::{DIRECTORY_GROUPS, LISTED, ROOT_GROUPS, ROOTLESS, Range, range_groups};
use super::generation::Run;
use super::{Pool, Slot, TableConfig, TableError};

/// Smallest run without a pool that gets a dense block, in lines. Below, hashing is as good and
/// the list of ranges stays short.
const LEAST_RUN: u64 = 256;

/// Most softwires: lines are numbered with 32 bits, softwires of a B4 with 28.
const MOST_SOFTWIRES: usize = (1 << 28) - 1;

/// Smallest table whose ranges get a root.
const ROOT_SOFTWIRES: usize = 1 << 16;

/// Groups for the ranges and the small blocks of two generations.
const SMALL_BLOCKS: usize = if cfg!(loom) { 32 } else { 3 * 1024 + 64 };

/// Buckets of an index for `words` words at half load.
pub(super) fn buckets_for(words: usize) -> u32 {
    u32::try_from(words.div_ceil(4).max(2)).unwrap_or(u32::MAX)
}

/// Groups that [`arena_words`](super::arena_words) asks for.
///
/// Per softwire, in groups of 64 bytes: dense blocks at 3/8 load 1.33, hashed lines 0.6, three
/// indexes at half load 0.75, the same for the next generation at half load 1.75, together
/// 4.43; the rest is for the cuts between blocks.
pub(super) fn arena_groups(config: &TableConfig) -> usize {
    let aftrs = AftrList::groups(u32::try_from(config.aftrs).unwrap_or(u32::MAX)) as usize;
    let roots = 2 * root_groups(usize::MAX, config.softwires) as usize;
    let bindings = config.softwires.saturating_mul(9) / 2 + config.softwires / 16;
    FIXED_GROUPS
        + config.readers
        + SMALL_BLOCKS
        + 2 * aftrs
        + roots
        + 4 * DIRECTORY_GROUPS as usize
        + bindings
}

/// Checks what cannot be numbered.
pub(super) fn check_config(config: &TableConfig, words: usize) -> Result<(), TableError> {
    if config.softwires > MOST_SOFTWIRES || config.aftrs > 0x1_0000 {
        let TableConfig {
            softwires, aftrs, ..
        } = *config;
        return Err(TableError::TooLarge { softwires, aftrs });
    }
    let need = super::arena_words(config);
    if words < need {
        return Err(TableError::SmallArena { need, have: words });
    }
    Ok(())
}

/// Whether offset and length leave a port set.
pub(super) fn is_port_set(offset: u8, len: u8) -> bool {
    u32::from(offset) + u32::from(len) <= 16
}

/// What a list of bindings needs.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// Ranges in order, those with a dense block still without a place, and the bindings in each.
    pub(super) runs: Vec<Run>,
    /// All bindings.
    pub(super) total: usize,
    /// Bindings outside dense blocks.
    pub(super) hashed: usize,
}

impl Survey {
    /// Counts the bindings of each pool and finds runs of used addresses outside of pools.
    pub(super) fn new(
        slots: impl Iterator<Item = Slot>,
        pools: &[Pool],
    ) -> Result<Self, TableError> {
        let mut runs = pool_runs(pools)?;
        let mut strays = Vec::new();
        let mut total = 0;
        for slot in slots {
            total += 1;
            let at = runs.partition_point(|run| run.range.first <= slot.ipv4);
            let run = at.checked_sub(1).and_then(|at| runs.get_mut(at));
            match run.filter(|run| run.range.contains(slot.ipv4)) {
                Some(run) if run.range.has(slot.offset, slot.len) => run.count += 1,
                Some(_) => {}
                None => add_stray(&mut strays, &slot),
            }
        }
        runs.extend(join_strays(strays));
        runs.sort_unstable_by_key(|run| run.range.first);
        let dense = runs
            .iter()
            .filter(|run| is_dense(run))
            .map(|run| run.count)
            .sum::<u64>();
        let hashed = total - usize::try_from(dense).unwrap_or(total).min(total);
        Ok(Self {
            runs,
            total,
            hashed,
        })
    }
}

/// Whether a run is worth a dense block: from half occupancy.
pub(super) fn is_dense(run: &Run) -> bool {
    run.count > 0 && run.count.saturating_mul(2) >= run.range.lines()
}

/// The pools in order, neighbors with equal parameters joined.
fn pool_runs(pools: &[Pool]) -> Result<Vec<Run>, TableError> {
    let mut order = (0..).zip(pools).collect::<Vec<(usize, &Pool)>>();
    order.sort_by_key(|(_, pool)| pool.first);
    let mut runs = Vec::<Run>::with_capacity(order.len());
    for (index, pool) in order {
        let Pool {
            first,
            last,
            offset,
            len,
        } = *pool;
        let overlaps = runs.last().is_some_and(|run| run.range.last >= first);
        if first > last || overlaps || !is_port_set(offset, len) {
            return Err(TableError::BadPool { index });
        }
        match runs.last_mut() {
            Some(run) if run.range.last + 1 == first && run.range.has(offset, len) => {
                run.range.last = last;
            }
            _ => {
                let range = Range {
                    first,
                    last,
                    offset,
                    len,
                    ..Range::NONE
                };
                runs.push(Run { range, count: 0 });
            }
        }
    }
    Ok(runs)
}

/// Notes a binding outside of all pools. Ordered input makes one entry per run.
fn add_stray(strays: &mut Vec<Run>, slot: &Slot) {
    if let Some(run) = strays.last_mut()
        && run.range.has(slot.offset, slot.len)
        && (run.range.last == slot.ipv4 || run.range.last.checked_add(1) == Some(slot.ipv4))
    {
        run.range.last = slot.ipv4;
        run.count += 1;
        return;
    }
    let Slot {
        ipv4, offset, len, ..
    } = *slot;
    let range = Range {
        first: ipv4,
        last: ipv4,
        offset,
        len,
        flags: LISTED,
        ..Range::NONE
    };
    strays.push(Run { range, count: 1 });
}

/// Joins what touches, and keeps what is worth a dense block.
fn join_strays(mut strays: Vec<Run>) -> impl Iterator<Item = Run> {
    strays.sort_unstable_by_key(|run| (run.range.first, run.range.last));
    let mut joined = Vec::<Run>::new();
    for run in strays {
        let (range, count) = (run.range, run.count);
        match joined.last_mut() {
            Some(last)
                if last.range.has(range.offset, range.len)
                    && range.first <= last.range.last.saturating_add(1) =>
            {
                last.range.last = last.range.last.max(range.last);
                last.count += count;
            }
            // Mixed parameters on one address: refused when it is inserted.
            Some(last) if range.first <= last.range.last => {}
            _ => joined.push(run),
        }
    }
    joined
        .into_iter()
        .filter(|run| is_dense(run) && run.range.lines() >= LEAST_RUN)
}

/// Groups of the root that `runs` ranges call for. Small tables go without: a root would take
/// memory that is meant for bindings.
pub(super) fn root_groups(runs: usize, softwires: usize) -> u32 {
    if runs > ROOTLESS && softwires >= ROOT_SOFTWIRES {
        ROOT_GROUPS
    } else {
        0
    }
}

/// Groups of the list of ranges.
pub(super) fn list_groups(runs: usize) -> u32 {
    range_groups(u32::try_from(runs).unwrap_or(u32::MAX))
}
