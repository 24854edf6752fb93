//! Ethernet, ARP, Neighbor Discovery.

use core::net::Ipv6Addr;

use lw4o6_wire::EtherType;
use lw4o6_wire::arp::{ArpFields, ArpPacket};
use lw4o6_wire::ethernet::{self, EthernetFields, EthernetHeader, MacAddr, VlanTag};
use lw4o6_wire::ndp::{self, Answers, NeighborAdvert, NeighborSolicit};

use crate::{bytes, bytes_mut, keep};

fn station(mac: u64) -> MacAddr {
    let [_, _, octets @ ..] = mac.to_be_bytes();
    MacAddr(octets)
}

/// # Safety
///
/// `data` points to `len` bytes that are readable and writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn probe_ethernet(data: *mut u8, len: usize, mac: u64, tag: u16) {
    // SAFETY: what this function asks of its caller.
    let bytes = unsafe { bytes_mut(data, len) };
    let mac = station(mac);
    if let Ok(frame) = ethernet::split(bytes) {
        keep((frame.dst.is_multicast(), frame.dst.is_broadcast()));
        keep((
            frame.vlan.map(|t| (t.vid(), t.pcp(), t.dei())),
            frame.payload,
        ));
    }
    if let Some(mut header) = EthernetHeader::from_mut(bytes) {
        header.set_dst(mac);
        header.set_src(mac);
        keep((header.dst(), header.src(), header.ethertype()));
    }
    let fields = EthernetFields {
        dst: mac,
        src: mac,
        ethertype: EtherType(tag),
    };
    keep((fields.to_bytes(), fields.to_tagged_bytes(VlanTag(tag))));
}

/// # Safety
///
/// `data` points to `len` readable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn probe_arp(data: *const u8, len: usize, mac: u64, ip: u32) {
    // SAFETY: what this function asks of its caller.
    let payload = unsafe { bytes(data, len) };
    if let Ok((packet, padding)) = ArpPacket::split(payload) {
        let reply = packet.fields().reply_from(station(mac));
        keep((reply.to_bytes(), padding));
    }
    keep(ArpFields::announcement(station(mac), ip.into()).to_bytes());
}

/// # Safety
///
/// `data` points to `len` readable bytes, `out` to `out_len` bytes that are readable and writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn probe_ndp(
    data: *const u8,
    len: usize,
    out: *mut u8,
    out_len: usize,
    hop_limit: u8,
    a: u128,
    b: u128,
) {
    // SAFETY: what this function asks of its caller.
    let (message, out) = unsafe { (bytes(data, len), bytes_mut(out, out_len)) };
    let (src, dst) = (Ipv6Addr::from_bits(a), Ipv6Addr::from_bits(b));
    let mac = ndp::multicast_mac(dst);
    keep(ndp::solicited_node(dst));
    if let Ok(solicit) = NeighborSolicit::parse(src, dst, hop_limit, message) {
        let (to, advert) = NeighborAdvert::answer(&solicit, src, mac, Answers::AsProxy);
        keep(advert.emit(dst, to, out));
        keep(solicit.emit(src, dst, out));
    }
    if let Ok(advert) = NeighborAdvert::parse(src, dst, hop_limit, message) {
        keep(advert.emit(src, dst, out));
    }
    keep(NeighborAdvert::unsolicited(dst, mac).emit(src, dst, out));
}
