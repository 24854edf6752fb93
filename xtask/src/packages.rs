//! Debian packages that the gate needs.

use crate::shell::{command, has, in_ci, output, run};

/// A program and the package it comes from.
const NEEDED: &[(&str, &str)] = &[
    ("yanglint", "libyang2-tools"),
    ("valgrind", "valgrind"),
    ("nm", "binutils"),
    ("cc", "gcc"),
    ("curl", "curl"),
];

/// Installs what is missing, as root; otherwise says so.
///
/// # Errors
///
/// Where the installation fails, or something stays missing while nothing may be skipped.
pub(crate) fn install() -> Result<(), String> {
    let missing: Vec<_> = NEEDED.iter().filter(|(program, _)| !has(program)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = missing.iter().map(|(_, package)| *package).collect();
    let names = names.join(" ");
    let is_root = output(&mut command("id -u")).is_ok_and(|uid| uid.trim() == "0");
    if is_root && has("apt-get") {
        run(&mut command("apt-get update -qq"))?;
        let line = format!("apt-get install -y -qq --no-install-recommends {names}");
        return run(command(&line).env("DEBIAN_FRONTEND", "noninteractive"));
    }
    let advice = format!("missing: install {names}; tests that need them are skipped");
    if in_ci() {
        Err(advice)
    } else {
        println!("{advice}");
        Ok(())
    }
}
