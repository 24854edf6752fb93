//! Shares, full memory, and random fragments.

use proptest::prelude::*;

use super::*;

/// Only a first half of datagram `ident` from `src`.
fn half(src: u16, ident: u32) -> Sent {
    Sent {
        src,
        ident,
        ..cut(&inner(1500), &[150])[0].clone()
    }
}

#[test]
fn one_b4_can_fill_its_share_and_no_more() {
    //
    let mut bench = Bench::new();
    let mut refused = 0;
    for ident in 0..2_000 {
        match bench.push(START, &half(1, ident)) {
            Reassembled::Held => {}
            result @ (Reassembled::Complete { .. } | Reassembled::Refused { .. }) => {
                assert_eq!(reason(result), DropReason::Ipv6ReassemblyQuota);
                refused += 1;
            }
        }
    }
    assert!(refused > 1_900);
    assert!(bench.reassembly.usage().bytes <= 128 << 10);
    for ident in 0..20 {
        assert_eq!(bench.push(START, &half(2, ident)), Reassembled::Held);
        let rest = Sent {
            src: 2,
            ident,
            ..cut(&inner(1500), &[150])[1].clone()
        };
        let result = bench.push(START, &rest);
        assert_eq!(bench.packet(result)[40..], inner(1500));
    }
    bench.expire(START + Duration::from_secs(60));
    bench.assert_empty();
}

#[test]
fn a_full_memory_refuses_newcomers_and_keeps_what_it_has() {
    //
    let mut bench = Bench::new();
    let old = half(60_000, 1);
    assert_eq!(bench.push(START, &old), Reassembled::Held);
    assert_eq!(bench.reassembly.warnings(), 0);
    assert!(!bench.reassembly.is_tight());
    let mut full = 0;
    for src in 0..3_000 {
        match bench.push(START, &half(src, 1)) {
            Reassembled::Held => {}
            result @ (Reassembled::Complete { .. } | Reassembled::Refused { .. }) => {
                assert_eq!(reason(result), DropReason::Ipv6ReassemblyFull);
                full += 1;
            }
        }
    }
    assert!(full > 0);
    assert_eq!(bench.reassembly.warnings(), 1);
    assert!(bench.reassembly.is_tight());
    assert!(bench.slab.free_bytes() >= bench.slab.capacity() / 2);
    let rest = Sent {
        src: 60_000,
        ident: 1,
        ..cut(&inner(1500), &[150])[1].clone()
    };
    let result = bench.push(START, &rest);
    assert_eq!(bench.packet(result)[40..], inner(1500));
    bench.expire(START + Duration::from_secs(60));
    bench.assert_empty();
    for src in 0..3_000 {
        bench.push(START + Duration::from_secs(61), &half(src, 1));
    }
    assert_eq!(bench.reassembly.warnings(), 2, "armed again in between");
}

#[test]
fn knobs_change_while_datagrams_are_held() {
    let mut bench = Bench::new();
    bench.push(START, &half(1, 1));
    let config = ReassemblyConfig {
        timeout: Duration::from_secs(5),
        bytes: 0,
        ..ReassemblyConfig::default()
    };
    let Bench {
        slab, reassembly, ..
    } = &mut bench;
    reassembly.reconfigure(&config, 1540, slab);
    let result = bench.push(START, &half(2, 1));
    assert_eq!(reason(result), DropReason::Ipv6ReassemblyFull);
    let end = START + Duration::from_secs(5);
    assert_eq!(bench.reassembly.poll_timeout(), Some(end));
    assert_eq!(bench.expire(end).len(), 1);
    bench.assert_empty();
}

/// Some fragment of one of a few small datagrams; mostly nonsense together.
fn any_fragment() -> impl Strategy<Value = Sent> {
    let place = (0u16..12, 1usize..12, any::<bool>(), 0usize..8);
    (0u16..3, 0u32..3, place, 0u8..4).prop_map(|(src, ident, (unit, units, more, odd), ecn)| {
        let len = if more { units * 8 } else { units * 8 - odd };
        let mut data = vec![u8::try_from(ident).unwrap(); len];
        data[0] = 0x45;
        Sent {
            src,
            ident,
            offset: unit * 8,
            more,
            data,
            ecn: Ecn::from_bits(ecn),
            ext: Vec::new(),
            next: IpProtocol::IPV4,
        }
    })
}

proptest! {
    #![proptest_config(crate::cases::cases(256))]

    #[test]
    fn an_overlap_never_gives_a_packet(
        cuts in prop::collection::btree_set(3usize..60, 1..5),
        offset in 0u16..70,
        units in 1usize..20,
        more: bool,
        order in any::<u64>(),
    ) {
        // one fragment too many, which is not one of the others.
        let data = inner(500);
        let cuts: Vec<usize> = cuts.into_iter().collect();
        let mut fragments = cut(&data, &cuts);
        let extra = Sent {
            offset: offset * 8,
            more,
            data: [&inner(40)[..24], &vec![0xaa; units * 8]].concat(),
            ..fragments[0].clone()
        };
        let at = usize::try_from(order % fragments.len() as u64).unwrap();
        fragments.insert(at, extra);
        let turn = usize::try_from(order / 7 % fragments.len() as u64).unwrap();
        fragments.rotate_left(turn);
        prop_assume!(more || offset > 0); // an atomic fragment is a packet of its own
        let mut bench = Bench::new();
        let mut sent: Vec<(usize, usize)> = Vec::new();
        for fragment in &fragments {
            let start = usize::from(fragment.offset);
            sent.push((start, start + fragment.data.len()));
            sent.sort_unstable();
            let overlap = sent.windows(2).any(|pair| pair[1].0 < pair[0].1);
            let complete = matches!(bench.push(START, fragment), Reassembled::Complete { .. });
            prop_assert!(!(complete && overlap), "{fragments:?}");
            if complete {
                return Ok(()); // what came so far is a packet without contradiction
            }
        }
        bench.expire(START + Duration::from_secs(60));
        bench.assert_empty();
    }

    #[test]
    fn no_flood_breaks_the_books(
        fragments in prop::collection::vec((any_fragment(), 0u64..5_000), 1..200),
    ) {
        // R-138, T-16: every fragment is accounted for once, and all memory comes back.
        let config = ReassemblyConfig {
            contexts: 6,
            bytes: 8 << 10,
            bytes_per_b4: 3 << 10,
            fragments: 5,
            timeout: Duration::from_secs(20),
        };
        let mut bench = Bench::with(&config, 1540);
        let (mut now, mut held) = (START, 0);
        for (fragment, wait) in fragments {
            now += Duration::from_millis(wait);
            held -= bench.expire(now).iter().map(|(count, ..)| count).sum::<usize>();
            match bench.push(now, &fragment) {
                Reassembled::Held => held += 1,
                Reassembled::Complete { merged, .. } => held -= merged,
                Reassembled::Refused { lost, reason, .. } => {
                    prop_assert!(reason != DropReason::Internal);
                    held -= lost;
                }
            }
            let usage = bench.reassembly.usage();
            prop_assert!(usage.contexts <= 6 && usage.bytes <= 8 << 10);
            prop_assert_eq!(usage.pieces, held);
            prop_assert_eq!(bench.slab.capacity() - bench.slab.free_bytes(), usage.bytes);
        }
        now += Duration::from_secs(20);
        held -= bench.expire(now).iter().map(|(count, ..)| count).sum::<usize>();
        prop_assert_eq!(held, 0);
        bench.assert_empty();
    }
}
