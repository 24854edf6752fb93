//! `lw4o6-lab`: kernel hosts in namespaces of their own around the programs.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program talks to its user"
)]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use lw4o6_examples::lab::blast::{self, Blast, BlastSide, Frames};
use lw4o6_examples::lab::{Outcome, SCENARIOS, Scenario, agent, namespace};
use lw4o6_examples::log;
use lw4o6_wire::ethernet::MacAddr;

/// Runs the programs between kernel hosts in network namespaces, and prints what it saw.
///
/// Needs neither root nor any other program, and touches nothing outside its namespaces. Exit code 0:
/// all passed; 1: one failed or, with CI in the environment, was skipped; 2: bad usage.
///
/// `lw4o6-lab blast --help` is about the traffic generator.
#[derive(Parser)]
#[command(name = "lw4o6-lab", version, max_term_width = 100)]
struct Arguments {
    /// What is logged to standard error: off, error, warn, info, debug or trace.
    #[arg(long, value_name = "LEVEL", default_value = "warn")]
    log: log::Level,
    /// Scenarios, or `all`, which leaves out what only measures. --list names them.
    #[arg(value_name = "SCENARIO", required_unless_present = "list")]
    scenarios: Vec<String>,
    /// Lists the scenarios.
    #[arg(long)]
    list: bool,
    /// Prints one JSON object for each scenario.
    #[arg(long)]
    json: bool,
    /// Writes what was seen to a Markdown file, too.
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
}

/// Sends as many frames as one core can, or counts those that arrive at an interface.
///
/// Works in the network namespace that it is started in, and needs CAP_NET_RAW there. All frames are
/// made before the first is sent; at most 65,536 different ones. --sink reads the counters of the
/// interface itself, so it costs the receiving side nothing.
#[derive(Parser)]
#[command(name = "lw4o6-lab blast", version, max_term_width = 100)]
struct BlastArguments {
    /// Interface that frames leave by.
    #[arg(short, long, value_name = "IF", required_unless_present = "sink")]
    interface: Option<String>,
    /// Counts what arrives at this interface instead.
    #[arg(long, value_name = "IF", conflicts_with_all = ["interface", "pcap", "config", "rate"])]
    sink: Option<String>,
    /// Frames of a capture, again and again.
    #[arg(long, value_name = "FILE", conflicts_with = "config")]
    pcap: Option<PathBuf>,
    /// Traffic of the softwires of a lwaftr configuration, all of them alike, random ports.
    #[arg(long, value_name = "CONFIG", required_unless_present_any = ["sink", "pcap"])]
    config: Option<PathBuf>,
    /// Where that traffic comes from: the Internet or the B4s.
    #[arg(long, value_enum, default_value = "v4")]
    side: BlastSide,
    /// Bytes of its frames on the IPv4 side, with the check sequence; those of the B4s are 40 longer.
    #[arg(long, value_name = "BYTES", default_value_t = 64)]
    frame_size: usize,
    /// Its destination [default: mac of that side in the configuration].
    #[arg(long, value_name = "MAC", value_parser = mac)]
    to: Option<MacAddr>,
    /// Its source [default: next-hop of that side, or the interface].
    #[arg(long, value_name = "MAC", value_parser = mac)]
    from: Option<MacAddr>,
    /// Frames a second [default: as many as possible].
    #[arg(long, value_name = "FRAMES")]
    rate: Option<u64>,
    /// How long, in seconds.
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// Core to stay on.
    #[arg(long)]
    core: Option<usize>,
    /// Prints one JSON object.
    #[arg(long)]
    json: bool,
}

fn mac(text: &str) -> Result<MacAddr, String> {
    text.parse::<MacAddr>().map_err(|error| error.to_string())
}

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    match words.next().as_deref() {
        Some("agent") => {
            let parent = words.next().and_then(|id| id.parse().ok());
            // Behind its name.
            let beside = words.nth(1).and_then(|id| id.parse().ok());
            let code = |parent| agent::main(parent, beside).into();
            return parent.map_or(ExitCode::from(2), code);
        }
        Some("blast") => {
            // The name of the program, then its arguments.
            return run_blast(BlastArguments::parse_from(std::env::args().skip(1)));
        }
        Some(_) | None => {}
    }
    let arguments = Arguments::parse();
    log::start(arguments.log);
    if arguments.list {
        list();
        return ExitCode::SUCCESS;
    }
    match chosen(&arguments.scenarios) {
        Ok(scenarios) => run(&scenarios, &arguments),
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

fn run_blast(arguments: BlastArguments) -> ExitCode {
    let json = arguments.json;
    let done = match &arguments.sink {
        Some(interface) if (0.0..=1e6).contains(&arguments.seconds) => {
            blast::sink(interface, Duration::from_secs_f64(arguments.seconds))
                .map(|sunk| show_counts(&sunk, json))
        }
        Some(_) => Err("--seconds, needs 0 to 1000000".to_owned()),
        None => blast::blast(&plan(arguments)).map(|blasted| show_counts(&blasted, json)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn plan(arguments: BlastArguments) -> Blast {
    let frames = match arguments.pcap {
        Some(path) => Frames::Capture(path),
        None => Frames::Softwires {
            config: arguments.config.unwrap_or_default(),
            side: arguments.side,
            size: arguments.frame_size,
            to: arguments.to.map(|mac| mac.0),
            from: arguments.from.map(|mac| mac.0),
        },
    };
    Blast {
        interface: arguments.interface.unwrap_or_default(),
        frames,
        rate: arguments.rate,
        seconds: arguments.seconds,
        core: arguments.core,
    }
}

/// One object, or its members as lines.
fn show_counts(counts: &impl serde::Serialize, json: bool) {
    let value = serde_json::to_value(counts).unwrap_or_default();
    match value.as_object() {
        Some(members) if !json => {
            for (name, value) in members {
                println!("{:<10} {value}", name.replace('-', " "));
            }
        }
        Some(_) | None => println!("{value}"),
    }
}

fn list() {
    for scenario in SCENARIOS {
        println!("{:<12} {}", scenario.name, scenario.about);
    }
}

fn chosen(names: &[String]) -> Result<Vec<&'static Scenario>, String> {
    if names.iter().any(|name| name == "all") {
        return Ok(SCENARIOS.iter().filter(|one| one.in_all).collect());
    }
    let find = |name: &String| {
        Scenario::named(name)
            .ok_or_else(|| format!("no scenario is named `{name}`; --list names them"))
    };
    names.iter().map(find).collect()
}

fn run(scenarios: &[&Scenario], arguments: &Arguments) -> ExitCode {
    // While this process has one thread: a user namespace takes no more.
    let isolated = namespace::isolate();
    let skipping_fails = std::env::var_os("CI").is_some();
    let mut failed = false;
    let mut written = String::from("# What the lab saw\n\nWritten by `lw4o6-lab --write`.\n");
    for scenario in scenarios {
        let outcome = match &isolated {
            Ok(()) => scenario.run(),
            Err(why) => scenario.skip(why.clone()),
        };
        failed |= outcome.is_failure(skipping_fails);
        written += &format!("\n```text\n{}```\n", outcome.table());
        show(&outcome, arguments.json);
    }
    if let Some(path) = &arguments.write
        && let Err(error) = std::fs::write(path, written)
    {
        eprintln!("error: {}: {error}", path.display());
        failed = true;
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
