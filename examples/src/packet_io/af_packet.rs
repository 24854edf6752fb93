//! Frames through a packet socket, a batch of them in one system call.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use lw4o6_wire::ethernet::MacAddr;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::offload::restore_tag;
use super::sys::{self, Received};
use super::{BATCH, FRONT, FrameBatch, FrameQueue, IoCounters, Offload, OpenError, PacketIo, Slot};
use crate::netlink::{Link, Netlink};

/// Buffer that the kernel is asked for, each way.
const BUFFER: libc::c_int = 8 << 20;

/// How long a full transmit buffer is waited for, in milliseconds.
const SEND_WAIT: u16 = 20;

/// Ethernet header with a tag.
const MAX_HEADER: usize = 18;

/// A kernel interface whose frames are ours too.
#[derive(Debug)]
pub struct AfPacket {
    fd: OwnedFd,
    link: Link,
    mac: MacAddr,
    counters: IoCounters,
    queue: FrameQueue,
}

impl AfPacket {
    /// Opens the interface `name`; takes frames to `macs` too where those are not the interface's own.
    ///
    /// # Errors
    ///
    /// Where it is missing, down, not Ethernet, or not for us.
    pub fn open(name: &str, macs: &[MacAddr]) -> Result<Self, OpenError> {
        let other = |error| OpenError::Other(name.to_owned(), error);
        let link = Netlink::open().and_then(|mut netlink| netlink.link(name));
        let link = link.map_err(|error| match error.raw_os_error() {
            Some(libc::ENODEV | libc::EINVAL | libc::ERANGE) => OpenError::Missing(name.to_owned()),
            _ => other(error),
        })?;
        let fd = sys::socket().map_err(|error| match error.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => OpenError::Privilege(name.to_owned()),
            _ => other(error),
        })?;
        let own = link
            .mac
            .ok_or_else(|| OpenError::NotEthernet(name.to_owned()))?;
        if !link.up {
            return Err(OpenError::Down(name.to_owned()));
        }
        let everything = macs.iter().any(|&mac| mac != own);
        listen(fd.as_fd(), link.index, everything).map_err(other)?;
        Ok(Self {
            fd,
            link,
            mac: own,
            counters: IoCounters::default(),
            queue: FrameQueue::default(),
        })
    }

    /// What remains to be done to the frame in `slot`, done; whether it may be passed on.
    fn finish(&mut self, slot: &mut Slot, received: &Received) -> bool {
        let offload = Offload::parse(&received.offload);
        if received.len > self.longest() || offload.segments {
            self.counters.too_long += 1;
            return false;
        }
        (slot.start, slot.len) = (FRONT, received.len);
        let frame = slot
            .storage
            .get_mut(FRONT..FRONT + received.len)
            .unwrap_or_default();
        self.counters.checksums_completed += u64::from(offload.complete(frame));
        if let Some((tpid, tci)) = received.tag
            && let Some(start) = restore_tag(&mut slot.storage, FRONT, tpid, tci)
        {
            (slot.start, slot.len) = (start, received.len + 4);
            self.counters.tags_restored += 1;
        }
        self.counters.received += 1;
        true
    }
}

impl AsFd for AfPacket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl PacketIo for AfPacket {
    fn receive(&mut self, batch: &mut FrameBatch) -> io::Result<usize> {
        batch.filled = 0;
        let longest = self.longest();
        let mut received = [Received::default(); BATCH];
        let mut rooms: Vec<&mut [u8]> = Vec::with_capacity(BATCH);
        for slot in &mut batch.slots {
            rooms.extend(slot.storage.get_mut(FRONT..).and_then(|room| {
                let len = room.len().min(longest);
                room.get_mut(..len)
            }));
        }
        let taken = match sys::receive(self.fd.as_fd(), &mut rooms, &mut received) {
            Ok(taken) => taken,
            Err(error) if is_temporary(&error) => return Ok(0),
            Err(error) => return Err(error),
        };
        for (index, received) in received.iter().enumerate().take(taken) {
            let Some(slot) = batch.slots.get_mut(index) else {
                break;
            };
            if self.finish(slot, received) {
                // Frames that are passed on move up, in their order.
                batch.slots.swap(batch.filled, index);
                batch.filled += 1;
            }
        }
        Ok(batch.filled)
    }

    fn push(&mut self, frame: &[u8]) {
        self.queue.push(frame);
    }

    fn flush(&mut self) -> io::Result<usize> {
        let queue = std::mem::take(&mut self.queue);
        let sent = self.transmit(&queue);
        self.queue = queue;
        self.queue.clear();
        sent
    }

    fn transmit(&mut self, frames: &FrameQueue) -> io::Result<usize> {
        let frames: Vec<&[u8]> = frames.iter().collect();
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
                Err(_) => {
                    // The kernel does not take this one; the next may be shorter.
                    self.counters.not_sent += 1;
                    rest = rest.get(1..).unwrap_or_default();
                    continue;
                }
            };
            waited = false;
            sent += took;
            rest = rest.get(took..).unwrap_or_default();
        }
        self.counters.transmitted += u64::try_from(sent).unwrap_or(0);
        Ok(sent)
    }

    fn wait_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.fd.as_fd())
    }

    fn counters(&mut self) -> IoCounters {
        self.counters.kernel_drops += u64::from(sys::drops(self.fd.as_fd()).unwrap_or(0));
        self.counters
    }

    fn mac(&self) -> MacAddr {
        self.mac
    }

    fn longest(&self) -> usize {
        usize::try_from(self.link.mtu).unwrap_or(usize::MAX - MAX_HEADER) + MAX_HEADER
    }
}

fn listen(fd: BorrowedFd<'_>, index: u32, everything: bool) -> io::Result<()> {
    let index = libc::c_int::try_from(index).map_err(|_| io::ErrorKind::InvalidInput)?;
    sys::describe_frames(fd)?;
    sys::buffer(fd, BUFFER)?;
    // Neighbor solicitations go to groups that a network card would filter out.
    sys::widen(fd, index, false)?;
    if everything {
        sys::widen(fd, index, true)?;
    }
    sys::bind(fd, index)
}

/// Whether a call may be repeated: nothing there yet, no room yet, or the interface is away for now.
fn is_temporary(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EAGAIN | libc::EINTR | libc::ENOBUFS | libc::ENETDOWN | libc::EINVAL)
    )
}

fn wait_for_room(fd: BorrowedFd<'_>) {
    let mut fds = [PollFd::new(fd, PollFlags::POLLOUT)];
    // Sending again tells whether it helped.
    let _ = poll(&mut fds, PollTimeout::from(SEND_WAIT));
}

#[cfg(test)]
mod tests;
