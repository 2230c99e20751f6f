#![no_main]
//! `counterfoil_tests::laws::witness_answer`.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    counterfoil_tests::laws::witness_answer(bytes);
});
