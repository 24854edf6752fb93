//! The tables of the file: what changes do to them, and what they say.

use std::collections::BTreeMap;
use std::time::Duration;

use lw4o6_binding::snapshot::record::{self, BINDING, QUARANTINED};
use lw4o6_binding::{Binding, Change, Clock, Expiry, Origin, Quarantined, SoftwireKey, Utc};
use redb::{Database, ReadableDatabase, ReadableTable, Table};

use super::medium::Shared;
use super::{BINDINGS, META, QUARANTINE, Stored};

/// The tables, open in a transaction.
pub(super) struct Tables<'t> {
    pub(super) bindings: Table<'t, u64, &'static [u8; BINDING]>,
    pub(super) quarantine: Table<'t, u64, &'static [u8; QUARANTINED]>,
    pub(super) meta: Table<'t, &'static str, u64>,
}

/// The word for a softwire; words order as softwires do.
fn word(key: &SoftwireKey) -> u64 {
    let SoftwireKey { ipv4, ports } = key;
    u64::from(u32::from(*ipv4)) << 32
        | u64::from(ports.offset()) << 24
        | u64::from(ports.len()) << 16
        | u64::from(ports.psid())
}

impl Tables<'_> {
    /// Does what the changes say, and counts them.
    pub(super) fn apply_all<'a>(
        &mut self,
        changes: impl IntoIterator<Item = &'a Change>,
        clock: &Clock,
    ) -> Result<(), redb::Error> {
        let (mut count, mut version) = (0, self.number("version")?);
        for change in changes {
            count += 1;
            version = match change {
                Change::BulkReplaced { version: new, .. } => version.max(*new),
                Change::Quarantined(_) | Change::QuarantineEnded(_) => version,
                Change::Added(_)
                | Change::Replaced { .. }
                | Change::Renewed(_)
                | Change::Removed { .. }
                | _ => version + 1,
            };
            self.apply(change, clock)?;
        }
        let changes = self.number("changes")? + count;
        self.meta.insert("changes", changes)?;
        self.set_version(version)
    }

    fn apply(&mut self, change: &Change, clock: &Clock) -> Result<(), redb::Error> {
        match change {
            Change::Added(new) | Change::Replaced { new, .. } | Change::Renewed(new) => {
                self.set(new, clock)?;
            }
            Change::Removed { binding, .. } => {
                self.bindings.remove(word(&binding.key()))?;
            }
            Change::Quarantined(waits) => {
                let record = record::emit_quarantined(waits, clock);
                self.quarantine.insert(word(&waits.key), &record)?;
            }
            Change::QuarantineEnded(waits) => {
                self.quarantine.remove(word(&waits.key))?;
            }
            Change::BulkReplaced { bindings, .. } => {
                self.replace_bindings(bindings.iter(), clock)?;
            }
            other => {
                let what = format!("a change unknown to the store: {other:?}");
                return Err(redb::Error::Io(std::io::Error::other(what)));
            }
        }
        Ok(())
    }

    fn set(&mut self, binding: &Binding, clock: &Clock) -> Result<(), redb::Error> {
        let word = word(&binding.key());
        match binding.origin {
            Origin::Static => {
                self.bindings.remove(word)?;
            }
            Origin::Operator | Origin::Dhcp | Origin::Pcp | Origin::Peer => {
                let record = record::emit_binding(binding, clock);
                self.bindings.insert(word, &record)?;
            }
        }
        Ok(())
    }

    /// Puts these bindings in the place of all. Only what differs is written, as a new
    /// configuration file rarely touches a lease.
    pub(super) fn replace_bindings<'a>(
        &mut self,
        bindings: impl Iterator<Item = &'a Binding>,
        clock: &Clock,
    ) -> Result<(), redb::Error> {
        let kept = bindings.filter(|binding| binding.origin != Origin::Static);
        let new: BTreeMap<u64, [u8; BINDING]> = kept
            .map(|b| (word(&b.key()), record::emit_binding(b, clock)))
            .collect();
        replace(&mut self.bindings, &new)
    }

    /// Puts this quarantine in the place of all.
    pub(super) fn replace_quarantine<'a>(
        &mut self,
        quarantined: impl Iterator<Item = &'a Quarantined>,
        clock: &Clock,
    ) -> Result<(), redb::Error> {
        let new: BTreeMap<u64, [u8; QUARANTINED]> = quarantined
            .map(|q| (word(&q.key), record::emit_quarantined(q, clock)))
            .collect();
        replace(&mut self.quarantine, &new)
    }

    /// Moves all ends as the wall clock was moved from `before` to `after`.
    pub(super) fn shift(&mut self, before: Utc, after: Utc) -> Result<(), redb::Error> {
        // Ends are read as moments on a clock that shows `before` and written on one that shows
        // `after`. The moment lies far from both ends of the clock, so that none is cut off.
        let instant = lw4o6_wire::Instant::from_micros(1 << 62);
        let (old, new) = (
            Clock {
                instant,
                utc: before,
            },
            Clock {
                instant,
                utc: after,
            },
        );
        let mut bindings = BTreeMap::new();
        for item in self.bindings.iter()? {
            let (word, value) = item?;
            let (binding, end) = record::parse_binding(value.value()).map_err(damaged)?;
            let end = end.map_or(Expiry::Never, |end| Expiry::At(old.instant_of(end)));
            let binding = binding.with_expiry(end);
            bindings.insert(word.value(), record::emit_binding(&binding, &new));
        }
        let mut quarantine = BTreeMap::new();
        for item in self.quarantine.iter()? {
            let (word, value) = item?;
            let (key, b4, end) = record::parse_quarantined(value.value()).map_err(damaged)?;
            let until = old.instant_of(end);
            let waits = Quarantined { key, b4, until };
            quarantine.insert(word.value(), record::emit_quarantined(&waits, &new));
        }
        replace(&mut self.bindings, &bindings)?;
        replace(&mut self.quarantine, &quarantine)
    }

    pub(super) fn set_version(&mut self, version: u64) -> Result<(), redb::Error> {
        self.meta.insert("version", version)?;
        Ok(())
    }

    fn number(&self, name: &'static str) -> Result<u64, redb::Error> {
        Ok(self.meta.get(name)?.map_or(0, |value| value.value()))
    }
}

/// Makes a table equal to a map and touches only what differs.
fn replace<const N: usize>(
    table: &mut Table<'_, u64, &'static [u8; N]>,
    new: &BTreeMap<u64, [u8; N]>,
) -> Result<(), redb::Error> {
    let mut gone = Vec::new();
    let mut same = std::collections::BTreeSet::new();
    for item in table.iter()? {
        let (word, value) = item?;
        match new.get(&word.value()) {
            None => gone.push(word.value()),
            Some(new) if new == value.value() => {
                same.insert(word.value());
            }
            Some(_) => {}
        }
    }
    for word in gone {
        table.remove(word)?;
    }
    for (word, record) in new.iter().filter(|(word, _)| !same.contains(word)) {
        table.insert(word, record)?;
    }
    Ok(())
}

/// Writes everything that is in a database into another one.
pub(super) fn copy(from: &Database, to: Shared) -> Result<(), redb::Error> {
    let to = super::builder().create_with_backend(to)?;
    let (read, write) = (from.begin_read()?, to.begin_write()?);
    let mut meta = write.open_table(META)?;
    for item in read.open_table(META)?.iter()? {
        let (name, value) = item?;
        meta.insert(name.value(), value.value())?;
    }
    drop(meta);
    let mut bindings = write.open_table(BINDINGS)?;
    for item in read.open_table(BINDINGS)?.iter()? {
        let (word, record) = item?;
        bindings.insert(word.value(), record.value())?;
    }
    drop(bindings);
    let mut quarantine = write.open_table(QUARANTINE)?;
    for item in read.open_table(QUARANTINE)?.iter()? {
        let (word, record) = item?;
        quarantine.insert(word.value(), record.value())?;
    }
    drop(quarantine);
    write.commit()?;
    Ok(())
}

/// Version of the format of the file.
pub(super) fn format(database: &Database) -> Result<u64, redb::Error> {
    let transaction = database.begin_read()?;
    let format = transaction.open_table(META)?.get("format")?;
    let format = format.map(|format| format.value());
    format.ok_or_else(|| redb::Error::Corrupted("it has no format version".to_owned()))
}

/// Everything in the file.
pub(super) fn read_all(database: &Database, clock: &Clock) -> Result<Stored, redb::Error> {
    let transaction = database.begin_read()?;
    let meta = transaction.open_table(META)?;
    let number = |name| -> Result<Option<u64>, redb::Error> {
        Ok(meta.get(name)?.map(|value| value.value()))
    };
    let written = number("written")?.map(Utc::from_micros);
    let behind = written.map_or(0, |at| at.as_micros().saturating_sub(clock.utc.as_micros()));
    let mut stored = Stored {
        version: number("version")?.unwrap_or(0),
        changes: number("changes")?.unwrap_or(0),
        written,
        clock_behind: (behind > 0).then(|| Duration::from_micros(behind)),
        ..Stored::default()
    };
    for item in transaction.open_table(BINDINGS)?.iter()? {
        let (key, value) = item?;
        let (binding, end) = record::parse_binding(value.value()).map_err(damaged)?;
        check(key.value(), &binding.key())?;
        match record::revive(binding, end, clock) {
            Ok(binding) => stored.bindings.push(binding),
            Err(lapsed) => stored.lapsed.push(lapsed),
        }
    }
    for item in transaction.open_table(QUARANTINE)?.iter()? {
        let (key_word, value) = item?;
        let (key, b4, end) = record::parse_quarantined(value.value()).map_err(damaged)?;
        check(key_word.value(), &key)?;
        if end > clock.utc {
            let until = clock.instant_of(end);
            stored.quarantined.push(Quarantined { key, b4, until });
        }
    }
    Ok(stored)
}

fn check(have: u64, key: &SoftwireKey) -> Result<(), redb::Error> {
    if have == word(key) {
        return Ok(());
    }
    let what = format!("the record of {key} stands under another softwire");
    Err(redb::Error::Corrupted(what))
}

fn damaged(error: record::RecordError) -> redb::Error {
    redb::Error::Corrupted(error.to_string())
}
