//! The rules that one binding has to fulfil by itself, whatever else is in the table.

use core::net::{Ipv4Addr, Ipv6Addr};

use crate::entry::Binding;
use crate::error::{InsertError, Ipv4Problem, Ipv6Problem};

impl Binding {
    /// Checks the rules that need no other binding: addresses, tunnel ends, prefix.
    ///
    /// A store checks them again; this is for reading files, so that an error can name its line.
    ///
    /// # Errors
    ///
    /// [`InsertError::B4Address`], [`AftrAddress`](InsertError::AftrAddress),
    /// [`AftrIsB4`](InsertError::AftrIsB4), [`Ipv4Address`](InsertError::Ipv4Address),
    /// [`PrefixLength`](InsertError::PrefixLength) or
    /// [`PrefixAddress`](InsertError::PrefixAddress).
    //
    pub fn check(&self) -> Result<(), InsertError> {
        let Self { b4, ipv4, aftr, .. } = *self;
        if self.prefix_len > 128 {
            return Err(InsertError::PrefixLength {
                len: self.prefix_len,
            });
        }
        if let Some(problem) = ipv6_problem(b4) {
            return Err(InsertError::B4Address { b4, problem });
        }
        if let Some(problem) = ipv6_problem(aftr) {
            return Err(InsertError::AftrAddress { aftr, problem });
        }
        if aftr == b4 {
            return Err(InsertError::AftrIsB4 { aftr });
        }
        if let Some(problem) = ipv4_problem(ipv4) {
            return Err(InsertError::Ipv4Address { ipv4, problem });
        }
        let expected = self.constructed_b4();
        if expected != b4 {
            return Err(InsertError::PrefixAddress { b4, expected });
        }
        Ok(())
    }

    /// Whether the port set is one of several on its address and contains ports 0 to 1023, which
    /// RFC 7596 §5.1 recommends against.
    //
    #[must_use]
    pub fn shares_system_ports(&self) -> bool {
        self.ports.len() > 0 && self.ports.contains_system_ports()
    }
}

/// What keeps `addr` from being a tunnel end, if anything does.
fn ipv6_problem(addr: Ipv6Addr) -> Option<Ipv6Problem> {
    if addr.is_unspecified() {
        Some(Ipv6Problem::Unspecified)
    } else if addr.is_loopback() {
        Some(Ipv6Problem::Loopback)
    } else if addr.is_multicast() {
        Some(Ipv6Problem::Multicast)
    } else if addr.is_unicast_link_local() {
        Some(Ipv6Problem::LinkLocal)
    } else {
        None
    }
}

/// What keeps `addr` from being a public unicast address, if anything does.
fn ipv4_problem(addr: Ipv4Addr) -> Option<Ipv4Problem> {
    match addr.octets() {
        [0, ..] => Some(Ipv4Problem::ThisNetwork),
        [127, ..] => Some(Ipv4Problem::Loopback),
        [224..=239, ..] => Some(Ipv4Problem::Multicast),
        [240..=255, ..] => Some(Ipv4Problem::Reserved),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
