use proptest::prelude::*;

use super::*;
use crate::{
    key::SigningKey,
    vectors::{self, records},
};

fn read(record: &vectors::Record) -> (VerifiedEnvelope, Statement) {
    let envelope = Envelope::parse(record.text("envelope").as_bytes()).unwrap().verify().unwrap();
    let statement = Statement::parse(&envelope).unwrap();
    (envelope, statement)
}

/// Every entry of the vectors comes out of its envelope byte for byte, and gives the envelope back.
#[test]
fn vectors_are_reproduced() {
    for record in records() {
        let (envelope, statement) = read(&record);
        let text = record.text("entry");
        let entry = Entry::parse(text.as_bytes()).unwrap();
        assert_eq!(entry.to_bytes(), text.as_bytes());
        assert_eq!(EntryDraft::new(&envelope, &statement).stamp(entry.at), text.as_bytes());
        assert_eq!(entry.leaf_hash().to_string(), record.text("leaf_hash"));
        assert_eq!(entry.id.to_string(), record.text("pae_sha256"));
        let again = entry.envelope(record.text("statement").into()).unwrap();
        assert_eq!(again.to_json(), record.text("envelope"));
        assert_eq!(entry.check_statement(record.text("statement").as_bytes()), Ok(statement));
    }
}

/// The longest entry fits its limit exactly.
#[test]
fn the_limit_is_the_longest_entry() {
    let key = SigningKey::from_p256_scalar(&[7; 32]).unwrap();
    let hash = Hash::EMPTY_ROOT;
    let longest_kind =
        Kind::ALL.iter().copied().filter(|kind| kind.is_logged()).max_by_key(|kind| kind.as_str().len());
    let entry = Entry {
        about: Some(hash),
        at: Timestamp::from_millis(crate::json::INTEGER_MAX).unwrap(),
        claim: Some(key.public().clone()),
        id: Id::new(hash),
        issuer: key.public().clone(),
        kind: longest_kind.unwrap(),
        signature: vec![0xff; SIGNATURE_BYTES_MAX],
        position: Some(Position {
            stream: StreamId::new([0; 16]),
            number: Number::new(crate::json::INTEGER_MAX).unwrap(),
        }),
    };
    let bytes = entry.to_bytes();
    assert_eq!(bytes.len(), ENTRY_BYTES_MAX);
    assert_eq!(Entry::parse(&bytes), Ok(entry));
}

#[test]
fn other_forms_are_refused() {
    let records = records();
    let good = records[0].text("entry");
    let without_position = good.replace("\"number\":0", "\"number\":null");
    let cases = [
        (good.replace("\"at\":1", "\"at\": 1"), "the entry is not in canonical form"),
        (good.replace("receipt", "\\u0072eceipt"), "the entry is not in canonical form"),
        (format!("{good}\n"), "the entry is not in canonical form"),
        (
            good.replace("{\"about\":null,", "{").replace('}', ",\"about\":null}"),
            "the entry is not in canonical form",
        ),
        (
            good.replace("\"at\":1", "\"at\":-1"),
            "entry, at: must be an integer from 0 to 2^53 - 1, is a number",
        ),
        (good.replace("\"receipt\"", "\"promise\""), "records of kind promise are never logged"),
        (good.replace("{\"about\":null,", "{"), "entry, about: required, but not there"),
        (good.replace('}', ",\"x\":1}"), "entry, x: unknown member"),
        (without_position, "entry, stream: stream and number go together: all or none"),
        (" ".repeat(ENTRY_BYTES_MAX) + good, "an entry has at most 636 bytes, this has 1053"),
        (String::new(), "entry, byte 0: the text ends too early"),
    ];
    for (text, message) in cases {
        assert_eq!(Entry::parse(text.as_bytes()).expect_err(message).to_string(), message);
    }
}

/// Whatever of an entry is changed, the statement convicts it.
#[test]
fn a_statement_contradicts_any_other_entry() {
    let records = records();
    let entry = Entry::parse(records[0].text("entry").as_bytes()).unwrap();
    let statement = records[0].text("statement").as_bytes();
    let other = Entry::parse(records[1].text("entry").as_bytes()).unwrap();
    let differs = |entry: Entry| entry.check_statement(statement).expect_err("must be refused");

    let e = |change: &dyn Fn(&mut Entry)| {
        let mut changed = entry.clone();
        change(&mut changed);
        differs(changed).to_string()
    };
    let not = |member: &str| format!("{member} in the entry is not what the statement says");
    assert_eq!(e(&|e| e.about = Some(Hash::EMPTY_ROOT)), not("about"));
    assert_eq!(e(&|e| e.claim = None), not("claim"));
    assert_eq!(e(&|e| e.kind = Kind::Rules), not("kind"));
    assert_eq!(e(&|e| e.position = None), not("stream or number"));
    assert_eq!(e(&|e| e.position = other.position), not("stream or number"));
    assert!(matches!(differs(other.clone()), EntryError::OtherStatement { .. }));
    assert!(differs(Entry { signature: other.signature, ..entry.clone() }).is_signature());
    assert!(differs(Entry { issuer: vectors::issuer(2), ..entry.clone() }).is_signature());
    assert_eq!(entry.check_statement(statement).map(|statement| statement.kind()), Ok(Kind::Receipt));
}

fn any_entry() -> impl Strategy<Value = Entry> {
    let key = (any::<bool>(), 1..5_u8).prop_map(|(p256, n)| {
        let key = if p256 {
            SigningKey::from_p256_scalar(&[n; 32]).unwrap()
        } else {
            SigningKey::from_ed25519_seed(&[n; 32])
        };
        key.public().clone()
    });
    let integer = 0..=crate::json::INTEGER_MAX;
    let hash = any::<[u8; 32]>().prop_map(Hash::new);
    let kind = proptest::sample::select(Kind::ALL).prop_filter("logged", |kind| kind.is_logged());
    let position = (any::<[u8; 16]>(), integer.clone()).prop_map(|(stream, number)| Position {
        stream: StreamId::new(stream),
        number: Number::new(number).unwrap(),
    });
    (
        proptest::option::of(hash.clone()),
        integer,
        proptest::option::of(key.clone()),
        hash,
        key,
        kind,
        proptest::collection::vec(any::<u8>(), 0..=SIGNATURE_BYTES_MAX),
        proptest::option::of(position),
    )
        .prop_map(|(about, at, claim, id, issuer, kind, signature, position)| {
            let at = Timestamp::from_millis(at).unwrap();
            Entry { about, at, claim, id: Id::new(id), issuer, kind, signature, position }
        })
}

proptest! {
    #[test]
    fn what_is_printed_is_read(entry in any_entry()) {
        let bytes = entry.to_bytes();
        prop_assert!(bytes.len() <= ENTRY_BYTES_MAX);
        prop_assert_eq!(Entry::parse(&bytes), Ok(entry));
    }

    /// One byte changed, removed or inserted: refused, or another entry in canonical form.
    #[test]
    fn what_is_read_is_printed(entry in any_entry(), at in any::<prop::sample::Index>(), byte in any::<u8>(), how in 0..3) {
        let mut bytes = entry.to_bytes();
        let at = at.index(bytes.len());
        match how {
            0 => bytes[at] = byte,
            1 => drop(bytes.remove(at)),
            _ => bytes.insert(at, byte),
        }
        if let Ok(read) = Entry::parse(&bytes) {
            prop_assert_eq!(read.to_bytes(), bytes);
        }
    }
}
