//! TACs by hash: a search among sorted records would miss the cache at every step.

use crate::memory::prefetch;

/// Marks an empty slot; no TAC has as many digits.
const NO_TAC: u32 = u32::MAX;

/// What a look-up needs of the record of a TAC, so that it reads one line, and not two.
#[derive(Clone, Copy, Default)]
#[repr(C, align(32))]
pub(crate) struct TacSlot {
    pub(crate) tac: u32,
    /// Which shard has it.
    pub(crate) shard: u32,
    /// Place of its record in the shard.
    pub(crate) entry: u32,
    pub(crate) dense_first: u32,
    pub(crate) sparse_first: u32,
    pub(crate) dense_mask: u16,
    pub(crate) sparse_mask: u16,
}

/// Slots of a power of two, at least half of them empty.
pub(crate) struct TacIndex(Box<[TacSlot]>);

impl TacIndex {
    /// Takes TACs; of those that are equal the last.
    pub(crate) fn new(tacs: &[TacSlot]) -> Self {
        let length = (tacs.len() * 2).next_power_of_two().max(2);
        let empty = TacSlot { tac: NO_TAC, ..TacSlot::default() };
        let mut index = Self(vec![empty; length].into());
        for slot in tacs {
            let mut at = index.home(slot.tac);
            while index.0[at].tac != NO_TAC && index.0[at].tac != slot.tac {
                at = (at + 1) & (length - 1);
            }
            index.0[at] = *slot;
        }
        index
    }

    /// Where the search for a TAC begins.
    #[inline]
    fn home(&self, tac: u32) -> usize {
        (u64::from(tac).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) as usize & (self.0.len() - 1)
    }

    /// Fetches what `find` reads first.
    #[inline]
    pub(crate) fn prefetch(&self, tac: u32) {
        prefetch(&self.0, self.home(tac));
    }

    /// The slot of a TAC.
    #[inline]
    pub(crate) fn find(&self, tac: u32) -> Option<&TacSlot> {
        let (mut at, last) = (self.home(tac), self.0.len() - 1);
        loop {
            let slot = &self.0[at & last];
            if slot.tac == tac {
                return (tac != NO_TAC).then_some(slot);
            }
            if slot.tac == NO_TAC {
                return None;
            }
            at += 1;
        }
    }
}

impl Default for TacIndex {
    fn default() -> Self {
        Self::new(&[])
    }
}

#[cfg(test)]
mod tests {
    use super::{NO_TAC, TacIndex, TacSlot};

    fn slot(tac: u32, entry: u32) -> TacSlot {
        TacSlot { tac, entry, ..TacSlot::default() }
    }

    #[test]
    fn each_tac_is_found_and_no_other() {
        for count in [0, 1, 2, 3, 1000] {
            let tacs: Vec<TacSlot> = (0..count).map(|entry| slot(35_000_000 + entry * 7, entry)).collect();
            let index = TacIndex::new(&tacs);
            for tac in &tacs {
                assert_eq!(index.find(tac.tac).map(|found| found.entry), Some(tac.entry));
                assert!(index.find(tac.tac + 1).is_none());
            }
            assert!(index.find(NO_TAC).is_none());
        }
    }

    #[test]
    fn of_equal_tacs_the_last_is_found() {
        let index = TacIndex::new(&[slot(7, 1), slot(8, 2), slot(7, 3)]);
        assert_eq!(index.find(7).map(|found| found.entry), Some(3));
    }
}
