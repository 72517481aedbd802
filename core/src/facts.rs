//! Facts of one row: what it says to a SIM at a second. As `_Row` of eir/check.py.

use crate::policy::PolicyTables;

/// Flag of a head: the IMEI is registered individually.
pub const REGISTERED: u64 = 1 << 59;
const CODE_MASK: u64 = (1 << 52) - 1;
/// The end of an exemption; all bits set: no end.
pub const UNTIL_MASK: u64 = (1 << 40) - 1;
const KIND_SHIFT: u32 = 60;
const LOW_MASK: u64 = (1 << KIND_SHIFT) - 1;

/// Kinds of items, as in docs/segment-format.md.
mod item {
    pub const UTILIZER: u64 = 1;
    pub const BLOCK: u64 = 2;
    pub const TRACK: u64 = 3;
    pub const EXEMPT_IMEI: u64 = 4;
    pub const EXEMPT_PAIR: u64 = 5;
    pub const GRANDFATHER_IMEI: u64 = 6;
    pub const GRANDFATHER_PAIR: u64 = 7;
    pub const EXEMPT_IMSI: u64 = 8;
}

/// Causes of a block, of an IMEI or of a range.
mod cause {
    pub const STOLEN: u64 = 1;
    pub const LOST: u64 = 2;
    pub const CLONED: u64 = 3;
    pub const BARRED: u64 = 4;
}

/// Numbers of the fact own_block: none, then from the worst.
pub mod own_block {
    #![allow(missing_docs)]
    pub const NONE: u8 = 0;
    pub const STOLEN: u8 = 1;
    pub const LOST: u8 = 2;
    pub const BARRED: u8 = 3;
}

/// Numbers of the fact grandfathered.
mod grandfathered {
    pub const IMEI: u8 = 1;
    pub const PAIR: u8 = 2;
}

/// A row as the tables have it: head 0 and no words where nothing is known.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Row<'a> {
    /// Flag and owner.
    pub head: u64,
    /// Items.
    pub words: &'a [u64],
}

impl Row<'_> {
    /// IMSI code of the owner, 0 for none.
    pub fn owner(&self) -> u64 {
        owner_of(self.head)
    }
}

/// IMSI code of the owner in a head, 0 for none.
#[inline]
pub(crate) fn owner_of(head: u64) -> u64 {
    head & CODE_MASK
}

/// Kind, low bits and second word (0: none) of each item; a second word that is missing is 0.
fn items(words: &[u64]) -> impl Iterator<Item = (u64, u64, u64)> {
    let mut words = words.iter();
    std::iter::from_fn(move || {
        let word = words.next()?;
        let kind = word >> KIND_SHIFT;
        let two = kind == item::EXEMPT_PAIR || kind == item::GRANDFATHER_PAIR;
        let second = if two { words.next().copied().unwrap_or(0) } else { 0 };
        Some((kind, word & LOW_MASK, second))
    })
}

/// What a row says; exemptions as the second they end, 0 for none that holds now.
#[derive(Default, Clone, Copy)]
#[allow(missing_docs)]
pub struct RowFacts {
    pub registered: bool,
    pub owner: u64,
    pub own_block: u8,
    pub cloned: bool,
    pub tracked: bool,
    pub utilizer: bool,
    pub exempt_imei: u64,
    pub exempt_pair: u64,
    pub grandfathered: u8,
    /// With whatever SIM.
    pub in_use_before: bool,
    pub pairs: u64,
}

impl RowFacts {
    /// Reads a row for a SIM (0: none) at a second.
    pub fn of(row: Row<'_>, imsi: u64, now: u64, tables: &PolicyTables, tac_class: usize) -> Self {
        let mut facts = Self::of_head(row);
        if !row.words.is_empty() {
            facts.read_items(row, imsi, now, tables, tac_class);
        }
        facts
    }

    /// Reads a row that has no items.
    #[inline]
    pub fn of_head(row: Row<'_>) -> Self {
        let owner = row.owner();
        let registered = row.head & REGISTERED != 0;
        Self { registered, owner, pairs: u64::from(owner != 0), ..Self::default() }
    }

    #[cold]
    fn read_items(&mut self, row: Row<'_>, imsi: u64, now: u64, tables: &PolicyTables, tac_class: usize) {
        let before = match tables.tac_before[tac_class] {
            0 => UNTIL_MASK,
            before => before,
        };
        for (kind, low, second) in items(row.words) {
            match kind {
                item::UTILIZER => {
                    self.pairs += 1;
                    self.utilizer |= low == imsi;
                }
                item::BLOCK => self.block(low >> 16),
                item::TRACK => self.tracked = true,
                item::EXEMPT_IMEI if now < low & UNTIL_MASK => self.exempt_imei = low & UNTIL_MASK,
                item::EXEMPT_PAIR if low == imsi && now < second & UNTIL_MASK => {
                    self.exempt_pair = second & UNTIL_MASK;
                }
                item::GRANDFATHER_IMEI if tables.grandfather_imei && low <= before => {
                    self.in_use_before = true;
                    self.grandfathered = self.grandfathered.max(grandfathered::IMEI);
                }
                item::GRANDFATHER_PAIR if tables.grandfather_pair && second <= before => {
                    self.in_use_before = true;
                    if low == imsi {
                        self.grandfathered = grandfathered::PAIR;
                    }
                }
                _ => {}
            }
        }
    }

    fn block(&mut self, cause: u64) {
        let block = match cause {
            cause::STOLEN => own_block::STOLEN,
            cause::LOST => own_block::LOST,
            cause::BARRED => own_block::BARRED,
            _ => own_block::NONE,
        };
        self.cloned |= cause == cause::CLONED;
        if block != own_block::NONE && (self.own_block == own_block::NONE || block < self.own_block) {
            self.own_block = block;
        }
    }

    /// Whether the IMEI is registered by itself, not only by a range.
    pub fn individually_registered(&self) -> bool {
        self.registered || self.owner != 0
    }
}

/// Whether a row has a block that holds for every slot of its device.
pub fn blocks_device(words: &[u64]) -> bool {
    items(words).any(|(kind, low, _)| kind == item::BLOCK && is_stolen_or_lost(low >> 16))
}

/// Whether a word of a row is such a block; no second word of an item looks like one.
#[inline]
pub fn is_device_block(word: u64) -> bool {
    let cause = (word >> 16).wrapping_sub(item::BLOCK << (KIND_SHIFT - 16));
    is_stolen_or_lost(cause)
}

fn is_stolen_or_lost(cause: u64) -> bool {
    matches!(cause, cause::STOLEN | cause::LOST)
}

/// Whether range pieces block what they hold.
pub fn range_blocks(pieces: &[u64]) -> bool {
    let blocking = |piece: &u64| matches!(piece >> 16 & 0xFF, cause::STOLEN | cause::LOST | cause::BARRED);
    pieces.iter().any(blocking)
}

/// Whether range pieces register what they hold.
pub fn range_registers(pieces: &[u64]) -> bool {
    pieces.iter().any(|piece| piece >> 16 & 0xFF == 0)
}

/// End of the exemption of an IMSI alone; 0 where it has none now.
pub fn imsi_exempt_until(row: Row<'_>, now: u64) -> u64 {
    let ends = items(row.words).filter(|(kind, ..)| *kind == item::EXEMPT_IMSI);
    ends.map(|(_, low, _)| low & UNTIL_MASK).filter(|end| now < *end).max().unwrap_or(0)
}
