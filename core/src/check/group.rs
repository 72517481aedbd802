//! Many checks at once, in one thread: each waits for memory while the others go on.
//!
//! A group goes down the tables in chunks, one step apart, so that what one chunk fetches arrives while the others
//! are worked on, and the memory is asked evenly:
//!
//! ```text
//! time ────────►
//! chunk 1   read text │ begin     │ find line │ find state │ fetch row │ ahead
//! chunk 2             │ read text │ begin     │ find line  │ find state│ fetch row │ ahead
//! chunk 3                         │ read text │ begin      │ ...
//! ```
//!
//! What was judged ahead is taken where the row has no items; of other rows it is worked out in the last step. Far facts,
//! other slots and ranges, are then looked up together for those that want some.

use std::ops::Range;

use super::{JudgedPairs, Moment, Parsed, Question, Said, Slot, Tables, Verdict};
use crate::bare::BareVerdict;
use crate::case_table::Pair;
use crate::judge::{FarFacts, Judged};
use crate::place::Place;
use crate::policy::far;

/// Checks that go down the tables together: all that they need stays in the first cache.
pub const GROUP: usize = 128;
/// Checks that take a step together.
const CHUNK: usize = 16;
/// So few have little to do while one waits for memory: their owners are fetched from where they are likely to be.
const FEW: usize = 4;
/// Steps of a look-up after its text was read.
const STEPS: usize = 5;

/// The digits of a pair as a node would send them.
struct PairText {
    digits: [u8; Self::IMEI + Self::CODE],
    /// Where the digits of the IMSI begin: the code has a 1 before them.
    imsi: usize,
}

impl PairText {
    const IMEI: usize = 14;
    /// The most digits of a number of 64 bits.
    const CODE: usize = 20;

    fn of(pair: Pair) -> Self {
        let mut text = Self { digits: [b'0'; Self::IMEI + Self::CODE], imsi: Self::IMEI + Self::CODE };
        let (imei, code) = text.digits.split_at_mut(Self::IMEI);
        write_digits(pair.key, imei);
        text.imsi -= write_digits(pair.imsi, code).saturating_sub(1);
        text
    }

    fn question(&self) -> Question<'_> {
        Question { imei: &self.digits[..Self::IMEI], imsi: &self.digits[self.imsi..], ..Question::default() }
    }
}

/// Writes a number at the end of `out`, where zeros are; returns how many digits it has.
fn write_digits(mut number: u64, out: &mut [u8]) -> usize {
    let mut count = 0;
    for digit in out.iter_mut().rev() {
        if number == 0 {
            break;
        }
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
        count += 1;
    }
    count
}

/// Those of some number of places that take a step now: a chunk that began so many steps ago.
fn chunk(now: usize, ago: usize, places: usize) -> Range<usize> {
    now.checked_sub(ago).map_or(0..0, |first| (first * CHUNK).min(places)..((first + 1) * CHUNK).min(places))
}

/// A check of a group whose verdict is not settled: far facts can change it, or it was not judged ahead.
struct Left<'t> {
    /// Its place in the group.
    at: usize,
    said: Said<'t>,
    far: FarFacts,
}

impl Tables {
    /// Judges many identities at one second, in order; the verdicts are added to `out`.
    pub fn check_batch(&self, questions: &[Question<'_>], now: u64, out: &mut Vec<Verdict>) {
        let moment = self.at(now);
        let mut unpaired = Vec::with_capacity(GROUP);
        for questions in questions.chunks(GROUP) {
            self.judge_group(questions, &moment, |parsed, judged| {
                let verdict = self.verdict(parsed, judged, &moment);
                if let (Some(pair), Some(cases)) = (verdict.unpaired, &self.cases) {
                    cases.prefetch(pair);
                    unpaired.push((out.len(), *judged));
                }
                out.push(verdict);
            });
            unpaired.drain(..).for_each(|(at, judged)| self.find_case(&mut out[at], &judged, &moment));
        }
    }

    /// Judges many pairs at one second, in order, as checks of their texts are judged: for the keeper of the cases.
    pub fn judge_pairs(&self, pairs: impl ExactSizeIterator<Item = Pair>, now: u64) -> JudgedPairs {
        let (moment, count) = (self.at(now), pairs.len());
        let mut judged = JudgedPairs {
            reasons: Vec::with_capacity(count),
            outcomes: Vec::with_capacity(count),
            ends: Vec::with_capacity(count),
        };
        let (mut pairs, mut texts) = (pairs.peekable(), Vec::with_capacity(GROUP));
        while pairs.peek().is_some() {
            texts.clear();
            texts.extend(pairs.by_ref().take(GROUP).map(PairText::of));
            let questions: Vec<_> = texts.iter().map(PairText::question).collect();
            self.judge_group(&questions, &moment, |_, verdict| {
                judged.reasons.push(verdict.reason);
                judged.outcomes.push((verdict.place / 8) as u8);
                judged.ends.push(verdict.deadline);
            });
        }
        judged
    }

    /// Judges at most a group of identities, in order: what is known of a question, and what the tables say.
    #[inline(always)]
    fn judge_group<'t, 'q>(
        &'t self,
        questions: &'q [Question<'q>],
        moment: &Moment<'t>,
        mut judged: impl FnMut(&Parsed<'q>, &Judged),
    ) {
        let count = questions.len();
        let (mut group, mut places) = (Vec::with_capacity(count), Vec::with_capacity(count));
        let mut settled: Vec<Option<&Judged>> = Vec::with_capacity(count);
        let mut left = Vec::with_capacity(count);
        for now in 0..count.div_ceil(CHUNK) + STEPS {
            let chunk = |ago| chunk(now, ago, count);
            group.extend(questions[chunk(0)].iter().map(|question| self.read(question)));
            places.extend(group[chunk(1)].iter().map(|parsed| self.begin(parsed)));
            // Not `for_each`: the compiler makes that a function of its own, which is called for each chunk.
            for place in &mut places[chunk(2)] {
                if count <= FEW { place.find_line_and_owner() } else { place.find_line() }
            }
            for place in &mut places[chunk(3)] {
                place.find_state();
            }
            places[chunk(3)].iter().for_each(Place::fetch_owner);
            places[chunk(4)].iter().for_each(|place| self.generation.fetch_row(place));
            for at in chunk(STEPS) {
                let ahead = self.ahead(&group[at], &places[at], moment);
                let verdict = ahead.and_then(BareVerdict::settled);
                settled.push(verdict);
                if verdict.is_none() {
                    places[at].fetch_record();
                    let said = self.said(ahead, &group[at], &mut places[at], moment);
                    left.push(Left { at, said, far: FarFacts::default() });
                }
            }
        }
        self.look_beside(&group, &mut places, &mut left, moment);
        let mut left = left.iter();
        for (parsed, settled) in group.iter().zip(&settled) {
            if let Some(settled) = settled {
                judged(parsed, settled);
            } else if let Some(Left { said, far, .. }) = left.next() {
                judged(parsed, &said.judge(far, moment));
            }
        }
    }

    /// Looks up the far facts of those of a group that want some.
    fn look_beside<'t>(
        &'t self,
        group: &[Parsed<'_>],
        places: &mut [Place<'t>],
        left: &mut [Left<'t>],
        moment: &Moment<'_>,
    ) {
        let mut others = Vec::with_capacity(left.len());
        let wanting =
            |what| left.iter().filter(move |left| left.said.wants() & what != 0).map(|left| left.at);
        wanting(far::LINKS).for_each(|at| places[at].fetch_links());
        wanting(far::LINKS).for_each(|at| places[at].fetch_single_links());
        wanting(far::RANGES).for_each(|at| places[at].fetch_ranges());
        wanting(far::RANGES).for_each(|at| places[at].fetch_pieces());
        for (of, one) in left.iter().enumerate() {
            if one.said.wants() & far::LINKS != 0
                && let Some(key) = group[one.at].key
            {
                self.other_slots(key, &mut places[one.at], &mut |slot| others.push(Slot { of, ..slot }));
            }
        }
        self.look_up(&mut others);
        for slot in &mut others {
            let one = &mut left[slot.of];
            self.add_slot(&mut one.far, slot, group[one.at].imsi.code, moment);
        }
        for one in left {
            let wants = one.said.wants();
            self.add_others(&mut one.far, &group[one.at], &mut places[one.at], wants, moment);
        }
    }

    /// Brings many look-ups forward: all take each step before any takes the next.
    fn look_up(&self, slots: &mut [Slot<'_>]) {
        slots.iter_mut().for_each(|slot| slot.place.find_line());
        slots.iter_mut().for_each(|slot| slot.place.find_state());
        slots.iter().for_each(|slot| slot.place.fetch_owner());
        slots.iter().for_each(|slot| self.generation.fetch_row(&slot.place));
    }
}
