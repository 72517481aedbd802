//! The server with a constant verdict, to measure the transport alone: `constant PORT`.
use std::sync::Arc;

use eir_core::check::{Question, Verdict};
use eir_core::server::service::{Judge, Service, Source};
use eir_core::server::worker::{Inbox, Worker};

struct Constant;

impl Judge for Constant {
    fn check(&self, _: &Question<'_>, _: u64) -> Verdict {
        Verdict { status: 1, reason: 16, serial: 7, cache_seconds: 60, ..Verdict::default() }
    }

    fn check_batch(&self, questions: &[Question<'_>], now: u64, out: &mut Vec<Verdict>) {
        out.extend(questions.iter().map(|question| self.check(question, now)));
    }

    fn status_map(&self, _: &[u8]) -> &[u8] {
        &[0, 1, 2, 3, 4]
    }

    fn state(&self) -> (u64, bool) {
        (7, false)
    }
}

impl Source for Constant {
    type Judge = Self;
    type Held = Self;

    fn hold(&self) -> Self {
        Self
    }

    fn judge(held: &Self) -> Option<&Self> {
        Some(held)
    }
}

fn main() -> std::io::Result<()> {
    let port = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(7001_u16);
    let listener = std::net::TcpListener::bind(("127.0.0.1", port))?;
    let inbox = Arc::new(Inbox::new()?);
    let deals = Arc::clone(&inbox);
    std::thread::spawn(move || listener.incoming().flatten().for_each(|socket| deals.put(socket)));
    let service =
        Service::new(Arc::new(Constant), Arc::default(), Default::default(), Arc::default(), Arc::default());
    Worker::new(inbox, service)?.run()
}
