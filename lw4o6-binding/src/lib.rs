//! Placeholder until the first module lands.
#![forbid(unsafe_code)]

#[cfg(feature = "formats")]
extern crate std;

#[cfg(feature = "formats")]
pub mod formats;
