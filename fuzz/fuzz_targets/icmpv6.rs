//! Runs the law of `testkit::laws::icmpv6`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| testkit::laws::icmpv6::law(data));
