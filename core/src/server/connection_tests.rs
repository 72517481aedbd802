//! A connection against a client that is bytes.

use std::sync::Arc;

use super::Limits;
use super::connection::Connection;
use super::frame::{self, HEADER_BYTES, Head, flag, kind};
use super::service::{Judge, Service, Source};
use crate::check::{Question, Verdict};
use crate::counters::Counters;
use crate::sightings::Queues;

/// Whitelists all, but panics at the IMEI "panic".
struct Fake;

impl Judge for Fake {
    fn check(&self, question: &Question<'_>, _: u64) -> Verdict {
        assert!(question.imei != b"panic");
        Verdict { status: 1, reason: 16, deadline: 0, serial: 7, stale: false, cache_seconds: 60 }
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

impl Source for Fake {
    type Judge = Self;

    fn with<R>(&self, work: impl FnOnce(Option<&Self>) -> R) -> R {
        work(Some(self))
    }
}

struct Pair {
    connection: Connection,
    service: Service<Fake>,
    now: u64,
}

impl Pair {
    fn new(limits: Limits) -> Self {
        let counters = Arc::new(Counters::default());
        let mut service =
            Service::new(Arc::new(Fake), Arc::default(), limits, counters, Arc::new(Queues::default()));
        let mut connection = Connection::new(&service, 0);
        let mut greeting = frame::PREFACE.to_vec();
        frame::put_settings(&mut greeting, &[]);
        connection.receive(&greeting, &mut service, 0);
        let mut pair = Self { connection, service, now: 0 };
        assert_eq!(pair.sent().iter().map(|sent| sent.0).collect::<Vec<_>>(), [4, 8, 4]);
        pair
    }

    /// Kinds, streams and payloads of the frames that were sent.
    fn sent(&mut self) -> Vec<(u8, u32, Vec<u8>)> {
        let out = self.connection.output().to_vec();
        self.connection.written(out.len(), self.now);
        let (mut rest, mut frames) = (out.as_slice(), Vec::new());
        while let Some(head) = Head::read(rest) {
            let end = HEADER_BYTES + head.bytes;
            frames.push((head.kind, head.stream, rest[HEADER_BYTES..end].to_vec()));
            rest = &rest[end..];
        }
        frames
    }

    fn receive(&mut self, data: &[u8]) -> Vec<(u8, u32, Vec<u8>)> {
        self.connection.receive(data, &mut self.service, self.now);
        self.sent()
    }
}

fn headers(stream: u32, method: &str, flags: u8) -> Vec<u8> {
    let mut block = vec![0x83, 0x86, 0x04];
    let path = format!("/eir.v1.EquipmentCheckService/{method}");
    block.push(path.len() as u8);
    block.extend(path.bytes());
    block.extend(b"\x0f\x10\x10application/grpc");
    let mut out = Vec::new();
    frame::put_head(&mut out, block.len(), kind::HEADERS, flags, stream);
    out.extend(block);
    out
}

fn data(stream: u32, messages: &[&[u8]], flags: u8) -> Vec<u8> {
    let content: Vec<u8> = messages
        .iter()
        .flat_map(|message| [&[0_u8][..], &(message.len() as u32).to_be_bytes(), *message].concat())
        .collect();
    let mut out = Vec::new();
    frame::put_head(&mut out, content.len(), kind::DATA, flags, stream);
    out.extend(content);
    out
}

const WHOLE: u8 = flag::END_HEADERS;
const LAST: u8 = flag::END_STREAM;
const CHECK: &[u8] = b"\x0a\x03abc\x32\x01r";
const ANSWER: &[u8] = b"\x00\x00\x00\x00\x0b\x08\x01\x10\x10\x20\x07\x30\x3c\x3a\x01r";

fn unary(stream: u32, message: &[u8]) -> Vec<u8> {
    [headers(stream, "CheckEquipment", WHOLE), data(stream, &[message], LAST)].concat()
}

#[test]
fn a_check_is_answered_however_its_bytes_are_cut() {
    let request = unary(1, CHECK);
    for step in 1..=request.len() {
        let mut pair = Pair::new(Limits::default());
        let sent: Vec<_> = request.chunks(step).flat_map(|part| pair.receive(part)).collect();
        assert_eq!(sent.iter().map(|sent| (sent.0, sent.1)).collect::<Vec<_>>(), [(1, 1), (0, 1), (1, 1)]);
        assert_eq!(sent[1].2, ANSWER);
        assert_eq!((pair.service.calls, pair.connection.streams.len()), (0, 0));
    }
}

#[test]
fn a_panic_ends_one_call() {
    let mut pair = Pair::new(Limits::default());
    let sent = pair.receive(&unary(1, b"\x0a\x05panic"));
    assert_eq!(sent.len(), 1);
    assert_eq!(pair.service.counters.panics.get(), 1);
    assert_eq!(pair.receive(&unary(3, CHECK))[1].2, ANSWER);
}

#[test]
fn a_stream_answers_in_order_and_stops_where_windows_are_closed() {
    let mut pair = Pair::new(Limits::default());
    let mut small = Vec::new();
    frame::put_settings(&mut small, &[(frame::setting::INITIAL_WINDOW_SIZE, 30)]);
    pair.receive(&small);
    let message = [b"\x0a\x08".as_slice(), CHECK].concat();
    let mut sent = pair.receive(&headers(1, "StreamCheckEquipment", WHOLE));
    sent.extend(pair.receive(&data(1, &[&message, &message], LAST)));
    let mut answers: Vec<u8> =
        sent.iter().filter(|sent| sent.0 == 0).flat_map(|sent| sent.2.clone()).collect();
    assert_eq!(answers.len(), 30);
    let mut more = Vec::new();
    frame::put_window(&mut more, 1, 100);
    let sent = pair.receive(&more);
    answers.extend(&sent[0].2);
    assert_eq!(answers.len(), 2 * (ANSWER.len() + 2));
    assert_eq!((sent[1].0, pair.connection.streams.len()), (1, 0));
}

#[test]
fn floods_are_ended() {
    let mut reset = Vec::new();
    frame::put_reset(&mut reset, 1, frame::Code::NoError);
    let rapid = |id: u32| {
        let mut out = headers(id, "CheckEquipment", WHOLE);
        frame::put_reset(&mut out, id, frame::Code::NoError);
        out
    };
    let mut continuation = headers(1, "CheckEquipment", 0);
    for _ in 0..40 {
        frame::put_head(&mut continuation, 0, kind::CONTINUATION, 0, 1);
    }
    let mut settings = Vec::new();
    frame::put_settings(&mut settings, &[]);
    let mut ping = Vec::new();
    frame::put_ping(&mut ping, 0, b"12345678");
    for flood in [
        (0..20_000).flat_map(|id| rapid(2 * id + 1)).collect(),
        continuation,
        settings.repeat(20_000),
        ping.repeat(9),
    ] {
        let mut pair = Pair::new(Limits::default());
        let sent = pair.receive(&flood);
        let (kind, _, payload) = sent.last().unwrap();
        assert_eq!((*kind, frame::u32_of(&payload[4..])), (kind::GOAWAY, 11));
        assert!(pair.connection.over());
    }
}

#[test]
fn a_drain_takes_what_was_on_its_way_and_then_no_more() {
    let mut pair = Pair::new(Limits::default());
    pair.connection.drain(0);
    let sent = pair.sent();
    assert_eq!((sent[0].0, frame::u32_of(&sent[0].2)), (kind::GOAWAY, 0x7fff_ffff));
    assert_eq!(pair.receive(&unary(1, CHECK))[1].2, ANSWER);
    let mut answered = Vec::new();
    frame::put_ping(&mut answered, flag::ACK, sent[1].2.as_slice().try_into().unwrap());
    let sent = pair.receive(&answered);
    assert_eq!((sent[0].0, frame::u32_of(&sent[0].2)), (kind::GOAWAY, 1));
    assert!(pair.connection.over());
    assert_eq!(pair.receive(&unary(3, CHECK)), []);
}

#[test]
fn a_deadline_ends_a_call_that_is_not_whole() {
    let mut pair = Pair::new(Limits::default());
    pair.receive(&headers(1, "CheckEquipment", WHOLE));
    let mut stream = pair.connection.streams.take(1).unwrap();
    stream.deadline = 50;
    pair.connection.streams.put(1, stream);
    pair.connection.next_deadline = 50;
    assert!(pair.connection.tick(&mut pair.service, 49));
    assert_eq!(pair.sent(), []);
    assert!(pair.connection.tick(&mut pair.service, 50));
    assert_eq!(pair.sent().iter().map(|sent| sent.0).collect::<Vec<_>>(), [kind::HEADERS, kind::RST_STREAM]);
}

#[test]
fn garbage_never_panics() {
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    let good: Vec<u8> = (0..8).flat_map(|id| unary(2 * id + 1, CHECK)).collect();
    for _ in 0..20_000 {
        let mut pair = Pair::new(Limits::default());
        let mut bytes = good.clone();
        for _ in 0..1 + random() % 6 {
            let at = random() as usize % bytes.len();
            bytes[at] = random() as u8;
        }
        for part in bytes.chunks(1 + random() as usize % 90) {
            pair.receive(part);
            pair.now += random() % 5000;
            pair.connection.tick(&mut pair.service, pair.now);
        }
    }
}
