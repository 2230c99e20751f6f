//! What each vantage point has shown so far: whether it goes back, or stands still.

use counterfoil_merkle::TreeSize;
use counterfoil_receipt::{
    Timestamp,
    audit::{Code, Place, Report, Seen},
};
use serde::{Deserialize, Serialize};

use super::{reader::Reader, staleness, vantage::Shows};

/// How long a cache may be the reason for a smaller tree than was shown before, in seconds, unless somebody says otherwise.
pub const CACHE_S: u64 = 60;

/// How far a witness may be behind with what it shows, in seconds (C2SP tlog-witness).
const WITNESS_LAG_S: u64 = 3600;

/// What a vantage point has shown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct View {
    /// The size of the largest tree.
    size: u64,
    /// Since when it has shown less, in ms.
    below_since: Option<u64>,
    /// The size that is shown now, and since when, in ms.
    shown: Option<(u64, u64)>,
    /// The newest time of the log's clock, in seconds.
    attested_s: Option<u64>,
    /// Whether it has given proofs beside tiles.
    proofs: bool,
}

/// How long is too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delays {
    /// How old the newest attested time may be, in seconds.
    pub stale_after_s: u64,
    /// How long a cache may show less than was shown before, in seconds.
    pub cache_s: u64,
}

impl View {
    /// Whether the vantage point gives proofs too.
    pub(super) const fn gives_proofs(&self) -> bool {
        self.proofs
    }

    /// From now on proofs are expected.
    pub(super) const fn give_proofs(&mut self) {
        self.proofs = true;
    }

    /// Takes what is shown now, and says whether it has gone back or stands still. `known` is the largest tree known.
    pub(super) fn look(
        &mut self,
        seen: &Seen,
        known: TreeSize,
        reader: &Reader,
        now: Timestamp,
        delays: Delays,
        report: &mut Report,
    ) {
        let size = seen.head().size;
        self.attested_s = self.attested_s.max(seen.time_s);
        if size.get() >= self.size {
            (self.size, self.below_since) = (size.get(), None);
        }
        let lag_s = match reader.shows() {
            Shows::Log => 0,
            Shows::Checkpoint => WITNESS_LAG_S,
        };
        if size.get() < self.size {
            let since = *self.below_since.get_or_insert(now.millis());
            let for_s = now.millis().saturating_sub(since) / 1000;
            if for_s > delays.cache_s + lag_s {
                self.gone_back(size, for_s, reader, report);
            }
        }
        let shown = self.shown.filter(|(shown, _)| *shown == size.get());
        let (_, since) = *self.shown.insert(shown.unwrap_or((size.get(), now.millis())));
        let for_s = now.millis().saturating_sub(since) / 1000;
        if size < known && for_s > delays.stale_after_s + lag_s {
            let message = format_args!(
                "{}: shows a tree of size {size} for {for_s} s; {known} is known",
                reader.name()
            );
            report.push(Code::ViewBehind, reader.place(), message);
        }
        let age = self.attested_s.and_then(|time_s| staleness(time_s, now, delays.stale_after_s + lag_s));
        if let Some(age_s) = age {
            let message =
                format_args!("{}: the newest time that the log attests is {age_s} s old", reader.name());
            let place = if reader.place() == Place::Log { Place::Checkpoint(size) } else { reader.place() };
            report.push(Code::ClockStale, place, message);
        }
    }

    fn gone_back(&self, size: TreeSize, for_s: u64, reader: &Reader, report: &mut Report) {
        let message = format_args!(
            "{}: shows a tree of size {size}, and has not shown that of size {}, which it showed before, for {for_s} s",
            reader.name(),
            self.size
        );
        report.push(Code::SizeBack, reader.place(), message);
    }
}
