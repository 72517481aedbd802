//! A generation: what a check reads, replaced as a whole.

use crate::facts::Row;

/// Everything a check reads of one table state; immutable.
#[derive(Default)]
pub struct Generation {
    /// Serial of the table state.
    pub serial: u64,
}

impl Generation {
    /// Row of an IMEI key.
    pub fn key_row(&self, _key: u64) -> Row<'_> {
        Row::default()
    }

    /// Calls back with the keys of the other slots of the device.
    pub fn links(&self, _key: u64, _found: &mut impl FnMut(u64)) {}

    /// Range pieces that hold a key.
    pub fn range_pieces(&self, _key: u64) -> &[u64] {
        &[]
    }

    /// Row of a raw text.
    pub fn raw_row(&self, _text: &[u8]) -> Row<'_> {
        Row::default()
    }

    /// Row of an IMSI: its exemptions.
    pub fn imsi_row(&self, _code: u64) -> Row<'_> {
        Row::default()
    }

    /// Number of the device type of a TAC, 0 for none known.
    pub fn device_type(&self, _tac: u64) -> u64 {
        0
    }
}
