//! Requirement ids: where each is met, and which test proves it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use serde::Deserialize;

use crate::Outcome;
use crate::shell::{files, root};

/// Options of `spec`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Fails where docs/CONFORMANCE.md would change, instead of writing it.
    #[arg(long)]
    pub(crate) check: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ledger {
    requirement: Vec<Requirement>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Requirement {
    id: String,
    level: String,
    who: String,
    source: String,
    text: String,
    later: Option<String>,
    reason: Option<String>,
}

/// Where ids stand, by id.
#[derive(Default)]
struct Places {
    code: BTreeMap<String, BTreeSet<String>>,
    tests: BTreeMap<String, BTreeSet<String>>,
    /// Everything in test code, for the search of drop reasons.
    test_text: String,
}

const CODE: &[&str] = &["lw4o6-wire", "lw4o6-binding", "lw4o6-aftr", "examples"];

pub(crate) fn run(options: &Options) -> Outcome {
    let ledger = root().join("docs/requirements.toml");
    let text =
        std::fs::read_to_string(&ledger).map_err(|e| format!("{}: {e}", ledger.display()))?;
    let ledger: Ledger = toml::from_str(&text).map_err(|error| error.to_string())?;
    let places = Places::scan();
    let mut holes = unknown_ids(&ledger, &places);
    holes.extend(ledger.requirement.iter().filter_map(|r| places.hole(r)));
    holes.extend(untested_reasons(&places)?);
    let report = report(&ledger, &places);
    let path = root().join("docs/CONFORMANCE.md");
    if !options.check {
        std::fs::write(&path, &report).map_err(|error| error.to_string())?;
    } else if std::fs::read_to_string(&path).unwrap_or_default() != report {
        holes.push("docs/CONFORMANCE.md is not up to date: run `cargo xtask spec`".to_owned());
    }
    if holes.is_empty() {
        println!("{} requirements, no hole", ledger.requirement.len());
        return Ok(());
    }
    holes.iter().for_each(|hole| println!("{hole}"));
    Err(format!("{} holes", holes.len()))
}

impl Places {
    fn scan() -> Self {
        let mut places = Self::default();
        for folder in CODE {
            for file in files(&root().join(folder), &["rs"]) {
                places.read(&file);
            }
        }
        for file in files(&root().join("testkit"), &["rs"]) {
            places.read(&file);
        }
        for file in files(&root().join("testdata/scenarios"), &["scn"]) {
            places.read(&file);
        }
        places
    }

    fn read(&mut self, file: &Path) {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let name = file
            .strip_prefix(root())
            .unwrap_or(file)
            .display()
            .to_string();
        let all_tests = name.starts_with("testkit")
            || name.starts_with("testdata")
            || name.contains("/tests/")
            || name.ends_with("/tests.rs");
        let split = if all_tests {
            0
        } else {
            text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len())
        };
        let (code, tests) = text.split_at(split);
        note(&mut self.code, code, &name);
        note(&mut self.tests, tests, &name);
        self.test_text.push_str(tests);
    }

    fn hole(&self, requirement: &Requirement) -> Option<String> {
        if requirement.later.is_some() || requirement.reason.is_some() {
            return None;
        }
        let id = &requirement.id;
        let missing = match (self.code.contains_key(id), self.tests.contains_key(id)) {
            (true, true) => return None,
            (false, true) => "no code names it",
            (true, false) => "no test names it",
            (false, false) => "neither code nor a test names it",
        };
        Some(format!("{id}: {missing}: {}", requirement.text))
    }
}

/// Notes every id in `text` under `name`.
fn note(places: &mut BTreeMap<String, BTreeSet<String>>, text: &str, name: &str) {
    for (at, _) in text.match_indices("R-") {
        let Some(id) = text.get(at..at + 5) else {
            continue;
        };
        let digits = id.bytes().skip(2).all(|byte| byte.is_ascii_digit());
        let ends = !text.as_bytes().get(at + 5).is_some_and(u8::is_ascii_digit);
        let starts = at == 0
            || !text
                .as_bytes()
                .get(at - 1)
                .is_some_and(u8::is_ascii_alphanumeric);
        if digits && ends && starts {
            places
                .entry(id.to_owned())
                .or_default()
                .insert(name.to_owned());
        }
    }
}

fn unknown_ids(ledger: &Ledger, places: &Places) -> Vec<String> {
    let known: BTreeSet<_> = ledger.requirement.iter().map(|r| &r.id).collect();
    let used = places.code.iter().chain(&places.tests);
    let unknown = used.filter(|(id, _)| !known.contains(id));
    unknown
        .map(|(id, names)| format!("{id} is in no ledger, but in {names:?}"))
        .collect()
}

/// Every drop reason has to be reached by a test.
fn untested_reasons(places: &Places) -> Result<Vec<String>, String> {
    let path = root().join("lw4o6-aftr/src/drop.rs");
    let text = std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    let table = text.split("drop_reasons! {").last().unwrap_or_default();
    let names = table
        .lines()
        .filter_map(|line| line.trim().split_once(" = \""))
        .map(|(name, _)| name);
    let reached = |name: &&str| !places.test_text.contains(&format!("DropReason::{name}"));
    Ok(names
        .filter(reached)
        .map(|name| format!("DropReason::{name} is in no test"))
        .collect())
}

fn report(ledger: &Ledger, places: &Places) -> String {
    let mut out = String::from(
        "# Conformance\n\nWritten by `cargo xtask spec` from `docs/requirements.toml` and the ids in code and tests.\n\
         Who: A lwAFTR, B lwB4, AB both, T binding table, W wire formats, N NAPT, H high availability, M management, L logging.\n\n",
    );
    let count = |f: fn(&Requirement) -> bool| ledger.requirement.iter().filter(|r| f(r)).count();
    let later = count(|r| r.later.is_some());
    let excused = count(|r| r.later.is_none() && r.reason.is_some());
    let total = ledger.requirement.len();
    let _ = writeln!(
        out,
        "{total} requirements: {} met, {later} later, {excused} with a reason.\n",
        total - later - excused
    );
    out.push_str("| id | level | who | requirement | source | code | tests |\n|---|---|---|---|---|---|---|\n");
    let names = |places: &BTreeMap<String, BTreeSet<String>>, id: &str| {
        let names: Vec<_> = places
            .get(id)
            .into_iter()
            .flatten()
            .map(|n| format!("`{n}`"))
            .collect();
        names.join(" ")
    };
    for Requirement {
        id,
        level,
        who,
        source,
        text,
        later,
        reason,
    } in &ledger.requirement
    {
        let (code, tests) = match (later, reason) {
            (Some(part), _) => (format!("later: {part}"), names(&places.tests, id)),
            (None, Some(reason)) => (reason.clone(), names(&places.tests, id)),
            (None, None) => (names(&places.code, id), names(&places.tests, id)),
        };
        let _ = writeln!(
            out,
            "| {id} | {level} | {who} | {text} | {source} | {code} | {tests} |"
        );
    }
    out
}
