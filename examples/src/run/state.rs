//! What outlives the program: the store of bindings and their log.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use lw4o6_binding::{Binding, Change, Clock, RemoveReason};

use super::records::{LogWriter, StoreRecorder};
use super::restore::restore;
use crate::binding_log::BindingLog;
use crate::config::Config;
use crate::control::{ChangeLog, Input, Recorder};
use crate::error::Failure;
use crate::setup::Router;
use crate::stopwatch::Stopwatch;
use crate::store::Store;

/// The files of `[state]`, open.
pub(super) struct State {
    store: Option<Store>,
    /// The log is opened anew by its name, so its path has to be good for the user that we become.
    log: Option<PathBuf>,
    revoked: Vec<Binding>,
    clock: Clock,
    subscriber_mask: u8,
}

/// The same at work.
type Running = (Option<Box<dyn Recorder>>, Option<Box<dyn ChangeLog>>);

impl State {
    /// Opens what the configuration names, and puts the stored bindings beside those of the file.
    ///
    /// # Errors
    ///
    /// Where a file cannot be used, or stored bindings do not fit.
    pub(super) fn open(
        config: &Config,
        router: &mut Router,
        clock: &Clock,
        watch: Stopwatch,
    ) -> Result<Self, Failure> {
        let section = &config.file.state;
        let directory = config.path.parent().unwrap_or(Path::new(""));
        let mut state = Self {
            store: None,
            log: section.log.as_ref().map(|log| directory.join(log)),
            revoked: Vec::new(),
            clock: *clock,
            subscriber_mask: router.bindings.config().policy.subscriber_mask,
        };
        if let Some(path) = &section.store {
            let path = directory.join(path);
            let wrong = |error: &dyn std::fmt::Display| Failure::run(error.to_string());
            let (mut store, stored) = Store::open(&path, clock).map_err(|error| wrong(&error))?;
            if let Some(behind) = stored.clock_behind {
                tracing::warn!(
                    ?behind,
                    "the clock is behind the last change that was stored"
                );
            }
            let bindings = &mut router.bindings;
            state.revoked = restore(bindings, watch.now(), stored)?;
            store.write_all(bindings).map_err(|error| wrong(&error))?;
            state.store = Some(store);
        }
        Ok(state)
    }

    /// Starts their threads.
    ///
    /// # Errors
    ///
    /// Where the log cannot be opened, or there can be no thread.
    pub(super) fn start(
        self,
        router: &Router,
        watch: Stopwatch,
        to: &SyncSender<Input>,
    ) -> Result<Running, Failure> {
        let store = self
            .store
            .map(|store| StoreRecorder::start(store, to.clone()));
        let store = store.transpose()?;
        let Some(path) = self.log else {
            return Ok((store.map(boxed), None));
        };
        let (bindings, now) = (&router.bindings, watch.now());
        let log = BindingLog::open(&path, &self.clock, self.subscriber_mask)
            .map_err(|error| Failure::at(&path, error))?;
        let (version, all) = (bindings.version(), bindings.iter().copied().collect());
        log.start(now, version, Arc::new(all));
        for binding in self.revoked {
            let reason = RemoveReason::Revoked;
            log.note(now, version, Change::Removed { binding, reason });
        }
        let before = bindings.last_change();
        let log = LogWriter::new(log, watch, before, self.subscriber_mask);
        let log: Box<dyn ChangeLog> = Box::new(log);
        Ok((store.map(boxed), Some(log)))
    }
}

fn boxed(store: StoreRecorder) -> Box<dyn Recorder> {
    Box::new(store)
}
