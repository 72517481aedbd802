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
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use self::group::GROUP;
use crate::bare::{BareVerdict, Says};
use crate::case_table::{CUT_OFF, CaseTable, Pair};
use crate::facts::{self, Row, RowFacts};
use crate::generation::Generation;
use crate::identity::{Imei, Imsi, SERIALS, Subject, imei_class, imsi_class, parse_imei, parse_imsi};
use crate::judge::{Asked, FarFacts, Judged, Near, cache_seconds};
use crate::place::Place;
use crate::policy::{Policy, far};
use crate::stretch::Stretch;

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
pub struct JudgedPairs {
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
    /// It is of those that are judged ahead.
    usual: bool,
}

/// A slot of a device: its key, and where to look for it.
#[derive(Clone, Copy)]
struct Slot<'t> {
    key: u64,
    /// Which of the checks of a group that are not settled asks for it.
    of: usize,
    place: Place<'t>,
}

impl Slot<'_> {
    fn tac(&self) -> u64 {
        self.key / SERIALS
    }
}

/// What the row of an identity says.
enum Said<'t> {
    /// It has no items, and was judged ahead.
    Ahead(&'t BareVerdict),
    /// Worked out for this check.
    Row(Near),
}

impl Said<'_> {
    /// Groups of far facts that can change the verdict.
    #[inline(always)]
    fn wants(&self) -> u8 {
        match self {
            Self::Ahead(bare) => bare.wants,
            Self::Row(near) => near.wants,
        }
    }

    /// The verdict, by the far facts that it wants.
    #[inline(always)]
    fn judge(&self, far: &FarFacts, moment: &Moment<'_>) -> Judged {
        match self {
            Self::Ahead(bare) => *bare.with(far),
            Self::Row(near) => near.judge(far, moment.stretch),
        }
    }
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
        place.fetch_record();
        place.find_all();
        // While the owner arrives: of four checks one asks for other slots.
        place.fetch_links();
        let ahead = self.ahead(&parsed, &place, &moment);
        let judged = match ahead.and_then(BareVerdict::settled) {
            Some(settled) => *settled,
            None => {
                let said = self.said(ahead, &parsed, &mut place, &moment);
                let far = self.far_facts(&parsed, &mut place, said.wants(), &moment);
                said.judge(&far, &moment)
            }
        };
        let mut verdict = self.verdict(&parsed, &judged, &moment);
        self.find_case(&mut verdict, &judged, &moment);
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

    #[inline(always)]
    fn read<'q>(&self, question: &'q Question<'q>) -> Parsed<'q> {
        let imei = parse_imei(question.imei, self.policy.placeholders());
        let key = self.key(&imei);
        let imsi = parse_imsi(question.imsi);
        self.generation.prefetch_imsi(imsi.code);
        let usual = imei.class == imei_class::KEY
            && imsi.class == imsi_class::WELL_FORMED
            && !question.emergency
            && !self.allow_all;
        Parsed { question, imei_class: imei.class, key, imsi, usual }
    }

    /// Begins the look-up of a question.
    #[inline(always)]
    fn begin(&self, parsed: &Parsed<'_>) -> Place<'_> {
        parsed.key.map_or(Place::NOWHERE, |key| self.slot(key).place)
    }

    /// The key of an IMEI; what its look-up reads first is fetched.
    #[inline(always)]
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
    #[inline(always)]
    fn slot(&self, key: u64) -> Slot<'_> {
        self.generation.prefetch_levels(key);
        Slot { key, of: 0, place: self.generation.place(key) }
    }

    /// Finds the other slots of a device, and begins their look-up.
    #[inline(always)]
    fn other_slots<'t>(&'t self, key: u64, place: &mut Place<'t>, found: &mut impl FnMut(Slot<'t>)) {
        self.generation.links(key, place, &mut |key| found(self.slot(key)));
    }

    /// What a row without items comes to; None where it has some, or the identity is none of those that are judged
    /// ahead.
    #[inline(always)]
    fn ahead<'t>(
        &self,
        parsed: &Parsed<'_>,
        place: &Place<'_>,
        moment: &Moment<'t>,
    ) -> Option<&'t BareVerdict> {
        let (key, imsi) = (parsed.key.filter(|_| parsed.usual)?, parsed.imsi.code);
        let (generation, stretch) = (&*self.generation, moment.stretch);
        let head = generation.bare_head(key, place)?;
        let tac = key / SERIALS;
        if generation.linked_blocks.may_have(key) || generation.may_list_imsi(imsi) || self.type_exempt(tac) {
            return None;
        }
        let (tac_class, network) = (stretch.tac_class(Some(tac)), stretch.imsi_class(imsi));
        let at_home = stretch.home_plmn(parsed.question.serving_plmn);
        Some(stretch.bare().verdict(tac_class, network, at_home, Says::of(head, imsi)))
    }

    /// What the row of an identity says: what was found ahead, or worked out now.
    #[inline(always)]
    fn said<'t>(
        &'t self,
        ahead: Option<&'t BareVerdict>,
        parsed: &Parsed<'_>,
        place: &mut Place<'t>,
        moment: &Moment<'_>,
    ) -> Said<'t> {
        ahead.map_or_else(|| Said::Row(self.near(parsed, place, moment)), Said::Ahead)
    }

    /// What the row of an identity says, worked out now.
    #[inline(always)]
    fn near<'t>(&'t self, parsed: &Parsed<'_>, place: &mut Place<'t>, moment: &Moment<'_>) -> Near {
        let (generation, stretch, question) = (&*self.generation, moment.stretch, parsed.question);
        let row = match parsed.key {
            Some(key) => generation.row(&generation.find(key, place)),
            None => self.raw_row(question),
        };
        let tac = parsed.key.map(|key| key / SERIALS);
        let tac_class = stretch.tac_class(tac);
        let exempt = |tac| stretch.tac_exempt[tac_class] || self.type_exempt(tac);
        let asked = Asked {
            imei_class: parsed.imei_class,
            imsi: parsed.imsi,
            network: stretch.imsi_class(parsed.imsi.code),
            at_home: stretch.home_plmn(question.serving_plmn),
            emergency: question.emergency,
            allow_all: self.allow_all,
            tac_class,
            type_exempt: tac.is_some_and(exempt),
            beside_block: parsed.key.is_some_and(|key| generation.linked_blocks.may_have(key)),
            imsi_listed: parsed.imsi.code != 0 && generation.may_list_imsi(parsed.imsi.code),
        };
        Near::of(row, &asked, moment.now, stretch)
    }

    /// The row of an IMEI that has no key.
    #[cold]
    fn raw_row(&self, question: &Question<'_>) -> Row<'_> {
        match parse_imei(question.imei, self.policy.placeholders()).subject {
            Subject::Raw(text, length) => self.generation.raw_row(&text[..usize::from(length)]),
            _ => Row::default(),
        }
    }

    /// Looks up the far facts that a check wants.
    #[inline(always)]
    fn far_facts<'t>(
        &'t self,
        parsed: &Parsed<'_>,
        place: &mut Place<'t>,
        wants: u8,
        moment: &Moment<'_>,
    ) -> FarFacts {
        let mut facts = FarFacts::default();
        if wants == 0 {
            return facts;
        }
        if let (Some(key), Some(cases)) = (parsed.key, &self.cases) {
            // Many of these pairs are unpaired: their slot arrives while the far facts are looked up.
            cases.prefetch(Pair { key, imsi: parsed.imsi.code });
        }
        if wants & far::LINKS != 0
            && let Some(key) = parsed.key
        {
            self.other_slots(key, place, &mut |mut slot| {
                self.add_slot(&mut facts, &mut slot, parsed.imsi.code, moment)
            });
        }
        self.add_others(&mut facts, parsed, place, wants, moment);
        facts
    }

    /// Adds what another slot of the device says.
    #[inline(always)]
    fn add_slot<'t>(&'t self, facts: &mut FarFacts, slot: &mut Slot<'t>, imsi: u64, moment: &Moment<'_>) {
        let row = self.generation.row(&self.generation.find(slot.key, &mut slot.place));
        let owner = row.owner();
        facts.other_slot_paired |= imsi != 0 && owner == imsi;
        facts.other_slot_owned |= owner != 0;
        if !row.words.is_empty() {
            let Moment { now, stretch, .. } = *moment;
            let more = RowFacts::of(row, imsi, now, stretch, stretch.tac_class(Some(slot.tac())));
            facts.other_slot_paired |= imsi != 0 && more.utilizer;
            facts.other_slot_owned |= more.in_use_before;
            facts.linked_block |= facts::blocks_device(row.words);
        }
    }

    /// Adds what ranges and the row of the IMSI say.
    #[inline(always)]
    fn add_others<'t>(
        &'t self,
        facts: &mut FarFacts,
        parsed: &Parsed<'_>,
        place: &mut Place<'t>,
        wants: u8,
        moment: &Moment<'_>,
    ) {
        if wants & far::RANGES != 0
            && let Some(key) = parsed.key
        {
            let pieces = self.generation.range_pieces(key, place);
            facts.range_blocks = facts::range_blocks(pieces);
            facts.range_registers = facts::range_registers(pieces);
        }
        if wants & far::IMSI_ROWS != 0 && parsed.imsi.code != 0 {
            let row = self.generation.imsi_row(parsed.imsi.code);
            facts.imsi_exempt_until = facts::imsi_exempt_until(row, moment.now);
        }
    }

    /// The verdict but for the pair's case.
    #[inline(always)]
    fn verdict(&self, parsed: &Parsed<'_>, judged: &Judged, moment: &Moment<'_>) -> Verdict {
        let Judged { reason, passes, home, opens, deadline, .. } = *judged;
        let Moment { now, stretch, next_change } = *moment;
        let status = stretch.outcomes[self.outcome(judged)];
        let kept = if passes { 0 } else { cache_seconds(status, deadline, stretch, next_change, now) };
        // The end of an exemption is a deadline like any other: its subscriber is to be warned.
        let ends = deadline != 0 && deadline.saturating_sub(now) <= stretch.exempt_notice_seconds;
        let pair = |key| Pair { key, imsi: parsed.imsi.code };
        let unpaired = parsed.key.filter(|_| home && (opens || ends)).map(pair);
        let (serial, stale) = (self.generation.serial, self.stale);
        Verdict { status, reason, deadline, serial, stale, cache_seconds: kept, unpaired }
    }

    /// Place of what was judged in the table of statuses.
    #[inline(always)]
    fn outcome(&self, judged: &Judged) -> usize {
        judged.place as usize + usize::from(self.stale) * 2
    }

    /// Adds to a verdict what the case of its pair says; one of another cause is none for this check.
    #[inline]
    fn find_case(&self, verdict: &mut Verdict, judged: &Judged, moment: &Moment<'_>) {
        let (Some(pair), Some(cases)) = (verdict.unpaired, &self.cases) else { return };
        let Some(case) = cases.find(pair).filter(|case| case.cause == verdict.reason) else { return };
        let Moment { now, stretch, next_change } = *moment;
        verdict.status = stretch.outcomes[self.outcome(judged) + usize::from(case.state == CUT_OFF)];
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
