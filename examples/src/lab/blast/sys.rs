//! The system calls of the traffic generator.
#![expect(
    unsafe_code,
    reason = "no kept crate sends prepared frames without building the request anew"
)]

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr;
use std::time::Duration;

/// Frames, and the requests that send them.
pub(super) struct Prepared {
    fd: OwnedFd,
    /// What `headers` point to; neither is moved or changed after the start.
    _frames: Vec<Box<[u8]>>,
    _parts: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
}

impl Prepared {
    /// Opens a socket on interface number `index` that sends and receives nothing.
    pub(super) fn new(index: u32, frames: Vec<Box<[u8]>>) -> io::Result<Self> {
        let fd = socket()?;
        bypass(&fd)?;
        bind(&fd, index)?;
        let part = |frame: &[u8]| libc::iovec {
            iov_base: frame.as_ptr().cast_mut().cast(),
            iov_len: frame.len(),
        };
        let mut parts: Vec<libc::iovec> = frames.iter().map(|frame| part(frame)).collect();
        let header = |part: &mut libc::iovec| {
            // SAFETY: an `mmsghdr` is integers and pointers; zero is a value of each.
            let mut header: libc::mmsghdr = unsafe { mem::zeroed() };
            header.msg_hdr.msg_iov = ptr::from_mut(part);
            header.msg_hdr.msg_iovlen = 1;
            header
        };
        let headers = parts.iter_mut().map(header).collect();
        Ok(Self {
            fd,
            _frames: frames,
            _parts: parts,
            headers,
        })
    }

    /// Number of frames.
    pub(super) fn len(&self) -> usize {
        self.headers.len()
    }

    /// Sends up to `count` frames from number `at` on; returns how many the interface took, or what it
    /// said about the first.
    pub(super) fn send(&mut self, at: usize, count: usize) -> io::Result<usize> {
        let headers = self.headers.get_mut(at..).unwrap_or_default();
        let count = headers.len().min(count);
        let request = libc::c_uint::try_from(count).map_err(|_| io::ErrorKind::InvalidInput)?;
        // SAFETY: the first `count` headers exist, and point to parts and frames that live as long as
        // `self`, with their true lengths; sending only reads them.
        let sent = unsafe {
            libc::sendmmsg(
                self.fd.as_raw_fd(),
                headers.as_mut_ptr(),
                request,
                libc::MSG_DONTWAIT,
            )
        };
        check(sent)?;
        usize::try_from(sent).map_err(|_| io::ErrorKind::InvalidData.into())
    }
}

/// Processor time that this thread has used.
pub(super) fn thread_time() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the pointer is to a structure that outlives the call.
    let done = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u32::try_from(time.tv_nsec).unwrap_or(0);
    if done == 0 {
        Duration::new(seconds, nanos)
    } else {
        Duration::ZERO
    }
}

fn socket() -> io::Result<OwnedFd> {
    // SAFETY: takes integers only. Protocol 0 receives nothing.
    let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
    check(fd)?;
    // SAFETY: the descriptor was just made and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Past the queueing discipline.
fn bypass(fd: &OwnedFd) -> io::Result<()> {
    let on: libc::c_int = 1;
    let len = libc::socklen_t::try_from(size_of::<libc::c_int>());
    // SAFETY: pointer and length describe `on`, which outlives the call; the kernel reads it.
    check(unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_QDISC_BYPASS,
            ptr::from_ref(&on).cast(),
            len.map_err(|_| io::ErrorKind::InvalidInput)?,
        )
    })
}

fn bind(fd: &OwnedFd, index: u32) -> io::Result<()> {
    let wrong = || io::Error::from(io::ErrorKind::InvalidInput);
    // SAFETY: a `sockaddr_ll` consists of integers; zero is a value of each.
    let mut address: libc::sockaddr_ll = unsafe { mem::zeroed() };
    address.sll_family = u16::try_from(libc::AF_PACKET).map_err(|_| wrong())?;
    address.sll_ifindex = libc::c_int::try_from(index).map_err(|_| wrong())?;
    let len = libc::socklen_t::try_from(size_of::<libc::sockaddr_ll>()).map_err(|_| wrong())?;
    // SAFETY: pointer and length describe `address`, which outlives the call.
    check(unsafe { libc::bind(fd.as_raw_fd(), (&raw const address).cast(), len) })
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}
