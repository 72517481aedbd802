//! The container of every segment: header, directory, checksummed sections. Format: docs/segment-format.md.

use std::ops::Range;
use std::sync::Arc;

use bytemuck::AnyBitPattern;

use crate::memory::{Memory, View};

const MAGIC: &[u8; 8] = b"EIRSEG\r\n";
const VERSION: u16 = 1;
const HEADER: usize = 64;
const ENTRY: usize = 32;
const ALIGN: u64 = 64;
const SECTIONS_MAX: usize = 64;
const CRC: Range<usize> = 40..44;

/// What a segment holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Rows of a range of TACs.
    Shard = 1,
    /// What is not split by TAC.
    Common = 2,
    /// Rows newer than shards and common.
    Overlay = 3,
}

/// Whether the checksums of sections were verified before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Checksums {
    /// Verify them.
    Verify,
    /// Who read the file into memory has verified them.
    Verified,
}

/// A segment in memory: its header, and where its sections lie.
pub struct Segment {
    /// What it holds.
    pub kind: Kind,
    /// First TAC of a shard.
    pub first_tac: u32,
    /// Last TAC of a shard, inclusive.
    pub last_tac: u32,
    /// Serial of the table state that it was made of.
    pub serial: u64,
    memory: Arc<Memory>,
    sections: Vec<(u32, Range<usize>)>,
}

/// A number of `N` bytes at an offset that is there.
fn bytes<const N: usize>(data: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&data[at..at + N]);
    out
}

impl Segment {
    /// Reads header and directory, refusing what the page says a reader refuses.
    pub fn parse(memory: Arc<Memory>, checksums: Checksums) -> Result<Self, String> {
        let data = memory.bytes();
        if data.len() < HEADER {
            return Err(format!("{} bytes are too few for a header", data.len()));
        }
        if !data.starts_with(MAGIC) {
            return Err("is not a segment (wrong magic)".into());
        }
        let version = u16::from_le_bytes(bytes(data, 8));
        if version != VERSION {
            return Err(format!("has format version {version}, this reader knows {VERSION}"));
        }
        let count = u32::from_le_bytes(bytes(data, 12)) as usize;
        let length = u64::from_le_bytes(bytes(data, 32));
        let end = HEADER + ENTRY * count.min(SECTIONS_MAX + 1);
        if length != data.len() as u64 || count > SECTIONS_MAX || end > data.len() {
            return Err(format!(
                "is {} bytes long, its header says {length} with {count} sections",
                data.len()
            ));
        }
        let mut head = data[..end].to_vec();
        head[CRC].fill(0);
        if crc32c::crc32c(&head) != u32::from_le_bytes(bytes(data, CRC.start)) {
            return Err("the checksum of its header does not match".into());
        }
        let kind = match u16::from_le_bytes(bytes(data, 10)) {
            1 => Kind::Shard,
            2 => Kind::Common,
            3 => Kind::Overlay,
            other => return Err(format!("is of unknown kind {other}")),
        };
        let sections = (0..count)
            .map(|place| section(data, HEADER + ENTRY * place, checksums))
            .collect::<Result<Vec<_>, _>>()?;
        if sections.windows(2).any(|pair| pair[0].0 >= pair[1].0) {
            return Err("its sections are not in the order of their numbers, each once".into());
        }
        Ok(Self {
            kind,
            first_tac: u32::from_le_bytes(bytes(data, 16)),
            last_tac: u32::from_le_bytes(bytes(data, 20)),
            serial: u64::from_le_bytes(bytes(data, 24)),
            sections,
            memory,
        })
    }

    /// Refuses a segment of another kind.
    pub fn expect(&self, kind: Kind) -> Result<(), String> {
        if self.kind == kind {
            return Ok(());
        }
        Err(format!("is a {:?} segment where a {kind:?} one is needed", self.kind))
    }

    /// Views a section as records; one that is not there has none.
    pub fn view<T: AnyBitPattern>(&self, number: u32) -> Result<View<T>, String> {
        match self.sections.iter().find(|section| section.0 == number) {
            Some((_, range)) => {
                View::new(&self.memory, range.clone()).map_err(|what| format!("section {number} {what}"))
            }
            None => Ok(View::default()),
        }
    }
}

/// Number and place of the section whose directory entry is at an offset.
fn section(data: &[u8], at: usize, checksums: Checksums) -> Result<(u32, Range<usize>), String> {
    let number = u32::from_le_bytes(bytes(data, at));
    let checksum = u32::from_le_bytes(bytes(data, at + 4));
    let offset = u64::from_le_bytes(bytes(data, at + 8));
    let end = offset.checked_add(u64::from_le_bytes(bytes(data, at + 16)));
    let end = end.filter(|end| offset % ALIGN == 0 && *end <= data.len() as u64);
    let Some(end) = end else { return Err(format!("section {number} lies outside of the file")) };
    let range = offset as usize..end as usize;
    if checksums == Checksums::Verify && crc32c::crc32c(&data[range.clone()]) != checksum {
        return Err(format!("the checksum of section {number} does not match"));
    }
    Ok((number, range))
}
