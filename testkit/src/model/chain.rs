//! IPv6 extension headers, one after the other (RFC 8200 §4).

use super::packet::be16;

/// Where the walk through the headers stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chain {
    /// Protocol of the header at `at`.
    pub(super) next: u8,
    /// Offset of that header from the start of the packet.
    pub(super) at: usize,
    /// Offset of the byte that names it.
    pub(super) named_at: usize,
    /// Extension headers so far, and their bytes.
    count: usize,
    used: usize,
}

/// Why a packet cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) reason: &'static str,
    /// Code and pointer of the `ICMPv6` Parameter Problem.
    pub(super) answer: Option<(u8, usize)>,
}

impl Problem {
    /// The packet ends inside a header.
    pub(super) fn is_cut_off(&self) -> bool {
        self.reason == "ext-header-malformed" && self.answer.is_none()
    }
}

fn silent(reason: &'static str) -> Problem {
    Problem {
        reason,
        answer: None,
    }
}

/// A Fragment header.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fragment {
    pub(super) next: u8,
    pub(super) offset: usize,
    pub(super) more: bool,
    pub(super) id: u32,
}

impl Chain {
    pub(super) fn start(packet: &[u8]) -> Self {
        Self {
            next: packet[6],
            at: 40,
            named_at: 6,
            count: 0,
            used: 0,
        }
    }

    fn advance(&mut self, next: u8, len: usize) {
        self.named_at = self.at;
        self.next = next;
        self.at += len;
        self.count += 1;
        self.used += len;
    }

    /// Goes on to a Fragment header or to the upper layer.
    pub(super) fn walk(mut self, packet: &[u8]) -> Result<Self, Problem> {
        while matches!(self.next, 0 | 43 | 60) {
            if self.next == 0 && self.at != 40 {
                let answer = Some((1, self.named_at));
                return Err(Problem {
                    reason: "next-header-unknown",
                    answer,
                });
            }
            let Some(&units) = packet.get(self.at + 1) else {
                return Err(silent("ext-header-malformed"));
            };
            let len = (usize::from(units) + 1) * 8;
            if self.count == 8 || self.used + len > 256 {
                return Err(silent("ext-header-limit"));
            }
            let Some(header) = packet.get(self.at..self.at + len) else {
                return Err(silent("ext-header-malformed"));
            };
            if self.next == 43 {
                if header[3] != 0 {
                    let answer = Some((0, self.at + 2));
                    return Err(Problem {
                        reason: "routing-header",
                        answer,
                    });
                }
            } else {
                options(header, self.at, self.next == 60)?;
            }
            self.advance(header[0], len);
        }
        if self.next == 44 && (self.count == 8 || self.used + 8 > 256) {
            return Err(silent("ext-header-limit"));
        }
        if self.next == 59 {
            return Err(silent("no-next-header"));
        }
        Ok(self)
    }

    /// Reads the Fragment header it stands at.
    pub(super) fn fragment(&self, packet: &[u8]) -> Option<Fragment> {
        let header = packet.get(self.at..self.at + 8)?;
        let word = usize::from(be16(header, 2));
        Some(Fragment {
            next: header[0],
            offset: word & 0xfff8,
            more: word & 1 != 0,
            id: super::packet::be32(header, 4),
        })
    }

    /// Steps over the Fragment header it stands at.
    pub(super) fn over_fragment(mut self, fragment: Fragment) -> Self {
        self.advance(fragment.next, 8);
        self
    }

    /// Bytes of extension headers so far.
    pub(super) fn len(&self) -> usize {
        self.used
    }
}

/// Looks at the options of a Hop-by-Hop or Destination Options header (RFC 8200 §4.2).
fn options(header: &[u8], start: usize, destination: bool) -> Result<(), Problem> {
    // A wrong length is a header field in error (RFC 4443 §3.4).
    let wrong_length = |at: usize| {
        Err(Problem {
            reason: "ext-header-malformed",
            answer: Some((0, start + at)),
        })
    };
    let mut at = 2;
    while at < header.len() {
        if header[at] == 0 {
            at += 1;
            continue;
        }
        let Some(&len) = header.get(at + 1) else {
            return wrong_length(at);
        };
        let end = at + 2 + usize::from(len);
        if end > header.len() || (header[at] == 4 && destination && len != 1) {
            return wrong_length(at + 1);
        }
        match header[at] >> 6 {
            0 => {}
            1 => return Err(silent("ext-header-option")),
            _ => {
                let answer = Some((2, start + at));
                return Err(Problem {
                    reason: "ext-header-option",
                    answer,
                });
            }
        }
        at = end;
    }
    Ok(())
}

/// Whether a packet carries an `ICMPv6` error or redirect, which nothing may answer. Looks
/// past whatever is wrong with the headers on the way.
pub(super) fn carries_icmpv6_error(packet: &[u8]) -> bool {
    let (mut next, mut at) = (packet[6], 40);
    for _ in 0..32 {
        let Some(&[first, units]) = packet.get(at..at + 2).and_then(<[u8]>::first_chunk) else {
            return next == 58; // an ICMPv6 message of an unknown type
        };
        match next {
            58 => return first < 128 || first == 137,
            0 | 43 | 60 => at += (usize::from(units) + 1) * 8,
            44 if packet.len() >= at + 8 && be16(packet, at + 2) & 0xfff8 == 0 => at += 8,
            _ => return false,
        }
        next = first;
    }
    true // nobody can tell
}
