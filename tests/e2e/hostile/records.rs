//! Records that must not enter: malformed envelopes, bad signatures, invalid statements correctly signed.

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD as BASE64, URL_SAFE},
};
use counterfoil_merkle::Hash;
use counterfoil_receipt::{
    PublicKey, SigningKey, Timestamp,
    statement::{
        Erasure, Predicate, Promise, Revocation, Rules, Subject, erasure::Basis,
        revocation::RevocationReason, rules::Mode,
    },
};

use super::forge::{Forge, PARTS, Parts, edited, payload, plain, pointers, signed};

/// The body of a record, and what is due: one of those codes, or with none of them a place in the log.
pub(super) struct Record {
    pub(super) body: Vec<u8>,
    pub(super) due: &'static [&'static str],
}

/// A way to make a record.
pub(super) type Make = fn(&mut Forge) -> Record;

/// All of them, by name.
pub(super) const KINDS: &[(&str, Make)] = &[
    ("byte changed", byte_changed),
    ("cut off", cut_off),
    ("member twice", member_twice),
    ("member missing", member_missing),
    ("member unknown", member_unknown),
    ("member of another type", member_of_another_type),
    ("not base64", not_base64),
    ("nested deeply", nested_deeply),
    ("not UTF-8", not_utf8),
    ("signatures counted wrong", signatures_counted_wrong),
    ("around the envelope", around_the_envelope),
    ("rubbish", rubbish),
    ("weak key", weak_key),
    ("signature of something else", signature_of_something_else),
    ("signature malformed", signature_malformed),
    ("statement: member missing", statement_member_missing),
    ("statement: member twice", statement_member_twice),
    ("statement: member unknown", statement_member_unknown),
    ("statement: member of another type", statement_member_of_another_type),
    ("statement: value refused", statement_value_refused),
    ("statement: no statement", statement_is_none),
    ("statement: another log", another_log),
    ("statement: another kind", another_kind),
    ("statement: too long", statement_too_long),
    ("nobody's signature", nobodys_signature),
    ("good", good),
    ("good: group left out", group_left_out),
];

const ENVELOPE: &[&str] = &["envelope"];
const SIGNATURE: &[&str] = &["signature"];
const STATEMENT: &[&str] = &["statement"];
const ACCEPTED: &[&str] = &[];

fn record(body: impl Into<Vec<u8>>, due: &'static [&'static str]) -> Record {
    Record { body: body.into(), due }
}

fn byte_changed(forge: &mut Forge) -> Record {
    let mut body = forge.good().into_bytes();
    let (at, change) = (forge.dice.below(body.len()), forge.dice.below(255) + 1);
    body[at] ^= u8::try_from(change).unwrap();
    record(body, &["envelope", "signature"])
}

fn cut_off(forge: &mut Forge) -> Record {
    let body = forge.good();
    let length = 1 + forge.dice.below(body.len() - 1);
    record(&body[..length], ENVELOPE)
}

fn edit_envelope(
    forge: &mut Forge,
    due: &'static [&'static str],
    edit: impl Fn(&str, &str) -> String,
) -> Record {
    let (parts, chosen) = (Parts::of(&forge.good()), forge.dice.below(4));
    record(
        parts.print(|part, name, raw| if part == chosen { edit(name, raw) } else { plain(name, raw) }),
        due,
    )
}

fn member_twice(forge: &mut Forge) -> Record {
    let spelt = forge.dice.below(2) == 0;
    edit_envelope(forge, ENVELOPE, |name, raw| {
        let again =
            if spelt { format!("\\u{:04x}{}", name.as_bytes()[0], &name[1..]) } else { name.to_owned() };
        format!("{},\"{again}\":{raw}", plain(name, raw))
    })
}

fn member_missing(forge: &mut Forge) -> Record {
    edit_envelope(forge, ENVELOPE, |_, _| String::new())
}

fn member_unknown(forge: &mut Forge) -> Record {
    let name = *forge.dice.pick(&["cert", "", "Payload", "payload\\u0000", "keyid ", "__proto__"]);
    edit_envelope(forge, ENVELOPE, |old, raw| format!("{},\"{name}\":{raw}", plain(old, raw)))
}

/// Values that no member of an envelope can have.
fn wrong_value(forge: &mut Forge) -> String {
    let digits = forge.dice.below(2000) + 20;
    match forge.dice.below(16) {
        0 => "9".repeat(digits),
        1 => format!("-{}", "9".repeat(digits)),
        2 => format!("0.{}1", "0".repeat(digits)),
        3 => format!("1e{}", "9".repeat(digits)),
        4 => format!("{{\"a\":{}}}", "1".repeat(digits)),
        n => {
            ["null", "true", "0", "-0", "1e999", "[]", "{}", "[\"\"]", "\"\\ud800\"", "\"\u{1}\"", "\"\\x\""]
                [n - 5]
                .to_owned()
        }
    }
}

fn member_of_another_type(forge: &mut Forge) -> Record {
    let value = wrong_value(forge);
    edit_envelope(forge, ENVELOPE, |name, _| plain(name, &value))
}

fn not_base64(forge: &mut Forge) -> Record {
    let parts = Parts::of(&forge.good());
    let chosen = *forge.dice.pick(&[0, 2, 3]);
    let text = parts.0[chosen].trim_matches('"').to_owned();
    let at = forge.dice.below(text.len() / 4) * 4;
    let bad = match forge.dice.below(6) {
        0 => format!("{}*{}", &text[..at], &text[at + 1..]),
        1 => format!("{} {}", &text[..at], &text[at..]),
        2 => format!("{text}="),
        3 => text[..text.len() - 1].to_owned(),
        4 => URL_SAFE.encode([0xff; 48]),
        _ => format!("{text}\\u0000"),
    };
    let print =
        |part, name: &str, raw: &str| plain(name, if part == chosen { &bad } else { raw.trim_matches('"') });
    let body = parts.print(|part, name, raw| print(part, name, raw).replacen(':', ":\"", 1) + "\"");
    record(body, ENVELOPE)
}

fn nested_deeply(forge: &mut Forge) -> Record {
    let depth = 17 + forge.dice.below(2000);
    let nested = match forge.dice.below(3) {
        0 => "[".repeat(depth),
        1 => format!("{}{}", "[".repeat(depth), "]".repeat(depth)),
        _ => format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth)),
    };
    if forge.dice.below(2) == 0 {
        return record(nested, ENVELOPE);
    }
    edit_envelope(forge, ENVELOPE, |name, _| plain(name, &nested))
}

fn not_utf8(forge: &mut Forge) -> Record {
    let mut body = forge.good().into_bytes();
    let at = forge.dice.below(body.len());
    let bad: &[u8] =
        forge.dice.pick::<&[u8]>(&[b"\x80", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf5\x80\x80\x80", b"\xff"]);
    body.splice(at..at, bad.iter().copied());
    record(body, ENVELOPE)
}

fn signatures_counted_wrong(forge: &mut Forge) -> Record {
    let body = forge.good();
    let (head, rest) = body.split_once('[').unwrap();
    let signature = rest.split_once(']').unwrap().0;
    let list = match forge.dice.below(5) {
        0 => "[]".to_owned(),
        1 => format!("[{signature},{signature}]"),
        2 => format!("[{}]", vec![signature; 100].join(",")),
        3 => signature.to_owned(),
        _ => format!("[[{signature}]]"),
    };
    record(format!("{head}{list}}}"), ENVELOPE)
}

fn around_the_envelope(forge: &mut Forge) -> Record {
    let body = forge.good();
    let body = match forge.dice.below(6) {
        0 => format!("\u{feff}{body}"),
        1 => format!("{body}{body}"),
        2 => format!("[{body}]"),
        3 => format!("{body},"),
        4 => format!("{body}\0"),
        _ => serde_json::Value::from(body).to_string(),
    };
    record(body, ENVELOPE)
}

fn rubbish(forge: &mut Forge) -> Record {
    let length = 1 + forge.dice.below(400);
    record(forge.dice.rubbish(length), ENVELOPE)
}

fn weak_key(forge: &mut Forge) -> Record {
    let point: [u8; 32] = match forge.dice.below(3) {
        0 => [0; 32],
        1 => std::array::from_fn(|n| u8::from(n == 0)),
        _ => [0xff; 32],
    };
    let prefix = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
    let key = serde_json::Value::from(BASE64.encode([&prefix[..], &point].concat())).to_string();
    let parts = Parts::of(&forge.good());
    record(
        parts.print(|part, name, raw| plain(name, if PARTS[part] == "keyid" { &key } else { raw })),
        ENVELOPE,
    )
}

fn with_signature(envelope: &str, signature: &[u8]) -> String {
    let signature = serde_json::Value::from(BASE64.encode(signature)).to_string();
    Parts::of(envelope)
        .print(|part, name, raw| plain(name, if PARTS[part] == "sig" { &signature } else { raw }))
}

fn signature_of(envelope: &str) -> Vec<u8> {
    BASE64.decode(Parts::of(envelope).0[3].trim_matches('"')).unwrap()
}

fn signature_of_something_else(forge: &mut Forge) -> Record {
    let (statement, key) = forge.statement();
    let envelope = signed(statement.to_string().as_bytes(), &key);
    let body = match forge.dice.below(4) {
        0 => with_signature(&envelope, &key.sign(statement.to_string().as_bytes())),
        1 => with_signature(&envelope, &signature_of(&forge.good())),
        2 => {
            let text = statement.to_string();
            with_signature(&envelope, &signature_of(&signed(text.as_bytes(), forge.other_key(&key))))
        }
        _ => {
            let mut changed = statement.to_string().into_bytes();
            let at = forge.dice.below(changed.len());
            changed[at] ^= 1 << forge.dice.below(8);
            with_signature(&signed(&changed, &key), &signature_of(&envelope))
        }
    };
    record(body, SIGNATURE)
}

fn signature_malformed(forge: &mut Forge) -> Record {
    let (statement, key) = forge.statement();
    let envelope = signed(statement.to_string().as_bytes(), &key);
    let mut signature = signature_of(&envelope);
    match forge.dice.below(6) {
        0 => signature.fill(0),
        1 => signature.truncate(forge.dice.below(64)),
        2 => signature.push(0),
        3 => signature = forge.dice.rubbish(200),
        4 if signature.len() == 64 => add_order(&mut signature[32..]),
        _ => {
            let at = forge.dice.below(signature.len());
            signature[at] ^= 1 << forge.dice.below(8);
        }
    }
    record(with_signature(&envelope, &signature), SIGNATURE)
}

/// Adds the order of the group to an Ed25519 signature's scalar: the same scalar, written in a second way.
fn add_order(scalar: &mut [u8]) {
    let low = 0x14de_f9de_a2f7_9cd6_5812_631a_5cf5_d3ed_u128.to_le_bytes();
    let high = (1_u128 << 124).to_le_bytes();
    let mut carry = 0;
    for (byte, add) in scalar.iter_mut().zip(low.into_iter().chain(high)) {
        let sum = u16::from(*byte) + u16::from(add) + carry;
        *byte = sum.to_le_bytes()[0];
        carry = sum >> 8;
    }
}

/// Members that no receipt can do without, or that their group cannot.
const REQUIRED: &[&str] = &[
    "/_type",
    "/subject",
    "/subject/0/name",
    "/subject/0/digest",
    "/subject/0/digest/counterfoilCommitment",
    "/subject/1/name",
    "/subject/1/digest",
    "/subject/1/digest/counterfoilCommitment",
    "/predicateType",
    "/predicate",
    "/predicate/nonce",
    "/predicate/log",
    "/predicate/issuer",
    "/predicate/issuer/key",
    "/predicate/stream",
    "/predicate/number",
    "/predicate/previous",
    "/predicate/api",
    "/predicate/api/protocol",
    "/predicate/api/path",
    "/predicate/api/stream",
    "/predicate/model",
    "/predicate/model/requested",
    "/predicate/outcome",
    "/predicate/parts/count",
    "/predicate/parts/root",
    "/predicate/attempts/0/upstream",
    "/predicate/accountable/key",
    "/predicate/accountable/respond_within",
];

fn statement_member_missing(forge: &mut Forge) -> Record {
    let target = *forge.dice.pick(REQUIRED);
    edit_statement(forge, target, |_, _| String::new())
}

fn edit_statement(forge: &mut Forge, target: &str, edit: impl Fn(&str, &str) -> String) -> Record {
    let (statement, key) = forge.statement();
    record(signed(edited(&statement, target, &edit).as_bytes(), &key), STATEMENT)
}

/// Any member of a statement.
fn any_member(forge: &mut Forge) -> String {
    let mut all = Vec::new();
    pointers(&forge.statement().0, "", &mut all);
    forge.dice.pick(&all).clone()
}

fn statement_member_twice(forge: &mut Forge) -> Record {
    let target = any_member(forge);
    edit_statement(forge, &target, |name, raw| format!("{},{}", plain(name, raw), plain(name, raw)))
}

fn statement_member_unknown(forge: &mut Forge) -> Record {
    let target = any_member(forge);
    edit_statement(forge, &target, |name, raw| format!("{},\"more\":7", plain(name, raw)))
}

fn statement_member_of_another_type(forge: &mut Forge) -> Record {
    let target = any_member(forge);
    let nullable = ["requested", "previous", "status"].iter().any(|name| target.ends_with(name));
    let (n, digits) = (forge.dice.below(12), forge.dice.below(500) + 17);
    edit_statement(forge, &target, |name, raw| {
        let huge = "9".repeat(digits);
        let values = [
            "null",
            "true",
            "[]",
            "{}",
            "\"\"",
            "-1",
            "0.5",
            "1e400",
            "[[[[0]]]]",
            "{\"a\":{}}",
            "\"\\ud83d\"",
            &huge,
        ];
        // Another first character is another type; an integer is not.
        let kind = |text: &str| if text.starts_with(['t', 'f']) { b't' } else { text.as_bytes()[0] };
        let other = |value: &&&str| kind(value) != kind(raw) && !(nullable && **value == "null");
        plain(name, values.iter().cycle().skip(n).find(other).unwrap())
    })
}

fn statement_value_refused(forge: &mut Forge) -> Record {
    let long = format!("\"{}\"", "x".repeat(600));
    let upper = format!("\"{}\"", "5A".repeat(32));
    let other_key =
        serde_json::Value::from(SigningKey::from_ed25519_seed(&[7; 32]).public().as_str()).to_string();
    let cases: &[(&str, &str)] = &[
        ("/_type", "\"https://in-toto.io/Statement/v0.1\""),
        ("/predicateType", "\"https://example.com/other\""),
        ("/subject/0/name", "\"response\""),
        ("/subject/0/digest", "{\"sha256\":\"00\"}"),
        ("/subject/0/digest/counterfoilCommitment", &upper),
        ("/predicate/nonce", "\"00\""),
        ("/predicate/log", "\"a b\""),
        ("/predicate/issuer/key", &other_key),
        ("/predicate/issuer/key", "\"AAAA\""),
        ("/predicate/number", "9007199254740992"),
        ("/predicate/number", "-1"),
        ("/predicate/number", "1.0"),
        ("/predicate/previous", "\"00\""),
        ("/predicate/api/protocol", "\"openai.chat2\""),
        ("/predicate/api/path", &long),
        ("/predicate/api/path", "\"/v1\\u0000\""),
        ("/predicate/model/requested", &long),
        ("/predicate/model/requested", "\"a\\u001b[31m\""),
        ("/predicate/outcome", "\"Complete\""),
        ("/predicate/usage/sealed", &upper),
        ("/predicate/parts/root", "\"\""),
    ];
    let (target, value) = *forge.dice.pick(cases);
    edit_statement(forge, target, |name, _| plain(name, value))
}

fn statement_is_none(forge: &mut Forge) -> Record {
    let (statement, key) = forge.statement();
    let text = statement.to_string();
    let bytes = match forge.dice.below(6) {
        0 => Vec::new(),
        1 => forge.dice.rubbish(300),
        2 => text.as_bytes()[..1 + forge.dice.below(text.len() - 1)].to_vec(),
        3 => "[".repeat(40_000).into_bytes(),
        4 => format!("{text}{text}").into_bytes(),
        _ => {
            let mut bytes = text.into_bytes();
            let at = forge.dice.below(bytes.len());
            bytes[at] = 0xff;
            bytes
        }
    };
    record(signed(&bytes, &key), STATEMENT)
}

fn another_log(forge: &mut Forge) -> Record {
    let origin = forge.origin.clone();
    let others = [format!("{origin}/clock"), origin.to_uppercase(), "log.example".to_owned(), "ü".to_owned()];
    let other = serde_json::Value::from(forge.dice.pick(&others).as_str()).to_string();
    Record { due: &["other-log"], ..edit_statement(forge, "/predicate/log", |name, _| plain(name, &other)) }
}

fn another_kind(forge: &mut Forge) -> Record {
    let key = forge.statement().1;
    if forge.dice.below(2) == 0 {
        let kinds = ["rules", "verdict", "dispute", "erasure", "void", "epoch", "promise", "refusal"];
        let kind = format!("\"https://counterfoil.dev/{}/v1\"", forge.dice.pick(&kinds));
        let edit = |name: &str, _: &str| plain(name, &kind);
        return Record { due: STATEMENT, ..edit_statement(forge, "/predicateType", edit) };
    }
    let (operator, claim) = (key.public().clone(), key.public().clone());
    let nowhere = Subject::Record(Hash::new(forge.dice.bytes()));
    let by = Timestamp::from_millis(1).unwrap();
    let (subject, predicate, due): (_, _, &[&str]) = match forge.dice.below(4) {
        0 => {
            let rules = Rules { mode: Mode::Open, registrars: Vec::new(), operator };
            (Subject::Log, Predicate::Rules(rules), &["signer"])
        }
        1 => (Subject::Log, Predicate::Promise(Promise { claim, by }), &["rule"]),
        2 => (nowhere, Predicate::Erasure(Erasure { basis: Basis::Other }), &["rule"]),
        _ => (Subject::Log, Predicate::Revocation(revocation(operator)), &["signer", "rule"]),
    };
    record(counterfoil_tests::records::record(&forge.origin, &key, subject, predicate).to_json(), due)
}

/// Of the key's own record, but about the log.
fn revocation(key: PublicKey) -> Revocation {
    Revocation { key, reason: RevocationReason::Lost, since: None, successor: None }
}

/// A statement above the limit, in an envelope that is not. It need not be signed: its length is judged first.
fn statement_too_long(forge: &mut Forge) -> Record {
    let envelope = forge.good();
    let padding = 48_001 - payload(&envelope).len() + forge.dice.below(1000);
    let statement = [payload(&envelope), vec![b' '; padding]].concat();
    let raw = format!("\"{}\"", BASE64.encode(statement));
    let body = Parts::of(&envelope).print(|part, name, old| plain(name, if part == 0 { &raw } else { old }));
    record(body, &["too-large"])
}

fn nobodys_signature(forge: &mut Forge) -> Record {
    record(forge.by_nobody(), &["signer"])
}

/// What makes the others mean something: but for their one fault they would be taken, as these are.
fn good(forge: &mut Forge) -> Record {
    let (statement, key) = forge.statement();
    record(signed(statement.to_string().as_bytes(), &key), ACCEPTED)
}

fn group_left_out(forge: &mut Forge) -> Record {
    let groups =
        ["claim", "usage", "lengths", "parameters", "attempts", "parts", "finish", "content", "hints"];
    let target = format!("/predicate/{}", forge.dice.pick(&groups));
    Record { due: ACCEPTED, ..edit_statement(forge, &target, |_, _| String::new()) }
}
