//! `lwaftr run`: the engine on kernel interfaces, until SIGINT or SIGTERM.
//!
//! One thread: frames are taken from the interfaces in turn, a batch at a time; with nothing to do it
//! sleeps until a frame, a timer of the engine or a signal.

use std::io::Read;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

use lw4o6_aftr::Side;
use lw4o6_aftr::port::{EthernetPort, Nic, PortOutput, PortVerdict};
use lw4o6_wire::ethernet::MacAddr;
use lw4o6_wire::{FrameBuf, HEADROOM, Instant};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::config::{Config, Text};
use crate::error::Failure;
use crate::packet_io::{AfPacket, BATCH, FrameBatch, FrameQueue, PacketIo};
use crate::replay::{INTERNET_NIC, SOFTWIRE_NIC};
use crate::report::Report;
use crate::setup::Router;
use crate::stopwatch::Stopwatch;

/// Room for the largest frame that the engine makes: a reassembled packet and its headers.
const FRAME_ROOM: usize = HEADROOM + 18 + 40 + 65_535 + 64;

/// The longest sleep; a clock that the kernel adjusts must not delay a timer for good.
const MAX_SLEEP: Duration = Duration::from_secs(1);

/// Runs the lwAFTR of the configuration file `path` and returns what it counted.
///
/// # Errors
///
/// Where the configuration or its interfaces are not usable; says which and why.
pub fn run(path: &Path) -> Result<Report, Failure> {
    let mut config = Config::read(path)?;
    let names = interface_names(&config)?;
    let seed = seed()?;
    let grace = Duration::from_secs(config.file.forwarding.boot_grace);
    let router = Router::new(&config, seed, grace)?;
    // From here on signals wait until they are asked for.
    let signals = signals()?;
    let (interfaces, nics) = open(&mut config, &names)?;
    let port = router.port(&config, nics, u64::from_le_bytes(first_bytes(&seed)))?;
    let [internet, softwire] = &names;
    tracing::info!(internet, softwire, "running");
    let mut runner = Runner::new(port, interfaces);
    runner.until_signal(&signals)?;
    let counted = runner.interfaces.iter_mut().zip(names);
    let counted = counted
        .map(|(interface, name)| (name, interface.io.counters()))
        .collect();
    let mut report = runner.finish();
    report.interfaces = counted;
    Ok(report)
}

/// Opens the interfaces, and fills in their Ethernet addresses where the configuration has none.
fn open(
    config: &mut Config,
    [internet, softwire]: &[String; 2],
) -> Result<(Vec<Interface<AfPacket>>, [Nic; 2]), Failure> {
    let (upper, lower) = (&mut config.file.internet.mac, &mut config.file.softwire.mac);
    let open = |name: &str, macs: &mut [&mut Option<Text<MacAddr>>]| {
        let wanted: Vec<_> = macs.iter().filter_map(|mac| mac.map(|mac| mac.0)).collect();
        let io = AfPacket::open(name, &wanted).map_err(|error| Failure::run(error.to_string()))?;
        for mac in macs {
            mac.get_or_insert(Text(io.mac()));
        }
        let longest = io.longest();
        Ok::<_, Failure>(Interface::new(io, longest))
    };
    if internet == softwire {
        // On a stick.
        let interface = open(internet, &mut [upper, lower])?;
        return Ok((vec![interface], [INTERNET_NIC; 2]));
    }
    let interfaces = vec![open(internet, &mut [upper])?, open(softwire, &mut [lower])?];
    Ok((interfaces, [INTERNET_NIC, SOFTWIRE_NIC]))
}

/// The interfaces of the Internet and of the softwires.
fn interface_names(config: &Config) -> Result<[String; 2], Failure> {
    let name = |name: &Option<String>, side: &str| {
        let missing = || {
            let what =
                format!("{side}.interface is missing; run needs the name of a kernel interface");
            Failure::at_config(&config.path, &what)
        };
        name.clone().ok_or_else(missing)
    };
    Ok([
        name(&config.file.internet.interface, "internet")?,
        name(&config.file.softwire.interface, "softwire")?,
    ])
}

/// SIGINT and SIGTERM, to be read instead of suffered.
fn signals() -> Result<SignalFd, Failure> {
    let mask = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM]);
    let made = mask
        .thread_block()
        .and_then(|()| SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC));
    made.map_err(|error| Failure::run(format!("signals: {error}")))
}

fn seed() -> Result<[u8; 32], Failure> {
    let mut seed = [0; 32];
    let path = Path::new("/dev/urandom");
    std::fs::File::open(path)
        .and_then(|mut file| file.read_exact(&mut seed))
        .map_err(|error| Failure::at(path, error))?;
    Ok(seed)
}

fn first_bytes(seed: &[u8; 32]) -> [u8; 8] {
    seed.first_chunk().copied().unwrap_or_default()
}

/// An interface with what is under way on it.
#[derive(Debug)]
struct Interface<I> {
    io: I,
    batch: FrameBatch,
    out: FrameQueue,
}

impl<I> Interface<I> {
    /// `longest` frame in bytes.
    fn new(io: I, longest: usize) -> Self {
        Self {
            io,
            batch: FrameBatch::new(longest),
            out: FrameQueue::default(),
        }
    }
}

/// A router at work; `interfaces` are numbered as [`Nic`]s.
#[derive(Debug)]
struct Runner<I> {
    port: EthernetPort,
    interfaces: Vec<Interface<I>>,
    report: Report,
    watch: Stopwatch,
    /// For what the engine makes of its own.
    scratch: Vec<u8>,
    alarms: [bool; 2],
}

impl Runner<AfPacket> {
    fn until_signal(&mut self, signals: &SignalFd) -> Result<(), Failure> {
        let wrong = |error: nix::Error| Failure::run(format!("signals: {error}"));
        while signals.read_signal().map_err(wrong)?.is_none() {
            if self.turn(self.watch.now()) == 0 {
                self.sleep(signals);
            }
        }
        Ok(())
    }

    /// Sleeps until something can be done.
    fn sleep(&self, signals: &SignalFd) {
        let now = self.watch.now();
        let due = self
            .port
            .poll_timeout()
            .map_or(MAX_SLEEP, |due| due.saturating_since(now));
        // Up, so that a timer is due when we wake.
        let millis = due.min(MAX_SLEEP).as_micros().div_ceil(1000);
        let timeout = PollTimeout::try_from(millis).unwrap_or(PollTimeout::ZERO);
        let mut fds = vec![PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        let interfaces = self.interfaces.iter();
        fds.extend(interfaces.map(|one| PollFd::new(one.io.as_fd(), PollFlags::POLLIN)));
        // An interrupted sleep is a short one.
        let _ = poll(&mut fds, timeout);
    }
}

impl<I: PacketIo> Runner<I> {
    fn new(port: EthernetPort, interfaces: Vec<Interface<I>>) -> Self {
        Self {
            port,
            interfaces,
            report: Report::default(),
            watch: Stopwatch::start(),
            scratch: vec![0; FRAME_ROOM],
            alarms: [false; 2],
        }
    }

    /// Does what is to be done at `now`; returns how many frames were received.
    fn turn(&mut self, now: Instant) -> usize {
        let mut received = 0;
        for index in 0..self.interfaces.len() {
            received += self.receive(now, index);
            self.flush();
        }
        if self.port.poll_timeout().is_some_and(|due| due <= now) {
            self.port.handle_timeout(now);
            while let Some(output) = self.poll() {
                self.push_polled(output);
            }
            self.flush();
            self.watch_next_hops();
        }
        received
    }

    /// Takes a batch from interface `index` through the engine.
    fn receive(&mut self, now: Instant, index: usize) -> usize {
        let Ok(nic) = u8::try_from(index).map(Nic) else {
            return 0;
        };
        let Some(interface) = self.interfaces.get_mut(index) else {
            return 0;
        };
        let mut batch = std::mem::take(&mut interface.batch);
        let received = interface.io.receive(&mut batch).unwrap_or_else(|error| {
            tracing::error!(?nic, %error, "receiving");
            0
        });
        let mut frames = batch.frames();
        let mut rest = frames.as_mut_slice();
        while !rest.is_empty() {
            let taken = self.process(now, nic, rest);
            rest = rest.get_mut(taken..).unwrap_or_default();
        }
        drop(frames);
        if let Some(interface) = self.interfaces.get_mut(index) {
            interface.batch = batch;
        }
        received
    }

    /// Takes the first of `frames`, as many as the engine has room for, and queues what leaves, in
    /// order.
    fn process(&mut self, now: Instant, nic: Nic, frames: &mut [FrameBuf<'_>]) -> usize {
        let mut verdicts = [PortVerdict::Consumed; BATCH];
        let mut taken = self.port.process_batch(now, nic, frames, &mut verdicts);
        if taken == 0
            && let (Some(frame), Some(verdict)) = (frames.first_mut(), verdicts.first_mut())
        {
            // No room although everything was polled: counted and dropped there.
            *verdict = self.port.process(now, nic, frame);
            taken = 1;
        }
        let mut polled = self.poll();
        for (at, (frame, verdict)) in frames.iter().zip(verdicts).take(taken).enumerate() {
            self.report.received(nic, verdict);
            if let PortVerdict::Transmit(to) = verdict {
                self.push(to, frame.packet());
            }
            while let Some(next) = polled.filter(|(output, _)| output.after <= at) {
                self.push_polled(next);
                polled = self.poll();
            }
        }
        while let Some(output) = polled {
            self.push_polled(output);
            polled = self.poll();
        }
        taken
    }

    /// The next frame that the engine made, and its place in the scratch memory.
    fn poll(&mut self) -> Option<(PortOutput, (usize, usize))> {
        let mut frame = FrameBuf::new(&mut self.scratch, 0, 0)?;
        match self.port.poll_frame(&mut frame) {
            Ok(output) => output.map(|output| (output, (frame.headroom(), frame.len()))),
            Err(error) => {
                tracing::error!(%error, "a frame is larger than any packet");
                None
            }
        }
    }

    fn push_polled(&mut self, (output, (start, len)): (PortOutput, (usize, usize))) {
        self.report.polled(output.verdict);
        if let PortVerdict::Transmit(Nic(nic)) = output.verdict
            && let Some(interface) = self.interfaces.get_mut(usize::from(nic))
        {
            interface
                .out
                .push(self.scratch.get(start..start + len).unwrap_or_default());
        }
    }

    fn push(&mut self, Nic(nic): Nic, frame: &[u8]) {
        if let Some(interface) = self.interfaces.get_mut(usize::from(nic)) {
            interface.out.push(frame);
        }
    }

    fn flush(&mut self) {
        for interface in &mut self.interfaces {
            if !interface.out.is_empty() {
                if let Err(error) = interface.io.transmit(&interface.out) {
                    tracing::error!(%error, "sending");
                }
                interface.out.clear();
            }
        }
    }

    /// Tells the operator when a next hop stops or starts answering.
    fn watch_next_hops(&mut self) {
        for (side, alarm) in Side::ALL.into_iter().zip(&mut self.alarms) {
            let now = self.port.next_hop_alarm(side);
            match (*alarm, now) {
                (false, true) => tracing::warn!(?side, "the next hop does not answer"),
                (true, false) => tracing::warn!(?side, "the next hop answers again"),
                (false, false) | (true, true) => {}
            }
            *alarm = now;
        }
    }

    fn finish(mut self) -> Report {
        self.report.counted(&self.port, self.watch.now());
        let sides = Side::ALL.into_iter();
        let unresolved = sides.filter(|&side| self.port.next_hop(side).is_none());
        self.report.unresolved.extend(unresolved);
        self.report
    }
}

#[cfg(test)]
mod tests;
