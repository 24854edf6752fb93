//! The ring of blocks that the kernel fills.
//!
//! ```text
//! block  0..4 version   4..8 offset of private data   8..12 status   12..16 frames
//!        16..20 offset of the first frame   20..24 length   24.. sequence number, times
//! frame  0..4 offset of the next   4..12 time   12..16 captured   16..20 length   20..24 status
//!        24..26 offset of the Ethernet header   26..28 of the network header
//!        28..32 hash   32..36 VLAN tag   36..38 its type
//! ```
//!
//! Numbers are in native byte order. The `virtio_net_hdr` stands in front of the Ethernet header.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering;

use super::super::intake::Received;
use super::super::offload;
use super::super::sys::{self, Mapping};

/// Bytes of a block; more than the largest frame that a local sender may leave to us to cut.
const BLOCK: usize = 256 * 1024;

/// Blocks of the ring.
const BLOCKS: usize = 64;

/// How long the first frame of a block waits for others at most, in milliseconds.
const RETIRE: u32 = 1;

/// Bytes of a frame's header that we look at.
const HEADER: usize = 40;

/// Offset of a block's status.
const STATUS: usize = 8;

/// A socket that receives through a ring.
#[derive(Debug)]
pub(super) struct RxRing {
    // Before the socket, so that it is unmapped first.
    map: Mapping,
    fd: OwnedFd,
    /// The block whose turn it is, as an offset.
    block: usize,
    /// Whether that block is ours.
    held: bool,
    /// Frames in it that were not asked for yet, and where the next one is.
    left: u32,
    next: usize,
}

impl RxRing {
    /// A ring that receives nothing before the socket is bound.
    pub(super) fn open() -> io::Result<Self> {
        let fd = sys::socket()?;
        sys::describe_frames(fd.as_fd())?;
        let map = sys::receive_ring(fd.as_fd(), (BLOCK, BLOCKS), RETIRE)?;
        Ok(Self {
            map,
            fd,
            block: 0,
            held: false,
            left: 0,
            next: 0,
        })
    }

    /// The memory in which frames are.
    pub(super) fn map(&self) -> &Mapping {
        &self.map
    }

    /// The next frame, as an offset, and what the kernel said about it. The memory is ours until the
    /// next call.
    pub(super) fn next(&mut self) -> Option<(usize, Received)> {
        while self.left == 0 {
            self.next_block()?;
        }
        let mut header = [0; HEADER];
        if !self.map.read(self.next, &mut header) {
            // Not what the kernel writes. The rest of the block is lost.
            self.left = 0;
            return None;
        }
        let frame = self.next + usize::from(half(&header, 24));
        let mut received = Received {
            len: word(&header, 16),
            captured: word(&header, 12),
            tag: tag(&header),
            ..Received::default()
        };
        let description = frame.wrapping_sub(offload::LEN);
        self.map.read(description, &mut received.offload);
        self.next += word(&header, 0);
        self.left -= 1;
        Some((frame, received))
    }

    /// Hands the finished block back and takes the next, if it is there.
    fn next_block(&mut self) -> Option<()> {
        if self.held {
            let status = self.map.word(self.block + STATUS)?;
            // Release: we have read what was in the block.
            status.store(libc::TP_STATUS_KERNEL, Ordering::Release);
            self.held = false;
            self.block = (self.block + BLOCK) % (BLOCK * BLOCKS);
        }
        // Acquire: the kernel wrote the block before its status.
        let status = self.map.word(self.block + STATUS)?.load(Ordering::Acquire);
        if status & libc::TP_STATUS_USER == 0 {
            return None;
        }
        let mut header = [0; 8];
        self.map.read(self.block + 12, &mut header);
        self.held = true;
        self.left = u32::try_from(word(&header, 0)).unwrap_or(0);
        self.next = self.block + word(&header, 4);
        Some(())
    }
}

impl AsFd for RxRing {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn word(header: &[u8], at: usize) -> usize {
    let bytes = header.get(at..).and_then(<[u8]>::first_chunk);
    let value = bytes.map_or(0, |&bytes| u32::from_ne_bytes(bytes));
    usize::try_from(value).unwrap_or(usize::MAX)
}

fn half(header: &[u8], at: usize) -> u16 {
    let bytes = header.get(at..).and_then(<[u8]>::first_chunk);
    bytes.map_or(0, |&bytes| u16::from_ne_bytes(bytes))
}

fn tag(header: &[u8; HEADER]) -> Option<(u16, u16)> {
    let status = u32::try_from(word(header, 20)).unwrap_or(0);
    if status & libc::TP_STATUS_VLAN_VALID == 0 {
        return None;
    }
    let has_type = status & libc::TP_STATUS_VLAN_TPID_VALID != 0;
    let tpid = if has_type { half(header, 36) } else { 0x8100 };
    // The tag is the lower half of a word of 32 bits.
    let [_, _, a, b] = u32::try_from(word(header, 32)).unwrap_or(0).to_be_bytes();
    Some((tpid, u16::from_be_bytes([a, b])))
}
