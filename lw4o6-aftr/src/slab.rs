//! Packet memory of a worker: taken once, handed out in chunks.
//!
//! A stored packet is a chain of 256-byte chunks. One size leaves no holes that nothing fits, so
//! "are there n bytes" has one answer whatever was stored before, and a packet wastes 255 bytes at
//! most.

use std::collections::VecDeque;

use lw4o6_wire::{BufferTooSmall, FrameBuf};

use crate::Output;

/// Bytes in a chunk.
pub(crate) const CHUNK: usize = 256;

/// "No chunk" in links.
const NONE: u32 = u32::MAX;

/// Packet memory.
#[derive(Debug)]
pub(crate) struct Slab {
    bytes: Box<[u8]>,
    links: Box<[u32]>, // chunk -> the next one of its chain
    free: u32,
    free_chunks: usize,
}

/// A packet in a [`Slab`]. Goes back by [`Slab::free`]; one that is dropped is lost memory.
#[must_use = "its memory is only given back by Slab::free"]
#[derive(Debug)]
pub(crate) struct Stored {
    head: u32,
    len: u32,
}

impl Stored {
    /// A packet of no bytes, which takes no memory.
    pub(crate) const EMPTY: Self = Self { head: NONE, len: 0 };

    /// Bytes of the packet.
    pub(crate) const fn len(&self) -> usize {
        self.len as usize
    }

    /// Moves the packet out and leaves [`EMPTY`](Self::EMPTY) behind.
    pub(crate) const fn take(&mut self) -> Self {
        core::mem::replace(self, Self::EMPTY)
    }
}

impl Slab {
    /// Memory of `bytes` bytes, rounded down to whole chunks.
    pub(crate) fn new(bytes: usize) -> Self {
        let chunks = (bytes / CHUNK).min(NONE as usize / CHUNK);
        let links = (1..=chunks).map(|next| match u32::try_from(next) {
            Ok(link) if next < chunks => link,
            _ => NONE,
        });
        Self {
            bytes: vec![0; chunks * CHUNK].into_boxed_slice(),
            links: links.collect(),
            free: if chunks == 0 { NONE } else { 0 },
            free_chunks: chunks,
        }
    }

    /// Stores the concatenation of `parts`. `None`: there is no room, and nothing was taken.
    pub(crate) fn store(&mut self, parts: &[&[u8]]) -> Option<Stored> {
        let len: usize = parts.iter().map(|part| part.len()).sum();
        let chunks = len.div_ceil(CHUNK);
        if chunks > self.free_chunks {
            return None;
        }
        let stored = Stored {
            head: if chunks == 0 { NONE } else { self.free },
            len: u32::try_from(len).ok()?,
        };
        // The free list is already a chain: cut it behind the last chunk needed.
        let mut last = NONE;
        for _ in 0..chunks {
            last = self.free;
            self.free = self.link(last);
        }
        if let Some(link) = self.links.get_mut(last as usize) {
            *link = NONE;
        }
        self.free_chunks -= chunks;
        let mut at = 0;
        for part in parts {
            self.write(&stored, at, part);
            at += part.len();
        }
        Some(stored)
    }

    /// Overwrites bytes from `offset` on; what would stand behind the end is left out.
    pub(crate) fn write(&mut self, stored: &Stored, offset: usize, data: &[u8]) {
        let room = stored.len().saturating_sub(offset);
        let mut rest = data.get(..room).unwrap_or(data);
        let (mut chunk, mut at) = self.seek(stored, offset);
        while !rest.is_empty() {
            let start = chunk as usize * CHUNK;
            let Some(target) = self.bytes.get_mut(start + at..start + CHUNK) else {
                return;
            };
            let (now, later) = rest.split_at(rest.len().min(target.len()));
            if let Some(target) = target.get_mut(..now.len()) {
                target.copy_from_slice(now);
            }
            (rest, at) = (later, 0);
            chunk = self.link(chunk);
        }
    }

    /// Gives the memory of a packet back.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "the handle must not be used again"
    )]
    pub(crate) fn free(&mut self, stored: Stored) {
        let chunks = stored.len().div_ceil(CHUNK);
        let mut last = stored.head;
        for _ in 1..chunks {
            last = self.link(last);
        }
        if chunks == 0 {
            return;
        }
        let free = self.free;
        if let Some(link) = self.links.get_mut(last as usize) {
            *link = free;
            self.free = stored.head;
            self.free_chunks += chunks;
        }
    }

    /// Copies bytes from `offset` on into `out`; returns how many there were.
    pub(crate) fn read(&self, stored: &Stored, offset: usize, out: &mut [u8]) -> usize {
        let mut done = 0;
        for piece in self.pieces(stored, offset) {
            let Some(room) = out.get_mut(done..) else {
                break;
            };
            let len = piece.len().min(room.len());
            if let (Some(target), Some(source)) = (room.get_mut(..len), piece.get(..len)) {
                target.copy_from_slice(source);
            }
            done += len;
        }
        done
    }

    /// Whether the bytes from `offset` to the end are `data`.
    pub(crate) fn equals(&self, stored: &Stored, offset: usize, data: &[u8]) -> bool {
        if stored.len().checked_sub(offset) != Some(data.len()) {
            return false;
        }
        let mut rest = data;
        self.pieces(stored, offset)
            .all(|piece| match rest.split_at_checked(piece.len()) {
                Some((now, later)) => {
                    rest = later;
                    now == piece
                }
                None => false,
            })
    }

    /// Memory that is not taken, in bytes of whole chunks.
    pub(crate) const fn free_bytes(&self) -> usize {
        self.free_chunks * CHUNK
    }

    /// All memory, in bytes.
    pub(crate) const fn capacity(&self) -> usize {
        self.bytes.len()
    }

    /// Memory that a packet of `len` bytes takes.
    pub(crate) const fn cost(len: usize) -> usize {
        len.div_ceil(CHUNK) * CHUNK
    }

    /// The packet from `offset` on, chunk by chunk.
    fn pieces(&self, stored: &Stored, offset: usize) -> impl Iterator<Item = &[u8]> {
        let mut left = stored.len().saturating_sub(offset);
        let (mut chunk, mut at) = self.seek(stored, offset);
        core::iter::from_fn(move || {
            let len = left.min(CHUNK - at);
            if len == 0 {
                return None;
            }
            let start = chunk as usize * CHUNK;
            let piece = self.bytes.get(start + at..start + at + len)?;
            left -= len;
            at = 0;
            chunk = self.link(chunk);
            Some(piece)
        })
    }

    /// Chunk and offset inside it of byte `offset` of a packet.
    fn seek(&self, stored: &Stored, offset: usize) -> (u32, usize) {
        let mut chunk = stored.head;
        for _ in 0..offset / CHUNK {
            chunk = self.link(chunk);
        }
        (chunk, offset % CHUNK)
    }

    fn link(&self, chunk: u32) -> u32 {
        self.links.get(chunk as usize).copied().unwrap_or(NONE)
    }
}

/// Frames that wait for `poll_frame`, first in, first out.
#[derive(Debug)]
pub(crate) struct OutQueue {
    waiting: VecDeque<(Output, Stored)>,
    limit: usize,
}

impl OutQueue {
    /// A line for `limit` frames.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            waiting: VecDeque::with_capacity(limit),
            limit,
        }
    }

    /// Appends the concatenation of `parts`. `false`: no room, and nothing was taken.
    #[must_use = "a frame that does not fit is lost"]
    pub(crate) fn push(&mut self, slab: &mut Slab, output: Output, parts: &[&[u8]]) -> bool {
        if self.waiting.len() >= self.limit {
            return false; // also keeps the line from growing its memory
        }
        let Some(stored) = slab.store(parts) else {
            return false;
        };
        self.waiting.push_back((output, stored));
        true
    }

    /// Moves the first frame into `frame`, behind `headroom` free bytes.
    ///
    /// # Errors
    ///
    /// Where `frame` is too small: it is unchanged, and the frame stays first in line.
    pub(crate) fn pop(
        &mut self,
        slab: &mut Slab,
        frame: &mut FrameBuf<'_>,
        headroom: usize,
    ) -> Result<Option<Output>, BufferTooSmall> {
        let Some((_, stored)) = self.waiting.front() else {
            return Ok(None);
        };
        let len = stored.len();
        let need = headroom.saturating_add(len);
        if need > frame.capacity() {
            return Err(BufferTooSmall { need });
        }
        frame.truncate(0);
        frame.shift_to(headroom)?;
        let room = frame.grow_back(len)?;
        let Some((output, stored)) = self.waiting.pop_front() else {
            return Ok(None);
        };
        slab.read(&stored, 0, room);
        slab.free(stored);
        Ok(Some(output))
    }

    /// Moves the last frame in line to `place`, counted from the first.
    pub(crate) fn move_last_to(&mut self, place: usize) {
        if let Some(last) = self.waiting.pop_back() {
            let place = place.min(self.waiting.len());
            self.waiting.insert(place, last);
        }
    }

    /// Frames in line.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Frames there is still a place for.
    #[cfg(test)]
    pub(crate) fn room(&self) -> usize {
        self.limit.saturating_sub(self.waiting.len())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Destination, Side};

    fn output(after: usize) -> Output {
        Output {
            to: Destination::Side(Side::Internet),
            after,
        }
    }

    fn pattern(len: usize, seed: usize) -> Vec<u8> {
        (0..len)
            .map(|i| u8::try_from((i * 7 + seed) % 251).unwrap())
            .collect()
    }

    #[test]
    fn parts_are_gathered_over_chunk_borders() {
        let mut slab = Slab::new(10 * CHUNK + 3);
        assert_eq!(slab.capacity(), 10 * CHUNK);
        let (a, b, c) = (pattern(255, 1), pattern(2, 2), pattern(700, 3));
        let stored = slab.store(&[&a, &b, &[], &c]).unwrap();
        assert_eq!(slab.free_bytes(), 10 * CHUNK - Slab::cost(957));
        let whole = [a, b, c].concat();
        for offset in [0, 1, 254, 255, 256, 257, 511, 512, 956, 957, 5_000] {
            let mut out = vec![0; 1_000];
            let len = slab.read(&stored, offset, &mut out);
            assert_eq!(out[..len], whole[offset.min(957)..]);
            assert_eq!(
                slab.equals(&stored, offset, &whole[offset.min(957)..]),
                offset <= 957
            );
        }
        assert!(!slab.equals(&stored, 0, &whole[1..]));
        slab.free(stored);
        assert_eq!(slab.free_bytes(), slab.capacity());
    }

    #[test]
    fn a_write_stays_inside_its_packet() {
        let mut slab = Slab::new(4 * CHUNK);
        let first = slab.store(&[&[1; 300]]).unwrap();
        let second = slab.store(&[&[2; 300]]).unwrap();
        slab.write(&first, 290, &[9; 50]);
        slab.write(&first, 300, &[9]);
        slab.write(&first, 4_000, &[9]);
        let mut out = [0; 300];
        slab.read(&first, 0, &mut out);
        assert_eq!(out[..290], [1; 290]);
        assert_eq!(out[290..], [9; 10]);
        assert!(slab.equals(&second, 0, &[2; 300]));
        slab.free(first);
        slab.free(second);
    }

    #[test]
    fn a_full_slab_takes_nothing() {
        let mut slab = Slab::new(2 * CHUNK);
        assert!(slab.store(&[&[0; 2 * CHUNK + 1]]).is_none());
        assert_eq!(slab.free_bytes(), 2 * CHUNK);
        let all = slab.store(&[&[0; 2 * CHUNK]]).unwrap();
        assert!(slab.store(&[&[0]]).is_none());
        let empty = slab.store(&[]).unwrap();
        slab.free(empty);
        slab.free(all);
        assert_eq!(slab.free_bytes(), 2 * CHUNK);
        assert!(Slab::new(0).store(&[&[0]]).is_none());
    }

    #[test]
    fn a_frame_that_does_not_fit_the_buffer_is_kept() {
        let mut slab = Slab::new(8 * CHUNK);
        let mut queue = OutQueue::new(2);
        assert!(queue.push(&mut slab, output(3), &[&[1; 300], &[2; 20]]));
        assert!(queue.push(&mut slab, output(4), &[b"x"]));
        assert!(!queue.push(&mut slab, output(5), &[b"no place in line"]));
        assert_eq!((queue.len(), queue.room()), (2, 0));
        let mut storage = [0; 400];
        let mut frame = FrameBuf::with_headroom(&mut storage, 7, b"old").unwrap();
        let error = queue.pop(&mut slab, &mut frame, 128).unwrap_err();
        assert_eq!(error.need, 448);
        assert_eq!(frame.packet(), b"old");
        let first = queue.pop(&mut slab, &mut frame, 80).unwrap();
        assert_eq!(first, Some(output(3)));
        assert_eq!((frame.len(), frame.headroom()), (320, 80));
        assert_eq!(frame.packet()[299..301], [1, 2]);
        let second = queue.pop(&mut slab, &mut frame, 128).unwrap();
        assert_eq!((second, frame.packet()), (Some(output(4)), &b"x"[..]));
        assert_eq!(queue.pop(&mut slab, &mut frame, 0), Ok(None));
        assert_eq!(slab.free_bytes(), slab.capacity());
    }

    proptest! {
        #![proptest_config(crate::cases::cases(256))]

        #[test]
        fn packets_never_touch_each_other(
            operations in prop::collection::vec((any::<bool>(), 0usize..2_000, any::<u8>()), 1..120),
        ) {
            let mut slab = Slab::new(24 * CHUNK);
            let mut held: Vec<(Stored, Vec<u8>)> = Vec::new();
            for (store, len, pick) in operations {
                if store {
                    let data = pattern(len, usize::from(pick));
                    let before = slab.free_bytes();
                    match slab.store(&[&data[..len / 3], &data[len / 3..]]) {
                        Some(stored) => held.push((stored, data)),
                        None => prop_assert!(Slab::cost(len) > before),
                    }
                } else if !held.is_empty() {
                    let (stored, _) = held.swap_remove(usize::from(pick) % held.len());
                    slab.free(stored);
                }
                for (stored, data) in &held {
                    prop_assert!(slab.equals(stored, 0, data));
                }
                let taken: usize = held.iter().map(|(stored, _)| Slab::cost(stored.len())).sum();
                prop_assert_eq!(taken + slab.free_bytes(), slab.capacity());
            }
        }
    }
}
