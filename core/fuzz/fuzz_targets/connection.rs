//! libFuzzer on connections: any bytes.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    eir_core_fuzz::connections::read(data);
});
