//! The commands that talk to a running lwaftr, run as their users run them.
#![expect(clippy::unwrap_used, reason = "a panic is a failed test")]

mod common;
#[path = "management/world.rs"]
mod world;

use serde_json::Value;

use self::common::{SOFTWIRES, TOML, configured};
use self::world::{MANAGEMENT, World, counted};

const ADD: [&str; 14] = [
    "softwire",
    "add",
    "--ipv4",
    "192.0.2.1",
    "--psid-len",
    "8",
    "--psid",
    "54",
    "--psid-offset",
    "6",
    "--b4",
    "2001:db8:1::3",
    "--br",
    "2001:db8:ffff::1",
];

#[test]
fn a_day_with_a_running_lwaftr() {
    let world = World::new();
    let out = world.cli(&["show"]).fine();
    assert!(out.contains("healthy"), "{out}");
    assert!(out.contains("2 of at most 8, 0 in quarantine"), "{out}");
    assert!(out.contains("version 1, generation 1, changed 20"), "{out}");
    let out = world.cli(&ADD).fine();
    assert_eq!(
        out,
        "1 softwire added; 3 softwires, version 2, generation 1\n"
    );
    let out = world.cli(&["softwire", "list"]).fine();
    assert!(out.contains("192.0.2.1/6,8,54"), "{out}");
    assert!(
        out.ends_with("\n3 softwires, version 2, generation 1\n"),
        "{out}"
    );
    let out = world.cli(&["set", "hop-limit", "17"]).fine();
    assert_eq!(out, "forwarding.hop-limit is 17, was 64\n");
    let out = world.cli(&["set", "df-policy", "outer-fragment"]).fine();
    assert_eq!(
        out,
        "forwarding.df-policy is \"outer-fragment\", was \"rfc2473\"\n"
    );
    let out = world.cli(&["lookup", "192.0.2.1:1240"]).fine();
    assert!(out.contains("2001:db8:1::3"), "{out}");
    let out = world
        .cli(&["softwire", "remove", "192.0.2.1/6,8,54"])
        .fine();
    assert_eq!(out, "removed; 2 softwires, version 3, generation 1\n");
    let said = world.cli(&["lookup", "192.0.2.1:1240"]);
    assert_eq!(
        (said.code, said.err.as_str()),
        (1, "error: nobody had that\n")
    );
    assert!(said.out.starts_with("nobody at 20"), "{}", said.out);
    let out = world.cli(&["lookup", "2001:db8:1::/56"]).fine();
    assert_eq!(out.lines().count(), 3, "{out}");
}

#[test]
fn a_reload_says_what_it_did() {
    let world = World::new();
    world
        .folder
        .write("s.json", SOFTWIRES.replace("\"psid\": 53", "\"psid\": 60"));
    let toml = format!("{TOML}{MANAGEMENT}mode = \"0660\"\n[forwarding]\nhop-limit = 5\n");
    world.folder.write("c.toml", toml);
    let told = "added 192.0.2.1 psid 60/8 offset 6 b4 2001:db8:1::2 aftr 2001:db8:ffff::1\n\
                removed 192.0.2.1 psid 53/8 offset 6 b4 2001:db8:1::2 aftr 2001:db8:ffff::1\n\
                - forwarding.hop-limit = 64\n\
                + forwarding.hop-limit = 5\n\
                1 softwires added, 1 removed, 0 changed, 1 unchanged; 1 settings differ\n\
                needs a restart: - management.mode = \"0600\"\n\
                needs a restart: + management.mode = \"0660\"\n";
    assert_eq!(world.cli(&["reload", "--diff"]).fine(), told);
    let told = format!("{told}in force; 2 softwires, version 2, generation 2\n");
    assert_eq!(world.cli(&["reload"]).fine(), told);
    world.folder.write("c.toml", "[instance]\n");
    let said = world.cli(&["reload"]);
    assert_eq!(said.code, 2);
    assert!(said.err.contains("c.toml"), "{}", said.err);
    assert!(said.err.contains("missing field"), "{}", said.err);
    let said = world.cli(&["show", "alarms"]);
    assert_eq!(said.code, 1);
    assert!(said.out.starts_with("ALARM reload: "), "{}", said.out);
}

#[test]
fn every_view_is_shown_for_people_and_as_json() {
    let counters = counted();
    let world = World::new();
    world.plane.0.lock().unwrap().counters = counters;
    for (what, part) in [
        ("status", "2 of at most 8"),
        ("softwires", "192.0.2.1/6,8,52"),
        ("counters", "dropped-ipv4-packets"),
        ("drops", "no-binding"),
        ("interfaces", "eth0 (internet): up"),
        ("interfaces", "1,234,567"),
        ("workers", "worker 0: at work"),
        ("next-hops", "02:00:00:00:01:04"),
        ("config", "file.internet.address = \"203.0.113.1\""),
        ("knobs", "forwarding.hop-limit = 64"),
        ("alarms", "no alarms"),
    ] {
        let out = world.cli(&["show", what]).fine();
        assert!(out.contains(part), "{what}: {out}");
        let out = world.cli(&["show", what, "--json"]).fine();
        assert!(serde_json::from_str::<Value>(&out).is_ok(), "{what}: {out}");
    }
    let drops = world.cli(&["show", "drops", "--json"]).fine();
    assert_eq!(
        serde_json::from_str::<Value>(&drops).unwrap()["no-binding"],
        2
    );
}

#[test]
fn a_view_is_shown_again_with_rates() {
    let world = World::new();
    let arguments = ["show", "interfaces", "--watch", "0.05", "--count", "2"];
    let out = world.cli(&arguments).fine();
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(
        lines
            .iter()
            .filter(|line| line.contains("eth0 (internet)"))
            .count(),
        2
    );
    assert_eq!(
        lines
            .iter()
            .filter(|line| line.contains("per second"))
            .count(),
        1,
        "{out}"
    );
    let received: Vec<_> = lines
        .iter()
        .filter(|line| line.contains(" received "))
        .collect();
    assert!(received[1].trim_end().ends_with(" 0"), "{out}");
    let out = world.cli(&[&arguments[..], &["--json"]].concat()).fine();
    assert_eq!(out.lines().count(), 2, "one object a line");
}

#[test]
fn softwires_are_added_from_a_file_and_listed_in_pages() {
    let world = World::new();
    let entry = |b4: u16, psid: u16| {
        format!(
            "{{\"binding-ipv6info\": \"2001:db8:{b4}::1\", \"binding-ipv4-addr\": \"192.0.2.1\",
              \"port-set\": {{\"psid-offset\": 6, \"psid-len\": 8, \"psid\": {psid}}},
              \"br-ipv6-addr\": \"2001:db8:ffff::1\"}}"
        )
    };
    let list = format!("[{},{},{}]", entry(7, 60), entry(8, 61), entry(9, 62));
    world.folder.write("more.json", &list);
    let out = world
        .cli(&[
            "softwire",
            "add",
            "--file",
            "more.json",
            "--origin",
            "pcp",
            "--lifetime",
            "600",
        ])
        .fine();
    assert_eq!(
        out,
        "3 softwires added; 5 softwires, version 4, generation 1\n"
    );
    let out = world.cli(&["softwire", "list", "--limit", "2"]).fine();
    assert!(out.contains("more: --after 192.0.2.1/6,8,53\n"), "{out}");
    let out = world.cli(&["softwire", "list", "--all", "--json"]).fine();
    let all: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(all["softwires"].as_array().unwrap().len(), 5);
    let out = world
        .cli(&["softwire", "list", "--b4", "2001:db8:8::1"])
        .fine();
    assert!(
        out.contains("192.0.2.1/6,8,61") && out.contains("pcp"),
        "{out}"
    );
    // The second one is in the way, so the first one is not added either.
    world
        .folder
        .write("two.json", format!("[{},{}]", entry(10, 63), entry(11, 62)));
    let said = world.cli(&["softwire", "add", "--file", "two.json"]);
    said.is_error(
        1,
        "binding-entry[2]: 192.0.2.1 (a=6 k=8 psid=62) is bound to 2001:db8:9::1 [R-023 (RFC 7596 §3)]",
    );
    assert_eq!(world.get("/status")["table"]["softwires"], 5);
}

#[test]
fn a_wrong_request_ends_with_code_two_and_its_rule() {
    let world = World::new();
    for (arguments, error) in [
        (
            &["set", "hop-limit", "0"][..],
            "forwarding.hop-limit: 0 would be dropped by the first router [docs/CONFIGURATION.md]",
        ),
        (
            &["set", "speed", "9"],
            "speed: there is no such knob; `lwaftr show knobs` lists them [docs/CONFIGURATION.md]",
        ),
        (
            &["softwire", "remove", "192.0.2.9/0,0,0"],
            "192.0.2.9/0,0,0: 192.0.2.9 is not bound [only what is bound can be removed]",
        ),
        (
            &["softwire", "remove", "x"],
            "`x` is no softwire, needs ADDR/a,k,psid such as 192.0.2.1/0,6,1",
        ),
        (
            &["lookup", "here"],
            "address: `here` is not an IPv4 address, or an IPv6 address or prefix",
        ),
    ] {
        world.cli(arguments).is_error(2, error);
    }
    let said = world.cli(&["softwire", "add", "--ipv4", "192.0.2.1"]);
    assert_eq!(said.code, 2);
    assert!(said.err.contains("--b4"), "{}", said.err);
}

#[test]
fn without_a_socket_the_error_says_how_to_start() {
    let folder = configured(TOML, SOFTWIRES);
    let said = folder.lwaftr(&["show", "--socket", "none.sock"]);
    assert_eq!(said.code, 1);
    let expected = "error: none.sock: No such file or directory (os error 2); is lwaftr running? \
                    `lwaftr run CONFIG` listens where [management] socket says; --socket PATH or \
                    LWAFTR_SOCKET names another one\n";
    assert_eq!(said.err, expected);
}

#[test]
fn the_environment_names_the_socket() {
    let world = World::new();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_lwaftr"))
        .args(["show", "alarms"])
        .env("LWAFTR_SOCKET", world.socket())
        .output()
        .unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "no alarms\n");
}

/// Runs `lwaftr` in the background, calls `act` until it ends, and returns what it printed.
fn followed(world: &World, arguments: &[&str], mut act: impl FnMut()) -> String {
    std::thread::scope(|scope| {
        let follower = scope.spawn(|| world.cli(arguments).fine());
        world.until("the command ends", || {
            act();
            follower.is_finished()
        });
        follower.join().unwrap()
    })
}

#[test]
fn events_are_followed() {
    let world = World::new();
    let mut psid = 60;
    let out = followed(&world, &["events", "--count", "2"], || {
        let number = psid.to_string();
        let mut add = ADD;
        add[7] = &number;
        world.cli(&add).fine();
        psid += 1;
    });
    let line = out.lines().next().unwrap();
    assert!(line.contains(" added 192.0.2.1/6,8,6"), "{out}");
    assert!(
        line.contains(" b4 2001:db8:1::3 aftr 2001:db8:ffff::1 origin operator, version "),
        "{out}"
    );
    assert_eq!(out.lines().count(), 2);
}

#[test]
fn packets_are_traced() {
    let world = World::new();
    let arguments = ["trace", "--b4", "2001:db8:1::1", "--drops", "--count", "1"];
    let out = followed(&world, &arguments, || {
        let plane = world.plane.0.lock().unwrap();
        if let Some(Some(request)) = plane.traces.first() {
            assert_eq!(request.b4, "2001:db8:1::1".parse().ok());
            assert!(request.drops);
            let line = "{\"checks\":[\"outer header\"],\"verdict\":\"drop no-b4\"}";
            let _ = request.to.try_send(line.to_owned());
        }
    });
    assert_eq!(out, "checks=[\"outer header\"] verdict=drop no-b4\n");
}

#[test]
fn every_command_has_a_help_of_its_own() {
    let folder = configured(TOML, SOFTWIRES);
    for command in [
        &["show"][..],
        &["softwire"],
        &["softwire", "add"],
        &["softwire", "remove"],
        &["softwire", "list"],
        &["set"],
        &["reload"],
        &["lookup"],
        &["trace"],
        &["events"],
    ] {
        let out = folder.lwaftr(&[command, &["--help"]].concat()).fine();
        assert!(out.contains("Usage: lwaftr "), "{out}");
        if command != ["softwire"] {
            assert!(out.contains("--socket <PATH>"), "{out}");
        }
    }
}

#[test]
fn what_the_program_does_not_remember_is_found_in_its_log() {
    // R-270
    let toml = format!("{TOML}{MANAGEMENT}\n[state]\nlog = \"b.log\"\n");
    let world = World::with(&toml, SOFTWIRES, None);
    let line = |time: &str, event: &str, more: &str| {
        format!(
            "{{\"time\":\"2026-11-19T{time}.000000Z\",\"event\":\"{event}\",\"change\":1,\"version\":7,\
             \"ipv4\":\"192.0.2.7\",\"psid-offset\":0,\"psid-len\":6,\"psid\":1,\"ports\":[\"1024-2047\"],\
             \"b4\":\"2001:db8:77::1\",\"subscriber\":\"2001:db8:77::/56\",\
             \"aftr\":\"2001:db8:ffff::1\",\"origin\":\"dhcp\"{more}}}\n"
        )
    };
    let log =
        line("10:00:00", "added", "") + &line("11:00:00", "removed", ",\"reason\":\"released\"");
    world.folder.write("b.log", log);
    let then = ["--at", "2026-11-19T10:30:00Z"];
    for subject in ["192.0.2.7:1030", "2001:db8:77::1", "2001:db8:77::/48"] {
        let out = world
            .cli(&[&["lookup", subject], &then[..]].concat())
            .fine();
        assert!(
            out.contains("192.0.2.7/0,6,1  1024-2047  2001:db8:77::1"),
            "{out}"
        );
        assert!(
            out.contains("2026-11-19T10:00:00Z  2026-11-19T11:00:00Z"),
            "{out}"
        );
        // The same without a program.
        let offline = ["lookup", subject, "--log-file", "b.log"];
        let offline = world.folder.lwaftr(&[&offline, &then[..]].concat());
        assert_eq!(offline.fine(), out);
    }
    let later = ["lookup", "192.0.2.7:1030", "--at", "2026-11-19T11:30:00Z"];
    assert_eq!(world.cli(&later).code, 1);
    let wrong = ["lookup", "192.0.2.7", "--log-file", "b.log"];
    world.folder.lwaftr(&wrong).is_error(
        2,
        "`192.0.2.7` is not an IPv4 address with a port, or an IPv6 address or prefix",
    );
    let missing = ["lookup", "192.0.2.7:1", "--log-file", "no.log"];
    world
        .folder
        .lwaftr(&missing)
        .is_error(1, "no.log: entity not found");
}

#[test]
fn softwires_are_counted_where_that_is_asked_for() {
    let toml = format!("{TOML}{MANAGEMENT}\n[run]\nsoftwire-counters = true\n");
    let world = World::with(&toml, SOFTWIRES, None);
    for _ in 0..1200 {
        world.packet_for("192.0.2.1:1232");
    }
    let list = world.get("/softwires");
    let traffic = |n: usize| list["softwires"][n]["traffic"].clone();
    assert_eq!(traffic(0)["downstream-packets"], 1200);
    assert_eq!(traffic(0)["downstream-bytes"], 1200 * 28);
    assert_eq!(traffic(1)["downstream-packets"], 0);
    let out = world.cli(&["softwire", "list"]).fine();
    assert!(out.contains("packets down"), "{out}");
    assert!(out.contains("  1,200  "), "{out}");
    // Another subscriber begins at zero.
    world
        .cli(&["softwire", "remove", "192.0.2.1/6,8,52"])
        .fine();
    let mut add = ADD;
    add[7] = "52";
    world.cli(&add).fine();
    let list = world.get("/softwires");
    assert_eq!(list["softwires"][0]["b4"], "2001:db8:1::3");
    assert_eq!(list["softwires"][0]["traffic"]["downstream-packets"], 0);
}
