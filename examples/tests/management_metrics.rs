//! Metrics and health, on both sockets: every number that was counted is told, and no other.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    reason = "a panic is a failed test"
)]

mod common;
#[path = "management/world.rs"]
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use hyper::Method;
use lw4o6_aftr::{Counter, DropReason};

use self::common::{SOFTWIRES, TOML};
use self::world::{MANAGEMENT, World, counted};

/// Values by name and labels, as they stand in the text; the text is checked on the way.
fn parsed(text: &str) -> BTreeMap<String, f64> {
    let (mut values, mut described, mut typed) =
        (BTreeMap::new(), BTreeSet::new(), BTreeMap::new());
    let mut ended = false;
    for line in text.lines() {
        assert!(!ended, "something behind # EOF: {line}");
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, help) = help.split_once(' ').unwrap();
            assert!(help.len() > 5, "{line}");
            assert!(described.insert(name.to_owned()), "twice: {line}");
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            typed.insert(name.to_owned(), kind.to_owned());
        } else if let Some(unit) = line.strip_prefix("# UNIT ") {
            let (name, unit) = unit.split_once(' ').unwrap();
            assert!(name.ends_with(&format!("_{unit}")), "{line}");
        } else if line == "# EOF" {
            ended = true;
        } else {
            let (name, value) = line.rsplit_once(' ').unwrap();
            let family = name.split('{').next().unwrap();
            let plain = family.strip_suffix("_total");
            let plain = plain.or(family.strip_suffix("_info")).unwrap_or(family);
            assert!(described.contains(plain), "no HELP for {line}");
            let kind = typed[plain].as_str();
            assert_eq!(kind == "counter", family.ends_with("_total"), "{line}");
            assert!(family.starts_with("lwaftr_"), "{line}");
            let value: f64 = value.parse().unwrap();
            assert!(
                values.insert(name.to_owned(), value).is_none(),
                "twice: {line}"
            );
        }
    }
    assert!(ended);
    values
}

#[test]
fn every_counter_and_drop_reason_is_a_metric_with_its_value() {
    let counters = counted();
    let world = World::new();
    world.plane.0.lock().unwrap().counters = counters.clone();
    let (status, text) = world.ask(Method::GET, "/metrics", "");
    assert_eq!(status, 200);
    let values = parsed(text.as_str().unwrap());
    for counter in Counter::ALL {
        let name = format!("lwaftr_{}_total", counter.as_str().replace('-', "_"));
        let value = values.get(&name).unwrap_or_else(|| panic!("no {name}"));
        assert_eq!(*value, counters.get(*counter) as f64, "{name}");
    }
    let mut dropped = 0.0;
    for reason in DropReason::ALL {
        let name = format!("lwaftr_dropped_packets_total{{reason=\"{reason}\"}}");
        assert_eq!(values[&name], counters.drops(*reason) as f64, "{name}");
        dropped += values[&name];
    }
    //
    assert_eq!(dropped, counters.dropped() as f64);
    assert_eq!(dropped, 2.0);
}

#[test]
fn the_state_of_the_program_is_in_the_metrics() {
    let world = World::new();
    let (_, text) = world.ask(Method::GET, "/metrics", "");
    let values = parsed(text.as_str().unwrap());
    let version = env!("CARGO_PKG_VERSION");
    for (name, value) in [
        ("lwaftr_softwires", 2.0),
        ("lwaftr_softwires_max", 8.0),
        ("lwaftr_softwires_quarantined", 0.0),
        ("lwaftr_requests_waiting", 0.0),
        ("lwaftr_table_version", 1.0),
        ("lwaftr_table_generation", 1.0),
        ("lwaftr_table_changes_total", 1.0),
        ("lwaftr_interface_up{interface=\"eth0\"}", 1.0),
        (
            "lwaftr_interface_received_total{interface=\"eth0\"}",
            1_234_567.0,
        ),
        (
            "lwaftr_interface_kernel_drops_total{interface=\"eth0\"}",
            3.0,
        ),
        ("lwaftr_next_hop_resolved{side=\"internet\"}", 1.0),
        ("lwaftr_next_hop_alarm{side=\"softwire\"}", 0.0),
        ("lwaftr_worker_alive{worker=\"0\"}", 1.0),
        (
            "lwaftr_worker_total{worker=\"0\",counter=\"forwarded\"}",
            41.0,
        ),
        (
            "lwaftr_neighbor_events_total{event=\"arp-requests-in\"}",
            7.0,
        ),
        ("lwaftr_store_failures_total", 0.0),
        ("lwaftr_log_failures_total", 0.0),
        ("lwaftr_reloads_total", 0.0),
        ("lwaftr_reload_failures_total", 0.0),
        ("lwaftr_healthy", 1.0),
        (&format!("lwaftr_build_info{{version=\"{version}\"}}"), 1.0),
    ] {
        assert_eq!(values.get(name), Some(&value), "{name}");
    }
    assert!(values["lwaftr_table_bytes"] > 0.0);
    assert!(values["lwaftr_table_reserved_bytes"] >= values["lwaftr_table_bytes"]);
    assert!(values["lwaftr_start_time_seconds"] > 1.7e9);
}

#[test]
fn every_counter_of_an_interface_is_a_metric() {
    let world = World::new();
    let (_, text) = world.ask(Method::GET, "/metrics", "");
    let values = parsed(text.as_str().unwrap());
    let counters = &world.get("/interfaces")[0]["counters"];
    for name in counters.as_object().unwrap().keys() {
        let name = name.replace('-', "_");
        let name = format!("lwaftr_interface_{name}_total{{interface=\"eth0\"}}");
        assert!(values.contains_key(&name), "{name}");
    }
}

#[test]
fn an_alarm_is_a_metric() {
    let world = World::new();
    world.plane.0.lock().unwrap().alarm = true;
    let (_, text) = world.ask(Method::GET, "/metrics", "");
    let values = parsed(text.as_str().unwrap());
    assert_eq!(
        values["lwaftr_alarm{kind=\"next-hop\",name=\"internet\"}"],
        1.0
    );
    assert_eq!(values["lwaftr_healthy"], 0.0);
}

/// Status line and text of a request over TCP.
fn tcp(port: u16, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: lwaftr\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head.lines().next().unwrap().to_owned(), body.to_owned())
}

#[test]
fn metrics_and_health_and_nothing_else_are_served_over_tcp() {
    let port = {
        let free = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        free.local_addr().unwrap().port()
    };
    let toml = format!("{TOML}{MANAGEMENT}metrics = \"127.0.0.1:{port}\"\n");
    let world = World::with(&toml, SOFTWIRES, None);
    let (status, text) = tcp(port, "/metrics");
    assert_eq!(status, "HTTP/1.1 200 OK");
    assert_eq!(parsed(&text)["lwaftr_softwires"], 2.0);
    assert_eq!(tcp(port, "/health").0, "HTTP/1.1 200 OK");
    for path in [
        "/status",
        "/softwires",
        "/config",
        "/ietf-softwire-br:br-instances",
    ] {
        assert_eq!(tcp(port, path).0, "HTTP/1.1 404 Not Found", "{path}");
    }
    assert_eq!(world.get("/status")["healthy"], true);
}
