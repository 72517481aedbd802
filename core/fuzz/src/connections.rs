//! Bytes of peers: whatever they send, what they get are frames within their windows, and every call is accounted for.

use std::collections::HashMap;
use std::sync::Arc;

use eir_core::check::{Question, Verdict};
use eir_core::counters::Counters;
use eir_core::server::connection::Connection;
use eir_core::server::frame::{self, HEADER_BYTES, Head, flag, kind, setting};
use eir_core::server::hpack::Decoder;
use eir_core::server::service::{Judge, Service, Source};
use eir_core::server::{Limits, Shared};
use eir_core::sightings::{Queues, Wanted};

use crate::random::Random;

const LIMITS: Limits = Limits {
    batch_rows_max: 64,
    message_bytes_max: 4096,
    metadata_bytes_max: 1024,
    streams_per_connection_max: 8,
    calls_max: 100,
    answers_bytes_max: 256,
    connection_bytes_max: 64 << 10,
    held_bytes_max: 1 << 20,
    turn_rows: 64,
    stall_milliseconds_max: 1000,
    keepalive_milliseconds: 500,
    keepalive_timeout_milliseconds: 500,
    age_milliseconds_max: 20_000,
    drain_milliseconds_max: 1000,
    connections_max: 10,
};
/// What a connection may hold of output: its bound, and what comes of one frame and of checks that were gathered.
const OUT_BYTES_MAX: usize = (256 + 128) << 10;

struct Allows;

impl Judge for Allows {
    fn check(&self, question: &Question<'_>, now: u64) -> Verdict {
        let status = 1 + (question.imei.len() % 4) as u8;
        Verdict { status, reason: 16, deadline: now, serial: 7, cache_seconds: 60, ..Verdict::default() }
    }

    fn check_batch(&self, questions: &[Question<'_>], now: u64, out: &mut Vec<Verdict>) {
        out.extend(questions.iter().map(|question| self.check(question, now)));
    }

    fn status_map(&self, _: &[u8]) -> &[u8] {
        &[0, 1, 2, 3, 4]
    }

    fn state(&self) -> (u64, bool) {
        (7, false)
    }
}

impl Source for Allows {
    type Judge = Self;
    type Held = Self;

    fn hold(&self) -> Self {
        Self
    }

    fn judge(held: &Self) -> Option<&Self> {
        Some(held)
    }
}

/// Gives bytes to a connection in parts, as time goes by; returns how many frames came back.
pub fn read(data: &[u8]) -> u64 {
    let Some((how, mut rest)) = data.split_first() else { return 0 };
    let shared = Arc::new(Shared::new(Wanted::default()));
    let (counters, queues) = (Arc::new(Counters::default()), Arc::new(Queues::default()));
    let mut service = Service::new(Arc::new(Allows), shared, LIMITS, counters, queues);
    let (mut now, mut peer) = (0, Peer::new());
    let mut connection = Connection::new(&service, now);
    let greeting = [frame::PREFACE, b"\0\0\0\x04\0\0\0\0\0"].concat();
    if how & 0x80 == 0 {
        connection.receive(&greeting, &mut service, now);
        peer.said(&greeting);
    }
    let part = 1 + usize::from(how & 0x3f) * 16;
    while !rest.is_empty() {
        let (taken, after) = rest.split_at(part.min(rest.len()));
        rest = after;
        service.turn();
        if connection.wants_input(&service) {
            connection.receive(taken, &mut service, now);
            peer.said(taken);
        }
        now += u64::from(taken[0] % 32);
        if how & 0x40 != 0 && taken.len() > 9 && taken[8] == 77 {
            connection.drain(now);
        }
        if !connection.tick(&mut service, now) {
            break;
        }
        peer.take(&mut connection, &mut service, now);
    }
    connection.abandon(&mut service);
    assert!(service.is_idle());
    peer.frames
}

/// What may come on a stream, and what came, in bytes.
#[derive(Clone, Copy)]
struct Window {
    /// The largest that SETTINGS have given since it began.
    first: u64,
    more: u64,
    came: u64,
}

impl Window {
    fn new(first: u64) -> Self {
        Self { first, more: 0, came: 0 }
    }
}

/// What a peer said that bears on what it gets, and how far its calls are.
struct Peer {
    decoder: Decoder,
    frames: u64,
    /// What was said and is no whole frame yet, the greeting before the first.
    input: Vec<u8>,
    greeted: bool,
    /// With which a stream begins.
    window: u64,
    /// By stream, 0 for the connection.
    windows: HashMap<u32, Window>,
    /// By stream: whether it has ended. One that is not here has not begun.
    ended: HashMap<u32, bool>,
}

impl Peer {
    fn new() -> Self {
        Self {
            decoder: Decoder::default(),
            frames: 0,
            input: Vec::new(),
            greeted: false,
            window: frame::WINDOW_BYTES as u64,
            windows: HashMap::from([(0, Window::new(frame::WINDOW_BYTES as u64))]),
            ended: HashMap::new(),
        }
    }

    /// Notes what opens windows: more than the server takes of it, where that breaks off.
    fn said(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
        if !self.greeted && self.input.len() >= frame::PREFACE.len() {
            self.greeted = true;
            self.input.drain(..frame::PREFACE.len());
        }
        while self.greeted
            && let Some(head) = Head::read(&self.input)
            && self.input.len() >= HEADER_BYTES + head.bytes
        {
            let frame: Vec<u8> = self.input.drain(..HEADER_BYTES + head.bytes).collect();
            let payload = &frame[HEADER_BYTES..];
            match head.kind {
                kind::HEADERS => {
                    self.windows.entry(head.stream).or_insert(Window::new(self.window));
                }
                kind::WINDOW_UPDATE => {
                    if let Some(window) = self.windows.get_mut(&head.stream) {
                        window.more += u64::from(frame::u32_of(payload) & 0x7fff_ffff);
                    }
                }
                kind::SETTINGS => {
                    let named = setting::INITIAL_WINDOW_SIZE.to_be_bytes();
                    // Of several in one frame the last counts.
                    let last = payload.chunks_exact(6).rfind(|entry| entry[..2] == named);
                    self.window = last.map_or(self.window, |entry| frame::u32_of(&entry[2..]).into());
                    let streams = self.windows.iter_mut().filter(|(stream, _)| **stream != 0);
                    streams.for_each(|(_, window)| window.first = window.first.max(self.window));
                }
                _ => {}
            }
        }
    }

    /// Takes what was sent: frames that a peer can read, in the order of a call, within its windows.
    fn take(&mut self, connection: &mut Connection, service: &mut Service<Allows>, now: u64) {
        let mut out = Vec::new();
        loop {
            let bytes = connection.output().len();
            assert!(bytes < OUT_BYTES_MAX);
            out.extend_from_slice(connection.output());
            connection.written(bytes, now);
            connection.count_held(service);
            if now.is_multiple_of(2) {
                service.turn();
            }
            if !connection.proceed(service, now) {
                break;
            }
        }
        let mut rest = out.as_slice();
        while let Some(head) = Head::read(rest) {
            let payload = &rest[HEADER_BYTES..HEADER_BYTES + head.bytes];
            rest = &rest[HEADER_BYTES + head.bytes..];
            self.frames += 1;
            match head.kind {
                kind::HEADERS => self.headers(head, payload),
                kind::DATA => self.data(head),
                kind::RST_STREAM => {
                    assert_eq!(payload.len(), 4);
                    self.ended.insert(head.stream, true);
                }
                kind::WINDOW_UPDATE => assert_eq!(payload.len(), 4),
                kind::SETTINGS | kind::PING | kind::GOAWAY => assert_eq!(head.stream, 0),
                other => panic!("a frame of kind {other}"),
            }
        }
        assert!(rest.is_empty());
    }

    fn headers(&mut self, head: Head, payload: &[u8]) {
        let (mut http, mut grpc) = (Vec::new(), false);
        let field = |name: &[u8], value: &[u8]| match name {
            b":status" => http = value.to_vec(),
            b"grpc-status" => grpc = true,
            _ => {}
        };
        self.decoder.decode(payload, 1 << 16, field).expect("our own headers");
        let last = head.has(flag::END_STREAM);
        let before = self.ended.insert(head.stream, last);
        assert_eq!(before.is_none(), !http.is_empty(), "headers once, and first");
        assert!(before != Some(true) && (before.is_none() || last), "stream {} goes on", head.stream);
        assert_eq!(grpc, last && (http.is_empty() || http == b"200"), "a status ends a call, once");
    }

    fn data(&mut self, head: Head) {
        assert_eq!(self.ended.get(&head.stream), Some(&false), "an answer of stream {}", head.stream);
        for stream in [0, head.stream] {
            let window = self.windows.get_mut(&stream).expect("a stream that the peer began");
            window.came += head.bytes as u64;
            assert!(window.came <= window.first + window.more, "more than the window of {stream}");
        }
    }
}

fn put(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    frame::put_head(out, payload.len(), kind, flags, stream);
    out.extend_from_slice(payload);
}

fn block(random: &mut Random) -> Vec<u8> {
    let path = [
        "/eir.v1.EquipmentCheckService/CheckEquipment",
        "/eir.v1.EquipmentCheckService/StreamCheckEquipment",
        "/eir.v1.EquipmentCheckService/BatchCheckEquipment",
        "/grpc.health.v1.Health/Check",
        "/grpc.health.v1.Health/Watch",
        "/nothing",
    ][random.below(6)];
    let mut block = vec![0x83, 0x86, 0x04, path.len() as u8];
    block.extend(path.bytes());
    block.extend(b"\x0f\x10\x10application/grpc");
    match random.below(6) {
        0 => block.extend(b"\x00\x0cgrpc-timeout\x0220"), // no time
        1 => block.extend(b"\x00\x0cgrpc-timeout\x0320m"),
        2 => block.extend(b"\x00\x0dgrpc-encoding\x04gzip"),
        _ => {}
    }
    block
}

/// Frames as a client sends them, in an order that one may not, with some damage.
pub fn damaged(random: &mut Random) -> Vec<u8> {
    let mut out = vec![random.number() as u8 & 0x7f];
    let mut last = 1;
    for place in 0..1 + random.below(40) {
        let known = 1 + 2 * random.below(last as usize / 2 + 1) as u32;
        let stream = if random.below(60) == 0 { random.below(40) as u32 } else { known };
        match if place == 0 { 0 } else { random.below(40) } {
            0..=13 => {
                last += 2;
                let flags = [4, 4, 4, 5, 0][random.below(5)];
                put(&mut out, kind::HEADERS, flags, last, &block(random));
            }
            14..=29 => {
                let message = crate::messages::damaged(random);
                let mut content = vec![random.below(8) as u8 / 7];
                content.extend((message.len() as u32).to_be_bytes());
                content.extend(message);
                let end = random.below(content.len() + 1).max(content.len() * random.below(2));
                let flags = [0, 1, 1, 8][random.below(4)];
                put(&mut out, kind::DATA, flags, [last, stream][random.below(2)], &content[..end]);
            }
            30..=33 => {
                let more = [1, 100, 65_535, 0x7fff_ffff][random.below(40) / 13];
                frame::put_window(&mut out, [0, stream][random.below(2)], more);
            }
            34 => {
                let name = [setting::HEADER_TABLE_SIZE, random.below(9) as u16][random.below(8) / 7];
                let value = [0, 1, 100, 65_535, u32::MAX][random.below(5)];
                frame::put_settings(
                    &mut out,
                    &[(name, value), (setting::INITIAL_WINDOW_SIZE, random.below(25) as u32)],
                );
            }
            35 | 36 => frame::put_reset(&mut out, stream, frame::Code::NoError),
            37 | 38 => frame::put_ping(&mut out, random.below(2) as u8, b"eirdrain"),
            _ => {
                let payload = random.number().to_le_bytes();
                put(
                    &mut out,
                    random.below(12) as u8,
                    random.number() as u8,
                    stream,
                    &payload[..random.below(9)],
                );
            }
        }
    }
    for _ in 0..random.below(8) / 5 {
        let at = random.below(out.len());
        out[at] = random.number() as u8;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_are_answered_whatever_they_send() {
        let mut random = Random(1);
        let frames: u64 = (0..500).map(|_| read(&damaged(&mut random))).sum();
        assert!(frames > 3000, "{frames}");
    }
}
