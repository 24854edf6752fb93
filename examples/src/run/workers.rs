//! All workers, from outside.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::SyncSender;
use std::thread::JoinHandle;
use std::time::Duration;

use lw4o6_aftr::port::{Accounts, SharedCounters};
use lw4o6_aftr::{CounterSnapshot, DropReason, Side};
use lw4o6_binding::Clock;

use super::runner::Runner;
use super::shared::{Shared, View};
use super::trace::TraceOrder;
use super::worker::Worker;
use crate::control::Input;
use crate::error::Failure;
use crate::packet_io::{IoCounters, PacketIo};
use crate::report::Report;
use crate::stopwatch::Stopwatch;
use crate::view::{DataPlane, InterfaceView, NextHopView, TraceRequest, WorkerView};

/// What the workers' views do not say.
#[derive(Clone, Debug)]
pub(super) struct Labels {
    /// Names of the interfaces, and the sides they serve, by number.
    pub(super) interfaces: Vec<(String, Vec<Side>)>,
    /// Next hops of the configuration, in the order of [`Side::ALL`].
    pub(super) next_hops: [String; 2],
}

/// The threads that move packets. Dropping it stops them.
#[derive(Debug)]
pub struct Workers {
    plane: Plane,
    threads: Vec<JoinHandle<()>>,
}

/// What the workers make known, for whom it concerns.
#[derive(Clone, Debug)]
pub struct Plane {
    shared: Arc<Shared>,
    labels: Arc<Labels>,
}

/// Tells the main thread that a worker is no more, whatever the reason.
struct Ended {
    shared: Arc<Shared>,
    number: usize,
    to: SyncSender<Input>,
}

impl Drop for Ended {
    fn drop(&mut self) {
        if let Some(desk) = self.shared.desks.get(self.number) {
            desk.alive.store(false, Ordering::Release);
        }
        // Who has too much to do sees it from `alive` afterwards.
        let _ = self.to.try_send(Input::WorkerEnded(self.number));
    }
}

impl Workers {
    /// Starts a thread for each of `runners`, the first of which leads.
    ///
    /// # Errors
    ///
    /// Where there are no threads or descriptors left; those that run are stopped.
    pub(super) fn start<I: PacketIo + Send + 'static>(
        runners: Vec<Runner<I>>,
        labels: Labels,
        (watch, clock): (Stopwatch, Clock),
        max_sleep: Duration,
        to: &SyncSender<Input>,
    ) -> Result<Self, Failure> {
        let wrong = |error: &dyn std::fmt::Display| Failure::run(format!("workers: {error}"));
        let counters = runners.iter().map(|runner| runner.port.shared_counters());
        let shared = Arc::new(Shared::new(counters).map_err(|error| wrong(&error))?);
        let plane = Plane {
            shared: Arc::clone(&shared),
            labels: Arc::new(labels),
        };
        let mut workers = Self {
            plane,
            threads: Vec::new(),
        };
        for (number, runner) in runners.into_iter().enumerate() {
            let ended = Ended {
                shared: Arc::clone(&shared),
                number,
                to: to.clone(),
            };
            let mut worker = Worker::new(
                runner,
                Arc::clone(&shared),
                number,
                (watch, clock),
                max_sleep,
            );
            let thread = std::thread::Builder::new()
                .name(format!("worker-{number}"))
                .spawn(move || {
                    let _ended = ended;
                    worker.work();
                });
            // Dropping `workers` stops those that run.
            workers.threads.push(thread.map_err(|error| wrong(&error))?);
        }
        Ok(workers)
    }

    /// What the workers make known.
    #[must_use]
    pub fn plane(&self) -> Plane {
        self.plane.clone()
    }

    /// A worker whose thread is gone.
    pub(super) fn ended(&self) -> Option<usize> {
        let mut desks = self.plane.shared.desks.iter();
        desks.position(|desk| !desk.alive.load(Ordering::Acquire))
    }

    /// Turns that each worker has made.
    pub(super) fn turns(&self) -> impl Iterator<Item = u64> {
        let desks = self.plane.shared.desks.iter();
        desks.map(|desk| desk.turns.load(Ordering::Relaxed))
    }

    /// Stops all workers, and waits until they have counted their last frame.
    ///
    /// # Errors
    ///
    /// Which worker panicked, and why.
    pub fn stop(&mut self) -> Result<(), Failure> {
        self.plane.shared.stop();
        let mut result = Ok(());
        for (number, thread) in self.threads.drain(..).enumerate() {
            if let Err(panic) = thread.join()
                && result.is_ok()
            {
                let why = message(panic.as_ref());
                result = Err(Failure::run(format!("worker {number} has failed: {why}")));
            }
        }
        result
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        if let Err(failure) = self.stop() {
            tracing::error!("{failure}");
        }
    }
}

impl Plane {
    /// What the workers made known last; after [`Workers::stop`] that is everything.
    #[must_use]
    pub fn report(&self) -> Report {
        let mut report = Report::default();
        for desk in &self.shared.desks {
            report.counted(&desk.counters.worker(), &desk.counters.port());
            report.clock_micros = report.clock_micros.max(desk.view().at.as_micros());
        }
        report.accounted(&self.accounts());
        report.interfaces = self
            .interface_counters()
            .map(|(name, _, counters, _)| (name.clone(), counters))
            .collect();
        let unresolved = self.next_hops().into_iter();
        let unresolved = unresolved.filter(|hop| hop.mac.is_none());
        report.unresolved.extend(unresolved.map(|hop| hop.side));
        report
    }

    /// Where every frame went. While workers are at work some may be on their way, so that the books
    /// do not close; after [`Workers::stop`] they do.
    #[must_use]
    pub fn accounts(&self) -> Accounts {
        let mut sum = Accounts::default();
        for desk in &self.shared.desks {
            let settled = desk.counters.settled_accounts();
            sum.add(&settled.unwrap_or_else(|| desk.counters.accounts()));
        }
        sum
    }

    fn views(&self) -> impl Iterator<Item = View> {
        self.shared.desks.iter().map(|desk| desk.view().clone())
    }

    /// Name, sides, counters of all workers together, and whether frames can pass.
    fn interface_counters(&self) -> impl Iterator<Item = (&String, &Vec<Side>, IoCounters, bool)> {
        let views: Vec<_> = self.views().collect();
        let labels = self.labels.interfaces.iter().enumerate();
        labels.map(move |(index, (name, sides))| {
            let of_workers = views.iter().filter_map(|view| view.interfaces.get(index));
            let start = (IoCounters::default(), true);
            let (counters, up) = of_workers.fold(start, |(mut sum, up), (counters, is_up)| {
                sum += *counters;
                (sum, up && *is_up)
            });
            (name, sides, counters, up)
        })
    }
}

impl DataPlane for Plane {
    fn workers(&self) -> Vec<WorkerView> {
        let desks = self.shared.desks.iter().enumerate();
        desks
            .map(|(number, desk)| WorkerView {
                number,
                counters: by_name(&desk.counters),
                alive: desk.alive.load(Ordering::Acquire),
            })
            .collect()
    }

    fn interfaces(&self) -> Vec<InterfaceView> {
        let interfaces = self.interface_counters();
        interfaces
            .map(|(name, sides, counters, up)| InterfaceView {
                name: name.clone(),
                sides: sides.iter().copied().map(crate::view::side_name).collect(),
                up,
                counters,
            })
            .collect()
    }

    fn next_hops(&self) -> Vec<NextHopView> {
        let Some(leader) = self.views().next() else {
            return Vec::new();
        };
        let hops = Side::ALL
            .into_iter()
            .zip(leader.hops)
            .zip(&self.labels.next_hops);
        hops.map(|((side, hop), configured)| NextHopView {
            side,
            configured: configured.clone(),
            mac: hop.mac,
            alarm: hop.alarm,
            since: hop.since,
        })
        .collect()
    }

    fn counters(&self) -> CounterSnapshot {
        let mut sum = CounterSnapshot::default();
        for desk in &self.shared.desks {
            sum.merge(&desk.counters.worker());
            let port = desk.counters.port();
            for reason in DropReason::ALL {
                sum.add_drops(*reason, port.drops(*reason));
            }
        }
        sum
    }

    fn neighbors(&self) -> BTreeMap<&'static str, u64> {
        let mut sum = BTreeMap::new();
        for desk in &self.shared.desks {
            for (name, count) in desk.counters.port().neighbor_counters() {
                *sum.entry(name).or_default() += count;
            }
        }
        sum
    }

    fn trace(&mut self, request: Option<TraceRequest>) {
        self.shared.set_trace(request.map(TraceOrder::new));
    }
}

/// The counters of a worker and of the port around it; those of value 0 left out.
fn by_name(shared: &SharedCounters) -> BTreeMap<&'static str, u64> {
    let mut counters = BTreeMap::new();
    let (engine, port) = (shared.worker(), shared.port());
    let drops = DropReason::ALL.iter();
    let drops = drops.map(|reason| (reason.as_str(), port.drops(*reason)));
    for (name, count) in engine.iter().chain(drops).chain(port.neighbor_counters()) {
        if count > 0 {
            *counters.entry(name).or_default() += count;
        }
    }
    counters
}

/// What a panic said.
fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("no reason given")
}
