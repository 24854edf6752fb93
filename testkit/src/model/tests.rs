//! The model against the computed vectors of the specification: it has to be right by itself before
//! anything is compared with it.

use core::net::Ipv4Addr;

use super::*;

const B4: &str = "2001:db8:12:3400:0:c000:212:34";
const AFTR: &str = "2001:db8:ffff::1";
/// A UDP packet from port 1231, which is not in the set.
const UNBOUND: &str = "600000000020044020010db8001234000000c0000212003420010db8ffff00000000000000\
                       00000145000020123440003f113d52c0000212c633640104cf0035000c000074657374";

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(16)).collect();
    digits.chunks(2).map(|d| (d[0] * 16 + d[1]) as u8).collect()
}

fn binding() -> ModelBinding {
    ModelBinding {
        b4: B4.parse().unwrap(),
        ipv4: Ipv4Addr::new(192, 0, 2, 18),
        offset: 6,
        len: 8,
        psid: 0x34,
        aftr: AFTR.parse().unwrap(),
    }
}

fn config() -> ModelConfig {
    ModelConfig {
        own_ipv4: vec![Ipv4Addr::new(203, 0, 113, 1)],
        ..ModelConfig::default()
    }
}

fn model(config: ModelConfig) -> Model {
    Model::new(config, vec![binding()])
}

#[test]
fn a_packet_from_outside_the_set_draws_1_5() {
    // V-1, V-2, R-078, R-079, R-167
    let outcome = model(config()).process(0, ModelSide::Softwire, &hex(UNBOUND));
    let answer = "6000000000503a4020010db8ffff0000000000000000000120010db8001234000000c000021200\
                  340105098e00000000";
    let mut expected = hex(answer);
    expected.extend(hex(UNBOUND));
    assert_eq!(outcome.verdict, ModelVerdict::Reply(ModelSide::Softwire));
    assert_eq!(outcome.reason, Some("port-out-of-set"));
    assert_eq!(outcome.frame, Some(expected));
}

#[test]
fn a_packet_to_the_set_is_encapsulated() {
    // V-3, R-090, R-094
    let packet = hex("4500001e424200003c115046c6336401c0000212003504d0000a00006869");
    let outcome = model(config()).process(0, ModelSide::Internet, &packet);
    let expected = hex(
        "60000000001e044020010db8ffff0000000000000000000120010db8001234000000c000021200344500001e\
         424200003b115146c6336401c0000212003504d0000a00006869",
    );
    assert_eq!(outcome.verdict, ModelVerdict::Forward(ModelSide::Softwire));
    assert_eq!(outcome.frame, Some(expected));
}

#[test]
fn a_packet_too_big_for_the_tunnel_draws_3_4() {
    // V-4, R-120, R-174, R-178, R-180
    let mut packet = hex("450005dc000040003c064cd5c6336401c000021201bb04d000000001");
    packet.extend(hex("00000000501003e800000000"));
    packet.resize(1500, 0);
    let config = ModelConfig {
        ipv6_mtu: 1500,
        ..config()
    };
    let outcome = model(config).process(0, ModelSide::Internet, &packet);
    let mut expected = hex("45c00240000040004001d1c6cb007101c633640103049cc3000005b4");
    expected.extend(&packet[..548]);
    assert_eq!(outcome.verdict, ModelVerdict::Reply(ModelSide::Internet));
    assert_eq!(outcome.frame, Some(expected));
}

#[test]
fn a_packet_without_df_is_cut_outside() {
    // V-5, R-118, R-122, R-123
    let mut packet = hex("450005dc000000003c068cd5c6336401c000021201bb04d000000001");
    packet.extend(hex("00000000501003e800000000"));
    packet.resize(1500, 0);
    let config = ModelConfig {
        ipv6_mtu: 1500,
        ..config()
    };
    let outcome = model(config).process(0, ModelSide::Internet, &packet);
    let first = outcome.frame.unwrap();
    assert_eq!((first.len(), &first[40..44]), (1496, &[4, 0, 0, 1][..]));
    let (_, second) = &outcome.outputs[0];
    assert_eq!((second.len(), &second[40..44]), (100, &[4, 0, 5, 0xa8][..]));
}

#[test]
fn the_port_sets_of_the_specification_come_out() {
    //
    for (a, k, psid, first, last, count) in [
        (6, 8, 0x34, 1232, 64723, 252),
        (0, 6, 0, 0, 1023, 1024),
        (0, 8, 0x34, 13312, 13567, 256),
        (4, 4, 7, 5888, 63487, 3840),
        (6, 10, 0x3ff, 2047, 65535, 63),
        (0, 16, 80, 80, 80, 1),
    ] {
        let ports: Vec<u16> = (0..=u16::MAX)
            .filter(|&p| port_in_set(a, k, psid, p))
            .collect();
        assert_eq!(ports.first(), Some(&first));
        assert_eq!(ports.last(), Some(&last));
        assert_eq!(ports.len(), count);
    }
}

#[test]
fn a_bucket_gives_its_burst_and_then_one_token_a_period() {
    //
    let mut bucket = Bucket::default();
    let mut given = Vec::new();
    for now in (0..1_000_000).step_by(10_000) {
        if bucket.has(now, 10, 3) {
            bucket.take(now, 10);
            given.push(now);
        }
    }
    assert_eq!(given[..5], [0, 10_000, 20_000, 100_000, 200_000]);
    assert_eq!(given.len(), 12);
}

#[test]
fn fragments_in_any_order_become_the_packet() {
    // the forwarded packet is the one that was cut up.
    let inner = packet::build_v4(
        0,
        64,
        17,
        Ipv4Addr::new(192, 0, 2, 18),
        Ipv4Addr::new(198, 51, 100, 1),
        &[&1232u16.to_be_bytes()[..], &[0; 1400]].concat(),
    );
    let ends = (binding().b4, binding().aftr);
    let pieces = packet::split_v6(packet::build_v6(0, 0, 4, 64, ends, &inner), 600);
    assert_eq!(pieces.len(), 3);
    for order in [
        [0, 1, 2],
        [0, 2, 1],
        [1, 0, 2],
        [1, 2, 0],
        [2, 0, 1],
        [2, 1, 0],
    ] {
        let mut model = model(config());
        let outcomes = order.map(|n| model.process(0, ModelSide::Softwire, &pieces[n]));
        assert!(outcomes.iter().all(|o| o.verdict == ModelVerdict::Consumed));
        let [(to, packet)] = &outcomes[2].outputs[..] else {
            panic!("{outcomes:?}")
        };
        assert_eq!(*to, ModelDestination::Side(ModelSide::Internet));
        assert_eq!(packet[20..], inner[20..]);
        assert_eq!(packet[8], 63);
    }
}

#[test]
fn a_later_fragment_follows_its_first_one() {
    //
    let header = |flags: u16, payload: &[u8]| {
        let ends = (Ipv4Addr::new(198, 51, 100, 1), Ipv4Addr::new(192, 0, 2, 18));
        let mut packet = packet::build_v4(0, 64, 17, ends.0, ends.1, payload);
        packet::put16(&mut packet, 6, flags.into());
        packet::fix_v4(&mut packet);
        packet
    };
    let first = header(0x2000, &[0, 53, 0x04, 0xd0, 0, 24, 0, 0]);
    let later = header(1, &[7; 16]);
    let mut model = model(config());
    assert_eq!(
        model.process(0, ModelSide::Internet, &later).verdict,
        ModelVerdict::Consumed
    );
    let outcome = model.process(0, ModelSide::Internet, &first);
    assert_eq!(outcome.verdict, ModelVerdict::Forward(ModelSide::Softwire));
    assert_eq!(outcome.outputs.len(), 1);
    assert!(outcome.outputs[0].1.ends_with(&later[20..]));
}

mod behaviour;
