//! Tunnel packets.

use lw4o6_wire::ipv6_ext::{self, ExtWalk};
use lw4o6_wire::{EcnMix, Instant, Ipv6Header};

use super::arrival::{Arrival, First, check_alone};
use super::family::Family;
use super::{Datagram, FIXED, Key, Limits, Reassembled, Reassembly, refused};
use crate::DropReason;
use crate::config::ReassemblyConfig;
use crate::quota::Usage;
use crate::slab::Slab;

static IPV6: Family = Family {
    uncounted: FIXED,
    finish,
    evicts: false,
    duplicate: DropReason::Ipv6FragmentDuplicate,
    overlap: DropReason::Ipv6FragmentOverlap,
    conflict: DropReason::Ipv6FragmentOverlap, // not told apart
    count: DropReason::Ipv6FragmentCount,
    too_big: DropReason::Ipv6ReassembledTooBig,
    too_long: DropReason::Ipv6FragmentTooLong,
    quota: DropReason::Ipv6ReassemblyQuota,
    full: DropReason::Ipv6ReassemblyFull,
};

impl Reassembly {
    /// Reassembly within half of `slab` at most. The number of contexts is fixed here.
    pub(crate) fn new(
        config: &ReassemblyConfig,
        path_mru: u16,
        slab: &Slab,
        secret: [u8; 16],
    ) -> Self {
        Self::of_family(&IPV6, config, path_mru, slab, secret)
    }

    /// Puts other limits in force. Contexts beyond the number at construction are not added.
    pub(crate) fn reconfigure(&mut self, config: &ReassemblyConfig, path_mru: u16, slab: &Slab) {
        let capacity = Usage {
            contexts: self.datagrams.capacity(),
            bytes: slab.capacity() / 2,
            pieces: self.pieces.capacity(),
        };
        self.limits = Limits::new(config, path_mru, capacity);
        let Limits {
            total, per_source, ..
        } = self.limits;
        self.quota.set_limits(total, per_source);
        self.share
            .settle(self.limits.budget, self.quota.total().bytes);
    }

    /// Takes in a fragment. `packet` is the whole IPv6 packet without padding, `walk` ended at its
    /// Fragment header.
    ///
    /// A reassembled packet is written to `scratch` from `start` on.
    pub(crate) fn push(
        &mut self,
        slab: &mut Slab,
        now: Instant,
        packet: &[u8],
        walk: &ExtWalk<'_>,
        scratch: &mut [u8],
        start: usize,
    ) -> Reassembled {
        let (Some(header), Ok((outer, _))) = (walk.fragment, Ipv6Header::split_quoted(packet))
        else {
            return refused(DropReason::Internal, 0);
        };
        let arrival = Arrival {
            packet,
            data: walk.payload,
            offset: header.offset,
            more: header.more,
            ecn: outer.ecn(),
            first: First {
                head_len: FIXED + walk.offset,
                next: header.next,
                named_at: walk.next_header_at,
                flow: None,
            },
        };
        if let Err(refused) = check_alone(&arrival, walk) {
            return refused;
        }
        if header.is_atomic() {
            // alone, whatever else carries this identification.
            let mut alone = Datagram::new(Usage::default());
            alone.take(&arrival);
            return self.complete(slab, alone, &arrival, scratch, start);
        }
        let key = Key {
            src: outer.src().octets(),
            dst: outer.dst().octets(),
            ident: header.ident,
        };
        self.take_in(slab, now, key, &arrival, scratch, start)
    }
}

/// Takes the Fragment header out of the chain and sets what depends on the other fragments.
fn finish(packet: &mut [u8], first: First, ecn: EcnMix, path_mru: usize) -> Result<(), DropReason> {
    let payload_field = u16::try_from(packet.len().saturating_sub(FIXED))
        .map_err(|_| DropReason::Ipv6FragmentTooLong)?;
    if let Some(next) = packet.get_mut(first.named_at) {
        *next = first.next.0;
    }
    let fixed: &mut [u8; FIXED] = packet.first_chunk_mut().ok_or(DropReason::Internal)?;
    let mut fixed = Ipv6Header::new(fixed);
    fixed.set_payload_len(payload_field);
    let ecn = ecn.result(fixed.ecn());
    let ecn = ecn.ok_or(DropReason::Ipv6ReassemblyEcn)?;
    fixed.set_traffic_class(fixed.dscp() << 2 | ecn.bits());
    check_size(packet, path_mru)
}

/// Holds a reassembled packet to softwire-path-mru, extension headers aside.
fn check_size(packet: &[u8], path_mru: usize) -> Result<(), DropReason> {
    let ext = match Ipv6Header::split(packet) {
        // A chain that cannot be walked is the business of the checks that follow.
        Ok((header, payload)) => {
            ipv6_ext::walk(header.next_header(), payload).map_or(0, |w| w.offset)
        }
        Err(_) => return Err(DropReason::Internal),
    };
    if packet.len().saturating_sub(ext) > path_mru {
        return Err(DropReason::Ipv6ReassembledTooBig);
    }
    Ok(())
}
