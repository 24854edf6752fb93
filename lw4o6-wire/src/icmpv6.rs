//! ICMP for IPv6 (RFC 4443, 4884).
//!
//! ```text
//! byte  0        1        2        3
//!  0   |  type  |  code  |    checksum     |   over pseudo-header (next header 58) and message
//!  4   |   type-specific, 32 bits          |   PTB: MTU; parameter problem: pointer;
//!      |                                   |   echo: identifier 16b, sequence 16b
//!      | length |                          |   types 1 and 3: quote in 64-bit words (RFC 4884 §4.4)
//!  8   |   quoted packet or body           |
//! ```

use core::borrow::{Borrow, BorrowMut};
use core::fmt;
use core::net::Ipv6Addr;

use crate::checksum::{Update, pseudo_v6};
use crate::{IpProtocol, Layer, ParseError};

/// Length of the fixed header in bytes.
pub const ICMPV6_HEADER_LEN: usize = 8;

/// Most bytes of the invoking packet that an error quotes: 1280 less the IPv6 and ICMP headers
/// (RFC 4443 §2.4(c)).
pub const MAX_QUOTE: usize = 1232;

type Bytes = [u8; ICMPV6_HEADER_LEN];

/// Type of an ICMPv6 message.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Icmpv6Type(pub u8);

impl Icmpv6Type {
    /// Destination unreachable.
    pub const UNREACHABLE: Self = Self(1);
    /// Packet too big.
    pub const PACKET_TOO_BIG: Self = Self(2);
    /// Time exceeded.
    pub const TIME_EXCEEDED: Self = Self(3);
    /// Parameter problem.
    pub const PARAMETER_PROBLEM: Self = Self(4);
    /// Echo request.
    pub const ECHO_REQUEST: Self = Self(128);
    /// Echo reply.
    pub const ECHO_REPLY: Self = Self(129);
    /// Router solicitation (RFC 4861).
    pub const ROUTER_SOLICIT: Self = Self(133);
    /// Router advertisement (RFC 4861).
    pub const ROUTER_ADVERT: Self = Self(134);
    /// Neighbor solicitation (RFC 4861).
    pub const NEIGHBOR_SOLICIT: Self = Self(135);
    /// Neighbor advertisement (RFC 4861).
    pub const NEIGHBOR_ADVERT: Self = Self(136);
    /// Redirect (RFC 4861).
    pub const REDIRECT: Self = Self(137);

    /// Whether this is an error message: types 0 to 127 (RFC 4443 §2.1).
    #[must_use]
    pub fn is_error(self) -> bool {
        self.0 < 128
    }

    /// Whether a packet of this type may cause an ICMPv6 error.
    ///
    /// Errors and redirects may not (RFC 4443 §2.4(e)).
    #[must_use]
    pub fn may_cause_error(self) -> bool {
        // R-162
        !self.is_error() && self != Self::REDIRECT
    }
}

impl fmt::Debug for Icmpv6Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match *self {
            Self::UNREACHABLE => "Unreachable",
            Self::PACKET_TOO_BIG => "PacketTooBig",
            Self::TIME_EXCEEDED => "TimeExceeded",
            Self::PARAMETER_PROBLEM => "ParameterProblem",
            Self::ECHO_REQUEST => "EchoRequest",
            Self::ECHO_REPLY => "EchoReply",
            Self::ROUTER_SOLICIT => "RouterSolicit",
            Self::ROUTER_ADVERT => "RouterAdvert",
            Self::NEIGHBOR_SOLICIT => "NeighborSolicit",
            Self::NEIGHBOR_ADVERT => "NeighborAdvert",
            Self::REDIRECT => "Redirect",
            Self(other) => return write!(f, "Icmpv6Type({other})"),
        };
        f.write_str(name)
    }
}

/// Code of a destination unreachable message (RFC 4443 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UnreachableCode(pub u8);

impl UnreachableCode {
    /// No route.
    pub const NO_ROUTE: Self = Self(0);
    /// Administratively prohibited.
    pub const ADMIN_PROHIBITED: Self = Self(1);
    /// Beyond the scope of the source address.
    pub const BEYOND_SCOPE: Self = Self(2);
    /// Address unreachable.
    pub const ADDRESS: Self = Self(3);
    /// Port unreachable.
    pub const PORT: Self = Self(4);
    /// Source address failed ingress or egress policy: no binding for this B4 (RFC 7596 §6.2).
    pub const SOURCE_POLICY: Self = Self(5);
    /// Reject route.
    pub const REJECT_ROUTE: Self = Self(6);
}

/// Code of a time exceeded message (RFC 4443 §3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimeExceededCode(pub u8);

impl TimeExceededCode {
    /// Hop limit reached zero.
    pub const HOP_LIMIT: Self = Self(0);
    /// Fragments stayed away.
    pub const REASSEMBLY: Self = Self(1);
}

/// Code of a parameter problem message (RFC 4443 §3.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ParameterProblemCode(pub u8);

impl ParameterProblemCode {
    /// A header field is wrong.
    pub const HEADER_FIELD: Self = Self(0);
    /// A next header is not recognized.
    pub const NEXT_HEADER: Self = Self(1);
    /// An option is not recognized.
    pub const OPTION: Self = Self(2);
    /// The first fragment lacks part of the header chain (RFC 7112 §7).
    pub const HEADER_CHAIN: Self = Self(3);
}

/// An ICMPv6 error apart from the packet it quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Icmpv6ErrorKind {
    /// Type 1.
    Unreachable(UnreachableCode),
    /// Type 2.
    PacketTooBig {
        /// Largest IPv6 packet that would have fitted, in bytes.
        mtu: u32,
    },
    /// Type 3.
    TimeExceeded {
        /// What ran out.
        code: TimeExceededCode,
    },
    /// Type 4.
    ParameterProblem {
        /// What is wrong.
        code: ParameterProblemCode,
        /// Offset in bytes of the offending field from the start of the quoted packet.
        pointer: u32,
    },
}

impl Icmpv6ErrorKind {
    /// Type and code.
    #[must_use]
    pub fn type_and_code(self) -> (Icmpv6Type, u8) {
        match self {
            Self::Unreachable(code) => (Icmpv6Type::UNREACHABLE, code.0),
            Self::PacketTooBig { .. } => (Icmpv6Type::PACKET_TOO_BIG, 0),
            Self::TimeExceeded { code } => (Icmpv6Type::TIME_EXCEEDED, code.0),
            Self::ParameterProblem { code, .. } => (Icmpv6Type::PARAMETER_PROBLEM, code.0),
        }
    }

    /// Bytes 4..8: the MTU, the pointer, or zero.
    fn rest(self) -> [u8; 4] {
        match self {
            // R-168
            Self::Unreachable(_) | Self::TimeExceeded { .. } => [0; 4],
            Self::PacketTooBig { mtu } => mtu.to_be_bytes(),
            Self::ParameterProblem { pointer, .. } => pointer.to_be_bytes(),
        }
    }

    /// Reads the error that `header` announces; the RFC 4884 length of types 1 and 3 and the code
    /// of type 2 are ignored. `None` for informational messages and for errors of other types.
    pub fn from_header<B: Borrow<Bytes>>(header: &Icmpv6Header<B>) -> Option<Self> {
        let code = header.code();
        match header.type_() {
            Icmpv6Type::UNREACHABLE => Some(Self::Unreachable(UnreachableCode(code))),
            Icmpv6Type::PACKET_TOO_BIG => Some(Self::PacketTooBig { mtu: header.mtu() }),
            Icmpv6Type::TIME_EXCEEDED => Some(Self::TimeExceeded {
                code: TimeExceededCode(code),
            }),
            Icmpv6Type::PARAMETER_PROBLEM => Some(Self::ParameterProblem {
                code: ParameterProblemCode(code),
                pointer: header.pointer(),
            }),
            _ => None,
        }
    }
}

/// A view of the 8 bytes that ICMPv6 errors and echo messages begin with.
///
/// `B` is `&[u8; 8]` to read, `&mut [u8; 8]` to change in place, or `[u8; 8]` to own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Icmpv6Header<B>(B);

impl<'a> Icmpv6Header<&'a Bytes> {
    /// Splits `message` into its header and the rest. The checksum is not looked at, see
    /// [`verify`].
    ///
    /// # Errors
    ///
    /// Where there are fewer than 8 bytes.
    pub fn split(message: &'a [u8]) -> Result<(Self, &'a [u8]), ParseError> {
        // R-001
        let (bytes, rest) = message.split_first_chunk().ok_or_else(|| {
            ParseError::truncated(Layer::Icmpv6, ICMPV6_HEADER_LEN, message.len())
        })?;
        Ok((Self(bytes), rest))
    }
}

impl<'a> Icmpv6Header<&'a mut Bytes> {
    /// The header of `message`, to be changed in place; `None` under 8 bytes.
    pub fn from_mut(message: &'a mut [u8]) -> Option<Self> {
        message.first_chunk_mut().map(Self)
    }
}

impl<B: Borrow<Bytes>> Icmpv6Header<B> {
    /// Type.
    pub fn type_(&self) -> Icmpv6Type {
        Icmpv6Type(self.bytes()[0])
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

    /// Identifier of an echo message.
    pub fn ident(&self) -> u16 {
        let [hi, lo, ..] = self.rest();
        u16::from_be_bytes([hi, lo])
    }

    /// Sequence number of an echo message.
    pub fn sequence(&self) -> u16 {
        let [_, _, hi, lo] = self.rest();
        u16::from_be_bytes([hi, lo])
    }

    /// MTU in bytes of a packet too big message, all 32 bits of it.
    pub fn mtu(&self) -> u32 {
        u32::from_be_bytes(self.rest())
    }

    /// Pointer of a parameter problem message.
    pub fn pointer(&self) -> u32 {
        u32::from_be_bytes(self.rest())
    }

    /// Length of the quoted packet in 64-bit words where the message is extended, else 0
    /// (types 1 and 3, RFC 4884 §4.4).
    pub fn quote_words(&self) -> u8 {
        let [words, ..] = self.rest();
        words
    }

    fn bytes(&self) -> &Bytes {
        self.0.borrow()
    }
}

impl<B: BorrowMut<Bytes>> Icmpv6Header<B> {
    /// Sets the checksum.
    pub fn set_checksum(&mut self, checksum: u16) {
        let [_, _, hi, lo, ..] = self.0.borrow_mut();
        [*hi, *lo] = checksum.to_be_bytes();
    }

    /// Turns an echo request into the reply to it; the checksum follows (RFC 1624).
    ///
    /// The caller exchanges the addresses, which the sum over the pseudo-header does not notice.
    pub fn make_echo_reply(&mut self) {
        // R-171: identifier, sequence number and data go back as they came.
        let [type_, code, ..] = *self.bytes();
        let new = [Icmpv6Type::ECHO_REPLY.0, 0];
        let checksum = Update::new(self.checksum())
            .u16(u16::from_be_bytes([type_, code]), u16::from_be_bytes(new));
        self.set_checksum(checksum.finish());
        let [type_, code, ..] = self.0.borrow_mut();
        [*type_, *code] = new;
    }
}

/// What an error about `packet` quotes: the packet, or the first [`MAX_QUOTE`] bytes of it.
#[must_use]
pub fn quote_of(packet: &[u8]) -> &[u8] {
    // R-161
    packet.get(..MAX_QUOTE).unwrap_or(packet)
}

/// The 8 bytes that stand before `quote` in an error from `src` to `dst`, with the checksum over
/// the pseudo-header and both.
#[must_use]
pub fn error_header(
    kind: Icmpv6ErrorKind,
    src: Ipv6Addr,
    dst: Ipv6Addr,
    quote: &[u8],
) -> [u8; ICMPV6_HEADER_LEN] {
    let (type_, code) = kind.type_and_code();
    let [a, b, c, d] = kind.rest();
    let mut header = Icmpv6Header([type_.0, code, 0, 0, a, b, c, d]);
    let len = ICMPV6_HEADER_LEN.saturating_add(quote.len());
    header.set_checksum(sum(src, dst, len).add(&header.0).add(quote).finish());
    header.0
}

/// Whether the checksum of `message` between these addresses is right.
#[must_use]
pub fn verify(src: Ipv6Addr, dst: Ipv6Addr, message: &[u8]) -> bool {
    // R-006
    sum(src, dst, message.len()).add(message).finish() == 0
}

/// The checksum to store in `message`, whose checksum field is zero.
pub(crate) fn checksum_of(src: Ipv6Addr, dst: Ipv6Addr, message: &[u8]) -> u16 {
    sum(src, dst, message.len()).add(message).finish()
}

/// The sum over the pseudo-header of a message of `len` bytes.
fn sum(src: Ipv6Addr, dst: Ipv6Addr, len: usize) -> crate::checksum::Sum {
    // R-006: a message longer than the length field cannot be sent, so its sum does not matter.
    let len = u32::try_from(len).unwrap_or(u32::MAX);
    pseudo_v6(src, dst, IpProtocol::ICMPV6, len)
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    const SRC: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 1);
    const DST: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x12, 0x3400, 0, 0xc000, 0x212, 0x34);

    const KINDS: [Icmpv6ErrorKind; 4] = [
        Icmpv6ErrorKind::Unreachable(UnreachableCode::SOURCE_POLICY),
        Icmpv6ErrorKind::PacketTooBig { mtu: 0x0001_0500 },
        Icmpv6ErrorKind::TimeExceeded {
            code: TimeExceededCode::REASSEMBLY,
        },
        Icmpv6ErrorKind::ParameterProblem {
            code: ParameterProblemCode::OPTION,
            pointer: 42,
        },
    ];

    fn message(kind: Icmpv6ErrorKind, quote: &[u8]) -> Vec<u8> {
        [&error_header(kind, SRC, DST, quote)[..], quote].concat()
    }

    // R-001
    #[test]
    fn every_prefix_is_refused() {
        let bytes = message(KINDS[0], &[]);
        for len in 0..bytes.len() {
            assert!(Icmpv6Header::split(&bytes[..len]).is_err(), "{len}");
        }
        assert!(Icmpv6Header::split(&bytes).is_ok());
    }

    // R-006
    #[test]
    fn every_error_verifies_for_every_quote_length() {
        let quote: Vec<u8> = (0..90).collect();
        for kind in KINDS {
            for len in 0..quote.len() {
                let bytes = message(kind, &quote[..len]);
                assert!(verify(SRC, DST, &bytes), "{kind:?} {len}");
                assert!(verify(DST, SRC, &bytes), "the pseudo-header is symmetric");
                assert!(!verify(SRC, Ipv6Addr::LOCALHOST, &bytes));
            }
        }
    }

    #[test]
    fn emit_then_read() {
        for kind in KINDS {
            let bytes = error_header(kind, SRC, DST, &[1, 2, 3]);
            let (header, _) = Icmpv6Header::split(&bytes).unwrap();
            assert_eq!(Icmpv6ErrorKind::from_header(&header), Some(kind));
        }
    }

    // R-168
    #[test]
    fn unused_bytes_are_zero() {
        for kind in [KINDS[0], KINDS[2]] {
            let header = Icmpv6Header(error_header(kind, SRC, DST, &[0xff; 9]));
            assert_eq!(header.rest(), [0; 4], "{kind:?}");
        }
    }

    // R-168
    #[test]
    fn unused_bytes_are_ignored_on_receipt() {
        let header = Icmpv6Header([1, 5, 0, 0, 9, 9, 9, 9]);
        assert_eq!(Icmpv6ErrorKind::from_header(&header), Some(KINDS[0]));
    }

    #[test]
    fn the_mtu_has_32_bits() {
        let header = Icmpv6Header(error_header(KINDS[1], SRC, DST, &[]));
        assert_eq!(header.mtu(), 0x0001_0500);
    }

    // R-162
    #[test]
    fn errors_and_redirects_cause_no_error() {
        for type_ in 0..=255 {
            let may = type_ >= 128 && type_ != 137;
            assert_eq!(Icmpv6Type(type_).may_cause_error(), may, "{type_}");
        }
    }

    #[test]
    fn informational_messages_are_no_errors() {
        let header = Icmpv6Header([128, 0, 0, 0, 0, 1, 0, 2]);
        assert_eq!(Icmpv6ErrorKind::from_header(&header), None);
        assert_eq!((header.ident(), header.sequence()), (1, 2));
    }

    // R-161
    #[test]
    fn a_quote_ends_at_1232_bytes() {
        let packet = [0; 1500];
        assert_eq!(quote_of(&packet).len(), 1232);
        assert_eq!(quote_of(&packet[..80]).len(), 80);
    }

    // R-171
    #[test]
    fn an_echo_reply_verifies_between_exchanged_addresses() {
        let mut bytes = [128, 0, 0, 0, 0x12, 0x34, 0, 7, 1, 2, 3];
        let sum = checksum_of(SRC, DST, &bytes);
        bytes[2..4].copy_from_slice(&sum.to_be_bytes());
        Icmpv6Header::from_mut(&mut bytes)
            .unwrap()
            .make_echo_reply();
        assert!(verify(DST, SRC, &bytes));
        assert_eq!(bytes[0], 129);
        assert_eq!(bytes[4..], [0x12, 0x34, 0, 7, 1, 2, 3]);
    }
}
