//! `ICMPv6` to an address of ours.

use lw4o6_wire::icmpv6::{self, Icmpv6Header, Icmpv6Type};
use lw4o6_wire::{FrameBuf, Instant, Ipv6Header};

use crate::classify::Icmpv6;
use crate::emit::Emitted;
use crate::refusal::Refusal;
use crate::worker::Worker;
use crate::{DropReason, Kind, Verdict};

impl Worker {
    /// U4 for next header 58.
    pub(crate) fn icmpv6(
        &self,
        now: Instant,
        frame: &mut FrameBuf<'_>,
        icmp: &Icmpv6,
    ) -> Result<Emitted, Refusal> {
        let (_, payload) = Ipv6Header::split(frame.packet()).map_err(|_| DropReason::Internal)?;
        let message = payload
            .get(icmp.at.saturating_sub(40)..)
            .unwrap_or_default();
        let (header, _) = Icmpv6Header::split(message).map_err(|_| DropReason::Icmpv6Malformed)?;
        if !icmpv6::verify(icmp.src, icmp.dst, message) {
            return Err(DropReason::Icmpv6Checksum.into());
        }
        match header.type_() {
            // RFC 2473 §8
            Icmpv6Type(1..=4) if icmp.to_aftr => self.relay_tunnel_error(now, frame, icmp),
            Icmpv6Type::ECHO_REQUEST => self.echo_v6(now, frame, icmp),
            Icmpv6Type(0..=127) | Icmpv6Type::ECHO_REPLY | Icmpv6Type(133..=137) => {
                Ok(Verdict::Local(Kind::Own).into())
            }
            Icmpv6Type(_) => Err(DropReason::Icmpv6Type.into()),
        }
    }
}
