//! Packets for tests, built field by field.
//!
//! ```
//! use testkit::packet::{V4, tunnel};
//!
//! let inner = V4::udp("192.0.2.18:1232", "198.51.100.1:53").payload(b"test").build();
//! let packet = tunnel("2001:db8::1", "2001:db8:ffff::1", &inner).build();
//! assert_eq!(packet.len(), 40 + 20 + 8 + 4);
//! ```
//!
//! Addresses are text and must be right: a panic is a failed test.

use core::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4};

use lw4o6_wire::checksum::{Sum, checksum, pseudo_v4, pseudo_v6, udp_wire};
use lw4o6_wire::{FragmentHeader, IpProtocol, Ipv6Fields};

/// An IPv4 packet to be.
#[derive(Clone, Debug)]
pub struct V4 {
    /// TOS byte. Default 0.
    pub tos: u8,
    /// Identification. Default 0x4242.
    pub ident: u16,
    /// Reserved bit, Don't Fragment, More Fragments, offset in units of 8 bytes. Default 0.
    pub flags: u16,
    /// TTL. Default 64.
    pub ttl: u8,
    /// Protocol.
    pub protocol: IpProtocol,
    /// Source address.
    pub src: Ipv4Addr,
    /// Destination address.
    pub dst: Ipv4Addr,
    /// Options, a multiple of 4 bytes. Default none.
    pub options: Vec<u8>,
    /// What follows the header.
    pub l4: Vec<u8>,
}

fn v4(text: &str) -> Ipv4Addr {
    text.parse().expect(text)
}

fn socket(text: &str) -> SocketAddrV4 {
    text.parse().expect(text)
}

/// The IPv6 address that `text` says.
#[must_use]
pub fn v6(text: &str) -> Ipv6Addr {
    text.parse().expect(text)
}

impl V4 {
    /// A packet of any protocol.
    #[must_use]
    pub fn raw(protocol: u8, src: &str, dst: &str, l4: &[u8]) -> Self {
        Self {
            tos: 0,
            ident: 0x4242,
            flags: 0,
            ttl: 64,
            protocol: IpProtocol(protocol),
            src: v4(src),
            dst: v4(dst),
            options: Vec::new(),
            l4: l4.to_vec(),
        }
    }

    fn between(protocol: u8, src: SocketAddrV4, dst: SocketAddrV4, rest: &[u8]) -> Self {
        let mut l4 = [src.port().to_be_bytes(), dst.port().to_be_bytes()].concat();
        l4.extend(rest);
        let (src, dst) = (src.ip().to_string(), dst.ip().to_string());
        Self::raw(protocol, &src, &dst, &l4)
    }

    /// A UDP datagram without payload, from and to `address:port`.
    #[must_use]
    pub fn udp(src: &str, dst: &str) -> Self {
        Self::between(17, socket(src), socket(dst), &[0, 8, 0, 0]).sealed()
    }

    /// A TCP segment without payload and options, from and to `address:port`; 0x02 is SYN, 0x10 ACK.
    #[must_use]
    pub fn tcp(src: &str, dst: &str, flags: u8) -> Self {
        let rest = [0, 0, 0, 1, 0, 0, 0, 0, 0x50, flags, 0x20, 0, 0, 0, 0, 0];
        Self::between(6, socket(src), socket(dst), &rest).sealed()
    }

    /// A SYN with an MSS option; `pad` NOPs in front of it.
    #[must_use]
    pub fn syn(src: &str, dst: &str, mss: u16, pad: usize) -> Self {
        let mut packet = Self::tcp(src, dst, 0x02);
        packet.l4.extend(std::iter::repeat_n(1, pad));
        packet.l4.extend([2, 4]);
        packet.l4.extend(mss.to_be_bytes());
        while !packet.l4.len().is_multiple_of(4) {
            packet.l4.push(0);
        }
        let words = u8::try_from(packet.l4.len() / 4).expect("short options");
        if let Some(offset) = packet.l4.get_mut(12) {
            *offset = words << 4;
        }
        packet.sealed()
    }

    /// An ICMPv4 message with its checksum.
    #[must_use]
    pub fn icmp(src: &str, dst: &str, kind: u8, code: u8, rest: [u8; 4], body: &[u8]) -> Self {
        let mut l4 = vec![kind, code, 0, 0];
        l4.extend(rest);
        l4.extend(body);
        Self::raw(1, src, dst, &l4).sealed()
    }

    /// An echo request (8) or reply (0).
    #[must_use]
    pub fn echo(kind: u8, src: &str, dst: &str, ident: u16) -> Self {
        let [high, low] = ident.to_be_bytes();
        Self::icmp(src, dst, kind, 0, [high, low, 0, 1], b"abcdefgh")
    }

    /// An ICMPv4 error that quotes the start of `packet`.
    #[must_use]
    pub fn icmp_error(src: &str, dst: &str, kind: u8, code: u8, packet: &[u8]) -> Self {
        let quote = packet.get(..28 + 8).unwrap_or(packet);
        Self::icmp(src, dst, kind, code, [0; 4], quote)
    }

    /// Puts `payload` behind what is there, and corrects lengths and checksums of UDP, TCP and ICMP.
    #[must_use]
    pub fn payload(mut self, payload: &[u8]) -> Self {
        self.l4.extend(payload);
        self.sealed()
    }

    /// With this TTL.
    #[must_use]
    pub fn ttl(mut self, ttl: u8) -> Self {
        self.ttl = ttl;
        self
    }

    /// With this TOS byte.
    #[must_use]
    pub fn tos(mut self, tos: u8) -> Self {
        self.tos = tos;
        self
    }

    /// With this identification.
    #[must_use]
    pub fn ident(mut self, ident: u16) -> Self {
        self.ident = ident;
        self
    }

    /// With Don't Fragment.
    #[must_use]
    pub fn df(mut self) -> Self {
        self.flags |= 0x4000;
        self
    }

    /// With these options.
    #[must_use]
    pub fn options(mut self, options: &[u8]) -> Self {
        self.options = options.to_vec();
        self
    }

    /// The bytes.
    #[must_use]
    pub fn build(&self) -> Vec<u8> {
        let header_len = 20 + self.options.len();
        let mut packet = vec![0x40 | low8(header_len / 4), self.tos];
        packet.extend(low16(header_len + self.l4.len()).to_be_bytes());
        packet.extend(self.ident.to_be_bytes());
        packet.extend(self.flags.to_be_bytes());
        packet.extend([self.ttl, self.protocol.0, 0, 0]);
        packet.extend(self.src.octets());
        packet.extend(self.dst.octets());
        packet.extend(&self.options);
        let sum = checksum(&packet);
        put16(&mut packet, 10, sum);
        packet.extend(&self.l4);
        packet
    }

    /// The packet in fragments of at most `size` bytes of payload, a multiple of 8.
    #[must_use]
    pub fn fragments(&self, size: usize) -> Vec<Vec<u8>> {
        let pieces = self.l4.chunks(size);
        let last = pieces.len().saturating_sub(1);
        let cut = |(index, piece): (usize, &[u8])| {
            let more = if index == last { 0 } else { 0x2000 };
            let mut fragment = self.clone();
            fragment.flags |= more | low16(index * size / 8);
            fragment.l4 = piece.to_vec();
            fragment.build()
        };
        pieces.enumerate().map(cut).collect()
    }

    /// Lengths and checksums of the transport header made right.
    fn sealed(mut self) -> Self {
        let len = low16(self.l4.len());
        let (at, pseudo) = match self.protocol {
            IpProtocol::UDP => {
                put16(&mut self.l4, 4, len);
                (6, pseudo_v4(self.src, self.dst, self.protocol, len))
            }
            IpProtocol::TCP => (16, pseudo_v4(self.src, self.dst, self.protocol, len)),
            IpProtocol::ICMP => (2, Sum::new()),
            _ => return self,
        };
        put16(&mut self.l4, at, 0);
        let mut sum = pseudo;
        let value = sum.add(&self.l4).finish();
        let udp = self.protocol == IpProtocol::UDP;
        put16(&mut self.l4, at, if udp { udp_wire(value) } else { value });
        self
    }
}

/// An IPv6 packet to be.
#[derive(Clone, Debug)]
pub struct V6 {
    /// Traffic class. Default 0.
    pub traffic_class: u8,
    /// Flow label. Default 0.
    pub flow_label: u32,
    /// Hop limit. Default 64.
    pub hop_limit: u8,
    /// Source address.
    pub src: Ipv6Addr,
    /// Destination address.
    pub dst: Ipv6Addr,
    /// Type of what follows the fixed header.
    pub next: u8,
    /// What follows the fixed header.
    pub payload: Vec<u8>,
}

/// A tunnel packet.
#[must_use]
pub fn tunnel(src: &str, dst: &str, inner: &[u8]) -> V6 {
    V6::raw(4, src, dst, inner)
}

impl V6 {
    /// A packet of any kind.
    #[must_use]
    pub fn raw(next: u8, src: &str, dst: &str, payload: &[u8]) -> Self {
        Self {
            traffic_class: 0,
            flow_label: 0,
            hop_limit: 64,
            src: v6(src),
            dst: v6(dst),
            next,
            payload: payload.to_vec(),
        }
    }

    /// An ICMPv6 message with its checksum.
    #[must_use]
    pub fn icmp(src: &str, dst: &str, kind: u8, code: u8, rest: u32, body: &[u8]) -> Self {
        let mut message = vec![kind, code, 0, 0];
        message.extend(rest.to_be_bytes());
        message.extend(body);
        let len = u32::try_from(message.len()).expect("short message");
        let mut sum = pseudo_v6(v6(src), v6(dst), IpProtocol::ICMPV6, len);
        let value = sum.add(&message).finish();
        put16(&mut message, 2, value);
        Self::raw(58, src, dst, &message)
    }

    /// With this traffic class.
    #[must_use]
    pub fn traffic_class(mut self, traffic_class: u8) -> Self {
        self.traffic_class = traffic_class;
        self
    }

    /// With an extension header in front of what is there; `header` lacks its first byte, which names
    /// what follows.
    #[must_use]
    pub fn behind(mut self, kind: u8, header: &[u8]) -> Self {
        let mut payload = vec![self.next];
        payload.extend(header);
        payload.append(&mut self.payload);
        self.next = kind;
        self.payload = payload;
        self
    }

    /// With a tunnel encapsulation limit, as Linux sends it.
    #[must_use]
    pub fn limit(self, limit: u8) -> Self {
        self.behind(60, &[0, 4, 1, limit, 1, 1, 0])
    }

    /// The bytes.
    #[must_use]
    pub fn build(&self) -> Vec<u8> {
        let fields = Ipv6Fields {
            traffic_class: self.traffic_class,
            flow_label: self.flow_label,
            payload_len: low16(self.payload.len()),
            next_header: IpProtocol(self.next),
            hop_limit: self.hop_limit,
            src: self.src,
            dst: self.dst,
        };
        [&fields.to_bytes()[..], &self.payload].concat()
    }

    /// The packet in fragments of at most `size` bytes of payload, a multiple of 8.
    #[must_use]
    pub fn fragments(&self, size: usize, ident: u32) -> Vec<Vec<u8>> {
        let pieces = self.payload.chunks(size);
        let last = pieces.len().saturating_sub(1);
        let cut = |(index, piece): (usize, &[u8])| {
            let header = FragmentHeader {
                next: IpProtocol(self.next),
                offset: low16(index * size),
                more: index != last,
                ident,
            };
            let mut fragment = self.clone();
            fragment.next = 44;
            fragment.payload = [&header.to_bytes()[..], piece].concat();
            fragment.build()
        };
        pieces.enumerate().map(cut).collect()
    }
}

/// The bytes that hexadecimal digits stand for; white space and what follows a `#` on a line is left out.
#[must_use]
pub fn hex(text: &str) -> Vec<u8> {
    let code = text
        .lines()
        .map(|line| line.split('#').next().unwrap_or(""));
    let digits: Vec<u32> = code
        .flat_map(str::chars)
        .filter(|c| !c.is_whitespace())
        .map(|c| c.to_digit(16).expect("a hexadecimal digit"))
        .collect();
    let byte = |pair: &[u32]| u8::try_from(pair.iter().fold(0, |sum, d| sum * 16 + d));
    digits
        .chunks(2)
        .map(|pair| byte(pair).expect("two digits"))
        .collect()
}

fn put16(bytes: &mut [u8], at: usize, value: u16) {
    let place = bytes.get_mut(at..at + 2).expect("a field of the header");
    place.copy_from_slice(&value.to_be_bytes());
}

fn low8(number: usize) -> u8 {
    u8::try_from(number).expect("a small number")
}

fn low16(number: usize) -> u16 {
    u16::try_from(number).expect("a packet below 64 KiB")
}
