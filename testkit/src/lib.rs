//! Shared test tools.

#[expect(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "test tool: lengths are checked in the plainest way, and a panic is a failed test"
)]
pub mod compare;
pub mod laws;
#[expect(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "test tool: lengths are checked in the plainest way, and a panic is a failed test"
)]
pub mod model;
#[expect(clippy::expect_used, reason = "test tool: wrong text is a failed test")]
pub mod packet;
pub mod yang;
