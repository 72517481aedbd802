//! Which keys may be linked to one that is stolen or lost: few, so that nearly all checks look at no other slot.
//!
//! ```text
//! shard:   blocked records ──► their keys ──links──┐
//! overlay: blocked rows ──links in the shards──────┴─► filters of keys ◄── keys that an overlay links
//! ```
//!
//! A filter may have keys that are not beside a block, never lacks one that is: a link of two keys is kept at both
//! its ends (docs/segment-format.md), so that what a blocked key is linked to has it among its own links.

use std::sync::Arc;

use crate::facts::is_device_block;
use crate::filter::Filter;
use crate::generation::{Generation, same};
use crate::identity::SERIALS;
use crate::overlay::{Table, Tables};
use crate::place::Place;
use crate::shard::{LINE_SERIALS, Shard};

/// Of the filters: of keys that are not beside a block one in sixty seems to be.
const BITS_PER_KEY: usize = 16;
/// Rows of an overlay that are blocked; an overlay of more may concern every key until it is folded into segments.
const BLOCKED_MAX: usize = 1 << 20;
/// Look-ups on their way at once.
const TOGETHER: usize = 32;

/// Filters of the keys that may be beside a block: by the shards, and by each overlay.
#[derive(Default)]
pub struct LinkedBlocks {
    shards: Arc<Filter>,
    levels: Vec<Arc<Filter>>,
}

impl LinkedBlocks {
    /// Filters of a generation; what the generation before it has of the same shards and overlays is taken over.
    pub(crate) fn new(now: &Generation, before: Option<&Generation>) -> Self {
        let before = before.filter(|before| same(&before.shards, &now.shards));
        let known = |level: &Arc<Tables>| {
            let before = before?;
            let at = before.levels.iter().position(|other| Arc::ptr_eq(level, other))?;
            before.linked_blocks.levels.get(at).cloned()
        };
        let level = |level| known(level).unwrap_or_else(|| Arc::new(of_level(now, level)));
        let shards = before.map(|before| Arc::clone(&before.linked_blocks.shards));
        Self {
            shards: shards.unwrap_or_else(|| Arc::new(of_shards(&now.shards))),
            levels: now.levels.iter().map(level).collect(),
        }
    }

    /// Fetches what `may_have` reads.
    #[inline]
    pub fn prefetch(&self, key: u64) {
        self.shards.prefetch(key);
        self.levels.iter().for_each(|filter| filter.prefetch(key));
    }

    /// False only for keys that no stolen or lost one is linked to.
    #[inline]
    pub fn may_have(&self, key: u64) -> bool {
        self.shards.may_have(key) || self.levels.iter().any(|filter| filter.may_have(key))
    }
}

fn of_shards(shards: &[Arc<Shard>]) -> Filter {
    let mut filter = Filter::new(shards.iter().map(|shard| shard.beside_blocked().len()).sum(), BITS_PER_KEY);
    shards.iter().flat_map(|shard| shard.beside_blocked()).for_each(|key| filter.add(*key));
    filter
}

/// Keys beside the blocked rows of an overlay by the links of the shards, and all keys that the overlay links.
fn of_level(now: &Generation, level: &Tables) -> Filter {
    let rows = level.table(Table::Keys).rows();
    let blocked = rows.filter(|(_, row)| row.words.iter().any(|word| is_device_block(*word)));
    let blocked: Vec<u64> = blocked.map(|(key, _)| key).take(BLOCKED_MAX + 1).collect();
    if blocked.len() > BLOCKED_MAX {
        return Filter::full();
    }
    let linked = || level.table(Table::Links).rows().filter(|(_, row)| !row.words.is_empty());
    let beside = links_of(blocked.into_iter().map(|key| now.place(key)));
    let mut filter = Filter::new(beside.len() + linked().count(), BITS_PER_KEY);
    beside.into_iter().chain(linked().map(|(key, _)| key)).for_each(|key| filter.add(key));
    filter
}

/// Keys that a shard links to keys of its own that are stolen or lost.
pub(crate) fn beside_blocked(shard: &Shard) -> Box<[u64]> {
    let keys = keys_with(shard, &shard.records_with(is_device_block));
    let place = |key: u64| Place::in_shard(shard, (key / SERIALS) as u32, (key % SERIALS) as u32);
    links_of(keys.into_iter().map(place)).into()
}

/// Keys of the other slots of many keys; they wait for memory together.
fn links_of<'a>(places: impl Iterator<Item = Place<'a>>) -> Vec<u64> {
    let (mut places, mut group, mut links) = (places.peekable(), Vec::with_capacity(TOGETHER), Vec::new());
    while places.peek().is_some() {
        group.extend(places.by_ref().take(TOGETHER));
        for step in Place::STEPS {
            group.iter_mut().for_each(step);
        }
        for step in [Place::fetch_record, Place::fetch_links, Place::fetch_single_links] {
            group.iter().for_each(step);
        }
        group.drain(..).for_each(|mut place| place.links(&mut |other| links.push(other)));
    }
    links
}

/// Keys of serials with more, in increasing order, by their ranks in increasing order.
fn keys_with(shard: &Shard, ranks: &[u32]) -> Vec<u64> {
    let mut keys = Vec::with_capacity(ranks.len());
    let in_dense = shard.more_in_dense();
    let (mut dense, mut sparse) = ranks.split_at(ranks.partition_point(|rank| *rank < in_dense));
    for record in shard.tacs.iter() {
        let first_key = u64::from(record.tac) * SERIALS;
        for (at, block) in (0..).zip(blocks(record.dense_mask)) {
            let place = record.dense_first.wrapping_add(at);
            of_dense(shard, place, &mut dense, |low| keys.push(first_key + block + u64::from(low)));
        }
        for (at, block) in (0..).zip(blocks(record.sparse_mask)) {
            let place = record.sparse_first.wrapping_add(at);
            while let Some((rank, rest)) = sparse.split_first()
                && let Some(low) = shard.more_low(place, *rank)
            {
                keys.push(first_key + block + u64::from(low));
                sparse = rest;
            }
        }
    }
    keys
}

/// First serials of the blocks in a mask.
fn blocks(mask: u16) -> impl Iterator<Item = u64> {
    (0..u64::from(u16::BITS)).filter(move |block| mask >> block & 1 != 0).map(|block| block << 16)
}

/// Lows of those of the next ranks that lie in a dense block; they are taken off.
fn of_dense(shard: &Shard, place: u32, ranks: &mut &[u32], mut found: impl FnMut(u32)) {
    let Some(dense) = shard.dense.get(place as usize) else { return };
    let end = shard.more_rank(dense.first_line.saturating_add(dense.lines()));
    for (at, line) in (0..).zip(dense.present()) {
        let at = dense.first_line.saturating_add(at);
        if ranks.first().is_none_or(|rank| *rank >= end) {
            return;
        }
        let next = shard.more_rank(at.saturating_add(1));
        while let Some((rank, rest)) = ranks.split_first()
            && *rank < next
        {
            if let Some(position) = shard.more_position(at, *rank) {
                found(line * LINE_SERIALS + position);
            }
            *ranks = rest;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::facts::blocks_device;
    use crate::samples::{SHARD, changed_shard, generation, overlay, shard};
    use crate::shard::State;

    fn links(now: &Generation, key: u64) -> Vec<u64> {
        let mut links = Vec::new();
        now.links(key, &mut now.place(key), &mut |other| links.push(other));
        links
    }

    fn blocked(now: &Generation, key: u64) -> bool {
        blocks_device(now.row(&now.find(key, &mut now.place(key))).words)
    }

    /// All keys with more, and all that an overlay has, with what either links them to.
    fn keys(now: &Generation, shard: &Shard) -> Vec<u64> {
        let mut keys = keys_with(shard, &(0..shard.records_with(|_| true).len() as u32).collect::<Vec<_>>());
        for level in &now.levels {
            for table in [Table::Keys, Table::Links] {
                keys.extend(level.table(table).rows().map(|(key, _)| key));
            }
        }
        let beside: Vec<u64> = keys.iter().flat_map(|key| links(now, *key)).collect();
        keys.into_iter().chain(beside).collect()
    }

    #[test]
    fn a_key_is_found_by_the_rank_of_its_record() {
        let shard = shard();
        let ranks = shard.records_with(|_| true);
        let keys = keys_with(&shard, &ranks);
        assert!(keys.len() > 50 && keys.len() == ranks.len() && keys.is_sorted_by(|a, b| a != b));
        let rank = |key: &u64| match Place::in_shard(&shard, (key / SERIALS) as u32, (key % SERIALS) as u32)
            .state()
        {
            State::More { rank } => rank,
            other => panic!("{key} is {other:?}"),
        };
        let by_rank: BTreeMap<u32, u64> = keys.iter().map(|key| (rank(key), *key)).collect();
        assert!(by_rank.keys().eq(&ranks));
        let (sparse, dense): (Vec<u32>, Vec<u32>) =
            ranks.iter().partition(|rank| **rank >= shard.more_in_dense());
        assert!(sparse.len() > 20 && dense.len() > 20);
        for few in [&ranks[ranks.len() - 1..], &sparse[1..2], &dense[7..9], &[dense[3], sparse[5]], &[]] {
            let mut expected: Vec<u64> = few.iter().map(|rank| by_rank[rank]).collect();
            expected.sort_unstable();
            assert_eq!(keys_with(&shard, few), expected);
        }
    }

    #[test]
    fn places_that_are_nowhere_are_passed_over() {
        let first = 64 + 32 * usize::from(SHARD[12]);
        for at in (first.next_multiple_of(64)..).step_by(4).take(400) {
            let mut damaged = SHARD.to_vec();
            damaged[at..at + 4].fill(0xFF);
            changed_shard(&damaged).beside_blocked();
        }
    }

    #[test]
    fn no_key_beside_a_block_is_left_out_and_most_others_are() {
        let (shard, overlay) = (shard(), overlay());
        for levels in [&[][..], &[&overlay]] {
            let now = generation(levels, &shard, None);
            let beside = |key: &u64| links(&now, *key).iter().any(|other| blocked(&now, *other));
            let (beside, others): (Vec<u64>, Vec<u64>) = keys(&now, &shard).into_iter().partition(beside);
            assert!(beside.len() > 5 && beside.iter().all(|key| now.linked_blocks.may_have(*key)));
            let linked =
                |key: &&u64| levels.iter().any(|level| level.table(Table::Links).find(**key).is_some());
            let wrong = others.iter().filter(|key| now.linked_blocks.may_have(**key) && !linked(key)).count();
            assert!(wrong * 4 < others.len(), "{wrong} of {}", others.len());
        }
    }

    #[test]
    fn what_is_the_same_is_not_worked_out_again() {
        let (first, second, level, other) = (shard(), shard(), overlay(), overlay());
        let before = generation(&[&level], &first, None);
        let same = |now: &Generation, level: usize| {
            let (now, before) = (&now.linked_blocks, &before.linked_blocks);
            let taken = now.levels.get(level).is_some_and(|filter| Arc::ptr_eq(filter, &before.levels[0]));
            (Arc::ptr_eq(&now.shards, &before.shards), taken)
        };
        assert_eq!(same(&generation(&[&other, &level], &first, Some(&before)), 1), (true, true));
        assert_eq!(same(&generation(&[&other], &first, Some(&before)), 0), (true, false));
        assert_eq!(same(&generation(&[&level], &second, Some(&before)), 0), (false, false));
        assert_eq!(same(&generation(&[&level], &first, None), 0), (false, false));
    }
}
