//! The checks on the way of a packet, and their order (spec of the data plane, section 1).

use crate::{Cause, DropReason, Kind, Verdict};

/// Declares [`Check`] from one table, so that names and references cannot drift apart.
macro_rules! checks {
    ($($(#[$doc:meta])+ $name:ident = $text:literal, $reference:literal;)+) => {
        /// A check that a packet passes or fails.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Check { $($(#[$doc])+ $name,)+ }

        impl Check {
            /// Every check.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// Name in traces and JSON.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }

            /// The requirement or the section behind it.
            #[must_use]
            pub const fn reference(self) -> &'static str {
                match self { $(Self::$name => $reference,)+ }
            }
        }
    };
}

checks! {
    /// There is room for whatever comes of the frame.
    OutputMemory = "output-memory", "process_batch";
    /// Ethernet and ARP headers parse.
    EthernetHeader = "ethernet-header", "IEEE 802.3";
    /// The tag is one of ours.
    Vlan = "vlan", "IEEE 802.1Q";
    /// The type is that of its side.
    EtherType = "ether-type", "RFC 894, RFC 2464";
    /// The frame is for this station.
    Station = "station", "RFC 1122 §3.3.6";
    /// The neighbor message may be believed.
    NeighborMessage = "neighbor-message", "R-241";
    /// The IPv6 header parses.
    Ipv6Header = "ipv6-header", "R-001";
    /// The IPv6 source is a unicast address.
    Ipv6Source = "ipv6-source", "R-001";
    /// Extension headers.
    ExtensionHeaders = "extension-headers", "R-069 to R-073";
    /// Fragments of a tunnel packet.
    TunnelReassembly = "tunnel-reassembly", "R-126 to R-140";
    /// The next header is one that an AFTR handles.
    NextHeader = "next-header", "R-072";
    /// The B4 is in the subscriber prefixes.
    SubscriberPrefix = "subscriber-prefix", "R-089";
    /// The `ICMPv6` message.
    Icmpv6Message = "icmpv6-message", "R-172";
    /// Tunnel errors are accepted.
    TunnelErrorPolicy = "tunnel-error-policy", "R-182";
    /// The tunnel error quotes a packet of ours.
    TunnelErrorQuote = "tunnel-error-quote", "R-186";
    /// The tunnel error is one to pass on.
    TunnelErrorRelay = "tunnel-error-relay", "R-185";
    /// Not too many tunnel errors.
    TunnelErrorRate = "tunnel-error-rate", "R-188";
    /// The IPv4 header parses.
    Ipv4Header = "ipv4-header", "R-074";
    /// The IPv4 header checksum.
    Ipv4Checksum = "ipv4-checksum", "R-074";
    /// The IPv4 source is no martian.
    Ipv4Source = "ipv4-source", "R-075";
    /// The IPv4 destination is no martian.
    Ipv4Destination = "ipv4-destination", "R-075";
    /// The frame was for this station alone.
    LinkGroup = "link-group", "RFC 1812 §5.3.4";
    /// In-tunnel service addresses.
    ServiceAddress = "service-address", "R-086";
    /// Nobody on the Internet has an address of ours.
    PoolSource = "pool-source", "R-097";
    /// `ICMPv4` is let through, at this rate.
    Icmpv4Policy = "icmpv4-policy", "R-110";
    /// IPv4 fragments on shared addresses.
    Fragments = "ipv4-fragments", "R-141 to R-148";
    /// The port, identifier or quoted port that names the subscriber.
    PortKey = "port-key", "R-095 to R-109";
    /// One binding names the addresses and the port.
    Binding = "binding", "R-076";
    /// The packet is not in a tunnel already.
    TunnelLoop = "tunnel-loop", "R-202";
    /// Congestion marks can be passed on.
    Ecn = "ecn", "R-195";
    /// Traffic from B4 to B4, and the binding of its receiver.
    Hairpin = "hairpin", "R-112 to R-116";
    /// TTL.
    Ttl = "ttl", "R-084";
    /// The packet fits its link, or may be cut.
    Size = "size", "R-118 to R-125";
    /// Not too many echo requests.
    EchoRate = "echo-rate", "R-111";
    /// The Ethernet address of the next hop is known.
    NextHop = "next-hop", "RFC 4861 §7.2.2";
    /// Room in front of the packet for headers.
    Headroom = "headroom", "HEADROOM";
    /// Invariants of the engine.
    Invariants = "invariants", "DropReason::Internal";
}

impl core::fmt::Display for Check {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which way through the engine a packet takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Path {
    /// Not taken at all.
    Full,
    /// Ethernet frames that are not the worker's.
    Link,
    /// Frames that leave.
    Out,
    /// From a B4.
    Upstream,
    /// A fragment of a tunnel packet.
    TunnelFragment,
    /// `ICMPv6` for us.
    Icmpv6,
    /// Other IPv6.
    Ipv6,
    /// From the Internet.
    Downstream,
    /// A fragment from the Internet that is put together.
    Ipv4Fragment,
    /// For an IPv4 address of the box.
    OwnIpv4,
}

/// What decides which checks there are on a path.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Facts {
    /// The packet came in an Ethernet frame.
    pub(crate) ethernet: bool,
    /// The IPv4 packet is `ICMPv4`.
    pub(crate) icmpv4: bool,
    /// It is a fragment.
    pub(crate) fragment: bool,
    /// Both ends are ours.
    pub(crate) hairpin: bool,
    /// The IPv4 destination is the box.
    pub(crate) own: bool,
    /// It is, and the source has no tunnel.
    pub(crate) untunnelled: bool,
    /// The type of an `ICMPv6` message.
    pub(crate) icmpv6: Option<u8>,
    /// The owner's by its header alone.
    pub(crate) early: bool,
}

const LINK: &[Check] = &[
    Check::EthernetHeader,
    Check::Vlan,
    Check::EtherType,
    Check::Station,
];

/// From a B4: U1 to U11.
const UPSTREAM: &[Check] = &[
    Check::Ipv6Header,
    Check::Ipv6Source,
    Check::ExtensionHeaders,
    Check::NextHeader,
    Check::SubscriberPrefix,
    Check::Ipv4Header,
    Check::Ipv4Checksum,
    Check::Ipv4Source,
    Check::Ipv4Destination,
    Check::ServiceAddress,
    Check::Fragments,
    Check::PortKey,
    Check::Binding,
    Check::TunnelLoop,
    Check::Ecn,
    Check::Hairpin,
    Check::Ttl,
    Check::Size,
    Check::EchoRate,
    Check::Headroom,
];

/// From the Internet: W1 to W9.
const DOWNSTREAM: &[Check] = &[
    Check::Ipv4Header,
    Check::Ipv4Checksum,
    Check::Ipv4Source,
    Check::Ipv4Destination,
    Check::LinkGroup,
    Check::ServiceAddress,
    Check::PoolSource,
    Check::Icmpv4Policy,
    Check::Fragments,
    Check::PortKey,
    Check::Binding,
    Check::TunnelLoop,
    Check::Ttl,
    Check::Size,
    Check::Headroom,
];

impl Path {
    /// All that there can be, in order.
    const fn checks(self) -> &'static [Check] {
        use Check as C;
        match self {
            Self::Full => &[C::OutputMemory],
            Self::Link => &[C::NeighborMessage],
            Self::Out => &[C::NextHop, C::Headroom],
            Self::Upstream => UPSTREAM,
            Self::TunnelFragment => &[
                C::Ipv6Header,
                C::Ipv6Source,
                C::ExtensionHeaders,
                C::TunnelReassembly,
            ],
            Self::Icmpv6 => &[
                C::Ipv6Header,
                C::Ipv6Source,
                C::ExtensionHeaders,
                C::NextHeader,
                C::Icmpv6Message,
                C::TunnelErrorPolicy,
                C::TunnelErrorQuote,
                C::TunnelErrorRelay,
                C::TunnelErrorRate,
                C::EchoRate,
                C::Headroom,
            ],
            Self::Ipv6 => &[
                C::Ipv6Header,
                C::Ipv6Source,
                C::ExtensionHeaders,
                C::NextHeader,
                C::SubscriberPrefix,
                C::Ipv4Header,
            ],
            Self::Downstream => DOWNSTREAM,
            Self::Ipv4Fragment => &[
                C::Ipv4Header,
                C::Ipv4Checksum,
                C::Ipv4Source,
                C::Ipv4Destination,
                C::ServiceAddress,
                C::PoolSource,
                C::Icmpv4Policy,
                C::Fragments,
            ],
            Self::OwnIpv4 => &[
                C::Ipv4Header,
                C::Ipv4Checksum,
                C::ServiceAddress,
                C::PoolSource,
                C::Binding,
                C::Size,
                C::EchoRate,
                C::Headroom,
            ],
        }
    }

    /// How far a packet came that ended like this: the checks it passed, and the one it failed.
    pub(crate) fn run(self, facts: Facts, verdict: Verdict) -> (Vec<Check>, Option<Check>) {
        let link = if facts.ethernet { LINK } else { &[] };
        let link = link
            .iter()
            .filter(|_| self != Self::Full && self != Self::Out);
        let own = self.checks().iter().filter(|check| facts.have(**check));
        let all = link.chain(own).copied();
        let until = |check: Check| {
            let mut passed: Vec<Check> = all.clone().take_while(|c| *c != check).collect();
            if passed.len() == all.clone().count() {
                passed.clear(); // it stands on no list: nothing is known
            }
            passed
        };
        let through = |check: Check| {
            let mut passed = until(check);
            passed.push(check);
            passed
        };
        match verdict {
            Verdict::Drop(reason) | Verdict::Reply(_, Cause::Dropped(reason)) => {
                let failed = Check::failed(reason, self, facts);
                (until(failed), Some(failed))
            }
            Verdict::Forward(_) | Verdict::Reply(_, Cause::EchoV4 | Cause::EchoV6) => {
                (all.collect(), None)
            }
            Verdict::Consumed | Verdict::Local(_) => match self.end(facts, verdict) {
                Some(last) => (through(last), None),
                None => (all.collect(), None),
            },
        }
    }

    /// The last check of a packet that is kept or handed on, unless that is the last of all.
    const fn end(self, facts: Facts, verdict: Verdict) -> Option<Check> {
        match (self, verdict) {
            (Self::Upstream, Verdict::Local(_)) if facts.own => Some(Check::Ecn),
            (Self::Upstream, Verdict::Local(_)) => Some(Check::ServiceAddress),
            (Self::Upstream | Self::Downstream, Verdict::Consumed) => Some(Check::Fragments),
            (Self::Ipv6, Verdict::Local(Kind::Foreign)) => Some(Check::Ipv6Header),
            (Self::Ipv6, _) if facts.early => Some(Check::Ipv6Header),
            (Self::Ipv6, _) => Some(Check::NextHeader),
            (Self::Downstream, _) => Some(Check::Ipv4Header),
            (Self::OwnIpv4, _) => Some(Check::PoolSource),
            (Self::Icmpv6, Verdict::Local(_)) => Some(Check::Icmpv6Message),
            _ => None,
        }
    }
}

impl Facts {
    /// Whether this check is on the way of such a packet.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the others are on the way of every packet"
    )]
    const fn have(self, check: Check) -> bool {
        match check {
            Check::Icmpv4Policy => self.icmpv4,
            Check::Fragments => self.fragment,
            Check::Hairpin => self.hairpin && !self.own,
            Check::Ttl => !self.own,
            Check::Binding | Check::Size => !self.untunnelled,
            Check::NeighborMessage => self.icmpv6.is_some(),
            Check::EchoRate => self.own || matches!(self.icmpv6, Some(128)),
            Check::TunnelErrorPolicy
            | Check::TunnelErrorQuote
            | Check::TunnelErrorRelay
            | Check::TunnelErrorRate => matches!(self.icmpv6, Some(1..=4)),
            _ => true,
        }
    }
}

impl Check {
    /// The check that a packet on this path failed.
    pub(crate) const fn failed(reason: DropReason, path: Path, facts: Facts) -> Self {
        use DropReason as R;
        match (reason, path) {
            // As if it came from the Internet, for the receiver.
            (
                R::NoBinding | R::Icmpv4NoBinding | R::Icmpv4Policy | R::Icmpv4Rate,
                Path::Upstream,
            ) => Self::Hairpin,
            // Found where fragments are followed, before there is a key.
            (R::NoL4Port, Path::Upstream | Path::Downstream | Path::Ipv4Fragment)
                if facts.fragment =>
            {
                Self::Fragments
            }
            _ => Self::of(reason),
        }
    }

    /// The check that gives this reason.
    #[must_use]
    #[expect(clippy::too_many_lines, reason = "a table")]
    pub const fn of(reason: DropReason) -> Self {
        use DropReason as R;
        match reason {
            R::Ipv6Malformed => Self::Ipv6Header,
            R::Ipv6SourceInvalid => Self::Ipv6Source,
            R::Ipv6SourceNotAllowed => Self::SubscriberPrefix,
            R::ExtHeaderMalformed
            | R::ExtHeaderLimit
            | R::ExtHeaderOption
            | R::RoutingHeader
            | R::NoNextHeader => Self::ExtensionHeaders,
            R::NextHeaderUnknown => Self::NextHeader,
            R::Ipv6FragmentLength
            | R::Ipv6FragmentTooLong
            | R::Ipv6FragmentOverlap
            | R::Ipv6FragmentDuplicate
            | R::Ipv6FragmentFirstShort
            | R::Ipv6FragmentCount
            | R::Ipv6ReassemblyFull
            | R::Ipv6ReassemblyQuota
            | R::Ipv6ReassemblyTimeout
            | R::Ipv6ReassemblyEcn
            | R::Ipv6ReassembledTooBig => Self::TunnelReassembly,
            R::Ipv4Malformed => Self::Ipv4Header,
            R::Ipv4Checksum => Self::Ipv4Checksum,
            R::Ipv4SourceMartian => Self::Ipv4Source,
            R::Ipv4DestinationMartian => Self::Ipv4Destination,
            R::TtlExpired => Self::Ttl,
            R::TooBig => Self::Size,
            R::LinkGroup => Self::LinkGroup,
            R::PoolSourceSpoofed => Self::PoolSource,
            R::NoB4
            | R::WrongIpv4
            | R::PortOutOfSet
            | R::WrongAftr
            | R::NoBinding
            | R::Icmpv4NoBinding
            | R::TableBusy => Self::Binding,
            R::ServiceAddress => Self::ServiceAddress,
            R::EcnCongestion => Self::Ecn,
            R::TunnelLoop => Self::TunnelLoop,
            R::HairpinOff => Self::Hairpin,
            R::L4Malformed
            | R::NoL4Port
            | R::Icmpv4Malformed
            | R::Icmpv4Checksum
            | R::Icmpv4Type
            | R::Icmpv4QuoteChecksum
            | R::Icmpv4QuoteMismatch
            | R::Icmpv4QuoteError
            | R::Icmpv4QuoteFragment
            | R::Icmpv4QuoteNoPort
            | R::Icmpv4Fragmented => Self::PortKey,
            R::Icmpv4Policy | R::Icmpv4Rate => Self::Icmpv4Policy,
            R::Ipv4FragmentMalformed
            | R::Ipv4FragmentOverlap
            | R::Ipv4FragmentDuplicate
            | R::Ipv4FragmentTiny
            | R::Ipv4FragmentConflict
            | R::Ipv4FragmentCount
            | R::Ipv4FragmentFull
            | R::Ipv4FragmentQuota
            | R::Ipv4ReassemblyTimeout
            | R::Ipv4ReassemblyEcn
            | R::FragmentNoFirst
            | R::FragmentRefused
            | R::FragmentsOff => Self::Fragments,
            R::Icmpv6Malformed | R::Icmpv6Checksum | R::Icmpv6Type => Self::Icmpv6Message,
            R::Icmpv6Policy => Self::TunnelErrorPolicy,
            R::Icmpv6QuoteForeign | R::Icmpv6QuoteShort | R::Icmpv6QuoteUnanswerable => {
                Self::TunnelErrorQuote
            }
            R::Icmpv6NotRelayed | R::Icmpv6TooBigDfClear | R::Icmpv6TooBigInvalid => {
                Self::TunnelErrorRelay
            }
            R::Icmpv6RelayRate => Self::TunnelErrorRate,
            R::EchoRate => Self::EchoRate,
            R::L2Malformed => Self::EthernetHeader,
            R::L2NotForUs => Self::Station,
            R::L2Vlan => Self::Vlan,
            R::L2WrongFamily => Self::EtherType,
            R::NdpInvalid => Self::NeighborMessage,
            R::NeighborUnresolved => Self::NextHop,
            R::NoHeadroom => Self::Headroom,
            R::OutputFull => Self::OutputMemory,
            R::Internal => Self::Invariants,
        }
    }
}
