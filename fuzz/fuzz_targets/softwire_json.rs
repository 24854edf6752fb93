//! Runs the law of `testkit::laws::softwire_json`.
#![no_main]

// fuzzes: testkit/src/laws/softwire_json.rs lw4o6-binding/src/formats/json/context.rs lw4o6-binding/src/formats/json/mod.rs lw4o6-binding/src/formats/json/read.rs lw4o6-binding/src/formats/json/table.rs lw4o6-binding/src/formats/json/write.rs lw4o6-binding/src/utc.rs
libfuzzer_sys::fuzz_target!(|data: &[u8]| testkit::laws::softwire_json::law(data));
