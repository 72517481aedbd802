//! Checks that the decision log keeps, on their way to Python: chosen by its table, repeats left out, bounded.
//!
//! One queue for each server thread. A check never waits for Python: what finds no room is counted.

use std::sync::{Mutex, PoisonError, TryLockError};

use crate::counters::Count;
use crate::crc;
use crate::memory::prefetch;

/// Kinds of eir/decisions/keep.py: of these the table is made.
mod keep {
    pub const NEVER: u8 = 0;
    pub const FIRST_IMEI: u8 = 3;
    pub const SAMPLE: u8 = 4;
}

const STATUSES: usize = 8;
const REASONS: usize = 64;
const BLACKLISTED: u8 = 3;
const DAY_SECONDS: u64 = 86_400;
/// Characters of an identity or a client's name that are kept.
const CHARACTERS_MAX: usize = 64;
const IMEI_CHARACTERS: usize = 14;
const IMSI_CHARACTERS: usize = 15;
/// Places in which sightings are remembered, to leave out repeats: 2 MiB a thread.
const SLOTS: usize = 1 << 18;

/// Which checks are kept: `Wanted` of eir/decisions/keep.py, and the bounds of the queue.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)]
pub struct Wanted {
    pub table: Vec<u8>,
    pub sample_threshold: u64,
    pub denial_repeat_seconds: u64,
    pub records_max: usize,
    /// Unpaired pairs that one thread holds for Python; 0: no cases are kept.
    pub unpaired_max: usize,
    pub unpaired_repeat_seconds: u64,
}

/// One check as the log wants it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Sighting<'a> {
    pub time: u64,
    pub imei: &'a [u8],
    pub imsi: &'a [u8],
    pub serving_plmn: &'a [u8],
    pub client: &'a [u8],
    /// By the policy.
    pub judged: u8,
    /// What the client was told.
    pub status: u8,
    pub reason: u8,
    pub serial: u64,
    /// Number of the policy.
    pub policy: u64,
}

/// The first characters of a text that is UTF-8.
fn cut(text: &[u8], characters: usize) -> &[u8] {
    if text.len() <= characters {
        return text;
    }
    // Characters begin where a byte is no continuation.
    let mut begins = text.iter().enumerate().filter(|(_, byte)| **byte & 0xc0 != 0x80);
    begins.nth(characters).map_or(text, |(end, _)| &text[..end])
}

/// What a thread has put and Python has not taken, and what came of the rest.
#[derive(Default)]
pub struct Queue {
    waiting: Mutex<(Vec<u8>, usize)>,
    /// Left out because they were kept lately.
    pub repeated: Count,
    /// Found no room.
    pub dropped: Count,
}

/// By what the repeats of a sighting are known.
#[derive(Clone, Copy)]
pub struct Mark(u64);

/// The end of a queue that a server thread holds.
pub struct Keeper {
    wanted: Wanted,
    seen: Vec<u64>,
}

impl Keeper {
    /// Keeps nothing where the table is empty.
    pub fn new(wanted: Wanted) -> Self {
        Self { wanted, seen: vec![0; SLOTS] }
    }

    /// Whether the log wants a check, and by what its repeats are known; what `keep` reads is fetched.
    #[inline(always)]
    pub fn wants(&self, sighting: &Sighting<'_>) -> Option<Mark> {
        let place = (usize::from(sighting.judged) * STATUSES + usize::from(sighting.status)) * REASONS
            + usize::from(sighting.reason);
        match self.wanted.table.get(place).copied().unwrap_or(keep::NEVER) {
            keep::NEVER => None,
            keep::SAMPLE if !self.sampled(sighting) => None,
            kind => Some(self.mark(sighting, kind)),
        }
    }

    #[inline(always)]
    fn sampled(&self, sighting: &Sighting<'_>) -> bool {
        if self.wanted.sample_threshold == 0 {
            return false;
        }
        let hash = crc::append(0, cut(sighting.imei, IMEI_CHARACTERS));
        let hash = crc::append(hash, cut(sighting.imsi, IMSI_CHARACTERS));
        u64::from(hash) < self.wanted.sample_threshold
    }

    /// Puts a check that the log wants into the queue, unless it repeats one.
    pub fn keep(&mut self, queue: &Queue, sighting: &Sighting<'_>, Mark(mark): Mark) {
        let slot = mark as usize % SLOTS;
        if mark != 0 && self.seen[slot] == mark {
            queue.repeated.add(1);
            return;
        }
        if queue.push(sighting, self.wanted.records_max) {
            self.seen[slot] = mark;
        }
    }

    /// Puts a check into the queue of the trial, where its subscriber is below a threshold; 0: there is none.
    #[inline]
    pub fn try_out(&self, queue: &Queue, threshold: u64, sighting: &Sighting<'_>) {
        if threshold != 0 {
            let subscriber = if sighting.imsi.is_empty() { sighting.imei } else { sighting.imsi };
            if u64::from(crc::append(0, cut(subscriber, CHARACTERS_MAX))) < threshold {
                queue.push(sighting, self.wanted.records_max);
            }
        }
    }

    #[inline(always)]
    fn mark(&self, sighting: &Sighting<'_>, kind: u8) -> Mark {
        let mark = self.repeat_key(sighting, kind);
        prefetch(&self.seen, mark as usize % SLOTS);
        Mark(mark)
    }

    /// What a sighting has in common with its repeats, as `repeat_key` of eir/decisions/keep.py; 0: it has none.
    #[inline(always)]
    fn repeat_key(&self, sighting: &Sighting<'_>, kind: u8) -> u64 {
        let mut period = DAY_SECONDS;
        if sighting.status == BLACKLISTED {
            period = self.wanted.denial_repeat_seconds;
            if period == 0 {
                return 0;
            }
        }
        let imsi = if kind == keep::FIRST_IMEI { b"" } else { sighting.imsi };
        let verdict = u64::from(sighting.status) << 8 | u64::from(sighting.reason);
        let imei = cut(sighting.imei, IMEI_CHARACTERS);
        let mark =
            mixed(mixed(verdict, sighting.time / period), (imei.len() as u64) << 32 | imsi.len() as u64);
        mixed_text(mixed_text(mark, imei), imsi) | 1
    }
}

/// A hash of a hash and one more word. Who makes two of them equal hides a repeat from a log, and no more.
#[inline]
fn mixed(hash: u64, word: u64) -> u64 {
    let product = u128::from(hash ^ word ^ 0x9E37_79B9_7F4A_7C15) * u128::from(0xD6E8_FEB8_6659_FD93_u64);
    (product >> 64) as u64 ^ product as u64
}

/// A hash of a hash and a text whose length is in it.
#[inline]
fn mixed_text(hash: u64, text: &[u8]) -> u64 {
    let Some(last) = text.last_chunk() else {
        return mixed(hash, text.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)));
    };
    // The last eight bytes may be among those before: a word of a part would cost more than the hash.
    let words = text.as_chunks().0.iter().chain([last]);
    words.fold(hash, |hash, word| mixed(hash, u64::from_le_bytes(*word)))
}

/// The queues of one server thread.
#[derive(Default)]
pub struct Queues {
    /// What the decision log wants.
    pub kept: Queue,
    /// What a policy on trial is to judge.
    pub tried: Queue,
    /// What the cases are to know; see `unpaired`.
    pub unpaired: Queue,
}

impl Queue {
    fn push(&self, sighting: &Sighting<'_>, records_max: usize) -> bool {
        self.put(records_max, |bytes| encode(bytes, sighting))
    }

    /// Adds a record; false where it found no room, which is counted.
    pub fn put(&self, records_max: usize, encode: impl FnOnce(&mut Vec<u8>)) -> bool {
        // Python holds the lock for the time of a swap; then this one is lost, and counted.
        let mut waiting = match self.waiting.try_lock() {
            Ok(waiting) => waiting,
            Err(TryLockError::Poisoned(error)) => error.into_inner(),
            Err(TryLockError::WouldBlock) => {
                self.dropped.add(1);
                return false;
            }
        };
        let (bytes, records) = &mut *waiting;
        if *records >= records_max {
            self.dropped.add(1);
            return false;
        }
        encode(bytes);
        *records += 1;
        true
    }

    /// Takes all that waits, to be decoded.
    pub fn take(&self) -> Vec<u8> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *waiting).0
    }
}

fn encode(out: &mut Vec<u8>, sighting: &Sighting<'_>) {
    out.extend_from_slice(&sighting.time.to_le_bytes());
    out.extend_from_slice(&sighting.serial.to_le_bytes());
    out.extend_from_slice(&sighting.policy.to_le_bytes());
    out.extend_from_slice(&[sighting.judged, sighting.status, sighting.reason]);
    for text in [sighting.imei, sighting.imsi, sighting.serving_plmn, sighting.client] {
        let text = cut(text, CHARACTERS_MAX);
        out.extend_from_slice(&(text.len() as u16).to_le_bytes());
        out.extend_from_slice(text);
    }
}

/// Takes the next sighting of what `Queue::take` gave.
pub fn decode<'a>(data: &mut &'a [u8]) -> Option<Sighting<'a>> {
    fn part<'a, const N: usize>(data: &mut &'a [u8]) -> Option<&'a [u8; N]> {
        let (part, rest) = data.split_first_chunk()?;
        *data = rest;
        Some(part)
    }
    let mut number = || Some(u64::from_le_bytes(*part(data)?));
    let (time, serial, policy) = (number()?, number()?, number()?);
    let [judged, status, reason] = *part(data)?;
    let mut text = || {
        let bytes = usize::from(u16::from_le_bytes(*part(data)?));
        let (text, rest) = data.split_at_checked(bytes)?;
        *data = rest;
        Some(text)
    };
    let (imei, imsi, serving_plmn, client) = (text()?, text()?, text()?, text()?);
    Some(Sighting { time, imei, imsi, serving_plmn, client, judged, status, reason, serial, policy })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEEN: Sighting<'static> = Sighting {
        time: 1000,
        imei: b"35693803564380",
        imsi: b"432110000000001",
        serving_plmn: b"43211",
        client: b"mme",
        judged: 3,
        status: 3,
        reason: 5,
        serial: 7,
        policy: 2,
    };

    fn keeper(kind: u8) -> (Keeper, Queue) {
        let table = vec![kind; STATUSES * STATUSES * REASONS];
        let wanted = Wanted {
            table,
            sample_threshold: 1 << 31,
            denial_repeat_seconds: 60,
            records_max: 3,
            ..Wanted::default()
        };
        (Keeper::new(wanted), Queue::default())
    }

    fn put(keeper: &mut Keeper, queue: &Queue, sighting: &Sighting<'_>) {
        if let Some(mark) = keeper.wants(sighting) {
            keeper.keep(queue, sighting, mark);
        }
    }

    fn taken(queue: &Queue) -> usize {
        let bytes = queue.take();
        let mut rest = bytes.as_slice();
        std::iter::from_fn(|| decode(&mut rest)).count()
    }

    #[test]
    fn what_is_put_is_what_is_taken() {
        let (mut keeper, queue) = keeper(1);
        put(&mut keeper, &queue, &SEEN);
        let bytes = queue.take();
        assert_eq!(decode(&mut bytes.as_slice()), Some(SEEN));
        assert_eq!(taken(&queue), 0);
    }

    #[test]
    fn repeats_are_left_out_until_their_time_is_over() {
        let (mut keeper, queue) = keeper(1);
        for time in [1000, 1001, 1019, 1020] {
            put(&mut keeper, &queue, &Sighting { time, ..SEEN });
        }
        assert_eq!((taken(&queue), queue.repeated.get()), (2, 2));
        keeper.wanted.denial_repeat_seconds = 0;
        put(&mut keeper, &queue, &SEEN);
        put(&mut keeper, &queue, &SEEN);
        assert_eq!(taken(&queue), 2);
    }

    #[test]
    fn a_placeholder_is_kept_once_whoever_uses_it() {
        let (mut keeper, queue) = keeper(keep::FIRST_IMEI);
        put(&mut keeper, &queue, &Sighting { status: 2, ..SEEN });
        put(&mut keeper, &queue, &Sighting { status: 2, imsi: b"4", ..SEEN });
        assert_eq!(taken(&queue), 1);
    }

    #[test]
    fn what_finds_no_room_is_counted() {
        let (mut keeper, queue) = keeper(1);
        for serial in 0..5 {
            put(&mut keeper, &queue, &Sighting { serial, reason: serial as u8, ..SEEN });
        }
        assert_eq!((taken(&queue), queue.dropped.get()), (3, 2));
        put(&mut keeper, &queue, &Sighting { reason: 4, ..SEEN });
        assert_eq!(taken(&queue), 1, "what was dropped is not a repeat");
    }

    #[test]
    fn a_sample_is_a_part_and_nothing_else_is_kept() {
        let (mut keeper, queue) = keeper(keep::SAMPLE);
        keeper.wanted.records_max = 1000;
        for number in 0..400 {
            let imsi = format!("{number:015}");
            put(&mut keeper, &queue, &Sighting { imsi: imsi.as_bytes(), ..SEEN });
        }
        assert!((150..250).contains(&taken(&queue)));
        let (mut never, queue) = self::keeper(keep::NEVER);
        put(&mut never, &queue, &SEEN);
        assert_eq!(taken(&queue), 0);
    }

    #[test]
    fn a_trial_gets_every_check_of_its_subscribers() {
        let (mut keeper, queue) = keeper(keep::NEVER);
        keeper.try_out(&queue, 0, &SEEN);
        assert_eq!(taken(&queue), 0);
        for _ in 0..5 {
            keeper.try_out(&queue, 1 << 32, &SEEN);
        }
        assert_eq!((taken(&queue), queue.dropped.get()), (3, 2));
        let threshold = u64::from(crc32c::crc32c(SEEN.imsi));
        keeper.wanted.records_max = 9;
        keeper.try_out(&queue, threshold, &SEEN);
        keeper.try_out(&queue, threshold + 1, &SEEN);
        keeper.try_out(&queue, threshold + 1, &Sighting { imsi: b"", imei: SEEN.imsi, ..SEEN });
        assert_eq!(taken(&queue), 2);
    }

    #[test]
    fn texts_are_cut_by_characters() {
        assert_eq!(cut("شab".as_bytes(), 2), "شa".as_bytes());
        assert_eq!(cut(b"ab", 2), b"ab");
        assert_eq!(cut(b"abc", 2), b"ab");
    }
}
