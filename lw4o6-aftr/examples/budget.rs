//! Packets of one kind through a worker, for counting instructions: `budget CASE PACKETS`.
//!
//! `cargo xtask budget` runs this under callgrind with two numbers of packets and divides the difference,
//! so that set-up cancels out. `--list` names the cases.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a tool talks to its caller"
)]

use std::process::ExitCode;
use std::time::Duration;

use lw4o6_aftr::{Aftr, AftrConfig, Side, Verdict, Worker};
use lw4o6_binding::table::{AtomicU64, Slot, TableConfig, TableShared, TableWriter, arena_words};
use lw4o6_wire::{FrameBuf, HEADROOM, Instant};
use testkit::packet::{V4, tunnel, v6};

const AFTR: &str = "2001:db8:ffff::1";
const B4: &str = "2001:db8:21::5";
const B4_OTHER: &str = "2001:db8:21::9";
const REMOTE: &str = "198.51.100.1";

/// Frames in a batch.
const BATCH: usize = 32;

/// Time between two batches: long enough for the contexts of fragments to come and go.
const STEP: Duration = Duration::from_millis(100);

/// A kind of packet: its name, its side, and the packets of one round.
struct Case {
    name: &'static str,
    side: Side,
    packets: fn() -> Vec<Vec<u8>>,
}

const CASES: &[Case] = &[
    Case {
        name: "encap",
        side: Side::Internet,
        packets: || vec![inbound()],
    },
    Case {
        name: "decap",
        side: Side::Softwire,
        packets: || vec![outbound()],
    },
    Case {
        name: "hairpin",
        side: Side::Softwire,
        packets: || vec![hairpin()],
    },
    Case {
        name: "encap-echo",
        side: Side::Internet,
        packets: || vec![echo()],
    },
    Case {
        name: "encap-icmp-error",
        side: Side::Internet,
        packets: || vec![icmp_error()],
    },
    Case {
        name: "encap-fragmented",
        side: Side::Internet,
        packets: || vec![large()],
    },
    Case {
        name: "decap-reassembled",
        side: Side::Softwire,
        packets: tunnel_fragments,
    },
    Case {
        name: "decap-inner-fragments",
        side: Side::Softwire,
        packets: inner_fragments,
    },
    Case {
        name: "unbound-source",
        side: Side::Softwire,
        packets: || vec![unbound()],
    },
    Case {
        name: "unbound-destination",
        side: Side::Internet,
        packets: || vec![no_binding()],
    },
];

fn inbound() -> Vec<u8> {
    V4::udp("198.51.100.1:53", "192.0.2.21:5121")
        .payload(&[0; 18])
        .build()
}

fn outbound() -> Vec<u8> {
    tunnel(
        B4,
        AFTR,
        &V4::udp("192.0.2.21:5121", "198.51.100.1:53")
            .payload(&[0; 18])
            .build(),
    )
    .build()
}

fn hairpin() -> Vec<u8> {
    tunnel(
        B4,
        AFTR,
        &V4::udp("192.0.2.21:5121", "192.0.2.21:9217")
            .payload(&[0; 18])
            .build(),
    )
    .build()
}

fn echo() -> Vec<u8> {
    V4::echo(0, REMOTE, "192.0.2.21", 5121).build()
}

fn icmp_error() -> Vec<u8> {
    let quoted = V4::udp("192.0.2.21:5121", "198.51.100.1:53")
        .payload(&[0; 18])
        .build();
    V4::icmp_error(REMOTE, "192.0.2.21", 3, 1, &quoted).build()
}

fn large() -> Vec<u8> {
    V4::udp("198.51.100.1:53", "192.0.2.21:5121")
        .payload(&[0; 1472])
        .build()
}

fn tunnel_fragments() -> Vec<Vec<u8>> {
    let inner = V4::udp("192.0.2.21:5121", "198.51.100.1:53")
        .payload(&[0; 1372])
        .build();
    tunnel(B4, AFTR, &inner).fragments(1232, 7)
}

/// Datagrams with identifications of their own, in two pieces each.
fn inner_fragments() -> Vec<Vec<u8>> {
    let datagram = V4::udp("192.0.2.21:5121", "198.51.100.1:53").payload(&[0; 1372]);
    let datagrams = (0..8192).map(|ident| datagram.clone().ident(ident).fragments(1232));
    datagrams
        .flatten()
        .map(|piece| tunnel(B4, AFTR, &piece).build())
        .collect()
}

fn unbound() -> Vec<u8> {
    let inner = V4::udp("192.0.2.21:5121", "198.51.100.1:53")
        .payload(&[0; 18])
        .build();
    tunnel("2001:db8:bad::1", AFTR, &inner).build()
}

fn no_binding() -> Vec<u8> {
    V4::udp("198.51.100.1:53", "192.0.2.21:80")
        .payload(&[0; 18])
        .build()
}

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--list"] => CASES.iter().for_each(|case| println!("{}", case.name)),
        [name, packets] => {
            let case = CASES.iter().find(|case| case.name == name);
            let (Some(case), Ok(packets)) = (case, packets.parse()) else {
                eprintln!("error: no such case, or no number of packets: {name} {packets}");
                return ExitCode::from(2);
            };
            if let Err(error) = run(case, packets) {
                eprintln!("error: {error}");
                return ExitCode::FAILURE;
            }
        }
        _ => {
            eprintln!("error: usage: budget --list | CASE PACKETS");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

/// Sends `packets` packets of a case, in batches, and takes out whatever comes of them.
fn run(case: &Case, packets: usize) -> Result<(), String> {
    let (writer, mut worker) = worker()?;
    let round = (case.packets)();
    let mut memory = vec![vec![0; 4096]; BATCH];
    let mut out = vec![0; 70_000];
    let mut now = Instant::from_secs(1);
    let mut next = round.iter().cycle();
    let mut good = 0;
    for _ in 0..packets.div_ceil(BATCH) {
        let mut frames: Vec<_> = memory
            .iter_mut()
            .zip(&mut next)
            .filter_map(|(memory, packet)| FrameBuf::with_headroom(memory, HEADROOM, packet))
            .collect();
        let mut verdicts = [Verdict::Consumed; BATCH];
        let taken = worker.process_batch(now, case.side, &mut frames, &mut verdicts);
        if taken != frames.len() {
            return Err(format!("{taken} of {} frames taken", frames.len()));
        }
        good += verdicts
            .iter()
            .filter(|v| !matches!(v, Verdict::Local(_)))
            .count();
        while let Some(mut frame) = FrameBuf::new(&mut out, 0, 0) {
            match worker.poll_frame(&mut frame) {
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(error) => return Err(error.to_string()),
            }
        }
        now += STEP;
    }
    drop(writer);
    if good == 0 {
        Err("every frame was local".to_owned())
    } else {
        Ok(())
    }
}

fn worker() -> Result<(TableWriter, Worker), String> {
    let (writer, shared) = table()?;
    let mut config = AftrConfig::default();
    config.own_ipv4 = vec!["203.0.113.1".parse().map_err(|_| "an address".to_owned())?];
    config.ipv6_mtu = 1500;
    let aftr = Aftr::new(config, shared, [42; 32]).map_err(|error| error.to_string())?;
    Ok((writer, aftr.worker().map_err(|error| error.to_string())?))
}

fn table() -> Result<(TableWriter, TableShared), String> {
    let config = TableConfig {
        softwires: 1024,
        aftrs: 8,
        readers: 2,
        hash_seed: [7; 16],
    };
    let words = arena_words(&config);
    let arena: Vec<AtomicU64> = (0..words).map(|_| AtomicU64::new(0)).collect();
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let made = TableWriter::new(config, Box::leak(arena.into_boxed_slice()), &[]);
    let (mut writer, shared) = made.map_err(|error| text(&error))?;
    let aftr = writer
        .aftr(&v6(AFTR).octets())
        .map_err(|error| text(&error))?;
    for (b4, psid) in [(B4, 5), (B4_OTHER, 9)] {
        let slot = Slot {
            ipv4: u32::from_be_bytes([192, 0, 2, 21]),
            psid,
            offset: 0,
            len: 6,
            b4: v6(b4).octets(),
            aftr,
            flags: 0,
        };
        writer.insert(&slot).map_err(|error| text(&error))?;
    }
    Ok((writer, shared))
}
