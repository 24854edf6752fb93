//! On pairs of virtual interfaces, in a network namespace of the test's own.

use std::time::Duration;

use super::super::InterfaceName;
use super::super::testing::{arrive_in_order, frame, on_a_wire, queue, receive, wire, wire_as};
use super::*;
use crate::config::Io;
use crate::stopwatch::{Stopwatch, wait};

fn rings_on(name: &str) -> Rings {
    Rings::open(name, &OpenOptions::default()).unwrap()
}

#[test]
fn frames_arrive_in_order_and_our_own_do_not_come_back() {
    on_a_wire("rings in order", true, |_| {
        let (mut a, mut b) = (rings_on("a"), rings_on("b"));
        arrive_in_order(&mut a, &mut b);
    });
}

#[test]
fn more_frames_than_both_rings_hold_pass_in_order() {
    on_a_wire("rings wrap", true, |_| {
        let (mut a, mut b) = (rings_on("a"), rings_on("b"));
        let mut batch = FrameBatch::new(b.longest());
        let (mut sent, mut got) = (0u32, 0u32);
        let watch = Stopwatch::start();
        while got < 100_000 && watch.elapsed() < Duration::from_secs(20) {
            for _ in 0..32.min(100_000 - sent) {
                let mut frame = frame(0, 60 + sent as usize % 900);
                frame[20..24].copy_from_slice(&sent.to_be_bytes());
                a.push(&frame);
                sent += 1;
            }
            a.flush().unwrap();
            b.receive(&mut batch).unwrap();
            for frame in batch.frames() {
                assert_eq!(frame.packet().len(), 60 + got as usize % 900);
                assert_eq!(frame.packet()[20..24], got.to_be_bytes());
                got += 1;
            }
        }
        assert_eq!((got, a.counters().not_sent), (100_000, 0));
    });
}

#[test]
fn a_frame_that_is_too_long_is_counted_and_the_others_are_sent() {
    on_a_wire("rings, too long", true, |_| {
        let (mut a, mut b) = (rings_on("a"), rings_on("b"));
        let mut tagged = frame(3, 1518);
        tagged[12..16].copy_from_slice(&[0x81, 0, 0, 5]);
        let frames = [frame(1, 60), frame(2, 1515), tagged.clone(), frame(4, 1514)];
        assert_eq!(a.transmit(&queue(&frames)).unwrap(), 3);
        assert_eq!(a.counters().not_sent, 1);
        assert_eq!(receive(&mut b, 3), [frame(1, 60), tagged, frame(4, 1514)]);
    });
}

fn open_both(io: Io) -> [Box<dyn PacketIo + Send>; 2] {
    ["a", "b"].map(|name| {
        let options = OpenOptions {
            io,
            ..OpenOptions::default()
        };
        open(&InterfaceName::Kernel(name.to_owned()), &options).unwrap()
    })
}

#[test]
fn an_interface_that_goes_down_and_comes_back_goes_on() {
    for io in [Io::Rings, Io::LowLatency] {
        on_a_wire("link flap", true, move |netlink| {
            let [mut a, mut b] = open_both(io);
            let index = netlink.link("b").unwrap().index;
            netlink.set_down(index).unwrap();
            assert!(receive(&mut b, 1).is_empty());
            assert!(!b.is_up());
            a.transmit(&queue(&[frame(1, 60)])).unwrap();
            b.transmit(&queue(&[frame(1, 60)])).unwrap();
            assert_eq!(b.counters().not_sent, 1);
            netlink.set_flag_up(index).unwrap();
            pass(&mut a, &mut b);
            assert_eq!((b.is_up(), b.counters().link_losses), (true, 1));
        });
    }
}

#[test]
fn an_interface_that_is_deleted_and_made_again_goes_on() {
    for io in [Io::Rings, Io::LowLatency] {
        on_a_wire("link made again", true, move |netlink| {
            let [mut a, mut b] = open_both(io);
            pass(&mut a, &mut b);
            let index = netlink.link("b").unwrap().index;
            netlink.delete_link(index).unwrap();
            assert!(receive(&mut b, 1).is_empty());
            assert!(receive(&mut a, 1).is_empty());
            assert!(!a.is_up() && !b.is_up());
            a.transmit(&queue(&[frame(1, 60)])).unwrap();
            assert_eq!(a.counters().not_sent, 1);
            wire(netlink, true);
            assert_ne!(netlink.link("b").unwrap().index, index);
            pass(&mut a, &mut b);
            pass(&mut b, &mut a);
            let losses = [&mut a, &mut b].map(|io| io.counters().link_losses);
            assert_eq!(losses, [1, 1]);
        });
    }
}

#[test]
fn an_interface_that_is_made_again_under_its_old_number_goes_on() {
    for io in [Io::Rings, Io::LowLatency] {
        on_a_wire("old number", true, move |netlink| {
            let [mut a, mut b] = open_both(io);
            let index = netlink.link("a").unwrap().index;
            netlink.delete_link(index).unwrap();
            assert!(receive(&mut a, 1).is_empty());
            assert!(receive(&mut b, 1).is_empty());
            wire_as(netlink, true, index);
            assert_eq!(netlink.link("a").unwrap().index, index);
            pass(&mut b, &mut a);
            pass(&mut a, &mut b);
        });
    }
}

/// Sends until something arrives: the kernel takes up to a second to see the wire again.
fn pass(from: &mut dyn PacketIo, to: &mut dyn PacketIo) {
    let watch = Stopwatch::start();
    let mut got = Vec::new();
    let mut batch = FrameBatch::new(from.longest().max(to.longest()));
    while got.is_empty() && watch.elapsed() < Duration::from_secs(10) {
        // It looks for its interface when it is asked for frames.
        from.receive(&mut batch).unwrap();
        from.transmit(&queue(&[frame(2, 60)])).unwrap();
        wait(Duration::from_millis(10));
        to.receive(&mut batch).unwrap();
        got.extend(batch.packets().map(<[u8]>::to_vec));
    }
    assert_eq!(got.first(), Some(&frame(2, 60)));
}
