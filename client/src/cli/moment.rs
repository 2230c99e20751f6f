//! Moments and durations as people write them.

use counterfoil_receipt::Timestamp;
use time::{Date, OffsetDateTime, format_description::well_known::Rfc3339, macros::format_description};

/// A moment: stated, or so long after now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    /// This one.
    At(Timestamp),
    /// So many ms after now.
    After(u64),
}

impl When {
    /// The moment, if it is `now`.
    pub(super) const fn moment(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(at) => at,
            Self::After(millis) => now.plus(millis),
        }
    }

    /// Reads `2026-11-21`, `2026-11-21T15:04:05Z`, ms since 1970, or `+14d`, `+12h`, `+30m`, `+10s`. A date alone is its first moment, UTC.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if let Some(after) = text.strip_prefix('+') {
            return seconds(after).map(|seconds| Self::After(seconds.saturating_mul(1000)));
        }
        let stated = text.parse().ok().or_else(|| date_ms(text)).and_then(Timestamp::from_millis);
        stated.map(Self::At).ok_or_else(|| {
            "a moment is a date, a time such as 2026-11-21T15:04:05Z, ms since 1970, or +14d, +12h, +30m, +10s".to_owned()
        })
    }
}

fn date_ms(text: &str) -> Option<u64> {
    let date = OffsetDateTime::parse(text, &Rfc3339).ok().or_else(|| {
        let date = Date::parse(text, format_description!("[year]-[month]-[day]")).ok()?;
        Some(date.midnight().assume_utc())
    })?;
    u64::try_from(date.unix_timestamp_nanos() / 1_000_000).ok()
}

/// Reads a duration, such as `14d`, in seconds.
pub(super) fn seconds(text: &str) -> Result<u64, String> {
    let due = || "a duration is a number with d, h, m or s after it, such as 14d".to_owned();
    let unit = match text.chars().last() {
        Some('d') => 86_400,
        Some('h') => 3_600,
        Some('m') => 60,
        Some('s') => 1,
        _ => return Err(due()),
    };
    let number: u64 = text[..text.len() - 1].parse().map_err(|_| due())?;
    number.checked_mul(unit).ok_or_else(due)
}

/// The present time.
pub(super) fn now() -> anyhow::Result<Timestamp> {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    let now = Timestamp::from_millis(u64::try_from(since.as_millis())?);
    now.ok_or_else(|| anyhow::anyhow!("the system's clock is beyond the year 287396"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_as_people_write_them() {
        let at = |millis| Ok(When::At(Timestamp::from_millis(millis).unwrap()));
        assert_eq!(When::parse("2025-11-21T08:05:45.678Z"), at(1_763_712_345_678));
        assert_eq!(When::parse("2025-11-21"), at(1_763_683_200_000));
        assert_eq!(When::parse("1763712345678"), at(1_763_712_345_678));
        assert_eq!(When::parse("+14d"), Ok(When::After(14 * 86_400_000)));
        assert_eq!(When::parse("+10s").unwrap().moment(Timestamp::from_millis(5).unwrap()).millis(), 10_005);
        for text in ["", "+", "+1", "tomorrow", "2025-13-01", "-5", "+d", "+99999999999999999999d"] {
            assert!(When::parse(text).is_err(), "{text}");
        }
    }
}
