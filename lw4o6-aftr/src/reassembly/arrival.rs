//! What one fragment says for itself, and the rules it has to keep whatever else arrived.

use lw4o6_wire::ipv6_ext::{ExtProblem, ExtWalk};
use lw4o6_wire::{Ecn, IpProtocol};

use super::{FIXED, FragmentProblem, Reassembled, refused};
use crate::DropReason;

/// A fragment that just arrived.
#[derive(Clone, Copy)]
pub(super) struct Arrival<'a> {
    pub(super) packet: &'a [u8],
    pub(super) data: &'a [u8],
    pub(super) offset: u16,
    pub(super) more: bool,
    pub(super) ecn: Ecn,
    /// What it tells, should it be the one at offset 0.
    pub(super) first: First,
}

impl Arrival<'_> {
    pub(super) fn start(&self) -> usize {
        self.offset.into()
    }

    pub(super) fn end(&self) -> usize {
        self.start() + self.data.len()
    }

    pub(super) const fn is_first(&self) -> bool {
        self.offset == 0
    }
}

/// What only the fragment at offset 0 tells (RFC 8200 §4.5, RFC 791 §3.2).
#[derive(Clone, Copy, Debug)]
pub(super) struct First {
    /// Bytes of headers in front of the fragmentable part, in IPv6 without the Fragment header.
    pub(super) head_len: usize,
    pub(super) next: IpProtocol,
    pub(super) named_at: usize, // offset of the byte that names the Fragment header, in IPv6
    pub(super) flow: Option<u32>, // what tells flows apart, in IPv4
}

/// The rules that a fragment of a tunnel packet has to keep whatever else arrived.
pub(super) fn check_alone(arrival: &Arrival<'_>, walk: &ExtWalk<'_>) -> Result<(), Reassembled> {
    let problem = |reason, code, pointer: usize| {
        Err(Reassembled::Refused {
            reason,
            problem: u32::try_from(pointer)
                .ok()
                .map(|pointer| FragmentProblem { code, pointer }),
            lost: 0,
        })
    };
    let more = arrival.more;
    if more && !arrival.data.len().is_multiple_of(8) {
        return problem(DropReason::Ipv6FragmentLength, 0, 4); // Payload Length
    }
    if arrival.end() + walk.offset > usize::from(u16::MAX) {
        // the Fragment Offset field
        return problem(
            DropReason::Ipv6FragmentTooLong,
            0,
            arrival.first.head_len + 2,
        );
    }
    if arrival.data.is_empty() && (more || !arrival.is_first()) {
        // Nothing in it to reassemble; held, it would only be a way to count up contexts.
        return Err(refused(DropReason::Ipv6FragmentLength, 0));
    }
    if arrival.is_first() && more && !holds_chain(walk) {
        return problem(DropReason::Ipv6FragmentFirstShort, 3, 0);
    }
    Ok(())
}

/// Whether a first fragment reaches through its upper-layer header, for a softwire packet the
/// inner IPv4 header (RFC 8200 §4.5).
fn holds_chain(walk: &ExtWalk<'_>) -> bool {
    match walk.past_fragment() {
        Ok(inner) => inner.payload.len() >= upper_header_len(inner.next, inner.payload),
        // Other problems are found, and answered, when the packet is whole.
        Err(problem) => problem != ExtProblem::Truncated,
    }
}

fn upper_header_len(next: IpProtocol, upper: &[u8]) -> usize {
    match (next, upper.first()) {
        (IpProtocol::IPV4, Some(first)) => (usize::from(first & 0x0f) * 4).max(20),
        (IpProtocol::IPV4, None) => 20,
        (IpProtocol::IPV6, _) => FIXED,
        _ => next.min_l4_len(),
    }
}
