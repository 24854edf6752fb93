//! The two steps that keep state: U3, tunnel fragments, and U6 or W3, IPv4 fragments on shared
//! addresses.
//!
//! What an IPv4 fragment lacks are ports. They are remembered from its first one, and every
//! fragment is then checked and looked up like a whole packet, so a binding that goes takes the
//! rest of a datagram with it. Where the knob says so, those from the Internet are put together
//! instead and go on as one packet.

use lw4o6_wire::icmpv6::{Icmpv6ErrorKind, ParameterProblemCode};
use lw4o6_wire::{
    FrameBuf, HEADROOM, Instant, IpProtocol, Ipv4Packet, Ipv6Header, LinkCast, ipv6_ext,
};

use crate::classify::{Found, Ipv4, Tunnel};
use crate::config::{FragmentConfig, FragmentHandling, Hairpin, Switch};
use crate::counters::{Counter, Fate};
use crate::emit::Emitted;
use crate::inner::Inner;
use crate::key::{Direction, Key, key};
use crate::reassembly::{Reassembled, Reassembly};
use crate::refusal::Refusal;
use crate::tracker::{FragmentKey, Later, Piece};
use crate::upstream::check_header;
use crate::worker::{Seen, Worker};
use crate::{DropReason, Side, Verdict};

/// The ports of a datagram, in both roles that they can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FragmentPorts {
    /// Key of the sender, where that is a B4.
    pub(crate) source: Result<Key, DropReason>,
    /// Key of the receiver, where that is a B4.
    pub(crate) destination: Result<Key, DropReason>,
}

/// Where the ports of a packet come from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ports {
    /// From itself, or it needs none.
    InPacket,
    /// From itself, and others wait for the outcome.
    First(FragmentPorts),
    /// From its first fragment.
    Known(FragmentPorts),
    /// Not known yet; the packet is kept.
    Held,
}

impl Worker {
    /// U3: puts tunnel packets together. R-069
    pub(crate) fn reassemble(
        &mut self,
        now: Instant,
        frame: &FrameBuf<'_>,
    ) -> Result<Emitted, Refusal> {
        let packet = frame.packet();
        let (outer, payload) = Ipv6Header::split(packet).map_err(|_| DropReason::Internal)?;
        let walk =
            ipv6_ext::walk(outer.next_header(), payload).map_err(|_| DropReason::Internal)?;
        let packet = packet.get(..40 + payload.len()).unwrap_or(packet);
        if self.scratch.is_empty() {
            // This is a reassembled packet, and a fragment again.
            return Err(DropReason::ExtHeaderMalformed.into());
        }
        // under pressure, memory is for those that have a binding.
        if self.reassembly.is_tight() && !self.reader.b4_known(&outer.src().octets()) {
            return Err(DropReason::Ipv6ReassemblyFull.into());
        }
        let outcome = self.reassembly.push(
            &mut self.slab,
            now,
            packet,
            &walk,
            &mut self.scratch,
            HEADROOM,
        );
        self.counters
            .set(Counter::ReassemblyWarnings, self.reassembly.warnings());
        match outcome {
            Reassembled::Held => Ok(Verdict::Consumed.into()),
            Reassembled::Complete { len, merged } => {
                self.count_merged(Side::Softwire, merged + 1);
                self.counters
                    .add(Counter::Ipv6FragmentsReassembled, merged + 1);
                self.counters
                    .add(Counter::Ipv6FragmentsBytesReassembled, len);
                self.process_scratch(now, Side::Softwire, len, Seen::First);
                Ok(Verdict::Consumed.into())
            }
            Reassembled::Refused {
                reason,
                problem,
                lost,
            } => {
                self.discard(Side::Softwire, reason, lost);
                Err(problem.map_or(reason.into(), |problem| {
                    let code = ParameterProblemCode(problem.code);
                    let pointer = problem.pointer;
                    Refusal::v6(reason, Icmpv6ErrorKind::ParameterProblem { code, pointer })
                }))
            }
        }
    }

    /// Whether this is a fragment from the Internet to be put together. R-145
    pub(crate) fn reassembles(&self, ipv4: &Ipv4) -> bool {
        ipv4.inner.is_fragment()
            && self.settings.config.fragments.handling == FragmentHandling::Reassemble
            && self.is_shared(ipv4.inner.dst)
    }

    /// W3, where fragments are not followed. The packet they make is processed, and counted as
    /// received, like one that came whole. R-141
    pub(crate) fn reassemble_ipv4(
        &mut self,
        now: Instant,
        frame: &FrameBuf<'_>,
        ipv4: &Ipv4,
        found: Found,
    ) -> Result<Emitted, Refusal> {
        check_header(ipv4)?;
        // What is put together has no link of its own that would tell.
        if frame.link_cast() != LinkCast::Unicast {
            return Err(DropReason::LinkGroup.into()); // RFC 1812 §5.3.4: in silence
        }
        self.check_internet_source(ipv4, found.peer_managed)?;
        let protocol = ipv4.inner.protocol;
        // What would be refused when it is whole is not held.
        if protocol == IpProtocol::ICMP {
            if self.settings.config.icmp.incoming_v4 == Switch::Off {
                return Err(DropReason::Icmpv4Policy.into());
            }
        } else if !protocol.has_ports() {
            return Err(DropReason::NoL4Port.into());
        }
        let Some(reassembly) = &mut self.ipv4_reassembly else {
            return Err(DropReason::Internal.into());
        };
        let (slab, scratch) = (&mut self.slab, &mut self.scratch);
        let outcome = reassembly.push_ipv4(slab, now, frame.packet(), scratch, HEADROOM);
        let evicted = reassembly.take_evicted();
        self.discard(Side::Internet, DropReason::Ipv4FragmentFull, evicted);
        self.count_evictions();
        match outcome {
            Reassembled::Held => Ok(Verdict::Consumed.into()),
            Reassembled::Complete { len, merged } => {
                self.count_merged(Side::Internet, merged + 1);
                self.process_scratch(now, Side::Internet, len, Seen::First);
                Ok(Verdict::Consumed.into())
            }
            Reassembled::Refused { reason, lost, .. } => {
                self.discard(Side::Internet, reason, lost);
                Err(reason.into())
            }
        }
    }

    /// U6. R-142 R-143
    pub(crate) fn upstream_ports(
        &mut self,
        now: Instant,
        frame: &FrameBuf<'_>,
        tunnel: &Tunnel,
    ) -> Result<Ports, Refusal> {
        let inner = &tunnel.ipv4.inner;
        if !inner.is_fragment() {
            return Ok(Ports::InPacket);
        }
        // From a full address to a shared one the first fragment is needed as well.
        let source = self.is_shared(inner.src);
        let hairpin = !source
            && self.settings.config.hairpin == Hairpin::Local
            && self.is_managed(inner.src)
            && self.is_shared(inner.dst);
        if !source && !hairpin {
            return Ok(Ports::InPacket);
        }
        Ok(self.follow(now, frame, inner, Some(tunnel))?)
    }

    /// W3. R-141
    pub(crate) fn downstream_ports(
        &mut self,
        now: Instant,
        frame: &FrameBuf<'_>,
        ipv4: &Ipv4,
    ) -> Result<Ports, Refusal> {
        if !ipv4.inner.is_fragment() || !self.is_shared(ipv4.inner.dst) {
            return Ok(Ports::InPacket);
        }
        Ok(self.follow(now, frame, &ipv4.inner, None)?)
    }

    fn follow(
        &mut self,
        now: Instant,
        frame: &FrameBuf<'_>,
        inner: &Inner,
        tunnel: Option<&Tunnel>,
    ) -> Result<Ports, DropReason> {
        if self.settings.config.fragments.handling == FragmentHandling::Off {
            return Err(DropReason::FragmentsOff);
        }
        if inner.protocol != IpProtocol::ICMP && !inner.protocol.has_ports() {
            return Err(DropReason::NoL4Port);
        }
        let packet = fragment_of(frame, tunnel)?;
        let piece = Piece::of(&packet)?;
        let context = FragmentKey::of(tunnel.map(|t| t.b4.octets()), &packet);
        if inner.is_later_fragment() {
            let hold = [frame.packet()];
            return match self
                .tracker
                .later(&mut self.slab, now, context, piece, &hold)
            {
                Later::Known(ports) => Ok(Ports::Known(ports)),
                Later::Held => Ok(Ports::Held),
                Later::Refused(refusal) => {
                    self.discard(side_of(tunnel), refusal.reason, refusal.lost);
                    Err(refusal.reason)
                }
            };
        }
        let rules = self.settings.key_rules;
        let ports = FragmentPorts {
            source: key(Direction::Upstream, &packet, inner, rules).and_then(port),
            destination: key(Direction::Downstream, &packet, inner, rules).and_then(port),
        };
        match self
            .tracker
            .first(&mut self.slab, now, context, piece, ports)
        {
            Ok(released) => {
                self.releasing |= released > 0;
                self.count_evictions();
                Ok(Ports::First(ports))
            }
            Err(refusal) => {
                self.discard(side_of(tunnel), refusal.reason, refusal.lost);
                Err(refusal.reason)
            }
        }
    }

    /// Tells the rest of a datagram what became of its first fragment. R-142
    pub(crate) fn settle<T>(
        &mut self,
        now: Instant,
        frame: &FrameBuf<'_>,
        tunnel: Option<&Tunnel>,
        outcome: Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let Err(refusal) = outcome else {
            return outcome;
        };
        if decides(refusal.reason)
            && let Ok(packet) = fragment_of(frame, tunnel)
        {
            let context = FragmentKey::of(tunnel.map(|t| t.b4.octets()), &packet);
            let lost = self.tracker.refuse(&mut self.slab, now, context);
            self.discard(side_of(tunnel), DropReason::FragmentRefused, lost);
        }
        Err(refusal)
    }

    fn count_evictions(&self) {
        let ipv4 = self.ipv4_reassembly.as_ref();
        let evictions = self.tracker.evictions() + ipv4.map_or(0, Reassembly::evictions);
        self.counters.set(Counter::FragmentEvictions, evictions);
    }

    /// Fragments from a side that are held.
    pub(crate) fn held(&self, side: Side) -> usize {
        let whole = match side {
            Side::Softwire => Some(&self.reassembly),
            Side::Internet => self.ipv4_reassembly.as_ref(),
        };
        self.tracker.held(side) + whole.map_or(0, Reassembly::held)
    }

    fn count_merged(&self, side: Side, pieces: usize) {
        self.counters.add(Counter::Merged, pieces);
        self.counters.add_side(side, Fate::Merged, pieces);
        self.counters.add(Counter::Reassembled, 1);
    }

    /// Counts held fragments that are given up.
    pub(crate) fn discard(&self, side: Side, reason: DropReason, lost: usize) {
        if lost > 0 {
            self.counters.add(Counter::Discarded, lost);
            self.counters.add_side(side, Fate::Discarded, lost);
            self.counters.drops(reason, lost);
        }
    }
}

/// What of the knobs is for fragments that are followed: half of the bytes where others are put
/// together.
pub(crate) fn followed(config: &FragmentConfig) -> FragmentConfig {
    let shared = config.handling == FragmentHandling::Reassemble;
    FragmentConfig {
        bytes: config.bytes >> u32::from(shared),
        ..config.clone()
    }
}

/// Where a packet came from.
const fn side_of(tunnel: Option<&Tunnel>) -> Side {
    match tunnel {
        Some(_) => Side::Softwire,
        None => Side::Internet,
    }
}

/// Whether a refusal of a first fragment is about its datagram, not about this piece of it.
const fn decides(reason: DropReason) -> bool {
    !matches!(reason, DropReason::EcnCongestion | DropReason::HairpinOff)
}

/// On a shared address only a port will do.
const fn port(key: Key) -> Result<Key, DropReason> {
    match key {
        Key::Port(_) => Ok(key),
        Key::Address(reason) => Err(reason),
    }
}

fn fragment_of<'a>(
    frame: &'a FrameBuf<'_>,
    tunnel: Option<&Tunnel>,
) -> Result<Ipv4Packet<'a>, DropReason> {
    let at = tunnel.map_or(0, |tunnel| tunnel.at);
    let packet = frame.packet().get(at..).unwrap_or_default();
    Ipv4Packet::split(packet).map_err(|_| DropReason::Internal)
}
