//! `lwaftr replay`: captures through the whole engine, on their own clock.

use std::path::PathBuf;
use std::time::Duration;

use lw4o6_aftr::Side;
use lw4o6_aftr::port::{EthernetPort, Nic, PortVerdict};
use lw4o6_wire::{FrameBuf, HEADROOM, Instant};

use crate::capture::{CaptureReader, CaptureWriter, CapturedFrame};
use crate::config::Config;
use crate::error::Failure;
use crate::progress::Progress;
use crate::report::Report;
use crate::setup::Router;

/// Interface of the frames of `--v4-in` and `--v4-out`.
pub const INTERNET_NIC: Nic = Nic(0);

/// Interface of the frames of `--v6-in` and `--v6-out`.
pub const SOFTWIRE_NIC: Nic = Nic(1);

/// Largest frame: an IPv6 packet with the largest payload, behind a tagged Ethernet header, and room
/// for what encapsulation adds.
const FRAME_ROOM: usize = HEADROOM + 18 + 40 + 65_535 + 64;

/// What to replay, and where to.
#[derive(Clone, Debug)]
pub struct Replay {
    /// Capture of the Internet side.
    pub v4_in: Option<PathBuf>,
    /// Capture of the softwire side.
    pub v6_in: Option<PathBuf>,
    /// What leaves on the Internet side.
    pub v4_out: PathBuf,
    /// What leaves on the softwire side.
    pub v6_out: PathBuf,
    /// Seed of everything random.
    pub seed: u64,
    /// How long timers run on after the last frame.
    pub drain: Duration,
}

/// Runs `replay` and returns what was counted.
///
/// The clock starts at the first time stamp, or 0 without one; timers due then run first. Equal time
/// stamps: Internet side first, then file order. Time that goes backwards counts as the newest seen.
///
/// # Errors
///
/// Where a capture cannot be read or written.
pub fn replay(config: &Config, replay: &Replay, progress: &Progress) -> Result<Report, Failure> {
    let mut merged = Merged::open(replay)?;
    let router = Router::new(config, seed_bytes(replay.seed), Duration::ZERO)?;
    let port = router.port(config, [INTERNET_NIC, SOFTWIRE_NIC], replay.seed)?;
    let start = merged.first_time().unwrap_or(Instant::ZERO);
    let mut run = Run::new(port, replay, start)?;
    run.timers_until(start)?;
    while let Some((nic, frame)) = merged.next()? {
        run.timers_until(frame.time)?;
        run.frame(nic, &frame)?;
        progress.advance(1);
    }
    let end = run.now + replay.drain;
    run.timers_until(end)?;
    run.now = end;
    run.finish()
}

/// The 32-byte seed that stands for a number on the command line.
#[must_use]
pub fn seed_bytes(seed: u64) -> [u8; 32] {
    let mut bytes = [0; 32];
    for (to, from) in bytes.iter_mut().zip(seed.to_le_bytes()) {
        *to = from;
    }
    bytes
}

/// The two input captures as one stream in order of time.
struct Merged {
    sources: [Option<Source>; 2],
}

struct Source {
    nic: Nic,
    reader: CaptureReader,
    next: Option<CapturedFrame>,
}

impl Merged {
    fn open(replay: &Replay) -> Result<Self, Failure> {
        let open = |nic, path: &Option<PathBuf>| {
            let Some(path) = path else { return Ok(None) };
            let mut reader = CaptureReader::open(path)?;
            let next = reader.next_frame()?;
            Ok::<_, Failure>(Some(Source { nic, reader, next }))
        };
        Ok(Self {
            sources: [
                open(INTERNET_NIC, &replay.v4_in)?,
                open(SOFTWIRE_NIC, &replay.v6_in)?,
            ],
        })
    }

    fn first_time(&self) -> Option<Instant> {
        self.sources.iter().flatten().filter_map(Source::time).min()
    }

    fn next(&mut self) -> Result<Option<(Nic, CapturedFrame)>, Failure> {
        // `min_by_key` keeps the first of equals: the Internet side.
        let due = self
            .sources
            .iter_mut()
            .flatten()
            .filter(|source| source.next.is_some());
        match due.min_by_key(|source| source.time()) {
            Some(source) => source.take(),
            None => Ok(None),
        }
    }
}

impl Source {
    fn time(&self) -> Option<Instant> {
        self.next.as_ref().map(|frame| frame.time)
    }

    fn take(&mut self) -> Result<Option<(Nic, CapturedFrame)>, Failure> {
        let mut next = self.reader.next_frame()?;
        if let (Some(next), Some(now)) = (&mut next, self.time()) {
            next.time = next.time.max(now);
        }
        Ok(std::mem::replace(&mut self.next, next).map(|frame| (self.nic, frame)))
    }
}

/// A replay under way.
struct Run {
    port: EthernetPort,
    outputs: [CaptureWriter; 2],
    report: Report,
    now: Instant,
    storage: Vec<u8>,
    polled: Vec<u8>,
}

impl Run {
    fn new(port: EthernetPort, replay: &Replay, start: Instant) -> Result<Self, Failure> {
        Ok(Self {
            port,
            outputs: [
                CaptureWriter::create(&replay.v4_out)?,
                CaptureWriter::create(&replay.v6_out)?,
            ],
            report: Report::default(),
            now: start,
            storage: vec![0; FRAME_ROOM],
            polled: vec![0; FRAME_ROOM],
        })
    }

    fn frame(&mut self, nic: Nic, captured: &CapturedFrame) -> Result<(), Failure> {
        self.now = self.now.max(captured.time);
        let mut storage = std::mem::take(&mut self.storage);
        let frame = FrameBuf::with_headroom(&mut storage, HEADROOM, &captured.bytes);
        let mut frame = frame.ok_or_else(|| {
            let len = captured.bytes.len();
            Failure::run(format!(
                "a captured frame of {len} bytes is longer than any IP packet"
            ))
        })?;
        let verdict = self.port.process(self.now, nic, &mut frame);
        if let PortVerdict::Transmit(nic) = verdict {
            self.write(nic, frame.packet())?;
        }
        self.storage = storage;
        self.drain()
    }

    /// Runs the timers that are due up to `until`, each at its own time.
    fn timers_until(&mut self, until: Instant) -> Result<(), Failure> {
        while let Some(due) = self.port.poll_timeout().filter(|&due| due <= until) {
            self.now = self.now.max(due);
            self.port.handle_timeout(self.now);
            self.drain()?;
        }
        Ok(())
    }

    /// Writes what the engine made of its own.
    fn drain(&mut self) -> Result<(), Failure> {
        let mut storage = std::mem::take(&mut self.polled);
        while let Some(mut frame) = FrameBuf::new(&mut storage, 0, 0) {
            let polled = self.port.poll_frame(&mut frame);
            let Some(output) = polled.map_err(|error| Failure::run(error.to_string()))? else {
                break;
            };
            if let PortVerdict::Transmit(nic) = output.verdict {
                self.write(nic, frame.packet())?;
            }
        }
        self.polled = storage;
        Ok(())
    }

    fn write(&mut self, nic: Nic, frame: &[u8]) -> Result<(), Failure> {
        let [v4, v6] = &mut self.outputs;
        let output = if nic == INTERNET_NIC { v4 } else { v6 };
        output.write(self.now, frame)
    }

    fn finish(mut self) -> Result<Report, Failure> {
        self.report
            .counted(&self.port.worker().counters(), &self.port.counters());
        self.report.accounted(&self.port.accounts());
        self.report.clock_micros = self.now.as_micros();
        let unresolved = Side::ALL
            .into_iter()
            .filter(|&side| self.port.next_hop(side).is_none());
        self.report.unresolved.extend(unresolved);
        for output in self.outputs {
            output.finish()?;
        }
        Ok(self.report)
    }
}
