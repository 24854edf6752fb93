//! Runs the law of `testkit::laws::l4_tcp_mss`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| testkit::laws::l4_tcp_mss::law(data));
