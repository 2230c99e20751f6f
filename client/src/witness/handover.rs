//! Hands what was refused to a monitor, which has the tree and can tell what it is.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use counterfoil_merkle::evidence::EVIDENCE_BYTES_MAX;
use serde::Deserialize;
use tracing::{info, warn};

use super::{service::Witness, slot::Slot};
use crate::source::{Api, back_off};

/// Where a monitor takes notes.
const GOSSIP: &str = "v1/gossip";

/// The longest answer that is read: evidence, as a string of JSON.
const ANSWER_BYTES_MAX: usize = 2 * EVIDENCE_BYTES_MAX;

/// What a monitor says of a note.
#[derive(Debug, Deserialize)]
struct Answer {
    relation: Relation,
    #[serde(default)]
    evidence: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Relation {
    Consistent,
    Inconsistent,
    Unknown,
}

/// Hands over whatever waits, again and again until the monitor has it, and sleeps until more waits. Never ends.
pub async fn run(witness: Arc<Witness>, monitor: Api) {
    let mut failures = 0;
    loop {
        match round(&witness, &monitor).await {
            Ok(()) => {
                failures = 0;
                witness.tools().refused.notified().await;
            }
            Err(asked) => {
                tokio::time::sleep(back_off(failures, asked)).await;
                failures = failures.saturating_add(1);
            }
        }
    }
}

/// One attempt for each note that waits. An error if any is still waiting, with what the monitor asked for.
async fn round(witness: &Arc<Witness>, monitor: &Api) -> Result<(), Option<Duration>> {
    let mut outcome = Ok(());
    for slot in witness.slots().into_iter().filter(|slot| slot.view().waiting > 0) {
        for (id, note) in slot.waiting().await {
            match tell(monitor, note.to_string()).await {
                Ok(answer) => {
                    info!(log = %slot.log().origin(), relation = ?answer.relation, "the monitor has what was refused");
                    slot.told(id, answer.relation == Relation::Consistent).await;
                    if let Some(evidence) = answer.evidence {
                        take(witness, &slot, &evidence).await;
                    }
                }
                Err(asked) => outcome = Err(asked),
            }
        }
    }
    outcome
}

async fn tell(monitor: &Api, note: String) -> Result<Answer, Option<Duration>> {
    let sent = monitor.post(GOSSIP, "text/plain; charset=utf-8", Bytes::from(note), ANSWER_BYTES_MAX).await;
    match sent {
        Ok(reply) if reply.status == 200 => serde_json::from_slice(&reply.body).map_err(|error| {
            warn!(%monitor, %error, "the monitor's answer cannot be read");
            None
        }),
        Ok(reply) => {
            warn!(%monitor, status = reply.status, "the monitor did not take what was refused");
            Err(reply.retry_after)
        }
        Err(error) => {
            warn!(%monitor, %error, "the monitor cannot be reached");
            Err(None)
        }
    }
}

/// Takes the evidence that a monitor sent along, as it would be taken from anybody.
async fn take(witness: &Witness, slot: &Slot, evidence: &str) {
    if let Err(error) = witness.add_evidence(evidence.as_bytes()).await {
        warn!(log = %slot.log().origin(), %error, "the monitor's evidence is not taken");
    }
}
