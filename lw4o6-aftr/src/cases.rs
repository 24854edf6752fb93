//! How often random laws are tried.

use proptest::test_runner::Config;

/// `base` cases, times the environment variable `LW4O6_SCALE`. Findings become tests of their own,
/// so no seeds are kept.
pub(crate) fn cases(base: u32) -> Config {
    let scale = std::env::var("LW4O6_SCALE").ok();
    let scale = scale.and_then(|text| text.parse().ok()).unwrap_or(1u32);
    Config {
        failure_persistence: None,
        ..Config::with_cases(base * scale)
    }
}
