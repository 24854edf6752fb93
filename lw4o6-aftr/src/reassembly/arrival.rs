//! What one fragment says for itself, and the rules it has to keep whatever else arrived.

use lw4o6_wire::IpProtocol;
use lw4o6_wire::ipv6_ext::{ExtProblem, ExtWalk, FragmentHeader};

use super::{FIXED, FragmentProblem, Reassembled, refused};
use crate::DropReason;

/// A fragment that just arrived.
#[derive(Clone, Copy)]
pub(super) struct Arrival<'a> {
    pub(super) packet: &'a [u8],
    pub(super) header: FragmentHeader,
    pub(super) data: &'a [u8],
    pub(super) named_at: usize,
    pub(super) fragment_at: usize,
}

impl Arrival<'_> {
    pub(super) fn start(&self) -> usize {
        self.header.offset.into()
    }

    pub(super) fn end(&self) -> usize {
        self.start() + self.data.len()
    }

    pub(super) const fn is_first(&self) -> bool {
        self.header.offset == 0
    }

    pub(super) const fn first(&self) -> First {
        First {
            next: self.header.next,
            named_at: self.named_at,
            fragment_at: self.fragment_at,
        }
    }
}

/// What only the fragment at offset 0 tells (RFC 8200 §4.5).
#[derive(Clone, Copy, Debug)]
pub(super) struct First {
    pub(super) next: IpProtocol,
    pub(super) named_at: usize, // offset of the byte that names the Fragment header
    pub(super) fragment_at: usize, // offset of the Fragment header: length of what stands before it
}

/// The rules that a fragment has to keep whatever else arrived.
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
    let FragmentHeader { more, .. } = arrival.header;
    if more && !arrival.data.len().is_multiple_of(8) {
        return problem(DropReason::Ipv6FragmentLength, 0, 4); // Payload Length
    }
    if arrival.end() + walk.offset > usize::from(u16::MAX) {
        // the Fragment Offset field
        return problem(DropReason::Ipv6FragmentTooLong, 0, arrival.fragment_at + 2);
    }
    if arrival.data.is_empty() && !arrival.header.is_atomic() {
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
