//! A program with the commit barrier, killed at random moments.
//!
//! The child decides changes, stores them through the thread of the store, lets packets follow what
//! is stored, and prints each step before it takes it. After each kill the next child says what it
//! finds. What must hold: the file has the changes in their order, all that were confirmed, and of
//! those decided later a beginning; packets follow a grant when it is stored and not before, an end
//! at once, and after the start what the file has.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a panic is a failed test, and other events are no concern of this one"
)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use lw4o6_binding::table::{AtomicU64, Lookup, TableConfig, TableReader, TableWriter, arena_words};
use lw4o6_binding::{Binding, Bindings, BindingsConfig, Change, Clock, Event, Expiry, Origin, Seq};
use lw4o6_binding::{Snapshot, SoftwireKey};
use lw4o6_examples::config::clock;
use lw4o6_examples::stopwatch::{Stopwatch, wait};
use lw4o6_examples::store::{Store, StoreResult, StoreThread};
use lw4o6_wire::port_params::PortParams;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

const CHILD: &str = "LW4O6_STORE_CHILD";
const ADDRESSES: u32 = 4;
const SETS: u16 = 64;

fn lease(address: u32, psid: u16, b4: u16) -> Binding {
    let ports = PortParams::new(0, 6, psid).unwrap();
    let ipv4 = Ipv4Addr::from(0xc000_0201 + address);
    let b4 = std::net::Ipv6Addr::new(0x2001, 0xdb8, b4, 0, 0, 0, 0, 1);
    let aftr = "2001:db8:a::1".parse().unwrap();
    Binding::new(b4, ipv4, ports, aftr).with_origin(Origin::Dhcp)
}

/// The parts of a running router that matter here.
struct Child {
    bindings: Bindings,
    reader: TableReader,
    store: StoreThread,
    results: Receiver<StoreResult>,
    stopwatch: Stopwatch,
    clock: Clock,
    rng: ChaCha8Rng,
}

/// One line, in one write, so that a kill cannot mix two of them.
fn say(line: &str) {
    std::io::stdout()
        .write_all(format!("{line}\n").as_bytes())
        .unwrap();
}

fn show(binding: &Binding, clock: &Clock) -> String {
    let end = binding
        .expires
        .at()
        .map_or(0, |at| clock.utc_of(at).as_micros());
    format!("{}={},{end}", name(&binding.key()), binding.b4)
}

fn name(key: &SoftwireKey) -> String {
    format!("{}/{}", key.ipv4, key.ports.psid())
}

/// What the next start must find, as text: set, delete, or set all.
fn told(change: &Change, clock: &Clock) -> String {
    match change {
        Change::Added(new) | Change::Replaced { new, .. } | Change::Renewed(new) => {
            format!("set {}", show(new, clock))
        }
        Change::Removed { binding, .. } => format!("del {}", name(&binding.key())),
        Change::BulkReplaced { bindings, .. } => {
            let all: Vec<String> = bindings.iter().map(|b| show(b, clock)).collect();
            format!("all {}", all.join(" "))
        }
        other => panic!("{other:?}"),
    }
}

impl Child {
    fn start(path: &Path, seed: u64) -> Self {
        let (stopwatch, clock) = (Stopwatch::start(), clock());
        let (mut store, stored) = Store::open(path, &clock).unwrap();
        let all: Vec<String> = stored.bindings.iter().map(|b| show(b, &clock)).collect();
        assert!(stored.lapsed.is_empty());
        let sizes = TableConfig {
            softwires: 1024,
            aftrs: 64,
            readers: 1,
            hash_seed: [0; 16],
        };
        let words: Vec<_> = (0..arena_words(&sizes))
            .map(|_| AtomicU64::new(0))
            .collect();
        let (writer, shared) = TableWriter::new(sizes, words.leak(), &[]).unwrap();
        let mut config = BindingsConfig::default();
        // These are not what is tested, and would refuse most of it.
        config.policy.quarantine = Duration::ZERO;
        config.policy.subscriber_softwires = 1000;
        config.policy.move_interval = Duration::ZERO;
        let mut bindings = Bindings::new(config, writer);
        let snapshot = Snapshot {
            version: stored.version,
            bindings: stored.bindings,
            ..Snapshot::default()
        };
        bindings.load_snapshot(stopwatch.now(), snapshot).unwrap();
        store.write_all(&bindings).unwrap();
        let (to, results) = channel();
        let store = StoreThread::start(store, move |result| drop(to.send(result))).unwrap();
        let mut child = Self {
            bindings,
            reader: shared.reader().unwrap(),
            store,
            results,
            stopwatch,
            clock,
            rng: ChaCha8Rng::seed_from_u64(seed),
        };
        child.all_packets_follow();
        say(&format!("start {} {}", stored.changes, all.join(" ")));
        child
    }

    /// Whom a packet to the softwire goes to.
    fn packet(&mut self, key: &SoftwireKey) -> Option<[u8; 16]> {
        self.reader.refresh();
        let port = key.ports.psid() * 1024;
        match self.reader.lookup(u32::from(key.ipv4), Some(port)) {
            Lookup::Found(softwire) => Some(softwire.b4),
            Lookup::NoBinding | Lookup::NoPort | Lookup::Foreign | Lookup::Busy => None,
        }
    }

    fn all_packets_follow(&mut self) {
        for address in 0..ADDRESSES {
            for psid in 0..SETS {
                let key = lease(address, psid, 0).key();
                let bound = self.bindings.get(&key).map(|b| b.b4.octets());
                assert_eq!(self.packet(&key), bound, "{key}");
            }
        }
    }

    /// Decides something at random.
    fn decide(&mut self) {
        let now = self.stopwatch.now();
        let (address, psid) = (
            self.rng.random_range(0..ADDRESSES),
            self.rng.random_range(0..SETS),
        );
        let until = now + Duration::from_secs(self.rng.random_range(3600..7200));
        let new = lease(address, psid, self.rng.random()).with_expiry(Expiry::At(until));
        let key = new.key();
        // Rules refuse some of it.
        match self.rng.random_range(0..400) {
            0..200 => drop(self.bindings.insert(now, new)),
            200..250 => drop(self.bindings.update(now, new)),
            250..300 => {
                if let Some(old) = self.bindings.get(&key).copied() {
                    let _ = self.bindings.renew(now, &key, old.b4, new.expires);
                }
            }
            300..399 => drop(self.bindings.remove(now, &key)),
            _ => {
                let mut all: Vec<Binding> = self.bindings.iter().step_by(2).copied().collect();
                all.retain(|old| old.key() != key);
                all.push(new);
                let _ = self.bindings.replace(now, all);
            }
        }
    }

    /// Hands decisions to the store, and says and checks what happens.
    fn follow(&mut self) {
        while let Some(event) = self.bindings.poll_event() {
            match event {
                Event::Persist { seq, change } => {
                    if let Change::Added(new) = &change {
                        assert_eq!(self.packet(&new.key()), None, "{seq} is visible early");
                    }
                    if let Change::Replaced { new, .. } = &change {
                        let visible = self.packet(&new.key()) == Some(new.b4.octets());
                        assert!(!visible, "{seq} is visible early");
                    }
                    if let Change::Removed { binding, .. } = &change {
                        assert_eq!(self.packet(&binding.key()), None, "{seq} is visible still");
                    }
                    say(&format!("decided {} {}", seq.0, told(&change, &self.clock)));
                    self.store.write(seq, change);
                }
                Event::Changed {
                    change: Change::Added(new),
                    ..
                } => {
                    let (key, b4) = (new.key(), new.b4.octets());
                    if self.bindings.get(&key).is_some_and(|now| now.b4 == new.b4) {
                        assert_eq!(
                            self.packet(&key),
                            Some(b4),
                            "{key} is stored and not visible"
                        );
                    }
                }
                _ => {}
            }
        }
    }

    fn run(&mut self) -> ! {
        loop {
            for _ in 0..self.rng.random_range(1..20) {
                self.decide();
                self.follow();
            }
            let patience = Duration::from_micros(self.rng.random_range(0..2000));
            match self.results.recv_timeout(patience) {
                Ok(StoreResult::Persisted(Seq(seq))) => {
                    say(&format!("confirmed {seq}"));
                    self.bindings
                        .handle_persisted(self.stopwatch.now(), Seq(seq));
                    self.follow();
                }
                Ok(StoreResult::Failed(seq, error)) => panic!("{seq}: {error}"),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => panic!("the store is gone"),
            }
            if self.rng.random_range(0..50) == 0 {
                self.all_packets_follow();
            }
        }
    }
}

/// Not a test by itself: the program that is killed.
#[test]
fn child() {
    let Ok(path) = std::env::var(CHILD) else {
        return;
    };
    let (seed, path) = path.split_once(':').unwrap();
    Child::start(Path::new(path), seed.parse().unwrap()).run();
}

type State = BTreeMap<String, String>;

fn entries(text: &str) -> State {
    let entry = |text: &str| {
        text.split_once('=')
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
    };
    text.split(' ').filter_map(entry).collect()
}

fn apply(state: &mut State, change: &str) {
    let (what, rest) = change.split_once(' ').unwrap();
    match what {
        "set" => state.extend(entries(rest)),
        "del" => drop(state.remove(rest)),
        "all" => *state = entries(rest),
        other => panic!("{other}"),
    }
}

/// What one life of the child said.
#[derive(Debug, Default)]
struct Life {
    /// Changes in the file at the start, and the bindings.
    changes: u64,
    found: State,
    decided: Vec<String>,
    confirmed: usize,
}

/// Lets a child live for a while and returns what it said.
fn live(path: &Path, seed: u64, time: Duration) -> Life {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["child", "--exact", "--nocapture", "--test-threads=1"])
        .env(CHILD, format!("{seed}:{}", path.display()))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut errors = child.stderr.take().unwrap();
    let mut from = BufReader::new(child.stdout.take().unwrap());
    let (started, start) = channel();
    let reader = std::thread::spawn(move || {
        let (mut life, mut line) = (Life::default(), String::new());
        while from.read_line(&mut line).unwrap() > 0 && line.ends_with('\n') {
            // The harness writes a line of its own and, before ours, the name of the test.
            let said = line.trim_end().trim_start_matches("test child ... ");
            match said.split_once(' ') {
                Some(("start", rest)) => {
                    let (changes, all) = rest.split_once(' ').unwrap_or((rest, ""));
                    life.changes = changes.parse().unwrap();
                    life.found = entries(all);
                    started.send(()).unwrap();
                }
                Some(("decided", rest)) => {
                    let (seq, change) = rest.split_once(' ').unwrap();
                    life.decided.push(change.to_owned());
                    assert_eq!(seq, life.decided.len().to_string());
                }
                Some(("confirmed", seq)) => life.confirmed = seq.parse().unwrap(),
                _ => {}
            }
            line.clear();
        }
        life
    });
    let alive = start.recv_timeout(Duration::from_secs(30)).is_ok();
    if alive {
        wait(time);
    }
    let gone = child.try_wait().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let life = reader.join().unwrap();
    if gone.is_some() || !alive {
        let mut said = String::new();
        errors.read_to_string(&mut said).unwrap();
        panic!("seed {seed}: the child ended by itself ({gone:?}): {said}");
    }
    life
}

/// Checks that the next start found what the life before wrote; returns how many unconfirmed
/// changes were among it.
fn check(before: &Life, after: &Life, seed: u64) -> usize {
    let there = usize::try_from(after.changes - before.changes).unwrap();
    let (confirmed, decided) = (before.confirmed, before.decided.len());
    assert!(
        (confirmed..=decided).contains(&there),
        "seed {seed}: {there} changes are there, {confirmed} confirmed, {decided} decided"
    );
    let mut expected = before.found.clone();
    for change in &before.decided[..there] {
        apply(&mut expected, change);
    }
    assert_eq!(after.found, expected, "seed {seed}: after {there} changes");
    there - confirmed
}

/// Kills a program `kills` times; returns changes confirmed, and written without being confirmed.
fn kill_again_and_again(lane: u64, kills: u64) -> (usize, usize) {
    let directory: PathBuf =
        std::env::temp_dir().join(format!("lw4o6-kill-{}-{lane}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let path = directory.join("state");
    let mut rng = ChaCha8Rng::seed_from_u64(lane);
    let mut before: Option<Life> = None;
    let (mut confirmed, mut in_flight) = (0, 0);
    for kill in 0..=kills {
        let seed = lane << 32 | kill;
        let time = Duration::from_micros(rng.random_range(1_000..200_000));
        let life = live(&path, seed, time);
        if let Some(before) = &before {
            in_flight += check(before, &life, seed);
        }
        confirmed += life.confirmed;
        before = Some(life);
    }
    std::fs::remove_dir_all(&directory).unwrap();
    (confirmed, in_flight)
}

fn scale() -> u64 {
    let scale = std::env::var("LW4O6_SCALE").ok();
    scale.and_then(|scale| scale.parse().ok()).unwrap_or(1)
}

#[test]
fn after_two_hundred_kills_every_confirmed_change_is_there_and_no_other_was_visible() {
    let lanes: Vec<_> = (1..=4)
        .map(|lane| std::thread::spawn(move || kill_again_and_again(lane, 50 * scale())))
        .collect();
    let sums = lanes.into_iter().map(|lane| lane.join().unwrap());
    let (confirmed, in_flight) = sums.fold((0, 0), |(a, b), (c, d)| (a + c, b + d));
    let kills = 200 * scale();
    eprintln!(
        "{kills} kills: {confirmed} changes confirmed, all there; {in_flight} more were in flight"
    );
    assert!(confirmed > 1000, "{confirmed}");
}
