//! Fragment memory of the instance, which its workers share.
//!
//! The bytes are a number, not memory: each worker has its own slab. It takes the right to fill it in
//! chunks, so that the common counter is touched once for many fragments. What the workers may hold
//! is never more than the budget together, and a worker that is alone may hold all of it.
//!
//! ```text
//! budget |#######A#######..|###B##..|                      free                      |
//!         held by A      ^ granted to A, a chunk at most not in use
//! ```

use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::Arc;

/// Largest chunk in bytes.
const MAX_CHUNK: usize = 64 << 10;

/// Parts of a small budget that are a chunk, so that idle workers do not sit on much of it.
const PARTS: usize = 64;

/// What is granted of one budget, to all workers together, in bytes.
#[derive(Debug, Default)]
#[repr(align(128))] // two cache lines: the prefetcher pairs them
pub(crate) struct Pool {
    granted: AtomicUsize,
}

/// The pools of an instance.
#[derive(Debug, Default)]
pub(crate) struct Pools {
    /// Tunnel packets being put together.
    pub(crate) tunnel: Arc<Pool>,
    /// IPv4 packets being put together.
    pub(crate) ipv4: Arc<Pool>,
    /// IPv4 fragments that wait for their first one.
    pub(crate) followed: FollowedPools,
}

/// What both sides and each one may hold of fragments that wait for their first one.
#[derive(Clone, Debug, Default)]
pub(crate) struct FollowedPools {
    pub(crate) all: Arc<Pool>,
    pub(crate) sides: [Arc<Pool>; 2],
}

/// What one worker is granted; given back when the worker goes.
#[derive(Debug, Default)]
pub(crate) struct Share {
    pool: Arc<Pool>,
    granted: usize,
}

impl Share {
    /// Nothing yet, of this pool.
    pub(crate) const fn of(pool: Arc<Pool>) -> Self {
        Self { pool, granted: 0 }
    }

    /// Whether the worker may hold `need` bytes of a budget of `total`; takes what lacks for that.
    pub(crate) fn ensure(&mut self, total: usize, need: usize) -> bool {
        let Some(lacking) = need.checked_sub(self.granted).filter(|&more| more > 0) else {
            return true;
        };
        let grant = |granted: usize| {
            let free = total.saturating_sub(granted);
            (free >= lacking).then(|| lacking.max(chunk(total)).min(free))
        };
        let next = |granted| grant(granted).map(|more| granted + more);
        let taken = self.pool.granted.fetch_update(Relaxed, Relaxed, next);
        let more = taken.ok().and_then(grant);
        self.granted += more.unwrap_or(0);
        more.is_some()
    }

    /// Gives back what a worker that holds `held` bytes can spare: all but half a chunk when that is
    /// more than one, everything while more is granted than there is.
    pub(crate) fn settle(&mut self, total: usize, held: usize) {
        let spare = self.granted.saturating_sub(held);
        let less = if self.pool.granted.load(Relaxed) > total {
            spare
        } else if spare > chunk(total) {
            spare - chunk(total) / 2
        } else {
            0
        };
        if less > 0 {
            self.granted -= less;
            self.pool.granted.fetch_sub(less, Relaxed);
        }
    }

    /// What is granted to other workers.
    pub(crate) fn others(&self) -> usize {
        let granted = self.pool.granted.load(Relaxed);
        granted.saturating_sub(self.granted)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.pool.granted.fetch_sub(self.granted, Relaxed);
    }
}

/// Bytes that are taken at once.
const fn chunk(total: usize) -> usize {
    let chunk = total / PARTS;
    if chunk < MAX_CHUNK { chunk } else { MAX_CHUNK }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(count: usize) -> (Arc<Pool>, Vec<Share>) {
        let pool = Arc::new(Pool::default());
        let shares = (0..count).map(|_| Share::of(Arc::clone(&pool)));
        let shares = shares.collect();
        (pool, shares)
    }

    #[test]
    fn one_worker_may_hold_exactly_all_of_it() {
        for total in [0, 1, 100, 4096, 100_000, 8 << 20] {
            let (_, mut shares) = shares(1);
            for need in (0..=total).step_by((total / 7).max(1)).chain([total]) {
                assert!(shares[0].ensure(total, need), "{need} of {total}");
            }
            assert!(!shares[0].ensure(total, total + 1));
            shares[0].settle(total, 0);
            assert!(shares[0].ensure(total, total));
            assert_eq!(shares[0].others(), 0);
        }
    }

    #[test]
    fn an_idle_worker_keeps_a_chunk_at_most() {
        let total = 8 << 20;
        let (pool, mut shares) = shares(2);
        assert!(shares[1].ensure(total, total));
        shares[1].settle(total, 0);
        assert!(pool.granted.load(Relaxed) <= MAX_CHUNK);
        assert!(shares[0].ensure(total, total - MAX_CHUNK));
        assert!(!shares[0].ensure(total, total));
        assert!(shares[0].others() <= MAX_CHUNK);
        // A worker that is gone keeps nothing.
        shares.truncate(1);
        assert!(shares[0].ensure(total, total));
        shares.clear();
        assert_eq!(pool.granted.load(Relaxed), 0);
    }

    #[test]
    fn a_budget_that_shrinks_takes_back_what_is_spare() {
        let (pool, mut shares) = shares(2);
        assert!(shares[0].ensure(1000, 400) && shares[1].ensure(1000, 400));
        for share in &mut shares {
            assert!(!share.ensure(500, 500));
            share.settle(500, 300);
        }
        assert_eq!(pool.granted.load(Relaxed), 600);
        shares[0].settle(500, 200);
        assert!(!shares[1].ensure(500, 301) && !shares[0].ensure(500, 201));
        shares[0].settle(500, 100);
        assert!(shares[1].ensure(500, 390), "again within the budget");
    }

    #[test]
    fn workers_never_hold_more_together_than_there_is() {
        const TOTAL: usize = 100_000;
        let (_, shares) = shares(4);
        let held = Arc::new(AtomicUsize::new(0));
        let work = |(seed, mut share): (usize, Share)| {
            let held = Arc::clone(&held);
            std::thread::spawn(move || {
                let (mut own, mut dice) = (0, seed * 7919 + 1);
                for _ in 0..20_000 {
                    dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    let size = (dice >> 33) % 9000;
                    if dice >> 60 < 9 && share.ensure(TOTAL, own + size) {
                        own += size;
                        assert!(held.fetch_add(size, Relaxed) + size <= TOTAL);
                    } else if own >= size {
                        own -= size;
                        held.fetch_sub(size, Relaxed);
                        share.settle(TOTAL, own);
                    }
                }
                held.fetch_sub(own, Relaxed); // then the share goes
            })
        };
        let threads: Vec<_> = shares.into_iter().enumerate().map(work).collect();
        for thread in threads {
            thread.join().unwrap();
        }
    }
}
