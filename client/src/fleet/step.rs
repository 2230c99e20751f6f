//! What one look at a log hands out, on its way into the queue of alerts.

use std::sync::{Arc, Mutex, PoisonError};

use counterfoil_merkle::LeafIndex;
use counterfoil_receipt::{
    Timestamp,
    audit::{Class, Finding, Report, report::FINDINGS_PER_CODE_MAX},
    entry::Entry,
    statement::Statement,
};

use crate::{
    alert::{Alerts, Found, QueueError},
    monitor::StateError,
    watch::{Hit, Record, Watch},
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

    /// An entry is read: the rules look at it.
    pub(super) fn observe(
        &self,
        index: LeafIndex,
        entry: &Entry,
        statement: Option<&Statement>,
        report: &mut Report,
    ) {
        let mut inner = self.lock();
        for Hit { rule, finding } in inner.watch.observe(Record { index, entry, statement }) {
            inner.reported += 1;
            if inner.reported <= FINDINGS_PER_CODE_MAX {
                report.push(finding.code, finding.place, &finding.message);
            }
            inner.gathered.push(Found::new(&finding, Some(rule)));
        }
        if inner.gathered.len() >= GATHERED_MAX && inner.failed.is_none() {
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
        alerts.round(&self.origin, &found, report, (self.now)())
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
                found.push(Found::new(&finding, Some(rule)));
            }
            if !self.watch.is_known_good(finding) {
                found.push(Found::new(finding, None));
            }
        }
        found
    }
}
