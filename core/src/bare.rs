//! Rows without items, judged ahead: nearly all rows are such, and little can differ between them.
//!
//! What a row without items says to a SIM is one of four things; with the classes of both, whether the SIM is served at
//! home, and the far facts where some are wanted, that is all a verdict depends on.

use crate::facts::{REGISTERED, Row, RowFacts, owner_of};
use crate::identity::{Imsi, imei_class, imsi_class};
use crate::judge::{Asked, FarFacts, Judged, Near};
use crate::stretch::{ImsiClass, Stretch};

/// What a row without items says to a SIM.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Says {
    Nothing = 0,
    Registered = 1,
    /// The SIM is its owner's.
    Owner = 2,
    /// Another is.
    Other = 3,
}

impl Says {
    const ALL: [Self; 4] = [Self::Nothing, Self::Registered, Self::Owner, Self::Other];

    /// What a head says to an IMSI.
    #[inline(always)]
    pub(crate) fn of(head: u64, imsi: u64) -> Self {
        match owner_of(head) {
            0 if head == 0 => Self::Nothing,
            0 => Self::Registered,
            owner if owner == imsi => Self::Owner,
            _ => Self::Other,
        }
    }
}

/// What a row without items comes to, for a SIM that is well-formed, an IMEI that is a key, and no emergency.
pub(crate) struct BareVerdict {
    /// Groups of far facts that can change it.
    pub(crate) wants: u8,
    /// Where there are none.
    judged: Judged,
    /// By the number of the far facts, as many as those that it wants can make; none where it wants none.
    with_facts: Box<[Judged]>,
}

impl BareVerdict {
    /// The verdict, where no far fact can change it.
    #[inline(always)]
    pub(crate) fn settled(&self) -> Option<&Judged> {
        (self.wants == 0).then_some(&self.judged)
    }

    /// The verdict by far facts, those that it wants.
    #[inline(always)]
    pub(crate) fn with(&self, far: &FarFacts) -> &Judged {
        self.with_facts.get(far.number()).unwrap_or(&self.judged)
    }
}

/// The verdicts of a stretch.
#[derive(Default)]
pub(crate) struct Bare {
    verdicts: Vec<BareVerdict>,
    imsi_columns: usize,
}

/// An IMSI that nobody has, and another.
const IMSI: u64 = 1_000_000;
const OTHER: u64 = 1_000_001;

impl Bare {
    /// Judges all that can be.
    pub(crate) fn of(stretch: &Stretch) -> Self {
        let columns = stretch.imsi_columns();
        let mut verdicts = Vec::new();
        for tac_class in 0..stretch.tac_exempt.len() {
            for network in columns {
                for at_home in [false, true] {
                    verdicts
                        .extend(Says::ALL.map(|says| judged(stretch, tac_class, *network, at_home, says)));
                }
            }
        }
        Self { verdicts, imsi_columns: columns.len() }
    }

    /// The verdict for the classes of a TAC and of an IMSI.
    #[inline(always)]
    pub(crate) fn verdict(
        &self,
        tac_class: usize,
        network: ImsiClass,
        at_home: bool,
        says: Says,
    ) -> &BareVerdict {
        let row = (tac_class * self.imsi_columns + network.column) * 2 + usize::from(at_home);
        &self.verdicts[row * Says::ALL.len() + says as usize]
    }
}

fn judged(stretch: &Stretch, tac_class: usize, network: ImsiClass, at_home: bool, says: Says) -> BareVerdict {
    let head = match says {
        Says::Nothing => 0,
        Says::Registered => REGISTERED,
        Says::Owner => IMSI,
        Says::Other => OTHER,
    };
    let asked = Asked {
        imei_class: imei_class::KEY,
        imsi: Imsi { class: imsi_class::WELL_FORMED, code: IMSI },
        network,
        at_home,
        emergency: false,
        allow_all: false,
        tac_class,
        type_exempt: stretch.tac_exempt[tac_class],
        beside_block: false,
        imsi_listed: false,
    };
    let near = Near::of_facts(&RowFacts::of_head(Row { head, words: &[] }), &asked, stretch);
    let judged = |number| near.judge(&FarFacts::usual(number), stretch);
    BareVerdict {
        wants: near.wants,
        judged: judged(0),
        with_facts: (0..FarFacts::usual_of(near.wants)).map(judged).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_says_one_of_four_things() {
        for (head, says) in [
            (0, Says::Nothing),
            (REGISTERED, Says::Registered),
            (IMSI, Says::Owner),
            (REGISTERED | IMSI, Says::Owner),
            (OTHER, Says::Other),
            (REGISTERED | OTHER, Says::Other),
        ] {
            assert_eq!(Says::of(head, IMSI), says, "{head}");
        }
    }
}
