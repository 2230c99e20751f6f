#![no_main]
//! `counterfoil_tests::laws::tile_path`.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    counterfoil_tests::laws::tile_path(bytes);
});
