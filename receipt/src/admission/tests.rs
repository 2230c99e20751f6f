mod rights;

use proptest::prelude::*;

use super::*;
use crate::{
    Envelope,
    refusal::{self, Borne, RefusalError, SignedRefusal},
    statement::{
        Dispute, Ground, Key, Nonce, Predicate, Refusal as RefusalRecord, Registration, Role, Rule, Subject,
        dispute::{Elsewhere, Outside},
        resolution::Decider,
        response::Stance,
        rules::Mode,
        verdict::{ClaimKind, VerdictResult},
    },
    testing::{
        World, at, correction, dispute, erasure, exchange, key, log, policy, public, receipt, remedy,
        resolution, response, revocation, rules, verdict,
    },
};
use counterfoil_merkle::LeafIndex;

fn rule(outcome: Result<Hash, Refused>) -> Option<Rule> {
    outcome.err().and_then(|refused| refused.rule())
}

/// Judges a whole log again.
fn replay(world: &World) -> Vec<Result<Pass, NotAdmitted>> {
    let mut replay = Replay::new(log());
    let judge = |(index, record): (usize, &crate::testing::Logged)| {
        let statement =
            (!record.statement.is_empty()).then(|| record.entry.check_statement(&record.statement).unwrap());
        // Only what lies before the record is looked up.
        let look_up =
            |leaf| world.look_up(leaf).filter(|link| link.index < LeafIndex::new(index as u64).unwrap());
        let chain = Chain::of(record.entry.about).fill(look_up);
        replay.next(&record.entry, record.leaf, statement.as_ref(), &chain)
    };
    world.records.iter().enumerate().map(judge).collect()
}

#[test]
fn a_log_begins_with_rules_of_its_operator() {
    let mut world = World::new(Mode::Open);
    world.ledger = Ledger::new(log());
    assert_eq!(rule(world.append("issuer", exchange(), receipt(None))), Some(Rule::FirstRecord));
    assert_eq!(rule(world.append("issuer", Subject::Log, rules(Mode::Open))), Some(Rule::FirstRecord));
    assert_eq!(rule(world.append("operator", Subject::Log, rules(Mode::Open))), None);
    assert_eq!(rule(world.append("issuer", Subject::Log, rules(Mode::Open))), Some(Rule::Operator));
    assert_eq!(rule(world.append("operator", Subject::Log, rules(Mode::Registered))), None);
    assert_eq!(rule(world.append("issuer", exchange(), receipt(None))), Some(Rule::KeyUnknown));
}

/// A role holds from the record that gives it on, within its window, until a later record or a revocation takes it away; all of it
/// by the entries' own dates and order.
#[test]
fn roles_come_and_go_with_records() {
    let mut world = World::new(Mode::Registered);
    let write = |world: &mut World| rule(world.append("issuer", exchange(), receipt(None)));
    assert_eq!(write(&mut world), Some(Rule::KeyUnknown));
    world.register("issuer", &[Role::Verifier]);
    assert_eq!(write(&mut world), Some(Rule::KeyRole));

    let card = world.card("issuer", &[Role::Issuer]);
    let mut window = Registration::new(card, &log()).unwrap();
    (window.not_before, window.not_after) = (Some(at(2_000)), Some(at(3_000)));
    let window = Predicate::Key(Key::Registration(Box::new(window)));
    world.append("registrar", Subject::Log, window).unwrap();
    for (now, expected) in
        [(1_999, Some(Rule::KeyWindow)), (2_000, None), (3_000, None), (3_001, Some(Rule::KeyWindow))]
    {
        world.wait(now - world.now().millis());
        assert_eq!(write(&mut world), expected, "{now}");
    }
    let record = world.register("issuer", &[Role::Issuer]);
    assert_eq!(write(&mut world), None);
    world.about("issuer", record, revocation("issuer", None, None)).unwrap();
    assert_eq!(write(&mut world), Some(Rule::KeyRevoked));
    let card = world.card("issuer", &[Role::Issuer]);
    let again = Predicate::Key(Key::Registration(Box::new(Registration::new(card, &log()).unwrap())));
    assert_eq!(rule(world.append("registrar", Subject::Log, again)), Some(Rule::KeyRevoked));
    assert!(replay(&world).iter().all(|outcome| *outcome == Ok(Pass::Whole)));
}

/// Registrars that the rules name may make others registrars; those may register, and not make more of their kind.
#[test]
fn registrars_are_named_by_the_rules() {
    let mut world = World::registered();
    let roles = [Role::Registrar, Role::Issuer];
    let registered = |world: &mut World, by: &str, name: &str, roles: &[Role]| {
        let card = world.card(name, roles);
        let record = Registration::new(card, &log()).unwrap();
        rule(world.append(by, Subject::Log, Predicate::Key(Key::Registration(Box::new(record)))))
    };
    assert_eq!(registered(&mut world, "issuer", "new", &[Role::Issuer]), Some(Rule::Registrar));
    let deputy = world.register("deputy", &roles);
    assert_eq!(registered(&mut world, "deputy", "new", &[Role::Issuer]), None);
    assert_eq!(registered(&mut world, "deputy", "newer", &roles), Some(Rule::Registrar));
    world.about("registrar", deputy, revocation("deputy", None, None)).unwrap();
    assert_eq!(registered(&mut world, "deputy", "newest", &[Role::Issuer]), Some(Rule::KeyRevoked));
    assert_eq!(rule(world.append("new", exchange(), receipt(None))), None, "what it registered stays");

    world.append("registrar", Subject::Log, revocation("registrar", None, None)).unwrap();
    assert_eq!(registered(&mut world, "registrar", "last", &[Role::Issuer]), Some(Rule::KeyRevoked));
    let own = world.card("stranger", &[Role::Issuer]);
    let own = Envelope::verify(own).unwrap();
    let own = Statement::parse(&own).unwrap();
    assert_eq!(rule(world.append_statement("stranger", &own)), Some(Rule::Registrar));
    let mut open = World::new(Mode::Open);
    assert_eq!(rule(open.append_statement("stranger", &own)), None, "in an open log a party may name itself");
}

/// A revocation is about the key's newest record, by the key or a registrar, not from a time to come; its successor acts on.
#[test]
fn revocations_are_the_keys_own_or_a_registrars() {
    let mut world = World::registered();
    let before = world.register("bank", &[Role::Issuer]);
    let record = world.register("bank", &[Role::Issuer]);
    let exchange = world.receipt("bank", "claim");
    let disputed = world.about("claim", exchange, dispute(Ground::Billing)).unwrap();
    let revoke = |world: &mut World, by: &str, about, since, successor| {
        rule(world.about(by, about, revocation("bank", since, successor)))
    };
    assert_eq!(revoke(&mut world, "issuer", record, None, None), Some(Rule::Registrar));
    assert_eq!(revoke(&mut world, "bank", before, None, None), Some(Rule::Card));
    assert_eq!(revoke(&mut world, "bank", exchange, None, None), Some(Rule::AboutKind));
    assert_eq!(revoke(&mut world, "bank", Hash::leaf(b""), None, None), Some(Rule::AboutMissing));
    let log_itself = world.append("bank", Subject::Log, revocation("bank", None, None));
    assert_eq!(rule(log_itself), Some(Rule::Card));
    assert_eq!(revoke(&mut world, "bank", record, Some(1_001), None), Some(Rule::Since));
    assert_eq!(revoke(&mut world, "bank", record, Some(1_000), None), None);

    let answer =
        |world: &mut World, by: &str| rule(world.about(by, disputed, response(Stance::Reject, None)));
    assert_eq!(answer(&mut world, "bank"), Some(Rule::KeyRevoked));
    assert_eq!(answer(&mut world, "heir"), Some(Rule::Signer));
    assert_eq!(revoke(&mut world, "bank", record, None, Some("heir")), Some(Rule::KeyRevoked));
    assert_eq!(revoke(&mut world, "registrar", record, None, Some("heir")), None);
    assert_eq!(answer(&mut world, "heir"), None);
    assert_eq!(rule(world.append("heir", crate::testing::exchange(), receipt(None))), Some(Rule::KeyUnknown));
    assert!(replay(&world).iter().all(|outcome| *outcome == Ok(Pass::Whole)));
}

/// In an open log everybody acts, registered or not, until revoked; nobody but registrars registers.
#[test]
fn an_open_log_asks_for_no_roles() {
    let mut world = World::new(Mode::Open);
    let exchange = world.receipt("a", "claim");
    world.about("b", exchange, verdict(ClaimKind::Output, VerdictResult::Supported, None)).unwrap();
    let disputed = world.about("c", exchange, dispute(Ground::Billing)).unwrap();
    world.about("d", disputed, resolution(Decider::Arbiter, Ground::Billing, None)).unwrap();
    let own = world.about("a", disputed, resolution(Decider::Arbiter, Ground::Billing, None));
    assert_eq!(rule(own), Some(Rule::OwnCase));
    let other = world.append("a", Subject::Log, revocation("b", None, None));
    assert_eq!(rule(other), Some(Rule::Registrar), "nobody revokes another's key");
    world.append("b", Subject::Log, revocation("b", None, None)).unwrap();
    let again = world.about("b", exchange, verdict(ClaimKind::Output, VerdictResult::Supported, None));
    assert_eq!(rule(again), Some(Rule::KeyRevoked));
    assert!(replay(&world).iter().all(|outcome| *outcome == Ok(Pass::Whole)));
}

/// Strangers can fill what is kept of revoked keys with keys of their own; from then on theirs are refused, and those alone.
#[test]
fn strangers_cannot_fill_a_memory() {
    let mut world = World::new(Mode::Open);
    world.register("known", &[Role::Issuer]);
    let known = world.ledger.registered(&public("known")).unwrap().record;
    world.ledger = world.ledger.clone().with_strangers(STRANGERS_MAX - 1);
    world.append("a", Subject::Log, revocation("a", None, None)).unwrap();
    assert_eq!(rule(world.append("b", Subject::Log, revocation("b", None, None))), Some(Rule::KeysFull));
    world.append("registrar", Subject::Log, revocation("a", None, Some("c"))).unwrap();
    world.about("known", known, revocation("known", None, None)).unwrap();
    assert_eq!(rule(world.append("b", exchange(), receipt(None))), None, "it goes on as before");
}

#[test]
fn deadlines_lie_ahead_and_not_beyond_reason() {
    let mut world = World::registered();
    let exchange = world.receipt("issuer", "claim");
    let disputed = world.about("claim", exchange, dispute(Ground::Billing)).unwrap();
    let far = 1_000 + DUE_WITHIN_MS_MAX;
    for (due, expected) in [
        (999, Some(Rule::Deadline)),
        (1_000, Some(Rule::Deadline)),
        (1_001, None),
        (far, None),
        (far + 1, Some(Rule::Deadline)),
    ] {
        let due = Some((crate::statement::RemedyKind::Refund, due));
        let answer = world.about("issuer", disputed, response(Stance::Accept, due));
        assert_eq!(rule(answer), expected, "{due:?}");
        let decision = world.about("arbiter", disputed, resolution(Decider::Arbiter, Ground::Billing, due));
        assert_eq!(rule(decision), expected, "{due:?}");
    }
}

/// One appeal, decided by another arbiter, and no second one.
#[test]
fn there_is_one_appeal() {
    let mut world = World::registered();
    let exchange = world.receipt("issuer", "claim");
    let decide = |world: &mut World, by: &str, dispute, ground| {
        world.about(by, dispute, resolution(Decider::Arbiter, ground, None))
    };
    let first = world.about("claim", exchange, dispute(Ground::Billing)).unwrap();
    let decided = decide(&mut world, "arbiter", first, Ground::Billing).unwrap();
    let wrong = world.about("issuer", decided, dispute(Ground::Billing));
    assert_eq!(rule(wrong), Some(Rule::Ground));
    let appeal = world.about("issuer", decided, dispute(Ground::ResolutionWrong)).unwrap();
    let own = decide(&mut world, "arbiter", appeal, Ground::ResolutionWrong);
    assert_eq!(rule(own), Some(Rule::OwnCase));
    let answered = world.about("arbiter", appeal, response(Stance::Reject, None));
    assert_eq!(rule(answered), None, "whose decision is disputed may answer");
    let last = decide(&mut world, "arbiter2", appeal, Ground::ResolutionWrong).unwrap();
    let again = world.about("claim", last, dispute(Ground::ResolutionWrong));
    assert_eq!(rule(again), Some(Rule::AboutKind));
    assert_eq!(rule(world.about("issuer", last, remedy())), None, "the longest chain there is");
}

fn promise_dispute(world: &mut World, issuer: &str, by: u64) -> Statement {
    let promise = crate::statement::Promise { claim: public("claim"), by: at(by) };
    let promise = world.statement(issuer, Subject::Log, Predicate::Promise(promise));
    let promise =
        crate::statement::Enclosed::open(promise.sign(&key(issuer)).unwrap().into_envelope()).unwrap();
    let subject = Subject::Promise(promise.id());
    let Predicate::Dispute(plain) = dispute(Ground::MissingReceipt) else { unreachable!() };
    let dispute = Dispute { outside: Some(Outside::Promise(Box::new(promise))), ..*plain };
    world.statement("claim", subject, Predicate::Dispute(Box::new(dispute)))
}

/// Who may answer a dispute of a promise is in the dispute. Erased, it is seen by nobody: new answers take a registered issuer, and
/// those of before are not called wrong.
#[test]
fn what_turns_on_an_erased_statement_is_not_guessed() {
    let mut world = World::registered();
    let statement = promise_dispute(&mut world, "newcomer", 1_500);
    assert_eq!(rule(world.append_statement("claim", &statement)), Some(Rule::PromiseEarly));
    world.wait(1_000);
    let disputed = world.append_statement("claim", &statement).unwrap();
    let answer =
        |world: &mut World, by: &str| rule(world.about(by, disputed, response(Stance::Accept, None)));
    let decide = |world: &mut World, by: &str| {
        rule(world.about(by, disputed, resolution(Decider::Arbiter, Ground::MissingReceipt, None)))
    };
    world.register("newcomer", &[Role::Arbiter]);
    assert_eq!(answer(&mut world, "newcomer"), None);
    assert_eq!(answer(&mut world, "verifier"), Some(Rule::Signer));
    assert_eq!(decide(&mut world, "newcomer"), Some(Rule::OwnCase));
    assert_eq!(decide(&mut world, "arbiter"), None);
    world.about("claim", disputed, erasure()).unwrap();
    world.erase(disputed);
    assert_eq!(answer(&mut world, "newcomer"), Some(Rule::AboutErased));
    assert_eq!(answer(&mut world, "issuer"), None);
    assert_eq!(decide(&mut world, "arbiter"), None);
    let leaf = disputed;
    let in_part: Vec<_> = replay(&world).into_iter().filter(|outcome| *outcome != Ok(Pass::Whole)).collect();
    let unseen = [Unseen::Statement, Unseen::Right { leaf }, Unseen::Case { leaf }, Unseen::Case { leaf }];
    assert_eq!(in_part, unseen.map(|unseen| Ok(Pass::InPart(unseen))));
}

/// A receipt of another log can be disputed here, by its claim key; whoever issued it may answer.
#[test]
fn records_of_other_logs_are_disputed_too() {
    let mut world = World::registered();
    let entry = {
        let mut other = World::new(Mode::Open);
        other.receipt("elsewhere", "claim");
        other.records[1].entry.clone()
    };
    let root = entry.leaf_hash().to_base64();
    let proof =
        format!("c2sp.org/tlog-proof@v1\nindex 0\n\nother.example\n1\n{root}\n\n— other.example AAAAAAA=\n");
    let elsewhere = Elsewhere { log: "other.example".parse().unwrap(), proof: proof.parse().unwrap(), entry };
    let subject = Subject::Elsewhere(elsewhere.leaf());
    let Predicate::Dispute(plain) = dispute(Ground::WrongModel) else { unreachable!() };
    let dispute = Dispute { outside: Some(Outside::Elsewhere(Box::new(elsewhere))), ..*plain };
    let disputed = world.append("claim", subject, Predicate::Dispute(Box::new(dispute))).unwrap();
    assert_eq!(rule(world.about("elsewhere", disputed, response(Stance::Accept, None))), None);
    let stranger = world.about("stranger", disputed, response(Stance::Accept, None));
    assert_eq!(rule(stranger), Some(Rule::Signer));
}

/// A record that others are judged by cannot be hidden from a replay unnoticed; any other can, and its entry is judged still.
#[test]
fn hidden_statements_are_missed_where_they_matter() {
    let mut world = World::registered();
    let exchange = world.receipt("issuer", "claim");
    world.about("verifier", exchange, verdict(ClaimKind::Output, VerdictResult::Supported, None)).unwrap();
    let mut hidden = world.clone();
    hidden.erase(exchange);
    let outcomes = replay(&hidden);
    assert!(outcomes.iter().all(Result::is_ok));
    assert_eq!(outcomes.iter().filter(|outcome| **outcome != Ok(Pass::Whole)).count(), 1);

    hidden.erase(world.records[1].leaf);
    let outcomes = replay(&hidden);
    let blind = outcomes.iter().position(Result::is_err);
    assert_eq!(blind, Some(1));
    assert!(outcomes[1..].iter().all(|outcome| matches!(outcome, Err(NotAdmitted::Blind(_)))));
}

/// A record that a log should not have taken is found, and gives nobody a right.
#[test]
fn a_replay_finds_what_should_not_be_there() {
    let mut world = World::registered();
    let honest = world.clone();
    let card = world.card("friend", &[Role::Issuer]);
    let friend = Registration::new(card, &log()).unwrap();
    // The operator's own judgement is what it will; the friend is let in by somebody who is no registrar.
    world.ledger = {
        let mut ledger = Ledger::new(log());
        let open = world.statement("operator", Subject::Log, {
            let Predicate::Rules(rules) = rules(Mode::Open) else { unreachable!() };
            Predicate::Rules(crate::statement::Rules { registrars: vec![public("issuer")], ..rules })
        });
        ledger.take(&Candidate::new(&open), Hash::leaf(b"")).unwrap();
        ledger
    };
    world.append("issuer", Subject::Log, Predicate::Key(Key::Registration(Box::new(friend)))).unwrap();
    world.append("friend", exchange(), receipt(None)).unwrap();
    let outcomes = replay(&world);
    assert!(outcomes[..honest.records.len()].iter().all(Result::is_ok));
    let rules: Vec<_> = outcomes[honest.records.len()..]
        .iter()
        .map(|outcome| match outcome {
            Err(NotAdmitted::Refused(refused)) => refused.rule(),
            _ => None,
        })
        .collect();
    assert_eq!(rules, [Some(Rule::Registrar), Some(Rule::KeyUnknown)]);
}

/// A signed refusal is borne out by a replay at its size, and by no other.
#[test]
fn refusals_are_held_against_a_replay() {
    let mut world = World::registered();
    let exchange = world.receipt("issuer", "claim");
    let statement = world.statement("stranger", Subject::Record(exchange), dispute(Ground::Billing));
    let record = statement.sign(&key("stranger")).unwrap().into_envelope();
    let chain = Chain::of_statement(&statement).fill(|leaf| world.look_up(leaf));
    let now = world.now();
    let refused = world.ledger.judge(&Candidate::new(&statement), &chain, now).unwrap_err();
    let size = world.ledger.size();
    let said = |rule| RefusalRecord { id: record.id(), rule, size, at: now };
    let signed = |said, by: &str| {
        let envelope = refusal::sign(said, log(), Nonce::new([1; 16]), &key(by)).unwrap();
        SignedRefusal::open(envelope.into_envelope()).unwrap()
    };
    let right = signed(said(refused.rule().unwrap()), "operator");
    assert_eq!(right.check(&record, &world.ledger, &chain), Ok(Borne::Out));
    let wrong = signed(said(Rule::KeyRevoked), "operator");
    assert_eq!(wrong.check(&record, &world.ledger, &chain), Ok(Borne::Not { found: Some(Rule::Signer) }));
    let not_the_operator = signed(said(Rule::Signer), "issuer").check(&record, &world.ledger, &chain);
    assert!(matches!(not_the_operator, Err(RefusalError::NotTheOperator { .. })));
    let other = world.card("issuer", &[Role::Issuer]);
    assert!(matches!(right.check(&other, &world.ledger, &chain), Err(RefusalError::OtherRecord { .. })));

    world.register("stranger", &[Role::Disputant]);
    let later = right.check(&record, &world.ledger, &chain);
    assert!(matches!(later, Err(RefusalError::OtherSize { .. })), "the rules of a later size are others");
    world.append_statement("stranger", &statement).unwrap();
    let refuses_everything =
        signed(RefusalRecord { size: world.ledger.size(), ..said(Rule::Signer) }, "operator");
    let found = refuses_everything.check(&record, &world.ledger, &chain);
    assert_eq!(found, Ok(Borne::Not { found: None }), "a log that refuses what it must take is caught");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// Whatever people send in whatever order: what was admitted is admitted on every replay, also after any statements that can be
    /// erased were; and what was refused is refused again, by the same rule, at its size.
    #[test]
    fn replays_give_the_same_answers(
        steps in prop::collection::vec((0_u8..14, any::<prop::sample::Index>(), 0_usize..8), 1..60),
        erased in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let names = ["issuer", "issuer2", "verifier", "disputant", "arbiter", "claim", "registrar", "operator"];
        let mut world = World::registered();
        world.receipt("issuer", "claim");
        let mut refused = Vec::new();
        for (kind, about, signer) in steps {
            world.wait(7);
            let signer = names[signer];
            let due = Some((crate::statement::RemedyKind::Refund, world.now().millis() + u64::from(kind)));
            let leaf = world.records[about.index(world.records.len())].leaf;
            let (subject, predicate) = match kind {
                0 => (exchange(), receipt(Some("claim"))),
                1 => (Subject::Log, policy(60)),
                2 => (Subject::Record(leaf), verdict(ClaimKind::Output, VerdictResult::Contradicted, None)),
                3 => (Subject::Record(leaf), dispute(Ground::Billing)),
                4 => (Subject::Record(leaf), dispute(Ground::VerdictWrong)),
                5 => (Subject::Record(leaf), dispute(Ground::ResolutionWrong)),
                6 => (Subject::Record(leaf), response(Stance::Partly, due)),
                7 => (Subject::Record(leaf), resolution(Decider::Arbiter, Ground::Billing, due)),
                8 => (Subject::Record(leaf), resolution(Decider::Agreed, Ground::Billing, None)),
                9 => (Subject::Record(leaf), remedy()),
                10 => (Subject::Record(leaf), correction()),
                11 => (Subject::Record(leaf), erasure()),
                12 => (Subject::Record(leaf), revocation(signer, Some(1_000), Some("heir"))),
                _ => (Subject::Log, rules(Mode::Registered)),
            };
            let statement = world.statement(signer, subject, predicate);
            if let Err(why) = world.append_statement(signer, &statement) {
                refused.push((world.records.len(), world.now(), statement, why.rule()));
            }
        }
        prop_assert!(replay(&world).iter().all(|outcome| *outcome == Ok(Pass::Whole)));

        for (size, at, statement, rule) in refused {
            let mut again = Replay::new(log());
            let before = |leaf| world.look_up(leaf).filter(|link| link.index.get() < size as u64);
            for record in &world.records[..size] {
                let own = record.entry.check_statement(&record.statement).unwrap();
                let chain = Chain::of(record.entry.about).fill(before);
                prop_assert_eq!(again.next(&record.entry, record.leaf, Some(&own), &chain), Ok(Pass::Whole));
            }
            let chain = Chain::of_statement(&statement).fill(before);
            let found = again.ledger().judge(&Candidate::new(&statement), &chain, at);
            prop_assert_eq!(found.unwrap_err().rule(), rule);
        }

        for index in erased {
            let record = &world.records[index.index(world.records.len())];
            if record.entry.kind.is_erasable() {
                let leaf = record.leaf;
                world.erase(leaf);
            }
        }
        for (outcome, record) in replay(&world).iter().zip(&world.records) {
            prop_assert!(outcome.is_ok(), "{:?} {:?}", outcome, record.entry.kind);
        }
    }
}
