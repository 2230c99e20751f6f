#![no_main]
//! `counterfoil_tests::laws::note`.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    counterfoil_tests::laws::note(bytes);
});
