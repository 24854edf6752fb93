//! Runs the law of `testkit::laws::ndp`.
#![no_main]

// fuzzes: testkit/src/laws/ndp.rs lw4o6-wire/src/ndp.rs lw4o6-wire/src/ethernet.rs lw4o6-wire/src/icmpv6.rs lw4o6-wire/src/checksum.rs
libfuzzer_sys::fuzz_target!(|data: &[u8]| testkit::laws::ndp::law(data));
