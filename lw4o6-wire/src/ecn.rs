//! Explicit congestion notification across a tunnel (RFC 6040) and across fragments (RFC 3168).

/// The ECN field: the lower two bits of the IPv4 type of service or IPv6 traffic class byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ecn {
    /// The transport does not understand congestion marks.
    #[default]
    NotEct = 0,
    /// ECN-capable transport, codepoint ECT(1).
    Ect1 = 1,
    /// ECN-capable transport, codepoint ECT(0).
    Ect0 = 2,
    /// Congestion was experienced.
    Ce = 3,
}

impl Ecn {
    /// The field in the lower two bits of `bits`; the others are not looked at.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Self {
        match bits & 0b11 {
            0 => Self::NotEct,
            1 => Self::Ect1,
            2 => Self::Ect0,
            _ => Self::Ce,
        }
    }

    /// The two bits, 0 to 3.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self as u8
    }
}

/// How a tunnel entry marks the outer header (RFC 6040 §4.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum EcnMode {
    /// The outer field is the inner one. For every tunnel exit that follows RFC 6040 or RFC 3168.
    #[default]
    Normal,
    /// The outer field is Not-ECT. For exits that ignore the outer field; congestion inside the
    /// tunnel then shows as loss.
    Compatibility,
}

/// The outer ECN field of a packet that is encapsulated (RFC 6040 §4.1; ).
#[must_use]
pub const fn ecn_encap(mode: EcnMode, inner: Ecn) -> Ecn {
    match mode {
        EcnMode::Normal => inner,
        EcnMode::Compatibility => Ecn::NotEct,
    }
}

/// What becomes of the ECN field of a packet that is decapsulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EcnDecap {
    /// The field of the packet that goes on; `None`: the packet is dropped.
    pub outcome: Option<Ecn>,
    /// Whether the combination is one that no known protocol makes.
    pub unused: UnusedEcn,
}

/// How far a pair of inner and outer ECN fields is from anything in use (RFC 6040 §4.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum UnusedEcn {
    /// The combination is in use.
    #[default]
    None,
    /// Not in use, but harmless: marked `(!)` in the table.
    Minor,
    /// Not in use and dangerous: marked `(!!!)` in the table.
    Major,
}

/// Merges the fields of the inner and the outer header (RFC 6040 §4.2 figure 4; ).
#[must_use]
pub const fn ecn_decap(inner: Ecn, outer: Ecn) -> EcnDecap {
    use Ecn::{Ce, Ect0, Ect1, NotEct};
    let (outcome, unused) = match (inner, outer) {
        (NotEct, NotEct) => (Some(NotEct), UnusedEcn::None),
        (NotEct, Ect0 | Ect1) => (Some(NotEct), UnusedEcn::Major),
        (NotEct, Ce) => (None, UnusedEcn::Major),
        (Ect0, NotEct | Ect0) => (Some(Ect0), UnusedEcn::None),
        (Ect0 | Ect1, Ect1) | (Ect1, NotEct) => (Some(Ect1), UnusedEcn::None),
        (Ect1, Ect0) => (Some(Ect1), UnusedEcn::Minor),
        (Ce, Ect1) => (Some(Ce), UnusedEcn::Major),
        (Ect0 | Ect1 | Ce, Ce) | (Ce, NotEct | Ect0) => (Some(Ce), UnusedEcn::None),
    };
    EcnDecap { outcome, unused }
}

/// The ECN fields of the fragments of one packet (RFC 3168 §5.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct EcnMix {
    seen: u8, // bit n: the field n was seen
}

impl EcnMix {
    /// Takes in the field of one more fragment.
    pub const fn add(&mut self, ecn: Ecn) {
        self.seen |= 1 << ecn.bits();
    }

    /// The field of the reassembled packet, or `None` where it is to be dropped because congestion
    /// met a fragment whose transport cannot be told. `first` is the field of the fragment at
    /// offset 0, which decides mixtures that RFC 3168 leaves open.
    #[must_use]
    pub const fn result(self, first: Ecn) -> Option<Ecn> {
        let congested = self.seen & (1 << Ecn::Ce.bits()) != 0;
        let incapable = self.seen & (1 << Ecn::NotEct.bits()) != 0;
        match (congested, incapable) {
            (true, true) => None,
            (true, false) => Some(Ecn::Ce),
            (false, _) => Some(first),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Ecn::{Ce, Ect0, Ect1, NotEct};
    use super::*;

    const ALL: [Ecn; 4] = [NotEct, Ect1, Ect0, Ce];

    #[test]
    fn bits_and_names_agree() {
        for bits in 0..=255 {
            assert_eq!(Ecn::from_bits(bits).bits(), bits & 3);
        }
        assert_eq!(ALL.map(Ecn::bits), [0b00, 0b01, 0b10, 0b11]);
    }

    /// V-10, R-194, R-195, R-196: the rows of RFC 6040 figure 4, inner, outer, result.
    #[test]
    fn v10_ecn_decapsulation_table() {
        use UnusedEcn::{Major, Minor, None as Used};
        let table = [
            (NotEct, NotEct, Some(NotEct), Used),
            (NotEct, Ect0, Some(NotEct), Major),
            (NotEct, Ect1, Some(NotEct), Major),
            (NotEct, Ce, None, Major),
            (Ect0, NotEct, Some(Ect0), Used),
            (Ect0, Ect0, Some(Ect0), Used),
            (Ect0, Ect1, Some(Ect1), Used),
            (Ect0, Ce, Some(Ce), Used),
            (Ect1, NotEct, Some(Ect1), Used),
            (Ect1, Ect0, Some(Ect1), Minor),
            (Ect1, Ect1, Some(Ect1), Used),
            (Ect1, Ce, Some(Ce), Used),
            (Ce, NotEct, Some(Ce), Used),
            (Ce, Ect0, Some(Ce), Used),
            (Ce, Ect1, Some(Ce), Major),
            (Ce, Ce, Some(Ce), Used),
        ];
        for (inner, outer, outcome, unused) in table {
            let expected = EcnDecap { outcome, unused };
            assert_eq!(ecn_decap(inner, outer), expected, "{inner:?} {outer:?}");
        }
    }

    ///
    #[test]
    fn encapsulation_copies_or_clears() {
        for inner in ALL {
            assert_eq!(ecn_encap(EcnMode::Normal, inner), inner);
            assert_eq!(ecn_encap(EcnMode::Compatibility, inner), NotEct);
        }
        assert_eq!(EcnMode::default(), EcnMode::Normal);
    }

    /// a tunnel without congestion changes nothing, in either mode.
    #[test]
    fn an_uncongested_tunnel_is_transparent() {
        for inner in ALL {
            for mode in [EcnMode::Normal, EcnMode::Compatibility] {
                let decap = ecn_decap(inner, ecn_encap(mode, inner));
                assert_eq!(
                    (decap.outcome, decap.unused),
                    (Some(inner), UnusedEcn::None)
                );
            }
        }
    }

    #[test]
    fn every_mixture_of_fragments() {
        for set in 1..16_u8 {
            let seen = ALL.into_iter().filter(|e| set & 1 << e.bits() != 0);
            for first in seen.clone() {
                let mut mix = EcnMix::default();
                seen.clone().chain(seen.clone()).for_each(|e| mix.add(e));
                let has = |e: Ecn| seen.clone().any(|s| s == e);
                let expected = match (has(Ce), has(NotEct)) {
                    (true, true) => None,
                    (true, false) => Some(Ce),
                    _ => Some(first),
                };
                assert_eq!(mix.result(first), expected, "{set:04b} {first:?}");
            }
        }
    }
}
