//! Echo answers of the box itself.

use lw4o6_wire::icmpv4::{self, Icmpv4Header, Icmpv4Type};
use lw4o6_wire::icmpv6::Icmpv6Header;
use lw4o6_wire::{FrameBuf, Instant, IpProtocol, Ipv4Fields, Ipv6Fields, Ipv6Header, NoHeadroom};

use crate::classify::{Icmpv6, Ipv4};
use crate::emit::{Cut, Emitted};
use crate::martian::is_martian;
use crate::refusal::Refusal;
use crate::worker::Worker;
use crate::{Cause, DropReason, Kind, Side, Verdict};

/// TTL and hop limit of echo answers, whatever errors have: what hosts use (RFC 1700).
const ECHO_TTL: u8 = 64;

impl Worker {
    /// W2: an echo request is answered, everything else is the owner's.
    pub(crate) fn own_ipv4(
        &self,
        now: Instant,
        frame: &mut FrameBuf<'_>,
        ipv4: &Ipv4,
    ) -> Result<Emitted, Refusal> {
        ipv4.checksum?;
        let inner = &ipv4.inner;
        let header_len = usize::from(inner.header_len);
        let message = frame
            .packet()
            .get(header_len..inner.total_len.into())
            .unwrap_or_default();
        let is_request = inner.protocol == IpProtocol::ICMP
            && !inner.is_fragment()
            && Icmpv4Header::split(message)
                .is_ok_and(|(header, _)| header.type_() == Icmpv4Type::ECHO_REQUEST)
            && icmpv4::verify(message)
            && !is_martian(inner.src);
        if !is_request {
            return Ok(Verdict::Local(Kind::Own).into());
        }
        if !self.take_echo(now) {
            return Err(DropReason::EchoRate.into());
        }
        frame.truncate(inner.total_len.into());
        frame.trim_front(header_len);
        if let Some(mut header) = Icmpv4Header::from_mut(frame.packet_mut()) {
            header.make_echo_reply();
        }
        let fields = Ipv4Fields {
            tos: inner.tos,
            total_len: u16::try_from(20 + frame.len()).unwrap_or(u16::MAX),
            ident: 0,
            dont_fragment: true,
            more_fragments: false,
            fragment_offset: 0,
            ttl: ECHO_TTL,
            protocol: IpProtocol::ICMP,
            src: inner.dst,
            dst: inner.src,
        };
        frame
            .push_front(&fields.to_bytes())
            .map_err(|NoHeadroom| DropReason::NoHeadroom)?;
        Ok(Verdict::Reply(Side::Internet, Cause::EchoV4).into())
    }

    /// The answer to an `ICMPv6` echo request whose checksum is right. It comes from the address that
    /// was asked, also where several AFTRs share it (D-2).
    pub(crate) fn echo_v6(
        &self,
        now: Instant,
        frame: &mut FrameBuf<'_>,
        icmp: &Icmpv6,
    ) -> Result<Emitted, Refusal> {
        let (outer, payload) =
            Ipv6Header::split(frame.packet()).map_err(|_| DropReason::Internal)?;
        let (traffic_class, end) = (outer.traffic_class(), 40 + payload.len());
        if !self.take_echo(now) {
            return Err(DropReason::EchoRate.into());
        }
        frame.truncate(end);
        frame.trim_front(icmp.at);
        if let Some(mut header) = Icmpv6Header::from_mut(frame.packet_mut()) {
            header.make_echo_reply();
        }
        let fields = Ipv6Fields {
            traffic_class,
            flow_label: 0,
            payload_len: u16::try_from(frame.len()).unwrap_or(u16::MAX),
            next_header: IpProtocol::ICMPV6,
            hop_limit: ECHO_TTL,
            src: icmp.dst,
            dst: icmp.src,
        };
        frame
            .push_front(&fields.to_bytes())
            .map_err(|NoHeadroom| DropReason::NoHeadroom)?;
        let mtu = self.settings.config.ipv6_mtu;
        let cut = if frame.len() > usize::from(mtu) {
            Cut::Tunnel { mtu }
        } else {
            Cut::Whole
        };
        Ok(Emitted {
            verdict: Verdict::Reply(Side::Softwire, Cause::EchoV6),
            cut,
        })
    }
}
