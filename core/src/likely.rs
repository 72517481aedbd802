//! Where the owner of a serial is likely to be: asked for before its state line has come, so that its page, and often the
//! owner itself, has been found by the time its rank is known.
//!
//! ```text
//! owners  ┆ block 6 ┆ block 7             ┆ block 8        block 7: from 9,000 on, 0.6 owners a serial
//!                             ▲                            serial 1,000 of its lines: at about 9,600
//! ```
//!
//! Nothing rests on it: what is fetched in vain costs a little time.

use crate::shard::{Dense, LINE_SERIALS, Line};

/// Bits of a fraction.
const FRACTION: u32 = 16;

/// The owners of a dense block.
struct Spread {
    /// Rank of the first.
    first: u32,
    /// How many a serial has, in 65,536ths.
    per_serial: u32,
}

/// The owners of a shard's dense blocks.
pub(crate) struct LikelyOwners(Box<[Spread]>);

impl LikelyOwners {
    /// Takes blocks, and the lines of a shard, in which so many serials are paired.
    pub(crate) fn new(blocks: &[Dense], lines: &[Line], paired: u32) -> Self {
        let rank = |line: u32| lines.get(line as usize).map_or(paired, Line::first_rank);
        let spread = |block: &Dense| {
            let count = block.lines();
            let (first, end) = (rank(block.first_line), rank(block.first_line.wrapping_add(count)));
            let owners = u64::from(end.saturating_sub(first));
            let per_serial = (owners << FRACTION) / u64::from(count.max(1) * LINE_SERIALS);
            Spread { first, per_serial: per_serial as u32 }
        };
        Self(blocks.iter().map(spread).collect())
    }

    /// The rank that a serial is likely to have that comes after so many in the lines of its block.
    #[inline(always)]
    pub(crate) fn rank(&self, block: u32, after: u32) -> Option<u32> {
        let Spread { first, per_serial } = self.0.get(block as usize)?;
        let owners = (u64::from(after) * u64::from(*per_serial)) >> FRACTION;
        Some(first.wrapping_add(owners as u32))
    }
}

#[cfg(test)]
mod tests {
    use bytemuck::Zeroable;

    use super::LikelyOwners;
    use crate::shard::{Dense, LINE_SERIALS, Line};

    fn block(lines: u32, first_line: u32) -> Dense {
        let mut block = Dense { first_line, ..Dense::zeroed() };
        (0..lines as usize).for_each(|line| block.presence[line / 64] |= 1 << (line % 64));
        block
    }

    #[test]
    fn ranks_go_up_evenly_from_that_of_the_blocks_first_line() {
        // 100 lines of 56 owners, 7 of 224; the last line's end is that of all.
        let ranks = (0..107).map(|line: u32| line * 56 + line.saturating_sub(100) * 168);
        let lines: Vec<Line> = ranks.map(Line::of_rank).collect();
        let owners = LikelyOwners::new(&[block(100, 0), block(7, 100)], &lines, 5600 + 7 * 224);
        assert_eq!(owners.rank(0, 0), Some(0));
        assert_eq!(owners.rank(0, 50 * LINE_SERIALS), Some(2800));
        assert_eq!(owners.rank(0, 50 * LINE_SERIALS + 112), Some(2828));
        assert_eq!(owners.rank(1, 0), Some(5600));
        assert_eq!(owners.rank(1, 7 * LINE_SERIALS - 1), Some(5600 + 7 * 224 - 1));
        assert_eq!(owners.rank(2, 0), None);
    }

    #[test]
    fn a_damaged_shard_makes_no_more_than_a_bad_guess() {
        let lines = [Line::of_rank(u32::MAX), Line::of_rank(7)];
        let blocks = [block(0, 0), block(2, 0), block(300, u32::MAX), block(1, 1)];
        let owners = LikelyOwners::new(&blocks, &lines, 3);
        for number in 0..4 {
            for after in [0, 1, u32::MAX] {
                assert!(owners.rank(number, after).is_some());
            }
        }
    }
}
