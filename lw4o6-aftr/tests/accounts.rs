//! Every frame of a port is accounted for, whatever comes and in whichever order it is polled.
#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a panic is a failed test"
)]

mod common;
mod wired;

use core::time::Duration;

use common::AFTR;
use common::traffic::{Dice, burst, scale};
use lw4o6_aftr::config::FragmentHandling;
use lw4o6_aftr::port::{Accounts, Equation, NextHop, Nic, PortConfig, PortVerdict};
use lw4o6_aftr::{AftrConfig, DropReason, Side};
use lw4o6_wire::arp::ArpFields;
use lw4o6_wire::ethernet::MacAddr;
use lw4o6_wire::ndp::NeighborAdvert;
use lw4o6_wire::{EtherType, FrameBuf, HEADROOM};
use testkit::packet::{V4, V6, tunnel};
use wired::*;

/// What an observer on the wires counts, by interface.
#[derive(Debug, Default)]
struct Wires {
    into: [u64; 2],
    out: [u64; 2],
    local: u64,
    dropped: u64,
}

fn index(nic: Nic) -> usize {
    usize::from(nic.0)
}

impl Wires {
    fn see(&mut self, verdict: PortVerdict) {
        match verdict {
            PortVerdict::Transmit(nic) => self.out[index(nic)] += 1,
            PortVerdict::Local(..) => self.local += 1,
            PortVerdict::Drop(_) => self.dropped += 1,
            PortVerdict::Consumed => {}
        }
    }

    /// The port's accounts close, and say what was seen. Each interface is one side here.
    fn agree(&self, accounts: &Accounts) {
        assert_eq!(accounts.check(), Ok(()), "{accounts:#?}");
        for (side, nic) in [(Side::Internet, NIC4), (Side::Softwire, NIC6)] {
            let (received, sent) = (accounts.received(side), accounts.sent(side));
            assert_eq!(received.frames, self.into[index(nic)], "{side:?}");
            assert_eq!(sent.frames, self.out[index(nic)], "{side:?}");
        }
        let both = |count: fn(&lw4o6_aftr::port::Received) -> u64| {
            accounts.received.iter().map(count).sum::<u64>()
        };
        assert_eq!(both(|r| r.local) + accounts.made.local, self.local);
        assert_eq!(both(|r| r.dropped), self.dropped);
    }
}

/// Frames of one interface: traffic, questions of neighbors, answers of next hops, and dirt.
fn frames(dice: &mut Dice) -> (Nic, Vec<Vec<u8>>) {
    let (nic, mut frames) = match dice.roll(8) {
        0 => (NIC4, vec![neighbors4(dice)]),
        1 => (NIC6, vec![neighbors6(dice)]),
        2 => {
            // For the owner, in pieces.
            let packet = V6::raw(17, common::B4, AFTR, &[0; 1400]);
            let ident = u32::try_from(dice.roll(1000)).unwrap();
            let packets = packet.fragments(1280, ident);
            (NIC6, packets.iter().map(|p| in6(p)).collect())
        }
        _ => match burst(dice) {
            (Side::Internet, packets) => (NIC4, packets.iter().map(|p| in4(p)).collect()),
            (Side::Softwire, packets) => (NIC6, packets.iter().map(|p| in6(p)).collect()),
        },
    };
    for frame in &mut frames {
        if dice.roll(30) == 0 {
            let at = dice.roll(frame.len());
            frame[at] ^= 1 << dice.roll(8);
        }
        match dice.roll(60) {
            0 => frame.truncate(dice.roll(60)),
            1 => *frame = tagged(7, frame),
            _ => {}
        }
    }
    dice.shuffle(&mut frames);
    (nic, frames)
}

fn neighbors4(dice: &mut Dice) -> Vec<u8> {
    let asked = dice.pick(&["203.0.113.1", "203.0.113.2", "192.0.2.18"]);
    match dice.roll(3) {
        0 => {
            let reply = ArpFields::request(OWN4, IP4, HOP4_IP).reply_from(HOP4);
            frame(OWN4, HOP4, EtherType::ARP, &reply.to_bytes())
        }
        _ => arp(
            MacAddr::BROADCAST,
            ArpFields::request(OTHER, v4("203.0.113.77"), v4(asked)),
        ),
    }
}

fn neighbors6(dice: &mut Dice) -> Vec<u8> {
    let packet = match dice.roll(3) {
        0 => {
            let advert = NeighborAdvert::unsolicited(v6(HOP6_IP), HOP6);
            advertisement(HOP6_IP, "ff02::1", &advert)
        }
        _ => solicitation("fe80::99", AFTR, AFTR, Some(OTHER)),
    };
    frame(OWN6, OTHER, EtherType::IPV6, &packet)
}

/// Feeds frames until the port takes no more; what it refuses is dropped, as `process` does.
fn feed(wired: &mut Wired, wires: &mut Wires, nic: Nic, frames: &[Vec<u8>]) {
    let mut storage: Vec<Vec<u8>> = frames
        .iter()
        .map(|frame| vec![0; HEADROOM + frame.len() + 64])
        .collect();
    let mut bufs: Vec<FrameBuf<'_>> = storage
        .iter_mut()
        .zip(frames)
        .map(|(storage, frame)| FrameBuf::with_headroom(storage, HEADROOM, frame).unwrap())
        .collect();
    let mut first = 0;
    while first < bufs.len() {
        let mut verdicts = vec![PortVerdict::Consumed; bufs.len() - first];
        let now = wired.now;
        let mut taken = wired
            .port
            .process_batch(now, nic, &mut bufs[first..], &mut verdicts);
        if taken == 0 {
            verdicts[0] = wired.port.process(now, nic, &mut bufs[first]);
            taken = 1;
        }
        wires.into[index(nic)] += taken as u64;
        for verdict in &verdicts[..taken] {
            wires.see(*verdict);
        }
        wires.agree(&wired.port.accounts());
        first += taken;
    }
}

/// Polls `count` frames at most.
fn poll(wired: &mut Wired, wires: &mut Wires, count: usize) {
    let mut storage = vec![0; 70_000];
    for _ in 0..count {
        let mut frame = FrameBuf::new(&mut storage, 0, 0).unwrap();
        let polled = wired.port.poll_frame(&mut frame).unwrap();
        let Some(output) = polled else { break };
        wires.see(output.verdict);
        wires.agree(&wired.port.accounts());
    }
}

/// Frames, polls and time at random; at the end nothing is left over. The sum of the accounts at
/// every step.
fn law(seed: u64, config: PortConfig, knobs: fn(&mut AftrConfig), greed: usize) -> Accounts {
    let mut dice = Dice(seed);
    let follows = config.softwire.next_hop == NextHop::Shared;
    let mut wired = Wired::with(config, knobs);
    let mut wires = Wires::default();
    let mut all = Accounts::default();
    for round in 0..1000 {
        let (nic, frames) = frames(&mut dice);
        feed(&mut wired, &mut wires, nic, &frames);
        let count = dice.roll(greed);
        poll(&mut wired, &mut wires, count);
        if dice.roll(10) == 0 {
            wired.now += Duration::from_millis(u64::from(dice.pick(&[1_u32, 300, 3_000, 20_000])));
            wired.port.handle_timeout(wired.now);
        }
        if follows && dice.roll(10) == 0 {
            let side = dice.pick(&Side::ALL);
            let hop = dice.pick(&[None, None, Some(HOP6)]);
            wired.port.set_next_hop(side, hop);
        }
        wires.agree(&wired.port.accounts());
        let shared = wired.port.shared_counters();
        assert_eq!(shared.settled_accounts(), Some(wired.port.accounts()));
        assert!(round > 0 || shared.port() == wired.port.counters());
        all.add(&wired.port.accounts());
    }
    poll(&mut wired, &mut wires, usize::MAX);
    wired.now += Duration::from_secs(100);
    wired.port.handle_timeout(wired.now);
    poll(&mut wired, &mut wires, usize::MAX);
    let end = wired.port.accounts();
    wires.agree(&end);
    for side in Side::ALL {
        assert_eq!(end.received(side).held, 0);
        assert_eq!(end.sent(side).queued, 0);
    }
    assert_eq!(end.made.queued, 0);
    all
}

fn small(config: &mut AftrConfig) {
    config.slab_bytes = 512 << 10;
    config.reassembly.bytes = 256 << 10;
    config.fragments.bytes = 96 << 10;
    config.ipv6_mtu = 1280;
}

#[test]
fn the_books_close_after_every_call() {
    let mut seen = Accounts::default();
    for seed in 1..=3 * scale() {
        let mut unknown = ports();
        unknown.waiting = 3;
        let mut dropping = ports();
        dropping.waiting = 0;
        let mut follower = unknown.clone();
        follower.internet.next_hop = NextHop::Shared;
        follower.softwire.next_hop = NextHop::Shared;
        for config in [resolved(), unknown, dropping, follower] {
            seen.add(&law(seed, config, |_| {}, 50));
        }
        seen.add(&law(seed + 100, resolved(), small, 2));
        seen.add(&law(seed + 200, ports(), small, 10));
        let reassemble = |config: &mut AftrConfig| {
            config.fragments.handling = FragmentHandling::Reassemble;
        };
        seen.add(&law(seed + 300, resolved(), reassemble, 50));
    }
    // Sums close, too, and everything was among it.
    assert_eq!(seen.check(), Ok(()));
    let both = |at: usize| seen.received[at].iter().chain(seen.sent[at].iter());
    for at in [0, 1] {
        for (name, count) in both(at) {
            // No frame is kept twice on the Internet side; `lost` has a test of its own.
            let spared = name == "again" && at == 1 || name == "lost";
            assert!(count > 0 || spared, "{name} of {:?}", Side::ALL[at]);
        }
    }
    for (name, count) in seen.made.iter() {
        assert!(count > 0, "{name}");
    }
}

#[test]
fn control_frames_that_nobody_polls_are_accounted_for() {
    let mut wired = Wired::new(resolved());
    let mut wires = Wires::default();
    let request = ArpFields::request(OTHER, v4("203.0.113.77"), IP4);
    let frames = vec![arp(MacAddr::BROADCAST, request); 1100];
    feed(&mut wired, &mut wires, NIC4, &frames);
    let sent = *wired.port.accounts().sent(Side::Internet);
    assert_eq!((sent.control, sent.queued, sent.lost), (1100, 1024, 76));
    assert_eq!(wired.port.counters().control_lost, 76);
    poll(&mut wired, &mut wires, usize::MAX);
    let sent = *wired.port.accounts().sent(Side::Internet);
    assert_eq!((sent.frames, sent.queued, sent.lost), (1024, 0, 76));
}

#[test]
fn frames_of_no_side_count_where_their_interface_is() {
    let mut wired = Wired::new(resolved());
    for (nic, side) in [(NIC4, Side::Internet), (NIC6, Side::Softwire)] {
        wired.refused(nic, &[1, 2, 3], DropReason::L2Malformed);
        wired.refused(nic, &tagged(9, &in4(&[0; 40])), DropReason::L2Vlan);
        let accounts = wired.port.accounts();
        let received = accounts.received(side);
        assert_eq!((received.frames, received.dropped), (2, 2));
        assert_eq!(accounts.check(), Ok(()));
    }
    // On a stick the tag says it, as far as there is one.
    let mut config = resolved();
    config.internet.link.nic = NIC6;
    config.softwire.link.vlan = Some(6);
    config.internet.link.vlan = Some(4);
    let mut wired = Wired::new(config);
    let arp = frame(OWN4, OTHER, EtherType(0x88cc), &[0; 46]);
    wired.refused(NIC6, &tagged(4, &arp), DropReason::L2WrongFamily);
    wired.refused(NIC6, &tagged(6, &arp), DropReason::L2WrongFamily);
    wired.refused(NIC6, &tagged(9, &arp), DropReason::L2Vlan);
    let accounts = wired.port.accounts();
    assert_eq!(accounts.received(Side::Internet).frames, 1);
    assert_eq!(accounts.received(Side::Softwire).frames, 2);
}

#[test]
fn an_equation_that_does_not_hold_is_named() {
    let mut accounts = Accounts::default();
    accounts.received[1].frames = 3;
    let error = accounts.check().unwrap_err();
    assert_eq!(error.equation, Equation::Received);
    assert_eq!(
        error.to_string(),
        "received = its fates on the Internet side: 3 is not 0"
    );
    let mut accounts = Accounts::default();
    accounts.made.pieces = 1;
    assert_eq!(accounts.check().unwrap_err().equation, Equation::Made);
}

#[test]
fn another_thread_reads_books_that_close() {
    let mut wired = Wired::with(resolved(), |config| config.ipv6_mtu = 1280);
    let shared = wired.port.shared_counters();
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let reader = std::thread::spawn(move || {
        let mut read = 0_u64;
        while stopped.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
            if let Some(accounts) = shared.settled_accounts() {
                assert_eq!(accounts.check(), Ok(()), "{accounts:?}");
                read += 1;
            }
            std::thread::yield_now();
        }
        (read, shared)
    });
    let up = V4::udp("192.0.2.18:1232", "198.51.100.1:53").payload(&[0; 1300]);
    let up = tunnel(common::B4, AFTR, &up.build()).fragments(1280, 1);
    let up: Vec<Vec<u8>> = up.iter().map(|packet| in6(packet)).collect();
    let down = V4::udp("198.51.100.1:53", "192.0.2.18:1232").payload(&[0; 1400]);
    let down = vec![in4(&down.build()); 32];
    for _ in 0..500 * scale() {
        let _ = wired.feed_all(NIC6, &up, 32);
        let _ = wired.feed_all(NIC4, &down, 32);
    }
    drop(stop);
    let (read, shared) = reader.join().unwrap();
    assert!(read > 0);
    drop(wired);
    // They outlive the port.
    let accounts = shared.accounts();
    assert_eq!(accounts.received(Side::Internet).frames, 500 * 32 * scale());
    assert_eq!(accounts.check(), Ok(()));
}
