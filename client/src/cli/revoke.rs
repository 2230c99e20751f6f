//! `counterfoil revoke`.

use std::path::PathBuf;

use clap::Args;
use counterfoil_receipt::{
    PublicKey,
    statement::{Predicate, Revocation, Subject, revocation::RevocationReason},
};

use super::{
    Exit, Terminal,
    ask::{choose, code, confirm},
    moment::{When, now},
    progress::Progress,
    record::{Making, RecordArgs, public_key, read_key},
};
use crate::walk::{Walk, ledger};

/// Withdraw a key: it signs nothing more. What it signed before stays in the log as it is.
#[derive(Args, Debug)]
pub(super) struct Revoke {
    #[command(flatten)]
    record: RecordArgs,

    /// The private key (PKCS#8 PEM): the key itself, or a registrar's.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,

    /// The key to withdraw, if it is not the one that signs.
    #[arg(long, value_name = "KEY", value_parser = public_key)]
    of: Option<PublicKey>,

    /// Why; you are asked if you leave it out.
    #[arg(long, value_name = "CODE", value_parser = code::<RevocationReason>)]
    reason: Option<RevocationReason>,

    /// From when on you no longer stand behind what the key signed. That is shown beside each such record, and changes nothing else.
    #[arg(long, value_name = "WHEN", value_parser = When::parse)]
    since: Option<When>,

    /// The key that acts for it from now on: answers its disputes, corrects its receipts.
    #[arg(long, value_name = "KEY", value_parser = public_key)]
    successor: Option<PublicKey>,
}

impl Revoke {
    pub(super) async fn run(self, terminal: &Terminal) -> anyhow::Result<Exit> {
        let signer = read_key(&self.key)?;
        let key = self.of.unwrap_or_else(|| signer.public().clone());
        let reason = choose(self.reason, "--reason", "Why is the key withdrawn?", terminal)?;
        let now = now()?;
        let mut making = Making::open(&self.record, terminal)?;
        let opened = making.opened();
        let latest = opened.log.checkpoint().await?.checkpoint;
        opened.hold_quietly(&latest, None).await?;
        let mut progress = Progress::new(terminal);
        let walk = Walk::new(&opened.log, latest.head(), latest.head().size)?;
        let ledger = ledger(walk, &mut |size| progress.show(format_args!("{size} entries"))).await?;
        progress.clear();
        let record = ledger.registered(&key).map(|registered| registered.record);
        confirm(&format!("{key} will sign nothing more in this log."), terminal)?;
        let since = self.since.map(|since| since.moment(now));
        let revocation = Revocation { key, reason, since, successor: self.successor };
        let subject = record.map_or(Subject::Log, Subject::Record);
        making.make(&signer, subject, |_| Ok(Predicate::Revocation(revocation))).await
    }
}
