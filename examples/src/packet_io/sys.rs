//! The system calls of packet sockets.
#![expect(
    unsafe_code,
    reason = "no kept crate has packet sockets with auxiliary data"
)]

mod map;
mod messages;

use std::io;
use std::mem::{self, MaybeUninit};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

use nix::sys::socket::sockopt::SocketError;
use nix::sys::socket::{LinkAddr, getsockname, getsockopt};

pub(super) use self::map::Mapping;
pub(super) use self::messages::{receive, send};
use super::steer::Instruction;

/// A packet socket that receives nothing yet.
pub(super) fn socket() -> io::Result<OwnedFd> {
    let kind = libc::SOCK_RAW | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: takes integers only. Protocol 0 receives nothing before `bind`.
    let fd = unsafe { libc::socket(libc::AF_PACKET, kind, 0) };
    check(fd)?;
    // SAFETY: the descriptor was just made and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// What a socket that is bound to an interface receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Receive {
    /// Every protocol.
    Everything,
    /// It only sends.
    Nothing,
}

/// Binds a socket to one interface.
pub(super) fn bind(fd: BorrowedFd<'_>, index: libc::c_int, receive: Receive) -> io::Result<()> {
    // SAFETY: a `sockaddr_ll` consists of integers; zero is a value of each.
    let mut address: libc::sockaddr_ll = unsafe { mem::zeroed() };
    address.sll_family = int(libc::AF_PACKET)?;
    if receive == Receive::Everything {
        address.sll_protocol = int::<u16, _>(libc::ETH_P_ALL)?.to_be();
    }
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
    set(fd, libc::SOL_PACKET, libc::PACKET_IGNORE_OUTGOING, &on)
}

/// Gives the socket a ring of blocks to receive into (version 3 of its layout), each handed over when
/// it is full or `millis` after its first frame.
pub(super) fn receive_ring(
    fd: BorrowedFd<'_>,
    (block, blocks): (usize, usize),
    millis: u32,
) -> io::Result<Mapping> {
    let version = int::<libc::c_int, _>(libc::tpacket_versions::TPACKET_V3 as u32)?;
    set(fd, libc::SOL_PACKET, libc::PACKET_VERSION, &version)?;
    // The kernel checks it although frames have any length.
    let frame = 2048;
    let request = libc::tpacket_req3 {
        tp_block_size: int(block)?,
        tp_block_nr: int(blocks)?,
        tp_frame_size: int(frame)?,
        tp_frame_nr: int(block / frame * blocks)?,
        tp_retire_blk_tov: millis,
        tp_sizeof_priv: 0,
        tp_feature_req_word: 0,
    };
    set(fd, libc::SOL_PACKET, libc::PACKET_RX_RING, &request)?;
    Mapping::new(fd, block * blocks)
}

/// Gives the socket a ring of `slots` to send from (version 2 of its layout), whose frames pass no
/// queueing discipline.
pub(super) fn transmit_ring(fd: BorrowedFd<'_>, slot: usize, slots: usize) -> io::Result<Mapping> {
    let on: libc::c_int = 1;
    let version = int::<libc::c_int, _>(libc::tpacket_versions::TPACKET_V2 as u32)?;
    set(fd, libc::SOL_PACKET, libc::PACKET_VERSION, &version)?;
    set(fd, libc::SOL_PACKET, libc::PACKET_VNET_HDR, &on)?;
    set(fd, libc::SOL_PACKET, libc::PACKET_QDISC_BYPASS, &on)?;
    // Slots and blocks are powers of two, so that the slots follow each other without gaps.
    let block = slot.max(64 * 1024);
    let request = libc::tpacket_req {
        tp_block_size: int(block)?,
        tp_block_nr: int(slot * slots / block)?,
        tp_frame_size: int(slot)?,
        tp_frame_nr: int(slots)?,
    };
    set(fd, libc::SOL_PACKET, libc::PACKET_TX_RING, &request)?;
    Mapping::new(fd, slot * slots)
}

/// Makes a bound socket a member of the group `number`, or of a new one, whose program says which
/// member gets a frame; returns the number.
pub(super) fn join_group(fd: BorrowedFd<'_>, number: Option<u16>) -> io::Result<u16> {
    let mut kind = libc::PACKET_FANOUT_CBPF | libc::PACKET_FANOUT_FLAG_IGNORE_OUTGOING;
    if number.is_none() {
        kind |= libc::PACKET_FANOUT_FLAG_UNIQUEID;
    }
    let request = u32::from(number.unwrap_or(0)) | kind << 16;
    set(fd, libc::SOL_PACKET, libc::PACKET_FANOUT, &request)?;
    if let Some(number) = number {
        return Ok(number);
    }
    let mut founded = 0u32;
    let mut len: libc::socklen_t = int(size_of::<u32>())?;
    // SAFETY: pointer and length describe `founded`, which outlives the call.
    check(unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_FANOUT,
            (&raw mut founded).cast(),
            &raw mut len,
        )
    })?;
    // The upper half is its kind.
    int(founded & 0xffff)
}

/// Gives the group of a socket its program.
pub(super) fn steer(fd: BorrowedFd<'_>, program: &[Instruction]) -> io::Result<()> {
    let filter = |one: &Instruction| libc::sock_filter {
        code: one.code,
        jt: one.jump_true,
        jf: one.jump_false,
        k: one.value,
    };
    let mut filters: Vec<_> = program.iter().map(filter).collect();
    let request = libc::sock_fprog {
        len: int(filters.len())?,
        filter: filters.as_mut_ptr(),
    };
    // The kernel copies the program while it looks at the request.
    set(fd, libc::SOL_PACKET, libc::PACKET_FANOUT_DATA, &request)
}

/// Whether the interface of a socket went away since the last call.
pub(super) fn went_away(fd: BorrowedFd<'_>) -> bool {
    getsockopt(&fd, SocketError) == Ok(libc::ENETDOWN)
}

/// Whether a socket is bound to the interface number `index`; after that was deleted it is not, even
/// where another one has its number.
pub(super) fn is_bound(fd: BorrowedFd<'_>, index: u32) -> bool {
    getsockname::<LinkAddr>(fd.as_raw_fd())
        .is_ok_and(|address| u32::try_from(address.ifindex()).ok() == Some(index))
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

/// Lets a TAP interface stay when no program has it open.
#[cfg(test)]
pub(super) fn keep_tap(tun: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: TUNSETPERSIST takes an integer.
    check(unsafe { libc::ioctl(tun.as_raw_fd(), libc::TUNSETPERSIST, 1) })
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
