//! Runs the law of `testkit::laws::snabb_config`.
#![no_main]

// fuzzes: testkit/src/laws/snabb_config.rs lw4o6-binding/src/formats/snabb/lex.rs lw4o6-binding/src/formats/snabb/member.rs lw4o6-binding/src/formats/snabb/mod.rs lw4o6-binding/src/formats/snabb/read.rs lw4o6-binding/src/formats/snabb/write.rs
libfuzzer_sys::fuzz_target!(|data: &[u8]| testkit::laws::snabb_config::law(data));
