//! Pairs that checks found unpaired, on their way to Python: repeats left out. As eir/notify/sightings.py.

use crate::case_table::Pair;
use crate::memory::prefetch;
use crate::sightings::Queue;

/// Places in which pairs are remembered; a later one takes the place of another.
const PLACES: usize = 1 << 18;
/// How a client calls itself that only looks: `LOOKING` of eir/verdict.py.
pub const LOOKING: &[u8] = b"eir-check";
const MSISDN_DIGITS_MAX: usize = 15;
const RECORD: usize = 4;

/// A pair, the second it was seen, and the number that the check named.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub struct Unpaired {
    pub pair: Pair,
    pub at: u64,
    /// Its digits as a number; 0: none, since no number begins with a 0.
    pub msisdn: u64,
}

/// The end of a queue that a server thread holds.
pub struct Spotter {
    sightings_max: usize,
    repeat_seconds: u64,
    /// The half of a pair's tag that its place does not tell, and the second it was told.
    lately: Vec<(u32, u32)>,
}

impl Spotter {
    /// Notes nothing where a queue holds nothing.
    pub fn new(sightings_max: usize, repeat_seconds: u64) -> Self {
        let places = if sightings_max == 0 { 0 } else { PLACES };
        Self { sightings_max, repeat_seconds, lately: vec![(0, 0); places] }
    }

    /// Fetches what `note` reads.
    #[inline]
    pub fn fetch(&self, pair: Pair) {
        prefetch(&self.lately, pair.tag() as usize % PLACES);
    }

    /// Puts a pair into the queue, unless it was told lately or there is no room.
    #[inline]
    pub fn note(&mut self, queue: &Queue, pair: Pair, at: u64, msisdn: &[u8]) {
        if self.sightings_max != 0 {
            self.put(queue, pair, at, msisdn);
        }
    }

    fn put(&mut self, queue: &Queue, pair: Pair, at: u64, msisdn: &[u8]) {
        let tag = pair.tag();
        let (place, mark) = (tag as usize % PLACES, (tag >> 32) as u32);
        let (last, told) = self.lately[place];
        if last == mark && (at as u32).wrapping_sub(told) < self.repeat_seconds as u32 {
            queue.repeated.add(1);
            return;
        }
        let seen = Unpaired { pair, at, msisdn: number(msisdn) };
        if queue.put(self.sightings_max, |bytes| encode(bytes, seen)) {
            self.lately[place] = (mark, at as u32);
        }
    }
}

/// An MSISDN as a node gave it, where it is E.164 without a plus sign; else 0. As `e164` of eir/identity.py.
fn number(text: &[u8]) -> u64 {
    let first = text.first().copied().unwrap_or(b'0');
    if first == b'0' || text.len() > MSISDN_DIGITS_MAX || !text.iter().all(u8::is_ascii_digit) {
        return 0;
    }
    text.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0'))
}

fn encode(out: &mut Vec<u8>, seen: Unpaired) {
    for word in [seen.pair.key, seen.pair.imsi, seen.at, seen.msisdn] {
        out.extend_from_slice(&word.to_le_bytes());
    }
}

/// Reads what `Queue::take` gave.
pub fn decode(data: &[u8]) -> impl Iterator<Item = Unpaired> {
    let (words, _) = data.as_chunks::<8>();
    words.chunks_exact(RECORD).map(|record| {
        let [key, imsi, at, msisdn] = std::array::from_fn(|word| u64::from_le_bytes(record[word]));
        Unpaired { pair: Pair { key, imsi }, at, msisdn }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAIR: Pair = Pair { key: 35_693_803_564_380, imsi: 1_432_110_000_000_001 };
    const NOW: u64 = 1_800_000_000;

    fn taken(queue: &Queue) -> Vec<Unpaired> {
        decode(&queue.take()).collect()
    }

    #[test]
    fn what_is_noted_is_what_is_taken() {
        let (mut spotter, queue) = (Spotter::new(9, 60), Queue::default());
        spotter.note(&queue, PAIR, NOW, b"989121234567");
        spotter.note(&queue, Pair { key: 1, ..PAIR }, NOW, b"");
        let seen = Unpaired { pair: PAIR, at: NOW, msisdn: 989_121_234_567 };
        assert_eq!(taken(&queue), [seen, Unpaired { pair: Pair { key: 1, ..PAIR }, at: NOW, msisdn: 0 }]);
        assert_eq!(taken(&queue), []);
    }

    #[test]
    fn a_pair_is_told_again_when_its_time_is_over() {
        let (mut spotter, queue) = (Spotter::new(9, 60), Queue::default());
        for at in [NOW, NOW + 1, NOW + 59, NOW + 60, NOW + 61] {
            spotter.note(&queue, PAIR, at, b"");
        }
        let seconds: Vec<_> = taken(&queue).iter().map(|seen| seen.at).collect();
        assert_eq!((seconds, queue.repeated.get()), (vec![NOW, NOW + 60], 3));
        spotter.note(&queue, PAIR, NOW - 100, b"");
        assert_eq!(taken(&queue).len(), 1, "a clock that was set back hides nothing");
        let mut always = Spotter::new(9, 0);
        always.note(&queue, PAIR, NOW, b"");
        always.note(&queue, PAIR, NOW, b"");
        assert_eq!(taken(&queue).len(), 2);
    }

    #[test]
    fn what_finds_no_room_is_counted_and_no_repeat_later() {
        let (mut spotter, queue) = (Spotter::new(1, 60), Queue::default());
        spotter.note(&queue, PAIR, NOW, b"");
        spotter.note(&queue, Pair { key: 1, ..PAIR }, NOW, b"");
        assert_eq!((queue.dropped.get(), taken(&queue).len()), (1, 1));
        spotter.note(&queue, Pair { key: 1, ..PAIR }, NOW, b"");
        assert_eq!((queue.repeated.get(), taken(&queue).len()), (0, 1));
    }

    #[test]
    fn where_no_cases_are_kept_nothing_is_noted() {
        let (mut spotter, queue) = (Spotter::new(0, 60), Queue::default());
        spotter.note(&queue, PAIR, NOW, b"");
        assert_eq!((taken(&queue), queue.dropped.get()), (vec![], 0));
    }

    #[test]
    fn only_e164_digits_are_a_number_to_send_to() {
        assert_eq!(number(b"999999999999999"), 999_999_999_999_999);
        let others: [&[u8]; 6] = [b"", b"09121234567", b"+98", b"98 9", b"9999999999999999", "۹۸".as_bytes()];
        assert!(others.iter().all(|text| number(text) == 0));
    }
}
