//! IPv4, IPv6, extension headers, checksums, ECN, port sets, addresses, frames, time.

use core::net::Ipv6Addr;
use core::time::Duration;

use lw4o6_wire::checksum::{self, Sum, Update};
use lw4o6_wire::ipv6_ext::{self, ExtProblem, ExtWalk};
use lw4o6_wire::{
    Ecn, EcnMix, EcnMode, EtherType, FragmentHeader, FrameBuf, Instant, IpProtocol, Ipv4Fields,
    Ipv4Header, Ipv4Packet, Ipv6Fields, Ipv6Header, Ipv6Prefix, PortParams, b4_address, ecn_decap,
    ecn_encap, ipv4, ipv6,
};

use crate::{bytes, bytes_mut, keep};

/// # Safety
///
/// `data` points to `len` readable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn probe_ipv4(data: *const u8, len: usize) {
    // SAFETY: what this function asks of its caller.
    let packet = unsafe { bytes(data, len) };
    if let Ok(packet) = Ipv4Packet::split(packet) {
        let header = packet.header;
        keep((
            header.version(),
            header.ihl_bytes(),
            header.dscp(),
            header.ecn(),
        ));
        keep((header.is_fragment(), header.is_first(), header.checksum()));
        keep((header.fields().to_bytes(), packet.options, packet.payload));
        keep((
            packet.header_len(),
            packet.total_len(),
            packet.header_checksum_ok(),
        ));
        keep((
            header.protocol().has_ports(),
            header.protocol().min_l4_len(),
        ));
    }
    keep(Ipv4Packet::split_quoted(packet));
}

/// # Safety
///
/// `data` points to `len` bytes that are readable and writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn probe_ipv4_rewrite(data: *mut u8, len: usize, a: u8, b: u16, c: u32) {
    // SAFETY: what this function asks of its caller.
    let packet = unsafe { bytes_mut(data, len) };
    let Some(header) = ipv4::header_mut(packet) else {
        return;
    };
    ipv4::decrement_ttl(header);
    ipv4::set_tos(header, a);
    let mut view = Ipv4Header::new(header);
    view.set_tos(a);
    view.set_total_len(b);
    view.set_ident(b);
    view.set_flags_offset(a & 1 != 0, a & 2 != 0, b);
    view.set_ttl(a);
    view.set_protocol(IpProtocol(a));
    view.set_checksum(b);
    view.set_src(c.into());
    view.set_dst(c.into());
    let fields = Ipv4Fields {
        tos: a,
        total_len: b,
        ident: b,
        dont_fragment: a & 1 != 0,
        more_fragments: a & 2 != 0,
        fragment_offset: b,
        ttl: a,
        protocol: IpProtocol(a),
        src: c.into(),
        dst: c.into(),
    };
    keep(fields.to_bytes());
}

/// # Safety
///
/// `data` points to `len` readable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn probe_ipv6(data: *const u8, len: usize) {
    // SAFETY: what this function asks of its caller.
    let packet = unsafe { bytes(data, len) };
    if let Ok((header, payload)) = Ipv6Header::split(packet) {
        keep((header.version(), header.dscp(), header.ecn()));
        keep((header.fields().to_bytes(), payload));
        walk(ipv6_ext::walk(header.next_header(), payload));
    }
    if let Ok((header, payload)) = Ipv6Header::split_quoted(packet) {
        walk(ipv6_ext::walk(header.next_header(), payload));
    }
}

/// # Safety
///
/// `data` points to `len` readable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn probe_ipv6_ext(data: *const u8, len: usize, next: u8, a: usize, b: usize) {
    // SAFETY: what this function asks of its caller.
    let payload = unsafe { bytes(data, len) };
    walk(ipv6_ext::walk_from(IpProtocol(next), a, b, payload));
    keep(ipv6_ext::encap_limit_header(IpProtocol(next), next));
    if let Ok((header, rest)) = FragmentHeader::split(payload) {
        keep((header.to_bytes(), header.is_atomic(), rest));
    }
}

fn walk(result: Result<ExtWalk<'_>, ExtProblem>) {
    match result.and_then(|walk| walk.past_fragment()) {
        Ok(walk) => keep((walk.next, walk.offset, walk.encap_limit, walk.payload)),
        Err(problem) => keep((
            problem.parameter_problem(true),
            problem.parameter_problem(false),
        )),
    }
    keep(result);
}

/// # Safety
///
/// `data` points to `len` bytes that are readable and writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn probe_ipv6_rewrite(data: *mut u8, len: usize, a: u8, b: u16, c: u32) {
    // SAFETY: what this function asks of its caller.
    let packet = unsafe { bytes_mut(data, len) };
    let address = Ipv6Addr::from_bits(u128::from(c) << 60);
    let Some(header) = ipv6::header_mut(packet) else {
        return;
    };
    let mut view = Ipv6Header::new(header);
    view.set_traffic_class(a);
    view.set_flow_label(c);
    view.set_payload_len(b);
    view.set_next_header(IpProtocol(a));
    view.set_hop_limit(a);
    view.set_src(address);
    view.set_dst(address);
    let fields = Ipv6Fields {
        traffic_class: a,
        flow_label: c,
        payload_len: b,
        next_header: IpProtocol(a),
        hop_limit: a,
        src: address,
        dst: address,
    };
    keep((fields.to_bytes(), EtherType(b)));
}

/// # Safety
///
/// `data` points to `len` readable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn probe_checksum(data: *const u8, len: usize, a: u8, b: u16, c: u32) {
    // SAFETY: what this function asks of its caller.
    let data = unsafe { bytes(data, len) };
    let address = Ipv6Addr::from_bits(u128::from(c) << 60);
    keep((
        checksum::checksum(data),
        checksum::verify(data),
        checksum::udp_wire(b),
    ));
    keep(
        checksum::pseudo_v4(c.into(), c.into(), IpProtocol(a), b)
            .add(data)
            .finish(),
    );
    keep(
        checksum::pseudo_v6(address, address, IpProtocol(a), c)
            .add(data)
            .finish(),
    );
    let mut sum = Sum::new();
    sum.add(data).add_u16(b).add_u32(c);
    if let Some(header) = data.first_chunk() {
        sum.add_header(header);
    }
    keep(sum.finish());
    let (old, new) = data.split_at_checked(usize::from(b)).unwrap_or_default();
    keep(
        Update::new(b)
            .u16(b, b ^ 5)
            .u32(c, c ^ 5)
            .bytes(old, new)
            .finish(),
    );
}

/// Congestion marks.
#[unsafe(no_mangle)]
pub extern "C" fn probe_ecn(a: u8, b: u8, compatible: bool) {
    let (inner, outer) = (Ecn::from_bits(a), Ecn::from_bits(b));
    let mode = if compatible {
        EcnMode::Compatibility
    } else {
        EcnMode::Normal
    };
    keep((ecn_decap(inner, outer), ecn_encap(mode, inner)));
    let mut mix = EcnMix::default();
    mix.add(inner);
    mix.add(outer);
    keep((mix.result(outer), inner.bits()));
}

/// Port sets.
#[unsafe(no_mangle)]
pub extern "C" fn probe_port_params(a: u8, k: u8, psid: u16, b: u8, l: u8, port: u16) {
    keep(PortParams::psid_of(a, k, port));
    let sets = (
        PortParams::new(a, k, psid),
        PortParams::from_left_aligned(b, l, psid),
    );
    if let (Ok(one), Ok(other)) = sets {
        keep((one.overlaps(&other), one.contains(port), one.port_count()));
        keep((
            one.left_aligned(),
            one.some_psid(),
            one.contains_system_ports(),
        ));
        keep((one.offset(), one.len(), one.psid(), one.is_shared()));
        keep((one.ranges().len(), other.is_full_address()));
        other.ranges().for_each(keep);
    }
}

/// Prefixes and the addresses made of them.
#[unsafe(no_mangle)]
pub extern "C" fn probe_prefix(high: u64, low: u64, len: u8, ipv4: u32, psid: u16) {
    let address = Ipv6Addr::from_bits(u128::from(high) << 64 | u128::from(low));
    if let Ok(prefix) = Ipv6Prefix::new(address, len) {
        keep(b4_address(prefix, ipv4.into(), Some(psid)));
        keep(b4_address(prefix, ipv4.into(), None));
        let host = Ipv6Prefix::host(address);
        keep((
            prefix.contains(address),
            prefix.common_len(host),
            prefix.addr(),
        ));
    }
}

/// # Safety
///
/// `storage` points to `size` bytes that are readable and writable, `data` to `len` readable
/// bytes that are not among them.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn probe_frame(
    storage: *mut u8,
    size: usize,
    data: *const u8,
    len: usize,
    a: usize,
    b: usize,
) {
    // SAFETY: what this function asks of its caller.
    let (storage, data) = unsafe { (bytes_mut(storage, size), bytes(data, len)) };
    keep(FrameBuf::with_headroom(storage, a, data).is_some());
    let Some(mut frame) = FrameBuf::new(storage, a, b) else {
        return;
    };
    keep(frame.push_front(&[7; 40]));
    frame.trim_front(a);
    frame.truncate(b);
    keep(frame.grow_back(a).map(|new| new.fill(1)));
    keep(frame.shift_to(b));
    keep(frame.set_packet(b, data));
    keep((
        frame.headroom(),
        frame.tailroom(),
        frame.len(),
        frame.capacity(),
    ));
    keep((frame.is_empty(), frame.link_cast()));
    frame.set_link_cast(lw4o6_wire::LinkCast::Group);
    keep(frame.packet_mut().first_mut());
    keep(frame.packet());
}

/// Time.
#[unsafe(no_mangle)]
pub extern "C" fn probe_time(a: u64, b: u64, nanos: u32) {
    let (one, other) = (Instant::from_millis(a), Instant::from_secs(b));
    let delay = Duration::from_nanos(u64::from(nanos));
    let mut later = one + delay;
    later += delay;
    keep((later, later.checked_add(delay), later.as_micros()));
    keep((
        one.saturating_since(other),
        one.checked_since(Instant::from_micros(b)),
    ));
}
