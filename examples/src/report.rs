//! What a run counted, for people and as JSON.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use lw4o6_aftr::port::{Accounts, PortCounters, Received};
use lw4o6_aftr::{Counter, CounterSnapshot, DropReason, Side};
use serde::Serialize;

use crate::packet_io::IoCounters;

/// Counters of a finished run.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Report {
    /// Frames of the Internet side.
    pub internet: SideReport,
    /// Frames of the softwire side.
    pub softwire: SideReport,
    /// Frames handed to the owner's own stack.
    pub local: u64,
    /// Frames answered by the port, or kept.
    pub consumed: u64,
    /// Where every frame went.
    pub accounts: Books,
    /// RFC 8676 `traffic-stat` and the engine's other counters.
    pub counters: BTreeMap<&'static str, u64>,
    /// Dropped packets by reason, those that drew an answer included; reasons without one left out.
    pub drops: BTreeMap<&'static str, u64>,
    /// ARP and neighbor discovery.
    pub neighbors: BTreeMap<&'static str, u64>,
    /// What the kernel's interfaces counted, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub interfaces: BTreeMap<String, IoCounters>,
    /// Sides whose next hop was never resolved.
    #[serde(serialize_with = "sides")]
    pub unresolved: Vec<Side>,
    /// The run's clock at its end, in microseconds.
    pub clock_micros: u64,
}

/// Frames of one side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct SideReport {
    /// Frames in.
    pub received: u64,
    /// Frames out, control frames included.
    pub transmitted: u64,
}

/// Where every frame of a side went, by name; those of count 0 left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct SideAccounts {
    /// Frames that came in, and what became of them.
    pub received: BTreeMap<&'static str, u64>,
    /// Frames that left, and where they came from.
    pub sent: BTreeMap<&'static str, u64>,
}

/// The books of all workers together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Books {
    /// The side of the Internet.
    pub internet: SideAccounts,
    /// The side of the B4s.
    pub softwire: SideAccounts,
    /// Frames that the engine made besides those that came in.
    pub made: BTreeMap<&'static str, u64>,
    /// The first sum that does not come out, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Whether all do.
    pub closed: bool,
}

impl Books {
    /// In the words of the engine.
    #[must_use]
    pub fn of(accounts: &Accounts) -> Self {
        let side = |side| SideAccounts {
            received: named(accounts.received(side).iter()),
            sent: named(accounts.sent(side).iter()),
        };
        let error = accounts.check().err();
        Self {
            internet: side(Side::Internet),
            softwire: side(Side::Softwire),
            made: named(accounts.made.iter()),
            closed: error.is_none(),
            error: error.map(|error| error.to_string()),
        }
    }
}

fn named(counts: impl Iterator<Item = (&'static str, u64)>) -> BTreeMap<&'static str, u64> {
    counts.filter(|&(_, count)| count > 0).collect()
}

impl Report {
    /// Adds the counters of a worker and of the port around it.
    pub fn counted(&mut self, engine: &CounterSnapshot, port: &PortCounters) {
        for reason in DropReason::ALL {
            let dropped = engine.drops(*reason) + port.drops(*reason);
            if dropped > 0 {
                *self.drops.entry(reason.as_str()).or_default() += dropped;
            }
        }
        for counter in Counter::ALL {
            *self.counters.entry(counter.as_str()).or_default() += engine.get(*counter);
        }
        for (name, count) in port.neighbor_counters() {
            *self.neighbors.entry(name).or_default() += count;
        }
    }

    /// Takes over where every frame went.
    pub fn accounted(&mut self, accounts: &Accounts) {
        let side = |side| SideReport {
            received: accounts.received(side).frames,
            transmitted: accounts.sent(side).frames,
        };
        self.internet = side(Side::Internet);
        self.softwire = side(Side::Softwire);
        let received = &accounts.received;
        let local: u64 = received.iter().map(|side| side.local).sum();
        self.local = local + accounts.made.local;
        self.consumed = received.iter().map(Received::consumed).sum();
        self.accounts = Books::of(accounts);
    }

    /// A table for people.
    #[must_use]
    pub fn table(&self) -> String {
        let mut table = comfy_table::Table::new();
        table.load_preset(comfy_table::presets::NOTHING);
        table.set_header(["side", "in", "out"]);
        for (name, side) in [("Internet", self.internet), ("softwire", self.softwire)] {
            table.add_row([
                name.to_owned(),
                side.received.to_string(),
                side.transmitted.to_string(),
            ]);
        }
        let mut out = format!("{table}\n");
        if self.local > 0 {
            let _ = writeln!(out, "{} frames for the owner's own stack", self.local);
        }
        if self.drops.is_empty() {
            let _ = writeln!(out, "nothing dropped");
        }
        for (reason, count) in &self.drops {
            let _ = writeln!(out, "dropped {count} {reason}");
        }
        if let Some(error) = &self.accounts.error {
            let _ = writeln!(out, "the books do not close: {error}");
        }
        for (name, counters) in &self.interfaces {
            for (what, count) in counters.remarkable() {
                let _ = writeln!(out, "{name}: {count} {what}");
            }
        }
        for side in &self.unresolved {
            let _ = writeln!(
                out,
                "the next hop of the {} side did not answer",
                name(*side)
            );
        }
        out
    }
}

fn name(side: Side) -> &'static str {
    match side {
        Side::Softwire => "softwire",
        Side::Internet => "Internet",
    }
}

fn sides<S: serde::Serializer>(sides: &[Side], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(sides.iter().map(|side| name(*side).to_lowercase()))
}
