//! What can be said of one leaf without any other: all that is dear, and can be done for many leaves at once.

use counterfoil_merkle::Hash;

use super::{
    finding::{Code, Place},
    report::Report,
};
use crate::{
    entry::{Entry, EntryError},
    statement::Statement,
};

/// The statement of an entry, as it was served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot<'a> {
    /// Its bytes; none at all is an empty slot, which stands for an erased statement.
    Served(&'a [u8]),
    /// The log does not show statements to this auditor.
    Withheld,
}

/// A leaf that was read: hashed, its entry parsed, and its statement held against it, signature included.
#[derive(Clone, Debug)]
pub struct Leaf {
    hash: Hash,
    entry: Result<Entry, EntryError>,
    said: Said,
}

/// What there is of a statement.
#[derive(Clone, Debug)]
enum Said {
    Withheld,
    Missing,
    Proven(Box<Statement>),
    Refused(EntryError),
}

impl Leaf {
    /// Reads a leaf. Costs a signature check, some 50 us, if the statement is there.
    pub fn read(entry: &[u8], statement: Slot<'_>) -> Self {
        let hash = Hash::leaf(entry);
        let entry = Entry::parse(entry);
        let said = match (&entry, statement) {
            (_, Slot::Withheld) => Said::Withheld,
            (_, Slot::Served([])) => Said::Missing,
            (Ok(entry), Slot::Served(bytes)) => match entry.check_statement(bytes) {
                Ok(statement) => Said::Proven(Box::new(statement)),
                Err(error) => Said::Refused(error),
            },
            // Without its entry a statement says nothing.
            (Err(_), Slot::Served(_)) => Said::Withheld,
        };
        Self { hash, entry, said }
    }

    /// The leaf hash.
    pub const fn hash(&self) -> Hash {
        self.hash
    }

    /// The entry, if it can be read.
    pub fn entry(&self) -> Option<&Entry> {
        self.entry.as_ref().ok()
    }

    /// The statement, if it is there and the entry's.
    pub fn statement(&self) -> Option<&Statement> {
        match &self.said {
            Said::Proven(statement) => Some(statement),
            Said::Withheld | Said::Missing | Said::Refused(_) => None,
        }
    }

    /// Whether what was served as its statement is the one that its entry names, signed or not, good or not.
    pub const fn names_statement(&self) -> bool {
        match &self.said {
            Said::Proven(_) => true,
            Said::Refused(error) => !matches!(error, EntryError::OtherStatement { .. }),
            Said::Withheld | Said::Missing => false,
        }
    }

    /// Whether its slot is empty.
    pub const fn is_empty(&self) -> bool {
        matches!(self.said, Said::Missing)
    }

    /// Whether what was served as its statement is not that.
    pub(super) const fn is_refused(&self) -> bool {
        matches!(self.said, Said::Refused(_))
    }

    pub(super) const fn read_entry(&self) -> Result<&Entry, &EntryError> {
        self.entry.as_ref()
    }

    /// Says what keeps the statement from being that of the entry. One that is not there is for [`super::Erasures`].
    pub(super) fn check_statement(&self, place: Place, report: &mut Report) {
        match &self.said {
            Said::Withheld | Said::Proven(_) | Said::Missing => {}
            Said::Refused(error) => report.push(code(error), place, error),
        }
    }
}

fn code(error: &EntryError) -> Code {
    match error {
        EntryError::OtherStatement { .. } => Code::StatementOther,
        EntryError::Differs { .. } => Code::EntryDiffers,
        error if error.is_signature() => Code::StatementSignature,
        _ => Code::StatementMalformed,
    }
}
