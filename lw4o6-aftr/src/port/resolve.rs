//! ARP and neighbor discovery (spec §15, RFC 826, RFC 4861).

use core::net::Ipv6Addr;

use lw4o6_wire::arp::{ARP_LEN, ArpFields, ArpOp, ArpPacket};
use lw4o6_wire::ethernet::{self, EthernetFields, EthernetFrame, MacAddr, VlanTag};
use lw4o6_wire::icmpv6::Icmpv6Type;
use lw4o6_wire::ipv6::{IPV6_HEADER_LEN, Ipv6Fields, Ipv6Header};
use lw4o6_wire::ndp::{self, Answers, NeighborAdvert, NeighborSolicit};
use lw4o6_wire::{EtherType, FrameBuf, IpProtocol, NoHeadroom};

use super::config::{Link, NextHop, Nic, ProxyArp};
use super::counters::OfPort;
use super::neighbor::Solicit;
use super::{EthernetPort, PortVerdict};
use crate::{DropReason, Kind, Side, Worker};

/// IPv6 header and the longest neighbor message of ours.
const NDP_PACKET: usize = IPV6_HEADER_LEN + ndp::NDP_LEN_WITH_ADDRESS;

impl Worker {
    /// Takes up the newest table and configuration before a question that no packet came with.
    fn look_up_to_date(&mut self) {
        let newest = self.newest;
        self.begin(newest);
    }

    /// Whether tunnels end at `address`.
    fn is_aftr_address(&self, address: Ipv6Addr) -> bool {
        self.reader.aftr_index(&address.octets()).is_some()
            || self.settings.config.aftr_addresses.contains(&address)
    }
}

impl EthernetPort {
    /// Handles a frame that carries no IP packet for the worker.
    pub(super) fn process_control(
        &mut self,
        nic: Nic,
        index: usize,
        frame: &FrameBuf<'_>,
    ) -> PortVerdict {
        let Ok(parsed) = ethernet::split(frame.packet()) else {
            return self.refuse(DropReason::L2Malformed);
        };
        match self.side_of(nic, &parsed) {
            Err(reason) => self.refuse(reason),
            Ok(Side::Internet) => self.process_arp(index, &parsed),
            Ok(Side::Softwire) => self.process_neighbor(index, &parsed),
        }
    }

    /// Asks for the next hop of `side`.
    pub(super) fn solicit(&mut self, side: Side, solicit: Solicit) {
        match side {
            Side::Internet => self.solicit_arp(solicit),
            Side::Softwire => self.solicit_neighbor(solicit),
        }
    }

    fn process_arp(&mut self, index: usize, frame: &EthernetFrame<'_>) -> PortVerdict {
        self.worker.look_up_to_date();
        let Ok((packet, _padding)) = ArpPacket::split(frame.payload) else {
            return self.refuse(DropReason::L2Malformed);
        };
        let arp = packet.fields();
        self.learn_arp(index, &arp);
        match arp.op {
            ArpOp::REQUEST => self.counters.add_own(OfPort::InArpRequest, 1),
            _ => self.counters.add_own(OfPort::InArpReply, 1),
        }
        if arp.op != ArpOp::REQUEST || !self.answers_arp(&arp) {
            return PortVerdict::Local(Side::Internet, Kind::Foreign);
        }
        let link = self.config.internet.link;
        let reply = arp.reply_from(link.mac).to_bytes();
        self.counters.add_own(OfPort::OutArpReply, 1);
        self.push_control(
            Side::Internet,
            index,
            control_frame(&link, arp.sender_mac, EtherType::ARP, &reply),
        );
        PortVerdict::Consumed
    }

    /// the own address always, pool addresses where the pool is on-link.
    fn answers_arp(&self, arp: &ArpFields) -> bool {
        // A probe or announcement for the same address is not a question.
        if arp.sender_ip == arp.target_ip {
            return false;
        }
        let internet = &self.config.internet;
        arp.target_ip == internet.address
            || (internet.proxy_arp == ProxyArp::Pools && self.worker.is_managed(arp.target_ip))
    }

    fn learn_arp(&mut self, index: usize, arp: &ArpFields) {
        if self.config.internet.next_hop != NextHop::Address(arp.sender_ip) {
            return;
        }
        if arp.sender_mac.is_multicast() {
            return;
        }
        let (now, own) = (self.now, self.config.internet.link.mac);
        let hop = self.hop_mut(Side::Internet);
        if arp.op == ArpOp::REPLY && arp.target_mac == own {
            hop.confirmed(now, arp.sender_mac);
        } else {
            // ARP knows no override flag; what a router says of itself is taken (RFC 826).
            hop.heard(arp.sender_mac, true);
        }
        self.release(Side::Internet, index);
    }

    fn solicit_arp(&mut self, solicit: Solicit) {
        let internet = self.config.internet;
        let NextHop::Address(target) = internet.next_hop else {
            return;
        };
        let link = internet.link;
        let request = ArpFields::request(link.mac, internet.address, target).to_bytes();
        let to = match solicit {
            Solicit::Multicast => MacAddr::BROADCAST,
            Solicit::Unicast(mac) => mac,
        };
        self.counters.add_own(OfPort::OutArpRequest, 1);
        self.push_control(
            Side::Internet,
            0,
            control_frame(&link, to, EtherType::ARP, &request),
        );
    }

    fn process_neighbor(&mut self, index: usize, frame: &EthernetFrame<'_>) -> PortVerdict {
        let Ok((header, message)) = Ipv6Header::split(frame.payload) else {
            return self.refuse(DropReason::NdpInvalid);
        };
        let (src, dst, hops) = (header.src(), header.dst(), header.hop_limit());
        if message.first() == Some(&Icmpv6Type::NEIGHBOR_SOLICIT.0) {
            match NeighborSolicit::parse(src, dst, hops, message) {
                Ok(solicit) => self.answer_solicit(index, frame, src, &solicit),
                Err(_) => self.refuse(DropReason::NdpInvalid),
            }
        } else {
            match NeighborAdvert::parse(src, dst, hops, message) {
                Ok(advert) => self.learn_advert(index, &advert),
                Err(_) => self.refuse(DropReason::NdpInvalid),
            }
        }
    }

    /// answers for the interface and for on-link AFTR addresses, never for B4 addresses.
    fn answer_solicit(
        &mut self,
        index: usize,
        frame: &EthernetFrame<'_>,
        src: Ipv6Addr,
        solicit: &NeighborSolicit,
    ) -> PortVerdict {
        self.counters.add_own(OfPort::InNdpNs, 1);
        self.worker.look_up_to_date();
        if let (NextHop::Address(hop), Some(mac)) =
            (self.config.softwire.next_hop, solicit.source_mac)
            && hop == src
        {
            self.hop_mut(Side::Softwire).heard(mac, true);
            self.release(Side::Softwire, index);
        }
        if !self.answers_solicit(solicit.target) {
            return PortVerdict::Local(Side::Softwire, Kind::Foreign);
        }
        let link = self.config.softwire.link;
        let (to, advert) = NeighborAdvert::answer(solicit, src, link.mac, Answers::Itself);
        let mac = if to.is_multicast() {
            ndp::multicast_mac(to)
        } else {
            solicit.source_mac.unwrap_or(frame.src)
        };
        let mut packet = [0; NDP_PACKET];
        let Some((header, body)) = packet.split_first_chunk_mut() else {
            return self.refuse(DropReason::Internal);
        };
        if advert.emit(solicit.target, to, body).is_err() {
            return self.refuse(DropReason::Internal);
        }
        *header = ndp_header(solicit.target, to);
        self.counters.add_own(OfPort::OutNdpNa, 1);
        self.push_control(
            Side::Softwire,
            index,
            control_frame(&link, mac, EtherType::IPV6, &packet),
        );
        PortVerdict::Consumed
    }

    fn answers_solicit(&self, target: Ipv6Addr) -> bool {
        let softwire = &self.config.softwire;
        if target == softwire.address {
            return true;
        }
        let shift = 128u32.saturating_sub(softwire.prefix_len.into());
        let prefix = |addr: Ipv6Addr| addr.to_bits().checked_shr(shift).unwrap_or(0);
        prefix(target) == prefix(softwire.address) && self.worker.is_aftr_address(target)
    }

    fn learn_advert(&mut self, index: usize, advert: &NeighborAdvert) -> PortVerdict {
        self.counters.add_own(OfPort::InNdpNa, 1);
        if self.config.softwire.next_hop != NextHop::Address(advert.target) {
            return PortVerdict::Local(Side::Softwire, Kind::Foreign);
        }
        let now = self.now;
        let hop = self.hop_mut(Side::Softwire);
        // An answer to a unicast probe may leave the address out (RFC 4861 §4.4).
        let Some(mac) = advert.target_mac.or(hop.mac()) else {
            return PortVerdict::Consumed;
        };
        let changes = hop.mac().is_some_and(|known| known != mac);
        if advert.solicited && (advert.override_ || !changes) {
            hop.confirmed(now, mac);
        } else {
            hop.heard(mac, advert.override_);
        }
        self.release(Side::Softwire, index);
        PortVerdict::Consumed
    }

    fn solicit_neighbor(&mut self, solicit: Solicit) {
        let softwire = self.config.softwire;
        let NextHop::Address(target) = softwire.next_hop else {
            return;
        };
        let link = softwire.link;
        let (to, mac) = match solicit {
            Solicit::Multicast => {
                let group = ndp::solicited_node(target);
                (group, ndp::multicast_mac(group))
            }
            Solicit::Unicast(mac) => (target, mac),
        };
        let message = NeighborSolicit {
            target,
            source_mac: Some(link.mac),
        };
        let mut packet = [0; NDP_PACKET];
        let Some((header, body)) = packet.split_first_chunk_mut() else {
            return;
        };
        if message.emit(softwire.address, to, body).is_err() {
            return;
        }
        *header = ndp_header(softwire.address, to);
        self.counters.add_own(OfPort::OutNdpNs, 1);
        self.push_control(
            Side::Softwire,
            0,
            control_frame(&link, mac, EtherType::IPV6, &packet),
        );
    }
}

/// Whether an IPv6 payload is a neighbor solicitation or advertisement.
///
/// Those behind extension headers are the worker's: RFC 6980 forbids fragmenting them, and nobody
/// sends other headers.
pub(super) fn is_neighbor_message(ethertype: EtherType, payload: &[u8]) -> bool {
    let kind = payload.get(IPV6_HEADER_LEN).copied();
    ethertype == EtherType::IPV6
        && payload.get(6) == Some(&IpProtocol::ICMPV6.0)
        && (kind == Some(Icmpv6Type::NEIGHBOR_SOLICIT.0)
            || kind == Some(Icmpv6Type::NEIGHBOR_ADVERT.0))
}

/// EtherType of the packets that leave on `side`.
pub(super) fn ip_ethertype(side: Side) -> EtherType {
    match side {
        Side::Softwire => EtherType::IPV6,
        Side::Internet => EtherType::IPV4,
    }
}

/// Puts the Ethernet header in front of a packet, with the link's tag if it has one.
pub(super) fn push_header(
    frame: &mut FrameBuf<'_>,
    link: &Link,
    dst: MacAddr,
    ethertype: EtherType,
) -> Result<(), NoHeadroom> {
    let fields = EthernetFields {
        dst,
        src: link.mac,
        ethertype,
    };
    match link.vlan {
        Some(vid) => frame.push_front(&fields.to_tagged_bytes(VlanTag(vid))),
        None => frame.push_front(&fields.to_bytes()),
    }
}

/// A whole frame in memory of its own; for the few that are not made in place.
pub(super) fn control_frame(
    link: &Link,
    dst: MacAddr,
    ethertype: EtherType,
    payload: &[u8],
) -> Box<[u8]> {
    let fields = EthernetFields {
        dst,
        src: link.mac,
        ethertype,
    };
    let mut bytes = Vec::with_capacity(ethernet::TAGGED_HEADER_LEN + payload.len());
    match link.vlan {
        Some(vid) => bytes.extend_from_slice(&fields.to_tagged_bytes(VlanTag(vid))),
        None => bytes.extend_from_slice(&fields.to_bytes()),
    }
    bytes.extend_from_slice(payload);
    bytes.into_boxed_slice()
}

fn ndp_header(src: Ipv6Addr, dst: Ipv6Addr) -> [u8; IPV6_HEADER_LEN] {
    Ipv6Fields {
        traffic_class: 0,
        flow_label: 0,
        payload_len: 32, // NDP_LEN_WITH_ADDRESS
        next_header: IpProtocol::ICMPV6,
        hop_limit: ndp::HOP_LIMIT,
        src,
        dst,
    }
    .to_bytes()
}

const _: () = assert!(ndp::NDP_LEN_WITH_ADDRESS == 32 && ARP_LEN == 28);
