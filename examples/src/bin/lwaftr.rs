//! `lwaftr`: a lwAFTR, and the tools to check, feed and migrate to it.
#![expect(clippy::print_stderr, reason = "a program talks to its user")]

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{ArgGroup, Args, Parser, Subcommand};
use lw4o6_examples::check::{check, differences};
use lw4o6_examples::config::Config;
use lw4o6_examples::error::{Failure, check_outputs, write_stdout};
use lw4o6_examples::generate::{Flows, Plan, Traffic, generate};
use lw4o6_examples::management::cli;
use lw4o6_examples::migrate::{Unsupported, migrate};
use lw4o6_examples::progress::Progress;
use lw4o6_examples::replay::{Replay, replay};
use lw4o6_examples::run::run;
use lw4o6_examples::{log, output};
use serde::Serialize;

/// A Lightweight 4over6 AFTR (RFC 7596).
///
/// Exit code 0: fine; 1: failed; 2: bad usage or configuration.
#[derive(Parser)]
#[command(name = "lwaftr", version, max_term_width = 100)]
struct Arguments {
    /// What is logged to standard error: off, error, warn, info, debug or trace.
    #[arg(long, global = true, value_name = "LEVEL", default_value = "warn")]
    log: log::Level,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Validates a configuration and prints what it amounts to.
    ///
    /// Everything that would keep `run` from starting is an error here: unknown keys, values out of
    /// range, bindings that contradict each other, more softwires than softwire-num-max.
    Check(CheckArguments),
    /// Moves packets between the interfaces that the configuration names, until SIGINT or SIGTERM.
    ///
    /// Needs CAP_NET_RAW over their network namespace. Prints what it counted at the end. The kernel
    /// must have none of the addresses that the configuration names: it would answer for them too.
    Run(RunArguments),
    /// Sends captured Ethernet frames through the whole engine, without privileges.
    ///
    /// The clock is that of the captures. It starts at the first time stamp, or at 0 without input;
    /// timers due at the start run then. Equal time stamps: IPv4 side first, then file order. Time that
    /// goes backwards counts as the newest seen. After the last frame timers run on for --drain seconds.
    Replay(ReplayArguments),
    /// Makes a configuration with a table of any size, and captures of matching traffic.
    Generate(GenerateArguments),
    /// Converts a Snabb lwAFTR configuration (snabb-softwire-v2 or -v3).
    ///
    /// Knobs are set so that behavior stays as it was, as far as no MUST of an RFC forbids it; where one
    /// does, a warning names the requirement (docs/CONFORMANCE.md).
    Migrate(MigrateArguments),
    /// Shows what a running lwaftr does: state, softwires, counters, interfaces, alarms.
    Show(cli::ShowArguments),
    /// Adds, removes and lists softwires of a running lwaftr.
    ///
    /// Softwires of the configuration file are changed there; what is added here outlives a restart
    /// where `state.store` is set.
    #[command(subcommand)]
    Softwire(cli::SoftwireCommand),
    /// Sets a knob of a running lwaftr, until it is started again or reloaded.
    Set(cli::SetArguments),
    /// Lets a running lwaftr read its configuration again, as SIGHUP does.
    ///
    /// A configuration that is wrong is refused as a whole, and the old one stays in force. Softwires
    /// that were not in the file stay. No packet of an unchanged softwire is lost.
    Reload(cli::ReloadArguments),
    /// Says who had a port of an address, or what a B4 or prefix had, now or at a time.
    Lookup(cli::LookupArguments),
    /// Follows packets through a running lwaftr: what was checked, and what became of them.
    Trace(cli::TraceArguments),
    /// Follows the changes of the binding table.
    Events(cli::EventsArguments),
}

#[derive(Args)]
struct CheckArguments {
    /// The configuration, TOML.
    config: PathBuf,
    /// Says what a reload from CONFIG to this one would change.
    #[arg(long, value_name = "CONFIG2")]
    diff: Option<PathBuf>,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct RunArguments {
    /// The configuration, TOML.
    config: PathBuf,
    /// Prints the counters as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct ReplayArguments {
    /// The configuration, TOML.
    config: PathBuf,
    /// Frames that arrive from the Internet, pcap or pcapng.
    #[arg(long, value_name = "PCAP")]
    v4_in: Option<PathBuf>,
    /// Frames that arrive from the B4s.
    #[arg(long, value_name = "PCAP")]
    v6_in: Option<PathBuf>,
    /// Where frames for the Internet are written.
    #[arg(long, value_name = "PCAP")]
    v4_out: PathBuf,
    /// Where frames for the B4s are written.
    #[arg(long, value_name = "PCAP")]
    v6_out: PathBuf,
    /// Where the counters are written, as JSON.
    #[arg(long, value_name = "JSON")]
    counters: Option<PathBuf>,
    /// Seed of everything random.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Seconds that timers run on after the last frame.
    #[arg(long, value_name = "SECONDS", default_value_t = 0.0)]
    drain: f64,
    /// Prints the counters as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
#[command(group(ArgGroup::new("captures").args(["v4_out", "v6_out"]).multiple(true).requires("packets")))]
struct GenerateArguments {
    /// Number of softwires.
    #[arg(long)]
    softwires: u32,
    /// Bits of PSID: 2^K softwires share an IPv4 address. 0 gives each its own.
    #[arg(long, value_name = "K", default_value_t = 6)]
    psid_length: u8,
    /// Packets in each capture.
    #[arg(long, value_name = "M", requires = "captures")]
    packets: Option<u64>,
    /// Ethernet frame on the IPv4 side in bytes, check sequence included; 40 more on the other.
    #[arg(long, value_name = "S", default_value_t = 64)]
    frame_size: usize,
    /// Which softwires are busy.
    #[arg(long, value_enum, default_value_t = Flows::Uniform)]
    flows: Flows,
    /// Capture of packets from the Internet.
    #[arg(long, value_name = "PCAP")]
    v4_out: Option<PathBuf>,
    /// Capture of packets from the B4s.
    #[arg(long, value_name = "PCAP")]
    v6_out: Option<PathBuf>,
    /// Seed of the traffic.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// The configuration to write; the softwires go beside it, into a file that ends in .json.
    #[arg(short, long, value_name = "CONFIG")]
    output: PathBuf,
}

#[derive(Args)]
struct MigrateArguments {
    /// The Snabb configuration.
    snabb: PathBuf,
    /// The configuration to write; the softwires go beside it, into a file that ends in .json.
    #[arg(short, long, value_name = "CONFIG")]
    output: PathBuf,
    /// Leaves out what cannot be expressed, such as packet filters, instead of refusing.
    #[arg(long)]
    drop_unsupported: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    log::start(arguments.log);
    let done = match &arguments.command {
        Command::Check(arguments) => run_check(arguments),
        Command::Run(arguments) => run(&arguments.config)
            .and_then(|report| print(&report, arguments.json, || report.table())),
        Command::Replay(arguments) => run_replay(arguments),
        Command::Generate(arguments) => run_generate(arguments),
        Command::Migrate(arguments) => run_migrate(arguments),
        Command::Show(arguments) => cli::show(arguments),
        Command::Softwire(command) => cli::softwire(command),
        Command::Set(arguments) => cli::set(arguments),
        Command::Reload(arguments) => cli::reload(arguments),
        Command::Lookup(arguments) => cli::lookup(arguments),
        Command::Trace(arguments) => cli::trace(arguments),
        Command::Events(arguments) => cli::events(arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::from(failure.exit_code())
        }
    }
}

fn run_check(arguments: &CheckArguments) -> Result<(), Failure> {
    let config = Config::read(&arguments.config)?;
    let summary = check(&config)?;
    let Some(other) = &arguments.diff else {
        return print(&summary, arguments.json, || summary.table());
    };
    let other = Config::read(other)?;
    check(&other)?;
    let differences = differences(&config, &other)?;
    print(&differences, arguments.json, || differences.list())
}

fn run_replay(arguments: &ReplayArguments) -> Result<(), Failure> {
    let config = Config::read(&arguments.config)?;
    let drain = Duration::try_from_secs_f64(arguments.drain);
    let drain = drain.map_err(|error| Failure::config(format!("--drain: {error}")))?;
    let plan = Replay {
        v4_in: arguments.v4_in.clone(),
        v6_in: arguments.v6_in.clone(),
        v4_out: arguments.v4_out.clone(),
        v6_out: arguments.v6_out.clone(),
        seed: arguments.seed,
        drain,
    };
    check_replay_files(arguments)?;
    let report = replay(&config, &plan, &Progress::new("replayed frames", None))?;
    if let Some(path) = &arguments.counters {
        std::fs::write(path, json(&report)?).map_err(|error| Failure::at(path, error))?;
    }
    print(&report, arguments.json, || report.table())
}

/// What is written must not be what is read, nor be written twice.
fn check_replay_files(arguments: &ReplayArguments) -> Result<(), Failure> {
    let mut written = vec![
        ("--v4-out", arguments.v4_out.as_path()),
        ("--v6-out", arguments.v6_out.as_path()),
    ];
    written.extend(
        arguments
            .counters
            .iter()
            .map(|path| ("--counters", path.as_path())),
    );
    let mut read = vec![("CONFIG", arguments.config.as_path())];
    read.extend(
        arguments
            .v4_in
            .iter()
            .map(|path| ("--v4-in", path.as_path())),
    );
    read.extend(
        arguments
            .v6_in
            .iter()
            .map(|path| ("--v6-in", path.as_path())),
    );
    check_outputs(&written, &read)
}

fn run_generate(arguments: &GenerateArguments) -> Result<(), Failure> {
    let traffic = arguments.packets.map(|packets| Traffic {
        packets,
        frame_size: arguments.frame_size,
        flows: arguments.flows,
        v4_out: arguments.v4_out.clone(),
        v6_out: arguments.v6_out.clone(),
    });
    let steps = u64::from(arguments.softwires) + arguments.packets.unwrap_or(0);
    let plan = Plan {
        softwires: arguments.softwires,
        psid_length: arguments.psid_length,
        traffic,
        seed: arguments.seed,
    };
    generate(
        &plan,
        &arguments.output,
        &Progress::new("generating", Some(steps)),
    )?;
    let softwires = output::softwire_path(&arguments.output);
    write_stdout(&format!(
        "{} and {} written\n",
        arguments.output.display(),
        softwires.display()
    ))
}

fn run_migrate(arguments: &MigrateArguments) -> Result<(), Failure> {
    let unsupported = if arguments.drop_unsupported {
        Unsupported::Drop
    } else {
        Unsupported::Refuse
    };
    let migration = migrate(&arguments.snabb, &arguments.output, unsupported)?;
    for warning in &migration.warnings {
        eprintln!("warning: {warning}");
    }
    let head = format!(
        "Converted from {} by lwaftr migrate.",
        name(&arguments.snabb)
    );
    let layout = lw4o6_binding::formats::json::Layout::Pretty;
    output::write(
        &arguments.output,
        &head,
        &migration.file,
        &migration.instance,
        layout,
    )?;
    let softwires = output::softwire_path(&arguments.output);
    let count = migration.instance.bindings.len();
    write_stdout(&format!(
        "{} and {} written: {count} softwires\n",
        arguments.output.display(),
        softwires.display()
    ))
}

fn name(path: &Path) -> String {
    path.file_name()
        .map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

fn json(value: &impl Serialize) -> Result<String, Failure> {
    let text = serde_json::to_string_pretty(value);
    text.map(|text| text + "\n")
        .map_err(|error| Failure::run(error.to_string()))
}

fn print(
    value: &impl Serialize,
    as_json: bool,
    for_people: impl FnOnce() -> String,
) -> Result<(), Failure> {
    write_stdout(&if as_json { json(value)? } else { for_people() })
}
