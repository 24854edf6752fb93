//! Changing the table: one writer, in place where possible.

use alloc::vec::Vec;

use super::arena::{Arena, Block, FIXED_GROUPS, GROUP, Group};
use super::bits::join;
use super::directory::{EXCEPTIONS, Range};
use super::epoch::{self, EPOCH_WORD, FIRST, FREE, Mark, TableShared};
use super::free_list::FreeList;
use super::generation::Generation;
use super::hash::{self, Secrets};
use super::line::{self, Image, Key, PRESENT};
use super::plan;
use super::slab::LINES_PER_GROUP;
use super::sync::{AtomicU64, Ordering};
use super::{Pool, Slot, TableConfig, TableError, arena_words};

/// The writing side of a table. There is one, and it cannot be cloned.
///
/// Changes are in place and visible to readers at once; only growth and
/// [`replace_all`](Self::replace_all) wait for a reader's next refresh to be picked up, and leave
/// old blocks behind that [`collect`](Self::collect) takes back.
#[derive(Debug)]
pub struct TableWriter {
    pub(super) arena: Arena,
    pub(super) in_flight: &'static Group,
    pub(super) secrets: Secrets,
    pub(super) config: TableConfig,
    pub(super) free: FreeList,
    /// Replaced blocks and the epoch that readers must have announced.
    pub(super) retired: Vec<(u64, Block)>,
    pub(super) epoch: u64,
    /// Directories published so far.
    pub(super) version: u32,
    /// The generation is not published yet.
    pub(super) building: bool,
    /// Bindings of a range stand in two places.
    pub(super) moving: bool,
    pub(super) generation: Generation,
}

/// How a table uses its memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableMemory {
    /// Bytes of the arena.
    pub arena: usize,
    /// Bytes of the blocks in use by the current generation.
    pub live: usize,
    /// Bytes of replaced blocks that readers may still use.
    pub retired: usize,
    /// Softwires in the table.
    pub softwires: usize,
}

impl TableMemory {
    /// Bytes in use for each softwire; 0 for an empty table.
    #[must_use]
    pub const fn per_softwire(&self) -> usize {
        match self.live.checked_div(self.softwires) {
            Some(bytes) => bytes,
            None => 0,
        }
    }
}

/// Where a binding belongs.
#[derive(Clone, Copy)]
struct Place {
    run: Option<usize>,
    /// The parameters are those of the range.
    fits: bool,
    /// Line of the dense block.
    dense: Option<u32>,
    /// The address index counts this binding.
    listed: bool,
}

impl TableWriter {
    /// Makes an empty table in the caller's memory, with `pools` as managed addresses. The old
    /// content of the memory does not matter.
    ///
    /// # Errors
    /// [`TableError::SmallArena`], [`TableError::TooLarge`] or [`TableError::BadPool`].
    pub fn new(
        config: TableConfig,
        arena: &'static [AtomicU64],
        pools: &[Pool],
    ) -> Result<(Self, TableShared), TableError> {
        plan::check_config(&config, arena.len())?;
        let short = TableError::SmallArena {
            need: arena_words(&config),
            have: arena.len(),
        };
        let arena = Arena::new(arena);
        let header = u32::try_from(FIXED_GROUPS + config.readers).map_err(|_| short)?;
        let total = u32::try_from(arena.groups()).unwrap_or(u32::MAX / LINES_PER_GROUP);
        arena.clear(Block {
            first: 0,
            groups: header,
        });
        let secrets = Secrets::new(&config.hash_seed);
        let mut writer = Self {
            arena,
            in_flight: arena.group(1).ok_or(short)?,
            secrets,
            config,
            free: FreeList::new(Block {
                first: header,
                groups: total.saturating_sub(header),
            }),
            retired: Vec::new(),
            epoch: FIRST,
            version: 0,
            building: true,
            moving: false,
            generation: Generation::default(),
        };
        for word in epoch::words(arena, config.readers) {
            word.store(FREE, Ordering::Relaxed);
        }
        arena.store(0, EPOCH_WORD, FIRST, Ordering::Release);
        writer.start(core::iter::empty(), pools, None)?;
        writer.building = false;
        let directory = writer.directory_block()?;
        writer.publish(directory);
        Ok((
            writer,
            TableShared {
                arena,
                readers: config.readers,
                secrets,
            },
        ))
    }

    /// The number of an AFTR address; a new address joins the list and is known to readers from
    /// then on, until a [`replace_all_with_aftrs`](Self::replace_all_with_aftrs) without it.
    ///
    /// # Errors
    /// [`TableError::Aftrs`] when the list is full.
    pub fn aftr(&mut self, address: &[u8; 16]) -> Result<u16, TableError> {
        let address = hash::halves(address);
        let list = self.generation.directory.aftrs;
        list.find(self.arena, &self.secrets, address)
            .or_else(|| list.push(self.arena, &self.secrets, address))
            .ok_or(TableError::Aftrs {
                max: self.config.aftrs,
            })
    }

    /// Adds a binding, or replaces the one with the same address and PSID.
    ///
    /// # Errors
    /// Any of [`TableError`] but those of [`new`](Self::new); nothing was changed then.
    pub fn insert(&mut self, slot: &Slot) -> Result<(), TableError> {
        self.check(slot)?;
        let place = self.place(slot)?;
        let Slot {
            ipv4,
            psid,
            offset,
            len,
            ..
        } = *slot;
        let key = Key {
            ipv4,
            psid,
            offset,
            len,
        };
        let image = Image {
            meta: u32::from(slot.aftr) << 16 | u32::from(slot.flags & 0xfffe) | PRESENT,
            b4: hash::halves(&slot.b4),
            key: key.pack(),
        };
        match self.find(place, key) {
            Some((_, number)) => self.replace(number, &image),
            None => self.add(slot, key, &image),
        }
    }

    /// Removes a binding. `false`: there was none.
    pub fn remove(&mut self, ipv4: u32, psid: u16) -> bool {
        let Some((key, place)) = self.locate(ipv4, psid) else {
            return false;
        };
        let Some((word, number)) = self.find(place, key) else {
            return false;
        };
        let Some(words) = self.arena.line(number) else {
            return false;
        };
        let old = line::peek(words);
        let empty = match word {
            Some(word) => {
                word.store(0, Ordering::Release);
                self.generation.used.hashed -= 1;
                self.generation.slab.give(number)
            }
            None => Image::default(),
        };
        line::write(words, number, self.in_flight, &empty);
        self.b4_leaves(old.b4);
        if place.listed {
            self.address_leaves(ipv4);
        }
        self.generation.live -= 1;
        self.count(place, -1);
        if place.dense.is_some() {
            self.demote_if_sparse(place.run);
        }
        true
    }

    /// Takes replaced blocks back that every reader has left. Called by the writer itself when
    /// memory runs short; call it now and then so that memory is returned early.
    pub fn collect(&mut self) {
        if self.retired.is_empty() {
            return;
        }
        let passed = epoch::passed(self.arena, self.config.readers);
        let free = &mut self.free;
        self.retired.retain(|&(epoch, block)| {
            if epoch <= passed {
                free.give(block);
            }
            epoch > passed
        });
    }

    /// Marks the present. Once [`has_passed`](Self::has_passed), no reader will give an answer
    /// from before: what a removal must wait for.
    pub fn mark(&mut self) -> Mark {
        self.epoch += 1;
        self.arena
            .store(0, EPOCH_WORD, self.epoch, Ordering::Release);
        Mark(self.epoch)
    }

    /// Whether every reader has refreshed or idled since the mark.
    #[must_use]
    pub fn has_passed(&self, mark: Mark) -> bool {
        epoch::passed(self.arena, self.config.readers) >= mark.0
    }

    /// Number of softwires.
    #[must_use]
    pub fn len(&self) -> usize {
        self.generation.live
    }

    /// Whether there is no softwire.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Memory in use.
    #[must_use]
    pub fn memory(&self) -> TableMemory {
        let bytes = |groups: usize| groups * GROUP * size_of::<u64>();
        let retired = self
            .retired
            .iter()
            .map(|(_, block)| block.groups as usize)
            .sum::<usize>();
        let header = FIXED_GROUPS + self.config.readers;
        TableMemory {
            arena: bytes(self.arena.groups()),
            live: bytes(self.arena.groups() - header - self.free.groups() - retired),
            retired: bytes(retired),
            softwires: self.generation.live,
        }
    }

    /// Refuses what cannot stand in a line.
    fn check(&self, slot: &Slot) -> Result<(), TableError> {
        let Slot {
            psid,
            offset,
            len,
            aftr,
            ..
        } = *slot;
        if !plan::is_port_set(offset, len) || u32::from(psid) >> len != 0 {
            return Err(TableError::BadParameters { psid, offset, len });
        }
        if u64::from(aftr) >= self.generation.directory.aftrs.len(self.arena) {
            return Err(TableError::UnknownAftr(aftr));
        }
        Ok(())
    }

    /// Where a new binding belongs; makes an address of a range an exception if it must.
    fn place(&mut self, slot: &Slot) -> Result<Place, TableError> {
        let Slot {
            ipv4,
            psid,
            offset,
            len,
            ..
        } = *slot;
        let run = self.generation.run_of(ipv4);
        let range = self.generation.range(run);
        let fits = range.is_some_and(|range| range.has(offset, len));
        let asks = range.is_none_or(|range| Generation::asks_index(&range));
        let own = if asks {
            self.generation.listed(self.arena, &self.secrets, ipv4)
        } else {
            None
        };
        let mixed = match (own, range) {
            (Some(own), _) => own.offset != offset || own.len != len,
            (None, Some(range)) => !fits && self.is_used(&range, ipv4),
            (None, None) => false,
        };
        if mixed {
            return Err(TableError::MixedParameters { ipv4 });
        }
        if !fits && let Some(at) = run {
            self.except(at)?;
        }
        Ok(self.place_at(
            run,
            range,
            Key {
                ipv4,
                psid,
                offset,
                len,
            },
        ))
    }

    fn place_at(&self, run: Option<usize>, range: Option<Range>, key: Key) -> Place {
        let fitting = range.filter(|range| range.has(key.offset, key.len));
        let dense = fitting.filter(|range| range.base != 0);
        Place {
            run,
            fits: fitting.is_some(),
            dense: dense.map(|range| range.line(key.ipv4, key.psid)),
            listed: Generation::is_listed(range, key.offset, key.len),
        }
    }

    /// Key and place of an existing binding.
    fn locate(&self, ipv4: u32, psid: u16) -> Option<(Key, Place)> {
        let run = self.generation.run_of(ipv4);
        let range = self.generation.range(run);
        let asks = range.is_none_or(|range| Generation::asks_index(&range));
        let own = if asks {
            self.generation.listed(self.arena, &self.secrets, ipv4)
        } else {
            None
        };
        let (offset, len) = match (own, range) {
            (Some(own), _) => (own.offset, own.len),
            (None, Some(range)) => (range.offset, range.len),
            (None, None) => return None,
        };
        let key = Key {
            ipv4,
            psid,
            offset,
            len,
        };
        (u32::from(psid) >> len == 0).then(|| (key, self.place_at(run, range, key)))
    }

    /// The line of an existing binding, and its word in the index unless it is dense.
    fn find(&self, place: Place, key: Key) -> Option<(Option<&'static AtomicU64>, u32)> {
        match place.dense {
            Some(number) => {
                let image = line::peek(self.arena.line(number)?);
                image.is_present().then_some((None, number))
            }
            None => {
                let (word, number) = self.generation.hashed(self.arena, &self.secrets, key)?;
                Some((Some(word), number))
            }
        }
    }

    /// Whether a binding with the parameters of the range stands on the address.
    fn is_used(&self, range: &Range, ipv4: u32) -> bool {
        let (offset, len) = (range.offset, range.len);
        let last = (1_u32 << (len & 31)) - 1;
        (0..=last).any(|psid| {
            let key = Key {
                ipv4,
                psid: super::bits::low16(u64::from(psid)),
                offset,
                len,
            };
            self.find(self.place_at(None, Some(*range), key), key)
                .is_some()
        })
    }

    /// Lets addresses of a range have parameters of their own.
    fn except(&mut self, at: usize) -> Result<(), TableError> {
        let Some(run) = self.generation.runs.get(at) else {
            return Ok(());
        };
        if run.range.flags & EXCEPTIONS != 0 {
            return Ok(());
        }
        let directory = self.directory_block()?;
        let ranges = self.take(plan::list_groups(self.generation.runs.len()));
        let ranges = self.or_give_back(directory, ranges)?;
        if let Some(run) = self.generation.runs.get_mut(at) {
            run.range.flags |= EXCEPTIONS;
        }
        self.set_ranges(ranges, None);
        self.publish(directory);
        Ok(())
    }

    /// New content for an existing binding.
    fn replace(&mut self, number: u32, image: &Image) -> Result<(), TableError> {
        let Some(words) = self.arena.line(number) else {
            return Ok(());
        };
        let old = line::peek(words);
        if old.b4 == image.b4 {
            line::write(words, number, self.in_flight, image);
            return Ok(());
        }
        self.reserve_b4(image.b4)?;
        self.b4_joins(image.b4);
        line::write(words, number, self.in_flight, image);
        self.b4_leaves(old.b4);
        Ok(())
    }

    /// A binding that was not there.
    fn add(&mut self, slot: &Slot, key: Key, image: &Image) -> Result<(), TableError> {
        if self.generation.live >= self.config.softwires {
            return Err(TableError::Softwires {
                max: self.config.softwires,
            });
        }
        self.reserve_b4(image.b4)?;
        let run = self.generation.run_of(slot.ipv4);
        let mut place = self.place_at(run, self.generation.range(run), key);
        if place.listed {
            self.reserve_address(slot.ipv4)?;
        }
        if place.dense.is_none() {
            self.reserve_hashed(key)?;
            place = self.place_at(run, self.generation.range(run), key);
        }
        self.b4_joins(image.b4);
        match place.dense {
            Some(number) => self.write(number, image),
            None => self.add_hashed(key, image),
        }
        if place.listed {
            self.address_joins(key);
        }
        self.generation.live += 1;
        self.count(place, 1);
        Ok(())
    }

    /// Writes a reserved line and names it in the reserved word.
    pub(super) fn add_hashed(&mut self, key: Key, image: &Image) {
        let (hash, print) = self.secrets.key(key.ipv4, key.psid);
        let word = self.generation.directory.hashed.vacancy(self.arena, hash);
        let number = self.generation.slab.take(self.arena);
        debug_assert!(
            word.is_some() && number.is_some(),
            "reserve_hashed made room"
        );
        if let (Some(word), Some(number)) = (word, number) {
            self.write(number, image);
            word.store(join(print, number), Ordering::Release);
            self.generation.used.hashed += 1;
        }
    }

    pub(super) fn write(&self, number: u32, image: &Image) {
        if let Some(words) = self.arena.line(number) {
            line::write(words, number, self.in_flight, image);
        }
    }

    fn count(&mut self, place: Place, change: i64) {
        let run = place
            .run
            .filter(|_| place.fits)
            .and_then(|at| self.generation.runs.get_mut(at));
        if let Some(run) = run {
            run.count = run.count.saturating_add_signed(change);
        }
    }
}
