//! libFuzzer's way in to `ebbtide_fuzz::exporter`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| ebbtide_fuzz::exporter(input));
