//! What is left of erased statements: nothing, wherever it was stopped.

use std::{path::PathBuf, sync::Mutex};

use counterfoil_merkle::{
    Frontier, LeafIndex,
    bundle::parse_bundle,
    key::{Algorithm, KeyName, NoteSigner},
};

use super::*;
use crate::{
    commit::NO_DIGEST,
    guard::{Guard, Mark},
    objects::{Created, Objects, commit_name},
    pace::Pace,
    publish::Publisher,
    recover::{Retained, grow, load, put_full},
    sequencer::Sequencer,
    settle::{Found, Settler},
    testing::{admitted, at},
};

/// A log of 300 receipts in ten commits, none of which is deleted yet, and an empty one after them.
struct Small {
    directory: tempfile::TempDir,
    objects: Arc<Objects>,
    log: Arc<Log>,
    sequencer: Sequencer,
    edge: Arc<Edge>,
    retained: Vec<Retained>,
    statements: Vec<Bytes>,
}

fn signer(name: &str, algorithm: Algorithm) -> NoteSigner {
    NoteSigner::from_seed(KeyName::new(name).unwrap(), algorithm, &[algorithm as u8 + 1; 32]).unwrap()
}

impl Small {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let objects = Arc::new(Objects::init(&directory.path().join("data")).unwrap());
        let log = Arc::new(Log::new(Arc::clone(&objects), None, 1));
        let sequencer = Sequencer::new(Frontier::new(), 0, NO_DIGEST, at(5));
        let (edge, retained, statements) = (Arc::default(), Vec::new(), Vec::new());
        let mut small = Self { directory, objects, log, sequencer, edge, retained, statements };
        for _ in 0..10 {
            small.commit(30);
        }
        small.commit(0);
        small
    }

    fn commit(&mut self, records: u64) {
        let first = self.sequencer.head().size.get();
        let batch = (first..first + records).map(admitted).collect();
        let sealed = self.sequencer.seal(at(5), [1; 16], batch).unwrap();
        let number = sealed.header.number;
        assert_eq!(self.objects.create_commit(number, sealed.record.clone()).unwrap(), Created::Made);
        self.sequencer.committed(&sealed);
        let (old, size) = (sealed.header.old.size, sealed.header.new.size);
        self.retained.push(Retained { number, old, size });
        let mut edge = Edge::clone(&self.edge);
        for leaf in sealed.leaves {
            self.statements.push(leaf.item.statement.clone());
            self.log.index_entry(&leaf.id, leaf.hash, leaf.kind);
            for (path, bytes) in grow(&mut edge, leaf.item, leaf.hash).unwrap() {
                put_full(&self.objects, path, bytes).unwrap();
            }
        }
        self.edge = Arc::new(edge);
    }

    fn publish(&self) {
        let (own, clock) = (
            signer("log.example", Algorithm::Ed25519),
            signer("log.example/clock", Algorithm::CosignatureV1),
        );
        let (own_key, clock_key) = (own.public().clone(), clock.public().clone());
        let mut publisher = Publisher::new(Box::new(own), Box::new(clock), own_key, clock_key).unwrap();
        self.log.publish(Arc::new(publisher.publish(Arc::clone(&self.edge), at(5)).unwrap()));
    }

    fn mark(&self) -> Mark {
        let (commit, head) = (self.sequencer.number(), self.sequencer.head());
        Mark { origin: "log.example".into(), commit, head, time: at(5) }
    }

    /// Settles what is there, with these orders, to the end.
    fn settle(&self, orders: Vec<Order>) {
        let path = self.directory.path().join("guard");
        let guard = Guard::open(&path).or_else(|_| Guard::create(&path, self.mark())).unwrap();
        let found = Found { retained: self.retained.clone(), orders };
        let guard = Arc::new(Mutex::new(guard));
        let (log, edge) = (Arc::clone(&self.log), Arc::clone(&self.edge));
        let settler = Settler::start(log, guard, edge, found, true, Pace::default());
        settler.unwrap().finish().unwrap();
    }

    /// Takes the first steps of carrying out orders, as [`Settling::carry_out`] does, and no more: the 10 commits count as
    /// one each.
    fn stop_after(&self, steps: usize, orders: &[Order]) {
        let mut below = Edge::clone(&self.edge);
        for order in orders {
            below.erase(order.target);
        }
        let commits = self.retained[..10].iter().map(|retained| retained.number);
        let objects = &self.objects;
        let mut taken: Vec<Box<dyn Fn() + '_>> = vec![
            Box::new(|| put_ragged(&self.log, &below).unwrap()),
            Box::new(|| replace_ragged_statements(&self.log, &below).unwrap()),
        ];
        taken.extend(commits.map(|number| -> Box<dyn Fn() + '_> {
            Box::new(move || objects.delete(&commit_name(number)).unwrap())
        }));
        taken.push(Box::new(|| objects.forget_commits(&[]).unwrap()));
        for order in orders {
            let (index, slot) = order.place();
            let path = TilePath::full(TileKind::Statements, index);
            let keep = (index == 1).then_some(300 % TILE_WIDTH);
            taken.push(Box::new(move || {
                objects.forget_partials(path.kind, index, keep).unwrap();
                if let Some(full) = objects.get(&path.to_string()).unwrap() {
                    let left = empty_items(&full, |it| it == slot).unwrap();
                    objects.replace_durably(&path.to_string(), left.into()).unwrap();
                }
            }));
        }
        assert_eq!(taken.len(), 15);
        taken.into_iter().take(steps).for_each(|step| step());
    }

    /// Finds the log again as a new process would.
    fn restart(&mut self, orders: &[Order]) {
        let loaded = load(&self.objects).unwrap();
        for (path, bytes) in &loaded.filled {
            put_full(&self.objects, *path, bytes.clone()).unwrap();
        }
        self.log = Arc::new(Log::new(Arc::clone(&self.objects), None, 1));
        self.log.tiles.erase(orders);
        let mut edge = loaded.edge;
        for order in orders {
            edge.erase(order.target);
        }
        (self.edge, self.retained) = (Arc::new(edge), loaded.chain);
        self.publish();
    }

    /// Names of the files that have the statement of an entry in them.
    fn traces(&self, index: usize) -> Vec<PathBuf> {
        let statement = &self.statements[index];
        let mut found = Vec::new();
        let mut directories = vec![self.directory.path().to_owned()];
        while let Some(directory) = directories.pop() {
            for item in std::fs::read_dir(directory).unwrap() {
                let path = item.unwrap().path();
                if path.is_dir() {
                    directories.push(path);
                } else if std::fs::read(&path).unwrap().windows(statement.len()).any(|it| it == statement) {
                    found.push(path);
                }
            }
        }
        found
    }
}

fn order(target: u64, record: u64) -> Order {
    Order { target: LeafIndex::new(target).unwrap(), record: LeafIndex::new(record).unwrap() }
}

/// Of statements in commits, bundles of all forms, spare files, staging files and what was set aside nothing is left; the
/// log that is found again is the same but for them.
#[test]
fn nothing_of_an_erased_statement_is_left() {
    let mut small = Small::new();
    small.publish();
    put_ragged(&small.log, &small.edge).unwrap();
    let early = Bytes::from(small.statements[280].to_vec());
    small.objects.create("set-aside/commit-7", Bytes::from(early_commit(&small, 280))).unwrap();
    small.objects.create("set-aside/commit-8", Bytes::from_static(b"another")).unwrap();
    small
        .objects
        .create("statement/001.p/30", counterfoil_merkle::bundle::format_bundle([&early[..]]).into())
        .unwrap();
    std::fs::write(small.directory.path().join("data/statement/000#3"), &small.statements[7]).unwrap();
    small.objects.delete_commit(1).unwrap();
    small.retained.remove(0);
    assert!(small.traces(7).len() >= 3 && small.traces(280).len() >= 4);

    // Orders that are not published change nothing.
    small.settle(vec![order(7, 300), order(280, 300)]);
    assert!(small.traces(7).len() >= 2 && small.traces(280).len() >= 3);
    let orders = vec![order(7, 298), order(280, 299)];
    small.log.tiles.erase(&orders);
    let mut edge = Edge::clone(&small.edge);
    assert!(edge.erase(LeafIndex::new(280).unwrap()));
    small.edge = Arc::new(edge);
    small.retained = retained_now(&small);
    small.settle(orders.clone());
    for index in [7, 280] {
        assert_eq!(small.traces(index), Vec::<PathBuf>::new(), "{index}");
        assert!(!small.log.tiles.is_erasing(LeafIndex::new(index as u64).unwrap()));
    }
    let found = load(&small.objects).unwrap();
    assert_eq!(found.edge.items, small.edge.items);
    assert_eq!(found.edge.frontier, small.edge.frontier);
    for index in [0, 6, 8, 255, 256, 279, 281, 299] {
        assert!(!small.traces(index).is_empty(), "{index}");
    }
    assert!(small.objects.get("set-aside/commit-8").unwrap().is_some());
    // Once more, as every start does.
    small.retained = retained_now(&small);
    small.settle(orders);
    assert_eq!(load(&small.objects).unwrap().edge.items, small.edge.items);
}

/// A record with the entry and the statement of one leaf, as it might have been set aside.
fn early_commit(small: &Small, index: u64) -> Vec<u8> {
    let item = block_on(small.log.tiles.item(&small.edge, LeafIndex::new(index).unwrap())).unwrap().unwrap();
    [&item.entry[..], &item.statement[..]].concat()
}

fn retained_now(small: &Small) -> Vec<Retained> {
    load(&small.objects).unwrap().chain
}

/// After whatever step it is stopped, the next start finishes an erasure, and nothing else is lost.
#[test]
fn the_next_start_finishes_what_was_begun() {
    let orders = vec![order(7, 298), order(280, 299)];
    for stopped in 0..=15 {
        let mut small = Small::new();
        small.publish();
        small.stop_after(stopped, &orders);
        small.restart(&orders);
        small.settle(orders.clone());
        for index in [7, 280] {
            assert_eq!(small.traces(index), Vec::<PathBuf>::new(), "{index} after step {stopped}");
        }
        let found = load(&small.objects).unwrap();
        assert_eq!(found.edge.items, small.edge.items, "after step {stopped}");
        assert_eq!(found.edge.frontier, small.edge.frontier, "after step {stopped}");
        let bundle = small.objects.get("statement/000").unwrap().unwrap();
        for (slot, item) in parse_bundle(&bundle).unwrap().into_iter().enumerate() {
            let expected = if slot == 7 { &b""[..] } else { &small.statements[slot] };
            assert_eq!(item, expected, "slot {slot} after step {stopped}");
        }
    }
}

/// Wherever the deletion of commits is stopped, the log is found again as it was: what was put for the newest of them
/// serves all.
#[test]
fn deletions_can_be_stopped_anywhere() {
    let small = Small::new();
    small.publish();
    put_ragged(&small.log, &small.edge).unwrap();
    let deletable = &small.retained[..small.retained.len() - 1];
    for retained in deletable {
        small.objects.delete(&commit_name(retained.number)).unwrap();
        let found = load(&small.objects).unwrap();
        assert_eq!(found.edge.frontier, small.edge.frontier, "without commit {}", retained.number);
        assert_eq!(found.edge.items, small.edge.items, "without commit {}", retained.number);
    }
}

/// Who sees a log without the order sees the statement; who sees it with the order does not, whatever lies below.
#[test]
fn slots_are_empty_for_those_who_see_the_order() {
    let small = Small::new();
    let tiles = &small.log.tiles;
    let target = LeafIndex::new(7).unwrap();
    let statement = |edge: &Edge| block_on(tiles.item(edge, target)).unwrap().unwrap().statement;
    let bundle = |edge: &Edge| {
        let path = TilePath::full(TileKind::Statements, 0);
        block_on(tiles.file(edge, path)).unwrap().unwrap()
    };
    tiles.erase(&[order(7, 299)]);
    let before = block_on(tiles.edge_at(&small.edge, TreeSize::new(299).unwrap())).unwrap().unwrap();
    assert_eq!(statement(&before), small.statements[7]);
    assert_eq!(statement(&small.edge), Bytes::new());
    assert_eq!(parse_bundle(&bundle(&before)).unwrap()[7], &small.statements[7][..]);
    assert_eq!(parse_bundle(&bundle(&small.edge)).unwrap()[7], b"");
    assert_eq!(parse_bundle(&bundle(&small.edge)).unwrap()[8], &small.statements[8][..]);
}
