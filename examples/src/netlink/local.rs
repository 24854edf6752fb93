//! What the kernel takes for its own.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL};
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{LinkAttribute, LinkMessage};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::{Netlink, family, route_address};

/// `RT_TABLE_LOCAL`, the routing table of the kernel's own addresses.
const LOCAL_TABLE: u8 = 255;

/// Addresses that the kernel takes for its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalRoute {
    /// First address.
    pub to: IpAddr,
    /// Length of the prefix in bits.
    pub len: u8,
    /// Interface that has it.
    pub interface: String,
}

/// Where the kernel would send a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// It has no route.
    Nowhere,
    /// To itself.
    Local,
    /// To another host, or to nobody by a rule.
    Elsewhere,
}

impl Netlink {
    /// What the kernel takes for its own, both families: its addresses, also those that wait for an
    /// interface to come up, and its local routes.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    pub fn local_routes(&mut self) -> io::Result<Vec<LocalRoute>> {
        let names = self.link_names()?;
        let message = RouteNetlinkMessage::GetAddress(AddressMessage::default());
        let answers = self.request(message, NLM_F_DUMP)?;
        let mut found: Vec<_> = answers
            .iter()
            .filter_map(|answer| own_address(answer, &names))
            .collect();
        // The kernel leaves other kinds of routes out itself where it knows how to, since a router may
        // have a million of them.
        let _ = self.socket.set_netlink_get_strict_chk(true);
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut message = RouteMessage::default();
            message.header.address_family = family;
            message.header.kind = RouteType::Local;
            let answers = self.request(RouteNetlinkMessage::GetRoute(message), NLM_F_DUMP)?;
            found.extend(
                answers
                    .iter()
                    .filter_map(|answer| local_route(answer, &names)),
            );
        }
        Ok(found)
    }

    /// Where the kernel would send a packet to `address`.
    ///
    /// # Errors
    ///
    /// What the kernel says, other than that there is no way.
    pub fn reach(&mut self, address: IpAddr) -> io::Result<Reach> {
        let mut message = RouteMessage::default();
        message.header.address_family = family(address);
        message.header.destination_prefix_length = if address.is_ipv6() { 128 } else { 32 };
        message
            .attributes
            .push(RouteAttribute::Destination(route_address(address)));
        let answers = match self.request(RouteNetlinkMessage::GetRoute(message), 0) {
            Ok(answers) => answers,
            Err(error) => {
                return match error.raw_os_error() {
                    Some(libc::ENETUNREACH) => Ok(Reach::Nowhere),
                    Some(libc::EHOSTUNREACH | libc::EACCES | libc::EINVAL) => Ok(Reach::Elsewhere),
                    _ => Err(error),
                };
            }
        };
        let is_local = answers.iter().any(|answer| {
            matches!(answer, RouteNetlinkMessage::NewRoute(route) if route.header.kind == RouteType::Local)
        });
        Ok(if is_local {
            Reach::Local
        } else {
            Reach::Elsewhere
        })
    }

    /// Has the kernel take a prefix for its own.
    ///
    /// # Errors
    ///
    /// Without `CAP_NET_ADMIN`, or where the route is there already.
    pub fn add_local_route(&mut self, to: IpAddr, len: u8, index: u32) -> io::Result<()> {
        let mut message = RouteMessage::default();
        message.header = RouteHeader {
            address_family: family(to),
            destination_prefix_length: len,
            table: LOCAL_TABLE,
            protocol: RouteProtocol::Static,
            scope: RouteScope::Host,
            kind: RouteType::Local,
            ..RouteHeader::default()
        };
        message.attributes = vec![
            RouteAttribute::Oif(index),
            RouteAttribute::Destination(route_address(to)),
        ];
        let flags = NLM_F_CREATE | NLM_F_EXCL;
        self.request(RouteNetlinkMessage::NewRoute(message), flags)
            .map(drop)
    }

    /// Names of the interfaces, by number.
    fn link_names(&mut self) -> io::Result<BTreeMap<u32, String>> {
        let message = RouteNetlinkMessage::GetLink(LinkMessage::default());
        let answers = self.request(message, NLM_F_DUMP)?;
        let mut names = BTreeMap::new();
        for answer in answers {
            let RouteNetlinkMessage::NewLink(link) = answer else {
                continue;
            };
            for attribute in link.attributes {
                if let LinkAttribute::IfName(name) = attribute {
                    names.insert(link.header.index, name);
                }
            }
        }
        Ok(names)
    }
}

fn own_address(answer: &RouteNetlinkMessage, names: &BTreeMap<u32, String>) -> Option<LocalRoute> {
    let RouteNetlinkMessage::NewAddress(message) = answer else {
        return None;
    };
    let (mut local, mut address) = (None, None);
    for attribute in &message.attributes {
        if let AddressAttribute::Local(own) = attribute {
            local = Some(*own);
        } else if let AddressAttribute::Address(own) = attribute {
            // On a point-to-point link this is the other end, and the own one is there too.
            address = Some(*own);
        }
    }
    let to = local.or(address)?;
    Some(LocalRoute {
        to,
        len: if to.is_ipv6() { 128 } else { 32 },
        interface: names
            .get(&message.header.index)
            .cloned()
            .unwrap_or_default(),
    })
}

fn local_route(answer: &RouteNetlinkMessage, names: &BTreeMap<u32, String>) -> Option<LocalRoute> {
    let RouteNetlinkMessage::NewRoute(route) = answer else {
        return None;
    };
    if route.header.kind != RouteType::Local {
        return None;
    }
    let (mut to, mut interface) = (None, String::new());
    for attribute in &route.attributes {
        if let RouteAttribute::Destination(destination) = attribute {
            if let RouteAddress::Inet(address) = *destination {
                to = Some(IpAddr::V4(address));
            } else if let RouteAddress::Inet6(address) = *destination {
                to = Some(IpAddr::V6(address));
            }
        } else if let RouteAttribute::Oif(index) = attribute {
            interface = names.get(index).cloned().unwrap_or_default();
        }
    }
    Some(LocalRoute {
        to: to?,
        len: route.header.destination_prefix_length,
        interface,
    })
}
