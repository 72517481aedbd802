//! The server: an acceptor that deals connections to threads, and how it starts, drains and is read.
//!
//! ```text
//! listeners ──► acceptor ──least loaded──► inbox ──► worker
//! ```

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::service::{Service, Source};
use super::worker::{Inbox, Worker};
use super::{Limits, Shared};
use crate::counters::{Counters, abuse};
use crate::sightings::{Queues, Wanted};

/// How often the acceptor looks whether it is to stop.
const ACCEPT_WAIT: Duration = Duration::from_millis(50);
/// Pause where nothing can be accepted: without file descriptors, trying at once again is of no use.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// One thread's end of what others read.
struct Seat {
    inbox: Arc<Inbox>,
    counters: Arc<Counters>,
    queues: Arc<Queues>,
}

/// The server of the check port.
pub struct Server<S> {
    source: Arc<S>,
    shared: Arc<Shared>,
    limits: Limits,
    seats: Arc<[Seat]>,
    /// What the acceptor counts.
    accepted: Arc<Counters>,
    listeners: Mutex<Vec<TcpListener>>,
    stop: Arc<AtomicBool>,
    acceptor: Mutex<Option<JoinHandle<()>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    port: u16,
}

impl<S: Source> Server<S> {
    /// Binds every address of a host, for so many threads.
    pub fn bind(
        (host, port): (&str, u16),
        threads: usize,
        source: Arc<S>,
        limits: Limits,
        wanted: Wanted,
    ) -> std::io::Result<Self> {
        let listeners = bind(host, port)?;
        let port = listeners[0].local_addr()?.port();
        let seat = || {
            let (counters, queues) = (Arc::default(), Arc::default());
            Ok(Seat { inbox: Arc::new(Inbox::new()?), counters, queues })
        };
        let seats = (0..threads.max(1)).map(|_| seat()).collect::<std::io::Result<_>>()?;
        Ok(Self {
            source,
            shared: Arc::new(Shared::new(wanted)),
            limits,
            seats,
            accepted: Arc::default(),
            listeners: Mutex::new(listeners),
            stop: Arc::default(),
            acceptor: Mutex::default(),
            threads: Mutex::default(),
            port,
        })
    }

    /// The port that is bound.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Starts the threads. Health is NOT_SERVING until `set_serving`.
    pub fn start(&self) -> std::io::Result<()> {
        let mut threads = lock(&self.threads);
        for (number, seat) in self.seats.iter().enumerate() {
            let (counters, queues) = (Arc::clone(&seat.counters), Arc::clone(&seat.queues));
            let (source, shared) = (Arc::clone(&self.source), Arc::clone(&self.shared));
            let service = Service::new(source, shared, self.limits, Arc::clone(&counters), queues);
            let mut worker = Worker::new(Arc::clone(&seat.inbox), service)?;
            let run = move || serve(&mut worker, &counters);
            threads.push(Builder::new().name(format!("check-{number}")).spawn(run)?);
        }
        let listeners = std::mem::take(&mut *lock(&self.listeners));
        let acceptor = Acceptor {
            listeners,
            seats: Arc::clone(&self.seats),
            stop: Arc::clone(&self.stop),
            counters: Arc::clone(&self.accepted),
            connections_max: self.limits.connections_max,
        };
        *lock(&self.acceptor) = Some(Builder::new().name("accept".into()).spawn(move || acceptor.run())?);
        Ok(())
    }

    /// Changes what health says.
    pub fn set_serving(&self, serving: bool) {
        self.shared.set_serving(serving);
        self.wake();
    }

    /// Health is NOT_SERVING for good; calls are answered on.
    pub fn end(&self) {
        self.shared.end();
        self.wake();
    }

    /// Accepts no more, asks clients to go, lets calls in flight finish, and ends; a server that never started ends too.
    pub fn drain(&self) {
        self.stop.store(true, Ordering::Relaxed);
        lock(&self.listeners).clear();
        if let Some(acceptor) = lock(&self.acceptor).take() {
            // A thread that panicked has ended as well.
            let _ = acceptor.join();
        }
        self.shared.end();
        self.shared.drain();
        self.wake();
        for thread in std::mem::take(&mut *lock(&self.threads)) {
            let _ = thread.join();
        }
    }

    fn wake(&self) {
        self.seats.iter().for_each(|seat| seat.inbox.wake());
    }

    /// Counters of all threads, and of the acceptor.
    pub fn counters(&self) -> impl Iterator<Item = &Counters> {
        self.seats.iter().map(|seat| &*seat.counters).chain([&*self.accepted])
    }

    /// What threads have put for Python.
    pub fn queues(&self) -> impl Iterator<Item = &Queues> {
        self.seats.iter().map(|seat| &*seat.queues)
    }

    /// Begins a trial on a share of the subscribers, or ends it with 0.
    pub fn set_trial_threshold(&self, threshold: u64) {
        self.shared.set_trial_threshold(threshold);
    }
}

impl<S> Drop for Server<S> {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.shared.drain();
        self.seats.iter().for_each(|seat| seat.inbox.wake());
    }
}

/// Serves until it has drained: a panic costs the connections of its thread, not the thread.
fn serve<S: Source>(worker: &mut Worker<S>, counters: &Counters) {
    while !matches!(catch_unwind(AssertUnwindSafe(|| worker.run())), Ok(Ok(()))) {
        counters.panics.add(1);
        worker.abandon();
        std::thread::sleep(ACCEPT_PAUSE);
    }
    worker.abandon();
}

fn bind(host: &str, port: u16) -> std::io::Result<Vec<TcpListener>> {
    let mut listeners: Vec<TcpListener> = Vec::new();
    for address in (host, port).to_socket_addrs()? {
        // Of a host with several addresses all get one port.
        let port = match listeners.first() {
            Some(first) => first.local_addr()?.port(),
            None => address.port(),
        };
        let listener = TcpListener::bind(SocketAddr::new(address.ip(), port))?;
        listener.set_nonblocking(true)?;
        listeners.push(listener);
    }
    if listeners.is_empty() {
        return Err(ErrorKind::AddrNotAvailable.into());
    }
    Ok(listeners)
}

struct Acceptor {
    listeners: Vec<TcpListener>,
    seats: Arc<[Seat]>,
    stop: Arc<AtomicBool>,
    counters: Arc<Counters>,
    connections_max: usize,
}

impl Acceptor {
    fn run(&self) {
        let wait = Timespec { tv_sec: 0, tv_nsec: ACCEPT_WAIT.as_nanos() as _ };
        loop {
            // What was connected before the stop is accepted, and asked to go: it loses no call.
            let last = self.stop.load(Ordering::Relaxed);
            self.listeners.iter().for_each(|listener| self.accept(listener));
            if last {
                return;
            }
            let mut ready: Vec<PollFd<'_>> =
                self.listeners.iter().map(|listener| PollFd::new(listener, PollFlags::IN)).collect();
            if poll(&mut ready, Some(&wait)).is_err() {
                std::thread::sleep(ACCEPT_PAUSE);
            }
        }
    }

    fn accept(&self, listener: &TcpListener) {
        loop {
            match listener.accept() {
                Ok((socket, _)) => {
                    let open: usize = self.seats.iter().map(|seat| seat.inbox.open()).sum();
                    if open >= self.connections_max {
                        self.counters.abuses[abuse::TOO_MANY].add(1);
                        continue;
                    }
                    if let Some(seat) = self.seats.iter().min_by_key(|seat| seat.inbox.open()) {
                        seat.inbox.put(socket);
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error)
                    if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::ConnectionAborted) => {}
                Err(_) => {
                    std::thread::sleep(ACCEPT_PAUSE);
                    return;
                }
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
