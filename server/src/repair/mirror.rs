//! A mirror of the log, at any URL that has its tiles: bounded in time and bytes, nothing believed.

use std::{io, thread, time::Duration};

use bytes::{Bytes, BytesMut};
use counterfoil_merkle::{
    note::NOTE_BYTES_MAX,
    tile::{TILE_BYTES, TILE_WIDTH, TileKind, TilePath},
};
use reqwest::{Client, Url, header::HeaderValue};
use tokio::runtime::Runtime;

use super::Why;
use crate::publish::ask::{Reach, client};

/// The longest that one object may take.
const TIMEOUT: Duration = Duration::from_secs(60);

/// How often an object is asked for before the mirror counts as one that does not answer.
const ATTEMPTS: u32 = 4;

/// The pause before the second attempt; it doubles.
const PAUSE: Duration = Duration::from_millis(500);

/// The longest bundle: a length and 65,535 bytes for each item.
const BUNDLE_BYTES_MAX: usize = 256 * (2 + 65_535);
const _: () = assert!(TILE_WIDTH == 256, "a bundle has as many items");

/// Where a log's tiles are served.
pub struct Mirror {
    url: String,
    token: Option<HeaderValue>,
    client: Client,
    runtime: Runtime,
    /// Once it did not answer, it is not asked again.
    silent: Option<String>,
}

impl Mirror {
    /// A mirror at a URL below which `checkpoint`, `tile/…` and `statement/…` are; statements may take a token.
    pub fn new(url: &str, token: Option<&str>) -> Result<Self, MirrorError> {
        let wrong = || MirrorError::Address { url: url.to_owned() };
        let parsed = Url::parse(url).map_err(|_| wrong())?;
        let plain = parsed.query().is_none() && parsed.fragment().is_none();
        if !plain || !parsed.has_host() || !matches!(parsed.scheme(), "http" | "https") {
            return Err(wrong());
        }
        let reach = Reach { timeout: TIMEOUT, authorities: None };
        let client = client(parsed.scheme() == "https", &reach).map_err(MirrorError::Client)?;
        let token = token.map(|token| HeaderValue::from_str(&format!("Bearer {token}"))).transpose();
        let mut token = token.map_err(|_| MirrorError::Token)?;
        if let Some(token) = &mut token {
            token.set_sensitive(true);
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(MirrorError::Runtime)?;
        Ok(Self { url: url.trim_end_matches('/').to_owned(), token, client, runtime, silent: None })
    }

    /// The newest checkpoint that it has.
    pub(super) fn checkpoint(&mut self) -> Result<Bytes, Why> {
        self.fetch("checkpoint", NOTE_BYTES_MAX)
    }

    /// A tile or bundle; instead of a partial one, the full one that took its place.
    pub(super) fn tile(&mut self, path: TilePath) -> Result<Bytes, Why> {
        let bytes_max = match path.kind {
            TileKind::Hashes(_) => TILE_BYTES,
            TileKind::Entries | TileKind::Statements => BUNDLE_BYTES_MAX,
        };
        match self.fetch(&path.to_string(), bytes_max) {
            Err(Why::Absent { .. }) if !path.is_full() => self.fetch(&path.to_full().to_string(), bytes_max),
            fetched => fetched,
        }
    }

    fn fetch(&mut self, path: &str, bytes_max: usize) -> Result<Bytes, Why> {
        if let Some(reason) = &self.silent {
            return Err(Why::Unanswered { reason: reason.clone() });
        }
        let mut attempt = 1;
        loop {
            let reason = match self.runtime.block_on(self.ask(path, bytes_max)) {
                Ok((200, bytes)) => return bytes.ok_or(Why::Refused),
                Ok((status, _)) if status != 429 && status < 500 => return Err(Why::Absent { status }),
                Ok((status, _)) => format!("status {status}"),
                Err(error) => causes(&error),
            };
            if attempt == ATTEMPTS {
                self.silent = Some(reason.clone());
                return Err(Why::Unanswered { reason });
            }
            thread::sleep(PAUSE * 2_u32.pow(attempt - 1));
            attempt += 1;
        }
    }

    /// Status and body; none of a body that is longer than it can be.
    async fn ask(&self, path: &str, bytes_max: usize) -> reqwest::Result<(u16, Option<Bytes>)> {
        let mut request = self.client.get(format!("{}/{path}", self.url));
        if let Some(token) = &self.token {
            request = request.header(reqwest::header::AUTHORIZATION, token);
        }
        let mut response = request.send().await?;
        let status = response.status().as_u16();
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await? {
            if body.len() + chunk.len() > bytes_max {
                return Ok((status, None));
            }
            body.extend_from_slice(&chunk);
        }
        Ok((status, Some(body.freeze())))
    }
}

/// An error with what it came from, in one line.
fn causes(error: &dyn std::error::Error) -> String {
    let causes: Vec<_> =
        std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string).collect();
    causes.join(": ")
}

/// Why a mirror cannot be asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MirrorError {
    /// Not an address.
    #[error("{url} is not an http or https URL without query and fragment")]
    Address {
        /// What is given as its address.
        url: String,
    },
    /// Not a token.
    #[error("the token has bytes that a header cannot have")]
    Token,
    /// TLS cannot be had.
    #[error("the client for the mirror cannot be made: {0}")]
    Client(reqwest::Error),
    /// The system gave no thread.
    #[error("starting: {0}")]
    Runtime(io::Error),
}
