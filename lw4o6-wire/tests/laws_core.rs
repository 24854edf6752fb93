//! Laws of headers, checksums, port sets, extension headers and frames over random input.
//!
//! The number of cases scales with the environment variable `LW4O6_SCALE`.

use std::net::{Ipv4Addr, Ipv6Addr};

use lw4o6_wire::checksum::{Sum, Update, checksum, pseudo_v4, pseudo_v6, udp_wire};
use lw4o6_wire::ipv6_ext::{MAX_EXT_BYTES, walk, walk_from};
use lw4o6_wire::{
    ExtProblem, FragmentHeader, FrameBuf, IpProtocol, Ipv4Fields, Ipv4Header, Ipv4Packet,
    Ipv6Fields, Ipv6Header, Ipv6Prefix, PortParams, b4_address, ipv4,
};
use proptest::collection::vec;
use proptest::prelude::*;

fn cases() -> ProptestConfig {
    let scale = std::env::var("LW4O6_SCALE").ok();
    let scale: u32 = scale.and_then(|s| s.parse().ok()).unwrap_or(1);
    ProptestConfig::with_cases(512 * scale.max(1))
}

prop_compose! {
    fn ipv4_fields()(
        (tos, ident, ttl, protocol) in any::<(u8, u16, u8, u8)>(),
        (dont_fragment, more_fragments, offset) in any::<(bool, bool, u16)>(),
        total_len in 20..=u16::MAX,
        (src, dst) in any::<(Ipv4Addr, Ipv4Addr)>(),
    ) -> Ipv4Fields {
        Ipv4Fields {
            tos,
            total_len,
            ident,
            dont_fragment,
            more_fragments,
            fragment_offset: offset & !7,
            ttl,
            protocol: IpProtocol(protocol),
            src,
            dst,
        }
    }
}

prop_compose! {
    fn ipv6_fields()(
        (traffic_class, payload_len, next, hop_limit) in any::<(u8, u16, u8, u8)>(),
        flow_label in 0..=0x000f_ffff_u32,
        (src, dst) in any::<(Ipv6Addr, Ipv6Addr)>(),
    ) -> Ipv6Fields {
        Ipv6Fields {
            traffic_class,
            flow_label,
            payload_len,
            next_header: IpProtocol(next),
            hop_limit,
            src,
            dst,
        }
    }
}

prop_compose! {
    fn port_params()(offset in 0..=16_u8)(
        offset in Just(offset),
        len in 0..=16 - offset,
        psid in any::<u16>(),
    ) -> PortParams {
        let psid = psid.checked_shr((16 - len).into()).unwrap_or(0);
        PortParams::new(offset, len, psid).unwrap_or(PortParams::FULL)
    }
}

prop_compose! {
    fn fragment_header()(
        (next, offset, more, ident) in any::<(u8, u16, bool, u32)>(),
    ) -> FragmentHeader {
        FragmentHeader { next: IpProtocol(next), offset: offset & !7, more, ident }
    }
}

/// A chain of options and routing headers that may be walked, and its first header.
fn chain() -> impl Strategy<Value = (u8, Vec<u8>)> {
    let kinds = prop_oneof![Just(60_u8), Just(43)];
    vec((kinds, 0..10_u8), 0..8).prop_map(|headers| {
        let mut bytes = Vec::new();
        for (n, (kind, units)) in headers.iter().enumerate() {
            let next = headers.get(n + 1).map_or(4, |h| h.0);
            bytes.extend([next, *units]);
            if *kind == 43 {
                bytes.extend([0, 0]); // type 0, no segments left
            } else {
                bytes.extend([1, units * 8 + 4]); // PadN
            }
            bytes.resize(bytes.len() + usize::from(*units) * 8 + 4, 0xee);
        }
        (headers.first().map_or(4, |h| h.0), bytes)
    })
}

/// A packet with the given options and a right checksum.
#[expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "the header has 20 bytes"
)]
fn ipv4_packet(fields: Ipv4Fields, options: &[u8], payload: &[u8]) -> Vec<u8> {
    let len = 20 + options.len() + payload.len();
    let total_len = u16::try_from(len).unwrap();
    let header = Ipv4Fields {
        total_len,
        ..fields
    }
    .to_bytes();
    let mut packet = [&header[..], options, payload].concat();
    packet[0] = 0x40 | u8::try_from(5 + options.len() / 4).unwrap();
    packet[10..12].fill(0);
    let sum = checksum(&packet[..20 + options.len()]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet
}

/// Asserts that `set` changes nothing but the bits of `mask`, a list of (byte, bits).
fn only<const N: usize>(before: [u8; N], mask: &[(usize, u8)], set: impl FnOnce(&mut [u8; N])) {
    let mut after = before;
    set(&mut after);
    for (n, (old, new)) in before.iter().zip(after).enumerate() {
        let bits: u8 = mask.iter().filter(|m| m.0 == n).map(|m| m.1).sum();
        assert_eq!((old ^ new) & !bits, 0, "byte {n}");
    }
}

fn whole(bytes: std::ops::Range<usize>) -> Vec<(usize, u8)> {
    bytes.map(|n| (n, 0xff)).collect()
}

proptest! {
    #![proptest_config(cases())]

    //
    #[test]
    fn ipv4_emitted_is_parsed(
        fields in ipv4_fields(),
        options in vec(any::<u8>(), 0..=40),
        payload in vec(any::<u8>(), 0..64),
        padding in vec(any::<u8>(), 0..8),
    ) {
        let options = &options[..options.len() / 4 * 4];
        let bytes = ipv4_packet(fields, options, &payload);
        let padded = [&bytes[..], &padding].concat();
        let packet = Ipv4Packet::split(&padded).unwrap();
        let total_len = packet.header.total_len();
        prop_assert_eq!(packet.header.fields(), Ipv4Fields { total_len, ..fields });
        prop_assert_eq!((packet.options, packet.payload), (options, &payload[..]));
        prop_assert_eq!(packet.total_len(), bytes.len());
        prop_assert!(packet.header_checksum_ok());
        let quote = Ipv4Packet::split_quoted(&padded).unwrap();
        prop_assert_eq!((quote.header, quote.payload), (packet.header, packet.payload));
    }

    //
    #[test]
    fn ipv4_prefixes_are_refused(
        fields in ipv4_fields(),
        options in 0..=10_usize,
        payload in 0..40_usize,
    ) {
        let bytes = ipv4_packet(fields, &vec![1; options * 4], &vec![0; payload]);
        for len in 0..bytes.len() {
            prop_assert!(Ipv4Packet::split(&bytes[..len]).is_err());
        }
    }

    //
    #[test]
    fn ipv4_parsed_is_emitted(mut bytes in any::<[u8; 20]>()) {
        bytes[0] = 0x45;
        bytes[6] &= 0x7f;
        bytes[10..12].fill(0);
        let sum = checksum(&bytes);
        bytes[10..12].copy_from_slice(&sum.to_be_bytes());
        prop_assert_eq!(Ipv4Header::new(&bytes).fields().to_bytes(), bytes);
    }

    #[test]
    fn ipv4_setters_change_only_their_bits(bytes in any::<[u8; 20]>(), f in ipv4_fields()) {
        type H<'a> = Ipv4Header<&'a mut [u8; 20]>;
        only(bytes, &whole(1..2), |b| H::new(b).set_tos(f.tos));
        only(bytes, &whole(2..4), |b| H::new(b).set_total_len(f.total_len));
        only(bytes, &whole(4..6), |b| H::new(b).set_ident(f.ident));
        only(bytes, &[(6, 0x7f), (7, 0xff)], |b| {
            H::new(b).set_flags_offset(f.dont_fragment, f.more_fragments, f.fragment_offset);
        });
        only(bytes, &whole(8..9), |b| H::new(b).set_ttl(f.ttl));
        only(bytes, &whole(9..10), |b| H::new(b).set_protocol(f.protocol));
        only(bytes, &whole(10..12), |b| H::new(b).set_checksum(f.ident));
        only(bytes, &whole(12..16), |b| H::new(b).set_src(f.src));
        only(bytes, &whole(16..20), |b| H::new(b).set_dst(f.dst));
        only(bytes, &[(8, 0xff), (10, 0xff), (11, 0xff)], ipv4::decrement_ttl);
        only(bytes, &[(1, 0xff), (10, 0xff), (11, 0xff)], |b| ipv4::set_tos(b, f.tos));
        let mut header = Ipv4Header::new(bytes);
        header.set_tos(f.tos);
        header.set_total_len(f.total_len);
        header.set_ident(f.ident);
        header.set_flags_offset(f.dont_fragment, f.more_fragments, f.fragment_offset);
        header.set_ttl(f.ttl);
        header.set_protocol(f.protocol);
        header.set_checksum(f.ident);
        header.set_src(f.src);
        header.set_dst(f.dst);
        prop_assert_eq!((header.fields(), header.checksum()), (f, f.ident));
    }

    //
    #[test]
    fn rewriting_keeps_the_header_checksum(mut fields in ipv4_fields(), tos in any::<u8>()) {
        let mut header = fields.to_bytes();
        ipv4::decrement_ttl(&mut header);
        ipv4::set_tos(&mut header, tos);
        fields.ttl = fields.ttl.saturating_sub(1);
        fields.tos = tos;
        prop_assert_eq!(header, fields.to_bytes());
    }

    //
    #[test]
    fn ipv6_emitted_is_parsed(
        fields in ipv6_fields(),
        payload in vec(any::<u8>(), 0..64),
        padding in vec(any::<u8>(), 0..8),
    ) {
        let fields = Ipv6Fields { payload_len: u16::try_from(payload.len()).unwrap(), ..fields };
        let bytes = [&fields.to_bytes()[..], &payload, &padding].concat();
        let (header, rest) = Ipv6Header::split(&bytes).unwrap();
        prop_assert_eq!((header.fields(), rest), (fields, &payload[..]));
        prop_assert_eq!(Ipv6Header::split_quoted(&bytes), Ok((header, rest)));
        for len in 0..40 + payload.len() {
            prop_assert!(Ipv6Header::split(&bytes[..len]).is_err());
        }
    }

    //
    #[test]
    fn ipv6_parsed_is_emitted(mut bytes in any::<[u8; 40]>()) {
        bytes[0] = 0x60 | bytes[0] & 0x0f;
        prop_assert_eq!(Ipv6Header::new(&bytes).fields().to_bytes(), bytes);
    }

    #[test]
    fn ipv6_setters_change_only_their_bits(bytes in any::<[u8; 40]>(), f in ipv6_fields()) {
        type H<'a> = Ipv6Header<&'a mut [u8; 40]>;
        only(bytes, &[(0, 0x0f), (1, 0xf0)], |b| H::new(b).set_traffic_class(f.traffic_class));
        only(bytes, &[(1, 0x0f), (2, 0xff), (3, 0xff)], |b| H::new(b).set_flow_label(f.flow_label));
        only(bytes, &[(1, 0x0f), (2, 0xff), (3, 0xff)], |b| H::new(b).set_flow_label(u32::MAX));
        only(bytes, &whole(4..6), |b| H::new(b).set_payload_len(f.payload_len));
        only(bytes, &whole(6..7), |b| H::new(b).set_next_header(f.next_header));
        only(bytes, &whole(7..8), |b| H::new(b).set_hop_limit(f.hop_limit));
        only(bytes, &whole(8..24), |b| H::new(b).set_src(f.src));
        only(bytes, &whole(24..40), |b| H::new(b).set_dst(f.dst));
        let mut header = Ipv6Header::new(bytes);
        header.set_traffic_class(f.traffic_class);
        header.set_flow_label(f.flow_label);
        header.set_payload_len(f.payload_len);
        header.set_next_header(f.next_header);
        header.set_hop_limit(f.hop_limit);
        header.set_src(f.src);
        header.set_dst(f.dst);
        prop_assert_eq!(header.fields(), f);
        prop_assert_eq!(header.version(), bytes[0] >> 4);
    }

    //
    #[test]
    fn fragment_headers_survive(header in fragment_header(), bytes in any::<[u8; 8]>()) {
        prop_assert_eq!(FragmentHeader::parse(&header.to_bytes()), header);
        let canonical = {
            let mut bytes = bytes;
            bytes[1] = 0;
            bytes[3] &= 0xf9;
            bytes
        };
        prop_assert_eq!(FragmentHeader::parse(&bytes).to_bytes(), canonical);
    }

    //
    #[test]
    fn an_incremental_checksum_is_the_full_one(
        before in vec(any::<u8>(), 1..200),
        change in vec(any::<u8>(), 0..32),
        at in any::<prop::sample::Index>(),
    ) {
        let at = at.index(before.len()) & !1;
        let mut after = before.clone();
        let end = (at + change.len()).min(before.len());
        after[at..end].copy_from_slice(&change[..end - at]);
        prop_assume!(after.iter().any(|b| *b != 0) && before.iter().any(|b| *b != 0));
        let full = checksum(&after);
        let update = Update::new(checksum(&before)).bytes(&before[at..end], &after[at..end]);
        prop_assert_eq!(update.finish(), full);
        let mut words = Update::new(checksum(&before));
        let word = |b: &[u8]| u16::from_be_bytes([b[0], *b.get(1).unwrap_or(&0)]);
        for (old, new) in before.chunks(2).zip(after.chunks(2)) {
            words = words.u16(word(old), word(new));
        }
        prop_assert_eq!(words.finish(), full);
        let mut quads = Update::new(checksum(&before));
        let quad = |b: &[u8]| {
            let mut bytes = [0; 4];
            bytes[..b.len()].copy_from_slice(b);
            u32::from_be_bytes(bytes)
        };
        for (old, new) in before.chunks(4).zip(after.chunks(4)) {
            quads = quads.u32(quad(old), quad(new));
        }
        prop_assert_eq!(quads.finish(), full);
    }

    //
    #[test]
    fn a_stored_checksum_verifies(
        mut data in vec(any::<u8>(), 2..300),
        at in any::<prop::sample::Index>(),
    ) {
        let at = at.index(data.len() / 2) * 2;
        data[at..at + 2].fill(0);
        let sum = checksum(&data);
        data[at..at + 2].copy_from_slice(&sum.to_be_bytes());
        prop_assert!(lw4o6_wire::checksum::verify(&data));
    }

    //
    #[test]
    fn pseudo_headers_count_like_their_bytes(
        (src4, dst4, src6, dst6) in any::<(Ipv4Addr, Ipv4Addr, Ipv6Addr, Ipv6Addr)>(),
        (proto, len) in any::<(u8, u16)>(),
        data in vec(any::<u8>(), 0..64),
    ) {
        let proto = IpProtocol(proto);
        let [high, low] = len.to_be_bytes();
        let v4 = [&src4.octets()[..], &dst4.octets(), &[0, proto.0, high, low], &data].concat();
        let mut sum = pseudo_v4(src4, dst4, proto, len);
        prop_assert_eq!(sum.add(&data).finish(), checksum(&v4));
        let tail = [0, 0, high, low, 0, 0, 0, proto.0];
        let v6 = [&src6.octets()[..], &dst6.octets(), &tail, &data].concat();
        let mut sum: Sum = pseudo_v6(src6, dst6, proto, len.into());
        prop_assert_eq!(sum.add(&data).finish(), checksum(&v6));
        prop_assert_ne!(udp_wire(sum.finish()), 0);
    }

    //
    #[test]
    fn a_good_chain_is_walked_to_its_end(
        (first, chain) in chain(),
        upper in vec(any::<u8>(), 0..16),
    ) {
        let bytes = [&chain[..], &upper].concat();
        let walked = walk(IpProtocol(first), &bytes);
        if chain.len() > MAX_EXT_BYTES {
            prop_assert_eq!(walked, Err(ExtProblem::TooMany));
            return Ok(());
        }
        let walked = walked.unwrap();
        prop_assert_eq!((walked.next, walked.offset), (IpProtocol::IPV4, chain.len()));
        prop_assert_eq!(walked.payload, &upper[..]);
        for len in 0..chain.len() {
            let cut = walk(IpProtocol(first), &bytes[..len]);
            prop_assert_eq!(cut, Err(ExtProblem::Truncated));
        }
    }

    //
    #[test]
    fn a_walk_over_anything_stays_inside(
        first in prop::sample::select(vec![0_u8, 43, 44, 60, 4]),
        mut bytes in vec(any::<u8>(), 0..300),
        seeds in vec((0..300_usize, prop::sample::select(vec![0_u8, 1, 4, 43, 44, 60])), 0..60),
    ) {
        for (at, value) in seeds {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
        }
        let walks = [
            walk(IpProtocol(first), &bytes),
            walk_from(IpProtocol(first), 40, 48, &bytes),
        ];
        for walked in walks.into_iter().flatten() {
            let behind = walked.past_fragment();
            for walked in [Some(walked), behind.ok()].into_iter().flatten() {
                let header = if walked.fragment.is_some() { 8 } else { 0 };
                prop_assert_eq!(walked.payload, &bytes[walked.offset + header..]);
                prop_assert!(walked.offset + header <= MAX_EXT_BYTES);
                prop_assert_eq!(walked.fragment.is_some(), walked.next == IpProtocol::FRAGMENT);
            }
        }
    }

    //
    #[test]
    fn no_bytes_break_a_parser(mut bytes in vec(any::<u8>(), 0..100), version in 4..=6_u8) {
        if let Some(byte) = bytes.first_mut() {
            *byte = version << 4 | *byte & 0x0f;
        }
        if let Ok(packet) = Ipv4Packet::split(&bytes) {
            prop_assert!(packet.total_len() <= bytes.len());
            prop_assert_eq!(packet.total_len(), usize::from(packet.header.total_len()));
        }
        if let Ok(quote) = Ipv4Packet::split_quoted(&bytes) {
            let len = 20 + quote.options.len() + quote.payload.len();
            prop_assert!(len <= bytes.len().min(quote.header.total_len().into()));
        }
        if let Ok((header, payload)) = Ipv6Header::split(&bytes) {
            prop_assert_eq!(payload.len(), usize::from(header.payload_len()));
        }
    }

    //
    #[test]
    fn port_sets_agree_with_themselves(
        (set, other) in (port_params(), port_params()),
        port in any::<u16>(),
    ) {
        let (a, k) = (set.offset(), set.len());
        prop_assert_eq!(PortParams::new(a, k, set.psid()), Ok(set));
        prop_assert_eq!(PortParams::from_left_aligned(a, k, set.left_aligned()), Ok(set));
        let owner = PortParams::psid_of(a, k, port);
        prop_assert_eq!(set.contains(port), owner == Some(set.psid()));
        prop_assert_eq!(set.contains(port), set.ranges().any(|r| r.contains(&port)));
        if set.contains(port) && other.contains(port) {
            prop_assert!(set.overlaps(&other) && other.overlaps(&set));
        }
        prop_assert!(set.overlaps(&set));
    }

    //
    #[test]
    fn a_b4_address_is_in_its_prefix(
        (addr, v4, psid) in any::<(Ipv6Addr, Ipv4Addr, Option<u16>)>(),
        len in 0..=128_u8,
    ) {
        let prefix = Ipv6Prefix::new(addr, len).unwrap();
        prop_assert_eq!(prefix.to_string().parse(), Ok(prefix));
        let b4 = b4_address(prefix, v4, psid);
        prop_assert!(prefix.contains(b4));
        let suffix = u128::from(v4.to_bits()) << 16 | u128::from(psid.unwrap_or(0));
        let below = u128::MAX.checked_shr(len.into()).unwrap_or(0);
        prop_assert_eq!(b4.to_bits() & below, suffix & below);
    }
}

/// One call on a frame.
#[derive(Clone, Debug)]
enum Op {
    Push([u8; 5]),
    TrimFront(usize),
    Truncate(usize),
    Grow(Vec<u8>),
    Set(usize, Vec<u8>),
    Shift(usize),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        any::<[u8; 5]>().prop_map(Op::Push),
        (0..20_usize).prop_map(Op::TrimFront),
        (0..40_usize).prop_map(Op::Truncate),
        vec(any::<u8>(), 0..12).prop_map(Op::Grow),
        (0..40_usize, vec(any::<u8>(), 0..20)).prop_map(|(n, p)| Op::Set(n, p)),
        (0..70_usize).prop_map(Op::Shift),
    ]
}

proptest! {
    #![proptest_config(cases())]

    /// A frame is a vector and a number, and a refused call changes neither.
    #[test]
    fn a_frame_behaves_like_a_vector(ops in vec(op(), 0..40)) {
        let mut storage = [0; 64];
        let mut frame = FrameBuf::new(&mut storage, 16, 0).unwrap();
        let (mut headroom, mut packet) = (16_usize, Vec::new());
        for op in ops {
            match op {
                Op::Push(header) => {
                    let fits = headroom >= 5;
                    prop_assert_eq!(frame.push_front(&header).is_ok(), fits);
                    if fits {
                        headroom -= 5;
                        packet.splice(0..0, header);
                    }
                }
                Op::TrimFront(n) => {
                    frame.trim_front(n);
                    headroom += n.min(packet.len());
                    packet.drain(..n.min(packet.len()));
                }
                Op::Truncate(n) => {
                    frame.truncate(n);
                    packet.truncate(n);
                }
                Op::Grow(bytes) => {
                    let fits = headroom + packet.len() + bytes.len() <= 64;
                    let grown = frame.grow_back(bytes.len());
                    prop_assert_eq!(grown.is_ok(), fits);
                    if let Ok(room) = grown {
                        room.copy_from_slice(&bytes);
                        packet.extend(bytes);
                    }
                }
                Op::Set(n, bytes) => {
                    let fits = n + bytes.len() <= 64;
                    prop_assert_eq!(frame.set_packet(n, &bytes).is_ok(), fits);
                    if fits {
                        (headroom, packet) = (n, bytes);
                    }
                }
                Op::Shift(n) => {
                    let fits = n + packet.len() <= 64;
                    prop_assert_eq!(frame.shift_to(n).is_ok(), fits);
                    if fits {
                        headroom = n;
                    }
                }
            }
            prop_assert_eq!((frame.headroom(), frame.packet()), (headroom, &packet[..]));
            prop_assert_eq!(frame.headroom() + frame.len() + frame.tailroom(), 64);
            prop_assert_eq!(frame.is_empty(), packet.is_empty());
            prop_assert_eq!(frame.packet_mut(), &mut packet[..]);
        }
    }
}
