//! The AFTR addresses in use and their numbers in the packet half.
//

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::net::Ipv6Addr;

use crate::bindings::sink::Sink;
use crate::entry::Binding;

/// AFTR addresses, configured or named by bindings.
#[derive(Debug)]
pub(crate) struct Aftrs {
    known: BTreeMap<Ipv6Addr, Aftr>,
    max: usize,
}

#[derive(Clone, Copy, Debug)]
struct Aftr {
    /// Its number in the packet half.
    number: u16,
    /// How many bindings name it, one more where it is configured.
    uses: usize,
}

impl Aftrs {
    /// The configured addresses, as far as there is room.
    pub(crate) fn new(max: usize, configured: &[Ipv6Addr], sink: &mut Sink) -> Self {
        let mut aftrs = Self {
            known: BTreeMap::new(),
            max,
        };
        for addr in configured {
            aftrs.add(*addr, sink);
        }
        aftrs
    }

    /// The configured addresses and those that `bindings` name, and the list that their numbers
    /// are positions in.
    pub(crate) fn of_table(
        max: usize,
        configured: &[Ipv6Addr],
        bindings: &[Binding],
    ) -> (Self, Vec<Ipv6Addr>) {
        let mut known: BTreeMap<Ipv6Addr, Aftr> = BTreeMap::new();
        let mut list = Vec::new();
        let named = bindings.iter().map(|binding| &binding.aftr);
        for addr in configured.iter().chain(named) {
            if let Some(aftr) = known.get_mut(addr) {
                aftr.uses += 1;
                continue;
            }
            // Callers have checked the limit; more than a number can say has none.
            let Ok(number) = u16::try_from(list.len()) else {
                continue;
            };
            known.insert(*addr, Aftr { number, uses: 1 });
            list.push(*addr);
        }
        (Self { known, max }, list)
    }

    /// Counts one more use and returns the address's number, or `None` where there is no room.
    pub(crate) fn add(&mut self, addr: Ipv6Addr, sink: &mut Sink) -> Option<u16> {
        if let Some(aftr) = self.known.get_mut(&addr) {
            aftr.uses += 1;
            return Some(aftr.number);
        }
        // An address without uses keeps its number: packets may still refer to it.
        if self.known.len() >= self.max {
            return None;
        }
        let number = sink.aftr(addr)?;
        self.known.insert(addr, Aftr { number, uses: 1 });
        Some(number)
    }

    /// Counts one use less.
    pub(crate) fn sub(&mut self, addr: Ipv6Addr) {
        if let Some(aftr) = self.known.get_mut(&addr) {
            aftr.uses = aftr.uses.saturating_sub(1);
        }
    }

    /// The number of an address in use.
    pub(crate) fn number(&self, addr: Ipv6Addr) -> Option<u16> {
        self.known.get(&addr).map(|aftr| aftr.number)
    }

    /// Whether the address is configured or named by a binding.
    pub(crate) fn in_use(&self, addr: Ipv6Addr) -> bool {
        self.known.get(&addr).is_some_and(|aftr| aftr.uses > 0)
    }
}
