//! Import and export of binding tables: RFC 7951 JSON of `ietf-softwire-br` (RFC 8676), CSV, and
//! Snabb lwAFTR configurations.
//!
//! All readers take the whole text as bytes (a memory map does well) and build no document tree,
//! so that a table of a million softwires costs little more than its result. Every refusal is an
//! [`ImportError`]: where it stands, which key and value, and the rule it breaks.
//!
//! Nothing here reads a clock: expiry times are UTC in the text and monotonic in the table, and
//! the caller hands over the pair that ties the two together.
//!
//! ```
//! use lw4o6_binding::formats::{csv, snabb::SnabbConfig};
//! use lw4o6_binding::{Clock, Utc};
//! use lw4o6_wire::Instant;
//!
//! let text = b"softwire-config { binding-table { softwire {
//!     ipv4 192.0.2.1; psid 5; b4-ipv6 2001:db8::b4; br-address 2001:db8::af;
//!     port-set { psid-length 6; }
//! } } }";
//! let config = SnabbConfig::parse(text)?;
//! assert_eq!(config.warnings().count(), 0);
//! let binding = config.softwires[0].binding()?.binding;
//!
//! let clock = Clock { instant: Instant::ZERO, utc: Utc::from_micros(1_795_201_200_000_000) };
//! let mut table = Vec::new();
//! csv::export(&mut table, [&binding], clock)?;
//! assert!(table.ends_with(b"2001:db8::b4,192.0.2.1,0,6,5,2001:db8::af,static,\n"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod csv;
mod error;
mod imported;
pub mod json;
pub mod snabb;
#[cfg(test)]
mod strategies;

pub use error::{ImportError, ImportErrorKind, Place};
pub use imported::{ImportedBinding, Source};
