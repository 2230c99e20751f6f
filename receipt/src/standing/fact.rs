//! Facts, and how they sort.

use counterfoil_merkle::{Hash, TreeSize};

use crate::{
    code::codes,
    envelope::Id,
    key::PublicKey,
    statement::{
        Contact, Ground, Name, RemedyKind, Role, Undertaking, correction,
        erasure::Basis,
        receipt::{Model, Outcome},
        resolution::{Decider, Finding},
        response::Stance,
        revocation::RevocationReason,
        verdict::{ClaimKind, Conflict, Limit, Method, Payer, VerdictResult},
    },
    timestamp::Timestamp,
};

/// What stands, as of a tree size and a moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing {
    /// How many records it rests on.
    pub size: TreeSize,
    /// The moment.
    pub moment: Timestamp,
    /// The facts, oldest first.
    pub facts: Vec<Fact>,
    /// Whose turn it is in each dispute.
    pub turns: Vec<Turn>,
}

/// One thing that the records show.
#[derive(Clone, Debug, PartialEq)]
pub struct Fact {
    /// When it came to be: the date of the record that made it so, or a deadline that passed.
    pub at: Timestamp,
    /// The record that made it so.
    pub record: Hash,
    /// What it is.
    pub said: Said,
}

/// What a fact is.
#[derive(Clone, Debug, PartialEq)]
pub enum Said {
    /// A receipt was logged.
    Claimed {
        /// By whom.
        by: Party,
        /// The model and how it ended; none if the statement is not there.
        says: Option<(Model, Outcome)>,
    },
    /// A promise of a receipt was disputed.
    Promised {
        /// By whom it was made.
        by: Party,
        /// The promise.
        promise: Id,
        /// What became of it.
        state: PromiseState,
    },
    /// A claim was checked.
    Verdict {
        /// By whom.
        by: Party,
        /// What it says; none if the statement is not there.
        says: Option<VerdictSays>,
        /// The later verdict of the same verifier that replaces it.
        superseded_by: Option<Hash>,
    },
    /// What the verdicts on a claim come to.
    Claim {
        /// The claim.
        claim: ClaimKind,
        /// What they come to.
        standing: ClaimStanding,
        /// How many verdicts support it.
        supported: usize,
        /// How many contradict it.
        contradicted: usize,
    },
    /// Something is disputed.
    Disputed {
        /// By whom.
        by: Complainant,
        /// What.
        subject: Subject,
        /// Why; none if the statement is not there.
        grounds: Option<Vec<Ground>>,
        /// Who has to answer.
        respondent: Party,
        /// Until when.
        due: Deadline,
    },
    /// The dispute waits for an answer that is not late yet.
    Open {
        /// Until when.
        until: Timestamp,
    },
    /// No answer came in time.
    Unanswered {
        /// When silence ended: by an answer or a resolution.
        until: Option<Timestamp>,
    },
    /// The respondent answered.
    Answered(Answer),
    /// Somebody spoke to a dispute who was not asked.
    Remark {
        /// Who.
        by: Party,
    },
    /// A dispute was decided.
    Resolved {
        /// The dispute.
        dispute: Hash,
        /// By whom.
        by: Party,
        /// In which role.
        role: Decider,
        /// What was found.
        findings: Vec<Finding>,
        /// What is to be done.
        remedy: Option<Undertaking>,
        /// Until when it can be appealed against.
        appeal_until: Option<Timestamp>,
        /// Whether the respondent's policy accepts this arbiter; none if it says nothing.
        accepted: Option<bool>,
    },
    /// What was undertaken or ordered is still to be done.
    Due(Undertaking),
    /// The respondent says that it was done.
    Remedied {
        /// What.
        remedy: RemedyKind,
        /// By whom.
        by: Party,
        /// Whether that was late.
        late: bool,
    },
    /// It is due and was not done.
    Overdue(Undertaking),
    /// The issuer takes back some of its claims.
    Corrected {
        /// By whom.
        by: Party,
        /// What was wrong and why; none if the statement is not there.
        says: Option<(Vec<correction::ReceiptField>, correction::Cause)>,
    },
    /// Something about the key of somebody involved.
    Key {
        /// Whose.
        of: Party,
        /// What.
        fact: KeyFact,
    },
    /// The key that signed a record was revoked since, and the record disowned.
    Disowned {
        /// The record that is disowned.
        disowned: Hash,
    },
    /// A statement was ordered to be erased.
    Erased {
        /// Which record's.
        erased: Hash,
        /// By whom.
        by: Eraser,
        /// Why.
        basis: Option<Basis>,
    },
}

impl Said {
    /// The order of facts that came to be at once through one record.
    pub(super) const fn rank(&self) -> (u8, Option<Hash>) {
        let rank = match self {
            Self::Key { .. } => 0,
            Self::Claimed { .. } | Self::Disputed { .. } | Self::Verdict { .. } => 1,
            Self::Corrected { .. } | Self::Erased { .. } | Self::Resolved { .. } => 1,
            Self::Answered(_) | Self::Remark { .. } | Self::Remedied { .. } => 1,
            Self::Promised { .. } | Self::Claim { .. } | Self::Disowned { .. } => 2,
            Self::Open { .. } | Self::Unanswered { .. } | Self::Due(_) | Self::Overdue(_) => 3,
        };
        let about = if let Self::Disowned { disowned } = self { Some(*disowned) } else { None };
        (rank, about)
    }
}

/// What a verdict says.
#[derive(Clone, Debug, PartialEq)]
pub struct VerdictSays {
    /// On which claim.
    pub claim: ClaimKind,
    /// What came out.
    pub result: VerdictResult,
    /// How it was checked.
    pub method: Method,
    /// What it does not show.
    pub limits: Vec<Limit>,
    /// Who pays the verifier, by its own word.
    pub paid_by: Payer,
    /// Its other interests, by its own word.
    pub conflicts: Vec<Conflict>,
}

/// An answer to a dispute.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The dispute.
    pub dispute: Hash,
    /// By whom.
    pub by: Party,
    /// As what.
    pub capacity: Capacity,
    /// Where it stands; none if the statement is not there.
    pub position: Option<Stance>,
    /// What it undertakes.
    pub remedy: Option<Undertaking>,
    /// Whether it came late.
    pub late: bool,
}

codes! {
    /// As what somebody answers.
    Capacity {
        /// It issued what is disputed.
        Respondent = "respondent",
        /// A revoked key named it to act in its place.
        Successor = "successor",
        /// The receipt names it as who answers.
        Accountable = "accountable",
    }
}

codes! {
    /// What the verdicts on a claim come to.
    ClaimStanding {
        /// All support it.
        Supported = "supported",
        /// All contradict it, be it one.
        Contradicted = "contradicted",
        /// Verifiers differ.
        Contested = "contested",
    }
}

/// A key, and what its holder calls itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Party {
    /// The key.
    pub key: PublicKey,
    /// The name that this very key signed.
    pub name: Option<Name>,
    /// Where it can be reached, likewise.
    pub contact: Option<Contact>,
    /// The registrar that let it in; none if nobody did.
    pub registered_by: Option<PublicKey>,
}

/// Who complains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Complainant {
    /// Whoever holds the claim key that came with the answer.
    ClaimKey,
    /// A party.
    Party(Party),
}

/// What is disputed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A record of this log.
    Record(Hash),
    /// A promise.
    Promise(Id),
    /// A record of another log.
    Elsewhere {
        /// The log.
        log: String,
        /// The record.
        leaf: Hash,
    },
}

/// Until when an answer is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline {
    /// The moment.
    pub at: Timestamp,
    /// What says so.
    pub by: DueBy,
}

codes! {
    /// What a deadline follows from.
    DueBy {
        /// The respondent's newest policy before what is disputed.
        Policy = "policy",
        /// The receipt.
        Receipt = "receipt",
        /// The dispute's copy of what the receipt said, which is erased.
        Copy = "copy",
        /// Nothing was promised: 30 days.
        Default = "default",
    }
}

/// What became of a promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PromiseState {
    /// The receipt is in the log.
    Kept {
        /// The receipt.
        receipt: Hash,
        /// When it was logged.
        at: Timestamp,
        /// Whether that was after the promised time.
        late: bool,
    },
    /// It is not due yet.
    Pending {
        /// By when it is.
        by: Timestamp,
    },
    /// It is due, and there is no such receipt.
    Broken {
        /// Since when.
        since: Timestamp,
    },
}

impl PromiseState {
    /// What has become of a promise for that time at a moment: `kept` is the first receipt that it is kept by, and its date.
    pub const fn at(moment: Timestamp, by: Timestamp, kept: Option<(Hash, Timestamp)>) -> Self {
        match kept {
            Some((receipt, at)) => Self::Kept { receipt, at, late: by.millis() < at.millis() },
            None if moment.millis() <= by.millis() => Self::Pending { by },
            None => Self::Broken { since: by },
        }
    }
}

/// What the log says about a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyFact {
    /// It was registered, or named itself: without roles.
    Registered {
        /// Its roles.
        roles: Vec<Role>,
    },
    /// It was revoked.
    Revoked {
        /// By whom.
        by: PublicKey,
        /// Whether that is the key itself.
        own: bool,
        /// Why.
        reason: RevocationReason,
        /// From when on its records are disowned.
        since: Option<Timestamp>,
        /// How many of its records that are.
        disowned: u64,
        /// The key that acts for it.
        successor: Option<PublicKey>,
    },
}

codes! {
    /// Who ordered an erasure.
    Eraser {
        /// Who issued the record.
        Issuer = "issuer",
        /// Who holds its claim key.
        ClaimKey = "claim_key",
        /// The log's operator, and nobody else.
        Log = "log",
    }
}

/// Whose turn it is in a dispute.
#[derive(Clone, Debug, PartialEq)]
pub struct Turn {
    /// The dispute.
    pub dispute: Hash,
    /// What is to be done by whom.
    pub task: Task,
    /// Until when; past if it is overdue.
    pub until: Option<Timestamp>,
}

/// What is to be done by whom.
#[derive(Clone, Debug, PartialEq)]
pub enum Task {
    /// The respondent answers.
    Answer(Party),
    /// The respondent does what it undertook or was told.
    Remedy(Party, RemedyKind),
    /// The disputant shows more.
    ShowMore,
    /// Somebody decides: one of these, if the respondent's policy names any.
    Decide(Vec<Party>),
    /// Either side may appeal.
    Appeal,
    /// Nothing is left to do.
    Nothing,
}

/// Something that is still to be done in a dispute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owed {
    /// Until when; it is late after that.
    pub due: Timestamp,
    /// By whom: the respondent.
    pub by: Party,
    /// What.
    pub owing: Owing,
    /// The dispute.
    pub dispute: Hash,
    /// The record from which it follows: the dispute, or the response or resolution that undertakes or orders it.
    pub record: Hash,
}

/// What somebody owes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owing {
    /// An answer to the dispute.
    Answer,
    /// What was undertaken or ordered.
    Remedy(RemedyKind),
}
