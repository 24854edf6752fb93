//! Frames through a packet socket, a batch of them in one system call.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use lw4o6_wire::ethernet::MacAddr;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::intake::{Intake, LONGEST_JOINED, Received};
use super::watch::{Seen, Watch};
use super::{
    BATCH, FRONT, FrameBatch, FrameQueue, IoCounters, Offload, OpenError, OpenOptions, PacketIo,
    open, sys,
};
use crate::netlink::Link;

/// Buffer that the kernel is asked for, each way.
const BUFFER: libc::c_int = 8 << 20;

/// How long a full transmit buffer is waited for, in milliseconds.
const SEND_WAIT: u16 = 20;

/// A kernel interface, by one system call for each batch.
#[derive(Debug)]
pub struct AfPacket {
    fd: OwnedFd,
    watch: Watch,
    options: OpenOptions,
    mac: MacAddr,
    intake: Intake,
    /// Memory for what does not fit a slot: joined segments.
    overflow: Vec<u8>,
    queue: FrameQueue,
    transmitted: u64,
    not_sent: u64,
    kernel_drops: u64,
}

impl AfPacket {
    /// Opens the interface `name` for one worker; takes frames to `macs` too where those are not the
    /// interface's own.
    ///
    /// # Errors
    ///
    /// Where it is missing, down, not Ethernet, or not for us.
    pub fn open(name: &str, macs: &[MacAddr]) -> Result<Self, OpenError> {
        let options = OpenOptions {
            macs: macs.to_vec(),
            ..OpenOptions::default()
        };
        Self::open_with(name, &options)
    }

    /// Opens the interface `name`.
    ///
    /// # Errors
    ///
    /// Where it is missing, down, not Ethernet, or not for us.
    pub fn open_with(name: &str, options: &OpenOptions) -> Result<Self, OpenError> {
        let (link, mac) = open::link(name)?;
        let mut options = options.clone();
        options.macs.push(mac);
        let fd = socket(name, &link, &options).map_err(|error| open::error(name, error))?;
        Ok(Self {
            fd,
            watch: Watch::new(name, link),
            options,
            mac,
            intake: Intake::new(link.longest()),
            overflow: vec![0; BATCH * LONGEST_JOINED],
            queue: FrameQueue::default(),
            transmitted: 0,
            not_sent: 0,
            kernel_drops: 0,
        })
    }

    /// Receives into the memory of `batch`, and passes on what is complete there.
    fn receive_batch(&mut self, batch: &mut FrameBatch) -> io::Result<()> {
        let longest = self.intake.longest;
        let mut received = [Received::default(); BATCH];
        let mut rooms: [[&mut [u8]; 2]; BATCH] = Default::default();
        let slots = batch.slots.iter_mut();
        let overflow = self.overflow.chunks_mut(LONGEST_JOINED);
        for ((slot, overflow), rooms) in slots.zip(overflow).zip(&mut rooms) {
            let end = slot.storage.len().min(FRONT + longest);
            *rooms = [
                slot.storage.get_mut(FRONT..end).unwrap_or_default(),
                overflow,
            ];
        }
        let taken = sys::receive(self.fd.as_fd(), &mut rooms, &mut received)?;
        // Frames behind joined segments wait until those are cut.
        let mut is_behind = false;
        for (index, received) in received.iter().enumerate().take(taken) {
            is_behind |= Offload::parse(&received.offload).segments;
            let Some(slot) = batch.slots.get_mut(index) else {
                break;
            };
            let room = slot.storage.len().min(FRONT + longest) - FRONT;
            if is_behind {
                let first = slot.storage.get(FRONT..FRONT + room.min(received.captured));
                let rest = received.captured.saturating_sub(room);
                let start = index * LONGEST_JOINED;
                let rest = self.overflow.get(start..start + rest);
                self.intake.keep(
                    received,
                    [first.unwrap_or_default(), rest.unwrap_or_default()],
                );
            } else if self.intake.finish(slot, received, received.len <= room) {
                // Frames that are passed on move up, in their order.
                batch.slots.swap(batch.filled, index);
                batch.took();
            }
        }
        self.intake.drain(batch);
        Ok(())
    }

    /// Looks whether the interface is there again.
    fn look(&mut self) {
        let fd = self.fd.as_fd();
        let Seen::Another(link) = self.watch.look(|index| sys::is_bound(fd, index)) else {
            return;
        };
        // Not yet our turn, or gone again: there will be another look.
        if let Ok(fd) = socket(self.watch.name(), &link, &self.options) {
            self.kernel_drops += u64::from(sys::drops(self.fd.as_fd()).unwrap_or(0));
            self.fd = fd;
            self.watch.found(link);
        }
    }

    fn send(&mut self, queue: &FrameQueue) -> usize {
        let frames: Vec<&[u8]> = queue.iter().collect();
        let mut rest = frames.as_slice();
        let (mut sent, mut waited) = (0, false);
        while !rest.is_empty() {
            let batch = rest.get(..rest.len().min(BATCH)).unwrap_or_default();
            let took = match sys::send(self.fd.as_fd(), batch) {
                Ok(took) => took,
                Err(error) if is_temporary(&error) && !waited => {
                    waited = true;
                    wait_for_room(self.fd.as_fd());
                    continue;
                }
                Err(error) => {
                    // The kernel does not take this one; the next may be shorter.
                    self.not_sent += 1;
                    rest = rest.get(1..).unwrap_or_default();
                    if is_away(&error) {
                        self.watch.lost();
                        self.not_sent += u64::try_from(rest.len()).unwrap_or(0);
                        break;
                    }
                    continue;
                }
            };
            waited = false;
            sent += took;
            rest = rest.get(took..).unwrap_or_default();
        }
        self.transmitted += u64::try_from(sent).unwrap_or(0);
        sent
    }
}

impl AsFd for AfPacket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl PacketIo for AfPacket {
    fn receive(&mut self, batch: &mut FrameBatch) -> io::Result<usize> {
        batch.clear();
        if self.intake.has_backlog() {
            self.intake.drain(batch);
            return Ok(batch.len());
        }
        self.look();
        match self.receive_batch(batch) {
            Err(error) if is_away(&error) => self.watch.lost(),
            // Nothing there; whatever else it is, the next call tells.
            Ok(()) | Err(_) => {}
        }
        Ok(batch.len())
    }

    fn push(&mut self, frame: &[u8]) {
        self.queue.push(frame);
    }

    fn flush(&mut self) -> io::Result<usize> {
        let queue = std::mem::take(&mut self.queue);
        let sent = self.send(&queue);
        self.queue = queue;
        self.queue.clear();
        Ok(sent)
    }

    fn transmit(&mut self, frames: &FrameQueue) -> io::Result<usize> {
        Ok(self.flush()? + self.send(frames))
    }

    fn wait_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.watch.wait_fd().unwrap_or_else(|| self.fd.as_fd()))
    }

    fn counters(&mut self) -> IoCounters {
        self.kernel_drops += u64::from(sys::drops(self.fd.as_fd()).unwrap_or(0));
        IoCounters {
            transmitted: self.transmitted,
            not_sent: self.not_sent,
            kernel_drops: self.kernel_drops,
            link_losses: self.watch.losses(),
            ..self.intake.counters
        }
    }

    fn mac(&self) -> MacAddr {
        self.mac
    }

    fn longest(&self) -> usize {
        self.intake.longest
    }

    fn is_up(&self) -> bool {
        self.watch.is_up()
    }
}

fn socket(name: &str, link: &Link, options: &OpenOptions) -> io::Result<OwnedFd> {
    let fd = sys::socket()?;
    sys::describe_frames(fd.as_fd())?;
    sys::buffer(fd.as_fd(), BUFFER)?;
    open::listen(fd.as_fd(), name, link, options)?;
    Ok(fd)
}

/// Whether the interface is away.
fn is_away(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::ENETDOWN | libc::ENXIO | libc::ENODEV)
    )
}

/// Whether a call may be repeated: there is no room yet.
fn is_temporary(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EAGAIN | libc::EINTR | libc::ENOBUFS)
    )
}

fn wait_for_room(fd: BorrowedFd<'_>) {
    let mut fds = [PollFd::new(fd, PollFlags::POLLOUT)];
    // Sending again tells whether it helped.
    let _ = poll(&mut fds, PollTimeout::from(SEND_WAIT));
}

#[cfg(test)]
mod tests;
