//! Why a packet is refused, and which answer it may draw.

use lw4o6_wire::icmpv4::Icmpv4ErrorKind;
use lw4o6_wire::icmpv6::Icmpv6ErrorKind;

use crate::DropReason;

/// What every step of the two pipelines returns in place of a result.
///
/// The frame is untouched where a step refuses, so the answer can quote it as it arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) reason: DropReason,
    pub(crate) answer: Answer,
}

/// The error a refused packet asks for; whether it is sent is decided where it is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Silence,
    V4(Icmpv4ErrorKind),
    V6(Icmpv6ErrorKind),
}

impl Refusal {
    /// A place holder that no packet sees.
    pub(crate) const NONE: Self = Self {
        reason: DropReason::Internal,
        answer: Answer::Silence,
    };

    pub(crate) const fn v4(reason: DropReason, kind: Icmpv4ErrorKind) -> Self {
        Self {
            reason,
            answer: Answer::V4(kind),
        }
    }

    pub(crate) const fn v6(reason: DropReason, kind: Icmpv6ErrorKind) -> Self {
        Self {
            reason,
            answer: Answer::V6(kind),
        }
    }
}

impl From<DropReason> for Refusal {
    fn from(reason: DropReason) -> Self {
        Self {
            reason,
            answer: Answer::Silence,
        }
    }
}
