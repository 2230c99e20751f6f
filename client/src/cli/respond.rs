//! `counterfoil respond`, and `counterfoil remedy`: what the respondent says to a dispute, and has done about it.

use std::path::PathBuf;

use clap::Args;
use counterfoil_receipt::{
    commitment::{Evidenced, MemberLabel},
    statement::{
        Predicate, Remedy, RemedyKind, Response, Undertaking,
        response::{ResponseReason, Stance},
    },
};

use super::{
    Exit, Terminal,
    ask::{choose, code, confirm},
    moment::{When, now},
    place::Place,
    record::{Evidence, Making, RecordArgs, Words, read_key},
};

/// Answer a dispute.
#[derive(Args, Debug)]
pub(super) struct Respond {
    #[command(flatten)]
    record: RecordArgs,

    /// The dispute: its id or the first 32 digits of it, its index, or its leaf hash.
    #[arg(value_name = "ID|INDEX|LEAF")]
    place: Place,

    /// Your private key (PKCS#8 PEM).
    #[arg(long, value_name = "FILE")]
    key: PathBuf,

    /// Where you stand; you are asked if you leave it out.
    #[arg(long, value_name = "CODE", value_parser = code::<Stance>)]
    position: Option<Stance>,

    /// Why. May be given more than once.
    #[arg(long, value_name = "CODE", value_parser = code::<ResponseReason>)]
    reason: Vec<ResponseReason>,

    #[command(flatten)]
    undertaking: UndertakingArgs,

    #[command(flatten)]
    words: Words,

    #[command(flatten)]
    evidence: Evidence,
}

/// What is to be done, and until when.
#[derive(Args, Clone, Debug)]
pub(super) struct UndertakingArgs {
    /// What is to be done about it.
    #[arg(long, value_name = "CODE", value_parser = code::<RemedyKind>, requires = "due")]
    remedy: Option<RemedyKind>,

    /// Until when: a date, a time, or +14d.
    #[arg(long, value_name = "WHEN", value_parser = When::parse, requires = "remedy")]
    due: Option<When>,
}

impl UndertakingArgs {
    /// What was said.
    pub(super) fn undertaking(&self) -> anyhow::Result<Option<Undertaking>> {
        let now = now()?;
        let said = self.remedy.zip(self.due);
        Ok(said.map(|(remedy, due)| Undertaking { remedy, due: due.moment(now) }))
    }
}

/// Say that what was undertaken or ordered is done.
#[derive(Args, Debug)]
pub(super) struct RemedyCommand {
    #[command(flatten)]
    record: RecordArgs,

    /// The resolution or response that says so: its id or the first 32 digits of it, its index, or its leaf hash.
    #[arg(value_name = "ID|INDEX|LEAF")]
    place: Place,

    /// Your private key (PKCS#8 PEM).
    #[arg(long, value_name = "FILE")]
    key: PathBuf,

    /// What was done; you are asked if you leave it out.
    #[arg(long, value_name = "CODE", value_parser = code::<RemedyKind>)]
    remedy: Option<RemedyKind>,

    #[command(flatten)]
    evidence: Evidence,
}

impl Respond {
    pub(super) async fn run(self, terminal: &Terminal) -> anyhow::Result<Exit> {
        let key = read_key(&self.key)?;
        let mut making = Making::open(&self.record, terminal)?;
        let about = making.about(&self.place).await?;
        let position = choose(self.position, "--position", "Where do you stand?", terminal)?;
        let remedy = self.undertaking.undertaking()?;
        confirm("The answer will be in the log for ever, signed with your key.", terminal)?;
        making
            .make(&key, about.subject(), |committing| {
                let statement = self.words.commit(MemberLabel::ResponseStatement, committing)?;
                let evidence = self.evidence.commit(Evidenced::Response, committing)?;
                let response = Response { position, reasons: self.reason, statement, evidence, remedy };
                Ok(Predicate::Response(response))
            })
            .await
    }
}

impl RemedyCommand {
    pub(super) async fn run(self, terminal: &Terminal) -> anyhow::Result<Exit> {
        let key = read_key(&self.key)?;
        let mut making = Making::open(&self.record, terminal)?;
        let about = making.about(&self.place).await?;
        let remedy = choose(self.remedy, "--remedy", "What was done?", terminal)?;
        making
            .make(&key, about.subject(), |committing| {
                let evidence = self.evidence.commit(Evidenced::Remedy, committing)?;
                Ok(Predicate::Remedy(Remedy { remedy, evidence }))
            })
            .await
    }
}
