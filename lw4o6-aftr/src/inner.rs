//! What the pipeline needs to know of an IPv4 packet.

use core::net::Ipv4Addr;

use lw4o6_wire::l4::{self, Ports};
use lw4o6_wire::{Ecn, IpProtocol, Ipv4Packet};

/// The fields of an IPv4 header that decide its way, read once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Inner {
    /// Header length in bytes, options included.
    pub(crate) header_len: u8,
    /// Total length in bytes.
    pub(crate) total_len: u16,
    pub(crate) tos: u8,
    pub(crate) ttl: u8,
    pub(crate) dont_fragment: bool,
    pub(crate) more: bool,
    /// Fragment offset in bytes.
    pub(crate) offset: u16,
    pub(crate) ident: u16,
    pub(crate) protocol: IpProtocol,
    pub(crate) src: Ipv4Addr,
    pub(crate) dst: Ipv4Addr,
    /// Ports, where the protocol has them and this is no later fragment.
    pub(crate) ports: Option<Ports>,
}

impl Inner {
    /// Nothing in particular.
    pub(crate) const EMPTY: Self = Self {
        header_len: 20,
        total_len: 20,
        tos: 0,
        ttl: 64,
        dont_fragment: false,
        more: false,
        offset: 0,
        ident: 0,
        protocol: IpProtocol::UDP,
        src: Ipv4Addr::UNSPECIFIED,
        dst: Ipv4Addr::UNSPECIFIED,
        ports: None,
    };

    pub(crate) fn read(packet: &Ipv4Packet<'_>) -> Self {
        let header = &packet.header;
        let protocol = header.protocol();
        Self {
            header_len: u8::try_from(header.ihl_bytes()).unwrap_or(20), // at most 60
            total_len: header.total_len(),
            tos: header.tos(),
            ttl: header.ttl(),
            dont_fragment: header.dont_fragment(),
            more: header.more_fragments(),
            offset: header.fragment_offset(),
            ident: header.ident(),
            protocol,
            src: header.src(),
            dst: header.dst(),
            ports: if header.is_first() {
                l4::ports(protocol, packet.payload)
            } else {
                None
            },
        }
    }

    pub(crate) const fn is_fragment(&self) -> bool {
        self.more || self.offset != 0
    }

    pub(crate) const fn is_later_fragment(&self) -> bool {
        self.offset != 0
    }

    pub(crate) const fn ecn(&self) -> Ecn {
        Ecn::from_bits(self.tos)
    }
}
