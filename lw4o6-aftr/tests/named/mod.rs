//! Reading answers, and feeding batches, for the tests that are named after an item of a list.
#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "every test file uses a part of it, and a panic is a failed test"
)]

use std::net::{Ipv4Addr, Ipv6Addr};

use lw4o6_aftr::{Cause, Counter, DropReason, Side, Verdict};
use lw4o6_wire::checksum::verify;
use lw4o6_wire::{
    FrameBuf, HEADROOM, IpProtocol, Ipv4Packet, Ipv6Header, LinkCast, icmpv4, icmpv6,
};

use crate::common::{Bench, Outcome};

/// An IPv4 address.
pub fn addr(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}

/// An IPv6 address.
pub fn addr6(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

/// An ICMP message of the box, its lengths and checksums found right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told<A> {
    pub src: A,
    pub dst: A,
    /// Type and code.
    pub kind: (u8, u8),
    /// Second word of the header.
    pub word: u32,
    /// What follows.
    pub quote: Vec<u8>,
}

/// Reads an IPv4 packet that holds an `ICMPv4` message.
pub fn told_v4(packet: &[u8]) -> Told<Ipv4Addr> {
    let ipv4 = Ipv4Packet::split(packet).unwrap();
    assert_eq!(ipv4.total_len(), packet.len(), "no byte too many");
    assert!(ipv4.header_checksum_ok() && icmpv4::verify(ipv4.payload));
    assert_eq!(ipv4.header.protocol(), IpProtocol::ICMP);
    let icmp = ipv4.payload;
    Told {
        src: ipv4.header.src(),
        dst: ipv4.header.dst(),
        kind: (icmp[0], icmp[1]),
        word: u32::from_be_bytes([icmp[4], icmp[5], icmp[6], icmp[7]]),
        quote: icmp[8..].to_vec(),
    }
}

/// Reads an IPv6 packet that holds an `ICMPv6` message.
pub fn told_v6(packet: &[u8]) -> Told<Ipv6Addr> {
    let (outer, icmp) = Ipv6Header::split(packet).unwrap();
    assert_eq!(packet.len(), 40 + icmp.len(), "no byte too many");
    assert_eq!(outer.next_header(), IpProtocol::ICMPV6);
    assert!(icmpv6::verify(outer.src(), outer.dst(), icmp));
    Told {
        src: outer.src(),
        dst: outer.dst(),
        kind: (icmp[0], icmp[1]),
        word: u32::from_be_bytes([icmp[4], icmp[5], icmp[6], icmp[7]]),
        quote: icmp[8..].to_vec(),
    }
}

/// Ends of a tunnel packet without extension headers, and the packet inside.
pub fn open(packet: &[u8]) -> (Ipv6Addr, Ipv6Addr, Vec<u8>) {
    let (outer, inner) = Ipv6Header::split(packet).unwrap();
    assert_eq!(outer.next_header(), IpProtocol::IPV4);
    assert_eq!(packet.len(), 40 + inner.len());
    let ipv4 = Ipv4Packet::split(inner).unwrap();
    assert!(ipv4.header_checksum_ok());
    assert_eq!(ipv4.total_len(), inner.len());
    (outer.src(), outer.dst(), inner.to_vec())
}

/// Asserts an encapsulation between these ends; returns the packet inside.
pub fn to_b4(out: &Outcome, aftr: &str, b4: &str) -> Vec<u8> {
    assert_eq!(out.verdict, Verdict::Forward(Side::Softwire));
    assert!(out.outputs.is_empty());
    let (src, dst, inner) = open(&out.packet);
    assert_eq!((src, dst), (aftr.parse().unwrap(), b4.parse().unwrap()));
    inner
}

/// Asserts a decapsulation; returns the packet.
pub fn to_internet(out: &Outcome) -> Vec<u8> {
    assert_eq!(out.verdict, Verdict::Forward(Side::Internet));
    assert!(out.outputs.is_empty());
    out.packet.clone()
}

/// The packet one router later.
pub fn one_hop_on(packet: &[u8]) -> Vec<u8> {
    let mut packet = packet.to_vec();
    lw4o6_wire::ipv4::decrement_ttl(lw4o6_wire::ipv4::header_mut(&mut packet).unwrap());
    assert!(verify(&packet[..20]) || packet[0] != 0x45);
    packet
}

/// Asserts an `ICMPv4` answer to `side`, bare or in the tunnel to a B4.
pub fn answer_v4(out: &Outcome, side: Side, reason: DropReason) -> Told<Ipv4Addr> {
    let cause = Cause::Dropped(reason);
    assert_eq!(out.verdict, Verdict::Reply(side, cause));
    assert!(out.outputs.is_empty());
    match side {
        Side::Internet => told_v4(&out.packet),
        Side::Softwire => told_v4(&open(&out.packet).2),
    }
}

/// Asserts an `ICMPv6` answer.
pub fn answer_v6(out: &Outcome, reason: DropReason) -> Told<Ipv6Addr> {
    let cause = Cause::Dropped(reason);
    assert_eq!(out.verdict, Verdict::Reply(Side::Softwire, cause));
    assert!(out.outputs.is_empty());
    told_v6(&out.packet)
}

/// Asserts silence.
pub fn dropped(out: &Outcome, reason: DropReason) {
    assert_eq!(out.verdict, Verdict::Drop(reason));
    assert!(out.outputs.is_empty());
}

/// Feeds packets in batches of `size`.
pub fn in_batches(bench: &mut Bench, side: Side, packets: &[Vec<u8>], size: usize) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    for packets in packets.chunks(size) {
        let mut storage: Vec<Vec<u8>> = packets
            .iter()
            .map(|packet| vec![0; HEADROOM + packet.len() + 64])
            .collect();
        let mut frames: Vec<FrameBuf<'_>> = storage
            .iter_mut()
            .zip(packets)
            .map(|(storage, packet)| FrameBuf::with_headroom(storage, HEADROOM, packet).unwrap())
            .collect();
        let mut verdicts = vec![Verdict::Consumed; packets.len()];
        let mut first = 0;
        while first < packets.len() {
            let (frames, verdicts) = (&mut frames[first..], &mut verdicts[first..]);
            let taken = bench
                .worker
                .process_batch(bench.now, side, frames, verdicts);
            assert!(taken > 0, "an empty queue has room for one frame");
            let mut made: Vec<Outcome> = frames[..taken]
                .iter()
                .zip(verdicts.iter())
                .map(|(frame, verdict)| Outcome {
                    verdict: *verdict,
                    packet: frame.packet().to_vec(),
                    outputs: Vec::new(),
                })
                .collect();
            for (mut output, packet) in bench.drain() {
                let after = std::mem::take(&mut output.after);
                made[after].outputs.push((output, packet));
            }
            outcomes.append(&mut made);
            first += taken;
        }
    }
    outcomes
}

/// Everything counted, to compare.
pub fn counted(bench: &Bench) -> Vec<(&'static str, u64)> {
    bench.worker.counters().iter().collect()
}

/// What the counters of the frames say must be what came in.
pub fn books_close(bench: &Bench) {
    let get = |counter| bench.counter(counter);
    let dropped = bench.worker.counters().dropped();
    assert_eq!(
        get(Counter::ReceivedSoftwire) + get(Counter::ReceivedInternet),
        get(Counter::Forwarded)
            + get(Counter::Replied)
            + get(Counter::Echoed)
            + get(Counter::Local)
            + get(Counter::Consumed)
            + get(Counter::Dropped)
    );
    assert_eq!(
        dropped,
        get(Counter::Dropped)
            + get(Counter::LateDropped)
            + get(Counter::Replied)
            + get(Counter::LateReplied)
            + get(Counter::Discarded)
    );
}

/// Feeds a packet that has to be refused; its reason must move by exactly one, and the totals with it.
///
pub fn refused(bench: &mut Bench, side: Side, packet: &[u8], reason: DropReason) -> Outcome {
    let before = bench.worker.counters();
    let out = bench.feed(side, packet);
    let after = bench.worker.counters();
    let answered = out.verdict == Verdict::Reply(side, Cause::Dropped(reason))
        || matches!(out.verdict, Verdict::Reply(_, Cause::Dropped(r)) if r == reason);
    assert!(
        answered || out.verdict == Verdict::Drop(reason),
        "{reason}: {:?}",
        out.verdict
    );
    assert!(out.outputs.is_empty());
    for other in DropReason::ALL {
        let moved = after.drops(*other) - before.drops(*other);
        assert_eq!(moved, u64::from(*other == reason), "{other}");
    }
    assert_eq!(after.dropped(), before.dropped() + 1);
    let moved = |counter| after.get(counter) - before.get(counter);
    let (packets, bytes) = match side {
        Side::Softwire => (Counter::DroppedIpv6Packets, Counter::DroppedIpv6Bytes),
        Side::Internet => (Counter::DroppedIpv4Packets, Counter::DroppedIpv4Bytes),
    };
    assert_eq!((moved(packets), moved(bytes)), (1, packet.len() as u64));
    assert_eq!(moved(Counter::Replied), u64::from(answered));
    assert_eq!(moved(Counter::Dropped), u64::from(!answered));
    for sent in [Counter::SentIpv4Packets, Counter::SentIpv6Packets] {
        assert_eq!(moved(sent), 0, "{reason}");
    }
    let errors = moved(Counter::OutIcmpv4ErrorPackets) + moved(Counter::OutIcmpv6ErrorPackets);
    assert_eq!(errors, u64::from(answered));
    books_close(bench);
    out
}

/// The same, in silence, and the frame as it was.
pub fn silent(bench: &mut Bench, side: Side, packet: &[u8], reason: DropReason) {
    let out = refused(bench, side, packet, reason);
    assert_eq!(out.verdict, Verdict::Drop(reason));
}

/// Feeds a packet that came in a frame to a group of stations.
pub fn in_group_frame(bench: &mut Bench, side: Side, packet: &[u8]) -> Verdict {
    let mut storage = vec![0; HEADROOM + packet.len() + 64];
    let mut frame = FrameBuf::with_headroom(&mut storage, HEADROOM, packet).unwrap();
    frame.set_link_cast(LinkCast::Group);
    bench.worker.process(bench.now, side, &mut frame)
}

/// The flow label of an IPv6 packet.
pub fn label(packet: &[u8]) -> u32 {
    u32::from_be_bytes([0, packet[1] & 15, packet[2], packet[3]])
}
