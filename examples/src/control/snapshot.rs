//! Everything that metrics are made of, at one moment.

use lw4o6_aftr::CounterSnapshot;

use super::{Alarm, Control};
use crate::view::{InterfaceView, NextHopView, WorkerView};

/// Everything that metrics are made of, at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Of all workers together.
    pub counters: CounterSnapshot,
    /// ARP and neighbor discovery.
    pub neighbors: std::collections::BTreeMap<&'static str, u64>,
    /// The interfaces.
    pub interfaces: Vec<InterfaceView>,
    /// The workers.
    pub workers: Vec<WorkerView>,
    /// The next hops.
    pub next_hops: Vec<NextHopView>,
    /// Softwires in the table.
    pub softwires: usize,
    /// `softwire-num-max`.
    pub softwires_max: usize,
    /// Softwires in quarantine.
    pub quarantined: usize,
    /// Number of the table.
    pub version: u64,
    /// How often the whole table was loaded or replaced.
    pub generation: u64,
    /// Changes of the table since the start.
    pub changes: u64,
    /// Bytes of the table in use.
    pub table_live: usize,
    /// Bytes of the table that readers may still use.
    pub table_retired: usize,
    /// Bytes set aside for the table.
    pub table_reserved: usize,
    /// What is wrong.
    pub alarms: Vec<Alarm>,
    /// Whether packets can pass.
    pub healthy: bool,
    /// Microseconds of UTC at the start.
    pub started_micros: u64,
    /// Requests that wait for the store.
    pub waiting: usize,
    /// Changes that the store did not take.
    pub store_failures: u64,
    /// Changes that are not in the log.
    pub log_failures: u64,
    /// Configurations taken after the first.
    pub reloads: u64,
    /// Configurations refused.
    pub reload_failures: u64,
}

impl Control {
    pub(super) fn snapshot(&self) -> Snapshot {
        let bindings = &self.router.bindings;
        let memory = bindings.memory();
        let alarms = self.alarms();
        Snapshot {
            counters: self.data_plane.counters(),
            neighbors: self.data_plane.neighbors(),
            interfaces: self.data_plane.interfaces(),
            workers: self.data_plane.workers(),
            next_hops: self.data_plane.next_hops(),
            softwires: bindings.len(),
            softwires_max: bindings.config().softwires,
            quarantined: bindings.quarantined().count(),
            version: bindings.version(),
            generation: bindings.generation(),
            changes: bindings.last_change(),
            table_live: memory.map_or(0, |memory| memory.live),
            table_retired: memory.map_or(0, |memory| memory.retired),
            table_reserved: memory.map_or(0, |memory| memory.arena),
            healthy: self.is_healthy(&alarms),
            alarms,
            started_micros: self.started.as_micros(),
            waiting: self.waiting.len(),
            store_failures: self.troubles.store_failures,
            log_failures: self.troubles.log_failures,
            reloads: self.troubles.reloads,
            reload_failures: self.troubles.reload_failures,
        }
    }
}
