//! Runs the law of `testkit::laws::softwire_csv`.
#![no_main]

// fuzzes: testkit/src/laws/softwire_csv.rs lw4o6-binding/src/formats/csv.rs lw4o6-binding/src/utc.rs
libfuzzer_sys::fuzz_target!(|data: &[u8]| testkit::laws::softwire_csv::law(data));
