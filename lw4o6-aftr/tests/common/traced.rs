//! What the trace of a packet has to say, given what became of it.

use lw4o6_aftr::trace::{Check, Trace, Way};
use lw4o6_aftr::{Cause, DropReason, Verdict};

/// The checks that can give a reason, by name.
const CHECKS: &[(&str, &[DropReason])] = &{
    use DropReason as R;
    [
        ("ipv6-header", &[R::Ipv6Malformed] as &[_]),
        ("ipv6-source", &[R::Ipv6SourceInvalid]),
        ("subscriber-prefix", &[R::Ipv6SourceNotAllowed]),
        (
            "extension-headers",
            &[
                R::ExtHeaderMalformed,
                R::ExtHeaderLimit,
                R::ExtHeaderOption,
                R::RoutingHeader,
                R::NoNextHeader,
            ],
        ),
        ("next-header", &[R::NextHeaderUnknown]),
        (
            "tunnel-reassembly",
            &[
                R::Ipv6FragmentLength,
                R::Ipv6FragmentTooLong,
                R::Ipv6FragmentOverlap,
                R::Ipv6FragmentDuplicate,
                R::Ipv6FragmentFirstShort,
                R::Ipv6FragmentCount,
                R::Ipv6ReassemblyFull,
                R::Ipv6ReassemblyQuota,
                R::Ipv6ReassemblyTimeout,
                R::Ipv6ReassemblyEcn,
                R::Ipv6ReassembledTooBig,
            ],
        ),
        ("ipv4-header", &[R::Ipv4Malformed]),
        ("ipv4-checksum", &[R::Ipv4Checksum]),
        ("ipv4-source", &[R::Ipv4SourceMartian]),
        ("ipv4-destination", &[R::Ipv4DestinationMartian]),
        ("ttl", &[R::TtlExpired]),
        ("size", &[R::TooBig]),
        ("link-group", &[R::LinkGroup]),
        ("pool-source", &[R::PoolSourceSpoofed]),
        (
            "binding",
            &[
                R::NoB4,
                R::WrongIpv4,
                R::PortOutOfSet,
                R::WrongAftr,
                R::NoBinding,
                R::Icmpv4NoBinding,
                R::TableBusy,
            ],
        ),
        ("service-address", &[R::ServiceAddress]),
        ("ecn", &[R::EcnCongestion]),
        ("tunnel-loop", &[R::TunnelLoop]),
        (
            "hairpin",
            &[
                R::HairpinOff,
                R::NoBinding,
                R::Icmpv4NoBinding,
                R::Icmpv4Policy,
                R::Icmpv4Rate,
            ],
        ),
        (
            "port-key",
            &[
                R::L4Malformed,
                R::NoL4Port,
                R::Icmpv4Malformed,
                R::Icmpv4Checksum,
                R::Icmpv4Type,
                R::Icmpv4QuoteChecksum,
                R::Icmpv4QuoteMismatch,
                R::Icmpv4QuoteError,
                R::Icmpv4QuoteFragment,
                R::Icmpv4QuoteNoPort,
                R::Icmpv4Fragmented,
            ],
        ),
        ("icmpv4-policy", &[R::Icmpv4Policy, R::Icmpv4Rate]),
        (
            "ipv4-fragments",
            &[
                R::NoL4Port,
                R::Ipv4FragmentMalformed,
                R::Ipv4FragmentOverlap,
                R::Ipv4FragmentDuplicate,
                R::Ipv4FragmentTiny,
                R::Ipv4FragmentConflict,
                R::Ipv4FragmentCount,
                R::Ipv4FragmentFull,
                R::Ipv4FragmentQuota,
                R::Ipv4ReassemblyTimeout,
                R::Ipv4ReassemblyEcn,
                R::FragmentNoFirst,
                R::FragmentRefused,
                R::FragmentsOff,
            ],
        ),
        (
            "icmpv6-message",
            &[R::Icmpv6Malformed, R::Icmpv6Checksum, R::Icmpv6Type],
        ),
        ("tunnel-error-policy", &[R::Icmpv6Policy]),
        (
            "tunnel-error-quote",
            &[
                R::Icmpv6QuoteForeign,
                R::Icmpv6QuoteShort,
                R::Icmpv6QuoteUnanswerable,
            ],
        ),
        (
            "tunnel-error-relay",
            &[
                R::Icmpv6NotRelayed,
                R::Icmpv6TooBigDfClear,
                R::Icmpv6TooBigInvalid,
            ],
        ),
        ("tunnel-error-rate", &[R::Icmpv6RelayRate]),
        ("echo-rate", &[R::EchoRate]),
        ("ethernet-header", &[R::L2Malformed]),
        ("station", &[R::L2NotForUs]),
        ("vlan", &[R::L2Vlan]),
        ("ether-type", &[R::L2WrongFamily]),
        ("neighbor-message", &[R::NdpInvalid]),
        ("next-hop", &[R::NeighborUnresolved]),
        ("headroom", &[R::NoHeadroom]),
        ("output-memory", &[R::OutputFull]),
        ("invariants", &[R::Internal]),
    ]
};

/// Whether this check can give this reason.
pub fn gives(check: Check, reason: DropReason) -> bool {
    let names = CHECKS
        .iter()
        .filter(|(_, reasons)| reasons.contains(&reason));
    let names: Vec<&str> = names.map(|(name, _)| *name).collect();
    assert!(!names.is_empty(), "{reason} is given by no check");
    names.contains(&check.as_str())
}

/// The record is in itself right: what failed gives the reason, what passed came before it, in order.
pub fn consistent(record: &Trace) {
    let passed = &record.passed;
    assert!(passed.is_sorted(), "{record:?}");
    match record.verdict {
        Verdict::Drop(reason) | Verdict::Reply(_, Cause::Dropped(reason)) => {
            let failed = record.failed.unwrap();
            assert!(gives(failed, reason), "{record:?}");
            assert!(!passed.contains(&failed));
            assert!(
                passed.last().is_none_or(|last| *last < failed),
                "{record:?}"
            );
            // Only what comes first of all has nothing before it, and what is no check.
            let first = [
                "ipv6-header",
                "ipv4-header",
                "ethernet-header",
                "output-memory",
                "invariants",
            ];
            let alone = first.contains(&failed.as_str()) || record.way == Way::Out;
            assert!(alone || !passed.is_empty(), "{record:?}");
        }
        Verdict::Forward(_) | Verdict::Reply(..) | Verdict::Local(_) | Verdict::Consumed => {
            assert_eq!(record.failed, None, "{record:?}");
            assert!(!passed.is_empty(), "{record:?}");
        }
    }
    let replied = matches!(record.verdict, Verdict::Reply(..));
    assert_eq!(record.answer.is_some(), replied, "{record:?}");
    let text = record.to_string();
    assert!(
        text.contains(record.outcome()) && !text.contains('\n'),
        "{text}"
    );
}

/// The record of the frame that was just taken, and those of what it brought about.
pub fn traced(records: &[Trace], verdict: Verdict) {
    assert!(!records.is_empty());
    for record in records {
        consistent(record);
    }
    let own: Vec<&Trace> = records.iter().filter(|r| r.way == Way::In).collect();
    assert_eq!(own.len(), 1, "{records:?}");
    assert_eq!(own[0].verdict, verdict);
}
