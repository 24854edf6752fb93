//! `lwaftr run`: the engine on interfaces, until SIGINT or SIGTERM.
//!
//! ```text
//! signals --+
//!           +--> main thread --+--> worker 0: interfaces and engine; resolves next hops
//! workers --+                  +--> worker 1, 2, ...: the same interfaces, the others' next hops
//! ```
//!
//! A worker takes frames from the interfaces in turn, a batch at a time; with nothing to do it sleeps
//! until a frame, a timer of the engine or a call. It never waits for the main thread.

mod notify;
mod rights;
mod runner;
mod shared;
mod signals;
mod worker;
mod workers;

use std::io::Read;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use lw4o6_aftr::Side;
use lw4o6_wire::Instant;

use self::notify::ServiceManager;
use self::rights::Rights;
use self::runner::{Interface, Runner};
pub use self::signals::Signal;
use self::workers::Labels;
pub use self::workers::{Plane, Workers};
use crate::config::{Config, Text};
use crate::error::Failure;
use crate::packet_io::{Group, InterfaceName, NameError, OpenOptions, PacketIo, open};
use crate::replay::{INTERNET_NIC, SOFTWIRE_NIC};
use crate::report::Report;
use crate::setup::Router;
use crate::stopwatch::Stopwatch;

/// The longest that anybody sleeps; a clock that the kernel adjusts must not delay a timer for good.
const MAX_SLEEP: Duration = Duration::from_secs(1);

/// Messages to the main thread that may wait.
const INPUTS: usize = 256;

/// Something for the main thread.
#[derive(Debug)]
pub enum Input {
    /// From the operator.
    Signal(Signal),
    /// The thread of this worker has ended.
    WorkerEnded(usize),
}

type AnyIo = Box<dyn PacketIo + Send>;

/// Runs the lwAFTR of the configuration file `path` and returns what it counted.
///
/// # Errors
///
/// Where the configuration or its interfaces are not usable, or a worker failed; says which and why.
pub fn run(path: &Path) -> Result<Report, Failure> {
    let mut config = Config::read(path)?;
    let names = interface_names(&config)?;
    let rights = Rights::of(&config.file.run)
        .map_err(|error| Failure::at_config(path, &format_args!("run: {error}")))?;
    let seed = seed()?;
    let grace = Duration::from_secs(config.file.forwarding.boot_grace);
    let router = Router::new(&config, seed, grace)?;
    // From here on signals wait until they are asked for.
    let signals = signals::block()?;
    let interfaces = open_all(&mut config, &names)?;
    let runners = runners(&config, &router, interfaces, &seed)?;
    rights.keep_only()?;
    // Threads only from here on: what was given up is given up by this one alone.
    let watch = Stopwatch::start();
    let (to_main, inputs) = sync_channel(INPUTS);
    signals::forward(signals, to_main.clone())?;
    let manager = ServiceManager::from_environment(watch.now());
    let labels = labels(&config, &names);
    let max_sleep = manager.interval().map_or(MAX_SLEEP, |sign| sign / 2);
    let max_sleep = max_sleep.min(MAX_SLEEP);
    let workers = Workers::start(runners, labels, watch, max_sleep, &to_main)?;
    let [internet, softwire] = &names;
    tracing::info!(%internet, %softwire, workers = workers.turns().count(), "running");
    Service {
        workers,
        manager,
        inputs,
        watch,
    }
    .run()
}

/// The main thread at work.
struct Service {
    workers: Workers,
    manager: ServiceManager,
    inputs: Receiver<Input>,
    watch: Stopwatch,
}

impl Service {
    /// Serves until it is told to stop, or a worker has ended.
    fn run(mut self) -> Result<Report, Failure> {
        self.manager.ready(&self.status());
        let fault = self.until_stopped();
        self.manager.stopping();
        // A worker that has failed says why.
        self.workers.stop()?;
        fault.map_or_else(|| Ok(self.workers.plane().report()), Err)
    }

    /// `None` where all is as it should be.
    fn until_stopped(&mut self) -> Option<Failure> {
        loop {
            let now = self.watch.now();
            self.manager.handle_timeout(now, self.workers.turns());
            if let Some(number) = self.workers.ended() {
                return Some(Failure::run(format!("worker {number} has ended")));
            }
            match self.inputs.recv_timeout(self.until_due(now)) {
                Ok(Input::Signal(Signal::Stop)) => return None,
                Ok(Input::Signal(Signal::Reload)) => self.reload(),
                Ok(Input::WorkerEnded(_)) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return Some(Failure::run("signals are not received any more"));
                }
            }
        }
    }

    fn until_due(&self, now: Instant) -> Duration {
        let due = self.manager.poll_timeout();
        due.map_or(MAX_SLEEP, |due| due.saturating_since(now))
            .min(MAX_SLEEP)
    }

    fn reload(&self) {
        self.manager.reloading();
        self.manager.ready(&self.status());
    }

    fn status(&self) -> String {
        match self.workers.turns().count() {
            1 => "1 worker".to_owned(),
            workers => format!("{workers} workers"),
        }
    }
}

/// Opens the interfaces for all workers, and fills in their Ethernet addresses where the configuration
/// has none.
fn open_all(config: &mut Config, names: &[InterfaceName; 2]) -> Result<Vec<Vec<AnyIo>>, Failure> {
    let workers = usize::from(*config.file.run.workers.get_ref());
    let group = Group::default();
    let mut all = Vec::with_capacity(workers);
    for worker in 0..workers {
        let options = OpenOptions {
            io: config.file.run.io,
            macs: Vec::new(),
            worker,
            workers,
            group: group.clone(),
        };
        all.push(open_pair(config, names, &options)?);
    }
    Ok(all)
}

/// The interfaces of one worker: the Internet's, then the softwires' where that is another one.
fn open_pair(
    config: &mut Config,
    [internet, softwire]: &[InterfaceName; 2],
    options: &OpenOptions,
) -> Result<Vec<AnyIo>, Failure> {
    let (upper, lower) = (&mut config.file.internet.mac, &mut config.file.softwire.mac);
    let open = |name: &InterfaceName, macs: &mut [&mut Option<Text<_>>]| {
        let options = OpenOptions {
            macs: macs.iter().filter_map(|mac| mac.map(|mac| mac.0)).collect(),
            ..options.clone()
        };
        let io = open(name, &options).map_err(|error| Failure::run(error.to_string()))?;
        for mac in macs {
            mac.get_or_insert(Text(io.mac()));
        }
        Ok::<_, Failure>(io)
    };
    if internet == softwire {
        // On a stick.
        return Ok(vec![open(internet, &mut [upper, lower])?]);
    }
    Ok(vec![
        open(internet, &mut [upper])?,
        open(softwire, &mut [lower])?,
    ])
}

/// An engine for each worker's interfaces.
fn runners(
    config: &Config,
    router: &Router,
    interfaces: Vec<Vec<AnyIo>>,
    seed: &[u8; 32],
) -> Result<Vec<Runner<AnyIo>>, Failure> {
    let spread = u64::from_le_bytes(seed.first_chunk().copied().unwrap_or_default());
    let workers = interfaces.into_iter().enumerate();
    let runner = |(number, ios): (usize, Vec<AnyIo>)| {
        let nics = match ios.len() {
            1 => [INTERNET_NIC; 2],
            _ => [INTERNET_NIC, SOFTWIRE_NIC],
        };
        let port = match number {
            0 => router.port(config, nics, spread)?,
            _ => router.follower(config, nics)?,
        };
        Ok(Runner::new(
            port,
            ios.into_iter().map(Interface::new).collect(),
        ))
    };
    workers.map(runner).collect()
}

fn labels(config: &Config, [internet, softwire]: &[InterfaceName; 2]) -> Labels {
    let (upper, lower) = (Side::Internet, Side::Softwire);
    let interfaces = if internet == softwire {
        vec![(internet.to_string(), vec![upper, lower])]
    } else {
        vec![
            (internet.to_string(), vec![upper]),
            (softwire.to_string(), vec![lower]),
        ]
    };
    Labels {
        interfaces,
        next_hops: [
            config.file.softwire.next_hop.0.to_string(),
            config.file.internet.next_hop.0.to_string(),
        ],
    }
}

/// The interfaces of the Internet and of the softwires.
fn interface_names(config: &Config) -> Result<[InterfaceName; 2], Failure> {
    let directory = config.path.parent().unwrap_or(Path::new(""));
    let name = |name: &Option<String>, side: &str| {
        let missing = || {
            let what = format!("{side}.interface is missing; run needs the name of an interface");
            Failure::at_config(&config.path, &what)
        };
        let name: InterfaceName =
            name.as_deref()
                .ok_or_else(missing)?
                .parse()
                .map_err(|error: NameError| {
                    let what = format!("{side}.interface: {error}");
                    Failure::at_config(&config.path, &what)
                })?;
        Ok(name.relative_to(directory))
    };
    Ok([
        name(&config.file.internet.interface, "internet")?,
        name(&config.file.softwire.interface, "softwire")?,
    ])
}

fn seed() -> Result<[u8; 32], Failure> {
    let mut seed = [0; 32];
    let path = Path::new("/dev/urandom");
    std::fs::File::open(path)
        .and_then(|mut file| file.read_exact(&mut seed))
        .map_err(|error| Failure::at(path, error))?;
    Ok(seed)
}

#[cfg(test)]
mod tests;
