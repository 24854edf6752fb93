//! The network that the operations happen in: who is bound, what the knobs say.

use core::net::{Ipv4Addr, Ipv6Addr};

use super::bytes::Choices;
use crate::model::{
    ModelBinding, ModelClamp, ModelConfig, ModelEcho, ModelFragments, ModelHairpin, ModelPool,
};

/// Tunnel addresses: configured and referenced, referenced only, configured only.
pub const AFTR: [Ipv6Addr; 3] = [
    Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 1),
    Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 2),
    Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 3),
];
/// The box's own IPv6 address.
pub const OWN6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 0x10);
/// The box's own IPv4 addresses.
pub const OWN4: [Ipv4Addr; 2] = [Ipv4Addr::new(203, 0, 113, 1), Ipv4Addr::new(203, 0, 113, 2)];
/// Hosts of the Internet.
pub const REMOTE: [Ipv4Addr; 3] = [
    Ipv4Addr::new(198, 51, 100, 1),
    Ipv4Addr::new(198, 51, 100, 2),
    Ipv4Addr::new(8, 8, 8, 8),
];
/// Addresses that are special in one way or another.
pub const ODD: [Ipv4Addr; 14] = [
    Ipv4Addr::new(0, 0, 0, 0),
    Ipv4Addr::new(0, 1, 2, 3),
    Ipv4Addr::new(127, 0, 0, 1),
    Ipv4Addr::new(169, 254, 7, 7),
    Ipv4Addr::new(224, 0, 0, 5),
    Ipv4Addr::new(240, 0, 0, 1),
    Ipv4Addr::new(255, 255, 255, 255),
    Ipv4Addr::new(10, 1, 1, 1),
    Ipv4Addr::new(172, 31, 0, 1),
    Ipv4Addr::new(192, 168, 1, 1),
    Ipv4Addr::new(100, 64, 0, 1),
    Ipv4Addr::new(192, 0, 0, 1),
    Ipv4Addr::new(192, 0, 0, 2),
    Ipv4Addr::new(192, 0, 0, 6),
];

/// Address of subscriber `n`.
#[must_use]
pub fn b4(n: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0x12, 0x3400, 0, 0xc000, 0x212, n)
}

/// The pools: each way of sharing, and one without bindings.
#[must_use]
pub fn pools() -> Vec<ModelPool> {
    let pool = |first, last, offset, len| ModelPool {
        first: Ipv4Addr::new(192, 0, 2, first),
        last: Ipv4Addr::new(192, 0, 2, last),
        offset,
        len,
    };
    vec![
        pool(18, 18, 6, 8),
        pool(19, 19, 0, 6),
        pool(20, 21, 0, 0),
        pool(22, 22, 4, 0),
        pool(23, 23, 0, 16),
        pool(24, 27, 0, 4),
    ]
}

/// Every binding that may exist. The first [`INITIAL`] do at the start.
#[must_use]
pub fn candidates() -> Vec<ModelBinding> {
    let entry = |n, host, offset, len, psid, aftr: usize| ModelBinding {
        b4: b4(n),
        ipv4: Ipv4Addr::new(192, 0, 2, host),
        offset,
        len,
        psid,
        aftr: AFTR[aftr],
    };
    let outside = |n, offset, len, psid| ModelBinding {
        ipv4: Ipv4Addr::new(198, 18, 0, 5 + u8::from(len == 0)),
        ..entry(n, 0, offset, len, psid, 0)
    };
    vec![
        entry(1, 18, 6, 8, 0x34, 0),
        entry(2, 18, 6, 8, 0, 0),
        entry(3, 18, 6, 8, 0x35, 1),
        entry(4, 19, 0, 6, 0, 0),
        entry(5, 19, 0, 6, 1, 0),
        entry(6, 19, 0, 6, 63, 1),
        entry(1, 19, 0, 6, 3, 0),
        entry(7, 20, 0, 0, 0, 0),
        entry(8, 21, 0, 0, 0, 1),
        entry(9, 22, 4, 0, 0, 0),
        entry(10, 23, 0, 16, 80, 0),
        outside(11, 0, 2, 1),
        outside(12, 0, 0, 0),
        // Not there at the start.
        entry(13, 18, 6, 8, 0xff, 0),
        entry(14, 19, 0, 6, 2, 0),
        entry(7, 24, 0, 4, 1, 0),
        entry(15, 24, 0, 4, 15, 1),
        outside(16, 0, 2, 2),
    ]
}

/// Bindings at the start.
pub const INITIAL: usize = 13;

/// The knobs of a run, from the bytes of its first chunk.
#[must_use]
pub fn config(choices: &mut Choices) -> ModelConfig {
    let mut config = ModelConfig {
        aftr_addresses: vec![AFTR[0], AFTR[2]],
        own_ipv6: vec![OWN6],
        own_ipv4: OWN4.to_vec(),
        pools: pools(),
        ..ModelConfig::default()
    };
    // Rates and limits stay as they are through a run.
    match choices.below(4) {
        0 => {}
        1 => (config.instance_rates, config.instance_burst) = ([5, 7], 3),
        2 => (config.source_rate, config.source_burst) = (1_000, 1_000),
        _ => (config.source_rate, config.source_burst) = (2, 4),
    }
    if choices.once_in(4) {
        config.echo_rate = choices.pick(&[0, 1, 3]);
    }
    if choices.once_in(6) {
        config.incoming_icmpv4_rate = choices.pick(&[Some(0), Some(1), Some(20)]);
    }
    if choices.once_in(4) {
        config.reassembly_fragments = 4;
        config.fragments = 4;
    }
    if choices.once_in(2) {
        config.path_mru = choices.pick(&[1280, 2000, 9000, 65_535]);
    }
    for _ in 0..choices.below(4) {
        turn_a_knob(choices, &mut config);
    }
    if choices.once_in(5) {
        config.fragment_handling = ModelFragments::Reassemble;
    }
    if choices.once_in(6) {
        config.boot_grace = choices.pick(&[1_000_000, 60_000_000]);
    }
    config
}

/// Turns one knob that may change at run time.
pub fn turn_a_knob(choices: &mut Choices, config: &mut ModelConfig) {
    match choices.below(26) {
        0 => config.ipv4_mtu = choices.pick(&[1500, 1500, 1280, 576, 9000]),
        1 | 2 => config.ipv6_mtu = choices.pick(&[1540, 1500, 1480, 1280, 9000]),
        3 => config.df_outer_fragment ^= true,
        4 => {
            let all = [ModelEcho::Identifier, ModelEcho::Port0, ModelEcho::Drop];
            config.inbound_echo = choices.pick(&all);
        }
        5 => config.dscp_encap_fixed = choices.pick(&[None, Some(0), Some(46), Some(63)]),
        6 => config.dscp_decap_pipe ^= true,
        7 => config.ecn_compatibility ^= true,
        8 => config.hop_limit = choices.pick(&[64, 255, 1]),
        9 => config.own_ttl = choices.pick(&[64, 255]),
        10 => {
            config.flow_label = choices.pick(&[None, Some(0), Some(0xf_ffff)]);
            config.flow_label_addresses = choices.once_in(2);
        }
        11 => config.encap_limit = choices.pick(&[None, Some(4), Some(0)]),
        12 => {
            let all = [
                ModelHairpin::Local,
                ModelHairpin::ToIpv4Side,
                ModelHairpin::Drop,
            ];
            config.hairpin = choices.pick(&all);
        }
        13 => config.protocol_unreachable ^= true,
        14 => config.foreign_unbound ^= true,
        15 => config.answer_unbound_source ^= true,
        16 => config.answer_unbound_destination ^= true,
        17 => config.forward_private ^= true,
        18 => config.forward_pool_source ^= true,
        19 => {
            let subscribers = (Ipv6Addr::new(0x2001, 0xdb8, 0x12, 0x3400, 0, 0, 0, 0), 56);
            config.subscriber_prefixes = if choices.once_in(2) {
                vec![subscribers]
            } else {
                Vec::new()
            };
        }
        20 => config.tunnel_service ^= true,
        21 => config.inner_fragmentation ^= true,
        22 => config.pmtud ^= true,
        23 => {
            let all = [ModelClamp::Off, ModelClamp::ToTunnel, ModelClamp::To(1200)];
            config.mss_clamp = choices.pick(&all);
        }
        24 => policies(choices, config),
        _ => {
            config.fragment_handling = match config.fragment_handling {
                ModelFragments::Follow => {
                    choices.pick(&[ModelFragments::Off, ModelFragments::Reassemble])
                }
                ModelFragments::Off | ModelFragments::Reassemble => ModelFragments::Follow,
            };
        }
    }
}

fn policies(choices: &mut Choices, config: &mut ModelConfig) {
    match choices.below(7) {
        0 => config.incoming_icmpv4 ^= true,
        1 => config.generate_v4 ^= true,
        2 => config.generate_v6 ^= true,
        3 => config.tunnel_errors ^= true,
        4 => config.icmpv4_tos = choices.pick(&[0xc0, 0xff, 0]),
        5 => config.b4_icmp_public ^= true,
        _ => config.verify_quoted_checksum ^= true,
    }
}

/// A port of this binding's set: A | PSID | j, with A not 0 where there is an A.
pub fn port_of(choices: &mut Choices, binding: &ModelBinding) -> u16 {
    let (a, k) = (u32::from(binding.offset), u32::from(binding.len));
    let random = u32::from(choices.word());
    let high = if a == 0 {
        0
    } else {
        1 + random % ((1 << a) - 1)
    };
    let low = random.rotate_left(5) & ((1 << (16 - a - k)) - 1);
    (high << (16 - a) | u32::from(binding.psid) << (16 - a - k) | low) as u16
}
