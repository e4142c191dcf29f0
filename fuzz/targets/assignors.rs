#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kavka_fuzz::assignors::run(data));
