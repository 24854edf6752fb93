//! Runs the law of `testkit::laws::quote`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| testkit::laws::quote::law(data));
