use std::vec;
use std::vec::Vec;

use super::*;
use crate::{IpProtocol, Ipv6Fields};

const ROUTER_LL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
const AFTR: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 1);
const VMAC: MacAddr = MacAddr([0, 0, 0x5e, 0, 2, 1]);
const SOLICIT: NeighborSolicit = NeighborSolicit {
    target: AFTR,
    source_mac: Some(VMAC),
};

fn solicit_bytes(solicit: &NeighborSolicit, src: Ipv6Addr, dst: Ipv6Addr) -> Vec<u8> {
    let mut out = vec![0xaa; solicit.wire_len()];
    assert_eq!(solicit.emit(src, dst, &mut out), Ok(out.len()));
    out
}

fn advert_bytes(advert: &NeighborAdvert, src: Ipv6Addr, dst: Ipv6Addr) -> Vec<u8> {
    let mut out = vec![0xaa; advert.wire_len()];
    assert_eq!(advert.emit(src, dst, &mut out), Ok(out.len()));
    out
}

/// Sets bytes and makes the checksum right again, so that only the change itself can be refused.
fn altered(bytes: &[u8], at: usize, new: &[u8], src: Ipv6Addr, dst: Ipv6Addr) -> Vec<u8> {
    let mut out = bytes.to_vec();
    out.resize(out.len().max(at + new.len()), 0);
    out[at..at + new.len()].copy_from_slice(new);
    out[2..4].fill(0);
    let checksum = checksum_of(src, dst, &out);
    out[2..4].copy_from_slice(&checksum.to_be_bytes());
    out
}

fn refused_solicit(bytes: &[u8], src: Ipv6Addr, dst: Ipv6Addr) -> (u16, ParseErrorKind) {
    let error = NeighborSolicit::parse(src, dst, 255, bytes).unwrap_err();
    assert_eq!(error.layer, Layer::Ndp);
    (error.offset, error.kind)
}

// V-6 R-243 R-244
#[test]
fn v6_unsolicited_advertisement_on_takeover() {
    let expected = [
        0x60, 0, 0, 0, 0, 0x20, 0x3a, 0xff, // 32 bytes of ICMPv6, hop limit 255
        0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, // fe80::1
        0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, // ff02::1
        0x88, 0, 0x4a, 0x62, 0xa0, 0, 0, 0, // advertisement, R and O
        0x20, 1, 0x0d, 0xb8, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, // target
        2, 1, 0, 0, 0x5e, 0, 2, 1, // target link-layer address
    ];
    let advert = NeighborAdvert::unsolicited(AFTR, VMAC);
    let message = advert_bytes(&advert, ROUTER_LL, ALL_NODES);
    let header = Ipv6Fields {
        traffic_class: 0,
        flow_label: 0,
        payload_len: 32,
        next_header: IpProtocol::ICMPV6,
        hop_limit: HOP_LIMIT,
        src: ROUTER_LL,
        dst: ALL_NODES,
    };
    assert_eq!([&header.to_bytes()[..], &message].concat(), expected);
    assert_eq!(
        NeighborAdvert::parse(ROUTER_LL, ALL_NODES, 255, &expected[40..]),
        Ok(advert)
    );
}

#[test]
fn a_solicitation_is_read_as_it_was_written() {
    let dst = solicited_node(AFTR);
    for source_mac in [None, Some(VMAC)] {
        let solicit = NeighborSolicit {
            source_mac,
            ..SOLICIT
        };
        let bytes = solicit_bytes(&solicit, ROUTER_LL, dst);
        assert_eq!(
            NeighborSolicit::parse(ROUTER_LL, dst, 255, &bytes),
            Ok(solicit)
        );
    }
}

// R-001 R-241
#[test]
fn every_prefix_is_refused() {
    let bytes = solicit_bytes(&SOLICIT, ROUTER_LL, AFTR);
    for len in 0..bytes.len() {
        // With the checksum of the prefix, so that the length is what decides; 24 bytes are
        // a whole message.
        let result = if len < 4 {
            NeighborSolicit::parse(ROUTER_LL, AFTR, 255, &bytes[..len])
        } else {
            let prefix = altered(&bytes[..len], 0, &[], ROUTER_LL, AFTR);
            NeighborSolicit::parse(ROUTER_LL, AFTR, 255, &prefix)
        };
        assert_eq!(result.is_ok(), len == NDP_LEN, "{len}");
    }
}

#[test]
fn a_buffer_one_byte_short_is_not_written() {
    let mut out = [0xaa; 31];
    let result = SOLICIT.emit(ROUTER_LL, AFTR, &mut out);
    assert_eq!(result, Err(BufferTooSmall { need: 32 }));
    assert_eq!(out, [0xaa; 31]);
}

//
#[test]
fn a_hop_limit_below_255_is_refused() {
    let bytes = solicit_bytes(&SOLICIT, ROUTER_LL, AFTR);
    let error = NeighborSolicit::parse(ROUTER_LL, AFTR, 254, &bytes).unwrap_err();
    assert_eq!(error.kind, ParseErrorKind::Value(254));
    let advert = NeighborAdvert::unsolicited(AFTR, VMAC);
    let bytes = advert_bytes(&advert, ROUTER_LL, ALL_NODES);
    assert!(NeighborAdvert::parse(ROUTER_LL, ALL_NODES, 64, &bytes).is_err());
}

//
#[test]
fn a_wrong_checksum_is_refused() {
    let mut bytes = solicit_bytes(&SOLICIT, ROUTER_LL, AFTR);
    bytes[2] ^= 1;
    let refused = refused_solicit(&bytes, ROUTER_LL, AFTR);
    assert_eq!(refused, (2, ParseErrorKind::Checksum));
    bytes[2] ^= 1;
    let refused = refused_solicit(&bytes, ROUTER_LL, ROUTER_LL);
    assert_eq!(refused, (2, ParseErrorKind::Checksum));
}

//
#[test]
fn each_rule_of_the_list_is_checked() {
    let bytes = solicit_bytes(&SOLICIT, ROUTER_LL, AFTR);
    let value = ParseErrorKind::Value;
    let length = ParseErrorKind::Length;
    let cases: [(usize, &[u8], u16, ParseErrorKind); 7] = [
        (0, &[136], 0, value(136)),        // type
        (1, &[1], 1, value(1)),            // code
        (8, &[0xff, 2], 8, value(0xff02)), // multicast target
        (25, &[0], 25, length(0)),         // option of length zero
        (25, &[2], 25, length(16)),        // option cut off
        (26, &[1], 26, value(0x0100)),     // group address
        (33, &[0], 33, length(0)),         // second option of length zero
    ];
    for (at, new, offset, kind) in cases {
        let message = altered(&bytes, at, new, ROUTER_LL, AFTR);
        let refused = refused_solicit(&message, ROUTER_LL, AFTR);
        assert_eq!(refused, (offset, kind), "byte {at}");
    }
}

//
#[test]
fn an_unspecified_source_needs_a_solicited_node_destination_and_no_address_option() {
    let unspecified = Ipv6Addr::UNSPECIFIED;
    let dst = solicited_node(AFTR);
    let bare = NeighborSolicit {
        source_mac: None,
        ..SOLICIT
    };
    let bytes = solicit_bytes(&bare, unspecified, dst);
    assert_eq!(
        NeighborSolicit::parse(unspecified, dst, 255, &bytes),
        Ok(bare)
    );

    for elsewhere in [AFTR, ALL_NODES] {
        let bytes = solicit_bytes(&bare, unspecified, elsewhere);
        let (offset, _) = refused_solicit(&bytes, unspecified, elsewhere);
        assert_eq!(offset, 8, "{elsewhere}");
    }

    let bytes = solicit_bytes(&SOLICIT, unspecified, dst);
    assert!(NeighborSolicit::parse(unspecified, dst, 255, &bytes).is_err());

    // An address option of another length is still an address option.
    let long = [1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let bytes = altered(
        &solicit_bytes(&bare, unspecified, dst),
        24,
        &long,
        unspecified,
        dst,
    );
    assert!(NeighborSolicit::parse(unspecified, dst, 255, &bytes).is_err());
}

//
#[test]
fn an_advertisement_to_a_multicast_address_is_not_solicited() {
    let mut advert = NeighborAdvert::unsolicited(AFTR, VMAC);
    advert.solicited = true;
    let bytes = advert_bytes(&advert, ROUTER_LL, ALL_NODES);
    let error = NeighborAdvert::parse(ROUTER_LL, ALL_NODES, 255, &bytes).unwrap_err();
    assert_eq!(error.kind, ParseErrorKind::Value(0xe0));
    let bytes = advert_bytes(&advert, ROUTER_LL, AFTR);
    assert_eq!(
        NeighborAdvert::parse(ROUTER_LL, AFTR, 255, &bytes),
        Ok(advert)
    );
}

//
#[test]
fn unknown_options_and_reserved_bits_are_ignored() {
    let nonce = [14, 1, 1, 2, 3, 4, 5, 6, 1, 1, 0, 0, 0x5e, 0, 2, 1];
    let bytes = solicit_bytes(&SOLICIT, ROUTER_LL, AFTR);
    let bytes = altered(&bytes, 24, &nonce, ROUTER_LL, AFTR);
    let bytes = altered(&bytes, 4, &[0xff; 4], ROUTER_LL, AFTR);
    assert_eq!(
        NeighborSolicit::parse(ROUTER_LL, AFTR, 255, &bytes),
        Ok(SOLICIT)
    );
}

#[test]
fn of_two_address_options_the_first_counts() {
    let bytes = solicit_bytes(&SOLICIT, ROUTER_LL, AFTR);
    let second = [1, 1, 2, 0, 0, 0, 0, 9];
    let bytes = altered(&bytes, 32, &second, ROUTER_LL, AFTR);
    assert_eq!(
        NeighborSolicit::parse(ROUTER_LL, AFTR, 255, &bytes),
        Ok(SOLICIT)
    );
}

//
#[test]
fn an_answer_goes_to_the_asker_and_a_proxy_does_not_override() {
    let (dst, advert) = NeighborAdvert::answer(&SOLICIT, ROUTER_LL, VMAC, Answers::AsProxy);
    assert_eq!(dst, ROUTER_LL);
    assert!(advert.solicited && advert.router && !advert.override_);
    let (_, advert) = NeighborAdvert::answer(&SOLICIT, ROUTER_LL, VMAC, Answers::Itself);
    assert!(advert.override_);
    assert_eq!(advert.target_mac, Some(VMAC));
    let nobody = Ipv6Addr::UNSPECIFIED;
    let (dst, advert) = NeighborAdvert::answer(&SOLICIT, nobody, VMAC, Answers::Itself);
    assert_eq!((dst, advert.solicited), (ALL_NODES, false));
}

#[test]
fn multicast_addresses_are_formed() {
    let addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0xab12, 0x3456);
    let node = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff12, 0x3456);
    assert_eq!(solicited_node(addr), node);
    assert!(is_solicited_node(node) && !is_solicited_node(ALL_NODES));
    assert_eq!(
        multicast_mac(node),
        MacAddr([0x33, 0x33, 0xff, 0x12, 0x34, 0x56])
    );
}
