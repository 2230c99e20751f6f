//! What stands: who claimed what, who checked it, what is disputed, whose turn it is and until when.
//!
//! A pure function of the records of a log up to a size, and of a moment not before the last of them, to a list of facts;
//! never one word that hides another. Nobody stores it, everybody computes the same. Time is the entries' `at`.
//!
//! A [`Docket`] gathers from a whole log what concerns one receipt or promise; [`Docket::standing`] is the function. An
//! [`Agenda`] keeps the deadlines of a whole log, for who watches it.
//! `RECORDS.md` says under "Standing" what each fact means.

mod agenda;
mod disputes;
mod docket;
mod fact;
mod keys;
mod known;
mod print;
mod tally;
mod turn;
mod verdicts;

pub use agenda::{Agenda, AgendaParts, DUTIES_MAX, Duty, POLICIES_MAX};
pub use docket::{Docket, Found, Kept, Matter, MomentError, Record};
pub use fact::{
    Answer, Capacity, ClaimStanding, Complainant, Deadline, DueBy, Eraser, Fact, KeyFact, Owed, Owing, Party,
    PromiseState, Said, Standing, Subject, Task, Turn, VerdictSays,
};
pub use keys::Keys;
pub use known::{Known, Named, ReceiptFacts, Summons};
pub use print::{print_matter, print_party, print_said_of_key, print_standing};
pub use tally::Tally;

/// How long a respondent has that never promised anything: 30 days.
pub const RESPOND_WITHIN_DEFAULT_S: u64 = 30 * 86_400;

#[cfg(test)]
mod tests;
