//! A check: identity, near facts, gate, far facts, standing, status. As `Checker` of eir/check.py.
//!
//! No I/O, no lock, no rule: the rules are in the policy's tables.

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwapOption;

use crate::case_table::{CUT_OFF, CaseTable, Pair};
use crate::facts::{self, RowFacts, UNTIL_MASK};
use crate::generation::Generation;
use crate::identity::{Imei, Imsi, SERIALS, Subject, imei_class, imsi_class, parse_imei, parse_imsi};
use crate::place::{Found, Place};
use crate::policy::{self, Policy, Stretch, WHITELISTED, far, reason};

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

/// Kinds of SIMs from 3 on; below they are `imsi_class`.
mod imsi_kind {
    pub const HOME: usize = 3;
    pub const ABROAD: usize = 4;
    pub const FOREIGN: usize = 5;
}

/// Kinds of IMEIs from 9 on; below they are `imei_class`.
mod standing {
    pub const SHARED: usize = 9;
    pub const CLONED: usize = 10;
}

/// What the IMSI is to the slot.
mod relation {
    pub const NONE: usize = 0;
    pub const OWNER: usize = 1;
    pub const UTILIZER: usize = 2;
}

/// Place value of a field of the gate table, worked out by the compiler.
macro_rules! g {
    ($name:literal) => {
        const { policy::weight(&policy::GATE_FIELDS, $name) }
    };
}

/// Place value of a field of the standing table.
macro_rules! s {
    ($name:literal) => {
        const { policy::weight(&policy::STANDING_FIELDS, $name) }
    };
}

/// Checks of a batch that are on their way at once: enough to hide the memory's latency, all in the first cache.
const IN_FLIGHT: usize = 32;

/// A question with its text read, and how far its look-up has come.
struct Asked<'a, 't> {
    question: Question<'a>,
    imei: Imei,
    imsi: Imsi,
    key: Option<Slot<'t>>,
    other_slots: Option<OtherSlots<'t>>,
}

/// A slot of a device: its key, and where to look for it.
struct Slot<'t> {
    key: u64,
    place: Place<'t>,
}

/// The other slots of a device: seldom more than one.
#[derive(Default)]
struct OtherSlots<'t> {
    first: Option<Slot<'t>>,
    more: Vec<Slot<'t>>,
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
        let (mut verdict, place) = self.judge(&mut self.read(question), now);
        self.find_case(&mut verdict, place, now);
        verdict
    }

    /// Fetches what checks of some IMEIs will read, as far as it can be known beforehand.
    pub fn look_ahead(&self, imeis: &[&[u8]]) {
        let asked = imeis.iter().map(|imei| self.read(&Question { imei, ..Question::default() }));
        self.look_up(&mut asked.collect::<Vec<_>>());
    }

    /// Judges many identities at one second, in order; the verdicts are added to `out`.
    pub fn check_batch(&self, questions: &[Question<'_>], now: u64, out: &mut Vec<Verdict>) {
        let mut group = Vec::with_capacity(IN_FLIGHT);
        let mut unpaired = Vec::with_capacity(IN_FLIGHT);
        for questions in questions.chunks(IN_FLIGHT) {
            group.extend(questions.iter().map(|question| self.read(question)));
            self.look_up(&mut group);
            for asked in &mut group {
                let (verdict, place) = self.judge(asked, now);
                if verdict.unpaired.is_some() && self.cases.is_some() {
                    unpaired.push((out.len(), place));
                }
                out.push(verdict);
            }
            group.clear();
            unpaired.drain(..).for_each(|(at, place)| self.find_case(&mut out[at], place, now));
        }
    }

    /// Judges many pairs at one second, in order, as checks of their texts are judged: for the keeper of the cases.
    pub fn judge_pairs(&self, pairs: impl ExactSizeIterator<Item = Pair>, now: u64) -> Judged {
        let count = pairs.len();
        let mut judged = Judged {
            reasons: Vec::with_capacity(count),
            outcomes: Vec::with_capacity(count),
            ends: Vec::with_capacity(count),
        };
        let (mut pairs, mut texts) = (pairs.peekable(), Vec::with_capacity(IN_FLIGHT));
        while pairs.peek().is_some() {
            texts.clear();
            texts.extend(pairs.by_ref().take(IN_FLIGHT).map(PairText::of));
            let mut group: Vec<_> = texts.iter().map(|text| self.read(&text.question())).collect();
            self.look_up(&mut group);
            for asked in &mut group {
                let (verdict, place) = self.judge(asked, now);
                judged.reasons.push(verdict.reason);
                judged.outcomes.push((place / 8) as u8);
                judged.ends.push(verdict.deadline);
            }
        }
        judged
    }

    /// Brings the look-ups of a group forward: all take each step before any takes the next, and what a step needs
    /// was fetched meanwhile.
    fn look_up<'t>(&'t self, group: &mut [Asked<'_, 't>]) {
        for step in Place::STEPS {
            group.iter_mut().filter_map(|asked| asked.key.as_mut()).for_each(|slot| step(&mut slot.place));
        }
        group.iter().filter_map(|asked| asked.key.as_ref()).for_each(|slot| slot.place.fetch());
        for asked in group.iter_mut() {
            asked.other_slots = asked.key.as_mut().map(|slot| self.other_slots(slot));
        }
        for step in Place::STEPS {
            let slots = group.iter_mut().filter_map(|asked| asked.other_slots.as_mut());
            slots.filter_map(|slots| slots.first.as_mut()).for_each(|slot| step(&mut slot.place));
        }
        let others = group.iter().filter_map(|asked| asked.other_slots.as_ref()?.first.as_ref());
        others.for_each(|slot| slot.place.fetch_record());
    }

    /// Status that a client gets, by status.
    pub fn status_map(&self, client: &[u8]) -> &[u8] {
        self.policy.status_map(client)
    }

    fn read<'a>(&self, question: &Question<'a>) -> Asked<'a, '_> {
        let imei = parse_imei(question.imei, self.policy.placeholders());
        let key = match imei.subject {
            Subject::Key(key) => {
                if !self.exempt_types.is_empty() {
                    self.generation.prefetch_type(key);
                }
                Some(self.slot(key))
            }
            Subject::Raw(..) | Subject::Nothing => None,
        };
        let imsi = parse_imsi(question.imsi);
        self.generation.prefetch_imsi(imsi.code);
        Asked { question: *question, imei, imsi, key, other_slots: None }
    }

    /// Begins the look-up of a key.
    #[inline]
    fn slot(&self, key: u64) -> Slot<'_> {
        self.generation.prefetch_levels(key);
        Slot { key, place: self.generation.place(key) }
    }

    /// Finds the other slots of a device, and begins their look-up.
    fn other_slots<'t>(&'t self, slot: &mut Slot<'t>) -> OtherSlots<'t> {
        let (mut others, place) = (OtherSlots::default(), slot.place.clone());
        self.generation.links(slot.key, &mut slot.place, &mut |key| {
            // Most are neighbours: what is known of their TAC is known already.
            let other = match place.beside(key) {
                Some(place) => Slot { key, place },
                None => self.slot(key),
            };
            match &others.first {
                None => others.first = Some(other),
                Some(_) => others.more.push(other),
            }
        });
        others
    }

    /// The verdict but for the pair's case, and the place of its outcome in the table of statuses.
    fn judge<'t>(&'t self, asked: &mut Asked<'_, 't>, now: u64) -> (Verdict, usize) {
        let (stretch, next_change) = self.policy.at(now);
        let imsi = asked.imsi.code;
        let key = asked.key.as_ref().map(|slot| slot.key);
        let tac = key.map(|key| key / SERIALS);
        let row = match (&mut asked.key, &asked.imei.subject) {
            (Some(slot), _) => self.generation.row(&self.generation.find(slot.key, &mut slot.place)),
            (None, Subject::Raw(text, length)) => self.generation.raw_row(&text[..usize::from(*length)]),
            (None, _) => facts::Row::default(),
        };
        let near = RowFacts::of(row, imsi, now, stretch, tac);
        let (slot, others) = (asked.key.as_mut(), &mut asked.other_slots);
        let mut far = Far { tables: self, key: slot, others, imsi, now, stretch };
        if let (Some(key), Some(cases)) = (key, &self.cases)
            && near.owner != imsi
        {
            // Most of these pairs are unpaired: their slot arrives while the far facts are looked up.
            cases.prefetch(Pair { key, imsi });
        }
        let imsi_class = stretch.imsi_class(imsi);
        let tac_class = stretch.tac_class(tac);
        let kind = match asked.imsi.class {
            imsi_class::WELL_FORMED if !imsi_class.home() => imsi_kind::FOREIGN,
            imsi_class::WELL_FORMED if stretch.home_plmn(asked.question.serving_plmn) => imsi_kind::HOME,
            imsi_class::WELL_FORMED => imsi_kind::ABROAD,
            other => usize::from(other),
        };
        let individually = usize::from(near.individually_registered());
        let type_exempt = tac.is_some_and(|tac| self.type_exempt(tac) || stretch.tac_exempt[tac_class]);

        let mut gate = usize::from(asked.question.emergency) * g!("emergency")
            + usize::from(self.allow_all) * g!("override")
            + usize::from(near.exempt_pair != 0) * g!("pair_exempt")
            + usize::from(near.own_block) * g!("own_block")
            + kind * g!("imsi_kind")
            + individually * g!("individually_registered")
            + usize::from(near.exempt_imei != 0) * g!("imei_exempt")
            + usize::from(imsi != 0 && imsi_class.exempt()) * g!("imsi_range_exempt")
            + usize::from(type_exempt) * g!("device_type_exempt");
        let needs = stretch.gate_needs[gate];
        let mut exempt_imsi = 0;
        if needs & far::LINKS != 0 {
            gate += usize::from(far.linked_block()) * g!("linked_block");
        }
        if needs & far::RANGES != 0 {
            gate += usize::from(facts::range_blocks(far.pieces())) * g!("range_block");
        }
        if needs & far::IMSI_ROWS != 0 {
            exempt_imsi = far.imsi_exempt_until();
            gate += usize::from(exempt_imsi != 0) * g!("imsi_exempt");
        }
        let mut reason = stretch.gate[gate];
        if reason == 0 {
            let relation = match () {
                () if imsi != 0 && near.owner == imsi => relation::OWNER,
                () if near.utilizer => relation::UTILIZER,
                () => relation::NONE,
            };
            let kind_of_imei = match asked.imei.class {
                imei_class::KEY if near.cloned => standing::CLONED,
                imei_class::KEY if near.pairs > stretch.pairs_per_imei_max => standing::SHARED,
                class => usize::from(class),
            };
            let mut standing = relation * s!("relation")
                + usize::from(near.grandfathered) * s!("grandfathered")
                + kind * s!("imsi_kind")
                + kind_of_imei * s!("standing")
                + usize::from(near.owner != 0) * s!("owned")
                + individually * s!("individually_registered");
            let needs = stretch.standing_needs[standing];
            if needs & far::LINKS != 0 {
                let (paired, owned) = far.other_slots();
                standing += usize::from(paired) * s!("other_slot_paired");
                standing += usize::from(owned) * s!("other_slot_owned");
            }
            if needs & far::RANGES != 0 {
                standing += usize::from(facts::range_registers(far.pieces())) * s!("range_registered");
            }
            reason = stretch.standing[standing];
        }

        // What passes an emergency call or the override says nothing of the next check.
        let passes = matches!(reason, reason::EMERGENCY | reason::OVERRIDE);
        let tracked = near.tracked && !passes;
        let outcome = stretch.outcome(tac_class, imsi_class.class, reason);
        let place = outcome * 8 + usize::from(tracked) * 4 + usize::from(self.stale) * 2;
        let status = stretch.outcomes[place];
        let deadline = match reason {
            reason::EXEMPT_PAIR | reason::EXEMPT_PAIR_BLOCKED => near.exempt_pair,
            reason::EXEMPT_IMEI => near.exempt_imei,
            reason::EXEMPT_IMSI => exempt_imsi,
            _ => 0,
        };
        let deadline = if deadline == UNTIL_MASK { 0 } else { deadline };
        let cache_seconds =
            if passes { 0 } else { cache_seconds(status, deadline, stretch, next_change, now) };
        let home = kind == imsi_kind::HOME || kind == imsi_kind::ABROAD;
        // The end of an exemption is a deadline like any other: its subscriber is to be warned.
        let ends = deadline != 0 && deadline.saturating_sub(now) <= stretch.exempt_notice_seconds;
        let unpaired =
            key.filter(|_| home && (stretch.opens[outcome] != 0 || ends)).map(|key| Pair { key, imsi });
        let (serial, stale) = (self.generation.serial, self.stale);
        (Verdict { status, reason, deadline, serial, stale, cache_seconds, unpaired }, place)
    }

    /// Adds to a verdict what the case of its pair says; one of another cause is none for this check.
    #[inline]
    fn find_case(&self, verdict: &mut Verdict, place: usize, now: u64) {
        let (Some(pair), Some(cases)) = (verdict.unpaired, &self.cases) else { return };
        let Some(case) = cases.find(pair).filter(|case| case.cause == verdict.reason) else { return };
        let (stretch, next_change) = self.policy.at(now);
        verdict.status = stretch.outcomes[place + usize::from(case.state == CUT_OFF)];
        verdict.deadline = case.deadline;
        verdict.cache_seconds = cache_seconds(verdict.status, case.deadline, stretch, next_change, now);
    }

    fn type_exempt(&self, tac: u64) -> bool {
        if self.exempt_types.is_empty() {
            return false;
        }
        let number = self.generation.device_type(tac) as usize;
        self.exempt_types.get(number).copied().unwrap_or(false)
    }
}

/// Seconds an answer may be kept: never past the next deadline or change of the policy. Of the second that `now` is,
/// all but its end may be over.
#[inline]
fn cache_seconds(status: u8, deadline: u64, stretch: &Stretch, next_change: u64, now: u64) -> u32 {
    if status != WHITELISTED {
        return 0;
    }
    let ends = [deadline, next_change].into_iter().filter(|end| *end != 0);
    ends.map(|end| end.saturating_sub(now + 1)).fold(stretch.cache_seconds_max, u64::min) as u32
}

/// Facts that cost a further look-up.
struct Far<'a, 't> {
    tables: &'t Tables,
    key: Option<&'a mut Slot<'t>>,
    others: &'a mut Option<OtherSlots<'t>>,
    imsi: u64,
    now: u64,
    stretch: &'t Stretch,
}

impl<'t> Far<'_, 't> {
    /// Whether another slot of the device is stolen or lost.
    fn linked_block(&mut self) -> bool {
        let mut blocked = false;
        self.each_slot(|slot, _| blocked |= facts::blocks_device(slot.words()));
        blocked
    }

    /// Whether this SIM is paired to another slot, and whether another slot is owned or was in use before.
    fn other_slots(&mut self) -> (bool, bool) {
        let (mut paired, mut owned) = (false, false);
        let (tables, imsi, now, stretch) = (self.tables, self.imsi, self.now, self.stretch);
        self.each_slot(|slot, key| {
            let slot = RowFacts::of(tables.generation.row(&slot), imsi, now, stretch, Some(key / SERIALS));
            paired |= imsi != 0 && (slot.owner == imsi || slot.utilizer);
            owned |= slot.owner != 0 || slot.in_use_before;
        });
        (paired, owned)
    }

    fn each_slot(&mut self, mut found: impl FnMut(Found<'t>, u64)) {
        let Some(slot) = &mut self.key else { return };
        let tables = self.tables;
        let others = self.others.get_or_insert_with(|| tables.other_slots(slot));
        for slot in others.first.iter_mut().chain(&mut others.more) {
            found(tables.generation.find(slot.key, &mut slot.place), slot.key);
        }
    }

    fn pieces(&mut self) -> &'t [u64] {
        match &mut self.key {
            Some(slot) => self.tables.generation.range_pieces(slot.key, &mut slot.place),
            None => &[],
        }
    }

    fn imsi_exempt_until(&self) -> u64 {
        if self.imsi == 0 {
            return 0;
        }
        facts::imsi_exempt_until(self.tables.generation.imsi_row(self.imsi), self.now)
    }
}

/// What checks read now: replaced by one pointer swap, read without waiting.
#[derive(Default)]
pub struct Published {
    tables: ArcSwapOption<Tables>,
    retired: Mutex<Vec<Arc<Tables>>>,
}

impl Published {
    /// Nothing until it is published.
    pub const fn new() -> Self {
        Self { tables: ArcSwapOption::const_empty(), retired: Mutex::new(Vec::new()) }
    }

    /// What is published now: None until something is. Hold it for one request, or one batch.
    pub fn load(&self) -> arc_swap::Guard<Option<Arc<Tables>>> {
        self.tables.load()
    }

    /// Replaces what checks read.
    ///
    /// What was read before is freed here or at the next call, when no reader holds it any more: never
    /// by a reader, since what it holds is Python's to free.
    pub fn publish(&self, tables: Tables) {
        let old = self.tables.swap(Some(Arc::new(tables)));
        let mut retired = self.retired.lock().unwrap_or_else(PoisonError::into_inner);
        retired.extend(old);
        retired.retain(|tables| Arc::strong_count(tables) > 1);
    }

    /// Frees what no reader holds any more; returns how many are still held.
    pub fn free_retired(&self) -> usize {
        let mut retired = self.retired.lock().unwrap_or_else(PoisonError::into_inner);
        retired.retain(|tables| Arc::strong_count(tables) > 1);
        retired.len()
    }
}
