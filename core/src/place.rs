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
        rank: u64,
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
    Record(usize),
    Dense(usize),
    Line(usize, u32),
    Sparse(usize),
    Done(State),
}

impl<'a> Place<'a> {
    /// Steps until the state of a key is known, at most; each fetches what the next one reads.
    pub const STEPS: usize = 4;

    /// Begins a look-up.
    #[inline]
    pub fn new(shard: Option<&'a Shard>, tac: u32, serial: u32) -> Self {
        let next = if shard.is_some() { Step::Tac } else { Step::Done(State::Absent) };
        if let Some(shard) = shard {
            shard.prefetch_tac(tac);
        }
        Self { shard, tac, serial, records: None, next }
    }

    /// Takes the next step, if there is one.
    #[inline]
    pub fn step(&mut self) {
        let Some(shard) = self.shard else { return };
        self.next = match self.next {
            Step::Tac => match shard.entry(self.tac) {
                Some(entry) => {
                    prefetch(&shard.tacs, entry);
                    prefetch(&shard.tacs, entry + 1);
                    Step::Record(entry)
                }
                None => Step::Done(State::Absent),
            },
            Step::Record(entry) => self.block(shard, entry),
            Step::Dense(place) => self.line(shard, place),
            Step::Line(line, position) => Step::Done(shard.prefetched(shard.dense_state(line, position))),
            Step::Sparse(place) => {
                Step::Done(shard.prefetched(shard.sparse_state(place, self.serial as u16)))
            }
            Step::Done(state) => Step::Done(state),
        };
    }

    #[inline]
    fn block(&mut self, shard: &'a Shard, entry: usize) -> Step {
        self.records = shard.records(entry);
        let Some((record, next)) = self.records else { return Step::Done(State::Absent) };
        let runs = record.runs_first as usize..next.runs_first as usize;
        prefetch(&shard.runs, runs.start + runs.len() / 2);
        let bit = 1u16 << (self.serial >> 16);
        let place = |first: u32, mask: u16| first as usize + (mask & (bit - 1)).count_ones() as usize;
        if record.dense_mask & bit != 0 {
            let place = place(record.dense_first, record.dense_mask);
            prefetch(&shard.dense, place);
            Step::Dense(place)
        } else if record.sparse_mask & bit != 0 {
            let place = place(record.sparse_first, record.sparse_mask);
            prefetch(&shard.sparse, place);
            prefetch(&shard.sparse, place + 1);
            Step::Sparse(place)
        } else {
            Step::Done(State::Absent)
        }
    }

    #[inline]
    fn line(&self, shard: &Shard, place: usize) -> Step {
        let (line, position) = ((self.serial & 0xFFFF) / LINE_SERIALS, (self.serial & 0xFFFF) % LINE_SERIALS);
        let (word, bit) = (line as usize >> 6, 1u64 << (line & 63));
        let Some(dense) = shard.dense.get(place) else { return Step::Done(State::Absent) };
        let presence = dense.presence[word];
        if presence & bit == 0 {
            return Step::Done(State::Absent);
        }
        let before = usize::from(dense.before[word]) + (presence & (bit - 1)).count_ones() as usize;
        let line = dense.first_line as usize + before;
        prefetch(&shard.lines, line);
        Step::Line(line, position)
    }

    /// State of the key in the shard.
    #[inline]
    fn state(&mut self) -> State {
        loop {
            if let Step::Done(state) = self.next {
                return state;
            }
            self.step();
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
        let far = shard.far.get(record.far_first as usize..next.far_first as usize).unwrap_or_default();
        let first = far.partition_point(|word| word >> 44 < u64::from(serial));
        for word in far[first..].iter().take_while(|word| **word >> 44 == u64::from(serial)) {
            if let Some(tac) = shard.far_tacs.get((word & 0xFF_FFFF) as usize) {
                found(u64::from(*tac) * SERIALS + (word >> 24 & 0xF_FFFF));
            }
        }
    }

    /// All range pieces of the TAC.
    pub fn pieces(&mut self) -> &'a [u64] {
        self.state();
        let (Some(shard), Some((record, next))) = (self.shard, self.records) else { return &[] };
        shard.ranges.get(record.ranges_first as usize..next.ranges_first as usize).unwrap_or_default()
    }
}

/// Those of a TAC's pieces that hold a serial: pieces with one begin share one end.
pub fn pieces_at(pieces: &[u64], serial: u64) -> &[u64] {
    let after = pieces.partition_point(|piece| *piece < (serial + 1) << 44);
    let Some(last) = after.checked_sub(1).map(|place| pieces[place]) else { return &[] };
    if last >> 24 & 0xF_FFFF < serial {
        return &[];
    }
    let same = pieces[..after].iter().rev().take_while(|piece| **piece >> 44 == last >> 44).count();
    &pieces[after - same..after]
}
