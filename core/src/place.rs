//! A look-up on its way down a shard, step by step, so that many can be on their way at once.
//!
//! ```text
//! key ──► TAC ──► block ──► state line | sparse lists ──► state, rank ──► owner | record
//! ```

use crate::facts::{REGISTERED, Row};
use crate::identity::SERIALS;
use crate::memory::prefetch;
use crate::shard::{LINE_SERIALS, NEIGHBOURS, Shard, State, TacRecord};

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
    /// The items.
    pub fn words(&self) -> &'a [u64] {
        if let Found::Row(row) = self { row.words } else { &[] }
    }

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
#[derive(Clone)]
pub struct Place<'a> {
    shard: Option<&'a Shard>,
    tac: u32,
    serial: u32,
    /// What the shard knows of the TAC, and the record after it, where the lists of the TAC end.
    records: Option<(&'a TacRecord, &'a TacRecord)>,
    next: Step,
}

/// What a look-up reads next.
#[derive(Clone, Copy)]
enum Step {
    Tac,
    Record(u32),
    Dense(u32),
    Line(u32, u32),
    Sparse(u32),
    Done(State),
}

impl<'a> Place<'a> {
    /// The steps until the state of a key is known; each fetches what the next one reads.
    pub const STEPS: [fn(&mut Self); 4] =
        [Self::find_tac, Self::find_block, Self::find_line, Self::find_state];

    /// Begins a look-up.
    #[inline]
    pub fn new(shard: Option<&'a Shard>, tac: u32, serial: u32) -> Self {
        let next = if shard.is_some() { Step::Tac } else { Step::Done(State::Absent) };
        if let Some(shard) = shard {
            shard.prefetch_tac(tac);
        }
        Self { shard, tac, serial, records: None, next }
    }

    fn key(&self) -> u64 {
        u64::from(self.tac) * SERIALS + u64::from(self.serial)
    }

    /// Begins the look-up of another key of the same TAC; None for other keys, or before the TAC was found.
    #[inline]
    pub fn beside(&self, key: u64) -> Option<Self> {
        let (shard, records) = (self.shard?, self.records?);
        if key / SERIALS != u64::from(self.tac) {
            return None;
        }
        let mut other = Self { serial: (key % SERIALS) as u32, ..self.clone() };
        other.next = other.block(shard, records.0);
        Some(other)
    }

    #[inline]
    fn find_tac(&mut self) {
        if let (Step::Tac, Some(shard)) = (self.next, self.shard) {
            self.next = match shard.entry(self.tac) {
                Some(entry) => {
                    prefetch(&shard.tacs, entry as usize);
                    prefetch(&shard.tacs, entry as usize + 1);
                    Step::Record(entry)
                }
                None => Step::Done(State::Absent),
            };
        }
    }

    #[inline]
    fn find_block(&mut self) {
        if let (Step::Record(entry), Some(shard)) = (self.next, self.shard) {
            self.next = self.record(shard, entry);
        }
    }

    #[inline]
    fn find_line(&mut self) {
        if let (Step::Dense(place), Some(shard)) = (self.next, self.shard) {
            self.next = self.line(shard, place);
        }
    }

    #[inline]
    fn find_state(&mut self) {
        let Some(shard) = self.shard else { return };
        let state = match self.next {
            Step::Line(line, position) => shard.dense_state(line, position),
            Step::Sparse(place) => shard.sparse_state(place, self.serial as u16),
            _ => return,
        };
        shard.prefetch_row(state);
        self.next = Step::Done(state);
    }

    #[inline]
    fn record(&mut self, shard: &'a Shard, entry: u32) -> Step {
        self.records = shard.records(entry);
        let Some((record, next)) = self.records else { return Step::Done(State::Absent) };
        let runs = record.runs_first as usize..next.runs_first as usize;
        prefetch(&shard.runs, runs.start + runs.len() / 2);
        if record.far_first != next.far_first {
            shard.linked.prefetch(self.key());
        }
        self.block(shard, record)
    }

    #[inline]
    fn block(&self, shard: &Shard, record: &TacRecord) -> Step {
        let bit = 1u16 << (self.serial >> 16);
        let place = |first: u32, mask: u16| first.wrapping_add((mask & (bit - 1)).count_ones());
        if record.dense_mask & bit != 0 {
            let place = place(record.dense_first, record.dense_mask);
            prefetch(&shard.dense, place as usize);
            Step::Dense(place)
        } else if record.sparse_mask & bit != 0 {
            let place = place(record.sparse_first, record.sparse_mask);
            prefetch(&shard.sparse, place as usize);
            prefetch(&shard.sparse, place as usize + 1);
            Step::Sparse(place)
        } else {
            Step::Done(State::Absent)
        }
    }

    #[inline]
    fn line(&self, shard: &Shard, place: u32) -> Step {
        let (line, position) = ((self.serial & 0xFFFF) / LINE_SERIALS, (self.serial & 0xFFFF) % LINE_SERIALS);
        let (word, bit) = (line as usize >> 6, 1u64 << (line & 63));
        let Some(dense) = shard.dense.get(place as usize) else { return Step::Done(State::Absent) };
        let presence = dense.presence[word];
        if presence & bit == 0 {
            return Step::Done(State::Absent);
        }
        let before = u32::from(dense.before[word]) + (presence & (bit - 1)).count_ones();
        let line = dense.first_line.wrapping_add(before);
        prefetch(&shard.lines, line as usize);
        Step::Line(line, position)
    }

    /// Fetches the record of a key whose state says that it has one.
    #[inline]
    pub fn fetch_record(&self) {
        if let (Step::Done(State::More { rank }), Some(shard)) = (self.next, self.shard) {
            shard.prefetch_record(rank);
        }
    }

    /// Fetches what else is read of a key whose state is known: its record, its links, the ranges around it.
    #[inline]
    pub fn fetch(&self) {
        let (Step::Done(state), Some(shard), Some((record, next))) = (self.next, self.shard, self.records)
        else {
            return;
        };
        self.fetch_record();
        if state == State::Absent {
            let tac = record.ranges_first as usize..next.ranges_first as usize;
            shard.ranges.prefetch(tac, self.serial + 1);
        }
        let far = record.far_first as usize..next.far_first as usize;
        if !far.is_empty() && shard.linked.may_have(self.key()) {
            shard.far.prefetch(far, self.serial);
        }
    }

    /// State of the key in the shard.
    #[inline]
    fn state(&mut self) -> State {
        if !matches!(self.next, Step::Done(_)) {
            self.find_tac();
            self.find_block();
            self.find_line();
            self.find_state();
        }
        if let Step::Done(state) = self.next { state } else { State::Absent }
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

    /// Calls back with the keys that the shard links the key to.
    pub fn links(&mut self, found: &mut impl FnMut(u64)) {
        let known = self.state() != State::Absent;
        let (Some(shard), Some((record, next))) = (self.shard, self.records) else { return };
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
        let (Some(shard), Some((record, next))) = (self.shard, self.records) else { return &[] };
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
