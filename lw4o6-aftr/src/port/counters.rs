//! What the port counts: written by the port alone, read by anybody.

use core::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
    fence,
};
use std::sync::Arc;

use super::accounts::{Accounts, Made, Received, Sent};
use crate::counters::{Counter, CounterSnapshot, Counters, Fate, bump};
use crate::{DropReason, Side};

/// How often a reader tries to find a port between two calls.
const TRIES: usize = 1000;

/// Counters of an [`EthernetPort`](super::EthernetPort); its worker has its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortCounters {
    /// Frames handed to the worker, by side in the order of [`Side::ALL`].
    pub rx_frames: [u64; 2],
    /// Their bytes, Ethernet headers included.
    pub rx_bytes: [u64; 2],
    /// Frames sent with the worker's packets in them, by side.
    pub tx_frames: [u64; 2],
    /// Their bytes, Ethernet headers included.
    pub tx_bytes: [u64; 2],
    /// ARP requests received, for any address.
    pub in_arp_request: u64,
    /// ARP replies received.
    pub in_arp_reply: u64,
    /// ARP requests sent.
    pub out_arp_request: u64,
    /// ARP replies sent.
    pub out_arp_reply: u64,
    /// Neighbor solicitations received that passed every check.
    pub in_ndp_ns: u64,
    /// Neighbor advertisements received that passed every check.
    pub in_ndp_na: u64,
    /// Neighbor solicitations sent.
    pub out_ndp_ns: u64,
    /// Neighbor advertisements sent.
    pub out_ndp_na: u64,
    /// Frames of the port's own that nobody polled in time.
    pub control_lost: u64,
    drops: [u64; DropReason::COUNT],
}

impl Default for PortCounters {
    fn default() -> Self {
        Self {
            rx_frames: [0; 2],
            rx_bytes: [0; 2],
            tx_frames: [0; 2],
            tx_bytes: [0; 2],
            in_arp_request: 0,
            in_arp_reply: 0,
            out_arp_request: 0,
            out_arp_reply: 0,
            in_ndp_ns: 0,
            in_ndp_na: 0,
            out_ndp_ns: 0,
            out_ndp_na: 0,
            control_lost: 0,
            drops: [0; DropReason::COUNT],
        }
    }
}

impl PortCounters {
    /// Frames the port itself dropped for `reason`.
    #[must_use]
    pub fn drops(&self, reason: DropReason) -> u64 {
        self.drops.get(reason.index()).copied().unwrap_or_default()
    }

    /// The neighbor counters by name, in the order they are listed in.
    #[must_use]
    pub fn neighbor_counters(&self) -> [(&'static str, u64); 9] {
        [
            ("in-arp-request-packets", self.in_arp_request),
            ("in-arp-reply-packets", self.in_arp_reply),
            ("out-arp-request-packets", self.out_arp_request),
            ("out-arp-reply-packets", self.out_arp_reply),
            ("in-ndp-ns-packets", self.in_ndp_ns),
            ("in-ndp-na-packets", self.in_ndp_na),
            ("out-ndp-ns-packets", self.out_ndp_ns),
            ("out-ndp-na-packets", self.out_ndp_na),
            ("control-lost-packets", self.control_lost),
        ]
    }
}

/// The counters of a port and its worker, for other threads.
///
/// Reading takes no lock and does not slow the port down. Cloning gives another handle to the same
/// counters, which outlive the port.
#[derive(Clone, Debug)]
pub struct SharedCounters {
    pub(super) port: Arc<Cells>,
    pub(super) worker: Arc<Counters>,
}

impl SharedCounters {
    /// What the port counted.
    #[must_use]
    pub fn port(&self) -> PortCounters {
        self.port.snapshot()
    }

    /// What its worker counted.
    #[must_use]
    pub fn worker(&self) -> CounterSnapshot {
        self.worker.snapshot()
    }

    /// Where every frame went. While the port is at work some may be on their way, so that the books
    /// do not close.
    #[must_use]
    pub fn accounts(&self) -> Accounts {
        self.port.accounts(&self.worker)
    }

    /// Where every frame went, as it stood between two calls of the port; the books close.
    ///
    /// Nothing where the port was found at work each time: ask again a little later.
    #[must_use]
    pub fn settled_accounts(&self) -> Option<Accounts> {
        (0..TRIES).find_map(|_| {
            let before = self.port.sequence.load(Acquire);
            let accounts = self.accounts();
            fence(Acquire);
            let after = self.port.sequence.load(Relaxed);
            if before == after && before.is_multiple_of(2) {
                return Some(accounts);
            }
            core::hint::spin_loop();
            None
        })
    }
}

/// Counters that a port has for each side.
#[derive(Clone, Copy, Debug)]
pub(super) enum OfSide {
    RxFrames,
    RxBytes,
    TxFrames,
    TxBytes,
    // `Received`
    Frames,
    Forwarded,
    Replied,
    Echoed,
    Local,
    Dropped,
    Fragments,
    Waiting,
    Control,
    Held,
    // `Sent`
    SentFrames,
    SentForwarded,
    SentReplied,
    SentPolled,
    SentControl,
    SentReleased,
    Queued,
    Lost,
    QueuedUp,
    QueuedUpPolled,
    InLine,
    Displaced,
}

impl OfSide {
    const COUNT: usize = Self::Displaced as usize + 1;
}

/// Counters that a port has once.
#[derive(Clone, Copy, Debug)]
pub(super) enum OfPort {
    InArpRequest,
    InArpReply,
    OutArpRequest,
    OutArpReply,
    InNdpNs,
    InNdpNa,
    OutNdpNs,
    OutNdpNa,
    // `Made`
    MadeLocal,
    MadeDropped,
    MadeQueued,
}

impl OfPort {
    const COUNT: usize = Self::MadeQueued as usize + 1;
}

/// The counters themselves.
#[derive(Debug)]
#[repr(align(128))] // two cache lines: the prefetcher pairs them
pub(super) struct Cells {
    /// Odd while the port is at work.
    sequence: AtomicU64,
    sides: [[AtomicU64; OfSide::COUNT]; 2],
    port: [AtomicU64; OfPort::COUNT],
    drops: [AtomicU64; DropReason::COUNT],
}

impl Cells {
    pub(super) fn new() -> Self {
        Self {
            sequence: AtomicU64::new(0),
            sides: [const { [const { AtomicU64::new(0) }; OfSide::COUNT] }; 2],
            port: [const { AtomicU64::new(0) }; OfPort::COUNT],
            drops: [const { AtomicU64::new(0) }; DropReason::COUNT],
        }
    }

    /// Says that the books are open. One writer: no locked instruction is needed.
    pub(super) fn open(&self) {
        let sequence = self.sequence.load(Relaxed);
        self.sequence.store(sequence.wrapping_add(1), Relaxed);
        fence(Release);
    }

    /// Says that the books are closed.
    pub(super) fn close(&self) {
        let sequence = self.sequence.load(Relaxed);
        self.sequence.store(sequence.wrapping_add(1), Release);
    }

    pub(super) fn dropped(&self, reason: DropReason) {
        bump(self.drops.get(reason.index()), 1);
    }

    pub(super) fn add(&self, side: Side, counter: OfSide, more: usize) {
        bump(self.side(side).get(counter as usize), more);
    }

    /// Takes back what was counted too early.
    pub(super) fn subtract(&self, side: Side, counter: OfSide, less: usize) {
        if let Some(counter) = self.side(side).get(counter as usize) {
            counter.store(counter.load(Relaxed).wrapping_sub(less as u64), Relaxed);
        }
    }

    /// Overwrites a counter that is kept elsewhere.
    pub(super) fn set(&self, side: Side, counter: OfSide, value: usize) {
        if let Some(counter) = self.side(side).get(counter as usize) {
            counter.store(value as u64, Relaxed);
        }
    }

    pub(super) fn add_own(&self, counter: OfPort, more: usize) {
        bump(self.port.get(counter as usize), more);
    }

    /// Overwrites a counter that is kept elsewhere.
    pub(super) fn set_own(&self, counter: OfPort, value: usize) {
        if let Some(counter) = self.port.get(counter as usize) {
            counter.store(value as u64, Relaxed);
        }
    }

    const fn side(&self, side: Side) -> &[AtomicU64; OfSide::COUNT] {
        let [softwire, internet] = &self.sides;
        match side {
            Side::Softwire => softwire,
            Side::Internet => internet,
        }
    }

    fn of_side(&self, side: Side, counter: OfSide) -> u64 {
        let counter = self.side(side).get(counter as usize);
        counter.map_or(0, |counter| counter.load(Relaxed))
    }

    fn own(&self, counter: OfPort) -> u64 {
        let counter = self.port.get(counter as usize);
        counter.map_or(0, |counter| counter.load(Relaxed))
    }

    pub(super) fn snapshot(&self) -> PortCounters {
        let both = |counter| Side::ALL.map(|side| self.of_side(side, counter));
        let mut snapshot = PortCounters {
            rx_frames: both(OfSide::RxFrames),
            rx_bytes: both(OfSide::RxBytes),
            tx_frames: both(OfSide::TxFrames),
            tx_bytes: both(OfSide::TxBytes),
            in_arp_request: self.own(OfPort::InArpRequest),
            in_arp_reply: self.own(OfPort::InArpReply),
            out_arp_request: self.own(OfPort::OutArpRequest),
            out_arp_reply: self.own(OfPort::OutArpReply),
            in_ndp_ns: self.own(OfPort::InNdpNs),
            in_ndp_na: self.own(OfPort::InNdpNa),
            out_ndp_ns: self.own(OfPort::OutNdpNs),
            out_ndp_na: self.own(OfPort::OutNdpNa),
            control_lost: both(OfSide::Lost).iter().sum(),
            drops: [0; DropReason::COUNT],
        };
        for (drops, cell) in snapshot.drops.iter_mut().zip(&self.drops) {
            *drops = cell.load(Relaxed);
        }
        snapshot
    }

    pub(super) fn accounts(&self, worker: &Counters) -> Accounts {
        Accounts {
            received: Side::ALL.map(|side| self.received(side, worker)),
            sent: Side::ALL.map(|side| self.sent(side)),
            made: self.made(worker),
        }
    }

    fn received(&self, side: Side, worker: &Counters) -> Received {
        let of = |counter| self.of_side(side, counter);
        let fate = |fate| worker.of_side(side, fate);
        Received {
            frames: of(OfSide::Frames),
            forwarded: of(OfSide::Forwarded),
            replied: of(OfSide::Replied),
            echoed: of(OfSide::Echoed),
            local: of(OfSide::Local),
            dropped: of(OfSide::Dropped),
            fragments: of(OfSide::Fragments),
            waiting: of(OfSide::Waiting),
            control: of(OfSide::Control),
            again: fate(Fate::Again),
            held: of(OfSide::Held),
            released: fate(Fate::Released),
            merged: fate(Fate::Merged),
            discarded: fate(Fate::Discarded),
        }
    }

    fn sent(&self, side: Side) -> Sent {
        let of = |counter| self.of_side(side, counter);
        Sent {
            frames: of(OfSide::SentFrames),
            forwarded: of(OfSide::SentForwarded),
            replied: of(OfSide::SentReplied),
            polled: of(OfSide::SentPolled),
            control: of(OfSide::SentControl),
            released: of(OfSide::SentReleased),
            queued: of(OfSide::Queued),
            lost: of(OfSide::Lost),
            queued_up: of(OfSide::QueuedUp),
            queued_up_polled: of(OfSide::QueuedUpPolled),
            in_line: of(OfSide::InLine),
            displaced: of(OfSide::Displaced),
        }
    }

    fn made(&self, worker: &Counters) -> Made {
        let of = |counters: &[Counter]| counters.iter().map(|&counter| worker.get(counter)).sum();
        Made {
            pieces: of(&[Counter::FragmentsQueued]),
            reassembled: of(&[Counter::Reassembled]),
            late: of(&[
                Counter::LateForwarded,
                Counter::LateReplied,
                Counter::LateEchoed,
                Counter::LateLocal,
            ]),
            late_dropped: of(&[Counter::LateDropped]),
            errors: of(&[Counter::ErrorsQueued]),
            local: self.own(OfPort::MadeLocal),
            dropped: self.own(OfPort::MadeDropped),
            queued: self.own(OfPort::MadeQueued),
        }
    }
}
