//! The store of bindings: rules, both indexes, lifetimes, and the order of decision, storage and
//! effect.
//!
//! ```text
//!  insert / update / renew                    remove / revoke / expiry
//!      | rules                                    |
//!      v                                          v
//!  decided: holds its ports              leaves the table at once ---> Changed
//!      | Persist{seq}                             |
//!      v                                          v Persist{seq}
//!  handle_persisted(seq)                 handle_persisted(seq)
//!      |                                          |
//!      v                                          v
//!  table, Changed, Committed             Committed
//! ```
//!
//! A grant takes effect only when it is stored, because a subscriber that was told about its
//! softwire sends at once, and the first packet without a binding would start provisioning again.
//! An end takes effect before it is stored, because a slow disk must not keep a dead binding
//! alive.

use alloc::collections::{BTreeMap, BTreeSet};
use core::fmt;
use core::net::{Ipv4Addr, Ipv6Addr};

use lw4o6_wire::port_params::PortParams;
use lw4o6_wire::time::Instant;

use crate::change::{Change, Deadline, Event, Quarantined, RemoveReason};
use crate::config::{BindingsConfig, Policy, SystemPorts};
use crate::entry::{Binding, Expiry, SoftwireKey};
use crate::error::{InsertError, RemoveError, RenewError, Seq, UpdateError};

use self::aftrs::Aftrs;
use self::barrier::{Barrier, Effect};
use self::key::Key;
use self::limits::Subscribers;
use self::quarantine::Quarantine;
use self::sink::Sink;
use self::stream::Stream;

mod aftrs;
mod barrier;
mod bulk;
mod commit;
mod ends;
pub(crate) mod key;
mod limits;
mod quarantine;
mod rules;
mod sink;
mod stream;
#[cfg(test)]
pub(crate) mod tests;
mod whole;

pub use self::bulk::{Diff, LoadReport, ReplaceReport};

/// The bindings of one lwAFTR instance (RFC 7596 §6.1).
///
/// Time is an argument of every call that changes something; an older `now` counts as the newest
/// seen. After any such call poll the events; polling late delays, never loses, except as told by
/// [`Event::Lost`].
// R-058, R-062: a softwire is found by {IPv4, port set}, and a B4 may have several.
pub struct Bindings {
    config: BindingsConfig,
    now: Instant,
    /// What is in the table, and nothing else.
    entries: BTreeMap<Key, Binding>,
    /// The same by B4, with what is decided.
    by_b4: BTreeSet<(Ipv6Addr, Key)>,
    aftrs: Aftrs,
    /// When bindings, granted or decided, end.
    leases: BTreeSet<(Instant, Key)>,
    quarantine: Quarantine,
    /// Until when every port set counts as in quarantine.
    closed_until: Instant,
    subscribers: Subscribers,
    barrier: Barrier,
    stream: Stream,
    sink: Sink,
    version: u64,
    generation: u64,
}

impl fmt::Debug for Bindings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bindings")
            .field("len", &self.entries.len())
            .field("pending", &self.barrier.pending())
            .field("quarantined", &self.quarantine.len())
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

impl Bindings {
    /// An empty store that writes to `writer`.
    #[cfg(feature = "table")]
    #[must_use]
    pub fn new(config: BindingsConfig, writer: crate::table::TableWriter) -> Self {
        let sink = Sink::new(writer);
        Self::with_sink(config, sink)
    }

    /// An empty store without a packet half: for a management program, a provisioning server on
    /// another machine, or a test.
    #[must_use]
    pub fn without_table(config: BindingsConfig) -> Self {
        Self::with_sink(config, Sink::default())
    }

    fn with_sink(config: BindingsConfig, mut sink: Sink) -> Self {
        let aftrs = Aftrs::new(config.max_aftrs, &config.aftrs, &mut sink);
        Self {
            now: Instant::ZERO,
            entries: BTreeMap::new(),
            by_b4: BTreeSet::new(),
            aftrs,
            leases: BTreeSet::new(),
            quarantine: Quarantine::new(config.max_quarantined),
            closed_until: Instant::ZERO,
            subscribers: Subscribers::new(config.softwires),
            barrier: Barrier::new(config.max_pending),
            stream: Stream::new(config.max_events),
            sink,
            version: 0,
            generation: 0,
            config,
        }
    }

    /// Decides to bind a softwire. It is in the table when the decision is stored.
    ///
    /// The same request again, but for the expiry, joins the one that waits: the number returned
    /// is the old one, and so is the expiry.
    ///
    /// # Errors
    ///
    /// The first rule that the binding breaks, see [`InsertError`]. Nothing is changed then.
    // R-059, R-060
    pub fn insert(&mut self, now: Instant, binding: Binding) -> Result<Seq, InsertError> {
        self.handle_timeout(now);
        if let Some(seq) = self.joined(&binding)? {
            return Ok(seq);
        }
        self.check_grant(&binding)?;
        let moved = self.check_dynamic(&binding)?;
        self.check_room(binding.ipv4)?;
        self.hold(&binding)?;
        if self.config.policy.system_ports == SystemPorts::Warn && binding.shares_system_ports() {
            let key = binding.key();
            self.stream.push(Event::SystemPorts { key });
        }
        Ok(self.decide(Change::Added(binding), Effect::Apply { moved }))
    }

    /// Decides to put another B4, AFTR, origin or expiry in the place of what is bound to the
    /// same softwire. The old binding works until the new one is stored, and no packet meets a
    /// moment without one.
    ///
    /// A dynamic binding may only take the place of a dynamic one of the same subscriber, which
    /// is a move (R-068); others may take any place.
    ///
    /// # Errors
    ///
    /// [`UpdateError::NotBound`], or the rule that the new binding breaks;
    /// [`InsertError::Duplicate`] where it belongs to somebody else.
    pub fn update(&mut self, now: Instant, binding: Binding) -> Result<Seq, UpdateError> {
        self.handle_timeout(now);
        if let Some(seq) = self.joined(&binding)? {
            return Ok(seq);
        }
        let key = binding.key();
        let Some(old) = self.get(&key).copied() else {
            return Err(UpdateError::NotBound { key });
        };
        let moved = self.check_replacement(&old, &binding)?;
        self.check_room(binding.ipv4)?;
        let number = self.aftrs.add(binding.aftr, &mut self.sink);
        number.ok_or_else(|| self.too_many_aftrs(binding.aftr))?;
        self.by_b4.insert((binding.b4, Key::of(&key)));
        let change = Change::Replaced { old, new: binding };
        Ok(self.decide(change, Effect::Apply { moved }))
    }

    /// Decides to let the lease of `key`, held by `b4`, end at `expires`. Until that is stored
    /// the old end holds.
    ///
    /// A second request while one waits joins it, unless it asks for an earlier end.
    ///
    /// # Errors
    ///
    /// [`RenewError::NotBound`], [`RenewError::OtherB4`], or as a rule: an end in the past,
    /// another change of the softwire waiting, too many changes waiting.
    // R-059
    pub fn renew(
        &mut self,
        now: Instant,
        key: &SoftwireKey,
        b4: Ipv6Addr,
        expires: Expiry,
    ) -> Result<Seq, RenewError> {
        self.handle_timeout(now);
        let key = *key;
        let Some(old) = self.get(&key).copied() else {
            return Err(RenewError::NotBound { key });
        };
        if old.b4 != b4 {
            return Err(RenewError::OtherB4 { key, b4: old.b4 });
        }
        let renewed = old.with_expiry(expires);
        self.check_alive(&renewed)?;
        if let Some((seq, waiting)) = self.barrier.waiting_for(Key::of(&key)) {
            if let Change::Renewed(first) = waiting
                && not_after(first.expires, expires)
            {
                return Ok(seq);
            }
            return Err(InsertError::Pending { key, seq }.into());
        }
        self.check_room(key.ipv4)?;
        Ok(self.decide(Change::Renewed(renewed), Effect::Apply { moved: None }))
    }

    /// Ends a binding because its subscriber gave it back. No packet matches it from now on; the
    /// number is that of the record of it.
    ///
    /// A grant that still waits is withdrawn.
    ///
    /// # Errors
    ///
    /// [`RemoveError::NotBound`].
    pub fn remove(&mut self, now: Instant, key: &SoftwireKey) -> Result<Seq, RemoveError> {
        self.end(now, key, RemoveReason::Released)
    }

    /// Ends a binding because the operator or a policy takes it away; else like
    /// [`remove`](Self::remove).
    ///
    /// # Errors
    ///
    /// [`RemoveError::NotBound`].
    pub fn revoke(&mut self, now: Instant, key: &SoftwireKey) -> Result<Seq, RemoveError> {
        self.end(now, key, RemoveReason::Revoked)
    }

    /// Takes a new policy. Bindings that it would not allow stay.
    ///
    /// Another subscriber mask forgets which softwires moved, as it changes who a subscriber is.
    // R-266
    pub fn set_policy(&mut self, now: Instant, policy: Policy) {
        self.handle_timeout(now);
        let old = core::mem::replace(&mut self.config.policy, policy);
        if old.subscriber_mask != policy.subscriber_mask {
            self.count_again();
        }
    }

    /// Treats every port set as in quarantine, for a start that does not know what was bound
    /// before: no dynamic grant until the quarantine time from `now` on is over (RFC 6888 REQ-8).
    // R-065
    pub fn state_was_lost(&mut self, now: Instant) {
        self.handle_timeout(now);
        self.closed_until = self.now + self.config.policy.quarantine;
    }

    /// Ends what is due: leases, quarantines, the pause after a failure of the store. Early or
    /// repeated calls do no harm.
    ///
    /// All ended bindings leave the table in the one call, however many they are.
    // R-059
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = self.now.max(now);
        while let Some((at, key)) = self.leases.first().copied()
            && at <= self.now
        {
            self.expire(at, key);
        }
        while let Some(ended) = self.quarantine.pop_ended(self.now) {
            self.tell(Change::QuarantineEnded(ended));
        }
        self.pump();
        self.sink.collect();
    }

    /// When [`handle_timeout`](Self::handle_timeout) has work next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Deadline> {
        let lease = self.leases.first().map(|(at, _)| (*at, "a lease ends"));
        let quarantine = self.quarantine.next_end();
        let quarantine = quarantine.map(|at| (at, "a quarantine ends"));
        let record = self.barrier.record_again();
        let record = record.map(|at| (at, "what the store missed is recorded again"));
        let first = [lease, quarantine, record].into_iter().flatten().min()?;
        let (at, why) = first;
        Some(Deadline { at, why })
    }

    /// Takes the oldest event.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<Event> {
        self.stream.poll()
    }

    /// The binding of exactly this softwire, if it is in the table.
    #[must_use]
    pub fn get(&self, key: &SoftwireKey) -> Option<&Binding> {
        self.entries.get(&Key::of(key))
    }

    /// The binding that a packet to this address and port belongs to.
    // R-058, R-270
    #[must_use]
    pub fn find(&self, ipv4: Ipv4Addr, port: u16) -> Option<&Binding> {
        let (first, _) = self.entries.range(Key::on(ipv4)).next()?;
        let (offset, len) = first.layout();
        let psid = PortParams::psid_of(offset, len, port)?;
        let ports = PortParams::new(offset, len, psid).ok()?;
        self.get(&SoftwireKey { ipv4, ports })
    }

    /// The bindings of one B4, ordered by key.
    // R-062, R-270
    pub fn by_b4(&self, b4: Ipv6Addr) -> impl Iterator<Item = &Binding> {
        let all = Key::all();
        self.by_b4
            .range((b4, *all.start())..=(b4, *all.end()))
            .filter_map(|(_, key)| self.entries.get(key))
            .filter(move |binding| binding.b4 == b4)
    }

    /// All bindings in the table, ordered by key.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Binding> {
        self.entries.values()
    }

    /// The bindings behind `key`, ordered by key, for lists that are read in pages; `key` need not
    /// be bound. All of them without one.
    pub fn after(&self, key: Option<&SoftwireKey>) -> impl Iterator<Item = &Binding> {
        use core::ops::Bound;
        let from = key.map_or(Bound::Unbounded, |key| Bound::Excluded(Key::of(key)));
        let range = self.entries.range((from, Bound::Unbounded));
        range.map(|(_, binding)| binding)
    }

    /// How many bindings the table has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether the table has no binding.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The softwires in quarantine, ordered by key.
    // R-065
    pub fn quarantined(&self) -> impl Iterator<Item = &Quarantined> {
        self.quarantine.iter()
    }

    /// The decision with this number, while it waits for the store.
    #[must_use]
    pub fn pending(&self, seq: Seq) -> Option<&Change> {
        self.barrier.get(seq)
    }

    /// Number of the table, `binding-table-versioning/version` of RFC 8676: one more with each
    /// change of it.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// How often the whole table was loaded or replaced.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Number of the newest change in the stream, 0 before the first.
    #[must_use]
    pub fn last_change(&self) -> u64 {
        self.stream.number()
    }

    /// How the packet half uses its memory; `None` without one.
    #[cfg(feature = "table")]
    #[must_use]
    pub fn memory(&self) -> Option<crate::table::TableMemory> {
        self.sink.memory()
    }

    /// The limits and policies in force.
    #[must_use]
    pub fn config(&self) -> &BindingsConfig {
        &self.config
    }
}

fn not_after(first: Expiry, second: Expiry) -> bool {
    match (first, second) {
        (_, Expiry::Never) => true,
        (Expiry::Never, Expiry::At(_)) => false,
        (Expiry::At(first), Expiry::At(second)) => first <= second,
    }
}
