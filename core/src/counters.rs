//! Counters of one server thread: written by it alone, read by Python; no cache line is shared with another's.

use std::sync::atomic::{AtomicU64, Ordering};

/// Statuses and reasons that have a counter; eir/verdict.py has fewer.
pub const STATUSES: usize = 8;
#[allow(missing_docs)]
pub const REASONS: usize = 64;
/// Upper ends of the buckets in nanoseconds: CHECK_SECONDS of eir/metrics.py, and one without end.
pub const BUCKET_NANOSECONDS: [u64; 12] = [
    25_000,
    50_000,
    100_000,
    200_000,
    500_000,
    1_000_000,
    2_000_000,
    5_000_000,
    10_000_000,
    25_000_000,
    100_000_000,
    500_000_000,
];
/// Methods that are measured: unary, stream, batch.
pub const METHODS: usize = 3;

/// A counter with one writer.
#[derive(Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Adds; not atomic as a whole, since one thread alone writes.
    #[inline]
    pub fn add(&self, times: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(times), Ordering::Relaxed);
    }

    /// The value now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Replaces the value: for what goes up and down.
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }
}

/// Durations of one method.
#[derive(Default)]
#[allow(missing_docs)]
pub struct Histogram {
    pub buckets: [Count; BUCKET_NANOSECONDS.len() + 1],
    pub sum_nanoseconds: Count,
}

impl Histogram {
    /// Counts a duration.
    #[inline]
    pub fn observe(&self, nanoseconds: u64) {
        self.observe_many(nanoseconds, 1);
    }

    /// Counts some of one duration.
    #[inline]
    pub fn observe_many(&self, nanoseconds: u64, times: u64) {
        let bucket = BUCKET_NANOSECONDS.iter().take_while(|end| nanoseconds > **end).count();
        self.buckets[bucket].add(times);
        self.sum_nanoseconds.add(nanoseconds * times);
    }
}

/// All that one thread counts.
#[repr(align(128))]
#[allow(missing_docs)]
pub struct Counters {
    pub checks: [[Count; REASONS]; STATUSES],
    pub seconds: [Histogram; METHODS],
    /// By `answer::REASONS`.
    pub errors: [Count; 4],
    /// Connections now.
    pub connections: Count,
    /// Bytes that they hold now.
    pub held: Count,
    /// Connections closed because of what the peer did, by `ABUSES`.
    pub abuses: [Count; ABUSES.len()],
    /// Calls that a bound of ours ended, by `BOUNDS`.
    pub bounds: [Count; BOUNDS.len()],
    pub panics: Count,
}

/// Bounds that end a call, and not its connection.
pub const BOUNDS: [&str; 6] = ["streams", "calls", "metadata", "message", "held", "stalled"];
/// Places in `BOUNDS`.
#[allow(missing_docs)]
pub mod bound {
    pub const STREAMS: usize = 0;
    pub const CALLS: usize = 1;
    pub const METADATA: usize = 2;
    pub const MESSAGE: usize = 3;
    pub const HELD: usize = 4;
    pub const STALLED: usize = 5;
}

/// Why connections are closed by us.
pub const ABUSES: [&str; 5] = ["protocol", "flood", "pings", "stalled", "too_many"];
/// Places in `ABUSES`.
#[allow(missing_docs)]
pub mod abuse {
    pub const PROTOCOL: usize = 0;
    pub const FLOOD: usize = 1;
    pub const PINGS: usize = 2;
    pub const STALLED: usize = 3;
    pub const TOO_MANY: usize = 4;
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            checks: std::array::from_fn(|_| std::array::from_fn(|_| Count::default())),
            seconds: Default::default(),
            errors: Default::default(),
            connections: Count::default(),
            held: Count::default(),
            abuses: Default::default(),
            bounds: Default::default(),
            panics: Count::default(),
        }
    }
}

impl Counters {
    /// Counts a verdict.
    #[inline]
    pub fn check(&self, status: u8, reason: u8) {
        self.checks[usize::from(status) % STATUSES][usize::from(reason) % REASONS].add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_holds_its_upper_end() {
        let histogram = Histogram::default();
        for nanoseconds in [0, 25_000, 25_001, 500_000_000, 500_000_001] {
            histogram.observe(nanoseconds);
        }
        let counts: Vec<u64> = histogram.buckets.iter().map(Count::get).collect();
        assert_eq!(counts, [2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1]);
        assert_eq!(histogram.sum_nanoseconds.get(), 1_000_050_002);
    }

    #[test]
    fn no_cache_line_is_shared() {
        assert_eq!(size_of::<Counters>() % 128, 0);
        assert_eq!(align_of::<Counters>(), 128);
    }
}
