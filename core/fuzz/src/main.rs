//! Damages samples by a seed and reads them, for some seconds: `mutate SECONDS [SEED]`. Prints the seed first.
//!
//! The image that is being read is at hand when a read panics: its number and the seed make it again.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use eir_core_fuzz::{Random, damaged, read};

fn main() {
    let mut words = std::env::args().skip(1).map(|word| word.parse::<u64>().expect("a number"));
    let seconds = words.next().expect("usage: mutate SECONDS [SEED]");
    let clock = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |now| now.as_nanos() as u64);
    let seed = words.next().unwrap_or_else(clock);
    println!("segments: seed {seed}");
    let (mut random, started) = (Random(seed), Instant::now());
    let (mut images, mut opened) = (0u64, 0u64);
    while started.elapsed() < Duration::from_secs(seconds) {
        for _ in 0..100 {
            images += 1;
            let image = damaged(&mut random);
            let read = std::panic::catch_unwind(|| read(&image));
            opened += u64::from(read.unwrap_or_else(|_| panic!("image {images} of seed {seed}")) > 0);
        }
    }
    println!("segments: {images} damaged images, {opened} of them opened and read, no panic");
}
