//! Runs the law of `testkit::laws::ipv4`.
#![no_main]

// fuzzes: testkit/src/laws/ipv4.rs lw4o6-wire/src/ipv4.rs lw4o6-wire/src/checksum.rs
libfuzzer_sys::fuzz_target!(|data: &[u8]| testkit::laws::ipv4::law(data));
