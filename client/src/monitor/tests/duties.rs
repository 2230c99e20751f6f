//! Answers and remedies that are due, and what records are about.

use counterfoil_merkle::Hash;
use counterfoil_receipt::{
    SigningKey,
    statement::{
        Dispute, Ground, Predicate, RemedyKind, Resolution, Response, Subject, Undertaking,
        resolution::{self, Decider},
        response::Stance,
    },
};

use super::*;

const DAY_S: u64 = 86_400;

impl Watch {
    /// Takes a record about another, signed by the key of that seed; its leaf hash.
    fn about(&mut self, seed: u8, leaf: Hash, predicate: Predicate) -> Hash {
        let key = SigningKey::from_ed25519_seed(&[seed; 32]);
        self.log.push(&key, Subject::Record(leaf), None, predicate);
        self.leaf(self.log.items.len() - 1)
    }

    fn leaf(&self, index: usize) -> Hash {
        Hash::leaf(&self.log.items[index].0)
    }

    /// What a monitor finds that never looked before.
    async fn shown_to_another(&self) -> Vec<String> {
        let state = self.state.with_file_name("another");
        let known = self.log.known();
        let vantages = vec![Vantage::direct(source(&known.url))];
        let mut monitor = Monitor::open(&state, &known, vantages, settings()).unwrap();
        let report = look(&mut monitor, Timestamp::from_millis(1000 * self.now_s).unwrap()).await;
        report.findings().iter().map(|finding| format!("{} at {}", finding.code, finding.place)).collect()
    }

    /// Both clocks go on, and the log attests the present time. Nothing is logged.
    fn wait(&mut self, seconds: u64) {
        self.now_s += seconds;
        self.log.now_s += seconds;
        self.log.publish();
    }
}

fn dispute() -> Predicate {
    Predicate::Dispute(Box::new(Dispute {
        grounds: vec![Ground::Billing],
        harm: None,
        remedy: None,
        statement: None,
        evidence: vec![],
        accountable: None,
        outside: None,
    }))
}

fn response() -> Predicate {
    let position = Stance::Reject;
    Predicate::Response(Response {
        position,
        reasons: vec![],
        statement: None,
        evidence: vec![],
        remedy: None,
    })
}

/// A receipt's issuer signs with this seed in an evil log.
const ISSUER: u8 = 1;

/// A dispute is not answered, and nothing else happens either: told once when the log's clock has gone past the deadline, whether or
/// not the monitor was started anew in between.
#[tokio::test]
async fn silence_is_told_once_and_needs_no_record() {
    let mut watch = Watch::verified(5).await;
    let disputed = watch.leaf(3);
    watch.about(7, disputed, dispute());
    watch.wait(0);
    assert_eq!(watch.shown().await, [""; 0]);
    watch.wait(30 * DAY_S);
    watch.restart().unwrap();
    assert_eq!(watch.shown().await, [""; 0], "the last moment is in time");
    watch.wait(1);
    let report = watch.round().await;
    let [finding] = report.findings() else { panic!("{report:?}") };
    assert_eq!(finding.to_string().split(':').next(), Some("ISSUER answer-overdue at entry 5"));
    assert!(finding.message.contains("did not answer by") && finding.message.contains("a receipt of"));
    for _ in 0..2 {
        assert_eq!(watch.shown().await, [""; 0]);
        watch.restart().unwrap();
        watch.wait(60);
    }
    // A late answer is no news.
    let dispute = watch.leaf(5);
    watch.about(ISSUER, dispute, response());
    watch.wait(1);
    assert_eq!(watch.shown().await, [""; 0]);
}

/// What was not recorded when a deadline passed is told again, and the state does not go past it.
#[tokio::test]
async fn silence_that_nobody_was_told_of_is_told_again() {
    let mut watch = Watch::verified(2).await;
    let disputed = watch.leaf(1);
    watch.about(7, disputed, dispute());
    watch.wait(0);
    assert_eq!(watch.shown().await, [""; 0]);
    watch.wait(31 * DAY_S);
    let now = Timestamp::from_millis(1000 * watch.now_s).unwrap();
    let mut outside = Outside {
        now: &move || now,
        progress: &|_, _| (),
        notes: &[],
        observe: &mut |_, _| (),
        record: &mut |_| Err(StateError::Record("the disk is full".into())),
    };
    assert!(watch.monitor.as_mut().unwrap().round(&mut outside).await.is_err());
    assert_eq!(watch.shown().await, ["answer-overdue at entry 2"]);
    assert_eq!(watch.shown().await, [""; 0]);
}

/// Who answers in time is not told of; whoever reads it all later is told of the same silences, and of no others.
#[tokio::test]
async fn the_same_is_told_whenever_the_log_is_read() {
    let mut watch = Watch::verified(5).await;
    let receipts: Vec<_> = (1..5).map(|index| watch.leaf(index)).collect();
    let disputes: Vec<_> = receipts.iter().map(|receipt| watch.about(7, *receipt, dispute())).collect();
    watch.wait(DAY_S);
    let mut told = watch.shown().await;
    watch.about(ISSUER, disputes[0], response());
    watch.about(8, disputes[1], response());
    let undertaking = Undertaking {
        remedy: RemedyKind::Correction,
        due: Timestamp::from_millis(1000 * (watch.log.now_s + DAY_S)).unwrap(),
    };
    let decided = Predicate::Resolution(Resolution {
        role: Decider::Arbiter,
        findings: vec![resolution::Finding { ground: Ground::Billing, outcome: resolution::Outcome::Upheld }],
        remedy: Some(undertaking),
        appeal_until: None,
        reference: None,
        statement: None,
        dissent: None,
    });
    watch.about(9, disputes[2], decided);
    watch.wait(1);
    told.extend(watch.shown().await);
    watch.wait(2 * DAY_S);
    told.extend(watch.shown().await);
    assert_eq!(told, ["remedy-overdue at entry 11"]);
    watch.wait(31 * DAY_S);
    watch.about(ISSUER, disputes[3], response());
    watch.wait(1);
    let mut late = watch.shown().await;
    late.sort();
    assert_eq!(late, ["answer-overdue at entry 6", "answer-overdue at entry 8"]);
    told.extend(late);
    let mut other = watch.shown_to_another().await;
    other.sort();
    told.sort();
    assert_eq!(other, told);
}

/// While a dispute's receipt is too old to be kept in mind and cannot be read again, nothing is passed over: once it can, the dispute
/// is followed as any other.
#[tokio::test]
async fn old_receipts_are_read_again() {
    let mut watch = Watch::verified(3 * FULL).await;
    watch.restart().unwrap();
    let (old, newer) = (watch.leaf(300), watch.leaf(700));
    watch.about(7, old, dispute());
    watch.about(7, newer, dispute());
    watch.wait(0);
    watch.log.remove("tile/entries/001");
    assert_eq!(watch.codes().await, ["tile-unavailable"]);
    assert_eq!(watch.size(), 3 * FULL as u64);
    watch.log.publish();
    let mut seen = Vec::new();
    let now = Timestamp::from_millis(1000 * watch.now_s).unwrap();
    let mut outside = Outside {
        now: &move || now,
        progress: &|_, _| (),
        notes: &[],
        observe: &mut |sight, _| {
            let Sight::Record(record) = sight else { panic!("{sight:?}") };
            seen.push(record.about.map(|about| (about.index.get(), about.issuer.to_string())));
        },
        record: &mut |_| Ok(()),
    };
    watch.monitor.as_mut().unwrap().round(&mut outside).await.unwrap();
    let issuer = SigningKey::from_ed25519_seed(&[ISSUER; 32]).public().to_string();
    assert_eq!(seen, [Some((300, issuer.clone())), Some((700, issuer))]);
    watch.wait(31 * DAY_S);
    assert_eq!(watch.shown().await, ["answer-overdue at entry 768", "answer-overdue at entry 769"]);
}

/// Another entry in the place of an old one is not believed, and is named.
#[tokio::test]
async fn old_receipts_cannot_be_replaced() {
    let mut watch = Watch::verified(2 * FULL).await;
    watch.restart().unwrap();
    let old = watch.leaf(10);
    watch.about(7, old, dispute());
    let good = watch.log.items.clone();
    watch.log.items.swap(10, 11);
    watch.log.publish();
    let swapped = watch.log.directory.join("tile/entries/000");
    let bad = fs::read(&swapped).unwrap();
    watch.log.items = good;
    watch.wait(0);
    fs::write(&swapped, bad).unwrap();
    assert_eq!(watch.codes().await, ["entry-changed"]);
    assert_eq!(watch.size(), 2 * FULL as u64);
}

/// A log that takes a record about nothing is caught, by entries alone.
#[tokio::test]
async fn records_about_nothing_are_the_logs_fault() {
    let mut watch = Watch::verified(5).await;
    let next = Hash::leaf(b"none");
    watch.about(7, next, dispute());
    let receipt = watch.leaf(2);
    watch.about(7, receipt, dispute());
    watch.wait(0);
    assert_eq!(watch.shown().await, ["not-admitted at entry 5"]);
}
