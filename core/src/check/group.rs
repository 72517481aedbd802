//! Many checks at once, in one thread: each waits for memory while the others go on.
//!
//! A group goes down the tables in chunks, one step apart, so that what one chunk fetches arrives while the others
//! are worked on, and the memory is asked evenly:
//!
//! ```text
//! time ────────►
//! chunk 1   read text │ begin     │ find line │ find state │ fetch row │ near facts
//! chunk 2             │ read text │ begin     │ find line  │ find state│ fetch row │ near facts
//! chunk 3                         │ read text │ begin      │ ...
//! ```
//!
//! What few of them need, other slots and ranges, is then looked up for those together.

use std::ops::Range;

use super::{Judged, Moment, OtherSlots, Parsed, Question, Slot, Tables, Verdict};
use crate::case_table::Pair;
use crate::judge::Near;
use crate::place::Place;
use crate::policy::far;

/// Checks that go down the tables together: all that they need stays in the first cache.
pub const GROUP: usize = 128;
/// Checks that take a step together.
const CHUNK: usize = 32;
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

impl Tables {
    /// Judges many identities at one second, in order; the verdicts are added to `out`.
    pub fn check_batch(&self, questions: &[Question<'_>], now: u64, out: &mut Vec<Verdict>) {
        let moment = self.at(now);
        let mut unpaired = Vec::with_capacity(GROUP);
        for questions in questions.chunks(GROUP) {
            self.judge_group(questions, &moment, |verdict, place| {
                if verdict.unpaired.is_some() && self.cases.is_some() {
                    unpaired.push((out.len(), place));
                }
                out.push(verdict);
            });
            unpaired.drain(..).for_each(|(at, place)| self.find_case(&mut out[at], place, &moment));
        }
    }

    /// Judges many pairs at one second, in order, as checks of their texts are judged: for the keeper of the cases.
    pub fn judge_pairs(&self, pairs: impl ExactSizeIterator<Item = Pair>, now: u64) -> Judged {
        let (moment, count) = (self.at(now), pairs.len());
        let mut judged = Judged {
            reasons: Vec::with_capacity(count),
            outcomes: Vec::with_capacity(count),
            ends: Vec::with_capacity(count),
        };
        let (mut pairs, mut texts) = (pairs.peekable(), Vec::with_capacity(GROUP));
        while pairs.peek().is_some() {
            texts.clear();
            texts.extend(pairs.by_ref().take(GROUP).map(PairText::of));
            let questions: Vec<_> = texts.iter().map(PairText::question).collect();
            self.judge_group(&questions, &moment, |verdict, place| {
                judged.reasons.push(verdict.reason);
                judged.outcomes.push((place / 8) as u8);
                judged.ends.push(verdict.deadline);
            });
        }
        judged
    }

    /// Judges at most a group of identities, in order, but for their cases.
    #[inline]
    fn judge_group<'t>(
        &'t self,
        questions: &[Question<'_>],
        moment: &Moment<'t>,
        mut judged: impl FnMut(Verdict, usize),
    ) {
        let count = questions.len();
        let (mut group, mut places) = (Vec::with_capacity(count), Vec::with_capacity(count));
        let mut nears: Vec<Near> = Vec::with_capacity(count);
        for now in 0..count.div_ceil(CHUNK) + STEPS {
            let chunk = |ago| chunk(now, ago, count);
            group.extend(questions[chunk(0)].iter().map(|question| self.read(question)));
            places.extend(group[chunk(1)].iter().map(|parsed| self.begin(parsed)));
            places[chunk(2)].iter_mut().for_each(Place::find_line);
            places[chunk(3)].iter_mut().for_each(Place::find_state);
            places[chunk(3)].iter().for_each(Place::fetch_owner);
            places[chunk(4)].iter().for_each(|place| self.generation.fetch_row(place));
            let ready = group[chunk(STEPS)].iter().zip(&mut places[chunk(STEPS)]);
            nears.extend(ready.map(|(parsed, place)| self.near(parsed, place, moment)));
        }
        let mut beside = self.look_beside(&group, &mut places, &nears).into_iter().peekable();
        for (at, ((parsed, place), near)) in group.iter().zip(&places).zip(&nears).enumerate() {
            let others = beside.next_if(|(other, _)| *other == at).map(|(_, slots)| slots);
            let (verdict, place) = self.judge(parsed, *place, near, others, moment);
            judged(verdict, place);
        }
    }

    /// Brings the look-ups of other slots and ranges forward, for those of a group that want them; the slots each
    /// with its place in the group.
    fn look_beside<'t>(
        &'t self,
        group: &[Parsed<'_>],
        places: &mut [Place<'t>],
        nears: &[Near],
    ) -> Vec<(usize, OtherSlots<'t>)> {
        let mut wanted = Vec::new();
        for (at, (near, place)) in nears.iter().zip(&mut *places).enumerate() {
            if near.wants & far::LINKS != 0 {
                place.fetch_linked();
                wanted.push(at);
            }
            if near.wants & far::RANGES != 0 {
                place.fetch_pieces();
            }
        }
        wanted.iter().for_each(|at| places[*at].fetch_links());
        let slots = wanted.into_iter().filter_map(|at| {
            let key = group[at].key?;
            Some((at, self.other_slots(key, &mut places[at])))
        });
        let mut beside: Vec<_> = slots.collect();
        self.look_up(&mut beside, |(_, slots)| slots.first.as_mut());
        beside
    }

    /// Brings many look-ups forward: all take each step before any takes the next.
    #[inline]
    fn look_up<'t, T>(&'t self, many: &mut [T], slot: impl Fn(&mut T) -> Option<&mut Slot<'t>>) {
        many.iter_mut().filter_map(&slot).for_each(|slot| slot.place.find_line());
        many.iter_mut().filter_map(&slot).for_each(|slot| slot.place.find_state());
        many.iter_mut().filter_map(&slot).for_each(|slot| slot.place.fetch_owner());
        many.iter_mut().filter_map(&slot).for_each(|slot| self.generation.fetch_row(&slot.place));
    }
}
