//! What the data plane needs from a transport header: its ports and its least length.
//!
//! ```text
//! byte  0        2        4        6        8
//!       | source | destin.|  TCP UDP UDP-Lite SCTP DCCP alike
//!                         | length | cksum  |  UDP (RFC 768), UDP-Lite: coverage (RFC 3828)
//! byte 12 upper nibble: header length in 32-bit words, TCP only (RFC 9293 §3.1)
//! ```
//!
//! Checksums are never looked at here: a lwAFTR does not change transport fields and so must not
//! judge them.

use crate::{IpProtocol, Layer, ParseError, ParseErrorKind};

/// Source and destination port of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ports {
    /// Source port.
    pub src: u16,
    /// Destination port.
    pub dst: u16,
}

/// Ports in the first four bytes of `l4`, for the protocols that have them.
///
/// `None` for every other protocol, so that an ESP SPI or GRE flags never pass for ports, and
/// where fewer than four bytes are there. The caller makes sure that `l4` belongs to fragment
/// offset 0; as the payload of an [`Ipv4Packet`](crate::Ipv4Packet) it begins behind the options.
// R-095
#[must_use]
pub fn ports(proto: IpProtocol, l4: &[u8]) -> Option<Ports> {
    // R-096: TCP, UDP, UDP-Lite, SCTP and DCCP; nothing else has ports.
    if !proto.has_ports() {
        return None;
    }
    let [a, b, c, d] = *l4.first_chunk()?;
    Some(Ports {
        src: u16::from_be_bytes([a, b]),
        dst: u16::from_be_bytes([c, d]),
    })
}

/// Checks that an unfragmented segment can hold its own header.
///
/// Least lengths are 8 bytes (UDP, UDP-Lite), 12 (SCTP, DCCP) and 20 (TCP). The TCP data offset
/// must name at least five words and stay inside the segment; the UDP-Lite coverage must be 0 or
/// between 8 and the segment length (RFC 3828 §3.1). The UDP length field is not compared with
/// the segment. Protocols without ports always pass.
///
/// # Errors
///
/// [`ParseErrorKind::Truncated`] below the least length, [`ParseErrorKind::Length`] for a TCP
/// data offset or a UDP-Lite coverage that does not fit.
pub fn validate(proto: IpProtocol, l4: &[u8]) -> Result<(), ParseError> {
    // R-001
    match proto {
        IpProtocol::TCP => validate_tcp(l4),
        IpProtocol::UDP => at_least(Layer::Udp, 8, l4),
        IpProtocol::UDP_LITE => validate_udp_lite(l4),
        IpProtocol::SCTP => at_least(Layer::Sctp, 12, l4),
        IpProtocol::DCCP => at_least(Layer::Dccp, 12, l4),
        _ => Ok(()),
    }
}

fn at_least(layer: Layer, need: usize, l4: &[u8]) -> Result<(), ParseError> {
    if l4.len() < need {
        return Err(ParseError::truncated(layer, need, l4.len()));
    }
    Ok(())
}

fn validate_tcp(l4: &[u8]) -> Result<(), ParseError> {
    at_least(Layer::Tcp, 20, l4)?;
    let words = l4.get(12).copied().unwrap_or(0) >> 4;
    if words < 5 || usize::from(words) * 4 > l4.len() {
        return Err(ParseError {
            layer: Layer::Tcp,
            offset: 12,
            kind: ParseErrorKind::Length(u16::from(words) * 4),
        });
    }
    Ok(())
}

// R-010: 0 stands for the whole segment; 1..7 would leave part of the header uncovered.
fn validate_udp_lite(l4: &[u8]) -> Result<(), ParseError> {
    let Some(&[_, _, _, _, hi, lo, _, _]) = l4.first_chunk() else {
        return Err(ParseError::truncated(Layer::UdpLite, 8, l4.len()));
    };
    let coverage = u16::from_be_bytes([hi, lo]);
    if coverage != 0 && (coverage < 8 || usize::from(coverage) > l4.len()) {
        return Err(ParseError {
            layer: Layer::UdpLite,
            offset: 4,
            kind: ParseErrorKind::Length(coverage),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::vec;
    use std::vec::Vec;

    use super::*;

    const FIVE: [(IpProtocol, usize); 5] = [
        (IpProtocol::TCP, 20),
        (IpProtocol::UDP, 8),
        (IpProtocol::UDP_LITE, 8),
        (IpProtocol::SCTP, 12),
        (IpProtocol::DCCP, 12),
    ];

    /// A segment of zeros with a TCP data offset of five words; coverage 0.
    fn segment(len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        if let Some(byte) = bytes.get_mut(12) {
            *byte = 0x50;
        }
        bytes
    }

    // R-096
    #[test]
    fn five_protocols_have_ports_and_no_other() {
        let l4 = [0x04, 0xcf, 0x00, 0x35];
        for number in 0..=255 {
            let proto = IpProtocol(number);
            let expected = FIVE
                .iter()
                .any(|(p, _)| *p == proto)
                .then_some(Ports { src: 1231, dst: 53 });
            assert_eq!(ports(proto, &l4), expected, "{proto:?}");
        }
    }

    #[test]
    fn ports_need_four_bytes() {
        for len in 0..4 {
            assert_eq!(ports(IpProtocol::UDP, &[1, 2, 3][..len.min(3)]), None);
        }
    }

    // R-001
    #[test]
    fn each_protocol_has_its_least_length() {
        for (proto, need) in FIVE {
            for len in 0..need {
                let error = validate(proto, &segment(len)).unwrap_err();
                assert!(
                    matches!(error.kind, ParseErrorKind::Truncated { .. }),
                    "{proto:?} {len}: {error}"
                );
            }
            assert_eq!(validate(proto, &segment(need)), Ok(()), "{proto:?}");
        }
    }

    #[test]
    fn a_protocol_without_ports_always_passes() {
        assert_eq!(validate(IpProtocol::ESP, &[]), Ok(()));
        assert_eq!(validate(IpProtocol::ICMP, &[8]), Ok(()));
    }

    #[test]
    fn a_tcp_data_offset_must_stay_inside_the_segment() {
        let mut bytes = segment(24);
        for words in 0..16u8 {
            bytes[12] = words << 4;
            let fits = (5..=6).contains(&words);
            assert_eq!(validate(IpProtocol::TCP, &bytes).is_ok(), fits, "{words}");
        }
    }

    #[test]
    fn the_udp_length_field_is_not_compared() {
        let bytes = [0, 1, 0, 2, 0xff, 0xff, 0, 0];
        assert_eq!(validate(IpProtocol::UDP, &bytes), Ok(()));
    }

    // R-010
    #[test]
    fn udp_lite_coverage_below_eight_or_above_the_length_is_refused() {
        let mut bytes = segment(12);
        for coverage in 0..=20u16 {
            bytes[4..6].copy_from_slice(&coverage.to_be_bytes());
            let fits = coverage == 0 || (8..=12).contains(&coverage);
            let result = validate(IpProtocol::UDP_LITE, &bytes);
            assert_eq!(result.is_ok(), fits, "{coverage}: {result:?}");
        }
    }
}
