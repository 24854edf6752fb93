//! Joined segments, cut apart.
//!
//! A sender on the same machine leaves it to the network card to cut a long TCP or UDP packet into
//! segments (TSO, USO), and a receiver may have joined segments (GRO, LRO). An AFTR must see what a
//! wire carries: each segment has its own length, identification, sequence number and checksum. What
//! can be cut: TCP and UDP in IPv4, in IPv6, and in IPv4 inside an IPv6 softwire, behind at most two
//! VLAN tags and without extension headers.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::Range;

use lw4o6_wire::IpProtocol;
use lw4o6_wire::checksum::{Sum, checksum, pseudo_v4, pseudo_v6, udp_wire};

use super::offload::{Kind, Offload};

/// TCP flags that only the last segment has: FIN and PSH.
const LAST_ONLY: u8 = 0x09;

/// TCP flag that only the first segment has: CWR.
const FIRST_ONLY: u8 = 0x80;

/// Cuts one joined packet at a time.
#[derive(Debug, Default)]
pub(super) struct Cutter {
    frame: Vec<u8>,
    plan: Option<Plan>,
}

/// How the packet is to be cut.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Plan {
    /// Where the IP headers are: the outer one, and that of the softwire's packet.
    ip: [Option<Ip>; 2],
    upper: Upper,
    /// Payload that is still to be cut, in the frame.
    payload: Range<usize>,
    /// Bytes of payload in each segment but the last.
    size: usize,
    /// Length of all headers.
    headers: usize,
    /// Segments made so far.
    made: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ip {
    V4(usize),
    V6(usize),
}

/// The upper layer, and where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Upper {
    Tcp(usize),
    /// Whether it has a checksum.
    Udp(usize, bool),
}

impl Cutter {
    /// Whether segments are still to be made.
    pub(super) fn is_busy(&self) -> bool {
        self.plan.is_some()
    }

    /// Memory for a frame of `len` bytes.
    pub(super) fn room(&mut self, len: usize) -> &mut [u8] {
        self.plan = None;
        self.frame.resize(len, 0);
        &mut self.frame
    }

    /// Begins to cut the frame in the memory; whether it can be cut. A tag that was taken off goes
    /// into each segment.
    pub(super) fn start(&mut self, offload: Offload, tag: Option<(u16, u16)>) -> bool {
        if let Some((tpid, tci)) = tag {
            let [a, b] = tpid.to_be_bytes();
            let [c, d] = tci.to_be_bytes();
            let at = self.frame.len().min(12);
            self.frame.splice(at..at, [a, b, c, d]);
        }
        self.plan = plan(&self.frame, offload);
        self.plan.is_some()
    }

    /// Makes the next segment in `room`; returns its length, or `Some(None)` where it does not fit, or
    /// nothing after the last.
    pub(super) fn next(&mut self, room: &mut [u8]) -> Option<Option<usize>> {
        let plan = self.plan.as_mut()?;
        let end = (plan.payload.start + plan.size).min(plan.payload.end);
        let chunk = plan.payload.start..end;
        let len = plan.headers + chunk.len();
        let is_last = end == plan.payload.end;
        let made = room.get_mut(..len).and_then(|room| {
            let (headers, rest) = room.split_at_mut_checked(plan.headers)?;
            headers.copy_from_slice(self.frame.get(..plan.headers)?);
            rest.copy_from_slice(self.frame.get(chunk)?);
            plan.finish(room, is_last)?;
            Some(len)
        });
        plan.made = plan.made.wrapping_add(1);
        plan.payload.start = end;
        if is_last {
            self.plan = None;
        }
        Some(made)
    }
}

/// Reads the headers of a frame.
fn plan(frame: &[u8], offload: Offload) -> Option<Plan> {
    let kind = offload.kind?;
    let mut at = 12;
    let mut ethertype = u16::from_be_bytes(bytes(frame, at)?);
    for _ in 0..2 {
        if matches!(ethertype, 0x8100 | 0x88a8) {
            at += 4;
            ethertype = u16::from_be_bytes(bytes(frame, at)?);
        }
    }
    at += 2;
    let (first, mut next, mut inside) = match ethertype {
        0x0800 => ipv4(frame, at)?,
        0x86dd => {
            let [next] = bytes(frame, at + 6)?;
            (Ip::V6(at), next, at + 40)
        }
        _ => return None,
    };
    let mut second = None;
    if matches!(first, Ip::V6(_)) && next == IpProtocol::IPV4.0 {
        let (ip, protocol, upper) = ipv4(frame, inside)?;
        (second, next, inside) = (Some(ip), protocol, upper);
    }
    let (upper, header) = match (kind, IpProtocol(next)) {
        (Kind::Tcp, IpProtocol::TCP) => {
            let [offset] = bytes(frame, inside + 12)?;
            (Upper::Tcp(inside), usize::from(offset >> 4) * 4)
        }
        (Kind::Udp, IpProtocol::UDP) => {
            let summed = offload.checksum.is_some() || bytes(frame, inside + 6)? != [0, 0];
            (Upper::Udp(inside, summed), 8)
        }
        _ => return None,
    };
    let headers = inside + header;
    let size = usize::from(offload.segment_size);
    let is_sane = size > 0 && headers < frame.len() && (header >= 20 || kind == Kind::Udp);
    is_sane.then_some(Plan {
        ip: [Some(first), second],
        upper,
        payload: headers..frame.len(),
        size,
        headers,
        made: 0,
    })
}

/// The IPv4 header at `at`: its protocol, and where the upper layer begins.
fn ipv4(frame: &[u8], at: usize) -> Option<(Ip, u8, usize)> {
    let [version] = bytes(frame, at)?;
    let fragment = u16::from_be_bytes(bytes(frame, at + 6)?);
    let [protocol] = bytes(frame, at + 9)?;
    let is_whole = fragment & 0x3fff == 0;
    let header = usize::from(version & 15) * 4;
    (version >> 4 == 4 && header >= 20 && is_whole).then_some((Ip::V4(at), protocol, at + header))
}

impl Plan {
    /// Puts the headers of a segment right.
    fn finish(&self, frame: &mut [u8], is_last: bool) -> Option<()> {
        let end = frame.len();
        let mut pseudo = Sum::new();
        for ip in self.ip.into_iter().flatten() {
            let upper = match self.upper {
                Upper::Tcp(at) | Upper::Udp(at, _) => u16::try_from(end - at).ok()?,
            };
            let protocol = match self.upper {
                Upper::Tcp(_) => IpProtocol::TCP,
                Upper::Udp(..) => IpProtocol::UDP,
            };
            pseudo = match ip {
                Ip::V4(at) => {
                    self.finish_ipv4(frame, at)?;
                    let src = Ipv4Addr::from(bytes::<4>(frame, at + 12)?);
                    let dst = Ipv4Addr::from(bytes::<4>(frame, at + 16)?);
                    pseudo_v4(src, dst, protocol, upper)
                }
                Ip::V6(at) => {
                    put(
                        frame,
                        at + 4,
                        u16::try_from(end - at - 40).ok()?.to_be_bytes(),
                    )?;
                    let src = Ipv6Addr::from(bytes::<16>(frame, at + 8)?);
                    let dst = Ipv6Addr::from(bytes::<16>(frame, at + 24)?);
                    pseudo_v6(src, dst, protocol, upper.into())
                }
            };
        }
        match self.upper {
            Upper::Tcp(at) => self.finish_tcp(frame, at, is_last, pseudo),
            Upper::Udp(at, summed) => {
                put(frame, at + 4, u16::try_from(end - at).ok()?.to_be_bytes())?;
                put(frame, at + 6, [0, 0])?;
                if summed {
                    let sum = udp_wire(pseudo.add(frame.get(at..)?).finish());
                    put(frame, at + 6, sum.to_be_bytes())?;
                }
                Some(())
            }
        }
    }

    fn finish_ipv4(&self, frame: &mut [u8], at: usize) -> Option<()> {
        let total = u16::try_from(frame.len() - at).ok()?;
        let ident = u16::from_be_bytes(bytes(frame, at + 4)?).wrapping_add(self.made);
        put(frame, at + 2, total.to_be_bytes())?;
        put(frame, at + 4, ident.to_be_bytes())?;
        put(frame, at + 10, [0, 0])?;
        let [version] = bytes(frame, at)?;
        let header = frame.get(at..at + usize::from(version & 15) * 4)?;
        let sum = checksum(header);
        put(frame, at + 10, sum.to_be_bytes())
    }

    fn finish_tcp(
        &self,
        frame: &mut [u8],
        at: usize,
        is_last: bool,
        mut pseudo: Sum,
    ) -> Option<()> {
        let done = u32::from(self.made).wrapping_mul(u32::try_from(self.size).ok()?);
        let sequence = u32::from_be_bytes(bytes(frame, at + 4)?).wrapping_add(done);
        put(frame, at + 4, sequence.to_be_bytes())?;
        let [mut flags] = bytes(frame, at + 13)?;
        if !is_last {
            flags &= !LAST_ONLY;
        }
        if self.made > 0 {
            flags &= !FIRST_ONLY;
        }
        put(frame, at + 13, [flags])?;
        put(frame, at + 16, [0, 0])?;
        let sum = pseudo.add(frame.get(at..)?).finish();
        put(frame, at + 16, sum.to_be_bytes())
    }
}

fn bytes<const N: usize>(frame: &[u8], at: usize) -> Option<[u8; N]> {
    frame.get(at..)?.first_chunk().copied()
}

fn put<const N: usize>(frame: &mut [u8], at: usize, value: [u8; N]) -> Option<()> {
    *frame.get_mut(at..)?.first_chunk_mut()? = value;
    Some(())
}

#[cfg(test)]
mod tests;
