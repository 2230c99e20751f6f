//! What one look at a log hands out, on its way into the queue of alerts.

use std::sync::{Arc, Mutex, PoisonError};

use counterfoil_receipt::{
    Timestamp,
    audit::{Class, Finding, Report, report::FINDINGS_PER_CODE_MAX},
};

use crate::{
    alert::{Alerts, Found, QueueError},
    monitor::{Sight, StateError},
    watch::{Hit, Watch},
};

/// How many matches are gathered before they are made durable, whether or not the look has got to a rest.
const GATHERED_MAX: usize = 1000;

/// The way from a look at one log to the queue, and the rules that look at what passes.
pub(super) struct Step {
    inner: Mutex<Inner>,
    alerts: Option<Arc<Alerts>>,
    origin: String,
    now: fn() -> Timestamp,
}

struct Inner {
    watch: Watch,
    gathered: Vec<Found>,
    /// How many matches went into the report of this look.
    reported: u64,
    failed: Option<QueueError>,
}

impl Step {
    pub(super) fn new(
        watch: Watch,
        alerts: Option<Arc<Alerts>>,
        origin: &str,
        now: fn() -> Timestamp,
    ) -> Self {
        let inner = Inner { watch, gathered: Vec::new(), reported: 0, failed: None };
        Self { inner: Mutex::new(inner), alerts, origin: origin.to_owned(), now }
    }

    /// A look begins. What an earlier one gathered and did not bring home is found again by this one.
    pub(super) fn begin(&self) {
        let mut inner = self.lock();
        inner.gathered.clear();
        (inner.reported, inner.failed) = (0, None);
    }

    /// An entry is read, or a deadline has passed: the rules look at it.
    pub(super) fn observe(&self, sight: Sight<'_>, report: &mut Report) {
        let mut inner = self.lock();
        // What cannot be kept is not gathered: the state will not go past it.
        if inner.failed.is_some() {
            return;
        }
        let hits = match sight {
            Sight::Record(record) => inner.watch.observe(record),
            Sight::Lapsed(duty) => inner.watch.lapsed(duty),
        };
        for Hit { rule, finding } in hits {
            inner.reported += 1;
            // Each must be in the report, so that a step with matches is one that has something to record; what is beyond
            // the report's limit is counted there, and its text is here alone.
            let shown = inner.reported <= FINDINGS_PER_CODE_MAX;
            report.push(finding.code, finding.place, if shown { &finding.message } else { "" });
            inner.gathered.push(Found::new(&finding, rule));
        }
        if inner.gathered.len() >= GATHERED_MAX {
            inner.failed = self.flush(&mut inner).err();
        }
    }

    /// Findings are to be made durable, before the state goes past them.
    pub(super) fn record(&self, findings: &[Finding]) -> Result<(), StateError> {
        let mut inner = self.lock();
        let failed = |error: QueueError| StateError::Record(Box::new(error));
        if let Some(error) = inner.failed.take() {
            return Err(failed(error));
        }
        let found = inner.found(findings);
        inner.gathered.extend(found);
        self.flush(&mut inner).map_err(failed)
    }

    /// The look has ended: what lasts or has passed shows.
    pub(super) fn end(&self, report: &Report) -> Result<(), QueueError> {
        let Some(alerts) = &self.alerts else { return Ok(()) };
        let found = self.lock().found(report.findings());
        alerts.round(&self.origin, &found, (self.now)())
    }

    /// The monitor itself has something to say.
    pub(super) fn tell(&self, found: Found) -> Result<(), QueueError> {
        let Some(alerts) = &self.alerts else { return Ok(()) };
        alerts.record(&self.origin, &[found], (self.now)())
    }

    fn flush(&self, inner: &mut Inner) -> Result<(), QueueError> {
        // A match is one whether or not anybody keeps it.
        let gathered = std::mem::take(&mut inner.gathered);
        match &self.alerts {
            Some(alerts) => alerts.record(&self.origin, &gathered, (self.now)()),
            None => Ok(()),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// What findings amount to: matches were gathered as they came, known-good issuers' doings are left out, and rules
    /// about numbers have their say.
    fn found(&self, findings: &[Finding]) -> Vec<Found> {
        let mut found = Vec::new();
        for finding in findings.iter().filter(|finding| finding.class() != Class::Match) {
            for Hit { rule, finding } in self.watch.numbering(finding) {
                found.push(Found::new(&finding, rule));
            }
            if !self.watch.is_known_good(finding) {
                found.push(Found::new(finding, None));
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use counterfoil_merkle::LeafIndex;
    use counterfoil_receipt::{
        Statement,
        entry::{Entry, EntryDraft},
    };

    use super::*;
    use crate::{alert::Settings, testlog, watch::Record};

    fn now() -> Timestamp {
        Timestamp::from_millis(1_763_712_345_678).unwrap()
    }

    /// However many records a rule asks for, in however many steps: each is in the queue before its step is over.
    #[test]
    fn every_match_is_kept_before_its_step_is_over() {
        let home = tempfile::tempdir().unwrap();
        let alerts = Alerts::open(home.path(), &[], Settings::default(), Arc::default(), now()).unwrap();
        let alerts = Arc::new(alerts);
        let rules = toml::from_str(
            r#"name = "all"
kinds = ["receipt"]"#
                .replace("\\n", "\n")
                .as_str(),
        )
        .unwrap();
        let watch = Watch::read(&[rules], &[], "main").unwrap();
        let step = Step::new(watch, Some(Arc::clone(&alerts)), testlog::ORIGIN, now);
        let verified = testlog::envelope(0).verify().unwrap();
        let statement = Statement::parse(&verified).unwrap();
        let entry = Entry::parse(&EntryDraft::new(&verified, &statement).stamp(now())).unwrap();
        step.begin();
        let count = 3 * GATHERED_MAX as u64 + 7;
        let mut fresh = Report::new();
        for index in 0..count {
            let index = LeafIndex::new(index).unwrap();
            let record = Record { index, entry: &entry, statement: Some(&statement), about: None };
            step.observe(Sight::Record(record), &mut fresh);
            let index = index.get();
            if index % 50 == 49 || index + 1 == count {
                // As the monitor does it: nothing found is nothing to record.
                if !fresh.findings().is_empty() {
                    step.record(fresh.findings()).unwrap();
                }
                fresh = Report::new();
                let newest = alerts.newest(1).unwrap().remove(0);
                assert_eq!(newest.place, format!("entry {index}"));
            }
        }
        let all = alerts.newest(usize::MAX).unwrap();
        let places: BTreeSet<_> = all.iter().map(|alert| alert.place.clone()).collect();
        assert_eq!((all.len() as u64, places.len() as u64), (count, count));
        assert!(all.iter().all(|alert| alert.message.contains("rule all: receipt")));
    }
}
