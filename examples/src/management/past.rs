//! Questions about the time before the program was started, answered by the log of bindings.
//

use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use lw4o6_binding::Utc;
use lw4o6_wire::Ipv6Prefix;
use serde_json::{Value, json};

use crate::binding_log::{Found, What, log_files, lookup};

/// Answers from the log at most.
const MOST_FOUND: usize = 10_000;

/// Where the log is, for the thread that answers questions.
#[derive(Clone, Debug)]
pub(super) struct Log(pub(super) Option<PathBuf>);

/// What is asked about, from what stands on a command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    /// An IPv4 address.
    Ipv4(Ipv4Addr),
    /// A B4, or all of a prefix.
    B4(Ipv6Prefix),
}

impl Subject {
    /// Reads an IPv4 address, or an IPv6 address or prefix.
    pub(super) fn of(text: &str) -> Option<Self> {
        if let Ok(ipv4) = text.parse() {
            return Some(Self::Ipv4(ipv4));
        }
        if let Ok(b4) = text.parse::<Ipv6Addr>() {
            return Some(Self::B4(Ipv6Prefix::host(b4)));
        }
        text.parse().ok().map(Self::B4)
    }

    /// What the log is asked; it keeps addresses by port.
    pub(super) fn question(self, port: Option<u16>) -> Option<What> {
        match self {
            Self::Ipv4(ipv4) => port.map(|port| What::Port(ipv4, port)),
            Self::B4(prefix) => Some(What::Subscriber(prefix)),
        }
    }
}

/// Asks the log at `path` and its older parts, in the form of the answer of a running program.
///
/// # Errors
///
/// Which file cannot be read, and why.
pub(super) fn ask(path: &Path, question: What, when: Utc) -> Result<Value, String> {
    let wrong = |error: std::io::Error| format!("{}: {error}", path.display());
    let (files, packed) = log_files(path).map_err(wrong)?;
    if files.is_empty() {
        return Err(wrong(std::io::ErrorKind::NotFound.into()));
    }
    let report = lookup(&files, question, when, MOST_FOUND).map_err(|error| error.to_string())?;
    let reach = report.reach;
    Ok(json!({
        "at": when.to_string(),
        "known-from": reach.map(|(first, _)| first.to_string()),
        "source": "log",
        "found": report.found.iter().map(found).collect::<Vec<_>>(),
        "truncated": report.truncated,
        "incomplete": report.incomplete,
        "lines": report.lines,
        "malformed": report.malformed,
        "malformed-lines": report.malformed_lines,
        "not-read": packed,
    }))
}

fn found(found: &Found) -> Value {
    let line = &found.line;
    let key = line.key();
    json!({
        "softwire": {
            "key": key.map(|key| crate::control::key_text(&key)),
            "ipv4": line.ipv4,
            "psid-offset": line.psid_offset,
            "psid-len": line.psid_len,
            "psid": line.psid,
            "ports": line.ports.join(","),
            "b4": line.b4,
            "aftr": line.aftr,
            "origin": line.origin.map(lw4o6_binding::Origin::as_str),
            "from": found.from.to_string(),
            "to": found.to.map(|to| to.to_string()),
        },
        "subscriber": line.subscriber,
        "reason": found.reason,
    })
}
