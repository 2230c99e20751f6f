//! What a round has found, and what of it is still to be made durable.

use counterfoil_receipt::audit::Report;

use super::{round::Outside, state::StateError};

/// Most findings of one code that are handed on in one go. A step ends long before, so nothing is lost to it.
const STEP_FINDINGS_PER_CODE_MAX: u64 = 1 << 16;

/// Findings of a round.
#[derive(Debug)]
pub(super) struct Found {
    whole: Report,
    /// What was found since findings were handed on.
    pub(super) fresh: Report,
}

impl Found {
    pub(super) const fn new() -> Self {
        Self { whole: Report::new(), fresh: fresh() }
    }

    /// Hands on what is fresh. Until that has been done, the state may not go past it.
    pub(super) fn record(&mut self, outside: &mut Outside<'_>) -> Result<(), StateError> {
        if !self.fresh.findings().is_empty() {
            (outside.record)(self.fresh.findings())?;
        }
        self.whole.absorb(std::mem::replace(&mut self.fresh, fresh()));
        Ok(())
    }

    /// Drops what is fresh: it was found before.
    pub(super) fn forget(&mut self) {
        self.fresh = fresh();
    }

    /// All that was found. To be called once all of it has been handed on.
    pub(super) fn into_report(self) -> Report {
        self.whole
    }
}

const fn fresh() -> Report {
    Report::keeping(STEP_FINDINGS_PER_CODE_MAX)
}
