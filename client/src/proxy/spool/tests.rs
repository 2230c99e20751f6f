use std::{fs, path::Path};

use counterfoil_receipt::{
    Envelope, Statement, Timestamp,
    draft::{BodyCommitter, ClaimSource, CommittedBodies, Extras, Sealed, Terms, Unnumbered},
    exchange::{Call, End, Limits, Watched},
    statement::Issuer,
};

use super::{
    record::{Delivered, FRAME_BYTES, Spooled},
    state::Duties,
    *,
};

const MIB: u64 = 1024 * 1024;

fn key(seed: u8) -> SigningKey {
    SigningKey::from_ed25519_seed(&[seed; 32])
}

fn keeping() -> Keeping {
    Keeping { segment_bytes: MIB, segment_ms: 1000, duties: Duties { push: false } }
}

fn at(ms: u64) -> Timestamp {
    Timestamp::from_millis(ms).unwrap()
}

fn open_with(folder: &Path, seed: u8, fresh: u8, keeping: Keeping) -> Result<Opened, SpoolError> {
    let log = "log.example".parse().unwrap();
    let opening = Opening {
        folder,
        log: &log,
        key: key(seed),
        fresh: StreamId::new([fresh; 16]),
        secret: [fresh; 32],
        bytes_max: 100 * MIB,
        keeping,
    };
    let (spool, thread) = Spool::open(opening)?;
    Ok(Opened { spool: Some(spool), thread: Some(thread) })
}

fn open(folder: &Path) -> Opened {
    open_with(folder, 1, 7, keeping()).unwrap()
}

/// A spool that is closed in order when it is dropped.
struct Opened {
    spool: Option<Spool>,
    thread: Option<JoinHandle<()>>,
}

impl std::ops::Deref for Opened {
    type Target = Spool;
    fn deref(&self) -> &Spool {
        self.spool.as_ref().unwrap()
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.spool = None;
        self.thread.take().unwrap().join().unwrap();
    }
}

fn receipt(n: u8) -> Unnumbered {
    let call = Call::at("/v1/chat/completions").unwrap();
    let request = format!("{{\"model\":\"m-{n}\"}}");
    let facts = Watched::new(call, Limits::NONE).facts(request.as_bytes(), End::Timeout);
    let terms = Terms {
        log: "log.example".parse().unwrap(),
        issuer: Issuer { key: key(1).public().clone(), software: None },
        claim: ClaimSource::Fresh,
        sealed: Sealed::default(),
        extras: Extras::default(),
    };
    let mut random = |bytes: &mut [u8]| bytes.fill(n);
    let body = BodyCommitter::new(counterfoil_receipt::commitment::Label::Request, &mut random).finish();
    Unnumbered::new(facts, CommittedBodies { request: body, response: None }, terms, &mut random).unwrap()
}

fn over(n: u8) -> Over {
    Over { exchange: [n; 16], credential: [n; 32], completed: at(u64::from(n)), receipt: receipt(n) }
}

async fn spooled(spool: &Spool, n: u8) -> Spooled {
    let kept = spool.find(&[n; 16]).expect("an exchange");
    match spool.read(kept.place).await.unwrap() {
        Some(Record::Exchange(spooled)) => spooled,
        other => panic!("{other:?}"),
    }
}

/// The numbering of each receipt, read from what was signed.
async fn numbering(spool: &Spool, n: u8) -> Numbering {
    let envelope = Envelope::parse(spooled(spool, n).await.envelope.as_bytes()).unwrap();
    Statement::parse(&envelope.verify().unwrap()).unwrap().frame.numbering.unwrap()
}

async fn check_chain(spool: &Spool, count: u8) {
    let mut previous = None;
    let mut numbered: Vec<(Numbering, Id)> = Vec::new();
    for n in 0..count {
        numbered.push((numbering(spool, n).await, spooled(spool, n).await.id));
    }
    numbered.sort_by_key(|(numbering, _)| numbering.number);
    for (expected, (numbering, id)) in (0..).zip(numbered) {
        assert_eq!((numbering.number.get(), numbering.previous), (expected, previous));
        previous = Some(id);
    }
}

/// However many are over at once, and however often the program starts: one chain, no gap, nothing lost.
#[tokio::test(flavor = "multi_thread")]
async fn numbers_are_given_once_and_in_a_chain() {
    let folder = tempfile::tempdir().unwrap();
    for life in 0..4_u8 {
        let spool = open_with(folder.path(), 1, 7 + life, keeping()).unwrap();
        let writes: Vec<_> = (0..30)
            .map(|n| {
                let spool = Spool::clone(&spool);
                tokio::spawn(async move { spool.write(over(life * 30 + n)).await.unwrap() })
            })
            .collect();
        for (n, write) in (0..).zip(writes) {
            assert_eq!(write.await.unwrap(), spooled(&spool, life * 30 + n).await.id);
        }
        check_chain(&spool, life * 30 + 30).await;
        assert_eq!(numbering(&spool, 0).await.stream, StreamId::new([7; 16]), "the first life's name");
    }
}

/// The last write, cut anywhere, is gone whole, and its number is given to the next; what lasted is there.
#[tokio::test]
async fn a_torn_end_was_never_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let segment = folder.path().join("segments").join(format!("{:020}", 1));
    let acknowledged = folder.path().join("acknowledged");
    let (kept, mark, whole) = {
        let spool = open(folder.path());
        spool.write(over(0)).await.unwrap();
        spool.sweep(Sweep { expired: at(0), now: at(0) }).await.unwrap();
        let (kept, mark) = (fs::read(&segment).unwrap(), fs::read(&acknowledged).unwrap());
        spool.write(over(1)).await.unwrap();
        (kept, mark, fs::read(&segment).unwrap())
    };
    for end in (kept.len()..whole.len()).step_by(97) {
        for tail in [&whole[kept.len()..end], &vec![0; end - kept.len()]] {
            fs::write(&segment, [kept.as_slice(), tail].concat()).unwrap();
            // As a kill leaves it, and an end in order does not.
            fs::write(&acknowledged, &mark).unwrap();
            let spool = open(folder.path());
            assert_eq!(spool.find(&[1; 16]), None);
            spool.write(over(2)).await.unwrap();
            assert_eq!(numbering(&spool, 2).await.number.get(), 1);
            assert_eq!(numbering(&spool, 2).await.previous, Some(spooled(&spool, 0).await.id));
        }
    }
}

/// What was said to last and does not is damage: no number is given again.
#[tokio::test]
async fn damage_is_not_taken_for_a_torn_end() {
    let folder = tempfile::tempdir().unwrap();
    let small = Keeping { segment_bytes: 4096, ..keeping() };
    let path = |n: u64| folder.path().join("segments").join(format!("{n:020}"));
    {
        let spool = open_with(folder.path(), 1, 7, small).unwrap();
        for n in 0..8 {
            spool.write(over(n)).await.unwrap();
        }
        spool.sweep(Sweep { expired: at(0), now: at(0) }).await.unwrap();
    }
    let last = (1..).take_while(|&n| path(n).exists()).last().unwrap();
    assert!(last > 1, "several segments");
    for segment in 1..=last {
        let whole = fs::read(path(segment)).unwrap();
        let head = usize::try_from(u32::from_be_bytes(*whole.first_chunk().unwrap())).unwrap() + FRAME_BYTES;
        for at in (0..whole.len()).step_by(whole.len() / 7).chain([head.min(whole.len() - 1)]) {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            for broken in [&changed, &whole[..at].to_vec()] {
                fs::write(path(segment), broken).unwrap();
                let refused = open_with(folder.path(), 1, 7, small).err();
                let expected =
                    matches!(refused, Some(SpoolError::Damaged { .. } | SpoolError::Missing { .. }));
                assert!(expected, "byte {at} of {segment}: {refused:?}");
            }
        }
        fs::remove_file(path(segment)).unwrap();
        let refused = open_with(folder.path(), 1, 7, small).err();
        // The oldest may go when all in it is done with.
        assert!(segment == 1 || matches!(refused, Some(SpoolError::Missing { .. })), "{refused:?}");
        fs::write(path(segment), whole).unwrap();
    }
    assert!(open_with(folder.path(), 1, 7, small).is_ok());
}

/// Delivered, handed over and expired exchanges go with their segments; others stay, over restarts too.
#[tokio::test]
async fn what_is_done_with_goes() {
    let folder = tempfile::tempdir().unwrap();
    let small = Keeping { segment_bytes: 1, ..keeping() };
    let spool = open_with(folder.path(), 1, 7, small).unwrap();
    for n in 0..4 {
        spool.write(over(n)).await.unwrap();
    }
    let proof = |n| Delivered { sequence: n, entry: format!("entry {n}"), proof: "proof".to_owned() };
    for n in [0, 1, 3] {
        spool.mark(vec![Record::Delivered(proof(n))]).await.unwrap();
    }
    spool.sweep(Sweep { expired: at(1), now: at(0) }).await.unwrap();
    drop(spool);
    let spool = open_with(folder.path(), 1, 7, small).unwrap();
    assert_eq!(spool.status().undelivered, 1);
    assert_eq!(spool.find(&[0; 16]), None, "expired");
    let kept = spool.find(&[1; 16]).unwrap();
    assert_eq!(spool.read(kept.delivered.unwrap()).await.unwrap(), Some(Record::Delivered(proof(1))));
    assert_eq!(spool.undelivered(0, 10).iter().map(|kept| kept.sequence).collect::<Vec<_>>(), [2]);
    spool.sweep(Sweep { expired: at(1000), now: at(0) }).await.unwrap();
    spool.write(over(9)).await.unwrap();
    assert_eq!(spool.find(&[1; 16]), None);
    assert_eq!(spool.read(kept.place).await.unwrap(), None);
    assert!(spool.find(&[2; 16]).is_some() && spool.find(&[3; 16]).is_some());
}

#[tokio::test]
async fn a_spool_has_one_owner_one_issuer_and_a_limit() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path());
    assert!(matches!(open_with(folder.path(), 1, 7, keeping()).err(), Some(SpoolError::Locked { .. })));
    spool.write(over(0)).await.unwrap();
    let (first, second) = (spool.reserve(60 * MIB).unwrap(), spool.reserve(60 * MIB));
    assert!(second.is_none());
    drop(first);
    assert!(spool.reserve(60 * MIB).is_some());
    let kept = spool.credential(b"secret");
    drop(spool);

    let foreign = open_with(folder.path(), 2, 8, keeping()).err();
    assert!(matches!(foreign, Some(SpoolError::Foreign { count: 1, .. })), "{foreign:?}");
    let spool = open(folder.path());
    let (entry, proof) = (String::new(), String::new());
    spool.mark(vec![Record::Delivered(Delivered { sequence: 0, entry, proof })]).await.unwrap();
    drop(spool);
    let spool = open_with(folder.path(), 2, 8, keeping()).unwrap();
    let refused = spool.write(over(1)).await;
    assert!(matches!(refused, Err(SpoolError::Sign(_))), "the receipt names another issuer: {refused:?}");
    assert_eq!(spool.shared.state().head().next.stream, StreamId::new([8; 16]));
    assert_eq!(spool.shared.state().head().next.number, Number::FIRST, "no number was spent on it");
    assert!(spool.is_credential(b"secret", &kept) && !spool.is_credential(b"Secret", &kept));
}

/// A disk that fails gives no receipt, no number, and no hope.
#[tokio::test]
async fn a_failed_disk_acknowledges_nothing() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path()));
    let log: Origin = "log.example".parse().unwrap();
    let opening = Opening {
        folder: folder.path(),
        log: &log,
        key: key(1),
        fresh: StreamId::new([7; 16]),
        secret: [0; 32],
        bytes_max: MIB,
        keeping: keeping(),
    };
    let (shared, writer) = Spool::prepare(opening).unwrap();
    let read_only = File::open(folder.path().join("segments").join(format!("{:020}", 1))).unwrap();
    let (jobs, mut taken) = mpsc::channel(8);
    let spool = Spool { shared, jobs };
    let thread = std::thread::spawn(move || writer.on(read_only).run(&mut taken));
    assert!(matches!(spool.write(over(0)).await, Err(SpoolError::Full)));
    assert!(matches!(spool.write(over(1)).await, Err(SpoolError::Failed)));
    assert!(spool.reserve(1).is_none() && spool.status().has_failed);
    assert_eq!(spool.status().undelivered, 0);
    drop(spool);
    thread.join().unwrap();
    let spool = open(folder.path());
    spool.write(over(2)).await.unwrap();
    assert_eq!(numbering(&spool, 2).await.number, Number::FIRST);
}
