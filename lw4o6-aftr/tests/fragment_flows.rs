//! Many datagrams in fragments at once, over links that reorder, lose and repeat.

mod common;

use common::fragments::books;
use common::{AFTR, B4, B4_NEXT, B4_RANGE, Bench};
use lw4o6_aftr::{Destination, DropReason, Side, Verdict};
use proptest::prelude::*;
use testkit::packet::{V4, tunnel, v6};

/// How a datagram travels.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// From a B4, cut by its tunnel.
    TunnelCut,
    /// From a B4, cut before its tunnel.
    InnerCut,
    /// From a B4, cut before its tunnel and by it.
    BothCut,
    /// From a B4 to another one, cut before its tunnel.
    Hairpin,
    /// From the Internet.
    Down,
}

const WAYS: [Way; 5] = [
    Way::TunnelCut,
    Way::InnerCut,
    Way::BothCut,
    Way::Hairpin,
    Way::Down,
];

/// A frame and the side it is on.
type Frame = (Side, Vec<u8>);

/// A datagram on its way.
#[derive(Clone, Debug)]
struct Datagram {
    frames: Vec<Frame>,
    /// What has to leave; a tunnel packet without its header, which `to` stands for.
    expected: Vec<(Option<&'static str>, Vec<u8>)>,
}

fn datagram(way: Way, ident: u16, len: usize, cut: usize) -> Datagram {
    let payload: Vec<u8> = (0..len)
        .map(|i| (i + usize::from(ident)).to_le_bytes()[0])
        .collect();
    let (b4, socket) = match ident % 3 {
        0 => (B4, "192.0.2.18:1232"),
        1 => (B4_NEXT, "192.0.2.18:1236"),
        _ => (B4_RANGE, "192.0.2.21:5120"),
    };
    let (src, dst, to) = match way {
        Way::TunnelCut | Way::InnerCut | Way::BothCut => (socket, "198.51.100.1:53", None),
        Way::Hairpin => (socket, "192.0.2.18:1233", Some(B4)),
        Way::Down => ("198.51.100.1:53", socket, Some(b4)),
    };
    let packet = V4::udp(src, dst).payload(&payload).ident(ident);
    let outer = |inner: &[u8]| tunnel(b4, AFTR, inner);
    let whole = (Side::Softwire, vec![packet.build()]);
    let pieces = (Side::Softwire, packet.fragments(cut));
    let (side, inner) = match way {
        Way::TunnelCut => whole,
        Way::InnerCut | Way::BothCut | Way::Hairpin => pieces,
        Way::Down => (Side::Internet, pieces.1),
    };
    let frames = (0u32..).zip(&inner).flat_map(|(n, inner)| match way {
        Way::TunnelCut | Way::BothCut => {
            outer(inner).fragments(cut / 16 * 8, u32::from(ident) << 8 | n)
        }
        Way::InnerCut | Way::Hairpin => vec![outer(inner).build()],
        Way::Down => vec![inner.clone()],
    });
    let frames = frames.map(|frame| (side, frame)).collect();
    let gone = packet.ttl(63);
    let gone = match way {
        Way::TunnelCut => vec![gone.build()],
        Way::InnerCut | Way::BothCut | Way::Hairpin | Way::Down => gone.fragments(cut),
    };
    Datagram {
        frames,
        expected: gone.into_iter().map(|packet| (to, packet)).collect(),
    }
}

fn any_datagrams() -> impl Strategy<Value = Vec<Datagram>> {
    let one = (prop::sample::select(&WAYS[..]), 300usize..1400, 8usize..60);
    let several = prop::collection::vec(one, 1..12);
    several.prop_map(|all| {
        (1u16..)
            .zip(all)
            .map(|(ident, (way, len, units))| datagram(way, ident, len, 16 * units))
            .collect()
    })
}

/// Feeds frames; returns what left, with the B4 it went to.
fn feed(bench: &mut Bench, frames: &[&Frame]) -> Vec<(Option<[u8; 16]>, Vec<u8>)> {
    let mut left = Vec::new();
    let mut leave = |side: Side, packet: &[u8]| match side {
        Side::Internet => left.push((None, packet.to_vec())),
        Side::Softwire => {
            let to = packet.get(24..40).and_then(|to| to.try_into().ok());
            left.push((to, packet.get(40..).unwrap_or_default().to_vec()));
        }
    };
    for (side, packet) in frames {
        let out = bench.feed(*side, packet);
        if let Verdict::Forward(side) = out.verdict {
            leave(side, &out.packet);
        }
        for (output, packet) in out.outputs {
            if let Destination::Side(side) = output.to {
                leave(side, &packet);
            }
        }
    }
    left
}

fn expected(datagrams: &[Datagram]) -> Vec<(Option<[u8; 16]>, Vec<u8>)> {
    let all = datagrams.iter().flat_map(|datagram| &datagram.expected);
    all.map(|(to, packet)| (to.map(|to| v6(to).octets()), packet.clone()))
        .collect()
}

/// How often a law is tried; scales with the environment variable `LW4O6_SCALE`.
fn cases() -> ProptestConfig {
    let scale = std::env::var("LW4O6_SCALE").ok();
    let scale = scale.and_then(|text| text.parse().ok()).unwrap_or(1u32);
    ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(128 * scale)
    }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn everything_arrives_once_whatever_the_order(
        (datagrams, order) in any_datagrams().prop_flat_map(|datagrams| {
            let frames: usize = datagrams.iter().map(|d| d.frames.len()).sum();
            let order = Just((0..frames).collect::<Vec<_>>()).prop_shuffle();
            (Just(datagrams), order)
        }),
    ) {
        // R-126 R-141 R-142 R-143
        let frames: Vec<&Frame> = datagrams.iter().flat_map(|d| &d.frames).collect();
        let frames: Vec<&Frame> = order.iter().map(|&at| frames[at]).collect();
        let mut bench = Bench::new();
        let mut left = feed(&mut bench, &frames);
        let mut expected = expected(&datagrams);
        left.sort();
        expected.sort();
        prop_assert_eq!(left, expected);
        prop_assert_eq!(bench.worker.poll_timeout(), None);
        books(&bench, 0);
    }

    #[test]
    fn nothing_else_arrives_whatever_is_lost_or_repeated(
        datagrams in any_datagrams(),
        picks in prop::collection::vec((any::<prop::sample::Index>(), 0u64..9_000), 1..120),
    ) {
        // R-138 T-16
        let frames: Vec<&Frame> = datagrams.iter().flat_map(|d| &d.frames).collect();
        let expected = expected(&datagrams);
        let mut bench = Bench::with(|config| {
            config.reassembly.contexts = 4;
            config.fragments.contexts = 4;
            config.reassembly.bytes_per_b4 = 4096;
            config.fragments.bytes_per_source = 4096;
        });
        for (pick, wait) in picks {
            let left = feed(&mut bench, &[frames[pick.index(frames.len())]]);
            for packet in left {
                prop_assert!(expected.contains(&packet), "{packet:?}");
            }
            for (_, packet) in bench.pass(wait) {
                prop_assert_eq!(&packet[40..42], &[3, 1]); // the time ran out
            }
        }
        bench.pass(60_000);
        prop_assert_eq!(bench.worker.poll_timeout(), None);
        prop_assert_eq!(bench.drops(DropReason::Internal), 0);
        prop_assert_eq!(bench.drops(DropReason::OutputFull), 0);
        books(&bench, 0);
    }
}
