//! The far end of a TAP interface's cable.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;

use lw4o6_wire::ethernet::MacAddr;

use super::watch::{Seen, Watch};
use super::{FRONT, FrameBatch, IoCounters, OpenError, PacketIo, sys};
use crate::netlink::Netlink;

/// A TAP interface. The kernel is a host at the other end of the cable, with a MAC address of its own.
///
/// It hands out finished frames: checksums are there, and segments are cut, because we ask for no
/// offloads.
#[derive(Debug)]
pub struct Tap {
    file: File,
    watch: Watch,
    mac: MacAddr,
    longest: usize,
    counters: IoCounters,
    taken: usize,
}

impl Tap {
    /// Opens the interface `name`; creates it where there is none, and takes it up if that is ours to
    /// do. Our address is the first of `macs`, or one made from the interface's.
    ///
    /// # Errors
    ///
    /// Where it is no TAP interface, in use, down, or not for us.
    pub fn open(name: &str, macs: &[MacAddr]) -> Result<Self, OpenError> {
        let other = |error| OpenError::Other(format!("tap:{name}"), error);
        let file = attach(name).map_err(|error| match error.raw_os_error() {
            Some(libc::EPERM) => OpenError::Tap(name.to_owned()),
            Some(libc::EINVAL) => other(io::Error::other(
                "there is another kind of interface of that name",
            )),
            Some(libc::EBUSY) => other(io::Error::other("another program has it open")),
            _ => other(error),
        })?;
        let mut netlink = Netlink::open().map_err(other)?;
        let mut link = netlink.link(name).map_err(other)?;
        if !link.up {
            netlink
                .set_flag_up(link.index)
                .map_err(|_| OpenError::Down(name.to_owned()))?;
            link.up = true;
        }
        Ok(Self {
            file,
            mac: macs.first().copied().unwrap_or_else(|| far_end(link.mac)),
            longest: link.longest(),
            watch: Watch::new(name, link),
            counters: IoCounters::default(),
            taken: 0,
        })
    }

    /// Looks whether the interface is there again. We do not make it again ourselves: whoever deleted
    /// it had a reason.
    fn look(&mut self) {
        let Seen::Another(link) = self.watch.look(|_| false) else {
            return;
        };
        // In use, or gone again: there will be another look.
        if let Ok(file) = attach(self.watch.name()) {
            self.file = file;
            self.watch.found(link);
        }
    }

    /// Takes note of why nothing can be read or written.
    fn note(&mut self, error: &io::Error) {
        // Its other end is no more.
        if error.raw_os_error() == Some(libc::EBADFD) {
            self.watch.lost();
        }
    }
}

fn attach(name: &str) -> io::Result<File> {
    let mut options = File::options();
    options
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK);
    let file = options.open("/dev/net/tun")?;
    sys::attach_tap(file.as_fd(), name)?;
    Ok(file)
}

/// An address beside `near`, of the local kind, that is never the same.
fn far_end(near: Option<MacAddr>) -> MacAddr {
    let MacAddr([first, rest @ .., last]) = near.unwrap_or_default();
    let mut mac = [first & 0xfe | 2, 0, 0, 0, 0, last ^ 1];
    if let Some(middle) = mac.get_mut(1..5) {
        middle.copy_from_slice(&rest);
    }
    MacAddr(mac)
}

impl PacketIo for Tap {
    fn receive(&mut self, batch: &mut FrameBatch) -> io::Result<usize> {
        batch.clear();
        self.look();
        let longest = self.longest;
        while let Some(slot) = batch.next_slot() {
            // One byte more tells what is too long: the MTU may have been raised.
            let end = slot.storage.len().min(FRONT + longest + 1);
            let room = slot.storage.get_mut(FRONT..end).unwrap_or_default();
            let len = match self.file.read(room) {
                Ok(len) => len,
                Err(error) => {
                    self.note(&error);
                    break;
                }
            };
            if len > longest {
                self.counters.too_long += 1;
                continue;
            }
            (slot.start, slot.len) = (FRONT, len);
            batch.took();
            self.counters.received += 1;
        }
        Ok(batch.filled)
    }

    fn push(&mut self, frame: &[u8]) {
        match self.file.write(frame) {
            Ok(len) if len == frame.len() => {
                self.taken += 1;
                self.counters.transmitted += 1;
            }
            Ok(_) => self.counters.not_sent += 1,
            Err(error) => {
                self.counters.not_sent += 1;
                self.note(&error);
            }
        }
    }

    fn flush(&mut self) -> io::Result<usize> {
        Ok(std::mem::take(&mut self.taken))
    }

    fn wait_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.watch.wait_fd().unwrap_or_else(|| self.file.as_fd()))
    }

    fn counters(&mut self) -> IoCounters {
        IoCounters {
            link_losses: self.watch.losses(),
            ..self.counters
        }
    }

    fn mac(&self) -> MacAddr {
        self.mac
    }

    fn longest(&self) -> usize {
        self.longest
    }

    fn is_up(&self) -> bool {
        self.watch.is_up()
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr, UdpSocket};
    use std::time::Duration;

    use lw4o6_wire::{EtherType, Ipv4Packet, ethernet};

    use super::super::testing::{in_a_namespace, receive};
    use super::*;
    use crate::stopwatch::wait;

    #[test]
    fn the_kernel_is_a_host_at_the_other_end_of_a_tap_interface() {
        in_a_namespace("tap", |netlink| {
            let mut io = Tap::open("lw0", &[]).unwrap();
            let link = netlink.link("lw0").unwrap();
            assert!(link.up);
            assert_ne!(Some(io.mac()), link.mac);
            assert_eq!(io.longest(), 1518);
            let (own, peer) = (Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 2));
            netlink
                .add_address(link.index, IpAddr::V4(own), 24)
                .unwrap();
            netlink
                .add_neighbor(link.index, IpAddr::V4(peer), io.mac())
                .unwrap();
            let socket = UdpSocket::bind((own, 4000)).unwrap();
            socket.send_to(b"there", (peer, 9)).unwrap();
            let is_udp = |bytes: &Vec<u8>| bytes[12..14] == [8, 0];
            let mut frames: Vec<Vec<u8>> = Vec::new();
            for _ in 0..20 {
                frames.extend(receive(&mut io, 1).into_iter().filter(is_udp));
                if !frames.is_empty() {
                    break;
                }
            }
            let frame = ethernet::split(&frames[0]).unwrap();
            assert_eq!(frame.ethertype, EtherType::IPV4);
            let packet = Ipv4Packet::split(frame.payload).unwrap();
            assert_eq!(packet.payload[8..], *b"there");
            // And back: source and destination change places, which no checksum minds.
            let mut back = frames[0].clone();
            back[..6].copy_from_slice(&link.mac.unwrap().0);
            back[6..12].copy_from_slice(&io.mac().0);
            let (a, b) = (back[26..30].to_vec(), back[30..34].to_vec());
            back[26..30].copy_from_slice(&b);
            back[30..34].copy_from_slice(&a);
            let (a, b) = (back[34..36].to_vec(), back[36..38].to_vec());
            back[34..36].copy_from_slice(&b);
            back[36..38].copy_from_slice(&a);
            let socket = UdpSocket::bind((own, 9)).unwrap();
            socket
                .set_read_timeout(Some(Duration::from_secs(2)))
                .unwrap();
            // The kernel checks that the sender is a neighbor of the interface: it is, by the prefix.
            back[36..38].copy_from_slice(&9u16.to_be_bytes());
            back[34..36].copy_from_slice(&4000u16.to_be_bytes());
            io.push(&back);
            assert_eq!(io.flush().unwrap(), 1);
            let mut bytes = [0; 100];
            assert_eq!(socket.recv(&mut bytes).unwrap(), 5);
            assert_eq!(io.counters().transmitted, 1);
        });
    }

    #[test]
    fn a_tap_interface_that_is_down_is_waited_for() {
        in_a_namespace("tap down", |netlink| {
            let mut io = Tap::open("lw0", &[]).unwrap();
            let index = netlink.link("lw0").unwrap().index;
            netlink.set_down(index).unwrap();
            io.push(&[0; 60]);
            assert_eq!(io.flush().unwrap(), 0);
            assert_eq!(io.counters().not_sent, 1);
            assert!(receive(&mut io, 1).is_empty());
            netlink.set_flag_up(index).unwrap();
            wait(Duration::from_millis(1));
            io.push(&[0; 60]);
            assert_eq!(io.flush().unwrap(), 1);
        });
    }

    #[test]
    fn a_tap_interface_that_is_deleted_and_made_again_goes_on() {
        in_a_namespace("tap made again", |netlink| {
            let mut io = Tap::open("lw0", &[]).unwrap();
            let index = netlink.link("lw0").unwrap().index;
            netlink.delete_link(index).unwrap();
            assert!(receive(&mut io, 1).is_empty());
            io.push(&[0; 60]);
            assert_eq!(io.flush().unwrap(), 0);
            assert!(!io.is_up());
            // As `ip tuntap add` makes it: it stays without a program.
            let again = attach("lw0").unwrap();
            sys::keep_tap(again.as_fd()).unwrap();
            let index = netlink.link("lw0").unwrap().index;
            netlink.set_flag_up(index).unwrap();
            drop(again);
            assert!(receive(&mut io, 1).is_empty() || io.is_up());
            assert!(io.is_up());
            io.push(&[0; 60]);
            assert_eq!((io.flush().unwrap(), io.counters().link_losses), (1, 1));
        });
    }

    #[test]
    fn a_tap_interface_in_use_is_refused() {
        in_a_namespace("tap in use", |_| {
            let _io = Tap::open("lw0", &[]).unwrap();
            let error = Tap::open("lw0", &[]).unwrap_err().to_string();
            assert!(error.contains("another program has it open"), "{error}");
            let error = Tap::open("lo", &[]).unwrap_err().to_string();
            assert!(error.contains("another kind of interface"), "{error}");
        });
    }
}
