//! Runs the law of `testkit::laws::ipv4`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| testkit::laws::ipv4::law(data));
