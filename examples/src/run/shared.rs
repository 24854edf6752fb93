//! What workers, their leader and the main thread know of each other.
//!
//! A worker looks at a few atomic words once a turn and takes a lock only where one of them has
//! changed. What it makes known it writes where nobody reads at that moment, or else next time.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use lw4o6_aftr::Side;
use lw4o6_aftr::port::SharedCounters;
use lw4o6_wire::Instant;
use lw4o6_wire::ethernet::MacAddr;
use nix::sys::eventfd::{EfdFlags, EventFd};

use super::trace::TraceOrder;
use crate::packet_io::IoCounters;

/// Marks a cell that holds an Ethernet address; the address is the 48 bits below.
const KNOWN: u64 = 1 << 48;

/// All workers of a router.
#[derive(Debug)]
pub(super) struct Shared {
    stop: AtomicBool,
    /// Ethernet addresses of the next hops, in the order of [`Side::ALL`].
    hops: [AtomicU64; 2],
    /// A follower sends, so the leader keeps the next hops.
    used: AtomicBool,
    /// Counts the orders to trace; a worker takes the lock only where it has changed.
    orders: AtomicU64,
    trace: Mutex<Option<TraceOrder>>,
    pub(super) desks: Vec<Desk>,
}

/// One worker.
#[derive(Debug)]
pub(super) struct Desk {
    /// Turns made, so that others see that it works.
    pub(super) turns: AtomicU64,
    pub(super) alive: AtomicBool,
    /// What its engine counts.
    pub(super) counters: SharedCounters,
    wake: EventFd,
    view: Mutex<View>,
}

/// What a worker last made known.
#[derive(Clone, Debug, Default)]
pub(super) struct View {
    /// By number, and whether frames can pass.
    pub(super) interfaces: Vec<(IoCounters, bool)>,
    /// In the order of [`Side::ALL`].
    pub(super) hops: [HopView; 2],
    pub(super) at: Instant,
}

/// A next hop as the leader sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct HopView {
    pub(super) mac: Option<MacAddr>,
    pub(super) alarm: bool,
    pub(super) since: Instant,
}

impl Shared {
    /// # Errors
    ///
    /// Where the kernel has no event descriptor left.
    pub(super) fn new(counters: impl Iterator<Item = SharedCounters>) -> nix::Result<Self> {
        let desks = counters.map(Desk::new);
        Ok(Self {
            stop: AtomicBool::new(false),
            hops: [AtomicU64::new(0), AtomicU64::new(0)],
            used: AtomicBool::new(false),
            orders: AtomicU64::new(0),
            trace: Mutex::default(),
            desks: desks.collect::<Result<_, _>>()?,
        })
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.desks.iter().for_each(Desk::wake);
    }

    /// Tells the followers of a next hop.
    pub(super) fn set_next_hop(&self, side: Side, mac: Option<MacAddr>) {
        self.hop(side).store(packed(mac), Ordering::Release);
        // Packets may wait for it.
        self.desks.iter().skip(1).for_each(Desk::wake);
    }

    /// What the leader knows of a next hop.
    pub(super) fn next_hop(&self, side: Side) -> Option<MacAddr> {
        unpacked(self.hop(side).load(Ordering::Acquire))
    }

    /// Notes that a follower sends; the leader is told at once where the next hop is not known.
    pub(super) fn use_next_hops(&self) {
        if self.used.load(Ordering::Relaxed) || self.used.swap(true, Ordering::AcqRel) {
            return;
        }
        let unknown = Side::ALL
            .into_iter()
            .any(|side| self.next_hop(side).is_none());
        if unknown && let Some(leader) = self.desks.first() {
            leader.wake();
        }
    }

    /// Whether a follower has sent since the last question.
    pub(super) fn next_hops_used(&self) -> bool {
        self.used.load(Ordering::Relaxed) && self.used.swap(false, Ordering::AcqRel)
    }

    /// Has all workers trace other packets, or none.
    pub(super) fn set_trace(&self, order: Option<TraceOrder>) {
        *self.trace.lock().unwrap_or_else(PoisonError::into_inner) = order;
        self.orders.fetch_add(1, Ordering::Release);
        // The next packet is to be traced already.
        self.desks.iter().for_each(Desk::wake);
    }

    /// What is to be traced, where that has changed since `known`.
    pub(super) fn new_trace(&self, known: &mut u64) -> Option<Option<TraceOrder>> {
        let orders = self.orders.load(Ordering::Acquire);
        if orders == *known {
            return None;
        }
        *known = orders;
        let trace = self.trace.lock().unwrap_or_else(PoisonError::into_inner);
        Some(trace.clone())
    }

    fn hop(&self, side: Side) -> &AtomicU64 {
        let [softwire, internet] = &self.hops;
        match side {
            Side::Softwire => softwire,
            Side::Internet => internet,
        }
    }
}

impl Desk {
    fn new(counters: SharedCounters) -> nix::Result<Self> {
        let flags = EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC;
        Ok(Self {
            turns: AtomicU64::new(0),
            alive: AtomicBool::new(true),
            counters,
            wake: EventFd::from_flags(flags)?,
            view: Mutex::default(),
        })
    }

    /// Ends the worker's sleep, or its next one.
    pub(super) fn wake(&self) {
        // Full is as good as written.
        let _ = self.wake.write(1);
    }

    /// What to sleep on.
    pub(super) fn alarm_clock(&self) -> &EventFd {
        &self.wake
    }

    /// What the worker last made known.
    pub(super) fn view(&self) -> MutexGuard<'_, View> {
        // A worker that ends in the middle of writing leaves numbers, if old ones.
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same to write, unless somebody reads.
    pub(super) fn try_view(&self) -> Option<MutexGuard<'_, View>> {
        self.view.try_lock().ok()
    }
}

fn packed(mac: Option<MacAddr>) -> u64 {
    mac.map_or(0, |MacAddr([a, b, c, d, e, f])| {
        KNOWN | u64::from_be_bytes([0, 0, a, b, c, d, e, f])
    })
}

fn unpacked(word: u64) -> Option<MacAddr> {
    let [_, _, a, b, c, d, e, f] = word.to_be_bytes();
    (word & KNOWN != 0).then_some(MacAddr([a, b, c, d, e, f]))
}
