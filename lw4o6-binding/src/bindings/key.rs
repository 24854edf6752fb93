//! The order in which bindings are kept: by IPv4 address, then by port set.

use core::net::Ipv4Addr;
use core::ops::RangeInclusive;

use lw4o6_wire::port_params::PortParams;

use crate::entry::SoftwireKey;

/// A [`SoftwireKey`] in one word: IPv4 address (32 bits), offset (5), length (5), PSID (16).
///
/// All port sets of one address stand side by side, and so do all of one layout on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key(u64);

const OFFSET_SHIFT: u32 = 21;
const LEN_SHIFT: u32 = 16;
const IPV4_SHIFT: u32 = 26;

impl Key {
    /// The word for `key`.
    pub(crate) fn of(key: &SoftwireKey) -> Self {
        let SoftwireKey { ipv4, ports } = *key;
        Self::word(ipv4, ports.offset(), ports.len(), ports.psid())
    }

    /// All words there are.
    pub(crate) fn all() -> RangeInclusive<Self> {
        Self(0)..=Self(u64::MAX)
    }

    /// The words of all port sets on `ipv4`.
    pub(crate) fn on(ipv4: Ipv4Addr) -> RangeInclusive<Self> {
        let first = u64::from(u32::from(ipv4)) << IPV4_SHIFT;
        Self(first)..=Self(first | ((1 << IPV4_SHIFT) - 1))
    }

    /// The words of all port sets on `ipv4` with the layout of `ports`.
    pub(crate) fn like(ipv4: Ipv4Addr, ports: PortParams) -> RangeInclusive<Self> {
        let (offset, len) = (ports.offset(), ports.len());
        Self::word(ipv4, offset, len, 0)..=Self::word(ipv4, offset, len, u16::MAX)
    }

    /// The words on `ipv4` that stand before, and those that stand after, the layout of `ports`.
    pub(crate) fn unlike(ipv4: Ipv4Addr, ports: PortParams) -> [core::ops::Range<Self>; 2] {
        let (all, same) = (Self::on(ipv4), Self::like(ipv4, ports));
        let after = |key: &Self| Self(key.0 + 1); // 58 bits are in use
        [
            *all.start()..*same.start(),
            after(same.end())..after(all.end()),
        ]
    }

    /// The IPv4 address in the word.
    pub(crate) fn ipv4(self) -> Ipv4Addr {
        let [.., a, b, c, d] = (self.0 >> IPV4_SHIFT).to_be_bytes();
        Ipv4Addr::new(a, b, c, d)
    }

    /// Offset `a` and length `k` in the word.
    pub(crate) fn layout(self) -> (u8, u8) {
        let [.., offset, _, _, _] = (self.0 << 3).to_be_bytes(); // bits 21-25 into bits 24-28
        let [.., len, _, _] = self.0.to_be_bytes();
        (offset & 0x1f, len & 0x1f)
    }

    fn word(ipv4: Ipv4Addr, offset: u8, len: u8, psid: u16) -> Self {
        Self(
            (u64::from(u32::from(ipv4)) << IPV4_SHIFT)
                | (u64::from(offset) << OFFSET_SHIFT)
                | (u64::from(len) << LEN_SHIFT)
                | u64::from(psid),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(ipv4: [u8; 4], a: u8, k: u8, psid: u16) -> Key {
        Key::of(&SoftwireKey {
            ipv4: ipv4.into(),
            ports: PortParams::new(a, k, psid).unwrap(),
        })
    }

    #[test]
    fn keys_of_one_address_are_neighbors() {
        let here = Key::on([192, 0, 2, 1].into());
        for (a, k, psid) in [(0, 0, 0), (0, 16, 0xffff), (16, 0, 0), (6, 8, 255)] {
            assert!(here.contains(&key([192, 0, 2, 1], a, k, psid)));
            assert!(!here.contains(&key([192, 0, 2, 0], a, k, psid)));
            assert!(!here.contains(&key([192, 0, 2, 2], a, k, psid)));
            let here = key([192, 0, 2, 1], a, k, psid);
            assert_eq!(here.ipv4(), Ipv4Addr::new(192, 0, 2, 1));
            assert_eq!(here.layout(), (a, k));
        }
        assert!(Key::on(Ipv4Addr::BROADCAST).end() > Key::on(Ipv4Addr::BROADCAST).start());
    }

    #[test]
    fn every_key_on_an_address_is_either_like_or_unlike_a_layout() {
        let ipv4 = Ipv4Addr::new(192, 0, 2, 1);
        let layout = PortParams::new(0, 6, 3).unwrap();
        let like = Key::like(ipv4, layout);
        let [before, after] = Key::unlike(ipv4, layout);
        for (a, k, psid) in [
            (0, 0, 0),
            (0, 6, 0),
            (0, 6, 63),
            (0, 7, 0),
            (16, 0, 0),
            (0, 16, 65535),
        ] {
            let key = key([192, 0, 2, 1], a, k, psid);
            let inside = [
                like.contains(&key),
                before.contains(&key),
                after.contains(&key),
            ];
            assert_eq!(inside.iter().filter(|is| **is).count(), 1);
            assert_eq!(like.contains(&key), (a, k) == (0, 6));
        }
    }
}
