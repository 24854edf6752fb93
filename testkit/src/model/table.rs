//! Bindings in a list, searched from the front.

use core::net::{Ipv4Addr, Ipv6Addr};

use super::config::ModelPool;

/// One softwire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModelBinding {
    /// The subscriber's tunnel address.
    pub b4: Ipv6Addr,
    /// The public address.
    pub ipv4: Ipv4Addr,
    /// PSID offset a.
    pub offset: u8,
    /// PSID length k.
    pub len: u8,
    /// PSID.
    pub psid: u16,
    /// The tunnel address on our side.
    pub aftr: Ipv6Addr,
}

/// Whether `port` is in the set (a, k, PSID), by drawing it: A(a) | PSID(k) | j(m).
#[must_use]
pub fn port_in_set(offset: u8, len: u8, psid: u16, port: u16) -> bool {
    let bits: Vec<bool> = (0..16).rev().map(|n| port >> n & 1 == 1).collect();
    let (a, k) = (usize::from(offset), usize::from(len));
    let number = |bits: &[bool]| bits.iter().fold(0u32, |n, &bit| n * 2 + u32::from(bit));
    let excluded = a > 0 && number(&bits[..a]) == 0;
    !excluded && number(&bits[a..a + k]) == u32::from(psid)
}

/// How an IPv4 address is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    Foreign,
    Full,
    Shared,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    pub(super) bindings: Vec<ModelBinding>,
    /// AFTR addresses that bindings name or have named: tunnels may still end there.
    aftrs: Vec<Ipv6Addr>,
}

impl Table {
    /// PSID offset and length of an address of ours.
    pub(super) fn sharing(&self, pools: &[ModelPool], ipv4: Ipv4Addr) -> Option<(u8, u8)> {
        let bound = self.bindings.iter().find(|b| b.ipv4 == ipv4);
        let pool = pools.iter().find(|p| p.first <= ipv4 && ipv4 <= p.last);
        bound
            .map(|b| (b.offset, b.len))
            .or(pool.map(|p| (p.offset, p.len)))
    }

    pub(super) fn usage(&self, pools: &[ModelPool], ipv4: Ipv4Addr) -> Use {
        match self.sharing(pools, ipv4) {
            None => Use::Foreign,
            Some((0, 0)) => Use::Full,
            Some(_) => Use::Shared,
        }
    }

    pub(super) fn find(&self, ipv4: Ipv4Addr, port: Option<u16>) -> Option<ModelBinding> {
        self.bindings.iter().copied().find(|b| {
            b.ipv4 == ipv4
                && match port {
                    Some(port) => port_in_set(b.offset, b.len, b.psid, port),
                    None => b.offset == 0 && b.len == 0,
                }
        })
    }

    pub(super) fn knows_b4(&self, b4: Ipv6Addr) -> bool {
        self.bindings.iter().any(|b| b.b4 == b4)
    }

    pub(super) fn b4_has(&self, b4: Ipv6Addr, ipv4: Ipv4Addr) -> bool {
        self.bindings.iter().any(|b| b.b4 == b4 && b.ipv4 == ipv4)
    }

    pub(super) fn names_aftr(&self, aftr: Ipv6Addr) -> bool {
        self.aftrs.contains(&aftr)
    }

    pub(super) fn add(&mut self, binding: ModelBinding) {
        self.bindings.push(binding);
        self.aftrs.push(binding.aftr);
    }
}
