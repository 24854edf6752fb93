//! The keys of the TOML file.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use lw4o6_wire::ethernet::MacAddr;
use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::knobs::{Forwarding, FragmentKnobs, IcmpKnobs, ReassemblyKnobs, TableKnobs};
use super::program::{ManagementSection, RunSection, StateSection};
use super::text::{LinkAddress, Text};

/// The whole file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ConfigFile {
    /// Which softwires.
    pub instance: InstanceSection,
    /// The interface towards the Internet.
    pub internet: InternetSection,
    /// The interface towards the B4s.
    pub softwire: SoftwireSection,
    /// What happens to packets.
    #[serde(default, skip_serializing_if = "is_default")]
    pub forwarding: Forwarding,
    /// ICMP in both families.
    #[serde(default, skip_serializing_if = "is_default")]
    pub icmp: IcmpKnobs,
    /// Reassembly of tunnel packets.
    #[serde(default, skip_serializing_if = "is_default")]
    pub reassembly: ReassemblyKnobs,
    /// IPv4 fragments on shared addresses.
    #[serde(default, skip_serializing_if = "is_default")]
    pub fragments: FragmentKnobs,
    /// Rules of the binding table.
    #[serde(default, skip_serializing_if = "is_default")]
    pub table: TableKnobs,
    /// How `run` uses the machine.
    #[serde(default, skip_serializing_if = "is_default")]
    pub run: RunSection,
    /// What outlives the program.
    #[serde(default, skip_serializing_if = "is_default")]
    pub state: StateSection,
    /// How the running program is watched and changed.
    #[serde(default, skip_serializing_if = "is_default")]
    pub management: ManagementSection,
}

/// Which softwires.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct InstanceSection {
    /// RFC 8676 instance data, relative to this file.
    pub softwires: PathBuf,
    /// The bind-instance in it. Default: the only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Tunnel endpoint addresses besides those that bindings name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aftr_addresses: Vec<Ipv6Addr>,
}

/// The interface towards the Internet.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct InternetSection {
    /// Kernel interface, for `run`. The same as the other side's: on a stick.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// Ethernet address. Default, for `run`: the interface's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<Text<MacAddr>>,
    /// 802.1Q tag, 1 to 4094.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vlan: Option<Spanned<u16>>,
    /// Own IPv4 address; source of ICMP towards the Internet.
    pub address: Spanned<Ipv4Addr>,
    /// Further own IPv4 addresses that answer echo.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub more_addresses: Vec<Ipv4Addr>,
    /// Router: its IPv4 address, found by ARP, or its Ethernet address.
    pub next_hop: Text<Hop<Ipv4Addr>>,
    /// MTU in bytes of IPv4 packet.
    #[serde(default = "default_mtu")]
    pub mtu: Spanned<u16>,
    /// Which Ethernet destinations are taken.
    #[serde(default, skip_serializing_if = "is_default")]
    pub accept: MacFilter,
    /// Whether ARP for pool addresses is answered.
    #[serde(default, skip_serializing_if = "is_default")]
    pub proxy_arp: bool,
}

/// The interface towards the B4s.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SoftwireSection {
    /// Kernel interface, for `run`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// Ethernet address. Default, for `run`: the interface's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<Text<MacAddr>>,
    /// 802.1Q tag, 1 to 4094.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vlan: Option<Spanned<u16>>,
    /// Own IPv6 address and prefix length of the link.
    pub address: Text<LinkAddress>,
    /// Router: its IPv6 address, found by neighbor discovery, or its Ethernet address.
    pub next_hop: Text<Hop<Ipv6Addr>>,
    /// Which Ethernet destinations are taken.
    #[serde(default, skip_serializing_if = "is_default")]
    pub accept: MacFilter,
}

/// Which Ethernet destinations are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MacFilter {
    /// The own address, broadcast and multicast.
    #[default]
    Own,
    /// Every address.
    Any,
}

/// A router, by network or by Ethernet address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hop<A> {
    /// To be resolved.
    Address(A),
    /// As it is.
    Mac(MacAddr),
}

impl<A: std::str::FromStr> std::str::FromStr for Hop<A> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let address = text.parse().map(Self::Address).ok();
        address.or_else(|| text.parse().map(Self::Mac).ok()).ok_or_else(|| {
            "neither an address of this family nor an Ethernet address such as 02:00:00:00:00:01".to_owned()
        })
    }
}

impl<A: std::fmt::Display> std::fmt::Display for Hop<A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Mac(mac) => mac.fmt(f),
        }
    }
}

/// What is wrong, and where.
type Wrong = (std::ops::Range<usize>, String);

impl ConfigFile {
    /// The rules that one value alone has to meet; the engine checks its own knobs.
    ///
    /// # Errors
    ///
    /// The first value that breaks one, with the rule.
    pub fn check(&self) -> Result<(), Wrong> {
        for vlan in [&self.internet.vlan, &self.softwire.vlan]
            .into_iter()
            .flatten()
        {
            let value = *vlan.get_ref();
            if !(1..=4094).contains(&value) {
                return Err((vlan.span(), format!("vlan {value}, needs 1 to 4094")));
            }
        }
        let workers = &self.run.workers;
        if !(1..=16).contains(workers.get_ref()) {
            let what = format!("workers {}, needs 1 to 16", workers.get_ref());
            return Err((workers.span(), what));
        }
        let mtu = &self.internet.mtu;
        if *mtu.get_ref() < 68 {
            return Err((
                mtu.span(),
                format!("mtu {}, needs 68 to 65535", mtu.get_ref()),
            ));
        }
        let address = &self.internet.address;
        let ip = *address.get_ref();
        if ip.is_unspecified() || ip.is_multicast() || ip.is_broadcast() || ip.is_loopback() {
            return Err((
                address.span(),
                format!("address {ip}, needs a unicast address"),
            ));
        }
        Ok(())
    }
}

/// Largest `slab-bytes`. Memory is taken when a worker starts, so more is a slip of the pen that would
/// end the program there.
const MOST_SLAB: usize = 1 << 30;

/// Most `contexts`, for the same reason.
const MOST_CONTEXTS: usize = 1 << 20;

/// A key that is wrong: section, key, what is wrong.
pub(crate) type WrongKey = (&'static str, &'static str, String);

impl ConfigFile {
    /// The rules for keys whose values do not know their place.
    ///
    /// # Errors
    ///
    /// The first key that breaks one, with the rule.
    pub(crate) fn check_keys(&self) -> Result<(), WrongKey> {
        for (section, key, value, most) in [
            (
                "forwarding",
                "slab-bytes",
                self.forwarding.slab_bytes,
                MOST_SLAB,
            ),
            (
                "reassembly",
                "contexts",
                self.reassembly.contexts,
                MOST_CONTEXTS,
            ),
            (
                "fragments",
                "contexts",
                self.fragments.contexts,
                MOST_CONTEXTS,
            ),
        ] {
            if value > most {
                return Err((section, key, format!("{value} is above {most}")));
            }
        }
        for (section, mac) in [
            ("internet", self.internet.mac),
            ("softwire", self.softwire.mac),
        ] {
            if let Some(Text(mac)) = mac.filter(|mac| is_group(mac.0)) {
                let what = format!("{mac} is a group address, needs that of one interface");
                return Err((section, "mac", what));
            }
        }
        if let Err(what) = self.management.permissions() {
            return Err(("management", "mode", what));
        }
        let own = *self.internet.address.get_ref();
        let is_router = |ip: Ipv4Addr| {
            !(ip.is_unspecified() || ip.is_multicast() || ip.is_broadcast() || ip == own)
        };
        check_hop("internet", self.internet.next_hop.0, is_router)?;
        let own = self.softwire.address.0.addr();
        let is_router = |ip: Ipv6Addr| !(ip.is_unspecified() || ip.is_multicast() || ip == own);
        check_hop("softwire", self.softwire.next_hop.0, is_router)
    }
}

fn check_hop<A: std::fmt::Display + Copy>(
    section: &'static str,
    hop: Hop<A>,
    is_router: impl Fn(A) -> bool,
) -> Result<(), WrongKey> {
    let right = match hop {
        Hop::Address(address) => is_router(address),
        Hop::Mac(mac) => !is_group(mac),
    };
    if right {
        return Ok(());
    }
    let what = format!("{hop} is no address of a router, needs another host's");
    Err((section, "next-hop", what))
}

/// Whether an Ethernet address is not that of one interface (IEEE 802: lowest bit of the first byte).
fn is_group(mac: MacAddr) -> bool {
    mac.0[0] & 1 != 0
}

fn default_mtu() -> Spanned<u16> {
    Spanned::new(0..0, 1500)
}

pub(super) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
