//! What a run counted, for people and as JSON.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use lw4o6_aftr::port::{EthernetPort, Nic, PortVerdict};
use lw4o6_aftr::{Counter, DropReason, Side};
use lw4o6_wire::Instant;
use serde::Serialize;

use crate::packet_io::IoCounters;
use crate::replay::INTERNET_NIC;

/// Counters of a finished run.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Report {
    /// Frames of the Internet side's capture or interface.
    pub internet: SideReport,
    /// Frames of the softwire side's.
    pub softwire: SideReport,
    /// Frames handed to the owner's own stack.
    pub local: u64,
    /// Frames answered by the port, or kept.
    pub consumed: u64,
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
#[derive(Clone, Copy, Debug, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct SideReport {
    /// Frames in.
    pub received: u64,
    /// Frames out, control frames included.
    pub transmitted: u64,
}

impl Report {
    /// Counts a frame that arrived on `nic` and what became of it.
    pub fn received(&mut self, nic: Nic, verdict: PortVerdict) {
        self.side(nic).received += 1;
        self.polled(verdict);
    }

    /// Counts what the engine made of its own.
    pub fn polled(&mut self, verdict: PortVerdict) {
        match verdict {
            PortVerdict::Transmit(nic) => self.side(nic).transmitted += 1,
            PortVerdict::Local(..) => self.local += 1,
            PortVerdict::Consumed => self.consumed += 1,
            PortVerdict::Drop(_) => {}
        }
    }

    /// Takes over the counters of a port and its worker.
    pub fn counted(&mut self, port: &EthernetPort, now: Instant) {
        let engine = port.worker().counters();
        for reason in DropReason::ALL {
            let dropped = engine.drops(*reason) + port.counters().drops(*reason);
            if dropped > 0 {
                *self.drops.entry(reason.as_str()).or_default() += dropped;
            }
        }
        for counter in Counter::ALL {
            *self.counters.entry(counter.as_str()).or_default() += engine.get(*counter);
        }
        for (name, count) in port.counters().neighbor_counters() {
            *self.neighbors.entry(name).or_default() += count;
        }
        self.clock_micros = now.as_micros();
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

    fn side(&mut self, nic: Nic) -> &mut SideReport {
        if nic == INTERNET_NIC {
            &mut self.internet
        } else {
            &mut self.softwire
        }
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
