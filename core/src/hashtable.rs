//! A map from 64-bit keys to a head and words. Format: docs/segment-format.md, "Hash tables".

use bytemuck::{Pod, Zeroable};

use crate::facts::Row;
use crate::memory::{View, prefetch};

const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;
const SLOTS_MIN: usize = 18;
const KIND_SHIFT: u32 = 62;
const RECORD: u64 = 2;
const HEAD_MASK: u64 = (1 << KIND_SHIFT) - 1;
const PLACE_BITS: u32 = 36;
const PLACE_MASK: u64 = (1 << PLACE_BITS) - 1;
const LENGTH_MASK: u64 = (1 << 24) - 1;

/// A key, and what is known of it: 0 for an empty slot.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct Slot {
    key: u64,
    value: u64,
}

/// A hash table in memory.
#[derive(Default)]
pub struct HashTable {
    slots: View<Slot>,
    words: View<u64>,
    shift: u32,
}

impl HashTable {
    /// Takes the two arrays of an image; refuses slots that cannot end a search.
    pub fn new(slots: View<Slot>, words: View<u64>) -> Result<Self, String> {
        match slots.last() {
            None => return Ok(Self::default()),
            Some(last) if slots.len() >= SLOTS_MIN && last.value == 0 => {}
            Some(_) => {
                return Err(format!("a hash table of {} slots does not end in an empty one", slots.len()));
            }
        }
        // The home places are the largest power of two that fits.
        let shift = 64 - slots.len().ilog2();
        Ok(Self { slots, words, shift })
    }

    fn home(&self, key: u64) -> usize {
        (key.wrapping_mul(GOLDEN) >> self.shift) as usize
    }

    /// Fetches the slot of a key that will be asked for.
    #[inline]
    pub fn prefetch(&self, key: u64) {
        if !self.slots.is_empty() {
            prefetch(&self.slots, self.home(key));
        }
    }

    /// The row of a key; None where it is not there, or its record lies outside of the words.
    #[inline]
    pub fn find(&self, key: u64) -> Option<Row<'_>> {
        if self.slots.is_empty() {
            return None;
        }
        for slot in self.slots.get(self.home(key)..)? {
            if slot.value == 0 {
                return None;
            }
            if slot.key == key {
                return self.row(slot.value);
            }
        }
        None
    }

    /// The keys that are there with their rows, in any order.
    pub fn rows(&self) -> impl Iterator<Item = (u64, Row<'_>)> {
        let held = self.slots.iter().filter(|slot| slot.value != 0);
        held.filter_map(|slot| Some((slot.key, self.row(slot.value)?)))
    }

    fn row(&self, value: u64) -> Option<Row<'_>> {
        if value >> KIND_SHIFT < RECORD {
            return Some(Row { head: value & HEAD_MASK, words: &[] });
        }
        let first = (value & PLACE_MASK) as usize;
        let length = (value >> PLACE_BITS & LENGTH_MASK) as usize;
        let (head, words) = self.words.get(first..first + length)?.split_first()?;
        Some(Row { head: *head, words })
    }
}
