//! Fuzz targets: running them, and the log that proves they were run.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Stdio;

use crate::Outcome;
use crate::shell::{command, files, has, root, run as run_command};

/// Options of `fuzz`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The targets to run.
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,
    /// Every target.
    #[arg(long, conflicts_with = "targets")]
    all: bool,
    /// Minutes for each target.
    #[arg(long, default_value_t = 5)]
    minutes: u32,
}

/// Header of the log.
const COLUMNS: &str = "target\thash\texecutions\tcoverage\tminutes\n";

/// Runs targets, one after the other, and appends a row of fuzz/LOG.tsv for each.
pub(crate) fn run(options: &Options) -> Outcome {
    let known = targets();
    let chosen = if options.all {
        known.clone()
    } else {
        options.targets.clone()
    };
    if chosen.is_empty() {
        return Err(format!(
            "name a target or say --all; there are {}",
            known.join(", ")
        ));
    }
    if let Some(unknown) = chosen.iter().find(|target| !known.contains(target)) {
        return Err(format!(
            "no target is named `{unknown}`; there are {}",
            known.join(", ")
        ));
    }
    if !has("cargo-fuzz") {
        run_command(&mut command("cargo install --locked cargo-fuzz"))?;
    }
    for target in &chosen {
        let row = fuzz(target, options.minutes)?;
        print!("{row}");
        append(&row)?;
    }
    Ok(())
}

/// Fails where a target's code has changed since it was last run.
pub(crate) fn check_log() -> Outcome {
    let log = std::fs::read_to_string(log_path()).unwrap_or_default();
    let logged: BTreeSet<(&str, &str)> = log
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .filter_map(|(target, rest)| Some((target, rest.split_once('\t')?.0)))
        .collect();
    let mut stale = Vec::new();
    for target in targets() {
        let hash = hash(&target);
        if !logged.contains(&(target.as_str(), hash.as_str())) {
            stale.push(target);
        }
    }
    if stale.is_empty() {
        return Ok(());
    }
    let stale = stale.join(" ");
    Err(format!(
        "fuzz/LOG.tsv has no run of the present code of: {stale}; run `cargo xtask fuzz {stale}`"
    ))
}

fn fuzz(target: &str, minutes: u32) -> Result<String, String> {
    let seconds = minutes * 60;
    let corpus = format!("fuzz/corpus/{target}");
    let work = root().join(format!("target/fuzz-corpus/{target}"));
    std::fs::create_dir_all(&work).map_err(|error| format!("{}: {error}", work.display()))?;
    let line = format!("cargo fuzz run --sanitizer none {target}");
    let mut run = command(&line);
    run.arg(work).arg(root().join(corpus)).arg("--");
    run.arg(format!("-max_total_time={seconds}"))
        .arg("-print_final_stats=1")
        .arg("-max_len=16384");
    let ended = run
        .stdout(Stdio::null())
        .output()
        .map_err(|error| error.to_string())?;
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    if !ended.status.success() {
        return Err(format!("{target} found something:\n{said}"));
    }
    let executions = said
        .lines()
        .find_map(|line| line.strip_prefix("stat::number_of_executed_units:"));
    let executions = executions.map_or("?", str::trim);
    let coverage = said
        .rsplit("cov: ")
        .next()
        .and_then(|rest| rest.split_whitespace().next());
    let coverage = coverage.unwrap_or("?");
    Ok(format!(
        "{target}\t{}\t{executions}\t{coverage}\t{minutes}\n",
        hash(target)
    ))
}

/// The targets, by the files in fuzz/fuzz_targets.
fn targets() -> Vec<String> {
    let stem = |path: PathBuf| Some(path.file_stem()?.to_str()?.to_owned());
    files(&root().join("fuzz/fuzz_targets"), &["rs"])
        .into_iter()
        .filter_map(stem)
        .collect()
}

/// Hash of a target, of its law and of the modules that both name in a `// fuzzes: ` line.
fn hash(target: &str) -> String {
    let main = root().join(format!("fuzz/fuzz_targets/{target}.rs"));
    let text = std::fs::read_to_string(main).unwrap_or_default();
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    let named = text
        .lines()
        .filter_map(|line| line.split_once("fuzzes: "))
        .flat_map(|(_, list)| list.split_whitespace());
    for path in named {
        let path = root().join(path);
        let inside = if path.is_dir() {
            files(&path, &["rs"])
        } else {
            vec![path]
        };
        for file in inside {
            std::fs::read(file).unwrap_or_default().hash(&mut hasher);
        }
    }
    format!("{:016x}", hasher.finish())
}

fn log_path() -> PathBuf {
    root().join("fuzz/LOG.tsv")
}

fn append(row: &str) -> Outcome {
    let path = log_path();
    let fresh = !path.exists();
    let file = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path);
    let mut file = file.map_err(|error| format!("{}: {error}", path.display()))?;
    let text = if fresh {
        format!("{COLUMNS}{row}")
    } else {
        row.to_owned()
    };
    file.write_all(text.as_bytes())
        .map_err(|error| error.to_string())
}
