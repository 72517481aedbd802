//! A connection of HTTP/2 (RFC 9113): frames in, frames out. No socket, no clock.
//!
//! Times are milliseconds of a monotonic clock, given with every call.

mod begin;
mod flow;
mod memory;
mod upkeep;

use std::collections::VecDeque;

use super::answer::Headers;
use super::frame::{self, Code, HEADER_BYTES, Head, flag, kind, setting};
use super::hpack::Decoder;
use super::service::{Service, Source};
use super::stream::{self, Streams};
use super::together::Together;
use crate::counters::abuse;

/// What a peer may send on a connection before it is told to go on.
const WINDOW_BYTES: i64 = 8 << 20;
/// Frames that cost us something and bring no call: so many may come beyond what calls and time bring back.
const CREDIT_MAX: i64 = 10_000;
/// Output that waits for the socket, from which on nothing more is read.
const OUT_BYTES_MAX: usize = 256 << 10;

/// How far a connection is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Greeting,
    Settings,
    Open,
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
    /// Since when the peer is asked to go.
    asked_at: Option<u64>,
    /// Calls that come until this time are still taken then.
    leaves_at: u64,
    /// Calls above this stream are not taken any more.
    left_after: Option<u32>,
    receive_left: i64,
    receive_owed: i64,
    pub(super) headers: Headers,
    pub(super) streams: Streams,
    /// Calls that began and have not ended: those in `streams`, and the one at hand.
    calls: usize,
    /// What of the service's `held` is this connection's.
    pub(super) held: usize,
    pub(super) send_left: i64,
    pub(super) send_frame_max: usize,
    peer_window: i64,
    /// Calls with answers that only the connection's window holds back.
    pub(super) blocked: VecDeque<u32>,
    pub(super) out: Vec<u8>,
    sent: usize,
    /// Frames that came wait until output is taken, or for the next turn.
    stopped: bool,
    pub(super) credit: i64,
    credit_at: u64,
    pinged_at: Option<u64>,
    ping_strikes: u32,
    /// Answers were sent since the last ping.
    pub(super) answered: bool,
    opened_at: u64,
    received_at: u64,
    /// When the frames came that are taken now, or that wait.
    came_at: u64,
    partial_since: Option<u64>,
    moved_at: u64,
    asked_alive_at: Option<u64>,
    looked_at: u64,
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
            asked_at: None,
            leaves_at: stream::NEVER,
            left_after: None,
            receive_left: WINDOW_BYTES,
            receive_owed: 0,
            headers: Headers::default(),
            streams: Streams::default(),
            calls: 0,
            held: 0,
            send_left: frame::WINDOW_BYTES,
            send_frame_max: frame::PAYLOAD_BYTES_MAX,
            peer_window: frame::WINDOW_BYTES,
            blocked: VecDeque::new(),
            out,
            sent: 0,
            stopped: false,
            credit: CREDIT_MAX,
            credit_at: now,
            pinged_at: None,
            ping_strikes: 0,
            answered: false,
            opened_at: now,
            received_at: now,
            came_at: now,
            partial_since: Some(now),
            moved_at: now,
            asked_alive_at: None,
            looked_at: now,
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
        } else if self.sent >= OUT_BYTES_MAX {
            // A peer that reads, and never all, must not make it grow.
            self.out.drain(..self.sent);
            self.sent = 0;
        }
    }

    /// Whether nothing more comes of it but the output that waits.
    pub fn over(&self) -> bool {
        self.phase == Phase::Over || (self.left_after.is_some() && self.streams.is_empty())
    }

    /// Takes what came.
    pub fn receive<S: Source>(&mut self, data: &[u8], service: &mut Service<S>, now: u64) {
        if self.over() {
            return;
        }
        (self.received_at, self.asked_alive_at) = (now, None);
        if !self.stopped {
            self.came_at = now;
        }
        self.take(data, service, now);
    }

    /// Takes what came before and was not used, and more.
    fn take<S: Source>(&mut self, data: &[u8], service: &mut Service<S>, now: u64) {
        service.begin();
        // A frame that was not whole is made so; what comes behind it is taken from where it was read.
        let mut kept = std::mem::take(&mut self.input);
        let (end, rest) = data.split_at(self.missing(&kept, data));
        kept.extend_from_slice(end);
        let mut together = std::mem::take(&mut service.together).renewed();
        let used = match self.frames(&kept, &mut together, service, now) {
            Ok(used) if used == kept.len() => {
                self.frames(rest, &mut together, service, now).map(|more| (used, more))
            }
            used => used.map(|used| (used, 0)),
        };
        self.answer(&mut together, service);
        service.together = together.renewed();
        match used {
            Ok((used, more)) => {
                drop(kept.drain(..used));
                kept.extend_from_slice(&rest[more..]);
                if used + more > 0 {
                    self.partial_since = None;
                }
            }
            Err(broken) => self.break_off(broken, service),
        }
        service.rest();
        self.input = kept;
        self.count_held(service);
        let greets = matches!(self.phase, Phase::Greeting | Phase::Settings);
        let partial = (!self.input.is_empty() && !self.stopped) || self.block.is_some() || greets;
        self.partial_since = if partial { self.partial_since.or(Some(now)) } else { None };
    }

    /// Ends the connection because of what the peer did.
    fn break_off<S: Source>(&mut self, (code, abuse): Broken, service: &mut Service<S>) {
        service.counters.abuses[abuse].add(1);
        let text: &[u8] = if abuse == abuse::PINGS { b"too_many_pings" } else { b"" };
        frame::put_goaway(&mut self.out, self.last, code, text);
        self.phase = Phase::Over;
    }

    /// How much of some data makes the frame whole that was kept; all, where it is not known yet, or more was kept.
    fn missing(&self, kept: &[u8], data: &[u8]) -> usize {
        let whole = if self.stopped {
            return data.len();
        } else if kept.is_empty() {
            0
        } else if self.phase == Phase::Greeting {
            frame::PREFACE.len()
        } else {
            let mut head = [0; HEADER_BYTES];
            let known = kept.iter().chain(data);
            head.iter_mut().zip(known).for_each(|(byte, known)| *byte = *known);
            HEADER_BYTES + Head::read(&head).map_or(0, |head| head.bytes)
        };
        whole.saturating_sub(kept.len()).min(data.len())
    }

    /// Takes the frames of some data; returns where those end that are whole.
    fn frames<'d, S: Source>(
        &mut self,
        data: &'d [u8],
        together: &mut Together<'d>,
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
        self.stopped = false;
        while let Some(head) = Head::read(&data[at..]) {
            if self.stops(service) {
                break;
            }
            if head.bytes > frame::PAYLOAD_BYTES_MAX {
                return Err((Code::FrameSize, abuse::PROTOCOL));
            }
            let start = at + HEADER_BYTES;
            let Some(payload) = data.get(start..start + head.bytes) else { break };
            self.frame(head, payload, together, service, now)?;
            at = start + head.bytes;
        }
        Ok(at)
    }

    fn frame<'d, S: Source>(
        &mut self,
        head: Head,
        payload: &'d [u8],
        together: &mut Together<'d>,
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
        // What is gathered is answered before anything else happens to its calls; a new call is none of them.
        let apart = head.kind == kind::DATA || (head.kind == kind::HEADERS && head.stream > self.last);
        if !apart || self.calls >= service.calls_share() {
            self.answer(together, service);
        }
        match head.kind {
            kind::DATA => self.data(head, payload, together, service, now),
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

    /// Whether no call has ever had this stream: those that came after the farewell were not looked at.
    fn idle(&self, stream: u32) -> bool {
        stream > self.last && self.left_after.is_none()
    }

    /// Takes credit for a frame that brings no call.
    pub(super) fn cost(&mut self, frames: i64) -> Result<(), Broken> {
        self.credit -= frames;
        if self.credit < 0 { Err(FLOOD) } else { Ok(()) }
    }

    /// Gives credit: for a call that was answered, or bytes that were sent.
    pub(super) fn earn(&mut self, credit: i64) {
        self.credit = (self.credit + credit).min(CREDIT_MAX);
    }

    /// A call has ended, however.
    pub(super) fn ended<S: Source>(&mut self, service: &mut Service<S>) {
        self.calls -= 1;
        service.calls -= 1;
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
