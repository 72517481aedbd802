//! A connection against a client that is bytes.

use super::Limits;
use super::frame::{self, HEADER_BYTES, flag, kind};
use super::testing::*;

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
fn a_drain_takes_what_was_on_its_way_and_then_no_more() {
    let mut pair = Pair::new(Limits::default());
    pair.connection.drain(0);
    let sent = pair.sent();
    assert_eq!((sent[0].0, frame::u32_of(&sent[0].2)), (kind::GOAWAY, 0x7fff_ffff));
    assert_eq!(pair.receive(&unary(1, CHECK))[1].2, ANSWER);
    let mut answered = Vec::new();
    frame::put_ping(&mut answered, flag::ACK, sent[1].2.as_slice().try_into().unwrap());
    // Calls may come behind the answer that the peer began before it was asked.
    pair.now = 500;
    assert_eq!(pair.receive(&answered), []);
    assert!(pair.connection.tick(&mut pair.service, 700));
    assert_eq!(pair.receive(&unary(3, CHECK))[1].2, ANSWER);
    assert!(pair.connection.tick(&mut pair.service, 701));
    let sent = pair.sent();
    assert_eq!((sent[0].0, frame::u32_of(&sent[0].2)), (kind::GOAWAY, 3));
    assert!(pair.connection.over());
    assert_eq!(pair.receive(&unary(5, CHECK)), []);
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
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let good: Vec<u8> = (0..8).flat_map(|id| unary(2 * id + 1, CHECK)).collect();
    for _ in 0..20_000 {
        let mut pair = Pair::new(Limits::default());
        let mut bytes = good.clone();
        for _ in 0..=random.below(6) {
            let at = random.below(bytes.len());
            bytes[at] = random.next() as u8;
        }
        for part in bytes.chunks(1 + random.below(90)) {
            pair.receive(part);
            pair.now += random.below(5000) as u64;
            pair.connection.tick(&mut pair.service, pair.now);
        }
    }
}

#[test]
fn one_message_comes_in_many_frames_and_many_in_one() {
    let mut pair = Pair::new(Limits::default());
    let message = [b"\x0a\x08".as_slice(), CHECK].concat();
    let bytes = data(1, &[message.as_slice(); 50], 0)[HEADER_BYTES..].to_vec();
    let mut sent = pair.receive(&headers(1, "StreamCheckEquipment", WHOLE));
    for part in bytes.chunks(7) {
        // Padded, with a priority between, and a frame of a kind that nobody knows.
        let padded = [&[3_u8][..], part, &[0; 3]].concat();
        for (kind, flags, payload) in [
            (kind::DATA, flag::PADDED, &padded[..]),
            (kind::PRIORITY, 0, b"\0\0\0\0\x05"),
            (0xfa, 0xff, b"?"),
        ] {
            let mut frame = Vec::new();
            frame::put_head(&mut frame, payload.len(), kind, flags, 1);
            frame.extend(payload);
            sent.extend(pair.receive(&frame));
        }
    }
    sent.extend(pair.receive(&data(1, &[], LAST)));
    let answers: Vec<u8> =
        sent.iter().filter(|sent| sent.0 == kind::DATA).flat_map(|sent| sent.2.clone()).collect();
    assert_eq!(answers.len(), 50 * (ANSWER.len() + 2));
    assert_eq!(sent.last().unwrap().0, kind::HEADERS);
    assert_eq!(pair.service.calls, 0);
}

#[test]
fn trailers_of_the_client_end_its_half() {
    let mut pair = Pair::new(Limits::default());
    pair.receive(&[headers(1, "CheckEquipment", WHOLE), data(1, &[CHECK], 0)].concat());
    let trailers = |stream: u32, flags: u8, name: u8| {
        let mut out = Vec::new();
        frame::put_head(&mut out, 5, kind::HEADERS, flags, stream);
        out.extend([0, 1, name, 1, b'b']);
        out
    };
    let reset = |stream: u32, code: u32| (kind::RST_STREAM, stream, code.to_be_bytes().to_vec());
    assert_eq!(pair.receive(&trailers(1, WHOLE | LAST, b'a'))[1].2, ANSWER);
    // Without END_STREAM they are none, nor in capitals; on a call that has ended nobody waits for them.
    for (stream, flags, name) in [(3, WHOLE, b'a'), (5, WHOLE | LAST, b'A')] {
        pair.receive(&headers(stream, "CheckEquipment", WHOLE));
        assert_eq!(pair.receive(&trailers(stream, flags, name)), [reset(stream, 1)]);
    }
    assert_eq!(pair.receive(&trailers(1, WHOLE | LAST, b'a')), [reset(1, 5)]);
    // Nor on one whose answer waits for a window.
    let mut closed = Vec::new();
    frame::put_settings(&mut closed, &[(frame::setting::INITIAL_WINDOW_SIZE, 0)]);
    pair.receive(&[closed, unary(7, CHECK)].concat());
    assert_eq!(pair.receive(&trailers(7, WHOLE | LAST, b'a')), [reset(7, 5)]);
    assert_eq!((pair.service.calls, pair.connection.over()), (0, false));
}

#[test]
fn what_was_said_of_a_messages_length_must_be_so() {
    let call = |length: &str, flags: u8| {
        let mut block = headers(1, "CheckEquipment", flags);
        block.extend([0x0f, 0x0d, length.len() as u8]);
        block.extend(length.bytes());
        let bytes = (block.len() - HEADER_BYTES) as u8;
        block[2] = bytes;
        block
    };
    let body = (CHECK.len() + 5).to_string();
    for (length, ends, good) in
        [(body.as_str(), false, true), ("7", false, false), ("99", false, false), ("1", true, false)]
    {
        let mut pair = Pair::new(Limits::default());
        let sent = if ends {
            pair.receive(&call(length, WHOLE | LAST))
        } else {
            pair.receive(&[call(length, WHOLE), data(1, &[CHECK], LAST)].concat())
        };
        let reset = sent.last().unwrap() == &(kind::RST_STREAM, 1, 1_u32.to_be_bytes().to_vec());
        assert_eq!((!reset, pair.service.calls), (good, 0), "{length}");
        // The same where trailers end the call.
        if !ends && length != "7" {
            let mut pair = Pair::new(Limits::default());
            pair.receive(&[call(length, WHOLE), data(1, &[CHECK], 0)].concat());
            let mut trailers = Vec::new();
            frame::put_head(&mut trailers, 5, kind::HEADERS, WHOLE | LAST, 1);
            trailers.extend(b"\x00\x01a\x01b");
            assert_eq!(
                (pair.receive(&trailers)[0].0 == kind::HEADERS, pair.service.calls),
                (good, 0),
                "{length}"
            );
        }
    }
}

#[test]
fn pings_of_an_idle_peer_may_come_a_little_sooner_than_they_were_sent() {
    let mut ping = Vec::new();
    frame::put_ping(&mut ping, 0, b"12345678");
    for (between, good) in [([9_800, 10_200], true), ([8_000, 12_000], false)] {
        let mut pair = Pair::new(Limits::default());
        for round in 0..20 {
            pair.receive(&ping);
            pair.now += between[round % 2];
        }
        assert_eq!(pair.connection.over(), !good, "{between:?}");
    }
}

#[test]
fn an_old_connection_is_asked_to_go_and_its_streams_are_told() {
    let limits = Limits { age_milliseconds_max: 1000, drain_milliseconds_max: 4000, ..Limits::default() };
    let mut pair = Pair::new(limits);
    let message = [b"\x0a\x08".as_slice(), CHECK].concat();
    pair.receive(
        &[headers(1, "StreamCheckEquipment", WHOLE), headers(3, "StreamCheckEquipment", WHOLE)].concat(),
    );
    assert!(pair.connection.tick(&mut pair.service, 1000));
    assert_eq!(pair.sent(), []);
    let mut ended = Vec::new();
    for now in (1050..=3200).step_by(50) {
        pair.now = now;
        let mut sent = pair.receive(&data(3, &[&message], 0)); // it never pauses
        assert!(pair.connection.tick(&mut pair.service, now));
        sent.extend(pair.sent());
        ended.extend(sent.iter().filter(|sent| sent.0 == kind::RST_STREAM).map(|sent| (now, sent.1)));
        if now == 1050 {
            assert_eq!(sent.iter().map(|sent| sent.0).collect::<Vec<_>>(), [1, 0, kind::GOAWAY, kind::PING]);
        }
    }
    assert_eq!(ended, [(1100, 1), (3100, 3)]);
    assert!(pair.connection.over());
}
