//! What a connection keeps in memory: bounded while its peer does not read, and given back when it is not used.

use super::super::service::{Service, Source};
use super::super::stream::KEPT_BYTES;
use super::{Connection, OUT_BYTES_MAX, Phase};

impl Connection {
    /// Whether so much output waits for the socket that nothing more is answered until some is taken: of all that the
    /// thread's connections hold no more than a share, where that is too much together.
    fn full<S: Source>(&self, service: &Service<S>) -> bool {
        let waits = self.output().len();
        waits >= OUT_BYTES_MAX || waits >= service.held_share(waits, service.held - self.held)
    }

    /// Whether frames that came are to wait; what comes after them is not read.
    pub(super) fn stops<S: Source>(&mut self, service: &Service<S>) -> bool {
        self.stopped = self.full(service) || service.turn_is_over();
        self.stopped
    }

    /// Goes on with what came, where it was stopped and is no longer; false where there is nothing to go on with.
    pub fn proceed<S: Source>(&mut self, service: &mut Service<S>, now: u64) -> bool {
        if !self.waits_for_turn(service) || service.turn_is_over() {
            return false;
        }
        // What it answers to our ping may be behind what waited.
        (self.received_at, self.asked_alive_at) = (now, None);
        self.take(&[], service, now);
        true
    }

    /// Whether frames that came wait for nothing but their turn.
    pub fn waits_for_turn<S: Source>(&self, service: &Service<S>) -> bool {
        self.stopped && !self.over() && !self.full(service)
    }

    /// Whether more may be read: not while the peer does not take our answers.
    pub fn wants_input<S: Source>(&self, service: &Service<S>) -> bool {
        !self.stopped && !self.full(service) && self.phase != Phase::Over
    }

    /// Tells the service what is held now: by calls, and of input and output.
    pub fn count_held<S: Source>(&mut self, service: &mut Service<S>) {
        let bytes = self.streams.bytes() + self.input.len() + self.out.len();
        service.held = service.held + bytes - std::mem::replace(&mut self.held, bytes);
    }

    /// Lets go of all that is held.
    pub fn abandon<S: Source>(&mut self, service: &mut Service<S>) {
        self.streams = Default::default();
        (self.input, self.out, self.sent) = (Vec::new(), Vec::new(), 0);
        service.calls -= std::mem::take(&mut self.calls);
        self.count_held(service);
    }

    /// Gives back the memory of what was large and is small now.
    pub(super) fn give_back(&mut self) {
        self.input.shrink_to(KEPT_BYTES);
        self.out.shrink_to(KEPT_BYTES);
        self.blocked.shrink_to(KEPT_BYTES / size_of::<u32>());
        self.decoder.give_back();
        self.streams.give_back();
    }

    /// What its buffers take of memory, whether used or not.
    #[cfg(test)]
    pub fn capacity(&mut self) -> usize {
        let buffers =
            self.input.capacity() + self.out.capacity() + self.blocked.capacity() * size_of::<u32>();
        buffers + self.decoder.capacity() + self.streams.capacity()
    }
}
