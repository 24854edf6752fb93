//! Runs the law of `testkit::laws::checksum`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| testkit::laws::checksum::law(data));
