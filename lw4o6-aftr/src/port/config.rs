//! What the Ethernet port is told.

use core::net::{Ipv4Addr, Ipv6Addr};
use core::time::Duration;

use lw4o6_wire::ethernet::MacAddr;

/// A physical interface of the owner's, by number.
///
/// Two interfaces are two numbers; with one interface on a stick both sides name the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nic(pub u8);

/// Configuration of an [`EthernetPort`](super::EthernetPort).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortConfig {
    /// The side of the Internet.
    pub internet: InternetPort,
    /// The side of the B4s.
    pub softwire: SoftwirePort,
    /// Frames that wait for a next hop's address, each side. Default 16.
    pub waiting: usize,
}

/// Ethernet parameters that both sides have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Interface the side is reached by.
    pub nic: Nic,
    /// Own address.
    pub mac: MacAddr,
    /// 802.1Q tag, 1 to 4094. Default none.
    pub vlan: Option<u16>,
    /// Which destination addresses are taken. Default [`Accept::Own`].
    pub accept: Accept,
}

/// Which Ethernet destinations a port takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Accept {
    /// The own address, broadcast and multicast.
    #[default]
    Own,
    /// Every address.
    Any,
}

/// The side of the Internet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InternetPort {
    /// Ethernet.
    pub link: Link,
    /// Address of the interface; ARP requests for it are answered.
    pub address: Ipv4Addr,
    /// Router for everything that leaves on this side.
    pub next_hop: NextHop<Ipv4Addr>,
    /// ARP for pool addresses. Default [`ProxyArp::Off`]: the pool is routed to us.
    pub proxy_arp: ProxyArp,
}

/// The side of the B4s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SoftwirePort {
    /// Ethernet.
    pub link: Link,
    /// Address of the interface; neighbor solicitations for it are answered.
    pub address: Ipv6Addr,
    /// Prefix length of the link; AFTR addresses inside it are on-link and answered too.
    /// Default 128: none.
    pub prefix_len: u8,
    /// Router for everything that leaves on this side.
    pub next_hop: NextHop<Ipv6Addr>,
}

/// How the Ethernet address of the next router is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextHop<A> {
    /// Configured.
    Mac(MacAddr),
    /// Resolved by ARP or neighbor discovery, and kept under watch.
    Address(A),
    /// Resolved by another port of the same interface, whose owner passes it on by
    /// [`EthernetPort::set_next_hop`](super::EthernetPort::set_next_hop). Nothing is asked for; until
    /// then packets wait.
    Shared,
}

/// ARP for pool addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProxyArp {
    /// Not answered.
    #[default]
    Off,
    /// Answered for every pool address, for pools that are on-link.
    Pools,
}

/// Timers of neighbor unreachability detection (RFC 4861 §10).
pub(crate) mod timers {
    use super::Duration;

    /// Between two solicitations.
    pub(crate) const RETRANS: Duration = Duration::from_secs(1);
    /// Base of the time a neighbor counts as reachable, times 0.5 to 1.5.
    pub(crate) const REACHABLE: Duration = Duration::from_secs(30);
    /// Before the first probe.
    pub(crate) const DELAY: Duration = Duration::from_secs(5);
    /// Unicast probes before the address is given up; multicast ones before the alarm.
    pub(crate) const PROBES: u8 = 3;
}
