//! The three indexes from the writer's side: counting words, making room, growing.

use super::TableError;
use super::bits::{high32, join};
use super::buckets::Buckets;
use super::generation::{B4_COUNT, Index, Listed};
use super::line::Key;
use super::plan::buckets_for;
use super::sync::{AtomicU64, Ordering};
use super::writer::TableWriter;

impl TableWriter {
    fn b4_word(&self, b4: [u64; 2]) -> (u64, u64, Option<(&'static AtomicU64, u64)>) {
        let (hash, print) = self.secrets.address(b4);
        let found = self
            .generation
            .directory
            .b4s
            .find(self.arena, hash, |word| (word ^ print) & !B4_COUNT == 0);
        (hash, print & !B4_COUNT, found)
    }

    pub(super) fn b4_joins(&mut self, b4: [u64; 2]) {
        let (hash, print, found) = self.b4_word(b4);
        match found {
            Some((word, value)) => word.store(value + 1, Ordering::Release),
            None => {
                let word = self.generation.directory.b4s.vacancy(self.arena, hash);
                debug_assert!(word.is_some(), "reserve_b4 made room");
                if let Some(word) = word {
                    word.store(print | 1, Ordering::Release);
                    self.generation.used.b4s += 1;
                }
            }
        }
    }

    pub(super) fn b4_leaves(&mut self, b4: [u64; 2]) {
        let (_, print, found) = self.b4_word(b4);
        debug_assert!(found.is_some(), "every B4 of a binding is counted");
        let Some((word, value)) = found else { return };
        if value == print | 1 {
            word.store(0, Ordering::Release);
            self.generation.used.b4s -= 1;
        } else {
            word.store(value - 1, Ordering::Release);
        }
    }

    fn address_word(&self, ipv4: u32) -> (u64, Option<(&'static AtomicU64, u64)>) {
        let (hash, _) = self.secrets.key(ipv4, 0);
        let wanted = |word: u64| word >> 32 == u64::from(ipv4);
        (
            hash,
            self.generation
                .directory
                .addresses
                .find(self.arena, hash, wanted),
        )
    }

    pub(super) fn address_joins(&mut self, key: Key) {
        let (hash, found) = self.address_word(key.ipv4);
        match found {
            Some((word, value)) => word.store(value + 1, Ordering::Release),
            None => {
                let word = self
                    .generation
                    .directory
                    .addresses
                    .vacancy(self.arena, hash);
                debug_assert!(word.is_some(), "reserve_address made room");
                let listed = Listed {
                    offset: key.offset,
                    len: key.len,
                    count: 1,
                };
                if let Some(word) = word {
                    word.store(listed.pack(key.ipv4), Ordering::Release);
                    self.generation.used.addresses += 1;
                }
            }
        }
    }

    pub(super) fn address_leaves(&mut self, ipv4: u32) {
        let (_, found) = self.address_word(ipv4);
        debug_assert!(found.is_some(), "every listed binding is counted");
        let Some((word, value)) = found else { return };
        if Listed::unpack(value).count > 1 {
            word.store(value - 1, Ordering::Release);
        } else {
            word.store(0, Ordering::Release);
            self.generation.used.addresses -= 1;
        }
    }

    pub(super) fn reserve_b4(&mut self, b4: [u64; 2]) -> Result<(), TableError> {
        let (hash, _, found) = self.b4_word(b4);
        if found.is_some() {
            Ok(())
        } else {
            self.reserve(Index::B4s, hash)
        }
    }

    pub(super) fn reserve_address(&mut self, ipv4: u32) -> Result<(), TableError> {
        let (hash, found) = self.address_word(ipv4);
        if found.is_some() {
            Ok(())
        } else {
            self.reserve(Index::Addresses, hash)
        }
    }

    pub(super) fn reserve_hashed(&mut self, key: Key) -> Result<(), TableError> {
        let (hash, _) = self.secrets.key(key.ipv4, key.psid);
        self.reserve(Index::Hashed, hash)?;
        if self.generation.slab.is_empty() {
            let more = (self.generation.slab.groups() / 4).max(32);
            let block = self.take(more)?;
            self.generation.slab.extend(block);
        }
        Ok(())
    }

    /// Makes sure that an index has a free word for a hash.
    fn reserve(&mut self, index: Index, hash: u64) -> Result<(), TableError> {
        let buckets = self.generation.buckets(index);
        let half = buckets.words() / 2;
        if self.generation.used(index) < half && buckets.vacancy(self.arena, hash).is_some() {
            return Ok(());
        }
        if index == Index::Hashed && self.promote() {
            // The key itself may be dense now; if not, the index was made with room to spare.
            let buckets = self.generation.buckets(index);
            if buckets.vacancy(self.arena, hash).is_some() {
                return Ok(());
            }
        }
        self.grow(index, hash)
    }

    /// A larger index, with the same words. `hash` must fit into it.
    fn grow(&mut self, index: Index, hash: u64) -> Result<(), TableError> {
        let directory = self.directory_block()?;
        let old = self.generation.buckets(index);
        let most = buckets_for(self.config.softwires);
        let mut count = match old.count {
            0..2 => 2,
            count if count < most => (count * 2).min(most),
            count => count + count / 4 + 1,
        };
        loop {
            let block = self.take(count);
            let block = self.or_give_back(directory, block)?;
            let new = Buckets {
                first: block.first,
                count,
            };
            if self.refill(index, new) && new.vacancy(self.arena, hash).is_some() {
                self.generation.set_buckets(index, new);
                self.defer(old.block());
                self.publish(directory);
                return Ok(());
            }
            self.free.give(block);
            count += count / 2 + 1;
        }
    }

    /// Fills a new index with the words of the current one. `false`: a bucket ran over.
    fn refill(&self, index: Index, new: Buckets) -> bool {
        let mut fits = true;
        let mut put = |hash, value| match new.vacancy(self.arena, hash) {
            Some(word) => word.store(value, Ordering::Relaxed),
            None => fits = false,
        };
        match index {
            Index::Hashed => self.generation.each_hashed(self.arena, |number, image| {
                let Key { ipv4, psid, .. } = Key::unpack(image.key);
                let (hash, print) = self.secrets.key(ipv4, psid);
                put(hash, join(print, number));
            }),
            Index::Addresses => {
                let Buckets { first, count } = self.generation.directory.addresses;
                let groups = (first..first + count).filter_map(|group| self.arena.group(group));
                for value in groups.flatten().map(|word| word.load(Ordering::Relaxed)) {
                    if value != 0 {
                        let (hash, _) = self.secrets.key(high32(value), 0);
                        put(hash, value);
                    }
                }
            }
            Index::B4s => self.generation.each(self.arena, |image| {
                let (hash, print) = self.secrets.address(image.b4);
                match new.find(self.arena, hash, |word| (word ^ print) & !B4_COUNT == 0) {
                    Some((word, value)) => word.store(value + 1, Ordering::Relaxed),
                    None => put(hash, print & !B4_COUNT | 1),
                }
            }),
        }
        fits
    }
}
