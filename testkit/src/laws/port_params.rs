//! The three descriptions of a port set (membership, ranges, count) agree.

use lw4o6_wire::PortParams;

/// Input: offset, length, PSID of one set, the same of another, a port.
pub fn law(data: &[u8]) {
    let Some((&[a, k, psid_hi, psid_lo, b, l, other_hi, other_lo, hi, lo], _)) =
        data.split_first_chunk()
    else {
        return;
    };
    let (a, k, b, l) = (a % 18, k % 18, b % 18, l % 18);
    let psid = u16::from_be_bytes([psid_hi, psid_lo]);
    let port = u16::from_be_bytes([hi, lo]);
    let Ok(set) = PortParams::new(a, k, psid) else {
        assert!(a + k > 16 || u32::from(psid) >= 1 << k);
        return;
    };
    assert!(a + k <= 16);
    described(set, port);
    let value = set.left_aligned();
    assert_eq!(PortParams::from_left_aligned(a, k, value), Ok(set));
    if let Ok(other) = PortParams::new(b, l, u16::from_be_bytes([other_hi, other_lo])) {
        assert_eq!(set.overlaps(&other), other.overlaps(&set));
        if set.contains(port) && other.contains(port) {
            assert!(set.overlaps(&other));
        }
        assert!(set.overlaps(&set));
    }
}

fn described(set: PortParams, port: u16) {
    let ranges = || set.ranges().take(300);
    if set.offset() <= 8 {
        let in_ranges = ranges().any(|range| range.contains(&port));
        assert_eq!(in_ranges, set.contains(port));
        let count: usize = ranges().map(|range| range.count()).sum();
        assert_eq!(u32::try_from(count), Ok(set.port_count()));
    }
    let ascending = ranges()
        .zip(ranges().skip(1))
        .all(|(p, q)| p.end() < q.start());
    assert!(ascending);
    let psid = PortParams::psid_of(set.offset(), set.len(), port);
    assert_eq!(psid == Some(set.psid()), set.contains(port));
}
