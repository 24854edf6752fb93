//! Limits and policies of a store of bindings.

use alloc::vec::Vec;
use core::net::Ipv6Addr;
use core::time::Duration;

#[cfg(feature = "table")]
use crate::table::Pool;

/// What is fixed when a [`Bindings`](crate::Bindings) is made.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BindingsConfig {
    /// Most softwires at a time, those that wait for the store among them: `softwire-num-max`
    /// (RFC 8676 §5.2). Default 1024, at least 1 (0 counts as 1). The packet half has to be made
    /// for as many.
    //
    pub softwires: usize,
    /// AFTR addresses that are accepted without a binding that names them. Default none.
    pub aftrs: Vec<Ipv6Addr>,
    /// Most AFTR addresses at a time, configured and named by bindings. Default 64. The packet
    /// half has to be made for as many.
    pub max_aftrs: usize,
    /// IPv4 addresses that belong to this lwAFTR even without a binding. Default none.
    #[cfg(feature = "table")]
    pub pools: Vec<Pool>,
    /// Most decisions that wait for the store at a time. Default 4096. One takes about 400 bytes.
    pub max_pending: usize,
    /// Most changes of the table that wait to be polled. Default 65536. One takes about 150 bytes.
    pub max_events: usize,
    /// Most softwires in quarantine; beyond it the oldest ends early. Default 1,048,576. One
    /// takes about 80 bytes.
    //
    pub max_quarantined: usize,
    /// How long after a failure of the store what it missed is offered again. Default 1 s.
    pub record_again: Duration,
    /// What may change while running.
    pub policy: Policy,
}

impl Default for BindingsConfig {
    fn default() -> Self {
        Self {
            softwires: 1024,
            aftrs: Vec::new(),
            max_aftrs: 64,
            #[cfg(feature = "table")]
            pools: Vec::new(),
            max_pending: 4096,
            max_events: 65_536,
            max_quarantined: 1 << 20,
            record_again: Duration::from_secs(1),
            policy: Policy::default(),
        }
    }
}

/// What may change while running, by [`set_policy`](crate::Bindings::set_policy).
//
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Policy {
    /// What happens to shared port sets with system ports (RFC 7596 §5.1).
    //
    pub system_ports: SystemPorts,
    /// How long a released softwire is kept from other subscribers (RFC 6888 REQ-8). Default
    /// 120 s; zero switches it off. Bindings that are not dynamic may have it at once.
    //
    pub quarantine: Duration,
    /// Leading bits of a B4 address that stand for the subscriber (RFC 7785 §3). Default 56.
    //
    pub subscriber_mask: u8,
    /// Most dynamic softwires of one subscriber (RFC 7785 §4). Default 1.
    //
    pub subscriber_softwires: u32,
    /// Least time between two moves of a dynamic softwire to another B4 address of its subscriber
    /// (RFC 7785 §4). Default 30 min; zero switches the limit off.
    //
    pub move_interval: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            system_ports: SystemPorts::default(),
            quarantine: Duration::from_secs(120),
            subscriber_mask: 56,
            subscriber_softwires: 1,
            move_interval: Duration::from_secs(30 * 60),
        }
    }
}

/// What happens to a shared port set that contains ports 0 to 1023.
//
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SystemPorts {
    /// It is accepted.
    Allow,
    /// It is accepted with [`Event::SystemPorts`](crate::Event::SystemPorts), or counted in the
    /// report of a load.
    #[default]
    Warn,
    /// It is refused.
    Refuse,
}
