//! The bindings that must outlive the program, in one file.
//!
//! The file is a `redb` database; every call of [`Store::write`] is one transaction, which is on
//! the disk when the call returns. What comes from the configuration file is not in it. Version 1
//! has three tables:
//!
//! ```text
//! bindings     IPv4 address (32 bits), offset a (8), length k (8), PSID (16)  ->  56 bytes
//! quarantine   the same                                                       ->  32 bytes
//! meta         "format"    1
//!              "version"   number of the table
//!              "changes"   changes written since the file was made
//!              "written"   time of the last transaction, UTC in microseconds since 1970
//! ```
//!
//! The records are those of [`lw4o6_binding::snapshot::record`]; ends of leases are in UTC.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use lw4o6_binding::snapshot::record::{BINDING, QUARANTINED};
use lw4o6_binding::{Binding, Bindings, Change, Clock, Lapsed, Quarantined, Utc};
use redb::{Builder, Database, StorageBackend, TableDefinition};

pub use self::error::StoreError;
use self::medium::{Disk, Shared};
use self::tables::{Tables, read_all};
pub use self::thread::{StoreResult, StoreThread};

mod error;
mod medium;
mod tables;
mod thread;

/// Newest version of the format, which is the one written.
pub const FORMAT: u64 = 1;
/// A step of the wall clock that is worth a transaction; below it is the drift between two clocks.
const STEP: u64 = 1_000_000;
/// Memory for pages of the file, bytes.
const CACHE: usize = 32 << 20;

const BINDINGS: TableDefinition<'static, u64, &[u8; BINDING]> = TableDefinition::new("bindings");
const QUARANTINE: TableDefinition<'static, u64, &[u8; QUARANTINED]> =
    TableDefinition::new("quarantine");
const META: TableDefinition<'static, &str, u64> = TableDefinition::new("meta");

/// What a file held when it was opened, on the clock of the program that reads it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// Number of the table after the last change written.
    pub version: u64,
    /// The bindings whose allocation goes on, ordered by key. None is static.
    pub bindings: Vec<Binding>,
    /// The softwires whose quarantine goes on, ordered by key.
    // R-065
    pub quarantined: Vec<Quarantined>,
    /// The bindings whose allocation has ended since they were written, ordered by key.
    // R-059
    pub lapsed: Vec<Lapsed>,
    /// How many changes have been written since the file was made.
    pub changes: u64,
    /// When the last one was; `None` in a new file.
    pub written: Option<Utc>,
    /// How far the clock is behind the last change. Leases then last longer than was granted.
    pub clock_behind: Option<Duration>,
}

/// An open file of bindings.
#[derive(Debug)]
pub struct Store {
    name: String,
    /// Where there is a file.
    path: Option<PathBuf>,
    medium: Shared,
    /// `None` after an error, until the next call.
    database: Option<Database>,
    clock: Clock,
}

impl Store {
    /// Opens the file, or makes it with mode 0600, and reads it. The clock ties the ends of leases
    /// to UTC.
    ///
    /// # Errors
    ///
    /// Where the file cannot be opened, is in use, is damaged, or is of a newer format. Nothing is
    /// changed in it then.
    pub fn open(path: &Path, clock: &Clock) -> Result<(Self, Stored), StoreError> {
        let name = path.display().to_string();
        let disk = Disk::open(path, |file| Self::prepare(&name, file))?;
        let (mut store, stored) = Self::read(name, Arc::new(disk), clock)?;
        store.path = Some(path.to_owned());
        Ok((store, stored))
    }

    /// The same on memory, or whatever else the backend is. It is made ready where it is empty.
    ///
    /// # Errors
    ///
    /// Those of [`open`](Self::open).
    pub fn with_backend(
        backend: Arc<dyn StorageBackend>,
        clock: &Clock,
    ) -> Result<(Self, Stored), StoreError> {
        let name = "memory".to_owned();
        if backend.len().map_err(|error| error::io(&name, error))? == 0 {
            Self::prepare(&name, Arc::clone(&backend))?;
        }
        Self::read(name, backend, clock)
    }

    /// Makes an empty backend a store without bindings.
    fn prepare(name: &str, backend: Arc<dyn StorageBackend>) -> Result<(), StoreError> {
        let make = || -> Result<(), redb::Error> {
            let database = builder().create_with_backend(Shared::new(backend))?;
            let transaction = database.begin_write()?;
            transaction.open_table(BINDINGS)?;
            transaction.open_table(QUARANTINE)?;
            transaction.open_table(META)?.insert("format", FORMAT)?;
            transaction.commit()?;
            Ok(())
        };
        make().map_err(|error| error::of(name, error))
    }

    fn read(
        name: String,
        backend: Arc<dyn StorageBackend>,
        clock: &Clock,
    ) -> Result<(Self, Stored), StoreError> {
        let mut store = Self {
            name,
            path: None,
            medium: Shared::new(backend),
            database: None,
            clock: *clock,
        };
        let database = store.database()?;
        let read = match tables::format(database) {
            Ok(FORMAT) => read_all(database, clock),
            Ok(found) => {
                let (name, known) = (store.name, FORMAT);
                return Err(StoreError::Format { name, found, known });
            }
            Err(error) => Err(error),
        };
        match read {
            Ok(stored) => Ok((store, stored)),
            Err(error) => Err(error::of(&store.name, error)),
        }
    }

    /// Writes changes, all or none; they are on the disk when this returns. What is kept is a map
    /// from softwire to binding, as told by [`Event::Persist`](lw4o6_binding::Event::Persist), and
    /// the quarantine.
    ///
    /// # Errors
    ///
    /// Where that fails, for example for want of room. The next call tries to open the file anew,
    /// so that writing goes on when the reason is gone.
    pub fn write<'a>(
        &mut self,
        changes: impl IntoIterator<Item = &'a Change>,
    ) -> Result<(), StoreError> {
        let clock = self.clock;
        self.transaction(|tables| tables.apply_all(changes, &clock))
    }

    /// Makes the file say what the bindings are now: for the start, after what the configuration
    /// file takes away from stored leases, and what ended meanwhile.
    ///
    /// # Errors
    ///
    /// Those of [`write`](Self::write).
    pub fn write_all(&mut self, bindings: &Bindings) -> Result<(), StoreError> {
        let clock = self.clock;
        self.transaction(|tables| {
            tables.replace_bindings(bindings.iter(), &clock)?;
            tables.replace_quarantine(bindings.quarantined(), &clock)?;
            tables.set_version(bindings.version())
        })
    }

    /// Takes another relation of monotonic time to UTC, after a step of the wall clock. What is
    /// stored follows, as leases last as long as was granted, whatever the wall clock does.
    ///
    /// # Errors
    ///
    /// Those of [`write`](Self::write); the old relation holds on then, until the next call.
    pub fn set_clock(&mut self, clock: &Clock) -> Result<(), StoreError> {
        let (before, after) = (self.clock.utc_of(clock.instant), clock.utc);
        if before.as_micros().abs_diff(after.as_micros()) >= STEP {
            self.transaction(|tables| tables.shift(before, after))?;
        }
        self.clock = *clock;
        Ok(())
    }

    /// Closes the file so that it opens without a check the next time.
    pub fn close(self) {
        drop(self);
    }

    /// One transaction.
    fn transaction(
        &mut self,
        fill: impl FnOnce(&mut Tables<'_>) -> Result<(), redb::Error>,
    ) -> Result<(), StoreError> {
        let written = crate::config::clock().utc;
        let database = self.database()?;
        let write = || -> Result<(), redb::Error> {
            let transaction = database.begin_write()?;
            let mut tables = Tables {
                bindings: transaction.open_table(BINDINGS)?,
                quarantine: transaction.open_table(QUARANTINE)?,
                meta: transaction.open_table(META)?,
            };
            fill(&mut tables)?;
            tables.meta.insert("written", written.as_micros())?;
            drop(tables);
            transaction.commit()?;
            Ok(())
        };
        let outcome = write().map_err(|error| error::of(&self.name, error));
        if outcome.is_err() {
            // After an error the library refuses all work on an open database.
            self.database = None;
        }
        outcome
    }

    fn database(&mut self) -> Result<&Database, StoreError> {
        let database = match self.database.take() {
            Some(database) => database,
            None => self.open_again()?,
        };
        Ok(self.database.insert(database))
    }

    /// Opens the file after an error.
    ///
    /// What the disk refused once, the system may show as written and never try again. Everything
    /// is written to a new file then.
    fn open_again(&mut self) -> Result<Database, StoreError> {
        let database = open_checked(&self.name, &self.medium)?;
        let Some(path) = self.path.as_ref().filter(|_| self.medium.is_doubtful()) else {
            return Ok(database);
        };
        let name = &self.name;
        let disk = Disk::make(path, |new| {
            Self::prepare(name, Arc::clone(&new))?;
            tables::copy(&database, Shared::new(new)).map_err(|error| error::of(name, error))
        })?;
        drop(database);
        self.medium = Shared::new(Arc::new(disk));
        open_checked(&self.name, &self.medium)
    }
}

/// How the database is opened.
fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE);
    builder
}

/// The database in the medium, whose pages are what was written.
fn open_checked(name: &str, medium: &Shared) -> Result<Database, StoreError> {
    // The library asserts some of what it reads; a damaged file is an error all the same.
    let open = || -> Result<Database, redb::Error> {
        let mut database = builder().create_with_backend(medium.clone())?;
        database.check_integrity()?;
        Ok(database)
    };
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(open))
        .unwrap_or_else(|_| {
            Err(redb::Error::Corrupted(
                "its parts contradict each other".to_owned(),
            ))
        })
        .map_err(|error| error::of(name, error))
}

#[cfg(test)]
pub(crate) mod tests;
#[cfg(test)]
mod trouble_tests;
