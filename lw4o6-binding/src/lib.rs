//! Bindings of a Lightweight 4over6 border router (RFC 7596 §6.1).
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(any(test, feature = "table", feature = "formats"))]
extern crate std;

pub mod entry;
pub mod error;
#[cfg(feature = "formats")]
pub mod formats;
mod rules;
#[cfg(feature = "table")]
pub mod table;
pub mod utc;

pub use entry::{Binding, Expiry, Origin, SoftwireKey};
pub use error::{InsertError, LoadError, RemoveError, RenewError, Seq, UpdateError};
pub use utc::{Clock, Utc, UtcError};
