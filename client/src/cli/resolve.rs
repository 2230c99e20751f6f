//! `counterfoil resolve`.

use std::path::PathBuf;

use anyhow::bail;
use clap::Args;
use counterfoil_receipt::{
    commitment::{Label, MemberLabel},
    statement::{
        Ground, Predicate, Resolution,
        resolution::{Decider, Finding, Outcome},
    },
};

use super::{
    Exit, Terminal,
    ask::{choose, code, confirm},
    moment::{When, now},
    place::Place,
    record::{About, Making, RecordArgs, Words, read_key},
    respond::UndertakingArgs,
};

/// Decide a dispute, or say that it is settled.
#[derive(Args, Debug)]
pub(super) struct Resolve {
    #[command(flatten)]
    record: RecordArgs,

    /// The dispute: its id or the first 32 digits of it, its index, or its leaf hash.
    #[arg(value_name = "ID|INDEX|LEAF")]
    place: Place,

    /// Your private key (PKCS#8 PEM).
    #[arg(long, value_name = "FILE", required_unless_present = "claim")]
    key: Option<PathBuf>,

    /// Your claim key, if it is your own dispute that you say is settled.
    #[arg(long, value_name = "FILE", conflicts_with = "key")]
    claim: Option<PathBuf>,

    /// In which role you decide; you are asked if you leave it out.
    #[arg(long, value_name = "CODE", value_parser = code::<Decider>)]
    role: Option<Decider>,

    /// What you find on a ground, such as wrong_model=upheld. May be given more than once; you are asked if you leave it out.
    #[arg(long, value_name = "GROUND=FINDING", value_parser = finding)]
    finding: Vec<Finding>,

    #[command(flatten)]
    undertaking: UndertakingArgs,

    /// Until when an appeal is possible: a date, a time, or +30d.
    #[arg(long, value_name = "WHEN", value_parser = When::parse)]
    appeal_until: Option<When>,

    /// The decision's own reference, such as a file number. Only a commitment to it is logged.
    #[arg(long, value_name = "TEXT")]
    reference: Option<String>,

    /// How many of those who decided did not agree.
    #[arg(long, value_name = "N")]
    dissent: Option<u64>,

    #[command(flatten)]
    words: Words,
}

fn finding(text: &str) -> Result<Finding, String> {
    let (ground, outcome) = text.split_once('=').ok_or("a finding is GROUND=FINDING")?;
    Ok(Finding { ground: code(ground)?, outcome: code(outcome)? })
}

impl Resolve {
    pub(super) async fn run(self, terminal: &Terminal) -> anyhow::Result<Exit> {
        let key = match (&self.key, &self.claim) {
            (Some(path), _) => read_key(path)?,
            (None, Some(path)) => super::claim::Held::read(path)?.key().signing_key(),
            (None, None) => bail!("say --key or --claim"),
        };
        let mut making = Making::open(&self.record, terminal)?;
        let about = making.about(&self.place).await?;
        let role = choose(self.role, "--role", "In which role do you decide?", terminal)?;
        let findings = self.findings(&about, terminal)?;
        let remedy = self.undertaking.undertaking()?;
        let now = now()?;
        confirm("The decision will be in the log for ever, signed with your key.", terminal)?;
        making
            .make(&key, about.subject(), |committing| {
                let reference = self.reference.map(|text| {
                    committing.commit(Label::Member(MemberLabel::ResolutionReference), text.as_bytes())
                });
                Ok(Predicate::Resolution(Resolution {
                    role,
                    findings,
                    remedy,
                    appeal_until: self.appeal_until.map(|until| until.moment(now)),
                    reference,
                    statement: self.words.commit(MemberLabel::ResolutionStatement, committing)?,
                    dissent: self.dissent,
                }))
            })
            .await
    }

    /// What was said, or what is chosen for each ground of the dispute.
    fn findings(&self, about: &About, terminal: &Terminal) -> anyhow::Result<Vec<Finding>> {
        if !self.finding.is_empty() {
            return Ok(self.finding.clone());
        }
        let grounds: Vec<Ground> = match about.statement.as_ref().map(|statement| &statement.predicate) {
            Some(Predicate::Dispute(dispute)) => dispute.grounds.clone(),
            _ => bail!("the dispute's statement is gone: say --finding GROUND=FINDING"),
        };
        let find = |ground: Ground| {
            let question = format!("{} ({ground}): what do you find?", ground.meaning());
            let outcome = choose::<Outcome>(None, &format!("--finding {ground}="), &question, terminal)?;
            Ok(Finding { ground, outcome })
        };
        grounds.into_iter().map(find).collect()
    }
}
