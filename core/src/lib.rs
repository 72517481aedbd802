//! The native engine of the Network EIR: reading and transport, no policy and no table writing.
//!
//! ```text
//! request ──► identity ──► facts ──► check ──► verdict
//!                            ▲         ▲ ▲
//!               generation ──┘         │ └── case table
//!                                      └── policy (tables compiled by Python)
//! ```

mod bare;
pub mod bulk;
pub mod case_table;
pub mod check;
pub mod counters;
mod crc;
pub mod facts;
mod filter;
pub mod generation;
pub mod hashtable;
pub mod identity;
mod judge;
mod line_runs;
mod linked_blocks;
#[cfg(feature = "measure")]
mod measure;
pub mod memory;
pub mod overlay;
pub mod place;
pub mod policy;
pub mod published;
#[cfg(feature = "python")]
mod python;
#[cfg(feature = "python")]
mod python_server;
mod sampled;
#[cfg(test)]
mod samples;
pub mod segment;
pub mod server;
pub mod shard;
pub mod sightings;
pub mod stretch;
mod tac_index;
pub mod unpaired;
pub mod wire;

/// What the core allocates is apart from what Python does. With the allocator of the C library they shared its arenas: the
/// first block of a kilobyte that a check thread asked for then tidied up what a Python thread had freed there, 20 ms at a
/// time (`docs/decisions/small-pages-for-the-writer.md`).
#[cfg(feature = "python")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What this was built from: the version, and a hash of the sources where the build knew it.
pub const BUILD_ID: &str = match option_env!("EIR_CORE_BUILD_ID") {
    Some(id) => id,
    None => env!("CARGO_PKG_VERSION"),
};
