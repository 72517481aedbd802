//! The calls of a connection: messages out of data, answers into frames, windows, deadlines.

use std::borrow::Cow;

use super::answer::{Failure, code};
use super::connection::{Broken, Connection};
use super::frame::{self, Code, kind};
use super::request::Method;
use super::service::{PREFIX_BYTES, Service, Source, too_large, too_late};
use super::stream::{self, End, Stream};
use crate::counters::bound;

/// Answers of a stream that are framed together.
const ANSWERS_BYTES: usize = 16 << 10;
/// Frames of the peer that an answer brings credit for: resets, and windows that it opens as it reads.
pub(super) const CREDIT_PER_CALL: i64 = 4;
const BYTES_PER_CREDIT: usize = 2 << 10;
/// Columns of digits are compressed to an eighth at best; what grows by more takes credit for the rest, more than its
/// answer brings: a batch of 4,096 rows that are alike is 50 bytes.
const GROWTH_TIMES: usize = 8;
const GROWTH_BYTES_PER_CREDIT: usize = 256;

impl Connection {
    /// Content of a call came; it may be its end.
    pub(super) fn message<S: Source>(
        &mut self,
        id: u32,
        content: &[u8],
        end_stream: bool,
        service: &mut Service<S>,
        now: u64,
    ) -> Result<(), Broken> {
        let Some(mut stream) = self.streams.take(id) else { return Ok(()) };
        stream.remote_ended |= end_stream;
        if !content.is_empty() {
            stream.touched = now;
        }
        stream.receive_owed += content.len() as i64;
        if stream.end.is_some() {
            // Judged already: what else comes is of no use.
            self.settle(id, stream, service);
        } else if stream.body.is_empty() {
            let used = self.run(id, &mut stream, content, service, now);
            stream.body.extend_from_slice(&content[used.min(content.len())..]);
            self.settle(id, stream, service);
        } else {
            stream.body.extend_from_slice(content);
            self.run_body(id, stream, service, now);
        }
        self.cost(0)
    }

    fn run_body<S: Source>(&mut self, id: u32, mut stream: Stream, service: &mut Service<S>, now: u64) {
        let mut body = std::mem::take(&mut stream.body);
        let used = self.run(id, &mut stream, &body, service, now);
        body.drain(..used);
        stream.body = body;
        self.settle(id, stream, service);
    }

    /// Answers the whole messages of some content; returns how much of it was used.
    fn run<S: Source>(
        &mut self,
        id: u32,
        stream: &mut Stream,
        content: &[u8],
        service: &mut Service<S>,
        now: u64,
    ) -> usize {
        let mut used = 0;
        service.answer.clear();
        while stream.end.is_none() && stream.held.len() <= service.limits.answers_bytes_max {
            let rest = &content[used..];
            let (whole, message) = match split(rest, service.limits.message_bytes_max) {
                Err(failure) => {
                    stream.end = Some(End::Failure(failure));
                    break;
                }
                Ok(None) => {
                    if stream.remote_ended {
                        stream.end = Some(no_more(stream.method, rest));
                    }
                    break;
                }
                Ok(Some(found)) => found,
            };
            if stream.method != Method::Stream {
                if whole < rest.len() {
                    stream.end = Some(End::Failure(one_message()));
                } else if stream.remote_ended {
                    used += whole;
                    self.unary(stream, rest[0] != 0, message, service, now);
                }
                break;
            }
            used += whole;
            stream.stands_since = stream::NEVER;
            let opened = self.opened(stream, rest[0] != 0, message, service);
            let answered =
                opened.and_then(|message| service.call(stream.method, &message, &stream.client, false));
            stream.end = answered.err().map(End::Failure);
            self.earn(CREDIT_PER_CALL);
            if service.answer.len() >= ANSWERS_BYTES {
                self.flush(id, stream, service);
            }
        }
        self.flush(id, stream, service);
        used
    }

    fn unary<S: Source>(
        &mut self,
        stream: &mut Stream,
        compressed: bool,
        message: &[u8],
        service: &mut Service<S>,
        now: u64,
    ) {
        let message = match self.opened(stream, compressed, message, service) {
            Ok(message) => message,
            Err(failure) => {
                stream.end = Some(End::Failure(failure));
                return;
            }
        };
        if stream.method == Method::HealthWatch {
            match service.health_status(&message) {
                Ok(known) => {
                    stream.unknown = known.is_none();
                    watch(stream, service);
                }
                Err(failure) => stream.end = Some(End::Failure(service.failed(failure))),
            }
            return;
        }
        let result = service.call(stream.method, &message, &stream.client, now >= stream.deadline);
        stream.end = Some(result.map_or_else(End::Failure, |()| End::Ok));
        self.earn(CREDIT_PER_CALL);
    }

    /// A message as it was before it was compressed. What grew far costs as much as frames that bring no call.
    fn opened<'m, S: Source>(
        &mut self,
        stream: &Stream,
        compressed: bool,
        message: &'m [u8],
        service: &mut Service<S>,
    ) -> Result<Cow<'m, [u8]>, Failure> {
        if !compressed {
            return Ok(message.into());
        }
        let opened = if self.credit < 0 {
            let text = "the connection has sent too much that is compressed to next to nothing";
            Err(Failure::Bound(bound::MESSAGE, text.into()))
        } else {
            service.inflated(stream.encoding, message)
        };
        let bytes = match &opened {
            Ok(message) => message.len(),
            Err(Failure::Bound(..)) => service.limits.message_bytes_max,
            Err(_) => 0,
        };
        let grown = bytes.saturating_sub(GROWTH_TIMES * message.len());
        self.credit -= (grown / GROWTH_BYTES_PER_CREDIT) as i64;
        opened.map(Cow::Owned)
    }

    /// Sends what is answered, as far as windows admit; the rest is held.
    pub(super) fn flush<S: Source>(&mut self, id: u32, stream: &mut Stream, service: &mut Service<S>) {
        if service.answer.is_empty() {
            return;
        }
        self.start(id, stream);
        if stream.held.is_empty() {
            let sent = self.send(id, stream, &service.answer);
            stream.held.extend_from_slice(&service.answer[sent..]);
        } else {
            stream.held.extend_from_slice(&service.answer);
        }
        service.answer.clear();
    }

    fn start(&mut self, id: u32, stream: &mut Stream) {
        if !stream.headers_sent {
            self.headers.put_answer(&mut self.out, id);
            stream.headers_sent = true;
            self.answered = true;
        }
    }

    fn send(&mut self, id: u32, stream: &mut Stream, data: &[u8]) -> usize {
        let mut sent = 0;
        while sent < data.len() {
            let windows = self.send_left.min(stream.send_left).max(0) as usize;
            let bytes = (data.len() - sent).min(windows).min(self.send_frame_max);
            if bytes == 0 {
                break;
            }
            frame::put_head(&mut self.out, bytes, kind::DATA, 0, id);
            self.out.extend_from_slice(&data[sent..sent + bytes]);
            sent += bytes;
            self.send_left -= bytes as i64;
            stream.send_left -= bytes as i64;
        }
        if sent > 0 {
            self.answered = true;
            self.earn((sent / BYTES_PER_CREDIT) as i64);
            stream.stands_since = stream::NEVER;
        }
        sent
    }

    /// Ends a call that is answered, or puts it back.
    pub(super) fn settle<S: Source>(&mut self, id: u32, mut stream: Stream, service: &mut Service<S>) {
        let waits = stream.body.len() + stream.held.len();
        let held = self.streams.bytes() + waits;
        if waits > 0 && held > service.held_share(held, service.held - self.held) {
            stream.held.clear();
            let text = "the connection holds too much that is not whole or not read";
            stream.end = Some(End::Failure(Failure::Bound(bound::HELD, text.into())));
        }
        if stream.held.is_empty() && stream.end.is_some() {
            return self.finish(id, stream, service);
        }
        // A window opens again for what is used up; a client that takes no answers gets none.
        if stream.held.is_empty() && !stream.remote_ended && stream.receive_owed > stream::WINDOW_BYTES / 2 {
            frame::put_window(&mut self.out, id, stream.receive_owed as u32);
            stream.receive_left += std::mem::take(&mut stream.receive_owed);
        }
        // Without a window of its own, the peer's update of that will find it.
        if !stream.held.is_empty() && !stream.blocked && stream.send_left > 0 {
            stream.blocked = true;
            self.blocked.push_back(id);
        }
        self.streams.put(id, stream);
    }

    fn finish<S: Source>(&mut self, id: u32, mut stream: Stream, service: &mut Service<S>) {
        match stream.end.take() {
            Some(End::Failure(failure)) => {
                service.bounded(&failure);
                self.headers.put_failure(&mut self.out, id, &failure, !stream.headers_sent);
            }
            _ => {
                self.start(id, &mut stream);
                self.headers.put_ok(&mut self.out, id);
            }
        }
        self.answered = true;
        if !stream.remote_ended {
            frame::put_reset(&mut self.out, id, Code::NoError);
        }
        if stream.blocked {
            self.blocked.retain(|blocked| *blocked != id);
        }
        self.ended(service);
    }

    /// Goes on with a call after windows have opened.
    pub(super) fn resume<S: Source>(&mut self, id: u32, service: &mut Service<S>, now: u64) {
        let Some(mut stream) = self.streams.take(id) else { return };
        let mut held = std::mem::take(&mut stream.held);
        let sent = self.send(id, &mut stream, &held);
        held.drain(..sent);
        stream.held = held;
        if stream.held.is_empty() && stream.end.is_none() && stream.method == Method::Stream {
            self.run_body(id, stream, service, now);
        } else {
            self.settle(id, stream, service);
        }
    }

    /// Goes on with the calls that wait for the connection's window, in turn, while it is open.
    pub(super) fn unblock<S: Source>(&mut self, service: &mut Service<S>, now: u64) {
        while self.send_left > 0
            && let Some(id) = self.blocked.pop_front()
        {
            if let Some(mut stream) = self.streams.take(id) {
                stream.blocked = false;
                self.streams.put(id, stream);
                self.resume(id, service, now);
            }
        }
    }

    /// Ends calls that have waited too long for their peer.
    pub(super) fn end_stalled<S: Source>(&mut self, service: &mut Service<S>, now: u64) {
        let stall_max = service.limits.stall_milliseconds_max;
        let mut stalled = Vec::new();
        self.streams.each(|id, stream| {
            if !stream.waits() {
                stream.stands_since = stream::NEVER;
            } else if stream.stands_since == stream::NEVER {
                stream.stands_since = now;
            } else if now - stream.stands_since > stall_max {
                stalled.push(id);
            }
        });
        for id in stalled {
            let text = "the call stood still: its message did not end, or its answers were not taken";
            self.fail(id, Failure::Bound(bound::STALLED, text.into()), service);
        }
    }

    /// Ends calls whose deadline has passed.
    pub(super) fn expire<S: Source>(&mut self, service: &mut Service<S>, now: u64) {
        for id in self.streams.find(|stream| now >= stream.deadline) {
            self.fail(id, too_late(), service);
        }
        let mut next = stream::NEVER;
        self.streams.each(|_, stream| next = next.min(stream.deadline));
        self.next_deadline = next;
    }

    fn fail<S: Source>(&mut self, id: u32, failure: Failure, service: &mut Service<S>) {
        let Some(mut stream) = self.streams.take(id) else { return };
        stream.held.clear();
        stream.end = Some(End::Failure(failure));
        self.finish(id, stream, service);
    }

    /// Ends streams on which nothing has come since some time.
    pub(super) fn end_streams<S: Source>(&mut self, idle_since: u64, service: &mut Service<S>) {
        let wanted = |stream: &Stream| {
            stream.method == Method::Stream && stream.touched <= idle_since && stream.held.is_empty()
        };
        for id in self.streams.find(wanted) {
            let failure = service.failed(Failure::Draining);
            self.fail(id, failure, service);
        }
    }

    /// Health has changed: tells those who watch.
    pub fn tell_watchers<S: Source>(&mut self, service: &mut Service<S>) {
        for id in self.streams.find(|stream| stream.method == Method::HealthWatch && stream.told != 0) {
            let Some(mut stream) = self.streams.take(id) else { continue };
            service.answer.clear();
            watch(&mut stream, service);
            self.flush(id, &mut stream, service);
            self.settle(id, stream, service);
        }
    }
}

/// Answers a watcher where health is not what it was told last.
fn watch<S: Source>(stream: &mut Stream, service: &mut Service<S>) {
    const SERVICE_UNKNOWN: u8 = 3;
    let status = if stream.unknown { SERVICE_UNKNOWN } else { service.shared.health() };
    if status != stream.told {
        stream.told = status;
        service.framed(|out| out.extend_from_slice(&crate::wire::health_response(status)));
    }
    if service.shared.ended() {
        stream.end = Some(End::Ok);
    }
}

/// The first message of some content, and its bytes with the prefix; None where it is not whole.
fn split(content: &[u8], bytes_max: usize) -> Result<Option<(usize, &[u8])>, Failure> {
    let Some((prefix, rest)) = content.split_first_chunk::<PREFIX_BYTES>() else { return Ok(None) };
    if prefix[0] > 1 {
        return Err(Failure::Plain(code::INTERNAL, "a message begins with neither 0 nor 1".into()));
    }
    let bytes = frame::u32_of(&prefix[1..]) as usize;
    if bytes > bytes_max {
        return Err(too_large(bytes, bytes_max));
    }
    Ok(rest.get(..bytes).map(|message| (PREFIX_BYTES + bytes, message)))
}

/// How much of some content ends the message of a stream that is not whole; None where nothing of one is there.
pub(super) fn missing(stream: &Stream, content: &[u8]) -> Option<usize> {
    let body = &stream.body;
    if body.is_empty() || stream.method != Method::Stream {
        return None;
    }
    let mut prefix = body.iter().chain(content).skip(1).map(|byte| usize::from(*byte));
    let bytes = prefix.by_ref().take(PREFIX_BYTES - 1).fold(0, |bytes, byte| bytes << 8 | byte);
    // One that is whole waits for windows: what came waits behind it.
    let missing = (PREFIX_BYTES + bytes).checked_sub(body.len()).filter(|missing| *missing > 0);
    Some(missing.map_or(content.len(), |missing| missing.min(content.len())))
}

fn no_more(method: Method, rest: &[u8]) -> End {
    match method {
        Method::Stream if rest.is_empty() => End::Ok,
        _ if rest.is_empty() => End::Failure(one_message()),
        _ => End::Failure(Failure::Plain(code::INTERNAL, "the call ends inside a message".into())),
    }
}

fn one_message() -> Failure {
    Failure::Plain(code::INTERNAL, "this call has one message".into())
}
