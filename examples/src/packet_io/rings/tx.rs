//! The ring of slots that the kernel empties.
//!
//! ```text
//! slot   0..4 status   4..8 length   8.. not used here   32..42 virtio_net_hdr   42.. frame
//! ```
//!
//! The kernel takes slots in their order and stops at the first that it cannot take.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::atomic::Ordering;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, send};

use super::super::offload;
use super::super::sys::{self, Mapping, Receive};
use crate::netlink::Link;

/// Memory of a ring in bytes, at least; more for long frames.
const MEMORY: usize = 2 << 20;

/// Slots, at least.
const MIN_SLOTS: usize = 256;

/// Where the description of a frame is in its slot.
const DESCRIPTION: usize = 32;

/// Where the frame is.
const FRAME: usize = DESCRIPTION + offload::LEN;

/// Frames that are pushed before the kernel is told.
const BURST: usize = 64;

/// How often the kernel is asked again when it takes nothing.
const TRIES: u32 = 16;

/// How long a full ring is waited for, in milliseconds.
const SEND_WAIT: u16 = 20;

/// Buffer that the kernel is asked for.
const BUFFER: libc::c_int = 8 << 20;

/// A socket that sends from a ring.
#[derive(Debug)]
pub(super) struct TxRing {
    // Before the socket, so that it is unmapped first.
    map: Mapping,
    fd: OwnedFd,
    slot: usize,
    slots: usize,
    /// Slots handed over that the kernel has not been seen to take: the last ones before `head`.
    pending: usize,
    head: usize,
    /// Frames taken since the last flush.
    taken: usize,
    down: bool,
    /// All slots are with the kernel, and waiting did not help.
    stuck: bool,
    /// Frames sent.
    pub(super) transmitted: u64,
    /// Frames that the kernel did not take.
    pub(super) not_sent: u64,
}

impl TxRing {
    pub(super) fn open(link: &Link) -> io::Result<Self> {
        let fd = sys::socket()?;
        let slot = (FRAME + link.longest()).next_power_of_two();
        let slots = (MEMORY / slot).max(MIN_SLOTS);
        sys::buffer(fd.as_fd(), BUFFER)?;
        let map = sys::transmit_ring(fd.as_fd(), slot, slots)?;
        let index = libc::c_int::try_from(link.index).map_err(|_| io::ErrorKind::InvalidInput)?;
        sys::bind(fd.as_fd(), index, Receive::Nothing)?;
        Ok(Self {
            map,
            fd,
            slot,
            slots,
            pending: 0,
            head: 0,
            taken: 0,
            down: false,
            stuck: false,
            transmitted: 0,
            not_sent: 0,
        })
    }

    /// Whether the last attempt failed because the interface is away.
    pub(super) fn is_down(&self) -> bool {
        self.down
    }

    /// Counts a frame that is not sent.
    pub(super) fn refuse(&mut self) {
        self.not_sent += 1;
    }

    /// Puts a frame into the ring.
    pub(super) fn push(&mut self, frame: &[u8]) {
        if FRAME + frame.len() > self.slot {
            // The MTU was raised meanwhile.
            self.not_sent += 1;
            return;
        }
        if self.pending >= BURST {
            self.send();
        }
        if self.put(frame) {
            self.stuck = false;
            return;
        }
        self.send();
        if !self.stuck && !self.put(frame) {
            self.wait();
            // Once in vain is enough: whoever sends has other things to do.
            self.stuck = !self.put(frame);
        }
        if self.stuck {
            self.not_sent += 1;
        }
    }

    /// Sends what is in the ring; returns how many frames the kernel took since the last flush.
    pub(super) fn flush(&mut self) -> usize {
        self.send();
        std::mem::take(&mut self.taken)
    }

    /// Puts a frame into the next slot, if that is free.
    fn put(&mut self, frame: &[u8]) -> bool {
        let at = self.head * self.slot;
        let Some(status) = self.map.word(at) else {
            return false;
        };
        // Acquire: the kernel has read the slot before it frees it.
        if status.load(Ordering::Acquire) != libc::TP_STATUS_AVAILABLE {
            return false;
        }
        let len = frame.len() + offload::LEN;
        let (Ok(size), Ok(header)) = (u32::try_from(len), u16::try_from(frame.len())) else {
            return false;
        };
        // Headers as long as the frame make the kernel copy all of it at once: a page of the ring that
        // travels with a packet might be overwritten while the packet still waits somewhere.
        let [a, b] = header.to_ne_bytes();
        let description = [0, 0, a, b, 0, 0, 0, 0, 0, 0];
        self.map.write(at + 4, &size.to_ne_bytes());
        self.map.write(at + DESCRIPTION, &description);
        self.map.write(at + FRAME, frame);
        // Release: the slot is written before the kernel is told.
        status.store(libc::TP_STATUS_SEND_REQUEST, Ordering::Release);
        self.head = (self.head + 1) % self.slots;
        self.pending += 1;
        true
    }

    /// Has the kernel take the pending slots. What it does not take is lost.
    fn send(&mut self) {
        let mut tries = 0;
        self.down = false;
        while self.pending > 0 {
            let result = send(self.fd.as_raw_fd(), &[], MsgFlags::MSG_DONTWAIT);
            tries = if self.settle() > 0 { 0 } else { tries + 1 };
            let error = result.err();
            self.down = matches!(error, Some(nix::Error::ENETDOWN | nix::Error::ENXIO));
            if self.down || tries > TRIES {
                self.abandon();
            }
        }
    }

    /// Counts the slots that the kernel took; returns how many.
    fn settle(&mut self) -> usize {
        let before = self.pending;
        while self.pending > 0 {
            let tail = (self.head + self.slots - self.pending) % self.slots;
            let status = self.status(tail);
            if matches!(
                status,
                libc::TP_STATUS_SEND_REQUEST | libc::TP_STATUS_WRONG_FORMAT
            ) {
                break;
            }
            self.pending -= 1;
        }
        let taken = before - self.pending;
        self.taken += taken;
        self.transmitted += u64::try_from(taken).unwrap_or(0);
        taken
    }

    fn status(&self, slot: usize) -> u32 {
        let word = self.map.word(slot * self.slot);
        word.map_or(0, |word| word.load(Ordering::Acquire))
    }

    /// Takes the pending slots back: the first of them is where the kernel looks next.
    fn abandon(&mut self) {
        for back in 1..=self.pending {
            let slot = (self.head + self.slots - back) % self.slots;
            if let Some(word) = self.map.word(slot * self.slot) {
                word.store(libc::TP_STATUS_AVAILABLE, Ordering::Release);
            }
        }
        self.head = (self.head + self.slots - self.pending) % self.slots;
        self.not_sent += u64::try_from(self.pending).unwrap_or(0);
        self.pending = 0;
    }

    /// Waits for the next slot to become free, but not long.
    fn wait(&self) {
        let mut fds = [PollFd::new(self.fd.as_fd(), PollFlags::POLLOUT)];
        // Another attempt tells whether it helped.
        let _ = poll(&mut fds, PollTimeout::from(SEND_WAIT));
    }
}
