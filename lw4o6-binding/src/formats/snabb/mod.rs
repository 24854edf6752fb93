//! Snabb lwAFTR configurations: `snabb-softwire-v2` and `snabb-softwire-v3` text.
//!
//! [`SnabbConfig::parse`] reads a whole configuration into typed values that remember their
//! lines, so that whoever converts one can name the line of what cannot be kept. The two schema
//! versions differ, as far as configurations go, in one leaf: v3 moved `device` of a queue's
//! external interface up to `external-device` of the instance. Both spellings are read.
//!
//! # Reserved ports
//!
//! `reserved-ports-bit-count` n > 0 does not mean what the PSID offset of RFC 7597 §5.1 means,
//! although both take n bits from the front of the port. With psid-length k:
//!
//! | | ports refused below | other ports of the set |
//! |---|---|---|
//! | Snabb | 2^n | bits n..n+k of the port are the PSID, whatever the first n bits are |
//! | RFC 7597 | 2^(16-n) | the same, but the first n bits must not all be zero |
//!
//! With n = 6, a Snabb subscriber owns ports of 64-1023 that no other RFC 7597 device would give
//! or take. For n ≤ 8 the RFC set is the smaller one; from n = 9 on Snabb refuses ports that the
//! RFC set holds. At n = 8 both refuse 0-255 and the sets are equal. [`SnabbConfig::warnings`]
//! lists every softwire concerned; which set a converted table should get is up to the caller.

mod lex;
mod member;
mod read;
mod write;

use std::net::{Ipv4Addr, Ipv6Addr};
use std::string::String;
use std::vec::Vec;

use lw4o6_wire::ethernet::MacAddr;
use lw4o6_wire::{PortParams, PortParamsError};

pub use write::export;

use crate::Binding;
use crate::formats::{ImportError, ImportedBinding, Source};

/// A value with the line that gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leaf<T> {
    /// The value.
    pub value: T,
    /// Its line from 1, or `None` where the default of the schema stands in.
    pub line: Option<u32>,
}

impl<T> Leaf<T> {
    /// The default of the schema.
    #[must_use]
    pub const fn default_value(value: T) -> Self {
        Self { value, line: None }
    }
}

/// A Snabb lwAFTR configuration (`softwire-config`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnabbConfig {
    /// Name of the process, where one is given.
    pub name: Option<Leaf<String>>,
    /// Devices with their queues.
    pub instances: Vec<SnabbInstance>,
    /// The IPv4 side.
    pub external: SnabbSide,
    /// The IPv6 side.
    pub internal: SnabbSide,
    /// `internal-interface/flow-label`: the flow label of every tunnel packet. Default 0. Snabb
    /// takes 32 bits here, of which a header holds 20.
    pub flow_label: Leaf<u32>,
    /// `internal-interface/vlan-tag`: read by the schema, used by no version of Snabb (the tag of
    /// a queue counts).
    pub internal_vlan_tag: Option<Leaf<u16>>,
    /// `internal-interface/hairpinning`: whether traffic between two B4s turns around in the
    /// lwAFTR. Where false it leaves on the IPv4 side. Default true.
    pub hairpinning: Leaf<bool>,
    /// The binding table, in the order of the text.
    pub softwires: Vec<SnabbSoftwire>,
    /// `binding-table/version/number`.
    pub version: Option<Leaf<u64>>,
    /// `binding-table/version/date`, as written.
    pub date: Option<Leaf<String>>,
}

/// One device (`instance`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnabbInstance {
    /// Line of the block.
    pub line: u32,
    /// The device: both sides, or the IPv6 side where an external device is given.
    pub device: Leaf<String>,
    /// The device of the IPv4 side (v3).
    pub external_device: Option<Leaf<String>>,
    /// Receive queues; each has its own addresses.
    pub queues: Vec<SnabbQueue>,
}

/// One receive queue (`instance/queue`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnabbQueue {
    /// Line of the block.
    pub line: u32,
    /// Number of the queue.
    pub id: Leaf<u8>,
    /// The IPv4 side.
    pub external: SnabbPort<Ipv4Addr>,
    /// The device of the IPv4 side (v2 has it here).
    pub external_device: Option<Leaf<String>>,
    /// The IPv6 side.
    pub internal: SnabbPort<Ipv6Addr>,
}

/// Addresses of one side of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnabbPort<A> {
    /// Line of the block.
    pub line: u32,
    /// Address of the interface; source of ICMP errors.
    pub ip: Leaf<A>,
    /// Ethernet address of the interface.
    pub mac: Leaf<MacAddr>,
    /// 802.1Q tag, 0 to 4095.
    pub vlan_tag: Option<Leaf<u16>>,
    /// Where everything is sent.
    pub next_hop: SnabbNextHop<A>,
}

/// The next hop of one side of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnabbNextHop<A> {
    /// To be resolved by ARP or neighbor discovery.
    Ip(Leaf<A>),
    /// A fixed Ethernet address.
    Mac(Leaf<MacAddr>),
}

/// What the two sides have in common (`external-interface`, `internal-interface`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnabbSide {
    /// Largest IP packet sent, in bytes. Default 1460 outside, 1500 inside.
    pub mtu: Leaf<u16>,
    /// Largest IP packet received, in bytes; Snabb reads it and does nothing with it. Default 1460.
    pub mru: Leaf<u16>,
    /// pflang filter of incoming packets.
    pub ingress_filter: Option<Leaf<String>>,
    /// pflang filter of outgoing packets.
    pub egress_filter: Option<Leaf<String>>,
    /// Whether ICMP that comes in is looked at. Default true.
    pub allow_incoming_icmp: Leaf<bool>,
    /// Whether ICMP errors are made. Default true.
    pub generate_icmp_errors: Leaf<bool>,
    /// ICMP errors per period. Default 200; v2 has no default and asks for the leaf.
    pub error_packets: Leaf<u32>,
    /// The period in seconds, from 1. Default 2.
    pub error_period: Leaf<u32>,
    /// Most fragments of one datagram, from 1. Default 20.
    pub max_fragments_per_packet: Leaf<u32>,
    /// Most datagrams being put together. Default 20,000.
    pub max_packets: Leaf<u32>,
}

impl SnabbSide {
    /// The defaults of the schema with the given MTU.
    #[must_use]
    pub const fn with_mtu(mtu: u16) -> Self {
        Self {
            mtu: Leaf::default_value(mtu),
            mru: Leaf::default_value(1460),
            ingress_filter: None,
            egress_filter: None,
            allow_incoming_icmp: Leaf::default_value(true),
            generate_icmp_errors: Leaf::default_value(true),
            error_packets: Leaf::default_value(200),
            error_period: Leaf::default_value(2),
            max_fragments_per_packet: Leaf::default_value(20),
            max_packets: Leaf::default_value(20_000),
        }
    }
}

/// One softwire (`binding-table/softwire`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnabbSoftwire {
    /// Line of the block.
    pub line: u32,
    /// Public address.
    pub ipv4: Ipv4Addr,
    /// Port set identifier, right-aligned. May be too large for the length: see
    /// [`SnabbWarning::PsidTooLarge`].
    pub psid: u16,
    /// Address of the B4.
    pub b4: Ipv6Addr,
    /// Address of the AFTR for this softwire.
    pub aftr: Ipv6Addr,
    /// Bits of the PSID, 0 to 16.
    pub psid_length: u8,
    /// `reserved-ports-bit-count`, 0 to 16; with `psid_length` at most 16.
    pub reserved_bits: u8,
}

/// What a configuration says that means something else, or nothing, elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SnabbWarning {
    /// The lowest 2^bits ports are reserved, which no PSID offset says exactly unless it is 8
    ///
    ReservedBits {
        /// Line of the softwire.
        line: u32,
        /// `reserved-ports-bit-count`.
        bits: u8,
    },
    /// The PSID does not fit its length, so no packet can ever match (but for the case of
    /// [`SnabbSoftwire::serves`]). Snabb's own `generate-configuration` counts PSIDs from 1 and
    /// makes one such softwire per address.
    PsidTooLarge {
        /// Line of the softwire.
        line: u32,
        /// The PSID.
        psid: u16,
        /// Bits it should fit.
        psid_length: u8,
    },
}

impl SnabbConfig {
    /// A configuration of defaults: no device, no softwire.
    #[must_use]
    pub const fn empty() -> Self {
        Self {
            name: None,
            instances: Vec::new(),
            external: SnabbSide::with_mtu(1460),
            internal: SnabbSide::with_mtu(1500),
            flow_label: Leaf::default_value(0),
            internal_vlan_tag: None,
            hairpinning: Leaf::default_value(true),
            softwires: Vec::new(),
            version: None,
            date: None,
        }
    }

    /// Reads a configuration.
    ///
    /// # Errors
    ///
    /// Text that is not UTF-8 or breaks the grammar, keys the schema does not have or that stand
    /// twice, missing keys, and values outside their range; each with its line.
    pub fn parse(text: &[u8]) -> Result<Self, ImportError> {
        read::config(text)
    }

    /// Everything a converted table has to decide on, in the order of the softwires.
    pub fn warnings(&self) -> impl Iterator<Item = SnabbWarning> + '_ {
        self.softwires.iter().flat_map(|softwire| {
            [softwire.reserved_ports(), softwire.dead_psid()]
                .into_iter()
                .flatten()
        })
    }
}

impl SnabbSoftwire {
    /// The port set with `reserved_bits` as PSID offset: it takes the PSID from the same bits of
    /// the port, but is the set that Snabb serves only for 0 and 8 reserved bits (R-267, see the
    /// [module](self)).
    ///
    /// # Errors
    ///
    /// Where the PSID does not fit its length.
    pub const fn ports(&self) -> Result<PortParams, PortParamsError> {
        PortParams::new(self.reserved_bits, self.psid_length, self.psid)
    }

    /// Whether Snabb, running this softwire, takes `port` for one of its ports: what converted
    /// tables can be compared with. Snabb gives reserved ports the PSID 2^length, so that a
    /// softwire with just that PSID holds them.
    #[must_use]
    pub const fn serves(&self, port: u16) -> bool {
        let shift = 16 - self.psid_length - self.reserved_bits;
        let (port, sets) = (port as u32, 1_u32 << self.psid_length);
        let reserved = self.reserved_bits > 0 && port >> self.reserved_bits == 0;
        let psid = if reserved {
            sets
        } else {
            port >> shift & (sets - 1)
        };
        psid == self.psid as u32
    }

    /// The softwire as a static binding with the port set of [`ports`](Self::ports).
    ///
    /// # Errors
    ///
    /// Those of [`ports`](Self::ports).
    pub fn binding(&self) -> Result<ImportedBinding, PortParamsError> {
        let binding = Binding::new(self.b4, self.ipv4, self.ports()?, self.aftr);
        let source = Source::Line(self.line);
        Ok(ImportedBinding { binding, source })
    }

    fn reserved_ports(&self) -> Option<SnabbWarning> {
        (self.reserved_bits > 0).then_some(SnabbWarning::ReservedBits {
            line: self.line,
            bits: self.reserved_bits,
        })
    }

    fn dead_psid(&self) -> Option<SnabbWarning> {
        (u32::from(self.psid) >> self.psid_length > 0).then_some(SnabbWarning::PsidTooLarge {
            line: self.line,
            psid: self.psid,
            psid_length: self.psid_length,
        })
    }
}

#[cfg(test)]
mod tests;
