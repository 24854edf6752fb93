//! Which port a packet stands for (spec section 8.2).

use super::Model;
use super::config::ModelEcho;
use super::packet::{V4, be16, internet_checksum};

/// The port that stands for the sender in the check of a packet from a B4, and the one that stands
/// for the receiver in the lookup of a packet to a B4. `None` where a packet has no port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Keys {
    pub(super) up: Key,
    pub(super) down: Key,
}

/// A port, or none, or why the packet may not pass.
pub(super) type Key = Result<Option<u16>, &'static str>;

/// Which of the two is asked for. The quotes of `ICMPv4` errors are judged differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    /// From a B4.
    Up,
    /// To a B4.
    Down,
}

pub(super) fn has_ports(proto: u8) -> bool {
    matches!(proto, 6 | 17 | 33 | 132 | 136)
}

/// Least length of an unfragmented message.
pub(super) fn minimum(proto: u8) -> usize {
    match proto {
        6 => 20,
        33 | 132 => 12,
        1 | 17 | 58 | 136 => 8,
        _ => 0,
    }
}

impl Model {
    /// The key of a packet that is no fragment. `shared` tells whether the address that is looked up
    /// is shared; where it is not, no port is needed.
    pub(super) fn key(
        &self,
        direction: Direction,
        v4: &V4,
        shared: bool,
    ) -> Result<Option<u16>, &'static str> {
        let l4 = v4.payload();
        if v4.proto == 1 {
            return self.icmp_key(direction, v4, shared);
        }
        if !shared {
            return Ok(None);
        }
        if !has_ports(v4.proto) {
            return Err("no-l4-port");
        }
        if l4.len() < minimum(v4.proto) {
            return Err("l4-malformed");
        }
        if v4.proto == 6 && !(20..=l4.len()).contains(&(usize::from(l4[12] >> 4) * 4)) {
            return Err("l4-malformed");
        }
        if v4.proto == 136 {
            let coverage = usize::from(be16(l4, 4));
            if (1..8).contains(&coverage) || coverage > l4.len() {
                return Err("l4-malformed");
            }
        }
        Ok(Some(match direction {
            Direction::Up => be16(l4, 0),
            Direction::Down => be16(l4, 2),
        }))
    }

    /// Port of an ICMP query in each direction (R-083, R-098, D-3).
    pub(super) fn query_keys(&self, kind: u8, ident: u16) -> Keys {
        let mut keys = Keys {
            up: Ok(Some(ident)),
            down: Ok(Some(ident)),
        };
        match (kind, self.config.inbound_echo) {
            (8, ModelEcho::Port0) => keys.down = Ok(Some(0)),
            (8, ModelEcho::Drop) => keys.down = Err("icmpv4-policy"),
            (0, ModelEcho::Port0) => keys.up = Ok(Some(0)),
            _ => {}
        }
        keys
    }

    fn icmp_key(
        &self,
        direction: Direction,
        v4: &V4,
        shared: bool,
    ) -> Result<Option<u16>, &'static str> {
        let message = v4.payload();
        if message.len() < 8 {
            return Err("icmpv4-malformed");
        }
        if internet_checksum(message) != 0 {
            return Err("icmpv4-checksum");
        }
        match message[0] {
            0 | 8 | 13 | 14 => {
                let keys = self.query_keys(message[0], be16(message, 4));
                if direction == Direction::Up {
                    keys.up
                } else {
                    keys.down
                }
            }
            3 | 11 | 12 => self.quote_key(direction, v4, shared),
            _ => Err("icmpv4-type"),
        }
    }

    /// The port in the packet that an error quotes.
    fn quote_key(
        &self,
        direction: Direction,
        v4: &V4,
        shared: bool,
    ) -> Result<Option<u16>, &'static str> {
        let message = v4.payload();
        let mut quote = &message[8..];
        let units = usize::from(message[5]) * 4; // RFC 4884
        if units != 0 {
            let Some(original) = quote.get(..units) else {
                return Err("icmpv4-malformed");
            };
            quote = original;
        }
        if quote.len() < 20 {
            return Err("icmpv4-quote-no-port");
        }
        let header = usize::from(quote[0] & 15) * 4;
        if quote[0] >> 4 == 4 && header > quote.len() {
            return Err("icmpv4-quote-no-port");
        }
        let quoted = V4::parse_quoted(quote).filter(|q| usize::from(be16(quote, 2)) >= q.header);
        let Some(quoted) = quoted else {
            return Err("icmpv4-malformed");
        };
        if self.config.verify_quoted_checksum && !quoted.checksum_ok() {
            return Err("icmpv4-quote-checksum");
        }
        let right = match direction {
            Direction::Down => quoted.src == v4.dst,
            Direction::Up => quoted.dst == v4.src,
        };
        if !right {
            return Err("icmpv4-quote-mismatch");
        }
        if quoted.offset != 0 {
            return if shared {
                Err("icmpv4-quote-fragment")
            } else {
                Ok(None)
            };
        }
        let l4 = quoted.payload();
        if quoted.proto == 1 {
            return quoted_icmp(l4, shared);
        }
        if !shared {
            return Ok(None);
        }
        if !has_ports(quoted.proto) || l4.len() < 4 {
            return Err("icmpv4-quote-no-port");
        }
        Ok(Some(match direction {
            Direction::Down => be16(l4, 0),
            Direction::Up => be16(l4, 2),
        }))
    }
}

fn quoted_icmp(l4: &[u8], shared: bool) -> Result<Option<u16>, &'static str> {
    match l4.first() {
        Some(3 | 4 | 5 | 11 | 12) => Err("icmpv4-quote-error"),
        Some(0 | 8 | 13 | 14) if l4.len() >= 6 => Ok(Some(be16(l4, 4))),
        _ if shared => Err("icmpv4-quote-no-port"),
        _ => Ok(None),
    }
}
