//! Who had which port of which address at which time: the log that a shared address needs
//! (RFC 6269 §12, RFC 7422 §2).
//!
//! [`LogLine`] is one change as a line of text. [`History`] follows the stream of changes and
//! answers questions about the past, as far back as it may remember.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::fmt;
use core::net::{Ipv4Addr, Ipv6Addr};

use lw4o6_wire::b4_addr::Ipv6Prefix;

use crate::bindings::key::Key;
use crate::change::Change;
use crate::entry::{Binding, Expiry};
use crate::utc::{Clock, Utc};

/// One change of the table as a line: time, what happened, softwire, both ends, table version.
///
/// ```text
/// 2026-11-20T19:05:32.5Z added 192.0.2.1 a=0 k=6 psid=1 ports=1024-2047 b4=2001:db8::1
///   subscriber=2001:db8::/56 aftr=2001:db8:a::1 origin=dhcp expires=2026-11-20T20:05:32.5Z version=7
/// ```
///
/// (in one line). `ports` has the first and the last port; with an offset there are gaps between
/// them. A replacement of the whole table is `replaced-all softwires=N version=V`: log the
/// bindings of it as lines of their own where the retention rules ask for that.
// R-268
#[derive(Clone, Copy, Debug)]
pub struct LogLine<'a> {
    /// What changed.
    pub change: &'a Change,
    /// When.
    pub at: Utc,
    /// Number of the table after the change.
    pub version: u64,
    /// Leading bits of a B4 address that stand for the subscriber.
    pub subscriber_mask: u8,
    /// For the ends of leases.
    pub clock: &'a Clock,
}

impl fmt::Display for LogLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.at)?;
        match self.change {
            Change::Added(binding) => self.line(f, "added", binding)?,
            Change::Renewed(binding) => self.line(f, "renewed", binding)?,
            Change::Replaced { old, new } => {
                self.line(f, "replaced", new)?;
                write!(f, " old-b4={} old-aftr={}", old.b4, old.aftr)?;
            }
            Change::Removed { binding, reason } => self.line(f, reason.as_str(), binding)?,
            Change::Quarantined(waits) => {
                write!(f, "quarantined {} b4={}", waits.key, waits.b4)?;
                write!(f, " until={}", self.clock.utc_of(waits.until))?;
            }
            Change::QuarantineEnded(waits) => {
                write!(f, "quarantine-ended {} b4={}", waits.key, waits.b4)?;
            }
            Change::BulkReplaced { bindings, .. } => {
                write!(f, "replaced-all softwires={}", bindings.len())?;
            }
        }
        write!(f, " version={}", self.version)
    }
}

impl LogLine<'_> {
    fn line(&self, f: &mut fmt::Formatter<'_>, event: &str, binding: &Binding) -> fmt::Result {
        let Binding {
            b4,
            ipv4,
            ports,
            aftr,
            origin,
            expires,
            ..
        } = binding;
        let (a, k, psid) = (ports.offset(), ports.len(), ports.psid());
        let first = ports.ranges().next().map_or(0, |range| *range.start());
        let last = ports.ranges().last().map_or(0, |range| *range.end());
        write!(
            f,
            "{event} {ipv4} a={a} k={k} psid={psid} ports={first}-{last} b4={b4}"
        )?;
        let subscriber = binding.subscriber(self.subscriber_mask);
        write!(f, " subscriber={subscriber} aftr={aftr} origin={origin}")?;
        match expires {
            Expiry::Never => Ok(()),
            Expiry::At(at) => write!(f, " expires={}", self.clock.utc_of(*at)),
        }
    }
}

/// The time for which somebody had a softwire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The binding; of several that differ in their expiry only, the first.
    pub binding: Binding,
    /// Its first moment.
    pub from: Utc,
    /// The moment from which on it was no more; `None` while it goes on.
    pub to: Option<Utc>,
}

impl Span {
    /// Whether it held at `when`.
    #[must_use]
    pub fn covers(&self, when: Utc) -> bool {
        self.from <= when && self.to.is_none_or(|to| when < to)
    }
}

/// The past of the table, as told by its stream of changes.
///
/// It grows by about 130 bytes for each binding that ended, up to the limit given; then the
/// oldest end is forgotten.
// R-270
#[derive(Debug)]
pub struct History {
    spans: BTreeMap<Key, Vec<Span>>,
    by_b4: BTreeSet<(Ipv6Addr, Key)>,
    /// The ends in the order in which they came.
    ended: VecDeque<(Utc, Key)>,
    max_ended: usize,
}

impl History {
    /// Knows nothing yet and will remember up to `max_ended` bindings that are no more.
    #[must_use]
    pub fn new(max_ended: usize) -> Self {
        Self {
            spans: BTreeMap::new(),
            by_b4: BTreeSet::new(),
            ended: VecDeque::new(),
            max_ended,
        }
    }

    /// Takes the next change of the stream, which happened at `at`. After
    /// [`Event::Lost`](crate::Event::Lost) give a [`Change::BulkReplaced`] with the whole table.
    pub fn follow(&mut self, at: Utc, change: &Change) {
        match change {
            Change::Added(binding) => self.begin(at, binding),
            Change::Replaced { new, .. } => {
                self.end(at, Key::of(&new.key()));
                self.begin(at, new);
            }
            Change::Removed { binding, .. } => self.end(at, Key::of(&binding.key())),
            Change::BulkReplaced { bindings, .. } => self.replace(at, bindings),
            // Who has the softwire stays the same.
            Change::Renewed(_) | Change::Quarantined(_) | Change::QuarantineEnded(_) => {}
        }
    }

    /// Who had the port of the address at that time.
    #[must_use]
    pub fn who(&self, ipv4: Ipv4Addr, port: u16, when: Utc) -> Option<&Span> {
        self.spans
            .range(Key::on(ipv4))
            .flat_map(|(_, spans)| spans)
            .find(|span| span.covers(when) && span.binding.ports.contains(port))
    }

    /// Who had ports of the address at that time, ordered by port set.
    pub fn on(&self, ipv4: Ipv4Addr, when: Utc) -> impl Iterator<Item = &Span> {
        let spans = self.spans.range(Key::on(ipv4)).flat_map(|(_, spans)| spans);
        spans.filter(move |span| span.covers(when))
    }

    /// What the B4s in the prefix had at that time, ordered by B4 address.
    pub fn what(&self, subscriber: Ipv6Prefix, when: Utc) -> impl Iterator<Item = &Span> {
        let first = subscriber.addr();
        let all = Key::all();
        self.by_b4
            .range((first, *all.start())..)
            .take_while(move |(b4, _)| subscriber.contains(*b4))
            .flat_map(move |(b4, key)| {
                let spans = self.spans.get(key).map_or(&[][..], Vec::as_slice);
                spans
                    .iter()
                    .filter(move |span| span.binding.b4 == *b4 && span.covers(when))
            })
    }

    /// Forgets what ended before `when`.
    pub fn forget_before(&mut self, when: Utc) {
        while let Some((to, _)) = self.ended.front()
            && *to < when
        {
            self.forget_oldest();
        }
    }

    fn begin(&mut self, from: Utc, binding: &Binding) {
        let key = Key::of(&binding.key());
        let span = Span {
            binding: *binding,
            from,
            to: None,
        };
        self.spans.entry(key).or_default().push(span);
        self.by_b4.insert((binding.b4, key));
    }

    fn end(&mut self, at: Utc, key: Key) {
        let last = self.spans.get_mut(&key).and_then(|spans| spans.last_mut());
        let Some(open) = last.filter(|span| span.to.is_none()) else {
            return;
        };
        open.to = Some(at);
        self.ended.push_back((at, key));
        if self.ended.len() > self.max_ended {
            self.forget_oldest();
        }
    }

    fn replace(&mut self, at: Utc, bindings: &[Binding]) {
        let new: BTreeMap<Key, &Binding> =
            bindings.iter().map(|b| (Key::of(&b.key()), b)).collect();
        let open = |spans: &Vec<Span>| spans.last().filter(|span| span.to.is_none()).copied();
        let now: BTreeMap<Key, Binding> = self
            .spans
            .iter()
            .filter_map(|(key, spans)| Some((*key, open(spans)?.binding)))
            .collect();
        let same =
            |a: &Binding, b: &Binding| a.with_expiry(Expiry::Never) == b.with_expiry(Expiry::Never);
        for (key, old) in &now {
            if !new.get(key).is_some_and(|new| same(old, new)) {
                self.end(at, *key);
            }
        }
        for (key, new) in &new {
            if !now.get(key).is_some_and(|old| same(old, new)) {
                self.begin(at, new);
            }
        }
    }

    fn forget_oldest(&mut self) {
        let Some((_, key)) = self.ended.pop_front() else {
            return;
        };
        let Some(spans) = self.spans.get_mut(&key) else {
            return;
        };
        // The spans of one softwire are in order, so the oldest end of all is its first.
        let gone = spans.remove(0).binding.b4;
        if !spans.iter().any(|span| span.binding.b4 == gone) {
            self.by_b4.remove(&(gone, key));
        }
        if spans.is_empty() {
            self.spans.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests;
