#![no_main]
//! `counterfoil_tests::laws::policy`.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    counterfoil_tests::laws::policy(bytes);
});
