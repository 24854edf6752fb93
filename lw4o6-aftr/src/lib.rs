//! Sans-IO lwAFTR engine (RFC 7596).
#![forbid(unsafe_code)]

#[cfg_attr(not(test), expect(dead_code, reason = "the packet path comes next"))]
mod bucket;
pub mod config;
mod drop;
#[cfg_attr(not(test), expect(dead_code, reason = "the packet path comes next"))]
mod fragment_id;
#[cfg_attr(not(test), expect(dead_code, reason = "the packet path comes next"))]
mod pmtu;
mod quota;
#[cfg_attr(not(test), expect(dead_code, reason = "the packet path comes next"))]
mod reassembly;
#[cfg_attr(not(test), expect(dead_code, reason = "the packet path comes next"))]
mod slab;
#[cfg_attr(not(test), expect(dead_code, reason = "the packet path comes next"))]
mod split;
mod timed_map;
#[cfg_attr(not(test), expect(dead_code, reason = "the packet path comes next"))]
mod tracker;
mod verdict;

pub use config::AftrConfig;
pub use drop::DropReason;
pub use verdict::{Cause, Destination, Kind, Output, Side, Verdict};
