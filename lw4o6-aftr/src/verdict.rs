//! What becomes of a frame.

use core::net::Ipv6Addr;

use crate::DropReason;

/// Which network a frame came from or goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Side {
    /// IPv6, towards the B4s.
    Softwire,
    /// IPv4, towards the Internet.
    Internet,
}

impl Side {
    /// Both sides, in counter order.
    pub const ALL: [Self; 2] = [Self::Softwire, Self::Internet];
}

/// What to do with the frame that was just processed.
///
/// Exhaustive on purpose: an embedder has to handle every case.
#[must_use = "a frame that is not sent is lost"]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The frame now holds the packet to send to `Side`.
    ///
    /// Where the packet had to be fragmented it holds the first piece; the others leave through
    /// `poll_frame` with this frame's index in [`Output::after`].
    Forward(Side),
    /// The frame now holds an answer to send back to `Side`; the packet it answers is gone.
    Reply(Side, Cause),
    /// The frame is untouched and belongs to the owner's own stack.
    Local(Kind),
    /// The engine kept the bytes, for reassembly or until a first fragment arrives. Reuse the frame.
    Consumed,
    /// Reuse the frame; the reason has been counted.
    Drop(DropReason),
}

/// Why a frame was turned into an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// The packet was dropped for this reason, which has been counted, and the answer says so.
    Dropped(DropReason),
    /// An `ICMPv4` echo request to an address of the box.
    EchoV4,
    /// An `ICMPv6` echo request to an address of the box.
    EchoV6,
}

/// Whose frame a [`Verdict::Local`] one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Addressed to the box itself: plain PCP, DHCP, routing protocols, management.
    Own,
    /// Addressed to the box and out of a tunnel, the outer and inner checks passed: an in-tunnel service
    /// packet, 192.0.0.2 to 192.0.0.1 (RFC 6333 §5.7), or one from a softwire to an IPv4 address of the
    /// box. The answer goes back through the same pair of tunnel addresses.
    Tunnelled {
        /// Outer source.
        b4: Ipv6Addr,
        /// Outer destination.
        aftr: Ipv6Addr,
    },
    /// Not ours: native IPv6, the tunnel of another AFTR, IPv4 outside every pool.
    Foreign,
}

/// A frame that leaves through `poll_frame`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Output {
    /// Where to send it.
    pub to: Destination,
    /// Index, in the last batch, of the input frame it follows.
    ///
    /// Frames made by a timer say 0.
    pub after: usize,
}

/// Where an [`Output`] goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// To one of the two networks.
    Side(Side),
    /// To the owner's own stack: a reassembled packet that turned out to be local.
    Local(Kind),
}
