//! A configuration that has been checked, and what follows from it.

use core::net::{Ipv4Addr, Ipv6Addr};
use core::time::Duration;

use crate::config::{AftrConfig, DscpEncap, FlowLabel, FragmentConfig, MssClamp, ReassemblyConfig};
use crate::key::KeyRules;
use crate::limits::Rates;
use crate::martian::{is_ipv6_source, is_martian, is_service};
use crate::traffic::MAX_ENTRIES;

/// Why a configuration was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// An AFTR address that no packet can be sent to.
    #[error("aftr_addresses: {0} is not a routable unicast address")]
    AftrAddress(Ipv6Addr),
    /// An IPv6 address of the box that no packet can be sent to.
    #[error("own_ipv6: {0} is not a routable unicast address")]
    OwnIpv6(Ipv6Addr),
    /// An IPv4 address of the box that no packet can be sent to.
    #[error("own_ipv4: {0} is not a routable unicast address")]
    OwnIpv4(Ipv4Addr),
    /// An address that exists inside tunnels only (RFC 7335).
    #[error("own_ipv4: {0} is in 192.0.0.0/29, which never leaves a tunnel (RFC 7335)")]
    ServiceAddress(Ipv4Addr),
    /// The same address twice in one list.
    #[error("{list}: {address} is listed twice")]
    Duplicate {
        /// Name of the list.
        list: &'static str,
        /// The address.
        address: core::net::IpAddr,
    },
    /// Below the smallest IPv4 MTU (RFC 791).
    #[error("ipv4_mtu: {0} is below 68")]
    Ipv4Mtu(u16),
    /// Below the smallest IPv6 MTU (RFC 8200 §5).
    #[error("ipv6_mtu: {0} is below 1280")]
    Ipv6Mtu(u16),
    /// A DSCP has six bits.
    #[error("dscp_encap: {0} is above 63")]
    Dscp(u8),
    /// A flow label has 20 bits.
    #[error("flow_label: {0:#x} has more than 20 bits")]
    FlowLabel(u32),
    /// Packets would be dropped by the next router.
    #[error("{0}: 0 would be dropped by the first router")]
    ZeroHops(&'static str),
    /// No TCP works with it.
    #[error("mss_clamp: {0} is below 88")]
    MssClamp(u16),
    /// A number that has to be at least one.
    #[error("{0}: 0 would refuse every fragment")]
    Zero(&'static str),
    /// Out-of-order fragments could not be waited for.
    #[error("fragments.timeout: {0:?} is below 2 s")]
    FragmentTimeout(Duration),
    /// Reassembly would take the memory that output needs.
    #[error("reassembly.bytes: {bytes} is above half of slab_bytes, {slab}")]
    ReassemblyBytes {
        /// `reassembly.bytes`.
        bytes: usize,
        /// `slab_bytes`.
        slab: usize,
    },
    /// Each of them takes 64 bytes of every worker.
    #[error("softwire_counters: {0} is above 16777216")]
    SoftwireCounters(usize),
    /// Held fragments and the output of one packet do not fit together.
    #[error("slab_bytes: {have} is below {need}, what held fragments and one packet's output take")]
    Slab {
        /// Bytes needed.
        need: usize,
        /// `slab_bytes`.
        have: usize,
    },
}

/// Smallest slab accepted.
const MIN_SLAB: usize = 512 << 10;

/// Smallest MSS to clamp to.
const MIN_MSS: u16 = 88;

/// Length of the fixed outer header in bytes.
pub(crate) const OUTER_LEN: usize = 40;

/// Length of a Destination Options header with a tunnel encapsulation limit in bytes.
pub(crate) const LIMIT_LEN: usize = 8;

/// A checked configuration.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) config: AftrConfig,
    /// Bytes of outer headers that encapsulation adds, 40 or 48.
    pub(crate) overhead: usize,
    /// Bytes of slab that must be free before a frame is taken.
    pub(crate) worst_case: usize,
    pub(crate) key_rules: KeyRules,
    pub(crate) rates: Rates,
}

impl Settings {
    /// Checks `config`.
    ///
    /// # Errors
    ///
    /// Names the first field that cannot be, with its value.
    pub(crate) fn new(mut config: AftrConfig) -> Result<Self, ConfigError> {
        check_addresses(&config)?;
        check_numbers(&config)?;
        check_fragments(&config.reassembly, &config.fragments)?;
        //
        config.path_mru = config.path_mru.max(1540);
        config.icmp.v4_tos &= 0xfc;
        let overhead = OUTER_LEN + config.encap_limit.map_or(0, |_| LIMIT_LEN);
        let worst_case = worst_case(&config, overhead);
        check_slab(&config, worst_case)?;
        Ok(Self {
            key_rules: KeyRules {
                inbound_echo: config.inbound_echo_request,
                quoted_checksum: config.icmp.quoted_checksum,
            },
            rates: Rates::new(&config.icmp),
            config,
            overhead,
            worst_case,
        })
    }

    /// Whether a B4 may have this address.
    pub(crate) fn is_subscriber(&self, address: Ipv6Addr) -> bool {
        let prefixes = &self.config.subscriber_prefixes;
        prefixes.is_empty() || prefixes.iter().any(|p| p.contains(address))
    }
}

fn check_addresses(config: &AftrConfig) -> Result<(), ConfigError> {
    for address in &config.aftr_addresses {
        if !is_ipv6_source(*address) {
            return Err(ConfigError::AftrAddress(*address));
        }
    }
    for address in &config.own_ipv6 {
        if !is_ipv6_source(*address) {
            return Err(ConfigError::OwnIpv6(*address));
        }
    }
    for address in &config.own_ipv4 {
        //
        if is_service(*address) {
            return Err(ConfigError::ServiceAddress(*address));
        }
        if is_martian(*address) {
            return Err(ConfigError::OwnIpv4(*address));
        }
    }
    check_unique("aftr_addresses", &config.aftr_addresses)?;
    check_unique("own_ipv6", &config.own_ipv6)?;
    check_unique("own_ipv4", &config.own_ipv4)
}

fn check_unique<A>(list: &'static str, addresses: &[A]) -> Result<(), ConfigError>
where
    A: Copy + Ord + Into<core::net::IpAddr>,
{
    let mut sorted = addresses.to_vec();
    sorted.sort_unstable();
    for pair in sorted.windows(2) {
        if let [first, second] = pair
            && first == second
        {
            let address = (*first).into();
            return Err(ConfigError::Duplicate { list, address });
        }
    }
    Ok(())
}

fn check_numbers(config: &AftrConfig) -> Result<(), ConfigError> {
    if config.ipv4_mtu < 68 {
        return Err(ConfigError::Ipv4Mtu(config.ipv4_mtu));
    }
    if config.ipv6_mtu < 1280 {
        return Err(ConfigError::Ipv6Mtu(config.ipv6_mtu));
    }
    if let DscpEncap::Fixed(dscp @ 64..) = config.dscp_encap {
        return Err(ConfigError::Dscp(dscp));
    }
    if let FlowLabel::Constant(label @ 0x10_0000..) = config.flow_label {
        return Err(ConfigError::FlowLabel(label));
    }
    if config.softwire_counters > MAX_ENTRIES {
        return Err(ConfigError::SoftwireCounters(config.softwire_counters));
    }
    if config.hop_limit == 0 {
        return Err(ConfigError::ZeroHops("hop_limit"));
    }
    if config.own_ttl == 0 {
        return Err(ConfigError::ZeroHops("own_ttl"));
    }
    match config.mss_clamp {
        MssClamp::To(mss) if mss < MIN_MSS => Err(ConfigError::MssClamp(mss)),
        MssClamp::Off | MssClamp::ToTunnel | MssClamp::To(_) => Ok(()),
    }
}

fn check_fragments(
    reassembly: &ReassemblyConfig,
    fragments: &FragmentConfig,
) -> Result<(), ConfigError> {
    for (name, number) in [
        ("reassembly.contexts", reassembly.contexts),
        ("reassembly.fragments", reassembly.fragments),
        ("fragments.contexts", fragments.contexts),
        ("fragments.fragments", fragments.fragments),
    ] {
        if number == 0 {
            return Err(ConfigError::Zero(name));
        }
    }
    //
    if fragments.timeout < Duration::from_secs(2) {
        return Err(ConfigError::FragmentTimeout(fragments.timeout));
    }
    Ok(())
}

fn check_slab(config: &AftrConfig, worst_case: usize) -> Result<(), ConfigError> {
    let (bytes, have) = (config.reassembly.bytes, config.slab_bytes);
    if bytes > have / 2 {
        return Err(ConfigError::ReassemblyBytes { bytes, slab: have });
    }
    // What is held is bounded by its own budgets; what remains is always enough for the output of
    // one packet, so a frame's fate never depends on how many wait in front of it.
    let held = bytes.saturating_add(config.fragments.bytes);
    let need = held.saturating_add(worst_case).max(MIN_SLAB);
    if have < need {
        return Err(ConfigError::Slab { need, have });
    }
    Ok(())
}

/// Most slab bytes that the output of one frame can take.
///
/// That is one packet of 65,535 bytes in the smallest pieces, or a first fragment that lets go all
/// the others of its datagram, which are no more than that together.
fn worst_case(config: &AftrConfig, overhead: usize) -> usize {
    let tunnel = (1280 - OUTER_LEN - 8) & !7; // a path MTU may have been learned
    let longest_header = 60;
    let ipv4 = (usize::from(config.ipv4_mtu) - longest_header) & !7;
    let smallest = tunnel.min(ipv4).max(8);
    let pieces = 65_535 / smallest + 2 * (config.fragments.fragments + 1);
    let each = longest_header + overhead + 8 + CHUNK_ROUNDING;
    65_535 + pieces * each
}

/// Bytes that a stored packet may waste, and what its place in the queue takes.
const CHUNK_ROUNDING: usize = 256 + 32;

#[cfg(test)]
mod tests;
