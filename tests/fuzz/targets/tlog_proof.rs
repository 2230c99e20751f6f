#![no_main]
//! `counterfoil_tests::laws::tlog_proof`.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    counterfoil_tests::laws::tlog_proof(bytes);
});
