//! The end-to-end cases of Snabb's lwAFTR, through `migrate` and `replay`, frame by frame.
//!
//! The captures stay where they are, in `$LW4O6_SHARED/vectors/snabb` (default `../shared`). What may
//! differ is listed per case and field in `snabb/differences.toml`, with the section of the RFC that says
//! so; a difference that is not listed fails, and so does one that is listed and does not occur.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a panic is a failed test"
)]

mod common;
mod snabb;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use common::{captured, temporary};
use serde::Deserialize;
use snabb::fields::differing;
use snabb::shared;

#[derive(Deserialize)]
struct Differences {
    difference: Vec<Difference>,
}

/// An allowed difference.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Difference {
    /// Name of the case, or `*` for every case.
    case: String,
    field: String,
    rfc: String,
}

/// A line of `cases.tsv`.
#[derive(Clone)]
struct Case {
    name: String,
    config: String,
    v4_in: Option<PathBuf>,
    v6_in: Option<PathBuf>,
    v4_out: Option<PathBuf>,
    v6_out: Option<PathBuf>,
}

fn cases(folder: &Path) -> Vec<Case> {
    let text = std::fs::read_to_string(folder.join("cases.tsv")).unwrap();
    let file = |column: &str| (column != "-").then(|| folder.join(column));
    let mut cases = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let columns: Vec<_> = line.split('\t').collect();
        let [name, config, v4_in, v6_in, v4_out, v6_out] = columns[..] else {
            panic!("{line}")
        };
        cases.push(Case {
            name: name.to_owned(),
            config: config.to_owned(),
            v4_in: file(v4_in),
            v6_in: file(v6_in),
            v4_out: file(v4_out),
            v6_out: file(v6_out),
        });
    }
    cases
}

fn lwaftr(arguments: &[&std::ffi::OsStr]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_lwaftr"))
        .args(arguments)
        .output()
        .unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Migrates the case's configuration; packet filters have to be refused first.
fn migrate(folder: &Path, case: &Case, to: &Path) {
    let from = folder.join(&case.config);
    let mut arguments = vec![
        "migrate".as_ref(),
        from.as_os_str(),
        "-o".as_ref(),
        to.as_os_str(),
    ];
    if case.config.contains("filters") {
        let refused = lwaftr(&arguments);
        assert_eq!(
            refused.status.code(),
            Some(2),
            "{}: {}",
            case.name,
            text(&refused)
        );
        assert!(
            text(&refused).contains("packet filters are not supported"),
            "{}",
            text(&refused)
        );
        arguments.push("--drop-unsupported".as_ref());
    }
    let done = lwaftr(&arguments);
    assert!(done.status.success(), "{}: {}", case.name, text(&done));
}

fn replay(case: &Case, config: &Path, folder: &Path) -> [PathBuf; 2] {
    let outputs = [folder.join("v4.pcap"), folder.join("v6.pcap")];
    let [v4, v6] = &outputs;
    let mut arguments = vec!["replay".as_ref(), config.as_os_str()];
    arguments.extend([
        "--v4-out".as_ref(),
        v4.as_os_str(),
        "--v6-out".as_ref(),
        v6.as_os_str(),
    ]);
    if let Some(path) = &case.v4_in {
        arguments.extend(["--v4-in".as_ref(), path.as_os_str()]);
    }
    if let Some(path) = &case.v6_in {
        arguments.extend(["--v6-in".as_ref(), path.as_os_str()]);
    }
    let done = lwaftr(&arguments);
    assert!(done.status.success(), "{}: {}", case.name, text(&done));
    outputs
}

/// Fields in which the case comes out otherwise than in Snabb.
fn differences(folder: &Path, case: &Case) -> BTreeSet<String> {
    let work = temporary("snabb");
    let config = work.path().join("lwaftr.toml");
    migrate(folder, case, &config);
    let [v4, v6] = replay(case, &config, work.path());
    let mut found = BTreeSet::new();
    for (ours, theirs, side) in [(v4, &case.v4_out, "v4"), (v6, &case.v6_out, "v6")] {
        let ours = captured(&ours);
        let theirs = theirs.as_deref().map_or_else(Vec::new, captured);
        if ours.len() != theirs.len() {
            found.insert(format!(
                "{side} frames: {} instead of {}",
                ours.len(),
                theirs.len()
            ));
        }
        for (ours, theirs) in ours.iter().zip(&theirs) {
            found.extend(differing(ours, theirs));
        }
    }
    found
}

#[test]
fn every_case_comes_out_as_in_snabb_but_for_listed_differences() {
    let Some(folder) = shared("vectors/snabb") else {
        return;
    };
    let listed: Differences = toml::from_str(include_str!("snabb/differences.toml")).unwrap();
    let cases = cases(&folder);
    assert_eq!(cases.len(), 42);
    let mut wrong = Vec::new();
    let mut used = BTreeSet::new();
    for case in &cases {
        for field in differences(&folder, case) {
            let allowed = listed.difference.iter().position(|listed| {
                (listed.case == "*" || listed.case == case.name) && listed.field == field
            });
            match allowed {
                Some(index) => drop(used.insert(index)),
                None => wrong.push(format!("{}: {field}", case.name)),
            }
        }
    }
    for (index, listed) in listed.difference.iter().enumerate() {
        assert!(listed.rfc.starts_with("RFC "), "{}: no RFC", listed.field);
        if !used.contains(&index) {
            wrong.push(format!(
                "{}: {} is listed and does not occur",
                listed.case, listed.field
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_migrated_table_passes_yanglint() {
    let Some(folder) = shared("vectors/snabb") else {
        return;
    };
    let configs: BTreeSet<_> = cases(&folder).into_iter().map(|case| case.config).collect();
    let work = temporary("snabb-yang");
    for config in configs {
        let to = work.path().join("lwaftr.toml");
        let from = folder.join(&config);
        let done = lwaftr(&[
            "migrate".as_ref(),
            from.as_os_str(),
            "-o".as_ref(),
            to.as_os_str(),
            "--drop-unsupported".as_ref(),
        ]);
        assert!(done.status.success(), "{config}: {}", text(&done));
        if !snabb::yanglint(&work.path().join("lwaftr.json")) {
            return;
        }
    }
}
