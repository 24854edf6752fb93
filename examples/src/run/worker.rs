//! A thread that moves packets.

use std::os::fd::AsFd;
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use lw4o6_aftr::Side;
use lw4o6_binding::Clock;
use lw4o6_wire::Instant;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::runner::Runner;
use super::shared::{Desk, HopView, Shared, View};
use super::trace::Tracing;
use crate::packet_io::PacketIo;
use crate::stopwatch::{Stopwatch, wait};

/// Between two times that a worker makes its counters known.
const PUBLISH: Duration = Duration::from_millis(20);

/// Turns after which a busy worker looks whether that time is over.
const TURNS: u64 = 64;

/// How long an interface that does not work is left alone.
const PAUSE: Duration = Duration::from_millis(10);

/// A worker with all that it owns.
#[derive(Debug)]
pub(super) struct Worker<I> {
    runner: Runner<I>,
    shared: Arc<Shared>,
    number: usize,
    watch: Stopwatch,
    clock: Clock,
    max_sleep: Duration,
    hops: [HopView; 2],
    /// Orders to trace that are known, and what is traced.
    orders: u64,
    tracing: Option<Tracing>,
    /// When its counters were last made known, and whether they have changed since.
    published: Instant,
    stale: bool,
}

impl<I: PacketIo> Worker<I> {
    /// Worker `number`; 0 is the leader, who resolves next hops.
    ///
    /// `max_sleep` bounds the time without a turn: others take a longer one for a fault.
    pub(super) fn new(
        runner: Runner<I>,
        shared: Arc<Shared>,
        number: usize,
        (watch, clock): (Stopwatch, Clock),
        max_sleep: Duration,
    ) -> Self {
        Self {
            runner,
            shared,
            number,
            watch,
            clock,
            max_sleep,
            hops: [HopView::default(); 2],
            orders: 0,
            tracing: None,
            published: Instant::ZERO,
            stale: true,
        }
    }

    /// Moves packets until all workers are to stop.
    pub(super) fn work(&mut self) {
        let shared = Arc::clone(&self.shared);
        let Some(desk) = shared.desks.get(self.number) else {
            return;
        };
        let mut turns = 0;
        while !shared.is_stopped() {
            let now = self.watch.now();
            self.take_orders(&shared);
            let received = self.runner.turn(now);
            turns += 1;
            // Nobody else writes it.
            desk.turns.store(turns, Ordering::Relaxed);
            self.look(now, received, &shared);
            self.trace();
            if received > 0 {
                self.stale = true;
                if turns % TURNS == 0 {
                    self.publish_in_time(now, desk);
                }
            } else {
                self.publish_in_time(now, desk);
                self.sleep(desk);
            }
        }
        self.publish(self.watch.now(), Some(desk.view()));
    }

    /// Tells the others what this worker knows of next hops, or is told.
    fn look(&mut self, now: Instant, received: usize, shared: &Shared) {
        if self.number == 0 {
            if shared.next_hops_used() {
                self.runner.port.keep_next_hops(now);
            }
            self.watch_next_hops(now, shared);
            return;
        }
        let mut changed = false;
        for (side, known) in Side::ALL.into_iter().zip(&mut self.hops) {
            let mac = shared.next_hop(side);
            if known.mac != mac {
                known.mac = mac;
                self.runner.port.set_next_hop(side, mac);
                changed = true;
            }
        }
        if changed {
            self.runner.drain();
        }
        // Nearly all that comes in goes out again.
        if received > 0 {
            shared.use_next_hops();
        }
    }

    /// Begins or ends to follow packets, before the next one.
    fn take_orders(&mut self, shared: &Shared) {
        if let Some(order) = shared.new_trace(&mut self.orders) {
            let filter = order.as_ref().map(|order| order.filter);
            self.runner.port.set_trace(filter);
            self.tracing = order.map(Tracing::new);
        }
    }

    /// Tells of the packets that were followed, as long as somebody listens.
    fn trace(&mut self) {
        let port = &mut self.runner.port;
        if let Some(tracing) = &mut self.tracing
            && !tracing.pass_on(port, self.number, &self.clock)
        {
            port.set_trace(None);
            self.tracing = None;
        }
    }

    /// Passes next hops on, and tells the operator when one stops or starts answering.
    fn watch_next_hops(&mut self, now: Instant, shared: &Shared) {
        for (side, known) in Side::ALL.into_iter().zip(&mut self.hops) {
            let mac = self.runner.port.next_hop(side);
            let alarm = self.runner.port.next_hop_alarm(side);
            if (known.mac, known.alarm) == (mac, alarm) {
                continue;
            }
            match (known.alarm, alarm) {
                (false, true) => tracing::warn!(?side, "the next hop does not answer"),
                (true, false) => tracing::warn!(?side, "the next hop answers again"),
                (false, false) | (true, true) => {}
            }
            if known.mac != mac {
                shared.set_next_hop(side, mac);
            }
            let since = now;
            *known = HopView { mac, alarm, since };
            self.stale = true;
        }
    }

    fn publish_in_time(&mut self, now: Instant, desk: &Desk) {
        if self.stale && now >= self.published + PUBLISH {
            self.publish(now, desk.try_view());
        }
    }

    /// Makes known what the interfaces counted.
    fn publish(&mut self, now: Instant, view: Option<MutexGuard<'_, View>>) {
        let Some(mut view) = view else {
            return;
        };
        view.hops = self.hops;
        view.at = now;
        view.interfaces.clear();
        let interfaces = self.runner.interfaces.iter_mut();
        view.interfaces
            .extend(interfaces.map(|one| (one.io.counters(), one.io.is_up())));
        (self.published, self.stale) = (now, false);
    }

    /// Sleeps until something can be done.
    fn sleep(&mut self, desk: &Desk) {
        // The table's writer need not wait for us.
        self.runner.port.idle();
        if self.runner.is_failing() {
            wait(PAUSE);
        }
        let now = self.watch.now();
        let due = self.runner.port.poll_timeout();
        let news = self.stale.then_some(self.published + PUBLISH);
        let due = [due, news].into_iter().flatten().min();
        let due = due.map_or(self.max_sleep, |due| due.saturating_since(now));
        // Up, so that a timer is due when we wake.
        let millis = due.min(self.max_sleep).as_micros().div_ceil(1000);
        let timeout = PollTimeout::try_from(millis).unwrap_or(PollTimeout::ZERO);
        let clock = desk.alarm_clock();
        let mut fds =
            std::array::from_fn::<_, 3, _>(|_| PollFd::new(clock.as_fd(), PollFlags::POLLIN));
        let interfaces = self.runner.interfaces.iter();
        let handles = interfaces.filter_map(|one| one.io.wait_fd());
        for (to, handle) in fds.iter_mut().skip(1).zip(handles) {
            *to = PollFd::new(handle, PollFlags::POLLIN);
        }
        // An interrupted sleep is a short one.
        let _ = poll(&mut fds, timeout);
        let _ = clock.read();
    }
}
