//! What the store's answers do: decisions take effect, or come to nothing.

use core::net::Ipv4Addr;

use lw4o6_wire::time::Instant;

use crate::bindings::Bindings;
use crate::bindings::barrier::{Effect, Pending, granted, subject};
use crate::bindings::key::Key;
use crate::change::{Change, Event, FailReason, RemoveReason};
use crate::entry::Binding;
use crate::error::Seq;

impl Bindings {
    /// Everything up to and with `seq` is stored: grants take effect, in order.
    pub fn handle_persisted(&mut self, now: Instant, seq: Seq) {
        self.handle_timeout(now);
        while let Some((seq, pending)) = self.barrier.pop_through(seq) {
            self.commit(seq, pending);
        }
        // A renewal may have brought the end of a lease forward to now.
        self.handle_timeout(now);
    }

    /// `seq` could not be stored: it and every later decision come to nothing. Those before it
    /// go on waiting.
    ///
    /// What the table has already lost stays lost, and what the store may hold of the failed
    /// decisions is put right: both are offered as new records, after a pause. A store must
    /// write a [`Change::BulkReplaced`] as a whole or not at all.
    pub fn handle_persist_failed(&mut self, now: Instant, seq: Seq) {
        self.handle_timeout(now);
        let failed = self.barrier.split_off(seq);
        for (seq, pending) in failed {
            let change = pending.change.clone();
            self.fail(seq, pending, FailReason::NotStored);
            self.restate(&change);
        }
        self.barrier.pause(self.now + self.config.record_again);
    }

    /// Confirms everything that waits, as an owner without a store does after each call. Returns
    /// how many decisions that were.
    pub fn pump_null_store(&mut self, now: Instant) -> usize {
        let mut confirmed = 0;
        while let Some(last) = self.barrier.newest() {
            confirmed += self.barrier.pending();
            self.handle_persisted(now, last);
        }
        confirmed
    }

    /// Gives a decision its number and hands it to the owner.
    pub(super) fn decide(&mut self, change: Change, effect: Effect) -> Seq {
        if let Effect::Apply {
            moved: Some(subscriber),
        } = effect
        {
            self.subscribers.moved(self.now, subscriber);
        }
        let seq = self.barrier.push(change.clone(), effect);
        self.stream.push(Event::Persist { seq, change });
        seq
    }

    /// Turns records into decisions, as many as may wait.
    pub(super) fn pump(&mut self) {
        while let Some(change) = self.barrier.next_record(self.now) {
            self.decide(change, Effect::Record);
        }
    }

    /// Turns the records on one address into decisions, so that a grant on it comes after them.
    pub(super) fn record_first(&mut self, ipv4: Ipv4Addr) {
        for change in self.barrier.take_records(ipv4) {
            self.decide(change, Effect::Record);
        }
    }

    /// Fails the decision that waits for the softwire; the binding, where that was a grant.
    pub(super) fn withdraw(&mut self, key: Key, why: FailReason) -> Option<Binding> {
        let (seq, pending) = self.barrier.take(key)?;
        if let Some(binding) = subject(&pending.change) {
            self.barrier.withdraw_from_bulk(binding);
        }
        let binding = granted(&pending.change).copied();
        self.fail(seq, pending, why);
        binding
    }

    /// Gives up what a decision held and tells the owner.
    fn fail(&mut self, seq: Seq, pending: Pending, why: FailReason) {
        let Pending { change, effect } = pending;
        if let Effect::Apply { moved } = effect {
            self.unhold(&change);
            if let Some(subscriber) = moved {
                self.subscribers.not_moved(subscriber);
            }
        }
        self.stream.push(Event::Failed { seq, change, why });
    }

    /// Makes a record of what the softwire of a failed decision really is.
    fn restate(&mut self, failed: &Change) {
        let Some(stored) = subject(failed).copied() else {
            return;
        };
        let key = Key::of(&stored.key());
        let truth = match (self.entries.get(&key), failed) {
            (Some(current), _) => Change::Replaced {
                old: stored,
                new: *current,
            },
            (None, Change::Removed { .. }) => failed.clone(),
            (None, _) => Change::Removed {
                binding: stored,
                reason: RemoveReason::NotGranted,
            },
        };
        self.barrier.record_later(key, truth);
    }

    fn commit(&mut self, seq: Seq, pending: Pending) {
        let took_effect = match (pending.effect, &pending.change) {
            (Effect::Record, _) => true,
            (Effect::Apply { .. }, Change::Added(binding)) => self.commit_added(*binding),
            (Effect::Apply { .. }, Change::Replaced { new, .. }) => self.commit_replaced(*new),
            (Effect::Apply { .. }, Change::Renewed(renewed)) => self.commit_renewed(*renewed),
            (Effect::Apply { .. }, Change::BulkReplaced { version, bindings }) => {
                self.commit_bulk(*version, bindings)
            }
            (
                Effect::Apply { .. },
                Change::Removed { .. } | Change::Quarantined(_) | Change::QuarantineEnded(_),
            ) => true,
        };
        if took_effect {
            self.stream.push(Event::Committed { seq });
        } else {
            let change = pending.change.clone();
            self.fail(seq, pending, FailReason::NoRoom);
            self.restate(&change);
        }
    }

    fn commit_added(&mut self, binding: Binding) -> bool {
        let key = Key::of(&binding.key());
        if !self.write(&binding) {
            return false;
        }
        self.entries.insert(key, binding);
        self.index(key, &binding);
        self.version += 1;
        self.end_quarantine(key);
        self.tell(Change::Added(binding));
        true
    }

    fn commit_replaced(&mut self, new: Binding) -> bool {
        let key = Key::of(&new.key());
        let Some(old) = self.entries.get(&key).copied() else {
            return false;
        };
        if !self.write(&new) {
            return false;
        }
        self.entries.insert(key, new);
        self.unindex(key, &old);
        self.index(key, &new);
        self.aftrs.sub(old.aftr);
        self.uncount(&old);
        self.count(&new);
        self.version += 1;
        let change = Change::Replaced { old, new };
        self.tell(change);
        true
    }

    fn commit_renewed(&mut self, renewed: Binding) -> bool {
        let key = Key::of(&renewed.key());
        let Some(old) = self.entries.insert(key, renewed) else {
            self.entries.remove(&key);
            return false;
        };
        self.unindex(key, &old);
        self.index(key, &renewed);
        self.version += 1;
        self.tell(Change::Renewed(renewed));
        true
    }

    fn write(&mut self, binding: &Binding) -> bool {
        let number = self.aftrs.number(binding.aftr);
        number.is_some_and(|number| self.sink.insert(binding, number))
    }
}
