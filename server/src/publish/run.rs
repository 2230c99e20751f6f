//! The publish loop: takes the newest committed head at most once a period, has it signed, asks all witnesses at once, and
//! publishes what has its quorum.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use counterfoil_merkle::{TreeSize, proof::ConsistencyProof};
use counterfoil_receipt::Timestamp;
use tokio::{sync::watch, task::JoinSet};
use tracing::{debug, error, info, warn};

use super::{
    PublishError, Publisher, View,
    ask::Asker,
    handle::Setup,
    rounds::Rounds,
    shown::{Contradiction, Shown, ShownError},
    witness::{Failure, Heard, Question, Reply, Submission, request},
};
use crate::{clock::wall_now, log::Log, metrics::Metrics, objects::CHECKPOINT, tiles::Edge};

/// A committed state that may be published.
#[derive(Clone)]
pub(super) struct Offer {
    /// Its right edge.
    pub(super) edge: Arc<Edge>,
    /// The time that it attests.
    pub(super) time: Timestamp,
}

/// How long after whatever has the keys failed to sign it is asked again.
const SIGN_AGAIN: Duration = Duration::from_secs(1);

struct Asked {
    name: String,
    asker: Asker,
    /// Whether that it fails was told.
    fails: bool,
}

enum Came {
    Reply(Reply),
    Shown(Result<Option<String>, Failure>),
}

/// The loop's state. Its own thread and runtime run it: neither commits nor readers wait for it.
pub(super) struct Loop {
    setup: Setup,
    log: Arc<Log>,
    publisher: Publisher,
    metrics: Arc<Metrics>,
    rounds: Rounds,
    witnesses: Vec<Asked>,
    offers: watch::Receiver<Option<Offer>>,
    /// What was signed last, and when.
    signed: Option<(Arc<Edge>, Instant)>,
    /// Whether that the quorum is missing was told.
    stands_still: bool,
    /// Until when nothing is signed, for the last attempt failed.
    unsigned_until: Duration,
    /// Since when something committed has waited for its publication.
    waiting_since: Option<Instant>,
    replies: JoinSet<(usize, Came)>,
    started: Instant,
}

impl Loop {
    /// Nothing is signed or asked yet.
    pub(super) fn new(
        setup: Setup,
        askers: Vec<(String, Asker)>,
        log: Arc<Log>,
        publisher: Publisher,
        metrics: Arc<Metrics>,
        offers: watch::Receiver<Option<Offer>>,
    ) -> Self {
        let asked = |(name, asker)| Asked { name, asker, fails: false };
        Self {
            rounds: Rounds::new(&publisher.identity().log, &setup.panel, setup.period),
            witnesses: askers.into_iter().map(asked).collect(),
            replies: JoinSet::new(),
            offers,
            signed: None,
            stands_still: false,
            unsigned_until: Duration::ZERO,
            waiting_since: None,
            started: Instant::now(),
            setup,
            log,
            publisher,
            metrics,
        }
    }

    /// Runs until nobody offers anything any more, or something stops the log.
    pub(super) async fn run(&mut self) -> Result<(), Halted> {
        loop {
            self.publish().await;
            self.sign()?;
            self.ask();
            // Where no quorum is asked for, what was signed just now is published at once.
            self.publish().await;
            let due = [self.sign_from(), self.rounds.due()].into_iter().flatten().min();
            // An hour stands for ever: whatever changes anything wakes the loop.
            let due = self.started + due.unwrap_or(self.now() + Duration::from_secs(3600));
            tokio::select! {
                changed = self.offers.changed() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                    self.waiting_since.get_or_insert_with(Instant::now);
                }
                Some(came) = self.replies.join_next() => {
                    let (witness, came) = came.expect("asking a witness does not panic");
                    self.take(witness, came).await?;
                }
                () = tokio::time::sleep_until(due.into()) => {}
            }
        }
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    fn sign_from(&self) -> Option<Duration> {
        let offer = self.offers.borrow();
        let offer = offer.as_ref()?;
        let due = self.rounds.sign_from(offer.edge.frontier.head(), offer.time);
        due.map(|due| due.max(self.unsigned_until))
    }

    /// Has the newest committed head signed, if it is its time.
    fn sign(&mut self) -> Result<(), Halted> {
        if self.sign_from().is_none_or(|due| due > self.now()) {
            return Ok(());
        }
        let Some(Offer { edge, time }) = self.offers.borrow_and_update().clone() else { return Ok(()) };
        let missing = self.rounds.missing_since().is_some();
        let checkpoint = match self.publisher.sign(edge.frontier.head(), time) {
            Ok((checkpoint, _)) => checkpoint,
            Err(PublishError::Signer(error)) => {
                warn!(%error, "the tree head waits for its signature");
                self.unsigned_until = self.now() + SIGN_AGAIN;
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        self.rounds.signed(checkpoint, time, self.now());
        self.signed = Some((edge, Instant::now()));
        self.metrics.quorum_missing_since(self.rounds.missing_since().map(|since| self.started + since));
        if missing && !std::mem::replace(&mut self.stands_still, true) {
            warn!("too few witnesses cosign: the published checkpoint stands still, commits go on");
        }
        Ok(())
    }

    /// Asks whoever is to be asked now.
    fn ask(&mut self) {
        let now = self.now();
        for (n, question) in self.rounds.questions(now) {
            let asker = self.witnesses[n].asker.clone();
            match question {
                Question::Show => {
                    let origin = self.publisher.identity().origin.clone();
                    self.replies.spawn(async move { (n, Came::Shown(asker.show(&origin).await)) });
                }
                Question::Cosign { submission, old } => {
                    let (edge, _) =
                        self.signed.clone().expect("whoever is asked is asked for what was signed");
                    let log = Arc::clone(&self.log);
                    self.replies.spawn(async move {
                        (n, Came::Reply(cosign(&asker, &log, &edge, &submission, old).await))
                    });
                }
            }
        }
    }

    async fn take(&mut self, witness: usize, came: Came) -> Result<(), Halted> {
        match came {
            Came::Reply(reply) => {
                let wall_s = wall_now().map_or(0, Timestamp::seconds);
                let heard = self.rounds.heard(witness, reply, self.now(), wall_s);
                self.tell(witness, &heard);
            }
            Came::Shown(answer) => {
                self.rounds.shown(witness);
                let name = self.witnesses[witness].name.clone();
                if let Ok(Some(text)) = answer
                    && let Some(shown) = Shown::read(&name, &text, &self.publisher.identity().log)
                {
                    self.judge(&shown).await?;
                }
            }
        }
        Ok(())
    }

    /// Counts what a witness' reply is worth, and says so when that changes.
    fn tell(&mut self, n: usize, heard: &Heard) {
        let Asked { name, fails, .. } = &mut self.witnesses[n];
        match heard {
            Heard::Cosigned { lines, .. } => {
                let newest = lines.iter().map(|(_, time_s)| *time_s).max().unwrap_or_default();
                self.metrics.cosigned(name, self.rounds.witness(n).size().get(), newest);
                if std::mem::take(fails) {
                    info!(witness = name, "the witness cosigns again");
                }
            }
            Heard::Failed(reason) => {
                self.metrics.witness_failed(name, reason.as_str());
                if !std::mem::replace(fails, true) {
                    warn!(witness = name, %reason, "a witness does not cosign");
                } else {
                    debug!(witness = name, %reason, "a witness still does not cosign");
                }
            }
            Heard::CatchUp => debug!(witness = name, "the witness cosigned another size than we thought"),
        }
    }

    /// Publishes what has its quorum: first on disk, then for readers, so that no restart shows an older head.
    async fn publish(&mut self) {
        while let Some((note, time)) = self.rounds.publication(self.now()) {
            let Some((edge, signed_at)) = self.signed.clone() else { return };
            let text = note.to_string();
            let stored = self.log.tiles.objects().replace(CHECKPOINT, Bytes::from(text.clone())).await;
            if let Err(error) = stored {
                error!(%error, "a checkpoint that has its quorum cannot be stored, so it is not shown");
                self.rounds.not_published(self.now());
                return;
            }
            let before = self.log.view();
            let view = Arc::new(View { edge, checkpoint: note, text: text.into(), time });
            self.log.publish(Arc::clone(&view));
            self.metrics.quorum_missing_since(None);
            if before.is_none_or(|before| before.head() != view.head() || before.time != time) {
                self.told(&view, signed_at);
            }
            self.record(&view).await;
        }
    }

    /// Counts a head that was published, and says so.
    fn told(&mut self, view: &View, signed_at: Instant) {
        let newest = self.offers.borrow().as_ref().map_or(TreeSize::ZERO, |offer| offer.edge.size());
        let more = newest > view.head().size;
        let waited = std::mem::replace(&mut self.waiting_since, more.then_some(signed_at));
        let elapsed = waited.unwrap_or(signed_at).elapsed();
        self.metrics.published(elapsed);
        if std::mem::take(&mut self.stands_still) {
            info!("enough witnesses cosign again");
        }
        info!(
            tree_size = view.head().size.get(),
            signatures = view.checkpoint.note().signatures().len(),
            elapsed_ms = elapsed.as_millis(),
            "published"
        );
    }

    /// Puts the published checkpoint into the log, if it is its time and a witness' time is in it.
    async fn record(&mut self, view: &View) {
        let Some(records) = &mut self.setup.clock_records else { return };
        let Ok(now) = wall_now() else { return };
        if records.is_due(&self.log, &view.edge, now).await
            && self.setup.panel.policy.check(&view.checkpoint).is_ok_and(|it| !it.witnesses.is_empty())
        {
            records.record(&self.log, &view.checkpoint, now);
        }
    }

    /// Holds what a witness saw of us against our tree.
    async fn judge(&self, shown: &Shown) -> Result<(), Halted> {
        let edge = self.offers.borrow().as_ref().map(|offer| Arc::clone(&offer.edge));
        let (Some(edge), newest) = (edge, self.rounds.newest()) else { return Ok(()) };
        let log = &self.publisher.identity().log;
        match shown.check(&self.log.tiles, &edge.frontier, newest, log, &self.setup.evidence).await {
            Ok(()) => Ok(()),
            Err(ShownError::Contradicts(contradiction)) => Err(contradiction.into()),
            Err(error) => {
                warn!(%error, "what a witness showed cannot be held against the log's own tree");
                Ok(())
            }
        }
    }
}

/// Makes the proof from the size that the witness has, and asks it to cosign.
async fn cosign(asker: &Asker, log: &Log, edge: &Edge, submission: &Submission, old: TreeSize) -> Reply {
    let size = submission.checkpoint.unverified().head.size;
    let Ok(nodes) = ConsistencyProof::nodes(old, size) else { return Reply::Nothing(Failure::Proof) };
    let proof = match log.tiles.hashes(&edge.frontier, &nodes).await {
        Ok(hashes) => ConsistencyProof::from_nodes(old, size, &hashes),
        Err(error) => {
            error!(%error, "the proof for a witness cannot be made");
            return Reply::Nothing(Failure::Proof);
        }
    };
    match proof {
        Ok(proof) => asker.cosign(request(submission, old, proof.hashes().to_vec())).await,
        Err(_) => Reply::Nothing(Failure::Proof),
    }
}

/// Why nothing is published any more.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Halted {
    /// A witness showed what contradicts this log.
    #[error(transparent)]
    Contradiction(#[from] Contradiction),
    /// A head was not signed.
    #[error(transparent)]
    Sign(#[from] PublishError),
    /// The loop's thread died.
    #[error("the publishing thread has died")]
    Died,
}
