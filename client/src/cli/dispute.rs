//! `counterfoil dispute`.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::Args;
use counterfoil_merkle::Hash;
use counterfoil_receipt::{
    Envelope, Kind, SigningKey, Statement,
    bundle::{BUNDLE_BYTES_MAX, Bundle},
    commitment::{Evidenced, MemberLabel},
    envelope::ENVELOPE_BYTES_MAX,
    statement::{
        Dispute, Enclosed, Ground, Predicate, RemedyKind, Subject,
        dispute::{Elsewhere, Harm, Outside},
        groups::Accountable,
    },
};

use super::{
    Exit, Terminal,
    ask::{choose_some, code, confirm},
    claim::Held,
    place::Place,
    record::{About, Evidence, Making, RecordArgs, Words, read_key},
};
use crate::file;

/// Dispute a record: a receipt, a verdict, a decision; or a promise of a receipt that never came.
///
/// Whoever holds the claim key that came with an answer may do so, and nobody has to grant it.
#[derive(Args, Debug)]
pub(super) struct DisputeCommand {
    #[command(flatten)]
    record: RecordArgs,

    /// What you dispute: its id or the first 32 digits of it, its index, or its leaf hash. By default the receipt of the claim key.
    #[arg(value_name = "ID|INDEX|LEAF")]
    place: Option<Place>,

    /// Your claim key: its file, or a text with the printed form in it; `-` for standard input.
    #[arg(long, value_name = "FILE", required_unless_present = "key")]
    claim: Option<PathBuf>,

    /// Your private key (PKCS#8 PEM), if you dispute as a registered disputant or as the issuer.
    #[arg(long, value_name = "FILE", conflicts_with = "claim")]
    key: Option<PathBuf>,

    /// Why. May be given more than once; you are asked if you leave it out.
    #[arg(long, value_name = "CODE", value_parser = code::<Ground>)]
    ground: Vec<Ground>,

    /// What kind of harm was done.
    #[arg(long, value_name = "CODE", value_parser = code::<Harm>)]
    harm: Option<Harm>,

    /// What you ask for.
    #[arg(long, value_name = "CODE", value_parser = code::<RemedyKind>)]
    remedy: Option<RemedyKind>,

    #[command(flatten)]
    words: Words,

    #[command(flatten)]
    evidence: Evidence,

    /// The promise of a receipt that you dispute: the envelope that came with the answer.
    #[arg(long, value_name = "ENVELOPE", conflicts_with_all = ["place", "elsewhere", "key"])]
    promise: Option<PathBuf>,

    /// The bundle of a receipt in another log that you dispute here.
    #[arg(long, value_name = "BUNDLE", conflicts_with_all = ["place", "key"])]
    elsewhere: Option<PathBuf>,
}

/// What is disputed.
struct Disputed {
    subject: Subject,
    outside: Option<Outside>,
    accountable: Option<Accountable>,
    kind: Kind,
}

impl DisputeCommand {
    pub(super) async fn run(mut self, terminal: &Terminal) -> anyhow::Result<Exit> {
        let held = self.claim.as_deref().map(Held::read).transpose()?;
        if let Some(held) = held.as_ref().filter(|_| self.elsewhere.is_none()) {
            held.name_log(&mut self.record.log)?;
        }
        let key = match (&held, &self.key) {
            (Some(held), _) => held.key().signing_key(),
            (None, Some(path)) => read_key(path)?,
            (None, None) => bail!("say --claim or --key"),
        };
        let mut making = Making::open(&self.record, terminal)?;
        let disputed = self.disputed(&mut making, held.as_ref(), &key).await?;
        let grounds = self.grounds(disputed.kind, terminal)?;
        confirm("The dispute will be in the log for ever, signed with this key.", terminal)?;
        let Self { harm, remedy, words, evidence, .. } = self;
        let Disputed { subject, outside, accountable, .. } = disputed;
        making
            .make(&key, subject, |committing| {
                let statement = words.commit(MemberLabel::DisputeStatement, committing)?;
                let evidence = evidence.commit(Evidenced::Dispute, committing)?;
                let dispute = Dispute { grounds, harm, remedy, statement, evidence, accountable, outside };
                Ok(Predicate::Dispute(Box::new(dispute)))
            })
            .await
    }

    /// The grounds that were said or chosen; where only one is possible, that one.
    fn grounds(&self, disputed: Kind, terminal: &Terminal) -> anyhow::Result<Vec<Ground>> {
        let only = match disputed {
            Kind::Promise => Ground::MissingReceipt,
            Kind::Verdict => Ground::VerdictWrong,
            Kind::Resolution => Ground::ResolutionWrong,
            _ => return choose_some(&self.ground, "--ground", "Why do you dispute it?", terminal),
        };
        Ok(if self.ground.is_empty() { vec![only] } else { self.ground.clone() })
    }

    async fn disputed(
        &self,
        making: &mut Making<'_>,
        held: Option<&Held>,
        key: &SigningKey,
    ) -> anyhow::Result<Disputed> {
        if let Some(path) = &self.promise {
            let envelope = Envelope::parse(&file::read(path, ENVELOPE_BYTES_MAX)?)?;
            let promise = Enclosed::open(envelope)?;
            if promise.statement().kind() != Kind::Promise {
                bail!("{} is a {}, not a promise", path.display(), promise.statement().kind());
            }
            let subject = Subject::Promise(promise.id());
            let outside = Some(Outside::Promise(Box::new(promise)));
            return Ok(Disputed { subject, outside, accountable: None, kind: Kind::Promise });
        }
        if let Some(path) = &self.elsewhere {
            return elsewhere(&Bundle::parse(&file::read(path, BUNDLE_BYTES_MAX)?)?);
        }
        let place = match (&self.place, held) {
            (Some(place), _) => place.clone(),
            (None, Some(held)) => held.place()?,
            (None, None) => bail!("say which record you dispute"),
        };
        let about = making.about(&place).await?;
        let entry = &about.bundle.entry;
        let own_claim = entry.claim.as_ref() == Some(key.public());
        if held.is_some() && entry.kind == Kind::Receipt && !own_claim {
            bail!("the claim key is that of another receipt");
        }
        let kind = entry.kind;
        Ok(Disputed { subject: about.subject(), outside: None, accountable: accountable(&about), kind })
    }
}

/// Who answers for a receipt, if it says so openly.
fn accountable(about: &About) -> Option<Accountable> {
    accountable_of(about.statement.as_ref()?)
}

fn accountable_of(statement: &Statement) -> Option<Accountable> {
    match &statement.predicate {
        Predicate::Receipt(receipt) => receipt.accountable.as_ref()?.open().cloned(),
        _ => None,
    }
}

/// A receipt of another log, by its bundle.
fn elsewhere(bundle: &Bundle) -> anyhow::Result<Disputed> {
    let log = bundle.proof.checkpoint().unverified().origin.as_str().parse()?;
    let (entry, proof) = (bundle.entry.clone(), bundle.proof.clone());
    let statement = bundle.statement.as_deref().map(|bytes| entry.check_statement(bytes)).transpose();
    let statement = statement.context("the bundle")?;
    let leaf: Hash = entry.leaf_hash();
    let outside = Some(Outside::Elsewhere(Box::new(Elsewhere { log, entry, proof })));
    let accountable = statement.as_ref().and_then(accountable_of);
    Ok(Disputed { subject: Subject::Elsewhere(leaf), outside, accountable, kind: Kind::Receipt })
}
