//! The lab as its users run it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a panic is a failed test, and tests wait"
)]

use std::io::ErrorKind;
use std::os::unix::process::CommandExt;
use std::process::{Command, Output};

fn lab(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_lw4o6-lab"))
        .args(arguments)
        .output()
        .unwrap()
}

/// Outcomes of a run, or the reason why it was skipped.
fn outcomes(output: &Output) -> Result<Vec<serde_json::Value>, String> {
    let text = String::from_utf8_lossy(&output.stdout);
    let outcomes = text.lines().map(|line| serde_json::from_str(line).unwrap());
    let outcomes: Vec<serde_json::Value> = outcomes.collect();
    match outcomes
        .iter()
        .find_map(|outcome| outcome["skipped"].as_str())
    {
        Some(why) => Err(why.to_owned()),
        None => Ok(outcomes),
    }
}

/// Checks that scenario `aftr` was run and passed; whether it was run.
fn passed(output: &Output) -> bool {
    let outcomes = match outcomes(output) {
        Ok(outcomes) => outcomes,
        Err(why) => {
            skipped(&why);
            return false;
        }
    };
    let [outcome] = outcomes.as_slice() else {
        panic!("{outcomes:?}: {}", String::from_utf8_lossy(&output.stderr))
    };
    assert_eq!(outcome["pass"], true, "{outcome:#}");
    assert_eq!(output.status.code(), Some(0));
    let facts = &outcome["facts"];
    for subscriber in ["full", "shared"] {
        let facts = &facts[subscriber];
        assert_eq!(facts["tcp-down-bytes"], 20_000_000);
        assert_eq!(facts["udp-8k-up-intact"], 10);
        assert_eq!(facts["udp-8k-down-intact"], 10);
        assert_eq!(facts["path-mtu-learned"], 1460);
    }
    assert_eq!(
        facts["shared"]["unbound-port-draws"],
        "3/1 from 198.51.100.1"
    );
    true
}

#[test]
fn scenario_aftr_passes_twice_in_a_row() {
    let _ = passed(&lab(&["aftr", "--json"])) && passed(&lab(&["aftr", "--json"]));
}

#[test]
fn two_workers_get_all_fragments_of_a_datagram_right() {
    let _ = passed(&lab(&["workers-aftr", "--json"]));
}

/// Those that need nothing that only root has.
const FOR_EVERYBODY: [&str; 4] = ["aftr", "hairpin-aftr", "fragments-aftr", "spoof-aftr"];

#[test]
fn scenarios_pass_for_an_ordinary_user() {
    if !nix::unistd::geteuid().is_root() {
        // All tests here are this one.
        return;
    }
    // Where everybody may look; the build directory may be root's own.
    let copy = std::env::temp_dir().join(format!("lw4o6-lab-{}", std::process::id()));
    std::fs::copy(env!("CARGO_BIN_EXE_lw4o6-lab"), &copy).unwrap();
    let as_nobody = || {
        let mut lab = Command::new(&copy);
        lab.args(FOR_EVERYBODY)
            .arg("--json")
            .uid(65_534)
            .gid(65_534)
            .output()
    };
    let mut output = as_nobody();
    // Another test's child may hold the copy open for a moment.
    while output
        .as_ref()
        .is_err_and(|error| error.kind() == ErrorKind::ExecutableFileBusy)
    {
        std::thread::yield_now();
        output = as_nobody();
    }
    std::fs::remove_file(&copy).unwrap();
    let output = output.unwrap();
    match outcomes(&output) {
        Ok(outcomes) => {
            let names: Vec<_> = outcomes.iter().map(|one| &one["scenario"]).collect();
            assert_eq!(names, FOR_EVERYBODY);
            for outcome in &outcomes {
                assert_eq!(outcome["pass"], true, "{outcome:#}");
            }
        }
        Err(why) => skipped(&why),
    }
}

/// Says why nothing was shown, which in CI is a failure.
fn skipped(why: &str) {
    assert!(std::env::var_os("CI").is_none(), "lab was skipped: {why}");
    eprintln!("lab skipped: {why}");
}

#[test]
fn nothing_of_the_lab_is_left_behind() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_lw4o6-lab"))
        .args(["basic", "--json"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let lab = child.id();
    let until = std::time::SystemTime::now() + std::time::Duration::from_secs(10);
    let mut agents = Vec::new();
    while agents.len() < 3 && std::time::SystemTime::now() < until {
        agents = agents_of(lab);
        if child.try_wait().unwrap().is_some() {
            break;
        }
    }
    // As hard as a crash.
    let _ = child.kill();
    child.wait().unwrap();
    while agents.iter().any(|&id| is_agent_of(id, lab)) {
        assert!(
            std::time::SystemTime::now() < until,
            "agents outlive the lab"
        );
        std::thread::yield_now();
    }
}

fn agents_of(lab: u32) -> Vec<u32> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    ids.filter(|&id| is_agent_of(id, lab)).collect()
}

fn is_agent_of(id: u32, lab: u32) -> bool {
    // A process that has ended and is not yet waited for has an empty command line.
    let words = std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
    let words: Vec<_> = words.split(|&byte| byte == 0).collect();
    words.get(1..3) == Some(&[b"agent".as_slice(), lab.to_string().as_bytes()])
}

#[test]
fn where_namespaces_are_refused_a_scenario_is_skipped_and_that_fails_in_ci() {
    // Somebody who is nobody in his user namespace may have no further one.
    let refused = ["-U", env!("CARGO_BIN_EXE_lw4o6-lab"), "basic", "--json"];
    let run = |ci: bool| {
        let mut unshare = Command::new("unshare");
        unshare.args(refused).env_remove("CI");
        if ci {
            unshare.env("CI", "true");
        }
        unshare.output().unwrap()
    };
    let usable = Command::new("unshare").args(["-U", "true"]).output();
    if !usable.is_ok_and(|output| output.status.success()) {
        assert!(
            std::env::var_os("CI").is_none(),
            "refused namespaces: skipped: no unshare -U"
        );
        eprintln!("refused namespaces: skipped: no unshare -U");
        return;
    }
    let output = run(false);
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "{\"scenario\":\"basic\",\"pass\":null,\"seconds\":0.0,\"facts\":{},\"skipped\":\"needs root or user \
         namespaces, which this system does not allow: EPERM: Operation not permitted\"}\n"
    );
    assert_eq!(
        (output.status.code(), run(true).status.code()),
        (Some(0), Some(1))
    );
}

#[test]
fn scenarios_are_listed_by_name() {
    let output = lab(&["--list"]);
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout).unwrap();
    let names: Vec<_> = text
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert_eq!(
        names,
        [
            "basic",
            "aftr",
            "workers-aftr",
            "hairpin-aftr",
            "fragments-aftr",
            "mtu-aftr",
            "spoof-aftr",
            "speed-aftr",
            "reload",
            "link-flap",
            "soak-aftr"
        ]
    );
    assert!(text.lines().all(|line| line.split_whitespace().count() > 3));
}

#[test]
fn an_unknown_scenario_is_bad_usage() {
    let output = lab(&["nonesuch"]);
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        text,
        "error: no scenario is named `nonesuch`; --list names them\n"
    );
    assert_eq!(lab(&[]).status.code(), Some(2));
}
