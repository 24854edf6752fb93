//! The held fragments of all datagrams, in one array of fixed size.

use super::arrival::Arrival;
use crate::slab::{Slab, Stored};

/// "No piece" in links.
const NONE: u32 = u32::MAX;

/// The held fragments of one datagram, by offset.
#[derive(Clone, Copy, Debug)]
pub(super) struct List(u32);

impl List {
    /// No fragments.
    pub(super) const EMPTY: Self = Self(NONE);
}

/// A held fragment.
#[derive(Debug)]
pub(super) struct Piece {
    next: u32,
    offset: u32, // in the fragmentable part
    skip: u32,   // bytes of `stored` before the data; only the one at offset 0 keeps its headers
    stored: Stored,
}

impl Piece {
    /// Where its data goes in the fragmentable part, in bytes.
    pub(super) const fn offset(&self) -> usize {
        self.offset as usize
    }

    /// Bytes of its data.
    pub(super) const fn len(&self) -> usize {
        self.stored.len().saturating_sub(self.skip as usize)
    }

    /// Copies its data; returns how much that is.
    pub(super) fn read(&self, slab: &Slab, out: &mut [u8]) -> usize {
        slab.read(&self.stored, self.skip as usize, out)
    }

    /// Copies the packet it came in, whose headers only the one at offset 0 keeps.
    pub(super) fn read_packet(&self, slab: &Slab, out: &mut [u8]) -> usize {
        slab.read(&self.stored, 0, out)
    }
}

/// Why a fragment does not fit those that are held.
pub(super) enum Misfit {
    /// It is one of them.
    Duplicate,
    /// It contradicts them.
    Overlap,
}

/// Room for a number of fragments.
#[derive(Debug)]
pub(super) struct Pieces {
    pieces: Box<[Piece]>,
    free: u32,
}

impl Pieces {
    /// Room for `count` fragments.
    pub(super) fn new(count: usize) -> Self {
        let free = (1..=count).map(|next| Piece {
            next: match u32::try_from(next) {
                Ok(link) if next < count => link,
                _ => NONE,
            },
            offset: 0,
            skip: 0,
            stored: Stored::EMPTY,
        });
        Self {
            pieces: free.collect(),
            free: 0,
        }
    }

    /// Fragments there can be.
    pub(super) fn capacity(&self) -> usize {
        self.pieces.len()
    }

    /// The fragments of a list, by offset.
    pub(super) fn iter(&self, list: List) -> impl Iterator<Item = &Piece> {
        let mut at = list.0;
        core::iter::from_fn(move || {
            let piece = self.pieces.get(at as usize)?;
            at = piece.next;
            Some(piece)
        })
    }

    /// Compares a fragment with those of its datagram, whose fragmentable part has `length` bytes
    /// where that is known: it has to lie in a gap, and there is one end.
    pub(super) fn compare(
        &self,
        slab: &Slab,
        list: List,
        length: Option<usize>,
        arrival: &Arrival<'_>,
    ) -> Result<(), Misfit> {
        let (start, end) = (arrival.start(), arrival.end());
        let mut held_end = 0;
        for piece in self.iter(list) {
            held_end = piece.offset() + piece.len();
            if start < held_end && piece.offset() < end {
                let last = !arrival.more;
                let same = piece.offset() == start
                    && (length == Some(held_end)) == last
                    && slab.equals(&piece.stored, piece.skip as usize, arrival.data);
                return Err(if same {
                    Misfit::Duplicate
                } else {
                    Misfit::Overlap
                });
            }
        }
        let behind = match (length, arrival.more) {
            (Some(known), true) => end > known,
            (Some(_), false) => true,
            (None, true) => false,
            (None, false) => held_end > start,
        };
        if behind { Err(Misfit::Overlap) } else { Ok(()) }
    }

    /// Puts a fragment in its place. The data of `stored` starts after `skip` bytes. Without room
    /// it gives `stored` back.
    pub(super) fn insert(
        &mut self,
        list: &mut List,
        offset: u16,
        skip: usize,
        stored: Stored,
    ) -> Result<(), Stored> {
        let new = self.free;
        let Some(piece) = self.pieces.get_mut(new as usize) else {
            return Err(stored);
        };
        self.free = piece.next;
        *piece = Piece {
            next: NONE,
            offset: offset.into(),
            skip: u32::try_from(skip).unwrap_or(0), // headers of one packet
            stored,
        };
        let (mut before, mut after) = (NONE, list.0);
        while let Some(piece) = self.pieces.get(after as usize) {
            if piece.offset > u32::from(offset) {
                break;
            }
            before = after;
            after = piece.next;
        }
        if let Some(piece) = self.pieces.get_mut(new as usize) {
            piece.next = after;
        }
        match self.pieces.get_mut(before as usize) {
            Some(piece) => piece.next = new,
            None => list.0 = new,
        }
        Ok(())
    }

    /// Gives all fragments of a list back.
    pub(super) fn clear(&mut self, slab: &mut Slab, list: List) {
        let mut at = list.0;
        while let Some(piece) = self.pieces.get_mut(at as usize) {
            slab.free(piece.stored.take());
            let next = core::mem::replace(&mut piece.next, self.free);
            self.free = at;
            at = next;
        }
    }
}
