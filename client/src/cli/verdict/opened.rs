//! Receipts whose requests are to be run again: fetched and verified, with openings and bodies that are what they commit to.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use counterfoil_merkle::{Hash, LeafIndex};
use counterfoil_receipt::{
    Id, Kind,
    commitment::{Bodies, Finding, Label, Openings},
    statement::{Predicate, Statement, Subject},
};

use super::super::{No, place::Place, record::Making};
use crate::{file, rerun::Recorded};

/// The longest body.
const BODY_BYTES_MAX: usize = 256 * 1024 * 1024;

/// The longest openings file: one opening for every message of a long conversation.
const OPENINGS_BYTES_MAX: usize = 256 * 1024 * 1024;

/// What the names of openings files end with.
const ENDING: &str = ".openings.json";

/// Where the bodies are.
#[derive(Args, Clone, Debug)]
pub(super) struct BodyArgs {
    /// Where the bodies are, as `<id>.request` and `<id>.response`; beside the openings by default.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["request", "response"])]
    bodies: Option<PathBuf>,

    /// The request's body, of a single receipt.
    #[arg(long, value_name = "FILE")]
    request: Option<PathBuf>,

    /// The response's body, of a single receipt. Without it, the openings must have what was answered.
    #[arg(long, value_name = "FILE", requires = "request")]
    response: Option<PathBuf>,
}

/// A receipt that can be run again.
#[derive(Debug)]
pub(super) struct Opened {
    /// Its id.
    pub(super) id: Id,
    /// Its index.
    pub(super) index: LeafIndex,
    /// It, as the subject of a verdict.
    pub(super) subject: Subject,
    /// The exchange.
    pub(super) recorded: Recorded,
}

impl BodyArgs {
    /// Fetches the receipts of these openings, verifies them, and holds openings and bodies against them; in log order.
    pub(super) async fn open(
        &self,
        paths: &[PathBuf],
        making: &mut Making<'_>,
    ) -> anyhow::Result<Vec<Opened>> {
        if paths.len() > 1 && self.request.is_some() {
            bail!(
                "--request and --response go with a single receipt; with several, their files have their names"
            );
        }
        let mut all = Vec::with_capacity(paths.len());
        for path in paths {
            all.push(self.one(path, making).await.with_context(|| path.display().to_string())?);
        }
        all.sort_unstable_by_key(|opened| opened.index);
        if let Some([twice, _]) = all.array_windows().find(|[a, b]| a.index == b.index) {
            bail!("receipt {} is named twice", twice.id);
        }
        Ok(all)
    }

    async fn one(&self, path: &Path, making: &mut Making<'_>) -> anyhow::Result<Opened> {
        let openings = Openings::parse(&file::read(path, OPENINGS_BYTES_MAX)?)?;
        let id = openings.id();
        let (request, response) = self.bodies(path, id)?;
        let about = making.about(&Place::Hash(Hash::new(*id.as_bytes()))).await?;
        let entry = &about.bundle.entry;
        if entry.id != id || entry.kind != Kind::Receipt {
            return Err(No(format!("the openings are for {id}, which is no receipt")).into());
        }
        let Some(statement) = &about.statement else {
            return Err(No(format!(
                "the statement of receipt {id} was erased: nothing can be held against it"
            ))
            .into());
        };
        let bodies = Bodies { request: Some(&request), response: response.as_deref() };
        check(statement, &openings, bodies)?;
        let Predicate::Receipt(receipt) = &statement.predicate else { bail!("{id} is no receipt") };
        let recorded = Recorded::new(receipt, &request, response.as_deref(), &openings);
        let recorded = recorded.with_context(|| format!("receipt {id} cannot be run again"))?;
        Ok(Opened { id, index: about.bundle.proof.index(), subject: about.subject(), recorded })
    }

    /// The bodies of a receipt: the request's, and the response's if it is there.
    fn bodies(&self, openings: &Path, id: Id) -> anyhow::Result<(Vec<u8>, Option<Vec<u8>>)> {
        if let Some(request) = &self.request {
            let response = self.response.as_ref().map(|path| file::read(path, BODY_BYTES_MAX)).transpose()?;
            return Ok((file::read(request, BODY_BYTES_MAX)?, response));
        }
        let name =
            openings.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(ENDING));
        let (folder, stem) = match (&self.bodies, name) {
            (Some(folder), _) => (folder.as_path(), id.to_string()),
            (None, Some(name)) => (openings.parent().unwrap_or(Path::new("")), name.to_owned()),
            (None, None) => bail!("say where the bodies are, with --request and --response, or --bodies"),
        };
        let body = |what: &str| folder.join(format!("{stem}.{what}"));
        let request =
            file::read(&body("request"), BODY_BYTES_MAX).context("there is no request to run again")?;
        Ok((request, file::read_if_there(&body("response"), BODY_BYTES_MAX)?))
    }
}

/// Holds openings and bodies against a receipt: whatever is there must be what it commits to.
fn check(statement: &Statement, openings: &Openings, bodies: Bodies<'_>) -> anyhow::Result<()> {
    let checked = openings.check(statement, bodies);
    for it in &checked {
        let what = match it.finding {
            Finding::Differs => "is not what the receipt commits to",
            Finding::Malformed => "is committed to, but is no such group",
            Finding::NotCommitted => "is nothing that the receipt commits to",
            Finding::Opened | Finding::NoOpening | Finding::NoBody => continue,
        };
        return Err(No(format!("{} {what}; nothing was sent", it.label)).into());
    }
    let given = [(Label::Request, bodies.request), (Label::Response, bodies.response)];
    for (label, _) in given.iter().filter(|(_, body)| body.is_some()) {
        match checked.iter().find(|it| it.label == *label).map(|it| it.finding) {
            Some(Finding::Opened) => {}
            Some(_) => {
                bail!("the openings have no key for the {label}, so it cannot be held against the receipt")
            }
            None => return Err(No(format!("the receipt commits to no {label}; nothing was sent")).into()),
        }
    }
    Ok(())
}
