//! A line on standard error that says how far a long command is. Only where somebody watches.

use std::{
    fmt,
    io::{self, Write as _},
    time::{Duration, Instant},
};

use super::Terminal;

const EVERY: Duration = Duration::from_millis(200);

/// The line of one command. It appears after a second, and goes when dropped.
#[derive(Debug)]
pub(super) struct Progress {
    enabled: bool,
    shown: bool,
    due: Instant,
}

impl Progress {
    /// A line that is not shown yet.
    pub(super) fn new(terminal: &Terminal) -> Self {
        let due = Instant::now() + Duration::from_secs(1);
        Self { enabled: terminal.shows_progress(), shown: false, due }
    }

    /// Shows the text, if it is time to.
    pub(super) fn show(&mut self, text: impl fmt::Display) {
        if self.enabled && Instant::now() >= self.due {
            self.due = Instant::now() + EVERY;
            self.shown = true;
            let _ = write!(io::stderr(), "\r\x1b[K{text}");
        }
    }

    /// Removes the line, so that something else can be said.
    pub(super) fn clear(&mut self) {
        if self.shown {
            self.shown = false;
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}
