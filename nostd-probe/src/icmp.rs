//! ICMP, what it quotes, ports, TCP.

use core::net::Ipv6Addr;

use lw4o6_wire::icmpv4::{self, Icmpv4ErrorKind, Icmpv4Header};
use lw4o6_wire::icmpv6::{
    self, Icmpv6ErrorKind, Icmpv6Header, ParameterProblemCode, TimeExceededCode, UnreachableCode,
};
use lw4o6_wire::tcp::{TcpHeader, clamp_mss};
use lw4o6_wire::{IpProtocol, l4, quote};

use crate::{bytes, bytes_mut, keep};

/// # Safety
///
/// `data` points to `len` bytes that are readable and writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn probe_icmpv4(data: *mut u8, len: usize, choice: u16) {
    // SAFETY: what this function asks of its caller.
    let message = unsafe { bytes_mut(data, len) };
    if let Ok((header, rest)) = Icmpv4Header::split(message) {
        keep((header.type_().is_error(), header.code(), header.checksum()));
        keep((header.class(), header.sequence(), header.next_hop_mtu()));
        keep((header.quote_words(), rest, icmpv4::verify(message)));
    }
    let kind = match choice % 7 {
        0 => Icmpv4ErrorKind::HostUnreachable,
        1 => Icmpv4ErrorKind::ProtocolUnreachable,
        2 => Icmpv4ErrorKind::PortUnreachable,
        3 => Icmpv4ErrorKind::AdminProhibited,
        4 => Icmpv4ErrorKind::TimeExceeded,
        5 => Icmpv4ErrorKind::ReassemblyTimeExceeded,
        _ => Icmpv4ErrorKind::FragmentationNeeded { mtu: choice },
    };
    keep(icmpv4::error_header(kind, icmpv4::quote_of(message)));
    if let Some(mut header) = Icmpv4Header::from_mut(message) {
        header.set_ident(choice);
        header.make_echo_reply();
    }
}

/// # Safety
///
/// `data` points to `len` bytes that are readable and writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn probe_icmpv6(data: *mut u8, len: usize, choice: u8, value: u32, a: u128) {
    // SAFETY: what this function asks of its caller.
    let message = unsafe { bytes_mut(data, len) };
    let (src, dst) = (Ipv6Addr::from_bits(a), Ipv6Addr::from_bits(!a));
    if let Ok((header, rest)) = Icmpv6Header::split(message) {
        keep((header.type_().may_cause_error(), header.code(), rest));
        keep((header.checksum(), header.ident(), header.sequence()));
        keep((header.quote_words(), Icmpv6ErrorKind::from_header(&header)));
    }
    let kind = match choice % 4 {
        0 => Icmpv6ErrorKind::Unreachable(UnreachableCode(choice)),
        1 => Icmpv6ErrorKind::PacketTooBig { mtu: value },
        2 => Icmpv6ErrorKind::TimeExceeded {
            code: TimeExceededCode(choice),
        },
        _ => Icmpv6ErrorKind::ParameterProblem {
            code: ParameterProblemCode(choice),
            pointer: value,
        },
    };
    let quote = icmpv6::quote_of(message);
    keep(icmpv6::error_header(kind, src, dst, quote));
    keep(icmpv6::verify(src, dst, message));
    if let Some(mut header) = Icmpv6Header::from_mut(message) {
        header.make_echo_reply();
    }
}

/// # Safety
///
/// `data` points to `len` readable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn probe_quote(data: *const u8, len: usize) {
    // SAFETY: what this function asks of its caller.
    let message = unsafe { bytes(data, len) };
    if let Ok(quoted) = quote::ipv4_quote(message) {
        keep((
            quoted.key(),
            quoted.header_len(),
            quoted.header_checksum_ok(),
        ));
    }
    if let Ok(tunnel) = quote::tunnel_quote(message) {
        keep((tunnel.outer.src(), tunnel.headers_len, tunnel.inner_bytes));
        keep(tunnel.inner.map(|quoted| quoted.key()));
    }
}

/// # Safety
///
/// `data` points to `len` bytes that are readable and writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn probe_l4(data: *mut u8, len: usize, proto: u8, max: u16) {
    // SAFETY: what this function asks of its caller.
    let segment = unsafe { bytes_mut(data, len) };
    let proto = IpProtocol(proto);
    keep((l4::ports(proto, segment), l4::validate(proto, segment)));
    if let Ok((header, options)) = TcpHeader::split(segment) {
        keep((header.src_port(), header.dst_port(), header.header_len()));
        keep((header.flags(), header.checksum(), options));
    }
    keep(clamp_mss(segment, max));
}
