//! libFuzzer's way in to `ebbtide_fuzz::agent`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| ebbtide_fuzz::agent(input));
