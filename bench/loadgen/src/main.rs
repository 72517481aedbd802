//! Asks an EquipmentCheckService, at a fixed rate or as fast as it answers, and tells the latencies as JSON.
//!
//! ```text
//!     schedule ──due──► connections ──answers──► histogram ──► JSON
//! ```
//!
//! Open loop (`--rate`): each request has a time when it is due, whatever became of those before it, and its
//! latency counts from then. Closed loop: so many in flight on each connection, latency from the sending.
//! It never sleeps in the open loop, so it wants a core of its own.

mod connection;
mod hpack;
mod report;
mod requests;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs, io, process, thread};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use connection::{Connection, End, Ended};
use report::Tally;
use requests::Mode;

const DRAIN: Duration = Duration::from_secs(10);
const CONNECT: Duration = Duration::from_secs(10);
const USAGE: &str = "usage: loadgen --address HOST:PORT --requests FILE [--mode unary|stream|batch]
    [--rate REQUESTS_A_SECOND | --in-flight COUNT] [--connections COUNT] [--seconds S] [--warmup-seconds S]
    [--batch-rows COUNT] [--until input-ends]
FILE has lines of IMEI IMSI. With `--until input-ends` it stops when its standard input ends, at the latest
after --seconds.";

/// What the command line says.
pub struct Options {
    address: SocketAddr,
    requests: String,
    mode: Mode,
    /// Requests a second; 0: closed loop.
    rate: f64,
    in_flight: usize,
    connections: usize,
    seconds: f64,
    warmup_seconds: f64,
    batch_rows: usize,
    until_input_ends: bool,
}

fn options() -> Option<Options> {
    let mut out = Options {
        address: SocketAddr::from(([127, 0, 0, 1], 0)),
        requests: String::new(),
        mode: Mode::Unary,
        rate: 0.0,
        in_flight: 1,
        connections: 1,
        seconds: 5.0,
        warmup_seconds: 1.0,
        batch_rows: 1_024,
        until_input_ends: false,
    };
    let mut arguments = env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next()?;
        match name.as_str() {
            "--address" => out.address = value.parse().ok()?,
            "--requests" => out.requests = value,
            "--mode" => out.mode = Mode::named(&value)?,
            "--rate" => out.rate = value.parse().ok().filter(|rate| *rate > 0.0)?,
            "--in-flight" => out.in_flight = value.parse().ok().filter(|count| *count > 0)?,
            "--connections" => out.connections = value.parse().ok().filter(|count| *count > 0)?,
            "--seconds" => out.seconds = value.parse().ok().filter(|seconds| *seconds > 0.0)?,
            "--warmup-seconds" => {
                out.warmup_seconds = value.parse().ok().filter(|seconds| *seconds >= 0.0)?
            }
            "--until" if value == "input-ends" => out.until_input_ends = true,
            "--batch-rows" => out.batch_rows = value.parse().ok().filter(|rows| *rows > 0)?,
            _ => return None,
        }
    }
    (out.address.port() != 0 && !out.requests.is_empty()).then_some(out)
}

/// Connections, what is to be sent on them, and what came of it.
struct Load<'a> {
    stop: Arc<AtomicBool>,
    options: &'a Options,
    poll: Poll,
    connections: Vec<Connection>,
    /// Due times that wait for room, by connection.
    waiting: Vec<VecDeque<u64>>,
    requests: usize,
    next_request: usize,
    started: Instant,
    tally: Tally,
}

impl Load<'_> {
    fn open(options: &Options) -> io::Result<Load<'_>> {
        let text = fs::read_to_string(&options.requests)?;
        let frames = Rc::new(requests::frames(options.mode, &text, options.batch_rows));
        if frames.is_empty() {
            return Err(io::Error::other("there are too few requests in the file"));
        }
        let poll = Poll::new()?;
        let mut connections = Vec::new();
        for number in 0..options.connections {
            let std_socket = std::net::TcpStream::connect_timeout(&options.address, CONNECT)?;
            std_socket.set_nodelay(true)?;
            std_socket.set_nonblocking(true)?;
            let mut socket = TcpStream::from_std(std_socket);
            let both = Interest::READABLE | Interest::WRITABLE;
            poll.registry().register(&mut socket, Token(number), both)?;
            let authority = options.address.to_string();
            connections.push(Connection::new(socket, options.mode, &authority, Rc::clone(&frames)));
        }
        let waiting = connections.iter().map(|_| VecDeque::new()).collect();
        let (requests, started) = (frames.len(), Instant::now());
        let tally = Tally::new(options.warmup_seconds, options.seconds, options.rate > 0.0);
        let stop = if options.until_input_ends { input_ended() } else { Arc::default() };
        Ok(Load { stop, options, poll, connections, waiting, requests, next_request: 0, started, tally })
    }

    /// Whether the time is over; where the standard input has ended, it is from now on.
    fn over(&mut self) -> bool {
        let now_ns = self.now_ns();
        if self.stop.load(Ordering::Relaxed) {
            self.tally.end(now_ns);
        }
        self.tally.over(now_ns)
    }

    fn now_ns(&self) -> u64 {
        self.started.elapsed().as_nanos() as u64
    }

    /// Reads what came on any connection, for at most so long; None: until something comes.
    fn step(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        match self.poll.poll(events, timeout) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        let mut ended: Vec<Ended> = Vec::new();
        for event in events.iter() {
            let number = event.token().0;
            loop {
                let more = self.connections[number].receive(&mut ended)?;
                let now_ns = self.now_ns();
                for one in ended.drain(..) {
                    self.tally.ended(&one, now_ns);
                }
                if !more {
                    break;
                }
            }
            self.fill(number);
            self.connections[number].flush()?;
        }
        Ok(())
    }

    /// Sends what waits for room on a connection; in the closed loop, what keeps it full. All of it leaves together, so
    /// one time is that of all.
    fn fill(&mut self, number: usize) {
        let (closed, now_ns) = (self.options.rate == 0.0, self.now_ns());
        loop {
            let connection = &self.connections[number];
            let due_ns = if !connection.has_room() {
                return;
            } else if !closed {
                match self.waiting[number].pop_front() {
                    Some(due_ns) => due_ns,
                    None => return,
                }
            } else if connection.in_flight() < self.options.in_flight && !self.tally.over(now_ns) {
                now_ns
            } else {
                return;
            };
            self.tally.sent(due_ns, now_ns);
            self.connections[number].ask(self.next_request, due_ns);
            self.next_request = (self.next_request + 1) % self.requests;
        }
    }

    fn connect(&mut self, events: &mut Events) -> io::Result<()> {
        while self.connections.iter().any(|one| !one.ready) {
            if self.started.elapsed() > CONNECT {
                return Err(io::Error::other("the server does not speak HTTP/2"));
            }
            self.poll.poll(events, Some(Duration::from_millis(100)))?;
            for one in &mut self.connections {
                one.flush()?;
                one.receive(&mut Vec::new())?;
                one.flush()?;
            }
        }
        self.started = Instant::now();
        Ok(())
    }

    fn run(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(1_024);
        self.connect(&mut events)?;
        let count = self.connections.len();
        let (interval_ns, mut sent) = (1e9 / self.options.rate, 0u64);
        for number in 0..count {
            self.fill(number);
            self.connections[number].flush()?;
        }
        while !self.over() {
            if self.options.rate == 0.0 {
                self.step(&mut events, Some(Duration::from_millis(100)))?;
                continue;
            }
            let now_ns = self.now_ns();
            loop {
                let due_ns = (sent as f64 * interval_ns) as u64;
                if due_ns > now_ns {
                    break;
                }
                let number = sent as usize % count;
                self.waiting[number].push_back(due_ns);
                self.fill(number);
                self.connections[number].flush()?;
                sent += 1;
            }
            self.step(&mut events, Some(Duration::ZERO))?;
        }
        self.drain(&mut events)
    }

    /// Waits for the answers that are missing.
    fn drain(&mut self, events: &mut Events) -> io::Result<()> {
        let late = Instant::now() + DRAIN;
        let missing = |load: &Self| {
            let waiting: usize = load.waiting.iter().map(VecDeque::len).sum();
            waiting + load.connections.iter().map(Connection::in_flight).sum::<usize>()
        };
        while missing(self) > 0 && Instant::now() < late {
            self.step(events, Some(Duration::from_millis(10)))?;
        }
        self.tally.unanswered = missing(self) as u64;
        for one in &mut self.connections {
            one.end_stream();
            one.flush()?;
        }
        let open = |load: &Self| load.connections.iter().any(|one| one.open_calls() > 0);
        while self.options.mode == Mode::Stream && open(self) {
            if Instant::now() > late {
                return Err(io::Error::other("a stream did not end"));
            }
            self.step(events, Some(Duration::from_millis(10)))?;
        }
        Ok(())
    }
}

/// Set when the standard input ends.
fn input_ended() -> Arc<AtomicBool> {
    let ended = Arc::new(AtomicBool::new(false));
    let set = Arc::clone(&ended);
    thread::spawn(move || {
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        set.store(true, Ordering::Relaxed);
    });
    ended
}

fn main() {
    let Some(options) = options() else {
        eprintln!("{USAGE}");
        process::exit(2);
    };
    let done = Load::open(&options).and_then(|mut load| {
        load.run()?;
        let rows = if options.mode == Mode::Batch { options.batch_rows } else { 1 };
        println!("{}", load.tally.json(&options, rows));
        Ok(())
    });
    if let Err(error) = done {
        eprintln!("loadgen: {error}");
        process::exit(1);
    }
}
