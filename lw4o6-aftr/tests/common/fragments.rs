//! What tests about fragments say of an outcome.

use lw4o6_aftr::{Counter, DropReason, Verdict};

use super::{Bench, Outcome};

/// The frame was kept, and nothing came of it yet.
pub fn held(out: &Outcome) {
    assert_eq!(
        (out.verdict, out.outputs.len()),
        (Verdict::Consumed, 0),
        "{out:?}"
    );
}

/// The frame was dropped for this reason, and nothing came of it.
pub fn dropped(out: &Outcome, reason: DropReason) {
    assert_eq!(
        (out.verdict, out.outputs.len()),
        (Verdict::Drop(reason), 0),
        "{out:?}"
    );
}

/// The accounts of `lw4o6_aftr`'s counters close, while `held` frames are held.
pub fn books(bench: &Bench, held: u64) {
    let of = |counter| bench.counter(counter);
    let sum = |counters: &[Counter]| counters.iter().map(|&c| of(c)).sum::<u64>();
    assert_eq!(
        sum(&[Counter::ReceivedSoftwire, Counter::ReceivedInternet]),
        sum(&[
            Counter::Forwarded,
            Counter::Replied,
            Counter::Echoed,
            Counter::Local,
            Counter::Consumed,
            Counter::Dropped,
        ])
    );
    assert_eq!(
        sum(&[Counter::Consumed, Counter::LateConsumed]),
        held + sum(&[Counter::Merged, Counter::Released, Counter::Discarded])
    );
    assert_eq!(
        sum(&[Counter::Reassembled, Counter::Released]),
        sum(&[
            Counter::LateForwarded,
            Counter::LateReplied,
            Counter::LateEchoed,
            Counter::LateLocal,
            Counter::LateConsumed,
            Counter::LateDropped,
        ])
    );
    assert_eq!(
        DropReason::ALL.iter().map(|&r| bench.drops(r)).sum::<u64>(),
        sum(&[
            Counter::Dropped,
            Counter::LateDropped,
            Counter::Replied,
            Counter::LateReplied,
            Counter::Discarded,
        ])
    );
}

/// All orders of `0..n`.
pub fn permutations(n: usize) -> Vec<Vec<usize>> {
    let mut all = vec![Vec::new()];
    for next in 0..n {
        let grown = all.iter().flat_map(|order: &Vec<usize>| {
            (0..=order.len()).map(move |at| {
                let mut order = order.clone();
                order.insert(at, next);
                order
            })
        });
        all = grown.collect();
    }
    all
}
