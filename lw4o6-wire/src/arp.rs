//! ARP for IPv4 over Ethernet (RFC 826).
//!
//! ```text
//! byte  0        2        4    5    6        8
//!       | 1      | 0x0800 | 6  | 4  | op     |    hardware, protocol, their lengths, operation
//!  8    | sender hardware (6) | sender protocol (4) |
//! 18    | target hardware (6) | target protocol (4) |
//! 28
//! ```

use core::borrow::Borrow;
use core::net::Ipv4Addr;

use crate::ethernet::MacAddr;
use crate::{Layer, ParseError, ParseErrorKind};

/// Length of a packet in bytes.
pub const ARP_LEN: usize = 28;

type Bytes = [u8; ARP_LEN];

/// What a packet is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ArpOp(pub u16);

impl ArpOp {
    /// Asks for the hardware address of the target.
    pub const REQUEST: Self = Self(1);
    /// Gives the hardware address of the sender.
    pub const REPLY: Self = Self(2);
}

/// A view of an ARP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArpPacket<B>(B);

impl<'a> ArpPacket<&'a Bytes> {
    /// Splits an Ethernet payload into a packet that can be believed, and the padding after it.
    ///
    /// # Errors
    ///
    /// Where it is shorter than 28 bytes, is not about IPv4 over Ethernet, is neither request nor
    /// reply, or where the sender's hardware address is a group address (RFC 1812 §3.3.2) or its
    /// protocol address multicast or broadcast. A sender of 0.0.0.0 is a probe (RFC 5227 §1.1).
    pub fn split(payload: &'a [u8]) -> Result<(Self, &'a [u8]), ParseError> {
        // R-001
        let (bytes, padding) = payload
            .split_first_chunk()
            .ok_or_else(|| ParseError::truncated(Layer::Arp, ARP_LEN, payload.len()))?;
        let packet = Self(bytes);
        let [h0, h1, p0, p1, hlen, plen, ..] = *bytes;
        let spa = packet.sender_ip();
        expect(0, u16::from_be_bytes([h0, h1]), |v| v == 1)?;
        expect(2, u16::from_be_bytes([p0, p1]), |v| v == 0x0800)?;
        expect(4, u16::from(hlen), |v| v == 6)?;
        expect(5, u16::from(plen), |v| v == 4)?;
        expect(6, packet.op().0, |v| v == 1 || v == 2)?;
        expect(8, packet.sender_group(), |_| {
            !packet.sender_mac().is_multicast()
        })?;
        let [a, b, ..] = spa.octets();
        expect(14, u16::from_be_bytes([a, b]), |_| {
            !spa.is_multicast() && !spa.is_broadcast()
        })?;
        Ok((packet, padding))
    }
}

fn expect(offset: u16, value: u16, fits: impl Fn(u16) -> bool) -> Result<(), ParseError> {
    if fits(value) {
        return Ok(());
    }
    Err(ParseError {
        layer: Layer::Arp,
        offset,
        kind: ParseErrorKind::Value(value),
    })
}

impl<B: Borrow<Bytes>> ArpPacket<B> {
    /// Request or reply.
    pub fn op(&self) -> ArpOp {
        let [_, _, _, _, _, _, hi, lo, ..] = *self.bytes();
        ArpOp(u16::from_be_bytes([hi, lo]))
    }

    /// Hardware address of the sender.
    pub fn sender_mac(&self) -> MacAddr {
        let [_, _, _, _, _, _, _, _, a, b, c, d, e, f, ..] = *self.bytes();
        MacAddr([a, b, c, d, e, f])
    }

    /// Protocol address of the sender.
    pub fn sender_ip(&self) -> Ipv4Addr {
        let bytes = self.bytes();
        Ipv4Addr::new(bytes[14], bytes[15], bytes[16], bytes[17])
    }

    /// Hardware address of the target; without meaning in a request.
    pub fn target_mac(&self) -> MacAddr {
        let [.., a, b, c, d, e, f, _, _, _, _] = *self.bytes();
        MacAddr([a, b, c, d, e, f])
    }

    /// Protocol address of the target.
    pub fn target_ip(&self) -> Ipv4Addr {
        let [.., a, b, c, d] = *self.bytes();
        Ipv4Addr::new(a, b, c, d)
    }

    /// All of it, to be changed and sent back.
    pub fn fields(&self) -> ArpFields {
        ArpFields {
            op: self.op(),
            sender_mac: self.sender_mac(),
            sender_ip: self.sender_ip(),
            target_mac: self.target_mac(),
            target_ip: self.target_ip(),
        }
    }

    /// The first two bytes of the sender's hardware address, for errors.
    fn sender_group(&self) -> u16 {
        let bytes = self.bytes();
        u16::from_be_bytes([bytes[8], bytes[9]])
    }

    fn bytes(&self) -> &Bytes {
        self.0.borrow()
    }
}

/// The fields of a packet that is about to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArpFields {
    /// Request or reply.
    pub op: ArpOp,
    /// Hardware address of the sender.
    pub sender_mac: MacAddr,
    /// Protocol address of the sender.
    pub sender_ip: Ipv4Addr,
    /// Hardware address of the target, zero in a request.
    pub target_mac: MacAddr,
    /// Protocol address of the target.
    pub target_ip: Ipv4Addr,
}

impl ArpFields {
    /// A request for the hardware address of `target`.
    #[must_use]
    pub fn request(sender_mac: MacAddr, sender_ip: Ipv4Addr, target_ip: Ipv4Addr) -> Self {
        Self {
            op: ArpOp::REQUEST,
            sender_mac,
            sender_ip,
            target_mac: MacAddr::ZERO,
            target_ip,
        }
    }

    /// The reply to this request from the station `mac` that answers for its target.
    #[must_use]
    pub fn reply_from(&self, mac: MacAddr) -> Self {
        Self {
            op: ArpOp::REPLY,
            sender_mac: mac,
            sender_ip: self.target_ip,
            target_mac: self.sender_mac,
            target_ip: self.sender_ip,
        }
    }

    /// The announcement of an address (RFC 5227 §3): a request in which sender and target agree.
    #[must_use]
    pub fn announcement(mac: MacAddr, ip: Ipv4Addr) -> Self {
        Self::request(mac, ip, ip)
    }

    /// The 28 bytes of the packet.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; ARP_LEN] {
        let mut out = [0; ARP_LEN];
        out[..6].copy_from_slice(&[0, 1, 8, 0, 6, 4]);
        out[6..8].copy_from_slice(&self.op.0.to_be_bytes());
        out[8..14].copy_from_slice(&self.sender_mac.0);
        out[14..18].copy_from_slice(&self.sender_ip.octets());
        out[18..24].copy_from_slice(&self.target_mac.0);
        out[24..].copy_from_slice(&self.target_ip.octets());
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: ArpFields = ArpFields {
        op: ArpOp::REQUEST,
        sender_mac: MacAddr([2, 0, 0, 0, 0, 1]),
        sender_ip: Ipv4Addr::new(192, 0, 2, 1),
        target_mac: MacAddr::ZERO,
        target_ip: Ipv4Addr::new(192, 0, 2, 2),
    };

    #[test]
    fn a_request_has_the_bytes_of_the_rfc() {
        let mac = REQUEST.sender_mac;
        let fields = ArpFields::request(mac, REQUEST.sender_ip, REQUEST.target_ip);
        let bytes = [
            0, 1, 8, 0, 6, 4, 0, 1, // Ethernet, IPv4, lengths, request
            2, 0, 0, 0, 0, 1, 192, 0, 2, 1, // sender
            0, 0, 0, 0, 0, 0, 192, 0, 2, 2, // target
        ];
        assert_eq!(fields.to_bytes(), bytes);
        assert_eq!(ArpPacket::split(&bytes).unwrap().0.fields(), fields);
    }

    #[test]
    fn a_reply_exchanges_the_sides() {
        let mac = MacAddr([2, 0, 0, 0, 0, 2]);
        let reply = REQUEST.reply_from(mac);
        assert_eq!(reply.op, ArpOp::REPLY);
        assert_eq!(
            (reply.sender_mac, reply.sender_ip),
            (mac, REQUEST.target_ip)
        );
        assert_eq!(reply.target_mac, REQUEST.sender_mac);
        assert_eq!(reply.target_ip, REQUEST.sender_ip);
    }

    #[test]
    fn an_announcement_names_its_address_twice() {
        let fields = ArpFields::announcement(REQUEST.sender_mac, REQUEST.sender_ip);
        assert_eq!(fields.sender_ip, fields.target_ip);
        assert_eq!(fields.op, ArpOp::REQUEST);
    }

    // R-001
    #[test]
    fn every_prefix_is_refused() {
        let bytes = REQUEST.to_bytes();
        for len in 0..bytes.len() {
            assert!(ArpPacket::split(&bytes[..len]).is_err(), "{len}");
        }
    }

    // R-014
    #[test]
    fn padding_is_not_part_of_the_packet() {
        let padded = [&REQUEST.to_bytes()[..], &[0; 18]].concat();
        let (packet, padding) = ArpPacket::split(&padded).unwrap();
        assert_eq!(packet.fields(), REQUEST);
        assert_eq!(padding.len(), 18);
    }

    #[test]
    fn a_wrong_byte_is_refused_where_it_stands() {
        let cases = [
            (1, 6, 0),     // IEEE 802 instead of Ethernet
            (2, 0x86, 2),  // another protocol
            (4, 8, 4),     // hardware length
            (5, 16, 5),    // protocol length
            (7, 0, 6),     // no operation
            (7, 3, 6),     // reverse ARP
            (8, 0x33, 8),  // group address
            (14, 224, 14), // multicast
        ];
        for (at, value, offset) in cases {
            let mut bytes = REQUEST.to_bytes();
            bytes[at] = value;
            let error = ArpPacket::split(&bytes).unwrap_err();
            assert_eq!((error.layer, error.offset), (Layer::Arp, offset), "{at}");
        }
    }

    #[test]
    fn a_broadcast_sender_is_refused_and_a_probe_is_not() {
        let mut fields = REQUEST;
        fields.sender_ip = Ipv4Addr::BROADCAST;
        assert!(ArpPacket::split(&fields.to_bytes()).is_err());
        fields.sender_ip = Ipv4Addr::UNSPECIFIED;
        assert!(ArpPacket::split(&fields.to_bytes()).is_ok());
    }
}
