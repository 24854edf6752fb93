//! Ethernet frames from and to the kernel, in batches.
//!
//! [`open()`] takes a name ([`InterfaceName`]) and gives the form that serves it behind one trait. What
//! a wire would never carry is put right here, so that the engine sees what the sender meant: VLAN
//! tags that the kernel took off, and checksums and joined segments that a sender on the same machine
//! left to hardware that is not there.

mod af_packet;
mod batch;
mod conflict;
mod counters;
mod cut;
mod intake;
mod name;
pub mod null;
mod offload;
mod open;
mod pcap;
mod rings;
mod steer;
mod sys;
mod tap;
#[cfg(test)]
mod testing;
mod watch;

use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;

use lw4o6_wire::ethernet::MacAddr;

pub use self::af_packet::AfPacket;
use self::batch::{FRONT, Slot};
pub use self::batch::{FrameBatch, FrameQueue};
pub use self::conflict::{Claim, Conflict, Taken, Whose, conflicts};
pub use self::counters::IoCounters;
pub use self::name::{InterfaceName, NameError};
pub use self::offload::{Kind, Offload};
pub use self::open::{Group, OpenError, OpenOptions, open};
pub use self::pcap::PcapFiles;
pub use self::rings::Rings;
pub use self::tap::Tap;

/// Frames that one call receives at most.
pub const BATCH: usize = 32;

/// A source and sink of Ethernet frames that never waits for frames.
///
/// An interface that goes away is no error: nothing arrives, what is sent is counted as not sent, and
/// once an interface of that name is there again it is used.
pub trait PacketIo {
    /// Receives frames into `batch`, replacing what was there; returns how many.
    ///
    /// # Errors
    ///
    /// Where this source cannot give anything any more, as a malformed file cannot.
    fn receive(&mut self, batch: &mut FrameBatch) -> io::Result<usize>;

    /// Puts a frame behind those that wait for [`PacketIo::flush`]; sends earlier where there is no
    /// more room for them.
    fn push(&mut self, frame: &[u8]);

    /// Sends what was pushed, in its order; returns how many frames the interface took since the last
    /// flush. The others are lost and counted.
    ///
    /// # Errors
    ///
    /// Where this sink cannot take anything any more, as a file on a full disk cannot.
    fn flush(&mut self) -> io::Result<usize>;

    /// Pushes all of `frames` and flushes.
    ///
    /// # Errors
    ///
    /// Those of [`PacketIo::flush`].
    fn transmit(&mut self, frames: &FrameQueue) -> io::Result<usize> {
        frames.iter().for_each(|frame| self.push(frame));
        self.flush()
    }

    /// What to wait for (`POLLIN`) after [`PacketIo::receive`] gave nothing; none where that would be
    /// in vain, because there is always a next frame or never another. Ask before each wait: it changes
    /// when the interface comes back.
    fn wait_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// What it counted so far; asks the kernel for its share.
    fn counters(&mut self) -> IoCounters {
        IoCounters::default()
    }

    /// The interface's Ethernet address.
    fn mac(&self) -> MacAddr {
        MacAddr::default()
    }

    /// Longest frame in bytes, a tagged Ethernet header included, as of the opening.
    fn longest(&self) -> usize {
        1518
    }

    /// Whether frames can pass, as far as is known.
    fn is_up(&self) -> bool {
        !self.ended()
    }

    /// Whether nothing will ever arrive again: the end of a file.
    fn ended(&self) -> bool {
        false
    }
}

impl<P: PacketIo + ?Sized> PacketIo for Box<P> {
    fn receive(&mut self, batch: &mut FrameBatch) -> io::Result<usize> {
        (**self).receive(batch)
    }

    fn push(&mut self, frame: &[u8]) {
        (**self).push(frame);
    }

    fn flush(&mut self) -> io::Result<usize> {
        (**self).flush()
    }

    fn transmit(&mut self, frames: &FrameQueue) -> io::Result<usize> {
        (**self).transmit(frames)
    }

    fn wait_fd(&self) -> Option<BorrowedFd<'_>> {
        (**self).wait_fd()
    }

    fn counters(&mut self) -> IoCounters {
        (**self).counters()
    }

    fn mac(&self) -> MacAddr {
        (**self).mac()
    }

    fn longest(&self) -> usize {
        (**self).longest()
    }

    fn is_up(&self) -> bool {
        (**self).is_up()
    }

    fn ended(&self) -> bool {
        (**self).ended()
    }
}

impl fmt::Debug for dyn PacketIo + Send {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PacketIo")
            .field("mac", &self.mac())
            .finish_non_exhaustive()
    }
}
