//! `counterfoil verdict`.

mod opened;
mod rerun;

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use counterfoil_merkle::Hash;
use counterfoil_receipt::{
    PublicKey,
    commitment::Evidenced,
    statement::{
        Decimal, Predicate, Sample, Verdict,
        verdict::{
            ClaimKind, Conflict, Limit, Measure, Method, Payer, PayerKind, Reference, Scheme, VerdictResult,
        },
    },
};

use super::{
    Exit, Terminal,
    ask::{choose, code, confirm},
    moment::now,
    place::Place,
    record::{Evidence, Making, RecordArgs, public_key, read_key},
};

/// Record what you found when you checked a claim of a receipt.
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(super) struct VerdictCommand {
    #[command(subcommand)]
    by_machine: Option<ByMachine>,

    #[command(flatten)]
    by_hand: ByHand,
}

/// Checks that this program makes itself.
#[derive(Debug, Subcommand)]
enum ByMachine {
    /// Run receipts' requests again, hold the answers against those recorded, and record what came out.
    Rerun(Box<rerun::Rerun>),
}

/// What somebody found who checked by other means.
#[derive(Args, Debug)]
struct ByHand {
    #[command(flatten)]
    record: RecordArgs,

    /// The receipt: its id or the first 32 digits of it, its index, or its leaf hash.
    #[arg(value_name = "ID|INDEX|LEAF", required = true)]
    place: Option<Place>,

    /// Your private key (PKCS#8 PEM).
    #[arg(long, value_name = "FILE", required = true)]
    key: Option<PathBuf>,

    /// What you checked; you are asked if you leave it out.
    #[arg(long, value_name = "CODE", value_parser = code::<ClaimKind>)]
    claim: Option<ClaimKind>,

    /// What came out; you are asked if you leave it out.
    #[arg(long, value_name = "CODE", value_parser = code::<VerdictResult>)]
    result: Option<VerdictResult>,

    /// How you checked it; you are asked if you leave it out.
    #[arg(long, value_name = "CODE", value_parser = code::<Scheme>)]
    method: Option<Scheme>,

    /// The number of receipts you looked at, and the Merkle root over their ids.
    #[arg(long, value_name = "COUNT:ROOT", value_parser = sample)]
    sample: Option<Sample>,

    /// The value that you measured.
    #[arg(long, value_name = "DECIMAL", requires = "threshold", allow_hyphen_values = true)]
    statistic: Option<Decimal>,

    /// The value that decides.
    #[arg(long, value_name = "DECIMAL", requires = "statistic", allow_hyphen_values = true)]
    threshold: Option<Decimal>,

    /// How often the method accuses the innocent.
    #[arg(long, value_name = "DECIMAL", requires = "statistic")]
    false_positive: Option<Decimal>,

    /// How often it acquits the guilty.
    #[arg(long, value_name = "DECIMAL", requires = "statistic")]
    false_negative: Option<Decimal>,

    /// Leaf hash of your own earlier verdict that this one replaces.
    #[arg(long, value_name = "LEAF")]
    supersedes: Option<Hash>,

    #[command(flatten)]
    compared: ComparedWith,

    #[command(flatten)]
    interests: Interests,

    #[command(flatten)]
    evidence: Evidence,
}

/// What a claim was checked with and against, and what that leaves open.
#[derive(Args, Clone, Debug)]
struct ComparedWith {
    /// SHA-256 of the program that checked.
    #[arg(long, value_name = "HEX")]
    software: Option<Hash>,

    /// SHA-256 of the weights that you compared with.
    #[arg(long, value_name = "HEX")]
    weights: Option<Hash>,

    /// SHA-256 of the engine that ran them.
    #[arg(long, value_name = "HEX")]
    engine: Option<Hash>,

    /// What the verdict does not show. May be given more than once.
    #[arg(long, value_name = "CODE", value_parser = code::<Limit>)]
    limit: Vec<Limit>,
}

/// Who pays for a verdict, and what else a verifier is to the issuer.
#[derive(Args, Clone, Debug)]
struct Interests {
    /// Who pays you; you are asked if you leave it out.
    #[arg(long, value_name = "CODE", value_parser = code::<PayerKind>)]
    paid_by: Option<PayerKind>,

    /// The key of who pays you.
    #[arg(long, value_name = "KEY", value_parser = public_key)]
    payer: Option<PublicKey>,

    /// What else you are to the issuer. May be given more than once.
    #[arg(long, value_name = "CODE", value_parser = code::<Conflict>)]
    conflict: Vec<Conflict>,
}

impl ComparedWith {
    fn reference(&self) -> Option<Reference> {
        let reference = Reference { weights: self.weights, engine: self.engine };
        Some(reference).filter(|reference| *reference != Reference::default())
    }
}

impl Interests {
    fn payer(&self, terminal: &Terminal) -> anyhow::Result<Payer> {
        let who = choose(self.paid_by, "--paid-by", "Who pays you for it?", terminal)?;
        Ok(Payer { who, key: self.payer.clone() })
    }
}

fn sample(text: &str) -> Result<Sample, String> {
    let (count, root) = text.split_once(':').ok_or("a sample is COUNT:ROOT")?;
    let count = count.parse().map_err(|_| "a sample begins with a number")?;
    Ok(Sample { count, root: root.parse().map_err(|error| format!("{error}"))? })
}

impl VerdictCommand {
    pub(super) async fn run(self, terminal: &Terminal) -> anyhow::Result<Exit> {
        match self.by_machine {
            Some(ByMachine::Rerun(rerun)) => rerun.run(terminal).await,
            None => self.by_hand.run(terminal).await,
        }
    }
}

impl ByHand {
    async fn run(self, terminal: &Terminal) -> anyhow::Result<Exit> {
        // Both are there unless a check by machine was asked for.
        let key = read_key(self.key.as_deref().context("say --key")?)?;
        let place = self.place.as_ref().context("say which receipt the verdict is about")?;
        let mut making = Making::open(&self.record, terminal)?;
        let about = making.about(place).await?;
        let claim = choose(self.claim, "--claim", "What did you check?", terminal)?;
        let result = choose(self.result, "--result", "What came out?", terminal)?;
        let scheme = choose(self.method, "--method", "How did you check it?", terminal)?;
        let paid_by = self.interests.payer(terminal)?;
        let as_of = Some(now()?);
        confirm("The verdict will be in the log for ever, signed with your key.", terminal)?;
        let measure = self.statistic.zip(self.threshold).map(|(statistic, threshold)| Measure {
            statistic,
            threshold,
            false_positive: self.false_positive,
            false_negative: self.false_negative,
        });
        let verdict = Verdict {
            claim,
            result,
            method: Method { scheme, software: self.compared.software },
            reference: self.compared.reference(),
            sample: self.sample,
            measure,
            as_of,
            evidence: Vec::new(),
            limits: self.compared.limit,
            paid_by,
            conflicts: self.interests.conflict,
            supersedes: self.supersedes,
        };
        making
            .make(&key, about.subject(), |committing| {
                let evidence = self.evidence.commit(Evidenced::Verdict, committing)?;
                Ok(Predicate::Verdict(Box::new(Verdict { evidence, ..verdict })))
            })
            .await
    }
}
