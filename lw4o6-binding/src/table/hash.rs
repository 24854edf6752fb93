//! Keyed hashes. All secrets come from `TableConfig::hash_seed`.

use core::hash::Hasher as _;

use siphasher::sip::SipHasher13;
use siphasher::sip128::{Hasher128 as _, SipHasher13 as SipHasher13x128};

use super::bits::{high32, join};

/// Two multiplications fold a key; the seed keeps the layout private.
///
/// Keys (IPv4, PSID) are chosen by the operator, and a lookup costs two buckets whatever is
/// asked for, so an unkeyed attacker wins nothing here. B4 addresses are chosen by subscribers:
/// they get SipHash.
#[derive(Clone, Copy)]
pub(super) struct Secrets {
    sip: [u8; 16],
    mix: [u64; 4],
}

impl Secrets {
    pub(super) fn new(seed: &[u8; 16]) -> Self {
        let mix = [1_u64, 2, 3, 4].map(|label| {
            let mut hasher = SipHasher13::new_with_key(seed);
            hasher.write_u64(label);
            hasher.finish() | 1
        });
        Self { sip: *seed, mix }
    }

    /// Hash of an (IPv4, PSID) pair or of an address alone: bucket bits and a fingerprint.
    pub(super) fn key(&self, ipv4: u32, psid: u16) -> (u64, u32) {
        let [a, b, c, d] = self.mix;
        let hash = fold(join(ipv4, u32::from(psid)) ^ a, b);
        (hash, high32(fold(hash ^ c, d)))
    }

    /// Hash of an IPv6 address: bucket bits and a fingerprint.
    pub(super) fn address(&self, address: [u64; 2]) -> (u64, u64) {
        let mut hasher = SipHasher13x128::new_with_key(&self.sip);
        hasher.write_u64(address[0]);
        hasher.write_u64(address[1]);
        let hash = hasher.finish128();
        (hash.h1, hash.h2)
    }
}

impl core::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Secrets")
    }
}

/// High and low half of the 128-bit product, one laid over the other.
fn fold(a: u64, b: u64) -> u64 {
    let (low, high) = split(u128::from(a) * u128::from(b));
    low ^ high
}

/// An IPv6 address as two words in network order.
pub(super) fn halves(address: &[u8; 16]) -> [u64; 2] {
    let value = u128::from_be_bytes(*address);
    let (low, high) = split(value);
    [high, low]
}

/// The bytes of an IPv6 address.
pub(super) fn bytes(halves: [u64; 2]) -> [u8; 16] {
    (u128::from(halves[0]) << 64 | u128::from(halves[1])).to_be_bytes()
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the two halves of the value"
)]
fn split(value: u128) -> (u64, u64) {
    (value as u64, (value >> 64) as u64)
}
