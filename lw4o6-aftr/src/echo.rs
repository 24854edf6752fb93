//! Echo answers of the box itself.

use core::net::Ipv4Addr;

use lw4o6_binding::table::Lookup;
use lw4o6_wire::icmpv4::{self, Icmpv4Class, Icmpv4Header, Icmpv4Query};
use lw4o6_wire::icmpv6::Icmpv6Header;
use lw4o6_wire::{FrameBuf, Instant, IpProtocol, Ipv4Fields, Ipv6Fields, Ipv6Header, NoHeadroom};

use crate::classify::{Icmpv6, Ipv4, Tunnel};
use crate::emit::{Cut, Emitted, Ends};
use crate::icmp_generate::Via;
use crate::inner::Inner;
use crate::key::Key;
use crate::martian::is_martian;
use crate::refusal::Refusal;
use crate::settings::OUTER_LEN;
use crate::worker::Worker;
use crate::{Cause, DropReason, Kind, Side, Verdict};

/// TTL and hop limit of echo answers, whatever errors have: what hosts use (RFC 1700).
const ECHO_TTL: u8 = 64;

impl Worker {
    /// W2: an echo request is answered, everything else is the owner's.
    pub(crate) fn own_ipv4(
        &self,
        now: Instant,
        frame: &mut FrameBuf<'_>,
        ipv4: &Ipv4,
    ) -> Result<Emitted, Refusal> {
        ipv4.checksum?;
        let inner = &ipv4.inner;
        let managed = self.is_managed(inner.src);
        self.check_internet_source(ipv4, managed)?;
        let message = message(frame.packet(), 0, inner);
        let Some(ident) = echo_ident(inner, message).filter(|_| icmpv4::verify(message)) else {
            return Ok(Verdict::Local(Kind::Own).into());
        };
        if is_martian(inner.src) || self.is_own_ipv4(inner.src) {
            return Ok(Verdict::Local(Kind::Own).into());
        }
        let via = if managed {
            // the asker is behind its tunnel, wherever the request came from.
            let Lookup::Found(softwire) = self.lookup(inner.src, Key::Port(ident)) else {
                return Err(DropReason::Icmpv4NoBinding.into());
            };
            Via::Tunnel(self.ends(&softwire)?)
        } else {
            Via::Internet
        };
        self.echo_v4(now, frame, inner, inner.tos, via)
    }

    /// U9 for an address of the box: as [`own_ipv4`](Self::own_ipv4), through the tunnel that the packet
    /// came out of. R-111
    pub(crate) fn own_in_tunnel(
        &self,
        now: Instant,
        frame: &mut FrameBuf<'_>,
        tunnel: &Tunnel,
    ) -> Result<Emitted, Refusal> {
        let inner = &tunnel.ipv4.inner;
        // The key was read from a whole message, so its checksum is right.
        if echo_ident(inner, message(frame.packet(), tunnel.at, inner)).is_none() {
            let Ends { b4, aftr } = tunnel.ends();
            return Ok(Verdict::Local(Kind::Tunnelled { b4, aftr }).into());
        }
        let tos = self.inner_tos(tunnel);
        frame.trim_front(tunnel.at);
        self.echo_v4(now, frame, inner, tos, Via::Tunnel(tunnel.ends()))
    }

    pub(crate) fn is_own_ipv4(&self, address: Ipv4Addr) -> bool {
        self.settings.config.own_ipv4.contains(&address)
    }

    /// Turns the echo request at the start of the frame, whose fields are `inner`, into its answer.
    fn echo_v4(
        &self,
        now: Instant,
        frame: &mut FrameBuf<'_>,
        inner: &Inner,
        tos: u8,
        via: Via,
    ) -> Result<Emitted, Refusal> {
        let header_len = usize::from(inner.header_len);
        let len = 20 + usize::from(inner.total_len).saturating_sub(header_len);
        // The B4 could not put together more than fits the payload length.
        let most = usize::from(u16::MAX) + OUTER_LEN;
        if matches!(via, Via::Tunnel(_)) && len + self.settings.overhead > most {
            return Err(DropReason::TooBig.into());
        }
        if !self.take_echo(now) {
            return Err(DropReason::EchoRate.into());
        }
        frame.truncate(inner.total_len.into());
        frame.trim_front(header_len);
        if let Some(mut header) = Icmpv4Header::from_mut(frame.packet_mut()) {
            header.make_echo_reply();
        }
        let fields = Ipv4Fields {
            tos,
            total_len: u16::try_from(len).unwrap_or(u16::MAX),
            ident: 0,
            dont_fragment: true,
            more_fragments: false,
            fragment_offset: 0,
            ttl: ECHO_TTL,
            protocol: IpProtocol::ICMP,
            src: inner.dst,
            dst: inner.src,
        };
        let no_headroom = |NoHeadroom| DropReason::NoHeadroom;
        frame.push_front(&fields.to_bytes()).map_err(no_headroom)?;
        let Via::Tunnel(ends) = via else {
            return Ok(Verdict::Reply(Side::Internet, Cause::EchoV4).into());
        };
        let reply = Inner {
            tos,
            total_len: fields.total_len,
            protocol: fields.protocol,
            src: fields.src,
            dst: fields.dst,
            ..Inner::EMPTY
        };
        self.push_outer(frame, ends, &reply).map_err(no_headroom)?;
        Ok(Emitted {
            verdict: Verdict::Reply(Side::Softwire, Cause::EchoV4),
            cut: cut(frame, self.path_mtu(now, ends.b4)),
        })
    }

    /// The answer to an `ICMPv6` echo request whose checksum is right. It comes from the address that
    /// was asked, also where several AFTRs share it (D-2).
    pub(crate) fn echo_v6(
        &self,
        now: Instant,
        frame: &mut FrameBuf<'_>,
        icmp: &Icmpv6,
    ) -> Result<Emitted, Refusal> {
        let (outer, payload) =
            Ipv6Header::split(frame.packet()).map_err(|_| DropReason::Internal)?;
        let (traffic_class, end) = (outer.traffic_class(), 40 + payload.len());
        if !self.take_echo(now) {
            return Err(DropReason::EchoRate.into());
        }
        frame.truncate(end);
        frame.trim_front(icmp.at);
        if let Some(mut header) = Icmpv6Header::from_mut(frame.packet_mut()) {
            header.make_echo_reply();
        }
        let fields = Ipv6Fields {
            traffic_class,
            flow_label: 0,
            payload_len: u16::try_from(frame.len()).unwrap_or(u16::MAX),
            next_header: IpProtocol::ICMPV6,
            hop_limit: ECHO_TTL,
            src: icmp.dst,
            dst: icmp.src,
        };
        frame
            .push_front(&fields.to_bytes())
            .map_err(|NoHeadroom| DropReason::NoHeadroom)?;
        Ok(Emitted {
            verdict: Verdict::Reply(Side::Softwire, Cause::EchoV6),
            cut: cut(frame, self.settings.config.ipv6_mtu),
        })
    }
}

/// How an IPv6 packet of ours is cut for a link of this MTU.
fn cut(frame: &FrameBuf<'_>, mtu: u16) -> Cut {
    if frame.len() > usize::from(mtu) {
        Cut::Tunnel { mtu }
    } else {
        Cut::Whole
    }
}

/// What the IPv4 packet at `at` carries; its fields are `inner`.
fn message<'a>(packet: &'a [u8], at: usize, inner: &Inner) -> &'a [u8] {
    let (start, end) = (usize::from(inner.header_len), usize::from(inner.total_len));
    packet.get(at + start..at + end).unwrap_or_default()
}

/// The identifier of `message`, where that is a whole echo request.
fn echo_ident(inner: &Inner, message: &[u8]) -> Option<u16> {
    if inner.protocol != IpProtocol::ICMP || inner.is_fragment() {
        return None;
    }
    let (header, _) = Icmpv4Header::split(message).ok()?;
    match header.class() {
        Icmpv4Class::Query {
            ident,
            kind: Icmpv4Query::EchoRequest,
        } => Some(ident),
        Icmpv4Class::Query { .. }
        | Icmpv4Class::Error
        | Icmpv4Class::Deprecated
        | Icmpv4Class::Unknown => None,
    }
}
