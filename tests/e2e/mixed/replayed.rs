//! Admission over again, from what the log serves: one pass, with the refusals judged at their sizes on the way.

use std::collections::{HashMap, HashSet};

use counterfoil_merkle::{
    Hash, LeafIndex,
    bundle::parse_bundle,
    tile::{TILE_WIDTH, TileKind, TilePath},
};
use counterfoil_receipt::{
    Entry, Kind, Statement,
    admission::{Chain, Link, Pass, Replay},
    refusal::Borne,
};
use counterfoil_tests::{Deployment, Http, audit::checkpoint};

use super::Refused;

/// Judges every record of a log again, and every refusal at its size. How many records there were.
pub(super) fn replay(http: &mut Http, log: &Deployment, refused: &[Refused]) -> u64 {
    let size = checkpoint(http, &log.log_key.parse().unwrap()).head().size;
    let mut due: Vec<&Refused> = refused.iter().collect();
    due.sort_by_key(|refused| std::cmp::Reverse(refused.refusal.refusal.size));
    let mut replay = Replay::new(log.origin.parse().unwrap());
    let mut links: HashMap<Hash, Link> = HashMap::new();
    let mut erasures = Erasures::default();
    for bundle in 0..size.get().div_ceil(TILE_WIDTH) {
        let fetch = |http: &mut Http, kind| {
            let path = TilePath::full(kind, bundle);
            let path = TilePath { width: path.width_at(size), ..path };
            let reply = http.get(&format!("/{path}")).unwrap();
            assert_eq!(reply.status, 200, "{path}");
            reply.body
        };
        let (entries, statements) = (fetch(http, TileKind::Entries), fetch(http, TileKind::Statements));
        let (entries, statements) = (parse_bundle(&entries).unwrap(), parse_bundle(&statements).unwrap());
        for (entry, statement) in entries.into_iter().zip(statements) {
            refusals_at(&replay, &mut due, &links, &erasures);
            let index = LeafIndex::new(replay.size().get()).unwrap();
            let (leaf, read) = (Hash::leaf(entry), Entry::parse(entry).unwrap());
            let said = (!statement.is_empty()).then(|| read.check_statement(statement).unwrap());
            erasures.note(&read, leaf, said.is_none());
            let chain = Chain::of(read.about).fill(|leaf| links.get(&leaf).cloned());
            let passed = replay.next(&read, leaf, said.as_ref(), &chain);
            let whole = passed == Ok(Pass::Whole);
            let in_part = matches!(passed, Ok(Pass::InPart(_))) && (said.is_none() || erasures.touch(&chain));
            assert!(whole || in_part, "entry {index}, a {}: {passed:?}", read.kind);
            links.insert(leaf, Link::new(index, leaf, read, statement));
        }
    }
    refusals_at(&replay, &mut due, &links, &erasures);
    erasures.are_all_ordered();
    assert!(due.is_empty(), "{} refusals of a larger log than there is", due.len());
    replay.size().get()
}

/// What is not there any more, and what was ordered to go.
#[derive(Default)]
struct Erasures {
    empty: HashSet<Hash>,
    ordered: HashSet<Hash>,
}

impl Erasures {
    fn note(&mut self, entry: &Entry, leaf: Hash, empty: bool) {
        if empty {
            self.empty.insert(leaf);
        }
        self.ordered.extend(entry.about.filter(|_| entry.kind == Kind::Erasure));
    }

    /// Whether a record that this one stands on shows no statement.
    fn touch(&self, chain: &Chain) -> bool {
        chain.links().iter().any(|link| self.empty.contains(&link.leaf))
    }

    fn are_all_ordered(&self) {
        assert_eq!(self.empty, self.ordered, "slots are empty by order, and every order is carried out");
    }
}

/// Judges the refusals of the size that the replay has come to.
fn refusals_at(replay: &Replay, due: &mut Vec<&Refused>, links: &HashMap<Hash, Link>, erasures: &Erasures) {
    while let Some(refused) = due.pop_if(|refused| refused.refusal.refusal.size == replay.size()) {
        let statement = Statement::parse(&refused.record.clone().verify().unwrap()).ok();
        let chain = statement.as_ref().map_or_else(Chain::default, Chain::of_statement);
        let chain = chain.fill(|leaf| links.get(&leaf).cloned());
        let borne = refused.refusal.check(&refused.record, replay.ledger(), &chain).unwrap();
        let rule = refused.refusal.refusal.rule;
        let untold = borne == Borne::CannotTell && erasures.touch(&chain);
        assert!(borne == Borne::Out || untold, "{rule} at {}: {borne:?}, {statement:?}", replay.size());
    }
}
