//! Runs the law of `testkit::laws::arp`.
#![no_main]

// fuzzes: testkit/src/laws/arp.rs lw4o6-wire/src/arp.rs lw4o6-wire/src/ethernet.rs
libfuzzer_sys::fuzz_target!(|data: &[u8]| testkit::laws::arp::law(data));
