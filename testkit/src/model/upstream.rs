//! Packets from the B4s (spec sections 1 and 7).

use core::net::{Ipv4Addr, Ipv6Addr};

use super::chain::Chain;
use super::config::ModelHairpin;
use super::errors::{SERVICE, Tunnel, in_tunnel, martian_destination, martian_source};
use super::fragments::{Followed, FragmentKey};
use super::keys::{Direction, Keys};
use super::packet::{V4, V6, be16, build_v6, fix_v4, icmpv6_checksum, put16, split_v6};
use super::table::Use;
use super::{Action, Model, ModelKind, ModelSide, Refusal, Step};

/// What the fragment rules make of an inner packet.
enum Tracked {
    /// No fragment rules apply.
    No,
    /// Its keys; `Some` if it is a first fragment whose datagram waits for the decision.
    Yes(Keys, Option<FragmentKey>),
    Held,
}

impl Model {
    pub(super) fn upstream(&mut self, received: &[u8]) -> Step {
        let Some(outer) = V6::parse(received) else {
            return Err("ipv6-malformed".into());
        };
        let tunnel =
            self.config.aftr_addresses.contains(&outer.dst) || self.table.names_aftr(outer.dst);
        if outer.dst.is_multicast() {
            let local = outer.dst.octets()[1] == 2 && outer.bytes[6] == 58;
            return Ok(Action::Local(if local {
                ModelKind::Own
            } else {
                ModelKind::Foreign
            }));
        }
        if !tunnel && !self.config.own_ipv6.contains(&outer.dst) {
            return Ok(Action::Local(ModelKind::Foreign));
        }
        // Whoever speaks neighbor discovery judges it.
        let discovery = outer.bytes.get(40).is_some_and(|t| (133..=137).contains(t));
        if outer.bytes[6] == 58 && discovery {
            return Ok(Action::Local(ModelKind::Own));
        }
        if bad_source(outer.src, tunnel) || outer.src == outer.dst {
            return Err("ipv6-source-invalid".into());
        }
        let mut chain = match Chain::start(&outer.bytes).walk(&outer.bytes) {
            Ok(chain) => chain,
            Err(problem) => return Err(self.header_problem(problem, &outer)),
        };
        if chain.next == 44 {
            let Some(fragment) = chain.fragment(&outer.bytes) else {
                return Err("ext-header-malformed".into());
            };
            if fragment.offset != 0 || fragment.more {
                if self.whole {
                    return Err("ext-header-malformed".into()); // a fragment in fragments
                }
                return self.reassemble(&outer, chain, fragment);
            }
            //
            let behind = chain.over_fragment(fragment).walk(&outer.bytes);
            chain = match behind {
                Ok(chain) => chain,
                Err(problem) => return Err(self.header_problem(problem, &outer)),
            };
        }
        self.dispatch(&outer, chain, tunnel)
    }

    fn header_problem(&mut self, problem: super::chain::Problem, outer: &V6) -> Refusal {
        match problem.answer {
            None => problem.reason.into(),
            Some((code, pointer)) => {
                self.refuse_v6(problem.reason, (4, code, pointer), &outer.bytes)
            }
        }
    }

    fn dispatch(&mut self, outer: &V6, chain: Chain, tunnel: bool) -> Step {
        match chain.next {
            58 => self.icmpv6(outer, chain, tunnel),
            6 | 17 => Ok(Action::Local(ModelKind::Own)),
            4 if tunnel => self.decapsulate(outer, chain.at),
            _ if !tunnel && chain.next != 4 => Ok(Action::Local(ModelKind::Own)),
            _ => {
                //
                let what = (4, 1, chain.named_at);
                Err(self.refuse_v6("next-header-unknown", what, &outer.bytes))
            }
        }
    }

    fn icmpv6(&mut self, outer: &V6, chain: Chain, tunnel: bool) -> Step {
        let message = &outer.bytes[chain.at..];
        if message.len() < 8 {
            return Err("icmpv6-malformed".into());
        }
        if icmpv6_checksum(outer.src, outer.dst, message) != 0 {
            return Err("icmpv6-checksum".into());
        }
        match message[0] {
            1..=4 if tunnel => self.tunnel_error(outer, message),
            0..=127 | 129 | 133..=137 => Ok(Action::Local(ModelKind::Own)),
            128 => {
                //
                if !self.charge_echo() {
                    return Err("echo-rate".into());
                }
                let mut answer = message.to_vec();
                answer[0] = 129;
                put16(&mut answer, 2, 0);
                let sum = icmpv6_checksum(outer.dst, outer.src, &answer);
                put16(&mut answer, 2, sum.into());
                let ends = (outer.dst, outer.src);
                let packet = build_v6(outer.tc, 0, 58, 64, ends, &answer);
                Ok(Action::Echo(
                    ModelSide::Softwire,
                    split_v6(packet, self.config.ipv6_mtu),
                ))
            }
            _ => Err("icmpv6-type".into()),
        }
    }

    fn decapsulate(&mut self, outer: &V6, at: usize) -> Step {
        let allowed = &self.config.subscriber_prefixes;
        if !allowed.is_empty() && !allowed.iter().any(|&p| inside(p, outer.src)) {
            return Err("ipv6-source-not-allowed".into());
        }
        let inner = self.inner_header(&outer.bytes[at..])?;
        let tunnel = Tunnel {
            b4: outer.src,
            aftr: outer.dst,
        };
        if in_tunnel(inner.src) || in_tunnel(inner.dst) {
            //
            let pair = inner.src == Ipv4Addr::new(192, 0, 0, 2) && inner.dst == SERVICE;
            if pair && self.config.tunnel_service {
                let Tunnel { b4, aftr } = tunnel;
                return Ok(Action::Local(ModelKind::Tunnelled { b4, aftr }));
            }
            return Err("service-address".into());
        }
        let usage = self.table.usage(&self.config.pools, inner.src);
        let (keys, waiting) = match self.track_inner(outer, &inner, usage)? {
            Tracked::Held => return Ok(Action::Held),
            Tracked::Yes(keys, waiting) => (Some(keys), waiting),
            Tracked::No => (None, None),
        };
        let done = self.inner(outer, tunnel, &inner, usage, keys);
        self.settle(waiting, done)
    }

    /// A first fragment has been judged: so have those that waited for it.
    pub(super) fn settle(&mut self, waiting: Option<FragmentKey>, done: Step) -> Step {
        let Some(key) = waiting else { return done };
        let refused = matches!(&done, Err(refusal) if decides(refusal.reason));
        if refused {
            self.fragments.refuse(key, self.now);
        } else {
            let freed = self.fragments.release(key);
            self.released.extend(freed);
        }
        done
    }

    fn inner_header(&self, bytes: &[u8]) -> Result<V4, Refusal> {
        let Some(inner) = V4::parse(bytes) else {
            return Err("ipv4-malformed".into());
        };
        if !inner.checksum_ok() {
            return Err("ipv4-checksum".into());
        }
        if martian_source(inner.src) {
            return Err("ipv4-source-martian".into());
        }
        let own = self.config.own_ipv4.contains(&inner.dst);
        let withheld = private(inner.dst) && !own && !self.config.forward_private;
        if martian_destination(inner.dst) || withheld {
            return Err("ipv4-destination-martian".into());
        }
        Ok(inner)
    }

    fn track_inner(&mut self, outer: &V6, inner: &V4, usage: Use) -> Result<Tracked, Refusal> {
        let hairpin = self.config.hairpin == ModelHairpin::Local
            && self.table.usage(&self.config.pools, inner.dst) == Use::Shared;
        let known = usage == Use::Shared || (usage == Use::Full && hairpin);
        if !inner.is_fragment() || !known {
            return Ok(Tracked::No);
        }
        let key = FragmentKey {
            b4: Some(outer.src),
            src: inner.src,
            dst: inner.dst,
            proto: inner.proto,
            id: inner.id,
        };
        Ok(match self.follow(ModelSide::Softwire, key, inner)? {
            Followed::First(keys) => Tracked::Yes(keys, Some(key)),
            Followed::Later(keys) => Tracked::Yes(keys, None),
            Followed::Held => Tracked::Held,
        })
    }

    /// An inner packet from the binding check on.
    fn inner(
        &mut self,
        outer: &V6,
        tunnel: Tunnel,
        inner: &V4,
        usage: Use,
        keys: Option<Keys>,
    ) -> Step {
        let up = match keys {
            Some(keys) => keys.up?,
            None if inner.is_fragment() => self.unfollowed(inner).up?,
            None => self.key(Direction::Up, inner, usage == Use::Shared)?,
        };
        let port = if usage == Use::Full { None } else { up };
        if let Err(reason) = self.check(tunnel, inner.src, port) {
            //
            if inner.is_icmp_error() || !self.config.answer_unbound_source {
                return Err(reason.into());
            }
            return Err(self.refuse_v6(reason, (1, 5, 0), &outer.bytes));
        }
        if loops(inner, tunnel) {
            return Err("tunnel-loop".into());
        }
        //
        let Some(ecn) = merge_ecn(inner.tos & 3, outer.tc & 3) else {
            return Err("ecn-congestion".into());
        };
        let dscp = if self.config.dscp_decap_pipe {
            inner.tos
        } else {
            outer.tc
        } & 0xfc;
        let mut packet = inner.bytes.clone();
        packet[1] = dscp | ecn;
        fix_v4(&mut packet);
        if self.config.own_ipv4.contains(&inner.dst) {
            return self.own_in_tunnel(inner, packet[1], tunnel);
        }
        let down = self.table.usage(&self.config.pools, inner.dst);
        match self.config.hairpin {
            _ if down == Use::Foreign => self.leave_tunnel(inner, packet, tunnel),
            ModelHairpin::ToIpv4Side => self.leave_tunnel(inner, packet, tunnel),
            ModelHairpin::Drop => Err("hairpin-off".into()),
            ModelHairpin::Local => {
                self.admit_icmp(inner)?;
                let to = self.destination(inner, down, keys, Some(tunnel))?;
                self.enter_tunnel(to, inner, packet, Some(tunnel))
            }
        }
    }

    /// The binding check.
    fn check(&self, tunnel: Tunnel, src: Ipv4Addr, port: Option<u16>) -> Result<(), &'static str> {
        let entry = self.table.find(src, port);
        if let Some(entry) = entry.filter(|e| e.b4 == tunnel.b4) {
            return if entry.aftr == tunnel.aftr {
                Ok(())
            } else {
                Err("wrong-aftr")
            };
        }
        if !self.table.knows_b4(tunnel.b4) {
            return Err("no-b4");
        }
        // An address of more than 1,024 sets is not searched for those of one B4.
        let sharing = self.table.sharing(&self.config.pools, src);
        if sharing.is_some_and(|(_, len)| len > 10) || self.table.b4_has(tunnel.b4, src) {
            return Err("port-out-of-set");
        }
        Err("wrong-ipv4")
    }
}

/// Whether the refusal of a first fragment for this reason decides about the later ones.
fn decides(reason: &str) -> bool {
    !matches!(
        reason,
        "ttl-expired" | "too-big" | "ecn-congestion" | "hairpin-off"
    ) && !reason.starts_with("ipv4-fragment")
}

fn bad_source(src: Ipv6Addr, tunnel: bool) -> bool {
    let link_local = src.segments()[0] & 0xffc0 == 0xfe80;
    src.is_unspecified() || src.is_loopback() || src.is_multicast() || (tunnel && link_local)
}

fn inside(prefix: (Ipv6Addr, u8), address: Ipv6Addr) -> bool {
    let shift = 128 - u32::from(prefix.1);
    let cut = |a: Ipv6Addr| a.to_bits().checked_shr(shift).unwrap_or(0);
    cut(prefix.0) == cut(address)
}

fn private(address: Ipv4Addr) -> bool {
    let [a, b, ..] = address.octets();
    address.is_private() || (a == 100 && (64..128).contains(&b))
}

/// A tunnel packet inside the tunnel, between the same ends.
pub(super) fn loops(inner: &V4, tunnel: Tunnel) -> bool {
    let Some(v6) =
        Some(inner.payload()).filter(|p| inner.proto == 41 && p.len() >= 40 && p[0] >> 4 == 6)
    else {
        return false;
    };
    let ends = (super::packet::addr6(v6, 8), super::packet::addr6(v6, 24));
    inner.offset == 0 && (ends == (tunnel.b4, tunnel.aftr) || ends == (tunnel.aftr, tunnel.b4))
}

/// RFC 6040 §4.2, row by row.
fn merge_ecn(inner: u8, outer: u8) -> Option<u8> {
    const NONE: u8 = 9;
    // Columns: Not-ECT, ECT(1), ECT(0), CE, in the order of their bits.
    let row = match inner {
        0 => [0, 0, 0, NONE],
        1 => [1, 1, 1, 3],
        2 => [2, 1, 2, 3],
        _ => [3, 3, 3, 3],
    };
    Some(row[usize::from(outer)]).filter(|&ecn| ecn != NONE)
}

/// Identifier of an echo request, for callers that only want that.
pub(super) fn echo_request(message: &[u8]) -> Option<u16> {
    (message.len() >= 8 && message[0] == 8).then(|| be16(message, 4))
}
