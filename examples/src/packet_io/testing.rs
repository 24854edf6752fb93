//! What the tests of several forms need.

use std::time::Duration;

use lw4o6_wire::ethernet::MacAddr;
use nix::sched::{CloneFlags, unshare};
use nix::unistd::gettid;

use super::{FrameBatch, FrameQueue, PacketIo};
use crate::netlink::{Netlink, VethEnd};
use crate::stopwatch::{Stopwatch, wait};

pub(super) const MACS: [MacAddr; 2] = [MacAddr([2, 0, 0, 0, 0, 1]), MacAddr([2, 0, 0, 0, 0, 2])];

/// Runs `test` in a network namespace of its own. Only root may have one in a process with threads;
/// others skip the test (the lab's scenarios run for all).
pub(super) fn in_a_namespace(name: &str, test: impl FnOnce(&mut Netlink) + Send + 'static) {
    let thread = std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).map_err(|error| error.to_string())?;
        test(&mut Netlink::open().unwrap());
        Ok::<(), String>(())
    });
    match thread.join() {
        Ok(Ok(())) => {}
        Ok(Err(why)) => {
            assert!(
                std::env::var_os("CI").is_none(),
                "{name} was skipped: {why}"
            );
            eprintln!("{name} skipped: network namespace: {why}");
        }
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// Runs `test` in a namespace with the interfaces `a` and `b`, joined by a wire.
pub(super) fn on_a_wire(name: &str, up: bool, test: impl FnOnce(&mut Netlink) + Send + 'static) {
    in_a_namespace(name, move |netlink| {
        wire(netlink, up);
        test(netlink);
    });
}

/// Makes the interfaces `a` and `b`, joined by a wire.
pub(super) fn wire(netlink: &mut Netlink, up: bool) {
    wire_as(netlink, up, 0);
}

/// The same, with a number for `a`; 0 lets the kernel choose.
pub(super) fn wire_as(netlink: &mut Netlink, up: bool, index: u32) {
    let end = |name: &str, mac| VethEnd {
        name: name.to_owned(),
        namespace_of: gettid().as_raw().try_into().unwrap(),
        mac,
    };
    let [a, b] = [end("a", MACS[0]), end("b", MACS[1])];
    netlink.create_veth_as([&a, &b], 1500, index).unwrap();
    for name in ["a", "b"] {
        let link = netlink.link(name).unwrap();
        if up {
            netlink.set_up(link.index, true).unwrap();
        }
    }
}

/// Receives until `count` frames are there, or a second has passed.
pub(super) fn receive(io: &mut impl PacketIo, count: usize) -> Vec<Vec<u8>> {
    let mut batch = FrameBatch::new(io.longest());
    let mut frames = Vec::new();
    let watch = Stopwatch::start();
    while frames.len() < count && watch.elapsed() < Duration::from_secs(1) {
        if io.receive(&mut batch).unwrap() == 0 {
            wait(Duration::from_millis(1));
        }
        frames.extend(batch.frames().iter().map(|frame| frame.packet().to_vec()));
    }
    frames
}

pub(super) fn queue(frames: &[Vec<u8>]) -> FrameQueue {
    let mut queue = FrameQueue::default();
    frames.iter().for_each(|frame| queue.push(frame));
    queue
}

/// A frame from `a` to `b` of `len` bytes, with content that depends on `number`.
pub(super) fn frame(number: u8, len: usize) -> Vec<u8> {
    let mut frame = [MACS[1].0, MACS[0].0].concat();
    frame.extend([0x88, 0xb5]); // for experiments
    frame.resize(len, number);
    frame
}

/// Frames from `a` arrive at `b` in order and whole, and do not come back; both count them.
pub(super) fn arrive_in_order(a: &mut impl PacketIo, b: &mut impl PacketIo) {
    assert_eq!((a.mac(), b.mac()), (MACS[0], MACS[1]));
    let sent: Vec<_> = (0..100)
        .map(|number| frame(number, 60 + 14 * usize::from(number)))
        .collect();
    assert_eq!(a.transmit(&queue(&sent)).unwrap(), 100);
    assert_eq!(receive(b, 100), sent);
    assert!(receive(a, 1).is_empty());
    assert_eq!(
        (a.counters().transmitted, b.counters().received),
        (100, 100)
    );
    assert_eq!(b.counters().kernel_drops, 0);
}
