//! Why a change of the bindings was refused: one error per operation, one variant per rule.
//!
//! Every message carries the values that break the rule, so that it can be shown to a person
//! without more context than the line of the file it came from.

use core::fmt;
use core::net::{Ipv4Addr, Ipv6Addr};
use core::time::Duration;

use lw4o6_wire::b4_addr::Ipv6Prefix;
use lw4o6_wire::port_params::{PortParams, PortParamsError};
use lw4o6_wire::time::Instant;

use crate::entry::SoftwireKey;

/// Number of a decision that waits for, or went through, the commit barrier. Starts at 1 and has
/// no gaps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seq(pub u64);

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// What keeps an IPv6 address from being a tunnel end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Ipv6Problem {
    /// `::`.
    #[error("unspecified")]
    Unspecified,
    /// `::1`.
    #[error("loopback")]
    Loopback,
    /// `ff00::/8`.
    #[error("multicast")]
    Multicast,
    /// `fe80::/10`: not reachable across the access network.
    #[error("link-local")]
    LinkLocal,
}

/// What keeps an IPv4 address from being a public address of a subscriber.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Ipv4Problem {
    /// `0.0.0.0/8`.
    #[error("in 0.0.0.0/8 (this network)")]
    ThisNetwork,
    /// `127.0.0.0/8`.
    #[error("in 127.0.0.0/8 (loopback)")]
    Loopback,
    /// `224.0.0.0/4`.
    #[error("in 224.0.0.0/4 (multicast)")]
    Multicast,
    /// `240.0.0.0/4`, limited broadcast among them.
    #[error("in 240.0.0.0/4 (reserved)")]
    Reserved,
}

/// Why a binding was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InsertError {
    /// (a, k, PSID) is no port set: a+k above 16, or a PSID that does not fit in k bits.
    //
    #[error("port set: {0}")]
    PortParams(#[from] PortParamsError),
    /// Another offset or length than the other bindings on that address (RFC 7597 §5.1).
    //
    #[error(
        "{key} has another port layout than the bindings on that address (a={have_offset} k={have_len})"
    )]
    PortLayout {
        /// The binding refused.
        key: SoftwireKey,
        /// Offset `a` in use on the address.
        have_offset: u8,
        /// Length `k` in use on the address.
        have_len: u8,
    },
    /// Some port would belong to two B4s (RFC 7596 §3).
    //
    #[error("{key} overlaps port set a={a} k={k} psid={psid} of {b4}", a = other.offset(), k = other.len(), psid = other.psid())]
    Overlap {
        /// The binding refused.
        key: SoftwireKey,
        /// The port set that is in the way.
        other: PortParams,
        /// Who holds it.
        b4: Ipv6Addr,
    },
    /// The same address and port set is bound already.
    #[error("{key} is bound to {b4}")]
    Duplicate {
        /// The binding refused.
        key: SoftwireKey,
        /// Who holds it.
        b4: Ipv6Addr,
    },
    /// The B4 address cannot be the far end of a tunnel.
    //
    #[error("B4 address {b4} is {problem}, not a unicast address")]
    B4Address {
        /// The address.
        b4: Ipv6Addr,
        /// What it is instead.
        problem: Ipv6Problem,
    },
    /// The AFTR address cannot be the near end of a tunnel.
    //
    #[error("AFTR address {aftr} is {problem}, not a unicast address")]
    AftrAddress {
        /// The address.
        aftr: Ipv6Addr,
        /// What it is instead.
        problem: Ipv6Problem,
    },
    /// Both ends are the same address: packets would be encapsulated again and again
    /// (RFC 2473 §4.1.2).
    //
    #[error("AFTR address {aftr} is also the B4 address")]
    AftrIsB4 {
        /// The address.
        aftr: Ipv6Addr,
    },
    /// The B4 address of one binding is the AFTR address of another, which is the loop of
    /// [`AftrIsB4`](Self::AftrIsB4) in two steps.
    //
    #[error("{addr} is a B4 address of one binding and the AFTR address of another")]
    AftrAmongB4s {
        /// The address.
        addr: Ipv6Addr,
    },
    /// The public address is not unicast.
    #[error("IPv4 address {ipv4} is {problem}, not a unicast address")]
    Ipv4Address {
        /// The address.
        ipv4: Ipv4Addr,
        /// What it is instead.
        problem: Ipv4Problem,
    },
    /// A prefix length above 128.
    #[error("prefix length {len} is above 128")]
    PrefixLength {
        /// The length, bits.
        len: u8,
    },
    /// The address is not the one that its prefix stands for (RFC 8676 §6).
    #[error("B4 address {b4} does not follow from its prefix, which gives {expected}")]
    PrefixAddress {
        /// The address.
        b4: Ipv6Addr,
        /// What RFC 7596 §5.1 constructs.
        expected: Ipv6Addr,
    },
    /// `softwire-num-max` is reached (RFC 8676 §5.2).
    //
    #[error("the table holds its {max} softwires (softwire-num-max)")]
    TooManySoftwires {
        /// The limit.
        max: usize,
    },
    /// More AFTR addresses than the table has room for.
    #[error("the bindings use their {max} AFTR addresses, {aftr} would be one more")]
    TooManyAftrs {
        /// The limit.
        max: usize,
        /// The address refused.
        aftr: Ipv6Addr,
    },
    /// The subscriber has as many dynamic softwires as it may (RFC 7785 §4).
    //
    #[error("subscriber {subscriber} has its {limit} dynamic softwires")]
    SubscriberLimit {
        /// The subscriber's prefix.
        subscriber: Ipv6Prefix,
        /// The limit.
        limit: u32,
    },
    /// The softwire moved to another B4 address of its subscriber too short a time ago
    /// (RFC 7785 §4).
    //
    #[error("subscriber {subscriber} may move its softwire again in {remaining:?}")]
    MoveLimited {
        /// The subscriber's prefix.
        subscriber: Ipv6Prefix,
        /// How long the limit holds.
        remaining: Duration,
    },
    /// Another subscriber released (a part of) the port set a moment ago (RFC 6888 REQ-8).
    //
    #[error("{key} is in quarantine for {remaining:?}")]
    Quarantined {
        /// The binding refused.
        key: SoftwireKey,
        /// How long the quarantine lasts.
        remaining: Duration,
    },
    /// Every port set is in quarantine because what was bound before the start is not known
    /// (RFC 6888 REQ-8).
    //
    #[error(
        "all port sets are in quarantine for {remaining:?}: the bindings from before the start are unknown"
    )]
    StateLost {
        /// How long the quarantine lasts.
        remaining: Duration,
    },
    /// A shared port set contains system ports and the policy refuses that (RFC 7596 §5.1).
    //
    #[error("{key} contains system ports (0-1023)")]
    SystemPorts {
        /// The binding refused.
        key: SoftwireKey,
    },
    /// The allocation has ended already.
    //
    #[error("{key} ended at {at:?}, now is {now:?}", at = at.as_micros(), now = now.as_micros())]
    Expired {
        /// The binding refused.
        key: SoftwireKey,
        /// When its allocation ended, microseconds.
        at: Instant,
        /// The time of the request, microseconds.
        now: Instant,
    },
    /// Another change of the same softwire waits for the store.
    #[error("another change of {key} waits for the store ({seq})")]
    Pending {
        /// The softwire.
        key: SoftwireKey,
        /// The change that waits.
        seq: Seq,
    },
    /// The replacement of the whole table waits for the store.
    #[error("the replacement of the table waits for the store ({seq})")]
    ReplacePending {
        /// The replacement.
        seq: Seq,
    },
    /// A load needs that nothing waits for the store.
    #[error("{waiting} changes wait for the store, a load can not join them")]
    Waiting {
        /// How many.
        waiting: usize,
    },
    /// The packet half has no room, although the limits allow the bindings: it was made for
    /// fewer, or its readers still use old memory.
    #[error("the table of the packet path has no room for {softwires} softwires")]
    NoRoom {
        /// How many softwires there would be.
        softwires: usize,
    },
    /// As many changes wait for the store as may.
    #[error("{max} changes wait for the store")]
    TooManyPending {
        /// The limit.
        max: usize,
    },
}

/// Why a binding was not changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UpdateError {
    /// Nothing is bound there.
    #[error("{key} is not bound")]
    NotBound {
        /// The softwire.
        key: SoftwireKey,
    },
    /// The new binding breaks a rule.
    #[error(transparent)]
    Rule(#[from] InsertError),
}

/// Why a lease was not renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RenewError {
    /// Nothing is bound there.
    #[error("{key} is not bound")]
    NotBound {
        /// The softwire.
        key: SoftwireKey,
    },
    /// The softwire belongs to another B4 than the one that asks.
    #[error("{key} is bound to {b4}")]
    OtherB4 {
        /// The softwire.
        key: SoftwireKey,
        /// Who holds it.
        b4: Ipv6Addr,
    },
    /// The new end lies in the past or the change cannot wait.
    #[error(transparent)]
    Rule(#[from] InsertError),
}

/// Why a binding was not removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RemoveError {
    /// Nothing is bound there.
    #[error("{key} is not bound")]
    NotBound {
        /// The softwire.
        key: SoftwireKey,
    },
}

/// Why a bulk load or replacement was refused as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("entry {index}: {error}")]
pub struct LoadError {
    /// Position of the first binding that was refused, from 0 in the order given.
    pub index: usize,
    /// The rule it breaks.
    pub error: InsertError,
}
