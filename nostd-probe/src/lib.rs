//! Proves two things about `lw4o6-wire`: it links without `std` (two panic handlers would clash),
//! and no input reaches a panic.
//!
//! Every public parser and builder is called on bytes and numbers the compiler knows nothing of.
//! After fat link-time optimization only reachable functions are left, so that the names of the
//! panic functions of `core` in the archive would show that one can be reached. Run from the
//! workspace root, with what must be seen:
//!
//! ```text
//! cargo build --release --manifest-path nostd-probe/Cargo.toml
//! nm nostd-probe/target/release/libnostd_probe.a
//!     the part of the output after the line that starts with `nostd_probe-` and ends with
//!     `.o:`, up to the next empty line, has no line that contains `panicking`, `slice_index_fail`,
//!     `panic_fmt`, `unwrap_failed`, `expect_failed` or `len_mismatch_fail`, and has every
//!     `probe_*` name (the other members are the compiler's own routines)
//! cargo build --release --manifest-path nostd-probe/Cargo.toml --features panics
//! nm nostd-probe/target/release/libnostd_probe.a
//!     the same part has such a line: the check can fail
//! ```
//!
//! Text (`Debug`, `Display`, `FromStr`) is left out: the formatting and the address parser of
//! `core` have bounds checks of their own, and no packet is text.
//!
//! A module here stands for a group of modules there; a new parser or builder gets a call in the
//! function of its protocol, a new protocol a function `probe_<protocol>`.
#![no_std]

use core::hint::black_box;
use core::panic::PanicInfo;

mod icmp;
mod ip;
mod link;

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    loop {}
}

/// The `len` bytes at `data`.
///
/// # Safety
///
/// They are readable, and nothing writes them while the result is in use.
unsafe fn bytes<'a>(data: *const u8, len: usize) -> &'a [u8] {
    // SAFETY: what this function asks of its caller.
    unsafe { core::slice::from_raw_parts(data, len) }
}

/// The `len` bytes at `data`, to be changed.
///
/// # Safety
///
/// They are readable and writable, and nothing else uses them while the result is in use.
unsafe fn bytes_mut<'a>(data: *mut u8, len: usize) -> &'a mut [u8] {
    // SAFETY: what this function asks of its caller.
    unsafe { core::slice::from_raw_parts_mut(data, len) }
}

/// Keeps a result alive, so that the code that makes it is.
fn keep<T>(value: T) {
    black_box(value);
}

/// Can panic, on purpose.
///
/// # Safety
///
/// `data` points to `len` readable bytes.
#[cfg(feature = "panics")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn probe_panics(data: *const u8, len: usize, at: usize) -> u8 {
    // SAFETY: what this function asks of its caller.
    let data = unsafe { bytes(data, len) };
    data[at]
}
