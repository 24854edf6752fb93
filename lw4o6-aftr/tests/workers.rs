//! Workers of one instance share its fragment memory.
#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a panic is a failed test"
)]

mod common;

use common::traffic::{Dice, scale};
use common::{AFTR, B4_FULL, BINDINGS, config, table};
use lw4o6_aftr::config::FragmentHandling;
use lw4o6_aftr::{Aftr, AftrConfig, Counter, DropReason, Side, Verdict, Worker};
use lw4o6_binding::table::TableWriter;
use lw4o6_wire::{FrameBuf, HEADROOM, Instant};
use testkit::packet::{V4, tunnel};

const BUDGET: usize = 256 << 10;

/// What a fragment of 1,000 bytes takes.
const COST: usize = 1024;

struct Pair {
    aftr: Aftr,
    workers: [Worker; 2],
    now: Instant,
    ident: u32,
    _writer: TableWriter,
}

impl Pair {
    fn new(knobs: impl FnOnce(&mut AftrConfig)) -> Self {
        let (writer, shared) = table(BINDINGS, &[]);
        let mut config = config();
        config.path_mru = 4000;
        config.reassembly.bytes = BUDGET;
        config.reassembly.bytes_per_b4 = 2 * BUDGET;
        config.reassembly.contexts = 1 << 14;
        config.fragments.bytes = BUDGET;
        config.fragments.bytes_per_source = 2 * BUDGET;
        config.fragments.contexts = 1 << 14;
        knobs(&mut config);
        let aftr = Aftr::new(config, shared, [42; 32]).unwrap();
        let workers = [aftr.worker().unwrap(), aftr.worker().unwrap()];
        Self {
            aftr,
            workers,
            now: Instant::from_secs(1000),
            ident: 0,
            _writer: writer,
        }
    }

    fn feed(&mut self, at: usize, side: Side, packet: &[u8]) -> Verdict {
        let mut storage = vec![0; HEADROOM + packet.len()];
        let mut frame = FrameBuf::with_headroom(&mut storage, HEADROOM, packet).unwrap();
        self.workers[at].process(self.now, side, &mut frame)
    }

    /// The last fragment of a tunnel packet, which is held.
    fn tunnel_piece(&mut self, at: usize) -> Verdict {
        self.ident += 1;
        let inner = V4::udp("192.0.2.20:80", "198.51.100.1:53").payload(&[0; 2172]);
        // 1,200 bytes and 1,000 of the packet of 2,200.
        let pieces = tunnel(B4_FULL, AFTR, &inner.build()).fragments(1248, self.ident);
        self.feed(at, Side::Softwire, &pieces[1])
    }

    /// The last fragment of an IPv4 packet, which is held.
    fn ipv4_piece(&mut self, at: usize) -> Verdict {
        self.ident += 1;
        let ident = u16::try_from(self.ident % 0xffff).unwrap();
        let packet = V4::udp("198.51.100.1:53", "192.0.2.18:1232").payload(&[0; 1952]);
        let pieces = packet.ident(ident).fragments(980);
        self.feed(at, Side::Internet, &pieces[1])
    }

    /// Fragments that worker `at` holds of one kind until it takes no more.
    fn fill(
        &mut self,
        at: usize,
        piece: fn(&mut Self, usize) -> Verdict,
        full: DropReason,
    ) -> usize {
        let mut held = 0;
        loop {
            let verdict = piece(self, at);
            if verdict != Verdict::Consumed {
                assert_eq!(verdict, Verdict::Drop(full));
                return held;
            }
            held += 1;
        }
    }

    fn expire(&mut self) {
        self.now += core::time::Duration::from_secs(100);
        for worker in &mut self.workers {
            worker.handle_timeout(self.now);
        }
    }

    fn held(&self) -> u64 {
        let of = |counter| self.aftr.counters().get(counter);
        of(Counter::Consumed) - of(Counter::Discarded)
    }
}

/// For both mechanisms, and for IPv4 both ways: the kind of piece, the knob, the reason when full and
/// the part of the budget that one side may have.
type Kind = (
    fn(&mut Pair, usize) -> Verdict,
    fn(&mut AftrConfig),
    DropReason,
    usize,
);

fn kinds() -> [Kind; 3] {
    let tight = |config: &mut AftrConfig| config.reassembly.contexts = 1 << 14;
    let reassemble = |config: &mut AftrConfig| {
        config.fragments.handling = FragmentHandling::Reassemble;
    };
    [
        (
            Pair::tunnel_piece,
            tight,
            DropReason::Ipv6ReassemblyFull,
            BUDGET,
        ),
        (
            Pair::ipv4_piece,
            |_| {},
            DropReason::Ipv4FragmentFull,
            BUDGET / 4 * 3,
        ),
        (
            Pair::ipv4_piece,
            reassemble,
            DropReason::Ipv4FragmentFull,
            BUDGET / 2,
        ),
    ]
}

#[test]
fn one_worker_holds_nearly_all_while_the_other_is_idle() {
    for (piece, knobs, full, budget) in kinds() {
        let mut pair = Pair::new(knobs);
        if budget == BUDGET / 2 {
            continue; // the oldest gives way, so that nothing is refused
        }
        assert_eq!(pair.fill(0, piece, full), budget / COST);
        assert_eq!(pair.fill(1, piece, full), 0, "nothing is left");
        pair.expire();
        // The first keeps a chunk at most, and it is an idle worker's.
        let kept = 1 + budget / 64 / COST;
        let other = pair.fill(1, piece, full);
        assert!(other >= budget / COST - kept, "{other}");
        assert!(pair.fill(0, piece, full) + other <= budget / COST);
    }
}

#[test]
fn together_they_never_hold_more_than_the_budget() {
    for seed in 1..=scale() {
        for (piece, knobs, full, budget) in kinds() {
            let mut pair = Pair::new(knobs);
            let mut dice = Dice(seed);
            let (mut most, mut refused) = (0, 0);
            for step in 1..=3000 {
                let at = usize::from(dice.roll(3) == 0);
                let verdict = piece(&mut pair, at);
                if verdict != Verdict::Consumed {
                    assert_eq!(verdict, Verdict::Drop(full));
                    refused += 1;
                }
                most = most.max(pair.held());
                assert!(pair.held() <= u64::try_from(budget / COST).unwrap());
                // Those refused leave contexts behind, of which one source has 1,024.
                if step % 1000 == 0 || dice.roll(1000) == 0 {
                    pair.expire();
                }
            }
            assert!(
                most * 5 > u64::try_from(budget / COST).unwrap() * 4,
                "{most}"
            );
            // Where the oldest gives way nobody is refused.
            assert!(refused > 0 || budget == BUDGET / 2);
        }
    }
}

#[test]
fn a_worker_that_goes_leaves_its_share() {
    let mut pair = Pair::new(|_| {});
    let (piece, full) = (Pair::tunnel_piece, DropReason::Ipv6ReassemblyFull);
    assert_eq!(pair.fill(0, piece, full), BUDGET / COST);
    assert_eq!(pair.fill(1, piece, full), 0);
    pair.workers[0] = pair.aftr.worker().unwrap();
    assert_eq!(pair.fill(1, piece, full), BUDGET / COST);
}

#[test]
fn memory_that_others_hold_counts_as_used() {
    // beyond the half, only fragments from B4s with a binding get in.
    let mut pair = Pair::new(|_| {});
    for _ in 0..=BUDGET / COST / 2 {
        assert_eq!(pair.tunnel_piece(0), Verdict::Consumed);
    }
    let inner = V4::udp("192.0.2.20:80", "198.51.100.1:53").payload(&[0; 2172]);
    let stranger = tunnel("2001:db8:dead::1", AFTR, &inner.build()).fragments(1248, 1);
    for at in [0, 1] {
        let verdict = pair.feed(at, Side::Softwire, &stranger[1]);
        assert_eq!(verdict, Verdict::Drop(DropReason::Ipv6ReassemblyFull));
        assert_eq!(pair.tunnel_piece(at), Verdict::Consumed);
    }
}

#[test]
fn either_side_leaves_the_other_its_quarter_whichever_worker_it_is_on() {
    let mut pair = Pair::new(|_| {});
    let full = DropReason::Ipv4FragmentFull;
    let one_side = pair.fill(0, Pair::ipv4_piece, full);
    assert_eq!(one_side, BUDGET / COST / 4 * 3);
    assert_eq!(pair.fill(1, Pair::ipv4_piece, full), 0);
    let mut other_side = 0;
    for ident in 0..200 {
        let packet = V4::udp("192.0.2.18:1232", "198.51.100.1:53").payload(&[0; 1912]);
        let inner = packet.ident(ident).fragments(960);
        let piece = tunnel(common::B4, AFTR, &inner[1]).build();
        other_side += usize::from(pair.feed(1, Side::Softwire, &piece) == Verdict::Consumed);
    }
    assert_eq!(other_side, BUDGET / COST / 4);
}
