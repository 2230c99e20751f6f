//! One witness: what it is asked next, and what its answers are worth.
//!
//! Pure: times are arguments, `now` counted from the loop's start. Whatever a witness answers, it is never asked more than
//! one thing at a time, and all that it can lose by lying is its own vote.

use std::{fmt, sync::Arc, time::Duration};

use counterfoil_merkle::{
    TreeSize,
    checkpoint::SignedCheckpoint,
    key::VerifierKey,
    note::SignatureLine,
    witness::{AddCheckpoint, Answer, SKEW_S_MAX},
};

/// How long a witness that failed once is left alone; twice as long each time.
const REST: Duration = Duration::from_millis(500);

/// The longest that it is left alone.
const REST_MAX: Duration = Duration::from_secs(15);

/// The longest that it is left alone because it asks for it.
const ASKED_REST_MAX: Duration = Duration::from_secs(300);

/// How often one submission is repeated with the size that a 409 names.
const CATCH_UPS_MAX: u32 = 2;

/// How often at most a witness that refuses is asked what it saw of us.
const LOOK_PERIOD: Duration = Duration::from_secs(60);

/// A signed head on its way to publication.
#[derive(Clone, Debug)]
pub struct Submission {
    /// Which: each that is signed has a larger number.
    pub number: u64,
    /// With the signatures of the log and its clock.
    pub checkpoint: Arc<SignedCheckpoint>,
}

/// What a witness is asked.
#[derive(Clone, Debug)]
pub enum Question {
    /// To cosign a checkpoint that grew from the size it is thought to have cosigned last.
    Cosign {
        /// The checkpoint.
        submission: Submission,
        /// That size.
        old: TreeSize,
    },
    /// What it saw last of this log.
    Show,
}

/// Why a witness' vote is missing. The names are those of the metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Failure {
    /// It cannot be reached, or broke off.
    Unreachable,
    /// It did not answer in time.
    Timeout,
    /// It answers 429 or a status above 499.
    Unavailable,
    /// It answers anything else than it should, or more than is read.
    Malformed,
    /// It says no.
    Refused,
    /// It says that it cosigned another size, again and again, or one that we never signed.
    Conflict,
    /// It does not cosign with the key of the policy, or not this checkpoint.
    Signature,
    /// Its clock is far from ours: such a time would make readers doubt the checkpoint.
    Time,
    /// The proof for it cannot be made.
    Proof,
}

impl Failure {
    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Timeout => "timeout",
            Self::Unavailable => "unavailable",
            Self::Malformed => "malformed",
            Self::Refused => "refused",
            Self::Conflict => "conflict",
            Self::Signature => "signature",
            Self::Time => "time",
            Self::Proof => "proof",
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What came back for a [`Question::Cosign`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// An answer, and how long it asks to be left alone.
    Answer(Answer, Option<Duration>),
    /// None that could be read.
    Nothing(Failure),
}

/// What a reply is worth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Good cosignatures of the submission with that number, with their times in seconds.
    Cosigned {
        /// Which submission.
        number: u64,
        /// One for each of its keys.
        lines: Vec<(SignatureLine, u64)>,
    },
    /// It is to be asked again, with another size.
    CatchUp,
    /// Its vote is missing.
    Failed(Failure),
}

/// What is known of one witness.
#[derive(Clone, Debug)]
pub struct Witness {
    log: VerifierKey,
    keys: Vec<VerifierKey>,
    /// What it is thought to have cosigned last.
    size: TreeSize,
    asked: Option<Asked>,
    cosigned: Option<u64>,
    failures: u32,
    catch_ups: u32,
    rest_until: Duration,
    look: Look,
}

#[derive(Clone, Debug)]
enum Asked {
    Cosign { submission: Submission, old: TreeSize },
    Show,
}

#[derive(Clone, Copy, Debug)]
enum Look {
    /// Not before that.
    From(Duration),
    Due,
}

impl Witness {
    /// A witness with these keys, of a log with that key. Nothing is known of what it cosigned.
    pub const fn new(log: VerifierKey, keys: Vec<VerifierKey>) -> Self {
        Self {
            log,
            keys,
            size: TreeSize::ZERO,
            asked: None,
            cosigned: None,
            failures: 0,
            catch_ups: 0,
            rest_until: Duration::ZERO,
            look: Look::From(Duration::ZERO),
        }
    }

    /// What it is thought to have cosigned last.
    pub const fn size(&self) -> TreeSize {
        self.size
    }

    /// How often it failed since it cosigned last.
    pub const fn failures(&self) -> u32 {
        self.failures
    }

    /// Whether it has been asked for this submission and may still answer, or is just to be asked again.
    pub fn is_awaited(&self, number: u64) -> bool {
        match &self.asked {
            Some(Asked::Cosign { submission, .. }) => submission.number == number,
            Some(Asked::Show) => false,
            None => self.catch_ups > 0,
        }
    }

    /// What to ask it now. The caller asks, and brings the answer.
    pub fn question(&mut self, submission: &Submission, now: Duration) -> Option<Question> {
        if self.asked.is_some() {
            return None;
        }
        if matches!(self.look, Look::Due) {
            self.look = Look::From(now + LOOK_PERIOD);
            self.asked = Some(Asked::Show);
            return Some(Question::Show);
        }
        if self.cosigned == Some(submission.number) || now < self.rest_until {
            return None;
        }
        let (submission, old) = (submission.clone(), self.size);
        self.asked = Some(Asked::Cosign { submission: submission.clone(), old });
        Some(Question::Cosign { submission, old })
    }

    /// When it can be asked next; `None` while it is to answer, or has cosigned this.
    pub fn due(&self, submission: &Submission) -> Option<Duration> {
        match (&self.asked, self.look) {
            (Some(_), _) => None,
            (None, Look::Due) => Some(Duration::ZERO),
            (None, Look::From(_)) => (self.cosigned != Some(submission.number)).then_some(self.rest_until),
        }
    }

    /// Takes the reply to a [`Question::Cosign`]. `wall_s` is the present time by our own clock.
    pub fn heard(&mut self, reply: Reply, now: Duration, wall_s: u64) -> Heard {
        let Some(Asked::Cosign { submission, old }) = self.asked.take() else {
            return Heard::Failed(Failure::Malformed);
        };
        let size = submission.checkpoint.unverified().head.size;
        let (failure, rest) = match reply {
            Reply::Answer(Answer::Cosigned(lines), _) => match self.check(&submission, lines, wall_s) {
                Ok(lines) => {
                    (self.size, self.cosigned) = (size, Some(submission.number));
                    (self.failures, self.catch_ups) = (0, 0);
                    return Heard::Cosigned { number: submission.number, lines };
                }
                Err(failure) => (failure, None),
            },
            Reply::Answer(Answer::Conflict { size: other }, _) => {
                if other <= size && other != old && self.catch_ups < CATCH_UPS_MAX {
                    (self.size, self.catch_ups) = (other, self.catch_ups + 1);
                    return Heard::CatchUp;
                }
                (Failure::Conflict, None)
            }
            Reply::Answer(Answer::Refused { status: 429 | 500.. }, rest) => (Failure::Unavailable, rest),
            Reply::Answer(Answer::Refused { .. }, rest) => (Failure::Refused, rest),
            Reply::Nothing(failure) => (failure, None),
        };
        self.fail(failure, rest, now);
        Heard::Failed(failure)
    }

    /// Takes that a [`Question::Show`] was answered, or was not.
    pub fn shown(&mut self) {
        self.asked = None;
    }

    fn fail(&mut self, failure: Failure, rest: Option<Duration>, now: Duration) {
        let own = REST.saturating_mul(2_u32.saturating_pow(self.failures)).min(REST_MAX);
        self.rest_until = now + own.max(rest.unwrap_or_default().min(ASKED_REST_MAX));
        self.failures = self.failures.saturating_add(1);
        self.catch_ups = 0;
        // It may have seen another tree of ours: that would show in what it cosigned last.
        if let (Failure::Refused | Failure::Conflict, Look::From(due)) = (failure, self.look)
            && now >= due
        {
            self.look = Look::Due;
        }
    }

    /// The first line of each of its keys, each of which must be a good cosignature; at least one.
    fn check(
        &self,
        submission: &Submission,
        lines: Vec<SignatureLine>,
        wall_s: u64,
    ) -> Result<Vec<(SignatureLine, u64)>, Failure> {
        let mut good = Vec::new();
        for key in &self.keys {
            let named = |line: &&SignatureLine| line.name == *key.name() && line.id == key.id();
            let Some(line) = lines.iter().find(named) else { continue };
            let mut signed = SignedCheckpoint::clone(&submission.checkpoint);
            signed.push(line.clone());
            let cosignature = signed.verify(&self.log).and_then(|verified| verified.cosignature(key));
            let time_s = cosignature.map_err(|_| Failure::Signature)?.time_s;
            if time_s.abs_diff(wall_s) > SKEW_S_MAX {
                return Err(Failure::Time);
            }
            good.push((line.clone(), time_s));
        }
        if good.is_empty() { Err(Failure::Signature) } else { Ok(good) }
    }
}

/// The request that asks for a cosignature.
pub fn request(submission: &Submission, old: TreeSize, proof: Vec<counterfoil_merkle::Hash>) -> String {
    AddCheckpoint { old, proof, checkpoint: submission.checkpoint.note().clone() }.to_string()
}
