//! What the writer knows about the blocks it has built.

use alloc::vec::Vec;

use super::arena::{Arena, Block};
use super::bits::{join, low8, low32};
use super::buckets::Buckets;
use super::directory::{Directory, EXCEPTIONS, LISTED, ROOT_GROUPS, Range};
use super::hash::Secrets;
use super::line::{self, Image, Key};
use super::slab::{LINES_PER_GROUP, Slab};
use super::sync::Ordering;

/// A range and how many bindings with its parameters stand in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    pub(super) range: Range,
    pub(super) count: u64,
}

impl Run {
    /// The dense block of the run.
    pub(super) fn block(&self) -> Block {
        let groups = self.range.lines().div_ceil(u64::from(LINES_PER_GROUP));
        Block {
            first: self.range.base / LINES_PER_GROUP,
            groups: low32(groups),
        }
    }
}

/// The part of a word of the B4 index that counts softwires; the rest is the fingerprint.
pub(super) const B4_COUNT: u64 = (1 << 28) - 1;

/// The three indexes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Index {
    /// Fingerprint (32) | line (32).
    Hashed,
    /// IPv4 address (32) | offset (5) | length (5) | bindings (22).
    Addresses,
    /// Fingerprint (36) | softwires (28).
    B4s,
}

/// Words in use in each index.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Used {
    pub(super) hashed: usize,
    pub(super) addresses: usize,
    pub(super) b4s: usize,
}

/// All blocks that a directory names, with the counts that only the writer needs.
#[derive(Debug, Default)]
pub(super) struct Generation {
    /// Ordered by address.
    pub(super) runs: Vec<Run>,
    pub(super) directory: Directory,
    /// Where the published directory stands.
    pub(super) directory_block: Block,
    pub(super) slab: Slab,
    /// Bindings.
    pub(super) live: usize,
    /// Words in use.
    pub(super) used: Used,
}

/// Parameters of an address and the bindings on it, from the address index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) offset: u8,
    pub(super) len: u8,
    pub(super) count: u32,
}

impl Listed {
    pub(super) const fn pack(self, ipv4: u32) -> u64 {
        join(
            ipv4,
            (self.offset as u32) << 27 | (self.len as u32) << 22 | self.count,
        )
    }

    /// The entry, unless the word is empty.
    pub(super) fn from_word(word: u64) -> Option<Self> {
        (word != 0).then(|| Self::unpack(word))
    }

    pub(super) const fn unpack(word: u64) -> Self {
        let low = low32(word);
        Self {
            offset: low8(word >> 27 & 31),
            len: low8(word >> 22 & 31),
            count: low & ((1 << 22) - 1),
        }
    }
}

impl Generation {
    pub(super) fn buckets(&self, index: Index) -> Buckets {
        match index {
            Index::Hashed => self.directory.hashed,
            Index::Addresses => self.directory.addresses,
            Index::B4s => self.directory.b4s,
        }
    }

    pub(super) fn set_buckets(&mut self, index: Index, buckets: Buckets) {
        match index {
            Index::Hashed => self.directory.hashed = buckets,
            Index::Addresses => self.directory.addresses = buckets,
            Index::B4s => self.directory.b4s = buckets,
        }
    }

    pub(super) fn used(&self, index: Index) -> usize {
        let Used {
            hashed,
            addresses,
            b4s,
        } = self.used;
        match index {
            Index::Hashed => hashed,
            Index::Addresses => addresses,
            Index::B4s => b4s,
        }
    }

    /// The run an address lies in.
    pub(super) fn run_of(&self, ipv4: u32) -> Option<usize> {
        let at = self
            .runs
            .partition_point(|run| run.range.first <= ipv4)
            .checked_sub(1)?;
        self.runs
            .get(at)
            .filter(|run| run.range.contains(ipv4))
            .map(|_| at)
    }

    /// The run of an ordered list that an address lies in.
    pub(super) fn run_in(runs: &[Run], ipv4: u32) -> Option<&Run> {
        let at = runs
            .partition_point(|run| run.range.first <= ipv4)
            .checked_sub(1)?;
        runs.get(at).filter(|run| run.range.contains(ipv4))
    }

    pub(super) fn range(&self, run: Option<usize>) -> Option<Range> {
        Some(self.runs.get(run?)?.range)
    }

    /// Whether bindings of `range` are counted in the address index.
    pub(super) fn is_listed(range: Option<Range>, offset: u8, len: u8) -> bool {
        range.is_none_or(|range| !range.has(offset, len) || range.flags & LISTED != 0)
    }

    /// The entry of an address in the address index.
    pub(super) fn listed(&self, arena: Arena, secrets: &Secrets, ipv4: u32) -> Option<Listed> {
        let (hash, _) = secrets.key(ipv4, 0);
        self.directory
            .addresses
            .find(arena, hash, |word| word >> 32 == u64::from(ipv4))
            .map(|(_, word)| Listed::unpack(word))
    }

    /// The range flags that the address index answers for.
    pub(super) fn asks_index(range: &Range) -> bool {
        range.flags & (EXCEPTIONS | LISTED) != 0
    }

    /// The line of a hashed binding and its word in the index.
    pub(super) fn hashed(
        &self,
        arena: Arena,
        secrets: &Secrets,
        key: Key,
    ) -> Option<(&'static super::sync::AtomicU64, u32)> {
        let (hash, print) = secrets.key(key.ipv4, key.psid);
        let packed = key.pack();
        let (word, value) = self.directory.hashed.find(arena, hash, |word| {
            word >> 32 == u64::from(print)
                && arena.line(low32(word)).is_some_and(|line| {
                    let image = line::peek(line);
                    image.is_present() && image.key == packed
                })
        })?;
        Some((word, low32(value)))
    }

    /// Calls `each` with every hashed binding and its line.
    pub(super) fn each_hashed(&self, arena: Arena, mut each: impl FnMut(u32, &Image)) {
        let Buckets { first, count } = self.directory.hashed;
        for word in (first..first + count)
            .filter_map(|group| arena.group(group))
            .flatten()
        {
            let number = low32(word.load(Ordering::Relaxed));
            if let Some(line) = arena.line(number).filter(|_| number != 0) {
                each(number, &line::peek(line));
            }
        }
    }

    /// Calls `each` with every binding of a dense block.
    pub(super) fn each_dense(&self, arena: Arena, run: &Run, mut each: impl FnMut(u32, &Image)) {
        if run.range.base == 0 {
            return;
        }
        let lines = run.range.base..run.range.base.saturating_add(low32(run.range.lines()));
        for number in lines {
            if let Some(image) = arena.line(number).map(line::peek).filter(Image::is_present) {
                each(number, &image);
            }
        }
    }

    /// Calls `each` with every binding.
    pub(super) fn each(&self, arena: Arena, mut each: impl FnMut(&Image)) {
        for run in &self.runs {
            self.each_dense(arena, run, |_, image| each(image));
        }
        self.each_hashed(arena, |_, image| each(image));
    }

    /// Writes ranges and root into cleared blocks.
    pub(super) fn write_ranges(&self, arena: Arena, ranges: Block, root: Block) {
        for (index, run) in self.runs.iter().enumerate() {
            let [span, rest] = run.range.pack();
            arena.store(ranges.first, index * 2, span, Ordering::Relaxed);
            arena.store(ranges.first, index * 2 + 1, rest, Ordering::Relaxed);
        }
        if root.groups != ROOT_GROUPS {
            return;
        }
        for slash16 in 0..0x1_0000_u32 {
            let (low, high) = (slash16 << 16, slash16 << 16 | 0xffff);
            let from = self.runs.partition_point(|run| run.range.last < low);
            let to = self.runs.partition_point(|run| run.range.first <= high);
            let entry = (u32::try_from(from), u32::try_from(to.saturating_sub(from)));
            if let (Ok(from), Ok(count)) = entry {
                arena.store(
                    root.first,
                    slash16 as usize,
                    join(from, count),
                    Ordering::Relaxed,
                );
            }
        }
    }

    /// Every block but those of the AFTR list.
    pub(super) fn blocks(&self) -> impl Iterator<Item = Block> + '_ {
        let directory = &self.directory;
        let dense = self
            .runs
            .iter()
            .filter(|run| run.range.base != 0)
            .map(Run::block);
        [
            directory.range_block(),
            directory.root_block(),
            directory.hashed.block(),
            directory.addresses.block(),
            directory.b4s.block(),
            self.directory_block,
        ]
        .into_iter()
        .chain(dense)
        .chain(self.slab.chunks.iter().copied())
        .filter(|block| block.groups != 0)
    }
}
