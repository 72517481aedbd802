//! A check by itself and among others is judged alike, whatever the rules: the tables of the policy are made up.

use std::sync::Arc;

use super::{GROUP, Question, Tables};
use crate::case_table::Pair;
use crate::identity::SERIALS;
use crate::overlay;
use crate::policy::{GATE_FIELDS, Policy, PolicyTables, STANDING_FIELDS};
use crate::samples;

const TACS: [u64; 5] = [0, 35_000_001, 35_000_002, 86_123_456, 99_999_999];
const NOW: u64 = 1_800_000_000;
const FAR_COMBINATIONS: usize = 8;

/// Some number for each number.
fn dice(number: usize) -> usize {
    (number as u64 + 7)
        .wrapping_mul(0x9E37_79B9_7F4A_7C15)
        .wrapping_mul(0xD6E8_FEB8_6659_FD93)
        .rotate_left(23) as usize
}

fn rules() -> PolicyTables {
    let size = |fields: &[(&str, usize)]| fields.iter().map(|(_, radix)| radix).product::<usize>();
    let (gate, standing) = (size(&GATE_FIELDS), size(&STANDING_FIELDS));
    let numbers =
        |count: usize, of: fn(usize) -> usize| (0..count).map(|at| of(at) as u8).collect::<Vec<_>>();
    PolicyTables {
        gate: numbers(gate, |at| if dice(at).is_multiple_of(4) { 1 + dice(at) / 4 % 15 } else { 0 }),
        standing: numbers(standing, |at| 16 + dice(at) % 40),
        gate_needs: numbers(gate / FAR_COMBINATIONS, |at| dice(at + 1) & 7 & (dice(at + 2) >> 3)),
        standing_needs: numbers(standing / FAR_COMBINATIONS, |at| dice(at + 3) & 3),
        modes: (0..4)
            .map(|mode| (0..56).map(|reason| (dice(mode * 64 + reason) % 8) as u8).collect())
            .collect(),
        outcomes: numbers(64, |at| 1 + dice(at) % 4),
        opens: numbers(8, |at| at % 2),
        tac_starts: vec![0, 35_000_002],
        tac_classes: vec![0, 1],
        imsi_starts: vec![0, 1_432_110_000_000_000],
        imsi_classes: vec![0, 1],
        imsi_flags: vec![2, 1],
        imsi_class_count: 2,
        tac_exempt: vec![false, true],
        tac_before: vec![0, 0],
        grandfather_imei: true,
        grandfather_pair: true,
        home_plmns: ["43211".to_owned()].into(),
        pairs_per_imei_max: 2,
        cache_seconds_max: 600,
        exempt_notice_seconds: 86_400,
        ..PolicyTables::default()
    }
}

fn tables(levels: &[&Arc<overlay::Tables>]) -> Tables {
    let map = vec![(b"*".to_vec(), vec![0, 1, 2, 3, 4])];
    Tables {
        generation: Arc::new(samples::generation(levels, &samples::shard(), None)),
        policy: Arc::new(Policy::new(1, vec![35_000_001_000_005], vec![rules()], map).unwrap()),
        exempt_types: vec![false, true, false],
        allow_all: false,
        stale: false,
        cases: None,
    }
}

struct Asked {
    imei: String,
    imsi: String,
    serving_plmn: &'static str,
    emergency: bool,
}

/// Texts of all kinds, and keys around those that the samples know, half of them with their owner.
fn asked(tables: &Tables) -> Vec<Asked> {
    let lows = (0..320).chain(65_480..65_640).chain(983_030..983_100).chain(999_940..1_000_000);
    let keys = lows.flat_map(|serial| TACS.map(|tac| tac * SERIALS + serial));
    let key = |(at, key): (usize, u64)| {
        let head =
            tables.generation.row(&tables.generation.find(key, &mut tables.generation.place(key))).owner();
        let imsi = match dice(at) % 4 {
            0 | 1 if head != 0 => head.to_string().split_off(1),
            2 => "00101".into(),
            _ => format!("43211{:010}", dice(at) % 300),
        };
        let serving_plmn = ["", "43211", "99999", ""][dice(at) / 4 % 4];
        Asked {
            imei: format!("{key:014}"),
            imsi,
            serving_plmn,
            emergency: (dice(at) / 16).is_multiple_of(16),
        }
    };
    let mut asked: Vec<Asked> = keys.enumerate().map(key).collect();
    for imei in ["", "12*#A", "0F", "35000001000005", "350000010000a", "00000000000000"] {
        for imsi in ["", "432110000000001", "43211", "x"] {
            let at = dice(asked.len()) % asked.len();
            asked.insert(
                at,
                Asked { imei: imei.into(), imsi: imsi.into(), serving_plmn: "", emergency: false },
            );
        }
    }
    asked
}

#[test]
fn a_check_is_judged_alike_alone_and_in_groups_of_any_size() {
    let overlay = samples::overlay();
    for levels in [&[][..], &[&overlay]] {
        let tables = tables(levels);
        let asked = asked(&tables);
        let questions = asked.iter().map(|asked| Question {
            imei: asked.imei.as_bytes(),
            imsi: asked.imsi.as_bytes(),
            serving_plmn: asked.serving_plmn.as_bytes(),
            emergency: asked.emergency,
        });
        let questions: Vec<Question<'_>> = questions.collect();
        let alone: Vec<_> = questions.iter().map(|question| tables.check(question, NOW)).collect();
        let reasons = alone.iter().fold(0_u64, |reasons, verdict| reasons | 1 << verdict.reason);
        assert!(questions.len() > 3000 && reasons.count_ones() > 40, "{} reasons", reasons.count_ones());
        for rows in [1, 2, 4, 5, 15, 16, 17, GROUP - 1, GROUP, GROUP + 1, 3 * GROUP] {
            let mut together = Vec::new();
            questions.chunks(rows).for_each(|group| tables.check_batch(group, NOW, &mut together));
            for ((question, together), alone) in questions.iter().zip(&together).zip(&alone) {
                assert_eq!(together, alone, "{question:?} among {rows}");
            }
        }
    }
}

#[test]
fn pairs_are_judged_as_checks_of_their_texts() {
    let tables = tables(&[]);
    let pairs = TACS.iter().flat_map(|tac| (0..300).map(move |serial| tac * SERIALS + serial));
    let pair = |key: u64| Pair { key, imsi: 1_432_110_000_000_000 + key % 300 };
    let pairs: Vec<Pair> = pairs.map(pair).collect();
    let judged = tables.judge_pairs(pairs.iter().copied(), NOW);
    for (pair, reason) in pairs.iter().zip(judged.reasons) {
        let (imei, imsi) = (format!("{:014}", pair.key), pair.imsi.to_string().split_off(1));
        let question = Question { imei: imei.as_bytes(), imsi: imsi.as_bytes(), ..Question::default() };
        assert_eq!(tables.check(&question, NOW).reason, reason, "{imei} {imsi}");
    }
}
