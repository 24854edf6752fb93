//! A quote never reaches past what bounds it, and cutting it never changes whom it is for.

use lw4o6_wire::quote::{QuotedIpv4, QuotedKey, ipv4_quote, tunnel_quote};

use super::prefix;

/// Input: an ICMP message, read as ICMPv4 and as ICMPv6.
pub fn law(data: &[u8]) {
    if let Ok(quoted) = ipv4_quote(data) {
        let words = data.get(5).copied().unwrap_or(0);
        bounded(
            data,
            usize::from(words) * 4,
            quoted.header_len() + quoted.payload.len(),
        );
        shaped(&quoted);
        if words != 0 {
            // Extension objects behind the quote are not looked at.
            let longer = [data, &[0xff; 9]].concat();
            assert_eq!(ipv4_quote(&longer), Ok(quoted));
        } else {
            cut(data, &quoted);
        }
    }
    let Ok(tunnel) = tunnel_quote(data) else {
        return;
    };
    assert!((40..=40 + 256).contains(&tunnel.headers_len));
    let Some(inner) = tunnel.inner else {
        assert!(tunnel.inner_bytes.is_empty() && tunnel.headers_len == 40);
        return;
    };
    shaped(&inner);
    let len = inner.header_len() + inner.payload.len();
    assert_eq!(tunnel.inner_bytes.len(), len);
    let extended = matches!(data.first(), Some(1 | 3));
    let words = data.get(4).copied().filter(|_| extended).unwrap_or(0);
    bounded(data, usize::from(words) * 8, tunnel.headers_len + len);
    let at = 8 + tunnel.headers_len;
    assert_eq!(data.get(at..at + len), Some(tunnel.inner_bytes));
}

fn bounded(data: &[u8], claimed: usize, used: usize) {
    assert!(8 + used <= data.len());
    assert!(claimed == 0 || used <= claimed);
}

fn shaped(quoted: &QuotedIpv4<'_>) {
    let total = usize::from(quoted.header.total_len());
    assert!(quoted.header_len() + quoted.payload.len() <= total);
    match quoted.key() {
        QuotedKey::Ports(_) => {
            assert!(quoted.header.protocol().has_ports() && quoted.payload.len() >= 4);
        }
        QuotedKey::Ident { .. } => assert!(quoted.payload.len() >= 6),
        QuotedKey::Fragment => assert!(quoted.header.fragment_offset() > 0),
        QuotedKey::Error => assert!(!quoted.payload.is_empty()),
        QuotedKey::Truncated => assert!(quoted.payload.len() < 6),
        QuotedKey::NoPort => assert!(!quoted.header.protocol().has_ports()),
    }
    let is_fragment = quoted.header.fragment_offset() > 0;
    assert_eq!(quoted.key() == QuotedKey::Fragment, is_fragment);
}

/// A shorter quote has the same key, or shows none.
fn cut(data: &[u8], quoted: &QuotedIpv4<'_>) {
    for len in (0..data.len()).rev().take(64) {
        if let Ok(shorter) = ipv4_quote(prefix(data, len)) {
            let key = shorter.key();
            assert!(key == quoted.key() || key == QuotedKey::Truncated);
            assert_eq!(shorter.header, quoted.header);
        }
    }
}
