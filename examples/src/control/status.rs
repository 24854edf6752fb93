//! The state as a whole.

use std::collections::BTreeMap;

use lw4o6_binding::table::TableMemory;
use serde_json::{Value, json};

use super::{Answer, Control, Refusal};

impl Control {
    pub(super) fn status(&self) -> Result<Answer, Refusal> {
        let alarms = self.alarms();
        let uptime = self.clock.utc_of(self.now).as_micros();
        let uptime = uptime.saturating_sub(self.started.as_micros()) / 1_000_000;
        let workers = self.data_plane.workers();
        let counters = self.data_plane.counters();
        Answer::json(&json!({
            "program": env!("CARGO_PKG_VERSION"),
            "instance": self.config.instance.name,
            "config": self.config.path,
            "started": self.started.to_string(),
            "uptime-seconds": uptime,
            "healthy": self.is_healthy(&alarms),
            "alarms": alarms,
            "table": self.table_state(),
            "workers": {
                "number": workers.len(),
                "alive": workers.iter().filter(|worker| worker.alive).count(),
            },
            "dropped": counters.dropped(),
            "reloads": self.troubles.reloads,
            "store": self.config.file.state.store,
            "log": self.config.file.state.log,
        }))
    }

    /// The binding table in numbers.
    pub(super) fn table_state(&self) -> Value {
        let bindings = &self.router.bindings;
        let memory = bindings.memory().unwrap_or(TableMemory {
            arena: 0,
            live: 0,
            retired: 0,
            softwires: 0,
        });
        let mut origins: BTreeMap<&str, u64> = BTreeMap::new();
        for binding in bindings.iter() {
            *origins.entry(binding.origin.as_str()).or_default() += 1;
        }
        json!({
            "softwires": bindings.len(),
            "softwires-max": bindings.config().softwires,
            "origins": origins,
            "quarantined": bindings.quarantined().count(),
            "version": bindings.version(),
            "generation": bindings.generation(),
            "changes": bindings.last_change(),
            "changed": self.changed.to_string(),
            "bytes": memory.live,
            "bytes-retired": memory.retired,
            "bytes-reserved": memory.arena,
        })
    }

    pub(super) fn counters(&self) -> Result<Answer, Refusal> {
        let counters = self.data_plane.counters();
        let named = lw4o6_aftr::Counter::ALL.iter();
        let drops = lw4o6_aftr::DropReason::ALL.iter();
        let named: BTreeMap<_, _> = named.map(|c| (c.as_str(), counters.get(*c))).collect();
        let drops: BTreeMap<_, _> = drops.map(|r| (r.as_str(), counters.drops(*r))).collect();
        Answer::json(&json!({
            "counters": named,
            "drops": drops,
            "dropped": counters.dropped(),
            "neighbors": self.data_plane.neighbors(),
        }))
    }

    pub(super) fn show_config(&self) -> Result<Answer, Refusal> {
        Answer::json(&json!({
            "path": self.config.path,
            "softwires": self.config.softwires,
            "file": self.config.file,
            "instance": {
                "name": self.config.instance.name,
                "softwire-num-max": self.config.instance.softwire_num_max,
                "softwire-payload-mtu": self.config.instance.payload_mtu,
                "softwire-path-mru": self.config.instance.path_mru,
                "hairpin-mode": self.config.instance.hairpin.as_str(),
            },
        }))
    }
}
