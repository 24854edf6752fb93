//! Runs the law of `testkit::laws::icmpv6`.
#![no_main]

// fuzzes: testkit/src/laws/icmpv6.rs lw4o6-wire/src/icmpv6.rs lw4o6-wire/src/checksum.rs
libfuzzer_sys::fuzz_target!(|data: &[u8]| testkit::laws::icmpv6::law(data));
