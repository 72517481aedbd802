//! A connection of HTTP/2 (RFC 9113): frames in, frames out. No socket, no clock.
//!
//! Times are milliseconds of a monotonic clock, given with every call.

use std::collections::VecDeque;

use super::answer::{Failure, Headers, code};
use super::frame::{self, Code, HEADER_BYTES, Head, flag, kind, setting};
use super::hpack::Decoder;
use super::request;
use super::service::{Service, Source};
use super::stream::{self, Stream, Streams};
use crate::counters::abuse;

/// What a peer may send on a connection before it is told to go on.
const WINDOW_BYTES: i64 = 8 << 20;
/// Frames that cost us something and bring no call: so many may come beyond what calls and time bring back.
const CREDIT_MAX: i64 = 10_000;
const CREDIT_PER_CALL: i64 = 4;
const CREDIT_PER_SECOND: u64 = 500;
/// Pings may come this often while nothing is sent; beyond so many more the peer is told to be calm.
const PING_MILLISECONDS_MIN: u64 = 10_000;
const PING_STRIKES_MAX: u32 = 2;
const CONTINUATIONS_MAX: u32 = 16;
/// Output that waits for the socket, from which on nothing more is read.
const OUT_BYTES_MAX: usize = 256 << 10;
const DRAIN_PING: [u8; 8] = *b"eirdrain";
const KEEPALIVE_PING: [u8; 8] = *b"eiralive";
/// Between the two GOAWAYs where the peer does not answer the ping between them.
const NOTICE_MILLISECONDS_MAX: u64 = 1000;

/// How far a connection is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Greeting,
    Settings,
    Open,
    /// The peer was asked to go, since this time; calls that come are still taken.
    Asked(u64),
    /// Calls above the last stream are not taken.
    Leaving,
    /// Nothing more is read.
    Over,
}

/// A header block that is not whole.
struct Block {
    stream: u32,
    end_stream: bool,
    fragments: u32,
    bytes: Vec<u8>,
}

/// The state of one connection.
pub struct Connection {
    phase: Phase,
    decoder: Decoder,
    input: Vec<u8>,
    block: Option<Block>,
    last: u32,
    leave_after: u32,
    receive_left: i64,
    receive_owed: i64,
    pub(super) headers: Headers,
    pub(super) streams: Streams,
    pub(super) send_left: i64,
    pub(super) send_frame_max: usize,
    peer_window: i64,
    pub(super) blocked: VecDeque<u32>,
    pub(super) out: Vec<u8>,
    sent: usize,
    pub(super) credit: i64,
    credit_at: u64,
    pinged_at: Option<u64>,
    ping_strikes: u32,
    /// Answers were sent since the last ping.
    pub(super) answered: bool,
    opened_at: u64,
    received_at: u64,
    partial_since: Option<u64>,
    moved_at: u64,
    asked_alive_at: Option<u64>,
    pub(super) next_deadline: u64,
}

/// An error of the whole connection, and the kind of abuse it is counted as.
pub(super) type Broken = (Code, usize);
const PROTOCOL: Broken = (Code::Protocol, abuse::PROTOCOL);
const FLOOD: Broken = (Code::EnhanceYourCalm, abuse::FLOOD);

impl Connection {
    /// A connection that was just accepted; its greeting is in `out`.
    pub fn new<S: Source>(service: &Service<S>, now: u64) -> Self {
        let limits = &service.limits;
        let mut out = Vec::new();
        frame::put_settings(
            &mut out,
            &[
                (setting::MAX_CONCURRENT_STREAMS, limits.streams_per_connection_max as u32),
                (setting::INITIAL_WINDOW_SIZE, stream::WINDOW_BYTES as u32),
                (setting::MAX_HEADER_LIST_SIZE, limits.metadata_bytes_max as u32),
            ],
        );
        frame::put_window(&mut out, 0, (WINDOW_BYTES - frame::WINDOW_BYTES) as u32);
        Self {
            phase: Phase::Greeting,
            decoder: Decoder::default(),
            input: Vec::new(),
            block: None,
            last: 0,
            leave_after: u32::MAX,
            receive_left: WINDOW_BYTES,
            receive_owed: 0,
            headers: Headers::default(),
            streams: Streams::default(),
            send_left: frame::WINDOW_BYTES,
            send_frame_max: frame::PAYLOAD_BYTES_MAX,
            peer_window: frame::WINDOW_BYTES,
            blocked: VecDeque::new(),
            out,
            sent: 0,
            credit: CREDIT_MAX,
            credit_at: now,
            pinged_at: None,
            ping_strikes: 0,
            answered: false,
            opened_at: now,
            received_at: now,
            partial_since: Some(now),
            moved_at: now,
            asked_alive_at: None,
            next_deadline: stream::NEVER,
        }
    }

    /// What is to be sent.
    pub fn output(&self) -> &[u8] {
        &self.out[self.sent..]
    }

    /// Some of the output was sent.
    pub fn written(&mut self, bytes: usize, now: u64) {
        self.sent += bytes;
        self.moved_at = now;
        if self.sent == self.out.len() {
            self.out.clear();
            self.out.shrink_to(OUT_BYTES_MAX);
            self.sent = 0;
        }
    }

    /// Whether more may be read: not while the peer does not take our answers.
    pub fn wants_input(&self) -> bool {
        self.out.len() - self.sent < OUT_BYTES_MAX && self.phase != Phase::Over
    }

    /// Whether nothing more comes of it but the output that waits.
    pub fn over(&self) -> bool {
        self.phase == Phase::Over || (self.phase == Phase::Leaving && self.streams.is_empty())
    }

    /// Lets go of all calls; returns how many there were.
    pub fn abandon(&mut self) -> usize {
        std::mem::take(&mut self.streams).len()
    }

    /// Takes what came.
    pub fn receive<S: Source>(&mut self, data: &[u8], service: &mut Service<S>, now: u64) {
        if self.phase == Phase::Over {
            return;
        }
        (self.received_at, self.asked_alive_at) = (now, None);
        let mut kept = std::mem::take(&mut self.input);
        let fresh = kept.is_empty();
        if !fresh {
            kept.extend_from_slice(data);
        }
        match self.frames(if fresh { data } else { &kept }, service, now) {
            Ok(used) if fresh => kept.extend_from_slice(&data[used..]),
            Ok(used) => drop(kept.drain(..used)),
            Err(broken) => self.break_off(broken, service),
        }
        self.input = kept;
        let partial = !self.input.is_empty() || self.block.is_some() || self.phase == Phase::Greeting;
        self.partial_since = if partial { self.partial_since.or(Some(now)) } else { None };
    }

    /// Ends the connection because of what the peer did.
    fn break_off<S: Source>(&mut self, (code, abuse): Broken, service: &mut Service<S>) {
        service.counters.abuses[abuse].add(1);
        let text: &[u8] = if abuse == abuse::PINGS { b"too_many_pings" } else { b"" };
        frame::put_goaway(&mut self.out, self.last, code, text);
        self.phase = Phase::Over;
    }

    fn frames<S: Source>(
        &mut self,
        data: &[u8],
        service: &mut Service<S>,
        now: u64,
    ) -> Result<usize, Broken> {
        let mut at = 0;
        if self.phase == Phase::Greeting {
            let bytes = data.len().min(frame::PREFACE.len());
            if data[..bytes] != frame::PREFACE[..bytes] {
                return Err(PROTOCOL);
            }
            if bytes < frame::PREFACE.len() {
                return Ok(0);
            }
            (at, self.phase) = (bytes, Phase::Settings);
        }
        while let Some(head) = Head::read(&data[at..]) {
            if head.bytes > frame::PAYLOAD_BYTES_MAX {
                return Err((Code::FrameSize, abuse::PROTOCOL));
            }
            let start = at + HEADER_BYTES;
            let Some(payload) = data.get(start..start + head.bytes) else { break };
            self.frame(head, payload, service, now)?;
            at = start + head.bytes;
        }
        Ok(at)
    }

    fn frame<S: Source>(
        &mut self,
        head: Head,
        payload: &[u8],
        service: &mut Service<S>,
        now: u64,
    ) -> Result<(), Broken> {
        if self.phase == Phase::Settings {
            if head.kind != kind::SETTINGS || head.has(flag::ACK) {
                return Err(PROTOCOL);
            }
            self.phase = Phase::Open;
        }
        if self.block.is_some() && head.kind != kind::CONTINUATION {
            return Err(PROTOCOL);
        }
        match head.kind {
            kind::DATA => self.data(head, payload, service, now),
            kind::HEADERS => self.open(head, payload, service, now),
            kind::CONTINUATION => self.go_on(head, payload, service, now),
            kind::WINDOW_UPDATE => self.window(head, payload, service, now),
            kind::SETTINGS => self.settings(head, payload, service, now),
            kind::PING => self.ping(head, payload, now),
            kind::RST_STREAM => self.reset(head, payload, service),
            kind::PRIORITY => self.priority(head, payload),
            kind::PUSH_PROMISE => Err(PROTOCOL),
            kind::GOAWAY if head.stream != 0 || payload.len() < 8 => Err(PROTOCOL),
            _ => self.cost(1),
        }
    }

    /// Takes credit for a frame that brings no call.
    pub(super) fn cost(&mut self, frames: i64) -> Result<(), Broken> {
        self.credit -= frames;
        if self.credit < 0 { Err(FLOOD) } else { Ok(()) }
    }

    /// Gives credit for a call that was answered.
    pub(super) fn earn(&mut self) {
        self.credit = (self.credit + CREDIT_PER_CALL).min(CREDIT_MAX);
    }

    fn open<S: Source>(
        &mut self,
        head: Head,
        payload: &[u8],
        service: &mut Service<S>,
        now: u64,
    ) -> Result<(), Broken> {
        let mut payload = unpadded(head, payload)?;
        if head.stream.is_multiple_of(2) {
            return Err(PROTOCOL);
        }
        if head.has(flag::PRIORITY) {
            let (priority, rest) = payload.split_at_checked(5).ok_or((Code::FrameSize, abuse::PROTOCOL))?;
            if frame::u32_of(priority) & 0x7fff_ffff == head.stream {
                return Err(PROTOCOL);
            }
            payload = rest;
        }
        let end_stream = head.has(flag::END_STREAM);
        if head.has(flag::END_HEADERS) {
            return self.begin(head.stream, payload, end_stream, service, now);
        }
        self.block = Some(Block { stream: head.stream, end_stream, fragments: 0, bytes: payload.to_vec() });
        Ok(())
    }

    fn go_on<S: Source>(
        &mut self,
        head: Head,
        payload: &[u8],
        service: &mut Service<S>,
        now: u64,
    ) -> Result<(), Broken> {
        let Some(mut block) = self.block.take().filter(|block| block.stream == head.stream) else {
            return Err(PROTOCOL);
        };
        block.fragments += 1;
        block.bytes.extend_from_slice(payload);
        let bytes_max = service.limits.metadata_bytes_max + frame::PAYLOAD_BYTES_MAX;
        if block.fragments > CONTINUATIONS_MAX || block.bytes.len() > bytes_max {
            return Err(FLOOD);
        }
        if head.has(flag::END_HEADERS) {
            return self.begin(block.stream, &block.bytes, block.end_stream, service, now);
        }
        self.block = Some(block);
        Ok(())
    }

    /// A header block is whole: a call begins, or one ends with trailers.
    fn begin<S: Source>(
        &mut self,
        id: u32,
        block: &[u8],
        end_stream: bool,
        service: &mut Service<S>,
        now: u64,
    ) -> Result<(), Broken> {
        const COMPRESSION: Broken = (Code::Compression, abuse::PROTOCOL);
        if id <= self.last {
            let good = request::read_trailers(&mut self.decoder, block).map_err(|_| COMPRESSION)?;
            if !self.streams.has(id) {
                frame::put_reset(&mut self.out, id, Code::StreamClosed);
                return self.cost(1);
            }
            if !good || !end_stream {
                self.refuse(id, Code::Protocol, service);
                return self.cost(1);
            }
            return self.message(id, &[], true, service, now);
        }
        let headers = request::read(&mut self.decoder, block, service.limits.metadata_bytes_max)
            .map_err(|_| COMPRESSION)?;
        if id > self.leave_after {
            return Ok(()); // it opens this call elsewhere: GOAWAY said so
        }
        self.last = id;
        let failure = match headers {
            request::Headers::Malformed => {
                frame::put_reset(&mut self.out, id, Code::Protocol);
                return self.cost(1);
            }
            request::Headers::Call(_) if self.streams.len() >= service.limits.streams_per_connection_max => {
                frame::put_reset(&mut self.out, id, Code::Refused);
                return self.cost(1);
            }
            request::Headers::Call(_) if service.calls >= service.limits.calls_max => {
                Failure::Plain(code::RESOURCE_EXHAUSTED, "Concurrent RPC limit exceeded!".into())
            }
            request::Headers::Failure(failure) => failure,
            request::Headers::Call(call) => {
                let deadline = call.timeout_milliseconds.map_or(stream::NEVER, |timeout| now + timeout);
                let stream = Stream::new(call, deadline, self.peer_window, now);
                service.calls += 1;
                self.next_deadline = self.next_deadline.min(deadline);
                self.streams.put(id, stream);
                return if end_stream { self.message(id, &[], true, service, now) } else { Ok(()) };
            }
        };
        self.headers.put_failure(&mut self.out, id, &failure, true);
        if !end_stream {
            frame::put_reset(&mut self.out, id, Code::NoError);
        }
        self.cost(1)
    }

    fn data<S: Source>(
        &mut self,
        head: Head,
        payload: &[u8],
        service: &mut Service<S>,
        now: u64,
    ) -> Result<(), Broken> {
        if head.stream == 0
            || head.stream > self.last.max(if self.phase == Phase::Leaving { u32::MAX } else { 0 })
        {
            return Err(PROTOCOL);
        }
        let bytes = payload.len() as i64;
        self.receive_left -= bytes;
        self.receive_owed += bytes;
        if self.receive_left < 0 {
            return Err((Code::FlowControl, abuse::PROTOCOL));
        }
        if self.receive_owed > WINDOW_BYTES / 2 {
            frame::put_window(&mut self.out, 0, self.receive_owed as u32);
            self.receive_left += std::mem::take(&mut self.receive_owed);
        }
        let content = unpadded(head, payload)?;
        let end_stream = head.has(flag::END_STREAM);
        if content.is_empty() && !end_stream {
            self.cost(1)?;
        }
        let Some(mut stream) = self.streams.take(head.stream) else {
            // Ended by us, or cancelled: what was on its way is of no use.
            return self.cost(1);
        };
        stream.receive_left -= bytes;
        stream.receive_owed += bytes - content.len() as i64;
        let (ended, over) = (stream.remote_ended, stream.receive_left < 0);
        let counted = stream.content_left.map(|left| left.checked_sub(content.len() as u64));
        stream.content_left = counted.flatten();
        let miscounted =
            counted == Some(None) || (end_stream && stream.content_left.is_some_and(|left| left != 0));
        self.streams.put(head.stream, stream);
        if ended || over || miscounted {
            let code = if ended {
                Code::StreamClosed
            } else if over {
                Code::FlowControl
            } else {
                Code::Protocol
            };
            self.refuse(head.stream, code, service);
            return self.cost(1);
        }
        self.message(head.stream, content, end_stream, service, now)
    }

    /// Ends a call with a reset.
    fn refuse<S: Source>(&mut self, id: u32, code: Code, service: &mut Service<S>) {
        if self.streams.take(id).is_some() {
            service.calls -= 1;
        }
        frame::put_reset(&mut self.out, id, code);
    }

    fn reset<S: Source>(
        &mut self,
        head: Head,
        payload: &[u8],
        service: &mut Service<S>,
    ) -> Result<(), Broken> {
        if payload.len() != 4 {
            return Err((Code::FrameSize, abuse::PROTOCOL));
        }
        if head.stream == 0 || (head.stream > self.last && self.phase != Phase::Leaving) {
            return Err(PROTOCOL);
        }
        if self.streams.take(head.stream).is_some() {
            service.calls -= 1;
        }
        self.cost(1)
    }

    fn priority(&mut self, head: Head, payload: &[u8]) -> Result<(), Broken> {
        if head.stream == 0 {
            return Err(PROTOCOL);
        }
        if payload.len() != 5 {
            return Err((Code::FrameSize, abuse::PROTOCOL));
        }
        if frame::u32_of(payload) & 0x7fff_ffff == head.stream {
            return Err(PROTOCOL);
        }
        self.cost(1)
    }

    fn settings<S: Source>(
        &mut self,
        head: Head,
        payload: &[u8],
        service: &mut Service<S>,
        now: u64,
    ) -> Result<(), Broken> {
        if head.stream != 0 {
            return Err(PROTOCOL);
        }
        if !payload.len().is_multiple_of(6) || (head.has(flag::ACK) && !payload.is_empty()) {
            return Err((Code::FrameSize, abuse::PROTOCOL));
        }
        if head.has(flag::ACK) {
            return self.cost(1);
        }
        for entry in payload.chunks_exact(6) {
            let value = frame::u32_of(&entry[2..]);
            match u16::from_be_bytes([entry[0], entry[1]]) {
                setting::HEADER_TABLE_SIZE => self.headers.table_bytes(value),
                setting::ENABLE_PUSH if value > 1 => return Err(PROTOCOL),
                setting::INITIAL_WINDOW_SIZE => {
                    if i64::from(value) > frame::WINDOW_BYTES_MAX {
                        return Err((Code::FlowControl, abuse::PROTOCOL));
                    }
                    let more = i64::from(value) - self.peer_window;
                    self.peer_window = value.into();
                    let mut over = false;
                    self.streams.each(|_, stream| {
                        stream.send_left += more;
                        over |= stream.send_left > frame::WINDOW_BYTES_MAX;
                    });
                    if over {
                        return Err((Code::FlowControl, abuse::PROTOCOL));
                    }
                }
                setting::MAX_FRAME_SIZE => {
                    if !(frame::PAYLOAD_BYTES_MAX..1 << 24).contains(&(value as usize)) {
                        return Err(PROTOCOL);
                    }
                    self.send_frame_max = value as usize;
                }
                _ => {}
            }
        }
        frame::put_head(&mut self.out, 0, kind::SETTINGS, flag::ACK, 0);
        self.unblock(service, now);
        self.cost(1)
    }

    fn window<S: Source>(
        &mut self,
        head: Head,
        payload: &[u8],
        service: &mut Service<S>,
        now: u64,
    ) -> Result<(), Broken> {
        if payload.len() != 4 {
            return Err((Code::FrameSize, abuse::PROTOCOL));
        }
        let more = i64::from(frame::u32_of(payload) & 0x7fff_ffff);
        if more == 0 || (head.stream > self.last && self.phase != Phase::Leaving) {
            return Err(PROTOCOL);
        }
        self.cost(1)?;
        if head.stream == 0 {
            self.send_left += more;
            if self.send_left > frame::WINDOW_BYTES_MAX {
                return Err((Code::FlowControl, abuse::PROTOCOL));
            }
            self.unblock(service, now);
            return Ok(());
        }
        let Some(mut stream) = self.streams.take(head.stream) else { return Ok(()) };
        stream.send_left += more;
        let over = stream.send_left > frame::WINDOW_BYTES_MAX;
        self.streams.put(head.stream, stream);
        if over {
            self.refuse(head.stream, Code::FlowControl, service);
        } else {
            self.resume(head.stream, service, now);
        }
        Ok(())
    }

    fn ping(&mut self, head: Head, payload: &[u8], now: u64) -> Result<(), Broken> {
        if head.stream != 0 {
            return Err(PROTOCOL);
        }
        let data: &[u8; 8] = payload.try_into().map_err(|_| (Code::FrameSize, abuse::PROTOCOL))?;
        if head.has(flag::ACK) {
            if *data == DRAIN_PING && matches!(self.phase, Phase::Asked(_)) {
                self.leave();
            }
            return self.cost(1);
        }
        // As gRPC's servers do: pings beside answers are how clients measure.
        let soon = self.pinged_at.is_some_and(|last| now < last + PING_MILLISECONDS_MIN);
        self.ping_strikes =
            if std::mem::take(&mut self.answered) { 0 } else { self.ping_strikes + u32::from(soon) };
        self.pinged_at = Some(now);
        if self.ping_strikes > PING_STRIKES_MAX {
            return Err((Code::EnhanceYourCalm, abuse::PINGS));
        }
        frame::put_ping(&mut self.out, flag::ACK, data);
        Ok(())
    }

    /// Asks the peer to open its next calls elsewhere; those on their way are still taken.
    pub fn drain(&mut self, now: u64) {
        match self.phase {
            Phase::Greeting | Phase::Settings => self.leave(),
            Phase::Open => {
                frame::put_goaway(&mut self.out, i32::MAX as u32, Code::NoError, b"");
                frame::put_ping(&mut self.out, 0, &DRAIN_PING);
                self.phase = Phase::Asked(now);
            }
            _ => {}
        }
    }

    fn leave(&mut self) {
        frame::put_goaway(&mut self.out, self.last, Code::NoError, b"");
        self.leave_after = self.last;
        self.phase = Phase::Leaving;
    }

    /// Upkeep, some times a second; false where the connection is to be closed at once.
    pub fn tick<S: Source>(&mut self, service: &mut Service<S>, now: u64) -> bool {
        let (limits, earned) = (service.limits, (now - self.credit_at) * CREDIT_PER_SECOND / 1000);
        if earned > 0 {
            self.credit = (self.credit + earned as i64).min(CREDIT_MAX);
            self.credit_at = now;
        }
        let waits = !self.output().is_empty() || !self.blocked.is_empty();
        if !waits {
            self.moved_at = now;
        }
        let since = self.partial_since.unwrap_or(now).min(self.moved_at);
        if now - since > limits.stall_milliseconds_max {
            service.counters.abuses[abuse::STALLED].add(1);
            return false;
        }
        if let Some(asked) = self.asked_alive_at {
            if now - asked > limits.keepalive_timeout_milliseconds {
                return false;
            }
        } else if now - self.received_at > limits.keepalive_milliseconds && self.phase == Phase::Open {
            frame::put_ping(&mut self.out, 0, &KEEPALIVE_PING);
            self.asked_alive_at = Some(now);
        }
        if let Phase::Asked(asked) = self.phase
            && now - asked > NOTICE_MILLISECONDS_MAX
        {
            self.leave();
        }
        let age_max = limits.age_milliseconds_max;
        if age_max != 0 && now - self.opened_at > age_max {
            self.drain(now);
            if now - self.opened_at > age_max + limits.drain_milliseconds_max {
                return false;
            }
        }
        if now >= self.next_deadline {
            self.expire(service, now);
        }
        true
    }
}

/// The content of a frame that may be padded.
fn unpadded(head: Head, payload: &[u8]) -> Result<&[u8], Broken> {
    if !head.has(flag::PADDED) {
        return Ok(payload);
    }
    let (padding, rest) = payload.split_first().ok_or((Code::FrameSize, abuse::PROTOCOL))?;
    let bytes = rest.len().checked_sub(usize::from(*padding)).ok_or(PROTOCOL)?;
    Ok(&rest[..bytes])
}
