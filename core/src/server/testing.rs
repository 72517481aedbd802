//! What the server's tests share: a judge, a client that is bytes, and its messages.

use std::io::Write;
use std::sync::Arc;

use super::connection::Connection;
use super::frame::{self, HEADER_BYTES, Head, flag, kind};
use super::service::{Judge, Service, Source};
use super::{Limits, Shared};
use crate::case_table;
use crate::check::{Question, Verdict};
use crate::counters::Counters;
use crate::sightings::{Queues, Wanted};

/// Whitelists all, but panics at the IMEI "panic"; the client "strict" is told that they are blacklisted. IMEIs that
/// begin with an 8 are unpaired.
pub struct Fake;

impl Judge for Fake {
    fn check(&self, question: &Question<'_>, _: u64) -> Verdict {
        assert!(question.imei != b"panic");
        let unpaired = question.imei.starts_with(b"8").then(|| pair_of(question.imei));
        Verdict { status: 1, reason: 16, serial: 7, cache_seconds: 60, unpaired, ..Verdict::default() }
    }

    fn check_batch(&self, questions: &[Question<'_>], now: u64, out: &mut Vec<Verdict>) {
        out.extend(questions.iter().map(|question| self.check(question, now)));
    }

    fn status_map(&self, client: &[u8]) -> &[u8] {
        if client == b"strict" { &[0, 3, 2, 3, 4] } else { &[0, 1, 2, 3, 4] }
    }

    fn state(&self) -> (u64, bool) {
        (7, false)
    }
}

/// What an IMEI that is unpaired is known by.
pub fn pair_of(imei: &[u8]) -> case_table::Pair {
    case_table::Pair { key: imei.iter().map(|byte| u64::from(*byte)).sum(), imsi: 1 }
}

impl Source for Fake {
    type Judge = Self;
    type Held = Self;

    fn hold(&self) -> Self {
        Self
    }

    fn judge(held: &Self) -> Option<&Self> {
        Some(held)
    }
}

pub struct Pair {
    pub connection: Connection,
    pub service: Service<Fake>,
    pub now: u64,
}

impl Pair {
    pub fn new(limits: Limits) -> Self {
        Self::that_keeps(Wanted::default(), limits)
    }

    pub fn that_keeps(wanted: Wanted, limits: Limits) -> Self {
        let (counters, queues) = (Arc::new(Counters::default()), Arc::new(Queues::default()));
        let shared = Arc::new(Shared::new(wanted));
        let mut service = Service::new(Arc::new(Fake), shared, limits, counters, queues);
        let mut connection = Connection::new(&service, 0);
        let mut greeting = frame::PREFACE.to_vec();
        frame::put_settings(&mut greeting, &[]);
        connection.receive(&greeting, &mut service, 0);
        let mut pair = Self { connection, service, now: 0 };
        assert_eq!(pair.sent().iter().map(|sent| sent.0).collect::<Vec<_>>(), [4, 8, 4]);
        pair
    }

    /// Kinds, streams and payloads of the frames that were sent.
    pub fn sent(&mut self) -> Vec<(u8, u32, Vec<u8>)> {
        let mut out = Vec::new();
        loop {
            out.extend_from_slice(self.connection.output());
            self.connection.written(self.connection.output().len(), self.now);
            self.connection.count_held(&mut self.service);
            self.service.turn();
            if !self.connection.proceed(&mut self.service, self.now) {
                break;
            }
        }
        let (mut rest, mut frames) = (out.as_slice(), Vec::new());
        while let Some(head) = Head::read(rest) {
            let end = HEADER_BYTES + head.bytes;
            frames.push((head.kind, head.stream, rest[HEADER_BYTES..end].to_vec()));
            rest = &rest[end..];
        }
        frames
    }

    pub fn receive(&mut self, data: &[u8]) -> Vec<(u8, u32, Vec<u8>)> {
        give(&mut self.connection, data, &mut self.service, self.now);
        self.sent()
    }
}

/// Gives a connection what came, and as many turns as it wants.
pub fn give(connection: &mut Connection, data: &[u8], service: &mut Service<Fake>, now: u64) {
    service.turn();
    connection.receive(data, service, now);
    while connection.waits_for_turn(service) {
        service.turn();
        connection.proceed(service, now);
    }
}

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    frame::put_head(&mut out, payload.len(), kind, flags, stream);
    out.extend(payload);
    out
}

pub fn window(stream: u32, bytes: u32) -> Vec<u8> {
    frame(kind::WINDOW_UPDATE, 0, stream, &bytes.to_be_bytes())
}

pub fn headers(stream: u32, method: &str, flags: u8) -> Vec<u8> {
    headers_with(stream, method, flags, &[])
}

pub fn headers_with(stream: u32, method: &str, flags: u8, fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = vec![0x83, 0x86, 0x04];
    let path = format!("/eir.v1.EquipmentCheckService/{method}");
    block.push(path.len() as u8);
    block.extend(path.bytes());
    block.extend(b"\x0f\x10\x10application/grpc");
    for (name, value) in fields {
        block.extend([0, name.len() as u8]);
        block.extend(name.bytes());
        block.push(value.len() as u8);
        block.extend(value.bytes());
    }
    frame(kind::HEADERS, flags, stream, &block)
}

pub fn data(stream: u32, messages: &[&[u8]], flags: u8) -> Vec<u8> {
    let content: Vec<u8> = messages
        .iter()
        .flat_map(|message| [&[0_u8][..], &(message.len() as u32).to_be_bytes(), *message].concat())
        .collect();
    let mut out = Vec::new();
    frame::put_head(&mut out, content.len(), kind::DATA, flags, stream);
    out.extend(content);
    out
}

pub const WHOLE: u8 = flag::END_HEADERS;
pub const LAST: u8 = flag::END_STREAM;
pub const CHECK: &[u8] = b"\x0a\x03abc\x32\x01r";
pub const ANSWER: &[u8] = b"\x00\x00\x00\x00\x0b\x08\x01\x10\x10\x20\x07\x30\x3c\x3a\x01r";

pub fn unary(stream: u32, message: &[u8]) -> Vec<u8> {
    [headers(stream, "CheckEquipment", WHOLE), data(stream, &[message], LAST)].concat()
}

pub fn gzip(message: &[u8]) -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    packer.write_all(message).unwrap();
    packer.finish().unwrap()
}

/// A batch that comes compressed.
pub fn compressed(stream: u32, packed: &[u8]) -> Vec<u8> {
    let content = [&[1], &(packed.len() as u32).to_be_bytes()[..], packed].concat();
    let head = headers_with(stream, "BatchCheckEquipment", WHOLE, &[("grpc-encoding", "gzip")]);
    [head, frame(kind::DATA, LAST, stream, &content)].concat()
}

/// Batches of many rows in few bytes, of which each is answered with far more.
pub fn dense_batches(count: u32) -> Vec<u8> {
    let packed = gzip(&b"\x0a\x011".repeat(4096));
    (0..count).flat_map(|call| compressed(2 * call + 1, &packed)).collect()
}

/// Numbers that a seed makes (xorshift).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }
}
