//! Runs the law of `testkit::laws::ethernet`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| testkit::laws::ethernet::law(data));
