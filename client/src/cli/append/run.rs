//! One run of `append`: what is done already is skipped, the rest is sent, and every answer is verified.

use std::path::{Path, PathBuf};

use counterfoil_merkle::checkpoint::VerifiedCheckpoint;
use counterfoil_receipt::{
    Envelope,
    bundle::{BUNDLE_BYTES_MAX, Bundle},
    trust::Trust,
    verify::verify,
};
use serde_json::json;

use super::input::Item;
use crate::{
    answer::Logged,
    cli::{
        Exit, Opened, Terminal,
        progress::Progress,
        terminal::{Tone, shown},
    },
    file::{self, Access},
    submit::{Outcome, Submitter},
};

/// An append under way.
pub(super) struct Run<'a> {
    opened: Opened,
    submitter: Submitter,
    trust: Trust,
    terminal: &'a Terminal,
    progress: Progress,
    held: Option<VerifiedCheckpoint>,
    waiting: Vec<(Envelope, PathBuf)>,
    read: u64,
    appended: u64,
    known: u64,
    refused: u64,
}

impl<'a> Run<'a> {
    pub(super) fn new(opened: Opened, submitter: Submitter, trust: Trust, terminal: &'a Terminal) -> Self {
        let progress = Progress::new(terminal);
        let (held, waiting) = (None, Vec::new());
        Self {
            opened,
            submitter,
            trust,
            terminal,
            progress,
            held,
            waiting,
            read: 0,
            appended: 0,
            known: 0,
            refused: 0,
        }
    }

    /// How many receipts wait to be sent.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Takes one envelope of the input; its bundle goes into `folder`.
    pub(super) fn take(&mut self, item: Item, folder: &Path) {
        self.read += 1;
        let Item { place, envelope, percent } = item;
        let done = percent.map(|percent| format!(", {percent} % of the input")).unwrap_or_default();
        self.progress.show(format_args!("{} receipts{done}", self.read));
        let envelope =
            match envelope.and_then(|envelope| envelope.verify().map_err(|error| error.to_string())) {
                Ok(envelope) => envelope.into_envelope(),
                Err(reason) => return self.refuse(&place, &reason),
            };
        let path = folder.join(format!("{}.counterfoil.json", envelope.id()));
        if let Some(bundle) = self.done(&path, &envelope) {
            self.known += 1;
            self.say("known", Tone::Dim, &bundle, &path);
            return;
        }
        if !self.waiting.iter().any(|(other, _)| other.id() == envelope.id()) {
            self.waiting.push((envelope, path));
        }
    }

    /// Sends what waits, verifies what comes back, and writes the bundles.
    pub(super) async fn send(&mut self) -> anyhow::Result<()> {
        let (envelopes, paths): (Vec<_>, Vec<_>) = std::mem::take(&mut self.waiting).into_iter().unzip();
        let outcomes = match envelopes.as_slice() {
            [] => return Ok(()),
            [envelope] => vec![self.submitter.append(envelope).await?],
            envelopes => self.submitter.append_batch(envelopes).await?,
        };
        for ((envelope, path), outcome) in envelopes.iter().zip(paths).zip(outcomes) {
            match outcome {
                Outcome::Logged(logged) => self.keep(*logged, &path).await?,
                Outcome::Refused(problem) => {
                    self.refuse(
                        &envelope.id().to_string(),
                        &format!("{}: {}", problem.title, problem.detail),
                    );
                }
            }
        }
        Ok(())
    }

    /// Tells those that gossip which checkpoint the receipts are under, and says how it went.
    pub(super) async fn finish(mut self) -> anyhow::Result<Exit> {
        self.progress.clear();
        if let Some(held) = &self.held {
            self.opened.tell(held.signed(), self.terminal).await?;
        }
        let Self { appended, known, refused, .. } = self;
        let summary = format!("{appended} proven, {known} known already, {refused} refused");
        let tone = if refused == 0 { Tone::Good } else { Tone::Bad };
        self.terminal.line(self.terminal.paint(tone, summary));
        Ok(Exit::yes_if(refused == 0))
    }

    /// The bundle of an envelope that was appended before, if it is there and holds.
    fn done(&self, path: &Path, envelope: &Envelope) -> Option<Bundle> {
        let bytes = file::read_if_there(path, BUNDLE_BYTES_MAX).ok()??;
        let bundle = Bundle::parse(&bytes).ok()?;
        let same = bundle.statement.as_deref() == Some(envelope.statement_bytes());
        (same && verify(&bundle, &self.trust, None).holds()).then_some(bundle)
    }

    async fn keep(&mut self, logged: Logged, path: &Path) -> anyhow::Result<()> {
        // Receipts of one batch share a checkpoint; it is held against the pinned one once.
        if self.held.as_ref().is_none_or(|held| held.head() != logged.checkpoint.head()) {
            self.hold(&logged, path).await?;
            self.held = Some(logged.checkpoint);
        }
        file::replace(path, logged.bundle.to_json().as_bytes(), Access::Public)?;
        self.appended += 1;
        self.say("proven", Tone::Good, &logged.bundle, path);
        Ok(())
    }

    /// Holds a checkpoint against what was seen of the log. If it does not hold, the bundle is put aside: it may be what
    /// convicts the log, and it must not pass for done.
    async fn hold(&mut self, logged: &Logged, path: &Path) -> anyhow::Result<()> {
        let record = Some((&logged.bundle.proof, logged.bundle.leaf()));
        let Err(refused) = self.opened.hold_quietly(&logged.checkpoint, record).await else { return Ok(()) };
        let aside = path.with_extension("inconsistent.json");
        file::replace(&aside, logged.bundle.to_json().as_bytes(), Access::Public)?;
        self.opened.tell(logged.checkpoint.signed(), self.terminal).await?;
        Err(refused.context(format!("what the log answered is kept in {}", aside.display())))
    }

    fn say(&mut self, what: &str, tone: Tone, bundle: &Bundle, path: &Path) {
        let (id, index) = (bundle.entry.id, bundle.proof.index());
        self.progress.clear();
        let size = bundle.proof.proof().size();
        self.terminal.line(format_args!(
            "{} {id} at index {index} of {size}: {}",
            self.terminal.paint(tone, what),
            path.display()
        ));
        self.terminal.value(&json!({
            "status": what, "id": id.to_string(), "index": index.get(), "leaf": bundle.leaf().to_string(),
            "size": size.get(), "bundle": path,
        }));
    }

    fn refuse(&mut self, place: &str, reason: &str) {
        self.refused += 1;
        self.progress.clear();
        let text =
            format!("{} {}: {}", self.terminal.paint(Tone::Bad, "refused"), shown(place), shown(reason));
        self.terminal.line(text);
        self.terminal.value(&json!({ "status": "refused", "place": place, "reason": reason }));
    }
}
