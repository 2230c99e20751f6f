//! A real server, and all that it promised.

use std::fs;

use counterfoil_merkle::key::VerifierKey;
use counterfoil_receipt::Id;
use counterfoil_tests::{
    Deployment, Http, Issuing,
    audit::{Ack, Seen, check_answer, check_kept, checkpoint},
    until,
};

use crate::PROGRAMS;

/// A log with a server, and all that it promised.
pub(crate) struct Subject {
    pub(crate) log: Deployment,
    pub(crate) key: VerifierKey,
    pub(crate) issuing: Issuing,
    pub(crate) acks: Vec<Ack>,
    seen: Seen,
    /// How often the runtime could not wake itself.
    asleep: usize,
}

impl Subject {
    /// A log of so many entries, its server running.
    pub(crate) fn new(origin: &str, size: usize) -> Self {
        Self::of(Deployment::start(PROGRAMS, origin), size)
    }

    /// A log that runs, and has no entry but its first one, with so many entries.
    pub(crate) fn of(log: Deployment, size: usize) -> Self {
        let (key, mut issuing) = (log.log_key.parse().unwrap(), Issuing::new(&log.origin, 14));
        log.append(&mut issuing, size - 1);
        Self { log, key, issuing, acks: Vec::new(), seen: Seen::default(), asleep: 0 }
    }

    /// Sends a receipt once. Returns it if nobody knows what became of it.
    pub(crate) fn send(&mut self, (id, envelope): (Id, String)) -> Option<(Id, String)> {
        let reply = Http::connect(self.log.address())
            .and_then(|mut http| http.post("/v1/receipts", envelope.as_bytes()));
        match reply {
            Ok(reply) if matches!(reply.status, 200 | 201) => {
                let ack = check_answer(&reply.json(), id, &self.key);
                self.seen.add(ack.head);
                self.acks.push(ack);
                None
            }
            _ => Some((id, envelope)),
        }
    }

    /// Waits until it takes receipts again, by itself or after a restart if its process is gone.
    pub(crate) fn back(&mut self) {
        let state = fs::read_to_string(format!("/proc/{}/stat", self.log.process())).unwrap_or_default();
        // A write that fails may be that by which the runtime wakes itself, which no kernel lets fail: it panics then, and
        // whoever runs the server starts it again.
        let asleep = self.log.server_log().matches("failed to wake I/O driver").count();
        let is_asleep = std::mem::replace(&mut self.asleep, asleep) < asleep;
        if is_asleep || state.is_empty() || state.contains(") Z ") {
            self.log.kill();
            self.log.up();
        }
        let ready = || {
            let reply = Http::connect(self.log.address()).and_then(|mut http| http.get("/readyz"));
            reply.is_ok_and(|reply| reply.status == 200)
        };
        until(ready, &format!("the log takes receipts again\n{}", self.log.server_log()));
    }

    /// Checks the newest promises, or all.
    pub(crate) fn check(&mut self, newest: usize) {
        let mut http = self.log.http();
        self.acks.iter().rev().take(newest).for_each(|ack| check_kept(&mut http, ack, &self.key));
        self.seen.add(checkpoint(&mut http, &self.key).head());
        self.seen.check_consistent(&mut http);
    }
}
