//! The loop of `run` on interfaces in memory.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;

use lw4o6_wire::{EtherType, Ipv4Header, checksum, ethernet};

use super::*;
use crate::capture::{CaptureReader, CaptureWriter};
use crate::generate::{Flows, Plan, Traffic, generate};
use crate::progress::Progress;
use crate::replay::{Replay, replay, seed_bytes};

/// Frames that came from each interface, and their times.
type Frames = Vec<Vec<u8>>;

/// An interface that is two lists.
#[derive(Default)]
struct Memory {
    input: VecDeque<Vec<u8>>,
    output: Frames,
}

impl PacketIo for Memory {
    fn receive(&mut self, batch: &mut FrameBatch) -> io::Result<usize> {
        let count = self.input.len().min(BATCH);
        let frames: Vec<_> = self.input.drain(..count).collect();
        Ok(batch.fill(frames.iter().map(Vec::as_slice)))
    }

    fn push(&mut self, frame: &[u8]) {
        self.output.push(frame.to_vec());
    }

    fn flush(&mut self) -> io::Result<usize> {
        Ok(self.output.len())
    }
}

/// A directory of the test's own, gone when dropped.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("lw4o6-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a configuration and captures of `packets` frames each: long ones from the Internet,
    /// which may be fragmented, and short ones from the subscribers. Returns the frames.
    fn generate(&self, packets: u64) -> [Frames; 2] {
        let plan = |size, v4, v6| Plan {
            softwires: 100,
            psid_length: 6,
            traffic: Some(Traffic {
                packets,
                frame_size: size,
                flows: Flows::Uniform,
                v4_out: v4,
                v6_out: v6,
            }),
            seed: 1,
        };
        let (config, v4, v6) = (
            self.file("c.toml"),
            self.file("in4.pcap"),
            self.file("in6.pcap"),
        );
        generate(
            &plan(1618, Some(v4.clone()), None),
            &config,
            &Progress::hidden(),
        )
        .unwrap();
        generate(
            &plan(64, None, Some(v6.clone())),
            &config,
            &Progress::hidden(),
        )
        .unwrap();
        let mut from_internet = read(&v4);
        let mut capture = CaptureWriter::create(&v4).unwrap();
        for (at, frame) in from_internet.iter_mut().enumerate() {
            allow_fragments(frame);
            capture
                .write(Instant::from_micros(at as u64), frame)
                .unwrap();
        }
        capture.finish().unwrap();
        [from_internet, read(&v6)]
    }

    /// What `replay` makes of the captures.
    fn replay(&self) -> ([Frames; 2], Report) {
        let (v4_out, v6_out) = (self.file("out4.pcap"), self.file("out6.pcap"));
        let plan = Replay {
            v4_in: Some(self.file("in4.pcap")),
            v6_in: Some(self.file("in6.pcap")),
            v4_out: v4_out.clone(),
            v6_out: v6_out.clone(),
            seed: 0,
            drain: Duration::ZERO,
        };
        let report = replay(&self.config(), &plan, &Progress::hidden()).unwrap();
        ([read(&v4_out), read(&v6_out)], report)
    }

    fn config(&self) -> Config {
        Config::read(&self.file("c.toml")).unwrap()
    }

    fn runner(&self, nics: [Nic; 2], inputs: Vec<Frames>) -> Runner<Memory> {
        let config = self.config();
        let router = Router::new(&config, seed_bytes(0), Duration::ZERO).unwrap();
        let port = router.port(&config, nics, 0).unwrap();
        let memory = |input: Frames| Memory {
            input: input.into(),
            output: Vec::new(),
        };
        let interfaces = inputs
            .into_iter()
            .map(|input| Interface::new(memory(input), 2000));
        Runner::new(port, interfaces.collect())
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn read(path: &Path) -> Frames {
    let mut reader = CaptureReader::open(path).unwrap();
    let mut frames = Frames::new();
    while let Some(frame) = reader.next_frame().unwrap() {
        frames.push(frame.bytes);
    }
    frames
}

fn allow_fragments(frame: &mut [u8]) {
    let header: &mut [u8; 20] = frame[14..].first_chunk_mut().unwrap();
    header[6..8].fill(0);
    header[10..12].fill(0);
    let sum = checksum::checksum(header);
    Ipv4Header::new(header).set_checksum(sum);
}

fn run_all(mut runner: Runner<Memory>) -> (Vec<Frames>, Report) {
    while runner.turn(Instant::ZERO) > 0 {}
    let outputs = runner
        .interfaces
        .iter_mut()
        .map(|one| std::mem::take(&mut one.io.output));
    let outputs = outputs.collect();
    (outputs, runner.finish())
}

#[test]
fn run_sends_what_replay_writes_in_the_same_order() {
    let directory = Directory::new("run-replay");
    let inputs = directory.generate(500);
    let ([v4, v6], replayed) = directory.replay();
    assert_eq!(
        (v4.len(), v6.len()),
        (500, 1000),
        "every long packet takes two"
    );
    let runner = directory.runner([INTERNET_NIC, SOFTWIRE_NIC], inputs.into());
    let (outputs, report) = run_all(runner);
    assert_eq!(outputs, [v4, v6]);
    assert_eq!(
        (report.counters, report.drops),
        (replayed.counters, replayed.drops)
    );
    assert_eq!(report.softwire.transmitted, 1000);
}

#[test]
fn both_sides_may_share_an_interface() {
    let directory = Directory::new("run-stick");
    let [v4, v6] = directory.generate(100);
    let ([v4_out, v6_out], _) = directory.replay();
    let mixed = v4.into_iter().zip(v6).flat_map(|(a, b)| [a, b]).collect();
    let runner = directory.runner([INTERNET_NIC, INTERNET_NIC], vec![mixed]);
    let (mut outputs, _) = run_all(runner);
    let is_v4 = |frame: &Vec<u8>| ethernet::split(frame).unwrap().ethertype == EtherType::IPV4;
    let (v4, v6): (Frames, Frames) = outputs.remove(0).into_iter().partition(is_v4);
    assert_eq!((v4, v6), (v4_out, v6_out));
}
