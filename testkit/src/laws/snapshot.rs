//! A snapshot is accepted whole and undamaged or not at all, and what a store loads from one it
//! writes again.

use std::hash::Hasher;

use lw4o6_binding::{Bindings, BindingsConfig, Snapshot, restore};
use siphasher::sip::SipHasher24;

use super::CLOCK;

const BINDING: usize = 56;
const QUARANTINED: usize = 32;

/// Input: how many of the records are quarantine and where to do damage, then records; and the
/// same bytes as a whole snapshot.
pub fn law(data: &[u8]) {
    check(data, 0, 1);
    let Some((&[quarantined, at, flip], records)) = data.split_first_chunk() else {
        return;
    };
    let quarantined = usize::from(quarantined).min(records.len() / QUARANTINED);
    let bindings = (records.len() - quarantined * QUARANTINED) / BINDING;
    let records = super::prefix(records, bindings * BINDING + quarantined * QUARANTINED);
    let mut bytes = b"LW4B\0\x01\0\0".to_vec();
    for number in [
        1,
        CLOCK.utc.as_micros(),
        bindings as u64,
        quarantined as u64,
    ] {
        bytes.extend_from_slice(&number.to_be_bytes());
    }
    bytes.extend_from_slice(records);
    let mut hasher = SipHasher24::new();
    hasher.write(&bytes);
    bytes.extend_from_slice(&hasher.finish().to_be_bytes());
    check(&bytes, usize::from(at), flip.max(1));
}

fn check(bytes: &[u8], at: usize, flip: u8) {
    let Ok(snapshot) = restore(bytes, &CLOCK) else {
        return;
    };
    let mut damaged = bytes.to_vec();
    if let Some(byte) = damaged.get_mut(at % bytes.len()) {
        *byte ^= flip;
    }
    assert!(restore(&damaged, &CLOCK).is_err(), "accepts damage at {at}");
    for cut in [1, 8, bytes.len() / 2] {
        let prefix = super::prefix(bytes, bytes.len() - cut);
        assert!(restore(prefix, &CLOCK).is_err(), "accepts a cut of {cut}");
    }
    reload(snapshot);
}

/// What a store accepts it gives back, whatever order it came in.
fn reload(snapshot: Snapshot) {
    let mut store = Bindings::without_table(BindingsConfig::default());
    let lapsed = !snapshot.lapsed.is_empty();
    let mut expected = snapshot.bindings.clone();
    if store.load_snapshot(CLOCK.instant, snapshot).is_err() || lapsed {
        return;
    }
    expected.sort_by_key(lw4o6_binding::Binding::key);
    assert!(store.iter().eq(&expected));
    let again = restore(&store.snapshot(&CLOCK), &CLOCK);
    let bindings = again.map(|snapshot| snapshot.bindings);
    assert_eq!(bindings, Ok(expected));
}
