//! The flow label of tunnel packets (RFC 6438 §3, R-198).

use crate::config::FlowLabel;
use crate::inner::Inner;

/// Two secret words that decide how flows are spread.
///
/// A label is no secret and protects nothing, so a multiplication mixes well enough; the key only
/// keeps outsiders from choosing flows that share a label.
#[derive(Clone, Copy)]
pub(crate) struct FlowKey {
    pub(crate) words: [u64; 2],
}

impl core::fmt::Debug for FlowKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("FlowKey")
    }
}

impl FlowKey {
    /// The 20-bit label for an IPv4 packet.
    ///
    /// Fragments are labeled without ports, the first one too, so that a datagram keeps together.
    pub(crate) fn label(self, mode: FlowLabel, inner: &Inner) -> u32 {
        let ports = match mode {
            FlowLabel::Constant(label) => return label & 0x000f_ffff,
            FlowLabel::Hash if !inner.is_fragment() => inner
                .ports
                .map_or(0, |p| u64::from(p.src) << 16 | u64::from(p.dst)),
            FlowLabel::Hash | FlowLabel::HashAddresses => 0,
        };
        let addresses = u64::from(inner.src.to_bits()) << 32 | u64::from(inner.dst.to_bits());
        let rest = u64::from(inner.protocol.0) << 32 | ports;
        let [first, second] = self.words;
        let hash = fold(addresses ^ first, rest ^ second);
        u32::try_from(fold(hash, first | 1) >> 44).unwrap_or_default()
    }
}

/// Both halves of the 128-bit product, added without carry.
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    let [high, low] = [product >> 64, product & u128::from(u64::MAX)];
    u64::try_from(high ^ low).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use lw4o6_wire::IpProtocol;
    use lw4o6_wire::l4::Ports;

    use super::*;

    const KEY: FlowKey = FlowKey {
        words: [0x9e37_79b9_7f4a_7c15, 0xd1b5_4a32_d192_ed03],
    };

    fn flow(port: u16) -> Inner {
        Inner {
            src: "198.51.100.1".parse().unwrap(),
            dst: "192.0.2.18".parse().unwrap(),
            protocol: IpProtocol::UDP,
            ports: Some(Ports { src: 53, dst: port }),
            ..Inner::EMPTY
        }
    }

    #[test]
    fn labels_spread_over_20_bits() {
        //
        let labels: BTreeSet<u32> = (0..4096)
            .map(|port| KEY.label(FlowLabel::Hash, &flow(port)))
            .collect();
        assert!(labels.len() > 4050, "{}", labels.len());
        assert!(labels.iter().all(|label| *label < 1 << 20));
        let top: BTreeSet<u32> = labels.iter().map(|label| label >> 16).collect();
        assert_eq!(top.len(), 16);
    }

    #[test]
    fn all_pieces_of_a_datagram_share_a_label() {
        //
        let mut first = flow(1232);
        first.more = true;
        let mut last = flow(0);
        last.ports = None;
        last.offset = 1480;
        let label = KEY.label(FlowLabel::Hash, &first);
        assert_eq!(label, KEY.label(FlowLabel::Hash, &last));
        assert_eq!(label, KEY.label(FlowLabel::HashAddresses, &flow(1232)));
        assert_ne!(label, KEY.label(FlowLabel::Hash, &flow(1232)));
    }

    #[test]
    fn a_constant_is_a_constant() {
        assert_eq!(KEY.label(FlowLabel::Constant(0xf_1234), &flow(9)), 0xf_1234);
    }
}
