//! The commit barrier: what was decided and waits for the store.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::net::{Ipv4Addr, Ipv6Addr};

use lw4o6_wire::b4_addr::Ipv6Prefix;
use lw4o6_wire::time::Instant;

use crate::bindings::key::Key;
use crate::change::Change;
use crate::entry::{Binding, Origin};
use crate::error::Seq;

/// Decisions in the order of their numbers, and records that wait to become one.
#[derive(Debug)]
pub(crate) struct Barrier {
    next: Seq,
    max: usize,
    pending: BTreeMap<Seq, Pending>,
    /// The softwires that a waiting decision holds, with its number; one decision each.
    held: BTreeMap<Key, Seq>,
    /// How many of them are grants.
    grants: usize,
    bulk: Option<Bulk>,
    /// What the store does not know yet and the table already does.
    records: BTreeMap<Key, Record>,
    paused_until: Option<Instant>,
}

/// A decision that waits.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) change: Change,
    pub(crate) effect: Effect,
}

/// What happens when a decision is stored.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Effect {
    /// The table follows; the subscriber's softwire moved by it.
    Apply { moved: Option<Ipv6Prefix> },
    /// Nothing, the table is as recorded.
    Record,
}

#[derive(Debug)]
struct Record {
    change: Change,
    /// The next number when the record was made: a new table with a higher one knows of it.
    before: Seq,
}

/// Softwires that ended, who had them, and by whose decision.
pub(crate) type Withdrawn = BTreeSet<(Key, Ipv6Addr, Origin)>;

/// The replacement of the whole table that waits.
#[derive(Debug)]
struct Bulk {
    seq: Seq,
    /// What ended since it was decided.
    withdrawn: Withdrawn,
}

impl Barrier {
    /// Nothing waits, up to `max` decisions may.
    pub(crate) fn new(max: usize) -> Self {
        Self {
            next: Seq(1),
            max,
            pending: BTreeMap::new(),
            held: BTreeMap::new(),
            grants: 0,
            bulk: None,
            records: BTreeMap::new(),
            paused_until: None,
        }
    }

    /// How many decisions wait.
    pub(crate) fn pending(&self) -> usize {
        self.pending.len()
    }

    /// How many decisions wait that will change the table.
    pub(crate) fn undecided(&self) -> usize {
        self.held.len() + usize::from(self.bulk.is_some())
    }

    /// How many records wait to become a decision.
    pub(crate) fn records(&self) -> usize {
        self.records.len()
    }

    /// Whether no more decisions may wait.
    pub(crate) fn is_full(&self) -> bool {
        self.pending.len() >= self.max
    }

    /// How many grants wait.
    pub(crate) fn grant_count(&self) -> usize {
        self.grants
    }

    /// Number of the replacement of the table that waits.
    pub(crate) fn bulk(&self) -> Option<Seq> {
        self.bulk.as_ref().map(|bulk| bulk.seq)
    }

    /// The decision with this number.
    pub(crate) fn get(&self, seq: Seq) -> Option<&Change> {
        self.pending.get(&seq).map(|pending| &pending.change)
    }

    /// The decision about this softwire that waits.
    pub(crate) fn waiting_for(&self, key: Key) -> Option<(Seq, &Change)> {
        let seq = *self.held.get(&key)?;
        Some((seq, self.get(seq)?))
    }

    /// A softwire on this address that a waiting decision holds.
    pub(crate) fn held_on(&self, ipv4: Ipv4Addr) -> Option<Key> {
        self.held.range(Key::on(ipv4)).next().map(|(key, _)| *key)
    }

    /// The bindings on this address that are decided and not yet granted.
    pub(crate) fn grants_on(&self, ipv4: Ipv4Addr) -> impl Iterator<Item = &Binding> {
        self.held
            .range(Key::on(ipv4))
            .filter_map(|(_, seq)| granted(self.get(*seq)?))
    }

    /// All bindings that are decided and not yet granted.
    pub(crate) fn grants(&self) -> impl Iterator<Item = &Binding> {
        self.pending.values().filter_map(|p| granted(&p.change))
    }

    /// What the softwires will be when all decisions are stored, for those that differ.
    pub(crate) fn outcomes(&self) -> impl Iterator<Item = (Key, &Binding)> {
        self.held.iter().filter_map(|(key, seq)| {
            let binding = match self.get(*seq)? {
                Change::Added(new) | Change::Replaced { new, .. } | Change::Renewed(new) => new,
                Change::Removed { .. }
                | Change::Quarantined(_)
                | Change::QuarantineEnded(_)
                | Change::BulkReplaced { .. } => return None,
            };
            Some((*key, binding))
        })
    }

    /// When records are offered again, where that has to wait.
    pub(crate) fn record_again(&self) -> Option<Instant> {
        self.paused_until.filter(|_| !self.records.is_empty())
    }

    /// Remembers that the store has to learn this about the softwire; the newest word holds.
    pub(crate) fn record_later(&mut self, key: Key, change: Change) {
        let before = self.next;
        self.records.insert(key, Record { change, before });
    }

    /// Drops the record of a softwire, because a newer one follows.
    pub(crate) fn forget_record(&mut self, key: Key) {
        self.records.remove(&key);
    }

    /// Remembers that the binding ended, so that the table that waits does not bring it back.
    pub(crate) fn withdraw_from_bulk(&mut self, binding: &Binding) {
        if let Some(bulk) = &mut self.bulk {
            let Binding { b4, origin, .. } = *binding;
            bulk.withdrawn.insert((Key::of(&binding.key()), b4, origin));
        }
    }

    pub(super) fn push(&mut self, change: Change, effect: Effect) -> Seq {
        let seq = self.next;
        self.next = Seq(seq.0 + 1);
        if let (Effect::Apply { .. }, Some(key)) = (effect, softwire(&change)) {
            self.held.insert(key, seq);
            self.grants += usize::from(granted(&change).is_some());
        }
        if let (Effect::Apply { .. }, Change::BulkReplaced { .. }) = (effect, &change) {
            let withdrawn = Withdrawn::new();
            self.bulk = Some(Bulk { seq, withdrawn });
        }
        self.pending.insert(seq, Pending { change, effect });
        seq
    }

    /// Takes the decision out that waits for this softwire.
    pub(super) fn take(&mut self, key: Key) -> Option<(Seq, Pending)> {
        let seq = *self.held.get(&key)?;
        let pending = self.pending.remove(&seq)?;
        self.release(&pending);
        Some((seq, pending))
    }

    /// Takes out the oldest decision up to `seq`.
    pub(super) fn pop_through(&mut self, seq: Seq) -> Option<(Seq, Pending)> {
        let first = *self.pending.first_key_value()?.0;
        if first > seq {
            return None;
        }
        let pending = self.pending.remove(&first)?;
        self.release(&pending);
        Some((first, pending))
    }

    /// Takes out every decision from `seq` on, in order.
    pub(super) fn split_off(&mut self, seq: Seq) -> Vec<(Seq, Pending)> {
        let failed: Vec<_> = self.pending.split_off(&seq).into_iter().collect();
        for (_, pending) in &failed {
            self.release(pending);
        }
        failed
    }

    /// Number of the newest decision that waits.
    pub(super) fn newest(&self) -> Option<Seq> {
        self.pending.last_key_value().map(|(seq, _)| *seq)
    }

    /// Offers no records before `until`.
    pub(super) fn pause(&mut self, until: Instant) {
        self.paused_until = Some(until);
    }

    /// Takes out the records about softwires on this address.
    pub(super) fn take_records(&mut self, ipv4: Ipv4Addr) -> Vec<Change> {
        let on = self.records.range(Key::on(ipv4));
        let keys: Vec<Key> = on.map(|(key, _)| *key).collect();
        let taken = keys.iter().filter_map(|key| self.records.remove(key));
        taken.map(|record| record.change).collect()
    }

    fn release(&mut self, pending: &Pending) {
        if let (Effect::Apply { .. }, Some(key)) = (pending.effect, softwire(&pending.change)) {
            self.held.remove(&key);
            self.grants -= usize::from(granted(&pending.change).is_some());
        }
    }

    /// Takes a record out that may become a decision now.
    pub(super) fn next_record(&mut self, now: Instant) -> Option<Change> {
        if self.paused_until.is_some_and(|until| until > now) {
            return None;
        }
        self.paused_until = None;
        if self.bulk.is_some() || self.is_full() {
            return None;
        }
        self.records.pop_first().map(|(_, record)| record.change)
    }

    /// Ends the wait of the replacement; returns what ended meanwhile. Once the new table is
    /// stored, the records made before it have no meaning any more.
    pub(crate) fn end_bulk(&mut self, stored: bool) -> Withdrawn {
        let Some(bulk) = self.bulk.take() else {
            return Withdrawn::new();
        };
        if stored {
            self.records.retain(|_, record| record.before > bulk.seq);
        }
        bulk.withdrawn
    }
}

/// The binding that a decision grants.
pub(super) fn granted(change: &Change) -> Option<&Binding> {
    match change {
        Change::Added(binding) => Some(binding),
        Change::Replaced { .. }
        | Change::Renewed(_)
        | Change::Removed { .. }
        | Change::Quarantined(_)
        | Change::QuarantineEnded(_)
        | Change::BulkReplaced { .. } => None,
    }
}

/// The binding that a decision or record is about, as the store may know it.
pub(super) fn subject(change: &Change) -> Option<&Binding> {
    match change {
        Change::Added(binding)
        | Change::Replaced { new: binding, .. }
        | Change::Renewed(binding)
        | Change::Removed { binding, .. } => Some(binding),
        Change::Quarantined(_) | Change::QuarantineEnded(_) | Change::BulkReplaced { .. } => None,
    }
}

fn softwire(change: &Change) -> Option<Key> {
    subject(change).map(|binding| Key::of(&binding.key()))
}
