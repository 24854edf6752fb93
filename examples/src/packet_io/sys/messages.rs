//! Batches of frames in one system call.

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use super::super::BATCH;
use super::super::intake::Received;
use super::super::offload;
use super::{check, int};

/// Room for one control message with auxiliary data.
const CONTROL: usize = 64;

/// Receives up to [`BATCH`] frames, one into each of `rooms`, which have two parts; never waits.
pub(in super::super) fn receive(
    fd: BorrowedFd<'_>,
    rooms: &mut [[&mut [u8]; 2]],
    received: &mut [Received; BATCH],
) -> io::Result<usize> {
    let mut control = [[0u64; CONTROL / 8]; BATCH];
    // SAFETY: these structures are integers and pointers; zero is a value of each.
    let mut parts: [[libc::iovec; 3]; BATCH] = unsafe { mem::zeroed() };
    // SAFETY: as above.
    let mut headers: [libc::mmsghdr; BATCH] = unsafe { mem::zeroed() };
    let slots = headers
        .iter_mut()
        .zip(&mut parts)
        .zip(&mut control)
        .zip(received.iter_mut());
    let mut count = 0;
    for ((((header, parts), control), received), [room, overflow]) in slots.zip(rooms.iter_mut()) {
        let [description, frame, rest] = parts;
        description.iov_base = received.offload.as_mut_ptr().cast();
        description.iov_len = received.offload.len();
        frame.iov_base = room.as_mut_ptr().cast();
        frame.iov_len = room.len();
        rest.iov_base = overflow.as_mut_ptr().cast();
        rest.iov_len = overflow.len();
        header.msg_hdr.msg_iov = parts.as_mut_ptr();
        header.msg_hdr.msg_iovlen = 3;
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
    let answers = headers.iter().zip(received.iter_mut()).zip(rooms);
    for ((header, received), room) in answers.take(taken) {
        received.len = int::<usize, _>(header.msg_len)?.saturating_sub(offload::LEN);
        received.captured = received.len.min(room.iter().map(|part| part.len()).sum());
        received.tag = tag(&header.msg_hdr);
    }
    Ok(taken)
}

/// Sends frames in their order; returns how many the kernel took.
pub(in super::super) fn send(fd: BorrowedFd<'_>, frames: &[&[u8]]) -> io::Result<usize> {
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
