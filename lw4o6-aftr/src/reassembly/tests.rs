use core::time::Duration;

use lw4o6_wire::ipv6_ext::{self, FragmentHeader};
use lw4o6_wire::{Ecn, IpProtocol, Ipv4Fields, Ipv6Fields, Ipv6Header};

use super::*;

mod floods;

const START: Instant = Instant::from_secs(50);
const ROOM: usize = 128;

/// A fragment to be sent.
#[derive(Clone, Debug)]
struct Sent {
    src: u16,
    ident: u32,
    offset: u16,
    more: bool,
    data: Vec<u8>,
    ecn: Ecn,
    ext: Vec<u8>, // Destination Options before the Fragment header
    next: IpProtocol,
}

impl Sent {
    fn packet(&self) -> Vec<u8> {
        let fragment = FragmentHeader {
            next: self.next,
            offset: self.offset,
            more: self.more,
            ident: self.ident,
        };
        let mut ext = self.ext.clone();
        let mut next_header = IpProtocol::FRAGMENT;
        if let [next, ..] = &mut ext[..] {
            *next = IpProtocol::FRAGMENT.0;
            next_header = IpProtocol::DST_OPTS;
        }
        let fields = Ipv6Fields {
            traffic_class: 0x48 | self.ecn.bits(),
            flow_label: 0x12345,
            payload_len: (ext.len() + 8 + self.data.len()).try_into().unwrap(),
            next_header,
            hop_limit: 60,
            src: b4(self.src),
            dst: aftr(),
        };
        [
            &fields.to_bytes()[..],
            &ext,
            &fragment.to_bytes(),
            &self.data,
        ]
        .concat()
    }
}

fn b4(n: u16) -> core::net::Ipv6Addr {
    core::net::Ipv6Addr::new(0x2001, 0xdb8, n, 0, 0, 0, 0, 4)
}

fn aftr() -> core::net::Ipv6Addr {
    core::net::Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 1)
}

/// An IPv4 packet of `len` bytes.
fn inner(len: usize) -> Vec<u8> {
    let fields = Ipv4Fields {
        tos: 0,
        total_len: len.try_into().unwrap(),
        ident: 1,
        dont_fragment: false,
        more_fragments: false,
        fragment_offset: 0,
        ttl: 64,
        protocol: IpProtocol::UDP,
        src: [192, 0, 2, 1].into(),
        dst: [198, 51, 100, 1].into(),
    };
    let mut packet = fields.to_bytes().to_vec();
    packet.extend((20..len).map(|i| u8::try_from(i * 7 % 249).unwrap()));
    packet
}

/// `data` cut at the given multiples of 8.
fn cut(data: &[u8], cuts: &[usize]) -> Vec<Sent> {
    let mut ends: Vec<usize> = cuts.iter().map(|c| c * 8).collect();
    ends.push(data.len());
    let mut start = 0;
    let mut all = Vec::new();
    for end in ends {
        all.push(Sent {
            src: 1,
            ident: 77,
            offset: start.try_into().unwrap(),
            more: end < data.len(),
            data: data[start..end].to_vec(),
            ecn: Ecn::NotEct,
            ext: Vec::new(),
            next: IpProtocol::IPV4,
        });
        start = end;
    }
    all
}

struct Bench {
    slab: Slab,
    reassembly: Reassembly,
    scratch: Vec<u8>,
}

impl Bench {
    fn new() -> Self {
        Self::with(&ReassemblyConfig::default(), 1540)
    }

    fn with(config: &ReassemblyConfig, path_mru: u16) -> Self {
        let slab = Slab::new(1 << 20);
        let reassembly = Reassembly::new(config, path_mru, &slab, [5; 16]);
        let scratch = vec![0xee; ROOM + 65_575];
        Self {
            slab,
            reassembly,
            scratch,
        }
    }

    fn push(&mut self, now: Instant, sent: &Sent) -> Reassembled {
        self.push_bytes(now, &sent.packet())
    }

    fn push_bytes(&mut self, now: Instant, packet: &[u8]) -> Reassembled {
        let (header, payload) = Ipv6Header::split(packet).unwrap();
        let walk = ipv6_ext::walk(header.next_header(), payload).unwrap();
        let Self {
            slab,
            reassembly,
            scratch,
        } = self;
        reassembly.push(slab, now, packet, &walk, scratch, ROOM)
    }

    fn packet(&self, result: Reassembled) -> &[u8] {
        let Reassembled::Complete { len, .. } = result else {
            panic!("{result:?}");
        };
        &self.scratch[ROOM..][..len]
    }

    /// Expires; returns fragments, quote and source of every datagram that was given up.
    fn expire(&mut self, now: Instant) -> Vec<(usize, Option<Vec<u8>>, [u8; 16])> {
        let mut all = Vec::new();
        self.reassembly.expire(&mut self.slab, now, &mut |expired| {
            assert_eq!(expired.dst, aftr().octets());
            all.push((
                expired.fragments,
                expired.first.map(<[u8]>::to_vec),
                expired.src,
            ));
        });
        all
    }

    fn assert_empty(&self) {
        assert_eq!(self.slab.free_bytes(), self.slab.capacity());
        assert_eq!(self.reassembly.usage(), Usage::default());
        assert_eq!(self.reassembly.poll_timeout(), None);
    }
}

fn reason(result: Reassembled) -> DropReason {
    let Reassembled::Refused { reason, .. } = result else {
        panic!("{result:?}");
    };
    reason
}

fn problem(result: Reassembled) -> (DropReason, Option<(u8, u32)>) {
    let Reassembled::Refused {
        reason, problem, ..
    } = result
    else {
        panic!("{result:?}");
    };
    (reason, problem.map(|p| (p.code, p.pointer)))
}

/// All orders of `0..n`.
fn permutations(n: usize) -> Vec<Vec<usize>> {
    if n == 0 {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for shorter in permutations(n - 1) {
        for at in 0..n {
            let mut order = shorter.clone();
            order.insert(at, n - 1);
            all.push(order);
        }
    }
    all
}

#[test]
fn every_order_of_two_to_six_fragments_gives_the_same_packet() {
    //
    let data = inner(1500);
    for n in 2..=6 {
        let cuts: Vec<usize> = (1..n).map(|i| 3 + i * 25).collect();
        let fragments = cut(&data, &cuts);
        for order in permutations(n) {
            let mut bench = Bench::new();
            let mut result = Reassembled::Held;
            for &at in &order {
                assert_eq!(result, Reassembled::Held);
                result = bench.push(START, &fragments[at]);
            }
            let packet = bench.packet(result);
            assert_eq!(packet[40..], data, "{order:?}");
            let (header, payload) = Ipv6Header::split(packet).unwrap();
            assert_eq!(header.next_header(), IpProtocol::IPV4);
            assert_eq!(payload.len(), 1500);
            let merged = n - 1;
            assert_eq!(result, Reassembled::Complete { len: 1540, merged });
            bench.assert_empty();
        }
    }
}

#[test]
fn a_fragment_with_more_to_come_and_a_broken_length_is_answered() {
    //
    let mut bench = Bench::new();
    let mut sent = cut(&inner(400), &[20])[0].clone();
    sent.data.truncate(150);
    let expected = (DropReason::Ipv6FragmentLength, Some((0, 4)));
    assert_eq!(problem(bench.push(START, &sent)), expected);
    bench.assert_empty();
}

#[test]
fn a_fragment_beyond_the_longest_packet_is_answered() {
    //
    let mut bench = Bench::new();
    let mut sent = cut(&inner(400), &[20])[1].clone();
    sent.offset = 65_528;
    sent.data.truncate(8);
    let expected = (DropReason::Ipv6FragmentTooLong, Some((0, 42)));
    assert_eq!(problem(bench.push(START, &sent)), expected);
    // Destination Options in front move the field, and count.
    sent.ext = vec![0, 0, 1, 4, 0, 0, 0, 0];
    sent.offset = 65_520;
    let expected = (DropReason::Ipv6FragmentTooLong, Some((0, 50)));
    assert_eq!(problem(bench.push(START, &sent)), expected);
    bench.assert_empty();
}

#[test]
fn a_first_fragment_without_the_inner_header_is_answered() {
    //
    let mut bench = Bench::new();
    let expected = (DropReason::Ipv6FragmentFirstShort, Some((3, 0)));
    for cuts in [1, 2] {
        let sent = &cut(&inner(400), &[cuts])[0];
        assert_eq!(problem(bench.push(START, sent)), expected);
    }
    let sent = &cut(&inner(400), &[3])[0];
    assert_eq!(bench.push(START, sent), Reassembled::Held);
    // 24 bytes, but the header claims 60.
    let mut options = sent.clone();
    options.data[0] = 0x4f;
    assert_eq!(problem(bench.push(START, &options)), expected);
}

#[test]
fn an_overlap_kills_the_datagram_and_what_still_comes_of_it() {
    //
    let data = inner(600);
    let fragments = cut(&data, &[20, 40]);
    let mut bench = Bench::new();
    bench.push(START, &fragments[0]);
    bench.push(START, &fragments[2]);
    let mut overlap = fragments[1].clone();
    overlap.offset -= 8;
    let result = bench.push(START, &overlap);
    let expected = Reassembled::Refused {
        reason: DropReason::Ipv6FragmentOverlap,
        problem: None,
        lost: 2,
    };
    assert_eq!(result, expected);
    assert_eq!(bench.slab.free_bytes(), bench.slab.capacity());
    for fragment in &fragments {
        let late = bench.push(START + Duration::from_secs(59), fragment);
        assert_eq!(reason(late), DropReason::Ipv6FragmentOverlap);
    }
    assert_eq!(bench.expire(START + Duration::from_secs(60)), []);
    bench.assert_empty();
    assert_eq!(
        bench.push(START + Duration::from_secs(60), &fragments[0]),
        Reassembled::Held
    );
}

#[test]
fn an_exact_duplicate_is_dropped_alone() {
    //
    let data = inner(600);
    let fragments = cut(&data, &[20, 40]);
    let mut bench = Bench::new();
    for at in [0, 2] {
        bench.push(START, &fragments[at]);
        let again = bench.push(START, &fragments[at]);
        assert_eq!(reason(again), DropReason::Ipv6FragmentDuplicate);
    }
    let result = bench.push(START, &fragments[1]);
    assert_eq!(bench.packet(result)[40..], data);
    bench.assert_empty();
}

#[test]
fn the_same_place_with_other_bytes_is_an_overlap() {
    let fragments = cut(&inner(600), &[20, 40]);
    for (at, byte) in [(0, 100), (1, 0), (2, 5)] {
        let mut bench = Bench::new();
        bench.push(START, &fragments[at]);
        let mut other = fragments[at].clone();
        other.data[byte] ^= 1;
        let result = bench.push(START, &other);
        assert_eq!(reason(result), DropReason::Ipv6FragmentOverlap);
    }
}

#[test]
fn two_different_ends_kill_the_datagram() {
    let fragments = cut(&inner(600), &[20, 40]);
    let longer = Sent {
        offset: 600,
        ..fragments[2].clone()
    };
    let shorter = Sent {
        offset: 160,
        ..fragments[2].clone()
    };
    let behind = Sent {
        offset: 1_000,
        more: true,
        data: vec![0; 8],
        ..fragments[2].clone()
    };
    let more = Sent {
        data: fragments[2].data[..200].to_vec(),
        more: true,
        ..fragments[2].clone()
    };
    let last = Sent {
        more: false,
        ..more.clone()
    };
    for (one, two) in [
        (&fragments[2], &longer),
        (&fragments[2], &shorter),
        (&longer, &shorter),
        (&fragments[2], &behind),
        (&behind, &fragments[2]),
        (&more, &last),
        (&last, &more),
    ] {
        let mut bench = Bench::new();
        assert_eq!(bench.push(START, one), Reassembled::Held);
        let result = bench.push(START, two);
        assert_eq!(reason(result), DropReason::Ipv6FragmentOverlap);
    }
}

#[test]
fn an_atomic_fragment_goes_alone() {
    //
    let data = inner(600);
    let fragments = cut(&data, &[20]);
    let mut bench = Bench::new();
    bench.push(START, &fragments[0]);
    let alone = cut(&inner(300), &[]);
    let result = bench.push(START, &alone[0]);
    assert_eq!(bench.packet(result)[40..], inner(300));
    assert_eq!(
        result,
        Reassembled::Complete {
            len: 340,
            merged: 0
        }
    );
    let result = bench.push(START, &fragments[1]);
    assert_eq!(bench.packet(result)[40..], data);
}

#[test]
fn sources_destinations_and_ids_do_not_mix() {
    //
    let data = inner(600);
    let fragments = cut(&data, &[20]);
    let mut bench = Bench::new();
    bench.push(START, &fragments[0]);
    let other_source = Sent {
        src: 2,
        ..fragments[1].clone()
    };
    let other_id = Sent {
        ident: 78,
        ..fragments[1].clone()
    };
    let mut other_destination = fragments[1].packet();
    other_destination[39] ^= 1;
    assert_eq!(bench.push(START, &other_source), Reassembled::Held);
    assert_eq!(bench.push(START, &other_id), Reassembled::Held);
    assert_eq!(
        bench.push_bytes(START, &other_destination),
        Reassembled::Held
    );
    let result = bench.push(START, &fragments[1]);
    assert_eq!(bench.packet(result)[40..], data);
}

#[test]
fn headers_come_from_the_fragment_at_offset_0() {
    let data = inner(600);
    let mut fragments = cut(&data, &[20, 40]);
    fragments[0].ext = vec![0, 0, 1, 4, 0, 0, 0, 0];
    fragments[1].next = IpProtocol::UDP;
    fragments[2].ext = vec![0, 1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    for order in permutations(3) {
        let mut bench = Bench::new();
        let mut result = Reassembled::Held;
        for at in order {
            result = bench.push(START, &fragments[at]);
        }
        let packet = bench.packet(result);
        assert_eq!(packet.len(), 648);
        assert_eq!(packet[6], IpProtocol::DST_OPTS.0);
        assert_eq!(packet[4..6], [0x02, 0x60]);
        assert_eq!(packet[40..48], [4, 0, 1, 4, 0, 0, 0, 0]);
        assert_eq!(packet[48..], data);
    }
}

#[test]
fn congestion_marks_are_merged() {
    //
    let data = inner(600);
    let table = [
        ([Ecn::Ect0, Ecn::Ce, Ecn::Ect0], Some(Ecn::Ce)),
        ([Ecn::Ce, Ecn::Ce, Ecn::Ce], Some(Ecn::Ce)),
        ([Ecn::NotEct, Ecn::Ce, Ecn::NotEct], None),
        ([Ecn::NotEct, Ecn::NotEct, Ecn::NotEct], Some(Ecn::NotEct)),
        ([Ecn::Ect1, Ecn::Ect0, Ecn::Ect0], Some(Ecn::Ect1)),
    ];
    for (marks, expected) in table {
        for order in permutations(3) {
            let mut bench = Bench::new();
            let mut fragments = cut(&data, &[20, 40]);
            for (fragment, mark) in fragments.iter_mut().zip(marks) {
                fragment.ecn = mark;
            }
            let mut result = Reassembled::Held;
            for at in order {
                result = bench.push(START, &fragments[at]);
            }
            match expected {
                Some(mark) => {
                    let (header, _) = Ipv6Header::split(bench.packet(result)).unwrap();
                    assert_eq!((header.ecn(), header.dscp()), (mark, 0x12));
                }
                None => assert_eq!(reason(result), DropReason::Ipv6ReassemblyEcn),
            }
            bench.assert_empty();
        }
    }
}

#[test]
fn time_runs_from_the_first_to_arrive_and_ends_with_an_error_about_offset_0() {
    // T-16
    let fragments = cut(&inner(1500), &[170, 180]);
    let mut bench = Bench::new();
    bench.push(START, &fragments[1]);
    bench.push(START + Duration::from_secs(30), &fragments[0]);
    let only_last = Sent {
        src: 2,
        ..fragments[2].clone()
    };
    bench.push(START + Duration::from_secs(1), &only_last);
    let end = START + Duration::from_secs(60);
    assert_eq!(bench.reassembly.poll_timeout(), Some(end));
    assert_eq!(bench.expire(Instant::from_micros(end.as_micros() - 1)), []);
    let first = fragments[0].packet()[..1232].to_vec();
    assert_eq!(bench.expire(end), [(2, Some(first), b4(1).octets())]);
    let next = bench.reassembly.poll_timeout();
    assert_eq!(next, Some(end + Duration::from_secs(1)));
    assert_eq!(bench.expire(next.unwrap()), [(1, None, b4(2).octets())]);
    bench.assert_empty();
    // What comes too late starts a datagram of its own.
    let late = bench.push(next.unwrap(), &fragments[2]);
    assert_eq!(late, Reassembled::Held);
}

#[test]
fn a_packet_up_to_the_mru_is_accepted_and_no_larger_one() {
    // R-136; a Tunnel Encapsulation Limit comes on top (T-2).
    for (path_mru, inner_len, fits) in [
        (1540, 1500, true),
        (1280, 1500, true),
        (1540, 1501, false),
        (9_000, 8_960, true),
        (9_000, 8_961, false),
    ] {
        let config = ReassemblyConfig::default();
        let mut bench = Bench::with(&config, path_mru);
        let limit = [&[4, 0, 4, 1, 4, 1, 1, 0][..], &inner(inner_len)].concat();
        let mut fragments = cut(&limit, &[150]);
        fragments[0].next = IpProtocol::DST_OPTS;
        bench.push(START, &fragments[0]);
        let result = bench.push(START, &fragments[1]);
        if fits {
            assert_eq!(bench.packet(result)[40..], limit);
        } else {
            assert_eq!(reason(result), DropReason::Ipv6ReassembledTooBig);
        }
        bench.assert_empty();
    }
}

#[test]
fn a_fragment_far_beyond_the_mru_ends_the_datagram_at_once() {
    let mut bench = Bench::new();
    let fragments = cut(&inner(9_000), &[150, 300]);
    bench.push(START, &fragments[0]);
    let result = bench.push(START, &fragments[1]);
    assert_eq!(reason(result), DropReason::Ipv6ReassembledTooBig);
    assert_eq!(bench.slab.free_bytes(), bench.slab.capacity());
}

#[test]
fn the_longest_packet_is_reassembled() {
    let data = inner(65_535);
    let cuts: Vec<usize> = (1..60).map(|i| i * 136).collect();
    let mut bench = Bench::with(&ReassemblyConfig::default(), u16::MAX);
    let result = cut(&data, &cuts)
        .iter()
        .map(|sent| bench.push(START, sent))
        .last()
        .unwrap();
    // 40 bytes more than a path MRU of 65,535 allows.
    assert_eq!(reason(result), DropReason::Ipv6ReassembledTooBig);
    let data = inner(65_495);
    let mut bench = Bench::with(&ReassemblyConfig::default(), u16::MAX);
    let result = cut(&data, &cuts)
        .iter()
        .map(|sent| bench.push(START, sent))
        .last()
        .unwrap();
    assert_eq!(bench.packet(result)[40..], data);
}

#[test]
fn too_many_fragments_end_a_datagram() {
    let config = ReassemblyConfig {
        fragments: 4,
        ..ReassemblyConfig::default()
    };
    let mut bench = Bench::with(&config, 1540);
    let fragments = cut(&inner(600), &[10, 20, 30, 40, 50]);
    for fragment in &fragments[..4] {
        assert_eq!(bench.push(START, fragment), Reassembled::Held);
    }
    let result = bench.push(START, &fragments[4]);
    assert_eq!(reason(result), DropReason::Ipv6FragmentCount);
    let result = bench.push(START, &fragments[5]);
    assert_eq!(reason(result), DropReason::Ipv6FragmentCount);
    assert_eq!(bench.slab.free_bytes(), bench.slab.capacity());
}

#[test]
fn an_empty_fragment_opens_nothing() {
    let mut bench = Bench::new();
    let mut sent = cut(&inner(400), &[20])[1].clone();
    sent.data.clear();
    for more in [true, false] {
        sent.more = more;
        let expected = (DropReason::Ipv6FragmentLength, None);
        assert_eq!(problem(bench.push(START, &sent)), expected);
    }
    bench.assert_empty();
}
