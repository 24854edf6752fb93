//! `emit(parse(b)) == b` for ARP packets, and a reply answers its request.

use lw4o6_wire::arp::{ARP_LEN, ArpOp, ArpPacket};
use lw4o6_wire::ethernet::MacAddr;

use super::prefix;

/// Input: an Ethernet payload.
pub fn law(data: &[u8]) {
    let Ok((packet, padding)) = ArpPacket::split(data) else {
        return;
    };
    let fields = packet.fields();
    assert_eq!(prefix(data, ARP_LEN), fields.to_bytes());
    assert_eq!(ARP_LEN + padding.len(), data.len());
    assert!(ArpPacket::split(prefix(data, ARP_LEN - 1)).is_err());
    assert!(!fields.sender_mac.is_multicast());

    let reply = fields.reply_from(MacAddr([2, 0, 0, 0, 0, 1]));
    assert_eq!(reply.op, ArpOp::REPLY);
    assert_eq!(reply.target_mac, fields.sender_mac);
    let bytes = reply.to_bytes();
    if let Ok((read, _)) = ArpPacket::split(&bytes) {
        assert_eq!(read.fields(), reply);
    } else {
        let ip = reply.sender_ip;
        assert!(ip.is_multicast() || ip.is_broadcast());
    }
}
