//! A look-up on its way down a shard, step by step, so that many can be on their way at once.
//!
//! ```text
//! key ──► TAC ──► block ──► state line | sparse lists ──► state, rank ──► owner | record
//! ```

use crate::facts::{REGISTERED, Row};
use crate::identity::SERIALS;
use crate::memory::{View, prefetch, prefetch_once};
use crate::shard::{LINE_SERIALS, NEIGHBOURS, Shard, State, TacRecord};
use crate::tac_index::TacSlot;

/// What a look-up by key found: a row, or where its owner stands.
pub enum Found<'a> {
    /// All of it.
    Row(Row<'a>),
    /// An owner and no items.
    Paired {
        /// Where the owner is.
        shard: &'a Shard,
        /// Which it is.
        rank: u32,
        /// Whether the IMEI is registered individually.
        registered: bool,
    },
}

impl<'a> Found<'a> {
    /// The whole row.
    pub fn row(&self, blocks: &[u64]) -> Row<'a> {
        match *self {
            Found::Row(row) => row,
            Found::Paired { shard, rank, registered } => {
                Row { head: shard.head(rank, registered, blocks), words: &[] }
            }
        }
    }
}

/// An IMEI key in its shard, and how far its look-up has come.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    shard: Option<&'a Shard>,
    tac: u32,
    serial: u32,
    /// Place of the TAC's record in the shard.
    entry: u32,
    /// The block, line or rank that `next` speaks of.
    at: u32,
    next: Step,
}

/// What a look-up reads next, or the state that it found: flat, so that it is copied as it was written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Dense,
    Line,
    Sparse,
    Absent,
    Registered,
    Owned,
    RegisteredOwned,
    More,
}

impl Step {
    /// The step of a state, and its rank.
    #[inline(always)]
    fn of(state: State) -> (Self, u32) {
        match state {
            State::Absent => (Self::Absent, 0),
            State::Registered => (Self::Registered, 0),
            State::Paired { rank, registered: false } => (Self::Owned, rank),
            State::Paired { rank, registered: true } => (Self::RegisteredOwned, rank),
            State::More { rank } => (Self::More, rank),
        }
    }
}

impl<'a> Place<'a> {
    /// The steps until the state of a key is known; each fetches what the next one reads.
    pub const STEPS: [fn(&mut Self); 3] = [Self::find_line, Self::find_state, |place| place.fetch_owner()];

    /// Where nothing is known of a key.
    pub const NOWHERE: Self = Self { shard: None, tac: 0, serial: 0, entry: 0, at: 0, next: Step::Absent };

    /// Begins the look-up of a key in a shard.
    pub fn in_shard(shard: &'a Shard, tac: u32, serial: u32) -> Self {
        shard.index.find(tac).map_or(Self::NOWHERE, |slot| Self::new(shard, slot, serial))
    }

    /// Begins the look-up of a serial of a TAC: finds its block.
    #[inline(always)]
    pub(crate) fn new(shard: &'a Shard, slot: &TacSlot, serial: u32) -> Self {
        let bit = 1u16 << (serial >> 16 & 15);
        let place = |first: u32, mask: u16| first.wrapping_add((mask & (bit - 1)).count_ones());
        let (next, at) = if slot.dense_mask & bit != 0 {
            let place = place(slot.dense_first, slot.dense_mask);
            prefetch(&shard.dense, place as usize);
            (Step::Dense, place)
        } else if slot.sparse_mask & bit != 0 {
            let place = place(slot.sparse_first, slot.sparse_mask);
            prefetch(&shard.sparse, place as usize);
            prefetch(&shard.sparse, place as usize + 1);
            (Step::Sparse, place)
        } else {
            (Step::Absent, 0)
        };
        Self { shard: Some(shard), tac: slot.tac, serial, entry: slot.entry, at, next }
    }

    fn key(&self) -> u64 {
        u64::from(self.tac) * SERIALS + u64::from(self.serial)
    }

    /// What the shard has of the TAC, and the record after it, where the lists of the TAC end.
    #[inline]
    fn records(&self) -> Option<(&'a Shard, &'a TacRecord, &'a TacRecord)> {
        let (shard, entry) = (self.shard?, self.entry as usize);
        Some((shard, shard.tacs.get(entry)?, shard.tacs.get(entry + 1)?))
    }

    /// Finds the state line of the serial, in a dense block.
    #[inline(always)]
    pub fn find_line(&mut self) {
        self.find_line_of::<false>();
    }

    /// As `find_line`; fetches the owner besides, from where it is likely to be. For few at once: of many, each waits for
    /// its line while the others go on, and that in vain costs more.
    #[inline(always)]
    pub fn find_line_and_owner(&mut self) {
        self.find_line_of::<true>();
    }

    #[inline(always)]
    fn find_line_of<const OWNER: bool>(&mut self) {
        if let (Step::Dense, Some(shard)) = (self.next, self.shard) {
            (self.next, self.at) = self.line::<OWNER>(shard);
        }
    }

    #[inline(always)]
    fn line<const OWNER: bool>(&self, shard: &Shard) -> (Step, u32) {
        let (line, position) = self.line_of_block();
        let line = shard.dense.get(self.at as usize).and_then(|dense| dense.line(line));
        let Some(line) = line else { return (Step::Absent, 0) };
        prefetch_once(&shard.lines, line as usize);
        if OWNER {
            shard.prefetch_likely_owner(self.at, line, position);
        }
        (Step::Line, line)
    }

    /// As `find_line_and_owner`, without its block, where the line is in the block's longest run.
    #[inline(always)]
    fn find_line_in_run(&mut self) {
        let (line, position) = self.line_of_block();
        if let (Step::Dense, Some(shard)) = (self.next, self.shard)
            && let Some(line) = shard.line_runs.line(self.at, line)
        {
            prefetch_once(&shard.lines, line as usize);
            shard.prefetch_likely_owner(self.at, line, position);
            (self.next, self.at) = (Step::Line, line);
        }
    }

    /// The line of its block in which the serial is, and its position there.
    #[inline(always)]
    fn line_of_block(&self) -> (u32, u32) {
        let low = self.serial & 0xFFFF;
        (low / LINE_SERIALS, low % LINE_SERIALS)
    }

    /// Finds the state of the serial.
    #[inline(always)]
    pub fn find_state(&mut self) {
        let Some(shard) = self.shard else { return };
        let state = match self.next {
            Step::Line => shard.dense_state(self.at, self.line_of_block().1),
            Step::Sparse => shard.sparse_state(self.at, self.serial as u16),
            _ => return,
        };
        (self.next, self.at) = Step::of(state);
    }

    /// Fetches what the row of a state is read from.
    #[inline(always)]
    pub fn fetch_owner(&self) {
        match (self.next, self.shard) {
            (Step::Owned | Step::RegisteredOwned, Some(shard)) => shard.prefetch_owner(self.at),
            (Step::More, Some(shard)) => shard.prefetch_more(self.at),
            _ => {}
        }
    }

    /// Fetches the rest of a row whose state is known.
    #[inline(always)]
    pub fn fetch_row(&self, blocks: &View<u64>) {
        match (self.next, self.shard) {
            (Step::Owned | Step::RegisteredOwned, Some(shard)) => shard.prefetch_block(self.at, blocks),
            (Step::More, Some(shard)) => shard.prefetch_words(self.at),
            _ => {}
        }
    }

    /// Fetches what the shard has of the TAC: where to look for what is beside a key, its links and the ranges around it.
    /// From here on each step fetches what the next one reads.
    #[inline(always)]
    pub fn fetch_record(&self) {
        if let Some(shard) = self.shard {
            prefetch(&shard.tacs, self.entry as usize);
            prefetch(&shard.tacs, self.entry as usize + 1);
        }
    }

    /// Fetches where to look for the links of a key.
    #[inline(always)]
    pub fn fetch_links(&self) {
        let Some((shard, record, next)) = self.records() else { return };
        if record.runs_first != next.runs_first {
            prefetch(&shard.runs, record.runs_first as usize);
        }
        if record.far_first != next.far_first {
            shard.linked.prefetch(self.key());
        }
    }

    /// Fetches the links that a key may have of its own.
    #[inline]
    pub fn fetch_single_links(&self) {
        let Some((shard, record, next)) = self.records() else { return };
        let far = record.far_first as usize..next.far_first as usize;
        if !far.is_empty() && shard.linked.may_have(self.key()) {
            shard.far.prefetch(far, self.serial);
        }
    }

    /// Fetches where to look for the ranges of a TAC.
    #[inline]
    pub fn fetch_ranges(&self) {
        if let Some((shard, record, _)) = self.records() {
            shard.ranges.prefetch_near(record.ranges_first as usize);
        }
    }

    /// Fetches the ranges around a key.
    #[inline]
    pub fn fetch_pieces(&self) {
        if let Some((shard, record, next)) = self.records() {
            let tac = record.ranges_first as usize..next.ranges_first as usize;
            shard.ranges.prefetch(tac, self.serial + 1);
        }
    }

    /// Takes all steps that are left until the state is known.
    #[inline]
    pub(crate) fn find_all(&mut self) {
        self.find_line_in_run();
        self.find_line_and_owner();
        self.find_state();
    }

    /// State of the key in the shard.
    #[inline]
    pub(crate) fn state(&mut self) -> State {
        self.find_all();
        match self.next {
            Step::Registered => State::Registered,
            Step::Owned => State::Paired { rank: self.at, registered: false },
            Step::RegisteredOwned => State::Paired { rank: self.at, registered: true },
            Step::More => State::More { rank: self.at },
            _ => State::Absent,
        }
    }

    /// What the shard knows of the key.
    #[inline]
    pub fn find(&mut self) -> Found<'a> {
        match (self.state(), self.shard) {
            (State::Paired { rank, registered }, Some(shard)) => Found::Paired { shard, rank, registered },
            (State::More { rank }, Some(shard)) => Found::Row(shard.record(rank).unwrap_or_default()),
            (State::Registered, _) => Found::Row(Row { head: REGISTERED, words: &[] }),
            _ => Found::Row(Row::default()),
        }
    }

    /// Head of the row of a key whose state is known; None where it has items.
    #[inline(always)]
    pub(crate) fn bare_head(&self, blocks: &[u64]) -> Option<u64> {
        match (self.next, self.shard) {
            (Step::Owned, Some(shard)) => Some(shard.head(self.at, false, blocks)),
            (Step::RegisteredOwned, Some(shard)) => Some(shard.head(self.at, true, blocks)),
            (Step::Registered, _) => Some(REGISTERED),
            (Step::Absent, _) => Some(0),
            _ => None,
        }
    }

    /// Calls back with the keys that the shard links the key to.
    pub fn links(&mut self, found: &mut impl FnMut(u64)) {
        let known = self.state() != State::Absent;
        let Some((shard, record, next)) = self.records() else { return };
        let serial = self.serial;
        let runs = shard.runs.get(record.runs_first as usize..next.runs_first as usize).unwrap_or_default();
        let after = runs.partition_point(|run| run.first <= serial);
        if let Some(run) = after.checked_sub(1).map(|place| &runs[place])
            && run.first <= serial
            && serial - run.first < run.length
            && known
        {
            let other = i64::from(serial)
                + match run.shift {
                    NEIGHBOURS if (serial - run.first).is_multiple_of(2) => 1,
                    NEIGHBOURS => -1,
                    shift => i64::from(shift),
                };
            if let Ok(other) = u64::try_from(other) {
                found(u64::from(run.other_tac) * SERIALS + other);
            }
        }
        let far = record.far_first as usize..next.far_first as usize;
        if far.is_empty() || !shard.linked.may_have(self.key()) {
            return;
        }
        let first = shard.far.first(far.clone(), serial);
        let far = shard.far.of(first..far.end);
        for word in far.iter().take_while(|word| **word >> 44 == u64::from(serial)) {
            if let Some(tac) = shard.far_tacs.get((word & 0xFF_FFFF) as usize) {
                found(u64::from(*tac) * SERIALS + (word >> 24 & 0xF_FFFF));
            }
        }
    }

    /// Range pieces of the TAC that hold the serial.
    pub fn pieces(&mut self) -> &'a [u64] {
        self.state();
        let Some((shard, record, next)) = self.records() else { return &[] };
        let tac = record.ranges_first as usize..next.ranges_first as usize;
        let after = shard.ranges.first(tac.clone(), self.serial + 1);
        held(shard.ranges.of(tac.start..after), self.serial.into())
    }
}

/// Those of a TAC's pieces that hold a serial.
pub fn pieces_at(pieces: &[u64], serial: u64) -> &[u64] {
    held(&pieces[..pieces.partition_point(|piece| *piece < (serial + 1) << 44)], serial)
}

/// Of pieces that do not begin after a serial those that hold it: pieces with one begin share one end.
fn held(pieces: &[u64], serial: u64) -> &[u64] {
    let Some(last) = pieces.last() else { return &[] };
    if last >> 24 & 0xF_FFFF < serial {
        return &[];
    }
    let same = pieces.iter().rev().take_while(|piece| **piece >> 44 == last >> 44).count();
    &pieces[pieces.len() - same..]
}

#[cfg(test)]
mod tests {
    use super::Place;
    use crate::samples::{SHARD, changed_shard};
    use crate::shard::{LINE_SERIALS, State};

    const DENSE: u32 = 2;

    /// An image with one more line of the second dense block, the third after its last: beyond a gap.
    fn with_a_gap(image: &[u8]) -> Vec<u8> {
        let word = |at: usize| u32::from_le_bytes(image[at..at + 4].try_into().unwrap());
        let entry = (64..).step_by(32).find(|at| word(*at) == DENSE).unwrap();
        let presence = word(entry + 8) as usize + 64 + 8;
        let mut image = image.to_vec();
        let lines = u64::from_le_bytes(image[presence..presence + 8].try_into().unwrap());
        let last = lines.ilog2();
        assert!(lines.count_ones() == 2 && last < 60, "lines 97 and 98");
        let moved = lines & !(1 << last) | 1 << (last + 2);
        image[presence..presence + 8].copy_from_slice(&moved.to_le_bytes());
        image
    }

    #[test]
    fn a_state_is_the_same_by_steps_and_at_once() {
        for (image, beyond) in [(SHARD.to_vec(), false), (with_a_gap(SHARD), true)] {
            let shard = changed_shard(&image);
            let (mut in_runs, mut in_blocks) = (0, 0);
            for record in shard.tacs.split_last().unwrap().1 {
                let mask = record.dense_mask | record.sparse_mask;
                let blocks = (0..16).filter(|block| mask >> block & 1 != 0);
                for serial in blocks.flat_map(|block| block << 16..(block + 1) << 16) {
                    let place = Place::in_shard(&shard, record.tac, serial);
                    let (mut at_once, mut stepwise) = (place, place);
                    Place::STEPS.iter().for_each(|step| step(&mut stepwise));
                    let state = at_once.state();
                    assert_eq!(state, stepwise.state(), "{serial} of {}", record.tac);
                    let line = (serial & 0xFFFF) / LINE_SERIALS;
                    if record.dense_mask >> (serial >> 16) & 1 != 0 && state != State::Absent {
                        let run = shard.line_runs.line(place.at, line);
                        *if run.is_some() { &mut in_runs } else { &mut in_blocks } += 1;
                    }
                }
            }
            assert!(in_runs > 100 && (in_blocks > 10) == beyond, "{in_runs} {in_blocks}");
        }
    }
}
