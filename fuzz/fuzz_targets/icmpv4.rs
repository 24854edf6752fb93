//! Runs the law of `testkit::laws::icmpv4`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| testkit::laws::icmpv4::law(data));
