//! The rules, kind by kind: what `RECORDS.md` says under "Who may sign, about what".

use counterfoil_merkle::Hash;

use super::{
    Candidate, Pass, Refused, Unseen,
    chain::{Chain, Link},
    ledger::Ledger,
};
use crate::{
    key::PublicKey,
    statement::{
        Dispute, Ground, Key, Kind, Predicate, Registration, Resolution, Revocation, Role, Undertaking,
        dispute::Outside, resolution::Decider,
    },
    timestamp::Timestamp,
};

/// The latest that something can be due: ten years after the record that says so.
pub const DUE_WITHIN_MS_MAX: u64 = 3653 * 86_400_000;

impl Ledger {
    /// May this record be the next one, dated `at`?
    ///
    /// `chain` is what the log has of the records that it is about, filled. Costs a look at one or two keys.
    ///
    /// # Panics
    /// If the chain is not filled.
    pub fn judge(&self, record: &Candidate<'_>, chain: &Chain, at: Timestamp) -> Result<Pass, Refused> {
        assert_eq!(chain.wants(), None, "a chain is filled before it is judged by");
        if let Some(statement) = record.statement
            && statement.frame.log != *self.log()
        {
            return Err(Refused::OtherLog { log: self.log().clone(), meant: statement.frame.log.clone() });
        }
        if !record.kind.is_logged() {
            return Err(Refused::NeverLogged { kind: record.kind });
        }
        if self.size().get() == 0 {
            return first(record);
        }
        self.check_not_revoked(record.issuer)?;
        if let Some(leaf) = chain.missing() {
            return Err(Refused::AboutMissing { leaf });
        }
        if record.statement.is_none() && Self::is_changed_by(record.kind) {
            return Ok(Pass::InPart(Unseen::Statement));
        }
        let pass = Judging { ledger: self, record, chain, at }.judge()?;
        Ok(if record.statement.is_none() && pass == Pass::Whole {
            Pass::InPart(Unseen::Statement)
        } else {
            pass
        })
    }
}

/// The first record says who may write the others.
fn first(record: &Candidate<'_>) -> Result<Pass, Refused> {
    if record.kind != Kind::Rules {
        return Err(Refused::FirstRecord);
    }
    match record.statement.map(|statement| &statement.predicate) {
        None => Ok(Pass::InPart(Unseen::Statement)),
        Some(Predicate::Rules(rules)) if rules.operator == *record.issuer => Ok(Pass::Whole),
        Some(_) => Err(Refused::FirstRecord),
    }
}

struct Judging<'j> {
    ledger: &'j Ledger,
    record: &'j Candidate<'j>,
    chain: &'j Chain,
    at: Timestamp,
}

/// Who is complained about, as far as it can be seen.
enum Respondent<'j> {
    Key(&'j PublicKey),
    Unseen(Hash),
}

impl<'j> Judging<'j> {
    fn judge(&self) -> Result<Pass, Refused> {
        match self.record.kind {
            Kind::Receipt | Kind::Void | Kind::Epoch | Kind::Policy => self.role(Role::Issuer),
            Kind::Rules | Kind::Clock => self.operator(),
            Kind::Key => self.key(),
            Kind::Revocation => self.revocation(),
            Kind::Verdict => {
                self.about(&[Kind::Receipt])?;
                self.role(Role::Verifier)
            }
            Kind::Dispute => self.dispute(),
            Kind::Response => self.response(),
            Kind::Resolution => self.resolution(),
            Kind::Remedy => self.remedy(),
            Kind::Correction => self.correction(),
            Kind::Erasure => self.erasure(),
            kind @ (Kind::Promise | Kind::Refusal) => Err(Refused::NeverLogged { kind }),
        }
    }

    /// The statement's predicate, if the statement is there. Without it, what only it shows is not judged.
    fn predicate(&self) -> Option<&'j Predicate> {
        self.record.statement.map(|statement| &statement.predicate)
    }

    fn role(&self, role: Role) -> Result<Pass, Refused> {
        self.ledger.check_role(self.record.issuer, role, self.at)?;
        Ok(Pass::Whole)
    }

    fn holds(&self, role: Role) -> bool {
        self.ledger.check_role(self.record.issuer, role, self.at).is_ok()
    }

    fn operator(&self) -> Result<Pass, Refused> {
        if self.ledger.is_operator(self.record.issuer) { Ok(Pass::Whole) } else { Err(Refused::Operator) }
    }

    fn key(&self) -> Result<Pass, Refused> {
        let signer = self.record.issuer;
        match self.predicate() {
            Some(Predicate::Key(Key::Registration(registration))) => self.registration(registration),
            _ if self.ledger.is_open() => Ok(Pass::Whole),
            _ => Err(Refused::Registrar { key: signer.clone() }),
        }
    }

    fn registration(&self, registration: &Registration) -> Result<Pass, Refused> {
        let signer = self.record.issuer;
        let gives_registrar = registration.roles.contains(&Role::Registrar);
        let may = self.ledger.is_first_registrar(signer)
            || (!gives_registrar && self.ledger.is_registrar(signer, self.at));
        if !may {
            return Err(Refused::Registrar { key: signer.clone() });
        }
        self.ledger.check_not_revoked(registration.key())?;
        Ok(Pass::Whole)
    }

    fn revocation(&self) -> Result<Pass, Refused> {
        let signer = self.record.issuer;
        if self.record.about.is_some() {
            self.about(&[Kind::Key])?;
        }
        let Some(Predicate::Revocation(revocation)) = self.predicate() else { return Ok(Pass::Whole) };
        let registrar = self.ledger.is_registrar(signer, self.at);
        let Revocation { key, since, .. } = revocation;
        let registered = self.ledger.registered(key);
        let own = signer == key && (registered.is_some() || self.ledger.is_open());
        if !registrar && !own {
            return Err(Refused::Registrar { key: signer.clone() });
        }
        let right = match registered {
            Some(registered) => self.record.about == Some(registered.record),
            // In an open log a key may have a card of its own making.
            None => self.nearest().is_none_or(|card| card.entry.issuer == *key),
        };
        if !right {
            return Err(Refused::Card { record: registered.map(|registered| registered.record) });
        }
        let stranger = registered.is_none() && !self.ledger.is_revoked(key);
        if stranger && !self.ledger.has_room_for_strangers() {
            return Err(Refused::KeysFull);
        }
        match since {
            Some(since) if *since > self.at => Err(Refused::Since { since: *since, at: self.at }),
            _ => Ok(Pass::Whole),
        }
    }

    fn dispute(&self) -> Result<Pass, Refused> {
        let signer = self.record.issuer;
        let dispute = match self.predicate() {
            Some(Predicate::Dispute(dispute)) => Some(dispute),
            _ => None,
        };
        let Some(disputed) = self.nearest() else {
            // That its signer is the claim key inside was checked when the statement was read.
            return match dispute.map(|dispute| &dispute.outside) {
                Some(Some(Outside::Promise(promise))) => self.promise_due(promise),
                Some(_) => Ok(Pass::Whole),
                None => Ok(Pass::Whole),
            };
        };
        self.about(&[Kind::Receipt, Kind::Correction, Kind::Verdict, Kind::Resolution])?;
        if disputed.entry.kind == Kind::Resolution
            && self.chain.links().get(2).is_some_and(|link| link.entry.kind == Kind::Resolution)
        {
            return Err(Refused::AboutKind { kind: Kind::Dispute, about: Kind::Resolution, appeal: true });
        }
        let seen = self.may_dispute(signer, disputed)?;
        match dispute {
            None => Ok(Pass::Whole),
            Some(dispute) => fits(dispute, disputed.entry.kind).map(|()| seen),
        }
    }

    /// Whether this key may dispute a record: as the claim key of the receipt that it is all about, as a disputant; and where a
    /// third party has spoken, as the receipt's issuer.
    fn may_dispute(&self, signer: &PublicKey, disputed: &Link) -> Result<Pass, Refused> {
        let links = self.chain.links();
        let root = links.last().unwrap_or(disputed);
        let party = root.entry.claim.as_ref() == Some(signer)
            || links.iter().any(|link| link.entry.kind == Kind::Dispute && link.entry.issuer == *signer);
        if party || self.holds(Role::Disputant) {
            return Ok(Pass::Whole);
        }
        if !matches!(disputed.entry.kind, Kind::Verdict | Kind::Resolution) {
            return Err(Refused::Signer { key: signer.clone() });
        }
        let issuer = match root.entry.kind {
            Kind::Dispute => respondent_outside(root),
            _ => Respondent::Key(&root.entry.issuer),
        };
        self.acts_for(issuer)
    }

    fn promise_due(&self, promise: &crate::statement::Enclosed) -> Result<Pass, Refused> {
        match &promise.statement().predicate {
            Predicate::Promise(promise) if self.at <= promise.by => {
                Err(Refused::PromiseEarly { by: promise.by, at: self.at })
            }
            _ => Ok(Pass::Whole),
        }
    }

    fn response(&self) -> Result<Pass, Refused> {
        self.about(&[Kind::Dispute])?;
        let pass = self.by_respondent_or_issuer()?;
        match self.predicate() {
            Some(Predicate::Response(response)) => self.due(response.remedy.as_ref()).map(|()| pass),
            _ => Ok(Pass::Whole),
        }
    }

    fn remedy(&self) -> Result<Pass, Refused> {
        self.about(&[Kind::Resolution, Kind::Response])?;
        self.by_respondent_or_issuer()
    }

    /// The respondent of the dispute, or any issuer: a receipt may name another as accountable, which its entry does not show.
    fn by_respondent_or_issuer(&self) -> Result<Pass, Refused> {
        if self.holds(Role::Issuer) {
            return Ok(Pass::Whole);
        }
        self.acts_for(self.respondent()?)
    }

    fn resolution(&self) -> Result<Pass, Refused> {
        self.about(&[Kind::Dispute])?;
        let Some(Predicate::Resolution(resolution)) = self.predicate() else {
            return Ok(Pass::Whole);
        };
        let pass = self.decider(resolution)?;
        self.due(resolution.remedy.as_ref())?;
        self.check_deadline(resolution.appeal_until)?;
        Ok(pass)
    }

    fn decider(&self, resolution: &Resolution) -> Result<Pass, Refused> {
        let signer = self.record.issuer;
        match resolution.role {
            Decider::Respondent => self.acts_for(self.respondent()?),
            Decider::Agreed => {
                let disputant = self.nearest().is_some_and(|dispute| dispute.entry.issuer == *signer);
                if disputant { Ok(Pass::Whole) } else { Err(Refused::Signer { key: signer.clone() }) }
            }
            Decider::Arbiter | Decider::Authority => {
                self.ledger.check_role(signer, Role::Arbiter, self.at)?;
                self.not_own_case()
            }
        }
    }

    /// Nobody who signed one of the records in question, or for whose exchange it is, decides about it.
    fn not_own_case(&self) -> Result<Pass, Refused> {
        let signer = self.record.issuer;
        let own = |link: &Link| {
            self.ledger.acts_for(signer, &link.entry.issuer) || link.entry.claim.as_ref() == Some(signer)
        };
        let links = self.chain.links();
        let outside = links.iter().filter_map(Link::outside_issuer);
        if links.iter().any(own) || outside.into_iter().any(|key| self.ledger.acts_for(signer, key)) {
            return Err(Refused::OwnCase { key: signer.clone() });
        }
        match links.iter().find(|link| link.is_blind()) {
            Some(link) => Ok(Pass::InPart(Unseen::Case { leaf: link.leaf })),
            None => Ok(Pass::Whole),
        }
    }

    fn correction(&self) -> Result<Pass, Refused> {
        let receipt = self.about(&[Kind::Receipt])?;
        self.acts_for(Respondent::Key(&receipt.entry.issuer))
    }

    fn erasure(&self) -> Result<Pass, Refused> {
        let erased = self.nearest().ok_or(Refused::AboutNothing { kind: Kind::Erasure })?;
        if !erased.entry.kind.is_erasable() {
            return Err(self.wrong_kind(erased));
        }
        let signer = self.record.issuer;
        if erased.entry.claim.as_ref() == Some(signer) || self.ledger.is_operator(signer) {
            return Ok(Pass::Whole);
        }
        self.acts_for(Respondent::Key(&erased.entry.issuer))
    }

    /// The record it is about.
    fn nearest(&self) -> Option<&'j Link> {
        self.chain.links().first()
    }

    /// The record it is about, which must be of one of these kinds.
    fn about(&self, kinds: &[Kind]) -> Result<&'j Link, Refused> {
        match self.nearest() {
            Some(link) if kinds.contains(&link.entry.kind) => Ok(link),
            Some(link) => Err(self.wrong_kind(link)),
            None => Err(Refused::AboutNothing { kind: self.record.kind }),
        }
    }

    fn wrong_kind(&self, about: &Link) -> Refused {
        Refused::AboutKind { kind: self.record.kind, about: about.entry.kind, appeal: false }
    }

    /// Who has to answer the dispute in the chain: the issuer of the record disputed.
    fn respondent(&self) -> Result<Respondent<'j>, Refused> {
        let links = self.chain.links();
        let dispute = links.iter().position(|link| link.entry.kind == Kind::Dispute);
        let dispute = dispute.ok_or(Refused::AboutNothing { kind: self.record.kind })?;
        Ok(match links.get(dispute + 1) {
            Some(disputed) => Respondent::Key(&disputed.entry.issuer),
            None => respondent_outside(&links[dispute]),
        })
    }

    fn acts_for(&self, respondent: Respondent<'_>) -> Result<Pass, Refused> {
        let signer = self.record.issuer;
        match respondent {
            Respondent::Key(key) if self.ledger.acts_for(signer, key) => Ok(Pass::Whole),
            Respondent::Key(_) => Err(Refused::Signer { key: signer.clone() }),
            Respondent::Unseen(leaf) => Ok(Pass::InPart(Unseen::Right { leaf })),
        }
    }

    fn due(&self, undertaking: Option<&Undertaking>) -> Result<(), Refused> {
        self.check_deadline(undertaking.map(|undertaking| undertaking.due))
    }

    fn check_deadline(&self, due: Option<Timestamp>) -> Result<(), Refused> {
        match due {
            Some(due) if due <= self.at || due > self.at.plus(DUE_WITHIN_MS_MAX) => {
                Err(Refused::Deadline { due, at: self.at })
            }
            _ => Ok(()),
        }
    }
}

/// Who issued what a dispute is about that lies outside the log.
fn respondent_outside(dispute: &Link) -> Respondent<'_> {
    dispute.outside_issuer().map_or(Respondent::Unseen(dispute.leaf), Respondent::Key)
}

/// Whether the grounds fit what is disputed.
fn fits(dispute: &Dispute, about: Kind) -> Result<(), Refused> {
    let special = match about {
        Kind::Verdict => Some(Ground::VerdictWrong),
        Kind::Resolution => Some(Ground::ResolutionWrong),
        _ => None,
    };
    let fits = |ground: &Ground| match special {
        Some(special) => *ground == special,
        None => !matches!(ground, Ground::VerdictWrong | Ground::ResolutionWrong),
    };
    match dispute.grounds.iter().find(|ground| !fits(ground)) {
        Some(&ground) => Err(Refused::Ground { ground, about }),
        None => Ok(()),
    }
}
