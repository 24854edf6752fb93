//! Import and export of binding tables: RFC 7951 JSON of `ietf-softwire-br` (RFC 8676), CSV, and
//! Snabb lwAFTR configurations.
//!
//! All readers take the whole text as bytes (a memory map does well) and build no document tree,
//! so that a table of a million softwires costs little more than its result. Every refusal is an
//! [`ImportError`]: where it stands, which key and value, and the rule it breaks.
//!
//! Nothing here reads a clock: expiry times are UTC in the text and monotonic in the table, and
//! the caller hands over the pair that ties the two together.

pub mod csv;
mod error;
mod imported;
pub mod json;
pub mod snabb;
#[cfg(test)]
mod strategies;

pub use error::{ImportError, ImportErrorKind, Place};
pub use imported::{ImportedBinding, Source};
