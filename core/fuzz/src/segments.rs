//! What a damaged segment may do to the reader: nothing. Every way of reading is tried on it.

use std::sync::Arc;

use eir_core::facts::{self, Row, RowFacts};
use eir_core::generation::Generation;
use eir_core::identity::SERIALS;
use eir_core::memory::Memory;
use eir_core::overlay::{Common, Tables};
use eir_core::place::Place;
use eir_core::policy::PolicyTables;
use eir_core::segment::{Checksums, Kind, Segment};
use eir_core::shard::Shard;

use crate::random::{Random, interesting};

/// Segments that the writer made of random rows (tests/unit/test_native_samples.py): shard, common, overlay.
pub const SAMPLES: [&[u8]; 3] = [
    include_bytes!("../samples/shard.seg"),
    include_bytes!("../samples/common.seg"),
    include_bytes!("../samples/overlay.seg"),
];
/// TACs and raw texts of the samples.
const TACS: [u64; 5] = [0, 35_000_001, 35_000_002, 86_123_456, 99_999_999];
const TEXTS: [&[u8]; 5] = [b"12*#A", b"0F", b"*#06#", b"12345678901234AB", b"ABCDEF"];
const IMSIS: [u64; 4] = [100_101, 1_432_110_000_000_001, 10, 126_201];
const HEADER: usize = 64;
const ENTRY: usize = 32;
const NOW: u64 = 1_800_000_000;

/// Makes the checksums of an image, and what its header says of the file, those of its bytes.
pub fn repair(image: &mut [u8]) {
    if image.len() < HEADER {
        return;
    }
    image[..10].copy_from_slice(b"EIRSEG\r\n\x01\0");
    let length = (image.len() as u64).to_le_bytes();
    image[32..40].copy_from_slice(&length);
    let count = usize::from(image[12]).min(64).min((image.len() - HEADER) / ENTRY);
    image[12..16].copy_from_slice(&(count as u32).to_le_bytes());
    for at in (0..count).map(|place| HEADER + ENTRY * place) {
        let number = |from: usize| u64::from_le_bytes(image[from..from + 8].try_into().unwrap());
        let (offset, length) = (number(at + 8), number(at + 16));
        let end = offset.saturating_add(length).min(image.len() as u64) as usize;
        if let Some(section) = image.get(offset as usize..end) {
            let checksum = crc32c::crc32c(section);
            image[at + 4..at + 8].copy_from_slice(&checksum.to_le_bytes());
        }
    }
    image[40..44].fill(0);
    let checksum = crc32c::crc32c(&image[..HEADER + ENTRY * count]);
    image[40..44].copy_from_slice(&checksum.to_le_bytes());
}

/// Opens a segment and asks it for everything; returns how much it knew, so that nothing is left out.
pub fn read(image: &[u8]) -> u64 {
    let opened = Segment::parse(Memory::copied(image), Checksums::Verify).and_then(|segment| open(&segment));
    opened.map_or(0, |generation| ask(&generation))
}

fn sample(place: usize) -> Segment {
    Segment::parse(Memory::copied(SAMPLES[place]), Checksums::Verify).expect("a sample is sound")
}

/// A generation of a segment; a shard has the sample's dictionary, the others the sample's shard below them.
fn open(segment: &Segment) -> Result<Generation, String> {
    let shard = |segment: &Segment| Ok::<_, String>(vec![Arc::new(Shard::of(segment)?)]);
    match segment.kind {
        Kind::Shard => Generation::new(1, vec![], shard(segment)?, Arc::new(Common::of(&sample(1))?), None),
        Kind::Common => Generation::new(1, vec![], shard(&sample(0))?, Arc::new(Common::of(segment)?), None),
        Kind::Overlay => {
            let levels = vec![Arc::new(Tables::of(segment)?)];
            Generation::new(1, levels, shard(&sample(0))?, Arc::new(Common::of(&sample(1))?), None)
        }
    }
}

fn ask(generation: &Generation) -> u64 {
    let tables = PolicyTables {
        tac_starts: vec![0],
        tac_classes: vec![0],
        tac_before: vec![0],
        grandfather_imei: true,
        grandfather_pair: true,
        ..PolicyTables::default()
    };
    let row = |row: Row<'_>| {
        let facts = RowFacts::of(row, IMSIS[1], NOW, &tables, 0);
        let known = u64::from(row != Row::default()) + row.words.len() as u64;
        known + facts.pairs + u64::from(facts::blocks_device(row.words)) + facts::imsi_exempt_until(row, NOW)
    };
    let mut known = 0u64;
    let lows = (0..320).chain(65_480..65_640).chain(983_030..983_100).chain(999_940..1_000_000);
    for serial in lows.step_by(3) {
        for key in TACS.map(|tac| tac * SERIALS + serial) {
            let (mut place, mut stepwise) = (generation.place(key), generation.place(key));
            Place::STEPS.iter().for_each(|step| step(&mut stepwise));
            let whole = generation.row(&generation.find(key, &mut place));
            assert_eq!(whole, generation.row(&generation.find(key, &mut stepwise)), "alone and in a group");
            let found = row(whole);
            known = known.wrapping_add(found);
            let mut others = 0;
            generation.links(key, &mut place, &mut |other| {
                others += 1;
                if others < 16 {
                    let found = generation.find(other, &mut generation.place(other));
                    known = known.wrapping_add(row(generation.row(&found)));
                }
            });
            let pieces = generation.range_pieces(key, &mut place);
            known += u64::from(facts::range_blocks(pieces)) + u64::from(facts::range_registers(pieces));
        }
    }
    let texts = TEXTS.iter().map(|text| row(generation.raw_row(text)));
    let imsis = IMSIS.iter().map(|code| row(generation.imsi_row(*code)));
    let types = TACS.iter().map(|tac| generation.device_type(*tac));
    texts.chain(imsis).chain(types).fold(known, u64::wrapping_add)
}

/// A sample with some damage, mostly such that its checksums match again.
pub fn damaged(random: &mut Random) -> Vec<u8> {
    let mut image = SAMPLES[random.below(SAMPLES.len())].to_vec();
    for _ in 0..=random.below(6) {
        let at = random.below(image.len());
        match random.below(6) {
            0 => image[at] ^= 1 << random.below(8),
            1 => overwrite(&mut image, at & !1, &(random.number() as u16).to_le_bytes()),
            2 => overwrite(&mut image, at & !3, &interesting(random).to_le_bytes()[..4]),
            3 => overwrite(&mut image, at & !7, &interesting(random).to_le_bytes()),
            4 => {
                let from = random.below(image.len());
                let part = image[from..image.len().min(from + 64)].to_vec();
                overwrite(&mut image, at, &part);
            }
            _ => {
                // A directory entry: another place or length of a section.
                let entry = HEADER + ENTRY * random.below(usize::from(SAMPLES[0][12]));
                let number = interesting(random) & !(random.number() & 63);
                overwrite(&mut image, entry + [8, 16][random.below(2)], &number.to_le_bytes());
            }
        }
    }
    if random.below(20) == 0 {
        image.truncate(random.below(image.len()));
    }
    if random.below(20) > 0 {
        repair(&mut image);
    }
    image
}

fn overwrite(image: &mut [u8], at: usize, bytes: &[u8]) {
    for (byte, new) in image.iter_mut().skip(at).zip(bytes) {
        *byte = *new;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_samples_are_read() {
        assert!(SAMPLES.iter().all(|sample| read(sample) > 100));
    }

    #[test]
    fn repairing_a_sample_changes_nothing() {
        for sample in SAMPLES {
            let mut image = sample.to_vec();
            repair(&mut image);
            assert_eq!(image, sample);
        }
    }

    #[test]
    fn damage_is_survived_and_often_read() {
        let mut random = Random(1);
        let known = (0..300).filter(|_| read(&damaged(&mut random)) > 0).count();
        assert!(known > 100, "{known} of 300 were opened");
    }
}
