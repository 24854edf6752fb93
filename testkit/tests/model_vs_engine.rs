//! The engine against the model: the same operations, the same verdicts, bytes and drop reasons.
//!
//! A failure prints the shortest run that still fails, as hex lines. Put them into a file of
//! `testdata/model/` and the run is repeated by every `cargo test`; `LW4O6_SEED` repeats a seed.

use std::fs;
use std::path::Path;

use testkit::compare::engine::Engine;
use testkit::compare::ops::Ops;
use testkit::compare::run::{BATCHES, CHANGES, OPERATIONS, Seen, play, report};

/// Operations in one run: enough for fragments and rates to meet, few enough to shrink quickly.
const LENGTH: usize = 250;

fn scale() -> u64 {
    std::env::var("LW4O6_SCALE")
        .ok()
        .and_then(|s| s.parse().ok())
        .unwrap_or(1)
}

#[test]
fn the_engine_does_what_the_model_does() {
    let (first, runs) = match std::env::var("LW4O6_SEED")
        .ok()
        .and_then(|s| s.parse().ok())
    {
        Some(seed) => (seed, 1),
        None => (0, 800 * scale()),
    };
    let mut seen = Seen::new();
    for seed in first..first + runs {
        let ops = Ops::random(seed, LENGTH);
        if let Err(mismatch) = play(&ops, Engine::new, &mut seen) {
            let operations = (seed - first) * LENGTH as u64 + mismatch.operation as u64 + 1;
            let text = report(&ops, Engine::new).unwrap_or(mismatch.text);
            panic!("parted after {operations} operations, in seed {seed}\n{text}");
        }
    }
    let count = |name: &str| seen.get(name).copied().unwrap_or(0);
    let outcomes = seen.iter().filter(|(name, _)| !name.starts_with('*'));
    let packets: u64 = outcomes.clone().map(|(_, count)| count).sum();
    if std::env::var_os("LW4O6_SEEN").is_some() {
        for (name, count) in &seen {
            println!("{count:8} {name}");
        }
    }
    assert_eq!(count(OPERATIONS), runs * LENGTH as u64);
    // `cargo xtask full` reads this line.
    println!(
        "lw4o6-full: operations={} packets={packets} batches={} changes={} seeds={runs} outcomes={}",
        count(OPERATIONS),
        count(BATCHES),
        count(CHANGES),
        outcomes.count(),
    );
}

#[test]
fn runs_that_once_failed_do_not_fail_again() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/model");
    let mut paths: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    assert!(!paths.is_empty());
    for path in paths {
        let ops = Ops::from_text(&fs::read_to_string(&path).unwrap());
        if let Some(text) = report(&ops, Engine::new) {
            panic!("{}\n{text}", path.display());
        }
    }
}
