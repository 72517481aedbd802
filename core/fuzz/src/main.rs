//! Damages samples by a seed and reads them, for some seconds: `mutate SECONDS [SEED]`. Prints the seed first.
//!
//! What is being read is at hand when a read panics: its number and the seed make it again.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use eir_core_fuzz::random::Random;
use eir_core_fuzz::{connections, messages, segments};

type Make = fn(&mut Random) -> Vec<u8>;
type Read = fn(&[u8]) -> u64;
const KINDS: [(&str, Make, Read); 3] = [
    ("segments", segments::damaged, segments::read),
    ("messages", messages::damaged, messages::read),
    ("connections", connections::damaged, connections::read),
];

fn main() {
    let mut words = std::env::args().skip(1).map(|word| word.parse::<u64>().expect("a number"));
    let seconds = words.next().expect("usage: mutate SECONDS [SEED]");
    let clock = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |now| now.as_nanos() as u64);
    let seed = words.next().unwrap_or_else(clock);
    println!("seed {seed}");
    for (name, make, read) in KINDS {
        let (mut random, started) = (Random(seed), Instant::now());
        let (mut made, mut taken) = (0u64, 0u64);
        while started.elapsed() < Duration::from_secs(seconds) / KINDS.len() as u32 {
            for _ in 0..100 {
                made += 1;
                let data = make(&mut random);
                let read = std::panic::catch_unwind(|| read(&data));
                taken += u64::from(read.unwrap_or_else(|_| panic!("{name}: {made} of seed {seed}")) > 0);
            }
        }
        println!("{name}: {made} damaged, {taken} of them read or answered, no panic");
    }
}
