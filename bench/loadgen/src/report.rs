//! What came of the requests: counts by how they ended, and latencies.

use std::collections::BTreeMap;
use std::fmt::Write;

use hdrhistogram::Histogram;

use crate::{End, Ended, Options};

const LATENCY_NS_MAX: u64 = 120_000_000_000;
const DIGITS: u8 = 3;
const NS_PER_US: f64 = 1e3;
const NS_PER_S: f64 = 1e9;

/// Requests of the measured time: those due in it (open loop), or answered in it (closed loop).
pub struct Tally {
    from_ns: u64,
    until_ns: u64,
    by_due: bool,
    latency: Histogram<u64>,
    late: Histogram<u64>,
    failed: BTreeMap<String, u64>,
    asked_all: u64,
    answered_all: u64,
    pub unanswered: u64,
}

impl Tally {
    pub fn new(warmup_seconds: f64, seconds: f64, by_due: bool) -> Tally {
        let histogram = || Histogram::new_with_max(LATENCY_NS_MAX, DIGITS).expect("the bounds are constants");
        Tally {
            from_ns: (warmup_seconds * NS_PER_S) as u64,
            until_ns: ((warmup_seconds + seconds) * NS_PER_S) as u64,
            by_due,
            latency: histogram(),
            late: histogram(),
            failed: BTreeMap::new(),
            asked_all: 0,
            answered_all: 0,
            unanswered: 0,
        }
    }

    pub fn over(&self, now_ns: u64) -> bool {
        now_ns >= self.until_ns
    }

    /// Ends the measured time, if it has not ended.
    pub fn end(&mut self, now_ns: u64) {
        self.until_ns = self.until_ns.min(now_ns.max(self.from_ns + 1));
    }

    /// Notes a request that is sent now.
    pub fn sent(&mut self, due_ns: u64, now_ns: u64) {
        self.asked_all += 1;
        if due_ns >= self.from_ns {
            self.late.saturating_record(now_ns - due_ns);
        }
    }

    /// Notes how a request ended.
    pub fn ended(&mut self, one: &Ended, now_ns: u64) {
        let name = match one.end {
            End::Answered => {
                self.answered_all += 1;
                let at = if self.by_due { one.due_ns } else { now_ns };
                if (self.from_ns..self.until_ns).contains(&at) {
                    self.latency.saturating_record(now_ns - one.due_ns);
                }
                return;
            }
            End::Grpc(code) => format!("grpc-status {code}"),
            End::Http(status) => format!("HTTP status {status}"),
            End::Reset(code) => format!("reset {code}"),
            End::Messages(count) => format!("OK with {count} messages"),
        };
        *self.failed.entry(name).or_default() += 1;
    }

    /// The figures; `rows` is how many checks a request has.
    pub fn json(&self, options: &Options, rows: usize) -> String {
        let us = |ns: u64| ns as f64 / NS_PER_US;
        let at = |percent: f64| us(self.latency.value_at_percentile(percent));
        let failed: Vec<_> = self.failed.iter().map(|(name, count)| format!("\"{name}\": {count}")).collect();
        let measured_s = (self.until_ns - self.from_ns) as f64 / NS_PER_S;
        let answered = self.latency.len();
        let mut out = format!(
            "{{\"mode\": \"{:?}\", \"connections\": {}, \"in_flight\": {}, \"rate_asked\": {}, \
             \"seconds\": {measured_s}, \"asked_all\": {}, \"answered_all\": {}, \"answered\": {answered}, \
             \"unanswered\": {}, \"failed\": {{{}}}, \"rows\": {rows}, \"checks_per_second\": {:.1}",
            options.mode,
            options.connections,
            options.in_flight,
            options.rate,
            self.asked_all,
            self.answered_all,
            self.unanswered,
            failed.join(", "),
            answered as f64 * rows as f64 / measured_s,
        )
        .to_lowercase();
        let _ = write!(
            out,
            ", \"mean_us\": {:.2}, \"max_us\": {:.2}, \"sent_late_us\": {{\"p99\": {:.2}, \"max\": {:.2}}}",
            self.latency.mean() / NS_PER_US,
            us(self.latency.max()),
            us(self.late.value_at_percentile(99.0)),
            us(self.late.max()),
        );
        let quantiles = ["50", "90", "99", "99.9", "99.99"].map(|name| {
            let percent: f64 = name.parse().expect("the names are constants");
            format!("\"p{name}\": {:.2}", at(percent))
        });
        let _ = write!(out, ", \"quantiles_us\": {{{}}}}}", quantiles.join(", "));
        out
    }
}
