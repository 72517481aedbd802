//! One HTTP/2 connection of a client that only makes calls of one method (RFC 9113).
//!
//! ```text
//!     call ──► frames ──► out ──socket──► in ──► frames ──► Ended: when it was due, and how it ended
//! ```
//!
//! It never touches the clock: times, in nanoseconds, are given.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::rc::Rc;

use mio::net::TcpStream;

use crate::hpack::Decoder;
use crate::requests::Mode;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEAD_BYTES: usize = 9;
const READ_BYTES: usize = 256 << 10;
const WINDOW: u32 = (1 << 30) - 1;
const WINDOW_DEFAULT: i64 = 65_535;
const UPDATE_BYTES: u32 = 1 << 24;
const DATA_BYTES_MAX: usize = 16_384;
const TABLE_BYTES: u32 = 4_096;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;

const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;

/// How a call, or one request of a stream, ended.
#[derive(Clone, Debug, PartialEq)]
pub enum End {
    Answered,
    Grpc(u32),
    Http(u32),
    Reset(u32),
    /// Status OK, and not the one message that was due.
    Messages(u32),
}

/// A call that ended, and the time that was given with it.
pub struct Ended {
    pub due_ns: u64,
    pub end: End,
}

/// A call that is open.
struct Call {
    due_ns: u64,
    window: i64,
    http: u32,
    messages: u32,
    message: Reader,
}

/// Cuts data into gRPC messages.
#[derive(Default)]
struct Reader {
    prefix: [u8; 5],
    have: usize,
    missing: usize,
}

impl Reader {
    /// Counts the messages that these bytes complete.
    fn take(&mut self, mut data: &[u8]) -> u32 {
        let mut complete = 0;
        while !data.is_empty() {
            if self.have < 5 {
                let part = data.len().min(5 - self.have);
                self.prefix[self.have..self.have + part].copy_from_slice(&data[..part]);
                self.have += part;
                data = &data[part..];
                if self.have < 5 {
                    break;
                }
                let [_, length @ ..] = self.prefix;
                self.missing = u32::from_be_bytes(length) as usize;
            }
            let part = data.len().min(self.missing);
            self.missing -= part;
            data = &data[part..];
            if self.missing == 0 {
                self.have = 0;
                complete += 1;
            }
        }
        complete
    }
}

/// What is still to be sent of a request.
struct Pending {
    stream: u32,
    request: usize,
    from: usize,
}

pub struct Connection {
    pub socket: TcpStream,
    mode: Mode,
    requests: Rc<Vec<Vec<u8>>>,
    first_head: Vec<u8>,
    out: Vec<u8>,
    written: usize,
    input: Vec<u8>,
    filled: usize,
    decoder: Decoder,
    calls: VecDeque<Option<Call>>,
    first_open: u32,
    next_stream: u32,
    open: usize,
    /// Requests of the stream that wait for their answers.
    flying: VecDeque<u64>,
    pending: VecDeque<Pending>,
    window: i64,
    stream_window: i64,
    received: u32,
    pub calls_max: usize,
    pub ready: bool,
}

impl Connection {
    /// Makes a client on a socket; `authority` is the server's address.
    pub fn new(socket: TcpStream, mode: Mode, authority: &str, requests: Rc<Vec<Vec<u8>>>) -> Self {
        let mut out = PREFACE.to_vec();
        frame(&mut out, SETTINGS, 0, 0, &[&[0, 4][..], &WINDOW.to_be_bytes()].concat());
        let more = WINDOW - WINDOW_DEFAULT as u32;
        frame(&mut out, WINDOW_UPDATE, 0, 0, &more.to_be_bytes());
        Connection {
            socket,
            mode,
            requests,
            first_head: first_head(&mode.path(), authority),
            out,
            written: 0,
            input: vec![0; READ_BYTES],
            filled: 0,
            decoder: Decoder::default(),
            calls: VecDeque::new(),
            first_open: 1,
            next_stream: 1,
            open: 0,
            flying: VecDeque::new(),
            pending: VecDeque::new(),
            window: WINDOW_DEFAULT,
            stream_window: WINDOW_DEFAULT,
            received: 0,
            calls_max: usize::MAX,
            ready: false,
        }
    }

    /// Requests that are not answered.
    pub fn in_flight(&self) -> usize {
        if self.mode == Mode::Stream { self.flying.len() } else { self.open }
    }

    /// Tells whether one more request may be sent now.
    pub fn has_room(&self) -> bool {
        self.ready && (self.mode == Mode::Stream || self.open < self.calls_max)
    }

    /// Sends a request by its number; it was due at this time.
    pub fn ask(&mut self, request: usize, due_ns: u64) {
        if self.mode == Mode::Stream {
            self.flying.push_back(due_ns);
            if self.next_stream > 1 {
                self.pending.push_back(Pending { stream: 1, request, from: 0 });
                return self.send_pending();
            }
        }
        let stream = self.next_stream;
        self.next_stream += 2;
        if stream == 1 {
            frame(&mut self.out, HEADERS, END_HEADERS, stream, &self.first_head);
        } else {
            // POST, http, and the four entries that the first call left in the table
            frame(&mut self.out, HEADERS, END_HEADERS, stream, &[0x83, 0x86, 0xc1, 0xc0, 0xbf, 0xbe]);
        }
        self.calls.push_back(Some(Call {
            due_ns,
            window: self.stream_window,
            http: 0,
            messages: 0,
            message: Reader::default(),
        }));
        self.open += 1;
        self.pending.push_back(Pending { stream, request, from: 0 });
        self.send_pending();
    }

    /// Ends the stream of pipelined requests.
    pub fn end_stream(&mut self) {
        if self.mode == Mode::Stream && self.open == 1 {
            frame(&mut self.out, DATA, END_STREAM, 1, &[]);
        }
    }

    fn send_pending(&mut self) {
        while let Some(next) = self.pending.front_mut() {
            let place = ((next.stream - self.first_open) / 2) as usize;
            let Some(Some(call)) = self.calls.get_mut(place) else {
                self.pending.pop_front(); // it ended before it was sent
                continue;
            };
            let left = &self.requests[next.request][next.from..];
            let room = self.window.min(call.window).max(0) as usize;
            let part = left.len().min(room).min(DATA_BYTES_MAX);
            if part == 0 {
                return;
            }
            let last = part == left.len();
            let flags = if last && self.mode != Mode::Stream { END_STREAM } else { 0 };
            frame(&mut self.out, DATA, flags, next.stream, &left[..part]);
            self.window -= part as i64;
            call.window -= part as i64;
            next.from += part;
            if last {
                self.pending.pop_front();
            }
        }
    }

    /// Writes what there is, as far as the socket takes it.
    pub fn flush(&mut self) -> io::Result<()> {
        while self.written < self.out.len() {
            match self.socket.write(&self.out[self.written..]) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        self.out.clear();
        self.written = 0;
        Ok(())
    }

    /// Reads once, and tells what ended; true while there may be more to read.
    pub fn receive(&mut self, ended: &mut Vec<Ended>) -> io::Result<bool> {
        let count = match self.socket.read(&mut self.input[self.filled..]) {
            Ok(0) => return Err(broken("the server closed a connection")),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error),
        };
        let more = self.filled + count == self.input.len();
        self.filled += count;
        let input = std::mem::take(&mut self.input);
        let mut at = 0;
        let result = loop {
            let Some((head, rest)) = input[at..self.filled].split_first_chunk::<HEAD_BYTES>() else {
                break Ok(());
            };
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            let Some(payload) = rest.get(..length) else {
                break Ok(());
            };
            let stream = u32::from_be_bytes([head[5] & 0x7f, head[6], head[7], head[8]]);
            if let Err(error) = self.take(head[3], head[4], stream, payload, ended) {
                break Err(error);
            }
            at += HEAD_BYTES + length;
        };
        self.input = input;
        self.input.copy_within(at..self.filled, 0);
        self.filled -= at;
        result.map(|()| more)
    }

    fn take(
        &mut self,
        kind: u8,
        flags: u8,
        stream: u32,
        payload: &[u8],
        ended: &mut Vec<Ended>,
    ) -> io::Result<()> {
        if flags & PADDED != 0 && (kind == DATA || kind == HEADERS) {
            return Err(broken("the server pads its frames"));
        }
        match kind {
            DATA => self.take_data(stream, payload, ended),
            HEADERS if flags & END_HEADERS == 0 => return Err(broken("headers in several frames")),
            HEADERS => {
                let told = self.decoder.read(payload).ok_or_else(|| broken("damaged headers"))?;
                let streams = self.mode == Mode::Stream;
                if let Some(call) = self.call(stream) {
                    call.http = told.http.unwrap_or(call.http);
                    if flags & END_STREAM != 0 {
                        let end = match (call.http, told.grpc) {
                            (200, Some(0)) if streams => End::Messages(0),
                            (200, Some(0)) if call.messages == 1 => End::Answered,
                            (200, Some(0)) => End::Messages(call.messages),
                            (_, Some(code)) if code != 0 => End::Grpc(code),
                            (http, _) => End::Http(http),
                        };
                        self.close(stream, &end, ended);
                    }
                }
            }
            RST_STREAM => self.close(stream, &End::Reset(word(payload)), ended),
            SETTINGS if flags & ACK == 0 => self.take_settings(payload)?,
            PING if flags & ACK == 0 => frame(&mut self.out, PING, ACK, 0, payload),
            GOAWAY => return Err(broken("the server sent GOAWAY")),
            WINDOW_UPDATE => {
                let more = i64::from(word(payload));
                if stream == 0 {
                    self.window += more;
                } else if let Some(call) = self.call(stream) {
                    call.window += more;
                }
                self.send_pending();
            }
            _ => {}
        }
        Ok(())
    }

    fn take_data(&mut self, stream: u32, payload: &[u8], ended: &mut Vec<Ended>) {
        self.received += payload.len() as u32;
        if self.received >= UPDATE_BYTES {
            frame(&mut self.out, WINDOW_UPDATE, 0, 0, &self.received.to_be_bytes());
            if self.mode == Mode::Stream {
                frame(&mut self.out, WINDOW_UPDATE, 0, 1, &self.received.to_be_bytes());
            }
            self.received = 0;
        }
        let streams = self.mode == Mode::Stream;
        let Some(call) = self.call(stream) else { return };
        let messages = call.message.take(payload);
        call.messages += messages;
        if streams {
            for due_ns in self.flying.drain(..(messages as usize).min(self.flying.len())) {
                ended.push(Ended { due_ns, end: End::Answered });
            }
        }
    }

    fn take_settings(&mut self, payload: &[u8]) -> io::Result<()> {
        for setting in payload.chunks_exact(6) {
            let value = word(&setting[2..]);
            match u16::from_be_bytes([setting[0], setting[1]]) {
                1 if value < TABLE_BYTES => return Err(broken("the server's header table is too small")),
                3 => self.calls_max = value as usize,
                4 => {
                    let more = i64::from(value) - self.stream_window;
                    self.stream_window += more;
                    for call in self.calls.iter_mut().flatten() {
                        call.window += more;
                    }
                }
                _ => {}
            }
        }
        frame(&mut self.out, SETTINGS, ACK, 0, &[]);
        self.ready = true;
        self.send_pending();
        Ok(())
    }

    fn call(&mut self, stream: u32) -> Option<&mut Call> {
        let place = stream.checked_sub(self.first_open)? / 2;
        self.calls.get_mut(place as usize)?.as_mut()
    }

    /// Ends a call; requests of a stream that were not answered end as it did.
    fn close(&mut self, stream: u32, end: &End, ended: &mut Vec<Ended>) {
        let Some(place) = stream.checked_sub(self.first_open).map(|place| (place / 2) as usize) else {
            return;
        };
        let Some(call) = self.calls.get_mut(place).and_then(Option::take) else { return };
        self.open -= 1;
        if self.mode == Mode::Stream {
            let left = self.flying.drain(..);
            ended.extend(left.map(|due_ns| Ended { due_ns, end: end.clone() }));
        } else {
            ended.push(Ended { due_ns: call.due_ns, end: end.clone() });
        }
        while let Some(None) = self.calls.front() {
            self.calls.pop_front();
            self.first_open += 2;
        }
    }

    /// Calls that are open, with the one of a stream.
    pub fn open_calls(&self) -> usize {
        self.open
    }
}

fn broken(what: &str) -> io::Error {
    io::Error::other(what.to_owned())
}

fn word(payload: &[u8]) -> u32 {
    payload.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes))
}

fn frame(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let [_, length @ ..] = (payload.len() as u32).to_be_bytes();
    out.extend(length);
    out.extend([kind, flags]);
    out.extend(stream.to_be_bytes());
    out.extend(payload);
}

/// Headers of the first call; they leave path, authority, content-type and te in the table, in this order.
fn first_head(path: &str, authority: &str) -> Vec<u8> {
    let mut out = vec![0x83, 0x86];
    for (name, value) in [(4, path), (1, authority), (31, "application/grpc")] {
        out.push(0x40 | name);
        out.push(value.len() as u8);
        out.extend(value.as_bytes());
    }
    out.extend(b"\x40\x02te\x08trailers");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_counted_wherever_they_are_cut() {
        let data = [&[0, 0, 0, 0, 2, 7, 7][..], &[0, 0, 0, 0, 0], &[0, 0, 0, 1, 0], &[9; 256]].concat();
        for step in [1, 2, 3, 5, 7, 200, 1_000] {
            let mut reader = Reader::default();
            assert_eq!(data.chunks(step).map(|part| reader.take(part)).sum::<u32>(), 3, "{step}");
        }
    }
}
