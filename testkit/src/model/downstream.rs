//! Packets from the Internet (spec sections 1 and 8).

use super::config::ModelFragments;
use super::errors::{Tunnel, martian_source};
use super::fragments::{Followed, FragmentKey};
use super::keys::{Direction, Keys};
use super::packet::{V4, build_v4, internet_checksum, put16};
use super::table::Use;
use super::upstream::{echo_request, loops};
use super::{Action, Model, ModelKind, ModelSide, Refusal, Step};

impl Model {
    pub(super) fn downstream(&mut self, received: &[u8]) -> Step {
        let Some(packet) = V4::parse(received) else {
            return Err("ipv4-malformed".into());
        };
        let usage = self.table.usage(&self.config.pools, packet.dst);
        if self.config.own_ipv4.contains(&packet.dst) {
            return self.own(&packet);
        }
        if usage == Use::Foreign && !self.config.foreign_unbound {
            return Ok(Action::Local(ModelKind::Foreign));
        }
        if !packet.checksum_ok() {
            return Err("ipv4-checksum".into());
        }
        if martian_source(packet.src) {
            return Err("ipv4-source-martian".into());
        }
        if super::errors::martian_destination(packet.dst) {
            return Err("ipv4-destination-martian".into());
        }
        if super::errors::in_tunnel(packet.src) {
            return Err("service-address".into());
        }
        let spoofed = self.table.usage(&self.config.pools, packet.src) != Use::Foreign;
        if spoofed && !self.config.forward_pool_source {
            return Err("pool-source-spoofed".into());
        }
        if packet.is_fragment()
            && usage == Use::Shared
            && self.config.fragment_handling == ModelFragments::Reassemble
        {
            return self.reassemble_v4(&packet);
        }
        self.admit_icmp(&packet)?;
        let (keys, waiting) = if packet.is_fragment() && usage == Use::Shared {
            let key = FragmentKey {
                b4: None,
                src: packet.src,
                dst: packet.dst,
                proto: packet.proto,
                id: packet.id,
            };
            match self.follow(ModelSide::Internet, key, &packet)? {
                Followed::Held => return Ok(Action::Held),
                Followed::First(keys) => (Some(keys), Some(key)),
                Followed::Later(keys) => (Some(keys), None),
            }
        } else {
            (None, None)
        };
        let done = self.inward(&packet, usage, keys);
        self.settle(waiting, done)
    }

    fn inward(&mut self, packet: &V4, usage: Use, keys: Option<Keys>) -> Step {
        let to = self.destination(packet, usage, keys, None)?;
        if loops(packet, to) {
            return Err("tunnel-loop".into());
        }
        self.enter_tunnel(to, packet, packet.bytes.clone(), None)
    }

    /// The softwire a packet goes to, by its destination.
    pub(super) fn destination(
        &mut self,
        packet: &V4,
        usage: Use,
        keys: Option<Keys>,
        back: Option<Tunnel>,
    ) -> Result<Tunnel, Refusal> {
        let key = match keys {
            Some(keys) => keys.down?,
            None if packet.is_fragment() => self.unfollowed(packet).down?,
            None => match self.key(Direction::Down, packet, usage == Use::Shared) {
                Ok(key) => key,
                Err("no-l4-port") if self.config.protocol_unreachable => {
                    return Err(self.refuse_v4("no-l4-port", (3, 2, 0), packet, back)); // D-10
                }
                Err(reason) => return Err(reason.into()),
            },
        };
        let port = if usage == Use::Full { None } else { key };
        match self.table.find(packet.dst, port) {
            Some(found) => Ok(Tunnel {
                b4: found.b4,
                aftr: found.aftr,
            }),
            None => Err(self.unbound(packet, back)),
        }
    }

    fn unbound(&mut self, packet: &V4, back: Option<Tunnel>) -> Refusal {
        if packet.proto == 1 {
            return "icmpv4-no-binding".into();
        }
        if !self.config.answer_unbound_destination {
            return "no-binding".into();
        }
        self.refuse_v4("no-binding", (3, 1, 0), packet, back)
    }

    /// A packet to an address of the box.
    fn own(&mut self, packet: &V4) -> Step {
        if !packet.checksum_ok() {
            return Err("ipv4-checksum".into());
        }
        if super::errors::in_tunnel(packet.src) {
            return Err("service-address".into());
        }
        let usage = self.table.usage(&self.config.pools, packet.src);
        if usage != Use::Foreign && !self.config.forward_pool_source {
            return Err("pool-source-spoofed".into());
        }
        let nobody = martian_source(packet.src) || self.config.own_ipv4.contains(&packet.src);
        let Some(ident) = echo_to_answer(packet).filter(|_| !nobody) else {
            return Ok(Action::Local(ModelKind::Own));
        };
        if usage == Use::Foreign {
            return self.echo(packet, packet.tos, None);
        }
        //
        let port = (usage == Use::Shared).then_some(ident);
        let Some(found) = self.table.find(packet.src, port) else {
            return Err("icmpv4-no-binding".into());
        };
        let (b4, aftr) = (found.b4, found.aftr);
        self.echo(packet, packet.tos, Some(Tunnel { b4, aftr }))
    }

    /// A packet from a softwire to the box.
    pub(super) fn own_in_tunnel(&mut self, packet: &V4, tos: u8, tunnel: Tunnel) -> Step {
        if echo_to_answer(packet).is_none() {
            let Tunnel { b4, aftr } = tunnel;
            return Ok(Action::Local(ModelKind::Tunnelled { b4, aftr }));
        }
        self.echo(packet, tos, Some(tunnel))
    }

    fn echo(&mut self, packet: &V4, tos: u8, tunnel: Option<Tunnel>) -> Step {
        let mut answer = packet.payload().to_vec();
        let extra = if self.config.encap_limit.is_some() {
            8
        } else {
            0
        };
        if tunnel.is_some() && 20 + answer.len() + extra > 65_535 {
            return Err("too-big".into());
        }
        if !self.charge_echo() {
            return Err("echo-rate".into());
        }
        answer[0] = 0;
        put16(&mut answer, 2, 0);
        let sum = internet_checksum(&answer);
        put16(&mut answer, 2, sum.into());
        let ttl = 64; // echo answers have the TTL of a host, whatever errors have
        let reply = build_v4(tos, ttl, 1, packet.dst, packet.src, &answer);
        Ok(match tunnel {
            None => Action::Echo(ModelSide::Internet, vec![reply]),
            Some(tunnel) => Action::Echo(ModelSide::Softwire, self.encapsulate(tunnel, &reply)),
        })
    }
}

/// The identifier of a whole echo request with a right checksum.
fn echo_to_answer(packet: &V4) -> Option<u16> {
    let message = packet.payload();
    let whole = packet.proto == 1 && !packet.is_fragment() && internet_checksum(message) == 0;
    echo_request(message).filter(|_| whole)
}
