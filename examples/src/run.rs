//! `lwaftr run`: the engine on interfaces, until SIGINT or SIGTERM.
//!
//! ```text
//! signals -----+                         +--> worker 0: interfaces and engine; resolves next hops
//! management --+--> main thread: Control +--> worker 1, 2, ...: the same interfaces, as followers
//! store, log --+                         +--> store, log: files
//! ```
//!
//! A worker takes frames from the interfaces in turn, a batch at a time; with nothing to do it sleeps
//! until a frame, a timer of the engine or a call. It never waits for the main thread.

mod kernel;
mod notify;
mod records;
mod restore;
mod rights;
mod runner;
mod service;
mod shared;
mod signals;
mod state;
mod trace;
mod worker;
mod workers;

use std::io::Read;
use std::path::Path;
use std::time::Duration;

use lw4o6_aftr::Side;

use self::notify::ServiceManager;
use self::rights::Rights;
use self::runner::{Interface, Runner};
use self::service::Service;
use self::state::State;
use self::workers::Labels;
pub use self::workers::{Plane, Workers};
use crate::config::{Config, Text, clock};
use crate::control::{Control, FileReader, Parts, channel};
use crate::error::Failure;
use crate::management::{Listeners, Server};
use crate::packet_io::{Group, InterfaceName, NameError, OpenOptions, PacketIo, open};
use crate::replay::{INTERNET_NIC, SOFTWIRE_NIC};
use crate::report::Report;
use crate::setup::Router;
use crate::stopwatch::Stopwatch;

/// The longest that anybody sleeps; a clock that the kernel adjusts must not delay a timer for good.
const MAX_SLEEP: Duration = Duration::from_secs(1);

type AnyIo = Box<dyn PacketIo + Send>;

/// Runs the lwAFTR of the configuration file `path` and returns what it counted.
///
/// # Errors
///
/// Where the configuration or its interfaces are not usable, or a worker failed; says which and why.
pub fn run(path: &Path) -> Result<Report, Failure> {
    // The clock of the program starts with the one that the times in files are read by.
    let (watch, clock) = (Stopwatch::start(), clock());
    let mut config = Config::read(path)?;
    let names = interface_names(&config)?;
    let rights = Rights::of(&config.file.run)
        .map_err(|error| Failure::at_config(path, &format_args!("run: {error}")))?;
    let seed = seed()?;
    let grace = Duration::from_secs(config.file.forwarding.boot_grace);
    // From here on signals wait until they are asked for.
    let signals = signals::block()?;
    kernel::check(&config, &names)?;
    let interfaces = open_all(&mut config, &names)?;
    let mut router = Router::new(&config, seed, grace)?;
    let state = State::open(&config, &mut router, &clock, watch)?;
    let listeners = Listeners::open(&config)?;
    let runners = runners(&config, &router, interfaces, &seed)?;
    rights.keep_only()?;
    // Threads only from here on: what was given up is given up by this one alone.
    let (to_main, inputs) = channel();
    signals::forward(signals, to_main.clone())?;
    let manager = ServiceManager::from_environment(watch.now());
    let labels = labels(&config, &names);
    let max_sleep = manager.interval().map_or(MAX_SLEEP, |sign| sign / 2);
    let max_sleep = max_sleep.min(MAX_SLEEP);
    let workers = Workers::start(runners, labels, (watch, clock), max_sleep, &to_main)?;
    let (store, log) = state.start(&router, watch, &to_main)?;
    let control = Control::new(Parts {
        reader: Box::new(FileReader::new(config.path.clone(), to_main.clone()).on(clock)),
        config,
        router,
        data_plane: Box::new(workers.plane()),
        store,
        log,
        clock,
    });
    let server = Server::start(listeners, to_main)?;
    let [internet, softwire] = &names;
    tracing::info!(%internet, %softwire, workers = workers.turns().count(), "running");
    let service = Service {
        workers,
        control,
        server,
        manager,
        inputs,
        watch,
        clock,
    };
    service.run()
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
        Ok::<_, Failure>(name.relative_to(directory))
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
