//! An engine over a few bindings, and short ways to feed it.
//!
//! ```ignore
//! let mut bench = Bench::new();
//! let out = bench.internet(&V4::udp("198.51.100.1:53", "192.0.2.18:1232").build());
//! assert_eq!(out.verdict, Verdict::Forward(Side::Softwire));
//! ```
#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "every test file uses a part of it, and a panic is a failed test"
)]

pub mod fragments;
pub mod traced;
pub mod traffic;

use std::sync::atomic::Ordering;

use lw4o6_aftr::trace::{Trace, TraceFilter};
use lw4o6_aftr::{Aftr, AftrConfig, Counter, DropReason, Output, Side, Verdict, Worker};
use lw4o6_binding::table::{
    AtomicU64, Pool, Slot, TableConfig, TableShared, TableWriter, arena_words,
};
use lw4o6_wire::{FrameBuf, HEADROOM, Instant};

/// The AFTR of the vectors.
pub const AFTR: &str = "2001:db8:ffff::1";
/// Another address of it, which [`OTHER_AFTR_B4`] uses.
pub const AFTR2: &str = "2001:db8:ffff::2";
/// Address of the AFTR on the IPv4 side.
pub const AFTR_V4: &str = "203.0.113.1";
/// The B4 of the vectors: 192.0.2.18, a = 6, k = 8, PSID 0x34, so ports 1232 to 1235, 2256 to 2259, …
pub const B4: &str = "2001:db8:12:3400:0:c000:212:34";
/// PSID 0x35 of the same address: ports 1236 to 1239, …
pub const B4_NEXT: &str = "2001:db8:12:3500::1";
/// 192.0.2.20 as a whole.
pub const B4_FULL: &str = "2001:db8:20::1";
/// 192.0.2.21, a = 0, k = 6, PSID 5: ports 5120 to 6143.
pub const B4_RANGE: &str = "2001:db8:21::5";
/// PSID 9 of the same address: ports 9216 to 10239.
pub const B4_RANGE9: &str = "2001:db8:21::9";
/// 192.0.2.22, a = 0, k = 2, PSID 1, over [`AFTR2`]: ports 16384 to 32767.
pub const OTHER_AFTR_B4: &str = "2001:db8:22::1";
/// Somebody on the Internet.
pub const REMOTE: &str = "198.51.100.1";

/// A binding: B4, IPv4 address, PSID offset, PSID length, PSID, AFTR address.
pub type Entry<'a> = (&'a str, &'a str, u8, u8, u16, &'a str);

/// The bindings of [`Bench::new`].
pub const BINDINGS: &[Entry<'static>] = &[
    (B4, "192.0.2.18", 6, 8, 0x34, AFTR),
    (B4_NEXT, "192.0.2.18", 6, 8, 0x35, AFTR),
    (B4_FULL, "192.0.2.20", 0, 0, 0, AFTR),
    (B4_RANGE, "192.0.2.21", 0, 6, 5, AFTR),
    (B4_RANGE9, "192.0.2.21", 0, 6, 9, AFTR),
    (OTHER_AFTR_B4, "192.0.2.22", 0, 2, 1, AFTR2),
];

/// What came of one frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub verdict: Verdict,
    /// What the frame holds afterwards.
    pub packet: Vec<u8>,
    /// What `poll_frame` gave.
    pub outputs: Vec<(Output, Vec<u8>)>,
}

impl Outcome {
    /// The packet, then the outputs.
    pub fn packets(&self) -> Vec<&[u8]> {
        let first = std::iter::once(self.packet.as_slice());
        let others = self.outputs.iter().map(|(_, packet)| packet.as_slice());
        first.chain(others).collect()
    }
}

/// An engine with one worker.
pub struct Bench {
    pub aftr: Aftr,
    pub worker: Worker,
    pub writer: TableWriter,
    pub arena: Arena,
    pub now: Instant,
}

/// The memory of a table.
pub type Arena = &'static [AtomicU64];

/// The configuration of [`Bench::new`]: 203.0.113.1 is the box, everything else default.
pub fn config() -> AftrConfig {
    let mut config = AftrConfig::default();
    config.own_ipv4.push(AFTR_V4.parse().unwrap());
    config
}

/// A table with these bindings and pools of (first, last, offset, length).
pub fn table(bindings: &[Entry<'_>], pools: &[(&str, &str, u8, u8)]) -> (TableWriter, TableShared) {
    let (writer, shared, _) = table_in(bindings, pools);
    (writer, shared)
}

fn table_in(
    bindings: &[Entry<'_>],
    pools: &[(&str, &str, u8, u8)],
) -> (TableWriter, TableShared, Arena) {
    let config = TableConfig {
        softwires: 256.max(2 * bindings.len()),
        aftrs: 16,
        readers: 8,
        hash_seed: [7; 16],
    };
    let words: Vec<AtomicU64> = (0..arena_words(&config))
        .map(|_| AtomicU64::new(0))
        .collect();
    let v4 = |text: &str| text.parse::<std::net::Ipv4Addr>().unwrap().to_bits();
    let pools: Vec<Pool> = pools
        .iter()
        .map(|(first, last, offset, len)| Pool {
            first: v4(first),
            last: v4(last),
            offset: *offset,
            len: *len,
        })
        .collect();
    let arena: Arena = words.leak();
    let (mut writer, shared) = TableWriter::new(config, arena, &pools).unwrap();
    for entry in bindings {
        insert(&mut writer, entry);
    }
    (writer, shared, arena)
}

/// Adds a binding.
pub fn insert(writer: &mut TableWriter, entry: &Entry<'_>) {
    let v6 = |text: &str| text.parse::<std::net::Ipv6Addr>().unwrap().octets();
    let (b4, ipv4, offset, len, psid, aftr) = *entry;
    let aftr = writer.aftr(&v6(aftr)).unwrap();
    let slot = Slot {
        ipv4: ipv4.parse::<std::net::Ipv4Addr>().unwrap().to_bits(),
        psid,
        offset,
        len,
        b4: v6(b4),
        aftr,
        flags: 0,
    };
    writer.insert(&slot).unwrap();
}

impl Bench {
    /// The bindings above and a default configuration.
    pub fn new() -> Self {
        Self::with(|_| {})
    }

    /// The bindings above and a configuration.
    pub fn with(knobs: impl FnOnce(&mut AftrConfig)) -> Self {
        Self::over(BINDINGS, &[], knobs)
    }

    /// Other bindings and pools.
    pub fn over(
        bindings: &[Entry<'_>],
        pools: &[(&str, &str, u8, u8)],
        knobs: impl FnOnce(&mut AftrConfig),
    ) -> Self {
        let (writer, shared, arena) = table_in(bindings, pools);
        let mut config = config();
        knobs(&mut config);
        let aftr = Aftr::new(config, shared, [42; 32]).unwrap();
        let worker = aftr.worker().unwrap();
        Self {
            aftr,
            worker,
            writer,
            arena,
            now: Instant::from_secs(1000),
        }
    }

    /// The first word of a softwire's line: sequence (32) | AFTR index (16) | flags (16).
    pub fn first_word(&self, ipv4: &str, psid: u16, offset: u8, len: u8) -> &'static AtomicU64 {
        let ipv4 = ipv4.parse::<std::net::Ipv4Addr>().unwrap().to_bits();
        let shape = u64::from(psid) << 16 | u64::from(offset) << 8 | u64::from(len);
        let key = u64::from(ipv4) << 32 | shape;
        let lines = self.arena.as_chunks::<4>().0.iter();
        let found: Vec<_> = lines
            .filter(|line| line[3].load(Ordering::Relaxed) == key)
            .collect();
        assert_eq!(found.len(), 1);
        &found[0][0]
    }

    /// Turns knobs of the running engine.
    pub fn turn(&mut self, knobs: impl FnOnce(&mut AftrConfig)) {
        let mut config = self.aftr.config();
        knobs(&mut config);
        self.aftr.reconfigure(config).unwrap();
    }

    /// A packet from a B4.
    pub fn softwire(&mut self, packet: &[u8]) -> Outcome {
        self.feed(Side::Softwire, packet)
    }

    /// A packet from the Internet.
    pub fn internet(&mut self, packet: &[u8]) -> Outcome {
        self.feed(Side::Internet, packet)
    }

    pub fn feed(&mut self, side: Side, packet: &[u8]) -> Outcome {
        let mut storage = vec![0; HEADROOM + packet.len() + 64];
        let mut frame = FrameBuf::with_headroom(&mut storage, HEADROOM, packet).unwrap();
        self.worker.set_trace(Some(TraceFilter::default()));
        let verdict = self.worker.process(self.now, side, &mut frame);
        traced::traced(&self.traces(), verdict);
        self.worker.set_trace(None);
        let packet = frame.packet().to_vec();
        let outputs = self.drain();
        Outcome {
            verdict,
            packet,
            outputs,
        }
    }

    /// Everything that waits in `poll_frame`.
    pub fn drain(&mut self) -> Vec<(Output, Vec<u8>)> {
        let mut storage = vec![0; 70_000];
        let mut outputs = Vec::new();
        let mut frame = FrameBuf::new(&mut storage, 0, 0).unwrap();
        while let Some(output) = self.worker.poll_frame(&mut frame).unwrap() {
            outputs.push((output, frame.packet().to_vec()));
        }
        outputs
    }

    /// The records of traced packets.
    pub fn traces(&mut self) -> Vec<Trace> {
        std::iter::from_fn(|| self.worker.poll_trace()).collect()
    }

    /// Lets milliseconds pass.
    pub fn pass(&mut self, millis: u64) -> Vec<(Output, Vec<u8>)> {
        self.now += core::time::Duration::from_millis(millis);
        let discarded = self.counter(Counter::Discarded);
        self.worker.set_trace(Some(TraceFilter::default()));
        self.worker.handle_timeout(self.now);
        let records = self.traces();
        records.iter().for_each(traced::consistent);
        let given_up = self.counter(Counter::Discarded) > discarded;
        // Evicted fragments are counted late, and are no records of their own.
        let evicted = self.counter(Counter::FragmentEvictions) > 0;
        assert!(!given_up || evicted || !records.is_empty());
        self.worker.set_trace(None);
        self.drain()
    }

    pub fn counter(&self, counter: Counter) -> u64 {
        self.worker.counters().get(counter)
    }

    pub fn drops(&self, reason: DropReason) -> u64 {
        self.worker.counters().drops(reason)
    }
}
