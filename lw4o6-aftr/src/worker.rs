//! One core's way through the engine.
//!
//! A batch is taken in lanes of up to 32 frames: all are read, their table lines are looked up
//! together, and then they are finished in order. Only finishing keeps state, so a batch of any
//! size gives what the frames would give one by one.

use std::sync::Arc;

use lw4o6_binding::table::{Lookup, LookupKey, TableReader};
use lw4o6_wire::icmpv6::{Icmpv6ErrorKind, TimeExceededCode};
use lw4o6_wire::{BufferTooSmall, FrameBuf, HEADROOM, Instant, IpProtocol};

use crate::aftr::Shared;
use crate::classify::{Found, Frame};
use crate::config::FragmentHandling;
use crate::counters::{Counter, CounterSnapshot, Counters, Fate};
use crate::emit::Emitted;
use crate::flow_label::FlowKey;
use crate::fragments::{FragmentPorts, followed};
use crate::icmp_generate::{Icmpv4Reply, Via, verdict};
use crate::reassembly::Reassembly;
use crate::refusal::{Answer, Refusal};
use crate::settings::Settings;
use crate::slab::{OutQueue, Slab};
use crate::trace::{Tracer, Way};
use crate::tracker::Tracker;
use crate::traffic::Traffic;
use crate::{Cause, Destination, DropReason, Output, Side, Verdict};

/// Frames whose table lines are fetched together.
const LANES: usize = 32;

/// Largest packet that can be put together: an IPv6 header and what its length field can say.
const LARGEST: usize = 40 + 65_535;

/// The packet path of one core.
///
/// Poll [`poll_frame`](Self::poll_frame) until it is empty after every call that takes packets, and
/// call [`handle_timeout`](Self::handle_timeout) when [`poll_timeout`](Self::poll_timeout) says.
/// Doing either late delays packets and loses none, but no frame is taken while output waits that
/// leaves too little memory for another. A `now` older than the newest seen counts as the newest
/// seen.
#[derive(Debug)]
pub struct Worker {
    pub(crate) shared: Arc<Shared>,
    pub(crate) settings: Arc<Settings>,
    generation: u64,
    pub(crate) reader: TableReader,
    pub(crate) counters: Arc<Counters>,
    pub(crate) flow_key: FlowKey,
    pub(crate) slab: Slab,
    pub(crate) queue: OutQueue,
    pub(crate) reassembly: Reassembly,
    pub(crate) tracker: Tracker<FragmentPorts>,
    /// Of packets from the Internet; made when the knob first asks for it.
    pub(crate) ipv4_reassembly: Option<Reassembly>,
    fragment_secret: [u8; 16],
    /// Where packets stand that have no frame of the caller; empty while one is processed.
    pub(crate) scratch: Vec<u8>,
    pub(crate) newest: Instant,
    started: bool,
    /// Index in the batch of the frame being processed.
    pub(crate) after: usize,
    /// Held fragments wait to be taken out.
    pub(crate) releasing: bool,
    pub(crate) tracer: Option<Box<Tracer>>,
    pub(crate) traffic: Option<Arc<Traffic>>,
}

/// Whether a packet in the scratch buffer has been counted as received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// No: it was put together just now.
    First,
    /// Yes: it was held until its first fragment came.
    Before,
}

impl Worker {
    pub(crate) fn new(
        shared: Arc<Shared>,
        reader: TableReader,
        counters: Arc<Counters>,
        [reassembly, tracker]: [[u8; 16]; 2],
    ) -> Self {
        let generation = shared.generation();
        let settings = shared.settings();
        let config = &settings.config;
        let slab = Slab::new(config.slab_bytes);
        let mut worker = Self {
            queue: OutQueue::new(config.slab_bytes / crate::slab::CHUNK),
            reassembly: Reassembly::new(&config.reassembly, config.path_mru, &slab, reassembly)
                .sharing(&shared.pools.tunnel),
            tracker: Tracker::new(&followed(&config.fragments), tracker)
                .sharing(shared.pools.followed.clone()),
            ipv4_reassembly: None,
            fragment_secret: tracker,
            flow_key: shared.flow_key,
            scratch: vec![0; HEADROOM + LARGEST],
            newest: Instant::ZERO,
            started: false,
            after: 0,
            releasing: false,
            tracer: None,
            traffic: None,
            slab,
            settings,
            generation,
            reader,
            counters,
            shared,
        };
        worker.configure_ipv4_reassembly();
        worker
    }

    /// Takes one frame that came from `side`, and changes it in place.
    ///
    /// The same as a batch of one. Where output waits and leaves too little memory, the frame is
    /// dropped for [`DropReason::OutputFull`].
    pub fn process(&mut self, now: Instant, side: Side, frame: &mut FrameBuf<'_>) -> Verdict {
        let now = self.begin(now);
        if self.is_full() {
            let verdict = Verdict::Drop(DropReason::OutputFull);
            self.count(side, frame.len(), verdict);
            self.trace_full(side, frame.packet());
            return verdict;
        }
        self.process_single(now, side, frame)
    }

    /// Takes frames that came from `side`, changes them in place, and writes a verdict for each.
    ///
    /// Returns how many were taken: fewer than there are where one of the slices is shorter, or where
    /// frames wait in [`poll_frame`](Self::poll_frame) and leave too little memory for the output of
    /// another. The frames behind are untouched.
    pub fn process_batch(
        &mut self,
        now: Instant,
        side: Side,
        frames: &mut [FrameBuf<'_>],
        verdicts: &mut [Verdict],
    ) -> usize {
        let now = self.begin(now);
        let mut taken = 0;
        for (frames, verdicts) in frames.chunks_mut(LANES).zip(verdicts.chunks_mut(LANES)) {
            let lanes = frames.len().min(verdicts.len());
            let done = self.process_lanes(now, side, taken, frames, verdicts);
            taken += done;
            if done < lanes {
                break;
            }
        }
        self.after = 0;
        taken
    }

    /// Moves the next frame that waits into `out`, behind [`HEADROOM`] free bytes.
    ///
    /// # Errors
    ///
    /// Where `out` is too small; the frame waits on.
    pub fn poll_frame(&mut self, out: &mut FrameBuf<'_>) -> Result<Option<Output>, BufferTooSmall> {
        self.queue.pop(&mut self.slab, out, HEADROOM)
    }

    /// Gives up fragments whose time has come. A call that comes early does nothing.
    pub fn handle_timeout(&mut self, now: Instant) {
        let now = self.begin(now);
        self.expire(now);
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let ipv4 = self.ipv4_reassembly.as_ref();
        let times = [
            self.reassembly.poll_timeout(),
            self.tracker.poll_timeout(),
            ipv4.and_then(Reassembly::poll_timeout),
        ];
        times.into_iter().flatten().min()
    }

    /// Lets go of the table while no packets come, so that its writer need not wait for this worker.
    pub fn idle(&mut self) {
        self.reader.idle();
    }

    /// What this worker counted.
    #[must_use]
    pub fn counters(&self) -> CounterSnapshot {
        self.counters.snapshot()
    }

    /// Takes up the time, the configuration and the table.
    pub(crate) fn begin(&mut self, now: Instant) -> Instant {
        self.newest = self.newest.max(now);
        let now = self.newest;
        if !self.started {
            self.started = true;
            self.shared.note_start(now);
        }
        let generation = self.shared.generation();
        if generation != self.generation {
            self.generation = generation;
            self.settings = self.shared.settings();
            let config = &self.settings.config;
            self.reassembly
                .reconfigure(&config.reassembly, config.path_mru, &self.slab);
            self.tracker.reconfigure(&followed(&config.fragments));
            self.configure_ipv4_reassembly();
        }
        self.reader.refresh();
        self.after = 0;
        // What is due comes first, so that a late call of `handle_timeout` changes no packet's fate.
        if self.poll_timeout().is_some_and(|at| at <= now) {
            self.expire(now);
        }
        now
    }

    /// Puts the knobs in force for fragments from the Internet. What is held when they are no longer
    /// put together waits until its time is up.
    fn configure_ipv4_reassembly(&mut self) {
        let config = &self.settings.config.fragments;
        let slab = &self.slab;
        match &mut self.ipv4_reassembly {
            Some(reassembly) => reassembly.reconfigure_ipv4(config, slab),
            none if config.handling == FragmentHandling::Reassemble => {
                let reassembly = Reassembly::new_ipv4(config, slab, self.fragment_secret);
                *none = Some(reassembly.sharing(&self.shared.pools.ipv4));
            }
            None => {}
        }
    }

    fn process_lanes(
        &mut self,
        now: Instant,
        side: Side,
        first: usize,
        frames: &mut [FrameBuf<'_>],
        verdicts: &mut [Verdict],
    ) -> usize {
        if let ([frame], [verdict, ..]) = (&mut *frames, &mut *verdicts) {
            if self.is_full() {
                return 0;
            }
            self.after = first;
            *verdict = self.process_single(now, side, frame);
            return 1;
        }
        let mut read = [Frame::Refused(Refusal::NONE); LANES];
        let mut keys = [LookupKey::default(); LANES];
        let mut peers = [LookupKey::default(); LANES];
        let mut found = [Lookup::Foreign; LANES];
        let mut peers_found = [Lookup::Foreign; LANES];
        let lanes = frames.len().min(verdicts.len()).min(LANES);
        let slots = read.iter_mut().zip(&mut keys).zip(&mut peers);
        for (((read, key), peer), frame) in slots.zip(frames.iter()).take(lanes) {
            *read = self.read(side, frame.packet());
            *key = read.lookup_key();
            *peer = read.peer_key();
        }
        if let (Some(keys), Some(peers)) = (keys.get(..lanes), peers.get(..lanes)) {
            self.reader.lookup_batch(keys, &mut found);
            self.reader.lookup_batch(peers, &mut peers_found);
        }
        let answers = found.iter().zip(&peers_found);
        let lines = read.iter().zip(answers).zip(frames).zip(verdicts);
        for (lane, (((read, (line, peer)), frame), verdict)) in lines.enumerate().take(lanes) {
            if self.is_full() {
                return lane;
            }
            self.after = first + lane;
            let found = Found {
                line: *line,
                peer_managed: *peer != Lookup::Foreign,
            };
            *verdict = self.process_one(now, side, frame, read, found);
        }
        lanes
    }

    /// The same for one frame, without the room for others.
    fn process_single(&mut self, now: Instant, side: Side, frame: &mut FrameBuf<'_>) -> Verdict {
        let read = self.read(side, frame.packet());
        let found = self.find(&read);
        self.process_one(now, side, frame, &read, found)
    }

    fn find(&self, read: &Frame) -> Found {
        let (key, peer) = (read.lookup_key(), read.peer_key());
        Found {
            line: self.reader.lookup(key.ipv4, key.port),
            peer_managed: self.is_managed(peer.ipv4.into()),
        }
    }

    /// Whether the output of another frame might not fit.
    fn is_full(&self) -> bool {
        self.slab.free_bytes() < self.settings.worst_case
    }

    fn process_one(
        &mut self,
        now: Instant,
        side: Side,
        frame: &mut FrameBuf<'_>,
        read: &Frame,
        found: Found,
    ) -> Verdict {
        let len = frame.len();
        let draft = match self.tracer {
            Some(_) => self.draft(side, Way::In, frame.packet(), read, found),
            None => None,
        };
        self.count_arrival(read, found, frame.len());
        let emitted = self.finish(now, side, frame, read, found);
        let verdict = self.cut(frame, emitted);
        if let Some(draft) = draft {
            self.trace(&draft, verdict, frame.packet());
        }
        self.count(side, len, verdict);
        self.count_icmpv4(read, len, verdict);
        self.release(now);
        verdict
    }

    /// Processes the held fragments that a first fragment has let go.
    fn release(&mut self, now: Instant) {
        while core::mem::take(&mut self.releasing) {
            while let Some((side, len)) =
                self.tracker
                    .take_released(&mut self.slab, &mut self.scratch, HEADROOM)
            {
                self.counters.add(Counter::Released, 1);
                self.counters.add_side(side, Fate::Released, 1);
                self.process_scratch(now, side, len, Seen::Before);
            }
        }
    }

    /// Processes the `len` bytes in the scratch buffer; the result goes to the queue.
    pub(crate) fn process_scratch(&mut self, now: Instant, side: Side, len: usize, seen: Seen) {
        let mut scratch = core::mem::take(&mut self.scratch);
        if let Some(mut frame) = FrameBuf::new(&mut scratch, HEADROOM, len) {
            let read = self.read(side, frame.packet());
            let found = self.find(&read);
            if seen == Seen::First {
                self.count_arrival(&read, found, len);
            }
            let draft = match self.tracer {
                Some(_) => self.draft(side, Way::Late, frame.packet(), &read, found),
                None => None,
            };
            let emitted = self.finish(now, side, &mut frame, &read, found);
            let place = self.queue.len();
            let verdict = self.cut(&mut frame, emitted);
            if let Some(draft) = draft {
                self.trace(&draft, verdict, frame.packet());
            }
            self.count_late(side, len, verdict);
            self.queue_first(&frame, verdict, place);
        }
        self.scratch = scratch;
    }

    /// Queues the packet in `frame` in front of its other pieces, which stand from `place` on.
    fn queue_first(&mut self, frame: &FrameBuf<'_>, verdict: Verdict, place: usize) {
        let to = match verdict {
            Verdict::Forward(side) | Verdict::Reply(side, _) => Destination::Side(side),
            Verdict::Local(kind) => Destination::Local(kind),
            Verdict::Consumed | Verdict::Drop(_) => return,
        };
        let after = self.after;
        let output = Output { to, after };
        if self.queue.push(&mut self.slab, output, &[frame.packet()]) {
            self.queue.move_last_to(place);
        } else {
            debug_assert!(false, "room for one frame's output was made sure of");
            self.counters.drops(DropReason::Internal, 1);
        }
    }

    /// Counts a packet that belongs to a softwire by its address, once: pieces that are put together
    /// as the whole, fragments that were held when they came. R-263
    fn count_arrival(&self, read: &Frame, found: Found, len: usize) {
        let (packets, bytes) = match read {
            Frame::Tunnel(_) => (Counter::RcvdIpv6Packets, Counter::RcvdIpv6Bytes),
            Frame::Ipv4(ipv4) if found.line != Lookup::Foreign && !self.reassembles(ipv4) => {
                (Counter::RcvdIpv4Packets, Counter::RcvdIpv4Bytes)
            }
            Frame::Ipv4(_)
            | Frame::TunnelFragment
            | Frame::Icmpv6(_)
            | Frame::OwnIpv4(_)
            | Frame::Local(_)
            | Frame::Refused(_) => return,
        };
        self.counters.packet(packets, bytes, len);
    }

    /// The stateful half: what becomes of a frame that was read as `read`.
    fn finish(
        &mut self,
        now: Instant,
        side: Side,
        frame: &mut FrameBuf<'_>,
        read: &Frame,
        found: Found,
    ) -> Emitted {
        let outcome = match read {
            Frame::Tunnel(tunnel) => self.forward_upstream(now, frame, tunnel, found),
            Frame::Ipv4(ipv4) if self.reassembles(ipv4) => {
                self.reassemble_ipv4(now, frame, ipv4, found)
            }
            Frame::Ipv4(ipv4) => self.forward_downstream(now, frame, ipv4, found),
            Frame::TunnelFragment => self.reassemble(now, frame),
            Frame::Icmpv6(icmp) => self.icmpv6(now, frame, icmp),
            Frame::OwnIpv4(ipv4) => self.own_ipv4(now, frame, ipv4),
            Frame::Local(kind) => Ok(Verdict::Local(*kind).into()),
            Frame::Refused(refusal) => Err(*refusal),
        };
        outcome.unwrap_or_else(|refusal| self.refuse(now, side, frame, read, refusal).into())
    }

    /// Answers a refused packet where it may be answered.
    fn refuse(
        &self,
        now: Instant,
        side: Side,
        frame: &mut FrameBuf<'_>,
        read: &Frame,
        refusal: Refusal,
    ) -> Verdict {
        let Refusal { reason, answer } = refusal;
        match (answer, read) {
            (Answer::V4(kind), Frame::Tunnel(tunnel)) => {
                let (at, via) = (tunnel.at, Via::Tunnel(tunnel.ends()));
                let reply = Icmpv4Reply { kind, at, via };
                verdict(
                    reason,
                    self.answer_v4(now, frame, &tunnel.ipv4.inner, reply),
                )
            }
            (Answer::V4(kind), Frame::Ipv4(ipv4)) => {
                let (at, via) = (0, Via::Internet);
                let reply = Icmpv4Reply { kind, at, via };
                verdict(reason, self.answer_v4(now, frame, &ipv4.inner, reply))
            }
            (Answer::V6(kind), _) if side == Side::Softwire => {
                let sent = self.answer_v6(now, frame, kind);
                verdict(reason, sent.then_some(Side::Softwire))
            }
            _ => Verdict::Drop(reason),
        }
    }

    /// Gives up what has waited too long. R-128 R-148
    fn expire(&mut self, now: Instant) {
        for side in Side::ALL {
            let evicted = self.tracker.take_evicted(side);
            self.discard(side, DropReason::FragmentNoFirst, evicted);
            while let Some((key, lost)) = self.tracker.expire_next(&mut self.slab, now, side) {
                self.discard(side, DropReason::FragmentNoFirst, lost);
                if lost > 0 {
                    self.trace_waited(key, DropReason::FragmentNoFirst);
                }
            }
        }
        while let Some(expired) = match &mut self.ipv4_reassembly {
            Some(reassembly) => reassembly.expire_next(&mut self.slab, now),
            None => None,
        } {
            let (lost, ends) = (expired.fragments, (expired.src, expired.dst));
            let reason = DropReason::Ipv4ReassemblyTimeout;
            self.discard(Side::Internet, reason, lost);
            self.trace_expired(Side::Internet, ends, 0, reason);
        }
        while let Some(expired) = self.reassembly.expire_next(&mut self.slab, now) {
            let len = expired.first.map_or(0, <[u8]>::len);
            if let Some(first) = expired.first
                && let Some(room) = self.scratch.get_mut(HEADROOM..HEADROOM + len)
            {
                room.copy_from_slice(first);
            }
            let (lost, ends) = (expired.fragments, (expired.src, expired.dst));
            let reason = DropReason::Ipv6ReassemblyTimeout;
            self.discard(Side::Softwire, reason, lost);
            self.trace_expired(Side::Softwire, ends, len, reason);
            if len > 0 {
                self.tell_timeout(now, len);
            }
        }
    }

    /// Tells a B4 that the rest of a packet never came; the first fragment of it stands in the
    /// scratch buffer. R-129
    fn tell_timeout(&mut self, now: Instant, len: usize) {
        let kind = Icmpv6ErrorKind::TimeExceeded {
            code: TimeExceededCode::REASSEMBLY,
        };
        let mut scratch = core::mem::take(&mut self.scratch);
        if let Some(mut frame) = FrameBuf::new(&mut scratch, HEADROOM, len)
            && !self.is_full()
            && self.answer_v6(now, &mut frame, kind)
        {
            let output = self.output(Side::Softwire);
            if self.queue.push(&mut self.slab, output, &[frame.packet()]) {
                self.counters.add(Counter::ErrorsQueued, 1);
            } else {
                self.counters.drops(DropReason::Internal, 1);
            }
        }
        self.scratch = scratch;
    }

    fn count(&self, side: Side, len: usize, verdict: Verdict) {
        self.counters.add(
            match side {
                Side::Softwire => Counter::ReceivedSoftwire,
                Side::Internet => Counter::ReceivedInternet,
            },
            1,
        );
        let counter = match verdict {
            Verdict::Forward(_) => Counter::Forwarded,
            Verdict::Reply(_, Cause::EchoV4 | Cause::EchoV6) => Counter::Echoed,
            Verdict::Reply(_, Cause::Dropped(_)) => Counter::Replied,
            Verdict::Local(_) => Counter::Local,
            Verdict::Consumed => Counter::Consumed,
            Verdict::Drop(_) => Counter::Dropped,
        };
        self.counters.add(counter, 1);
        self.count_drop(side, len, verdict);
    }

    ///
    fn count_icmpv4(&self, read: &Frame, len: usize, verdict: Verdict) {
        if let (Frame::Ipv4(ipv4), Verdict::Drop(_)) = (read, verdict)
            && ipv4.inner.protocol == IpProtocol::ICMP
        {
            let (packets, bytes) = (Counter::DroppedIcmpv4Packets, Counter::DroppedIcmpv4Bytes);
            self.counters.packet(packets, bytes, len);
        }
    }

    fn count_late(&self, side: Side, len: usize, verdict: Verdict) {
        let counter = match verdict {
            Verdict::Forward(_) => Counter::LateForwarded,
            Verdict::Reply(_, Cause::EchoV4 | Cause::EchoV6) => Counter::LateEchoed,
            Verdict::Reply(_, Cause::Dropped(_)) => Counter::LateReplied,
            Verdict::Local(_) => Counter::LateLocal,
            Verdict::Consumed => Counter::LateConsumed,
            Verdict::Drop(_) => Counter::LateDropped,
        };
        self.counters.add(counter, 1);
        if verdict == Verdict::Consumed {
            self.counters.add_side(side, Fate::Again, 1);
        }
        self.count_drop(side, len, verdict);
    }

    fn count_drop(&self, side: Side, len: usize, verdict: Verdict) {
        if let Verdict::Drop(reason) | Verdict::Reply(_, Cause::Dropped(reason)) = verdict {
            self.counters.dropped(side, reason, len);
        }
    }
}
