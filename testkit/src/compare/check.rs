//! Rules that hold for every packet an lwAFTR sends, whatever another one says.

use core::net::{Ipv4Addr, Ipv6Addr};
use std::collections::BTreeMap;

use crate::model::{
    Model, ModelDestination, ModelOutcome, ModelSide, ModelVerdict, icmpv6_checksum,
    internet_checksum, port_in_set,
};

/// What makes packets one flow.
type Flow = (Ipv4Addr, Ipv4Addr, u8, Option<[u8; 4]>);

/// Flow labels seen so far.
#[derive(Clone, Debug, Default)]
pub struct Labels {
    of: BTreeMap<(bool, Flow), [u8; 3]>,
}

impl Labels {
    /// Checks everything that came of one packet.
    ///
    /// # Errors
    ///
    /// Names the rule that is broken.
    pub fn check(
        &mut self,
        model: &Model,
        packet: &[u8],
        outcome: &ModelOutcome,
    ) -> Result<(), String> {
        let mut sent: Vec<(ModelSide, &[u8])> = Vec::new();
        if let (ModelVerdict::Forward(side) | ModelVerdict::Reply(side), Some(frame)) =
            (outcome.verdict, &outcome.frame)
        {
            sent.push((side, frame));
        }
        for (to, frame) in &outcome.outputs {
            if let ModelDestination::Side(side) = to {
                sent.push((*side, frame));
            }
        }
        let mut before: Option<&[u8]> = None;
        for (side, frame) in &sent {
            match side {
                ModelSide::Internet => whole_v4(frame)?,
                ModelSide::Softwire => self.whole_v6(model, frame, before)?,
            }
            before = Some(frame);
        }
        if let (ModelVerdict::Forward(side), Some(frame)) = (outcome.verdict, &outcome.frame) {
            ttl_rule(side, packet, frame)?;
        }
        Ok(())
    }

    fn whole_v6(
        &mut self,
        model: &Model,
        frame: &[u8],
        before: Option<&[u8]>,
    ) -> Result<(), String> {
        if frame.len() < 40 || frame[0] >> 4 != 6 {
            return Err("an IPv6 packet without a header".into());
        }
        if frame.len() - 40 != usize::from(word(frame, 4)) {
            return Err("the IPv6 payload length is wrong".into());
        }
        if frame.len() > usize::from(u16::MAX).min(model.config().ipv6_mtu) {
            return Err("an IPv6 packet is larger than the MTU".into());
        }
        let (mut next, mut at) = (frame[6], 40);
        if next == 44 {
            let continues = word(frame, 42) & 0xfff8 != 0;
            if continues {
                return same_datagram(frame, before);
            }
            (next, at) = (frame[40], 48);
        }
        if next == 60 {
            (next, at) = (frame[at], at + 8);
        }
        match next {
            58 if frame[6] == 58 => icmpv6(frame),
            4 => {
                self.label(model, frame, &frame[at..])?;
                port_rule(model, frame, &frame[at..])
            }
            _ => Ok(()),
        }
    }

    /// One flow keeps one label.
    fn label(&mut self, model: &Model, frame: &[u8], inner: &[u8]) -> Result<(), String> {
        if model.config().flow_label.is_some() || inner.len() < 24 {
            return Ok(());
        }
        let cut = word(inner, 6) & 0x3fff != 0;
        if cut && model.config().inner_fragmentation {
            return Ok(()); // the label is that of the packet before it was cut
        }
        let header = usize::from(inner[0] & 15) * 4;
        let coarse = cut || model.config().flow_label_addresses;
        let ported = matches!(inner[9], 6 | 17 | 33 | 132 | 136) && !coarse;
        let ports = inner
            .get(header..header + 4)
            .filter(|_| ported)
            .and_then(|p| p.try_into().ok());
        let flow = (v4(inner, 12), v4(inner, 16), inner[9], ports);
        let label = [frame[1] & 15, frame[2], frame[3]];
        let known = *self.of.entry((coarse, flow)).or_insert(label);
        if known == label {
            return Ok(());
        }
        Err(format!(
            "the flow label of {flow:?} was {known:02x?} and is {label:02x?}"
        ))
    }
}

fn word(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn v4(bytes: &[u8], at: usize) -> Ipv4Addr {
    Ipv4Addr::new(bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3])
}

fn v6(bytes: &[u8], at: usize) -> Ipv6Addr {
    let mut octets = [0; 16];
    octets.copy_from_slice(&bytes[at..at + 16]);
    octets.into()
}

/// Pieces of one datagram share addresses, label and identification.
fn same_datagram(frame: &[u8], before: Option<&[u8]>) -> Result<(), String> {
    let Some(before) = before.filter(|b| b.len() >= 48 && b[6] == 44) else {
        return Err("a later fragment without an earlier one".into());
    };
    if frame[..4] != before[..4] || frame[8..40] != before[8..40] {
        return Err("the headers of two fragments of one datagram differ".into());
    }
    if frame[44..48] != before[44..48] {
        return Err("two fragments of one datagram have different identifications".into());
    }
    let end = usize::from(word(before, 42) & 0xfff8) + before.len() - 48;
    if end != usize::from(word(frame, 42) & 0xfff8) {
        return Err("a fragment does not start where the one before it ends".into());
    }
    Ok(())
}

fn icmpv6(frame: &[u8]) -> Result<(), String> {
    if icmpv6_checksum(v6(frame, 8), v6(frame, 24), &frame[40..]) != 0 {
        return Err("the ICMPv6 checksum is wrong".into());
    }
    if frame[40] < 128 && frame.len() > 1280 {
        return Err("an ICMPv6 error is longer than 1280 bytes".into());
    }
    Ok(())
}

fn whole_v4(frame: &[u8]) -> Result<(), String> {
    let header = frame.first().map_or(0, |b| usize::from(b & 15) * 4);
    if header < 20 || frame.len() < header || frame[0] >> 4 != 4 {
        return Err("an IPv4 packet without a header".into());
    }
    if frame.len() != usize::from(word(frame, 2)) {
        return Err("the IPv4 total length is wrong".into());
    }
    if internet_checksum(&frame[..header]) != 0 {
        return Err("the IPv4 header checksum is wrong".into());
    }
    let service = v4(frame, 12).octets();
    if service[..3] == [192, 0, 0] && service[3] < 8 {
        return Err("a packet from 192.0.0.0/29 reaches the Internet".into());
    }
    Ok(())
}

/// No B4 gets a packet for a port outside its set.
fn port_rule(model: &Model, frame: &[u8], inner: &[u8]) -> Result<(), String> {
    if inner.len() < 20 || internet_checksum(&inner[..usize::from(inner[0] & 15) * 4]) != 0 {
        return Err("the inner IPv4 header is damaged".into());
    }
    let (b4, dst) = (v6(frame, 24), v4(inner, 16));
    let header = usize::from(inner[0] & 15) * 4;
    let ported = matches!(inner[9], 6 | 17 | 33 | 132 | 136) && word(inner, 6) & 0x1fff == 0;
    let port = inner
        .get(header + 2..header + 4)
        .filter(|_| ported)
        .map(|p| word(p, 0));
    let allowed = model.bindings().iter().any(|b| {
        let inside = port.is_none_or(|port| port_in_set(b.offset, b.len, b.psid, port));
        b.b4 == b4 && b.ipv4 == dst && inside
    });
    // An ICMPv4 error about the service address goes back the way it came.
    let answer = inner[9] == 1 && inner.get(header).is_some_and(|t| matches!(t, 3 | 11));
    if allowed || answer {
        return Ok(());
    }
    Err(format!(
        "{b4} gets a packet for {dst} port {port:?}, which is not its own"
    ))
}

/// TTL goes down by exactly one.
fn ttl_rule(side: ModelSide, packet: &[u8], frame: &[u8]) -> Result<(), String> {
    let inner = |bytes: &[u8]| -> Option<(u8, u16, u8)> {
        let (mut next, mut at) = (4, 0);
        if bytes.first()? >> 4 == 6 {
            (next, at) = (*bytes.get(6)?, 40);
            while next == 60 || next == 44 || next == 0 || next == 43 {
                let len = if next == 44 {
                    8
                } else {
                    (usize::from(*bytes.get(at + 1)?) + 1) * 8
                };
                (next, at) = (*bytes.get(at)?, at + len);
            }
        }
        let v4 = bytes.get(at..at + 20).filter(|_| next == 4)?;
        Some((v4[8], word(v4, 4), v4[9]))
    };
    let (Some(before), Some(after)) = (inner(packet), inner(frame)) else {
        return Ok(()); // a relayed tunnel error, not a forwarded packet
    };
    if before.0 == after.0.wrapping_add(1) {
        return Ok(());
    }
    Err(format!(
        "the TTL went from {} to {} towards {side:?}",
        before.0, after.0
    ))
}
