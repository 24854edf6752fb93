//! The last step of both directions: size, headers, counting.
//!
//! A step that refuses does so before the frame is changed. A packet too big for its link leaves
//! here whole, with a note how to cut it; `pieces.rs` cuts it once its verdict is known.

use core::net::Ipv6Addr;

use lw4o6_binding::table::Softwire;
use lw4o6_wire::icmpv4::Icmpv4ErrorKind;
use lw4o6_wire::ipv6_ext::encap_limit_header;
use lw4o6_wire::{
    Ecn, FrameBuf, Instant, IpProtocol, Ipv6Fields, NoHeadroom, ecn_decap, ecn_encap, ipv4, tcp,
};

use crate::classify::{Ipv4, Tunnel};
use crate::config::{DfPolicy, DscpDecap, DscpEncap, InnerFragmentation, MssClamp, Pmtud};
use crate::counters::Counter;
use crate::inner::Inner;
use crate::pmtu::icmpv4_mtu;
use crate::refusal::Refusal;
use crate::settings::OUTER_LEN;
use crate::worker::Worker;
use crate::{DropReason, Side, Verdict};

/// A verdict, and how the packet in the frame has to be cut to fit its link.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Emitted {
    pub(crate) verdict: Verdict,
    pub(crate) cut: Cut,
}

/// How a packet is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// Not at all.
    Whole,
    /// IPv4 fragments of this size (RFC 791).
    Ipv4 { mtu: u16 },
    /// IPv6 fragments of this size, behind the fixed header (RFC 6333 §5.3).
    Tunnel { mtu: u16 },
    /// IPv4 fragments behind the outer headers, tunnel packets of this size (RFC 4459 §3.4).
    Inner { mtu: u16 },
}

impl From<Verdict> for Emitted {
    fn from(verdict: Verdict) -> Self {
        Self {
            verdict,
            cut: Cut::Whole,
        }
    }
}

/// The two ends of a tunnel.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ends {
    pub(crate) b4: Ipv6Addr,
    pub(crate) aftr: Ipv6Addr,
}

impl Worker {
    /// U11: leaves the tunnel towards the Internet.
    pub(crate) fn decapsulate(
        &self,
        frame: &mut FrameBuf<'_>,
        tunnel: &Tunnel,
    ) -> Result<Emitted, Refusal> {
        let inner = &tunnel.ipv4.inner;
        let mtu = self.settings.config.ipv4_mtu;
        let cut = match (inner.total_len <= mtu, inner.dont_fragment) {
            (true, _) => Cut::Whole,
            (false, false) => {
                check_end(inner)?;
                Cut::Ipv4 { mtu }
            }
            (false, true) => return Err(too_big(mtu)),
        };
        self.strip(frame, tunnel);
        self.clamp_mss(frame, inner);
        let len = frame.len();
        self.counters
            .packet(Counter::SentIpv4Packets, Counter::SentIpv4Bytes, len);
        Ok(Emitted {
            verdict: Verdict::Forward(Side::Internet),
            cut,
        })
    }

    /// U11: leaves one tunnel and enters another (RFC 7596 §6.2). R-112 R-117
    pub(crate) fn hairpin(
        &self,
        now: Instant,
        frame: &mut FrameBuf<'_>,
        tunnel: &Tunnel,
        softwire: &Softwire,
    ) -> Result<Emitted, Refusal> {
        let inner = &tunnel.ipv4.inner;
        let ends = self.ends(softwire)?;
        let cut = self.fit_tunnel(now, inner, ends)?;
        self.check_headroom(frame.headroom() + tunnel.at)?;
        let tos = self.strip(frame, tunnel);
        self.clamp_mss(frame, inner);
        let len = frame.len();
        self.counters
            .packet(Counter::HairpinIpv4Packets, Counter::HairpinIpv4Bytes, len);
        self.push_outer(frame, ends, &Inner { tos, ..*inner })
            .map_err(|NoHeadroom| DropReason::NoHeadroom)?;
        Ok(Emitted {
            verdict: Verdict::Forward(Side::Softwire),
            cut,
        })
    }

    /// W7 to W9: enters the tunnel.
    pub(crate) fn encapsulate(
        &self,
        now: Instant,
        frame: &mut FrameBuf<'_>,
        ipv4: &Ipv4,
        ends: Ends,
    ) -> Result<Emitted, Refusal> {
        let inner = &ipv4.inner;
        let cut = self.fit_tunnel(now, inner, ends)?;
        self.check_headroom(frame.headroom())?;
        frame.truncate(inner.total_len.into());
        if let Some(header) = ipv4::header_mut(frame.packet_mut()) {
            ipv4::decrement_ttl(header);
        }
        self.clamp_mss(frame, inner);
        self.push_outer(frame, ends, inner)
            .map_err(|NoHeadroom| DropReason::NoHeadroom)?;
        let len = frame.len();
        self.counters
            .packet(Counter::SentIpv6Packets, Counter::SentIpv6Bytes, len);
        Ok(Emitted {
            verdict: Verdict::Forward(Side::Softwire),
            cut,
        })
    }

    pub(crate) fn ends(&self, softwire: &Softwire) -> Result<Ends, DropReason> {
        let aftr = self.aftr_of(softwire).ok_or(DropReason::Internal)?;
        let b4 = softwire.b4.into();
        Ok(Ends { b4, aftr })
    }

    /// Writes the outer headers in front of the IPv4 packet in `frame`, whose fields are `inner`.
    /// R-090 R-190 R-192 R-193 R-198 R-200 R-201
    pub(crate) fn push_outer(
        &self,
        frame: &mut FrameBuf<'_>,
        ends: Ends,
        inner: &Inner,
    ) -> Result<(), NoHeadroom> {
        let config = &self.settings.config;
        let mut next_header = IpProtocol::IPV4;
        if let Some(limit) = config.encap_limit {
            frame.push_front(&encap_limit_header(next_header, limit))?;
            next_header = IpProtocol::DST_OPTS;
        }
        let dscp = match config.dscp_encap {
            DscpEncap::Uniform => inner.tos >> 2,
            DscpEncap::Fixed(dscp) => dscp,
        };
        let ecn = ecn_encap(config.ecn_encap, inner.ecn());
        let fields = Ipv6Fields {
            traffic_class: dscp << 2 | ecn.bits(),
            flow_label: self.flow_key.label(config.flow_label, inner),
            payload_len: u16::try_from(frame.len()).unwrap_or(u16::MAX),
            next_header,
            hop_limit: config.hop_limit,
            src: ends.aftr,
            dst: ends.b4,
        };
        frame.push_front(&fields.to_bytes())
    }

    /// Removes the outer headers, and writes the new TOS and TTL; returns the TOS. Of the bytes behind
    /// the IPv4 header only the MSS option is ever changed, and only by knob. R-009
    fn strip(&self, frame: &mut FrameBuf<'_>, tunnel: &Tunnel) -> u8 {
        let inner = &tunnel.ipv4.inner;
        frame.trim_front(tunnel.at);
        frame.truncate(inner.total_len.into());
        let tos = self.inner_tos(tunnel);
        if let Some(header) = ipv4::header_mut(frame.packet_mut()) {
            // R-084 R-197
            ipv4::decrement_ttl(header);
            if tos != inner.tos {
                ipv4::set_tos(header, tos);
            }
        }
        tos
    }

    /// DSCP by knob, ECN by RFC 6040 §4.2. R-191 R-194
    pub(crate) fn inner_tos(&self, tunnel: &Tunnel) -> u8 {
        let inner = &tunnel.ipv4.inner;
        let dscp = match self.settings.config.dscp_decap {
            DscpDecap::Uniform => tunnel.traffic_class & !3,
            DscpDecap::Pipe => inner.tos & !3,
        };
        let ecn = ecn_decap(inner.ecn(), tunnel.outer_ecn()).outcome;
        // The combination that has no outcome was refused before.
        dscp | ecn.unwrap_or(Ecn::Ce).bits()
    }

    /// Room for the outer headers and a Fragment header.
    fn check_headroom(&self, headroom: usize) -> Result<(), DropReason> {
        if headroom >= self.settings.overhead + 8 {
            Ok(())
        } else {
            Err(DropReason::NoHeadroom)
        }
    }

    /// MTU of the path to a B4 in bytes of IPv6 packet.
    pub(crate) fn path_mtu(&self, now: Instant, b4: Ipv6Addr) -> u16 {
        let configured = self.settings.config.ipv6_mtu;
        match self.settings.config.pmtud {
            Pmtud::Static => configured,
            Pmtud::Dynamic => {
                let mtu = self.shared.path_mtus.get(now, b4, configured.into());
                u16::try_from(mtu).unwrap_or(configured)
            }
        }
    }

    /// R-118 R-119 R-120 R-122 R-125
    fn fit_tunnel(&self, now: Instant, inner: &Inner, ends: Ends) -> Result<Cut, Refusal> {
        let config = &self.settings.config;
        let mtu = self.path_mtu(now, ends.b4);
        let overhead = u32::try_from(self.settings.overhead).unwrap_or(u32::MAX);
        let tunnel_mtu = icmpv4_mtu(mtu.into(), overhead);
        if inner.total_len <= tunnel_mtu {
            return Ok(Cut::Whole);
        }
        if inner.dont_fragment && config.df_policy == DfPolicy::Rfc2473 {
            return Err(too_big(tunnel_mtu));
        }
        if !inner.dont_fragment && config.inner_fragmentation == InnerFragmentation::On {
            check_end(inner)?;
            return Ok(Cut::Inner { mtu });
        }
        // The B4 could not put together more than fits the payload length.
        let payload = usize::from(inner.total_len) + self.settings.overhead - OUTER_LEN;
        if payload > usize::from(u16::MAX) {
            return Err(DropReason::TooBig.into());
        }
        Ok(Cut::Tunnel { mtu })
    }

    /// Lowers the MSS of the SYN in `frame`, an IPv4 packet. R-155
    fn clamp_mss(&self, frame: &mut FrameBuf<'_>, inner: &Inner) {
        let max = match self.settings.config.mss_clamp {
            MssClamp::Off => return,
            MssClamp::ToTunnel => {
                let taken = self.settings.overhead + 40;
                let left = usize::from(self.settings.config.ipv6_mtu) - taken;
                u16::try_from(left).unwrap_or(u16::MAX)
            }
            MssClamp::To(max) => max,
        };
        if inner.protocol != IpProtocol::TCP || inner.is_later_fragment() {
            return;
        }
        let segment = frame.packet_mut().get_mut(inner.header_len.into()..);
        if tcp::clamp_mss(segment.unwrap_or_default(), max) {
            self.counters.add(Counter::MssClamped, 1);
        }
    }
}

/// A fragment that would end behind the longest datagram cannot be cut: its pieces have offsets that
/// no header can hold. Whole it goes on, where its address is not shared.
fn check_end(inner: &Inner) -> Result<(), DropReason> {
    if inner.offset.checked_add(inner.total_len).is_none() {
        return Err(DropReason::Ipv4FragmentMalformed);
    }
    Ok(())
}

/// R-120 R-180
fn too_big(mtu: u16) -> Refusal {
    Refusal::v4(
        DropReason::TooBig,
        Icmpv4ErrorKind::FragmentationNeeded { mtu },
    )
}
