//! What an audit finds, graded by what it proves and by who is at fault.

use std::fmt;

use counterfoil_merkle::{LeafIndex, TreeSize, tile::TilePath};

use crate::{code::codes, statement::party::is_invisible};

codes! {
    /// What a finding amounts to, the gravest first.
    Class {
        /// The log signed two histories. Proven, and for ever.
        Fork = "FORK",
        /// The log signed or served something that cannot be right.
        Invalid = "INVALID",
        /// The log shows nothing new: frozen, or the reader is kept from seeing.
        Stale = "STALE",
        /// The log, or part of what it must serve, could not be had.
        Unavailable = "UNAVAILABLE",
        /// Something was seen, and not understood or not checked.
        Coverage = "COVERAGE",
        /// A statement was erased by order of the log's operator alone. It may have to; nobody else asked for it.
        ErasedByLog = "ERASED-BY-LOG",
        /// An issuer's doing, not the log's.
        Issuer = "ISSUER",
        /// A watch rule of the monitor's owner applies, or something is of concern to everybody. No fault of anybody's.
        Match = "MATCH",
    }
}

impl Class {
    /// The exit code of a program whose gravest finding is of this class; issuers' doings and matches have none.
    pub const fn exit_code(self) -> Option<u8> {
        match self {
            Self::Fork => Some(10),
            Self::Invalid => Some(11),
            Self::Stale => Some(12),
            Self::Unavailable => Some(13),
            Self::Coverage => Some(14),
            Self::ErasedByLog => Some(15),
            Self::Issuer | Self::Match => None,
        }
    }
}

codes! {
    /// What was found. The list is closed and the texts are stable; the order is that of the classes.
    Code {
        /// Two checkpoints of one size with different roots.
        ForkSameSize = "fork-same-size",
        /// A checkpoint below the audited size that is not of the audited tree.
        ForkSmaller = "fork-smaller",
        /// A checkpoint above the audited size whose tree does not start with the audited one.
        ForkLarger = "fork-larger",
        /// A fork that was proven before.
        ForkKnown = "fork-known",

        /// What is served as a checkpoint is none.
        CheckpointMalformed = "checkpoint-malformed",
        /// A checkpoint of another log.
        CheckpointOrigin = "checkpoint-origin",
        /// The log's signature is missing or bad.
        CheckpointSignature = "checkpoint-signature",
        /// The log's clock did not sign the checkpoint.
        ClockMissing = "clock-missing",
        /// The signature of the log's clock is bad.
        ClockSignature = "clock-signature",
        /// The checkpoint's time lies in the future.
        ClockAhead = "clock-ahead",
        /// A larger tree has an earlier time.
        ClockBack = "clock-back",
        /// A checkpoint lacks the cosignatures that the policy demands.
        QuorumMissing = "quorum-missing",
        /// The cosignature of a witness that the policy names is bad.
        CosignatureBad = "cosignature-bad",
        /// A witness' time lies in the future.
        CosignatureAhead = "cosignature-ahead",
        /// A witness cosigned a larger tree at an earlier time than a smaller one.
        CosignatureBack = "cosignature-back",
        /// A witness cosigned both sides of a fork.
        WitnessForked = "witness-forked",
        /// The tree is not the one that the monitor's owner expects.
        NotExpected = "not-expected",
        /// A proof that the log gives does not hold, where its tiles do.
        ProofBad = "proof-bad",
        /// Entries or tiles lead to another root than was signed.
        RootMismatch = "root-mismatch",
        /// A hash tile is not what the entries make it.
        TileMismatch = "tile-mismatch",
        /// A hash tile or bundle is not of the form it must have.
        TileMalformed = "tile-malformed",
        /// An entry is not the one that was served before.
        EntryChanged = "entry-changed",
        /// An entry is dated before the one before it.
        AtBack = "at-back",
        /// An entry is dated before a checkpoint that does not have it yet.
        AtBeforeCheckpoint = "at-before-checkpoint",
        /// An entry is dated after a checkpoint that has it.
        AtAfterCheckpoint = "at-after-checkpoint",
        /// An entry is dated after it was first seen.
        AtAhead = "at-ahead",
        /// The statement's slot is empty and no record says that it was erased.
        StatementMissing = "statement-missing",
        /// A record orders the erasure of a statement that is served all the same.
        StatementNotErased = "statement-not-erased",
        /// The statement is not the one that the entry is about.
        StatementOther = "statement-other",
        /// The issuer's signature does not verify.
        StatementSignature = "statement-signature",
        /// The statement is none, yet the log took it.
        StatementMalformed = "statement-malformed",
        /// The statement is meant for another log.
        StatementLog = "statement-log",
        /// The entry says something else than its statement.
        EntryDiffers = "entry-differs",
        /// One record twice.
        RecordTwice = "record-twice",
        /// The first entry does not say who may write.
        RulesMissing = "rules-missing",
        /// A record that the log should not have admitted, by the records before it.
        NotAdmitted = "not-admitted",

        /// The newest time that the log's clock attests is old.
        ClockStale = "clock-stale",
        /// The newest cosignatures that make up the quorum are old.
        CosignaturesStale = "cosignatures-stale",
        /// A smaller tree than was shown at the same place before, for longer than a cache could be the reason.
        SizeBack = "size-back",
        /// An old tree, and nothing newer for long, where others are shown more.
        ViewBehind = "view-behind",
        /// The log signed a tree that it shows nobody.
        TreeWithheld = "tree-withheld",

        /// The log's checkpoint could not be had.
        CheckpointUnavailable = "checkpoint-unavailable",
        /// A tile or bundle that the log must have could not be had.
        TileUnavailable = "tile-unavailable",
        /// The log grows faster than it can be read from.
        TooSlow = "too-slow",
        /// A proof could not be had, where the log gave proofs before.
        ProofUnavailable = "proof-unavailable",
        /// A witness that the policy names has not cosigned for some time.
        WitnessMissing = "witness-missing",

        /// An entry that this program cannot read; it is counted and hashed.
        EntryUnreadable = "entry-unreadable",
        /// Statements are served to others only.
        StatementsWithheld = "statements-withheld",
        /// The log's clock key is not known, so times are not checked.
        ClockUnchecked = "clock-unchecked",
        /// More streams than are kept in mind.
        StreamsUntracked = "streams-untracked",
        /// The monitor's disk is full: it reads on once there is room.
        DiskFull = "disk-full",
        /// Whether a record was admitted rightly cannot be told: one that decides is not shown.
        AdmissionUnseen = "admission-unseen",
        /// More erasures than are kept in mind.
        ErasuresUntracked = "erasures-untracked",
        /// More open disputes and remedies than are kept in mind.
        DutiesUntracked = "duties-untracked",

        /// The log's operator ordered an erasure, and nobody else.
        ErasedByLog = "erased-by-log",

        /// A number of a stream comes again.
        NumberAgain = "number-again",
        /// Numbers of a stream are missing.
        NumberGap = "number-gap",
        /// A record does not follow the one with the number before its own.
        ChainBroken = "chain-broken",
        /// A stream does not go as far as its issuer says it went, or as a record shows that the auditor holds.
        TailMissing = "tail-missing",
        /// An epoch record says less, or something else, than the stream shows that it is about.
        EpochDiffers = "epoch-differs",
        /// A record that the auditor holds is not in the log.
        RecordMissing = "record-missing",
        /// A receipt that was promised is not in the log, and the time for it has passed.
        PromiseBroken = "promise-broken",
        /// A receipt that was promised came after the time for it had passed.
        PromiseLate = "promise-late",
        /// A dispute was not answered in time.
        AnswerOverdue = "answer-overdue",
        /// What was undertaken or ordered was not done in time.
        RemedyOverdue = "remedy-overdue",

        /// An entry is one that a rule asks for.
        WatchMatch = "watch-match",
        /// An issuer signed for a model that a rule gives to others.
        WatchIssuer = "watch-issuer",
        /// A time in a statement is outside the window that a rule allows.
        WatchTime = "watch-time",
        /// A record about keys, or about who may write.
        KeyRecord = "key-record",
    }
}

impl Code {
    /// Whether it is about the numbers of a stream.
    pub const fn is_numbering(self) -> bool {
        matches!(self, Self::NumberAgain | Self::NumberGap | Self::ChainBroken)
    }

    /// What a finding of this code amounts to.
    pub const fn class(self) -> Class {
        match self {
            Self::ForkSameSize | Self::ForkSmaller | Self::ForkLarger | Self::ForkKnown => Class::Fork,
            Self::ClockStale
            | Self::CosignaturesStale
            | Self::SizeBack
            | Self::ViewBehind
            | Self::TreeWithheld => Class::Stale,
            Self::CheckpointUnavailable
            | Self::TileUnavailable
            | Self::TooSlow
            | Self::ProofUnavailable
            | Self::WitnessMissing => Class::Unavailable,
            Self::EntryUnreadable
            | Self::StatementsWithheld
            | Self::ClockUnchecked
            | Self::StreamsUntracked
            | Self::DiskFull
            | Self::AdmissionUnseen
            | Self::ErasuresUntracked
            | Self::DutiesUntracked => Class::Coverage,
            Self::ErasedByLog => Class::ErasedByLog,
            Self::NumberAgain
            | Self::NumberGap
            | Self::ChainBroken
            | Self::TailMissing
            | Self::EpochDiffers
            | Self::RecordMissing
            | Self::PromiseBroken
            | Self::PromiseLate
            | Self::AnswerOverdue
            | Self::RemedyOverdue => Class::Issuer,
            Self::WatchMatch | Self::WatchIssuer | Self::WatchTime | Self::KeyRecord => Class::Match,
            _ => Class::Invalid,
        }
    }
}

/// Where something was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// The log as a whole.
    Log,
    /// A checkpoint of that size.
    Checkpoint(TreeSize),
    /// An entry and its statement.
    Entry(LeafIndex),
    /// A hash tile or bundle.
    Tile(TilePath),
    /// What is shown at one of the places from which the log is watched, counted from 0 in the order given. At 0 it is the
    /// log itself, which is [`Place::Log`].
    Vantage(u16),
    /// A witness of the policy, counted from 0 in the order of the policy.
    Witness(u16),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Log => f.write_str("log"),
            Self::Checkpoint(size) => write!(f, "checkpoint {size}"),
            Self::Entry(index) => write!(f, "entry {index}"),
            Self::Tile(path) => path.fmt(f),
            Self::Vantage(number) => write!(f, "vantage {number}"),
            Self::Witness(number) => write!(f, "witness {number}"),
        }
    }
}

/// One thing that an audit found. Findings sort the gravest first.
///
/// Prints as one line in which nothing that a log or an issuer wrote can move a terminal's cursor.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// What.
    pub code: Code,
    /// Where.
    pub place: Place,
    /// The particulars, for people.
    pub message: String,
}

impl Finding {
    /// What it amounts to.
    pub const fn class(&self) -> Class {
        self.code.class()
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} at {}: ", self.class(), self.code, self.place)?;
        for c in self.message.chars() {
            if c.is_control() || is_invisible(c) {
                write!(f, "{}", c.escape_unicode())?
            } else {
                write!(f, "{c}")?
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Codes are declared in the order of their classes, so the first code found is of the gravest class.
    #[test]
    fn codes_sort_as_their_classes_do() {
        assert!(Code::ALL.is_sorted_by_key(|code| code.class()));
        let exits: Vec<_> = Class::ALL.iter().map(|class| class.exit_code()).collect();
        assert_eq!(exits, [Some(10), Some(11), Some(12), Some(13), Some(14), Some(15), None, None]);
    }

    #[test]
    fn lines_are_escaped() {
        let place = Place::Entry(LeafIndex::new(7).unwrap());
        let message = "a\u{1b}[31m\n\u{202e}b ü".to_owned();
        let line = Finding { code: Code::AtBack, place, message }.to_string();
        assert_eq!(line, "INVALID at-back at entry 7: a\\u{1b}[31m\\u{a}\\u{202e}b ü");
    }
}
