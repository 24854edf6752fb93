//! Errors of the box's own, and when none may be sent.

use core::net::{Ipv4Addr, Ipv6Addr};

use super::chain::carries_icmpv6_error;
use super::keys::Direction;
use super::packet::{
    V4, addr6, be16, build_v4, build_v6, icmpv6_checksum, internet_checksum, put16,
};
use super::table::Use;
use super::{Model, ModelSide, Refusal};

/// 192.0.0.1, the AFTR inside the tunnel (RFC 6333 §5.7).
pub(super) const SERVICE: Ipv4Addr = Ipv4Addr::new(192, 0, 0, 1);

/// A pair of tunnel addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tunnel {
    pub(super) b4: Ipv6Addr,
    pub(super) aftr: Ipv6Addr,
}

/// never a source.
pub(super) fn martian_source(address: Ipv4Addr) -> bool {
    let [a, b, ..] = address.octets();
    a == 0 || a == 127 || a >= 224 || (a, b) == (169, 254)
}

/// never a destination.
pub(super) fn martian_destination(address: Ipv4Addr) -> bool {
    martian_source(address)
}

impl Model {
    /// An `ICMPv6` error about `invoking`, from the address that was hit.
    pub(super) fn icmpv6_error(&mut self, what: (u8, u8, u32), invoking: &[u8]) -> Option<Vec<u8>> {
        let (kind, code, word) = what;
        let (to, from) = (addr6(invoking, 8), addr6(invoking, 24));
        //
        let grace = self.started.unwrap_or(self.now) + self.config.boot_grace;
        if (kind, code) == (1, 5) && self.now < grace {
            return None;
        }
        //
        if !self.config.generate_v6 || carries_icmpv6_error(invoking) || from.is_multicast() {
            return None;
        }
        if to.is_unspecified() || to.is_multicast() || !self.charge(1, to.octets().to_vec()) {
            return None;
        }
        let mut message = vec![kind, code, 0, 0];
        message.extend(word.to_be_bytes());
        message.extend(&invoking[..invoking.len().min(1232)]);
        let sum = icmpv6_checksum(from, to, &message);
        put16(&mut message, 2, sum.into());
        Some(build_v6(
            0,
            0,
            58,
            self.config.own_ttl,
            (from, to),
            &message,
        ))
    }

    /// A refusal with an `ICMPv6` error, where one may be sent.
    pub(super) fn refuse_v6(
        &mut self,
        reason: &'static str,
        what: (u8, u8, usize),
        invoking: &[u8],
    ) -> Refusal {
        let error = self.icmpv6_error((what.0, what.1, what.2 as u32), invoking);
        Refusal {
            reason,
            answer: error.map(|e| (ModelSide::Softwire, vec![e])),
        }
    }

    /// A refusal with an `ICMPv4` error to the source of `offending`, through `back` where it came
    /// out of a tunnel.
    pub(super) fn refuse_v4(
        &mut self,
        reason: &'static str,
        what: (u8, u8, usize),
        offending: &V4,
        back: Option<Tunnel>,
    ) -> Refusal {
        let answer = self.icmpv4_error(what, offending, back);
        Refusal { reason, answer }
    }

    fn icmpv4_error(
        &mut self,
        what: (u8, u8, usize),
        offending: &V4,
        back: Option<Tunnel>,
    ) -> Option<(ModelSide, Vec<Vec<u8>>)> {
        //
        if !self.config.generate_v4 || !answerable(offending) {
            return None;
        }
        let tunnel = match back {
            Some(tunnel) => Some(tunnel),
            None => self.tunnel_of_sender(offending)?,
        };
        let source = match tunnel {
            Some(tunnel) => tunnel.b4.octets().to_vec(),
            None => offending.src.octets().to_vec(),
        };
        self.icmpv4_source(tunnel)?;
        if !self.charge(0, source) {
            return None;
        }
        self.icmpv4_message(what, offending, &offending.bytes, tunnel)
    }

    /// The softwire that the sender of a packet sits behind: `Some(None)` if it is in the Internet,
    /// `None` if it is ours but unbound.
    pub(super) fn tunnel_of_sender(&self, packet: &V4) -> Option<Option<Tunnel>> {
        let usage = self.table.usage(&self.config.pools, packet.src);
        if usage == Use::Foreign {
            return Some(None);
        }
        let l4 = packet.payload();
        let key = if usage == Use::Full {
            None
        } else if packet.proto == 1 && l4.len() >= 6 && matches!(l4[0], 0 | 8 | 13 | 14) {
            self.query_keys(l4[0], be16(l4, 4)).up.ok()?
        } else if super::keys::has_ports(packet.proto) && l4.len() >= 4 {
            Some(be16(l4, 0))
        } else {
            self.key(Direction::Up, packet, true).ok()?
        };
        let found = self.table.find(packet.src, key)?;
        Some(Some(Tunnel {
            b4: found.b4,
            aftr: found.aftr,
        }))
    }

    fn icmpv4_source(&self, tunnel: Option<Tunnel>) -> Option<Ipv4Addr> {
        let public = self.config.own_ipv4.first().copied();
        match tunnel {
            None => public,
            Some(_) if self.config.b4_icmp_public => public.or(Some(SERVICE)),
            Some(_) => Some(SERVICE),
        }
    }

    /// Builds the error itself, encapsulated where that is its way.
    pub(super) fn icmpv4_message(
        &mut self,
        what: (u8, u8, usize),
        about: &V4,
        quote: &[u8],
        tunnel: Option<Tunnel>,
    ) -> Option<(ModelSide, Vec<Vec<u8>>)> {
        let (kind, code, mtu) = what;
        let from = self.icmpv4_source(tunnel)?;
        let mut message = vec![kind, code, 0, 0, 0, 0, 0, 0];
        put16(&mut message, 6, mtu);
        message.extend(&quote[..quote.len().min(548)]);
        let sum = internet_checksum(&message);
        put16(&mut message, 2, sum.into());
        let tos = self.config.icmpv4_tos & 0xfc;
        let packet = build_v4(tos, self.config.own_ttl, 1, from, about.src, &message);
        Some(match tunnel {
            None => (ModelSide::Internet, vec![packet]),
            Some(tunnel) => (ModelSide::Softwire, self.encapsulate(tunnel, &packet)),
        })
    }

    /// Takes a token from the bucket of the instance and from that of the source, or from neither.
    pub(super) fn charge(&mut self, family: usize, source: Vec<u8>) -> bool {
        let c = &self.config;
        let rate = c.instance_rates[family];
        let mut key = vec![family as u8];
        key.extend(source);
        let bucket = self.sources.entry(key).or_default();
        let instance = &mut self.instance[family];
        if !instance.has(self.now, rate, c.instance_burst)
            || !bucket.has(self.now, c.source_rate, c.source_burst)
        {
            return false;
        }
        instance.take(self.now, rate);
        bucket.take(self.now, c.source_rate);
        true
    }

    /// Whether an `ICMPv4` message is looked at. Later fragments belong to one that was.
    pub(super) fn admit_icmp(&mut self, packet: &V4) -> Result<(), &'static str> {
        if packet.proto != 1 {
            return Ok(());
        }
        if !self.config.incoming_icmpv4 {
            return Err("icmpv4-policy");
        }
        let Some(rate) = self
            .config
            .incoming_icmpv4_rate
            .filter(|_| packet.offset == 0)
        else {
            return Ok(());
        };
        if !self.incoming.has(self.now, rate, rate) {
            return Err("icmpv4-rate");
        }
        self.incoming.take(self.now, rate);
        Ok(())
    }

    /// Takes a token for an echo answer.
    pub(super) fn charge_echo(&mut self) -> bool {
        let rate = self.config.echo_rate;
        let ok = self.echo.has(self.now, rate, rate);
        if ok {
            self.echo.take(self.now, rate);
        }
        ok
    }
}

/// Whether an `ICMPv4` error about this packet is allowed (RFC 1812 §4.3.2.7).
pub(super) fn answerable(offending: &V4) -> bool {
    let kind = offending.payload().first();
    !offending.is_icmp_error()
        && (offending.proto != 1 || kind.is_some())
        && offending.offset == 0
        && !martian_source(offending.src)
        && !in_tunnel(offending.src)
        && !martian_destination(offending.dst)
}

/// 192.0.0.0/29, addresses that exist in tunnels only (RFC 7335).
pub(super) fn in_tunnel(address: Ipv4Addr) -> bool {
    address.to_bits() >> 3 == SERVICE.to_bits() >> 3
}
