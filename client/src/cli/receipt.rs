//! `counterfoil receipt`.

mod source;

use std::{fs, path::PathBuf};

use clap::{Args, Subcommand};
use counterfoil_receipt::{
    PublicKey, SigningKey,
    draft::{ClaimSource, Draft, Extras, Sealed, Terms, WireBodies},
    exchange::Exchange,
    statement::{GroupName, Issuer, Origin, StreamId},
};
use serde_json::json;

use super::{Exit, Terminal, target::contexts};
use crate::{
    file::{self, Access},
    numbering::Stream,
};
use source::Exchanges;

const KEY_BYTES_MAX: usize = 64 * 1024;

/// Make receipts of exchanges.
#[derive(Debug, Subcommand)]
pub(super) enum Receipt {
    /// Make receipts, ready to be appended, with the openings and claim keys that go to the callers.
    New(New),
}

#[derive(Args, Debug)]
pub(super) struct New {
    #[command(flatten)]
    exchanges: Exchanges,

    /// Your private key (PKCS#8 PEM). The numbers given are kept beside it.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,

    /// The log that the receipts are meant for, by the name you gave it.
    #[arg(long, value_name = "NAME", required_unless_present = "origin")]
    log: Option<String>,

    /// The log that the receipts are meant for, by its origin.
    #[arg(long, value_name = "ORIGIN", conflicts_with = "log")]
    origin: Option<Origin>,

    /// Where to put the files.
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,

    /// Start a new stream of numbers.
    #[arg(long)]
    new_stream: bool,

    /// The caller's own claim key (public half), in place of one made here.
    #[arg(long, value_name = "KEY")]
    claim: Option<PublicKey>,

    /// A group to seal beyond those sealed by default; may be given more than once.
    #[arg(long, value_name = "GROUP", value_parser = group)]
    seal: Vec<GroupName>,

    /// A group to leave open that is sealed by default; may be given more than once.
    #[arg(long, value_name = "GROUP", value_parser = group)]
    open: Vec<GroupName>,

    /// Write the bodies too, as the receipts commit to them.
    #[arg(long)]
    bodies: bool,
}

fn group(text: &str) -> Result<GroupName, String> {
    let names = || GroupName::ALL.iter().map(|group| group.as_str()).collect::<Vec<_>>().join(", ");
    GroupName::from_code(text).ok_or_else(|| format!("the groups are {}", names()))
}

impl Receipt {
    pub(super) fn run(self, terminal: &Terminal) -> anyhow::Result<Exit> {
        let Self::New(new) = self;
        new.run(terminal)
    }
}

impl New {
    fn run(self, terminal: &Terminal) -> anyhow::Result<Exit> {
        let key = SigningKey::from_pkcs8_pem(&file::read_text(&self.key, KEY_BYTES_MAX)?)?;
        let log = match (&self.origin, &self.log) {
            (Some(origin), _) => origin.clone(),
            (None, name) => {
                contexts()?.open(name.as_deref().unwrap_or_default())?.log.key.name().as_str().parse()?
            }
        };
        fs::create_dir_all(&self.out)?;
        let mut fresh = [0; 16];
        getrandom::fill(&mut fresh)?;
        let mut stream = Stream::open(&self.key, self.new_stream, StreamId::new(fresh))?;
        let mut made = 0;
        let skipped = self.exchanges.each(|exchange| {
            made += 1;
            self.make(exchange, &key, &log, &mut stream, terminal)
        })?;
        if skipped > 0 {
            terminal.note(format_args!("{skipped} exchanges are no calls of a model and were left out"));
        }
        if made == 0 {
            anyhow::bail!("there is no exchange to make a receipt of");
        }
        Ok(Exit::YES)
    }

    fn make(
        &self,
        exchange: &Exchange<'_>,
        key: &SigningKey,
        log: &Origin,
        stream: &mut Stream,
        terminal: &Terminal,
    ) -> anyhow::Result<()> {
        let numbering = stream.next()?;
        let sealed = self.seal.iter().fold(Sealed::default(), |sealed, &group| sealed.with(group));
        let terms = Terms {
            log: log.clone(),
            issuer: Issuer {
                key: key.public().clone(),
                software: Some(concat!("counterfoil/", env!("CARGO_PKG_VERSION")).to_owned()),
            },
            claim: self.claim.clone().map_or(ClaimSource::Fresh, ClaimSource::Given),
            sealed: self.open.iter().fold(sealed, |sealed, &group| sealed.without(group)),
            extras: Extras::default(),
        };
        let bodies = WireBodies {
            request: exchange.request,
            response: exchange.response.as_ref().map(|response| response.body),
        };
        let mut failed = None;
        let mut random = |bytes: &mut [u8]| failed = failed.take().or(getrandom::fill(bytes).err());
        let draft = Draft::new(exchange.facts()?, bodies, terms, numbering, &mut random)?;
        if let Some(error) = failed {
            return Err(error.into());
        }
        let envelope = draft.sign(key)?;
        // The number is spent before anything of the record can leave: no two records ever share one.
        stream.spend(draft.id())?;
        let path = self.write(&draft, &envelope.envelope().to_json(), bodies)?;
        terminal.line(format_args!("{} number {}: {}", draft.id(), numbering.number, path.display()));
        terminal.value(&json!({
            "id": draft.id().to_string(), "stream": numbering.stream.to_string(),
            "number": numbering.number.get(), "envelope": path,
        }));
        Ok(())
    }

    fn write(&self, draft: &Draft, envelope: &str, bodies: WireBodies<'_>) -> anyhow::Result<PathBuf> {
        let path = |kind: &str| self.out.join(format!("{}.{kind}", draft.id()));
        let secret = |kind: &str, bytes: &[u8]| file::replace_durably(&path(kind), bytes, Access::Secret);
        secret("openings.json", draft.openings.to_json().as_bytes())?;
        if let Some(claim) = &draft.claim {
            secret("claim.json", claim.to_json().as_bytes())?;
        }
        if self.bodies {
            secret("request", bodies.request)?;
            if let Some(response) = bodies.response {
                secret("response", response)?;
            }
        }
        let envelope_path = path("envelope.json");
        file::replace_durably(&envelope_path, envelope.as_bytes(), Access::Public)?;
        Ok(envelope_path)
    }
}
