//! The rules that a binding has to fulfil beside those that are there.

use core::net::{Ipv4Addr, Ipv6Addr};

use lw4o6_wire::b4_addr::Ipv6Prefix;

use crate::bindings::Bindings;
use crate::bindings::key::Key;
use crate::change::Change;
use crate::config::SystemPorts;
use crate::entry::{Binding, Expiry};
use crate::error::{InsertError, Seq};

impl Bindings {
    /// The waiting decision that this request repeats.
    pub(super) fn joined(&self, binding: &Binding) -> Result<Option<Seq>, InsertError> {
        let key = binding.key();
        let Some((seq, waiting)) = self.barrier.waiting_for(Key::of(&key)) else {
            return Ok(None);
        };
        let (Change::Added(first) | Change::Replaced { new: first, .. }) = waiting else {
            return Err(InsertError::Pending { key, seq });
        };
        if same_but_expiry(first, binding) {
            return Ok(Some(seq));
        }
        if first.b4 != binding.b4 {
            return Err(InsertError::Duplicate { key, b4: first.b4 });
        }
        Err(InsertError::Pending { key, seq })
    }

    /// All rules for a grant but those for dynamic bindings.
    pub(super) fn check_grant(&self, binding: &Binding) -> Result<(), InsertError> {
        binding.check()?;
        self.check_alive(binding)?;
        let key = binding.key();
        let policy = self.config.policy.system_ports;
        if policy == SystemPorts::Refuse && binding.shares_system_ports() {
            return Err(InsertError::SystemPorts { key });
        }
        self.check_ports(binding)?;
        self.check_ends(binding)?;
        let max = self.config.softwires.max(1);
        if self.entries.len() + self.barrier.grant_count() >= max {
            return Err(InsertError::TooManySoftwires { max });
        }
        Ok(())
    }

    /// The rules for a binding that takes the place of `old`; the subscriber, where it moves.
    pub(super) fn check_replacement(
        &mut self,
        old: &Binding,
        new: &Binding,
    ) -> Result<Option<Ipv6Prefix>, InsertError> {
        new.check()?;
        self.check_alive(new)?;
        self.check_ends(new)?;
        if !new.origin.is_dynamic() {
            return Ok(None);
        }
        let mask = self.config.policy.subscriber_mask;
        let subscriber = new.subscriber(mask);
        if !old.origin.is_dynamic() || old.subscriber(mask) != subscriber {
            let (key, b4) = (old.key(), old.b4);
            return Err(InsertError::Duplicate { key, b4 });
        }
        self.check_move(old.b4, new, subscriber)
    }

    /// The rules for grants by a provisioning protocol; the subscriber, where its softwire moves
    /// to another of its addresses.
    //
    pub(super) fn check_dynamic(
        &mut self,
        binding: &Binding,
    ) -> Result<Option<Ipv6Prefix>, InsertError> {
        if !binding.origin.is_dynamic() {
            return Ok(None);
        }
        let remaining = self.closed_until.saturating_since(self.now);
        if !remaining.is_zero() {
            return Err(InsertError::StateLost { remaining });
        }
        let policy = self.config.policy;
        let key = binding.key();
        let mask = policy.subscriber_mask;
        if let Some(blocking) = self.quarantine.blocking(binding, mask) {
            let remaining = blocking.until.saturating_since(self.now);
            return Err(InsertError::Quarantined { key, remaining });
        }
        let subscriber = binding.subscriber(mask);
        let limit = policy.subscriber_softwires;
        if self.subscribers.count(subscriber) >= limit {
            return Err(InsertError::SubscriberLimit { subscriber, limit });
        }
        match self.quarantine.get(Key::of(&key)).map(|had| had.b4) {
            Some(had) => self.check_move(had, binding, subscriber),
            None => Ok(None),
        }
    }

    /// Whether the decision can wait; what the store has to learn first is decided before it.
    pub(super) fn check_room(&mut self, ipv4: Ipv4Addr) -> Result<(), InsertError> {
        if let Some(seq) = self.barrier.bulk() {
            return Err(InsertError::ReplacePending { seq });
        }
        let max = self.config.max_pending;
        let behind = self.config.softwires.saturating_add(max);
        if self.barrier.is_full() || self.barrier.records() > behind {
            return Err(InsertError::TooManyPending { max });
        }
        self.record_first(ipv4);
        Ok(())
    }

    /// Whether the allocation goes on.
    //
    pub(super) fn check_alive(&self, binding: &Binding) -> Result<(), InsertError> {
        match binding.expires {
            Expiry::At(at) if at <= self.now => Err(InsertError::Expired {
                key: binding.key(),
                at,
                now: self.now,
            }),
            Expiry::At(_) | Expiry::Never => Ok(()),
        }
    }

    /// Takes what a grant holds while it waits: its AFTR address, its place in the subscriber's
    /// count, its B4 address, its timer.
    pub(super) fn hold(&mut self, binding: &Binding) -> Result<(), InsertError> {
        let number = self.aftrs.add(binding.aftr, &mut self.sink);
        number.ok_or_else(|| self.too_many_aftrs(binding.aftr))?;
        self.count(binding);
        self.index(Key::of(&binding.key()), binding);
        Ok(())
    }

    /// Gives back what a decision held.
    pub(super) fn unhold(&mut self, change: &Change) {
        match change {
            Change::Added(binding) => {
                self.aftrs.sub(binding.aftr);
                self.uncount(binding);
                self.unindex(Key::of(&binding.key()), binding);
            }
            Change::Replaced { new, .. } => {
                self.aftrs.sub(new.aftr);
                let key = Key::of(&new.key());
                if self.entries.get(&key).is_none_or(|now| now.b4 != new.b4) {
                    self.by_b4.remove(&(new.b4, key));
                }
            }
            Change::BulkReplaced { .. } => {
                self.barrier.end_bulk(false);
            }
            Change::Renewed(_)
            | Change::Removed { .. }
            | Change::Quarantined(_)
            | Change::QuarantineEnded(_) => {}
        }
    }

    pub(super) fn too_many_aftrs(&self, aftr: Ipv6Addr) -> InsertError {
        let max = self.config.max_aftrs;
        InsertError::TooManyAftrs { max, aftr }
    }

    /// One layout per address, and every port in one set.
    //
    fn check_ports(&self, binding: &Binding) -> Result<(), InsertError> {
        let (key, ipv4) = (binding.key(), binding.ipv4);
        let first = self.entries.range(Key::on(ipv4)).next();
        let first = first.map(|(key, _)| *key);
        let Some(first) = first.or_else(|| self.barrier.held_on(ipv4)) else {
            return Ok(());
        };
        let (have_offset, have_len) = first.layout();
        if (have_offset, have_len) == (key.ports.offset(), key.ports.len()) {
            // Sets of one layout share ports only where they are equal; a waiting grant of the
            // same set was found before.
            return match self.get(&key) {
                Some(Binding { b4, .. }) => Err(InsertError::Duplicate { key, b4: *b4 }),
                None => Ok(()),
            };
        }
        let bound = self.entries.range(Key::on(ipv4)).map(|(_, b)| b);
        let mut others = bound.chain(self.barrier.grants_on(ipv4));
        Err(
            match others.find(|other| other.ports.overlaps(&binding.ports)) {
                Some(Binding { ports, b4, .. }) => InsertError::Overlap {
                    key,
                    other: *ports,
                    b4: *b4,
                },
                None => InsertError::PortLayout {
                    key,
                    have_offset,
                    have_len,
                },
            },
        )
    }

    /// No address is both ends, not even in two bindings.
    //
    fn check_ends(&self, binding: &Binding) -> Result<(), InsertError> {
        let Binding { b4, aftr, .. } = *binding;
        if self.aftrs.in_use(b4) {
            return Err(InsertError::AftrAmongB4s { addr: b4 });
        }
        let all = Key::all();
        let range = (aftr, *all.start())..=(aftr, *all.end());
        if self.by_b4.range(range).next().is_some() {
            return Err(InsertError::AftrAmongB4s { addr: aftr });
        }
        Ok(())
    }

    /// Whether the softwire may move from `had` to the B4 address of `binding` now.
    //
    fn check_move(
        &mut self,
        had: Ipv6Addr,
        binding: &Binding,
        subscriber: Ipv6Prefix,
    ) -> Result<Option<Ipv6Prefix>, InsertError> {
        if had == binding.b4 {
            return Ok(None);
        }
        let interval = self.config.policy.move_interval;
        if interval.is_zero() {
            return Ok(None);
        }
        match self.subscribers.move_wait(self.now, interval, subscriber) {
            Some(remaining) => Err(InsertError::MoveLimited {
                subscriber,
                remaining,
            }),
            None => Ok(Some(subscriber)),
        }
    }
}

/// Whether two requests are the same but for the expiry, as one sent again is.
fn same_but_expiry(first: &Binding, second: &Binding) -> bool {
    first.with_expiry(Expiry::Never) == second.with_expiry(Expiry::Never)
}
