//! Batches of any size give what the frames give one by one: verdicts, bytes, outputs, their order,
//! counters.
#![expect(clippy::indexing_slicing, reason = "a panic is a failed test")]

mod common;

use common::Bench;
use common::traffic::{Dice, scale, traffic};
use lw4o6_aftr::config::InnerFragmentation;
use lw4o6_aftr::{AftrConfig, Counter, CounterSnapshot, Output, Side, Verdict};
use lw4o6_wire::{FrameBuf, HEADROOM};
use testkit::packet::V4;

#[derive(Debug, PartialEq)]
struct Result {
    verdict: Verdict,
    packet: Vec<u8>,
    outputs: Vec<(lw4o6_aftr::Destination, Vec<u8>)>,
}

/// Feeds the runs in batches of `size`; the outputs of each frame stand with it.
fn run(
    size: usize,
    runs: &[(Side, Vec<Vec<u8>>)],
    knobs: fn(&mut AftrConfig),
) -> (Vec<Result>, CounterSnapshot, usize) {
    let mut bench = Bench::with(knobs);
    let mut results = Vec::new();
    let mut cut_short = 0;
    for (side, packets) in runs {
        bench.now += core::time::Duration::from_millis(400);
        for batch in packets.chunks(size) {
            let mut rest = batch;
            while !rest.is_empty() {
                let taken = step(&mut bench, *side, rest, &mut results);
                assert!(taken > 0, "an empty queue leaves room for a frame");
                cut_short += usize::from(taken < rest.len());
                rest = &rest[taken..];
            }
        }
    }
    bench.now += core::time::Duration::from_secs(100);
    bench.worker.handle_timeout(bench.now);
    for (output, packet) in bench.drain() {
        results.push(Result {
            verdict: Verdict::Consumed,
            packet: Vec::new(),
            outputs: vec![(output.to, packet)],
        });
    }
    assert_eq!(bench.worker.poll_timeout(), None);
    (results, bench.worker.counters(), cut_short)
}

fn step(bench: &mut Bench, side: Side, packets: &[Vec<u8>], results: &mut Vec<Result>) -> usize {
    let mut storage: Vec<Vec<u8>> = packets
        .iter()
        .map(|p| vec![0; HEADROOM + p.len()])
        .collect();
    let mut frames: Vec<FrameBuf<'_>> = storage
        .iter_mut()
        .zip(packets)
        .filter_map(|(storage, packet)| FrameBuf::with_headroom(storage, HEADROOM, packet))
        .collect();
    let mut verdicts = vec![Verdict::Consumed; packets.len()];
    let taken = bench
        .worker
        .process_batch(bench.now, side, &mut frames, &mut verdicts);
    let first = results.len();
    for (frame, verdict) in frames.iter().zip(verdicts).take(taken) {
        let kept = !matches!(verdict, Verdict::Drop(_) | Verdict::Consumed);
        results.push(Result {
            verdict,
            packet: if kept {
                frame.packet().to_vec()
            } else {
                Vec::new()
            },
            outputs: Vec::new(),
        });
    }
    for (frame, packet) in frames.iter().zip(packets).skip(taken) {
        assert_eq!(
            frame.packet(),
            packet,
            "frames that are not taken are untouched"
        );
    }
    for (Output { to, after }, packet) in bench.drain() {
        assert!(after < taken);
        results[first + after].outputs.push((to, packet));
    }
    taken
}

/// The equations in the documentation of the counters.
fn books_close(counters: &CounterSnapshot, frames: usize) {
    let get = |names: &[Counter]| names.iter().map(|c| counters.get(*c)).sum::<u64>();
    let received = get(&[Counter::ReceivedSoftwire, Counter::ReceivedInternet]);
    assert_eq!(received, frames as u64);
    let seen = [
        Counter::Forwarded,
        Counter::Replied,
        Counter::Echoed,
        Counter::Local,
        Counter::Consumed,
        Counter::Dropped,
    ];
    assert_eq!(received, get(&seen));
    // Nothing is held any more.
    let kept = get(&[Counter::Consumed, Counter::LateConsumed]);
    assert_eq!(
        kept,
        get(&[Counter::Merged, Counter::Released, Counter::Discarded])
    );
    let late = [
        Counter::LateForwarded,
        Counter::LateReplied,
        Counter::LateEchoed,
        Counter::LateLocal,
        Counter::LateConsumed,
        Counter::LateDropped,
    ];
    assert_eq!(get(&[Counter::Reassembled, Counter::Released]), get(&late));
    let reasons = [
        Counter::Dropped,
        Counter::LateDropped,
        Counter::Replied,
        Counter::LateReplied,
        Counter::Discarded,
    ];
    assert_eq!(counters.dropped(), get(&reasons));
}

fn law(seed: u64, runs: &[(Side, Vec<Vec<u8>>)], knobs: fn(&mut AftrConfig)) -> usize {
    let frames = runs.iter().map(|(_, packets)| packets.len()).sum();
    let (one_by_one, counters, _) = run(1, runs, knobs);
    books_close(&counters, frames);
    let mut cut_short = 0;
    for size in [3, 4, 8, 32, 256] {
        let (results, other, short) = run(size, runs, knobs);
        cut_short += short;
        for (at, (a, b)) in one_by_one.iter().zip(&results).enumerate() {
            assert_eq!(a, b, "seed {seed} size {size} frame {at}");
        }
        assert_eq!(one_by_one.len(), results.len());
        assert_eq!(counters, other, "seed {seed} size {size}");
    }
    cut_short
}

#[test]
fn a_batch_is_its_frames_one_by_one() {
    for seed in 1..=4 * scale() {
        law(seed, &traffic(seed, 400, 5), |_| {});
        law(seed, &traffic(seed + 1000, 200, 5), |config| {
            config.inner_fragmentation = InnerFragmentation::On;
            config.encap_limit = Some(4);
            config.ipv4_mtu = 576;
            config.ipv6_mtu = 1280;
        });
    }
}

#[test]
fn a_batch_stops_before_memory_decides() {
    let mut cut_short = 0;
    for seed in 1..=3 * scale() {
        let mut runs = traffic(seed, 400, 50);
        let mut dice = Dice(seed);
        for (_, packets) in runs.iter_mut().filter(|(side, _)| *side == Side::Internet) {
            let big = V4::udp("198.51.100.1:53", "192.0.2.20:80").payload(&[3; 9000]);
            packets.extend(std::iter::repeat_n(big.build(), 60));
            dice.shuffle(packets);
        }
        cut_short += law(seed, &runs, |config| {
            config.slab_bytes = 512 << 10;
            config.reassembly.bytes = 256 << 10;
            config.fragments.bytes = 96 << 10;
        });
    }
    assert!(cut_short > 0, "the slab was never nearly full");
}

#[test]
fn frames_without_a_verdict_slot_are_left_alone() {
    let mut bench = Bench::new();
    let packet = V4::udp("198.51.100.1:53", "192.0.2.18:1232").build();
    let mut storage = [[0; HEADROOM + 28]; 3];
    let mut frames: Vec<FrameBuf<'_>> = storage
        .iter_mut()
        .filter_map(|storage| FrameBuf::with_headroom(storage, HEADROOM, &packet))
        .collect();
    let mut verdicts = [Verdict::Consumed; 2];
    let now = bench.now;
    let taken = bench
        .worker
        .process_batch(now, Side::Internet, &mut frames, &mut verdicts);
    assert_eq!((taken, frames[1].len(), frames[2].len()), (2, 68, 28));
}
