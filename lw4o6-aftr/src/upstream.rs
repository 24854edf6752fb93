//! From a B4 to the Internet, or to another B4.
//!
//! | step | what | where |
//! |---|---|---|
//! | U1 | outer IPv6 header | [`classify`](crate::classify) |
//! | U2 | extension headers | [`classify`](crate::classify) |
//! | U3 | reassembly of tunnel fragments | `fragments.rs` |
//! | U4 | next header | [`classify`](crate::classify) |
//! | U5 | inner IPv4 header, martians | [`Worker::forward_upstream`] |
//! | U6 | ports of inner fragments | `fragments.rs` |
//! | U7 | binding check | `binding_check.rs` |
//! | U8 | ECN | [`Worker::check_source`] |
//! | U9 | destination, hairpin | [`Worker::destination`] |
//! | U10 | TTL | [`Worker::forward_upstream`] |
//! | U11 | size, emission | `emit.rs` |

use lw4o6_binding::table::{Lookup, Softwire};
use lw4o6_wire::icmpv4::Icmpv4ErrorKind;
use lw4o6_wire::{FrameBuf, Instant, IpProtocol, Ipv4Packet, Ipv6Header, UnusedEcn, ecn_decap};

use crate::classify::{Found, Ipv4, Tunnel};
use crate::config::{Hairpin, PrivateDestination, Switch, TunnelService};
use crate::counters::Counter;
use crate::emit::{Emitted, Ends};
use crate::fragments::{FragmentPorts, Ports};
use crate::inner::Inner;
use crate::key::{Direction, Key, key};
use crate::martian::{SERVICE_AFTR, SERVICE_B4, is_martian, is_private, is_service};
use crate::refusal::Refusal;
use crate::traffic::Way;
use crate::worker::Worker;
use crate::{DropReason, Kind, Verdict};

/// Where a packet that passed the binding check goes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Route {
    Internet,
    /// To an address of the box.
    Own,
    /// To a B4 of our own (RFC 7596 §6.2).
    Hairpin(Softwire),
}

impl Worker {
    /// U5 to U11 for the tunnel packet in `frame`; `found` answers its lookup key.
    pub(crate) fn forward_upstream(
        &mut self,
        now: Instant,
        frame: &mut FrameBuf<'_>,
        tunnel: &Tunnel,
        found: Found,
    ) -> Result<Emitted, Refusal> {
        // U5: inner header.
        let ipv4 = &tunnel.ipv4;
        check_header(ipv4)?;
        let private = self.settings.config.private_destination;
        let dst = ipv4.inner.dst;
        if private == PrivateDestination::Drop && is_private(dst) && !self.is_own_ipv4(dst) {
            return Err(DropReason::Ipv4DestinationMartian.into());
        }
        if is_service(ipv4.inner.src) || is_service(dst) {
            return self.service(tunnel);
        }
        // U6: a fragment on a shared address follows its first one; U7 to U9.
        let ports = self.upstream_ports(now, frame, tunnel)?;
        let route = match ports {
            Ports::Held => return Ok(Verdict::Consumed.into()),
            Ports::InPacket => {
                let key = ipv4.key?;
                let hairpin_key = |worker: &Self| worker.hairpin_key(frame, tunnel);
                self.check_source(now, frame, tunnel, key, found.line)?;
                self.destination(now, tunnel, found.peer_managed, hairpin_key)?
            }
            Ports::Known(ports) => self.route_fragment(now, frame, tunnel, ports)?,
            Ports::First(ports) => {
                let route = self.route_fragment(now, frame, tunnel, ports);
                self.settle(now, frame, Some(tunnel), route)?
            }
        };
        // U10: the TTL goes down by one, whichever way the packet leaves. R-084 R-114
        if ipv4.inner.ttl <= 1 && !matches!(route, Route::Own) {
            return Err(Refusal::v4(
                DropReason::TtlExpired,
                Icmpv4ErrorKind::TimeExceeded,
            ));
        }
        // U11
        if self.traffic.is_none() {
            return self.emit_upstream(now, frame, tunnel, route);
        }
        let emitted = self.emit_upstream(now, frame, tunnel, route);
        if emitted.is_ok() && !matches!(route, Route::Own) {
            self.count_upstream(ipv4, found, ports, route);
        }
        emitted
    }

    /// U11
    #[inline]
    fn emit_upstream(
        &self,
        now: Instant,
        frame: &mut FrameBuf<'_>,
        tunnel: &Tunnel,
        route: Route,
    ) -> Result<Emitted, Refusal> {
        match route {
            Route::Internet => self.decapsulate(frame, tunnel),
            Route::Own => self.own_in_tunnel(now, frame, tunnel),
            Route::Hairpin(softwire) => self.hairpin(now, frame, tunnel, &softwire),
        }
    }

    /// Counts a packet for the softwire that it came through, and the one that it goes into.
    #[inline(never)]
    fn count_upstream(&self, ipv4: &Ipv4, found: Found, ports: Ports, route: Route) {
        let inner = &ipv4.inner;
        let sender = match ports {
            Ports::InPacket | Ports::Held => found.line,
            Ports::First(ports) | Ports::Known(ports) => match ports.source {
                Ok(key) => self.lookup(inner.src, key),
                Err(_) => Lookup::NoPort,
            },
        };
        if let Lookup::Found(softwire) = sender {
            self.count_softwire(&softwire, Way::Upstream, inner);
        }
        if let Route::Hairpin(softwire) = route {
            self.count_softwire(&softwire, Way::Downstream, inner);
        }
    }

    /// Counts a forwarded packet for its softwire.
    #[inline(never)]
    pub(crate) fn count_softwire(&self, softwire: &Softwire, way: Way, inner: &Inner) {
        let traffic = self.traffic.as_ref();
        if traffic.is_some_and(|traffic| !traffic.count(softwire, way, inner.total_len)) {
            self.counters.add(Counter::SoftwireUncountedPackets, 1);
        }
    }

    /// U7 to U9 for a fragment whose ports are known from its first one.
    fn route_fragment(
        &self,
        now: Instant,
        frame: &FrameBuf<'_>,
        tunnel: &Tunnel,
        ports: FragmentPorts,
    ) -> Result<Route, Refusal> {
        let key = ports.source?;
        let found = self.lookup(tunnel.ipv4.inner.src, key);
        self.check_source(now, frame, tunnel, key, found)?;
        let managed = self.is_managed(tunnel.ipv4.inner.dst);
        self.destination(now, tunnel, managed, |_| ports.destination)
    }

    /// U7 and U8.
    fn check_source(
        &self,
        now: Instant,
        frame: &FrameBuf<'_>,
        tunnel: &Tunnel,
        key: Key,
        found: Lookup,
    ) -> Result<(), Refusal> {
        self.check_binding(now, tunnel, key, found)?;
        let inner = frame.packet().get(tunnel.at..).unwrap_or_default();
        if is_tunnel_loop(inner, &tunnel.ipv4.inner, tunnel.ends()) {
            return Err(DropReason::TunnelLoop.into());
        }
        // R-195 R-196
        let ecn = ecn_decap(tunnel.ipv4.inner.ecn(), tunnel.outer_ecn());
        match ecn.unused {
            UnusedEcn::None => {}
            UnusedEcn::Minor => self.counters.add(Counter::EcnUnusedMinor, 1),
            UnusedEcn::Major => self.counters.add(Counter::EcnUnusedMajor, 1),
        }
        match ecn.outcome {
            Some(_) => Ok(()),
            None => Err(DropReason::EcnCongestion.into()), // in silence
        }
    }

    /// U9: the box itself, addresses of ours through their tunnels, everything else through the Internet.
    /// R-112 R-113
    fn destination(
        &self,
        now: Instant,
        tunnel: &Tunnel,
        managed: bool,
        hairpin_key: impl FnOnce(&Self) -> Result<Key, DropReason>,
    ) -> Result<Route, Refusal> {
        let inner = &tunnel.ipv4.inner;
        if self.is_own_ipv4(inner.dst) {
            return Ok(Route::Own);
        }
        if !managed {
            return Ok(Route::Internet);
        }
        match self.settings.config.hairpin {
            Hairpin::ToIpv4Side => Ok(Route::Internet),
            Hairpin::Drop => Err(DropReason::HairpinOff.into()),
            Hairpin::Local => {
                // The second check, as if the packet came from the Internet. R-114 R-116
                self.check_icmp_policy(now, &tunnel.ipv4)?;
                let key = hairpin_key(self)?;
                let found = self.lookup(inner.dst, key);
                self.find_destination(inner, key, found).map(Route::Hairpin)
            }
        }
    }

    /// The key of an upstream packet as if it came from the Internet.
    fn hairpin_key(&self, frame: &FrameBuf<'_>, tunnel: &Tunnel) -> Result<Key, DropReason> {
        let packet = frame.packet().get(tunnel.at..).unwrap_or_default();
        let packet = Ipv4Packet::split(packet).map_err(|_| DropReason::Internal)?;
        key(
            Direction::Downstream,
            &packet,
            &tunnel.ipv4.inner,
            self.settings.key_rules,
        )
    }

    /// Packets of the in-tunnel service addresses are for the owner or for nobody. R-086 R-087
    fn service(&self, tunnel: &Tunnel) -> Result<Emitted, Refusal> {
        let inner = &tunnel.ipv4.inner;
        let on = self.settings.config.tunnel_service == TunnelService::On;
        if on && inner.src == SERVICE_B4 && inner.dst == SERVICE_AFTR {
            let (b4, aftr) = (tunnel.b4, tunnel.aftr);
            return Ok(Verdict::Local(Kind::Tunnelled { b4, aftr }).into());
        }
        Err(DropReason::ServiceAddress.into())
    }

    /// What may come in to a pool address; what its owner sends is no concern of this. A later fragment
    /// belongs to a message that was counted. R-110
    pub(crate) fn check_icmp_policy(&self, now: Instant, ipv4: &Ipv4) -> Result<(), DropReason> {
        if ipv4.inner.protocol != IpProtocol::ICMP {
            return Ok(());
        }
        if self.settings.config.icmp.incoming_v4 == Switch::Off {
            return Err(DropReason::Icmpv4Policy);
        }
        if ipv4.inner.is_later_fragment() || self.take_incoming_icmpv4(now) {
            Ok(())
        } else {
            Err(DropReason::Icmpv4Rate)
        }
    }
}

/// Checksum and addresses, for both directions. R-074 R-075
pub(crate) fn check_header(ipv4: &Ipv4) -> Result<(), DropReason> {
    ipv4.checksum?;
    if is_martian(ipv4.inner.src) {
        return Err(DropReason::Ipv4SourceMartian);
    }
    if is_martian(ipv4.inner.dst) {
        return Err(DropReason::Ipv4DestinationMartian);
    }
    Ok(())
}

/// Whether the packet is itself a tunnel packet between the ends of the tunnel it would go through,
/// in either direction (RFC 2473 §4.1.2, R-202).
pub(crate) fn is_tunnel_loop(packet: &[u8], inner: &Inner, tunnel: Ends) -> bool {
    if inner.protocol != IpProtocol::IPV6 || inner.is_later_fragment() {
        return false;
    }
    let payload = usize::from(inner.header_len)..usize::from(inner.total_len); // without padding
    let nested = packet.get(payload).unwrap_or_default();
    Ipv6Header::split_quoted(nested).is_ok_and(|(nested, _)| {
        let Ends { b4, aftr } = tunnel;
        let ends = (nested.src(), nested.dst());
        ends == (b4, aftr) || ends == (aftr, b4)
    })
}
