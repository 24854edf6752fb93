//! RFC 8676 data of the running instance.
//

use std::io::{self, Write};

use lw4o6_aftr::Counter;
use lw4o6_binding::formats::json::{
    Instance, Layout, Part, TableVersion, TrafficStat, export_part,
};
use lw4o6_binding::{Binding, Clock};

use super::{Answer, Control, ModelPart, Refusal};

/// A copy of what is to be written; who asked writes it, so that nobody else waits for that.
#[derive(Debug)]
pub struct Running {
    part: Part,
    instance: Instance,
    traffic: TrafficStat,
    clock: Clock,
}

impl Running {
    /// Writes RFC 7951 JSON.
    ///
    /// # Errors
    ///
    /// What `to` fails with.
    pub fn write(&self, to: impl Write) -> io::Result<()> {
        let Self {
            part,
            instance,
            traffic,
            clock,
        } = self;
        export_part(to, *part, instance, traffic, *clock, Layout::Pretty)
    }

    /// Name of the instance.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.instance.name
    }
}

impl Control {
    pub(super) fn model(&self, part: ModelPart) -> Result<Answer, Refusal> {
        let bindings = &self.router.bindings;
        let (part, wanted): (Part, Vec<Binding>) = match part {
            ModelPart::Instances => (Part::Instances, bindings.iter().copied().collect()),
            ModelPart::Instance => (Part::Instance, bindings.iter().copied().collect()),
            ModelPart::Table => (Part::Table, bindings.iter().copied().collect()),
            ModelPart::TrafficStat => (Part::TrafficStat, Vec::new()),
            ModelPart::Entry(prefix) => {
                let all = bindings.iter().filter(|b| b.prefix() == prefix);
                let entries: Vec<Binding> = all.copied().collect();
                if entries.is_empty() {
                    let path = format!("binding-entry={prefix}");
                    let what = "there is no such entry";
                    return Err(Refusal::new(404, path, "RFC 8040 §3.3", what));
                }
                (Part::Entries, entries)
            }
        };
        let now = &self.config.instance;
        let mut instance = Instance::new(
            now.name.clone(),
            now.softwire_num_max,
            now.payload_mtu,
            now.path_mru,
        );
        instance.hairpin = now.hairpin;
        instance.icmp_policy = now.icmp_policy;
        instance.default_aftr = now.default_aftr;
        instance.pools.clone_from(&now.pools);
        instance.version = Some(TableVersion {
            version: bindings.version(),
            date: Some(self.changed.to_string()),
        });
        instance.bindings = wanted.into_iter().map(Into::into).collect();
        Ok(Answer::Model(Box::new(Running {
            part,
            instance,
            traffic: self.traffic(),
            clock: self.clock,
        })))
    }

    fn traffic(&self) -> TrafficStat {
        let counters = self.data_plane.counters();
        let active = self.router.bindings.len();
        TrafficStat {
            discontinuity: self.started,
            active_softwires: u32::try_from(active).unwrap_or(u32::MAX),
            counters: Counter::ALL
                .iter()
                .map(|counter| (counter.as_str(), counters.get(*counter)))
                .collect(),
        }
    }
}
