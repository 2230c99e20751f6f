//! `counterfoil verify`.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use clap::Args;
use counterfoil_merkle::{
    key::VerifierKey,
    policy::{POLICY_BYTES_MAX, Policy},
};
use counterfoil_receipt::{
    bundle::{BUNDLE_BYTES_MAX, Bundle},
    commitment::{Bodies, Openings},
    trust::{PolicyPlace, TRUST_BYTES_MAX, Trust, TrustFile},
    verify::{Contents, Report, verify},
};

use super::{Exit, LogArgs, MemoryArgs, No, Opened, Terminal, history::History, report, target::contexts};
use crate::{file, log::KnownLog};

/// The longest body that is held against its commitment.
const BODY_BYTES_MAX: usize = 1024 * 1024 * 1024;

/// The longest openings file: one opening for every message of a long conversation.
const OPENINGS_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Verify a bundle: offline, or with --log against what was seen of that log too.
#[derive(Args, Debug)]
pub(super) struct Verify {
    /// The bundle.
    bundle: PathBuf,

    #[command(flatten)]
    trusted: Trusted,

    #[command(flatten)]
    memory: MemoryArgs,

    /// The key of the log's clock, to go with --log-key.
    #[arg(long, value_name = "VKEY", requires = "log_key")]
    clock: Option<VerifierKey>,

    /// The bundle of a clock record of the same log: witnesses' times that bound this record's own, from below if it was
    /// appended before, from above if after. May be repeated; `get --clock-records` fetches them.
    #[arg(long, value_name = "BUNDLE")]
    clock_record: Vec<PathBuf>,

    /// The openings that came with the receipt.
    #[arg(long, value_name = "FILE")]
    openings: Option<PathBuf>,

    /// The request's body, to be held against the receipt.
    #[arg(long, value_name = "FILE", requires = "openings")]
    request: Option<PathBuf>,

    /// The response's body, to be held against the receipt.
    #[arg(long, value_name = "FILE", requires = "openings")]
    response: Option<PathBuf>,
}

/// What is trusted.
#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
struct Trusted {
    /// The key of the log.
    #[arg(long, value_name = "VKEY")]
    log_key: Option<VerifierKey>,

    /// A C2SP policy: logs, witnesses, quorum.
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,

    /// A trust file: a policy, and names for issuers' keys. With any name, a named issuer is demanded.
    #[arg(long, value_name = "FILE")]
    trust: Option<PathBuf>,

    /// A log that `log add` remembered: its key, its policy, and what was seen of it. Where its checkpoint is another one than
    /// the newest one seen, the log is asked how it got from one to the other, unless --no-remember says otherwise.
    #[arg(long, value_name = "NAME")]
    log: Option<String>,
}

impl Verify {
    pub(super) async fn run(&self, terminal: &Terminal) -> anyhow::Result<Exit> {
        let mut opened = self.open()?;
        let trust = match &opened {
            Some(opened) => opened.log.known().trust()?,
            None => self.trust()?,
        };
        let bytes = file::read(&self.bundle, BUNDLE_BYTES_MAX)?;
        let body =
            |path: &Option<PathBuf>| path.as_deref().map(|path| file::read(path, BODY_BYTES_MAX)).transpose();
        let (request, response) = (body(&self.request)?, body(&self.response)?);
        let openings = match &self.openings {
            Some(path) => Some(Openings::parse(&file::read(path, OPENINGS_BYTES_MAX)?)?),
            None => None,
        };
        let bodies = Bodies { request: request.as_deref(), response: response.as_deref() };
        let contents = openings.as_ref().map(|openings| Contents { openings, bodies });

        let bundle = match Bundle::parse(&bytes) {
            Ok(bundle) => bundle,
            Err(malformed) => {
                report::print_malformed(&malformed, terminal);
                return Ok(Exit::NO);
            }
        };
        let mut report = verify(&bundle, &trust, contents);
        for path in &self.clock_record {
            let record = Bundle::parse(&file::read(path, BUNDLE_BYTES_MAX)?);
            let record = record.map_err(|malformed| No(format!("{}: {malformed}", path.display())))?;
            report.bound_by(&[record], &trust);
        }
        let history = match &mut opened {
            Some(opened) => opened.history(&bundle, &report, terminal).await,
            None => admitted(&report),
        };
        report::print(&report, &history, terminal);
        Ok(history.exit(&report))
    }

    /// The log that is known by name, if that is what is trusted.
    fn open(&self) -> anyhow::Result<Option<Opened>> {
        let Some(name) = &self.trusted.log else {
            ensure!(
                !self.memory.no_remember && self.memory.gossip.is_empty(),
                "--no-remember and --gossip go with --log: only what is known by name is remembered"
            );
            return Ok(None);
        };
        let log = LogArgs { log: Some(name.clone()), ..LogArgs::default() };
        log.open(&self.memory, 1).map(Some)
    }

    fn trust(&self) -> anyhow::Result<Trust> {
        let Trusted { log_key, policy, trust, .. } = &self.trusted;
        if let Some(path) = policy {
            return Ok(Trust::in_policy(file::read_text(path, POLICY_BYTES_MAX)?.parse::<Policy>()?));
        }
        if let Some(path) = trust {
            return trust_file(path);
        }
        let key = log_key.clone().context("no key of a log is given")?;
        let known = KnownLog { key, clock: self.clock.clone(), url: String::new(), policy: None };
        Ok(known.trust()?)
    }
}

/// A log that is not known by name is trusted unless there is evidence against it.
fn admitted(report: &Report) -> History {
    let (Ok(accepted), Ok(contexts)) = (&report.checkpoint, contexts()) else { return History::NotAsked };
    match contexts.admit(accepted.checkpoint.log_key()) {
        Ok(()) => History::NotAsked,
        Err(refused) => History::of(Err(refused.into())),
    }
}

/// Reads a trust file, and the policy that it names.
fn trust_file(path: &Path) -> anyhow::Result<Trust> {
    let file = TrustFile::parse(&file::read_text(path, TRUST_BYTES_MAX)?)?;
    let policy = match &file.policy {
        PolicyPlace::Here(policy) => policy.clone(),
        PolicyPlace::File(name) => {
            let beside = path.parent().unwrap_or(Path::new("")).join(name);
            file::read_text(&beside, POLICY_BYTES_MAX)?
        }
    };
    Ok(file.with_policy(&policy)?)
}
