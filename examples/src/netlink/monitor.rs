//! Tells when to look.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};

use super::ANSWER_ROOM;

/// Tells that some interface changed.
#[derive(Debug)]
pub struct LinkMonitor(Socket);

/// `RTMGRP_LINK`, the group of changes of interfaces.
const LINK_GROUP: u32 = 1;

impl LinkMonitor {
    /// Begins to listen.
    ///
    /// # Errors
    ///
    /// Where the kernel has no such socket for us.
    pub fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind(&SocketAddr::new(0, LINK_GROUP))?;
        socket.set_non_blocking(true)?;
        Ok(Self(socket))
    }

    /// Whether something changed since the last call.
    pub fn changed(&mut self) -> bool {
        let mut changed = false;
        let mut buffer = Vec::with_capacity(ANSWER_ROOM);
        loop {
            buffer.clear();
            match self.0.recv(&mut buffer, 0) {
                Ok(_) => changed = true,
                // What was lost would have said the same.
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => changed = true,
                Err(_) => return changed,
            }
        }
    }
}

impl AsFd for LinkMonitor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
