//! A call begins: HEADERS, and CONTINUATION after them.

use super::super::answer::Failure;
use super::super::frame::{self, Code, Head, flag};
use super::super::hpack::Bad;
use super::super::request;
use super::super::service::{Service, Source};
use super::super::stream::{self, Stream};
use super::{Block, Broken, Connection, FLOOD, PROTOCOL, unpadded};
use crate::counters::{abuse, bound};

const CONTINUATIONS_MAX: u32 = 16;

impl Connection {
    pub(super) fn open<S: Source>(
        &mut self,
        head: Head,
        payload: &[u8],
        service: &mut Service<S>,
        now: u64,
    ) -> Result<(), Broken> {
        let mut payload = unpadded(head, payload)?;
        if head.stream.is_multiple_of(2) {
            return Err(PROTOCOL);
        }
        if head.has(flag::PRIORITY) {
            let (priority, rest) = payload.split_at_checked(5).ok_or((Code::FrameSize, abuse::PROTOCOL))?;
            if frame::u32_of(priority) & 0x7fff_ffff == head.stream {
                return Err(PROTOCOL);
            }
            payload = rest;
        }
        let end_stream = head.has(flag::END_STREAM);
        if head.has(flag::END_HEADERS) {
            return self.begin(head.stream, payload, end_stream, service, now);
        }
        self.block = Some(Block { stream: head.stream, end_stream, fragments: 0, bytes: payload.to_vec() });
        Ok(())
    }

    pub(super) fn go_on<S: Source>(
        &mut self,
        head: Head,
        payload: &[u8],
        service: &mut Service<S>,
        now: u64,
    ) -> Result<(), Broken> {
        let Some(mut block) = self.block.take().filter(|block| block.stream == head.stream) else {
            return Err(PROTOCOL);
        };
        block.fragments += 1;
        block.bytes.extend_from_slice(payload);
        let bytes_max = request::block_bytes_max(service.limits.metadata_bytes_max);
        if block.fragments > CONTINUATIONS_MAX || block.bytes.len() > bytes_max {
            return Err(FLOOD);
        }
        if head.has(flag::END_HEADERS) {
            return self.begin(block.stream, &block.bytes, block.end_stream, service, now);
        }
        self.block = Some(block);
        Ok(())
    }

    /// A header block is whole: a call begins, or one ends with trailers.
    fn begin<S: Source>(
        &mut self,
        id: u32,
        block: &[u8],
        end_stream: bool,
        service: &mut Service<S>,
        now: u64,
    ) -> Result<(), Broken> {
        let bytes_max = service.limits.metadata_bytes_max;
        if id <= self.last {
            let good = request::read_trailers(&mut self.decoder, block, bytes_max).map_err(broken)?;
            let Some(stream) = self.streams.get(id) else {
                frame::put_reset(&mut self.out, id, Code::StreamClosed);
                return self.cost(1);
            };
            if stream.remote_ended {
                self.refuse(id, Code::StreamClosed, service);
                return self.cost(1);
            }
            if !good || !end_stream || stream.content_left.is_some_and(|left| left != 0) {
                self.refuse(id, Code::Protocol, service);
                return self.cost(1);
            }
            return self.message(id, &[], true, service, now);
        }
        let headers = request::read(&mut self.decoder, block, bytes_max).map_err(broken)?;
        if self.left_after.is_some_and(|last| id > last) {
            return self.cost(1); // it opens this call elsewhere: GOAWAY said so
        }
        self.last = id;
        let failure = match headers {
            request::Headers::Malformed => {
                frame::put_reset(&mut self.out, id, Code::Protocol);
                return self.cost(1);
            }
            request::Headers::Call(_) if self.streams.len() >= service.limits.streams_per_connection_max => {
                service.counters.bounds[bound::STREAMS].add(1);
                frame::put_reset(&mut self.out, id, Code::Refused);
                return self.cost(1);
            }
            request::Headers::Call(_) if self.calls >= service.calls_share() => {
                Failure::Bound(bound::CALLS, "Concurrent RPC limit exceeded!".into())
            }
            request::Headers::Failure(failure) => failure,
            request::Headers::Call(call)
                if end_stream && call.content_bytes.is_some_and(|bytes| bytes != 0) =>
            {
                frame::put_reset(&mut self.out, id, Code::Protocol);
                return self.cost(1);
            }
            request::Headers::Call(call) => {
                // Its client counts from when it sent this, however long it waited here.
                let deadline =
                    call.timeout_milliseconds.map_or(stream::NEVER, |timeout| self.came_at + timeout);
                let stream = Stream::new(call, deadline, self.peer_window, now);
                self.calls += 1;
                service.calls += 1;
                self.next_deadline = self.next_deadline.min(deadline);
                self.streams.put(id, stream);
                return if end_stream { self.message(id, &[], true, service, now) } else { Ok(()) };
            }
        };
        service.bounded(&failure);
        self.headers.put_failure(&mut self.out, id, &failure, true);
        if !end_stream {
            frame::put_reset(&mut self.out, id, Code::NoError);
        }
        self.cost(1)
    }
}

fn broken(bad: Bad) -> Broken {
    match bad {
        Bad::Malformed => (Code::Compression, abuse::PROTOCOL),
        Bad::Long => FLOOD,
    }
}
