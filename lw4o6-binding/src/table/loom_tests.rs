//! What every order of every load and store must keep, explored by the model checker.
//!
//! ```text
//! RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR=target/loom \
//!     cargo test -p lw4o6-binding --release --lib loom
//! ```

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use loom::model::Builder;
use loom::sync::atomic::AtomicUsize;
use loom::thread;

use super::arena::{Arena, GROUP, Group};
use super::buckets::Buckets;
use super::line::{self, Image, PRESENT};
use super::sync::Ordering;
use super::*;

/// Explores with at most `preemptions` forced switches of the running thread.
fn explore(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.max_branches = 100_000;
    builder.check(model);
}

fn words(count: usize) -> &'static [AtomicU64] {
    let words = (0..count).map(|_| AtomicU64::new(0)).collect::<Vec<_>>();
    Box::leak(words.into_boxed_slice())
}

/// A content that shows when it is torn.
fn image(n: u64) -> Image {
    Image {
        meta: u32::try_from(n).unwrap() << 16 | PRESENT,
        b4: [n, n],
        key: n,
    }
}

fn number_of(image: Image) -> u64 {
    assert_eq!(image, self::image(image.key), "torn");
    image.key
}

fn parts() -> (Arena, &'static Group) {
    let arena = Arena::new(words(3 * GROUP));
    (arena, arena.group(0).unwrap())
}

#[test]
fn loom_a_line_is_read_as_it_was_at_one_moment() {
    explore(2, || {
        let (arena, slot) = parts();
        let target = arena.line(2).unwrap();
        line::write(target, 2, slot, &image(1));
        let reader = thread::spawn(move || {
            let first = number_of(line::read(target, 2, slot).unwrap());
            let second = number_of(line::read(target, 2, slot).unwrap());
            assert!(first <= second, "{second} after {first}");
        });
        line::write(target, 2, slot, &image(2));
        reader.join().unwrap();
    });
}

#[test]
fn loom_a_line_may_change_twice_during_a_read() {
    explore(1, || {
        let (arena, slot) = parts();
        let target = arena.line(2).unwrap();
        line::write(target, 2, slot, &image(1));
        let reader = thread::spawn(move || number_of(line::read(target, 2, slot).unwrap()));
        line::write(target, 2, slot, &image(2));
        line::write(target, 2, slot, &image(3));
        assert!((1..=3).contains(&reader.join().unwrap()));
    });
}

#[test]
fn loom_the_slot_serves_one_line_after_the_other() {
    explore(2, || {
        let (arena, slot) = parts();
        let (one, two) = (arena.line(2).unwrap(), arena.line(3).unwrap());
        line::write(one, 2, slot, &image(1));
        let seen = Arc::new(AtomicUsize::new(0));
        let flag = seen.clone();
        let reader = thread::spawn(move || {
            let started = flag.load(Ordering::Acquire);
            let n = number_of(line::read(one, 2, slot).unwrap());
            assert!(n == 1 && started == 0 || n == 2, "{n} after {started}");
        });
        line::write(one, 2, slot, &image(2));
        seen.store(1, Ordering::Release);
        line::write(two, 3, slot, &image(6));
        reader.join().unwrap();
    });
}

#[test]
fn loom_a_word_of_an_index_leads_to_what_was_written_before_it() {
    explore(2, || {
        let (arena, slot) = parts();
        let index = Buckets { first: 2, count: 1 };
        let find = move |n: u64| index.find(arena, 0, |word| word == n);
        index.vacancy(arena, 0).unwrap().store(7, Ordering::Release);
        index.vacancy(arena, 0).unwrap().store(8, Ordering::Release);
        let target = arena.line(2).unwrap();
        let reader = thread::spawn(move || {
            if find(9).is_some() {
                assert_eq!(number_of(line::read(target, 2, slot).unwrap()), 4);
            }
            assert!(find(8).is_some(), "nobody touched it");
        });
        find(7).unwrap().0.store(0, Ordering::Release);
        line::write(target, 2, slot, &image(4));
        index.vacancy(arena, 0).unwrap().store(9, Ordering::Release);
        reader.join().unwrap();
    });
}

const CONFIG: TableConfig = TableConfig {
    softwires: 4,
    aftrs: 1,
    readers: 1,
    hash_seed: *b"sixteen secrets.",
};

const POOL: Pool = Pool {
    first: 0x10,
    last: 0x10,
    offset: 0,
    len: 1,
};

fn table(pools: &[Pool]) -> (TableWriter, TableReader) {
    let (mut writer, shared) =
        TableWriter::new(CONFIG, words(arena_words(&CONFIG)), pools).unwrap();
    writer.aftr(&[0xaf; 16]).unwrap();
    (writer, shared.reader().unwrap())
}

fn slot(ipv4: u32, b4: u8) -> Slot {
    Slot {
        ipv4,
        psid: 0,
        offset: 0,
        len: 1,
        b4: [b4; 16],
        aftr: 0,
        flags: u16::from(b4) << 8,
    }
}

/// The content of a binding, all of it from one [`slot`].
fn b4_of(lookup: Lookup) -> Option<u8> {
    let Lookup::Found(softwire) = lookup else {
        assert_ne!(lookup, Lookup::Busy);
        return None;
    };
    let b4 = softwire.b4[0];
    assert_eq!(
        (softwire.b4, softwire.flags),
        ([b4; 16], u16::from(b4) << 8),
        "torn"
    );
    Some(b4)
}

#[test]
fn loom_a_removal_leaves_other_bindings_alone() {
    explore(2, || {
        let (mut writer, mut reader) = table(&[]);
        writer.insert(&slot(1, 11)).unwrap();
        writer.insert(&slot(2, 22)).unwrap();
        reader.refresh();
        let reader = thread::spawn(move || {
            assert!(matches!(b4_of(reader.lookup(2, Some(0))), None | Some(22)));
            assert_eq!(b4_of(reader.lookup(1, Some(0))), Some(11));
        });
        assert!(writer.remove(2, 0));
        reader.join().unwrap();
    });
}

#[test]
fn loom_an_insert_leaves_other_bindings_alone() {
    explore(2, || {
        let (mut writer, mut reader) = table(&[POOL]);
        writer.insert(&slot(1, 11)).unwrap();
        // Takes the line of a removed binding.
        writer.insert(&slot(POOL.first, 22)).unwrap();
        assert!(writer.remove(POOL.first, 0));
        reader.refresh();
        let reader = thread::spawn(move || {
            assert!(matches!(
                b4_of(reader.lookup(POOL.first, Some(0))),
                None | Some(33)
            ));
            assert_eq!(b4_of(reader.lookup(1, Some(0))), Some(11));
        });
        writer.insert(&slot(POOL.first, 33)).unwrap();
        reader.join().unwrap();
    });
}

#[test]
fn loom_a_replacement_in_place_is_never_missed() {
    explore(2, || {
        let (mut writer, mut reader) = table(&[POOL]);
        writer
            .replace_all([slot(POOL.first, 11)].into_iter(), &[POOL])
            .unwrap();
        reader.refresh();
        let reader = thread::spawn(move || {
            let key = LookupKey {
                ipv4: POOL.first,
                port: Some(0),
            };
            let mut out = [Lookup::Foreign];
            reader.lookup_batch(&[key], &mut out);
            assert!(matches!(b4_of(out[0]), Some(11 | 22)));
            assert!(matches!(
                b4_of(reader.lookup(POOL.first, Some(0))),
                Some(11 | 22)
            ));
        });
        writer.insert(&slot(POOL.first, 22)).unwrap();
        reader.join().unwrap();
    });
}

/// The writer replaces everything, takes the old blocks back as soon as it may, and fills them
/// with something else. A reader that still used them would see it.
fn swap_under_reader(mut reader: TableReader, mut writer: TableWriter, wakes: bool) {
    let reader = thread::spawn(move || {
        if wakes {
            reader.idle();
        }
        reader.refresh();
        let first = b4_of(reader.lookup(POOL.first, Some(0))).unwrap();
        let again = b4_of(reader.lookup(POOL.first, Some(0))).unwrap();
        assert_eq!(first, again, "one directory, one answer");
        reader.refresh();
        let later = b4_of(reader.lookup(POOL.first, Some(0))).unwrap();
        assert!(first <= later);
    });
    for n in 2..4 {
        // While the reader stays behind there may be no memory.
        let all = [slot(POOL.first, n)];
        let _ = writer.replace_all(all.into_iter(), &[POOL]);
        writer.collect();
    }
    reader.join().unwrap();
}

#[test]
fn loom_blocks_come_back_only_after_every_reader_has_left_them() {
    explore(2, || {
        let (mut writer, mut reader) = table(&[POOL]);
        writer.insert(&slot(POOL.first, 1)).unwrap();
        reader.refresh();
        swap_under_reader(reader, writer, false);
    });
}

#[test]
fn loom_a_reader_that_wakes_up_never_holds_a_freed_block() {
    explore(2, || {
        let (mut writer, reader) = table(&[POOL]);
        writer.insert(&slot(POOL.first, 1)).unwrap();
        swap_under_reader(reader, writer, true);
    });
}
