//! Checks that came together, beside the same frames one by one.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Limits;
use super::answer::Failure;
use super::frame::{HEADER_BYTES, kind};
use super::hpack::Decoder;
use super::request::Method;
use super::service::{GROUP_ROWS, PREFIX_BYTES, Service, Source};
use super::testing::*;
use crate::counters::Counters;
use crate::sightings::{self, Queues, Wanted};
use crate::unpaired;

/// A check that its answer names.
fn check(imei: &str, number: usize) -> Vec<u8> {
    let id = number.to_string();
    [&[0x0a, imei.len() as u8], imei.as_bytes(), &[0x32, id.len() as u8], id.as_bytes()].concat()
}

fn of_stream(check: &[u8]) -> Vec<u8> {
    [&[0x0a, check.len() as u8], check].concat()
}

/// Of each call the bytes of its answers, fields of its headers, and resets; then the counters.
type Outcome = (BTreeMap<u32, (Vec<u8>, Vec<String>, u32)>, Vec<u64>);

fn outcome<'f>(reads: impl Iterator<Item = &'f [u8]>) -> (Outcome, usize) {
    let mut pair = Pair::new(Limits::default());
    let (mut calls, mut decoder, mut frames) =
        (BTreeMap::<u32, (Vec<u8>, Vec<String>, u32)>::new(), Decoder::default(), 0);
    for read in reads {
        for (kind, stream, payload) in pair.receive(read) {
            let (answers, fields, resets) = calls.entry(stream).or_default();
            match kind {
                kind::DATA => {
                    answers.extend(payload);
                    frames += 1;
                }
                kind::HEADERS => {
                    let mut put = |name: &[u8], value: &[u8]| {
                        fields.push(format!("{}: {}", name.escape_ascii(), value.escape_ascii()));
                    };
                    decoder.decode(&payload, 10_000, &mut put).unwrap();
                }
                kind::RST_STREAM => *resets += 1,
                _ => {}
            }
        }
    }
    let counters = &pair.service.counters;
    let durations = counters.seconds.iter().flat_map(|one| one.buckets.iter().map(|bucket| bucket.get()));
    let mut counted = vec![counters.checks[1][16].get(), counters.panics.get(), durations.sum()];
    counted.extend(counters.errors.iter().chain(&counters.bounds).map(|count| count.get()));
    counted.extend([
        pair.service.calls as u64,
        pair.service.held as u64,
        pair.connection.streams.len() as u64,
    ]);
    counted.push(pair.connection.blocked.len() as u64);
    ((calls, counted), frames)
}

/// Frames of a client that has a few streams and makes calls between their messages, most of them good.
fn frames(random: &mut Random) -> Vec<Vec<u8>> {
    let mut out: Vec<Vec<u8>> =
        [1, 3, 5].iter().map(|id| headers(*id, "StreamCheckEquipment", WHOLE)).collect();
    out.push(frame(kind::WINDOW_UPDATE, 0, 0, &(1_u32 << 30).to_be_bytes()));
    let mut last = 5;
    let mut rest = [Vec::new(), Vec::new(), Vec::new()];
    for number in 0..20 + random.below(200) {
        let stream = random.below(3);
        let id = 2 * stream as u32 + 1;
        match random.below(2000) {
            0..=399 => {
                last += 2;
                let imei = ["1", "1", "1", "panic"][random.below(40) / 12];
                out.push(headers(last, "CheckEquipment", WHOLE));
                if random.below(9) == 0 {
                    out.push(headers(last + 2, "CheckEquipment", WHOLE));
                    out.push(data(last + 2, &[&check("12", number)], LAST));
                }
                out.push(data(last, &[&check(imei, number)], LAST));
                last += 2;
            }
            400..=402 => out.push(frame(kind::RST_STREAM, 0, id, &[0; 4])),
            403..=406 => out.push(frame(kind::DATA, LAST, id, &[])),
            407..=480 => out.push(frame(kind::WINDOW_UPDATE, 0, id, &[0, 0, 0, 9])),
            481..=482 => out.push(frame(kind::SETTINGS, 0, 0, &[0, 4, 0, 0, 0, random.below(100) as u8])),
            483..=487 => out.push(frame(kind::SETTINGS, 0, 0, &[0, 4, 0, 1, 0, 0])),
            488..=489 => out.push(data(id, &[b"\xff"], 0)),
            490..=492 => out.push(data(id, &[&of_stream(&check("panic", number))], 0)),
            493..=494 => out.push(data(id, &[&of_stream(&check(&"7".repeat(100), number)), b""], 0)),
            _ => {
                // Some messages, of which a part may come with the next frame.
                let messages: Vec<_> =
                    (0..1 + random.below(4)).map(|_| of_stream(&check("1", number))).collect();
                let messages: Vec<&[u8]> = messages.iter().map(Vec::as_slice).collect();
                let content: &mut Vec<u8> = &mut rest[stream];
                content.extend(&data(id, &messages, 0)[HEADER_BYTES..]);
                let left = if random.below(8) == 0 { random.below(content.len().min(30)) } else { 0 };
                let end = content.len() - left;
                out.push(frame(kind::DATA, 0, id, &content[..end]));
                content.drain(..end);
            }
        }
    }
    out
}

#[test]
fn together_and_alone_have_the_same_answers() {
    let (mut merged, mut apart) = (0, 0);
    for seed in 1..200 {
        let frames = frames(&mut Random(seed));
        let (alone, many) = outcome(frames.iter().map(Vec::as_slice));
        let (together, few) = outcome([frames.concat().as_slice()].into_iter());
        assert!(together == alone, "seed {seed}");
        (merged, apart) = (merged + few, apart + many);
        let bytes = frames.concat();
        assert!(outcome(bytes.chunks(1 + seed as usize * 7)).0 == alone, "seed {seed}");
    }
    assert!(10 * merged < 9 * apart, "{merged} of {apart}");
}

#[test]
fn answers_of_one_read_to_a_stream_are_one_frame() {
    let mut pair = Pair::new(Limits::default());
    let mut read = headers(1, "StreamCheckEquipment", WHOLE);
    let mut answers = Vec::new();
    for number in 0..GROUP_ROWS {
        read.extend(data(1, &[&of_stream(&check("1", 100 + number))], 0));
        answers.extend(b"\0\0\0\0\x0f\x0a\x0d\x08\x01\x10\x10\x20\x07\x30\x3c\x3a\x03");
        answers.extend((100 + number).to_string().into_bytes());
    }
    let sent = pair.receive(&read);
    assert_eq!(sent.iter().map(|sent| sent.0).collect::<Vec<_>>(), [kind::HEADERS, kind::DATA]);
    assert_eq!(sent[1].2, answers);
}

/// Calls and messages of two clients, of which one is told otherwise.
fn of_two_clients() -> Vec<Vec<u8>> {
    const STRICT: &[(&str, &str)] = &[("eir-client", "strict")];
    let open = |id: u32, client| headers_with(id, "StreamCheckEquipment", WHOLE, client);
    let call = |id: u32, imei, client| {
        let message = check(imei, id as usize);
        [headers_with(id, "CheckEquipment", WHOLE, client), data(id, &[&message], LAST)].concat()
    };
    let message = |id, imei, number| data(id, &[&of_stream(&check(imei, number))], 0);
    vec![
        open(1, STRICT),
        open(3, &[]),
        call(5, "1", &[]),
        call(7, "81", STRICT),
        message(1, "2", 70),
        message(1, "82", 71),
        call(9, "83", &[]),
        message(3, "84", 72),
        message(1, "3", 73),
        call(11, "4", STRICT),
        message(3, "5", 74),
    ]
}

#[test]
fn each_client_is_told_what_is_for_it() {
    let frames = of_two_clients();
    let (alone, _) = outcome(frames.iter().map(Vec::as_slice));
    let (together, _) = outcome([frames.concat().as_slice()].into_iter());
    assert!(together == alone);
    let told = |id, message: usize| together.0[&id].0[PREFIX_BYTES + message];
    // The status is the second byte of an answer; those of a stream have two before it.
    assert_eq!([5, 7, 9, 11].map(|call| told(call, 1)), [1, 3, 1, 3]);
    assert_eq!([1, 3].map(|stream| told(stream, 3)), [3, 1]);
}

#[test]
fn what_is_kept_of_checks_that_came_together_is_what_is_kept_of_each_alone() {
    let frames = of_two_clients();
    let kept = |reads: &[&[u8]]| {
        let always = 1;
        let wanted = Wanted {
            table: vec![always; 8 * 8 * 64],
            denial_repeat_seconds: 60,
            records_max: 99,
            unpaired_max: 99,
            unpaired_repeat_seconds: 60,
            ..Wanted::default()
        };
        let mut pair = Pair::that_keeps(wanted, Limits::default());
        // Each again: repeats are left out.
        reads.iter().for_each(|read| drop(pair.receive(read)));
        let again =
            [data(1, &[&of_stream(&check("82", 71))], 0), data(3, &[&of_stream(&check("84", 72))], 0)];
        pair.receive(&again.concat());
        let queues = &pair.service.queues;
        let counts =
            [&queues.kept, &queues.unpaired].map(|queue| (queue.repeated.get(), queue.dropped.get()));
        (queues.kept.take(), queues.unpaired.take(), counts)
    };
    let alone = kept(&frames.iter().map(Vec::as_slice).collect::<Vec<_>>());
    assert!(kept(&[&frames.concat()]) == alone);
    let (sightings, unpaired, counts) = alone;
    let mut rest = sightings.as_slice();
    let seen = std::iter::from_fn(|| sightings::decode(&mut rest));
    let seen: Vec<_> =
        seen.map(|seen| (seen.imei.to_vec(), seen.client.to_vec(), seen.judged, seen.status)).collect();
    let expected = [
        ("1", "", 1),
        ("81", "strict", 3),
        ("2", "strict", 3),
        ("82", "strict", 3),
        ("83", "", 1),
        ("84", "", 1),
        ("3", "strict", 3),
        ("4", "strict", 3),
        ("5", "", 1),
    ];
    assert_eq!(seen, expected.map(|(imei, client, status)| (imei.into(), client.into(), 1, status)));
    let pairs: Vec<_> = unpaired::decode(&unpaired).map(|seen| seen.pair).collect();
    assert_eq!(pairs, ["81", "82", "83", "84"].map(|imei| pair_of(imei.as_bytes())));
    assert_eq!(counts, [(2, 0), (2, 0)]);
}

#[test]
fn a_panic_among_checks_ends_its_call_alone() {
    let mut pair = Pair::new(Limits::default());
    let calls: Vec<_> =
        ["1", "panic", "2"].iter().zip([1, 3, 5]).map(|(imei, id)| unary(id, &check(imei, 7))).collect();
    let mut read = calls.concat();
    read.extend(headers(7, "StreamCheckEquipment", WHOLE));
    read.extend(data(
        7,
        &[&of_stream(&check("1", 8)), &of_stream(&check("panic", 9)), &of_stream(&check("1", 10))],
        0,
    ));
    let sent = pair.receive(&read);
    let with_answers: Vec<u32> = sent.iter().filter(|sent| sent.0 == kind::DATA).map(|sent| sent.1).collect();
    assert_eq!(with_answers, [1, 5, 7]);
    assert_eq!((pair.service.counters.panics.get(), pair.service.counters.checks[1][16].get()), (2, 3));
    assert_eq!((pair.service.calls, pair.connection.streams.len()), (0, 0));
}

#[test]
fn a_call_that_is_late_is_not_judged_with_the_others() {
    let mut pair = Pair::new(Limits::default());
    pair.receive(&[headers(1, "CheckEquipment", WHOLE), headers(3, "CheckEquipment", WHOLE)].concat());
    let mut stream = pair.connection.streams.take(1).unwrap();
    stream.deadline = 0;
    pair.connection.streams.put(1, stream);
    let sent = pair.receive(&[data(3, &[CHECK], LAST), data(1, &[CHECK], LAST)].concat());
    assert_eq!(
        sent.iter().map(|sent| (sent.0, sent.1)).collect::<Vec<_>>(),
        [(1, 3), (0, 3), (1, 3), (1, 1)]
    );
    assert!(sent[3].2.windows(13).any(|text| text == b"grpc-status\x014"));
    assert_eq!(pair.service.counters.checks[1][16].get(), 1);
}

/// Tables that are still being loaded.
struct Loading;

impl Source for Loading {
    type Judge = Fake;
    type Held = ();

    fn hold(&self) {}

    fn judge((): &()) -> Option<&Fake> {
        None
    }
}

#[test]
fn before_there_are_tables_emergency_calls_are_allowed_and_nothing_else_is_answered() {
    let counters = Arc::new(Counters::default());
    let mut service = Service::new(
        Arc::new(Loading),
        Arc::default(),
        Limits::default(),
        counters.clone(),
        Arc::new(Queues::default()),
    );
    let emergency = [CHECK, b"\x28\x01"].concat();
    // WHITELISTED, EMERGENCY, stale, and the request's name.
    let allowed: &[u8] = b"\x08\x01\x10\x01\x28\x01\x3a\x01r";
    for (method, message, answer) in [
        (Method::Check, emergency.clone(), allowed.to_vec()),
        (Method::Stream, of_stream(&emergency), of_stream(allowed)),
    ] {
        service.answer.clear();
        service.call(method, &message, b"", false).unwrap();
        assert_eq!(service.answer[PREFIX_BYTES..], answer);
    }
    service.answer.clear();
    for (method, message) in [
        (Method::Check, CHECK.to_vec()),
        (Method::Stream, of_stream(CHECK)),
        (Method::Batch, b"\x0a\x01a".to_vec()),
    ] {
        assert!(matches!(service.call(method, &message, b"", false), Err(Failure::NotReady)));
    }
    assert!(service.answer.is_empty());
    assert_eq!((counters.checks[1][1].get(), counters.errors[1].get()), (2, 3));
}
