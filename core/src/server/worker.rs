//! One thread of the server: sockets in an epoll of its own, and the connections behind them.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{EventfdFlags, Timespec, eventfd};

use super::connection::Connection;
use super::service::{Service, Source};

const READ_BYTES: usize = 128 << 10;
/// Where connections hold as much as they may together: a frame, so that what waits for its turn stays small.
const READ_BYTES_TIGHT: usize = 16 << 10;
const EVENTS_MAX: usize = 256;
const TICK: Duration = Duration::from_millis(50);
/// How long a peer may take to close after us: a close with bytes unread would take back our answers.
const LINGER_MILLISECONDS: u64 = 1000;
const WAKE: u64 = u64::MAX;

/// Where the acceptor puts connections, and wakes the thread.
pub struct Inbox {
    sockets: Mutex<Vec<TcpStream>>,
    event: OwnedFd,
    open: AtomicUsize,
}

impl Inbox {
    /// An empty one.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self {
            sockets: Mutex::default(),
            event: eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?,
            open: AtomicUsize::new(0),
        })
    }

    /// Hands over a connection.
    pub fn put(&self, socket: TcpStream) {
        self.open.fetch_add(1, Ordering::Relaxed);
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner).push(socket);
        self.wake();
    }

    /// Connections that the thread has, or is to take.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
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
pub struct Worker<S: Source> {
    inbox: Arc<Inbox>,
    service: Service<S>,
    epoll: OwnedFd,
    peers: HashMap<u64, Peer>,
    /// Those that had their turn, and have more to be done.
    waiting: Vec<u64>,
    next: u64,
    buffer: Vec<u8>,
    began: Instant,
    /// Health, and whether it is for good, as watchers know it.
    told: (u8, bool),
    draining_since: Option<u64>,
}

impl<S: Source> Worker<S> {
    /// A thread without connections.
    pub fn new(inbox: Arc<Inbox>, service: Service<S>) -> std::io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &inbox.event, EventData::new_u64(WAKE), EventFlags::IN)?;
        let buffer = vec![0; READ_BYTES];
        let told = (service.shared.health(), service.shared.ended());
        let (peers, waiting, began) = (HashMap::new(), Vec::new(), Instant::now());
        Ok(Self { inbox, service, epoll, peers, waiting, next: 0, buffer, began, told, draining_since: None })
    }

    fn clock(&mut self) -> u64 {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.service.now = since.as_secs();
        self.began.elapsed().as_millis() as u64
    }

    /// Serves until it has drained.
    pub fn run(&mut self) -> std::io::Result<()> {
        let mut events = Vec::with_capacity(EVENTS_MAX);
        let tick = Timespec { tv_sec: 0, tv_nsec: TICK.as_nanos() as _ };
        let mut ticked = Instant::now();
        loop {
            events.clear();
            let wait = if self.waiting.is_empty() { tick } else { Timespec::default() };
            match epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&wait)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            let now = self.clock();
            let waited = std::mem::take(&mut self.waiting);
            for event in &events {
                match event.data.u64() {
                    WAKE => self.woken(now),
                    id => self.serve(id, event.flags, now),
                }
            }
            waited.into_iter().for_each(|id| self.serve(id, EventFlags::empty(), now));
            self.heed(now);
            if ticked.elapsed() >= TICK {
                ticked = Instant::now();
                self.tick(now);
            }
            if self.drained(now) {
                return Ok(());
            }
        }
    }

    /// Lets go of all connections.
    pub fn abandon(&mut self) {
        let ids: Vec<u64> = self.peers.keys().copied().collect();
        ids.into_iter().for_each(|id| self.close(id));
    }

    /// Does what others have told all threads.
    fn heed(&mut self, now: u64) {
        let health = (self.service.shared.health(), self.service.shared.ended());
        if health != self.told {
            self.told = health;
            self.each(now, |peer, service| {
                peer.connection.tell_watchers(service);
                true
            });
        }
        if self.service.shared.draining() && self.draining_since.is_none() {
            self.draining_since = Some(now);
            self.each(now, |peer, _| {
                peer.connection.drain(now);
                true
            });
        }
    }

    fn drained(&self, now: u64) -> bool {
        self.draining_since.is_some_and(|since| {
            self.inbox.open() == 0 || now - since > self.service.limits.drain_milliseconds_max
        })
    }

    fn woken(&mut self, now: u64) {
        let _ = rustix::io::read(&self.inbox.event, &mut [0; 8]);
        let sockets = std::mem::take(&mut *self.inbox.sockets.lock().unwrap_or_else(PoisonError::into_inner));
        for socket in sockets {
            let mut connection = Connection::new(&self.service, now);
            if self.draining_since.is_some() {
                connection.drain(now);
            }
            let id = self.next;
            self.next += 1;
            let ready = socket.set_nonblocking(true).is_ok()
                && socket.set_nodelay(true).is_ok()
                && epoll::add(&self.epoll, &socket, EventData::new_u64(id), EventFlags::IN).is_ok();
            if ready {
                let peer = Peer { socket, connection, events: EventFlags::IN, closing_at: None };
                self.peers.insert(id, peer);
                self.serve(id, EventFlags::empty(), now);
            } else {
                self.inbox.open.fetch_sub(1, Ordering::Relaxed);
            }
        }
        self.count_connections();
    }

    fn count_connections(&mut self) {
        self.service.connections = self.peers.len();
        self.service.counters.connections.set(self.peers.len() as u64);
    }

    fn serve(&mut self, id: u64, events: EventFlags, now: u64) {
        let reads = events.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR);
        self.turn(id, now, |peer, service, buffer| !reads || read(peer, buffer, service, now));
    }

    /// Does something with a connection, and sends what comes of it; where it says false, the connection is closed.
    fn turn(&mut self, id: u64, now: u64, work: impl FnOnce(&mut Peer, &mut Service<S>, &mut [u8]) -> bool) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let (service, buffer) = (&mut self.service, &mut self.buffer);
        service.turn();
        let open = catch_unwind(AssertUnwindSafe(|| work(peer, service, buffer) && send(peer, service, now)));
        if open.is_err() {
            service.counters.panics.add(1);
        }
        if !open.unwrap_or(false) || !watch(&self.epoll, id, peer, service) {
            self.close(id);
        } else if peer.connection.waits_for_turn(service) && !self.waiting.contains(&id) {
            self.waiting.push(id);
        }
    }

    fn close(&mut self, id: u64) {
        if let Some(mut peer) = self.peers.remove(&id) {
            peer.connection.abandon(&mut self.service);
            self.inbox.open.fetch_sub(1, Ordering::Relaxed);
            self.count_connections();
            if self.peers.len() < self.peers.capacity() / 8 {
                self.peers.shrink_to(2 * self.peers.len());
            }
        }
    }

    fn tick(&mut self, now: u64) {
        self.each(now, |peer, service| {
            let lingers = peer.closing_at.is_none_or(|since| now - since < LINGER_MILLISECONDS);
            lingers && peer.connection.tick(service, now)
        });
        self.service.counters.held.set(self.service.held as u64);
    }

    /// Does something with every connection, as `turn`.
    fn each(&mut self, now: u64, mut work: impl FnMut(&mut Peer, &mut Service<S>) -> bool) {
        let ids: Vec<u64> = self.peers.keys().copied().collect();
        for id in ids {
            self.turn(id, now, |peer, service, _| work(peer, service));
        }
    }
}

/// Reads once; false at the end of the connection.
fn read<S: Source>(peer: &mut Peer, buffer: &mut [u8], service: &mut Service<S>, now: u64) -> bool {
    let room = if service.is_tight() { READ_BYTES_TIGHT } else { buffer.len() };
    match peer.socket.read(&mut buffer[..room]) {
        Ok(0) => false,
        Ok(bytes) => {
            peer.connection.receive(&buffer[..bytes], service, now);
            true
        }
        Err(error) => matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
    }
}

/// Sends what there is, and what comes of it when frames go on that had waited for that; false where it is broken.
fn send<S: Source>(peer: &mut Peer, service: &mut Service<S>, now: u64) -> bool {
    loop {
        if !write(peer, now) {
            return false;
        }
        peer.connection.count_held(service);
        if !peer.connection.proceed(service, now) {
            return true;
        }
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
fn watch<S: Source>(epoll: &OwnedFd, id: u64, peer: &mut Peer, service: &Service<S>) -> bool {
    let mut wanted = EventFlags::empty();
    wanted.set(EventFlags::IN, peer.connection.wants_input(service) || peer.closing_at.is_some());
    wanted.set(EventFlags::OUT, !peer.connection.output().is_empty());
    if wanted == peer.events {
        return true;
    }
    peer.events = wanted;
    epoll::modify(epoll, &peer.socket, EventData::new_u64(id), wanted).is_ok()
}
