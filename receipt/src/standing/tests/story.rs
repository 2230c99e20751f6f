//! Whole stories, told fact by fact.

use super::*;

/// A verdict stands unopposed, another contests it, the holder of the claim key disputes, the operator is silent and answers late, an
/// arbiter decides, the operator corrects. What stands is told at each step, and stays what it was.
#[test]
fn from_the_first_verdict_to_the_correction() {
    let mut world = World::registered();
    world.append("issuer", crate::statement::Subject::Log, policy(10)).unwrap();
    let receipt = world.receipt("issuer", "claim");
    let mut steps: Vec<(usize, u64, Vec<String>, Option<String>)> = Vec::new();
    let mut note = |world: &World, moment: u64| {
        let stands = standing(world, receipt, moment);
        let turn = (!stands.turns.is_empty()).then(|| turn(&stands));
        steps.push((world.records.len(), moment, told(&stands), turn));
    };
    note(&world, 1_000);
    world.wait(10);
    let claim = ClaimKind::ModelIdentity;
    world.about("verifier", receipt, verdict(claim, VerdictResult::Contradicted, None)).unwrap();
    note(&world, 1_010);
    world.wait(10);
    world.about("verifier2", receipt, verdict(claim, VerdictResult::Supported, None)).unwrap();
    note(&world, 1_020);
    world.wait(10);
    let disputed = world.about("claim", receipt, dispute(Ground::WrongModel)).unwrap();
    note(&world, 1_030);
    note(&world, 11_031);
    world.wait(15_000);
    world.about("issuer", disputed, response(Stance::Reject, None)).unwrap();
    note(&world, 16_030);
    world.wait(10);
    let ordered = Some((RemedyKind::Correction, 20_000));
    let decided = resolution(Decider::Arbiter, Ground::WrongModel, ordered);
    let decided = world.about("arbiter", disputed, decided).unwrap();
    note(&world, 16_040);
    world.wait(10);
    world.about("issuer", receipt, correction()).unwrap();
    world.about("issuer", decided, remedy()).unwrap();
    note(&world, 16_050);

    let tell = |step: usize| steps[step].2.iter().map(String::as_str).collect::<Vec<_>>();
    assert_eq!(tell(0), ["1000: claimed by issuer Ltd"]);
    let shown = [
        "1000: claimed by issuer Ltd",
        "1010: verifier Ltd contradicted",
        "1010: model_identity contradicted",
    ];
    assert_eq!(tell(1), shown);
    assert_eq!(tell(2)[2..], ["1020: verifier2 Ltd supported", "1020: model_identity contested"]);
    let disputed = "1030: disputed, issuer Ltd answers by 11030 (policy)";
    assert_eq!(tell(3)[4..], [disputed, "1030: open until 11030"]);
    assert_eq!(tell(4)[4..], [disputed, "11030: unanswered"]);
    let late = ["11030: unanswered until 16030", "16030: answered by issuer Ltd as respondent, late"];
    assert_eq!(tell(5)[5..], late);
    let decided = ["16040: resolved by arbiter Ltd as arbiter, accepted", "16040: correction due 20000"];
    assert_eq!(tell(6)[7..], decided);
    let mut end = tell(7)[8..].to_vec();
    end.sort_unstable();
    assert_eq!(end, ["16050: corrected by issuer Ltd", "16050: correction done"]);
    let turns: Vec<_> = steps.iter().map(|step| step.3.as_deref()).collect();
    assert_eq!(turns[..3], [None; 3]);
    let expected =
        ["answer by 11030", "answer by 11030", "decide (1)", "correction by 20000", "nothing"].map(Some);
    assert_eq!(turns[3..], expected);
    for (size, moment, told_then, _) in &steps {
        assert_eq!(told(&docket(&world, receipt, *size).standing(at(*moment)).unwrap()), *told_then);
    }
}

/// An operator that lost a dispute revokes its key with an early date: the facts of before stay word for word, one is added to each
/// record, and the duty is still due.
#[test]
fn disowning_changes_nothing_that_was() {
    let mut world = World::registered();
    let record = world.register("bank", &[Role::Issuer]);
    for _ in 0..3 {
        world.receipt("bank", "other");
    }
    world.wait(10);
    let receipt = world.receipt("bank", "claim");
    let disputed = world.about("claim", receipt, dispute(Ground::WrongModel)).unwrap();
    let ordered = Some((RemedyKind::Correction, 2_000));
    world.about("arbiter", disputed, resolution(Decider::Arbiter, Ground::WrongModel, ordered)).unwrap();
    world.receipt("bank", "other");
    world.wait(10);
    let before = told(&standing(&world, receipt, 1_020));
    world.about("bank", record, revocation("bank", Some(1_005), None)).unwrap();
    let after = standing(&world, receipt, 1_020);
    let told_after = told(&after);
    assert_eq!(
        told_after.iter().filter(|fact| !before.contains(fact)).collect::<Vec<_>>(),
        ["1020: disowned"]
    );
    assert!(before.iter().all(|fact| told_after.contains(fact)), "{before:?} {told_after:?}");
    assert_eq!(turn(&after), "correction by 2000");
    let revoked = keys(&after).into_iter().find_map(|fact| match fact {
        KeyFact::Revoked { own, disowned, .. } => Some((*own, *disowned)),
        KeyFact::Registered { .. } => None,
    });
    assert_eq!(revoked, Some((true, 2)), "two records of the key are dated from then on");
    let overdue = told(&standing(&world, receipt, 2_001));
    assert!(overdue.contains(&"2000: correction overdue".to_owned()), "{overdue:?}");
}

/// A verifier replaces its own verdict, and nobody else's; both are shown, and the newer counts.
#[test]
fn verdicts_are_superseded_by_their_own_verifier() {
    let mut world = World::registered();
    let receipt = world.receipt("issuer", "claim");
    let claim = ClaimKind::Output;
    let first = world.about("verifier", receipt, verdict(claim, VerdictResult::Contradicted, None)).unwrap();
    world.wait(1);
    world.about("verifier2", receipt, verdict(claim, VerdictResult::Inconclusive, Some(first))).unwrap();
    let stands = told(&standing(&world, receipt, 2_000));
    assert!(stands.contains(&"1000: output contradicted".to_owned()), "{stands:?}");
    world.wait(1);
    world.about("verifier", receipt, verdict(claim, VerdictResult::Supported, Some(first))).unwrap();
    let stands = told(&standing(&world, receipt, 2_000));
    assert!(stands.contains(&"1000: verifier Ltd contradicted once".to_owned()), "{stands:?}");
    assert!(stands.contains(&"1002: output supported".to_owned()), "{stands:?}");
}

/// A statement that is erased takes what only it said with it; who ordered that stays, and so does every duty.
#[test]
fn erased_records_keep_their_place() {
    let mut world = World::registered();
    let receipt = world.receipt("issuer", "claim");
    let checked = verdict(ClaimKind::Output, VerdictResult::Contradicted, None);
    let checked = world.about("verifier", receipt, checked).unwrap();
    let disputed = world.about("claim", receipt, dispute(Ground::WrongModel)).unwrap();
    world.wait(1);
    for (by, leaf) in [("claim", receipt), ("verifier", checked), ("operator", disputed)] {
        world.about(by, leaf, erasure()).unwrap();
        world.erase(leaf);
    }
    let stands = standing(&world, receipt, 2_000);
    let mut facts = told(&stands);
    facts.sort();
    let due = 1_000 + 30 * DAY;
    assert_eq!(
        facts,
        [
            "1000: claimed by issuer Ltd, erased".to_owned(),
            format!("1000: disputed, issuer Ltd answers by {due} (default)"),
            format!("1000: open until {due}"),
            "1000: verifier Ltd erased".to_owned(),
            "1001: erased by claim_key".to_owned(),
            "1001: erased by issuer".to_owned(),
            "1001: erased by log".to_owned(),
        ]
    );
    assert_eq!(turn(&stands), format!("answer by {due}"));
}

/// In an open log a party may name itself; nobody vouches for it, and that is shown.
#[test]
fn names_come_from_their_own_keys() {
    let mut world = World::new(Mode::Open);
    let receipt = world.receipt("bank", "claim");
    let card = world.card("bank", &[Role::Issuer]);
    let card = crate::Statement::parse(&card.verify().unwrap()).unwrap();
    let nameless = standing(&world, receipt, 1_000);
    assert_eq!(told(&nameless), ["1000: claimed by somebody"]);
    world.append_statement("bank", &card).unwrap();
    let named = standing(&world, receipt, 1_000);
    assert_eq!(told(&named), ["1000: claimed by bank Ltd"]);
    let by = named.facts.iter().find_map(|fact| match &fact.said {
        Said::Claimed { by, .. } => Some(by.registered_by.clone()),
        _ => None,
    });
    assert_eq!(by, Some(None));
}
