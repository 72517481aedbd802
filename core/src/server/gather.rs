//! Checks that came whole are gathered over the frames of a read, and answered together, in order.
//!
//! ```text
//! content ──whole, plain, valid──► together ──judged at once──► answers, one frame for those of a stream that follow
//!         └──anything else: when what was gathered is answered──► message
//! ```

use super::calls::CREDIT_PER_CALL;
use super::connection::{Broken, Connection};
use super::request::Method;
use super::service::{Service, Source};
use super::stream::{self, End};
use super::together::{Check, Together};
use super::valid;
use super::{calls, service::PREFIX_BYTES};

impl Connection {
    /// Takes content of a call; it may be its end.
    pub(super) fn content<'d, S: Source>(
        &mut self,
        id: u32,
        mut content: &'d [u8],
        end_stream: bool,
        together: &mut Together<'d>,
        service: &mut Service<S>,
        now: u64,
    ) -> Result<(), Broken> {
        if let Some(part) = self.streams.get(id).and_then(|stream| calls::missing(stream, content)) {
            // The message that was not whole is answered alone, those behind it with others.
            let (first, rest) = content.split_at(part);
            self.answer(together, service);
            self.message(id, first, end_stream && rest.is_empty(), service, now)?;
            if rest.is_empty() {
                return Ok(());
            }
            content = rest;
        }
        let used = self.gather(id, content, end_stream, together, service, now);
        if used == content.len() && !(end_stream && self.streams.get(id).is_some()) {
            return Ok(());
        }
        self.answer(together, service);
        self.message(id, &content[used..], end_stream, service, now)
    }

    /// Gathers checks from the begin of some content, as far as there are such; returns how much of it was used.
    fn gather<'d, S: Source>(
        &mut self,
        id: u32,
        content: &'d [u8],
        end_stream: bool,
        together: &mut Together<'d>,
        service: &mut Service<S>,
        now: u64,
    ) -> usize {
        let mut used = 0;
        while used < content.len() {
            if together.is_full() {
                self.answer(together, service);
            }
            let Some(stream) = self.streams.get(id).filter(|stream| stream.flows()) else { break };
            let unary = stream.method == Method::Check;
            let Some(message) = plain(&content[used..]) else { break };
            let Some(request) = valid::check(stream.method, message, &service.limits) else { break };
            let whole = PREFIX_BYTES + message.len();
            if unary {
                if !end_stream || whole < content.len() || now >= stream.deadline {
                    break;
                }
                let Some(mut stream) = self.streams.take(id) else { break };
                stream.remote_ended = true;
                together.calls.push(stream);
            } else {
                stream.receive_owed += whole as i64;
                (stream.touched, stream.stands_since) = (now, stream::NEVER);
            }
            together.checks.push(Check { stream: id, unary, message, request });
            used += whole;
        }
        used
    }

    /// Answers what was gathered.
    pub(super) fn answer<S: Source>(&mut self, together: &mut Together<'_>, service: &mut Service<S>) {
        if together.checks.is_empty() {
            return;
        }
        let mut calls = together.calls.iter();
        let mut latest: (u32, &[u8]) = (0, &[]);
        let judged = service.judge_together(&together.checks, |check| {
            // Messages of a stream follow each other, mostly.
            if latest.0 != check.stream {
                let client = if check.unary {
                    calls.next().map_or(&[][..], |call| &call.client)
                } else {
                    self.streams.client(check.stream)
                };
                latest = (check.stream, client);
            }
            latest.1
        });
        let mut answered = [0, 0];
        let mut calls = together.calls.drain(..);
        let mut checks = together.checks.drain(..).enumerate().peekable();
        while let Some((place, check)) = checks.next() {
            let id = check.stream;
            let stream = if check.unary { calls.next() } else { self.streams.take(id) };
            let Some(mut stream) = stream else { continue }; // ended by a check before this one
            service.answer.clear();
            let mut next = Some((place, check));
            while let Some((place, check)) = next {
                if stream.end.is_none() {
                    let result = service.answer_together(place, &check, &stream.client);
                    answered[usize::from(!check.unary)] += 1;
                    self.earn(CREDIT_PER_CALL);
                    stream.end = match result {
                        Ok(()) if !check.unary => None,
                        result => Some(result.map_or_else(End::Failure, |()| End::Ok)),
                    };
                }
                next = checks.next_if(|(_, next)| next.stream == id);
            }
            self.flush(id, &mut stream, service);
            self.settle(id, stream, service);
        }
        if judged {
            service.took(answered);
        }
    }
}

/// The message that some content begins with, where it is whole and not compressed.
fn plain(content: &[u8]) -> Option<&[u8]> {
    let (prefix, rest) = content.split_first_chunk::<PREFIX_BYTES>()?;
    let [0, length @ ..] = *prefix else { return None };
    rest.get(..u32::from_be_bytes(length) as usize)
}
