//! Between two hosts, each in a namespace of its own.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use lw4o6_wire::ethernet::MacAddr;
use nix::sched::{CloneFlags, CpuSet, sched_setaffinity, unshare};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use nix::unistd::{Pid, gettid};

use super::super::testing::{in_a_namespace, on_a_wire};
use super::super::{InterfaceName, OpenOptions, open};
use super::*;
use crate::config::Io;
use crate::netlink::{Netlink, VethEnd};
use crate::stopwatch::{Stopwatch, wait};

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

/// Not a test: run it in a release build, alone.
///
/// `cargo test --release -p lw4o6-examples --lib packet_io::null -- --ignored --nocapture`
#[test]
#[ignore = "measures"]
fn rate_of_the_null_forwarder() {
    for io in [Io::Rings, Io::LowLatency] {
        for len in [60, 512, 1500] {
            on_a_wire("rate", true, move |_| measure(io, len));
        }
    }
}

fn on_cpu(cpu: usize) {
    let mut set = CpuSet::new();
    set.set(cpu).unwrap();
    sched_setaffinity(Pid::from_raw(0), &set).unwrap();
}

/// Frames from `g` to `a`, forwarded to `b`, whose other end `s` drops them.
fn measure(io: Io, len: usize) {
    let own = gettid().as_raw().try_into().unwrap();
    wire([("g", own), ("c", own)], 3);
    let mut netlink = Netlink::open().unwrap();
    for name in ["g", "c"] {
        let index = netlink.link(name).unwrap().index;
        netlink.set_up(index, true).unwrap();
    }
    let with = |name: &str, io| {
        let options = OpenOptions {
            io,
            ..OpenOptions::default()
        };
        open(&InterfaceName::Kernel(name.to_owned()), &options).unwrap()
    };
    let mut generator = with("g", Io::Rings);
    let (mut c, mut a) = (with("c", io), with("a", io));
    let stop = Arc::new(AtomicBool::new(false));
    let (of_generator, of_forwarder) = (stop.clone(), stop.clone());
    let to = c.mac();
    let generator = std::thread::spawn(move || {
        on_cpu(0);
        let mut frame = vec![0u8; len];
        frame[..6].copy_from_slice(&to.0);
        frame[12..14].copy_from_slice(&[0x88, 0xb5]);
        while !of_generator.load(Ordering::Relaxed) {
            (0..64).for_each(|_| generator.push(&frame));
            generator.flush().unwrap();
        }
        generator.counters()
    });
    let forwarder = std::thread::spawn(move || {
        on_cpu(1);
        forward(&mut c, &mut a, &of_forwarder).unwrap();
        let usage = getrusage(UsageWho::RUSAGE_THREAD).unwrap();
        let busy = (usage.user_time() + usage.system_time()).num_microseconds();
        (c.counters(), a.counters(), busy)
    });
    let watch = Stopwatch::start();
    wait(Duration::from_secs(2));
    stop.store(true, Ordering::Relaxed);
    let seconds = watch.elapsed().as_secs_f64();
    let sent = generator.join().unwrap();
    let (c, a, busy) = forwarder.join().unwrap();
    #[expect(clippy::cast_precision_loss, reason = "a rate to print")]
    let rate = |count: u64| count as f64 / seconds / 1e6;
    #[expect(clippy::cast_precision_loss, reason = "a time to print")]
    let nanos = busy as f64 * 1e3 / a.transmitted.max(1) as f64;
    eprintln!(
        "{io:?} {len} bytes: sent {:.2}, received {:.2}, lost {:.2}, forwarded {:.2} Mpps, {nanos:.0} ns each",
        rate(sent.transmitted),
        rate(c.received),
        rate(c.kernel_drops),
        rate(a.transmitted)
    );
}
