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
fn writing_the_fields_gives_the_bytes() {
    let packet = Ipv4Packet::split(&V3).unwrap();
    assert_eq!(packet.header.fields().to_bytes(), *packet.header.as_bytes());
}
