//! What the leaves of the log mean: receipts for AI inference, and the records that follow them.
//!
//! # What a receipt claims, and what it does not
//!
//! A receipt is a statement that somebody signed about one exchange with a model: which model was asked for, which one the
//! service said it was, how the exchange ended, and commitments to what was sent and answered. Logged, it shows that the claim
//! was made, when at the latest, under which key, and that it was not withdrawn or replaced.
//!
//! It does not show that the claim is true, that the model the service named is the one that ran, or that no other exchange
//! took place for which nobody issued a receipt. A key that signs says nothing of who holds it: names for keys come from
//! whoever trusts them.
//!
//! # How it fits together
//!
//! - A [`Statement`](statement) is read strictly, and only out of a [`VerifiedEnvelope`]: first the signature, then the words.
//! - An [`Envelope`](envelope) is DSSE with one signature, by the key that its key id is. Its [`Id`] is known before it is signed.
//! - An [`Entry`](entry) is the leaf. Together with its statement it gives the envelope back.
//! - A [`commitment`] stands for bytes that never enter the log; an opening, kept elsewhere, shows them.
//! - A [`claim`] key goes out with the answer; whoever holds it may dispute the receipt.
//! - An [`audit`] recomputes a log from its leaves and says what does not hold.
//! - [`admission`] says whether a record may enter, and can be replayed; a [`refusal`] says why not.
//! - [`completeness`] says whether an issuer's streams are whole, by all that an auditor holds of them.
//! - [`standing`] says what follows from all records about a receipt: what was checked, disputed, answered, decided.
//! - [`exchange`] takes facts out of what went over the wire, [`draft`] makes a receipt of them.
//!
//! Nothing here looks at a clock, a socket, a disk or a source of randomness: what is needed is an argument.
//!
//! ```
//! use counterfoil_receipt::{
//!     Envelope, SigningKey, Statement, Timestamp,
//!     draft::{ClaimSource, Draft, Extras, Sealed, Terms, WireBodies},
//!     entry::EntryDraft,
//!     exchange::{End, Exchange, Response},
//!     statement::{Issuer, Number, Numbering, StreamId},
//! };
//!
//! // The issuer: an exchange took place, and gets a receipt.
//! let key = SigningKey::from_ed25519_seed(&[7; 32]);
//! let request = br#"{"model":"m-1","messages":[{"role":"user","content":"May I have the loan?"}]}"#;
//! let response = br#"{"model":"m-1-0626","choices":[{"message":{"content":"denied"},"finish_reason":"stop"}]}"#;
//! let exchange = Exchange {
//!     path: "/v1/chat/completions",
//!     request,
//!     response: Some(Response {
//!         status: 200,
//!         content_type: Some("application/json"),
//!         request_id: None,
//!         body: response,
//!     }),
//!     end: End::Finished,
//! };
//! let terms = Terms {
//!     log: "log.example/2026".parse()?,
//!     issuer: Issuer { key: key.public().clone(), software: None },
//!     claim: ClaimSource::Fresh,
//!     sealed: Sealed::default(),
//!     extras: Extras::default(),
//! };
//! # let mut random = |bytes: &mut [u8]| bytes.fill(4);
//! let bodies = WireBodies { request, response: Some(response) };
//! let place = Numbering { stream: StreamId::new([1; 16]), number: Number::FIRST, previous: None };
//! let draft = Draft::new(exchange.facts()?, bodies, terms, place, &mut random)?;
//! let sent = draft.sign(&key)?.envelope().to_json();
//!
//! // The log: it checks what it got, and dates the entry.
//! let envelope = Envelope::parse(sent.as_bytes())?.verify()?;
//! let statement = Statement::parse(&envelope)?;
//! let at = Timestamp::from_millis(1_763_712_345_678).expect("a time before the year 287396");
//! let entry = EntryDraft::new(&envelope, &statement).stamp(at);
//!
//! // Anybody, later: entry and statement belong together.
//! let entry = counterfoil_receipt::Entry::parse(&entry)?;
//! assert_eq!(entry.id, draft.id());
//! entry.check_statement(envelope.envelope().statement_bytes())?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod admission;
pub mod audit;
mod bech32m;
pub mod bundle;
pub mod claim;
mod code;
pub mod commitment;
pub mod completeness;
pub mod draft;
pub mod entry;
pub mod envelope;
pub mod exchange;
mod hex;
pub mod json;
pub mod key;
pub mod refusal;
pub mod standing;
pub mod statement;
#[cfg(test)]
mod testing;
pub mod timestamp;
mod tree;
pub mod trust;
#[cfg(test)]
mod vectors;
pub mod verify;

pub use code::Code;
pub use entry::Entry;
pub use envelope::{Envelope, Id, VerifiedEnvelope};
pub use key::{PublicKey, SigningKey};
pub use statement::{Kind, Statement};
pub use timestamp::Timestamp;
