//! Addresses that no packet on the wire may carry (RFC 1812 §5.3.7, R-075).

use core::net::{Ipv4Addr, Ipv6Addr};

/// The IPv4 Service Continuity Prefix, 192.0.0.0/29 (RFC 7335): addresses inside tunnels.
///
/// .1 is the AFTR, .2 the B4 (RFC 6333 §5.7).
pub(crate) const fn is_service(address: Ipv4Addr) -> bool {
    address.to_bits() & 0xffff_fff8 == 0xc000_0000
}

/// The AFTR's end of the tunnel, 192.0.0.1 (RFC 6333 §5.7).
pub(crate) const SERVICE_AFTR: Ipv4Addr = Ipv4Addr::new(192, 0, 0, 1);

/// The B4's end of the tunnel, 192.0.0.2 (RFC 6333 §5.7).
pub(crate) const SERVICE_B4: Ipv4Addr = Ipv4Addr::new(192, 0, 0, 2);

/// 0/8, 127/8, 169.254/16, 224/4 and 240/4, the limited broadcast included.
pub(crate) const fn is_martian(address: Ipv4Addr) -> bool {
    matches!(address.octets(), [0 | 127 | 224..=255, ..] | [169, 254, ..])
}

/// RFC 1918 and the shared space of RFC 6598.
pub(crate) const fn is_private(address: Ipv4Addr) -> bool {
    matches!(
        address.octets(),
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] | [100, 64..=127, ..]
    )
}

/// Whether a tunnel packet may come from this address: one node, and one that can be routed to.
pub(crate) const fn is_ipv6_source(address: Ipv6Addr) -> bool {
    !(address.is_unspecified()
        || address.is_loopback()
        || address.is_multicast()
        || address.is_unicast_link_local())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn martians_end_where_the_blocks_end() {
        for text in [
            "0.0.0.0",
            "0.255.255.255",
            "127.0.0.1",
            "127.255.255.255",
            "169.254.0.0",
            "169.254.255.255",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
        ] {
            assert!(is_martian(text.parse().unwrap()), "{text}");
        }
        for text in [
            "1.0.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "169.253.255.255",
            "169.255.0.0",
            "223.255.255.255",
            "10.0.0.1",
            "192.0.0.2",
        ] {
            assert!(!is_martian(text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn private_space_ends_where_the_blocks_end() {
        for text in [
            "10.0.0.0",
            "10.255.255.255",
            "172.16.0.0",
            "172.31.255.255",
            "192.168.0.0",
            "100.64.0.0",
            "100.127.255.255",
        ] {
            assert!(is_private(text.parse().unwrap()), "{text}");
        }
        for text in [
            "9.255.255.255",
            "11.0.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.167.255.255",
            "192.169.0.0",
            "100.63.255.255",
            "100.128.0.0",
        ] {
            assert!(!is_private(text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn the_service_prefix_has_eight_addresses() {
        assert!(is_service(SERVICE_AFTR) && is_service(SERVICE_B4));
        assert!(is_service(Ipv4Addr::new(192, 0, 0, 7)));
        assert!(!is_service(Ipv4Addr::new(192, 0, 0, 8)));
        assert!(!is_service(Ipv4Addr::new(191, 255, 255, 255)));
    }

    #[test]
    fn tunnel_sources_are_routable_unicast() {
        for text in ["::", "::1", "ff02::1", "fe80::1", "febf::1"] {
            assert!(!is_ipv6_source(text.parse().unwrap()), "{text}");
        }
        for text in ["2001:db8::1", "fd00::1", "fec0::1", "::2"] {
            assert!(is_ipv6_source(text.parse().unwrap()), "{text}");
        }
    }
}
