//! How often errors and answers are sent: one budget for the instance, shared by its workers, and
//! one for each destination.

use core::net::{Ipv4Addr, Ipv6Addr};

use lw4o6_wire::Instant;

use crate::bucket::{Bucket, Rate, SourceBuckets};
use crate::config::IcmpConfig;
use crate::worker::Worker;

/// Destinations remembered. R-173
const SOURCES: usize = 4096;

/// Refused packets whose reason is told apart at some cost, per second and at once.
const DIAGNOSES: u32 = 10_000;

/// Which instance budget an error counts against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
}

/// Whom an error goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    V4(Ipv4Addr),
    V6(Ipv6Addr),
}

impl Source {
    /// 17 bytes that no other destination or family has.
    fn bytes(self, family: Family) -> [u8; 17] {
        let octets = match self {
            Self::V4(address) => address.to_ipv6_mapped().octets(),
            Self::V6(address) => address.octets(),
        };
        let mut bytes = [0; 17];
        bytes[0] = family as u8;
        bytes[1..].copy_from_slice(&octets);
        bytes
    }
}

/// The state of all budgets.
#[derive(Debug)]
pub(crate) struct Budgets {
    v4: Bucket,
    v6: Bucket,
    echo: Bucket,
    incoming_v4: Bucket,
    diagnosis: Bucket,
    sources: SourceBuckets,
}

impl Budgets {
    pub(crate) fn new(secret: [u8; 16]) -> Self {
        Self {
            v4: Bucket::new(),
            v6: Bucket::new(),
            echo: Bucket::new(),
            incoming_v4: Bucket::new(),
            diagnosis: Bucket::new(),
            sources: SourceBuckets::new(SOURCES, secret),
        }
    }
}

/// What the configuration allows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rates {
    instance_v4: Rate,
    instance_v6: Rate,
    source: Rate,
    echo: Rate,
    incoming_v4: Option<Rate>,
}

impl Rates {
    pub(crate) fn new(icmp: &IcmpConfig) -> Self {
        Self {
            instance_v4: Rate::new(icmp.instance_rate_v4, icmp.instance_burst),
            instance_v6: Rate::new(icmp.instance_rate_v6, icmp.instance_burst),
            source: Rate::new(icmp.source_rate, icmp.source_burst),
            echo: Rate::new(icmp.echo_rate, icmp.echo_rate),
            incoming_v4: icmp.incoming_v4_rate.map(|rate| Rate::new(rate, rate)),
        }
    }
}

impl Worker {
    /// A token for an error, from the instance and from its destination, or from neither. R-165 R-179
    pub(crate) fn take_error(&self, now: Instant, family: Family, to: Source) -> bool {
        let (budgets, rates) = (&self.shared.budgets, &self.settings.rates);
        let (instance, rate) = match family {
            Family::V4 => (&budgets.v4, rates.instance_v4),
            Family::V6 => (&budgets.v6, rates.instance_v6),
        };
        let source = to.bytes(family);
        budgets
            .sources
            .try_take_both(now, &source, rates.source, instance, rate)
    }

    /// A token for an echo reply; pings starve no error.
    pub(crate) fn take_echo(&self, now: Instant) -> bool {
        self.shared
            .budgets
            .echo
            .try_take(now, self.settings.rates.echo)
    }

    /// A token for finding out what exactly is wrong with a packet.
    pub(crate) fn take_diagnosis(&self, now: Instant) -> bool {
        let rate = const { Rate::new(DIAGNOSES, DIAGNOSES) };
        self.shared.budgets.diagnosis.try_take(now, rate)
    }

    /// A token for an incoming `ICMPv4` message (RFC 8676 icmpv4-rate).
    pub(crate) fn take_incoming_icmpv4(&self, now: Instant) -> bool {
        let budget = &self.shared.budgets.incoming_v4;
        let rate = self.settings.rates.incoming_v4;
        rate.is_none_or(|rate| budget.try_take(now, rate))
    }
}
