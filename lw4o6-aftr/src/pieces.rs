//! Cutting packets that are too big for their link, once their verdict is known.

use lw4o6_wire::{FrameBuf, Ipv6Header};

use crate::counters::Counter;
use crate::emit::{Cut, Emitted};
use crate::settings::{LIMIT_LEN, OUTER_LEN};
use crate::split::{SplitError, split_ipv4, split_ipv6};
use crate::worker::Worker;
use crate::{Destination, DropReason, Output, Side, Verdict};

impl Worker {
    /// Leaves the first piece in `frame` and queues the others behind it.
    pub(crate) fn cut(&mut self, frame: &mut FrameBuf<'_>, emitted: Emitted) -> Verdict {
        let side = match emitted.verdict {
            Verdict::Forward(side) | Verdict::Reply(side, _) => side,
            Verdict::Local(_) | Verdict::Consumed | Verdict::Drop(_) => return emitted.verdict,
        };
        let done = match emitted.cut {
            Cut::Whole => return emitted.verdict,
            Cut::Ipv4 { mtu } => self.cut_ipv4(frame, side, mtu),
            Cut::Tunnel { mtu } => self.cut_tunnel(frame, side, mtu),
            Cut::Inner { mtu } => self.cut_inner(frame, side, mtu),
        };
        match done {
            Ok(pieces) => {
                self.counters.add(Counter::FragmentsQueued, pieces - 1);
                emitted.verdict
            }
            Err(_) => {
                debug_assert!(false, "a packet that fits the slab was not cut");
                Verdict::Drop(DropReason::Internal)
            }
        }
    }

    ///
    fn cut_ipv4(
        &mut self,
        frame: &mut FrameBuf<'_>,
        side: Side,
        mtu: u16,
    ) -> Result<usize, SplitError> {
        let output = self.output(side);
        let (queue, slab) = (&mut self.queue, &mut self.slab);
        let pieces = split_ipv4(frame, mtu, |parts| queue.push(slab, output, parts))?;
        self.counters.add(Counter::Ipv4PacketsFragmented, 1);
        Ok(pieces)
    }

    /// R-118 R-122 R-123 R-124 R-159
    fn cut_tunnel(
        &mut self,
        frame: &mut FrameBuf<'_>,
        side: Side,
        mtu: u16,
    ) -> Result<usize, SplitError> {
        let (header, _) = Ipv6Header::split(frame.packet()).map_err(|_| SplitError::Malformed)?;
        let ident = self.shared.fragment_ids.next(header.src(), header.dst());
        let output = self.output(side);
        let (queue, slab) = (&mut self.queue, &mut self.slab);
        let pieces = split_ipv6(frame, mtu, ident, |parts| queue.push(slab, output, parts))?;
        self.counters.add(Counter::TunnelPacketsFragmented, 1);
        Ok(pieces)
    }

    /// Cuts the inner packet and puts the outer headers in front of every piece. R-125
    fn cut_inner(
        &mut self,
        frame: &mut FrameBuf<'_>,
        side: Side,
        mtu: u16,
    ) -> Result<usize, SplitError> {
        let overhead = self.settings.overhead;
        let mut outer = [0; OUTER_LEN + LIMIT_LEN];
        let outer = outer.get_mut(..overhead).ok_or(SplitError::Malformed)?;
        let headers = frame
            .packet()
            .get(..overhead)
            .ok_or(SplitError::Malformed)?;
        outer.copy_from_slice(headers);
        frame.trim_front(overhead);
        let output = self.output(side);
        let room = mtu.saturating_sub(u16::try_from(overhead).unwrap_or(u16::MAX));
        let (queue, slab) = (&mut self.queue, &mut self.slab);
        let pieces = split_ipv4(frame, room, |parts| {
            let len: usize = parts.iter().map(|part| part.len()).sum();
            set_payload_len(outer, len);
            match *parts {
                [header, payload] => queue.push(slab, output, &[outer, header, payload]),
                [header, options, payload] => {
                    queue.push(slab, output, &[outer, header, options, payload])
                }
                _ => false,
            }
        })?;
        set_payload_len(outer, frame.len());
        push_slice(frame, outer)?;
        self.counters.add(Counter::Ipv4PacketsFragmented, 1);
        Ok(pieces)
    }

    pub(crate) const fn output(&self, side: Side) -> Output {
        Output {
            to: Destination::Side(side),
            after: self.after,
        }
    }
}

/// Writes the payload length for `len` bytes of IPv4 packet behind `outer`.
fn set_payload_len(outer: &mut [u8], len: usize) {
    let payload = len + outer.len() - OUTER_LEN;
    if let Some(header) = outer.first_chunk_mut::<OUTER_LEN>() {
        Ipv6Header::new(header).set_payload_len(u16::try_from(payload).unwrap_or(u16::MAX));
    }
}

fn push_slice(frame: &mut FrameBuf<'_>, headers: &[u8]) -> Result<(), SplitError> {
    let rest = headers.get(OUTER_LEN..).unwrap_or_default();
    if let Some(limit) = rest.first_chunk::<LIMIT_LEN>() {
        frame
            .push_front(limit)
            .map_err(|_| SplitError::NoHeadroom)?;
    }
    let outer = headers.first_chunk::<OUTER_LEN>();
    frame
        .push_front(outer.ok_or(SplitError::Malformed)?)
        .map_err(|_| SplitError::NoHeadroom)
}
