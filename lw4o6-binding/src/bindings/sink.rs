//! The packet half as the control half sees it: a table that takes finished bindings, or nothing.

use core::net::Ipv6Addr;

use crate::entry::{Binding, SoftwireKey};

#[cfg(feature = "table")]
use crate::table::{Pool, Slot, TableMemory, TableWriter};

/// Where committed bindings go.
#[derive(Debug, Default)]
pub(crate) struct Sink {
    #[cfg(feature = "table")]
    writer: Option<TableWriter>,
    /// How many AFTR addresses have a number, where there is no writer to count them.
    aftrs: u16,
}

#[cfg(feature = "table")]
impl Sink {
    /// A table.
    pub(crate) fn new(writer: TableWriter) -> Self {
        Self {
            writer: Some(writer),
            aftrs: 0,
        }
    }

    /// How the table uses its memory.
    pub(crate) fn memory(&self) -> Option<TableMemory> {
        self.writer.as_ref().map(TableWriter::memory)
    }

    /// The number of an AFTR address that is not known yet.
    pub(crate) fn aftr(&mut self, addr: Ipv6Addr) -> Option<u16> {
        match &mut self.writer {
            Some(writer) => writer.aftr(&addr.octets()).ok(),
            None => self.count_aftr(),
        }
    }

    /// Adds a binding or puts it in the place of the one with the same key; `false` where there
    /// is no room.
    //
    pub(crate) fn insert(&mut self, binding: &Binding, aftr: u16) -> bool {
        let Some(writer) = &mut self.writer else {
            return true;
        };
        let slot = slot(binding, aftr);
        if writer.insert(&slot).is_ok() {
            return true;
        }
        // Room that readers have left since the last time may be enough.
        writer.collect();
        writer.insert(&slot).is_ok()
    }

    /// Removes a binding.
    pub(crate) fn remove(&mut self, key: &SoftwireKey) {
        if let Some(writer) = &mut self.writer {
            let was_there = writer.remove(u32::from(key.ipv4), key.ports.psid());
            debug_assert!(was_there, "{key} was not in the table");
        }
    }

    /// Puts other bindings in the place of all, with the numbers of AFTR addresses that their
    /// order in `aftrs` gives; `false` where there is no room.
    //
    pub(crate) fn replace_all(
        &mut self,
        bindings: &[Binding],
        aftrs: &[Ipv6Addr],
        number: impl Fn(Ipv6Addr) -> Option<u16>,
        pools: &[Pool],
    ) -> bool {
        let Some(writer) = &mut self.writer else {
            self.aftrs = u16::try_from(aftrs.len()).unwrap_or(u16::MAX);
            return true;
        };
        let number = &number;
        let slots = bindings
            .iter()
            .filter_map(|binding| Some(slot(binding, number(binding.aftr)?)));
        let aftrs: alloc::vec::Vec<[u8; 16]> = aftrs.iter().map(Ipv6Addr::octets).collect();
        writer.replace_all_with_aftrs(slots, pools, &aftrs).is_ok()
    }

    /// Takes memory back that no reader uses any more. Only this waits for the readers; a
    /// removed binding is gone at once.
    pub(crate) fn collect(&mut self) {
        if let Some(writer) = &mut self.writer {
            writer.collect();
        }
    }
}

#[cfg(not(feature = "table"))]
impl Sink {
    pub(crate) fn aftr(&mut self, _: Ipv6Addr) -> Option<u16> {
        self.count_aftr()
    }

    pub(crate) fn insert(&mut self, _: &Binding, _: u16) -> bool {
        true
    }

    pub(crate) fn remove(&mut self, _: &SoftwireKey) {}

    pub(crate) fn replace_all(&mut self, _: &[Binding], aftrs: &[Ipv6Addr]) -> bool {
        self.aftrs = u16::try_from(aftrs.len()).unwrap_or(u16::MAX);
        true
    }

    pub(crate) fn collect(&mut self) {}
}

impl Sink {
    fn count_aftr(&mut self) -> Option<u16> {
        let number = self.aftrs;
        self.aftrs = number.checked_add(1)?;
        Some(number)
    }
}

#[cfg(feature = "table")]
fn slot(binding: &Binding, aftr: u16) -> Slot {
    Slot {
        ipv4: u32::from(binding.ipv4),
        psid: binding.ports.psid(),
        offset: binding.ports.offset(),
        len: binding.ports.len(),
        b4: binding.b4.octets(),
        aftr,
        flags: 0,
    }
}
