//! What `lwaftr run` says where it cannot run. Where it can is shown by the lab.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a panic is a failed test, and a skipped one says so"
)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const LWAFTR: &str = env!("CARGO_BIN_EXE_lwaftr");

/// A configuration that names the given interfaces.
fn config(name: &str, internet: Option<&str>, softwire: Option<&str>) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("run-{name}.toml"));
    let arguments = ["generate", "--softwires", "4", "-o"];
    assert!(
        Command::new(LWAFTR)
            .args(arguments)
            .arg(&path)
            .output()
            .unwrap()
            .status
            .success()
    );
    let mut text = std::fs::read_to_string(&path).unwrap();
    for (section, interface) in [("[internet]", internet), ("[softwire]", softwire)] {
        if let Some(interface) = interface {
            text = text.replace(section, &format!("{section}\ninterface = \"{interface}\""));
        }
    }
    std::fs::write(&path, text).unwrap();
    path
}

/// Checks how a run ended.
fn ended(output: &Output, code: i32, error: &str) {
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        format!("error: {error}\n")
    );
    assert_eq!(output.status.code(), Some(code));
    assert!(output.stdout.is_empty());
}

fn run(config: &Path) -> Output {
    Command::new(LWAFTR)
        .arg("run")
        .arg(config)
        .output()
        .unwrap()
}

/// Runs in namespaces that `unshare` makes; none where that is not to be had.
fn run_unshared(name: &str, how: &[&str], config: &Path) -> Option<Output> {
    let usable = Command::new("unshare").args(how).arg("true").output();
    if !usable.is_ok_and(|output| output.status.success()) {
        assert!(
            std::env::var_os("CI").is_none(),
            "{name} was skipped: unshare {how:?}"
        );
        eprintln!("{name} skipped: no unshare {how:?}");
        return None;
    }
    let command = ["run".as_ref(), config.as_os_str()];
    Some(
        Command::new("unshare")
            .args(how)
            .arg(LWAFTR)
            .args(command)
            .output()
            .unwrap(),
    )
}

#[test]
fn a_configuration_that_does_not_exist_is_named() {
    ended(
        &run(Path::new("nowhere.toml")),
        2,
        "nowhere.toml: No such file or directory (os error 2)",
    );
}

#[test]
fn an_interface_is_needed_on_both_sides() {
    for (name, internet, missing) in [
        ("no-internet", None, "internet"),
        ("no-softwire", Some("lo"), "softwire"),
    ] {
        let path = config(name, internet, None);
        let error = format!(
            "{}: {missing}.interface is missing; run needs the name of an interface",
            path.display()
        );
        ended(&run(&path), 2, &error);
    }
}

#[test]
fn an_interface_that_does_not_exist_is_named() {
    let path = config("missing", Some("nonesuch0"), Some("nonesuch1"));
    ended(
        &run(&path),
        1,
        "there is no interface `nonesuch0` in this network namespace",
    );
}

#[test]
fn the_capability_that_is_missing_is_named() {
    let path = config("privilege", Some("lo"), Some("lo"));
    // Root in a user namespace of its own has nothing to say in the network namespace outside.
    let Some(output) = run_unshared("privilege", &["-r"], &path) else {
        return;
    };
    let error = "interface `lo`: packet sockets need CAP_NET_RAW; run as root, or give the program \
                 the capability: setcap cap_net_raw+ep /path/to/lwaftr";
    ended(&output, 1, error);
}

#[test]
fn an_interface_that_is_not_ethernet_is_refused() {
    let path = config("loopback", Some("lo"), Some("lo"));
    let Some(output) = run_unshared("loopback", &["-rn"], &path) else {
        return;
    };
    ended(&output, 1, "interface `lo` is not an Ethernet interface");
}
