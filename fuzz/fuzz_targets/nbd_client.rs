//! libFuzzer's way in to `ebbtide_fuzz::nbd_client`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| ebbtide_fuzz::nbd_client(input));
