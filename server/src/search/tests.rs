//! The laws of the index: rebuilt equals grown live, answers equal a plain filter, what is erased leaves no trace.

use std::{collections::BTreeMap, fs, path::Path, sync::LazyLock};

use counterfoil_receipt::Kind;
use proptest::prelude::*;

use super::{
    terms::{Field, Place, Term},
    *,
};
use crate::testing::at;

const RUN: u64 = RUN_ENTRIES as u64;

/// The facts of the n-th record of a made-up log: few issuers, some streams, models that come in waves.
fn made_up(n: u64) -> Facts<'static> {
    let dice = u64::from_be_bytes(*Hash::leaf(&n.to_be_bytes()).as_bytes().first_chunk().unwrap());
    let issuer = format!("issuer {}", dice % 7);
    let kind = match dice >> 8 & 63 {
        0 => Kind::Dispute,
        1 => Kind::Verdict,
        _ => Kind::Receipt,
    };
    let mut terms =
        vec![Term::new(Field::Issuer, issuer.clone()), Term::new(Field::Kind, kind.as_str().to_owned())];
    let mut place = None;
    if kind == Kind::Receipt {
        let stream = [u8::try_from(dice % 14).unwrap(); 16];
        terms.push(Term::new(Field::Stream, format!("{:02x}", stream[0]).repeat(16)));
        terms.push(Term::number(&format!("{:02x}", stream[0]).repeat(16), n));
        terms.push(Term::new(Field::Requested, format!("model {}", n / 10_000 + dice % 3)));
        terms.push(Term::new(
            Field::Outcome,
            ["complete", "refused", "truncated"][usize::try_from(dice % 11 % 3).unwrap()],
        ));
        place = Some(Place { stream, number: n });
    } else {
        terms.push(Term::new(Field::About, Hash::leaf(&(dice % n.max(1)).to_be_bytes()).to_string()));
    }
    Facts { at: at(1_000 + n / 3 * 10), issuer: issuer.into(), kind, place, terms }
}

/// The same record without its statement.
fn erased(n: u64) -> Facts<'static> {
    let mut facts = made_up(n);
    facts.terms.retain(|term| !term.field.is_of_statement());
    facts
}

fn node(number: u64) -> Hash {
    Hash::leaf(&number.to_be_bytes())
}

fn open(directory: &Path) -> Search {
    Search::open(directory, |number| Some(node(number))).unwrap()
}

/// Feeds records up to a size, some at a time, as the thread that follows a log does.
fn feed(search: &Search, to: u64, some: u64, record: impl Fn(u64) -> Facts<'static>) {
    let forgotten = search.changing();
    while search.size() < to {
        let from = search.size();
        let end = to.min(from + some).min((from / 256 + 1) * 256);
        let records: Vec<_> = (from..end).map(&record).collect();
        if search.take(&records, &forgotten) {
            search.seal(node(from / RUN)).unwrap();
        }
    }
}

/// The files of an index.
fn files(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = fs::read_dir(directory).unwrap().map(Result::unwrap);
    files.map(|file| (file.file_name().into_string().unwrap(), fs::read(file.path()).unwrap())).collect()
}

fn answers(search: &Search) -> Vec<Candidates> {
    let questions = [
        vec![],
        vec![Term::new(Field::Issuer, "issuer 3")],
        vec![Term::new(Field::Issuer, "issuer 3"), Term::new(Field::Outcome, "refused")],
        vec![Term::new(Field::Kind, "dispute"), Term::new(Field::Issuer, "issuer 1")],
        vec![Term::new(Field::Requested, "model 7")],
    ];
    let ask =
        |terms: &Vec<Term<'_>>| search.candidates(terms, 0..u64::MAX, Order::Newest, usize::MAX).unwrap();
    questions.iter().map(ask).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3))]

    /// However an index grew, with whatever restarts and lost files: it is that which is made in one go.
    #[test]
    fn rebuilt_equals_grown_live(
        steps in prop::collection::vec((1_u64..50_000, 1_u64..300, 0_u8..4), 1..4),
    ) {
        let (live, whole) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut search = open(live.path());
        let mut size = 0;
        for (more, some, then) in steps {
            size += more;
            feed(&search, size, some, made_up);
            match then {
                // A start: the tail is read again.
                0 => {
                    drop(search);
                    search = open(live.path());
                }
                // A run is lost, or one is damaged, while the log is down.
                1 | 2 if size >= RUN => {
                    drop(search);
                    let file = live.path().join("0000000000.run");
                    if then == 1 {
                        fs::remove_file(&file).unwrap();
                    } else {
                        fs::write(&file, b"torn").unwrap();
                    }
                    search = open(live.path());
                    prop_assert_eq!(search.complete(), 0);
                    remake(&search);
                }
                _ => {}
            }
        }
        feed(&search, size, 256, made_up);
        fs::copy(live.path().join("key"), whole.path().join("key")).unwrap();
        let rebuilt = open(whole.path());
        feed(&rebuilt, size, 256, made_up);
        prop_assert_eq!(search.size(), size);
        prop_assert!(answers(&search) == answers(&rebuilt));
        for issuer in ["issuer 0", "issuer 6", "nobody"] {
            prop_assert_eq!(search.summaries(issuer).unwrap(), rebuilt.summaries(issuer).unwrap());
        }
        prop_assert!(files(live.path()) == files(whole.path()), "byte for byte");
    }
}

/// Makes every missing run again, as the thread that follows a log does.
fn remake(search: &Search) {
    while let Some(number) = search.missing() {
        let (mut tail, mut remembered) = (Tail::default(), digest::Remembered::default());
        let forgotten = search.changing();
        for n in number * RUN..(number + 1) * RUN {
            tail.push(search.files.key(), &mut remembered, &without_forgotten(&made_up(n), n, &forgotten));
        }
        if usize::try_from(search.size() / RUN).unwrap() > usize::try_from(number).unwrap() {
            search.replace(number, node(number), &tail).unwrap();
        }
    }
}

/// Two runs and a bit, to ask.
static ASKED: LazyLock<(tempfile::TempDir, Search, Vec<Facts<'static>>)> = LazyLock::new(|| {
    let directory = tempfile::tempdir().unwrap();
    let search = open(directory.path());
    let size = 2 * RUN + 5_000;
    feed(&search, size, 256, made_up);
    (directory, search, (0..size).map(made_up).collect())
});

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Candidates, page by page, and counts are those of a plain filter over all records.
    #[test]
    fn answers_equal_a_plain_filter(
        like in any::<prop::sample::Index>(),
        keep in 0_u8..64,
        range in (0_u64..140_000, 0_u64..140_000),
        oldest in any::<bool>(),
        page in 1_usize..3_000,
    ) {
        let (_, search, facts) = &*ASKED;
        let terms = &facts[like.index(facts.len())].terms;
        let chosen = terms.iter().enumerate().filter(|(n, _)| keep >> n & 1 == 1);
        let terms: Vec<_> = chosen.map(|(_, term)| term.clone()).collect();
        let range = range.0.min(range.1)..range.0.max(range.1);
        let order = if oldest { Order::Oldest } else { Order::Newest };
        let known = facts.len() as u64;
        let mut expected: Vec<_> = range.clone().take_while(|n| *n < known)
            .filter(|n| facts[usize::try_from(*n).unwrap()].have(&terms)).collect();
        prop_assert_eq!(search.count(&terms, range.clone()).unwrap(), expected.len() as u64);
        if !oldest {
            expected.reverse();
        }
        let (mut found, mut rest) = (Vec::new(), range);
        while !rest.is_empty() {
            let candidates = search.candidates(&terms, rest, order, page).unwrap();
            prop_assert!(candidates.indexes.len() <= page);
            found.extend(candidates.indexes);
            rest = candidates.rest;
            if found.len() > 20_000 {
                expected.truncate(found.len());
                break;
            }
        }
        prop_assert!(found == expected, "{} found, {} expected", found.len(), expected.len());
    }

    /// A time begins where the first record of that time or later is, or in the bundle that is named.
    #[test]
    fn times_begin_where_they_do(millis in 0_u64..500_000) {
        let (_, search, facts) = &*ASKED;
        let expected = facts.partition_point(|facts| facts.at < at(millis)) as u64;
        match search.begin(at(millis)).unwrap() {
            Begin::At(index) => prop_assert_eq!(index, expected),
            Begin::Within(bundle) => prop_assert!((bundle * 256 + 1..=bundle * 256 + 256).contains(&expected)),
        }
    }

    /// What an issuer did is what its records say.
    #[test]
    fn summaries_are_those_of_the_records(issuer in 0_u8..9) {
        let (_, search, facts) = &*ASKED;
        let issuer = format!("issuer {issuer}");
        let (mut counts, mut highest) = (BTreeMap::new(), BTreeMap::new());
        for (start, summary) in search.summaries(&issuer).unwrap().1 {
            summary.counts().for_each(|(kind, count)| *counts.entry(kind.as_str()).or_default() += count);
            for (stream, number, position) in summary.streams() {
                prop_assert_eq!(facts[usize::try_from(start).unwrap() + usize::from(position)].place, Some(Place { stream, number }));
                let known = highest.entry(stream).or_insert(number);
                *known = number.max(*known);
            }
        }
        let (mut own, mut places) = (BTreeMap::<_, u64>::new(), BTreeMap::new());
        for facts in facts.iter().filter(|facts| facts.issuer == issuer) {
            *own.entry(facts.kind.as_str()).or_default() += 1;
            if let Some(Place { stream, number }) = facts.place {
                let known = places.entry(stream).or_insert(number);
                *known = number.max(*known);
            }
        }
        prop_assert_eq!((counts, highest), (own, places));
    }
}

/// An index that forgot what statements said is that of records without statements, byte for byte; whether they were in a run or in
/// the tail, or were read before they were erased and come only after it.
#[test]
fn to_forget_is_never_to_have_known() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (early, late): (Vec<u64>, u64) = ((0..40).map(|n| n * 1_733 + 5).collect(), RUN + 9_000);
    let gone = |n: u64| early.contains(&n) || n == late;
    let search = open(first.path());
    feed(&search, RUN + 8_000, 256, made_up);
    let indexes: Vec<_> = early.iter().chain([&late]).map(|n| LeafIndex::new(*n).unwrap()).collect();
    search.forget(&indexes).unwrap();
    search.forget(&indexes).unwrap();
    feed(&search, 2 * RUN + 100, 256, made_up);

    fs::copy(first.path().join("key"), second.path().join("key")).unwrap();
    let without = open(second.path());
    feed(&without, 2 * RUN + 100, 256, |n| if gone(n) { erased(n) } else { made_up(n) });
    assert!(files(first.path()) == files(second.path()));
    assert!(answers(&search) == answers(&without));
    // The records are found still, by what their entries say.
    for n in early.iter().chain([&late]).copied() {
        let terms = erased(n).terms;
        let found = search.candidates(&terms, 0..u64::MAX, Order::Newest, usize::MAX).unwrap();
        assert!(found.indexes.contains(&n), "{n}");
    }
    // A run that is damaged when it has to forget is gone at once, and made again without.
    drop(search);
    let file = first.path().join("0000000001.run");
    let mut bytes = fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&file, bytes).unwrap();
    let search = open(first.path());
    search.forget(&indexes).unwrap();
    assert!(!file.exists());
    assert_eq!((search.complete(), search.missing()), (RUN, Some(1)));
}

/// Damage that a question meets leaves out what comes from there on, until it is made again; nothing wrong is answered.
#[test]
fn damage_is_met_and_mended() {
    let directory = tempfile::tempdir().unwrap();
    let search = open(directory.path());
    feed(&search, 2 * RUN + 10, 256, made_up);
    let before = files(directory.path());
    let sound = answers(&search);
    let file = directory.path().join("0000000001.run");
    let mut bytes = fs::read(&file).unwrap();
    bytes.iter_mut().step_by(1_009).for_each(|byte| *byte ^= 0x40);
    fs::write(&file, bytes).unwrap();
    for (answer, sound) in answers(&search).into_iter().zip(&sound) {
        // Before the damage is met nothing of it is needed; afterwards what comes from there on is left out.
        let mut below = sound.clone();
        below.indexes.retain(|index| *index < RUN);
        assert!(answer == *sound || answer == below, "an answer is right, as far as it goes");
    }
    assert_eq!((search.complete(), search.missing()), (RUN, Some(1)));
    remake(&search);
    assert_eq!(search.complete(), 2 * RUN + 10);
    assert!(answers(&search) == sound);
    assert!(files(directory.path()) == before);
}

/// Runs of another history are made again; those beyond the log are deleted.
#[test]
fn another_history_is_noticed() {
    let directory = tempfile::tempdir().unwrap();
    let search = open(directory.path());
    feed(&search, 2 * RUN, 256, made_up);
    assert!(matches!(Files::open(directory.path()), Err(FilesError::InUse { .. })));
    drop(search);
    let search = Search::open(directory.path(), |number| (number == 0).then_some(node(7))).unwrap();
    assert_eq!((search.complete(), search.size(), search.missing()), (0, RUN, Some(0)));
    assert!(!directory.path().join("0000000001.run").exists());
}
