//! Runs the law of `testkit::laws::arp`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| testkit::laws::arp::law(data));
