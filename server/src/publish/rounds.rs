//! From committed sizes to published checkpoints: when a head is signed, who is asked, and when it has its quorum.
//!
//! Pure: the shell signs, asks, publishes, and tells what came of it. At most one head is on its way. It gives way to a
//! larger one, or to the same one with a later time, when it is published or when nobody who was asked for it can still
//! answer; so a slow witness is waited for as long as its vote is needed, and no longer than its time.

use std::{sync::Arc, time::Duration};

use counterfoil_merkle::{TreeHead, checkpoint::SignedCheckpoint, key::VerifierKey, policy::Policy};
use counterfoil_receipt::Timestamp;

use super::{
    panel::Panel,
    witness::{Heard, Question, Reply, Submission, Witness},
};

/// The publication of one log's heads.
pub struct Rounds {
    policy: Policy,
    witnesses: Vec<Witness>,
    period: Duration,
    begun: Option<Duration>,
    candidate: Option<Candidate>,
    next_number: u64,
    missing_since: Option<Duration>,
}

/// The head that is on its way, or was published last.
struct Candidate {
    submission: Submission,
    head: TreeHead,
    time: Timestamp,
    /// The checkpoint with the cosignatures that came so far.
    note: SignedCheckpoint,
    quorum: bool,
    /// Whether the note has its quorum, and is not published as it is now.
    ready: bool,
    /// Not before that: publishing failed.
    ready_from: Duration,
}

impl Rounds {
    /// Nothing signed yet. At most one head is signed in each period.
    pub fn new(log: &VerifierKey, panel: &Panel, period: Duration) -> Self {
        let witness = |keys: &Vec<VerifierKey>| Witness::new(log.clone(), keys.clone());
        Self {
            policy: panel.policy.clone(),
            witnesses: panel.witnesses.iter().map(|endpoint| witness(&endpoint.keys)).collect(),
            period,
            begun: None,
            candidate: None,
            next_number: 0,
            missing_since: None,
        }
    }

    /// When a committed head that attests this time is to be signed; `None` if it is not, or not before something else
    /// happens.
    pub fn sign_from(&self, head: TreeHead, time: Timestamp) -> Option<Duration> {
        let due = self.begun.map_or(Duration::ZERO, |begun| begun + self.period);
        let Some(candidate) = &self.candidate else { return Some(due) };
        let newer = head.size > candidate.head.size || time > candidate.time;
        let number = candidate.submission.number;
        let awaited = !candidate.quorum && self.witnesses.iter().any(|witness| witness.is_awaited(number));
        (newer && !awaited && !candidate.ready).then_some(due)
    }

    /// Takes a head that was signed just now, in place of the one before.
    ///
    /// # Panics
    /// If it is smaller, or its time earlier.
    pub fn signed(&mut self, checkpoint: SignedCheckpoint, time: Timestamp, now: Duration) {
        let head = checkpoint.unverified().head;
        if let Some(last) = &self.candidate {
            assert!(head.size >= last.head.size && time >= last.time, "heads are signed in order");
        }
        let number = self.next_number;
        self.next_number += 1;
        self.begun = Some(now);
        self.missing_since.get_or_insert(now);
        self.candidate = Some(Candidate {
            submission: Submission { number, checkpoint: Arc::new(checkpoint.clone()) },
            head,
            time,
            note: checkpoint,
            quorum: false,
            ready: false,
            ready_from: Duration::ZERO,
        });
        self.count();
    }

    /// Whom to ask what. Each is to be answered by [`Rounds::heard`] or [`Rounds::shown`].
    pub fn questions(&mut self, now: Duration) -> Vec<(usize, Question)> {
        let Some(candidate) = &self.candidate else { return Vec::new() };
        let witnesses = self.witnesses.iter_mut().enumerate();
        witnesses.filter_map(|(n, it)| Some((n, it.question(&candidate.submission, now)?))).collect()
    }

    /// Takes a witness' reply.
    pub fn heard(&mut self, witness: usize, reply: Reply, now: Duration, wall_s: u64) -> Heard {
        let heard = self.witnesses[witness].heard(reply, now, wall_s);
        if let (Heard::Cosigned { number, lines }, Some(candidate)) = (&heard, &mut self.candidate)
            && candidate.submission.number == *number
        {
            lines.iter().for_each(|(line, _)| candidate.note.push(line.clone()));
            self.count();
        }
        heard
    }

    /// Takes that a witness showed something, or did not.
    pub fn shown(&mut self, witness: usize) {
        self.witnesses[witness].shown();
    }

    /// A note to be published: it has its quorum, and is the newest. The caller publishes it, or says
    /// [`Rounds::not_published`].
    pub fn publication(&mut self, now: Duration) -> Option<(SignedCheckpoint, Timestamp)> {
        let candidate = self.candidate.as_mut().filter(|it| it.ready && now >= it.ready_from)?;
        candidate.ready = false;
        Some((candidate.note.clone(), candidate.time))
    }

    /// The note that was to be published was not; it is tried again a period later.
    pub fn not_published(&mut self, now: Duration) {
        if let Some(candidate) = &mut self.candidate {
            (candidate.ready, candidate.ready_from) = (true, now + self.period);
        }
    }

    /// When something is due at the latest, save what [`Rounds::sign_from`] says; `None` if only a reply can change
    /// anything.
    pub fn due(&self) -> Option<Duration> {
        let candidate = self.candidate.as_ref()?;
        let asked = self.witnesses.iter().filter_map(|witness| witness.due(&candidate.submission));
        asked.chain(candidate.ready.then_some(candidate.ready_from)).min()
    }

    /// Since when heads lack their quorum; `None` if the newest one has it.
    pub const fn missing_since(&self) -> Option<Duration> {
        self.missing_since
    }

    /// One of the witnesses.
    pub fn witness(&self, number: usize) -> &Witness {
        &self.witnesses[number]
    }

    /// The newest checkpoint that was signed.
    pub fn newest(&self) -> Option<&SignedCheckpoint> {
        self.candidate.as_ref().map(|candidate| &candidate.note)
    }

    /// Looks whether the candidate has its quorum. Each note with it that has one line more is to be published.
    fn count(&mut self) {
        let Some(candidate) = &mut self.candidate else { return };
        if self.policy.check(&candidate.note).is_ok() {
            (candidate.quorum, candidate.ready) = (true, true);
            self.missing_since = None;
        }
    }
}

#[cfg(test)]
mod tests;
