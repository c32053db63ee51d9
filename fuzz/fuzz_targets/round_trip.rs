//! libFuzzer's way in to `ebbtide_fuzz::round_trip`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| ebbtide_fuzz::round_trip(input));
