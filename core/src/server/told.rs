//! What becomes of a verdict: the status that its client is told, and what is kept of it.
//!
//! In two steps, so that a group's sightings are looked for in the memory of repeats together: `told` of all, which
//! fetches, then `note` of all, which reads.

use super::service::{Service, Source};
use crate::check::Verdict;
use crate::policy::WHITELISTED;
use crate::sightings::{Mark, Sighting};
use crate::unpaired::LOOKING;

/// What a check said, and who asked it.
#[derive(Clone, Copy)]
pub(super) struct Texts<'d> {
    pub(super) imei: &'d [u8],
    pub(super) imsi: &'d [u8],
    pub(super) serving_plmn: &'d [u8],
    pub(super) client: &'d [u8],
}

/// What became of a verdict: its status by the policy and that policy's number, and by what the log knows its repeats,
/// where it wants it.
#[derive(Clone, Copy)]
pub(super) struct Told {
    judged: u8,
    policy: u64,
    mark: Option<Mark>,
}

/// By whom a client is told: the policy's number, and its map of statuses.
pub(super) type Said<'d> = (u64, &'d [u8]);

impl<S: Source> Service<S> {
    /// Turns a verdict into what the client is told; what `note` reads is fetched.
    #[inline(always)]
    pub(super) fn told(&self, verdict: &mut Verdict, (policy, map): Said<'_>, texts: Texts<'_>) -> Told {
        let judged = verdict.status;
        verdict.status = map.get(usize::from(judged)).copied().unwrap_or(judged);
        if verdict.status != WHITELISTED {
            verdict.cache_seconds = 0;
        }
        if let Some(pair) = verdict.unpaired {
            self.spotter.fetch(pair);
        }
        let mark = self.keeper.wants(&self.sighting(verdict, (judged, policy), texts));
        Told { judged, policy, mark }
    }

    /// Counts what a client was told, and keeps it where log and cases want it.
    #[inline(always)]
    pub(super) fn note(&mut self, verdict: &Verdict, told: &Told, texts: Texts<'_>, msisdn: &[u8]) {
        self.counters.check(verdict.status, verdict.reason);
        if let Some(pair) = verdict.unpaired.filter(|_| texts.client != LOOKING) {
            self.spotter.note(&self.queues.unpaired, pair, self.now, msisdn);
        }
        let threshold = self.shared.trial_threshold();
        if told.mark.is_none() && threshold == 0 {
            return;
        }
        let seen = self.sighting(verdict, (told.judged, told.policy), texts);
        if let Some(mark) = told.mark {
            self.keeper.keep(&self.queues.kept, &seen, mark);
        }
        self.keeper.try_out(&self.queues.tried, threshold, &seen);
    }

    #[inline]
    fn sighting<'d>(&self, verdict: &Verdict, (judged, policy): (u8, u64), texts: Texts<'d>) -> Sighting<'d> {
        let Verdict { status, reason, serial, .. } = *verdict;
        let Texts { imei, imsi, serving_plmn, client } = texts;
        let time = self.now;
        Sighting { time, imei, imsi, serving_plmn, client, judged, status, reason, serial, policy }
    }
}
