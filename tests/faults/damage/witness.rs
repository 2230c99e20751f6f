//! A witness's state, with the real program.

use counterfoil_merkle::{
    checkpoint::SignedCheckpoint,
    witness::{Answer, checkpoint_path},
};
use counterfoil_tests::{Http, Reply, ServedWitness, SignedTree};

use super::{Damage, Tally};
use crate::{PROGRAMS, campaign::rounds, template::read};

/// Rounds, unless the environment says otherwise.
const ROUNDS: u64 = 12;

/// Exit code for what could not be done.
const UNKNOWN: i32 = 2;

fn submit(http: &mut Http, tree: &SignedTree, old: u64) -> Reply {
    http.post("/add-checkpoint", tree.request(old).to_string().as_bytes()).unwrap()
}

fn is_cosigned(reply: &Reply) -> bool {
    let answer = Answer::parse(reply.status, reply.header("content-type"), reply.text());
    matches!(answer, Ok(Answer::Cosigned(_)))
}

fn shown(http: &mut Http, origin: &str) -> Option<SignedCheckpoint> {
    let reply = http.get(&format!("/{}", checkpoint_path(origin))).unwrap();
    (reply.status == 200).then(|| reply.text().parse().unwrap())
}

/// Whatever is damaged: the witness says so and does not start, or it stands where it stood: it cosigns what grew from
/// there, refuses another history, and knows the log that forked.
#[test]
fn a_damaged_witness_is_named_or_as_it_was() {
    const HONEST: &str = "log.example/honest";
    const FORKED: &str = "log.example/forked";
    let [honest, forked] = [HONEST, FORKED].map(|origin| SignedTree::new(origin).grown(0, 5));
    let mut witness = ServedWitness::start(PROGRAMS, "witness.example/damage", &[honest.key(), forked.key()]);
    let mut http = witness.http();
    assert!(is_cosigned(&submit(&mut http, &honest, 0)) && is_cosigned(&submit(&mut http, &forked, 0)));
    let honest = honest.grown(0, 9);
    assert!(is_cosigned(&submit(&mut http, &honest, 5)));
    let fork = forked.grown(1, 9);
    assert!(is_cosigned(&submit(&mut http, &forked.grown(0, 9), 5)));
    assert!(!is_cosigned(&submit(&mut http, &fork, 5)));
    let kept = [HONEST, FORKED].map(|origin| shown(&mut http, origin).unwrap().to_string());
    witness.down();
    let state = witness.home().join("state");
    let files = read(&state);
    assert!(files.keys().any(|path| path.ends_with("evidence")), "{:?}", files.keys());

    let mut tally = Tally::default();
    let mut named = |damage: &Damage| {
        let checked = witness.check();
        if checked.code != 0 {
            damage.assert_named(&checked.exits(UNKNOWN).err);
            return true;
        }
        witness.up();
        let mut http = witness.http();
        let now = [HONEST, FORKED].map(|origin| shown(&mut http, origin).map(|shown| shown.to_string()));
        assert_eq!(now, kept.clone().map(Some), "{damage}");
        let other = SignedTree::new(HONEST).grown(0, 5).grown(1, 12);
        assert!(!is_cosigned(&submit(&mut http, &other, 5)), "{damage}: another history was cosigned");
        assert!(!is_cosigned(&submit(&mut http, &forked.grown(0, 12), 9)), "{damage}: the log that forked");
        assert!(is_cosigned(&submit(&mut http, &honest.grown(0, 12), 9)), "{damage}: the honest log");
        witness.down();
        false
    };
    assert!(!named(&Damage::none(&files, &state)));
    rounds("damaged witnesses", ROUNDS, |_, mut dice| {
        tally.count(named(&Damage::deal(&files, &state, &mut dice)));
    });
    println!(
        "damaged witnesses: {tally}, {} files",
        files.values().filter(|bytes| !bytes.is_empty()).count()
    );
}
