//! Packets of all kinds, good and bad.

use core::net::{Ipv4Addr, Ipv6Addr};

use super::bytes::Choices;
use super::world::{AFTR, ODD, OWN4, OWN6, REMOTE, b4, candidates, port_of};
use crate::model::{ModelBinding, icmpv6_checksum, internet_checksum};

/// Lengths of L4 data worth trying: nothing, header fields, and both sides of each MTU.
const LENGTHS: [usize; 24] = [
    0, 1, 4, 7, 8, 12, 16, 20, 36, 100, 101, 556, 1192, 1200, 1212, 1220, 1221, 1400, 1432, 1440,
    1472, 1480, 1481, 2000,
];

/// One end of a conversation as IPv4 sees it.
#[derive(Clone, Copy, Debug)]
pub struct End {
    /// Address.
    pub ip: Ipv4Addr,
    /// Port or identifier.
    pub port: u16,
}

/// Writes a 16-bit field.
pub fn put(packet: &mut [u8], at: usize, value: u16) {
    if let Some(field) = packet.get_mut(at..at + 2) {
        field.copy_from_slice(&value.to_be_bytes());
    }
}

fn get(packet: &[u8], at: usize) -> u16 {
    packet
        .get(at..at + 2)
        .map_or(0, |b| u16::from_be_bytes([b[0], b[1]]))
}

/// Makes the header checksum of an IPv4 packet right.
pub fn fix_header(packet: &mut [u8]) {
    let header = packet.first().map_or(0, |b| usize::from(b & 15) * 4);
    if header >= 20 && header <= packet.len() {
        put(packet, 10, 0);
        let sum = internet_checksum(&packet[..header]);
        put(packet, 10, sum);
    }
}

/// Any binding that may exist.
pub fn binding(c: &mut Choices) -> ModelBinding {
    let all = candidates();
    c.pick(&all)
}

/// The public side of a binding, mostly with a port of its own.
pub fn subscriber(c: &mut Choices, binding: &ModelBinding) -> End {
    let port = match c.below(12) {
        0 => c.word(),
        1 => c.pick(&[0, 80, 1023, 1024, 65_535]),
        _ => port_of(c, binding),
    };
    End {
        ip: binding.ipv4,
        port,
    }
}

/// The other end: a host of the Internet, rarely something odd.
pub fn remote(c: &mut Choices) -> End {
    let ip = match c.below(24) {
        0 => c.pick(&ODD),
        1 => c.pick(&OWN4),
        2 => Ipv4Addr::from_bits(u32::from(c.word()) << 16 | u32::from(c.word())),
        _ => c.pick(&REMOTE),
    };
    End {
        ip,
        port: c.pick(&[53, 80, 443, 1232, 5353]),
    }
}

fn l4_with_ports(c: &mut Choices, proto: u8, from: End, to: End) -> Vec<u8> {
    let len = c.pick(&LENGTHS);
    let mut l4 = c.body(len.max(4));
    put(&mut l4, 0, from.port);
    put(&mut l4, 2, to.port);
    if proto == 6 {
        l4.resize(l4.len().max(if c.once_in(8) { 12 } else { 20 }), 0);
        tcp_header(c, &mut l4);
    } else if c.once_in(4) {
        l4.resize(l4.len().max(12), 0);
    }
    if proto == 136 && l4.len() >= 8 {
        let coverage = c.pick(&[0, 8, 8, 12, 7, 1, 0xffff, l4.len() as u16]);
        put(&mut l4, 4, coverage);
    }
    l4
}

fn tcp_header(c: &mut Choices, l4: &mut Vec<u8>) {
    if l4.len() < 20 {
        return;
    }
    l4[12] = 0x50;
    l4[13] = c.pick(&[0x10, 0x10, 0x02, 0x12, 0x04, 0x06]);
    if c.once_in(2) {
        let options: &[u8] = match c.below(6) {
            0 => &[2, 4, 0x05, 0xb4],
            1 => &[1, 2, 4, 0x05, 0xb4, 1, 1, 0],
            2 => &[3, 3, 7, 2, 4, 0xff, 0xff, 0],
            3 => &[2, 4, 0x02, 0x00],
            4 => &[1, 1, 0, 2, 4, 0x05, 0xb4, 1],
            _ => &[8, 0, 2, 4, 5, 0xb4, 0, 0],
        };
        l4.resize(l4.len().max(20 + options.len()), 0);
        l4[20..20 + options.len()].copy_from_slice(options);
        l4[12] = (((20 + options.len()) / 4) as u8) << 4;
    }
}

/// An `ICMPv4` message with its checksum, mostly right.
pub fn icmp(c: &mut Choices, kind: u8, code: u8, rest: u32, body: &[u8]) -> Vec<u8> {
    let mut message = vec![kind, code, 0, 0];
    message.extend(rest.to_be_bytes());
    message.extend(body);
    let sum = internet_checksum(&message);
    put(
        &mut message,
        2,
        if c.once_in(16) { sum ^ 0x0100 } else { sum },
    );
    message
}

fn icmp_query(c: &mut Choices, ident: u16) -> Vec<u8> {
    let kind = c.pick(&[8, 8, 8, 0, 0, 13, 14, 10, 17, 40]);
    let len = c.pick(&LENGTHS);
    let body = c.body(len);
    icmp(c, kind, 0, u32::from(ident) << 16 | 1, &body)
}

/// An `ICMPv4` error from `from` about a packet that `about` sent to `to`.
fn icmp_error(c: &mut Choices, about: End, to: End, right: bool) -> Vec<u8> {
    let mut quoted = transport(c, about, to, 3);
    if !right {
        let wrong = c.pick(&[12usize, 15, 16, 19]);
        quoted[wrong] ^= 1;
        fix_header(&mut quoted);
    }
    if c.once_in(12) {
        let at = c.below(24);
        if let Some(byte) = quoted.get_mut(at) {
            *byte ^= 1 << c.below(8);
        }
        if c.once_in(2) {
            fix_header(&mut quoted);
        }
    }
    if c.once_in(10) {
        put(&mut quoted, 6, c.pick(&[0x2000, 1, 0x2003, 0x00b9]));
        fix_header(&mut quoted);
    }
    let cut = c.pick(&[28, 28, 548, 548, 128, 20, 24, 27, 19, 64]);
    quoted.truncate(cut);
    let kind = c.pick(&[3, 3, 3, 11, 12, 4, 5]);
    let code = c.pick(&[0, 1, 3, 4, 13]);
    let mut rest = if (kind, code) == (3, 4) { 1400 } else { 0 };
    if c.once_in(6) {
        // RFC 4884: a padded quote and an extension structure.
        let padded = c.pick(&[128, 128, 32, 64]);
        if quoted.len() <= padded {
            quoted.resize(padded, 0);
            rest |= (padded as u32 / 4) << 16;
            quoted.extend([0x20, 0, 0xdf, 0xf7, 0, 8, 1, 1, 0, 1, 0x21, 0x01]);
        } else {
            rest |= u32::from(c.byte()) << 16;
        }
    }
    icmp(c, kind, code, rest, &quoted)
}

/// An IPv4 packet between two ends. `depth` keeps quotes of quotes short.
pub fn transport(c: &mut Choices, from: End, to: End, depth: usize) -> Vec<u8> {
    let subscriber_port = from.port;
    let (proto, l4) = match c.below(20) {
        0..=6 => (17, l4_with_ports(c, 17, from, to)),
        7..=10 => (6, l4_with_ports(c, 6, from, to)),
        11 | 12 => (
            1,
            icmp_query(
                c,
                if c.clone().once_in(2) {
                    to.port
                } else {
                    from.port
                },
            ),
        ),
        13 => (1, icmp_query(c, subscriber_port)),
        14 | 15 if depth > 0 => {
            let right = !c.once_in(8);
            // Upstream a B4 complains about a packet it got, downstream a router about one it sent.
            (1, icmp_error(c, End { ..to }, End { ..from }, right))
        }
        16 => {
            let proto = c.pick(&[33, 132, 136]);
            (proto, l4_with_ports(c, proto, from, to))
        }
        17 if c.once_in(4) => {
            // IPv6 inside, between the ends of some tunnel.
            let inside = binding(c);
            let ends = (inside.b4, inside.aftr);
            let ends = if c.once_in(2) { ends } else { (ends.1, ends.0) };
            (41, ipv6(c, ends, 17, &[0; 8]))
        }
        17 => {
            let proto = c.pick(&[47, 50, 51, 4, 41, 2, 89, 0, 255]);
            let len = c.pick(&LENGTHS);
            (proto, c.body(len))
        }
        _ => (17, l4_with_ports(c, 17, from, to)),
    };
    ipv4(c, proto, from.ip, to.ip, &l4)
}

/// An IPv4 header, with everything that may vary, in front of `l4`.
pub fn ipv4(c: &mut Choices, proto: u8, src: Ipv4Addr, dst: Ipv4Addr, l4: &[u8]) -> Vec<u8> {
    let options: &[u8] = match c.below(24) {
        0 => &[1, 1, 1, 1],
        1 => &[148, 4, 0, 0],
        2 => &[7, 7, 4, 0, 0, 0, 0, 0],
        3 => &[131, 7, 4, 1, 2, 3, 4, 0],
        4 => &[7, 3, 4, 148, 4, 0, 0, 131, 3, 4, 0, 0],
        5 => &[7, 0, 9, 9],
        _ => &[],
    };
    let tos = if c.once_in(2) { c.byte() } else { 0 };
    let ttl = c.pick(&[64, 64, 64, 64, 64, 64, 64, 255, 2, 1, 0, 128]);
    let flags = c.pick(&[0x4000u16, 0x4000, 0, 0, 0, 0x8000]);
    let ident = c.pick(&[0, 1, 2, 3, c.clone().word(), c.clone().word()]);
    let mut packet = vec![0x45 + (options.len() / 4) as u8, tos];
    packet.extend((20 + options.len() as u16 + l4.len() as u16).to_be_bytes());
    packet.extend(ident.to_be_bytes());
    packet.extend([(flags >> 8) as u8, 0, ttl, proto, 0, 0]);
    packet.extend(src.octets());
    packet.extend(dst.octets());
    packet.extend(options);
    packet.extend(l4);
    fix_header(&mut packet);
    packet
}

/// Damages a packet in one place, now and then.
pub fn maybe_damage(c: &mut Choices, packet: &mut Vec<u8>) {
    match c.below(40) {
        0 | 1 => {
            // Headers are more interesting than data.
            let range = if c.once_in(2) {
                packet.len()
            } else {
                packet.len().min(80)
            };
            if range > 0 {
                let at = c.below(range);
                packet[at] ^= 1 << c.below(8);
            }
        }
        2 => {
            let len = c.below(packet.len() + 1);
            packet.truncate(len);
        }
        3 | 4 => {
            let pad = 1 + c.below(46);
            packet.resize(packet.len() + pad, 0);
        }
        5 => {
            let at = c.below(packet.len().clamp(1, 60));
            if let Some(byte) = packet.get_mut(at) {
                *byte = c.byte();
            }
        }
        _ => {}
    }
}

/// Damages an IPv4 header in a way that its checksum hides, now and then.
pub fn maybe_bend(c: &mut Choices, packet: &mut [u8]) {
    if c.once_in(16) && packet.len() >= 20 {
        let at = c.below(20);
        packet[at] ^= 1 << c.below(8);
        fix_header(packet);
    }
}

/// A size that mostly gives a handful of pieces, rarely very many.
fn piece_size(c: &mut Choices, sizes: &[usize], len: usize) -> usize {
    let most = if c.once_in(48) { 80 } else { 6 };
    c.pick(sizes).max((len / most).next_multiple_of(8))
}

/// Cuts an IPv4 packet into fragments as a host or router would.
pub fn cut_v4(c: &mut Choices, packet: &[u8]) -> Vec<Vec<u8>> {
    let header = usize::from(packet[0] & 15) * 4;
    let payload = &packet[header..];
    if payload.is_empty() {
        return vec![packet.to_vec()];
    }
    let room = piece_size(c, &[8, 16, 24, 64, 256, 512, 1024], payload.len());
    let mut on_the_way = c.clone();
    let marks = on_the_way.once_in(8);
    let mut pieces = Vec::new();
    for (n, part) in payload.chunks(room).enumerate() {
        let mut piece = packet[..header].to_vec();
        let more = (n + 1) * room < payload.len();
        put(&mut piece, 6, u16::from(more) << 13 | (n * room / 8) as u16);
        put(&mut piece, 2, (header + part.len()) as u16);
        piece.extend(part);
        if marks {
            piece[1] = (piece[1] & 0xfc) | on_the_way.pick(&[1, 2, 3, 3, 0]);
        }
        fix_header(&mut piece);
        pieces.push(piece);
    }
    pieces
}

/// Outer addresses for a binding, sometimes not its own.
pub fn tunnel_ends(c: &mut Choices, binding: &ModelBinding) -> (Ipv6Addr, Ipv6Addr) {
    let src = match c.below(20) {
        0 => b4(1 + c.below(16) as u16),
        1 => b4(99),
        2 => c.pick(&[
            Ipv6Addr::UNSPECIFIED,
            Ipv6Addr::LOCALHOST,
            Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1),
            Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1),
            Ipv6Addr::new(0x2001, 0xdb8, 0x99, 0, 0, 0, 0, 1),
        ]),
        _ => binding.b4,
    };
    let dst = match c.below(20) {
        0 => c.pick(&AFTR),
        1 => c.pick(&[OWN6, b4(1), Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1)]),
        _ => binding.aftr,
    };
    (src, dst)
}

/// An IPv6 packet around `payload`, with extension headers now and then.
pub fn ipv6(c: &mut Choices, ends: (Ipv6Addr, Ipv6Addr), next: u8, payload: &[u8]) -> Vec<u8> {
    let tc = if c.once_in(2) { c.byte() } else { 0 };
    let label = u32::from(c.word()) & 0xf_ffff;
    let hop = c.pick(&[64, 64, 255, 1, 0]);
    let (first, extension) = if c.once_in(5) {
        extensions(c, next)
    } else {
        (next, Vec::new())
    };
    let mut packet = (6 << 28 | u32::from(tc) << 20 | label)
        .to_be_bytes()
        .to_vec();
    packet.extend(((extension.len() + payload.len()) as u16).to_be_bytes());
    packet.extend([first, hop]);
    packet.extend(ends.0.octets());
    packet.extend(ends.1.octets());
    packet.extend(extension);
    packet.extend(payload);
    packet
}

/// A chain of extension headers that ends in `next`; and its first protocol.
fn extensions(c: &mut Choices, next: u8) -> (u8, Vec<u8>) {
    let mut kinds = vec![60u8];
    match c.below(10) {
        0 => kinds = vec![0],
        1 => kinds = vec![0, 60],
        2 => kinds = vec![60, 0],
        3 => kinds = vec![43],
        4 => kinds = vec![44],
        5 => kinds = vec![44, 60],
        6 => kinds = vec![60; 1 + c.below(10)],
        _ => {}
    }
    let mut bytes = Vec::new();
    for (n, &kind) in kinds.iter().enumerate() {
        let following = kinds.get(n + 1).copied().unwrap_or(next);
        match kind {
            44 => bytes.extend([following, 0, 0, 0, 0, 0, 0, c.byte()]),
            43 => bytes.extend([
                following,
                0,
                c.pick(&[0, 3, 4]),
                c.pick(&[0, 0, 1]),
                0,
                0,
                0,
                0,
            ]),
            _ => options(c, following, &mut bytes),
        }
    }
    let first = kinds[0];
    (first, bytes)
}

fn options(c: &mut Choices, following: u8, bytes: &mut Vec<u8>) {
    match c.below(10) {
        0 => bytes.extend([following, 0, 0x1e, 1, 0, 1, 1, 0]),
        1 => bytes.extend([following, 0, c.pick(&[0x5e, 0x9e, 0xde]), 2, 0, 0, 1, 0]),
        2 => bytes.extend([following, 0, 1, 4, 0, 0, 0, 0]),
        3 => {
            let units = c.pick(&[1u8, 3, 15, 31]);
            bytes.extend([following, units, 1]);
            let len = usize::from(units) * 8 + 8 - 4;
            bytes.push(len.min(255) as u8);
            bytes.extend(vec![0; len]);
        }
        4 => bytes.extend([following, 0, 1, c.byte(), 0, 0, 0, 0]),
        _ => bytes.extend([following, 0, 4, 1, 4, 1, 1, 0]),
    }
}

/// Cuts an IPv6 packet into fragments; what precedes `at` stays in each.
pub fn cut_v6(c: &mut Choices, packet: &[u8], id: u32) -> Vec<Vec<u8>> {
    let payload = &packet[40..];
    if payload.is_empty() {
        return vec![packet.to_vec()];
    }
    let room = piece_size(c, &[8, 48, 64, 256, 512, 1232], payload.len());
    let marks = c.once_in(8);
    let mut pieces = Vec::new();
    for (n, part) in payload.chunks(room).enumerate() {
        let mut piece = packet[..40].to_vec();
        let more = (n + 1) * room < payload.len();
        piece.extend([packet[6], 0]);
        piece.extend(((n * room) as u16 | u16::from(more)).to_be_bytes());
        piece.extend(id.to_be_bytes());
        piece.extend(part);
        piece[6] = 44;
        put(&mut piece, 4, (8 + part.len()) as u16);
        if marks {
            piece[1] = (piece[1] & 0xcf) | c.pick(&[0x10, 0x20, 0x30, 0x30, 0x00]);
        }
        pieces.push(piece);
    }
    pieces
}

/// An `ICMPv6` packet.
pub fn icmpv6(c: &mut Choices, ends: (Ipv6Addr, Ipv6Addr), message: &[u8]) -> Vec<u8> {
    let mut message = message.to_vec();
    put(&mut message, 2, 0);
    let sum = icmpv6_checksum(ends.0, ends.1, &message);
    put(&mut message, 2, if c.once_in(24) { sum ^ 1 } else { sum });
    ipv6(c, ends, 58, &message)
}

/// An `ICMPv6` tunnel error about a packet that went to `binding`, true or forged.
pub fn tunnel_error(c: &mut Choices, binding: &ModelBinding) -> Vec<u8> {
    let to = subscriber(c, binding);
    let from = if c.once_in(8) {
        let other = self::binding(c);
        subscriber(c, &other)
    } else {
        remote(c)
    };
    let mut inner = transport(c, from, to, 1);
    if c.once_in(12) {
        let pieces = cut_v4(c, &inner);
        inner = pieces[c.below(pieces.len())].clone();
    }
    let mut ends = (binding.aftr, binding.b4);
    match c.below(16) {
        0 => ends.0 = c.pick(&AFTR),
        1 => ends.1 = b4(1 + c.below(16) as u16),
        2 => ends.1 = b4(99),
        _ => {}
    }
    let mut quote = ipv6(c, ends, 4, &inner);
    if c.once_in(8) {
        let pieces = cut_v6(c, &quote, 7);
        quote = pieces[c.below(pieces.len().min(2))].clone();
    }
    let cut = c.pick(&[1232, 1232, 1232, 68, 76, 60, 67, 40, 39, 128, 96]);
    quote.truncate(cut);
    let (kind, code, word) = match c.below(12) {
        0..=2 => (1, c.pick(&[0, 3, 4, 5]), 0),
        3..=6 => (
            2,
            0,
            c.pick(&[1400, 1280, 1279, 1500, 9000, 0x0001_0514, 1340, 0]),
        ),
        7 => (3, 0, 0),
        8 => (3, 1, 0),
        9 | 10 => (4, 0, c.pick(&[44, 52, 6, 40])),
        _ => (4, 1, 6),
    };
    // Now and then the limit in the quote has run out.
    if kind == 4 && quote.len() > 44 && c.once_in(2) {
        quote[44] = 0;
    }
    let mut message = vec![kind, code, 0, 0];
    message.extend(u32::to_be_bytes(word));
    if matches!(kind, 1 | 3) && c.once_in(8) && quote.len() < 256 {
        quote.resize(quote.len().next_multiple_of(8), 0);
        message[4] = (quote.len() / 8) as u8;
        quote.extend([0x20, 0, 0xdf, 0xf7, 0, 8, 1, 1, 0, 1, 0x21, 0x01]);
    }
    message.extend(quote);
    let router = Ipv6Addr::new(0x2001, 0xdb8, 0x77, 0, 0, 0, 0, 1);
    let src = if c.once_in(2) { router } else { binding.b4 };
    icmpv6(c, (src, binding.aftr), &message)
}

/// Reads the 16-bit field at `at`, zero beyond the end.
#[must_use]
pub fn field(packet: &[u8], at: usize) -> u16 {
    get(packet, at)
}
