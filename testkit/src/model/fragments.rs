//! IPv4 fragments on shared addresses (spec section 10.4).

use core::net::{Ipv4Addr, Ipv6Addr};

use super::config::{ModelConfig, ModelFragments};
use super::keys::{Key, Keys, has_ports};
use super::packet::{V4, be16};
use super::{Model, ModelSide};

/// What names a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FragmentKey {
    pub(super) b4: Option<Ipv6Addr>,
    pub(super) src: Ipv4Addr,
    pub(super) dst: Ipv4Addr,
    pub(super) proto: u8,
    pub(super) id: u16,
}

#[derive(Clone, Debug)]
struct Datagram {
    key: FragmentKey,
    started: u64,
    /// First byte, byte after the last, more to come.
    pieces: Vec<(usize, usize, bool)>,
    keys: Option<Keys>,
    /// What told the first fragment's flow from others.
    flow: Option<Vec<u8>>,
    /// Its fragments are dropped for this reason.
    dead: Option<&'static str>,
    held: Vec<(ModelSide, Vec<u8>)>,
}

impl Datagram {
    fn kill(&mut self, reason: &'static str) {
        self.dead = Some(reason);
        self.held.clear();
    }

    /// Takes note of a piece, or says what is wrong with it.
    fn note(&mut self, piece: (usize, usize, bool), limit: usize) -> Result<(), &'static str> {
        if let Some(reason) = self.dead {
            return Err(reason);
        }
        if self.pieces.contains(&piece) {
            return Err("ipv4-fragment-duplicate");
        }
        let clash = self.pieces.iter().any(|&(start, end, more)| {
            (piece.0 < end && start < piece.1)
                || (!more && (piece.1 > end || !piece.2))
                || (!piece.2 && end > piece.1)
        });
        if clash {
            self.kill("ipv4-fragment-overlap");
            return Err("ipv4-fragment-overlap");
        }
        if self.pieces.len() >= limit {
            self.kill("ipv4-fragment-count");
            return Err("ipv4-fragment-count");
        }
        self.pieces.push(piece);
        Ok(())
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct FragmentStore {
    datagrams: Vec<Datagram>,
}

impl FragmentStore {
    fn entry(&mut self, key: FragmentKey, now: u64) -> &mut Datagram {
        let at = self
            .datagrams
            .iter()
            .position(|d| d.key == key)
            .unwrap_or_else(|| {
                self.datagrams.push(Datagram {
                    key,
                    started: now,
                    pieces: Vec::new(),
                    keys: None,
                    flow: None,
                    dead: None,
                    held: Vec::new(),
                });
                self.datagrams.len() - 1
            });
        &mut self.datagrams[at]
    }

    /// A datagram of which every byte has passed is over; its identification may be used again.
    pub(super) fn forget_complete(&mut self) {
        self.datagrams.retain(|d| {
            let bytes: usize = d.pieces.iter().map(|(start, end, _)| end - start).sum();
            let end = d.pieces.iter().find(|piece| !piece.2).map(|piece| piece.1);
            d.dead.is_some() || !d.held.is_empty() || d.keys.is_none() || end != Some(bytes)
        });
    }

    pub(super) fn expire(&mut self, now: u64, timeout: u64) {
        self.datagrams.retain(|d| now < d.started + timeout);
    }

    /// The first fragment has passed: what waited for it.
    pub(super) fn release(&mut self, key: FragmentKey) -> Vec<(ModelSide, Vec<u8>)> {
        let found = self.datagrams.iter_mut().find(|d| d.key == key);
        found
            .map(|d| core::mem::take(&mut d.held))
            .unwrap_or_default()
    }

    /// The first fragment was refused: so are the others.
    pub(super) fn refuse(&mut self, key: FragmentKey, now: u64) {
        let datagram = self.entry(key, now);
        if datagram.dead.is_none() {
            datagram.kill("fragment-refused");
        }
    }
}

/// What following a fragment came to.
pub(super) enum Followed {
    /// A first fragment, noted but not yet judged.
    First(Keys),
    /// A later one whose first has been seen.
    Later(Keys),
    Held,
}

/// The checks that need no other fragment.
pub(super) fn shape(v4: &V4) -> Result<(), &'static str> {
    let len = v4.payload().len();
    if len == 0 || (v4.mf && !len.is_multiple_of(8)) || v4.offset + len > 65_535 - v4.header {
        return Err("ipv4-fragment-malformed");
    }
    //
    let tiny = match (v4.proto, v4.offset) {
        (6, 8) => true,
        (6, 0) => len < 16,
        _ => false,
    };
    if tiny {
        Err("ipv4-fragment-tiny")
    } else {
        Ok(())
    }
}

impl Model {
    /// Takes a fragment of a packet from or to a shared address.
    pub(super) fn follow(
        &mut self,
        side: ModelSide,
        key: FragmentKey,
        v4: &V4,
    ) -> Result<Followed, &'static str> {
        if self.config.fragment_handling == ModelFragments::Off {
            return Err("fragments-off");
        }
        if v4.proto != 1 && !has_ports(v4.proto) {
            return Err("no-l4-port");
        }
        shape(v4)?;
        let piece = (v4.offset, v4.offset + v4.payload().len(), v4.mf);
        if v4.offset == 0 {
            return self.follow_first(key, v4, piece);
        }
        let ModelConfig {
            fragments: limit, ..
        } = self.config;
        let (now, noted, arrived) = (self.now, self.noted, self.arrived.clone());
        let datagram = self.fragments.entry(key, now);
        if !noted {
            datagram.note(piece, limit)?;
        }
        match datagram.keys {
            Some(keys) => Ok(Followed::Later(keys)),
            None => {
                datagram.held.push((side, arrived));
                Ok(Followed::Held)
            }
        }
    }

    fn follow_first(
        &mut self,
        key: FragmentKey,
        v4: &V4,
        piece: (usize, usize, bool),
    ) -> Result<Followed, &'static str> {
        let keys = self.first_keys(v4);
        let flow = flow(v4);
        let (limit, now) = (self.config.fragments, self.now);
        let datagram = self.fragments.entry(key, now);
        if datagram.dead.is_none() && datagram.keys.is_some() && datagram.flow != flow {
            datagram.kill("ipv4-fragment-conflict");
        }
        datagram.note(piece, limit)?;
        (datagram.keys, datagram.flow) = (Some(keys), flow);
        Ok(Followed::First(keys))
    }

    /// What speaks against a fragment on a full address: nothing that a port would be needed for.
    pub(super) fn unfollowed(&self, v4: &V4) -> Keys {
        if v4.proto == 1 && v4.offset == 0 {
            let keys = self.first_keys(v4);
            let hard = |key: Key| match key {
                Err(reason @ ("icmpv4-malformed" | "icmpv4-policy")) => Err(reason),
                Ok(_) | Err(_) => Ok(None),
            };
            return Keys {
                up: hard(keys.up),
                down: hard(keys.down),
            };
        }
        Keys {
            up: Ok(None),
            down: Ok(None),
        }
    }

    /// The keys in a first fragment.
    fn first_keys(&self, v4: &V4) -> Keys {
        let l4 = v4.payload();
        let neither = |reason| Keys {
            up: Err(reason),
            down: Err(reason),
        };
        if v4.proto == 1 {
            if l4.len() < 8 {
                return neither("icmpv4-malformed");
            }
            return match l4[0] {
                0 | 8 | 13 | 14 => self.query_keys(l4[0], be16(l4, 4)),
                3 | 11 | 12 => neither("icmpv4-fragmented"),
                _ => neither("icmpv4-type"),
            };
        }
        if l4.len() < 4 {
            return neither("ipv4-fragment-tiny");
        }
        Keys {
            up: Ok(Some(be16(l4, 0))),
            down: Ok(Some(be16(l4, 2))),
        }
    }
}

/// Ports, or type, code and identifier.
pub(super) fn flow(v4: &V4) -> Option<Vec<u8>> {
    let l4 = v4.payload();
    if v4.proto == 1 {
        return l4.get(..6).map(|head| [&head[..2], &head[4..]].concat());
    }
    l4.get(..4).map(<[u8]>::to_vec)
}
