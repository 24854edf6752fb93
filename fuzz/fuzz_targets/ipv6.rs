//! Runs the law of `testkit::laws::ipv6`.
#![no_main]

// fuzzes: testkit/src/laws/ipv6.rs lw4o6-wire/src/ipv6.rs
libfuzzer_sys::fuzz_target!(|data: &[u8]| testkit::laws::ipv6::law(data));
