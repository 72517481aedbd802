//! Calls that are open: DATA, windows and what else changes how much may be sent, resets.

use super::super::frame::{self, Code, Head, flag, kind, setting};
use super::super::service::{Service, Source};
use super::super::together::Together;
use super::{Broken, Connection, PROTOCOL, WINDOW_BYTES, unpadded};
use crate::counters::abuse;

impl Connection {
    pub(super) fn data<'d, S: Source>(
        &mut self,
        head: Head,
        payload: &'d [u8],
        together: &mut Together<'d>,
        service: &mut Service<S>,
        now: u64,
    ) -> Result<(), Broken> {
        if head.stream == 0 || self.idle(head.stream) {
            return Err(PROTOCOL);
        }
        let bytes = payload.len() as i64;
        self.receive_left -= bytes;
        self.receive_owed += bytes;
        if self.receive_left < 0 {
            return Err((Code::FlowControl, abuse::PROTOCOL));
        }
        if self.receive_owed > WINDOW_BYTES / 2 {
            frame::put_window(&mut self.out, 0, self.receive_owed as u32);
            self.receive_left += std::mem::take(&mut self.receive_owed);
        }
        let content = unpadded(head, payload)?;
        let end_stream = head.has(flag::END_STREAM);
        if content.is_empty() && !end_stream {
            self.cost(1)?;
        }
        let Some(stream) = self.streams.get(head.stream) else {
            // Ended by us, or cancelled: what was on its way is of no use.
            return self.cost(1);
        };
        stream.receive_left -= bytes;
        stream.receive_owed += bytes - content.len() as i64;
        let (ended, over) = (stream.remote_ended, stream.receive_left < 0);
        let counted = stream.content_left.map(|left| left.checked_sub(content.len() as u64));
        stream.content_left = counted.flatten();
        let miscounted =
            counted == Some(None) || (end_stream && stream.content_left.is_some_and(|left| left != 0));
        if ended || over || miscounted {
            let code = if ended {
                Code::StreamClosed
            } else if over {
                Code::FlowControl
            } else {
                Code::Protocol
            };
            self.answer(together, service);
            self.refuse(head.stream, code, service);
            return self.cost(1);
        }
        self.content(head.stream, content, end_stream, together, service, now)
    }

    /// Ends a call with a reset.
    pub(super) fn refuse<S: Source>(&mut self, id: u32, code: Code, service: &mut Service<S>) {
        self.forget(id, service);
        frame::put_reset(&mut self.out, id, code);
    }

    pub(super) fn reset<S: Source>(
        &mut self,
        head: Head,
        payload: &[u8],
        service: &mut Service<S>,
    ) -> Result<(), Broken> {
        if payload.len() != 4 {
            return Err((Code::FrameSize, abuse::PROTOCOL));
        }
        if head.stream == 0 || self.idle(head.stream) {
            return Err(PROTOCOL);
        }
        self.forget(head.stream, service);
        self.cost(1)
    }

    fn forget<S: Source>(&mut self, id: u32, service: &mut Service<S>) {
        if let Some(stream) = self.streams.take(id) {
            if stream.blocked {
                self.blocked.retain(|blocked| *blocked != id);
            }
            self.ended(service);
        }
    }

    pub(super) fn priority(&mut self, head: Head, payload: &[u8]) -> Result<(), Broken> {
        if head.stream == 0 {
            return Err(PROTOCOL);
        }
        if payload.len() != 5 {
            return Err((Code::FrameSize, abuse::PROTOCOL));
        }
        if frame::u32_of(payload) & 0x7fff_ffff == head.stream {
            return Err(PROTOCOL);
        }
        self.cost(1)
    }

    pub(super) fn settings<S: Source>(
        &mut self,
        head: Head,
        payload: &[u8],
        service: &mut Service<S>,
        now: u64,
    ) -> Result<(), Broken> {
        if head.stream != 0 {
            return Err(PROTOCOL);
        }
        if !payload.len().is_multiple_of(6) || (head.has(flag::ACK) && !payload.is_empty()) {
            return Err((Code::FrameSize, abuse::PROTOCOL));
        }
        if head.has(flag::ACK) {
            return self.cost(1);
        }
        let mut window = self.peer_window;
        for entry in payload.chunks_exact(6) {
            let value = frame::u32_of(&entry[2..]);
            match u16::from_be_bytes([entry[0], entry[1]]) {
                setting::HEADER_TABLE_SIZE => self.headers.table_bytes(value),
                setting::ENABLE_PUSH if value > 1 => return Err(PROTOCOL),
                setting::INITIAL_WINDOW_SIZE => {
                    if i64::from(value) > frame::WINDOW_BYTES_MAX {
                        return Err((Code::FlowControl, abuse::PROTOCOL));
                    }
                    window = value.into();
                }
                setting::MAX_FRAME_SIZE => {
                    if !(frame::PAYLOAD_BYTES_MAX..1 << 24).contains(&(value as usize)) {
                        return Err(PROTOCOL);
                    }
                    self.send_frame_max = value as usize;
                }
                _ => {}
            }
        }
        frame::put_head(&mut self.out, 0, kind::SETTINGS, flag::ACK, 0);
        self.cost(1)?;
        // Once, however often it is named: every change goes through all calls.
        if window != self.peer_window { self.change_windows(window, service, now) } else { Ok(()) }
    }

    fn change_windows<S: Source>(
        &mut self,
        window: i64,
        service: &mut Service<S>,
        now: u64,
    ) -> Result<(), Broken> {
        let (more, mut over, mut opened) = (window - self.peer_window, false, Vec::new());
        self.peer_window = window;
        self.streams.each(|id, stream| {
            stream.send_left += more;
            over |= stream.send_left > frame::WINDOW_BYTES_MAX;
            if more > 0 && !stream.held.is_empty() {
                opened.push(id);
            }
        });
        if over {
            return Err((Code::FlowControl, abuse::PROTOCOL));
        }
        opened.into_iter().for_each(|id| self.resume(id, service, now));
        Ok(())
    }

    pub(super) fn window<S: Source>(
        &mut self,
        head: Head,
        payload: &[u8],
        service: &mut Service<S>,
        now: u64,
    ) -> Result<(), Broken> {
        if payload.len() != 4 {
            return Err((Code::FrameSize, abuse::PROTOCOL));
        }
        let more = i64::from(frame::u32_of(payload) & 0x7fff_ffff);
        if more == 0 || self.idle(head.stream) {
            return Err(PROTOCOL);
        }
        self.cost(1)?;
        if head.stream == 0 {
            self.send_left += more;
            if self.send_left > frame::WINDOW_BYTES_MAX {
                return Err((Code::FlowControl, abuse::PROTOCOL));
            }
            self.unblock(service, now);
            return Ok(());
        }
        let Some(mut stream) = self.streams.take(head.stream) else { return Ok(()) };
        stream.send_left += more;
        let over = stream.send_left > frame::WINDOW_BYTES_MAX;
        self.streams.put(head.stream, stream);
        if over {
            self.refuse(head.stream, Code::FlowControl, service);
        } else {
            self.resume(head.stream, service, now);
        }
        Ok(())
    }
}
