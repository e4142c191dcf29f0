#![no_main]
#![feature(alloc_error_hook)]

use libfuzzer_sys::fuzz_target;

fuzz_target!(
    init: {
        // The other codec allocates what a count says; a refusal becomes a panic, which is caught.
        std::alloc::set_alloc_error_hook(|layout| panic!("{} bytes are too many", layout.size()));
        kavka_fuzz::differential::quiet_panics();
    },
    |data: &[u8]| kavka_fuzz::differential::run(data)
);
