//! Records that break a rule each, and nothing else: but for that they would be taken.

use counterfoil_receipt::{
    VerifiedEnvelope,
    statement::{
        Ground, Rules,
        dispute::Outside,
        receipt::Outcome,
        resolution::Decider,
        rules::Mode,
        verdict::{ClaimKind, VerdictResult},
    },
};

use super::{
    good::{correction, dispute, due, erasure, exchange, receipt, resolution, response, revocation, verdict},
    *,
};

/// The number of a spare key that nobody registers, and of a claim key that came with no receipt.
const NOBODY: u64 = u64::MAX;

fn supported() -> Predicate {
    verdict(ClaimKind::Output, VerdictResult::Supported, None)
}

impl Maker {
    /// A record that breaks a rule; none if there is nothing yet for it to be about.
    pub(super) fn bad(&mut self) -> Option<Made> {
        let make = self.of::<fn(&mut Self) -> Option<Made>>(&[
            Self::no_statement,
            Self::another_log,
            Self::never_logged,
            Self::not_the_operator,
            Self::not_the_registrar,
            Self::unknown_key,
            Self::wrong_role,
            Self::expired_key,
            Self::revoked_key,
            Self::not_its_card,
            Self::about_nothing_there,
            Self::about_the_wrong_kind,
            Self::wrong_signer,
            Self::own_case,
            Self::wrong_ground,
            Self::impossible_deadline,
            Self::since_the_future,
            Self::promise_not_due,
        ]);
        make(self)
    }

    fn breaks(
        &mut self,
        rule: Rule,
        what: &'static str,
        key: &SigningKey,
        subject: Subject,
        predicate: Predicate,
    ) -> Option<Made> {
        let made = self.made(what, key, subject, predicate, Trace::None);
        Some(Made { due: Some(rule), ..made })
    }

    /// A free text where a code belongs, or a member that there is not.
    fn no_statement(&mut self) -> Option<Made> {
        let (leaf, _, claim) = self.any_receipt()?;
        let key = self.claim(claim);
        let envelope = self.sign(&key, Subject::Record(leaf), dispute(Ground::Billing, None));
        let text = String::from_utf8(envelope.statement_bytes().to_vec()).unwrap();
        let bad = match self.below(2) {
            0 => text.replace("\"billing\"", "\"it was far too dear\""),
            _ => text.replace("\"grounds\":", "\"deadline\":1,\"grounds\":"),
        };
        assert_ne!(bad, text);
        let envelope = VerifiedEnvelope::sign(bad.into_bytes(), &key).unwrap().into_envelope();
        let (what, trace) = ("text where a code belongs", Trace::None);
        Some(Made { what, envelope, due: Some(Rule::Statement), kind: Kind::Dispute, trace })
    }

    fn another_log(&mut self) -> Option<Made> {
        let (leaf, ..) = self.any_receipt()?;
        let key = self.verifiers[0].clone();
        let mut statement = self.statement(&key, Subject::Record(leaf), supported());
        statement.frame.log = "other.example".parse().unwrap();
        let envelope = statement.sign(&key).unwrap().into_envelope();
        let (what, trace) = ("meant for another log", Trace::None);
        Some(Made { what, envelope, due: Some(Rule::Log), kind: Kind::Verdict, trace })
    }

    fn never_logged(&mut self) -> Option<Made> {
        let (key, claim) = (self.issuers[0].key.clone(), self.claim(NOBODY));
        let promise = self.promise(&key, &claim, self.future);
        let (what, trace, envelope) = ("promise", Trace::None, promise.envelope().clone());
        Some(Made { what, envelope, due: Some(Rule::NeverLogged), kind: Kind::Promise, trace })
    }

    fn not_the_operator(&mut self) -> Option<Made> {
        let registrars = vec![self.registrar.public().clone()];
        let rules = Rules { mode: Mode::Open, registrars, operator: self.operator.public().clone() };
        let key = self.registrar.clone();
        self.breaks(Rule::Operator, "rules by the registrar", &key, Subject::Log, Predicate::Rules(rules))
    }

    fn not_the_registrar(&mut self) -> Option<Made> {
        let (signer, key) = (self.issuers[1].key.clone(), self.spare(NOBODY));
        let registration = self.registration(&key, Role::Issuer);
        self.breaks(Rule::Registrar, "registered by an issuer", &signer, Subject::Log, registration)
    }

    fn unknown_key(&mut self) -> Option<Made> {
        let (stranger, claim, what) = (self.spare(NOBODY), self.claim(NOBODY), self.bytes());
        let predicate = receipt(&claim, "m-1", Outcome::Complete);
        self.breaks(Rule::KeyUnknown, "receipt of a stranger", &stranger, exchange(what), predicate)
    }

    fn wrong_role(&mut self) -> Option<Made> {
        let (leaf, issuer, _) = self.any_receipt()?;
        let key = self.issuers[issuer].key.clone();
        self.breaks(Rule::KeyRole, "verdict by an issuer", &key, Subject::Record(leaf), supported())
    }

    fn expired_key(&mut self) -> Option<Made> {
        let (leaf, ..) = self.any_receipt()?;
        let key = self.expired.clone();
        self.breaks(Rule::KeyWindow, "verdict out of time", &key, Subject::Record(leaf), supported())
    }

    fn revoked_key(&mut self) -> Option<Made> {
        if self.revoked.is_empty() {
            return None;
        }
        let place = self.below(self.revoked.len());
        let key = self.spare(self.revoked[place]);
        if self.below(2) == 0 {
            let (leaf, ..) = self.any_receipt()?;
            let subject = Subject::Record(leaf);
            return self.breaks(Rule::KeyRevoked, "verdict by a revoked key", &key, subject, supported());
        }
        let (registrar, again) = (self.registrar.clone(), self.registration(&key, Role::Verifier));
        self.breaks(Rule::KeyRevoked, "registered again", &registrar, Subject::Log, again)
    }

    fn not_its_card(&mut self) -> Option<Made> {
        let (key, registrar) = (self.issuers[0].key.clone(), self.registrar.clone());
        let predicate = revocation(&key, None);
        self.breaks(Rule::Card, "revocation about the log", &registrar, Subject::Log, predicate)
    }

    fn about_nothing_there(&mut self) -> Option<Made> {
        let nowhere = Subject::Record(Hash::new(self.bytes()));
        let (key, claim) = (self.verifiers[0].clone(), self.claim(NOBODY));
        match self.below(3) {
            0 => self.breaks(Rule::AboutMissing, "verdict about nothing", &key, nowhere, supported()),
            1 => {
                let predicate = dispute(Ground::Billing, None);
                self.breaks(Rule::AboutMissing, "dispute about nothing", &claim, nowhere, predicate)
            }
            _ => self.breaks(Rule::AboutMissing, "erasure of nothing", &claim, nowhere, erasure()),
        }
    }

    fn about_the_wrong_kind(&mut self) -> Option<Made> {
        let (leaf, _) = self.any(|maker| &maker.verdicts)?;
        let (verifier, issuer) = (self.verifiers[0].clone(), self.issuers[0].key.clone());
        let subject = Subject::Record(leaf);
        match self.below(2) {
            0 => self.breaks(Rule::AboutKind, "verdict about a verdict", &verifier, subject, supported()),
            _ => self.breaks(Rule::AboutKind, "answer to a verdict", &issuer, subject, response(None)),
        }
    }

    fn wrong_signer(&mut self) -> Option<Made> {
        let (leaf, issuer, _) = self.any_receipt()?;
        let other = self.issuers[(issuer + 1) % self.issuers.len()].key.clone();
        let (stranger, subject) = (self.claim(NOBODY), Subject::Record(leaf));
        match self.below(3) {
            0 => {
                let predicate = dispute(Ground::Billing, None);
                self.breaks(Rule::Signer, "dispute by another's claim key", &stranger, subject, predicate)
            }
            1 => self.breaks(Rule::Signer, "correction by another", &other, subject, correction()),
            _ => self.breaks(Rule::Signer, "erasure by another", &other, subject, erasure()),
        }
    }

    /// By an arbiter who issued what is disputed.
    fn own_case(&mut self) -> Option<Made> {
        let (key, subject) = (self.both.clone(), Subject::Record(self.own_dispute));
        let predicate = resolution(Decider::Arbiter, None);
        self.breaks(Rule::OwnCase, "decision of its own case", &key, subject, predicate)
    }

    fn wrong_ground(&mut self) -> Option<Made> {
        let (leaf, _, claim) = self.any_receipt()?;
        let key = self.claim(claim);
        let predicate = dispute(Ground::VerdictWrong, None);
        self.breaks(Rule::Ground, "a receipt is no verdict", &key, Subject::Record(leaf), predicate)
    }

    fn impossible_deadline(&mut self) -> Option<Made> {
        let (leaf, _) = self.any(|maker| &maker.disputes)?;
        let (key, predicate) = (self.issuers[0].key.clone(), response(Some(due(self.past))));
        self.breaks(Rule::Deadline, "due before it is said", &key, Subject::Record(leaf), predicate)
    }

    fn since_the_future(&mut self) -> Option<Made> {
        let (leaf, Trace::Key { spare }) = self.any(|maker| &maker.spares)? else { return None };
        let (key, registrar) = (self.spare(spare), self.registrar.clone());
        let predicate = revocation(&key, Some(self.future));
        self.breaks(Rule::Since, "disowned from the future on", &registrar, Subject::Record(leaf), predicate)
    }

    fn promise_not_due(&mut self) -> Option<Made> {
        let (issuer, claim) = (self.issuers[0].key.clone(), self.claim(NOBODY));
        let promise = self.promise(&issuer, &claim, self.future);
        let subject = Subject::Promise(promise.id());
        let predicate = dispute(Ground::MissingReceipt, Some(Outside::Promise(Box::new(promise))));
        self.breaks(Rule::PromiseEarly, "dispute of a promise that is not due", &claim, subject, predicate)
    }
}
