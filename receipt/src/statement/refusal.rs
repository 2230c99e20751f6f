//! Refusals: a log signs which rule a record broke, so that whoever wrote it can show that, and anybody can judge again.
//! Never logged.

use counterfoil_merkle::TreeSize;

use crate::{
    code::codes,
    envelope::Id,
    json::{
        field::{FieldError, Object, Reason},
        write::ObjectWriter,
    },
    timestamp::Timestamp,
};

/// What a `refusal` says: this record, judged against that many entries at that time, broke this rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The record.
    pub id: Id,
    /// The rule that it broke.
    pub rule: Rule,
    /// How many entries it was judged against.
    pub size: TreeSize,
    /// When.
    pub at: Timestamp,
}

codes! {
    /// The rules of admission. `RECORDS.md` says what breaks each.
    Rule {
        /// The statement is not of the form of its kind.
        Statement = "statement",
        /// It is meant for another log.
        Log = "log",
        /// Records of this kind are never logged.
        NeverLogged = "never_logged",
        /// The first record is the rules.
        FirstRecord = "first_record",
        /// The operator signs this.
        Operator = "operator",
        /// A registrar signs this.
        Registrar = "registrar",
        /// The signer has no key record.
        KeyUnknown = "key_unknown",
        /// The signer has not the role.
        KeyRole = "key_role",
        /// The signer's registration is not valid now.
        KeyWindow = "key_window",
        /// The key was revoked.
        KeyRevoked = "key_revoked",
        /// More keys that nobody registered were revoked than can be remembered.
        KeysFull = "keys_full",
        /// A revocation is about the key's own record.
        Card = "card",
        /// The record it is about is not in the log.
        AboutMissing = "about_missing",
        /// It cannot be about a record of that kind.
        AboutKind = "about_kind",
        /// What it depends on was erased.
        AboutErased = "about_erased",
        /// The signer is none of those who may.
        Signer = "signer",
        /// Nobody decides on their own case.
        OwnCase = "own_case",
        /// The ground does not fit what is disputed.
        Ground = "ground",
        /// The deadline cannot be.
        Deadline = "deadline",
        /// A key is not disowned from a time to come.
        Since = "since",
        /// The promise is not due yet.
        PromiseEarly = "promise_early",
    }
}

impl Refusal {
    pub(super) fn read(members: &mut Object<'_, '_>) -> Result<Self, FieldError> {
        let id = members.required("id")?.parse()?;
        let rule = members.required("rule")?.code(Rule::CODES)?;
        let size = members.required("size")?;
        let number = TreeSize::new(size.integer()?)
            .map_err(|_| size.error(Reason::Rule("must be the size of a tree")))?;
        let at = Timestamp::read(&members.required("at")?)?;
        Ok(Self { id, rule, size: number, at })
    }

    pub(super) fn write(&self, members: &mut ObjectWriter<'_>) {
        members.display("id", self.id);
        members.string("rule", self.rule.as_str());
        members.integer("size", self.size.get());
        members.integer("at", self.at.millis());
    }
}
