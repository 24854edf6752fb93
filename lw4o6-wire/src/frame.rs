//! A packet with room in front of it.

use crate::BufferTooSmall;

/// Bytes of headroom that the packet engines ask of their caller.
///
/// One encapsulation takes at most 56 bytes (IPv6 header, Destination Options, Fragment header);
/// the rest is for the caller's link header and tags.
pub const HEADROOM: usize = 128;

/// No space is left in front of the packet; the frame is unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("no headroom")]
pub struct NoHeadroom;

/// A packet inside a larger buffer that the caller owns.
///
/// ```text
/// |<- headroom ->|<------- packet ------->|<- tailroom ->|
/// 0            start                     end        storage.len()
/// ```
///
/// Encapsulation grows the packet into the headroom and decapsulation shrinks it, so no payload
/// byte is moved. The default has no storage.
#[derive(Debug, Default)]
pub struct FrameBuf<'b> {
    storage: &'b mut [u8],
    start: usize, // start <= end <= storage.len(), kept by every method
    end: usize,
    link_cast: LinkCast,
}

/// How the link layer delivered a packet.
///
/// No ICMP error may answer a packet that came to a group address of the link (RFC 1812 §4.3.2.7,
/// RFC 4443 §2.4(e)), and only whoever takes the link header off knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum LinkCast {
    /// To one station, or over a link without addresses.
    #[default]
    Unicast,
    /// To a link-layer multicast or broadcast address.
    Group,
}

impl<'b> FrameBuf<'b> {
    /// A packet of `len` bytes that starts `start` bytes into `storage`.
    ///
    /// Returns `None` where that range is not inside `storage`.
    #[must_use]
    pub fn new(storage: &'b mut [u8], start: usize, len: usize) -> Option<Self> {
        let end = start.checked_add(len)?;
        (end <= storage.len()).then_some(Self {
            storage,
            start,
            end,
            link_cast: LinkCast::Unicast,
        })
    }

    /// Copies `packet` into `storage`, `headroom` bytes from its start.
    ///
    /// Returns `None` where it does not fit.
    #[must_use]
    pub fn with_headroom(storage: &'b mut [u8], headroom: usize, packet: &[u8]) -> Option<Self> {
        let mut frame = Self::new(storage, 0, 0)?;
        frame.set_packet(headroom, packet).ok()?;
        Some(frame)
    }

    /// Grows the packet at its front and writes `header` there.
    ///
    /// # Errors
    ///
    /// Where the headroom is less than `N` bytes.
    pub fn push_front<const N: usize>(&mut self, header: &[u8; N]) -> Result<(), NoHeadroom> {
        let start = self.start.checked_sub(N).ok_or(NoHeadroom)?;
        let room = self.storage.get_mut(start..).ok_or(NoHeadroom)?;
        *room.first_chunk_mut().ok_or(NoHeadroom)? = *header;
        self.start = start;
        Ok(())
    }

    /// Drops up to `len` bytes from the front of the packet.
    pub fn trim_front(&mut self, len: usize) {
        self.start = self.start.saturating_add(len).min(self.end);
    }

    /// Shortens the packet to at most `len` bytes.
    pub fn truncate(&mut self, len: usize) {
        self.end = self.start.saturating_add(len).min(self.end);
    }

    /// Grows the packet by `len` bytes at its end and returns them. They hold what the storage
    /// held.
    ///
    /// # Errors
    ///
    /// Where the tailroom is less than `len` bytes; the frame is unchanged then.
    pub fn grow_back(&mut self, len: usize) -> Result<&mut [u8], BufferTooSmall> {
        let need = self.end.saturating_add(len);
        let old_end = self.end;
        let new = self
            .storage
            .get_mut(old_end..need)
            .ok_or(BufferTooSmall { need })?;
        self.end = need;
        Ok(new)
    }

    /// Replaces the packet by a copy of `packet` that starts `headroom` bytes into the storage.
    ///
    /// # Errors
    ///
    /// Where `headroom` and `packet` do not fit the storage; the frame is unchanged then.
    pub fn set_packet(&mut self, headroom: usize, packet: &[u8]) -> Result<(), BufferTooSmall> {
        let end = headroom.saturating_add(packet.len());
        let room = self.storage.get_mut(headroom..);
        let room = room.and_then(|room| room.get_mut(..packet.len()));
        let room = room.ok_or(BufferTooSmall { need: end })?;
        room.copy_from_slice(packet);
        self.start = headroom;
        self.end = end;
        Ok(())
    }

    /// Moves the packet inside the storage so that exactly `headroom` bytes are in front of it.
    ///
    /// # Errors
    ///
    /// Where `headroom` and the packet do not fit the storage; the frame is unchanged then.
    pub fn shift_to(&mut self, headroom: usize) -> Result<(), BufferTooSmall> {
        let len = self.len();
        let need = headroom.saturating_add(len);
        let too_small = BufferTooSmall { need };
        // The span holds the old and the new place; the comparisons tell the compiler that the
        // copies stay inside.
        if headroom <= self.start {
            let span = self.storage.get_mut(headroom..self.end);
            let span = span.ok_or(too_small)?;
            let source = self.start - headroom;
            if source > span.len() {
                return Err(too_small);
            }
            span.copy_within(source.., 0);
        } else {
            let span = self.storage.get_mut(self.start..need);
            let span = span.ok_or(too_small)?;
            let target = headroom - self.start;
            if span.len().checked_sub(len).is_none_or(|last| target > last) {
                return Err(too_small);
            }
            span.copy_within(..len, target);
        }
        self.start = headroom;
        self.end = need;
        Ok(())
    }

    /// How the link layer delivered the packet; [`LinkCast::Unicast`] in a new frame.
    #[must_use]
    pub fn link_cast(&self) -> LinkCast {
        self.link_cast
    }

    /// Notes how the link layer delivered the packet.
    pub fn set_link_cast(&mut self, link_cast: LinkCast) {
        self.link_cast = link_cast;
    }

    /// The packet.
    #[must_use]
    pub fn packet(&self) -> &[u8] {
        self.storage.get(self.start..self.end).unwrap_or_default()
    }

    /// The packet, to be changed in place.
    pub fn packet_mut(&mut self) -> &mut [u8] {
        self.storage
            .get_mut(self.start..self.end)
            .unwrap_or_default()
    }

    /// Bytes in the packet.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.end.saturating_sub(self.start)
    }

    /// Whether the packet has no bytes.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes in front of the packet.
    #[must_use]
    pub const fn headroom(&self) -> usize {
        self.start
    }

    /// Bytes behind the packet.
    #[must_use]
    pub const fn tailroom(&self) -> usize {
        self.storage.len().saturating_sub(self.end)
    }

    /// Bytes in the whole storage.
    #[must_use]
    pub const fn capacity(&self) -> usize {
        self.storage.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn push_and_trim_are_inverse() {
        let mut storage = [0u8; 32];
        let mut frame = FrameBuf::with_headroom(&mut storage, 8, b"payload").unwrap();
        frame.push_front(b"head").unwrap();
        assert_eq!(frame.packet(), b"headpayload");
        assert_eq!(
            (frame.headroom(), frame.len(), frame.tailroom()),
            (4, 11, 17)
        );
        frame.trim_front(4);
        assert_eq!(frame.packet(), b"payload");
        assert_eq!(frame.capacity(), 32);
    }

    #[test]
    fn a_refused_change_leaves_the_frame_as_it_was() {
        let mut storage = [0u8; 12];
        let mut frame = FrameBuf::with_headroom(&mut storage, 3, b"payload").unwrap();
        assert_eq!(frame.push_front(b"head"), Err(NoHeadroom));
        assert_eq!(frame.grow_back(3), Err(BufferTooSmall { need: 13 }));
        assert_eq!(frame.shift_to(6), Err(BufferTooSmall { need: 13 }));
        assert_eq!(
            frame.set_packet(6, b"another"),
            Err(BufferTooSmall { need: 13 })
        );
        assert_eq!(
            frame.set_packet(usize::MAX, b"x").unwrap_err().need,
            usize::MAX
        );
        assert_eq!(frame.shift_to(usize::MAX).unwrap_err().need, usize::MAX);
        assert_eq!(frame.grow_back(usize::MAX).unwrap_err().need, usize::MAX);
        assert_eq!((frame.packet(), frame.headroom()), (&b"payload"[..], 3));
    }

    #[test]
    fn a_packet_outside_its_storage_is_refused() {
        assert!(FrameBuf::new(&mut [0; 4], 1, 4).is_none());
        assert!(FrameBuf::new(&mut [0; 4], usize::MAX, 2).is_none());
        assert!(FrameBuf::new(&mut [0; 4], 4, 0).unwrap().is_empty());
        assert!(FrameBuf::with_headroom(&mut [0; 4], 2, b"abc").is_none());
    }

    #[test]
    fn trimming_stops_at_the_end() {
        let mut storage = [7u8; 8];
        let mut frame = FrameBuf::new(&mut storage, 2, 4).unwrap();
        frame.truncate(9);
        assert_eq!(frame.len(), 4);
        frame.truncate(3);
        assert_eq!(frame.len(), 3);
        frame.trim_front(usize::MAX);
        assert!(frame.is_empty());
        frame.truncate(0);
        assert_eq!(frame.headroom(), 5);
    }

    #[test]
    fn growing_back_keeps_the_front() {
        let mut storage = [0u8; 8];
        let mut frame = FrameBuf::with_headroom(&mut storage, 1, b"ab").unwrap();
        frame.grow_back(2).unwrap().copy_from_slice(b"cd");
        assert_eq!(frame.packet(), b"abcd");
        frame.packet_mut()[0] = b'x';
        assert_eq!(frame.packet(), b"xbcd");
    }

    #[test]
    fn shifting_moves_every_byte_to_every_place() {
        for from in 0..=6 {
            for to in 0..=6 {
                let mut storage = [0u8; 10];
                let mut frame = FrameBuf::with_headroom(&mut storage, from, b"abcd").unwrap();
                frame.shift_to(to).unwrap();
                assert_eq!((frame.packet(), frame.headroom()), (&b"abcd"[..], to));
            }
        }
    }
}
