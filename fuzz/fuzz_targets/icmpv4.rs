//! Runs the law of `testkit::laws::icmpv4`.
#![no_main]

// fuzzes: testkit/src/laws/icmpv4.rs lw4o6-wire/src/icmpv4.rs lw4o6-wire/src/checksum.rs
libfuzzer_sys::fuzz_target!(|data: &[u8]| testkit::laws::icmpv4::law(data));
