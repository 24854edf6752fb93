//! An IPv4 packet is exactly what its total length says, and edits keep its checksum valid.

use lw4o6_wire::Ipv4Packet;
use lw4o6_wire::checksum;
use lw4o6_wire::ipv4::{decrement_ttl, header_mut, set_tos};

use super::prefix;

/// Input: a new TOS byte, then a packet with link-layer padding.
pub fn law(data: &[u8]) {
    let Some((&tos, data)) = data.split_first() else {
        return;
    };
    let Ok(packet) = Ipv4Packet::split(data) else {
        return;
    };
    let total = packet.total_len();
    assert_eq!(total, usize::from(packet.header.total_len()));
    assert_eq!(packet.header_len() + packet.payload.len(), total);
    assert_eq!(Ipv4Packet::split(prefix(data, total)), Ok(packet));
    for len in (0..total).rev().take(70) {
        assert!(Ipv4Packet::split(prefix(data, len)).is_err(), "{len}");
    }
    let quoted = Ipv4Packet::split_quoted(data);
    assert_eq!(quoted.map(|q| q.payload), Ok(packet.payload));
    if packet.header_checksum_ok() {
        canonical(&packet);
        edits(data, &packet, tos);
    }
}

/// `emit(parse(b)) == b` where there is one way to write the header.
fn canonical(packet: &Ipv4Packet<'_>) {
    let bytes = packet.header.as_bytes();
    let reserved_flag = bytes[6] & 0x80 != 0;
    // 0xffff is the other zero; it verifies, but nobody computes it.
    let other_zero = packet.header.checksum() == 0xffff;
    if packet.options.is_empty() && !reserved_flag && !other_zero {
        assert_eq!(packet.header.fields().to_bytes(), *bytes);
    }
}

fn edits(data: &[u8], packet: &Ipv4Packet<'_>, tos: u8) {
    let mut edited = data.to_vec();
    let ttl = packet.header.ttl();
    let Some(header) = header_mut(&mut edited) else {
        return;
    };
    if ttl > 0 {
        decrement_ttl(header);
    }
    set_tos(header, tos);
    assert!(checksum::verify(prefix(&edited, packet.header_len())));
    let after = Ipv4Packet::split(&edited).map(|p| (p.header.fields(), p.payload));
    let mut expected = packet.header.fields();
    (expected.tos, expected.ttl) = (tos, ttl.saturating_sub(1));
    assert_eq!(after, Ok((expected, packet.payload)));
}
