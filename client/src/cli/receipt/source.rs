//! Where the exchanges come from that receipts are made of: a recording, or the two bodies.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Read as _},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use counterfoil_receipt::{
    exchange::{End, Exchange, Recorded, Response},
    json::Value,
};

use crate::file;

/// The longest line of a recording, and the longest body.
const EXCHANGE_BYTES_MAX: usize = 256 * 1024 * 1024;

/// How deeply a line of a recording may nest; the bodies in it are strings.
const DEPTH_MAX: usize = 64;

/// Where exchanges come from.
#[derive(Args, Debug)]
pub(super) struct Exchanges {
    /// A recording: one exchange a line, as JSON.
    #[arg(long, value_name = "FILE", required_unless_present = "request", conflicts_with = "request")]
    exchange: Option<PathBuf>,

    /// The `id` of one exchange of the recording; all of them by default.
    #[arg(long, requires = "exchange")]
    id: Option<String>,

    /// The request's body.
    #[arg(long, value_name = "FILE", requires = "path")]
    request: Option<PathBuf>,

    /// The response's body; leave it out if nothing came back.
    #[arg(long, value_name = "FILE", requires_all = ["request", "status"])]
    response: Option<PathBuf>,

    /// The path that was called, such as /v1/chat/completions.
    #[arg(long, requires = "request")]
    path: Option<String>,

    /// The HTTP status of the response.
    #[arg(long, requires = "response")]
    status: Option<u16>,

    /// The content type of the response.
    #[arg(long, value_name = "TYPE", requires = "response")]
    content_type: Option<String>,

    /// The upstream's id for the request, from a header of the response.
    #[arg(long, value_name = "ID", requires = "response")]
    request_id: Option<String>,

    /// How the exchange ended.
    #[arg(long, value_enum, default_value = "finished")]
    end: Ending,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Ending {
    /// By itself.
    Finished,
    /// The upstream did not answer in time.
    Timeout,
    /// The client went away.
    ClientGone,
    /// The upstream broke off.
    UpstreamGone,
    /// The gateway itself failed.
    ProxyFailed,
}

impl From<Ending> for End {
    fn from(ending: Ending) -> Self {
        match ending {
            Ending::Finished => Self::Finished,
            Ending::Timeout => Self::Timeout,
            Ending::ClientGone => Self::ClientGone,
            Ending::UpstreamGone => Self::UpstreamGone,
            Ending::ProxyFailed => Self::ProxyFailed,
        }
    }
}

impl Exchanges {
    /// Calls `make` for every exchange; how many were left out, because they are no calls of a model.
    pub(super) fn each(
        &self,
        mut make: impl FnMut(&Exchange<'_>) -> anyhow::Result<()>,
    ) -> anyhow::Result<usize> {
        if let Some(path) = &self.exchange {
            return self.each_recorded(path, make);
        }
        let request = file::read(self.request.as_deref().unwrap_or(Path::new("")), EXCHANGE_BYTES_MAX)?;
        let response =
            self.response.as_deref().map(|path| file::read(path, EXCHANGE_BYTES_MAX)).transpose()?;
        let response = response.as_deref().zip(self.status).map(|(body, status)| Response {
            status,
            content_type: self.content_type.as_deref(),
            request_id: self.request_id.as_deref(),
            body,
        });
        let path = self.path.as_deref().unwrap_or_default();
        make(&Exchange { path, request: &request, response, end: self.end.into() })?;
        Ok(0)
    }

    fn each_recorded(
        &self,
        path: &Path,
        mut make: impl FnMut(&Exchange<'_>) -> anyhow::Result<()>,
    ) -> anyhow::Result<usize> {
        let opened = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut reader = BufReader::new(opened);
        let (mut skipped, mut found) = (0, false);
        for number in 1.. {
            let mut line = Vec::new();
            reader.by_ref().take(EXCHANGE_BYTES_MAX as u64).read_until(b'\n', &mut line)?;
            if line.is_empty() {
                break;
            }
            let text = line.trim_ascii();
            if text.is_empty() || !self.is_wanted(text) {
                continue;
            }
            found = true;
            let recorded =
                Recorded::parse(text).with_context(|| format!("{}, line {number}", path.display()))?;
            let exchange = recorded.exchange();
            if self.id.is_none() && exchange.facts().is_err() {
                skipped += 1;
                continue;
            }
            make(&exchange).with_context(|| format!("{}, line {number}", path.display()))?;
        }
        if let (Some(id), false) = (&self.id, found) {
            anyhow::bail!("{} has no exchange with id {id}", path.display());
        }
        Ok(skipped)
    }

    /// Whether the line has the id that was asked for: as a number or as a string.
    fn is_wanted(&self, line: &[u8]) -> bool {
        let Some(wanted) = &self.id else { return true };
        let Ok(value) = Value::parse_within(line, DEPTH_MAX) else { return false };
        value.member("id").is_some_and(|id| id.text().unwrap_or(id.raw()) == wanted)
    }
}
