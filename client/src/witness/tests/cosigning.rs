//! What is cosigned, when, and for whom first.

use counterfoil_merkle::{
    Hash,
    checkpoint::SignedCheckpoint,
    key::{KeyName, NoteSigner},
    witness::Answer,
};

use super::{tree::Tree, *};
use crate::testlog::ORIGIN;

/// The worked exchange of an independent program with fixed keys, byte for byte: from size 3 to 7.
#[tokio::test]
async fn the_worked_exchange_comes_out_byte_for_byte() {
    const PROOF: [&str; 4] = [
        "VGL/6oYydNKKwqiuemg1x/bFAISOMa59RMjY05nGN4k=",
        "1yHv32MtW+bRo94SBEc0T5ht7HeNfBhPbJwUzfAoHsY=",
        "pPO3R2Ik9m8BlBdMIs8FfM6VfZTYI0tf31lCC6Yy878=",
        "wwHqjyZcliF8fdAPCcKz2FD9h433PvIJcgHA9qdq2oA=",
    ];
    const SEVEN: &str = "log.example/receipts\n7\nLvCkAL8kdZkKzn8cPKeavQCfRkUk97yN6cq/kVscJ0s=\n\n\
        — log.example/receipts cVWIm1wsShGjq1L3b31FgTEx0xb/pOyktqRqeNOH4Kfud0FIYmhj0mWLCgruABQHGXXwtzFIF2ca2u1IP77WCcbGAws=\n";
    const LINE: &str = "— witness.example/w1 4M0oZAAAAABlU/EAuhfPmd4tDyg5GJDH3xr3BWIlv48EXgSjpt6W2jHAydww5A2tZ0vHVBuYRKBPN31cs8PJcjVcKJ+y7F/cS2S5DA==\n";
    const ROOT_3: &str = "65d69e1ec96e778d72ebcbcfe5dda0a60a7f1cbcc2059b6366816e1770d830c2";
    const VKEY: &str = "log.example/receipts+7155889b+AdBKsjJ0K7SrOhNovUYV5ObQIkq3GgFrr4UgozLJd4c3";

    let named = |name: &str| KeyName::new(name).unwrap();
    let seeded = |name, algorithm, seed| NoteSigner::from_seed(named(name), algorithm, &[seed; 32]).unwrap();
    let log = seeded("log.example/receipts", Algorithm::Ed25519, 0x11);
    let cosigner = seeded("witness.example/w1", Algorithm::CosignatureV1, 0x22);
    let folder = tempfile::tempdir().unwrap();
    StateDir::create(folder.path(), cosigner.public()).unwrap();
    let mut roster = Roster::default();
    roster.add(WatchedLog::new("log.example/receipts", vec![VKEY.parse().unwrap()], 24).unwrap()).unwrap();
    let tools = Tools::new(cosigner, Box::new(|| 1_700_000_000), Box::new(|| Duration::ZERO)).unwrap();
    let witness = Witness::open(folder.path(), tools, &roster).unwrap();

    let root: Hash = ROOT_3.parse().unwrap();
    let mut three =
        counterfoil_merkle::note::Note::new(format!("log.example/receipts\n3\n{}\n", root.to_base64()))
            .unwrap();
    three.sign(&log);
    witness.add_checkpoint(format!("old 0\n\n{three}").as_bytes()).await.unwrap();
    let body = format!("old 3\n{}\n\n{SEVEN}", PROOF.join("\n"));
    let lines = witness.add_checkpoint(body.as_bytes()).await.unwrap();
    assert_eq!(Answer::format_lines(&lines), LINE);
    let shown = witness.slot(Hash::of(&[b"log.example/receipts"])).unwrap().view().newest.unwrap();
    assert_eq!(shown.checkpoint.to_string(), format!("{SEVEN}{LINE}"));
}

/// What is answered verifies, is on disk when it is answered, and is what comes back after a restart.
#[tokio::test]
async fn what_was_answered_outlives_the_witness() {
    let (home, tree) = (Home::new(), Tree::new(40));
    let mut old = 0;
    for new in [0, 1, 7, 7, 8, 40] {
        let witness = home.up();
        assert_eq!(size(&witness), old);
        let lines = add(&witness, &tree.request(old, new)).await.unwrap();
        let mut cosigned: SignedCheckpoint = tree.checkpoint(new);
        lines.into_iter().for_each(|line| cosigned.push(line));
        assert!(cosigned.cosignature(&vkey()).is_ok());
        assert_eq!(view(&witness).newest.unwrap().checkpoint, cosigned);
        drop(witness);
        assert_eq!(view(&home.up()).newest.unwrap().checkpoint, cosigned);
        old = new;
    }
}

/// Thirty-two at once from one size, each to a history of its own: one is cosigned, the others hear its size.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_history_wins_a_race() {
    let (home, tree) = (Home::new(), Tree::new(5));
    let witness = home.up();
    add(&witness, &tree.request(0, 5)).await.unwrap();
    let racers = (0..32_u64).map(|racer| {
        // Of different sizes, so that none is evidence against another.
        let fork = tree.branch(racer + 1, 5, 6 + racer);
        let (witness, request) = (Arc::clone(&witness), fork.request(5, 6 + racer));
        tokio::spawn(async move { (6 + racer, add(&witness, &request).await) })
    });
    let racers: Vec<_> = racers.collect();
    let mut won = Vec::new();
    let mut told = Vec::new();
    for racer in racers {
        match racer.await.unwrap() {
            (size, Ok(_)) => won.push(size),
            (_, Err(Refusal::Conflict { size })) => told.push(size.get()),
            (_, other) => panic!("{other:?}"),
        }
    }
    assert_eq!((won.len(), told.len()), (1, 31));
    assert!(told.iter().all(|size| *size == won[0]), "{told:?}");
    assert_eq!(size(&witness), won[0]);
    drop(witness);
    assert_eq!(size(&home.up()), won[0]);
}

/// The same request again, once the first was answered, is a conflict that tells where the witness is.
#[tokio::test]
async fn the_same_request_twice_is_answered_once() {
    let (home, tree) = (Home::new(), Tree::new(9));
    let witness = home.up();
    let request = tree.request(0, 9);
    add(&witness, &request).await.unwrap();
    let again = add(&witness, &request).await;
    assert_eq!(again, Err(Refusal::Conflict { size: tree.head(9).size }));
}

/// The same tree is cosigned again with a new time; within one second that gives the same bytes.
#[tokio::test]
async fn an_unchanged_tree_gets_a_new_time() {
    let (home, tree) = (Home::new(), Tree::new(9));
    let witness = home.up();
    let first = add(&witness, &tree.request(0, 9)).await.unwrap();
    assert_eq!(add(&witness, &tree.request(9, 9)).await.unwrap(), first);
    home.set_clock(1_700_000_001);
    let second = add(&witness, &tree.request(9, 9)).await.unwrap();
    assert_ne!(second, first);
    assert_eq!(view(&witness).newest.unwrap().time_s, 1_700_000_001);
    drop(witness);
    assert_eq!(view(&home.up()).newest.unwrap().time_s, 1_700_000_001, "and it is stored");
}

/// A time that was signed is never followed by an earlier one; a clock that is far behind signs nothing.
#[tokio::test]
async fn time_never_goes_back() {
    let (home, tree) = (Home::new(), Tree::new(9));
    let witness = home.up();
    add(&witness, &tree.request(0, 3)).await.unwrap();
    home.set_clock(1_700_000_000 - 60);
    add(&witness, &tree.request(3, 4)).await.unwrap();
    assert_eq!(view(&witness).newest.unwrap().time_s, 1_700_000_000);
    for clock in [1_700_000_000 - 61, 0] {
        home.set_clock(clock);
        assert_eq!(add(&witness, &tree.request(4, 5)).await, Err(Refusal::Clock));
        drop(add(&witness, &tree.request(4, 4)).await.unwrap_err());
    }
    assert_eq!(size(&witness), 4);
    home.set_clock(1_700_000_002);
    add(&witness, &tree.request(4, 5)).await.unwrap();
    assert_eq!(view(&witness).newest.unwrap().time_s, 1_700_000_002);
    let home = Home::new();
    home.set_clock(0);
    assert_eq!(add(&home.up(), &tree.request(0, 5)).await, Err(Refusal::Clock));
}

/// A log gets what it may ask for in a day. Strangers who submit its newest checkpoint again use up new times alone.
#[tokio::test]
async fn a_log_has_its_quota() {
    let key = signer(ORIGIN, Algorithm::Ed25519).public().clone();
    let home = Home::of(vec![WatchedLog::new(ORIGIN, vec![key], 3).unwrap()]);
    let (witness, tree) = (home.up(), Tree::new(9));
    add(&witness, &tree.request(0, 1)).await.unwrap();
    for second in 1..=3 {
        home.set_clock(1_700_000_000 + second);
        add(&witness, &tree.request(1, 1)).await.unwrap();
    }
    home.set_clock(1_700_000_010);
    // Nine seconds were saved up since the quota was full.
    let wait = Refusal::TooMany { retry_after_s: 24 * 60 * 60 / 3 - 9 + 1 };
    assert_eq!(add(&witness, &tree.request(1, 1)).await, Err(wait));
    add(&witness, &tree.request(1, 2)).await.unwrap();
    add(&witness, &tree.request(2, 3)).await.unwrap();
    let refused = add(&witness, &tree.request(3, 4)).await;
    assert!(matches!(refused, Err(Refusal::TooMany { .. })), "{refused:?}");
    assert_eq!(size(&witness), 3);
    // What is refused for another reason costs nothing, and hears that reason.
    let conflict = Err(Refusal::Conflict { size: tree.head(3).size });
    assert_eq!(add(&witness, &tree.request(2, 4)).await, conflict);
    home.set_clock(1_700_000_000 + 24 * 60 * 60 / 3);
    add(&witness, &tree.request(3, 4)).await.unwrap();
}

/// One log's requests say nothing of another's.
#[tokio::test]
async fn logs_are_apart() {
    let other = signer("other.example", Algorithm::Ed25519);
    let second = WatchedLog::new("other.example", vec![other.public().clone()], 10).unwrap();
    let home = Home::of(vec![watched(), second.clone()]);
    let (witness, tree) = (home.up(), Tree::new(9));
    add(&witness, &tree.request(0, 9)).await.unwrap();
    let body = tree.request(0, 4).to_string();
    let (head, _) = body.split_once(ORIGIN).unwrap();
    let mut note = counterfoil_merkle::note::Note::new(
        tree.checkpoint(4).note().text().replace(ORIGIN, "other.example"),
    )
    .unwrap();
    // Signed by the other log's key, in either log's name.
    note.sign(&other);
    witness.add_checkpoint(format!("{head}{note}").as_bytes()).await.unwrap();
    let mut stolen =
        counterfoil_merkle::note::Note::new(tree.checkpoint(4).note().text().to_owned()).unwrap();
    stolen.sign(&other);
    let refused = witness.add_checkpoint(format!("{head}{stolen}").as_bytes()).await;
    assert!(matches!(refused, Err(Refusal::Signature(_))), "{refused:?}");
    let unknown = body.replace(ORIGIN, "unknown.example");
    assert_eq!(witness.add_checkpoint(unknown.as_bytes()).await, Err(Refusal::UnknownLog));
    let sizes = [watched(), second]
        .map(|log| witness.slot(log.id()).unwrap().view().newest.unwrap().head().size.get());
    assert_eq!(sizes, [9, 4]);
}

/// Logs can be added to a witness at work; those that it has keep what they know.
#[tokio::test]
async fn logs_are_added_at_work() {
    let (home, tree) = (Home::new(), Tree::new(9));
    let witness = home.up();
    add(&witness, &tree.request(0, 9)).await.unwrap();
    let other = signer("other.example", Algorithm::Ed25519).public().clone();
    let mut roster = Roster::default();
    roster.add(WatchedLog::new("other.example", vec![other.clone()], 10).unwrap()).unwrap();
    assert_eq!(witness.watch(&roster).unwrap(), 1);
    assert_eq!(witness.watch(&roster).unwrap(), 0);
    assert_eq!((witness.slots().len(), size(&witness)), (2, 9));
    let mut stolen = Roster::default();
    stolen.add(WatchedLog::new("third.example", vec![other], 10).unwrap()).unwrap();
    assert!(matches!(witness.watch(&stolen), Err(WitnessError::Roster(_))));
    assert_eq!(witness.slots().len(), 2);
}

/// Who hangs up while he is served leaves a state that is whole: memory and disk say the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn hanging_up_leaves_nothing_half_done() {
    let (home, tree) = (Home::new(), Tree::new(200));
    let witness = home.up();
    for new in 1..200 {
        let (task, request) = (Arc::clone(&witness), tree.request(size(&witness), new));
        let asked = tokio::spawn(async move { add(&task, &request).await });
        for _ in 0..new % 7 {
            tokio::task::yield_now().await;
        }
        asked.abort();
        let _ = asked.await;
    }
    // Whatever began is finished before the next request is judged.
    let last = add(&witness, &tree.request(0, 200)).await;
    let Err(Refusal::Conflict { size: known }) = last else { panic!("{last:?}") };
    assert_eq!(known.get(), size(&witness));
    let held = view(&witness).newest;
    drop(witness);
    assert_eq!(view(&home.up()).newest, held);
}
