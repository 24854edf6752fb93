//! IPv4 packets from the Internet to shared addresses (RFC 791 §3.2), where the knob says so.
//!
//! They differ from tunnel packets in who sends them: anybody, from any address that can be forged.
//! So the oldest datagram makes room for a new one, for the reason that
//! [`tracker`](crate::tracker) gives, and nobody is told about a datagram that stays incomplete.

use core::time::Duration;

use lw4o6_wire::{EcnMix, Instant, Ipv4Header, Ipv4Packet, checksum};

use super::arrival::{Arrival, First};
use super::family::Family;
use super::{Key, Reassembled, Reassembly, refused};
use crate::DropReason;
use crate::config::{FragmentConfig, ReassemblyConfig};
use crate::slab::Slab;
use crate::tracker::Piece;

static IPV4: Family = Family {
    uncounted: 0,
    finish,
    evicts: true,
    duplicate: DropReason::Ipv4FragmentDuplicate,
    overlap: DropReason::Ipv4FragmentOverlap,
    conflict: DropReason::Ipv4FragmentConflict,
    count: DropReason::Ipv4FragmentCount,
    too_big: DropReason::Ipv4FragmentMalformed,
    too_long: DropReason::Ipv4FragmentMalformed,
    quota: DropReason::Ipv4FragmentQuota,
    full: DropReason::Ipv4FragmentFull,
};

/// Least time a datagram is kept. // R-148
const MIN_TIMEOUT: Duration = Duration::from_secs(2);

impl Reassembly {
    /// The same for IPv4. The number of contexts is fixed here.
    pub(crate) fn new_ipv4(config: &FragmentConfig, slab: &Slab, secret: [u8; 16]) -> Self {
        Self::of_family(&IPV4, &knobs(config), u16::MAX, slab, secret)
    }

    /// Puts other limits in force. Contexts beyond the number at construction are not added.
    pub(crate) fn reconfigure_ipv4(&mut self, config: &FragmentConfig, slab: &Slab) {
        self.reconfigure(&knobs(config), u16::MAX, slab);
    }

    /// Takes in a fragment, an IPv4 packet. A reassembled packet is written to `scratch` from
    /// `start` on. // R-141 R-146
    pub(crate) fn push_ipv4(
        &mut self,
        slab: &mut Slab,
        now: Instant,
        packet: &[u8],
        scratch: &mut [u8],
        start: usize,
    ) -> Reassembled {
        let Ok(split) = Ipv4Packet::split(packet) else {
            return refused(DropReason::Internal, 0);
        };
        let piece = match Piece::of(&split) {
            Ok(piece) => piece,
            Err(reason) => return refused(reason, 0),
        };
        let (header, head_len) = (&split.header, split.header_len());
        let arrival = Arrival {
            packet: packet.get(..split.total_len()).unwrap_or(packet), // padding
            data: split.payload,
            offset: piece.offset,
            more: piece.more,
            ecn: header.ecn(),
            first: First {
                head_len,
                next: header.protocol(),
                named_at: 0,
                flow: piece.ports,
            },
        };
        let key = Key {
            src: header.src().to_ipv6_mapped().octets(),
            dst: header.dst().to_ipv6_mapped().octets(),
            ident: u32::from(header.protocol().0) << 16 | u32::from(header.ident()),
        };
        self.take_in(slab, now, key, &arrival, scratch, start)
    }
}

/// The knobs of IPv4 in the form of those of IPv6. The other half of the bytes is for fragments
/// from B4s, which are followed.
fn knobs(config: &FragmentConfig) -> ReassemblyConfig {
    ReassemblyConfig {
        contexts: config.contexts,
        bytes: config.bytes / 2,
        bytes_per_b4: config.bytes_per_source,
        fragments: config.fragments,
        timeout: config.timeout.max(MIN_TIMEOUT),
    }
}

/// Makes the header of the first fragment one of the whole packet; options and Don't Fragment stay.
fn finish(packet: &mut [u8], first: First, ecn: EcnMix, _: usize) -> Result<(), DropReason> {
    let total_len = u16::try_from(packet.len()).map_err(|_| DropReason::Ipv4FragmentMalformed)?;
    let head = packet.get_mut(..first.head_len);
    let head = head.ok_or(DropReason::Internal)?;
    let mut header = Ipv4Header::new(head.first_chunk_mut::<20>().ok_or(DropReason::Internal)?);
    let ecn = ecn.result(header.ecn());
    let ecn = ecn.ok_or(DropReason::Ipv4ReassemblyEcn)?; // RFC 3168 §5.3
    header.set_tos(header.dscp() << 2 | ecn.bits());
    header.set_total_len(total_len);
    header.set_flags_offset(header.dont_fragment(), false, 0);
    header.set_checksum(0);
    let sum = checksum::checksum(head);
    if let Some(head) = head.first_chunk_mut::<20>() {
        Ipv4Header::new(head).set_checksum(sum);
    }
    Ok(())
}
