//! What a log acknowledged, written down outside it, while it is appended to and killed.

use std::{
    net::SocketAddr,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use counterfoil_client::load::Issuing;
use counterfoil_merkle::key::VerifierKey;
use counterfoil_receipt::Id;

use crate::{
    audit::{Ack, Seen, check_answer, check_kept},
    http::Http,
};

/// A receipt that was acknowledged: with its proof, or with its place alone.
#[derive(Clone, Debug)]
pub enum Acknowledged {
    /// Under a published tree head.
    Published(Ack),
    /// Durable, and not published yet.
    Committed {
        /// Its id.
        id: Id,
        /// Where it is.
        index: u64,
        /// The entry that the log made of it.
        entry: String,
    },
}

impl Acknowledged {
    /// Where it is.
    pub const fn index(&self) -> u64 {
        match self {
            Self::Published(ack) => ack.index,
            Self::Committed { index, .. } => *index,
        }
    }

    /// Whether it was acknowledged before it was published.
    pub const fn is_unproven(&self) -> bool {
        matches!(self, Self::Committed { .. })
    }

    /// Checks that it is at its index, in the tree that is published now, and remembers the head that was shown with it.
    ///
    /// # Panics
    /// If it is not.
    pub fn check(&self, http: &mut Http, log: &VerifierKey, seen: &mut Seen) {
        match self {
            Self::Published(ack) => {
                check_kept(http, ack, log);
                seen.add(ack.head);
            }
            Self::Committed { id, index, entry } => {
                let bundle = http.fetch(&format!("/v1/receipts/{id}")).expect("the server answers").json();
                assert_eq!(bundle["entry"].as_str(), Some(&**entry), "entry {index}");
            }
        }
    }
}

/// Sends receipts with these headers, one every `pause`, until the server is gone, or refuses one, or `stop`; writes down
/// what it acknowledges.
///
/// # Panics
/// If an answer is wrong.
pub fn append_until_killed(
    mut issuing: Issuing,
    (address, headers, pause): (SocketAddr, &str, Duration),
    log: &VerifierKey,
    ledger: &Mutex<Vec<Acknowledged>>,
    stop: &AtomicBool,
) {
    let Ok(mut http) = Http::connect(address) else { return };
    while !stop.load(Ordering::Relaxed) {
        let (id, envelope) = issuing.issue();
        let Ok(reply) = http.post_with("/v1/receipts", headers, envelope.as_bytes()) else { return };
        let acknowledged = match reply.status {
            201 => Acknowledged::Published(check_answer(&reply.json(), id, log)),
            202 => {
                let answer = reply.json();
                Acknowledged::Committed {
                    id,
                    index: answer["index"].as_u64().expect("an index"),
                    entry: answer["entry"].as_str().expect("an entry").to_owned(),
                }
            }
            _ => return,
        };
        ledger.lock().unwrap_or_else(PoisonError::into_inner).push(acknowledged);
        std::thread::sleep(pause);
    }
}
