//! The far end of a softwire: IPv4 from one interface into IPv6 on the other, and back.
//!
//! No NAPT: the host behind it has the softwire's address itself. The kernel knows no address on
//! either interface.

use std::collections::BTreeMap;
use std::net::Ipv6Addr;
use std::os::fd::AsFd;

use lw4o6_wire::ethernet::{self, EthernetFields, MacAddr};
use lw4o6_wire::ipv6_ext::FragmentHeader;
use lw4o6_wire::{EtherType, IpProtocol, Ipv4Packet, Ipv6Fields, Ipv6Header};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::{Deserialize, Serialize};

use crate::packet_io::{AfPacket, FrameBatch, FrameQueue, PacketIo};

/// Packets under reassembly; the oldest gives way.
const MAX_PENDING: usize = 64;

/// Bytes of header in front of a piece of an outer packet.
const PIECE_HEADERS: usize = 48;

/// A softwire endpoint to be.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EndpointConfig {
    /// Interface with the IPv4 host behind it.
    pub lan: String,
    /// Ethernet address of the host.
    pub host: [u8; 6],
    /// Interface towards the other end.
    pub wan: String,
    /// Ethernet address of the router there.
    pub router: [u8; 6],
    /// Largest IPv6 packet there in bytes.
    pub mtu: usize,
    /// This end.
    pub own: Ipv6Addr,
    /// The other end.
    pub peer: Ipv6Addr,
}

/// One softwire, without its interfaces.
#[derive(Debug)]
pub struct Endpoint {
    lan: EthernetFields,
    wan: EthernetFields,
    mtu: usize,
    own: Ipv6Addr,
    peer: Ipv6Addr,
    ident: u32,
    pending: BTreeMap<u32, Pieces>,
}

/// A packet under reassembly: pieces by offset, and the length once the last is there.
#[derive(Debug, Default)]
struct Pieces {
    pieces: BTreeMap<usize, Vec<u8>>,
    len: Option<usize>,
}

impl Endpoint {
    /// A softwire whose interfaces have the addresses `lan` and `wan`.
    #[must_use]
    pub fn new(config: &EndpointConfig, lan: MacAddr, wan: MacAddr) -> Self {
        let ethernet = |src, dst, ethertype| EthernetFields {
            dst: MacAddr(dst),
            src,
            ethertype,
        };
        Self {
            lan: ethernet(lan, config.host, EtherType::IPV4),
            wan: ethernet(wan, config.router, EtherType::IPV6),
            mtu: config.mtu,
            own: config.own,
            peer: config.peer,
            ident: 0,
            pending: BTreeMap::new(),
        }
    }

    /// Takes a frame of the host; what becomes of it goes to the other end.
    pub fn encapsulate(&mut self, frame: &[u8], out: &mut FrameQueue) {
        let Ok(frame) = ethernet::split(frame) else {
            return;
        };
        let Ok(packet) = Ipv4Packet::split(frame.payload) else {
            return;
        };
        // Ethernet pads short frames.
        let inner = frame.payload.get(..packet.total_len()).unwrap_or_default();
        let tos = packet.header.tos();
        let ethernet = self.wan.to_bytes();
        if inner.len() + 40 <= self.mtu {
            let ipv6 = self.header(tos, IpProtocol::IPV4, inner.len());
            out.push_parts(&[&ethernet, &ipv6, inner]);
            return;
        }
        self.ident = self.ident.wrapping_add(1);
        let piece_len = self.mtu.saturating_sub(PIECE_HEADERS).max(8) / 8 * 8;
        for (index, piece) in inner.chunks(piece_len).enumerate() {
            let offset = index * piece_len;
            let fragment = FragmentHeader {
                next: IpProtocol::IPV4,
                offset: u16::try_from(offset).unwrap_or(u16::MAX),
                more: offset + piece.len() < inner.len(),
                ident: self.ident,
            };
            let ipv6 = self.header(tos, IpProtocol::FRAGMENT, 8 + piece.len());
            out.push_parts(&[&ethernet, &ipv6, &fragment.to_bytes(), piece]);
        }
    }

    /// Takes a frame from the other end; the packet in it, once whole, goes to the host.
    pub fn decapsulate(&mut self, frame: &[u8], out: &mut FrameQueue) {
        let Ok(frame) = ethernet::split(frame) else {
            return;
        };
        let Ok((outer, payload)) = Ipv6Header::split(frame.payload) else {
            return;
        };
        if outer.dst() != self.own || outer.src() != self.peer {
            return;
        }
        let ethernet = self.lan.to_bytes();
        match outer.next_header() {
            IpProtocol::IPV4 => out.push_parts(&[&ethernet, payload]),
            IpProtocol::FRAGMENT => {
                if let Ok((header, piece)) = FragmentHeader::split(payload)
                    && header.next == IpProtocol::IPV4
                    && let Some(inner) = self.collect(&header, piece)
                {
                    out.push_parts(&[&ethernet, &inner]);
                }
            }
            _ => {}
        }
    }

    /// Adds a piece; the packet, if that made it whole.
    fn collect(&mut self, header: &FragmentHeader, piece: &[u8]) -> Option<Vec<u8>> {
        if !self.pending.contains_key(&header.ident) && self.pending.len() >= MAX_PENDING {
            self.pending.pop_first();
        }
        let pending = self.pending.entry(header.ident).or_default();
        let offset = usize::from(header.offset);
        if !header.more {
            pending.len = Some(offset + piece.len());
        }
        pending.pieces.insert(offset, piece.to_vec());
        let mut whole = Vec::new();
        for (&offset, piece) in &pending.pieces {
            if offset != whole.len() {
                return None;
            }
            whole.extend_from_slice(piece);
        }
        if pending.len != Some(whole.len()) {
            return None;
        }
        self.pending.remove(&header.ident);
        Some(whole)
    }

    fn header(&self, traffic_class: u8, next_header: IpProtocol, len: usize) -> [u8; 40] {
        let fields = Ipv6Fields {
            traffic_class,
            flow_label: 0,
            payload_len: u16::try_from(len).unwrap_or(u16::MAX),
            next_header,
            hop_limit: 64,
            src: self.own,
            dst: self.peer,
        };
        fields.to_bytes()
    }
}

/// Runs a softwire endpoint in the background.
///
/// # Errors
///
/// Where an interface cannot be opened.
pub fn start(config: &EndpointConfig) -> Result<(), String> {
    let open = |name: &str| AfPacket::open(name, &[]).map_err(|error| error.to_string());
    let (mut lan, mut wan) = (open(&config.lan)?, open(&config.wan)?);
    let mut endpoint = Endpoint::new(config, lan.mac(), wan.mac());
    std::thread::spawn(move || {
        let mut batch = FrameBatch::new(lan.longest().max(wan.longest()));
        let mut out = FrameQueue::default();
        loop {
            let moved = forward(&mut lan, &mut wan, &mut batch, &mut out, |frame, out| {
                endpoint.encapsulate(frame, out);
            }) + forward(&mut wan, &mut lan, &mut batch, &mut out, |frame, out| {
                endpoint.decapsulate(frame, out);
            });
            if moved == 0 {
                let mut fds = [&lan, &wan].map(|io| PollFd::new(io.as_fd(), PollFlags::POLLIN));
                // Nothing to do about an interrupted wait but to look again.
                let _ = poll(&mut fds, PollTimeout::NONE);
            }
        }
    });
    Ok(())
}

/// Moves one batch; returns the number of frames received.
fn forward(
    from: &mut AfPacket,
    to: &mut AfPacket,
    batch: &mut FrameBatch,
    out: &mut FrameQueue,
    mut each: impl FnMut(&[u8], &mut FrameQueue),
) -> usize {
    // An interface that went away brings nothing.
    let received = from.receive(batch).unwrap_or(0);
    out.clear();
    for frame in batch.frames() {
        each(frame.packet(), out);
    }
    if !out.is_empty() {
        // What was not sent is the interface's to count.
        let _ = to.transmit(out);
    }
    received
}

#[cfg(test)]
mod tests {
    use lw4o6_wire::Ipv4Fields;

    use super::*;

    fn config(own: &str, peer: &str) -> EndpointConfig {
        EndpointConfig {
            lan: "lan".to_owned(),
            host: [2, 0, 0, 0, 0, 1],
            wan: "wan".to_owned(),
            router: [2, 0, 0, 0, 0, 2],
            mtu: 1500,
            own: own.parse().unwrap(),
            peer: peer.parse().unwrap(),
        }
    }

    fn ends() -> [Endpoint; 2] {
        let mac = MacAddr([2, 0, 0, 0, 0, 9]);
        let (a, b) = ("2001:db8::a", "2001:db8::b");
        [
            Endpoint::new(&config(a, b), mac, mac),
            Endpoint::new(&config(b, a), mac, mac),
        ]
    }

    fn packet(len: u16) -> Vec<u8> {
        let header = Ipv4Fields {
            tos: 0xb8,
            total_len: len,
            ident: 1,
            dont_fragment: false,
            more_fragments: false,
            fragment_offset: 0,
            ttl: 64,
            protocol: IpProtocol::UDP,
            src: [192, 0, 2, 1].into(),
            dst: [198, 51, 100, 2].into(),
        };
        let mut packet = header.to_bytes().to_vec();
        packet.extend((0..=255u8).cycle().take(usize::from(len) - 20));
        packet
    }

    #[test]
    fn what_one_end_encapsulates_the_other_unwraps() {
        let [mut a, mut b] = ends();
        for len in [20, 21, 1459, 1460, 1461, 1500, 9000, 65_535] {
            let inner = packet(len);
            let mut frame = vec![0; 14];
            frame[12] = 8;
            frame.extend(&inner);
            frame.extend([0; 6]); // padding
            let (mut outer, mut back) = (FrameQueue::default(), FrameQueue::default());
            a.encapsulate(&frame, &mut outer);
            assert!(outer.iter().all(|frame| frame.len() <= 1514), "{len}");
            let backwards: Vec<_> = outer.iter().collect();
            for frame in backwards.into_iter().rev() {
                b.decapsulate(frame, &mut back);
            }
            let back: Vec<_> = back.iter().map(|frame| &frame[14..]).collect();
            assert_eq!(back, [inner.as_slice()], "{len}");
        }
        assert!(b.pending.is_empty());
    }

    #[test]
    fn a_tunnel_packet_of_somebody_else_is_not_unwrapped() {
        let [mut a, _] = ends();
        let [_, mut b] = ends();
        b.peer = Ipv6Addr::LOCALHOST;
        let mut frame = vec![0; 14];
        frame.extend(packet(100));
        let (mut outer, mut back) = (FrameQueue::default(), FrameQueue::default());
        a.encapsulate(&frame, &mut outer);
        outer
            .iter()
            .for_each(|frame| b.decapsulate(frame, &mut back));
        assert!(!outer.is_empty() && back.is_empty());
    }

    #[test]
    fn reassembly_is_bounded() {
        let [mut a, mut b] = ends();
        let mut frame = vec![0; 14];
        frame.extend(packet(1500));
        let mut back = FrameQueue::default();
        for _ in 0..3 * MAX_PENDING {
            let mut outer = FrameQueue::default();
            a.encapsulate(&frame, &mut outer);
            b.decapsulate(outer.iter().next().unwrap(), &mut back);
        }
        assert_eq!(b.pending.len(), MAX_PENDING);
        assert!(back.is_empty());
    }
}
