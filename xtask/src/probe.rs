//! Proof that `lw4o6-wire` needs no std and cannot panic; `nostd-probe/src/lib.rs` says how it works.

use crate::Outcome;
use crate::shell::{command, output, root, run as run_command};

/// Symbols that only a panic path pulls in.
const FORBIDDEN: &[&str] = &[
    "panicking",
    "slice_index_fail",
    "panic_fmt",
    "unwrap_failed",
    "expect_failed",
    "len_mismatch_fail",
];

/// Builds the probe with and without a deliberate panic and looks for panic symbols.
pub(crate) fn run() -> Outcome {
    let clean = symbols("")?;
    let probes = clean.iter().filter(|line| line.contains(" probe_")).count();
    if probes == 0 {
        return Err("the probe's archive has no probe_* symbol: nothing was proved".to_owned());
    }
    let found: Vec<_> = clean.iter().filter(|line| is_panic(line)).collect();
    if !found.is_empty() {
        found.iter().for_each(|line| println!("{line}"));
        return Err(format!("{} panic symbols in lw4o6-wire", found.len()));
    }
    if !symbols("--features panics")?
        .iter()
        .any(|line| is_panic(line))
    {
        return Err("the probe does not see a deliberate panic: it proves nothing".to_owned());
    }
    println!("{probes} probes link without std and without a panic path");
    Ok(())
}

fn is_panic(line: &str) -> bool {
    FORBIDDEN.iter().any(|symbol| line.contains(symbol))
}

/// Symbols of the probe's own object in the archive.
fn symbols(features: &str) -> Result<Vec<String>, String> {
    let manifest = "nostd-probe/Cargo.toml";
    run_command(&mut command(&format!(
        "cargo build -q --release --manifest-path {manifest} {features}"
    )))?;
    let archive = root().join("nostd-probe/target/release/libnostd_probe.a");
    // Members without symbols are worth no line each.
    let listing = output(command("nm --quiet").arg(archive))?;
    let own = listing
        .split("\n\n")
        .filter(|member| member.trim_start().starts_with("nostd_probe-"));
    Ok(own.flat_map(str::lines).map(str::to_owned).collect())
}
