//! An agenda says of a whole log what dockets say of each receipt.

use std::collections::{BTreeSet, HashMap};

use super::*;
use crate::{
    Timestamp,
    statement::{Receipt, Sealable, Subject, groups::Accountable},
    testing::public,
};

/// Somebody who reads a log as it grows, and keeps what must be known of records.
#[derive(Default)]
struct Reader {
    agenda: Agenda,
    known: HashMap<Hash, Known>,
    read: usize,
    lapsed: Vec<Duty>,
}

impl Reader {
    fn read(&mut self, world: &World, moment: Timestamp) {
        for index in self.read..world.records.len() {
            let Record { index, leaf, entry, statement } = world.record(index);
            self.lapsed.extend(self.agenda.lapse(entry.at));
            let about = entry.about.and_then(|about| self.known.get(&about));
            let known = self.agenda.take(index, leaf, &entry, statement.as_ref(), about);
            self.known.insert(leaf, known);
        }
        self.read = world.records.len();
        self.lapsed.extend(self.agenda.lapse(moment));
    }

    fn lapsed(&self) -> BTreeSet<Hash> {
        self.lapsed.iter().map(|duty| duty.leaf).collect()
    }
}

/// The disputes and undertakings whose deadlines passed unmet, as the docket of a matter says.
fn overdue(world: &World, matter: Hash, moment: Timestamp) -> BTreeSet<Hash> {
    let facts = docket(world, matter, world.records.len()).standing(moment).unwrap().facts;
    let unmet = |fact: &Fact| match fact.said {
        Said::Unanswered { .. } | Said::Overdue(_) => Some(fact.record),
        Said::Remedied { late: true, .. } => world.look_up(fact.record)?.entry.about,
        _ => None,
    };
    facts.iter().filter_map(unmet).collect()
}

/// What is open, as the docket says.
fn open(world: &World, matter: Hash, moment: Timestamp) -> BTreeSet<Hash> {
    let facts = docket(world, matter, world.records.len()).standing(moment).unwrap().facts;
    let open = |fact: &&Fact| matches!(fact.said, Said::Open { .. } | Said::Due(_));
    facts.iter().filter(open).map(|fact| fact.record).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever happens to two receipts in one log: at every size and moment, what has lapsed is what their dockets call unanswered
    /// or overdue, each once, and what is open is what they call open; and so it is for a reader who stops and goes on.
    #[test]
    fn an_agenda_says_what_dockets_say(
        steps in prop::collection::vec((any::<bool>(), step()), 1..40),
        policy_days in prop::option::of(1_u64..30),
    ) {
        let mut world = World::registered();
        if let Some(days) = policy_days {
            world.append("issuer", Subject::Log, policy(days * 86_400)).unwrap();
        }
        let receipts = [world.receipt("issuer", "claim"), world.receipt("issuer2", "claim2")];
        let mut leaves = receipts.map(|receipt| vec![receipt]);
        let mut reader = Reader::default();
        for (second, step) in &steps {
            try_step(&mut world, step, &mut leaves[usize::from(*second)], ["", "2"][usize::from(*second)]);
            world.wait(if step.wait { 10 } else { 12 * DAY });
            reader.read(&world, world.now());
            let at = world.now();
            let union = |of: &dyn Fn(&World, Hash, Timestamp) -> BTreeSet<Hash>| -> BTreeSet<Hash> {
                receipts.iter().flat_map(|receipt| of(&world, *receipt, at)).collect()
            };
            prop_assert_eq!(reader.lapsed(), union(&overdue));
            prop_assert_eq!(reader.lapsed.len(), reader.lapsed().len());
            let due: BTreeSet<_> = reader.agenda.duties().map(|duty| duty.leaf).collect();
            prop_assert_eq!(due, union(&open));
            let again = Agenda::from_parts(reader.agenda.parts());
            prop_assert_eq!(&again, &reader.agenda);
            reader.agenda = again;
        }
    }
}

/// Deadlines come from the newest policy before what is disputed, from the receipt, from the dispute's copy of it, or are 30 days;
/// who answers may be the issuer, the accountable party, or a successor; others do not count.
#[test]
fn who_answers_and_until_when() {
    let mut world = World::registered();
    let bare = world.receipt("issuer", "claim");
    let accountable = Accountable { key: public("issuer2"), respond_within: 7_200 };
    let Predicate::Receipt(named) = receipt(Some("claim")) else { unreachable!() };
    let group = Some(Sealable::Open(accountable.clone()));
    let named = Predicate::Receipt(Box::new(Receipt { accountable: group, ..*named }));
    let named = world.append("issuer", exchange(), named).unwrap();
    world.append("issuer", Subject::Log, policy(3_600)).unwrap();
    let promised = world.receipt("issuer", "claim");
    let Predicate::Dispute(copying) = dispute(Ground::Billing) else { unreachable!() };
    let copying = crate::statement::Dispute { accountable: Some(accountable), ..*copying };
    let copying = Predicate::Dispute(Box::new(copying));
    let disputes: Vec<_> = [(bare, 30 * DAY), (named, 7_200_000), (promised, 3_600_000)]
        .into_iter()
        .map(|(receipt, due)| (world.about("claim", receipt, copying.clone()).unwrap(), 1_000 + due))
        .collect();
    let due = |reader: &Reader| {
        let mut due: Vec<_> = reader.agenda.duties().map(|duty| (duty.leaf, duty.until.millis())).collect();
        due.sort();
        due
    };
    let mut expected = disputes.clone();
    expected.sort();
    let mut reader = Reader::default();
    reader.read(&world, world.now());
    assert_eq!(due(&reader), expected);

    // Who reads the log after the receipt was erased finds the same deadline in the dispute's copy.
    let mut erased = world.clone();
    erased.erase(named);
    let mut late = Reader::default();
    late.read(&erased, world.now());
    assert_eq!(due(&late), expected);

    let issuer = world.look_up(bare).unwrap().entry.issuer;
    for duty in reader.agenda.duties() {
        assert_eq!(duty.summons.respondent, issuer);
        assert_eq!(duty.receipt.as_ref().unwrap().issuer, issuer);
    }
    let answers = |world: &mut World, signer: &str, at: usize| {
        world.about(signer, disputes[at].0, response(Stance::Reject, None)).unwrap();
        let mut reader = Reader::default();
        reader.read(world, world.now());
        reader.agenda.duties().count()
    };
    assert_eq!(answers(&mut world, "issuer2", 0), 3, "a remark is no answer");
    assert_eq!(answers(&mut world, "issuer2", 1), 2, "the accountable party answers");
    let card = world.register("old", &[Role::Issuer]);
    world.about("old", card, revocation("old", None, Some("issuer"))).unwrap();
    assert_eq!(answers(&mut world, "issuer", 2), 1);
    let record = world.ledger.registered(&public("issuer")).unwrap().record;
    world.about("issuer", record, revocation("issuer", None, Some("issuer2"))).unwrap();
    assert_eq!(answers(&mut world, "issuer2", 0), 0, "a successor answers");
}

/// More is never kept than the limit says, and that something was left out is told.
#[test]
fn what_is_kept_is_bounded() {
    let mut world = World::registered();
    let receipt = world.receipt("issuer", "claim");
    world.about("claim", receipt, dispute(Ground::Billing)).unwrap();
    let record = world.record(world.records.len() - 1);
    let mut reader = Reader::default();
    reader.read(&world, world.now());
    let about = reader.known[&receipt].clone();
    for n in 1..DUTIES_MAX as u64 + 9 {
        assert_eq!(reader.agenda.has_overflowed(), n > DUTIES_MAX as u64);
        let leaf = Hash::leaf(&n.to_be_bytes());
        let _ =
            reader.agenda.take(record.index, leaf, &record.entry, record.statement.as_ref(), Some(&about));
    }
    assert_eq!(reader.agenda.duties().count(), DUTIES_MAX);
    assert_eq!(reader.agenda.lapse(at(1_000 + 30 * DAY)).len(), 0, "the last moment is in time");
    assert_eq!(reader.agenda.lapse(at(1_001 + 30 * DAY)).len(), DUTIES_MAX);
}
