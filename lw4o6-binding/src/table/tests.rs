//! Tests of the table on one thread; `concurrent` has those with many.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::*;

mod concurrent;
mod model;
mod resize;

pub(super) fn arena(config: &TableConfig) -> &'static [AtomicU64] {
    // Old content must not matter.
    let words = (0..arena_words(config)).map(|_| AtomicU64::new(0x5555_5555_5555_5555));
    Box::leak(words.collect::<Vec<_>>().into_boxed_slice())
}

pub(super) fn config(softwires: usize) -> TableConfig {
    TableConfig {
        softwires,
        aftrs: 64,
        readers: 4,
        hash_seed: *b"sixteen secrets.",
    }
}

pub(super) fn table(softwires: usize, pools: &[Pool]) -> (TableWriter, TableReader) {
    let config = config(softwires);
    let (mut writer, shared) = TableWriter::new(config, arena(&config), pools).unwrap();
    writer.aftr(&[0xaf; 16]).unwrap();
    let mut reader = shared.reader().unwrap();
    reader.refresh();
    (writer, reader)
}

pub(super) fn slot(ipv4: u32, psid: u16, (offset, len): (u8, u8), b4: u128) -> Slot {
    Slot {
        ipv4,
        psid,
        offset,
        len,
        b4: b4.to_be_bytes(),
        aftr: 0,
        flags: 0,
    }
}

fn b4_of(lookup: Lookup) -> u128 {
    let Lookup::Found(softwire) = lookup else {
        panic!("{lookup:?}")
    };
    u128::from_be_bytes(softwire.b4)
}

const POOL: Pool = Pool {
    first: 0xc000_0200,
    last: 0xc000_02ff,
    offset: 0,
    len: 6,
};

#[test]
fn a_binding_is_found_by_every_port_of_its_set_and_by_no_other() {
    //
    let (mut writer, mut reader) = table(16, &[POOL]);
    writer.insert(&slot(0xc000_0201, 5, (0, 6), 77)).unwrap();
    reader.refresh();
    for port in 0..=u16::MAX {
        let lookup = reader.lookup(0xc000_0201, Some(port));
        if port >> 10 == 5 {
            assert_eq!(b4_of(lookup), 77);
        } else {
            assert_eq!(lookup, Lookup::NoBinding);
        }
    }
    assert_eq!(reader.lookup(0xc000_0201, None), Lookup::NoPort);
    assert_eq!(reader.lookup(0xc000_0200, None), Lookup::NoPort);
    assert_eq!(reader.lookup(0xc000_0200, Some(80)), Lookup::NoBinding);
    assert_eq!(reader.lookup(0xc000_0300, Some(80)), Lookup::Foreign);
}

#[test]
fn a_lookup_gives_back_what_was_inserted() {
    let (mut writer, mut reader) = table(16, &[]);
    let aftr = writer.aftr(&[1; 16]).unwrap();
    let given = Slot {
        aftr,
        flags: 0xffff,
        ..slot(9, 0x34, (6, 8), 0x2001_0db8)
    };
    writer.insert(&given).unwrap();
    reader.refresh();
    let Lookup::Found(softwire) = reader.lookup(9, Some(1232)) else {
        panic!()
    };
    let expected = Softwire {
        b4: given.b4,
        aftr,
        flags: 0xfffe,
        ipv4: 9,
        psid: 0x34,
        len: 8,
        offset: 6,
    };
    assert_eq!(softwire, expected);
    assert_eq!(reader.aftr_addr(softwire.aftr), Some([1; 16]));
    assert_eq!(
        reader.lookup(9, Some(1023)),
        Lookup::NoBinding,
        "excluded by the offset"
    );
}

#[test]
fn a_full_address_is_found_without_a_port() {
    let (mut writer, mut reader) = table(16, &[]);
    writer.insert(&slot(7, 0, (0, 0), 1)).unwrap();
    writer.insert(&slot(8, 0, (4, 0), 2)).unwrap();
    reader.refresh();
    assert_eq!(reader.address(7), Address::Full);
    assert_eq!(b4_of(reader.lookup(7, None)), 1);
    assert_eq!(b4_of(reader.lookup(7, Some(0))), 1);
    assert_eq!(reader.address(8), Address::Shared { offset: 4, len: 0 });
    assert_eq!(reader.lookup(8, None), Lookup::NoPort);
    assert_eq!(reader.lookup(8, Some(4095)), Lookup::NoBinding);
    assert_eq!(b4_of(reader.lookup(8, Some(4096))), 2);
    assert_eq!(reader.address(9), Address::Foreign);
}

#[test]
fn an_address_outside_pools_is_managed_while_a_binding_stands_on_it() {
    let (mut writer, mut reader) = table(16, &[]);
    writer.insert(&slot(7, 1, (0, 2), 1)).unwrap();
    writer.insert(&slot(7, 2, (0, 2), 1)).unwrap();
    assert!(writer.remove(7, 1));
    reader.refresh();
    assert_eq!(reader.address(7), Address::Shared { offset: 0, len: 2 });
    assert!(writer.remove(7, 2));
    assert!(!writer.remove(7, 2));
    assert_eq!(reader.address(7), Address::Foreign);
    assert_eq!(reader.lookup(7, None), Lookup::Foreign);
    writer.insert(&slot(7, 0, (0, 0), 1)).unwrap();
    assert_eq!(reader.address(7), Address::Full);
}

#[test]
fn an_address_of_a_pool_may_have_parameters_of_its_own() {
    let (mut writer, mut reader) = table(64, &[POOL]);
    writer.insert(&slot(POOL.first, 3, (0, 6), 1)).unwrap();
    let full = slot(POOL.first + 1, 0, (0, 0), 2);
    writer.insert(&full).unwrap();
    reader.refresh();
    assert_eq!(
        reader.address(POOL.first),
        Address::Shared { offset: 0, len: 6 }
    );
    assert_eq!(reader.address(POOL.first + 1), Address::Full);
    assert_eq!(b4_of(reader.lookup(POOL.first + 1, None)), 2);
    let mixed = |ipv4| Err(TableError::MixedParameters { ipv4 });
    assert_eq!(
        writer.insert(&slot(POOL.first, 0, (0, 0), 3)),
        mixed(POOL.first)
    );
    assert_eq!(
        writer.insert(&slot(POOL.first + 1, 1, (0, 6), 3)),
        mixed(POOL.first + 1)
    );
    assert!(writer.remove(POOL.first + 1, 0));
    assert_eq!(
        reader.address(POOL.first + 1),
        Address::Shared { offset: 0, len: 6 }
    );
    writer.insert(&slot(POOL.first + 1, 1, (0, 6), 3)).unwrap();
}

#[test]
fn a_b4_is_known_while_one_of_its_softwires_remains() {
    let (mut writer, mut reader) = table(2048, &[POOL]);
    let b4 = 0x2001_0db8_u128;
    for psid in 0..64 {
        for address in 0..16 {
            writer
                .insert(&slot(POOL.first + address, psid, (0, 6), b4))
                .unwrap();
        }
    }
    reader.refresh();
    for psid in 0..64 {
        for address in 0..16 {
            assert!(reader.b4_known(&b4.to_be_bytes()));
            assert!(writer.remove(POOL.first + address, psid));
        }
    }
    assert!(!reader.b4_known(&b4.to_be_bytes()));
}

#[test]
fn replacing_a_binding_forgets_the_old_b4() {
    let (mut writer, mut reader) = table(16, &[]);
    writer.insert(&slot(7, 0, (0, 0), 1)).unwrap();
    writer.insert(&slot(7, 0, (0, 0), 2)).unwrap();
    reader.refresh();
    assert_eq!(writer.len(), 1);
    assert_eq!(b4_of(reader.lookup(7, None)), 2);
    assert!(!reader.b4_known(&1_u128.to_be_bytes()));
    assert!(reader.b4_known(&2_u128.to_be_bytes()));
}

#[test]
fn aftr_addresses_are_found_by_number_and_by_value() {
    let (mut writer, mut reader) = table(4, &[]);
    for n in 1..64_u8 {
        assert_eq!(writer.aftr(&[n; 16]), Ok(u16::from(n)));
        assert_eq!(writer.aftr(&[n; 16]), Ok(u16::from(n)), "the second time");
        reader.refresh();
        assert_eq!(reader.aftr_index(&[n; 16]), Some(u16::from(n)));
        assert_eq!(reader.aftr_index(&[n + 1; 16]), None);
    }
    assert_eq!(writer.aftr(&[99; 16]), Err(TableError::Aftrs { max: 64 }));
    assert_eq!(reader.aftr_addr(63), Some([63; 16]));
    assert_eq!(reader.aftr_addr(64), None);
    assert_eq!(reader.aftr_index(&[0xaf; 16]), Some(0));
}

#[test]
fn a_full_table_takes_replacements_only() {
    let (mut writer, _) = table(2, &[]);
    writer.insert(&slot(1, 0, (0, 0), 1)).unwrap();
    writer.insert(&slot(2, 0, (0, 0), 1)).unwrap();
    assert_eq!(
        writer.insert(&slot(3, 0, (0, 0), 1)),
        Err(TableError::Softwires { max: 2 })
    );
    writer.insert(&slot(2, 0, (0, 0), 5)).unwrap();
    assert!(writer.remove(1, 0));
    writer.insert(&slot(3, 0, (0, 0), 1)).unwrap();
}

#[test]
fn impossible_bindings_and_pools_are_refused() {
    let (mut writer, _) = table(2, &[]);
    let bad = |psid, offset, len| TableError::BadParameters { psid, offset, len };
    assert_eq!(writer.insert(&slot(1, 4, (0, 2), 1)), Err(bad(4, 0, 2)));
    assert_eq!(writer.insert(&slot(1, 1, (0, 0), 1)), Err(bad(1, 0, 0)));
    assert_eq!(writer.insert(&slot(1, 0, (9, 8), 1)), Err(bad(0, 9, 8)));
    let unknown = Slot {
        aftr: 1,
        ..slot(1, 0, (0, 0), 1)
    };
    assert_eq!(writer.insert(&unknown), Err(TableError::UnknownAftr(1)));
    for pools in [
        [POOL, POOL],
        [
            POOL,
            Pool {
                first: 2,
                last: 1,
                ..POOL
            },
        ],
        [
            POOL,
            Pool {
                first: 1,
                last: 1,
                offset: 17,
                len: 0,
            },
        ],
    ] {
        let refused = writer.replace_all(core::iter::empty(), &pools);
        assert!(
            matches!(refused, Err(TableError::BadPool { .. })),
            "{refused:?}"
        );
    }
    let config = config(2);
    let short = TableWriter::new(config, &arena(&config)[1..], &[]).err();
    let need = arena_words(&config);
    assert_eq!(
        short,
        Some(TableError::SmallArena {
            need,
            have: need - 1
        })
    );
}

#[test]
fn readers_see_a_replacement_as_a_whole_and_only_after_refresh() {
    //
    let (mut writer, mut reader) = table(512, &[POOL]);
    let all = |generation: u128| {
        let pair = |n: u32| (POOL.first + n / 64, u16::try_from(n % 64).unwrap());
        (0..512)
            .map(pair)
            .map(move |(ipv4, psid)| slot(ipv4, psid, (0, 6), generation))
    };
    for generation in 1..20 {
        writer.replace_all(all(generation), &[POOL]).unwrap();
        if generation > 1 {
            assert_eq!(b4_of(reader.lookup(POOL.first, Some(0))), generation - 1);
            assert!(reader.b4_known(&(generation - 1).to_be_bytes()));
        }
        reader.refresh();
        assert_eq!(b4_of(reader.lookup(POOL.first, Some(0))), generation);
        assert!(!reader.b4_known(&(generation - 1).to_be_bytes()));
        assert_eq!(reader.lookup(POOL.first + 8, Some(0)), Lookup::NoBinding);
    }
}

#[test]
fn a_replacement_that_fails_leaves_the_table_as_it_was() {
    let (mut writer, mut reader) = table(8, &[POOL]);
    writer.insert(&slot(POOL.first, 0, (0, 6), 1)).unwrap();
    let memory = writer.memory();
    let bad = [slot(1, 0, (0, 0), 2), slot(2, 5, (0, 2), 2)];
    assert!(writer.replace_all(bad.into_iter(), &[]).is_err());
    let other = [[9; 16]; 65];
    assert!(
        writer
            .replace_all_with_aftrs(bad.into_iter(), &[], &other)
            .is_err()
    );
    assert_eq!(writer.memory(), memory);
    reader.refresh();
    assert_eq!(b4_of(reader.lookup(POOL.first, Some(0))), 1);
    assert_eq!(reader.lookup(1, None), Lookup::Foreign);
}

#[test]
fn a_new_generation_may_have_other_aftr_addresses() {
    let (mut writer, mut reader) = table(8, &[]);
    let slots = [Slot {
        aftr: 1,
        ..slot(7, 0, (0, 0), 1)
    }];
    let aftrs = [[1; 16], [2; 16]];
    writer
        .replace_all_with_aftrs(slots.into_iter(), &[], &aftrs)
        .unwrap();
    assert_eq!(reader.aftr_index(&[0xaf; 16]), Some(0), "until the refresh");
    reader.refresh();
    assert_eq!(reader.aftr_index(&[0xaf; 16]), None);
    assert_eq!(reader.aftr_index(&[2; 16]), Some(1));
    assert_eq!(reader.aftr_addr(0), Some([1; 16]));
}

#[test]
fn an_idle_reader_holds_nothing_and_keeps_nobody_waiting() {
    let (mut writer, mut reader) = table(8, &[POOL]);
    writer.insert(&slot(POOL.first, 0, (0, 6), 1)).unwrap();
    let mark = writer.mark();
    assert!(!writer.has_passed(mark));
    reader.idle();
    assert!(writer.has_passed(mark));
    assert_eq!(reader.lookup(POOL.first, Some(0)), Lookup::Busy);
    let mut out = [Lookup::Foreign; 1];
    reader.lookup_batch(
        &[LookupKey {
            ipv4: POOL.first,
            port: Some(0),
        }],
        &mut out,
    );
    assert_eq!(out, [Lookup::Busy]);
    assert_eq!(reader.address(POOL.first), Address::Foreign);
    reader.refresh();
    assert_eq!(b4_of(reader.lookup(POOL.first, Some(0))), 1);
}

#[test]
fn readers_are_counted() {
    let config = config(8);
    let (_writer, shared) = TableWriter::new(config, arena(&config), &[]).unwrap();
    let readers = [(); 4].map(|()| shared.reader().unwrap());
    assert_eq!(shared.reader().err(), Some(TooManyReaders { readers: 4 }));
    drop(readers);
    assert!(shared.reader().is_ok());
}

#[test]
fn replaced_memory_comes_back_once_readers_have_left_it() {
    let (mut writer, mut reader) = table(512, &[POOL]);
    let slots = (0..512_u32).map(|n| slot(n, 0, (0, 0), u128::from(n)));
    let empty = writer.memory();
    writer.replace_all(slots, &[]).unwrap();
    assert!(writer.memory().retired > 0);
    writer.collect();
    assert!(
        writer.memory().retired > 0,
        "the reader still holds the first generation"
    );
    reader.refresh();
    writer.collect();
    assert_eq!(writer.memory().retired, 0);
    writer.replace_all(core::iter::empty(), &[POOL]).unwrap();
    reader.refresh();
    writer.collect();
    assert_eq!(writer.memory(), empty);
}

#[test]
fn t_20_an_answer_outlives_the_binding_it_was_made_from() {
    //
    let (mut writer, mut reader) = table(64, &[]);
    let keys = (1..=64_u32)
        .map(|ipv4| LookupKey { ipv4, port: None })
        .collect::<Vec<_>>();
    let mut out = [Lookup::Foreign; 64];
    for n in 1..=64 {
        writer.insert(&slot(n, 0, (0, 0), u128::from(n))).unwrap();
    }
    reader.refresh();
    reader.lookup_batch(&keys, &mut out);
    for n in 1..=64 {
        assert!(writer.remove(n, 0));
        writer.insert(&slot(n + 1000, 0, (0, 0), 7)).unwrap();
    }
    writer.replace_all(core::iter::empty(), &[]).unwrap();
    for (n, out) in (1..).zip(out) {
        assert_eq!(b4_of(out), n, "the copy must not change");
    }
}
