//! Ethernet around a [`Worker`]: VLAN tags, next hops, ARP and neighbor discovery.
//!
//! ```text
//!            frames in                                         frames out
//! nic 0 ---> classify --> ARP, NS, NA ------------------------> control frames --+
//! nic 1 ---> (nic, tag,   IP: header off -> Worker -> header on --------------+--+--> nic 0
//!             type)                          |                   next hop     |       nic 1
//!                                            +--> Local: header back on       +--> waiting line,
//!                                                                                  until resolved
//! ```
//!
//! One side may be one interface each, or both share one ("on a stick"), told apart by VLAN or, without
//! tags, by EtherType. The port sends nothing unasked but solicitations for its next hops.
//!
//! Several ports may share the interfaces, one for each worker. One of them, the leader, gets ARP and
//! neighbor discovery and resolves; the others have [`NextHop::Shared`] and are told what it found.

mod accounts;
mod config;
mod counters;
mod header;
mod neighbor;
mod resolve;
mod tally;

use std::collections::VecDeque;
use std::sync::Arc;

use lw4o6_wire::ethernet::{self, EthernetFrame, MacAddr, VlanTag};
use lw4o6_wire::{BufferTooSmall, EtherType, FrameBuf, HEADROOM, Instant};

pub use self::accounts::{AccountError, Accounts, Equation, Made, Received, Sent};
pub use self::config::{
    Accept, InternetPort, Link, NextHop, Nic, PortConfig, ProxyArp, SoftwirePort,
};
use self::counters::{Cells, OfPort, OfSide};
pub use self::counters::{PortCounters, SharedCounters};
use self::header::Header;
use self::neighbor::Neighbor;
use self::tally::Tally;
use crate::trace::{Trace, TraceFilter};
use crate::{Cause, Destination, DropReason, Kind, Output, Side, Verdict, Worker};

/// Frames of one side that one call hands to the worker at once.
const RUN: usize = 64;

/// Control frames that may wait for [`EthernetPort::poll_frame`].
const MAX_CONTROL: usize = 1024;

/// What to do with an Ethernet frame that was just processed.
#[must_use = "a frame that is not sent is lost"]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortVerdict {
    /// The frame now holds the Ethernet frame to send on this interface.
    Transmit(Nic),
    /// The frame is untouched, Ethernet header included, and belongs to the owner's own stack.
    ///
    /// From [`EthernetPort::poll_frame`] it is a packet that was put together from fragments, behind a
    /// header from the next hop, as if it had come whole.
    Local(Side, Kind),
    /// The frame was answered, or its bytes were kept. Reuse it.
    Consumed,
    /// Reuse the frame; the reason has been counted.
    Drop(DropReason),
}

/// An Ethernet frame that leaves through [`EthernetPort::poll_frame`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortOutput {
    /// Where it goes; never `Consumed` or `Drop`.
    pub verdict: PortVerdict,
    /// Index, in the last batch, of the input frame it follows.
    pub after: usize,
}

/// A worker with Ethernet interfaces.
#[derive(Debug)]
pub struct EthernetPort {
    config: PortConfig,
    worker: Worker,
    hops: [Neighbor; 2],
    waiting: [VecDeque<Box<[u8]>>; 2],
    control: VecDeque<Control>,
    counters: Arc<Cells>,
    /// Index of the worker's first frame in the last batch of ours.
    base: usize,
    now: Instant,
}

/// A finished Ethernet frame of the port's own making, or one that had waited.
#[derive(Debug)]
struct Control {
    side: Side,
    after: usize,
    bytes: Box<[u8]>,
}

impl EthernetPort {
    /// Puts Ethernet interfaces around `worker`. `seed` spreads the neighbor timers.
    #[must_use]
    pub fn new(config: PortConfig, worker: Worker, seed: u32) -> Self {
        let hops = [
            neighbor(config.softwire.next_hop, seed),
            neighbor(config.internet.next_hop, seed >> 16),
        ];
        Self {
            config,
            worker,
            hops,
            waiting: [VecDeque::new(), VecDeque::new()],
            control: VecDeque::new(),
            counters: Arc::new(Cells::new()),
            base: 0,
            now: Instant::ZERO,
        }
    }

    /// Processes one Ethernet frame that arrived on `nic`.
    ///
    /// Poll every output before the next call. Where output waits and leaves too little memory, the
    /// frame is dropped for [`DropReason::OutputFull`] and untouched.
    pub fn process(&mut self, now: Instant, nic: Nic, frame: &mut FrameBuf<'_>) -> PortVerdict {
        let mut verdicts = [PortVerdict::Consumed];
        match self.process_batch(now, nic, core::slice::from_mut(frame), &mut verdicts) {
            0 => {
                self.counters.open();
                let verdict = self.refuse(DropReason::OutputFull);
                self.count_outside(nic, frame.packet(), verdict);
                self.counters.close();
                verdict
            }
            _ => verdicts[0],
        }
    }

    /// Processes Ethernet frames that arrived on `nic`; returns how many were taken.
    ///
    /// A call stops where the frames change sides and where the worker's slab lacks room. Poll every
    /// output, then call again with the rest.
    pub fn process_batch(
        &mut self,
        now: Instant,
        nic: Nic,
        frames: &mut [FrameBuf<'_>],
        verdicts: &mut [PortVerdict],
    ) -> usize {
        self.counters.open();
        self.now = self.now.max(now);
        let mut first = 0;
        for (frame, verdict) in frames.iter_mut().zip(verdicts.iter_mut()) {
            if self.ip_side(nic, frame.packet()).is_some() {
                break;
            }
            *verdict = self.process_control(nic, first, frame);
            self.count_outside(nic, frame.packet(), *verdict);
            first += 1;
        }
        self.base = first;
        let rest = frames.get_mut(first..).unwrap_or_default();
        let taken = self.process_run(nic, rest, verdicts.get_mut(first..).unwrap_or_default());
        self.publish();
        first + taken
    }

    /// Takes the next frame that the port or its worker made.
    ///
    /// # Errors
    ///
    /// Where `out` is too small; the frame is kept and the error says what it needs.
    pub fn poll_frame(
        &mut self,
        out: &mut FrameBuf<'_>,
    ) -> Result<Option<PortOutput>, BufferTooSmall> {
        self.counters.open();
        let polled = self.poll_any(out);
        self.publish();
        polled
    }

    fn poll_any(&mut self, out: &mut FrameBuf<'_>) -> Result<Option<PortOutput>, BufferTooSmall> {
        if let Some(control) = self.control.front() {
            out.set_packet(HEADROOM.min(out.capacity() / 4), &control.bytes)?;
            let (side, after) = (control.side, control.after);
            self.control.pop_front();
            self.counters.subtract(side, OfSide::Queued, 1);
            self.counters.add(side, OfSide::SentFrames, 1);
            let verdict = PortVerdict::Transmit(self.link(side).nic);
            return Ok(Some(PortOutput { verdict, after }));
        }
        while let Some(Output { to, after }) = self.worker.poll_frame(out)? {
            let verdict = match to {
                Destination::Side(side) => self.transmit(side, out, None),
                Destination::Local(kind) => self.local(out, kind),
            };
            self.count_polled(to, verdict);
            if !matches!(verdict, PortVerdict::Consumed | PortVerdict::Drop(_)) {
                return Ok(Some(PortOutput {
                    verdict,
                    after: self.base + after,
                }));
            }
        }
        Ok(None)
    }

    /// Gives a reassembled packet the header that it would have come with.
    fn local(&mut self, packet: &mut FrameBuf<'_>, kind: Kind) -> PortVerdict {
        let side = Side::Softwire;
        let own = *self.link(side);
        let link = Link {
            mac: self.hop(side).mac().unwrap_or(MacAddr::ZERO),
            ..own
        };
        match resolve::push_header(packet, &link, own.mac, resolve::ip_ethertype(side)) {
            Ok(()) => PortVerdict::Local(side, kind),
            Err(_) => self.refuse(DropReason::NoHeadroom),
        }
    }

    /// Advances time: solicitations, reassembly, held fragments. Early or repeated calls do nothing.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.counters.open();
        self.now = self.now.max(now);
        for side in Side::ALL {
            if let Some(solicit) = self.hop_mut(side).handle_timeout(now) {
                self.solicit(side, solicit);
            }
        }
        self.worker.handle_timeout(now);
        self.publish();
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let hops = self.hops.iter().filter_map(Neighbor::poll_timeout);
        hops.chain(self.worker.poll_timeout()).min()
    }

    /// Ethernet address of a side's next hop, if known.
    #[must_use]
    pub fn next_hop(&self, side: Side) -> Option<MacAddr> {
        self.hop(side).mac()
    }

    /// Tells a follower what the port that resolves next hops found, or lost.
    ///
    /// What waited leaves through [`poll_frame`](Self::poll_frame). Nothing happens on a side whose
    /// next hop is not [`NextHop::Shared`].
    pub fn set_next_hop(&mut self, side: Side, mac: Option<MacAddr>) {
        self.counters.open();
        self.hop_mut(side).set(mac);
        self.release(side, 0);
        self.publish();
    }

    /// Says that somebody sends to both next hops, so that they are probed as if this port did.
    ///
    /// A port that resolves for followers calls it while any of them has traffic; each address that
    /// has gone stale is then asked for again (RFC 4861 §7.3.3).
    pub fn keep_next_hops(&mut self, now: Instant) {
        self.now = self.now.max(now);
        let now = self.now;
        for hop in &mut self.hops {
            hop.used(now);
        }
    }

    /// Whether a side's next hop has been asked for in vain; an alarm for the operator.
    #[must_use]
    pub fn next_hop_alarm(&self, side: Side) -> bool {
        self.hop(side).alarm()
    }

    /// Frames and neighbor messages counted by the port.
    #[must_use]
    pub fn counters(&self) -> PortCounters {
        self.counters.snapshot()
    }

    /// Where every frame went.
    #[must_use]
    pub fn accounts(&self) -> Accounts {
        self.counters.accounts(&self.worker.counters)
    }

    /// Traces the frames that match, from now on; without a filter none. As
    /// [`Worker::set_trace`], and frames that the port drops are traced too.
    pub fn set_trace(&mut self, filter: Option<TraceFilter>) {
        self.worker.set_trace(filter);
        self.worker.trace_behind_ethernet();
    }

    /// The next record of a traced frame, oldest first.
    pub fn poll_trace(&mut self) -> Option<Trace> {
        self.worker.poll_trace()
    }

    /// The counters for other threads to read.
    #[must_use]
    pub fn shared_counters(&self) -> SharedCounters {
        SharedCounters {
            port: Arc::clone(&self.counters),
            worker: Arc::clone(&self.worker.counters),
        }
    }

    /// The worker inside.
    #[must_use]
    pub fn worker(&self) -> &Worker {
        &self.worker
    }

    /// Lets go of the table while no frames come, see [`Worker::idle`].
    pub fn idle(&mut self) {
        self.worker.idle();
    }

    /// Side and header of a frame that is the worker's business; changes nothing.
    fn ip_side(&self, nic: Nic, frame: &[u8]) -> Option<(Side, Header)> {
        let parsed = ethernet::split(frame).ok()?;
        let side = self.side_of(nic, &parsed).ok()?;
        let is_ip = matches!(parsed.ethertype, EtherType::IPV4 | EtherType::IPV6);
        if !is_ip || resolve::is_neighbor_message(parsed.ethertype, parsed.payload) {
            return None;
        }
        let accept = self.link(side).accept;
        Some((side, Header::of(frame, &parsed, accept)))
    }

    /// Hands the longest run of frames of one side to the worker; returns how many it took.
    fn process_run(
        &mut self,
        nic: Nic,
        frames: &mut [FrameBuf<'_>],
        verdicts: &mut [PortVerdict],
    ) -> usize {
        let mut headers = [Header::EMPTY; RUN];
        let (mut side, mut count, mut bytes) = (None, 0, 0);
        for (frame, slot) in frames.iter_mut().zip(headers.iter_mut()) {
            match self.ip_side(nic, frame.packet()) {
                Some((of, header)) if side.is_none_or(|current| current == of) => {
                    frame.trim_front(header.len);
                    frame.set_link_cast(header.cast);
                    bytes += frame.len() + header.len;
                    (side, *slot) = (Some(of), header);
                    count += 1;
                }
                _ => break,
            }
        }
        let Some(side) = side else { return 0 };
        let mut inner = [Verdict::Consumed; RUN];
        let run = frames.get_mut(..count).unwrap_or_default();
        let taken = self.worker.process_batch(self.now, side, run, &mut inner);
        let done = inner.iter().zip(&headers).take(taken);
        let mut tally = Tally::default();
        for ((frame, verdict), (inner, header)) in run.iter_mut().zip(verdicts).zip(done) {
            *verdict = self.finish(side, *inner, frame, header);
            tally.note(*inner, *verdict);
        }
        for (frame, header) in run.iter_mut().zip(&headers).skip(taken) {
            bytes -= frame.len() + header.len;
            header.restore(frame);
        }
        tally.count(side, &self.counters);
        self.counters.add(side, OfSide::Frames, taken);
        self.counters.add(side, OfSide::RxFrames, taken);
        self.counters.add(side, OfSide::RxBytes, bytes);
        taken
    }

    /// Turns the worker's verdict into the port's.
    fn finish(
        &mut self,
        from: Side,
        verdict: Verdict,
        frame: &mut FrameBuf<'_>,
        header: &Header,
    ) -> PortVerdict {
        match verdict {
            Verdict::Forward(side) => self.transmit(side, frame, None),
            // The asker may be a neighbor that is not our next hop.
            Verdict::Reply(side, Cause::EchoV4 | Cause::EchoV6) => {
                self.transmit(side, frame, Some(header.src))
            }
            Verdict::Reply(side, Cause::Dropped(_)) => self.transmit(side, frame, None),
            Verdict::Local(kind) => {
                header.restore(frame);
                PortVerdict::Local(from, kind)
            }
            Verdict::Consumed => PortVerdict::Consumed,
            Verdict::Drop(reason) => PortVerdict::Drop(reason),
        }
    }

    /// Puts the Ethernet header on, or the packet into the waiting line.
    fn transmit(
        &mut self,
        side: Side,
        frame: &mut FrameBuf<'_>,
        to: Option<MacAddr>,
    ) -> PortVerdict {
        let now = self.now;
        self.hop_mut(side).used(now);
        let Some(dst) = to.or(self.hop(side).mac()) else {
            return self.wait(side, frame.packet());
        };
        let link = *self.link(side);
        if resolve::push_header(frame, &link, dst, resolve::ip_ethertype(side)).is_err() {
            return self.refuse_out(side, frame.packet(), DropReason::NoHeadroom);
        }
        self.count_transmitted(side, frame.len());
        PortVerdict::Transmit(link.nic)
    }

    /// Keeps a packet until the next hop is known; the oldest gives way (RFC 4861 §7.2.2).
    fn wait(&mut self, side: Side, packet: &[u8]) -> PortVerdict {
        let limit = self.config.waiting;
        let reason = DropReason::NeighborUnresolved;
        if limit == 0 {
            return self.refuse_out(side, packet, reason);
        }
        let line = self.waiting_mut(side);
        line.push_back(packet.into());
        if line.len() > limit
            && let Some(oldest) = line.pop_front()
        {
            self.counters.add(side, OfSide::Displaced, 1);
            // The frame that is lost is an older one; this one is kept.
            let _ = self.refuse_out(side, &oldest, reason);
        }
        PortVerdict::Consumed
    }

    /// Sends what waited for the next hop of `side`.
    fn release(&mut self, side: Side, after: usize) {
        let Some(dst) = self.hop(side).mac() else {
            return;
        };
        let link = *self.link(side);
        while let Some(packet) = self.waiting_mut(side).pop_front() {
            let bytes = resolve::control_frame(&link, dst, resolve::ip_ethertype(side), &packet);
            self.count_transmitted(side, bytes.len());
            self.counters.add(side, OfSide::SentReleased, 1);
            self.push_queued(side, after, bytes);
        }
    }

    /// Queues a frame of the port's own.
    fn push_control(&mut self, side: Side, after: usize, bytes: Box<[u8]>) {
        self.counters.add(side, OfSide::SentControl, 1);
        self.push_queued(side, after, bytes);
    }

    fn push_queued(&mut self, side: Side, after: usize, bytes: Box<[u8]>) {
        if self.control.len() < MAX_CONTROL {
            self.counters.add(side, OfSide::Queued, 1);
            self.control.push_back(Control { side, after, bytes });
        } else {
            self.counters.add(side, OfSide::Lost, 1);
        }
    }

    fn count_transmitted(&self, side: Side, bytes: usize) {
        self.counters.add(side, OfSide::TxFrames, 1);
        self.counters.add(side, OfSide::TxBytes, bytes);
    }

    /// Counts a frame that did not reach the worker.
    fn count_outside(&mut self, nic: Nic, frame: &[u8], verdict: PortVerdict) {
        let side = self.side_or_guess(nic, frame);
        if self.worker.tracer.is_some() {
            let verdict = match verdict {
                PortVerdict::Local(_, kind) => Verdict::Local(kind),
                PortVerdict::Drop(reason) => Verdict::Drop(reason),
                PortVerdict::Consumed | PortVerdict::Transmit(_) => Verdict::Consumed,
            };
            self.worker.trace_link(side, frame, verdict);
        }
        let fate = match verdict {
            PortVerdict::Local(..) => OfSide::Local,
            PortVerdict::Drop(_) => OfSide::Dropped,
            PortVerdict::Consumed | PortVerdict::Transmit(_) => OfSide::Control,
        };
        self.counters.add(side, OfSide::Frames, 1);
        self.counters.add(side, fate, 1);
    }

    /// Counts a frame that the worker made.
    fn count_polled(&self, to: Destination, verdict: PortVerdict) {
        match (to, verdict) {
            (_, PortVerdict::Drop(_)) => self.counters.add_own(OfPort::MadeDropped, 1),
            (Destination::Local(_), _) => self.counters.add_own(OfPort::MadeLocal, 1),
            (Destination::Side(side), PortVerdict::Consumed) => {
                self.counters.add(side, OfSide::QueuedUpPolled, 1);
            }
            (Destination::Side(side), _) => {
                self.counters.add(side, OfSide::SentPolled, 1);
                self.counters.add(side, OfSide::SentFrames, 1);
            }
        }
    }

    /// Writes what is counted by its owners, and closes the books.
    fn publish(&self) {
        for (side, line) in Side::ALL.into_iter().zip(&self.waiting) {
            self.counters.set(side, OfSide::InLine, line.len());
            let held = self.worker.held(side);
            self.counters.set(side, OfSide::Held, held);
        }
        let queued = self.worker.queue.len();
        self.counters.set_own(OfPort::MadeQueued, queued);
        self.counters.close();
    }

    fn refuse(&mut self, reason: DropReason) -> PortVerdict {
        self.counters.dropped(reason);
        PortVerdict::Drop(reason)
    }

    /// Refuses a packet on its way out.
    fn refuse_out(&mut self, side: Side, packet: &[u8], reason: DropReason) -> PortVerdict {
        self.worker.trace_out(side, packet, reason);
        self.refuse(reason)
    }

    /// The side a frame belongs to, by interface, tag and type.
    fn side_of(&self, nic: Nic, frame: &EthernetFrame<'_>) -> Result<Side, DropReason> {
        let vlan = frame.vlan.map(VlanTag::vid).filter(|&vid| vid != 0);
        let on_nic = |side: &Side| self.link(*side).nic == nic;
        let tagged = |side: &Side| self.link(*side).vlan == vlan;
        let mut candidates = Side::ALL.into_iter().filter(on_nic).filter(tagged);
        if !Side::ALL.iter().filter(|side| on_nic(side)).any(tagged) {
            return Err(DropReason::L2Vlan);
        }
        let side = candidates.find(|side| match side {
            Side::Internet => matches!(frame.ethertype, EtherType::IPV4 | EtherType::ARP),
            Side::Softwire => frame.ethertype == EtherType::IPV6,
        });
        let side = side.ok_or(DropReason::L2WrongFamily)?;
        let link = self.link(side);
        let for_us =
            frame.dst == link.mac || frame.dst.is_multicast() || link.accept == Accept::Any;
        if for_us {
            Ok(side)
        } else {
            Err(DropReason::L2NotForUs)
        }
    }

    /// The side to count a frame on that may belong to none.
    fn side_or_guess(&self, nic: Nic, frame: &[u8]) -> Side {
        let parsed = ethernet::split(frame).ok();
        if let Some(Ok(side)) = parsed.as_ref().map(|parsed| self.side_of(nic, parsed)) {
            return side;
        }
        let tag = parsed.and_then(|parsed| parsed.vlan.map(VlanTag::vid));
        let on_nic = |side: &Side| self.link(*side).nic == nic;
        let tagged = |side: &Side| on_nic(side) && self.link(*side).vlan == tag;
        let side = Side::ALL.into_iter().find(tagged);
        side.or_else(|| Side::ALL.into_iter().find(on_nic))
            .unwrap_or(Side::Internet)
    }

    fn link(&self, side: Side) -> &Link {
        match side {
            Side::Softwire => &self.config.softwire.link,
            Side::Internet => &self.config.internet.link,
        }
    }

    fn hop(&self, side: Side) -> &Neighbor {
        let [softwire, internet] = &self.hops;
        match side {
            Side::Softwire => softwire,
            Side::Internet => internet,
        }
    }

    fn hop_mut(&mut self, side: Side) -> &mut Neighbor {
        let [softwire, internet] = &mut self.hops;
        match side {
            Side::Softwire => softwire,
            Side::Internet => internet,
        }
    }

    fn waiting_mut(&mut self, side: Side) -> &mut VecDeque<Box<[u8]>> {
        let [softwire, internet] = &mut self.waiting;
        match side {
            Side::Softwire => softwire,
            Side::Internet => internet,
        }
    }
}

fn neighbor<A>(next_hop: NextHop<A>, random: u32) -> Neighbor {
    match next_hop {
        NextHop::Mac(mac) => Neighbor::fixed(mac),
        NextHop::Address(_) => Neighbor::unknown(random),
        NextHop::Shared => Neighbor::shared(),
    }
}
