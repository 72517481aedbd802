//! A policy between two dates: its tables, and what makes look-ups in them short.

use std::ops::Deref;

use crate::bare::Bare;
use crate::policy::PolicyTables;

const HOME: u8 = 1;
const EXEMPT: u8 = 2;
/// The first IMSI code of 15 digits, how many codes begin with the same five of them, and how many such begins
/// there are.
const FIFTEEN_DIGITS: u64 = 1_000_000_000_000_000;
const NETWORK_CODES: u64 = 10_000_000_000;
const NETWORKS: u64 = 100_000;
/// A begin of which codes of more than one column are.
const MIXED: u16 = u16::MAX;

/// Class of an IMSI code: its number, and what its network is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ImsiClass {
    /// Number of the class.
    pub class: usize,
    /// Place among all of a stretch that differ.
    pub column: usize,
    flags: u8,
}

impl ImsiClass {
    /// Whether the IMSI is a home network's.
    #[inline]
    pub fn home(self) -> bool {
        self.flags & HOME != 0
    }

    /// Whether it lies in a range that the policy exempts.
    #[inline]
    pub fn exempt(self) -> bool {
        self.flags & EXEMPT != 0
    }
}

/// Tables that are sound, with what was worked out of them.
pub struct Stretch {
    tables: PolicyTables,
    /// Classes of IMSI codes that differ in number or network.
    columns: Vec<ImsiClass>,
    /// The column of each place in `imsi_starts`.
    column_of: Vec<u16>,
    /// That of an IMSI of 15 digits, by the first five of them.
    networks: Vec<u16>,
    /// `modes`, one after another; each has as many as there are reasons.
    outcome_of: Vec<u8>,
    reasons: usize,
    /// `home_plmns`, each as a word.
    home_words: Vec<u64>,
    bare: Bare,
}

impl Deref for Stretch {
    type Target = PolicyTables;

    fn deref(&self) -> &PolicyTables {
        &self.tables
    }
}

impl Stretch {
    /// Takes tables. Errors where they are not of this engine's shape.
    pub fn new(tables: PolicyTables) -> Result<Self, String> {
        tables.check()?;
        let (columns, column_of) = columns(&tables)?;
        let mut stretch = Self {
            networks: networks(&tables, &column_of),
            columns,
            column_of,
            outcome_of: tables.modes.concat(),
            reasons: tables.modes.first().map_or(0, Vec::len),
            home_words: tables.home_plmns.iter().filter_map(|plmn| word_of(plmn.as_bytes())).collect(),
            bare: Bare::default(),
            tables,
        };
        stretch.bare = Bare::of(&stretch);
        Ok(stretch)
    }

    /// Verdicts of rows without items.
    #[inline]
    pub(crate) fn bare(&self) -> &Bare {
        &self.bare
    }

    /// All classes of IMSI codes, by column.
    pub(crate) fn imsi_columns(&self) -> &[ImsiClass] {
        &self.columns
    }

    /// Class of an IMSI code, 0 for none.
    #[inline]
    pub fn imsi_class(&self, code: u64) -> ImsiClass {
        let network = code.wrapping_sub(FIFTEEN_DIGITS) / NETWORK_CODES;
        let column = match self.networks.get(network as usize) {
            Some(column) if *column != MIXED => *column,
            _ => self.column_of[last_at_or_before(&self.imsi_starts, code)],
        };
        self.columns[usize::from(column)]
    }

    /// Class of a TAC; none (raw text has no TAC) is in no set.
    #[inline]
    pub fn tac_class(&self, tac: Option<u64>) -> usize {
        match (tac, &*self.tac_classes) {
            (None, _) => 0,
            (_, [all]) => *all,
            (Some(tac), classes) => classes[last_at_or_before(&self.tac_starts, tac)],
        }
    }

    /// Outcome of a reason for a pair of classes.
    #[inline]
    pub fn outcome(&self, tac_class: usize, imsi_class: usize, reason: u8) -> usize {
        let scope = tac_class * self.imsi_class_count + imsi_class;
        usize::from(self.outcome_of[scope * self.reasons + usize::from(reason)])
    }

    /// Whether a serving network is a home network; none given is home.
    #[inline]
    pub fn home_plmn(&self, plmn: &[u8]) -> bool {
        plmn.is_empty() || word_of(plmn).is_some_and(|word| self.home_words.contains(&word))
    }
}

/// Classes that differ, and which of them the codes from each start on have.
fn columns(tables: &PolicyTables) -> Result<(Vec<ImsiClass>, Vec<u16>), String> {
    let mut columns: Vec<ImsiClass> = Vec::new();
    let places = tables.imsi_classes.iter().zip(&tables.imsi_flags).map(|(class, flags)| {
        let same = |column: &ImsiClass| (column.class, column.flags) == (*class, *flags);
        let column = columns.iter().position(same).unwrap_or_else(|| {
            columns.push(ImsiClass { class: *class, column: columns.len(), flags: *flags });
            columns.len() - 1
        });
        u16::try_from(column).ok().filter(|column| *column != MIXED)
    });
    let column_of: Option<_> = places.collect();
    Ok((columns, column_of.ok_or("the policy has too many classes of IMSIs")?))
}

/// Works out what a search would find, for the IMSIs that nearly all checks have.
fn networks(tables: &PolicyTables, column_of: &[u16]) -> Vec<u16> {
    let starts = &tables.imsi_starts;
    let network = |number| {
        let first = FIFTEEN_DIGITS + number * NETWORK_CODES;
        let (first, last) =
            (last_at_or_before(starts, first), last_at_or_before(starts, first + NETWORK_CODES - 1));
        let column = column_of[first];
        if column_of[first..=last].iter().all(|other| *other == column) { column } else { MIXED }
    };
    (0..NETWORKS).map(network).collect()
}

/// A text of less than eight bytes as a word that no other has: its bytes after a 1; None for a longer one.
fn word_of(text: &[u8]) -> Option<u64> {
    let bytes = |word: u64, byte: &u8| word << 8 | u64::from(*byte);
    (text.len() < 8).then(|| text.iter().fold(1, bytes))
}

/// Place of the last start that is not above a value; the first start is 0.
fn last_at_or_before(starts: &[u64], value: u64) -> usize {
    starts.partition_point(|start| *start <= value) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_class_of_an_imsi_is_that_of_the_last_start_before_it() {
        let network = |digits: u64| FIFTEEN_DIGITS + digits * NETWORK_CODES;
        let imsi_starts =
            vec![0, 143_211, 143_212, network(43_211), network(43_211) + 5, network(43_213), network(43_215)];
        let tables = PolicyTables {
            imsi_classes: vec![0, 1, 2, 3, 4, 5, 5],
            imsi_flags: vec![0, 1, 2, 3, 0, 1, 1],
            imsi_starts,
            ..PolicyTables::default()
        };
        let (columns, column_of) = columns(&tables).unwrap();
        assert_eq!(columns.len(), 6);
        let networks = networks(&tables, &column_of);
        assert_eq!(networks[43_211], MIXED);
        assert_eq!(networks[43_212], 4);
        assert_eq!(networks[43_213..43_217], [5; 4]);
        let stretch = Stretch { networks, column_of, columns, tables, ..of_nothing() };
        let codes =
            [0, 1, 143_211, 143_299, FIFTEEN_DIGITS - 1, FIFTEEN_DIGITS, 2 * FIFTEEN_DIGITS - 1, u64::MAX];
        let near = [43_210, 43_211, 43_212, 43_213, 43_215].map(network);
        let near = near.into_iter().flat_map(|code| [code - 1, code, code + 4, code + 5]);
        for code in codes.into_iter().chain(near) {
            let place = last_at_or_before(&stretch.imsi_starts, code);
            let found = stretch.imsi_class(code);
            assert_eq!(found.class, stretch.imsi_classes[place], "{code}");
            assert_eq!(found.flags, stretch.imsi_flags[place], "{code}");
            assert_eq!(stretch.imsi_columns()[found.column], found);
        }
    }

    fn of_nothing() -> Stretch {
        Stretch {
            tables: PolicyTables::default(),
            columns: vec![],
            column_of: vec![],
            networks: vec![],
            outcome_of: vec![],
            reasons: 0,
            home_words: vec![],
            bare: Bare::default(),
        }
    }
}
