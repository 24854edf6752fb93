//! Runs the law of `testkit::laws::ethernet`.
#![no_main]

// fuzzes: testkit/src/laws/ethernet.rs lw4o6-wire/src/ethernet.rs
libfuzzer_sys::fuzz_target!(|data: &[u8]| testkit::laws::ethernet::law(data));
