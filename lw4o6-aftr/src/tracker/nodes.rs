//! The fragments of all datagrams that a tracker follows, in one array of fixed size.

use super::Piece;
use crate::slab::{Slab, Stored};

/// "No node" in links.
const NONE: u32 = u32::MAX;

/// Fragments of one datagram, in the order of arrival.
#[derive(Clone, Copy, Debug)]
pub(super) struct List {
    head: u32,
    tail: u32,
}

impl List {
    /// No fragments.
    pub(super) const EMPTY: Self = Self {
        head: NONE,
        tail: NONE,
    };
}

/// Where a fragment is.
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
pub(super) enum Relation {
    /// It lies in a gap.
    New,
    /// It was held, and comes back.
    Returning(u32),
    /// It was seen.
    Duplicate,
    /// It contradicts what was seen.
    Overlap,
}

#[derive(Debug)]
struct Node {
    next: u32,
    start: u16,
    end: u16,
    phase: Phase,
    stored: Stored,
}

/// Room for a number of fragments.
#[derive(Debug)]
pub(super) struct Nodes {
    nodes: Box<[Node]>,
    free: u32,
}

impl Nodes {
    /// Room for `count` fragments.
    pub(super) fn new(count: usize) -> Self {
        let free = (1..=count).map(|next| Node {
            next: match u32::try_from(next) {
                Ok(link) if next < count => link,
                _ => NONE,
            },
            start: 0,
            end: 0,
            phase: Phase::Passed,
            stored: Stored::EMPTY,
        });
        Self {
            nodes: free.collect(),
            free: 0,
        }
    }

    /// Whether there is room for one more.
    pub(super) fn has_room(&self) -> bool {
        (self.free as usize) < self.nodes.len()
    }

    /// Appends a fragment; with `hold` one that is stored. Without room it gives `hold` back.
    pub(super) fn push(
        &mut self,
        list: &mut List,
        piece: Piece,
        hold: Option<Stored>,
    ) -> Result<(), Option<Stored>> {
        let new = self.free;
        let Some(node) = self.nodes.get_mut(new as usize) else {
            return Err(hold);
        };
        self.free = node.next;
        let phase = match hold {
            Some(_) => Phase::Held,
            None => Phase::Passed,
        };
        *node = Node {
            next: NONE,
            start: piece.offset,
            end: piece.end(),
            phase,
            stored: hold.unwrap_or(Stored::EMPTY),
        };
        let last = core::mem::replace(&mut list.tail, new);
        match self.nodes.get_mut(last as usize) {
            Some(last) => last.next = new,
            None => list.head = new,
        }
        Ok(())
    }

    /// Compares a fragment with those of its datagram, which is `length` bytes long where that is
    /// known: it has to lie in a gap, and there is one end.
    pub(super) fn relate(&self, list: List, length: Option<u16>, piece: Piece) -> Relation {
        let (start, end) = (piece.offset, piece.end());
        let mut furthest = 0;
        let mut at = list.head;
        while let Some(node) = self.nodes.get(at as usize) {
            furthest = furthest.max(node.end);
            if start < node.end && node.start < end {
                let last = length == Some(node.end);
                let same = start == node.start && end == node.end && last != piece.more;
                return match node.phase {
                    _ if !same => Relation::Overlap,
                    Phase::Released => Relation::Returning(at),
                    Phase::Passed | Phase::Held => Relation::Duplicate,
                };
            }
            at = node.next;
        }
        let behind = match (length, piece.more) {
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

    /// Notes that a released fragment came back.
    pub(super) fn pass(&mut self, node: u32) {
        if let Some(node) = self.nodes.get_mut(node as usize) {
            node.phase = Phase::Passed;
        }
    }

    /// Takes the first held fragment out.
    pub(super) fn release(&mut self, list: List) -> Option<Stored> {
        let mut at = list.head;
        loop {
            let node = self.nodes.get_mut(at as usize)?;
            if node.phase == Phase::Held {
                node.phase = Phase::Released;
                return Some(node.stored.take());
            }
            at = node.next;
        }
    }

    /// Gives all fragments of a list back; returns how many were held.
    pub(super) fn clear(&mut self, slab: &mut Slab, list: List) -> usize {
        let mut held = 0;
        let mut at = list.head;
        while let Some(node) = self.nodes.get_mut(at as usize) {
            held += usize::from(node.phase == Phase::Held);
            node.phase = Phase::Passed;
            slab.free(node.stored.take());
            let next = core::mem::replace(&mut node.next, self.free);
            self.free = at;
            at = next;
        }
        held
    }
}
