//! The main thread.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use lw4o6_binding::Clock;
use lw4o6_wire::Instant;

use super::MAX_SLEEP;
use super::notify::ServiceManager;
use super::workers::Workers;
use crate::config::clock;
use crate::control::{Control, Input};
use crate::error::Failure;
use crate::management::Server;
use crate::report::Report;
use crate::stopwatch::Stopwatch;

/// A wall clock that differs by more from the program's has been set.
const STEP: u64 = 1_000_000;

/// How long the end waits for the store.
const LAST_WAIT: Duration = Duration::from_secs(5);

/// Everything that runs, and who is responsible for it.
pub(super) struct Service {
    pub(super) workers: Workers,
    pub(super) control: Control,
    pub(super) server: Server,
    pub(super) manager: ServiceManager,
    pub(super) inputs: Receiver<Input>,
    pub(super) watch: Stopwatch,
    pub(super) clock: Clock,
}

impl Service {
    /// Serves until it is told to stop, or a worker has ended.
    pub(super) fn run(mut self) -> Result<Report, Failure> {
        self.manager.ready(&self.status());
        let fault = self.until_stopped();
        self.manager.stopping();
        let Self {
            mut workers,
            control,
            server,
            inputs,
            watch,
            ..
        } = self;
        let control = until_stored(control, &inputs, watch);
        server.stop();
        // Nobody waits for room in the channel any more: store and log end when all is written.
        drop(inputs);
        drop(control);
        // A worker that has failed says why.
        workers.stop()?;
        fault.map_or_else(|| Ok(workers.plane().report()), Err)
    }

    /// `None` where all is as it should be.
    fn until_stopped(&mut self) -> Option<Failure> {
        let mut next_look = Instant::ZERO;
        let mut reloading = false;
        while !self.control.is_stopping() {
            let now = self.watch.now();
            self.manager.handle_timeout(now, self.workers.turns());
            if let Some(number) = self.workers.ended() {
                return Some(Failure::run(format!("worker {number} has ended")));
            }
            if self.control.poll_timeout().is_some_and(|due| due <= now) {
                self.control.handle_timeout(now);
            }
            if now >= next_look {
                next_look = now + MAX_SLEEP;
                self.look(now);
            }
            match self.inputs.recv_timeout(self.until_due(now)) {
                Ok(input) => self.control.handle(self.watch.now(), input),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return Some(Failure::run("signals are not received any more"));
                }
            }
            reloading = self.tell_of_reload(reloading);
        }
        None
    }

    /// What is to be done about once a second.
    fn look(&mut self, now: Instant) {
        self.control.catch_up();
        let wall = clock().utc;
        if wall
            .as_micros()
            .abs_diff(self.clock.utc_of(now).as_micros())
            > STEP
        {
            tracing::warn!(time = %wall, "the wall clock was set");
            let (instant, utc) = (now, wall);
            self.clock = Clock { instant, utc };
            self.control.handle(now, Input::Clock(self.clock));
        }
    }

    fn until_due(&self, now: Instant) -> Duration {
        let due = [self.manager.poll_timeout(), self.control.poll_timeout()];
        let due = due.into_iter().flatten().min();
        due.map_or(MAX_SLEEP, |due| due.saturating_since(now))
            .min(MAX_SLEEP)
    }

    /// Tells the service manager when a reload begins and ends; whether one is under way.
    fn tell_of_reload(&self, before: bool) -> bool {
        let now = self.control.is_reloading();
        match (before, now) {
            (false, true) => self.manager.reloading(),
            (true, false) => self.manager.ready(&self.status()),
            (false, false) | (true, true) => {}
        }
        now
    }

    fn status(&self) -> String {
        let softwires = self.control.router().bindings.len();
        let workers = self.workers.turns().count();
        let s = |count| if count == 1 { "" } else { "s" };
        format!(
            "{softwires} softwire{}, {workers} worker{}",
            s(softwires),
            s(workers)
        )
    }
}

/// Waits for the answers that the store still owes, but not for long.
fn until_stored(mut control: Control, inputs: &Receiver<Input>, watch: Stopwatch) -> Control {
    let end = watch.now() + LAST_WAIT;
    while control.is_waiting() {
        let now = watch.now();
        let Ok(input) = inputs.recv_timeout(end.saturating_since(now)) else {
            tracing::warn!("the store has not answered in time");
            break;
        };
        // What is asked now gets no answer: a client sees the connection end.
        if matches!(input, Input::Stored(_)) {
            control.handle(now, input);
        }
    }
    control
}
