//! ICMP for IPv4 (RFC 792, 1191, 1812 §4.3, 4884).
//!
//! ```text
//! byte  0        1        2        3
//!  0   |  type  |  code  |    checksum     |   over the whole message, no pseudo-header
//!  4   |   rest of the header              |   echo, timestamp: identifier 16b, sequence 16b
//!      |        | length |  next-hop MTU   |   type 3: length of the quote in 32-bit words
//!  8   |   quoted packet or query data     |     (RFC 4884 §4.1), MTU for code 4 (RFC 1191 §4)
//! ```

use core::borrow::{Borrow, BorrowMut};
use core::fmt;

use crate::checksum::{Sum, Update, verify as verify_sum};
use crate::{Layer, ParseError};

/// Length of the fixed header in bytes.
pub const ICMPV4_HEADER_LEN: usize = 8;

/// Most bytes of the invoking packet that an error quotes: 576 less the IPv4 and ICMP headers
/// (RFC 1812 §4.3.2.3).
pub const MAX_QUOTE: usize = 548;

type Bytes = [u8; ICMPV4_HEADER_LEN];

/// Type of an ICMPv4 message.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Icmpv4Type(pub u8);

impl Icmpv4Type {
    /// Echo reply.
    pub const ECHO_REPLY: Self = Self(0);
    /// Destination unreachable.
    pub const UNREACHABLE: Self = Self(3);
    /// Source quench, deprecated (RFC 6633).
    pub const SOURCE_QUENCH: Self = Self(4);
    /// Redirect.
    pub const REDIRECT: Self = Self(5);
    /// Echo request.
    pub const ECHO_REQUEST: Self = Self(8);
    /// Router advertisement (RFC 1256).
    pub const ROUTER_ADVERT: Self = Self(9);
    /// Router solicitation (RFC 1256).
    pub const ROUTER_SOLICIT: Self = Self(10);
    /// Time exceeded.
    pub const TIME_EXCEEDED: Self = Self(11);
    /// Parameter problem.
    pub const PARAMETER_PROBLEM: Self = Self(12);
    /// Timestamp request.
    pub const TIMESTAMP: Self = Self(13);
    /// Timestamp reply.
    pub const TIMESTAMP_REPLY: Self = Self(14);

    /// The query this type is, if it has an identifier that stands in for a port.
    #[must_use]
    pub fn query(self) -> Option<Icmpv4Query> {
        match self {
            Self::ECHO_REQUEST => Some(Icmpv4Query::EchoRequest),
            Self::ECHO_REPLY => Some(Icmpv4Query::EchoReply),
            Self::TIMESTAMP => Some(Icmpv4Query::Timestamp),
            Self::TIMESTAMP_REPLY => Some(Icmpv4Query::TimestampReply),
            _ => None,
        }
    }

    /// Whether this is one of the five error messages (RFC 1122 §3.2.2), deprecated or not.
    ///
    /// No error may be sent about any of these (RFC 1812 §4.3.2.7).
    #[must_use]
    pub fn is_error(self) -> bool {
        matches!(
            self,
            Self::UNREACHABLE
                | Self::SOURCE_QUENCH
                | Self::REDIRECT
                | Self::TIME_EXCEEDED
                | Self::PARAMETER_PROBLEM
        )
    }
}

impl fmt::Debug for Icmpv4Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match *self {
            Self::ECHO_REPLY => "EchoReply",
            Self::UNREACHABLE => "Unreachable",
            Self::SOURCE_QUENCH => "SourceQuench",
            Self::REDIRECT => "Redirect",
            Self::ECHO_REQUEST => "EchoRequest",
            Self::ROUTER_ADVERT => "RouterAdvert",
            Self::ROUTER_SOLICIT => "RouterSolicit",
            Self::TIME_EXCEEDED => "TimeExceeded",
            Self::PARAMETER_PROBLEM => "ParameterProblem",
            Self::TIMESTAMP => "Timestamp",
            Self::TIMESTAMP_REPLY => "TimestampReply",
            Self(other) => return write!(f, "Icmpv4Type({other})"),
        };
        f.write_str(name)
    }
}

/// The queries whose identifier stands in for a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Icmpv4Query {
    /// Type 8.
    EchoRequest,
    /// Type 0.
    EchoReply,
    /// Type 13.
    Timestamp,
    /// Type 14.
    TimestampReply,
}

impl Icmpv4Query {
    /// Whether this asks rather than answers.
    #[must_use]
    pub fn is_request(self) -> bool {
        match self {
            Self::EchoRequest | Self::Timestamp => true,
            Self::EchoReply | Self::TimestampReply => false,
        }
    }
}

/// How a packet filter or an address sharing device treats a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Icmpv4Class {
    /// Carries an identifier that stands in for a port.
    Query {
        /// Identifier, bytes 4..6.
        ident: u16,
        /// Which query.
        kind: Icmpv4Query,
    },
    /// Quotes a packet that says whom it is for: types 3, 11 and 12.
    Error,
    /// Never forwarded to or from a shared address: source quench, redirect, router discovery,
    /// information and address mask, and what RFC 6918 deprecated (types 6 and 30 to 39).
    Deprecated,
    /// A type that nothing here knows.
    Unknown,
}

/// A view of the 8 bytes that every ICMPv4 message begins with.
///
/// `B` is `&[u8; 8]` to read, `&mut [u8; 8]` to change in place, or `[u8; 8]` to own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Icmpv4Header<B>(B);

impl<'a> Icmpv4Header<&'a Bytes> {
    /// Splits `message`, an IPv4 payload at fragment offset 0, into its header and the rest.
    ///
    /// The checksum is not looked at, see [`verify`].
    ///
    /// # Errors
    ///
    /// Where there are fewer than 8 bytes.
    pub fn split(message: &'a [u8]) -> Result<(Self, &'a [u8]), ParseError> {
        // R-001
        let (bytes, rest) = message.split_first_chunk().ok_or_else(|| {
            ParseError::truncated(Layer::Icmpv4, ICMPV4_HEADER_LEN, message.len())
        })?;
        Ok((Self(bytes), rest))
    }
}

impl<'a> Icmpv4Header<&'a mut Bytes> {
    /// The header of `message`, to be changed in place; `None` under 8 bytes.
    pub fn from_mut(message: &'a mut [u8]) -> Option<Self> {
        message.first_chunk_mut().map(Self)
    }
}

impl<B: Borrow<Bytes>> Icmpv4Header<B> {
    /// Type.
    pub fn type_(&self) -> Icmpv4Type {
        Icmpv4Type(self.bytes()[0])
    }

    /// Code.
    pub fn code(&self) -> u8 {
        self.bytes()[1]
    }

    /// Checksum.
    pub fn checksum(&self) -> u16 {
        let [_, _, hi, lo, ..] = *self.bytes();
        u16::from_be_bytes([hi, lo])
    }

    /// Bytes 4..8, whose meaning depends on the type.
    pub fn rest(&self) -> [u8; 4] {
        let [_, _, _, _, a, b, c, d] = *self.bytes();
        [a, b, c, d]
    }

    /// Identifier of an echo or timestamp message.
    pub fn ident(&self) -> u16 {
        let [hi, lo, ..] = self.rest();
        u16::from_be_bytes([hi, lo])
    }

    /// Sequence number of an echo or timestamp message.
    pub fn sequence(&self) -> u16 {
        let [_, _, hi, lo] = self.rest();
        u16::from_be_bytes([hi, lo])
    }

    /// Next-hop MTU in bytes of a type 3 code 4 message; 0 from a router older than RFC 1191.
    pub fn next_hop_mtu(&self) -> u16 {
        self.sequence()
    }

    /// Length of the quoted packet in 32-bit words where the message is extended, else 0
    /// (types 3, 11 and 12, RFC 4884 §4).
    pub fn quote_words(&self) -> u8 {
        let [_, words, ..] = self.rest();
        words
    }

    /// How an address sharing device treats the message.
    // R-098 R-109
    pub fn class(&self) -> Icmpv4Class {
        let type_ = self.type_();
        if let Some(kind) = type_.query() {
            let ident = self.ident();
            return Icmpv4Class::Query { ident, kind };
        }
        match type_.0 {
            3 | 11 | 12 => Icmpv4Class::Error,
            4 | 5 | 6 | 9 | 10 | 15..=18 | 30..=39 => Icmpv4Class::Deprecated,
            _ => Icmpv4Class::Unknown,
        }
    }

    fn bytes(&self) -> &Bytes {
        self.0.borrow()
    }
}

impl<B: BorrowMut<Bytes>> Icmpv4Header<B> {
    /// Sets the checksum.
    pub fn set_checksum(&mut self, checksum: u16) {
        let [_, _, hi, lo, ..] = self.0.borrow_mut();
        [*hi, *lo] = checksum.to_be_bytes();
    }

    /// Sets the identifier of an echo or timestamp message.
    pub fn set_ident(&mut self, ident: u16) {
        let [_, _, _, _, hi, lo, ..] = self.0.borrow_mut();
        [*hi, *lo] = ident.to_be_bytes();
    }

    /// Turns an echo request into the reply to it; the checksum follows (RFC 1624).
    ///
    /// Identifier, sequence number and data go back as they came; the addresses are the caller's.
    pub fn make_echo_reply(&mut self) {
        let [type_, code, ..] = *self.bytes();
        let new = [Icmpv4Type::ECHO_REPLY.0, 0];
        let checksum = Update::new(self.checksum())
            .u16(u16::from_be_bytes([type_, code]), u16::from_be_bytes(new));
        self.set_checksum(checksum.finish());
        let [type_, code, ..] = self.0.borrow_mut();
        [*type_, *code] = new;
    }
}

/// The errors that this family of crates originates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Icmpv4ErrorKind {
    /// 3/1: no binding, or the tunnel cannot deliver.
    HostUnreachable,
    /// 3/2: a protocol without ports on a shared address.
    ProtocolUnreachable,
    /// 3/3.
    PortUnreachable,
    /// 3/4: DF is set and the packet does not fit (RFC 1191 §4).
    FragmentationNeeded {
        /// Largest IPv4 packet that would have fitted, in bytes.
        mtu: u16,
    },
    /// 3/13: filtered.
    AdminProhibited,
    /// 11/0: TTL reached zero.
    TimeExceeded,
    /// 11/1: fragments stayed away.
    ReassemblyTimeExceeded,
}

impl Icmpv4ErrorKind {
    /// Type and code.
    #[must_use]
    pub fn type_and_code(self) -> (Icmpv4Type, u8) {
        match self {
            Self::HostUnreachable => (Icmpv4Type::UNREACHABLE, 1),
            Self::ProtocolUnreachable => (Icmpv4Type::UNREACHABLE, 2),
            Self::PortUnreachable => (Icmpv4Type::UNREACHABLE, 3),
            Self::FragmentationNeeded { .. } => (Icmpv4Type::UNREACHABLE, 4),
            Self::AdminProhibited => (Icmpv4Type::UNREACHABLE, 13),
            Self::TimeExceeded => (Icmpv4Type::TIME_EXCEEDED, 0),
            Self::ReassemblyTimeExceeded => (Icmpv4Type::TIME_EXCEEDED, 1),
        }
    }
}

/// An error message apart from the packet it quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Icmpv4Error {
    /// What went wrong.
    pub kind: Icmpv4ErrorKind,
}

impl Icmpv4Error {
    /// The 8 bytes that stand before `quote`, see [`error_header`].
    #[must_use]
    pub fn to_bytes(self, quote: &[u8]) -> [u8; ICMPV4_HEADER_LEN] {
        error_header(self.kind, quote)
    }
}

/// What an error about `packet` quotes: the packet, or the first [`MAX_QUOTE`] bytes of it.
#[must_use]
pub fn quote_of(packet: &[u8]) -> &[u8] {
    // R-174
    packet.get(..MAX_QUOTE).unwrap_or(packet)
}

/// The 8 bytes that stand before `quote` in an error message, with the checksum over both.
///
/// Bytes 4..8 are zero but for the MTU of a 3/4 message, which stands in 6..8.
#[must_use]
pub fn error_header(kind: Icmpv4ErrorKind, quote: &[u8]) -> [u8; ICMPV4_HEADER_LEN] {
    let (type_, code) = kind.type_and_code();
    // R-180: the upper half stays zero; R-181: so does everything else.
    let mtu = match kind {
        Icmpv4ErrorKind::FragmentationNeeded { mtu } => mtu,
        Icmpv4ErrorKind::HostUnreachable
        | Icmpv4ErrorKind::ProtocolUnreachable
        | Icmpv4ErrorKind::PortUnreachable
        | Icmpv4ErrorKind::AdminProhibited
        | Icmpv4ErrorKind::TimeExceeded
        | Icmpv4ErrorKind::ReassemblyTimeExceeded => 0,
    };
    let [mtu_hi, mtu_lo] = mtu.to_be_bytes();
    let mut header = Icmpv4Header([type_.0, code, 0, 0, 0, 0, mtu_hi, mtu_lo]);
    header.set_checksum(Sum::new().add(&header.0).add(quote).finish());
    header.0
}

/// Whether the checksum of `message` is right.
#[must_use]
pub fn verify(message: &[u8]) -> bool {
    // R-101
    verify_sum(message)
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    const KINDS: [Icmpv4ErrorKind; 7] = [
        Icmpv4ErrorKind::HostUnreachable,
        Icmpv4ErrorKind::ProtocolUnreachable,
        Icmpv4ErrorKind::PortUnreachable,
        Icmpv4ErrorKind::FragmentationNeeded { mtu: 1460 },
        Icmpv4ErrorKind::AdminProhibited,
        Icmpv4ErrorKind::TimeExceeded,
        Icmpv4ErrorKind::ReassemblyTimeExceeded,
    ];

    fn message(kind: Icmpv4ErrorKind, quote: &[u8]) -> Vec<u8> {
        [&error_header(kind, quote)[..], quote].concat()
    }

    // R-001
    #[test]
    fn every_prefix_is_refused() {
        let bytes = [8, 0, 0, 0, 0x12, 0x34, 0, 1];
        for len in 0..bytes.len() {
            assert!(Icmpv4Header::split(&bytes[..len]).is_err(), "{len}");
        }
        let (header, rest) = Icmpv4Header::split(&bytes).unwrap();
        assert_eq!((header.ident(), header.sequence()), (0x1234, 1));
        assert!(rest.is_empty());
    }

    // R-098 R-109
    #[test]
    fn every_type_has_a_class() {
        for type_ in 0..=255u8 {
            let class = Icmpv4Header([type_, 0, 0, 0, 0x12, 0x34, 0, 0]).class();
            let expected = match type_ {
                0 | 8 | 13 | 14 => Icmpv4Class::Query {
                    ident: 0x1234,
                    kind: Icmpv4Type(type_).query().unwrap(),
                },
                3 | 11 | 12 => Icmpv4Class::Error,
                4..=6 | 9 | 10 | 15..=18 | 30..=39 => Icmpv4Class::Deprecated,
                _ => Icmpv4Class::Unknown,
            };
            assert_eq!(class, expected, "{type_}");
        }
    }

    // R-101
    #[test]
    fn every_error_verifies_for_every_quote_length() {
        let quote: Vec<u8> = (0..60).collect();
        for kind in KINDS {
            for len in 0..quote.len() {
                assert!(verify(&message(kind, &quote[..len])), "{kind:?} {len}");
            }
        }
    }

    #[test]
    fn a_flipped_bit_does_not_verify() {
        let mut bytes = message(Icmpv4ErrorKind::HostUnreachable, &[1, 2, 3]);
        for at in 0..bytes.len() {
            bytes[at] ^= 0x10;
            assert!(!verify(&bytes), "{at}");
            bytes[at] ^= 0x10;
        }
    }

    // R-180 R-181
    #[test]
    fn unused_bytes_are_zero_and_the_mtu_is_in_the_low_half() {
        for kind in KINDS {
            let header = Icmpv4Header(error_header(kind, &[0xff; 33]));
            let is_mtu = matches!(kind, Icmpv4ErrorKind::FragmentationNeeded { .. });
            let rest = if is_mtu { [0, 0, 0x05, 0xb4] } else { [0; 4] };
            assert_eq!(header.rest(), rest, "{kind:?}");
        }
    }

    #[test]
    fn codes_are_those_of_the_registry() {
        let codes = KINDS.map(|kind| {
            let (type_, code) = kind.type_and_code();
            (type_.0, code)
        });
        let expected = [(3, 1), (3, 2), (3, 3), (3, 4), (3, 13), (11, 0), (11, 1)];
        assert_eq!(codes, expected);
    }

    // R-174
    #[test]
    fn a_quote_ends_at_548_bytes() {
        let packet = [0; 1500];
        assert_eq!(quote_of(&packet).len(), 548);
        assert_eq!(quote_of(&packet[..548]).len(), 548);
        assert_eq!(quote_of(&packet[..28]).len(), 28);
    }

    #[test]
    fn an_echo_reply_differs_in_type_and_checksum_only() {
        let mut bytes = [8, 0, 0, 0, 0x12, 0x34, 0, 7, 1, 2, 3];
        let sum = crate::checksum::checksum(&bytes);
        bytes[2..4].copy_from_slice(&sum.to_be_bytes());
        Icmpv4Header::from_mut(&mut bytes)
            .unwrap()
            .make_echo_reply();
        assert!(verify(&bytes));
        assert_eq!(bytes[0], 0);
        assert_eq!(bytes[4..], [0x12, 0x34, 0, 7, 1, 2, 3]);
    }

    #[test]
    fn a_new_identifier_is_the_only_change() {
        let mut bytes = [0x55; 12];
        Icmpv4Header::from_mut(&mut bytes)
            .unwrap()
            .set_ident(0xabcd);
        assert_eq!(bytes[4..6], [0xab, 0xcd]);
        assert!(bytes[..4].iter().chain(&bytes[6..]).all(|b| *b == 0x55));
    }
}
