//! Path MTU towards each B4, learned from Packet Too Big (RFC 8201, RFC 2473 §6.7).
//!
//! The cache only ever lowers what is configured, forgets after ten minutes, and has a fixed size;
//! workers share it without a lock. Whether the message was about a packet of ours, and
//! whether this is done at all, the caller decides.

use core::net::Ipv6Addr;
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;

use lw4o6_wire::Instant;
use siphasher::sip::SipHasher13;

/// Smallest path MTU of IPv6 (RFC 8200 §5).
pub(crate) const MIN_MTU: u32 = 1280;

/// How long a lowered MTU holds: what RFC 8201 §4 recommends, twice the minimum. // R-151
pub(crate) const LIFETIME: Duration = Duration::from_secs(600);

/// Entries in one set.
const WAYS: usize = 8;

/// Tag of an entry that is being written. That of one which nobody owns is 0.
const BUSY: u64 = 1;

/// What a Packet Too Big did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Learned {
    /// The path MTU is that of the message from now on.
    Lowered,
    /// The path MTU was as low already.
    Unchanged,
    /// The message claims less than IPv6 allows. // R-150
    Invalid,
}

/// Learned path MTUs, a fixed number of them.
#[derive(Debug)]
pub(crate) struct PathMtus {
    sets: Box<[[Entry; WAYS]]>,
    hasher: SipHasher13,
}

/// A writer owns an entry while its tag is [`BUSY`]. A reader that finds the same tag before and
/// after reads one owner's values; where it does not, it uses what is configured for one packet.
#[derive(Debug, Default)]
struct Entry {
    tag: AtomicU64, // hash of the B4's address
    mtu: AtomicU64, // all 32 bits of the message
    expires: AtomicU64,
}

impl PathMtus {
    /// Room for at least `entries` B4s.
    pub(crate) fn new(entries: usize, secret: [u8; 16]) -> Self {
        let sets = entries.div_ceil(WAYS).next_power_of_two();
        Self {
            sets: (0..sets).map(|_| Default::default()).collect(),
            hasher: SipHasher13::new_with_key(&secret),
        }
    }

    /// Takes in the MTU of a Packet Too Big about a packet to `b4`. A full set forgets the entry
    /// that would go first.
    pub(crate) fn learn(&self, now: Instant, b4: Ipv6Addr, mtu: u32) -> Learned {
        if mtu < MIN_MTU {
            return Learned::Invalid;
        }
        let (tag, Some(set)) = self.set(b4) else {
            return Learned::Unchanged;
        };
        let loaded = |value: &AtomicU64| value.load(Ordering::Relaxed);
        let known = set.iter().find(|entry| loaded(&entry.tag) == tag);
        let entry = known.or_else(|| {
            set.iter()
                .filter(|entry| loaded(&entry.tag) != BUSY)
                .min_by_key(|entry| loaded(&entry.expires))
        });
        let Some(entry) = entry else {
            return Learned::Unchanged; // all eight are being written: one message is lost
        };
        let old = loaded(&entry.tag);
        let claimed = entry
            .tag
            .compare_exchange(old, BUSY, Ordering::Acquire, Ordering::Relaxed);
        if old == BUSY || claimed.is_err() {
            return Learned::Unchanged; // another worker writes it
        }
        let live = old == tag && loaded(&entry.expires) > now.as_micros();
        let before = loaded(&entry.mtu);
        let learned = if live && u64::from(mtu) >= before {
            Learned::Unchanged // never raised
        } else {
            entry.mtu.store(mtu.into(), Ordering::Release);
            Learned::Lowered
        };
        if !live || u64::from(mtu) <= before {
            let expires = (now + LIFETIME).as_micros();
            entry.expires.store(expires, Ordering::Release);
        }
        entry.tag.store(tag, Ordering::Release);
        learned
    }

    /// The MTU towards `b4` in bytes of IPv6 packet, `configured` or less.
    pub(crate) fn get(&self, now: Instant, b4: Ipv6Addr, configured: u32) -> u32 {
        let (tag, Some(set)) = self.set(b4) else {
            return configured;
        };
        let owner = |entry: &Entry| entry.tag.load(Ordering::Acquire);
        let Some(entry) = set.iter().find(|entry| owner(entry) == tag) else {
            return configured;
        };
        let mtu = entry.mtu.load(Ordering::Acquire);
        let expires = entry.expires.load(Ordering::Acquire);
        if owner(entry) != tag || expires <= now.as_micros() {
            return configured;
        }
        u32::try_from(mtu).map_or(configured, |mtu| configured.min(mtu))
    }

    fn set(&self, b4: Ipv6Addr) -> (u64, Option<&[Entry; WAYS]>) {
        let hash = self.hasher.hash(&b4.octets());
        let mask = self.sets.len() as u64 - 1;
        let set = usize::try_from(hash & mask).ok();
        // The two marks are no owner's tag.
        let tag = if hash > BUSY { hash } else { hash + 2 };
        (tag, set.and_then(|set| self.sets.get(set)))
    }
}

/// The MTU that an `ICMPv4` 3/4 states for a tunnel over a path of `path_mtu` bytes, of which
/// `overhead` are headers. // R-154
pub(crate) fn icmpv4_mtu(path_mtu: u32, overhead: u32) -> u16 {
    let mtu = path_mtu.saturating_sub(overhead).max(68);
    u16::try_from(mtu).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn b4(n: u16) -> Ipv6Addr {
        Ipv6Addr::new(0x2001, 0xdb8, n, 0, 0, 0, 0, 1)
    }

    const START: Instant = Instant::from_secs(1_000);

    #[test]
    fn an_mtu_below_1280_is_ignored() {
        //
        let cache = PathMtus::new(8, [0; 16]);
        for mtu in [0, 1, 68, 1279] {
            assert_eq!(cache.learn(START, b4(1), mtu), Learned::Invalid);
        }
        assert_eq!(cache.get(START, b4(1), 1500), 1500);
        assert_eq!(cache.learn(START, b4(1), 1280), Learned::Lowered);
        assert_eq!(cache.get(START, b4(1), 1500), 1280);
    }

    #[test]
    fn it_is_lowered_never_raised_and_forgotten_after_ten_minutes() {
        //
        let cache = PathMtus::new(8, [0; 16]);
        assert_eq!(cache.learn(START, b4(1), 1400), Learned::Lowered);
        let later = START + Duration::from_secs(400);
        assert_eq!(cache.learn(later, b4(1), 1450), Learned::Unchanged);
        assert_eq!(cache.get(later, b4(1), 1500), 1400);
        let end = START + LIFETIME;
        let before = Instant::from_micros(end.as_micros() - 1);
        assert_eq!(cache.get(before, b4(1), 1500), 1400);
        assert_eq!(cache.get(end, b4(1), 1500), 1500);
        assert_eq!(cache.learn(end, b4(1), 1450), Learned::Lowered);
        assert_eq!(cache.get(end, b4(1), 1500), 1450);
    }

    #[test]
    fn the_same_mtu_again_starts_the_time_anew() {
        let cache = PathMtus::new(8, [0; 16]);
        cache.learn(START, b4(1), 1400);
        let later = START + Duration::from_secs(400);
        assert_eq!(cache.learn(later, b4(1), 1400), Learned::Unchanged);
        let end = START + Duration::from_secs(900);
        assert_eq!(cache.get(end, b4(1), 1500), 1400);
    }

    #[test]
    fn a_large_mtu_is_kept_whole() {
        // 66,000 is 464 in 16 bits
        let cache = PathMtus::new(8, [0; 16]);
        assert_eq!(cache.learn(START, b4(1), 66_000), Learned::Lowered);
        assert_eq!(cache.get(START, b4(1), 1500), 1500);
        assert_eq!(cache.get(START, b4(1), 70_000), 66_000);
    }

    #[test]
    fn b4s_do_not_share_an_mtu_and_the_memory_is_bounded() {
        let cache = PathMtus::new(64, [0; 16]);
        for n in 0..10_000 {
            cache.learn(START, b4(n), 1300 + u32::from(n) % 100);
        }
        let mut lowered = 0;
        for n in 0..10_000 {
            let mtu = cache.get(START, b4(n), 1500);
            assert!(mtu == 1500 || mtu == 1300 + u32::from(n) % 100);
            lowered += usize::from(mtu != 1500);
        }
        assert_eq!(lowered, 64);
    }

    #[test]
    fn the_mtu_of_an_icmpv4_error_stays_in_its_range() {
        //
        assert_eq!(icmpv4_mtu(1500, 40), 1460);
        assert_eq!(icmpv4_mtu(1280, 48), 1232);
        assert_eq!(icmpv4_mtu(0, 40), 68);
        assert_eq!(icmpv4_mtu(107, 40), 68);
        assert_eq!(icmpv4_mtu(u32::MAX, 40), 65_535);
    }

    #[test]
    fn workers_see_only_values_that_somebody_learned() {
        let cache = PathMtus::new(8, [0; 16]);
        std::thread::scope(|scope| {
            for worker in 0..3u16 {
                let cache = &cache;
                scope.spawn(move || {
                    for round in 0..3_000u16 {
                        let n = (round * 7 + worker) % 40;
                        cache.learn(START, b4(n), 1300 + u32::from(n));
                        let n = (round * 5) % 40;
                        let mtu = cache.get(START, b4(n), 1500);
                        assert!(mtu == 1500 || mtu == 1300 + u32::from(n), "{n}: {mtu}");
                    }
                });
            }
        });
    }

    proptest! {
        #![proptest_config(crate::cases::cases(256))]

        #[test]
        fn the_mtu_is_the_lowest_of_the_live_messages(
            messages in prop::collection::vec((0u64..200, 1200u32..1600), 1..30),
        ) {
            let cache = PathMtus::new(8, [9; 16]);
            let (mut now, mut low, mut until) = (START, 1500, START);
            for (wait, mtu) in messages {
                now += Duration::from_secs(wait);
                if until <= now {
                    low = 1500;
                }
                let entry_live = until > now;
                cache.learn(now, b4(1), mtu);
                if mtu >= 1280 && (!entry_live || mtu <= low) {
                    // An entry above what is configured is there, but does not show.
                    low = mtu;
                    until = now + LIFETIME;
                }
                prop_assert_eq!(cache.get(now, b4(1), 1500), low.min(1500));
            }
        }
    }
}
