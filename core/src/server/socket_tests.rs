//! The server on real sockets, over a judge that can panic.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Limits;
use super::frame::{self, HEADER_BYTES, Head, flag, kind};
use super::testing::*;
use super::threads::Server;
use crate::sightings::Wanted;

fn server(threads: usize) -> Server<Fake> {
    server_with(threads, Limits::default())
}

fn server_with(threads: usize, limits: Limits) -> Server<Fake> {
    let limits = Limits { drain_milliseconds_max: 2000, ..limits };
    let server = Server::bind(("127.0.0.1", 0), threads, Arc::new(Fake), limits, Wanted::default()).unwrap();
    server.start().unwrap();
    server.set_serving(true);
    server
}

struct Client {
    socket: TcpStream,
    input: Vec<u8>,
}

impl Client {
    fn new(server: &Server<Fake>) -> Self {
        let mut socket = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut greeting = frame::PREFACE.to_vec();
        frame::put_settings(&mut greeting, &[]);
        socket.write_all(&greeting).unwrap();
        Self { socket, input: Vec::new() }
    }

    fn send(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).unwrap();
    }

    /// The next frame; None at the end of the connection.
    fn frame(&mut self) -> Option<(Head, Vec<u8>)> {
        loop {
            if let Some(head) = Head::read(&self.input)
                && self.input.len() >= HEADER_BYTES + head.bytes
            {
                let payload = self.input[HEADER_BYTES..HEADER_BYTES + head.bytes].to_vec();
                self.input.drain(..HEADER_BYTES + head.bytes);
                return Some((head, payload));
            }
            let mut buffer = [0; 4096];
            match self.socket.read(&mut buffer).unwrap() {
                0 => return None,
                bytes => self.input.extend_from_slice(&buffer[..bytes]),
            }
        }
    }

    /// Trailers of the next call that ends, and its answer.
    fn ended(&mut self) -> (u32, Vec<u8>, Vec<u8>) {
        let mut answer = Vec::new();
        loop {
            let (head, payload) = self.frame().expect("an answer");
            if head.kind == kind::DATA {
                answer = payload;
            } else if head.kind == kind::HEADERS && head.has(flag::END_STREAM) {
                return (head.stream, payload, answer);
            }
        }
    }
}

fn counted(server: &Server<Fake>, of: impl Fn(&crate::counters::Counters) -> u64) -> Vec<u64> {
    server.counters().map(of).collect()
}

#[test]
fn connections_are_dealt_evenly_over_the_threads() {
    let server = server(3);
    let mut clients: Vec<Client> = (0..9).map(|_| Client::new(&server)).collect();
    for client in &mut clients {
        client.send(&unary(1, CHECK));
        assert_eq!(client.ended().2, ANSWER);
    }
    // The last is of the acceptor.
    assert_eq!(counted(&server, |counters| counters.connections.get()), [3, 3, 3, 0]);
    assert_eq!(counted(&server, |counters| counters.checks[1][16].get()), [3, 3, 3, 0]);
    // Where some have gone, the next ones come.
    clients.truncate(6);
    clients.drain(..3);
    for _ in 0..100 {
        if counted(&server, |counters| counters.connections.get()).iter().sum::<u64>() == 3 {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    for _ in 0..3 {
        let mut client = Client::new(&server);
        client.send(&unary(1, CHECK));
        assert_eq!(client.ended().2, ANSWER);
        clients.push(client);
    }
    assert_eq!(counted(&server, |counters| counters.connections.get()), [2, 2, 2, 0]);
    drop(clients);
    server.drain();
}

#[test]
fn a_panic_ends_one_call_and_neither_its_connection_nor_its_thread() {
    let server = server(1);
    let (mut one, mut other) = (Client::new(&server), Client::new(&server));
    other.send(&headers(1, "StreamCheckEquipment", WHOLE));
    for call in 0..50 {
        let panic: &[u8] = b"\x0a\x05panic";
        one.send(&[unary(4 * call + 1, panic), unary(4 * call + 3, CHECK)].concat());
        let (stream, trailers, answer) = one.ended();
        assert_eq!((stream, answer.as_slice()), (4 * call + 1, &b""[..]));
        assert!(trailers.windows(14).any(|text| text == b"grpc-status\x0213"), "INTERNAL");
        assert_eq!(one.ended().2, ANSWER);
    }
    let mut batch = headers(201, "BatchCheckEquipment", WHOLE);
    batch.extend(data(201, &[b"\x0a\x01a\x0a\x05panic\x0a\x01b"], LAST));
    one.send(&batch);
    assert!(one.ended().2.is_empty());
    other.send(&data(1, &[&[b"\x0a\x08".as_slice(), CHECK].concat()], LAST));
    assert_eq!(other.ended().2.len(), ANSWER.len() + 2);
    assert_eq!(counted(&server, |counters| counters.panics.get()), [51, 0]);
    assert_eq!(counted(&server, |counters| counters.errors[3].get()), [51, 0]);
    server.drain();
}

#[test]
fn who_has_much_to_be_judged_gets_all_of_it() {
    const BATCHES: u32 = 50;
    let server = server(1);
    let (mut much, mut little) = (Client::new(&server), Client::new(&server));
    much.send(&[window(0, 1 << 30), frame(kind::SETTINGS, 0, 0, b"\0\x04\x3f\0\0\0")].concat());
    much.send(&dense_batches(BATCHES));
    assert!(!much.ended().2.is_empty());
    little.send(&unary(1, CHECK));
    assert_eq!(little.ended().2, ANSWER);
    (1..BATCHES).for_each(|_| assert!(!much.ended().2.is_empty()));
    assert_eq!(counted(&server, |counters| counters.checks[1][16].get()), [50 * 4096 + 1, 0]);
    server.drain();
}

#[test]
fn who_waits_for_a_turn_waits_for_nothing_else() {
    const CALLS: u32 = 400;
    let server = server_with(1, Limits { turn_rows: 1, ..Limits::default() });
    let mut client = Client::new(&server);
    let batch = |call| {
        let stream = 2 * call + 1;
        [headers(stream, "BatchCheckEquipment", WHOLE), data(stream, &[b"\x0a\x011"], LAST)].concat()
    };
    let began = Instant::now();
    client.send(&(0..CALLS).flat_map(batch).collect::<Vec<u8>>());
    (0..CALLS).for_each(|_| assert!(!client.ended().2.is_empty()));
    // Were a turn to come with a tick, they would take 20 s.
    assert!(began.elapsed() < Duration::from_secs(10));
    server.drain();
}

#[test]
fn a_drain_answers_what_came_and_ends() {
    let server = server(2);
    let mut clients: Vec<Client> = (0..6).map(|_| Client::new(&server)).collect();
    clients.iter_mut().for_each(|client| client.send(&unary(1, CHECK)));
    std::thread::scope(|scope| {
        let drained = scope.spawn(|| server.drain());
        // All write on until they have read that they are asked to go.
        let mut answers = [0; 6];
        for (client, answers) in clients.iter_mut().zip(&mut answers) {
            while let Some((head, payload)) = client.frame() {
                *answers += u32::from(head.kind == kind::HEADERS && head.has(flag::END_STREAM));
                if head.kind == kind::PING && !head.has(flag::ACK) {
                    let mut answer = unary(3, CHECK);
                    frame::put_ping(&mut answer, flag::ACK, payload.as_slice().try_into().unwrap());
                    client.send(&answer);
                    break;
                }
            }
        }
        for (client, answers) in clients.iter_mut().zip(&mut answers) {
            let mut last = None;
            while let Some((head, payload)) = client.frame() {
                *answers += u32::from(head.kind == kind::HEADERS && head.has(flag::END_STREAM));
                if head.kind == kind::GOAWAY {
                    last = Some(frame::u32_of(&payload));
                }
            }
            assert_eq!((*answers, last), (2, Some(3)));
        }
        drained.join().unwrap();
    });
    assert!(TcpStream::connect(("127.0.0.1", server.port())).is_err());
}
