//! A check: identity, look-up, near facts, far facts where they are still needed, verdict, case. As `Checker` of
//! eir/check.py.
//!
//! ```text
//! text ──read──► identity ──look-up──► row ──Near──► places in the tables ──judge──► verdict ──► case of the pair
//!                                                          └─ needs ─► other slots, ranges ─┘
//! ```
//!
//! No I/O, no lock, no rule: the rules are in the policy's tables.

mod group;

use std::sync::Arc;

pub use self::group::GROUP;
use crate::case_table::{CUT_OFF, CaseTable, Pair};
use crate::facts::{self, Row, RowFacts};
use crate::generation::Generation;
use crate::identity::{Imei, Imsi, SERIALS, Subject, parse_imei, parse_imsi};
use crate::judge::{Circumstances, FarFacts, Near, NoFacts, cache_seconds};
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

/// A question with its text read; what its look-up reads first is fetched.
struct Parsed<'q> {
    question: &'q Question<'q>,
    imei_class: u8,
    key: Option<u64>,
    imsi: Imsi,
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

impl Tables {
    /// Judges one identity at a second since the Unix epoch.
    pub fn check(&self, question: &Question<'_>, now: u64) -> Verdict {
        let moment = self.at(now);
        let parsed = self.read(question);
        let mut place = self.begin(&parsed);
        let near = self.near(&parsed, &mut place, &moment);
        let (mut verdict, place) = self.judge(&parsed, place, &near, None, &moment);
        self.find_case(&mut verdict, place, &moment);
        verdict
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
    fn read<'q>(&self, question: &'q Question<'q>) -> Parsed<'q> {
        let imei = parse_imei(question.imei, self.policy.placeholders());
        let key = self.key(&imei);
        let imsi = parse_imsi(question.imsi);
        self.generation.prefetch_imsi(imsi.code);
        Parsed { question, imei_class: imei.class, key, imsi }
    }

    /// Begins the look-up of a question.
    #[inline]
    fn begin(&self, parsed: &Parsed<'_>) -> Place<'_> {
        parsed.key.map_or(Place::NOWHERE, |key| self.slot(key).place)
    }

    /// The key of an IMEI; what its look-up reads first is fetched.
    #[inline]
    fn key(&self, imei: &Imei) -> Option<u64> {
        let Subject::Key(key) = imei.subject else { return None };
        if !self.exempt_types.is_empty() {
            self.generation.prefetch_type(key);
        }
        self.generation.linked_blocks.prefetch(key);
        self.generation.prefetch_place(key);
        Some(key)
    }

    /// Begins the look-up of a key.
    #[inline]
    fn slot(&self, key: u64) -> Slot<'_> {
        self.generation.prefetch_levels(key);
        Slot { key, place: self.generation.place(key) }
    }

    /// Finds the other slots of a device, and begins their look-up.
    fn other_slots<'t>(&'t self, key: u64, place: &mut Place<'t>) -> OtherSlots<'t> {
        let mut others = OtherSlots::default();
        self.generation.links(key, place, &mut |key| {
            let other = self.slot(key);
            match &others.first {
                None => others.first = Some(other),
                Some(_) => others.more.push(other),
            }
        });
        others
    }

    /// What the row of an identity says.
    #[inline]
    fn near<'t>(&'t self, parsed: &Parsed<'_>, place: &mut Place<'t>, moment: &Moment<'_>) -> Near {
        let generation = &*self.generation;
        let row = match parsed.key {
            Some(key) => generation.row(&generation.find(key, place)),
            None => self.raw_row(parsed.question),
        };
        let tac = parsed.key.map(|key| key / SERIALS);
        let circumstances = Circumstances {
            imei_class: parsed.imei_class,
            imsi: parsed.imsi,
            serving_plmn: parsed.question.serving_plmn,
            emergency: parsed.question.emergency,
            allow_all: self.allow_all,
            tac,
            type_exempt: tac.is_some_and(|tac| self.type_exempt(tac)),
            beside_block: parsed.key.is_some_and(|key| generation.linked_blocks.may_have(key)),
            imsi_listed: parsed.imsi.code != 0 && generation.may_list_imsi(parsed.imsi.code),
        };
        Near::of(row, &circumstances, moment.now, moment.stretch)
    }

    /// The row of an IMEI that has no key.
    #[cold]
    fn raw_row(&self, question: &Question<'_>) -> Row<'_> {
        match parse_imei(question.imei, self.policy.placeholders()).subject {
            Subject::Raw(text, length) => self.generation.raw_row(&text[..usize::from(length)]),
            _ => Row::default(),
        }
    }

    /// The verdict but for the pair's case, and the place of its outcome in the table of statuses.
    #[inline]
    fn judge<'t>(
        &'t self,
        parsed: &Parsed<'_>,
        place: Place<'t>,
        near: &Near,
        others: Option<OtherSlots<'t>>,
        moment: &Moment<'t>,
    ) -> (Verdict, usize) {
        let (key, imsi) = (parsed.key, parsed.imsi.code);
        if let (Some(key), Some(cases)) = (key, &self.cases)
            && near.owner != imsi
        {
            // Most of these pairs are unpaired: their slot arrives while the far facts are looked up.
            cases.prefetch(Pair { key, imsi });
        }
        let Moment { now, stretch, next_change } = *moment;
        let judged = if near.wants == 0 {
            near.judge(&mut NoFacts, stretch, self.stale)
        } else {
            let slot = key.map(|key| Slot { key, place });
            near.judge(&mut Far { tables: self, slot, others, imsi, moment }, stretch, self.stale)
        };
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

/// Facts that cost a further look-up.
struct Far<'a, 't> {
    tables: &'t Tables,
    slot: Option<Slot<'t>>,
    others: Option<OtherSlots<'t>>,
    imsi: u64,
    moment: &'a Moment<'t>,
}

impl<'t> Far<'_, 't> {
    fn each_slot(&mut self, mut found: impl FnMut(Found<'t>, u64)) {
        let Some(Slot { key, place }) = &mut self.slot else { return };
        let tables = self.tables;
        let others = self.others.get_or_insert_with(|| tables.other_slots(*key, place));
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
        if !self.slot.is_some_and(|slot| blocks.may_have(slot.key)) {
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
