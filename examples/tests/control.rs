//! The control half alone, on a clock of its own: no socket, no interface, no thread.
#![expect(clippy::unwrap_used, reason = "a panic is a failed test")]

mod common;
#[path = "management/world.rs"]
mod world;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use lw4o6_binding::{Clock, Seq, Utc};
use lw4o6_examples::config::Config;
use lw4o6_examples::control::{
    Addition, Answer, Control, Input, Page, Parts, ReadConfig, Recorder, Refusal, Request, Stored,
};
use lw4o6_examples::error::Failure;
use lw4o6_examples::setup::Router;
use lw4o6_wire::Instant;
use serde_json::{Value, json};
use tokio::sync::oneshot::{self, error::TryRecvError};

use self::common::{SOFTWIRES, TOML, Temporary, configured};
use self::world::{FakePlane, HeldStore, MANAGEMENT};

/// Counts how often it was asked to read.
#[derive(Clone, Default)]
struct Reader(Arc<Mutex<u32>>);

impl ReadConfig for Reader {
    fn begin(&mut self) {
        *self.0.lock().unwrap() += 1;
    }
}

struct Bench {
    folder: Temporary,
    control: Control,
    reader: Reader,
    now: Instant,
}

type Answered = oneshot::Receiver<Result<Answer, Refusal>>;

impl Bench {
    fn new(store: Option<&HeldStore>) -> Self {
        let folder = configured(&format!("{TOML}{MANAGEMENT}"), SOFTWIRES);
        let config = Config::read(&folder.path().join("c.toml")).unwrap();
        let reader = Reader::default();
        let control = Control::new(Parts {
            router: Router::new(&config, [7; 32], Duration::ZERO).unwrap(),
            config,
            data_plane: Box::new(FakePlane::new()),
            store: store.map(|store| Box::new(store.clone()) as Box<dyn Recorder>),
            log: None,
            reader: Box::new(reader.clone()),
            clock: Clock {
                instant: Instant::ZERO,
                utc: "2026-11-20T19:00:00Z".parse::<Utc>().unwrap(),
            },
        });
        Self {
            folder,
            control,
            reader,
            now: Instant::ZERO,
        }
    }

    fn ask(&mut self, request: Request) -> Answered {
        let (reply, answer) = oneshot::channel();
        self.control
            .handle(self.now, Input::Call { request, reply });
        answer
    }

    /// The answer, which is there at once.
    fn json(&mut self, request: Request) -> Value {
        let answer = self.ask(request).try_recv().unwrap();
        value(answer.unwrap())
    }

    fn read_again(&mut self) {
        let read = Config::read(&self.folder.path().join("c.toml"));
        self.control
            .handle(self.now, Input::Read(read.map(Box::new)));
    }

    fn softwires(&self) -> usize {
        self.control.router().bindings.len()
    }
}

fn value(answer: Answer) -> Value {
    let Answer::Json(value) = answer else {
        return Value::Null;
    };
    value
}

fn lease(lifetime: u64) -> Request {
    let entry = json!({
        "binding-ipv6info": "2001:db8:1::3",
        "binding-ipv4-addr": "192.0.2.1",
        "port-set": {"psid-offset": 6, "psid-len": 8, "psid": 54},
        "br-ipv6-addr": "2001:db8:ffff::1",
    });
    Request::Add(Addition {
        entries: entry.to_string().into_bytes(),
        lifetime: Some(lifetime),
        ..Addition::default()
    })
}

#[test]
fn a_lease_ends_at_its_time() {
    //
    let mut bench = Bench::new(None);
    bench.json(lease(600));
    assert_eq!(bench.softwires(), 3);
    let all = bench.json(Request::Softwires(Page::default()));
    let expires = all.pointer("/softwires/2/expires").unwrap();
    assert_eq!(expires, "2026-11-20T19:10:00Z");
    let due = Instant::from_secs(600);
    assert_eq!(bench.control.poll_timeout(), Some(due));
    bench.control.handle_timeout(Instant::from_secs(599));
    assert_eq!(bench.softwires(), 3);
    bench.control.handle_timeout(due);
    assert_eq!(bench.softwires(), 2);
    bench.now = Instant::from_secs(700);
    let who = |at: &str| Request::Who {
        ipv4: [192, 0, 2, 1].into(),
        port: Some(1240),
        at: at.parse().ok(),
    };
    let found = bench.json(who("2026-11-20T19:09:59Z"));
    let to = found.pointer("/found/0/softwire/to").unwrap();
    assert_eq!(to, "2026-11-20T19:10:00Z");
    let found = bench.json(who("2026-11-20T19:10:00Z"));
    assert_eq!(found["found"], json!([]));
}

#[test]
fn a_step_of_the_wall_clock_moves_times_and_no_lease() {
    let mut bench = Bench::new(None);
    bench.json(lease(600));
    bench.now = Instant::from_secs(100);
    let clock = Clock {
        instant: bench.now,
        utc: "2026-11-20T20:00:00Z".parse::<Utc>().unwrap(),
    };
    bench.control.handle(bench.now, Input::Clock(clock));
    let all = bench.json(Request::Softwires(Page::default()));
    let expires = all.pointer("/softwires/2/expires").unwrap();
    assert_eq!(expires, "2026-11-20T20:08:20Z");
    assert_eq!(bench.control.poll_timeout(), Some(Instant::from_secs(600)));
}

#[test]
fn who_asks_for_a_reload_while_one_is_read_gets_what_the_file_says_afterwards() {
    let mut bench = Bench::new(None);
    let mut first = bench.ask(Request::Reload { diff: false });
    let mut second = bench.ask(Request::Reload { diff: false });
    assert_eq!(*bench.reader.0.lock().unwrap(), 1);
    assert_eq!(first.try_recv().unwrap_err(), TryRecvError::Empty);
    bench.read_again();
    assert!(first.try_recv().unwrap().is_ok());
    assert_eq!(second.try_recv().unwrap_err(), TryRecvError::Empty);
    assert_eq!(*bench.reader.0.lock().unwrap(), 2);
    let failure = Err(Failure::config("c.toml:3: wrong"));
    bench.control.handle(bench.now, Input::Read(failure));
    let refused = second.try_recv().unwrap().unwrap_err();
    assert_eq!((refused.status, refused.path.as_str()), (422, "c.toml:3"));
    assert_eq!(*bench.reader.0.lock().unwrap(), 2);
}

#[test]
fn a_reload_that_is_not_stored_changes_nothing() {
    let store = HeldStore::default();
    let mut bench = Bench::new(Some(&store));
    let softwires = SOFTWIRES.replace("\"psid\": 53", "\"psid\": 60");
    bench.folder.write("s.json", softwires);
    let toml = format!("{TOML}{MANAGEMENT}[forwarding]\nhop-limit = 9\n");
    bench.folder.write("c.toml", toml);
    let mut asked = bench.ask(Request::Reload { diff: false });
    bench.read_again();
    assert_eq!(asked.try_recv().unwrap_err(), TryRecvError::Empty);
    assert!(bench.control.is_waiting());
    assert_eq!(bench.control.router().aftr.config().hop_limit, 64);
    let failed = Stored::Failed(Seq(1), "no space left".to_owned());
    bench.control.handle(bench.now, Input::Stored(failed));
    let refused = asked.try_recv().unwrap().unwrap_err();
    assert_eq!(refused.status, 503);
    assert_eq!(bench.control.router().aftr.config().hop_limit, 64);
    let health = bench.json(Request::Health);
    let kinds = ["/alarms/0/kind", "/alarms/1/kind"].map(|path| health.pointer(path).cloned());
    assert_eq!(kinds, [Some(json!("store")), Some(json!("reload"))]);
    // The next one is stored.
    let mut asked = bench.ask(Request::Reload { diff: false });
    bench.read_again();
    let seq = store.0.lock().unwrap().last().unwrap().0;
    bench
        .control
        .handle(bench.now, Input::Stored(Stored::Persisted(seq)));
    let told = value(asked.try_recv().unwrap().unwrap());
    assert_eq!(told.pointer("/table/generation"), Some(&json!(2)));
    assert_eq!(bench.control.router().aftr.config().hop_limit, 9);
    assert_eq!(bench.json(Request::Health)["alarms"], json!([]));
}

#[test]
fn a_request_joins_the_same_one_that_waits() {
    let store = HeldStore::default();
    let mut bench = Bench::new(Some(&store));
    let mut first = bench.ask(lease(600));
    let mut second = bench.ask(lease(600));
    assert_eq!(store.0.lock().unwrap().len(), 1);
    bench
        .control
        .handle(bench.now, Input::Stored(Stored::Persisted(Seq(1))));
    assert!(first.try_recv().unwrap().is_ok());
    assert!(second.try_recv().unwrap().is_ok());
    assert!(!bench.control.is_waiting());
}

#[test]
fn the_end_is_noticed() {
    let mut bench = Bench::new(None);
    assert!(!bench.control.is_stopping());
    bench.control.handle(bench.now, Input::Stop);
    assert!(bench.control.is_stopping());
}
