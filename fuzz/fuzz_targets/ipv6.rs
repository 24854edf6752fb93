//! Runs the law of `testkit::laws::ipv6`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| testkit::laws::ipv6::law(data));
