//! Readers against a writer at work. Bounded by operations, not by time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::model::Rng;
use super::*;

/// Bindings that stay as they are, and bindings that come and go, in each area.
const EACH: u32 = 1024;
const AREAS: u32 = 3;
const SHARED: Pool = Pool {
    first: 0x0a00_0000,
    last: 0x0a00_007f,
    offset: 0,
    len: 4,
};
const SPARSE: Pool = Pool {
    first: 0x0b00_0000,
    last: 0x0b00_0fff,
    offset: 4,
    len: 6,
};

/// Address, PSID and parameters of binding `n`: a pool that is dense when full, a pool that is
/// always sparse, and scattered full addresses.
fn place(n: u32) -> (u32, u16, (u8, u8)) {
    let psid = |bits: u32| u16::try_from(bits).unwrap();
    match (n % AREAS, n / AREAS) {
        (0, n) => (SHARED.first + n / 16, psid(n % 16), (0, 4)),
        (1, n) => (SPARSE.first + n, psid(n % 64), (4, 6)),
        (_, n) => (0x1000_0000 | n << 9, 0, (0, 0)),
    }
}

fn is_stable(n: u32) -> bool {
    (n / AREAS).is_multiple_of(2)
}

/// A B4 address that says which binding and which version it belongs to.
fn b4(n: u32, version: u32) -> [u8; 16] {
    let check = Rng(u64::from(n) << 32 | u64::from(version)).next();
    (u128::from(check) << 64 | u128::from(version) << 32 | u128::from(n)).to_be_bytes()
}

fn slot(n: u32, version: u32) -> Slot {
    let (ipv4, psid, (offset, len)) = place(n);
    let aftr = u16::try_from(version % 4).unwrap();
    let flags = u16::try_from(version & 0x7fff).unwrap() << 1;
    Slot {
        ipv4,
        psid,
        offset,
        len,
        b4: b4(n, version),
        aftr,
        flags,
    }
}

fn key(n: u32) -> LookupKey {
    let (ipv4, psid, (offset, len)) = place(n);
    let high = if offset == 0 {
        0
    } else {
        1 << (16 - u32::from(offset))
    };
    let port = high | u32::from(psid) << (16 - u32::from(offset) - u32::from(len));
    LookupKey {
        ipv4,
        port: Some(u16::try_from(port).unwrap()),
    }
}

/// Checks one answer; says whether the binding was there.
fn check(n: u32, lookup: Lookup) -> bool {
    let Lookup::Found(softwire) = lookup else {
        assert_ne!(lookup, Lookup::Busy, "binding {n}");
        assert!(
            !is_stable(n),
            "binding {n} was not changed, but is {lookup:?}"
        );
        return false;
    };
    let version = u32::try_from(u128::from_be_bytes(softwire.b4) >> 32 & 0xffff_ffff).unwrap();
    let Slot {
        ipv4,
        psid,
        offset,
        len,
        b4,
        aftr,
        flags,
    } = slot(n, version);
    assert_eq!(
        softwire,
        Softwire {
            b4,
            aftr,
            flags,
            ipv4,
            psid,
            len,
            offset
        },
        "torn"
    );
    assert!(!is_stable(n) || version == 0);
    true
}

fn read(mut reader: TableReader, seed: u64, least: u32, done: &AtomicBool) -> u64 {
    let mut rng = Rng(seed);
    let (mut found, mut rounds) = (0, 0);
    let mut keys = [LookupKey::default(); 48];
    let mut out = [Lookup::Foreign; 48];
    while rounds < least || !done.load(Ordering::Acquire) {
        rounds += 1;
        if rng.below(16) == 0 {
            reader.idle();
        }
        reader.refresh();
        let numbers = keys.map(|_| u32::try_from(rng.below(u64::from(EACH * AREAS))).unwrap());
        keys = numbers.map(key);
        reader.lookup_batch(&keys, &mut out);
        for ((n, key), out) in numbers.iter().zip(&keys).zip(&out) {
            found += u64::from(check(*n, *out));
            found += u64::from(check(*n, reader.lookup(key.ipv4, key.port)));
            if is_stable(*n) {
                assert!(reader.b4_known(&b4(*n, 0)), "B4 of binding {n}");
                assert_ne!(reader.address(key.ipv4), Address::Foreign);
            }
        }
        assert_eq!(reader.aftr_index(&[3; 16]), Some(3));
    }
    found
}

/// One pass over the changing bindings: every one is inserted, replaced or removed. Waves fill
/// and empty the pools, so that blocks are promoted, demoted, grown and swapped.
fn wave(writer: &mut TableWriter, rng: &mut Rng, version: u32) {
    let fill = [2, 5, 9][usize::try_from(rng.below(3)).unwrap()];
    for n in (0..EACH * AREAS).filter(|&n| !is_stable(n)) {
        let slot = slot(n, version);
        if rng.below(10) >= fill {
            writer.remove(slot.ipv4, slot.psid);
            continue;
        }
        while let Err(error) = writer.insert(&slot) {
            assert!(matches!(error, TableError::Memory { .. }), "{error}");
            thread::yield_now();
        }
    }
}

fn write(mut writer: TableWriter, waves: u32) {
    let mut rng = Rng(1);
    for version in 1..=waves {
        wave(&mut writer, &mut rng, version);
        if rng.below(4) == 0 {
            let all = (0..EACH * AREAS).filter(|&n| is_stable(n) || n % 5 == 0);
            let all = all.map(|n| slot(n, if is_stable(n) { 0 } else { version }));
            while let Err(error) = writer.replace_all(all.clone(), &[SHARED, SPARSE]) {
                assert!(matches!(error, TableError::Memory { .. }), "{error}");
                thread::yield_now();
            }
        }
        writer.collect();
        thread::yield_now();
    }
}

#[test]
fn readers_never_miss_a_binding_at_rest_nor_see_half_of_one() {
    //
    let scale = std::env::var("LW4O6_SCALE")
        .ok()
        .and_then(|text| text.parse().ok());
    let scale = scale.unwrap_or(1_u32);
    let config = config(AREAS as usize * EACH as usize);
    let pools = [SHARED, SPARSE];
    let (mut writer, shared) = TableWriter::new(config, arena(&config), &pools).unwrap();
    for n in 0..4_u8 {
        writer.aftr(&[n; 16]).unwrap();
    }
    for n in (0..EACH * AREAS).filter(|&n| is_stable(n)) {
        writer.insert(&slot(n, 0)).unwrap();
    }
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let readers = [1, 2].map(|seed| {
            let (reader, done) = (shared.reader().unwrap(), &done);
            scope.spawn(move || read(reader, seed, 300 * scale, done))
        });
        write(writer, 60 * scale);
        done.store(true, Ordering::Release);
        for reader in readers {
            assert!(reader.join().unwrap() > 0);
        }
    });
}
