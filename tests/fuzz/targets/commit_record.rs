#![no_main]
//! `counterfoil_tests::laws::commit_record`.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    counterfoil_tests::laws::commit_record(bytes);
});
