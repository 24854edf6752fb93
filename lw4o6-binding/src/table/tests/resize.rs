//! Growth, and moves between hashed and dense.

use super::*;

/// 64 addresses with 64 port sets each: 4096 lines.
const WIDE: Pool = Pool {
    first: 0x0a00_0000,
    last: 0x0a00_003f,
    offset: 0,
    len: 6,
};

fn nth(n: u32) -> Slot {
    let b4 = 0x2001_0db8 << 96 | u128::from(n);
    slot(
        WIDE.first + n / 64,
        u16::try_from(n % 64).unwrap(),
        (0, 6),
        b4,
    )
}

fn finds(reader: &TableReader, slot: &Slot) -> bool {
    let port = slot.psid << 10 | 5;
    let lookup = reader.lookup(slot.ipv4, Some(port));
    if lookup == Lookup::NoBinding {
        return false;
    }
    assert_eq!(b4_of(lookup).to_be_bytes(), slot.b4);
    reader.b4_known(&slot.b4)
}

fn dense_ranges(writer: &TableWriter) -> usize {
    writer
        .generation
        .runs
        .iter()
        .filter(|run| run.range.base != 0)
        .count()
}

#[test]
fn a_pool_that_fills_up_one_by_one_becomes_dense_and_loses_nothing() {
    let (mut writer, mut reader) = table(8192, &[WIDE]);
    let mut became_dense = 0;
    for n in 0..4096 {
        writer.insert(&nth(n)).unwrap();
        if became_dense == 0 && dense_ranges(&writer) == 1 {
            became_dense = n;
            assert!(
                (0..n).all(|n| finds(&reader, &nth(n))),
                "with the old directory"
            );
        }
        reader.refresh();
        assert!(finds(&reader, &nth(n)));
    }
    assert!((2048..4096).contains(&became_dense), "{became_dense}");
    assert!((0..4096).all(|n| finds(&reader, &nth(n))));
    writer.collect();
    assert!(
        writer.memory().per_softwire() <= 64,
        "{:?}",
        writer.memory()
    );
}

#[test]
fn a_dense_pool_that_empties_gives_its_memory_back() {
    let (mut writer, mut reader) = table(8192, &[WIDE]);
    let empty = writer.memory().live;
    writer.replace_all((0..4096).map(nth), &[WIDE]).unwrap();
    assert_eq!(dense_ranges(&writer), 1);
    for n in 0..4096 {
        assert!(writer.remove(nth(n).ipv4, nth(n).psid));
        if n % 64 == 0 {
            reader.refresh();
            assert!(
                (n + 1..4096).step_by(61).all(|n| finds(&reader, &nth(n))),
                "after {n}"
            );
        }
        assert!(
            n < 2600 || dense_ranges(&writer) == 0,
            "below 3/8 after {n} removals"
        );
    }
    reader.refresh();
    writer.collect();
    let left = writer.memory();
    assert!(left.live < empty + 4096 * 40, "{left:?}");
    assert_eq!(
        reader.address(WIDE.first),
        Address::Shared { offset: 0, len: 6 }
    );
}

#[test]
fn a_run_without_a_pool_is_dense_while_it_lasts_and_foreign_afterwards() {
    let (mut writer, mut reader) = table(8192, &[]);
    writer.replace_all((0..4096).map(nth), &[]).unwrap();
    assert_eq!(dense_ranges(&writer), 1);
    reader.refresh();
    assert_eq!(reader.address(WIDE.last + 1), Address::Foreign);
    for n in 0..4096 {
        assert!(finds(&reader, &nth(n)));
        assert!(writer.remove(nth(n).ipv4, nth(n).psid));
        reader.refresh();
        if n % 64 == 63 {
            assert_eq!(reader.address(nth(n).ipv4), Address::Foreign);
            assert_eq!(reader.lookup(nth(n).ipv4, Some(1)), Lookup::Foreign);
            assert_eq!(reader.lookup(nth(n).ipv4, None), Lookup::Foreign);
        }
    }
    assert_eq!(writer.generation.runs.len(), 0);
    assert_eq!(writer.generation.used(generation::Index::Addresses), 0);
}

#[test]
fn a_pool_of_single_ports_is_not_given_a_line_for_every_port() {
    let pool = Pool {
        first: 1,
        last: 1,
        offset: 0,
        len: 16,
    };
    let slots = [slot(1, 80, (0, 16), 1)];
    let (mut writer, mut reader) = table(64, &[pool]);
    writer.replace_all(slots.into_iter(), &[pool]).unwrap();
    reader.refresh();
    assert_eq!(b4_of(reader.lookup(1, Some(80))), 1);
    assert_eq!(reader.lookup(1, Some(81)), Lookup::NoBinding);
    assert!(writer.memory().live < 16 * 1024, "{:?}", writer.memory());
}

#[test]
fn pools_beyond_those_a_reader_keeps_are_found_too() {
    // 8 are compared one by one, up to 64 by binary search, more by the root.
    for pools in [1, 8, 9, 64, 65, 300] {
        let pool = |n: u32| {
            let first = n << 22 | 0x100;
            Pool {
                first,
                last: first + 3,
                offset: 0,
                len: u8::try_from(n % 7).unwrap(),
            }
        };
        let list = (0..pools).map(pool).collect::<Vec<_>>();
        // Tables below 65,536 softwires have no root.
        let (mut writer, mut reader) = table(if pools > 64 { 65_536 } else { 8192 }, &list);
        assert_eq!(writer.generation.directory.root != 0, pools > 64);
        for pool in &list {
            writer
                .insert(&slot(pool.last, 0, (0, pool.len), 9))
                .unwrap();
        }
        reader.refresh();
        for pool in &list {
            assert_eq!(b4_of(reader.lookup(pool.last, Some(0))), 9);
            assert_ne!(reader.address(pool.first), Address::Foreign);
            assert_eq!(reader.address(pool.first - 1), Address::Foreign);
            assert_eq!(reader.address(pool.last + 1), Address::Foreign);
        }
    }
}

#[test]
fn scattered_addresses_with_their_own_parameters_are_all_found() {
    let count = 3000;
    let scattered = |n: u32| {
        let len = u8::try_from(n % 7).unwrap();
        let psid = u16::try_from(n % (1 << len)).unwrap();
        slot(n.wrapping_mul(0x9e37_79b1), psid, (6, len), u128::from(n))
    };
    let (mut writer, mut reader) = table(count as usize, &[]);
    for n in 0..count {
        writer.insert(&scattered(n)).unwrap();
    }
    reader.refresh();
    for n in 0..count {
        let Slot {
            ipv4, psid, len, ..
        } = scattered(n);
        let port = 1 << 10 | u32::from(psid) << (10 - len);
        let port = u16::try_from(port).unwrap();
        assert_eq!(b4_of(reader.lookup(ipv4, Some(port))), u128::from(n));
        assert_eq!(reader.address(ipv4), Address::Shared { offset: 6, len });
        assert_eq!(reader.address(ipv4 ^ 1), Address::Foreign);
    }
}

#[test]
fn memory_for_every_plan_is_within_what_was_asked_for() {
    let mut rng = model::Rng(3);
    for _ in 0..10 {
        let (mut writer, mut reader) = table(2048, &[WIDE]);
        for round in 0..20 {
            let lone = |n: u32| slot(n * 16, 0, (0, 0), u128::from(n));
            let fill = u32::try_from(rng.below(2048)).unwrap();
            for n in 0..fill {
                let slot = if round % 2 == 0 { nth(n) } else { lone(n) };
                writer.insert(&slot).unwrap();
            }
            reader.refresh();
            let all = (0..2048).map(move |n| if round % 3 == 0 { nth(n) } else { lone(n) });
            writer.replace_all(all, &[WIDE]).unwrap();
            reader.refresh();
            for n in 0..2048 {
                writer.remove(nth(n).ipv4, nth(n).psid);
                writer.remove(lone(n).ipv4, 0);
            }
            assert!(writer.is_empty());
        }
    }
}

#[test]
fn many_ranges_take_no_memory_from_the_bindings_of_a_small_table() {
    // A root over the ranges once did; the reader holds every old block meanwhile.
    let pool = |n: u32| Pool {
        first: n << 16,
        last: n << 16 | 3,
        offset: 0,
        len: 2,
    };
    let list = (1..=80).map(pool).collect::<Vec<_>>();
    let (mut writer, _reader) = table(2500, &list);
    assert_eq!(writer.generation.directory.root, 0);
    for n in 0..2500 {
        writer
            .insert(&slot(0x8000_0000 | n << 4, 0, (0, 0), u128::from(n)))
            .unwrap();
    }
}
