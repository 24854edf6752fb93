//! The atomics the table is made of: the standard ones, or loom's when the model checker runs.

#[cfg(not(loom))]
pub use core::sync::atomic::AtomicU64;
#[cfg(not(loom))]
pub(super) use core::sync::atomic::{Ordering, fence};
#[cfg(loom)]
pub use loom::sync::atomic::AtomicU64;
#[cfg(loom)]
pub(super) use loom::sync::atomic::{Ordering, fence};

/// Tells the processor (or the model checker) that this thread waits for another one.
pub(super) fn relax() {
    #[cfg(not(loom))]
    core::hint::spin_loop();
    #[cfg(loom)]
    loom::hint::spin_loop();
}
