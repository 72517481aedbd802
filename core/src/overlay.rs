//! Rows above the shards, the common segment, and raw texts in both. Format: docs/segment-format.md.

use crate::facts::Row;
use crate::filter::Filter;
use crate::hashtable::HashTable;
use crate::memory::View;
use crate::segment::{Kind, Segment};

/// Tables of an overlay, by number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Table {
    /// IMEI key: head, items.
    Keys = 0,
    /// IMEI key: keys of the other slots.
    Links = 1,
    /// TAC: pieces.
    Ranges = 2,
    /// Hash of a text: head, items, the text.
    Raw = 3,
    /// IMSI code: items.
    Imsi = 4,
    /// TAC: number of the device type.
    Tacs = 5,
}

/// Number of tables.
pub const TABLES: usize = 6;
const SLOTS_SECTION: u32 = 100;
const WORDS_SECTION: u32 = 101;
const IMSI_BLOCKS_SECTION: u32 = 120;
/// Words at the end of a row of RAW that are the text.
const TEXT_WORDS: usize = 2;

/// Hash tables by number.
#[derive(Default)]
pub struct Tables([HashTable; TABLES]);

impl Tables {
    /// Takes tables in the order of their numbers.
    pub fn new(tables: [HashTable; TABLES]) -> Self {
        Self(tables)
    }

    /// Reads the tables of an overlay or of the common segment.
    pub fn of(segment: &Segment) -> Result<Self, String> {
        let mut tables = Self::default();
        for (number, table) in (0..).zip(&mut tables.0) {
            let slots = segment.view(SLOTS_SECTION + 2 * number)?;
            let words = segment.view(WORDS_SECTION + 2 * number)?;
            *table = HashTable::new(slots, words).map_err(|what| format!("table {number}: {what}"))?;
        }
        Ok(tables)
    }

    /// One table.
    #[inline]
    pub fn table(&self, table: Table) -> &HashTable {
        &self.0[table as usize]
    }
}

/// The common segment: tables that are not split by TAC, and the dictionary that shards are packed by.
pub struct Common {
    /// RAW, IMSI and TACS; the others are empty.
    pub tables: Tables,
    /// IMSI blocks by number.
    pub blocks: View<u64>,
    /// IMSI codes that have a row: nearly every check asks, and few have one.
    pub imsis: Filter,
}

impl Common {
    /// Takes tables and the dictionary.
    pub fn new(tables: Tables, blocks: View<u64>) -> Self {
        let table = tables.table(Table::Imsi);
        let mut imsis = Filter::new(table.rows().count(), 8);
        table.rows().for_each(|(code, _)| imsis.add(code));
        Self { tables, blocks, imsis }
    }

    /// Reads a common segment.
    pub fn of(segment: &Segment) -> Result<Self, String> {
        segment.expect(Kind::Common)?;
        Ok(Self::new(Tables::of(segment)?, segment.view(IMSI_BLOCKS_SECTION)?))
    }
}

impl Default for Common {
    fn default() -> Self {
        Self::new(Tables::default(), View::default())
    }
}

/// Key of a raw text: FNV-1a of 64 bits.
pub fn raw_key(text: &[u8]) -> u64 {
    text.iter()
        .fold(0xCBF2_9CE4_8422_2325, |value, byte| (value ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3))
}

/// A row of RAW without its text; nothing where the text is another one.
pub fn of_text<'a>(row: Row<'a>, text: &[u8]) -> Row<'a> {
    let mut own = [0; TEXT_WORDS * 8];
    let Some(place) = own.get_mut(..text.len()) else { return Row::default() };
    place.copy_from_slice(text);
    let Some((items, words)) = row.words.split_last_chunk::<TEXT_WORDS>() else { return Row::default() };
    let same = words.iter().zip(own.chunks_exact(8)).all(|(word, part)| word.to_le_bytes() == *part);
    if same { Row { head: row.head, words: items } } else { Row::default() }
}
