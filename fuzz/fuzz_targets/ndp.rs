//! Runs the law of `testkit::laws::ndp`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| testkit::laws::ndp::law(data));
