//! Who holds how much: shares of fragment memory by source.

use lw4o6_wire::Instant;

use crate::timed_map::TimedMap;

/// A source: an IPv6 address, or an IPv4 address in its mapped form.
pub(crate) type Source = [u8; 16];

/// What one source holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Datagrams it has a context for.
    pub(crate) contexts: usize,
    /// Bytes of slab memory.
    pub(crate) bytes: usize,
    /// Fragments that are remembered.
    pub(crate) pieces: usize,
}

impl Usage {
    const NOTHING: Self = Self {
        contexts: 0,
        bytes: 0,
        pieces: 0,
    };

    fn plus(self, other: Self) -> Self {
        Self {
            contexts: self.contexts + other.contexts,
            bytes: self.bytes + other.bytes,
            pieces: self.pieces + other.pieces,
        }
    }

    const fn minus(self, other: Self) -> Self {
        Self {
            contexts: self.contexts.saturating_sub(other.contexts),
            bytes: self.bytes.saturating_sub(other.bytes),
            pieces: self.pieces.saturating_sub(other.pieces),
        }
    }

    const fn within(self, limit: Self) -> bool {
        self.contexts <= limit.contexts && self.bytes <= limit.bytes && self.pieces <= limit.pieces
    }
}

/// Which limit was hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exceeded {
    /// The share of this source.
    Source,
    /// What there is for all of them.
    Total,
}

/// Usage of all sources that hold something.
///
/// Its map cannot overflow before the contexts do: a source is in it only while it holds one.
#[derive(Debug)]
pub(crate) struct Quota {
    sources: TimedMap<Source, Usage>,
    total: Usage,
    limit: Usage,
    source_limit: Usage,
}

impl Quota {
    /// Shares for at most `limit.contexts` datagrams.
    pub(crate) fn new(limit: Usage, source_limit: Usage, secret: [u8; 16]) -> Self {
        Self {
            sources: TimedMap::new(limit.contexts, secret),
            total: Usage::NOTHING,
            limit,
            source_limit,
        }
    }

    /// Puts other limits in force. What is held beyond them stays until it is given back.
    pub(crate) const fn set_limits(&mut self, limit: Usage, source_limit: Usage) {
        self.limit = limit;
        self.source_limit = source_limit;
    }

    /// Charges `source` for `more`.
    ///
    /// # Errors
    ///
    /// Which limit that would exceed; nothing is charged then.
    pub(crate) fn charge(
        &mut self,
        now: Instant,
        source: Source,
        more: Usage,
    ) -> Result<(), Exceeded> {
        let slot = self.sources.find(&source);
        let held = slot.and_then(|slot| self.sources.get(slot)).copied();
        let held = held.unwrap_or(Usage::NOTHING).plus(more);
        let total = self.total.plus(more);
        if !held.within(self.source_limit) {
            return Err(Exceeded::Source);
        }
        if !total.within(self.limit) {
            return Err(Exceeded::Total);
        }
        match slot.and_then(|slot| self.sources.get_mut(slot)) {
            Some(usage) => *usage = held,
            None => {
                let added = self.sources.insert(now, source, held);
                added.ok_or(Exceeded::Total)?;
            }
        }
        self.total = total;
        Ok(())
    }

    /// Takes back what `source` was charged for.
    pub(crate) fn release(&mut self, source: Source, less: Usage) {
        self.total = self.total.minus(less);
        let Some(slot) = self.sources.find(&source) else {
            return;
        };
        if let Some(usage) = self.sources.get_mut(slot) {
            *usage = usage.minus(less);
            if *usage == Usage::NOTHING {
                self.sources.remove(slot);
            }
        }
    }

    /// What all sources hold together.
    pub(crate) const fn total(&self) -> Usage {
        self.total
    }
}
