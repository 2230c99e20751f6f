#![no_main]
//! `counterfoil_tests::laws::entry_bundle`.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    counterfoil_tests::laws::entry_bundle(bytes);
});
