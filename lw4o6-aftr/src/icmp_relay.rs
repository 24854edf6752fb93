//! Errors from routers between us and a B4, told to the IPv4 source (RFC 2473 §8).
//!
//! | `ICMPv6` | becomes | where |
//! |---|---|---|
//! | 1/any | 3/1 | always |
//! | 2 | 3/4, MTU less the tunnel headers | the packet had DF, and DF packets are not fragmented outside |
//! | 3/0 | 3/1 | always |
//! | 3/1 | nothing | |
//! | 4/0 at an encapsulation limit of 0 | 3/1 | always |
//! | 4/other | nothing | the B4 cannot read our packets |
//!
//! Whoever can send us a packet can forge one of these, so nothing is relayed unless the quoted
//! packet is one that we could have sent: from the address that was hit, to the B4 that the table
//! has for its inner destination.

use core::net::Ipv6Addr;

use lw4o6_binding::table::Lookup;
use lw4o6_wire::icmpv4::{Icmpv4ErrorKind, Icmpv4Type};
use lw4o6_wire::icmpv6::{
    Icmpv6ErrorKind, Icmpv6Header, Icmpv6Type, ParameterProblemCode, TimeExceededCode,
    UnreachableCode,
};
use lw4o6_wire::quote::{QuotedKey, QuotedTunnel, tunnel_quote};
use lw4o6_wire::{
    ExtProblem, FrameBuf, Instant, IpProtocol, Ipv4Packet, Ipv6Header, ParseErrorKind, QuotedIpv4,
    ipv6_ext,
};

use crate::classify::Icmpv6;
use crate::config::{DfPolicy, InboundEcho, Pmtud, Switch};
use crate::counters::Counter;
use crate::emit::{Emitted, Ends};
use crate::icmp_generate::{Icmpv4Reply, Suppressed, Via, may_be_answered};
use crate::inner::Inner;
use crate::key::Key;
use crate::pmtu::{Learned, MIN_MTU, icmpv4_mtu};
use crate::refusal::Refusal;
use crate::worker::Worker;
use crate::{DropReason, Verdict};

/// A quoted tunnel packet that we could have sent.
struct Quoted {
    b4: Ipv6Addr,
    inner: Inner,
    /// Bytes in front of the inner packet.
    headers_len: usize,
    /// Bytes of the inner packet.
    len: usize,
    /// Place and value of the encapsulation limit.
    limit: Option<(usize, u8)>,
}

impl Worker {
    /// Turns the frame, a tunnel error whose checksum is right, into the `ICMPv4` error for the source
    /// of the quoted packet. R-182
    pub(crate) fn relay_tunnel_error(
        &self,
        now: Instant,
        frame: &mut FrameBuf<'_>,
        icmp: &Icmpv6,
    ) -> Result<Emitted, Refusal> {
        let config = &self.settings.config;
        if config.icmp.tunnel_errors == Switch::Off {
            return Err(DropReason::Icmpv6Policy.into());
        }
        let (outer, payload) =
            Ipv6Header::split(frame.packet()).map_err(|_| DropReason::Internal)?;
        let message = payload
            .get(icmp.at.saturating_sub(40)..)
            .unwrap_or_default();
        let aftr = outer.dst();
        let (header, _) = Icmpv6Header::split(message).map_err(|_| DropReason::Icmpv6Malformed)?;
        let kind = Icmpv6ErrorKind::from_header(&header).ok_or(DropReason::Internal)?;
        let quoted = self.read_tunnel_quote(message, aftr)?;
        let kind = self.translate(now, kind, &quoted)?;
        if config.icmp.generate_v4 == Switch::Off {
            return Err(DropReason::Icmpv6NotRelayed.into());
        }
        let at = icmp.at + 8 + quoted.headers_len;
        frame.truncate(at + quoted.len); // what lies behind is no part of the quoted packet
        let via = Via::Internet;
        let reply = Icmpv4Reply { kind, at, via };
        let side = self
            .send_v4(now, frame, &quoted.inner, reply)
            .map_err(|suppressed| match suppressed {
                Suppressed::Rate => DropReason::Icmpv6RelayRate,
                Suppressed::Policy => DropReason::Icmpv6NotRelayed,
                Suppressed::Unbound => DropReason::Icmpv6QuoteForeign,
            })?;
        self.counters.add(Counter::TunnelErrorsRelayed, 1);
        Ok(Verdict::Forward(side).into())
    }

    /// R-152 R-186 R-187
    fn read_tunnel_quote(&self, message: &[u8], aftr: Ipv6Addr) -> Result<Quoted, DropReason> {
        let tunnel = tunnel_quote(message).map_err(|error| match error.kind {
            ParseErrorKind::Version(_) => DropReason::Icmpv6QuoteForeign,
            ParseErrorKind::Truncated { .. }
            | ParseErrorKind::Length(_)
            | ParseErrorKind::Value(_)
            | ParseErrorKind::Checksum => DropReason::Icmpv6QuoteShort,
        })?;
        let b4 = tunnel.outer.dst();
        if tunnel.outer.src() != aftr || !self.reader.b4_known(&b4.octets()) {
            return Err(DropReason::Icmpv6QuoteForeign);
        }
        let quote = tunnel_quoted(message);
        let inner = tunnel.inner.ok_or_else(|| why_no_inner(quote))?;
        if inner.payload.len() < 8 {
            return Err(DropReason::Icmpv6QuoteShort);
        }
        let fields = Inner::read(&Ipv4Packet {
            header: inner.header,
            options: inner.options,
            payload: inner.payload,
        });
        if !may_be_answered(&fields, tunnel.inner_bytes) {
            return Err(DropReason::Icmpv6QuoteUnanswerable);
        }
        let ends = Ends { b4, aftr };
        if !self.is_sent_by_us(&inner, &fields, ends) {
            return Err(DropReason::Icmpv6QuoteForeign);
        }
        Ok(Quoted {
            b4,
            inner: fields,
            headers_len: tunnel.headers_len,
            len: tunnel.inner_bytes.len(),
            limit: limit_of(&tunnel, quote),
        })
    }

    /// Whether the table sends this packet into this tunnel.
    fn is_sent_by_us(&self, quoted: &QuotedIpv4<'_>, inner: &Inner, ends: Ends) -> bool {
        let key = match quoted.key() {
            QuotedKey::Ports(ports) => Key::Port(ports.dst),
            QuotedKey::Ident { ident, .. } => {
                // D-3 is about echo, not about timestamps.
                let echo = quoted.payload.first() == Some(&Icmpv4Type::ECHO_REQUEST.0);
                let port0 = self.settings.key_rules.inbound_echo == InboundEcho::Port0;
                Key::Port(if echo && port0 { 0 } else { ident })
            }
            QuotedKey::NoPort | QuotedKey::Truncated => Key::Address(DropReason::NoL4Port),
            QuotedKey::Error | QuotedKey::Fragment => return false,
        };
        let Lookup::Found(softwire) = self.lookup(inner.dst, key) else {
            return false;
        };
        self.ends(&softwire)
            .is_ok_and(|found| found.b4 == ends.b4 && found.aftr == ends.aftr)
    }

    /// The table at the top. R-181 R-183 R-184 R-185
    fn translate(
        &self,
        now: Instant,
        kind: Icmpv6ErrorKind,
        quoted: &Quoted,
    ) -> Result<Icmpv4ErrorKind, DropReason> {
        match kind {
            Icmpv6ErrorKind::Unreachable(UnreachableCode(_))
            | Icmpv6ErrorKind::TimeExceeded {
                code: TimeExceededCode::HOP_LIMIT,
            } => Ok(Icmpv4ErrorKind::HostUnreachable),
            Icmpv6ErrorKind::PacketTooBig { mtu } => self.translate_too_big(now, mtu, quoted),
            Icmpv6ErrorKind::ParameterProblem {
                code: ParameterProblemCode::HEADER_FIELD,
                pointer,
            } if quoted.limit == usize::try_from(pointer).ok().map(|at| (at, 0)) => {
                Ok(Icmpv4ErrorKind::HostUnreachable)
            }
            Icmpv6ErrorKind::TimeExceeded { .. } | Icmpv6ErrorKind::ParameterProblem { .. } => {
                Err(DropReason::Icmpv6NotRelayed)
            }
        }
    }

    /// R-150 R-151 R-153 R-154 R-184
    fn translate_too_big(
        &self,
        now: Instant,
        mtu: u32,
        quoted: &Quoted,
    ) -> Result<Icmpv4ErrorKind, DropReason> {
        if mtu < MIN_MTU {
            return Err(DropReason::Icmpv6TooBigInvalid);
        }
        let config = &self.settings.config;
        if config.pmtud == Pmtud::Dynamic && mtu < config.ipv6_mtu.into() {
            let learned = self.shared.path_mtus.learn(now, quoted.b4, mtu);
            if learned == Learned::Lowered {
                self.counters.add(Counter::PathMtuLowered, 1);
            }
        }
        if !quoted.inner.dont_fragment || config.df_policy == DfPolicy::OuterFragment {
            return Err(DropReason::Icmpv6TooBigDfClear);
        }
        let headers = u32::try_from(quoted.headers_len).unwrap_or(u32::MAX);
        let mtu = icmpv4_mtu(mtu, headers);
        Ok(Icmpv4ErrorKind::FragmentationNeeded { mtu })
    }
}

/// Place, from the start of the quoted packet, and value of its encapsulation limit.
fn limit_of(tunnel: &QuotedTunnel<'_>, quote: &[u8]) -> Option<(usize, u8)> {
    let payload = quote.get(40..)?;
    let walk = ipv6_ext::walk(tunnel.outer.next_header(), payload).ok()?;
    let limit = walk.past_fragment().ok()?.encap_limit?;
    Some((limit.at, limit.limit))
}

/// The quoted packet without the extension structure that RFC 4884 puts behind it.
fn tunnel_quoted(message: &[u8]) -> &[u8] {
    let body = message.get(8..).unwrap_or_default();
    let len = match Icmpv6Header::split(message) {
        Ok((header, _)) if is_extensible(header.type_()) => usize::from(header.quote_words()) * 8,
        Ok(_) | Err(_) => 0,
    };
    body.get(..len).filter(|_| len > 0).unwrap_or(body)
}

/// Whether an error of this type has a length field.
const fn is_extensible(type_: Icmpv6Type) -> bool {
    matches!(type_, Icmpv6Type::UNREACHABLE | Icmpv6Type::TIME_EXCEEDED)
}

/// What keeps the inner packet of a quote from being read.
fn why_no_inner(quote: &[u8]) -> DropReason {
    let Ok((outer, payload)) = Ipv6Header::split_quoted(quote) else {
        return DropReason::Icmpv6QuoteShort;
    };
    let walk = ipv6_ext::walk(outer.next_header(), payload);
    let later = walk.is_ok_and(|walk| walk.fragment.is_some_and(|fragment| fragment.offset != 0));
    if later {
        return DropReason::Icmpv6QuoteUnanswerable;
    }
    match walk.and_then(|walk| walk.past_fragment()) {
        Err(ExtProblem::Truncated) => DropReason::Icmpv6QuoteShort,
        Ok(walk) if walk.next == IpProtocol::IPV4 => DropReason::Icmpv6QuoteShort,
        Ok(_) | Err(_) => DropReason::Icmpv6QuoteForeign,
    }
}
