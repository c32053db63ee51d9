//! libFuzzer's way in to `ebbtide_fuzz::proxy_protocol`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| ebbtide_fuzz::proxy_protocol(input));
