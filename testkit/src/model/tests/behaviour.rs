//! What the model does with packets that others got wrong (spec section 22).

use core::net::Ipv4Addr;

use super::*;
use crate::model::packet::{build_v4, build_v6, fix_v4, put16};

const REMOTE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
const PUBLIC: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 18);

/// Eight bytes of UDP header and four of data.
fn udp(src: u16, dst: u16) -> Vec<u8> {
    [
        &src.to_be_bytes()[..],
        &dst.to_be_bytes(),
        &[0, 12, 0, 0, 1, 2, 3, 4],
    ]
    .concat()
}

fn icmp(kind: u8, code: u8, rest: u32, body: &[u8]) -> Vec<u8> {
    let mut message = vec![kind, code, 0, 0];
    message.extend(rest.to_be_bytes());
    message.extend(body);
    let sum = internet_checksum(&message);
    put16(&mut message, 2, sum.into());
    message
}

fn tunnelled(binding: &ModelBinding, tc: u8, inner: &[u8]) -> Vec<u8> {
    build_v6(tc, 0, 4, 64, (binding.b4, binding.aftr), inner)
}

/// Another subscriber on the same address: ports 1236-1239 and so on.
fn neighbor() -> ModelBinding {
    ModelBinding {
        b4: "2001:db8:12:3400:0:c000:212:35".parse().unwrap(),
        psid: 0x35,
        ..binding()
    }
}

fn two(config: ModelConfig) -> Model {
    Model::new(config, vec![binding(), neighbor()])
}

#[test]
fn a_hairpinned_packet_loses_one_ttl() {
    // T-13
    let inner = build_v4(0, 64, 17, PUBLIC, PUBLIC, &udp(1232, 1236));
    let packet = tunnelled(&binding(), 0, &inner);
    let outcome = two(config()).process(0, ModelSide::Softwire, &packet);
    assert_eq!(outcome.verdict, ModelVerdict::Forward(ModelSide::Softwire));
    let frame = outcome.frame.unwrap();
    assert_eq!(frame[24..40], neighbor().b4.octets());
    assert_eq!(frame[40 + 8], 63);
    assert_eq!(internet_checksum(&frame[40..60]), 0);
}

#[test]
fn a_hairpinned_packet_for_nobody_is_answered_through_its_own_tunnel() {
    //
    let inner = build_v4(0, 64, 17, PUBLIC, PUBLIC, &udp(1232, 1240));
    let packet = tunnelled(&binding(), 0, &inner);
    let outcome = two(config()).process(0, ModelSide::Softwire, &packet);
    assert_eq!(outcome.verdict, ModelVerdict::Reply(ModelSide::Softwire));
    assert_eq!(outcome.reason, Some("no-binding"));
    let frame = outcome.frame.unwrap();
    assert_eq!(frame[24..40], binding().b4.octets());
    assert_eq!(frame[40 + 12..40 + 16], [192, 0, 0, 1]);
    assert_eq!(frame[60..62], [3, 1]);
    assert!(frame.ends_with(&inner));
}

#[test]
fn a_complaint_of_a_b4_is_checked_by_the_port_it_got_the_packet_on() {
    // R-082, T-7: the embedded destination port is the subscriber's, not the source port.
    for (port, verdict) in [
        (1232, ModelVerdict::Forward(ModelSide::Internet)),
        (1236, ModelVerdict::Drop),
    ] {
        let about = build_v4(0, 9, 17, REMOTE, PUBLIC, &udp(53, port));
        let inner = build_v4(0, 64, 1, PUBLIC, REMOTE, &icmp(3, 3, 0, &about));
        let packet = tunnelled(&binding(), 0, &inner);
        let outcome = two(config()).process(0, ModelSide::Softwire, &packet);
        assert_eq!(outcome.verdict, verdict); // no 1/5 either
    }
}

#[test]
fn an_error_from_the_internet_follows_the_embedded_source() {
    //
    let quotes = [
        build_v4(0, 9, 17, PUBLIC, REMOTE, &udp(1236, 53)),
        build_v4(0, 9, 1, PUBLIC, REMOTE, &icmp(8, 0, 1236 << 16, &[])),
    ];
    for quote in quotes {
        let packet = build_v4(0, 64, 1, REMOTE, PUBLIC, &icmp(11, 0, 0, &quote));
        let outcome = two(config()).process(0, ModelSide::Internet, &packet);
        assert_eq!(outcome.frame.unwrap()[24..40], neighbor().b4.octets());
    }
}

#[test]
fn ecn_marks_meet_as_in_the_table() {
    // rows inner, columns outer, both 00 01 10 11
    let table = [
        [Some(0), Some(0), Some(0), None],
        [Some(1), Some(1), Some(1), Some(3)],
        [Some(2), Some(1), Some(2), Some(3)],
        [Some(3), Some(3), Some(3), Some(3)],
    ];
    for (inner, row) in (0u8..).zip(table) {
        for (outer, result) in (0u8..).zip(row) {
            let packet = build_v4(inner, 64, 17, PUBLIC, REMOTE, &udp(1232, 53));
            let packet = tunnelled(&binding(), 46 << 2 | outer, &packet);
            let outcome = model(config()).process(0, ModelSide::Softwire, &packet);
            let tos = outcome.frame.map(|frame| frame[1]);
            assert_eq!(tos, result.map(|ecn| 46 << 2 | ecn), "{inner} {outer}");
        }
    }
}

#[test]
fn a_tunnel_error_reaches_the_sender() {
    // T-4: MTU less 40, nothing left over in the unused bytes.
    let mut inner = build_v4(0, 63, 17, REMOTE, PUBLIC, &udp(53, 1232));
    put16(&mut inner, 6, 0x4000);
    fix_v4(&mut inner);
    let quote = build_v6(0, 0, 4, 60, (binding().aftr, binding().b4), &inner);
    for (kind, word, expected) in [
        (2, 1400u32, [3, 4, 0, 0, 0x05, 0x50]),
        (1, 0xdead_beef, [3, 1, 0, 0, 0, 0]),
    ] {
        let mut message = vec![kind, 0, 0, 0];
        message.extend(word.to_be_bytes());
        message[4] = 0; // no RFC 4884 length
        message.extend(&quote);
        let ends = ("2001:db8:77::1".parse().unwrap(), binding().aftr);
        let sum = icmpv6_checksum(ends.0, ends.1, &message);
        put16(&mut message, 2, sum.into());
        let packet = build_v6(0, 0, 58, 60, ends, &message);
        let outcome = model(config()).process(0, ModelSide::Softwire, &packet);
        assert_eq!(outcome.verdict, ModelVerdict::Forward(ModelSide::Internet));
        let frame = outcome.frame.unwrap();
        let shown = [
            frame[20], frame[21], frame[24], frame[25], frame[26], frame[27],
        ];
        assert_eq!(shown, expected);
        assert_eq!(frame[16..20], REMOTE.octets());
        assert!(frame.ends_with(&inner));
        // the same about a packet that would not have gone to this B4.
        let mut forged = packet.clone();
        let at = forged.len() - 9;
        forged[at] ^= 0x04;
        forged[41 + 1] = 0;
        forged[43] = 0;
        put16(&mut forged, 42, 0);
        let sum = icmpv6_checksum(ends.0, ends.1, &forged[40..]);
        put16(&mut forged, 42, sum.into());
        let outcome = model(config()).process(0, ModelSide::Softwire, &forged);
        assert_eq!(outcome.reason, Some("icmpv6-quote-foreign"));
    }
}

#[test]
fn protocols_without_ports_stay_out_of_shared_addresses() {
    // the first bytes of ESP are no ports.
    let packet = build_v4(0, 64, 50, REMOTE, PUBLIC, &udp(53, 1232));
    let outcome = model(config()).process(0, ModelSide::Internet, &packet);
    assert_eq!(outcome.reason, Some("no-l4-port"));
}

#[test]
fn a_full_address_is_bound_to_its_tunnel() {
    // R-081, T-10
    let full = ModelBinding {
        ipv4: PUBLIC,
        offset: 0,
        len: 0,
        psid: 0,
        ..binding()
    };
    let stranger = ModelBinding {
        ipv4: Ipv4Addr::new(192, 0, 2, 19),
        ..neighbor()
    };
    let mut model = Model::new(config(), vec![full, stranger]);
    let inner = build_v4(0, 64, 47, PUBLIC, REMOTE, &[0; 8]);
    let outcome = model.process(0, ModelSide::Softwire, &tunnelled(&stranger, 0, &inner));
    assert_eq!(outcome.reason, Some("wrong-ipv4"));
    let outcome = model.process(0, ModelSide::Softwire, &tunnelled(&full, 0, &inner));
    assert_eq!(outcome.verdict, ModelVerdict::Forward(ModelSide::Internet));
}

#[test]
fn a_limit_header_is_taken_off() {
    // T-2
    let inner = build_v4(0, 64, 17, PUBLIC, REMOTE, &udp(1232, 53));
    let limit = [&[4, 0, 4, 1, 4, 1, 1, 0][..], &inner].concat();
    let behind = [&[60, 0, 0, 0, 0, 0, 0, 9][..], &limit].concat();
    for (next, payload) in [(44, behind), (60, limit)] {
        let ends = (binding().b4, binding().aftr);
        let packet = build_v6(0, 0, next, 64, ends, &payload);
        let outcome = model(config()).process(0, ModelSide::Softwire, &packet);
        assert_eq!(outcome.verdict, ModelVerdict::Forward(ModelSide::Internet));
        assert_eq!(outcome.frame.unwrap()[20..], inner[20..]);
    }
}

#[test]
fn overlapping_fragments_kill_the_datagram() {
    //
    let inner = build_v4(0, 64, 17, PUBLIC, REMOTE, &[0; 100]);
    let ends = (binding().b4, binding().aftr);
    let piece = |offset: usize, len: usize, more: bool| {
        let mut payload = vec![4, 0, 0, 0, 0, 0, 0, 9];
        put16(&mut payload, 2, offset | usize::from(more));
        payload.extend(&inner[offset..offset + len]);
        build_v6(0, 0, 44, 64, ends, &payload)
    };
    let mut model = model(config());
    let reasons: Vec<_> = [
        piece(0, 48, true),
        piece(40, 40, true),
        piece(48, 72, false),
    ]
    .iter()
    .map(|packet| model.process(0, ModelSide::Softwire, packet).reason)
    .collect();
    let overlap = Some("ipv6-fragment-overlap");
    assert_eq!(reasons, [None, overlap, overlap]);
    // A minute later the identification is free again.
    assert!(model.timeout(60_000_000).is_empty());
    assert_eq!(
        model
            .process(60_000_000, ModelSide::Softwire, &piece(0, 48, true))
            .reason,
        None
    );
    //
    let [(_, error)] = &model.timeout(120_000_000)[..] else {
        panic!("no answer")
    };
    assert_eq!(error[40..42], [3, 1]);
}
