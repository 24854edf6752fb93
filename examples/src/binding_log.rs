//! The log of bindings: who had which port of which address at which time (RFC 6888 §4,
//! RFC 7422 §2), as lines of JSON. Where subscribers send packets to is not in it.
//!
//! ```text
//! {"time":"2026-11-20T19:05:32.500000Z","event":"added","change":12,"version":7,"ipv4":"192.0.2.1",
//!  "psid-offset":0,"psid-len":6,"psid":1,"ports":["1024-2047"],"b4":"2001:db8::1",
//!  "subscriber":"2001:db8::/56","aftr":"2001:db8:a::1","origin":"dhcp",
//!  "expires":"2026-11-20T20:05:32.500000Z"}
//! ```
//!
//! (in one line). Events:
//!
//! | `event` | what |
//! |---|---|
//! | `start`, `stop` | of the program |
//! | `snapshot-begin`, `snapshot`, `snapshot-end` | the whole table: after a start, in each new file, after lines were lost |
//! | `added`, `replaced`, `renewed`, `removed` (with `reason`) | one binding |
//! | `quarantined` (with `until`), `quarantine-ended` | one softwire |
//! | `bulk-begin`, `bulk-end` | around the lines of a replacement of the whole table: those bindings that changed |
//! | `clock` (with `was`) | the wall clock was set |
//! | `lost` (with `first`, `last`) | changes that nobody read in time; the table follows as a bulk |
//! | `log-lost` (with `lines`) | lines that could not be written; a snapshot follows |
// R-268, R-269

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use lw4o6_binding::{Binding, Change, Clock, Event};
use lw4o6_wire::Instant;

pub use self::files::log_files;
pub use self::line::{EventName, Line};
pub use self::lookup::{Found, LookupError, Report, What, fill_history, lookup};

mod files;
mod line;
mod lookup;
mod thread;

/// Most records that wait to be written. A replacement of the whole table is one record.
const CAPACITY: usize = 65_536;

/// An open log. Its lines are written by a thread of its own; no call waits for the disk but
/// [`stop`](Self::stop).
///
/// The thread keeps a copy of the table, about 110 bytes a softwire, to tell what a replacement
/// of the whole table changes and to begin each file with a snapshot.
#[derive(Debug)]
pub struct BindingLog {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// There is something to do.
    work: Condvar,
    /// Lines that could not be written.
    lost: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Record>,
    /// Changes were missed; only a whole table helps.
    behind: bool,
    /// How many since the last whole table, not counting those of [`Event::Lost`].
    missed: u64,
    stopping: bool,
}

/// What the thread has to write or to know.
#[derive(Debug)]
enum Record {
    Start(Whole),
    Table(Whole),
    Change {
        number: Option<u64>,
        at: Instant,
        version: u64,
        change: Change,
    },
    Lost {
        first: u64,
        last: u64,
    },
    Missed(u64),
    Clock(Clock),
    SubscriberMask(u8),
    Reopen,
    Stop(Instant),
}

/// A whole table, its number, and when that was so.
#[derive(Debug)]
struct Whole {
    at: Instant,
    version: u64,
    bindings: Arc<Vec<Binding>>,
}

impl BindingLog {
    /// Opens the file to append to it, or makes it with mode 0640. A line that was cut off by a
    /// crash is ended. Nothing is written before [`start`](Self::start).
    ///
    /// `subscriber_mask` is the number of leading bits of a B4 address that stand for the
    /// subscriber.
    ///
    /// # Errors
    ///
    /// Where the file cannot be opened.
    pub fn open(path: &Path, clock: &Clock, subscriber_mask: u8) -> io::Result<Self> {
        let file = thread::open(path)?;
        let shared = Arc::<Shared>::default();
        let own = Arc::clone(&shared);
        let mut writer = thread::Writer::new(path, file, *clock, subscriber_mask);
        let thread = std::thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || writer.run(&own))?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// Says that the program starts with this table, once all of it is loaded. Changes of before
    /// are not given to [`write`](Self::write).
    pub fn start(&self, at: Instant, version: u64, bindings: Arc<Vec<Binding>>) {
        let whole = Whole {
            at,
            version,
            bindings,
        };
        self.push(Record::Start(whole));
    }

    /// Takes [`Event::Changed`] and [`Event::Lost`]; other events are none of the log's business.
    // R-268
    pub fn write(&self, event: &Event) {
        match event {
            Event::Changed {
                number,
                change,
                at,
                version,
            } => self.push(Record::Change {
                number: Some(*number),
                at: *at,
                version: *version,
                change: change.clone(),
            }),
            Event::Lost { first, last } => {
                self.push(Record::Lost {
                    first: *first,
                    last: *last,
                });
                self.shared.lock().behind = true;
            }
            Event::Persist { .. }
            | Event::Committed { .. }
            | Event::Failed { .. }
            | Event::SystemPorts { .. }
            | _ => {}
        }
    }

    /// Logs a change that is not one of the stream: a stored lease that the configuration file
    /// contradicts is revoked before it is in the table.
    pub fn note(&self, at: Instant, version: u64, change: Change) {
        self.push(Record::Change {
            number: None,
            at,
            version,
            change,
        });
    }

    /// Whether changes were missed, by [`Event::Lost`] or because the disk was too slow: give the
    /// whole table to [`table`](Self::table).
    #[must_use]
    pub fn needs_table(&self) -> bool {
        self.shared.lock().behind
    }

    /// Takes the whole table after changes were missed, and logs what differs.
    pub fn table(&self, at: Instant, version: u64, bindings: Arc<Vec<Binding>>) {
        let mut state = self.shared.lock();
        state.behind = false;
        let missed = std::mem::take(&mut state.missed);
        drop(state);
        if missed > 0 {
            self.push(Record::Missed(missed));
        }
        let whole = Whole {
            at,
            version,
            bindings,
        };
        self.push(Record::Table(whole));
    }

    /// Takes another relation of monotonic time to UTC, and logs the step where it is one.
    pub fn set_clock(&self, clock: Clock) {
        self.push(Record::Clock(clock));
    }

    /// Takes another number of bits that stand for the subscriber.
    pub fn set_subscriber_mask(&self, bits: u8) {
        self.push(Record::SubscriberMask(bits));
    }

    /// Opens the file by its name again, as `logrotate` asks for by SIGHUP, and begins it with a
    /// snapshot, so that it can be read without the files before it. Where that fails the old one
    /// stays in use.
    pub fn reopen(&self) {
        self.push(Record::Reopen);
    }

    /// How many lines could not be written since the start.
    #[must_use]
    pub fn lost_lines(&self) -> u64 {
        self.shared.lost.load(Ordering::Relaxed)
    }

    /// Logs the end of the program, writes all that waits, and closes the file.
    pub fn stop(mut self, at: Instant) {
        self.push(Record::Stop(at));
        self.end();
    }

    fn push(&self, record: Record) {
        let mut state = self.shared.lock();
        // A record that does not fit leaves the log without knowledge of the table.
        let fits = state.queue.len() < CAPACITY;
        match record {
            Record::Change { .. } if !fits || state.behind => {
                state.behind = true;
                state.missed += 1;
                self.shared.lost.fetch_add(1, Ordering::Relaxed);
            }
            Record::Change { .. }
            | Record::Start(_)
            | Record::Table(_)
            | Record::Lost { .. }
            | Record::Missed(_)
            | Record::Clock(_)
            | Record::SubscriberMask(_)
            | Record::Reopen
            | Record::Stop(_) => state.queue.push_back(record),
        }
        drop(state);
        self.shared.work.notify_one();
    }

    fn end(&mut self) {
        self.shared.lock().stopping = true;
        self.shared.work.notify_one();
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been printed by it.
            let _ = thread.join();
        }
    }
}

impl Drop for BindingLog {
    fn drop(&mut self) {
        self.end();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
