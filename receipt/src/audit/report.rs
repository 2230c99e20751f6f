//! Findings as an audit gathers them.

use std::{collections::BTreeMap, fmt};

use super::finding::{Class, Code, Finding, Place};

/// Most findings of one code that a [`Report`] keeps; more are counted only, so that no log can fill a memory.
pub const FINDINGS_PER_CODE_MAX: u64 = 100;

/// Findings as they come, at most so many of each code; the rest are counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    findings: Vec<Finding>,
    counts: BTreeMap<Code, u64>,
    per_code_max: u64,
}

impl Default for Report {
    fn default() -> Self {
        Self::new()
    }
}

impl Report {
    /// Nothing found; at most [`FINDINGS_PER_CODE_MAX`] of each code are kept.
    pub const fn new() -> Self {
        Self::keeping(FINDINGS_PER_CODE_MAX)
    }

    /// Nothing found; that many of each code are kept.
    pub const fn keeping(per_code_max: u64) -> Self {
        Self { findings: Vec::new(), counts: BTreeMap::new(), per_code_max }
    }

    /// Adds a finding.
    pub fn push(&mut self, code: Code, place: Place, message: impl fmt::Display) {
        let count = self.counts.entry(code).or_default();
        *count += 1;
        if *count <= self.per_code_max {
            self.findings.push(Finding { code, place, message: message.to_string() });
        }
    }

    /// Adds all that another report has: its findings as far as they fit, and its counts in full.
    pub fn absorb(&mut self, other: Self) {
        for finding in other.findings {
            let kept = self.findings.iter().filter(|kept| kept.code == finding.code).count() as u64;
            if kept < self.per_code_max {
                self.findings.push(finding);
            }
        }
        for (code, count) in other.counts {
            *self.counts.entry(code).or_default() += count;
        }
    }

    /// The findings that were kept, in the order in which they came.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// How many of each code there were, the gravest first.
    pub const fn counts(&self) -> &BTreeMap<Code, u64> {
        &self.counts
    }

    /// The gravest class that was found.
    pub fn gravest(&self) -> Option<Class> {
        self.counts.keys().next().map(|code| code.class())
    }

    /// The exit code: that of the gravest finding, 0 if nothing was found or nothing but issuers' doings and
    /// matches.
    pub fn exit_code(&self) -> u8 {
        self.gravest().and_then(Class::exit_code).unwrap_or(0)
    }

    /// Whether nothing was found that is the log's fault, or its monitor's lack.
    pub fn is_clean(&self) -> bool {
        self.exit_code() == 0
    }

    /// Whether there was any finding of that code.
    pub fn has(&self, code: Code) -> bool {
        self.counts.contains_key(&code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_are_bounded_and_remember_the_gravest() {
        let mut report = Report::new();
        assert!(report.is_clean());
        report.push(Code::NumberGap, Place::Log, "");
        assert_eq!((report.exit_code(), report.is_clean()), (0, true));
        for _ in 0..500 {
            report.push(Code::EntryUnreadable, Place::Log, "");
        }
        assert_eq!((report.exit_code(), report.findings().len()), (14, 101));
        report.push(Code::AtBack, Place::Log, "");
        assert_eq!((report.exit_code(), report.counts()[&Code::EntryUnreadable]), (11, 500));
        report.push(Code::ForkKnown, Place::Log, "");
        assert_eq!(report.exit_code(), 10);
        let mut whole = Report::new();
        whole.push(Code::EntryUnreadable, Place::Log, "");
        let found = report.findings().len();
        whole.absorb(report);
        assert_eq!((whole.counts()[&Code::EntryUnreadable], whole.findings().len()), (501, found));
        assert_eq!(whole.exit_code(), 10);
    }
}
