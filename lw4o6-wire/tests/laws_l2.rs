//! Laws of Ethernet, ARP and Neighbor Discovery.

use std::net::{Ipv4Addr, Ipv6Addr};

use lw4o6_wire::arp::{ArpFields, ArpOp, ArpPacket};
use lw4o6_wire::ethernet::{self, EthernetFields, MacAddr, VlanTag};
use lw4o6_wire::ndp::{self, NeighborAdvert, NeighborSolicit};
use lw4o6_wire::{EtherType, IpProtocol, Ipv4Fields, Ipv4Packet};
use proptest::collection::vec;
use proptest::prelude::*;

fn cases() -> ProptestConfig {
    let scale = std::env::var("LW4O6_SCALE").ok();
    let scale: u32 = scale.and_then(|s| s.parse().ok()).unwrap_or(1);
    ProptestConfig::with_cases(256 * scale)
}

fn mac() -> impl Strategy<Value = MacAddr> {
    any::<[u8; 6]>().prop_map(MacAddr)
}

fn station() -> impl Strategy<Value = MacAddr> {
    any::<[u8; 6]>().prop_map(|[first, b, c, d, e, f]| MacAddr([first & 0xfe, b, c, d, e, f]))
}

fn unicast() -> impl Strategy<Value = Ipv6Addr> {
    any::<[u8; 16]>()
        .prop_map(Ipv6Addr::from)
        .prop_filter("unicast", |a| !a.is_multicast() && !a.is_unspecified())
}

// T-14 R-014
#[test]
fn t14_padding_of_a_short_frame_is_cut_off_by_the_ip_length() {
    let fields = Ipv4Fields {
        tos: 0,
        total_len: 29,
        ident: 0,
        dont_fragment: true,
        more_fragments: false,
        fragment_offset: 0,
        ttl: 64,
        protocol: IpProtocol::UDP,
        src: Ipv4Addr::new(192, 0, 2, 18),
        dst: Ipv4Addr::new(198, 51, 100, 1),
    };
    let header = EthernetFields {
        dst: MacAddr([2, 0, 0, 0, 0, 1]),
        src: MacAddr([2, 0, 0, 0, 0, 2]),
        ethertype: EtherType::IPV4,
    };
    let tagged = header.to_tagged_bytes(VlanTag(100));
    for header in [&header.to_bytes()[..], &tagged] {
        let mut frame = [header, &fields.to_bytes(), b"12345678x"].concat();
        frame.resize(60, 0);
        let frame = ethernet::split(&frame).unwrap();
        assert_eq!(frame.payload.len(), 60 - header.len());
        let packet = Ipv4Packet::split(frame.payload).unwrap();
        assert_eq!(packet.payload, b"12345678x");
    }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn a_mac_address_is_read_as_it_is_shown(mac in mac()) {
        prop_assert_eq!(mac.to_string().parse(), Ok(mac));
    }

    #[test]
    fn a_frame_is_read_as_it_was_written(
        dst in mac(),
        src in mac(),
        ethertype in any::<u16>().prop_filter("no tag", |t| *t != 0x8100),
        tag in proptest::option::of(any::<u16>()),
        payload in vec(any::<u8>(), 0..60),
    ) {
        let fields = EthernetFields { dst, src, ethertype: EtherType(ethertype) };
        let vlan = tag.map(VlanTag);
        let header = vlan.map_or_else(
            || fields.to_bytes().to_vec(),
            |tag| fields.to_tagged_bytes(tag).to_vec(),
        );
        let bytes = [&header[..], &payload].concat();
        let frame = ethernet::split(&bytes).unwrap();
        prop_assert_eq!((frame.dst, frame.src, frame.vlan), (dst, src, vlan));
        prop_assert_eq!(frame.ethertype, fields.ethertype);
        prop_assert_eq!(frame.payload, &payload[..]);
        prop_assert_eq!(frame.header_len, header.len());
    }

    #[test]
    fn an_arp_packet_is_read_as_it_was_written(
        reply in any::<bool>(),
        sender_mac in station(),
        target_mac in mac(),
        sender in 0u32..0xe000_0000,
        target in any::<u32>(),
        padding in 0usize..20,
    ) {
        let op = if reply { ArpOp::REPLY } else { ArpOp::REQUEST };
        let (sender_ip, target_ip) = (sender.into(), target.into());
        let fields = ArpFields { op, sender_mac, sender_ip, target_mac, target_ip };
        let mut bytes = fields.to_bytes().to_vec();
        bytes.resize(28 + padding, 0);
        let (packet, rest) = ArpPacket::split(&bytes).unwrap();
        prop_assert_eq!(packet.fields(), fields);
        prop_assert_eq!(rest.len(), padding);
    }

    //
    #[test]
    fn a_solicitation_is_read_as_it_was_written(
        src in unicast(),
        target in unicast(),
        source_mac in proptest::option::of(station()),
    ) {
        let dst = ndp::solicited_node(target);
        let solicit = NeighborSolicit { target, source_mac };
        let mut bytes = [0; 32];
        let len = solicit.emit(src, dst, &mut bytes).unwrap();
        prop_assert_eq!(NeighborSolicit::parse(src, dst, 255, &bytes[..len]), Ok(solicit));
        prop_assert!(NeighborAdvert::parse(src, dst, 255, &bytes[..len]).is_err());
    }

    //
    #[test]
    fn an_advertisement_is_read_as_it_was_written(
        src in unicast(),
        dst in unicast(),
        target in unicast(),
        flags in any::<[bool; 3]>(),
        target_mac in proptest::option::of(station()),
    ) {
        let [router, solicited, override_] = flags;
        let advert = NeighborAdvert { router, solicited, override_, target, target_mac };
        let mut bytes = [0; 32];
        let len = advert.emit(src, dst, &mut bytes).unwrap();
        prop_assert_eq!(NeighborAdvert::parse(src, dst, 255, &bytes[..len]), Ok(advert));
        // Any other hop limit has crossed a router.
        prop_assert!(NeighborAdvert::parse(src, dst, 254, &bytes[..len]).is_err());
    }

    //
    #[test]
    fn a_flipped_bit_is_refused(src in unicast(), target in unicast(), bit in 0usize..256) {
        let dst = ndp::solicited_node(target);
        let solicit = NeighborSolicit { target, source_mac: Some(MacAddr([2; 6])) };
        let mut bytes = [0; 32];
        solicit.emit(src, dst, &mut bytes).unwrap();
        bytes[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(NeighborSolicit::parse(src, dst, 255, &bytes).is_err());
    }
}
