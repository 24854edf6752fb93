//! From the Internet to a B4.
//!
//! | step | what | where |
//! |---|---|---|
//! | W1 | IPv4 header, martians | [`Worker::forward_downstream`] |
//! | W2 | addresses of the box | `echo.rs` |
//! | W3 | fragments on shared addresses | `fragments.rs` |
//! | W4 | lookup key | `key.rs` |
//! | W5 | binding lookup | `binding_check.rs` |
//! | W6 | TTL | [`Worker::forward_downstream`] |
//! | W7 | size | `emit.rs` |
//! | W8, W9 | encapsulation, tunnel fragments | `emit.rs` |

use lw4o6_binding::table::{Lookup, Softwire};
use lw4o6_wire::icmpv4::Icmpv4ErrorKind;
use lw4o6_wire::{FrameBuf, Instant, LinkCast};

use crate::classify::{Found, Ipv4};
use crate::config::{ForeignIpv4, PoolSource};
use crate::emit::Emitted;
use crate::fragments::{FragmentPorts, Ports};
use crate::martian::is_service;
use crate::refusal::Refusal;
use crate::traffic::Way;
use crate::upstream::{check_header, is_tunnel_loop};
use crate::worker::Worker;
use crate::{DropReason, Kind, Verdict};

impl Worker {
    /// W1 to W9 for the IPv4 packet in `frame`; `found` answers its lookup key.
    pub(crate) fn forward_downstream(
        &mut self,
        now: Instant,
        frame: &mut FrameBuf<'_>,
        ipv4: &Ipv4,
        found: Found,
    ) -> Result<Emitted, Refusal> {
        let foreign = found.line == Lookup::Foreign;
        if foreign && self.settings.config.foreign_ipv4 == ForeignIpv4::Local {
            return Ok(Verdict::Local(Kind::Foreign).into());
        }
        // W1: header.
        check_header(ipv4)?;
        if frame.link_cast() != LinkCast::Unicast {
            return Err(DropReason::LinkGroup.into()); // RFC 1812 §5.3.4: in silence
        }
        self.check_internet_source(ipv4, found.peer_managed)?;
        self.check_icmp_policy(now, ipv4)?;
        // W3: a fragment on a shared address follows its first one.
        let softwire = match self.downstream_ports(now, frame, ipv4)? {
            Ports::Held => return Ok(Verdict::Consumed.into()),
            Ports::InPacket => {
                let key = ipv4.key?; // W4
                self.find_destination(&ipv4.inner, key, found.line)? // W5
            }
            Ports::Known(ports) => self.find_by_ports(ipv4, ports)?,
            Ports::First(ports) => {
                let softwire = self.find_by_ports(ipv4, ports);
                self.settle(now, frame, None, softwire)?
            }
        };
        let ends = self.ends(&softwire)?;
        if is_tunnel_loop(frame.packet(), &ipv4.inner, ends) {
            return Err(DropReason::TunnelLoop.into());
        }
        // W6: R-094
        if ipv4.inner.ttl <= 1 {
            return Err(Refusal::v4(
                DropReason::TtlExpired,
                Icmpv4ErrorKind::TimeExceeded,
            ));
        }
        // W7 to W9
        if self.traffic.is_none() {
            return self.encapsulate(now, frame, ipv4, ends);
        }
        let emitted = self.encapsulate(now, frame, ipv4, ends);
        if emitted.is_ok() {
            self.count_softwire(&softwire, Way::Downstream, &ipv4.inner);
        }
        emitted
    }

    fn find_by_ports(&self, ipv4: &Ipv4, ports: FragmentPorts) -> Result<Softwire, Refusal> {
        let key = ports.destination?;
        let found = self.lookup(ipv4.inner.dst, key);
        self.find_destination(&ipv4.inner, key, found)
    }

    /// Nobody on the Internet has an address of ours, or one that exists in tunnels only. R-086 R-097
    pub(crate) fn check_internet_source(&self, ipv4: &Ipv4, ours: bool) -> Result<(), DropReason> {
        let src = ipv4.inner.src;
        if is_service(src) {
            return Err(DropReason::ServiceAddress);
        }
        if self.settings.config.pool_source == PoolSource::Drop && ours {
            return Err(DropReason::PoolSourceSpoofed);
        }
        Ok(())
    }
}
