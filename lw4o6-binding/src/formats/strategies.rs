//! Bindings for the laws of every format.

use std::net::Ipv6Addr;
use std::vec::Vec;

use lw4o6_wire::{Instant, Ipv6Prefix, PortParams};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use crate::{Binding, Expiry, Origin};

fn ports() -> impl Strategy<Value = PortParams> {
    (0_u8..=16, 0_u8..=16, any::<u16>()).prop_map(|(offset, len, psid)| {
        let len = len.min(16 - offset);
        let fits = u32::from(psid) & ((1 << len) - 1);
        PortParams::new(offset, len, u16::try_from(fits).unwrap()).unwrap()
    })
}

/// Any binding; few B4s, so that some hold several softwires.
pub(super) fn binding() -> impl Strategy<Value = Binding> {
    let b4 = (
        0_u128..8,
        prop_oneof![Just(128_u8), Just(56), Just(64), 0_u8..=128],
    );
    let lease = (0..Origin::ALL.len(), option::of(0_u64..1 << 50));
    (b4, any::<u32>(), ports(), any::<u128>(), lease).prop_map(
        |((b4, len), ipv4, ports, aftr, (origin, expires))| {
            let addr = Ipv6Addr::from_bits(0x2001_0db8 << 96 | b4 << 72 | b4);
            let prefix = Ipv6Prefix::new(addr, len).unwrap();
            let expiry = expires.map_or(Expiry::Never, |at| Expiry::At(Instant::from_micros(at)));
            Binding::from_prefix(prefix, ipv4.into(), ports, Ipv6Addr::from_bits(aftr))
                .with_origin(Origin::ALL[origin])
                .with_expiry(expiry)
        },
    )
}

/// How often a law is tried; scales with the environment variable `LW4O6_SCALE`.
pub(super) fn cases() -> ProptestConfig {
    let scale = std::env::var("LW4O6_SCALE").ok();
    let scale: u32 = scale.and_then(|s| s.parse().ok()).unwrap_or(1);
    ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(256 * scale)
    }
}

/// Some of them.
pub(super) fn bindings() -> impl Strategy<Value = Vec<Binding>> {
    vec(binding(), 0..12)
}
