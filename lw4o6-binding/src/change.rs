//! What happens to bindings, and what a store of bindings tells about it.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::Ipv6Addr;

use lw4o6_wire::time::Instant;

use crate::entry::{Binding, SoftwireKey};
use crate::error::Seq;

/// One change of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// A softwire that was free is bound.
    Added(Binding),
    /// The softwire stays, its B4, AFTR, origin or expiry changes.
    Replaced {
        /// What was bound.
        old: Binding,
        /// What is bound now; its key is that of `old`.
        new: Binding,
    },
    /// The lease goes on; the binding carries the new expiry.
    Renewed(Binding),
    /// The softwire is bound no more.
    Removed {
        /// What was bound.
        binding: Binding,
        /// Why it ended.
        reason: RemoveReason,
    },
    /// The softwire was released and waits before another subscriber may have it.
    Quarantined(Quarantined),
    /// The wait of a released softwire is over, by time or because it is bound again.
    QuarantineEnded(Quarantined),
    /// The whole table is another one. Softwires missing in it ended by
    /// [`RemoveReason::Replaced`].
    BulkReplaced {
        /// Number of the new table.
        version: u64,
        /// All bindings, ordered by key.
        bindings: Arc<Vec<Binding>>,
    },
}

/// Why a binding ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RemoveReason {
    /// The subscriber gave it back.
    Released,
    /// Its allocation ended.
    Expired,
    /// The operator or a policy took it away.
    Revoked,
    /// A new table does not have it.
    Replaced,
    /// It was never granted: the store may hold a record of it because writing that record was
    /// reported as failed, or because the request was withdrawn. Appears only in
    /// [`Event::Persist`].
    NotGranted,
}

impl RemoveReason {
    /// Name used in logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Released => "released",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Replaced => "replaced",
            Self::NotGranted => "not-granted",
        }
    }
}

/// A released softwire that waits before another subscriber may have it (RFC 6888 REQ-8).
//
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quarantined {
    /// The softwire.
    pub key: SoftwireKey,
    /// Who had it; the same subscriber may have it back at once.
    pub b4: Ipv6Addr,
    /// When everyone may have it.
    pub until: Instant,
}

/// Why a decision did not take effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FailReason {
    /// It could not be stored, or a decision before it could not. Answer `NO_RESOURCES` or
    /// nothing.
    NotStored,
    /// The softwire was removed while the decision waited.
    Withdrawn,
    /// The allocation ended while the decision waited.
    Expired,
    /// The packet half has no room for it, although the limit allows it.
    NoRoom,
}

/// What a store of bindings tells its owner, in the order in which it happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// Write this down, then call [`handle_persisted`](crate::Bindings::handle_persisted) or
    /// [`handle_persist_failed`](crate::Bindings::handle_persist_failed). Each is followed by one
    /// [`Committed`](Self::Committed) or one [`Failed`](Self::Failed) with the same number.
    ///
    /// What is written down is a map from softwire to binding: [`Change::Added`],
    /// [`Change::Replaced`] and [`Change::Renewed`] set an entry and [`Change::Removed`] deletes
    /// one, whether it is there or not; [`Change::BulkReplaced`] sets all of them.
    Persist {
        /// Number of the decision.
        seq: Seq,
        /// What was decided.
        change: Change,
    },
    /// The decision is stored and packets follow it: now send SUCCESS or ACK.
    Committed {
        /// Number of the decision.
        seq: Seq,
    },
    /// The decision will not take effect.
    Failed {
        /// Number of the decision.
        seq: Seq,
        /// What was decided.
        change: Change,
        /// Why it came to nothing.
        why: FailReason,
    },
    /// The table has changed: the one stream that disk, peers, management and the accounting log
    /// read.
    //
    Changed {
        /// Counts the changes from 1, without gaps but for [`Lost`](Self::Lost).
        number: u64,
        /// What changed.
        change: Change,
        /// When.
        at: Instant,
        /// Number of the table after the change.
        version: u64,
    },
    /// Changes `first` to `last` did not fit in the queue. Whoever follows the stream has to read
    /// the table as a whole before going on.
    Lost {
        /// Number of the first missing change.
        first: u64,
        /// Number of the last missing change.
        last: u64,
    },
    /// A shared port set with system ports was accepted (RFC 7596 §5.1 recommends against it).
    //
    SystemPorts {
        /// The softwire.
        key: SoftwireKey,
    },
}

/// When [`handle_timeout`](crate::Bindings::handle_timeout) has work to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline {
    /// The moment.
    pub at: Instant,
    /// What happens then, for a person who reads a trace.
    pub why: &'static str,
}
