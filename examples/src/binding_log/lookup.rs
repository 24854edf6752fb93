//! Questions about the past, answered from the files of the log (RFC 7422 §2).
//!
//! The files are read once, line by line, oldest first; of the table only what the question is
//! about is kept.
//!
//! Times are those of the wall clock. Where it was set back, a time of day came twice, and there
//! may be two answers; both are given.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lw4o6_binding::{Binding, Change, Clock, History, RemoveReason, SoftwireKey, Utc};
use lw4o6_wire::b4_addr::Ipv6Prefix;
use serde::Serialize;

use super::line::{EventName, Line};

/// Longest line that is looked at; one of ours has less than 2 KiB.
const MAX_LINE: usize = 64 << 10;
/// Most malformed lines that are named.
const MAX_NAMED: usize = 20;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// Who had this port of this address.
    Port(Ipv4Addr, u16),
    /// What this subscriber had: a B4 address as /128, or a prefix.
    Subscriber(Ipv6Prefix),
}

/// A binding that held at the time asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Found {
    /// The newest line about it that was written at or before the time asked for, or the first
    /// one after.
    pub line: Line,
    /// Since when it held, or since when the log knows of it.
    #[serde(serialize_with = "utc")]
    pub from: Utc,
    /// Whether it may have held before `from`, which is as far as the log goes back.
    pub from_start: bool,
    /// When it ended; `None` while it goes on at the end of the log.
    #[serde(serialize_with = "maybe_utc", skip_serializing_if = "Option::is_none")]
    pub to: Option<Utc>,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What the files say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Report {
    /// The answers, those of one softwire in order of time.
    pub found: Vec<Found>,
    /// Whether there were more answers than asked for at most.
    pub truncated: bool,
    /// Whether lines or changes around the time asked for are missing in the log.
    pub incomplete: bool,
    /// How many lines were read.
    pub lines: u64,
    /// How many of them are none of ours, or damaged.
    pub malformed: u64,
    /// The first 20 of these: `FILE:LINE: why`.
    pub malformed_lines: Vec<String>,
    /// Time of the first and of the last line.
    #[serde(skip)]
    pub reach: Option<(Utc, Utc)>,
}

/// A file that could not be read.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {error}")]
pub struct LookupError {
    /// The file.
    pub path: PathBuf,
    /// Why.
    pub error: io::Error,
}

/// Answers a question from log files, given oldest first. At most `max` answers are kept.
///
/// # Errors
///
/// Where a file cannot be read. Lines that are malformed are counted and named instead.
//
pub fn lookup(
    files: &[impl AsRef<Path>],
    what: What,
    when: Utc,
    max: usize,
) -> Result<Report, LookupError> {
    let mut follower = Follower::new(what, when, max);
    let mut report = read(files, |line| follower.line(&line))?;
    follower.finish(&mut report);
    Ok(report)
}

/// Fills a history from log files, given oldest first, so that it knows of the time before the
/// start of the program. The ends of leases become moments of the clock.
///
/// # Errors
///
/// Those of [`lookup`].
//
pub fn fill_history(
    files: &[impl AsRef<Path>],
    clock: &Clock,
    history: &mut History,
) -> Result<Report, LookupError> {
    let mut whole: Option<Vec<Binding>> = None;
    read(files, |line| {
        let binding = line.to_binding(clock);
        let change = match (line.event, binding) {
            (EventName::SnapshotBegin, _) => {
                whole = Some(Vec::new());
                return;
            }
            (EventName::Snapshot, Some(binding)) => {
                if let Some(whole) = &mut whole {
                    whole.push(binding);
                }
                return;
            }
            (EventName::SnapshotEnd, _) => {
                let Some(bindings) = whole.take() else {
                    return;
                };
                Change::BulkReplaced {
                    version: line.version.unwrap_or(0),
                    bindings: Arc::new(bindings),
                }
            }
            (EventName::Added | EventName::Replaced, Some(binding)) => Change::Replaced {
                old: binding,
                new: binding,
            },
            (EventName::Removed, Some(binding)) if has(history, &binding) => Change::Removed {
                binding,
                reason: RemoveReason::Released,
            },
            _ => return,
        };
        history.follow(line.time, &change);
    })
}

/// Whether the binding goes on, as far as the history knows.
fn has(history: &History, binding: &Binding) -> bool {
    let port = binding.ports.ranges().next().map(|range| *range.start());
    let span = port.and_then(|port| history.who(binding.ipv4, port, Utc::MAX));
    span.is_some_and(|span| span.binding.b4 == binding.b4)
}

/// Reads all lines.
fn read(files: &[impl AsRef<Path>], mut each: impl FnMut(Line)) -> Result<Report, LookupError> {
    let mut report = Report::default();
    for path in files {
        let path = path.as_ref();
        read_file(path, &mut report, &mut each).map_err(|error| LookupError {
            path: path.to_owned(),
            error,
        })?;
    }
    Ok(report)
}

fn read_file(path: &Path, report: &mut Report, each: &mut impl FnMut(Line)) -> io::Result<()> {
    let mut file = BufReader::with_capacity(1 << 18, File::open(path)?);
    let (mut bytes, mut number) = (Vec::new(), 0_u64);
    loop {
        bytes.clear();
        let too_long = read_line(&mut file, &mut bytes)?;
        if bytes.is_empty() {
            return Ok(());
        }
        number += 1;
        report.lines += 1;
        let parsed = if too_long {
            Err(format!("longer than {MAX_LINE} bytes"))
        } else {
            parse(&bytes)
        };
        match parsed {
            Ok(line) => {
                let (first, _) = report.reach.unwrap_or((line.time, line.time));
                report.reach = Some((first, line.time));
                each(line);
            }
            Err(why) => {
                report.malformed += 1;
                if report.malformed_lines.len() < MAX_NAMED {
                    let named = format!("{}:{number}: {why}", path.display());
                    report.malformed_lines.push(named);
                }
            }
        }
    }
}

/// Reads a line with its end; of a line that is too long only the beginning.
fn read_line(file: &mut impl BufRead, bytes: &mut Vec<u8>) -> io::Result<bool> {
    let mut too_long = false;
    loop {
        let buffer = match file.fill_buf() {
            Ok(buffer) => buffer,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let count = end.map_or(buffer.len(), |end| end + 1);
        if bytes.len() + count > MAX_LINE {
            too_long = true;
        } else {
            bytes.extend_from_slice(buffer.get(..count).unwrap_or_default());
        }
        file.consume(count);
        if count == 0 || end.is_some() {
            if too_long && bytes.is_empty() {
                bytes.push(b'\n');
            }
            return Ok(too_long);
        }
    }
}

fn parse(bytes: &[u8]) -> Result<Line, String> {
    let line: Line =
        serde_json::from_slice(bytes.trim_ascii_end()).map_err(|error| error.to_string())?;
    if line.is_whole() {
        return Ok(line);
    }
    Err(format!("a line of {:?} needs a softwire", line.event))
}

/// Who has a softwire that is asked about, while the lines pass by.
#[derive(Clone, Debug)]
struct Holder {
    line: Line,
    /// The begin that is told.
    from: Utc,
    from_start: bool,
    /// The begin of the time that is compared: later than `from` once the clock has been set.
    since: Utc,
    /// Whether the time asked for was in the part before that.
    met: bool,
    expires: Option<Utc>,
}

/// Follows the lines and collects the bindings that held at the time asked for.
#[derive(Debug)]
struct Follower {
    what: What,
    when: Utc,
    max: usize,
    held: BTreeMap<SoftwireKey, Holder>,
    found: Vec<Found>,
    truncated: bool,
    /// Time of the first line, and of the line before.
    first: Option<Utc>,
    newest: Option<Utc>,
    /// Nothing was known before this.
    is_first: bool,
    /// Softwires in the snapshot that is being read.
    seen: Option<BTreeSet<SoftwireKey>>,
    /// Since when changes are missing.
    hole: Option<Utc>,
    incomplete: bool,
}

impl Follower {
    fn new(what: What, when: Utc, max: usize) -> Self {
        Self {
            what,
            when,
            max,
            held: BTreeMap::new(),
            found: Vec::new(),
            truncated: false,
            first: None,
            newest: None,
            is_first: true,
            seen: None,
            hole: None,
            incomplete: false,
        }
    }

    fn line(&mut self, line: &Line) {
        if let Some(newest) = self.newest
            && line.time < newest
        {
            // The clock went back, told or not.
            let was = line.was.filter(|_| line.event == EventName::Clock);
            self.set_back(was.unwrap_or(newest), line.time);
        }
        if let Some(was) = line.was.filter(|_| line.event == EventName::Clock) {
            self.move_ends(was, line.time);
        }
        let before = self.newest.unwrap_or(line.time);
        self.newest = Some(line.time);
        self.first.get_or_insert(line.time);
        match line.event {
            EventName::SnapshotBegin => self.seen = Some(BTreeSet::new()),
            EventName::Snapshot => self.snapshot(line),
            EventName::SnapshotEnd => self.snapshot_end(line.time),
            EventName::Added | EventName::Replaced => self.bound(line, line.time, false),
            EventName::Renewed => self.renewed(line),
            EventName::Removed => self.removed(line),
            EventName::Lost | EventName::LogLost => {
                self.hole.get_or_insert(before);
            }
            // The table is known again.
            EventName::BulkEnd => self.end_hole(line.time),
            EventName::Start
            | EventName::Stop
            | EventName::Quarantined
            | EventName::QuarantineEnded
            | EventName::BulkBegin
            | EventName::Clock
            | EventName::Unknown => {}
        }
    }

    /// Whether the question is about this.
    fn concerns(&self, key: &SoftwireKey, b4: Ipv6Addr) -> bool {
        match self.what {
            What::Port(ipv4, port) => key.ipv4 == ipv4 && key.ports.contains(port),
            What::Subscriber(prefix) => prefix.contains(b4),
        }
    }

    fn snapshot(&mut self, line: &Line) {
        self.bound(line, line.time, self.is_first);
        if let (Some(seen), Some(key)) = (&mut self.seen, line.key())
            && self.held.contains_key(&key)
        {
            seen.insert(key);
        }
    }

    /// What a whole table does not have has ended, unseen.
    fn snapshot_end(&mut self, at: Utc) {
        self.is_first = false;
        self.end_hole(at);
        let Some(seen) = self.seen.take() else {
            return;
        };
        let missing = |key: &&SoftwireKey| !seen.contains(*key);
        let gone: Vec<SoftwireKey> = self.held.keys().filter(missing).copied().collect();
        for key in gone {
            self.end(&key, at, None);
        }
    }

    fn end_hole(&mut self, at: Utc) {
        if let Some(from) = self.hole.take() {
            self.incomplete |= from <= self.when && self.when < at;
        }
    }

    /// Somebody has the softwire, `from` then on where that is news.
    fn bound(&mut self, line: &Line, from: Utc, from_start: bool) {
        let (Some(key), Some(b4)) = (line.key(), line.b4) else {
            return;
        };
        if let Some(holder) = self.held.get_mut(&key)
            && (holder.line.b4, holder.line.aftr) == (line.b4, line.aftr)
        {
            holder.expires = line.expires;
            if line.time <= self.when {
                holder.line = line.clone();
            }
            return;
        }
        self.end(&key, line.time, Some("replaced"));
        if !self.concerns(&key, b4) {
            return;
        }
        if self.held.len() >= self.max.max(1) {
            self.truncated = true;
            return;
        }
        let holder = Holder {
            line: line.clone(),
            from,
            from_start,
            since: from,
            met: false,
            expires: line.expires,
        };
        self.held.insert(key, holder);
    }

    fn renewed(&mut self, line: &Line) {
        // One that is not known was bound before the log begins.
        self.bound(line, self.first.unwrap_or(line.time), true);
    }

    fn removed(&mut self, line: &Line) {
        let Some(key) = line.key() else {
            return;
        };
        if self.is_first && !self.held.contains_key(&key) {
            // So it was bound before the log begins.
            self.bound(line, self.first.unwrap_or(line.time), true);
        }
        // One that was revoked at the start may have lost its place to another.
        let other = |holder: &Holder| holder.line.b4 != line.b4;
        if self.held.get(&key).is_some_and(other) {
            return;
        }
        self.end(&key, line.time, line.reason.as_deref());
    }

    fn end(&mut self, key: &SoftwireKey, at: Utc, reason: Option<&str>) {
        let Some(holder) = self.held.remove(key) else {
            return;
        };
        let expired = holder.expires.filter(|end| *end < at);
        let (to, reason) = match expired {
            Some(end) => (end, Some(RemoveReason::Expired.as_str())),
            None => (at, reason),
        };
        if holder.met || (holder.since <= self.when && self.when < to) {
            self.tell(holder, Some(to), reason);
        }
    }

    fn tell(&mut self, holder: Holder, to: Option<Utc>, reason: Option<&str>) {
        if self.found.len() >= self.max {
            self.truncated = true;
            return;
        }
        self.found.push(Found {
            line: holder.line,
            from: holder.from,
            from_start: holder.from_start,
            to,
            reason: reason.map(str::to_owned),
        });
    }

    /// The wall clock went from `was` back to `now`.
    fn set_back(&mut self, was: Utc, now: Utc) {
        for holder in self.held.values_mut() {
            holder.met |= holder.since <= self.when && self.when < was;
            holder.since = now;
        }
        if let Some(hole) = &mut self.hole {
            *hole = now.min(*hole);
        }
    }

    /// Ends of leases move with the wall clock, as their lengths do not change.
    fn move_ends(&mut self, was: Utc, now: Utc) {
        let (was, now) = (was.as_micros(), now.as_micros());
        let moved =
            |end: Utc| Utc::from_micros(end.as_micros().saturating_add(now).saturating_sub(was));
        for holder in self.held.values_mut() {
            holder.expires = holder.expires.map(moved);
        }
    }

    fn finish(mut self, report: &mut Report) {
        for (_, holder) in std::mem::take(&mut self.held) {
            let over = holder.expires.filter(|end| *end <= self.when);
            let holds = holder.since <= self.when && over.is_none();
            if holder.met || holds {
                let reason = over.map(|_| RemoveReason::Expired.as_str());
                self.tell(holder, over, reason);
            }
        }
        if let Some(from) = self.hole {
            self.incomplete |= from <= self.when;
        }
        report.found = self.found;
        report
            .found
            .sort_by_key(|found| (found.line.key(), found.from));
        report.truncated = self.truncated;
        report.incomplete = self.incomplete;
    }
}

fn utc<S: serde::Serializer>(at: &Utc, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(at)
}

fn maybe_utc<S: serde::Serializer>(at: &Option<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    match at {
        Some(at) => serializer.collect_str(at),
        None => serializer.serialize_none(),
    }
}
