//! A generation: what a check reads, replaced as a whole.
//!
//! ```text
//! levels (newest overlay first) ──miss──► shard of the TAC | common
//! ```

use std::sync::Arc;

use crate::facts::Row;
use crate::identity::SERIALS;
use crate::linked_blocks::LinkedBlocks;
use crate::overlay::{Common, Table, Tables, of_text, raw_key};
use crate::place::{Found, Place, pieces_at};
use crate::shard::Shard;
use crate::tac_index::TacIndex;

/// Everything a check reads of one table state; immutable.
#[derive(Default)]
pub struct Generation {
    /// Serial of the table state.
    pub serial: u64,
    pub(crate) levels: Vec<Arc<Tables>>,
    pub(crate) shards: Vec<Arc<Shard>>,
    index: Arc<TacIndex>,
    common: Arc<Common>,
    /// Keys that may be linked to one that is stolen or lost.
    pub linked_blocks: LinkedBlocks,
}

impl Generation {
    /// Takes overlays, the newest first, and shards, in the order of their TACs; what was worked out of them in the
    /// generation before is taken over.
    pub fn new(
        serial: u64,
        levels: Vec<Arc<Tables>>,
        shards: Vec<Arc<Shard>>,
        common: Arc<Common>,
        before: Option<&Self>,
    ) -> Result<Self, String> {
        if !shards.is_sorted_by_key(|shard| shard.first_tac) {
            return Err("the shards are not in the order of their TACs".into());
        }
        let blocks = shards.iter().map(|shard| shard.blocks_min).max().unwrap_or(0);
        if blocks > common.blocks.len() as u64 {
            let known = common.blocks.len();
            return Err(format!("a shard is packed by {blocks} IMSI blocks; the dictionary has {known}"));
        }
        let linked_blocks = LinkedBlocks::default();
        let index =
            before.filter(|before| same(&before.shards, &shards)).map(|before| Arc::clone(&before.index));
        let index = index.unwrap_or_else(|| Arc::new(index_of(&shards)));
        let mut now = Self { serial, levels, shards, index, common, linked_blocks };
        now.linked_blocks = LinkedBlocks::new(&now, before);
        Ok(now)
    }

    /// Fetches what `place` reads.
    #[inline]
    pub(crate) fn prefetch_place(&self, key: u64) {
        self.index.prefetch((key / SERIALS) as u32);
    }

    /// Where to look for an IMEI key in the shards: the first step of every look-up by key.
    #[inline]
    pub fn place(&self, key: u64) -> Place<'_> {
        let slot = u32::try_from(key / SERIALS).ok().and_then(|tac| self.index.find(tac));
        let Some(slot) = slot else { return Place::NOWHERE };
        let shard = self.shards.get(slot.shard as usize);
        shard.map_or(Place::NOWHERE, |shard| Place::new(shard, slot, (key % SERIALS) as u32))
    }

    /// Fetches the rest of the row of a key whose state is known.
    #[inline]
    pub(crate) fn fetch_row(&self, place: &Place<'_>) {
        place.fetch_row(&self.common.blocks);
    }

    /// Fetches what the overlays may have of a key.
    #[inline]
    pub fn prefetch_levels(&self, key: u64) {
        for level in &self.levels {
            level.table(Table::Keys).prefetch(key);
            level.table(Table::Links).prefetch(key);
        }
    }

    /// Fetches what is known of the device type of a key's TAC.
    #[inline]
    pub fn prefetch_type(&self, key: u64) {
        self.common.tables.table(Table::Tacs).prefetch(key / SERIALS);
    }

    /// Row of an IMEI key, its owner not looked up yet.
    #[inline(always)]
    pub fn find<'a>(&'a self, key: u64, place: &mut Place<'a>) -> Found<'a> {
        // Overlays seldom have it: what they fetch arrives on the way down the shard.
        let below = place.find();
        self.above(Table::Keys, key).map_or(below, Found::Row)
    }

    /// Head of the row of an IMEI key whose state is known; None where the row has items, or an overlay has it.
    #[inline]
    pub(crate) fn bare_head(&self, key: u64, place: &Place<'_>) -> Option<u64> {
        let head = place.bare_head(&self.common.blocks)?;
        self.above(Table::Keys, key).is_none().then_some(head)
    }

    /// The row of what was found.
    #[inline]
    pub fn row<'a>(&self, found: &Found<'a>) -> Row<'a> {
        found.row(&self.common.blocks)
    }

    /// Calls back with the keys of the other slots of the device.
    pub fn links(&self, key: u64, place: &mut Place<'_>, found: &mut impl FnMut(u64)) {
        match self.above(Table::Links, key) {
            Some(row) => row.words.iter().copied().for_each(found),
            None => place.links(found),
        }
    }

    /// Range pieces that hold a key.
    pub fn range_pieces<'a>(&'a self, key: u64, place: &mut Place<'a>) -> &'a [u64] {
        match self.above(Table::Ranges, key / SERIALS) {
            Some(row) => pieces_at(row.words, key % SERIALS),
            None => place.pieces(),
        }
    }

    /// Row of a raw text, of at most 16 ASCII characters.
    pub fn raw_row(&self, text: &[u8]) -> Row<'_> {
        of_text(self.common(Table::Raw, raw_key(text)), text)
    }

    /// Row of an IMSI: its exemptions.
    #[inline]
    pub fn imsi_row(&self, code: u64) -> Row<'_> {
        let listed = || self.common.imsis.may_have(code).then(|| self.common.tables.table(Table::Imsi));
        let row = self.above(Table::Imsi, code).or_else(|| listed()?.find(code));
        row.unwrap_or_default()
    }

    /// False only for an IMSI that has no row.
    #[inline]
    pub(crate) fn may_list_imsi(&self, code: u64) -> bool {
        self.common.imsis.may_have(code) || self.above(Table::Imsi, code).is_some()
    }

    /// Fetches what tells whether an IMSI has a row.
    #[inline]
    pub fn prefetch_imsi(&self, code: u64) {
        self.levels.iter().for_each(|level| level.table(Table::Imsi).prefetch(code));
        self.common.imsis.prefetch(code);
    }

    /// Number of the device type of a TAC, 0 for none known.
    pub fn device_type(&self, tac: u64) -> u64 {
        self.common(Table::Tacs, tac).head
    }

    #[inline]
    fn above(&self, table: Table, key: u64) -> Option<Row<'_>> {
        self.levels.iter().find_map(|level| level.table(table).find(key))
    }

    #[inline]
    fn common(&self, table: Table, key: u64) -> Row<'_> {
        let row = self.above(table, key).or_else(|| self.common.tables.table(table).find(key));
        row.unwrap_or_default()
    }
}

/// Whether two generations have the same shards.
pub(crate) fn same(shards: &[Arc<Shard>], others: &[Arc<Shard>]) -> bool {
    shards.len() == others.len() && shards.iter().zip(others).all(|(one, other)| Arc::ptr_eq(one, other))
}

/// All TACs, each in the last shard that begins at or before it, where that shard reaches so far.
fn index_of(shards: &[Arc<Shard>]) -> TacIndex {
    let ends = shards.iter().skip(1).map(|next| u64::from(next.first_tac)).chain([u64::MAX]);
    let slots = (0..).zip(shards.iter().zip(ends)).flat_map(|(number, (shard, end))| {
        let (first, last) = (shard.first_tac, shard.last_tac);
        let own = move |tac: u32| (first..=last).contains(&tac) && u64::from(tac) < end;
        shard.slots(number).into_iter().filter(move |slot| own(slot.tac))
    });
    TacIndex::new(&slots.collect::<Vec<_>>())
}
