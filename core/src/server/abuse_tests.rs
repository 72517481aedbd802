//! Peers that cost more than they bring: each is bounded, counted, and told.

use super::Limits;
use super::frame::{self, Code, flag, kind, setting};
use super::testing::*;
use crate::counters::{abuse, bound};

/// The code of the GOAWAY that a connection ended with.
fn told(pair: &Pair, sent: &[(u8, u32, Vec<u8>)]) -> u32 {
    let (kind, _, payload) = sent.last().unwrap();
    assert_eq!(*kind, kind::GOAWAY);
    assert!(pair.connection.over());
    frame::u32_of(&payload[4..])
}

fn status_of(sent: &[(u8, u32, Vec<u8>)]) -> Vec<u8> {
    let at = sent.iter().position(|sent| sent.0 == kind::HEADERS).unwrap();
    let block = &sent[at].2;
    let name = block.windows(11).position(|text| text == b"grpc-status").unwrap();
    let bytes = usize::from(block[name + 11]);
    block[name + 12..name + 12 + bytes].to_vec()
}

#[test]
fn floods_are_ended() {
    let rapid = |id: u32| {
        let mut out = headers(id, "CheckEquipment", WHOLE);
        frame::put_reset(&mut out, id, Code::NoError);
        out
    };
    let mut continuation = headers(1, "CheckEquipment", 0);
    continuation.extend(frame(kind::CONTINUATION, 0, 1, b"").repeat(40));
    let open = headers(1, "StreamCheckEquipment", WHOLE);
    let on_open = |frame: Vec<u8>| [open.clone(), frame.repeat(20_000)].concat();
    let floods: [(&str, Vec<u8>, usize); 10] = [
        ("rapid reset", (0..20_000).flat_map(|id| rapid(2 * id + 1)).collect(), abuse::FLOOD),
        ("continuation", continuation, abuse::FLOOD),
        ("settings", frame(kind::SETTINGS, 0, 0, b"").repeat(20_000), abuse::FLOOD),
        ("acks", frame(kind::SETTINGS, flag::ACK, 0, b"").repeat(20_000), abuse::FLOOD),
        ("pings", frame(kind::PING, 0, 0, b"12345678").repeat(9), abuse::PINGS),
        ("ping acks", frame(kind::PING, flag::ACK, 0, b"12345678").repeat(20_000), abuse::FLOOD),
        ("empty data", on_open(frame(kind::DATA, 0, 1, b"")), abuse::FLOOD),
        ("padding alone", on_open(frame(kind::DATA, flag::PADDED, 1, b"\x02\0\0")), abuse::FLOOD),
        ("windows", on_open(window(1, 1)), abuse::FLOOD),
        ("priorities", on_open(frame(kind::PRIORITY, 0, 1, b"\0\0\0\0\x01")), abuse::FLOOD),
    ];
    for (name, flood, cause) in floods {
        let mut pair = Pair::new(Limits::default());
        let sent = pair.receive(&flood);
        assert_eq!(told(&pair, &sent), 11, "{name}");
        assert_eq!(pair.service.counters.abuses[cause].get(), 1, "{name}");
    }
}

#[test]
fn frames_that_are_none_end_the_connection() {
    let table = (frame::WINDOW_BYTES_MAX as u32 + 1).to_be_bytes();
    let initial = [&setting::INITIAL_WINDOW_SIZE.to_be_bytes()[..], &table].concat();
    let cases: [(&str, Vec<u8>, u32); 15] = [
        ("too large", [0x00, 0x40, 0x01, 0, 0, 0, 0, 0, 1].to_vec(), 6),
        ("an even stream", headers(2, "CheckEquipment", WHOLE), 1),
        ("data before its call", frame(kind::DATA, 0, 1, b""), 1),
        ("data on stream 0", frame(kind::DATA, 0, 0, b""), 1),
        ("a push", frame(kind::PUSH_PROMISE, 0, 1, b"\0\0\0\x02"), 1),
        ("a continuation of nothing", frame(kind::CONTINUATION, flag::END_HEADERS, 1, b""), 1),
        ("data inside headers", [headers(1, "CheckEquipment", 0), frame(kind::DATA, 0, 1, b"")].concat(), 1),
        ("more padding than there is", frame(kind::HEADERS, WHOLE | flag::PADDED, 1, b"\x05abc"), 1),
        ("a window that opens by nothing", window(0, 0), 1),
        ("a window beyond its end", window(0, 0x7fff_ffff), 3),
        ("a window of four bytes and none", frame(kind::WINDOW_UPDATE, 0, 0, b"\0\0\x01"), 6),
        ("an initial window beyond its end", frame(kind::SETTINGS, 0, 0, &initial), 3),
        ("settings cut off", frame(kind::SETTINGS, 0, 0, b"\0\x04\0"), 6),
        ("a reset before its call", frame(kind::RST_STREAM, 0, 5, b"\0\0\0\x08"), 1),
        ("no HPACK", frame(kind::HEADERS, WHOLE, 1, b"\x80"), 9),
    ];
    for (name, bytes, code) in cases {
        let mut pair = Pair::new(Limits::default());
        let sent = pair.receive(&bytes);
        assert_eq!(told(&pair, &sent), code, "{name}");
        assert_eq!(pair.service.counters.abuses[abuse::PROTOCOL].get(), 1, "{name}");
        assert_eq!(pair.receive(&unary(7, CHECK)), [], "{name}");
    }
}

#[test]
fn a_few_bytes_of_references_do_not_stand_for_megabytes() {
    let mut block = b"\x40\x01a\x7f\xa1\x0f".to_vec();
    block.extend([b'x'; 2080]);
    block.extend([0xbe; 10_000]);
    let mut pair = Pair::new(Limits::default());
    let sent = pair.receive(&frame(kind::HEADERS, WHOLE, 1, &block));
    assert_eq!((told(&pair, &sent), pair.service.counters.abuses[abuse::FLOOD].get()), (11, 1));
}

#[test]
fn metadata_a_little_too_large_ends_the_call_alone() {
    let mut block = headers(1, "CheckEquipment", WHOLE)[9..].to_vec();
    block.extend(b"\x00\x01a\x7f\x81\x3f"); // a literal of 8192 bytes
    block.extend([b'x'; 8192]);
    let mut pair = Pair::new(Limits::default());
    let sent = pair.receive(&frame(kind::HEADERS, WHOLE, 1, &block));
    assert_eq!(status_of(&sent), b"8");
    assert_eq!(pair.service.counters.bounds[bound::METADATA].get(), 1);
    assert_eq!(pair.receive(&unary(3, CHECK))[1].2, ANSWER);
}

#[test]
fn calls_beyond_their_bounds_are_refused_and_the_others_go_on() {
    let limits = Limits {
        streams_per_connection_max: 2,
        calls_max: 1,
        connection_bytes_max: 100,
        ..Limits::default()
    };
    let mut pair = Pair::new(Limits { calls_max: 9, ..limits });
    pair.receive(&[headers(1, "CheckEquipment", WHOLE), headers(3, "CheckEquipment", WHOLE)].concat());
    let sent = pair.receive(&headers(5, "CheckEquipment", WHOLE | LAST));
    assert_eq!(sent, [(kind::RST_STREAM, 5, 7_u32.to_be_bytes().to_vec())]);
    assert_eq!(pair.receive(&data(1, &[CHECK], LAST))[1].2, ANSWER);
    let sent = pair.receive(&frame(kind::DATA, 0, 3, &[&[0, 0, 0, 1, 0][..], &[0; 200]].concat()));
    assert_eq!(status_of(&sent), b"8");
    let bounds = |pair: &Pair| pair.service.counters.bounds.each_ref().map(|count| count.get());
    assert_eq!(bounds(&pair), [1, 0, 0, 0, 1, 0]);

    let mut pair = Pair::new(Limits { message_bytes_max: 10, ..limits });
    pair.receive(&headers(1, "CheckEquipment", WHOLE));
    assert_eq!(status_of(&pair.receive(&headers(3, "CheckEquipment", WHOLE))), b"8");
    assert_eq!(status_of(&pair.receive(&data(1, &[b"12345678901"], LAST))), b"8");
    assert_eq!((bounds(&pair), pair.service.calls), ([0, 1, 0, 1, 0, 0], 0));
}

#[test]
fn who_takes_all_takes_none_of_what_others_need() {
    let limits = Limits { calls_max: 4, held_bytes_max: 1000, ..Limits::default() };
    let mut pair = Pair::new(limits);
    pair.service.connections = 2;
    let mut greedy = std::mem::replace(&mut pair.connection, Pair::new(limits).connection);
    for id in [1, 3, 5, 7, 9] {
        let part = frame(kind::DATA, 0, id, &[&[0, 0, 1, 0, 0][..], &[0; 200]].concat());
        greedy.receive(&[headers(id, "CheckEquipment", WHOLE), part].concat(), &mut pair.service, 0);
    }
    greedy.written(greedy.output().len(), 0);
    greedy.count_held(&mut pair.service);
    let bounds = |pair: &Pair| pair.service.counters.bounds.each_ref().map(|count| count.get());
    assert_eq!((pair.service.calls, pair.service.held, bounds(&pair)[bound::CALLS]), (4, 820, 1));
    greedy.receive(&frame(kind::DATA, 0, 1, &[0; 200]), &mut pair.service, 0);
    greedy.written(greedy.output().len(), 0);
    greedy.count_held(&mut pair.service);
    assert_eq!((pair.service.calls, pair.service.held, bounds(&pair)[bound::HELD]), (3, 615, 1));
    // Two calls and 500 bytes are the other's share.
    pair.service.calls += 1;
    for id in [1, 3] {
        pair.receive(&headers(id, "CheckEquipment", WHOLE));
    }
    assert_eq!(status_of(&pair.receive(&headers(5, "CheckEquipment", WHOLE))), b"8");
    assert!(pair.receive(&frame(kind::DATA, 0, 1, &[&[0, 0, 1, 0, 0][..], &[0; 450]].concat())).is_empty());
    assert_eq!(status_of(&pair.receive(&frame(kind::DATA, 0, 1, &[0; 50]))), b"8");
    pair.service.calls -= 1;
    greedy.abandon(&mut pair.service);
    pair.connection.abandon(&mut pair.service);
    assert_eq!((pair.service.calls, pair.service.held), (0, 0));
}

#[test]
fn a_peer_that_reads_slowly_does_not_make_the_output_grow() {
    let mut pair = Pair::new(Limits::default());
    let requests: Vec<Vec<u8>> = (0..40_000).map(|id| unary(2 * id + 1, CHECK)).collect();
    pair.receive(&window(0, 1 << 30));
    let mut largest = 0;
    for request in requests.chunks(400) {
        pair.connection.receive(&request.concat(), &mut pair.service, 0);
        let waits = pair.connection.output().len();
        pair.connection.written(waits - 100, 0); // and never all
        largest = largest.max(pair.connection.out.len());
    }
    assert!(largest < 400 << 10, "{largest}");
    assert!(!pair.connection.over());
}

#[test]
fn frames_of_one_read_wait_where_the_answers_before_them_are_not_taken() {
    let mut pair = Pair::new(Limits::default());
    pair.receive(&[window(0, 1 << 30), frame(kind::SETTINGS, 0, 0, b"\0\x04\x3f\0\0\0")].concat());
    give(&mut pair.connection, &dense_batches(200), &mut pair.service, 0);
    assert!((256 << 10..280 << 10).contains(&pair.connection.output().len()));
    assert!(!pair.connection.wants_input(&pair.service));
    assert!(!pair.connection.proceed(&mut pair.service, 0));
    // It is no frame that is never whole: who takes little at a time is not closed.
    let first = frame::Head::read(pair.connection.output()).unwrap();
    pair.connection.written(frame::HEADER_BYTES + first.bytes, 40_000);
    assert!(pair.connection.tick(&mut pair.service, 69_999));
    pair.now = 70_000;
    let sent = pair.sent();
    assert_eq!(sent.iter().filter(|sent| sent.0 == kind::DATA && sent.1 % 2 == 1).count(), 200);
    assert!(pair.connection.wants_input(&pair.service));
    assert_eq!((pair.service.held, pair.service.calls), (0, 0));
}

#[test]
fn a_connection_with_much_to_be_judged_lets_others_have_their_turn() {
    let mut pair = Pair::new(Limits::default());
    pair.receive(&[window(0, 1 << 30), frame(kind::SETTINGS, 0, 0, b"\0\x04\x3f\0\0\0")].concat());
    let answered = |pair: &mut Pair| {
        let out = pair.connection.output().to_vec();
        pair.connection.written(out.len(), 0);
        let (mut rest, mut ended) = (out.as_slice(), 0);
        while let Some(head) = frame::Head::read(rest) {
            ended += usize::from(head.kind == kind::HEADERS && head.has(flag::END_STREAM));
            rest = &rest[frame::HEADER_BYTES + head.bytes..];
        }
        ended
    };
    pair.service.turn();
    pair.connection.receive(&dense_batches(10), &mut pair.service, 0);
    let mut turns = vec![answered(&mut pair)];
    while pair.connection.waits_for_turn(&pair.service) {
        assert!(!pair.connection.wants_input(&pair.service));
        // What it has left waits, however often it is asked.
        assert!(!pair.connection.proceed(&mut pair.service, 0));
        pair.service.turn();
        assert!(pair.connection.proceed(&mut pair.service, 0));
        turns.push(answered(&mut pair));
    }
    assert_eq!(turns, [4, 4, 2]);
    assert!(pair.connection.wants_input(&pair.service));
    // Messages that are large once they are decompressed count as well.
    let bomb = gzip(&vec![0; (1 << 20) + 1]);
    let bombs: Vec<u8> = (0..3).flat_map(|call| compressed(2 * call + 101, &bomb)).collect();
    pair.service.turn();
    pair.connection.receive(&bombs, &mut pair.service, 0);
    assert!(pair.connection.waits_for_turn(&pair.service));
    assert_eq!(answered(&mut pair), 1);
}

#[test]
fn the_deadline_of_a_call_that_waits_for_its_turn_counts_from_when_it_came() {
    const CAME: u64 = 100;
    let call = headers_with(3, "CheckEquipment", WHOLE, &[("grpc-timeout", "20m")]);
    let call = [call, data(3, &[CHECK], LAST)].concat();
    for (waited, in_time) in [(19, true), (20, false)] {
        let mut pair = Pair::new(Limits { turn_rows: 4096, ..Limits::default() });
        pair.service.turn();
        pair.connection.receive(&[dense_batches(1), call.clone()].concat(), &mut pair.service, CAME);
        assert!(pair.connection.waits_for_turn(&pair.service));
        pair.now = CAME + waited;
        let sent = pair.sent();
        let answered = sent
            .iter()
            .any(|(kind, stream, payload)| (*kind, *stream, &**payload) == (kind::DATA, 3, ANSWER));
        assert_eq!(answered, in_time);
        let too_late = |payload: &[u8]| payload.windows(13).any(|text| text == b"grpc-status\x014");
        assert_eq!(sent.iter().any(|sent| sent.1 == 3 && too_late(&sent.2)), !in_time);
    }
}

#[test]
fn output_of_all_that_do_not_read_is_bounded_together() {
    const PEERS: usize = 20;
    let limits = Limits { held_bytes_max: 1 << 20, ..Limits::default() };
    let mut pair = Pair::new(limits);
    pair.service.connections = PEERS + 1;
    let opening = [window(0, 1 << 30), frame(kind::SETTINGS, 0, 0, b"\0\x04\x3f\0\0\0")].concat();
    pair.receive(&opening);
    let requests = dense_batches(100);
    let mut peers: Vec<_> = (0..PEERS).map(|_| Pair::new(limits).connection).collect();
    for peer in &mut peers {
        peer.receive(&opening, &mut pair.service, 0);
        give(peer, &requests, &mut pair.service, 0);
        assert!(!peer.wants_input(&pair.service));
    }
    // Some have what there is, and each of the others has its share.
    let waits = |peers: &[super::connection::Connection]| -> usize {
        peers.iter().map(|peer| peer.output().len()).sum()
    };
    let held = waits(&peers);
    assert!((1 << 20..(2 << 20) + PEERS * 16_384).contains(&held), "{held}");
    assert!(pair.service.held >= held);
    // Who reads does not notice.
    for id in 0..100 {
        assert_eq!(pair.receive(&unary(2 * id + 1, CHECK))[1].2, ANSWER);
    }
    for peer in &mut peers {
        peer.abandon(&mut pair.service);
    }
    assert_eq!(pair.service.held, 0);
}

#[test]
fn memory_is_given_back_when_it_is_not_used_any_more() {
    let mut pair = Pair::new(Limits::default());
    let before = pair.connection.capacity();
    pair.receive(&[window(0, 1 << 30), headers(1, "StreamCheckEquipment", WHOLE)].concat());
    // A long field, many calls at once, a large message in parts, answers that are not taken, an unfinished frame.
    let mut block = headers(3, "CheckEquipment", WHOLE)[9..].to_vec();
    block.extend(b"\x00\x01a\x7f\xa1\x0f");
    block.extend([b'x'; 2080]);
    pair.receive(&frame(kind::HEADERS, WHOLE, 3, &block));
    for id in 2..1000 {
        pair.receive(&headers(2 * id + 1, "CheckEquipment", WHOLE));
    }
    pair.receive(&frame(kind::DATA, 0, 1, &[&[0, 0, 2, 0, 0][..], &[0; 16_000]].concat()));
    for _ in 0..7 {
        pair.receive(&frame(kind::DATA, 0, 1, &[0; 16_000]));
    }
    pair.connection.receive(&frame(kind::PING, 0, 0, b"12345678").repeat(2), &mut pair.service, 0);
    pair.connection.receive(&frame(kind::DATA, 0, 1, &[0; 16_000])[..15_000], &mut pair.service, 0);
    assert!(pair.connection.capacity() - before > 400 << 10);
    pair.receive(&[&[0; 1009][..], &frame(kind::RST_STREAM, 0, 1, b"\0\0\0\x08")].concat());
    for id in 1..1000 {
        pair.receive(&frame(kind::RST_STREAM, 0, 2 * id + 1, b"\0\0\0\x08"));
    }
    pair.receive(&headers(2001, "StreamCheckEquipment", WHOLE));
    pair.now += 1000;
    assert!(pair.connection.tick(&mut pair.service, pair.now));
    let after = pair.connection.capacity();
    assert!(after - before < 32 << 10, "{before}, {after}");
    assert_eq!(pair.receive(&unary(2003, CHECK))[1].2, ANSWER);
}

#[test]
fn a_frame_that_is_never_whole_ends_the_connection_and_a_busy_peer_does_not() {
    let limits = Limits { stall_milliseconds_max: 1000, ..Limits::default() };
    let mut pair = Pair::new(limits);
    let requests: Vec<u8> = (0..200).flat_map(|id| unary(2 * id + 1, CHECK)).collect();
    // Every read ends inside a frame, for far longer than a stall.
    for part in requests.chunks(requests.len() / 197) {
        pair.now += 50;
        pair.receive(part);
        assert!(pair.connection.tick(&mut pair.service, pair.now));
    }
    pair.receive(&requests[..5]);
    assert!(pair.connection.tick(&mut pair.service, pair.now + 1000));
    assert!(!pair.connection.tick(&mut pair.service, pair.now + 1001));
    assert_eq!(pair.service.counters.abuses[abuse::STALLED].get(), 1);
    // Who greets and says no more is not waited for either.
    let mut connection = super::connection::Connection::new(&pair.service, 0);
    connection.receive(frame::PREFACE, &mut pair.service, 0);
    assert!(!connection.tick(&mut pair.service, 1001));
}

#[test]
fn a_call_that_stands_still_is_ended_and_a_silent_stream_is_not() {
    let limits = Limits { stall_milliseconds_max: 1000, ..Limits::default() };
    let mut pair = Pair::new(limits);
    pair.receive(&frame(kind::SETTINGS, 0, 0, b"\0\x04\0\0\0\x05"));
    let mut calls = [headers(1, "CheckEquipment", WHOLE), headers(3, "StreamCheckEquipment", WHOLE)].concat();
    calls.extend(headers(5, "StreamCheckEquipment", WHOLE));
    calls.extend(frame(kind::DATA, 0, 5, b"\0\0"));
    calls.extend(unary(7, CHECK)); // answered, but for a window of 5 bytes
    pair.receive(&calls);
    for _ in 0..20 {
        pair.now += 100;
        assert!(pair.connection.tick(&mut pair.service, pair.now));
    }
    let ended: Vec<u32> =
        pair.sent().iter().filter(|sent| sent.0 == kind::HEADERS).map(|sent| sent.1).collect();
    assert_eq!(ended.len(), 3);
    assert!(!ended.contains(&3) && pair.connection.streams.get(3).is_some());
    assert_eq!((pair.service.counters.bounds[bound::STALLED].get(), pair.service.calls), (3, 1));
}

#[test]
fn windows_are_kept_and_every_answer_comes_whole_however_they_open() {
    for seed in 1..40_u64 {
        let mut random = Random(seed);
        let mut pair = Pair::new(Limits::default());
        pair.receive(&frame(kind::SETTINGS, 0, 0, b"\0\x04\0\0\0\x07"));
        let (mut connection, mut initial) = (65_535_i64, 7_i64);
        let calls = 40_u32;
        let mut left: Vec<i64> = vec![7; calls as usize];
        let mut answers = vec![Vec::new(); calls as usize];
        let mut ended = 0;
        let message = [b"\x0a\x08".as_slice(), CHECK].concat();
        let mut note = |sent: Vec<(u8, u32, Vec<u8>)>, connection: &mut i64, left: &mut [i64]| {
            for (kind, stream, payload) in sent {
                let call = (stream / 2) as usize;
                if kind == kind::DATA {
                    *connection -= payload.len() as i64;
                    left[call] -= payload.len() as i64;
                    assert!(*connection >= 0 && left[call] >= 0, "seed {seed}");
                    answers[call].extend(payload);
                } else if kind == kind::HEADERS && !answers[call].is_empty() {
                    ended += usize::from(answers[call].len() == 3 * (ANSWER.len() + 2));
                }
            }
        };
        for call in 0..calls {
            let mut request = headers(2 * call + 1, "StreamCheckEquipment", WHOLE);
            request.extend(data(2 * call + 1, &[message.as_slice(); 3], LAST));
            note(pair.receive(&request), &mut connection, &mut left);
        }
        // The connection's window is used up by one that has all the room.
        for _ in 0..4000 {
            let call = random.below(calls as usize);
            let more = 1 + random.below(25) as u32;
            match random.below(8) {
                0 => {
                    connection += i64::from(more);
                    note(pair.receive(&window(0, more)), &mut connection, &mut left);
                }
                1 => {
                    let next = random.below(60) as i64;
                    left.iter_mut().for_each(|left| *left += next - initial);
                    initial = next;
                    let value = [b"\0\x04\0\0\0".as_slice(), &[next as u8]].concat();
                    note(pair.receive(&frame(kind::SETTINGS, 0, 0, &value)), &mut connection, &mut left);
                }
                _ => {
                    left[call] += i64::from(more);
                    note(pair.receive(&window(2 * call as u32 + 1, more)), &mut connection, &mut left);
                }
            }
        }
        assert_eq!((ended, pair.service.calls, pair.connection.blocked.len()), (calls as usize, 0, 0));
    }
}

#[test]
fn calls_that_wait_for_the_connection_are_served_in_turn_and_forgotten_when_reset() {
    let mut pair = Pair::new(Limits::default());
    pair.connection.send_left = 0;
    for id in [1, 3, 5, 7] {
        pair.receive(&unary(id, CHECK));
    }
    assert_eq!(pair.connection.blocked, [1, 3, 5, 7]);
    pair.receive(&frame(kind::RST_STREAM, 0, 3, b"\0\0\0\x08"));
    assert_eq!((pair.connection.blocked.len(), pair.service.calls), (3, 3));
    let first = pair.receive(&window(0, ANSWER.len() as u32 + 4));
    assert_eq!(first.iter().map(|sent| (sent.0, sent.1)).collect::<Vec<_>>(), [(0, 1), (1, 1), (0, 5)]);
    assert_eq!(pair.connection.blocked, [7, 5]);
    let rest = pair.receive(&window(0, 1000));
    assert_eq!(rest.iter().filter(|sent| sent.0 == kind::HEADERS).count(), 2);
    assert_eq!((pair.connection.blocked.len(), pair.service.calls), (0, 0));
}

#[test]
fn messages_compressed_to_next_to_nothing_are_taken_for_a_while() {
    // As large as they come, and as a core node sends them: different in every row.
    let rows = (0..1500).flat_map(|row: u64| {
        [
            b"\x0a\x0e".to_vec(),
            format!("{:014}", row.wrapping_mul(0x9e37_79b9_7f4a) % 100_000_000_000_000).into(),
        ]
    });
    let honest = gzip(&rows.flatten().collect::<Vec<u8>>());
    let mut pair = Pair::new(Limits::default());
    pair.receive(&window(0, 1 << 30));
    for id in 0..20 {
        let sent = pair.receive(&compressed(2 * id + 1, &honest));
        assert_eq!((sent.last().unwrap().0, pair.connection.credit), (kind::HEADERS, 10_000), "{id}");
    }
    // Too large to be taken; and batches that are answered, a thousand times the work that their bytes are.
    let bomb = gzip(&vec![0; (1 << 20) + 1]);
    let dense = gzip(&b"\x0a\x00".repeat(4096));
    for (data, refused, some, too_many) in [(bomb, true, 2, 6), (dense, false, 100, 1000)] {
        let mut pair = Pair::new(Limits::default());
        pair.receive(&window(0, 1 << 30));
        let mut told = 0;
        while !pair.connection.over() {
            told += 1;
            let sent = pair.receive(&compressed(2 * told + 1, &data));
            assert!(told < too_many);
            assert!(if refused { status_of(&sent) == b"8" } else { sent[1].2.len() > 8192 });
        }
        assert!(told > some, "{told}");
        assert_eq!(pair.service.counters.abuses[abuse::FLOOD].get(), 1);
    }
}
