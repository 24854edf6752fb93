//! `lwaftr generate`, `check`, and what every program says about itself.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a panic is a failed test"
)]

mod common;

use common::{SOFTWIRES, TOML, Temporary, configured, temporary};
use serde_json::json;
use testkit::yang::Validation;

/// Generates a table with captures of 400 packets each.
fn generated(psid_length: &str, softwires: &str, flows: &str) -> Temporary {
    let folder = temporary("generate");
    let arguments = [
        "generate",
        "--softwires",
        softwires,
        "--psid-length",
        psid_length,
        "--packets",
        "400",
        "--frame-size",
        "128",
        "--flows",
        flows,
        "--v4-out",
        "i4.pcap",
        "--v6-out",
        "i6.pcap",
        "-o",
        "c.toml",
    ];
    let out = folder.lwaftr(&arguments).fine();
    assert_eq!(out, "c.toml and c.json written\n");
    folder
}

#[test]
fn every_generated_packet_is_forwarded() {
    for flows in ["uniform", "zipf"] {
        for (psid_length, softwires) in [("0", "50"), ("6", "200"), ("16", "300")] {
            let what = format!("{flows}, {psid_length} bits");
            let folder = generated(psid_length, softwires, flows);
            let arguments = ["--v4-in", "i4.pcap", "--v6-in", "i6.pcap", "--json"];
            let out = folder.replay(&arguments).fine();
            let report: serde_json::Value = serde_json::from_str(&out).unwrap();
            assert_eq!(report["drops"], json!({}), "{what}");
            assert_eq!(report["counters"]["forwarded"], 800, "{what}");
            for (side, ours, theirs) in [
                ("internet", "o4.pcap", "i4.pcap"),
                ("softwire", "o6.pcap", "i6.pcap"),
            ] {
                assert_eq!(
                    report[side],
                    json!({"received": 400, "transmitted": 400}),
                    "{what}"
                );
                // 4 bytes of check sequence are not in a capture.
                let len = if side == "internet" { 124 } else { 164 };
                for name in [ours, theirs] {
                    let frames = folder.frames(name);
                    assert!(frames.iter().all(|(_, frame)| frame.len() == len), "{what}");
                }
            }
        }
    }
}

/// The public addresses and ports that a generated capture goes to.
fn users(folder: &Temporary) -> Vec<Vec<u8>> {
    let frames = folder.frames("i4.pcap").into_iter();
    frames
        .map(|(_, frame)| [&frame[30..34], &frame[36..38]].concat())
        .collect()
}

#[test]
fn zipf_traffic_has_a_favorite_and_uniform_traffic_has_none() {
    // With a whole address each, the address is the user.
    for (flows, expected) in [("uniform", 5..60), ("zipf", 80..400)] {
        let folder = generated("0", "20", flows);
        let users = users(&folder);
        let first = users.iter().filter(|user| user[..4] == [198, 18, 0, 0]);
        let count = first.count();
        assert!(expected.contains(&count), "{flows}: {count}");
    }
}

#[test]
fn the_same_seed_generates_the_same_traffic() {
    let (a, b) = (generated("6", "50", "zipf"), generated("6", "50", "zipf"));
    assert_eq!(a.read("i4.pcap"), b.read("i4.pcap"));
    assert_eq!(a.read("i6.pcap"), b.read("i6.pcap"));
}

#[test]
fn generated_softwires_pass_yanglint() {
    for psid_length in ["0", "6", "16"] {
        let folder = generated(psid_length, "40", "uniform");
        match testkit::yang::validate(&folder.read("c.json")).unwrap() {
            Validation::Valid => {}
            Validation::Skipped => {
                eprintln!("skipped: no yanglint (libyang2-tools)");
                return;
            }
        }
    }
}

#[test]
fn generated_shared_sets_hold_no_system_ports() {
    for (psid_length, softwires) in [("6", "130"), ("16", "100")] {
        let folder = generated(psid_length, softwires, "uniform");
        let summary = folder.lwaftr(&["check", "c.toml", "--json"]).fine();
        let summary: serde_json::Value = serde_json::from_str(&summary).unwrap();
        assert_eq!(summary["system-port-sets"], 0);
    }
}

#[test]
fn check_prints_a_summary() {
    let folder = configured(TOML, SOFTWIRES);
    let out = folder.lwaftr(&["check", "c.toml"]).fine();
    let lines: Vec<_> = out.lines().map(|line| line.trim().to_owned()).collect();
    let words = |line: &String| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let lines: Vec<_> = lines.iter().map(words).collect();
    assert_eq!(
        lines[..6],
        [
            "instance b",
            "softwires 2 of at most 8",
            "B4s 2",
            "IPv4 addresses 1",
            "AFTR addresses 1",
            "PSID offset 6 length 8 2 softwires",
        ]
    );
    assert!(lines[6].starts_with("table ") && lines[6].ends_with(" set aside"));
    assert_eq!(lines[7], "slab 4.00 MiB");
    assert_eq!(lines.len(), 8);
}

#[test]
fn check_prints_json() {
    let folder = configured(TOML, SOFTWIRES);
    let out = folder.lwaftr(&["check", "--json", "c.toml"]).fine();
    let mut summary: serde_json::Value = serde_json::from_str(&out).unwrap();
    let summary = summary.as_object_mut().unwrap();
    let live = summary.remove("table-bytes").unwrap().as_u64().unwrap();
    let all = summary.remove("table-bytes-reserved").unwrap();
    assert!(live > 0 && live <= all.as_u64().unwrap());
    assert_eq!(
        serde_json::Value::from(summary.clone()),
        json!({
            "instance": "b",
            "softwires": 2,
            "softwires-max": 8,
            "b4s": 2,
            "ipv4-addresses": 1,
            "aftr-addresses": 1,
            "layouts": {"offset 6 length 8": 2},
            "system-port-sets": 0,
            "slab-bytes": 4_194_304,
        })
    );
}

//
#[test]
fn check_warns_about_shared_system_ports() {
    let softwires = SOFTWIRES.replace("\"psid-offset\": 6", "\"psid-offset\": 0");
    let softwires = softwires.replace("\"psid\": 53", "\"psid\": 3");
    let folder = configured(TOML, &softwires);
    let out = folder.lwaftr(&["check", "c.toml"]).fine();
    assert_eq!(
        out.lines().last(),
        Some("warning: R-022: 1 shared sets contain ports 0 to 1023 (RFC 7596 §5.1)")
    );
}

#[test]
fn a_reload_of_the_same_changes_nothing() {
    let folder = configured(TOML, SOFTWIRES);
    let out = folder
        .lwaftr(&["check", "c.toml", "--diff", "c.toml"])
        .fine();
    assert_eq!(
        out,
        "nothing would change\n0 softwires added, 0 removed, 0 changed, 2 unchanged; 0 settings differ\n"
    );
}

#[test]
fn a_reload_lists_what_it_adds_removes_and_changes() {
    let folder = configured(TOML, SOFTWIRES);
    folder.write(
        "d.toml",
        format!(
            "{}[forwarding]\nhop-limit = 7\n",
            TOML.replace("s.json", "d.json")
        ),
    );
    let softwires = SOFTWIRES.replace("\"psid\": 53", "\"psid\": 54");
    let softwires = softwires.replace(
        "\"binding-ipv6info\": \"2001:db8:1::1\"",
        "\"binding-ipv6info\": \"2001:db8:1::3\"",
    );
    let softwires = softwires.replace("\"softwire-num-max\": 8", "\"softwire-num-max\": 9");
    folder.write("d.json", softwires);
    let arguments = ["check", "c.toml", "--diff", "d.toml"];
    let out = folder.lwaftr(&arguments).fine();
    let lines: Vec<_> = out.lines().collect();
    let softwire = |psid, b4| {
        format!("192.0.2.1 psid {psid}/8 offset 6 b4 2001:db8:1::{b4} aftr 2001:db8:ffff::1")
    };
    assert_eq!(lines[0], format!("added {}", softwire(54, 2)));
    assert_eq!(lines[1], format!("removed {}", softwire(53, 2)));
    assert_eq!(
        lines[2],
        format!("changed {} was {}", softwire(52, 3), softwire(52, 1))
    );
    assert!(lines.contains(&"- softwire-num-max = 8"), "{out}");
    assert!(lines.contains(&"+ softwire-num-max = 9"), "{out}");
    assert!(lines.contains(&"+ forwarding.hop-limit = 7"), "{out}");
    let json = folder
        .lwaftr(&[&arguments[..], &["--json"]].concat())
        .fine();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["added"], json!([softwire(54, 2)]));
    assert_eq!(json["removed"], json!([softwire(53, 2)]));
    assert_eq!(json["unchanged"], 0);
    // Each with its old and its new value.
    let differ = json["settings"].as_array().unwrap().len() / 2;
    assert_eq!(
        lines.last().copied(),
        Some(&*format!(
            "1 softwires added, 1 removed, 1 changed, 0 unchanged; {differ} settings differ"
        ))
    );
}

#[test]
fn a_reload_that_names_a_default_changes_nothing() {
    let folder = configured(TOML, SOFTWIRES);
    folder.write("d.toml", format!("{TOML}[forwarding]\nhop-limit = 64\n"));
    let out = folder
        .lwaftr(&["check", "c.toml", "--diff", "d.toml"])
        .fine();
    assert!(out.starts_with("nothing would change\n"), "{out}");
}

#[test]
fn only_twenty_differences_of_a_kind_are_listed() {
    let folder = generated("6", "40", "uniform");
    folder.write("d.toml", TOML);
    folder.write("s.json", SOFTWIRES);
    let out = folder
        .lwaftr(&["check", "c.toml", "--diff", "d.toml"])
        .fine();
    let removed: Vec<_> = out
        .lines()
        .filter(|line| line.starts_with("removed "))
        .collect();
    assert_eq!(removed.len(), 21);
    assert_eq!(removed[20], "removed 20 more");
}

const LWAFTR: &str = env!("CARGO_BIN_EXE_lwaftr");
const DUMP: &str = env!("CARGO_BIN_EXE_lw4o6-dump");
const LAB: &str = env!("CARGO_BIN_EXE_lw4o6-lab");

#[test]
fn help_names_every_option() {
    let folder = temporary("help");
    let common = ["--help", "--version", "--log"];
    for (program, command, options) in [
        (
            LWAFTR,
            None,
            &["check", "replay", "generate", "migrate", "run", "--version"][..],
        ),
        (LWAFTR, Some("check"), &["<CONFIG>", "--diff", "--json"]),
        (
            LWAFTR,
            Some("replay"),
            &[
                "<CONFIG>",
                "--v4-in",
                "--v6-in",
                "--v4-out",
                "--v6-out",
                "--counters",
                "--seed",
                "--drain",
                "--json",
            ],
        ),
        (
            LWAFTR,
            Some("generate"),
            &[
                "--softwires",
                "--psid-length",
                "--packets",
                "--frame-size",
                "--flows",
                "uniform",
                "zipf",
                "--v4-out",
                "--v6-out",
                "--seed",
                "--output",
            ],
        ),
        (
            LWAFTR,
            Some("migrate"),
            &["<SNABB>", "--output", "--drop-unsupported"],
        ),
        (LWAFTR, Some("run"), &["<CONFIG>"]),
        (DUMP, None, &["<FILE>", "--json", "--version"]),
        (LAB, None, &["[SCENARIO]", "--list", "--json", "--version"]),
    ] {
        let arguments: Vec<_> = command.into_iter().chain(["--help"]).collect();
        let help = folder.run(program, &arguments).fine();
        let common = common.iter().filter(|option| **option != "--version");
        for option in options.iter().chain(common) {
            assert!(help.contains(option), "{arguments:?}: {option}\n{help}");
        }
    }
}

#[test]
fn each_program_says_its_version() {
    let folder = temporary("version");
    for (program, name) in [(LWAFTR, "lwaftr"), (DUMP, "lw4o6-dump"), (LAB, "lw4o6-lab")] {
        let version = folder.run(program, &["--version"]).fine();
        assert_eq!(version, format!("{name} {}\n", env!("CARGO_PKG_VERSION")));
    }
}

#[test]
fn every_log_level_is_taken() {
    let folder = configured(TOML, SOFTWIRES);
    for level in ["off", "error", "warn", "info", "debug", "trace"] {
        let said = folder.lwaftr(&["--log", level, "check", "c.toml"]);
        assert_eq!(said.code, 0, "{level}: {}", said.err);
    }
}
