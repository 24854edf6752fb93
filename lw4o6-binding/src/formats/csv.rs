//! CSV (RFC 4180): one softwire a line, for spreadsheets and scripts.
//!
//! ```text
//! b4,ipv4,psid-offset,psid-len,psid,aftr,origin,expires
//! 2001:db8::1,192.0.2.1,0,8,52,2001:db8:1::2,static,
//! 2001:db8:12:3400::/56,192.0.2.18,0,8,7,2001:db8:1::2,pcp,2026-11-20T19:05:32Z
//! ```
//!
//! `b4` is an address or a prefix. `psid` is right-aligned (R-024) and 0 where `psid-len` is 0
//! (R-025). `origin` is `static`, `operator`, `dhcp`, `pcp` or `peer`; empty is `static`.
//! `expires` is UTC; empty is never. Blanks around values and blank lines do not count. The header
//! must be there as it is above, so that columns cannot be mixed up.

use std::format;
use std::io::{self, Write};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::string::{String, ToString};
use std::vec::Vec;

use lw4o6_wire::{Ipv6Prefix, PortParams};

use crate::formats::error::quoted;
use crate::formats::json::address_or_prefix;
use crate::formats::{ImportError, ImportErrorKind, ImportedBinding, Source};
use crate::utc::{Clock, Utc};
use crate::{Binding, Expiry, Origin};

/// The columns, in their order.
pub const HEADER: [&str; 8] = [
    "b4",
    "ipv4",
    "psid-offset",
    "psid-len",
    "psid",
    "aftr",
    "origin",
    "expires",
];

const HEADER_RULE: &str = "the header b4,ipv4,psid-offset,psid-len,psid,aftr,origin,expires";

/// Reads every softwire, in the order of the text.
///
/// The softwires are checked one by one, not against each other; see
/// [`json::import`](crate::formats::json::import).
///
/// # Errors
///
/// The first line that is not as it should be.
pub fn import(text: &[u8], clock: Clock) -> Result<Vec<ImportedBinding>, ImportError> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .trim(csv::Trim::All)
        .from_reader(text);
    let mut record = csv::ByteRecord::new();
    let mut header_seen = false;
    let mut bindings = Vec::new();
    let mut lines = Lines {
        text,
        at: 0,
        line: 1,
    };
    while read(&mut reader, &mut record)? {
        let start = record.position().map_or(0, csv::Position::byte);
        let line = lines.of(start);
        if !header_seen {
            header(&record, line)?;
            header_seen = true;
            continue;
        }
        let binding = Fields::new(&record, line)?.binding(clock)?;
        let source = Source::Line(line);
        bindings.push(ImportedBinding { binding, source });
    }
    if !header_seen {
        let found = String::from("the end of the text");
        return Err(syntax(lines.line, HEADER_RULE, found));
    }
    Ok(bindings)
}

/// Reading from memory does not fail, and with `flexible` no record does.
fn read(
    reader: &mut csv::Reader<&[u8]>,
    record: &mut csv::ByteRecord,
) -> Result<bool, ImportError> {
    reader
        .read_byte_record(record)
        .map_err(|error| syntax(1, "CSV", quoted(&error.to_string())))
}

/// Counts lines; the reader's own count is that of the blank lines before a record.
struct Lines<'a> {
    text: &'a [u8],
    at: usize,
    line: u32,
}

impl Lines<'_> {
    /// The line of the record at or, after blank lines, behind `start`.
    fn of(&mut self, start: u64) -> u32 {
        let start = usize::try_from(start).unwrap_or(usize::MAX);
        let from_start = self.text.get(start..).unwrap_or_default();
        let blank = from_start.iter().take_while(|b| matches!(b, b'\r' | b'\n'));
        let end = start.saturating_add(blank.count());
        let passed = self.text.get(self.at..end).unwrap_or_default();
        let lines = passed.iter().filter(|b| **b == b'\n').count();
        self.at = end;
        self.line = self
            .line
            .saturating_add(u32::try_from(lines).unwrap_or(u32::MAX));
        self.line
    }
}

fn syntax(line: u32, expected: &'static str, found: String) -> ImportError {
    ImportError::on_line(line, ImportErrorKind::Syntax { expected, found })
}

fn header(record: &csv::ByteRecord, line: u32) -> Result<(), ImportError> {
    if record.iter().eq(HEADER.iter().map(|name| name.as_bytes())) {
        return Ok(());
    }
    let first = record.iter().next().unwrap_or_default();
    let start = String::from_utf8_lossy(first);
    Err(syntax(
        line,
        HEADER_RULE,
        format!("a line that starts with {}", quoted(&start)),
    ))
}

/// One line.
struct Fields<'a> {
    line: u32,
    fields: [&'a str; 8],
}

impl<'a> Fields<'a> {
    fn new(record: &'a csv::ByteRecord, line: u32) -> Result<Self, ImportError> {
        let given = record.len();
        let mut fields = [""; 8];
        if given != fields.len() {
            return Err(syntax(line, "8 fields", format!("{given}")));
        }
        for ((field, raw), name) in fields.iter_mut().zip(record).zip(HEADER) {
            *field = core::str::from_utf8(raw).map_err(|_| {
                let shown = quoted(&String::from_utf8_lossy(raw));
                value(line, name, shown, "UTF-8 text")
            })?;
        }
        Ok(Self { line, fields })
    }

    fn binding(&self, clock: Clock) -> Result<Binding, ImportError> {
        let [b4, ipv4, offset, len, psid, aftr, origin, expires] = self.fields;
        let [
            b4_name,
            ipv4_name,
            offset_name,
            len_name,
            psid_name,
            aftr_name,
            origin_name,
            end,
        ] = HEADER;
        let bits = "a number from 0 to 16";
        let rule = "an IPv6 address or prefix";
        let prefix: Ipv6Prefix = self.check(b4_name, b4, address_or_prefix(b4), rule)?;
        let ipv4: Ipv4Addr = self.check(ipv4_name, ipv4, ipv4.parse().ok(), "an IPv4 address")?;
        let aftr: Ipv6Addr = self.check(aftr_name, aftr, aftr.parse().ok(), "an IPv6 address")?;
        let offset = self.check(offset_name, offset, number(offset, 16_u8), bits)?;
        let len = self.check(len_name, len, number(len, 16_u8), bits)?;
        let rule = "a number from 0 to 65535";
        let psid = self.check(psid_name, psid, number(psid, u16::MAX), rule)?;
        let ports = PortParams::new(offset, len, psid).map_err(|error| {
            ImportError::on_line(self.line, ImportErrorKind::Conflict(error.to_string()))
        })?;
        let named = match origin {
            "" => Some(Origin::Static),
            name => Origin::from_name(name),
        };
        let rule = "static, operator, dhcp, pcp or peer";
        let origin = self.check(origin_name, origin, named, rule)?;
        let expiry = match expires {
            "" => Expiry::Never,
            text => {
                let rule = "a date and time like 2026-11-20T19:05:32Z";
                let utc = self.check(end, text, text.parse::<Utc>().ok(), rule)?;
                Expiry::At(clock.instant_of(utc))
            }
        };
        Ok(Binding::from_prefix(prefix, ipv4, ports, aftr)
            .with_origin(origin)
            .with_expiry(expiry))
    }

    fn check<T>(
        &self,
        name: &'static str,
        text: &str,
        read: Option<T>,
        rule: &'static str,
    ) -> Result<T, ImportError> {
        read.ok_or_else(|| value(self.line, name, quoted(text), rule))
    }
}

fn value(line: u32, key: &str, value: String, rule: &'static str) -> ImportError {
    let key = key.to_string();
    ImportError::on_line(line, ImportErrorKind::Value { key, value, rule })
}

/// A decimal number without sign, at most `max`.
fn number<T: FromStr + PartialOrd>(text: &str, max: T) -> Option<T> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|n| digits && *n <= max)
}

/// Writes `bindings` in the order given, header first.
///
/// # Errors
///
/// What `to` fails with.
pub fn export<'a>(
    mut to: impl Write,
    bindings: impl IntoIterator<Item = &'a Binding>,
    clock: Clock,
) -> io::Result<()> {
    writeln!(to, "{}", HEADER.join(","))?;
    for binding in bindings {
        let Binding {
            b4,
            prefix_len,
            ipv4,
            ports,
            aftr,
            origin,
            expires,
        } = binding;
        if *prefix_len < 128 {
            write!(to, "{}", binding.prefix())?;
        } else {
            write!(to, "{b4}")?;
        }
        let (offset, len, psid) = (ports.offset(), ports.len(), ports.psid());
        write!(to, ",{ipv4},{offset},{len},{psid},{aftr},{origin},")?;
        if let Expiry::At(at) = expires {
            write!(to, "{}", clock.utc_of(*at))?;
        }
        writeln!(to)?;
    }
    to.flush()
}

#[cfg(test)]
mod tests;
