//! What is looked for.

use counterfoil_merkle::Hash;
use counterfoil_receipt::Timestamp;

use super::terms::Term;

/// Most hits of a page.
pub const HITS_MAX: usize = 100;

/// Hits of a page, if nobody says how many.
pub const HITS_DEFAULT: usize = 20;

/// Which come first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// The newest.
    #[default]
    Newest,
    /// The oldest.
    Oldest,
}

/// A question: records that have all of the terms, logged in a span of time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// What they must all have.
    pub terms: Vec<Term<'static>>,
    /// Logged at this time or later.
    pub from: Option<Timestamp>,
    /// Logged before this time.
    pub before: Option<Timestamp>,
    /// Which come first.
    pub order: Order,
}

impl Query {
    /// A question for records with these terms.
    pub fn with(terms: Vec<Term<'static>>) -> Self {
        Self { terms, ..Self::default() }
    }

    /// What tells this question from every other: a cursor of one is none of another.
    pub fn fingerprint(&self) -> Hash {
        let mut terms = self.terms.clone();
        terms.sort();
        let mut bytes = vec![u8::from(self.order == Order::Oldest)];
        for time in [self.from, self.before] {
            bytes.extend_from_slice(&time.map_or(u64::MAX, Timestamp::millis).to_be_bytes());
        }
        for term in &terms {
            for part in [term.field.name(), &term.value] {
                bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
                bytes.extend_from_slice(part.as_bytes());
            }
        }
        Hash::of(&[&bytes])
    }
}
