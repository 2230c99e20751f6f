//! A small log in memory for tests: whatever is admitted is appended, and can be looked up and replayed.

use std::collections::HashMap;

use counterfoil_merkle::{Hash, LeafIndex};

use crate::{
    Entry, Envelope, Statement, Timestamp,
    admission::{Candidate, Chain, Ledger, Link, Refused},
    entry::EntryDraft,
    key::{PublicKey, SigningKey},
    statement::{
        Card, Commitment, Correction, Dispute, Erasure, Frame, Ground, Issuer, Key, Nonce, Number, Numbering,
        Origin, Policy, Predicate, Receipt, Registration, Remedy, RemedyKind, Resolution, Response,
        Revocation, Role, Rules, StreamId, Subject, Undertaking, Verdict,
        correction::{Cause, Found, ReceiptField},
        erasure::Basis,
        policy::OnLogFailure,
        receipt::{Api, Model, Outcome, Protocol},
        resolution::{self, Decider},
        response::Stance,
        revocation::RevocationReason,
        rules::Mode,
        verdict::{ClaimKind, Method, Payer, PayerKind, Scheme, VerdictResult},
    },
    vectors,
};

pub(crate) const LOG: &str = "log.example/2026";

/// One record of the log.
#[derive(Clone, Debug)]
pub(crate) struct Logged {
    pub(crate) leaf: Hash,
    pub(crate) entry: Entry,
    pub(crate) statement: Vec<u8>,
}

/// The log.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) ledger: Ledger,
    pub(crate) records: Vec<Logged>,
    places: HashMap<Hash, usize>,
    now: u64,
    /// What the next record's nonce is made of.
    pub(crate) nonce: u128,
}

pub(crate) fn key(name: &str) -> SigningKey {
    vectors::key(name)
}

pub(crate) fn public(name: &str) -> PublicKey {
    key(name).public().clone()
}

pub(crate) fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis).unwrap()
}

pub(crate) fn log() -> Origin {
    LOG.parse().unwrap()
}

impl World {
    /// A log with nothing but its rules: `registrar` registers.
    pub(crate) fn new(mode: Mode) -> Self {
        let ledger = Ledger::new(log());
        let mut world = Self { ledger, records: Vec::new(), places: HashMap::new(), now: 1_000, nonce: 0 };
        world.append("operator", Subject::Log, rules(mode)).unwrap();
        world
    }

    /// The log in which `issuer`, `verifier` and so on have the roles of their names, and some are there twice.
    pub(crate) fn registered() -> Self {
        let mut world = Self::new(Mode::Registered);
        for role in [Role::Issuer, Role::Verifier, Role::Disputant, Role::Arbiter] {
            for number in ["", "2"] {
                world.register(&format!("{role}{number}"), &[role]);
            }
        }
        world
    }

    pub(crate) fn now(&self) -> Timestamp {
        at(self.now)
    }

    /// Lets the log's clock go on.
    pub(crate) fn wait(&mut self, millis: u64) {
        self.now += millis;
    }

    /// Appends a record signed by the key of that name, if it is admitted.
    pub(crate) fn append(
        &mut self,
        signer: &str,
        subject: Subject,
        predicate: Predicate,
    ) -> Result<Hash, Refused> {
        let statement = self.statement(signer, subject, predicate);
        self.append_statement(signer, &statement)
    }

    /// A record about another.
    pub(crate) fn about(&mut self, signer: &str, leaf: Hash, predicate: Predicate) -> Result<Hash, Refused> {
        self.append(signer, Subject::Record(leaf), predicate)
    }

    pub(crate) fn statement(&mut self, signer: &str, subject: Subject, predicate: Predicate) -> Statement {
        self.nonce += 1;
        let kind = predicate.kind();
        let numbering = kind.is_numbered().then(|| Numbering {
            stream: StreamId::new(self.nonce.to_be_bytes()),
            number: Number::FIRST,
            previous: None,
        });
        let issuer = Issuer { key: public(signer), software: None };
        let frame = Frame { nonce: Nonce::new(self.nonce.to_be_bytes()), log: log(), issuer, numbering };
        Statement { subject, frame, predicate }
    }

    pub(crate) fn append_statement(&mut self, signer: &str, statement: &Statement) -> Result<Hash, Refused> {
        let envelope = statement.sign(&key(signer)).unwrap();
        let chain = Chain::of_statement(statement).fill(|leaf| self.look_up(leaf));
        let candidate = Candidate::new(statement);
        self.ledger.judge(&candidate, &chain, self.now())?.for_new()?;
        let entry = EntryDraft::new(&envelope, statement).stamp(self.now());
        let leaf = Hash::leaf(&entry);
        self.ledger.take(&candidate, leaf).unwrap();
        self.places.insert(leaf, self.records.len());
        let entry = Entry::parse(&entry).unwrap();
        let statement = envelope.into_envelope().into_statement();
        self.records.push(Logged { leaf, entry, statement });
        Ok(leaf)
    }

    pub(crate) fn look_up(&self, leaf: Hash) -> Option<Link> {
        let index = *self.places.get(&leaf)?;
        let Logged { entry, statement, .. } = &self.records[index];
        Some(Link::new(LeafIndex::new(index as u64).unwrap(), leaf, entry.clone(), statement))
    }

    /// The record at an index, as a standing takes it.
    pub(crate) fn record(&self, index: usize) -> crate::standing::Record {
        let Logged { leaf, entry, statement } = self.records[index].clone();
        let read = (!statement.is_empty()).then(|| entry.check_statement(&statement).unwrap());
        crate::standing::Record { index: LeafIndex::new(index as u64).unwrap(), leaf, entry, statement: read }
    }

    /// Empties the statement of a record.
    pub(crate) fn erase(&mut self, leaf: Hash) {
        let index = self.places[&leaf];
        self.records[index].statement.clear();
    }

    pub(crate) fn register(&mut self, name: &str, roles: &[Role]) -> Hash {
        let card = self.card(name, roles);
        let registration = Registration::new(card, &log()).unwrap();
        self.append("registrar", Subject::Log, Predicate::Key(Key::Registration(Box::new(registration))))
            .unwrap()
    }

    pub(crate) fn card(&mut self, name: &str, roles: &[Role]) -> Envelope {
        let card =
            Card { name: format!("{name} Ltd").parse().unwrap(), contact: None, roles: roles.to_vec() };
        let statement = self.statement(name, Subject::Log, Predicate::Key(Key::Card(card)));
        statement.sign(&key(name)).unwrap().into_envelope()
    }

    /// A receipt of `issuer` with a claim key of that name.
    pub(crate) fn receipt(&mut self, issuer: &str, claim: &str) -> Hash {
        self.append(issuer, exchange(), receipt(Some(claim))).unwrap()
    }
}

pub(crate) fn exchange() -> Subject {
    Subject::Exchange { request: Commitment::new([7; 32]), response: None }
}

pub(crate) fn rules(mode: Mode) -> Predicate {
    Predicate::Rules(Rules { mode, registrars: vec![public("registrar")], operator: public("operator") })
}

pub(crate) fn receipt(claim: Option<&str>) -> Predicate {
    let api = Api { protocol: Protocol::OpenaiChat, path: "/v1".to_owned(), stream: false };
    let receipt = Receipt::new(api, Model::default(), Outcome::Complete);
    Predicate::Receipt(Box::new(Receipt { claim: claim.map(public), ..receipt }))
}

pub(crate) fn revocation(name: &str, since: Option<u64>, successor: Option<&str>) -> Predicate {
    Predicate::Revocation(Revocation {
        key: public(name),
        reason: RevocationReason::Compromised,
        since: since.map(at),
        successor: successor.map(public),
    })
}

pub(crate) fn policy(respond_within_s: u64) -> Predicate {
    Predicate::Policy(Policy {
        respond_within_s,
        grounds: Ground::ALL.to_vec(),
        remedies: vec![RemedyKind::Correction],
        arbiters: vec![public("arbiter")],
        coverage: vec![],
        on_log_failure: OnLogFailure::Answer,
        retention: None,
    })
}

pub(crate) fn verdict(claim: ClaimKind, result: VerdictResult, supersedes: Option<Hash>) -> Predicate {
    Predicate::Verdict(Box::new(Verdict {
        claim,
        result,
        method: Method { scheme: Scheme::RerunText, software: None },
        reference: None,
        sample: None,
        measure: None,
        as_of: None,
        evidence: vec![],
        limits: vec![],
        paid_by: Payer { who: PayerKind::Caller, key: None },
        conflicts: vec![],
        supersedes,
    }))
}

pub(crate) fn dispute(ground: Ground) -> Predicate {
    Predicate::Dispute(Box::new(Dispute {
        grounds: vec![ground],
        harm: None,
        remedy: None,
        statement: None,
        evidence: vec![],
        accountable: None,
        outside: None,
    }))
}

pub(crate) fn response(position: Stance, remedy: Option<(RemedyKind, u64)>) -> Predicate {
    let remedy = remedy.map(|(remedy, due)| Undertaking { remedy, due: at(due) });
    Predicate::Response(Response { position, reasons: vec![], statement: None, evidence: vec![], remedy })
}

pub(crate) fn resolution(role: Decider, ground: Ground, remedy: Option<(RemedyKind, u64)>) -> Predicate {
    Predicate::Resolution(Resolution {
        role,
        findings: vec![resolution::Finding { ground, outcome: resolution::Outcome::Upheld }],
        remedy: remedy.map(|(remedy, due)| Undertaking { remedy, due: at(due) }),
        appeal_until: None,
        reference: None,
        statement: None,
        dissent: None,
    })
}

pub(crate) fn remedy() -> Predicate {
    Predicate::Remedy(Remedy { remedy: RemedyKind::Correction, evidence: vec![] })
}

pub(crate) fn correction() -> Predicate {
    Predicate::Correction(Correction {
        fields: vec![ReceiptField::ModelReported],
        values: None,
        cause: Cause::WrongModel,
        found: Found::Resolution,
        range: None,
        sample: None,
        notified: true,
    })
}

pub(crate) fn erasure() -> Predicate {
    Predicate::Erasure(Erasure { basis: Basis::RightsRequest })
}
