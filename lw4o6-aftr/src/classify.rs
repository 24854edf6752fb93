//! Reading a frame, without changing it or anything else.
//!
//! What is found here depends on the frame, the knobs and the table only, so a whole batch can be
//! read first and all its table lines fetched together.

use core::net::{Ipv4Addr, Ipv6Addr};

use lw4o6_binding::table::{Lookup, LookupKey};
use lw4o6_wire::icmpv4::Icmpv4Type;
use lw4o6_wire::icmpv6::{Icmpv6ErrorKind, Icmpv6Type, ParameterProblemCode};
use lw4o6_wire::ipv6_ext::{self, ExtWalk};
use lw4o6_wire::{Ecn, ExtProblem, IpProtocol, Ipv4Packet, Ipv6Header};

use crate::emit::Ends;
use crate::inner::Inner;
use crate::key::{Direction, Key, key};
use crate::martian::is_ipv6_source;
use crate::refusal::Refusal;
use crate::settings::OUTER_LEN;
use crate::worker::Worker;
use crate::{DropReason, Kind, Side};

/// An IPv4 packet that a B4 sent, in its tunnel packet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tunnel {
    /// Outer source.
    pub(crate) b4: Ipv6Addr,
    /// Outer destination.
    pub(crate) aftr: Ipv6Addr,
    /// Outer traffic class.
    pub(crate) traffic_class: u8,
    /// Where the IPv4 header starts, in bytes from the start of the frame.
    pub(crate) at: usize,
    pub(crate) ipv4: Ipv4,
}

impl Tunnel {
    pub(crate) const fn ends(&self) -> Ends {
        Ends {
            b4: self.b4,
            aftr: self.aftr,
        }
    }

    pub(crate) const fn outer_ecn(&self) -> Ecn {
        Ecn::from_bits(self.traffic_class)
    }
}

/// An IPv4 packet, whatever side it came from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ipv4 {
    pub(crate) inner: Inner,
    /// Whether the header checksum is right.
    pub(crate) checksum: Result<(), DropReason>,
    pub(crate) key: Result<Key, DropReason>,
    /// An `ICMPv4` error, or the first fragment of one.
    pub(crate) is_icmp_error: bool,
}

/// What a frame is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Frame {
    /// A tunnel packet to an AFTR address, U1 to U5 passed.
    Tunnel(Tunnel),
    /// A fragment of an IPv6 packet for us.
    TunnelFragment,
    /// `ICMPv6` for us.
    Icmpv6(Icmpv6),
    /// An IPv4 packet from the Internet for somebody else.
    Ipv4(Ipv4),
    /// An IPv4 packet for an address of the box.
    OwnIpv4(Ipv4),
    /// The owner's business.
    Local(Kind),
    Refused(Refusal),
}

/// An `ICMPv6` message for an address of ours.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Icmpv6 {
    pub(crate) src: Ipv6Addr,
    pub(crate) dst: Ipv6Addr,
    /// Where the message starts, in bytes from the start of the frame.
    pub(crate) at: usize,
    /// Whether the destination is the end of a tunnel.
    pub(crate) to_aftr: bool,
}

/// What the table says about a frame.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    /// The line of the subscriber whose side the frame came from or goes to.
    pub(crate) line: Lookup,
    /// Whether the address at the other end is one of ours as well.
    pub(crate) peer_managed: bool,
}

impl Frame {
    /// The address at the other end, to be asked for without a port.
    pub(crate) const fn peer_key(&self) -> LookupKey {
        let address = match self {
            Self::Tunnel(tunnel) => tunnel.ipv4.inner.dst,
            Self::Ipv4(ipv4) => ipv4.inner.src,
            Self::TunnelFragment
            | Self::Icmpv6(_)
            | Self::OwnIpv4(_)
            | Self::Local(_)
            | Self::Refused(_) => Ipv4Addr::UNSPECIFIED,
        };
        LookupKey {
            ipv4: address.to_bits(),
            port: None,
        }
    }

    /// The table line this frame needs.
    pub(crate) fn lookup_key(&self) -> LookupKey {
        let (address, ipv4) = match self {
            Self::Tunnel(tunnel) => (tunnel.ipv4.inner.src, &tunnel.ipv4),
            Self::Ipv4(ipv4) => (ipv4.inner.dst, ipv4),
            Self::TunnelFragment
            | Self::Icmpv6(_)
            | Self::OwnIpv4(_)
            | Self::Local(_)
            | Self::Refused(_) => return LookupKey::default(),
        };
        LookupKey {
            ipv4: address.to_bits(),
            port: ipv4.key.ok().and_then(Key::port),
        }
    }
}

/// Whose an IPv6 destination is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Target {
    /// The end of tunnels.
    Aftr,
    /// The box, but no tunnel ends there.
    Own,
    /// Link-local multicast.
    LinkGroup,
    Other,
}

impl Worker {
    pub(crate) fn read(&self, side: Side, packet: &[u8]) -> Frame {
        match side {
            Side::Softwire => self.read_ipv6(packet).unwrap_or_else(Frame::Refused),
            Side::Internet => self.read_ipv4(packet).unwrap_or_else(Frame::Refused),
        }
    }

    /// U1, U2, U4 and U5.
    fn read_ipv6(&self, packet: &[u8]) -> Result<Frame, Refusal> {
        // U1: outer header.
        let (outer, payload) = Ipv6Header::split(packet).map_err(|_| DropReason::Ipv6Malformed)?;
        let (src, dst) = (outer.src(), outer.dst());
        let to_aftr = match self.target(dst) {
            Target::Aftr => true,
            Target::Own => false,
            Target::LinkGroup if outer.next_header() == IpProtocol::ICMPV6 => {
                return Ok(Frame::Local(Kind::Own));
            }
            Target::LinkGroup | Target::Other => return Ok(Frame::Local(Kind::Foreign)),
        };
        if is_neighbor_discovery(&outer, payload) {
            return Ok(Frame::Local(Kind::Own));
        }
        let neighbor = !to_aftr && src.is_unicast_link_local();
        // Nobody but us has an address of ours.
        if !is_ipv6_source(src) && !neighbor || src == dst {
            return Err(DropReason::Ipv6SourceInvalid.into());
        }
        // U2: extension headers, left to right. R-069 R-070 R-071 R-073
        let walk = ipv6_ext::walk(outer.next_header(), payload).map_err(ext_problem)?;
        let Some(walk) = past_atomic_fragment(walk)? else {
            return Ok(Frame::TunnelFragment); // U3 keeps state
        };
        // U4: what follows.
        let at = OUTER_LEN + walk.offset;
        match walk.next {
            IpProtocol::IPV4 if to_aftr => {
                self.check_subscriber(src)?;
                let ipv4 = self.read_inner(Direction::Upstream, walk.payload)?; // U5
                Ok(Frame::Tunnel(Tunnel {
                    b4: src,
                    aftr: dst,
                    traffic_class: outer.traffic_class(),
                    at,
                    ipv4,
                }))
            }
            IpProtocol::ICMPV6 => Ok(Frame::Icmpv6(Icmpv6 {
                src,
                dst,
                at,
                to_aftr,
            })),
            IpProtocol::UDP | IpProtocol::TCP => Ok(Frame::Local(Kind::Own)),
            next if !to_aftr && next != IpProtocol::IPV4 => Ok(Frame::Local(Kind::Own)),
            _ => Err(unknown_next_header(&walk)),
        }
    }

    /// W1 as far as it needs no table.
    fn read_ipv4(&self, packet: &[u8]) -> Result<Frame, Refusal> {
        let ipv4 = self.read_inner(Direction::Downstream, packet)?;
        if self.settings.config.own_ipv4.contains(&ipv4.inner.dst) {
            return Ok(Frame::OwnIpv4(ipv4)); // W2
        }
        Ok(Frame::Ipv4(ipv4))
    }

    /// Lengths and fields of an IPv4 packet, and the key to look it up by. R-074 R-095
    fn read_inner(&self, direction: Direction, packet: &[u8]) -> Result<Ipv4, DropReason> {
        let packet = Ipv4Packet::split(packet).map_err(|_| DropReason::Ipv4Malformed)?;
        let inner = Inner::read(&packet);
        let checksum = if packet.header_checksum_ok() {
            Ok(())
        } else {
            Err(DropReason::Ipv4Checksum)
        };
        Ok(Ipv4 {
            inner,
            checksum,
            key: key(direction, &packet, &inner, self.settings.key_rules),
            is_icmp_error: is_icmp_error(&inner, packet.payload),
        })
    }

    fn target(&self, dst: Ipv6Addr) -> Target {
        let config = &self.settings.config;
        if self.is_aftr(dst) {
            Target::Aftr
        } else if config.own_ipv6.contains(&dst) {
            Target::Own
        } else if matches!(dst.octets(), [0xff, 0x02, ..]) {
            Target::LinkGroup
        } else {
            Target::Other
        }
    }

    /// Whether tunnels end at `address`: it is configured, or a binding names it.
    pub(crate) fn is_aftr(&self, address: Ipv6Addr) -> bool {
        self.reader.aftr_index(&address.octets()).is_some()
            || self.settings.config.aftr_addresses.contains(&address)
    }

    ///
    fn check_subscriber(&self, src: Ipv6Addr) -> Result<(), DropReason> {
        if self.settings.is_subscriber(src) {
            Ok(())
        } else {
            Err(DropReason::Ipv6SourceNotAllowed)
        }
    }
}

/// Whether `l4` starts an `ICMPv4` error.
fn is_icmp_error(inner: &Inner, l4: &[u8]) -> bool {
    inner.protocol == IpProtocol::ICMP
        && !inner.is_later_fragment()
        && l4
            .first()
            .is_some_and(|type_| Icmpv4Type(*type_).is_error())
}

/// Neighbor discovery is judged by whoever speaks it: its sources may be link-local or unspecified.
fn is_neighbor_discovery(outer: &Ipv6Header<&[u8; OUTER_LEN]>, payload: &[u8]) -> bool {
    outer.next_header() == IpProtocol::ICMPV6
        && payload.first().is_some_and(|type_| {
            (Icmpv6Type::ROUTER_SOLICIT.0..=Icmpv6Type::REDIRECT.0).contains(type_)
        })
}

/// The walk behind an atomic fragment (RFC 6946), or the same walk where there is no Fragment
/// header; `None` for a fragment that has to be reassembled.
fn past_atomic_fragment(walk: ExtWalk<'_>) -> Result<Option<ExtWalk<'_>>, Refusal> {
    match walk.fragment {
        None => Ok(Some(walk)),
        // R-135; a second Fragment header behind it is a next header like any unknown one
        Some(fragment) if fragment.is_atomic() => {
            walk.past_fragment().map(Some).map_err(ext_problem)
        }
        Some(_) => Ok(None),
    }
}

fn unknown_next_header(walk: &ExtWalk<'_>) -> Refusal {
    //
    let pointer = u32::try_from(walk.next_header_at).unwrap_or(u32::MAX);
    let code = ParameterProblemCode::NEXT_HEADER;
    Refusal::v6(
        DropReason::NextHeaderUnknown,
        Icmpv6ErrorKind::ParameterProblem { code, pointer },
    )
}

fn ext_problem(problem: ExtProblem) -> Refusal {
    let reason = match problem {
        ExtProblem::Truncated | ExtProblem::OptionLength { .. } => DropReason::ExtHeaderMalformed,
        ExtProblem::TooMany => DropReason::ExtHeaderLimit,
        ExtProblem::NoNextHeader => DropReason::NoNextHeader,
        ExtProblem::UnknownNextHeader { .. } => DropReason::NextHeaderUnknown,
        ExtProblem::UnknownOption { .. } => DropReason::ExtHeaderOption,
        ExtProblem::RoutingSegments { .. } => DropReason::RoutingHeader,
    };
    match problem.parameter_problem(false) {
        None => reason.into(),
        Some((code, pointer)) => {
            let code = ParameterProblemCode(code);
            Refusal::v6(reason, Icmpv6ErrorKind::ParameterProblem { code, pointer })
        }
    }
}
