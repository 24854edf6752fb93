//! `lw4o6-lab`: kernel hosts in namespaces of their own around the programs.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program talks to its user"
)]

use std::process::ExitCode;

use clap::Parser;
use lw4o6_examples::lab::{Outcome, SCENARIOS, Scenario, agent, namespace};
use lw4o6_examples::log;

/// Runs the programs between kernel hosts in network namespaces, and prints what it saw.
///
/// Needs neither root nor any other program, and touches nothing outside its namespaces. Exit code 0:
/// all passed; 1: one failed or, with CI in the environment, was skipped; 2: bad usage.
#[derive(Parser)]
#[command(name = "lw4o6-lab", version, max_term_width = 100)]
struct Arguments {
    /// What is logged to standard error: off, error, warn, info, debug or trace.
    #[arg(long, value_name = "LEVEL", default_value = "warn")]
    log: log::Level,
    /// Scenarios, or `all`. --list names them.
    #[arg(value_name = "SCENARIO", required_unless_present = "list")]
    scenarios: Vec<String>,
    /// Lists the scenarios.
    #[arg(long)]
    list: bool,
    /// Prints one JSON object for each scenario.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    if words.next().as_deref() == Some("agent") {
        let parent = words.next().and_then(|id| id.parse().ok());
        return parent.map_or(ExitCode::from(2), |parent| agent::main(parent).into());
    }
    let arguments = Arguments::parse();
    log::start(arguments.log);
    if arguments.list {
        list();
        return ExitCode::SUCCESS;
    }
    match chosen(&arguments.scenarios) {
        Ok(scenarios) => run(&scenarios, arguments.json),
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

fn list() {
    for scenario in SCENARIOS {
        println!("{:<12} {}", scenario.name, scenario.about);
    }
}

fn chosen(names: &[String]) -> Result<Vec<&'static Scenario>, String> {
    if names.iter().any(|name| name == "all") {
        return Ok(SCENARIOS.iter().collect());
    }
    let find = |name: &String| {
        Scenario::named(name)
            .ok_or_else(|| format!("no scenario is named `{name}`; --list names them"))
    };
    names.iter().map(find).collect()
}

fn run(scenarios: &[&Scenario], json: bool) -> ExitCode {
    // While this process has one thread: a user namespace takes no more.
    let isolated = namespace::isolate();
    let skipping_fails = std::env::var_os("CI").is_some();
    let mut failed = false;
    for scenario in scenarios {
        let outcome = match &isolated {
            Ok(()) => scenario.run(),
            Err(why) => scenario.skip(why.clone()),
        };
        failed |= outcome.is_failure(skipping_fails);
        show(&outcome, json);
    }
    ExitCode::from(u8::from(failed))
}

fn show(outcome: &Outcome, json: bool) {
    if json {
        println!("{}", serde_json::to_string(outcome).unwrap_or_default());
    } else {
        print!("{}", outcome.table());
    }
}
