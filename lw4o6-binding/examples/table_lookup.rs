//! Measures lookups in a table of random bindings, in nanoseconds of thread CPU time.
//!
//! ```text
//! GLIBC_TUNABLES=glibc.malloc.hugetlb=1 \
//!     cargo run --release -p lw4o6-binding --example table_lookup [SOFTWIRES] [KEYS]
//! ```
//! The variable asks the C library for huge pages; without it the table lies on small ones.
//! Keys are uniformly random over all bindings, medians of seven runs. `floor` is the same loop
//! without a table.

use std::error::Error;
use std::hint::black_box;

use lw4o6_binding::table::{
    AtomicU64, Lookup, LookupKey, Pool, Slot, TableConfig, TableReader, TableWriter, arena_words,
};

/// Keys in a batch.
const BATCH: usize = 32;

/// A small generator; the same numbers every time.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// CPU time of this thread. The kernel brings it up to date at every tick (4 ms).
fn cpu_nanoseconds() -> Result<u64, Box<dyn Error>> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    Ok(text.split(' ').next().unwrap_or_default().parse()?)
}

/// Median over seven runs of the time for one key.
fn median(keys: usize, mut run: impl FnMut()) -> Result<f64, Box<dyn Error>> {
    let mut times = Vec::new();
    for _ in 0..7 {
        let start = cpu_nanoseconds()?;
        run();
        times.push(cpu_nanoseconds()? - start);
    }
    times.sort_unstable();
    let middle = times.get(3).copied().unwrap_or_default();
    Ok(f64::from(u32::try_from(middle / 1000)?) * 1000.0 / f64::from(u32::try_from(keys)?))
}

/// One address plan: how binding `n` is called.
#[derive(Clone, Copy)]
enum Plan {
    /// One pool, k = 6, full.
    Pool,
    /// Full addresses far from each other.
    Scattered,
}

impl Plan {
    fn slot(self, n: u32) -> Slot {
        let b4 = (0x2001_0db8 << 96 | u128::from(n)).to_be_bytes();
        let (ipv4, psid, len) = match self {
            Self::Pool => (0x0a00_0000 + n / 64, n % 64, 6),
            Self::Scattered => (n.wrapping_mul(0x9e37_79b1), 0, 0),
        };
        let psid = u16::try_from(psid).unwrap_or_default();
        Slot {
            ipv4,
            psid,
            offset: 0,
            len,
            b4,
            aftr: 0,
            flags: 0,
        }
    }

    fn key(self, n: u32, noise: u16) -> LookupKey {
        let Slot {
            ipv4, psid, len, ..
        } = self.slot(n);
        let port = match len {
            0 => noise,
            len => psid << (16 - len) | noise >> len,
        };
        LookupKey {
            ipv4,
            port: Some(port),
        }
    }

    fn pools(self, softwires: u32) -> Vec<Pool> {
        match self {
            Self::Pool => {
                let (first, last) = (self.slot(0).ipv4, self.slot(softwires - 1).ipv4);
                vec![Pool {
                    first,
                    last,
                    offset: 0,
                    len: 6,
                }]
            }
            Self::Scattered => Vec::new(),
        }
    }
}

/// The loop every case runs in.
fn sum_batches(keys: &[LookupKey], mut look: impl FnMut(&[LookupKey], &mut [Lookup])) -> usize {
    let mut out = [Lookup::Foreign; BATCH];
    let mut found = 0;
    for keys in keys.chunks_exact(BATCH) {
        look(keys, &mut out);
        found += out
            .iter()
            .filter(|out| matches!(out, Lookup::Found(_)))
            .count();
    }
    found
}

fn measure(name: &str, plan: Plan, softwires: u32, keys: u32) -> Result<(), Box<dyn Error>> {
    let config = TableConfig {
        softwires: softwires as usize,
        aftrs: 8,
        readers: 1,
        hash_seed: *b"a known secret!!",
    };
    let words = (0..arena_words(&config))
        .map(|_| AtomicU64::new(0))
        .collect::<Vec<_>>();
    let (mut writer, shared) = TableWriter::new(config, Vec::leak(words), &plan.pools(softwires))?;
    writer.aftr(&[0x20; 16])?;
    let start = cpu_nanoseconds()?;
    writer.replace_all((0..softwires).map(|n| plan.slot(n)), &plan.pools(softwires))?;
    let load = (cpu_nanoseconds()? - start) / u64::from(softwires);
    let mut reader = shared.reader()?;
    reader.refresh();
    writer.collect();
    let mut rng = Rng(0x1234_5678_9abc_def1);
    let keys = (0..keys).map(|_| {
        let random = rng.next();
        let n = u32::try_from(random % u64::from(softwires)).unwrap_or_default();
        plan.key(n, u16::try_from(random >> 48).unwrap_or_default())
    });
    report(name, &writer, load, &reader, &keys.collect::<Vec<_>>())
}

#[expect(clippy::print_stdout, reason = "the result of the program")]
fn report(
    name: &str,
    writer: &TableWriter,
    load: u64,
    reader: &TableReader,
    keys: &[LookupKey],
) -> Result<(), Box<dyn Error>> {
    let (mut found, count) = (0, keys.len());
    let floor = median(count, || {
        found = sum_batches(keys, |keys, out| {
            let sum = keys.iter().fold(0, |sum, key| sum ^ key.ipv4);
            out.fill(if sum == 1 {
                Lookup::Busy
            } else {
                Lookup::Foreign
            });
            black_box(out);
        });
    })?;
    let batch = median(count, || {
        found = sum_batches(keys, |keys, out| reader.lookup_batch(keys, out));
    })?;
    let all = found == count;
    let single = median(count, || {
        found = sum_batches(keys, |keys, out| {
            for (key, out) in keys.iter().zip(out) {
                *out = reader.lookup(key.ipv4, key.port);
            }
        });
    })?;
    let foreign = keys.iter().map(|key| LookupKey {
        ipv4: key.ipv4 ^ 0x8000_0000,
        ..*key
    });
    let foreign = foreign.collect::<Vec<_>>();
    let miss = median(count, || {
        found = sum_batches(&foreign, |keys, out| reader.lookup_batch(keys, out));
    })?;
    let memory = writer.memory();
    println!(
        "{name:10} {:9} softwires  {:3} bytes each  load {load:4} ns  floor {floor:5.1}  \
         batch {batch:5.1}  single {single:5.1}  foreign {miss:5.1} ns  all found: {all}",
        memory.softwires,
        memory.per_softwire(),
    );
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let number = |at, default| {
        std::env::args()
            .nth(at)
            .map_or(Ok(default), |text| text.parse::<u32>())
    };
    let (softwires, keys) = (number(1, 1 << 20)?.max(64), number(2, 1 << 22)?.max(64));
    measure("pool", Plan::Pool, softwires, keys)?;
    measure("scattered", Plan::Scattered, softwires, keys)
}
