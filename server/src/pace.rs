//! How often what need not be done at once is done.

use std::time::Duration;

/// The log's pace. The default is that of a server; a test that cannot wait sets its own.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// An idle log attests the present time this often.
    pub renew: Duration,
    /// How long to wait between recoveries from what may pass by itself.
    pub retry: Duration,
    /// How far behind the newest commit the guard may be.
    pub guard_lag: Duration,
    /// The checkpoint file is refreshed no more often than this: each time costs a new file.
    pub checkpoint: Duration,
    /// As many commits are retained before the ragged edge is put in their place: an idle log's small tail.
    pub retained_max: u64,
    /// On a store that others can write, the name of a settled commit stays taken for so long: a create of a former life
    /// that comes late meets it. Nothing on its way takes longer.
    pub tombstone: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            renew: Duration::from_secs(30),
            retry: Duration::from_secs(2),
            guard_lag: Duration::from_millis(800),
            checkpoint: Duration::from_millis(100),
            retained_max: 1000,
            tombstone: Duration::from_secs(3600),
        }
    }
}
