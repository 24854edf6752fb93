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

mod config;
mod counters;
mod neighbor;
mod resolve;

use std::collections::VecDeque;

use lw4o6_wire::ethernet::{self, EthernetFrame, MacAddr, VlanTag};
use lw4o6_wire::{BufferTooSmall, EtherType, FrameBuf, HEADROOM, Instant, LinkCast};

pub use self::config::{
    Accept, InternetPort, Link, NextHop, Nic, PortConfig, ProxyArp, SoftwirePort,
};
pub use self::counters::PortCounters;
use self::neighbor::Neighbor;
use crate::{Cause, Destination, DropReason, Kind, Output, Side, Verdict, Worker};

/// Frames of one side that one call hands to the worker at once.
const RUN: usize = 64;

/// Ethernet header with one tag.
const MAX_HEADER: usize = 18;

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
    counters: PortCounters,
    /// Index of the worker's first frame in the last batch of ours.
    base: usize,
    now: Instant,
}

/// A finished Ethernet frame of the port's own making, or one that had waited.
#[derive(Debug)]
struct Control {
    nic: Nic,
    after: usize,
    bytes: Box<[u8]>,
}

/// What is remembered of an Ethernet header while the worker has the packet.
#[derive(Clone, Copy)]
struct Header {
    bytes: [u8; MAX_HEADER],
    len: usize,
    src: MacAddr,
    cast: LinkCast,
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
            counters: PortCounters::default(),
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
            0 => self.refuse(DropReason::OutputFull),
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
        self.now = self.now.max(now);
        let mut first = 0;
        for (frame, verdict) in frames.iter_mut().zip(verdicts.iter_mut()) {
            if self.ip_side(nic, frame.packet()).is_some() {
                break;
            }
            *verdict = self.process_control(nic, first, frame);
            first += 1;
        }
        self.base = first;
        let rest = frames.get_mut(first..).unwrap_or_default();
        first + self.process_run(nic, rest, verdicts.get_mut(first..).unwrap_or_default())
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
        if let Some(control) = self.control.front() {
            out.set_packet(HEADROOM.min(out.capacity() / 4), &control.bytes)?;
            let (verdict, after) = (PortVerdict::Transmit(control.nic), control.after);
            self.control.pop_front();
            return Ok(Some(PortOutput { verdict, after }));
        }
        while let Some(Output { to, after }) = self.worker.poll_frame(out)? {
            let verdict = match to {
                Destination::Side(side) => self.transmit(side, out, None),
                Destination::Local(kind) => self.local(out, kind),
            };
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
        self.now = self.now.max(now);
        for side in Side::ALL {
            if let Some(solicit) = self.hop_mut(side).handle_timeout(now) {
                self.solicit(side, solicit);
            }
        }
        self.worker.handle_timeout(now);
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
        self.hop_mut(side).set(mac);
        self.release(side, 0);
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
    pub fn counters(&self) -> &PortCounters {
        &self.counters
    }

    /// The worker inside.
    #[must_use]
    pub fn worker(&self) -> &Worker {
        &self.worker
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
        let (mut side, mut count) = (None, 0);
        for (frame, slot) in frames.iter_mut().zip(headers.iter_mut()) {
            match self.ip_side(nic, frame.packet()) {
                Some((of, header)) if side.is_none_or(|current| current == of) => {
                    frame.trim_front(header.len);
                    frame.set_link_cast(header.cast);
                    self.counters.received(of, frame.len() + header.len);
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
        for ((frame, verdict), (inner, header)) in run.iter_mut().zip(verdicts).zip(done) {
            *verdict = self.finish(side, *inner, frame, header);
        }
        for (frame, header) in run.iter_mut().zip(&headers).skip(taken) {
            self.counters.not_received(side, frame.len() + header.len);
            header.restore(frame);
        }
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
            return self.refuse(DropReason::NoHeadroom);
        }
        self.counters.transmitted(side, frame.len());
        PortVerdict::Transmit(link.nic)
    }

    /// Keeps a packet until the next hop is known; the oldest gives way (RFC 4861 §7.2.2).
    fn wait(&mut self, side: Side, packet: &[u8]) -> PortVerdict {
        let limit = self.config.waiting;
        if limit == 0 {
            return self.refuse(DropReason::NeighborUnresolved);
        }
        let line = self.waiting_mut(side);
        line.push_back(packet.into());
        if line.len() > limit {
            line.pop_front();
            // The frame that is lost is an older one; this one is kept.
            let _ = self.refuse(DropReason::NeighborUnresolved);
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
            self.counters.transmitted(side, bytes.len());
            self.push_control(link.nic, after, bytes);
        }
    }

    fn push_control(&mut self, nic: Nic, after: usize, bytes: Box<[u8]>) {
        if self.control.len() < MAX_CONTROL {
            self.control.push_back(Control { nic, after, bytes });
        } else {
            self.counters.control_lost += 1;
        }
    }

    fn refuse(&mut self, reason: DropReason) -> PortVerdict {
        self.counters.dropped(reason);
        PortVerdict::Drop(reason)
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

/// Whether a frame was for more than one station.
///
/// A port that takes every address stands behind something that has chosen the frames already, so
/// only the group addresses that IP itself uses count then.
fn is_group(dst: MacAddr, accept: Accept) -> bool {
    match accept {
        Accept::Own => dst.is_multicast(),
        Accept::Any => {
            dst.is_broadcast() || matches!(dst.0, [0x33, 0x33, ..] | [0x01, 0x00, 0x5e, ..])
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

impl Header {
    const EMPTY: Self = Self {
        bytes: [0; MAX_HEADER],
        len: 0,
        src: MacAddr::ZERO,
        cast: LinkCast::Unicast,
    };

    fn of(frame: &[u8], parsed: &EthernetFrame<'_>, accept: Accept) -> Self {
        let mut header = Self {
            len: parsed.header_len,
            src: parsed.src,
            ..Self::EMPTY
        };
        if is_group(parsed.dst, accept) {
            header.cast = LinkCast::Group;
        }
        for (to, from) in header.bytes.iter_mut().zip(frame).take(parsed.header_len) {
            *to = *from;
        }
        header
    }

    /// Puts the header back in front of an untouched packet.
    fn restore(&self, frame: &mut FrameBuf<'_>) {
        // The bytes are the ones that were trimmed, so there is room for them.
        let restored = match self.len {
            MAX_HEADER => frame.push_front(&self.bytes),
            _ => self
                .bytes
                .first_chunk::<14>()
                .map_or(Ok(()), |bytes| frame.push_front(bytes)),
        };
        debug_assert!(restored.is_ok(), "the header was there before");
    }
}
