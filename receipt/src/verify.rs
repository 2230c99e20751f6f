//! Offline verification: what a bundle proves to somebody with a policy, names for keys, and perhaps the contents.
//!
//! There is no single tick. A [`Report`] keeps apart who signed, that it was logged, when, who witnessed it, and what the
//! contents are; [`Report::failures`] names what does not hold.

pub mod bounds;
mod failure;

pub use bounds::{Bound, Bounds, ClockError};
pub use failure::{Failure, Part};

use counterfoil_merkle::{
    Hash, LeafIndex, TreeHead,
    policy::{Accepted, PolicyError},
    proof::ProofError,
};

use crate::{
    Entry, Id, Kind, Statement, Timestamp,
    bundle::Bundle,
    commitment::{Bodies, Checked, Finding, Label, Openings},
    entry::EntryError,
    trust::{Role, Trust},
};

/// What is known of an exchange outside the log.
#[derive(Clone, Copy, Debug)]
pub struct Contents<'a> {
    /// The openings that came with the receipt.
    pub openings: &'a Openings,
    /// The bodies, as far as they are there.
    pub bodies: Bodies<'a>,
}

/// What verifying a bundle showed, each claim apart.
#[derive(Clone, Debug)]
pub struct Report {
    /// The leaf, as it stands in the bundle.
    pub entry: Entry,
    /// Its hash.
    pub leaf: Hash,
    /// Its index, going by the proof.
    pub index: LeafIndex,
    /// The log, going by the checkpoint.
    pub origin: String,
    /// Size and root, going by the checkpoint.
    pub head: TreeHead,
    /// Whether the entry is that of the statement, and the issuer signed it.
    pub statement: StatementCheck,
    /// Whose key it is.
    pub issuer: IssuerCheck,
    /// Whether an issuer with a name is asked for.
    pub issuer_demanded: bool,
    /// Whether the tree of the checkpoint has the entry.
    pub inclusion: Result<(), ProofError>,
    /// Whether the policy takes the checkpoint, and who cosigned it.
    pub checkpoint: Result<Accepted, PolicyError>,
    /// When it was logged.
    pub time: TimeCheck,
    /// What witnesses' times say of that.
    pub bounds: Bounds,
    /// What the contents are.
    pub contents: ContentsCheck,
}

/// How entry and statement go together.
#[derive(Clone, Debug)]
pub enum StatementCheck {
    /// The entry says what the statement says, and the issuer signed the statement.
    Matches(Box<Statement>),
    /// The bundle has no statement. What the entry says of issuer, stream and claim key is the log's word.
    Erased,
    /// They do not go together, or the signature is bad.
    Differs(EntryError),
    /// All is well, but the statement is meant for another log than the checkpoint is of.
    OtherLog(Box<Statement>),
}

/// Whose key signed, going by the trust file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IssuerCheck {
    /// That of an issuer with this name.
    Named {
        /// The name.
        name: String,
    },
    /// Nobody's that is named.
    NotNamed,
    /// That of somebody with this name, who is trusted in other roles only.
    OtherRole {
        /// The name.
        name: String,
    },
    /// That of an issuer with this name, but not at the time of the entry.
    NotValid {
        /// The name.
        name: String,
        /// The first moment at which it was.
        not_before: Option<Timestamp>,
        /// The last one.
        not_after: Option<Timestamp>,
    },
}

/// How the entry's time stands to the clock of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeCheck {
    /// The checkpoint's clock cosignature bounds it.
    Attested {
        /// POSIX seconds in that cosignature.
        clock_s: u64,
    },
    /// The policy does not list the log's clock, or did not take the checkpoint: the time is the log's word.
    Unattested,
    /// The policy lists the log's clock, but the checkpoint lacks its cosignature.
    NoClock,
    /// The entry is dated after the checkpoint that holds it.
    AfterCheckpoint {
        /// POSIX seconds in the clock's cosignature.
        clock_s: u64,
    },
}

/// How contents and statement go together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContentsCheck {
    /// There was nothing to hold against it.
    NotGiven,
    /// The openings are those of another record.
    OtherRecord {
        /// The record they are for.
        openings: Id,
    },
    /// There is no statement to hold them against.
    NoStatement,
    /// What each commitment turned out to be.
    Checked(Vec<Checked>),
}

/// Verifies a bundle. Pure: no clock, no network; whoever asks says what is trusted.
pub fn verify(bundle: &Bundle, trust: &Trust, contents: Option<Contents<'_>>) -> Report {
    let signed = bundle.proof.checkpoint();
    let unverified = signed.unverified();
    let leaf = bundle.leaf();
    let statement = check_statement(bundle, unverified.origin.as_str());
    let checkpoint = trust.policy.check(signed);
    // Against the root as it stands, so that a bad checkpoint does not hide a good proof or the other way round.
    let inclusion = bundle.proof.proof().verify(leaf, unverified.head.root);
    Report {
        leaf,
        index: bundle.proof.index(),
        origin: unverified.origin.to_string(),
        head: unverified.head,
        issuer: check_issuer(&bundle.entry, trust),
        issuer_demanded: !trust.issuers.is_empty(),
        bounds: Bounds::of(&inclusion, &checkpoint),
        inclusion,
        time: check_time(&bundle.entry, trust, &checkpoint),
        contents: check_contents(&statement, bundle.entry.id, contents),
        entry: bundle.entry.clone(),
        statement,
        checkpoint,
    }
}

fn check_statement(bundle: &Bundle, origin: &str) -> StatementCheck {
    let Some(bytes) = &bundle.statement else { return StatementCheck::Erased };
    match bundle.entry.check_statement(bytes) {
        Err(reason) => StatementCheck::Differs(reason),
        Ok(statement) if statement.frame.log.as_str() != origin => {
            StatementCheck::OtherLog(Box::new(statement))
        }
        Ok(statement) => StatementCheck::Matches(Box::new(statement)),
    }
}

fn check_issuer(entry: &Entry, trust: &Trust) -> IssuerCheck {
    let Some(named) = trust.issuers.find(&entry.issuer) else { return IssuerCheck::NotNamed };
    let name = named.name().to_owned();
    if entry.kind == Kind::Receipt && !named.may_act_as(Role::Issuer) {
        return IssuerCheck::OtherRole { name };
    }
    if named.is_valid_at(entry.at) {
        return IssuerCheck::Named { name };
    }
    IssuerCheck::NotValid { name, not_before: named.not_before(), not_after: named.not_after() }
}

fn check_time(entry: &Entry, trust: &Trust, checkpoint: &Result<Accepted, PolicyError>) -> TimeCheck {
    let Ok(accepted) = checkpoint else { return TimeCheck::Unattested };
    match &accepted.clock {
        Some(clock) if entry.at.seconds() > clock.time_s => {
            TimeCheck::AfterCheckpoint { clock_s: clock.time_s }
        }
        Some(clock) => TimeCheck::Attested { clock_s: clock.time_s },
        None if trust.policy.clock_of(accepted.checkpoint.log_key()).is_some() => TimeCheck::NoClock,
        None => TimeCheck::Unattested,
    }
}

fn check_contents(statement: &StatementCheck, id: Id, contents: Option<Contents<'_>>) -> ContentsCheck {
    let Some(Contents { openings, bodies }) = contents else { return ContentsCheck::NotGiven };
    if openings.id() != id {
        return ContentsCheck::OtherRecord { openings: openings.id() };
    }
    let (StatementCheck::Matches(statement) | StatementCheck::OtherLog(statement)) = statement else {
        return ContentsCheck::NoStatement;
    };
    let mut checked = openings.check(statement, bodies);
    let known = |checked: &[Checked], label| checked.iter().any(|it| it.label == label);
    for (label, body) in [(Label::Request, bodies.request), (Label::Response, bodies.response)] {
        if body.is_some() && !known(&checked, label) {
            checked.push(Checked { label, finding: Finding::NotCommitted });
        }
    }
    // A body that was given and cannot be opened was not checked, and that is what was asked for.
    for it in &mut checked {
        let given = match it.label {
            Label::Request => bodies.request.is_some(),
            Label::Response => bodies.response.is_some(),
            _ => false,
        };
        if given && it.finding == Finding::NoOpening {
            it.finding = Finding::NotCommitted;
        }
    }
    ContentsCheck::Checked(checked)
}

impl Report {
    /// The statement, if it goes with the entry.
    pub fn statement(&self) -> Option<&Statement> {
        match &self.statement {
            StatementCheck::Matches(statement) | StatementCheck::OtherLog(statement) => Some(statement),
            StatementCheck::Erased | StatementCheck::Differs(_) => None,
        }
    }

    /// Whether all holds that was asked for.
    pub fn holds(&self) -> bool {
        self.failures().is_empty()
    }
}

#[cfg(test)]
mod tests;
