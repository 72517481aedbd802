//! A check: identity, look-up, near facts, far facts where they are still needed, verdict, case. As `Checker` of
//! eir/check.py.
//!
//! ```text
//! text ──read──► identity ──look-up──► row ──Near──► places in the tables ──judge──► verdict ──► case of the pair
//!                                                          └─ needs ─► other slots, ranges ─┘
//! ```
//!
//! No I/O, no lock, no rule: the rules are in the policy's tables.

use std::sync::Arc;

use crate::case_table::{CUT_OFF, CaseTable, Pair};
use crate::facts::{self, Row, RowFacts};
use crate::generation::Generation;
use crate::identity::{Imei, Imsi, SERIALS, Subject, parse_imei, parse_imsi};
use crate::judge::{Circumstances, FarFacts, Near, cache_seconds, judge};
use crate::place::{Found, Place};
use crate::policy::{Policy, Stretch};

/// What a node asks; text in UTF-8 as it came.
#[derive(Clone, Copy, Default, Debug)]
#[allow(missing_docs)]
pub struct Question<'a> {
    pub imei: &'a [u8],
    pub imsi: &'a [u8],
    pub serving_plmn: &'a [u8],
    pub emergency: bool,
}

/// The answer; `deadline` in seconds since the Unix epoch, 0 for none.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub struct Verdict {
    pub status: u8,
    pub reason: u8,
    pub deadline: u64,
    pub serial: u64,
    pub stale: bool,
    pub cache_seconds: u32,
    /// A pair that has a case, or is to have one.
    pub unpaired: Option<Pair>,
}

/// What many pairs of home SIMs are judged, a column each: reason, outcome, when an exemption ends that the
/// reason rests on (0: none). Their cases have no part in it.
#[derive(Default, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub struct Judged {
    pub reasons: Vec<u8>,
    pub outcomes: Vec<u8>,
    pub ends: Vec<u64>,
}

/// What checks are answered from; immutable.
pub struct Tables {
    /// The table state.
    pub generation: Arc<Generation>,
    /// The rules, compiled.
    pub policy: Arc<Policy>,
    /// By number of a device type (0: none known), whether the policy exempts it; empty where it exempts none.
    pub exempt_types: Vec<bool>,
    /// The override: every check is allowed.
    pub allow_all: bool,
    /// The tables are older than the policy likes.
    pub stale: bool,
    /// Where cases are found; None where none are kept.
    pub cases: Option<Arc<CaseTable>>,
}

/// Checks of a batch that are on their way at once: enough to hide the memory's latency, all in the first cache.
const IN_FLIGHT: usize = 64;

/// A question with its text read, and how far its look-up has come.
struct Asked<'q, 't> {
    question: &'q Question<'q>,
    imei: Imei,
    imsi: Imsi,
    slot: Option<Slot<'t>>,
}

/// A slot of a device: its key, and where to look for it.
#[derive(Clone, Copy)]
struct Slot<'t> {
    key: u64,
    place: Place<'t>,
}

impl Slot<'_> {
    fn tac(&self) -> u64 {
        self.key / SERIALS
    }
}

/// The other slots of a device: seldom more than one.
#[derive(Default)]
struct OtherSlots<'t> {
    first: Option<Slot<'t>>,
    more: Vec<Slot<'t>>,
}

/// A second, and the policy that is in force then.
#[derive(Clone, Copy)]
struct Moment<'t> {
    now: u64,
    stretch: &'t Stretch,
    next_change: u64,
}

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

impl Tables {
    /// Judges one identity at a second since the Unix epoch.
    pub fn check(&self, question: &Question<'_>, now: u64) -> Verdict {
        let moment = self.at(now);
        let mut asked = self.read(question);
        let near = self.near(&mut asked, &moment);
        let (mut verdict, place) = self.judge(&mut asked, &near, None, &moment);
        self.find_case(&mut verdict, place, &moment);
        verdict
    }

    /// Fetches what checks of some IMEIs will read, as far as it can be known beforehand.
    pub fn look_ahead(&self, imeis: &[&[u8]]) {
        let slots = imeis.iter().filter_map(|imei| self.slot(&parse_imei(imei, self.policy.placeholders())));
        let mut slots: Vec<Slot<'_>> = slots.collect();
        look_up(&mut slots, |slot| Some(&mut slot.place));
    }

    /// Judges many identities at one second, in order; the verdicts are added to `out`.
    pub fn check_batch(&self, questions: &[Question<'_>], now: u64, out: &mut Vec<Verdict>) {
        let moment = self.at(now);
        let mut unpaired = Vec::with_capacity(IN_FLIGHT);
        for questions in questions.chunks(IN_FLIGHT) {
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
        let (mut pairs, mut texts) = (pairs.peekable(), Vec::with_capacity(IN_FLIGHT));
        while pairs.peek().is_some() {
            texts.clear();
            texts.extend(pairs.by_ref().take(IN_FLIGHT).map(PairText::of));
            let questions: Vec<_> = texts.iter().map(PairText::question).collect();
            self.judge_group(&questions, &moment, |verdict, place| {
                judged.reasons.push(verdict.reason);
                judged.outcomes.push((place / 8) as u8);
                judged.ends.push(verdict.deadline);
            });
        }
        judged
    }

    /// Judges at most so many identities as are in flight at once, in order, but for their cases.
    #[inline]
    fn judge_group<'t>(
        &'t self,
        questions: &[Question<'_>],
        moment: &Moment<'t>,
        mut judged: impl FnMut(Verdict, usize),
    ) {
        let mut group: Vec<_> = questions.iter().map(|question| self.read(question)).collect();
        look_up(&mut group, |asked| asked.slot.as_mut().map(|slot| &mut slot.place));
        let near: Vec<_> = group.iter_mut().map(|asked| self.near(asked, moment)).collect();
        let mut beside = self.look_beside(&mut group, &near, moment.stretch).into_iter().peekable();
        for (at, (asked, near)) in group.iter_mut().zip(&near).enumerate() {
            let others = beside.next_if(|(other, _)| *other == at).map(|(_, slots)| slots);
            let (verdict, place) = self.judge(asked, near, others, moment);
            judged(verdict, place);
        }
    }

    /// Status that a client gets, by status.
    pub fn status_map(&self, client: &[u8]) -> &[u8] {
        self.policy.status_map(client)
    }

    fn at(&self, now: u64) -> Moment<'_> {
        let (stretch, next_change) = self.policy.at(now);
        Moment { now, stretch, next_change }
    }

    #[inline]
    fn read<'q>(&self, question: &'q Question<'q>) -> Asked<'q, '_> {
        let imei = parse_imei(question.imei, self.policy.placeholders());
        let slot = self.slot(&imei);
        let imsi = parse_imsi(question.imsi);
        self.generation.prefetch_imsi(imsi.code);
        Asked { question, imei, imsi, slot }
    }

    /// Begins the look-up of an IMEI that has a key.
    #[inline]
    fn slot(&self, imei: &Imei) -> Option<Slot<'_>> {
        let Subject::Key(key) = imei.subject else { return None };
        if !self.exempt_types.is_empty() {
            self.generation.prefetch_type(key);
        }
        self.generation.linked_blocks.prefetch(key);
        Some(self.slot_of(key))
    }

    #[inline]
    fn slot_of(&self, key: u64) -> Slot<'_> {
        self.generation.prefetch_levels(key);
        Slot { key, place: self.generation.place(key) }
    }

    /// Brings the look-ups of other slots forward, for those of a group that need them, by what their rows said;
    /// each with its place in the group.
    fn look_beside<'t>(
        &'t self,
        group: &mut [Asked<'_, 't>],
        near: &[Near],
        stretch: &Stretch,
    ) -> Vec<(usize, OtherSlots<'t>)> {
        let mut wanted = [false; IN_FLIGHT];
        for ((asked, near), wanted) in group.iter().zip(near).zip(&mut wanted) {
            let Some(slot) = &asked.slot else { continue };
            *wanted = near.needs_links(stretch, || self.generation.linked_blocks.may_have(slot.key));
            if *wanted {
                slot.place.fetch_linked();
            }
            if near.needs_ranges(stretch) {
                slot.place.fetch_pieces();
            }
        }
        let slots = group.iter_mut().zip(wanted).enumerate().filter(|(_, (_, wanted))| *wanted);
        let mut slots: Vec<_> =
            slots.filter_map(|(at, (asked, _))| Some((at, asked.slot.as_mut()?))).collect();
        slots.iter().for_each(|(_, slot)| slot.place.fetch_links());
        let beside = slots.iter_mut().map(|(at, slot)| (*at, self.other_slots(slot)));
        let mut beside: Vec<_> = beside.collect();
        look_up(&mut beside, |(_, slots)| slots.first.as_mut().map(|slot| &mut slot.place));
        beside
    }

    /// Finds the other slots of a device, and begins their look-up.
    fn other_slots<'t>(&'t self, slot: &mut Slot<'t>) -> OtherSlots<'t> {
        let mut others = OtherSlots::default();
        self.generation.links(slot.key, &mut slot.place, &mut |key| {
            let other = self.slot_of(key);
            match &others.first {
                None => others.first = Some(other),
                Some(_) => others.more.push(other),
            }
        });
        others
    }

    /// What the row of an identity says.
    #[inline]
    fn near<'t>(&'t self, asked: &mut Asked<'_, 't>, moment: &Moment<'_>) -> Near {
        let row = match (&mut asked.slot, &asked.imei.subject) {
            (Some(slot), _) => self.generation.row(&self.generation.find(slot.key, &mut slot.place)),
            (None, Subject::Raw(text, length)) => self.generation.raw_row(&text[..usize::from(*length)]),
            (None, _) => Row::default(),
        };
        let tac = asked.slot.as_ref().map(Slot::tac);
        let circumstances = Circumstances {
            imei_class: asked.imei.class,
            imsi: asked.imsi,
            serving_plmn: asked.question.serving_plmn,
            emergency: asked.question.emergency,
            allow_all: self.allow_all,
            tac,
            type_exempt: tac.is_some_and(|tac| self.type_exempt(tac)),
        };
        Near::of(row, &circumstances, moment.now, moment.stretch)
    }

    /// The verdict but for the pair's case, and the place of its outcome in the table of statuses.
    #[inline]
    fn judge<'t>(
        &'t self,
        asked: &mut Asked<'_, 't>,
        near: &Near,
        others: Option<OtherSlots<'t>>,
        moment: &Moment<'t>,
    ) -> (Verdict, usize) {
        let imsi = asked.imsi.code;
        let key = asked.slot.as_ref().map(|slot| slot.key);
        if let (Some(key), Some(cases)) = (key, &self.cases)
            && near.facts.owner != imsi
        {
            // Most of these pairs are unpaired: their slot arrives while the far facts are looked up.
            cases.prefetch(Pair { key, imsi });
        }
        let mut far = Far { tables: self, slot: asked.slot.as_mut(), others, imsi, moment };
        let judged = judge(near, &mut far, moment.stretch, self.stale);
        let Moment { now, stretch, next_change } = *moment;
        let (status, reason, deadline) = (judged.status, judged.reason, judged.deadline);
        let kept = if judged.passes { 0 } else { cache_seconds(status, deadline, stretch, next_change, now) };
        // The end of an exemption is a deadline like any other: its subscriber is to be warned.
        let ends = deadline != 0 && deadline.saturating_sub(now) <= stretch.exempt_notice_seconds;
        let unpaired = key.filter(|_| near.home && (judged.opens || ends)).map(|key| Pair { key, imsi });
        let (serial, stale) = (self.generation.serial, self.stale);
        (Verdict { status, reason, deadline, serial, stale, cache_seconds: kept, unpaired }, judged.place)
    }

    /// Adds to a verdict what the case of its pair says; one of another cause is none for this check.
    #[inline]
    fn find_case(&self, verdict: &mut Verdict, place: usize, moment: &Moment<'_>) {
        let (Some(pair), Some(cases)) = (verdict.unpaired, &self.cases) else { return };
        let Some(case) = cases.find(pair).filter(|case| case.cause == verdict.reason) else { return };
        let Moment { now, stretch, next_change } = *moment;
        verdict.status = stretch.outcomes[place + usize::from(case.state == CUT_OFF)];
        verdict.deadline = case.deadline;
        verdict.cache_seconds = cache_seconds(verdict.status, case.deadline, stretch, next_change, now);
    }

    #[inline]
    fn type_exempt(&self, tac: u64) -> bool {
        if self.exempt_types.is_empty() {
            return false;
        }
        let number = self.generation.device_type(tac) as usize;
        self.exempt_types.get(number).copied().unwrap_or(false)
    }
}

/// Brings many look-ups forward: all take each step before any takes the next, and what a step needs was fetched
/// meanwhile.
#[inline]
fn look_up<'t, T>(many: &mut [T], place: impl Fn(&mut T) -> Option<&mut Place<'t>>) {
    many.iter_mut().filter_map(&place).for_each(Place::find_block);
    many.iter_mut().filter_map(&place).for_each(Place::find_line);
    many.iter_mut().filter_map(&place).for_each(Place::find_state);
    many.iter_mut().filter_map(&place).for_each(|place| place.fetch_record());
}

/// Facts that cost a further look-up.
struct Far<'a, 't> {
    tables: &'t Tables,
    slot: Option<&'a mut Slot<'t>>,
    others: Option<OtherSlots<'t>>,
    imsi: u64,
    moment: &'a Moment<'t>,
}

impl<'t> Far<'_, 't> {
    fn each_slot(&mut self, mut found: impl FnMut(Found<'t>, u64)) {
        let Some(slot) = &mut self.slot else { return };
        let tables = self.tables;
        let others = self.others.get_or_insert_with(|| tables.other_slots(slot));
        for slot in others.first.iter_mut().chain(&mut others.more) {
            found(tables.generation.find(slot.key, &mut slot.place), slot.tac());
        }
    }

    fn pieces(&mut self) -> &'t [u64] {
        match &mut self.slot {
            Some(slot) => self.tables.generation.range_pieces(slot.key, &mut slot.place),
            None => &[],
        }
    }
}

impl FarFacts for Far<'_, '_> {
    fn linked_block(&mut self) -> bool {
        let blocks = &self.tables.generation.linked_blocks;
        if !self.slot.as_ref().is_some_and(|slot| blocks.may_have(slot.key)) {
            return false;
        }
        let mut blocked = false;
        self.each_slot(|slot, _| blocked |= facts::blocks_device(slot.words()));
        blocked
    }

    fn other_slots(&mut self) -> (bool, bool) {
        let (mut paired, mut owned) = (false, false);
        let (generation, imsi, moment) = (&self.tables.generation, self.imsi, self.moment);
        self.each_slot(|slot, tac| {
            let slot = RowFacts::of(generation.row(&slot), imsi, moment.now, moment.stretch, Some(tac));
            paired |= imsi != 0 && (slot.owner == imsi || slot.utilizer);
            owned |= slot.owner != 0 || slot.in_use_before;
        });
        (paired, owned)
    }

    fn range_blocks(&mut self) -> bool {
        facts::range_blocks(self.pieces())
    }

    fn range_registers(&mut self) -> bool {
        facts::range_registers(self.pieces())
    }

    fn imsi_exempt_until(&mut self) -> u64 {
        if self.imsi == 0 {
            return 0;
        }
        facts::imsi_exempt_until(self.tables.generation.imsi_row(self.imsi), self.moment.now)
    }
}
