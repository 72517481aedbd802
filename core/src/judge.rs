//! The verdict of facts: gate, standing, status, each looked up in the policy's tables. No rule is here.
//!
//! The index arithmetic is that of eir/verdict.py: a fact is a digit of a place, far facts the highest ones.

use crate::facts::{Row, RowFacts, UNTIL_MASK};
use crate::identity::{Imsi, imei_class, imsi_class};
use crate::policy::{GATE_FIELDS, STANDING_FIELDS, WHITELISTED, far, reason, weight};
use crate::stretch::{ImsiClass, Stretch};

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
        const { weight(&GATE_FIELDS, $name) }
    };
}

/// Place value of a field of the standing table.
macro_rules! s {
    ($name:literal) => {
        const { weight(&STANDING_FIELDS, $name) }
    };
}

/// What a check is asked, and what holds for all checks now.
#[allow(missing_docs)]
pub(crate) struct Asked {
    pub imei_class: u8,
    pub imsi: Imsi,
    /// What the network of the IMSI is.
    pub network: ImsiClass,
    /// It is served by a home network.
    pub at_home: bool,
    pub emergency: bool,
    pub allow_all: bool,
    pub tac_class: usize,
    /// Its type of device is exempt, or its TAC.
    pub type_exempt: bool,
    /// Another slot of the device may be stolen or lost.
    pub beside_block: bool,
    /// The IMSI may have a row of its own.
    pub imsi_listed: bool,
}

/// What the row of an identity says, and the places in the tables as far as that makes them.
#[derive(Clone, Copy)]
pub(crate) struct Near {
    /// The SIM is one of a home network.
    home: bool,
    /// Groups of far facts that can change the verdict, and that there may be.
    pub(crate) wants: u8,
    tracked: bool,
    tac_class: usize,
    imsi_class: usize,
    gate: usize,
    standing: usize,
    exempt_imei: u64,
    exempt_pair: u64,
}

/// Facts that cost a further look-up; false (0) where they were not looked up, since they cannot change the answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct FarFacts {
    /// This SIM is paired to another slot of the device.
    pub(crate) other_slot_paired: bool,
    /// Another slot is owned, or was in use before.
    pub(crate) other_slot_owned: bool,
    /// A range blocks the IMEI.
    pub(crate) range_blocks: bool,
    /// A range registers it.
    pub(crate) range_registers: bool,
    /// Another slot of the device is stolen or lost.
    pub(crate) linked_block: bool,
    /// End of the exemption of the IMSI alone; 0 where it has none now.
    pub(crate) imsi_exempt_until: u64,
}

impl FarFacts {
    /// Those of a number, for a device without a block and a SIM without a row.
    pub(crate) fn usual(number: usize) -> Self {
        let fact = |bit: usize| number >> bit & 1 != 0;
        Self {
            other_slot_paired: fact(0),
            other_slot_owned: fact(1),
            range_blocks: fact(2),
            range_registers: fact(3),
            ..Self::default()
        }
    }

    /// The number that they have among those.
    #[inline(always)]
    pub(crate) fn number(&self) -> usize {
        usize::from(self.other_slot_paired)
            | usize::from(self.other_slot_owned) << 1
            | usize::from(self.range_blocks) << 2
            | usize::from(self.range_registers) << 3
    }

    /// Above all numbers of those of some groups; 0 where there is no group.
    pub(crate) fn usual_of(groups: u8) -> usize {
        match groups & (far::LINKS | far::RANGES) {
            0 => 0,
            far::LINKS => 4,
            _ => 16,
        }
    }
}

/// What the tables say.
#[derive(Clone, Copy)]
pub(crate) struct Judged {
    pub(crate) reason: u8,
    /// It says nothing of the next check: an emergency call, or the override.
    pub(crate) passes: bool,
    /// The SIM is one of a home network.
    pub(crate) home: bool,
    /// A home subscriber's pair has a case.
    pub(crate) opens: bool,
    /// Place of the outcome in the table of statuses, for tables that are not stale.
    pub(crate) place: u32,
    /// End of the exemption that it rests on; 0 for none.
    pub(crate) deadline: u64,
}

impl Near {
    /// Reads a row at a second.
    #[inline]
    pub(crate) fn of(row: Row<'_>, asked: &Asked, now: u64, stretch: &Stretch) -> Self {
        Self::of_facts(&RowFacts::of(row, asked.imsi.code, now, stretch, asked.tac_class), asked, stretch)
    }

    /// Takes what a row says.
    pub(crate) fn of_facts(facts: &RowFacts, asked: &Asked, stretch: &Stretch) -> Self {
        let (imsi, network) = (asked.imsi.code, asked.network);
        let kind = match asked.imsi.class {
            imsi_class::WELL_FORMED if !network.home() => imsi_kind::FOREIGN,
            imsi_class::WELL_FORMED if asked.at_home => imsi_kind::HOME,
            imsi_class::WELL_FORMED => imsi_kind::ABROAD,
            other => usize::from(other),
        };
        let individually = usize::from(facts.individually_registered());
        let gate = usize::from(asked.emergency) * g!("emergency")
            + usize::from(asked.allow_all) * g!("override")
            + kind * g!("imsi_kind")
            + individually * g!("individually_registered")
            + usize::from(imsi != 0 && network.exempt()) * g!("imsi_range_exempt")
            + usize::from(asked.type_exempt) * g!("device_type_exempt")
            + usize::from(facts.exempt_pair != 0) * g!("pair_exempt")
            + usize::from(facts.own_block) * g!("own_block")
            + usize::from(facts.exempt_imei != 0) * g!("imei_exempt");
        let relation = match () {
            () if imsi != 0 && facts.owner == imsi => relation::OWNER,
            () if facts.utilizer => relation::UTILIZER,
            () => relation::NONE,
        };
        let kind_of_imei = match asked.imei_class {
            imei_class::KEY if facts.cloned => standing::CLONED,
            imei_class::KEY if facts.pairs > stretch.pairs_per_imei_max => standing::SHARED,
            class => usize::from(class),
        };
        let standing = relation * s!("relation")
            + kind * s!("imsi_kind")
            + kind_of_imei * s!("standing")
            + usize::from(facts.owner != 0) * s!("owned")
            + individually * s!("individually_registered")
            + usize::from(facts.grandfathered) * s!("grandfathered");
        let needs = stretch.gate_needs[gate];
        let mut wants = needs & far::RANGES;
        if asked.beside_block {
            wants |= needs & far::LINKS;
        }
        if asked.imsi_listed {
            wants |= needs & far::IMSI_ROWS;
        }
        if stretch.gate[gate] == 0 {
            wants |= stretch.standing_needs[standing];
        }
        Self {
            home: kind == imsi_kind::HOME || kind == imsi_kind::ABROAD,
            wants,
            tracked: facts.tracked,
            tac_class: asked.tac_class,
            imsi_class: network.class,
            gate,
            standing,
            exempt_imei: facts.exempt_imei,
            exempt_pair: facts.exempt_pair,
        }
    }

    /// Looks up what the facts make; of the far ones, those that it wants.
    pub(crate) fn judge(&self, far: &FarFacts, stretch: &Stretch) -> Judged {
        let (mut gate, mut exempt_imsi) = (self.gate, 0);
        let needs = stretch.gate_needs[gate];
        if needs & far::LINKS != 0 {
            gate += usize::from(far.linked_block) * g!("linked_block");
        }
        if needs & far::RANGES != 0 {
            gate += usize::from(far.range_blocks) * g!("range_block");
        }
        if needs & far::IMSI_ROWS != 0 {
            exempt_imsi = far.imsi_exempt_until;
            gate += usize::from(exempt_imsi != 0) * g!("imsi_exempt");
        }
        let mut reason = stretch.gate[gate];
        if reason == 0 {
            let mut standing = self.standing;
            let needs = stretch.standing_needs[standing];
            if needs & far::LINKS != 0 {
                standing += usize::from(far.other_slot_paired) * s!("other_slot_paired");
                standing += usize::from(far.other_slot_owned) * s!("other_slot_owned");
            }
            if needs & far::RANGES != 0 {
                standing += usize::from(far.range_registers) * s!("range_registered");
            }
            reason = stretch.standing[standing];
        }
        let passes = matches!(reason, reason::EMERGENCY | reason::OVERRIDE);
        let tracked = self.tracked && !passes;
        let outcome = stretch.outcome(self.tac_class, self.imsi_class, reason);
        let place = (outcome * 8 + usize::from(tracked) * 4) as u32;
        let deadline = match reason {
            reason::EXEMPT_PAIR | reason::EXEMPT_PAIR_BLOCKED => self.exempt_pair,
            reason::EXEMPT_IMEI => self.exempt_imei,
            reason::EXEMPT_IMSI => exempt_imsi,
            _ => 0,
        };
        let deadline = if deadline == UNTIL_MASK { 0 } else { deadline };
        Judged { reason, passes, home: self.home, opens: stretch.opens[outcome] != 0, place, deadline }
    }
}

/// Seconds an answer may be kept: never past the next deadline or change of the policy. Of the second that `now` is,
/// all but its end may be over.
#[inline]
pub(crate) fn cache_seconds(status: u8, deadline: u64, stretch: &Stretch, next_change: u64, now: u64) -> u32 {
    if status != WHITELISTED {
        return 0;
    }
    // The last second before each; there is none before 0, which is no end.
    let last = deadline.wrapping_sub(1).min(next_change.wrapping_sub(1));
    last.saturating_sub(now).min(stretch.cache_seconds_max) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn far_facts_have_the_number_that_they_are_made_of() {
        let slots = FarFacts { other_slot_paired: true, other_slot_owned: true, ..FarFacts::default() };
        let ranges = FarFacts { range_blocks: true, range_registers: true, ..FarFacts::default() };
        assert_eq!((slots, ranges), (FarFacts::usual(3), FarFacts::usual(12)));
        (0..16).for_each(|number| assert_eq!(FarFacts::usual(number).number(), number));
        assert_eq!(
            [0, far::LINKS, far::RANGES, far::LINKS | far::RANGES].map(FarFacts::usual_of),
            [0, 4, 16, 16]
        );
    }
}
