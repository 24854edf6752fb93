use std::string::ToString;
use std::vec;

use lw4o6_wire::port_params::PortParams;

use super::*;
use crate::bindings::tests::{at, b4, binding, config, dhcp, ports, store_with};
use crate::entry::{Expiry, Origin};
use crate::utc::Utc;

/// 2026-11-20T19:00:00Z at 1000 s.
fn clock() -> Clock {
    Clock {
        instant: at(1000),
        utc: Utc::from_micros(1_795_201_200_000_000),
    }
}

/// One of each: whole address, shared, prefix, each origin, an end, a quarantine.
fn sample() -> Bindings {
    let aftr = binding(1, 1).aftr;
    let whole = Binding::new(b4(7), [198, 51, 100, 7].into(), PortParams::FULL, aftr);
    let prefix = "2001:db8:12:3400::/56".parse().unwrap();
    let offset = ports(6, 8, 0x34);
    let prefix = Binding::from_prefix(prefix, [192, 0, 2, 18].into(), offset, aftr);
    let mut store = store_with(&[
        dhcp(1, 5, 5000),
        whole.with_origin(Origin::Operator),
        prefix,
        binding(1, 3).with_origin(Origin::Peer),
        binding(1, 4)
            .with_origin(Origin::Pcp)
            .with_expiry(Expiry::At(Instant::from_micros(1_234_567_890))),
    ]);
    store.remove(at(990), &binding(1, 3).key()).unwrap();
    store
}

fn snapshot() -> Snapshot {
    let store = sample();
    Snapshot {
        version: store.version(),
        bindings: store.iter().copied().collect(),
        quarantined: store.quarantined().copied().collect(),
        lapsed: vec![],
    }
}

#[test]
fn what_was_stored_comes_back() {
    let bytes = sample().snapshot(&clock());
    assert_eq!(restore(&bytes, &clock()), Ok(snapshot()));
    let empty = Bindings::without_table(config()).snapshot(&clock());
    assert_eq!(restore(&empty, &clock()), Ok(Snapshot::default()));
}

#[test]
fn a_store_that_loads_a_snapshot_makes_the_same_one() {
    let bytes = sample().snapshot(&clock());
    let mut store = Bindings::without_table(config());
    let report = store.load_snapshot(at(1000), restore(&bytes, &clock()).unwrap());
    assert_eq!(report.map(|r| (r.loaded, r.expired)), Ok((4, 0)));
    let mut again = store.snapshot(&clock());
    // Loading is a change, so the number of the table is one higher; all else is the same.
    let version = restore(&again, &clock()).unwrap().version;
    assert_eq!(version, sample().version() + 1);
    again.truncate(again.len() - CHECKSUM);
    again[8..16].copy_from_slice(&bytes[8..16]);
    assert_eq!(again[..], bytes[..bytes.len() - CHECKSUM]);
}

#[test]
fn the_snapshot_of_version_1_can_be_read() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/snapshot-v1.bin");
    let bytes = sample().snapshot(&clock());
    if std::env::var_os("LW4O6_BLESS").is_some() {
        std::fs::write(path, &bytes).unwrap();
    }
    let stored = std::fs::read(path).unwrap();
    assert_eq!(restore(&stored, &clock()), Ok(snapshot()));
    assert_eq!(stored, bytes); // and is still what is written
}

#[test]
fn ends_are_moments_of_utc() {
    // 600 s later the program starts again, its clock at 30 s
    let later = Clock {
        instant: at(30),
        utc: Utc::from_micros(clock().utc.as_micros() + 600_000_000),
    };
    let bytes = sample().snapshot(&clock());
    let snapshot = restore(&bytes, &later).unwrap();
    let ends: Vec<Expiry> = snapshot.bindings.iter().map(|b| b.expires).collect();
    // 5000 s was 4000 s ahead, now 3400 s; the end at 1234.56789 s has passed.
    assert_eq!(ends, [Expiry::At(at(3430)), Expiry::Never, Expiry::Never]);
    let [lapsed] = snapshot.lapsed[..] else {
        panic!("{:?}", snapshot.lapsed)
    };
    assert_eq!(lapsed.binding.key(), binding(1, 4).key());
    assert_eq!(lapsed.ago, Duration::from_micros(600_000_000 - 234_567_890));
    assert_eq!(snapshot.quarantined, []);
}

#[test]
fn what_ended_while_the_program_was_down_is_in_quarantine_for_the_rest() {
    //
    let later = Clock {
        instant: at(0),
        utc: Utc::from_micros(clock().utc.as_micros() + 300_000_000),
    };
    let bytes = sample().snapshot(&clock());
    let mut store = Bindings::without_table(config());
    store
        .load_snapshot(at(0), restore(&bytes, &later).unwrap())
        .unwrap();
    let waits: Vec<Quarantined> = store.quarantined().copied().collect();
    let [waits] = waits[..] else {
        panic!("{waits:?}")
    };
    assert_eq!(waits.key, binding(1, 4).key());
    // It ended 65.43211 s before the start.
    assert_eq!(waits.until, Instant::from_micros(120_000_000 - 65_432_110));
    let other = dhcp(1, 4, 5000);
    let other = Binding { b4: b4(9), ..other };
    assert!(store.insert(at(1), other).is_err());
    assert!(store.insert(at(60), other).is_ok());
}

#[test]
fn every_strict_prefix_is_refused() {
    let bytes = sample().snapshot(&clock());
    for len in 0..bytes.len() {
        let error = restore(&bytes[..len], &clock()).unwrap_err();
        assert!(
            matches!(error, SnapshotError::Length { .. }),
            "{len}: {error}"
        );
    }
    let mut longer = bytes;
    longer.push(0);
    assert!(restore(&longer, &clock()).is_err());
}

#[test]
fn every_flipped_bit_is_refused() {
    let bytes = sample().snapshot(&clock());
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(restore(&flipped, &clock()).is_err(), "bit {bit}");
    }
}

/// The sample with other bytes at `offset` and a checksum that fits them.
fn patched(offset: usize, with: &[u8]) -> SnapshotError {
    let mut bytes = sample().snapshot(&clock());
    bytes[offset..offset + with.len()].copy_from_slice(with);
    let end = bytes.len() - CHECKSUM;
    let sum = checksum(&bytes[..end]);
    bytes[end..].copy_from_slice(&sum.to_be_bytes());
    restore(&bytes, &clock()).unwrap_err()
}

#[test]
fn each_refusal_says_what_is_wrong() {
    assert_eq!(
        patched(0, b"LW4C").to_string(),
        "not a snapshot of bindings: no \"LW4B\" at the start"
    );
    assert_eq!(
        patched(4, &[0, 2]).to_string(),
        "format version 2 is unknown, the newest known is 1"
    );
    assert_eq!(patched(31, &[9]).to_string(), "has 304 bytes, needs 584");
    assert_eq!(
        patched(24, &[0xff; 16]).to_string(),
        std::format!("has 304 bytes, needs {}", u64::MAX)
    );
    assert_eq!(
        patched(HEADER + 36, &[0, 99]).to_string(),
        "record 0: PSID 99 does not fit in 6 bits"
    );
    assert_eq!(
        patched(HEADER + 41, &[5]).to_string(),
        "record 0: origin 5 is unknown"
    );
    assert_eq!(
        patched(HEADER + 4 * BINDING + 22, &[20]).to_string(),
        "record 4: offset 20 and length 6 take more than 16 bits"
    );
    let mut bytes = sample().snapshot(&clock());
    bytes[50] ^= 1;
    assert_eq!(
        restore(&bytes, &clock()).unwrap_err().to_string(),
        "the checksum is wrong: the file is damaged"
    );
}
