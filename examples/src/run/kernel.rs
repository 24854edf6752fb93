//! Whether the kernel would do the router's work beside it.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use lw4o6_wire::ethernet::MacAddr;

use crate::config::{Config, Hop};
use crate::error::Failure;
use crate::netlink::Netlink;
use crate::packet_io::{Claim, InterfaceName, Taken, Whose, conflicts};

/// Conflicts that are named at once; the rest of hundreds would say nothing new.
const NAMED: usize = 8;

/// Refuses to run beside a kernel that has addresses of ours, or forwards our packets too.
///
/// # Errors
///
/// What the kernel has, and how to take it from it.
pub(super) fn check(
    config: &Config,
    [internet, softwire]: &[InterfaceName; 2],
) -> Result<(), Failure> {
    let mut claims = Vec::new();
    let mut taken: Vec<Taken<'_>> = Vec::new();
    let (upper, lower) = (&config.file.internet, &config.file.softwire);
    // Behind other interfaces than the kernel's own it is a neighbor like any other.
    if let InterfaceName::Kernel(name) = internet {
        let own = [*upper.address.get_ref()];
        let own = own.iter().chain(&upper.more_addresses);
        claims.extend(own.map(|&own| Claim::one(own.into(), Whose::Own)));
        if let Hop::Address(hop) = upper.next_hop.0 {
            claims.push(Claim::one(hop.into(), Whose::NextHop));
        }
        claims.extend(pools(config));
        let mac = upper.mac.map(|mac| mac.0);
        taken.push(interface(name, mac, (true, internet == softwire)));
    }
    if let InterfaceName::Kernel(name) = softwire {
        let own = lower.address.0.addr();
        claims.push(Claim::one(own.into(), Whose::Own));
        if let Hop::Address(hop) = lower.next_hop.0 {
            claims.push(Claim::one(hop.into(), Whose::NextHop));
        }
        let ends = aftrs(config).into_iter();
        claims.extend(ends.map(|aftr| Claim::one(aftr, Whose::Aftr)));
        if internet != softwire {
            let mac = lower.mac.map(|mac| mac.0);
            taken.push(interface(name, mac, (false, true)));
        }
    }
    let found = conflicts(&taken, &claims)
        .map_err(|error| Failure::run(format!("asking the kernel for its addresses: {error}")))?;
    if found.is_empty() {
        return Ok(());
    }
    let mut said: Vec<_> = found.iter().take(NAMED).map(ToString::to_string).collect();
    if found.len() > NAMED {
        said.push(format!("and {} more", found.len() - NAMED));
    }
    Err(Failure::run(said.join("\n")))
}

fn interface(name: &str, mac: Option<MacAddr>, (ipv4, ipv6): (bool, bool)) -> Taken<'_> {
    // An interface that is not there is told about when it is opened.
    let link = Netlink::open().and_then(|mut netlink| netlink.link(name));
    let own = link.ok().and_then(|link| link.mac);
    Taken {
        name,
        shares_mac: mac.is_none() || mac == own,
        ipv4,
        ipv6,
    }
}

/// The ends of all softwires.
fn aftrs(config: &Config) -> BTreeSet<IpAddr> {
    let bindings = config.instance.bindings.iter();
    let named = bindings.map(|imported| imported.binding.aftr);
    let all = named.chain(config.file.instance.aftr_addresses.iter().copied());
    all.map(IpAddr::from).collect()
}

/// The public addresses, in as few prefixes as it takes.
fn pools(config: &Config) -> Vec<Claim> {
    let instance = &config.instance;
    let bound = instance.bindings.iter();
    let bound = bound.map(|imported| imported.binding.ipv4.to_bits());
    let bound = bound.map(|address| (address, address));
    let declared = instance.pools.iter();
    let declared = declared.map(|pool| (pool.first.to_bits(), pool.last.to_bits()));
    let ranges: BTreeSet<_> = bound.chain(declared).collect();
    let mut claims = Vec::new();
    let mut joined: Option<(u32, u32)> = None;
    for (first, last) in ranges {
        joined = match joined {
            Some((start, end)) if first <= end.saturating_add(1) => Some((start, end.max(last))),
            before => {
                claims.extend(before.into_iter().flat_map(prefixes));
                Some((first, last))
            }
        };
    }
    claims.extend(joined.into_iter().flat_map(prefixes));
    claims
}

/// A range of addresses as prefixes.
fn prefixes((first, last): (u32, u32)) -> Vec<Claim> {
    let mut claims = Vec::new();
    let mut next = Some(first);
    while let Some(start) = next.filter(|&start| start <= last) {
        let room = u64::from(last - start) + 1;
        // As large as the alignment of the start allows and the range has room for.
        let bits = start.trailing_zeros().min(room.ilog2()).min(32);
        let len = u8::try_from(32 - bits).unwrap_or(32);
        claims.push(Claim {
            address: Ipv4Addr::from_bits(start).into(),
            len,
            whose: Whose::Pool,
        });
        let size = 1_u64 << bits;
        next = u32::try_from(u64::from(start) + size).ok();
    }
    claims
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(first: &str, last: &str) -> Vec<String> {
        let bits = |text: &str| text.parse::<Ipv4Addr>().unwrap().to_bits();
        let claims = prefixes((bits(first), bits(last)));
        let text = |claim: &Claim| format!("{}/{}", claim.address, claim.len);
        claims.iter().map(text).collect()
    }

    #[test]
    fn a_range_is_as_few_prefixes_as_it_takes() {
        assert_eq!(of("192.0.2.0", "192.0.2.255"), ["192.0.2.0/24"]);
        assert_eq!(of("192.0.2.1", "192.0.2.1"), ["192.0.2.1/32"]);
        let odd = ["192.0.2.1/32", "192.0.2.2/31", "192.0.2.4/32"];
        assert_eq!(of("192.0.2.1", "192.0.2.4"), odd);
        assert_eq!(of("0.0.0.0", "255.255.255.255"), ["0.0.0.0/0"]);
        assert_eq!(
            of("255.255.255.254", "255.255.255.255"),
            ["255.255.255.254/31"]
        );
    }
}
