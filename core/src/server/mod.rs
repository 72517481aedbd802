//! The server of the check port: HTTP/2 and gRPC of our own over epoll, on its own threads.
//!
//! ```text
//! acceptor ──connection──► worker ──bytes──► connection ──message──► service ──answer──► bytes
//! ```
//!
//! `connection`, `stream`, `hpack`, `request`, `answer` and `service` take and give bytes and know no socket.

#[cfg(test)]
mod abuse_tests;
pub mod answer;
pub mod calls;
pub mod connection;
#[cfg(test)]
mod connection_tests;
pub mod frame;
mod gather;
#[cfg(test)]
mod gather_tests;
pub mod hpack;
pub mod huffman;
pub mod request;
pub mod service;
#[cfg(test)]
mod socket_tests;
pub mod stream;
#[cfg(test)]
mod testing;
pub mod threads;
mod together;
mod told;
mod valid;
pub mod worker;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::sightings::Wanted;

/// Bounds, as eir/config.py has them.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct Limits {
    pub batch_rows_max: usize,
    pub message_bytes_max: usize,
    pub metadata_bytes_max: usize,
    pub streams_per_connection_max: usize,
    /// Calls in flight on one thread, from which on a connection has no more than its share of them.
    pub calls_max: usize,
    /// Answers of a stream that wait for its client, in bytes.
    pub answers_bytes_max: usize,
    /// What a connection holds of messages that are not whole and answers that are not sent.
    pub connection_bytes_max: usize,
    /// The same of all connections of one thread.
    pub held_bytes_max: usize,
    /// Rows of batches that a connection may have judged before the others have their turn.
    pub turn_rows: usize,
    pub stall_milliseconds_max: u64,
    pub keepalive_milliseconds: u64,
    pub keepalive_timeout_milliseconds: u64,
    /// 0: never.
    pub age_milliseconds_max: u64,
    pub drain_milliseconds_max: u64,
    /// On all threads together.
    pub connections_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            batch_rows_max: 4096,
            message_bytes_max: 1 << 20,
            metadata_bytes_max: 8192,
            streams_per_connection_max: 1024,
            calls_max: 10_000,
            answers_bytes_max: 16 << 10,
            connection_bytes_max: 16 << 20,
            held_bytes_max: 256 << 20,
            turn_rows: 16 << 10,
            stall_milliseconds_max: 30_000,
            keepalive_milliseconds: 60_000,
            keepalive_timeout_milliseconds: 20_000,
            age_milliseconds_max: 0,
            drain_milliseconds_max: 30_000,
            connections_max: 10_000,
        }
    }
}

/// What all threads read, and Python changes.
#[derive(Default)]
pub struct Shared {
    serving: AtomicBool,
    ended: AtomicBool,
    draining: AtomicBool,
    trial_threshold: AtomicU64,
    /// What the decision log wants.
    pub wanted: Wanted,
}

impl Shared {
    /// Not serving yet.
    pub fn new(wanted: Wanted) -> Self {
        Self { wanted, ..Self::default() }
    }

    /// Health as grpc.health.v1 has it: SERVING or NOT_SERVING.
    pub fn health(&self) -> u8 {
        if self.serving.load(Ordering::Relaxed) && !self.ended() { 1 } else { 2 }
    }

    /// Whether health is NOT_SERVING for good, and its watchers are let go.
    pub fn ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    /// Changes what health says.
    pub fn set_serving(&self, serving: bool) {
        self.serving.store(serving, Ordering::Relaxed);
    }

    /// NOT_SERVING for good.
    pub fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }

    /// Of the 2**32 hashes of subscribers, those below are judged by a policy on trial; 0: there is none.
    #[inline]
    pub fn trial_threshold(&self) -> u64 {
        self.trial_threshold.load(Ordering::Relaxed)
    }

    /// Begins a trial on a share of the subscribers, or ends it with 0.
    pub fn set_trial_threshold(&self, threshold: u64) {
        self.trial_threshold.store(threshold, Ordering::Relaxed);
    }

    /// Whether threads let calls in flight finish, and end.
    pub fn draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Lets the threads drain.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }
}
