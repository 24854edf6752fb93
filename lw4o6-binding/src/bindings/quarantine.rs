//! Released softwires that wait before another subscriber may have them.
//

use alloc::collections::{BTreeMap, BTreeSet};

use lw4o6_wire::time::Instant;

use crate::bindings::key::Key;
use crate::change::Quarantined;
use crate::entry::{Binding, masked};

/// The softwires in quarantine, at most `max`.
#[derive(Debug)]
pub(crate) struct Quarantine {
    by_key: BTreeMap<Key, Quarantined>,
    ends: BTreeSet<(Instant, Key)>,
    max: usize,
}

impl Quarantine {
    /// An empty one.
    pub(crate) fn new(max: usize) -> Self {
        Self {
            by_key: BTreeMap::new(),
            ends: BTreeSet::new(),
            max,
        }
    }

    /// Puts a softwire in. Where there is no room, the one that would end first leaves early and
    /// is returned; with no room at all that is the new one.
    pub(crate) fn insert(&mut self, quarantined: Quarantined) -> Option<Quarantined> {
        let key = Key::of(&quarantined.key);
        self.take(key);
        self.by_key.insert(key, quarantined);
        self.ends.insert((quarantined.until, key));
        if self.by_key.len() <= self.max {
            return None;
        }
        let (_, first) = *self.ends.first()?;
        self.take(first)
    }

    /// Takes a softwire out, if it is in.
    pub(crate) fn take(&mut self, key: Key) -> Option<Quarantined> {
        let quarantined = self.by_key.remove(&key)?;
        self.ends.remove(&(quarantined.until, key));
        Some(quarantined)
    }

    /// Takes out one whose time is over.
    pub(crate) fn pop_ended(&mut self, now: Instant) -> Option<Quarantined> {
        let (until, key) = *self.ends.first()?;
        if until > now {
            return None;
        }
        self.take(key)
    }

    /// When the next one ends.
    pub(crate) fn next_end(&self) -> Option<Instant> {
        self.ends.first().map(|(until, _)| *until)
    }

    /// The softwire of exactly this key.
    pub(crate) fn get(&self, key: Key) -> Option<&Quarantined> {
        self.by_key.get(&key)
    }

    /// One that another subscriber than that of `binding` had and that shares ports with it.
    pub(crate) fn blocking(&self, binding: &Binding, mask: u8) -> Option<&Quarantined> {
        let subscriber = binding.subscriber(mask);
        let foreign = |q: &&Quarantined| masked(q.b4, mask) != subscriber;
        let exact = self.by_key.get(&Key::of(&binding.key())).filter(foreign);
        // Sets of one layout overlap only where they are equal; others need a look at each.
        exact.or_else(|| {
            Key::unlike(binding.ipv4, binding.ports)
                .into_iter()
                .flat_map(|range| self.by_key.range(range))
                .map(|(_, q)| q)
                .filter(|q| q.key.ports.overlaps(&binding.ports))
                .find(foreign)
        })
    }

    /// All of them, ordered by key.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Quarantined> {
        self.by_key.values()
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.by_key.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::SoftwireKey;
    use lw4o6_wire::port_params::PortParams;

    fn quarantined(a: u8, k: u8, psid: u16, until: u64) -> Quarantined {
        Quarantined {
            key: SoftwireKey {
                ipv4: [192, 0, 2, 1].into(),
                ports: PortParams::new(a, k, psid).unwrap(),
            },
            b4: "2001:db8:0:100::1".parse().unwrap(),
            until: Instant::from_secs(until),
        }
    }

    fn binding(b4: &str, a: u8, k: u8, psid: u16) -> Binding {
        Binding::new(
            b4.parse().unwrap(),
            [192, 0, 2, 1].into(),
            PortParams::new(a, k, psid).unwrap(),
            "2001:db8:a::1".parse().unwrap(),
        )
    }

    #[test]
    fn a_set_of_another_layout_is_blocked_where_it_overlaps() {
        let mut quarantine = Quarantine::new(8);
        quarantine.insert(quarantined(0, 6, 3, 120)); // ports 3072-4095
        let blocked = |b4, a, k, psid| quarantine.blocking(&binding(b4, a, k, psid), 56).is_some();
        assert!(blocked("2001:db8:0:200::1", 0, 6, 3));
        assert!(!blocked("2001:db8:0:200::1", 0, 6, 4));
        assert!(blocked("2001:db8:0:200::1", 0, 4, 0));
        assert!(!blocked("2001:db8:0:200::1", 0, 4, 1));
        assert!(blocked("2001:db8:0:200::1", 0, 0, 0));
        assert!(!blocked("2001:db8:0:1ff::9", 0, 6, 3)); // the same subscriber
        assert!(!blocked("2001:db8:0:1ff::9", 0, 0, 0));
    }

    #[test]
    fn a_full_quarantine_ends_the_oldest_early() {
        let mut quarantine = Quarantine::new(2);
        assert_eq!(quarantine.insert(quarantined(0, 6, 1, 10)), None);
        assert_eq!(quarantine.insert(quarantined(0, 6, 2, 20)), None);
        let first = quarantined(0, 6, 1, 10);
        assert_eq!(quarantine.insert(quarantined(0, 6, 3, 30)), Some(first));
        assert_eq!(quarantine.len(), 2);
        let none = quarantined(0, 6, 1, 10);
        assert_eq!(Quarantine::new(0).insert(none), Some(none));
    }

    #[test]
    fn they_end_in_the_order_of_time() {
        let mut quarantine = Quarantine::new(8);
        quarantine.insert(quarantined(0, 6, 1, 30));
        quarantine.insert(quarantined(0, 6, 2, 10));
        quarantine.insert(quarantined(0, 6, 2, 20)); // counts from the newest release
        assert_eq!(quarantine.next_end(), Some(Instant::from_secs(20)));
        assert_eq!(quarantine.pop_ended(Instant::from_secs(19)), None);
        let psid = |q: Quarantined| q.key.ports.psid();
        assert_eq!(
            quarantine.pop_ended(Instant::from_secs(40)).map(psid),
            Some(2)
        );
        assert_eq!(
            quarantine.pop_ended(Instant::from_secs(40)).map(psid),
            Some(1)
        );
        assert_eq!(quarantine.pop_ended(Instant::from_secs(40)), None);
        assert_eq!(quarantine.next_end(), None);
    }
}
