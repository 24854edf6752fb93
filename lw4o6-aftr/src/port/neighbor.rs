//! Reachability of one next hop (RFC 4861 §7.3, used for ARP too).
//!
//! ```text
//!              answer                  30 s x 0.5..1.5            frame sent
//! Incomplete ---------> Reachable ---------------------> Stale --------------> Delay
//!      ^                    ^                              |                     | 5 s
//!      |                    | answer                       | other address       v
//!      +--------------------+------------------------------+------------------ Probe
//!        3 unanswered probes, then asked by multicast for ever
//! ```
//!
//! While a next hop is probed its known address stays in use; a router that is slow to answer must
//! not stop the traffic.

use core::time::Duration;

use lw4o6_wire::Instant;
use lw4o6_wire::ethernet::MacAddr;

use super::config::timers::{DELAY, PROBES, REACHABLE, RETRANS};

/// What has to be sent to find a next hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Solicit {
    /// To everybody on the link.
    Multicast,
    /// To the address that is about to be doubted.
    Unicast(MacAddr),
}

/// One next hop.
#[derive(Debug)]
pub(crate) struct Neighbor {
    state: State,
    /// 0.5 to 1.5 times [`REACHABLE`], drawn once so that routers are not asked in step.
    reachable: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Fixed(MacAddr),
    /// Known from another port, or not yet.
    Shared(Option<MacAddr>),
    Incomplete {
        tries: u8,
        ask_at: Instant,
    },
    Reachable {
        mac: MacAddr,
        until: Instant,
    },
    Stale {
        mac: MacAddr,
    },
    Delay {
        mac: MacAddr,
        until: Instant,
    },
    Probe {
        mac: MacAddr,
        tries: u8,
        ask_at: Instant,
    },
}

impl Neighbor {
    /// A next hop whose address is configured; never asked for.
    pub(crate) fn fixed(mac: MacAddr) -> Self {
        Self {
            state: State::Fixed(mac),
            reachable: REACHABLE,
        }
    }

    /// A next hop that another port resolves.
    pub(crate) fn shared() -> Self {
        Self {
            state: State::Shared(None),
            reachable: REACHABLE,
        }
    }

    /// What the other port says; nothing to one that is not [`shared`](Self::shared).
    pub(crate) fn set(&mut self, mac: Option<MacAddr>) {
        if let State::Shared(known) = &mut self.state {
            *known = mac;
        }
    }

    /// A next hop to be found, beginning with the first [`handle_timeout`](Self::handle_timeout).
    ///
    /// `random` picks the reachable time.
    pub(crate) fn unknown(random: u32) -> Self {
        // 500 to 1500 thousandths.
        let factor = 500 + random % 1001;
        Self {
            state: State::Incomplete {
                tries: 0,
                ask_at: Instant::ZERO,
            },
            reachable: REACHABLE * factor / 1000,
        }
    }

    /// Address to send to, if one is known.
    pub(crate) fn mac(&self) -> Option<MacAddr> {
        match self.state {
            State::Fixed(mac)
            | State::Reachable { mac, .. }
            | State::Stale { mac }
            | State::Delay { mac, .. }
            | State::Probe { mac, .. } => Some(mac),
            State::Shared(mac) => mac,
            State::Incomplete { .. } => None,
        }
    }

    /// Whether its address comes from elsewhere, so that nothing heard on the link changes it.
    const fn is_told(&self) -> bool {
        matches!(self.state, State::Fixed(_) | State::Shared(_))
    }

    /// Whether it has been asked for in vain for so long that somebody should look.
    pub(crate) fn alarm(&self) -> bool {
        matches!(self.state, State::Incomplete { tries, .. } if tries > PROBES)
    }

    /// A frame was sent to it: doubts about its address now matter.
    pub(crate) fn used(&mut self, now: Instant) {
        if let State::Stale { mac } = self.state {
            self.state = State::Delay {
                mac,
                until: now + DELAY,
            };
        }
    }

    /// It answered a solicitation of ours.
    pub(crate) fn confirmed(&mut self, now: Instant, mac: MacAddr) {
        if !self.is_told() {
            self.state = State::Reachable {
                mac,
                until: now + self.reachable,
            };
        }
    }

    /// It was heard without having been asked. `overrides` says that the address may replace another.
    pub(crate) fn heard(&mut self, mac: MacAddr, overrides: bool) {
        match self.mac() {
            _ if self.is_told() => {}
            Some(known) if known == mac => {}
            Some(_) if !overrides => {
                // Somebody claims the address: check soon whether the known one still answers.
                if let State::Reachable { mac, .. } = self.state {
                    self.state = State::Stale { mac };
                }
            }
            Some(_) | None => self.state = State::Stale { mac },
        }
    }

    /// Advances time; says what has to be sent. Early calls do nothing.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Option<Solicit> {
        if self.poll_timeout().is_none_or(|at| at > now) {
            return None;
        }
        match self.state {
            State::Fixed(_) | State::Shared(_) | State::Stale { .. } => None,
            State::Reachable { mac, .. } => {
                self.state = State::Stale { mac };
                None
            }
            State::Incomplete { tries, .. } => {
                let tries = tries.saturating_add(1);
                self.state = State::Incomplete {
                    tries,
                    ask_at: now + RETRANS,
                };
                Some(Solicit::Multicast)
            }
            State::Delay { mac, .. } => {
                self.state = State::Probe {
                    mac,
                    tries: 1,
                    ask_at: now + RETRANS,
                };
                Some(Solicit::Unicast(mac))
            }
            State::Probe { tries, .. } if tries >= PROBES => {
                self.state = State::Incomplete {
                    tries: 1,
                    ask_at: now + RETRANS,
                };
                Some(Solicit::Multicast)
            }
            State::Probe { mac, tries, .. } => {
                self.state = State::Probe {
                    mac,
                    tries: tries + 1,
                    ask_at: now + RETRANS,
                };
                Some(Solicit::Unicast(mac))
            }
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Fixed(_) | State::Shared(_) | State::Stale { .. } => None,
            State::Incomplete { ask_at, .. } | State::Probe { ask_at, .. } => Some(ask_at),
            State::Reachable { until, .. } | State::Delay { until, .. } => Some(until),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
    const B: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);

    fn at(seconds: u64) -> Instant {
        Instant::from_secs(seconds)
    }

    #[test]
    fn an_unknown_next_hop_is_asked_for_every_second_for_ever() {
        let mut hop = Neighbor::unknown(500);
        for second in 0..1000 {
            assert_eq!(
                hop.handle_timeout(at(second)),
                Some(Solicit::Multicast),
                "{second}"
            );
            assert_eq!(hop.handle_timeout(at(second)), None);
            assert_eq!(hop.alarm(), second >= 3, "{second}");
        }
        hop.confirmed(at(1000), A);
        assert_eq!(hop.mac(), Some(A));
        assert!(!hop.alarm());
    }

    #[test]
    fn an_idle_next_hop_is_left_alone_and_a_used_one_is_probed() {
        let mut hop = Neighbor::unknown(500); // reachable for exactly 30 s
        hop.confirmed(at(0), A);
        assert_eq!(hop.handle_timeout(at(29)), None);
        assert_eq!(hop.handle_timeout(at(30)), None);
        assert_eq!(hop.poll_timeout(), None, "stale and idle");
        hop.used(at(100));
        for (second, expect) in [(104, None), (105, Some(Solicit::Unicast(A)))] {
            assert_eq!(hop.handle_timeout(at(second)), expect);
        }
        assert_eq!(hop.handle_timeout(at(106)), Some(Solicit::Unicast(A)));
        hop.confirmed(at(107), A);
        assert_eq!(hop.poll_timeout(), Some(at(137)));
    }

    #[test]
    fn a_silent_next_hop_is_given_up_after_three_probes() {
        let mut hop = Neighbor::unknown(500);
        hop.confirmed(at(0), A);
        let _ = hop.handle_timeout(at(30));
        hop.used(at(30));
        for second in 35..38 {
            assert_eq!(hop.handle_timeout(at(second)), Some(Solicit::Unicast(A)));
            assert_eq!(hop.mac(), Some(A), "kept in use while in doubt");
        }
        assert_eq!(hop.handle_timeout(at(38)), Some(Solicit::Multicast));
        assert_eq!(hop.mac(), None);
    }

    #[test]
    fn a_claim_without_override_does_not_take_over() {
        let mut hop = Neighbor::unknown(0);
        hop.confirmed(at(0), A);
        hop.heard(B, false);
        assert_eq!(hop.mac(), Some(A));
        hop.heard(B, true);
        assert_eq!(hop.mac(), Some(B));
    }

    #[test]
    fn a_shared_address_is_changed_by_its_owner_only() {
        let mut hop = Neighbor::shared();
        hop.heard(A, true);
        hop.confirmed(at(0), A);
        assert_eq!((hop.mac(), hop.poll_timeout()), (None, None));
        hop.set(Some(B));
        hop.used(at(1));
        hop.heard(A, true);
        assert_eq!((hop.mac(), hop.poll_timeout()), (Some(B), None));
        assert_eq!(hop.handle_timeout(at(100)), None);
        hop.set(None);
        assert_eq!((hop.mac(), hop.alarm()), (None, false));
    }

    #[test]
    fn a_configured_address_is_never_changed() {
        let mut hop = Neighbor::fixed(A);
        hop.heard(B, true);
        hop.confirmed(at(0), B);
        hop.set(Some(B));
        assert_eq!((hop.mac(), hop.poll_timeout()), (Some(A), None));
    }
}
