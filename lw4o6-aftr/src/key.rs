//! Which port of an IPv4 packet names the subscriber.
//!
//! | packet | from the Internet | from a B4 |
//! |---|---|---|
//! | TCP, UDP, UDP-Lite, SCTP, DCCP | destination port | source port |
//! | `ICMPv4` echo, timestamp | identifier | identifier |
//! | `ICMPv4` error about one of the above | quoted **source** port or identifier | quoted **destination** port or identifier |
//! | anything else | none: full addresses only | none: full addresses only |
//!
//! An error leaves the subscriber's side about a packet that went *to* the subscriber, so upstream
//! the subscriber's port is the quoted destination port.

use lw4o6_wire::icmpv4::{self, Icmpv4Class, Icmpv4Header, Icmpv4Query};
use lw4o6_wire::l4::{self, Ports};
use lw4o6_wire::quote::{QuotedKey, ipv4_quote};
use lw4o6_wire::{IpProtocol, Ipv4Packet, ParseErrorKind};

use crate::DropReason;
use crate::config::{InboundEcho, QuotedChecksum};
use crate::inner::Inner;

/// Which way a packet crosses the AFTR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// From a B4; the subscriber is the source.
    Upstream,
    /// To a B4; the subscriber is the destination.
    Downstream,
}

impl Direction {
    const fn subscriber(self, ports: Ports) -> u16 {
        match self {
            Self::Upstream => ports.src,
            Self::Downstream => ports.dst,
        }
    }

    /// The same in a packet that an error quotes, which went the other way.
    const fn quoted_subscriber(self, ports: Ports) -> u16 {
        match self {
            Self::Upstream => ports.dst,
            Self::Downstream => ports.src,
        }
    }
}

/// What to look a packet up by, besides its address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    /// A port, or an `ICMPv4` identifier in its place.
    Port(u16),
    /// Nothing. Enough on a full address; on a shared one it is dropped for this reason.
    Address(DropReason),
}

impl Key {
    pub(crate) const fn port(self) -> Option<u16> {
        match self {
            Self::Port(port) => Some(port),
            Self::Address(_) => None,
        }
    }
}

/// The knobs that bear on keys.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeyRules {
    pub(crate) inbound_echo: InboundEcho,
    pub(crate) quoted_checksum: QuotedChecksum,
}

/// The key of `packet`, whose fields are `inner`.
///
/// # Errors
///
/// Where the packet may not pass whatever its address is.
pub(crate) fn key(
    direction: Direction,
    packet: &Ipv4Packet<'_>,
    inner: &Inner,
    rules: KeyRules,
) -> Result<Key, DropReason> {
    if inner.is_later_fragment() {
        // Its bytes are payload, never ports. R-144 R-145
        return Ok(Key::Address(DropReason::FragmentsOff));
    }
    //
    if inner.protocol == IpProtocol::ICMP {
        return icmp_key(direction, packet, inner, rules);
    }
    if !inner.protocol.has_ports() {
        return Ok(Key::Address(DropReason::NoL4Port));
    }
    let whole = inner.is_fragment() || l4::validate(inner.protocol, packet.payload).is_ok();
    match inner.ports {
        Some(ports) if whole => Ok(Key::Port(direction.subscriber(ports))),
        None if inner.is_fragment() => Ok(Key::Address(DropReason::Ipv4FragmentTiny)),
        Some(_) | None => Ok(Key::Address(DropReason::L4Malformed)),
    }
}

fn icmp_key(
    direction: Direction,
    packet: &Ipv4Packet<'_>,
    inner: &Inner,
    rules: KeyRules,
) -> Result<Key, DropReason> {
    let message = packet.payload;
    let Ok((header, _)) = Icmpv4Header::split(message) else {
        return Err(DropReason::Icmpv4Malformed);
    };
    if inner.is_fragment() {
        // The checksum covers bytes that are elsewhere, so nothing here can be verified.
        return match header.class() {
            Icmpv4Class::Query { ident, kind } => query_key(direction, kind, ident, rules),
            Icmpv4Class::Error => Ok(Key::Address(DropReason::Icmpv4Fragmented)),
            Icmpv4Class::Deprecated | Icmpv4Class::Unknown => {
                Ok(Key::Address(DropReason::Icmpv4Type))
            }
        };
    }
    if !icmpv4::verify(message) {
        return Err(DropReason::Icmpv4Checksum);
    }
    match header.class() {
        Icmpv4Class::Query { ident, kind } => query_key(direction, kind, ident, rules),
        Icmpv4Class::Error => error_key(direction, message, inner, rules),
        Icmpv4Class::Deprecated | Icmpv4Class::Unknown => Err(DropReason::Icmpv4Type),
    }
}

/// R-083 R-098
fn query_key(
    direction: Direction,
    kind: Icmpv4Query,
    ident: u16,
    rules: KeyRules,
) -> Result<Key, DropReason> {
    let inbound = match (direction, kind) {
        (Direction::Downstream, Icmpv4Query::EchoRequest) => true,
        (Direction::Upstream, Icmpv4Query::EchoReply) => false, // its answer
        _ => return Ok(Key::Port(ident)),
    };
    match rules.inbound_echo {
        InboundEcho::Identifier => Ok(Key::Port(ident)),
        InboundEcho::Port0 => Ok(Key::Port(0)),
        InboundEcho::Drop if inbound => Err(DropReason::Icmpv4Policy),
        InboundEcho::Drop => Ok(Key::Port(ident)),
    }
}

/// R-082 R-099 R-100 R-102 R-103 R-104 R-105 R-106 R-107 R-108
fn error_key(
    direction: Direction,
    message: &[u8],
    inner: &Inner,
    rules: KeyRules,
) -> Result<Key, DropReason> {
    let quoted = ipv4_quote(message).map_err(|error| match error.kind {
        ParseErrorKind::Truncated { .. } => DropReason::Icmpv4QuoteNoPort,
        ParseErrorKind::Version(_)
        | ParseErrorKind::Length(_)
        | ParseErrorKind::Value(_)
        | ParseErrorKind::Checksum => DropReason::Icmpv4Malformed,
    })?;
    if rules.quoted_checksum == QuotedChecksum::Verify && !quoted.header_checksum_ok() {
        return Err(DropReason::Icmpv4QuoteChecksum);
    }
    // The one whose packet is quoted is the one the error goes to, downstream; upstream the error
    // comes from the one the packet went to.
    let consistent = match direction {
        Direction::Upstream => quoted.header.dst() == inner.src,
        Direction::Downstream => quoted.header.src() == inner.dst,
    };
    if !consistent {
        return Err(DropReason::Icmpv4QuoteMismatch);
    }
    match quoted.key() {
        QuotedKey::Ports(ports) => Ok(Key::Port(direction.quoted_subscriber(ports))),
        QuotedKey::Ident { ident, .. } => Ok(Key::Port(ident)),
        QuotedKey::Error => Err(DropReason::Icmpv4QuoteError),
        QuotedKey::Fragment => Ok(Key::Address(DropReason::Icmpv4QuoteFragment)),
        QuotedKey::NoPort | QuotedKey::Truncated => Ok(Key::Address(DropReason::Icmpv4QuoteNoPort)),
    }
}
