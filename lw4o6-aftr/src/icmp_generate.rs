//! Errors of our own: who may be told what, from which address, how often.

use core::net::{Ipv4Addr, Ipv6Addr};

use lw4o6_binding::table::Lookup;
use lw4o6_wire::frame::LinkCast;
use lw4o6_wire::icmpv4::{self, Icmpv4ErrorKind, Icmpv4Type};
use lw4o6_wire::icmpv6::{
    self, Icmpv6ErrorKind, Icmpv6Type, ParameterProblemCode, UnreachableCode,
};
use lw4o6_wire::quote::QuotedKey;
use lw4o6_wire::{
    FragmentHeader, FrameBuf, Instant, IpProtocol, Ipv4Fields, Ipv4Packet, Ipv6Fields, Ipv6Header,
    NoHeadroom,
};

use crate::config::{B4IcmpSource, InboundEcho, Switch};
use crate::counters::Counter;
use crate::emit::Ends;
use crate::inner::Inner;
use crate::key::Key;
use crate::limits::{Family, Source};
use crate::martian::{SERVICE_AFTR, is_martian, is_service};
use crate::worker::Worker;
use crate::{Cause, DropReason, Side, Verdict};

/// How an `ICMPv4` error reaches the source of the packet it is about.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Via {
    /// Over the Internet, unless the source turns out to be a subscriber of ours.
    Internet,
    /// Through this tunnel.
    Tunnel(Ends),
}

/// Why an error is not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Suppressed {
    /// No token is left.
    Rate,
    /// A knob or an RFC forbids it.
    Policy,
    /// Its source is an address of ours that nobody has.
    Unbound,
}

/// An error to write: what, about whom, to whom.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Icmpv4Reply {
    pub(crate) kind: Icmpv4ErrorKind,
    /// Where the offending IPv4 packet starts in the frame.
    pub(crate) at: usize,
    pub(crate) via: Via,
}

impl Worker {
    /// Turns the frame into an `ICMPv4` error about the IPv4 packet in it, whose fields are `inner`.
    ///
    /// Returns where it goes, or nothing and leaves the frame alone.
    pub(crate) fn answer_v4(
        &self,
        now: Instant,
        frame: &mut FrameBuf<'_>,
        inner: &Inner,
        reply: Icmpv4Reply,
    ) -> Option<Side> {
        let sent = if self.settings.config.icmp.generate_v4 == Switch::Off {
            Err(Suppressed::Policy)
        } else {
            self.send_v4(now, frame, inner, reply)
        };
        match sent {
            Ok(side) => Some(side),
            Err(Suppressed::Rate) => {
                self.counters.add(Counter::Icmpv4SuppressedRate, 1);
                None
            }
            Err(Suppressed::Policy | Suppressed::Unbound) => {
                self.counters.add(Counter::Icmpv4SuppressedPolicy, 1);
                None
            }
        }
    }

    /// The part that relayed tunnel errors share.
    pub(crate) fn send_v4(
        &self,
        now: Instant,
        frame: &mut FrameBuf<'_>,
        inner: &Inner,
        reply: Icmpv4Reply,
    ) -> Result<Side, Suppressed> {
        let offending = frame.packet().get(reply.at..).unwrap_or_default();
        if frame.link_cast() != LinkCast::Unicast {
            return Err(Suppressed::Policy);
        }
        if !may_be_answered(inner, offending) {
            return Err(Suppressed::Policy);
        }
        let via = self.reach(inner, offending, reply.via)?;
        let source = self.icmpv4_source(via).ok_or(Suppressed::Policy)?;
        //
        let bucket = match via {
            Via::Internet => Source::V4(inner.src),
            Via::Tunnel(ends) => Source::V6(ends.b4),
        };
        if !self.take_error(now, Family::V4, bucket) {
            return Err(Suppressed::Rate);
        }
        self.write_v4(frame, inner, reply, source, via)
            .map_err(|NoHeadroom| Suppressed::Policy)
    }

    /// A source of ours is behind its tunnel, wherever the packet came from. R-115
    fn reach(&self, inner: &Inner, offending: &[u8], via: Via) -> Result<Via, Suppressed> {
        match via {
            Via::Tunnel(_) => Ok(via),
            Via::Internet if !self.is_managed(inner.src) => Ok(via),
            Via::Internet => {
                let key = self.sender_key(offending).ok_or(Suppressed::Unbound)?;
                let Lookup::Found(softwire) = self.lookup(inner.src, key) else {
                    return Err(Suppressed::Unbound);
                };
                let ends = self.ends(&softwire).map_err(|_| Suppressed::Policy)?;
                Ok(Via::Tunnel(ends))
            }
        }
    }

    /// The key of the sender of a packet, which may be cut off.
    fn sender_key(&self, offending: &[u8]) -> Option<Key> {
        let quoted = Ipv4Packet::split_quoted(offending).ok()?;
        match quoted.key() {
            QuotedKey::Ports(ports) => Some(Key::Port(ports.src)),
            QuotedKey::Ident { ident, .. } => {
                // D-3: an echo reply answers what came in for port 0; timestamps have no knob.
                let reply = quoted.payload.first() == Some(&Icmpv4Type::ECHO_REPLY.0);
                let port0 = self.settings.key_rules.inbound_echo == InboundEcho::Port0;
                Some(Key::Port(if reply && port0 { 0 } else { ident }))
            }
            QuotedKey::NoPort | QuotedKey::Truncated => Some(Key::Address(DropReason::NoL4Port)),
            QuotedKey::Error | QuotedKey::Fragment => None,
        }
    }

    /// R-085 R-086 R-177
    fn icmpv4_source(&self, via: Via) -> Option<Ipv4Addr> {
        let config = &self.settings.config;
        let public = config.own_ipv4.first().copied();
        match (via, config.icmp.b4_source) {
            (Via::Internet, _) => public,
            (Via::Tunnel(_), B4IcmpSource::ServiceAddress) => Some(SERVICE_AFTR),
            (Via::Tunnel(_), B4IcmpSource::Public) => Some(public.unwrap_or(SERVICE_AFTR)),
        }
    }

    /// R-174 R-176 R-178
    fn write_v4(
        &self,
        frame: &mut FrameBuf<'_>,
        inner: &Inner,
        reply: Icmpv4Reply,
        source: Ipv4Addr,
        via: Via,
    ) -> Result<Side, NoHeadroom> {
        let config = &self.settings.config;
        let overhead = match via {
            Via::Internet => 0,
            Via::Tunnel(_) => self.settings.overhead,
        };
        if frame.headroom() + reply.at < 28 + overhead {
            return Err(NoHeadroom);
        }
        let room = match via {
            Via::Internet => usize::from(config.ipv4_mtu) - 28,
            Via::Tunnel(_) => icmpv4::MAX_QUOTE,
        };
        frame.trim_front(reply.at);
        frame.truncate(
            usize::from(inner.total_len)
                .min(icmpv4::MAX_QUOTE)
                .min(room),
        );
        let header = icmpv4::error_header(reply.kind, frame.packet());
        frame.push_front(&header)?;
        let len = frame.len() + 20;
        let fields = Ipv4Fields {
            tos: config.icmp.v4_tos,
            total_len: u16::try_from(len).unwrap_or(u16::MAX),
            ident: 0,
            dont_fragment: true, // an atomic datagram needs no identification (RFC 6864 §4.1)
            more_fragments: false,
            fragment_offset: 0,
            ttl: config.own_ttl,
            protocol: IpProtocol::ICMP,
            src: source,
            dst: inner.src,
        };
        frame.push_front(&fields.to_bytes())?;
        self.counters.packet(
            Counter::OutIcmpv4ErrorPackets,
            Counter::OutIcmpv4ErrorBytes,
            len,
        );
        match via {
            Via::Internet => Ok(Side::Internet),
            Via::Tunnel(ends) => {
                let own = Inner {
                    tos: fields.tos,
                    total_len: fields.total_len,
                    protocol: fields.protocol,
                    src: fields.src,
                    dst: fields.dst,
                    ..Inner::EMPTY
                };
                self.push_outer(frame, ends, &own)?;
                Ok(Side::Softwire)
            }
        }
    }

    /// Turns the frame, an IPv6 packet to an address of ours, into an `ICMPv6` error about it.
    ///
    /// Returns whether it did; otherwise the frame is as it was.
    pub(crate) fn answer_v6(
        &self,
        now: Instant,
        frame: &mut FrameBuf<'_>,
        kind: Icmpv6ErrorKind,
    ) -> bool {
        match self.send_v6(now, frame, kind) {
            Ok(()) => true,
            Err(Suppressed::Rate) => {
                self.counters.add(Counter::Icmpv6SuppressedRate, 1);
                false
            }
            Err(Suppressed::Policy | Suppressed::Unbound) => {
                self.counters.add(Counter::Icmpv6SuppressedPolicy, 1);
                false
            }
        }
    }

    fn send_v6(
        &self,
        now: Instant,
        frame: &mut FrameBuf<'_>,
        kind: Icmpv6ErrorKind,
    ) -> Result<(), Suppressed> {
        let config = &self.settings.config;
        //
        if config.icmp.generate_v6 == Switch::Off {
            return Err(Suppressed::Policy);
        }
        // a table that is still being filled knows too few B4s.
        let failover = kind == Icmpv6ErrorKind::Unreachable(UnreachableCode::SOURCE_POLICY);
        if failover && self.shared.in_boot_grace(now, config.boot_grace) {
            return Err(Suppressed::Policy);
        }
        let (outer, payload) =
            Ipv6Header::split_quoted(frame.packet()).map_err(|_| Suppressed::Policy)?;
        let (b4, aftr) = (outer.src(), outer.dst());
        let len = 40 + payload.len();
        if !may_be_answered_v6(&outer, payload, aftr) {
            return Err(Suppressed::Policy);
        }
        // a parameter problem with an option is the exception, which 4/2 stands for.
        let option = ParameterProblemCode::OPTION;
        let excepted =
            matches!(kind, Icmpv6ErrorKind::ParameterProblem { code, .. } if code == option);
        if frame.link_cast() != LinkCast::Unicast && !excepted || frame.headroom() < 48 {
            return Err(Suppressed::Policy);
        }
        // R-165 R-166
        if !self.take_error(now, Family::V6, Source::V6(b4)) {
            return Err(Suppressed::Rate);
        }
        frame.truncate(len.min(icmpv6::MAX_QUOTE));
        self.write_v6(frame, kind, Ends { b4, aftr })
            .map_err(|NoHeadroom| Suppressed::Policy)?;
        if failover {
            self.counters.add(Counter::Icmpv6SourcePolicy, 1);
        }
        Ok(())
    }

    /// R-161 R-167: from the address that was hit, which may be shared by several AFTRs.
    fn write_v6(
        &self,
        frame: &mut FrameBuf<'_>,
        kind: Icmpv6ErrorKind,
        Ends { b4, aftr }: Ends,
    ) -> Result<(), NoHeadroom> {
        let header = icmpv6::error_header(kind, aftr, b4, frame.packet());
        frame.push_front(&header)?;
        let fields = Ipv6Fields {
            traffic_class: 0,
            flow_label: 0,
            payload_len: u16::try_from(frame.len()).unwrap_or(u16::MAX),
            next_header: IpProtocol::ICMPV6,
            hop_limit: self.settings.config.own_ttl,
            src: aftr,
            dst: b4,
        };
        frame.push_front(&fields.to_bytes())?;
        let len = frame.len();
        self.counters.packet(
            Counter::OutIcmpv6ErrorPackets,
            Counter::OutIcmpv6ErrorBytes,
            len,
        );
        Ok(())
    }
}

/// RFC 1812 §4.3.2.7. R-175
///
/// Not about an `ICMPv4` error, not to or from an address that is not one
/// node, not about a later fragment. Packets with a bad header never come this far.
pub(crate) fn may_be_answered(inner: &Inner, offending: &[u8]) -> bool {
    if inner.is_later_fragment() || is_martian(inner.dst) {
        return false;
    }
    if is_martian(inner.src) || is_service(inner.src) {
        return false;
    }
    if inner.protocol != IpProtocol::ICMP {
        return true;
    }
    offending
        .get(usize::from(inner.header_len))
        .is_some_and(|type_| !Icmpv4Type(*type_).is_error())
}

/// RFC 4443 §2.4(e). R-162 R-163 R-164
fn may_be_answered_v6(outer: &Ipv6Header<&[u8; 40]>, payload: &[u8], dst: Ipv6Addr) -> bool {
    let src = outer.src();
    let one_node = !(src.is_unspecified() || src.is_loopback() || src.is_multicast());
    one_node && !dst.is_multicast() && !carries_icmpv6_error(outer.next_header(), payload)
}

/// Most extension headers looked past; a packet with more draws no error.
const MAX_LOOK: usize = 32;

/// Whether `payload`, of type `next`, is an `ICMPv6` error or redirect. Looks past whatever is wrong
/// with the headers on the way, because that is what the error would be about.
fn carries_icmpv6_error(mut next: IpProtocol, mut payload: &[u8]) -> bool {
    for _ in 0..MAX_LOOK {
        let [first, second, ..] = *payload else {
            return next == IpProtocol::ICMPV6;
        };
        let len = match next {
            IpProtocol::ICMPV6 => return !Icmpv6Type(first).may_cause_error(),
            IpProtocol::HOPOPTS | IpProtocol::ROUTING | IpProtocol::DST_OPTS => {
                (usize::from(second) + 1) * 8
            }
            IpProtocol::FRAGMENT => match FragmentHeader::split(payload) {
                Ok((header, _)) if header.offset == 0 => FragmentHeader::LEN,
                Ok(_) | Err(_) => return false, // nobody can tell
            },
            _ => return false,
        };
        next = IpProtocol(first);
        payload = payload.get(len..).unwrap_or_default();
    }
    true
}

/// The verdict on a packet that was refused and perhaps answered.
pub(crate) fn verdict(reason: DropReason, answered: Option<Side>) -> Verdict {
    match answered {
        Some(side) => Verdict::Reply(side, Cause::Dropped(reason)),
        None => Verdict::Drop(reason),
    }
}
