//! What every input must satisfy, as functions of raw bytes.
//!
//! Each law runs three ways: as a libFuzzer target (`fuzz/`), over random bytes, and over the
//! committed corpus, both in `tests/corpus.rs`. A law panics where it is broken.

pub mod arp;
pub mod checksum;
pub mod engine_vs_model;
pub mod ethernet;
pub mod frame_ops;
pub mod icmpv4;
pub mod icmpv6;
pub mod ipv4;
pub mod ipv6;
pub mod ipv6_ext;
pub mod l4_tcp_mss;
pub mod ndp;
pub mod port_params;
pub mod quote;
pub mod snabb_config;
pub mod snapshot;
pub mod softwire_csv;
pub mod softwire_json;

use lw4o6_binding::formats::ImportError;
use lw4o6_binding::{Clock, Utc};
use lw4o6_wire::Instant;

/// A law over raw bytes.
pub type Law = fn(&[u8]);

/// Every law with the name of its fuzz target and corpus folder.
pub const ALL: [(&str, Law); 18] = [
    ("aftr_model", engine_vs_model::law),
    ("arp", arp::law),
    ("checksum", checksum::law),
    ("ethernet", ethernet::law),
    ("frame_ops", frame_ops::law),
    ("icmpv4", icmpv4::law),
    ("icmpv6", icmpv6::law),
    ("ipv4", ipv4::law),
    ("ipv6", ipv6::law),
    ("ipv6_ext", ipv6_ext::law),
    ("l4_tcp_mss", l4_tcp_mss::law),
    ("ndp", ndp::law),
    ("port_params", port_params::law),
    ("quote", quote::law),
    ("snabb_config", snabb_config::law),
    ("snapshot", snapshot::law),
    ("softwire_csv", softwire_csv::law),
    ("softwire_json", softwire_json::law),
];

/// Stores the right checksum at `at` in `message`, on top of `sum` over a pseudo-header.
fn fill_checksum(message: &mut [u8], at: usize, mut sum: lw4o6_wire::checksum::Sum) {
    if let Some(place) = message.get_mut(at..at + 2) {
        place.fill(0);
    }
    let checksum = sum.add(message).finish();
    if let Some(place) = message.get_mut(at..at + 2) {
        place.copy_from_slice(&checksum.to_be_bytes());
    }
}

/// The first `len` bytes, or fewer.
fn prefix(bytes: &[u8], len: usize) -> &[u8] {
    bytes.get(..len).unwrap_or(bytes)
}

/// A moment for laws about stored times.
const CLOCK: Clock = Clock {
    instant: Instant::from_secs(1000),
    utc: Utc::from_micros(1_795_201_200_000_000), // 2026-11-20T19:00:00Z
};

/// What is said about a text that is refused can be shown on a terminal.
fn message_is_clean(error: &ImportError) {
    let message = error.to_string();
    assert!(!message.is_empty());
    assert!(!message.chars().any(char::is_control), "{message:?}");
    assert_ne!(error.place.line(), Some(0));
}
