//! From what the kernel gives to what a wire would have carried.

use std::collections::VecDeque;

use super::cut::Cutter;
use super::offload::{self, Offload, restore_tag};
use super::{FRONT, FrameBatch, IoCounters, Slot};

/// Longest frame that the kernel gives, in bytes: joined segments behind a tagged Ethernet header.
pub(super) const LONGEST_JOINED: usize = 18 + 40 + 65_535;

/// What the kernel said about one received frame.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Received {
    /// Its length in bytes; more than the buffer's where it did not fit.
    pub(super) len: usize,
    /// Bytes of it that are there.
    pub(super) captured: usize,
    /// Its `virtio_net_hdr`.
    pub(super) offload: [u8; offload::LEN],
    /// Type and content of the VLAN tag that was taken off.
    pub(super) tag: Option<(u16, u16)>,
}

/// Puts received frames right, and keeps what does not fit a batch for the next one.
#[derive(Debug)]
pub(super) struct Intake {
    /// Longest frame that is passed on, in bytes.
    pub(super) longest: usize,
    /// `received` and what was put right.
    pub(super) counters: IoCounters,
    cutter: Cutter,
    /// Frames behind one that is being cut.
    later: VecDeque<(Received, Vec<u8>)>,
}

impl Intake {
    /// Passes on frames of up to `longest` bytes.
    pub(super) fn new(longest: usize) -> Self {
        Self {
            longest,
            counters: IoCounters::default(),
            cutter: Cutter::default(),
            later: VecDeque::new(),
        }
    }

    /// Whether frames are kept for the next batch.
    pub(super) fn has_backlog(&self) -> bool {
        self.cutter.is_busy() || !self.later.is_empty()
    }

    /// Puts kept frames into `batch`, as far as there is room.
    pub(super) fn drain(&mut self, batch: &mut FrameBatch) {
        loop {
            self.cut(batch);
            if !batch.has_room() {
                return;
            }
            let Some((received, bytes)) = self.later.pop_front() else {
                return;
            };
            self.take(batch, &received, |room| {
                let copied = bytes.get(..room.len());
                copied.map(|bytes| room.copy_from_slice(bytes)).is_some()
            });
        }
    }

    /// Keeps a frame for the next batch.
    pub(super) fn keep(&mut self, received: &Received, parts: [&[u8]; 2]) {
        self.later.push_back((*received, parts.concat()));
    }

    /// Puts a frame into `batch`, which has room; `copy` fills memory with its first bytes, and says
    /// whether it could.
    pub(super) fn take(
        &mut self,
        batch: &mut FrameBatch,
        received: &Received,
        copy: impl FnOnce(&mut [u8]) -> bool,
    ) {
        let offload = Offload::parse(&received.offload);
        if offload.segments {
            self.take_joined(batch, received, offload, copy);
            return;
        }
        let Some(slot) = batch.next_slot() else {
            return;
        };
        let room = (received.len <= self.longest && received.captured >= received.len)
            .then(|| slot.storage.get_mut(FRONT..FRONT + received.len))
            .flatten();
        let copied = room.is_some_and(copy);
        if self.finish(slot, received, copied) {
            batch.took();
        }
    }

    /// Does what remains to be done to the frame in `slot`; whether it may be passed on, which it may
    /// not where it is not `whole`.
    pub(super) fn finish(&mut self, slot: &mut Slot, received: &Received, whole: bool) -> bool {
        if !whole {
            self.counters.too_long += 1;
            return false;
        }
        (slot.start, slot.len) = (FRONT, received.len);
        let end = FRONT + received.len;
        let offload = Offload::parse(&received.offload);
        if offload.checksum.is_some()
            && let Some(frame) = slot.storage.get_mut(FRONT..end)
        {
            self.counters.checksums_completed += u64::from(offload.complete(frame));
        }
        if let Some((tpid, tci)) = received.tag
            && let Some(start) = restore_tag(&mut slot.storage, FRONT, tpid, tci)
        {
            (slot.start, slot.len) = (start, received.len + 4);
            self.counters.tags_restored += 1;
        }
        self.counters.received += 1;
        true
    }

    fn take_joined(
        &mut self,
        batch: &mut FrameBatch,
        received: &Received,
        offload: Offload,
        copy: impl FnOnce(&mut [u8]) -> bool,
    ) {
        let whole = received.len <= LONGEST_JOINED && received.captured >= received.len;
        let room = self.cutter.room(if whole { received.len } else { 0 });
        if !(whole && copy(room) && self.cutter.start(offload, received.tag)) {
            self.counters.not_cut += 1;
            return;
        }
        self.counters.cut += 1;
        self.counters.tags_restored += u64::from(received.tag.is_some());
        self.cut(batch);
    }

    /// Cuts the present joined segments into `batch`, as far as there is room.
    fn cut(&mut self, batch: &mut FrameBatch) {
        while let Some(slot) = batch.next_slot() {
            let end = (FRONT + self.longest).min(slot.storage.len());
            let room = slot.storage.get_mut(FRONT..end).unwrap_or_default();
            match self.cutter.next(room) {
                None => return,
                Some(None) => self.counters.too_long += 1,
                Some(Some(len)) => {
                    (slot.start, slot.len) = (FRONT, len);
                    self.counters.received += 1;
                    batch.took();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A description of joined segments of a kind, 100 bytes each.
    fn joined(kind: u8, len: usize) -> Received {
        let [a, b] = 100u16.to_ne_bytes();
        Received {
            len,
            captured: len,
            offload: [0, kind, 0, 0, a, b, 0, 0, 0, 0],
            tag: None,
        }
    }

    #[test]
    fn joined_segments_that_are_not_cut_are_counted_with_advice_and_the_next_frame_is_taken() {
        let mut intake = Intake::new(1518);
        let mut batch = FrameBatch::new(1518);
        // Fragments of UDP, an unknown kind, and TCP in something that is not IP.
        for kind in [3, 77, 1] {
            intake.take(&mut batch, &joined(kind, 3000), |room| {
                room.fill(0x45);
                true
            });
        }
        let plain = Received {
            len: 60,
            captured: 60,
            ..Received::default()
        };
        intake.take(&mut batch, &plain, |room| {
            room.fill(7);
            true
        });
        assert_eq!((batch.len(), intake.counters.not_cut), (1, 3));
        assert!(batch.packets().eq([[7; 60].as_slice()]));
        let advice = intake.counters.remarkable().next().unwrap();
        assert!(advice.0.contains("ethtool -K"));
    }

    #[test]
    fn a_frame_that_is_too_long_or_was_cut_off_is_counted() {
        let mut intake = Intake::new(1518);
        let mut batch = FrameBatch::new(1518);
        for (len, captured) in [(1519, 1519), (1518, 1517), (1518, 1518)] {
            let received = Received {
                len,
                captured,
                ..Received::default()
            };
            intake.take(&mut batch, &received, |_| true);
        }
        assert_eq!((batch.len(), intake.counters.too_long), (1, 2));
    }
}
