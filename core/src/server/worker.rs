//! One thread of the server: sockets in an epoll of its own, and the connections behind them.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{EventfdFlags, Timespec, eventfd};

use super::connection::Connection;
use super::service::{Service, Source};

const READ_BYTES: usize = 128 << 10;
const EVENTS_MAX: usize = 256;
const TICK: Duration = Duration::from_millis(50);
/// How long a peer may take to close after us: a close with bytes unread would take back our answers.
const LINGER_MILLISECONDS: u64 = 1000;
const WAKE: u64 = u64::MAX;

/// Where the acceptor puts connections, and wakes the thread.
pub struct Inbox {
    sockets: Mutex<Vec<TcpStream>>,
    event: OwnedFd,
}

impl Inbox {
    /// An empty one.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self {
            sockets: Mutex::default(),
            event: eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?,
        })
    }

    /// Hands over a connection.
    pub fn put(&self, socket: TcpStream) {
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner).push(socket);
        self.wake();
    }

    /// Lets the thread look at what has changed.
    pub fn wake(&self) {
        // It can only fail when it is full, and then the thread is woken already.
        let _ = rustix::io::write(&self.event, &1_u64.to_ne_bytes());
    }
}

struct Peer {
    socket: TcpStream,
    connection: Connection,
    events: EventFlags,
    closing_at: Option<u64>,
}

/// The thread's state.
pub struct Worker<S> {
    inbox: Arc<Inbox>,
    service: Service<S>,
    epoll: OwnedFd,
    peers: HashMap<u64, Peer>,
    next: u64,
    buffer: Vec<u8>,
    began: Instant,
}

impl<S: Source> Worker<S> {
    /// A thread without connections.
    pub fn new(inbox: Arc<Inbox>, service: Service<S>) -> std::io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &inbox.event, EventData::new_u64(WAKE), EventFlags::IN)?;
        let buffer = vec![0; READ_BYTES];
        Ok(Self { inbox, service, epoll, peers: HashMap::new(), next: 0, buffer, began: Instant::now() })
    }

    fn clock(&mut self) -> u64 {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.service.now = since.as_secs();
        self.began.elapsed().as_millis() as u64
    }

    /// Serves for as long as `go_on` says.
    pub fn run(&mut self, go_on: impl Fn() -> bool) -> std::io::Result<()> {
        let mut events = Vec::with_capacity(EVENTS_MAX);
        let wait = Timespec { tv_sec: 0, tv_nsec: TICK.as_nanos() as _ };
        let mut ticked = Instant::now();
        while go_on() {
            events.clear();
            match epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&wait)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            let now = self.clock();
            for event in &events {
                match event.data.u64() {
                    WAKE => self.woken(now),
                    id => self.serve(id, event.flags, now),
                }
            }
            if ticked.elapsed() >= TICK {
                ticked = Instant::now();
                self.tick(now);
            }
        }
        Ok(())
    }

    fn woken(&mut self, now: u64) {
        let _ = rustix::io::read(&self.inbox.event, &mut [0; 8]);
        let sockets = std::mem::take(&mut *self.inbox.sockets.lock().unwrap_or_else(PoisonError::into_inner));
        for socket in sockets {
            let connection = Connection::new(&self.service, now);
            let id = self.next;
            self.next += 1;
            let ready = socket.set_nonblocking(true).is_ok()
                && socket.set_nodelay(true).is_ok()
                && epoll::add(&self.epoll, &socket, EventData::new_u64(id), EventFlags::IN).is_ok();
            if ready {
                let peer = Peer { socket, connection, events: EventFlags::IN, closing_at: None };
                self.peers.insert(id, peer);
                self.serve(id, EventFlags::empty(), now);
            }
        }
        self.service.counters.connections.set(self.peers.len() as u64);
    }

    fn serve(&mut self, id: u64, events: EventFlags, now: u64) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let (service, buffer) = (&mut self.service, &mut self.buffer);
        let open = catch_unwind(AssertUnwindSafe(|| {
            let reads = events.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR);
            (!reads || read(peer, buffer, service, now)) && write(peer, now)
        }));
        if open.is_err() {
            self.service.counters.panics.add(1);
        }
        if !open.unwrap_or(false) || !watch(&self.epoll, id, peer) {
            self.close(id);
        }
    }

    fn close(&mut self, id: u64) {
        if let Some(mut peer) = self.peers.remove(&id) {
            self.service.calls -= peer.connection.abandon();
            self.service.counters.connections.set(self.peers.len() as u64);
        }
    }

    fn tick(&mut self, now: u64) {
        let ids: Vec<u64> = self.peers.keys().copied().collect();
        for id in ids {
            let Some(peer) = self.peers.get_mut(&id) else { continue };
            let lingers = peer.closing_at.is_none_or(|since| now - since < LINGER_MILLISECONDS);
            let open = lingers && peer.connection.tick(&mut self.service, now) && write(peer, now);
            if !open || !watch(&self.epoll, id, peer) {
                self.close(id);
            }
        }
    }
}

/// Reads once; false at the end of the connection.
fn read<S: Source>(peer: &mut Peer, buffer: &mut [u8], service: &mut Service<S>, now: u64) -> bool {
    match peer.socket.read(buffer) {
        Ok(0) => false,
        Ok(bytes) => {
            peer.connection.receive(&buffer[..bytes], service, now);
            true
        }
        Err(error) => matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
    }
}

/// Writes what the socket takes; false where it is broken.
fn write(peer: &mut Peer, now: u64) -> bool {
    while !peer.connection.output().is_empty() {
        match peer.socket.write(peer.connection.output()) {
            Ok(bytes) => peer.connection.written(bytes, now),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return false,
        }
    }
    if peer.connection.over() && peer.closing_at.is_none() {
        peer.closing_at = Some(now);
        return peer.socket.shutdown(Shutdown::Write).is_ok();
    }
    true
}

/// Listens for what a connection needs next.
fn watch(epoll: &OwnedFd, id: u64, peer: &mut Peer) -> bool {
    let mut wanted = EventFlags::empty();
    wanted.set(EventFlags::IN, peer.connection.wants_input() || peer.closing_at.is_some());
    wanted.set(EventFlags::OUT, !peer.connection.output().is_empty());
    if wanted == peer.events {
        return true;
    }
    peer.events = wanted;
    epoll::modify(epoll, &peer.socket, EventData::new_u64(id), wanted).is_ok()
}
