use std::vec;
use std::vec::Vec;

use super::*;

const IPV4: u8 = 4;
const FRAGMENT: [u8; 8] = [IPV4, 0, 0, 0, 0x11, 0x22, 0x33, 0x44];

fn go(first: IpProtocol, payload: &[u8]) -> Result<ExtWalk<'_>, ExtProblem> {
    walk(first, payload)
}

/// An options header of 8 bytes with `options` padded by Pad1.
fn options(next: u8, options: &[u8]) -> [u8; 8] {
    let mut out = [0; 8];
    out[0] = next;
    out[2..2 + options.len()].copy_from_slice(options);
    out
}

#[test]
fn without_extension_headers_the_payload_is_the_upper_layer() {
    for next in [4, 6, 17, 41, 50, 51, 58, 135, 253] {
        let walk = go(IpProtocol(next), b"upper").unwrap();
        assert_eq!(
            (walk.next.0, walk.offset, walk.payload),
            (next, 0, &b"upper"[..])
        );
        assert_eq!(
            (walk.next_header_at, walk.fragment, walk.encap_limit),
            (6, None, None)
        );
    }
}

/// V-9, R-070: the header that Linux puts in front of every tunneled packet.
#[test]
fn v9_tunnel_encapsulation_limit() {
    let header = encap_limit_header(IpProtocol::IPV4, 4);
    assert_eq!(header, [4, 0, 4, 1, 4, 1, 1, 0]);
    let packet = [&header[..], b"inner"].concat();
    let walk = go(IpProtocol::DST_OPTS, &packet).unwrap();
    assert_eq!((walk.next, walk.offset), (IpProtocol::IPV4, 8));
    assert_eq!((walk.payload, walk.next_header_at), (&b"inner"[..], 40));
    assert_eq!(walk.encap_limit, Some(EncapLimit { limit: 4, at: 44 }));
}

/// 44, 60, 4 in an atomic fragment.
#[test]
fn the_limit_is_found_behind_a_fragment_header() {
    let mut fragment = FRAGMENT;
    fragment[0] = 60;
    let packet = [
        &fragment[..],
        &encap_limit_header(IpProtocol::IPV4, 3),
        b"inner",
    ]
    .concat();
    let stopped = go(IpProtocol::FRAGMENT, &packet).unwrap();
    assert_eq!((stopped.next, stopped.offset), (IpProtocol::FRAGMENT, 0));
    let header = stopped.fragment.unwrap();
    assert!(header.is_atomic());
    assert_eq!(
        (header.next, header.ident),
        (IpProtocol::DST_OPTS, 0x1122_3344)
    );
    assert_eq!(stopped.payload, &packet[8..]);
    assert_eq!((stopped.encap_limit, stopped.next_header_at), (None, 6));

    let walk = stopped.past_fragment().unwrap();
    assert_eq!((walk.next, walk.offset), (IpProtocol::IPV4, 16));
    assert_eq!((walk.payload, walk.next_header_at), (&b"inner"[..], 48));
    assert_eq!(walk.encap_limit, Some(EncapLimit { limit: 3, at: 52 }));
    assert_eq!(walk.fragment, None);
    assert_eq!(walk.past_fragment(), Ok(walk));

    // The same part on its own, as after reassembly elsewhere.
    let part = walk_from(IpProtocol::DST_OPTS, 40, 48, &packet[8..]).unwrap();
    assert_eq!(
        (part.next, part.offset, part.next_header_at),
        (IpProtocol::IPV4, 8, 48)
    );
    assert_eq!(part.encap_limit, walk.encap_limit);
}

#[test]
fn a_later_fragment_is_not_walked() {
    let fragment = FragmentHeader {
        next: IpProtocol::DST_OPTS,
        offset: 1448,
        more: true,
        ident: 7,
    };
    let packet = [&fragment.to_bytes()[..], &[0xff; 16]].concat();
    let walk = go(IpProtocol::FRAGMENT, &packet).unwrap();
    assert_eq!(walk.fragment, Some(fragment));
    assert_eq!(walk.past_fragment(), Ok(walk));
}

/// left to right, so that the first problem decides.
#[test]
fn headers_are_processed_from_left_to_right() {
    let chain = [
        options(60, &[0x3e, 0]),          // Hop-by-Hop, an option to be skipped
        options(43, &[4, 1, 9, 1, 1, 0]), // limit 9 and padding
        [60, 0, 0, 0, 0, 0, 0, 0],        // Routing type 0, no segments left
        options(44, &[1, 4, 0, 0, 0, 0]), // PadN over everything
        FRAGMENT,
    ]
    .concat();
    let walk = go(IpProtocol::HOPOPTS, &chain).unwrap();
    assert_eq!((walk.offset, walk.next_header_at), (32, 64));
    assert_eq!(walk.encap_limit, Some(EncapLimit { limit: 9, at: 52 }));

    let mut bad = chain.clone();
    bad[2] = 0xc0;
    bad[10] = 0x80;
    let problem = go(IpProtocol::HOPOPTS, &bad).unwrap_err();
    assert_eq!(problem.parameter_problem(false), Some((2, 42)));
}

#[test]
fn the_first_limit_counts() {
    let chain = [options(60, &[4, 1, 9]), options(4, &[4, 1, 8])].concat();
    let walk = go(IpProtocol::DST_OPTS, &chain).unwrap();
    assert_eq!(walk.encap_limit, Some(EncapLimit { limit: 9, at: 44 }));
}

#[test]
fn a_limit_among_hop_by_hop_options_is_skipped() {
    let chain = options(4, &[4, 1, 9]);
    assert_eq!(go(IpProtocol::HOPOPTS, &chain).unwrap().encap_limit, None);
}

#[test]
fn unknown_options_act_on_their_upper_two_bits() {
    let cases = [
        (0x05, None),                                 // 00: skipped
        (0x45, Some((None, None))),                   // 01: dropped
        (0x85, Some((Some((2, 42)), Some((2, 42))))), // 10: dropped and told
        (0xc2, Some((Some((2, 42)), None))),          // 11: told unless multicast (jumbogram)
    ];
    for first in [IpProtocol::HOPOPTS, IpProtocol::DST_OPTS] {
        for (kind, answer) in cases {
            let chain = options(IPV4, &[kind, 2, 7, 7]);
            let problem = go(first, &chain).err();
            let answers = problem.map(|p| (p.parameter_problem(false), p.parameter_problem(true)));
            assert_eq!(answers, answer, "{first:?} {kind:#x}");
        }
    }
}

#[test]
fn an_option_ends_inside_its_header() {
    for (body, pointer) in [
        ([0x3e, 5, 0, 0, 0, 0], 43),
        ([0, 0, 0, 0, 0, 0x3e], 47),
        ([0, 0, 0, 0, 1, 1], 47),
        ([4, 0, 0, 0, 0, 0], 43),
        ([4, 2, 9, 9, 0, 0], 43),
    ] {
        let chain = options(IPV4, &body);
        let problem = go(IpProtocol::DST_OPTS, &chain).unwrap_err();
        assert_eq!(problem, ExtProblem::OptionLength { pointer }, "{body:?}");
        assert_eq!(problem.parameter_problem(false), Some((0, pointer)));
        assert_eq!(problem.parameter_problem(true), None);
    }
}

/// RFC 8200 §4: pointer to the byte that holds the 0.
#[test]
fn hop_by_hop_elsewhere_is_an_unknown_next_header() {
    let chain = [options(0, &[]), options(IPV4, &[])].concat();
    for first in [IpProtocol::HOPOPTS, IpProtocol::DST_OPTS] {
        let problem = go(first, &chain).unwrap_err();
        assert_eq!(problem, ExtProblem::UnknownNextHeader { pointer: 40 });
        assert_eq!(problem.parameter_problem(false), Some((1, 40)));
    }
    let mut fragment = FRAGMENT;
    fragment[0] = 0;
    let chain = [fragment, options(IPV4, &[])].concat();
    let problem = go(IpProtocol::FRAGMENT, &chain).unwrap().past_fragment();
    assert_eq!(problem, Err(ExtProblem::UnknownNextHeader { pointer: 40 }));
    let problem = walk_from(IpProtocol::HOPOPTS, 40, 48, &chain[8..]).unwrap_err();
    assert_eq!(problem, ExtProblem::UnknownNextHeader { pointer: 40 });
}

/// RFC 5095 §3, RFC 8200 §4.4: pointer to the routing type.
#[test]
fn segments_left_are_refused_for_every_routing_type() {
    for kind in 0..=255 {
        let mut chain = [[60, 0, 1, 4, 0, 0, 0, 0], [IPV4, 0, kind, 1, 0, 0, 0, 0]].concat();
        let problem = go(IpProtocol::DST_OPTS, &{
            chain[0] = 43;
            chain.clone()
        })
        .unwrap_err();
        assert_eq!(problem, ExtProblem::RoutingSegments { pointer: 50 });
        assert_eq!(problem.parameter_problem(false), Some((0, 50)));
        chain[11] = 0;
        assert_eq!(go(IpProtocol::DST_OPTS, &chain).unwrap().offset, 16);
    }
}

#[test]
fn nothing_follows_no_next_header() {
    assert_eq!(go(IpProtocol(59), b"rest"), Err(ExtProblem::NoNextHeader));
    let chain = options(59, &[]);
    let problem = go(IpProtocol::DST_OPTS, &chain).unwrap_err();
    assert_eq!(problem.parameter_problem(false), None);
}

/// the walk gives the place to point at.
#[test]
fn an_unknown_upper_layer_is_named_with_its_place() {
    let chain = [options(60, &[]), options(200, &[])].concat();
    let walk = go(IpProtocol::HOPOPTS, &chain).unwrap();
    assert_eq!((walk.next, walk.next_header_at), (IpProtocol(200), 48));
}

fn chain_of(headers: usize, last: u8) -> Vec<u8> {
    let mut chain = vec![0; headers * 8];
    for header in chain.chunks_mut(8) {
        header[0] = 60;
    }
    chain[headers * 8 - 8] = last;
    chain
}

///
#[test]
fn the_ninth_header_is_too_many() {
    assert_eq!(go(IpProtocol(60), &chain_of(8, IPV4)).unwrap().offset, 64);
    assert_eq!(
        go(IpProtocol(60), &chain_of(9, IPV4)),
        Err(ExtProblem::TooMany)
    );
    // The Fragment header counts, also when the walk goes on behind it.
    let chain = [chain_of(8, 44), FRAGMENT.to_vec()].concat();
    assert_eq!(go(IpProtocol(60), &chain), Err(ExtProblem::TooMany));
    let mut fragment = FRAGMENT;
    fragment[0] = 60;
    for (before, after, fine) in [(4, 3, true), (4, 4, false), (7, 1, false)] {
        let chain = [
            chain_of(before, 44),
            fragment.to_vec(),
            chain_of(after, IPV4),
        ]
        .concat();
        let walk = go(IpProtocol(60), &chain).unwrap().past_fragment();
        assert_eq!(walk.is_ok(), fine, "{before} {after}");
    }
}

///
#[test]
fn byte_257_is_too_many() {
    let mut chain = vec![0; 300];
    chain[0] = IPV4;
    chain[1] = 31;
    assert_eq!(go(IpProtocol(60), &chain).unwrap().offset, 256);
    chain[1] = 32;
    assert_eq!(go(IpProtocol(60), &chain), Err(ExtProblem::TooMany));
    chain[1] = 30;
    chain[0] = 60;
    chain[248] = IPV4;
    assert_eq!(go(IpProtocol(60), &chain).unwrap().offset, 256);
    chain[249] = 1;
    assert_eq!(go(IpProtocol(60), &chain), Err(ExtProblem::TooMany));
}

///
#[test]
fn every_cut_inside_the_chain_is_truncated() {
    let chain = [options(43, &[4, 1, 9]), [44, 0, 4, 0, 0, 0, 0, 0], FRAGMENT].concat();
    for len in 0..chain.len() {
        let problem = go(IpProtocol::HOPOPTS, &chain[..len]).unwrap_err();
        assert_eq!(problem, ExtProblem::Truncated, "{len}");
        assert_eq!(problem.parameter_problem(false), None);
    }
    assert!(go(IpProtocol::HOPOPTS, &chain).is_ok());
}

/// R-013 and the vectors V-5 of the specification.
#[test]
fn fragment_header_bytes() {
    for (bytes, offset, more) in [
        ([4, 0, 0, 1, 0x11, 0x22, 0x33, 0x44], 0, true),
        ([4, 0, 0x05, 0xa8, 0x11, 0x22, 0x33, 0x44], 181 * 8, false),
    ] {
        let (header, rest) = FragmentHeader::split(&bytes).unwrap();
        let expected = FragmentHeader {
            next: IpProtocol::IPV4,
            offset,
            more,
            ident: 0x1122_3344,
        };
        assert_eq!(
            (header, rest, header.to_bytes()),
            (expected, &[][..], bytes)
        );
        assert!(!header.is_atomic());
        let mut reserved = bytes;
        reserved[1] = 0xff;
        reserved[3] |= 0b110;
        assert_eq!(FragmentHeader::parse(&reserved), expected);
        assert_eq!(FragmentHeader::parse(&reserved).to_bytes(), bytes);
        for len in 0..8 {
            let error = FragmentHeader::split(&bytes[..len]).unwrap_err();
            assert_eq!(error, ParseError::truncated(Layer::Fragment, 8, len));
        }
    }
}

#[test]
fn the_lower_bits_of_a_fragment_offset_are_dropped() {
    let mut header = FragmentHeader::parse(&FRAGMENT);
    header.offset = 7;
    assert_eq!(header.to_bytes(), FRAGMENT);
    assert!(header.is_atomic());
    header.offset = 8;
    assert!(!header.is_atomic());
    header.offset = 0xffff;
    assert_eq!(FragmentHeader::parse(&header.to_bytes()).offset, 0xfff8);
}
