//! From a configuration to a running router: table, bindings, engine, ports.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use lw4o6_aftr::config::{Hairpin, Switch};
use lw4o6_aftr::port::{
    Accept, EthernetPort, InternetPort, Link, NextHop, Nic, PortConfig, ProxyArp, SoftwirePort,
};
use lw4o6_aftr::{Aftr, AftrConfig};
use lw4o6_binding::formats::json::{HairpinMode, Instance};
use lw4o6_binding::table::{Pool, TableConfig, TableWriter, arena_words};
use lw4o6_binding::{Binding, Bindings, BindingsConfig, Policy};
use lw4o6_wire::Instant;
use lw4o6_wire::ethernet::MacAddr;
use zerocopy::FromBytes;

use crate::config::{Config, Hop, MacFilter};
use crate::error::Failure;

/// Frames that wait for a next hop, each side.
const WAITING: usize = 16;

/// Softwires with counters of their own, where these are asked for; the engine takes no more.
const MOST_COUNTED: usize = 16_777_216;

/// Address of an interface whose configuration names none; locally administered.
const DEFAULT_MAC: MacAddr = MacAddr([0x02, 0, 0, 0, 0, 0]);

/// An engine with its bindings.
#[derive(Debug)]
pub struct Router {
    /// The engine.
    pub aftr: Aftr,
    /// The bindings behind its table.
    pub bindings: Bindings,
}

impl Router {
    /// Builds everything that `config` describes.
    ///
    /// # Errors
    ///
    /// Where a binding breaks a rule or a knob is out of range; says where.
    pub fn new(config: &Config, seed: [u8; 32], boot_grace: Duration) -> Result<Self, Failure> {
        let table = table_config(&config.instance, seed);
        let arena = arena(config, arena_words(&table))?;
        let pools = pools(&config.instance);
        let wrong = |error: &dyn std::fmt::Display| Failure::at_config(&config.softwires, error);
        let (writer, shared) = TableWriter::new(table, arena, &pools).map_err(|e| wrong(&e))?;
        let mut bindings = Bindings::new(bindings_config(config, pools), writer);
        let all = config
            .instance
            .bindings
            .iter()
            .map(|imported| imported.binding);
        bindings.load(Instant::ZERO, all).map_err(|error| {
            let imported = config.instance.bindings.get(error.index);
            let place = imported.and_then(|imported| imported.place(&config.instance.name));
            match place {
                Some(place) => wrong(&format_args!("{place}: {}", error.error)),
                None => wrong(&error),
            }
        })?;
        let aftr = Aftr::new(aftr_config(config, boot_grace), shared, seed);
        let aftr = aftr.map_err(|error| config.refused(&error))?;
        Ok(Self { aftr, bindings })
    }

    /// A worker with its Ethernet interfaces: the Internet's, then the softwires'.
    ///
    /// # Errors
    ///
    /// Where the table has no room for another worker.
    pub fn port(
        &self,
        config: &Config,
        nics: [Nic; 2],
        seed: u64,
    ) -> Result<EthernetPort, Failure> {
        let worker = self
            .aftr
            .worker()
            .map_err(|error| Failure::run(error.to_string()))?;
        let seed = u32::try_from(seed & 0xffff_ffff).unwrap_or(0);
        Ok(EthernetPort::new(port_config(config, nics), worker, seed))
    }

    /// Another worker on the same interfaces, which is told the next hops that the first one resolves.
    ///
    /// # Errors
    ///
    /// Where the table has no room for another worker.
    pub fn follower(&self, config: &Config, nics: [Nic; 2]) -> Result<EthernetPort, Failure> {
        let worker = self.aftr.worker();
        let worker = worker.map_err(|error| Failure::run(error.to_string()))?;
        let mut port = port_config(config, nics);
        if let NextHop::Address(_) = port.internet.next_hop {
            port.internet.next_hop = NextHop::Shared;
        }
        if let NextHop::Address(_) = port.softwire.next_hop {
            port.softwire.next_hop = NextHop::Shared;
        }
        Ok(EthernetPort::new(port, worker, 0))
    }
}

/// Zeroed memory for a table, in huge pages where the kernel gives them. It is never given back: a
/// table lives as long as the program.
fn arena(config: &Config, words: usize) -> Result<&'static [AtomicU64], Failure> {
    let bytes = words.saturating_mul(size_of::<u64>());
    let memory = memmap2::MmapMut::map_anon(bytes);
    let memory = memory.map_err(|error| {
        let Instance {
            name,
            softwire_num_max,
            ..
        } = &config.instance;
        let what = format!(
            "/ietf-softwire-br:br-instances/binding/bind-instance[name='{name}']/softwire-num-max: \
             {softwire_num_max} takes a table of {} MiB, more than there is ({error}); \
             needs a smaller number or more memory",
            bytes.div_ceil(1 << 20)
        );
        Failure::at_config(&config.softwires, &what)
    })?;
    // Without huge pages it is only slower.
    let _ = memory.advise(memmap2::Advice::HugePage);
    let memory = Box::leak(Box::new(memory));
    let words = <[AtomicU64]>::mut_from_bytes(memory.as_mut());
    words
        .map(|words| &*words)
        .map_err(|e| Failure::run(format!("memory for the table: {e}")))
}

/// Size and secret of the table of `instance`.
#[must_use]
pub fn table_config(instance: &Instance, seed: [u8; 32]) -> TableConfig {
    let mut hash_seed = [0; 16];
    for (to, (a, b)) in hash_seed
        .iter_mut()
        .zip(seed.iter().zip(seed.iter().skip(16)))
    {
        // Both halves, so that every bit of the seed counts.
        *to = a ^ b.rotate_left(3) ^ 0x5a;
    }
    TableConfig {
        softwires: usize::try_from(instance.softwire_num_max).unwrap_or(usize::MAX),
        aftrs: aftr_count(instance),
        readers: 16,
        hash_seed,
    }
}

/// Room for the AFTR addresses that the bindings name, twice over for changes, and some.
fn aftr_count(instance: &Instance) -> usize {
    let named = instance
        .bindings
        .iter()
        .map(|imported| imported.binding.aftr);
    let named: std::collections::BTreeSet<_> = named.collect();
    (2 * named.len() + 64).min(65_536)
}

fn bindings_config(config: &Config, pools: Vec<Pool>) -> BindingsConfig {
    let mut policy = Policy::default();
    policy.system_ports = config.file.table.system_ports.into();
    let mut bindings = BindingsConfig::default();
    bindings.softwires = usize::try_from(config.instance.softwire_num_max).unwrap_or(usize::MAX);
    bindings
        .aftrs
        .clone_from(&config.file.instance.aftr_addresses);
    bindings.max_aftrs = aftr_count(&config.instance);
    bindings.pools = pools;
    bindings.policy = policy;
    bindings
}

/// Address ranges that belong to the instance even without a binding.
#[must_use]
pub fn pools(instance: &Instance) -> Vec<Pool> {
    let pool = |pool: &lw4o6_binding::formats::json::DeclaredPool| Pool {
        first: pool.first.to_bits(),
        last: pool.last.to_bits(),
        offset: pool.offset,
        len: pool.len,
    };
    instance.pools.iter().map(pool).collect()
}

/// The engine's configuration: knobs from the TOML file, the model's leaves from the JSON file.
#[must_use]
pub fn aftr_config(config: &Config, boot_grace: Duration) -> AftrConfig {
    let (file, instance) = (&config.file, &config.instance);
    let mut aftr = AftrConfig::default();
    file.forwarding.apply(&mut aftr);
    file.icmp.apply(&mut aftr.icmp);
    file.reassembly.apply(&mut aftr.reassembly);
    file.fragments.apply(&mut aftr.fragments);
    aftr.aftr_addresses
        .clone_from(&file.instance.aftr_addresses);
    aftr.own_ipv4 = vec![*file.internet.address.get_ref()];
    aftr.own_ipv4.extend(&file.internet.more_addresses);
    aftr.own_ipv6 = vec![file.softwire.address.0.addr()];
    aftr.ipv4_mtu = *file.internet.mtu.get_ref();
    let headers = if aftr.encap_limit.is_some() { 48 } else { 40 };
    aftr.ipv6_mtu = instance.payload_mtu.saturating_add(headers);
    aftr.path_mru = instance.path_mru;
    aftr.hairpin = match instance.hairpin {
        HairpinMode::Local => Hairpin::Local,
        HairpinMode::ToIpv4Side => Hairpin::ToIpv4Side,
        HairpinMode::Drop => Hairpin::Drop,
    };
    let on = |switch: bool| if switch { Switch::On } else { Switch::Off };
    let policy = &instance.icmp_policy;
    aftr.icmp.incoming_v4 = on(policy.allow_incoming_icmpv4);
    aftr.icmp.incoming_v4_rate = policy.icmpv4_rate;
    aftr.icmp.generate_v4 = on(policy.generate_icmpv4_errors);
    aftr.icmp.generate_v6 = on(policy.generate_icmpv6_errors);
    if let Some(rate) = policy.icmpv6_rate {
        aftr.icmp.instance_rate_v6 = rate;
    }
    aftr.boot_grace = boot_grace;
    if file.run.softwire_counters {
        let softwires = usize::try_from(instance.softwire_num_max).unwrap_or(usize::MAX);
        aftr.softwire_counters = softwires.min(MOST_COUNTED);
    }
    aftr
}

/// The ports' configuration, on the given interfaces: the Internet's, then the softwires'.
#[must_use]
pub fn port_config(config: &Config, [internet_nic, softwire_nic]: [Nic; 2]) -> PortConfig {
    let (internet, softwire) = (&config.file.internet, &config.file.softwire);
    let accept = |filter| match filter {
        MacFilter::Own => Accept::Own,
        MacFilter::Any => Accept::Any,
    };
    PortConfig {
        internet: InternetPort {
            link: Link {
                nic: internet_nic,
                mac: internet.mac.map_or(DEFAULT_MAC, |mac| mac.0),
                vlan: internet.vlan.as_ref().map(|vlan| *vlan.get_ref()),
                accept: accept(internet.accept),
            },
            address: *internet.address.get_ref(),
            next_hop: next_hop(internet.next_hop.0),
            proxy_arp: if internet.proxy_arp {
                ProxyArp::Pools
            } else {
                ProxyArp::Off
            },
        },
        softwire: SoftwirePort {
            link: Link {
                nic: softwire_nic,
                mac: softwire.mac.map_or(DEFAULT_MAC, |mac| mac.0),
                vlan: softwire.vlan.as_ref().map(|vlan| *vlan.get_ref()),
                accept: accept(softwire.accept),
            },
            address: softwire.address.0.addr(),
            prefix_len: softwire.address.0.prefix_len(),
            next_hop: next_hop(softwire.next_hop.0),
        },
        waiting: WAITING,
    }
}

fn next_hop<A>(hop: Hop<A>) -> NextHop<A> {
    match hop {
        Hop::Address(address) => NextHop::Address(address),
        Hop::Mac(mac) => NextHop::Mac(mac),
    }
}

/// The bindings of an instance alone.
pub fn bindings_of(instance: &Instance) -> impl Iterator<Item = &Binding> {
    instance.bindings.iter().map(|imported| &imported.binding)
}
