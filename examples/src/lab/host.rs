//! What makes a namespace a host: interfaces, addresses, routes, settings.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};

use lw4o6_wire::ethernet::MacAddr;
use serde::{Deserialize, Serialize};

use crate::netlink::{Netlink, Route};

/// A host to be.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Setup {
    /// Paths below `/proc/sys/net`, and what to write there.
    pub settings: Vec<(String, String)>,
    /// Its interfaces.
    pub interfaces: Vec<Interface>,
}

/// One interface of a host.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Interface {
    /// Its name; it exists already.
    pub name: String,
    /// Whether the kernel keeps its own addresses and messages off it.
    pub quiet: bool,
    /// Addresses with prefix lengths.
    pub addresses: Vec<(IpAddr, u8)>,
    /// Destinations with prefix lengths, and routers.
    pub routes: Vec<(IpAddr, u8, IpAddr)>,
    /// Largest packet in bytes on all these routes, where that is less than the interface's.
    pub route_mtu: Option<u32>,
    /// Neighbors that need not be asked for.
    pub neighbors: Vec<(IpAddr, [u8; 6])>,
}

/// Makes the namespace of this process the host that `setup` describes.
///
/// # Errors
///
/// The first thing that the kernel refuses.
pub fn set_up(setup: &Setup) -> Result<(), String> {
    for (path, value) in &setup.settings {
        fs::write(format!("/proc/sys/net/{path}"), value)
            .map_err(|error| format!("sysctl net/{path}: {error}"))?;
    }
    let mut netlink = Netlink::open().map_err(|error| format!("netlink: {error}"))?;
    let lo = netlink
        .link("lo")
        .and_then(|lo| netlink.set_flag_up(lo.index));
    lo.map_err(|error| format!("loopback: {error}"))?;
    for interface in &setup.interfaces {
        set_up_interface(&mut netlink, interface)?;
    }
    Ok(())
}

/// The path MTU that the kernel has learned, in bytes.
///
/// # Errors
///
/// Where no route leads to `to`.
pub fn path_mtu(to: Ipv4Addr) -> Result<Option<u32>, String> {
    let mtu = Netlink::open().and_then(|mut netlink| netlink.path_mtu(to));
    mtu.map_err(|error| format!("route to {to}: {error}"))
}

/// Deletes an interface.
///
/// # Errors
///
/// Where there is none of this name.
pub fn unlink(name: &str) -> Result<(), String> {
    let mut netlink = Netlink::open().map_err(|error| format!("netlink: {error}"))?;
    let deleted = netlink
        .link(name)
        .and_then(|link| netlink.delete_link(link.index));
    deleted.map_err(|error| format!("deleting {name}: {error}"))
}

fn set_up_interface(netlink: &mut Netlink, interface: &Interface) -> Result<(), String> {
    let name = &interface.name;
    let wrong = |what: String| move |error: std::io::Error| format!("{what}: {error}");
    let link = netlink.link(name).map_err(wrong(name.clone()))?;
    for &(address, len) in &interface.addresses {
        netlink
            .add_address(link.index, address, len)
            .map_err(wrong(format!("{address}/{len} on {name}")))?;
    }
    netlink
        .set_up(link.index, interface.quiet)
        .map_err(wrong(format!("{name} up")))?;
    for &(address, mac) in &interface.neighbors {
        netlink
            .add_neighbor(link.index, address, MacAddr(mac))
            .map_err(wrong(format!("neighbor {address} on {name}")))?;
    }
    for &(to, len, via) in &interface.routes {
        netlink
            .add_route(&Route {
                to,
                len,
                via: Some(via),
                index: link.index,
                mtu: interface.route_mtu,
            })
            .map_err(wrong(format!("route {to}/{len} on {name}")))?;
    }
    Ok(())
}
