//! Runs the law of `testkit::laws::frame_ops`.
#![no_main]

// fuzzes: testkit/src/laws/frame_ops.rs lw4o6-wire/src/frame.rs
libfuzzer_sys::fuzz_target!(|data: &[u8]| testkit::laws::frame_ops::law(data));
