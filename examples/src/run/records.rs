//! Store and log behind what the control half expects of them.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use lw4o6_binding::{Binding, Change, Clock, Event, Seq};
use lw4o6_wire::Instant;

use crate::binding_log::BindingLog;
use crate::control::{ChangeLog, Input, Logged, Recorder, Stored};
use crate::error::Failure;
use crate::stopwatch::Stopwatch;
use crate::store::{Store, StoreResult, StoreThread};

/// The store at work. Dropping it writes what waits.
#[derive(Debug)]
pub(super) struct StoreRecorder(StoreThread);

impl StoreRecorder {
    /// # Errors
    ///
    /// Where there can be no thread.
    pub(super) fn start(store: Store, to: SyncSender<Input>) -> Result<Self, Failure> {
        let notify = move |result| {
            let stored = match result {
                StoreResult::Persisted(seq) => Stored::Persisted(seq),
                StoreResult::Failed(seq, error) => Stored::Failed(seq, error.to_string()),
            };
            // At the end nobody listens, and what is stored is stored.
            let _ = to.send(Input::Stored(stored));
        };
        StoreThread::start(store, notify)
            .map(Self)
            .map_err(|error| Failure::run(format!("thread for the store: {error}")))
    }
}

impl Recorder for StoreRecorder {
    fn record(&mut self, seq: Seq, change: Change) {
        self.0.write(seq, change);
    }

    fn note(&mut self, change: &Change) {
        self.0.note(change);
    }

    fn resume(&mut self) {
        self.0.resume();
    }

    fn set_clock(&mut self, clock: Clock) {
        self.0.set_clock(clock);
    }
}

/// The log at work. Dropping it logs the end of the program.
#[derive(Debug)]
pub(super) struct LogWriter {
    log: Option<BindingLog>,
    watch: Stopwatch,
    /// The last change of the start, which the log has as a whole.
    before: u64,
    subscriber_mask: u8,
    lost: u64,
}

impl LogWriter {
    /// Takes `log`, which has been told of the table as of change `before`.
    pub(super) fn new(log: BindingLog, watch: Stopwatch, before: u64, subscriber_mask: u8) -> Self {
        Self {
            log: Some(log),
            watch,
            before,
            subscriber_mask,
            lost: 0,
        }
    }
}

impl ChangeLog for LogWriter {
    fn write(&mut self, logged: &Logged<'_>) -> io::Result<()> {
        let Some(log) = &self.log else { return Ok(()) };
        if logged.number <= self.before {
            return Ok(());
        }
        if self.subscriber_mask != logged.subscriber_mask {
            self.subscriber_mask = logged.subscriber_mask;
            log.set_subscriber_mask(logged.subscriber_mask);
        }
        log.write(&Event::Changed {
            number: logged.number,
            change: logged.change.clone(),
            at: logged.instant,
            version: logged.version,
        });
        let lost = log.lost_lines();
        let lines = lost - std::mem::replace(&mut self.lost, lost);
        if lines > 0 {
            return Err(io::Error::other(format!(
                "{lines} lines could not be written"
            )));
        }
        Ok(())
    }

    fn reopen(&mut self) -> io::Result<()> {
        self.log.iter().for_each(BindingLog::reopen);
        Ok(())
    }

    fn set_clock(&mut self, clock: Clock) {
        self.log.iter().for_each(|log| log.set_clock(clock));
    }

    fn needs_table(&self) -> bool {
        self.log.as_ref().is_some_and(BindingLog::needs_table)
    }

    fn table(&mut self, at: Instant, version: u64, bindings: Arc<Vec<Binding>>) {
        if let Some(log) = &self.log {
            log.table(at, version, bindings);
        }
    }
}

impl Drop for LogWriter {
    fn drop(&mut self) {
        if let Some(log) = self.log.take() {
            log.stop(self.watch.now());
        }
    }
}
