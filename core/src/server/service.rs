//! What the methods do: a message in, an answer or a failure out. As eir/server/check.py.
//!
//! ```text
//! bytes ──► message ──► valid? ──► tables ──► status map of the client ──► bytes
//! ```

use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use super::answer::{Failure, code};
use super::request::{Encoding, Method};
use super::together::{Check, Together};
use super::told::{Texts, Told};
use super::{Limits, Shared, valid};
use crate::check::{GROUP, Question, Tables, Verdict};
use crate::counters::{Counters, bound};
use crate::policy::{WHITELISTED, reason};
use crate::published::Published;
use crate::sightings::{Keeper, Queues};
use crate::unpaired::Spotter;
use crate::wire::{self, Batch, CheckRequest, Place, Verdicts};

/// Identities that are judged together.
pub const GROUP_ROWS: usize = GROUP;
/// Decompressed bytes that take as long as a row.
const BYTES_PER_ROW: usize = 64;
/// What stands before a message: whether it is compressed, and its length.
pub const PREFIX_BYTES: usize = 5;

/// What answers questions: the tables, or what stands for them in a test.
pub trait Judge {
    /// As `Tables::check`.
    fn check(&self, question: &Question<'_>, now: u64) -> Verdict;
    /// As `Tables::check_batch`.
    fn check_batch(&self, questions: &[Question<'_>], now: u64, out: &mut Vec<Verdict>);
    /// As `Tables::status_map`.
    fn status_map(&self, client: &[u8]) -> &[u8];
    /// Number of the table state, and whether it is stale.
    fn state(&self) -> (u64, bool);
    /// Number of the policy.
    fn policy_number(&self) -> u64 {
        0
    }
}

/// Where a judge comes from.
pub trait Source: Send + Sync + 'static {
    /// What it gives.
    type Judge: Judge;
    /// What keeps a judge.
    type Held: Send;
    /// Takes hold of the judge of now, for what was read at once: that was sent before.
    fn hold(&self) -> Self::Held;
    /// The judge that is held: None until tables are loaded.
    fn judge(held: &Self::Held) -> Option<&Self::Judge>;
}

impl Judge for Tables {
    fn check(&self, question: &Question<'_>, now: u64) -> Verdict {
        Tables::check(self, question, now)
    }

    fn check_batch(&self, questions: &[Question<'_>], now: u64, out: &mut Vec<Verdict>) {
        Tables::check_batch(self, questions, now, out);
    }

    fn status_map(&self, client: &[u8]) -> &[u8] {
        Tables::status_map(self, client)
    }

    fn state(&self) -> (u64, bool) {
        (self.generation.serial, self.stale)
    }

    fn policy_number(&self) -> u64 {
        self.policy.number
    }
}

impl Source for Published {
    type Judge = Tables;
    type Held = Option<Arc<Tables>>;

    fn hold(&self) -> Self::Held {
        self.load().clone()
    }

    fn judge(held: &Self::Held) -> Option<&Tables> {
        held.as_deref()
    }
}

/// One thread's end of the service; kept from call to call for its memory.
pub struct Service<S: Source> {
    source: Arc<S>,
    /// What the calls of one read are judged by.
    tables: Option<S::Held>,
    pub(super) shared: Arc<Shared>,
    pub(super) limits: Limits,
    pub(super) counters: Arc<Counters>,
    pub(super) queues: Arc<Queues>,
    pub(super) keeper: Keeper,
    pub(super) spotter: Spotter,
    /// Answers of the call at hand, each with its prefix.
    pub(super) answer: Vec<u8>,
    batch: Batch,
    verdicts: Vec<Verdict>,
    /// What became of the verdicts.
    told: Vec<Told>,
    columns: Verdicts,
    /// Rows that the connection at hand may still have judged in this turn.
    turn_rows: usize,
    /// Memory for what comes in a read.
    pub(super) together: Together<'static>,
    /// Seconds since the Unix epoch.
    pub(super) now: u64,
    /// When the call before was answered, or the read began.
    since: Instant,
    /// Calls in flight on this thread.
    pub(super) calls: usize,
    /// Connections of this thread.
    pub(super) connections: usize,
    /// What their calls hold, in bytes: messages that are not whole, and answers that are not taken.
    pub(super) held: usize,
}

impl<S: Source> Service<S> {
    /// The service of one thread.
    pub fn new(
        source: Arc<S>,
        shared: Arc<Shared>,
        limits: Limits,
        counters: Arc<Counters>,
        queues: Arc<Queues>,
    ) -> Self {
        let keeper = Keeper::new(shared.wanted.clone());
        let spotter = Spotter::new(shared.wanted.unpaired_max, shared.wanted.unpaired_repeat_seconds);
        let (answer, batch) = (Vec::new(), Batch::default());
        let (verdicts, columns) = (Vec::with_capacity(GROUP_ROWS), Verdicts::default());
        Self {
            source,
            tables: None,
            shared,
            limits,
            counters,
            queues,
            keeper,
            spotter,
            answer,
            batch,
            verdicts,
            told: Vec::new(),
            columns,
            turn_rows: limits.turn_rows,
            together: Together::default(),
            now: 0,
            since: Instant::now(),
            calls: 0,
            connections: 0,
            held: 0,
        }
    }

    /// A connection has its turn.
    pub fn turn(&mut self) {
        self.turn_rows = self.limits.turn_rows;
    }

    /// Whether the connection at hand has had its turn: what else came of it waits until the others had theirs.
    pub fn turn_is_over(&self) -> bool {
        self.turn_rows == 0
    }

    /// Something was read: its calls are judged by the tables of now.
    pub fn begin(&mut self) {
        self.tables = None;
        self.since = Instant::now();
    }

    /// What was read is answered: nothing is held while nothing comes.
    pub fn rest(&mut self) {
        self.tables = None;
    }

    /// Does something with the judge that is held, or with that of now.
    fn judged<R>(&mut self, work: impl FnOnce(&mut Self, Option<&S::Judge>) -> R) -> R {
        let held = self.tables.take().unwrap_or_else(|| self.source.hold());
        let result = work(self, S::judge(&held));
        self.tables = Some(held);
        result
    }

    /// What one connection may have of what all have `used` of: where that is all there is, its share, so that who
    /// takes more takes none away from the others.
    fn share(&self, used: usize, all: usize) -> usize {
        if used < all { usize::MAX } else { all.div_ceil(self.connections.max(1)) }
    }

    /// Whether no connection has a call in flight, or bytes of one.
    pub fn is_idle(&self) -> bool {
        self.calls == 0 && self.held == 0
    }

    /// Calls that a connection may have in flight.
    pub fn calls_share(&self) -> usize {
        self.share(self.calls, self.limits.calls_max)
    }

    /// Whether connections hold so much together that each is to take in little more.
    pub fn is_tight(&self) -> bool {
        self.held >= self.limits.held_bytes_max
    }

    /// Bytes that the calls of a connection may hold, where those of the others hold some.
    pub fn held_share(&self, held: usize, by_others: usize) -> usize {
        let bytes_max = self.limits.connection_bytes_max;
        self.share(held + by_others, self.limits.held_bytes_max).min(bytes_max)
    }

    /// Counts a failure, and gives it back.
    pub fn failed(&self, failure: Failure) -> Failure {
        if let Some(reason) = failure.reason() {
            self.counters.errors[reason].add(1);
        }
        failure
    }

    /// Counts a call that a bound ended.
    pub fn bounded(&self, failure: &Failure) {
        if let Some(place) = failure.bound() {
            self.counters.bounds[place].add(1);
        }
    }

    /// Judges the message of a call; the answer is added to `answer`. A panic ends the call alone.
    pub fn call(&mut self, method: Method, message: &[u8], client: &[u8], late: bool) -> Result<(), Failure> {
        let start = self.answer.len();
        let result = catch_unwind(AssertUnwindSafe(|| match method {
            Method::Check => self.timed(0, |service| service.check(message, client, late)),
            Method::Batch => self.timed(2, |service| service.batch(message, client, late)),
            Method::Stream => self.timed(1, |service| service.stream(message, client)),
            Method::HealthCheck => self.health(message),
            Method::HealthWatch => Err(Failure::Internal),
        }));
        let result = result.unwrap_or_else(|_| {
            self.counters.panics.add(1);
            Err(Failure::Internal)
        });
        result.map_err(|failure| {
            self.answer.truncate(start);
            self.failed(failure)
        })
    }

    fn timed(
        &mut self,
        method: usize,
        work: impl FnOnce(&mut Self) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let result = work(self);
        // One look at the clock a call: it begins where the one before ended.
        let now = Instant::now();
        let took = now.duration_since(std::mem::replace(&mut self.since, now));
        if result.is_ok() {
            self.counters.seconds[method].observe(took.as_nanos() as u64);
        }
        result
    }

    fn check(&mut self, message: &[u8], client: &[u8], late: bool) -> Result<(), Failure> {
        self.judged(|service, judge| {
            let request = wire::check_request(message).map_err(|_| no_message("CheckEquipmentRequest"))?;
            in_time(late)?;
            let verdict = service.judge(judge, &request, client)?;
            service.framed(|out| wire::put_verdict(out, &verdict, request.request_id));
            Ok(())
        })
    }

    fn stream(&mut self, message: &[u8], client: &[u8]) -> Result<(), Failure> {
        self.judged(|service, judge| {
            let request =
                wire::stream_request(message).map_err(|_| no_message("StreamCheckEquipmentRequest"))?;
            let request = request.ok_or_else(|| Failure::Invalid("check".into(), "is missing".into()))?;
            let verdict = service.judge(judge, &request, client)?;
            service.framed(|out| wire::put_stream_verdict(out, &verdict, request.request_id));
            Ok(())
        })
    }

    fn judge(
        &mut self,
        judge: Option<&S::Judge>,
        request: &CheckRequest<'_>,
        client: &[u8],
    ) -> Result<Verdict, Failure> {
        valid::request_valid(request)?;
        let Some(judge) = judge else { return self.without_tables(request.emergency) };
        let mut verdict = judge.check(&question(request), self.now);
        self.tell_client(judge, &mut verdict, request, client);
        Ok(verdict)
    }

    /// What is known before there are tables: an emergency call is allowed, whatever they will say.
    fn without_tables(&self, emergency: bool) -> Result<Verdict, Failure> {
        if !emergency {
            return Err(Failure::NotReady);
        }
        let verdict =
            Verdict { status: WHITELISTED, reason: reason::EMERGENCY, stale: true, ..Verdict::default() };
        self.counters.check(verdict.status, verdict.reason);
        Ok(verdict)
    }

    #[inline]
    fn tell_client(
        &mut self,
        judge: &S::Judge,
        verdict: &mut Verdict,
        request: &CheckRequest<'_>,
        client: &[u8],
    ) {
        let texts = texts(&question(request), client);
        let told = self.told(verdict, (judge.policy_number(), judge.status_map(client)), texts);
        self.note(verdict, &told, texts, request.msisdn);
    }

    /// Judges checks that came together, and makes of each verdict what its client is told; `client_of` is asked once for
    /// each, in order. False where each is to be judged by itself: there are no tables, or one of them panics, which is to
    /// end no other.
    pub fn judge_together<'c>(
        &mut self,
        checks: &[Check<'_>],
        mut client_of: impl FnMut(&Check<'_>) -> &'c [u8],
    ) -> bool {
        let (mut verdicts, mut told) = (std::mem::take(&mut self.verdicts), std::mem::take(&mut self.told));
        verdicts.clear();
        told.clear();
        let judged = catch_unwind(AssertUnwindSafe(|| {
            self.judged(|service, judge| {
                let Some(judge) = judge else { return false };
                if let [one] = checks {
                    verdicts.push(judge.check(&question(&one.request), service.now));
                } else {
                    let questions: Vec<_> = checks.iter().map(|check| question(&check.request)).collect();
                    judge.check_batch(&questions, service.now, &mut verdicts);
                }
                let policy = judge.policy_number();
                told.extend(checks.iter().zip(&mut verdicts).map(|(check, verdict)| {
                    let client = client_of(check);
                    let texts = texts(&question(&check.request), client);
                    service.told(verdict, (policy, judge.status_map(client)), texts)
                }));
                true
            })
        }));
        let judged = judged.unwrap_or(false);
        if !judged {
            verdicts.clear();
            told.clear();
        }
        (self.verdicts, self.told) = (verdicts, told);
        judged
    }

    /// Adds the answer to one of the checks that were judged together, by its place.
    pub fn answer_together(&mut self, place: usize, check: &Check<'_>, client: &[u8]) -> Result<(), Failure> {
        let (Some(verdict), Some(told)) = (self.verdicts.get(place).copied(), self.told.get(place).copied())
        else {
            let method = if check.unary { Method::Check } else { Method::Stream };
            return self.call(method, check.message, client, false);
        };
        let request = &check.request;
        self.note(&verdict, &told, texts(&question(request), client), request.msisdn);
        let put = if check.unary { wire::put_verdict } else { wire::put_stream_verdict };
        self.framed(|out| put(out, &verdict, request.request_id));
        Ok(())
    }

    /// Counts what checks took that were judged together, unary ones and those of streams: each its share.
    pub fn took(&mut self, [unary, streamed]: [u64; 2]) {
        let now = Instant::now();
        let took = now.duration_since(std::mem::replace(&mut self.since, now));
        let share = took.as_nanos() as u64 / (unary + streamed).max(1);
        self.counters.seconds[0].observe_many(share, unary);
        self.counters.seconds[1].observe_many(share, streamed);
    }

    fn batch(&mut self, message: &[u8], client: &[u8], late: bool) -> Result<(), Failure> {
        let mut batch = std::mem::take(&mut self.batch);
        let result = self.judged(|service, judge| {
            let judge = judge.ok_or(Failure::NotReady)?;
            let rows_max = service.limits.batch_rows_max;
            batch.read(message, rows_max).map_err(|_| no_message("BatchCheckEquipmentRequest"))?;
            valid::batch_valid(&batch, message, rows_max)?;
            in_time(late)?;
            service.judge_batch(judge, &batch, message, client);
            Ok(())
        });
        self.batch = batch;
        result
    }

    fn judge_batch<'d>(&mut self, judge: &S::Judge, batch: &Batch, message: &'d [u8], client: &'d [u8]) {
        let text = |place: Option<Place>| place.map_or(&[][..], |place| place.of(message));
        let serving_plmn = text(batch.serving_plmn);
        let (mut verdicts, mut columns) =
            (std::mem::take(&mut self.verdicts), std::mem::take(&mut self.columns));
        columns.clear();
        self.turn_rows = self.turn_rows.saturating_sub(batch.imei.rows);
        let rows = batch.imei.rows.min(GROUP_ROWS);
        let (mut questions, mut told) = (Vec::with_capacity(rows), std::mem::take(&mut self.told));
        let said = (judge.policy_number(), judge.status_map(client));
        let (mut serial, mut stale) = judge.state();
        let mut imsis = batch.imsi.places.iter();
        for imeis in batch.imei.places.chunks(GROUP_ROWS) {
            questions.clear();
            questions.extend(imeis.iter().map(|imei| Question {
                imei: imei.of(message),
                imsi: text(imsis.next().copied()),
                serving_plmn,
                emergency: false,
            }));
            verdicts.clear();
            judge.check_batch(&questions, self.now, &mut verdicts);
            let asked = questions.iter().zip(&mut verdicts);
            told.clear();
            told.extend(asked.map(|(question, verdict)| self.told(verdict, said, texts(question, client))));
            for ((question, verdict), told) in questions.iter().zip(&verdicts).zip(&told) {
                self.note(verdict, told, texts(question, client), b"");
            }
            columns.extend(&verdicts);
            (serial, stale) =
                verdicts.first().map_or((serial, stale), |verdict| (verdict.serial, verdict.stale));
        }
        self.framed(|out| wire::put_batch(out, &columns, serial, stale, text(batch.request_id)));
        (self.verdicts, self.told, self.columns) = (verdicts, told, columns);
    }

    fn health(&mut self, message: &[u8]) -> Result<(), Failure> {
        let status = self.health_status(message)?;
        let status = status.ok_or(Failure::Plain(code::NOT_FOUND, "unknown service".into()))?;
        self.framed(|out| out.extend_from_slice(&wire::health_response(status)));
        Ok(())
    }

    /// Health of the service that a message names; None for one that is not here.
    pub fn health_status(&self, message: &[u8]) -> Result<Option<u8>, Failure> {
        let service = wire::health_request(message).map_err(|_| {
            Failure::Invalid("message".into(), "is not a grpc.health.v1.HealthCheckRequest, in UTF-8".into())
        })?;
        Ok(matches!(service, b"" | b"eir.v1.EquipmentCheckService").then(|| self.shared.health()))
    }

    /// Adds a message with its prefix.
    pub fn framed(&mut self, put: impl FnOnce(&mut Vec<u8>)) {
        let start = self.answer.len();
        self.answer.extend_from_slice(&[0; PREFIX_BYTES]);
        put(&mut self.answer);
        let bytes = (self.answer.len() - start - PREFIX_BYTES) as u32;
        self.answer[start + 1..start + PREFIX_BYTES].copy_from_slice(&bytes.to_be_bytes());
    }

    /// Opens a compressed message. It may not be larger than one that is not compressed.
    pub fn inflated(&mut self, encoding: Encoding, message: &[u8]) -> Result<Vec<u8>, Failure> {
        let bytes_max = self.limits.message_bytes_max;
        let (mut out, limit) = (Vec::new(), bytes_max as u64 + 1);
        // What is left behind the end is none of the message.
        let (read, left) = match encoding {
            Encoding::Identity => {
                let text = "a message is compressed, and grpc-encoding says it is not";
                return Err(Failure::Plain(code::INTERNAL, text.into()));
            }
            Encoding::Gzip => {
                let mut reader = flate2::bufread::GzDecoder::new(message).take(limit);
                (reader.read_to_end(&mut out), reader.into_inner().into_inner())
            }
            Encoding::Deflate => {
                let mut reader = flate2::bufread::ZlibDecoder::new(message).take(limit);
                (reader.read_to_end(&mut out), reader.into_inner().into_inner())
            }
        };
        self.turn_rows = self.turn_rows.saturating_sub(out.len() / BYTES_PER_ROW);
        match read {
            Ok(bytes) if bytes > bytes_max => Err(too_large(bytes, bytes_max)),
            Ok(_) if left.is_empty() => Ok(out),
            _ => Err(Failure::Plain(code::INTERNAL, "a message cannot be decompressed".into())),
        }
    }
}

fn question<'m>(request: &CheckRequest<'m>) -> Question<'m> {
    let CheckRequest { imei, imsi, serving_plmn, emergency, .. } = *request;
    Question { imei, imsi, serving_plmn, emergency }
}

fn texts<'m>(question: &Question<'m>, client: &'m [u8]) -> Texts<'m> {
    let Question { imei, imsi, serving_plmn, .. } = *question;
    Texts { imei, imsi, serving_plmn, client }
}

/// A message is larger than the limits admit.
pub fn too_large(bytes: usize, bytes_max: usize) -> Failure {
    let text = format!("Received message larger than max ({bytes} vs. {bytes_max})");
    Failure::Bound(bound::MESSAGE, text.into())
}

/// The deadline of a call has passed.
pub fn too_late() -> Failure {
    Failure::Plain(code::DEADLINE_EXCEEDED, "the deadline passed before the check".into())
}

fn in_time(late: bool) -> Result<(), Failure> {
    if late { Err(too_late()) } else { Ok(()) }
}

fn no_message(kind: &str) -> Failure {
    Failure::Invalid("message".into(), format!("is not a eir.v1.{kind}, in UTF-8"))
}
