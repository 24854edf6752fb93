//! Changes a large table as fast as it goes while readers look bindings up, and checks every
//! answer.
//!
//! ```text
//! cargo run --release -p lw4o6-binding --example table_churn [SECONDS] [SOFTWIRES] [READERS]
//! ```
//! Half of the bindings rest, the others are inserted, replaced and removed at random: half of
//! all in a dense pool, half scattered. A binding at rest must always be found, every answer
//! must be whole, and none may be `Busy`. Prints changes and lookups in a second of wall time.

use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use lw4o6_binding::table::{
    AtomicU64, Lookup, LookupKey, Pool, Slot, TableConfig, TableReader, TableWriter, arena_words,
};

/// A small generator.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: u32) -> u32 {
        u32::try_from(self.next() % u64::from(bound.max(1))).unwrap_or_default()
    }
}

/// A binding whose B4 address tells number and version and carries a check over both.
fn slot(n: u32, version: u32) -> Slot {
    let (ipv4, psid, len) = if n.is_multiple_of(2) {
        (0x0a00_0000 + n / 128, n / 2 % 64, 6)
    } else {
        (0x4000_0000 | n.wrapping_mul(0x9e37_79b1) >> 2, 0, 0)
    };
    let check = (u64::from(n) << 32 | u64::from(version)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let b4 = u128::from(check) << 64 | u128::from(version) << 32 | u128::from(n);
    let psid = u16::try_from(psid).unwrap_or_default();
    Slot {
        ipv4,
        psid,
        offset: 0,
        len,
        b4: b4.to_be_bytes(),
        aftr: 0,
        flags: 0,
    }
}

/// Whether binding `n` is never changed.
fn rests(n: u32) -> bool {
    (n / 2).is_multiple_of(2)
}

/// Answers that must not be.
#[derive(Clone, Copy, Debug, Default)]
struct Faults {
    /// A mixture of two states, or an old one.
    torn: u64,
    /// A binding at rest that was not found.
    missed: u64,
    /// The writer overtook every try.
    busy: u64,
}

impl Faults {
    const fn all(self) -> u64 {
        self.torn + self.missed + self.busy
    }

    const fn plus(self, other: Self) -> Self {
        Self {
            torn: self.torn + other.torn,
            missed: self.missed + other.missed,
            busy: self.busy + other.busy,
        }
    }
}

/// What is wrong with an answer.
fn fault(n: u32, lookup: Lookup) -> Faults {
    let none = Faults::default();
    let softwire = match lookup {
        Lookup::Found(softwire) => softwire,
        Lookup::Busy => return Faults { busy: 1, ..none },
        Lookup::NoBinding | Lookup::NoPort | Lookup::Foreign => {
            let missed = u64::from(rests(n));
            return Faults { missed, ..none };
        }
    };
    let b4 = u128::from_be_bytes(softwire.b4);
    let version = u32::try_from(b4 >> 32 & 0xffff_ffff).unwrap_or_default();
    let expected = slot(n, version);
    let whole = softwire.b4 == expected.b4
        && (softwire.ipv4, softwire.psid) == (expected.ipv4, expected.psid)
        && (!rests(n) || version == 0);
    let torn = u64::from(!whole);
    Faults { torn, ..none }
}

#[expect(clippy::print_stderr, reason = "says which answer is wrong")]
fn read(mut reader: TableReader, softwires: u32, seed: u64, stop: &AtomicBool) -> (u64, Faults) {
    let mut rng = Rng(seed);
    let (mut lookups, mut faults) = (0, Faults::default());
    let mut out = [Lookup::Foreign; 32];
    while !stop.load(Ordering::Relaxed) {
        reader.refresh();
        let numbers = [(); 32].map(|()| rng.below(softwires));
        let keys = numbers.map(|n| {
            let slot = slot(n, 0);
            LookupKey {
                ipv4: slot.ipv4,
                port: Some(slot.psid << 10),
            }
        });
        reader.lookup_batch(&keys, &mut out);
        lookups += 32;
        for (n, out) in numbers.iter().zip(&out) {
            let wrong = fault(*n, *out);
            if wrong.all() > 0 && faults.all() < 10 {
                eprintln!("binding {n}: {out:?} is {wrong:?}");
            }
            faults = faults.plus(wrong);
        }
    }
    (lookups, faults)
}

/// What the writer did.
#[derive(Default)]
struct Written {
    changes: u64,
    longest: Duration,
    elapsed: Duration,
}

#[expect(clippy::disallowed_methods, reason = "a measurement needs the clock")]
fn write(
    writer: &mut TableWriter,
    softwires: u32,
    seconds: u64,
) -> Result<Written, Box<dyn Error>> {
    let (mut rng, mut written) = (Rng(99), Written::default());
    let start = Instant::now();
    while written.elapsed < Duration::from_secs(seconds) {
        let begin = Instant::now();
        for _ in 0..1000 {
            let n = rng.below(softwires / 4) * 4 + 2 + rng.below(2);
            let change = slot(n, rng.below(1 << 30) + 1);
            if rng.below(2) == 0 {
                writer.insert(&change)?;
            } else {
                writer.remove(change.ipv4, change.psid);
            }
        }
        written.changes += 1000;
        written.longest = written.longest.max(begin.elapsed());
        writer.collect();
        written.elapsed = start.elapsed();
    }
    Ok(written)
}

fn main() -> Result<(), Box<dyn Error>> {
    let number = |at, default| {
        std::env::args()
            .nth(at)
            .map_or(Ok(default), |text| text.parse::<u32>())
    };
    let (seconds, softwires, readers) = (number(1, 60)?, number(2, 1 << 20)?, number(3, 1)?);
    let softwires = softwires.next_multiple_of(128);
    let config = TableConfig {
        softwires: softwires as usize,
        aftrs: 1,
        readers: readers as usize,
        hash_seed: *b"a known secret!!",
    };
    let last = slot(softwires - 2, 0).ipv4;
    let pools = [Pool {
        first: slot(0, 0).ipv4,
        last,
        offset: 0,
        len: 6,
    }];
    let words = (0..arena_words(&config))
        .map(|_| AtomicU64::new(0))
        .collect::<Vec<_>>();
    let (mut writer, shared) = TableWriter::new(config, Vec::leak(words), &pools)?;
    writer.aftr(&[0x20; 16])?;
    writer.replace_all((0..softwires).map(|n| slot(n, 0)), &pools)?;
    let stop = AtomicBool::new(false);
    let (written, read) = thread::scope(|scope| -> Result<_, Box<dyn Error>> {
        let mut threads = Vec::new();
        for seed in 1..=u64::from(readers) {
            let (reader, stop) = (shared.reader()?, &stop);
            threads.push(scope.spawn(move || read(reader, softwires, seed, stop)));
        }
        let written = write(&mut writer, softwires, u64::from(seconds));
        stop.store(true, Ordering::Relaxed);
        let read = threads.into_iter().filter_map(|thread| thread.join().ok());
        Ok((written?, read.collect::<Vec<_>>()))
    })?;
    report(&config, &written, &read, writer.memory().per_softwire())
}

#[expect(clippy::print_stdout, reason = "the result of the program")]
fn report(
    config: &TableConfig,
    written: &Written,
    read: &[(u64, Faults)],
    bytes: usize,
) -> Result<(), Box<dyn Error>> {
    let TableConfig {
        softwires, readers, ..
    } = *config;
    let elapsed = written.elapsed.as_secs().max(1);
    let lookups = read.iter().map(|(lookups, _)| lookups).sum::<u64>();
    println!(
        "{softwires} softwires, {readers} readers, {elapsed} s: {} changes/s, {} lookups/s, \
         slowest 1000 changes {:?}, {} bytes a softwire",
        written.changes / elapsed,
        lookups / elapsed,
        written.longest,
        bytes,
    );
    let faults = read
        .iter()
        .fold(Faults::default(), |sum, (_, faults)| sum.plus(*faults));
    let Faults { torn, missed, busy } = faults;
    let changes = written.changes;
    // `cargo xtask full` reads this line.
    println!(
        "lw4o6-full: changes={changes} lookups={lookups} seconds={elapsed} torn={torn} \
         missed={missed} busy={busy}"
    );
    if read.len() < readers {
        return Err("a reader did not come to its end".into());
    }
    if faults.all() > 0 {
        return Err(format!("{} wrong answers", faults.all()).into());
    }
    Ok(())
}
