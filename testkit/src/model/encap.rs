//! The last steps: TTL, size, encapsulation.

use core::net::Ipv6Addr;

use super::config::ModelClamp;
use super::errors::Tunnel;
use super::packet::{V4, be16, build_v6, fix_v4, put16, split_v4, split_v6};
use super::{Action, Model, ModelSide, Step};

impl Model {
    fn overhead(&self) -> usize {
        if self.config.encap_limit.is_some() {
            48
        } else {
            40
        }
    }

    /// MTU of the path to this B4.
    fn path_mtu(&self, b4: Ipv6Addr) -> usize {
        let mut mtu = self.config.ipv6_mtu;
        if let Some(&(learned, at)) = self.pmtu.get(&b4)
            && self.config.pmtud
            && self.now < at + 600_000_000
        {
            mtu = mtu.min(learned);
        }
        mtu
    }

    /// A validated Packet Too Big: lowers, never raises.
    pub(super) fn learn_pmtu(&mut self, b4: Ipv6Addr, mtu: usize) {
        if self.config.pmtud && mtu < self.path_mtu(b4) {
            self.pmtu.insert(b4, (mtu, self.now));
        }
    }

    /// Puts an IPv4 packet into the tunnel.
    pub(super) fn encapsulate(&self, tunnel: Tunnel, packet: &[u8]) -> Vec<Vec<u8>> {
        let tos = packet[1];
        let dscp = self
            .config
            .dscp_encap_fixed
            .map_or(tos & 0xfc, |fixed| fixed << 2);
        let ecn = if self.config.ecn_compatibility {
            0
        } else {
            tos & 3
        };
        let label = self.config.flow_label.unwrap_or(0);
        let (mut next, mut payload) = (4, Vec::new());
        if let Some(limit) = self.config.encap_limit {
            payload.extend([4, 0, 4, 1, limit, 1, 1, 0]);
            next = 60;
        }
        payload.extend(packet);
        let addresses = (tunnel.aftr, tunnel.b4);
        let whole = build_v6(
            dscp | ecn,
            label,
            next,
            self.config.hop_limit,
            addresses,
            &payload,
        );
        split_v6(whole, self.path_mtu(tunnel.b4))
    }

    /// Sends a packet on into a tunnel. `packet` is `original` with its new TOS.
    pub(super) fn enter_tunnel(
        &mut self,
        to: Tunnel,
        original: &V4,
        packet: Vec<u8>,
        back: Option<Tunnel>,
    ) -> Step {
        if original.ttl <= 1 {
            return Err(self.refuse_v4("ttl-expired", (11, 0, 0), original, back));
        }
        let packet = self.step_on(packet);
        let room = self.path_mtu(to.b4) - self.overhead();
        if packet.len() <= room {
            return Ok(Action::Forward(
                ModelSide::Softwire,
                self.encapsulate(to, &packet),
            ));
        }
        if original.df && !self.config.df_outer_fragment {
            return Err(self.refuse_v4("too-big", (3, 4, room), original, back));
        }
        let parts = if self.config.inner_fragmentation && !original.df {
            check_end(original)?;
            split_v4(packet, room)
        } else {
            vec![packet]
        };
        let frames = parts
            .iter()
            .flat_map(|part| self.encapsulate(to, part))
            .collect();
        Ok(Action::Forward(ModelSide::Softwire, frames))
    }

    /// Sends a decapsulated packet on into the Internet.
    pub(super) fn leave_tunnel(&mut self, original: &V4, packet: Vec<u8>, back: Tunnel) -> Step {
        if original.ttl <= 1 {
            return Err(self.refuse_v4("ttl-expired", (11, 0, 0), original, Some(back)));
        }
        let packet = self.step_on(packet);
        let mtu = self.config.ipv4_mtu;
        if packet.len() > mtu && original.df {
            return Err(self.refuse_v4("too-big", (3, 4, mtu), original, Some(back)));
        }
        if packet.len() > mtu {
            check_end(original)?;
        }
        Ok(Action::Forward(ModelSide::Internet, split_v4(packet, mtu)))
    }

    /// TTL less one, MSS clamped.
    fn step_on(&self, mut packet: Vec<u8>) -> Vec<u8> {
        packet[8] -= 1;
        let max = match self.config.mss_clamp {
            ModelClamp::Off => None,
            ModelClamp::ToTunnel => Some(self.config.ipv6_mtu - self.overhead() - 40),
            ModelClamp::To(max) => Some(usize::from(max)),
        };
        if let Some(max) = max {
            clamp(&mut packet, max);
        }
        fix_v4(&mut packet);
        packet
    }
}

/// A fragment that ends behind the longest datagram cannot be cut.
fn check_end(packet: &V4) -> Result<(), &'static str> {
    if packet.offset + packet.bytes.len() > 65_535 {
        return Err("ipv4-fragment-malformed");
    }
    Ok(())
}

/// Lowers every MSS option of a SYN, unless its options are malformed somewhere.
fn clamp(packet: &mut [u8], max: usize) {
    let tcp = usize::from(packet[0] & 15) * 4;
    let first = be16(packet, 6) & 0x1fff == 0;
    if packet[9] != 6 || !first || packet.len() < tcp + 20 || packet[tcp + 13] & 2 == 0 {
        return;
    }
    let end = tcp + usize::from(packet[tcp + 12] >> 4) * 4;
    if end > packet.len() || end < tcp + 20 {
        return;
    }
    let Some(places) = mss_options(packet, tcp + 20, end) else {
        return;
    };
    let before = sum_at(packet, tcp);
    for at in places {
        let lower = usize::from(be16(packet, at)).min(max);
        put16(packet, at, lower);
    }
    let after = sum_at(packet, tcp);
    if before == after {
        return;
    }
    // The stored sum changes by what the data's sum changed.
    let mut sum = u32::from(!be16(packet, tcp + 16)) + u32::from(after) + u32::from(!before);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    put16(packet, tcp + 16, usize::from(!(sum as u16)));
}

/// Where the values of the MSS options stand; `None` for a malformed list.
fn mss_options(packet: &[u8], mut at: usize, end: usize) -> Option<Vec<usize>> {
    let mut places = Vec::new();
    while at < end && packet[at] != 0 {
        if packet[at] == 1 {
            at += 1;
            continue;
        }
        let len = if at + 1 < end {
            usize::from(packet[at + 1])
        } else {
            0
        };
        if len < 2 || at + len > end || (packet[at] == 2 && len != 4) {
            return None;
        }
        if packet[at] == 2 {
            places.push(at + 2);
        }
        at += len;
    }
    Some(places)
}

/// One's complement sum of the segment without its checksum field.
fn sum_at(packet: &[u8], tcp: usize) -> u16 {
    let mut segment = packet[tcp..].to_vec();
    put16(&mut segment, 16, 0);
    !super::packet::internet_checksum(&segment)
}
