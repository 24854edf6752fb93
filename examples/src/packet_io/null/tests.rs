//! Between two hosts, each in a namespace of its own.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use lw4o6_wire::ethernet::MacAddr;
use nix::sched::{CloneFlags, unshare};
use nix::unistd::gettid;

use super::super::testing::in_a_namespace;
use super::super::{InterfaceName, OpenOptions, open};
use super::*;
use crate::config::Io;
use crate::netlink::{Netlink, VethEnd};

/// A thread with a namespace of its own.
struct Host<T> {
    thread: JoinHandle<T>,
    id: u32,
    ready: Sender<()>,
}

/// Starts a host that does `work` once its interfaces are there.
fn host<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Host<T> {
    let (ids, id): (Sender<u32>, Receiver<u32>) = channel();
    let (ready, go) = channel();
    let thread = std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        ids.send(gettid().as_raw().try_into().unwrap()).unwrap();
        go.recv().unwrap();
        work()
    });
    let id = id.recv().unwrap();
    Host { thread, id, ready }
}

/// An interface up with everything on, as an administrator would leave it.
fn up(name: &str, address: Ipv4Addr) {
    let mut netlink = Netlink::open().unwrap();
    let index = netlink.link(name).unwrap().index;
    netlink.set_flag_up(index).unwrap();
    netlink.add_address(index, IpAddr::V4(address), 24).unwrap();
}

fn wire(names: [(&str, u32); 2], first: u8) {
    let end = |(name, namespace_of): (&str, u32), last| VethEnd {
        name: name.to_owned(),
        namespace_of,
        mac: MacAddr([2, 0, 0, 0, first, last]),
    };
    let ends = [end(names[0], 1), end(names[1], 2)];
    let mut netlink = Netlink::open().unwrap();
    netlink.create_veth([&ends[0], &ends[1]], 1500).unwrap();
}

const X: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const Y: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
const BYTES: usize = 4_000_000;

/// Bytes that do not repeat with the length of a segment.
fn content() -> Vec<u8> {
    (0..BYTES)
        .map(|at| at.wrapping_mul(2_654_435_761).to_le_bytes()[2])
        .collect()
}

/// Carries a TCP connection between two hosts that leave cutting and checksums to their interfaces;
/// returns what the forwarder's interfaces counted.
fn carry(io: Io) -> [super::super::IoCounters; 2] {
    let y = host(|| {
        up("y", Y);
        let listener = TcpListener::bind((Y, 9)).unwrap();
        let mut stream = listener.accept().unwrap().0;
        let mut got = Vec::new();
        stream.read_to_end(&mut got).unwrap();
        got == content()
    });
    let x = host(|| {
        up("x", X);
        let connect = || TcpStream::connect_timeout(&(Y, 9).into(), Duration::from_secs(1));
        let mut stream = (0..20).find_map(|_| connect().ok()).unwrap();
        stream.write_all(&content()).unwrap();
    });
    let own = gettid().as_raw().try_into().unwrap();
    wire([("x", x.id), ("a", own)], 1);
    wire([("y", y.id), ("b", own)], 2);
    let mut netlink = Netlink::open().unwrap();
    let [mut a, mut b] = ["a", "b"].map(|name| {
        let index = netlink.link(name).unwrap().index;
        netlink.set_flag_up(index).unwrap();
        // Frames to the hosts are not to the interfaces' own addresses.
        let options = OpenOptions {
            io,
            macs: vec![MacAddr([2, 0, 0, 0, 9, 9])],
            ..OpenOptions::default()
        };
        open(&InterfaceName::Kernel(name.to_owned()), &options).unwrap()
    });
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = stop.clone();
    let forwarder = std::thread::spawn(move || {
        forward(&mut a, &mut b, &stopped).unwrap();
        [a.counters(), b.counters()]
    });
    y.ready.send(()).unwrap();
    x.ready.send(()).unwrap();
    x.thread.join().unwrap();
    assert!(y.thread.join().unwrap(), "the content is not what was sent");
    stop.store(true, Ordering::Relaxed);
    forwarder.join().unwrap()
}

#[test]
fn tcp_of_senders_that_do_not_cut_segments_passes_whole() {
    for io in [Io::Rings, Io::LowLatency] {
        in_a_namespace("null forwarder", move |_| {
            let [a, b] = carry(io);
            assert!(a.cut > 0 && a.checksums_completed > 0, "{a:?}");
            assert!(a.received > 2500, "{a:?}");
            assert_eq!((a.too_long, a.not_cut, b.not_cut), (0, 0, 0));
        });
    }
}
