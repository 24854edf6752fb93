//! Runs the law of `testkit::laws::checksum`.
#![no_main]

// fuzzes: testkit/src/laws/checksum.rs lw4o6-wire/src/checksum.rs
libfuzzer_sys::fuzz_target!(|data: &[u8]| testkit::laws::checksum::law(data));
