//! Records of all kinds that concern one another, and records that break a rule each. All of it follows from a seed.

mod bad;
mod good;

use std::time::{SystemTime, UNIX_EPOCH};

use counterfoil_merkle::Hash;
use counterfoil_receipt::{
    Envelope, Id, Kind, SigningKey, Statement, Timestamp,
    statement::{
        Card, Frame, Ground, Issuer, Key, Nonce, Number, Numbering, Predicate, Registration, Role, Rule,
        StreamId, Subject, receipt::Outcome,
    },
};
use counterfoil_tests::Deployment;

/// A record, and what must become of it.
pub(super) struct Made {
    /// What it is, for whoever reads that it went wrong.
    pub(super) what: &'static str,
    /// The record.
    pub(super) envelope: Envelope,
    /// The rule that it breaks, if it does.
    pub(super) due: Option<Rule>,
    kind: Kind,
    trace: Trace,
}

impl Made {
    pub(super) const fn kind(&self) -> Kind {
        self.kind
    }
}

/// What is remembered of a record that is logged, so that others can be about it.
#[derive(Clone, Copy, Default)]
enum Trace {
    #[default]
    None,
    Receipt {
        issuer: usize,
        claim: u64,
    },
    Dispute {
        issuer: usize,
        /// The claim key's number; else a disputant signed.
        claim: Option<u64>,
        /// Whether it is about a verdict or a resolution: then the respondent is no issuer.
        special: bool,
    },
    Verdict {
        verifier: usize,
        issuer: usize,
        claim: u64,
    },
    /// A response, or a resolution.
    Undertaking {
        issuer: usize,
        decision: bool,
    },
    Key {
        spare: u64,
    },
    Revoked {
        spare: u64,
    },
}

/// A record in the log that others can be about.
struct Target {
    leaf: Hash,
    trace: Trace,
}

/// Somebody who issues, with a stream.
struct IssuerOf {
    key: SigningKey,
    stream: StreamId,
    next: u64,
    previous: Option<Id>,
}

/// Makes records. What a record is about is always of an earlier batch, so that it is known what it will be judged by.
pub(super) struct Maker {
    origin: String,
    seed: u64,
    thrown: u64,
    operator: SigningKey,
    registrar: SigningKey,
    issuers: Vec<IssuerOf>,
    verifiers: Vec<SigningKey>,
    disputants: Vec<SigningKey>,
    arbiters: Vec<SigningKey>,
    expired: SigningKey,
    /// Issuer and arbiter at once, and a dispute of a receipt of its own.
    both: SigningKey,
    own_dispute: Hash,
    past: Timestamp,
    future: Timestamp,
    receipts: Vec<Target>,
    verdicts: Vec<Target>,
    disputes: Vec<Target>,
    undertakings: Vec<Target>,
    /// Keys that are registered and sign nothing, and their key records.
    spares: Vec<Target>,
    revoked: Vec<u64>,
    /// What this batch adds to the above.
    fresh: Vec<Target>,
    /// Whether this batch has a revocation already.
    revoking: bool,
    spare: u64,
    claims: u64,
    body: String,
    begun: Vec<Kind>,
}

impl Maker {
    /// Somebody who knows a log's keys and has everybody registered.
    pub(super) fn new(log: &Deployment, seed: u64) -> Self {
        let key = |role: &str, number: usize| {
            let seed = Hash::of(&[b"mixed", &seed.to_be_bytes(), role.as_bytes(), &number.to_be_bytes()]);
            SigningKey::from_ed25519_seed(seed.as_bytes())
        };
        let several = |role: &str, count| (0..count).map(|number| key(role, number)).collect::<Vec<_>>();
        let issuer = |key: SigningKey| IssuerOf {
            stream: StreamId::new(
                *Hash::leaf(key.public().as_str().as_bytes()).as_bytes().first_chunk().unwrap(),
            ),
            key,
            next: 0,
            previous: None,
        };
        let issuers = several("issuer", 8).into_iter().map(issuer).collect();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let day = |seconds: u64| Timestamp::from_millis(1000 * seconds).unwrap();
        let mut maker = Self {
            origin: log.origin.clone(),
            seed,
            thrown: 0,
            operator: log.operator(),
            registrar: log.registrar(),
            issuers,
            verifiers: several("verifier", 6),
            disputants: several("disputant", 6),
            arbiters: several("arbiter", 6),
            expired: key("expired", 0),
            both: key("both", 0),
            own_dispute: Hash::EMPTY_ROOT,
            past: day(now - 86_400),
            future: day(now + 86_400),
            receipts: Vec::new(),
            verdicts: Vec::new(),
            disputes: Vec::new(),
            undertakings: Vec::new(),
            spares: Vec::new(),
            revoked: Vec::new(),
            fresh: Vec::new(),
            revoking: false,
            spare: 0,
            claims: 0,
            body: String::new(),
            begun: Vec::new(),
        };
        maker.register(log);
        maker
    }

    /// Has everybody registered, and makes a case in which an arbiter is a party.
    fn register(&mut self, log: &Deployment) {
        let mut register = |key: &SigningKey, roles: &[Role]| {
            log.register(key, "Party", roles);
            self.begun.push(Kind::Key);
        };
        self.issuers.iter().for_each(|issuer| register(&issuer.key, &[Role::Issuer]));
        self.verifiers.iter().for_each(|key| register(key, &[Role::Verifier]));
        self.disputants.iter().for_each(|key| register(key, &[Role::Disputant]));
        self.arbiters.iter().for_each(|key| register(key, &[Role::Arbiter]));
        register(&self.both, &[Role::Issuer, Role::Arbiter]);
        log.register_for(&self.expired, "Expired", &[Role::Verifier], None, Timestamp::from_millis(1));
        let (both, disputant) = (self.both.clone(), self.disputants[0].clone());
        let own = good::receipt(&self.claim(0), "m-1", Outcome::Complete);
        let own = log.put(&self.sign(&both, good::exchange([1; 32]), own));
        let dispute = good::dispute(Ground::Billing, None);
        self.own_dispute = log.put(&self.sign(&disputant, Subject::Record(own), dispute));
        self.begun.extend([Kind::Key, Kind::Receipt, Kind::Dispute]);
    }

    /// The kinds of the records that are logged already, after the rules.
    pub(super) fn begun(&self) -> &[Kind] {
        &self.begun
    }

    /// The next records: about one in nine breaks a rule.
    pub(super) fn batch(&mut self, count: usize) -> Vec<Made> {
        self.revoking = false;
        let mut batch = Vec::with_capacity(count);
        while batch.len() < count {
            let made = if self.below(9) == 0 { self.bad() } else { self.good() };
            batch.extend(made);
        }
        self.body = batch.iter().map(|made: &Made| made.envelope.to_json() + "\n").collect();
        batch
    }

    /// The last batch, as it is sent.
    pub(super) fn last(&self) -> &str {
        &self.body
    }

    /// A record is in the log.
    pub(super) fn logged(&mut self, made: Made, leaf: Hash) {
        self.fresh.push(Target { leaf, trace: made.trace });
    }

    /// All of the batch is in the log: what comes now can be about it.
    pub(super) fn settle(&mut self) {
        for target in std::mem::take(&mut self.fresh) {
            let list = match &target.trace {
                Trace::None => continue,
                Trace::Receipt { .. } => &mut self.receipts,
                Trace::Dispute { .. } => &mut self.disputes,
                Trace::Verdict { .. } => &mut self.verdicts,
                Trace::Undertaking { .. } => &mut self.undertakings,
                Trace::Key { .. } => &mut self.spares,
                Trace::Revoked { spare } => {
                    self.revoked.push(*spare);
                    continue;
                }
            };
            list.push(target);
        }
    }

    fn bytes(&mut self) -> [u8; 32] {
        self.thrown += 1;
        *Hash::of(&[b"mixed", &self.seed.to_be_bytes(), &self.thrown.to_be_bytes()]).as_bytes()
    }

    fn below(&mut self, end: usize) -> usize {
        let [a, b, c, d, ..] = self.bytes();
        usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap() % end
    }

    fn of<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())]
    }

    /// The claim key of that number.
    fn claim(&self, number: u64) -> SigningKey {
        let seed = Hash::of(&[b"claim", &self.seed.to_be_bytes(), &number.to_be_bytes()]);
        SigningKey::from_ed25519_seed(seed.as_bytes())
    }

    /// The spare key of that number.
    fn spare(&self, number: u64) -> SigningKey {
        let seed = Hash::of(&[b"spare", &self.seed.to_be_bytes(), &number.to_be_bytes()]);
        SigningKey::from_ed25519_seed(seed.as_bytes())
    }

    fn statement(&mut self, key: &SigningKey, subject: Subject, predicate: Predicate) -> Statement {
        let nonce: [u8; 16] = self.bytes()[..16].try_into().unwrap();
        // A number of a stream of its own, where it must have one and is not to be taken.
        let stream = StreamId::new(nonce);
        let numbering = predicate.kind().is_numbered().then_some(Numbering {
            stream,
            number: Number::FIRST,
            previous: None,
        });
        let issuer = Issuer { key: key.public().clone(), software: None };
        let frame = Frame { nonce: Nonce::new(nonce), log: self.origin.parse().unwrap(), issuer, numbering };
        Statement { subject, frame, predicate }
    }

    fn sign(&mut self, key: &SigningKey, subject: Subject, predicate: Predicate) -> Envelope {
        self.statement(key, subject, predicate).sign(key).unwrap().into_envelope()
    }

    /// The card of a key.
    fn card(&mut self, key: &SigningKey, role: Role) -> Envelope {
        let card = Card { name: "Spare".parse().unwrap(), contact: None, roles: vec![role] };
        self.sign(key, Subject::Log, Predicate::Key(Key::Card(card)))
    }

    /// The registration of a key.
    fn registration(&mut self, key: &SigningKey, role: Role) -> Predicate {
        let card = self.card(key, role);
        let registration = Registration::new(card, &self.origin.parse().unwrap()).unwrap();
        Predicate::Key(Key::Registration(Box::new(registration)))
    }
}
