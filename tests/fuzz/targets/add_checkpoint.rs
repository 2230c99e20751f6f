#![no_main]
//! `counterfoil_tests::laws::add_checkpoint`.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    counterfoil_tests::laws::add_checkpoint(bytes);
});
