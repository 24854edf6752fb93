//! `lwaftr migrate`: a Snabb lwAFTR configuration becomes one of ours.
//!
//! Every knob is set so that behavior stays as it was, as far as no MUST of an RFC forbids it. Where
//! one does, the RFC wins and a warning names the requirement.

use std::path::Path;

use lw4o6_binding::formats::json::{HairpinMode, Instance, TableVersion};
use lw4o6_binding::formats::snabb::{
    SnabbConfig, SnabbNextHop, SnabbQueue, SnabbSide, SnabbSoftwire, SnabbWarning,
};
use lw4o6_binding::formats::{ImportedBinding, Source};
use lw4o6_binding::{Binding, Expiry, Origin};
use lw4o6_wire::PortParams;

use crate::config::{
    B4IcmpSource, ConfigFile, DscpDecap, FlowLabel, ForeignIpv4, Forwarding, FragmentHandling,
    FragmentKnobs, Hop, IcmpKnobs, InboundEcho, InstanceSection, InternetSection, LinkAddress,
    MacFilter, ManagementSection, PoolSource, PrivateDestination, QuotedChecksum, ReassemblyKnobs,
    RunSection, SoftwireSection, StateSection, Switch, TableKnobs, Text, unplaced,
};
use crate::error::Failure;
use crate::output;

/// Bytes of the longest packet that Snabb handles, reassembled or not.
const SNABB_PACKET: u16 = 10_240;

/// Largest share of fragment contexts that is taken over; each costs memory here only when used, but the
/// bound itself is memory.
const MAX_CONTEXTS: u32 = 65_536;

/// What a migration says about itself.
#[derive(Debug)]
pub struct Migration {
    /// The program's configuration.
    pub file: ConfigFile,
    /// The softwires.
    pub instance: Instance,
    /// What behaves differently, or was left out.
    pub warnings: Vec<String>,
}

/// Whether what cannot be expressed ends the migration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsupported {
    /// It does.
    Refuse,
    /// It is left out, with a warning.
    Drop,
}

/// Converts the configuration at `from` for a file to be written at `to`.
///
/// # Errors
///
/// Where it cannot be read, contradicts itself, or says what we cannot express; with its line.
pub fn migrate(from: &Path, to: &Path, unsupported: Unsupported) -> Result<Migration, Failure> {
    let text = std::fs::read(from).map_err(|error| Failure::at_config(from, &error))?;
    let snabb = SnabbConfig::parse(&text).map_err(|error| {
        let line = error
            .place
            .line()
            .map_or_else(String::new, |line| format!(":{line}"));
        Failure::config(format!("{}{line}: {}", from.display(), error.kind))
    })?;
    let mut notes = Notes {
        from,
        unsupported,
        warnings: Vec::new(),
    };
    let queue = notes.only_queue(&snabb)?;
    notes.filters(&snabb)?;
    notes.table(&snabb);
    notes.behavior(&snabb);
    let instance = instance(&snabb);
    let file = file(&snabb, queue, to)?;
    Ok(Migration {
        file,
        instance,
        warnings: notes.warnings,
    })
}

/// Collects what does not stay as it was.
struct Notes<'a> {
    from: &'a Path,
    unsupported: Unsupported,
    warnings: Vec<String>,
}

impl Notes<'_> {
    /// Something that has no counterpart: an error, or a warning where that was asked for.
    fn cannot(&mut self, line: u32, what: &str) -> Result<(), Failure> {
        let place = format!("{}:{line}", self.from.display());
        match self.unsupported {
            Unsupported::Refuse => Err(Failure::config(format!(
                "{place}: {what}; --drop-unsupported leaves it out"
            ))),
            Unsupported::Drop => {
                self.warnings.push(format!("{place}: {what}; left out"));
                Ok(())
            }
        }
    }

    fn warn(&mut self, line: Option<u32>, what: &str) {
        let line = line.map_or_else(String::new, |line| format!(":{line}"));
        self.warnings
            .push(format!("{}{line}: {what}", self.from.display()));
    }

    /// The addresses of the first queue; workers share one configuration here.
    fn only_queue<'s>(&mut self, snabb: &'s SnabbConfig) -> Result<&'s SnabbQueue, Failure> {
        let queues = snabb.instances.iter().flat_map(|instance| &instance.queues);
        let mut queues = queues.collect::<Vec<_>>().into_iter();
        let first = queues.next().ok_or_else(|| {
            Failure::at_config(
                self.from,
                &"no instance with a queue, so no interface addresses",
            )
        })?;
        for other in queues {
            self.cannot(other.line, "a second queue with addresses of its own")?;
        }
        Ok(first)
    }

    fn filters(&mut self, snabb: &SnabbConfig) -> Result<(), Failure> {
        let (outside, inside) = (&snabb.external, &snabb.internal);
        let filters = [
            (&outside.ingress_filter, "external-interface/ingress-filter"),
            (&outside.egress_filter, "external-interface/egress-filter"),
            (&inside.ingress_filter, "internal-interface/ingress-filter"),
            (&inside.egress_filter, "internal-interface/egress-filter"),
        ];
        for (filter, name) in filters {
            if let Some(filter) = filter {
                let what = format!(
                    "packet filters are not supported: {name} \"{}\"",
                    filter.value
                );
                self.cannot(filter.line.unwrap_or(1), &what)?;
            }
        }
        Ok(())
    }

    fn table(&mut self, snabb: &SnabbConfig) {
        for warning in snabb.warnings() {
            match warning {
                SnabbWarning::ReservedBits { line, bits } => self.warn(
                    Some(line),
                    &format!(
                        "R-016: reserved-ports-bit-count {bits} becomes PSID offset {bits}, which excludes ports below {} where Snabb excludes those below {}",
                        1u32 << (16 - u32::from(bits)),
                        1u32 << bits,
                    ),
                ),
                SnabbWarning::PsidTooLarge { line, psid, psid_length } => self.warn(
                    Some(line),
                    &format!("R-021: PSID {psid} does not fit psid-length {psid_length}, no packet can match; left out"),
                ),
                _ => {}
            }
        }
    }

    /// Where an RFC does not let behavior stay.
    fn behavior(&mut self, snabb: &SnabbConfig) {
        self.warn(
            None,
            "R-084: the TTL is decremented on decapsulation, too; at 0 the B4 hears ICMPv4 11/0",
        );
        self.warn(
            None,
            "R-074: packets with a wrong IPv4 header checksum are dropped",
        );
        self.warn(
            None,
            "R-194, R-195: outer ECN marks reach the inner packet, and CE over Not-ECT is dropped",
        );
        self.warn(None, "R-082, R-105: ICMP errors are delivered by the quoted packet's own port or identifier, in the right direction");
        self.warn(
            None,
            "R-096: protocols without ports reach full addresses only",
        );
        self.warn(
            None,
            "R-186: tunnel errors are relayed only if they quote a packet to a bound B4",
        );
        if snabb.flow_label.value > 0x000f_ffff {
            let line = snabb.flow_label.line;
            self.warn(line, "the flow label has 20 bits; the rest is cut off");
        }
    }
}

fn instance(snabb: &SnabbConfig) -> Instance {
    let bindings: Vec<_> = snabb.softwires.iter().filter_map(binding).collect();
    let count = u32::try_from(bindings.len()).unwrap_or(u32::MAX);
    let name = snabb
        .name
        .as_ref()
        .map_or("lwaftr", |name| name.value.as_str());
    // Some room for additions, as Snabb has no limit.
    let most = count.saturating_add(count / 4).max(1024);
    let payload_mtu = snabb.internal.mtu.value.saturating_sub(40);
    let mut instance = Instance::new(name.to_owned(), most, payload_mtu, SNABB_PACKET);
    instance.version = snabb.version.map(|version| TableVersion {
        version: version.value,
        date: None,
    });
    instance.hairpin = if snabb.hairpinning.value {
        HairpinMode::Local
    } else {
        HairpinMode::ToIpv4Side
    };
    let policy = &mut instance.icmp_policy;
    policy.allow_incoming_icmpv4 = snabb.external.allow_incoming_icmp.value;
    policy.generate_icmpv4_errors = snabb.external.generate_icmp_errors.value;
    policy.generate_icmpv6_errors = snabb.internal.generate_icmp_errors.value;
    policy.icmpv6_rate = Some(per_second(&snabb.internal));
    instance.bindings = bindings;
    instance
}

/// A softwire whose PSID fits.
fn binding(softwire: &SnabbSoftwire) -> Option<ImportedBinding> {
    let ports =
        PortParams::new(softwire.reserved_bits, softwire.psid_length, softwire.psid).ok()?;
    let binding = Binding {
        b4: softwire.b4,
        prefix_len: 128,
        ipv4: softwire.ipv4,
        ports,
        aftr: softwire.aftr,
        origin: Origin::Static,
        expires: Expiry::Never,
    };
    Some(ImportedBinding {
        binding,
        source: Source::Line(softwire.line),
    })
}

fn file(snabb: &SnabbConfig, queue: &SnabbQueue, to: &Path) -> Result<ConfigFile, Failure> {
    let vlan = |leaf: &Option<lw4o6_binding::formats::snabb::Leaf<u16>>| {
        leaf.map(|leaf| leaf.value)
            .filter(|&vlan| vlan != 0)
            .map(unplaced)
    };
    let address = LinkAddress::new(queue.internal.ip.value, 128);
    let address = address.map_err(|error| Failure::run(error.to_string()))?;
    Ok(ConfigFile {
        instance: InstanceSection {
            softwires: output::softwire_reference(to),
            name: None,
            aftr_addresses: Vec::new(),
        },
        internet: InternetSection {
            interface: None,
            mac: Some(Text(queue.external.mac.value)),
            vlan: vlan(&queue.external.vlan_tag),
            address: unplaced(queue.external.ip.value),
            more_addresses: Vec::new(),
            next_hop: Text(hop(&queue.external.next_hop)),
            mtu: unplaced(snabb.external.mtu.value),
            accept: MacFilter::Any,
            proxy_arp: false,
        },
        softwire: SoftwireSection {
            interface: None,
            mac: Some(Text(queue.internal.mac.value)),
            vlan: vlan(&queue.internal.vlan_tag),
            address: Text(address),
            next_hop: Text(hop(&queue.internal.next_hop)),
            accept: MacFilter::Any,
        },
        forwarding: forwarding(snabb),
        icmp: icmp(snabb),
        reassembly: ReassemblyKnobs {
            contexts: limit(snabb.internal.max_packets.value.min(MAX_CONTEXTS)),
            fragments: limit(snabb.internal.max_fragments_per_packet.value),
            ..ReassemblyKnobs::default()
        },
        // Snabb follows none.
        fragments: FragmentKnobs {
            handling: FragmentHandling::Reassemble,
            contexts: limit(snabb.external.max_packets.value.min(MAX_CONTEXTS)),
            fragments: limit(snabb.external.max_fragments_per_packet.value),
            ..FragmentKnobs::default()
        },
        table: TableKnobs::default(),
        run: RunSection::default(),
        state: StateSection::default(),
        management: ManagementSection::default(),
    })
}

fn forwarding(snabb: &SnabbConfig) -> Forwarding {
    Forwarding {
        inbound_echo_request: InboundEcho::Port0,
        dscp_decap: DscpDecap::Pipe,
        hop_limit: 255,
        own_ttl: 255,
        flow_label: FlowLabel::Constant(snabb.flow_label.value & 0x000f_ffff),
        foreign_ipv4: ForeignIpv4::Unbound,
        private_destination: PrivateDestination::Forward,
        pool_source: PoolSource::Forward,
        ..Forwarding::default()
    }
}

fn icmp(snabb: &SnabbConfig) -> IcmpKnobs {
    let (outside, inside) = (&snabb.external, &snabb.internal);
    IcmpKnobs {
        tunnel_errors: if inside.allow_incoming_icmp.value {
            Switch::On
        } else {
            Switch::Off
        },
        instance_rate: per_second(outside),
        instance_burst: outside.error_packets.value.max(inside.error_packets.value),
        // Snabb has no limit per source.
        source_rate: per_second(outside).max(per_second(inside)),
        source_burst: outside.error_packets.value.max(inside.error_packets.value),
        v4_tos: 0,
        b4_source: B4IcmpSource::Public,
        quoted_checksum: QuotedChecksum::Ignore,
        ..IcmpKnobs::default()
    }
}

/// Errors per second of a side; a rate that rounds to nothing is one, unless it is nothing.
fn per_second(side: &SnabbSide) -> u32 {
    let (packets, period) = (side.error_packets.value, side.error_period.value.max(1));
    if packets == 0 {
        0
    } else {
        (packets / period).max(1)
    }
}

fn limit(value: u32) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

fn hop<A: Copy>(next_hop: &SnabbNextHop<A>) -> Hop<A> {
    match next_hop {
        SnabbNextHop::Ip(ip) => Hop::Address(ip.value),
        SnabbNextHop::Mac(mac) => Hop::Mac(mac.value),
    }
}
