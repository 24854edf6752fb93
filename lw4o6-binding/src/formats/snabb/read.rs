//! Statements into typed values, one function per block of the schema.

use std::format;
use std::str::FromStr;
use std::string::String;
use std::vec::Vec;

use super::lex::{Lexer, StatementKind};
use super::member::{Member, Shape, expected, fill, member, missing, put, twice, unknown};
use super::{
    Leaf, SnabbConfig, SnabbInstance, SnabbNextHop, SnabbPort, SnabbQueue, SnabbSide, SnabbSoftwire,
};
use crate::formats::error::shown;
use crate::formats::{ImportError, ImportErrorKind};

const IPV4: &str = "an IPv4 address";
const IPV6: &str = "an IPv6 address";

type Result<T> = core::result::Result<T, ImportError>;

/// Reads a whole text.
pub(super) fn config(text: &[u8]) -> Result<SnabbConfig> {
    let text = utf8(text)?;
    let mut lexer = Lexer::new(text);
    let first = lexer.statement()?;
    let mut config = SnabbConfig::empty();
    if !matches!(first.kind, StatementKind::Open("softwire-config")) {
        return Err(expected(first.line, "softwire-config {", &first.kind));
    }
    softwire_config(&mut lexer, &mut config)?;
    let last = lexer.statement()?;
    if !matches!(last.kind, StatementKind::End) {
        return Err(expected(last.line, "the end of the text", &last.kind));
    }
    Ok(config)
}

fn utf8(text: &[u8]) -> Result<&str> {
    core::str::from_utf8(text).map_err(|e| {
        let good = text.get(..e.valid_up_to()).unwrap_or_default();
        let line = good.iter().filter(|b| **b == b'\n').count();
        let bad = text.get(e.valid_up_to()).copied().unwrap_or_default();
        ImportError::on_line(
            u32::try_from(line).unwrap_or(u32::MAX).saturating_add(1),
            ImportErrorKind::Syntax {
                expected: "UTF-8 text",
                found: format!("byte {bad:#04x}"),
            },
        )
    })
}

fn softwire_config(lexer: &mut Lexer<'_>, config: &mut SnabbConfig) -> Result<()> {
    let (mut external, mut internal, mut table) = (None, None, None);
    while let Some(member) = member(lexer)? {
        match (member.shape, member.name) {
            (Shape::Leaf, "name") => fill(&mut config.name, &member, member.string())?,
            (Shape::Block, "external-interface") => {
                fill(&mut external, &member, ())?;
                external_interface(lexer, config)?;
            }
            (Shape::Block, "internal-interface") => {
                fill(&mut internal, &member, ())?;
                internal_interface(lexer, config)?;
            }
            (Shape::Block, "binding-table") => {
                fill(&mut table, &member, ())?;
                binding_table(lexer, config)?;
            }
            (Shape::Block, "instance") => {
                let new = instance(lexer, member.line)?;
                let device = &new.device.value;
                if config.instances.iter().any(|i| i.device.value == *device) {
                    let name = format!("instance {}", shown(device));
                    return Err(twice(member.line, name));
                }
                config.instances.push(new);
            }
            _ => return Err(unknown(&member, "softwire-config")),
        }
    }
    Ok(())
}

fn external_interface(lexer: &mut Lexer<'_>, config: &mut SnabbConfig) -> Result<()> {
    let mut seen = Groups::default();
    while let Some(member) = member(lexer)? {
        if !common(lexer, &mut config.external, &mut seen, &member)? {
            return Err(unknown(&member, "external-interface"));
        }
    }
    Ok(())
}

fn internal_interface(lexer: &mut Lexer<'_>, config: &mut SnabbConfig) -> Result<()> {
    let mut seen = Groups::default();
    while let Some(member) = member(lexer)? {
        match (member.shape, member.name) {
            (Shape::Leaf, "flow-label") => put(&mut config.flow_label, &member, member.u32()?)?,
            (Shape::Leaf, "vlan-tag") => {
                fill(&mut config.internal_vlan_tag, &member, member.vlan()?)?;
            }
            (Shape::Leaf, "hairpinning") => {
                put(&mut config.hairpinning, &member, member.boolean()?)?;
            }
            _ => {
                if !common(lexer, &mut config.internal, &mut seen, &member)? {
                    return Err(unknown(&member, "internal-interface"));
                }
            }
        }
    }
    Ok(())
}

/// Which inner blocks of an interface were there.
#[derive(Default)]
struct Groups {
    limiting: Option<()>,
    reassembly: Option<()>,
}

/// What both interfaces have; false where `member` is nothing of it.
fn common(
    lexer: &mut Lexer<'_>,
    side: &mut SnabbSide,
    seen: &mut Groups,
    member: &Member<'_>,
) -> Result<bool> {
    match (member.shape, member.name) {
        (Shape::Block, "error-rate-limiting") => {
            fill(&mut seen.limiting, member, ())?;
            error_rate_limiting(lexer, side)?;
        }
        (Shape::Block, "reassembly") => {
            fill(&mut seen.reassembly, member, ())?;
            reassembly(lexer, side)?;
        }
        (Shape::Leaf, _) => return common_leaf(side, member),
        (Shape::Block, _) => return Ok(false),
    }
    Ok(true)
}

fn common_leaf(side: &mut SnabbSide, leaf: &Member<'_>) -> Result<bool> {
    match leaf.name {
        "mtu" => put(&mut side.mtu, leaf, leaf.u16()?)?,
        "mru" => put(&mut side.mru, leaf, leaf.u16()?)?,
        "ingress-filter" => fill(&mut side.ingress_filter, leaf, leaf.string())?,
        "egress-filter" => fill(&mut side.egress_filter, leaf, leaf.string())?,
        "allow-incoming-icmp" => put(&mut side.allow_incoming_icmp, leaf, leaf.boolean()?)?,
        "generate-icmp-errors" => put(&mut side.generate_icmp_errors, leaf, leaf.boolean()?)?,
        _ => return Ok(false),
    }
    Ok(true)
}

fn error_rate_limiting(lexer: &mut Lexer<'_>, side: &mut SnabbSide) -> Result<()> {
    while let Some(member) = member(lexer)? {
        match (member.shape, member.name) {
            (Shape::Leaf, "packets") => put(&mut side.error_packets, &member, member.u32()?)?,
            (Shape::Leaf, "period") => {
                put(&mut side.error_period, &member, member.u32_from_1()?)?;
            }
            _ => return Err(unknown(&member, "error-rate-limiting")),
        }
    }
    Ok(())
}

fn reassembly(lexer: &mut Lexer<'_>, side: &mut SnabbSide) -> Result<()> {
    while let Some(member) = member(lexer)? {
        match (member.shape, member.name) {
            (Shape::Leaf, "max-fragments-per-packet") => {
                put(
                    &mut side.max_fragments_per_packet,
                    &member,
                    member.u32_from_1()?,
                )?;
            }
            (Shape::Leaf, "max-packets") => {
                put(&mut side.max_packets, &member, member.u32()?)?;
            }
            _ => return Err(unknown(&member, "reassembly")),
        }
    }
    Ok(())
}

fn instance(lexer: &mut Lexer<'_>, line: u32) -> Result<SnabbInstance> {
    let (mut device, mut external_device) = (None, None);
    let mut queues: Vec<SnabbQueue> = Vec::new();
    while let Some(member) = member(lexer)? {
        match (member.shape, member.name) {
            (Shape::Leaf, "device") => fill(&mut device, &member, member.string())?,
            (Shape::Leaf, "external-device") => {
                fill(&mut external_device, &member, member.string())?;
            }
            (Shape::Block, "queue") => {
                let new = queue(lexer, member.line)?;
                if queues.iter().any(|q| q.id.value == new.id.value) {
                    return Err(twice(member.line, format!("queue {}", new.id.value)));
                }
                queues.push(new);
            }
            _ => return Err(unknown(&member, "instance")),
        }
    }
    Ok(SnabbInstance {
        line,
        device: device.ok_or_else(|| missing(line, "device", "instance"))?,
        external_device,
        queues,
    })
}

fn queue(lexer: &mut Lexer<'_>, line: u32) -> Result<SnabbQueue> {
    let (mut id, mut external, mut internal) = (None, None, None);
    let mut external_device = None;
    while let Some(member) = member(lexer)? {
        match (member.shape, member.name) {
            (Shape::Leaf, "id") => {
                let value = member.ranged(0..=255, "a number from 0 to 255")?;
                fill(&mut id, &member, value)?;
            }
            (Shape::Block, "external-interface") => {
                let port = port(lexer, &member, IPV4, Some(&mut external_device))?;
                fill(&mut external, &member, port)?;
            }
            (Shape::Block, "internal-interface") => {
                let port = port(lexer, &member, IPV6, None)?;
                fill(&mut internal, &member, port)?;
            }
            _ => return Err(unknown(&member, "queue")),
        }
    }
    Ok(SnabbQueue {
        line,
        id: id.ok_or_else(|| missing(line, "id", "queue"))?,
        external: external.ok_or_else(|| missing(line, "external-interface", "queue"))?,
        external_device,
        internal: internal.ok_or_else(|| missing(line, "internal-interface", "queue"))?,
    })
}

/// One side of a queue; v2 has a `device` in the external one.
fn port<A: FromStr>(
    lexer: &mut Lexer<'_>,
    block: &Member<'_>,
    rule: &'static str,
    mut device: Option<&mut Option<Leaf<String>>>,
) -> Result<SnabbPort<A>> {
    const WITHIN: &str = "the interface of a queue";
    let (mut ip, mut mac, mut vlan_tag, mut next) = (None, None, None, None);
    while let Some(member) = member(lexer)? {
        match (member.shape, member.name, device.as_deref_mut()) {
            (Shape::Leaf, "ip", _) => fill(&mut ip, &member, member.address(rule)?)?,
            (Shape::Leaf, "mac", _) => fill(&mut mac, &member, member.mac()?)?,
            (Shape::Leaf, "vlan-tag", _) => fill(&mut vlan_tag, &member, member.vlan()?)?,
            (Shape::Leaf, "device", Some(device)) => fill(device, &member, member.string())?,
            (Shape::Block, "next-hop", _) => {
                fill(&mut next, &member, next_hop(lexer, member.line, rule)?)?;
            }
            _ => return Err(unknown(&member, WITHIN)),
        }
    }
    let line = block.line;
    Ok(SnabbPort {
        line,
        ip: ip.ok_or_else(|| missing(line, "ip", WITHIN))?,
        mac: mac.ok_or_else(|| missing(line, "mac", WITHIN))?,
        vlan_tag,
        next_hop: next.ok_or_else(|| missing(line, "next-hop", WITHIN))?,
    })
}

fn next_hop<A: FromStr>(
    lexer: &mut Lexer<'_>,
    line: u32,
    rule: &'static str,
) -> Result<SnabbNextHop<A>> {
    let mut hop = None;
    while let Some(member) = member(lexer)? {
        let new = match (member.shape, member.name) {
            (Shape::Leaf, "ip") => SnabbNextHop::Ip(member.address(rule)?),
            (Shape::Leaf, "mac") => SnabbNextHop::Mac(member.mac()?),
            _ => return Err(unknown(&member, "next-hop")),
        };
        if hop.replace(new).is_some() {
            return Err(twice(member.line, String::from("the address of next-hop")));
        }
    }
    hop.ok_or_else(|| missing(line, "ip or mac", "next-hop"))
}

fn binding_table(lexer: &mut Lexer<'_>, config: &mut SnabbConfig) -> Result<()> {
    let mut seen = None;
    while let Some(member) = member(lexer)? {
        match (member.shape, member.name) {
            (Shape::Block, "softwire") => config.softwires.push(softwire(lexer, member.line)?),
            (Shape::Block, "version") => {
                fill(&mut seen, &member, ())?;
                version(lexer, config)?;
            }
            _ => return Err(unknown(&member, "binding-table")),
        }
    }
    Ok(())
}

fn version(lexer: &mut Lexer<'_>, config: &mut SnabbConfig) -> Result<()> {
    while let Some(member) = member(lexer)? {
        match (member.shape, member.name) {
            (Shape::Leaf, "number") => {
                let value = member.ranged(0..=u64::MAX, "a number from 0 to 2^64-1")?;
                fill(&mut config.version, &member, value)?;
            }
            (Shape::Leaf, "date") => fill(&mut config.date, &member, member.string())?,
            _ => return Err(unknown(&member, "version")),
        }
    }
    Ok(())
}

/// `padding` is read, checked and forgotten: it fills up a C structure.
fn softwire(lexer: &mut Lexer<'_>, line: u32) -> Result<SnabbSoftwire> {
    let (mut ipv4, mut psid, mut b4, mut aftr) = (None, None, None, None);
    let (mut padding, mut ports) = (None, None);
    while let Some(member) = member(lexer)? {
        match (member.shape, member.name) {
            (Shape::Leaf, "ipv4") => fill(&mut ipv4, &member, member.address(IPV4)?)?,
            (Shape::Leaf, "psid") => fill(&mut psid, &member, member.u16()?)?,
            (Shape::Leaf, "b4-ipv6") => fill(&mut b4, &member, member.address(IPV6)?)?,
            (Shape::Leaf, "br-address") => fill(&mut aftr, &member, member.address(IPV6)?)?,
            (Shape::Leaf, "padding") => fill(&mut padding, &member, member.u16()?)?,
            (Shape::Block, "port-set") => {
                fill(&mut ports, &member, port_set(lexer, member.line)?)?;
            }
            _ => return Err(unknown(&member, "softwire")),
        }
    }
    let lacks = |key| missing(line, key, "softwire");
    let (psid_length, reserved_bits) = ports.ok_or_else(|| lacks("port-set"))?;
    Ok(SnabbSoftwire {
        line,
        ipv4: ipv4.ok_or_else(|| lacks("ipv4"))?.value,
        psid: psid.ok_or_else(|| lacks("psid"))?.value,
        b4: b4.ok_or_else(|| lacks("b4-ipv6"))?.value,
        aftr: aftr.ok_or_else(|| lacks("br-address"))?.value,
        psid_length,
        reserved_bits,
    })
}

/// PSID length and reserved bits.
fn port_set(lexer: &mut Lexer<'_>, line: u32) -> Result<(u8, u8)> {
    let mut length = None;
    let mut reserved = Leaf::default_value(0);
    while let Some(member) = member(lexer)? {
        match (member.shape, member.name) {
            (Shape::Leaf, "psid-length") => fill(&mut length, &member, member.bits()?)?,
            (Shape::Leaf, "reserved-ports-bit-count") => {
                put(&mut reserved, &member, member.bits()?)?;
            }
            _ => return Err(unknown(&member, "port-set")),
        }
    }
    let length = length.ok_or_else(|| missing(line, "psid-length", "port-set"))?;
    let (length, reserved, line) = (length.value, reserved.value, reserved.line.or(length.line));
    if length + reserved > 16 {
        return Err(ImportError::on_line(
            line.unwrap_or_default(),
            ImportErrorKind::Conflict(format!(
                "psid-length {length} and reserved-ports-bit-count {reserved} make {} bits, a port \
                 has 16",
                length + reserved
            )),
        ));
    }
    Ok((length, reserved))
}
