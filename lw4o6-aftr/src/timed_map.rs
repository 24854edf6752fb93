//! A hash map of fixed size whose entries are also lined up by age.
//!
//! Everything that outsiders can fill stands in one of these: the memory is taken once, the hash is
//! keyed with a secret, and a full map refuses. The line makes a timeout a look at its front.

use core::hash::{Hash, Hasher};

use lw4o6_wire::Instant;
use siphasher::sip::SipHasher13;

/// "No slot" in links and in the index.
const NONE: u32 = u32::MAX;

/// Name of an entry until it is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot(u32);

impl Slot {
    /// Place in a parallel array, below the map's capacity.
    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Map from `K` to `V` with room for a fixed number of entries.
#[derive(Debug)]
pub(crate) struct TimedMap<K, V> {
    slots: Box<[Entry<K, V>]>,
    index: Box<[u32]>, // linear probing; a power of two, at most half full
    hasher: SipHasher13,
    free: u32, // first free slot, linked through `next`
    oldest: u32,
    newest: u32,
}

#[derive(Debug)]
struct Entry<K, V> {
    content: Option<(K, V)>,
    hash: u64,
    born: Instant,
    older: u32,
    newer: u32, // in the free list: the next free slot
}

impl<K: Copy + Eq + Hash, V> TimedMap<K, V> {
    /// A map for `capacity` entries, at least one.
    pub(crate) fn new(capacity: usize, secret: [u8; 16]) -> Self {
        let capacity = capacity.clamp(1, NONE as usize / 4);
        let slots = (1..=capacity).map(|next| Entry {
            content: None,
            hash: 0,
            born: Instant::ZERO,
            older: NONE,
            newer: match u32::try_from(next) {
                Ok(next_slot) if next < capacity => next_slot,
                _ => NONE,
            },
        });
        Self {
            slots: slots.collect(),
            index: vec![NONE; (capacity * 2).next_power_of_two()].into_boxed_slice(),
            hasher: SipHasher13::new_with_key(&secret),
            free: 0,
            oldest: NONE,
            newest: NONE,
        }
    }

    /// Adds an entry as the youngest, or returns `None` where the map is full. The key must not be
    /// in the map.
    pub(crate) fn insert(&mut self, now: Instant, key: K, value: V) -> Option<Slot> {
        debug_assert!(self.find(&key).is_none(), "key inserted twice");
        let slot = self.free;
        let hash = self.hash(&key);
        // The line is in the order of arrival even where a caller's clock is not.
        let born = match self.entry(self.newest) {
            Some(newest) => newest.born.max(now),
            None => now,
        };
        let newest = self.newest;
        let entry = self.slots.get_mut(slot as usize)?;
        self.free = entry.newer;
        *entry = Entry {
            content: Some((key, value)),
            hash,
            born,
            older: newest,
            newer: NONE,
        };
        match self.slots.get_mut(newest as usize) {
            Some(previous) => previous.newer = slot,
            None => self.oldest = slot,
        }
        self.newest = slot;
        let mut at = self.home(hash);
        while self.index.get(at).is_some_and(|&other| other != NONE) {
            at = self.after(at);
        }
        if let Some(place) = self.index.get_mut(at) {
            *place = slot;
        }
        Some(Slot(slot))
    }

    /// Takes an entry out.
    pub(crate) fn remove(&mut self, slot: Slot) -> Option<(K, V)> {
        let (hash, older, newer) = {
            let entry = self.entry(slot.0)?;
            entry.content.as_ref()?;
            (entry.hash, entry.older, entry.newer)
        };
        self.unindex(slot.0, hash);
        match self.slots.get_mut(older as usize) {
            Some(entry) => entry.newer = newer,
            None => self.oldest = newer,
        }
        match self.slots.get_mut(newer as usize) {
            Some(entry) => entry.older = older,
            None => self.newest = older,
        }
        let free = self.free;
        let entry = self.slots.get_mut(slot.index())?;
        entry.newer = free;
        self.free = slot.0;
        entry.content.take()
    }

    /// The value of an entry, to be changed.
    pub(crate) fn get_mut(&mut self, slot: Slot) -> Option<&mut V> {
        let entry = self.slots.get_mut(slot.index())?;
        entry.content.as_mut().map(|(_, value)| value)
    }

    /// The entry of `key`.
    pub(crate) fn find(&self, key: &K) -> Option<Slot> {
        let mut at = self.home(self.hash(key));
        loop {
            let slot = *self.index.get(at)?;
            if slot == NONE {
                return None; // reached, because the index is at most half full
            }
            let found = self.entry(slot).and_then(|entry| entry.content.as_ref());
            if found.is_some_and(|(other, _)| other == key) {
                return Some(Slot(slot));
            }
            at = self.after(at);
        }
    }

    /// The value of an entry.
    pub(crate) fn get(&self, slot: Slot) -> Option<&V> {
        let entry = self.entry(slot.0)?;
        entry.content.as_ref().map(|(_, value)| value)
    }

    /// The key of an entry.
    pub(crate) fn key(&self, slot: Slot) -> Option<K> {
        let entry = self.entry(slot.0)?;
        entry.content.as_ref().map(|(key, _)| *key)
    }

    /// The entry that was added first, and when that was.
    pub(crate) fn oldest(&self) -> Option<(Slot, Instant)> {
        let entry = self.entry(self.oldest)?;
        Some((Slot(self.oldest), entry.born))
    }

    /// Entries there can be.
    pub(crate) fn capacity(&self) -> usize {
        self.slots.len()
    }

    /// Takes `slot` out of the index and moves up what it had pushed aside, so that no marks of
    /// removed entries are left to slow a search down.
    fn unindex(&mut self, slot: u32, hash: u64) {
        let mut gap = self.home(hash);
        while self.index.get(gap).is_some_and(|&other| other != slot) {
            gap = self.after(gap);
        }
        let mut at = self.after(gap);
        while let Some(&other) = self.index.get(at) {
            let Some(entry) = self.entry(other) else {
                break; // an empty place
            };
            // How far the entry is from home, and how far the gap is in front of it.
            let from_home = at.wrapping_sub(self.home(entry.hash)) & self.mask();
            let from_gap = at.wrapping_sub(gap) & self.mask();
            if from_home >= from_gap {
                if let Some(place) = self.index.get_mut(gap) {
                    *place = other;
                }
                gap = at;
            }
            at = self.after(at);
        }
        if let Some(place) = self.index.get_mut(gap) {
            *place = NONE;
        }
    }

    fn entry(&self, slot: u32) -> Option<&Entry<K, V>> {
        self.slots.get(slot as usize)
    }

    fn hash(&self, key: &K) -> u64 {
        let mut hasher = self.hasher;
        key.hash(&mut hasher);
        hasher.finish()
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "only the bits below the size of the index are used"
    )]
    fn home(&self, hash: u64) -> usize {
        hash as usize & self.mask()
    }

    fn after(&self, at: usize) -> usize {
        (at + 1) & self.mask()
    }

    fn mask(&self) -> usize {
        self.index.len() - 1
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(crate::cases::cases(256))]

        #[test]
        fn it_answers_like_a_list(operations in prop::collection::vec((0u8..3, 0u16..24), 1..300)) {
            let mut map = TimedMap::new(8, [3; 16]);
            let mut list: VecDeque<(u16, usize, Instant)> = VecDeque::new();
            for (step, (operation, key)) in operations.into_iter().enumerate() {
                let now = Instant::from_secs(step as u64);
                let known = list.iter().position(|(other, ..)| *other == key);
                let slot = map.find(&key);
                prop_assert_eq!(slot.is_some(), known.is_some());
                match (operation, slot, known) {
                    (0, None, _) => {
                        let added = map.insert(now, key, step);
                        prop_assert_eq!(added.is_some(), list.len() < 8);
                        if added.is_some() {
                            list.push_back((key, step, now));
                        }
                    }
                    (1, Some(slot), Some(at)) => {
                        let (_, value, _) = list.remove(at).unwrap();
                        prop_assert_eq!(map.remove(slot), Some((key, value)));
                    }
                    (_, Some(slot), Some(at)) => {
                        prop_assert_eq!(map.get(slot), Some(&list[at].1));
                        prop_assert_eq!(map.key(slot), Some(key));
                    }
                    _ => {}
                }
                prop_assert_eq!(map.oldest().map(|(_, born)| born), list.front().map(|e| e.2));
            }
        }
    }

    #[test]
    fn a_clock_that_goes_back_does_not_disorder_the_line() {
        let mut map = TimedMap::new(2, [0; 16]);
        map.insert(Instant::from_secs(5), 1, ()).unwrap();
        map.insert(Instant::from_secs(3), 2, ()).unwrap();
        let (first, _) = map.oldest().unwrap();
        map.remove(first).unwrap();
        assert_eq!(map.oldest().unwrap().1, Instant::from_secs(5));
    }
}
