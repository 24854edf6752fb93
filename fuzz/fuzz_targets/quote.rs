//! Runs the law of `testkit::laws::quote`.
#![no_main]

// fuzzes: testkit/src/laws/quote.rs lw4o6-wire/src/quote.rs lw4o6-wire/src/icmpv4.rs lw4o6-wire/src/icmpv6.rs lw4o6-wire/src/ipv4.rs lw4o6-wire/src/ipv6.rs lw4o6-wire/src/ipv6_ext.rs lw4o6-wire/src/l4.rs
libfuzzer_sys::fuzz_target!(|data: &[u8]| testkit::laws::quote::law(data));
