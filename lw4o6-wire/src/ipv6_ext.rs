//! IPv6 extension headers (RFC 8200 §4).
//!
//! ```text
//! Hop-by-Hop (0), Destination Options (60)      option
//! byte 0  next header                           byte 0  type; upper two bits: what a node does
//!      1  length in units of 8 bytes, less 1                  that does not know it
//!      2  options                                    1  length of the data in bytes
//!                                                    2  data
//! Routing (43)                                  Fragment (44), always 8 bytes
//! byte 0  next header                           byte 0  next header
//!      1  length as above                            1  reserved
//!      2  routing type                               2  offset 13b in units of 8 bytes, 2b
//!      3  segments left                                 reserved, 1b more fragments
//!      4  data                                       4  identification 32b
//! ```
//!
//! ESP and AH are treated as upper layers. Every pointer is an offset in bytes from the start of
//! the IPv6 header, ready for an ICMPv6 Parameter Problem.

use crate::{IpProtocol, Layer, ParseError};

#[cfg(test)]
mod tests;

/// Most extension headers that are walked, the Fragment header included (R-073).
pub const MAX_EXT_HEADERS: usize = 8;

/// Most bytes of extension headers that are walked, the Fragment header included (R-073).
pub const MAX_EXT_BYTES: usize = 256;

/// Where extension headers start when they directly follow the fixed header.
const FIXED: usize = crate::ipv6::IPV6_HEADER_LEN;

/// Where the fixed header names what follows it.
const FIXED_NEXT_HEADER: usize = 6;

/// Option type of the Tunnel Encapsulation Limit (RFC 2473 §4.1.1).
const ENCAP_LIMIT: u8 = 4;

/// Where a walk over extension headers ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExtWalk<'a> {
    /// The upper layer, or [`IpProtocol::FRAGMENT`].
    pub next: IpProtocol,
    /// Offset in bytes of the upper layer or of the Fragment header from the start of the payload
    /// that was walked.
    pub offset: usize,
    /// The Fragment header at `offset`, if the walk stopped there.
    pub fragment: Option<FragmentHeader>,
    /// The first Tunnel Encapsulation Limit on the way.
    pub encap_limit: Option<EncapLimit>,
    /// The upper layer; behind a Fragment header, the bytes that it places.
    pub payload: &'a [u8],
    /// Offset in bytes, from the start of the IPv6 header, of the byte that names `next`.
    pub next_header_at: usize,
    base: usize,    // offset of the walked payload from the start of the IPv6 header
    headers: usize, // extension headers passed
}

impl<'a> ExtWalk<'a> {
    /// Walks on behind a Fragment header of offset 0: through an atomic fragment, or through the
    /// first fragment as far as it goes. Offsets count from the same places, the bounds hold for
    /// both walks together. A walk that ended elsewhere is returned as it is (R-071).
    ///
    /// # Errors
    ///
    /// As [`walk`].
    pub fn past_fragment(&self) -> Result<Self, ExtProblem> {
        let Some(fragment) = self.fragment.filter(|f| f.offset == 0) else {
            return Ok(*self);
        };
        let at = self.base + self.offset;
        let mut walk = Walk {
            next: fragment.next,
            named_at: at,
            at: at + FragmentHeader::LEN,
            base: self.base,
            headers: self.headers,
            encap_limit: self.encap_limit,
            rest: self.payload,
        };
        walk.count(at, FragmentHeader::LEN)?;
        walk.run()
    }
}

/// Why a packet with extension headers goes no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ExtProblem {
    /// The packet ends inside an extension header.
    #[error("packet ends inside an extension header")]
    Truncated,
    /// More than [`MAX_EXT_HEADERS`] headers or [`MAX_EXT_BYTES`] bytes.
    #[error("too many extension headers")]
    TooMany,
    /// Nothing follows (next header 59).
    #[error("no next header")]
    NoNextHeader,
    /// A Hop-by-Hop Options header that does not directly follow the fixed header
    /// (RFC 8200 §4: to be treated as an unknown next header).
    #[error("unknown next header named at byte {pointer}")]
    UnknownNextHeader {
        /// Offset of the byte that names the header.
        pointer: u32,
    },
    /// An option that is not known and may not be skipped (RFC 8200 §4.2).
    #[error("unknown option at byte {pointer}")]
    UnknownOption {
        /// Offset of the option type.
        pointer: u32,
        /// The sender is not to be told.
        silent: bool,
        /// The sender is to be told also where the packet went to a multicast address.
        even_multicast: bool,
    },
    /// A Routing header of a type that is not known, with segments left (RFC 5095 §3).
    #[error("routing header with segments left at byte {pointer}")]
    RoutingSegments {
        /// Offset of the routing type.
        pointer: u32,
    },
    /// An option that does not end inside its header, or a Tunnel Encapsulation Limit without
    /// exactly one byte.
    #[error("wrong option length at byte {pointer}")]
    OptionLength {
        /// Offset of the option length, or of a lone option type at the end of the header.
        pointer: u32,
    },
}

impl ExtProblem {
    /// Code and pointer of the ICMPv6 Parameter Problem that answers the packet, or `None` where
    /// none is sent. `multicast` says that the packet went to a multicast address.
    #[must_use]
    pub const fn parameter_problem(self, multicast: bool) -> Option<(u8, u32)> {
        match self {
            Self::Truncated | Self::TooMany | Self::NoNextHeader => None,
            Self::UnknownOption {
                pointer,
                silent,
                even_multicast,
            } => {
                if silent || multicast && !even_multicast {
                    None
                } else {
                    Some((2, pointer))
                }
            }
            _ if multicast => None, // RFC 4443 §2.4(e.3)
            Self::UnknownNextHeader { pointer } => Some((1, pointer)),
            Self::RoutingSegments { pointer } | Self::OptionLength { pointer } => {
                Some((0, pointer))
            }
        }
    }
}

/// Walks the extension headers behind a fixed header up to the upper layer or to a Fragment
/// header, from left to right (R-069).
///
/// `first` is the next header of the fixed header, `payload` the bytes behind it. Next headers
/// that are no extension headers end the walk, known or not: whether the upper layer is one is
/// the caller's question, and [`ExtWalk::next_header_at`] the pointer for its answer (R-072).
///
/// # Errors
///
/// Where the chain is broken, too long, or asks for something that is not done here.
#[inline]
pub fn walk(first: IpProtocol, payload: &[u8]) -> Result<ExtWalk<'_>, ExtProblem> {
    if !is_walked(first) {
        // Nearly every tunnel packet: decided by one byte in the caller's code.
        return Ok(ExtWalk {
            next: first,
            offset: 0,
            fragment: None,
            encap_limit: None,
            payload,
            next_header_at: FIXED_NEXT_HEADER,
            base: FIXED,
            headers: 0,
        });
    }
    walk_from(first, FIXED_NEXT_HEADER, FIXED, payload)
}

/// Whether the walk does something about a header, rather than end there.
const fn is_walked(header: IpProtocol) -> bool {
    matches!(
        header,
        IpProtocol::HOPOPTS
            | IpProtocol::DST_OPTS
            | IpProtocol::ROUTING
            | IpProtocol::FRAGMENT
            | IpProtocol::NO_NEXT_HEADER
    )
}

/// Walks extension headers that start elsewhere, as those in the fragmentable part of a packet.
///
/// `named_at` and `at` are the offsets of the byte that names `first` and of `payload`, from the
/// start of the IPv6 header. What lies between the fixed header and `at` counts against
/// [`MAX_EXT_BYTES`].
///
/// # Errors
///
/// As [`walk`].
pub fn walk_from(
    first: IpProtocol,
    named_at: usize,
    at: usize,
    payload: &[u8],
) -> Result<ExtWalk<'_>, ExtProblem> {
    let walk = Walk {
        next: first,
        named_at,
        at,
        base: at,
        headers: 0,
        encap_limit: None,
        rest: payload,
    };
    walk.run()
}

/// A walk under way: `rest` starts at `at` with the header `next`.
struct Walk<'a> {
    next: IpProtocol,
    named_at: usize,
    at: usize,
    base: usize,
    headers: usize,
    encap_limit: Option<EncapLimit>,
    rest: &'a [u8],
}

impl<'a> Walk<'a> {
    fn run(mut self) -> Result<ExtWalk<'a>, ExtProblem> {
        loop {
            match self.next {
                IpProtocol::HOPOPTS if self.at == FIXED => {
                    let options = self.enter()?;
                    self.options(options, false)?;
                }
                IpProtocol::HOPOPTS => {
                    let pointer = pointer(self.named_at);
                    return Err(ExtProblem::UnknownNextHeader { pointer });
                }
                IpProtocol::DST_OPTS => {
                    let options = self.enter()?;
                    self.options(options, true)?;
                }
                IpProtocol::ROUTING => self.routing()?,
                IpProtocol::FRAGMENT => return self.fragment(),
                IpProtocol::NO_NEXT_HEADER => return Err(ExtProblem::NoNextHeader),
                _ => return Ok(self.stop(None, self.rest)),
            }
        }
    }

    /// Counts a header of `len` bytes at `at` against the bounds (R-073).
    fn count(&mut self, at: usize, len: usize) -> Result<(), ExtProblem> {
        let bytes = at.saturating_add(len).saturating_sub(FIXED);
        if self.headers >= MAX_EXT_HEADERS || bytes > MAX_EXT_BYTES {
            return Err(ExtProblem::TooMany);
        }
        self.headers += 1;
        Ok(())
    }

    /// Steps over the header in front and returns its bytes behind the length field, of which
    /// there are at least 6, with their offset.
    fn enter(&mut self) -> Result<(usize, &'a [u8]), ExtProblem> {
        let [next, units, behind @ ..] = self.rest else {
            return Err(ExtProblem::Truncated);
        };
        let len = (usize::from(*units) + 1) * 8;
        self.count(self.at, len)?;
        let (body, rest) = behind
            .split_at_checked(len - 2)
            .ok_or(ExtProblem::Truncated)?;
        let at = self.at;
        (self.next, self.named_at) = (IpProtocol(*next), at);
        (self.at, self.rest) = (at + len, rest);
        Ok((at + 2, body))
    }

    fn options(
        &mut self,
        (mut at, mut rest): (usize, &[u8]),
        destination: bool,
    ) -> Result<(), ExtProblem> {
        loop {
            let (kind, data, behind) = match rest {
                [] => return Ok(()),
                [0, behind @ ..] => {
                    (at, rest) = (at + 1, behind); // Pad1 has no length
                    continue;
                }
                [kind, len, behind @ ..] => {
                    let split = behind.split_at_checked(usize::from(*len));
                    let (data, behind) = split.ok_or_else(|| wrong_length(at + 1))?;
                    (*kind, data, behind)
                }
                [_] => return Err(wrong_length(at)),
            };
            if kind == ENCAP_LIMIT && destination {
                self.limit(at, data)?;
            } else if kind != 1 {
                unknown_option(kind, at)?; // 1 is PadN
            }
            (at, rest) = (at + 2 + data.len(), behind);
        }
    }

    /// Takes in a Tunnel Encapsulation Limit at `at` (R-070).
    fn limit(&mut self, at: usize, data: &[u8]) -> Result<(), ExtProblem> {
        let [limit] = *data else {
            return Err(wrong_length(at + 1));
        };
        self.encap_limit = self.encap_limit.or(Some(EncapLimit { limit, at: at + 2 }));
        Ok(())
    }

    fn routing(&mut self) -> Result<(), ExtProblem> {
        match self.enter()? {
            (_, [_, 0, ..]) => Ok(()),
            (at, _) => Err(ExtProblem::RoutingSegments {
                pointer: pointer(at),
            }),
        }
    }

    fn fragment(mut self) -> Result<ExtWalk<'a>, ExtProblem> {
        let at = self.at;
        let passed = self.headers;
        self.count(at, FragmentHeader::LEN)?;
        self.headers = passed; // counted again when the walk goes on behind it
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(ExtProblem::Truncated)?;
        Ok(self.stop(Some(FragmentHeader::parse(bytes)), rest))
    }

    const fn stop(&self, fragment: Option<FragmentHeader>, payload: &'a [u8]) -> ExtWalk<'a> {
        ExtWalk {
            next: self.next,
            offset: self.at - self.base,
            fragment,
            encap_limit: self.encap_limit,
            payload,
            next_header_at: self.named_at,
            base: self.base,
            headers: self.headers,
        }
    }
}

/// What a node does that does not know an option, by the upper two bits of its type
/// (RFC 8200 §4.2).
fn unknown_option(kind: u8, at: usize) -> Result<(), ExtProblem> {
    let (silent, even_multicast) = match kind >> 6 {
        0b00 => return Ok(()),
        0b01 => (true, false),
        0b10 => (false, true),
        _ => (false, false),
    };
    Err(ExtProblem::UnknownOption {
        pointer: pointer(at),
        silent,
        even_multicast,
    })
}

fn wrong_length(at: usize) -> ExtProblem {
    ExtProblem::OptionLength {
        pointer: pointer(at),
    }
}

fn pointer(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

/// The Fragment header (RFC 8200 §4.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FragmentHeader {
    /// What the fragmentable part starts with; only that of the fragment at offset 0 counts.
    pub next: IpProtocol,
    /// Place of the fragment in the fragmentable part in bytes; the lower three bits are not used.
    pub offset: u16,
    /// Whether this is a fragment other than the last.
    pub more: bool,
    /// Identification of the packet its fragments belong to.
    pub ident: u32,
}

impl FragmentHeader {
    /// Length of the header in bytes.
    pub const LEN: usize = 8;

    /// Reads a header; the reserved bits are not looked at (R-013).
    #[must_use]
    pub const fn parse(bytes: &[u8; 8]) -> Self {
        let [next, _, high, low, a, b, c, d] = *bytes;
        Self {
            next: IpProtocol(next),
            offset: u16::from_be_bytes([high, low & 0xf8]),
            more: low & 1 != 0,
            ident: u32::from_be_bytes([a, b, c, d]),
        }
    }

    /// Splits `bytes` into a header and what follows it.
    ///
    /// # Errors
    ///
    /// Where there are fewer than 8 bytes.
    pub fn split(bytes: &[u8]) -> Result<(Self, &[u8]), ParseError> {
        let (header, rest) = bytes
            .split_first_chunk()
            .ok_or_else(|| ParseError::truncated(Layer::Fragment, Self::LEN, bytes.len()))?;
        Ok((Self::parse(header), rest))
    }

    /// The 8 bytes of the header, reserved bits zero (R-013).
    #[must_use]
    pub const fn to_bytes(&self) -> [u8; 8] {
        let [high, low] = self.offset.to_be_bytes();
        let [a, b, c, d] = self.ident.to_be_bytes();
        [
            self.next.0,
            0,
            high,
            low & 0xf8 | self.more as u8,
            a,
            b,
            c,
            d,
        ]
    }

    /// Whether this "fragment" is a whole packet (RFC 6946).
    #[must_use]
    pub const fn is_atomic(&self) -> bool {
        self.offset < 8 && !self.more
    }
}

/// A Tunnel Encapsulation Limit option (RFC 2473 §4.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EncapLimit {
    /// How many more times the packet may be encapsulated.
    pub limit: u8,
    /// Offset in bytes of the limit from the start of the IPv6 header.
    pub at: usize,
}

/// A Destination Options header that holds a Tunnel Encapsulation Limit and padding
/// (RFC 2473 §5.1), followed by `next`.
#[must_use]
pub const fn encap_limit_header(next: IpProtocol, limit: u8) -> [u8; 8] {
    [next.0, 0, ENCAP_LIMIT, 1, limit, 1, 1, 0]
}
