use core::time::Duration;

use proptest::prelude::*;

use super::*;

const START: Instant = Instant::from_secs(50);

fn key(b4: Option<u8>, ident: u16) -> FragmentKey {
    FragmentKey {
        b4: b4.map(|n| [n; 16]),
        src: [192, 0, 2, 1],
        dst: [198, 51, 100, 1],
        protocol: 17,
        ident,
    }
}

fn piece(offset: u16, len: u16, more: bool) -> Piece {
    let ports = (offset == 0).then_some(0x0400_0035);
    Piece {
        offset,
        len,
        more,
        ports,
    }
}

/// The frame that a piece stands in; its content tells it from the others.
fn frame(piece: Piece) -> Vec<u8> {
    let mut bytes = vec![0x5a; 20 + usize::from(piece.len)];
    bytes[..2].copy_from_slice(&piece.offset.to_be_bytes());
    bytes
}

struct Bench {
    slab: Slab,
    tracker: Tracker<u32>,
}

impl Bench {
    fn new() -> Self {
        Self::with(&FragmentConfig::default())
    }

    fn with(config: &FragmentConfig) -> Self {
        Self {
            slab: Slab::new(2 << 20),
            tracker: Tracker::new(config, [8; 16]),
        }
    }

    fn first(
        &mut self,
        now: Instant,
        key: FragmentKey,
        piece: Piece,
        decision: u32,
    ) -> Result<usize, Refusal> {
        let Self { slab, tracker } = self;
        tracker.first(slab, now, key, piece, decision)
    }

    fn later(&mut self, now: Instant, key: FragmentKey, piece: Piece) -> Later<u32> {
        let Self { slab, tracker } = self;
        tracker.later(
            slab,
            now,
            key,
            piece,
            &[&frame(piece)[..7], &frame(piece)[7..]],
        )
    }

    /// Offsets of everything that is released, each run through `later` again.
    fn drain(&mut self, now: Instant, key: FragmentKey, pieces: &[Piece]) -> Vec<(u16, u32)> {
        let mut all = Vec::new();
        let mut scratch = vec![0; 70_000];
        while let Some((side, len)) = self
            .tracker
            .take_released(&mut self.slab, &mut scratch, 100)
        {
            assert_eq!(side, key.side());
            let offset = u16::from_be_bytes([scratch[100], scratch[101]]);
            let piece = *pieces.iter().find(|p| p.offset == offset).unwrap();
            assert_eq!(scratch[100..100 + len], frame(piece));
            match self.later(now, key, piece) {
                Later::Known(decision) => all.push((offset, decision)),
                other @ (Later::Held | Later::Refused(_)) => panic!("{other:?}"),
            }
        }
        all
    }

    fn expire(&mut self, now: Instant) -> usize {
        let sides = Side::ALL.map(|side| {
            let mut lost = self.tracker.take_evicted(side);
            while let Some((_, more)) = self.tracker.expire_next(&mut self.slab, now, side) {
                lost += more;
            }
            lost
        });
        sides.iter().sum()
    }

    fn assert_empty(&self) {
        assert_eq!(self.slab.free_bytes(), self.slab.capacity());
        for side in Side::ALL {
            assert_eq!(self.tracker.usage(side), Usage::default());
        }
        assert_eq!(self.tracker.held_bytes, 0);
        assert_eq!(self.tracker.poll_timeout(), None);
    }
}

fn refusal(reason: DropReason, lost: usize) -> Refusal {
    Refusal { reason, lost }
}

fn permutations(n: usize) -> Vec<Vec<usize>> {
    let mut all = vec![Vec::new()];
    for next in 0..n {
        let grown = all.iter().flat_map(|order: &Vec<usize>| {
            (0..=order.len()).map(move |at| {
                let mut order = order.clone();
                order.insert(at, next);
                order
            })
        });
        all = grown.collect();
    }
    all
}

#[test]
fn all_pieces_follow_the_first_in_every_order_and_from_both_sides() {
    //
    for n in 2..=6u16 {
        let pieces: Vec<Piece> = (0..n).map(|i| piece(i * 240, 240, i + 1 < n)).collect();
        for order in permutations(n.into()) {
            for b4 in [None, Some(3)] {
                let key = key(b4, 9);
                let mut bench = Bench::new();
                let (mut held, mut out) = (Vec::new(), Vec::new());
                for &at in &order {
                    if at == 0 {
                        let released = bench.first(START, key, pieces[0], 42);
                        assert_eq!(released, Ok(held.len()));
                        out.push((0, 42));
                        out.extend(bench.drain(START, key, &pieces));
                    } else {
                        match bench.later(START, key, pieces[at]) {
                            Later::Held => held.push(pieces[at].offset),
                            Later::Known(decision) => out.push((pieces[at].offset, decision)),
                            Later::Refused(refusal) => panic!("{refusal:?}"),
                        }
                    }
                }
                let (mut offsets, decisions): (Vec<u16>, Vec<u32>) = out.into_iter().unzip();
                assert_eq!(offsets[1..=held.len()], held, "in order of arrival");
                offsets.sort_unstable();
                let expected: Vec<u16> = pieces.iter().map(|p| p.offset).collect();
                assert_eq!(offsets, expected);
                assert!(decisions.iter().all(|&decision| decision == 42));
                bench.assert_empty();
            }
        }
    }
}

#[test]
fn b4s_the_internet_and_protocols_do_not_mix() {
    //
    let mut bench = Bench::new();
    let mut tcp = key(None, 9);
    tcp.protocol = 6;
    let keys = [
        key(Some(1), 9),
        key(Some(2), 9),
        key(None, 9),
        tcp,
        key(None, 8),
    ];
    for (decision, &key) in (0..).zip(&keys) {
        bench
            .first(START, key, piece(0, 80, true), decision)
            .unwrap();
    }
    for (decision, &key) in (0..).zip(&keys) {
        let later = bench.later(START, key, piece(80, 80, false));
        assert_eq!(later, Later::Known(decision));
    }
    bench.assert_empty();
}

#[test]
fn a_refused_first_fragment_refuses_the_rest_and_what_was_held() {
    //
    let mut bench = Bench::new();
    let key = key(Some(1), 9);
    assert_eq!(bench.later(START, key, piece(80, 80, true)), Later::Held);
    assert_eq!(bench.later(START, key, piece(160, 80, false)), Later::Held);
    let lost = bench.tracker.refuse(&mut bench.slab, START, key);
    assert_eq!(lost, 2);
    let refused = refusal(DropReason::FragmentRefused, 0);
    let later = bench.later(START, key, piece(240, 80, false));
    assert_eq!(later, Later::Refused(refused));
    assert_eq!(bench.first(START, key, piece(0, 80, true), 1), Err(refused));
    assert_eq!(bench.expire(START + Duration::from_secs(15)), 0);
    bench.assert_empty();
}

#[test]
fn a_second_first_fragment_with_other_ports_kills_the_datagram() {
    //
    let mut bench = Bench::new();
    let key = key(Some(1), 9);
    bench.first(START, key, piece(0, 80, true), 1).unwrap();
    let again = bench.first(START, key, piece(0, 80, true), 2);
    assert_eq!(again, Err(refusal(DropReason::Ipv4FragmentDuplicate, 0)));
    assert_eq!(bench.later(START, key, piece(80, 8, true)), Later::Known(1));
    let mut other = piece(0, 80, true);
    other.ports = Some(0x0401_0035);
    let conflict = refusal(DropReason::Ipv4FragmentConflict, 0);
    assert_eq!(bench.first(START, key, other, 2), Err(conflict));
    let later = bench.later(START, key, piece(88, 80, false));
    assert_eq!(later, Later::Refused(conflict));
}

#[test]
fn overlaps_kill_and_duplicates_do_not() {
    let mut bench = Bench::new();
    let waiting = key(None, 1);
    assert_eq!(
        bench.later(START, waiting, piece(80, 80, true)),
        Later::Held
    );
    let duplicate = Later::Refused(refusal(DropReason::Ipv4FragmentDuplicate, 0));
    assert_eq!(bench.later(START, waiting, piece(80, 80, true)), duplicate);
    let overlap = Later::Refused(refusal(DropReason::Ipv4FragmentOverlap, 1));
    assert_eq!(bench.later(START, waiting, piece(152, 80, true)), overlap);
    let late = bench.first(START, waiting, piece(0, 80, true), 1);
    assert_eq!(late, Err(refusal(DropReason::Ipv4FragmentOverlap, 0)));

    let decided = key(None, 2);
    bench.first(START, decided, piece(0, 80, true), 1).unwrap();
    let known = bench.later(START, decided, piece(160, 80, false));
    assert_eq!(known, Later::Known(1));
    let again = bench.later(START, decided, piece(160, 80, false));
    assert_eq!(again, duplicate);
    // Neither a second end nor anything behind the end.
    let overlap = Later::Refused(refusal(DropReason::Ipv4FragmentOverlap, 0));
    assert_eq!(bench.later(START, decided, piece(240, 8, true)), overlap);

    let longer = key(None, 3);
    bench.first(START, longer, piece(0, 80, true), 1).unwrap();
    let overlap = Err(refusal(DropReason::Ipv4FragmentOverlap, 0));
    assert_eq!(bench.first(START, longer, piece(0, 88, true), 1), overlap);

    let ends = key(None, 4);
    bench.later(START, ends, piece(160, 80, false));
    let second_end = bench.later(START, ends, piece(80, 80, false));
    let overlap = Later::Refused(refusal(DropReason::Ipv4FragmentOverlap, 1));
    assert_eq!(second_end, overlap);
}

#[test]
fn what_lies_behind_the_end_or_claims_to_be_it_is_an_overlap() {
    let overlap = Later::Refused(refusal(DropReason::Ipv4FragmentOverlap, 1));
    for (one, two) in [
        (piece(240, 80, true), piece(80, 80, false)),
        (piece(80, 80, false), piece(240, 80, true)),
        (piece(80, 80, true), piece(80, 80, false)),
        (piece(80, 80, false), piece(80, 80, true)),
    ] {
        let mut bench = Bench::new();
        assert_eq!(bench.later(START, key(None, 1), one), Later::Held);
        assert_eq!(bench.later(START, key(None, 1), two), overlap);
    }
}

#[test]
fn a_context_does_not_make_room_for_itself() {
    let mut bench = Bench::with(&FragmentConfig {
        contexts: 8,
        ..FragmentConfig::default()
    });
    bench
        .first(START, key(None, 1), piece(0, 8, true), 1)
        .unwrap();
    for unit in 1..48 {
        let later = bench.later(START, key(None, 1), piece(unit * 8, 8, true));
        assert_eq!(later, Later::Known(1));
    }
    let later = bench.later(START, key(None, 1), piece(48 * 8, 8, true));
    let full = refusal(DropReason::Ipv4FragmentFull, 0);
    assert_eq!(later, Later::Refused(full));
    assert_eq!(bench.tracker.evictions(), 0);
}

#[test]
fn contexts_that_are_never_drained_do_not_fill_the_line() {
    let mut bench = Bench::with(&FragmentConfig {
        contexts: 8,
        ..FragmentConfig::default()
    });
    let places = bench.tracker.releasing.capacity();
    let mut now = START;
    for ident in 0..100 {
        bench.later(now, key(None, ident), piece(80, 80, false));
        let first = bench.first(now, key(None, ident), piece(0, 80, true), 1);
        assert_eq!(first, Ok(1));
        now += Duration::from_secs(15);
        assert_eq!(bench.expire(now), 1);
    }
    assert!(bench.tracker.releasing.len() <= places);
    assert_eq!(bench.tracker.releasing.capacity(), places);
}

#[test]
fn a_context_goes_when_its_datagram_has_passed() {
    let mut bench = Bench::new();
    for ident in 0..20_000 {
        let key = key(None, ident);
        bench.first(START, key, piece(0, 1480, true), 1).unwrap();
        let last = bench.later(START, key, piece(1480, 20, false));
        assert_eq!(last, Later::Known(1));
    }
    bench.assert_empty();
}

#[test]
fn what_waits_in_vain_is_given_up() {
    // R-148, T-16
    let config = FragmentConfig {
        timeout: Duration::from_secs(1),
        ..FragmentConfig::default()
    };
    let mut bench = Bench::with(&config);
    bench.later(START, key(None, 1), piece(80, 80, true));
    bench.later(START, key(None, 1), piece(160, 80, true));
    bench
        .first(START, key(None, 2), piece(0, 80, true), 7)
        .unwrap();
    let end = START + Duration::from_secs(2); // the least time there is
    assert_eq!(bench.tracker.poll_timeout(), Some(end));
    let before = Instant::from_micros(end.as_micros() - 1);
    assert_eq!(bench.expire(before), 0);
    assert_eq!(bench.expire(end), 2);
    bench.assert_empty();
}

#[test]
fn the_default_wait_is_15_seconds() {
    //
    let mut bench = Bench::new();
    bench.later(START, key(None, 1), piece(80, 80, true));
    let end = START + Duration::from_secs(15);
    assert_eq!(bench.tracker.poll_timeout(), Some(end));
}

#[test]
fn too_many_fragments_end_a_datagram() {
    let config = FragmentConfig {
        fragments: 3,
        ..FragmentConfig::default()
    };
    let mut bench = Bench::with(&config);
    for offset in [80, 160, 240] {
        let later = bench.later(START, key(None, 1), piece(offset, 80, true));
        assert_eq!(later, Later::Held);
    }
    let count = Later::Refused(refusal(DropReason::Ipv4FragmentCount, 3));
    assert_eq!(
        bench.later(START, key(None, 1), piece(320, 80, true)),
        count
    );
}

#[test]
fn one_source_fills_its_share_and_one_side_leaves_room_for_the_other() {
    //
    let mut bench = Bench::new();
    let mut quota = 0;
    for ident in 0..2_000 {
        match bench.later(START, key(Some(1), ident), piece(80, 1400, true)) {
            Later::Held => {}
            other @ (Later::Known(_) | Later::Refused(_)) => {
                let reason = DropReason::Ipv4FragmentQuota;
                assert_eq!(other, Later::Refused(refusal(reason, 0)));
                quota += 1;
            }
        }
    }
    assert!(quota > 0);
    let mut full = 0;
    for source in 0..8_000u16 {
        let mut key = key(None, 1);
        key.src = [198, 18, (source >> 8) as u8, (source & 255) as u8];
        match bench.later(START, key, piece(80, 80, true)) {
            Later::Held => {}
            other @ (Later::Known(_) | Later::Refused(_)) => {
                let reason = DropReason::Ipv4FragmentFull;
                assert_eq!(other, Later::Refused(refusal(reason, 0)));
                full += 1;
            }
        }
    }
    assert!(full > 0);
    assert_eq!(
        bench.later(START, key(Some(2), 1), piece(80, 80, true)),
        Later::Held
    );
    let first = bench.first(START, key(Some(2), 1), piece(0, 80, true), 5);
    assert_eq!(first, Ok(1));
    bench.expire(START + Duration::from_secs(15));
    bench.assert_empty();
}

#[test]
fn fragments_in_order_pass_through_a_flood_of_forged_sources() {
    //
    let mut bench = Bench::new();
    let forged = |n: u32| {
        let [_, a, b, c] = n.to_be_bytes();
        let mut key = key(None, 1);
        key.src = [11 + a, b, c, 1];
        key
    };
    for n in 0..50_000 {
        let half = piece(0, 80, true);
        assert_eq!(bench.first(START, forged(n), half, 1), Ok(0));
        if n % 3 == 0 {
            bench.later(START, forged(n + (1 << 20)), piece(80, 80, true));
        }
        if n % 100 == 99 {
            let key = key(None, 2);
            assert_eq!(bench.first(START, key, piece(0, 1480, true), 7), Ok(0));
            // Thirty forged packets later.
            for m in 0..30 {
                let forged = forged((2 << 20) + n * 30 + m);
                bench.first(START, forged, half, 1).unwrap();
            }
            let later = bench.later(START, key, piece(1480, 20, false));
            assert_eq!(later, Later::Known(7));
        }
    }
    assert!(bench.tracker.evictions() > 40_000);
    assert!(bench.tracker.usage(Side::Internet).contexts <= 3_072);
    // The other side is not touched.
    let b4 = key(Some(1), 1);
    assert_eq!(bench.later(START, b4, piece(80, 80, false)), Later::Held);
    bench.expire(START + Duration::from_secs(15));
    bench.assert_empty();
}

#[test]
fn a_flood_of_small_pieces_takes_room_from_older_datagrams_only() {
    let config = FragmentConfig {
        contexts: 64,
        ..FragmentConfig::default()
    };
    let mut bench = Bench::with(&config);
    for source in 0..48u8 {
        let mut key = key(None, 1);
        key.src = [11, 0, 0, source];
        assert_eq!(bench.first(START, key, piece(0, 8, true), 1), Ok(0));
        for unit in 1..40 {
            let later = bench.later(START, key, piece(unit * 8, 8, true));
            assert_eq!(later, Later::Known(1));
        }
    }
    assert!(bench.tracker.usage(Side::Internet).pieces <= 64 * 8 * 3 / 4);
    assert!(bench.tracker.evictions() > 30);
    bench.expire(START + Duration::from_secs(15));
    bench.assert_empty();
}

#[test]
fn both_sides_together_stay_within_the_contexts() {
    //
    let mut bench = Bench::with(&FragmentConfig {
        contexts: 64,
        ..FragmentConfig::default()
    });
    for n in 0..100 {
        let mut forged = key(None, 1);
        forged.src = [11, 0, 0, n];
        bench.later(START, key(Some(n), 1), piece(80, 80, true));
        bench.later(START, forged, piece(80, 80, true));
    }
    let contexts = Side::ALL.map(|side| bench.tracker.usage(side).contexts);
    assert_eq!(contexts.iter().sum::<usize>(), 64);
}

#[test]
fn a_context_in_the_place_of_a_released_one_keeps_its_fragments() {
    let mut bench = Bench::with(&FragmentConfig {
        contexts: 1,
        ..FragmentConfig::default()
    });
    bench.later(START, key(None, 1), piece(80, 80, false));
    let first = bench.first(START, key(None, 1), piece(0, 80, true), 1);
    assert_eq!(first, Ok(1));
    let later = START + Duration::from_secs(15);
    assert_eq!(bench.expire(later), 1, "nobody took it out");
    assert_eq!(
        bench.later(later, key(None, 2), piece(80, 80, false)),
        Later::Held
    );
    let mut scratch = [0; 200];
    let taken = bench
        .tracker
        .take_released(&mut bench.slab, &mut scratch, 0);
    assert_eq!(taken, None);
    let first = bench.first(later, key(None, 2), piece(0, 80, true), 1);
    assert_eq!(first, Ok(1));
    assert_eq!(
        bench.drain(later, key(None, 2), &[piece(80, 80, false)]),
        [(80, 1)]
    );
    bench.assert_empty();
}

#[test]
fn b4s_are_never_pushed_out() {
    let config = FragmentConfig {
        contexts: 64,
        ..FragmentConfig::default()
    };
    let mut bench = Bench::with(&config);
    let mut full = 0;
    for b4 in 0..100 {
        let first = bench.first(START, key(Some(b4), 1), piece(0, 80, true), 1);
        full += usize::from(first == Err(refusal(DropReason::Ipv4FragmentFull, 0)));
    }
    assert_eq!(full, 100 - 48);
    assert_eq!(bench.tracker.evictions(), 0);
    let later = bench.later(START, key(Some(0), 1), piece(80, 80, false));
    assert_eq!(later, Later::Known(1));
}

#[test]
fn held_fragments_leave_most_of_the_slab_free() {
    let mut bench = Bench::with(&FragmentConfig {
        bytes: usize::MAX,
        bytes_per_source: usize::MAX,
        ..FragmentConfig::default()
    });
    for source in 0..2_000 {
        bench.later(START, key(Some(1), source), piece(80, 4_000, true));
        bench.later(START, key(None, source), piece(80, 4_000, true));
    }
    assert!(bench.slab.free_bytes() >= bench.slab.capacity() / 4 * 3);
    assert!(bench.slab.free_bytes() < bench.slab.capacity() / 4 * 3 + 8_192);
}

#[test]
fn nothing_grows_after_construction() {
    let mut bench = Bench::new();
    let places = bench.tracker.releasing.capacity();
    for ident in 0..3_000 {
        let key = key(Some(u8::try_from(ident % 200).unwrap()), ident);
        bench.later(START, key, piece(80, 80, false));
        let _ = bench.first(START, key, piece(0, 80, true), 1);
    }
    assert_eq!(bench.tracker.releasing.capacity(), places);
}

#[test]
fn a_frame_too_large_for_the_buffer_comes_back_empty() {
    let mut bench = Bench::new();
    bench.later(START, key(None, 1), piece(80, 800, true));
    bench
        .first(START, key(None, 1), piece(0, 80, true), 1)
        .unwrap();
    let mut scratch = [0; 200];
    let taken = bench
        .tracker
        .take_released(&mut bench.slab, &mut scratch, 0);
    assert_eq!(taken, Some((Side::Internet, 0)));
    assert_eq!(bench.slab.free_bytes(), bench.slab.capacity());
}

#[test]
fn knobs_change_while_fragments_are_held() {
    let mut bench = Bench::new();
    bench.later(START, key(None, 1), piece(80, 80, true));
    bench.tracker.reconfigure(&FragmentConfig {
        bytes: 0,
        timeout: Duration::from_secs(4),
        ..FragmentConfig::default()
    });
    let full = bench.later(START, key(None, 2), piece(80, 80, true));
    assert_eq!(
        full,
        Later::Refused(refusal(DropReason::Ipv4FragmentFull, 0))
    );
    assert_eq!(bench.expire(START + Duration::from_secs(4)), 1);
    bench.assert_empty();
}

#[derive(Clone, Debug)]
enum Step {
    First(u8, u16, Piece),
    Later(u8, u16, Piece),
    Refuse(u8, u16),
    Drain,
    Wait(u64),
}

fn any_step() -> impl Strategy<Value = Step> {
    let place = (0u16..6, 1u16..5, any::<bool>());
    let place = place.prop_map(|(unit, units, more)| piece(unit * 8, units * 8, more));
    let who = (0u8..3, 0u16..3);
    prop_oneof![
        3 => (who.clone(), place.clone(), 0u32..2).prop_map(|((b4, id), mut piece, ports)| {
            (piece.offset, piece.more, piece.ports) = (0, true, Some(ports));
            Step::First(b4, id, piece)
        }),
        8 => (who.clone(), place).prop_map(|((b4, id), mut piece)| {
            (piece.offset, piece.ports) = (piece.offset + 8, None);
            Step::Later(b4, id, piece)
        }),
        1 => who.prop_map(|(b4, id)| Step::Refuse(b4, id)),
        2 => Just(Step::Drain),
        2 => (0u64..9_000).prop_map(Step::Wait),
    ]
}

proptest! {
    #![proptest_config(crate::cases::cases(256))]

    #[test]
    fn no_flood_breaks_the_books(steps in prop::collection::vec(any_step(), 1..250)) {
        // R-138, T-16: every held frame leaves once, and all memory comes back.
        let config = FragmentConfig {
            contexts: 6,
            bytes: 3 << 10,
            bytes_per_source: 2 << 10,
            fragments: 4,
            ..FragmentConfig::default()
        };
        let mut bench = Bench::with(&config);
        let mut scratch = vec![0; 2_000];
        let (mut now, mut held) = (START, 0);
        let of = |b4: u8, id| key((b4 > 0).then_some(b4), id);
        for step in steps {
            match step {
                Step::First(b4, id, piece) => {
                    if let Err(refusal) = bench.first(now, of(b4, id), piece, b4.into()) {
                        prop_assert!(refusal.reason != DropReason::Internal);
                        held -= refusal.lost;
                    }
                }
                Step::Later(b4, id, piece) => match bench.later(now, of(b4, id), piece) {
                    Later::Held => held += 1,
                    Later::Known(decision) => prop_assert_eq!(decision, u32::from(b4)),
                    Later::Refused(refusal) => {
                        prop_assert!(refusal.reason != DropReason::Internal);
                        held -= refusal.lost;
                    }
                },
                Step::Refuse(b4, id) => {
                    held -= bench.tracker.refuse(&mut bench.slab, now, of(b4, id));
                }
                Step::Drain => {
                    while bench.tracker.take_released(&mut bench.slab, &mut scratch, 0).is_some() {
                        held -= 1;
                    }
                }
                Step::Wait(millis) => {
                    now += Duration::from_millis(millis);
                    held -= bench.expire(now);
                }
            }
            let taken = bench.slab.capacity() - bench.slab.free_bytes();
            prop_assert_eq!(taken, bench.tracker.held_bytes);
            prop_assert_eq!(taken, (held - bench.tracker.given_up) * 256);
            prop_assert!(taken <= 3 << 10);
        }
        while bench.tracker.take_released(&mut bench.slab, &mut scratch, 0).is_some() {
            held -= 1;
        }
        held -= bench.expire(now + Duration::from_secs(15));
        prop_assert_eq!(held, 0);
        bench.assert_empty();
    }
}
