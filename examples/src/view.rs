//! What the control half of a running router sees of its packet half, and asks of it.

use std::collections::BTreeMap;

use lw4o6_aftr::{CounterSnapshot, Side};
use lw4o6_wire::Instant;
use lw4o6_wire::ethernet::MacAddr;
use serde::Serialize;

use crate::packet_io::IoCounters;

/// The packet half of a running router.
///
/// Every answer is what the workers last made known; asking never stops them.
pub trait DataPlane: Send {
    /// The workers, first one first.
    fn workers(&self) -> Vec<WorkerView>;

    /// The interfaces: the Internet's, then the softwires' where that is another one.
    fn interfaces(&self) -> Vec<InterfaceView>;

    /// The next hops, in the order of [`Side::ALL`].
    fn next_hops(&self) -> Vec<NextHopView>;

    /// Sum of the workers' counters.
    fn counters(&self) -> CounterSnapshot;

    /// ARP and neighbor discovery, all workers together.
    fn neighbors(&self) -> BTreeMap<&'static str, u64>;

    /// Begins to follow packets, or ends it.
    fn trace(&mut self, request: Option<TraceRequest>);
}

/// What is to be followed, and where to.
#[derive(Debug)]
pub struct TraceRequest {
    /// Only packets of this IPv4 address.
    pub ipv4: Option<std::net::Ipv4Addr>,
    /// Only packets of this port.
    pub port: Option<u16>,
    /// Only packets of this B4.
    pub b4: Option<std::net::Ipv6Addr>,
    /// Only packets that are dropped or answered.
    pub drops: bool,
    /// Lines of JSON; who does not read them in time loses some.
    pub to: std::sync::mpsc::SyncSender<String>,
}

/// A thread that moves packets.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct WorkerView {
    /// From 0.
    pub number: usize,
    /// Its counters, by name; those of value 0 left out.
    pub counters: BTreeMap<&'static str, u64>,
    /// Whether its thread is there.
    pub alive: bool,
}

/// An interface, all workers together.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct InterfaceView {
    /// Its name in the configuration.
    pub name: String,
    /// Sides that it serves.
    pub sides: Vec<&'static str>,
    /// Whether frames can pass.
    pub up: bool,
    /// What was counted.
    pub counters: IoCounters,
}

/// The router of a side.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct NextHopView {
    /// Whose it is.
    #[serde(serialize_with = "side")]
    pub side: Side,
    /// What the configuration says.
    pub configured: String,
    /// Its Ethernet address, once known.
    #[serde(serialize_with = "mac")]
    pub mac: Option<MacAddr>,
    /// It has been asked for in vain.
    pub alarm: bool,
    /// Since when this is so.
    #[serde(skip)]
    pub since: Instant,
}

/// Name of a side in output.
#[must_use]
pub const fn side_name(side: Side) -> &'static str {
    match side {
        Side::Softwire => "softwire",
        Side::Internet => "internet",
    }
}

fn side<S: serde::Serializer>(side: &Side, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(side_name(*side))
}

fn mac<S: serde::Serializer>(mac: &Option<MacAddr>, serializer: S) -> Result<S::Ok, S::Error> {
    match mac {
        Some(mac) => serializer.collect_str(mac),
        None => serializer.serialize_none(),
    }
}
