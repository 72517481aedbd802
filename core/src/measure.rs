//! Nanoseconds of checks without a network, for `bench/lookup.py`: only in builds with the feature `measure`.

use std::hint::black_box;
use std::time::Instant;

use pyo3::buffer::PyBuffer;
use pyo3::prelude::*;
use rustix::time::{ClockId, clock_gettime};

use crate::check::Question;
use crate::python::{Engine, view_of};
use crate::server::service::GROUP_ROWS;

/// Nanoseconds: of each check by itself, then a check's when they follow each other, as those of a read, and in
/// batches.
type Measured = (Vec<u32>, f64, f64, f64);

/// Calls that one read brings in the closed loop of 4 connections × 16.
const CALLS_OF_A_READ: usize = 16;

/// Judges lines of `IMEI IMSI` at a second: each by itself, back to back, as
/// the calls of a read, in batches. Nothing where nothing is
/// published.
#[pyfunction]
pub fn measure_checks(py: Python<'_>, engine: PyRef<'_, Engine>, lines: &str, now: u64) -> Measured {
    let published = std::sync::Arc::clone(&engine.published);
    py.detach(|| {
        let published = published.load();
        let Some(tables) = &*published else { return (Vec::new(), 0.0, 0.0, 0.0) };
        let asked: Vec<Question<'_>> = lines
            .lines()
            .map(|line| {
                let (imei, imsi) = line.split_once(' ').unwrap_or((line, ""));
                Question { imei: imei.as_bytes(), imsi: imsi.as_bytes(), ..Question::default() }
            })
            .collect();
        let alone = asked.iter().map(|question| {
            let started = Instant::now();
            black_box(tables.check(question, now));
            started.elapsed().as_nanos() as u32
        });
        let alone = alone.collect();
        let back_to_back = per_check(asked.len(), || {
            asked.iter().for_each(|question| {
                black_box(tables.check(question, now));
            });
        });
        let mut verdicts = Vec::with_capacity(GROUP_ROWS);
        let mut in_groups = |rows| {
            per_check(asked.len(), || {
                for group in asked.chunks(rows) {
                    verdicts.clear();
                    tables.check_batch(group, now, &mut verdicts);
                    black_box(&verdicts);
                }
            })
        };
        let (of_a_read, batched) = (in_groups(CALLS_OF_A_READ), in_groups(GROUP_ROWS));
        (alone, back_to_back, of_a_read, batched)
    })
}

/// Nanoseconds of this thread's time, so that what else the machine does counts little.
fn per_check(checks: usize, work: impl FnOnce()) -> f64 {
    let clock = || {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
    };
    let started = clock();
    work();
    (clock() - started) / checks as f64
}

/// Follows a chain of places through a memory of u64, so many steps; nanoseconds of a step.
#[pyfunction]
pub fn measure_chain(py: Python<'_>, chain: PyBuffer<u8>, steps: usize) -> PyResult<f64> {
    let chain = view_of::<u64>(chain)?;
    Ok(py.detach(|| {
        per_check(steps, || {
            let end = (0..steps).fold(0, |at, _| chain[at] as usize);
            black_box(end);
        })
    }))
}
