//! The compiled policy: tables that Python made of the rules, read by index. No rule is here.
//!
//! The index arithmetic is that of eir/verdict.py, the fields those of eir/policy/tables.py.

use std::collections::HashSet;

use crate::identity::Placeholders;

/// Reasons of a verdict that the engine itself must know; all others are numbers in tables.
pub mod reason {
    #![allow(missing_docs)]
    pub const EMERGENCY: u8 = 1;
    pub const OVERRIDE: u8 = 2;
    pub const EXEMPT_PAIR: u8 = 3;
    pub const EXEMPT_PAIR_BLOCKED: u8 = 4;
    pub const EXEMPT_IMEI: u8 = 12;
    pub const EXEMPT_IMSI: u8 = 13;
}

/// The one status that may be kept by who asked.
pub const WHITELISTED: u8 = 1;

/// Groups of facts that cost a further look-up.
pub mod far {
    #![allow(missing_docs)]
    pub const LINKS: u8 = 1;
    pub const RANGES: u8 = 2;
    pub const IMSI_ROWS: u8 = 4;
}

/// Fields of the gate table with their radix, the first the least significant; far fields last.
pub const GATE_FIELDS: [(&str, usize); 12] = [
    ("emergency", 2),
    ("override", 2),
    ("pair_exempt", 2),
    ("own_block", 4),
    ("imsi_kind", 6),
    ("individually_registered", 2),
    ("imei_exempt", 2),
    ("imsi_range_exempt", 2),
    ("device_type_exempt", 2),
    ("linked_block", 2),
    ("range_block", 2),
    ("imsi_exempt", 2),
];
const GATE_FAR: usize = 3;

/// Fields of the standing table, likewise.
pub const STANDING_FIELDS: [(&str, usize); 9] = [
    ("relation", 3),
    ("grandfathered", 3),
    ("imsi_kind", 6),
    ("standing", 11),
    ("owned", 2),
    ("individually_registered", 2),
    ("other_slot_paired", 2),
    ("other_slot_owned", 2),
    ("range_registered", 2),
];
const STANDING_FAR: usize = 3;

/// Place value of a field; asking for one that is not there does not compile.
pub const fn weight(fields: &[(&str, usize)], name: &str) -> usize {
    let (mut place, mut at) = (1, 0);
    while !same(fields[at].0, name) {
        place *= fields[at].1;
        at += 1;
    }
    place
}

const fn same(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut at = 0;
    while at < a.len() && at < b.len() && a[at] == b[at] {
        at += 1;
    }
    at == a.len() && at == b.len()
}

const fn size(fields: &[(&str, usize)], count: usize) -> usize {
    let (mut total, mut at) = (1, 0);
    while at < count {
        total *= fields[at].1;
        at += 1;
    }
    total
}

const GATE: usize = size(&GATE_FIELDS, GATE_FIELDS.len());
const GATE_NEEDS: usize = size(&GATE_FIELDS, GATE_FIELDS.len() - GATE_FAR);
const STANDING: usize = size(&STANDING_FIELDS, STANDING_FIELDS.len());
const STANDING_NEEDS: usize = size(&STANDING_FIELDS, STANDING_FIELDS.len() - STANDING_FAR);
const HOME: u8 = 1;
const EXEMPT: u8 = 2;
/// The first IMSI code of 15 digits, how many codes begin with the same five of them, and how many such begins
/// there are.
const FIFTEEN_DIGITS: u64 = 1_000_000_000_000_000;
const NETWORK_CODES: u64 = 10_000_000_000;
const NETWORKS: u64 = 100_000;
/// A begin of which more than one class of codes is.
const MIXED: u16 = u16::MAX;

/// A policy between two dates; the fields are described at `PolicyTables` of eir/policy/tables.py.
#[allow(missing_docs)]
#[derive(Default)]
#[cfg_attr(feature = "python", derive(pyo3::FromPyObject))]
pub struct Stretch {
    pub valid_from: u64,
    pub gate: Vec<u8>,
    pub standing: Vec<u8>,
    pub gate_needs: Vec<u8>,
    pub standing_needs: Vec<u8>,
    pub modes: Vec<Vec<u8>>,
    pub outcomes: Vec<u8>,
    pub opens: Vec<u8>,
    pub tac_starts: Vec<u64>,
    pub tac_classes: Vec<usize>,
    pub imsi_starts: Vec<u64>,
    pub imsi_classes: Vec<usize>,
    pub imsi_flags: Vec<u8>,
    pub imsi_class_count: usize,
    pub tac_exempt: Vec<bool>,
    pub tac_before: Vec<u64>,
    pub grandfather_imei: bool,
    pub grandfather_pair: bool,
    pub home_plmns: HashSet<String>,
    pub pairs_per_imei_max: u64,
    pub cache_seconds_max: u64,
    pub exempt_notice_seconds: u64,
    /// By the first five digits of an IMSI of 15, its place in `imsi_starts`; worked out by `Policy::new`.
    #[cfg_attr(feature = "python", pyo3(default))]
    pub networks: Vec<u16>,
    /// `modes`, one after another; each has `reasons`. Worked out likewise, as is the next.
    #[cfg_attr(feature = "python", pyo3(default))]
    pub outcome_of: Vec<u8>,
    #[cfg_attr(feature = "python", pyo3(default))]
    pub reasons: usize,
    /// `home_plmns`, each as a word.
    #[cfg_attr(feature = "python", pyo3(default))]
    pub home_words: Vec<u64>,
}

/// Class of an IMSI code: its number, and what its network is.
#[derive(Clone, Copy)]
pub struct ImsiClass {
    /// Number of the class.
    pub class: usize,
    flags: u8,
}

impl ImsiClass {
    /// Whether the IMSI is a home network's.
    pub fn home(self) -> bool {
        self.flags & HOME != 0
    }

    /// Whether it lies in a range that the policy exempts.
    pub fn exempt(self) -> bool {
        self.flags & EXEMPT != 0
    }
}

impl Stretch {
    /// Says what is wrong with the tables, so that no look-up in them can miss.
    pub fn check(&self) -> Result<(), String> {
        let tac_classes = self.tac_exempt.len();
        let reasons = self.modes.first().map_or(0, Vec::len);
        let highest = |table: &[u8]| usize::from(table.iter().copied().max().unwrap_or(0));
        let sound = [
            ("gate", self.gate.len() == GATE && highest(&self.gate) < reasons),
            ("gate_needs", self.gate_needs.len() == GATE_NEEDS),
            ("standing", self.standing.len() == STANDING && highest(&self.standing) < reasons),
            ("standing_needs", self.standing_needs.len() == STANDING_NEEDS),
            (
                "modes",
                self.modes.len() == tac_classes * self.imsi_class_count
                    && self
                        .modes
                        .iter()
                        .all(|modes| modes.len() == reasons && highest(modes) * 8 + 8 <= self.outcomes.len()),
            ),
            ("opens", self.opens.len() * 8 == self.outcomes.len()),
            ("tac_starts", sorted(&self.tac_starts, self.tac_classes.len())),
            ("imsi_starts", sorted(&self.imsi_starts, self.imsi_classes.len())),
            ("imsi_flags", self.imsi_flags.len() == self.imsi_classes.len()),
            ("tac_classes", self.tac_classes.iter().all(|class| *class < tac_classes)),
            ("imsi_classes", self.imsi_classes.iter().all(|class| *class < self.imsi_class_count)),
            ("tac_before", self.tac_before.len() == tac_classes),
        ];
        match sound.iter().find(|(_, sound)| !sound) {
            Some((name, _)) => Err(format!("the policy's table {name} is not of this engine's shape")),
            None => Ok(()),
        }
    }

    /// Class of a TAC; none (raw text has no TAC) is in no set.
    pub fn tac_class(&self, tac: Option<u64>) -> usize {
        tac.map_or(0, |tac| self.tac_classes[last_at_or_before(&self.tac_starts, tac)])
    }

    /// Class of an IMSI code, 0 for none.
    #[inline]
    pub fn imsi_class(&self, code: u64) -> ImsiClass {
        let network = code.wrapping_sub(FIFTEEN_DIGITS) / NETWORK_CODES;
        let place = match self.networks.get(network as usize) {
            Some(place) if *place != MIXED => usize::from(*place),
            _ => last_at_or_before(&self.imsi_starts, code),
        };
        ImsiClass { class: self.imsi_classes[place], flags: self.imsi_flags[place] }
    }

    /// Works out what makes look-ups short.
    fn derive(&mut self) {
        self.find_networks();
        self.home_words = self.home_plmns.iter().filter_map(|plmn| word_of(plmn.as_bytes())).collect();
        self.reasons = self.modes.first().map_or(0, Vec::len);
        self.outcome_of = self.modes.concat();
    }

    /// Works out what a search would find, for the IMSIs that nearly all checks have.
    fn find_networks(&mut self) {
        let place = |code| last_at_or_before(&self.imsi_starts, code);
        let network = |number| {
            let first = FIFTEEN_DIGITS + number * NETWORK_CODES;
            let (first, last) = (place(first), place(first + NETWORK_CODES - 1));
            if first == last { u16::try_from(first).unwrap_or(MIXED) } else { MIXED }
        };
        self.networks = (0..NETWORKS).map(network).collect();
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

/// A text of less than eight bytes as a word that no other has: its bytes after a 1; None for a longer one.
fn word_of(text: &[u8]) -> Option<u64> {
    let bytes = |word: u64, byte: &u8| word << 8 | u64::from(*byte);
    (text.len() < 8).then(|| text.iter().fold(1, bytes))
}

fn sorted(starts: &[u64], length: usize) -> bool {
    starts.len() == length && starts.first() == Some(&0) && starts.is_sorted()
}

/// Place of the last start that is not above a value; the first start is 0.
fn last_at_or_before(starts: &[u64], value: u64) -> usize {
    starts.partition_point(|start| *start <= value) - 1
}

/// A compiled policy; immutable.
pub struct Policy {
    /// By which Python knows it, in decisions that are kept.
    pub number: u64,
    placeholders: Placeholders,
    stretches: Vec<Stretch>,
    status_maps: Vec<(Vec<u8>, Vec<u8>)>,
    any_client: Vec<u8>,
}

impl Policy {
    /// Takes tables by date, and the map of statuses of each client ("*": all others).
    pub fn new(
        number: u64,
        placeholders: Vec<u64>,
        mut stretches: Vec<Stretch>,
        mut status_maps: Vec<(Vec<u8>, Vec<u8>)>,
    ) -> Result<Self, String> {
        stretches.iter().try_for_each(Stretch::check)?;
        stretches.iter_mut().for_each(Stretch::derive);
        let starts: Vec<u64> = stretches.iter().map(|stretch| stretch.valid_from).collect();
        if !sorted(&starts, stretches.len()) {
            return Err("the policy's stretches are not in the order of their dates from 0 on".into());
        }
        let any = status_maps.iter().position(|(client, _)| client == b"*");
        let Some(any) = any else { return Err("the policy has no status map for all clients".into()) };
        let any_client = status_maps.swap_remove(any).1;
        let placeholders = Placeholders::new(placeholders);
        Ok(Self { number, placeholders, stretches, status_maps, any_client })
    }

    /// Keys that are shared placeholders.
    pub fn placeholders(&self) -> &Placeholders {
        &self.placeholders
    }

    /// Tables in force at a second since the Unix epoch, and the second they end, 0 when they do not.
    pub fn at(&self, now: u64) -> (&Stretch, u64) {
        let after = self.stretches.partition_point(|stretch| stretch.valid_from <= now);
        (&self.stretches[after - 1], self.stretches.get(after).map_or(0, |next| next.valid_from))
    }

    /// Status that a client gets, by status.
    pub fn status_map(&self, client: &[u8]) -> &[u8] {
        let own = self.status_maps.iter().find(|(name, _)| name == client);
        own.map_or(&self.any_client, |(_, map)| map)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_place_values() {
        assert_eq!(weight(&GATE_FIELDS, "emergency"), 1);
        assert_eq!(weight(&GATE_FIELDS, "imsi_kind"), 32);
        assert_eq!(GATE, GATE_NEEDS * 8);
        assert_eq!(STANDING, STANDING_NEEDS * 8);
    }

    #[test]
    fn the_class_of_an_imsi_is_that_of_the_last_start_before_it() {
        let network = |digits: u64| FIFTEEN_DIGITS + digits * NETWORK_CODES;
        let imsi_starts = vec![0, 143_211, 143_212, network(43_211), network(43_211) + 5, network(43_213)];
        let places = 0..imsi_starts.len();
        let mut stretch = Stretch {
            imsi_classes: places.clone().collect(),
            imsi_flags: places.map(|place| place as u8 & 3).collect(),
            imsi_starts,
            ..Stretch::default()
        };
        let codes =
            [0, 1, 143_211, 143_299, FIFTEEN_DIGITS - 1, FIFTEEN_DIGITS, 2 * FIFTEEN_DIGITS - 1, u64::MAX];
        let near = [43_210, 43_211, 43_212, 43_213].map(network);
        let codes =
            codes.into_iter().chain(near.into_iter().flat_map(|code| [code - 1, code, code + 4, code + 5]));
        let codes: Vec<u64> = codes.collect();
        let classes = |stretch: &Stretch| -> Vec<(usize, bool)> {
            codes
                .iter()
                .map(|code| (stretch.imsi_class(*code).class, stretch.imsi_class(*code).home()))
                .collect()
        };
        let searched = classes(&stretch);
        stretch.find_networks();
        assert_eq!(stretch.networks[43_211], MIXED);
        assert_eq!(stretch.networks[43_212], 4);
        assert_eq!(classes(&stretch), searched);
    }

    #[test]
    fn a_policy_of_another_shape_is_refused() {
        assert!(Stretch::default().check().unwrap_err().contains("gate"));
    }
}
