//! Records that are not receipts, from what a person says to something that can be signed: texts become commitments.

use super::{SignError, Statement, VerifiedEnvelope};
use crate::{
    commitment::{Label, Opening, OpeningKey, Openings},
    envelope::Id,
    key::SigningKey,
    statement::{Commitment, Frame, Issuer, Nonce, Origin, Predicate, Subject},
};

/// Commits to texts under fresh keys, and keeps what opens the commitments.
pub struct Committing<'r> {
    random: &'r mut dyn FnMut(&mut [u8]),
    openings: Vec<(Label, Opening)>,
}

impl<'r> Committing<'r> {
    /// `random` fills a slice with bytes fit for keys.
    pub fn new(random: &'r mut dyn FnMut(&mut [u8])) -> Self {
        Self { random, openings: Vec::new() }
    }

    /// Commits to bytes under a label.
    pub fn commit(&mut self, label: Label, bytes: &[u8]) -> Commitment {
        let mut key = [0; 32];
        (self.random)(&mut key);
        let key = OpeningKey::new(key);
        let commitment = key.commit(label, bytes);
        self.openings.push((label, Opening { key, value: Some(bytes.to_vec()) }));
        commitment
    }

    /// The record that says this, to be signed by `key`.
    pub fn record(
        self,
        log: Origin,
        key: &SigningKey,
        subject: Subject,
        predicate: Predicate,
    ) -> RecordDraft {
        let mut nonce = [0; 16];
        (self.random)(&mut nonce);
        let issuer = Issuer { key: key.public().clone(), software: None };
        let frame = Frame { nonce: Nonce::new(nonce), log, issuer, numbering: None };
        let statement = Statement { subject, frame, predicate };
        let mut openings = Openings::new(Id::of_statement(statement.to_json().as_bytes()));
        self.openings.into_iter().for_each(|(label, opening)| openings.insert(label, opening));
        RecordDraft { statement, openings }
    }
}

/// A record that is not signed yet, with what opens its commitments.
#[derive(Clone, Debug)]
pub struct RecordDraft {
    /// The statement.
    pub statement: Statement,
    /// The keys that open its commitments, with what they commit to.
    pub openings: Openings,
}

impl RecordDraft {
    /// The record's id: known before it is signed.
    pub fn id(&self) -> Id {
        self.openings.id()
    }

    /// Signs the record, after reading it as a log would.
    pub fn sign(&self, key: &SigningKey) -> Result<VerifiedEnvelope, SignError> {
        self.statement.sign(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        commitment::{Bodies, Finding, MemberLabel},
        statement::{Dispute, Ground},
        vectors,
    };
    use counterfoil_merkle::Hash;

    /// Whoever has the openings can show what was meant; without them the record says codes only.
    #[test]
    fn texts_are_committed_to_and_opened() {
        let key = vectors::key("claim");
        let mut next = 0;
        let mut random = |bytes: &mut [u8]| {
            next += 1;
            bytes.fill(next);
        };
        let mut committing = Committing::new(&mut random);
        let label = Label::Member(MemberLabel::DisputeStatement);
        let text = "they denied my loan";
        let dispute = Dispute {
            grounds: vec![Ground::HarmfulOrWrongDecision],
            harm: None,
            remedy: None,
            statement: Some(committing.commit(label, text.as_bytes())),
            evidence: vec![],
            accountable: None,
            outside: None,
        };
        let subject = Subject::Record(Hash::leaf(b"receipt"));
        let log = "log.example/2026".parse().unwrap();
        let draft = committing.record(log, &key, subject, Predicate::Dispute(Box::new(dispute)));
        let signed = draft.sign(&key).unwrap();
        assert_eq!(signed.id(), draft.id());
        assert!(!draft.statement.to_json().contains("loan"));
        let checked = draft.openings.check(&draft.statement, Bodies::default());
        assert!(checked.iter().all(|it| it.finding == Finding::Opened) && checked.len() == 1, "{checked:?}");
        let read = Openings::parse(draft.openings.to_json().as_bytes()).unwrap();
        assert_eq!(read.get(label).unwrap().value.as_deref(), Some(text.as_bytes()));
    }
}
