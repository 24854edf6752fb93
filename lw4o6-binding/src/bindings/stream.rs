//! The queue of events: bounded, and open about what did not fit.

use alloc::collections::VecDeque;

use lw4o6_wire::time::Instant;

use crate::change::{Change, Event};

/// Events on their way to the owner.
///
/// Decisions and their outcomes are bounded by the limits of the barrier and are never dropped.
/// Changes of the table are bounded here: those that do not fit become one [`Event::Lost`].
#[derive(Debug)]
pub(crate) struct Stream {
    queue: VecDeque<Event>,
    /// How many of `queue` are [`Event::Changed`].
    waiting: usize,
    max: usize,
    /// Number of the newest change.
    number: u64,
    /// Numbers of the changes that did not fit, while that has not been told.
    lost: Option<(u64, u64)>,
}

impl Stream {
    /// An empty queue that keeps up to `max` changes.
    pub(crate) fn new(max: usize) -> Self {
        Self {
            queue: VecDeque::new(),
            waiting: 0,
            max,
            number: 0,
            lost: None,
        }
    }

    /// Adds an event that is not a change of the table.
    pub(crate) fn push(&mut self, event: Event) {
        self.queue.push_back(event);
    }

    /// Numbers a change of the table and adds it, or counts it as lost.
    pub(crate) fn changed(&mut self, at: Instant, version: u64, change: Change) {
        self.number += 1;
        let number = self.number;
        if let Some((_, last)) = &mut self.lost {
            *last = number;
        } else if self.waiting < self.max {
            self.waiting += 1;
            let event = Event::Changed {
                number,
                change,
                at,
                version,
            };
            self.queue.push_back(event);
        } else {
            self.lost = Some((number, number));
        }
    }

    /// Takes the oldest event.
    ///
    /// A gap is told as soon as all changes before it are out; no change can be queued behind it
    /// until then, so the order of numbers holds.
    pub(crate) fn poll(&mut self) -> Option<Event> {
        if self.waiting == 0
            && let Some((first, last)) = self.lost.take()
        {
            return Some(Event::Lost { first, last });
        }
        let event = self.queue.pop_front()?;
        if matches!(event, Event::Changed { .. }) {
            self.waiting -= 1;
        }
        Some(event)
    }

    /// Number of the newest change, 0 before the first.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Seq;
    use alloc::sync::Arc;
    use alloc::vec::Vec;

    fn change(version: u64) -> Change {
        Change::BulkReplaced {
            version,
            bindings: Arc::new(Vec::new()),
        }
    }

    #[test]
    fn changes_that_do_not_fit_become_one_gap_with_its_numbers() {
        let mut stream = Stream::new(2);
        for version in 1..=5 {
            stream.changed(Instant::ZERO, version, change(version));
        }
        stream.push(Event::Committed { seq: Seq(7) });
        let numbers: Vec<_> = core::iter::from_fn(|| stream.poll()).collect();
        let changed = |number| Event::Changed {
            number,
            change: change(number),
            at: Instant::ZERO,
            version: number,
        };
        assert_eq!(
            numbers,
            [
                changed(1),
                changed(2),
                Event::Lost { first: 3, last: 5 },
                Event::Committed { seq: Seq(7) },
            ]
        );
    }

    #[test]
    fn the_stream_goes_on_with_the_next_number_after_a_gap() {
        let mut stream = Stream::new(1);
        stream.changed(Instant::ZERO, 1, change(1));
        stream.changed(Instant::ZERO, 2, change(2));
        assert!(matches!(
            stream.poll(),
            Some(Event::Changed { number: 1, .. })
        ));
        stream.changed(Instant::ZERO, 3, change(3));
        assert_eq!(stream.poll(), Some(Event::Lost { first: 2, last: 3 }));
        stream.changed(Instant::ZERO, 4, change(4));
        assert!(matches!(
            stream.poll(),
            Some(Event::Changed { number: 4, .. })
        ));
        assert_eq!(stream.poll(), None);
        assert_eq!(stream.number(), 4);
    }

    #[test]
    fn decisions_are_never_dropped() {
        let mut stream = Stream::new(0);
        for seq in 0..100 {
            stream.push(Event::Committed { seq: Seq(seq) });
        }
        assert_eq!(core::iter::from_fn(|| stream.poll()).count(), 100);
    }
}
