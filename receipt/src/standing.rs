//! What stands: who claimed what, who checked it, what is disputed, whose turn it is and until when.
//!
//! A pure function of the records of a log up to a size, and of a moment not before the last of them, to a list of facts;
//! never one word that hides another. Nobody stores it, everybody computes the same. Time is the entries' `at`.
//!
//! A [`Docket`] gathers from a whole log what concerns one receipt or promise; [`Docket::standing`] is the function.
//! `RECORDS.md` says under "Standing" what each fact means.

mod disputes;
mod docket;
mod fact;
mod keys;
mod tally;
mod turn;
mod verdicts;

pub use docket::{Docket, Matter, MomentError, Record};
pub use fact::{
    Answer, Capacity, ClaimStanding, Complainant, Deadline, DueBy, Eraser, Fact, KeyFact, Party,
    PromiseState, Said, Standing, Subject, Task, Turn, VerdictSays,
};
pub use tally::Tally;

/// How long a respondent has that never promised anything: 30 days.
pub const RESPOND_WITHIN_DEFAULT_S: u64 = 30 * 86_400;

#[cfg(test)]
mod tests;
