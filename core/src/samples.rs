//! What tests read: the segments that the fuzzer damages too (`core/fuzz/samples`), written of random rows.

use std::sync::Arc;

use crate::generation::Generation;
use crate::memory::Memory;
use crate::overlay::{Common, Tables};
use crate::segment::{Checksums, Segment};
use crate::shard::Shard;

/// The shard's image.
pub const SHARD: &[u8] = include_bytes!("../fuzz/samples/shard.seg");

fn segment(image: &[u8]) -> Segment {
    Segment::parse(Memory::copied(image), Checksums::Verify).unwrap()
}

/// The shard.
pub fn shard() -> Arc<Shard> {
    Arc::new(Shard::of(&segment(SHARD)).unwrap())
}

/// A shard of an image that was changed: its checksums are not looked at.
pub fn changed_shard(image: &[u8]) -> Shard {
    Shard::of(&Segment::parse(Memory::copied(image), Checksums::Verified).unwrap()).unwrap()
}

/// The overlay.
pub fn overlay() -> Arc<Tables> {
    Arc::new(Tables::of(&segment(include_bytes!("../fuzz/samples/overlay.seg"))).unwrap())
}

/// A generation of overlays and a shard, with the common segment.
pub fn generation(levels: &[&Arc<Tables>], shard: &Arc<Shard>, before: Option<&Generation>) -> Generation {
    let common = Common::of(&segment(include_bytes!("../fuzz/samples/common.seg"))).unwrap();
    let levels = levels.iter().map(|level| Arc::clone(level)).collect();
    Generation::new(1, levels, vec![Arc::clone(shard)], Arc::new(common), before).unwrap()
}
