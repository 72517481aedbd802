//! The compiled policy: tables that Python made of the rules, read by index. No rule is here.
//!
//! The index arithmetic is that of eir/verdict.py, the fields those of eir/policy/tables.py.

use std::collections::HashSet;

use crate::identity::Placeholders;
use crate::stretch::Stretch;

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

/// A policy between two dates; the fields are described at `PolicyTables` of eir/policy/tables.py.
#[allow(missing_docs)]
#[derive(Default)]
#[cfg_attr(feature = "python", derive(pyo3::FromPyObject))]
pub struct PolicyTables {
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
}

impl PolicyTables {
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
}

fn sorted(starts: &[u64], length: usize) -> bool {
    starts.len() == length && starts.first() == Some(&0) && starts.is_sorted()
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
        stretches: Vec<PolicyTables>,
        mut status_maps: Vec<(Vec<u8>, Vec<u8>)>,
    ) -> Result<Self, String> {
        let stretches: Vec<Stretch> = stretches.into_iter().map(Stretch::new).collect::<Result<_, _>>()?;
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
    fn a_policy_of_another_shape_is_refused() {
        assert!(PolicyTables::default().check().unwrap_err().contains("gate"));
    }
}
