//! ICMPv6 errors verify between their addresses and are read as they were written.

use std::net::Ipv6Addr;

use lw4o6_wire::IpProtocol;
use lw4o6_wire::checksum::pseudo_v6;
use lw4o6_wire::icmpv6::{
    Icmpv6ErrorKind, Icmpv6Header, Icmpv6Type, MAX_QUOTE, ParameterProblemCode, TimeExceededCode,
    UnreachableCode, error_header, quote_of, verify,
};

use super::fill_checksum;

/// Input: type, code, four bytes of MTU or pointer, source, destination, then a message, which is
/// also what the error quotes.
pub fn law(data: &[u8]) {
    let Some((&[type_, code, a, b, c, d], rest)) = data.split_first_chunk() else {
        return;
    };
    let Some((&src, rest)) = rest.split_first_chunk::<16>() else {
        return;
    };
    let Some((&dst, message)) = rest.split_first_chunk::<16>() else {
        return;
    };
    let (src, dst) = (Ipv6Addr::from(src), Ipv6Addr::from(dst));
    let value = u32::from_be_bytes([a, b, c, d]);
    let kind = match type_ % 4 {
        0 => Icmpv6ErrorKind::Unreachable(UnreachableCode(code)),
        1 => Icmpv6ErrorKind::PacketTooBig { mtu: value },
        2 => Icmpv6ErrorKind::TimeExceeded {
            code: TimeExceededCode(code),
        },
        _ => Icmpv6ErrorKind::ParameterProblem {
            code: ParameterProblemCode(code),
            pointer: value,
        },
    };
    built(kind, src, dst, message);
    echo(src, dst, message);
}

fn built(kind: Icmpv6ErrorKind, src: Ipv6Addr, dst: Ipv6Addr, packet: &[u8]) {
    let quote = quote_of(packet);
    assert_eq!(quote.len(), packet.len().min(MAX_QUOTE));
    let bytes = error_header(kind, src, dst, quote);
    let message = [&bytes[..], quote].concat();
    assert!(verify(src, dst, &message) && verify(dst, src, &message));
    let read = Icmpv6Header::split(&message).map(|(h, _)| Icmpv6ErrorKind::from_header(&h));
    assert_eq!(read, Ok(Some(kind)));
    let type_ = Icmpv6Header::split(&message).map(|(h, _)| h.type_());
    assert_eq!(type_.map(Icmpv6Type::may_cause_error), Ok(false));
}

/// A reply verifies between exchanged addresses and carries the data it came with.
fn echo(src: Ipv6Addr, dst: Ipv6Addr, message: &[u8]) {
    let mut edited = message.to_vec();
    let len = u32::try_from(edited.len()).unwrap_or(u32::MAX);
    fill_checksum(&mut edited, 2, pseudo_v6(src, dst, IpProtocol::ICMPV6, len));
    let Some(mut header) = Icmpv6Header::from_mut(&mut edited) else {
        assert!(message.len() < 8);
        return;
    };
    header.make_echo_reply();
    assert_eq!(header.type_(), Icmpv6Type::ECHO_REPLY);
    assert!(verify(dst, src, &edited));
    assert_eq!(edited.get(4..), message.get(4..));
}
