//! What was counted, by one worker or by all of them.
//!
//! A worker owns its counters and is the only one to write them, so counting is a load and a store
//! without a locked instruction; anyone may read them at any time.
//!
//! The books close, at every moment between two batches:
//!
//! ```text
//! received-softwire + received-internet
//!           = forwarded + replied + echoed + local + consumed + dropped
//! consumed + late-consumed = held now + merged + released + discarded
//! reassembled + released = late-forwarded + late-replied + late-echoed + late-local
//!           + late-consumed + late-dropped
//! sum of drop reasons = dropped + late-dropped + replied + late-replied + discarded
//! ```
//!
//! [`port::Accounts`](crate::port::Accounts) has them for each side, and for the frames that leave.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::{DropReason, Side};

/// Declares [`Counter`] from one table, so that names and order cannot drift apart.
macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal,)+) => {
        /// A named counter of packets, bytes or events.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        #[repr(u8)]
        pub enum Counter { $($(#[doc = $doc])+ $name,)+ }

        impl Counter {
            /// Every counter, in the order of snapshots.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// Number of counters.
            pub const COUNT: usize = Self::ALL.len();

            /// Name in snapshots and JSON; the leaf of `traffic-stat` where RFC 8676 has one.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }

            /// What it counts, in a sentence; its documentation.
            #[must_use]
            pub const fn help(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc),+),)+ }
            }
        }
    };
}

counters! {
    // traffic-stat of RFC 8676 (R-263).
    /// IPv4 packets decapsulated and forwarded.
    SentIpv4Packets = "sent-ipv4-packets",
    /// Bytes of them.
    SentIpv4Bytes = "sent-ipv4-bytes",
    /// IPv4 packets encapsulated and forwarded.
    SentIpv6Packets = "sent-ipv6-packets",
    /// Bytes of them, outer header included.
    SentIpv6Bytes = "sent-ipv6-bytes",
    /// IPv4 packets from the Internet for a managed address.
    RcvdIpv4Packets = "rcvd-ipv4-packets",
    /// Bytes of them.
    RcvdIpv4Bytes = "rcvd-ipv4-bytes",
    /// IPv4-in-IPv6 packets for an AFTR address.
    RcvdIpv6Packets = "rcvd-ipv6-packets",
    /// Bytes of them.
    RcvdIpv6Bytes = "rcvd-ipv6-bytes",
    /// Packets from the Internet that were dropped, for any reason.
    DroppedIpv4Packets = "dropped-ipv4-packets",
    /// Bytes of them.
    DroppedIpv4Bytes = "dropped-ipv4-bytes",
    /// Packets from the softwire side that were dropped, for any reason.
    DroppedIpv6Packets = "dropped-ipv6-packets",
    /// Bytes of them.
    DroppedIpv6Bytes = "dropped-ipv6-bytes",
    /// IPv4 fragments that were dropped, from either side.
    DroppedIpv4Fragments = "dropped-ipv4-fragments",
    /// Bytes of them.
    DroppedIpv4FragmentBytes = "dropped-ipv4-fragment-bytes",
    /// IPv6 fragments that became part of a reassembled packet.
    Ipv6FragmentsReassembled = "ipv6-fragments-reassembled",
    /// Bytes of the reassembled packets.
    Ipv6FragmentsBytesReassembled = "ipv6-fragments-bytes-reassembled",
    /// `ICMPv4` errors sent, relayed tunnel errors included.
    OutIcmpv4ErrorPackets = "out-icmpv4-error-packets",
    /// Bytes of them, without an outer header.
    OutIcmpv4ErrorBytes = "out-icmpv4-error-bytes",
    /// `ICMPv6` errors sent.
    OutIcmpv6ErrorPackets = "out-icmpv6-error-packets",
    /// Bytes of them.
    OutIcmpv6ErrorBytes = "out-icmpv6-error-bytes",
    /// `ICMPv4` packets from the Internet that were dropped (R-110).
    DroppedIcmpv4Packets = "dropped-icmpv4-packets",
    /// Bytes of them.
    DroppedIcmpv4Bytes = "dropped-icmpv4-bytes",
    /// Packets from B4 to B4 (R-117).
    HairpinIpv4Packets = "hairpin-ipv4-packets",
    /// Bytes of them, without outer headers.
    HairpinIpv4Bytes = "hairpin-ipv4-bytes",

    // What became of the frames.
    /// Frames from the softwire side.
    ReceivedSoftwire = "received-softwire",
    /// Frames from the Internet side.
    ReceivedInternet = "received-internet",
    /// Frames forwarded.
    Forwarded = "forwarded",
    /// Frames answered with an error.
    Replied = "replied",
    /// Frames answered with an echo reply.
    Echoed = "echoed",
    /// Frames handed to the owner.
    Local = "local",
    /// Frames kept.
    Consumed = "consumed",
    /// Frames dropped.
    Dropped = "dropped",
    /// Kept fragments that became part of a reassembled packet.
    Merged = "merged",
    /// Kept IPv4 fragments let go by their first fragment.
    Released = "released",
    /// Kept fragments given up; each is counted under its drop reason, too.
    Discarded = "discarded",
    /// Packets put together from fragments.
    Reassembled = "reassembled",
    /// Reassembled or released packets forwarded.
    LateForwarded = "late-forwarded",
    /// Reassembled or released packets answered with an error.
    LateReplied = "late-replied",
    /// Reassembled packets answered with an echo reply.
    LateEchoed = "late-echoed",
    /// Reassembled packets handed to the owner.
    LateLocal = "late-local",
    /// Reassembled packets kept again, because they hold an IPv4 fragment.
    LateConsumed = "late-consumed",
    /// Reassembled or released packets dropped.
    LateDropped = "late-dropped",

    /// How often reassembly memory came near its end (R-139).
    ReassemblyWarnings = "reassembly-warnings",
    /// IPv4 fragment contexts that made room for younger ones.
    FragmentEvictions = "fragment-evictions",

    /// Forwarded packets whose softwire has no counters of its own, though some have.
    SoftwireUncountedPackets = "softwire-uncounted-packets",

    // Fragments made here.
    /// Tunnel packets that left in fragments.
    TunnelPacketsFragmented = "tunnel-packets-fragmented",
    /// IPv4 packets that left in fragments.
    Ipv4PacketsFragmented = "ipv4-packets-fragmented",
    /// Fragments beyond the first, waiting in `poll_frame` or taken from it.
    FragmentsQueued = "fragments-queued",
    /// Errors that no frame was turned into, waiting in `poll_frame` or taken from it.
    ErrorsQueued = "errors-queued",
    /// TCP segments whose MSS option was lowered.
    MssClamped = "mss-clamped",

    // RFC 6040 (R-196).
    /// Unused combinations of inner and outer ECN that hint at a misbehaving node.
    EcnUnusedMajor = "ecn-unused-major",
    /// Unused combinations that a future use may explain.
    EcnUnusedMinor = "ecn-unused-minor",

    // ICMP.
    /// `ICMPv4` errors not sent because of the rate limits.
    Icmpv4SuppressedRate = "icmpv4-suppressed-rate",
    /// `ICMPv4` errors not sent because a knob or RFC 1812 §4.3.2.7 says so.
    Icmpv4SuppressedPolicy = "icmpv4-suppressed-policy",
    /// `ICMPv6` errors not sent because of the rate limits.
    Icmpv6SuppressedRate = "icmpv6-suppressed-rate",
    /// `ICMPv6` errors not sent because a knob, the boot grace or RFC 4443 §2.4(e) says so.
    Icmpv6SuppressedPolicy = "icmpv6-suppressed-policy",
    /// `ICMPv6` 1/5 sent, the failover trigger.
    Icmpv6SourcePolicy = "icmpv6-source-policy",
    /// Tunnel errors passed on to an IPv4 source.
    TunnelErrorsRelayed = "tunnel-errors-relayed",
    /// Path MTUs learned from Packet Too Big.
    PathMtuLowered = "path-mtu-lowered",
}

impl Counter {
    /// Index in a snapshot.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// What became of kept fragments, told apart by the side they came from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fate {
    /// [`Counter::Merged`]
    Merged,
    /// [`Counter::Released`]
    Released,
    /// [`Counter::Discarded`]
    Discarded,
    /// [`Counter::LateConsumed`]
    Again,
}

impl Fate {
    const COUNT: usize = 4;
}

/// The counters of one worker, written by it alone.
#[derive(Debug)]
#[repr(align(128))] // two cache lines: the prefetcher pairs them
pub(crate) struct Counters {
    named: [AtomicU64; Counter::COUNT],
    drops: [AtomicU64; DropReason::COUNT],
    sides: [[AtomicU64; Fate::COUNT]; 2],
}

impl Counters {
    pub(crate) fn new() -> Self {
        Self {
            named: [const { AtomicU64::new(0) }; Counter::COUNT],
            drops: [const { AtomicU64::new(0) }; DropReason::COUNT],
            sides: [const { [const { AtomicU64::new(0) }; Fate::COUNT] }; 2],
        }
    }

    /// Counts `more` fragments that came from `side`.
    pub(crate) fn add_side(&self, side: Side, fate: Fate, more: usize) {
        bump(self.side(side).get(fate as usize), more);
    }

    /// How many fragments that came from `side` went this way.
    pub(crate) fn of_side(&self, side: Side, fate: Fate) -> u64 {
        let counter = self.side(side).get(fate as usize);
        counter.map_or(0, |counter| counter.load(Relaxed))
    }

    const fn side(&self, side: Side) -> &[AtomicU64; Fate::COUNT] {
        let [softwire, internet] = &self.sides;
        match side {
            Side::Softwire => softwire,
            Side::Internet => internet,
        }
    }

    pub(crate) fn get(&self, counter: Counter) -> u64 {
        let counter = self.named.get(counter.index());
        counter.map_or(0, |counter| counter.load(Relaxed))
    }

    pub(crate) fn add(&self, counter: Counter, more: usize) {
        bump(self.named.get(counter.index()), more);
    }

    /// Overwrites a counter that is kept elsewhere.
    pub(crate) fn set(&self, counter: Counter, value: u64) {
        if let Some(counter) = self.named.get(counter.index()) {
            counter.store(value, Relaxed);
        }
    }

    /// Counts one packet in `packets` and its length in `bytes`.
    pub(crate) fn packet(&self, packets: Counter, bytes: Counter, len: usize) {
        self.add(packets, 1);
        self.add(bytes, len);
    }

    /// Counts `packets` packets under `reason` (R-265).
    pub(crate) fn drops(&self, reason: DropReason, packets: usize) {
        bump(self.drops.get(reason.index()), packets);
    }

    /// Counts a dropped frame of `len` bytes.
    pub(crate) fn dropped(&self, side: Side, reason: DropReason, len: usize) {
        self.drops(reason, 1);
        match side {
            Side::Softwire => {
                self.packet(Counter::DroppedIpv6Packets, Counter::DroppedIpv6Bytes, len);
            }
            Side::Internet => {
                self.packet(Counter::DroppedIpv4Packets, Counter::DroppedIpv4Bytes, len);
            }
        }
        if is_fragment_reason(reason) {
            self.packet(
                Counter::DroppedIpv4Fragments,
                Counter::DroppedIpv4FragmentBytes,
                len,
            );
        }
    }

    pub(crate) fn snapshot(&self) -> CounterSnapshot {
        let mut snapshot = CounterSnapshot::default();
        snapshot.add(self);
        snapshot
    }
}

/// One writer: a plain load and store loses nothing.
pub(crate) fn bump(counter: Option<&AtomicU64>, more: usize) {
    if let Some(counter) = counter {
        counter.store(counter.load(Relaxed).wrapping_add(more as u64), Relaxed);
    }
}

const fn is_fragment_reason(reason: DropReason) -> bool {
    matches!(
        reason,
        DropReason::Ipv4FragmentMalformed
            | DropReason::Ipv4FragmentOverlap
            | DropReason::Ipv4FragmentDuplicate
            | DropReason::Ipv4FragmentTiny
            | DropReason::Ipv4FragmentConflict
            | DropReason::Ipv4FragmentCount
            | DropReason::Ipv4FragmentFull
            | DropReason::Ipv4FragmentQuota
            | DropReason::Ipv4ReassemblyTimeout
            | DropReason::Ipv4ReassemblyEcn
            | DropReason::FragmentNoFirst
            | DropReason::FragmentRefused
            | DropReason::FragmentsOff
            | DropReason::Icmpv4Fragmented
    )
}

/// Counters at one moment. Reading does not stop the workers, so sums over several counters are
/// exact only between batches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CounterSnapshot {
    named: [u64; Counter::COUNT],
    drops: [u64; DropReason::COUNT],
}

impl Default for CounterSnapshot {
    fn default() -> Self {
        Self {
            named: [0; Counter::COUNT],
            drops: [0; DropReason::COUNT],
        }
    }
}

impl CounterSnapshot {
    /// A named counter.
    #[must_use]
    pub fn get(&self, counter: Counter) -> u64 {
        self.named.get(counter.index()).copied().unwrap_or_default()
    }

    /// Packets dropped for `reason`, those that drew an answer included.
    #[must_use]
    pub fn drops(&self, reason: DropReason) -> u64 {
        self.drops.get(reason.index()).copied().unwrap_or_default()
    }

    /// Packets dropped for any reason (R-265).
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.drops.iter().sum()
    }

    /// Every counter with its name, named ones first, then drop reasons.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let named = Counter::ALL.iter().map(|c| (c.as_str(), self.get(*c)));
        let drops = DropReason::ALL.iter().map(|r| (r.as_str(), self.drops(*r)));
        named.chain(drops)
    }

    /// Adds what another worker counted.
    pub fn merge(&mut self, other: &Self) {
        let named = self.named.iter_mut().zip(&other.named);
        for (sum, count) in named.chain(self.drops.iter_mut().zip(&other.drops)) {
            *sum = sum.wrapping_add(*count);
        }
    }

    /// Adds packets that were dropped outside the worker, by its Ethernet port.
    // R-265
    pub fn add_drops(&mut self, reason: DropReason, packets: u64) {
        if let Some(sum) = self.drops.get_mut(reason.index()) {
            *sum = sum.wrapping_add(packets);
        }
    }

    pub(crate) fn add(&mut self, counters: &Counters) {
        for (sum, counter) in self.named.iter_mut().zip(&counters.named) {
            *sum = sum.wrapping_add(counter.load(Relaxed));
        }
        for (sum, counter) in self.drops.iter_mut().zip(&counters.drops) {
            *sum = sum.wrapping_add(counter.load(Relaxed));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_also_among_drop_reasons() {
        let snapshot = CounterSnapshot::default();
        let mut names: Vec<&str> = snapshot.iter().map(|(name, _)| name).collect();
        let all = names.len();
        assert_eq!(all, Counter::COUNT + DropReason::COUNT);
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
        for (index, counter) in Counter::ALL.iter().enumerate() {
            assert_eq!(counter.index(), index);
        }
    }

    #[test]
    fn drops_of_the_port_count_among_the_others() {
        // R-265
        let mut sum = CounterSnapshot::default();
        sum.add_drops(DropReason::L2NotForUs, 2);
        sum.add_drops(DropReason::L2NotForUs, 1);
        assert_eq!((sum.drops(DropReason::L2NotForUs), sum.dropped()), (3, 3));
    }

    #[test]
    fn every_leaf_of_traffic_stat_is_there() {
        // R-263
        let leaves = [
            "sent-ipv4",
            "sent-ipv6",
            "rcvd-ipv4",
            "rcvd-ipv6",
            "dropped-ipv4",
            "dropped-ipv6",
            "out-icmpv4-error",
            "out-icmpv6-error",
            "dropped-icmpv4",
            "hairpin-ipv4",
        ];
        let both = |leaf: &&str| [format!("{leaf}-packets"), format!("{leaf}-bytes")];
        let mut names: Vec<String> = leaves.iter().flat_map(both).collect();
        names.extend(
            [
                "dropped-ipv4-fragments",
                "dropped-ipv4-fragment-bytes",
                "ipv6-fragments-reassembled",
                "ipv6-fragments-bytes-reassembled",
            ]
            .map(str::to_owned),
        );
        for name in names {
            assert!(Counter::ALL.iter().any(|c| c.as_str() == name), "{name}");
        }
    }

    #[test]
    fn a_drop_counts_once_under_its_reason() {
        // R-265
        let counters = Counters::new();
        counters.dropped(Side::Internet, DropReason::NoBinding, 60);
        counters.dropped(Side::Softwire, DropReason::FragmentNoFirst, 100);
        let snapshot = counters.snapshot();
        assert_eq!(snapshot.dropped(), 2);
        assert_eq!(snapshot.drops(DropReason::NoBinding), 1);
        assert_eq!(snapshot.get(Counter::DroppedIpv4Bytes), 60);
        assert_eq!(snapshot.get(Counter::DroppedIpv6Packets), 1);
        assert_eq!(snapshot.get(Counter::DroppedIpv4FragmentBytes), 100);
    }
}
