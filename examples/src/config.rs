//! The configuration file of `lwaftr`: TOML for the program, RFC 8676 JSON for the softwires.
//!
//! A knob that the IETF model or our augmentation of it has is read from the JSON alone, so nothing
//! can be said twice. `docs/CONFIGURATION.md` lists every key.

mod file;
mod knobs;
mod program;
mod text;

use std::path::{Path, PathBuf};

use lw4o6_aftr::ConfigError;
use lw4o6_binding::formats::Place;
use lw4o6_binding::formats::json::{self, Instance};
use lw4o6_binding::{Clock, Utc};
use lw4o6_wire::Instant;
use toml::Spanned;

pub use self::file::{
    ConfigFile, Hop, InstanceSection, InternetSection, MacFilter, SoftwireSection,
};
pub use self::knobs::{
    B4IcmpSource, DfPolicy, DscpDecap, DscpEncap, Ecn, FlowHash, FlowLabel, ForeignIpv4,
    Forwarding, FragmentHandling, FragmentKnobs, IcmpKnobs, InboundEcho, InnerFragmentation,
    MssClamp, MssName, Pmtud, PoolSource, PrivateDestination, QuotedChecksum, ReassemblyKnobs,
    Switch, SystemPortPolicy, TableKnobs, UnboundDestination, UnboundSource, Uniform,
    UnknownProtocol,
};
pub use self::program::{Io, ManagementSection, RunSection, StateSection};
pub use self::text::{LinkAddress, Text};
use crate::error::{Failure, located};

/// Everything `lwaftr` needs to know, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// The TOML file.
    pub path: PathBuf,
    /// What it says.
    pub file: ConfigFile,
    /// The softwire file that it names.
    pub softwires: PathBuf,
    /// What that says.
    pub instance: Instance,
    /// The TOML file as it was read.
    text: String,
}

impl Config {
    /// Reads a configuration and the softwire file it names.
    ///
    /// # Errors
    ///
    /// Where a file cannot be read or does not hold what it should; says file, line or path, value and
    /// rule.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        Self::read_on(path, clock())
    }

    /// The same on the clock of a program that has been running for a while: the ends of leases are
    /// moments of it.
    ///
    /// # Errors
    ///
    /// Those of [`read`](Self::read).
    pub fn read_on(path: &Path, clock: Clock) -> Result<Self, Failure> {
        let text = crate::error::read(path)?;
        let file: ConfigFile = toml::from_str(&text)
            .map_err(|error| located(path, &text, error.span(), &needed(error.message())))?;
        file.check()
            .map_err(|(span, what)| located(path, &text, Some(span), &what))?;
        file.check_keys().map_err(|(section, key, what)| {
            let span = place(&text, section, key);
            located(path, &text, span, &format!("{section}.{key}: {what}"))
        })?;
        let softwires = path
            .parent()
            .unwrap_or(Path::new(""))
            .join(&file.instance.softwires);
        let instance = read_instance(&softwires, file.instance.name.as_deref(), clock)?;
        Ok(Self {
            path: path.to_owned(),
            file,
            softwires,
            instance,
            text,
        })
    }

    /// What the engine refuses about its configuration, at the line of the key it means.
    #[must_use]
    pub fn refused(&self, error: &ConfigError) -> Failure {
        if let ConfigError::Ipv6Mtu(mtu) = error {
            let payload = &self.instance.payload_mtu;
            let what = format!(
                "softwire-payload-mtu: {payload} bytes and headers are {mtu}, needs 1280 (RFC 8200 §5)"
            );
            return Failure::at_config(&self.softwires, &what);
        }
        let (section, key, rule) = self.refused_key(error);
        // A rule may compare two keys, and the other one be the one that was written.
        let span = place(&self.text, section, &key).or_else(|| {
            let of_slab = rule.contains("slab-bytes");
            of_slab.then(|| place(&self.text, "forwarding", "slab-bytes"))?
        });
        located(
            &self.path,
            &self.text,
            span,
            &format!("{section}.{key}: {rule}"),
        )
    }

    /// Section and key of what the engine refuses, and the rule.
    pub(crate) fn refused_key(&self, error: &ConfigError) -> (&'static str, String, String) {
        if let ConfigError::Ipv6Mtu(_) = error {
            let key = "softwire-payload-mtu".to_owned();
            return ("instance", key, error.to_string());
        }
        let what = error.to_string();
        let (knob, rule) = what.split_once(": ").unwrap_or(("", &what));
        let (section, key) = match knob {
            "aftr_addresses" => ("instance", "aftr-addresses".to_owned()),
            "own_ipv4" => ("internet", self.own_ipv4_key(error).to_owned()),
            "own_ipv6" => ("softwire", "address".to_owned()),
            "ipv4_mtu" => ("internet", "mtu".to_owned()),
            knob => {
                let (section, key) = knob.split_once('.').unwrap_or(("forwarding", knob));
                let section = match section {
                    "icmp" => "icmp",
                    "reassembly" => "reassembly",
                    "fragments" => "fragments",
                    _ => "forwarding",
                };
                (section, key.replace('_', "-"))
            }
        };
        (
            section,
            key,
            rule.replace("slab_bytes", "forwarding.slab-bytes"),
        )
    }

    /// Which key gave the own IPv4 address that is refused.
    fn own_ipv4_key(&self, error: &ConfigError) -> &'static str {
        let first = *self.file.internet.address.get_ref();
        let is_first = matches!(
            error,
            ConfigError::OwnIpv4(address) | ConfigError::ServiceAddress(address) if *address == first
        );
        if is_first {
            "address"
        } else {
            "more-addresses"
        }
    }
}

/// What a TOML error says, with the types of this program in words.
fn needed(message: &str) -> String {
    let Some((what, expected)) = message.rsplit_once(", expected ") else {
        return match message {
            "wanted string or table" => "needs a word in quotes".to_owned(),
            other => other.to_owned(),
        };
    };
    let needs = match expected {
        "u8" => "a number from 0 to 255".to_owned(),
        "u16" => "a number from 0 to 65535".to_owned(),
        "u32" => format!("a number from 0 to {}", u32::MAX),
        "u64" | "usize" => format!("a number from 0 to {}", i64::MAX), // what TOML can say
        "a boolean" => "true or false".to_owned(),
        "a string" | "path string" => "a text in quotes".to_owned(),
        "a sequence" => "a list in brackets".to_owned(),
        _ => return message.to_owned(),
    };
    let what = what.trim_start_matches("invalid type: ");
    format!(
        "{}, needs {needs}",
        what.trim_start_matches("invalid value: ")
    )
}

/// Where the value of a key stands in a TOML text.
fn place(text: &str, section: &str, key: &str) -> Option<std::ops::Range<usize>> {
    let file = toml::de::DeTable::parse(text).ok()?;
    let section = file.get_ref().get(section)?.get_ref().as_table()?;
    section.get(key).map(Spanned::span)
}

/// A clock that starts now, for times in files.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "a program knows the time")]
pub fn clock() -> Clock {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let micros = since.map_or(0, |since| {
        u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
    });
    Clock {
        instant: Instant::ZERO,
        utc: Utc::from_micros(micros),
    }
}

fn read_instance(path: &Path, name: Option<&str>, clock: Clock) -> Result<Instance, Failure> {
    let text = crate::error::read(path)?;
    let mut instances =
        json::import(text.as_bytes(), clock).map_err(|error| match error.place {
            Place::Column { line, column } => Failure::config(format!(
                "{}:{line}:{column}: {}",
                path.display(),
                error.kind
            )),
            Place::Line(_) | Place::Path(_) => Failure::at_config(path, &error),
        })?;
    let index = match name {
        None if instances.len() == 1 => Some(0),
        None => None,
        Some(name) => instances.iter().position(|instance| instance.name == name),
    };
    if let Some(index) = index {
        return Ok(instances.swap_remove(index));
    }
    let names: Vec<_> = instances.iter().map(|i| format!("`{}`", i.name)).collect();
    let names = if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    };
    let what = match name {
        Some(name) => format!("no bind-instance is named `{name}`; there is {names}"),
        None => format!("which bind-instance? Say instance.name; there is {names}"),
    };
    Err(Failure::at_config(path, &what))
}

/// A value without a place in a file.
#[must_use]
pub fn unplaced<T>(value: T) -> Spanned<T> {
    Spanned::new(0..0, value)
}
