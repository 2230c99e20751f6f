//! A log and a plain model of one go through the same random operations, side by side: appends, duplicates, batches, erasures, proofs,
//! checkpoints, restarts, and deaths at any step of storage.
//!
//! `PROPTEST_CASES` (8) says how many histories.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod life;
mod plain;
mod records;

use std::sync::Arc;

use counterfoil_merkle::{LeafIndex, TreeSize};
use futures::executor::block_on;
use proptest::{prelude::*, sample::Index};

use crate::{
    life::{Answer, Death, Home, Life},
    plain::Plain,
    records::{Record, erasure, receipt},
};

/// What somebody does to a log.
#[derive(Clone, Debug)]
enum Operation {
    /// New receipts, in one batch.
    Append(usize),
    /// New receipts, the last of them twice, between receipts that the log may have.
    Mix(usize, Index, Index),
    /// A receipt's issuer orders its statement to be erased.
    Erase(Index),
    /// An entry is proven to be in the tree of some size.
    Inclusion(Index, Index),
    /// One tree is proven to have grown from another.
    Consistency(Index, Index),
    /// Everything is read and compared.
    Read,
    /// The log is ended in order, and started again.
    Restart,
    /// The log dies so many steps of storage into a batch, before or after that step, and is started again.
    Kill { receipts: usize, steps: usize, persisted: bool },
}

fn operation() -> impl Strategy<Value = Operation> {
    let index = any::<Index>;
    prop_oneof![
        4 => (1_usize..6).prop_map(Operation::Append),
        // Enough to fill a bundle after a few of them.
        1 => (60_usize..90).prop_map(Operation::Append),
        3 => (0_usize..4, index(), index()).prop_map(|(new, a, b)| Operation::Mix(new, a, b)),
        2 => index().prop_map(Operation::Erase),
        3 => (index(), index()).prop_map(|(index, size)| Operation::Inclusion(index, size)),
        3 => (index(), index()).prop_map(|(a, b)| Operation::Consistency(a, b)),
        1 => Just(Operation::Read),
        1 => Just(Operation::Restart),
        2 => (1_usize..5, 0_usize..30, any::<bool>())
            .prop_map(|(receipts, steps, persisted)| Operation::Kill { receipts, steps, persisted }),
    ]
}

/// The log, the model, and how many receipts were made.
struct Both {
    home: Home,
    life: Option<Life>,
    plain: Plain,
    made: u64,
}

impl Both {
    fn new() -> Self {
        let home = Home::new();
        let life = Life::start(&home, Death::never());
        let plain = Plain::beginning_with(&life.first());
        Self { home, life: Some(life), plain, made: 0 }
    }

    fn life(&self) -> &Life {
        self.life.as_ref().expect("it runs between operations")
    }

    fn fresh(&mut self, count: usize) -> Vec<Record> {
        let first = self.made;
        self.made += count as u64;
        (first..self.made).map(receipt).collect()
    }

    /// A receipt that the log may have, or a new one.
    fn any(&mut self, index: Index) -> Record {
        match self.made {
            0 => self.fresh(1).remove(0),
            made => receipt(index.index(usize::try_from(made).unwrap()) as u64),
        }
    }

    /// Sends records, all of which have to be answered: each is where it was, or at the end.
    fn append(&mut self, records: &[Record]) {
        let answers = self.life().submit(records);
        let before = self.plain.size();
        let mut placed = Vec::new();
        for (record, answer) in records.iter().zip(answers) {
            let Answer::At(index) = answer else { panic!("{} was not answered", record.id()) };
            match self.plain.find(record.id()) {
                Some(known) => assert_eq!(index, known, "a known record got another place"),
                None => placed.push((index, record)),
            }
        }
        placed.sort_by_key(|(index, _)| *index);
        placed.dedup_by(|a, b| a.0 == b.0 && a.1.id() == b.1.id());
        for (offset, (index, record)) in (before..).zip(placed) {
            assert_eq!(index, offset, "a place was left out, or given twice");
            self.take(record);
        }
    }

    /// The model takes what the log has at the next place.
    fn take(&mut self, record: &Record) {
        let item = self.life().item(self.plain.size()).expect("it was acknowledged");
        self.plain.append(record, &item);
    }

    fn perform(&mut self, operation: &Operation) {
        match operation {
            Operation::Append(count) => {
                let records = self.fresh(*count);
                self.append(&records);
            }
            Operation::Mix(count, a, b) => {
                let mut records = vec![self.any(*a)];
                records.extend(self.fresh(*count));
                records.extend(records.last().cloned());
                records.push(self.any(*b));
                self.append(&records);
            }
            Operation::Erase(index) => {
                let Some(target) = self.plain.receipt(*index) else { return };
                let order = erasure(&target.entry, target.index);
                self.append(&[order]);
                self.plain.erase(target.index);
                let item = self.life().item(target.index).expect("its entry stays");
                assert!(item.statement.is_empty(), "it was erased, and is shown");
            }
            Operation::Inclusion(index, size) => self.prove_inclusion(*index, *size),
            Operation::Consistency(a, b) => self.prove_consistency(*a, *b),
            Operation::Read => self.compare(),
            Operation::Restart => {
                assert!(self.life.take().expect("it runs").stop(), "it did not end in order");
                self.life = Some(Life::start(&self.home, Death::never()));
                self.compare();
            }
            Operation::Kill { receipts, steps, persisted } => self.kill(*receipts, *steps, *persisted),
        }
    }

    /// A life that ends at a step of storage, and the one after it: what was answered is there, and nothing but what was sent.
    fn kill(&mut self, count: usize, steps: usize, persisted: bool) {
        assert!(self.life.take().expect("it runs").stop(), "it did not end in order");
        let death = Death::never();
        let life = Life::start(&self.home, Arc::clone(&death));
        let records = self.fresh(count);
        death.after(steps, persisted);
        let answers = life.submit(&records);
        life.stop();
        self.life = Some(Life::start(&self.home, Death::never()));
        let (size, before) = (self.life().size(), self.plain.size());
        assert!(size >= before, "{} entries were lost", before - size);
        for index in before..size {
            let item = self.life().item(index).expect("below the size");
            let sent = records.iter().find(|record| record.made(&item.entry));
            self.plain.append(sent.expect("nobody sent what is there"), &item);
        }
        for (record, answer) in records.iter().zip(answers) {
            if let Answer::At(index) = answer {
                assert_eq!(self.plain.find(record.id()), Some(index), "acknowledged, and lost");
            }
        }
        // Whoever was not answered asks again.
        self.append(&records);
        self.compare();
    }

    fn prove_inclusion(&self, index: Index, size: Index) {
        let size = 1 + size.index(usize::try_from(self.plain.size()).unwrap()) as u64;
        let index = index.index(usize::try_from(size).unwrap()) as u64;
        let (view, log) = (self.life().view(), self.life().log());
        let (at, tree) = (LeafIndex::new(index).unwrap(), TreeSize::new(size).unwrap());
        let (leaf, proof) = block_on(log.inclusion(&view, at, tree)).unwrap();
        assert_eq!(leaf, self.plain.leaf(index));
        assert_eq!(proof.verify(leaf, self.plain.root(size)), Ok(()), "entry {index} in the tree of {size}");
    }

    fn prove_consistency(&self, a: Index, b: Index) {
        let size = |index: Index| index.index(usize::try_from(self.plain.size()).unwrap() + 1) as u64;
        let (old, new) = (size(a).min(size(b)), size(a).max(size(b)));
        let (view, log) = (self.life().view(), self.life().log());
        let [from, to] = [old, new].map(|size| TreeSize::new(size).unwrap());
        let proof = block_on(log.consistency(&view, from, to)).unwrap();
        let (old_root, new_root) = (self.plain.root(old), self.plain.root(new));
        assert_eq!(block_on(log.root_at(&view, from)).unwrap(), old_root);
        assert_eq!(proof.verify(old_root, new_root), Ok(()), "from {old} to {new}");
    }

    /// Head, entries, statements and places are the model's.
    fn compare(&self) {
        let view = self.life().view();
        let head = view.head();
        assert_eq!((head.size.get(), head.root), (self.plain.size(), self.plain.root(self.plain.size())));
        view.checkpoint.verify(&self.home.log_key()).expect("a checkpoint of the log");
        for index in 0..self.plain.size() {
            let item = self.life().item(index).expect("below the size");
            self.plain.check(index, &item);
        }
        assert!(self.life().item(self.plain.size()).is_none(), "more than the model has");
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: std::env::var("PROPTEST_CASES").map_or(8, |text| text.parse().expect("a number")),
        failure_persistence: None,
        max_shrink_iters: 200,
        ..ProptestConfig::default()
    })]

    /// Whatever is done to a log, it answers as the plain list of its records does.
    #[test]
    fn a_log_does_what_its_model_does(operations in prop::collection::vec(operation(), 1..30)) {
        let mut both = Both::new();
        for operation in &operations {
            both.perform(operation);
        }
        both.perform(&Operation::Restart);
        assert!(both.life.take().expect("it runs").stop());
        let report = counterfoil_server::fsck::fsck(
            both.home.config(),
            counterfoil_server::clock::wall_now().unwrap(),
            true,
        ).unwrap();
        assert!(report.is_clean(), "{report}");
    }
}
