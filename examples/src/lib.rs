//! Library half of the reference programs: configuration, captures, replay, reports.
//!
//! The programs themselves are in `src/bin`; everything they do that is worth a test is here.

pub mod binding_log;
pub mod capture;
pub mod check;
pub mod config;
pub mod control;
pub mod dump;
pub mod error;
pub mod generate;
pub mod lab;
pub mod log;
pub mod management;
pub mod migrate;
pub mod netlink;
pub mod output;
pub mod packet_io;
pub mod progress;
pub mod replay;
pub mod report;
pub mod run;
pub mod setup;
pub mod stopwatch;
pub mod store;
pub mod view;
