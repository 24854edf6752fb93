//! The comparison of the engine with the model.

pub mod build;
pub mod bytes;
pub mod check;
pub mod engine;
pub mod ops;
pub mod run;
pub mod world;
