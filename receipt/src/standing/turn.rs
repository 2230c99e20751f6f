//! Whose turn it is.

use super::{
    disputes::{Case, resolution_of, response_of},
    fact::Task,
};
use crate::{statement::response::Stance, timestamp::Timestamp};

/// What is to be done next in a dispute, and until when.
pub(super) fn task(case: &Case<'_>, moment: Timestamp) -> (Task, Option<Timestamp>) {
    let duties = case.duties();
    let open = duties.iter().filter(|duty| duty.done.is_none()).map(|duty| duty.undertaking);
    if let Some(duty) = open.min_by_key(|undertaking| undertaking.due) {
        return (Task::Remedy(case.respondent(), duty.remedy), Some(duty.due));
    }
    let mut appeals = case.resolutions().filter_map(|record| resolution_of(record)?.appeal_until);
    if case.resolutions().next().is_some() {
        return match appeals.find(|until| moment <= *until) {
            Some(until) => (Task::Appeal, Some(until)),
            None => (Task::Nothing, None),
        };
    }
    if case.answered_at().is_none() {
        return (Task::Answer(case.respondent()), Some(case.due()));
    }
    let answers = case.responses().filter(|record| case.capacity(&record.entry.issuer).is_some());
    match answers.last().and_then(response_of).map(|response| response.position) {
        Some(Stance::NeedMore) => (Task::ShowMore, None),
        // What was accepted, and made good, needs no decision.
        Some(Stance::Accept) if !duties.is_empty() => (Task::Nothing, None),
        _ => (Task::Decide(case.arbiters()), None),
    }
}
