//! Choices drawn from bytes.

/// Bytes of one operation. What it does follows from them alone.
pub const CHUNK: usize = 24;

/// Draws choices: first from the bytes of an operation, so that a fuzzer can steer each of them, then
/// from a generator seeded with those bytes.
#[derive(Clone, Debug)]
pub struct Choices {
    bytes: Vec<u8>,
    at: usize,
    state: u64,
}

impl Choices {
    /// Choices that follow from `bytes`.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        let state = bytes
            .iter()
            .fold(0xcbf2_9ce4_8422_2325, |hash: u64, &byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
            });
        Self {
            bytes: bytes.to_vec(),
            at: 0,
            state: state | 1,
        }
    }

    /// Sixty-four random bits (xorshift64*).
    pub fn random(&mut self) -> u64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        self.state.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// One byte.
    pub fn byte(&mut self) -> u8 {
        self.at += 1;
        match self.bytes.get(self.at - 1) {
            Some(&byte) => byte,
            None => (self.random() >> 32) as u8,
        }
    }

    /// Two bytes.
    pub fn word(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    /// A number below `n`, which is at most 65536.
    pub fn below(&mut self, n: usize) -> usize {
        if n <= 256 {
            usize::from(self.byte()) % n
        } else {
            usize::from(self.word()) % n
        }
    }

    /// True once in `n` times.
    pub fn once_in(&mut self, n: usize) -> bool {
        self.below(n) == n - 1
    }

    /// One of several.
    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// A body of `len` bytes whose content does not matter.
    pub fn body(&mut self, len: usize) -> Vec<u8> {
        let first = self.byte();
        (0..len).map(|n| first.wrapping_add(n as u8)).collect()
    }
}
