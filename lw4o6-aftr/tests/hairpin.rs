//! From one B4 to another.

mod common;

use common::{AFTR, AFTR2, B4, B4_FULL, B4_RANGE, B4_RANGE9, Bench, OTHER_AFTR_B4};
use lw4o6_aftr::config::{Hairpin, UnboundDestination};
use lw4o6_aftr::{Cause, Counter, DropReason, Side, Verdict};
use testkit::packet::{V4, tunnel, v6};

fn inner() -> V4 {
    V4::udp("192.0.2.21:5121", "192.0.2.21:9217").payload(b"neighbor")
}

#[test]
fn a_packet_changes_tunnels_and_ages_once() {
    // R-112 R-114 R-117: VPP probe 12
    let mut bench = Bench::new();
    let inner = inner().tos(0x02);
    let sent = tunnel(B4_RANGE, AFTR, &inner.build())
        .traffic_class(0x03)
        .build();
    let out = bench.softwire(&sent);
    assert_eq!(out.verdict, Verdict::Forward(Side::Softwire));
    assert_eq!(out.packet[8..24], v6(AFTR).octets());
    assert_eq!(out.packet[24..40], v6(B4_RANGE9).octets());
    // The mark of the first tunnel goes into the second.
    assert_eq!(out.packet[1] >> 4, 3);
    assert_eq!(out.packet[40..], inner.tos(3).ttl(63).build());
    assert_eq!(bench.counter(Counter::HairpinIpv4Packets), 1);
    assert_eq!(bench.counter(Counter::HairpinIpv4Bytes), 36);
    for counter in [
        Counter::SentIpv4Packets,
        Counter::SentIpv6Packets,
        Counter::RcvdIpv4Packets,
    ] {
        assert_eq!(bench.counter(counter), 0, "{counter:?}");
    }
}

#[test]
fn the_second_tunnel_has_its_own_aftr() {
    let mut bench = Bench::new();
    let inner = V4::udp("192.0.2.21:5121", "192.0.2.22:20000").build();
    let out = bench.softwire(&tunnel(B4_RANGE, AFTR, &inner).build());
    assert_eq!(out.packet[8..24], v6(AFTR2).octets());
    assert_eq!(out.packet[24..40], v6(OTHER_AFTR_B4).octets());
}

#[test]
fn the_source_is_checked_first() {
    //
    let mut bench = Bench::new();
    let out = bench.softwire(&tunnel(B4, AFTR, &inner().build()).build());
    let cause = Cause::Dropped(DropReason::WrongIpv4);
    assert_eq!(out.verdict, Verdict::Reply(Side::Softwire, cause));
}

#[test]
fn nobody_there_is_told_through_the_tunnel() {
    //
    let mut bench = Bench::new();
    let inner = V4::udp("192.0.2.21:5121", "192.0.2.21:1");
    let sent = tunnel(B4_RANGE, AFTR, &inner.build()).build();
    let out = bench.softwire(&sent);
    let cause = Cause::Dropped(DropReason::NoBinding);
    assert_eq!(out.verdict, Verdict::Reply(Side::Softwire, cause));
    assert_eq!(out.packet[24..40], v6(B4_RANGE).octets());
    assert_eq!(out.packet[60..62], [3, 1]);
    assert_eq!(out.packet[68..], inner.build());
    let ping = V4::echo(8, "192.0.2.21", "192.0.2.18", 5121).build();
    let out = bench.softwire(&tunnel(B4_RANGE, AFTR, &ping).build());
    assert_eq!(out.verdict, Verdict::Drop(DropReason::Icmpv4NoBinding));
    bench.turn(|config| config.unbound_destination = UnboundDestination::Discard);
    let out = bench.softwire(&sent);
    assert_eq!(out.verdict, Verdict::Drop(DropReason::NoBinding));
}

#[test]
fn ttl_and_size_are_told_through_the_tunnel_of_the_sender() {
    // R-115 R-120
    let mut bench = Bench::new();
    let out = bench.softwire(&tunnel(B4_RANGE, AFTR, &inner().ttl(1).build()).build());
    let cause = Cause::Dropped(DropReason::TtlExpired);
    assert_eq!(out.verdict, Verdict::Reply(Side::Softwire, cause));
    assert_eq!(out.packet[24..40], v6(B4_RANGE).octets());
    let big = inner().payload(&[0; 2000]).df();
    let out = bench.softwire(&tunnel(B4_RANGE, AFTR, &big.build()).build());
    let cause = Cause::Dropped(DropReason::TooBig);
    assert_eq!(out.verdict, Verdict::Reply(Side::Softwire, cause));
    assert_eq!(out.packet[24..40], v6(B4_RANGE).octets());
    assert_eq!(out.packet[66..68], 1500_u16.to_be_bytes());
    let out = bench.softwire(&tunnel(B4_RANGE, AFTR, &inner().payload(&[0; 2000]).build()).build());
    assert_eq!(out.verdict, Verdict::Forward(Side::Softwire));
    assert_eq!(out.packets().len(), 2);
}

#[test]
fn the_policy_has_three_values() {
    //
    let mut bench = Bench::with(|config| config.hairpin = Hairpin::ToIpv4Side);
    let sent = tunnel(B4_RANGE, AFTR, &inner().build()).build();
    let out = bench.softwire(&sent);
    assert_eq!(out.verdict, Verdict::Forward(Side::Internet));
    assert_eq!(out.packet, inner().ttl(63).build());
    bench.turn(|config| config.hairpin = Hairpin::Drop);
    assert_eq!(
        bench.softwire(&sent).verdict,
        Verdict::Drop(DropReason::HairpinOff)
    );
    // an error of ours goes into the tunnel all the same.
    let out = bench.softwire(&tunnel(B4_RANGE, AFTR, &inner().ttl(1).build()).build());
    assert_eq!(out.verdict, Verdict::Drop(DropReason::HairpinOff));
    let away = V4::udp("192.0.2.21:5121", "198.51.100.1:1").ttl(1).build();
    let out = bench.softwire(&tunnel(B4_RANGE, AFTR, &away).build());
    assert!(matches!(out.verdict, Verdict::Reply(Side::Softwire, _)));
}

#[test]
fn pings_and_errors_between_subscribers_pass_both_checks() {
    let mut bench = Bench::new();
    let ping = V4::echo(8, "192.0.2.20", "192.0.2.21", 9217).build();
    let out = bench.softwire(&tunnel(B4_FULL, AFTR, &ping).build());
    assert_eq!(out.packet[24..40], v6(B4_RANGE9).octets());
    let about = V4::udp("192.0.2.21:9217", "192.0.2.21:5121").build();
    let error = V4::icmp_error("192.0.2.21", "192.0.2.21", 3, 3, &about).build();
    let out = bench.softwire(&tunnel(B4_RANGE, AFTR, &error).build());
    assert_eq!(out.verdict, Verdict::Forward(Side::Softwire));
    assert_eq!(out.packet[24..40], v6(B4_RANGE9).octets());
}

#[test]
fn fragments_between_subscribers_follow_their_first() {
    // R-112 R-141 R-142
    for (b4, src) in [(B4_RANGE, "192.0.2.21:5121"), (B4_FULL, "192.0.2.20:1")] {
        for backwards in [false, true] {
            let mut bench = Bench::new();
            let packet = V4::udp(src, "192.0.2.18:1232").payload(&[8; 3000]);
            let mut pieces = packet.fragments(1024);
            if backwards {
                pieces.reverse();
            }
            let mut got: Vec<Vec<u8>> = Vec::new();
            for piece in &pieces {
                let out = bench.softwire(&tunnel(b4, AFTR, piece).build());
                match out.verdict {
                    Verdict::Forward(Side::Softwire) => {
                        got.extend(out.packets().iter().map(|p| p.to_vec()));
                    }
                    Verdict::Consumed => assert!(out.outputs.is_empty() && backwards),
                    other @ (Verdict::Forward(_)
                    | Verdict::Reply(..)
                    | Verdict::Local(_)
                    | Verdict::Drop(_)) => panic!("{other:?}"),
                }
            }
            assert_eq!(got.len(), 3);
            assert!(got.iter().all(|p| p[24..40] == v6(B4).octets()));
            got.sort_by_key(|p| u16::from_be_bytes([p[46], p[47]]) & 0x1fff);
            let l4: Vec<u8> = got.iter().flat_map(|p| p[60..].to_vec()).collect();
            assert_eq!(l4, packet.l4);
        }
    }
}
