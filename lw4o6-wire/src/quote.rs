//! What an ICMP error quotes of the packet that caused it.

pub use crate::ipv4::QuotedIpv4;
