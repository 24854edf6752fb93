//! The one place where the programs look at the clock while they run.

use std::time::Duration;

use lw4o6_wire::Instant;

/// Time since a moment.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(std::time::Instant);

impl Stopwatch {
    /// Starts now.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "a program knows the time")]
    pub fn start() -> Self {
        Self(std::time::Instant::now())
    }

    /// How long it has been running.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }

    /// The same as a point in time for the engine, whose clock starts with the stopwatch.
    #[must_use]
    pub fn now(&self) -> Instant {
        Instant::from_micros(u64::try_from(self.elapsed().as_micros()).unwrap_or(u64::MAX))
    }
}

/// Waits.
#[expect(clippy::disallowed_methods, reason = "a program may wait")]
pub fn wait(time: Duration) {
    std::thread::sleep(time);
}
