//! libFuzzer on segments: any bytes, with the checksums made right.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let mut image = data.to_vec();
    eir_core_fuzz::segments::repair(&mut image);
    eir_core_fuzz::segments::read(&image);
});
