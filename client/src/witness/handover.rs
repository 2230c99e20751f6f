//! Hands what was refused to a monitor, which has the tree and can tell what it is.

use std::sync::Arc;

use counterfoil_merkle::Hash;
use tracing::{info, warn};

use super::{service::Witness, slot::Slot};
use crate::{
    gossip::{Gossip, Heard},
    source::back_off,
};

/// Hands over whatever waits, again and again until the monitor has it, and sleeps until more waits. Never ends.
pub async fn run(witness: Arc<Witness>, monitor: Gossip) {
    let mut failures = 0;
    loop {
        if round(&witness, &monitor).await {
            failures = 0;
            witness.tools().refused.notified().await;
        } else {
            tokio::time::sleep(back_off(failures, None)).await;
            failures = failures.saturating_add(1);
        }
    }
}

/// One attempt for each note that waits; whether the monitor has all of them now.
async fn round(witness: &Witness, monitor: &Gossip) -> bool {
    let mut all = true;
    for slot in witness.slots().into_iter().filter(|slot| slot.view().waiting > 0) {
        let log = slot.log();
        for (id, note) in slot.waiting().await {
            let Some(key) = log.keys().iter().find(|key| note.note().verify(key).is_ok()) else {
                warn!(log = %log.origin(), "what was refused is signed by a key that is not given any more");
                continue;
            };
            match monitor.tell(&note, key).await {
                Ok(heard) => take(&slot, id, heard).await,
                Err(error) => {
                    warn!(log = %log.origin(), %monitor, %error, "the monitor did not take what was refused");
                    all = false;
                }
            }
        }
    }
    all
}

async fn take(slot: &Arc<Slot>, id: Hash, heard: Heard) {
    let cleared = heard == Heard::Consistent;
    info!(log = %slot.log().origin(), cleared, "the monitor has what was refused");
    if let Heard::Forked(evidence) = heard {
        // In doubt it is held in memory, which is reported where it fails.
        drop(slot.convict(*evidence).await);
    }
    slot.told(id, cleared).await;
}
