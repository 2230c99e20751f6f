//! Records that may enter.

use counterfoil_merkle::{
    LeafIndex, TreeHead, TreeSize,
    checkpoint::{Checkpoint, Origin as LogName},
    key::{Algorithm, KeyName, NoteSigner},
    proof::InclusionProof,
    tlogproof::TlogProof,
};
use counterfoil_receipt::{
    Entry, Timestamp,
    entry::EntryDraft,
    statement::{
        Commitment, Correction, Dispute, Enclosed, Epoch, Erasure, Ground, Policy, Promise, Receipt, Remedy,
        RemedyKind, Resolution, Response, Revocation, Undertaking, Verdict, Void,
        correction::{Cause, Found, ReceiptField},
        dispute::{Elsewhere, Outside},
        epoch::VoidReason,
        erasure::Basis,
        policy::OnLogFailure,
        receipt::{Api, Model, Outcome, Protocol},
        resolution::{self, Decider},
        response::Stance,
        revocation::RevocationReason,
        verdict::{ClaimKind, Method, Payer, PayerKind, Scheme, VerdictResult},
    },
};

use super::*;

/// The other log that disputes come from.
const ELSEWHERE: &str = "other.example";

pub(super) fn exchange(what: [u8; 32]) -> Subject {
    Subject::Exchange { request: Commitment::new(what), response: None }
}

pub(super) fn receipt(claim: &SigningKey, model: &str, outcome: Outcome) -> Predicate {
    let api = Api { protocol: Protocol::OpenaiChat, path: "/v1/chat/completions".to_owned(), stream: false };
    let model = Model { requested: Some(model.to_owned()), ..Model::default() };
    let receipt = Receipt::new(api, model, outcome);
    Predicate::Receipt(Box::new(Receipt { claim: Some(claim.public().clone()), ..receipt }))
}

pub(super) fn verdict(claim: ClaimKind, result: VerdictResult, supersedes: Option<Hash>) -> Predicate {
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

pub(super) fn dispute(ground: Ground, outside: Option<Outside>) -> Predicate {
    Predicate::Dispute(Box::new(Dispute {
        grounds: vec![ground],
        harm: None,
        remedy: None,
        statement: None,
        evidence: vec![],
        accountable: None,
        outside,
    }))
}

pub(super) fn response(remedy: Option<Undertaking>) -> Predicate {
    let position = if remedy.is_some() { Stance::Partly } else { Stance::Reject };
    Predicate::Response(Response { position, reasons: vec![], statement: None, evidence: vec![], remedy })
}

pub(super) fn resolution(role: Decider, remedy: Option<Undertaking>) -> Predicate {
    let finding = resolution::Finding { ground: Ground::Billing, outcome: resolution::Outcome::Upheld };
    Predicate::Resolution(Resolution {
        role,
        findings: vec![finding],
        remedy,
        appeal_until: None,
        reference: None,
        statement: None,
        dissent: None,
    })
}

pub(super) fn correction() -> Predicate {
    Predicate::Correction(Correction {
        fields: vec![ReceiptField::ModelReported],
        values: None,
        cause: Cause::WrongModel,
        found: Found::OwnCheck,
        range: None,
        sample: None,
        notified: false,
    })
}

pub(super) const fn erasure() -> Predicate {
    Predicate::Erasure(Erasure { basis: Basis::RightsRequest })
}

pub(super) fn revocation(key: &SigningKey, since: Option<Timestamp>) -> Predicate {
    let reason = RevocationReason::Superseded;
    Predicate::Revocation(Revocation { key: key.public().clone(), reason, since, successor: None })
}

pub(super) const fn due(by: Timestamp) -> Undertaking {
    Undertaking { remedy: RemedyKind::Refund, due: by }
}

impl Maker {
    /// A record that may enter; none if there is nothing yet for it to be about.
    pub(super) fn good(&mut self) -> Option<Made> {
        match self.below(100) {
            0..38 => Some(self.a_receipt()),
            38..41 => Some(self.a_void()),
            41..43 => Some(self.an_epoch()),
            43..58 => self.a_verdict(),
            58..70 => self.a_dispute(),
            70..79 => self.a_response(),
            79..85 => self.a_resolution(),
            85..88 => self.a_remedy(),
            88..93 => self.a_correction(),
            93..95 => self.an_erasure(),
            95..97 => Some(self.a_policy()),
            97..99 => Some(self.a_key()),
            _ => self.a_revocation(),
        }
    }

    pub(super) fn made(
        &mut self,
        what: &'static str,
        key: &SigningKey,
        subject: Subject,
        predicate: Predicate,
        trace: Trace,
    ) -> Made {
        let kind = predicate.kind();
        let envelope = self.sign(key, subject, predicate);
        Made { what, envelope, due: None, kind, trace }
    }

    /// A record with the next number of its issuer's stream.
    fn numbered(&mut self, issuer: usize, subject: Subject, predicate: Predicate, trace: Trace) -> Made {
        let key = self.issuers[issuer].key.clone();
        let mut statement = self.statement(&key, subject, predicate);
        let of = &mut self.issuers[issuer];
        let number = Number::new(of.next).unwrap();
        statement.frame.numbering = Some(Numbering { stream: of.stream, number, previous: of.previous });
        let signed = statement.sign(&key).unwrap();
        (of.next, of.previous) = (of.next + 1, Some(signed.id()));
        let kind = statement.kind();
        Made { what: "numbered", envelope: signed.into_envelope(), due: None, kind, trace }
    }

    fn issuer_key(&mut self) -> SigningKey {
        let issuer = self.below(self.issuers.len());
        self.issuers[issuer].key.clone()
    }

    fn one_of(&mut self, keys: fn(&Self) -> &[SigningKey]) -> SigningKey {
        let place = self.below(keys(self).len());
        keys(self)[place].clone()
    }

    fn a_receipt(&mut self) -> Made {
        let (issuer, what) = (self.below(self.issuers.len()), self.bytes());
        self.claims += 1;
        let claim = self.claims;
        let (model, outcome) = (self.of(&["m-1", "m-1-mini", "other/m-2"]), self.of(Outcome::ALL));
        let predicate = receipt(&self.claim(claim), model, outcome);
        self.numbered(issuer, exchange(what), predicate, Trace::Receipt { issuer, claim })
    }

    fn a_void(&mut self) -> Made {
        let (issuer, reason) = (self.below(self.issuers.len()), self.of(VoidReason::ALL));
        self.numbered(issuer, Subject::Log, Predicate::Void(Void { reason }), Trace::None)
    }

    fn an_epoch(&mut self) -> Made {
        let issuer = self.below(self.issuers.len());
        let IssuerOf { key, stream, next, previous } = &self.issuers[issuer];
        let (from, to, next) = (self.past, self.past, Number::new(*next).unwrap());
        let epoch = Epoch { stream: *stream, next, last: *previous, from, to };
        let key = key.clone();
        self.made("epoch", &key, Subject::Log, Predicate::Epoch(epoch), Trace::None)
    }

    fn a_verdict(&mut self) -> Option<Made> {
        let verifier = self.below(self.verifiers.len());
        let (leaf, issuer, claim) = self.any_receipt()?;
        let supersedes = match self.below(4) {
            0 => self.any(|maker| &maker.verdicts).map(|(leaf, _)| leaf),
            _ => None,
        };
        let predicate = verdict(self.of(ClaimKind::ALL), self.of(VerdictResult::ALL), supersedes);
        let key = self.verifiers[verifier].clone();
        let trace = Trace::Verdict { verifier, issuer, claim };
        Some(self.made("verdict", &key, Subject::Record(leaf), predicate, trace))
    }

    fn a_dispute(&mut self) -> Option<Made> {
        match self.below(10) {
            0 => return Some(self.a_dispute_of_a_promise()),
            1 => return Some(self.a_dispute_from_elsewhere()),
            2 => return self.a_dispute_of_a_verdict(),
            3 => return self.an_appeal(),
            _ => {}
        }
        let (leaf, issuer, claim) = self.any_receipt()?;
        let by_claim = self.below(3) > 0;
        let key = if by_claim { self.claim(claim) } else { self.one_of(|maker| &maker.disputants) };
        let ground = self.of(&[Ground::Billing, Ground::WrongModel, Ground::RightsRequest]);
        let trace = Trace::Dispute { issuer, claim: by_claim.then_some(claim), special: false };
        Some(self.made("dispute", &key, Subject::Record(leaf), dispute(ground, None), trace))
    }

    fn a_dispute_of_a_verdict(&mut self) -> Option<Made> {
        let (leaf, Trace::Verdict { issuer, claim, .. }) = self.any(|maker| &maker.verdicts)? else {
            return None;
        };
        let by_issuer = self.below(2) == 0;
        let key = if by_issuer { self.issuers[issuer].key.clone() } else { self.claim(claim) };
        let trace = Trace::Dispute { issuer, claim: None, special: true };
        let predicate = dispute(Ground::VerdictWrong, None);
        Some(self.made("dispute of a verdict", &key, Subject::Record(leaf), predicate, trace))
    }

    fn an_appeal(&mut self) -> Option<Made> {
        let (leaf, Trace::Undertaking { issuer, decision: true }) = self.any(|maker| &maker.undertakings)?
        else {
            return None;
        };
        let key = self.one_of(|maker| &maker.disputants);
        let trace = Trace::Dispute { issuer, claim: None, special: true };
        let predicate = dispute(Ground::ResolutionWrong, None);
        Some(self.made("appeal", &key, Subject::Record(leaf), predicate, trace))
    }

    fn a_dispute_of_a_promise(&mut self) -> Made {
        let issuer = self.below(self.issuers.len());
        self.claims += 1;
        let (number, claim, key) = (self.claims, self.claim(self.claims), self.issuers[issuer].key.clone());
        let promise = self.promise(&key, &claim, self.past);
        let subject = Subject::Promise(promise.id());
        let predicate = dispute(Ground::MissingReceipt, Some(Outside::Promise(Box::new(promise))));
        let trace = Trace::Dispute { issuer, claim: Some(number), special: false };
        self.made("dispute of a promise", &claim, subject, predicate, trace)
    }

    pub(super) fn promise(&mut self, issuer: &SigningKey, claim: &SigningKey, by: Timestamp) -> Enclosed {
        let promise = Predicate::Promise(Promise { claim: claim.public().clone(), by });
        Enclosed::open(self.sign(issuer, Subject::Log, promise)).unwrap()
    }

    /// A receipt that is alone in another log, and its proof.
    fn a_dispute_from_elsewhere(&mut self) -> Made {
        let issuer = self.below(self.issuers.len());
        self.claims += 1;
        let (number, claim) = (self.claims, self.claim(self.claims));
        let (key, what) = (self.issuers[issuer].key.clone(), self.bytes());
        let mut statement = self.statement(&key, exchange(what), receipt(&claim, "m-1", Outcome::Complete));
        statement.frame.log = ELSEWHERE.parse().unwrap();
        let entry = EntryDraft::new(&statement.sign(&key).unwrap(), &statement).stamp(self.past);
        let (size, root) = (TreeSize::new(1).unwrap(), Hash::leaf(&entry));
        let signer = NoteSigner::from_seed(KeyName::new(ELSEWHERE).unwrap(), Algorithm::Ed25519, &[9; 32]);
        let checkpoint = Checkpoint::new(LogName::new(ELSEWHERE).unwrap(), TreeHead { size, root });
        let proof = InclusionProof::from_nodes(LeafIndex::new(0).unwrap(), size, &[]).unwrap();
        let proof = TlogProof::new(proof, checkpoint.sign(&signer.unwrap())).unwrap();
        let entry = Entry::parse(&entry).unwrap();
        let elsewhere = Elsewhere { log: ELSEWHERE.parse().unwrap(), entry, proof };
        let subject = Subject::Elsewhere(elsewhere.leaf());
        let predicate = dispute(Ground::Billing, Some(Outside::Elsewhere(Box::new(elsewhere))));
        let trace = Trace::Dispute { issuer, claim: Some(number), special: false };
        self.made("dispute from elsewhere", &claim, subject, predicate, trace)
    }

    fn a_response(&mut self) -> Option<Made> {
        let (leaf, Trace::Dispute { issuer, .. }) = self.any(|maker| &maker.disputes)? else { return None };
        let remedy = (self.below(2) == 0).then(|| due(self.future));
        // Any issuer may speak, for a receipt may name another as accountable.
        let by = if self.below(5) == 0 { self.below(self.issuers.len()) } else { issuer };
        let (key, predicate) = (self.issuers[by].key.clone(), response(remedy));
        let trace = Trace::Undertaking { issuer, decision: false };
        Some(self.made("response", &key, Subject::Record(leaf), predicate, trace))
    }

    fn a_resolution(&mut self) -> Option<Made> {
        let (leaf, Trace::Dispute { issuer, claim, special }) = self.any(|maker| &maker.disputes)? else {
            return None;
        };
        // Whoever decided before is a party to an appeal: those are left open here.
        if special {
            return None;
        }
        let remedy = (self.below(2) == 0).then(|| due(self.future));
        let (what, key, role) = match (self.below(4), claim) {
            (0, Some(claim)) => ("agreement", self.claim(claim), Decider::Agreed),
            (1, _) => ("own decision", self.issuers[issuer].key.clone(), Decider::Respondent),
            _ => ("decision", self.one_of(|maker| &maker.arbiters), Decider::Arbiter),
        };
        let trace = Trace::Undertaking { issuer, decision: true };
        Some(self.made(what, &key, Subject::Record(leaf), resolution(role, remedy), trace))
    }

    fn a_remedy(&mut self) -> Option<Made> {
        let (leaf, Trace::Undertaking { issuer, .. }) = self.any(|maker| &maker.undertakings)? else {
            return None;
        };
        let key = self.issuers[issuer].key.clone();
        let remedy = Predicate::Remedy(Remedy { remedy: RemedyKind::Refund, evidence: vec![] });
        Some(self.made("remedy", &key, Subject::Record(leaf), remedy, Trace::None))
    }

    fn a_correction(&mut self) -> Option<Made> {
        let (leaf, issuer, _) = self.any_receipt()?;
        let key = self.issuers[issuer].key.clone();
        Some(self.made("correction", &key, Subject::Record(leaf), correction(), Trace::None))
    }

    fn an_erasure(&mut self) -> Option<Made> {
        let (key, leaf) = if self.below(4) == 0 {
            let (leaf, Trace::Verdict { verifier, .. }) = self.any(|maker| &maker.verdicts)? else {
                return None;
            };
            (self.verifiers[verifier].clone(), leaf)
        } else {
            let (leaf, issuer, claim) = self.any_receipt()?;
            let keys = [self.issuers[issuer].key.clone(), self.claim(claim), self.operator.clone()];
            (keys[self.below(3)].clone(), leaf)
        };
        Some(self.made("erasure", &key, Subject::Record(leaf), erasure(), Trace::None))
    }

    fn a_policy(&mut self) -> Made {
        let key = self.issuer_key();
        let policy = Policy {
            respond_within_s: 1 + self.below(1_000_000) as u64,
            grounds: Ground::ALL.to_vec(),
            remedies: vec![RemedyKind::Refund],
            arbiters: vec![self.arbiters[0].public().clone()],
            coverage: vec![],
            on_log_failure: OnLogFailure::Answer,
            retention: None,
        };
        self.made("policy", &key, Subject::Log, Predicate::Policy(policy), Trace::None)
    }

    fn a_key(&mut self) -> Made {
        self.spare += 1;
        let (spare, key) = (self.spare, self.spare(self.spare));
        let (registrar, role) = (self.registrar.clone(), self.of(&[Role::Verifier, Role::Disputant]));
        let registration = self.registration(&key, role);
        self.made("key", &registrar, Subject::Log, registration, Trace::Key { spare })
    }

    /// Of a key that signs nothing else, at most one a batch: what comes beside it cannot depend on it.
    fn a_revocation(&mut self) -> Option<Made> {
        if self.revoking || self.spares.is_empty() {
            return None;
        }
        self.revoking = true;
        let place = self.below(self.spares.len());
        let Target { leaf, trace } = self.spares.swap_remove(place);
        let Trace::Key { spare } = trace else { return None };
        let key = self.spare(spare);
        let signer = if self.below(2) == 0 { self.registrar.clone() } else { key.clone() };
        let since = (self.below(2) == 0).then_some(self.past);
        let predicate = revocation(&key, since);
        Some(self.made("revocation", &signer, Subject::Record(leaf), predicate, Trace::Revoked { spare }))
    }

    pub(super) fn any_receipt(&mut self) -> Option<(Hash, usize, u64)> {
        match self.any(|maker| &maker.receipts)? {
            (leaf, Trace::Receipt { issuer, claim }) => Some((leaf, issuer, claim)),
            _ => None,
        }
    }

    pub(super) fn any(&mut self, of: fn(&Self) -> &[Target]) -> Option<(Hash, Trace)> {
        let count = of(self).len();
        if count == 0 {
            return None;
        }
        // About the newest most is said.
        let newest = if self.below(2) == 0 { count.min(200) } else { count };
        let target = count - 1 - self.below(newest);
        let target = &of(self)[target];
        Some((target.leaf, target.trace))
    }
}
