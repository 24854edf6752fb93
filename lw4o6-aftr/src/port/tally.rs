//! What became of a run of frames, counted once for all of them.

use super::PortVerdict;
use super::counters::{Cells, OfSide};
use crate::{Cause, Side, Verdict};

/// Counts of one run; its frames came in on one side.
#[derive(Debug, Default)]
pub(super) struct Tally {
    forwarded: [usize; 2], // by the side they leave on
    replied: [usize; 2],
    echoed: [usize; 2],
    waiting: [usize; 2],
    local: usize,
    dropped: usize,
    fragments: usize,
}

impl Tally {
    /// Notes a frame: the worker's verdict, and what the port made of it.
    pub(super) const fn note(&mut self, verdict: Verdict, outcome: PortVerdict) {
        if let PortVerdict::Drop(_) = outcome {
            self.dropped += 1;
            return;
        }
        match verdict {
            Verdict::Forward(to) | Verdict::Reply(to, _)
                if matches!(outcome, PortVerdict::Consumed) =>
            {
                *of(&mut self.waiting, to) += 1;
            }
            Verdict::Forward(to) => *of(&mut self.forwarded, to) += 1,
            Verdict::Reply(to, Cause::Dropped(_)) => *of(&mut self.replied, to) += 1,
            Verdict::Reply(to, Cause::EchoV4 | Cause::EchoV6) => *of(&mut self.echoed, to) += 1,
            Verdict::Local(_) => self.local += 1,
            Verdict::Consumed => self.fragments += 1,
            Verdict::Drop(_) => self.dropped += 1,
        }
    }

    /// Adds the counts to those of the port.
    pub(super) fn count(&mut self, from: Side, cells: &Cells) {
        let sum = |[a, b]: [usize; 2]| a + b;
        for (counter, count) in [
            (OfSide::Forwarded, sum(self.forwarded)),
            (OfSide::Replied, sum(self.replied)),
            (OfSide::Echoed, sum(self.echoed)),
            (OfSide::Waiting, sum(self.waiting)),
            (OfSide::Local, self.local),
            (OfSide::Dropped, self.dropped),
            (OfSide::Fragments, self.fragments),
        ] {
            cells.add(from, counter, count);
        }
        for to in Side::ALL {
            let forwarded = *of(&mut self.forwarded, to);
            let replied = *of(&mut self.replied, to) + *of(&mut self.echoed, to);
            cells.add(to, OfSide::SentForwarded, forwarded);
            cells.add(to, OfSide::SentReplied, replied);
            cells.add(to, OfSide::SentFrames, forwarded + replied);
            cells.add(to, OfSide::QueuedUp, *of(&mut self.waiting, to));
        }
    }
}

const fn of(both: &mut [usize; 2], side: Side) -> &mut usize {
    let [softwire, internet] = both;
    match side {
        Side::Softwire => softwire,
        Side::Internet => internet,
    }
}
