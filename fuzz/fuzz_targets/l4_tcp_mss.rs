//! Runs the law of `testkit::laws::l4_tcp_mss`.
#![no_main]

// fuzzes: testkit/src/laws/l4_tcp_mss.rs lw4o6-wire/src/l4.rs lw4o6-wire/src/tcp.rs lw4o6-wire/src/checksum.rs
libfuzzer_sys::fuzz_target!(|data: &[u8]| testkit::laws::l4_tcp_mss::law(data));
