//! How bindings come to their end, and what follows.

use lw4o6_wire::time::Instant;

use crate::bindings::Bindings;
use crate::bindings::barrier::Effect;
use crate::bindings::key::Key;
use crate::change::{Change, FailReason, Quarantined, RemoveReason};
use crate::entry::{Binding, SoftwireKey};
use crate::error::{RemoveError, Seq};

impl Bindings {
    pub(super) fn end(
        &mut self,
        now: Instant,
        key: &SoftwireKey,
        reason: RemoveReason,
    ) -> Result<Seq, RemoveError> {
        self.handle_timeout(now);
        let word = Key::of(key);
        let removed = if self.entries.contains_key(&word) {
            self.take_out(word, reason)
        } else {
            let never = self.withdraw(word, FailReason::Withdrawn);
            never.map(|binding| Change::Removed {
                binding,
                reason: RemoveReason::NotGranted,
            })
        };
        let removed = removed.ok_or(RemoveError::NotBound { key: *key })?;
        self.barrier.forget_record(word);
        Ok(self.decide(removed, Effect::Record))
    }

    /// Ends the lease that is due, be it granted or decided.
    pub(super) fn expire(&mut self, at: Instant, key: Key) {
        self.leases.remove(&(at, key));
        let change = match self.entries.get(&key) {
            Some(_) => self.take_out(key, RemoveReason::Expired),
            None => self
                .withdraw(key, FailReason::Expired)
                .map(|binding| Change::Removed {
                    binding,
                    reason: RemoveReason::NotGranted,
                }),
        };
        if let Some(change) = change {
            self.barrier.record_later(key, change);
        }
    }

    /// Takes a binding out of the table, fails what waits for it, and tells about it. Returns
    /// what is to be recorded.
    pub(super) fn take_out(&mut self, key: Key, reason: RemoveReason) -> Option<Change> {
        // The decision on it that waits comes first, as it needs the entry.
        self.withdraw(
            key,
            match reason {
                RemoveReason::Expired => FailReason::Expired,
                RemoveReason::Released
                | RemoveReason::Revoked
                | RemoveReason::Replaced
                | RemoveReason::NotGranted => FailReason::Withdrawn,
            },
        );
        let binding = self.entries.remove(&key)?;
        self.sink.remove(&binding.key());
        self.unindex(key, &binding);
        self.aftrs.sub(binding.aftr);
        self.uncount(&binding);
        self.barrier.withdraw_from_bulk(&binding);
        self.version += 1;
        let change = Change::Removed { binding, reason };
        self.tell(change.clone());
        self.quarantine(&binding);
        Some(change)
    }

    /// Tells about a change of the table.
    pub(super) fn tell(&mut self, change: Change) {
        self.stream.changed(self.now, self.version, change);
    }

    pub(super) fn quarantine(&mut self, binding: &Binding) {
        let wait = self.config.policy.quarantine;
        if wait.is_zero() {
            return;
        }
        let quarantined = Quarantined {
            key: binding.key(),
            b4: binding.b4,
            until: self.now + wait,
        };
        let early = self.quarantine.insert(quarantined);
        let told = Change::Quarantined(quarantined);
        self.tell(told);
        if let Some(ended) = early {
            self.tell(Change::QuarantineEnded(ended));
        }
    }

    /// Puts a softwire into the quarantine of before the start, unless that is over or the
    /// softwire is bound.
    pub(super) fn quarantine_until(&mut self, quarantined: Quarantined) {
        let bound = self.entries.contains_key(&Key::of(&quarantined.key));
        if quarantined.until > self.now && !bound {
            self.quarantine.insert(quarantined);
        }
    }

    pub(super) fn end_quarantine(&mut self, key: Key) {
        if let Some(ended) = self.quarantine.take(key) {
            self.tell(Change::QuarantineEnded(ended));
        }
    }

    /// Puts a committed binding into the indexes beside the main one.
    pub(super) fn index(&mut self, key: Key, binding: &Binding) {
        self.by_b4.insert((binding.b4, key));
        if let Some(at) = binding.expires.at() {
            self.leases.insert((at, key));
        }
    }

    pub(super) fn unindex(&mut self, key: Key, binding: &Binding) {
        self.by_b4.remove(&(binding.b4, key));
        if let Some(at) = binding.expires.at() {
            self.leases.remove(&(at, key));
        }
    }

    pub(super) fn count(&mut self, binding: &Binding) {
        if binding.origin.is_dynamic() {
            let mask = self.config.policy.subscriber_mask;
            self.subscribers.add(binding.subscriber(mask));
        }
    }

    pub(super) fn uncount(&mut self, binding: &Binding) {
        if binding.origin.is_dynamic() {
            let mask = self.config.policy.subscriber_mask;
            self.subscribers.sub(binding.subscriber(mask));
        }
    }

    pub(super) fn count_again(&mut self) {
        let mask = self.config.policy.subscriber_mask;
        self.subscribers.clear();
        let granted = self.barrier.grants();
        for binding in self.entries.values().chain(granted) {
            if binding.origin.is_dynamic() {
                self.subscribers.add(binding.subscriber(mask));
            }
        }
    }
}
