//! Reassembly of tunnel packets (RFC 8200 §4.5, RFC 5722, RFC 3168 §5.3), and of IPv4 packets from
//! the Internet where that is configured (RFC 791 §3.2). In what the two differ is in [`family`].
//!
//! Fragments are kept in the worker's slab until the last gap closes; the fragment that closes it
//! is never stored. A datagram that breaks a rule leaves a tombstone behind until its time is up,
//! so that what still arrives of it is not taken for a new one (RFC 5722 §4).
//!
//! Memory is bounded four times: for the instance, for the worker, whose slab it is, for each source
//! and for each datagram. Where memory
//! is short the newcomer is refused. Evicting an older datagram instead would let whoever sends
//! the most fragments throw out those of everybody else; refusing leaves a B4 that stays within its
//! share what it holds, and a flood can only take what is free. The datagram that was refused a
//! byte is given up as a whole, because nothing will send that fragment again.
//!
//! A share by address is no bound to a subscriber who has a prefix to invent addresses from. Once
//! half of the memory is in use, [`Reassembly::is_tight`] says so, and the packet path then lets
//! only fragments in whose source has a binding: of those, one subscriber has few.

use std::sync::Arc;

use lw4o6_wire::{EcnMix, Instant};

use crate::DropReason;
use crate::config::ReassemblyConfig;
use crate::quota::{Exceeded, Quota, Usage};
use crate::share::{Pool, Share};
use crate::slab::Slab;
use crate::timed_map::{Slot, TimedMap};

use self::arrival::{Arrival, First};
use self::family::Family;
use self::pieces::{List, Misfit, Pieces};

mod arrival;
mod family;
mod ipv4;
mod ipv6;
mod pieces;

#[cfg(test)]
mod tests;

/// Length of the IPv6 fixed header in bytes.
const FIXED: usize = 40;

/// Bytes of extension headers that come on top of softwire-path-mru, which counts the fixed header
/// and what it carries: a Tunnel Encapsulation Limit must not cost a B4 its 1500-byte packets.
const EXT_ALLOWANCE: usize = 256;

/// Smallest value of softwire-path-mru that is in force: a 1500-byte packet and its header.
const MIN_PATH_MRU: usize = 1540;

/// Bytes of a first fragment that an ICMPv6 error can quote.
const QUOTE: usize = 1232;

/// What became of a fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reassembled {
    /// It is kept.
    Held,
    /// It was the last one missing.
    Complete {
        /// Bytes of the packet, which stands in the scratch buffer and is no fragment any more.
        len: usize,
        /// Fragments that had been held for it.
        merged: usize,
    },
    /// It is dropped.
    Refused {
        /// Why.
        reason: DropReason,
        /// The ICMPv6 Parameter Problem that answers it.
        problem: Option<FragmentProblem>,
        /// Held fragments of the same datagram that are discarded with it.
        lost: usize,
    },
}

/// An ICMPv6 Parameter Problem about a fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FragmentProblem {
    /// ICMPv6 code.
    pub(crate) code: u8,
    /// Offset of the offending byte from the start of the IPv6 header.
    pub(crate) pointer: u32,
}

/// A datagram whose time is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Expired<'a> {
    /// Fragments that had been held.
    pub(crate) fragments: usize,
    /// The first 1,232 bytes at most of the fragment at offset 0, as it was received. // R-129
    pub(crate) first: Option<&'a [u8]>,
    /// Its source.
    pub(crate) src: [u8; 16],
    /// Its destination.
    pub(crate) dst: [u8; 16],
}

/// Datagrams are told apart by source, destination and identification. // R-127
///
/// Of IPv4, addresses are in their mapped form, and the protocol stands above the 16 bits of the
/// identification. // R-143
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    src: [u8; 16],
    dst: [u8; 16],
    ident: u32,
}

/// A datagram under reassembly.
#[derive(Debug)]
struct Datagram {
    state: State,
    pieces: List,
    count: usize,
    bytes: usize,       // of fragmentable part that are here
    end: Option<usize>, // length of the fragmentable part, known from the last fragment
    first: Option<First>,
    ecn: EcnMix,
    charged: Usage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Gathering,
    /// Given up for this reason; a tombstone.
    Dead(DropReason),
}

/// Reassembly of one worker, for one version of IP.
#[derive(Debug)]
pub(crate) struct Reassembly {
    family: &'static Family,
    datagrams: TimedMap<Key, Datagram>,
    pieces: Pieces,
    quota: Quota,
    share: Share,
    limits: Limits,
    quote: Box<[u8]>,
    warned: bool,
    warnings: u64,
    held: usize,    // fragments
    evicted: usize, // fragments that went with an evicted datagram, for `take_evicted`
    evictions: u64,
}

/// The knobs, as they are in force.
#[derive(Clone, Copy, Debug)]
struct Limits {
    budget: usize, // bytes of all workers
    total: Usage,
    per_source: Usage,
    fragments: usize,
    timeout: core::time::Duration,
    path_mru: usize,
}

impl Limits {
    fn new(config: &ReassemblyConfig, path_mru: u16, capacity: Usage) -> Self {
        let total = Usage {
            contexts: config.contexts.clamp(1, capacity.contexts),
            bytes: config.bytes.min(capacity.bytes),
            pieces: capacity.pieces,
        };
        // A sixteenth of the contexts: about as many as the default share of bytes can fill.
        let per_source = Usage {
            contexts: (total.contexts / 16).max(8),
            bytes: config.bytes_per_b4,
            pieces: total.pieces,
        };
        Self {
            budget: config.bytes,
            total,
            per_source,
            fragments: config.fragments,
            timeout: config.timeout,
            path_mru: usize::from(path_mru).max(MIN_PATH_MRU),
        }
    }
}

impl Reassembly {
    fn of_family(
        family: &'static Family,
        config: &ReassemblyConfig,
        path_mru: u16,
        slab: &Slab,
        secret: [u8; 16],
    ) -> Self {
        let bytes = slab.capacity() / 2;
        let pieces = (bytes / crate::slab::CHUNK).max(1); // each takes a chunk at least
        let capacity = Usage {
            contexts: config.contexts.max(1),
            bytes,
            pieces,
        };
        let limits = Limits::new(config, path_mru, capacity);
        Self {
            family,
            datagrams: TimedMap::new(limits.total.contexts, secret),
            pieces: Pieces::new(pieces),
            quota: Quota::new(limits.total, limits.per_source, secret),
            share: Share::default(),
            limits,
            quote: vec![0; QUOTE].into_boxed_slice(),
            warned: false,
            warnings: 0,
            held: 0,
            evicted: 0,
            evictions: 0,
        }
    }

    /// Shares the budget of bytes with others of this pool.
    pub(crate) fn sharing(mut self, pool: &Arc<Pool>) -> Self {
        self.share = Share::of(Arc::clone(pool));
        self
    }

    /// Takes in a fragment that keeps the rules for one alone.
    fn take_in(
        &mut self,
        slab: &mut Slab,
        now: Instant,
        key: Key,
        arrival: &Arrival<'_>,
        scratch: &mut [u8],
        start: usize,
    ) -> Reassembled {
        let slot = match self.datagrams.find(&key) {
            Some(slot) => slot,
            None => match self.open(slab, now, key) {
                Ok(slot) => slot,
                Err(reason) => return refused(reason, 0),
            },
        };
        match self.fit(slab, slot, arrival) {
            Ok(()) => {}
            Err(Fit::Alone(reason)) => return refused(reason, 0),
            Err(Fit::Kill(reason)) => return refused(reason, self.kill(slab, slot, reason)),
        }
        let Some(datagram) = self.datagrams.get_mut(slot) else {
            return refused(DropReason::Internal, 0);
        };
        datagram.take(arrival);
        if datagram.end == Some(datagram.bytes) {
            let Some(datagram) = self.close(slot) else {
                return refused(DropReason::Internal, 0);
            };
            return self.complete(slab, datagram, arrival, scratch, start);
        }
        match self.hold(slab, now, slot, arrival) {
            Ok(()) => Reassembled::Held,
            Err(reason) => refused(reason, self.kill(slab, slot, reason)),
        }
    }

    /// Gives up what is older than the timeout. // R-128
    #[cfg(test)]
    fn expire(&mut self, slab: &mut Slab, now: Instant, out: &mut impl FnMut(Expired<'_>)) {
        while let Some(expired) = self.expire_next(slab, now) {
            out(expired);
        }
    }

    /// Gives up one datagram that is older than the timeout, tombstones aside. // R-128
    pub(crate) fn expire_next(&mut self, slab: &mut Slab, now: Instant) -> Option<Expired<'_>> {
        loop {
            let (slot, born) = self.datagrams.oldest()?;
            if born + self.limits.timeout > now {
                return None;
            }
            let key = self.datagrams.key(slot)?;
            let datagram = self.close(slot)?;
            let gathering = datagram.state == State::Gathering;
            let quoted = if gathering {
                self.read_first(slab, &datagram)
            } else {
                None
            };
            let fragments = datagram.count;
            self.pieces.clear(slab, datagram.pieces);
            if gathering {
                return Some(Expired {
                    fragments,
                    first: quoted.and_then(|len| self.quote.get(..len)),
                    src: key.src,
                    dst: key.dst,
                });
            }
        }
    }

    /// When the next datagram's time is up.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let (_, born) = self.datagrams.oldest()?;
        Some(born + self.limits.timeout)
    }

    /// How often memory or contexts came near their end, seven eighths; counted again only after a
    /// fall below three quarters. // R-139
    pub(crate) const fn warnings(&self) -> u64 {
        self.warnings
    }

    /// Whether half of the memory or of the contexts is in use, so that fragments from sources
    /// without a binding should be dropped as `Ipv6ReassemblyFull` instead of coming here.
    pub(crate) fn is_tight(&self) -> bool {
        self.above(4)
    }

    /// Fragments that are held.
    pub(crate) const fn held(&self) -> usize {
        self.held
    }

    /// How many held fragments have gone with an evicted datagram since the last call.
    pub(crate) const fn take_evicted(&mut self) -> usize {
        core::mem::replace(&mut self.evicted, 0)
    }

    /// How many datagrams, tombstones included, have made room for younger ones.
    pub(crate) const fn evictions(&self) -> u64 {
        self.evictions
    }

    /// Slab memory and contexts in use, tombstones included.
    #[cfg(test)]
    pub(crate) const fn usage(&self) -> Usage {
        self.quota.total()
    }

    fn open(&mut self, slab: &mut Slab, now: Instant, key: Key) -> Result<Slot, DropReason> {
        let charged = Usage {
            contexts: 1,
            ..Usage::default()
        };
        self.charge(slab, now, key.src, charged, None)?;
        let slot = self.datagrams.insert(now, key, Datagram::new(charged));
        if slot.is_none() {
            self.release(key.src, charged);
        }
        self.watch();
        slot.ok_or(self.family.full)
    }

    /// Charges `src`, at the expense of others than `of` where this family has it so. // R-140
    fn charge(
        &mut self,
        slab: &mut Slab,
        now: Instant,
        src: [u8; 16],
        more: Usage,
        of: Option<Slot>,
    ) -> Result<(), DropReason> {
        loop {
            match self.charge_both(now, src, more) {
                Ok(()) => return Ok(()),
                Err(Exceeded::Source) => return Err(self.family.quota),
                Err(Exceeded::Total) if self.family.evicts && self.evict(slab, of) => {}
                Err(Exceeded::Total) => return Err(self.family.full),
            }
        }
    }

    /// Charges the worker and the instance, or neither.
    fn charge_both(&mut self, now: Instant, src: [u8; 16], more: Usage) -> Result<(), Exceeded> {
        self.quota.charge(now, src, more)?;
        let held = self.quota.total().bytes;
        if self.share.ensure(self.limits.budget, held) {
            return Ok(());
        }
        self.release(src, more);
        Err(Exceeded::Total)
    }

    /// Gives back a share.
    fn release(&mut self, src: [u8; 16], less: Usage) {
        self.quota.release(src, less);
        let held = self.quota.total().bytes;
        self.share.settle(self.limits.budget, held);
    }

    /// Gives up the oldest datagram, unless that is `but`; false where there is none.
    fn evict(&mut self, slab: &mut Slab, but: Option<Slot>) -> bool {
        let oldest = self.datagrams.oldest().map(|(slot, _)| slot);
        let Some(datagram) = oldest
            .filter(|_| oldest != but)
            .and_then(|slot| self.close(slot))
        else {
            return false;
        };
        self.evicted += datagram.count;
        self.evictions += 1;
        self.pieces.clear(slab, datagram.pieces);
        true
    }

    /// Takes a datagram out and gives its share back; its pieces are left to the caller.
    fn close(&mut self, slot: Slot) -> Option<Datagram> {
        let (key, datagram) = self.datagrams.remove(slot)?;
        self.release(key.src, datagram.charged);
        self.held = self.held.saturating_sub(datagram.count);
        self.watch();
        Some(datagram)
    }

    /// Whether the fragment can belong to what is held.
    fn fit(&self, slab: &Slab, slot: Slot, arrival: &Arrival<'_>) -> Result<(), Fit> {
        let Some(datagram) = self.datagrams.get(slot) else {
            return Err(Fit::Alone(DropReason::Internal));
        };
        if let State::Dead(reason) = datagram.state {
            return Err(Fit::Alone(reason)); // also what arrives later
        }
        let Datagram { pieces, end, .. } = *datagram;
        if arrival.is_first() && datagram.first.is_some_and(|f| f.flow != arrival.first.flow) {
            // Which of the two the rest belongs to cannot be known.
            return Err(Fit::Kill(self.family.conflict));
        }
        match self.pieces.compare(slab, pieces, end, arrival) {
            Ok(()) => {}
            //
            Err(Misfit::Duplicate) => return Err(Fit::Alone(self.family.duplicate)),
            Err(Misfit::Overlap) => return Err(Fit::Kill(self.family.overlap)),
        }
        if datagram.count >= self.limits.fragments {
            return Err(Fit::Kill(self.family.count));
        }
        let headers = self.family.uncounted;
        if headers + arrival.end() > self.limits.path_mru + EXT_ALLOWANCE {
            return Err(Fit::Kill(self.family.too_big));
        }
        Ok(())
    }

    fn hold(
        &mut self,
        slab: &mut Slab,
        now: Instant,
        slot: Slot,
        arrival: &Arrival<'_>,
    ) -> Result<(), DropReason> {
        let key = self.datagrams.key(slot).ok_or(DropReason::Internal)?;
        let (bytes, skip) = if arrival.is_first() {
            let skip = arrival.packet.len().saturating_sub(arrival.data.len());
            (arrival.packet, skip) // kept whole, for its headers and for an ICMPv6 error
        } else {
            (arrival.data, 0)
        };
        let charge = Usage {
            contexts: 0,
            bytes: Slab::cost(bytes.len()),
            pieces: 1,
        };
        self.charge(slab, now, key.src, charge, Some(slot))?;
        let Some(stored) = slab.store(&[bytes]) else {
            self.release(key.src, charge);
            return Err(self.family.full);
        };
        let datagram = self.datagrams.get_mut(slot).ok_or(DropReason::Internal)?;
        let (list, offset) = (&mut datagram.pieces, arrival.offset);
        if let Err(stored) = self.pieces.insert(list, offset, skip, stored) {
            slab.free(stored); // not reached: there are as many pieces as chunks
            self.release(key.src, charge);
            return Err(self.family.full);
        }
        datagram.charged.bytes += charge.bytes;
        datagram.charged.pieces += 1;
        datagram.count += 1;
        self.held += 1;
        self.watch();
        Ok(())
    }

    /// Turns a datagram into a tombstone; returns how many fragments were lost with it.
    fn kill(&mut self, slab: &mut Slab, slot: Slot, reason: DropReason) -> usize {
        let key = self.datagrams.key(slot);
        let (Some(key), Some(datagram)) = (key, self.datagrams.get_mut(slot)) else {
            return 0;
        };
        let lost = core::mem::take(&mut datagram.count);
        self.held = self.held.saturating_sub(lost);
        let pieces = core::mem::replace(&mut datagram.pieces, List::EMPTY);
        datagram.state = State::Dead(reason);
        let freed = Usage {
            contexts: 0,
            ..datagram.charged
        };
        datagram.charged = Usage {
            contexts: 1,
            ..Usage::default()
        };
        self.release(key.src, freed);
        self.pieces.clear(slab, pieces);
        self.watch();
        lost
    }

    /// Writes the packet whose last gap `arrival` closed, and gives back what was held of it. In
    /// whichever order fragments came, each stands where its offset says.
    fn complete(
        &mut self,
        slab: &mut Slab,
        datagram: Datagram,
        arrival: &Arrival<'_>,
        scratch: &mut [u8],
        start: usize,
    ) -> Reassembled {
        let written = self.assemble(slab, &datagram, arrival, scratch, start);
        self.pieces.clear(slab, datagram.pieces);
        match written {
            Ok(len) => Reassembled::Complete {
                len,
                merged: datagram.count,
            },
            Err(reason) => refused(reason, datagram.count),
        }
    }

    fn assemble(
        &self,
        slab: &Slab,
        datagram: &Datagram,
        arrival: &Arrival<'_>,
        scratch: &mut [u8],
        start: usize,
    ) -> Result<usize, DropReason> {
        let first = datagram.first.ok_or(DropReason::Internal)?;
        let head_len = first.head_len;
        let len = head_len + datagram.bytes;
        // The fragment at offset 0 may have longer headers than the one R-131 was checked on.
        if len.saturating_sub(self.family.uncounted) > usize::from(u16::MAX) {
            return Err(self.family.too_long);
        }
        let packet = scratch
            .get_mut(start..start.saturating_add(len))
            .ok_or(DropReason::Internal)?;
        let (head, data) = packet
            .split_at_mut_checked(head_len)
            .ok_or(DropReason::Internal)?;
        if arrival.is_first() {
            head.copy_from_slice(arrival.packet.get(..head_len).ok_or(DropReason::Internal)?);
        }
        let room = data.get_mut(arrival.start()..arrival.end());
        room.ok_or(DropReason::Internal)?
            .copy_from_slice(arrival.data);
        for piece in self.pieces.iter(datagram.pieces) {
            if piece.offset() == 0 {
                piece.read_packet(slab, head);
            }
            let room = data
                .get_mut(piece.offset()..)
                .and_then(|room| room.get_mut(..piece.len()));
            piece.read(slab, room.ok_or(DropReason::Internal)?);
        }
        (self.family.finish)(packet, first, datagram.ecn, self.limits.path_mru)?;
        Ok(len)
    }

    /// Copies what an ICMPv6 error may quote of the first fragment; returns how much that is.
    fn read_first(&mut self, slab: &Slab, datagram: &Datagram) -> Option<usize> {
        let piece = self.pieces.iter(datagram.pieces).next()?;
        (piece.offset() == 0).then(|| piece.read_packet(slab, &mut self.quote))
    }

    /// Whether more than so many eighths of memory or contexts are in use. What other workers were
    /// granted counts as used.
    fn above(&self, eighths: usize) -> bool {
        let (used, limit) = (self.quota.total(), self.limits.total);
        let bytes = used.bytes + self.share.others();
        bytes > limit.bytes / 8 * eighths || used.contexts * 8 > limit.contexts * eighths
    }

    /// Notices when resources come near their end. // R-139
    fn watch(&mut self) {
        if !self.warned && self.above(7) {
            self.warned = true;
            self.warnings += 1;
        } else if self.warned && !self.above(6) {
            self.warned = false;
        }
    }
}

impl Datagram {
    fn new(charged: Usage) -> Self {
        Self {
            state: State::Gathering,
            pieces: List::EMPTY,
            count: 0,
            bytes: 0,
            end: None,
            first: None,
            ecn: EcnMix::default(),
            charged,
        }
    }

    /// Notes what a fragment that fits tells about the datagram.
    fn take(&mut self, arrival: &Arrival<'_>) {
        self.bytes += arrival.data.len();
        self.ecn.add(arrival.ecn);
        if !arrival.more {
            self.end = Some(arrival.end());
        }
        if arrival.is_first() {
            self.first = Some(arrival.first);
        }
    }
}

/// Why a fragment is not taken in.
enum Fit {
    /// It alone is dropped.
    Alone(DropReason),
    /// It takes its datagram along.
    Kill(DropReason),
}

/// A drop without an answer; one for lack of room must not have any. // R-170
const fn refused(reason: DropReason, lost: usize) -> Reassembled {
    Reassembled::Refused {
        reason,
        problem: None,
        lost,
    }
}
