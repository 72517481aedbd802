//! What a connection does beside its calls: pings, going away, and what time brings.

use super::super::frame::{self, Code, Head, flag};
use super::super::service::{Service, Source};
use super::{Broken, CREDIT_MAX, Connection, PROTOCOL, Phase};
use crate::counters::abuse;

/// Pings may come every 10 s while nothing is sent, and are not all on their way for as long; beyond so many that come
/// sooner the peer is told to be calm.
const PING_MILLISECONDS_MIN: u64 = 9_000;
const PING_STRIKES_MAX: u32 = 2;
const DRAIN_PING: [u8; 8] = *b"eirdrain";
const KEEPALIVE_PING: [u8; 8] = *b"eiralive";
/// Between the two GOAWAYs where the peer does not answer the ping between them.
const NOTICE_MILLISECONDS_MAX: u64 = 1000;
/// After that answer: gRPC's C core sends it before the calls that it began before it had read that it is asked to go.
const RACE_MILLISECONDS: u64 = 200;
/// Between two looks at calls that stand still.
const LOOK_MILLISECONDS: u64 = 500;
/// A stream on which nothing came for so long is ended when its client was asked to go.
const STREAM_IDLE_MILLISECONDS: u64 = 200;
/// One on which messages keep coming is ended after so long: core nodes never pause.
const STREAM_BUSY_MILLISECONDS_MAX: u64 = 3000;
const CREDIT_PER_SECOND: u64 = 500;

impl Connection {
    pub(super) fn ping(&mut self, head: Head, payload: &[u8], now: u64) -> Result<(), Broken> {
        if head.stream != 0 {
            return Err(PROTOCOL);
        }
        let data: &[u8; 8] = payload.try_into().map_err(|_| (Code::FrameSize, abuse::PROTOCOL))?;
        if head.has(flag::ACK) {
            if *data == DRAIN_PING && self.asked_at.is_some() {
                self.leaves_at = self.leaves_at.min(now + RACE_MILLISECONDS);
            }
            return self.cost(1);
        }
        // As gRPC's servers do: pings beside answers are how clients measure.
        let soon = self.pinged_at.is_some_and(|last| now < last + PING_MILLISECONDS_MIN);
        self.ping_strikes =
            if std::mem::take(&mut self.answered) { 0 } else { self.ping_strikes + u32::from(soon) };
        self.pinged_at = Some(now);
        if self.ping_strikes > PING_STRIKES_MAX {
            return Err((Code::EnhanceYourCalm, abuse::PINGS));
        }
        frame::put_ping(&mut self.out, flag::ACK, data);
        Ok(())
    }

    /// Asks the peer to open its next calls elsewhere; those on their way are still taken.
    pub fn drain(&mut self, now: u64) {
        if self.asked_at.is_none() && !self.over() {
            frame::put_goaway(&mut self.out, i32::MAX as u32, Code::NoError, b"");
            frame::put_ping(&mut self.out, 0, &DRAIN_PING);
            self.asked_at = Some(now);
            self.leaves_at = now + NOTICE_MILLISECONDS_MAX;
        }
    }

    fn leave(&mut self) {
        frame::put_goaway(&mut self.out, self.last, Code::NoError, b"");
        self.left_after = Some(self.last);
    }

    /// Upkeep, some times a second; false where the connection is to be closed at once.
    pub fn tick<S: Source>(&mut self, service: &mut Service<S>, now: u64) -> bool {
        let (limits, earned) = (service.limits, (now - self.credit_at) * CREDIT_PER_SECOND / 1000);
        if earned > 0 {
            self.credit = (self.credit + earned as i64).min(CREDIT_MAX);
            self.credit_at = now;
        }
        if self.output().is_empty() {
            self.moved_at = now;
        }
        let since = self.partial_since.unwrap_or(now).min(self.moved_at);
        if now - since > limits.stall_milliseconds_max {
            service.counters.abuses[abuse::STALLED].add(1);
            return false;
        }
        if let Some(asked) = self.asked_alive_at {
            if now - asked > limits.keepalive_timeout_milliseconds {
                return false;
            }
        } else if now - self.received_at > limits.keepalive_milliseconds
            && self.phase == Phase::Open
            && self.asked_at.is_none()
        {
            frame::put_ping(&mut self.out, 0, &KEEPALIVE_PING);
            self.asked_alive_at = Some(now);
        }
        if let Some(asked) = self.asked_at {
            let busy_max = STREAM_BUSY_MILLISECONDS_MAX.min(limits.drain_milliseconds_max / 2);
            if now - asked > busy_max {
                self.end_streams(now, service);
            } else if !self.waits_for_turn(service) {
                self.end_streams(now.saturating_sub(STREAM_IDLE_MILLISECONDS), service);
            }
            if now > self.leaves_at && self.left_after.is_none() && !self.over() {
                self.leave();
            }
        }
        let age_max = limits.age_milliseconds_max;
        if age_max != 0 && now - self.opened_at > age_max {
            self.drain(now);
            // Calls that have not ended by now have had the same time as those of a daemon that stops.
            if now - self.opened_at > age_max + limits.drain_milliseconds_max {
                return false;
            }
        }
        if now >= self.next_deadline {
            self.expire(service, now);
        }
        if now - self.looked_at > LOOK_MILLISECONDS {
            self.looked_at = now;
            if !self.waits_for_turn(service) {
                self.end_stalled(service, now);
            }
            self.give_back();
        }
        self.count_held(service);
        true
    }
}
