//! Runs the law of `testkit::laws::ipv6_ext`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| testkit::laws::ipv6_ext::law(data));
