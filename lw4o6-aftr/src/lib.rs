//! Sans-IO lwAFTR engine (RFC 7596).
#![forbid(unsafe_code)]

pub mod config;
mod drop;
mod verdict;

pub use config::AftrConfig;
pub use drop::DropReason;
pub use verdict::{Cause, Destination, Kind, Output, Side, Verdict};
