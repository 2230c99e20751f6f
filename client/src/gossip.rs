//! Telling a monitor which checkpoint was seen, and hearing whether it saw another history.
//!
//! `POST <monitor>/v1/gossip` with the signed note; the answer is
//! `{"relation":"consistent"|"inconsistent"|"unknown","size":N,"evidence":TEXT}`, the last only where a fork is proven.
//! Nobody is believed: evidence is verified with the log's own key, and a monitor that has none has said nothing.

use std::{fmt, time::Duration};

use bytes::Bytes;
use counterfoil_merkle::{
    TreeSize,
    checkpoint::SignedCheckpoint,
    evidence::{EVIDENCE_JSON_BYTES_MAX, EvidenceError, ForkEvidence},
    key::VerifierKey,
};
use serde::Deserialize;

use crate::source::{Api, Connection, SourceError};

/// The longest answer: evidence as a string in JSON.
const ANSWER_BYTES_MAX: usize = EVIDENCE_JSON_BYTES_MAX + 4096;

/// A monitor that hears of checkpoints.
#[derive(Clone, Debug)]
pub struct Gossip {
    api: Api,
}

/// What a monitor says about a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// It belongs to the history that the monitor follows.
    Consistent,
    /// The monitor has not seen that much; it has got as far as this.
    Unknown {
        /// Size of the tree that it has verified.
        size: TreeSize,
    },
    /// It does not, and here is the proof, checked.
    Forked(Box<ForkEvidence>),
    /// It does not, says the monitor, and proves nothing.
    Unproven {
        /// What is wrong with the proof, if it sent any.
        reason: Option<EvidenceError>,
    },
}

#[derive(Deserialize)]
struct Answer {
    relation: Relation,
    size: u64,
    evidence: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Relation {
    Consistent,
    Inconsistent,
    Unknown,
}

impl Gossip {
    /// The monitor at a URL. Whoever gossips waits shortly: what it asked for does not depend on it.
    pub fn new(url: &str, authorities: Option<Vec<u8>>) -> Result<Self, SourceError> {
        let connection = Connection {
            token: None,
            authorities,
            retries: 0,
            connect_timeout: Duration::from_secs(3),
            read_timeout: Duration::from_secs(10),
        };
        Ok(Self { api: Api::new(url, &connection)? })
    }

    /// Tells of a checkpoint, and hears what the monitor knows.
    pub async fn tell(&self, checkpoint: &SignedCheckpoint, log: &VerifierKey) -> Result<Heard, GossipError> {
        let body = Bytes::from(checkpoint.to_string());
        let reply = self.api.post("v1/gossip", "text/plain; charset=utf-8", body, ANSWER_BYTES_MAX).await?;
        if reply.status != 200 {
            return Err(GossipError::Status { status: reply.status });
        }
        let answer: Answer = serde_json::from_slice(&reply.body).map_err(GossipError::Json)?;
        if let Some(evidence) = &answer.evidence {
            let checked = ForkEvidence::from_either(evidence);
            return Ok(match checked.and_then(|evidence| evidence.verify(log).map(|()| evidence)) {
                Ok(evidence) => Heard::Forked(Box::new(evidence)),
                Err(reason) => Heard::Unproven { reason: Some(reason) },
            });
        }
        Ok(match answer.relation {
            Relation::Consistent => Heard::Consistent,
            Relation::Inconsistent => Heard::Unproven { reason: None },
            Relation::Unknown => {
                let size = TreeSize::new(answer.size).map_err(|_| GossipError::Size { size: answer.size })?;
                Heard::Unknown { size }
            }
        })
    }
}

impl Gossip {
    /// Hands it evidence against a log: `POST <monitor>/v1/evidence`.
    pub async fn accuse(&self, evidence: &ForkEvidence) -> Result<(), GossipError> {
        let body = Bytes::from(evidence.to_string());
        let reply = self.api.post("v1/evidence", "text/plain; charset=utf-8", body, ANSWER_BYTES_MAX).await?;
        if reply.status == 200 { Ok(()) } else { Err(GossipError::Status { status: reply.status }) }
    }
}

impl fmt::Display for Gossip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.api.fmt(f)
    }
}

/// Why nothing was heard.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GossipError {
    /// The monitor does not answer.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// It answers something else: perhaps it does not know the log.
    #[error("it answers {status}")]
    Status {
        /// The HTTP status.
        status: u16,
    },
    /// Its answer is not of the form that is due.
    #[error("its answer cannot be read")]
    Json(#[source] serde_json::Error),
    /// It claims to have seen a tree larger than any.
    #[error("it claims to have seen a tree of size {size}")]
    Size {
        /// What it claims.
        size: u64,
    },
}

#[cfg(test)]
mod tests {
    use axum::{Router, routing::post};
    use counterfoil_merkle::{Hash, TreeHead, key::Algorithm};
    use serde_json::json;

    use super::*;
    use crate::testlog;

    /// A monitor that gives one answer to all.
    async fn monitor(status: u16, answer: String) -> Gossip {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let status = axum::http::StatusCode::from_u16(status).unwrap();
        let routes = Router::new().route("/v1/gossip", post(move || async move { (status, answer) }));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Gossip::new(&url, None).unwrap()
    }

    /// Evidence is believed if it is proven, and nothing else is evidence.
    #[tokio::test]
    async fn monitors_are_believed_what_they_prove() {
        let log = testlog::signer(testlog::ORIGIN, Algorithm::Ed25519);
        let note = |leaf: &[u8]| {
            let head = TreeHead { size: TreeSize::new(1).unwrap(), root: Hash::leaf(leaf) };
            testlog::checkpoint(head, 7)
        };
        let proven = ForkEvidence::same_size(note(b"a"), note(b"b"));
        let nothing = ForkEvidence::same_size(note(b"a"), note(b"a"));
        let unproven = |reason| Some(Heard::Unproven { reason });
        for (status, answer, expected) in [
            (200, json!({ "relation": "consistent", "size": 9 }), Some(Heard::Consistent)),
            (
                200,
                json!({ "relation": "unknown", "size": 9 }),
                Some(Heard::Unknown { size: TreeSize::new(9).unwrap() }),
            ),
            (200, json!({ "relation": "inconsistent", "size": 9 }), unproven(None)),
            (
                200,
                json!({ "relation": "inconsistent", "size": 9, "evidence": proven.to_string() }),
                Some(Heard::Forked(Box::new(proven.clone()))),
            ),
            (
                200,
                json!({ "relation": "inconsistent", "size": 9, "evidence": nothing.to_string() }),
                unproven(Some(EvidenceError::Consistent)),
            ),
            (200, json!({ "relation": "unknown", "size": u64::MAX }), None),
            (200, json!({ "relation": "whatever", "size": 9 }), None),
            (200, json!("consistent"), None),
            (404, json!({ "relation": "consistent", "size": 9 }), None),
        ] {
            let monitor = monitor(status, answer.to_string()).await;
            assert_eq!(monitor.tell(&note(b"a"), log.public()).await.ok(), expected, "{answer}");
        }
    }
}
