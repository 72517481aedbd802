//! The case table: where a check finds the case of a pair. As eir/notify/case_table.py; docs/case-table.md.
//!
//! Python changes it while it is read. A slot's tag is written once, and each word is read whole: so what is
//! found is the pair's own, of now or of just before.

use std::sync::atomic::Ordering::Acquire;

use crate::memory::{Words, prefetch};

const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;
const IMSI_FACTOR: u64 = 0xC2B2_AE3D_27D4_EB4F;
const MIX_FACTOR: u64 = 0xD6E8_FEB8_6659_FD93;
const DEADLINE_BITS: u32 = 40;
const STATE_AT: u32 = 48;
/// Words of a slot: tag and value.
const SLOT: usize = 2;
const BITS_MAX: u32 = 40;

/// State of a case whose deadline has fallen: `State.CUT_OFF` of eir/notify/case.py.
pub const CUT_OFF: u8 = 5;

/// A SIM in a slot: IMEI key and IMSI code.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub struct Pair {
    pub key: u64,
    pub imsi: u64,
}

impl Pair {
    /// Both mixed; never 0.
    #[inline]
    pub fn tag(self) -> u64 {
        let tag = self.key.wrapping_mul(GOLDEN) ^ self.imsi.wrapping_mul(IMSI_FACTOR);
        let tag = (tag ^ tag >> 32).wrapping_mul(MIX_FACTOR);
        (tag ^ tag >> 32).max(1)
    }
}

/// What a check learns of a case; `deadline` in seconds since the Unix epoch, 0 for none yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub struct Case {
    pub state: u8,
    pub cause: u8,
    pub deadline: u64,
}

/// The slots, and how many of them are home places.
pub struct CaseTable {
    words: Words,
    bits: u32,
}

impl CaseTable {
    /// Takes slots of which 2**bits are home places; refuses fewer.
    pub fn new(words: Words, bits: u32) -> Result<Self, String> {
        if !(1..=BITS_MAX).contains(&bits) || words.len() < SLOT << bits {
            return Err(format!("a case table of {} words has no 2**{bits} home places", words.len()));
        }
        Ok(Self { words, bits })
    }

    fn home(&self, key: u64) -> usize {
        SLOT * (key.wrapping_mul(GOLDEN) >> (64 - self.bits)) as usize
    }

    /// Fetches the slot of a pair that will be asked for.
    #[inline]
    pub fn prefetch(&self, pair: Pair) {
        prefetch(&self.words, self.home(pair.key));
    }

    /// The case of a pair; a search that finds no empty slot ends with the table.
    #[inline]
    pub fn find(&self, pair: Pair) -> Option<Case> {
        let tag = pair.tag();
        for slot in self.words[self.home(pair.key)..].chunks_exact(SLOT) {
            match slot[0].load(Acquire) {
                0 => return None,
                held if held == tag => return case_of(slot[1].load(Acquire)),
                _ => {}
            }
        }
        None
    }
}

fn case_of(value: u64) -> Option<Case> {
    let deadline = value & ((1 << DEADLINE_BITS) - 1);
    let (state, cause) = ((value >> STATE_AT) as u8, (value >> DEADLINE_BITS) as u8);
    (value != 0).then_some(Case { state, cause, deadline })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAIR: Pair = Pair { key: 35_693_803_564_380, imsi: 1_432_110_000_000_001 };

    fn table(bits: u32, slots: usize, put: &[(usize, u64, u64)]) -> CaseTable {
        let mut words = vec![0; SLOT * slots];
        for (slot, tag, value) in put {
            words[SLOT * slot..][..SLOT].copy_from_slice(&[*tag, *value]);
        }
        CaseTable::new(Words::copied(&words), bits).unwrap()
    }

    #[test]
    fn a_pair_is_found_behind_others_of_its_home() {
        let home = (PAIR.key.wrapping_mul(GOLDEN) >> 60) as usize;
        let value = 5 << 48 | 36 << 40 | 1_790_000_000;
        let full = table(4, 24, &[(home, 7, 1), (home + 1, PAIR.tag(), value)]);
        let found = Case { state: CUT_OFF, cause: 36, deadline: 1_790_000_000 };
        assert_eq!(full.find(PAIR), Some(found));
        assert_eq!(full.find(Pair { imsi: 1, ..PAIR }), None);
        assert_eq!(table(4, 24, &[(home + 1, PAIR.tag(), value)]).find(PAIR), None);
        assert_eq!(table(4, 24, &[(home, PAIR.tag(), 0)]).find(PAIR), None, "a case that is gone");
    }

    #[test]
    fn a_table_without_an_empty_slot_ends_every_search() {
        let all: Vec<_> = (0..16).map(|slot| (slot, 7, 1)).collect();
        assert_eq!(table(4, 16, &all).find(PAIR), None);
    }

    #[test]
    fn what_has_fewer_slots_than_homes_is_refused() {
        for (bits, words) in [(0, 2), (4, 31), (41, 32), (64, 32)] {
            assert!(CaseTable::new(Words::copied(&vec![0; words]), bits).is_err());
        }
    }

    #[test]
    fn no_tag_is_that_of_an_empty_slot() {
        assert_eq!(Pair { key: 0, imsi: 0 }.tag(), 1);
        assert_eq!(case_of(0), None);
    }
}
