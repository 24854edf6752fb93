//! Runs the law of `testkit::laws::port_params`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| testkit::laws::port_params::law(data));
