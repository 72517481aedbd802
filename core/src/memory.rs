//! Memory that readers share with Python, and typed views of it: where `unsafe` is needed, and nearly all of it.

use std::any::Any;
use std::ops::{Deref, Range};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use bytemuck::AnyBitPattern;

#[cfg(not(target_endian = "little"))]
compile_error!("segments are little-endian, and are read in place");

/// Bytes that neither change nor move while this lives.
pub struct Memory {
    start: *const u8,
    length: usize,
    _owner: Box<dyn Any + Send + Sync>,
}

// SAFETY: the bytes are only ever read, and the owner may be dropped in any thread.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

impl Memory {
    /// Takes bytes that their owner keeps.
    ///
    /// # Safety
    /// As long as the owner lives, `length` bytes from `start` on can be read, and nobody writes to them.
    pub unsafe fn new(start: *const u8, length: usize, owner: Box<dyn Any + Send + Sync>) -> Arc<Self> {
        Arc::new(Self { start, length, _owner: owner })
    }

    /// Copies bytes to memory of its own, which begins at a multiple of 64.
    pub fn copied(bytes: &[u8]) -> Arc<Self> {
        #[repr(C, align(64))]
        #[derive(Clone, Copy)]
        struct Chunk([u8; 64]);
        let mut chunks = vec![Chunk([0; 64]); bytes.len().div_ceil(64)];
        for (chunk, part) in chunks.iter_mut().zip(bytes.chunks(64)) {
            chunk.0[..part.len()].copy_from_slice(part);
        }
        // SAFETY: the vector owns at least so many bytes; moving it into the box moves none of them.
        unsafe { Self::new(chunks.as_ptr().cast(), bytes.len(), Box::new(chunks)) }
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        if self.length == 0 {
            return &[];
        }
        // SAFETY: what `new` was promised, and the owner lives as long as self.
        unsafe { std::slice::from_raw_parts(self.start, self.length) }
    }
}

/// A part of a memory as numbers or records; keeps the memory.
pub struct View<T> {
    start: NonNull<T>,
    length: usize,
    _memory: Option<Arc<Memory>>,
}

// SAFETY: a view is a shared slice, and the memory that it keeps may be dropped in any thread.
unsafe impl<T: Sync> Send for View<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for View<T> {}

impl<T> Default for View<T> {
    fn default() -> Self {
        Self { start: NonNull::dangling(), length: 0, _memory: None }
    }
}

impl<T: AnyBitPattern> View<T> {
    /// Views a range of bytes. Errors where it is outside, not whole records, or not aligned for them.
    pub fn new(memory: &Arc<Memory>, range: Range<usize>) -> Result<Self, String> {
        let length = range.len();
        let bytes = memory.bytes().get(range).ok_or("lies outside of the memory")?;
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        let records: &[T] = bytemuck::try_cast_slice(bytes)
            .map_err(|_| format!("has {length} bytes, not whole, aligned records of {}", size_of::<T>()))?;
        Ok(Self {
            start: NonNull::from(records).cast(),
            length: records.len(),
            _memory: Some(Arc::clone(memory)),
        })
    }
}

impl<T> Deref for View<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: either no records, or those of the slice that `new` took from the memory that self keeps.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }
}

/// Words that somebody else writes while they are read; they do not move while this lives.
pub struct Words {
    start: NonNull<AtomicU64>,
    length: usize,
    _owner: Box<dyn Any + Send + Sync>,
}

// SAFETY: atomic words may be shared, and the owner may be dropped in any thread.
unsafe impl Send for Words {}
// SAFETY: as above.
unsafe impl Sync for Words {}

impl Words {
    /// Takes bytes that their owner keeps. Errors where they are not whole, aligned words.
    ///
    /// # Safety
    /// As long as the owner lives, `length` bytes from `start` on can be read, and whoever writes to them writes
    /// aligned words of 64 bits, each by one instruction.
    pub unsafe fn new(
        start: *const u8,
        length: usize,
        owner: Box<dyn Any + Send + Sync>,
    ) -> Result<Self, String> {
        let start = start.cast::<AtomicU64>();
        if !length.is_multiple_of(size_of::<AtomicU64>()) || !start.is_aligned() {
            return Err(format!("{length} bytes are not whole, aligned words"));
        }
        let start = NonNull::new(start.cast_mut()).unwrap_or(NonNull::dangling());
        Ok(Self { start, length: length / size_of::<AtomicU64>(), _owner: owner })
    }

    /// Copies words that nobody else writes.
    pub fn copied(words: &[u64]) -> Self {
        // A vector: what a box holds may only be reached through the box, once that was moved.
        let words: Vec<AtomicU64> = words.iter().copied().map(AtomicU64::new).collect();
        let (start, length) = (NonNull::from(&*words).cast(), words.len());
        Self { start, length, _owner: Box::new(words) }
    }
}

impl Deref for Words {
    type Target = [AtomicU64];

    fn deref(&self) -> &[AtomicU64] {
        // SAFETY: aligned words that can be read as long as the owner lives, which is as long as self.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }
}

/// Gives back to the system what this thread has freed: after large tables were replaced. Of itself the allocator keeps it
/// for a second, and in that many are replaced while segments are rebuilt.
#[cfg(feature = "python")]
pub fn give_back() {
    // SAFETY: it tidies up the allocator's own pages, those of this thread and those that hold nothing.
    unsafe { libmimalloc_sys::mi_collect(true) };
}

/// Asks the processor to fetch a record that will be read soon; nothing happens beyond the end.
#[inline(always)]
pub fn prefetch<T>(records: &[T], at: usize) {
    hint::<SOON, T>(records, at);
}

/// As `prefetch`, for a record of a table so large that it is hardly read again: what else is in the caches stays.
#[inline(always)]
pub fn prefetch_once<T>(records: &[T], at: usize) {
    hint::<ONCE, T>(records, at);
}

/// Hints as x86-64 numbers them: to all caches, and past all but the first.
const SOON: i32 = 3;
const ONCE: i32 = 0;

#[inline(always)]
fn hint<const HINT: i32, T>(records: &[T], at: usize) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint: whatever the address, it neither faults nor changes what the program sees.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<HINT>(records.as_ptr().wrapping_add(at).cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (records, at);
}
