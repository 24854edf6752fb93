use std::vec::Vec;

use super::*;

/// Downstream packet of the specification's vector V-3: UDP, TTL 60, total length 30.
const V3: [u8; 30] = [
    0x45, 0x00, 0x00, 0x1e, 0x42, 0x42, 0x00, 0x00, // version, tos, length 30, id, flags
    0x3c, 0x11, 0x50, 0x46, // TTL 60, UDP, checksum
    0xc6, 0x33, 0x64, 0x01, 0xc0, 0x00, 0x02, 0x12, // 198.51.100.1 to 192.0.2.18
    0x00, 0x35, 0x04, 0xd0, 0x00, 0x0a, 0x00,
    0x00, // ports 53 and 1232, length 10, no checksum
    0x68, 0x69,
];

/// V-3 with 8 bytes of options (NOP, RR with one slot), checksum right.
fn with_options() -> Vec<u8> {
    let options = [1, 7, 7, 4, 0, 0, 0, 0];
    let mut packet = [&V3[..20], &options, &V3[20..]].concat();
    packet[0] = 0x47;
    packet[3] = 38;
    packet[10..12].fill(0);
    let sum = crate::checksum::checksum(&packet[..28]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet
}

#[test]
fn reads_every_field() {
    let packet = Ipv4Packet::split(&V3).unwrap();
    let header = packet.header;
    assert_eq!((header.version(), header.ihl_bytes()), (4, 20));
    assert_eq!((header.tos(), header.total_len()), (0, 30));
    assert_eq!((header.ident(), header.ttl()), (0x4242, 60));
    assert_eq!(header.protocol(), IpProtocol::UDP);
    assert_eq!(header.checksum(), 0x5046);
    assert_eq!(header.src(), Ipv4Addr::new(198, 51, 100, 1));
    assert_eq!(header.dst(), Ipv4Addr::new(192, 0, 2, 18));
    assert!(!header.is_fragment() && header.is_first());
    assert!(packet.header_checksum_ok());
    assert_eq!((packet.header_len(), packet.total_len()), (20, 30));
    assert_eq!(packet.payload, &V3[20..]);
}

#[test]
fn options_stand_between_header_and_payload() {
    let bytes = with_options();
    let packet = Ipv4Packet::split(&bytes).unwrap();
    assert_eq!(packet.options, [1, 7, 7, 4, 0, 0, 0, 0]);
    assert_eq!(packet.payload, &V3[20..]);
    assert_eq!((packet.header_len(), packet.total_len()), (28, 38));
    assert!(packet.header_checksum_ok());
    let mut wrong = bytes.clone();
    wrong[27] ^= 1;
    assert!(!Ipv4Packet::split(&wrong).unwrap().header_checksum_ok());
}

///
#[test]
fn every_prefix_is_refused() {
    let options = with_options();
    for packet in [&V3[..], &options] {
        for len in 0..packet.len() {
            let error = Ipv4Packet::split(&packet[..len]).unwrap_err();
            let need = match len {
                0..20 => 20,
                20..28 if packet.len() == 38 => 28,
                _ => packet.len(),
            };
            assert_eq!(error, ParseError::truncated(Layer::Ipv4, need, len));
        }
    }
}

///
#[test]
fn padding_is_not_payload() {
    let padded = [&V3[..], &[0xee; 16]].concat();
    assert_eq!(Ipv4Packet::split(&padded), Ipv4Packet::split(&V3));
    assert_eq!(
        Ipv4Packet::split_quoted(&padded).unwrap().payload,
        &V3[20..]
    );
}

#[test]
fn a_quote_may_be_cut_behind_its_header() {
    let options = with_options();
    for packet in [&V3[..], &options] {
        let header_len = usize::from(packet[0] & 15) * 4;
        for len in 0..=packet.len() {
            let quote = Ipv4Packet::split_quoted(&packet[..len]);
            if len < header_len {
                assert!(quote.is_err(), "{len}");
            } else {
                assert_eq!(quote.unwrap().payload, &packet[header_len..len]);
            }
        }
    }
}

///
#[test]
fn contradicting_lengths_are_refused() {
    let change = |at: usize, value: u8| {
        let mut packet = V3;
        packet[at] = value;
        (
            Ipv4Packet::split(&packet).unwrap_err().kind,
            Ipv4Packet::split_quoted(&packet).unwrap_err().kind,
        )
    };
    assert_eq!(
        change(0, 0x65),
        (ParseErrorKind::Version(6), ParseErrorKind::Version(6))
    );
    for ihl in 0..5 {
        let kind = ParseErrorKind::Value(ihl.into());
        assert_eq!(change(0, 0x40 | ihl), (kind, kind));
    }
    for len in 0..20 {
        let kind = ParseErrorKind::Length(len.into());
        assert_eq!(change(3, len), (kind, kind));
    }
}

#[test]
fn fragment_fields() {
    let mut header = Ipv4Packet::split(&V3).unwrap().header.fields();
    for (more, offset, fragment, first) in [
        (false, 0, false, true),
        (true, 0, true, true),
        (true, 1448, true, false),
        (false, 65528, true, false),
    ] {
        (header.more_fragments, header.fragment_offset) = (more, offset);
        header.dont_fragment = !more;
        let view = Ipv4Header::new(header.to_bytes());
        assert_eq!((view.is_fragment(), view.is_first()), (fragment, first));
        assert_eq!(
            (view.more_fragments(), view.fragment_offset()),
            (more, offset)
        );
        assert_eq!(view.dont_fragment(), !more);
        assert_eq!(view.fields(), header);
    }
}

#[test]
fn the_reserved_flag_is_not_a_fragment_and_stays() {
    let mut bytes = V3;
    bytes[6] = 0x80;
    let mut header = Ipv4Header::new(header_mut(&mut bytes).unwrap());
    assert!(!header.is_fragment() && !header.dont_fragment() && !header.more_fragments());
    header.set_flags_offset(true, true, 0xffff);
    assert_eq!(header.as_bytes()[6..8], [0xff, 0xff]);
    header.set_flags_offset(false, false, 0);
    assert_eq!(header.as_bytes()[6..8], [0x80, 0]);
}

#[test]
fn the_time_to_live_of_v3_is_decremented() {
    let mut bytes = V3;
    decrement_ttl(header_mut(&mut bytes).unwrap());
    assert_eq!((bytes[8], &bytes[10..12]), (59, &[0x51, 0x46][..]));
    assert!(Ipv4Packet::split(&bytes).unwrap().header_checksum_ok());
}

#[test]
fn a_time_to_live_of_zero_stays() {
    let mut bytes = V3;
    bytes[8] = 0;
    let before = bytes;
    decrement_ttl(header_mut(&mut bytes).unwrap());
    assert_eq!(bytes, before);
}

/// every old and every new type of service byte.
#[test]
fn the_checksum_stays_right_when_the_type_of_service_changes() {
    let mut fields = Ipv4Packet::split(&V3).unwrap().header.fields();
    for old in 0..=255 {
        fields.tos = old;
        for new in 0..=255 {
            let mut header = fields.to_bytes();
            set_tos(&mut header, new);
            assert_eq!(header, Ipv4Fields { tos: new, ..fields }.to_bytes());
        }
    }
}

#[test]
fn too_short_for_a_header() {
    assert!(header_mut(&mut [0; 19]).is_none());
    assert!(header_mut(&mut [0; 20]).is_some());
}
