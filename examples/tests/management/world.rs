//! A control half with its server on a socket of its own, and workers that only count.
#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    missing_debug_implementations,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "each test file uses a part, and a panic is a failed test"
)]

use std::collections::BTreeMap;
use std::sync::mpsc::{RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use hyper::Method;
use lw4o6_aftr::{CounterSnapshot, Side};
use lw4o6_binding::{Change, Seq};
use lw4o6_examples::config::{Config, clock};
use lw4o6_examples::control::{
    ChangeLog, Control, FileReader, Input, Logged, Parts, Recorder, Stored, channel,
};
use lw4o6_examples::management::client::Client;
use lw4o6_examples::management::{Listeners, Server};
use lw4o6_examples::packet_io::IoCounters;
use lw4o6_examples::setup::Router;
use lw4o6_examples::stopwatch::Stopwatch;
use lw4o6_examples::view::{DataPlane, InterfaceView, NextHopView, TraceRequest, WorkerView};
use lw4o6_wire::Instant;
use lw4o6_wire::ethernet::MacAddr;
use serde_json::Value;

use crate::common::{SOFTWIRES, Said, TOML, Temporary, configured};

/// What the workers say; a test changes it.
#[derive(Debug)]
pub struct Plane {
    pub counters: CounterSnapshot,
    pub up: bool,
    pub alive: bool,
    pub resolved: bool,
    pub alarm: bool,
    pub io: IoCounters,
    pub traces: Vec<Option<TraceRequest>>,
}

#[derive(Clone, Debug)]
pub struct FakePlane(pub Arc<Mutex<Plane>>);

impl FakePlane {
    pub fn new() -> Self {
        let io = IoCounters {
            received: 1_234_567,
            kernel_drops: 3,
            ..IoCounters::default()
        };
        Self(Arc::new(Mutex::new(Plane {
            counters: CounterSnapshot::default(),
            up: true,
            alive: true,
            resolved: true,
            alarm: false,
            io,
            traces: Vec::new(),
        })))
    }
}

impl DataPlane for FakePlane {
    fn workers(&self) -> Vec<WorkerView> {
        let alive = self.0.lock().unwrap().alive;
        vec![WorkerView {
            number: 0,
            counters: BTreeMap::from([("forwarded", 41)]),
            alive,
        }]
    }

    fn interfaces(&self) -> Vec<InterfaceView> {
        let plane = self.0.lock().unwrap();
        vec![InterfaceView {
            name: "eth0".to_owned(),
            sides: vec!["internet"],
            up: plane.up,
            counters: plane.io,
        }]
    }

    fn next_hops(&self) -> Vec<NextHopView> {
        let plane = self.0.lock().unwrap();
        let hop = |side| NextHopView {
            side,
            configured: "203.0.113.254".to_owned(),
            mac: plane.resolved.then_some(MacAddr([2, 0, 0, 0, 1, 4])),
            alarm: plane.alarm,
            since: Instant::ZERO,
        };
        Side::ALL.into_iter().map(hop).collect()
    }

    fn counters(&self) -> CounterSnapshot {
        self.0.lock().unwrap().counters.clone()
    }

    fn neighbors(&self) -> BTreeMap<&'static str, u64> {
        BTreeMap::from([("arp-requests-in", 7)])
    }

    fn trace(&mut self, request: Option<TraceRequest>) {
        self.0.lock().unwrap().traces.push(request);
    }
}

/// A store that a test answers for.
#[derive(Clone, Debug, Default)]
pub struct HeldStore(pub Arc<Mutex<Vec<(Seq, Change)>>>);

impl Recorder for HeldStore {
    fn record(&mut self, seq: Seq, change: Change) {
        self.0.lock().unwrap().push((seq, change));
    }
}

/// A log in memory.
#[derive(Clone, Debug, Default)]
pub struct MemoryLog {
    pub lines: Arc<Mutex<Vec<String>>>,
    pub reopened: Arc<Mutex<u32>>,
    pub broken: Arc<Mutex<bool>>,
}

impl ChangeLog for MemoryLog {
    fn write(&mut self, logged: &Logged<'_>) -> std::io::Result<()> {
        if *self.broken.lock().unwrap() {
            return Err(std::io::Error::other("the disk is full"));
        }
        let line = format!("{} {:?}", logged.number, logged.change);
        self.lines.lock().unwrap().push(line);
        Ok(())
    }

    fn reopen(&mut self) -> std::io::Result<()> {
        *self.reopened.lock().unwrap() += 1;
        Ok(())
    }
}

/// Everything but packets.
pub struct World {
    pub folder: Temporary,
    pub plane: FakePlane,
    pub log: MemoryLog,
    pub inputs: SyncSender<Input>,
    worker: Mutex<lw4o6_aftr::Worker>,
    server: Option<Server>,
    control: Option<JoinHandle<()>>,
}

pub const MANAGEMENT: &str = "\n[management]\nsocket = \"m.sock\"\n";

impl World {
    /// The configuration of the other tests, with a socket.
    pub fn new() -> Self {
        Self::with(&format!("{TOML}{MANAGEMENT}"), SOFTWIRES, None)
    }

    pub fn with(toml: &str, softwires: &str, store: Option<HeldStore>) -> Self {
        let folder = configured(toml, softwires);
        let path = folder.path().join("c.toml");
        let config = Config::read(&path).unwrap();
        let listeners = Listeners::open(&config).unwrap();
        let (inputs, outputs) = channel();
        let server = Server::start(listeners, inputs.clone()).unwrap();
        let plane = FakePlane::new();
        let log = MemoryLog::default();
        let router = Router::new(&config, [7; 32], Duration::ZERO).unwrap();
        let worker = Mutex::new(router.aftr.worker().unwrap());
        let parts = Parts {
            router,
            config,
            data_plane: Box::new(plane.clone()),
            store: store.map(|store| Box::new(store) as Box<dyn Recorder>),
            log: Some(Box::new(log.clone())),
            reader: Box::new(FileReader::new(path, inputs.clone())),
            clock: clock(),
        };
        let control = std::thread::spawn(move || {
            let watch = Stopwatch::start();
            let mut control = Control::new(parts);
            while !control.is_stopping() {
                let due = control
                    .poll_timeout()
                    .map(|due| due.saturating_since(watch.now()));
                let due = due
                    .unwrap_or(Duration::from_secs(5))
                    .min(Duration::from_secs(5));
                match outputs.recv_timeout(due) {
                    Ok(input) => control.handle(watch.now(), input),
                    Err(RecvTimeoutError::Timeout) => control.handle_timeout(watch.now()),
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
        });
        Self {
            folder,
            plane,
            log,
            inputs,
            worker,
            server: Some(server),
            control: Some(control),
        }
    }

    pub fn socket(&self) -> std::path::PathBuf {
        self.folder.path().join("m.sock")
    }

    pub fn client(&self) -> Client {
        Client::new(&self.socket()).unwrap()
    }

    pub fn get(&self, path: &str) -> Value {
        self.client().get(path).unwrap()
    }

    /// Status code and JSON of any request.
    pub fn ask(&self, method: Method, path: &str, body: &str) -> (u16, Value) {
        let answer = self.client().raw(method, path, body.as_bytes().to_vec());
        let (status, bytes) = answer.unwrap();
        let value = serde_json::from_slice(&bytes)
            .unwrap_or_else(|_| Value::String(String::from_utf8(bytes).unwrap()));
        (status.as_u16(), value)
    }

    /// Runs `lwaftr` against the socket.
    pub fn cli(&self, arguments: &[&str]) -> Said {
        let socket = self.socket();
        let socket = ["--socket", socket.to_str().unwrap()];
        self.folder.lwaftr(&[arguments, &socket].concat())
    }

    /// Sends a packet of 28 bytes from the Internet through the engine.
    pub fn packet_for(&self, user: &str) {
        let packet = testkit::packet::V4::udp(crate::common::REMOTE, user)
            .payload(&[])
            .build();
        let mut storage = vec![0; 1024];
        storage[256..256 + packet.len()].copy_from_slice(&packet);
        let mut frame = lw4o6_wire::FrameBuf::new(&mut storage, 256, packet.len()).unwrap();
        let mut worker = self.worker.lock().unwrap();
        let _ = worker.process(Instant::ZERO, Side::Internet, &mut frame);
    }

    pub fn stored(&self, stored: Stored) {
        self.inputs.send(Input::Stored(stored)).unwrap();
    }

    /// Waits until `done` holds.
    pub fn until(&self, what: &str, mut done: impl FnMut() -> bool) {
        for _ in 0..1000 {
            if done() {
                return;
            }
            lw4o6_examples::stopwatch::wait(Duration::from_millis(5));
        }
        panic!("not in five seconds: {what}");
    }
}

impl Drop for World {
    fn drop(&mut self) {
        drop(self.server.take());
        let _ = self.inputs.send(Input::Stop);
        if let Some(control) = self.control.take() {
            let _ = control.join();
        }
    }
}

/// Counters of a worker that saw two packets for nobody.
pub fn counted() -> CounterSnapshot {
    use lw4o6_wire::FrameBuf;
    let world = configured(TOML, SOFTWIRES);
    let config = Config::read(&world.path().join("c.toml")).unwrap();
    let router = Router::new(&config, [0; 32], Duration::ZERO).unwrap();
    let mut worker = router.aftr.worker().unwrap();
    let packet = testkit::packet::V4::udp("198.51.100.9:443", "192.0.2.1:9").build();
    for _ in 0..2 {
        let mut storage = vec![0; 2048];
        storage[256..256 + packet.len()].copy_from_slice(&packet);
        let mut frame = FrameBuf::new(&mut storage, 256, packet.len()).unwrap();
        let _ = worker.process(Instant::ZERO, Side::Internet, &mut frame);
    }
    worker.counters()
}
