//! Who stands where, and the wires between them.
//!
//! ```text
//! internet ------------ aftr ------------ access ------------ b4-x ------------ home-x
//!      up0             up0  down0        up0    x            wan  lan           lan
//! 198.51.100.2/24    198.51.100.1    2001:db8:1::2/64    2001:db8:b4:x::2    192.0.2.x
//!                    2001:db8:1::1   2001:db8:b4:x::1/64
//!                    2001:db8:aaaa::1 (AFTR)
//! ```

use std::net::{Ipv4Addr, Ipv6Addr};

use lw4o6_wire::PortParams;
use lw4o6_wire::ethernet::MacAddr;

use super::agent::{Agent, Request};
use super::endpoint::EndpointConfig;
use super::host::{Interface, Setup};
use super::impair::{ImpairedLink, Impairment};
use crate::netlink::{Netlink, VethEnd};

/// The host on the Internet.
pub const INTERNET: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);
/// The lwAFTR's address there.
pub const AFTR_IPV4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
/// The end of the softwires.
pub const AFTR: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xaaaa, 0, 0, 0, 0, 1);
/// The lwAFTR's address on the access side.
pub const AFTR_IPV6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1);
/// The access router's address towards the lwAFTR.
pub const ROUTER: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 2);
/// Largest packet on every wire.
pub const MTU: u16 = 1500;

/// Another address that the lwAFTR may be told to own.
pub const OTHER_AFTR: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xaaaa, 0, 0, 0, 0, 2);

/// What the tunnel adds to a packet.
pub const TUNNEL: u16 = 40;

/// The access router's link-local address; its own choice would have to pass duplicate address
/// detection first.
const LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2);

/// What a host behind a softwire takes for its router (RFC 6333 §5.7).
const B4_IPV4: Ipv4Addr = Ipv4Addr::new(192, 0, 0, 2);

/// A subscriber.
#[derive(Clone, Copy, Debug)]
pub struct Subscriber {
    /// Name in facts.
    pub name: &'static str,
    /// Number, for addresses; from 1.
    pub number: u8,
    /// Public IPv4 address.
    pub ipv4: Ipv4Addr,
    /// Its ports.
    pub ports: PortParams,
    /// Largest packet that the host sends. Over 1460, the outer packets around it are fragmented.
    pub home_mtu: u16,
    /// Largest packet on the wire between the access router and the softwire endpoint.
    pub access_mtu: u16,
}

impl Subscriber {
    /// One with a whole address and a home whose packets are too long for the tunnel, and one with
    /// the sixth of 64 port sets and a home that knows about the tunnel.
    #[must_use]
    pub fn full_and_shared() -> [Self; 2] {
        let shared = PortParams::new(0, 6, 5).unwrap_or(PortParams::FULL);
        debug_assert!(shared.is_shared(), "six bits of PSID are fine");
        let subscriber = |name, number, ports, home_mtu| Self {
            name,
            number,
            ipv4: Ipv4Addr::new(192, 0, 2, number),
            ports,
            home_mtu,
            access_mtu: MTU,
        };
        [
            subscriber("full", 1, PortParams::FULL, MTU),
            subscriber("shared", 2, shared, MTU - TUNNEL),
        ]
    }

    /// The softwire's end at the subscriber.
    #[must_use]
    pub fn b4(&self) -> Ipv6Addr {
        self.subnet(2)
    }

    /// The `index`th port that this subscriber may use, leaving out those that servers do not have.
    #[must_use]
    pub fn port(&self, index: u16) -> u16 {
        let first = self
            .ports
            .ranges()
            .map(|range| *range.start())
            .find(|&port| port >= 1024);
        first.unwrap_or(1024) + index
    }

    fn subnet(&self, host: u16) -> Ipv6Addr {
        Ipv6Addr::new(0x2001, 0xdb8, 0xb4, self.number.into(), 0, 0, 0, host)
    }

    /// Ethernet addresses of a subscriber: 1 the access router's, 2 and 3 the endpoint's towards it
    /// and towards the host, 4 the host's.
    #[must_use]
    pub fn mac(&self, index: u8) -> MacAddr {
        mac(16 * self.number + index)
    }
}

/// A subscriber's two agents.
#[derive(Debug)]
pub struct Home {
    /// Who.
    pub subscriber: Subscriber,
    /// The host.
    pub host: Agent,
    /// The softwire endpoint.
    pub b4: Agent,
}

/// Everybody but what runs in the middle.
#[derive(Debug)]
pub struct Topology {
    /// The host on the Internet.
    pub internet: Agent,
    /// The namespace in the middle: interfaces `up0` and `down0`, nothing else.
    pub aftr: Agent,
    /// The subscribers.
    pub homes: Vec<Home>,
    /// The access router.
    pub access: Agent,
    /// The impaired link between the lwAFTR and the access router, `left` towards the lwAFTR.
    pub link: Option<Agent>,
    netlink: Netlink,
}

impl Topology {
    /// Starts all agents and connects them.
    ///
    /// # Errors
    ///
    /// What the kernel refuses.
    pub fn build(subscribers: &[Subscriber]) -> Result<Self, String> {
        Self::build_over(subscribers, None)
    }

    /// The same, with a link between the lwAFTR and the access router that does what is asked for: to
    /// what the lwAFTR sends, then to what it gets; `seed` is where its random numbers begin.
    ///
    /// # Errors
    ///
    /// What the kernel refuses.
    pub fn build_over(
        subscribers: &[Subscriber],
        link: Option<([Impairment; 2], u64)>,
    ) -> Result<Self, String> {
        let mut topology = Self {
            link: link.map(|_| Agent::start("link")).transpose()?,
            internet: Agent::start("internet")?,
            aftr: Agent::start("aftr")?,
            access: Agent::start("access")?,
            homes: Vec::new(),
            netlink: Netlink::open().map_err(|error| format!("netlink: {error}"))?,
        };
        topology.wire_internet()?;
        topology.rewire_access()?;
        ask(
            &mut topology.aftr,
            vec![quiet("up0"), quiet("down0")],
            no_ipv6(),
        )?;
        topology.set_up_internet()?;
        topology.set_up_access()?;
        if let Some((directions, seed)) = link {
            topology.start_link(directions, seed)?;
        }
        for subscriber in subscribers {
            topology.add_home(*subscriber)?;
        }
        Ok(topology)
    }

    /// Everybody who sends and receives.
    pub fn hosts(&mut self) -> impl Iterator<Item = &mut Agent> {
        let homes = self.homes.iter_mut().map(|home| &mut home.host);
        std::iter::once(&mut self.internet).chain(homes)
    }

    /// What the middle needs to know of its neighbors if it resolves nothing: the Ethernet addresses
    /// of the Internet host and of the access router.
    #[must_use]
    pub fn neighbors_of_middle() -> [MacAddr; 2] {
        [mac(1), mac(4)]
    }

    /// Lays the wire between the Internet and the lwAFTR.
    ///
    /// # Errors
    ///
    /// What the kernel refuses.
    pub fn wire_internet(&mut self) -> Result<(), String> {
        let near = (&self.internet, "up0", mac(1));
        wire(&mut self.netlink, near, (&self.aftr, "up0", mac(2)), MTU)
    }

    /// Lays the wire, or two wires to a link, between the lwAFTR and the access router.
    ///
    /// # Errors
    ///
    /// What the kernel refuses.
    pub fn rewire_access(&mut self) -> Result<(), String> {
        let near = (&self.aftr, "down0", mac(3));
        let far = (&self.access, "up0", mac(4));
        let Some(link) = &self.link else {
            return wire(&mut self.netlink, near, far, MTU);
        };
        wire(&mut self.netlink, near, (link, "left", mac(5)), MTU)?;
        wire(&mut self.netlink, (link, "right", mac(6)), far, MTU)
    }

    fn start_link(&mut self, directions: [Impairment; 2], seed: u64) -> Result<(), String> {
        let Some(link) = &mut self.link else {
            return Ok(());
        };
        ask(link, vec![quiet("left"), quiet("right")], no_ipv6())?;
        link.ask(&Request::Impair(ImpairedLink {
            interfaces: ["left", "right"].map(str::to_owned),
            seed,
            directions,
        }))
    }

    /// Makes the Internet's end of its wire a host.
    ///
    /// # Errors
    ///
    /// What the kernel refuses.
    pub fn set_up_internet(&mut self) -> Result<(), String> {
        let internet = Interface {
            name: "up0".to_owned(),
            quiet: true,
            addresses: vec![(INTERNET.into(), 24)],
            routes: vec![(Ipv4Addr::UNSPECIFIED.into(), 0, AFTR_IPV4.into())],
            ..Interface::default()
        };
        ask(&mut self.internet, vec![internet], Vec::new())
    }

    /// Makes the access router's end of its wire a router.
    ///
    /// # Errors
    ///
    /// What the kernel refuses.
    pub fn set_up_access(&mut self) -> Result<(), String> {
        let access = Interface {
            name: "up0".to_owned(),
            quiet: true,
            // Solicitations for a packet that is forwarded come from the link-local address.
            addresses: vec![(ROUTER.into(), 64), (LINK_LOCAL.into(), 64)],
            routes: vec![(AFTR.into(), 64, AFTR_IPV6.into())],
            ..Interface::default()
        };
        let router = [("ipv6/conf/all/forwarding", "1")];
        ask(&mut self.access, vec![access], settings(&router))
    }

    fn add_home(&mut self, subscriber: Subscriber) -> Result<(), String> {
        let start = |kind: &str| Agent::start(&format!("{kind}-{}", subscriber.name));
        let (mut b4, mut host) = (start("b4")?, start("home")?);
        let [router, wan, lan, home] = [1, 2, 3, 4].map(|index| subscriber.mac(index));
        let access_name = format!("b4-{}", subscriber.name);
        wire(
            &mut self.netlink,
            (&self.access, &access_name, router),
            (&b4, "wan", wan),
            subscriber.access_mtu,
        )?;
        wire(
            &mut self.netlink,
            (&b4, "lan", lan),
            (&host, "lan", home),
            MTU,
        )?;
        let towards_b4 = Interface {
            name: access_name,
            quiet: true,
            addresses: vec![(subscriber.subnet(1).into(), 64)],
            neighbors: vec![(subscriber.b4().into(), wan.0)],
            ..Interface::default()
        };
        ask(&mut self.access, vec![towards_b4], Vec::new())?;
        ask(&mut b4, vec![quiet("wan"), quiet("lan")], no_ipv6())?;
        let at_home = Interface {
            name: "lan".to_owned(),
            quiet: true,
            addresses: vec![(subscriber.ipv4.into(), 32)],
            routes: vec![(Ipv4Addr::UNSPECIFIED.into(), 0, B4_IPV4.into())],
            route_mtu: Some(subscriber.home_mtu.into()),
            neighbors: vec![(B4_IPV4.into(), lan.0)],
        };
        ask(&mut host, vec![at_home], local_ports(&subscriber))?;
        let endpoint = EndpointConfig {
            lan: "lan".to_owned(),
            host: home.0,
            wan: "wan".to_owned(),
            router: router.0,
            mtu: subscriber.access_mtu.into(),
            own: subscriber.b4(),
            peer: AFTR,
        };
        b4.ask::<()>(&Request::Endpoint(endpoint))?;
        self.homes.push(Home {
            subscriber,
            host,
            b4,
        });
        Ok(())
    }
}

/// Ethernet address number `n` of the lab; locally administered.
#[must_use]
pub fn mac(n: u8) -> MacAddr {
    MacAddr([0x02, 0x4f, 0x36, 0, 0, n])
}

pub(super) fn wire(
    netlink: &mut Netlink,
    a: (&Agent, &str, MacAddr),
    b: (&Agent, &str, MacAddr),
    mtu: u16,
) -> Result<(), String> {
    let end = |(agent, name, mac): (&Agent, &str, MacAddr)| VethEnd {
        name: name.to_owned(),
        namespace_of: agent.id(),
        mac,
    };
    netlink
        .create_veth([&end(a), &end(b)], mtu.into())
        .map_err(|error| format!("wire between {} and {}: {error}", a.1, b.1))
}

fn ask(
    agent: &mut Agent,
    interfaces: Vec<Interface>,
    settings: Vec<(String, String)>,
) -> Result<(), String> {
    agent.ask(&Request::Setup(Setup {
        settings,
        interfaces,
    }))
}

/// Gives the agent's kernel interfaces and nothing to say on them.
pub(super) fn bare(agent: &mut Agent, interfaces: &[&str]) -> Result<(), String> {
    let interfaces = interfaces.iter().map(|name| quiet(name)).collect();
    ask(agent, interfaces, no_ipv6())
}

fn quiet(name: &str) -> Interface {
    Interface {
        name: name.to_owned(),
        quiet: true,
        ..Interface::default()
    }
}

/// A kernel without IPv6 neither answers nor announces anything on our interfaces.
fn no_ipv6() -> Vec<(String, String)> {
    settings(&[
        ("ipv6/conf/all/disable_ipv6", "1"),
        ("ipv6/conf/default/disable_ipv6", "1"),
    ])
}

/// A subscriber with few ports has a kernel that uses no others.
fn local_ports(subscriber: &Subscriber) -> Vec<(String, String)> {
    let range = subscriber
        .ports
        .ranges()
        .next()
        .filter(|_| subscriber.ports.is_shared());
    let Some(range) = range else {
        return Vec::new();
    };
    let range = format!("{} {}", range.start(), range.end());
    settings(&[("ipv4/ip_local_port_range", range.as_str())])
}

fn settings(all: &[(&str, &str)]) -> Vec<(String, String)> {
    all.iter()
        .map(|&(path, value)| (path.to_owned(), value.to_owned()))
        .collect()
}
