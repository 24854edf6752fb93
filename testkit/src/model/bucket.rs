//! Token buckets, as the generic cell rate algorithm in whole microseconds.

/// One bucket. Full at the start.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bucket {
    /// When the bucket would be full again.
    full_at: u64,
}

impl Bucket {
    pub(super) fn has(&self, now: u64, rate: u64, burst: u64) -> bool {
        if rate == 0 || burst == 0 {
            return false;
        }
        let period = 1_000_000_u64.div_ceil(rate);
        // With n tokens out, the bucket is full n periods from now.
        self.full_at.max(now) + period <= now + burst * period
    }

    pub(super) fn take(&mut self, now: u64, rate: u64) {
        self.full_at = self.full_at.max(now) + 1_000_000_u64.div_ceil(rate);
    }
}
