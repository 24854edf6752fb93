//! Values that stand as text in the file.

use std::fmt::{self, Display};
use std::net::Ipv6Addr;
use std::str::FromStr;

use lw4o6_wire::{Ipv6Prefix, Ipv6PrefixError};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A value that is written as its text form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Text<T>(pub T);

impl<'de, T> Deserialize<'de> for Text<T>
where
    T: FromStr,
    T::Err: Display,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let wrong = |error: T::Err| serde::de::Error::custom(format!("`{text}` is wrong: {error}"));
        text.parse().map(Self).map_err(wrong)
    }
}

impl<T: Display> Serialize for Text<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// An address on a link, with the length of the link's prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkAddress {
    addr: Ipv6Addr,
    prefix: Ipv6Prefix,
}

impl LinkAddress {
    /// The address `addr` on a link whose prefix is its first `len` bits.
    ///
    /// # Errors
    ///
    /// Where `len` is above 128.
    pub fn new(addr: Ipv6Addr, len: u8) -> Result<Self, Ipv6PrefixError> {
        Ok(Self {
            addr,
            prefix: Ipv6Prefix::new(addr, len)?,
        })
    }

    /// The address, host part included.
    #[must_use]
    pub fn addr(self) -> Ipv6Addr {
        self.addr
    }

    /// Length of the prefix in bits.
    #[must_use]
    pub fn prefix_len(self) -> u8 {
        self.prefix.len()
    }
}

impl FromStr for LinkAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = |error: Ipv6PrefixError| {
            format!("{error}, needs an address and a length such as 2001:db8::1/64")
        };
        let prefix: Ipv6Prefix = text.parse().map_err(wrong)?;
        let addr = text.split('/').next().and_then(|addr| addr.parse().ok());
        Ok(Self {
            addr: addr.ok_or_else(|| wrong(Ipv6PrefixError::Address))?,
            prefix,
        })
    }
}

impl Display for LinkAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.addr, self.prefix.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_on_a_link_keeps_its_host_part() {
        let address: LinkAddress = "2001:db8:1::1/64".parse().unwrap();
        assert_eq!(address.addr(), "2001:db8:1::1".parse::<Ipv6Addr>().unwrap());
        assert_eq!(address.prefix_len(), 64);
        assert_eq!(address.to_string(), "2001:db8:1::1/64");
        assert_eq!(LinkAddress::new(address.addr(), 64), Ok(address));
    }

    #[test]
    fn an_address_on_a_link_needs_a_length() {
        for wrong in [
            "2001:db8::1",
            "2001:db8::1/129",
            "192.0.2.1/24",
            "/64",
            "2001:db8::1/64/64",
        ] {
            assert!(wrong.parse::<LinkAddress>().is_err(), "{wrong}");
        }
    }
}
