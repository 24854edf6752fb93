//! One line of the log.

use std::net::{Ipv4Addr, Ipv6Addr};

use lw4o6_binding::{Binding, Clock, Expiry, Origin, SoftwireKey, Utc};
use lw4o6_wire::port_params::PortParams;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Most ranges of ports that are written out; of more the PSID has to do.
const MAX_RANGES: usize = 64;

/// One line of the log; what an event does not have is not in its line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Line {
    /// When.
    #[serde(with = "stamp")]
    pub time: Utc,
    /// What.
    pub event: EventName,
    /// Number of the change since the start of the program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<u64>,
    /// Number of the table after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// Public address of the softwire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv4: Option<Ipv4Addr>,
    /// Its PSID offset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub psid_offset: Option<u8>,
    /// Its PSID length.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub psid_len: Option<u8>,
    /// Its PSID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub psid: Option<u16>,
    /// Its ports, `first-last`, where these are not more than 64 ranges.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<String>,
    /// The B4.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub b4: Option<Ipv6Addr>,
    /// Length of the prefix that the B4 was entered with, where it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub b4_prefix_len: Option<u8>,
    /// Whose it was before, where it was replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old_b4: Option<Ipv6Addr>,
    /// Prefix of the subscriber.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subscriber: Option<String>,
    /// The AFTR address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aftr: Option<Ipv6Addr>,
    /// Who made the binding.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "origin")]
    pub origin: Option<Origin>,
    /// When the lease ends.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "maybe")]
    pub expires: Option<Utc>,
    /// When the quarantine ends.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "maybe")]
    pub until: Option<Utc>,
    /// Why the binding ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How many softwires the table has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub softwires: Option<u64>,
    /// How many lines are missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lines: Option<u64>,
    /// Number of the first change missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<u64>,
    /// Number of the last change missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<u64>,
    /// What the wall clock would have shown.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "maybe")]
    pub was: Option<Utc>,
}

/// What a line tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EventName {
    /// The program starts.
    Start,
    /// The program ends.
    Stop,
    /// The whole table follows.
    SnapshotBegin,
    /// One binding of the whole table.
    Snapshot,
    /// That was the whole table.
    SnapshotEnd,
    /// A softwire that was free is bound.
    Added,
    /// A softwire is bound to somebody else, or otherwise.
    Replaced,
    /// A lease goes on.
    Renewed,
    /// A binding ended.
    Removed,
    /// A softwire waits before others may have it.
    Quarantined,
    /// A softwire waits no more.
    QuarantineEnded,
    /// The whole table is replaced; what changes follows.
    BulkBegin,
    /// That was what changed.
    BulkEnd,
    /// The wall clock was set.
    Clock,
    /// Changes are missing.
    Lost,
    /// Lines are missing.
    LogLost,
    /// Something that a newer program tells.
    #[serde(other)]
    Unknown,
}

impl Line {
    /// A line that says nothing but that.
    #[must_use]
    pub const fn new(time: Utc, event: EventName) -> Self {
        Self {
            time,
            event,
            change: None,
            version: None,
            ipv4: None,
            psid_offset: None,
            psid_len: None,
            psid: None,
            ports: Vec::new(),
            b4: None,
            b4_prefix_len: None,
            old_b4: None,
            subscriber: None,
            aftr: None,
            origin: None,
            expires: None,
            until: None,
            reason: None,
            softwires: None,
            lines: None,
            first: None,
            last: None,
            was: None,
        }
    }

    /// The line with a softwire.
    #[must_use]
    pub(super) fn softwire(mut self, key: &SoftwireKey) -> Self {
        let SoftwireKey { ipv4, ports } = key;
        self.ipv4 = Some(*ipv4);
        self.psid_offset = Some(ports.offset());
        self.psid_len = Some(ports.len());
        self.psid = Some(ports.psid());
        let ranges = || ports.ranges();
        if ranges().take(MAX_RANGES + 1).count() <= MAX_RANGES {
            let text = |range: std::ops::RangeInclusive<u16>| {
                let (first, last) = range.into_inner();
                format!("{first}-{last}")
            };
            self.ports = ranges().map(text).collect();
        }
        self
    }

    /// The line with a binding.
    #[must_use]
    pub(super) fn binding(mut self, binding: &Binding, mask: u8, clock: &Clock) -> Self {
        self = self.softwire(&binding.key());
        self.b4 = Some(binding.b4);
        self.b4_prefix_len = Some(binding.prefix_len).filter(|len| *len != 128);
        self.subscriber = Some(binding.subscriber(mask).to_string());
        self.aftr = Some(binding.aftr);
        self.origin = Some(binding.origin);
        self.expires = binding.expires.at().map(|at| clock.utc_of(at));
        self
    }

    /// The softwire in the line.
    #[must_use]
    pub fn key(&self) -> Option<SoftwireKey> {
        let ports = PortParams::new(self.psid_offset?, self.psid_len?, self.psid?).ok()?;
        Some(SoftwireKey {
            ipv4: self.ipv4?,
            ports,
        })
    }

    /// The binding in the line; the end of its lease becomes a moment of the clock.
    #[must_use]
    pub fn to_binding(&self, clock: &Clock) -> Option<Binding> {
        let SoftwireKey { ipv4, ports } = self.key()?;
        let end = |at| Expiry::At(clock.instant_of(at));
        let binding = Binding::new(self.b4?, ipv4, ports, self.aftr?)
            .with_origin(self.origin.unwrap_or_default())
            .with_expiry(self.expires.map_or(Expiry::Never, end));
        Some(Binding {
            prefix_len: self.b4_prefix_len.unwrap_or(128),
            ..binding
        })
    }

    /// Whether the line has what its event needs.
    #[must_use]
    pub(super) fn is_whole(&self) -> bool {
        match self.event {
            EventName::Snapshot
            | EventName::Added
            | EventName::Replaced
            | EventName::Renewed
            | EventName::Removed => {
                self.key().is_some() && self.b4.is_some() && self.aftr.is_some()
            }
            EventName::Quarantined | EventName::QuarantineEnded => self.key().is_some(),
            EventName::Start
            | EventName::Stop
            | EventName::SnapshotBegin
            | EventName::SnapshotEnd
            | EventName::BulkBegin
            | EventName::BulkEnd
            | EventName::Clock
            | EventName::Lost
            | EventName::LogLost
            | EventName::Unknown => true,
        }
    }

    /// Appends the line and its end to `out`.
    pub(super) fn emit(&self, out: &mut Vec<u8>) {
        let before = out.len();
        if serde_json::to_writer(&mut *out, self).is_err() {
            // Strings and numbers always become JSON.
            debug_assert!(false, "{self:?}");
            out.truncate(before);
            return;
        }
        out.push(b'\n');
    }
}

/// A moment with six digits of a second, so that lines order as text.
fn text(at: Utc) -> String {
    let text = at.to_string();
    let text = text.trim_end_matches('Z');
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    format!("{whole}.{fraction:0<6}Z")
}

mod stamp {
    use super::{Deserialize, Deserializer, Serializer, Utc, text};

    pub(super) fn serialize<S: Serializer>(at: &Utc, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&text(*at))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Utc, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

mod maybe {
    use super::{Deserialize, Deserializer, Serializer, Utc, text};

    pub(super) fn serialize<S: Serializer>(
        at: &Option<Utc>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match at {
            Some(at) => serializer.serialize_str(&text(*at)),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Utc>, D::Error> {
        let text = Option::<std::borrow::Cow<'de, str>>::deserialize(from)?;
        let parse = |text: std::borrow::Cow<'_, str>| text.parse();
        text.map(parse)
            .transpose()
            .map_err(serde::de::Error::custom)
    }
}

mod origin {
    use super::{Deserialize, Deserializer, Origin, Serializer};

    pub(super) fn serialize<S: Serializer>(
        origin: &Option<Origin>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match origin {
            Some(origin) => serializer.serialize_str(origin.as_str()),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Origin>, D::Error> {
        let name = Option::<std::borrow::Cow<'de, str>>::deserialize(from)?;
        let known = |name: &str| {
            Origin::from_name(name)
                .ok_or_else(|| serde::de::Error::custom(format!("unknown origin {name}")))
        };
        name.map(|name| known(&name)).transpose()
    }
}
