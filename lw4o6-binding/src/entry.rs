//! One binding: which B4 holds which port set of which IPv4 address (RFC 7596 §6.1).
//!
//! ```text
//! {B4 IPv6 address, public IPv4 address, port set (a, k, PSID), AFTR IPv6 address}
//!  + origin (who made it) + expiry (when its allocation ends)
//! ```
//!
//! A binding is plain data with public fields. The rules that it has to fulfil beside others are
//! checked when it is put into a [`Bindings`](crate::Bindings); each has its own
//! [`InsertError`](crate::InsertError).

use core::fmt;
use core::net::{Ipv4Addr, Ipv6Addr};

use lw4o6_wire::b4_addr::{Ipv6Prefix, b4_address};
use lw4o6_wire::port_params::PortParams;
use lw4o6_wire::time::Instant;

/// One softwire: the right of a B4 to use a port set of a public IPv4 address (RFC 7596 §6.1).
// R-058
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding {
    /// IPv6 address of the B4, the tunnel's far end.
    pub b4: Ipv6Addr,
    /// Length of the prefix the binding was entered with, in bits; 128 where it was entered as an
    /// address. `b4` is then the address constructed from the prefix (RFC 8676 §6,
    /// RFC 7596 §5.1), and [`prefix`](Self::prefix) gives the prefix back for export.
    pub prefix_len: u8,
    /// Public IPv4 address, possibly shared with other bindings.
    pub ipv4: Ipv4Addr,
    /// Port set on `ipv4`; [`PortParams::FULL`] is the whole address and is not the same as
    /// PSID 0 of a shared one.
    // R-025
    pub ports: PortParams,
    /// IPv6 address of the lwAFTR, the tunnel's near end, `br-ipv6-addr` of RFC 8676: source when
    /// encapsulating and the only accepted destination when decapsulating.
    // R-061
    pub aftr: Ipv6Addr,
    /// Who made the binding.
    pub origin: Origin,
    /// When the allocation behind the binding ends.
    pub expires: Expiry,
}

impl Binding {
    /// A static binding of the B4 address `b4` that never expires.
    #[must_use]
    pub const fn new(b4: Ipv6Addr, ipv4: Ipv4Addr, ports: PortParams, aftr: Ipv6Addr) -> Self {
        Self {
            b4,
            prefix_len: 128,
            ipv4,
            ports,
            aftr,
            origin: Origin::Static,
            expires: Expiry::Never,
        }
    }

    /// A static binding that never expires, of a B4 known by its prefix: its address is
    /// constructed from prefix, IPv4 address and PSID (RFC 7596 §5.1, RFC 8676 §6). A length of
    /// 128 takes the address as it is.
    #[must_use]
    pub fn from_prefix(
        prefix: Ipv6Prefix,
        ipv4: Ipv4Addr,
        ports: PortParams,
        aftr: Ipv6Addr,
    ) -> Self {
        Self {
            prefix_len: prefix.len(),
            ..Self::new(constructed(prefix, ipv4, ports), ipv4, ports, aftr)
        }
    }

    /// The same binding made by `origin`.
    #[must_use]
    pub const fn with_origin(self, origin: Origin) -> Self {
        Self { origin, ..self }
    }

    /// The same binding with an allocation that ends at `expires`.
    #[must_use]
    pub const fn with_expiry(self, expires: Expiry) -> Self {
        Self { expires, ..self }
    }

    /// What the binding is found by: IPv4 address and port set.
    #[must_use]
    pub const fn key(&self) -> SoftwireKey {
        SoftwireKey {
            ipv4: self.ipv4,
            ports: self.ports,
        }
    }

    /// The prefix the binding was entered with, host bits zero; a /128 where it was entered as an
    /// address.
    #[must_use]
    pub fn prefix(&self) -> Ipv6Prefix {
        masked(self.b4, self.prefix_len)
    }

    /// The prefix of `mask` bits that stands for the subscriber (RFC 7785 §3, `subscriber-mask`).
    // R-067
    #[must_use]
    pub fn subscriber(&self, mask: u8) -> Ipv6Prefix {
        masked(self.b4, mask)
    }

    /// The B4 address that the prefix of this binding stands for; equals `b4` in a binding whose
    /// fields agree with each other.
    pub(crate) fn constructed_b4(&self) -> Ipv6Addr {
        constructed(self.prefix(), self.ipv4, self.ports)
    }
}

/// The first `len` bits of `addr`; lengths above 128 count as 128.
pub(crate) fn masked(addr: Ipv6Addr, len: u8) -> Ipv6Prefix {
    Ipv6Prefix::new(addr, len.min(128)).unwrap_or(Ipv6Prefix::host(addr))
}

fn constructed(prefix: Ipv6Prefix, ipv4: Ipv4Addr, ports: PortParams) -> Ipv6Addr {
    // R-025: without a PSID the field is zero, which is not "PSID 0 of a shared address".
    b4_address(prefix, ipv4, ports.some_psid())
}

/// Who made a binding, and so which policy applies to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// The configuration file.
    #[default]
    Static,
    /// A person, through the management interface of the running program.
    Operator,
    /// DHCPv4 over DHCPv6 (RFC 7341, RFC 7618).
    Dhcp,
    /// PCP with `PORT_SET` (RFC 7753).
    Pcp,
    /// Another lwAFTR or a supporting system, which has applied its own policy.
    Peer,
}

impl Origin {
    /// Every origin, in the order of the codes used in stored files.
    pub const ALL: [Self; 5] = [
        Self::Static,
        Self::Operator,
        Self::Dhcp,
        Self::Pcp,
        Self::Peer,
    ];

    /// Whether a subscriber caused the binding through a provisioning protocol here. Only such
    /// bindings are subject to quarantine, to the limit per subscriber and to the limit of moves
    /// (R-065, R-067, R-068).
    #[must_use]
    pub const fn is_dynamic(self) -> bool {
        match self {
            Self::Dhcp | Self::Pcp => true,
            Self::Static | Self::Operator | Self::Peer => false,
        }
    }

    /// Name used in files and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Static => "static",
            Self::Operator => "operator",
            Self::Dhcp => "dhcp",
            Self::Pcp => "pcp",
            Self::Peer => "peer",
        }
    }

    /// The origin called `name`, or `None`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|o| o.as_str() == name)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// When the allocation behind a binding ends; the binding ends with it (RFC 7596 §4).
// R-059
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Expiry {
    /// Not by itself.
    #[default]
    Never,
    /// At this moment: from then on no packet matches the binding.
    At(Instant),
}

impl Expiry {
    /// The moment, or `None` for [`Never`](Self::Never).
    #[must_use]
    pub const fn at(self) -> Option<Instant> {
        match self {
            Self::Never => None,
            Self::At(at) => Some(at),
        }
    }

    /// Whether the allocation has ended at `now`.
    #[must_use]
    pub fn is_over(self, now: Instant) -> bool {
        self.at().is_some_and(|at| at <= now)
    }
}

/// What identifies a softwire: IPv4 address and port set. Orders by address, then port set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SoftwireKey {
    /// Public IPv4 address.
    pub ipv4: Ipv4Addr,
    /// Port set on it.
    pub ports: PortParams,
}

impl fmt::Display for SoftwireKey {
    /// `192.0.2.1 (a=0 k=6 psid=1)`, or the address alone where the port set is all of it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ipv4, ports } = self;
        if *ports == PortParams::FULL {
            return write!(f, "{ipv4}");
        }
        let (a, k, psid) = (ports.offset(), ports.len(), ports.psid());
        write!(f, "{ipv4} (a={a} k={k} psid={psid})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    const AFTR: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xa, 0, 0, 0, 0, 1);
    const IPV4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 18);

    fn ports(offset: u8, len: u8, psid: u16) -> PortParams {
        PortParams::new(offset, len, psid).unwrap()
    }

    #[test]
    fn a_prefix_entry_gets_the_constructed_address_and_gives_the_prefix_back() {
        let prefix = "2001:db8:12:3400::/56".parse().unwrap();
        let binding = Binding::from_prefix(prefix, IPV4, ports(0, 8, 0x34), AFTR);
        let expected: Ipv6Addr = "2001:db8:12:3400:0:c000:212:34".parse().unwrap();
        assert_eq!(binding.b4, expected);
        assert_eq!(binding.prefix(), prefix);
        assert_eq!(binding.constructed_b4(), binding.b4);
    }

    #[test]
    fn an_address_entry_is_its_own_prefix_of_128_bits() {
        let b4: Ipv6Addr = "2001:db8::1".parse().unwrap();
        let binding = Binding::new(b4, IPV4, PortParams::FULL, AFTR);
        assert_eq!(binding.prefix(), Ipv6Prefix::host(b4));
        assert_eq!(binding.constructed_b4(), b4);
    }

    #[test]
    fn no_psid_and_psid_zero_are_different_keys() {
        // R-025
        let b4 = "2001:db8::1".parse().unwrap();
        let whole = Binding::new(b4, IPV4, PortParams::FULL, AFTR);
        let shared = Binding::new(b4, IPV4, ports(0, 6, 0), AFTR);
        assert_ne!(whole.key(), shared.key());
        assert_eq!(whole.key().to_string(), "192.0.2.18");
        assert_eq!(shared.key().to_string(), "192.0.2.18 (a=0 k=6 psid=0)");
    }

    #[test]
    fn a_binding_names_b4_address_port_set_and_aftr_of_one_softwire() {
        // R-058, R-061
        let binding = Binding::new("2001:db8::1".parse().unwrap(), IPV4, ports(0, 6, 3), AFTR);
        let key = binding.key();
        assert_eq!((key.ipv4, key.ports.psid()), (IPV4, 3));
        assert_eq!(binding.aftr, AFTR);
    }

    #[test]
    fn the_subscriber_is_the_masked_b4_address() {
        // R-067
        let b4 = "2001:db8:100:1ff::2".parse().unwrap();
        let binding = Binding::new(b4, IPV4, PortParams::FULL, AFTR);
        let at = |mask| binding.subscriber(mask).to_string();
        assert_eq!(at(56), "2001:db8:100:100::/56");
        assert_eq!(at(0), "::/0");
        assert_eq!(at(128), "2001:db8:100:1ff::2/128");
        assert_eq!(at(200), "2001:db8:100:1ff::2/128");
    }

    #[test]
    fn an_expiry_is_over_from_its_moment_on() {
        // R-059
        let at = Instant::from_secs(10);
        assert!(!Expiry::At(at).is_over(Instant::from_micros(9_999_999)));
        assert!(Expiry::At(at).is_over(at));
        assert!(!Expiry::Never.is_over(Instant::from_secs(u64::MAX)));
    }

    #[test]
    fn every_origin_is_found_by_its_name() {
        for origin in Origin::ALL {
            assert_eq!(Origin::from_name(origin.as_str()), Some(origin));
        }
        assert_eq!(Origin::from_name("dhcpv6"), None);
        assert!(Origin::Dhcp.is_dynamic() && Origin::Pcp.is_dynamic());
        assert!(!Origin::Static.is_dynamic() && !Origin::Peer.is_dynamic());
    }

    #[test]
    fn a_million_bindings_fit_in_64_megabytes() {
        assert!(size_of::<Binding>() <= 64);
    }
}
