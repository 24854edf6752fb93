//! The program against an obvious model: in an interpreter, and in the kernel.
#![expect(
    clippy::cast_possible_truncation,
    reason = "numbers of tests are small"
)]

use std::collections::BTreeMap;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::super::testing::{MACS, on_a_wire, queue};
use super::super::{FrameBatch, Group, InterfaceName, OpenOptions, PacketIo, Rings, open};
use super::*;
use crate::config::Io;
use crate::stopwatch::{Stopwatch, wait};

/// What the kernel does with the program: `ethertype` and `packet` are those behind the tag that it
/// took off.
fn run(program: &[Instruction], ethertype: u32, packet: &[u8]) -> u32 {
    let (mut a, mut x, mut m, mut at) = (0u32, 0u32, [0u32; 16], 0usize);
    // A load from outside ends the program with 0.
    let load = |offset: u32, len: usize| {
        let offset = offset as usize;
        let bytes = packet.get(offset..offset + len)?;
        Some(
            bytes
                .iter()
                .fold(0u32, |value, &byte| value << 8 | u32::from(byte)),
        )
    };
    loop {
        let one = program[at];
        at += 1;
        let k = one.value;
        let mut go = |holds| {
            at += usize::from(if holds { one.jump_true } else { one.jump_false });
            Some(a)
        };
        let loaded = match one.code {
            LD_ABS if k == PROTOCOL => Some(ethertype),
            LD_ABS => load(k, 4),
            LDH_ABS => load(k, 2),
            LD_IND => load(x + k, 4),
            LDB_IND => load(x + k, 1),
            LD_MEM => Some(m[k as usize]),
            JEQ => go(a == k),
            JGE => go(a >= k),
            JGT => go(a > k),
            LDX_IMM => {
                x = k;
                Some(a)
            }
            LDX_MEM => {
                x = m[k as usize];
                Some(a)
            }
            ST => {
                m[k as usize] = a;
                Some(a)
            }
            TAX => {
                x = a;
                Some(a)
            }
            MUL => Some(a.wrapping_mul(k)),
            RSH => Some(a >> k),
            XOR_X => Some(a ^ x),
            RET => return k,
            RET_A => return a,
            other => panic!("unknown instruction {other:#x}"),
        };
        match loaded {
            Some(value) => a = value,
            None => return 0,
        }
    }
}

/// The same, as one would say it.
fn model(ethertype: u32, packet: &[u8]) -> u32 {
    let (ethertype, packet) = match (ethertype, packet) {
        (VLAN | SERVICE_VLAN, [_, _, a, b, rest @ ..]) => {
            (u32::from(u16::from_be_bytes([*a, *b])), rest)
        }
        other => other,
    };
    let hash = |bytes: Option<&[u8]>| {
        let words = bytes?
            .chunks(4)
            .map(|word| u32::from_be_bytes(word.try_into().unwrap()));
        let mixed = words.fold(0u32, |hash, word| {
            let hash = hash ^ word;
            (hash ^ hash >> 16).wrapping_mul(MULTIPLIER)
        });
        Some(mixed >> 16)
    };
    let hashed = match ethertype {
        IPV4 => hash(packet.get(12..20)),
        IPV6 if packet.get(6) == Some(&58) => match packet.get(40) {
            None | Some(133..=137) => Some(0),
            Some(_) => hash(packet.get(8..24)),
        },
        IPV6 => hash(packet.get(8..24)),
        _ => Some(0),
    };
    hashed.unwrap_or(0)
}

#[test]
fn the_program_does_what_the_model_says_for_every_frame_and_prefix() {
    let mut random = StdRng::seed_from_u64(1);
    let program = program();
    let scale = std::env::var("LW4O6_SCALE").map_or(1, |scale| scale.parse().unwrap());
    let mut steered = 0;
    for _ in 0..50_000 * scale {
        let kinds = [
            IPV4,
            IPV6,
            IPV6,
            VLAN,
            SERVICE_VLAN,
            0x0806,
            random.random_range(0..65_536),
        ];
        let ethertype = kinds[random.random_range(0..kinds.len())];
        let mut packet = [0u8; 60];
        random.fill(&mut packet);
        let base = if matches!(ethertype, VLAN | SERVICE_VLAN) {
            let inner = kinds[random.random_range(0..kinds.len())] as u16;
            packet[2..4].copy_from_slice(&inner.to_be_bytes());
            4
        } else {
            0
        };
        if random.random() {
            packet[base + 6] = 58;
            packet[base + 40] = random.random_range(128..142);
        }
        let packet = &packet[..random.random_range(0..=60)];
        let worker = run(&program, ethertype, packet);
        assert_eq!(
            worker,
            model(ethertype, packet),
            "{ethertype:#x} {packet:02x?}"
        );
        steered += u32::from(worker > 0);
    }
    assert!(steered > 10_000);
}

#[test]
fn neighbor_discovery_and_arp_are_worker_0s() {
    let program = program();
    let mut packet = [0x5a; 60];
    packet[6] = 58;
    for kind in 0..=255 {
        packet[40] = kind;
        let is_discovery = (133..=137).contains(&kind);
        assert_eq!(run(&program, IPV6, &packet) == 0, is_discovery, "{kind}");
    }
    assert_eq!(run(&program, 0x0806, &packet), 0);
}

#[test]
fn neighboring_addresses_spread_over_the_workers_whichever_bits_they_differ_in() {
    let program = program();
    for workers in [2u32, 3, 4, 8, 16] {
        for shift in 0..=112 {
            let mut counts = vec![0u32; workers as usize];
            for number in 0..1024u128 {
                let address = 0x2001_0db8 << 96 ^ number << shift;
                let mut packet = [0u8; 60];
                packet[8..24].copy_from_slice(&address.to_be_bytes());
                counts[(run(&program, IPV6, &packet) % workers) as usize] += 1;
            }
            let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
            assert!(
                *least * workers > 400 && *most * workers < 2048,
                "{workers} {shift} {counts:?}"
            );
        }
    }
}

/// Tag, network header and so on of a frame from `a` to `b`; all bytes behind tell the datagram.
fn frame(tag: &[u8], ethertype: [u8; 2], packet: &[u8]) -> Vec<u8> {
    let mut frame = [MACS[1].0, MACS[0].0].concat();
    frame.extend(tag);
    frame.extend(ethertype);
    frame.extend(packet);
    frame.resize(frame.len().max(60), 0);
    frame
}

/// A fragment of an IPv6 packet from host `number`; `number` is behind the headers too.
fn ipv6(number: u8, offset: u8) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0, 0, 16, 44, 64];
    packet.extend([0x20, 1, 0xd, 0xb8, 0, 0, 0, number, 0, 0, 0, 0, 0, 0, 0, 1]);
    packet.extend([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0xff, 0, 0, 0, 0, 0, 0, 0, 1]);
    packet.extend([4, 0, 0, offset, 0, 0, 0, offset]);
    packet.extend([6, number]);
    packet
}

fn ipv4(number: u8, offset: u8) -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 30, 0, number, 0x20, offset, 64, 17, 0, 0];
    packet.extend([192, 0, 2, number, 198, 51, 100, 1]);
    packet.extend([4, number]);
    packet
}

/// Family and number of the datagram that a frame is a piece of.
fn datagram(frame: &[u8]) -> (u8, u8) {
    let at = if frame[12] == 0x81 { 18 } else { 14 };
    let behind = if frame[at] >> 4 == 4 { 20 } else { 48 };
    (frame[at + behind], frame[at + behind + 1])
}

fn workers(io: Io, group: &Group) -> Vec<Box<dyn PacketIo + Send>> {
    let name: InterfaceName = "b".parse().unwrap();
    let one = |worker| {
        let options = OpenOptions {
            io,
            worker,
            workers: 2,
            group: group.clone(),
            ..OpenOptions::default()
        };
        open(&name, &options).unwrap()
    };
    vec![one(0), one(1)]
}

/// Frames of each worker until `count` are there.
fn receive(workers: &mut [Box<dyn PacketIo + Send>], count: usize) -> Vec<Vec<Vec<u8>>> {
    let mut got = vec![Vec::new(); workers.len()];
    let mut batch = FrameBatch::new(1518);
    let watch = Stopwatch::start();
    while got.iter().map(Vec::len).sum::<usize>() < count
        && watch.elapsed() < Duration::from_secs(2)
    {
        for (io, got) in workers.iter_mut().zip(&mut got) {
            io.receive(&mut batch).unwrap();
            got.extend(batch.frames().iter().map(|frame| frame.packet().to_vec()));
        }
        wait(Duration::from_millis(1));
    }
    got
}

fn fragments() -> Vec<Vec<u8>> {
    let tags: [&[u8]; 2] = [&[], &[0x81, 0, 0, 9]];
    let mut frames = Vec::new();
    // First pieces, then last pieces backwards: they are far apart and in any order.
    for offset in [0, 8] {
        for number in 0..=100 {
            let number = if offset == 0 { number } else { 100 - number };
            let tag = tags[usize::from(number % 2)];
            frames.push(frame(tag, [0x86, 0xdd], &ipv6(number, offset)));
            frames.push(frame(tag, [8, 0], &ipv4(number, offset)));
        }
    }
    frames
}

#[test]
fn the_kernel_gives_all_fragments_of_a_datagram_to_one_of_two_workers() {
    for io in [Io::Rings, Io::LowLatency] {
        on_a_wire("steering", true, move |_| {
            let mut a = Rings::open("a", &OpenOptions::default()).unwrap();
            let mut b = workers(io, &Group::default());
            let frames = fragments();
            assert_eq!(a.transmit(&queue(&frames)).unwrap(), frames.len());
            let got = receive(&mut b, frames.len());
            assert_eq!(got.iter().map(Vec::len).sum::<usize>(), frames.len());
            let mut pieces: BTreeMap<_, Vec<usize>> = BTreeMap::new();
            for (worker, frames) in got.iter().enumerate() {
                for frame in frames {
                    pieces.entry(datagram(frame)).or_default().push(worker);
                }
            }
            assert_eq!(pieces.len(), 202);
            for (datagram, workers) in &pieces {
                assert!(workers == &[0, 0] || workers == &[1, 1], "{datagram:?}");
            }
            for family in [4, 6] {
                let of_0 = pieces
                    .iter()
                    .filter(|((f, _), w)| *f == family && w[0] == 0)
                    .count();
                assert!((20..80).contains(&of_0), "IPv{family}: {of_0} of 101");
            }
            // As the program says, in the kernel's own words.
            for (worker, frames) in got.iter().enumerate() {
                for frame in frames {
                    let at = if frame[12] == 0x81 { 16 } else { 12 };
                    let ethertype = u32::from(u16::from_be_bytes([frame[at], frame[at + 1]]));
                    assert_eq!(model(ethertype, &frame[at + 2..]) % 2, worker as u32);
                }
            }
        });
    }
}

#[test]
fn neighbor_discovery_reaches_worker_0_also_after_the_interface_was_made_again() {
    on_a_wire("steering again", true, |netlink| {
        let group = Group::default();
        let mut b = workers(Io::Rings, &group);
        let index = netlink.link("b").unwrap().index;
        netlink.delete_link(index).unwrap();
        receive(&mut b, 1);
        assert!(b.iter().all(|io| !io.is_up()));
        super::super::testing::wire(netlink, true);
        let mut a = Rings::open("a", &OpenOptions::default()).unwrap();
        // Worker 1 looks first, and has to wait for its turn.
        let mut batch = FrameBatch::new(1518);
        b[1].receive(&mut batch).unwrap();
        assert!(!b[1].is_up());
        let watch = Stopwatch::start();
        while !b.iter().all(|io| io.is_up()) && watch.elapsed() < Duration::from_secs(5) {
            receive(&mut b, 1);
        }
        let mut discovery = ipv6(7, 0);
        discovery[6] = 58;
        discovery[40] = 135;
        let arp = frame(&[], [8, 6], &[0; 28]);
        let mut frames = vec![frame(&[], [0x86, 0xdd], &discovery), arp];
        frames.extend(fragments());
        let mut got = Vec::new();
        for _ in 0..100 {
            a.transmit(&queue(&frames)).unwrap();
            got = receive(&mut b, frames.len());
            if got.iter().map(Vec::len).sum::<usize>() == frames.len() {
                break;
            }
        }
        assert_eq!(got[0][..2], frames[..2]);
        assert!(got.iter().all(|got| got.len() > 40));
    });
}
