use std::vec;
use std::vec::Vec;

use super::*;

fn ports(offset: u8, len: u8, psid: u16) -> PortParams {
    PortParams::new(offset, len, psid).unwrap()
}

/// Every offset and length that fit.
fn shapes() -> impl Iterator<Item = (u8, u8)> + Clone {
    (0..=16).flat_map(|a| (0..=16 - a).map(move |k| (a, k)))
}

#[test]
fn a_set_fits_four_bytes() {
    assert_eq!(size_of::<PortParams>(), 4);
}

/// against the modulo form of RFC 7597 appendix B, for all 153 shapes and
/// all ports.
#[test]
fn every_port_of_every_shape_is_in_the_set_of_its_psid_alone() {
    for (a, k) in shapes() {
        let m = 16 - a - k;
        let (sharing, contiguous) = (1_u32 << k, 1_u32 << m);
        let mut count = vec![0_u32; 1 << k];
        for port in 0..=u16::MAX {
            let psid = u32::from(port) % (sharing * contiguous) / contiguous;
            let excluded = a > 0 && u32::from(port) < 1 << (16 - a);
            let psid = u16::try_from(psid).unwrap();
            let expected = (!excluded).then_some(psid);
            assert_eq!(PortParams::psid_of(a, k, port), expected, "{a} {k} {port}");
            assert_eq!(
                ports(a, k, psid).contains(port),
                !excluded,
                "{a} {k} {port}"
            );
            if k > 0 {
                assert!(!ports(a, k, psid ^ 1).contains(port), "{a} {k} {port}");
            }
            count[usize::from(psid)] += u32::from(!excluded);
        }
        let left_out = if a > 0 { 1_u32 << m } else { 0 };
        for (psid, count) in (0..=u16::MAX).zip(count) {
            assert_eq!(ports(a, k, psid).port_count(), count, "{a} {k} {psid}");
            assert_eq!(count, (1 << (16 - k)) - left_out, "{a} {k} {psid}");
        }
    }
}

///
#[test]
fn the_ranges_of_every_set_are_its_ports_in_order() {
    for (a, k) in shapes() {
        for psid in 0..=lower_half(ones(k)) {
            let set = ports(a, k, psid);
            let expected = if a == 0 { 1 } else { (1 << a) - 1 };
            assert_eq!(set.ranges().len(), expected, "{set}");
            let mut before = None;
            let (mut number, mut total) = (0, 0);
            for range in set.ranges() {
                let (first, last) = (*range.start(), *range.end());
                assert!(before < Some(first) && first <= last, "{set} {range:?}");
                assert!(set.contains(first) && set.contains(last), "{set} {range:?}");
                before = Some(last);
                number += 1;
                total += u32::from(last - first) + 1;
            }
            assert_eq!((number, total), (expected, set.port_count()), "{set}");
        }
    }
}

#[test]
fn the_iterator_knows_what_is_left() {
    let mut ranges = ports(4, 4, 7).ranges();
    for left in (0..15).rev() {
        assert!(ranges.next().is_some());
        assert_eq!(ranges.size_hint(), (left, Some(left)));
    }
    assert_eq!(
        (ranges.next(), ranges.next(), ranges.len()),
        (None, None, 0)
    );
}

/// V-11, with RFC 7597 appendix A examples 1 and 5 and appendix B.2 among them.
#[test]
fn v11_port_set_examples() {
    type Example = (
        (u8, u8, u16),
        usize,
        u32,
        &'static [(u16, u16)],
        &'static [(u16, u16)],
    );
    let examples: [Example; 8] = [
        (
            (6, 8, 0x34),
            63,
            252,
            &[(1232, 1235), (2256, 2259)],
            &[(63696, 63699), (64720, 64723)],
        ),
        (
            (6, 8, 0),
            63,
            252,
            &[(1024, 1027), (2048, 2051)],
            &[(63488, 63491), (64512, 64515)],
        ),
        ((0, 6, 0), 1, 1024, &[(0, 1023)], &[(0, 1023)]),
        ((0, 6, 1), 1, 1024, &[(1024, 2047)], &[(1024, 2047)]),
        ((0, 8, 0x34), 1, 256, &[(13312, 13567)], &[(13312, 13567)]),
        ((4, 4, 7), 15, 3840, &[(5888, 6143)], &[(63232, 63487)]),
        ((6, 10, 0x3ff), 63, 63, &[(2047, 2047)], &[(65535, 65535)]),
        ((0, 16, 80), 1, 1, &[(80, 80)], &[(80, 80)]),
    ];
    for ((a, k, psid), ranges, count, front, back) in examples {
        let set = ports(a, k, psid);
        let all: Vec<_> = set.ranges().map(RangeInclusive::into_inner).collect();
        assert_eq!((all.len(), set.port_count()), (ranges, count), "{set}");
        assert!(all.starts_with(front) && all.ends_with(back), "{set}");
    }
}

///
#[test]
fn an_offset_excludes_the_low_ports() {
    for (a, lowest) in [(1, 32768), (4, 4096), (6, 1024), (15, 2), (16, 1)] {
        let set = ports(a, 0, 0);
        assert_eq!(set.ranges().next().map(|r| *r.start()), Some(lowest));
        assert!(!set.contains(lowest - 1));
    }
    assert!(ports(0, 0, 0).contains(0));
}

///
#[test]
fn what_does_not_fit_is_refused() {
    for a in 0..=u8::MAX {
        for k in 0..=u8::MAX {
            let fits = u16::from(a) + u16::from(k) <= 16;
            let too_long = Err(PortParamsError::TooLong { offset: a, len: k });
            assert_eq!(PortParams::new(a, k, 0).is_ok(), fits);
            assert_eq!(PortParams::psid_of(a, k, u16::MAX).is_some(), fits);
            if !fits {
                assert_eq!(PortParams::new(a, k, 0), too_long);
                assert_eq!(PortParams::from_left_aligned(a, k, 0), too_long);
            }
        }
    }
    for k in 0..16 {
        let psid = 1 << k;
        let error = PortParamsError::PsidTooLarge { psid, len: k };
        assert_eq!(PortParams::new(0, k, psid), Err(error));
        assert_eq!(
            PortParams::new(0, k, psid - 1).map(PortParams::psid),
            Ok(psid - 1)
        );
    }
    assert!(PortParams::new(0, 16, u16::MAX).is_ok());
}

///
#[test]
fn alignment_is_converted_both_ways() {
    // RFC 7598 aligns to the left: 0x4000 with 3 bits is PSID 2.
    let set = PortParams::from_left_aligned(0, 3, 0x4000).unwrap();
    assert_eq!((set.psid(), set.left_aligned()), (2, 0x4000));
    assert_eq!(ports(6, 8, 0x34).left_aligned(), 0x3400);
    for k in 0..=16 {
        for psid in 0..=lower_half(ones(k)) {
            let set = ports(0, k, psid);
            let value = set.left_aligned();
            assert_eq!(PortParams::from_left_aligned(0, k, value), Ok(set));
            assert_eq!(u32::from(value) >> (16 - k), u32::from(psid));
        }
    }
}

///
#[test]
fn a_psid_aligned_to_the_wrong_side_is_refused() {
    let (value, len) = (0x0034, 8);
    assert_eq!(
        PortParams::from_left_aligned(6, len, value),
        Err(PortParamsError::NotLeftAligned { value, len })
    );
    // RFC 7598 §4.5: the PSID is to be ignored where its length is 0.
    assert_eq!(
        PortParams::from_left_aligned(0, 0, 0x0034),
        Ok(PortParams::FULL)
    );
}

///
#[test]
fn no_psid_is_not_psid_zero() {
    let none = ports(6, 0, 0);
    let zero = ports(6, 8, 0);
    assert_ne!(none, zero);
    assert_eq!((none.some_psid(), zero.some_psid()), (None, Some(0)));
    assert!(none.is_shared() && zero.is_shared());
    assert!(PortParams::FULL.is_full_address() && !PortParams::FULL.is_shared());
    assert!(!ports(0, 1, 0).is_full_address());
    assert_eq!(PortParams::FULL.port_count(), 65536);
}

/// with a = 0, the PSIDs below ceil(1024 / 2^m), with an offset those that reach below
/// 1024.
#[test]
fn system_ports_are_found() {
    for (a, k) in shapes() {
        for psid in 0..=lower_half(ones(k)).min(300) {
            let set = ports(a, k, psid);
            let expected = (0..1024).any(|port| set.contains(port));
            assert_eq!(set.contains_system_ports(), expected, "{set}");
            if a == 0 {
                let limit = 1024_u32.div_ceil(1 << (16 - k));
                assert_eq!(expected, u32::from(psid) < limit, "{set}");
            }
        }
    }
}

fn overlaps_slowly(one: PortParams, other: PortParams) -> bool {
    let (small, large) = if one.port_count() < other.port_count() {
        (one, other)
    } else {
        (other, one)
    };
    small.ranges().flatten().any(|port| large.contains(port))
}

/// every pair of shapes, with PSIDs that meet in one port and with PSIDs at random.
#[test]
fn overlap_agrees_with_the_ports() {
    let mut random = 0x2545_f491_u32;
    let mut next = || {
        random ^= random << 13;
        random ^= random >> 17;
        random ^= random << 5;
        random
    };
    let mut seen = [0_u32; 2];
    for (a, k) in shapes() {
        for (b, l) in shapes() {
            let one = ports(a, k, lower_half(next() & ones(k)));
            let first = *one.ranges().next().unwrap().start();
            let meeting = PortParams::psid_of(b, l, first | lower_half(next() & ones(3)));
            for psid in [meeting, Some(lower_half(next() & ones(l)))]
                .into_iter()
                .flatten()
            {
                let other = ports(b, l, psid);
                let expected = overlaps_slowly(one, other);
                assert_eq!(one.overlaps(&other), expected, "{one} | {other}");
                assert_eq!(other.overlaps(&one), expected, "{other} | {one}");
                seen[usize::from(expected)] += 1;
            }
        }
    }
    assert!(seen.iter().all(|n| *n > 5_000), "{seen:?}");
}

/// two sets that agree in every bit both fix, but meet only in excluded ports.
#[test]
fn sets_that_meet_in_excluded_ports_only_do_not_overlap() {
    let excluded_only = ports(0, 6, 0); // 0-1023
    assert!(!excluded_only.overlaps(&ports(6, 8, 0)));
    assert!(excluded_only.overlaps(&ports(7, 8, 0)));
}
