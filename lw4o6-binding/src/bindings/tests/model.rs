//! The store against a slow, obvious one, over random sequences of everything that can happen.
//!
//! The slow one is a list of bindings and a list of decisions, searched from front to back. Four
//! more witnesses are asked after each step: the packet path's table, whoever replays the stream,
//! the disk that writes what it is told to, and a snapshot.

use alloc::collections::{BTreeMap, VecDeque};
use core::time::Duration;

use super::*;
use crate::snapshot::restore;
use crate::table::{Lookup, TableReader};
use crate::utc::{Clock, Utc};

const SOFTWIRES: usize = 12;
const QUARANTINE: u64 = 5;

/// The same numbers for the same seed (splitmix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        let sides = u64::try_from(from.len()).ok().filter(|n| *n > 0)?;
        let at = usize::try_from(self.roll(sides)).ok()?;
        from.get(at).copied()
    }
}

/// What a decision does to the list when it is stored.
#[derive(Clone, Debug)]
enum Decision {
    Add(Binding),
    Put(Binding),
    Nothing,
}

#[derive(Default)]
struct Model {
    now: u64,
    live: Vec<Binding>,
    decided: Vec<(Seq, Decision)>,
    /// Who had what, and until when nobody else may have it.
    waiting: Vec<(Binding, u64)>,
    /// What ended since the last replacement was decided.
    ended: Vec<Binding>,
}

/// One port of every 1024: enough to tell apart the port sets used here.
fn sample() -> impl Iterator<Item = u16> {
    (0..64).map(|n| n * 1024)
}

fn share_ports(a: &Binding, b: &Binding) -> bool {
    a.ipv4 == b.ipv4 && sample().any(|port| a.ports.contains(port) && b.ports.contains(port))
}

fn layout(b: &Binding) -> (u8, u8) {
    (b.ports.offset(), b.ports.len())
}

fn subscriber(b: &Binding) -> u128 {
    u128::from(b.b4) >> 72
}

fn ended(b: &Binding, now: u64) -> bool {
    b.expires.at().is_some_and(|end| end <= at(now))
}

impl Model {
    fn granted(&self) -> impl Iterator<Item = &Binding> {
        self.decided.iter().filter_map(|(_, d)| match d {
            Decision::Add(b) => Some(b),
            Decision::Put(_) | Decision::Nothing => None,
        })
    }

    fn waits_for(&self, key: SoftwireKey) -> Option<(Seq, Binding)> {
        self.decided.iter().find_map(|(seq, d)| match d {
            Decision::Add(b) | Decision::Put(b) if b.key() == key => Some((*seq, *b)),
            Decision::Add(_) | Decision::Put(_) | Decision::Nothing => None,
        })
    }

    /// Whether a grant is right; `Some(seq)` where it repeats one that waits.
    fn allows(&self, new: &Binding) -> Result<Option<Seq>, ()> {
        if let Some((seq, first)) = self.waits_for(new.key()) {
            let same = first.with_expiry(Expiry::Never) == new.with_expiry(Expiry::Never);
            return if same { Ok(Some(seq)) } else { Err(()) };
        }
        let others: Vec<&Binding> = self.live.iter().chain(self.granted()).collect();
        let clash =
            |b: &&Binding| b.ipv4 == new.ipv4 && (layout(b) != layout(new) || share_ports(b, new));
        if ended(new, self.now) || others.iter().any(clash) || others.len() >= SOFTWIRES {
            return Err(());
        }
        if !new.origin.is_dynamic() {
            return Ok(None);
        }
        let foreign = |(had, until): &(Binding, u64)| {
            *until > self.now && share_ports(had, new) && subscriber(had) != subscriber(new)
        };
        let own = |b: &&&Binding| b.origin.is_dynamic() && subscriber(b) == subscriber(new);
        let refused = self.waiting.iter().any(foreign) || others.iter().any(|b| own(&b));
        if refused { Err(()) } else { Ok(None) }
    }

    fn drop_decisions(&mut self, drop: impl Fn(&Binding) -> bool) {
        let ended = &mut self.ended;
        self.decided.retain(|(_, d)| match d {
            Decision::Add(b) | Decision::Put(b) if drop(b) => {
                ended.push(*b);
                false
            }
            Decision::Add(_) | Decision::Put(_) | Decision::Nothing => true,
        });
    }

    fn end(&mut self, gone: Binding) {
        self.live.retain(|b| b.key() != gone.key());
        self.drop_decisions(|b| b.key() == gone.key());
        self.ended.push(gone);
        self.waiting.retain(|(b, _)| b.key() != gone.key());
        self.waiting.push((gone, self.now + QUARANTINE));
    }

    fn pass(&mut self, now: u64) {
        // Each end counts at its own moment here, yet the quarantine begins when it is seen.
        self.now = now;
        let over: Vec<Binding> = self
            .live
            .iter()
            .filter(|b| ended(b, now))
            .copied()
            .collect();
        for binding in over {
            self.end(binding);
        }
        // Only grants end here; what waits for a live binding ends with that.
        let live: Vec<SoftwireKey> = self.live.iter().map(Binding::key).collect();
        self.drop_decisions(|b| !live.contains(&b.key()) && ended(b, now));
    }

    fn confirm(&mut self, seq: Seq) {
        let (stored, rest) = self.decided.drain(..).partition(|(s, _)| *s <= seq);
        self.decided = rest;
        let stored: Vec<(Seq, Decision)> = stored;
        for (_, decision) in stored {
            if let Decision::Add(new) | Decision::Put(new) = decision {
                self.live.retain(|b| b.key() != new.key());
                self.waiting.retain(|(b, _)| b.key() != new.key());
                self.live.push(new);
            }
        }
    }

    fn sorted(&self) -> Vec<Binding> {
        let mut sorted = self.live.clone();
        sorted.sort_by_key(Binding::key);
        sorted
    }
}

/// Writes what it is told, and is honest about nothing but success.
#[derive(Default)]
struct Disk {
    content: BTreeMap<SoftwireKey, Binding>,
    queue: VecDeque<(Seq, Change)>,
}

impl Disk {
    fn write(&mut self, change: Change) {
        match change {
            Change::Added(b) | Change::Renewed(b) | Change::Replaced { new: b, .. } => {
                self.content.insert(b.key(), b);
            }
            Change::Removed { binding, .. } => {
                self.content.remove(&binding.key());
            }
            Change::BulkReplaced { bindings, .. } => {
                self.content = bindings.iter().map(|b| (b.key(), *b)).collect();
            }
            Change::Quarantined(_) | Change::QuarantineEnded(_) => panic!("nothing to store"),
        }
    }
}

/// Replays the stream from nothing.
#[derive(Default)]
struct Follower {
    table: BTreeMap<SoftwireKey, Binding>,
    waiting: BTreeMap<SoftwireKey, Quarantined>,
    number: u64,
}

impl Follower {
    fn follow(&mut self, number: u64, change: Change) {
        assert_eq!(number, self.number + 1, "the stream is dense");
        self.number = number;
        match change {
            Change::Added(b) => assert_eq!(self.table.insert(b.key(), b), None),
            Change::Replaced { old, new } => {
                assert_eq!(self.table.insert(new.key(), new), Some(old));
            }
            Change::Renewed(b) => assert!(self.table.insert(b.key(), b).is_some()),
            Change::Removed { binding, reason } => {
                assert_ne!(reason, RemoveReason::NotGranted);
                assert_eq!(self.table.remove(&binding.key()), Some(binding));
            }
            Change::BulkReplaced { bindings, .. } => {
                self.table = bindings.iter().map(|b| (b.key(), *b)).collect();
            }
            Change::Quarantined(q) => {
                self.waiting.insert(q.key, q);
            }
            Change::QuarantineEnded(q) => assert_eq!(self.waiting.remove(&q.key), Some(q)),
        }
    }
}

struct World {
    dice: Dice,
    store: Bindings,
    reader: TableReader,
    model: Model,
    disk: Disk,
    follower: Follower,
    /// Decisions without an outcome yet.
    open: BTreeMap<Seq, Change>,
    newest: Seq,
    confirmed: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let policy = Policy {
            quarantine: Duration::from_secs(QUARANTINE),
            move_interval: Duration::ZERO, // has tests of its own
            ..Policy::default()
        };
        let (store, reader) = with_table(BindingsConfig {
            softwires: SOFTWIRES,
            max_aftrs: 4,
            policy,
            ..BindingsConfig::default()
        });
        Self {
            dice: Dice(seed),
            store,
            reader,
            model: Model::default(),
            disk: Disk::default(),
            follower: Follower::default(),
            open: BTreeMap::new(),
            newest: Seq(0),
            confirmed: 0,
        }
    }

    fn binding(&mut self) -> Binding {
        let host = if self.dice.roll(4) == 0 { 2 } else { 1 };
        let layouts = [(0, 3), (0, 3), (0, 3), (0, 2), (1, 2), (0, 0), (2, 2)];
        let (a, k) = self.dice.pick(&layouts).unwrap();
        let psid = u16::try_from(self.dice.roll(1 << k)).unwrap();
        let n = u16::try_from(self.dice.roll(6)).unwrap();
        let mut b = Binding {
            b4: b4(n + 1),
            ports: ports(a, k, psid),
            ..binding(host, 0)
        };
        if self.dice.roll(8) == 0 {
            b.aftr = "2001:db8:a::2".parse().unwrap();
        }
        if self.dice.roll(2) == 0 {
            let end = self.model.now + self.dice.roll(12);
            b = b.with_origin(Origin::Dhcp).with_expiry(Expiry::At(at(end)));
        }
        b
    }

    fn step(&mut self) {
        let now = self.model.now + self.dice.roll(3) / 2;
        self.model.pass(now);
        match self.dice.roll(16) {
            0..=5 => self.insert(),
            6 | 7 => self.end(),
            8 => self.renew(),
            9 => self.update(),
            10..=12 => self.confirm(),
            13 => self.fail(),
            14 => self.replace(),
            _ => {}
        }
        self.store.handle_timeout(at(now));
        self.read_events();
        self.check();
    }

    fn insert(&mut self) {
        let new = self.binding();
        let busy = self
            .open
            .values()
            .any(|c| matches!(c, Change::BulkReplaced { .. }));
        let expected = self.model.allows(&new);
        let got = self.store.insert(at(self.model.now), new);
        match (expected, got) {
            (Ok(Some(first)), Ok(seq)) => assert_eq!(seq, first),
            (Ok(None), Ok(seq)) => self.model.decided.push((seq, Decision::Add(new))),
            (Ok(None), Err(InsertError::ReplacePending { .. })) => assert!(busy),
            // A renewal is no grant that could be asked for again.
            (Ok(Some(_)), Err(InsertError::Pending { key, .. })) => {
                assert!(self.model.live.iter().any(|b| b.key() == key));
            }
            (Err(()), Err(_)) => {}
            (expected, got) => panic!("{new:?}: {expected:?}, got {got:?}"),
        }
    }

    fn end(&mut self) {
        let waiting = self.model.granted();
        let known: Vec<Binding> = self.model.live.iter().chain(waiting).copied().collect();
        let Some(gone) = self.dice.pick(&known) else {
            return;
        };
        self.store.remove(at(self.model.now), &gone.key()).unwrap();
        if self.model.live.contains(&gone) {
            self.model.end(gone);
        } else {
            self.model.drop_decisions(|b| b.key() == gone.key());
        }
    }

    fn renew(&mut self) {
        let Some(old) = self.dice.pick(&self.model.live) else {
            return;
        };
        let end = Expiry::At(at(self.model.now + 1 + self.dice.roll(12)));
        let got = self
            .store
            .renew(at(self.model.now), &old.key(), old.b4, end);
        if let Ok(seq) = got
            && self.model.waits_for(old.key()).is_none()
        {
            let renewed = old.with_expiry(end);
            self.model.decided.push((seq, Decision::Put(renewed)));
        }
    }

    fn update(&mut self) {
        let Some(old) = self.dice.pick(&self.model.live) else {
            return;
        };
        let new = Binding {
            b4: self.binding().b4,
            origin: Origin::Operator,
            expires: Expiry::Never,
            ..old
        };
        let got = self.store.update(at(self.model.now), new);
        if let Ok(seq) = got
            && self.model.waits_for(old.key()).is_none()
        {
            self.model.decided.push((seq, Decision::Put(new)));
        }
    }

    /// The disk has written some of what it was told.
    fn confirm(&mut self) {
        let some = self.dice.roll(self.disk.queue.len() as u64 + 1);
        let mut last = None;
        for _ in 0..some {
            let (seq, change) = self.disk.queue.pop_front().unwrap();
            self.disk.write(change);
            last = Some(seq);
        }
        if let Some(seq) = last {
            self.commit(seq);
        }
    }

    fn commit(&mut self, seq: Seq) {
        self.confirmed += 1;
        let bulk = self
            .open
            .range(..=seq)
            .find_map(|(seq, change)| match change {
                Change::BulkReplaced { bindings, .. } => Some((*seq, bindings.clone())),
                Change::Added(_)
                | Change::Replaced { .. }
                | Change::Renewed(_)
                | Change::Removed { .. }
                | Change::Quarantined(_)
                | Change::QuarantineEnded(_) => None,
            });
        if let Some((bulk, bindings)) = bulk {
            self.model.confirm(bulk);
            let now = self.model.now;
            // What ended meanwhile must not come back.
            let again = |b: &Binding, ended: &Binding| {
                (b.key(), b.b4, b.origin) == (ended.key(), ended.b4, ended.origin)
            };
            let back = |b: &&Binding| self.model.ended.iter().any(|e| again(b, e));
            let kept = bindings.iter().filter(|b| !ended(b, now) && !back(b));
            let kept: Vec<Binding> = kept.copied().collect();
            let gone = |b: &&Binding| !kept.iter().any(|new| new.key() == b.key());
            let gone: Vec<Binding> = self.model.live.iter().filter(gone).copied().collect();
            for binding in gone {
                self.model.end(binding);
            }
            self.model.live = kept;
            let live = &self.model.live;
            let free = |(had, _): &(Binding, u64)| !live.iter().any(|b| b.key() == had.key());
            self.model.waiting.retain(free);
        }
        self.model.confirm(seq);
        self.model.pass(self.model.now);
        self.store.handle_persisted(at(self.model.now), seq);
    }

    /// The disk fails, with or without having written what it says it has not.
    fn fail(&mut self) {
        if self.disk.queue.is_empty() {
            return;
        }
        let sides = self.disk.queue.len() as u64;
        let good = usize::try_from(self.dice.roll(sides)).unwrap();
        let bad = self.disk.queue.split_off(good);
        let from = bad.front().unwrap().0;
        for (_, change) in bad {
            let whole = matches!(change, Change::BulkReplaced { .. });
            if !whole && self.dice.roll(2) == 0 {
                self.disk.write(change);
            }
        }
        self.model.decided.retain(|(seq, _)| *seq < from);
        self.store.handle_persist_failed(at(self.model.now), from);
    }

    fn replace(&mut self) {
        // Only now and then, and mostly what is there, so that the rest gets its share.
        if self.dice.roll(4) != 0 {
            return;
        }
        let mut new = self.model.live.clone();
        new.retain(|_| self.dice.roll(4) != 0);
        for _ in 0..2 {
            let fresh = self.binding();
            let clash = |b: &Binding| {
                b.ipv4 == fresh.ipv4 && (layout(b) != layout(&fresh) || share_ports(b, &fresh))
            };
            if !new.iter().any(clash) && new.len() < SOFTWIRES {
                new.push(fresh);
            }
        }
        if let Ok(report) = self.store.replace(at(self.model.now), new) {
            self.model.decided.push((report.seq, Decision::Nothing));
            self.model.ended.clear();
        }
    }

    fn read_events(&mut self) {
        while let Some(event) = self.store.poll_event() {
            match event {
                Event::Persist { seq, change } => {
                    assert_eq!(seq.0, self.newest.0 + 1, "decisions are dense");
                    self.newest = seq;
                    self.open.insert(seq, change.clone());
                    self.disk.queue.push_back((seq, change));
                }
                Event::Committed { seq } => assert!(self.open.remove(&seq).is_some()),
                Event::Failed { seq, change, .. } => {
                    assert_eq!(self.open.remove(&seq), Some(change));
                    // An owner may, but need not, skip what it has not written yet.
                    let skip = self.dice.roll(2) == 0;
                    self.disk
                        .queue
                        .retain(|(queued, _)| *queued != seq || !skip);
                }
                Event::Changed {
                    number,
                    change,
                    version,
                    ..
                } => {
                    assert!(version <= self.store.version());
                    self.follower.follow(number, change);
                }
                Event::Lost { .. } => panic!("the queue is long enough"),
                Event::SystemPorts { key } => assert!(key.ports.contains_system_ports()),
            }
        }
    }

    fn check(&mut self) {
        let live = self.model.sorted();
        assert_eq!(all(&self.store), live);
        let followed: Vec<Binding> = self.follower.table.values().copied().collect();
        assert_eq!(followed, live, "the stream tells the same table");
        let waiting: Vec<Quarantined> = self.store.quarantined().copied().collect();
        let followed: Vec<Quarantined> = self.follower.waiting.values().copied().collect();
        assert_eq!(followed, waiting);
        for (n, first) in live.iter().enumerate() {
            for second in live.iter().skip(n + 1) {
                assert!(!share_ports(first, second), "R-023");
            }
        }
        self.reader.refresh();
        for host in 1..=2 {
            let ipv4 = Ipv4Addr::new(192, 0, 2, host);
            for port in sample() {
                let expected = live
                    .iter()
                    .find(|b| b.ipv4 == ipv4 && b.ports.contains(port));
                let found = match self.reader.lookup(u32::from(ipv4), Some(port)) {
                    Lookup::Found(softwire) => Some(softwire),
                    Lookup::NoBinding | Lookup::Foreign => None,
                    Lookup::NoPort | Lookup::Busy => panic!("a port was given, nobody writes"),
                };
                let b4 = found.map(|softwire| Ipv6Addr::from(softwire.b4));
                assert_eq!(b4, expected.map(|b| b.b4), "{ipv4}:{port}");
                let aftr = found.and_then(|softwire| self.reader.aftr_addr(softwire.aftr));
                assert_eq!(aftr.map(Ipv6Addr::from), expected.map(|b| b.aftr));
                assert_eq!(self.store.find(ipv4, port), expected);
            }
        }
    }

    /// Lets the disk work until nothing waits.
    fn settle(&mut self) {
        loop {
            self.store.handle_timeout(at(self.model.now));
            self.read_events();
            let Some((seq, change)) = self.disk.queue.pop_front() else {
                let Some(next) = self.store.poll_timeout() else {
                    break;
                };
                // What the disk missed comes again within a second.
                if next.at > at(self.model.now + 2) {
                    break;
                }
                self.model.pass(self.model.now + 1);
                continue;
            };
            self.disk.write(change);
            self.commit(seq);
            self.read_events();
        }
        assert_eq!(self.open.len(), 0, "every decision has one outcome");
        self.check();
        let stored: Vec<Binding> = self.disk.content.values().copied().collect();
        assert_eq!(stored, all(&self.store), "disk and table agree");
        let clock = Clock {
            instant: at(self.model.now),
            utc: Utc::from_micros(1_795_201_200_000_000),
        };
        let snapshot = restore(&self.store.snapshot(&clock), &clock).unwrap();
        assert_eq!(snapshot.bindings, stored);
        let waiting: Vec<Quarantined> = self.store.quarantined().copied().collect();
        assert_eq!(snapshot.quarantined, waiting);
    }
}

fn scale() -> u64 {
    std::env::var("LW4O6_SCALE").map_or(1, |text| text.parse().unwrap())
}

#[test]
fn the_store_does_what_a_list_of_bindings_does() {
    // T-20
    let mut confirmed = 0;
    for seed in 0..60 * scale() {
        std::println!("seed {seed}");
        let mut world = World::new(seed);
        for _ in 0..4 {
            for _ in 0..60 {
                world.step();
            }
            world.settle();
        }
        confirmed += world.confirmed;
    }
    assert!(
        confirmed > 1000,
        "the run has to get somewhere: {confirmed}"
    );
}
