//! In what the two versions of IP differ.

use lw4o6_wire::EcnMix;

use super::arrival::First;
use crate::DropReason;

/// A version of IP, to [`Reassembly`](super::Reassembly).
#[derive(Debug)]
pub(super) struct Family {
    /// Bytes of the header that its length field leaves out.
    pub(super) uncounted: usize,
    /// Makes one header of that of the first fragment, in front of the whole payload. The number is
    /// softwire-path-mru.
    pub(super) finish: fn(&mut [u8], First, EcnMix, usize) -> Result<(), DropReason>,
    /// Whether the oldest datagram makes room for a new fragment.
    pub(super) evicts: bool,
    pub(super) duplicate: DropReason,
    pub(super) overlap: DropReason,
    pub(super) conflict: DropReason,
    pub(super) count: DropReason,
    /// Above softwire-path-mru.
    pub(super) too_big: DropReason,
    /// Above what the length field can say.
    pub(super) too_long: DropReason,
    pub(super) quota: DropReason,
    pub(super) full: DropReason,
}
