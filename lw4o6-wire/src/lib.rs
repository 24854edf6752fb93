#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]

#[cfg(any(test, feature = "arbitrary"))]
extern crate std;

#[cfg(feature = "arbitrary")]
mod arbitrary_impls;
pub mod arp;
pub mod b4_addr;
pub mod checksum;
pub mod ecn;
pub mod error;
pub mod ethernet;
pub mod frame;
pub mod icmpv4;
pub mod icmpv6;
pub mod ipv4;
pub mod ipv6;
pub mod ipv6_ext;
pub mod l4;
pub mod ndp;
pub mod port_params;
pub mod protocol;
pub mod quote;
pub mod tcp;
pub mod time;

pub use b4_addr::{Ipv6Prefix, Ipv6PrefixError, b4_address};
pub use ecn::{Ecn, EcnDecap, EcnMix, EcnMode, UnusedEcn, ecn_decap, ecn_encap};
pub use error::{BufferTooSmall, Layer, ParseError, ParseErrorKind};
pub use frame::{FrameBuf, HEADROOM, LinkCast, NoHeadroom};
pub use ipv4::{Ipv4Fields, Ipv4Header, Ipv4Packet, QuotedIpv4};
pub use ipv6::{Ipv6Fields, Ipv6Header};
pub use ipv6_ext::{EncapLimit, ExtProblem, ExtWalk, FragmentHeader};
pub use port_params::{PortParams, PortParamsError, PortRanges};
pub use protocol::{EtherType, IpProtocol};
pub use time::Instant;
