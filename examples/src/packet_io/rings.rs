//! Frames through rings that the kernel and we share.
//!
//! ```text
//! kernel --> blocks of frames (version 3) --copy--> batch --> engine
//! kernel <-- one slot each    (version 2) <--copy-- push
//! ```
//!
//! Received frames are copied because the engine needs room in front of them, which the kernel's
//! packing does not leave.

mod rx;
mod tx;

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use lw4o6_wire::ethernet::MacAddr;

use self::rx::RxRing;
use self::tx::TxRing;
use super::intake::Intake;
use super::watch::{Seen, Watch};
use super::{FrameBatch, IoCounters, OpenError, OpenOptions, PacketIo, open, sys};
use crate::netlink::Link;

/// A kernel interface, by rings.
#[derive(Debug)]
pub struct Rings {
    watch: Watch,
    options: OpenOptions,
    mac: MacAddr,
    rx: RxRing,
    tx: TxRing,
    intake: Intake,
    /// Drops of rings that are no more.
    past_drops: u64,
}

impl Rings {
    /// Opens the interface `name`.
    ///
    /// # Errors
    ///
    /// Where it is missing, down, not Ethernet, or not for us.
    pub fn open(name: &str, options: &OpenOptions) -> Result<Self, OpenError> {
        let (link, mac) = open::link(name)?;
        let mut options = options.clone();
        options.macs.push(mac);
        let (rx, tx) = rings(name, &link, &options).map_err(|error| open::error(name, error))?;
        Ok(Self {
            watch: Watch::new(name, link),
            options,
            mac,
            rx,
            tx,
            intake: Intake::new(link.longest()),
            past_drops: 0,
        })
    }

    /// Looks whether the interface is still there, or there again.
    fn look(&mut self) {
        if sys::went_away(self.rx.as_fd()) {
            self.watch.lost();
        }
        let fd = self.rx.as_fd();
        let Seen::Another(link) = self.watch.look(|index| sys::is_bound(fd, index)) else {
            return;
        };
        // Not yet our turn, or gone again: there will be another look.
        if let Ok((rx, tx)) = rings(self.watch.name(), &link, &self.options) {
            self.past_drops += u64::from(sys::drops(self.rx.as_fd()).unwrap_or(0));
            (self.rx, self.tx) = (rx, tx);
            self.watch.found(link);
        }
    }
}

fn rings(name: &str, link: &Link, options: &OpenOptions) -> io::Result<(RxRing, TxRing)> {
    let rx = RxRing::open()?;
    open::listen(rx.as_fd(), name, link, options)?;
    Ok((rx, TxRing::open(link)?))
}

impl PacketIo for Rings {
    fn receive(&mut self, batch: &mut FrameBatch) -> io::Result<usize> {
        batch.clear();
        self.intake.drain(batch);
        while batch.has_room() {
            let Some((frame, received)) = self.rx.next() else {
                break;
            };
            let map = self.rx.map();
            self.intake
                .take(batch, &received, |room| map.read(frame, room));
        }
        if batch.is_empty() || !self.watch.is_up() {
            self.look();
        }
        Ok(batch.len())
    }

    fn push(&mut self, frame: &[u8]) {
        if frame.len() > self.watch.link().longest_of(frame) {
            self.tx.refuse();
        } else {
            self.tx.push(frame);
        }
    }

    fn flush(&mut self) -> io::Result<usize> {
        let taken = self.tx.flush();
        if self.tx.is_down() {
            self.watch.lost();
        }
        Ok(taken)
    }

    fn wait_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.watch.wait_fd().unwrap_or_else(|| self.rx.as_fd()))
    }

    fn counters(&mut self) -> IoCounters {
        self.past_drops += u64::from(sys::drops(self.rx.as_fd()).unwrap_or(0));
        IoCounters {
            transmitted: self.tx.transmitted,
            not_sent: self.tx.not_sent,
            kernel_drops: self.past_drops,
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

#[cfg(test)]
mod tests;
