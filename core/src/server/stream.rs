//! One call on a connection: what came and is not answered, what is answered and not sent.

use std::collections::HashMap;

use super::answer::Failure;
use super::request::{Call, Encoding, Method};

/// What a peer may send on a stream before it is told to go on.
pub const WINDOW_BYTES: i64 = 256 << 10;
/// Memory that is kept of a buffer that was larger.
pub const KEPT_BYTES: usize = 4 << 10;
/// Calls that memory is kept for.
const KEPT_CALLS: usize = 16;
/// A call without a deadline.
pub const NEVER: u64 = u64::MAX;

/// How a call ends, once what is held is sent.
#[derive(Debug)]
#[allow(missing_docs)]
pub enum End {
    Ok,
    Failure(Failure),
}

/// A call in flight. Times are milliseconds of a monotonic clock.
#[allow(missing_docs)]
pub struct Stream {
    pub method: Method,
    pub encoding: Encoding,
    pub client: Box<[u8]>,
    pub deadline: u64,
    pub receive_left: i64,
    pub receive_owed: i64,
    pub send_left: i64,
    /// Came, and no whole message or not looked at yet.
    pub body: Vec<u8>,
    /// Answered, and not sent because of the peer's windows.
    pub held: Vec<u8>,
    pub end: Option<End>,
    pub headers_sent: bool,
    pub remote_ended: bool,
    pub content_left: Option<u64>,
    /// When a message last came.
    pub touched: u64,
    /// Since when the call has waited for its peer, to end a message or to take an answer; NEVER while it has not.
    pub stands_since: u64,
    /// Health that a watcher was told last; 0 for none yet.
    pub told: u8,
    /// The service that a watcher asked for is not here.
    pub unknown: bool,
    /// It is in the list of those that wait for the connection's window.
    pub blocked: bool,
}

impl Stream {
    /// A call that begins.
    pub fn new(call: Call, deadline: u64, send_left: i64, now: u64) -> Self {
        let Call { method, encoding, client, content_bytes, .. } = call;
        Self {
            method,
            encoding,
            client,
            deadline,
            receive_left: WINDOW_BYTES,
            receive_owed: 0,
            send_left,
            body: Vec::new(),
            held: Vec::new(),
            end: None,
            headers_sent: false,
            remote_ended: false,
            content_left: content_bytes,
            touched: now,
            stands_since: NEVER,
            told: 0,
            unknown: false,
            blocked: false,
        }
    }

    /// Whether the peer is to do something: a stream may be silent between its messages, any other call may not.
    pub fn waits(&self) -> bool {
        let open = !self.remote_ended && (self.method != Method::Stream || !self.body.is_empty());
        open || !self.held.is_empty()
    }

    /// Whether its next check may be answered at once: nothing of it waits.
    pub fn flows(&self) -> bool {
        matches!(self.method, Method::Check | Method::Stream)
            && self.end.is_none()
            && self.body.is_empty()
            && self.held.is_empty()
    }

    fn bytes(&self) -> usize {
        self.body.len() + self.held.len()
    }
}

/// The calls of a connection, by stream; the one opened last beside the others, since most end at once.
#[derive(Default)]
pub struct Streams {
    latest: Option<(u32, Stream)>,
    rest: HashMap<u32, Stream>,
    bytes: usize,
}

impl Streams {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.rest.len() + usize::from(self.latest.is_some())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes that they hold together.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes a call out; it is put back unless it has ended.
    pub fn take(&mut self, id: u32) -> Option<Stream> {
        let stream = match self.latest.take() {
            Some((latest, stream)) if latest == id => Some(stream),
            other => {
                self.latest = other;
                if self.rest.is_empty() { None } else { self.rest.remove(&id) }
            }
        }?;
        self.bytes -= stream.bytes();
        Some(stream)
    }

    /// Puts a call in.
    pub fn put(&mut self, id: u32, stream: Stream) {
        self.bytes += stream.bytes();
        if let Some((older, stream)) = self.latest.replace((id, stream)) {
            self.rest.insert(older, stream);
        }
    }

    /// A call, to change what it does not hold.
    pub fn get(&mut self, id: u32) -> Option<&mut Stream> {
        match &mut self.latest {
            Some((latest, stream)) if *latest == id => Some(stream),
            _ if self.rest.is_empty() => None,
            _ => self.rest.get_mut(&id),
        }
    }

    /// The client of a call; nobody where it is not there.
    pub fn client(&self, id: u32) -> &[u8] {
        let stream = match &self.latest {
            Some((latest, stream)) if *latest == id => Some(stream),
            _ => self.rest.get(&id),
        };
        stream.map_or(&[], |stream| &stream.client)
    }

    /// Changes all of them, without touching what they hold.
    pub fn each(&mut self, mut change: impl FnMut(u32, &mut Stream)) {
        if let Some((id, stream)) = &mut self.latest {
            change(*id, stream);
        }
        self.rest.iter_mut().for_each(|(id, stream)| change(*id, stream));
    }

    /// Gives back the memory of what was large and is small now.
    pub fn give_back(&mut self) {
        self.rest.shrink_to(KEPT_CALLS);
        self.each(|_, stream| {
            stream.body.shrink_to(KEPT_BYTES);
            stream.held.shrink_to(KEPT_BYTES);
        });
    }

    /// What their memory takes, whether used or not.
    #[cfg(test)]
    pub fn capacity(&mut self) -> usize {
        let mut bytes = self.rest.capacity() * size_of::<(u32, Stream)>();
        self.each(|_, stream| bytes += stream.body.capacity() + stream.held.capacity());
        bytes
    }

    /// The calls of which something is true.
    pub fn find(&self, wanted: impl Fn(&Stream) -> bool) -> Vec<u32> {
        let latest = self.latest.iter().map(|(id, stream)| (id, stream));
        latest.chain(self.rest.iter()).filter(|(_, stream)| wanted(stream)).map(|(id, _)| *id).collect()
    }
}
