//! Cutting words into fields. The cuts are meant, so the lint is answered here once.

/// Bits 0..32.
#[expect(clippy::cast_possible_truncation, reason = "the cut is the purpose")]
pub(super) const fn low32(word: u64) -> u32 {
    word as u32
}

/// Bits 32..64.
pub(super) const fn high32(word: u64) -> u32 {
    low32(word >> 32)
}

/// Bits 0..16.
#[expect(clippy::cast_possible_truncation, reason = "the cut is the purpose")]
pub(super) const fn low16(word: u64) -> u16 {
    word as u16
}

/// Bits 0..8.
#[expect(clippy::cast_possible_truncation, reason = "the cut is the purpose")]
pub(super) const fn low8(word: u64) -> u8 {
    word as u8
}

/// Two 32-bit halves as one word.
pub(super) const fn join(high: u32, low: u32) -> u64 {
    (high as u64) << 32 | low as u64
}

/// The high word of `fraction / 2^32 * count`: maps 32 hash bits onto `0..count`.
pub(super) const fn scale(fraction: u32, count: u32) -> u32 {
    high32(fraction as u64 * count as u64)
}
