//! Counters of each softwire: every forwarded packet, once for each end that is ours.
#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a panic is a failed test"
)]

mod common;

use std::collections::BTreeMap;

use common::traffic::{Dice, scale};
use common::{AFTR, B4, B4_FULL, B4_RANGE, BINDINGS, Bench, Entry, config, table};
use lw4o6_aftr::{Aftr, ConfigError, Counter, Side, SoftwireKey, SoftwireTraffic, Verdict, Worker};
use lw4o6_wire::{FrameBuf, HEADROOM, Instant};
use testkit::packet::{V4, tunnel};

const REMOTE: &str = "198.51.100.1:53";

fn key(entry: &Entry<'_>) -> SoftwireKey {
    let (_, ipv4, offset, len, psid, _) = *entry;
    SoftwireKey {
        ipv4: ipv4.parse().unwrap(),
        offset,
        len,
        psid,
    }
}

fn on() -> Bench {
    Bench::with(|config| config.softwire_counters = 100)
}

fn up(b4: &str, packet: &V4) -> Vec<u8> {
    tunnel(b4, AFTR, &packet.build()).build()
}

fn counts(bench: &Bench, at: usize) -> [u64; 4] {
    array(&bench.aftr.softwire_traffic(&key(&BINDINGS[at])))
}

fn array(traffic: &SoftwireTraffic) -> [u64; 4] {
    [
        traffic.upstream_packets,
        traffic.upstream_bytes,
        traffic.downstream_packets,
        traffic.downstream_bytes,
    ]
}

#[test]
fn forwarded_packets_count_with_their_ipv4_bytes_and_dropped_ones_do_not() {
    let mut bench = on();
    let out = V4::udp("192.0.2.18:1232", REMOTE).payload(&[0; 72]);
    let back = V4::udp(REMOTE, "192.0.2.18:1232").payload(&[0; 172]);
    for _ in 0..3 {
        let _ = bench.softwire(&up(B4, &out));
        let _ = bench.internet(&back.build());
    }
    let _ = bench.internet(&back.build());
    assert_eq!(counts(&bench, 0), [3, 300, 4, 800]);
    // No binding, no TTL left, a B4 that lies.
    let _ = bench.internet(&V4::udp(REMOTE, "192.0.2.18:9").build());
    let _ = bench.internet(&back.ttl(1).build());
    let _ = bench.softwire(&up(B4, &out.clone().ttl(1)));
    let _ = bench.softwire(&up(B4_FULL, &out));
    assert_eq!(counts(&bench, 0), [3, 300, 4, 800]);
    assert_eq!(bench.aftr.softwire_traffics().count(), 1);
    assert_eq!(bench.counter(Counter::SoftwireUncountedPackets), 0);
}

#[test]
fn a_packet_from_b4_to_b4_counts_for_both() {
    let mut bench = on();
    let packet = V4::udp("192.0.2.18:1232", "192.0.2.21:5121").payload(&[0; 12]);
    let out = bench.softwire(&up(B4, &packet));
    assert_eq!(out.verdict, Verdict::Forward(Side::Softwire));
    assert_eq!(counts(&bench, 0), [1, 40, 0, 0]);
    assert_eq!(counts(&bench, 3), [0, 0, 1, 40]);
}

#[test]
fn fragments_count_one_by_one_and_reassembled_packets_as_a_whole() {
    let mut bench = on();
    let packet = V4::udp(REMOTE, "192.0.2.18:1232").payload(&[0; 1000]);
    let pieces = packet.ident(7).fragments(600);
    let bytes: usize = pieces.iter().map(Vec::len).sum();
    let _ = bench.internet(&pieces[1]); // held
    assert_eq!(counts(&bench, 0), [0; 4]);
    let _ = bench.internet(&pieces[0]);
    assert_eq!(counts(&bench, 0), [0, 0, 2, bytes as u64]);
    let out = V4::udp("192.0.2.18:1232", REMOTE).payload(&[0; 1000]);
    for piece in out.clone().ident(8).fragments(600) {
        let _ = bench.softwire(&tunnel(B4, AFTR, &piece).build());
    }
    for piece in tunnel(B4, AFTR, &out.build()).fragments(600, 9) {
        let _ = bench.softwire(&piece);
    }
    let upstream = bytes as u64 + 1028;
    assert_eq!(counts(&bench, 0), [3, upstream, 2, bytes as u64]);
}

#[test]
fn nothing_is_counted_where_the_knob_is_off() {
    let mut bench = Bench::new();
    let _ = bench.softwire(&up(B4, &V4::udp("192.0.2.18:1232", REMOTE)));
    assert_eq!(counts(&bench, 0), [0; 4]);
    assert_eq!(bench.aftr.softwire_traffics().count(), 0);
    bench.aftr.forget_softwire(&key(&BINDINGS[0]));
    // Neither does turning it on later change a worker that is there.
    bench.turn(|config| config.softwire_counters = 10);
    let _ = bench.softwire(&up(B4, &V4::udp("192.0.2.18:1232", REMOTE)));
    assert_eq!(bench.aftr.softwire_traffics().count(), 0);
    let mut config = bench.aftr.config();
    config.softwire_counters = (1 << 24) + 1;
    let refused = bench.aftr.reconfigure(config);
    assert_eq!(refused, Err(ConfigError::SoftwireCounters((1 << 24) + 1)));
}

#[test]
fn a_softwire_that_was_forgotten_starts_anew() {
    let mut bench = on();
    let packet = up(B4_RANGE, &V4::udp("192.0.2.21:5121", REMOTE));
    let _ = bench.softwire(&packet);
    let _ = bench.softwire(&up(B4, &V4::udp("192.0.2.18:1232", REMOTE)));
    bench.aftr.forget_softwire(&key(&BINDINGS[3]));
    assert_eq!(counts(&bench, 3), [0; 4]);
    assert_eq!(counts(&bench, 0), [1, 28, 0, 0]);
    let _ = bench.softwire(&packet);
    assert_eq!(counts(&bench, 3), [1, 28, 0, 0]);
}

fn feed(worker: &mut Worker, side: Side, packet: &[u8]) -> Verdict {
    let mut storage = vec![0; HEADROOM + packet.len()];
    let mut frame = FrameBuf::with_headroom(&mut storage, HEADROOM, packet).unwrap();
    worker.process(Instant::from_secs(1), side, &mut frame)
}

#[test]
fn softwires_beyond_the_room_are_counted_together() {
    let entries: Vec<(String, u16)> = (0..200)
        .map(|n| (format!("2001:db8:1::{n:x}"), n))
        .collect();
    let bindings: Vec<Entry<'_>> = entries
        .iter()
        .map(|(b4, psid)| (b4.as_str(), "192.0.2.99", 0, 8, *psid, AFTR))
        .collect();
    let mut bench = Bench::over(&bindings, &[], |config| config.softwire_counters = 1);
    for psid in 0..200_u32 {
        let packet = V4::udp(REMOTE, &format!("192.0.2.99:{}", psid * 256 + 1));
        assert_eq!(
            bench.internet(&packet.build()).verdict,
            Verdict::Forward(Side::Softwire)
        );
    }
    let counted = bench.aftr.softwire_traffics().count();
    assert_eq!(counted, 64, "the smallest table there is");
    let rest = bench.counter(Counter::SoftwireUncountedPackets);
    assert_eq!(counted as u64 + rest, 200);
}

type Sums = BTreeMap<SoftwireKey, [u64; 4]>;

/// Feeds packets of three softwires, at random; what was sent.
fn drive(mut worker: Worker, seed: u64) -> Sums {
    let ends = [
        (B4, "192.0.2.18:1232", key(&BINDINGS[0])),
        (B4_FULL, "192.0.2.20:80", key(&BINDINGS[2])),
        (B4_RANGE, "192.0.2.21:5121", key(&BINDINGS[3])),
    ];
    let mut dice = Dice(seed);
    let mut expect = Sums::new();
    for _ in 0..20_000 * scale() {
        let (b4, own, key) = dice.pick(&ends);
        let bytes = 28 + dice.roll(100);
        let payload = vec![0; bytes - 28];
        let (side, packet) = if dice.roll(2) == 0 {
            let packet = up(b4, &V4::udp(own, REMOTE).payload(&payload));
            (Side::Softwire, packet)
        } else {
            let packet = V4::udp(REMOTE, own).payload(&payload).build();
            (Side::Internet, packet)
        };
        let at = if side == Side::Softwire { 0 } else { 2 };
        let count = expect.entry(key).or_default();
        count[at] += 1;
        count[at + 1] += bytes as u64;
        let verdict = feed(&mut worker, side, &packet);
        assert!(matches!(verdict, Verdict::Forward(_)));
    }
    expect
}

#[test]
fn the_sums_of_two_workers_are_exact() {
    let (_writer, shared) = table(BINDINGS, &[]);
    let mut config = config();
    config.softwire_counters = 100;
    let aftr = Aftr::new(config, shared, [42; 32]).unwrap();
    let mut expect = Sums::new();
    // Workers that are gone count, too, and their tables serve the next ones.
    for round in 0..2 {
        let workers = [aftr.worker().unwrap(), aftr.worker().unwrap()];
        let sums = std::thread::scope(|scope| {
            let [one, two] = workers;
            let one = scope.spawn(move || drive(one, 1 + round));
            let two = scope.spawn(move || drive(two, 100 + round));
            // Somebody reads all the time; counters never go back.
            let mut last = 0;
            while !one.is_finished() || !two.is_finished() {
                let all = aftr.softwire_traffics();
                let packets = all.map(|(_, t)| t.upstream_packets + t.downstream_packets);
                let packets: u64 = packets.sum();
                assert!(packets >= last);
                last = packets;
            }
            [one.join().unwrap(), two.join().unwrap()]
        });
        for (key, counts) in sums.iter().flatten() {
            let sum = expect.entry(*key).or_default();
            for (sum, count) in sum.iter_mut().zip(counts) {
                *sum += count;
            }
        }
        let all = aftr.softwire_traffics();
        let all: BTreeMap<_, _> = all.map(|(key, t)| (key, array(&t))).collect();
        assert_eq!(all, expect);
        for (key, counts) in &expect {
            assert_eq!(array(&aftr.softwire_traffic(key)), *counts);
        }
    }
}
