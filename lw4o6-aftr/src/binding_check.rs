//! Whether a B4 may send what it sends (RFC 7596 §6.2), and who gets what is sent to a subscriber.

use core::net::{Ipv4Addr, Ipv6Addr};

use lw4o6_binding::table::{Address, Lookup, LookupKey, Softwire};
use lw4o6_wire::icmpv4::Icmpv4ErrorKind;
use lw4o6_wire::icmpv6::{Icmpv6ErrorKind, UnreachableCode};
use lw4o6_wire::{Instant, IpProtocol};

use crate::DropReason;
use crate::classify::Tunnel;
use crate::config::{UnboundDestination, UnboundSource, UnknownProtocol};
use crate::inner::Inner;
use crate::key::Key;
use crate::refusal::Refusal;
use crate::worker::Worker;

/// Most port sets of an address that are looked through for those of one B4.
const MAX_SETS: u32 = 1024;

/// Port sets looked at together.
const SETS_AT_ONCE: usize = 32;

impl Worker {
    pub(crate) fn lookup(&self, address: Ipv4Addr, key: Key) -> Lookup {
        self.reader.lookup(address.to_bits(), key.port())
    }

    /// In a pool, or with a binding on it.
    pub(crate) fn is_managed(&self, address: Ipv4Addr) -> bool {
        !matches!(self.reader.address(address.to_bits()), Address::Foreign)
    }

    pub(crate) fn is_shared(&self, address: Ipv4Addr) -> bool {
        matches!(
            self.reader.address(address.to_bits()),
            Address::Shared { .. }
        )
    }

    /// The IPv6 address of the AFTR's end of a softwire.
    pub(crate) fn aftr_of(&self, softwire: &Softwire) -> Option<Ipv6Addr> {
        self.reader.aftr_addr(softwire.aftr).map(Ipv6Addr::from)
    }

    /// U7: one binding has to name the outer source, the outer destination, the inner source and the
    /// port. R-076 R-081 R-088
    pub(crate) fn check_binding(
        &self,
        now: Instant,
        tunnel: &Tunnel,
        key: Key,
        found: Lookup,
    ) -> Result<(), Refusal> {
        match found {
            Lookup::Found(softwire)
                if softwire.b4 == tunnel.b4.octets()
                    && self.aftr_of(&softwire) == Some(tunnel.aftr) =>
            {
                Ok(())
            }
            Lookup::Found(softwire) => {
                let own = softwire.b4 == tunnel.b4.octets();
                Err(self.unbound_source(now, tunnel, own))
            }
            Lookup::NoBinding | Lookup::Foreign => Err(self.unbound_source(now, tunnel, false)),
            Lookup::NoPort => Err(no_port(key).into()),
            Lookup::Busy => Err(DropReason::TableBusy.into()),
        }
    }

    /// R-077 R-078 R-079 R-080
    fn unbound_source(&self, now: Instant, tunnel: &Tunnel, own_entry: bool) -> Refusal {
        let b4 = tunnel.b4.octets();
        let reason = if own_entry {
            DropReason::WrongAftr
        } else if !self.reader.b4_known(&b4) {
            DropReason::NoB4
        } else if self.b4_has_ipv4(now, tunnel.b4, tunnel.ipv4.inner.src) {
            DropReason::PortOutOfSet
        } else {
            DropReason::WrongIpv4
        };
        // A B4 that is told 1/5 provisions itself anew; about an error it sent that would loop (D-9).
        let told = self.settings.config.unbound_source == UnboundSource::Unreachable
            && !tunnel.ipv4.is_icmp_error;
        if told {
            let kind = Icmpv6ErrorKind::Unreachable(UnreachableCode::SOURCE_POLICY);
            Refusal::v6(reason, kind)
        } else {
            reason.into()
        }
    }

    /// Whether this known B4 holds any part of this address.
    ///
    /// Nothing lists the bindings of a B4 for readers, so every port set of the address is looked at.
    /// A subscriber could make us do that for each packet; it is done ten thousand times a second at
    /// most, for addresses of 1,024 port sets at most, and beyond that the answer is yes.
    fn b4_has_ipv4(&self, now: Instant, b4: Ipv6Addr, address: Ipv4Addr) -> bool {
        let ipv4 = address.to_bits();
        let (offset, len) = match self.reader.address(ipv4) {
            Address::Foreign => return false,
            Address::Full => (0, 0),
            Address::Shared { offset, len } => (u32::from(offset), u32::from(len)),
        };
        let sets = 1_u32 << len;
        if sets > MAX_SETS || !self.take_diagnosis(now) {
            return true;
        }
        // The lowest port of each set: the offset bits, of which the last is one, then the PSID.
        let rest = 16_u32.saturating_sub(offset + len);
        let base = if offset == 0 { 0 } else { 1 << (16 - offset) };
        let mut keys = [LookupKey { ipv4, port: None }; SETS_AT_ONCE];
        let mut found = [Lookup::Busy; SETS_AT_ONCE];
        let b4 = b4.octets();
        (0..sets).step_by(SETS_AT_ONCE).any(|first| {
            for (psid, key) in (first..).zip(&mut keys) {
                key.port = u16::try_from(base | (psid % sets) << rest).ok();
            }
            self.reader.lookup_batch(&keys, &mut found);
            found
                .iter()
                .any(|found| matches!(found, Lookup::Found(softwire) if softwire.b4 == b4))
        })
    }

    ///
    fn no_port_answer(&self, key: Key) -> Refusal {
        let reason = no_port(key);
        let answered =
            self.settings.config.unknown_protocol == UnknownProtocol::ProtocolUnreachable;
        if reason == DropReason::NoL4Port && answered {
            Refusal::v4(reason, Icmpv4ErrorKind::ProtocolUnreachable)
        } else {
            reason.into()
        }
    }

    /// W5: the softwire that an IPv4 packet goes into. R-090 R-091
    pub(crate) fn find_destination(
        &self,
        inner: &Inner,
        key: Key,
        found: Lookup,
    ) -> Result<Softwire, Refusal> {
        match found {
            Lookup::Found(softwire) => Ok(softwire),
            Lookup::NoPort => Err(self.no_port_answer(key)),
            Lookup::NoBinding | Lookup::Foreign => Err(self.unbound_destination(inner)),
            Lookup::Busy => Err(DropReason::TableBusy.into()),
        }
    }

    fn unbound_destination(&self, inner: &Inner) -> Refusal {
        if inner.protocol == IpProtocol::ICMP {
            return DropReason::Icmpv4NoBinding.into();
        }
        match self.settings.config.unbound_destination {
            UnboundDestination::Discard => DropReason::NoBinding.into(),
            //
            UnboundDestination::HostUnreachable => {
                Refusal::v4(DropReason::NoBinding, Icmpv4ErrorKind::HostUnreachable)
            }
        }
    }
}

/// Why a packet without a port does not go on to a shared address.
const fn no_port(key: Key) -> DropReason {
    match key {
        Key::Address(reason) => reason,
        Key::Port(_) => DropReason::Internal, // the table asks for no second port
    }
}
