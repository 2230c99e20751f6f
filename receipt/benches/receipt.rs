//! What a receipt costs on its way into a log: reading the envelope, the signature, the statement, the entry.

#![allow(clippy::unwrap_used, reason = "a bench fails by panicking")]

use std::hint::black_box;

use counterfoil_receipt::{
    Entry, Envelope, Id, SigningKey, Statement, Timestamp,
    admission::{Admitted, Chain},
    statement::{
        Commitment, Frame, Issuer, Nonce, Number, Numbering, Predicate, Receipt, StreamId, Subject,
        receipt::{Api, Model, Outcome, Protocol},
    },
};
use criterion::Criterion;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let keys = [
        ("ed25519", SigningKey::from_ed25519_seed(&[1; 32])),
        ("p256", SigningKey::from_p256_scalar(&[1; 32]).unwrap()),
    ];
    for (name, key) in &keys {
        envelopes(&mut criterion, name, key);
    }
    entries(&mut criterion, &keys[0].1);
    criterion.final_summary();
}

/// A receipt of the least that is required.
fn statement(key: &SigningKey) -> Statement {
    let api = Api { protocol: Protocol::OpenaiChat, path: "/v1/chat/completions".into(), stream: false };
    let model = Model { requested: Some("m-1".into()), reported: None, alias: None, claimed: None };
    Statement {
        subject: Subject::Exchange {
            request: Commitment::new([7; 32]),
            response: Some(Commitment::new([8; 32])),
        },
        frame: Frame {
            nonce: Nonce::new([9; 16]),
            log: "bench.invalid/1".parse().unwrap(),
            issuer: Issuer { key: key.public().clone(), software: None },
            numbering: Some(Numbering {
                stream: StreamId::new([2; 16]),
                number: Number::new(17).unwrap(),
                previous: Some(Id::of_statement(b"the one before")),
            }),
        },
        predicate: Predicate::Receipt(Box::new(Receipt::new(api, model, Outcome::Complete))),
    }
}

fn envelopes(criterion: &mut Criterion, name: &str, key: &SigningKey) {
    let statement = statement(key);
    let signed = statement.sign(key).unwrap();
    let json = signed.envelope().to_json();
    let known = |_: &str| Some(key.public().clone());
    let read = || Envelope::parse_with(black_box(json.as_bytes()), known).unwrap();
    let mut group = criterion.benchmark_group(name);
    group.bench_function("sign", |b| b.iter(|| black_box(&statement).sign(key).unwrap()));
    group.bench_function("envelope_parse", |b| b.iter(read));
    group.bench_function("envelope_parse_unknown_key", |b| {
        b.iter(|| Envelope::parse(black_box(json.as_bytes())).unwrap());
    });
    // The signature alone, without which a log cannot be.
    let message = counterfoil_receipt::envelope::pae(
        counterfoil_receipt::envelope::PAYLOAD_TYPE,
        signed.envelope().statement_bytes(),
    );
    group.bench_function("signature_check", |b| {
        b.iter(|| key.public().verify(black_box(&message), signed.envelope().signature()).unwrap());
    });
    let prepared = key.public().prepared();
    group.bench_function("signature_check_prepared_key", |b| {
        b.iter(|| prepared.verify(black_box(&message), signed.envelope().signature()).unwrap());
    });
    group.bench_function("envelope_check", |b| {
        b.iter_batched(read, |envelope| envelope.verify().unwrap(), criterion::BatchSize::SmallInput)
    });
    group.bench_function("statement_parse", |b| b.iter(|| Statement::parse(black_box(&signed)).unwrap()));
    // All that does not need the log's state.
    group.bench_function("admit", |b| b.iter(|| admit(read())));
    group.finish();
}

fn admit(envelope: Envelope) -> Admitted {
    let verified = envelope.verify().unwrap();
    let statement = Statement::parse(&verified).unwrap();
    Admitted::new(verified, statement, Chain::default())
}

fn entries(criterion: &mut Criterion, key: &SigningKey) {
    let now = Timestamp::from_millis(1_763_712_345_678).unwrap();
    let admitted = admit(statement(key).sign(key).unwrap().into_envelope());
    let entry = admitted.draft.stamp(now);
    let mut group = criterion.benchmark_group("entry");
    group.bench_function("stamp", |b| b.iter(|| black_box(&admitted.draft).stamp(now)));
    group.bench_function("parse", |b| b.iter(|| Entry::parse(black_box(&entry)).unwrap()));
    group.finish();
}
