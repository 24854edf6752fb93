//! Whole tables: loading at start, replacing in one step, comparing.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::Ipv6Addr;

use lw4o6_wire::time::Instant;

use crate::bindings::Bindings;
use crate::bindings::aftrs::Aftrs;
use crate::bindings::barrier::Effect;
use crate::bindings::key::Key;
use crate::bindings::whole::{Whole, check_all, merge};
use crate::change::{Change, RemoveReason};
use crate::entry::{Binding, Origin};
use crate::error::{InsertError, LoadError, Seq};
use crate::snapshot::Snapshot;

/// What a bulk load did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoadReport {
    /// Bindings that are in the table now.
    pub loaded: usize,
    /// Bindings left out because their allocation had ended.
    pub expired: usize,
    /// Bindings with system ports in a shared set, where the policy is to warn.
    //
    pub system_ports: usize,
    /// Number of the table.
    pub version: u64,
}

/// What a bulk replacement will do, compared with the table at the time of the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplaceReport {
    /// Number of the decision.
    pub seq: Seq,
    /// Softwires that are new.
    pub added: usize,
    /// Softwires that end.
    pub removed: usize,
    /// Softwires whose B4, prefix, AFTR, origin or expiry changes.
    pub changed: usize,
    /// Softwires that stay as they are.
    pub unchanged: usize,
    /// Bindings left out because their allocation had ended.
    pub expired: usize,
    /// Bindings with system ports in a shared set, where the policy is to warn.
    pub system_ports: usize,
}

/// How two tables differ; each list is ordered by key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diff {
    /// Bindings of softwires that only the new table has.
    pub added: Vec<Binding>,
    /// Bindings of softwires that only the old table has.
    pub removed: Vec<Binding>,
    /// Bindings of one softwire in the old and in the new table, where they differ.
    pub changed: Vec<(Binding, Binding)>,
    /// How many bindings are the same in both.
    pub unchanged: usize,
}

impl Diff {
    /// Whether the tables are the same.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }
}

impl Bindings {
    /// Puts bindings beside those that are there, all or none, at once and without the store
    /// being asked: for the start. Bindings whose allocation has ended are left out.
    ///
    /// The stream tells one [`Change::BulkReplaced`] with the whole table.
    ///
    /// # Errors
    ///
    /// The first binding that breaks a rule, in the order given. Quarantine and the limits per
    /// subscriber do not apply, as nothing is granted here.
    pub fn load(
        &mut self,
        now: Instant,
        bindings: impl IntoIterator<Item = Binding>,
    ) -> Result<LoadReport, LoadError> {
        self.handle_timeout(now);
        let waiting = self.barrier.undecided();
        if waiting > 0 {
            let error = InsertError::Waiting { waiting };
            return Err(LoadError { index: 0, error });
        }
        let before = self.entries.len();
        let all: Vec<Binding> = self.iter().copied().chain(bindings).collect();
        let whole = self.check_whole(&all, before)?;
        let (expired, system_ports) = (whole.expired, whole.system_ports);
        drop(all);
        let bindings = Arc::new(whole.sorted);
        let loaded = bindings.len() - before;
        if !self.install(self.version + 1, &bindings) {
            let error = InsertError::NoRoom {
                softwires: bindings.len(),
            };
            return Err(LoadError { index: 0, error });
        }
        Ok(LoadReport {
            loaded,
            expired,
            system_ports,
            version: self.version,
        })
    }

    /// Loads a [`Snapshot`], its quarantine and its version too. Bindings whose allocation ended
    /// meanwhile are in quarantine for what is left of that time.
    ///
    /// # Errors
    ///
    /// Those of [`load`](Self::load); the index counts the snapshot's bindings.
    //
    pub fn load_snapshot(
        &mut self,
        now: Instant,
        snapshot: Snapshot,
    ) -> Result<LoadReport, LoadError> {
        let Snapshot {
            version,
            bindings,
            quarantined,
            lapsed,
        } = snapshot;
        self.version = self.version.max(version);
        let report = self.load(now, bindings)?;
        for quarantined in quarantined {
            self.quarantine_until(quarantined);
        }
        let wait = self.config.policy.quarantine;
        for lapsed in lapsed {
            self.quarantine_until(lapsed.quarantined(self.now, wait));
        }
        Ok(report)
    }

    /// Decides to put other bindings in the place of all. Until they are stored the table stays,
    /// grants, updates and renewals are refused, and what ends does end. Readers then see the old
    /// or the new table and nothing between.
    ///
    /// What ended while the new table waited is not brought back by it. Softwires that are
    /// missing in it go to quarantine.
    ///
    /// # Errors
    ///
    /// The first binding that breaks a rule, in the order given; nothing is changed then.
    //
    pub fn replace(
        &mut self,
        now: Instant,
        bindings: Vec<Binding>,
    ) -> Result<ReplaceReport, LoadError> {
        self.handle_timeout(now);
        self.decide_replacement(&bindings, 0)
    }

    /// Decides to put other bindings in the place of those of [`Origin::Static`], as a changed
    /// configuration file does; those of other origins stay. Else like [`replace`](Self::replace).
    ///
    /// # Errors
    ///
    /// Those of [`replace`](Self::replace), against what stays as well.
    pub fn replace_configured(
        &mut self,
        now: Instant,
        bindings: Vec<Binding>,
    ) -> Result<ReplaceReport, LoadError> {
        self.handle_timeout(now);
        let kept = |binding: &&Binding| binding.origin != Origin::Static;
        let kept = self.entries.values().filter(kept);
        let mut all: BTreeMap<Key, Binding> = kept.map(|b| (Key::of(&b.key()), *b)).collect();
        // What stays counts as it will be when everything decided is stored.
        for (key, outcome) in self.barrier.outcomes() {
            if outcome.origin != Origin::Static {
                all.insert(key, *outcome);
            } else {
                all.remove(&key);
            }
        }
        let before = all.len();
        let all: Vec<Binding> = all.into_values().chain(bindings).collect();
        self.decide_replacement(&all, before)
    }

    /// How the table differs from `new`, which need not be ordered. Of two bindings of one
    /// softwire in `new` the last counts.
    #[must_use]
    pub fn diff(&self, new: &[Binding]) -> Diff {
        let new: BTreeMap<Key, &Binding> = new.iter().map(|b| (Key::of(&b.key()), b)).collect();
        let mut diff = Diff::default();
        merge(self.iter(), new.into_values(), |old, new| {
            match (old, new) {
                (Some(old), Some(new)) if old == new => diff.unchanged += 1,
                (Some(old), Some(new)) => diff.changed.push((*old, *new)),
                (Some(old), None) => diff.removed.push(*old),
                (None, Some(new)) => diff.added.push(*new),
                (None, None) => {}
            }
        });
        diff
    }

    /// Takes other pools and configured AFTR addresses. They hold from the next load or
    /// replacement on.
    #[cfg(feature = "table")]
    pub fn set_pools(&mut self, pools: Vec<crate::table::Pool>) {
        self.config.pools = pools;
    }

    /// Takes other configured AFTR addresses. They hold from the next load or replacement on.
    pub fn set_aftrs(&mut self, aftrs: Vec<Ipv6Addr>) {
        self.config.aftrs = aftrs;
    }

    /// Puts the stored table in place, but for what ended while it waited.
    pub(super) fn commit_bulk(&mut self, version: u64, bindings: &Arc<Vec<Binding>>) -> bool {
        let withdrawn = self.barrier.end_bulk(true);
        let gone = |binding: &Binding| {
            let Binding { b4, origin, .. } = *binding;
            binding.expires.is_over(self.now)
                || withdrawn.contains(&(Key::of(&binding.key()), b4, origin))
        };
        let ended: Vec<Binding> = bindings.iter().filter(|b| gone(b)).copied().collect();
        let live = if ended.is_empty() {
            Arc::clone(bindings)
        } else {
            Arc::new(bindings.iter().filter(|b| !gone(b)).copied().collect())
        };
        for binding in ended {
            let reason = RemoveReason::Expired;
            let change = Change::Removed { binding, reason };
            self.barrier.record_later(Key::of(&binding.key()), change);
        }
        let installed = self.install(version.max(self.version + 1), &live);
        if !installed {
            // The store has the new table, the packets follow the old one.
            let bindings = Arc::new(self.entries.values().copied().collect());
            let version = self.version;
            let truth = Change::BulkReplaced { version, bindings };
            self.decide(truth, Effect::Record);
        }
        // The store learned of these ends after it had learned of the new table, which has some
        // of the softwires for somebody else.
        for (key, _, _) in withdrawn {
            if let Some(current) = self.entries.get(&key).copied() {
                let (old, new) = (current, current);
                let truth = Change::Replaced { old, new };
                self.barrier.record_later(key, truth);
            }
        }
        installed
    }

    fn decide_replacement(
        &mut self,
        bindings: &[Binding],
        before: usize,
    ) -> Result<ReplaceReport, LoadError> {
        if let Some(seq) = self.barrier.bulk() {
            let error = InsertError::ReplacePending { seq };
            return Err(LoadError { index: 0, error });
        }
        let whole = self.check_whole(bindings, before)?;
        let (mut added, mut removed, mut changed, mut unchanged) = (0, 0, 0, 0);
        merge(self.iter(), whole.sorted.iter(), |old, new| {
            match (old, new) {
                (Some(old), Some(new)) if old == new => unchanged += 1,
                (Some(_), Some(_)) => changed += 1,
                (Some(_), None) => removed += 1,
                (None, _) => added += 1,
            }
        });
        let (expired, system_ports) = (whole.expired, whole.system_ports);
        let version = self.version + 1;
        let bindings = Arc::new(whole.sorted);
        let change = Change::BulkReplaced { version, bindings };
        let seq = self.decide(change, Effect::Apply { moved: None });
        Ok(ReplaceReport {
            seq,
            added,
            removed,
            changed,
            unchanged,
            expired,
            system_ports,
        })
    }

    /// Checks a whole table of which the first `before` bindings are there already.
    fn check_whole(&self, bindings: &[Binding], before: usize) -> Result<Whole, LoadError> {
        check_all(&self.config, self.now, bindings, before).map_err(|(index, error)| LoadError {
            index: index.saturating_sub(before),
            error,
        })
    }

    /// Makes `bindings`, ordered by key and checked, the table. Nothing may hold softwires.
    fn install(&mut self, version: u64, bindings: &Arc<Vec<Binding>>) -> bool {
        let (max, configured) = (self.config.max_aftrs, &self.config.aftrs);
        let (aftrs, list) = Aftrs::of_table(max, configured, bindings);
        #[cfg(feature = "table")]
        let written = {
            let number = |addr| aftrs.number(addr);
            let pools = &self.config.pools;
            self.sink.replace_all(bindings, &list, number, pools)
        };
        #[cfg(not(feature = "table"))]
        let written = self.sink.replace_all(bindings, &list);
        if !written {
            return false;
        }
        self.aftrs = aftrs;
        let keyed = |b: &Binding| (Key::of(&b.key()), *b);
        let old = core::mem::replace(&mut self.entries, bindings.iter().map(keyed).collect());
        let word = |b: &Binding| Key::of(&b.key());
        self.by_b4 = bindings.iter().map(|b| (b.b4, word(b))).collect();
        let ends = |b: &Binding| Some((b.expires.at()?, word(b)));
        self.leases = bindings.iter().filter_map(ends).collect();
        self.count_again();
        self.version = version;
        self.generation += 1;
        let bindings = Arc::clone(bindings);
        let change = Change::BulkReplaced { version, bindings };
        self.tell(change);
        self.quarantine_missing(&old);
        true
    }

    /// Ends the quarantine of what is bound now and begins that of what is bound no more.
    fn quarantine_missing(&mut self, old: &BTreeMap<Key, Binding>) {
        let word = |b: &Binding| Key::of(&b.key());
        let waiting = self.quarantine.iter().map(|q| Key::of(&q.key));
        let bound: BTreeSet<Key> = waiting
            .filter(|key| self.entries.contains_key(key))
            .collect();
        for key in bound {
            self.end_quarantine(key);
        }
        let missing = |b: &&Binding| !self.entries.contains_key(&word(b));
        let missing: Vec<Binding> = old.values().filter(missing).copied().collect();
        for binding in missing {
            self.quarantine(&binding);
        }
    }
}
