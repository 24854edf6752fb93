//! A Neighbor Discovery message that is believed passed every check, and survives a round trip.

use std::net::Ipv6Addr;

use lw4o6_wire::checksum::pseudo_v6;
use lw4o6_wire::ndp::{NDP_LEN_WITH_ADDRESS, NeighborAdvert, NeighborSolicit, is_solicited_node};
use lw4o6_wire::{IpProtocol, icmpv6};

use super::fill_checksum;

/// Input: hop limit, a byte whose lowest bit asks for a right checksum, source, destination,
/// message.
pub fn law(data: &[u8]) {
    let Some((&[hop_limit, control], rest)) = data.split_first_chunk() else {
        return;
    };
    let Some((&src, rest)) = rest.split_first_chunk::<16>() else {
        return;
    };
    let Some((&dst, rest)) = rest.split_first_chunk::<16>() else {
        return;
    };
    let (src, dst) = (Ipv6Addr::from(src), Ipv6Addr::from(dst));
    let mut message = rest.to_vec();
    if control & 1 == 1 {
        let len = u32::try_from(message.len()).unwrap_or(u32::MAX);
        fill_checksum(
            &mut message,
            2,
            pseudo_v6(src, dst, IpProtocol::ICMPV6, len),
        );
    }
    let solicit = NeighborSolicit::parse(src, dst, hop_limit, &message);
    let advert = NeighborAdvert::parse(src, dst, hop_limit, &message);
    if solicit.is_ok() || advert.is_ok() {
        assert!(solicit.is_err() || advert.is_err());
        assert_eq!((hop_limit, message.get(1)), (255, Some(&0)));
        assert!(message.len() >= 24);
        assert!(icmpv6::verify(src, dst, &message));
    }
    let mut out = [0xaa; NDP_LEN_WITH_ADDRESS];
    if let Ok(solicit) = solicit {
        assert!(!solicit.target.is_multicast());
        let nobody = src.is_unspecified();
        assert!(!nobody || solicit.source_mac.is_none() && is_solicited_node(dst));
        let len = solicit.emit(src, dst, &mut out).unwrap_or_default();
        let again = NeighborSolicit::parse(src, dst, 255, super::prefix(&out, len));
        assert_eq!(again, Ok(solicit));
    }
    if let Ok(advert) = advert {
        assert!(!advert.target.is_multicast());
        assert!(!(advert.solicited && dst.is_multicast()));
        let len = advert.emit(src, dst, &mut out).unwrap_or_default();
        let again = NeighborAdvert::parse(src, dst, 255, super::prefix(&out, len));
        assert_eq!(again, Ok(advert));
    }
}
