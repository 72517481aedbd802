//! A shard: all rows of a range of TACs. Format: docs/segment-format.md, "Kind SHARD".
//!
//! Every place that a record names is looked up with a check: in a shard that is damaged although its
//! checksums are right, what lies nowhere is not known, and no search is longer than the file.

use std::sync::OnceLock;

use bytemuck::{Pod, Zeroable};

use crate::facts::{REGISTERED, Row};
use crate::filter::Filter;
use crate::identity::SERIALS;
use crate::line_runs::LineRuns;
use crate::linked_blocks;
use crate::memory::{View, prefetch, prefetch_once};
use crate::sampled::{SERIAL_SHIFT, Sampled};
use crate::segment::{Kind, Segment};
use crate::tac_index::{TacIndex, TacSlot};

const FLAG: u32 = 1 << 31;
const RANK_MASK: u32 = FLAG - 1;
pub(crate) const LINE_SERIALS: u32 = 224;
pub(crate) const NEIGHBOURS: i32 = i32::MIN;
const OWNER_BITS_MAX: u64 = 36;
const OWNER_BYTES: usize = 8;
const META_LENGTH: usize = 8;
/// Around the place where an owner is likely to be, so many lines of a cache are fetched: of more than half it is in one of
/// them, and nearly always in their page, which has been found then.
const LIKELY_LINES: usize = 6;
const CACHE_LINE: usize = 64;
/// Of the filter of keys with links of their own.
const LINKED_BITS: usize = 8;
const CHUNK_WORDS: usize = 128;

/// What a shard knows of a TAC, and where its lists begin.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct TacRecord {
    pub(crate) tac: u32,
    pub(crate) dense_mask: u16,
    pub(crate) sparse_mask: u16,
    pub(crate) dense_first: u32,
    pub(crate) sparse_first: u32,
    pub(crate) ranges_first: u32,
    pub(crate) runs_first: u32,
    pub(crate) far_first: u32,
    pub(crate) reserved: u32,
}

/// A dense block: which of its lines are there.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct Dense {
    pub(crate) presence: [u64; 5],
    pub(crate) before: [u16; 5],
    pub(crate) reserved16: u16,
    pub(crate) first_line: u32,
    pub(crate) reserved64: u64,
}

/// Two bits for each of 224 serials, and the running ranks.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct Line {
    paired_rank: u32,
    more_rank: u32,
    low: [u8; 28],
    high: [u8; 28],
}

/// An interval of serials whose slots are linked alike.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct Run {
    pub(crate) first: u32,
    pub(crate) length: u32,
    pub(crate) other_tac: u32,
    pub(crate) shift: i32,
}

/// What the two bits of a serial, or its sparse list, say; ranks are of the whole shard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum State {
    Absent,
    Registered,
    Paired { rank: u32, registered: bool },
    More { rank: u32 },
}

/// One shard in memory. What every look-up of many reads of it comes first, in two lines.
#[repr(C, align(64))]
pub struct Shard {
    pub(crate) index: TacIndex,
    pub(crate) dense: View<Dense>,
    pub(crate) lines: View<Line>,
    owners: View<u8>,
    owner_bits: u64,
    sparse_rank: [u32; 2],
    more_first: View<u32>,
    words: View<u64>,
    pub(crate) line_runs: LineRuns,
    pub(crate) tacs: View<TacRecord>,
    pub(crate) sparse: View<[u32; 3]>,
    lists: [View<u16>; 3],
    pub(crate) ranges: Sampled,
    pub(crate) runs: View<Run>,
    pub(crate) far: Sampled,
    /// Keys that have words in `far`: few have, and a search costs more than all else.
    pub(crate) linked: Filter,
    pub(crate) far_tacs: View<u32>,
    beside_blocked: OnceLock<Box<[u64]>>,
    /// First TAC of its range.
    pub first_tac: u32,
    /// Last TAC of its range.
    pub last_tac: u32,
    /// How long the dictionary of IMSI blocks must be.
    pub blocks_min: u64,
}

impl Shard {
    /// Reads a shard.
    pub fn of(segment: &Segment) -> Result<Self, String> {
        segment.expect(Kind::Shard)?;
        let meta: View<u64> = segment.view(15)?;
        let meta: [u64; META_LENGTH] = (*meta).try_into().map_err(|_| "has no META section")?;
        if !(1..=OWNER_BITS_MAX).contains(&meta[0]) {
            return Err(format!("its owners are {} bits wide; allowed are 1 to {OWNER_BITS_MAX}", meta[0]));
        }
        let tacs: View<TacRecord> = segment.view(1)?;
        let far = Sampled::new(segment.view(13)?);
        let (dense, lines): (View<Dense>, View<Line>) = (segment.view(2)?, segment.view(3)?);
        let sparse_rank = [meta[1] as u32, meta[2] as u32];
        Ok(Self {
            index: TacIndex::new(&slots_of(&tacs, 0)),
            line_runs: LineRuns::new(&dense, &lines, sparse_rank[0]),
            dense,
            lines,
            owners: segment.view(8)?,
            owner_bits: meta[0],
            sparse_rank,
            more_first: segment.view(9)?,
            words: segment.view(10)?,
            sparse: segment.view(4)?,
            lists: [segment.view(5)?, segment.view(6)?, segment.view(7)?],
            ranges: Sampled::new(segment.view(11)?),
            runs: segment.view(12)?,
            linked: linked_of(&tacs, &far),
            tacs,
            far,
            far_tacs: segment.view(14)?,
            beside_blocked: OnceLock::new(),
            first_tac: segment.first_tac,
            last_tac: segment.last_tac,
            blocks_min: meta[6],
        })
    }

    /// Its TACs, for an index of many shards in which it has a number.
    pub(crate) fn slots(&self, number: u32) -> Vec<TacSlot> {
        slots_of(&self.tacs, number)
    }

    /// Keys that this shard links to keys of its own that are stolen or lost; worked out when it is first asked.
    pub(crate) fn beside_blocked(&self) -> &[u64] {
        self.beside_blocked.get_or_init(|| linked_blocks::beside_blocked(self))
    }

    #[inline(always)]
    pub(crate) fn dense_state(&self, line: u32, position: u32) -> State {
        let Some(line) = self.lines.get(line as usize) else { return State::Absent };
        let (byte, bit) = (position as usize / 8, position % 8);
        let (low, high) = (line.low[byte] >> bit & 1, line.high[byte] >> bit & 1);
        match (high, low) {
            (0, 0) => State::Absent,
            (0, _) => State::Registered,
            (_, 0) => State::Paired {
                rank: line.first_rank() + line.count_before(position, !0),
                registered: line.paired_rank & FLAG != 0,
            },
            _ => State::More { rank: line.more_rank.wrapping_add(line.count_before(position, 0)) },
        }
    }

    pub(crate) fn sparse_state(&self, block: u32, low: u16) -> State {
        let block = block as usize;
        let (Some(record), Some(next)) = (self.sparse.get(block), self.sparse.get(block + 1)) else {
            return State::Absent;
        };
        let place = |list: usize| {
            let (first, end) = (record[list] & RANK_MASK, next[list] & RANK_MASK);
            let found = self.lists[list].get(first as usize..end as usize)?.binary_search(&low).ok()?;
            Some(first.wrapping_add(found as u32))
        };
        if let Some(place) = place(0) {
            return State::Paired {
                rank: self.sparse_rank[0].wrapping_add(place),
                registered: record[0] & FLAG != 0,
            };
        }
        if place(1).is_some() {
            return State::Registered;
        }
        place(2).map_or(State::Absent, |place| State::More { rank: self.sparse_rank[1].wrapping_add(place) })
    }

    /// Fetches what `prefetch_owner` is likely to, for a serial at a position of a line of a block.
    #[inline(always)]
    pub(crate) fn prefetch_likely_owner(&self, block: u32, line: u32, position: u32) {
        let Some(rank) = self.line_runs.likely_rank(block, line, position) else { return };
        let middle = self.owner_byte(rank).wrapping_add(OWNER_BYTES / 2);
        let first = middle.wrapping_sub((LIKELY_LINES - 1) * CACHE_LINE / 2);
        (0..LIKELY_LINES).for_each(|line| prefetch_once(&self.owners, first.wrapping_add(line * CACHE_LINE)));
    }

    /// Fetches what `prefetch_block` reads.
    #[inline(always)]
    pub(crate) fn prefetch_owner(&self, rank: u32) {
        let at = self.owner_byte(rank);
        prefetch_once(&self.owners, at);
        // One in ten reaches into the next line.
        prefetch_once(&self.owners, at + OWNER_BYTES - 1);
    }

    /// Fetches what the head of a paired serial is read from besides.
    #[inline(always)]
    pub(crate) fn prefetch_block(&self, rank: u32, blocks: &View<u64>) {
        if let Some(number) = self.owner(rank) {
            prefetch(blocks, (number >> 16) as usize);
        }
    }

    /// Fetches what `prefetch_words` reads.
    #[inline(always)]
    pub(crate) fn prefetch_more(&self, rank: u32) {
        prefetch(&self.more_first, rank as usize);
    }

    /// Fetches the row of a serial with more.
    #[inline(always)]
    pub(crate) fn prefetch_words(&self, rank: u32) {
        if let Some(first) = self.more_first.get(rank as usize) {
            prefetch(&self.words, *first as usize);
        }
    }

    #[inline(always)]
    fn owner_byte(&self, rank: u32) -> usize {
        ((u64::from(rank) * self.owner_bits) >> 3) as usize
    }

    /// Number of the owner of a paired serial: of its IMSI block, and 16 bits.
    #[inline(always)]
    fn owner(&self, rank: u32) -> Option<u64> {
        let at = self.owner_byte(rank);
        let bytes = self.owners.get(at..at.wrapping_add(OWNER_BYTES)).and_then(<[u8]>::first_chunk)?;
        // At most 36 bits from at most bit 7 on: they lie in 8 bytes.
        let bits = u64::from_le_bytes(*bytes) >> ((u64::from(rank) * self.owner_bits) & 7);
        Some(bits & ((1 << self.owner_bits) - 1))
    }

    /// Head of a paired serial; absent where its owner is nowhere.
    #[inline(always)]
    pub(crate) fn head(&self, rank: u32, registered: bool, blocks: &[u64]) -> u64 {
        let Some(number) = self.owner(rank) else { return 0 };
        let Some(block) = blocks.get((number >> 16) as usize) else { return 0 };
        let flag = if registered { REGISTERED } else { 0 };
        flag | block << 16 | number & 0xFFFF
    }

    /// Ranks of the records that have a word of which something is true, in order.
    pub(crate) fn records_with(&self, wanted: impl Fn(u64) -> bool) -> Vec<u32> {
        let mut ranks: Vec<u32> = Vec::new();
        // A few in a thousand are wanted: whole chunks without one are passed over fast.
        for (chunk, words) in self.words.chunks(CHUNK_WORDS).enumerate() {
            if words.iter().fold(false, |any, word| any | wanted(*word)) {
                let places = words.iter().enumerate().filter(|(_, word)| wanted(**word));
                ranks.extend(places.map(|(at, _)| self.record_at(chunk * CHUNK_WORDS + at)));
            }
        }
        ranks.dedup();
        ranks
    }

    /// Rank of the record that holds a place of `words`.
    fn record_at(&self, place: usize) -> u32 {
        (self.more_first.partition_point(|first| *first as usize <= place) as u32).saturating_sub(1)
    }

    /// Serials with more in dense blocks: theirs are the ranks below this.
    pub(crate) fn more_in_dense(&self) -> u32 {
        self.sparse_rank[1]
    }

    /// Rank of the first serial with more of a line; after the last line, that of all lines' end.
    pub(crate) fn more_rank(&self, line: u32) -> u32 {
        self.lines.get(line as usize).map_or(self.more_in_dense(), |line| line.more_rank)
    }

    /// Position of a serial with more in a line, by its rank.
    pub(crate) fn more_position(&self, line: u32, rank: u32) -> Option<u32> {
        let line = self.lines.get(line as usize)?;
        let mut left = rank.checked_sub(line.more_rank)?;
        for (at, (low, high)) in (0..).zip(line.low.iter().zip(&line.high)) {
            let mut both = low & high;
            if left < both.count_ones() {
                (0..left).for_each(|_| both &= both - 1);
                return Some(at * 8 + both.trailing_zeros());
            }
            left -= both.count_ones();
        }
        None
    }

    /// Low 16 bits of the serial with more of a rank beyond those of dense blocks, in a sparse block that has it.
    pub(crate) fn more_low(&self, block: u32, rank: u32) -> Option<u16> {
        let place = rank.checked_sub(self.sparse_rank[1])?;
        let block = block as usize;
        let (first, end) = (self.sparse.get(block)?[2], self.sparse.get(block + 1)?[2]);
        if !(first..end).contains(&place) {
            return None;
        }
        self.lists[2].get(place as usize).copied()
    }

    pub(crate) fn record(&self, rank: u32) -> Option<Row<'_>> {
        let rank = rank as usize;
        let (first, end) = (self.more_first.get(rank)?, self.more_first.get(rank + 1)?);
        let (head, words) = self.words.get(*first as usize..*end as usize)?.split_first()?;
        Some(Row { head: *head, words })
    }
}

impl Dense {
    /// How many of its lines are there.
    pub(crate) fn lines(&self) -> u32 {
        self.presence.iter().map(|word| word.count_ones()).sum()
    }

    /// Place in the shard of a line; None where it is not there.
    #[inline(always)]
    pub(crate) fn line(&self, line: u32) -> Option<u32> {
        let (word, bit) = (line as usize >> 6, 1u64 << (line & 63));
        let presence = self.presence[word];
        if presence & bit == 0 {
            return None;
        }
        let before = u32::from(self.before[word]) + (presence & (bit - 1)).count_ones();
        Some(self.first_line.wrapping_add(before))
    }

    /// Numbers of the lines that are there.
    pub(crate) fn present(&self) -> impl Iterator<Item = u32> {
        (0..).zip(&self.presence).flat_map(|(word, bits)| {
            (0..u64::BITS).filter(move |bit| bits >> bit & 1 != 0).map(move |bit| word * u64::BITS + bit)
        })
    }
}

impl Line {
    /// Rank of its first paired serial.
    pub(crate) fn first_rank(&self) -> u32 {
        self.paired_rank & RANK_MASK
    }

    #[cfg(test)]
    pub(crate) fn of_rank(rank: u32) -> Self {
        Self { paired_rank: rank, ..Self::zeroed() }
    }

    /// Serials before a position whose high bit is set, and whose low bit is set in the other of `flip`.
    #[inline(always)]
    fn count_before(&self, position: u32, flip: u64) -> u32 {
        let bytes = |plane: &[u8; 28], at: usize| {
            plane[at..].first_chunk().map_or(0, |word| u64::from_le_bytes(*word))
        };
        let word = |at: usize| match at {
            // The last word is half a word, read from before its begin.
            3 => (bytes(&self.high, 20) & (bytes(&self.low, 20) ^ flip)) >> 32,
            _ => bytes(&self.high, at * 8) & (bytes(&self.low, at * 8) ^ flip),
        };
        // Without branches: where a serial lies in its line is a matter of chance.
        let mut count = 0;
        for at in 0..4 {
            let bits = position.saturating_sub(64 * at as u32).min(64);
            count += (word(at) & (!0_u64).unbounded_shr(64 - bits)).count_ones();
        }
        count
    }
}

/// What an index of TACs holds of all records but the last, which ends the lists of the one before.
fn slots_of(tacs: &[TacRecord], shard: u32) -> Vec<TacSlot> {
    let known = tacs.split_last().map_or(&[][..], |(_, known)| known);
    let slot = |(entry, record): (u32, &TacRecord)| {
        let TacRecord { tac, dense_first, sparse_first, dense_mask, sparse_mask, .. } = *record;
        TacSlot { tac, shard, entry, dense_first, sparse_first, dense_mask, sparse_mask }
    };
    (0..).zip(known).map(slot).collect()
}

/// The keys that have single links.
fn linked_of(tacs: &[TacRecord], far: &Sampled) -> Filter {
    let mut linked = Filter::new(far.len(), LINKED_BITS);
    for pair in tacs.windows(2) {
        let first_key = u64::from(pair[0].tac) * SERIALS;
        let words = far.of(pair[0].far_first as usize..pair[1].far_first as usize);
        words.iter().for_each(|word| linked.add(first_key + (word >> SERIAL_SHIFT)));
    }
    linked
}
