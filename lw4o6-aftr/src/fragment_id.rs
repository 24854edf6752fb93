//! Identifications of IPv6 fragments (RFC 7739 §5.3).
//!
//! An identification is a keyed hash of both addresses plus a counter that all destinations of one
//! /64 share with few others: nobody outside can guess it, and one pair of addresses sees it again
//! only after 2^32 packets. The hash is uniform in every bit, so the lower 16 bits are as good.

use core::net::Ipv6Addr;
use core::sync::atomic::{AtomicU32, Ordering};

use siphasher::sip::SipHasher13;

/// Counters, as RFC 7739 §5.3 suggests.
const COUNTERS: usize = 8192;

/// Source of identifications. Workers share one, so that two of them never give the same
/// identification to one B4.
///
/// Instances that share a tunnel address must not share the secret.
#[derive(Debug)]
pub(crate) struct FragmentIds {
    offset: SipHasher13,
    choice: SipHasher13,
    counters: Box<[AtomicU32]>,
}

impl FragmentIds {
    /// Identifications from 32 secret bytes.
    pub(crate) fn new(secret: &[u8; 32]) -> Self {
        let (mut first, mut second) = ([0; 16], [0; 16]);
        first.copy_from_slice(&secret[..16]);
        second.copy_from_slice(&secret[16..]);
        let choice = SipHasher13::new_with_key(&second);
        Self {
            offset: SipHasher13::new_with_key(&first),
            choice,
            // Inputs of 8 bytes cannot meet those of `next`, which have 24.
            counters: (0..COUNTERS as u64)
                .map(|index| AtomicU32::new(low(choice.hash(&index.to_be_bytes()))))
                .collect(),
        }
    }

    /// The identification of the next packet between two addresses. // R-159
    pub(crate) fn next(&self, src: Ipv6Addr, dst: Ipv6Addr) -> u32 {
        let (src, dst) = (src.octets(), dst.octets());
        let mut pair = [0; 32];
        pair[..16].copy_from_slice(&src);
        pair[16..].copy_from_slice(&dst);
        let offset = low(self.offset.hash(&pair));
        let choice = low(self.choice.hash(&pair[..24])) as usize % COUNTERS;
        let count = match self.counters.get(choice) {
            Some(counter) => counter.fetch_add(1, Ordering::Relaxed),
            None => 0, // not reached: the remainder is an index
        };
        offset.wrapping_add(count)
    }
}

#[expect(clippy::cast_possible_truncation, reason = "half of a hash is wanted")]
const fn low(hash: u64) -> u32 {
    hash as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(last: u16) -> Ipv6Addr {
        Ipv6Addr::new(0x2001, 0xdb8, 0, last, 0, 0, 0, 1)
    }

    #[test]
    fn ids_of_one_pair_do_not_come_back_soon() {
        //
        let ids = FragmentIds::new(&[7; 32]);
        let first = ids.next(addr(1), addr(2));
        for step in 1..10_000 {
            assert_eq!(ids.next(addr(1), addr(2)), first.wrapping_add(step));
        }
    }

    #[test]
    fn pairs_and_secrets_give_unrelated_ids() {
        //
        let (one, two) = (FragmentIds::new(&[1; 32]), FragmentIds::new(&[2; 32]));
        let mut seen = std::collections::BTreeSet::new();
        let mut low_bits = std::collections::BTreeSet::new();
        for pair in 0..1_000 {
            for ids in [&one, &two] {
                let id = ids.next(addr(0), addr(pair));
                seen.insert(id);
                low_bits.insert(id & 0xffff);
            }
        }
        assert!(seen.len() >= 1_998, "{} of 2000", seen.len());
        // 2,000 balls in 65,536 boxes hit 1,970 of them on average.
        assert!(low_bits.len() > 1_930, "{} of 2000", low_bits.len());
    }
}
