//! Instructions per packet, counted by callgrind: the only measure that is the same every time.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::Outcome;
use crate::shell::{command, output, root, run as run_command};

/// Options of `budget`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Writes what was counted into perf/budget.toml.
    #[arg(long)]
    pub(crate) bless: bool,
}

/// perf/budget.toml.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Budget {
    /// What compiled the measured code.
    rustc: String,
    /// What counted.
    valgrind: String,
    /// Instructions per packet, by case.
    instructions: BTreeMap<String, f64>,
}

/// A count may exceed its budget by this part.
const TOLERANCE: f64 = 0.02;

/// Packets of the two runs whose difference is divided: set-up cancels out.
const PACKETS: [u32; 2] = [1_000, 21_000];

pub(crate) fn run(options: &Options) -> Outcome {
    run_command(&mut command(
        "cargo build -q --release -p lw4o6-aftr --example budget",
    ))?;
    let program = root().join("target/release/examples/budget");
    let cases = output(std::process::Command::new(&program).arg("--list"))?;
    let mut counted = Budget {
        rustc: output(&mut command("rustc --version"))?.trim().to_owned(),
        valgrind: output(&mut command("valgrind --version"))?
            .trim()
            .to_owned(),
        instructions: BTreeMap::new(),
    };
    for case in cases.lines() {
        let [few, many] = PACKETS;
        let (low, high) = (count(&program, case, few)?, count(&program, case, many)?);
        let each = (high - low) / f64::from(many - few);
        counted
            .instructions
            .insert(case.to_owned(), (each * 10.0).round() / 10.0);
    }
    let path = root().join("perf/budget.toml");
    if options.bless {
        let text = toml::to_string(&counted).map_err(|error| error.to_string())?;
        return std::fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()));
    }
    let text = std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    compare(
        &toml::from_str(&text).map_err(|error| error.to_string())?,
        &counted,
    )
}

fn compare(budget: &Budget, counted: &Budget) -> Outcome {
    if (&budget.rustc, &budget.valgrind) != (&counted.rustc, &counted.valgrind) {
        return Err(format!(
            "perf/budget.toml was counted with {} and {}, here are {} and {}: count again with --bless",
            budget.rustc, budget.valgrind, counted.rustc, counted.valgrind
        ));
    }
    let mut over = String::new();
    println!("{:>8} {:>8}  instructions per packet", "budget", "counted");
    for (case, count) in &counted.instructions {
        let Some(limit) = budget.instructions.get(case) else {
            let _ = writeln!(over, "{case} has no budget");
            continue;
        };
        println!("{limit:>8.1} {count:>8.1}  {case}");
        if *count > limit * (1.0 + TOLERANCE) {
            let _ = writeln!(over, "{case}: {count:.1} instructions, budget {limit:.1}");
        }
    }
    for case in budget
        .instructions
        .keys()
        .filter(|case| !counted.instructions.contains_key(*case))
    {
        let _ = writeln!(over, "{case} has a budget and is not counted");
    }
    if over.is_empty() { Ok(()) } else { Err(over) }
}

/// Instructions of the whole program for `packets` packets of `case`.
fn count(program: &std::path::Path, case: &str, packets: u32) -> Result<f64, String> {
    let out = root().join("target/callgrind.out");
    let mut valgrind = command("valgrind --tool=callgrind -q");
    valgrind
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(program);
    run_command(valgrind.arg(case).arg(packets.to_string()))?;
    let text = std::fs::read_to_string(&out).map_err(|e| format!("{}: {e}", out.display()))?;
    let total = text.lines().find_map(|line| {
        line.strip_prefix("summary: ")
            .or(line.strip_prefix("totals: "))
    });
    let total = total.and_then(|total| total.trim().parse().ok());
    total.ok_or_else(|| format!("{}: no total", out.display()))
}
