//! The thread that writes the lines.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use lw4o6_binding::{Binding, Change, Clock, Expiry, SoftwireKey, Utc};
use lw4o6_wire::Instant;

use super::line::{EventName, Line};
use super::{Record, Shared, Whole};

/// Bytes of lines that are gathered before they are written.
const CHUNK: usize = 1 << 20;
/// How long after a failure the file is tried again.
const AGAIN: Duration = Duration::from_secs(1);
/// A step of the wall clock worth a line, in microseconds; below it is the drift of two clocks.
const STEP: u64 = 1_000_000;

/// Opens the file to append to it. A line that was cut off is ended, as more would follow it.
pub(super) fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).append(true).create(true).mode(0o640);
    let mut file = options.open(path)?;
    if file.metadata()?.len() > 0 {
        let mut last = [0];
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
        if last != *b"\n" {
            file.write_all(b"\n")?;
        }
    }
    Ok(file)
}

/// The file, and the table as the lines have told it.
#[derive(Debug)]
pub(super) struct Writer {
    path: PathBuf,
    file: File,
    clock: Clock,
    mask: u8,
    table: BTreeMap<SoftwireKey, Binding>,
    version: u64,
    /// Time of the newest line.
    newest: Utc,
    lines: Vec<u8>,
    /// Lines that are missing in the file since the last snapshot in it.
    lost: u64,
    /// The file ends inside a line.
    cut: bool,
}

impl Writer {
    pub(super) fn new(path: &Path, file: File, clock: Clock, mask: u8) -> Self {
        Self {
            path: path.to_owned(),
            file,
            clock,
            mask,
            table: BTreeMap::new(),
            version: 0,
            newest: clock.utc,
            lines: Vec::new(),
            lost: 0,
            cut: false,
        }
    }

    /// Writes what comes, until the end.
    pub(super) fn run(&mut self, shared: &Shared) {
        loop {
            let (queue, stopping) = self.wait(shared);
            self.recover(shared);
            for record in queue {
                self.record(record, shared);
                if self.lines.len() >= CHUNK {
                    self.flush(shared);
                }
            }
            self.flush(shared);
            if stopping {
                return;
            }
        }
    }

    /// Waits for records, and no longer than a while where lines are missing.
    fn wait(&self, shared: &Shared) -> (VecDeque<Record>, bool) {
        let mut state = shared.lock();
        while state.queue.is_empty() && !state.stopping {
            if self.lost > 0 {
                let waited = shared.work.wait_timeout(state, AGAIN);
                let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
                return (std::mem::take(&mut state.queue), state.stopping);
            }
            state = (shared.work.wait(state)).unwrap_or_else(PoisonError::into_inner);
        }
        // What came before the end is written; the queue is empty the next time.
        (std::mem::take(&mut state.queue), state.stopping)
    }

    fn record(&mut self, record: Record, shared: &Shared) {
        match record {
            Record::Start(whole) => self.start(whole, shared),
            Record::Table(whole) => {
                self.advance(whole.at, whole.version);
                self.replace(None, &whole.bindings, shared);
            }
            Record::Change {
                number,
                at,
                version,
                change,
            } => {
                self.advance(at, version);
                self.change(number, &change, shared);
            }
            Record::Lost { first, last } => {
                let mut line = Line::new(self.newest, EventName::Lost);
                (line.first, line.last) = (Some(first), Some(last));
                line.emit(&mut self.lines);
            }
            Record::Missed(count) => {
                let mut line = Line::new(self.newest, EventName::Lost);
                line.lines = Some(count);
                line.emit(&mut self.lines);
            }
            Record::Clock(clock) => self.set_clock(clock),
            Record::SubscriberMask(bits) => self.mask = bits,
            Record::Reopen => self.reopen(shared),
            Record::Stop(at) => {
                self.advance(at, self.version);
                self.line(EventName::Stop).emit(&mut self.lines);
            }
        }
    }

    fn advance(&mut self, at: Instant, version: u64) {
        self.newest = self.clock.utc_of(at);
        self.version = version;
    }

    fn line(&self, event: EventName) -> Line {
        Line {
            version: Some(self.version),
            ..Line::new(self.newest, event)
        }
    }

    fn about(&self, event: EventName, number: Option<u64>, binding: &Binding) -> Line {
        Line {
            change: number,
            ..self.line(event).binding(binding, self.mask, &self.clock)
        }
    }

    fn start(&mut self, whole: Whole, shared: &Shared) {
        let Whole {
            at,
            version,
            bindings,
        } = whole;
        self.advance(at, version);
        self.line(EventName::Start).emit(&mut self.lines);
        self.table = bindings.iter().map(|b| (b.key(), *b)).collect();
        self.snapshot(shared);
    }

    /// The whole table.
    fn snapshot(&mut self, shared: &Shared) {
        let softwires = Some(self.table.len() as u64);
        let line = |event| Line {
            softwires,
            ..self.line(event)
        };
        let (begin, end) = (line(EventName::SnapshotBegin), line(EventName::SnapshotEnd));
        begin.emit(&mut self.lines);
        let table = std::mem::take(&mut self.table);
        for binding in table.values() {
            let line = self.about(EventName::Snapshot, None, binding);
            line.emit(&mut self.lines);
            if self.lines.len() >= CHUNK {
                self.flush(shared);
            }
        }
        self.table = table;
        end.emit(&mut self.lines);
    }

    fn change(&mut self, number: Option<u64>, change: &Change, shared: &Shared) {
        match change {
            Change::Added(binding) => self.bound(EventName::Added, number, binding),
            Change::Renewed(binding) => self.bound(EventName::Renewed, number, binding),
            Change::Replaced { new, .. } => self.bound(EventName::Replaced, number, new),
            Change::Removed { binding, reason } => {
                // One that was revoked at the start may have lost its place to another.
                if (self.table.get(&binding.key())).is_some_and(|now| now.b4 == binding.b4) {
                    self.table.remove(&binding.key());
                }
                let mut line = self.about(EventName::Removed, number, binding);
                line.reason = Some(reason.as_str().to_owned());
                line.emit(&mut self.lines);
            }
            Change::Quarantined(waits) => {
                let mut line = self.line(EventName::Quarantined).softwire(&waits.key);
                line.change = number;
                line.b4 = Some(waits.b4);
                line.until = Some(self.clock.utc_of(waits.until));
                line.emit(&mut self.lines);
            }
            Change::QuarantineEnded(waits) => {
                let mut line = self.line(EventName::QuarantineEnded).softwire(&waits.key);
                line.change = number;
                line.b4 = Some(waits.b4);
                line.emit(&mut self.lines);
            }
            Change::BulkReplaced { bindings, .. } => self.replace(number, bindings, shared),
            other => tracing::warn!("a change unknown to the log: {other:?}"),
        }
    }

    fn bound(&mut self, event: EventName, number: Option<u64>, binding: &Binding) {
        let old = self.table.insert(binding.key(), *binding);
        let mut line = self.about(event, number, binding);
        line.old_b4 = old.map(|old| old.b4).filter(|old| *old != binding.b4);
        line.emit(&mut self.lines);
    }

    /// A new table: what differs from the old one.
    fn replace(&mut self, number: Option<u64>, bindings: &[Binding], shared: &Shared) {
        let softwires = Some(bindings.len() as u64);
        let line = |event| Line {
            softwires,
            change: number,
            ..self.line(event)
        };
        let (begin, end) = (line(EventName::BulkBegin), line(EventName::BulkEnd));
        begin.emit(&mut self.lines);
        let new: BTreeMap<SoftwireKey, Binding> = bindings.iter().map(|b| (b.key(), *b)).collect();
        let mut old = std::mem::replace(&mut self.table, new);
        let new = std::mem::take(&mut self.table);
        for (key, binding) in &new {
            let event = match old.remove(key) {
                Some(before) if before == *binding => continue,
                Some(before) if same_but_expiry(&before, binding) => (EventName::Renewed, None),
                Some(before) => (EventName::Replaced, Some(before.b4)),
                None => (EventName::Added, None),
            };
            let mut line = self.about(event.0, number, binding);
            line.old_b4 = event.1.filter(|old| *old != binding.b4);
            line.emit(&mut self.lines);
            if self.lines.len() >= CHUNK {
                self.flush(shared);
            }
        }
        for binding in old.values() {
            let mut line = self.about(EventName::Removed, number, binding);
            line.reason = Some(lw4o6_binding::RemoveReason::Replaced.as_str().to_owned());
            line.emit(&mut self.lines);
            if self.lines.len() >= CHUNK {
                self.flush(shared);
            }
        }
        self.table = new;
        end.emit(&mut self.lines);
    }

    fn set_clock(&mut self, clock: Clock) {
        let was = self.clock.utc_of(clock.instant);
        self.clock = clock;
        if was.as_micros().abs_diff(clock.utc.as_micros()) >= STEP {
            self.newest = clock.utc;
            let mut line = self.line(EventName::Clock);
            line.was = Some(was);
            line.emit(&mut self.lines);
        }
    }

    fn reopen(&mut self, shared: &Shared) {
        self.flush(shared);
        match open(&self.path) {
            Ok(file) => {
                self.file = file;
                self.cut = false;
                if self.lost > 0 {
                    self.recover(shared);
                } else {
                    self.snapshot(shared);
                }
            }
            Err(error) => {
                let path = self.path.display();
                tracing::error!("{path}: {error}; the log goes on in the old file");
            }
        }
    }

    /// Tries to say that lines are missing, and what the table is now.
    fn recover(&mut self, shared: &Shared) {
        if self.lost == 0 {
            return;
        }
        let (lost, mut line) = (self.lost, self.line(EventName::LogLost));
        line.lines = Some(lost);
        let mut text = Vec::new();
        if self.cut {
            text.push(b'\n');
        }
        line.emit(&mut text);
        let (written, _) = write(&mut self.file, &text);
        if written > 0 {
            self.cut = written < text.len() && (!self.cut || written > 1);
        }
        if written < text.len() {
            return;
        }
        let path = self.path.display();
        tracing::warn!("{path}: the log works again; {lost} lines are missing");
        self.lost = 0;
        self.snapshot(shared);
        self.flush(shared);
    }

    /// Writes the lines that were gathered; what cannot be written is counted.
    fn flush(&mut self, shared: &Shared) {
        let mut lines = std::mem::take(&mut self.lines);
        // Behind missing lines only a snapshot makes sense.
        let (written, error) = if self.lost > 0 {
            (0, None)
        } else {
            write(&mut self.file, &lines)
        };
        if let Some(error) = error {
            let path = self.path.display();
            tracing::error!("{path}: lines of the log are lost: {error}");
        }
        if let Some(rest) = lines.get(written..)
            && !rest.is_empty()
        {
            let before = written.checked_sub(1).and_then(|last| lines.get(last));
            self.cut = self.cut || before.is_some_and(|byte| *byte != b'\n');
            let lost = rest.iter().filter(|byte| **byte == b'\n').count() as u64;
            self.lost += lost;
            shared.lost.fetch_add(lost, Ordering::Relaxed);
        }
        lines.clear();
        self.lines = lines;
    }
}

/// Writes as much as can be written.
fn write(file: &mut File, bytes: &[u8]) -> (usize, Option<io::Error>) {
    let mut rest = bytes;
    while !rest.is_empty() {
        match file.write(rest) {
            Ok(count) if count > 0 => rest = rest.get(count..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(_) => {
                return (
                    bytes.len() - rest.len(),
                    Some(io::ErrorKind::WriteZero.into()),
                );
            }
            Err(error) => return (bytes.len() - rest.len(), Some(error)),
        }
    }
    (bytes.len(), None)
}

fn same_but_expiry(a: &Binding, b: &Binding) -> bool {
    a.with_expiry(Expiry::Never) == b.with_expiry(Expiry::Never)
}
