//! Knobs that are set while packets flow.
//

use std::collections::BTreeMap;
use std::time::Duration;

use lw4o6_binding::formats::json::{HairpinMode, IcmpPolicy, Instance};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Answer, Control, Refusal};
use crate::config::Config;
use crate::setup::aftr_config;

/// Knobs that a worker takes when it starts.
const FIXED: [&str; 1] = ["forwarding.slab-bytes"];

/// Sections of the TOML file whose keys are knobs.
const SECTIONS: [&str; 6] = [
    "forwarding",
    "icmp",
    "reassembly",
    "fragments",
    "table",
    "instance",
];

/// The knobs that the IETF model has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct ModelKnobs {
    softwire_payload_mtu: u16,
    softwire_path_mru: u16,
    hairpin_mode: Hairpin,
    allow_incoming_icmpv4: bool,
    icmpv4_rate: Option<u32>,
    generate_icmpv4_errors: bool,
    generate_icmpv6_errors: bool,
    icmpv6_rate: Option<u32>,
}

/// `hairpin-mode`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Hairpin {
    Local,
    ToIpv4Side,
    Drop,
}

impl ModelKnobs {
    fn of(instance: &Instance) -> Self {
        let policy = instance.icmp_policy;
        Self {
            softwire_payload_mtu: instance.payload_mtu,
            softwire_path_mru: instance.path_mru,
            hairpin_mode: match instance.hairpin {
                HairpinMode::Local => Hairpin::Local,
                HairpinMode::ToIpv4Side => Hairpin::ToIpv4Side,
                HairpinMode::Drop => Hairpin::Drop,
            },
            allow_incoming_icmpv4: policy.allow_incoming_icmpv4,
            icmpv4_rate: policy.icmpv4_rate,
            generate_icmpv4_errors: policy.generate_icmpv4_errors,
            generate_icmpv6_errors: policy.generate_icmpv6_errors,
            icmpv6_rate: policy.icmpv6_rate,
        }
    }

    fn apply(&self, instance: &mut Instance) {
        instance.payload_mtu = self.softwire_payload_mtu;
        instance.path_mru = self.softwire_path_mru;
        instance.hairpin = match self.hairpin_mode {
            Hairpin::Local => HairpinMode::Local,
            Hairpin::ToIpv4Side => HairpinMode::ToIpv4Side,
            Hairpin::Drop => HairpinMode::Drop,
        };
        instance.icmp_policy = IcmpPolicy {
            allow_incoming_icmpv4: self.allow_incoming_icmpv4,
            icmpv4_rate: self.icmpv4_rate,
            generate_icmpv4_errors: self.generate_icmpv4_errors,
            generate_icmpv6_errors: self.generate_icmpv6_errors,
            icmpv6_rate: self.icmpv6_rate,
        };
    }
}

/// The knobs of a configuration: those of the TOML file, and those of the model.
#[derive(Clone)]
struct Knobs {
    forwarding: crate::config::Forwarding,
    icmp: crate::config::IcmpKnobs,
    reassembly: crate::config::ReassemblyKnobs,
    fragments: crate::config::FragmentKnobs,
    table: crate::config::TableKnobs,
    model: ModelKnobs,
}

impl Knobs {
    fn of(config: &Config) -> Self {
        let file = &config.file;
        Self {
            forwarding: file.forwarding.clone(),
            icmp: file.icmp.clone(),
            reassembly: file.reassembly.clone(),
            fragments: file.fragments.clone(),
            table: file.table.clone(),
            model: ModelKnobs::of(&config.instance),
        }
    }

    fn apply(self, config: &mut Config) {
        let file = &mut config.file;
        self.model.apply(&mut config.instance);
        file.forwarding = self.forwarding;
        file.icmp = self.icmp;
        file.reassembly = self.reassembly;
        file.fragments = self.fragments;
        file.table = self.table;
    }

    fn set(&mut self, section: &str, key: &str, value: &Value) -> Result<(), String> {
        match section {
            "forwarding" => edit(&mut self.forwarding, key, value),
            "icmp" => edit(&mut self.icmp, key, value),
            "reassembly" => edit(&mut self.reassembly, key, value),
            "fragments" => edit(&mut self.fragments, key, value),
            "table" => edit(&mut self.table, key, value),
            _ => edit(&mut self.model, key, value),
        }
    }

    fn all(&self) -> BTreeMap<String, Value> {
        let mut all = BTreeMap::new();
        for (section, knobs) in [
            ("forwarding", json!(self.forwarding)),
            ("icmp", json!(self.icmp)),
            ("reassembly", json!(self.reassembly)),
            ("fragments", json!(self.fragments)),
            ("table", json!(self.table)),
            ("instance", json!(self.model)),
        ] {
            for (key, value) in knobs.as_object().into_iter().flatten() {
                all.insert(format!("{section}.{key}"), value.clone());
            }
        }
        all.entry("forwarding.encap-limit".to_owned())
            .or_insert(Value::Null);
        all
    }
}

/// Sets a key of a section, by the rules by which the file is read.
fn edit<T: Serialize + DeserializeOwned>(
    section: &mut T,
    key: &str,
    value: &Value,
) -> Result<(), String> {
    let mut all = serde_json::to_value(&*section).map_err(|error| error.to_string())?;
    if let Some(all) = all.as_object_mut() {
        all.insert(key.to_owned(), value.clone());
    }
    *section = serde_json::from_value(all).map_err(|error| error.to_string())?;
    Ok(())
}

impl Control {
    /// Every knob by its full name.
    pub(super) fn knobs(&self) -> BTreeMap<String, Value> {
        Knobs::of(&self.config).all()
    }

    pub(super) fn set(&mut self, name: &str, value: &Value) -> Result<Answer, Refusal> {
        let mut knobs = Knobs::of(&self.config);
        let full = full_name(name, &knobs.all())?;
        if FIXED.contains(&full.as_str()) {
            let rule = "a worker takes it when it starts";
            let what = "needs a restart: change the file and start again";
            return Err(Refusal::new(409, full, rule, what));
        }
        let was = knobs.all().remove(&full).unwrap_or_default();
        let (section, key) = full.split_once('.').unwrap_or(("", &full));
        let wrong = |what: String| Refusal::new(400, full.clone(), "docs/CONFIGURATION.md", what);
        knobs.set(section, key, value).map_err(wrong)?;
        let before = Knobs::of(&self.config);
        knobs.apply(&mut self.config);
        if let Err(refused) = self.put_in_force() {
            before.apply(&mut self.config);
            return Err(refused);
        }
        let is = self.knobs().remove(&full).unwrap_or_default();
        tracing::info!(knob = full, %was, %is, "set");
        Answer::json(&json!({ "knob": full, "was": was, "is": is }))
    }

    /// Gives the engine the knobs of the configuration.
    pub(super) fn put_in_force(&mut self) -> Result<(), Refusal> {
        let config = &self.config;
        let rule = "docs/CONFIGURATION.md";
        config.file.check_keys().map_err(|(section, key, what)| {
            Refusal::new(400, format!("{section}.{key}"), rule, what)
        })?;
        let grace = Duration::from_secs(config.file.forwarding.boot_grace);
        let aftr = aftr_config(config, grace);
        self.router.aftr.reconfigure(aftr).map_err(|error| {
            let (section, key, what) = config.refused_key(&error);
            Refusal::new(400, format!("{section}.{key}"), rule, what)
        })?;
        let mut policy = self.router.bindings.config().policy;
        policy.system_ports = config.file.table.system_ports.into();
        self.router.bindings.set_policy(self.now, policy);
        Ok(())
    }
}

/// `section.key` of a knob that may be named by its key alone.
fn full_name(name: &str, all: &BTreeMap<String, Value>) -> Result<String, Refusal> {
    if all.contains_key(name) {
        return Ok(name.to_owned());
    }
    let of = |section: &&str| all.contains_key(&format!("{section}.{name}"));
    let sections: Vec<&str> = SECTIONS.iter().copied().filter(of).collect();
    if let [section] = sections.as_slice() {
        return Ok(format!("{section}.{name}"));
    }
    let what = if sections.is_empty() {
        "there is no such knob; `lwaftr show knobs` lists them".to_owned()
    } else {
        let full = sections.iter().map(|section| format!("{section}.{name}"));
        format!("which one? {}", full.collect::<Vec<_>>().join(", "))
    };
    Err(Refusal::new(404, name, "docs/CONFIGURATION.md", what))
}
