//! One log at a witness: what it knows of it, in memory and on disk, changed by one request at a time.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use counterfoil_merkle::{
    Hash, TreeHead,
    checkpoint::SignedCheckpoint,
    evidence::ForkEvidence,
    key::{Algorithm, NoteSigner, VerifierKey},
    note::SignatureLine,
};
use tokio::sync::{Mutex, Notify};
use tracing::{error, warn};

use super::{
    judge::{Authentic, Refusal, Verdict, judge},
    quota::{Quota, Use},
    refused::Refused,
    roster::WatchedLog,
    state::{Cosigned, Kept, LogDir, StateError},
};
use crate::file::FileError;

/// How far the clock may be behind a time that was signed: then that time is signed again. Further behind, none is.
const CLOCK_BEHIND_MAX_S: u64 = 60;

/// With what all logs are served.
pub struct Tools {
    signer: NoteSigner,
    wall: Wall,
    steady: Steady,
    /// Told when a refused note waits for somebody else to have it.
    pub refused: Notify,
}

/// POSIX seconds by the wall clock.
pub type Wall = Box<dyn Fn() -> u64 + Send + Sync>;

/// Time since some moment by a clock that never goes back.
pub type Steady = Box<dyn Fn() -> Duration + Send + Sync>;

impl Tools {
    /// A witness's key, and its clocks.
    pub fn new(signer: NoteSigner, wall: Wall, steady: Steady) -> Result<Self, SignerError> {
        match signer.public().algorithm() {
            Algorithm::CosignatureV1 => Ok(Self { signer, wall, steady, refused: Notify::new() }),
            Algorithm::Ed25519 => Err(SignerError),
        }
    }

    /// The witness's public key.
    pub const fn vkey(&self) -> &VerifierKey {
        self.signer.public()
    }

    /// POSIX seconds.
    pub fn now_s(&self) -> u64 {
        (self.wall)()
    }
}

/// The key is none of a witness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a witness's key is a cosigner's (algorithm 0x04), not a log's (0x01)")]
pub struct SignerError;

/// One log.
pub struct Slot {
    log: WatchedLog,
    directory: LogDir,
    tools: Arc<Tools>,
    state: Arc<Mutex<State>>,
    /// What readers see while the state is being changed.
    view: RwLock<View>,
}

struct State {
    newest: Option<Arc<Cosigned>>,
    evidence: Option<Arc<str>>,
    refused: Refused,
    quota: Quota,
    lost: bool,
}

/// What is shown of a log.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// The newest checkpoint that was cosigned.
    pub newest: Option<Arc<Cosigned>>,
    /// Proof that the log signed two histories.
    pub evidence: Option<Arc<str>>,
    /// How many refused notes are kept.
    pub refused: usize,
    /// How many of these nobody else has.
    pub waiting: usize,
    /// Whether nobody knows what is on disk. Then nothing is cosigned until a restart has read it.
    pub lost: bool,
}

impl State {
    fn head(&self) -> TreeHead {
        self.newest.as_ref().map_or(TreeHead::EMPTY, |newest| newest.head())
    }

    fn view(&self) -> View {
        View {
            newest: self.newest.clone(),
            evidence: self.evidence.clone(),
            refused: self.refused.len(),
            waiting: self.refused.waiting().len(),
            lost: self.lost,
        }
    }
}

impl Slot {
    /// A log with what is kept of it.
    pub fn open(log: WatchedLog, directory: LogDir, tools: Arc<Tools>) -> Result<Self, StateError> {
        let Kept { newest, evidence, refused } = directory.load()?;
        let quota = Quota::new(log.per_day(), (tools.steady)());
        let evidence = evidence.map(|evidence| evidence.to_string().into());
        let state = State { newest: newest.map(Arc::new), evidence, refused, quota, lost: false };
        let view = RwLock::new(state.view());
        Ok(Self { log, directory, tools, state: Arc::new(Mutex::new(state)), view })
    }

    /// The log.
    pub const fn log(&self) -> &WatchedLog {
        &self.log
    }

    /// What is to be seen now.
    pub fn view(&self) -> View {
        self.view.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Judges a request, and cosigns and stores what it brings, all before anybody hears of it.
    pub async fn add(self: &Arc<Self>, request: Authentic) -> Result<Vec<SignatureLine>, Refusal> {
        self.alone(|slot, state| slot.decide(state, request)).await.unwrap_or(Err(Refusal::Storage))
    }

    /// Keeps evidence that was checked; from then on the log is cosigned no more.
    pub async fn convict(self: &Arc<Self>, evidence: ForkEvidence) -> Result<(), Refusal> {
        let keep = move |slot: &Self, state: &mut State| {
            slot.keep_evidence(state, &evidence).map_err(|error| slot.stop(&error))
        };
        self.alone(keep).await.unwrap_or(Err(Refusal::Storage))
    }

    /// The refused notes that nobody else has, with their ids.
    pub async fn waiting(self: &Arc<Self>) -> Vec<(Hash, SignedCheckpoint)> {
        let read = |slot: &Self, state: &mut State| {
            let read = |id| state.refused.read(id).map(|note| (id, note));
            let good = |note: Result<_, StateError>| note.map_err(|error| slot.report(&error)).ok();
            state.refused.waiting().into_iter().map(read).filter_map(good).collect()
        };
        self.alone(read).await.unwrap_or_default()
    }

    /// Somebody else has a refused note. If it is `cleared`, it goes with what was cosigned, and is kept no longer.
    pub async fn told(self: &Arc<Self>, id: Hash, cleared: bool) {
        let told = move |slot: &Self, state: &mut State| {
            let told = if cleared { state.refused.clear(id) } else { state.refused.tell(id) };
            told.unwrap_or_else(|error| slot.report(&error));
        };
        self.alone(told).await;
    }

    /// Does work that may block and changes the state, apart from all other such work. `None` if it panicked.
    ///
    /// What has begun is finished, though the caller hangs up: or else a state could be written after a newer one.
    async fn alone<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self, &mut State) -> T + Send + 'static,
    ) -> Option<T> {
        let (slot, mut state) = (Arc::clone(self), Arc::clone(&self.state).lock_owned().await);
        let done = tokio::task::spawn_blocking(move || {
            let done = catch_unwind(AssertUnwindSafe(|| work(&slot, &mut state)));
            state.lost |= done.is_err();
            let view = state.view();
            let more = view.waiting > slot.view().waiting;
            *slot.view.write().unwrap_or_else(PoisonError::into_inner) = view;
            // Not before it is to be seen, or whoever is told would look, see nothing and sleep.
            if more {
                slot.tools.refused.notify_one();
            }
            done.ok()
        });
        done.await.ok().flatten()
    }

    fn decide(&self, state: &mut State, request: Authentic) -> Result<Vec<SignatureLine>, Refusal> {
        if state.lost {
            return Err(Refusal::Storage);
        }
        if state.evidence.is_some() {
            return Err(Refusal::Forked { log: self.log.id() });
        }
        match judge(state.head(), request) {
            Verdict::Cosign(checkpoint) => self.cosign(state, checkpoint),
            Verdict::Refuse(refusal) => Err(refusal),
            Verdict::Suspect(refusal, checkpoint) => {
                self.suspect(state, &checkpoint);
                Err(refusal)
            }
        }
    }

    fn cosign(
        &self,
        state: &mut State,
        mut checkpoint: SignedCheckpoint,
    ) -> Result<Vec<SignatureLine>, Refusal> {
        let head = checkpoint.unverified().head;
        let refused = state.refused.contradicting(head).map_err(|error| self.stop(&error))?;
        if refused.is_some_and(|refused| self.compare(state, &checkpoint, &refused)) {
            return Err(Refusal::Forked { log: self.log.id() });
        }
        let (time_s, signer) = (self.time_s(state)?, &self.tools.signer);
        if let Some(newest) = &state.newest
            && newest.time_s == time_s
            && newest.checkpoint.note().text() == checkpoint.note().text()
        {
            // Signing the same again would give the same bytes.
            return Ok(own_lines(&newest.checkpoint, signer));
        }
        let what = if state.newest.is_some() && head == state.head() { Use::Renewal } else { Use::Growth };
        let taken = state.quota.take(what, (self.tools.steady)());
        taken.map_err(|wait| Refusal::TooMany { retry_after_s: wait.as_secs() + 1 })?;
        checkpoint.cosign(signer, time_s);
        let verified = checkpoint.cosignature(signer.public()).expect("what was signed just now verifies");
        assert_eq!(verified.time_s, time_s, "the cosignature says when it was made");
        self.store(state, &checkpoint)?;
        let lines = own_lines(&checkpoint, signer);
        state.newest = Some(Arc::new(Cosigned { checkpoint, time_s }));
        state.refused.settle(head).unwrap_or_else(|error| self.report(&error));
        Ok(lines)
    }

    /// The time to sign: that of the clock, and never before one that was signed.
    fn time_s(&self, state: &State) -> Result<u64, Refusal> {
        let (now_s, signed_s) = (self.tools.now_s(), state.newest.as_ref().map_or(0, |newest| newest.time_s));
        // A time of 0 would say nothing of when it was.
        if now_s == 0 || signed_s > now_s.saturating_add(CLOCK_BEHIND_MAX_S) {
            error!(log = %self.log.origin(), now_s, signed_s, "the clock is behind what was signed");
            return Err(Refusal::Clock);
        }
        Ok(now_s.max(signed_s))
    }

    /// Puts a cosigned checkpoint in place of the one before. Until this is done nobody may hear of it.
    fn store(&self, state: &mut State, checkpoint: &SignedCheckpoint) -> Result<(), Refusal> {
        let first = state.newest.is_none();
        let created = if first { self.directory.create() } else { Ok(()) };
        // Nothing has changed if this fails.
        let staged =
            created.and_then(|()| self.directory.stage(checkpoint)).map_err(|error| self.stop(&error))?;
        let mark = || if first { self.directory.mark() } else { Ok(()) };
        staged.keep().and_then(|()| mark()).map_err(|error| {
            state.lost = true;
            self.stop(&error)
        })
    }

    /// Keeps what was refused, and evidence if there is any in it.
    fn suspect(&self, state: &mut State, checkpoint: &SignedCheckpoint) {
        let head = checkpoint.unverified().head;
        if state.quota.take(Use::Doubt, (self.tools.steady)()).is_ok() {
            warn!(log = %self.log.origin(), size = %head.size, root = %head.root, "the log signed what was refused");
            state.refused.add(checkpoint).unwrap_or_else(|error| self.report(&error));
        }
        let cosigned = state.newest.clone().filter(|newest| newest.head().size == head.size);
        let other = match cosigned {
            Some(newest) => Ok(Some(newest.checkpoint.clone())),
            None => state.refused.contradicting(head),
        };
        match other {
            Ok(Some(other)) => drop(self.compare(state, checkpoint, &other)),
            Ok(None) => {}
            Err(error) => self.report(&error),
        }
    }

    /// Keeps evidence if the log signed two histories with these; says whether it did.
    fn compare(&self, state: &mut State, one: &SignedCheckpoint, other: &SignedCheckpoint) -> bool {
        let Some(evidence) = self.log.convict(one, other) else { return false };
        // What is proven is proven, whether or not it can be stored.
        self.keep_evidence(state, &evidence).unwrap_or_else(|error| self.report(&error));
        true
    }

    fn keep_evidence(&self, state: &mut State, evidence: &ForkEvidence) -> Result<(), FileError> {
        if state.evidence.is_some() {
            return Ok(());
        }
        error!(log = %self.log.origin(), evidence = %evidence.id(), "the log signed two histories; it is cosigned no more");
        state.evidence = Some(evidence.to_string().into());
        self.directory.convict(evidence)
    }

    fn stop(&self, error: &dyn std::error::Error) -> Refusal {
        self.report(error);
        Refusal::Storage
    }

    fn report(&self, error: &dyn std::error::Error) {
        let source = error.source().map(tracing::field::display);
        error!(log = %self.log.origin(), %error, source, "the state of a log cannot be read or written");
    }
}

/// The witness's lines under a checkpoint.
fn own_lines(checkpoint: &SignedCheckpoint, signer: &NoteSigner) -> Vec<SignatureLine> {
    checkpoint.note().only(&[signer.public()]).signatures().to_vec()
}
