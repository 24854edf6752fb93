//! `ICMPv6` errors about packets we put into the tunnel (RFC 2473 §8, spec section 11.3).

use super::chain::Chain;
use super::errors::{Tunnel, answerable};
use super::keys::has_ports;
use super::packet::{V4, V6, addr6, be16, be32};
use super::table::Use;
use super::{Action, Model, Refusal, Step};

/// A quoted tunnel packet.
struct Quoted {
    tunnel: Tunnel,
    /// Bytes in front of the IPv4 header.
    headers: usize,
    inner: V4,
    bytes: Vec<u8>,
}

impl Model {
    pub(super) fn tunnel_error(&mut self, outer: &V6, message: &[u8]) -> Step {
        if !self.config.tunnel_errors {
            return Err("icmpv6-policy".into());
        }
        let mut quote = &message[8..];
        let units = usize::from(message[4]) * 8; // RFC 4884
        if matches!(message[0], 1 | 3) && units != 0 {
            let Some(original) = quote.get(..units) else {
                return Err("icmpv6-quote-short".into());
            };
            quote = original;
        }
        let quoted = self.read_quote(outer, quote)?;
        if !self.is_ours(&quoted) {
            return Err("icmpv6-quote-foreign".into());
        }
        let word = be32(message, 4) as usize;
        let what = match (message[0], message[1]) {
            (1, _) | (3, 0) => (3, 1, 0),
            (2, _) => self.packet_too_big(&quoted, word)?,
            (4, 0) if points_at_zero_limit(quote, quoted.headers, word) => (3, 1, 0), // D-11
            _ => return Err("icmpv6-not-relayed".into()),
        };
        self.relay(what, &quoted)
    }

    fn read_quote(&self, outer: &V6, quote: &[u8]) -> Result<Quoted, Refusal> {
        if quote.len() < 40 {
            return Err("icmpv6-quote-short".into());
        }
        let tunnel = Tunnel {
            aftr: addr6(quote, 8),
            b4: addr6(quote, 24),
        };
        if quote[0] >> 4 != 6 || tunnel.aftr != outer.dst || !self.table.knows_b4(tunnel.b4) {
            return Err("icmpv6-quote-foreign".into());
        }
        let mut chain = match Chain::start(quote).walk(quote) {
            Ok(chain) => chain,
            Err(problem) if problem.is_cut_off() => {
                return Err("icmpv6-quote-short".into());
            }
            Err(_) => return Err("icmpv6-quote-foreign".into()),
        };
        if chain.next == 44 {
            let Some(fragment) = chain.fragment(quote) else {
                return Err("icmpv6-quote-short".into());
            };
            if fragment.offset != 0 {
                return Err("icmpv6-quote-unanswerable".into());
            }
            chain = match chain.over_fragment(fragment).walk(quote) {
                Ok(chain) => chain,
                Err(problem) if problem.is_cut_off() => {
                    return Err("icmpv6-quote-short".into());
                }
                Err(_) => return Err("icmpv6-quote-foreign".into()),
            };
        }
        if chain.next != 4 {
            return Err("icmpv6-quote-foreign".into());
        }
        let bytes = quote.get(chain.at..).unwrap_or_default().to_vec();
        if bytes.len() < 20 {
            return Err("icmpv6-quote-short".into());
        }
        let Some(inner) = V4::parse_quoted(&bytes) else {
            return Err("icmpv6-quote-short".into());
        };
        if inner.payload().len() < 8 {
            return Err("icmpv6-quote-short".into());
        }
        if !answerable(&inner) {
            return Err("icmpv6-quote-unanswerable".into());
        }
        Ok(Quoted {
            tunnel,
            headers: chain.at,
            inner,
            bytes,
        })
    }

    /// Whether we could have sent the quoted packet to that B4.
    fn is_ours(&self, quoted: &Quoted) -> bool {
        let l4 = &quoted.bytes[quoted.inner.header..];
        let usage = self.table.usage(&self.config.pools, quoted.inner.dst);
        let key = match quoted.inner.proto {
            _ if usage == Use::Full => None,
            1 if matches!(l4[0], 0 | 8 | 13 | 14) => {
                // What D-3 drops now may have been sent before.
                let keys = self.query_keys(l4[0], be16(l4, 4));
                keys.down.unwrap_or(Some(be16(l4, 4)))
            }
            proto if has_ports(proto) => Some(be16(l4, 2)),
            _ => return false,
        };
        let found = self.table.find(quoted.inner.dst, key);
        found.is_some_and(|b| {
            (Tunnel {
                b4: b.b4,
                aftr: b.aftr,
            }) == quoted.tunnel
        })
    }

    /// MTU to report.
    fn packet_too_big(&mut self, quoted: &Quoted, mtu: usize) -> Result<(u8, u8, usize), Refusal> {
        if mtu < 1280 {
            return Err("icmpv6-too-big-invalid".into());
        }
        self.learn_pmtu(quoted.tunnel.b4, mtu);
        if !quoted.inner.df || self.config.df_outer_fragment {
            return Err("icmpv6-too-big-df-clear".into());
        }
        Ok((3, 4, (mtu - quoted.headers).clamp(68, 65_535)))
    }

    fn relay(&mut self, what: (u8, u8, usize), quoted: &Quoted) -> Step {
        if !self.config.generate_v4 {
            return Err("icmpv6-not-relayed".into());
        }
        let mut whole = quoted.inner.clone();
        whole.bytes.clone_from(&quoted.bytes);
        //
        let Some(tunnel) = self.tunnel_of_sender(&whole) else {
            return Err("icmpv6-quote-foreign".into());
        };
        let source = match tunnel {
            Some(tunnel) => tunnel.b4.octets().to_vec(),
            None => quoted.inner.src.octets().to_vec(),
        };
        if !self.charge(0, source) {
            return Err("icmpv6-relay-rate".into());
        }
        match self.icmpv4_message(what, &quoted.inner, &quoted.inner.bytes, tunnel) {
            Some((side, frames)) => Ok(Action::Forward(side, frames)),
            None => Err("icmpv6-not-relayed".into()),
        }
    }
}

/// Whether a Parameter Problem points at the limit of a tunnel encapsulation limit option, and that
/// limit is zero.
fn points_at_zero_limit(quote: &[u8], headers: usize, pointer: usize) -> bool {
    let (mut next, mut at) = (quote[6], 40);
    while at + 2 <= headers {
        let len = if next == 44 {
            8
        } else {
            (usize::from(quote[at + 1]) + 1) * 8
        };
        if next == 60 {
            let mut option = at + 2;
            while option + 2 < at + len {
                let size = usize::from(quote[option + 1]) + 2;
                if quote[option] == 0 {
                    option += 1;
                    continue;
                }
                if quote[option] == 4 && option + 2 == pointer {
                    return quote[pointer] == 0;
                }
                option += size;
            }
        }
        next = quote[at];
        at += len;
    }
    false
}
