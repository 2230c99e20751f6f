#![no_main]
//! `counterfoil_tests::laws::statement`.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    counterfoil_tests::laws::statement(bytes);
});
