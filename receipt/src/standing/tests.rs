mod agenda;
mod story;

use counterfoil_merkle::Hash;
use proptest::prelude::*;

use super::*;
use crate::{
    statement::{
        Ground, Predicate, RemedyKind, Role,
        resolution::Decider,
        response::Stance,
        rules::Mode,
        verdict::{ClaimKind, VerdictResult},
    },
    testing::{
        World, at, correction, dispute, erasure, exchange, policy, receipt, remedy, resolution, response,
        revocation, verdict,
    },
};

/// The docket of a record, over the first so many records of a log.
fn docket(world: &World, matter: Hash, size: usize) -> Docket {
    let mut docket = Docket::new(Matter::Record(matter));
    for index in 0..size {
        let record = world.record(index);
        let needs = docket.needs(record.leaf, &record.entry);
        docket.take(Record { statement: record.statement.filter(|_| needs), ..record });
    }
    docket
}

fn standing(world: &World, matter: Hash, moment: u64) -> Standing {
    docket(world, matter, world.records.len()).standing(at(moment)).unwrap()
}

/// The facts in a few words, without those about keys.
fn told(standing: &Standing) -> Vec<String> {
    let name = |party: &Party| party.name.as_ref().map_or_else(|| "somebody".to_owned(), ToString::to_string);
    let tell = |fact: &Fact| {
        let said = match &fact.said {
            Said::Claimed { by, says } => {
                format!("claimed by {}{}", name(by), if says.is_none() { ", erased" } else { "" })
            }
            Said::Verdict { by, says, superseded_by } => {
                let result = says.as_ref().map_or("erased", |says| says.result.as_str());
                format!("{} {result}{}", name(by), if superseded_by.is_some() { " once" } else { "" })
            }
            Said::Claim { claim, standing, .. } => format!("{claim} {standing}"),
            Said::Disputed { respondent, due, .. } => {
                format!("disputed, {} answers by {} ({})", name(respondent), due.at, due.by)
            }
            Said::Open { until } => format!("open until {until}"),
            Said::Unanswered { until } => {
                format!("unanswered{}", until.map_or_else(String::new, |until| format!(" until {until}")))
            }
            Said::Answered(answer) => format!(
                "answered by {} as {}{}",
                name(&answer.by),
                answer.capacity,
                if answer.late { ", late" } else { "" }
            ),
            Said::Remark { by } => format!("remark of {}", name(by)),
            Said::Resolved { by, role, accepted, .. } => {
                let accepted = match accepted {
                    Some(true) => ", accepted",
                    Some(false) => ", not accepted",
                    None => "",
                };
                format!("resolved by {} as {role}{accepted}", name(by))
            }
            Said::Due(undertaking) => format!("{} due {}", undertaking.remedy, undertaking.due),
            Said::Remedied { remedy, late, .. } => {
                format!("{remedy} done{}", if *late { ", late" } else { "" })
            }
            Said::Overdue(undertaking) => format!("{} overdue", undertaking.remedy),
            Said::Corrected { by, .. } => format!("corrected by {}", name(by)),
            Said::Disowned { .. } => "disowned".to_owned(),
            Said::Erased { by, .. } => format!("erased by {by}"),
            Said::Key { .. } => return None,
            Said::Promised { state, .. } => match state {
                PromiseState::Kept { late, .. } => {
                    format!("promise kept{}", if *late { ", late" } else { "" })
                }
                PromiseState::Pending { by } => format!("promise due {by}"),
                PromiseState::Broken { since } => format!("promise broken since {since}"),
            },
        };
        Some(format!("{}: {said}", fact.at))
    };
    standing.facts.iter().filter_map(tell).collect()
}

fn turn(standing: &Standing) -> String {
    let [turn] = &standing.turns[..] else { panic!("one dispute: {:?}", standing.turns) };
    let until = turn.until.map_or_else(String::new, |until| format!(" by {until}"));
    let task = match &turn.task {
        Task::Answer(_) => "answer".to_owned(),
        Task::Remedy(_, remedy) => remedy.to_string(),
        Task::ShowMore => "show more".to_owned(),
        Task::Decide(arbiters) => format!("decide ({})", arbiters.len()),
        Task::Appeal => "appeal".to_owned(),
        Task::Nothing => "nothing".to_owned(),
    };
    task + &until
}

fn keys(standing: &Standing) -> Vec<&KeyFact> {
    let key = |fact: &'_ Fact| matches!(fact.said, Said::Key { .. });
    let facts = standing.facts.iter().filter(|fact| key(fact));
    facts.map(|fact| if let Said::Key { fact, .. } = &fact.said { fact } else { unreachable!() }).collect()
}

const DAY: u64 = 86_400_000;

/// Each deadline follows from what the respondent promised before the disputed entry, else from the receipt, else it is 30 days.
#[test]
fn deadlines_follow_from_what_was_promised() {
    let mut world = World::registered();
    let bare = world.receipt("issuer", "claim");
    let Predicate::Receipt(named) = receipt(Some("claim")) else { unreachable!() };
    let accountable = crate::statement::groups::Accountable {
        key: crate::testing::public("issuer2"),
        respond_within: 7_200,
    };
    let group = Some(crate::statement::Sealable::Open(accountable.clone()));
    let named = Predicate::Receipt(Box::new(crate::statement::Receipt { accountable: group, ..*named }));
    let named = world.append("issuer", exchange(), named).unwrap();
    world.append("issuer", crate::statement::Subject::Log, policy(3_600)).unwrap();
    let after = world.receipt("issuer", "claim");
    let due = |world: &World, matter| {
        let stands = standing(world, matter, world.now().millis());
        told(&stands).into_iter().find(|fact| fact.contains("answers by")).unwrap()
    };
    for (matter, expected) in [(bare, 30 * DAY), (named, 7_200_000), (after, 3_600_000)] {
        world.about("claim", matter, dispute(Ground::Billing)).unwrap();
        let expected = format!("answers by {} (", 1_000 + expected);
        assert!(due(&world, matter).contains(&expected), "{} {expected}", due(&world, matter));
    }

    let Predicate::Dispute(copying) = dispute(Ground::Privacy) else { unreachable!() };
    let copying = crate::statement::Dispute { accountable: Some(accountable), ..*copying };
    let disputed = world.about("claim", named, Predicate::Dispute(Box::new(copying))).unwrap();
    let by = |world: &World| {
        let stands = standing(world, named, world.now().millis());
        let fact = stands.facts.into_iter().find(|fact| fact.record == disputed).unwrap();
        let Said::Disputed { due, .. } = fact.said else { panic!("{fact:?}") };
        (due.at.millis(), due.by)
    };
    assert_eq!(by(&world), (7_201_000, DueBy::Receipt));
    world.about("claim", named, erasure()).unwrap();
    world.erase(named);
    assert_eq!(by(&world), (7_201_000, DueBy::Copy), "the deadline outlives the receipt");
    let answered = world.about("issuer2", disputed, response(Stance::Reject, None)).unwrap();
    let told = told(&standing(&world, named, world.now().millis()));
    assert!(told.contains(&"1000: answered by issuer2 Ltd as accountable".to_owned()), "{told:?} {answered}");
}

/// Who is not asked does not answer for the one who is.
#[test]
fn answers_of_others_are_remarks() {
    let mut world = World::registered();
    let exchange = world.receipt("issuer", "claim");
    let disputed = world.about("claim", exchange, dispute(Ground::Billing)).unwrap();
    world.about("issuer2", disputed, response(Stance::Accept, None)).unwrap();
    let late = 1_001 + 30 * DAY;
    let stands = standing(&world, exchange, late);
    let facts = told(&stands);
    assert!(facts.contains(&"1000: remark of issuer2 Ltd".to_owned()), "{facts:?}");
    assert!(facts.contains(&format!("{}: unanswered", late - 1)), "{facts:?}");
    assert_eq!(turn(&stands), format!("answer by {}", late - 1));
}

/// What was undertaken is due, then overdue or done; what another did does not count, nor another remedy.
#[test]
fn remedies_are_due_done_or_overdue() {
    let mut world = World::registered();
    let exchange = world.receipt("issuer", "claim");
    let disputed = world.about("claim", exchange, dispute(Ground::Billing)).unwrap();
    let undertaken = Some((RemedyKind::Correction, 5_000));
    let answered = world.about("issuer", disputed, response(Stance::Accept, undertaken)).unwrap();
    let ordered = Some((RemedyKind::Refund, 9_000));
    let decided = resolution(Decider::Arbiter, Ground::Billing, ordered);
    let decided = world.about("arbiter", disputed, decided).unwrap();
    world.about("issuer2", answered, remedy()).unwrap();
    world.about("issuer", decided, remedy()).unwrap();
    let duties = |world: &World, moment| {
        let stands = standing(world, exchange, moment);
        let facts = told(&stands)
            .into_iter()
            .filter(|fact| ["correction", "refund"].iter().any(|remedy| fact.contains(remedy)));
        (facts.collect::<Vec<_>>(), turn(&stands))
    };
    let (facts, next) = duties(&world, 5_000);
    assert_eq!(next, "correction by 5000");
    assert!(facts.contains(&"1000: correction due 5000".to_owned()), "{facts:?}");
    let (facts, _) = duties(&world, 9_001);
    assert_eq!(facts, ["5000: correction overdue", "9000: refund overdue"]);
    world.wait(5_000);
    world.about("issuer", answered, remedy()).unwrap();
    let (facts, next) = duties(&world, 9_000);
    assert_eq!(facts, ["1000: refund due 9000", "6000: correction done, late"]);
    assert_eq!(next, "refund by 9000");
}

/// Two promises of one issuer: one kept late, one broken.
#[test]
fn promises_are_kept_or_broken() {
    for (kept, expected) in [
        (Some(1_200), ["2000: promise kept"; 2]),
        (Some(1_700), ["2000: promise kept, late"; 2]),
        (None, ["2000: promise broken since 1500"; 2]),
    ] {
        let mut world = World::registered();
        if let Some(kept) = kept {
            world.wait(kept - 1_000);
            world.receipt("issuer", "claim");
        }
        world.wait(2_000 - world.now().millis());
        let promise = crate::statement::Promise { claim: crate::testing::public("claim"), by: at(1_500) };
        let promise = world.statement("issuer", crate::statement::Subject::Log, Predicate::Promise(promise));
        let promise = promise.sign(&crate::testing::key("issuer")).unwrap().into_envelope();
        let promise = crate::statement::Enclosed::open(promise).unwrap();
        let id = promise.id();
        let Predicate::Dispute(plain) = dispute(Ground::MissingReceipt) else { unreachable!() };
        let outside = Some(crate::statement::dispute::Outside::Promise(Box::new(promise)));
        let disputed = Predicate::Dispute(Box::new(crate::statement::Dispute { outside, ..*plain }));
        world.append("claim", crate::statement::Subject::Promise(id), disputed).unwrap();
        let mut docket = Docket::new(Matter::Promise(id));
        (0..world.records.len()).for_each(|index| docket.take(world.record(index)));
        let stands = docket.standing(at(2_000)).unwrap();
        assert!(told(&stands).contains(&expected[0].to_owned()), "{:?}", told(&stands));
        assert_eq!(turn(&stands), format!("answer by {}", 2_000 + 30 * DAY));
    }
}

#[test]
fn moments_before_the_last_record_are_of_a_smaller_tree() {
    let mut world = World::registered();
    let exchange = world.receipt("issuer", "claim");
    world.wait(1);
    world.receipt("issuer", "claim2");
    let whole = docket(&world, exchange, world.records.len());
    assert_eq!(whole.standing(at(1_000)), Err(MomentError { moment: at(1_000), last: at(1_001) }));
    assert!(docket(&world, exchange, world.records.len() - 1).standing(at(1_000)).is_ok());
}

/// A step of a made-up history: what somebody tries to append about which record of one matter.
#[derive(Clone, Debug)]
struct Step {
    kind: u8,
    about: prop::sample::Index,
    wait: bool,
}

fn step() -> impl Strategy<Value = Step> {
    let parts = (0_u8..12, any::<prop::sample::Index>(), any::<bool>());
    parts.prop_map(|(kind, about, wait)| Step { kind, about, wait })
}

/// Tries a step in a matter whose parties have names ending in `tail`; returns what was appended.
fn try_step(world: &mut World, step: &Step, leaves: &mut Vec<Hash>, tail: &str) {
    let leaf = leaves[step.about.index(leaves.len())];
    let name = |role: &str| format!("{role}{tail}");
    let due = Some((RemedyKind::Correction, world.now().millis() + 20));
    let (signer, predicate) = match step.kind {
        0 => (name("verifier"), verdict(ClaimKind::Output, VerdictResult::Supported, None)),
        1 => (name("verifier"), verdict(ClaimKind::Output, VerdictResult::Contradicted, Some(leaf))),
        2 => (name("claim"), dispute(Ground::Billing)),
        3 => (name("claim"), dispute(Ground::VerdictWrong)),
        4 => (name("issuer"), response(Stance::Partly, due)),
        5 => (name("issuer"), response(Stance::NeedMore, None)),
        6 => (name("arbiter"), resolution(Decider::Arbiter, Ground::Billing, due)),
        7 => (name("claim"), resolution(Decider::Agreed, Ground::Billing, None)),
        8 => (name("issuer"), remedy()),
        9 => (name("issuer"), correction()),
        10 => (name("claim"), erasure()),
        _ => (name("issuer"), dispute(Ground::ResolutionWrong)),
    };
    if let Ok(appended) = world.about(&signer, leaf, predicate) {
        leaves.push(appended);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// Two matters in one log, between people who have nothing to do with one another: however their records of one date are
    /// shuffled together, what stands in each is the same, and the same as if the other were not there.
    #[test]
    fn matters_that_do_not_concern_one_another_commute(
        steps in prop::collection::vec((any::<bool>(), step()), 1..40),
        shuffle in prop::collection::vec(any::<bool>(), 80),
    ) {
        let play = |only: Option<bool>, shuffle: Option<&[bool]>| {
            let mut world = World::registered();
            let receipts = [world.receipt("issuer", "claim"), world.receipt("issuer2", "claim2")];
            let (mut leaves, mut counts) = (receipts.map(|receipt| vec![receipt]), [0; 2]);
            for round in steps.chunks(6) {
                // Records of one round have one date. Each matter keeps its own order; the order between them is shuffled.
                let mut queues = [false, true].map(|second| {
                    let own = round.iter().filter(|(it, _)| *it == second && only.is_none_or(|only| only == second));
                    own.map(|(_, step)| step).collect::<std::collections::VecDeque<_>>()
                });
                let mut order = shuffle.unwrap_or_default().iter();
                while queues.iter().any(|queue| !queue.is_empty()) {
                    let first = usize::from(order.next().copied().unwrap_or_default());
                    let which = if queues[first].is_empty() { 1 - first } else { first };
                    let step = queues[which].pop_front().unwrap();
                    // The same record in every play, to the last bit.
                    counts[which] += 1;
                    world.nonce = (which as u128 + 1) << 64 | counts[which];
                    try_step(&mut world, step, &mut leaves[which], ["", "2"][which]);
                }
                world.wait(if round[0].1.wait { 10 } else { 40 * DAY });
            }
            receipts.map(|receipt| {
                let Standing { facts, turns, .. } = standing(&world, receipt, 3_000 * DAY);
                (facts, turns)
            })
        };
        let (plain, shuffled) = (play(None, None), play(None, Some(&shuffle)));
        let alone = [play(Some(false), None), play(Some(true), None)];
        for which in 0..2 {
            prop_assert_eq!(&plain[which], &shuffled[which]);
            prop_assert_eq!(&plain[which], &alone[which][which]);
        }
    }

    /// A docket that is put together from what an index finds says the same as one that took every record; and what is owed
    /// is, at any moment, what is then unanswered or overdue.
    #[test]
    fn dockets_can_be_assembled(steps in prop::collection::vec(step(), 1..30), later in 0_u64..200) {
        let mut world = World::registered();
        let receipt = world.receipt("issuer", "claim");
        let mut leaves = vec![receipt];
        for step in &steps {
            try_step(&mut world, step, &mut leaves, "");
            if step.about.index(9) == 0 {
                let _ = world.append("registrar", crate::statement::Subject::Log, revocation("issuer", Some(1_005), Some("issuer2")));
                let _ = world.append("issuer", crate::statement::Subject::Log, policy(5 * 86_400));
            }
            world.wait(if step.wait { 10 } else { 3 * DAY });
        }
        let walked = docket(&world, receipt, world.records.len());
        let mut keys = Keys::default();
        for index in 0..world.records.len() {
            let Record { leaf, entry, statement, .. } = world.record(index);
            let before = &world.records[..index];
            let counted = |key: &crate::PublicKey, since| {
                let signed = before.iter().filter(|it| it.entry.issuer == *key && it.entry.at >= since);
                signed.count() as u64
            };
            if let Some(statement) = statement.filter(|_| Keys::is_changed_by(entry.kind)) {
                keys.take(index as u64, leaf, &entry, &statement, counted);
            }
        }
        let found = Found { size: walked.size(), last: walked.last(), rules: None, keys: std::sync::Arc::new(keys), kept: None };
        let assembled = Docket::assemble(Matter::Record(receipt), found, walked.records().to_vec());
        let moment = at(world.now().millis() + later * DAY / 4);
        let standing = assembled.standing(moment).unwrap();
        prop_assert_eq!(&standing, &walked.standing(moment).unwrap());
        let late = |fact: &&Fact| matches!(fact.said, Said::Unanswered { until: None } | Said::Overdue(_));
        let mut facts: Vec<_> = standing.facts.iter().filter(late).map(|fact| (fact.at, fact.record)).collect();
        facts.sort();
        let owed = assembled.owed();
        let due: Vec<_> = owed.iter().filter(|it| it.due < moment).map(|it| (it.due, it.record)).collect();
        prop_assert_eq!(facts, due);
        // What is printed is JSON, with an object for each fact and turn.
        let printed: serde_json::Value = serde_json::from_str(&print_standing(&standing, &assembled)).unwrap();
        prop_assert_eq!(printed["facts"].as_array().unwrap().len(), standing.facts.len());
        prop_assert_eq!(printed["turns"].as_array().unwrap().len(), standing.turns.len());
    }

    /// What stood at a size and a moment stands for ever, whatever was appended since; a docket that skips what it does not need says
    /// the same as one that keeps everything; and a later moment only lets deadlines pass.
    #[test]
    fn prefixes_give_what_stood_then(steps in prop::collection::vec(step(), 1..30)) {
        let mut world = World::registered();
        let receipt = world.receipt("issuer", "claim");
        let mut leaves = vec![receipt];
        let mut then = Vec::new();
        let mut grown = docket(&world, receipt, world.records.len());
        for step in &steps {
            let before = world.records.len();
            try_step(&mut world, step, &mut leaves, "");
            for index in before..world.records.len() {
                grown.take(world.record(index));
            }
            let stood = grown.standing(world.now()).unwrap();
            let fresh = docket(&world, receipt, world.records.len());
            prop_assert_eq!(&fresh.standing(world.now()).unwrap(), &stood);
            then.push((world.records.len(), world.now(), stood));
            world.wait(if step.wait { 10 } else { 20 * DAY });
        }
        for (size, moment, stood) in then {
            prop_assert_eq!(&docket(&world, receipt, size).standing(moment).unwrap(), &stood);
            let later = docket(&world, receipt, size).standing(moment.plus(100 * DAY)).unwrap();
            let lasting = |standing: &Standing| {
                let passing = |fact: &&Fact| !matches!(fact.said, Said::Open { .. } | Said::Unanswered { .. } | Said::Due(_) | Said::Overdue(_));
                standing.facts.iter().filter(passing).cloned().collect::<Vec<_>>()
            };
            prop_assert_eq!(lasting(&later), lasting(&stood));
            let waits = later.facts.iter().any(|fact| matches!(fact.said, Said::Open { .. } | Said::Due(_)));
            prop_assert!(!waits);
        }
    }
}
