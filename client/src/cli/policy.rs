//! `counterfoil policy`.

use std::path::PathBuf;

use clap::Args;
use counterfoil_receipt::{
    PublicKey,
    statement::{
        Ground, Policy, Predicate, RemedyKind, Subject,
        policy::{OnLogFailure, Retention},
        receipt::Protocol,
    },
};

use super::{
    Exit, Terminal,
    ask::{choose, choose_some, code, confirm},
    moment::seconds,
    record::{Making, RecordArgs, public_key, read_key},
};

/// Promise in public how you deal with disputes. It holds for receipts that you log from then on, until your next policy.
#[derive(Args, Debug)]
pub(super) struct PolicyCommand {
    #[command(flatten)]
    record: RecordArgs,

    /// Your private key (PKCS#8 PEM).
    #[arg(long, value_name = "FILE")]
    key: PathBuf,

    /// Within which time you answer disputes, such as 14d.
    #[arg(long, value_name = "DURATION", value_parser = seconds)]
    respond_within: u64,

    /// A ground that you undertake to answer. May be given more than once; you are asked if you leave it out.
    #[arg(long, value_name = "CODE", value_parser = code::<Ground>)]
    ground: Vec<Ground>,

    /// A remedy that you offer. May be given more than once.
    #[arg(long, value_name = "CODE", value_parser = code::<RemedyKind>)]
    remedy: Vec<RemedyKind>,

    /// The key of an arbiter whose decisions you accept. May be given more than once.
    #[arg(long, value_name = "KEY", value_parser = public_key)]
    arbiter: Vec<PublicKey>,

    /// An interface of which every exchange gets a receipt. May be given more than once.
    #[arg(long, value_name = "CODE", value_parser = code::<Protocol>)]
    coverage: Vec<Protocol>,

    /// What you do while the log cannot be reached; you are asked if you leave it out.
    #[arg(long, value_name = "CODE", value_parser = code::<OnLogFailure>)]
    on_log_failure: Option<OnLogFailure>,

    /// How long you keep statements before you order their erasure, such as 365d.
    #[arg(long, value_name = "DURATION", value_parser = seconds)]
    keep_statements: Option<u64>,

    /// How long you keep openings.
    #[arg(long, value_name = "DURATION", value_parser = seconds)]
    keep_openings: Option<u64>,
}

impl PolicyCommand {
    pub(super) async fn run(self, terminal: &Terminal) -> anyhow::Result<Exit> {
        let key = read_key(&self.key)?;
        let making = Making::open(&self.record, terminal)?;
        let grounds =
            choose_some(&self.ground, "--ground", "Which disputes do you undertake to answer?", terminal)?;
        let question = "What do you do while the log cannot be reached?";
        let on_log_failure = choose(self.on_log_failure, "--on-log-failure", question, terminal)?;
        confirm("The policy will be in the log for ever, signed with your key.", terminal)?;
        let retention = Retention { statements_s: self.keep_statements, openings_s: self.keep_openings };
        let policy = Policy {
            respond_within_s: self.respond_within,
            grounds,
            remedies: self.remedy,
            arbiters: self.arbiter,
            coverage: self.coverage,
            on_log_failure,
            retention: Some(retention).filter(|retention| *retention != Retention::default()),
        };
        making.make(&key, Subject::Log, |_| Ok(Predicate::Policy(policy))).await
    }
}
