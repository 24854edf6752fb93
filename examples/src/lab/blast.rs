//! `lw4o6-lab blast`: as many frames as one core can send, or as many as are asked for.
//!
//! All frames are made before the first is sent; sending repeats them. What arrives is counted by the
//! far interface itself.

mod sys;

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::time::Duration;

use lw4o6_binding::Binding;
use lw4o6_wire::ethernet::MacAddr;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use self::sys::Prepared;
use super::craft::{self, Ends};
use crate::capture::CaptureReader;
use crate::config::{Config, Hop};
use crate::netlink::{LinkStats, Netlink};
use crate::stopwatch::{Stopwatch, wait};

/// Frames given to the kernel at once.
const BURST: usize = 64;

/// Most different frames; more would not fit the cache of any router, and fewer would.
const MAX_FRAMES: usize = 65_536;

/// Host on the Internet that the traffic goes to and comes from.
const REMOTE: (Ipv4Addr, u16) = (Ipv4Addr::new(203, 0, 113, 80), 443);

/// Bytes of an Ethernet frame around the packet: header and check sequence.
const ETHERNET_OVERHEAD: usize = 18;

/// Bytes of IPv4 and UDP headers.
const HEADERS: usize = 28;

/// From which side of a lwAFTR traffic is to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
pub enum BlastSide {
    /// IPv4, from the Internet.
    V4,
    /// IPv6, from the B4s.
    V6,
}

/// Frames, and how they are to be sent.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Blast {
    /// The interface they leave by.
    pub interface: String,
    /// What is sent.
    pub frames: Frames,
    /// Frames a second; none: as many as there is time for.
    pub rate: Option<u64>,
    /// How long, in seconds.
    pub seconds: f64,
    /// The core to stay on.
    pub core: Option<usize>,
}

/// What a generator sends.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Frames {
    /// A capture, again and again.
    Capture(PathBuf),
    /// Traffic of the softwires of a configuration.
    Softwires {
        /// The configuration.
        config: PathBuf,
        /// Where it comes from.
        side: BlastSide,
        /// Ethernet frame on the IPv4 side in bytes, its check sequence included.
        size: usize,
        /// Destination; none: that of the configuration.
        to: Option<[u8; 6]>,
        /// Source; none: the next hop of the configuration, or the interface.
        from: Option<[u8; 6]>,
    },
    /// These.
    Given(Vec<super::raw::Hex>),
}

/// What was sent.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Blasted {
    /// The interface.
    pub interface: String,
    /// Different frames.
    pub frames: usize,
    /// Frames that the interface took.
    pub sent: u64,
    /// Frames that it did not.
    pub not_sent: u64,
    /// How long it took.
    pub seconds: f64,
    /// Millions of frames taken a second.
    pub mpps: f64,
    /// Processor time that it took, in seconds; less than `seconds` where the machine is shared.
    pub cpu_seconds: f64,
    /// Millions of frames taken in a second of processor time.
    pub mpps_of_cpu: f64,
}

/// What arrived at an interface.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Sunk {
    /// The interface.
    pub interface: String,
    /// Frames received.
    pub received: u64,
    /// Bytes in them, without check sequences.
    pub bytes: u64,
    /// Frames that the interface had no room for.
    pub dropped: u64,
    /// How long was counted.
    pub seconds: f64,
    /// Millions of frames received a second.
    pub mpps: f64,
}

/// Sends.
///
/// # Errors
///
/// Where there is nothing to send, or no way to send it.
pub fn blast(blast: &Blast) -> Result<Blasted, String> {
    let name = &blast.interface;
    let link = Netlink::open().and_then(|mut netlink| netlink.link(name));
    let link = link.map_err(|error| format!("{name}: {error}"))?;
    let frames = frames(&blast.frames, link.mac.unwrap_or_default())?;
    if frames.is_empty() {
        return Err("there is no frame to send".to_owned());
    }
    if let Some(core) = blast.core {
        stay_on(core)?;
    }
    let frames = frames.into_iter().map(Vec::into_boxed_slice).collect();
    let mut prepared =
        Prepared::new(link.index, frames).map_err(|error| format!("{name}: {error}"))?;
    Ok(send(&mut prepared, blast))
}

/// Keeps this thread on one core.
///
/// # Errors
///
/// Where there is no such core.
pub fn stay_on(core: usize) -> Result<(), String> {
    let mut cores = CpuSet::new();
    cores
        .set(core)
        .and_then(|()| sched_setaffinity(Pid::from_raw(0), &cores))
        .map_err(|error| format!("core {core}: {error}"))
}

fn send(prepared: &mut Prepared, blast: &Blast) -> Blasted {
    let (mut at, mut sent, mut not_sent) = (0, 0u64, 0u64);
    let until = Duration::from_secs_f64(blast.seconds.clamp(0.0, 1e6));
    let (watch, before) = (Stopwatch::start(), sys::thread_time());
    loop {
        let elapsed = watch.elapsed();
        if elapsed >= until {
            break;
        }
        let due = due(blast.rate, elapsed, sent + not_sent);
        if due == 0 {
            // Shorter than any useful sleep.
            std::hint::spin_loop();
            continue;
        }
        match prepared.send(at, due) {
            Ok(took) => {
                sent += u64::try_from(took).unwrap_or(0);
                at += took;
            }
            Err(_) => {
                // A full interface loses the frame, as a wire would.
                not_sent += 1;
                at += 1;
            }
        }
        if at >= prepared.len() {
            at = 0;
        }
    }
    let seconds = watch.elapsed().as_secs_f64();
    let cpu_seconds = sys::thread_time().saturating_sub(before).as_secs_f64();
    Blasted {
        interface: blast.interface.clone(),
        frames: prepared.len(),
        sent,
        not_sent,
        seconds,
        mpps: mpps(sent, seconds),
        cpu_seconds,
        mpps_of_cpu: mpps(sent, cpu_seconds),
    }
}

/// How many frames may be sent now.
fn due(rate: Option<u64>, elapsed: Duration, sent: u64) -> usize {
    let Some(rate) = rate else { return BURST };
    let micros = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
    let due = (u128::from(rate) * u128::from(micros) / 1_000_000).saturating_sub(sent.into());
    usize::try_from(due).unwrap_or(BURST).min(BURST)
}

/// Counts what arrives at an interface.
///
/// # Errors
///
/// Where there is no such interface.
pub fn sink(interface: &str, time: Duration) -> Result<Sunk, String> {
    let watch = Stopwatch::start();
    let before = stats(interface)?;
    wait(time);
    let after = stats(interface)?;
    Ok(Sunk::new(interface, before, after, watch.elapsed()))
}

/// What the interface has counted so far.
///
/// # Errors
///
/// Where there is no such interface.
pub fn stats(interface: &str) -> Result<LinkStats, String> {
    let stats = Netlink::open().and_then(|mut netlink| netlink.stats(interface));
    stats.map_err(|error| format!("{interface}: {error}"))
}

impl Sunk {
    /// What came between two looks at the counters.
    #[must_use]
    pub fn new(interface: &str, before: LinkStats, after: LinkStats, time: Duration) -> Self {
        let received = after.received.saturating_sub(before.received);
        Self {
            interface: interface.to_owned(),
            received,
            bytes: after.received_bytes.saturating_sub(before.received_bytes),
            dropped: after.dropped.saturating_sub(before.dropped),
            seconds: time.as_secs_f64(),
            mpps: mpps(received, time.as_secs_f64()),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a rate for people")]
pub(super) fn mpps(frames: u64, seconds: f64) -> f64 {
    (frames as f64 / seconds.max(1e-9) / 1e3).round() / 1e3
}

fn frames(frames: &Frames, own: MacAddr) -> Result<Vec<Vec<u8>>, String> {
    match frames {
        Frames::Given(frames) => Ok(frames.iter().map(|frame| frame.0.clone()).collect()),
        Frames::Capture(path) => capture(path),
        Frames::Softwires {
            config,
            side,
            size,
            to,
            from,
        } => {
            let config = Config::read(config).map_err(|error| error.to_string())?;
            let macs = [to.map(MacAddr), from.map(MacAddr)];
            let macs = macs_of(&config, *side, macs, own)?;
            traffic(&config, *side, *size, macs)
        }
    }
}

fn capture(path: &Path) -> Result<Vec<Vec<u8>>, String> {
    let mut reader = CaptureReader::open(path).map_err(|error| error.to_string())?;
    let mut frames = Vec::new();
    while let Some(frame) = reader.next_frame().map_err(|error| error.to_string())? {
        frames.push(frame.bytes);
        if frames.len() == MAX_FRAMES {
            break;
        }
    }
    Ok(frames)
}

/// Destination and source.
fn macs_of(
    config: &Config,
    side: BlastSide,
    [to, from]: [Option<MacAddr>; 2],
    own: MacAddr,
) -> Result<[MacAddr; 2], String> {
    let hop = |hop: Option<MacAddr>| hop.unwrap_or(own);
    let (mac, next_hop) = match side {
        BlastSide::V4 => (
            config.file.internet.mac,
            mac_of(&config.file.internet.next_hop.0),
        ),
        BlastSide::V6 => (
            config.file.softwire.mac,
            mac_of(&config.file.softwire.next_hop.0),
        ),
    };
    let to = to.or(mac.map(|mac| mac.0));
    let to = to.ok_or("the configuration has no mac on this side; --to says where frames go")?;
    Ok([to, from.unwrap_or(hop(next_hop))])
}

fn mac_of<A>(hop: &Hop<A>) -> Option<MacAddr> {
    match hop {
        Hop::Mac(mac) => Some(*mac),
        Hop::Address(_) => None,
    }
}

/// Traffic of random softwires and ports of a configuration.
fn traffic(
    config: &Config,
    side: BlastSide,
    size: usize,
    macs: [MacAddr; 2],
) -> Result<Vec<Vec<u8>>, String> {
    let bindings: Vec<Binding> = crate::setup::bindings_of(&config.instance)
        .copied()
        .collect();
    traffic_of(&bindings, side, size, macs, MAX_FRAMES)
}

/// `count` frames of random softwires and ports, to and from these Ethernet addresses; `size` bytes on
/// the IPv4 side, the check sequence included.
pub(super) fn traffic_of(
    bindings: &[Binding],
    side: BlastSide,
    size: usize,
    [to, from]: [MacAddr; 2],
    count: usize,
) -> Result<Vec<Vec<u8>>, String> {
    if !(64..=9000).contains(&size) {
        return Err(format!("frame size {size}, needs 64 to 9000"));
    }
    if bindings.is_empty() {
        return Err("the configuration has no softwires".to_owned());
    }
    let mut random = ChaCha8Rng::seed_from_u64(0);
    let payload = vec![0; size - ETHERNET_OVERHEAD - HEADERS];
    let frames = (0..count).filter_map(|_| {
        let binding = bindings.get(random.random_range(0..bindings.len()))?;
        let port = random_port(binding, &mut random);
        let inside = SocketAddrV4::new(binding.ipv4, port);
        let outside = SocketAddrV4::new(REMOTE.0, REMOTE.1);
        let (src, dst) = match side {
            BlastSide::V4 => (outside, inside),
            BlastSide::V6 => (inside, outside),
        };
        let ends = Ends {
            from: src,
            to: dst,
            ident: 0,
        };
        let packet = craft::udp(ends, &payload);
        let packet = match side {
            BlastSide::V4 => packet,
            BlastSide::V6 => craft::tunnel(binding.b4, binding.aftr, &packet),
        };
        Some(craft::frame(to, from, &packet))
    });
    Ok(frames.collect())
}

fn random_port(binding: &Binding, random: &mut ChaCha8Rng) -> u16 {
    let mut nth = random.random_range(0..binding.ports.port_count().max(1));
    for range in binding.ports.ranges() {
        let len = u32::from(range.end() - range.start()) + 1;
        if nth < len {
            return range.start() + u16::try_from(nth).unwrap_or(0);
        }
        nth -= len;
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_kept_over_any_time() {
        let due = |millis, sent| due(Some(1000), Duration::from_millis(millis), sent);
        assert_eq!(due(0, 0), 0);
        assert_eq!(due(10, 0), 10);
        assert_eq!(due(10, 10), 0);
        assert_eq!(due(10, 4), 6);
        assert_eq!(due(10_000, 4), BURST);
    }

    #[test]
    fn without_a_rate_every_burst_is_full() {
        assert_eq!(due(None, Duration::ZERO, u64::MAX), BURST);
    }

    #[test]
    fn what_arrived_is_the_difference_of_two_looks() {
        let at = |received| LinkStats {
            received,
            ..LinkStats::default()
        };
        let sunk = Sunk::new("x", at(10), at(1_000_010), Duration::from_secs(2));
        assert_eq!(sunk.received, 1_000_000);
        assert!((sunk.mpps - 0.5).abs() < 1e-9);
    }
}
