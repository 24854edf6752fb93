//! Memory of frames on their way in and out.

use lw4o6_wire::{FrameBuf, HEADROOM};

use super::BATCH;

/// Memory for the frames of one batch, each with the headroom that the engine asks for.
#[derive(Debug, Default)]
pub struct FrameBatch {
    pub(super) slots: Vec<Slot>,
    pub(super) filled: usize,
}

/// Memory of one frame.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) storage: Box<[u8]>,
    pub(super) start: usize,
    pub(super) len: usize,
}

/// Room in front of the received bytes: a tag may be put back before the engine sees them.
pub(super) const FRONT: usize = HEADROOM + 4;

/// Room behind them, for what the engine appends.
const BACK: usize = 64;

impl FrameBatch {
    /// Room for [`BATCH`] frames of up to `longest` bytes, Ethernet header included.
    #[must_use]
    pub fn new(longest: usize) -> Self {
        let slot = || Slot {
            storage: vec![0; FRONT + longest + BACK].into_boxed_slice(),
            start: FRONT,
            len: 0,
        };
        Self {
            slots: std::iter::repeat_with(slot).take(BATCH).collect(),
            filled: 0,
        }
    }

    /// The received frames.
    #[must_use]
    pub fn frames(&mut self) -> Vec<FrameBuf<'_>> {
        let filled = self.slots.iter_mut().take(self.filled);
        filled
            .filter_map(|slot| FrameBuf::new(&mut slot.storage, slot.start, slot.len))
            .collect()
    }

    /// Lends the received frames, without taking memory for that.
    pub fn lend<R>(&mut self, to: impl FnOnce(&mut [FrameBuf<'_>]) -> R) -> R {
        let mut slots = self.slots.iter_mut().take(self.filled);
        let mut frames: [FrameBuf<'_>; BATCH] = std::array::from_fn(|_| {
            let slot = slots.next();
            slot.and_then(|slot| FrameBuf::new(&mut slot.storage, slot.start, slot.len))
                .unwrap_or_default()
        });
        to(frames.get_mut(..self.filled).unwrap_or_default())
    }

    /// The received frames, to be read.
    pub fn packets(&self) -> impl Iterator<Item = &[u8]> {
        let filled = self.slots.iter().take(self.filled);
        filled.filter_map(|slot| slot.storage.get(slot.start..slot.start + slot.len))
    }

    /// Forgets all frames.
    pub fn clear(&mut self) {
        self.filled = 0;
    }

    /// Number of frames.
    #[must_use]
    pub fn len(&self) -> usize {
        self.filled
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.filled == 0
    }

    /// Whether there is room for another frame.
    pub(super) fn has_room(&self) -> bool {
        self.filled < self.slots.len()
    }

    /// Memory of the next frame, which counts after [`FrameBatch::took`].
    pub(super) fn next_slot(&mut self) -> Option<&mut Slot> {
        self.slots.get_mut(self.filled)
    }

    /// The next frame is in its memory.
    pub(super) fn took(&mut self) {
        self.filled += 1;
    }

    /// Replaces the content by `frames`; those that do not fit are left out.
    pub fn fill<'f>(&mut self, frames: impl IntoIterator<Item = &'f [u8]>) -> usize {
        self.filled = 0;
        let mut frames = frames.into_iter();
        while let Some(slot) = self.slots.get_mut(self.filled) {
            let Some(frame) = frames.next() else { break };
            if let Some(room) = slot.storage.get_mut(FRONT..FRONT + frame.len()) {
                room.copy_from_slice(frame);
                (slot.start, slot.len) = (FRONT, frame.len());
                self.filled += 1;
            }
        }
        self.filled
    }
}

/// Frames on their way out, in order.
#[derive(Debug, Default)]
pub struct FrameQueue {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl FrameQueue {
    /// Appends a frame.
    pub fn push(&mut self, frame: &[u8]) {
        self.push_parts(&[frame]);
    }

    /// Appends a frame that comes in parts.
    pub fn push_parts(&mut self, parts: &[&[u8]]) {
        for part in parts {
            self.bytes.extend_from_slice(part);
        }
        self.ends.push(self.bytes.len());
    }

    /// The frames, first one first.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts
            .zip(&self.ends)
            .map(|(start, &end)| self.bytes.get(start..end).unwrap_or_default())
    }

    /// Number of frames.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Forgets all frames and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }
}
