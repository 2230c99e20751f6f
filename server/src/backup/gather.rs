//! The commits that a log retains, at one moment, while a server may be writing and dropping them.

use std::{sync::Arc, thread, time::Duration};

use bytes::Bytes;
use counterfoil_merkle::tile::TilePath;

use super::BackupError;
use crate::{
    commit::CommitRecord,
    objects::{CHECKPOINT, Objects, StoreError, commit_name, never_told_name},
    recover::{Loaded, RecoverError, assemble, parse_commit},
    rehash::{Damage, Fault, Rehash},
    tiles::ReadError,
};

/// How often a log that moves is looked at again.
const ATTEMPTS: usize = 50;

/// How long that waits for the log to come to rest.
const PAUSE: Duration = Duration::from_millis(20);

/// A log's retained commits in memory, verified: with the tiles below them they make up the log.
pub(super) struct Gathered {
    /// Number and bytes of each, oldest first.
    pub(super) commits: Vec<(u64, Bytes)>,
    /// What they make up.
    pub(super) loaded: Loaded,
    /// The copy of the published checkpoint.
    pub(super) checkpoint: Option<Bytes>,
}

impl Gathered {
    /// Size of the log below the oldest of them: that much is in tiles and bundles alone.
    pub(super) fn below(&self) -> u64 {
        self.loaded.chain[0].old.get()
    }
}

/// Reads the commits of a log, stopped or running. Each has its digest checked, its place in the chain, and its entries
/// and statements; all together have to reproduce the roots that they state, from the tiles below them up.
///
/// A record that goes away, or is written over, while it is read was settled meanwhile: the log then begins above it.
pub(super) fn gather(objects: &Arc<Objects>) -> Result<Gathered, BackupError> {
    for _ in 1..ATTEMPTS {
        match gather_once(objects) {
            Err(
                RecoverError::Chain { .. }
                | RecoverError::Commit { .. }
                | RecoverError::Read(_)
                | RecoverError::Root { .. }
                | RecoverError::Store(StoreError::Object { .. }),
            ) => thread::sleep(PAUSE),
            gathered => return Ok(gathered?),
        }
    }
    gather_once(objects).map_err(|error| match error {
        error @ RecoverError::Root { .. } => first_damage(objects).map_or(error.into(), BackupError::Damage),
        error => error.into(),
    })
}

/// The first tile or bundle that is not what it must be: which root is wrong tells nobody where to look.
fn first_damage(objects: &Objects) -> Option<Damage> {
    let mut rehash = Rehash::new();
    loop {
        let read = |path: TilePath| objects.get(&path.to_string())?.ok_or(ReadError::Missing { path });
        match rehash.next(read) {
            Ok(_) => {}
            Err(Fault::Damaged(damage)) => return Some(damage),
            Err(Fault::Read(_)) => return None,
        }
    }
}

fn gather_once(objects: &Arc<Objects>) -> Result<Gathered, RecoverError> {
    // Before the commits: what is published was committed earlier.
    let checkpoint = objects.get(CHECKPOINT)?;
    let mut numbers = objects.commit_numbers()?;
    let newest = numbers.pop().ok_or(RecoverError::Empty)?;
    if objects.get(&never_told_name(newest))?.is_some() {
        return Err(RecoverError::NeverTold { number: newest });
    }
    let (mut record, bytes) = read(objects, newest)?;
    let (mut commits, mut records) = (vec![(newest, bytes)], Vec::new());
    while let Some(number) = numbers.pop_if(|number| *number + 1 == record.header.number) {
        match read(objects, number) {
            Ok((before, bytes)) if before.digest == record.header.previous => {
                records.push(std::mem::replace(&mut record, before));
                commits.push((number, bytes));
            }
            Ok(_) => return Err(RecoverError::Chain { number: record.header.number }),
            // It was settled meanwhile. If it was not, tiles are missing below, and that is found next.
            Err(RecoverError::Chain { .. } | RecoverError::Commit { .. }) => break,
            Err(error) => return Err(error),
        }
    }
    records.push(record);
    records.reverse();
    commits.reverse();
    let loaded = assemble(objects, &records, Vec::new())?;
    Ok(Gathered { commits, loaded, checkpoint })
}

fn read(objects: &Objects, number: u64) -> Result<(CommitRecord, Bytes), RecoverError> {
    let bytes = objects.get(&commit_name(number))?.ok_or(RecoverError::Chain { number })?;
    Ok((parse_commit(&bytes, number)?, bytes))
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use counterfoil_merkle::Frontier;

    use super::*;
    use crate::{
        commit::NO_DIGEST,
        objects::Created,
        recover::{grow, put_full},
        sequencer::Sequencer,
        testing::{admitted, at},
        tiles::Edge,
    };

    /// A log of three commits, of 256 entries, 10 and none; with its full tiles, or without.
    fn log(directory: &Path, tiles: bool) -> Arc<Objects> {
        let objects = Arc::new(Objects::init(directory).unwrap());
        let mut sequencer = Sequencer::new(Frontier::new(), 0, NO_DIGEST, at(5));
        let mut edge = Edge::default();
        for entries in [0..256, 256..266, 266..266] {
            let sealed = sequencer.seal(at(5), [1; 16], entries.map(admitted).collect()).unwrap();
            let made = objects.create(&commit_name(sealed.header.number), sealed.record.clone()).unwrap();
            assert_eq!(made, Created::Made);
            sequencer.committed(&sealed);
            for leaf in sealed.leaves {
                for (path, bytes) in grow(&mut edge, leaf.item, leaf.hash).unwrap() {
                    if tiles {
                        put_full(&objects, path, bytes).unwrap();
                    }
                }
            }
        }
        objects
    }

    fn numbers(gathered: &Gathered) -> Vec<u64> {
        gathered.commits.iter().map(|(number, _)| *number).collect()
    }

    /// A record whose file is written over for another one while it is read was settled: if its entries are in tiles the log
    /// begins above it, and if they are not, or it is the newest, that is damage.
    #[test]
    fn a_torn_record_is_a_settled_one_or_damage() {
        let home = tempfile::tempdir().unwrap();
        for (tiles, torn, expected) in
            [(true, 1, Some(&[2, 3][..])), (true, 2, None), (true, 3, None), (false, 1, None)]
        {
            let directory = home.path().join(format!("{tiles}-{torn}"));
            let objects = log(&directory, tiles);
            assert_eq!(numbers(&gather(&objects).unwrap()), [1, 2, 3]);
            let path = directory.join(commit_name(torn));
            let bytes = fs::read(&path).unwrap();
            fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
            let found = gather(&objects).ok();
            assert_eq!(found.as_ref().map(numbers).as_deref(), expected, "record {torn}");
            if let Some(found) = found {
                assert_eq!((found.below(), found.loaded.edge.size().get()), (256, 266));
            }
        }
    }
}
