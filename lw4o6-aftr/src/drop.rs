//! Why packets are not forwarded.

/// Declares [`DropReason`] from one table, so that the list, the names and the order cannot drift apart.
macro_rules! drop_reasons {
    ($($(#[$doc:meta])+ $name:ident = $text:literal,)+) => {
        /// Why a packet was not forwarded. One counter each.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        #[repr(u8)]
        pub enum DropReason { $($(#[$doc])+ $name,)+ }

        impl DropReason {
            /// Every reason, in counter order.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// Number of reasons.
            pub const COUNT: usize = Self::ALL.len();

            /// Name in counters, logs and JSON.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }
        }
    };
}

drop_reasons! {
    // Outer IPv6 header and extension headers.
    /// The IPv6 header does not parse or claims more bytes than there are.
    Ipv6Malformed = "ipv6-malformed",
    /// The IPv6 source is unspecified, loopback, multicast or link-local.
    Ipv6SourceInvalid = "ipv6-source-invalid",
    /// The IPv6 source is outside the configured subscriber prefixes.
    Ipv6SourceNotAllowed = "ipv6-source-not-allowed",
    /// An extension header is cut off or contradicts itself.
    ExtHeaderMalformed = "ext-header-malformed",
    /// More than 8 extension headers or 256 bytes of them.
    ExtHeaderLimit = "ext-header-limit",
    /// An unknown option says that the packet must be dropped (RFC 8200 §4.2).
    ExtHeaderOption = "ext-header-option",
    /// A Routing header with segments left (RFC 8200 §4.4, RFC 5095 §3).
    RoutingHeader = "routing-header",
    /// The next header is not one an AFTR handles.
    NextHeaderUnknown = "next-header-unknown",
    /// Next header 59: nothing follows.
    NoNextHeader = "no-next-header",

    // IPv6 reassembly.
    /// A fragment with more to come whose length is no multiple of 8.
    Ipv6FragmentLength = "ipv6-fragment-length",
    /// A fragment that would end beyond byte 65535.
    Ipv6FragmentTooLong = "ipv6-fragment-too-long",
    /// Fragments overlap; the datagram and what still arrives of it is discarded.
    Ipv6FragmentOverlap = "ipv6-fragment-overlap",
    /// An exact duplicate of a fragment already held.
    Ipv6FragmentDuplicate = "ipv6-fragment-duplicate",
    /// A first fragment that does not hold the whole header chain.
    Ipv6FragmentFirstShort = "ipv6-fragment-first-short",
    /// More fragments in one datagram than allowed.
    Ipv6FragmentCount = "ipv6-fragment-count",
    /// No reassembly memory or context is free.
    Ipv6ReassemblyFull = "ipv6-reassembly-full",
    /// This B4 has used up its share of the reassembly memory.
    Ipv6ReassemblyQuota = "ipv6-reassembly-quota",
    /// Fragments held until the reassembly timer ran out.
    Ipv6ReassemblyTimeout = "ipv6-reassembly-timeout",
    /// The fragments' ECN marks contradict each other.
    Ipv6ReassemblyEcn = "ipv6-reassembly-ecn",
    /// The reassembled packet is larger than softwire-path-mru.
    Ipv6ReassembledTooBig = "ipv6-reassembled-too-big",

    // IPv4 header, from either side.
    /// The IPv4 header does not parse or claims more bytes than there are.
    Ipv4Malformed = "ipv4-malformed",
    /// The IPv4 header checksum is wrong.
    Ipv4Checksum = "ipv4-checksum",
    /// The IPv4 source is a martian.
    Ipv4SourceMartian = "ipv4-source-martian",
    /// The IPv4 destination is a martian.
    Ipv4DestinationMartian = "ipv4-destination-martian",
    /// The transport header is shorter than its protocol's minimum, or forbidden.
    L4Malformed = "l4-malformed",
    /// A protocol without ports on a shared address.
    NoL4Port = "no-l4-port",
    /// TTL ran out.
    TtlExpired = "ttl-expired",
    /// Too big for the next link and Don't Fragment is set.
    TooBig = "too-big",
    /// An IPv4 packet that came to a group address of the link (RFC 1812 §5.3.4).
    LinkGroup = "link-group",
    /// A packet from the Internet whose source is in our own pool.
    PoolSourceSpoofed = "pool-source-spoofed",

    // Binding check, from a B4.
    /// No binding names this B4.
    NoB4 = "no-b4",
    /// The B4 is known, but not with this IPv4 address.
    WrongIpv4 = "wrong-ipv4",
    /// The B4 and the address are right, the port is outside its set.
    PortOutOfSet = "port-out-of-set",
    /// The binding names another AFTR address than the one the packet was sent to.
    WrongAftr = "wrong-aftr",
    /// An in-tunnel service address (192.0.0.0/29) without a service behind it.
    ServiceAddress = "service-address",
    /// Inner Not-ECT under an outer CE mark.
    EcnCongestion = "ecn-congestion",
    /// The inner packet is a tunnel packet between the tunnel's own addresses.
    TunnelLoop = "tunnel-loop",
    /// B4 to B4 traffic while the hairpin policy is `drop`.
    HairpinOff = "hairpin-off",

    // Lookup, from the Internet.
    /// No binding for this address and port.
    NoBinding = "no-binding",
    /// The table line stayed busy; does not happen with one writer.
    TableBusy = "table-busy",

    // ICMPv4.
    /// The ICMPv4 message does not parse.
    Icmpv4Malformed = "icmpv4-malformed",
    /// The ICMPv4 checksum is wrong.
    Icmpv4Checksum = "icmpv4-checksum",
    /// No binding for this ICMPv4 message; dropped in silence.
    Icmpv4NoBinding = "icmpv4-no-binding",
    /// Incoming ICMPv4 is switched off.
    Icmpv4Policy = "icmpv4-policy",
    /// More incoming ICMPv4 than icmpv4-rate allows.
    Icmpv4Rate = "icmpv4-rate",
    /// A type that is not forwarded.
    Icmpv4Type = "icmpv4-type",
    /// The quoted header checksum is wrong.
    Icmpv4QuoteChecksum = "icmpv4-quote-checksum",
    /// The quoted address is not the one it should be.
    Icmpv4QuoteMismatch = "icmpv4-quote-mismatch",
    /// An error about an error.
    Icmpv4QuoteError = "icmpv4-quote-error",
    /// An error about a later fragment, on a shared address.
    Icmpv4QuoteFragment = "icmpv4-quote-fragment",
    /// The quoted packet is too short or has no port.
    Icmpv4QuoteNoPort = "icmpv4-quote-no-port",
    /// A fragmented ICMP error.
    Icmpv4Fragmented = "icmpv4-fragmented",

    // IPv4 fragments.
    /// A fragment whose length or offset is impossible.
    Ipv4FragmentMalformed = "ipv4-fragment-malformed",
    /// Fragments overlap; the datagram and what still arrives of it is discarded.
    Ipv4FragmentOverlap = "ipv4-fragment-overlap",
    /// An exact duplicate of a fragment already seen.
    Ipv4FragmentDuplicate = "ipv4-fragment-duplicate",
    /// A fragment made to slip past filters.
    Ipv4FragmentTiny = "ipv4-fragment-tiny",
    /// A second first fragment with other ports.
    Ipv4FragmentConflict = "ipv4-fragment-conflict",
    /// More fragments in one datagram than allowed.
    Ipv4FragmentCount = "ipv4-fragment-count",
    /// No fragment context or memory is free.
    Ipv4FragmentFull = "ipv4-fragment-full",
    /// This source has used up its share of the fragment memory.
    Ipv4FragmentQuota = "ipv4-fragment-quota",
    /// Fragments to be put together, held until the timer ran out.
    Ipv4ReassemblyTimeout = "ipv4-reassembly-timeout",
    /// Congestion marks and not-capable fragments in one datagram (RFC 3168 §5.3).
    Ipv4ReassemblyEcn = "ipv4-reassembly-ecn",
    /// The first fragment never came.
    FragmentNoFirst = "fragment-no-first",
    /// The datagram's first fragment was refused.
    FragmentRefused = "fragment-refused",
    /// Fragments to a shared address while their handling is off.
    FragmentsOff = "fragments-off",

    // ICMPv6.
    /// The ICMPv6 message does not parse.
    Icmpv6Malformed = "icmpv6-malformed",
    /// The ICMPv6 checksum is wrong.
    Icmpv6Checksum = "icmpv6-checksum",
    /// Tunnel errors are switched off.
    Icmpv6Policy = "icmpv6-policy",
    /// An informational type we do not know.
    Icmpv6Type = "icmpv6-type",
    /// A tunnel error that is not passed on to the IPv4 source.
    Icmpv6NotRelayed = "icmpv6-not-relayed",
    /// A tunnel error about a packet that we did not send, or to no binding.
    Icmpv6QuoteForeign = "icmpv6-quote-foreign",
    /// A tunnel error whose quote is cut off before the IPv4 ports.
    Icmpv6QuoteShort = "icmpv6-quote-short",
    /// A tunnel error about an ICMPv4 error or a later fragment, which may not be answered.
    Icmpv6QuoteUnanswerable = "icmpv6-quote-unanswerable",
    /// Packet Too Big about a packet that may be fragmented.
    Icmpv6TooBigDfClear = "icmpv6-too-big-df-clear",
    /// Packet Too Big with an MTU below 1280.
    Icmpv6TooBigInvalid = "icmpv6-too-big-invalid",
    /// More tunnel errors than may be relayed.
    Icmpv6RelayRate = "icmpv6-relay-rate",
    /// More echo requests to the box than it answers.
    EchoRate = "echo-rate",

    // Ethernet port.
    /// The Ethernet, VLAN or ARP header does not parse.
    L2Malformed = "l2-malformed",
    /// The frame is addressed to another station.
    L2NotForUs = "l2-not-for-us",
    /// The frame's VLAN is not one of ours.
    L2Vlan = "l2-vlan",
    /// IPv4 on the IPv6 interface, IPv6 on the IPv4 interface, or no IP at all.
    L2WrongFamily = "l2-wrong-family",
    /// A neighbor message that RFC 4861 §7.1 says to discard.
    NdpInvalid = "ndp-invalid",
    /// The next hop is unknown and the waiting line is full.
    NeighborUnresolved = "neighbor-unresolved",

    // Ourselves.
    /// The frame lacks the headroom that `HEADROOM` asks for.
    NoHeadroom = "no-headroom",
    /// Frames wait in `poll_frame` and leave too little memory for another's output.
    OutputFull = "output-full",
    /// An invariant of the engine does not hold. Counted, never fatal: a router must not stop.
    Internal = "internal",
}

impl DropReason {
    /// Index of this reason's counter.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

impl core::fmt::Display for DropReason {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_in_order() {
        for (index, reason) in DropReason::ALL.iter().enumerate() {
            assert_eq!(reason.index(), index);
            let same = DropReason::ALL
                .iter()
                .filter(|r| r.as_str() == reason.as_str())
                .count();
            assert_eq!(same, 1, "{reason}");
        }
    }
}
