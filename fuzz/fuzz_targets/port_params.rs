//! Runs the law of `testkit::laws::port_params`.
#![no_main]

// fuzzes: testkit/src/laws/port_params.rs lw4o6-wire/src/port_params.rs
libfuzzer_sys::fuzz_target!(|data: &[u8]| testkit::laws::port_params::law(data));
