//! Many keys of a shard at once: how Python's writer reads what a delta touches.

use crate::identity::SERIALS;
use crate::place::Place;
use crate::shard::Shard;

/// Look-ups on their way at once: each waits for memory while the others go on.
const TOGETHER: usize = 32;

/// Rows as columns: the head of each key (0: absent), where its words end, and all words.
#[derive(Default, Debug, PartialEq, Eq)]
pub struct Rows {
    /// Flag and owner.
    pub heads: Vec<u64>,
    /// The words of a row begin where those of the row before it end.
    pub ends: Vec<u64>,
    /// Items.
    pub words: Vec<u64>,
}

/// Reads keys in the order given; those that do not lie in the shard are absent.
pub fn find_many(shard: &Shard, keys: impl ExactSizeIterator<Item = u64>, blocks: &[u64]) -> Rows {
    let count = keys.len();
    let mut rows =
        Rows { heads: Vec::with_capacity(count), ends: Vec::with_capacity(count), words: Vec::new() };
    let mut keys = keys.peekable();
    let mut places = Vec::with_capacity(TOGETHER);
    while keys.peek().is_some() {
        places.extend(keys.by_ref().take(TOGETHER).map(|key| place(shard, key)));
        for step in Place::STEPS {
            places.iter_mut().for_each(step);
        }
        for mut place in places.drain(..) {
            let row = place.find().row(blocks);
            rows.heads.push(row.head);
            rows.words.extend_from_slice(row.words);
            rows.ends.push(rows.words.len() as u64);
        }
    }
    rows
}

fn place(shard: &Shard, key: u64) -> Place<'_> {
    let tac = u32::try_from(key / SERIALS).ok();
    let inside = tac.filter(|tac| (shard.first_tac..=shard.last_tac).contains(tac));
    inside.map_or(Place::NOWHERE, |tac| Place::in_shard(shard, tac, (key % SERIALS) as u32))
}
