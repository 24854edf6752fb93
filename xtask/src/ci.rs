//! The gate, cheapest first; it stops at the first red stage.

use std::time::{Duration, Instant};

use crate::shell::command;
use crate::{Outcome, budget, fuzz, packages, probe, shell, spec};

/// Options of `ci`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Only the stages with these names.
    #[arg(value_name = "STAGE")]
    only: Vec<String>,
    /// Lists the stages.
    #[arg(long)]
    list: bool,
}

/// A named step.
struct Stage {
    name: &'static str,
    run: fn() -> Outcome,
}

const STAGES: &[Stage] = &[
    Stage {
        name: "packages",
        run: packages::install,
    },
    Stage {
        name: "fmt",
        run: || cargo("fmt --all --check"),
    },
    Stage {
        name: "spec",
        run: || spec::run(&spec::Options { check: true }),
    },
    Stage {
        name: "fuzz-log",
        run: fuzz::check_log,
    },
    Stage {
        name: "clippy",
        run: clippy,
    },
    Stage {
        name: "test",
        run: || cargo("test --workspace --all-features"),
    },
    Stage {
        name: "features",
        run: features,
    },
    Stage {
        name: "docs",
        run: docs,
    },
    Stage {
        name: "probe",
        run: probe::run,
    },
    Stage {
        name: "loom",
        run: loom,
    },
    Stage {
        name: "lab",
        run: lab,
    },
    Stage {
        name: "budget",
        run: || budget::run(&budget::Options { bless: false }),
    },
    Stage {
        name: "package",
        run: || cargo("publish --workspace --dry-run --allow-dirty --locked"),
    },
];

/// Runs the gate and prints the time of each stage.
fn run_stages(stages: &[&Stage]) -> Outcome {
    let mut times: Vec<(&str, Duration)> = Vec::new();
    for stage in stages {
        println!("\n== {}", stage.name);
        let start = now();
        let outcome = (stage.run)();
        times.push((stage.name, start.elapsed()));
        outcome.map_err(|error| format!("stage {}: {error}", stage.name))?;
    }
    println!("\n{:>9}  stage", "seconds");
    for (name, time) in &times {
        println!("{:>9.1}  {name}", time.as_secs_f64());
    }
    let total: Duration = times.iter().map(|(_, time)| *time).sum();
    println!("{:>9.1}  all, green", total.as_secs_f64());
    Ok(())
}

pub(crate) fn run(options: &Options) -> Outcome {
    if options.list {
        STAGES.iter().for_each(|stage| println!("{}", stage.name));
        return Ok(());
    }
    let known = |name: &String| STAGES.iter().any(|stage| stage.name == name);
    if let Some(unknown) = options.only.iter().find(|name| !known(name)) {
        return Err(format!("no stage is named `{unknown}`; --list names them"));
    }
    let wanted = |stage: &&Stage| {
        options.only.is_empty() || options.only.iter().any(|name| name == stage.name)
    };
    run_stages(&STAGES.iter().filter(wanted).collect::<Vec<_>>())
}

fn cargo(line: &str) -> Outcome {
    shell::run(&mut command(&format!("cargo {line}")))
}

fn clippy() -> Outcome {
    cargo("clippy --workspace --all-targets --all-features -- -D warnings")
}

/// Each library crate with no feature, and with each of its features alone.
fn features() -> Outcome {
    for (package, features) in [
        ("lw4o6-wire", &["arbitrary"][..]),
        ("lw4o6-binding", &["table", "formats"]),
        ("lw4o6-aftr", &[]),
    ] {
        cargo(&format!("check -q -p {package} --no-default-features"))?;
        for feature in features {
            cargo(&format!(
                "check -q -p {package} --no-default-features --features {feature}"
            ))?;
        }
    }
    Ok(())
}

fn docs() -> Outcome {
    let mut doc =
        command("cargo doc -q --workspace --no-deps --all-features --document-private-items");
    shell::run(doc.env("RUSTDOCFLAGS", "-Dwarnings"))
}

/// Every scenario of the lab; those that an ordinary user can run are in the tests as well. The soak is
/// shorter than its own 60 seconds, unless `LW4O6_LAB_SECONDS` says otherwise.
fn lab() -> Outcome {
    cargo("build -q --release -p lw4o6-examples --bin lw4o6-lab")?;
    let mut all =
        command("timeout 240 cargo run -q --release -p lw4o6-examples --bin lw4o6-lab -- all");
    if std::env::var_os("LW4O6_LAB_SECONDS").is_none() {
        all.env("LW4O6_LAB_SECONDS", "20");
    }
    shell::run(&mut all)
}

/// Every interleaving of the table's protocols, within the bounds that the models state.
fn loom() -> Outcome {
    let line = "cargo test -q -p lw4o6-binding --release --lib loom";
    let mut test = command(line);
    test.env("RUSTFLAGS", "--cfg loom");
    test.env("CARGO_TARGET_DIR", shell::root().join("target/loom"));
    shell::run(&mut test)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the gate and the long forms report how long their stages take"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}
