//! The server of the check port, as Python sees it: started, told, drained, read. No check passes here.

use std::collections::HashMap;
use std::sync::Arc;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::counters::{ABUSES, BOUNDS, METHODS, REASONS, STATUSES};
use crate::published::Published;
use crate::python::Engine;
use crate::server::Limits;
use crate::server::answer;
use crate::server::threads::Server;
use crate::sightings::{self, Queue, Queues, Wanted};
use crate::unpaired;

/// Serves EquipmentCheckService and health on threads of its own, from what an engine has published.
#[pyclass(frozen)]
pub struct CheckServer(Server<Published>);

/// Status by the policy, status told, reason; IMEI, IMSI, serving network, client as sent; second, serial, number of the
/// policy.
type Sighting = (u8, u8, u8, String, String, String, String, u64, u64, u64);
/// Counts of the buckets, each without those below it, and the sum in nanoseconds.
type Seconds = (Vec<u64>, u64);

#[pymethods]
impl CheckServer {
    /// Binds; raises OSError. `wanted` is the table of the decision log, its threshold, the seconds of a
    /// denial's repeats and the records that one thread holds; `unpaired` the unpaired pairs that it holds
    /// (0: none are noted), and for how many seconds a pair is not told again.
    #[new]
    #[pyo3(signature = (engine, *, host, port, threads, limits, wanted, unpaired))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        engine: PyRef<'_, Engine>,
        host: &str,
        port: u16,
        threads: usize,
        limits: HashMap<String, u64>,
        wanted: (Vec<u8>, u64, u64, usize),
        unpaired: (usize, u64),
    ) -> PyResult<Self> {
        let (table, sample_threshold, denial_repeat_seconds, records_max) = wanted;
        let (unpaired_max, unpaired_repeat_seconds) = unpaired;
        let wanted = Wanted {
            table,
            sample_threshold,
            denial_repeat_seconds,
            records_max,
            unpaired_max,
            unpaired_repeat_seconds,
        };
        let source = Arc::clone(&engine.published);
        Ok(Self(Server::bind((host, port), threads, source, limits_of(limits)?, wanted)?))
    }

    #[getter]
    fn port(&self) -> u16 {
        self.0.port()
    }

    /// Starts the threads; raises OSError.
    fn start(&self) -> PyResult<()> {
        Ok(self.0.start()?)
    }

    fn set_serving(&self, serving: bool) {
        self.0.set_serving(serving);
    }

    fn end(&self) {
        self.0.end();
    }

    /// Returns when all threads have ended; other threads of Python run meanwhile.
    fn drain(&self, py: Python<'_>) {
        py.detach(|| self.0.drain());
    }

    /// Verdicts so far: status, reason, how many.
    fn verdicts(&self) -> Vec<(usize, usize, u64)> {
        let places = (0..STATUSES).flat_map(|status| (0..REASONS).map(move |reason| (status, reason)));
        let count = |status: usize, reason: usize| {
            self.0.counters().map(|counters| counters.checks[status][reason].get()).sum()
        };
        let counted = places.map(|(status, reason)| (status, reason, count(status, reason)));
        counted.filter(|(.., count)| *count != 0).collect()
    }

    /// Durations of unary checks, of those in streams, and of batches.
    fn seconds(&self) -> Vec<Seconds> {
        let of = |method: usize| {
            let mut all: Seconds = Default::default();
            for counters in self.0.counters() {
                let histogram = &counters.seconds[method];
                all.0.resize(histogram.buckets.len(), 0);
                all.0.iter_mut().zip(&histogram.buckets).for_each(|(sum, count)| *sum += count.get());
                all.1 += histogram.sum_nanoseconds.get();
            }
            all
        };
        (0..METHODS).map(of).collect()
    }

    /// Calls ended by an error, by its stable reason.
    fn errors(&self) -> Vec<(&'static str, u64)> {
        let count = |place: usize| self.0.counters().map(|counters| counters.errors[place].get()).sum();
        answer::REASONS.iter().enumerate().map(|(place, reason)| (*reason, count(place))).collect()
    }

    /// Connections closed because of what the peer did.
    fn abuses(&self) -> Vec<(&'static str, u64)> {
        let count = |place: usize| self.0.counters().map(|counters| counters.abuses[place].get()).sum();
        ABUSES.iter().enumerate().map(|(place, cause)| (*cause, count(place))).collect()
    }

    /// Calls that a bound ended.
    fn bounds(&self) -> Vec<(&'static str, u64)> {
        let count = |place: usize| self.0.counters().map(|counters| counters.bounds[place].get()).sum();
        BOUNDS.iter().enumerate().map(|(place, cause)| (*cause, count(place))).collect()
    }

    /// Connections now.
    fn connections(&self) -> u64 {
        self.0.counters().map(|counters| counters.connections.get()).sum()
    }

    /// Bytes that they hold now: messages that are not whole, answers that are not taken.
    fn held_bytes(&self) -> u64 {
        self.0.counters().map(|counters| counters.held.get()).sum()
    }

    /// Calls that ended in a panic.
    fn panics(&self) -> u64 {
        self.0.counters().map(|counters| counters.panics.get()).sum()
    }

    /// Sightings left out as repeats, those that found no room, and checks of a trial that found none.
    fn sightings_left_out(&self) -> (u64, u64, u64) {
        self.0.queues().fold((0, 0, 0), |(repeated, dropped, untried), Queues { kept, tried, .. }| {
            (repeated + kept.repeated.get(), dropped + kept.dropped.get(), untried + tried.dropped.get())
        })
    }

    /// Begins a trial on subscribers whose hash is below a threshold; 0 ends it.
    fn set_trial_threshold(&self, threshold: u64) {
        self.0.set_trial_threshold(threshold);
    }

    /// Takes what threads have put for the decision log.
    fn take_sightings(&self) -> Vec<Sighting> {
        taken(self.0.queues().map(|queues| &queues.kept))
    }

    /// Unpaired pairs left out as repeats, and those that found no room.
    fn unpaired_left_out(&self) -> (u64, u64) {
        self.0.queues().fold((0, 0), |(repeated, dropped), Queues { unpaired, .. }| {
            (repeated + unpaired.repeated.get(), dropped + unpaired.dropped.get())
        })
    }

    /// Takes unpaired pairs: IMEI key, IMSI code, second, and the MSISDN that the check named, 0 for none.
    fn take_unpaired(&self) -> Vec<(u64, u64, u64, u64)> {
        let taken = self.0.queues().map(|queues| queues.unpaired.take());
        let of = |bytes: Vec<u8>| {
            unpaired::decode(&bytes)
                .map(|seen| (seen.pair.key, seen.pair.imsi, seen.at, seen.msisdn))
                .collect::<Vec<_>>()
        };
        taken.flat_map(of).collect()
    }

    /// Takes what threads have put for the policy on trial.
    fn take_tried(&self) -> Vec<Sighting> {
        taken(self.0.queues().map(|queues| &queues.tried))
    }
}

fn taken<'a>(queues: impl Iterator<Item = &'a Queue>) -> Vec<Sighting> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut out = Vec::new();
    for queue in queues {
        let taken = queue.take();
        let mut rest = taken.as_slice();
        while let Some(seen) = sightings::decode(&mut rest) {
            let (imei, imsi) = (text(seen.imei), text(seen.imsi));
            let (plmn, client) = (text(seen.serving_plmn), text(seen.client));
            let (time, serial, policy) = (seen.time, seen.serial, seen.policy);
            out.push((seen.judged, seen.status, seen.reason, imei, imsi, plmn, client, time, serial, policy));
        }
    }
    out
}

/// Reads bounds by the names that they have here; raises ValueError where one is unknown or missing.
fn limits_of(mut given: HashMap<String, u64>) -> PyResult<Limits> {
    let mut take = |name: &str| {
        given.remove(name).ok_or_else(|| PyValueError::new_err(format!("limits: {name} is missing")))
    };
    let limits = Limits {
        batch_rows_max: take("batch_rows_max")? as usize,
        message_bytes_max: take("message_bytes_max")? as usize,
        metadata_bytes_max: take("metadata_bytes_max")? as usize,
        streams_per_connection_max: take("streams_per_connection_max")? as usize,
        calls_max: take("calls_max")? as usize,
        answers_bytes_max: take("answers_bytes_max")? as usize,
        connection_bytes_max: take("connection_bytes_max")? as usize,
        held_bytes_max: take("held_bytes_max")? as usize,
        turn_rows: Limits::default().turn_rows,
        stall_milliseconds_max: take("stall_milliseconds_max")?,
        keepalive_milliseconds: take("keepalive_milliseconds")?,
        keepalive_timeout_milliseconds: take("keepalive_timeout_milliseconds")?,
        age_milliseconds_max: take("age_milliseconds_max")?,
        drain_milliseconds_max: take("drain_milliseconds_max")?,
        connections_max: take("connections_max")? as usize,
    };
    match given.keys().next() {
        None => Ok(limits),
        Some(name) => Err(PyValueError::new_err(format!("limits: {name} is unknown"))),
    }
}
