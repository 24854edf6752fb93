//! `lw4o6-dump`: decodes softwire, ICMP, ARP and neighbor messages in a capture.
#![expect(clippy::print_stderr, reason = "a program talks to its user")]

use std::io::{BufWriter, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use lw4o6_examples::capture::CaptureReader;
use lw4o6_examples::dump::decode;
use lw4o6_examples::error::Failure;
use lw4o6_examples::log;

/// Decodes a capture of softwire traffic, one message a line.
///
/// Reads pcap and pcapng files of Ethernet frames. Exit code 0: fine, malformed messages included;
/// 1: the file cannot be read to its end; 2: bad usage.
#[derive(Parser)]
#[command(name = "lw4o6-dump", version, max_term_width = 100)]
struct Arguments {
    /// What is logged to standard error: off, error, warn, info, debug or trace.
    #[arg(long, value_name = "LEVEL", default_value = "warn")]
    log: log::Level,
    /// Prints a JSON object a message: time, layers, and error where it is malformed.
    #[arg(long)]
    json: bool,
    /// The capture.
    file: PathBuf,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    log::start(arguments.log);
    match dump(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::from(failure.exit_code())
        }
    }
}

fn dump(arguments: &Arguments) -> Result<(), Failure> {
    let mut capture = CaptureReader::open(&arguments.file)?;
    let mut out = BufWriter::new(std::io::stdout().lock());
    while let Some(frame) = capture.next_frame()? {
        let message = decode(&frame);
        let line = if arguments.json {
            serde_json::to_string(&message).map_err(|error| Failure::run(error.to_string()))?
        } else {
            message.line()
        };
        // A reader that has seen enough is no error.
        if writeln!(out, "{line}").is_err() {
            return Ok(());
        }
    }
    let _ = out.flush();
    Ok(())
}
