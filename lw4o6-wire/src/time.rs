//! Time as data.

use core::ops::{Add, AddAssign};
use core::time::Duration;

/// Microseconds since a moment the caller chose, on a clock that never goes back.
///
/// `std::time::Instant` has no epoch, no constructor and no serialization. This one can be
/// written down, which is what makes a recorded run replayable. The range is 584,000 years.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// The caller's epoch.
    pub const ZERO: Self = Self(0);
    /// The last instant there is; also "never" for a deadline.
    pub const MAX: Self = Self(u64::MAX);

    /// `micros` microseconds after the epoch.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// `millis` milliseconds after the epoch; saturates at [`MAX`](Self::MAX).
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1_000))
    }

    /// `secs` seconds after the epoch; saturates at [`MAX`](Self::MAX).
    #[must_use]
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1_000_000))
    }

    /// Microseconds since the epoch.
    #[must_use]
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// Time since `earlier`, or zero where `earlier` is later.
    #[must_use]
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    /// Time since `earlier`, or `None` where `earlier` is later.
    #[must_use]
    pub fn checked_since(self, earlier: Self) -> Option<Duration> {
        self.0.checked_sub(earlier.0).map(Duration::from_micros)
    }

    /// This instant plus `delay`, or `None` past [`MAX`](Self::MAX). Parts of a microsecond are
    /// dropped.
    #[must_use]
    pub fn checked_add(self, delay: Duration) -> Option<Self> {
        let micros = u64::try_from(delay.as_micros()).ok()?;
        self.0.checked_add(micros).map(Self)
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    /// Saturates at [`Instant::MAX`]: a deadline that far away never comes either way.
    fn add(self, delay: Duration) -> Self {
        self.checked_add(delay).unwrap_or(Self::MAX)
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, delay: Duration) {
        *self = *self + delay;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_agree() {
        assert_eq!(Instant::from_secs(2), Instant::from_millis(2_000));
        assert_eq!(Instant::from_millis(3).as_micros(), 3_000);
    }

    #[test]
    fn adding_and_taking_the_difference_agree() {
        let start = Instant::from_micros(17);
        let delay = Duration::from_micros(1_000_003);
        assert_eq!((start + delay).saturating_since(start), delay);
        assert_eq!((start + delay).checked_since(start), Some(delay));
    }

    #[test]
    fn the_ends_saturate() {
        assert_eq!(Instant::from_secs(u64::MAX), Instant::MAX);
        assert_eq!(Instant::MAX + Duration::MAX, Instant::MAX);
        assert_eq!(Instant::MAX.checked_add(Duration::from_micros(1)), None);
        let later = Instant::from_secs(1);
        assert_eq!(Instant::ZERO.saturating_since(later), Duration::ZERO);
        assert_eq!(Instant::ZERO.checked_since(later), None);
    }
}
