//! How many packets lwaftr forwards, beside a forwarder over the same driver that does nothing.
//!
//! ```text
//! left l0 ------ up0 middle down0 ------ r0 right
//! ```
//!
//! The middle is made anew for each run. Numbers depend on the machine and are noted, not judged; that
//! every frame is accounted for is judged.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use lw4o6_binding::{Binding, Expiry, Origin};
use lw4o6_wire::PortParams;
use lw4o6_wire::ethernet::MacAddr;
use serde_json::Value;

use super::agent::{Agent, Request, SOFTWIRES};
use super::blast::{Blast, BlastSide, Blasted, Frames, mpps, traffic_of};
use super::raw::Hex;
use super::running::{closed, softwire_file};
use super::scenario::Facts;
use super::topology::{AFTR, MTU, bare, mac, wire};
use crate::netlink::{LinkStats, Netlink};
use crate::stopwatch::{Stopwatch, wait};

/// Softwires of the table.
const COUNT: u32 = 1008;

/// Port sets of an address that are used; the first holds ports below 1024.
const PER_ADDRESS: u32 = 63;

/// Different frames.
const FRAMES: usize = 4096;

/// Runs of each kind.
const RUNS: usize = 3;

/// How long frames are sent, in seconds.
const SECONDS: f64 = 0.8;

/// First public address.
const FIRST_IPV4: u32 = Ipv4Addr::new(198, 18, 0, 0).to_bits();

/// Attempts to see something.
const ATTEMPTS: usize = 40;

/// How long nothing has to come before nothing more will.
const SETTLING: Duration = Duration::from_millis(100);

/// Where the neighbors of the middle are said to be. It is not where they are: their kernels then look
/// at nothing behind the Ethernet header.
const BEYOND: [MacAddr; 2] = [
    MacAddr([0x02, 0x4f, 0x36, 0, 1, 1]),
    MacAddr([0x02, 0x4f, 0x36, 0, 1, 4]),
];

/// Addresses of the middle, which its interfaces do not have: its kernel, too, looks at nothing behind
/// the Ethernet header, on the core that sends.
const MIDDLE: [MacAddr; 2] = [
    MacAddr([0x02, 0x4f, 0x36, 0, 1, 2]),
    MacAddr([0x02, 0x4f, 0x36, 0, 1, 3]),
];

/// What is in the middle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Middle {
    Null,
    Lwaftr,
}

/// What one direction was like.
#[derive(Clone, Copy, Debug)]
struct Measured {
    /// Millions of frames sent a second.
    offered: f64,
    /// Millions of frames that arrived at the far host a second, while they were sent.
    arrived: f64,
    /// Millions of them in a second of the middle's processor time.
    of_cpu: f64,
    /// Frames sent, without the first ones that came to nobody.
    sent: u64,
    /// Frames that arrived at the far host, by its own count.
    received: u64,
}

struct Line {
    left: Agent,
    middle: Agent,
    right: Agent,
}

/// Runs the scenario.
pub(super) fn run(facts: &mut Facts) -> Result<(), String> {
    let bindings = bindings()?;
    facts.step("generator alone");
    alone(&bindings, facts)?;
    // Pairs, so that a busy moment of the machine hits both kinds.
    let mut rates: [[Vec<Measured>; 2]; 2] = Default::default();
    for number in 1..=RUNS {
        for (middle, rates) in [Middle::Null, Middle::Lwaftr].into_iter().zip(&mut rates) {
            facts.step(format!("run {number} of {RUNS}, {middle:?}"));
            for (rate, rates) in one_run(middle, &bindings, facts)?.into_iter().zip(rates) {
                rates.push(rate);
            }
        }
    }
    let [null, lwaftr] = &rates;
    for (index, name) in ["encapsulating", "decapsulating"].into_iter().enumerate() {
        facts.group(Some(name));
        let median = |rates: &[Vec<Measured>; 2], of: fn(&Measured) -> f64| {
            rates
                .get(index)
                .map_or(0.0, |rates| median(rates.iter().map(of)))
        };
        facts.note("offered-mpps", median(lwaftr, |run| run.offered));
        for (of, name) in [
            ((|run| run.arrived) as fn(&Measured) -> f64, ""),
            (|run| run.of_cpu, "-of-cpu"),
        ] {
            let [null, lwaftr] = [null, lwaftr].map(|rates| median(rates, of));
            facts.note(&format!("null-forwarder-mpps{name}"), null);
            facts.note(&format!("lwaftr-mpps{name}"), lwaftr);
            let percent = (100.0 * lwaftr / null.max(1e-9)).round();
            facts.note(&format!("percent-of-null{name}"), percent);
        }
    }
    facts.group(None);
    Ok(())
}

/// What one core can send into a virtual wire where nobody listens.
fn alone(bindings: &[Binding], facts: &mut Facts) -> Result<(), String> {
    let mut line = Line::build()?;
    let before: LinkStats = line.middle.ask(&Request::Stats("up0".to_owned()))?;
    let sent = line.blast(BlastSide::V4, bindings)?;
    let after: LinkStats = line.middle.ask(&Request::Stats("up0".to_owned()))?;
    facts.note("generator-mpps", sent.mpps);
    facts.note("generator-mpps-of-cpu", sent.mpps_of_cpu);
    facts.expect(
        "generator-counts-what-arrives",
        after.received - before.received,
        &sent.sent,
    );
    Ok(())
}

/// One run in both directions.
fn one_run(
    middle: Middle,
    bindings: &[Binding],
    facts: &mut Facts,
) -> Result<[Measured; 2], String> {
    let mut line = Line::build()?;
    line.start(middle, bindings)?;
    let sides = [BlastSide::V4, BlastSide::V6].map(|side| line.measure(side, bindings));
    let [v4, v6] = sides;
    let runs = match line.middle.complaint() {
        Some(why) => return Err(why),
        None => [v4?, v6?],
    };
    match middle {
        Middle::Lwaftr => {
            let (report, code): (Value, _) = line.middle.terminate()?;
            facts.expect("lwaftr-exit-code", code, &Some(0));
            facts.expect("books-closed", closed(&report), &true);
            check(&report, &runs, facts);
        }
        Middle::Null => {
            let _: [u64; 2] = line.middle.ask(&Request::StopNull)?;
        }
    }
    Ok(runs)
}

/// Every frame is accounted for, on both sides, and none is dropped by lwaftr itself.
fn check(report: &Value, [v4, v6]: &[Measured; 2], facts: &mut Facts) {
    let interface = |name: &str, what: &str| {
        let interface = report.get("interfaces").and_then(|all| all.get(name));
        interface.map_or(0, |interface| {
            interface.get(what).and_then(Value::as_u64).unwrap_or(0)
        })
    };
    for (name, run) in [("up0", v4), ("down0", v6)] {
        let came = interface(name, "received") + interface(name, "kernel-drops");
        facts.expect(&format!("{name}-lost-unaccounted"), run.sent - came, &0);
    }
    for (name, run) in [("down0", v4), ("up0", v6)] {
        let sent = interface(name, "transmitted");
        facts.expect(
            &format!("{name}-sent-and-not-arrived"),
            sent - run.received,
            &0,
        );
    }
    let drops = report.get("drops").and_then(Value::as_object);
    facts.expect("lwaftr-drops", drops.map_or(0, serde_json::Map::len), &0);
}

impl Line {
    fn build() -> Result<Self, String> {
        let mut netlink = Netlink::open().map_err(|error| format!("netlink: {error}"))?;
        let start = |name| Agent::start(name);
        let mut line = Self {
            left: start("left")?,
            middle: start("middle")?,
            right: start("right")?,
        };
        let Self {
            left,
            middle,
            right,
        } = &line;
        let ends = (left, "l0", mac(1));
        wire(&mut netlink, ends, (middle, "up0", mac(2)), MTU)?;
        let ends = (middle, "down0", mac(3));
        wire(&mut netlink, ends, (right, "r0", mac(4)), MTU + 40)?;
        bare(&mut line.left, &["l0"])?;
        bare(&mut line.middle, &["up0", "down0"])?;
        bare(&mut line.right, &["r0"])?;
        Ok(line)
    }

    fn start(&mut self, middle: Middle, bindings: &[Binding]) -> Result<(), String> {
        match middle {
            Middle::Null => self
                .middle
                .ask(&Request::Null(["up0", "down0"].map(str::to_owned))),
            Middle::Lwaftr => self.middle.tell(&Request::Lwaftr {
                config: config(),
                softwires: softwire_file(bindings)?,
            }),
        }
    }

    /// Sends from one side and looks at what arrives at the other.
    fn measure(&mut self, side: BlastSide, bindings: &[Binding]) -> Result<Measured, String> {
        let frames = traffic(side, bindings)?;
        let (near, far) = match side {
            BlastSide::V4 => ((&mut self.left, "l0"), (&mut self.right, "r0")),
            BlastSide::V6 => ((&mut self.right, "r0"), (&mut self.left, "l0")),
        };
        let far_interface = Request::Stats(far.1.to_owned());
        let mut stats = || far.0.ask::<LinkStats>(&far_interface);
        let before = stats()?;
        // lwaftr may not be there yet.
        let first = blast(near.1, &frames, (Some(100), 0.05));
        for _ in 0..ATTEMPTS {
            let _: Blasted = near.0.ask(&Request::Blast(first.clone()))?;
            if stats()?.received > before.received {
                break;
            }
        }
        // Whoever takes frames now has passed all on that it took before.
        let primed = settled(&mut stats)? - before.received;
        near.0
            .tell(&Request::Blast(blast(near.1, &frames, (None, SECONDS))))?;
        wait(Duration::from_secs_f64(SECONDS / 4.0));
        let middle = self.middle.id();
        let (watch, cpu, start) = (Stopwatch::start(), processor_time(middle), stats()?);
        wait(Duration::from_secs_f64(SECONDS / 2.0));
        let (elapsed, end) = (watch.elapsed(), stats()?);
        let cpu = processor_time(middle) - cpu;
        let sent: Blasted = near.0.answer()?;
        let received = settled(&mut stats)? - before.received;
        Ok(Measured {
            offered: sent.mpps,
            arrived: mpps(end.received - start.received, elapsed.as_secs_f64()),
            of_cpu: mpps(end.received - start.received, cpu),
            sent: sent.sent + primed,
            received,
        })
    }

    fn blast(&mut self, side: BlastSide, bindings: &[Binding]) -> Result<Blasted, String> {
        let frames = traffic(side, bindings)?;
        self.left
            .ask(&Request::Blast(blast("l0", &frames, (None, SECONDS))))
    }
}

/// Processor time of all threads of a process, in seconds; 0 where the kernel does not say.
fn processor_time(process: u32) -> f64 {
    let tasks = std::fs::read_dir(format!("/proc/{process}/task"));
    let times = tasks.into_iter().flatten().flatten().filter_map(|task| {
        let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(times.sum()).as_secs_f64()
}

/// Frames received, once no more come.
fn settled(stats: &mut impl FnMut() -> Result<LinkStats, String>) -> Result<u64, String> {
    let mut last = stats()?.received;
    for _ in 0..ATTEMPTS {
        wait(SETTLING);
        let now = stats()?.received;
        if now == last {
            break;
        }
        last = now;
    }
    Ok(last)
}

fn blast(interface: &str, frames: &[Hex], (rate, seconds): (Option<u64>, f64)) -> Blast {
    Blast {
        interface: interface.to_owned(),
        frames: Frames::Given(frames.to_vec()),
        rate,
        seconds,
        core: Some(0),
    }
}

fn traffic(side: BlastSide, bindings: &[Binding]) -> Result<Vec<Hex>, String> {
    let [up, down] = MIDDLE;
    let macs = match side {
        BlastSide::V4 => [up, mac(1)],
        BlastSide::V6 => [down, mac(4)],
    };
    let frames = traffic_of(bindings, side, 64, macs, FRAMES)?;
    Ok(frames.into_iter().map(Hex).collect())
}

fn config() -> String {
    let ([left, right], [up, down]) = (BEYOND, MIDDLE);
    format!(
        "[instance]\nsoftwires = \"{SOFTWIRES}\"\n\n\
         [internet]\ninterface = \"up0\"\nmac = \"{up}\"\naddress = \"198.51.100.1\"\nnext-hop = \"{left}\"\n\n\
         [softwire]\ninterface = \"down0\"\nmac = \"{down}\"\naddress = \"2001:db8:1::1/64\"\nnext-hop = \"{right}\"\n\n\
         [run]\nworkers = 1\nio = \"rings\"\n"
    )
}

fn bindings() -> Result<Vec<Binding>, String> {
    let binding = |number: u32| {
        let psid = u16::try_from(1 + number % PER_ADDRESS).unwrap_or(1);
        let ports = PortParams::new(0, 6, psid).map_err(|error| error.to_string())?;
        let b4 =
            Ipv6Addr::new(0x2001, 0xdb8, 0xb4, 0, 0, 0, 0, 0).to_bits() | u128::from(number) << 64;
        Ok(Binding {
            b4: Ipv6Addr::from_bits(b4 | 2),
            prefix_len: 128,
            ipv4: Ipv4Addr::from_bits(FIRST_IPV4 + number / PER_ADDRESS),
            ports,
            aftr: AFTR,
            origin: Origin::Static,
            expires: Expiry::Never,
        })
    };
    (0..COUNT).map(binding).collect()
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}
