//! What the kernel leaves to network cards, done here instead.
//!
//! The kernel describes each received frame by a `virtio_net_hdr` (10 bytes, native byte order):
//!
//! ```text
//! 0 flags   1 gso_type   2..4 hdr_len   4..6 gso_size   6..8 csum_start   8..10 csum_offset
//! ```

use lw4o6_wire::checksum;

/// Length of the description in bytes.
pub(super) const LEN: usize = 10;

/// The checksum is not there yet.
const NEEDS_CHECKSUM: u8 = 1;

/// Kinds of segments.
const GSO_TCPV4: u8 = 1;
const GSO_TCPV6: u8 = 4;
const GSO_UDP_L4: u8 = 5;

/// ECN mark beside the kind of segments.
const GSO_ECN: u8 = 0x80;

/// What remains to be done to a received frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offload {
    /// Where the checksum is to be completed: start of the summed bytes and place of the checksum,
    /// both from the start of the frame.
    pub checksum: Option<(usize, usize)>,
    /// Whether the frame holds several segments that were to be cut.
    pub segments: bool,
    /// What the segments are, where we know how to cut them.
    pub kind: Option<Kind>,
    /// Bytes of payload in each segment but the last.
    pub segment_size: u16,
}

/// What joined segments are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// TCP segments.
    Tcp,
    /// UDP datagrams.
    Udp,
}

impl Offload {
    /// Reads the kernel's description of a frame.
    #[must_use]
    pub fn parse(header: &[u8; LEN]) -> Self {
        let [flags, gso_type, _, _, g0, g1, s0, s1, o0, o1] = *header;
        let gso_type = gso_type & !GSO_ECN;
        let start = usize::from(u16::from_ne_bytes([s0, s1]));
        let offset = usize::from(u16::from_ne_bytes([o0, o1]));
        Self {
            checksum: (flags & NEEDS_CHECKSUM != 0).then_some((start, start + offset)),
            segments: gso_type != 0,
            kind: match gso_type {
                GSO_TCPV4 | GSO_TCPV6 => Some(Kind::Tcp),
                GSO_UDP_L4 => Some(Kind::Udp),
                _ => None,
            },
            segment_size: u16::from_ne_bytes([g0, g1]),
        }
    }

    /// Completes the checksum, if one is missing; whether it was.
    ///
    /// The place of the checksum already holds the sum of the pseudo-header. This serves every
    /// protocol that stores a one's complement sum, in the outer packet or inside a tunnel.
    pub fn complete(&self, frame: &mut [u8]) -> bool {
        let Some((start, place)) = self.checksum else {
            return false;
        };
        let Some(summed) = frame.get(start..) else {
            return false;
        };
        // 0 would mean "no checksum" to UDP; the others take both forms of zero.
        let sum = checksum::udp_wire(checksum::checksum(summed));
        match frame
            .get_mut(place..)
            .and_then(<[u8]>::first_chunk_mut::<2>)
        {
            Some(field) => {
                *field = sum.to_be_bytes();
                true
            }
            None => false,
        }
    }
}

/// Puts a VLAN tag between the addresses and the type of the frame at `start`; there must be 4 bytes
/// in front of it. Returns the new start.
pub(super) fn restore_tag(storage: &mut [u8], start: usize, tpid: u16, tci: u16) -> Option<usize> {
    let to = start.checked_sub(4)?;
    let [a, b] = tpid.to_be_bytes();
    let [c, d] = tci.to_be_bytes();
    let room = storage.get_mut(to..start + 12)?;
    room.copy_within(4.., 0);
    *room.last_chunk_mut::<4>()? = [a, b, c, d];
    Some(to)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use lw4o6_wire::IpProtocol;
    use lw4o6_wire::checksum::{pseudo_v4, pseudo_v6};

    use super::*;

    fn description(flags: u8, gso: u8, start: u16, offset: u16) -> [u8; LEN] {
        let [a, b] = start.to_ne_bytes();
        let [c, d] = offset.to_ne_bytes();
        [flags, gso, 0, 0, 0, 0, a, b, c, d]
    }

    /// A frame whose upper layer starts at `start`, left by the kernel with the pseudo-header's sum at
    /// `offset` in it.
    fn partial(start: usize, offset: usize, pseudo: u16, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![0x5a; start];
        frame.extend_from_slice(payload);
        frame[start + offset..start + offset + 2].copy_from_slice(&pseudo.to_be_bytes());
        frame
    }

    #[test]
    fn a_partial_checksum_of_every_protocol_and_family_is_completed() {
        let v4 = (Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(198, 51, 100, 2));
        let v6: (Ipv6Addr, Ipv6Addr) = (
            "2001:db8::1".parse().unwrap(),
            "2001:db8::2".parse().unwrap(),
        );
        for (protocol, offset) in [
            (IpProtocol::TCP, 16),
            (IpProtocol::UDP, 6),
            (IpProtocol::ICMPV6, 2),
        ] {
            // 34: IPv4 in Ethernet; 54: IPv6; 74: IPv4 inside an IPv6 tunnel.
            for start in [34, 54, 74] {
                for len in [20usize, 21, 1399, 1400] {
                    let payload: Vec<u8> = (0..len).map(|i| i.to_le_bytes()[0]).collect();
                    let size = u16::try_from(len).unwrap();
                    let pseudo = match start {
                        54 => pseudo_v6(v6.0, v6.1, protocol, u32::from(size)),
                        _ => pseudo_v4(v4.0, v4.1, protocol, size),
                    };
                    let at = u16::try_from(start).unwrap();
                    let mut frame = partial(start, offset, !pseudo.clone().finish(), &payload);
                    let place = u16::try_from(offset).unwrap();
                    let offload = Offload::parse(&description(NEEDS_CHECKSUM, 0, at, place));
                    assert!(offload.complete(&mut frame));
                    let mut sum = pseudo;
                    sum.add(&frame[start..]);
                    assert_eq!(sum.finish(), 0, "{protocol:?} at {start}, {len} bytes");
                }
            }
        }
    }

    #[test]
    fn a_checksum_that_would_be_zero_is_written_as_all_ones() {
        let mut frame = vec![0xff; 8];
        frame[6..].fill(0);
        assert!(
            Offload {
                checksum: Some((0, 6)),
                segments: false,
                kind: None,
                segment_size: 0,
            }
            .complete(&mut frame)
        );
        assert_eq!(frame[6..], [0xff, 0xff]);
    }

    #[test]
    fn a_finished_frame_is_left_alone() {
        let mut frame = vec![1, 2, 3, 4];
        assert!(!Offload::parse(&description(0, 0, 2, 0)).complete(&mut frame));
        assert_eq!(frame, [1, 2, 3, 4]);
    }

    #[test]
    fn a_place_outside_the_frame_changes_nothing() {
        for (start, offset) in [(5, 0), (0, 3), (0, 4), (4, 0), (65535, 65535)] {
            let mut frame = vec![1, 2, 3, 4];
            assert!(!Offload::parse(&description(1, 0, start, offset)).complete(&mut frame));
            assert_eq!(frame, [1, 2, 3, 4]);
        }
    }

    #[test]
    fn joined_segments_are_seen_and_the_ecn_mark_alone_is_none() {
        assert!(Offload::parse(&description(1, 1, 0, 0)).segments);
        assert!(Offload::parse(&description(0, 0x84, 0, 0)).segments);
        assert!(!Offload::parse(&description(0, 0x80, 0, 0)).segments);
    }

    #[test]
    fn a_tag_goes_back_behind_the_addresses() {
        let mut storage = [0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 8, 0, 9];
        assert_eq!(restore_tag(&mut storage, 4, 0x8100, 0x2007), Some(0));
        assert_eq!(
            storage,
            [
                1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 0x81, 0, 0x20, 7, 8, 0, 9
            ]
        );
        assert_eq!(restore_tag(&mut storage, 3, 0x8100, 1), None);
        assert_eq!(restore_tag(&mut storage, 10, 0x8100, 1), None);
    }
}
