//! IPv4 fragments on shared addresses (RFC 7597 §8.3.2).
//!
//! Only the first fragment of a datagram has ports, so only it can be checked and looked up. What
//! was decided about it is remembered and holds for the rest, which is forwarded unchanged; what
//! comes before it is held back until it arrives. Nothing is reassembled.
//!
//! A context goes as soon as every byte of its datagram has passed. A datagram that breaks a rule
//! leaves a tombstone behind until its time is up.
//!
//! Where memory is short the newcomer is refused, for the reason that
//! [`reassembly`](crate::reassembly) gives. Sources on the Internet are easily forged, so the shares
//! by source are not enough there: either side gets three quarters of everything at most, and a
//! flood from one leaves the other its quarter.

use std::collections::VecDeque;

use lw4o6_wire::Instant;

use crate::config::FragmentConfig;
use crate::quota::{Exceeded, Quota, Usage};
use crate::slab::{Slab, Stored};
use crate::timed_map::{Slot, TimedMap};
use crate::{DropReason, Side};

pub(crate) use self::piece::{FragmentKey, Piece};

mod piece;

#[cfg(test)]
mod tests;

/// Fragments remembered per context, on average over all of them.
const PIECES_PER_CONTEXT: usize = 8;

/// Least time a context is kept. // R-148
const MIN_TIMEOUT: core::time::Duration = core::time::Duration::from_secs(2);

/// "No piece" in links.
const NONE: u32 = u32::MAX;

/// What becomes of a fragment that is not the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Later<D> {
    /// What was decided about its first fragment.
    Known(D),
    /// It is kept until the first one arrives.
    Held,
    /// It is dropped.
    Refused(Refusal),
}

/// Why a fragment is dropped, and what goes with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// Why.
    pub(crate) reason: DropReason,
    /// Held fragments of the same datagram that are discarded with it.
    pub(crate) lost: usize,
}

/// What is known of a datagram.
#[derive(Debug)]
struct Context<D> {
    state: State<D>,
    seen: List,
    count: usize,
    covered: usize,   // bytes of the datagram seen
    end: Option<u16>, // its length, known from the last fragment
    waiting: usize,   // fragments held, or released and not seen again
    charged: Usage,
}

#[derive(Clone, Copy, Debug)]
enum State<D> {
    /// The first fragment has not arrived.
    Waiting,
    /// It has.
    Decided { decision: D, ports: Option<u32> },
    /// Given up for this reason; a tombstone.
    Dead(DropReason),
}

/// Fragments in the order of arrival.
#[derive(Clone, Copy, Debug)]
struct List {
    head: u32,
    tail: u32,
}

/// A fragment that was seen.
#[derive(Debug)]
struct Node {
    next: u32,
    start: u16,
    end: u16,
    phase: Phase,
    stored: Stored,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// It has gone on.
    Passed,
    /// It is in the slab.
    Held,
    /// It was taken out of the slab and is about to come back.
    Released,
}

/// How a fragment relates to those that were seen.
enum Relation {
    New,
    Returning(u32), // node of the fragment that was released
    Duplicate,
    Overlap,
}

/// Fragment contexts of one worker; `D` is what the packet path decides about a first fragment.
#[derive(Debug)]
pub(crate) struct Tracker<D> {
    contexts: TimedMap<FragmentKey, Context<D>>,
    nodes: Box<[Node]>,
    free_node: u32,
    quotas: [Quota; 2], // by side
    releasing: VecDeque<Slot>,
    queued: Box<[bool]>, // by slot: is in `releasing`
    held_bytes: usize,
    max_bytes: usize,
    fragments: usize,
    timeout: core::time::Duration,
}

impl<D: Copy> Tracker<D> {
    /// Contexts as configured; their number is fixed here.
    pub(crate) fn new(config: &FragmentConfig, secret: [u8; 16]) -> Self {
        let contexts = TimedMap::new(config.contexts, secret);
        let capacity = contexts.capacity();
        let nodes = capacity * PIECES_PER_CONTEXT;
        let free = (1..=nodes).map(|next| Node {
            next: match u32::try_from(next) {
                Ok(link) if next < nodes => link,
                _ => NONE,
            },
            start: 0,
            end: 0,
            phase: Phase::Passed,
            stored: Stored::EMPTY,
        });
        let (side, source) = shares(config, capacity);
        Self {
            contexts,
            nodes: free.collect(),
            free_node: 0,
            quotas: [
                Quota::new(side, source, secret),
                Quota::new(side, source, secret),
            ],
            releasing: VecDeque::with_capacity(capacity),
            queued: vec![false; capacity].into_boxed_slice(),
            held_bytes: 0,
            max_bytes: config.bytes,
            fragments: config.fragments,
            timeout: config.timeout.max(MIN_TIMEOUT),
        }
    }

    /// Puts other limits in force. The number of contexts stays.
    pub(crate) fn reconfigure(&mut self, config: &FragmentConfig) {
        let (side, source) = shares(config, self.contexts.capacity());
        for quota in &mut self.quotas {
            quota.set_limits(side, source);
        }
        self.max_bytes = config.bytes;
        self.fragments = config.fragments;
        self.timeout = config.timeout.max(MIN_TIMEOUT);
    }

    /// Notes what was decided about a first fragment. Returns how many held fragments can be taken
    /// out by [`take_released`](Self::take_released) now. // R-141, R-142
    ///
    /// # Errors
    ///
    /// Why it is dropped after all.
    pub(crate) fn first(
        &mut self,
        slab: &mut Slab,
        now: Instant,
        key: FragmentKey,
        piece: Piece,
        decision: D,
    ) -> Result<usize, Refusal> {
        let slot = self.find_or_open(now, key).map_err(alone)?;
        let context = self.contexts.get(slot).ok_or(INTERNAL)?;
        match context.state {
            State::Dead(reason) => return Err(alone(reason)),
            State::Waiting => {}
            State::Decided { ports, .. } if ports != piece.ports => {
                // which of the two the rest belongs to cannot be known
                return Err(self.kill(slab, slot, DropReason::Ipv4FragmentConflict));
            }
            State::Decided { .. } => {}
        }
        match self.relate(context, piece) {
            Relation::New | Relation::Returning(_) => {}
            Relation::Duplicate => return Err(alone(DropReason::Ipv4FragmentDuplicate)),
            Relation::Overlap => {
                return Err(self.kill(slab, slot, DropReason::Ipv4FragmentOverlap));
            }
        }
        if let Err(reason) = self.note(slab, now, slot, piece, None) {
            return Err(self.kill(slab, slot, reason));
        }
        let context = self.contexts.get_mut(slot).ok_or(INTERNAL)?;
        let ports = piece.ports;
        context.state = State::Decided { decision, ports };
        let released = context.waiting;
        let queued = self.queued.get_mut(slot.index());
        if let Some(queued) = queued.filter(|queued| released > 0 && !**queued) {
            *queued = true;
            self.releasing.push_back(slot);
        }
        self.close_if_done(slot);
        Ok(released)
    }

    /// Asks what becomes of a fragment that is not the first. `hold` is the frame as it was
    /// received, in parts.
    pub(crate) fn later(
        &mut self,
        slab: &mut Slab,
        now: Instant,
        key: FragmentKey,
        piece: Piece,
        hold: &[&[u8]],
    ) -> Later<D> {
        let slot = match self.find_or_open(now, key) {
            Ok(slot) => slot,
            Err(reason) => return Later::Refused(alone(reason)),
        };
        let Some(context) = self.contexts.get(slot) else {
            return Later::Refused(INTERNAL);
        };
        let (decision, hold) = match context.state {
            State::Dead(reason) => return Later::Refused(alone(reason)),
            State::Waiting => (None, Some(hold)),
            State::Decided { decision, .. } => (Some(decision), None),
        };
        let noted = match self.relate(context, piece) {
            Relation::New => self.note(slab, now, slot, piece, hold),
            Relation::Returning(node) => {
                self.passed(slot, node);
                Ok(())
            }
            Relation::Duplicate => {
                return Later::Refused(alone(DropReason::Ipv4FragmentDuplicate));
            }
            Relation::Overlap => Err(DropReason::Ipv4FragmentOverlap),
        };
        match (noted, decision) {
            (Err(reason), _) => Later::Refused(self.kill(slab, slot, reason)),
            (Ok(()), None) => Later::Held,
            (Ok(()), Some(decision)) => {
                self.close_if_done(slot);
                Later::Known(decision)
            }
        }
    }

    /// Notes that a first fragment was refused, so that the rest of its datagram is. Returns how
    /// many held fragments are discarded. // R-142
    pub(crate) fn refuse(&mut self, slab: &mut Slab, now: Instant, key: FragmentKey) -> usize {
        match self.find_or_open(now, key) {
            Ok(slot) => self.kill(slab, slot, DropReason::FragmentRefused).lost,
            Err(_) => 0, // without a tombstone the rest waits in vain, which is no harm
        }
    }

    /// Takes out the next held fragment whose first one has arrived, and writes the frame to
    /// `scratch` from `start` on. To be run through the packet path again, where
    /// [`later`](Self::later) knows it. A frame that does not fit `scratch` comes back as 0 bytes.
    pub(crate) fn take_released(
        &mut self,
        slab: &mut Slab,
        scratch: &mut [u8],
        start: usize,
    ) -> Option<(Side, usize)> {
        while let Some(&slot) = self.releasing.front() {
            if let Some(released) = self.take_held(slab, slot, scratch, start) {
                return Some(released);
            }
            self.releasing.pop_front();
            if let Some(queued) = self.queued.get_mut(slot.index()) {
                *queued = false;
            }
        }
        None
    }

    /// Forgets contexts that are older than the timeout; returns how many held fragments are given
    /// up with them. // R-148
    pub(crate) fn expire(&mut self, slab: &mut Slab, now: Instant) -> usize {
        let mut lost = 0;
        while let Some((slot, born)) = self.contexts.oldest() {
            if born + self.timeout > now {
                break;
            }
            lost += self.kill(slab, slot, DropReason::FragmentNoFirst).lost;
            self.close(slot);
        }
        lost
    }

    /// When the next context's time is up.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let (_, born) = self.contexts.oldest()?;
        Some(born + self.timeout)
    }

    /// What is in use on one side.
    pub(crate) fn usage(&self, side: Side) -> Usage {
        let [softwire, internet] = &self.quotas;
        match side {
            Side::Softwire => softwire.total(),
            Side::Internet => internet.total(),
        }
    }

    fn quota(&mut self, side: Side) -> &mut Quota {
        let [softwire, internet] = &mut self.quotas;
        match side {
            Side::Softwire => softwire,
            Side::Internet => internet,
        }
    }

    fn find_or_open(&mut self, now: Instant, key: FragmentKey) -> Result<Slot, DropReason> {
        if let Some(slot) = self.contexts.find(&key) {
            return Ok(slot);
        }
        let charged = Usage {
            contexts: 1,
            ..Usage::default()
        };
        let quota = self.quota(key.side());
        quota
            .charge(now, key.source(), charged)
            .map_err(full_reason)?;
        let slot = self.contexts.insert(now, key, Context::new(charged));
        if slot.is_none() {
            self.quota(key.side()).release(key.source(), charged);
        }
        slot.ok_or(DropReason::Ipv4FragmentFull)
    }

    fn relate(&self, context: &Context<D>, piece: Piece) -> Relation {
        let (start, end) = (piece.offset, piece.end());
        let mut furthest = 0;
        let mut at = context.seen.head;
        while let Some(node) = self.nodes.get(at as usize) {
            furthest = furthest.max(node.end);
            if start < node.end && node.start < end {
                let last = context.end == Some(node.end);
                let same = start == node.start && end == node.end && last != piece.more;
                return match node.phase {
                    _ if !same => Relation::Overlap,
                    Phase::Released => Relation::Returning(at),
                    Phase::Passed | Phase::Held => Relation::Duplicate,
                };
            }
            at = node.next;
        }
        // Nothing may lie behind the last fragment, and there is one of those.
        let behind = match (context.end, piece.more) {
            (Some(known), true) => end > known,
            (Some(_), false) => true,
            (None, true) => false,
            (None, false) => furthest > start,
        };
        if behind {
            Relation::Overlap
        } else {
            Relation::New
        }
    }

    /// Notes a fragment that fits, and stores it where `hold` is given.
    fn note(
        &mut self,
        slab: &mut Slab,
        now: Instant,
        slot: Slot,
        piece: Piece,
        hold: Option<&[&[u8]]>,
    ) -> Result<(), DropReason> {
        let key = self.contexts.key(slot).ok_or(DropReason::Internal)?;
        let count = self.contexts.get(slot).map_or(0, |context| context.count);
        if count >= self.fragments {
            return Err(DropReason::Ipv4FragmentCount);
        }
        let held = hold.unwrap_or_default();
        let len: usize = held.iter().map(|part| part.len()).sum();
        let charge = Usage {
            contexts: 0,
            bytes: Slab::cost(len),
            pieces: 1,
        };
        let enough = self.held_bytes + charge.bytes <= self.max_bytes
            && (self.free_node as usize) < self.nodes.len()
            && len.div_ceil(crate::slab::CHUNK) * crate::slab::CHUNK <= slab.free_bytes();
        if !enough {
            return Err(DropReason::Ipv4FragmentFull);
        }
        let quota = self.quota(key.side());
        let charged = quota.charge(now, key.source(), charge);
        charged.map_err(full_reason)?;
        let stored = slab.store(held).unwrap_or(Stored::EMPTY); // room was checked
        let new = self.free_node;
        let (Some(context), Some(node)) = (
            self.contexts.get_mut(slot),
            self.nodes.get_mut(new as usize),
        ) else {
            slab.free(stored); // not reached: both were found above
            return Err(DropReason::Internal);
        };
        self.free_node = node.next;
        *node = Node {
            next: NONE,
            start: piece.offset,
            end: piece.end(),
            phase: if hold.is_some() {
                Phase::Held
            } else {
                Phase::Passed
            },
            stored,
        };
        self.held_bytes += charge.bytes;
        context.charged.bytes += charge.bytes;
        context.charged.pieces += 1;
        context.count += 1;
        context.covered += usize::from(piece.len);
        context.waiting += usize::from(hold.is_some());
        if !piece.more {
            context.end = Some(piece.end());
        }
        let last = core::mem::replace(&mut context.seen.tail, new);
        match self.nodes.get_mut(last as usize) {
            Some(last) => last.next = new,
            None => context.seen.head = new,
        }
        Ok(())
    }

    /// Notes that a released fragment came back.
    fn passed(&mut self, slot: Slot, node: u32) {
        if let Some(node) = self.nodes.get_mut(node as usize) {
            node.phase = Phase::Passed;
        }
        if let Some(context) = self.contexts.get_mut(slot) {
            context.waiting = context.waiting.saturating_sub(1);
        }
    }

    /// Takes the first held fragment of a decided datagram out of the slab.
    fn take_held(
        &mut self,
        slab: &mut Slab,
        slot: Slot,
        scratch: &mut [u8],
        start: usize,
    ) -> Option<(Side, usize)> {
        let key = self.contexts.key(slot)?;
        let context = self.contexts.get_mut(slot)?;
        let State::Decided { .. } = context.state else {
            return None; // the slot is another datagram's by now
        };
        let mut at = context.seen.head;
        let node = loop {
            let node = self.nodes.get(at as usize)?;
            if node.phase == Phase::Held {
                break self.nodes.get_mut(at as usize)?;
            }
            at = node.next;
        };
        node.phase = Phase::Released;
        let stored = node.stored.take();
        let len = stored.len();
        let freed = Usage {
            bytes: Slab::cost(len),
            ..Usage::default()
        };
        context.charged.bytes = context.charged.bytes.saturating_sub(freed.bytes);
        self.held_bytes = self.held_bytes.saturating_sub(freed.bytes);
        self.quota(key.side()).release(key.source(), freed);
        let room = scratch
            .get_mut(start..)
            .and_then(|room| room.get_mut(..len));
        let len = room.map_or(0, |room| slab.read(&stored, 0, room));
        slab.free(stored);
        Some((key.side(), len))
    }

    /// Turns a context into a tombstone.
    fn kill(&mut self, slab: &mut Slab, slot: Slot, reason: DropReason) -> Refusal {
        let key = self.contexts.key(slot);
        let (Some(key), Some(context)) = (key, self.contexts.get_mut(slot)) else {
            return INTERNAL;
        };
        let tombstone = Usage {
            contexts: 1,
            ..Usage::default()
        };
        let old = core::mem::replace(context, Context::new(tombstone));
        context.state = State::Dead(reason);
        let freed = Usage {
            contexts: 0,
            ..old.charged
        };
        self.held_bytes = self.held_bytes.saturating_sub(freed.bytes);
        self.quota(key.side()).release(key.source(), freed);
        let lost = self.free_nodes(slab, old.seen.head);
        Refusal { reason, lost }
    }

    /// Removes the context of a datagram of which nothing can come any more.
    fn close_if_done(&mut self, slot: Slot) {
        let done = self.contexts.get(slot).is_some_and(|context| {
            let whole = context.end.map(usize::from) == Some(context.covered);
            whole && context.waiting == 0
        });
        if done {
            self.close(slot);
        }
    }

    /// Removes a context that holds no frames.
    fn close(&mut self, slot: Slot) {
        if let Some((key, context)) = self.contexts.remove(slot) {
            self.quota(key.side())
                .release(key.source(), context.charged);
            let mut at = context.seen.head;
            while let Some(next) = self.free_one(at) {
                at = next;
            }
        }
    }

    /// Gives nodes and what they hold back; returns how many held a frame.
    fn free_nodes(&mut self, slab: &mut Slab, mut at: u32) -> usize {
        let mut held = 0;
        while let Some(node) = self.nodes.get_mut(at as usize) {
            held += usize::from(node.phase == Phase::Held);
            slab.free(node.stored.take());
            let Some(next) = self.free_one(at) else {
                break;
            };
            at = next;
        }
        held
    }

    /// Gives a node back; returns the one behind it.
    fn free_one(&mut self, at: u32) -> Option<u32> {
        let node = self.nodes.get_mut(at as usize)?;
        let next = core::mem::replace(&mut node.next, self.free_node);
        node.phase = Phase::Passed;
        self.free_node = at;
        Some(next)
    }
}

impl<D> Context<D> {
    const fn new(charged: Usage) -> Self {
        Self {
            state: State::Waiting,
            seen: List {
                head: NONE,
                tail: NONE,
            },
            count: 0,
            covered: 0,
            end: None,
            waiting: 0,
            charged,
        }
    }
}

/// What one side and what one source may hold.
fn shares(config: &FragmentConfig, capacity: usize) -> (Usage, Usage) {
    let contexts = config.contexts.clamp(1, capacity);
    let three_quarters = |all: usize| (all - all / 4).max(1);
    let side = Usage {
        contexts: three_quarters(contexts),
        bytes: three_quarters(config.bytes),
        pieces: three_quarters(capacity * PIECES_PER_CONTEXT),
    };
    let source = Usage {
        contexts: (contexts / 16).max(8),
        bytes: config.bytes_per_source,
        pieces: (side.pieces / 4).max(config.fragments),
    };
    (side, source)
}

/// A broken invariant.
const INTERNAL: Refusal = alone(DropReason::Internal);

const fn alone(reason: DropReason) -> Refusal {
    Refusal { reason, lost: 0 }
}

const fn full_reason(exceeded: Exceeded) -> DropReason {
    match exceeded {
        Exceeded::Source => DropReason::Ipv4FragmentQuota,
        Exceeded::Total => DropReason::Ipv4FragmentFull,
    }
}
