//! What is remembered of an Ethernet header while the worker has the packet.

use lw4o6_wire::ethernet::{EthernetFrame, MacAddr};
use lw4o6_wire::{FrameBuf, LinkCast};

use super::config::Accept;

/// Ethernet header with one tag.
const MAX_HEADER: usize = 18;

/// An Ethernet header.
#[derive(Clone, Copy)]
pub(super) struct Header {
    bytes: [u8; MAX_HEADER],
    pub(super) len: usize,
    pub(super) src: MacAddr,
    pub(super) cast: LinkCast,
}

impl Header {
    pub(super) const EMPTY: Self = Self {
        bytes: [0; MAX_HEADER],
        len: 0,
        src: MacAddr::ZERO,
        cast: LinkCast::Unicast,
    };

    pub(super) fn of(frame: &[u8], parsed: &EthernetFrame<'_>, accept: Accept) -> Self {
        let mut header = Self {
            len: parsed.header_len,
            src: parsed.src,
            ..Self::EMPTY
        };
        if is_group(parsed.dst, accept) {
            header.cast = LinkCast::Group;
        }
        for (to, from) in header.bytes.iter_mut().zip(frame).take(parsed.header_len) {
            *to = *from;
        }
        header
    }

    /// Puts the header back in front of an untouched packet.
    pub(super) fn restore(&self, frame: &mut FrameBuf<'_>) {
        // The bytes are the ones that were trimmed, so there is room for them.
        let restored = match self.len {
            MAX_HEADER => frame.push_front(&self.bytes),
            _ => self
                .bytes
                .first_chunk::<14>()
                .map_or(Ok(()), |bytes| frame.push_front(bytes)),
        };
        debug_assert!(restored.is_ok(), "the header was there before");
    }
}

/// Whether a frame was for more than one station.
///
/// A port that takes every address stands behind something that has chosen the frames already, so
/// only the group addresses that IP itself uses count then.
fn is_group(dst: MacAddr, accept: Accept) -> bool {
    match accept {
        Accept::Own => dst.is_multicast(),
        Accept::Any => {
            dst.is_broadcast() || matches!(dst.0, [0x33, 0x33, ..] | [0x01, 0x00, 0x5e, ..])
        }
    }
}
