//! Runs the law of `testkit::laws::snapshot`.
#![no_main]

// fuzzes: testkit/src/laws/snapshot.rs lw4o6-binding/src/snapshot.rs
libfuzzer_sys::fuzz_target!(|data: &[u8]| testkit::laws::snapshot::law(data));
