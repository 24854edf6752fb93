//! What [`Control`](super::Control) is put together from; everything that touches the world is here.

use std::sync::Arc;

use lw4o6_binding::{Binding, Change, Clock, Seq, Utc};
use lw4o6_wire::Instant;

use crate::config::Config;
use crate::setup::Router;
use crate::view::DataPlane;

/// The parts of a running lwAFTR, for [`Control::new`](super::Control::new).
pub struct Parts {
    /// The configuration that `router` was made from.
    pub config: Config,
    /// Engine and bindings.
    pub router: Router,
    /// The workers.
    pub data_plane: Box<dyn DataPlane>,
    /// Where decisions are stored; `None` confirms at once.
    pub store: Option<Box<dyn Recorder>>,
    /// Where changes of the table are logged.
    pub log: Option<Box<dyn ChangeLog>>,
    /// How the configuration is read again.
    pub reader: Box<dyn ReadConfig>,
    /// Ties monotonic time to UTC.
    pub clock: Clock,
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parts").finish_non_exhaustive()
    }
}

/// Stores decisions in their order, on a thread of its own.
pub trait Recorder: Send {
    /// Begins to store `change`. The outcome comes back as [`Input::Stored`](super::Input::Stored).
    fn record(&mut self, seq: Seq, change: Change);

    /// Takes a change that is no decision: the quarantine of a softwire begins or ends. It is stored
    /// with the next decision, without an answer.
    //
    fn note(&mut self, change: &Change) {
        let _ = change;
    }

    /// Says that the last [`Stored::Failed`] is known: what is recorded from now on was decided
    /// afterwards.
    fn resume(&mut self) {}

    /// The wall clock stepped.
    fn set_clock(&mut self, clock: Clock) {
        let _ = clock;
    }
}

/// How storing ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stored {
    /// Everything up to this decision is stored.
    Persisted(Seq),
    /// This decision and those after it are not; in the words of the store.
    Failed(Seq, String),
}

/// A change of the table, for the log.
#[derive(Clone, Copy, Debug)]
pub struct Logged<'a> {
    /// Counts the changes from 1.
    pub number: u64,
    /// When.
    pub at: Utc,
    /// The same on the clock of the program.
    pub instant: Instant,
    /// Number of the table after the change.
    pub version: u64,
    /// What changed.
    pub change: &'a Change,
    /// Leading bits of a B4 address that stand for the subscriber.
    pub subscriber_mask: u8,
    /// For the ends of leases.
    pub clock: &'a Clock,
}

/// Writes changes of the table down.
//
pub trait ChangeLog: Send {
    /// Takes a change; must not wait for a disk that is slow.
    ///
    /// # Errors
    ///
    /// Why it is not in the log.
    fn write(&mut self, logged: &Logged<'_>) -> std::io::Result<()>;

    /// Opens its file anew, after somebody moved it away.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn reopen(&mut self) -> std::io::Result<()>;

    /// The wall clock stepped.
    fn set_clock(&mut self, clock: Clock) {
        let _ = clock;
    }

    /// Whether it has missed changes, and wants the [`table`](Self::table) as a whole.
    fn needs_table(&self) -> bool {
        false
    }

    /// Takes the whole table.
    fn table(&mut self, at: Instant, version: u64, bindings: Arc<Vec<Binding>>) {
        let _ = (at, version, bindings);
    }
}

/// Reads the configuration again, elsewhere.
pub trait ReadConfig: Send {
    /// Begins to read. The outcome comes back as [`Input::Read`](super::Input::Read).
    fn begin(&mut self);
}
