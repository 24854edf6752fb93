use core::net::{Ipv4Addr, Ipv6Addr};

use lw4o6_wire::{Ipv4Fields, Ipv6Fields};
use proptest::prelude::*;

use super::*;

const HEADROOM: usize = lw4o6_wire::HEADROOM;

fn ranges(pieces: impl Iterator<Item = PieceRange>) -> Vec<(usize, usize, bool)> {
    pieces.map(|p| (p.offset, p.len, p.more)).collect()
}

fn payload(len: usize) -> Vec<u8> {
    (0..len)
        .map(|i| u8::try_from(i * 31 % 253).unwrap())
        .collect()
}

/// An IPv6 packet that carries `payload`.
fn ipv6(payload: &[u8]) -> Vec<u8> {
    let fields = Ipv6Fields {
        traffic_class: 0xb9,
        flow_label: 0xabcde,
        payload_len: payload.len().try_into().unwrap(),
        next_header: IpProtocol::IPV4,
        hop_limit: 64,
        src: Ipv6Addr::LOCALHOST,
        dst: Ipv6Addr::UNSPECIFIED,
    };
    [&fields.to_bytes()[..], payload].concat()
}

fn ipv4(offset: u16, more: bool, dont_fragment: bool, options: &[u8], payload: &[u8]) -> Vec<u8> {
    let total = 20 + options.len() + payload.len();
    let fields = Ipv4Fields {
        tos: 0x2e,
        total_len: total.try_into().unwrap(),
        ident: 0xbeef,
        dont_fragment,
        more_fragments: more,
        fragment_offset: offset,
        ttl: 60,
        protocol: IpProtocol::UDP,
        src: Ipv4Addr::new(192, 0, 2, 18),
        dst: Ipv4Addr::new(198, 51, 100, 1),
    };
    let mut header = fields.to_bytes();
    header[0] = 0x45 + u8::try_from(options.len() / 4).unwrap();
    header[10..12].fill(0);
    let sum = checksum::checksum(&[&header[..], options].concat());
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    [&header[..], options, payload].concat()
}

/// Runs `cut` on `packet`; returns all pieces in order.
fn cut(
    packet: &[u8],
    cut: impl FnOnce(&mut FrameBuf<'_>, &mut Vec<Vec<u8>>) -> Result<usize, SplitError>,
) -> Result<Vec<Vec<u8>>, SplitError> {
    let mut storage = vec![0; HEADROOM + packet.len()];
    let mut frame = FrameBuf::with_headroom(&mut storage, HEADROOM, packet).unwrap();
    let mut rest = Vec::new();
    let result = cut(&mut frame, &mut rest);
    if let Err(error) = result {
        assert_eq!(frame.packet(), packet, "unchanged after {error:?}");
        return Err(error);
    }
    let mut all = vec![frame.packet().to_vec()];
    all.extend(rest);
    assert_eq!(result, Ok(all.len()));
    Ok(all)
}

fn cut_ipv6(packet: &[u8], mtu: u16, ident: u32) -> Result<Vec<Vec<u8>>, SplitError> {
    cut(packet, |frame, rest| {
        split_ipv6(frame, mtu, ident, |parts| {
            rest.push(parts.concat());
            true
        })
    })
}

fn cut_ipv4(packet: &[u8], mtu: u16) -> Result<Vec<Vec<u8>>, SplitError> {
    cut(packet, |frame, rest| {
        split_ipv4(frame, mtu, |parts| {
            rest.push(parts.concat());
            true
        })
    })
}

#[test]
fn a_1500_byte_packet_is_cut_as_specified() {
    // the table of the specification's section 10.1.
    let table = [
        (1500, vec![(0, 1448, true), (1448, 52, false)]),
        (1492, vec![(0, 1440, true), (1440, 60, false)]),
        (1480, vec![(0, 1432, true), (1432, 68, false)]),
        (1280, vec![(0, 1232, true), (1232, 268, false)]),
    ];
    for (mtu, expected) in table {
        assert_eq!(ranges(ipv6_pieces(1500, mtu)), expected, "MTU {mtu}");
        let packet = ipv6(&payload(1500));
        let wire: Vec<usize> = cut_ipv6(&packet, mtu, 1)
            .unwrap()
            .iter()
            .map(Vec::len)
            .collect();
        assert_eq!(wire, [48 + expected[0].1, 48 + expected[1].1]);
    }
    let fits = ipv6(&payload(1460));
    assert_eq!(cut_ipv6(&fits, 1500, 1).unwrap(), [fits]);
}

#[test]
fn the_last_piece_fills_its_packet() {
    // A packet of 1500 bytes has room for 1452, of which 1448 are a multiple of 8.
    for last in [1, 4, 1448, 1449, 1452] {
        let alone = [(0, last, false)];
        assert_eq!(ranges(ipv6_pieces(last, 1500)), alone);
        let behind = [(0, 1448, true), (1448, last, false)];
        let total = 1448 + last;
        let fits = total <= 1452;
        let expected = if fits {
            &[(0, total, false)][..]
        } else {
            &behind
        };
        assert_eq!(ranges(ipv6_pieces(total, 1500)), expected, "{total}");
    }
    let three = [(0, 1448, true), (1448, 1448, true), (2896, 5, false)];
    assert_eq!(ranges(ipv6_pieces(2901, 1500)), three);
}

#[test]
fn fragment_headers_are_those_of_vector_v_5() {
    //
    let pieces = cut_ipv6(&ipv6(&payload(1500)), 1500, 0x1122_3344).unwrap();
    assert_eq!(pieces[0][40..48], [4, 0, 0, 1, 0x11, 0x22, 0x33, 0x44]);
    assert_eq!(
        pieces[1][40..48],
        [4, 0, 0x05, 0xa8, 0x11, 0x22, 0x33, 0x44]
    );
    assert_eq!(pieces[0][6], 44);
}

#[test]
fn dont_fragment_is_never_overruled() {
    //
    let packet = ipv4(0, false, true, &[], &payload(1480));
    assert_eq!(cut_ipv4(&packet, 1400), Err(SplitError::DontFragment));
    assert_eq!(cut_ipv4(&packet, 1500).unwrap(), [packet]);
}

#[test]
fn options_are_copied_where_their_flag_says_so() {
    // Record route (7, not copied), no operation, loose source route (131, copied), end.
    let options = [7, 3, 4, 1, 131, 3, 4, 0];
    let packet = ipv4(0, false, false, &options, &payload(1480));
    let pieces = cut_ipv4(&packet, 1500).unwrap();
    assert_eq!(pieces.len(), 2);
    let first = Ipv4Packet::split(&pieces[0]).unwrap();
    let second = Ipv4Packet::split(&pieces[1]).unwrap();
    assert_eq!(first.options, options);
    assert_eq!(second.options, [131, 3, 4, 0]);
    assert!(first.header_checksum_ok() && second.header_checksum_ok());
}

#[test]
fn a_refused_piece_leaves_the_packet_whole() {
    let packet = ipv6(&payload(4_000));
    let mut taken = 0;
    let result = cut(&packet, |frame, _| {
        split_ipv6(frame, 1500, 1, |_| {
            taken += 1;
            taken < 2
        })
    });
    assert_eq!(result, Err(SplitError::Refused));
    let packet = ipv4(0, false, false, &[], &payload(4_000));
    let result = cut(&packet, |frame, _| split_ipv4(frame, 1500, |_| false));
    assert_eq!(result, Err(SplitError::Refused));
}

#[test]
fn what_is_no_packet_is_not_cut() {
    assert_eq!(cut_ipv6(&[0; 2_000], 1500, 1), Err(SplitError::Malformed));
    assert_eq!(cut_ipv4(&[0; 2_000], 1500), Err(SplitError::Malformed));
    let packet = ipv6(&payload(1500));
    let mut storage = packet.clone();
    let len = packet.len();
    let mut frame = FrameBuf::new(&mut storage, 0, len).unwrap();
    let result = split_ipv6(&mut frame, 1500, 1, |_| true);
    assert_eq!(result, Err(SplitError::NoHeadroom));
    assert_eq!(frame.packet(), packet);
}

proptest! {
    #![proptest_config(crate::cases::cases(256))]

    #[test]
    fn pieces_cover_everything_once_and_in_order(total in 1usize..65_000, mtu in 0u16..10_000) {
        let room = usize::from(mtu.max(1280)) - 48;
        let mut at = 0;
        let pieces: Vec<_> = ipv6_pieces(total, mtu).collect();
        for (index, piece) in pieces.iter().enumerate() {
            prop_assert_eq!(piece.offset, at);
            prop_assert_eq!(piece.offset % 8, 0);
            prop_assert!(piece.len > 0 && piece.len <= room);
            prop_assert_eq!(piece.more, index + 1 < pieces.len());
            prop_assert!(!piece.more || piece.len == room / 8 * 8);
            at += piece.len;
        }
        prop_assert_eq!(at, total);
    }

    #[test]
    fn ipv6_pieces_put_together_are_the_packet(len in 1usize..9_000, mtu in 1280u16..3_000) {
        // the inner packet is untouched. R-124: its header is in the first piece.
        let packet = ipv6(&payload(len));
        let pieces = cut_ipv6(&packet, mtu, 7).unwrap();
        if pieces.len() == 1 {
            prop_assert_eq!(&pieces[0], &packet);
            return Ok(());
        }
        let mut data = Vec::new();
        for (index, piece) in pieces.iter().enumerate() {
            prop_assert!(piece.len() <= usize::from(mtu));
            let (header, _) = Ipv6Header::split(piece).unwrap();
            let fragment = FragmentHeader::parse(piece[40..48].try_into().unwrap());
            prop_assert_eq!(usize::from(header.payload_len()) + 40, piece.len());
            prop_assert_eq!((fragment.next, fragment.ident), (IpProtocol::IPV4, 7));
            prop_assert_eq!(usize::from(fragment.offset), data.len());
            prop_assert_eq!(fragment.more, index + 1 < pieces.len());
            prop_assert_eq!(&piece[..4], &packet[..4]);
            prop_assert_eq!(&piece[7..40], &packet[7..40]);
            data.extend_from_slice(&piece[48..]);
        }
        prop_assert_eq!(&data, &packet[40..]);
    }

    #[test]
    fn ipv4_pieces_put_together_are_the_packet(
        len in 1usize..6_000,
        mtu in 68u16..2_000,
        units in 0u16..200,
        more: bool,
        words in 0usize..10,
    ) {
        // also of a packet that is a fragment itself
        let data = payload(if more { len.next_multiple_of(8) } else { len });
        let packet = ipv4(units * 8, more, false, &vec![0x94; words * 4], &data);
        let mut seen = Vec::new();
        let pieces = cut_ipv4(&packet, mtu).unwrap();
        for (index, piece) in pieces.iter().enumerate() {
            prop_assert!(piece.len() <= usize::from(mtu));
            let view = Ipv4Packet::split(piece).unwrap();
            prop_assert!(view.header_checksum_ok());
            prop_assert_eq!(view.header.ident(), 0xbeef);
            prop_assert_eq!(usize::from(view.header.fragment_offset()), usize::from(units) * 8 + seen.len());
            prop_assert_eq!(view.header.more_fragments(), more || index + 1 < pieces.len());
            prop_assert_eq!((view.header.ttl(), view.header.tos()), (60, 0x2e));
            seen.extend_from_slice(view.payload);
        }
        prop_assert_eq!(seen, data);
    }
}
