//! IPv6 prefixes and the tunnel address of a B4 (RFC 7596 §5.1, RFC 7597 §6).
//!
//! ```text
//! byte  0                8        10                14       16
//!       | prefix         | zero   | IPv4 address    | PSID   |
//! ```

use core::fmt;
use core::net::{Ipv4Addr, Ipv6Addr};
use core::str::FromStr;

/// An IPv6 prefix, its bits right of the length zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ipv6Prefix {
    addr: Ipv6Addr,
    len: u8,
}

/// Why a text or a length is no prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Ipv6PrefixError {
    /// There is no `/`.
    #[error("prefix without a length")]
    NoLength,
    /// What stands before the `/` is no IPv6 address.
    #[error("not an IPv6 address before the slash")]
    Address,
    /// The length is not a decimal number from 0 to 128 without sign and leading zeros.
    #[error("prefix length is not a number from 0 to 128")]
    Length,
}

impl Ipv6Prefix {
    /// The prefix of `len` bits that contains `addr`; the other bits of `addr` are dropped.
    ///
    /// # Errors
    ///
    /// Where `len` is above 128.
    pub const fn new(addr: Ipv6Addr, len: u8) -> Result<Self, Ipv6PrefixError> {
        if len > 128 {
            return Err(Ipv6PrefixError::Length);
        }
        let addr = Ipv6Addr::from_bits(addr.to_bits() & mask(len));
        Ok(Self { addr, len })
    }

    /// The prefix that is just `addr`.
    #[must_use]
    pub const fn host(addr: Ipv6Addr) -> Self {
        Self { addr, len: 128 }
    }

    /// The address with all bits right of the length zero.
    #[must_use]
    pub const fn addr(self) -> Ipv6Addr {
        self.addr
    }

    /// Length in bits, 0 to 128.
    #[must_use]
    #[expect(
        clippy::len_without_is_empty,
        reason = "a length in bits, not of a list"
    )]
    pub const fn len(self) -> u8 {
        self.len
    }

    /// Whether `addr` starts with this prefix.
    #[must_use]
    pub const fn contains(self, addr: Ipv6Addr) -> bool {
        (addr.to_bits() ^ self.addr.to_bits()) & mask(self.len) == 0
    }

    /// The number of leading bits, 0 to 128, that the two prefixes have in common.
    #[must_use]
    pub const fn common_len(self, other: Self) -> u8 {
        let differ = self.addr.to_bits() ^ other.addr.to_bits();
        let [.., same] = differ.leading_zeros().to_be_bytes();
        let shorter = if self.len < other.len {
            self.len
        } else {
            other.len
        };
        if same < shorter { same } else { shorter }
    }
}

/// The upper `len` bits of 128.
const fn mask(len: u8) -> u128 {
    match u128::MAX.checked_shr(len as u32) {
        Some(host_bits) => !host_bits,
        None => u128::MAX,
    }
}

impl FromStr for Ipv6Prefix {
    type Err = Ipv6PrefixError;

    fn from_str(text: &str) -> Result<Self, Ipv6PrefixError> {
        let (addr, len) = text.split_once('/').ok_or(Ipv6PrefixError::NoLength)?;
        let addr = addr.parse().map_err(|_| Ipv6PrefixError::Address)?;
        // `u8::from_str` takes a plus sign and leading zeros.
        let plain = !len.starts_with('+') && (len == "0" || !len.starts_with('0'));
        let len = len.parse().ok().filter(|_| plain);
        Self::new(addr, len.ok_or(Ipv6PrefixError::Length)?)
    }
}

impl fmt::Display for Ipv6Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.addr, self.len)
    }
}

/// The tunnel address that a B4 makes of its prefix, its IPv4 address and its PSID: the prefix,
/// zeros up to 64 bits, 16 zero bits, the IPv4 address, the PSID (0 where there is none; R-031).
///
/// A prefix longer than 64 bits stands in the place of the first bits of the interface
/// identifier, a prefix of 128 bits is the address (RFC 7597 §6; R-032).
///
/// ```
/// use lw4o6_wire::b4_address;
///
/// let prefix = "2001:db8:12:3400::/56".parse()?;
/// let address = b4_address(prefix, [192, 0, 2, 18].into(), Some(0x34));
/// assert_eq!(address.to_string(), "2001:db8:12:3400:0:c000:212:34");
/// # Ok::<(), lw4o6_wire::Ipv6PrefixError>(())
/// ```
#[must_use]
pub const fn b4_address(prefix: Ipv6Prefix, ipv4: Ipv4Addr, psid: Option<u16>) -> Ipv6Addr {
    let psid = match psid {
        Some(psid) => psid,
        None => 0,
    };
    let interface = (ipv4.to_bits() as u128) << 16 | psid as u128;
    Ipv6Addr::from_bits(prefix.addr.to_bits() | interface & !mask(prefix.len))
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    fn prefix(text: &str) -> Ipv6Prefix {
        text.parse().unwrap()
    }

    const IPV4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 18);

    // R-031
    #[test]
    fn the_example_of_rfc_7597_appendix_a() {
        let address = b4_address(prefix("2001:db8:12:3400::/56"), IPV4, Some(0x34));
        assert_eq!(address.to_string(), "2001:db8:12:3400:0:c000:212:34");
    }

    // R-031
    #[test]
    fn no_psid_leaves_zeros() {
        let address = b4_address(prefix("2001:db8:12:3400::/64"), IPV4, None);
        assert_eq!(address.to_string(), "2001:db8:12:3400:0:c000:212:0");
    }

    // R-032
    #[test]
    fn a_long_prefix_takes_the_start_of_the_interface_identifier() {
        let long = prefix("2001:db8:1:2:ffff:f000::/84");
        let address = b4_address(long, IPV4, Some(0x34));
        assert_eq!(address.to_string(), "2001:db8:1:2:ffff:f000:212:34");
        let whole = prefix("2001:db8:1:2:3:4:5:6/128");
        assert_eq!(b4_address(whole, IPV4, Some(0x34)), whole.addr());
    }

    #[test]
    fn every_length_keeps_the_prefix_and_the_bits_behind_it() {
        let pattern: Ipv6Addr = "fedc:ba98:7654:3210:fedc:ba98:7654:3210".parse().unwrap();
        let behind = b4_address(prefix("::/0"), IPV4, Some(0x34)).to_bits();
        for len in 0..=128 {
            let prefix = Ipv6Prefix::new(pattern, len).unwrap();
            let address = b4_address(prefix, IPV4, Some(0x34));
            assert!(prefix.contains(address), "{prefix}");
            let host_bits = !mask(len);
            assert_eq!(
                address.to_bits() & host_bits,
                behind & host_bits,
                "{prefix}"
            );
        }
    }

    #[test]
    fn text_survives() {
        for text in ["::/0", "2001:db8::/32", "2001:db8::1/128", "fe80::/10"] {
            assert_eq!(prefix(text).to_string(), text);
        }
        assert_eq!(prefix("2001:db8::ffff/32").to_string(), "2001:db8::/32");
    }

    #[test]
    fn what_is_no_prefix_is_refused() {
        let parse = |text: &str| text.parse::<Ipv6Prefix>().unwrap_err();
        assert_eq!(parse("2001:db8::"), Ipv6PrefixError::NoLength);
        assert_eq!(parse("192.0.2.0/24"), Ipv6PrefixError::Address);
        assert_eq!(parse("/24"), Ipv6PrefixError::Address);
        for text in [
            "::/129", "::/256", "::/+5", "::/05", "::/", "::/-1", "::/5 ",
        ] {
            assert_eq!(parse(text), Ipv6PrefixError::Length, "{text}");
        }
    }

    #[test]
    fn common_length_ends_at_the_shorter_prefix() {
        let wide = prefix("2001:db8::/32");
        assert_eq!(wide.common_len(prefix("2001:db8:1::/48")), 32);
        assert_eq!(wide.common_len(prefix("2001:db9::/32")), 31);
        assert_eq!(wide.common_len(prefix("8000::/1")), 0);
        assert!(wide.contains("2001:db8:ffff::".parse().unwrap()));
        assert!(!wide.contains("2001:db9::".parse().unwrap()));
        let host = Ipv6Prefix::host(Ipv6Addr::LOCALHOST);
        assert_eq!(host.common_len(host), 128);
        assert_eq!(host.len(), 128);
    }
}
