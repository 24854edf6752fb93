//! A forwarder that does nothing: what the same interfaces could carry without an engine.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::{FrameBatch, PacketIo};

/// Longest wait for frames, in milliseconds; `stop` is looked at after it.
const WAIT: u16 = 50;

/// Everything that arrives at `a` leaves by `b`, and back, until `stop`. Returns the frames that were
/// received, from `a` and from `b`.
///
/// # Errors
///
/// Those of the interfaces.
pub fn forward(
    a: &mut dyn PacketIo,
    b: &mut dyn PacketIo,
    stop: &AtomicBool,
) -> io::Result<[u64; 2]> {
    let mut batch = FrameBatch::new(a.longest().max(b.longest()));
    let mut received = [0, 0];
    while !stop.load(Ordering::Relaxed) {
        let there = one_way(a, b, &mut batch)?;
        let back = one_way(b, a, &mut batch)?;
        let [from_a, from_b] = &mut received;
        *from_a += there;
        *from_b += back;
        if there + back == 0 {
            if a.ended() && b.ended() {
                break;
            }
            let fds = [a.wait_fd(), b.wait_fd()].into_iter().flatten();
            let mut fds: Vec<_> = fds.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
            // An interrupted wait is a short one.
            let _ = poll(&mut fds, PollTimeout::from(WAIT));
        }
    }
    Ok(received)
}

fn one_way(
    from: &mut dyn PacketIo,
    to: &mut dyn PacketIo,
    batch: &mut FrameBatch,
) -> io::Result<u64> {
    let received = from.receive(batch)?;
    if received > 0 {
        for frame in batch.packets() {
            to.push(frame);
        }
        to.flush()?;
    }
    Ok(u64::try_from(received).unwrap_or(0))
}

#[cfg(test)]
mod tests;
