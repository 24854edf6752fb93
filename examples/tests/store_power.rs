//! The store on a disk that loses power: of what was not synced nothing, a part, or torn pieces
//! are there afterwards. Each point where the store waits for the disk is tried.
//!
//! What must hold: every confirmed transaction is there; of the one that was being written all or
//! nothing; and nothing else.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::wildcard_enum_match_arm,
    clippy::cast_possible_truncation,
    reason = "a panic is a failed test, and the disk fits into memory"
)]

use std::io;
use std::sync::{Arc, Mutex};

use lw4o6_binding::{Binding, Change, Clock, Expiry, Origin, RemoveReason, Utc};
use lw4o6_examples::store::{Store, Stored};
use lw4o6_wire::Instant;
use lw4o6_wire::port_params::PortParams;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use redb::StorageBackend;

/// What a disk promises to keep whole.
const SECTOR: usize = 512;

/// What the store asked of the disk.
#[derive(Clone, Debug)]
enum Op {
    Write(usize, Vec<u8>),
    Length(usize),
    Sync,
    /// The store said that this many transactions are written.
    Confirmed(usize),
}

/// A disk in memory that remembers what it was asked.
#[derive(Debug, Default)]
struct Disk {
    bytes: Mutex<Vec<u8>>,
    journal: Mutex<Vec<Op>>,
}

impl Disk {
    fn with(bytes: Vec<u8>) -> Arc<Self> {
        Arc::new(Self {
            bytes: Mutex::new(bytes),
            journal: Mutex::default(),
        })
    }

    fn note(&self, op: Op) {
        self.journal.lock().unwrap().push(op);
    }
}

fn write(bytes: &mut Vec<u8>, offset: usize, data: &[u8]) {
    let end = offset + data.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[offset..end].copy_from_slice(data);
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.bytes.lock().unwrap().len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let bytes = self.bytes.lock().unwrap();
        let offset = offset as usize;
        let from = bytes.get(offset..offset + out.len());
        out.copy_from_slice(from.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.bytes.lock().unwrap().resize(len as usize, 0);
        self.note(Op::Length(len as usize));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.note(Op::Sync);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        write(&mut self.bytes.lock().unwrap(), offset as usize, data);
        self.note(Op::Write(offset as usize, data.to_vec()));
        Ok(())
    }
}

/// What is left of the writes since the last sync.
#[derive(Clone, Copy, Debug)]
enum Left {
    Nothing,
    Everything,
    /// Each write with its chance.
    Some(u64),
    /// Each sector of each write with its chance.
    Torn(u64),
    /// The writes in their order up to some sector in one of them.
    Cut(u64),
}

fn keep(durable: &[u8], unsynced: &[Op], left: Left) -> Vec<u8> {
    let mut bytes = durable.to_vec();
    let seed = match left {
        Left::Nothing => return bytes,
        Left::Everything => 0,
        Left::Some(seed) | Left::Torn(seed) | Left::Cut(seed) => seed,
    };
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let chance = rng.random_range(0.05..0.95);
    let cut = rng.random_range(0..=unsynced.len());
    for (number, op) in unsynced.iter().enumerate() {
        let whole = match left {
            Left::Nothing => false,
            Left::Everything => true,
            Left::Some(_) => rng.random_bool(chance),
            Left::Torn(_) => false,
            Left::Cut(_) => number < cut,
        };
        let torn = matches!(left, Left::Torn(_));
        match op {
            Op::Length(len) if whole || torn && rng.random_bool(chance) => bytes.resize(*len, 0),
            Op::Write(offset, data) if whole => write(&mut bytes, *offset, data),
            Op::Write(offset, data) if torn || matches!(left, Left::Cut(_)) && number == cut => {
                let sectors = data.chunks(SECTOR).enumerate();
                let end = rng.random_range(0..=data.len() / SECTOR);
                for (sector, piece) in sectors {
                    if torn && rng.random_bool(chance) || !torn && sector < end {
                        write(&mut bytes, offset + sector * SECTOR, piece);
                    }
                }
            }
            Op::Length(_) | Op::Write(..) | Op::Sync | Op::Confirmed(_) => {}
        }
    }
    bytes
}

fn clock() -> Clock {
    Clock {
        instant: Instant::from_secs(100),
        utc: Utc::from_micros(1_795_176_000_000_000),
    }
}

fn lease(number: u32, b4: u16, until: u64) -> Binding {
    let ports = PortParams::new(0, 8, (number % 256) as u16).unwrap();
    let ipv4 = std::net::Ipv4Addr::from(0xc000_0200 + number / 256);
    let b4 = std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, b4, 0, 0, 0, 1);
    let aftr = "2001:db8:a::1".parse().unwrap();
    Binding::new(b4, ipv4, ports, aftr)
        .with_origin(Origin::Dhcp)
        .with_expiry(Expiry::At(Instant::from_secs(until)))
}

/// What the store says after each transaction, the state before the first one first.
fn states(workload: &[Vec<Change>]) -> Vec<Stored> {
    let (mut store, first) = Store::with_backend(Disk::with(Vec::new()), &clock()).unwrap();
    let mut states = vec![first];
    for batch in workload {
        store.write(batch).unwrap();
        let model = apply(states.last().unwrap(), batch);
        states.push(model);
    }
    states
}

/// The map that `Event::Persist` describes, as plainly as can be.
fn apply(before: &Stored, batch: &[Change]) -> Stored {
    let mut after = before.clone();
    for change in batch {
        after.changes += 1;
        match change {
            Change::Added(new) | Change::Renewed(new) | Change::Replaced { new, .. } => {
                after.bindings.retain(|old| old.key() != new.key());
                after.bindings.push(*new);
            }
            Change::Removed { binding, .. } => {
                after.bindings.retain(|old| old.key() != binding.key());
            }
            Change::BulkReplaced { bindings, .. } => after.bindings = bindings.to_vec(),
            _ => {}
        }
    }
    after.bindings.sort_by_key(Binding::key);
    after
}

/// Changes of `softwires` softwires in transactions of `sizes`.
fn workload(seed: u64, softwires: u32, sizes: &[usize]) -> Vec<Vec<Change>> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut change = || {
        let number = rng.random_range(0..softwires);
        let new = lease(number, rng.random(), rng.random_range(5000..9000));
        match rng.random_range(0..10) {
            0..5 => Change::Added(new),
            5 => Change::Renewed(new),
            6 => Change::Replaced { old: new, new },
            7..9 => Change::Removed {
                binding: new,
                reason: RemoveReason::Released,
            },
            _ => {
                let all = (0..softwires).step_by(3).map(|n| lease(n, 7, 6000));
                Change::BulkReplaced {
                    version: 0,
                    bindings: Arc::new(all.collect()),
                }
            }
        }
    };
    let mut batch = |size: &usize| (0..*size).map(|_| change()).collect();
    sizes.iter().map(&mut batch).collect()
}

/// Runs the workload on a disk and returns what was on it before, and what it was asked.
fn record(workload: &[Vec<Change>]) -> (Vec<u8>, Vec<Op>) {
    let disk = Disk::with(Vec::new());
    let (store, _) = Store::with_backend(disk.clone(), &clock()).unwrap();
    store.close();
    let base = disk.bytes.lock().unwrap().clone();
    let disk = Disk::with(base.clone());
    let (mut store, _) = Store::with_backend(disk.clone(), &clock()).unwrap();
    for (number, batch) in workload.iter().enumerate() {
        store.write(batch).unwrap();
        disk.note(Op::Confirmed(number + 1));
    }
    store.close();
    let journal = disk.journal.lock().unwrap().clone();
    (base, journal)
}

/// Loses power at each sync; returns how often.
fn lose_power(workload: &[Vec<Change>], rounds: u64) -> usize {
    let expected = states(workload);
    let (base, journal) = record(workload);
    let (mut durable, mut unsynced) = (base, Vec::new());
    let (mut confirmed, mut tries, mut rolled_back, mut went_on) = (0, 0, 0, 0);
    for (at, op) in journal.iter().enumerate() {
        match op {
            Op::Write(..) | Op::Length(_) => unsynced.push(op.clone()),
            Op::Confirmed(count) => confirmed = *count,
            Op::Sync => {
                let seeds = (0..rounds).map(|round| (at as u64) << 16 | round);
                let some = seeds.flat_map(|s| [Left::Some(s), Left::Torn(s), Left::Cut(s)]);
                for left in [Left::Nothing, Left::Everything].into_iter().chain(some) {
                    let bytes = keep(&durable, &unsynced, left);
                    let place = format!("operation {at}, {left:?}, {confirmed} confirmed");
                    let found = look(bytes, &expected, confirmed, &place);
                    rolled_back += usize::from(found == confirmed);
                    went_on += usize::from(found != confirmed);
                    tries += 1;
                }
                durable = keep(&durable, &unsynced, Left::Everything);
                unsynced.clear();
            }
        }
    }
    eprintln!("{tries} power failures: {rolled_back} without, {went_on} with what was in flight");
    assert!(rolled_back > 0 && went_on > 0);
    tries
}

/// Opens what is left and returns how many transactions are there.
fn look(bytes: Vec<u8>, expected: &[Stored], confirmed: usize, place: &str) -> usize {
    let disk = Disk::with(bytes);
    let (mut store, mut stored) = match Store::with_backend(disk.clone(), &clock()) {
        Ok(opened) => opened,
        Err(error) => panic!("{place}: {error}"),
    };
    (stored.written, stored.clock_behind, stored.version) = (None, None, 0);
    let in_flight = (confirmed + 1).min(expected.len() - 1);
    let there = (confirmed..=in_flight).find(|number| stored == expected[*number]);
    let Some(there) = there else {
        panic!("{place}: {} changes are there", stored.changes);
    };
    // And it goes on from there.
    if stored.changes % 3 == 0 {
        let more = [Change::Added(lease(999, 1, 7000))];
        store.write(&more).unwrap();
        store.close();
        let (_, again) = Store::with_backend(disk, &clock()).unwrap();
        assert_eq!(again.bindings, apply(&stored, &more).bindings, "{place}");
    }
    there
}

fn scale() -> u64 {
    let scale = std::env::var("LW4O6_SCALE").ok();
    scale.and_then(|scale| scale.parse().ok()).unwrap_or(1)
}

#[test]
fn what_is_confirmed_survives_a_loss_of_power_at_every_sync() {
    let seed = 4;
    eprintln!("seed {seed}");
    let sizes = [1, 2, 1, 5, 1, 30, 1, 1, 3, 80, 2, 1, 9, 1, 40, 1];
    let tries = lose_power(&workload(seed, 120, &sizes), 2 * scale());
    assert!(tries > 100, "{tries}");
}

#[test]
fn what_is_confirmed_survives_while_the_file_grows() {
    let mut batches = workload(5, 3000, &[3]);
    let all = (0..12_000).map(|number| Change::Added(lease(number, 3, 8000)));
    batches.push(all.collect());
    batches.extend(workload(6, 12_000, &[2, 500]));
    let tries = lose_power(&batches, scale());
    assert!(tries > 20, "{tries}");
}
