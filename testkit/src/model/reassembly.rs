//! Reassembly of tunnel packets (RFC 8200 §4.5), and of IPv4 packets from the Internet (RFC 791 §3.2).

use core::net::Ipv6Addr;

use super::chain::{Chain, Fragment};
use super::fragments::{flow, shape};
use super::keys::has_ports;
use super::packet::{V4, V6, fix_v4, put16};
use super::{Action, Model, ModelSide, Refusal, Step};

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
    /// Where its Fragment header stands, and where that is named; in IPv4 where its data starts.
    at: usize,
    named_at: usize,
    next: u8,
    /// What told the flow of an IPv4 packet from others.
    flow: Option<Vec<u8>>,
}

/// Addresses, IPv4 ones in their mapped form, and the identification, in IPv4 behind the
/// protocol.
type DatagramKey = (Ipv6Addr, Ipv6Addr, u32);

/// What the reasons of a version start with.
type Version = &'static str;

fn reason(version: Version, what: &str) -> &'static str {
    match (version, what) {
        ("ipv6", "duplicate") => "ipv6-fragment-duplicate",
        ("ipv6", "overlap") => "ipv6-fragment-overlap",
        ("ipv6", "count") => "ipv6-fragment-count",
        (_, "duplicate") => "ipv4-fragment-duplicate",
        (_, "overlap") => "ipv4-fragment-overlap",
        (_, "count") => "ipv4-fragment-count",
        _ => "internal",
    }
}

#[derive(Clone, Debug)]
struct Datagram {
    key: DatagramKey,
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

    fn entry(&mut self, key: DatagramKey, now: u64) -> usize {
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

    fn add(
        &mut self,
        version: Version,
        piece: Piece,
        limit: usize,
        largest: usize,
    ) -> Result<(), &'static str> {
        if let Some(reason) = self.dead {
            return Err(reason);
        }
        let same =
            |p: &Piece| p.start == piece.start && p.data == piece.data && p.more == piece.more;
        if self.pieces.iter().any(same) {
            return Err(reason(version, "duplicate"));
        }
        let clash = self.pieces.iter().any(|p| {
            (piece.start < p.end() && p.start < piece.end())
                || (!p.more && (piece.end() > p.end() || !piece.more))
                || (!piece.more && p.end() > piece.end())
        });
        if clash {
            return Err(self.kill(reason(version, "overlap")));
        }
        if self.pieces.len() >= limit {
            return Err(self.kill(reason(version, "count")));
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
        datagram.add("ipv6", piece, limit, largest)?;
        if fragment.offset == 0 {
            datagram.first = Some(First {
                packet: outer.bytes.clone(),
                at: chain.at,
                named_at: chain.named_at,
                next: fragment.next,
                flow: None,
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
        Ok(Action::Reassembled(ModelSide::Softwire, whole))
    }

    /// Takes a fragment of a packet from the Internet to a shared address. R-141
    pub(super) fn reassemble_v4(&mut self, v4: &V4) -> Step {
        if v4.proto == 1 && !self.config.incoming_icmpv4 {
            return Err("icmpv4-policy".into());
        }
        if v4.proto != 1 && !has_ports(v4.proto) {
            return Err("no-l4-port".into());
        }
        shape(v4)?;
        let ident = u32::from(v4.proto) << 16 | u32::from(v4.id);
        let key = (v4.src.to_ipv6_mapped(), v4.dst.to_ipv6_mapped(), ident);
        let piece = Piece {
            start: v4.offset,
            data: v4.payload().to_vec(),
            more: v4.mf,
            ecn: v4.tos & 3,
        };
        let (now, limit) = (self.now, self.config.fragments);
        let at = self.ipv4_reassembly.entry(key, now);
        let datagram = &mut self.ipv4_reassembly.datagrams[at];
        let flow = flow(v4);
        let other = datagram.first.as_ref().is_some_and(|f| f.flow != flow);
        if datagram.dead.is_none() && v4.offset == 0 && other {
            return Err(datagram.kill("ipv4-fragment-conflict").into());
        }
        datagram.add("ipv4", piece, limit, usize::MAX)?;
        if v4.offset == 0 {
            datagram.first = Some(First {
                packet: v4.bytes.clone(),
                at: v4.header,
                named_at: 0,
                next: v4.proto,
                flow,
            });
        }
        let Some(first) = datagram.first.clone().filter(|_| datagram.complete()) else {
            return Ok(Action::Held);
        };
        let datagram = self.ipv4_reassembly.datagrams.remove(at);
        let mut whole = first.packet[..first.at].to_vec();
        for piece in datagram.in_order() {
            whole.extend(&piece.data);
        }
        if whole.len() > 65_535 {
            return Err("ipv4-fragment-malformed".into());
        }
        let Some(ecn) = datagram.ecn() else {
            return Err("ipv4-reassembly-ecn".into());
        };
        whole[1] = (whole[1] & 0xfc) | ecn;
        let len = whole.len();
        put16(&mut whole, 2, len);
        (whole[6], whole[7]) = (whole[6] & 0x40, 0); // only Don't Fragment stays
        fix_v4(&mut whole);
        Ok(Action::Reassembled(ModelSide::Internet, whole))
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
