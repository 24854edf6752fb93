//! Making records while packets go their way.

use std::collections::VecDeque;

use lw4o6_binding::table::Lookup;
use lw4o6_wire::PortParams;

use super::check::{Facts, Path};
use super::packet::{self, Seen};
use super::{Binding, Only, Trace, TraceFilter, Way};
use crate::classify::{Found, Frame};
use crate::tracker::FragmentKey;
use crate::worker::Worker;
use crate::{DropReason, Side, Verdict};

/// Records that wait to be polled.
const MAX_RECORDS: usize = 1024;

/// The filter, and the records that nobody has taken yet.
#[derive(Debug)]
pub(crate) struct Tracer {
    filter: TraceFilter,
    ethernet: bool,
    records: VecDeque<Trace>,
    lost: u64,
}

/// What is known of a packet before anything is done to it.
#[derive(Debug)]
pub(crate) struct Draft {
    side: Side,
    way: Way,
    len: usize,
    seen: Seen,
    binding: Option<Binding>,
    path: Path,
    facts: Facts,
    /// Where its record goes: in front of those of packets that it brings about.
    place: usize,
}

impl Tracer {
    fn new(filter: TraceFilter) -> Self {
        Self {
            filter,
            ethernet: false,
            records: VecDeque::new(),
            lost: 0,
        }
    }

    fn push(&mut self, place: usize, record: Trace) {
        if !self.filter.matches(&record) {
            return;
        }
        if self.records.len() < MAX_RECORDS {
            let place = place.min(self.records.len());
            self.records.insert(place, record);
        } else {
            self.lost += 1;
        }
    }
}

impl TraceFilter {
    fn matches(&self, record: &Trace) -> bool {
        let Self {
            ipv4,
            port,
            b4,
            only,
        } = *self;
        let inner = record.inner;
        let has_ipv4 = |ipv4| inner.is_some_and(|inner| inner.src == ipv4 || inner.dst == ipv4);
        let has_port = |port| {
            inner.is_some_and(|inner| {
                let of = |ports: lw4o6_wire::l4::Ports| ports.src == port || ports.dst == port;
                inner.ports.is_some_and(of)
                    || inner.icmp.is_some_and(|icmp| icmp.ident == Some(port))
            })
        };
        let has_b4 = |b4| {
            let outer = record.outer;
            outer.is_some_and(|outer| outer.src == b4 || outer.dst == b4)
                || record.binding.is_some_and(|binding| binding.b4 == b4)
        };
        ipv4.is_none_or(has_ipv4)
            && port.is_none_or(has_port)
            && b4.is_none_or(has_b4)
            && (only == Only::Everything || record.is_drop())
    }
}

impl Worker {
    /// Traces the packets that match, from now on; without a filter none.
    ///
    /// 1,024 records wait for [`poll_trace`](Self::poll_trace); what comes then is counted as lost.
    /// Those that wait are given up when tracing is switched off.
    pub fn set_trace(&mut self, filter: Option<TraceFilter>) {
        match (filter, &mut self.tracer) {
            (Some(filter), Some(tracer)) => tracer.filter = filter,
            (Some(filter), none) => *none = Some(Box::new(Tracer::new(filter))),
            (None, tracer) => *tracer = None,
        }
    }

    /// The next record, oldest first.
    pub fn poll_trace(&mut self) -> Option<Trace> {
        self.tracer.as_mut()?.records.pop_front()
    }

    /// Records that found no place, since tracing was switched on.
    #[must_use]
    pub fn traces_lost(&self) -> u64 {
        self.tracer.as_ref().map_or(0, |tracer| tracer.lost)
    }

    /// Says that packets come in Ethernet frames, whose checks they have passed.
    pub(crate) fn trace_behind_ethernet(&mut self) {
        if let Some(tracer) = &mut self.tracer {
            tracer.ethernet = true;
        }
    }

    /// Looks at a packet before anything is done to it.
    #[cold]
    pub(crate) fn draft(
        &self,
        side: Side,
        way: Way,
        packet: &[u8],
        read: &Frame,
        found: Found,
    ) -> Option<Box<Draft>> {
        let tracer = self.tracer.as_ref()?;
        let seen = packet::read(side, packet);
        let path = match read {
            Frame::Tunnel(_) => Path::Upstream,
            Frame::TunnelFragment => Path::TunnelFragment,
            Frame::Icmpv6(_) => Path::Icmpv6,
            Frame::Ipv4(ipv4) if self.reassembles(ipv4) => Path::Ipv4Fragment,
            Frame::Ipv4(_) => Path::Downstream,
            Frame::OwnIpv4(_) => Path::OwnIpv4,
            Frame::Local(_) | Frame::Refused(_) => match side {
                Side::Softwire => Path::Ipv6,
                Side::Internet => Path::Downstream,
            },
        };
        let upstream = matches!(read, Frame::Tunnel(_));
        let binding = match (read, found.line) {
            (Frame::Tunnel(_) | Frame::Ipv4(_), Lookup::Found(softwire)) => Some(Binding {
                b4: softwire.b4.into(),
                aftr: self.aftr_of(&softwire),
                softwire: PortParams::new(softwire.offset, softwire.len, softwire.psid)
                    .ok()
                    .map(|set| (softwire.ipv4.into(), set)),
            }),
            _ => None,
        };
        Some(Box::new(Draft {
            side,
            way,
            len: packet.len(),
            seen,
            binding,
            path,
            facts: Facts {
                ethernet: tracer.ethernet && way == Way::In,
                hairpin: upstream && found.peer_managed,
                own: seen.inner.is_some_and(|inner| self.is_own_ipv4(inner.dst)),
                untunnelled: path == Path::OwnIpv4
                    && !seen.inner.is_some_and(|inner| self.is_managed(inner.src)),
                ..facts(&seen)
            },
            place: tracer.records.len(),
        }))
    }

    /// Writes down what became of a packet; `packet` is what the frame holds now.
    #[cold]
    pub(crate) fn trace(&mut self, draft: &Draft, verdict: Verdict, packet: &[u8]) {
        let at = self.newest;
        let Some(tracer) = &mut self.tracer else {
            return;
        };
        let (passed, failed) = draft.path.run(draft.facts, verdict);
        let answer = match verdict {
            Verdict::Reply(to, _) => packet::read_answer(to, packet),
            Verdict::Forward(_) | Verdict::Local(_) | Verdict::Consumed | Verdict::Drop(_) => None,
        };
        let record = Trace {
            at,
            side: draft.side,
            way: draft.way,
            len: draft.len,
            outer: draft.seen.outer,
            inner: draft.seen.inner,
            binding: draft.binding.or_else(|| draft.ends(verdict, packet)),
            passed,
            failed,
            verdict,
            answer,
        };
        tracer.push(draft.place, record);
    }

    /// Writes down a frame that was not taken for want of memory.
    #[cold]
    pub(crate) fn trace_full(&mut self, side: Side, packet: &[u8]) {
        let verdict = Verdict::Drop(DropReason::OutputFull);
        let seen = packet::read(side, packet);
        self.trace_seen(side, Way::In, packet.len(), seen, Path::Full, verdict);
    }

    /// Writes down a datagram whose fragments were held in vain.
    #[cold]
    pub(crate) fn trace_expired(
        &mut self,
        side: Side,
        ends: ([u8; 16], [u8; 16]),
        first: usize,
        reason: DropReason,
    ) {
        if self.tracer.is_none() {
            return;
        }
        let mut seen = packet::read_ends(side, ends.0, ends.1);
        let start = lw4o6_wire::HEADROOM;
        if let Some(quoted) = self.scratch.get(start..start + first)
            && first > 0
        {
            seen = packet::read(side, quoted);
        }
        let path = match side {
            Side::Softwire => Path::TunnelFragment,
            Side::Internet => Path::Ipv4Fragment,
        };
        self.trace_seen(side, Way::Held, first, seen, path, Verdict::Drop(reason));
    }

    /// Writes down a datagram whose first fragment never came.
    #[cold]
    pub(crate) fn trace_waited(&mut self, key: FragmentKey, reason: DropReason) {
        let seen = packet::read_key(key.b4, key.src, key.dst, key.protocol);
        let (side, path) = match key.b4 {
            Some(_) => (Side::Softwire, Path::Upstream),
            None => (Side::Internet, Path::Downstream),
        };
        self.trace_seen(side, Way::Held, 0, seen, path, Verdict::Drop(reason));
    }

    /// Writes down an Ethernet frame that was none of the worker's.
    #[cold]
    pub(crate) fn trace_link(&mut self, side: Side, frame: &[u8], verdict: Verdict) {
        let seen = packet::read_frame(frame);
        let path = if verdict == Verdict::Drop(DropReason::OutputFull) {
            Path::Full
        } else {
            Path::Link
        };
        let len = lw4o6_wire::ethernet::split(frame).map_or(frame.len(), |f| f.payload.len());
        self.trace_seen(side, Way::In, len, seen, path, verdict);
    }

    /// Writes down a packet that could not leave towards `side`.
    #[cold]
    pub(crate) fn trace_out(&mut self, side: Side, packet: &[u8], reason: DropReason) {
        let seen = packet::read(side, packet);
        let verdict = Verdict::Drop(reason);
        self.trace_seen(side, Way::Out, packet.len(), seen, Path::Out, verdict);
    }

    fn trace_seen(
        &mut self,
        side: Side,
        way: Way,
        len: usize,
        seen: Seen,
        path: Path,
        verdict: Verdict,
    ) {
        let Some(tracer) = &self.tracer else { return };
        let ethernet = tracer.ethernet && way == Way::In;
        let mut facts = facts(&seen);
        facts.ethernet = ethernet;
        facts.fragment |= way == Way::Held;
        let draft = Draft {
            side,
            way,
            len,
            seen,
            binding: None,
            path,
            facts,
            place: tracer.records.len(),
        };
        self.trace(&draft, verdict, &[]);
    }
}

impl Draft {
    /// The ends of the tunnel of a packet that was forwarded by the ports of its first fragment.
    fn ends(&self, verdict: Verdict, packet: &[u8]) -> Option<Binding> {
        let binding = |b4, aftr| Binding {
            b4,
            aftr: Some(aftr),
            softwire: None,
        };
        match (self.path, verdict) {
            (Path::Upstream, Verdict::Forward(_)) => {
                self.seen.outer.map(|outer| binding(outer.src, outer.dst))
            }
            (Path::Downstream, Verdict::Forward(to)) => {
                let outer = packet::read(to, packet).outer;
                outer.map(|outer| binding(outer.dst, outer.src))
            }
            _ => None,
        }
    }
}

fn facts(seen: &Seen) -> Facts {
    let icmp = lw4o6_wire::IpProtocol::ICMP;
    let discovery = matches!(seen.icmpv6, Some(133..=137));
    let group = |dst: core::net::Ipv6Addr| matches!(dst.octets(), [0xff, 0x02, ..]);
    Facts {
        icmpv4: seen.inner.is_some_and(|inner| inner.protocol == icmp),
        fragment: seen.inner.is_some_and(|inner| inner.fragment.is_some()),
        icmpv6: seen.icmpv6,
        early: discovery || seen.outer.is_some_and(|outer| group(outer.dst)),
        ..Facts::default()
    }
}
