//! The engine does what the slow model does, whatever happens to both.

use crate::compare::bytes::CHUNK;
use crate::compare::engine::Engine;
use crate::compare::ops::Ops;
use crate::compare::run::{Seen, play, report};

/// Most operations in one input: enough for two sets of fragments to get mixed up, few enough for
/// many inputs a second.
const OPERATIONS: usize = 64;

/// Reads `data` as a run (see [`Ops::from_bytes`]) and plays it on both.
///
/// # Panics
///
/// Where they part, with the shortest run that still shows it.
pub fn law(data: &[u8]) {
    let ops = Ops::from_bytes(super::prefix(data, CHUNK * (OPERATIONS + 1)));
    let Err(mismatch) = play(&ops, Engine::new, &mut Seen::new()) else {
        return;
    };
    let text = report(&ops, Engine::new).unwrap_or(mismatch.text);
    assert_eq!(text, "", "the engine and the model part");
}
