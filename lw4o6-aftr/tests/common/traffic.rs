//! Random traffic from both sides, with fragments, errors and broken packets among it.
#![allow(clippy::indexing_slicing, reason = "a panic is a failed test")]

use lw4o6_aftr::Side;
use testkit::packet::{V4, V6, tunnel};

use super::{AFTR, AFTR2, B4, B4_FULL, B4_NEXT, B4_RANGE, B4_RANGE9};

/// A small generator; the law has to hold for whatever it gives.
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from((self.0 >> 16) % sides as u64).unwrap_or(0)
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.roll(from.len())]
    }

    pub fn shuffle<T>(&mut self, list: &mut [T]) {
        for last in (1..list.len()).rev() {
            list.swap(last, self.roll(last + 1));
        }
    }
}

const OURS: [&str; 6] = [
    "192.0.2.18:1232",
    "192.0.2.18:1236",
    "192.0.2.18:9",
    "192.0.2.20:80",
    "192.0.2.21:5121",
    "192.0.2.21:9999",
];
const B4S: [&str; 6] = [
    B4,
    B4_NEXT,
    B4_FULL,
    B4_RANGE,
    B4_RANGE9,
    "2001:db8:dead::1",
];
const THEIRS: [&str; 3] = ["198.51.100.1:53", "198.51.100.2:5000", "192.0.2.33:1"];

/// A packet between two ends, of a random kind.
fn inner(dice: &mut Dice, src: &str, dst: &str) -> V4 {
    let host = |text: &str| text.split(':').next().unwrap_or_default().to_owned();
    let len = dice.pick(&[0, 1, 100, 1400, 1472, 1473, 3000, 9000]);
    let packet = match dice.roll(8) {
        0 => V4::tcp(src, dst, 0x10).payload(&vec![1; len]),
        1 => V4::syn(src, dst, 1460, dice.roll(3)),
        2 => V4::echo(dice.pick(&[0, 8, 13]), &host(src), &host(dst), 1232),
        3 => {
            let about = V4::udp(dst, src).payload(&[0; 20]).build();
            V4::icmp_error(&host(src), &host(dst), dice.pick(&[3, 11]), 1, &about)
        }
        4 => V4::raw(47, &host(src), &host(dst), &[0; 12]),
        _ => V4::udp(src, dst).payload(&vec![2; len]),
    };
    let packet = match dice.roll(4) {
        0 => packet.df(),
        _ => packet,
    };
    let ident = u16::try_from(dice.roll(0x1_0000)).unwrap_or(0);
    packet
        .ttl(dice.pick(&[0, 1, 2, 64, 64, 64, 64]))
        .tos(dice.pick(&[0, 1, 2, 3, 0xb8]))
        .ident(ident)
}

/// Packets that are sent together; some are fragments of one datagram.
pub fn burst(dice: &mut Dice) -> (Side, Vec<Vec<u8>>) {
    let (ours, theirs) = (dice.pick(&OURS), dice.pick(&THEIRS));
    if dice.roll(2) == 0 {
        let dst = if dice.roll(12) == 0 {
            "203.0.113.1:7"
        } else {
            ours
        };
        let packet = inner(dice, theirs, dst);
        let packets = match dice.roll(4) {
            0 => packet.fragments(dice.pick(&[8, 1024])),
            _ => vec![packet.build()],
        };
        return (Side::Internet, packets);
    }
    let to = if dice.roll(3) == 0 {
        dice.pick(&OURS)
    } else {
        theirs
    };
    let packet = inner(dice, ours, to);
    let inners = match dice.roll(4) {
        0 => packet.fragments(dice.pick(&[64, 1232])),
        _ => vec![packet.build()],
    };
    let (b4, aftr) = (dice.pick(&B4S), dice.pick(&[AFTR, AFTR, AFTR, AFTR2]));
    let mut packets = Vec::new();
    for inner in inners {
        let packet = tunnel(b4, aftr, &inner).traffic_class(dice.pick(&[0, 1, 2, 3, 0x48]));
        let packet = if dice.roll(8) == 0 {
            packet.limit(4)
        } else {
            packet
        };
        if dice.roll(4) == 0 {
            let ident = u32::try_from(dice.roll(3)).unwrap_or(0);
            packets.extend(packet.fragments(dice.pick(&[512, 1280]), ident));
        } else {
            packets.push(packet.build());
        }
    }
    if dice.roll(6) == 0 {
        let quoted = tunnel(AFTR, B4, &inner(dice, theirs, ours).build()).build();
        let quoted = quoted.get(..200).unwrap_or(&quoted);
        packets.push(V6::icmp(REMOTE6, AFTR, dice.pick(&[1, 2, 3, 4]), 0, 1400, quoted).build());
        packets.push(V6::icmp(B4, AFTR, 128, 0, 7, &vec![5; dice.pick(&[8, 1480])]).build());
    }
    (Side::Softwire, packets)
}

const REMOTE6: &str = "2001:db8:99::1";

/// Runs of packets from one side, some broken, in an order that fragments do not like.
pub fn traffic(seed: u64, count: usize, run: usize) -> Vec<(Side, Vec<Vec<u8>>)> {
    let mut dice = Dice(seed);
    let mut runs = Vec::new();
    let mut sides = [Vec::new(), Vec::new()];
    for _ in 0..count {
        let (side, packets) = burst(&mut dice);
        let waiting = &mut sides[usize::from(side == Side::Internet)];
        waiting.extend(packets);
        for packet in waiting.iter_mut() {
            if dice.roll(60) == 0 && !packet.is_empty() {
                let at = dice.roll(packet.len());
                packet[at] ^= 1 << dice.roll(8);
            }
        }
        if dice.roll(run) == 0 {
            let mut packets = core::mem::take(waiting);
            if dice.roll(2) == 0 {
                dice.shuffle(&mut packets);
            }
            runs.push((side, packets));
        }
    }
    runs
}

/// How much of everything; scales with the environment variable `LW4O6_SCALE`.
pub fn scale() -> u64 {
    let text = std::env::var("LW4O6_SCALE").unwrap_or_default();
    text.parse().unwrap_or(1)
}
