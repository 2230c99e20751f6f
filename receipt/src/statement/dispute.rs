//! Disputes: somebody contests a record, a promise, or a record of another log.

use counterfoil_merkle::{Hash, tlogproof::TlogProof};

use super::{
    Commitment, Frame, Kind, Predicate, RemedyKind, Subject,
    enclosed::Enclosed,
    frame::Origin,
    verdict::{read_evidence, write_evidence},
};
use crate::{
    code::codes,
    entry::Entry,
    json::{
        field::{Field, FieldError, Object, Reason},
        write::{self, ObjectWriter},
    },
    key::PublicKey,
    statement::groups::{Accountable, Group as _},
};

/// What a `dispute` record says. It sets no deadline: that follows from what the respondent promised.
#[derive(Clone, Debug, PartialEq)]
pub struct Dispute {
    /// Why.
    pub grounds: Vec<Ground>,
    /// What kind of harm was done.
    pub harm: Option<Harm>,
    /// What is asked for.
    pub remedy: Option<RemedyKind>,
    /// What the disputant has to say.
    pub statement: Option<Commitment>,
    /// Evidence that the disputant keeps.
    pub evidence: Vec<Commitment>,
    /// Who answers for it as the receipt says, so that the deadline outlives the receipt.
    pub accountable: Option<Accountable>,
    /// What is disputed, if it is no record of this log.
    pub outside: Option<Outside>,
}

/// Something disputed that this log does not hold.
#[derive(Clone, Debug, PartialEq)]
pub enum Outside {
    /// A promise of a receipt.
    Promise(Box<Enclosed>),
    /// A record of another log.
    Elsewhere(Box<Elsewhere>),
}

/// A record of another log, and the proof that it holds it. That the log signed the checkpoint is for whoever knows its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Elsewhere {
    /// The other log.
    pub log: Origin,
    /// The leaf.
    pub entry: Entry,
    /// That the tree of the checkpoint in it has the leaf.
    pub proof: TlogProof,
}

codes! {
    /// Why something is disputed.
    Ground {
        /// The answer was changed on the way.
        AlteredOutput = "altered_output",
        /// Another model answered than the receipt says.
        WrongModel = "wrong_model",
        /// It ran elsewhere than the receipt says.
        WrongLocation = "wrong_location",
        /// A receipt was promised and did not come.
        MissingReceipt = "missing_receipt",
        /// The exchange did not happen, or not so.
        FalseReceipt = "false_receipt",
        /// The answer did harm, or is a wrong decision.
        HarmfulOrWrongDecision = "harmful_or_wrong_decision",
        /// Personal data were not handled as they must be.
        Privacy = "privacy",
        /// It was charged for wrongly.
        Billing = "billing",
        /// Somebody asks for what the law gives them: an explanation, a human decision.
        RightsRequest = "rights_request",
        /// A verdict is wrong.
        VerdictWrong = "verdict_wrong",
        /// A resolution is wrong: an appeal.
        ResolutionWrong = "resolution_wrong",
    }
}

codes! {
    /// What kind of harm was done.
    Harm {
        /// Money was lost.
        Money = "money",
        /// Something was denied: credit, work, housing, a service.
        Access = "access",
        /// Somebody's health suffered.
        Health = "health",
        /// Somebody was put in danger.
        Safety = "safety",
        /// Somebody's good name suffered.
        Reputation = "reputation",
        /// Something private became known.
        Privacy = "privacy",
        /// Somebody was treated worse than others.
        Discrimination = "discrimination",
        /// Another.
        Other = "other",
    }
}

impl Dispute {
    /// The promise that is disputed.
    pub fn promise(&self) -> Option<&Enclosed> {
        if let Some(Outside::Promise(promise)) = &self.outside { Some(promise) } else { None }
    }

    /// The record of another log that is disputed.
    pub fn elsewhere(&self) -> Option<&Elsewhere> {
        if let Some(Outside::Elsewhere(elsewhere)) = &self.outside { Some(elsewhere) } else { None }
    }

    /// Who issued what is disputed, if that lies outside the log.
    pub fn outside_issuer(&self) -> Option<&PublicKey> {
        self.outside.as_ref().map(Self::issuer_of)
    }

    /// Who issued something that lies outside the log.
    pub(crate) fn issuer_of(outside: &Outside) -> &PublicKey {
        match outside {
            Outside::Promise(promise) => promise.envelope().key(),
            Outside::Elsewhere(elsewhere) => &elsewhere.entry.issuer,
        }
    }

    /// Reads predicate and subject, which go together.
    pub(super) fn read(
        members: &mut Object<'_, '_>,
        subject: &Field<'_, '_>,
        frame: &Frame,
    ) -> Result<(Subject, Self), FieldError> {
        let grounds = members.required("grounds")?;
        let listed = grounds.codes(1, Ground::CODES)?;
        let outside = match (members.optional("promise"), members.optional("elsewhere")) {
            (None, None) => None,
            (Some(promise), None) => Some(Outside::Promise(Box::new(read_promise(&promise, frame)?))),
            (None, Some(elsewhere)) => {
                Some(Outside::Elsewhere(Box::new(Elsewhere::read(&elsewhere, frame)?)))
            }
            (Some(_), Some(_)) => {
                let rule = "a dispute is about one thing: a record, a promise, or a record elsewhere";
                return Err(members.at("elsewhere", Reason::Rule(rule)));
            }
        };
        let about_promise = matches!(outside, Some(Outside::Promise(_)));
        if listed.iter().any(|ground| (*ground == Ground::MissingReceipt) != about_promise) {
            let rule = "missing_receipt is the only ground about a promise, and about nothing else";
            return Err(grounds.error(Reason::Rule(rule)));
        }
        let about = match &outside {
            None => Subject::read_leaf(subject)?,
            Some(Outside::Promise(promise)) => Subject::read_promise(subject, promise.id())?,
            Some(Outside::Elsewhere(elsewhere)) => Subject::read_elsewhere(subject, elsewhere.leaf())?,
        };
        let read = Self {
            grounds: listed,
            harm: members.maybe("harm", |field| field.code(Harm::CODES))?,
            remedy: members.maybe("remedy", |field| field.code(RemedyKind::CODES))?,
            statement: members.maybe("statement", Field::parse)?,
            evidence: read_evidence(members)?,
            accountable: members.maybe("accountable", Accountable::read)?,
            outside,
        };
        Ok((about, read))
    }

    pub(super) fn write(&self, members: &mut ObjectWriter<'_>) {
        write::array(members.member("grounds"), &self.grounds, |out, it| write::string(out, it.as_str()));
        members.some("harm", self.harm.map(Harm::as_str), ObjectWriter::string);
        members.some("remedy", self.remedy.map(RemedyKind::as_str), ObjectWriter::string);
        members.some("statement", self.statement, ObjectWriter::display);
        write_evidence(&self.evidence, members);
        if let Some(accountable) = &self.accountable {
            accountable.write(members.member("accountable"));
        }
        match &self.outside {
            None => {}
            Some(Outside::Promise(promise)) => {
                members.member("promise").push_str(&promise.envelope().to_json());
            }
            Some(Outside::Elsewhere(elsewhere)) => {
                members.object("elsewhere", |members| elsewhere.write(members));
            }
        }
    }
}

/// Reads a promise of a receipt in this log, disputed by whoever holds its claim key.
fn read_promise(field: &Field<'_, '_>, frame: &Frame) -> Result<Enclosed, FieldError> {
    let promise = Enclosed::read(field, Kind::Promise)?;
    let statement = promise.statement();
    if statement.frame.log != frame.log {
        return Err(field.mismatch(frame.log.as_str(), statement.frame.log.as_str()));
    }
    if let Predicate::Promise(said) = &statement.predicate
        && said.claim != frame.issuer.key
    {
        return Err(field.error(Reason::Rule("must be disputed by its own claim key")));
    }
    Ok(promise)
}

impl Elsewhere {
    fn read(field: &Field<'_, '_>, frame: &Frame) -> Result<Self, FieldError> {
        let mut members = field.object()?;
        let origin = members.required("log")?;
        let log: Origin = origin.parse()?;
        let place = members.required("entry")?;
        let entry = Entry::parse(place.string()?.as_bytes()).map_err(|error| {
            place.error(Reason::Form { got: "the entry".to_owned(), why: error.to_string() })
        })?;
        let proof = members.required("proof")?;
        let read: TlogProof = proof.parse()?;
        members.finish()?;
        if read.extra().is_some() {
            return Err(proof.error(Reason::Rule("has an extra line, which nothing authenticates")));
        }
        if log == frame.log {
            return Err(
                origin.error(Reason::Rule("is this log itself: the record is named by its leaf hash"))
            );
        }
        let checkpoint = read.checkpoint().unverified();
        if checkpoint.origin.as_str() != log.as_str() {
            return Err(proof.mismatch(log.as_str(), checkpoint.origin.as_str()));
        }
        read.proof().verify(entry.leaf_hash(), checkpoint.head.root).map_err(|error| {
            proof.error(Reason::Form { got: "the proof".to_owned(), why: error.to_string() })
        })?;
        if entry.kind != Kind::Receipt {
            return Err(place.error(Reason::Rule("must be that of a receipt")));
        }
        if entry.claim.as_ref() != Some(&frame.issuer.key) {
            return Err(place.error(Reason::Rule("must be disputed by its own claim key")));
        }
        Ok(Self { log, entry, proof: read })
    }

    fn write(&self, members: &mut ObjectWriter<'_>) {
        members.string("log", self.log.as_str());
        members.string("entry", &String::from_utf8_lossy(&self.entry.to_bytes()));
        members.string("proof", &self.proof.to_string());
    }

    /// The leaf hash of the record.
    pub fn leaf(&self) -> Hash {
        self.entry.leaf_hash()
    }
}
