//! The Prometheus exposition (OpenMetrics text).

use lw4o6_aftr::{Counter, DropReason};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter as Total;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use crate::control::Snapshot;
use crate::packet_io::IoCounters;
use crate::view::side_name;

/// Name and value of each label.
type Labels = Vec<(&'static str, String)>;

/// What [`exposition`] writes, as a content type.
pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// `snapshot` as OpenMetrics text.
///
/// # Errors
///
/// Where a name cannot be written, which no name here is.
pub fn exposition(snapshot: &Snapshot) -> Result<String, std::fmt::Error> {
    let mut registry = Registry::with_prefix("lwaftr");
    let version = vec![("version", env!("CARGO_PKG_VERSION"))];
    registry.register("build", "The program", Info::new(version));
    counters(&mut registry, snapshot);
    table(&mut registry, snapshot);
    interfaces(&mut registry, snapshot);
    workers(&mut registry, snapshot);
    state(&mut registry, snapshot);
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

fn counters(registry: &mut Registry, snapshot: &Snapshot) {
    let mut before = "";
    for counter in Counter::ALL {
        let help = counter.help().trim().trim_end_matches('.');
        let help = match help.strip_prefix("Bytes of them") {
            Some(more) => format!("{before}: bytes of them{more}"),
            None => help.to_owned(),
        };
        before = counter.help().trim().trim_end_matches('.');
        let name = counter.as_str();
        let value = snapshot.counters.get(*counter);
        let (name, unit) = match (name.strip_suffix("-bytes"), name.strip_suffix("-packets")) {
            (Some(name), _) => (name, Some(Unit::Bytes)),
            (_, Some(name)) => (name, Some(Unit::Other("packets".to_owned()))),
            (None, None) => (name, None),
        };
        total(registry, name, help.replace('`', ""), unit, value);
    }
    let help = "Packets not forwarded, by reason, those that drew an answer included";
    let drops = Family::<Labels, Total>::default();
    for reason in DropReason::ALL {
        let labels = vec![("reason", reason.as_str().to_owned())];
        drops
            .get_or_create(&labels)
            .inc_by(snapshot.counters.drops(*reason));
    }
    let packets = Unit::Other("packets".to_owned());
    registry.register_with_unit("dropped", help, packets, drops);
    let neighbors = Family::<Labels, Total>::default();
    for (event, count) in &snapshot.neighbors {
        let labels = vec![("event", (*event).to_owned())];
        neighbors.get_or_create(&labels).inc_by(*count);
    }
    registry.register("neighbor_events", "ARP and neighbor discovery", neighbors);
}

fn table(registry: &mut Registry, snapshot: &Snapshot) {
    for (name, help, value) in [
        ("softwires", "Softwires in the table", snapshot.softwires),
        (
            "softwires_max",
            "Most softwires, softwire-num-max",
            snapshot.softwires_max,
        ),
        (
            "softwires_quarantined",
            "Softwires in quarantine",
            snapshot.quarantined,
        ),
        (
            "requests_waiting",
            "Requests that wait for the store",
            snapshot.waiting,
        ),
    ] {
        gauge(registry, name, help, None, value as u64);
    }
    for (name, help, value) in [
        ("table", "Memory of the table in use", snapshot.table_live),
        (
            "table_retired",
            "Memory of replaced tables that workers may still read",
            snapshot.table_retired,
        ),
        (
            "table_reserved",
            "Memory set aside for the table",
            snapshot.table_reserved,
        ),
    ] {
        gauge(registry, name, help, Some(Unit::Bytes), value as u64);
    }
    for (name, help, value) in [
        (
            "table_version",
            "Number of the table, binding-table-versioning/version",
            snapshot.version,
        ),
        (
            "table_generation",
            "How often the whole table was loaded or replaced",
            snapshot.generation,
        ),
    ] {
        gauge(registry, name, help, None, value);
    }
    total(
        registry,
        "table_changes",
        "Changes of the table".to_owned(),
        None,
        snapshot.changes,
    );
}

/// Name, help and value of each counter of an interface.
fn io_counters(counters: &IoCounters) -> Vec<(String, String, u64)> {
    let value = serde_json::to_value(counters).unwrap_or_default();
    let fields = value.as_object().into_iter().flatten();
    let all = fields.map(|(name, value)| {
        let help = IO_HELP.iter().find(|(known, _)| known == name);
        let help = help.map_or_else(|| format!("Frames: {name}"), |(_, help)| (*help).to_owned());
        (name.clone(), help, value.as_u64().unwrap_or_default())
    });
    all.collect()
}

/// What the counters of an interface count.
const IO_HELP: &[(&str, &str)] = &[
    ("received", "Frames received and passed on"),
    ("transmitted", "Frames sent"),
    (
        "too-long",
        "Frames longer than the interface's MTU allows, not taken",
    ),
    ("cut", "Joined segments that were cut apart"),
    (
        "not-cut",
        "Joined segments of a kind that is not cut, not taken",
    ),
    (
        "checksums-completed",
        "Checksums completed for a sender on the same machine",
    ),
    ("tags-restored", "VLAN tags put back"),
    ("not-sent", "Frames that the kernel did not take"),
    (
        "kernel-drops",
        "Frames that the kernel dropped because we were late",
    ),
    ("link-losses", "Times that the interface went away"),
];

fn interfaces(registry: &mut Registry, snapshot: &Snapshot) {
    let up = Family::<Labels, Gauge>::default();
    let labels = |name: &str| vec![("interface", name.to_owned())];
    for interface in &snapshot.interfaces {
        up.get_or_create(&labels(&interface.name))
            .set(interface.up.into());
    }
    registry.register("interface_up", "Whether frames can pass", up);
    for (name, help, _) in io_counters(&IoCounters::default()) {
        let family = Family::<Labels, Total>::default();
        for interface in &snapshot.interfaces {
            let counters = io_counters(&interface.counters);
            let value = counters.iter().find(|(other, _, _)| *other == name);
            let value = value.map_or(0, |(_, _, value)| *value);
            family.get_or_create(&labels(&interface.name)).inc_by(value);
        }
        let name = format!("interface_{}", name.replace('-', "_"));
        registry.register(name, help, family);
    }
    let resolved = Family::<Labels, Gauge>::default();
    let alarm = Family::<Labels, Gauge>::default();
    for hop in &snapshot.next_hops {
        let labels = vec![("side", side_name(hop.side).to_owned())];
        resolved
            .get_or_create(&labels)
            .set(hop.mac.is_some().into());
        alarm.get_or_create(&labels).set(hop.alarm.into());
    }
    let help = "Whether the Ethernet address of the next hop is known";
    registry.register("next_hop_resolved", help, resolved);
    let help = "Whether the next hop was asked for in vain";
    registry.register("next_hop_alarm", help, alarm);
}

fn workers(registry: &mut Registry, snapshot: &Snapshot) {
    let alive = Family::<Labels, Gauge>::default();
    let counted = Family::<Labels, Total>::default();
    for worker in &snapshot.workers {
        let number = worker.number.to_string();
        alive
            .get_or_create(&vec![("worker", number.clone())])
            .set(worker.alive.into());
        for (name, count) in &worker.counters {
            let labels = vec![("worker", number.clone()), ("counter", (*name).to_owned())];
            counted.get_or_create(&labels).inc_by(*count);
        }
    }
    registry.register(
        "worker_alive",
        "Whether the worker's thread is there",
        alive,
    );
    let help = "Counters of each worker, by name; those of value 0 left out";
    registry.register("worker", help, counted);
}

fn state(registry: &mut Registry, snapshot: &Snapshot) {
    for (name, help, value) in [
        (
            "store_failures",
            "Changes that the store did not take",
            snapshot.store_failures,
        ),
        (
            "log_failures",
            "Changes that are not in the log",
            snapshot.log_failures,
        ),
        (
            "reloads",
            "Configurations taken after the first",
            snapshot.reloads,
        ),
        (
            "reload_failures",
            "Configurations refused",
            snapshot.reload_failures,
        ),
    ] {
        total(registry, name, help.to_owned(), None, value);
    }
    gauge(
        registry,
        "healthy",
        "Whether packets can pass",
        None,
        snapshot.healthy.into(),
    );
    let started = snapshot.started_micros / 1_000_000;
    let help = "Start of the program, since 1970";
    gauge(registry, "start_time", help, Some(Unit::Seconds), started);
    let alarms = Family::<Labels, Gauge>::default();
    for alarm in &snapshot.alarms {
        let labels = vec![
            ("kind", alarm.kind.to_owned()),
            ("name", alarm.name.clone()),
        ];
        alarms.get_or_create(&labels).set(1);
    }
    registry.register("alarm", "What an operator should look at", alarms);
}

fn total(registry: &mut Registry, name: &str, help: String, unit: Option<Unit>, value: u64) {
    let counter = Total::<u64>::default();
    counter.inc_by(value);
    let name = name.replace('-', "_");
    match unit {
        Some(unit) => registry.register_with_unit(name, help, unit, counter),
        None => registry.register(name, help, counter),
    }
}

fn gauge(registry: &mut Registry, name: &str, help: &str, unit: Option<Unit>, value: u64) {
    let gauge: Gauge = Gauge::default();
    gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
    match unit {
        Some(unit) => registry.register_with_unit(name, help, unit, gauge),
        None => registry.register(name, help, gauge),
    }
}
