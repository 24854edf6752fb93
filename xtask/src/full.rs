//! The long forms of the random tests, with a record of what they did in docs/FULL.md.
//!
//! One stage after the other; a failure keeps the rows of the others and fails the command at its
//! end. The record is written after every stage, so that a crash costs one of them.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::ci::now;
use crate::shell::{command, output, root, run as run_command};
use crate::{Outcome, seeded_bugs};

mod record;

use record::Row;

/// The document.
const DOCUMENT: &str = "docs/FULL.md";

/// What programs say in front of the numbers that go into it: `name=number`, separated by blanks.
const MARK: &str = "lw4o6-full: ";

/// `LW4O6_SCALE` of the model against the engine: 50 times 800 runs of 250 operations.
const MODEL_SCALE: &str = "50";

/// Changes of the table that a second should have room for.
const AIM: u64 = 100_000;

/// Options of `full`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Only the stages with these names.
    #[arg(value_name = "STAGE")]
    only: Vec<String>,
    /// Lists the stages.
    #[arg(long)]
    list: bool,
}

/// What a stage came to.
struct Done {
    size: String,
    result: String,
    time: Duration,
}

/// A long form.
struct Stage {
    name: &'static str,
    what: &'static str,
    run: fn() -> Result<Done, String>,
}

const STAGES: &[Stage] = &[
    Stage {
        name: "model",
        what: "the engine against the slow model, release build",
        run: model,
    },
    Stage {
        name: "tests-wire",
        what: "tests of lw4o6-wire",
        run: || tests("lw4o6-wire", 200, &[]),
    },
    Stage {
        name: "tests-binding",
        what: "tests of lw4o6-binding",
        run: || tests("lw4o6-binding", 40, &[]),
    },
    Stage {
        name: "tests-aftr",
        what: "tests of lw4o6-aftr",
        run: || tests("lw4o6-aftr", 10, &[]),
    },
    Stage {
        name: "tests-testkit",
        what: "every law over its corpus and random bytes, the model alone",
        run: || tests("testkit", 10, &["--skip", MODEL_TEST]),
    },
    Stage {
        name: "churn",
        what: "the table under changes with a reader that checks every answer (`table_churn`)",
        run: churn,
    },
    Stage {
        name: "loom",
        what: "every interleaving of the table's protocols, within the bounds of the models",
        run: loom,
    },
    Stage {
        name: "seeded-bugs",
        what: "bugs planted in a copy, each built and compared with the model; docs/SEEDED-BUGS.md",
        run: seeded,
    },
];

/// The random comparison.
const MODEL_TEST: &str = "the_engine_does_what_the_model_does";

pub(crate) fn run(options: &Options) -> Outcome {
    if options.list {
        STAGES
            .iter()
            .for_each(|stage| println!("{:14} {}", stage.name, stage.what));
        return Ok(());
    }
    let known = |name: &String| STAGES.iter().any(|stage| stage.name == name);
    if let Some(unknown) = options.only.iter().find(|name| !known(name)) {
        return Err(format!("no stage is named `{unknown}`; --list names them"));
    }
    let (tree, machine) = (tree()?, machine()?);
    let mut failed = Vec::new();
    let wanted = |stage: &&Stage| {
        options.only.is_empty() || options.only.iter().any(|name| name == stage.name)
    };
    for stage in STAGES.iter().filter(wanted) {
        println!("\n== {}", stage.name);
        let start = now();
        let done = (stage.run)().unwrap_or_else(|error| {
            eprintln!("error: stage {}: {error}", stage.name);
            failed.push(stage.name);
            Done {
                size: String::new(),
                result: format!("**failed**: {error}"),
                time: start.elapsed(),
            }
        });
        println!("{}: {}, {}", stage.name, done.size, done.result);
        note(stage, &done, &tree, &machine)?;
    }
    if failed.is_empty() {
        return Ok(());
    }
    Err(format!("failed: {}", failed.join(", ")))
}

/// Writes the row of a stage into the document.
fn note(stage: &Stage, done: &Done, tree: &str, machine: &str) -> Outcome {
    let path = root().join(DOCUMENT);
    let mut rows = record::read(&fs::read_to_string(&path).unwrap_or_default());
    let order: Vec<&str> = STAGES.iter().map(|stage| stage.name).collect();
    let or_dash = |text: &str| match record::cell(text) {
        empty if empty.is_empty() => "-".to_owned(),
        text => text,
    };
    let row = Row {
        stage: stage.name.to_owned(),
        what: record::cell(stage.what),
        size: or_dash(&done.size),
        result: or_dash(&done.result),
        seconds: format!("{:.1}", done.time.as_secs_f64()),
        tree: tree.to_owned(),
        machine: record::cell(machine),
    };
    record::replace(&mut rows, row, &order);
    // A name of its own first, so that a crash leaves the old document or the new one.
    let fresh = path.with_extension("md.new");
    fs::write(&fresh, record::write(&rows))
        .and_then(|()| fs::rename(&fresh, &path))
        .map_err(|error| format!("{}: {error}", path.display()))
}

/// The commit that runs, with a `+` if anything but the records differs from it.
fn tree() -> Result<String, String> {
    let commit = output(&mut command("git rev-parse --short=10 HEAD"))?;
    let mut status = command("git status --porcelain -- .");
    status.args([
        ":!docs/FULL.md",
        ":!docs/SEEDED-BUGS.md",
        ":!testdata/model/bug-*",
    ]);
    let mark = if output(&mut status)?.trim().is_empty() {
        ""
    } else {
        "+"
    };
    Ok(format!("{}{mark}", commit.trim()))
}

/// Processor, cores and compiler.
fn machine() -> Result<String, String> {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown processor", |(_, name)| name);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let rustc = output(&mut command("rustc --version"))?;
    let rustc = rustc.split(" (").next().unwrap_or_default();
    Ok(format!("{}, {cores} cores, {}", model.trim(), rustc.trim()))
}

/// Runs a command, passes on what it prints, and returns that and whether it ended well.
fn watched(command: &mut Command) -> Result<(String, bool), String> {
    let done = command
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("{command:?}: {error}"))?;
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    print!("{text}");
    Ok((text, done.status.success()))
}

/// A number of a line that starts with [`MARK`].
fn number(text: &str, name: &str) -> Option<u64> {
    text.lines()
        .filter_map(|line| line.split_once(MARK))
        .flat_map(|(_, numbers)| numbers.split_whitespace())
        .filter_map(|word| word.split_once('='))
        .find(|(key, _)| *key == name)
        .and_then(|(_, value)| value.parse().ok())
}

/// The same where its absence is a failure.
fn counted(text: &str, name: &str) -> Result<u64, String> {
    number(text, name).ok_or_else(|| format!("the run did not say how many {name}"))
}

/// Tests passed and failed, over all programs of a run.
fn passed(text: &str) -> (u64, u64) {
    let mut sum = (0, 0);
    for line in text.lines().filter(|line| line.contains("test result:")) {
        let before = |what: &str| {
            let words: Vec<&str> = line.split([' ', '.', ';']).collect();
            let at = words.iter().position(|word| *word == what)?;
            words.get(at.checked_sub(1)?)?.parse::<u64>().ok()
        };
        sum.0 += before("passed").unwrap_or(0);
        sum.1 += before("failed").unwrap_or(0);
    }
    sum
}

/// 1234567 as 1,234,567.
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn model() -> Result<Done, String> {
    let line = "cargo test --release -p testkit --test model_vs_engine";
    run_command(command(line).arg("--no-run"))?;
    let mut test = command(line);
    test.args(["--", "--exact", MODEL_TEST, "--nocapture"]);
    let start = now();
    let (text, well) = watched(test.env("LW4O6_SCALE", MODEL_SCALE))?;
    if !well {
        return Err("they part; the output has the run".to_owned());
    }
    let operations = thousands(counted(&text, "operations")?);
    let packets = thousands(counted(&text, "packets")?);
    let changes = thousands(counted(&text, "changes")?);
    let seeds = thousands(counted(&text, "seeds")?);
    let batches = thousands(counted(&text, "batches")?);
    let outcomes = counted(&text, "outcomes")?;
    Ok(Done {
        size: format!(
            "{operations} operations from {seeds} seeds: {packets} packets, {batches} batches of \
             several among them; {changes} changes of table or knobs; {outcomes} kinds of outcome"
        ),
        result: "no difference".to_owned(),
        time: start.elapsed(),
    })
}

/// The tests of one package, those at random `scale` times as long. Built as for the gate, with
/// overflow checks and debug assertions.
fn tests(package: &str, scale: u32, more: &[&str]) -> Result<Done, String> {
    let line = format!("cargo test -p {package} --all-features --lib --tests --no-fail-fast");
    run_command(command(&line).arg("--no-run"))?;
    let mut test = command(&line);
    test.arg("--").args(more);
    let start = now();
    let (text, well) = watched(test.env("LW4O6_SCALE", scale.to_string()))?;
    let time = start.elapsed();
    let (passed, failed) = passed(&text);
    if !well {
        let all = passed + failed;
        return Err(format!("{failed} of {all} tests"));
    }
    Ok(Done {
        size: format!("{passed} tests, random ones {scale} times as long as in the gate"),
        result: format!("{passed} passed"),
        time,
    })
}

fn churn() -> Result<Done, String> {
    let line = "cargo build --release -p lw4o6-binding --all-features --example table_churn";
    run_command(&mut command(line))?;
    let program = root().join("target/release/examples/table_churn");
    let start = now();
    let (text, well) = watched(Command::new(program).args(["60", "1048576", "1"]))?;
    let time = start.elapsed();
    let changes = counted(&text, "changes")?;
    let (lookups, seconds) = (
        counted(&text, "lookups")?,
        counted(&text, "seconds")?.max(1),
    );
    let faults = ["torn", "missed", "busy"].map(|name| counted(&text, name).map(|n| (name, n)));
    let mut said = String::new();
    for fault in faults {
        let (name, n) = fault?;
        said = format!("{said}, {n} {name}");
    }
    let rate = changes / seconds;
    let verdict = if rate < AIM { "below" } else { "above" };
    let rate = thousands(rate);
    let result = format!(
        "{rate} changes/s, {verdict} the aim of {}{said}",
        thousands(AIM)
    );
    if !well {
        return Err(result);
    }
    let (changes, lookups) = (thousands(changes), thousands(lookups));
    Ok(Done {
        size: format!("1,048,576 softwires, {changes} changes, {lookups} lookups"),
        result,
        time,
    })
}

fn loom() -> Result<Done, String> {
    let line = "cargo test -p lw4o6-binding --release --lib loom";
    let prepare = |mut test: Command| {
        test.env("RUSTFLAGS", "--cfg loom");
        test.env("CARGO_TARGET_DIR", root().join("target/loom"));
        test
    };
    run_command(prepare(command(line)).arg("--no-run"))?;
    let start = now();
    let (text, well) = watched(&mut prepare(command(line)))?;
    let time = start.elapsed();
    let (passed, failed) = passed(&text);
    if !well || passed == 0 {
        let all = passed + failed;
        return Err(format!("{failed} of {all} models"));
    }
    Ok(Done {
        size: format!("{passed} models"),
        result: format!("{passed} passed"),
        time,
    })
}

fn seeded() -> Result<Done, String> {
    let start = now();
    let seeded_bugs::Summary { found, bugs } = seeded_bugs::plant()?;
    if found < bugs {
        return Err(format!("{found} of {bugs} found"));
    }
    Ok(Done {
        size: format!("{bugs} bugs"),
        result: format!("{found} of {bugs} found; time with building"),
        time: start.elapsed(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_behind_the_mark_and_nowhere_else() {
        let text = "operations=1\ntest x ... lw4o6-full: operations=20 packets=3\nok\n";
        assert_eq!(number(text, "operations"), Some(20));
        assert_eq!(number(text, "packets"), Some(3));
        assert_eq!(number(text, "seeds"), None);
        assert!(counted(text, "seeds").is_err());
    }

    #[test]
    fn tests_are_counted_over_all_programs() {
        let text = "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 3 filtered out\n\
                    test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured\n";
        assert_eq!(passed(text), (14, 1));
        assert_eq!(passed("nothing ran"), (0, 0));
    }

    #[test]
    fn digits_stand_in_threes() {
        let texts = [0, 999, 1_000, 10_000_000].map(thousands);
        assert_eq!(texts, ["0", "999", "1,000", "10,000,000"]);
    }

    #[test]
    fn stages_have_names_of_their_own_and_fit_cells() {
        for (at, stage) in STAGES.iter().enumerate() {
            assert!(STAGES.iter().take(at).all(|other| other.name != stage.name));
            assert_eq!(record::cell(stage.what), stage.what);
        }
    }
}
