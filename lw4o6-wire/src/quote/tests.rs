use core::net::{Ipv4Addr, Ipv6Addr};
use std::vec;
use std::vec::Vec;

use super::*;
use crate::icmpv4::{Icmpv4ErrorKind, error_header};
use crate::ipv6_ext::{FragmentHeader, encap_limit_header};
use crate::{Ipv4Fields, Ipv6Fields};

const REMOTE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
const SHARED: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 18);
/// Ports 1232 and 53, then bytes that would be other ports.
const L4: [u8; 12] = [0x04, 0xd0, 0, 0x35, 0, 12, 0, 0, 1, 2, 3, 4];

/// An IPv4 packet from the shared address whose header claims `claimed` bytes of payload.
fn packet(
    proto: IpProtocol,
    offset: u16,
    options: &[u8],
    payload: &[u8],
    claimed: usize,
) -> Vec<u8> {
    let header_len = 20 + options.len();
    let fields = Ipv4Fields {
        tos: 0,
        total_len: u16::try_from(header_len + claimed).unwrap(),
        ident: 0x1234,
        dont_fragment: false,
        more_fragments: true,
        fragment_offset: offset,
        ttl: 1,
        protocol: proto,
        src: SHARED,
        dst: REMOTE,
    };
    let mut bytes = [&fields.to_bytes()[..], options].concat();
    bytes[0] = 0x40 | u8::try_from(header_len / 4).unwrap();
    bytes[10..12].fill(0);
    let checksum = crate::checksum::checksum(&bytes);
    bytes[10..12].copy_from_slice(&checksum.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// A 3/1 about `quote` with an RFC 4884 length of `words`, then `more`.
fn message(words: u8, quote: &[u8], more: &[u8]) -> Vec<u8> {
    let mut bytes = error_header(Icmpv4ErrorKind::HostUnreachable, quote).to_vec();
    bytes[5] = words;
    [&bytes, quote, more].concat()
}

fn key(bytes: &[u8]) -> QuotedKey {
    ipv4_quote(bytes).unwrap().key()
}

const PORTS: QuotedKey = QuotedKey::Ports(Ports { src: 1232, dst: 53 });

//
#[test]
fn ports_of_a_quote_that_ends_anywhere() {
    let whole = packet(IpProtocol::UDP, 0, &[], &L4, 1400);
    for len in 20..whole.len() {
        let expected = if len < 24 {
            QuotedKey::Truncated
        } else {
            PORTS
        };
        assert_eq!(key(&message(0, &whole[..len], &[])), expected, "{len}");
    }
}

//
#[test]
fn every_prefix_without_a_whole_ip_header_is_refused() {
    let bytes = message(0, &packet(IpProtocol::UDP, 0, &[1; 8], &L4, 12), &[]);
    for len in 0..8 + 28 {
        assert!(ipv4_quote(&bytes[..len]).is_err(), "{len}");
    }
}

//
#[test]
fn embedded_options_are_skipped() {
    for words in 1..=10 {
        let quote = packet(IpProtocol::TCP, 0, &vec![1; words * 4], &L4, 12);
        let bytes = message(0, &quote, &[]);
        let quoted = ipv4_quote(&bytes).unwrap();
        assert_eq!(quoted.key(), PORTS, "{words}");
        assert_eq!(quoted.header_len(), 20 + words * 4);
        assert!(quoted.header_checksum_ok());
    }
}

//
#[test]
fn a_wrong_header_checksum_is_seen() {
    for options in [&[][..], &[1; 8]] {
        let mut quote = packet(IpProtocol::UDP, 0, options, &L4, 12);
        for at in 1..20 + options.len() {
            quote[at] ^= 4;
            if let Ok(quoted) = ipv4_quote(&message(0, &quote, &[])) {
                assert!(!quoted.header_checksum_ok(), "{at}");
            }
            quote[at] ^= 4;
        }
    }
}

//
#[test]
fn the_transport_checksum_is_left_alone() {
    let mut l4 = L4;
    l4[6..8].copy_from_slice(&[0xde, 0xad]);
    assert_eq!(
        key(&message(0, &packet(IpProtocol::UDP, 0, &[], &l4, 12), &[])),
        PORTS
    );
}

// T-7 R-105
#[test]
fn t7_a_quoted_echo_is_known_by_its_identifier_not_by_ports() {
    for (type_, request) in [(8, true), (0, false), (13, true), (14, false)] {
        let l4 = [type_, 0, 0xff, 0xff, 0x04, 0xd1, 0, 1];
        let quote = packet(IpProtocol::ICMP, 0, &[], &l4, 8);
        let ident = 0x04d1;
        assert_eq!(
            key(&message(0, &quote, &[])),
            QuotedKey::Ident { ident, request }
        );
        for cut in 1..=2 {
            let cut = &quote[..quote.len() - cut];
            assert_eq!(
                key(&message(0, cut, &[])),
                QuotedKey::Ident { ident, request }
            );
        }
        assert_eq!(key(&message(0, &quote[..25], &[])), QuotedKey::Truncated);
        assert_eq!(key(&message(0, &quote[..20], &[])), QuotedKey::Truncated);
    }
}

//
#[test]
fn a_quoted_icmp_error_is_told_apart() {
    for type_ in [3, 4, 5, 11, 12] {
        let quote = packet(IpProtocol::ICMP, 0, &[], &[type_], 8);
        assert_eq!(key(&message(0, &quote, &[])), QuotedKey::Error, "{type_}");
    }
}

#[test]
fn other_icmp_and_other_protocols_have_no_port() {
    let quote = packet(IpProtocol::ICMP, 0, &[], &[17, 0, 0, 0, 1, 2], 8);
    assert_eq!(key(&message(0, &quote, &[])), QuotedKey::NoPort);
    for proto in [IpProtocol::ESP, IpProtocol::GRE, IpProtocol::IPV4] {
        let quote = packet(proto, 0, &[], &L4, 12);
        assert_eq!(
            key(&message(0, &quote, &[])),
            QuotedKey::NoPort,
            "{proto:?}"
        );
    }
}

//
#[test]
fn a_quoted_later_fragment_has_no_ports() {
    for proto in [IpProtocol::UDP, IpProtocol::ICMP] {
        let quote = packet(proto, 8, &[], &L4, 12);
        assert_eq!(key(&message(0, &quote, &[])), QuotedKey::Fragment);
    }
}

//
#[test]
fn extension_objects_are_not_read_as_l4_data() {
    let quote = packet(IpProtocol::UDP, 0, &[], &[], 1000);
    let objects = [0x20, 0, 0, 0, 0, 8, 1, 1];
    assert_eq!(key(&message(5, &quote, &objects)), QuotedKey::Truncated);
    // Without a length they cannot be told apart.
    assert!(matches!(
        key(&message(0, &quote, &objects)),
        QuotedKey::Ports(_)
    ));
}

//
#[test]
fn padding_behind_the_total_length_is_not_l4_data() {
    let mut quote = packet(IpProtocol::UDP, 0, &[], &[], 0);
    quote.resize(128, 0);
    let bytes = message(32, &quote, &[0x20, 0, 0, 0]);
    assert!(ipv4_quote(&bytes).unwrap().payload.is_empty());
    assert_eq!(key(&bytes), QuotedKey::Truncated);
}

// T-19 R-104
#[test]
fn t19_rfc4884_below_128_is_tolerated() {
    let objects = [0x20, 0, 0, 0, 0, 8, 1, 1, 9, 9, 9, 9];
    for words in 7..32 {
        let mut quote = packet(IpProtocol::UDP, 0, &[], &L4[..8], 8);
        quote.resize(usize::from(words) * 4, 0);
        let bytes = message(words, &quote, &objects);
        let quoted = ipv4_quote(&bytes).unwrap();
        assert_eq!((quoted.key(), quoted.payload), (PORTS, &L4[..8]), "{words}");
    }
}

//
#[test]
fn a_length_beyond_the_message_is_refused() {
    let quote = packet(IpProtocol::UDP, 0, &[], &L4, 12);
    assert_eq!(key(&message(8, &quote, &[])), PORTS);
    let error = ipv4_quote(&message(9, &quote, &[])).unwrap_err();
    assert_eq!((error.layer, error.offset), (Layer::Rfc4884, 5));
    assert_eq!(error.kind, ParseErrorKind::Length(36));
}

#[test]
fn only_types_3_11_and_12_quote() {
    let quote = packet(IpProtocol::UDP, 0, &[], &L4, 12);
    let mut bytes = message(0, &quote, &[]);
    for type_ in 0..=255 {
        bytes[0] = type_;
        let quotes = matches!(type_, 3 | 11 | 12);
        assert_eq!(ipv4_quote(&bytes).is_ok(), quotes, "{type_}");
    }
}

const AFTR: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 1);
const B4: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x12, 0x3400, 0, 0xc000, 0x212, 0x34);

/// A tunnel packet: `headers` between the fixed header, whose next header is `next`, and `inner`.
fn tunnel(next: IpProtocol, headers: &[u8], inner: &[u8]) -> Vec<u8> {
    let header = Ipv6Fields {
        traffic_class: 0,
        flow_label: 0,
        payload_len: u16::try_from(headers.len() + inner.len()).unwrap(),
        next_header: next,
        hop_limit: 1,
        src: AFTR,
        dst: B4,
    };
    [&header.to_bytes()[..], headers, inner].concat()
}

fn message_v6(type_: u8, rest: [u8; 4], quote: &[u8], more: &[u8]) -> Vec<u8> {
    [&[type_, 0, 0, 0], &rest[..], quote, more].concat()
}

fn inner() -> Vec<u8> {
    packet(IpProtocol::UDP, 0, &[1; 4], &L4, 12)
}

fn first_fragment(next: IpProtocol) -> [u8; 8] {
    let header = FragmentHeader {
        next,
        offset: 0,
        more: true,
        ident: 7,
    };
    header.to_bytes()
}

#[test]
fn a_tunnel_packet_is_read_from_every_error_type() {
    let quote = tunnel(IpProtocol::IPV4, &[], &inner());
    for (type_, rest) in [
        (1, [0; 4]),
        (2, [0, 0, 5, 0]),
        (3, [0; 4]),
        (4, [0, 0, 0, 43]),
    ] {
        let bytes = message_v6(type_, rest, &quote, &[]);
        let quoted = tunnel_quote(&bytes).unwrap();
        assert_eq!((quoted.outer.src(), quoted.outer.dst()), (AFTR, B4));
        assert_eq!(quoted.headers_len, 40);
        assert_eq!(quoted.inner_bytes, inner());
        assert_eq!(quoted.inner.unwrap().key(), PORTS);
    }
    for type_ in [0, 5, 127, 128, 129, 255] {
        assert!(tunnel_quote(&message_v6(type_, [0; 4], &quote, &[])).is_err());
    }
}

//
#[test]
fn limit_and_fragment_headers_are_walked_and_counted() {
    let limit = encap_limit_header(IpProtocol::IPV4, 4);
    let limit_then_fragment = encap_limit_header(IpProtocol::FRAGMENT, 4);
    let fragment = first_fragment(IpProtocol::IPV4);
    let fragment_then_limit = first_fragment(IpProtocol::DST_OPTS);
    let cases: [(IpProtocol, Vec<u8>); 4] = [
        (IpProtocol::DST_OPTS, limit.to_vec()),
        (IpProtocol::FRAGMENT, fragment.to_vec()),
        (
            IpProtocol::DST_OPTS,
            [limit_then_fragment, fragment].concat(),
        ),
        (IpProtocol::FRAGMENT, [fragment_then_limit, limit].concat()),
    ];
    for (next, headers) in cases {
        let bytes = message_v6(1, [0; 4], &tunnel(next, &headers, &inner()), &[]);
        let quoted = tunnel_quote(&bytes).unwrap();
        assert_eq!(quoted.headers_len, 40 + headers.len());
        assert_eq!(quoted.inner.unwrap().key(), PORTS);
        assert_eq!(quoted.inner_bytes, inner());
    }
}

#[test]
fn what_is_no_readable_inner_packet_is_none() {
    let later = FragmentHeader {
        next: IpProtocol::IPV4,
        offset: 1448,
        more: false,
        ident: 7,
    };
    let twice = [
        first_fragment(IpProtocol::FRAGMENT),
        first_fragment(IpProtocol::IPV4),
    ];
    let cases: [(IpProtocol, Vec<u8>); 5] = [
        (IpProtocol::FRAGMENT, later.to_bytes().to_vec()),
        (IpProtocol::FRAGMENT, twice.concat()),
        (IpProtocol::UDP, vec![]),
        (IpProtocol::NO_NEXT_HEADER, vec![]),
        (
            IpProtocol::DST_OPTS,
            [encap_limit_header(IpProtocol::DST_OPTS, 4); 9].concat(),
        ),
    ];
    for (next, headers) in cases {
        let bytes = message_v6(1, [0; 4], &tunnel(next, &headers, &inner()), &[]);
        let quoted = tunnel_quote(&bytes).unwrap();
        assert_eq!(
            (quoted.inner, quoted.inner_bytes),
            (None, &[][..]),
            "{next:?}"
        );
        assert_eq!(quoted.headers_len, 40);
    }
}

//
#[test]
fn a_tunnel_quote_may_end_anywhere_behind_its_fixed_header() {
    let limit = encap_limit_header(IpProtocol::IPV4, 4);
    let bytes = message_v6(
        3,
        [0; 4],
        &tunnel(IpProtocol::DST_OPTS, &limit, &inner()),
        &[],
    );
    for len in 0..bytes.len() {
        match tunnel_quote(&bytes[..len]) {
            Ok(quoted) => {
                assert!(len >= 48, "{len}");
                assert_eq!(quoted.inner.is_some(), len >= 48 + 8 + 24, "{len}");
            }
            Err(_) => assert!(len < 48, "{len}"),
        }
    }
}

//
#[test]
fn extension_objects_of_icmpv6_are_not_the_inner_packet() {
    let mut quote = tunnel(IpProtocol::IPV4, &[], &inner());
    quote.resize(80, 0);
    let objects = [0x20, 0, 0, 0, 0, 8, 1, 1];
    for type_ in [1, 3] {
        // 40 bytes of IPv6, 24 of IPv4 with options, the ports and four bytes more.
        let bytes = message_v6(type_, [9, 0, 0, 0], &quote[..72], &objects);
        let quoted = tunnel_quote(&bytes).unwrap();
        assert_eq!(quoted.inner_bytes, &inner()[..32]);
        let bytes = message_v6(type_, [10, 0, 0, 0], &quote, &objects);
        assert_eq!(tunnel_quote(&bytes).unwrap().inner_bytes, inner());
        let bytes = message_v6(type_, [12, 0, 0, 0], &quote, &objects);
        let error = tunnel_quote(&bytes).unwrap_err();
        assert_eq!((error.layer, error.offset), (Layer::Rfc4884, 4));
    }
}

//
#[test]
fn bytes_behind_the_inner_packet_are_not_quoted_on() {
    let padded = [&inner()[..], &[0xee; 6]].concat();
    let bytes = message_v6(
        4,
        [0; 4],
        &tunnel(IpProtocol::IPV4, &[], &padded),
        &[0xdd; 5],
    );
    assert_eq!(tunnel_quote(&bytes).unwrap().inner_bytes, inner());
}
