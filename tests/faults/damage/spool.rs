//! A proxy's spool.

use std::{collections::BTreeMap, path::Path, sync::OnceLock, thread::JoinHandle};

use counterfoil_client::proxy::spool::{
    Opening, Spool, SpoolError,
    record::{Delivered, Record, Spooled},
    state::Duties,
    writer::{Keeping, Over, Sweep},
};
use counterfoil_receipt::{
    Envelope, Id, SigningKey, Statement, Timestamp,
    commitment::Label,
    draft::{BodyCommitter, ClaimSource, CommittedBodies, Extras, Sealed, Terms, Unnumbered},
    exchange::{Call, End, Limits, Watched},
    statement::{Issuer, Numbering, StreamId},
};

use super::{Damage, Tally};
use crate::{
    campaign::rounds,
    template::{Files, ORIGIN, directory, read},
};

/// Rounds, unless the environment says otherwise.
const ROUNDS: u64 = 60;

/// So many exchanges are in the spool, in three lives.
const EXCHANGES: u8 = 45;

/// The credential of all of them.
const CREDENTIAL: &[u8] = b"Bearer of-the-caller";

fn key() -> SigningKey {
    SigningKey::from_ed25519_seed(&[5; 32])
}

fn at(n: u8) -> Timestamp {
    Timestamp::from_millis(1_000 + u64::from(n)).unwrap()
}

fn open(folder: &Path) -> Result<(Spool, JoinHandle<()>), SpoolError> {
    Spool::open(Opening {
        folder,
        log: &ORIGIN.parse().unwrap(),
        key: key(),
        fresh: StreamId::new([3; 16]),
        secret: [8; 32],
        bytes_max: 100 << 20,
        keeping: Keeping { segment_bytes: 24 << 10, segment_ms: 3_600_000, duties: Duties { push: false } },
    })
}

fn over(spool: &Spool, n: u8) -> Over {
    let call = Call::at("/v1/chat/completions").unwrap();
    let facts =
        Watched::new(call, Limits::NONE).facts(format!("{{\"model\":\"m-{n}\"}}").as_bytes(), End::Timeout);
    let terms = Terms {
        log: ORIGIN.parse().unwrap(),
        issuer: Issuer { key: key().public().clone(), software: None },
        claim: ClaimSource::Fresh,
        sealed: Sealed::default(),
        extras: Extras::default(),
    };
    let mut random = |bytes: &mut [u8]| bytes.fill(n);
    let request = BodyCommitter::new(Label::Request, &mut random).finish();
    let bodies = CommittedBodies { request, response: None };
    let receipt = Unnumbered::new(facts, bodies, terms, &mut random).unwrap();
    Over { exchange: [n; 16], credential: spool.credential(CREDENTIAL), completed: at(n), receipt }
}

/// A spool with everything in it that there can be, closed in order.
struct Made {
    files: Files,
    exchanges: BTreeMap<u8, Spooled>,
    undelivered: Vec<u64>,
    last: (Numbering, Id),
}

fn numbering(spooled: &Spooled) -> Numbering {
    let envelope = Envelope::parse(spooled.envelope.as_bytes()).unwrap();
    Statement::parse(&envelope.verify().unwrap()).unwrap().frame.numbering.unwrap()
}

async fn spooled(spool: &Spool, n: u8) -> Result<Option<Spooled>, SpoolError> {
    let Some(kept) = spool.find(&[n; 16]) else { return Ok(None) };
    Ok(spool.read(kept.place).await?.and_then(|record| match record {
        Record::Exchange(spooled) => Some(spooled),
        _ => None,
    }))
}

fn undelivered(spool: &Spool) -> Vec<u64> {
    spool.undelivered(0, usize::MAX).iter().map(|kept| kept.sequence).collect()
}

fn end(spool: Spool, thread: JoinHandle<()>) {
    drop(spool);
    thread.join().unwrap();
}

fn made(runtime: &tokio::runtime::Runtime) -> &'static Made {
    static MADE: OnceLock<Made> = OnceLock::new();
    MADE.get_or_init(|| {
        let folder = directory();
        let mut exchanges = BTreeMap::new();
        for life in 0..3 {
            let (spool, thread) = open(folder.path()).unwrap();
            runtime.block_on(async {
                for n in life * EXCHANGES / 3..(life + 1) * EXCHANGES / 3 {
                    spool.write(over(&spool, n)).await.unwrap();
                    let written = spooled(&spool, n).await.unwrap().unwrap();
                    if n.is_multiple_of(3) {
                        let (entry, proof) = ("entry".to_owned(), "proof".to_owned());
                        let mark = Delivered { sequence: written.sequence, entry, proof };
                        spool.mark(vec![Record::Delivered(mark)]).await.unwrap();
                    }
                    exchanges.insert(n, written);
                    if n.is_multiple_of(10) {
                        let none = Timestamp::from_millis(0).unwrap();
                        spool.sweep(Sweep { expired: none, now: at(n) }).await.unwrap();
                    }
                }
            });
            end(spool, thread);
        }
        let (spool, thread) = open(folder.path()).unwrap();
        let undelivered = undelivered(&spool);
        end(spool, thread);
        let files = read(folder.path());
        assert!(files.len() > 5, "there are several segments: {:?}", files.keys());
        let last = &exchanges[&(EXCHANGES - 1)];
        Made { last: (numbering(last), last.id), files, exchanges, undelivered }
    })
}

/// Whatever is damaged: the spool says so and does not open, or every exchange is there as it was written, what is to be
/// delivered is the same, the caller's credential is known, and the stream goes on where it ended.
#[test]
fn a_damaged_spool_is_named_or_as_it_was() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let (mut tally, folder) = (Tally::default(), directory());
    let (made, folder) = (made(&runtime), folder.path().join("spool"));
    let named = |damage: &Damage| {
        let (spool, thread) = match open(&folder) {
            Ok(opened) => opened,
            Err(error) => {
                damage.assert_named(&error.to_string());
                return true;
            }
        };
        let named = runtime.block_on(check(&spool, made, damage));
        end(spool, thread);
        named
    };
    assert!(!named(&Damage::none(&made.files, &folder)));
    rounds("damaged spools", ROUNDS, |_, mut dice| {
        tally.count(named(&Damage::deal(&made.files, &folder, &mut dice)));
    });
    println!("damaged spools: {tally}");
}

/// Whether an error named it; else all must be as it was.
async fn check(spool: &Spool, made: &Made, damage: &Damage) -> bool {
    for (n, expected) in &made.exchanges {
        match spooled(spool, *n).await {
            Ok(found) => assert_eq!(found.as_ref(), Some(expected), "{damage}: exchange {n}"),
            Err(error) => {
                damage.assert_named(&error.to_string());
                return true;
            }
        }
        assert!(spool.is_credential(CREDENTIAL, &expected.credential), "{damage}: the credential is unknown");
    }
    assert_eq!(undelivered(spool), made.undelivered, "{damage}");
    spool.write(over(spool, 200)).await.unwrap();
    let next = numbering(&spooled(spool, 200).await.unwrap().unwrap());
    let (last, id) = made.last;
    assert_eq!((next.stream, next.number.get()), (last.stream, last.number.get() + 1), "{damage}");
    assert_eq!(next.previous, Some(id), "{damage}: the stream goes on from another receipt");
    false
}
