//! A clamp lowers segment sizes and nothing else, and ports agree with least lengths.

use lw4o6_wire::checksum::{Sum, verify};
use lw4o6_wire::tcp::{TcpFlags, TcpHeader, clamp_mss};
use lw4o6_wire::{IpProtocol, l4};

use super::fill_checksum;

/// Input: largest segment size, protocol, then a segment.
pub fn law(data: &[u8]) {
    let Some((&[hi, lo, proto], segment)) = data.split_first_chunk() else {
        return;
    };
    let proto = IpProtocol(proto);
    let valid = l4::validate(proto, segment).is_ok();
    let ports = l4::ports(proto, segment);
    assert_eq!(ports.is_some(), proto.has_ports() && segment.len() >= 4);
    assert!(!valid || segment.len() >= proto.min_l4_len() || !proto.has_ports());
    let tcp = TcpHeader::split(segment).is_ok();
    assert_eq!(tcp, l4::validate(IpProtocol::TCP, segment).is_ok());
    clamp(segment, u16::from_be_bytes([hi, lo]));
}

fn clamp(segment: &[u8], max: u16) {
    let mut before = segment.to_vec();
    fill_checksum(&mut before, 16, Sum::new());
    let mut after = before.clone();
    let changed = clamp_mss(&mut after, max);
    assert_eq!(changed, after != before);
    let Ok((header, options)) = TcpHeader::split(&before) else {
        assert!(!changed);
        return;
    };
    assert!(verify(&after));
    let wanted = match values(options) {
        Some(values) if header.flags().contains(TcpFlags::SYN) => values,
        _ => Vec::new(),
    };
    let mut expected = before.clone();
    for (at, value) in wanted {
        let place = expected.get_mut(20 + at..22 + at).unwrap_or_default();
        place.copy_from_slice(&value.min(max).to_be_bytes());
    }
    let differs = expected != before;
    let checksum = after.get(16..18).unwrap_or_default();
    expected.splice(16..18, checksum.iter().copied());
    assert_eq!(after, expected);
    assert_eq!(changed, differs);
}

/// The segment sizes in an option list with their places; `None` for a malformed list.
fn values(options: &[u8]) -> Option<Vec<(usize, u16)>> {
    let mut found = Vec::new();
    let mut rest = options;
    loop {
        rest = match rest {
            [] | [0, ..] => return Some(found),
            [1, behind @ ..] => behind,
            [2, 4, hi, lo, behind @ ..] => {
                let at = options.len() - rest.len() + 2;
                found.push((at, u16::from_be_bytes([*hi, *lo])));
                behind
            }
            [2, ..] | [_] => return None,
            [_, len, ..] => rest.get(usize::from(*len)..).filter(|_| *len >= 2)?,
        };
    }
}
