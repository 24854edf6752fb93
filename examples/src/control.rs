//! The control half of a running lwAFTR: the one owner of configuration, bindings and knobs.
//!
//! ```text
//! requests, SIGHUP, outcomes of the store --> Control --> table, knobs   (workers follow)
//!                                               |  ^
//!                             Persist{seq}      v  |      Persisted / Failed
//!                                             store thread
//! ```
//!
//! [`Control`] never waits: what has to be stored is answered when the store has said so, and files
//! are read elsewhere. It does no I/O but through its [`Parts`], so a test needs no interface.

mod alarms;
mod commit;
mod files;
mod follow;
mod knobs;
mod lookup;
mod model;
mod parts;
mod reload;
mod request;
mod snapshot;
mod softwires;
mod status;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use lw4o6_binding::{Clock, History, Seq, Utc};
use lw4o6_wire::Instant;

pub use self::alarms::Alarm;
use self::alarms::Troubles;
use self::commit::{Done, Waiting, WaitingId};
pub use self::files::FileReader;
use self::follow::Follower;
pub use self::model::Running;
pub use self::parts::{ChangeLog, Logged, Parts, ReadConfig, Recorder, Stored};
use self::reload::Reload;
pub use self::request::{
    Addition, Answer, Input, ModelPart, Page, Refusal, Reply, Request, SoftwireView, TrafficView,
    key_text, parse_key,
};
pub use self::snapshot::Snapshot;
use crate::config::Config;
use crate::setup::Router;
use crate::view::DataPlane;

/// Requests that wait for [`Control`] at most; more are refused where they are made.
pub const MOST_WAITING: usize = 256;

/// The way to [`Control`], for every thread that has something for it.
#[must_use]
pub fn channel() -> (SyncSender<Input>, Receiver<Input>) {
    sync_channel(MOST_WAITING)
}

/// The control half; see the [module](self).
pub struct Control {
    config: Config,
    router: Router,
    data_plane: Box<dyn DataPlane>,
    store: Option<Box<dyn Recorder>>,
    log: Option<Box<dyn ChangeLog>>,
    reload: Reload,
    clock: Clock,
    now: Instant,
    started: Utc,
    changed: Utc,
    history: History,
    followers: Vec<Follower>,
    tracing: bool,
    waiting: BTreeMap<WaitingId, Waiting>,
    waits: BTreeMap<Seq, Vec<WaitingId>>,
    next_waiting: WaitingId,
    /// The newest decision that was passed on.
    newest: Seq,
    troubles: Troubles,
    stopping: bool,
}

impl std::fmt::Debug for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Control")
            .field("bindings", &self.router.bindings)
            .field("waiting", &self.waiting.len())
            .finish_non_exhaustive()
    }
}

impl Control {
    /// Puts the parts together; the clock starts at the [`Clock`] among them.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let Parts {
            config,
            router,
            data_plane,
            store,
            log,
            reader,
            clock,
        } = parts;
        let mut control = Self {
            history: History::new(config.file.state.history),
            config,
            router,
            data_plane,
            store,
            log,
            reload: Reload::new(reader),
            clock,
            now: clock.instant,
            started: clock.utc,
            changed: clock.utc,
            followers: Vec::new(),
            tracing: false,
            waiting: BTreeMap::new(),
            waits: BTreeMap::new(),
            next_waiting: WaitingId::default(),
            newest: Seq::default(),
            troubles: Troubles::default(),
            stopping: false,
        };
        control.pump();
        control
    }

    /// Takes what arrived at `now`.
    pub fn handle(&mut self, now: Instant, input: Input) {
        self.now = self.now.max(now);
        match input {
            Input::Call { request, reply } => self.call(request, reply),
            Input::Stored(stored) => self.stored(stored),
            Input::Read(read) => self.read(read),
            Input::Reload => self.hangup(),
            Input::Clock(clock) => self.set_clock(clock),
            // Whoever has the threads looks after them.
            Input::WorkerEnded(_) => {}
            Input::Stop => self.stopping = true,
        }
        self.pump();
    }

    fn set_clock(&mut self, clock: Clock) {
        self.clock = clock;
        if let Some(store) = &mut self.store {
            store.set_clock(clock);
        }
        if let Some(log) = &mut self.log {
            log.set_clock(clock);
        }
    }

    /// Gives the log the whole table, where it has missed changes. It takes milliseconds, so this is
    /// not for every change.
    pub fn catch_up(&mut self) {
        let bindings = &self.router.bindings;
        if let Some(log) = &mut self.log
            && log.needs_table()
        {
            let all = Arc::new(bindings.iter().copied().collect());
            log.table(self.now, bindings.version(), all);
        }
    }

    /// Does what is due at `now`: leases end, records are offered again.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = self.now.max(now);
        self.router.bindings.handle_timeout(self.now);
        self.pump();
    }

    /// When [`handle_timeout`](Self::handle_timeout) has work next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.router.bindings.poll_timeout().map(|due| due.at)
    }

    /// Whether SIGTERM came.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.stopping
    }

    /// Whether the configuration is being read again, or what it said waits for the store.
    #[must_use]
    pub fn is_reloading(&self) -> bool {
        let is_reload = |waiting: &Waiting| matches!(waiting.done, Done::Reload(_));
        self.reload.is_reading() || self.waiting.values().any(is_reload)
    }

    /// Whether decisions wait for the store.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The configuration in force.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The engine and its bindings.
    #[must_use]
    pub fn router(&self) -> &Router {
        &self.router
    }

    /// The workers, for their owner.
    pub fn data_plane(&mut self) -> &mut dyn DataPlane {
        self.data_plane.as_mut()
    }

    fn call(&mut self, request: Request, reply: Reply) {
        let answer = match request {
            Request::Status => self.status(),
            Request::Health => self.health(),
            Request::Snapshot => Ok(Answer::Snapshot(Box::new(self.snapshot()))),
            Request::Counters => self.counters(),
            Request::Interfaces => Answer::json(&self.data_plane.interfaces()),
            Request::Workers => Answer::json(&self.data_plane.workers()),
            Request::NextHops => Answer::json(&self.data_plane.next_hops()),
            Request::Config => self.show_config(),
            Request::Knobs => Answer::json(&self.knobs()),
            Request::Softwires(page) => self.softwires(page),
            Request::Model(part) => self.model(part),
            Request::Add(addition) => return self.add(&addition, reply),
            Request::Remove(key) => return self.remove(&key, reply),
            Request::Set { name, value } => self.set(&name, &value),
            Request::Reload { diff } => return self.ask_reload(diff, reply),
            Request::ReplaceTable(body) => return self.replace_table(&body, reply),
            Request::Who { ipv4, port, at } => self.who(ipv4, port, at),
            Request::What { b4, at } => self.what(b4, at),
            Request::Events => self.follow(),
            Request::Trace(request) => self.trace(request),
            Request::TraceEnd => {
                self.tracing = false;
                self.data_plane.trace(None);
                Ok(Answer::Json(serde_json::Value::Null))
            }
        };
        // Who asked may have gone away.
        let _ = reply.send(answer);
    }

    fn trace(&mut self, request: crate::view::TraceRequest) -> Result<Answer, Refusal> {
        if self.tracing {
            let what = "packets are being traced already; one trace at a time";
            return Err(Refusal::new(409, "", "docs/LIMITS.md", what));
        }
        self.tracing = true;
        self.data_plane.trace(Some(request));
        Ok(Answer::Json(serde_json::Value::Null))
    }
}
