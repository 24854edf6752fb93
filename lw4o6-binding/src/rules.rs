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
mod tests {
    use super::*;
    use alloc::string::ToString;
    use lw4o6_wire::b4_addr::Ipv6Prefix;
    use lw4o6_wire::port_params::PortParams;

    fn binding() -> Binding {
        Binding::new(
            "2001:db8::1".parse().unwrap(),
            "192.0.2.1".parse().unwrap(),
            PortParams::new(0, 6, 1).unwrap(),
            "2001:db8:a::1".parse().unwrap(),
        )
    }

    fn message(binding: Binding) -> alloc::string::String {
        binding.check().unwrap_err().to_string()
    }

    #[test]
    fn a_plain_binding_passes() {
        assert_eq!(binding().check(), Ok(()));
    }

    #[test]
    fn a_b4_address_that_is_not_unicast_is_refused() {
        //
        let b4 = |text: &str| {
            message(Binding {
                b4: text.parse().unwrap(),
                ..binding()
            })
        };
        let end = "not a unicast address";
        assert_eq!(
            b4("::"),
            alloc::format!("B4 address :: is unspecified, {end}")
        );
        assert_eq!(
            b4("::1"),
            alloc::format!("B4 address ::1 is loopback, {end}")
        );
        assert_eq!(
            b4("ff02::1"),
            alloc::format!("B4 address ff02::1 is multicast, {end}")
        );
        assert_eq!(
            b4("fe80::1"),
            alloc::format!("B4 address fe80::1 is link-local, {end}")
        );
        assert_eq!(
            b4("febf::1"),
            alloc::format!("B4 address febf::1 is link-local, {end}")
        );
    }

    #[test]
    fn an_aftr_address_that_is_not_unicast_is_refused() {
        //
        let aftr = |text: &str| {
            message(Binding {
                aftr: text.parse().unwrap(),
                ..binding()
            })
        };
        assert_eq!(
            aftr("::"),
            "AFTR address :: is unspecified, not a unicast address"
        );
        assert_eq!(
            aftr("ff0e::7"),
            "AFTR address ff0e::7 is multicast, not a unicast address"
        );
    }

    #[test]
    fn an_aftr_address_that_is_the_b4_address_is_refused() {
        //
        let both = Binding {
            aftr: binding().b4,
            ..binding()
        };
        assert_eq!(
            message(both),
            "AFTR address 2001:db8::1 is also the B4 address"
        );
    }

    #[test]
    fn an_ipv4_address_that_is_not_unicast_is_refused() {
        let ipv4 = |text: &str| {
            message(Binding {
                ipv4: text.parse().unwrap(),
                ..binding()
            })
        };
        let says = |addr: &str, what: &str| {
            alloc::format!("IPv4 address {addr} is in {what}, not a unicast address")
        };
        assert_eq!(ipv4("0.1.2.3"), says("0.1.2.3", "0.0.0.0/8 (this network)"));
        assert_eq!(
            ipv4("127.0.0.1"),
            says("127.0.0.1", "127.0.0.0/8 (loopback)")
        );
        assert_eq!(
            ipv4("239.1.1.1"),
            says("239.1.1.1", "224.0.0.0/4 (multicast)")
        );
        assert_eq!(
            ipv4("255.255.255.255"),
            says("255.255.255.255", "240.0.0.0/4 (reserved)")
        );
        for good in ["1.0.0.0", "126.255.255.255", "128.0.0.1", "223.255.255.255"] {
            let ipv4 = good.parse().unwrap();
            assert_eq!(Binding { ipv4, ..binding() }.check(), Ok(()));
        }
    }

    #[test]
    fn a_prefix_that_does_not_give_the_address_is_refused() {
        let wrong = Binding {
            prefix_len: 56,
            ..binding()
        };
        assert_eq!(
            message(wrong),
            "B4 address 2001:db8::1 does not follow from its prefix, which gives 2001:db8::c000:201:1"
        );
        let long = Binding {
            prefix_len: 129,
            ..binding()
        };
        assert_eq!(message(long), "prefix length 129 is above 128");
        let prefix = Ipv6Prefix::new(binding().b4, 56).unwrap();
        let Binding {
            ipv4, ports, aftr, ..
        } = binding();
        let right = Binding::from_prefix(prefix, ipv4, ports, aftr);
        assert_eq!(right.check(), Ok(()));
    }

    #[test]
    fn numbers_that_are_no_port_set_keep_their_message() {
        // R-021, T-9
        for (a, k, psid) in [(9, 8, 0), (0, 17, 0), (17, 0, 0), (0, 6, 64), (0, 0, 1)] {
            let cause = PortParams::new(a, k, psid).unwrap_err();
            let error = InsertError::from(cause);
            assert_eq!(error, InsertError::PortParams(cause));
            assert_eq!(error.to_string(), alloc::format!("port set: {cause}"));
        }
    }

    #[test]
    fn only_sets_that_share_an_address_are_warned_about_system_ports() {
        // with offset 0 the low PSIDs hold the system ports
        let with = |a, k, psid| {
            Binding {
                ports: PortParams::new(a, k, psid).unwrap(),
                ..binding()
            }
            .shares_system_ports()
        };
        assert!(with(0, 6, 0));
        assert!(!with(0, 6, 1));
        assert!(with(0, 8, 3));
        assert!(!with(0, 8, 4));
        assert!(!with(6, 8, 0));
        assert!(!with(0, 0, 0));
    }
}
