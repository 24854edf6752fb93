//! Runs the law of `testkit::laws::engine_vs_model`.
#![no_main]

// fuzzes: testkit/src/laws/engine_vs_model.rs testkit/src/compare/ops.rs testkit/src/compare/run.rs
libfuzzer_sys::fuzz_target!(|data: &[u8]| testkit::laws::engine_vs_model::law(data));
