//! Sorted lists of a shard, with a sample of their serials beside them: a search that misses the cache once.

use std::ops::Range;

use crate::memory::{View, prefetch};

/// Words that a sample stands for: eight cache lines, which are fetched together.
const EVERY: usize = 64;
const LINE_WORDS: usize = 8;
/// Where the serial begins in a word.
pub const SERIAL_SHIFT: u32 = 44;

/// Words of all TACs, each TAC's in the order of the serials in their top bits.
pub struct Sampled {
    words: View<u64>,
    /// Serial of every 64th word: small enough to stay in the cache.
    serials: Box<[u32]>,
}

impl Sampled {
    /// Takes the words of a section.
    pub fn new(words: View<u64>) -> Self {
        let serials = words.iter().step_by(EVERY).map(|word| (word >> SERIAL_SHIFT) as u32).collect();
        Self { words, serials }
    }

    /// Words of all TACs.
    pub fn len(&self) -> usize {
        self.words.len()
    }

    /// All words of a TAC.
    pub fn of(&self, tac: Range<usize>) -> &[u64] {
        self.words.get(tac).unwrap_or_default()
    }

    /// Fetches what `prefetch` reads of a TAC whose words begin at a place.
    #[inline]
    pub fn prefetch_near(&self, start: usize) {
        prefetch(&self.serials, start.div_ceil(EVERY));
    }

    /// Fetches what `first` reads.
    #[inline]
    pub fn prefetch(&self, tac: Range<usize>, serial: u32) {
        self.near(tac, serial).step_by(LINE_WORDS).for_each(|at| prefetch(&self.words, at));
    }

    /// Place of the first of a TAC's words that is not below a serial.
    pub fn first(&self, tac: Range<usize>, serial: u32) -> usize {
        let near = self.near(tac, serial);
        near.clone().step_by(LINE_WORDS).for_each(|at| prefetch(&self.words, at));
        let words = self.words.get(near.clone()).unwrap_or_default();
        near.start + words.partition_point(|word| word >> SERIAL_SHIFT < u64::from(serial))
    }

    /// The few of a TAC's words between which it lies.
    fn near(&self, tac: Range<usize>, serial: u32) -> Range<usize> {
        let first = tac.start.div_ceil(EVERY);
        let samples = self.serials.get(first..tac.end.div_ceil(EVERY)).unwrap_or_default();
        let below = first + samples.partition_point(|sample| *sample < serial);
        let start = if below == first { tac.start } else { (below - 1) * EVERY };
        start..(below * EVERY).min(tac.end)
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use super::Sampled;
    use crate::memory::{Memory, View};

    fn sampled(words: &[u64]) -> Sampled {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        Sampled::new(View::new(&Memory::copied(&bytes), 0..bytes.len()).unwrap())
    }

    #[test]
    fn a_search_finds_what_a_search_of_all_words_finds() {
        // Some TACs one after another, their lists of all lengths, serials with repeats.
        let lengths = [0, 1, 2, 63, 64, 65, 127, 128, 129, 50, 0, 300];
        let (mut words, mut tacs): (Vec<u64>, Vec<Range<usize>>) = Default::default();
        for (number, length) in (0_u64..).zip(lengths) {
            let start = words.len();
            words.extend((0..length).map(|place| (place * 7 / 3 + number) << 44 | place));
            tacs.push(start..words.len());
        }
        let lists = sampled(&words);
        for tac in tacs {
            for serial in 0..730 {
                let plain = words[tac.clone()].partition_point(|word| word >> 44 < u64::from(serial));
                assert!(lists.near(tac.clone(), serial).len() <= 64);
                assert_eq!(lists.first(tac.clone(), serial), tac.start + plain, "{serial} in {tac:?}");
            }
        }
    }

    #[test]
    fn what_lies_outside_is_not_there() {
        let lists = sampled(&[1 << 44, 2 << 44]);
        assert!(lists.of(1..3).is_empty());
        let far = u32::MAX as usize;
        for tac in [0..100, 50..100, Range { start: 100, end: 50 }, far - 1..far] {
            lists.first(tac, 7);
        }
    }
}
