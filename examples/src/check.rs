//! `lwaftr check`: validates a configuration, and says what a reload would change.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

use lw4o6_binding::Binding;
use lw4o6_binding::table::arena_words;
use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::error::Failure;
use crate::setup::{Router, bindings_of, table_config};

/// Most differences that are printed one by one.
const MOST_LISTED: usize = 20;

/// What a configuration amounts to.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Summary {
    /// Name of the bind-instance.
    pub instance: String,
    /// Softwires.
    pub softwires: usize,
    /// `softwire-num-max`.
    pub softwires_max: u32,
    /// B4 addresses.
    pub b4s: usize,
    /// Public IPv4 addresses with a softwire.
    pub ipv4_addresses: usize,
    /// Tunnel endpoint addresses.
    pub aftr_addresses: usize,
    /// Softwires by port layout: PSID offset and length.
    pub layouts: BTreeMap<String, usize>,
    /// Shared sets that contain ports 0 to 1023.
    pub system_port_sets: usize,
    /// Bytes of memory the table takes now.
    pub table_bytes: usize,
    /// Bytes of address space set aside for it, a reload of `softwires-max` included.
    pub table_bytes_reserved: usize,
    /// Bytes of a worker's slab.
    pub slab_bytes: usize,
}

/// Checks a configuration as a start would.
///
/// # Errors
///
/// Everything that would keep `run` from starting.
pub fn check(config: &Config) -> Result<Summary, Failure> {
    let router = Router::new(config, [0; 32], Duration::ZERO)?;
    let mut layouts: BTreeMap<String, usize> = BTreeMap::new();
    let (mut b4s, mut addresses, mut aftrs) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    let mut system_port_sets = 0;
    for binding in bindings_of(&config.instance) {
        let ports = binding.ports;
        let layout = format!("offset {} length {}", ports.offset(), ports.len());
        *layouts.entry(layout).or_default() += 1;
        b4s.insert(binding.b4);
        addresses.insert(binding.ipv4);
        aftrs.insert(binding.aftr);
        system_port_sets += usize::from(binding.shares_system_ports());
    }
    let table = table_config(&config.instance, [0; 32]);
    Ok(Summary {
        instance: config.instance.name.clone(),
        softwires: router.bindings.len(),
        softwires_max: config.instance.softwire_num_max,
        b4s: b4s.len(),
        ipv4_addresses: addresses.len(),
        aftr_addresses: aftrs.len(),
        layouts,
        system_port_sets,
        table_bytes: router.bindings.memory().map_or(0, |memory| memory.live),
        table_bytes_reserved: arena_words(&table).saturating_mul(8),
        slab_bytes: config.file.forwarding.slab_bytes,
    })
}

impl Summary {
    /// A table for people.
    #[must_use]
    pub fn table(&self) -> String {
        let mut table = comfy_table::Table::new();
        table.load_preset(comfy_table::presets::NOTHING);
        let of = |part: usize| format!("{part} of at most {}", self.softwires_max);
        table.add_row(["instance", &self.instance]);
        table.add_row(["softwires", &of(self.softwires)]);
        table.add_row(["B4s", &self.b4s.to_string()]);
        table.add_row(["IPv4 addresses", &self.ipv4_addresses.to_string()]);
        table.add_row(["AFTR addresses", &self.aftr_addresses.to_string()]);
        for (layout, count) in &self.layouts {
            table.add_row([format!("PSID {layout}"), format!("{count} softwires")]);
        }
        let memory = indicatif::HumanBytes(self.table_bytes as u64);
        let reserved = indicatif::HumanBytes(self.table_bytes_reserved as u64);
        table.add_row(["table", &format!("{memory}, {reserved} set aside")]);
        table.add_row([
            "slab",
            &indicatif::HumanBytes(self.slab_bytes as u64).to_string(),
        ]);
        let mut out = format!("{table}\n");
        if self.system_port_sets > 0 {
            let _ = writeln!(
                out,
                "warning: R-022: {} shared sets contain ports 0 to 1023 (RFC 7596 §5.1)",
                self.system_port_sets
            );
        }
        out
    }
}

/// What a reload from one configuration to another would change.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Differences {
    /// Softwires that would appear.
    pub added: Vec<String>,
    /// Softwires that would go.
    pub removed: Vec<String>,
    /// Softwires of which something changes.
    pub changed: Vec<String>,
    /// Softwires that stay as they are.
    pub unchanged: usize,
    /// Lines of the program's configuration that differ: `-` old, `+` new.
    pub settings: Vec<String>,
}

/// Compares two configurations, the one in force and the new one.
///
/// # Errors
///
/// Where one of them cannot be written as text.
pub fn differences(old: &Config, new: &Config) -> Result<Differences, Failure> {
    let key = |binding: &Binding| (binding.ipv4, binding.ports);
    let before: BTreeMap<_, _> = bindings_of(&old.instance).map(|b| (key(b), *b)).collect();
    let after: BTreeMap<_, _> = bindings_of(&new.instance).map(|b| (key(b), *b)).collect();
    let mut differences = Differences::default();
    for (softwire, binding) in &after {
        match before.get(softwire) {
            None => differences.added.push(line(binding)),
            Some(same) if same == binding => differences.unchanged += 1,
            Some(other) => {
                differences
                    .changed
                    .push(format!("{} was {}", line(binding), line(other)));
            }
        }
    }
    let gone = before
        .iter()
        .filter(|(softwire, _)| !after.contains_key(*softwire));
    differences.removed = gone.map(|(_, binding)| line(binding)).collect();
    differences.settings = settings(old, new)?;
    Ok(differences)
}

fn line(binding: &Binding) -> String {
    let Binding {
        b4,
        ipv4,
        ports,
        aftr,
        ..
    } = binding;
    format!(
        "{ipv4} psid {}/{} offset {} b4 {b4} aftr {aftr}",
        ports.psid(),
        ports.len(),
        ports.offset()
    )
}

/// The lines of the two TOML files, as they are understood, that stand in one of them only.
fn settings(old: &Config, new: &Config) -> Result<Vec<String>, Failure> {
    let flat = |config: &Config| -> Result<BTreeSet<String>, Failure> {
        let mut value = toml::Value::try_from(&config.file)
            .map_err(|error| Failure::at_config(&config.path, &error))?;
        // Where the softwires stand is no difference in what they are.
        if let Some(instance) = value
            .get_mut("instance")
            .and_then(toml::Value::as_table_mut)
        {
            instance.remove("softwires");
        }
        // A section that is left out is one of defaults.
        let file = &config.file;
        let sections = [
            ("forwarding", toml::Value::try_from(&file.forwarding)),
            ("icmp", toml::Value::try_from(&file.icmp)),
            ("reassembly", toml::Value::try_from(&file.reassembly)),
            ("fragments", toml::Value::try_from(&file.fragments)),
            ("table", toml::Value::try_from(&file.table)),
            ("run", toml::Value::try_from(&file.run)),
            ("state", toml::Value::try_from(&file.state)),
            ("management", toml::Value::try_from(&file.management)),
        ];
        for (name, section) in sections {
            let section = section.map_err(|error| Failure::at_config(&config.path, &error))?;
            if let Some(all) = value.as_table_mut() {
                all.insert(name.to_owned(), section);
            }
        }
        let mut lines = BTreeSet::new();
        flatten("", &value, &mut lines);
        let instance = &config.instance;
        lines.insert(format!("softwire-num-max = {}", instance.softwire_num_max));
        lines.insert(format!("softwire-payload-mtu = {}", instance.payload_mtu));
        lines.insert(format!("softwire-path-mru = {}", instance.path_mru));
        lines.insert(format!("hairpin-mode = {}", instance.hairpin.as_str()));
        lines.insert(format!("icmp-policy = {:?}", instance.icmp_policy));
        Ok(lines)
    };
    let (old, new) = (flat(old)?, flat(new)?);
    let removed = old.difference(&new).map(|line| format!("- {line}"));
    let added = new.difference(&old).map(|line| format!("+ {line}"));
    Ok(removed.chain(added).collect())
}

fn flatten(name: &str, value: &toml::Value, lines: &mut BTreeSet<String>) {
    let Some(table) = value.as_table() else {
        lines.insert(format!("{name} = {value}"));
        return;
    };
    for (key, value) in table {
        let name = if name.is_empty() {
            key.clone()
        } else {
            format!("{name}.{key}")
        };
        flatten(&name, value, lines);
    }
}

impl Differences {
    /// Whether a reload would change nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let Self {
            added,
            removed,
            changed,
            unchanged: _,
            settings,
        } = self;
        added.is_empty() && removed.is_empty() && changed.is_empty() && settings.is_empty()
    }

    /// A list for people, at most twenty lines of each kind.
    #[must_use]
    pub fn list(&self) -> String {
        let mut out = String::new();
        if self.is_empty() {
            let _ = writeln!(out, "nothing would change");
        }
        let kinds = [
            ("added", &self.added),
            ("removed", &self.removed),
            ("changed", &self.changed),
        ];
        for (kind, lines) in kinds {
            for line in lines.iter().take(MOST_LISTED) {
                let _ = writeln!(out, "{kind} {line}");
            }
            if lines.len() > MOST_LISTED {
                let _ = writeln!(out, "{kind} {} more", lines.len() - MOST_LISTED);
            }
        }
        for setting in &self.settings {
            let _ = writeln!(out, "{setting}");
        }
        let name = |line: &String| {
            line.get(2..)
                .and_then(|line| Some(line.split_once(" = ")?.0.to_owned()))
        };
        let names: BTreeSet<_> = self.settings.iter().filter_map(name).collect();
        let _ = writeln!(
            out,
            "{} softwires added, {} removed, {} changed, {} unchanged; {} settings differ",
            self.added.len(),
            self.removed.len(),
            self.changed.len(),
            self.unchanged,
            names.len(),
        );
        out
    }
}
