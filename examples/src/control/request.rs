//! What may be asked of a running lwAFTR, and the answers.

use std::net::{Ipv4Addr, Ipv6Addr};

use lw4o6_binding::{Binding, Clock, Origin, SoftwireKey, Utc};
use lw4o6_wire::Ipv6Prefix;
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

use super::model::Running;
use super::parts::Stored;
use super::snapshot::Snapshot;
use crate::config::Config;
use crate::error::Failure;

/// Something that [`Control`](super::Control) has to look at.
#[derive(Debug)]
pub enum Input {
    /// Somebody asks.
    Call {
        /// For what.
        request: Request,
        /// Where the answer goes.
        reply: Reply,
    },
    /// The store has an outcome.
    Stored(Stored),
    /// The configuration was read again.
    Read(Result<Box<Config>, Failure>),
    /// SIGHUP: the log is opened anew, the configuration read and applied.
    Reload,
    /// The wall clock stepped.
    Clock(Clock),
    /// The thread of this worker has ended, and not because it was told to.
    WorkerEnded(usize),
    /// SIGTERM: see [`Control::is_stopping`](super::Control::is_stopping).
    Stop,
}

/// Where an answer goes. Who asked may have gone away.
pub type Reply = oneshot::Sender<Result<Answer, Refusal>>;

/// What may be asked.
#[derive(Debug)]
pub enum Request {
    /// The state as a whole.
    Status,
    /// Whether all is well, and if not, why.
    Health,
    /// Everything that metrics are made of.
    Snapshot,
    /// Counters by name, those of value 0 included.
    Counters,
    /// Interfaces and what they counted.
    Interfaces,
    /// Workers and what they counted.
    Workers,
    /// Next hops.
    NextHops,
    /// The configuration in force.
    Config,
    /// Every knob and its value.
    Knobs,
    /// Softwires, a page at a time.
    Softwires(Page),
    /// RFC 8676 data.
    Model(ModelPart),
    /// Puts softwires into the table.
    Add(Addition),
    /// Takes a softwire out of the table.
    Remove(SoftwireKey),
    /// Sets a knob until the next reload that says otherwise.
    Set {
        /// `section.key`, or the key alone where it is the only one.
        name: String,
        /// Its value as in the configuration file, as JSON.
        value: serde_json::Value,
    },
    /// Reads the configuration again.
    Reload {
        /// Only says what would change.
        diff: bool,
    },
    /// Puts another table in the place of the whole one: the JSON of a `binding-table`.
    ReplaceTable(Vec<u8>),
    /// Who had a port of an address.
    Who {
        /// The address.
        ipv4: Ipv4Addr,
        /// The port; without one, everybody on the address.
        port: Option<u16>,
        /// When; now without.
        at: Option<Utc>,
    },
    /// What a B4 or all of a prefix had.
    What {
        /// The prefix; a /128 for one B4.
        b4: Ipv6Prefix,
        /// When; now without.
        at: Option<Utc>,
    },
    /// Follows changes of the table from now on.
    Events,
    /// Follows packets from now on.
    Trace(crate::view::TraceRequest),
    /// Ends that.
    TraceEnd,
}

/// Softwires to be added.
#[derive(Clone, Debug, Default)]
pub struct Addition {
    /// JSON: a `binding-entry` of `ietf-softwire-br`, or a list of them.
    pub entries: Vec<u8>,
    /// Origin of those that name none.
    pub origin: Option<Origin>,
    /// Seconds that those without an end last.
    pub lifetime: Option<u64>,
    /// Whether what is bound to the same softwire gives way.
    pub replace: bool,
}

/// Which softwires are wanted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Page {
    /// Those after this one.
    pub after: Option<SoftwireKey>,
    /// At most so many.
    pub limit: usize,
    /// Only on this address.
    pub ipv4: Option<Ipv4Addr>,
    /// Only of this B4.
    pub b4: Option<Ipv6Addr>,
}

/// A part of the RFC 8676 tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModelPart {
    /// The whole document.
    Instances,
    /// The instance.
    Instance,
    /// Its binding table.
    Table,
    /// An entry of it.
    Entry(Ipv6Prefix),
    /// Its counters.
    TrafficStat,
}

/// The answer to a [`Request`].
#[derive(Debug)]
pub enum Answer {
    /// As JSON.
    Json(serde_json::Value),
    /// RFC 8676 data, to be written out by who asked.
    Model(Box<Running>),
    /// What metrics are made of.
    Snapshot(Box<Snapshot>),
    /// Lines of JSON, as they come.
    Lines(mpsc::Receiver<String>),
}

impl Answer {
    /// Anything that can be written as JSON.
    pub(super) fn json(value: &impl Serialize) -> Result<Self, Refusal> {
        serde_json::to_value(value)
            .map(Self::Json)
            .map_err(|error| Refusal::internal(error.to_string()))
    }
}

/// Why a request came to nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// Status code of HTTP.
    #[serde(skip)]
    pub status: u16,
    /// What is wrong: a path in the request's body, a name, a file.
    pub path: String,
    /// The rule that it breaks.
    pub rule: String,
    /// All of it in words.
    pub message: String,
}

impl Refusal {
    /// A refusal with the given status code of HTTP.
    #[must_use]
    pub fn new(
        status: u16,
        path: impl Into<String>,
        rule: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            status,
            path: path.into(),
            rule: rule.into(),
            message: message.into(),
        }
    }

    /// Something went wrong that nobody can help.
    #[must_use]
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(500, "", "no rule is broken, the program is", message)
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.path.is_empty() {
            return f.write_str(&self.message);
        }
        write!(f, "{}: {}", self.path, self.message)
    }
}

/// A softwire for people and programs.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct SoftwireView {
    /// Key, as in the paths of softwires: `ADDR/a,k,psid`.
    pub key: String,
    /// Public address.
    pub ipv4: Ipv4Addr,
    /// PSID offset, bits.
    pub psid_offset: u8,
    /// PSID length, bits.
    pub psid_len: u8,
    /// PSID.
    pub psid: u16,
    /// Ranges of ports, the first and the last where there are more than two.
    pub ports: String,
    /// The B4.
    pub b4: Ipv6Addr,
    /// The tunnel's near end.
    pub aftr: Ipv6Addr,
    /// Who made it.
    pub origin: &'static str,
    /// When it ends, UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
    /// First moment of what is asked about, UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The moment from which on it was no more, UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// What passed through it, where softwires are counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traffic: Option<TrafficView>,
}

/// What passed through a softwire.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct TrafficView {
    /// Packets from the B4.
    pub upstream_packets: u64,
    /// Bytes of them.
    pub upstream_bytes: u64,
    /// Packets to the B4.
    pub downstream_packets: u64,
    /// Bytes of them.
    pub downstream_bytes: u64,
}

impl SoftwireView {
    /// The view of `binding`.
    #[must_use]
    pub fn of(binding: &Binding, clock: &Clock) -> Self {
        let ports = binding.ports;
        Self {
            key: key_text(&binding.key()),
            ipv4: binding.ipv4,
            psid_offset: ports.offset(),
            psid_len: ports.len(),
            psid: ports.psid(),
            ports: port_text(binding),
            b4: binding.b4,
            aftr: binding.aftr,
            origin: binding.origin.as_str(),
            expires: (binding.expires.at()).map(|at| clock.utc_of(at).to_string()),
            from: None,
            to: None,
            traffic: None,
        }
    }
}

/// `ADDR/a,k,psid`.
#[must_use]
pub fn key_text(key: &SoftwireKey) -> String {
    let SoftwireKey { ipv4, ports } = key;
    format!("{ipv4}/{},{},{}", ports.offset(), ports.len(), ports.psid())
}

/// Reads what [`key_text`] writes.
///
/// # Errors
///
/// What is wrong with it.
pub fn parse_key(text: &str) -> Result<SoftwireKey, String> {
    let wrong = || format!("`{text}` is no softwire, needs ADDR/a,k,psid such as 192.0.2.1/0,6,1");
    let (ipv4, ports) = text.split_once('/').ok_or_else(wrong)?;
    let mut numbers = ports.split(',');
    let mut next = || numbers.next().ok_or_else(wrong);
    let (offset, len, psid) = (next()?, next()?, next()?);
    if numbers.next().is_some() {
        return Err(wrong());
    }
    let ports = lw4o6_wire::PortParams::new(
        offset.parse().map_err(|_| wrong())?,
        len.parse().map_err(|_| wrong())?,
        psid.parse().map_err(|_| wrong())?,
    );
    Ok(SoftwireKey {
        ipv4: ipv4.parse().map_err(|_| wrong())?,
        ports: ports.map_err(|error| format!("`{text}`: {error}"))?,
    })
}

fn port_text(binding: &Binding) -> String {
    let mut ranges = binding.ports.ranges();
    let Some(first) = ranges.next() else {
        return String::new();
    };
    let text = |range: &std::ops::RangeInclusive<u16>| {
        if range.start() == range.end() {
            return range.start().to_string();
        }
        format!("{}-{}", range.start(), range.end())
    };
    let Some(second) = ranges.next() else {
        return text(&first);
    };
    match ranges.last() {
        None => format!("{},{}", text(&first), text(&second)),
        Some(last) => format!("{},{},…,{}", text(&first), text(&second), text(&last)),
    }
}
