//! The sum equals a slow one however it is cut up, and an update equals a full sum.

use lw4o6_wire::checksum::{Sum, Update, checksum, verify};

/// Input: where to cut and what to change, then the data.
pub fn law(data: &[u8]) {
    let Some((&[cut, at, b0, b1, b2, b3], data)) = data.split_first_chunk() else {
        return;
    };
    let full = checksum(data);
    assert_eq!(full, slow(data));
    let cut = (usize::from(cut) * 2).min(data.len() & !1);
    let (front, back) = data.split_at(cut);
    assert_eq!(Sum::new().add(front).add(back).finish(), full);

    let at = usize::from(at) * 2;
    let new = [b0, b1, b2, b3];
    let mut changed = data.to_vec();
    let Some(place) = changed.get_mut(at..).and_then(|p| p.first_chunk_mut::<4>()) else {
        return;
    };
    let old = std::mem::replace(place, new);
    let updated = Update::new(full).bytes(&old, &new).finish();
    let words = Update::new(full).u32(u32::from_be_bytes(old), u32::from_be_bytes(new));
    assert_eq!(words.finish(), updated);
    let all_zero = |bytes: &[u8]| bytes.iter().all(|byte| *byte == 0);
    if !all_zero(data) && !all_zero(&changed) {
        assert_eq!(updated, checksum(&changed));
        changed.resize(changed.len().next_multiple_of(2), 0);
        changed.extend_from_slice(&updated.to_be_bytes());
        assert!(verify(&changed));
    }
}

/// RFC 1071 §1 word by word, carries added back at once.
fn slow(data: &[u8]) -> u16 {
    let mut sum = 0u16;
    for pair in data.chunks(2) {
        let mut word = pair.iter().copied().chain([0]);
        let word = u16::from_be_bytes([word.next().unwrap_or(0), word.next().unwrap_or(0)]);
        let (added, carry) = sum.overflowing_add(word);
        sum = added + u16::from(carry);
    }
    !sum
}
