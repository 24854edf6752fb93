//! Reassembly of tunnel packets (RFC 8200 §4.5).

use core::net::Ipv6Addr;

use super::chain::{Chain, Fragment};
use super::packet::{V6, put16};
use super::{Action, Model, Refusal, Step};

#[derive(Clone, Debug)]
struct Piece {
    start: usize,
    data: Vec<u8>,
    more: bool,
    ecn: u8,
}

impl Piece {
    fn end(&self) -> usize {
        self.start + self.data.len()
    }
}

/// The fragment at offset 0, as received.
#[derive(Clone, Debug)]
struct First {
    packet: Vec<u8>,
    /// Where its Fragment header stands, and where that is named.
    at: usize,
    named_at: usize,
    next: u8,
}

#[derive(Clone, Debug)]
struct Datagram {
    key: (Ipv6Addr, Ipv6Addr, u32),
    started: u64,
    pieces: Vec<Piece>,
    first: Option<First>,
    dead: Option<&'static str>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct ReassemblyStore {
    datagrams: Vec<Datagram>,
}

impl ReassemblyStore {
    /// Gives up what is too old; returns the first fragments among it.
    pub(super) fn expire(&mut self, now: u64, timeout: u64) -> Vec<Vec<u8>> {
        let (old, young): (Vec<_>, Vec<_>) = self
            .datagrams
            .drain(..)
            .partition(|d| now >= d.started + timeout);
        self.datagrams = young;
        old.into_iter()
            .filter_map(|d| d.first)
            .map(|first| first.packet)
            .collect()
    }

    fn entry(&mut self, key: (Ipv6Addr, Ipv6Addr, u32), now: u64) -> usize {
        self.datagrams
            .iter()
            .position(|d| d.key == key)
            .unwrap_or_else(|| {
                self.datagrams.push(Datagram {
                    key,
                    started: now,
                    pieces: Vec::new(),
                    first: None,
                    dead: None,
                });
                self.datagrams.len() - 1
            })
    }
}

impl Datagram {
    /// Discards all there is and all that will come.
    fn kill(&mut self, reason: &'static str) -> &'static str {
        self.dead = Some(reason);
        self.pieces.clear();
        self.first = None;
        reason
    }

    fn add(&mut self, piece: Piece, limit: usize, largest: usize) -> Result<(), &'static str> {
        if let Some(reason) = self.dead {
            return Err(reason);
        }
        let same =
            |p: &Piece| p.start == piece.start && p.data == piece.data && p.more == piece.more;
        if self.pieces.iter().any(same) {
            return Err("ipv6-fragment-duplicate");
        }
        let clash = self.pieces.iter().any(|p| {
            (piece.start < p.end() && p.start < piece.end())
                || (!p.more && (piece.end() > p.end() || !piece.more))
                || (!piece.more && p.end() > piece.end())
        });
        if clash {
            return Err(self.kill("ipv6-fragment-overlap"));
        }
        if self.pieces.len() >= limit {
            return Err(self.kill("ipv6-fragment-count"));
        }
        if piece.end() > largest {
            return Err(self.kill("ipv6-reassembled-too-big"));
        }
        self.pieces.push(piece);
        Ok(())
    }

    fn complete(&self) -> bool {
        let mut at = 0;
        for piece in self.in_order() {
            if piece.start != at {
                return false;
            }
            at = piece.end();
            if !piece.more {
                return true;
            }
        }
        false
    }

    fn in_order(&self) -> Vec<&Piece> {
        let mut pieces: Vec<&Piece> = self.pieces.iter().collect();
        pieces.sort_by_key(|p| p.start);
        pieces
    }

    /// `None` drops the packet.
    fn ecn(&self) -> Option<u8> {
        let seen: Vec<u8> = self.in_order().iter().map(|p| p.ecn).collect();
        match (seen.contains(&3), seen.contains(&0)) {
            (true, true) => None,
            (true, false) => Some(3),
            _ => seen.first().copied(),
        }
    }

    fn whole(&self, first: &First, ecn: u8) -> Vec<u8> {
        let mut whole = first.packet[..first.at].to_vec();
        whole[first.named_at] = first.next;
        whole[1] = (whole[1] & 0xcf) | ecn << 4;
        for piece in self.in_order() {
            whole.extend(&piece.data);
        }
        let len = whole.len() - 40;
        put16(&mut whole, 4, len);
        whole
    }
}

impl Model {
    /// Takes a fragment of a tunnel packet that is not atomic.
    pub(super) fn reassemble(&mut self, outer: &V6, chain: Chain, fragment: Fragment) -> Step {
        let data = outer.bytes[chain.at + 8..].to_vec();
        if fragment.more && !data.len().is_multiple_of(8) {
            return Err(self.refuse_v6("ipv6-fragment-length", (4, 0, 4), &outer.bytes));
        }
        let kept = chain.at - 40;
        if kept + fragment.offset + data.len() > 65_535 {
            let what = (4, 0, chain.at + 2);
            return Err(self.refuse_v6("ipv6-fragment-too-long", what, &outer.bytes));
        }
        if data.is_empty() {
            return Err("ipv6-fragment-length".into());
        }
        if fragment.offset == 0 && !whole_chain(outer, chain, fragment) {
            return Err(self.refuse_v6("ipv6-fragment-first-short", (4, 3, 0), &outer.bytes));
        }
        let piece = Piece {
            start: fragment.offset,
            data,
            more: fragment.more,
            ecn: outer.tc & 3,
        };
        let at = self
            .reassembly
            .entry((outer.src, outer.dst, fragment.id), self.now);
        let limit = self.config.reassembly_fragments;
        let mru = self.config.path_mru.max(1540);
        let largest = mru + 256 - 40; // extension headers do not count
        let datagram = &mut self.reassembly.datagrams[at];
        datagram.add(piece, limit, largest)?;
        if fragment.offset == 0 {
            datagram.first = Some(First {
                packet: outer.bytes.clone(),
                at: chain.at,
                named_at: chain.named_at,
                next: fragment.next,
            });
        }
        let Some(first) = datagram.first.clone().filter(|_| datagram.complete()) else {
            return Ok(Action::Held);
        };
        let datagram = self.reassembly.datagrams.remove(at);
        let Some(ecn) = datagram.ecn() else {
            return Err(Refusal::from("ipv6-reassembly-ecn"));
        };
        let whole = datagram.whole(&first, ecn);
        let headers = Chain::start(&whole).walk(&whole).map_or(0, |c| c.len());
        if whole.len() - headers > mru {
            return Err("ipv6-reassembled-too-big".into());
        }
        Ok(Action::Reassembled(whole))
    }
}

/// Whether a first fragment holds all headers through the IPv4 or `ICMPv6` one.
fn whole_chain(outer: &V6, chain: Chain, fragment: Fragment) -> bool {
    match chain.over_fragment(fragment).walk(&outer.bytes) {
        Ok(end) => {
            let have = outer.bytes.len().saturating_sub(end.at);
            let need = match end.next {
                4 => {
                    let ihl = outer
                        .bytes
                        .get(end.at)
                        .map_or(0, |b| usize::from(b & 15) * 4);
                    ihl.max(20)
                }
                41 => 40,
                44 => 0,
                next => super::keys::minimum(next),
            };
            have >= need
        }
        Err(problem) => !problem.is_cut_off(),
    }
}
