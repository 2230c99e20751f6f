//! Monitors that this one exchanges checkpoints with.

use std::path::{Path, PathBuf};

use counterfoil_merkle::{
    checkpoint::SignedCheckpoint, evidence::ForkEvidence, key::VerifierKey, note::NOTE_BYTES_MAX,
};
use serde::Deserialize;

use super::path_name;
use crate::{
    file,
    gossip::{Gossip, Heard},
    source::{Api, Connection},
};

const CERTIFICATES_BYTES_MAX: usize = 4 * 1024 * 1024;

/// One `[[peer]]` table.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeerTable {
    /// Where the peer is: `/v1/gossip` is below.
    pub url: String,
    /// PEM file of the certificates to trust, in place of the system's.
    pub ca: Option<PathBuf>,
}

/// A peer, ready to be asked.
#[derive(Clone, Debug)]
pub struct Peer {
    url: String,
    gossip: Gossip,
    api: Api,
}

/// What came of an exchange with a peer. None of it is believed before it is checked with the log's key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exchanged {
    /// The newest checkpoint that the peer verified, if it watches the log.
    pub note: Option<SignedCheckpoint>,
    /// A fork that the peer proved.
    pub evidence: Option<Box<ForkEvidence>>,
}

impl PeerTable {
    /// Reads a table. Paths are relative to `base`.
    ///
    /// # Errors
    /// Names the peer and the field that cannot be used.
    pub fn read(&self, base: &Path) -> Result<Peer, PeerError> {
        let error = |field, reason: String| PeerError::Field { peer: self.url.clone(), field, reason };
        let read = |path| file::read(&base.join(path), CERTIFICATES_BYTES_MAX);
        let authorities = self.ca.as_ref().map(read).transpose();
        let authorities =
            authorities.map_err(|reason| error("ca", format!("{reason}: {}", reason.source)))?;
        let gossip = Gossip::new(&self.url, authorities.clone());
        let gossip = gossip.map_err(|reason| error("url", reason.to_string()))?;
        let api = Api::new(&self.url, &Connection { authorities, ..Connection::default() });
        Ok(Peer {
            url: self.url.clone(),
            gossip,
            api: api.map_err(|reason| error("url", reason.to_string()))?,
        })
    }
}

impl Peer {
    /// Where it is.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Shows the peer a checkpoint, if there is one, and asks for its own.
    pub async fn exchange(
        &self,
        own: Option<&SignedCheckpoint>,
        log: &VerifierKey,
    ) -> Result<Exchanged, PeerError> {
        let error = |reason: &dyn std::error::Error| PeerError::Exchange {
            peer: self.url.clone(),
            reason: reason.to_string(),
        };
        let path = format!("v1/gossip/{}", path_name(log));
        let newest = self.api.find(&path, NOTE_BYTES_MAX).await.map_err(|reason| error(&reason))?;
        // A peer that watches other logs has nothing to say of this one.
        let Some(newest) = newest else { return Ok(Exchanged::default()) };
        let note = String::from_utf8_lossy(&newest).parse().map_err(|reason| error(&reason))?;
        let heard = match own {
            Some(own) => Some(self.gossip.tell(own, log).await.map_err(|reason| error(&reason))?),
            None => None,
        };
        let evidence = match heard {
            Some(Heard::Forked(evidence)) => Some(evidence),
            _ => None,
        };
        Ok(Exchanged { note: Some(note), evidence })
    }
}

/// Why a peer cannot be used, or was not heard.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PeerError {
    /// A field of a peer.
    #[error("peer {peer:?}, {field}: {reason}")]
    Field {
        /// Its address.
        peer: String,
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// An exchange that came to nothing.
    #[error("peer {peer}: {reason}")]
    Exchange {
        /// Its address.
        peer: String,
        /// Why.
        reason: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_named() {
        for (text, message) in [
            ("url = 'm.example'", "peer \"m.example\", url: not an address"),
            ("url = 'https://m.example'\nca = '/none'", "peer \"https://m.example\", ca: cannot read"),
            ("url = 'https://m.example'\nkey = 'x'", "unknown field `key`"),
        ] {
            let table: Result<PeerTable, _> = toml::from_str(text).map_err(|error| error.to_string());
            let read = |table: PeerTable| table.read(Path::new(".")).map_err(|error| error.to_string());
            let error = table.and_then(read).map(drop).unwrap_err();
            assert!(error.contains(message), "{text}\n{error}");
        }
    }
}
