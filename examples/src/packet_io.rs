//! Ethernet frames from and to the kernel, in batches.
//!
//! [`AfPacket`] is the form for kernel interfaces. What a wire would never carry is put right here, so
//! that the engine sees what the sender meant: VLAN tags that the kernel took off, and checksums that
//! a sender on the same machine left to hardware that is not there.

mod af_packet;
mod offload;
mod sys;

use std::io;

use lw4o6_wire::{FrameBuf, HEADROOM};
use serde::Serialize;

pub use self::af_packet::{AfPacket, OpenError};
pub use self::offload::Offload;

/// Frames that one call receives at most.
pub const BATCH: usize = 32;

/// A source and sink of Ethernet frames that never waits.
pub trait PacketIo {
    /// Receives frames into `batch`, replacing what was there; returns how many.
    ///
    /// # Errors
    ///
    /// What the kernel says; the interface may have gone away.
    fn receive(&mut self, batch: &mut FrameBatch) -> io::Result<usize>;

    /// Sends `frames` in their order; returns how many the interface took. The others are lost and
    /// counted.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    fn transmit(&mut self, frames: &FrameQueue) -> io::Result<usize>;
}

/// What an interface counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct IoCounters {
    /// Frames received and passed on.
    pub received: u64,
    /// Frames sent.
    pub transmitted: u64,
    /// Frames that were longer than the interface's MTU allows; segments that a sender on the same
    /// machine had not cut, or a receiver had joined.
    pub too_long: u64,
    /// Checksums completed for a sender on the same machine.
    pub checksums_completed: u64,
    /// VLAN tags put back.
    pub tags_restored: u64,
    /// Frames that the kernel did not take.
    pub not_sent: u64,
    /// Frames that the kernel dropped because we were late.
    pub kernel_drops: u64,
}

impl IoCounters {
    /// What an operator should know about, in words; only what happened.
    pub fn remarkable(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let all = [
            (
                "frames too long for the interface, not taken; turn offloads off at the sender: ethtool -K IF tso off gso off gro off",
                self.too_long,
            ),
            ("frames not sent", self.not_sent),
            (
                "frames lost in the kernel because we were late",
                self.kernel_drops,
            ),
        ];
        all.into_iter().filter(|&(_, count)| count > 0)
    }
}

/// Memory for the frames of one batch, each with the headroom that the engine asks for.
#[derive(Debug, Default)]
pub struct FrameBatch {
    slots: Vec<Slot>,
    filled: usize,
}

/// Memory of one frame.
#[derive(Debug)]
struct Slot {
    storage: Box<[u8]>,
    start: usize,
    len: usize,
}

/// Room in front of the received bytes: a tag may be put back before the engine sees them.
const FRONT: usize = HEADROOM + 4;

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
