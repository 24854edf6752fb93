//! The engine in a loop, without threads or sockets: `cargo run -p lw4o6-examples --example embed_loop`.
//!
//! An embedder brings three things: memory for the table, packets, and the time. Here the packets are made
//! on the spot and the time is a number.
#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use std::error::Error;
use std::net::Ipv4Addr;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use lw4o6_aftr::{Aftr, AftrConfig, Side, Verdict, Worker};
use lw4o6_binding::table::{TableConfig, TableWriter, arena_words};
use lw4o6_binding::{Binding, Bindings, BindingsConfig};
use lw4o6_wire::{FrameBuf, HEADROOM, Instant, PortParams};
use testkit::packet::{V4, tunnel};

const B4: &str = "2001:db8:b4::1";
const AFTR: &str = "2001:db8:af::1";

fn main() -> Result<(), Box<dyn Error>> {
    // The binding table: memory from us, one writer, any number of readers.
    let config = TableConfig {
        softwires: 1024,
        aftrs: 4,
        readers: 1,
        hash_seed: [1; 16],
    };
    let arena: Vec<AtomicU64> = (0..arena_words(&config))
        .map(|_| AtomicU64::new(0))
        .collect();
    let (writer, shared) = TableWriter::new(config, Box::leak(arena.into_boxed_slice()), &[])?;
    let mut bindings = Bindings::new(BindingsConfig::default(), writer);
    let ports = PortParams::new(0, 6, 5)?; // 5120 to 6143
    let binding = Binding::new(
        B4.parse()?,
        Ipv4Addr::new(192, 0, 2, 1),
        ports,
        AFTR.parse()?,
    );
    bindings.load(Instant::ZERO, [binding])?;

    // The engine: a seed from us, one worker for each core.
    let mut aftr_config = AftrConfig::default();
    aftr_config.own_ipv4 = vec![Ipv4Addr::new(203, 0, 113, 1)];
    let aftr = Aftr::new(aftr_config, shared, [2; 32])?;
    let mut worker = aftr.worker()?;

    let request = V4::udp("192.0.2.1:5120", "198.51.100.1:53")
        .payload(b"hello")
        .build();
    let answer = V4::udp("198.51.100.1:53", "192.0.2.1:5120")
        .payload(b"world")
        .build();
    let stray = V4::udp("198.51.100.1:53", "192.0.2.1:80")
        .payload(b"nobody")
        .build();
    let packets = [
        (Side::Softwire, tunnel(B4, AFTR, &request).build()),
        (Side::Internet, answer),
        (Side::Internet, stray),
        (
            Side::Softwire,
            tunnel("2001:db8:bad::1", AFTR, &request).build(),
        ),
    ];
    let mut now = Instant::ZERO;
    for (side, packet) in &packets {
        feed(&mut worker, now, *side, packet)?;
        now += Duration::from_millis(1);
        if worker.poll_timeout().is_some_and(|due| due <= now) {
            worker.handle_timeout(now);
        }
    }
    for (name, count) in worker.counters().iter().filter(|(_, count)| *count > 0) {
        println!("{count:6} {name}");
    }
    Ok(())
}

/// One packet in; whatever comes of it out.
fn feed(
    worker: &mut Worker,
    now: Instant,
    side: Side,
    packet: &[u8],
) -> Result<(), Box<dyn Error>> {
    let mut memory = vec![0; HEADROOM + packet.len() + 1280];
    let mut frame =
        FrameBuf::with_headroom(&mut memory, HEADROOM, packet).ok_or("a small buffer")?;
    let verdict = worker.process(now, side, &mut frame);
    match verdict {
        Verdict::Forward(to) => println!("{side:?}: {} bytes to {to:?}", frame.len()),
        Verdict::Reply(to, cause) => {
            println!(
                "{side:?}: answered to {to:?} with {} bytes, {cause:?}",
                frame.len()
            );
        }
        Verdict::Local(kind) => println!("{side:?}: for our own stack, {kind:?}"),
        Verdict::Consumed => println!("{side:?}: kept"),
        Verdict::Drop(reason) => println!("{side:?}: dropped, {reason}"),
    }
    // Fragments, and packets that were put together, come out here.
    let mut out = vec![0; 70_000];
    let mut frame = FrameBuf::new(&mut out, 0, 0).ok_or("a small buffer")?;
    while let Some(output) = worker.poll_frame(&mut frame)? {
        println!("  and {} bytes to {:?}", frame.len(), output.to);
    }
    Ok(())
}
