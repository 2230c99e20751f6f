//! Where a page ended, for whoever asks for the next one: a position, bound to its question by the index' key.
//!
//! Not a secret, but not for others to make up: what was changed, or belongs to another question or another index, is refused rather
//! than answered with a page from somewhere.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use hmac::Mac as _;

use counterfoil_merkle::Hash;

use super::digest::Key;

const CODE_BYTES: usize = 16;

/// Prints the cursor of a question, known by its fingerprint, that goes on at a position.
pub fn format<const BYTES: usize>(key: &Key, question: Hash, position: [u8; BYTES]) -> String {
    let code = key.code(b"cursor", &[question.as_bytes(), &position]).finalize().into_bytes();
    BASE64.encode([&position[..], &code[..CODE_BYTES]].concat())
}

/// Reads the cursor of a question.
pub fn parse<const BYTES: usize>(key: &Key, question: Hash, text: &str) -> Result<[u8; BYTES], CursorError> {
    let bytes = BASE64.decode(text).map_err(|_| CursorError::Form)?;
    let (position, code) = bytes.split_first_chunk().ok_or(CursorError::Form)?;
    if code.len() != CODE_BYTES {
        return Err(CursorError::Form);
    }
    let due = key.code(b"cursor", &[question.as_bytes(), position]);
    due.verify_truncated_left(code).map_err(|_| CursorError::Code)?;
    Ok(*position)
}

/// Why a cursor is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CursorError {
    /// It is none.
    #[error("a cursor is what an answer gave as next, unchanged; this has another form")]
    Form,
    /// It was changed, or belongs to something else.
    #[error(
        "its authentication code does not match: it was changed, or is of another question (all parameters but limit must stay) or of an index since made again"
    )]
    Code,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::search::{
        query::{Order, Query},
        terms::{Field, Term},
    };

    /// A cursor goes with its own question and key alone, and every changed character is noticed.
    #[test]
    fn cursors_are_authenticated() {
        let (key, other) = (Key::new([1; 32]), Key::new([2; 32]));
        let query =
            Query::with(vec![Term::new(Field::Kind, "receipt"), Term::new(Field::Outcome, "complete")]);
        let position = 123_456_u64.to_be_bytes();
        let cursor = format(&key, query.fingerprint(), position);
        let read = |key: &Key, query: &Query, text: &str| parse::<8>(key, query.fingerprint(), text);
        assert_eq!(read(&key, &query, &cursor), Ok(position));
        let mut turned = query.clone();
        turned.terms.reverse();
        assert_eq!(
            read(&key, &turned, &cursor),
            Ok(position),
            "the order of terms is no part of the question"
        );
        let time = counterfoil_receipt::Timestamp::from_millis(5);
        for another in [
            Query { order: Order::Oldest, ..query.clone() },
            Query { from: time, ..query.clone() },
            Query { before: time, ..query.clone() },
            Query::with(vec![Term::new(Field::Kind, "receipt")]),
            Query::with(vec![
                Term::new(Field::Kind, "receiptoutcome"),
                Term::new(Field::Outcome, "complete"),
            ]),
        ] {
            assert_eq!(read(&key, &another, &cursor), Err(CursorError::Code), "{another:?}");
        }
        assert_eq!(read(&other, &query, &cursor), Err(CursorError::Code));
        assert_eq!(parse::<40>(&key, query.fingerprint(), &cursor), Err(CursorError::Form));
        for at in 0..cursor.len() {
            for with in ["A", "-", "z", "", "AA", "!", "="] {
                let mut changed = cursor.clone();
                changed.replace_range(at..=at, with);
                assert!(changed == cursor || read(&key, &query, &changed).is_err(), "{changed}");
            }
        }
        for text in ["", "AAAA", "0", &"A".repeat(400)] {
            assert_eq!(read(&key, &query, text), Err(CursorError::Form));
        }
    }
}
