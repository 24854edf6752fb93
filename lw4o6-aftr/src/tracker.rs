//! IPv4 fragments on shared addresses (RFC 7597 §8.3.2).
//!
//! Only the first fragment of a datagram has ports, so only it can be checked and looked up. What
//! was decided about it is remembered and holds for the rest, which is forwarded unchanged; what
//! comes before it is held back until it arrives. Nothing is reassembled here.
//!
//! A context goes as soon as every byte of its datagram has passed. A datagram that breaks a rule
//! leaves a tombstone behind until its time is up.
//!
//! Each source has a share of the memory, and either side three quarters of it at most, so that a
//! flood from one leaves the other its quarter. Where memory is short on the access side the
//! newcomer is refused, for the reason that [`reassembly`](crate::reassembly) gives. That does not
//! do on the other side: anybody on the Internet can forge sources, and 200 packets a second would
//! take all contexts for as long as they last. There, a fragment whose first one is known pushes
//! out the oldest context instead. Fragments that come in order need theirs for as long as a
//! datagram takes to arrive, milliseconds, so a flood has to be thousands of times stronger to
//! hurt them; what comes before its first fragment is still refused.
//!
//! A quarter of the slab is held at most. With the half that reassembly may take, a quarter is
//! always left for what goes out, so held fragments cannot bring the packet path to a halt.

use std::collections::VecDeque;

use lw4o6_wire::Instant;

use crate::config::FragmentConfig;
use crate::quota::{Exceeded, Quota, Usage};
use crate::share::{FollowedPools, Share};
use crate::slab::{Slab, Stored};
use crate::timed_map::{Slot, TimedMap};
use crate::{DropReason, Side};

use self::nodes::{List, Nodes, Relation};
pub(crate) use self::piece::{FragmentKey, Piece};

mod nodes;
mod piece;

#[cfg(test)]
mod tests;

/// Fragments remembered per context, on average over all of them.
const PIECES_PER_CONTEXT: usize = 8;

/// Least time a context is kept. // R-148
const MIN_TIMEOUT: core::time::Duration = core::time::Duration::from_secs(2);

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

/// The contexts of one side.
#[derive(Debug)]
struct Half<D> {
    contexts: TimedMap<FragmentKey, Context<D>>,
    quota: Quota,
    queued: Box<[bool]>, // by slot: is in `Tracker::releasing`
    held: usize,         // fragments
    share: Share,
}

/// Name of a context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct At {
    side: Side,
    slot: Slot,
}

/// Whether the oldest context of the same side may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Room {
    /// It may, on the side of the Internet.
    Make,
    /// It may not.
    Find,
}

/// Fragment contexts of one worker; `D` is what the packet path decides about a first fragment.
#[derive(Debug)]
pub(crate) struct Tracker<D> {
    halves: [Half<D>; 2],
    nodes: Nodes,
    releasing: VecDeque<At>,
    capacity: usize,
    held_bytes: usize,
    share: Share,
    given_up: usize, // held fragments that went with an evicted context, for `take_evicted`
    evictions: u64,
    limits: Limits,
}

/// The knobs, as they are in force.
#[derive(Clone, Copy, Debug)]
struct Limits {
    contexts: usize,
    bytes: usize,
    fragments: usize,
    timeout: core::time::Duration,
}

impl Limits {
    fn new(config: &FragmentConfig, capacity: usize) -> Self {
        Self {
            contexts: config.contexts.clamp(1, capacity),
            bytes: config.bytes,
            fragments: config.fragments,
            timeout: config.timeout.max(MIN_TIMEOUT),
        }
    }
}

impl<D: Copy> Tracker<D> {
    /// Contexts as configured; their number is fixed here.
    pub(crate) fn new(config: &FragmentConfig, secret: [u8; 16]) -> Self {
        let capacity = config.contexts.max(1);
        let half = |side| {
            let (all, source) = shares(config, capacity, side);
            let contexts = TimedMap::new(all.contexts, secret);
            Half {
                queued: vec![false; contexts.capacity()].into_boxed_slice(),
                contexts,
                quota: Quota::new(all, source, secret),
                held: 0,
                share: Share::default(),
            }
        };
        let halves = [half(Side::Softwire), half(Side::Internet)];
        let places = halves.iter().map(|half| half.queued.len()).sum();
        Self {
            halves,
            nodes: Nodes::new(capacity * PIECES_PER_CONTEXT),
            releasing: VecDeque::with_capacity(places), // each context stands in it once at most
            capacity,
            held_bytes: 0,
            share: Share::default(),
            given_up: 0,
            evictions: 0,
            limits: Limits::new(config, capacity),
        }
    }

    /// Shares the budgets of bytes with others of these pools.
    pub(crate) fn sharing(mut self, pools: FollowedPools) -> Self {
        self.share = Share::of(pools.all);
        for (half, pool) in self.halves.iter_mut().zip(pools.sides) {
            half.share = Share::of(pool);
        }
        self
    }

    /// Puts other limits in force. The number of contexts does not grow.
    pub(crate) fn reconfigure(&mut self, config: &FragmentConfig) {
        self.limits = Limits::new(config, self.capacity);
        for side in Side::ALL {
            let (all, source) = shares(config, self.capacity, side);
            self.half_mut(side).quota.set_limits(all, source);
            self.settle(side);
        }
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
        let at = self
            .find_or_open(slab, now, key, Room::Make)
            .map_err(alone)?;
        let context = self.context(at).ok_or(INTERNAL)?;
        match context.state {
            State::Dead(reason) => return Err(alone(reason)),
            State::Decided { ports, .. } if ports != piece.ports => {
                // which of the two the rest belongs to cannot be known
                return Err(self.kill(slab, at, DropReason::Ipv4FragmentConflict));
            }
            State::Waiting | State::Decided { .. } => {}
        }
        match self.nodes.relate(context.seen, context.end, piece) {
            Relation::New => {}
            Relation::Returning(_) | Relation::Duplicate => {
                return Err(alone(DropReason::Ipv4FragmentDuplicate));
            }
            Relation::Overlap => {
                return Err(self.kill(slab, at, DropReason::Ipv4FragmentOverlap));
            }
        }
        if let Err(reason) = self.note(slab, now, at, piece, None) {
            return Err(self.kill(slab, at, reason));
        }
        let context = self.context_mut(at).ok_or(INTERNAL)?;
        let ports = piece.ports;
        context.state = State::Decided { decision, ports };
        let released = context.waiting;
        let queued = self.half_mut(at.side).queued.get_mut(at.slot.index());
        if let Some(queued) = queued.filter(|queued| released > 0 && !**queued) {
            *queued = true;
            self.releasing.push_back(at);
        }
        self.close_if_done(slab, at);
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
        let at = match self.find_or_open(slab, now, key, Room::Find) {
            Ok(at) => at,
            Err(reason) => return Later::Refused(alone(reason)),
        };
        let Some(context) = self.context(at) else {
            return Later::Refused(INTERNAL);
        };
        let (decision, hold) = match context.state {
            State::Dead(reason) => return Later::Refused(alone(reason)),
            State::Waiting => (None, Some(hold)),
            State::Decided { decision, .. } => (Some(decision), None),
        };
        let noted = match self.nodes.relate(context.seen, context.end, piece) {
            Relation::New => self.note(slab, now, at, piece, hold),
            Relation::Returning(node) => {
                self.nodes.pass(node);
                if let Some(context) = self.context_mut(at) {
                    context.waiting = context.waiting.saturating_sub(1);
                }
                Ok(())
            }
            Relation::Duplicate => {
                return Later::Refused(alone(DropReason::Ipv4FragmentDuplicate));
            }
            Relation::Overlap => Err(DropReason::Ipv4FragmentOverlap),
        };
        match (noted, decision) {
            (Err(reason), _) => Later::Refused(self.kill(slab, at, reason)),
            (Ok(()), None) => Later::Held,
            (Ok(()), Some(decision)) => {
                self.close_if_done(slab, at);
                Later::Known(decision)
            }
        }
    }

    /// Notes that a first fragment was refused, so that the rest of its datagram is. Returns how
    /// many held fragments are discarded. // R-142
    pub(crate) fn refuse(&mut self, slab: &mut Slab, now: Instant, key: FragmentKey) -> usize {
        match self.find_or_open(slab, now, key, Room::Find) {
            Ok(at) => self.kill(slab, at, DropReason::FragmentRefused).lost,
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
        while let Some(&at) = self.releasing.front() {
            if let Some(stored) = self.take_held(at) {
                let room = scratch
                    .get_mut(start..)
                    .and_then(|room| room.get_mut(..stored.len()));
                let len = room.map_or(0, |room| slab.read(&stored, 0, room));
                slab.free(stored);
                return Some((at.side, len));
            }
            self.releasing.pop_front();
            let queued = self.half_mut(at.side).queued.get_mut(at.slot.index());
            if let Some(queued) = queued {
                *queued = false;
            }
        }
        None
    }

    /// Forgets a context of a side that is older than the timeout; returns how many held fragments
    /// are given up with it. // R-148
    pub(crate) fn expire_next(
        &mut self,
        slab: &mut Slab,
        now: Instant,
        side: Side,
    ) -> Option<(FragmentKey, usize)> {
        let (slot, born) = self.half(side).contexts.oldest()?;
        if born + self.limits.timeout > now {
            return None;
        }
        let key = self.half(side).contexts.key(slot)?;
        Some((key, self.close(slab, At { side, slot })))
    }

    /// Fragments of a side that are held, or were and have not been reported as given up.
    pub(crate) const fn held(&self, side: Side) -> usize {
        match side {
            Side::Softwire => self.half(side).held,
            Side::Internet => self.half(side).held + self.given_up,
        }
    }

    /// How many held fragments went with evicted contexts since the last call. Only the side of the
    /// Internet evicts.
    pub(crate) const fn take_evicted(&mut self, side: Side) -> usize {
        match side {
            Side::Softwire => 0,
            Side::Internet => core::mem::replace(&mut self.given_up, 0),
        }
    }

    /// When the next context's time is up.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let oldest = self.halves.iter().filter_map(|half| half.contexts.oldest());
        let (_, born) = oldest.min_by_key(|(_, born)| *born)?;
        Some(born + self.limits.timeout)
    }

    /// What is in use on one side.
    pub(crate) fn usage(&self, side: Side) -> Usage {
        self.half(side).quota.total()
    }

    /// How many contexts had to make room for younger ones.
    pub(crate) const fn evictions(&self) -> u64 {
        self.evictions
    }

    fn find_or_open(
        &mut self,
        slab: &mut Slab,
        now: Instant,
        key: FragmentKey,
        room: Room,
    ) -> Result<At, DropReason> {
        let side = key.side();
        if let Some(slot) = self.half(side).contexts.find(&key) {
            return Ok(At { side, slot });
        }
        let charged = Usage {
            contexts: 1,
            ..Usage::default()
        };
        self.charge(slab, now, key, charged, room, None)?;
        let half = self.half_mut(side);
        match half.contexts.insert(now, key, Context::new(charged)) {
            Some(slot) => Ok(At { side, slot }),
            None => {
                half.quota.release(key.source(), charged);
                Err(DropReason::Ipv4FragmentFull)
            }
        }
    }

    /// Charges the source of `key`, with `Room::Make` at the expense of older contexts other than
    /// `keep`.
    fn charge(
        &mut self,
        slab: &mut Slab,
        now: Instant,
        key: FragmentKey,
        more: Usage,
        room: Room,
        keep: Option<At>,
    ) -> Result<(), DropReason> {
        let side = key.side();
        loop {
            let contexts: usize = Side::ALL.map(|side| self.usage(side).contexts).iter().sum();
            let bytes = self.limits.bytes.min(slab.capacity() / 4);
            let fits = contexts + more.contexts <= self.limits.contexts
                && (more.pieces == 0 || self.nodes.has_room())
                && self.held_bytes + more.bytes <= bytes
                && self.usage(side).bytes + more.bytes <= three_quarters(bytes)
                && more.bytes <= slab.free_bytes()
                && self.ensure(side, more.bytes);
            let charged = if fits {
                let quota = &mut self.half_mut(side).quota;
                quota.charge(now, key.source(), more)
            } else {
                Err(Exceeded::Total)
            };
            match charged {
                Ok(()) => return Ok(()),
                Err(Exceeded::Source) => return Err(DropReason::Ipv4FragmentQuota),
                Err(Exceeded::Total) => {}
            }
            let evict = room == Room::Make && side == Side::Internet;
            if !(evict && self.evict(slab, side, keep)) {
                return Err(DropReason::Ipv4FragmentFull);
            }
        }
    }

    /// Whether the instance lets this worker hold so many bytes more.
    fn ensure(&mut self, side: Side, more: usize) -> bool {
        let (all, held) = (self.limits.bytes, self.held_bytes + more);
        let half = self.half_mut(side);
        let held_here = half.quota.total().bytes + more;
        half.share.ensure(three_quarters(all), held_here) && self.share.ensure(all, held)
    }

    /// Gives back to the instance what is not needed any more.
    fn settle(&mut self, side: Side) {
        let all = self.limits.bytes;
        self.share.settle(all, self.held_bytes);
        let half = self.half_mut(side);
        let held = half.quota.total().bytes;
        half.share.settle(three_quarters(all), held);
    }

    /// Takes the oldest context of a side out, if there is one beside `keep`.
    fn evict(&mut self, slab: &mut Slab, side: Side, keep: Option<At>) -> bool {
        let oldest = self.half(side).contexts.oldest();
        let oldest = oldest.map(|(slot, _)| At { side, slot });
        let Some(at) = oldest.filter(|_| oldest != keep) else {
            return false;
        };
        self.given_up += self.close(slab, at);
        self.evictions += 1;
        true
    }

    /// Notes a fragment that fits, and stores it where `hold` is given.
    fn note(
        &mut self,
        slab: &mut Slab,
        now: Instant,
        at: At,
        piece: Piece,
        hold: Option<&[&[u8]]>,
    ) -> Result<(), DropReason> {
        let key = self.half(at.side).contexts.key(at.slot);
        let key = key.ok_or(DropReason::Internal)?;
        let context = self.context(at).ok_or(DropReason::Internal)?;
        if context.count >= self.limits.fragments {
            return Err(DropReason::Ipv4FragmentCount);
        }
        let len = hold.map_or(0, |parts| parts.iter().map(|part| part.len()).sum());
        let charge = Usage {
            contexts: 0,
            bytes: Slab::cost(len),
            pieces: 1,
        };
        let room = match hold {
            Some(_) => Room::Find,
            None => Room::Make,
        };
        self.charge(slab, now, key, charge, room, Some(at))?;
        self.held_bytes += charge.bytes;
        let stored = hold.and_then(|parts| slab.store(parts)); // room was checked
        let Self { halves, nodes, .. } = self;
        let half = half_of(halves, at.side);
        let context = half.contexts.get_mut(at.slot);
        let context = context.ok_or(DropReason::Internal)?;
        context.charged.bytes += charge.bytes;
        context.charged.pieces += 1;
        context.count += 1;
        context.covered += usize::from(piece.len);
        context.waiting += usize::from(hold.is_some());
        if !piece.more {
            context.end = Some(piece.end());
        }
        match nodes.push(&mut context.seen, piece, stored) {
            Ok(()) => {
                half.held += usize::from(hold.is_some());
                Ok(())
            }
            Err(stored) => {
                slab.free(stored.unwrap_or(Stored::EMPTY)); // not reached: room was checked
                Err(DropReason::Internal)
            }
        }
    }

    /// Takes the first held fragment of a decided datagram out of its context.
    fn take_held(&mut self, at: At) -> Option<Stored> {
        let Self { halves, nodes, .. } = self;
        let half = half_of(halves, at.side);
        let key = half.contexts.key(at.slot)?;
        let context = half.contexts.get_mut(at.slot)?;
        let State::Decided { .. } = context.state else {
            return None; // the slot is another datagram's by now
        };
        let stored = nodes.release(context.seen)?;
        let freed = Usage {
            bytes: Slab::cost(stored.len()),
            ..Usage::default()
        };
        context.charged.bytes = context.charged.bytes.saturating_sub(freed.bytes);
        half.held = half.held.saturating_sub(1);
        half.quota.release(key.source(), freed);
        self.held_bytes = self.held_bytes.saturating_sub(freed.bytes);
        self.settle(at.side);
        Some(stored)
    }

    /// Turns a context into a tombstone.
    fn kill(&mut self, slab: &mut Slab, at: At, reason: DropReason) -> Refusal {
        let half = self.half_mut(at.side);
        let key = half.contexts.key(at.slot);
        let (Some(key), Some(context)) = (key, half.contexts.get_mut(at.slot)) else {
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
        half.quota.release(key.source(), freed);
        self.held_bytes = self.held_bytes.saturating_sub(freed.bytes);
        let lost = self.clear(slab, at.side, old.seen);
        Refusal { reason, lost }
    }

    /// Removes the context of a datagram of which nothing can come any more.
    fn close_if_done(&mut self, slab: &mut Slab, at: At) {
        let done = self.context(at).is_some_and(|context| {
            let whole = context.end.map(usize::from) == Some(context.covered);
            whole && context.waiting == 0
        });
        if done {
            self.close(slab, at);
        }
    }

    /// Removes a context; returns how many fragments it held.
    fn close(&mut self, slab: &mut Slab, at: At) -> usize {
        let half = self.half_mut(at.side);
        let Some((key, context)) = half.contexts.remove(at.slot) else {
            return 0;
        };
        half.quota.release(key.source(), context.charged);
        self.held_bytes = self.held_bytes.saturating_sub(context.charged.bytes);
        self.clear(slab, at.side, context.seen)
    }

    /// Gives back what a context remembers; returns how many fragments it held.
    fn clear(&mut self, slab: &mut Slab, side: Side, seen: List) -> usize {
        self.settle(side);
        let lost = self.nodes.clear(slab, seen);
        let half = self.half_mut(side);
        half.held = half.held.saturating_sub(lost);
        lost
    }

    fn context(&self, at: At) -> Option<&Context<D>> {
        self.half(at.side).contexts.get(at.slot)
    }

    fn context_mut(&mut self, at: At) -> Option<&mut Context<D>> {
        self.half_mut(at.side).contexts.get_mut(at.slot)
    }

    const fn half(&self, side: Side) -> &Half<D> {
        let [softwire, internet] = &self.halves;
        match side {
            Side::Softwire => softwire,
            Side::Internet => internet,
        }
    }

    const fn half_mut(&mut self, side: Side) -> &mut Half<D> {
        half_of(&mut self.halves, side)
    }
}

/// One side's half, where the rest of a tracker is borrowed as well.
const fn half_of<D>(halves: &mut [Half<D>; 2], side: Side) -> &mut Half<D> {
    let [softwire, internet] = halves;
    match side {
        Side::Softwire => softwire,
        Side::Internet => internet,
    }
}

impl<D> Context<D> {
    const fn new(charged: Usage) -> Self {
        Self {
            state: State::Waiting,
            seen: List::EMPTY,
            count: 0,
            covered: 0,
            end: None,
            waiting: 0,
            charged,
        }
    }
}

/// What one side and what one source of it may hold.
fn shares(config: &FragmentConfig, capacity: usize, side: Side) -> (Usage, Usage) {
    let contexts = config.contexts.clamp(1, capacity);
    let all = Usage {
        contexts: three_quarters(contexts).max(1),
        bytes: usize::MAX, // depends on the slab, see `Tracker::charge`
        pieces: three_quarters(capacity * PIECES_PER_CONTEXT),
    };
    // On the Internet old contexts make room, so a large server may have more of them.
    let part = match side {
        Side::Softwire => 16,
        Side::Internet => 4,
    };
    let source = Usage {
        contexts: (contexts / part).max(8),
        bytes: config.bytes_per_source,
        pieces: (all.pieces / 4).max(config.fragments),
    };
    (all, source)
}

const fn three_quarters(all: usize) -> usize {
    all - all / 4
}

/// A broken invariant.
const INTERNAL: Refusal = alone(DropReason::Internal);

const fn alone(reason: DropReason) -> Refusal {
    Refusal { reason, lost: 0 }
}
