//! One binding in memory, and how it changes under the eyes of readers.
//!
//! ```text
//! word 0   sequence (32) | AFTR index (16) | flags (16), flag bit 0 = present
//! word 1   B4 address, upper half
//! word 2   B4 address, lower half
//! word 3   IPv4 address (32) | PSID (16) | PSID offset (8) | PSID length (8)
//! ```
//! The sequence is odd while the writer is inside. A reader takes word 0, the data and word 0
//! again, and believes the data if both looks at word 0 agree on an even sequence.
//!
//! A writer that is interrupted inside a line would leave it unreadable, so the old content
//! stands in the *in-flight slot* before the line is touched. One writer means one line in
//! flight, hence one slot:
//!
//! ```text
//! word 0   sequence of the slot, odd while the writer fills it
//! word 1   number of the line
//! word 2   low half of its word 0
//! word 3-5 its words 1-3
//! ```
//! Either the slot or the line is whole at any moment, and both carry a value the binding had
//! at some time during the read. A reader that finds neither whole was overtaken in between; it
//! tries again. Orders, with the reason for each:
//! - the odd sequences are stored with `Release`: who sees the line odd also sees the slot that
//!   was filled for it, and who sees the slot odd also sees the line of the previous change
//!   finished;
//! - the `Release` fence behind them keeps the data stores after the odd sequence, for a reader
//!   that sees one of those stores and has its own `Acquire` fence before the second look;
//! - the even sequence is stored with `Release` and read with `Acquire`: the data comes with it.
//!
//! 32 bits of sequence repeat after 2^31 changes of one line: a reader would have to stand still
//! inside one look for hours.

use super::arena::{Group, Line};
use super::bits::{high32, join, low8, low16, low32};
use super::sync::{Ordering, fence, relax};

/// Flag bit 0 of word 0: the line holds a binding.
pub(super) const PRESENT: u32 = 1;

/// How often a reader looks at line and slot before it gives up as overtaken.
const TRIES: u32 = if cfg!(loom) { 2 } else { 64 };

/// What a line says, without its sequence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Image {
    /// AFTR index << 16 | flags.
    pub(super) meta: u32,
    /// B4 address.
    pub(super) b4: [u64; 2],
    /// Packed [`Key`].
    pub(super) key: u64,
}

impl Image {
    pub(super) fn is_present(&self) -> bool {
        self.meta & PRESENT != 0
    }
}

/// What a binding is found by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) ipv4: u32,
    pub(super) psid: u16,
    pub(super) offset: u8,
    pub(super) len: u8,
}

impl Key {
    pub(super) const fn pack(self) -> u64 {
        (self.ipv4 as u64) << 32
            | (self.psid as u64) << 16
            | (self.offset as u64) << 8
            | self.len as u64
    }

    pub(super) const fn unpack(word: u64) -> Self {
        Self {
            ipv4: high32(word),
            psid: low16(word >> 16),
            offset: low8(word >> 8),
            len: low8(word),
        }
    }
}

/// The writer's own view; needs no check because nobody else writes.
pub(super) fn peek(line: &Line) -> Image {
    let [w0, w1, w2, w3] = line;
    Image {
        meta: low32(w0.load(Ordering::Relaxed)),
        b4: [w1.load(Ordering::Relaxed), w2.load(Ordering::Relaxed)],
        key: w3.load(Ordering::Relaxed),
    }
}

/// Replaces the content of line `number`; `slot` is the in-flight slot.
pub(super) fn write(line: &Line, number: u32, slot: &Group, new: &Image) {
    park(slot, number, &peek(line));
    let [w0, w1, w2, w3] = line;
    let before = w0.load(Ordering::Relaxed);
    let sequence = high32(before);
    w0.store(
        join(sequence.wrapping_add(1), low32(before)),
        Ordering::Release,
    );
    fence(Ordering::Release);
    w1.store(new.b4[0], Ordering::Relaxed);
    w2.store(new.b4[1], Ordering::Relaxed);
    w3.store(new.key, Ordering::Relaxed);
    w0.store(join(sequence.wrapping_add(2), new.meta), Ordering::Release);
}

/// Puts the old content of a line into the in-flight slot.
fn park(slot: &Group, number: u32, old: &Image) {
    let [sequence, line, meta, b4_high, b4_low, key, ..] = slot;
    let before = sequence.load(Ordering::Relaxed);
    sequence.store(before.wrapping_add(1), Ordering::Release);
    fence(Ordering::Release);
    line.store(u64::from(number), Ordering::Relaxed);
    meta.store(u64::from(old.meta), Ordering::Relaxed);
    b4_high.store(old.b4[0], Ordering::Relaxed);
    b4_low.store(old.b4[1], Ordering::Relaxed);
    key.store(old.key, Ordering::Relaxed);
    sequence.store(before.wrapping_add(2), Ordering::Release);
}

/// Reads line `number`. `None`: the writer overtook every try.
///
/// The fences make what one look saw known to the next one: without them a slot that has long
/// been filled might still look unfinished.
pub(super) fn read(line: &Line, number: u32, slot: &Group) -> Option<Image> {
    for _ in 0..TRIES {
        if let Some(image) = read_line(line) {
            return Some(image);
        }
        fence(Ordering::Acquire);
        if let Some(image) = read_slot(slot, number) {
            return Some(image);
        }
        fence(Ordering::Acquire);
        relax();
    }
    None
}

/// One look at the line.
pub(super) fn read_line(line: &Line) -> Option<Image> {
    let [w0, w1, w2, w3] = line;
    let first = w0.load(Ordering::Acquire);
    let b4 = [w1.load(Ordering::Relaxed), w2.load(Ordering::Relaxed)];
    let key = w3.load(Ordering::Relaxed);
    fence(Ordering::Acquire);
    let second = w0.load(Ordering::Relaxed);
    (first == second && is_stable(first)).then_some(Image {
        meta: low32(first),
        b4,
        key,
    })
}

/// Whether a word 0 has an even sequence.
pub(super) const fn is_stable(w0: u64) -> bool {
    w0 & 1 << 32 == 0
}

/// One look at the in-flight slot.
fn read_slot(slot: &Group, number: u32) -> Option<Image> {
    let [sequence, line, meta, b4_high, b4_low, key, ..] = slot;
    let first = sequence.load(Ordering::Acquire);
    let found = line.load(Ordering::Relaxed);
    let image = Image {
        meta: low32(meta.load(Ordering::Relaxed)),
        b4: [
            b4_high.load(Ordering::Relaxed),
            b4_low.load(Ordering::Relaxed),
        ],
        key: key.load(Ordering::Relaxed),
    };
    fence(Ordering::Acquire);
    let second = sequence.load(Ordering::Relaxed);
    (first == second && first & 1 == 0 && found == u64::from(number)).then_some(image)
}
