//! libFuzzer on messages: any bytes.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    eir_core_fuzz::messages::read(data);
});
