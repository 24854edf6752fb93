//! Memory that the kernel and we write in turn.

use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;
use std::sync::atomic::AtomicU32;

use memmap2::{MmapOptions, MmapRaw};

/// The rings of a packet socket, mapped until dropped.
///
/// Each part of a ring has a status word that says whose it is. The rule of this module's users: read
/// or write the rest of a part only between seeing (Acquire) that it is ours and handing it back
/// (Release). Whatever the kernel does, no access leaves the mapping.
pub(in super::super) struct Mapping(MmapRaw);

impl fmt::Debug for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mapping({} bytes)", self.0.len())
    }
}

impl Mapping {
    /// Maps the first `len` bytes of the socket's rings.
    pub(super) fn new(fd: BorrowedFd<'_>, len: usize) -> io::Result<Self> {
        MmapOptions::new()
            .len(len)
            .map_raw(fd.as_raw_fd())
            .map(Self)
    }

    /// The status word at `offset`; none where there is no such word.
    pub(in super::super) fn word(&self, offset: usize) -> Option<&AtomicU32> {
        if !offset.is_multiple_of(align_of::<AtomicU32>()) {
            return None;
        }
        let word = self.at(offset, size_of::<AtomicU32>())?;
        // SAFETY: the word is inside the mapping, which lives as long as `self`, and aligned, because
        // the mapping starts at a page. Status words are only ever accessed as atomics from here.
        Some(unsafe { AtomicU32::from_ptr(word.cast()) })
    }

    /// Copies the bytes from `offset` on into `to`; whether they are there.
    pub(in super::super) fn read(&self, offset: usize, to: &mut [u8]) -> bool {
        let Some(from) = self.at(offset, to.len()) else {
            return false;
        };
        // SAFETY: the source is inside the mapping and `to` is not, since it is borrowed mutably and
        // nobody has references into the mapping other than to single words. A byte that the kernel
        // wrote meanwhile, against its rule, would be a wrong byte of a packet, no more.
        unsafe { ptr::copy_nonoverlapping(from, to.as_mut_ptr(), to.len()) };
        true
    }

    /// Copies `from` to the bytes from `offset` on; whether there is room.
    pub(in super::super) fn write(&self, offset: usize, from: &[u8]) -> bool {
        let Some(to) = self.at(offset, from.len()) else {
            return false;
        };
        // SAFETY: as for `read`, the other way round; the part of the ring is ours, so the kernel does
        // not look at it before its status word is handed over.
        unsafe { ptr::copy_nonoverlapping(from.as_ptr(), to, from.len()) };
        true
    }

    fn at(&self, offset: usize, len: usize) -> Option<*mut u8> {
        let end = offset.checked_add(len)?;
        // Inside the mapping, so it does not wrap.
        (end <= self.0.len()).then(|| self.0.as_mut_ptr().wrapping_add(offset))
    }
}
