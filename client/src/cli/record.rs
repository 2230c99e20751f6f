//! Making a record: what it is about is fetched and verified, what people say is committed to, and the record is signed, appended
//! and verified.

use std::path::{Path, PathBuf};

use anyhow::bail;
use clap::Args;
use counterfoil_merkle::Hash;
use counterfoil_receipt::{
    Envelope, PublicKey, SigningKey, Statement,
    bundle::Bundle,
    commitment::{Evidenced, Label, MemberLabel},
    draft::{Committing, RecordDraft},
    statement::{Commitment, Origin, Predicate, Subject},
    verify::verify,
};
use serde_json::json;

use super::{
    Exit, LogArgs, MemoryArgs, No, Opened, Terminal,
    place::Place,
    terminal::{Tone, shown},
};
use crate::{
    answer::{Logged, Problem},
    file::{self, Access},
    submit::{Outcome, Submitter},
};

const KEY_BYTES_MAX: usize = 64 * 1024;
const TEXT_BYTES_MAX: usize = 1024 * 1024;
const EVIDENCE_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Where a record goes.
#[derive(Args, Clone, Debug)]
pub(super) struct RecordArgs {
    #[command(flatten)]
    pub(super) log: LogArgs,

    #[command(flatten)]
    memory: MemoryArgs,

    /// Where to put envelope, openings and bundle.
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,

    /// Sign, and stop before anything is sent: `counterfoil append` sends the envelope later.
    #[arg(long)]
    sign_only: bool,
}

/// What somebody has to say in words: the log gets a commitment, you keep the words.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct Words {
    /// What you have to say. Only a commitment to it is logged; the words stay with you, in the openings.
    #[arg(long, value_name = "TEXT")]
    say: Option<String>,

    /// As --say, from a file.
    #[arg(long, value_name = "FILE", conflicts_with = "say")]
    say_file: Option<PathBuf>,
}

/// Evidence, which is committed to.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct Evidence {
    /// A file that is evidence. Only a commitment to it is logged. May be given more than once.
    #[arg(long, value_name = "FILE")]
    evidence: Vec<PathBuf>,
}

/// A log at which a record is made.
pub(super) struct Making<'t> {
    opened: Opened,
    arguments: RecordArgs,
    terminal: &'t Terminal,
    failed: bool,
}

/// A record that another is to be about, verified.
pub(super) struct About {
    /// Its bundle.
    pub(super) bundle: Bundle,
    /// Its statement, if it is there.
    pub(super) statement: Option<Statement>,
}

impl About {
    /// Its leaf hash.
    pub(super) fn leaf(&self) -> Hash {
        self.bundle.leaf()
    }

    /// It as the subject of another record.
    pub(super) fn subject(&self) -> Subject {
        Subject::Record(self.leaf())
    }
}

impl<'t> Making<'t> {
    /// Opens the log.
    pub(super) fn open(arguments: &RecordArgs, terminal: &'t Terminal) -> anyhow::Result<Self> {
        let opened = arguments.log.open(&arguments.memory, 5)?;
        Ok(Self { opened, arguments: arguments.clone(), terminal, failed: false })
    }

    /// The log's name.
    pub(super) fn origin(&self) -> anyhow::Result<Origin> {
        Ok(self.opened.log.known().key.name().as_str().parse()?)
    }

    /// The log.
    pub(super) const fn opened(&mut self) -> &mut Opened {
        &mut self.opened
    }

    /// Fetches a record and verifies it.
    pub(super) async fn about(&mut self, place: &Place) -> anyhow::Result<About> {
        let bundle = place.fetch(&self.opened.log).await?;
        let report = verify(&bundle, &self.opened.log.known().trust()?, None);
        if let Some(failure) = report.failures().into_iter().next() {
            return Err(No(format!("{place} does not verify: {failure}")).into());
        }
        if let Ok(accepted) = &report.checkpoint {
            let record = Some((&bundle.proof, report.leaf));
            self.opened.hold_quietly(&accepted.checkpoint, record).await?;
        }
        let statement = report.statement().cloned();
        Ok(About { bundle, statement })
    }

    /// Makes a record, signs it, keeps what opens it, appends it, and verifies the proof that comes back.
    ///
    /// `say` makes the predicate, and commits to whatever is not to be public.
    pub(super) async fn make(
        mut self,
        key: &SigningKey,
        subject: Subject,
        say: impl FnOnce(&mut Committing<'_>) -> anyhow::Result<Predicate>,
    ) -> anyhow::Result<Exit> {
        let origin = self.origin()?;
        let mut random = |bytes: &mut [u8]| self.failed |= getrandom::fill(bytes).is_err();
        let mut committing = Committing::new(&mut random);
        let predicate = say(&mut committing)?;
        let draft = committing.record(origin, key, subject, predicate);
        if self.failed {
            bail!("the system gives no random bytes");
        }
        self.send(draft, key).await
    }

    async fn send(mut self, draft: RecordDraft, key: &SigningKey) -> anyhow::Result<Exit> {
        let envelope = draft.sign(key)?.into_envelope();
        let (kind, id) = (draft.statement.kind(), draft.id());
        let out = self.arguments.out.clone();
        file::create_folder(&out)?;
        let path = |what: &str| out.join(format!("{id}.{what}.json"));
        // The openings first: a record whose words nobody can show any more is worth little.
        if draft.openings.labels().next().is_some() {
            let json = draft.openings.to_json();
            file::replace_durably(&path("openings"), json.as_bytes(), Access::Secret)?;
        }
        file::replace_durably(&path("envelope"), envelope.to_json().as_bytes(), Access::Public)?;
        if self.arguments.sign_only {
            self.terminal.line(format_args!("signed {kind} {id}: {}", path("envelope").display()));
            let value = json!({
                "status": "signed", "kind": kind.as_str(), "id": id.to_string(), "envelope": path("envelope"),
            });
            self.terminal.value(&value);
            return Ok(Exit::YES);
        }
        let Some(api) = self.opened.log.source().api().cloned() else {
            bail!("{} is a directory; appending takes a server", self.opened.log.source());
        };
        let submitter = Submitter::new(api, self.opened.log.known().trust()?, 5);
        match submitter.append(&envelope).await? {
            Outcome::Refused(problem) => self.refused(&problem, &envelope, &path("refusal")),
            Outcome::Logged(logged) => {
                self.keep(&logged, &path("counterfoil")).await?;
                let (index, leaf) = (logged.index, logged.bundle.leaf());
                self.terminal.line(format_args!(
                    "{} {kind} {id} at index {index}: {}",
                    self.terminal.paint(Tone::Good, "proven"),
                    path("counterfoil").display()
                ));
                self.terminal.line(format_args!("leaf {leaf}"));
                self.terminal.value(&json!({
                    "status": "proven", "kind": kind.as_str(), "id": id.to_string(), "index": index.get(),
                    "leaf": leaf.to_string(), "at": logged.bundle.entry.at.millis(), "bundle": path("counterfoil"),
                }));
                Ok(Exit::YES)
            }
        }
    }

    async fn keep(&mut self, logged: &Logged, path: &Path) -> anyhow::Result<()> {
        let record = Some((&logged.bundle.proof, logged.bundle.leaf()));
        let held = self.opened.hold_quietly(&logged.checkpoint, record).await;
        let path = if held.is_ok() { path.to_owned() } else { path.with_extension("inconsistent.json") };
        file::replace_durably(&path, logged.bundle.to_json().as_bytes(), Access::Public)?;
        self.opened.tell(logged.checkpoint.signed(), self.terminal).await?;
        held.map(drop)
    }

    /// Says why the log does not take the record, and keeps the refusal, which can be published.
    fn refused(&self, problem: &Problem, envelope: &Envelope, path: &Path) -> anyhow::Result<Exit> {
        let text = format!("{}: {}", problem.title, problem.detail);
        self.terminal.line(format_args!("{} {}", self.terminal.paint(Tone::Bad, "refused"), shown(&text)));
        let mut kept = None;
        if let Some(refusal) = &problem.refusal {
            file::replace_durably(path, refusal.to_string().as_bytes(), Access::Public)?;
            self.terminal.line(format_args!(
                "rule {}; the log's signed refusal: {}",
                shown(problem.rule.as_deref().unwrap_or("not named")),
                path.display()
            ));
            kept = Some(path);
        }
        self.terminal.value(&json!({
            "status": "refused", "id": envelope.id().to_string(), "title": problem.title,
            "detail": problem.detail, "rule": problem.rule, "refusal": kept,
        }));
        Ok(Exit::NO)
    }
}

impl Words {
    /// Commits to what was said, if anything was.
    pub(super) fn commit(
        &self,
        label: MemberLabel,
        committing: &mut Committing<'_>,
    ) -> anyhow::Result<Option<Commitment>> {
        let text = match (&self.say, &self.say_file) {
            (Some(text), _) => text.clone(),
            (None, Some(path)) => file::read_text(path, TEXT_BYTES_MAX)?,
            (None, None) => return Ok(None),
        };
        Ok(Some(committing.commit(Label::Member(label), text.as_bytes())))
    }
}

impl Evidence {
    /// Commits to each file.
    pub(super) fn commit(
        &self,
        kind: Evidenced,
        committing: &mut Committing<'_>,
    ) -> anyhow::Result<Vec<Commitment>> {
        let commit = |(n, path): (u32, &PathBuf)| {
            Ok(committing.commit(Label::Evidence(kind, n), &file::read(path, EVIDENCE_BYTES_MAX)?))
        };
        (0..).zip(&self.evidence).map(commit).collect()
    }
}

/// Reads a private key.
pub(super) fn read_key(path: &Path) -> anyhow::Result<SigningKey> {
    Ok(SigningKey::from_pkcs8_pem(&file::read_text(path, KEY_BYTES_MAX)?)?)
}

/// Reads a public key, for a flag.
pub(super) fn public_key(text: &str) -> Result<PublicKey, String> {
    text.parse().map_err(|error| format!("{error}"))
}
