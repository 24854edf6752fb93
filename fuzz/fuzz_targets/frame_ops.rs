//! Runs the law of `testkit::laws::frame_ops`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| testkit::laws::frame_ops::law(data));
