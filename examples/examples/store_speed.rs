//! How many changes a second the store and the log take:
//! `cargo run --release -p lw4o6-examples --example store_speed`
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::cast_precision_loss,
    reason = "a measurement that fails ends, and rates are printed for people"
)]

use std::sync::Arc;
use std::sync::mpsc::channel;

use lw4o6_binding::{Binding, Change, Event, Origin, Seq};
use lw4o6_examples::binding_log::{BindingLog, What, lookup};
use lw4o6_examples::config::clock;
use lw4o6_examples::stopwatch::Stopwatch;
use lw4o6_examples::store::{Store, StoreResult, StoreThread};
use lw4o6_wire::Instant;
use lw4o6_wire::port_params::PortParams;

fn main() {
    speed_of_the_store();
    speed_of_the_log();
}

fn lease(number: u32) -> Binding {
    let ports = PortParams::new(0, 6, (number % 64).try_into().unwrap()).unwrap();
    let ipv4 = std::net::Ipv4Addr::from(0x0a00_0000 + number / 64);
    let b4 = std::net::Ipv6Addr::from(0x2001_0db8 << 96 | u128::from(number) << 64 | 1);
    Binding::new(b4, ipv4, ports, "2001:db8:a::1".parse().unwrap()).with_origin(Origin::Dhcp)
}

fn rate(what: &str, count: u64, watch: &Stopwatch) {
    let seconds = watch.elapsed().as_secs_f64();
    eprintln!(
        "{what}: {:.0} a second ({count} in {seconds:.2} s)",
        count as f64 / seconds
    );
}

fn speed_of_the_store() {
    let path = std::env::temp_dir().join(format!("lw4o6-speed-{}", std::process::id()));
    let (store, _) = Store::open(&path, &clock()).unwrap();
    let (to, results) = channel();
    let thread = StoreThread::start(store, move |result| drop(to.send(result))).unwrap();
    let mut seq = 0_u64;
    for (outstanding, rounds) in [(1, 2_000), (64, 20_000), (4096, 1_000_000)] {
        let (watch, first) = (Stopwatch::start(), seq);
        let mut confirmed = seq;
        while confirmed < first + rounds {
            while seq < confirmed + outstanding && seq < first + rounds {
                seq += 1;
                let number = u32::try_from(seq.wrapping_mul(7919) % 1_000_003).unwrap();
                thread.write(Seq(seq), Change::Added(lease(number)));
            }
            match results.recv().unwrap() {
                StoreResult::Persisted(Seq(last)) => confirmed = last,
                StoreResult::Failed(seq, error) => panic!("{seq}: {error}"),
            }
        }
        rate(
            &format!("changes stored, {outstanding} waiting at a time"),
            rounds,
            &watch,
        );
    }
    thread.stop();
    let watch = Stopwatch::start();
    let (store, stored) = Store::open(&path, &clock()).unwrap();
    rate(
        "bindings read at the start",
        stored.bindings.len() as u64,
        &watch,
    );
    eprintln!("the file has {} bytes", path.metadata().unwrap().len());
    store.close();
    std::fs::remove_file(&path).unwrap();
}

fn speed_of_the_log() {
    let path = std::env::temp_dir().join(format!("lw4o6-speed-log-{}", std::process::id()));
    let log = BindingLog::open(&path, &clock(), 56).unwrap();
    let count = 1_000_000;
    let all: Vec<Binding> = (0..count).map(lease).collect();
    let watch = Stopwatch::start();
    log.start(Instant::ZERO, 1, Arc::new(all));
    for number in 0..50_000 {
        let change = Change::Renewed(lease(number));
        log.write(&Event::Changed {
            number: 1,
            change,
            at: Instant::ZERO,
            version: 1,
        });
    }
    log.stop(Instant::ZERO);
    rate("lines written", u64::from(count) + 50_000, &watch);
    let watch = Stopwatch::start();
    let what = What::Port([10, 0, 17, 1].into(), 5000);
    let report = lookup(&[&path], what, clock().utc, 10).unwrap();
    assert_eq!(report.found.len(), 1);
    rate("lines looked through", report.lines, &watch);
    eprintln!("the file has {} bytes", path.metadata().unwrap().len());
    std::fs::remove_file(&path).unwrap();
}
