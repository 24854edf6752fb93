//! Cutting packets into fragments: outer ones (RFC 8200 §4.5) and IPv4 ones (RFC 791 §2.3).
//!
//! All pieces but the last are as large as the link allows, leave in order, and the first is made
//! in the frame that the packet stands in, so only the rest is copied.

use lw4o6_wire::ipv6_ext::FragmentHeader;
use lw4o6_wire::{FrameBuf, IpProtocol, Ipv4Header, Ipv4Packet, Ipv6Header, checksum};

/// Length of the IPv6 fixed header in bytes.
const IPV6: usize = 40;

/// Length of the IPv6 fixed header and a Fragment header in bytes.
const IPV6_FRAGMENT: usize = IPV6 + FragmentHeader::LEN;

/// Smallest MTU of IPv6 and of IPv4.
const MIN_MTU: (u16, u16) = (1280, 68);

/// A piece of a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PieceRange {
    /// Where it starts, in bytes; a multiple of 8.
    pub(crate) offset: usize,
    /// Its bytes.
    pub(crate) len: usize,
    /// Whether others follow.
    pub(crate) more: bool,
}

/// Why a packet was not cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SplitError {
    /// It is not the packet it should be.
    Malformed,
    /// Don't Fragment is set. // R-125
    DontFragment,
    /// No room in front of it for the Fragment header.
    NoHeadroom,
    /// A piece was refused; those before it have left.
    Refused,
}

/// The pieces of the `total` bytes behind an IPv6 fixed header for a link of `mtu` bytes, of which
/// 1,280 at least are used. // R-123
pub(crate) fn ipv6_pieces(total: usize, mtu: u16) -> impl Iterator<Item = PieceRange> + Clone {
    pieces(total, usize::from(mtu.max(MIN_MTU.0)) - IPV6_FRAGMENT)
}

/// The pieces of the `total` bytes behind an IPv4 header of `header_len` bytes, 60 at most, for a
/// link of `mtu` bytes, of which 68 at least are used.
pub(crate) fn ipv4_pieces(
    total: usize,
    header_len: usize,
    mtu: u16,
) -> impl Iterator<Item = PieceRange> + Clone {
    pieces(total, usize::from(mtu.max(MIN_MTU.1)) - header_len.min(60))
}

fn pieces(total: usize, room: usize) -> impl Iterator<Item = PieceRange> + Clone {
    let unit = room / 8 * 8;
    let count = if total <= room {
        1
    } else {
        // The last piece need not be a multiple of 8, so it may be larger than the others.
        (total - room).div_ceil(unit) + 1
    };
    (0..count).map(move |index| {
        let offset = index * unit;
        let more = index + 1 < count;
        let len = if more { unit } else { total - offset };
        PieceRange { offset, len, more }
    })
}

/// Cuts the IPv6 packet in `frame` for a link of `mtu` bytes. // R-118, R-122
///
/// The Fragment header directly follows the fixed header; what came behind that, Destination
/// Options included, is the fragmentable part. The inner packet is not touched, and its
/// header is in the first piece, which has 1,232 bytes of it at least. `emit` gets the parts of every piece but the first,
/// in order, and returns whether it has taken it; afterwards `frame` holds the first piece.
/// Returns the number of pieces. A packet that fits is left as it is.
///
/// # Errors
///
/// Why not; the frame is unchanged then.
pub(crate) fn split_ipv6(
    frame: &mut FrameBuf<'_>,
    mtu: u16,
    ident: u32,
    mut emit: impl FnMut(&[&[u8]]) -> bool,
) -> Result<usize, SplitError> {
    let (header, payload) = Ipv6Header::split(frame.packet()).map_err(|_| SplitError::Malformed)?;
    let total = payload.len();
    if IPV6 + total <= usize::from(mtu.max(MIN_MTU.0)) {
        return Ok(1);
    }
    if frame.headroom() < FragmentHeader::LEN {
        return Err(SplitError::NoHeadroom);
    }
    let (next, original) = (header.next_header(), *header.as_bytes());
    let head = |piece: PieceRange| ipv6_piece_header(original, next, ident, piece);
    let ranges = ipv6_pieces(total, mtu);
    let mut count = 0;
    let mut first = None;
    for piece in ranges {
        count += 1;
        if piece.offset == 0 {
            first = Some(piece);
            continue;
        }
        let data = payload.get(piece.offset..piece.offset + piece.len);
        let data = data.ok_or(SplitError::Malformed)?;
        if !emit(&[&head(piece), data]) {
            return Err(SplitError::Refused);
        }
    }
    let first = first.ok_or(SplitError::Malformed)?;
    let header = head(first);
    frame.trim_front(IPV6);
    frame.truncate(first.len);
    // The bytes of the fixed header and the headroom checked above are in front now.
    frame
        .push_front(&header)
        .map_err(|_| SplitError::NoHeadroom)?;
    Ok(count)
}

fn ipv6_piece_header(
    original: [u8; IPV6],
    next: IpProtocol,
    ident: u32,
    piece: PieceRange,
) -> [u8; IPV6_FRAGMENT] {
    let mut fixed = Ipv6Header::new(original);
    fixed.set_next_header(IpProtocol::FRAGMENT);
    // A piece is part of a packet whose length fits the field.
    fixed.set_payload_len(u16::try_from(FragmentHeader::LEN + piece.len).unwrap_or(u16::MAX));
    let fragment = FragmentHeader {
        next,
        offset: u16::try_from(piece.offset).unwrap_or(u16::MAX),
        more: piece.more,
        ident,
    };
    let mut header = [0; IPV6_FRAGMENT];
    header[..IPV6].copy_from_slice(fixed.as_bytes());
    header[IPV6..].copy_from_slice(&fragment.to_bytes());
    header
}

/// Cuts the IPv4 packet in `frame`, which may be a fragment itself, for a link of `mtu` bytes.
//
///
/// `emit` and the result are as in [`split_ipv6`]. The identification stays; options go into later
/// pieces only where their copied flag is set (RFC 791 §3.1).
///
/// # Errors
///
/// Why not; the frame is unchanged then.
pub(crate) fn split_ipv4(
    frame: &mut FrameBuf<'_>,
    mtu: u16,
    mut emit: impl FnMut(&[&[u8]]) -> bool,
) -> Result<usize, SplitError> {
    let packet = Ipv4Packet::split(frame.packet()).map_err(|_| SplitError::Malformed)?;
    let (header_len, total) = (packet.header_len(), packet.payload.len());
    if header_len + total <= usize::from(mtu.max(MIN_MTU.1)) {
        return Ok(1);
    }
    if packet.header.dont_fragment() {
        return Err(SplitError::DontFragment);
    }
    let original = *packet.header.as_bytes();
    let base = usize::from(packet.header.fragment_offset());
    let more_after = packet.header.more_fragments();
    let mut copied = [0; 40];
    let copied = copied_options(packet.options, &mut copied);
    let head = |piece: PieceRange, options: &[u8]| {
        let place = PieceRange {
            offset: base + piece.offset,
            len: piece.len,
            more: piece.more || more_after,
        };
        ipv4_piece_header(original, options, place)
    };
    let mut count = 0;
    let mut first = None;
    for piece in ipv4_pieces(total, header_len, mtu) {
        count += 1;
        if piece.offset == 0 {
            first = Some(head(piece, packet.options)).zip(Some(piece));
            continue;
        }
        let data = packet.payload.get(piece.offset..piece.offset + piece.len);
        let data = data.ok_or(SplitError::Malformed)?;
        if !emit(&[&head(piece, copied), copied, data]) {
            return Err(SplitError::Refused);
        }
    }
    let (header, piece) = first.ok_or(SplitError::Malformed)?;
    frame.truncate(header_len + piece.len);
    let place = lw4o6_wire::ipv4::header_mut(frame.packet_mut());
    *place.ok_or(SplitError::Malformed)? = header;
    Ok(count)
}

/// The header of a piece without its options, whose bytes follow.
fn ipv4_piece_header(original: [u8; 20], options: &[u8], piece: PieceRange) -> [u8; 20] {
    let mut header = Ipv4Header::new(original);
    let header_len = header.as_bytes().len() + options.len();
    let total = u16::try_from(header_len + piece.len).unwrap_or(u16::MAX);
    header.set_total_len(total);
    let offset = u16::try_from(piece.offset).unwrap_or(u16::MAX);
    header.set_flags_offset(false, piece.more, offset);
    header.set_checksum(0);
    let mut bytes = *header.as_bytes();
    bytes[0] = 4 << 4 | u8::try_from(header_len / 4).unwrap_or(0xf);
    let mut sum = checksum::Sum::new();
    sum.add(&bytes);
    sum.add(options);
    bytes[10..12].copy_from_slice(&sum.finish().to_be_bytes());
    bytes
}

/// The options that every fragment carries, padded to a multiple of 4 bytes with End of Options.
fn copied_options<'a>(options: &[u8], out: &'a mut [u8; 40]) -> &'a [u8] {
    let mut rest = options;
    let mut len = 0;
    while let [kind, behind @ ..] = rest {
        let size = match (kind, behind.first()) {
            (0, _) => break,
            (1, _) => 1,
            (_, Some(&size)) if size >= 2 => usize::from(size),
            _ => break, // broken: what follows cannot be told apart
        };
        let Some((option, after)) = rest.split_at_checked(size) else {
            break;
        };
        if kind & 0x80 != 0
            && let Some(room) = out.get_mut(len..len + size)
        {
            room.copy_from_slice(option);
            len += size;
        }
        rest = after;
    }
    out.get(..len.next_multiple_of(4)).unwrap_or_default()
}

#[cfg(test)]
mod tests;
