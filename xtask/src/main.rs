//! The project's own commands; `cargo xtask help` lists them.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line tool reports to a person"
)]

mod budget;
mod ci;
mod full;
mod fuzz;
mod packages;
mod probe;
mod seeded_bugs;
mod shell;
mod spec;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// What a command ends with.
type Outcome = Result<(), String>;

#[derive(Parser)]
#[command(name = "cargo xtask", about, version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Everything that has to be green: formatting, lints, tests, docs, proofs, budgets, packaging.
    Ci(ci::Options),
    /// The long forms of the random tests, and the seeded bugs; takes an hour or more. Writes
    /// docs/FULL.md.
    Full(full::Options),
    /// Checks that every requirement is met in code and proved by a test; writes docs/CONFORMANCE.md.
    Spec(spec::Options),
    /// Runs the fuzz targets and logs what they covered in fuzz/LOG.tsv.
    Fuzz(fuzz::Options),
    /// Counts instructions per packet and compares them with perf/budget.toml.
    Budget(budget::Options),
    /// Plants known bugs in a copy of the engine and has the comparison with the model find each;
    /// writes docs/SEEDED-BUGS.md.
    SeededBugs,
    /// Proves that lw4o6-wire links without std and without a panic path.
    Probe,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match arguments.command {
        Command::Ci(options) => ci::run(&options),
        Command::Full(options) => full::run(&options),
        Command::Spec(options) => spec::run(&options),
        Command::Fuzz(options) => fuzz::run(&options),
        Command::Budget(options) => budget::run(&options),
        Command::SeededBugs => seeded_bugs::run(),
        Command::Probe => probe::run(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
