//! The few requests to the kernel's routing socket (rtnetlink) that the programs need.
//!
//! Synchronous: one request, one answer. `rtnetlink` would bring an async runtime along for that.

mod local;
mod monitor;

use std::io;
use std::net::{IpAddr, Ipv4Addr};

use lw4o6_wire::ethernet::MacAddr;
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkHeader,
    NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage};
use netlink_packet_route::link::{
    AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InfoData, InfoKind, InfoVeth, LinkAttribute,
    LinkFlags, LinkInfo, LinkLayerType, LinkMessage,
};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteMetric,
    RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};

pub use self::local::{LocalRoute, Reach};
pub use self::monitor::LinkMonitor;

/// Largest answer read at once; a link with all its attributes takes about 2 KiB.
const ANSWER_ROOM: usize = 64 * 1024;

/// A kernel interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Number of the interface.
    pub index: u32,
    /// Its Ethernet address; none where it is no Ethernet interface.
    pub mac: Option<MacAddr>,
    /// Largest IP packet in bytes.
    pub mtu: u32,
    /// Whether it is administratively up.
    pub up: bool,
}

/// Ethernet header with a tag, in bytes.
const TAGGED_HEADER: usize = 18;

impl Link {
    /// Longest frame of the interface in bytes, a tagged Ethernet header included.
    #[must_use]
    pub fn longest(&self) -> usize {
        usize::try_from(self.mtu)
            .unwrap_or(usize::MAX)
            .saturating_add(TAGGED_HEADER)
    }

    /// Longest that `frame` may be: a tag does not count.
    #[must_use]
    pub fn longest_of(&self, frame: &[u8]) -> usize {
        match frame.get(12..14) {
            Some([0x81, 0x00] | [0x88, 0xa8]) => self.longest(),
            _ => self.longest() - 4,
        }
    }
}

/// What an interface has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct LinkStats {
    /// Frames received.
    pub received: u64,
    /// Bytes in them, without check sequences.
    pub received_bytes: u64,
    /// Frames received and dropped by the kernel's own stack or for want of room.
    pub dropped: u64,
    /// Frames sent.
    pub transmitted: u64,
    /// Frames that could not be sent.
    pub not_transmitted: u64,
}

/// One end of a pair of virtual Ethernet interfaces.
#[derive(Clone, Debug)]
pub struct VethEnd {
    /// Name of the interface.
    pub name: String,
    /// The process in whose network namespace it appears.
    pub namespace_of: u32,
    /// Its Ethernet address.
    pub mac: MacAddr,
}

/// A route to add.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    /// Destination prefix.
    pub to: IpAddr,
    /// Its length in bits.
    pub len: u8,
    /// Next router; none where the destination is on the link.
    pub via: Option<IpAddr>,
    /// Number of the interface it leaves by.
    pub index: u32,
    /// Largest packet in bytes, where that is less than the interface's.
    pub mtu: Option<u32>,
}

/// A connection to the routing half of the kernel, in the caller's network namespace.
#[derive(Debug)]
pub struct Netlink {
    socket: Socket,
    sequence: u32,
}

impl Netlink {
    /// Connects.
    ///
    /// # Errors
    ///
    /// Where the kernel has no such socket for us.
    pub fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self {
            socket,
            sequence: 0,
        })
    }

    /// Looks up an interface.
    ///
    /// # Errors
    ///
    /// `ENODEV` where there is none of this name.
    pub fn link(&mut self, name: &str) -> io::Result<Link> {
        let mut message = LinkMessage::default();
        message
            .attributes
            .push(LinkAttribute::IfName(name.to_owned()));
        let answers = self.request(RouteNetlinkMessage::GetLink(message), 0)?;
        let link = answers.into_iter().find_map(|answer| {
            if let RouteNetlinkMessage::NewLink(link) = answer {
                Some(link)
            } else {
                None
            }
        });
        link.map(|link| link_of(&link)).ok_or_else(no_answer)
    }

    /// What the interface has counted since it was made.
    ///
    /// # Errors
    ///
    /// `ENODEV` where there is none of this name.
    pub fn stats(&mut self, name: &str) -> io::Result<LinkStats> {
        let mut message = LinkMessage::default();
        message
            .attributes
            .push(LinkAttribute::IfName(name.to_owned()));
        let answers = self.request(RouteNetlinkMessage::GetLink(message), 0)?;
        let stats = answers.iter().find_map(|answer| {
            let RouteNetlinkMessage::NewLink(link) = answer else {
                return None;
            };
            link.attributes.iter().find_map(stats_of)
        });
        stats.ok_or_else(no_answer)
    }

    /// Creates a pair of virtual Ethernet interfaces, joined by a wire.
    ///
    /// # Errors
    ///
    /// Without `CAP_NET_ADMIN` over both namespaces, or where a name is taken.
    pub fn create_veth(&mut self, ends: [&VethEnd; 2], mtu: u32) -> io::Result<()> {
        self.create_veth_as(ends, mtu, 0)
    }

    /// The same, with a number for the first end; 0 lets the kernel choose.
    pub(crate) fn create_veth_as(
        &mut self,
        ends: [&VethEnd; 2],
        mtu: u32,
        index: u32,
    ) -> io::Result<()> {
        let [a, b] = ends;
        let mut message = veth_end(a, mtu);
        message.header.index = index;
        let peer = InfoVeth::Peer(veth_end(b, mtu));
        message.attributes.push(LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Veth),
            LinkInfo::Data(InfoData::Veth(peer)),
        ]));
        self.request(
            RouteNetlinkMessage::NewLink(message),
            NLM_F_CREATE | NLM_F_EXCL,
        )
        .map(drop)
    }

    /// Takes an interface up.
    ///
    /// The kernel is told to cut TCP segments itself (no segmentation offload), as a wire would carry
    /// them, and, with `quiet`, to give the interface no IPv6 address of its own.
    ///
    /// # Errors
    ///
    /// Without `CAP_NET_ADMIN` over the namespace.
    pub fn set_up(&mut self, index: u32, quiet: bool) -> io::Result<()> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.attributes.push(LinkAttribute::GsoMaxSegs(1));
        if quiet {
            let mode = AfSpecInet6::AddrGenMode(In6AddrGenMode::None);
            let spec = AfSpecUnspec::Inet6(vec![mode]);
            message
                .attributes
                .push(LinkAttribute::AfSpecUnspec(vec![spec]));
        }
        self.request(RouteNetlinkMessage::SetLink(message), 0)?;
        self.set_flag_up(index)
    }

    /// Takes an interface up and changes nothing else.
    ///
    /// # Errors
    ///
    /// Without `CAP_NET_ADMIN` over the namespace.
    pub fn set_flag_up(&mut self, index: u32) -> io::Result<()> {
        self.set_flags(index, LinkFlags::Up)
    }

    /// Takes an interface down.
    ///
    /// # Errors
    ///
    /// Without `CAP_NET_ADMIN` over the namespace.
    pub fn set_down(&mut self, index: u32) -> io::Result<()> {
        self.set_flags(index, LinkFlags::empty())
    }

    fn set_flags(&mut self, index: u32, flags: LinkFlags) -> io::Result<()> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.header.flags = flags;
        message.header.change_mask = LinkFlags::Up;
        self.request(RouteNetlinkMessage::SetLink(message), 0)
            .map(drop)
    }

    /// Deletes an interface, and the other end of its wire.
    ///
    /// # Errors
    ///
    /// Without `CAP_NET_ADMIN` over the namespace.
    pub fn delete_link(&mut self, index: u32) -> io::Result<()> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        self.request(RouteNetlinkMessage::DelLink(message), 0)
            .map(drop)
    }

    /// Gives an interface an address that is usable at once: no duplicate address detection.
    ///
    /// # Errors
    ///
    /// Without `CAP_NET_ADMIN`, or where the address is there already.
    pub fn add_address(&mut self, index: u32, address: IpAddr, len: u8) -> io::Result<()> {
        let mut message = AddressMessage::default();
        message.header.family = family(address);
        message.header.prefix_len = len;
        message.header.index = index;
        if address.is_ipv6() {
            message.header.flags = AddressHeaderFlags::Nodad;
        }
        message.attributes = vec![
            AddressAttribute::Local(address),
            AddressAttribute::Address(address),
        ];
        self.request(
            RouteNetlinkMessage::NewAddress(message),
            NLM_F_CREATE | NLM_F_EXCL,
        )
        .map(drop)
    }

    /// Adds a route.
    ///
    /// # Errors
    ///
    /// Without `CAP_NET_ADMIN`, or where the route is there already or leads nowhere.
    pub fn add_route(&mut self, route: &Route) -> io::Result<()> {
        let mut message = RouteMessage::default();
        message.header = RouteHeader {
            address_family: family(route.to),
            destination_prefix_length: route.len,
            table: RouteHeader::RT_TABLE_MAIN,
            protocol: RouteProtocol::Static,
            scope: if route.via.is_some() || route.to.is_ipv6() {
                RouteScope::Universe
            } else {
                RouteScope::Link
            },
            kind: RouteType::Unicast,
            // The router need not be in a prefix of the interface.
            flags: if route.via.is_some() {
                RouteFlags::Onlink
            } else {
                RouteFlags::empty()
            },
            ..RouteHeader::default()
        };
        message.attributes.push(RouteAttribute::Oif(route.index));
        if route.len > 0 {
            message
                .attributes
                .push(RouteAttribute::Destination(route_address(route.to)));
        }
        if let Some(via) = route.via {
            message
                .attributes
                .push(RouteAttribute::Gateway(route_address(via)));
        }
        self.request(
            RouteNetlinkMessage::NewRoute(message),
            NLM_F_CREATE | NLM_F_EXCL,
        )
        .map(drop)
    }

    /// Tells the kernel a neighbor's Ethernet address for good.
    ///
    /// # Errors
    ///
    /// Without `CAP_NET_ADMIN`.
    pub fn add_neighbor(&mut self, index: u32, address: IpAddr, mac: MacAddr) -> io::Result<()> {
        let mut message = NeighbourMessage::default();
        message.header.family = family(address);
        message.header.ifindex = index;
        message.header.state = NeighbourState::Permanent;
        message.header.kind = RouteType::Unicast;
        let destination = match address {
            IpAddr::V4(address) => NeighbourAddress::Inet(address),
            IpAddr::V6(address) => NeighbourAddress::Inet6(address),
        };
        message.attributes = vec![
            NeighbourAttribute::Destination(destination),
            NeighbourAttribute::LinkLayerAddress(mac.0.to_vec()),
        ];
        let flags = NLM_F_CREATE | NLM_F_REPLACE;
        self.request(RouteNetlinkMessage::NewNeighbour(message), flags)
            .map(drop)
    }

    /// The path MTU to `address` in bytes that the kernel has learned, if any.
    ///
    /// # Errors
    ///
    /// Where no route leads there.
    pub fn path_mtu(&mut self, address: Ipv4Addr) -> io::Result<Option<u32>> {
        let mut message = RouteMessage::default();
        message.header.address_family = AddressFamily::Inet;
        message.header.destination_prefix_length = 32;
        message
            .attributes
            .push(RouteAttribute::Destination(RouteAddress::Inet(address)));
        let answers = self.request(RouteNetlinkMessage::GetRoute(message), 0)?;
        let mtu = answers.iter().find_map(|answer| {
            let RouteNetlinkMessage::NewRoute(route) = answer else {
                return None;
            };
            route.attributes.iter().find_map(mtu_of)
        });
        Ok(mtu)
    }

    /// Sends one request and returns what the kernel says until it confirms.
    fn request(
        &mut self,
        message: RouteNetlinkMessage,
        flags: u16,
    ) -> io::Result<Vec<RouteNetlinkMessage>> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
        header.sequence_number = self.sequence;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::from(message));
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.socket.send(&bytes, 0)?;
        let mut answers = Vec::new();
        while !self.read_answers(&mut answers)? {}
        Ok(answers)
    }

    /// Reads one datagram of answers; whether the confirmation was in it.
    fn read_answers(&self, answers: &mut Vec<RouteNetlinkMessage>) -> io::Result<bool> {
        let mut buffer = Vec::with_capacity(ANSWER_ROOM);
        self.socket.recv(&mut buffer, 0)?;
        let mut rest = buffer.as_slice();
        while !rest.is_empty() {
            let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest);
            let message = message.map_err(|error| io::Error::other(error.to_string()))?;
            let len = usize::try_from(message.header.length)
                .unwrap_or(usize::MAX)
                .max(16);
            rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
            if message.header.sequence_number != self.sequence {
                continue;
            }
            if let NetlinkPayload::InnerMessage(inner) = message.payload {
                answers.push(inner);
            } else if let NetlinkPayload::Error(error) = message.payload {
                return if error.code.is_some() {
                    Err(error.to_io())
                } else {
                    Ok(true)
                };
            } else if let NetlinkPayload::Done(_) = message.payload {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn veth_end(end: &VethEnd, mtu: u32) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.attributes = vec![
        LinkAttribute::IfName(end.name.clone()),
        LinkAttribute::Mtu(mtu),
        LinkAttribute::Address(end.mac.0.to_vec()),
        LinkAttribute::NetNsPid(end.namespace_of),
    ];
    message
}

fn link_of(message: &LinkMessage) -> Link {
    let mut link = Link {
        index: message.header.index,
        mac: None,
        mtu: 0,
        up: message.header.flags.contains(LinkFlags::Up),
    };
    for attribute in &message.attributes {
        if let LinkAttribute::Mtu(mtu) = attribute {
            link.mtu = *mtu;
        } else if let LinkAttribute::Address(bytes) = attribute
            && message.header.link_layer_type == LinkLayerType::Ether
        {
            link.mac = bytes.first_chunk().copied().map(MacAddr);
        }
    }
    link
}

fn stats_of(attribute: &LinkAttribute) -> Option<LinkStats> {
    let LinkAttribute::Stats64(stats) = attribute else {
        return None;
    };
    Some(LinkStats {
        received: stats.rx_packets,
        received_bytes: stats.rx_bytes,
        dropped: stats.rx_dropped,
        transmitted: stats.tx_packets,
        not_transmitted: stats.tx_dropped,
    })
}

fn mtu_of(attribute: &RouteAttribute) -> Option<u32> {
    let RouteAttribute::Metrics(metrics) = attribute else {
        return None;
    };
    metrics.iter().find_map(|metric| {
        if let RouteMetric::Mtu(mtu) = metric {
            Some(*mtu)
        } else {
            None
        }
    })
}

fn family(address: IpAddr) -> AddressFamily {
    match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}

fn route_address(address: IpAddr) -> RouteAddress {
    match address {
        IpAddr::V4(address) => RouteAddress::Inet(address),
        IpAddr::V6(address) => RouteAddress::Inet6(address),
    }
}

fn no_answer() -> io::Error {
    io::Error::other("the kernel confirmed a request without answering it")
}
