//! What one subscriber may have: how many dynamic softwires, and how often they move.
//

use alloc::collections::{BTreeMap, VecDeque};
use core::time::Duration;

use lw4o6_wire::b4_addr::Ipv6Prefix;
use lw4o6_wire::time::Instant;

/// Counts of the dynamic softwires and the latest move of each subscriber.
#[derive(Debug)]
pub(crate) struct Subscribers {
    softwires: BTreeMap<Ipv6Prefix, u32>,
    moved: BTreeMap<Ipv6Prefix, Instant>,
    /// The moves in order of time; one that differs from `moved` was taken back.
    order: VecDeque<(Instant, Ipv6Prefix)>,
    /// How many moves are remembered.
    max_moves: usize,
}

impl Subscribers {
    /// Nobody yet.
    pub(crate) fn new(max_moves: usize) -> Self {
        Self {
            softwires: BTreeMap::new(),
            moved: BTreeMap::new(),
            order: VecDeque::new(),
            max_moves,
        }
    }

    /// How many dynamic softwires the subscriber has or waits for.
    pub(crate) fn count(&self, subscriber: Ipv6Prefix) -> u32 {
        self.softwires.get(&subscriber).copied().unwrap_or(0)
    }

    /// Counts one more.
    pub(crate) fn add(&mut self, subscriber: Ipv6Prefix) {
        *self.softwires.entry(subscriber).or_default() += 1;
    }

    /// Counts one less.
    pub(crate) fn sub(&mut self, subscriber: Ipv6Prefix) {
        let Some(count) = self.softwires.get_mut(&subscriber) else {
            return debug_assert!(false, "{subscriber} was not counted");
        };
        *count -= 1;
        if *count == 0 {
            self.softwires.remove(&subscriber);
        }
    }

    /// Forgets all counts, before they are taken anew with another mask.
    pub(crate) fn clear(&mut self) {
        self.softwires.clear();
        self.moved.clear();
        self.order.clear();
    }

    /// How long the subscriber still has to wait before its softwire moves again.
    ///
    /// Where no more moves can be remembered, until the oldest is forgotten.
    pub(crate) fn move_wait(
        &mut self,
        now: Instant,
        interval: Duration,
        subscriber: Ipv6Prefix,
    ) -> Option<Duration> {
        self.forget(now, interval);
        let since = match self.moved.get(&subscriber) {
            Some(moved) => *moved,
            None if self.moved.len() < self.max_moves => return None,
            None => self.order.front().map_or(now, |(at, _)| *at),
        };
        Some((since + interval).saturating_since(now)).filter(|wait| !wait.is_zero())
    }

    /// Remembers a move.
    pub(crate) fn moved(&mut self, now: Instant, subscriber: Ipv6Prefix) {
        self.moved.insert(subscriber, now);
        self.order.push_back((now, subscriber));
    }

    /// Takes a move back that did not take effect.
    pub(crate) fn not_moved(&mut self, subscriber: Ipv6Prefix) {
        self.moved.remove(&subscriber);
    }

    fn forget(&mut self, now: Instant, interval: Duration) {
        while let Some((at, subscriber)) = self.order.front().copied() {
            let current = self.moved.get(&subscriber) == Some(&at);
            if current && at + interval > now {
                return;
            }
            self.order.pop_front();
            if current {
                self.moved.remove(&subscriber);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HALF_HOUR: Duration = Duration::from_secs(1800);

    fn subscriber(n: u16) -> Ipv6Prefix {
        Ipv6Prefix::new([0x2001, 0xdb8, n, 0, 0, 0, 0, 0].into(), 56).unwrap()
    }

    #[test]
    fn a_subscriber_without_softwires_takes_no_memory() {
        let mut all = Subscribers::new(4);
        all.add(subscriber(1));
        all.add(subscriber(1));
        assert_eq!(all.count(subscriber(1)), 2);
        all.sub(subscriber(1));
        all.sub(subscriber(1));
        assert_eq!((all.count(subscriber(1)), all.softwires.len()), (0, 0));
    }

    #[test]
    fn moves_are_forgotten_after_the_interval() {
        let mut all = Subscribers::new(4);
        let at = Instant::from_secs;
        assert_eq!(all.move_wait(at(0), HALF_HOUR, subscriber(1)), None);
        all.moved(at(0), subscriber(1));
        let wait = all.move_wait(at(600), HALF_HOUR, subscriber(1));
        assert_eq!(wait, Some(Duration::from_secs(1200)));
        assert_eq!(all.move_wait(at(600), HALF_HOUR, subscriber(2)), None);
        assert_eq!(all.move_wait(at(1800), HALF_HOUR, subscriber(1)), None);
        assert_eq!((all.moved.len(), all.order.len()), (0, 0));
    }

    #[test]
    fn a_move_taken_back_does_not_count() {
        let mut all = Subscribers::new(4);
        all.moved(Instant::ZERO, subscriber(1));
        all.not_moved(subscriber(1));
        assert_eq!(all.move_wait(Instant::ZERO, HALF_HOUR, subscriber(1)), None);
        assert_eq!(all.order.len(), 0);
    }

    #[test]
    fn where_no_move_can_be_remembered_none_is_allowed() {
        let mut all = Subscribers::new(1);
        all.moved(Instant::ZERO, subscriber(1));
        let wait = all.move_wait(Instant::from_secs(800), HALF_HOUR, subscriber(2));
        assert_eq!(wait, Some(Duration::from_secs(1000)));
        assert_eq!(
            all.move_wait(Instant::from_secs(1800), HALF_HOUR, subscriber(2)),
            None
        );
    }
}
