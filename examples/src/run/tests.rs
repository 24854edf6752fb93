//! The loop of `run` on interfaces in memory.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex};

use lw4o6_aftr::port::Nic;
use lw4o6_wire::{EtherType, Instant, Ipv4Header, checksum, ethernet};

use super::*;
use crate::capture::{CaptureReader, CaptureWriter};
use crate::control::Input;
use crate::generate::{Flows, Plan, Traffic, generate};
use crate::packet_io::{BATCH, FrameBatch};
use crate::progress::Progress;
use crate::replay::{Replay, replay, seed_bytes};
use crate::view::{DataPlane, TraceRequest};

/// Frames that came from each interface, and their times.
type Frames = Vec<Vec<u8>>;

/// An interface that is two lists.
struct Memory {
    input: VecDeque<Vec<u8>>,
    output: Arc<Mutex<Frames>>,
    mishap: Option<Mishap>,
}

/// What happens to a worker once its input has come to an end.
#[derive(Clone)]
enum Mishap {
    Panic,
    /// It waits until somebody has the lock no longer.
    Stall(Arc<Mutex<()>>),
}

impl Memory {
    fn new(input: Frames) -> Self {
        Self {
            input: input.into(),
            output: Arc::default(),
            mishap: None,
        }
    }
}

impl PacketIo for Memory {
    fn receive(&mut self, batch: &mut FrameBatch) -> io::Result<usize> {
        let count = self.input.len().min(BATCH);
        let frames: Vec<_> = self.input.drain(..count).collect();
        match &self.mishap {
            Some(Mishap::Panic) if count == 0 => panic!("the interface is on fire"),
            Some(Mishap::Stall(lock)) if count == 0 => drop(lock.lock().unwrap()),
            _ => {}
        }
        Ok(batch.fill(frames.iter().map(Vec::as_slice)))
    }

    fn push(&mut self, frame: &[u8]) {
        self.output.lock().unwrap().push(frame.to_vec());
    }

    fn flush(&mut self) -> io::Result<usize> {
        Ok(0)
    }

    fn longest(&self) -> usize {
        2000
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
        let interfaces = inputs.into_iter().map(Memory::new).map(Interface::new);
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
        .map(|one| std::mem::take(&mut *one.io.output.lock().unwrap()));
    let outputs = outputs.collect();
    let mut report = Report::default();
    report.counted(&runner.port.worker().counters(), &runner.port.counters());
    report.accounted(&runner.port.accounts());
    assert_eq!(report.accounts.error, None);
    (outputs, report)
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

/// Starts a worker for each of `runners`; they sleep for a minute if nobody wakes them.
fn start(runners: Vec<Runner<Memory>>) -> (Workers, Receiver<Input>) {
    let (to_main, inputs) = channel();
    let labels = Labels {
        interfaces: vec![("up".to_owned(), vec![Side::Internet]); 2],
        next_hops: [const { String::new() }; 2],
    };
    let minute = Duration::from_secs(60);
    let workers = Workers::start(
        runners,
        labels,
        (Stopwatch::start(), clock()),
        minute,
        &to_main,
    );
    (workers.unwrap(), inputs)
}

/// Waits until `done`, but not forever.
fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let watch = Stopwatch::start();
    while !done() {
        assert!(watch.elapsed() < Duration::from_secs(10), "{what}");
        crate::stopwatch::wait(Duration::from_millis(1));
    }
}

#[test]
fn a_worker_thread_does_what_the_loop_does() {
    let directory = Directory::new("run-thread");
    let inputs = directory.generate(300);
    let ([v4, v6], replayed) = directory.replay();
    let runner = directory.runner([INTERNET_NIC, SOFTWIRE_NIC], inputs.into());
    let outputs: Vec<_> = runner
        .interfaces
        .iter()
        .map(|one| Arc::clone(&one.io.output))
        .collect();
    let (mut workers, _inputs) = start(vec![runner]);
    eventually("all frames are sent", || {
        outputs[0].lock().unwrap().len() == 300
    });
    eventually("what was counted is made known", || {
        workers.plane().report().softwire.received == 300
    });
    let watch = Stopwatch::start();
    workers.stop().unwrap();
    assert!(
        watch.elapsed() < Duration::from_secs(5),
        "stop ends a sleep"
    );
    assert_eq!(*outputs[0].lock().unwrap(), v4);
    assert_eq!(*outputs[1].lock().unwrap(), v6);
    let report = workers.plane().report();
    assert_eq!(
        (report.counters, report.drops),
        (replayed.counters, replayed.drops)
    );
}

#[test]
fn the_counters_of_workers_add_up_exactly() {
    let directory = Directory::new("run-sum");
    let [v4, v6] = directory.generate(400);
    let config = directory.config();
    let router = Router::new(&config, seed_bytes(0), Duration::ZERO).unwrap();
    let nics = [INTERNET_NIC, SOFTWIRE_NIC];
    let share = |frames: &Frames, worker: usize| -> Frames {
        let mut own = frames.chunks(100).skip(worker).step_by(2);
        own.by_ref().flatten().cloned().collect()
    };
    let runners = [0, 1].map(|number| {
        let port = match number {
            0 => router.port(&config, nics, 0),
            _ => router.follower(&config, nics),
        };
        let interfaces = [share(&v4, number), share(&v6, number)];
        let interfaces = interfaces.map(Memory::new).map(Interface::new);
        Runner::new(port.unwrap(), interfaces.into())
    });
    let (mut workers, _inputs) = start(runners.into());
    let plane = workers.plane();
    eventually("all frames are taken", || {
        let report = plane.report();
        report.internet.received + report.softwire.received == 800
    });
    workers.stop().unwrap();
    let views = plane.workers();
    let mut sum = BTreeMap::new();
    for view in &views {
        assert!(!view.alive);
        assert_eq!(view.counters["received-internet"], 200);
        for (name, count) in &view.counters {
            *sum.entry(*name).or_insert(0) += count;
        }
    }
    let total = plane.counters();
    let total: BTreeMap<_, _> = total.iter().filter(|&(_, count)| count > 0).collect();
    assert_eq!(sum, total);
    assert_eq!(
        total,
        router
            .aftr
            .counters()
            .iter()
            .filter(|&(_, count)| count > 0)
            .collect()
    );
    assert_eq!(plane.report().softwire.transmitted, 800);
}

#[test]
fn a_worker_that_fails_is_noticed_and_says_why() {
    let directory = Directory::new("run-panic");
    directory.generate(1);
    let mut runner = directory.runner([INTERNET_NIC, SOFTWIRE_NIC], vec![Frames::new(); 2]);
    runner.interfaces[1].io.mishap = Some(Mishap::Panic);
    let (mut workers, inputs) = start(vec![runner]);
    let input = inputs.recv_timeout(Duration::from_secs(10)).unwrap();
    assert!(matches!(input, Input::WorkerEnded(0)), "{input:?}");
    assert_eq!(workers.ended(), Some(0));
    assert!(!workers.plane().workers()[0].alive);
    let why = workers.stop().unwrap_err();
    assert_eq!(
        why.to_string(),
        "worker 0 has failed: the interface is on fire"
    );
    assert_eq!(why.exit_code(), 1);
}

#[test]
fn a_worker_that_stands_still_makes_no_turns() {
    let directory = Directory::new("run-stall");
    directory.generate(1);
    let mut runner = directory.runner([INTERNET_NIC, SOFTWIRE_NIC], vec![Frames::new(); 2]);
    let lock = Arc::new(Mutex::new(()));
    runner.interfaces[1].io.mishap = Some(Mishap::Stall(Arc::clone(&lock)));
    let held = lock.lock().unwrap();
    let (mut workers, _inputs) = start(vec![runner]);
    crate::stopwatch::wait(Duration::from_millis(20));
    assert_eq!(workers.turns().collect::<Vec<_>>(), [0]);
    drop(held);
    eventually("it goes on", || workers.turns().any(|turns| turns > 0));
    workers.stop().unwrap();
}

/// What two workers share.
fn two(name: &str) -> shared::Shared {
    let directory = Directory::new(name);
    directory.generate(1);
    let config = directory.config();
    let router = Router::new(&config, seed_bytes(0), Duration::ZERO).unwrap();
    let nics = [INTERNET_NIC, SOFTWIRE_NIC];
    let ports = [
        router.port(&config, nics, 0),
        router.follower(&config, nics),
    ];
    let counters = ports
        .iter()
        .map(|port| port.as_ref().unwrap().shared_counters());
    shared::Shared::new(counters).unwrap()
}

#[test]
fn followers_learn_next_hops_from_the_leader() {
    let shared = two("run-learn");
    let mac = ethernet::MacAddr([2, 0xff, 0, 1, 0xfe, 0x80]);
    assert_eq!(shared.next_hop(Side::Internet), None);
    shared.set_next_hop(Side::Internet, Some(mac));
    assert_eq!(shared.next_hop(Side::Internet), Some(mac));
    assert_eq!(shared.next_hop(Side::Softwire), None);
    assert!(shared.desks[1].alarm_clock().read().is_ok(), "it is woken");
    assert!(shared.desks[0].alarm_clock().read().is_err());
    shared.set_next_hop(Side::Internet, None);
    assert_eq!(shared.next_hop(Side::Internet), None);
}

#[test]
fn a_follower_that_sends_wakes_the_leader_only_where_a_next_hop_is_missing() {
    let shared = two("run-wake");
    let leader = shared.desks[0].alarm_clock();
    shared.use_next_hops();
    assert!(leader.read().is_ok());
    shared.use_next_hops();
    assert!(leader.read().is_err(), "once is enough");
    assert!(shared.next_hops_used());
    assert!(!shared.next_hops_used());
    for side in Side::ALL {
        shared.set_next_hop(side, Some(ethernet::MacAddr::ZERO));
    }
    shared.use_next_hops();
    assert!(leader.read().is_err());
    assert!(shared.next_hops_used());
}

/// An order to trace every packet, with room for `lines` lines that wait.
fn everything(lines: usize) -> (trace::TraceOrder, Receiver<String>) {
    let (to, from) = sync_channel(lines);
    let order = trace::TraceOrder::new(TraceRequest {
        ipv4: None,
        port: None,
        b4: None,
        drops: false,
        to,
    });
    (order, from)
}

#[test]
fn traced_packets_come_out_as_lines_and_those_that_nobody_reads_are_counted() {
    let directory = Directory::new("run-trace");
    let inputs = directory.generate(40);
    let runner = directory.runner([INTERNET_NIC, SOFTWIRE_NIC], inputs.into());
    let shared =
        Arc::new(shared::Shared::new([runner.port.shared_counters()].into_iter()).unwrap());
    // Room for three lines, and nobody reads them yet.
    let (order, lines) = everything(3);
    shared.set_trace(Some(order));
    let clock = (Stopwatch::start(), clock());
    let minute = Duration::from_secs(60);
    let mut worker = worker::Worker::new(runner, Arc::clone(&shared), 0, clock, minute);
    let thread = std::thread::spawn(move || worker.work());
    eventually("all is taken", || {
        let [a, b] = shared.desks[0].counters.port().rx_frames;
        a + b == 80
    });
    let line = || -> serde_json::Value {
        serde_json::from_str(&lines.recv_timeout(Duration::from_secs(10)).unwrap()).unwrap()
    };
    for _ in 0..3 {
        let line = line();
        assert_eq!(
            (&line["worker"], &line["lost"]),
            (&0.into(), &serde_json::Value::Null)
        );
        assert!(
            line["text"].as_str().unwrap().contains("; passed"),
            "{line}"
        );
        assert!(line["time"].as_str().unwrap().ends_with('Z'));
    }
    drop(lines);
    shared.stop();
    thread.join().unwrap();
}

#[test]
fn a_line_says_how_many_were_lost_before_it() {
    let directory = Directory::new("run-trace-lost");
    let inputs = directory.generate(1);
    let mut runner = directory.runner([INTERNET_NIC, SOFTWIRE_NIC], inputs.into());
    let (order, lines) = everything(1);
    runner.port.set_trace(Some(order.filter));
    let mut tracing = trace::Tracing::new(order);
    runner.turn(Instant::ZERO);
    assert!(
        tracing.pass_on(&mut runner.port, 5, &clock()),
        "two packets, room for one line"
    );
    let read = || serde_json::from_str::<serde_json::Value>(&lines.try_recv().unwrap()).unwrap();
    assert_eq!(read()["worker"], 5);
    runner.interfaces[0].io.input = directory.generate(1)[0].clone().into();
    runner.turn(Instant::ZERO);
    assert!(tracing.pass_on(&mut runner.port, 5, &clock()));
    assert!(read()["lost"].as_u64().unwrap() >= 1);
    drop(lines);
    runner.interfaces[0].io.input = directory.generate(1)[0].clone().into();
    runner.turn(Instant::ZERO);
    assert!(
        !tracing.pass_on(&mut runner.port, 5, &clock()),
        "nobody listens"
    );
}
