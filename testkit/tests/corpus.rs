//! Runs every law over its committed corpus, over edits of it, and over random bytes.

use std::fs;
use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use testkit::laws::{ALL, Law};

fn corpus(name: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
    let entries = fs::read_dir(folder.join(name)).into_iter().flatten();
    let mut seeds: Vec<_> = entries
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            Some((path.display().to_string(), fs::read(&path).ok()?))
        })
        .collect();
    seeds.sort();
    seeds
}

fn cases(base: u32) -> ProptestConfig {
    let scale = std::env::var("LW4O6_SCALE").ok();
    let scale: u32 = scale.and_then(|s| s.parse().ok()).unwrap_or(1);
    ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(base * scale)
    }
}

#[test]
fn every_corpus_file_keeps_its_law() {
    for (name, law) in ALL {
        let seeds = corpus(name);
        assert!(!seeds.is_empty(), "no seeds for {name}");
        for (path, seed) in seeds {
            println!("{path}"); // shown when the law is broken
            law(&seed);
        }
    }
}

#[test]
fn every_corpus_folder_and_target_has_a_law() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
    for folder in ["corpus", "fuzz_targets"] {
        for entry in fs::read_dir(fuzz.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let stem = path.file_stem().unwrap();
            assert!(ALL.iter().any(|(name, _)| stem == *name), "{path:?}");
        }
    }
}

/// Replaces, cuts out or inserts some bytes.
fn edited(mut seed: Vec<u8>, edits: &[(u8, Index, u8)]) -> Vec<u8> {
    for (kind, at, byte) in edits {
        let at = at.index(seed.len() + 1);
        match kind % 4 {
            0 => seed.insert(at, *byte),
            1 => seed.truncate(at),
            _ => {
                let end = (at + 1).min(seed.len());
                seed.splice(at..end, [*byte]);
            }
        }
    }
    seed
}

fn law() -> impl Strategy<Value = (&'static str, Law)> {
    select(&ALL[..])
}

proptest! {
    #![proptest_config(cases(20_000))]

    #[test]
    fn random_bytes_keep_every_law((name, law) in law(), data in vec(any::<u8>(), 0..120)) {
        println!("{name}");
        law(&data);
    }

    #[test]
    fn edited_seeds_keep_every_law(
        (name, law) in law(),
        seed in any::<Index>(),
        edits in vec((any::<u8>(), any::<Index>(), any::<u8>()), 0..5),
    ) {
        let seeds = corpus(name);
        let (path, seed) = &seeds[seed.index(seeds.len())];
        println!("{path}");
        law(&edited(seed.clone(), &edits));
    }
}
