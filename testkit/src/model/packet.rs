//! Packets as plain byte vectors, read and built the long way round.

use core::net::{Ipv4Addr, Ipv6Addr};

/// Sixteen bits, most significant byte first.
pub(super) fn be16(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

/// Thirty-two bits, most significant byte first.
pub(super) fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from(be16(bytes, at)) << 16 | u32::from(be16(bytes, at + 2))
}

pub(super) fn put16(bytes: &mut [u8], at: usize, value: usize) {
    assert!(value <= 0xffff, "{value} does not fit 16 bits");
    bytes[at] = (value >> 8) as u8;
    bytes[at + 1] = value as u8;
}

/// The value a checksum field must have for `bytes`, summed word by word (RFC 1071).
#[must_use]
pub fn internet_checksum(bytes: &[u8]) -> u16 {
    let mut sum = 0u32;
    for (i, &byte) in bytes.iter().enumerate() {
        sum += if i % 2 == 0 {
            u32::from(byte) << 8
        } else {
            u32::from(byte)
        };
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// The checksum of an `ICMPv6` message with its pseudo-header. Zero over a message whose field is right.
#[must_use]
pub fn icmpv6_checksum(src: Ipv6Addr, dst: Ipv6Addr, message: &[u8]) -> u16 {
    let mut all = Vec::new();
    all.extend(src.octets());
    all.extend(dst.octets());
    all.extend((message.len() as u32).to_be_bytes());
    all.extend([0, 0, 0, 58]);
    all.extend(message);
    internet_checksum(&all)
}

/// An IPv6 packet, trimmed to its own length.
#[derive(Clone, Debug)]
pub(super) struct V6 {
    pub(super) bytes: Vec<u8>,
    pub(super) src: Ipv6Addr,
    pub(super) dst: Ipv6Addr,
    pub(super) tc: u8,
}

pub(super) fn addr6(bytes: &[u8], at: usize) -> Ipv6Addr {
    let mut octets = [0; 16];
    octets.copy_from_slice(&bytes[at..at + 16]);
    Ipv6Addr::from(octets)
}

pub(super) fn addr4(bytes: &[u8], at: usize) -> Ipv4Addr {
    Ipv4Addr::new(bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3])
}

impl V6 {
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        if bytes.len() < 40 || bytes[0] >> 4 != 6 {
            return None;
        }
        let end = 40 + usize::from(be16(bytes, 4));
        Some(Self {
            bytes: bytes.get(..end)?.to_vec(),
            src: addr6(bytes, 8),
            dst: addr6(bytes, 24),
            tc: bytes[0] << 4 | bytes[1] >> 4,
        })
    }
}

/// An IPv4 packet, trimmed to its total length.
#[derive(Clone, Debug)]
pub(super) struct V4 {
    pub(super) bytes: Vec<u8>,
    pub(super) header: usize,
    pub(super) src: Ipv4Addr,
    pub(super) dst: Ipv4Addr,
    pub(super) tos: u8,
    pub(super) id: u16,
    pub(super) df: bool,
    pub(super) mf: bool,
    /// In bytes.
    pub(super) offset: usize,
    pub(super) ttl: u8,
    pub(super) proto: u8,
}

impl V4 {
    /// R-074 without the checksum, R-014.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let quoted = Self::parse_quoted(bytes)?;
        let total = usize::from(be16(bytes, 2));
        if total < quoted.header || total > bytes.len() {
            return None;
        }
        Some(Self {
            bytes: bytes[..total].to_vec(),
            ..quoted
        })
    }

    /// A packet that may be cut off anywhere after its header.
    pub(super) fn parse_quoted(bytes: &[u8]) -> Option<Self> {
        if bytes.len() < 20 || bytes[0] >> 4 != 4 {
            return None;
        }
        let header = usize::from(bytes[0] & 15) * 4;
        if header < 20 || header > bytes.len() {
            return None;
        }
        let total = usize::from(be16(bytes, 2)).clamp(header, bytes.len());
        let flags = be16(bytes, 6);
        Some(Self {
            bytes: bytes[..total].to_vec(),
            header,
            src: addr4(bytes, 12),
            dst: addr4(bytes, 16),
            tos: bytes[1],
            id: be16(bytes, 4),
            df: flags & 0x4000 != 0,
            mf: flags & 0x2000 != 0,
            offset: usize::from(flags & 0x1fff) * 8,
            ttl: bytes[8],
            proto: bytes[9],
        })
    }

    pub(super) fn payload(&self) -> &[u8] {
        &self.bytes[self.header..]
    }

    pub(super) fn checksum_ok(&self) -> bool {
        internet_checksum(&self.bytes[..self.header]) == 0
    }

    pub(super) fn is_fragment(&self) -> bool {
        self.mf || self.offset != 0
    }

    /// Whether this is an `ICMPv4` error or a redirect or quench: something no error may answer.
    pub(super) fn is_icmp_error(&self) -> bool {
        self.proto == 1
            && self.offset == 0
            && self
                .payload()
                .first()
                .is_some_and(|t| matches!(t, 3 | 4 | 5 | 11 | 12))
    }
}

/// Writes the header checksum anew.
pub(super) fn fix_v4(packet: &mut [u8]) {
    let header = usize::from(packet[0] & 15) * 4;
    put16(packet, 10, 0);
    let sum = internet_checksum(&packet[..header]);
    put16(packet, 10, sum.into());
}

/// An IPv4 packet without options.
pub(super) fn build_v4(
    tos: u8,
    ttl: u8,
    proto: u8,
    src: Ipv4Addr,
    dst: Ipv4Addr,
    payload: &[u8],
) -> Vec<u8> {
    let mut packet = vec![0x45, tos, 0, 0, 0, 0, 0x40, 0, ttl, proto, 0, 0];
    packet.extend(src.octets());
    packet.extend(dst.octets());
    packet.extend(payload);
    let len = packet.len();
    put16(&mut packet, 2, len);
    fix_v4(&mut packet);
    packet
}

/// An IPv6 packet with flow label `label`.
pub(super) fn build_v6(
    tc: u8,
    label: u32,
    next: u8,
    hop_limit: u8,
    addresses: (Ipv6Addr, Ipv6Addr),
    payload: &[u8],
) -> Vec<u8> {
    let word = 6 << 28 | u32::from(tc) << 20 | (label & 0xf_ffff);
    let mut packet = word.to_be_bytes().to_vec();
    packet.extend([0, 0, next, hop_limit]);
    packet.extend(addresses.0.octets());
    packet.extend(addresses.1.octets());
    packet.extend(payload);
    put16(&mut packet, 4, payload.len());
    packet
}

/// Cuts an IPv6 packet without extension headers that matter into pieces of at most `mtu`. The
/// identification is zero, comparisons leave it out.
pub(super) fn split_v6(packet: Vec<u8>, mtu: usize) -> Vec<Vec<u8>> {
    if packet.len() <= mtu {
        return vec![packet];
    }
    let payload = &packet[40..];
    let mut pieces = Vec::new();
    let mut offset = 0;
    while offset < payload.len() {
        let rest = payload.len() - offset;
        // The last piece may use all of the MTU.
        let take = if rest <= mtu - 48 {
            rest
        } else {
            (mtu - 48) / 8 * 8
        };
        let mut piece = packet[..40].to_vec();
        piece.extend([packet[6], 0, 0, 0, 0, 0, 0, 0]);
        put16(&mut piece, 42, offset | usize::from(take < rest));
        piece.extend(&payload[offset..offset + take]);
        piece[6] = 44;
        put16(&mut piece, 4, 8 + take);
        pieces.push(piece);
        offset += take;
    }
    pieces
}

/// Cuts an IPv4 packet (which may be a fragment already) into pieces of at most `mtu`.
pub(super) fn split_v4(packet: Vec<u8>, mtu: usize) -> Vec<Vec<u8>> {
    if packet.len() <= mtu {
        return vec![packet];
    }
    let header = usize::from(packet[0] & 15) * 4;
    let flags = usize::from(be16(&packet, 6));
    let mut pieces = Vec::new();
    let mut head = packet[..header].to_vec();
    let mut at = header;
    let mut offset = (flags & 0x1fff) * 8;
    while at < packet.len() {
        // Sizes follow the first header, though later ones may be shorter. The last piece may use
        // all that is left of the MTU.
        let rest = packet.len() - at;
        let take = if rest <= mtu - header {
            rest
        } else {
            (mtu - header) / 8 * 8
        };
        let mut piece = head.clone();
        piece.extend(&packet[at..at + take]);
        let more = at + take < packet.len() || flags & 0x2000 != 0;
        put16(
            &mut piece,
            6,
            (flags & 0xc000) | (usize::from(more) << 13) | (offset / 8),
        );
        let len = piece.len();
        put16(&mut piece, 2, len);
        fix_v4(&mut piece);
        pieces.push(piece);
        at += take;
        offset += take;
        if pieces.len() == 1 {
            head = copied_options(&packet[..header]);
        }
    }
    pieces
}

/// The header that later fragments carry: only options with the copied flag (RFC 791 §3.1).
fn copied_options(header: &[u8]) -> Vec<u8> {
    let mut kept = header[..20].to_vec();
    let mut at = 20;
    while at < header.len() {
        let kind = header[at];
        if kind == 0 {
            break;
        }
        let len = if kind == 1 {
            1
        } else {
            header.get(at + 1).copied().map_or(0, usize::from)
        };
        if len == 0 || (kind != 1 && len < 2) || at + len > header.len() {
            break;
        }
        if kind & 0x80 != 0 {
            kept.extend(&header[at..at + len]);
        }
        at += len;
    }
    while !kept.len().is_multiple_of(4) {
        kept.push(0);
    }
    kept[0] = 0x40 | (kept.len() / 4) as u8;
    kept
}
