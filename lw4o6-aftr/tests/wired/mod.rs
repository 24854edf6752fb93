//! An engine behind Ethernet interfaces, and frames for it.
#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "every test file uses a part of it, and a panic is a failed test"
)]

use std::net::{Ipv4Addr, Ipv6Addr};

use lw4o6_aftr::port::{
    Accept, EthernetPort, InternetPort, Link, NextHop, Nic, PortConfig, PortOutput, PortVerdict,
    ProxyArp, SoftwirePort,
};
use lw4o6_aftr::{AftrConfig, DropReason};
use lw4o6_binding::table::TableWriter;
use lw4o6_wire::arp::{ArpFields, ArpPacket};
use lw4o6_wire::ethernet::{EthernetFields, EthernetFrame, MacAddr, VlanTag, split};
use lw4o6_wire::ndp::{NeighborAdvert, NeighborSolicit};
use lw4o6_wire::{EtherType, FrameBuf, HEADROOM, Instant, IpProtocol, Ipv6Fields, Ipv6Header};

use crate::common::{BINDINGS, Bench};

/// Interface of the Internet side.
pub const NIC4: Nic = Nic(0);
/// Interface of the softwire side.
pub const NIC6: Nic = Nic(1);
pub const OWN4: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x04]);
pub const OWN6: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x06]);
/// Next hops.
pub const HOP4: MacAddr = MacAddr([2, 0, 0, 0, 4, 0xfe]);
pub const HOP6: MacAddr = MacAddr([2, 0, 0, 0, 6, 0xfe]);
/// Somebody else on either link.
pub const OTHER: MacAddr = MacAddr([2, 0, 0, 0, 9, 9]);
pub const IP4: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
pub const HOP4_IP: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 254);
/// On the link of the AFTR addresses.
pub const IP6: &str = "2001:db8:ffff::fe";
pub const HOP6_IP: &str = "fe80::fe";

/// Two interfaces, both next hops to be found.
pub fn ports() -> PortConfig {
    let link = |nic, mac| Link {
        nic,
        mac,
        vlan: None,
        accept: Accept::Own,
    };
    PortConfig {
        internet: InternetPort {
            link: link(NIC4, OWN4),
            address: IP4,
            next_hop: NextHop::Address(HOP4_IP),
            proxy_arp: ProxyArp::Off,
        },
        softwire: SoftwirePort {
            link: link(NIC6, OWN6),
            address: v6(IP6),
            prefix_len: 64,
            next_hop: NextHop::Address(v6(HOP6_IP)),
        },
        waiting: 16,
    }
}

/// The same with known next hops.
pub fn resolved() -> PortConfig {
    let mut config = ports();
    config.internet.next_hop = NextHop::Mac(HOP4);
    config.softwire.next_hop = NextHop::Mac(HOP6);
    config
}

pub fn v4(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}

pub fn v6(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

/// What came of one frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub verdict: PortVerdict,
    /// What the frame holds afterwards; empty where it may be reused.
    pub frame: Vec<u8>,
    /// What `poll_frame` gave.
    pub outputs: Vec<(PortVerdict, Vec<u8>)>,
}

impl Seen {
    /// The one frame that leaves, and by which interface.
    pub fn sent(&self) -> (Nic, &[u8]) {
        let outputs = self.outputs.iter().map(|(verdict, frame)| (verdict, frame));
        let all = std::iter::once((&self.verdict, &self.frame)).chain(outputs);
        let sent: Vec<(Nic, &[u8])> = all
            .filter_map(|(verdict, frame)| match verdict {
                PortVerdict::Transmit(nic) => Some((*nic, frame.as_slice())),
                PortVerdict::Local(..) | PortVerdict::Consumed | PortVerdict::Drop(_) => None,
            })
            .collect();
        assert_eq!(sent.len(), 1, "{self:?}");
        sent[0]
    }
}

pub struct Wired {
    pub port: EthernetPort,
    pub now: Instant,
    pub writer: TableWriter,
}

impl Wired {
    pub fn new(config: PortConfig) -> Self {
        Self::with(config, |_| {})
    }

    pub fn with(config: PortConfig, knobs: impl FnOnce(&mut AftrConfig)) -> Self {
        let pools = [("198.18.0.0", "198.18.0.255", 0, 4)];
        let bench = Bench::over(BINDINGS, &pools, knobs);
        Self {
            port: EthernetPort::new(config, bench.worker, 500),
            now: Instant::ZERO,
            writer: bench.writer,
        }
    }

    pub fn feed(&mut self, nic: Nic, frame: &[u8]) -> Seen {
        self.feed_all(nic, &[frame.to_vec()], 1).remove(0)
    }

    /// Feeds frames in batches of `size`; every output stands with the frame it follows.
    pub fn feed_all(&mut self, nic: Nic, frames: &[Vec<u8>], size: usize) -> Vec<Seen> {
        let mut seen = Vec::new();
        for chunk in frames.chunks(size) {
            let mut storage: Vec<Vec<u8>> = chunk
                .iter()
                .map(|frame| vec![0; HEADROOM + frame.len() + 64])
                .collect();
            let mut bufs: Vec<FrameBuf<'_>> = storage
                .iter_mut()
                .zip(chunk)
                .map(|(storage, frame)| FrameBuf::with_headroom(storage, HEADROOM, frame).unwrap())
                .collect();
            let mut verdicts = vec![PortVerdict::Consumed; chunk.len()];
            let mut first = 0;
            while first < chunk.len() {
                let (now, bufs) = (self.now, &mut bufs[first..]);
                let verdicts = &mut verdicts[first..];
                let taken = self.port.process_batch(now, nic, bufs, verdicts);
                assert!(taken > 0, "everything was polled");
                let mut made: Vec<Seen> = bufs[..taken]
                    .iter()
                    .zip(verdicts.iter())
                    .map(|(buf, verdict)| Seen {
                        verdict: *verdict,
                        frame: match verdict {
                            PortVerdict::Transmit(_) | PortVerdict::Local(..) => {
                                buf.packet().to_vec()
                            }
                            PortVerdict::Consumed | PortVerdict::Drop(_) => Vec::new(),
                        },
                        outputs: Vec::new(),
                    })
                    .collect();
                for (output, frame) in self.drain() {
                    made[output.after].outputs.push((output.verdict, frame));
                }
                seen.append(&mut made);
                first += taken;
            }
        }
        seen
    }

    pub fn drain(&mut self) -> Vec<(PortOutput, Vec<u8>)> {
        let mut storage = vec![0; 70_000];
        let mut outputs = Vec::new();
        let mut frame = FrameBuf::new(&mut storage, 0, 0).unwrap();
        while let Some(output) = self.port.poll_frame(&mut frame).unwrap() {
            outputs.push((output, frame.packet().to_vec()));
        }
        outputs
    }

    /// Lets milliseconds pass, then runs what is due; the frames sent.
    pub fn pass(&mut self, millis: u64) -> Vec<(PortOutput, Vec<u8>)> {
        self.now += core::time::Duration::from_millis(millis);
        self.port.handle_timeout(self.now);
        self.drain()
    }

    /// Feeds a frame that the port itself has to drop, counted once.
    pub fn refused(&mut self, nic: Nic, frame: &[u8], reason: DropReason) {
        let before = self.port.counters().drops(reason);
        let worker = self.port.worker().counters().dropped();
        let seen = self.feed(nic, frame);
        assert_eq!(seen.verdict, PortVerdict::Drop(reason));
        assert!(seen.outputs.is_empty());
        assert_eq!(self.port.counters().drops(reason), before + 1, "{reason}");
        assert_eq!(self.port.worker().counters().dropped(), worker);
    }
}

/// An Ethernet frame.
pub fn frame(dst: MacAddr, src: MacAddr, ethertype: EtherType, payload: &[u8]) -> Vec<u8> {
    let fields = EthernetFields {
        dst,
        src,
        ethertype,
    };
    [&fields.to_bytes()[..], payload].concat()
}

/// An Ethernet frame with a tag.
pub fn tagged(tci: u16, plain: &[u8]) -> Vec<u8> {
    let mut frame = plain[..12].to_vec();
    frame.extend([0x81, 0]);
    frame.extend(tci.to_be_bytes());
    frame.extend(&plain[12..]);
    frame
}

/// An IPv4 packet from the next hop of that side.
pub fn in4(packet: &[u8]) -> Vec<u8> {
    frame(OWN4, HOP4, EtherType::IPV4, packet)
}

/// An IPv6 packet from the next hop of that side.
pub fn in6(packet: &[u8]) -> Vec<u8> {
    frame(OWN6, HOP6, EtherType::IPV6, packet)
}

pub fn read(bytes: &[u8]) -> EthernetFrame<'_> {
    split(bytes).unwrap()
}

/// Asserts addresses, tag and type of a frame; returns its payload.
pub fn payload(
    bytes: &[u8],
    dst: MacAddr,
    src: MacAddr,
    ethertype: EtherType,
    vlan: Option<u16>,
) -> Vec<u8> {
    let frame = read(bytes);
    assert_eq!((frame.dst, frame.src), (dst, src));
    assert_eq!(frame.ethertype, ethertype);
    assert_eq!(frame.vlan.map(VlanTag::vid), vlan);
    frame.payload.to_vec()
}

pub fn arp(dst: MacAddr, fields: ArpFields) -> Vec<u8> {
    frame(dst, fields.sender_mac, EtherType::ARP, &fields.to_bytes())
}

pub fn read_arp(bytes: &[u8]) -> ArpFields {
    ArpPacket::split(bytes).unwrap().0.fields()
}

fn neighbor(src: Ipv6Addr, dst: Ipv6Addr, message: &[u8], hop_limit: u8) -> Vec<u8> {
    let fields = Ipv6Fields {
        traffic_class: 0,
        flow_label: 0,
        payload_len: u16::try_from(message.len()).unwrap(),
        next_header: IpProtocol::ICMPV6,
        hop_limit,
        src,
        dst,
    };
    [&fields.to_bytes()[..], message].concat()
}

/// A neighbor solicitation in an IPv6 packet.
pub fn solicitation(src: &str, dst: &str, target: &str, mac: Option<MacAddr>) -> Vec<u8> {
    let message = NeighborSolicit {
        target: v6(target),
        source_mac: mac,
    };
    let mut bytes = [0; 32];
    let len = message.emit(v6(src), v6(dst), &mut bytes).unwrap();
    neighbor(v6(src), v6(dst), &bytes[..len], 255)
}

/// A neighbor advertisement in an IPv6 packet.
pub fn advertisement(src: &str, dst: &str, advert: &NeighborAdvert) -> Vec<u8> {
    let mut bytes = [0; 32];
    let len = advert.emit(v6(src), v6(dst), &mut bytes).unwrap();
    neighbor(v6(src), v6(dst), &bytes[..len], 255)
}

/// Source, destination and fields of a solicitation.
pub fn read_solicitation(packet: &[u8]) -> (Ipv6Addr, Ipv6Addr, NeighborSolicit) {
    let (header, message) = Ipv6Header::split(packet).unwrap();
    let (src, dst) = (header.src(), header.dst());
    let solicit = NeighborSolicit::parse(src, dst, header.hop_limit(), message).unwrap();
    (src, dst, solicit)
}

/// Source, destination and fields of an advertisement.
pub fn read_advertisement(packet: &[u8]) -> (Ipv6Addr, Ipv6Addr, NeighborAdvert) {
    let (header, message) = Ipv6Header::split(packet).unwrap();
    let (src, dst) = (header.src(), header.dst());
    let advert = NeighborAdvert::parse(src, dst, header.hop_limit(), message).unwrap();
    (src, dst, advert)
}

/// What the next hop of the softwire side says of itself.
pub fn hop6_is(mac: MacAddr, solicited: bool, override_: bool) -> Vec<u8> {
    let advert = NeighborAdvert {
        router: true,
        solicited,
        override_,
        target: v6(HOP6_IP),
        target_mac: Some(mac),
    };
    let dst = if solicited { IP6 } else { "ff02::1" };
    frame(
        OWN6,
        mac,
        EtherType::IPV6,
        &advertisement(HOP6_IP, dst, &advert),
    )
}

/// What the next hop of the Internet side answers.
pub fn hop4_is(mac: MacAddr) -> Vec<u8> {
    arp(OWN4, ArpFields::request(OWN4, IP4, HOP4_IP).reply_from(mac))
}
