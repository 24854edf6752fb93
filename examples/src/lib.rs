//! Library half of the reference programs.

pub mod lab;
pub mod netlink;
pub mod packet_io;
pub mod stopwatch;
