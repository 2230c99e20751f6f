#![no_main]
//! `counterfoil_tests::laws::trust_file`.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    counterfoil_tests::laws::trust_file(bytes);
});
