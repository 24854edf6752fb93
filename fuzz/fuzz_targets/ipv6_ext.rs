//! Runs the law of `testkit::laws::ipv6_ext`.
#![no_main]

// fuzzes: testkit/src/laws/ipv6_ext.rs lw4o6-wire/src/ipv6_ext.rs
libfuzzer_sys::fuzz_target!(|data: &[u8]| testkit::laws::ipv6_ext::law(data));
