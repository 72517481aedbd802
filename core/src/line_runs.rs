//! The longest run of lines of each dense block: where most lines are, and near which place their owners.
//!
//! ```text
//! block   lines 3 to 60, 64, 65        run: from line 3 on 58 lines, the first at 7,200; ranks from 9,000 on,
//!                                           0.6 owners a serial
//!         line 10, serial 5 of it      at 7,207; its owner's rank is about 9,000 + 0.6 × (7 × 224 + 5)
//! ```
//!
//! A check that comes alone reads this instead of the block, which is four times as long, and asks for line and owner
//! together. Where the line is, is certain; nothing rests on where its owner is likely to be.

use crate::shard::{Dense, LINE_SERIALS, Line};

/// Bits of a fraction.
const FRACTION: u32 = 16;

/// Lines of a block that follow each other without a gap.
#[derive(Clone, Copy, Default)]
struct Run {
    /// Place of the first of them in the shard.
    first_line: u32,
    /// Rank of their first owner.
    first_rank: u32,
    /// How many owners a serial has, in 65,536ths.
    per_serial: u32,
    /// Number of the first of them in the block.
    start: u16,
    /// How many they are.
    length: u16,
}

/// The longest runs of a shard's dense blocks.
pub(crate) struct LineRuns(Box<[Run]>);

impl LineRuns {
    /// Takes blocks, and the lines of a shard, in which so many serials are paired.
    pub(crate) fn new(blocks: &[Dense], lines: &[Line], paired: u32) -> Self {
        let rank = |line: u32| lines.get(line as usize).map_or(paired, Line::first_rank);
        let run = |block: &Dense| {
            let mut run = longest(block);
            let length = u32::from(run.length);
            let end = rank(run.first_line.wrapping_add(length));
            run.first_rank = rank(run.first_line);
            let owners = u64::from(end.saturating_sub(run.first_rank));
            run.per_serial = ((owners << FRACTION) / u64::from(length.max(1) * LINE_SERIALS)) as u32;
            run
        };
        Self(blocks.iter().map(run).collect())
    }

    /// Place in the shard of a line, by its number in its block; None where it is not in the run.
    #[inline(always)]
    pub(crate) fn line(&self, block: u32, line: u32) -> Option<u32> {
        let run = self.0.get(block as usize)?;
        let after = line.wrapping_sub(run.start.into());
        (after < run.length.into()).then(|| run.first_line.wrapping_add(after))
    }

    /// The rank that a serial is likely to have at a position of a line of the block, whose place in the shard is given.
    #[inline(always)]
    pub(crate) fn likely_rank(&self, block: u32, place: u32, position: u32) -> Option<u32> {
        let run = self.0.get(block as usize)?;
        let lines = i64::from(place.wrapping_sub(run.first_line).cast_signed());
        let serials = lines * i64::from(LINE_SERIALS) + i64::from(position);
        let owners = serials.wrapping_mul(run.per_serial.into()) >> FRACTION;
        Some(run.first_rank.wrapping_add(owners as u32))
    }
}

/// The first of a block's longest runs, without its ranks.
fn longest(block: &Dense) -> Run {
    let (mut run, mut now) = (Run::default(), Run::default());
    for line in block.present() {
        let Some(place) = block.line(line) else { continue };
        let length = u32::from(now.length);
        if (line, place) != (u32::from(now.start) + length, now.first_line.wrapping_add(length)) {
            now = Run { first_line: place, start: line as u16, ..Run::default() };
        }
        now.length += 1;
        if now.length > run.length {
            run = now;
        }
    }
    run
}

#[cfg(test)]
mod tests {
    use bytemuck::Zeroable;

    use super::LineRuns;
    use crate::shard::{Dense, LINE_SERIALS, Line};

    /// A block with some lines, the first of them at a place.
    fn block(lines: impl IntoIterator<Item = u32>, first_line: u32) -> Dense {
        let mut block = Dense { first_line, ..Dense::zeroed() };
        lines.into_iter().for_each(|line| block.presence[line as usize / 64] |= 1 << (line % 64));
        for word in 1..block.before.len() {
            block.before[word] = block.before[word - 1] + block.presence[word - 1].count_ones() as u16;
        }
        block
    }

    fn runs(lines: &[u32]) -> LineRuns {
        LineRuns::new(&[block(lines.iter().copied(), 1000)], &[], 0)
    }

    #[test]
    fn lines_of_the_longest_run_are_found_and_no_others() {
        let all: Vec<u32> = (0..320).collect();
        for (lines, from, to) in [
            (&all[..], 0, 320),
            (&all[1..293], 1, 293),
            (&[0, 1, 5, 6, 7, 9], 5, 8),
            (&[63, 64, 65, 200], 63, 66),
            (&[3, 4, 10, 11], 3, 5),
            (&[319], 319, 320),
            (&[], 0, 0),
        ] {
            let runs = runs(lines);
            for line in 0..320 {
                let place = lines.iter().position(|present| *present == line);
                let expected = place.filter(|_| (from..to).contains(&line)).map(|place| 1000 + place as u32);
                assert_eq!(runs.line(0, line), expected, "{line} of {lines:?}");
            }
            assert_eq!((runs.line(0, u32::MAX), runs.line(1, 0)), (None, None));
        }
    }

    #[test]
    fn a_line_of_a_run_is_where_its_block_has_it_however_damaged_that_is() {
        let mut blocks = [block(0..293, 7), block((0..100).chain(130..300), u32::MAX - 50), block(60..70, 0)];
        for (at, count) in [(0, 1), (0, 4), (1, 2), (2, 1), (2, 3)] {
            let mut block = blocks[at];
            block.before[count] = block.before[count].wrapping_add(1 + at as u16 * 9_000);
            let runs = LineRuns::new(&[block], &[], 0);
            let found = (0..320).filter_map(|line| Some((line, runs.line(0, line)?)));
            let found: Vec<(u32, u32)> = found.collect();
            assert!(!found.is_empty());
            found.iter().for_each(|(line, place)| assert_eq!(block.line(*line), Some(*place), "{line}"));
        }
        blocks[0].before = [u16::MAX; 5];
        let runs = LineRuns::new(&blocks, &[], 0);
        (0..320).for_each(|line| {
            assert!(runs.line(0, line).is_none_or(|place| blocks[0].line(line) == Some(place)))
        });
    }

    #[test]
    fn ranks_go_up_evenly_from_that_of_the_runs_first_line() {
        // 100 lines of 56 owners, after a gap 7 of 112; the other block 7 of 224. The last line's end is that of all.
        let ranks =
            [(100, 56), (7, 112), (7, 224)].into_iter().flat_map(|(lines, owners)| vec![owners; lines]);
        let ranks = ranks.scan(0, |rank, owners| Some(std::mem::replace(rank, *rank + owners)));
        let lines: Vec<Line> = ranks.map(Line::of_rank).collect();
        let blocks = [block((3..103).chain(200..207), 0), block(0..7, 107)];
        let runs = LineRuns::new(&blocks, &lines, 5600 + 7 * 336);
        assert_eq!(runs.likely_rank(0, 0, 0), Some(0));
        assert_eq!(runs.likely_rank(0, 50, 0), Some(2800));
        assert_eq!(runs.likely_rank(0, 50, 112), Some(2828));
        assert_eq!(runs.likely_rank(0, 103, 0), Some(5600 + 3 * 56), "beyond the run, as in it");
        assert_eq!(runs.likely_rank(1, 107, 0), Some(5600 + 7 * 112));
        assert_eq!(runs.likely_rank(1, 113, LINE_SERIALS - 1), Some(5600 + 7 * 336 - 1));
        assert_eq!(runs.likely_rank(2, 0, 0), None);
    }

    #[test]
    fn a_run_later_in_its_block_has_ranks_of_its_own() {
        let ranks = [10, 20, 30, 40, 50, 60].map(Line::of_rank);
        let runs = LineRuns::new(&[block([0, 8, 9, 10, 11], 1)], &ranks, 70);
        assert_eq!(runs.line(0, 8), Some(2));
        assert_eq!(runs.likely_rank(0, 2, 0), Some(30));
        assert_eq!(runs.likely_rank(0, 1, 112), Some(30 - 5), "before the run");
    }

    #[test]
    fn a_damaged_shard_makes_no_more_than_a_bad_guess() {
        let lines = [Line::of_rank(u32::MAX), Line::of_rank(7)];
        let blocks =
            [block([], 0), block(0..2, 0), block(0..300, u32::MAX), block([7], 1), block(5..9, u32::MAX - 2)];
        let runs = LineRuns::new(&blocks, &lines, 3);
        for number in 0..5 {
            for place in [0, 1, 7, u32::MAX] {
                runs.line(number, place);
                for position in [0, LINE_SERIALS - 1, u32::MAX] {
                    assert!(runs.likely_rank(number, place, position).is_some());
                }
            }
        }
    }
}
