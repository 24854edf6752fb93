//! Neighbor solicitations and advertisements (RFC 4861 §4.3, §4.4, §7.1).
//!
//! ```text
//! byte  0        1        2        3
//!  0   |135, 136|  code  |    checksum     |
//!  4   |R S O   |  reserved                |   flags of an advertisement only
//!  8   |  target address (16 bytes)        |
//! 24   |  options: type, length in units of 8 bytes, data
//! ```
//!
//! The link-layer address options are those of Ethernet: one unit, six bytes of address.

use core::net::Ipv6Addr;

use crate::ethernet::MacAddr;
use crate::icmpv6::{Icmpv6Type, checksum_of, verify};
use crate::{BufferTooSmall, Layer, ParseError, ParseErrorKind};

/// Length in bytes of a message without options.
pub const NDP_LEN: usize = 24;

/// Length in bytes of a message with a link-layer address option.
pub const NDP_LEN_WITH_ADDRESS: usize = 32;

/// Hop limit of every Neighbor Discovery message.
pub const HOP_LIMIT: u8 = 255;

/// All nodes of the link.
pub const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

const SOURCE_ADDRESS: u8 = 1;
const TARGET_ADDRESS: u8 = 2;
const ROUTER: u8 = 0x80;
const SOLICITED: u8 = 0x40;
const OVERRIDE: u8 = 0x20;

/// A neighbor solicitation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NeighborSolicit {
    /// Whose link-layer address is asked for.
    pub target: Ipv6Addr,
    /// Link-layer address of the sender; absent where the source is unspecified.
    pub source_mac: Option<MacAddr>,
}

impl NeighborSolicit {
    /// Reads a solicitation after all the checks of RFC 4861 §7.1.1.
    ///
    /// # Errors
    ///
    /// Where the hop limit is not 255, type, code or checksum is wrong, the message is shorter
    /// than 24 bytes, the target is multicast, an option has length zero or is cut off, or the
    /// source is unspecified and the destination no solicited-node address or the source
    /// link-layer address present. Also where that address is a group address.
    pub fn parse(
        src: Ipv6Addr,
        dst: Ipv6Addr,
        hop_limit: u8,
        message: &[u8],
    ) -> Result<Self, ParseError> {
        // R-241
        let body = Body::parse(Icmpv6Type::NEIGHBOR_SOLICIT, src, dst, hop_limit, message)?;
        if src.is_unspecified() {
            if !is_solicited_node(dst) {
                return Err(value(8, low_word(dst)));
            }
            if body.options.source.is_some() {
                return Err(value(NDP_LEN, SOURCE_ADDRESS.into()));
            }
        }
        Ok(Self {
            target: body.target,
            source_mac: body.options.source.flatten(),
        })
    }

    /// Bytes that [`emit`](Self::emit) writes: 24, or 32 with a link-layer address.
    #[must_use]
    pub fn wire_len(&self) -> usize {
        wire_len(self.source_mac)
    }

    /// Writes the message from `src` to `dst`, checksum filled in, and returns its length.
    ///
    /// # Errors
    ///
    /// Where `out` is shorter than [`wire_len`](Self::wire_len).
    pub fn emit(
        &self,
        src: Ipv6Addr,
        dst: Ipv6Addr,
        out: &mut [u8],
    ) -> Result<usize, BufferTooSmall> {
        let first = [Icmpv6Type::NEIGHBOR_SOLICIT.0, 0, 0, 0, 0, 0, 0, 0];
        let option = self.source_mac.map(|mac| (SOURCE_ADDRESS, mac));
        emit(first, self.target, option, (src, dst), out)
    }
}

/// A neighbor advertisement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NeighborAdvert {
    /// R flag: the sender is a router.
    pub router: bool,
    /// S flag: the answer to a solicitation from a specified address.
    pub solicited: bool,
    /// O flag: replaces what the receiver had; not set by proxies and for anycast addresses.
    pub override_: bool,
    /// Whose link-layer address this is about.
    pub target: Ipv6Addr,
    /// Link-layer address of the target.
    pub target_mac: Option<MacAddr>,
}

/// On whose behalf an advertisement answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Answers {
    /// For a unicast address of the node itself: O = 1.
    Itself,
    /// As a proxy, or for an anycast address: O = 0 (RFC 4861 §7.2.7, §7.2.8).
    AsProxy,
}

impl NeighborAdvert {
    /// Reads an advertisement after all the checks of RFC 4861 §7.1.2.
    ///
    /// # Errors
    ///
    /// Where the hop limit is not 255, type, code or checksum is wrong, the message is shorter
    /// than 24 bytes, the target is multicast, the S flag is set and the destination multicast,
    /// or an option has length zero or is cut off. Also where the link-layer address is a group
    /// address.
    pub fn parse(
        src: Ipv6Addr,
        dst: Ipv6Addr,
        hop_limit: u8,
        message: &[u8],
    ) -> Result<Self, ParseError> {
        // R-241
        let body = Body::parse(Icmpv6Type::NEIGHBOR_ADVERT, src, dst, hop_limit, message)?;
        let solicited = body.flags & SOLICITED != 0;
        if solicited && dst.is_multicast() {
            return Err(value(4, body.flags.into()));
        }
        Ok(Self {
            router: body.flags & ROUTER != 0,
            solicited,
            override_: body.flags & OVERRIDE != 0,
            target: body.target,
            target_mac: body.options.target.flatten(),
        })
    }

    /// A router's advertisement that nobody asked for, sent to [`ALL_NODES`] after `target` moved
    /// to `mac` (RFC 4861 §7.2.6).
    #[must_use]
    pub fn unsolicited(target: Ipv6Addr, mac: MacAddr) -> Self {
        // R-243 R-244
        Self {
            router: true,
            solicited: false,
            override_: true,
            target,
            target_mac: Some(mac),
        }
    }

    /// A router's answer to `solicit` that came from `src`, and the address to send it to.
    ///
    /// A solicitation from the unspecified address is answered to [`ALL_NODES`] with S = 0.
    /// The link-layer address is always there, as it must be where the solicitation was multicast.
    #[must_use]
    pub fn answer(
        solicit: &NeighborSolicit,
        src: Ipv6Addr,
        mac: MacAddr,
        answers: Answers,
    ) -> (Ipv6Addr, Self) {
        let solicited = !src.is_unspecified();
        let advert = Self {
            router: true,
            solicited,
            // R-245
            override_: answers == Answers::Itself,
            target: solicit.target,
            target_mac: Some(mac),
        };
        (if solicited { src } else { ALL_NODES }, advert)
    }

    /// Bytes that [`emit`](Self::emit) writes: 24, or 32 with a link-layer address.
    #[must_use]
    pub fn wire_len(&self) -> usize {
        wire_len(self.target_mac)
    }

    /// Writes the message from `src` to `dst`, checksum filled in, and returns its length.
    ///
    /// # Errors
    ///
    /// Where `out` is shorter than [`wire_len`](Self::wire_len).
    pub fn emit(
        &self,
        src: Ipv6Addr,
        dst: Ipv6Addr,
        out: &mut [u8],
    ) -> Result<usize, BufferTooSmall> {
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        let flags = flag(self.router, ROUTER)
            | flag(self.solicited, SOLICITED)
            | flag(self.override_, OVERRIDE);
        let first = [Icmpv6Type::NEIGHBOR_ADVERT.0, 0, 0, 0, flags, 0, 0, 0];
        let option = self.target_mac.map(|mac| (TARGET_ADDRESS, mac));
        emit(first, self.target, option, (src, dst), out)
    }
}

/// The solicited-node multicast address of `addr` (RFC 4291 §2.7.1).
#[must_use]
pub fn solicited_node(addr: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = addr.octets();
    Ipv6Addr::from([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c])
}

/// Whether `addr` is the solicited-node multicast address of some address.
#[must_use]
pub fn is_solicited_node(addr: Ipv6Addr) -> bool {
    solicited_node(addr) == addr
}

/// The Ethernet group address that a multicast IPv6 address is sent to (RFC 2464 §7).
#[must_use]
pub fn multicast_mac(addr: Ipv6Addr) -> MacAddr {
    let [.., a, b, c, d] = addr.octets();
    MacAddr([0x33, 0x33, a, b, c, d])
}

/// What both messages have in common.
struct Body {
    flags: u8,
    target: Ipv6Addr,
    options: Options,
}

impl Body {
    fn parse(
        expected: Icmpv6Type,
        src: Ipv6Addr,
        dst: Ipv6Addr,
        hop_limit: u8,
        message: &[u8],
    ) -> Result<Self, ParseError> {
        // R-001
        let (fixed, options) = message
            .split_first_chunk::<NDP_LEN>()
            .ok_or_else(|| ParseError::truncated(Layer::Ndp, NDP_LEN, message.len()))?;
        let [type_, code, _, _, flags, _, _, _, target @ ..] = *fixed;
        let target = Ipv6Addr::from(target);
        if type_ != expected.0 {
            return Err(value(0, type_.into()));
        }
        if code != 0 {
            return Err(value(1, code.into()));
        }
        if hop_limit != HOP_LIMIT {
            return Err(value(0, hop_limit.into()));
        }
        if target.is_multicast() {
            return Err(value(8, u16::from_be_bytes([fixed[8], fixed[9]])));
        }
        if !verify(src, dst, message) {
            return Err(ParseError::new(Layer::Ndp, 2, ParseErrorKind::Checksum));
        }
        Ok(Self {
            flags,
            target,
            options: Options::parse(options)?,
        })
    }
}

/// The link-layer address options of a message.
///
/// The outer `Option` says whether the option is there, the inner one whether it holds an Ethernet
/// address; of several of a kind the first counts.
#[derive(Default)]
struct Options {
    source: Option<Option<MacAddr>>,
    target: Option<Option<MacAddr>>,
}

impl Options {
    fn parse(mut rest: &[u8]) -> Result<Self, ParseError> {
        let all = rest.len();
        let mut found = Self::default();
        while let [kind, units, ..] = *rest {
            let at = NDP_LEN + all - rest.len();
            let len = usize::from(units) * 8;
            let Some((option, after)) = rest.split_at_checked(len).filter(|_| len > 0) else {
                let kind = ParseErrorKind::Length(u16::from(units) * 8);
                return Err(ParseError::new(Layer::Ndp, at + 1, kind));
            };
            let slot = match kind {
                SOURCE_ADDRESS => &mut found.source,
                TARGET_ADDRESS => &mut found.target,
                // R-241: unknown options are skipped.
                _ => {
                    rest = after;
                    continue;
                }
            };
            let mac = ethernet_address(option, at)?;
            slot.get_or_insert(mac);
            rest = after;
        }
        if !rest.is_empty() {
            return Err(ParseError::truncated(
                Layer::Ndp,
                NDP_LEN + all + 1,
                NDP_LEN + all,
            ));
        }
        Ok(found)
    }
}

/// The address in an option at `at`; `None` where the option has not the length of Ethernet.
fn ethernet_address(option: &[u8], at: usize) -> Result<Option<MacAddr>, ParseError> {
    let &[_, _, a, b, c, d, e, f] = option else {
        return Ok(None);
    };
    let mac = MacAddr([a, b, c, d, e, f]);
    if mac.is_multicast() {
        return Err(value(at + 2, u16::from_be_bytes([a, b])));
    }
    Ok(Some(mac))
}

fn value(offset: usize, value: u16) -> ParseError {
    ParseError::new(Layer::Ndp, offset, ParseErrorKind::Value(value))
}

fn low_word(addr: Ipv6Addr) -> u16 {
    let [.., low] = addr.segments();
    low
}

fn wire_len(mac: Option<MacAddr>) -> usize {
    if mac.is_some() {
        NDP_LEN_WITH_ADDRESS
    } else {
        NDP_LEN
    }
}

fn emit(
    first: [u8; 8],
    target: Ipv6Addr,
    option: Option<(u8, MacAddr)>,
    (src, dst): (Ipv6Addr, Ipv6Addr),
    out: &mut [u8],
) -> Result<usize, BufferTooSmall> {
    let mut whole = [0; NDP_LEN_WITH_ADDRESS];
    whole[..8].copy_from_slice(&first);
    whole[8..24].copy_from_slice(&target.octets());
    if let Some((kind, mac)) = option {
        whole[24] = kind;
        whole[25] = 1;
        whole[26..].copy_from_slice(&mac.0);
    }
    let need = wire_len(option.map(|(_, mac)| mac));
    // The option is absent or the last eight bytes, so the message is a prefix.
    let (short, _) = whole.split_at(need.min(NDP_LEN_WITH_ADDRESS));
    let checksum = checksum_of(src, dst, short);
    [whole[2], whole[3]] = checksum.to_be_bytes();
    let place = out.get_mut(..need).ok_or(BufferTooSmall { need })?;
    for (to, from) in place.iter_mut().zip(whole) {
        *to = from;
    }
    Ok(need)
}

#[cfg(test)]
mod tests;
