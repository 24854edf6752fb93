#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod aftr;
mod binding_check;
mod bucket;
#[cfg(test)]
mod cases;
mod classify;
pub mod config;
mod counters;
mod downstream;
mod drop;
mod echo;
mod emit;
mod flow_label;
mod fragment_id;
mod fragments;
mod icmp_generate;
mod icmp_inbound;
mod icmp_relay;
mod inner;
mod key;
mod limits;
mod martian;
mod pieces;
mod pmtu;
pub mod port;
mod quota;
mod reassembly;
mod refusal;
mod settings;
mod share;
mod slab;
mod split;
mod timed_map;
pub mod trace;
mod tracker;
mod traffic;
mod upstream;
mod verdict;
mod worker;

pub use aftr::Aftr;
pub use config::AftrConfig;
pub use counters::{Counter, CounterSnapshot};
pub use drop::DropReason;
pub use settings::ConfigError;
pub use traffic::{SoftwireKey, SoftwireTraffic};
pub use verdict::{Cause, Destination, Kind, Output, Side, Verdict};
pub use worker::Worker;
