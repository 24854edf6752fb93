//! What the kernel of this machine would do with packets that are the router's.
//!
//! A packet socket gets a copy of each frame; the kernel has the original. A kernel that has one of the
//! router's addresses answers in its place: ARP, echo, and each softwire packet with ICMPv6
//! "unrecognized next header" (type 4 code 1). A kernel that forwards sends a second copy of each
//! packet. Both are for the operator to undo: the router does not change what others may rely on.

use std::fmt;
use std::io;
use std::net::IpAddr;

use crate::netlink::{LocalRoute, Netlink, Reach};

/// Addresses that the router must have for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// First address.
    pub address: IpAddr,
    /// Length of the prefix in bits; all of them for a single address.
    pub len: u8,
    /// What they are to the router.
    pub whose: Whose,
}

impl Claim {
    /// A claim to a single address.
    #[must_use]
    pub fn one(address: IpAddr, whose: Whose) -> Self {
        Self {
            address,
            len: bits(address),
            whose,
        }
    }
}

/// What addresses are to the router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// Its own on one of its interfaces.
    Own,
    /// End of softwires.
    Aftr,
    /// The router behind an interface.
    NextHop,
    /// Addresses of subscribers.
    Pool,
}

/// A kernel interface that the router takes frames from.
#[derive(Clone, Copy, Debug)]
pub struct Taken<'n> {
    /// Its name.
    pub name: &'n str,
    /// Whether the router uses the interface's own Ethernet address. Where it has another, the kernel
    /// does not take its frames for its own, and does not forward them.
    pub shares_mac: bool,
    /// Whether IPv4 arrives there: the Internet's side.
    pub ipv4: bool,
    /// Whether IPv6 arrives there: the softwires' side.
    pub ipv6: bool,
}

/// Something that the kernel would do in the router's place; the text says what, and how to end it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Conflict {
    /// It takes packets to these addresses for its own.
    Owned {
        /// What the router needs.
        claim: Claim,
        /// What the kernel has.
        has: LocalRoute,
    },
    /// It forwards what arrives at this interface.
    Forwarded {
        /// What the router needs.
        claim: Claim,
        /// The interface.
        interface: String,
    },
}

/// What the kernel would do in the router's place, in this network namespace.
///
/// # Errors
///
/// Where the kernel does not say what it has.
pub fn conflicts(taken: &[Taken<'_>], claims: &[Claim]) -> io::Result<Vec<Conflict>> {
    let mut netlink = Netlink::open()?;
    let mut found = Vec::new();
    let routes = netlink.local_routes()?;
    for &claim in claims {
        let has = routes.iter().find(|route| overlaps(&claim, route));
        found.extend(has.cloned().map(|has| Conflict::Owned { claim, has }));
    }
    for interface in taken.iter().filter(|interface| interface.shares_mac) {
        let forwards = [
            interface.ipv4 && forwards("ipv4", interface.name),
            interface.ipv6 && forwards("ipv6", interface.name),
        ];
        for (is_v6, forwards) in [false, true].into_iter().zip(forwards) {
            if !forwards {
                continue;
            }
            let claims = claims.iter().filter(|claim| {
                claim.address.is_ipv6() == is_v6 && matches!(claim.whose, Whose::Aftr | Whose::Pool)
            });
            for &claim in claims {
                // Without a route the kernel has nowhere to send it, and nobody to tell.
                if netlink.reach(claim.address)? == Reach::Elsewhere {
                    let interface = interface.name.to_owned();
                    found.push(Conflict::Forwarded { claim, interface });
                    break;
                }
            }
        }
    }
    Ok(found)
}

/// Whether the kernel forwards what arrives at an interface.
fn forwards(family: &str, interface: &str) -> bool {
    let path = format!("/proc/sys/net/{family}/conf/{interface}/forwarding");
    std::fs::read_to_string(path).is_ok_and(|text| text.trim() != "0")
}

fn overlaps(claim: &Claim, route: &LocalRoute) -> bool {
    let len = claim.len.min(route.len);
    match (claim.address, route.to) {
        (IpAddr::V4(a), IpAddr::V4(b)) => {
            let differ = a.to_bits() ^ b.to_bits();
            differ.leading_zeros() >= u32::from(len)
        }
        (IpAddr::V6(a), IpAddr::V6(b)) => {
            let differ = a.to_bits() ^ b.to_bits();
            differ.leading_zeros() >= u32::from(len)
        }
        _ => false,
    }
}

fn bits(address: IpAddr) -> u8 {
    if address.is_ipv6() { 128 } else { 32 }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, len, .. } = self;
        match self.whose {
            Whose::Own => write!(f, "our address {address}"),
            Whose::Aftr => write!(f, "the AFTR address {address}"),
            Whose::NextHop => write!(f, "the next hop {address}"),
            Whose::Pool => write!(f, "the subscribers' prefix {address}/{len}"),
        }
    }
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Owned { claim, has } => {
                let (to, interface) = (has.to, &has.interface);
                let what = match claim.whose {
                    Whose::Own => "it would answer ARP, neighbor discovery and ICMP in our place",
                    Whose::Aftr => {
                        "it would answer each softwire packet with ICMPv6 \"unrecognized next header\" (type 4 code 1)"
                    }
                    Whose::NextHop => "what we send there would never arrive",
                    Whose::Pool => "it would take packets of subscribers for its own",
                };
                write!(
                    f,
                    "{claim} is also the kernel's, on `{interface}`: {what}; "
                )?;
                if has.len == bits(to) {
                    write!(f, "remove it there: ip address del {to} dev {interface}")
                } else {
                    let len = has.len;
                    write!(
                        f,
                        "remove it there: ip route del local {to}/{len} dev {interface}"
                    )
                }
            }
            Self::Forwarded { claim, interface } => {
                let family = if claim.address.is_ipv6() {
                    "ipv6"
                } else {
                    "ipv4"
                };
                write!(
                    f,
                    "the kernel forwards what arrives at `{interface}`, and has a route to {claim}: each packet would leave twice; \
                     end that: sysctl -w net.{family}.conf.{interface}.forwarding=0, or give the side a `mac` of its own"
                )
            }
        }
    }
}

#[cfg(test)]
mod tests;
