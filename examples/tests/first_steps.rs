//! The README's first steps, line by line as a newcomer would type them.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a panic is a failed test, and tests wait"
)]

use std::path::{Path, PathBuf};
use std::process::Command;

/// Where the README lets the shell find the programs; here they are elsewhere.
const PATH_LINE: &str = "export PATH=\"$PWD/target/release:$PATH\"";

/// The shell blocks of a section of the README.
fn blocks(readme: &str, section: &str) -> Vec<String> {
    let start = readme.find(section).unwrap() + section.len();
    let section = &readme[start..];
    let section = &section[..section.find("\n## ").unwrap()];
    let blocks = section.split("```sh\n").skip(1);
    blocks
        .map(|rest| rest[..rest.find("```").unwrap()].to_owned())
        .collect()
}

/// A directory of the test's own, gone when dropped.
struct Directory(PathBuf);

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn the_first_steps_of_the_readme_work_as_written() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let readme = std::fs::read_to_string(readme).unwrap();
    let script = blocks(&readme, "## First steps").concat();
    assert!(script.contains(PATH_LINE), "{script}");
    let programs = Path::new(env!("CARGO_BIN_EXE_lwaftr")).parent().unwrap();
    let path = format!("export PATH=\"{}:$PATH\"", programs.display());
    // What a shell with job control does for a person, and a stop at the first line that fails, also
    // of what runs in the background.
    let stop = "trap 'kill $(jobs -p) 2> /dev/null || true' EXIT";
    let script = script.replace(PATH_LINE, &path);
    let script = format!("set -eum\n{stop}\n{script}");
    let directory = std::env::temp_dir().join(format!("lw4o6-first-steps-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let directory = Directory(directory);
    let done = Command::new("bash")
        .args(["-c", &script])
        .current_dir(&directory.0)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stdout);
    let errors = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{}\n{said}\n{errors}", done.status);
    for expected in [
        "hairpin-aftr: passed",
        "softwires               1000 of at most 1000",
        "2001:db8:77::1",
        "lwaftr_",
        "\"event\":",
    ] {
        assert!(said.contains(expected), "no {expected:?} in:\n{said}");
    }
}
