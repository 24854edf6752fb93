//! Laws and vectors of ICMP messages, quotes, ports and the segment size clamp.

use std::net::{Ipv4Addr, Ipv6Addr};

use lw4o6_wire::checksum::{Sum, Update};
use lw4o6_wire::icmpv4::{self, Icmpv4ErrorKind, Icmpv4Header, Icmpv4Type};
use lw4o6_wire::icmpv6::{self, Icmpv6ErrorKind, Icmpv6Header, UnreachableCode};
use lw4o6_wire::l4::{self, Ports};
use lw4o6_wire::quote::{self, QuotedKey};
use lw4o6_wire::tcp::{TcpHeader, clamp_mss};
use lw4o6_wire::{IpProtocol, Ipv4Fields, Ipv4Packet, Ipv6Fields, Ipv6Header, checksum};
use proptest::collection::vec;
use proptest::prelude::*;

const AFTR: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 1);
const B4: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x12, 0x3400, 0, 0xc000, 0x212, 0x34);

/// V-1: an upstream UDP packet from port 1231.
const V1: &str = "600000000020044020010db8001234000000c0000212003420010db8ffff00000000000000000001\
                  45000020123440003f113d52c0000212c633640104cf0035000c000074657374";
/// V-2: the IPv6 and ICMPv6 headers of the 1/5 about it.
const V2: &str = "6000000000503a4020010db8ffff0000000000000000000120010db8001234000000c00002120034\
                  0105098e00000000";
/// V-4: IPv4 and TCP header of a downstream packet of 1500 bytes.
const V4_IN: &str = "450005dc000040003c064cd5c6336401c0000212\
                     01bb04d00000000100000000501003e800000000";
/// V-4: the 3/4 about it up to the quote.
const V4_OUT: &str = "45c00240000040004001d1c6cb007101c633640103049cc3000005b4";

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(16)).collect();
    let bytes = digits
        .chunks(2)
        .map(|p| p.iter().fold(0, |n, d| n * 16 + d));
    bytes.filter_map(|b| u8::try_from(b).ok()).collect()
}

fn cases() -> ProptestConfig {
    let scale = std::env::var("LW4O6_SCALE").ok();
    let scale: u32 = scale.and_then(|s| s.parse().ok()).unwrap_or(1);
    ProptestConfig::with_cases(256 * scale)
}

#[test]
fn v1_is_read_down_to_its_ports() {
    let packet = hex(V1);
    let (outer, payload) = Ipv6Header::split(&packet).unwrap();
    assert_eq!((outer.src(), outer.dst()), (B4, AFTR));
    assert_eq!(outer.next_header(), IpProtocol::IPV4);
    let inner = Ipv4Packet::split(payload).unwrap();
    assert!(inner.header_checksum_ok());
    assert_eq!(inner.header.src(), Ipv4Addr::new(192, 0, 2, 18));
    let proto = inner.header.protocol();
    assert_eq!(l4::validate(proto, inner.payload), Ok(()));
    let ports = Ports { src: 1231, dst: 53 };
    assert_eq!(l4::ports(proto, inner.payload), Some(ports));
}

// T-11 R-095
#[test]
fn t11_options_of_any_length_do_not_mislead_the_search_for_ports() {
    let packet = hex(V1).split_off(40);
    for words in 0..=10u8 {
        let options = vec![1; usize::from(words) * 4];
        let (header, l4) = packet.split_at(20);
        let mut bytes = [header, &options, l4].concat();
        let total_len = u16::from(words) * 4 + 32;
        bytes.splice(0..1, [0x45 + words]);
        bytes.splice(2..4, total_len.to_be_bytes());
        let read = Ipv4Packet::split(&bytes).unwrap();
        let ports = Ports { src: 1231, dst: 53 };
        assert_eq!(l4::ports(IpProtocol::UDP, read.payload), Some(ports));
    }
}

// V-2 R-006 R-168
#[test]
fn v2_the_answer_to_v1_has_checksum_098e() {
    let quote = hex(V1);
    let kind = Icmpv6ErrorKind::Unreachable(UnreachableCode::SOURCE_POLICY);
    let icmp = icmpv6::error_header(kind, AFTR, B4, icmpv6::quote_of(&quote));
    let outer = Ipv6Fields {
        traffic_class: 0,
        flow_label: 0,
        payload_len: 80,
        next_header: IpProtocol::ICMPV6,
        hop_limit: 64,
        src: AFTR,
        dst: B4,
    };
    assert_eq!([&outer.to_bytes()[..], &icmp].concat(), hex(V2));
    let message = [&icmp[..], &quote].concat();
    assert!(icmpv6::verify(AFTR, B4, &message));
    let quoted = quote::tunnel_quote(&message).unwrap();
    assert_eq!(quoted.outer.src(), B4);
    let ports = Ports { src: 1231, dst: 53 };
    assert_eq!(quoted.inner.unwrap().key(), QuotedKey::Ports(ports));
}

// V-4 R-174 R-180 R-181
#[test]
fn v4_the_answer_to_a_packet_that_does_not_fit() {
    let mut packet = hex(V4_IN);
    packet.resize(1500, 0);
    let quote = icmpv4::quote_of(&packet);
    assert_eq!(quote.len(), 548);
    let kind = Icmpv4ErrorKind::FragmentationNeeded { mtu: 1460 };
    let icmp = icmpv4::error_header(kind, quote);
    let header = Ipv4Fields {
        tos: 0xc0,
        total_len: 576,
        ident: 0,
        dont_fragment: true,
        more_fragments: false,
        fragment_offset: 0,
        ttl: 64,
        protocol: IpProtocol::ICMP,
        src: Ipv4Addr::new(203, 0, 113, 1),
        dst: Ipv4Addr::new(198, 51, 100, 1),
    };
    assert_eq!([&header.to_bytes()[..], &icmp].concat(), hex(V4_OUT));
    let message = [&icmp[..], quote].concat();
    assert!(icmpv4::verify(&message));
    let ports = Ports {
        src: 443,
        dst: 1232,
    };
    let quoted = quote::ipv4_quote(&message).unwrap();
    assert_eq!(quoted.key(), QuotedKey::Ports(ports));
}

fn error_kind() -> impl Strategy<Value = Icmpv4ErrorKind> {
    prop_oneof![
        Just(Icmpv4ErrorKind::HostUnreachable),
        Just(Icmpv4ErrorKind::ProtocolUnreachable),
        Just(Icmpv4ErrorKind::PortUnreachable),
        any::<u16>().prop_map(|mtu| Icmpv4ErrorKind::FragmentationNeeded { mtu }),
        Just(Icmpv4ErrorKind::AdminProhibited),
        Just(Icmpv4ErrorKind::TimeExceeded),
        Just(Icmpv4ErrorKind::ReassemblyTimeExceeded),
    ]
}

/// One entry of an option list, well formed or not; runs of no-operations make odd offsets.
fn option() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        3 => Just(vec![1u8]),
        3 => any::<[u8; 2]>().prop_map(|[a, b]| vec![2, 4, a, b]),
        1 => (3u8.., 2u8..8).prop_map(|(kind, len)| {
            let mut option = vec![kind; len.into()];
            option.splice(1..2, [len]);
            option
        }),
        1 => vec(any::<u8>(), 1..3),
    ]
}

/// A TCP segment that verifies; the constant of a pseudo-header is left out of its sum.
fn segment() -> impl Strategy<Value = Vec<u8>> {
    let flags = prop_oneof![Just(0x02u8), Just(0x12), any::<u8>()];
    let payload = vec(any::<u8>(), 0..9);
    (vec(option(), 0..8), flags, payload, any::<[u8; 8]>()).prop_map(
        |(options, flags, payload, ports_and_sequence)| {
            let mut options = options.concat();
            options.truncate(40);
            options.resize(options.len().next_multiple_of(4), 0);
            let header_len = u8::try_from(20 + options.len()).unwrap_or(u8::MAX);
            let head = [
                &ports_and_sequence[..],
                &[0, 0, 0, 1, header_len << 2, flags, 9, 9],
            ];
            let tail = [&[0, 0], &options[..], &payload].concat();
            let sum = Sum::new().add(&head.concat()).add(&tail).finish();
            [&head.concat()[..], &sum.to_be_bytes(), &tail].concat()
        },
    )
}

proptest! {
    #![proptest_config(cases())]

    //
    #[test]
    fn an_icmpv4_error_verifies_and_gives_back_its_quote(
        kind in error_kind(),
        ports in any::<[u8; 4]>(),
        cut in 0usize..200,
    ) {
        let fields = Ipv4Fields {
            tos: 0,
            total_len: 220,
            ident: 1,
            dont_fragment: true,
            more_fragments: false,
            fragment_offset: 0,
            ttl: 1,
            protocol: IpProtocol::UDP,
            src: Ipv4Addr::new(192, 0, 2, 18),
            dst: Ipv4Addr::new(198, 51, 100, 1),
        };
        let mut packet = [&fields.to_bytes()[..], &ports].concat();
        packet.resize(220, 0x77);
        packet.truncate(20 + cut);
        let message = [&icmpv4::error_header(kind, &packet)[..], &packet].concat();
        prop_assert!(icmpv4::verify(&message));
        let (header, rest) = Icmpv4Header::split(&message).unwrap();
        prop_assert_eq!((header.type_(), header.code()), kind.type_and_code());
        prop_assert_eq!(rest, &packet[..]);
        let quoted = quote::ipv4_quote(&message).unwrap();
        prop_assert!(quoted.header_checksum_ok());
        let expected = l4::ports(IpProtocol::UDP, &packet[20..])
            .map_or(QuotedKey::Truncated, QuotedKey::Ports);
        prop_assert_eq!(quoted.key(), expected);
    }

    //
    #[test]
    fn an_icmpv6_error_is_read_as_it_was_written(
        code in any::<u8>(),
        mtu in any::<u32>(),
        src in any::<[u8; 16]>(),
        dst in any::<[u8; 16]>(),
        quote in vec(any::<u8>(), 0..100),
    ) {
        let (src, dst) = (src.into(), dst.into());
        for kind in [
            Icmpv6ErrorKind::Unreachable(UnreachableCode(code)),
            Icmpv6ErrorKind::PacketTooBig { mtu },
        ] {
            let message = [&icmpv6::error_header(kind, src, dst, &quote)[..], &quote].concat();
            prop_assert!(icmpv6::verify(src, dst, &message));
            let (header, rest) = Icmpv6Header::split(&message).unwrap();
            prop_assert_eq!(Icmpv6ErrorKind::from_header(&header), Some(kind));
            prop_assert_eq!(rest, &quote[..]);
        }
    }

    #[test]
    fn a_new_identifier_is_the_only_change(
        mut message in vec(any::<u8>(), 8..40),
        ident in any::<u16>(),
    ) {
        message[0] = Icmpv4Type::ECHO_REQUEST.0;
        message[2..4].fill(0);
        let sum = checksum::checksum(&message);
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        let before = message.clone();
        let mut header = Icmpv4Header::from_mut(&mut message).unwrap();
        let sum = Update::new(header.checksum()).u16(header.ident(), ident).finish();
        header.set_ident(ident);
        header.set_checksum(sum);
        prop_assert!(icmpv4::verify(&message));
        prop_assert_eq!(&message[..2], &before[..2]);
        prop_assert_eq!(&message[6..], &before[6..]);
        prop_assert_eq!(&message[4..6], &ident.to_be_bytes());
    }

    //
    #[test]
    fn a_clamped_segment_verifies_and_differs_in_segment_size_only(
        before in segment(),
        max in any::<u16>(),
    ) {
        let mut after = before.clone();
        let changed = clamp_mss(&mut after, max);
        prop_assert_eq!(changed, after != before);
        prop_assert!(checksum::verify(&after));
        prop_assert!(!clamp_mss(&mut after.clone(), max), "one pass is enough");
        let (header, _) = TcpHeader::split(&after).unwrap();
        for at in 0..after.len() {
            let in_options = (20..header.header_len()).contains(&at);
            let may_change = in_options || (16..18).contains(&at);
            prop_assert!(may_change || after[at] == before[at], "byte {}", at);
        }
    }
}
