#![no_main]
//! `counterfoil_tests::laws::content_coding`.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    counterfoil_tests::laws::content_coding(bytes);
});
