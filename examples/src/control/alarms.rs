//! What an operator should look at.

use serde::Serialize;
use serde_json::json;

use super::{Answer, Control, Refusal};
use crate::view::side_name;

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Alarm {
    /// Kind: `next-hop`, `interface`, `worker`, `store`, `log`, `reload`.
    pub kind: &'static str,
    /// Which one.
    pub name: String,
    /// What is wrong.
    pub message: String,
}

/// What went wrong outside the packet half.
#[derive(Debug, Default)]
pub(super) struct Troubles {
    /// Why the store did not take the newest change.
    pub(super) store: Option<String>,
    /// How often that was.
    pub(super) store_failures: u64,
    /// Why the newest change is not in the log.
    pub(super) log: Option<String>,
    /// How often that was.
    pub(super) log_failures: u64,
    /// Why the newest configuration was refused.
    pub(super) reload: Option<String>,
    /// How often that was.
    pub(super) reload_failures: u64,
    /// How often a configuration was taken.
    pub(super) reloads: u64,
}

impl Control {
    /// Everything that is not as it should be.
    pub(super) fn alarms(&self) -> Vec<Alarm> {
        let mut alarms = Vec::new();
        let mut add = |kind, name: String, message: String| {
            alarms.push(Alarm {
                kind,
                name,
                message,
            });
        };
        for hop in self.data_plane.next_hops() {
            if hop.alarm {
                let what = format!("{} does not answer", hop.configured);
                add("next-hop", side_name(hop.side).to_owned(), what);
            }
        }
        for interface in self.data_plane.interfaces() {
            if !interface.up {
                add("interface", interface.name, "no frame can pass".to_owned());
            }
        }
        for worker in self.data_plane.workers() {
            if !worker.alive {
                let what = "its thread is gone".to_owned();
                add("worker", worker.number.to_string(), what);
            }
        }
        let Troubles {
            store, log, reload, ..
        } = &self.troubles;
        for (kind, trouble) in [("store", store), ("log", log), ("reload", reload)] {
            if let Some(what) = trouble {
                add(kind, String::new(), what.clone());
            }
        }
        alarms
    }

    /// Whether packets can pass: the table is there, next hops are known, nothing raises an alarm.
    pub(super) fn is_healthy(&self, alarms: &[Alarm]) -> bool {
        // A refused configuration leaves the old one at work.
        let serious = alarms.iter().any(|alarm| alarm.kind != "reload");
        !serious && self.is_loaded() && self.unresolved().is_empty()
    }

    pub(super) fn is_loaded(&self) -> bool {
        self.router.bindings.generation() > 0
    }

    fn unresolved(&self) -> Vec<&'static str> {
        let hops = self.data_plane.next_hops().into_iter();
        hops.filter(|hop| hop.mac.is_none())
            .map(|hop| side_name(hop.side))
            .collect()
    }

    pub(super) fn health(&self) -> Result<Answer, Refusal> {
        let alarms = self.alarms();
        Answer::json(&json!({
            "healthy": self.is_healthy(&alarms),
            "table-loaded": self.is_loaded(),
            "next-hops-unresolved": self.unresolved(),
            "alarms": alarms,
        }))
    }
}
