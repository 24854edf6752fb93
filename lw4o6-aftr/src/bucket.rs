//! Token buckets for ICMP (RFC 4443 §2.4(f)).
//!
//! Each bucket is one number, the time at which it would be full again (GCRA), so workers share it
//! without a lock. A bucket holds `burst` tokens, is full at first, and gets one back every
//! 1,000,000 / rate microseconds, rounded up, so that no more than the rate passes.

use core::sync::atomic::{AtomicU64, Ordering};

use lw4o6_wire::Instant;
use siphasher::sip::SipHasher13;

/// How much a bucket lets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate {
    interval: u64, // microseconds a token takes to come back
    depth: u64,    // microseconds all tokens but one take; unused where `burst` is 0
    never: bool,
}

impl Rate {
    /// `per_second` tokens a second, `burst` at once. Nothing passes where either is 0.
    //
    pub(crate) const fn new(per_second: u32, burst: u32) -> Self {
        let interval = match per_second {
            0 => 0,
            rate => 1_000_000_u64.div_ceil(rate as u64),
        };
        Self {
            interval,
            depth: interval.saturating_mul((burst as u64).saturating_sub(1)),
            never: per_second == 0 || burst == 0,
        }
    }

    /// The state of a bucket in state `full_at` after one more token is taken.
    fn take(self, now: Instant, full_at: u64) -> Option<u64> {
        let now = now.as_micros();
        let full_at = full_at.max(now);
        let room = !self.never && full_at - now <= self.depth;
        room.then(|| full_at.saturating_add(self.interval))
    }
}

/// A token bucket. Its rate is an argument, because knobs change at run time.
#[derive(Debug, Default)]
pub(crate) struct Bucket {
    full_at: AtomicU64, // microseconds since the epoch of `Instant`
}

impl Bucket {
    /// A full bucket.
    pub(crate) const fn new() -> Self {
        Self {
            full_at: AtomicU64::new(0),
        }
    }

    /// Takes a token, if there is one.
    pub(crate) fn try_take(&self, now: Instant, rate: Rate) -> bool {
        take(&self.full_at, now, rate).is_some()
    }

    /// Whether there is a token.
    pub(crate) fn has_token(&self, now: Instant, rate: Rate) -> bool {
        rate.take(now, self.full_at.load(Ordering::Relaxed))
            .is_some()
    }
}

/// Takes a token; returns the states before and after.
fn take(full_at: &AtomicU64, now: Instant, rate: Rate) -> Option<(u64, u64)> {
    let mut old = full_at.load(Ordering::Relaxed);
    loop {
        let new = rate.take(now, old)?;
        match full_at.compare_exchange_weak(old, new, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => return Some((old, new)),
            Err(current) => old = current,
        }
    }
}

/// Buckets in one set; a source can only push aside others of its set.
const WAYS: usize = 8;

/// Buckets by source, a fixed number of them. // R-173
///
/// A source without a bucket takes that of its set which has been full for the longest time, or
/// will be full first. A full bucket is no different from a new one, so nothing is lost until
/// more than eight sources of one set are at their limit at once; which sources share a set is a
/// secret.
#[derive(Debug)]
pub(crate) struct SourceBuckets {
    sets: Box<[[Entry; WAYS]]>,
    hasher: SipHasher13,
}

#[derive(Debug, Default)]
struct Entry {
    tag: AtomicU64, // hash of the source; 0: nobody's
    full_at: AtomicU64,
}

impl SourceBuckets {
    /// At least `entries` buckets.
    pub(crate) fn new(entries: usize, secret: [u8; 16]) -> Self {
        let sets = entries.div_ceil(WAYS).next_power_of_two();
        Self {
            sets: (0..sets).map(|_| Default::default()).collect(),
            hasher: SipHasher13::new_with_key(&secret),
        }
    }

    /// Takes a token of `source` *and* one of `instance`, or neither. // R-165
    ///
    /// Exact where one worker calls it; workers that meet at one source may let one packet
    /// more through when a bucket changes hands between them.
    pub(crate) fn try_take_both(
        &self,
        now: Instant,
        source: &[u8],
        source_rate: Rate,
        instance: &Bucket,
        instance_rate: Rate,
    ) -> bool {
        if !instance.has_token(now, instance_rate) {
            return false; // before a source takes a bucket away from another
        }
        let Some(entry) = self.entry(source) else {
            return false;
        };
        let Some((old, new)) = take(&entry.full_at, now, source_rate) else {
            return false;
        };
        if instance.try_take(now, instance_rate) {
            return true;
        }
        // Another worker took the last one in between: put the source's token back.
        let (ok, relaxed) = (Ordering::Relaxed, Ordering::Relaxed);
        if entry
            .full_at
            .compare_exchange(new, old, ok, relaxed)
            .is_err()
        {
            let back = source_rate.interval;
            let _ = entry
                .full_at
                .fetch_update(ok, relaxed, |at| Some(at.saturating_sub(back)));
        }
        false
    }

    /// The bucket of `source`, which may have been another's until now.
    fn entry(&self, source: &[u8]) -> Option<&Entry> {
        let hash = self.hasher.hash(source).max(1);
        let mask = self.sets.len() as u64 - 1;
        let set = self.sets.get(usize::try_from(hash & mask).ok()?)?;
        let tag = |entry: &Entry| entry.tag.load(Ordering::Relaxed);
        if let Some(entry) = set.iter().find(|entry| tag(entry) == hash) {
            return Some(entry);
        }
        let entry = set
            .iter()
            .min_by_key(|entry| entry.full_at.load(Ordering::Relaxed))?;
        entry.full_at.store(0, Ordering::Relaxed);
        entry.tag.store(hash, Ordering::Relaxed);
        Some(entry)
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use proptest::prelude::*;

    use super::*;

    /// Tokens counted one by one.
    struct Counted {
        tokens: u64,
        since: u64,
    }

    impl Counted {
        fn try_take(&mut self, now: u64, interval: u64, burst: u64) -> bool {
            while self.tokens < burst && self.since + interval <= now {
                self.tokens += 1;
                self.since += interval;
            }
            if self.tokens == burst {
                self.since = now;
            }
            let some = self.tokens > 0;
            self.tokens -= u64::from(some);
            some
        }
    }

    proptest! {
        #![proptest_config(crate::cases::cases(256))]

        #[test]
        fn a_bucket_is_a_count_of_tokens(
            rate in 1u32..5_000,
            burst in 1u32..40,
            steps in prop::collection::vec(0u64..3_000, 1..400),
        ) {
            let bucket = Bucket::new();
            let mut counted = Counted { tokens: burst.into(), since: 0 };
            let mut now = 0;
            for step in steps {
                now += step;
                let expected = counted.try_take(now, 1_000_000_u64.div_ceil(u64::from(rate)), burst.into());
                let taken = bucket.try_take(Instant::from_micros(now), Rate::new(rate, burst));
                prop_assert_eq!(taken, expected);
            }
        }

        #[test]
        fn no_more_pass_than_burst_and_rate_allow(
            rate in prop::sample::select(vec![1u32, 2, 3, 7, 100, 1_000, 3_000, 700_000]),
            burst in 1u32..50,
            gap in 1u64..2_000,
        ) {
            // whether or not the rate divides a second.
            let bucket = Bucket::new();
            let mut passed = 0;
            for step in 0..2_000 {
                let now = Instant::from_micros(step * gap);
                passed += u64::from(bucket.try_take(now, Rate::new(rate, burst)));
            }
            let elapsed = 1_999 * gap;
            prop_assert!(passed <= u64::from(burst) + elapsed * u64::from(rate) / 1_000_000);
            prop_assert!(passed >= u64::from(burst).min(2_000));
        }
    }

    #[test]
    fn a_burst_passes_at_once_and_then_the_rate() {
        //
        let bucket = Bucket::new();
        let rate = Rate::new(10, 10);
        let start = Instant::from_secs(100);
        assert_eq!((0..30).filter(|_| bucket.try_take(start, rate)).count(), 10);
        assert!(!bucket.try_take(start + Duration::from_micros(99_999), rate));
        assert!(bucket.try_take(start + Duration::from_millis(100), rate));
        assert!(!bucket.try_take(start + Duration::from_millis(100), rate));
        let later = start + Duration::from_secs(60);
        assert_eq!((0..30).filter(|_| bucket.try_take(later, rate)).count(), 10);
    }

    #[test]
    fn nothing_passes_at_rate_or_burst_zero() {
        for rate in [Rate::new(0, 10), Rate::new(10, 0), Rate::new(0, 0)] {
            assert!(!Bucket::new().try_take(Instant::from_secs(1), rate));
        }
    }

    #[test]
    fn a_clock_that_goes_back_gives_nothing_away() {
        let bucket = Bucket::new();
        let rate = Rate::new(1, 1);
        assert!(bucket.try_take(Instant::from_secs(10), rate));
        assert!(!bucket.try_take(Instant::from_secs(9), rate));
        assert!(bucket.try_take(Instant::from_secs(11), rate));
        assert!(
            bucket.try_take(Instant::MAX, rate),
            "the end of time saturates"
        );
    }

    #[test]
    fn both_buckets_are_charged_or_neither() {
        let sources = SourceBuckets::new(64, [1; 16]);
        let instance = Bucket::new();
        let (source_rate, instance_rate) = (Rate::new(1, 2), Rate::new(1, 3));
        let now = Instant::from_secs(1);
        let take = |source: &[u8]| {
            sources.try_take_both(now, source, source_rate, &instance, instance_rate)
        };
        assert!(take(b"a") && take(b"a"));
        assert!(!take(b"a"), "the source is out of tokens");
        assert!(take(b"b"), "which cost the instance nothing");
        assert!(!take(b"b"), "the instance is out of tokens");
        let refilled = Instant::from_secs(4);
        let count = (0..9)
            .filter(|_| {
                sources.try_take_both(refilled, b"b", source_rate, &instance, instance_rate)
            })
            .count();
        assert_eq!(count, 2, "which cost the source nothing");
    }

    #[test]
    fn a_flood_of_sources_stays_in_its_memory_and_in_the_instance_rate() {
        // R-173, T-24
        let sources = SourceBuckets::new(64, [1; 16]);
        let instance = Bucket::new();
        let now = Instant::from_secs(1);
        let passed = (0u32..100_000)
            .filter(|source| {
                let source = source.to_be_bytes();
                let (each, all) = (Rate::new(10, 10), Rate::new(2_000, 2_000));
                sources.try_take_both(now, &source, each, &instance, all)
            })
            .count();
        assert_eq!(passed, 2_000);
        assert_eq!(sources.sets.len() * WAYS, 64);
    }

    #[test]
    fn a_source_at_its_limit_stays_there_when_others_come() {
        // T-24
        let sources = SourceBuckets::new(WAYS, [1; 16]);
        let instance = Bucket::new();
        let (each, all) = (Rate::new(1, 10), Rate::new(1_000_000, 1_000_000));
        let take = |seconds, source: &[u8]| {
            sources.try_take_both(Instant::from_secs(seconds), source, each, &instance, all)
        };
        assert_eq!((0..20).filter(|_| take(1, b"loud")).count(), 10);
        for round in 0..100u32 {
            // One token each, back after a second.
            assert!(take(2, &round.to_be_bytes()));
        }
        assert!(take(2, b"loud"), "one second later");
        assert!(!take(2, b"loud"));
    }

    #[test]
    fn workers_together_take_no_more_than_the_burst() {
        let bucket = Bucket::new();
        let total = std::sync::atomic::AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let rate = Rate::new(1, 500);
                    let taken = (0..1_000)
                        .filter(|_| bucket.try_take(Instant::ZERO, rate))
                        .count();
                    total.fetch_add(taken, Ordering::Relaxed);
                });
            }
        });
        assert_eq!(total.into_inner(), 500);
    }
}
