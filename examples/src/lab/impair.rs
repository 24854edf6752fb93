//! A link that loses, delays, reorders, repeats and marks what it carries, the same every time.
//!
//! ```text
//! left ----> Direction: too long? lost? twice? marked? when? ----> right
//!      <---- another one, with a random sequence of its own  <----
//! ```

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lw4o6_wire::ethernet::{self, MacAddr};
use lw4o6_wire::{EtherType, Instant, ipv4, ipv6};
use nix::poll::{PollFd, PollFlags, ppoll};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::packet_io::{AfPacket, BATCH, FrameBatch, PacketIo};
use crate::stopwatch::Stopwatch;

/// Frames on their way at a time, each direction; more are lost.
const CAPACITY: usize = 65_536;

/// The longest sleep: how late new settings may be seen.
const MAX_SLEEP: Duration = Duration::from_millis(20);

/// What a direction does to the frames it carries. Chances are per mille of the frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Impairment {
    /// Chance that a frame is lost.
    pub loss: u16,
    /// Chance that a frame is carried twice.
    pub duplicate: u16,
    /// Time on the way, in microseconds.
    pub delay: u64,
    /// Up to this many microseconds more, each frame by itself; frames overtake each other.
    pub jitter: u64,
    /// Longest packet in bytes, Ethernet header not included; longer ones are lost.
    pub mtu: Option<usize>,
    /// Chance that a packet whose sender can hear of congestion is marked (RFC 3168 §5).
    pub congestion: u16,
}

/// What a direction did. `received + duplicated = delivered + lost + too-long + crowded + waiting`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Impaired {
    /// Frames that came in.
    pub received: u64,
    /// Frames that went out.
    pub delivered: u64,
    /// Frames lost.
    pub lost: u64,
    /// Frames longer than the link allows.
    pub too_long: u64,
    /// Frames lost because too many were on their way.
    pub crowded: u64,
    /// Frames carried a second time.
    pub duplicated: u64,
    /// Frames that went out behind one that came in later.
    pub reordered: u64,
    /// Packets marked.
    pub marked: u64,
    /// Frames on their way.
    pub waiting: u64,
    /// Frames that went out but that the interface had no room for.
    pub not_sent: u64,
}

impl Impaired {
    /// Whether every frame is accounted for.
    #[must_use]
    pub fn closes(&self) -> bool {
        let gone = self.delivered + self.lost + self.too_long + self.crowded + self.waiting;
        self.received + self.duplicated == gone
    }
}

/// A link to be: `left` to `right`, then back.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ImpairedLink {
    /// Its interfaces.
    pub interfaces: [String; 2],
    /// Where its random numbers begin.
    pub seed: u64,
    /// What it does to what comes from either.
    pub directions: [Impairment; 2],
}

/// One direction of a link, without its interfaces.
#[derive(Debug)]
pub struct Direction {
    what: Impairment,
    random: ChaCha8Rng,
    counters: Impaired,
    /// By due time; frames due at the same time keep their order.
    waiting: BinaryHeap<Reverse<Waiting>>,
    sequence: u64,
    /// Sequence of the youngest frame that went out.
    youngest: u64,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Waiting {
    due: Instant,
    sequence: u64,
    frame: Vec<u8>,
}

impl Direction {
    /// A direction that does `what`.
    #[must_use]
    pub fn new(what: Impairment, seed: u64) -> Self {
        Self {
            what,
            random: ChaCha8Rng::seed_from_u64(seed),
            counters: Impaired::default(),
            waiting: BinaryHeap::new(),
            sequence: 0,
            youngest: 0,
        }
    }

    /// Does `what` from now on; frames on their way are not affected.
    pub fn tune(&mut self, what: Impairment) {
        self.what = what;
    }

    /// What it did so far.
    #[must_use]
    pub fn counters(&self) -> Impaired {
        Impaired {
            waiting: u64::try_from(self.waiting.len()).unwrap_or(u64::MAX),
            ..self.counters
        }
    }

    /// Takes a frame in.
    pub fn push(&mut self, now: Instant, frame: &[u8]) {
        self.counters.received += 1;
        let packet = frame.len().saturating_sub(ethernet::ETHERNET_HEADER_LEN);
        // The same number of draws for every frame, so that one setting does not shift the others.
        let [lost, twice, marked] = [self.what.loss, self.what.duplicate, self.what.congestion]
            .map(|chance| self.random.random_range(0..1000) < chance);
        let times = [(); 2].map(|()| self.due(now));
        if self.what.mtu.is_some_and(|mtu| packet > mtu) {
            self.counters.too_long += 1;
            return;
        }
        if lost {
            self.counters.lost += 1;
            return;
        }
        let mut frame = frame.to_vec();
        if marked && mark(&mut frame) {
            self.counters.marked += 1;
        }
        let [first, second] = times;
        if twice {
            self.counters.duplicated += 1;
            self.put(second, frame.clone());
        }
        self.put(first, frame);
    }

    /// The next frame that is due at `now`.
    pub fn pop(&mut self, now: Instant) -> Option<Vec<u8>> {
        if self.next_due()? > now {
            return None;
        }
        let Reverse(next) = self.waiting.pop()?;
        self.counters.delivered += 1;
        if next.sequence < self.youngest {
            self.counters.reordered += 1;
        }
        self.youngest = self.youngest.max(next.sequence);
        Some(next.frame)
    }

    /// When the next frame is due.
    #[must_use]
    pub fn next_due(&self) -> Option<Instant> {
        self.waiting.peek().map(|Reverse(next)| next.due)
    }

    fn due(&mut self, now: Instant) -> Instant {
        let jitter = self.random.random_range(0..=self.what.jitter);
        let micros = now.as_micros() + self.what.delay + jitter;
        Instant::from_micros(micros)
    }

    fn put(&mut self, due: Instant, frame: Vec<u8>) {
        if self.waiting.len() >= CAPACITY {
            self.counters.crowded += 1;
            return;
        }
        self.sequence += 1;
        self.waiting.push(Reverse(Waiting {
            due,
            sequence: self.sequence,
            frame,
        }));
    }
}

/// Sets "congestion experienced" where the packet's sender can hear of it; whether it did.
fn mark(frame: &mut [u8]) -> bool {
    let Ok(parts) = ethernet::split(frame) else {
        return false;
    };
    let ethertype = parts.ethertype;
    let at = frame.len() - parts.payload.len();
    let packet = frame.get_mut(at..).unwrap_or_default();
    match ethertype {
        EtherType::IPV4 => ipv4::header_mut(packet).is_some_and(|header| {
            let [_, tos, ..] = *header;
            let capable = tos & 3 != 0;
            if capable {
                ipv4::set_tos(header, tos | 3);
            }
            capable
        }),
        EtherType::IPV6 => ipv6::header_mut(packet).is_some_and(|header| {
            let [_, second, ..] = header;
            let capable = *second & 0x30 != 0;
            if capable {
                *second |= 0x30;
            }
            capable
        }),
        EtherType(_) => false,
    }
}

/// A link at work.
#[derive(Clone, Debug)]
pub struct LinkHandle(Arc<Mutex<Shared>>);

#[derive(Debug, Default)]
struct Shared {
    tuned: Option<[Impairment; 2]>,
    counters: [Impaired; 2],
}

impl LinkHandle {
    /// Starts carrying frames, for as long as the agent lives.
    ///
    /// # Errors
    ///
    /// Where an interface cannot be opened.
    pub fn start(link: &ImpairedLink) -> Result<Self, String> {
        // Frames to whomever.
        let anybody = [MacAddr([0x02, 0, 0, 0, 0, 0])];
        let open =
            |name: &String| AfPacket::open(name, &anybody).map_err(|error| error.to_string());
        let [left, right] = &link.interfaces;
        let ends = [open(left)?, open(right)?];
        let [there, back] = link.directions;
        let mut carrier = Carrier {
            batch: FrameBatch::new(ends.iter().map(PacketIo::longest).max().unwrap_or(1518)),
            ends,
            directions: [
                Direction::new(there, link.seed),
                Direction::new(back, !link.seed),
            ],
            watch: Stopwatch::start(),
        };
        let shared = Arc::<Mutex<Shared>>::default();
        let handle = Self(Arc::clone(&shared));
        std::thread::spawn(move || {
            loop {
                carrier.turn(&shared);
            }
        });
        Ok(handle)
    }

    /// Does something else from now on.
    pub fn tune(&self, directions: [Impairment; 2]) {
        self.shared(|shared| shared.tuned = Some(directions));
    }

    /// What was done in either direction, at most a few milliseconds ago.
    #[must_use]
    pub fn counters(&self) -> [Impaired; 2] {
        self.shared(|shared| shared.counters)
    }

    fn shared<T>(&self, with: impl FnOnce(&mut Shared) -> T) -> T {
        with(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

struct Carrier {
    ends: [AfPacket; 2],
    directions: [Direction; 2],
    batch: FrameBatch,
    watch: Stopwatch,
}

impl Carrier {
    /// Carries what there is; sleeps until there is more.
    fn turn(&mut self, shared: &Mutex<Shared>) {
        let [left, right] = &mut self.ends;
        let [there, back] = &mut self.directions;
        let moved = carry(left, right, there, &mut self.batch, self.watch)
            + carry(right, left, back, &mut self.batch, self.watch);
        {
            let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
            shared.counters = self.directions.each_ref().map(Direction::counters);
            if let Some([there, back]) = shared.tuned.take() {
                let [first, second] = &mut self.directions;
                first.tune(there);
                second.tune(back);
            }
        }
        if moved == 0 {
            self.sleep();
        }
    }

    fn sleep(&self) {
        let now = self.watch.now();
        let due = self.directions.iter().filter_map(Direction::next_due).min();
        let sleep = due.map_or(MAX_SLEEP, |due| due.saturating_since(now));
        let waits: Vec<BorrowedFd<'_>> = self.ends.iter().filter_map(PacketIo::wait_fd).collect();
        let mut fds: Vec<PollFd<'_>> = waits
            .into_iter()
            .map(|fd| PollFd::new(fd, PollFlags::POLLIN))
            .collect();
        // Nothing to do about an interrupted wait but to look again.
        let _ = ppoll(&mut fds, Some(sleep.min(MAX_SLEEP).into()), None);
    }
}

/// Takes a batch of frames in and lets out those that are due; returns how many were moved.
fn carry(
    from: &mut AfPacket,
    to: &mut AfPacket,
    direction: &mut Direction,
    batch: &mut FrameBatch,
    watch: Stopwatch,
) -> usize {
    // An interface that went away brings nothing.
    let received = from.receive(batch).unwrap_or(0);
    let now = watch.now();
    for frame in batch.frames().iter().take(received) {
        direction.push(now, frame.packet());
    }
    let mut popped = 0;
    while popped < BATCH
        && let Some(frame) = direction.pop(now)
    {
        to.push(&frame);
        popped += 1;
    }
    if popped > 0 {
        let sent = to.flush().unwrap_or(0);
        direction.counters.not_sent += u64::try_from(popped.saturating_sub(sent)).unwrap_or(0);
    }
    received + popped
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUGH: Impairment = Impairment {
        loss: 50,
        duplicate: 30,
        delay: 1000,
        jitter: 2000,
        mtu: Some(1400),
        congestion: 100,
    };

    fn frame(number: u16, tos: u8, len: usize) -> Vec<u8> {
        let mut frame = vec![0; 12];
        frame.extend([8, 0, 0x45, tos]);
        frame.resize(14 + len, 0);
        frame[20..22].copy_from_slice(&number.to_be_bytes());
        frame
    }

    fn at(millis: u64) -> Instant {
        Instant::from_micros(millis * 1000)
    }

    /// Everything that comes out of a rough direction, and what it counted.
    fn carried(seed: u64) -> (Vec<Vec<u8>>, Impaired) {
        let mut direction = Direction::new(ROUGH, seed);
        let mut out = Vec::new();
        for number in 0..5000u16 {
            let len = if number % 100 == 0 { 1401 } else { 100 };
            direction.push(at(number.into()), &frame(number, 2, len));
            out.extend(std::iter::from_fn(|| direction.pop(at(number.into()))));
            assert!(direction.counters().closes());
        }
        out.extend(std::iter::from_fn(|| direction.pop(at(10_000))));
        (out, direction.counters())
    }

    #[test]
    fn every_frame_is_accounted_for() {
        let (out, counters) = carried(1);
        assert!(counters.closes());
        assert_eq!(counters.waiting, 0);
        assert_eq!(counters.received, 5000);
        assert_eq!(counters.delivered, u64::try_from(out.len()).unwrap());
        assert_eq!(counters.too_long, 50);
        for (count, per_mille) in [
            (counters.lost, 50),
            (counters.duplicated, 30),
            (counters.marked, 100),
        ] {
            let expected = 5 * per_mille;
            assert!(
                (expected / 2..expected * 2).contains(&count),
                "{counters:?}"
            );
        }
        assert!(counters.reordered > 100, "{counters:?}");
    }

    #[test]
    fn the_same_seed_does_the_same_and_another_does_not() {
        assert_eq!(carried(7), carried(7));
        assert_ne!(carried(7).0, carried(8).0);
    }

    #[test]
    fn a_link_that_does_nothing_keeps_order_and_content() {
        let mut direction = Direction::new(Impairment::default(), 3);
        let frames: Vec<_> = (0..100).map(|number| frame(number, 0, 100)).collect();
        frames.iter().for_each(|frame| direction.push(at(0), frame));
        let out: Vec<_> = std::iter::from_fn(|| direction.pop(at(0))).collect();
        assert_eq!(out, frames);
        assert_eq!(direction.counters().reordered, 0);
    }

    #[test]
    fn a_delay_holds_frames_back_for_as_long() {
        let what = Impairment {
            delay: 5000,
            ..Impairment::default()
        };
        let mut direction = Direction::new(what, 0);
        direction.push(at(1), &frame(1, 0, 100));
        assert_eq!(direction.next_due(), Some(at(6)));
        assert!(direction.pop(at(5)).is_none());
        assert!(direction.pop(at(6)).is_some());
    }

    #[test]
    fn a_mark_keeps_the_checksum_right_and_spares_who_cannot_hear() {
        let fields = lw4o6_wire::Ipv4Fields {
            tos: 1,
            total_len: 20,
            ident: 1,
            dont_fragment: false,
            more_fragments: false,
            fragment_offset: 0,
            ttl: 64,
            protocol: lw4o6_wire::IpProtocol::UDP,
            src: [192, 0, 2, 1].into(),
            dst: [192, 0, 2, 2].into(),
        };
        let mut capable = [&frame(0, 0, 20)[..14], &fields.to_bytes()].concat();
        assert!(mark(&mut capable));
        assert_eq!(capable[15], 3);
        assert!(lw4o6_wire::checksum::verify(&capable[14..]));
        let mut deaf = frame(1, 0, 100);
        assert!(!mark(&mut deaf));
        let mut ipv6 = vec![0; 54];
        (ipv6[12], ipv6[13]) = (0x86, 0xdd);
        (ipv6[14], ipv6[15]) = (0x60, 0x10);
        assert!(mark(&mut ipv6));
        assert_eq!(ipv6[15], 0x30);
    }
}
