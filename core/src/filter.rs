//! A filter: says of most keys that are not in a set that they are not, by two bits of one word.

use crate::memory::prefetch;

const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// The bits of a set.
pub struct Filter {
    words: Box<[u64]>,
    /// Leaves of a hash the place of a word.
    shift: u32,
}

impl Filter {
    /// A filter of an empty set that gets so many keys. With 8 bits a key one in twenty of those that are not
    /// there seems to be, with 16 one in sixty.
    pub fn new(keys: usize, bits_per_key: usize) -> Self {
        let words = (keys * bits_per_key / 64).next_power_of_two().max(2);
        Self { words: vec![0; words].into(), shift: 64 - words.ilog2() }
    }

    /// A filter that may have every key.
    pub fn full() -> Self {
        Self { words: vec![!0; 2].into(), shift: 63 }
    }

    /// Place of a key's word, and its bits there: from other bits of the hash.
    #[inline]
    fn place(&self, key: u64) -> (usize, u64) {
        let hash = key.wrapping_mul(GOLDEN);
        ((hash >> self.shift) as usize, 1 << (hash >> 16 & 63) | 1 << (hash >> 24 & 63))
    }

    /// Adds a key.
    pub fn add(&mut self, key: u64) {
        let (word, bits) = self.place(key);
        self.words[word] |= bits;
    }

    /// Fetches what `may_have` reads.
    #[inline]
    pub fn prefetch(&self, key: u64) {
        prefetch(&self.words, self.place(key).0);
    }

    /// False only for keys that are not there.
    #[inline]
    pub fn may_have(&self, key: u64) -> bool {
        let (word, bits) = self.place(key);
        self.words[word] & bits == bits
    }
}

impl Default for Filter {
    fn default() -> Self {
        Self::new(0, 0)
    }
}

#[cfg(test)]
mod tests {
    use super::Filter;

    #[test]
    fn what_was_added_is_there_and_little_else() {
        let key = |place: u64| 35_000_000_000_000 + place * 3;
        for (bits, one_in) in [(8, 15), (16, 40)] {
            let mut filter = Filter::new(10_000, bits);
            (0..10_000).for_each(|place| filter.add(key(place)));
            assert!((0..10_000).all(|place| filter.may_have(key(place))));
            let wrong = (0..10_000).filter(|place| filter.may_have(key(*place) + 1)).count();
            assert!(wrong < 10_000 / one_in, "{wrong}");
        }
    }

    #[test]
    fn an_empty_set_has_nothing_and_a_full_one_everything() {
        let filter = Filter::new(0, 8);
        assert!(!(0..1000).any(|key| filter.may_have(key)));
        assert!((0..1000).all(|key| Filter::full().may_have(key << 40)));
    }
}
