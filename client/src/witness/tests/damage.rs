//! What is found changed, cut or gone at start: never believed, always named.

use super::{tree::Tree, *};
use crate::witness::state::StateError;

/// A home with every kind of file that a witness writes.
async fn full() -> Home {
    let (home, tree) = (Home::new(), Tree::new(9));
    let witness = home.up();
    add(&witness, &tree.request(0, 5)).await.unwrap();
    add(&witness, &tree.forked(2, 7).request(5, 7)).await.unwrap_err();
    slot(&witness).told(slot(&witness).waiting().await[0].0, false).await;
    add(&witness, &tree.forked(3, 8).request(5, 8)).await.unwrap_err();
    add(&witness, &tree.forked(4, 5).request(5, 5)).await.unwrap_err();
    drop(witness);
    assert!(home.open().is_ok());
    home
}

fn fails_at(home: &Home, path: &Path, what: &str) {
    let error = home.open().map(drop).expect_err(what).to_string();
    assert!(error.contains(path.to_str().unwrap()), "{what} of {}: {error}", path.display());
}

/// A byte flipped anywhere, or any end cut off any file, stops the witness, which names the file and changes nothing.
#[tokio::test]
async fn damage_is_named() {
    let home = full().await;
    let lock = home.state().join("lock");
    let files: Vec<_> = files(&home.state()).into_iter().filter(|path| *path != lock).collect();
    assert_eq!(files.len(), 7, "{files:?}");
    for path in &files {
        let whole = fs::read(path).unwrap();
        for position in (0..whole.len()).step_by(23).chain([whole.len() - 1]) {
            let mut flipped = whole.clone();
            flipped[position] ^= 1;
            fs::write(path, &flipped).unwrap();
            fails_at(&home, path, &format!("byte {position}"));
            fs::write(path, &whole[..position]).unwrap();
            fails_at(&home, path, &format!("cut at {position}"));
            assert_eq!(fs::read(path).unwrap(), whole[..position]);
        }
        fs::write(path, &whole).unwrap();
    }
    assert!(home.open().is_ok());
}

/// A checkpoint that was cosigned and is gone, alone or with all of its log, is missed.
#[tokio::test]
async fn what_is_gone_is_missed() {
    let home = full().await;
    let (checkpoint, aside) = (home.log().join("checkpoint"), home.folder.path().join("aside"));
    fs::rename(&checkpoint, &aside).unwrap();
    fails_at(&home, &checkpoint, "removal");
    fs::rename(&aside, &checkpoint).unwrap();
    fs::rename(home.log(), &aside).unwrap();
    fails_at(&home, &checkpoint, "removal of all");
    fs::rename(&aside, home.log()).unwrap();
    assert!(home.open().is_ok());
    fs::remove_file(home.state().join("witness")).unwrap();
    assert!(matches!(home.open(), Err(WitnessError::State(StateError::None { .. }))));
    let again = StateDir::create(&home.state(), &vkey());
    assert!(matches!(again, Err(StateError::Exists { .. })), "{again:?}");
}

/// What a crash left unfinished is swept; a log that was cosigned and not marked yet is marked.
#[tokio::test]
async fn an_interrupted_write_is_as_if_never_begun() {
    let home = full().await;
    for folder in [home.state(), home.state().join("cosigned"), home.log(), home.log().join("refused")] {
        fs::write(folder.join(".counterfoil-abc"), b"half").unwrap();
    }
    let mark = home.state().join("cosigned").join(home.logs[0].id().to_string());
    fs::remove_file(&mark).unwrap();
    let witness = home.up();
    assert_eq!(size(&witness), 5);
    assert!(mark.exists());
    let left = files(&home.state());
    assert!(left.iter().all(|path| !path.to_str().unwrap().contains(".counterfoil-")), "{left:?}");
}

/// One witness a directory, and one directory a witness.
#[tokio::test]
async fn a_directory_has_one_witness() {
    let home = full().await;
    let witness = home.up();
    assert!(matches!(home.open(), Err(WitnessError::State(StateError::Locked { .. }))));
    drop(witness);
    let other = signer("other", Algorithm::CosignatureV1);
    let opened = StateDir::open(&home.state(), other.public());
    assert!(matches!(opened, Err(StateError::OtherWitness { .. })), "{opened:?}");
}

/// A checkpoint that the log's present keys did not sign is not taken for its own; with the former key beside it is.
#[tokio::test]
async fn a_key_is_changed_with_the_former_one_beside_it() {
    let mut home = Home::new();
    add(&home.up(), &Tree::new(9).request(0, 5)).await.unwrap();
    let (old, new) = (watched().keys()[0].clone(), signer("new", Algorithm::Ed25519).public().clone());
    let origin = watched().origin().to_string();
    home.logs = vec![WatchedLog::new(&origin, vec![new.clone()], 1).unwrap()];
    let opened = home.open().map(drop);
    assert!(matches!(opened, Err(WitnessError::State(StateError::OtherKey { .. }))), "{opened:?}");
    home.logs = vec![WatchedLog::new(&origin, vec![new, old], 1).unwrap()];
    assert_eq!(size(&home.up()), 5);
}

/// A disk that takes nothing changes nothing: once it takes something again, the witness goes on from where it was.
#[tokio::test]
async fn a_full_disk_changes_nothing() {
    let (home, tree) = (Home::new(), Tree::new(9));
    let witness = home.up();
    add(&witness, &tree.request(0, 5)).await.unwrap();
    let aside = home.folder.path().join("aside");
    fs::rename(home.log(), &aside).unwrap();
    fs::write(home.log(), b"in the way").unwrap();
    assert_eq!(add(&witness, &tree.request(5, 6)).await, Err(Refusal::Storage));
    assert_eq!((size(&witness), view(&witness).lost), (5, false));
    fs::remove_file(home.log()).unwrap();
    fs::rename(&aside, home.log()).unwrap();
    add(&witness, &tree.request(5, 7)).await.unwrap();
    drop(witness);
    assert_eq!(size(&home.up()), 7);
}

/// Where nobody knows what a failed write left behind, nothing more is cosigned until a restart has read it.
#[tokio::test]
async fn a_doubtful_write_stops_the_log() {
    let (home, tree) = (Home::new(), Tree::new(9));
    let witness = home.up();
    add(&witness, &tree.request(0, 5)).await.unwrap();
    let (checkpoint, aside) = (home.log().join("checkpoint"), home.folder.path().join("aside"));
    fs::rename(&checkpoint, &aside).unwrap();
    fs::create_dir_all(checkpoint.join("in the way")).unwrap();
    assert_eq!(add(&witness, &tree.request(5, 6)).await, Err(Refusal::Storage));
    assert!(view(&witness).lost);
    fs::remove_dir_all(&checkpoint).unwrap();
    fs::rename(&aside, &checkpoint).unwrap();
    assert_eq!(add(&witness, &tree.request(5, 7)).await, Err(Refusal::Storage));
    drop(witness);
    let witness = home.up();
    assert_eq!((size(&witness), view(&witness).lost), (5, false));
    add(&witness, &tree.request(5, 7)).await.unwrap();
}
