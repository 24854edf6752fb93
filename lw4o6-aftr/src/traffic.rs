//! What each softwire sent and received, where the knob asks for it.
//!
//! The counters stand beside the table, not in its lines: one open-addressed table for each worker,
//! which alone enters softwires and counts; other threads read it, and take entries out by replacing
//! their key. An entry never moves, so whoever has found it may go on reading it.

use core::net::Ipv4Addr;
use core::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

use lw4o6_binding::table::Softwire;
use lw4o6_wire::PortParams;

use crate::counters::bump;

/// Most entries that a knob may ask for.
pub(crate) const MAX_ENTRIES: usize = 1 << 24;

/// Places looked at for one softwire.
const PROBES: usize = 64;

/// Keys of places without a softwire.
const FREE: u64 = 0;
const FORGOTTEN: u64 = 1;

/// In every key of a softwire.
const TAKEN: u64 = 1 << 63;

/// What names a softwire: a public address and a port set of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SoftwireKey {
    /// Public IPv4 address.
    pub ipv4: Ipv4Addr,
    /// PSID offset `a`.
    pub offset: u8,
    /// PSID length `k`.
    pub len: u8,
    /// PSID.
    pub psid: u16,
}

/// Packets of one softwire that were forwarded, and their bytes without outer headers.
///
/// A packet from B4 to B4 counts for both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SoftwireTraffic {
    /// Packets from the B4.
    pub upstream_packets: u64,
    /// Bytes of them.
    pub upstream_bytes: u64,
    /// Packets to the B4.
    pub downstream_packets: u64,
    /// Bytes of them.
    pub downstream_bytes: u64,
}

/// Which way a counted packet went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Upstream,
    Downstream,
}

/// The counters of one worker.
#[derive(Debug)]
pub(crate) struct Traffic {
    entries: Box<[Entry]>,
}

/// One cache line.
#[derive(Debug)]
#[repr(align(64))]
struct Entry {
    key: AtomicU64,
    counters: [AtomicU64; 4],
}

impl SoftwireKey {
    /// The key of a softwire with this port set.
    #[must_use]
    pub const fn new(ipv4: Ipv4Addr, set: PortParams) -> Self {
        Self {
            ipv4,
            offset: set.offset(),
            len: set.len(),
            psid: set.psid(),
        }
    }

    fn of(softwire: &Softwire) -> Self {
        Self {
            ipv4: softwire.ipv4.into(),
            offset: softwire.offset,
            len: softwire.len,
            psid: softwire.psid,
        }
    }

    /// Address, PSID, length and offset, which are 16 at most, in 58 bits.
    fn pack(self) -> u64 {
        let lens = u64::from(self.len & 31) << 5 | u64::from(self.offset & 31);
        let set = u64::from(self.psid) << 10 | lens;
        TAKEN | u64::from(self.ipv4.to_bits()) << 26 | set
    }

    fn unpack(word: u64) -> Option<Self> {
        if word & TAKEN == 0 {
            return None;
        }
        let [.., psid_high, psid_low] = (word >> 10).to_be_bytes();
        let bits = |shift: u32| u8::try_from(word >> shift & 31).unwrap_or(0);
        Some(Self {
            ipv4: Ipv4Addr::from_bits(u32::try_from(word >> 26 & 0xffff_ffff).unwrap_or(0)),
            offset: bits(0),
            len: bits(5),
            psid: u16::from_be_bytes([psid_high, psid_low]),
        })
    }
}

impl SoftwireTraffic {
    /// Adds what another worker counted.
    pub fn add(&mut self, other: &Self) {
        let Self {
            upstream_packets,
            upstream_bytes,
            downstream_packets,
            downstream_bytes,
        } = other;
        self.upstream_packets += upstream_packets;
        self.upstream_bytes += upstream_bytes;
        self.downstream_packets += downstream_packets;
        self.downstream_bytes += downstream_bytes;
    }
}

impl Traffic {
    /// Room for `entries` softwires, a quarter of it spare.
    pub(crate) fn new(entries: usize) -> Self {
        let size = Self::size(entries);
        Self {
            entries: (0..size).map(|_| Entry::new()).collect(),
        }
    }

    fn size(entries: usize) -> usize {
        let entries = entries.clamp(1, MAX_ENTRIES);
        (entries + entries / 4).next_power_of_two().max(PROBES)
    }

    /// Whether it was made for so many.
    pub(crate) fn is_for(&self, entries: usize) -> bool {
        self.entries.len() == Self::size(entries)
    }

    /// Counts a packet; `false`: there is no place for its softwire. Called by one worker only.
    pub(crate) fn count(&self, softwire: &Softwire, way: Way, bytes: u16) -> bool {
        let key = SoftwireKey::of(softwire).pack();
        let Some(entry) = self.find_or_enter(key) else {
            return false;
        };
        let [up_packets, up_bytes, down_packets, down_bytes] = &entry.counters;
        let (packets, sum) = match way {
            Way::Upstream => (up_packets, up_bytes),
            Way::Downstream => (down_packets, down_bytes),
        };
        bump(Some(packets), 1);
        bump(Some(sum), bytes.into());
        true
    }

    /// What was counted for a softwire.
    pub(crate) fn read(&self, key: SoftwireKey) -> Option<SoftwireTraffic> {
        let key = key.pack();
        let entry = self.places(key).find(|entry| entry.has(key, Acquire))?;
        Some(entry.read()).filter(|_| entry.has(key, Relaxed))
    }

    /// Every softwire that was counted.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (SoftwireKey, SoftwireTraffic)> + '_ {
        self.entries.iter().filter_map(|entry| {
            let word = entry.key.load(Acquire);
            let key = SoftwireKey::unpack(word)?;
            Some((key, entry.read())).filter(|_| entry.has(word, Relaxed))
        })
    }

    /// Takes a softwire out. The worker may be counting for it: what it adds then is lost, too.
    pub(crate) fn forget(&self, key: SoftwireKey) {
        let key = key.pack();
        for entry in self.places(key) {
            let _ = entry.key.compare_exchange(key, FORGOTTEN, Relaxed, Relaxed);
        }
    }

    fn find_or_enter(&self, key: u64) -> Option<&Entry> {
        let mut room = None;
        for entry in self.places(key) {
            match entry.key.load(Relaxed) {
                word if word == key => return Some(entry),
                FREE => {
                    room = room.or(Some(entry));
                    break;
                }
                FORGOTTEN => room = room.or(Some(entry)),
                _ => {}
            }
        }
        let entry = room?;
        for counter in &entry.counters {
            counter.store(0, Relaxed);
        }
        entry.key.store(key, Release);
        Some(entry)
    }

    /// The places where a softwire may be, as far as the last that was ever taken.
    fn places(&self, key: u64) -> impl Iterator<Item = &Entry> {
        let mask = self.entries.len() - 1; // a power of two
        let start = usize::try_from(mix(key) & u64::from(u32::MAX)).unwrap_or(0);
        (0..PROBES).filter_map(move |step| self.entries.get((start + step) & mask))
    }
}

impl Entry {
    fn new() -> Self {
        Self {
            key: AtomicU64::new(FREE),
            counters: [const { AtomicU64::new(0) }; 4],
        }
    }

    fn has(&self, key: u64, ordering: core::sync::atomic::Ordering) -> bool {
        self.key.load(ordering) == key
    }

    fn read(&self) -> SoftwireTraffic {
        let [up_packets, up_bytes, down_packets, down_bytes] = &self.counters;
        SoftwireTraffic {
            upstream_packets: up_packets.load(Relaxed),
            upstream_bytes: up_bytes.load(Relaxed),
            downstream_packets: down_packets.load(Relaxed),
            downstream_bytes: down_bytes.load(Relaxed),
        }
    }
}

/// Spreads keys of neighboring addresses and port sets. Softwires are the operator's, so no secret is
/// needed.
const fn mix(key: u64) -> u64 {
    let key = (key ^ key >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let key = (key ^ key >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    key ^ key >> 33
}

#[cfg(test)]
mod tests {
    use super::*;

    fn softwire(ipv4: u32, psid: u16) -> Softwire {
        Softwire {
            ipv4,
            psid,
            len: 8,
            offset: 6,
            ..Softwire::default()
        }
    }

    #[test]
    fn a_key_comes_back_from_its_word() {
        for (offset, len, psid, ipv4) in [
            (0, 0, 0, 0),
            (16, 16, 0xffff, u32::MAX),
            (6, 8, 0x34, 0xc000_0212),
        ] {
            let ipv4 = Ipv4Addr::from_bits(ipv4);
            let key = SoftwireKey {
                ipv4,
                offset,
                len,
                psid,
            };
            assert_eq!(SoftwireKey::unpack(key.pack()), Some(key));
        }
        assert_eq!(SoftwireKey::unpack(FREE), None);
        assert_eq!(SoftwireKey::unpack(FORGOTTEN), None);
    }

    #[test]
    fn so_many_softwires_have_room_as_were_asked_for() {
        for entries in [1, 100, 1000, 20_000] {
            let traffic = Traffic::new(entries);
            let count = u32::try_from(entries).unwrap();
            for n in 0..count {
                let psid = u16::try_from(n % 256).unwrap();
                let softwire = softwire(0x0a00_0000 + n / 256, psid);
                assert!(
                    traffic.count(&softwire, Way::Upstream, 100),
                    "{n} of {entries}"
                );
                assert!(traffic.count(&softwire, Way::Downstream, 60));
            }
            assert_eq!(traffic.iter().count(), entries);
            let all = traffic
                .iter()
                .map(|(_, t)| t.upstream_bytes + t.downstream_bytes);
            assert_eq!(all.sum::<u64>(), 160 * u64::from(count));
        }
    }

    #[test]
    fn a_full_table_counts_no_newcomer_until_one_is_forgotten() {
        let traffic = Traffic::new(1);
        let mut known = Vec::new();
        let refused = (0..).map(|n| softwire(n, 0)).find(|softwire| {
            let counted = traffic.count(softwire, Way::Upstream, 1);
            known.push(SoftwireKey::of(softwire));
            !counted
        });
        let refused = refused.unwrap();
        assert_eq!(known.len(), PROBES + 1);
        assert!(
            traffic.count(&softwire(0, 0), Way::Upstream, 1),
            "it is known"
        );
        assert_eq!(traffic.read(SoftwireKey::of(&refused)), None);
        traffic.forget(known[3]);
        assert_eq!(traffic.read(known[3]), None);
        assert!(traffic.count(&refused, Way::Downstream, 9));
        let expect = SoftwireTraffic {
            downstream_packets: 1,
            downstream_bytes: 9,
            ..SoftwireTraffic::default()
        };
        assert_eq!(
            traffic.read(SoftwireKey::of(&refused)),
            Some(expect),
            "from zero"
        );
        assert_eq!(traffic.read(known[0]).map(|t| t.upstream_packets), Some(2));
    }
}
