//! Operations: what happens to an lwAFTR, made from bytes.

use core::net::Ipv6Addr;
use std::collections::VecDeque;

use super::build::{
    self, End, binding, cut_v4, cut_v6, icmp, ipv4, ipv6, maybe_bend, maybe_damage, remote,
    subscriber, transport, tunnel_ends, tunnel_error,
};
use super::bytes::{CHUNK, Choices};
use super::world::{AFTR, OWN4, OWN6, b4, candidates, config, turn_a_knob};
use crate::model::{ModelBinding, ModelConfig, ModelSide};

/// The bytes of a run: its knobs, then one chunk for each operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ops {
    /// The knobs at the start.
    pub knobs: [u8; CHUNK],
    /// The operations.
    pub chunks: Vec<[u8; CHUNK]>,
}

/// What one operation asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A packet arrives.
    Packet(ModelSide, Vec<u8>),
    /// Time passes, in microseconds.
    Wait(u64),
    /// The clock is set back by so many microseconds, which nobody may take notice of.
    Back(u64),
    /// A binding comes, unless it is there.
    Add(ModelBinding),
    /// A binding goes, if it is there.
    Remove(ModelBinding),
    /// The knobs change.
    Knobs(Box<ModelConfig>),
}

impl Ops {
    /// Reads a run from bytes, whatever they are. An incomplete last chunk is filled with zeros.
    #[must_use]
    pub fn from_bytes(data: &[u8]) -> Self {
        let mut chunks: Vec<[u8; CHUNK]> = data
            .chunks(CHUNK)
            .map(|part| {
                let mut chunk = [0; CHUNK];
                chunk[..part.len()].copy_from_slice(part);
                chunk
            })
            .collect();
        let knobs = if chunks.is_empty() {
            [0; CHUNK]
        } else {
            chunks.remove(0)
        };
        Self { knobs, chunks }
    }

    /// The bytes it was read from.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        [&self.knobs[..], &self.chunks.concat()].concat()
    }

    /// `count` operations that follow from a seed.
    #[must_use]
    pub fn random(seed: u64, count: usize) -> Self {
        let mut choices = Choices::new(&seed.to_be_bytes());
        let mut bytes = Vec::new();
        while bytes.len() < CHUNK * (count + 1) {
            bytes.extend(choices.random().to_be_bytes());
        }
        bytes.truncate(CHUNK * (count + 1));
        Self::from_bytes(&bytes)
    }

    /// One line of hex digits for the knobs and for each operation.
    #[must_use]
    pub fn to_text(&self) -> String {
        let hex = |chunk: &[u8; CHUNK]| -> String {
            chunk
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect::<String>()
                + "\n"
        };
        let lines: String = self.chunks.iter().map(hex).collect();
        hex(&self.knobs) + &lines
    }

    /// Reads what [`to_text`](Self::to_text) wrote; `#` starts a comment.
    #[must_use]
    pub fn from_text(text: &str) -> Self {
        let digits: Vec<u8> = text
            .lines()
            .filter_map(|line| line.split('#').next())
            .flat_map(str::chars)
            .filter_map(|c| c.to_digit(16).map(|d| d as u8))
            .collect();
        let bytes: Vec<u8> = digits
            .chunks(2)
            .map(|d| d[0] << 4 | d.get(1).unwrap_or(&0))
            .collect();
        Self::from_bytes(&bytes)
    }

    /// The knobs at the start.
    #[must_use]
    pub fn config(&self) -> ModelConfig {
        config(&mut Choices::new(&self.knobs))
    }
}

/// Turns chunks into events, one chunk after the other.
#[derive(Clone, Debug, Default)]
pub struct Player {
    /// Fragments that are still on their way.
    pending: VecDeque<(ModelSide, Vec<u8>)>,
}

impl Player {
    /// What this operation does in the presence of these knobs.
    pub fn events(&mut self, chunk: &[u8], knobs: &ModelConfig) -> Vec<Event> {
        let c = &mut Choices::new(chunk);
        match c.below(64) {
            0..=11 => one(ModelSide::Softwire, up(c)),
            12..=23 => one(ModelSide::Internet, down(c)),
            24..=28 => self.fragments(c, outer_fragments),
            29..=32 => self.fragments(c, inner_fragments),
            33..=36 => self.fragments(c, internet_fragments),
            37..=41 => one(ModelSide::Softwire, hairpin(c)),
            42..=45 => {
                let about = binding(c);
                let mut packet = tunnel_error(c, &about);
                maybe_damage(c, &mut packet);
                one(ModelSide::Softwire, packet)
            }
            46 | 47 => own(c),
            48..=53 => vec![Event::Wait(wait(c))],
            54 | 55 => {
                let all = candidates();
                let entry = c.pick(&all);
                vec![if c.once_in(2) {
                    Event::Remove(entry)
                } else {
                    Event::Add(entry)
                }]
            }
            56 => {
                let mut knobs = knobs.clone();
                turn_a_knob(c, &mut knobs);
                vec![Event::Knobs(Box::new(knobs))]
            }
            57 | 58 => {
                let count = 1 + c.below(6);
                self.arrive(count)
            }
            59 => neighbor(c),
            60 => garbage(c),
            61 => in_tunnel_service(c),
            62 => burst(c),
            _ if c.once_in(2) => vec![Event::Back(u64::from(c.word()) * 1_000)],
            _ => vec![Event::Wait(u64::from(c.word()))],
        }
    }

    /// Cuts something up, loses and repeats and shuffles pieces, and lets some of them arrive now.
    fn fragments(
        &mut self,
        c: &mut Choices,
        make: fn(&mut Choices) -> (ModelSide, Vec<Vec<u8>>),
    ) -> Vec<Event> {
        let (side, mut pieces) = make(c);
        for _ in 0..c.pick(&[0, 0, 0, 1, 2]) {
            let at = c.below(pieces.len());
            match c.below(5) {
                0 => {
                    pieces.remove(at);
                }
                1 => pieces.push(again(c, side, &pieces[at])),
                2 => overlap(c, side, &mut pieces[at]),
                3 => maybe_damage(c, &mut pieces[at]),
                _ => {
                    let other = make(c).1;
                    pieces.extend(other.into_iter().take(2));
                }
            }
            if pieces.is_empty() {
                return Vec::new();
            }
        }
        if c.once_in(2) {
            for n in (1..pieces.len()).rev() {
                pieces.swap(n, c.below(n + 1));
            }
        }
        self.pending
            .extend(pieces.into_iter().map(|piece| (side, piece)));
        let count = if c.once_in(4) {
            c.below(3)
        } else {
            self.pending.len()
        };
        self.arrive(count)
    }

    fn arrive(&mut self, count: usize) -> Vec<Event> {
        let count = count.min(self.pending.len());
        self.pending
            .drain(..count)
            .map(|(side, packet)| Event::Packet(side, packet))
            .collect()
    }
}

fn one(side: ModelSide, packet: Vec<u8>) -> Vec<Event> {
    vec![Event::Packet(side, packet)]
}

/// A tunnel packet from a subscriber to the Internet.
fn up(c: &mut Choices) -> Vec<u8> {
    let from = binding(c);
    let (src, dst) = (subscriber(c, &from), remote(c));
    tunnelled(c, &from, src, dst)
}

/// A tunnel packet from one subscriber to another.
fn hairpin(c: &mut Choices) -> Vec<u8> {
    let (from, to) = (binding(c), binding(c));
    let (src, dst) = (subscriber(c, &from), subscriber(c, &to));
    tunnelled(c, &from, src, dst)
}

fn tunnelled(c: &mut Choices, from: &ModelBinding, src: End, dst: End) -> Vec<u8> {
    let mut inner = transport(c, src, dst, 2);
    maybe_bend(c, &mut inner);
    maybe_damage(c, &mut inner);
    let ends = tunnel_ends(c, from);
    let next = if c.once_in(48) {
        c.pick(&[41, 17, 6, 59, 50, 0, 132, 255])
    } else {
        4
    };
    let mut packet = ipv6(c, ends, next, &inner);
    maybe_damage(c, &mut packet);
    packet
}

/// A packet from the Internet to a subscriber, or to nobody.
fn down(c: &mut Choices) -> Vec<u8> {
    let to = binding(c);
    let mut dst = subscriber(c, &to);
    if c.once_in(16) {
        dst.ip = core::net::Ipv4Addr::new(192, 0, 2, 16 + c.below(16) as u8);
    }
    let src = if c.once_in(24) {
        let spoofed = binding(c);
        subscriber(c, &spoofed)
    } else {
        remote(c)
    };
    let mut packet = transport(c, src, dst, 2);
    maybe_bend(c, &mut packet);
    maybe_damage(c, &mut packet);
    packet
}

fn outer_fragments(c: &mut Choices) -> (ModelSide, Vec<Vec<u8>>) {
    let packet = match c.below(8) {
        0 => hairpin(c),
        1 => {
            let body = c.body(900);
            let message = [&[128, 0, 0, 0, 0, 7, 0, 1], &body[..]].concat();
            build::icmpv6(c, (b4(1), AFTR[0]), &message)
        }
        _ => up(c),
    };
    if packet.len() < 48 {
        return (ModelSide::Softwire, vec![packet]);
    }
    let id = c.below(3) as u32;
    (ModelSide::Softwire, cut_v6(c, &packet, id))
}

fn inner_fragments(c: &mut Choices) -> (ModelSide, Vec<Vec<u8>>) {
    let from = binding(c);
    let src = subscriber(c, &from);
    let dst = if c.once_in(3) {
        let to = binding(c);
        subscriber(c, &to)
    } else {
        remote(c)
    };
    let inner = transport(c, src, dst, 1);
    let ends = tunnel_ends(c, &from);
    let pieces = cut_v4(c, &inner);
    let pieces = pieces.iter().map(|piece| ipv6(c, ends, 4, piece)).collect();
    (ModelSide::Softwire, pieces)
}

fn internet_fragments(c: &mut Choices) -> (ModelSide, Vec<Vec<u8>>) {
    let to = binding(c);
    let (src, dst) = (remote(c), subscriber(c, &to));
    let packet = transport(c, src, dst, 1);
    (ModelSide::Internet, cut_v4(c, &packet))
}

/// A fragment once more, now and then with other bytes at its start, which in a first fragment are
/// its ports.
fn again(c: &Choices, side: ModelSide, piece: &[u8]) -> Vec<u8> {
    let mut piece = piece.to_vec();
    let at = if side == ModelSide::Internet { 0 } else { 40 };
    let start = piece.get(at).map_or(0, |first| usize::from(first & 15) * 4) + at;
    if let Some(byte) = piece.get_mut(start + 1)
        && c.clone().once_in(4)
    {
        *byte ^= 4;
    }
    piece
}

/// Moves a fragment, so that it overlaps its neighbors or leaves a hole.
fn overlap(c: &mut Choices, side: ModelSide, piece: &mut [u8]) {
    let delta = u16::from(c.byte() % 3 + 1);
    if side == ModelSide::Internet || piece.get(6) != Some(&44) {
        let at = if side == ModelSide::Internet { 0 } else { 40 };
        if let Some(inner) = piece.get_mut(at..) {
            let word = build::field(inner, 6);
            let moved = match c.below(8) {
                0 | 1 => word ^ 0x2000,
                2 => word | 0x1fff,
                _ => word ^ delta,
            };
            build::put(inner, 6, moved);
            build::fix_header(inner);
        }
    } else {
        let word = build::field(piece, 42);
        if c.once_in(6) {
            build::put(piece, 42, 0xffe8 | (word & 1)); // beyond what a packet can be
            return;
        }
        build::put(
            piece,
            42,
            if c.once_in(4) {
                word ^ 1
            } else {
                word ^ (delta << 3)
            },
        );
    }
}

/// Something for the box itself.
fn own(c: &mut Choices) -> Vec<Event> {
    let len = c.pick(&[0usize, 8, 56, 1232, 1400]);
    let body = c.body(len);
    if c.once_in(2) {
        let kind = c.pick(&[8, 8, 8, 0, 13, 3]);
        let message = icmp(c, kind, 0, 0x0007_0001, &body);
        let proto = if c.once_in(6) { 17 } else { 1 };
        let (src, dst) = (remote(c).ip, c.pick(&OWN4));
        let mut packet = ipv4(c, proto, src, dst, &message);
        maybe_damage(c, &mut packet);
        return one(ModelSide::Internet, packet);
    }
    let kind = c.pick(&[128, 128, 128, 129, 130, 1, 2, 100, 127, 140, 200, 255]);
    let message = [&[kind, 0, 0, 0, 0, 7, 0, 1], &body[..]].concat();
    let src = c.pick(&[
        b4(1),
        b4(2),
        Ipv6Addr::new(0x2001, 0xdb8, 0x77, 0, 0, 0, 0, 1),
    ]);
    let dst = c.pick(&[AFTR[0], AFTR[1], AFTR[2], OWN6]);
    let mut packet = build::icmpv6(c, (src, dst), &message);
    maybe_damage(c, &mut packet);
    one(ModelSide::Softwire, packet)
}

fn neighbor(c: &mut Choices) -> Vec<Event> {
    let kind = c.pick(&[133, 134, 135, 136, 137, 130, 143]);
    let message = [&[kind, 0, 0, 0, 0, 0, 0, 0][..], &AFTR[0].octets()].concat();
    let src = c.pick(&[b4(1), Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1)]);
    let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, 1);
    let wide = Ipv6Addr::new(0xff0e, 0, 0, 0, 0, 0, 0, 1);
    let dst = c.pick(&[AFTR[0], OWN6, group, group, wide]);
    one(ModelSide::Softwire, build::icmpv6(c, (src, dst), &message))
}

fn garbage(c: &mut Choices) -> Vec<Event> {
    let len = c.below(120);
    let mut packet: Vec<u8> = (0..len).map(|_| c.byte()).collect();
    let side = c.pick(&[ModelSide::Softwire, ModelSide::Internet]);
    if let Some(first) = packet.first_mut() {
        *first = if side == ModelSide::Softwire {
            0x60
        } else {
            0x45
        };
    }
    one(side, packet)
}

fn in_tunnel_service(c: &mut Choices) -> Vec<Event> {
    let from = binding(c);
    let inside = |host| End {
        ip: core::net::Ipv4Addr::new(192, 0, 0, host),
        port: 5351,
    };
    let ends = [inside(2), inside(1), subscriber(c, &from), inside(6)];
    let (src, dst) = (
        c.pick(&[ends[0], ends[0], ends[2], ends[3]]),
        c.pick(&[ends[1], ends[1], ends[0]]),
    );
    one(ModelSide::Softwire, tunnelled(c, &from, src, dst))
}

/// One bad packet several times in a row, so that rates are reached.
fn burst(c: &mut Choices) -> Vec<Event> {
    let side = c.pick(&[ModelSide::Softwire, ModelSide::Internet]);
    let packet = if side == ModelSide::Softwire {
        let from = binding(c);
        let mut src = subscriber(c, &from);
        src.port ^= 0x8000;
        let dst = remote(c);
        tunnelled(c, &from, src, dst)
    } else {
        let to = remote(c);
        let dst = End {
            ip: core::net::Ipv4Addr::new(192, 0, 2, 26),
            port: 7,
        };
        transport(c, to, dst, 0)
    };
    let count = 2 + c.below(14);
    let mut events = Vec::new();
    for _ in 0..count {
        events.push(Event::Packet(side, packet.clone()));
        if c.once_in(3) {
            events.push(Event::Wait(c.pick(&[1, 1_000, 99_999, 100_000, 200_000])));
        }
    }
    events
}

fn wait(c: &mut Choices) -> u64 {
    match c.below(8) {
        0 => 1,
        1 => u64::from(c.word()),
        2 => 1_000_000,
        3 => c.pick(&[14_999_999, 15_000_000, 15_000_001]),
        4 => c.pick(&[59_999_999, 60_000_000, 60_000_001]),
        5 => 600_000_000,
        _ => u64::from(c.word()) * 100,
    }
}
