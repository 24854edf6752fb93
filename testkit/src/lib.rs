//! Shared test tools.

pub mod laws;
