//! The system calls of packet sockets.
#![expect(
    unsafe_code,
    reason = "no kept crate has packet sockets with auxiliary data"
)]

use std::io;
use std::mem::{self, MaybeUninit};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

use super::{BATCH, offload};

/// Room for one control message with auxiliary data.
const CONTROL: usize = 64;

/// `PACKET_IGNORE_OUTGOING` of linux/if_packet.h.
const PACKET_IGNORE_OUTGOING: libc::c_int = 23;

/// What the kernel said about one received frame.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Received {
    /// Its length in bytes; more than the buffer's where it did not fit.
    pub(super) len: usize,
    /// Its `virtio_net_hdr`.
    pub(super) offload: [u8; offload::LEN],
    /// Type and content of the VLAN tag that was taken off.
    pub(super) tag: Option<(u16, u16)>,
}

/// A packet socket that receives nothing yet.
pub(super) fn socket() -> io::Result<OwnedFd> {
    let kind = libc::SOCK_RAW | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: takes integers only. Protocol 0 receives nothing before `bind`.
    let fd = unsafe { libc::socket(libc::AF_PACKET, kind, 0) };
    check(fd)?;
    // SAFETY: the descriptor was just made and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Starts receiving every protocol on one interface.
pub(super) fn bind(fd: BorrowedFd<'_>, index: libc::c_int) -> io::Result<()> {
    // SAFETY: a `sockaddr_ll` consists of integers; zero is a value of each.
    let mut address: libc::sockaddr_ll = unsafe { mem::zeroed() };
    address.sll_family = int(libc::AF_PACKET)?;
    address.sll_protocol = int::<u16, _>(libc::ETH_P_ALL)?.to_be();
    address.sll_ifindex = index;
    let len = int(size_of::<libc::sockaddr_ll>())?;
    // SAFETY: pointer and length describe `address`, which outlives the call.
    check(unsafe { libc::bind(fd.as_raw_fd(), (&raw const address).cast(), len) })
}

/// Asks for descriptions and tags with each frame, and for none of our own frames.
pub(super) fn describe_frames(fd: BorrowedFd<'_>) -> io::Result<()> {
    let on: libc::c_int = 1;
    set(fd, libc::SOL_PACKET, libc::PACKET_VNET_HDR, &on)?;
    set(fd, libc::SOL_PACKET, libc::PACKET_AUXDATA, &on)?;
    set(fd, libc::SOL_PACKET, PACKET_IGNORE_OUTGOING, &on)
}

/// Asks for frames to addresses that are not the interface's: groups, or `all` of them.
pub(super) fn widen(fd: BorrowedFd<'_>, index: libc::c_int, all: bool) -> io::Result<()> {
    let what = if all {
        libc::PACKET_MR_PROMISC
    } else {
        libc::PACKET_MR_ALLMULTI
    };
    let request = libc::packet_mreq {
        mr_ifindex: index,
        mr_type: int(what)?,
        mr_alen: 0,
        mr_address: [0; 8],
    };
    set(fd, libc::SOL_PACKET, libc::PACKET_ADD_MEMBERSHIP, &request)
}

/// Asks for `bytes` of buffer each way; takes less where the system's limit holds for us.
pub(super) fn buffer(fd: BorrowedFd<'_>, bytes: libc::c_int) -> io::Result<()> {
    for (forced, limited) in [
        (libc::SO_RCVBUFFORCE, libc::SO_RCVBUF),
        (libc::SO_SNDBUFFORCE, libc::SO_SNDBUF),
    ] {
        if set(fd, libc::SOL_SOCKET, forced, &bytes).is_err() {
            set(fd, libc::SOL_SOCKET, limited, &bytes)?;
        }
    }
    Ok(())
}

/// Frames that the kernel dropped since the last call.
pub(super) fn drops(fd: BorrowedFd<'_>) -> io::Result<u32> {
    let mut stats = MaybeUninit::<libc::tpacket_stats>::zeroed();
    let mut len: libc::socklen_t = int(size_of::<libc::tpacket_stats>())?;
    // SAFETY: pointer and length describe `stats`, which outlives the call.
    check(unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_STATISTICS,
            stats.as_mut_ptr().cast(),
            &raw mut len,
        )
    })?;
    // SAFETY: it was zeroed, and consists of integers.
    Ok(unsafe { stats.assume_init() }.tp_drops)
}

/// Receives up to [`BATCH`] frames, one into each of `rooms`; never waits.
pub(super) fn receive(
    fd: BorrowedFd<'_>,
    rooms: &mut [&mut [u8]],
    received: &mut [Received; BATCH],
) -> io::Result<usize> {
    let mut control = [[0u64; CONTROL / 8]; BATCH];
    // SAFETY: these structures are integers and pointers; zero is a value of each.
    let mut parts: [[libc::iovec; 2]; BATCH] = unsafe { mem::zeroed() };
    // SAFETY: as above.
    let mut headers: [libc::mmsghdr; BATCH] = unsafe { mem::zeroed() };
    let slots = headers
        .iter_mut()
        .zip(&mut parts)
        .zip(&mut control)
        .zip(received.iter_mut());
    let mut count = 0;
    for ((((header, parts), control), received), room) in slots.zip(rooms) {
        let [description, frame] = parts;
        description.iov_base = received.offload.as_mut_ptr().cast();
        description.iov_len = received.offload.len();
        frame.iov_base = room.as_mut_ptr().cast();
        frame.iov_len = room.len();
        header.msg_hdr.msg_iov = parts.as_mut_ptr();
        header.msg_hdr.msg_iovlen = 2;
        header.msg_hdr.msg_control = control.as_mut_ptr().cast();
        header.msg_hdr.msg_controllen = CONTROL;
        count += 1;
    }
    let flags = libc::MSG_DONTWAIT | libc::MSG_TRUNC;
    // SAFETY: the first `count` headers point to memory that is borrowed mutably until after the
    // call, with its true lengths; a null timeout is allowed.
    let taken = unsafe {
        libc::recvmmsg(
            fd.as_raw_fd(),
            headers.as_mut_ptr(),
            count,
            flags,
            ptr::null_mut(),
        )
    };
    check(taken)?;
    let taken = int::<usize, _>(taken)?;
    for (header, received) in headers.iter().zip(received.iter_mut()).take(taken) {
        received.len = int::<usize, _>(header.msg_len)?.saturating_sub(offload::LEN);
        received.tag = tag(&header.msg_hdr);
    }
    Ok(taken)
}

/// Sends frames in their order; returns how many the kernel took.
pub(super) fn send(fd: BorrowedFd<'_>, frames: &[&[u8]]) -> io::Result<usize> {
    let nothing_left_to_do = [0u8; offload::LEN];
    // SAFETY: these structures are integers and pointers; zero is a value of each.
    let mut parts: [[libc::iovec; 2]; BATCH] = unsafe { mem::zeroed() };
    // SAFETY: as above.
    let mut headers: [libc::mmsghdr; BATCH] = unsafe { mem::zeroed() };
    let mut count = 0;
    for ((header, parts), bytes) in headers.iter_mut().zip(&mut parts).zip(frames) {
        let [description, frame] = parts;
        description.iov_base = nothing_left_to_do.as_ptr().cast_mut().cast();
        description.iov_len = nothing_left_to_do.len();
        frame.iov_base = bytes.as_ptr().cast_mut().cast();
        frame.iov_len = bytes.len();
        header.msg_hdr.msg_iov = parts.as_mut_ptr();
        header.msg_hdr.msg_iovlen = 2;
        count += 1;
    }
    // SAFETY: the first `count` headers point to memory that outlives the call, with its true
    // lengths; sending only reads it.
    let sent = unsafe {
        libc::sendmmsg(
            fd.as_raw_fd(),
            headers.as_mut_ptr(),
            count,
            libc::MSG_DONTWAIT,
        )
    };
    check(sent)?;
    int(sent)
}

/// The VLAN tag among the control messages of a received frame.
fn tag(header: &libc::msghdr) -> Option<(u16, u16)> {
    // SAFETY: `header` was filled in by the kernel; its control buffer is alive and aligned.
    let mut message = unsafe { libc::CMSG_FIRSTHDR(header) };
    while !message.is_null() {
        // SAFETY: the macros return null or a whole header inside the control buffer.
        let found = unsafe { message.read() };
        let needed = int::<u32, _>(size_of::<libc::tpacket_auxdata>()).ok()?;
        // SAFETY: computes a length only.
        let needed = unsafe { libc::CMSG_LEN(needed) };
        if found.cmsg_level == libc::SOL_PACKET
            && found.cmsg_type == libc::PACKET_AUXDATA
            && found.cmsg_len >= int(needed).ok()?
        {
            // SAFETY: the length says that the whole structure is there; it is read unaligned.
            let data = unsafe {
                libc::CMSG_DATA(message)
                    .cast::<libc::tpacket_auxdata>()
                    .read_unaligned()
            };
            return auxiliary_tag(&data);
        }
        // SAFETY: `message` is a header inside the control buffer of `header`.
        message = unsafe { libc::CMSG_NXTHDR(header, message) };
    }
    None
}

fn auxiliary_tag(data: &libc::tpacket_auxdata) -> Option<(u16, u16)> {
    if data.tp_status & libc::TP_STATUS_VLAN_VALID == 0 {
        return None;
    }
    let has_type = data.tp_status & libc::TP_STATUS_VLAN_TPID_VALID != 0;
    let tpid = if has_type { data.tp_vlan_tpid } else { 0x8100 };
    Some((tpid, data.tp_vlan_tci))
}

/// Makes `tun` (`/dev/net/tun`) the far end of the TAP interface `name`, which is created where there
/// is none.
pub(super) fn attach_tap(tun: BorrowedFd<'_>, name: &str) -> io::Result<()> {
    // SAFETY: an `ifreq` consists of integers and pointers; zero is a value of each.
    let mut request: libc::ifreq = unsafe { mem::zeroed() };
    // One byte remains zero, and ends the name.
    let room = request.ifr_name.iter_mut().rev().skip(1).rev();
    if name.len() >= libc::IFNAMSIZ {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for (to, from) in room.zip(name.bytes()) {
        *to = libc::c_char::from_ne_bytes([from]);
    }
    request.ifr_ifru.ifru_flags = int(libc::IFF_TAP | libc::IFF_NO_PI)?;
    // SAFETY: the request points to a whole `ifreq` that outlives the call, as TUNSETIFF wants.
    check(unsafe { libc::ioctl(tun.as_raw_fd(), libc::TUNSETIFF, &raw mut request) })
}

fn set<T>(fd: BorrowedFd<'_>, level: libc::c_int, name: libc::c_int, value: &T) -> io::Result<()> {
    let len = int(size_of::<T>())?;
    // SAFETY: pointer and length describe `value`, which outlives the call; the kernel reads it.
    check(unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            level,
            name,
            ptr::from_ref(value).cast(),
            len,
        )
    })
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

fn int<T: TryFrom<U>, U>(value: U) -> io::Result<T> {
    T::try_from(value).map_err(|_| io::ErrorKind::InvalidInput.into())
}
